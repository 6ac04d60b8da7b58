//! Single bits and their counts: BT, BTS, BTR, BTC, BSF, BSR, LZCNT, TZCNT, POPCNT, CRC32, and
//! BMI1 and BMI2.
//!
//! Source: SDM vol. 2.

use crate::{
    insn::{Insn, Width},
    operand::{Source, Target},
    rflags,
    sem::{Flag, Reach, Rmw, Sem, Size},
};

/// What BT and its kin make of the bit.
pub(crate) trait BitOp: 'static {
    /// Whether they write (not BT).
    const WRITES: bool = true;
    /// The locked form; for AND the operand is inverted.
    const LOCKED: Rmw;
    /// `a` with the bit that is 1 in `mask` changed.
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, mask: S::Value) -> S::Value;
}

/// BT.
pub(crate) struct Bt;
impl BitOp for Bt {
    const WRITES: bool = false;
    const LOCKED: Rmw = Rmw::Or;
    #[inline(always)]
    fn apply<S: Sem>(_: &mut S, _: Width, a: S::Value, _: S::Value) -> S::Value {
        a
    }
}

/// BTS.
pub(crate) struct Bts;
impl BitOp for Bts {
    const LOCKED: Rmw = Rmw::Or;
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, _: Width, a: S::Value, mask: S::Value) -> S::Value {
        s.or(a, mask)
    }
}

/// BTR.
pub(crate) struct Btr;
impl BitOp for Btr {
    const LOCKED: Rmw = Rmw::And;
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value, mask: S::Value) -> S::Value {
        let others = s.not(w, mask);
        s.and(a, others)
    }
}

/// BTC.
pub(crate) struct Btc;
impl BitOp for Btc {
    const LOCKED: Rmw = Rmw::Xor;
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, _: Width, a: S::Value, mask: S::Value) -> S::Value {
        s.xor(a, mask)
    }
}

/// The bit's number within a word, and a mask of it.
#[inline(always)]
fn number<S: Sem>(s: &mut S, w: Width, offset: S::Value) -> (S::Value, S::Value) {
    let within = s.imm(u64::from(w.bits() - 1));
    let n = s.and(offset, within);
    let one = s.imm(1);
    (n, s.shl(w, one, n))
}

/// CF from bit `n` of `a`; the other flags stay.
#[inline(always)]
fn carry_from<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) {
    let shifted = s.shr(w, a, n);
    let one = s.imm(1);
    let bit = s.and(shifted, one);
    s.set_flag(Flag::Cf, bit);
}

/// BT and its kin within their operand: the offset is a register's or an immediate's, modulo the
/// width.
#[inline(always)]
pub(crate) fn bit_within<S: Sem, O: BitOp, W: Size, T: Target, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let offset = R::read(s, i, W::W)?;
    let (n, mask) = number(s, W::W, offset);
    if O::WRITES {
        let (place, a) = T::open(s, i, W::W)?;
        let r = O::apply(s, W::W, a, mask);
        carry_from(s, W::W, a, n);
        T::commit(s, i, W::W, place, r);
    } else {
        let a = T::read(s, i, W::W)?;
        carry_from(s, W::W, a, n);
    }
    Ok(())
}

/// Where the word lies that holds the bit at a register's signed offset from the operand.
#[inline(always)]
fn word_of_bit<S: Sem, M: Reach>(s: &mut S, i: &Insn, w: Width, offset: S::Value) -> S::Value {
    let aw = M::address_width(i);
    let signed = s.sign_extend(w, Width::W64, offset);
    let bits = s.imm(u64::from(w.bits().trailing_zeros()));
    let words = s.sar(Width::W64, signed, bits);
    let bytes = s.imm(u64::from(w.bytes().trailing_zeros()));
    let distance = s.shl(Width::W64, words, bytes);
    let distance = s.truncate(aw, distance);
    let start = s.address::<M>(i);
    s.add(aw, start, distance)
}

