//! A CPU's state in its working form, which the software engines share.
//!
//! [`Core::state`] and [`Core::set_state`] convert it from and to [`CpuState`]. In between, the
//! flags are lazy, the register file has helper slots, and what memory accesses need is derived
//! once from the control registers.

use std::sync::Arc;

use trine_guest::{Marked, Ram, RamShare, VmTime};

use crate::{
    Access, Bus, CpuModel, CpuState, Exception, Flags, Insn, Mode, Raised, Seg, Width, cr0, efer,
    insn::slot,
    paging::Paging,
    rflags,
    sem::{Checked, Reach},
    state::{Activity, Control, Debug, Events, Msrs, Segments, Simd, X87},
    tally::Tally,
    tlb::{Class, Tlb},
    vector,
};

/// Events that the core counts for statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Page walks.
    pub tlb_misses: u64,
    /// Flushes of the software TLB, whole or of what is not global.
    pub tlb_flushes: u64,
    /// Exceptions delivered.
    pub exceptions: u64,
    /// Maskable interrupts delivered.
    pub interrupts: u64,
    /// Accesses to memory that is not RAM.
    pub mmio: u64,
    /// Port accesses.
    pub port_io: u64,
}

/// What may be reached through a segment register outside of 64-bit mode without a closer look:
/// nothing, if accesses are checked for alignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Extent {
    /// The offset behind the last byte that may be read; 0 if none may, or if it is not that simple.
    pub read_end: u64,
    /// The same for writes.
    pub write_end: u64,
}

/// What generated code keeps beside the architectural state. Only the engine that generates it
/// gives these words a meaning.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Translated {
    /// What [`Core::retired`] is when none are left of the instructions that may be executed.
    pub end: u64,
    /// Instructions that may still be executed.
    pub left: i32,
    /// Where the vector registers and MXCSR are; 0: in [`Core::simd`].
    pub vectors: u32,
    /// From what the arithmetic flags follow; 0: [`Core::flags`] holds them.
    pub flags_kind: u32,
    /// If not 0, all but CF follow from [`Translated::flags_counted`] instead.
    pub flags_count: u32,
    /// First operand of that.
    pub flags_x: u64,
    /// Second operand.
    pub flags_y: u64,
    /// What was incremented or decremented to since.
    pub flags_counted: u64,
    /// Flags that were set one by one since.
    pub flags_over: u64,
    /// Host address of RAM's first byte.
    pub ram: u64,
    /// Host address of the table of jump targets.
    pub jumps: u64,
    /// Host address of room for a state of the host's FPU.
    pub fpu: u64,
    /// Host address of the flag that says that code may store beside other code.
    pub beside: u64,
    /// Where the x87's registers and status word are; 0: in [`Core::x87`].
    pub x87: u32,
    /// For each general register what takes addresses near it to the host's, if that was looked up.
    pub near: [u64; 16],
    /// What the TLB will say.
    pub hunches: Hunches,
    /// Words for values that found no register.
    pub spill: [u64; 32],
}

/// What the TLB last gave at places in generated code; mostly it gives the same again. Whoever uses
/// it compares.
#[derive(Clone, Copy, Debug)]
pub struct Hunches(pub [u64; Self::COUNT]);

impl Hunches {
    /// How many there are; places share them.
    pub const COUNT: usize = 256;
}

impl Default for Hunches {
    fn default() -> Self {
        Self([0; Self::COUNT])
    }
}

/// A CPU at work.
///
/// What each instruction touches comes first, so that generated code reaches it with short
/// displacements.
#[repr(C)]
pub struct Core {
    /// RAX to R15, then the slots of [`slot`].
    pub regs: [u64; slot::COUNT],
    /// Between instructions, the next one's address. Inside a cold instruction, the address
    /// behind it. Stale inside a hot one.
    pub rip: u64,
    /// The six arithmetic flags.
    pub flags: Flags,
    /// All other bits of RFLAGS (the six are 0 here).
    pub system_flags: u64,
    /// Instructions retired up to the start of the block.
    pub retired: u64,
    /// Derived: changes with everything on which the meaning of an instruction address depends:
    /// mode, privilege, the limit of CS, translations.
    pub context: u64,
    /// Derived: what is added to RIP to give a linear address.
    pub code_base: u64,
    /// Derived: the current privilege level.
    pub cpl: u8,
    /// Derived: the class of explicit data accesses.
    pub class: Class,
    /// Derived: what decoding depends on.
    pub mode: Mode,
    /// The block has to end after this instruction: code was stored to, or something changed that
    /// the engine looks at only between blocks.
    pub leave_block: bool,
    /// The instruction entered a handler with EFLAGS.TF clear (INT n, SYSCALL): no single-step trap
    /// follows it. Whoever single-steps clears it before.
    pub entered_handler: bool,
    /// The number in its block of the instruction that is being executed, for [`Core::access`].
    pub number: u8,
    /// A write tag in the TLB says that a store to the page has nothing to do but store
    /// ([`Ram::is_quiet`]): generated code does not look at its marks.
    pub quiet_writes: bool,
    /// Page tables outside of RAM are taken for empty: somebody looks who will have to look again.
    pub skips_far_tables: bool,
    /// Not all vCPUs have the same TSC ([`Core::hear_of_tscs`]).
    pub(crate) tscs_differ: bool,

