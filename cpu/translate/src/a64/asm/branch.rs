//! Branches.
//!
//! Source: Arm ARM, C6.2; encodings in C4.1, "Branches, Exception Generating and System
//! instructions".

use super::{Asm, Cond, Field, Label, OrZero, Reg, Size};

/// The word of a B that goes `distance` bytes, to be patched into code; `None` beyond 128 MB and
/// if it is not a multiple of 4.
#[must_use]
pub fn branch_word(distance: i64) -> Option<u32> {
    let words = (distance % 4 == 0).then_some(distance / 4)?;
    Some(B | Field::Imm26.encode(words)?)
}

/// B, without its distance.
const B: u32 = 0x1400_0000;

impl Asm {
    /// B, within 128 MB.
    pub fn b(&mut self, label: Label) {
        self.put_label(B, label, Field::Imm26);
    }

    /// BL, within 128 MB: X30 becomes the address behind it.
    pub fn bl(&mut self, label: Label) {
        self.put_label(0x9400_0000, label, Field::Imm26);
    }

    /// B.cond, within 1 MB.
    pub fn b_cond(&mut self, cond: Cond, label: Label) {
        self.put_label(0x5400_0000 | cond.code(), label, Field::Imm19);
    }

    /// CBZ, within 1 MB: if `t` is zero.
    pub fn cbz(&mut self, size: Size, t: impl Into<OrZero>, label: Label) {
        self.put_label(0x3400_0000 | size.sf() | t.into().code(), label, Field::Imm19);
    }

    /// CBNZ, within 1 MB: if `t` is not zero.
    pub fn cbnz(&mut self, size: Size, t: impl Into<OrZero>, label: Label) {
        self.put_label(0x3500_0000 | size.sf() | t.into().code(), label, Field::Imm19);
    }

    /// TBZ, within 32 KB: if bit `bit` of `t` (0 to 63) is clear.
    pub fn tbz(&mut self, t: impl Into<OrZero>, bit: u32, label: Label) {
        self.put_label(0x3600_0000 | tested(bit) | t.into().code(), label, Field::Imm14);
    }

    /// TBNZ, within 32 KB: if bit `bit` of `t` (0 to 63) is set.
    pub fn tbnz(&mut self, t: impl Into<OrZero>, bit: u32, label: Label) {
        self.put_label(0x3700_0000 | tested(bit) | t.into().code(), label, Field::Imm14);
    }

    /// BR: to the address in `n`.
    pub fn br(&mut self, n: Reg) {
        self.put(0xd61f_0000 | n.code() << 5);
    }

    /// BLR: to the address in `n`; X30 becomes the address behind it.
    pub fn blr(&mut self, n: Reg) {
        self.put(0xd63f_0000 | n.code() << 5);
    }

    /// RET, to the address in `n` (usually [`super::LR`]): predicted as the return of a BL.
    pub fn ret(&mut self, n: Reg) {
        self.put(0xd65f_0000 | n.code() << 5);
    }
}

/// A bit's number in its places.
fn tested(bit: u32) -> u32 {
    assert!(bit < 64, "a register has 64 bits");
    bit >> 5 << 31 | (bit & 31) << 19
}
