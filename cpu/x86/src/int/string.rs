//! MOVS, STOS, LODS, CMPS and SCAS, with their repeat prefixes.
//!
//! A repeated instruction is done in steps, each of which retires as one instruction and leaves
//! RIP where it is until the count is used up. A step ends where an operand leaves its page, so
//! that its extent follows from the guest's registers alone; interrupts are taken between steps.
//! A fault in the middle of a step ends it with the last complete iteration; the next step then
//! faults at once. With EFLAGS.TF a step is one iteration.
//!
//! The flags of CMPS and SCAS come with the last iteration: a fault, an interrupt or a single step
//! before it finds those from before the instruction, as the manual says of faults.
//!
//! Source: SDM vol. 1, section 7.3.9; vol. 2, "REP/REPE/REPZ/REPNE/REPNZ".

use super::{RAX, RCX, RDI, RSI};
use crate::{
    Core, Insn, Raised, Seg, Width, rflags,
    sem::{Reach, Sem, Size},
};

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

/// REP MOVS.
pub(crate) fn movs(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Movs)
}

/// REP STOS.
pub(crate) fn stos(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Stos)
}

/// REP LODS.
pub(crate) fn lods(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Lods)
}

/// REPE and REPNE CMPS.
pub(crate) fn cmps(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Cmps)
}

/// REPE and REPNE SCAS.
pub(crate) fn scas(core: &mut Core, i: &Insn) -> Result<(), Raised> {
    string(core, i, Kind::Scas)
}

/// Moves index register `reg`, which is `from`, by one element.
#[inline(always)]
fn step<S: Sem, R: Reach>(s: &mut S, i: &Insn, w: Width, reg: u8, from: S::Value) {
    let aw = R::address_width(i);
    let (direction, size) = (s.direction(), s.imm(u64::from(w.bytes().trailing_zeros())));
    let by = s.shl(Width::W64, direction, size);
    let by = s.truncate(aw, by);
    let to = s.add(aw, from, by);
    s.set(aw, reg, to);
}

/// MOVS without a repeat prefix; `M` reaches the source, `E` what ES holds.
#[inline(always)]
pub(crate) fn movs_once<S: Sem, W: Size, M: Reach, E: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let aw = E::address_width(i);
    let (from, to) = (s.get(aw, RSI), s.get(aw, RDI));
    let value = s.load::<M>(W::W, i, i.seg(), from)?;
    s.store::<E>(W::W, i, Seg::Es, to, value)?;
    step::<S, E>(s, i, W::W, RSI, from);
    step::<S, E>(s, i, W::W, RDI, to);
    Ok(())
}

/// STOS.
#[inline(always)]
pub(crate) fn stos_once<S: Sem, W: Size, E: Reach>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let to = s.get(E::address_width(i), RDI);
    let value = s.get(W::W, RAX);
    s.store::<E>(W::W, i, Seg::Es, to, value)?;
    step::<S, E>(s, i, W::W, RDI, to);
    Ok(())
}

/// LODS.
#[inline(always)]
pub(crate) fn lods_once<S: Sem, W: Size, M: Reach>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let from = s.get(M::address_width(i), RSI);
    let value = s.load::<M>(W::W, i, i.seg(), from)?;
    step::<S, M>(s, i, W::W, RSI, from);
    s.set(W::W, RAX, value);
    Ok(())
}

/// CMPS.
#[inline(always)]
pub(crate) fn cmps_once<S: Sem, W: Size, M: Reach, E: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let aw = E::address_width(i);
    let (from, to) = (s.get(aw, RSI), s.get(aw, RDI));
    // The order in which Intel's CPUs find faults.
    let b = s.load::<E>(W::W, i, Seg::Es, to)?;
    let a = s.load::<M>(W::W, i, i.seg(), from)?;
    let r = s.sub(W::W, a, b);
    s.flags_sub(W::W, a, b, r);
    step::<S, E>(s, i, W::W, RSI, from);
    step::<S, E>(s, i, W::W, RDI, to);
    Ok(())
}

