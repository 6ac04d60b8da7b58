//! The architectural state of one CPU: engine-neutral, host-neutral, complete.
//!
//! Sources: SDM vol. 1, chapter 3; vol. 3A, chapters 2, 3 and 10.

use serde::{Deserialize, Serialize};

/// Everything that makes one CPU's next instruction do what it does. Two CPUs with equal states on
/// equal machines are the same CPU.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CpuState {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// The address of the next instruction within CS.
    pub rip: u64,
    /// RFLAGS; bit 1 is always set.
    pub rflags: u64,
    /// Segment and descriptor-table registers.
    pub segments: Segments,
    /// Control registers.
    pub control: Control,
    /// Debug registers.
    pub debug: Debug,
    /// Model-specific registers.
    pub msrs: Msrs,
    /// The x87 FPU, whose registers are MMX's too.
    pub x87: X87,
    /// SSE and AVX.
    pub simd: Simd,
    /// What the CPU is doing besides executing instructions.
    pub events: Events,
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Segment {
    /// The visible part.
    pub selector: u16,
    /// Linear address of its first byte.
    pub base: u64,
    /// Its last byte's offset (for expand-down: the last byte *not* in it), granularity applied.
    pub limit: u32,
    /// Access rights as VMX defines them (SDM vol. 3C, table 25-2): type 3:0, S 4, DPL 6:5, P 7,
    /// AVL 12, L 13, D/B 14, G 15, unusable (null) 16.
    pub rights: u32,
}

/// Segment and descriptor-table registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Segments {
    /// ES, CS, SS, DS, FS, GS, in the order of their encoding.
    pub seg: [Segment; 6],
    /// The local descriptor table.
    pub ldtr: Segment,
    /// The task register.
    pub tr: Segment,
    /// The global descriptor table.
    pub gdtr: Table,
    /// The interrupt descriptor table.
    pub idtr: Table,
}

/// A descriptor-table register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// Linear address of the table.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u16,
}

/// Control registers (SDM vol. 3A, section 2.5). CR8 is the local APIC's task priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Control {
    /// CR0.
    pub cr0: u64,
    /// CR2: the linear address of the last page fault.
    pub cr2: u64,
    /// CR3: the root of the page tables.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// XCR0: which state components XSAVE manages.
    pub xcr0: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// PKRU: rights by protection key.
    pub pkru: u32,
    /// The four page-directory-pointer entries that a load of CR3 fetches in PAE mode.
    pub pdpte: [u64; 4],
}

/// Debug registers (SDM vol. 3B, section 18.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Debug {
    /// DR0 to DR3: breakpoint linear addresses.
    pub address: [u64; 4],
    /// DR6: status.
    pub dr6: u64,
    /// DR7: control.
    pub dr7: u64,
}

