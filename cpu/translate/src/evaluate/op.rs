//! What one operation does, given the values that it uses: for the evaluator, and for host code
//! where a backend has none of its own.

use trine_x86::{Core, Place, Rmw, Width, rflags, slot};

use crate::{
    flags::settle,
    helper::{OPENED_SPILL, WRITE, try_fill},
    ir::{Op, Setter},
};

/// Does an operation, other than those that concern registers, the flow of control or vectors.
/// The values that it uses come in the order of [`Op::uses`]; those of [`Op::Address`] are the base
/// and the index. The result is its value, or 0; `None` if it stops the instruction.
pub(crate) fn evaluate(core: &mut Core, op: &Op, [a, b, c]: [u64; 3]) -> Option<u64> {
    Some(match *op {
        Op::Bin(op, w, ..) => op.eval(w, a, b),
        Op::Un(op, w, _) => op.eval(w, a),
        Op::Truncate(w, _) => a & w.mask(),
        Op::SignExtend(from, to, _) => from.sign_extend(a) & to.mask(),
        Op::Select(..) if a != 0 => b,
        Op::Select(..) => c,
        Op::Pure(f, ..) => f(a, b),
        Op::Near(w, disp) => {
            core.regs[usize::from(slot::ORIGIN)].wrapping_add_signed(disp) & w.mask()
        }
        Op::Address { w, index, disp, .. } => {
            let scaled = b << index.map_or(0, |(_, scale)| scale);
            a.wrapping_add(scaled).wrapping_add_signed(disp) & w.mask()
        }
        Op::Linear { .. } | Op::Load(..) | Op::Store(..) | Op::Open(..) | Op::Commit(..) => {
            return access(core, op, [a, b]);
        }
        Op::Update(w, _, op, _) => update(core, w, a, op, b)?,
        Op::CompareExchange(w, ..) => {
            let at = find(core, w.bytes(), a, true)?;
            core.update_place(w, Place::Ram(at), |old| if old == b { c } else { old })
        }
        Op::SetFlags(w, setter) => {
            settle(core);
            set_flags(core, w, setter, [a, b, c]);
            0
        }
        Op::Flag(flag) => {
            settle(core);
            u64::from(core.flags.bits() & flag.bit() != 0)
        }
        Op::Flags => {
            settle(core);
            core.flags.bits()
        }
        Op::Condition(cc) => {
            settle(core);
            u64::from(core.flags.condition(cc))
        }
        Op::Nop | Op::Imm(_) | Op::Get(..) | Op::Set(..) => unreachable!("every engine does them"),
        Op::Jump(_) | Op::Branch(_) | Op::When(..) | Op::Vector(..) | Op::X87(_) | Op::Stop => {
            unreachable!("it takes more than values")
        }
    })
}

/// The offset in RAM of so many bytes at linear address `lin`; `None` if the access is not plain.
pub(super) fn find(core: &mut Core, bytes: u64, lin: u64, write: bool) -> Option<u64> {
    let hit = match write {
        true => core.writable(core.class, lin, bytes),
        false => core.readable(core.class, lin, bytes),
    };
    let access = bytes as u32 | if write { WRITE } else { 0 };
    // The entry is there; a store beside code is allowed once, and not by its tag.
    hit.or_else(|| try_fill(core, lin, access).then(|| core.tlb.entry(core.class, lin).offset(lin)))
}

/// An operation on memory that is not locked.
fn access(core: &mut Core, op: &Op, [a, b]: [u64; 2]) -> Option<u64> {
    match *op {
        Op::Linear { seg, long: true, .. } => {
            Some(core.segments.seg[seg as usize].base.wrapping_add(a))
        }
        Op::Linear { w, seg, write, .. } => {
            let extent = &core.extents[seg as usize];
            let end = if write { extent.write_end } else { extent.read_end };
            let base = core.segments.seg[seg as usize].base;
            (a + w.bytes() <= end).then(|| base.wrapping_add(a) & 0xffff_ffff)
        }
        Op::Load(w, _) => {
            let at = find(core, w.bytes(), a, false)?;
            Some(core.load_ram(w, at))
        }
        Op::Open(w, _) => {
            let at = find(core, w.bytes(), a, true)?;
            core.translated.spill[usize::from(OPENED_SPILL)] = at;
            Some(core.load_ram(w, at))
        }
        Op::Commit(w, ..) => {
            let at = core.translated.spill[usize::from(OPENED_SPILL)];
            core.store_quiet(w, at, b);
            Some(0)
        }
        Op::Store(w, ..) => {
            let at = find(core, w.bytes(), a, true)?;
            core.store_quiet(w, at, b);
            Some(0)
        }
        _ => unreachable!("it does not access memory so"),
    }
}

/// [`Op::Update`]: the old word.
fn update(core: &mut Core, w: Width, lin: u64, op: Rmw, operand: u64) -> Option<u64> {
    settle(core);
    let carry = u64::from(core.flags.cf());
    let at = find(core, w.bytes(), lin, true)?;
    Some(core.update_place(w, Place::Ram(at), |old| op.eval(old, operand, carry)))
}

/// [`Op::SetFlags`] with the values that the setter uses.
fn set_flags(core: &mut Core, w: Width, setter: Setter, [a, b, c]: [u64; 3]) {
    let flags = &mut core.flags;
    match setter {
        Setter::Add { .. } => flags.add(w, a, b, c),
        Setter::Sub { .. } => flags.sub(w, a, b, c),
        Setter::Logic { .. } => flags.logic(w, a),
        Setter::Inc { .. } => flags.inc(w, a),
        Setter::Dec { .. } => flags.dec(w, a),
        Setter::Shift { .. } => flags.shift(w, a, b != 0, c != 0),
        Setter::Rotate { .. } => flags.rotate(a != 0, b != 0),
        Setter::One { flag, .. } => {
            flags.set_masked(flag.bit(), if a != 0 { flag.bit() } else { 0 });
        }
        Setter::Masked { mask, .. } => flags.set_masked(mask & rflags::ARITHMETIC, a),
        Setter::Compare { .. } => flags.set_bits(a & !rflags::OF),
    }
}
