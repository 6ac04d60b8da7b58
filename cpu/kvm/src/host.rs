//! Whether this host's KVM can run a PC, and what it offers.

use std::{num::NonZeroU64, sync::Arc};

use kvm_bindings::{CpuId, KVM_API_VERSION, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::Cap;
use trine_engine::{Budget, CpuModel, CpuState, Engine, EngineError, Exit, NoBus, Vcpu};
use trine_guest::{Gpa, Ram};
use trine_x86::{Segment, cr0, cr4};

use crate::{dirty::DirtyLog, sregs, vm::Kvm};

/// What the engine cannot do without.
pub(crate) const NEEDED: [(Cap, &str); 9] = [
    (Cap::ReadonlyMem, "read-only memory"),
    (Cap::ImmediateExit, "immediate exit"),
    (Cap::X86UserSpaceMsr, "MSR exits"),
    (Cap::X86MsrFilter, "MSR filters"),
    (Cap::VcpuEvents, "vCPU events"),
    (Cap::UserNmi, "NMIs"),
    (Cap::Xsave, "XSAVE"),
    (Cap::Xcrs, "XCRs"),
    (Cap::Debugregs, "debug registers"),
];

/// What the engine uses where KVM can do it, and does without elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// How KVM tells which pages a guest has stored to.
    pub dirty_log: DirtyLog,
    /// It shows and takes the page-directory pointers that a CPU holds while it pages with PAE
    /// (Linux 5.14; AMD's hold none with nested pages).
    pub pdptes: bool,
}

/// What KVM offers on this host.
pub(crate) struct Host {
    pub(crate) kvm: kvm_ioctls::Kvm,
    pub(crate) supported: CpuId,
    /// Whether the TSC can be given any frequency.
    pub(crate) scales_tsc: bool,
    pub(crate) abilities: Abilities,
}

/// Opens `/dev/kvm`.
pub(crate) fn open() -> Result<kvm_ioctls::Kvm, String> {
    kvm_ioctls::Kvm::new().map_err(|e| match e.errno() {
        libc::ENOENT => "there is no /dev/kvm (load kvm_intel or kvm_amd, or enable \
             virtualisation in the firmware)"
            .to_owned(),
        libc::EACCES => "/dev/kvm may not be opened (add yourself to the group kvm)".to_owned(),
        _ => format!("/dev/kvm cannot be opened: {e}"),
    })
}

/// What KVM says that CPUID can answer.
pub(crate) fn supported_cpuid(kvm: &kvm_ioctls::Kvm) -> Result<CpuId, String> {
    let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
    supported.map_err(|e| format!("its KVM does not tell its CPUID: {e}"))
}

impl Host {
    pub(crate) fn open() -> Result<Self, String> {
        let kvm = open()?;
        let version = kvm.get_api_version();
        if version != KVM_API_VERSION as i32 {
            return Err(format!("its /dev/kvm speaks version {version} of the interface, not 12"));
        }
        let lacks = NEEDED.iter().filter(|(cap, _)| !kvm.check_extension(*cap));
        let lacks: Vec<&str> = lacks.map(|(_, name)| *name).collect();
        if !lacks.is_empty() {
            return Err(format!("its KVM lacks {} (Linux 5.10 has it)", lacks.join(", ")));
        }
        let supported = supported_cpuid(&kvm)?;
        let scales_tsc = kvm.check_extension(Cap::TscControl);
        let abilities = Abilities {
            dirty_log: DirtyLog::best(&kvm),
            pdptes: sregs::has_pdptes(&kvm, &supported),
        };
        Ok(Self { kvm, supported, scales_tsc, abilities })
    }
}

/// Why this host's KVM cannot run a PC; `None` if it can.
#[must_use]
pub fn missing() -> Option<String> {
    let tried = Host::open().and_then(|host| {
        let works = try_out(host).map_err(|e| format!("its KVM does not work: {e}"))?;
        if works {
            Ok(())
        } else {
            Err("its /dev/kvm does not virtualise the whole CPU (a few instructions of a kernel \
                 with 32-bit paging fail on it)"
                .to_owned())
        }
    });
    tried.err()
}

/// Executes a few instructions at privilege level 0 with 32-bit paging, SSE and the x87, and says
/// whether they did what they should without help. Implementations in software of the interface
/// mostly fail here.
fn try_out(host: Host) -> Result<bool, EngineError> {
    // mov eax, 1234h; movd xmm0, eax; paddd xmm0, xmm0; movd ebx, xmm0; fld1; fistp [2000h];
    // mov ecx, [2000h]; mov cr3, edx; hlt
    const CODE: [u8; 35] = [
        0xb8, 0x34, 0x12, 0, 0, 0x66, 0x0f, 0x6e, 0xc0, 0x66, 0x0f, 0xfe, 0xc0, 0x66, 0x0f, 0x7e,
        0xc3, 0xd9, 0xe8, 0xdb, 0x1d, 0, 0x20, 0, 0, 0x8b, 0x0d, 0, 0x20, 0, 0, 0x0f, 0x22, 0xda,
        0xf4,
    ];
    const DIRECTORY: u64 = 0x3000;
    let failed = |e: trine_guest::RamError| EngineError::Unavailable {
        engine: crate::NAME,
        reason: e.to_string(),
    };
    let ram = Arc::new(Ram::flat(0x10000).map_err(failed)?);
    ram.write(Gpa(0x1000), &CODE).map_err(failed)?;
    // A page of 4 MiB, present and writable.
    ram.write(Gpa(DIRECTORY), &0x83_u32.to_le_bytes()).map_err(failed)?;
    let model = CpuModel::named("x86-64-v1").map_err(|e| EngineError::BadState(e.to_string()))?;
    let engine = Kvm::on(host, ram)?;
    let model = engine.fit(model);
    let mut vcpu = engine.create(0, &model, Arc::new(NoBus::default()))?;
    let mut state = CpuState::reset(&model, 0);
    flat(&mut state);
    state.control.cr0 = cr0::PE | cr0::PG | cr0::ET | cr0::NE;
    state.control.cr3 = DIRECTORY;
    state.control.cr4 = cr4::PSE | cr4::OSFXSR;
    (state.gpr[2], state.rip) = (DIRECTORY, 0x1000);
    vcpu.set_state(&state)?;
    let exit = vcpu.run(Budget::Instructions(NonZeroU64::MIN))?;
    let end = vcpu.state()?;
    let at_end = 0x1000 + CODE.len() as u64;
    Ok(exit == Exit::Halted
        && vcpu.helped() == 0
        && (end.gpr[3], end.gpr[1], end.rip) == (0x2468, 1, at_end))
}

/// Flat 32-bit segments at privilege level 0.
fn flat(state: &mut CpuState) {
    let segment = |selector, rights| Segment { selector, base: 0, limit: u32::MAX, rights };
    // Present, accessed, 32 bits, in pages: writable data; code.
    state.segments.seg = [segment(0x10, 0xc093); 6];
    state.segments.seg[trine_x86::Seg::Cs as usize] = segment(8, 0xc09b);
}
