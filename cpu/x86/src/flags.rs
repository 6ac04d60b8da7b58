//! The arithmetic flags, evaluated when somebody looks.
//!
//! Instead of six flags we keep two words from which each follows in one or two operations:
//! `result`, sign-extended to 64 bits, gives ZF, SF and PF; `carries` gives CF (bit 63), OF (bit
//! 63 xor bit 62) and AF (bit 3). An addition's carry-outs have that shape by nature. Flags that
//! were set one by one (POPF, SAHF) may contradict every result, so `carries` also has a bit that
//! inverts SF (bit 0) and one that inverts PF (bit 1).
//!
//! Source: SDM vol. 1, section 3.4.3.1.

use crate::{insn::Width, rflags};

const CARRY: u64 = 1 << 63;
const CARRY_IN: u64 = 1 << 62;
const AUX: u64 = 1 << 3;
const INVERT_SF: u64 = 1 << 0;
const INVERT_PF: u64 = 1 << 1;

/// CF, PF, AF, ZF, SF and OF.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Flags {
    /// A result, sign-extended, of which ZF, SF and PF tell.
    pub result: u64,
    /// CF, OF and AF, and whether SF and PF are inverted.
    pub carries: u64,
}

impl Flags {
    /// After `result = a + b + carry`: `result` has `w` bits, the rest are 0.
    #[inline(always)]
    pub fn add(&mut self, w: Width, a: u64, b: u64, result: u64) {
        let out = (a & b) | ((a | b) & !result);
        self.result = w.sign_extend(result);
        self.carries = Self::carries(w, out);
    }

    /// After `result = a - b - borrow`.
    #[inline(always)]
    pub fn sub(&mut self, w: Width, a: u64, b: u64, result: u64) {
        let out = (!a & b) | ((!a | b) & result);
        self.result = w.sign_extend(result);
        self.carries = Self::carries(w, out);
    }

    /// After AND, OR, XOR or TEST: CF, OF and AF are 0 (AF is undefined; hardware clears it).
    #[inline(always)]
    pub fn logic(&mut self, w: Width, result: u64) {
        self.result = w.sign_extend(result);
        self.carries = 0;
    }

    /// After INC: as [`Flags::add`] of 1, but CF stays.
    #[inline(always)]
    pub fn inc(&mut self, w: Width, result: u64) {
        let overflow = u64::from(result == w.sign()) << 62;
        self.keep_carry(w, result, overflow, result & 0xf == 0);
    }

    /// After DEC: as [`Flags::sub`] of 1, but CF stays.
    #[inline(always)]
    pub fn dec(&mut self, w: Width, result: u64) {
        let overflow = u64::from(result == w.sign() - 1) << 62;
        self.keep_carry(w, result, overflow, result & 0xf == 0xf);
    }

    /// ZF, SF and PF from a result; CF, OF and AF as given. For shifts and multiplications.
    #[inline(always)]
    pub fn shift(&mut self, w: Width, result: u64, cf: bool, of: bool) {
        self.result = w.sign_extend(result);
        self.carries = u64::from(cf) << 63 | u64::from(cf != of) << 62;
    }

    /// CF and OF as given, the others stay. For rotates.
    #[inline(always)]
    pub fn rotate(&mut self, cf: bool, of: bool) {
        self.carries =
            (self.carries & !(CARRY | CARRY_IN)) | u64::from(cf) << 63 | u64::from(cf != of) << 62;
    }

    /// CF as given, the others stay.
    #[inline(always)]
    pub fn set_cf(&mut self, cf: bool) {
        // OF is where the two differ.
        self.carries ^= if cf == self.cf() { 0 } else { CARRY | CARRY_IN };
    }

    /// OF as given, the others stay.
    #[inline(always)]
    pub fn set_of(&mut self, of: bool) {
        self.carries ^= if of == self.of() { 0 } else { CARRY_IN };
    }

    /// CF.
    #[inline(always)]
    #[must_use]
    pub fn cf(&self) -> bool {
        self.carries & CARRY != 0
    }

    /// ZF.
    #[inline(always)]
    #[must_use]
    pub fn zf(&self) -> bool {
        self.result == 0
    }

    /// SF.
    #[inline(always)]
    #[must_use]
    pub fn sf(&self) -> bool {
        (self.result >> 63) ^ (self.carries & INVERT_SF) != 0
    }

    /// OF.
    #[inline(always)]
    #[must_use]
    pub fn of(&self) -> bool {
        (self.carries ^ (self.carries << 1)) & CARRY != 0
    }

    /// PF.
    #[inline(always)]
    #[must_use]
    pub fn pf(&self) -> bool {
        ((self.result as u8).count_ones() & 1 == 0) ^ (self.carries & INVERT_PF != 0)
    }

    /// AF.
    #[inline(always)]
    #[must_use]
    pub fn af(&self) -> bool {
        self.carries & AUX != 0
    }

