//! Arithmetic and logic on general registers.
//!
//! Source: Arm ARM, C6.2; encodings in C4.1, "Data Processing -- Immediate" and "-- Register".

use super::{
    Access, ArithmeticImm, Asm, Cond, Field, Label, LogicalImm, OrSp, OrZero, Reg, Size, X0, ZR,
};

/// How the second operand of an instruction is shifted. The amount is below its width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shift {
    /// Left.
    Lsl(u32),
    /// Right, zeros come in.
    Lsr(u32),
    /// Right, the sign comes in.
    Asr(u32),
    /// Rotated right; of logical instructions only.
    Ror(u32),
}

impl Shift {
    fn bits(self, size: Size) -> u32 {
        let (kind, amount) = match self {
            Self::Lsl(n) => (0, n),
            Self::Lsr(n) => (1, n),
            Self::Asr(n) => (2, n),
            Self::Ror(n) => (3, n),
        };
        assert!(amount < size.bits(), "a shift by {amount} is too far");
        kind << 22 | amount << 10
    }
}

/// How a second operand or an index is extended, before it is shifted left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manual's own names")]
pub enum Extend {
    Uxtb,
    Uxth,
    Uxtw,
    Uxtx,
    Sxtb,
    Sxth,
    Sxtw,
    Sxtx,
}

/// Three registers in their places.
fn rrr(d: impl Into<OrZero>, n: impl Into<OrZero>, m: impl Into<OrZero>) -> u32 {
    m.into().code() << 16 | n.into().code() << 5 | d.into().code()
}

/// Methods on three registers: name, title, encoding for 32 bits.
macro_rules! three {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ".")]
                pub fn $name(
                    &mut self,
                    size: Size,
                    d: impl Into<OrZero>,
                    n: impl Into<OrZero>,
                    m: impl Into<OrZero>,
                ) {
                    self.put($base | size.sf() | rrr(d, n, m));
                }
            )*
        }
    };
}

three! {
    add, "ADD (shifted register), without a shift", 0x0b00_0000;
    adds, "ADDS (shifted register), without a shift", 0x2b00_0000;
    sub, "SUB (shifted register), without a shift", 0x4b00_0000;
    subs, "SUBS (shifted register), without a shift", 0x6b00_0000;
    adc, "ADC", 0x1a00_0000;
    adcs, "ADCS", 0x3a00_0000;
    sbc, "SBC", 0x5a00_0000;
    sbcs, "SBCS", 0x7a00_0000;
    and, "AND (shifted register), without a shift", 0x0a00_0000;
    bic, "BIC (shifted register), without a shift", 0x0a20_0000;
    orr, "ORR (shifted register), without a shift", 0x2a00_0000;
    orn, "ORN (shifted register), without a shift", 0x2a20_0000;
    eor, "EOR (shifted register), without a shift", 0x4a00_0000;
    eon, "EON (shifted register), without a shift", 0x4a20_0000;
    ands, "ANDS (shifted register), without a shift", 0x6a00_0000;
    bics, "BICS (shifted register), without a shift", 0x6a20_0000;
    udiv, "UDIV", 0x1ac0_0800;
    sdiv, "SDIV", 0x1ac0_0c00;
    lsl, "LSLV (LSL (register)): by `m` modulo the width", 0x1ac0_2000;
    lsr, "LSRV (LSR (register)): by `m` modulo the width", 0x1ac0_2400;
    asr, "ASRV (ASR (register)): by `m` modulo the width", 0x1ac0_2800;
    ror, "RORV (ROR (register)): by `m` modulo the width", 0x1ac0_2c00;
    mul, "MUL", 0x1b00_7c00;
    mneg, "MNEG", 0x1b00_fc00;
}

/// Methods on two registers and a shifted one: name, title, encoding for 32 bits.
macro_rules! shifted {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, " (shifted register).")]
                pub fn $name(
                    &mut self,
                    size: Size,
                    d: impl Into<OrZero>,
                    n: impl Into<OrZero>,
                    m: impl Into<OrZero>,
                    shift: Shift,
                ) {
                    let rotates = matches!(shift, Shift::Ror(_)) && $base & 0x100_0000 != 0;
                    assert!(!rotates, "only logical instructions rotate");
                    self.put($base | size.sf() | shift.bits(size) | rrr(d, n, m));
                }
            )*
        }
    };
}

