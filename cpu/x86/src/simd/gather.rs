//! Gathers: elements from wherever the lanes of an index register say.
//!
//! They are done one by one from the lowest up. A fault leaves those before it done, and their
//! masks clear, so that the instruction goes on where it was when it starts anew.
//!
//! Source: SDM vol. 2C, VPGATHERDD, VPGATHERQD, VGATHERDPS, VGATHERDPD and their like.

use super::{
    Bank, Vex, element, enter_avx,
    lanes::{Lane, build, lane},
    masked::chosen,
    transfer::lane_width,
};
use crate::{Core, Exception, Insn, Raised, debugctl, dr6, rflags, vector};

/// What comes of a fault when elements before it are done: the debug traps that they left come in
/// its place, and RF spares the rest the instruction's own breakpoint. `pending` are the traps that
/// the instruction found.
fn trap_or(core: &mut Core, fault: Raised, pending: u64) -> Raised {
    let steps = core.system_flags & rflags::TF != 0 && core.msrs.debugctl & debugctl::BTF == 0;
    let traps = core.events.pending_debug & !pending | if steps { dr6::BS } else { 0 };
    if traps == 0 {
        return fault;
    }
    core.system_flags |= rflags::RF;
    core.raise(Exception { vector: vector::DB, code: None, payload: traps })
}

/// `COUNT` elements of type `E` at indices of type `I`.
pub(crate) fn gather<E: Lane, I: Lane, const COUNT: usize>(
    core: &mut Core,
    i: &Insn,
) -> Result<(), Raised> {
    enter_avx(core)?;
    let indices: [u64; 4] = Vex::get(core, i.index);
    let base = core.regs[usize::from(i.base)].wrapping_add(i64::from(i.disp) as u64);
    let mask: [u64; 4] = Vex::get(core, i.ops[2]);
    let old: [u64; 4] = Vex::get(core, i.ops[0]);
    let mut words: [u64; 8] = std::array::from_fn(|n| match n < 256 / E::BITS as usize {
        true => lane::<E, 4>(&old, n).bits(),
        false => 0,
    });
    let w = lane_width::<E>();
    let pending = core.events.pending_debug;
    let mut done = false;
    for n in (0..COUNT).filter(|n| chosen::<E, 4>(&mask, *n)) {
        let index = lane_width::<I>().sign_extend(lane::<I, 4>(&indices, n).bits());
        let offset = base.wrapping_add(index << i.scale()) & i.address_width().mask();
        let loaded = element(core, i, offset, w, false)
            .and_then(|lin| core.load_linear(w, core.class, i.seg(), lin));
        match loaded {
            Ok(word) => (words[n], done) = (word, true),
            Err(raised) => {
                // As far as the vector goes, also where it has more lanes than there are elements.
                let lanes = COUNT * (E::BITS.max(I::BITS) / E::BITS) as usize;
                let rest = build::<E, 4>(|k| {
                    let set = (n..lanes).contains(&k) && chosen::<E, 4>(&mask, k);
                    E::of(if set { u64::MAX } else { 0 })
                });
                Vex::set(core, i.ops[2], rest);
                // What is above the vector goes with the first element.
                if !done {
                    return Err(raised);
                }
                let value = build::<E, 4>(|k| E::of(if k < lanes { words[k] } else { 0 }));
                Vex::set(core, i.ops[0], value);
                return Err(trap_or(core, raised, pending));
            }
        }
    }
    Vex::set(core, i.ops[2], [0; 4]);
    Vex::set(core, i.ops[0], build::<E, 4>(|k| E::of(if k < COUNT { words[k] } else { 0 })));
    Ok(())
}
