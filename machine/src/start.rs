//! The state in which the first CPU starts, as a boot protocol wants it.
//!
//! Source: SDM vol. 3A, chapter 3 and table 10-1; what firmware leaves in the MTRRs: SDM vol. 3A,
//! section 12.11, and the BIOS writer's guides.

use trine_firmware::{Entry, Gdt};
use trine_x86::{CpuModel, CpuState, Feature, Seg, Segment, Table, cr0, cr4, efer};

use crate::pc;

/// Access rights: data, writable, accessed, present; a byte-granular 16-bit segment.
const DATA_16: u32 = 0x93;
/// Code, readable, accessed, present; the same.
const CODE_16: u32 = 0x9b;
/// The same with D/B and G: 32 bits, 4 GiB.
const DATA_32: u32 = 0xc093;
const CODE_32: u32 = 0xc09b;
/// Code with L and G: 64 bits.
const CODE_64: u32 = 0xa09b;
/// A busy 32-bit TSS, present.
const TSS_BUSY: u32 = 0x8b;

/// vCPU `id` after RESET and what firmware does to every CPU: caches on, memory types set.
pub(crate) fn after_firmware(model: &CpuModel, id: u32) -> CpuState {
    let mut state = CpuState::reset(model, id);
    state.control.cr0 &= !(cr0::CD | cr0::NW);
    if model.has(Feature::Mtrr) {
        set_mtrrs(&mut state, model);
    }
    state
}

/// Everything is write-back but the video memory and the devices below 4 GiB.
fn set_mtrrs(state: &mut CpuState, model: &CpuModel) {
    const WRITE_BACK: u64 = 6;
    const ENABLED: u64 = 1 << 11;
    const FIXED_ENABLED: u64 = 1 << 10;
    const VALID: u64 = 1 << 11;
    /// Index of FIX16K_A0000: video memory is uncacheable.
    const A0000: usize = 2;
    state.msrs.mtrr_def_type = ENABLED | FIXED_ENABLED | WRITE_BACK;
    state.msrs.mtrr_fixed = [0x0606_0606_0606_0606; 11];
    state.msrs.mtrr_fixed[A0000] = 0;
    let bits = model.physical_bits().clamp(32, 52);
    let hole = (1_u64 << 32) - pc::LOW_RAM_MAX;
    let mask = ((1_u64 << bits) - 1) & !(hole - 1);
    state.msrs.mtrr_variable[0] = (pc::LOW_RAM_MAX, mask | VALID);
}

/// vCPU 0 as `entry` wants it.
pub(crate) fn state(model: &CpuModel, entry: &Entry) -> CpuState {
    let mut state = after_firmware(model, 0);
    state.gpr = [0; 16];
    match *entry {
        Entry::Reset => return CpuState::reset(model, 0),
        Entry::Real { cs, ip } => {
            let at = |selector: u16, rights| Segment {
                selector,
                base: u64::from(selector) << 4,
                limit: 0xffff,
                rights,
            };
            state.segments.seg = [at(0, DATA_16); 6];
            state.segments.seg[Seg::Cs as usize] = at(cs, CODE_16);
            state.segments.idtr = Table { base: 0, limit: 0x3ff };
            state.rip = u64::from(ip);
        }
        Entry::Protected32 { eip, eax, esi, ebx, gdt, cs, ds, tr } => {
            enter_protected(&mut state, gdt, (cs, CODE_32), ds);
            if tr != 0 {
                state.segments.tr =
                    Segment { selector: tr, base: 0, limit: 0x67, rights: TSS_BUSY };
            }
            state.gpr[RAX] = u64::from(eax);
            state.gpr[RSI] = u64::from(esi);
            state.gpr[RBX] = u64::from(ebx);
            state.rip = u64::from(eip);
        }
        Entry::Long64 { rip, rsi, rsp, cr3, gdt, cs, ds } => {
            enter_protected(&mut state, gdt, (cs, CODE_64), ds);
            state.control.cr0 |= cr0::PG;
            state.control.cr3 = cr3;
            state.control.cr4 |= cr4::PAE;
            state.control.efer |= efer::LME | efer::LMA;
            state.gpr[RSI] = rsi;
            state.gpr[RSP] = rsp;
            state.rip = rip;
        }
    }
    state
}

const RAX: usize = 0;
const RBX: usize = 3;
const RSP: usize = 4;
const RSI: usize = 6;

fn enter_protected(state: &mut CpuState, gdt: Gdt, cs: (u16, u32), ds: u16) {
    let flat = |selector, rights| Segment { selector, base: 0, limit: u32::MAX, rights };
    state.segments.seg = [flat(ds, DATA_32); 6];
    state.segments.seg[Seg::Cs as usize] = flat(cs.0, cs.1);
    state.segments.gdtr = Table { base: gdt.base.0, limit: gdt.limit };
    state.segments.idtr = Table { base: 0, limit: 0 };
    state.control.cr0 |= cr0::PE;
}
