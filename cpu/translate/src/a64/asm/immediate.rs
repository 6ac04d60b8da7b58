//! Immediates that not every number can be, and moves of any number.
//!
//! Source: Arm ARM, C6.2: ADD (immediate), AND (immediate), MOVZ, MOVN, MOVK; J1.1,
//! `DecodeBitMasks`.

use super::{Asm, OrSp, OrZero, Reg, Size, ZR};

/// An operand of ADD, SUB and CMP (immediate): 12 bits, or 12 bits shifted left by 12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArithmeticImm(u32);

impl ArithmeticImm {
    /// `value`, if it can be one.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value < 0x1000 {
            return Some(Self((value as u32) << 10));
        }
        if value & 0xfff == 0 && value < 0x100_0000 {
            return Some(Self(1 << 22 | (value as u32 >> 12) << 10));
        }
        None
    }

    /// `sh` and `imm12`, in their places.
    pub(super) const fn bits(self) -> u32 {
        self.0
    }
}

/// An operand of AND, ORR, EOR and TST (immediate): a run of ones, rotated, in an element of 2 to
/// 64 bits, which repeats. Neither zero nor all ones is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogicalImm {
    size: Size,
    bits: u32,
}

impl LogicalImm {
    /// `value` (of which 32 bits count for [`Size::W`]), if it can be one.
    #[must_use]
    pub const fn new(size: Size, value: u64) -> Option<Self> {
        let value = match size {
            Size::W => value << 32 | value & 0xffff_ffff,
            Size::X => value,
        };
        if value == 0 || value == u64::MAX {
            return None;
        }
        let width = Self::element(value);
        let mask = u64::MAX >> (64 - width);
        let element = value & mask;
        let ones = element.count_ones();
        // Where the run of ones begins; if it is rotated over the end, the zeros are in one piece.
        let (run, gap) = (element, !element & mask);
        let start = if (run >> run.trailing_zeros()).trailing_ones() == ones {
            run.trailing_zeros()
        } else if (gap >> gap.trailing_zeros()).trailing_ones() == width - ones {
            gap.trailing_zeros() + width - ones
        } else {
            return None;
        };
        let n = width >> 6;
        let immr = (width - start) % width;
        let imms = !(2 * width - 1) & 0x3f | (ones - 1);
        Some(Self { size, bits: n << 22 | immr << 16 | imms << 10 })
    }

    /// The width of the smallest element of which `value` is made.
    const fn element(value: u64) -> u32 {
        let mut width = 64;
        while width > 2 && value == value.rotate_right(width / 2) {
            width /= 2;
        }
        width
    }

    /// `N`, `immr` and `imms`, in their places.
    pub(super) fn bits(self, size: Size) -> u32 {
        assert_eq!(self.size, size, "the immediate was made for the other size");
        self.bits
    }
}

impl Asm {
    /// MOVZ: `imm16`, shifted left by `shift` (0, 16, and for 64 bits 32 and 48), and zeros.
    pub fn movz(&mut self, size: Size, d: impl Into<OrZero>, imm16: u16, shift: u32) {
        self.wide(0x5280_0000, size, d.into(), imm16, shift);
    }

    /// MOVN: the inverse of what MOVZ moves.
    pub fn movn(&mut self, size: Size, d: impl Into<OrZero>, imm16: u16, shift: u32) {
        self.wide(0x1280_0000, size, d.into(), imm16, shift);
    }

    /// MOVK: `imm16` into the 16 bits at `shift`; the others stay.
    pub fn movk(&mut self, size: Size, d: impl Into<OrZero>, imm16: u16, shift: u32) {
        self.wide(0x7280_0000, size, d.into(), imm16, shift);
    }

    fn wide(&mut self, base: u32, size: Size, d: OrZero, imm16: u16, shift: u32) {
        assert!(
            shift.is_multiple_of(16) && shift < size.bits(),
            "no such place for 16 bits: {shift}"
        );
        self.put(base | size.sf() | (shift / 16) << 21 | u32::from(imm16) << 5 | d.code());
    }