/// BT and its kin in memory with the offset in a register, which reaches beyond the operand.
#[inline(always)]
pub(crate) fn bit_beyond<S: Sem, O: BitOp, W: Size, M: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let offset = s.get(W::W, i.ops[1]);
    let at = word_of_bit::<S, M>(s, i, W::W, offset);
    let (n, mask) = number(s, W::W, offset);
    if O::WRITES {
        let (place, a) = s.load_for_write::<M>(W::W, i, i.seg(), at)?;
        let r = O::apply(s, W::W, a, mask);
        carry_from(s, W::W, a, n);
        s.commit(W::W, place, r);
    } else {
        let a = s.load::<M>(W::W, i, i.seg(), at)?;
        carry_from(s, W::W, a, n);
    }
    Ok(())
}

/// LOCK BTS, BTR and BTC.
#[inline(always)]
pub(crate) fn bit_locked<S: Sem, O: BitOp, W: Size, M: Reach>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let (offset, at) = if i.has_immediate() {
        (s.imm(i64::from(i.imm) as u64 & W::W.mask()), s.address::<M>(i))
    } else {
        let offset = s.get(W::W, i.ops[1]);
        (offset, word_of_bit::<S, M>(s, i, W::W, offset))
    };
    let (n, mask) = number(s, W::W, offset);
    let operand = if O::LOCKED == Rmw::And { s.not(W::W, mask) } else { mask };
    let a = s.update::<M>(W::W, i, i.seg(), at, O::LOCKED, operand)?;
    carry_from(s, W::W, a, n);
    Ok(())
}

/// BSF (`HIGHEST` false) and BSR: of 0 they leave their target alone and set ZF.
#[inline(always)]
pub(crate) fn scan<S: Sem, const HIGHEST: bool, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let a = R::read(s, i, W::W)?;
    let number = if HIGHEST {
        let above = s.leading_zeros(W::W, a);
        let last = s.imm(u64::from(W::W.bits() - 1));
        s.sub(W::W, last, above)
    } else {
        s.trailing_zeros(W::W, a)
    };
    // The whole register, so that the upper half stays, too.
    let old = s.get(Width::W64, i.ops[0]);
    let found = if W::W == Width::W16 {
        let above = s.imm(!0xffff);
        let kept = s.and(old, above);
        s.or(kept, number)
    } else {
        number
    };
    let value = s.select(a, found, old);
    s.set(Width::W64, i.ops[0], value);
    // Undefined by the manual, and so on Intel's CPUs: PF is that of the bit's number.
    let zero = s.imm(0);
    let number = s.select(a, number, zero);
    let ones = s.count_ones(number);
    let one = s.imm(1);
    let odd = s.and(ones, one);
    let even = s.xor(odd, one);
    let none = s.equal(a, zero);
    let zf = place_flag(s, Flag::Zf, none);
    let pf = place_flag(s, Flag::Pf, even);
    let bits = s.or(zf, pf);
    s.set_flags(rflags::ARITHMETIC, bits);
    Ok(())
}

/// `value`, 0 or 1, at the place of `flag` in RFLAGS.
#[inline(always)]
fn place_flag<S: Sem>(s: &mut S, flag: Flag, value: S::Value) -> S::Value {
    let place = s.imm(flag as u64);
    s.shl(Width::W64, value, place)
}

/// ZF of `result`, CF and SF as given, the others 0: PF too, whatever the result's parity.
#[inline(always)]
fn set_flags_without_parity<S: Sem>(s: &mut S, result: S::Value, cf: S::Value, sf: S::Value) {
    let zero = s.imm(0);
    let none = s.equal(result, zero);
    let zf = place_flag(s, Flag::Zf, none);
    let sf = place_flag(s, Flag::Sf, sf);
    let bits = s.or(zf, sf);
    let bits = s.or(bits, cf);
    s.set_flags(rflags::ARITHMETIC, bits);
}

