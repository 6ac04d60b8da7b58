//! The state after RESET.
//!
//! Source: SDM vol. 3A, table 10-1.

use crate::{
    CpuModel, CpuState, Seg, cr0,
    segment::{ACCESSED, CODE, NOT_SYSTEM, PRESENT, READABLE, WRITABLE},
    state::{Activity, Segment, Table},
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
        state.msrs.misc_enable = 1;
        state.events.bootstrap = id == 0;
        if id != 0 {
            state.events.activity = Activity::WaitForStartup;
        }
        state
    }
}