/// SCAS.
#[inline(always)]
pub(crate) fn scas_once<S: Sem, W: Size, E: Reach>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let to = s.get(E::address_width(i), RDI);
    let b = s.load::<E>(W::W, i, Seg::Es, to)?;
    let a = s.get(W::W, RAX);
    let r = s.sub(W::W, a, b);
    s.flags_sub(W::W, a, b, r);
    step::<S, E>(s, i, W::W, RDI, to);
    Ok(())
}

fn string(core: &mut Core, i: &Insn, kind: Kind) -> Result<(), Raised> {
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
    let flags = core.flags;
    let mut done = 0;
    while done < most {
        match element(core, i, kind) {
            Ok(()) => done += 1,
            Err(raised) if done == 0 => {
                // As with a count of 0.
                core.set(aw, RCX, count);
                if kind == Kind::Movs || kind == Kind::Stos {
                    advance(core, i, kind, 0);
                }
                return Err(raised);
            }
            Err(_) => {
                core.raised = None;
                break;
            }
        }
        if core.events.pending_debug != 0 && !is_over(core, i, kind) {
            break;
        }
        if done == 1 && !is_over(core, i, kind) {
            done += bulk(core, i, kind, most - 1);
        }
        if is_over(core, i, kind) {
            core.set(aw, RCX, count.wrapping_sub(done));
            return Ok(());
        }
    }
    core.set(aw, RCX, count.wrapping_sub(done));
    if done != count {
        core.flags = flags;
        // Whoever comes back here is not to meet the instruction's breakpoint again.
        core.system_flags |= rflags::RF;
        core.rip = core.rip.wrapping_sub(u64::from(i.len)) & i.mode.code().mask();
    }
    Ok(())
}