shifted! {
    add_shifted, "ADD", 0x0b00_0000;
    adds_shifted, "ADDS", 0x2b00_0000;
    sub_shifted, "SUB", 0x4b00_0000;
    subs_shifted, "SUBS", 0x6b00_0000;
    and_shifted, "AND", 0x0a00_0000;
    bic_shifted, "BIC", 0x0a20_0000;
    orr_shifted, "ORR", 0x2a00_0000;
    orn_shifted, "ORN", 0x2a20_0000;
    eor_shifted, "EOR", 0x4a00_0000;
    eon_shifted, "EON", 0x4a20_0000;
    ands_shifted, "ANDS", 0x6a00_0000;
    bics_shifted, "BICS", 0x6a20_0000;
}

/// Methods on an extended register and an immediate: names, title, encodings for 32 bits, and what
/// the destination may be.
macro_rules! extended_and_immediate {
    ($($extended:ident, $imm:ident, $title:literal, $first:literal, $second:literal, $d:ty;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, " (extended register): `m` is extended, then ")]
                /// shifted left by `amount`, 0 to 4.
                pub fn $extended(
                    &mut self,
                    size: Size,
                    d: impl Into<$d>,
                    n: impl Into<OrSp>,
                    m: impl Into<OrZero>,
                    extend: Extend,
                    amount: u32,
                ) {
                    assert!(amount <= 4, "a shift by {amount} is too far");
                    let registers = m.into().code() << 16 | n.into().code() << 5 | d.into().code();
                    let how = (extend as u32) << 13 | amount << 10;
                    self.put($first | size.sf() | how | registers);
                }

                #[doc = concat!("C6.2, ", $title, " (immediate).")]
                pub fn $imm(
                    &mut self,
                    size: Size,
                    d: impl Into<$d>,
                    n: impl Into<OrSp>,
                    imm: ArithmeticImm,
                ) {
                    let registers = n.into().code() << 5 | d.into().code();
                    self.put($second | size.sf() | imm.bits() | registers);
                }
            )*
        }
    };
}

extended_and_immediate! {
    add_extended, add_imm, "ADD", 0x0b20_0000, 0x1100_0000, OrSp;
    adds_extended, adds_imm, "ADDS", 0x2b20_0000, 0x3100_0000, OrZero;
    sub_extended, sub_imm, "SUB", 0x4b20_0000, 0x5100_0000, OrSp;
    subs_extended, subs_imm, "SUBS", 0x6b20_0000, 0x7100_0000, OrZero;
}

/// Methods on a logical immediate: name, title, encoding for 32 bits, what the destination may be.
macro_rules! logical_immediate {
    ($($name:ident, $title:literal, $base:literal, $d:ty;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, " (immediate).")]
                pub fn $name(
                    &mut self,
                    size: Size,
                    d: impl Into<$d>,
                    n: impl Into<OrZero>,
                    imm: LogicalImm,
                ) {
                    let registers = n.into().code() << 5 | d.into().code();
                    self.put($base | size.sf() | imm.bits(size) | registers);
                }
            )*
        }
    };
}

logical_immediate! {
    and_imm, "AND", 0x1200_0000, OrSp;
    orr_imm, "ORR", 0x3200_0000, OrSp;
    eor_imm, "EOR", 0x5200_0000, OrSp;
    ands_imm, "ANDS", 0x7200_0000, OrZero;
}

/// Comparisons, negations and moves, which other instructions do with the zero register.
impl Asm {
    /// CMP (shifted register), without a shift.
    pub fn cmp(&mut self, size: Size, n: impl Into<OrZero>, m: impl Into<OrZero>) {
        self.subs(size, ZR, n, m);
    }

    /// CMP (immediate).
    pub fn cmp_imm(&mut self, size: Size, n: impl Into<OrSp>, imm: ArithmeticImm) {
        self.subs_imm(size, ZR, n, imm);
    }

    /// CMN (shifted register), without a shift.
    pub fn cmn(&mut self, size: Size, n: impl Into<OrZero>, m: impl Into<OrZero>) {
        self.adds(size, ZR, n, m);
    }

    /// CMN (immediate).
    pub fn cmn_imm(&mut self, size: Size, n: impl Into<OrSp>, imm: ArithmeticImm) {
        self.adds_imm(size, ZR, n, imm);
    }

    /// TST (shifted register), without a shift.
    pub fn tst(&mut self, size: Size, n: impl Into<OrZero>, m: impl Into<OrZero>) {
        self.ands(size, ZR, n, m);
    }