    /// The machine's RAM.
    pub ram: RamShare,
    /// What an engine that generates code keeps here.
    pub translated: Translated,
    /// Derived: what accesses through each segment register have to be checked against outside of
    /// 64-bit mode.
    pub extents: [Extent; 6],
    /// ANDed to physical addresses: the A20 gate.
    pub a20_mask: u64,
    /// Segment registers. Call [`Core::refresh`] after changing them.
    pub segments: Segments,
    /// Control registers. Call [`Core::refresh`] after changing them.
    pub control: Control,
    /// Debug registers.
    pub debug: Debug,
    /// Model-specific registers.
    pub msrs: Msrs,
    /// The x87 FPU.
    pub x87: X87,
    /// SSE and AVX.
    pub simd: Simd,
    /// Activity, shadow, pending events.
    pub events: Events,
    /// The exception that [`Raised`] stands for.
    pub raised: Option<Exception>,
    /// Counters.
    pub counters: Counters,
    /// Counts what leaves the fast path, if anybody wants to know.
    pub tally: Option<Box<Tally>>,
    /// Derived: the form of the page tables.
    pub(crate) paging: Paging,
    /// The memory map of which the TLB knows ([`Ram::map_epoch`]).
    map_epoch: u32,
    /// Everything that is not RAM.
    pub bus: Arc<dyn Bus>,
    /// Which features the CPU has.
    pub model: Arc<CpuModel>,
    /// Which vCPU this is.
    pub id: u32,
    /// The software TLB.
    pub tlb: Tlb,
}

impl Core {
    /// vCPU `id` in the reset state.
    #[must_use]
    pub fn new(id: u32, model: &CpuModel, ram: Arc<Ram>, bus: Arc<dyn Bus>) -> Self {
        let mut core = Self {
            regs: [0; slot::COUNT],
            rip: 0,
            flags: Flags::default(),
            system_flags: 0,
            segments: Segments::default(),
            control: Control::default(),
            debug: Debug::default(),
            msrs: Msrs::default(),
            x87: X87::default(),
            simd: Simd::default(),
            events: Events::default(),
            raised: None,
            leave_block: false,
            entered_handler: false,
            retired: 0,
            number: 0,
            counters: Counters::default(),
            tally: None,
            cpl: 0,
            mode: Mode::default(),
            class: Class::Supervisor,
            context: 0,
            code_base: 0,
            extents: [Extent::default(); 6],
            paging: Paging::Off,
            map_epoch: ram.map_epoch(),
            a20_mask: u64::MAX,
            translated: Translated::default(),
            quiet_writes: false,
            skips_far_tables: false,
            tscs_differ: false,
            tlb: Tlb::new(ram.host_address() as u64),
            ram: ram.into(),
            bus,
            model: Arc::new(model.clone()),
            id,
        };
        core.set_state(&CpuState::reset(model, id));
        core
    }

    /// The architectural state. Only between instructions.
    #[must_use]
    pub fn state(&self) -> CpuState {
        let mut gpr = [0; 16];
        gpr.copy_from_slice(&self.regs[..16]);
        CpuState {
            gpr,
            rip: self.rip,
            rflags: self.rflags(),
            segments: self.segments,
            control: self.control,
            debug: self.debug,
            msrs: self.msrs,
            x87: self.x87,
            simd: self.simd,
            events: self.events,
        }
    }

    /// Replaces the architectural state. Only between instructions.
    pub fn set_state(&mut self, state: &CpuState) {
        self.regs[..16].copy_from_slice(&state.gpr);
        self.regs[usize::from(slot::ZERO)] = 0;
        self.regs[usize::from(slot::FAR)] = 1 << 20;
        self.rip = state.rip;
        self.segments = state.segments;
        self.control = state.control;
        self.debug = state.debug;
        self.msrs = state.msrs;
        self.x87 = state.x87;
        self.simd = state.simd;
        self.events = state.events;
        self.raised = None;
        self.set_rflags(state.rflags);
        self.refresh();
        self.flush_tlb();
        self.tell_tsc_offset();
    }

    /// RFLAGS.
    #[must_use]
    pub fn rflags(&self) -> u64 {
        self.system_flags | self.flags.bits() | rflags::FIXED
    }