/// The sign bit of `a`.
#[inline(always)]
fn sign<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
    let n = s.imm(u64::from(w.bits() - 1));
    s.shr(w, a, n)
}

/// POPCNT.
#[inline(always)]
pub(crate) fn popcnt<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let a = R::read(s, i, W::W)?;
    let count = s.count_ones(a);
    s.set(W::W, i.ops[0], count);
    let zero = s.imm(0);
    set_flags_without_parity(s, count, zero, zero);
    Ok(())
}

/// LZCNT (`HIGHEST`) and TZCNT: CF if the source, ZF if the result is 0.
#[inline(always)]
pub(crate) fn count_zeros<S: Sem, const HIGHEST: bool, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let a = R::read(s, i, W::W)?;
    let count = if HIGHEST { s.leading_zeros(W::W, a) } else { s.trailing_zeros(W::W, a) };
    s.set(W::W, i.ops[0], count);
    let zero = s.imm(0);
    let cf = s.equal(a, zero);
    set_flags_without_parity(s, count, cf, zero);
    Ok(())
}

/// CRC32 (the Castagnoli polynomial, reflected) of one more byte, word, doubleword or quadword.
#[inline(always)]
pub(crate) fn crc32<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let data = R::read(s, i, W::W)?;
    let crc = s.get(Width::W32, i.ops[0]);
    let step = match W::W {
        Width::W8 => crc32c::<1>,
        Width::W16 => crc32c::<2>,
        Width::W32 => crc32c::<4>,
        Width::W64 => crc32c::<8>,
    };
    let crc = s.pure(step, crc, data);
    s.set(Width::W32, i.ops[0], crc);
    Ok(())
}

fn crc32c<const BYTES: usize>(crc: u64, data: u64) -> u64 {
    let mut crc = crc as u32;
    for byte in &data.to_le_bytes()[..BYTES] {
        crc = crc >> 8 ^ CASTAGNOLI[usize::from(crc as u8 ^ byte)];
    }
    u64::from(crc)
}

/// What a byte's eight steps of the division leave.
const CASTAGNOLI: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut step = 0;
        while step < 8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
            step += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

/// ANDN.
#[inline(always)]
pub(crate) fn andn<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let b = R::read(s, i, W::W)?;
    let a = s.get(W::W, i.ops[1]);
    let a = s.not(W::W, a);
    let r = s.and(a, b);
    let zero = s.imm(0);
    let sf = sign(s, W::W, r);
    set_flags_without_parity(s, r, zero, sf);
    s.set(W::W, i.ops[0], r);
    Ok(())
}

/// BLSI, BLSR and BLSMSK.
pub(crate) trait LowestBit: 'static {
    /// The result.
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value;
    /// Whether CF says that the source is 0 (else that it is not).
    const CARRY_IF_ZERO: bool;
}

/// BLSI: nothing but the lowest one.
pub(crate) struct Blsi;
impl LowestBit for Blsi {
    const CARRY_IF_ZERO: bool = false;
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
        let zero = s.imm(0);
        let minus = s.sub(w, zero, a);
        s.and(a, minus)
    }
}

/// BLSR: all but the lowest one.
pub(crate) struct Blsr;
impl LowestBit for Blsr {
    const CARRY_IF_ZERO: bool = true;
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
        let one = s.imm(1);
        let less = s.sub(w, a, one);
        s.and(a, less)
    }
}

/// BLSMSK: ones up to the lowest one.
pub(crate) struct Blsmsk;
impl LowestBit for Blsmsk {
    const CARRY_IF_ZERO: bool = true;
    #[inline(always)]
    fn apply<S: Sem>(s: &mut S, w: Width, a: S::Value) -> S::Value {
        let one = s.imm(1);
        let less = s.sub(w, a, one);
        s.xor(a, less)
    }
}