    /// TST (immediate).
    pub fn tst_imm(&mut self, size: Size, n: impl Into<OrZero>, imm: LogicalImm) {
        self.ands_imm(size, ZR, n, imm);
    }

    /// NEG (shifted register), without a shift.
    pub fn neg(&mut self, size: Size, d: impl Into<OrZero>, m: impl Into<OrZero>) {
        self.sub(size, d, ZR, m);
    }

    /// NEGS.
    pub fn negs(&mut self, size: Size, d: impl Into<OrZero>, m: impl Into<OrZero>) {
        self.subs(size, d, ZR, m);
    }

    /// NGC: the inverse of `m`, plus C.
    pub fn ngc(&mut self, size: Size, d: impl Into<OrZero>, m: impl Into<OrZero>) {
        self.sbc(size, d, ZR, m);
    }

    /// MOV (register); for 32 bits it clears the upper half.
    pub fn mov(&mut self, size: Size, d: impl Into<OrZero>, m: impl Into<OrZero>) {
        self.orr(size, d, ZR, m);
    }

    /// MOV (to/from SP).
    pub fn mov_sp(&mut self, d: impl Into<OrSp>, n: impl Into<OrSp>) {
        let registers = n.into().code() << 5 | d.into().code();
        self.put(0x9100_0000 | registers);
    }

    /// MVN, without a shift.
    pub fn mvn(&mut self, size: Size, d: impl Into<OrZero>, m: impl Into<OrZero>) {
        self.orn(size, d, ZR, m);
    }
}

/// Methods that move bit fields: name, title, encoding for 32 bits.
macro_rules! bit_field {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ".")]
                pub fn $name(
                    &mut self,
                    size: Size,
                    d: impl Into<OrZero>,
                    n: impl Into<OrZero>,
                    immr: u32,
                    imms: u32,
                ) {
                    assert!(immr < size.bits() && imms < size.bits(), "no such bits");
                    let wide = (size as u32) << 22;
                    self.put($base | size.sf() | wide | immr << 16 | imms << 10 | rrr(d, n, X0));
                }
            )*
        }
    };
}

bit_field! {
    sbfm, "SBFM", 0x1300_0000;
    bfm, "BFM", 0x3300_0000;
    ubfm, "UBFM", 0x5300_0000;
}

/// Methods on the `width` bits at `lsb`, of the source or of the destination: name, title, what it
/// is an alias of.
macro_rules! field_alias {
    (from: $($name:ident, $title:literal, $of:ident;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title)]
                pub fn $name(
                    &mut self,
                    size: Size,
                    d: impl Into<OrZero>,
                    n: impl Into<OrZero>,
                    lsb: u32,
                    width: u32,
                ) {
                    assert!(width > 0, "a bit field has bits");
                    self.$of(size, d, n, lsb, lsb + width - 1);
                }
            )*
        }
    };
    (to: $($name:ident, $title:literal, $of:ident;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title)]
                pub fn $name(
                    &mut self,
                    size: Size,
                    d: impl Into<OrZero>,
                    n: impl Into<OrZero>,
                    lsb: u32,
                    width: u32,
                ) {
                    assert!(width > 0 && lsb + width <= size.bits(), "no such bit field");
                    self.$of(size, d, n, (size.bits() - lsb) % size.bits(), width - 1);
                }
            )*
        }
    };
}

field_alias! { from:
    ubfx, "UBFX: `width` bits of `n` from `lsb` on, zero extended.", ubfm;
    sbfx, "SBFX: `width` bits of `n` from `lsb` on, sign extended.", sbfm;
    bfxil, "BFXIL: `width` bits of `n` from `lsb` on to the low bits; the others stay.", bfm;
}

field_alias! { to:
    ubfiz, "UBFIZ: the low `width` bits of `n` to `lsb`, zeros elsewhere.", ubfm;
    sbfiz, "SBFIZ: the low `width` bits of `n` to `lsb`, the sign above, zeros below.", sbfm;
    bfi, "BFI: the low `width` bits of `n` to `lsb`; the others stay.", bfm;
}

/// Shifts by an immediate, extensions.
impl Asm {
    /// LSL (immediate).
    pub fn lsl_imm(&mut self, size: Size, d: impl Into<OrZero>, n: impl Into<OrZero>, by: u32) {
        self.ubfiz(size, d, n, by, size.bits() - by);
    }

    /// LSR (immediate).
    pub fn lsr_imm(&mut self, size: Size, d: impl Into<OrZero>, n: impl Into<OrZero>, by: u32) {
        self.ubfm(size, d, n, by, size.bits() - 1);
    }