    /// Replaces RFLAGS as a whole; what depends on it is derived anew.
    pub fn set_rflags(&mut self, value: u64) {
        self.flags.set_bits(value);
        let old = self.system_flags;
        self.system_flags = value & !rflags::ARITHMETIC | rflags::FIXED;
        if (old ^ value) & (rflags::VM | rflags::AC) != 0 {
            self.refresh();
        }
    }

    /// Derives anew what depends on control registers, segments, CPL and EFLAGS.VM and AC.
    pub fn refresh(&mut self) {
        let (c, s) = (&self.control, &self.segments.seg);
        let protected_enabled = c.cr0 & cr0::PE != 0;
        let vm86 = protected_enabled && self.system_flags & rflags::VM != 0;
        let long = c.efer & efer::LMA != 0;
        let big = |seg: Seg| s[seg as usize].rights & crate::segment::BIG != 0;
        self.cpl = match () {
            () if !protected_enabled => 0,
            () if vm86 => 3,
            () => (s[Seg::Ss as usize].rights >> 5 & 3) as u8,
        };
        let width = |big: bool| if big { Width::W32 } else { Width::W16 };
        let code = if long && s[Seg::Cs as usize].rights & crate::segment::LONG != 0 {
            Width::W64
        } else {
            width(big(Seg::Cs))
        };
        let stack = if code == Width::W64 { Width::W64 } else { width(big(Seg::Ss)) };
        let alignment =
            self.cpl == 3 && c.cr0 & cr0::AM != 0 && self.system_flags & rflags::AC != 0;
        let flat = !alignment
            && (code == Width::W64
                || (protected_enabled
                    && !vm86
                    && [Seg::Es, Seg::Ss, Seg::Ds]
                        .iter()
                        .all(|seg| s[*seg as usize].is_flat_data())
                    && s[Seg::Cs as usize].is_flat_code()));
        self.mode = Mode::new(code, stack, flat, protected_enabled && !vm86);
        self.paging = Paging::of(c);
        self.class = if self.cpl == 3 { Class::User } else { self.supervisor_class() };
        if code == Width::W64 {
            self.extents = [Extent::default(); 6];
        } else {
            for seg in Seg::ALL {
                self.extents[seg as usize] = self.extent(seg);
            }
        }
        self.renew_context();
    }

    /// Marks so many bytes of a page as such from which code was decoded ([`Ram::mark_code`]).
    pub fn mark_code(&mut self, offset: u64, size: u64) -> Marked {
        let marked = self.ram.mark_code(offset, size);
        if marked == Marked::Page {
            self.tlb.set_loud(offset);
        }
        marked
    }

    fn extent(&self, seg: Seg) -> Extent {
        let s = &self.segments.seg[seg as usize];
        let end = |write| match () {
            () if self.checks_alignment() || self.mode.is_64() || s.is_expand_down() => 0,
            () if !self.allows(seg, write) => 0,
            () if s.limit == u32::MAX => u64::MAX,
            () => u64::from(s.limit) + 1,
        };
        Extent { read_end: end(false), write_end: end(true) }
    }

    /// Derives anew what depends on a segment register that has no part in the mode (FS, GS).
    pub(crate) fn renew_extent(&mut self, seg: Seg) {
        self.extents[seg as usize] = self.extent(seg);
    }

    pub(crate) fn renew_context(&mut self) {
        self.code_base = match self.mode.is_64() {
            true => 0,
            false => self.segments.seg[Seg::Cs as usize].base,
        };
        // The limit as a descriptor holds it: 20 bits and G.
        let limit = match u64::from(self.segments.seg[Seg::Cs as usize].limit) {
            limit @ 0..0x10_0000 => limit,
            limit => limit >> 12 | 0x10_0000,
        };
        self.context = u64::from(self.tlb.epoch()) << 32
            | limit << 8
            | u64::from(self.mode.bits()) << 1
            | u64::from(self.cpl == 3);
    }

    /// Forgets all translations.
    pub fn flush_tlb(&mut self) {
        self.counters.tlb_flushes += 1;
        self.tlb.flush();
        self.renew_context();
        self.leave_block = true;
    }

    /// Forgets all translations if there is another memory map since they were made. Called after
    /// whatever may have changed the map: accesses to the bus, and a look at the pins.
    #[inline]
    pub fn follow_map(&mut self) {
        if !self.knows_map() {
            self.map_epoch = self.ram.map_epoch();
            self.flush_tlb();
        }
    }

    /// Whether the map is still the one of which the TLB knows.
    #[inline]
    #[must_use]
    pub fn knows_map(&self) -> bool {
        self.map_epoch == self.ram.map_epoch()
    }

