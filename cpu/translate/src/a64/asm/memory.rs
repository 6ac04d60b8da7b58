//! Loads and stores of general and of SIMD and floating-point registers.
//!
//! Source: Arm ARM, C6.2 and C7.2; encodings in C4.1, "Loads and Stores".

use super::{Asm, Extend, Field, Label, OrSp, OrZero, Reg, Size, VReg, signed};

/// Where a load or store goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// `base` plus so many bytes: a multiple of the access up to 4095 times it (LDR), or anything
    /// from -256 to 255 (LDUR).
    Offset(OrSp, i32),
    /// `base` plus an index of 64 bits, shifted left by the access's size if the flag is set.
    Index(OrSp, OrZero, bool),
    /// `base` plus an index extended by [`Extend::Uxtw`] or [`Extend::Sxtw`], shifted left by the
    /// access's size if the flag is set.
    Extended(OrSp, OrZero, Extend, bool),
    /// `base` plus -256 to 255 bytes, which `base` becomes before the access.
    PreIndex(OrSp, i32),
    /// `base`, which becomes larger by -256 to 255 bytes afterwards.
    PostIndex(OrSp, i32),
}

impl From<Reg> for Address {
    fn from(base: Reg) -> Self {
        Self::Offset(base.into(), 0)
    }
}

impl From<OrSp> for Address {
    fn from(base: OrSp) -> Self {
        Self::Offset(base, 0)
    }
}

impl Address {
    /// `base` plus `offset` bytes.
    #[must_use]
    pub fn offset(base: impl Into<OrSp>, offset: i32) -> Self {
        Self::Offset(base.into(), offset)
    }

    /// `base` plus `index`, in bytes.
    #[must_use]
    pub fn index(base: impl Into<OrSp>, index: impl Into<OrZero>) -> Self {
        Self::Index(base.into(), index.into(), false)
    }

    /// Whether a load or store of `bytes` bytes can have this offset.
    #[must_use]
    pub const fn reaches(offset: i64, bytes: u32) -> bool {
        let bytes = bytes as i64;
        signed(offset, 9).is_some() || offset > 0 && offset % bytes == 0 && offset / bytes < 4096
    }

    /// The address's part of the encoding, for an access of `1 << log2` bytes.
    fn encode(self, log2: u32) -> u32 {
        let nine =
            |bytes: i32| signed(i64::from(bytes), 9).expect("an offset of -256 to 255") << 12;
        match self {
            Self::Offset(base, offset) => {
                let scaled = offset >> log2;
                let exact = offset >= 0 && scaled << log2 == offset && scaled < 4096;
                let how = if exact { 1 << 24 | (scaled as u32) << 10 } else { nine(offset) };
                how | base.code() << 5
            }
            Self::Index(base, index, scaled) => {
                Self::Extended(base, index, Extend::Uxtx, scaled).encode(log2)
            }
            Self::Extended(base, index, extend, scaled) => {
                let word_or_more = extend as u32 & 2 != 0;
                assert!(word_or_more, "an index is 32 or 64 bits");
                let how = 0x20_0800 | (extend as u32) << 13 | u32::from(scaled) << 12;
                how | index.code() << 16 | base.code() << 5
            }
            Self::PreIndex(base, offset) => nine(offset) | 0xc00 | base.code() << 5,
            Self::PostIndex(base, offset) => nine(offset) | 0x400 | base.code() << 5,
        }
    }
}

/// Which part of a SIMD and floating-point register is loaded or stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum VSize {
    /// 8 bits. Loads clear the rest of the register, of whatever width.
    B,
    /// 16 bits.
    H,
    /// 32 bits.
    S,
    /// 64 bits.
    D,
    /// 128 bits.
    Q,
}

/// Methods that load or store one general register: name, title, logarithm of the bytes, `opc`.
macro_rules! one {
    ($($name:ident, $title:literal, $log2:literal, $opc:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ", in all its forms.")]
                pub fn $name(&mut self, t: impl Into<OrZero>, at: impl Into<Address>) {
                    self.access($log2, 0, $opc, t.into().code(), at.into());
                }
            )*
        }
    };
}

one! {
    ldrb, "LDRB: zero extended", 0, 1;
    ldrh, "LDRH: zero extended", 1, 1;
    ldrsw, "LDRSW: sign extended to 64 bits", 2, 2;
    strb, "STRB", 0, 0;
    strh, "STRH", 1, 0;
}

impl Asm {
    /// LDR, LDUR: a word or a doubleword.
    pub fn ldr(&mut self, size: Size, t: impl Into<OrZero>, at: impl Into<Address>) {
        self.access(2 + size as u32, 0, 1, t.into().code(), at.into());
    }

    /// LDRSB: sign extended to `size`.
    pub fn ldrsb(&mut self, size: Size, t: impl Into<OrZero>, at: impl Into<Address>) {
        self.access(0, 0, 3 - size as u32, t.into().code(), at.into());
    }