    /// ASR (immediate).
    pub fn asr_imm(&mut self, size: Size, d: impl Into<OrZero>, n: impl Into<OrZero>, by: u32) {
        self.sbfm(size, d, n, by, size.bits() - 1);
    }

    /// ROR (immediate).
    pub fn ror_imm(&mut self, size: Size, d: impl Into<OrZero>, n: impl Into<OrZero>, by: u32) {
        let n = n.into();
        self.extr(size, d, n, n, by);
    }

    /// EXTR: the register's width of bits from `lsb` on, of `n` above `m`.
    pub fn extr(
        &mut self,
        size: Size,
        d: impl Into<OrZero>,
        n: impl Into<OrZero>,
        m: impl Into<OrZero>,
        lsb: u32,
    ) {
        assert!(lsb < size.bits(), "no such bits");
        self.put(0x1380_0000 | size.sf() | (size as u32) << 22 | lsb << 10 | rrr(d, n, m));
    }

    /// UXTB.
    pub fn uxtb(&mut self, d: impl Into<OrZero>, n: impl Into<OrZero>) {
        self.ubfm(Size::W, d, n, 0, 7);
    }

    /// UXTH.
    pub fn uxth(&mut self, d: impl Into<OrZero>, n: impl Into<OrZero>) {
        self.ubfm(Size::W, d, n, 0, 15);
    }

    /// SXTB.
    pub fn sxtb(&mut self, size: Size, d: impl Into<OrZero>, n: impl Into<OrZero>) {
        self.sbfm(size, d, n, 0, 7);
    }

    /// SXTH.
    pub fn sxth(&mut self, size: Size, d: impl Into<OrZero>, n: impl Into<OrZero>) {
        self.sbfm(size, d, n, 0, 15);
    }

    /// SXTW.
    pub fn sxtw(&mut self, d: impl Into<OrZero>, n: impl Into<OrZero>) {
        self.sbfm(Size::X, d, n, 0, 31);
    }
}

/// Methods on two registers: name, title, encoding for 32 bits.
macro_rules! two {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ".")]
                pub fn $name(&mut self, size: Size, d: impl Into<OrZero>, n: impl Into<OrZero>) {
                    self.put($base | size.sf() | rrr(d, n, X0));
                }
            )*
        }
    };
}

two! {
    rbit, "RBIT: the order of bits reversed", 0x5ac0_0000;
    rev16, "REV16: the bytes of each 16 bits swapped", 0x5ac0_0400;
    clz, "CLZ: leading zeros; of zero, the width", 0x5ac0_1000;
    cls, "CLS: leading bits that are like the sign", 0x5ac0_1400;
}

/// Methods on four registers: name, title, encoding.
macro_rules! four {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ".")]
                pub fn $name(
                    &mut self,
                    size: Size,
                    d: impl Into<OrZero>,
                    n: impl Into<OrZero>,
                    m: impl Into<OrZero>,
                    a: impl Into<OrZero>,
                ) {
                    self.put($base | size.sf() | a.into().code() << 10 | rrr(d, n, m));
                }
            )*
        }
    };
}

four! {
    madd, "MADD: `a` plus the product", 0x1b00_0000;
    msub, "MSUB: `a` minus the product", 0x1b00_8000;
}

/// Methods that multiply to more bits than they are given: name, title, encoding.
macro_rules! long {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ".")]
                pub fn $name(
                    &mut self,
                    d: impl Into<OrZero>,
                    n: impl Into<OrZero>,
                    m: impl Into<OrZero>,
                ) {
                    self.put($base | rrr(d, n, m));
                }
            )*
        }
    };
}

long! {
    smull, "SMULL: 64 bits of signed 32 by 32", 0x9b20_7c00;
    umull, "UMULL: 64 bits of unsigned 32 by 32", 0x9ba0_7c00;
    smulh, "SMULH: the upper 64 bits of signed 64 by 64", 0x9b40_7c00;
    umulh, "UMULH: the upper 64 bits of unsigned 64 by 64", 0x9bc0_7c00;
}

/// Methods that select by a condition: name, title, encoding for 32 bits.
macro_rules! select {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C6.2, ", $title, ".")]
                pub fn $name(
                    &mut self,
                    size: Size,
                    d: impl Into<OrZero>,
                    n: impl Into<OrZero>,
                    m: impl Into<OrZero>,
                    cond: Cond,
                ) {
                    self.put($base | size.sf() | cond.code() << 12 | rrr(d, n, m));
                }
            )*
        }
    };
}