    /// MOV (immediate): any `value` by the fewest of MOVZ, MOVN, ORR and MOVK, 1 to 4.
    pub fn mov_imm(&mut self, size: Size, d: Reg, value: u64) {
        let value = value & (u64::MAX >> (64 - size.bits()));
        let part = |n: u32| (value >> (16 * n)) as u16;
        let parts = 0..size.bits() / 16;
        let unlike = |filler: u16| parts.clone().filter(move |&n| part(n) != filler);
        let inverse = unlike(0xffff).count() < unlike(0).count();
        let filler = if inverse { 0xffff } else { 0 };
        if unlike(filler).count() > 1
            && let Some(imm) = LogicalImm::new(size, value)
        {
            return self.orr_imm(size, OrSp::from(d), ZR, imm);
        }
        let mut rest = unlike(filler);
        let first = rest.next().unwrap_or(0);
        if inverse {
            self.movn(size, d, !part(first), 16 * first);
        } else {
            self.movz(size, d, part(first), 16 * first);
        }
        for n in rest {
            self.movk(size, d, part(n), 16 * n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a64::asm::X3;

    /// The manual's `DecodeBitMasks`, for the immediate of AND.
    fn decode(size: Size, n: u32, imms: u32, immr: u32) -> Option<u64> {
        let len = 31 - (n << 6 | !imms & 0x3f).checked_ilog2().map(|l| 31 - l)?;
        if len < 1 || size == Size::W && n != 0 {
            return None;
        }
        let (width, levels) = (1_u32 << len, (1 << len) - 1);
        let (s, r) = (imms & levels, immr & levels);
        if s == levels || immr != r {
            return None;
        }
        let ones = (1_u64 << (s + 1)) - 1;
        let mask = u64::MAX >> (64 - width);
        let element = (ones >> r | ones.checked_shl(width - r).unwrap_or(0)) & mask;
        let all = (0..64 / width).fold(0, |all, k| all | element << (k * width));
        Some(if size == Size::W { all & 0xffff_ffff } else { all })
    }

    #[test]
    fn logical_immediates_are_those_of_the_manual() {
        for (size, expected) in [(Size::W, 1302), (Size::X, 5334)] {
            let mut count = 0;
            for bits in 0..1 << 13 {
                let (n, immr, imms) = (bits >> 12, bits >> 6 & 0x3f, bits & 0x3f);
                let Some(value) = decode(size, n, imms, immr) else { continue };
                count += 1;
                let imm = LogicalImm::new(size, value);
                let imm = imm.unwrap_or_else(|| panic!("{value:x} is none"));
                assert_eq!(imm.bits(size), bits << 10, "{value:x}");
            }
            assert_eq!(count, expected);
        }
        for value in [0, u64::MAX, 5, 0x1234_5678, 0x8000_0000_0000_0002] {
            assert_eq!(LogicalImm::new(Size::X, value), None, "{value:x}");
        }
        // Only half of it counts.
        assert!(LogicalImm::new(Size::W, 0x1234_5678_0000_0001).is_some());
        assert_eq!(LogicalImm::new(Size::W, 0xffff_ffff), None);
    }

    #[test]
    fn arithmetic_immediates() {
        for (value, bits) in [(0, 0), (0xfff, 0x3f_fc00), (0x1000, 0x40_0400)] {
            assert_eq!(ArithmeticImm::new(value).map(ArithmeticImm::bits), Some(bits));
        }
        for value in [0x1001, 0x100_0000, u64::MAX] {
            assert_eq!(ArithmeticImm::new(value), None);
        }
    }

    /// What a sequence of moves leaves in X3.
    fn execute(words: &[u32]) -> u64 {
        words.iter().fold(0xdead_beef_dead_beef, |old, word| {
            let size = if word >> 31 == 1 { Size::X } else { Size::W };
            let (imm, shift) = (u64::from(word >> 5 & 0xffff), 16 * (word >> 21 & 3));
            let value = match word >> 23 & 0xff {
                0xa5 => imm << shift,
                0x25 => !(imm << shift),
                0xe5 => old & !(0xffff << shift) | imm << shift,
                0x64 => decode(size, word >> 22 & 1, word >> 10 & 0x3f, word >> 16 & 0x3f).unwrap(),
                other => panic!("{other:x}"),
            };
            if size == Size::W { value & 0xffff_ffff } else { value }
        })
    }

    #[test]
    fn any_number_can_be_moved() {
        for (size, value, most) in [
            (Size::X, 0, 1),
            (Size::X, 1, 1),
            (Size::X, u64::MAX, 1),
            (Size::X, 0xffff_ffff_ffff_0123, 1),
            (Size::X, 0x5555_5555_5555_5555, 1),
            (Size::X, 0xffff_ffff, 1),
            (Size::X, 0x0012_0000_0034_0000, 2),
            (Size::X, 0x7fff_1234_5678, 3),
            (Size::X, 0xfedc_ba98_7654_3210, 4),
            (Size::X, 0xffff_1234_ffff_5678, 2),
            (Size::W, 0xffff_ffff, 1),
            (Size::W, 0xffff_0000, 1),
            (Size::W, 0x1234_5678, 2),
            (Size::W, 0x9999_9999, 1),
            (Size::W, 0, 1),
        ] {
            let mut a = Asm::new();
            a.mov_imm(size, X3, value);
            let words = a.finish().expect("no branches");
            assert_eq!(execute(words), value, "{value:x}: {words:x?}");
            assert!(words.len() <= most, "{value:x}: {words:x?}");
        }
    }
}