/// Model-specific registers that are kept in the CPU (SDM vol. 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Msrs {
    /// IA32_STAR: selectors of SYSCALL and SYSRET, and the 32-bit entry.
    pub star: u64,
    /// IA32_LSTAR: the 64-bit entry.
    pub lstar: u64,
    /// IA32_CSTAR: the compatibility-mode entry.
    pub cstar: u64,
    /// IA32_FMASK: RFLAGS bits that SYSCALL clears.
    pub fmask: u64,
    /// IA32_KERNEL_GS_BASE: what SWAPGS swaps in.
    pub kernel_gs_base: u64,
    /// IA32_SYSENTER_CS.
    pub sysenter_cs: u64,
    /// IA32_SYSENTER_ESP.
    pub sysenter_esp: u64,
    /// IA32_SYSENTER_EIP.
    pub sysenter_eip: u64,
    /// IA32_TSC_AUX: what RDTSCP and RDPID return.
    pub tsc_aux: u64,
    /// What is added to guest time in TSC ticks to give the TSC.
    pub tsc_offset: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_MTRR_DEF_TYPE.
    pub mtrr_def_type: u64,
    /// IA32_MTRR_PHYSBASEn and IA32_MTRR_PHYSMASKn.
    pub mtrr_variable: [(u64, u64); 8],
    /// IA32_MTRR_FIX64K_00000, FIX16K_80000, FIX16K_A0000, FIX4K_C0000 to FIX4K_F8000.
    pub mtrr_fixed: [u64; 11],
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
    /// IA32_DEBUGCTL.
    pub debugctl: u64,
    /// IA32_FEATURE_CONTROL.
    pub feature_control: u64,
    /// IA32_BIOS_SIGN_ID: the microcode revision.
    pub bios_sign_id: u64,
    /// IA32_MCG_STATUS.
    pub mcg_status: u64,
    /// IA32_MCG_CTL.
    pub mcg_ctl: u64,
    /// IA32_MCi_CTL, _STATUS, _ADDR and _MISC.
    pub mc_banks: [[u64; 4]; 4],
    /// IA32_PKRS: rights by protection key, of supervisor pages.
    pub pkrs: u32,
    /// IA32_XSS: which supervisor state components XSAVES manages.
    pub xss: u64,
    /// KVM's MSR_KVM_WALL_CLOCK (11h and 4B564D00h): where the guest last asked for the wall clock.
    pub kvm_wall_clock: u64,
    /// KVM's MSR_KVM_SYSTEM_TIME (12h and 4B564D01h): where the guest's clock is, enabled by bit 0.
    pub kvm_system_time: u64,
    /// KVM's MSR_KVM_STEAL_TIME (4B564D03h): where stolen time is counted, enabled by bit 0.
    pub kvm_steal_time: u64,
}

/// The x87 FPU (SDM vol. 1, section 8.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct X87 {
    /// R0 to R7 (physical, not relative to TOP): significand, then sign and exponent.
    pub reg: [(u64, u16); 8],
    /// The control word.
    pub control: u16,
    /// The status word, TOP included.
    pub status: u16,
    /// One bit for each physical register: set where it is *not* empty (the abridged tag word).
    pub valid: u8,
    /// The last instruction's opcode (11 bits).
    pub opcode: u16,
    /// The last instruction's address.
    pub ip: u64,
    /// The last instruction's code segment selector.
    pub cs: u16,
    /// The last memory operand's address.
    pub dp: u64,
    /// The last memory operand's segment selector.
    pub ds: u16,
}

/// SSE and AVX registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Simd {
    /// YMM0 to YMM15, as quadwords from the lowest up; XMM is the first two.
    pub ymm: [[u64; 4]; 16],
    /// MXCSR.
    pub mxcsr: u32,
}

/// What a CPU is doing besides executing instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Events {
    /// Whether it executes at all.
    pub activity: Activity,
    /// What the last instruction holds back for one instruction.
    pub shadow: Shadow,
    /// An NMI is being served: further ones wait for IRET.
    pub nmi_blocked: bool,
    /// An NMI waits.
    pub nmi_pending: bool,
    /// A single-step or data-breakpoint trap that the last instruction left for the boundary
    /// after the next one (after MOV SS), as bits of DR6.
    pub pending_debug: u64,
    /// IA32_APIC_BASE says that this is the bootstrap processor.
    pub bootstrap: bool,
    /// The address range that MONITOR armed, as the guest physical address of its line.
    pub monitor: Option<u64>,
}

/// Whether a CPU executes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Activity {
    /// It does.
    #[default]
    Running,
    /// HLT or MWAIT: until an interrupt.
    Halted,
    /// After INIT: until a start-up IPI.
    WaitForStartup,
    /// After a triple fault: until INIT, NMI or RESET.
    Shutdown,
}

/// What the last instruction holds back for one instruction (SDM vol. 3A, section 7.8.3; vol. 3C,
/// table 25-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Shadow {
    /// Nothing.
    #[default]
    None,
    /// STI that set IF: maskable interrupts.
    Sti,
    /// MOV SS or POP SS: interrupts, NMIs, debug exceptions.
    MovSs,
}
