//! MOVS, STOS, LODS, CMPS and SCAS, with their repeat prefixes.
//!
//! A repeated instruction is done in steps, each of which retires as one instruction and leaves
//! RIP where it is until the count is used up. A step ends where an operand leaves its page, so
//! that its extent follows from the guest's registers alone; interrupts are taken between steps.
//! A fault in the middle of a step ends it with the last complete iteration; the next step then
//! faults at once. With EFLAGS.TF a step is one iteration.
//!
//! Source: SDM vol. 1, section 7.3.9; vol. 2, "REP/REPE/REPZ/REPNE/REPNZ".

use super::{RAX, RCX, RDI, RSI};
use crate::{Core, Insn, Raised, Seg, Width, rflags};

/// Which instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Movs,
    Stos,
    Lods,
    Cmps,
    Scas,
}

impl Kind {
    fn reads_source(self) -> bool {
        matches!(self, Self::Movs | Self::Lods | Self::Cmps)
    }

    fn has_destination(self) -> bool {
        self != Self::Lods
    }

    fn compares(self) -> bool {
        matches!(self, Self::Cmps | Self::Scas)
    }
}

/// MOVS.
pub(crate) fn movs(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Movs)
}

/// STOS.
pub(crate) fn stos(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Stos)
}

/// LODS.
pub(crate) fn lods(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Lods)
}

/// CMPS.
pub(crate) fn cmps(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Cmps)
}

/// SCAS.
pub(crate) fn scas(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Scas)
}

fn string(core: &mut Core, i: &Insn, kind: Kind) -> Result<(), Raised> {
    if !i.rep() && !i.repne() {
        return element(core, i, kind);
    }
    let aw = i.address_width();
    let count = core.get(aw, RCX);
    if count == 0 {
        // With 32-bit addresses in 64-bit mode the upper halves are cleared all the same.
        core.set(aw, RCX, 0);
        if kind == Kind::Movs || kind == Kind::Stos {
            advance(core, i, kind, 0);
        }
        return Ok(());
    }
    let most = if core.system_flags & rflags::TF != 0 { 1 } else { room(core, i, kind) };
    let most = most.min(count);
    let mut done = 0;
    while done < most {
        match element(core, i, kind) {
            Ok(()) => done += 1,
            Err(raised) if done == 0 => return Err(raised),
            Err(_) => {
                core.raised = None;
                break;
            }
        }
        if kind.compares() && core.flags.zf() == i.repne() {
            core.set(aw, RCX, count.wrapping_sub(done));
            return Ok(());
        }
        if core.events.pending_debug != 0 {
            break;
        }
        if done == 1 {
            done += bulk(core, i, kind, most - 1);
        }
    }
    core.set(aw, RCX, count.wrapping_sub(done));
    if done != count {
        core.rip = core.rip.wrapping_sub(u64::from(i.len)) & i.mode.code().mask();
    }
    Ok(())
}

/// One iteration, without the count.
fn element(core: &mut Core, i: &Insn, kind: Kind) -> Result<(), Raised> {
    let (w, aw) = (i.width(), i.address_width());
    let (from, to) = (core.get(aw, RSI), core.get(aw, RDI));
    match kind {
        Kind::Movs => {
            let value = core.load(w, i.seg(), from)?;
            core.store(w, Seg::Es, to, value)?;
        }
        Kind::Stos => core.store(w, Seg::Es, to, core.get(w, RAX))?,
        Kind::Lods => {
            let value = core.load(w, i.seg(), from)?;
            core.set(w, RAX, value);
        }
        Kind::Cmps => {
            let a = core.load(w, i.seg(), from)?;
            let b = core.load(w, Seg::Es, to)?;
            compare(core, w, a, b);
        }
        Kind::Scas => {
            let b = core.load(w, Seg::Es, to)?;
            compare(core, w, core.get(w, RAX), b);
        }
    }
    advance(core, i, kind, 1);
    Ok(())
}

fn compare(core: &mut Core, w: Width, a: u64, b: u64) {
    core.flags.sub(w, a, b, a.wrapping_sub(b) & w.mask());
}

/// Moves the index registers by `n` elements.
fn advance(core: &mut Core, i: &Insn, kind: Kind, n: u64) {
    let aw = i.address_width();
    let bytes = n.wrapping_mul(i.width().bytes());
    let by = if backward(core) { bytes.wrapping_neg() } else { bytes };
    if kind.reads_source() {
        core.set(aw, RSI, core.get(aw, RSI).wrapping_add(by));
    }
    if kind.has_destination() {
        core.set(aw, RDI, core.get(aw, RDI).wrapping_add(by));
    }
}

