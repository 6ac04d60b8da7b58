//! The state after RESET.
//!
//! Source: SDM vol. 3A, table 10-1.

use crate::{
    Core, CpuModel, CpuState, Seg, cr0,
    segment::{ACCESSED, CODE, NOT_SYSTEM, PRESENT, READABLE, WRITABLE},
    state::{Activity, Events, Segment, Table},
};

impl CpuState {
    /// vCPU `id` of that model after RESET. Only vCPU 0, the bootstrap processor, runs; the
    /// others wait for a start-up IPI.
    #[must_use]
    pub fn reset(model: &CpuModel, id: u32) -> Self {
        let data = Segment {
            selector: 0,
            base: 0,
            limit: 0xffff,
            rights: PRESENT | NOT_SYSTEM | WRITABLE | ACCESSED,
        };
        let mut state = Self { rip: 0xfff0, rflags: 2, ..Self::default() };
        state.segments.seg = [data; 6];
        state.segments.seg[Seg::Cs as usize] = Segment {
            selector: 0xf000,
            base: 0xffff_0000,
            limit: 0xffff,
            rights: PRESENT | NOT_SYSTEM | CODE | READABLE | ACCESSED,
        };
        let system = |kind| Segment { selector: 0, base: 0, limit: 0xffff, rights: PRESENT | kind };
        state.segments.ldtr = system(2);
        state.segments.tr = system(0xb);
        state.segments.gdtr = Table { base: 0, limit: 0xffff };
        state.segments.idtr = Table { base: 0, limit: 0xffff };
        state.control.cr0 = cr0::CD | cr0::NW | cr0::ET;
        state.control.xcr0 = 1;
        state.debug.dr6 = crate::dr6::FIXED;
        state.debug.dr7 = crate::dr7::FIXED;
        state.gpr[2] = u64::from(model.signature());
        state.x87.control = 0x40;
        state.simd.mxcsr = 0x1f80;
        state.msrs.pat = 0x0007_0406_0007_0406;
        state.msrs.misc_enable = super::msr::misc_enable_at_reset(model);
        state.events.bootstrap = id == 0;
        if id != 0 {
            state.events.activity = Activity::WaitForStartup;
        }
        state
    }
}

impl Core {
    /// INIT: as RESET, but caches, the FPU, SSE, XCR0 and the model-specific registers (other than
    /// those of a hypervisor) stay as they are (SDM vol. 3A, table 10-1). A bootstrap processor starts over, the others wait for a
    /// start-up IPI.
    pub fn init(&mut self) {
        let fresh = CpuState::reset(&self.model, self.id);
        let mut state = self.state();
        let (cr0, xcr0, pkru) = (state.control.cr0, state.control.xcr0, state.control.pkru);
        let bootstrap = state.events.bootstrap;
        state.gpr = fresh.gpr;
        state.rip = fresh.rip;
        state.rflags = fresh.rflags;
        state.segments = fresh.segments;
        state.debug = fresh.debug;
        state.control = fresh.control;
        state.control.cr0 = cr0 & (cr0::CD | cr0::NW) | cr0::ET;
        state.control.xcr0 = xcr0;
        state.control.pkru = pkru;
        state.events = Events {
            bootstrap,
            activity: if bootstrap { Activity::Running } else { Activity::WaitForStartup },
            ..Events::default()
        };
        self.set_state(&state);
        self.end_paravirtual();
    }

    /// A start-up IPI: real mode at page `vector`, if the CPU waits for one (SDM vol. 3A, section
    /// 10.4.3).
    pub fn startup(&mut self, vector: u8) {
        if self.events.activity != Activity::WaitForStartup {
            return;
        }
        let cs = &mut self.segments.seg[Seg::Cs as usize];
        cs.selector = u16::from(vector) << 8;
        cs.base = u64::from(vector) << 12;
        self.rip = 0;
        self.events.activity = Activity::Running;
        self.refresh();
    }
}