    /// LDRSH: sign extended to `size`.
    pub fn ldrsh(&mut self, size: Size, t: impl Into<OrZero>, at: impl Into<Address>) {
        self.access(1, 0, 3 - size as u32, t.into().code(), at.into());
    }

    /// STR, STUR: a word or a doubleword.
    pub fn str(&mut self, size: Size, t: impl Into<OrZero>, at: impl Into<Address>) {
        self.access(2 + size as u32, 0, 0, t.into().code(), at.into());
    }

    /// C7.2, LDR, LDUR (SIMD&FP).
    pub fn ldr_v(&mut self, part: VSize, t: VReg, at: impl Into<Address>) {
        let quad = u32::from(part == VSize::Q);
        self.access(part as u32, 1, 1 | quad << 1, t.code(), at.into());
    }

    /// C7.2, STR, STUR (SIMD&FP).
    pub fn str_v(&mut self, part: VSize, t: VReg, at: impl Into<Address>) {
        let quad = u32::from(part == VSize::Q);
        self.access(part as u32, 1, quad << 1, t.code(), at.into());
    }

    /// All of the above: `1 << log2` bytes; `v` for a SIMD and floating-point register.
    fn access(&mut self, log2: u32, v: u32, opc: u32, t: u32, at: Address) {
        self.put(0x3800_0000 | (log2 & 3) << 30 | v << 26 | opc << 22 | at.encode(log2) | t);
    }

    /// LDP: two words or doublewords, at -64 to 63 times their size from the base.
    pub fn ldp(
        &mut self,
        size: Size,
        t: impl Into<OrZero>,
        t2: impl Into<OrZero>,
        at: impl Into<Address>,
    ) {
        let opc = (size as u32) << 31;
        self.pair(0x2840_0000 | opc, 2 + size as u32, [t.into().code(), t2.into().code()], at);
    }

    /// STP: two words or doublewords, at -64 to 63 times their size from the base.
    pub fn stp(
        &mut self,
        size: Size,
        t: impl Into<OrZero>,
        t2: impl Into<OrZero>,
        at: impl Into<Address>,
    ) {
        let opc = (size as u32) << 31;
        self.pair(0x2800_0000 | opc, 2 + size as u32, [t.into().code(), t2.into().code()], at);
    }

    /// C7.2, LDP (SIMD&FP), of S, D or Q.
    pub fn ldp_v(&mut self, part: VSize, t: VReg, t2: VReg, at: impl Into<Address>) {
        self.pair(0x2c40_0000 | pair_opc(part), part as u32, [t.code(), t2.code()], at);
    }

    /// C7.2, STP (SIMD&FP), of S, D or Q.
    pub fn stp_v(&mut self, part: VSize, t: VReg, t2: VReg, at: impl Into<Address>) {
        self.pair(0x2c00_0000 | pair_opc(part), part as u32, [t.code(), t2.code()], at);
    }

    fn pair(&mut self, base: u32, log2: u32, [t, t2]: [u32; 2], at: impl Into<Address>) {
        let (how, base_register, offset) = match at.into() {
            Address::PostIndex(base, offset) => (1, base, offset),
            Address::Offset(base, offset) => (2, base, offset),
            Address::PreIndex(base, offset) => (3, base, offset),
            other => panic!("a pair has no address like {other:?}"),
        };
        let scaled = offset >> log2;
        assert_eq!(scaled << log2, offset, "a pair's offset is a multiple of its parts");
        let seven = signed(i64::from(scaled), 7).expect("an offset of -64 to 63 times the size");
        self.put(base | how << 23 | seven << 15 | t2 << 10 | base_register.code() << 5 | t);
    }

    /// LDR (literal): the word or doubleword at `label`, within 1 MB.
    pub fn ldr_literal(&mut self, size: Size, t: impl Into<OrZero>, label: Label) {
        let word = 0x1800_0000 | (size as u32) << 30 | t.into().code();
        self.put_label(word, label, Field::Imm19);
    }

    /// C7.2, LDR (literal, SIMD&FP), of S, D or Q at `label`, within 1 MB.
    pub fn ldr_v_literal(&mut self, part: VSize, t: VReg, label: Label) {
        let word = 0x1c00_0000 | pair_opc(part) | t.code();
        self.put_label(word, label, Field::Imm19);
    }
}

/// The field that says S, D or Q, in its place.
fn pair_opc(part: VSize) -> u32 {
    assert!(part as u32 >= VSize::S as u32, "only of S, D or Q");
    (part as u32 - VSize::S as u32) << 30
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_that_reach() {
        for (offset, bytes, reaches) in [
            (0, 8, true),
            (-256, 8, true),
            (-257, 8, false),
            (255, 8, true),
            (257, 8, false),
            (256, 8, true),
            (8 * 4095, 8, true),
            (8 * 4096, 8, false),
            (4095, 1, true),
            (4096, 1, false),
            (16 * 4095, 16, true),
        ] {
            assert_eq!(Address::reaches(offset, bytes), reaches, "{offset} of {bytes}");
        }
    }
}