    /// Sets the A20 gate.
    pub fn set_a20_masked(&mut self, masked: bool) {
        let mask = if masked { !(1 << 20) } else { u64::MAX };
        if self.a20_mask != mask {
            self.a20_mask = mask;
            self.flush_tlb();
        }
    }

    /// CR0.PE is set (virtual-8086 mode included).
    #[inline(always)]
    #[must_use]
    pub fn protected_enabled(&self) -> bool {
        self.control.cr0 & cr0::PE != 0
    }

    /// Virtual-8086 mode.
    #[inline(always)]
    #[must_use]
    pub fn vm86(&self) -> bool {
        self.protected_enabled() && self.system_flags & rflags::VM != 0
    }

    /// IA-32e mode: 64-bit or compatibility mode.
    #[inline(always)]
    #[must_use]
    pub fn long_mode(&self) -> bool {
        self.control.efer & efer::LMA != 0
    }

    /// EFLAGS.IOPL, 0 to 3.
    #[inline(always)]
    #[must_use]
    pub fn iopl(&self) -> u8 {
        (self.system_flags >> 12 & 3) as u8
    }

    /// Who makes the access that is being made.
    #[inline]
    #[must_use]
    pub fn access(&self) -> Access {
        Access { vcpu: self.id, retired: self.retired + u64::from(self.number) }
    }

    /// Guest time.
    #[must_use]
    pub fn now(&self) -> VmTime {
        self.bus.now(self.access())
    }

    /// The time-stamp counter.
    #[must_use]
    pub fn tsc(&self) -> u64 {
        self.model.tsc_ticks(self.now().ns()).wrapping_add(self.msrs.tsc_offset)
    }

    // Registers

    /// General register `reg` (AH to BH for 8 bits with [`slot::HIGH`]), zero-extended.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, w: Width, reg: u8) -> u64 {
        match w {
            Width::W8 => self.regs[usize::from(reg & !slot::HIGH)] >> ((reg >> 2) & 8) & 0xff,
            _ => self.regs[usize::from(reg)] & w.mask(),
        }
    }

    /// Writes it: 8 and 16 bits leave the rest, 32 bits clear the upper half.
    #[inline(always)]
    pub fn set(&mut self, w: Width, reg: u8, value: u64) {
        let number = if w == Width::W8 { reg & !slot::HIGH } else { reg };
        let place = &mut self.regs[usize::from(number)];
        *place = match w {
            Width::W8 => {
                let shift = (reg >> 2) & 8;
                *place & !(0xff << shift) | (value & 0xff) << shift
            }
            Width::W16 => *place & !0xffff | value & 0xffff,
            Width::W32 => value & 0xffff_ffff,
            Width::W64 => value,
        };
    }

    /// The memory operand's offset in its segment, of `i.address_width()`.
    #[inline(always)]
    #[must_use]
    pub fn address(&self, i: &Insn) -> u64 {
        self.address_by::<Checked>(i)
    }

    /// The same for an operand that is reached by `R`.
    #[inline(always)]
    #[must_use]
    pub fn address_by<R: Reach>(&self, i: &Insn) -> u64 {
        let base = self.regs[usize::from(i.base)];
        let index = match R::INDEXED {
            true => self.regs[usize::from(i.index)] << i.scale(),
            false => 0,
        };
        let sum = base.wrapping_add(index).wrapping_add(i64::from(i.disp) as u64);
        sum & R::address_width(i).mask()
    }

    // Exceptions

    /// Records an exception. The instruction that raised it leaves no trace; its engine sees to
    /// its delivery.
    #[cold]
    pub fn raise(&mut self, exception: Exception) -> Raised {
        self.raised = Some(exception);
        Raised::recorded()
    }

    /// An exception without error code.
    #[cold]
    pub fn fault(&mut self, vector: u8) -> Raised {
        self.raise(Exception { vector, code: None, payload: 0 })
    }

    /// An exception with error code.
    #[cold]
    pub fn fault_code(&mut self, vector: u8, code: u32) -> Raised {
        self.raise(Exception { vector, code: Some(code), payload: 0 })
    }

    /// #GP(`code`).
    #[cold]
    pub fn gp(&mut self, code: u32) -> Raised {
        self.fault_code(vector::GP, code)
    }

    /// #UD.
    #[cold]
    pub fn ud(&mut self) -> Raised {
        self.fault(vector::UD)
    }

    /// #GP(0) unless at CPL 0.
    ///
    /// # Errors
    /// At any other level.
    #[inline]
    pub fn require_cpl0(&mut self) -> Result<(), Raised> {
        if self.cpl == 0 { Ok(()) } else { Err(self.gp(0)) }
    }

    /// Whether the CPU executes instructions now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.events.activity == Activity::Running
    }
}