select! {
    csel, "CSEL: `n` if `cond` holds, else `m`", 0x1a80_0000;
    csinc, "CSINC: `n` if `cond` holds, else `m` plus 1", 0x1a80_0400;
    csinv, "CSINV: `n` if `cond` holds, else the inverse of `m`", 0x5a80_0000;
    csneg, "CSNEG: `n` if `cond` holds, else minus `m`", 0x5a80_0400;
}

/// Conditions as values and as operands.
impl Asm {
    /// CSET: 1 if `cond` holds, else 0.
    pub fn cset(&mut self, size: Size, d: impl Into<OrZero>, cond: Cond) {
        self.csinc(size, d, ZR, ZR, cond.inverse());
    }

    /// CSETM: all ones if `cond` holds, else 0.
    pub fn csetm(&mut self, size: Size, d: impl Into<OrZero>, cond: Cond) {
        self.csinv(size, d, ZR, ZR, cond.inverse());
    }

    /// CINC: `n` plus 1 if `cond` holds, else `n`.
    pub fn cinc(&mut self, size: Size, d: impl Into<OrZero>, n: Reg, cond: Cond) {
        self.csinc(size, d, n, n, cond.inverse());
    }

    /// CCMP (register): flags of `n` minus `m` if `cond` holds, else `nzcv` (N is bit 3).
    pub fn ccmp(
        &mut self,
        size: Size,
        n: impl Into<OrZero>,
        m: impl Into<OrZero>,
        nzcv: u32,
        cond: Cond,
    ) {
        self.put(compare(0x7a40_0000, size, nzcv, cond) | rrr(X0, n, m));
    }

    /// CCMP (immediate): flags of `n` minus `imm5` if `cond` holds, else `nzcv`.
    pub fn ccmp_imm(&mut self, size: Size, n: impl Into<OrZero>, imm5: u32, nzcv: u32, cond: Cond) {
        assert!(imm5 < 32, "an immediate of 5 bits");
        self.put(compare(0x7a40_0800, size, nzcv, cond) | imm5 << 16 | rrr(X0, n, X0));
    }

    /// CCMN (register): flags of `n` plus `m` if `cond` holds, else `nzcv`.
    pub fn ccmn(
        &mut self,
        size: Size,
        n: impl Into<OrZero>,
        m: impl Into<OrZero>,
        nzcv: u32,
        cond: Cond,
    ) {
        self.put(compare(0x3a40_0000, size, nzcv, cond) | rrr(X0, n, m));
    }

    /// REV: all bytes in reverse.
    pub fn rev(&mut self, size: Size, d: impl Into<OrZero>, n: impl Into<OrZero>) {
        self.put(0x5ac0_0800 | size.sf() | (size as u32) << 10 | rrr(d, n, X0));
    }

    /// REV32: the bytes of each 32 bits of a 64-bit register in reverse.
    pub fn rev32(&mut self, d: impl Into<OrZero>, n: impl Into<OrZero>) {
        self.put(0xdac0_0800 | rrr(d, n, X0));
    }

    /// CRC32CB, CRC32CH, CRC32CW, CRC32CX (`FEAT_CRC32`): Castagnoli's, of `n` and the low bits of
    /// `m`.
    pub fn crc32c(
        &mut self,
        access: Access,
        d: impl Into<OrZero>,
        n: impl Into<OrZero>,
        m: impl Into<OrZero>,
    ) {
        let wide = u32::from(access == Access::X) << 31;
        self.put(0x1ac0_5000 | wide | (access as u32) << 10 | rrr(d, n, m));
    }

    /// ADR: the address of `label`, within 1 MB.
    pub fn adr(&mut self, d: impl Into<OrZero>, label: Label) {
        self.put_label(0x1000_0000 | d.into().code(), label, Field::Adr);
    }

    /// ADRP: the address of the 4 KB page `pages` behind that of this instruction, within 4 GB.
    pub fn adrp(&mut self, d: impl Into<OrZero>, pages: i32) {
        let pages = super::signed(i64::from(pages), 21).expect("ADRP reaches 4 GB");
        self.put(0x9000_0000 | (pages & 3) << 29 | (pages >> 2) << 5 | d.into().code());
    }
}

fn compare(base: u32, size: Size, nzcv: u32, cond: Cond) -> u32 {
    assert!(nzcv < 16, "there are four flags");
    base | size.sf() | cond.code() << 12 | nzcv
}