/// BLSI, BLSR and BLSMSK.
#[inline(always)]
pub(crate) fn lowest_bit<S: Sem, O: LowestBit, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let a = R::read(s, i, W::W)?;
    let r = O::apply(s, W::W, a);
    let zero = s.imm(0);
    let none = s.equal(a, zero);
    let wanted = s.imm(u64::from(!O::CARRY_IF_ZERO));
    let cf = s.xor(none, wanted);
    let sf = sign(s, W::W, r);
    set_flags_without_parity(s, r, cf, sf);
    s.set(W::W, i.ops[0], r);
    Ok(())
}

/// `a` without the bits from `n` up.
#[inline(always)]
fn below_bit<S: Sem>(s: &mut S, w: Width, a: S::Value, n: S::Value) -> S::Value {
    let all = s.imm(w.mask());
    let high = s.shl(w, all, n);
    let low = s.not(w, high);
    s.and(a, low)
}

/// BEXTR: as many bits as bits 15:8 of the control say, from the one that bits 7:0 name.
#[inline(always)]
pub(crate) fn bextr<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let a = R::read(s, i, W::W)?;
    let control = s.get(Width::W16, i.ops[2]);
    let start = s.truncate(Width::W8, control);
    let eight = s.imm(8);
    let len = s.shr(Width::W16, control, eight);
    let from = s.shr(W::W, a, start);
    let r = below_bit(s, W::W, from, len);
    let zero = s.imm(0);
    set_flags_without_parity(s, r, zero, zero);
    s.set(W::W, i.ops[0], r);
    Ok(())
}

/// BZHI: CF says that the index is beyond the operand.
#[inline(always)]
pub(crate) fn bzhi<S: Sem, W: Size, R: Source>(s: &mut S, i: &Insn) -> Result<(), S::Stop> {
    let a = R::read(s, i, W::W)?;
    let n = s.get(Width::W8, i.ops[2]);
    let r = below_bit(s, W::W, a, n);
    let last = s.imm(u64::from(W::W.bits() - 1));
    let cf = s.below(last, n);
    let sf = sign(s, W::W, r);
    set_flags_without_parity(s, r, cf, sf);
    s.set(W::W, i.ops[0], r);
    Ok(())
}

/// PDEP (`DEPOSIT`) and PEXT.
#[inline(always)]
pub(crate) fn scatter<S: Sem, const DEPOSIT: bool, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let mask = R::read(s, i, W::W)?;
    let a = s.get(W::W, i.ops[1]);
    let r = s.pure(if DEPOSIT { pdep } else { pext }, a, mask);
    s.set(W::W, i.ops[0], r);
    Ok(())
}

fn pdep(mut a: u64, mut mask: u64) -> u64 {
    let mut r = 0;
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        if a & 1 != 0 {
            r |= lowest;
        }
        a >>= 1;
        mask ^= lowest;
    }
    r
}

fn pext(a: u64, mut mask: u64) -> u64 {
    let (mut r, mut n) = (0, 0);
    while mask != 0 {
        let lowest = mask & mask.wrapping_neg();
        r |= u64::from(a & lowest != 0) << n;
        n += 1;
        mask ^= lowest;
    }
    r
}

/// ADCX (`Cf`) and ADOX (`Of`): an addition whose only flag is that one.
#[inline(always)]
pub(crate) fn add_with<S: Sem, const OVERFLOW: bool, W: Size, R: Source>(
    s: &mut S,
    i: &Insn,
) -> Result<(), S::Stop> {
    let flag = if OVERFLOW { Flag::Of } else { Flag::Cf };
    let b = R::read(s, i, W::W)?;
    let a = s.get(W::W, i.ops[0]);
    let carry = s.flag(flag);
    let sum = s.add(W::W, a, b);
    let first = s.below(sum, a);
    let r = s.add(W::W, sum, carry);
    let second = s.below(r, sum);
    let out = s.or(first, second);
    s.set_flag(flag, out);
    s.set(W::W, i.ops[0], r);
    Ok(())
}