/// Whether the last iteration has found what ends a comparison before the count does.
fn is_over(core: &Core, i: &Insn, kind: Kind) -> bool {
    kind.compares() && core.flags.zf() == i.repne()
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
            // The order in which Intel's CPUs find faults.
            let b = core.load(w, Seg::Es, to)?;
            let a = core.load(w, i.seg(), from)?;
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

/// Bytes that are compared at once.
const CHUNK: usize = 512;

/// Does `n` forward iterations at once if all operands are plain RAM that the TLB knows; all within
/// a page each. Returns how many were done: all or none, or up to the end of a comparison.
fn bulk(core: &mut Core, i: &Insn, kind: Kind, n: u64) -> u64 {
    if n == 0 || backward(core) || kind == Kind::Lods {
        return 0;
    }
    let (w, aw) = (i.width(), i.address_width());
    let bytes = n * w.bytes();
    let to = core.get(aw, RDI);
    let Some(to) = plain(core, Seg::Es, to, bytes, !kind.compares()) else { return 0 };
    let mut from = 0;
    if kind.reads_source() {
        let at = core.get(aw, RSI);
        let Some(at) = plain(core, i.seg(), at, bytes, false) else { return 0 };
        from = at;
    }
    if kind.compares() {
        let source = (kind == Kind::Cmps).then_some(from);
        let n = match w {
            Width::W8 => seek::<1>(core, i, source, to, bytes),
            Width::W16 => seek::<2>(core, i, source, to, bytes),
            Width::W32 => seek::<4>(core, i, source, to, bytes),
            Width::W64 => seek::<8>(core, i, source, to, bytes),
        };
        advance(core, i, kind, n);
        return n;
    }
    core.leave_block |= if kind == Kind::Movs {
        // Bytes are not elements if an element is written into itself.
        if (1..w.bytes()).contains(&to.wrapping_sub(from)) {
            return 0;
        }
        core.ram.copy(from, to, bytes)
    } else {
        // As often as it has room in eight bytes.
        let ones = u64::MAX / w.mask();
        core.ram.fill(to, bytes, core.get(w, RAX) * ones)
    };
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
    let last = lin.wrapping_add(bytes.wrapping_sub(1));
    let allows = |at: u64| if write { entry.may_write(at) } else { entry.read == at & !0xfff };
    if allows(lin) && allows(last) {
        return Some(entry.offset(lin));
    }
    // The destination may have pushed out the source, from which an element was just read.
    let is_read = !write && (lin ^ last) & !0xfff == 0;
    if is_read { core.evicted(lin) } else { None }
}

/// Compares elements of `N` bytes at `source`, or else the accumulator, with those at `to`, up to
/// the one that ends it. Returns how many; the flags are those of the last.
fn seek<const N: usize>(
    core: &mut Core,
    i: &Insn,
    source: Option<u64>,
    to: u64,
    bytes: u64,
) -> u64 {
    let (mut left, mut right) = ([0; CHUNK], [0; CHUNK]);
    let accumulator = core.get(i.width(), RAX);
    for element in left.chunks_exact_mut(N) {
        element.copy_from_slice(&accumulator.to_le_bytes()[..N]);
    }
    let mut done = 0;
    while done < bytes {
        let len = (bytes - done).min(CHUNK as u64) as usize;
        if let Some(from) = source {
            core.ram.load_bytes(from + done, &mut left[..len]);
        }
        core.ram.load_bytes(to + done, &mut right[..len]);
        let (left, right) = (&left[..len], &right[..len]);
        let (left, right) = (left.as_chunks::<N>().0, right.as_chunks::<N>().0);
        let found = first(left, right, i.repne());
        let last = found.unwrap_or(left.len() - 1);
        done += (N * (last + 1)) as u64;
        if found.is_some() || done == bytes {
            compare(core, i.width(), word(&left[last]), word(&right[last]));
            break;
        }
    }
    done / N as u64
}

/// The number of the first elements that are equal, or not.
fn first<const N: usize>(left: &[[u8; N]], right: &[[u8; N]], equal: bool) -> Option<usize> {
    // A loop without a way out in the middle, which the compiler makes of vector instructions.
    let ends = |left: &[[u8; N]], right: &[[u8; N]]| {
        left.iter().zip(right).fold(false, |any, (a, b)| any | ((a == b) == equal))
    };
    let blocks = left.chunks(64).zip(right.chunks(64));
    let block = blocks.into_iter().position(|(left, right)| ends(left, right))? * 64;
    let rest = left[block..].iter().zip(&right[block..]);
    rest.into_iter().position(|(a, b)| (a == b) == equal).map(|n| block + n)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trine_guest::{Gpa, Ram};

    use super::*;
    use crate::{CpuModel, Decoded, Decoder, NoBus, vector};

    /// Real mode, all segments at 0.
    fn core() -> (Core, Arc<Ram>) {
        let model = CpuModel::named("max").expect("there is such a model");
        let ram = Arc::new(Ram::flat(0x2_0000).expect("128 KiB"));
        let mut core = Core::new(0, &model, ram.clone(), Arc::new(NoBus::default()));
        for seg in &mut core.segments.seg {
            seg.base = 0;
        }
        core.refresh();
        (core, ram)
    }

    fn insn(core: &Core, bytes: &[u8]) -> Insn {
        match Decoder::new(&core.model).decode(bytes, core.mode, 0x100, 0) {
            Decoded::Insn(insn) => insn,
            other => panic!("{other:?}"),
        }
    }

    /// One step, and whether it stayed.
    fn step(core: &mut Core, i: &Insn, run: fn(&mut Core, &Insn) -> Result<(), Raised>) -> bool {
        core.rip = 0x100 + u64::from(i.len);
        run(core, i).expect("no fault");
        core.rip == 0x100
    }

    #[test]
    fn a_step_ends_with_each_page() {
        let (mut core, ram) = core();
        let i = insn(&core, &[0xf3, 0xa4]);
        core.regs[usize::from(RSI)] = 0x2f00;
        core.regs[usize::from(RDI)] = 0x4e00;
        core.regs[usize::from(RCX)] = 0x400;
        ram.write(Gpa(0x2f00), &[7; 0x400]).expect("in RAM");
        // The source's page ends after 100h bytes, the destination's after 200h.
        for left in [0x300, 0x200] {
            assert!(step(&mut core, &i, movs));
            assert_eq!(core.regs[usize::from(RCX)], left);
        }
        assert!(!step(&mut core, &i, movs));
        assert_eq!(core.regs[usize::from(RCX)], 0);
        let mut copy = [0; 0x400];
        ram.read(Gpa(0x4e00), &mut copy).expect("in RAM");
        assert_eq!(copy, [7; 0x400]);
    }

    #[test]
    fn pages_that_push_each_other_out_of_the_tlb_are_copied_at_once() {
        let model = CpuModel::named("max").expect("there is such a model");
        let distance = 16 << 20;
        let ram = Arc::new(Ram::flat(2 * distance).expect("32 MiB"));
        let mut core = Core::new(0, &model, ram.clone(), Arc::new(NoBus::default()));
        for (n, seg) in core.segments.seg.iter_mut().enumerate() {
            seg.base = if n == Seg::Es as usize { distance } else { 0 };
        }
        core.refresh();
        let i = insn(&core, &[0xf3, 0xa5]);
        core.regs[usize::from(RSI)] = 0x2000;
        core.regs[usize::from(RDI)] = 0x2000;
        core.regs[usize::from(RCX)] = 0x800;
        ram.write(Gpa(0x2000), &[7; 0x1000]).expect("in RAM");
        assert!(!step(&mut core, &i, movs));
        assert_eq!(core.counters.tlb_misses, 2);
        let mut copy = [0; 0x1001];
        ram.read(Gpa(distance + 0x2000), &mut copy).expect("in RAM");
        assert_eq!((&copy[..0x1000], copy[0x1000]), (&[7; 0x1000][..], 0));
    }

    #[test]
    fn with_the_trap_flag_a_step_is_an_iteration() {
        let (mut core, _) = core();
        core.system_flags |= rflags::TF;
        let i = insn(&core, &[0xf3, 0xaa]);
        core.regs[usize::from(RDI)] = 0x2000;
        core.regs[usize::from(RCX)] = 2;
        assert!(step(&mut core, &i, stos));
        assert_eq!((core.regs[usize::from(RCX)], core.regs[usize::from(RDI)]), (1, 0x2001));
        assert!(!step(&mut core, &i, stos));
    }

    #[test]
    fn a_fault_leaves_the_iterations_before_it() {
        let (mut core, ram) = core();
        core.segments.seg[Seg::Es as usize].limit = 0x2004;
        core.refresh();
        let i = insn(&core, &[0xf3, 0xab]);
        core.set(Width::W16, RAX, 0x1122);
        core.regs[usize::from(RDI)] = 0x2000;
        core.regs[usize::from(RCX)] = 9;
        assert!(step(&mut core, &i, stos));
        assert_eq!((core.regs[usize::from(RCX)], core.regs[usize::from(RDI)]), (7, 0x2004));
        assert!(core.raised.is_none());
        assert!(stos(&mut core, &i).is_err());
        assert_eq!(core.raised.map(|e| e.vector), Some(vector::GP));
        let mut after = [0; 6];
        ram.read(Gpa(0x2000), &mut after).expect("in RAM");
        assert_eq!(after, [0x22, 0x11, 0x22, 0x11, 0, 0]);
    }

    #[test]
    fn copies_onto_themselves_go_element_by_element() {
        for bytes in [&[0xf3, 0xa4][..], &[0xf3, 0xa5], &[0x66, 0xf3, 0xa5]] {
            for distance in 0..24_usize {
                let (mut core, ram) = core();
                let i = insn(&core, bytes);
                let size = i.width().bytes() as usize;
                let (from, to) = (0x2008, 0x2000 + distance);
                let mut want: Vec<u8> = (0..=255).collect();
                ram.write(Gpa(0x2000), &want).expect("in RAM");
                for n in (0..160).step_by(size) {
                    want.copy_within(8 + n..8 + n + size, distance + n);
                }
                core.regs[usize::from(RSI)] = from;
                core.regs[usize::from(RDI)] = to as u64;
                core.regs[usize::from(RCX)] = 160_u64.div_ceil(size as u64);
                assert!(!step(&mut core, &i, movs));
                let mut got = vec![0; 256];
                ram.read(Gpa(0x2000), &mut got).expect("in RAM");
                assert_eq!(got, want, "elements of {size} bytes from 8 to {distance}");
            }
        }
    }
}