fn backward(core: &Core) -> bool {
    core.system_flags & rflags::DF != 0
}

/// How many elements a step may do: as many as lie in the present page of each operand.
fn room(core: &Core, i: &Insn, kind: Kind) -> u64 {
    let aw = i.address_width();
    let mut room = u64::MAX;
    if kind.reads_source() {
        room = room.min(room_at(core, i, i.seg(), core.get(aw, RSI)));
    }
    if kind.has_destination() {
        room = room.min(room_at(core, i, Seg::Es, core.get(aw, RDI)));
    }
    room
}

/// The same for the operand at `seg:offset`; at least 1, which may cross into the next page.
fn room_at(core: &Core, i: &Insn, seg: Seg, offset: u64) -> u64 {
    let size = i.width().bytes();
    let in_page = base(core, seg).wrapping_add(offset) & 0xfff;
    let (in_page, in_segment) = if backward(core) {
        let whole = in_page + size <= 0x1000;
        (if whole { in_page / size + 1 } else { 1 }, (offset / size).saturating_add(1))
    } else {
        let last = i.address_width().mask() - offset;
        ((0x1000 - in_page) / size, (last / size).saturating_add(1))
    };
    in_page.min(in_segment).max(1)
}

fn base(core: &Core, seg: Seg) -> u64 {
    if core.mode.is_64() && (seg as u8) < Seg::Fs as u8 {
        0
    } else {
        core.segments.seg[seg as usize].base
    }
}

/// Bytes that are moved at once.
const CHUNK: usize = 512;

/// Does `n` forward iterations of MOVS or STOS at once if all operands are plain RAM that the TLB
/// knows; all within a page each. Returns how many were done: all or none.
fn bulk(core: &mut Core, i: &Insn, kind: Kind, n: u64) -> u64 {
    if n == 0 || backward(core) || !matches!(kind, Kind::Movs | Kind::Stos) {
        return 0;
    }
    let (w, aw) = (i.width(), i.address_width());
    let bytes = n * w.bytes();
    let to = core.get(aw, RDI);
    let Some(to) = plain(core, Seg::Es, to, bytes, true) else { return 0 };
    if kind == Kind::Movs {
        let from = core.get(aw, RSI);
        let Some(from) = plain(core, i.seg(), from, bytes, false) else { return 0 };
        // A copy to a little further up reads what it has written: chunks must not be longer
        // than the distance.
        let distance = to.wrapping_sub(from);
        if distance != 0 && distance < w.bytes() {
            return 0;
        }
        let chunk = match distance {
            0 => CHUNK as u64,
            _ => (distance & !(w.bytes() - 1)).min(CHUNK as u64),
        };
        copy(core, from, to, bytes, chunk);
    } else {
        fill(core, to, bytes, w, core.get(w, RAX));
    }
    advance(core, i, kind, n);
    n
}

/// The offset in RAM of `bytes` bytes at `seg:offset`, if the TLB has their page.
fn plain(core: &mut Core, seg: Seg, offset: u64, bytes: u64, write: bool) -> Option<u64> {
    if core.checks_alignment() {
        return None;
    }
    let Ok(lin) = core.linear(seg, offset, bytes, write) else {
        core.raised = None;
        return None;
    };
    let entry = core.tlb.entry(core.class, lin);
    let tag = if write { entry.write } else { entry.read };
    let last = lin.wrapping_add(bytes.wrapping_sub(1)) & !0xfff;
    (tag == last && tag == lin & !0xfff).then(|| entry.offset(lin))
}

fn copy(core: &mut Core, mut from: u64, mut to: u64, mut bytes: u64, chunk: u64) {
    let mut buffer = [0; CHUNK];
    while bytes != 0 {
        let len = bytes.min(chunk);
        let part = &mut buffer[..len as usize];
        core.ram.load_bytes(from, part);
        core.leave_block |= core.ram.store_bytes(to, part);
        (from, to, bytes) = (from + len, to + len, bytes - len);
    }
}

fn fill(core: &mut Core, mut to: u64, mut bytes: u64, w: Width, value: u64) {
    let mut buffer = [0; CHUNK];
    let size = w.bytes() as usize;
    for element in buffer[..CHUNK.min(bytes as usize)].chunks_mut(size) {
        element.copy_from_slice(&value.to_le_bytes()[..size]);
    }
    while bytes != 0 {
        let len = bytes.min(CHUNK as u64);
        core.leave_block |= core.ram.store_bytes(to, &buffer[..len as usize]);
        (to, bytes) = (to + len, bytes - len);
    }
}
