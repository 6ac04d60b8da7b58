//! VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ: moves of the elements that a mask chooses.
//!
//! An element that is not chosen is not accessed, and raises nothing.
//!
//! Source: SDM vol. 2C, VMASKMOV, VPMASKMOV.

use super::{
    Bank, Vex, element, enter_avx,
    lanes::{Lane, build, lane},
    transfer::lane_width,
};
use crate::{Core, Insn, Raised, Width, vector};

/// Whether lane `n`'s top bit is set.
#[inline(always)]
pub(crate) fn chosen<L: Lane, const Q: usize>(mask: &[u64; Q], n: usize) -> bool {
    lane::<L, Q>(mask, n).bits() >> (L::BITS - 1) != 0
}

/// Lanes in `Q` quadwords.
const fn count<L: Lane, const Q: usize>() -> usize {
    Q * 64 / L::BITS as usize
}

/// The offset of element `n` of the memory operand, which goes on where its address could not go
/// any further, but not beyond 32 bits outside of 64-bit mode.
fn offset<L: Lane>(core: &Core, i: &Insn, n: usize) -> u64 {
    let widest = if core.mode.is_64() { Width::W64 } else { Width::W32 };
    core.address(i).wrapping_add(n as u64 * lane_width::<L>().bytes()) & widest.mask()
}

/// The chosen elements' numbers, and where in the linear address space they are. Segments and
/// canonical addresses are checked before any page is.
fn places<L: Lane, const Q: usize>(
    core: &mut Core,
    i: &Insn,
    mask: &[u64; Q],
    write: bool,
) -> Result<Places, Raised> {
    let w = lane_width::<L>();
    let mut out = Places { linear: [0; 8], chosen: 0 };
    for n in (0..count::<L, Q>()).filter(|n| chosen::<L, Q>(mask, *n)) {
        let offset = offset::<L>(core, i, n);
        out.linear[n] = element(core, i, offset, w, write)?;
        out.chosen |= 1 << n;
    }
    Ok(out)
}

/// See [`places`].
struct Places {
    linear: [u64; 8],
    chosen: u8,
}

impl Places {
    /// Numbers and linear addresses, from the lowest up.
    fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> {
        (0..8).filter(|n| self.chosen >> n & 1 != 0).map(|n| (n, self.linear[n]))
    }
}

/// From memory; what is not chosen becomes zero.
pub(crate) fn load<L: Lane, const Q: usize>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_avx(core)?;
    let places = places::<L, Q>(core, i, &Vex::get(core, i.ops[1]), false)?;
    let mut words = [0; 8];
    for (n, lin) in places.iter() {
        words[n] = core.load_linear(lane_width::<L>(), core.class, i.seg(), lin)?;
    }
    Vex::set(core, i.ops[0], build::<L, Q>(|n| L::of(words[n])));
    Ok(())
}

/// Where chosen elements are in both of two pages and the second one faults, Intel's CPUs name the
/// last byte of the last one.
#[cold]
fn page_fault(core: &mut Core, raised: Raised, first: u64, last: u64) -> Raised {
    if let Some(exception) = &mut core.raised
        && exception.vector == vector::PF
        && exception.payload & !0xfff == last & !0xfff
        && first & !0xfff != last & !0xfff
    {
        exception.payload = last;
    }
    raised
}

/// To memory, all or nothing.
pub(crate) fn store<L: Lane, const Q: usize>(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    enter_avx(core)?;
    let places = places::<L, Q>(core, i, &Vex::get(core, i.ops[1]), true)?;
    let value: [u64; Q] = Vex::get(core, i.ops[2]);
    let w = lane_width::<L>();
    for (_, lin) in places.iter() {
        if core.writable(core.class, lin, w.bytes()).is_none()
            && let Err(raised) = core.place(core.class, i.seg(), lin, w.bytes())
        {
            let first = places.iter().next().map_or(lin, |(_, lin)| lin);
            let last = places.iter().next_back().map_or(lin, |(_, lin)| lin);
            return Err(page_fault(core, raised, first, last.wrapping_add(w.bytes() - 1)));
        }
    }
    for (n, lin) in places.iter() {
        core.store_linear(w, core.class, i.seg(), lin, lane::<L, Q>(&value, n).bits())?;
    }
    Ok(())
}