    /// Condition `cc` of Jcc, SETcc and CMOVcc: the low four bits of their opcodes.
    #[inline(always)]
    #[must_use]
    pub fn condition(&self, cc: u8) -> bool {
        let positive = match cc >> 1 & 7 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() || self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => self.sf() != self.of(),
            _ => self.zf() || self.sf() != self.of(),
        };
        positive != (cc & 1 != 0)
    }

    /// The six flags at their places in RFLAGS, the other bits 0.
    #[inline]
    #[must_use]
    pub fn bits(&self) -> u64 {
        let put = |set: bool, flag: u64| if set { flag } else { 0 };
        put(self.cf(), rflags::CF)
            | put(self.pf(), rflags::PF)
            | put(self.af(), rflags::AF)
            | put(self.zf(), rflags::ZF)
            | put(self.sf(), rflags::SF)
            | put(self.of(), rflags::OF)
    }

    /// Sets all six from their places in RFLAGS.
    #[inline]
    pub fn set_bits(&mut self, bits: u64) {
        let has = |flag| bits & flag != 0;
        self.result = u64::from(!has(rflags::ZF));
        // The result is 0 (even parity, positive) or 1 (odd parity, positive).
        self.carries = u64::from(has(rflags::CF)) << 63
            | u64::from(has(rflags::CF) != has(rflags::OF)) << 62
            | if has(rflags::AF) { AUX } else { 0 }
            | if has(rflags::SF) { INVERT_SF } else { 0 }
            | if has(rflags::PF) != has(rflags::ZF) { INVERT_PF } else { 0 };
    }

    /// Sets those of the six that are in `mask`, the others stay.
    #[inline]
    pub fn set_masked(&mut self, mask: u64, bits: u64) {
        self.set_bits((self.bits() & !mask) | (bits & mask));
    }

    #[inline(always)]
    fn carries(w: Width, out: u64) -> u64 {
        ((out << (64 - w.bits())) & (CARRY | CARRY_IN)) | (out & AUX)
    }

    #[inline(always)]
    fn keep_carry(&mut self, w: Width, result: u64, overflow: u64, aux: bool) {
        let cf = self.carries & CARRY;
        self.result = w.sign_extend(result);
        self.carries = cf | ((cf >> 1) ^ overflow) | if aux { AUX } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_survives() {
        for n in 0..64_u64 {
            let bit = |k: u64, flag: u64| if n >> k & 1 != 0 { flag } else { 0 };
            let want = bit(0, rflags::CF)
                | bit(1, rflags::PF)
                | bit(2, rflags::AF)
                | bit(3, rflags::ZF)
                | bit(4, rflags::SF)
                | bit(5, rflags::OF);
            let put = |set, flag| if set { flag } else { 0 };
            let mut f = Flags::default();
            f.set_bits(want);
            assert_eq!(f.bits(), want);
            f.set_masked(rflags::CF, !want);
            assert_eq!(f.bits(), want ^ rflags::CF);
            for set in [false, true, true] {
                f.set_of(set);
                assert_eq!(
                    f.bits() ^ want ^ rflags::CF,
                    (want ^ put(set, rflags::OF)) & rflags::OF
                );
                f.set_cf(set);
                assert_eq!((f.cf(), f.of()), (set, set));
                f.set_bits(want ^ rflags::CF);
            }
        }
    }

    #[test]
    fn bytes_added_and_subtracted() {
        for a in 0..256_u64 {
            for b in 0..256_u64 {
                for c in 0..2 {
                    let mut f = Flags::default();
                    let sum = (a + b + c) & 0xff;
                    f.add(Width::W8, a, b, sum);
                    assert_eq!(f.cf(), a + b + c > 255);
                    assert_eq!(f.af(), (a & 15) + (b & 15) + c > 15);
                    let signed = i32::from(a as i8) + i32::from(b as i8) + c as i32;
                    assert_eq!(f.of(), i8::try_from(signed).is_err());
                    assert_eq!((f.zf(), f.sf()), (sum == 0, sum > 127));
                    let diff = a.wrapping_sub(b).wrapping_sub(c) & 0xff;
                    f.sub(Width::W8, a, b, diff);
                    assert_eq!(f.cf(), a < b + c);
                    assert_eq!(f.af(), (a & 15) < (b & 15) + c);
                    let signed = i32::from(a as i8) - i32::from(b as i8) - c as i32;
                    assert_eq!(f.of(), i8::try_from(signed).is_err());
                    assert_eq!(f.pf(), (diff as u8).count_ones().is_multiple_of(2));
                }
            }
        }
    }

    #[test]
    fn increments_keep_the_carry() {
        for carry in [0, rflags::CF] {
            for a in 0..256_u64 {
                let mut f = Flags::default();
                f.set_bits(carry);
                f.inc(Width::W8, (a + 1) & 0xff);
                assert_eq!((f.cf(), f.of(), f.af()), (carry != 0, a == 0x7f, a & 15 == 15));
                f.dec(Width::W8, a.wrapping_sub(1) & 0xff);
                assert_eq!((f.cf(), f.of(), f.af()), (carry != 0, a == 0x80, a & 15 == 0));
            }
        }
    }
}
