//! Vectors: whole registers as lanes of integers or of numbers.
//!
//! Source: Arm ARM, C7.2; encodings in C4.1, "Data Processing -- Scalar Floating-Point and Advanced
//! SIMD".

use super::{Asm, OrZero, Reg, VReg};

/// Into how many lanes of which width a register is cut. The 64-bit arrangements clear the upper
/// half of their destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "lanes and their width, as the manual writes them")]
pub enum Arrangement {
    B8,
    B16,
    H4,
    H8,
    S2,
    S4,
    D2,
}

impl Arrangement {
    /// Whether it is all 128 bits, and the logarithm of the bytes of a lane.
    const fn parts(self) -> (u32, u32) {
        match self {
            Self::B8 => (0, 0),
            Self::B16 => (1, 0),
            Self::H4 => (0, 1),
            Self::H8 => (1, 1),
            Self::S2 => (0, 2),
            Self::S4 => (1, 2),
            Self::D2 => (1, 3),
        }
    }

    /// `Q`, in its place.
    const fn q(self) -> u32 {
        self.parts().0 << 30
    }

    /// The logarithm of the bytes of a lane.
    const fn log2(self) -> u32 {
        self.parts().1
    }

    /// `Q` and `size`, for integers.
    const fn integer(self) -> u32 {
        self.q() | self.log2() << 22
    }

    /// `Q` and `sz`, for numbers of single or double precision.
    fn float(self) -> u32 {
        assert!(self.log2() >= 2, "a number has 32 or 64 bits");
        self.q() | (self.log2() & 1) << 22
    }

    /// Bits of a lane.
    const fn lane_bits(self) -> u32 {
        8 << self.log2()
    }
}

/// A lane's width, and which one it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// 8 bits: 0 to 15.
    B(u32),
    /// 16 bits: 0 to 7.
    H(u32),
    /// 32 bits: 0 to 3.
    S(u32),
    /// 64 bits: 0 and 1.
    D(u32),
}

impl Lane {
    /// The logarithm of its bytes, and its number.
    fn parts(self) -> (u32, u32) {
        let (log2, n) = match self {
            Self::B(n) => (0, n),
            Self::H(n) => (1, n),
            Self::S(n) => (2, n),
            Self::D(n) => (3, n),
        };
        assert!(n < 16 >> log2, "there is no lane {n}");
        (log2, n)
    }

    /// `imm5`, in its place.
    fn bits(self) -> u32 {
        let (log2, n) = self.parts();
        (2 * n + 1) << log2 << 16
    }
}

fn vvv(d: VReg, n: VReg, m: VReg) -> u32 {
    m.code() << 16 | n.code() << 5 | d.code()
}

/// Methods on three registers: name, title, encoding without the arrangement, which is of
/// integers or of numbers.
macro_rules! three {
    ($lanes:ident: $($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, ".")]
                pub fn $name(&mut self, lanes: Arrangement, d: VReg, n: VReg, m: VReg) {
                    self.put($base | lanes.$lanes() | vvv(d, n, m));
                }
            )*
        }
    };
}

three! { integer:
    add_v, "ADD (vector)", 0x0e20_8400;
    sub_v, "SUB (vector)", 0x2e20_8400;
    mul_v, "MUL (vector), of up to 32 bits", 0x0e20_9c00;
    sqadd_v, "SQADD: signed, saturating", 0x0e20_0c00;
    uqadd_v, "UQADD: unsigned, saturating", 0x2e20_0c00;
    sqsub_v, "SQSUB: signed, saturating", 0x0e20_2c00;
    uqsub_v, "UQSUB: unsigned, saturating", 0x2e20_2c00;
    urhadd_v, "URHADD: unsigned average, rounded up", 0x2e20_1400;
    cmeq_v, "CMEQ (register): all ones where equal", 0x2e20_8c00;
    cmgt_v, "CMGT (register): all ones where signed greater", 0x0e20_3400;
    cmge_v, "CMGE (register): all ones where signed greater or equal", 0x0e20_3c00;
    cmhi_v, "CMHI (register): all ones where unsigned higher", 0x2e20_3400;
    cmhs_v, "CMHS (register): all ones where unsigned higher or same", 0x2e20_3c00;
    cmtst_v, "CMTST: all ones where a bit is common", 0x0e20_8c00;
    smax_v, "SMAX", 0x0e20_6400;
    smin_v, "SMIN", 0x0e20_6c00;
    umax_v, "UMAX", 0x2e20_6400;
    umin_v, "UMIN", 0x2e20_6c00;
    uabd_v, "UABD: unsigned absolute difference", 0x2e20_7400;
    sshl_v, "SSHL: by the signed low byte of `m`'s lane; to the right the sign comes in", 0x0e20_4400;
    ushl_v, "USHL: by the signed low byte of `m`'s lane; to the right zeros come in", 0x2e20_4400;
    addp_v, "ADDP (vector): sums of neighbours, of `n`, then of `m`", 0x0e20_bc00;
    sqdmulh_v, "SQDMULH (vector): twice the product's upper half, saturating", 0x0e20_b400;
    sqrdmulh_v, "SQRDMULH (vector): the same, rounded", 0x2e20_b400;
    smull_v, "SMULL, SMULL2 (vector): the low (or for 128 bits the high) halves' products, in \
        lanes twice as wide", 0x0e20_c000;
    umull_v, "UMULL, UMULL2 (vector)", 0x2e20_c000;
    zip1, "ZIP1: lanes of the lower halves, in turn", 0x0e00_3800;
    zip2, "ZIP2: lanes of the upper halves, in turn", 0x0e00_7800;
    uzp1, "UZP1: the even lanes of `n`, then of `m`", 0x0e00_1800;
    uzp2, "UZP2: the odd lanes of `n`, then of `m`", 0x0e00_5800;
    trn1, "TRN1: the even lanes of both, in turn", 0x0e00_2800;
    trn2, "TRN2: the odd lanes of both, in turn", 0x0e00_6800;
}

three! { float:
    fadd_v, "FADD (vector)", 0x0e20_d400;
    fsub_v, "FSUB (vector)", 0x0ea0_d400;
    fmul_v, "FMUL (vector)", 0x2e20_dc00;
    fdiv_v, "FDIV (vector)", 0x2e20_fc00;
    fmax_v, "FMAX (vector)", 0x0e20_f400;
    fmin_v, "FMIN (vector)", 0x0ea0_f400;
    faddp_v, "FADDP (vector)", 0x2e20_d400;
    fcmeq_v, "FCMEQ (register): all ones where equal", 0x0e20_e400;
    fcmge_v, "FCMGE (register): all ones where greater or equal", 0x2e20_e400;
    fcmgt_v, "FCMGT (register): all ones where greater", 0x2ea0_e400;
    fmla_v, "FMLA (vector): adds the product to `d`, rounded once", 0x0e20_cc00;
    fmls_v, "FMLS (vector): subtracts the product from `d`, rounded once", 0x0ea0_cc00;
}

// Which lanes there are makes no difference; 64 bits clear the upper half.
three! { q:
    and_v, "AND (vector)", 0x0e20_1c00;
    bic_v, "BIC (vector, register): `n` without the bits of `m`", 0x0e60_1c00;
    orr_v, "ORR (vector, register)", 0x0ea0_1c00;
    orn_v, "ORN (vector)", 0x0ee0_1c00;
    eor_v, "EOR (vector)", 0x2e20_1c00;
    bsl_v, "BSL: bits of `n` where `d` has ones, else of `m`", 0x2e60_1c00;
    bit_v, "BIT: bits of `n` where `m` has ones, else of `d`", 0x2ea0_1c00;
    bif_v, "BIF: bits of `n` where `m` has zeros, else of `d`", 0x2ee0_1c00;
    tbl, "TBL, of one register: bytes of `n` by the numbers in `m`; beyond 15, zero", 0x0e00_0000;
}

/// Methods on two registers: as [`three`].
macro_rules! two {
    ($lanes:ident: $($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, ".")]
                pub fn $name(&mut self, lanes: Arrangement, d: VReg, n: VReg) {
                    self.put($base | lanes.$lanes() | vvv(d, n, VReg::new(0)));
                }
            )*
        }
    };
}

two! { integer:
    neg_v, "NEG (vector)", 0x2e20_b800;
    abs_v, "ABS", 0x0e20_b800;
    cnt_v, "CNT, of bytes: how many ones", 0x0e20_5800;
    rev64_v, "REV64: lanes of each 64 bits in reverse", 0x0e20_0800;
    rev32_v, "REV32 (vector): lanes of each 32 bits in reverse", 0x2e20_0800;
    cmeq_zero, "CMEQ (zero)", 0x0e20_9800;
    cmlt_zero, "CMLT (zero): the sign in all bits", 0x0e20_a800;
    addv, "ADDV: the sum of all lanes, into the lowest", 0x0e31_b800;
    umaxv, "UMAXV: the largest of all lanes, into the lowest", 0x2e30_a800;
    uminv, "UMINV: the smallest of all lanes, into the lowest", 0x2e31_a800;
    uaddlp, "UADDLP: sums of neighbours, in lanes twice as wide", 0x2e20_2800;
}

two! { q:
    not_v, "NOT (MVN)", 0x2e20_5800;
}

two! { float:
    fabs_v, "FABS (vector)", 0x0ea0_f800;
    fneg_v, "FNEG (vector)", 0x2ea0_f800;
    fsqrt_v, "FSQRT (vector)", 0x2ea1_f800;
    scvtf_v, "SCVTF (vector, integer), rounded as FPCR says", 0x0e21_d800;
    ucvtf_v, "UCVTF (vector, integer), rounded as FPCR says", 0x2e21_d800;
    fcvtns_v, "FCVTNS (vector): to the nearest, ties to even", 0x0e21_a800;
    fcvtzs_v, "FCVTZS (vector, integer): towards zero", 0x0ea1_b800;
    frinti_v, "FRINTI (vector): to integers as FPCR says", 0x2ea1_9800;
    frintx_v, "FRINTX (vector): to integers as FPCR says, inexact if one was none", 0x2e21_9800;
    frintn_v, "FRINTN (vector): to the nearest integers, ties to even", 0x0e21_8800;
    frintp_v, "FRINTP (vector): to integers towards plus infinity", 0x0ea1_8800;
    frintm_v, "FRINTM (vector): to integers towards minus infinity", 0x0e21_9800;
    frintz_v, "FRINTZ (vector): to integers towards zero", 0x0ea1_9800;
}

/// Methods from lanes to lanes half as wide; the arrangement is that of the narrow lanes, and the
/// 128-bit ones fill the upper half and leave the lower: name, title, encoding.
macro_rules! narrow {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, ". `lanes` is of the result; those of 128 bits ")]
                /// fill its upper half alone.
                pub fn $name(&mut self, lanes: Arrangement, d: VReg, n: VReg) {
                    assert!(lanes.log2() < 3, "narrow lanes have up to 32 bits");
                    self.put($base | lanes.integer() | vvv(d, n, VReg::new(0)));
                }
            )*
        }
    };
}

narrow! {
    xtn, "XTN, XTN2: the low half of each lane", 0x0e21_2800;
    sqxtn, "SQXTN, SQXTN2: signed, saturating", 0x0e21_4800;
    uqxtn, "UQXTN, UQXTN2: unsigned, saturating", 0x2e21_4800;
    sqxtun, "SQXTUN, SQXTUN2: signed to unsigned, saturating", 0x2e21_2800;
}

/// Methods that shift left by an immediate: name, title, encoding.
macro_rules! shift_left {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, ", by 0 to the lane's width less 1.")]
                pub fn $name(&mut self, lanes: Arrangement, d: VReg, n: VReg, by: u32) {
                    assert!(by < lanes.lane_bits(), "a shift by {by} is too far");
                    let imm = (lanes.lane_bits() + by) << 16;
                    self.put($base | lanes.q() | imm | vvv(d, n, VReg::new(0)));
                }
            )*
        }
    };
}

shift_left! {
    shl_v, "SHL", 0x0f00_5400;
    sli_v, "SLI: the bits of `d` below stay", 0x2f00_5400;
    sshll, "SSHLL, SSHLL2: of the low (for 128 bits, the high) half, into signed lanes twice as \
        wide", 0x0f00_a400;
    ushll, "USHLL, USHLL2: of the low (for 128 bits, the high) half, into unsigned lanes twice as \
        wide", 0x2f00_a400;
}

/// Methods that shift right by an immediate: name, title, encoding.
macro_rules! shift_right {
    ($($name:ident, $title:literal, $base:literal;)*) => {
        impl Asm {
            $(
                #[doc = concat!("C7.2, ", $title, ", by 1 to the lane's width.")]
                pub fn $name(&mut self, lanes: Arrangement, d: VReg, n: VReg, by: u32) {
                    assert!(by > 0 && by <= lanes.lane_bits(), "no shift by {by}");
                    let imm = (2 * lanes.lane_bits() - by) << 16;
                    self.put($base | lanes.q() | imm | vvv(d, n, VReg::new(0)));
                }
            )*
        }
    };
}

shift_right! {
    sshr_v, "SSHR: the sign comes in", 0x0f00_0400;
    ushr_v, "USHR: zeros come in", 0x2f00_0400;
    usra_v, "USRA: adds to `d`", 0x2f00_1400;
    sri_v, "SRI: the bits of `d` above stay", 0x2f00_4400;
    shrn, "SHRN, SHRN2: into lanes half as wide, which `lanes` names", 0x0f00_8400;
}

impl Asm {
    /// DUP (general): `n` in all lanes.
    pub fn dup(&mut self, lanes: Arrangement, d: VReg, n: impl Into<OrZero>) {
        let lane = 1 << lanes.log2() << 16;
        self.put(0x0e00_0c00 | lanes.q() | lane | n.into().code() << 5 | d.code());
    }

    /// DUP (element): a lane of `n` in all lanes; `full` for 128 bits, which lanes of 64 need.
    pub fn dup_lane(&mut self, full: bool, d: VReg, n: VReg, lane: Lane) {
        assert!(full || !matches!(lane, Lane::D(_)), "two lanes of 64 bits take 128");
        self.put(0x0e00_0400 | u32::from(full) << 30 | lane.bits() | vvv(d, n, VReg::new(0)));
    }

    /// INS (general): `n` to a lane; the others stay.
    pub fn ins(&mut self, d: VReg, lane: Lane, n: impl Into<OrZero>) {
        self.put(0x4e00_1c00 | lane.bits() | n.into().code() << 5 | d.code());
    }

    /// INS (element): a lane of `n` to a lane of `d`, of one width; the others stay.
    pub fn ins_lane(&mut self, d: VReg, to: Lane, n: VReg, from: Lane) {
        let ((log2, _), (from_log2, number)) = (to.parts(), from.parts());
        assert_eq!(log2, from_log2, "lanes of one width");
        self.put(0x6e00_0400 | to.bits() | number << log2 << 11 | vvv(d, n, VReg::new(0)));
    }

    /// UMOV: a lane, zero extended.
    pub fn umov(&mut self, d: Reg, n: VReg, lane: Lane) {
        let wide = u32::from(matches!(lane, Lane::D(_))) << 30;
        self.put(0x0e00_3c00 | wide | lane.bits() | n.code() << 5 | d.code());
    }

    /// SMOV: a lane of up to 32 bits, sign extended to 64.
    pub fn smov(&mut self, d: Reg, n: VReg, lane: Lane) {
        assert!(!matches!(lane, Lane::D(_)), "64 bits have nothing to extend");
        self.put(0x4e00_2c00 | lane.bits() | n.code() << 5 | d.code());
    }

    /// EXT: 16 bytes from byte `from` (0 to 15) on, of `m` above `n`.
    pub fn ext(&mut self, d: VReg, n: VReg, m: VReg, from: u32) {
        assert!(from < 16, "there are 16 bytes");
        self.put(0x6e00_0000 | from << 11 | vvv(d, n, m));
    }

    /// MOV (vector): all of a register.
    pub fn mov_v(&mut self, d: VReg, n: VReg) {
        self.orr_v(Arrangement::B16, d, n, n);
    }

    /// MOVI: zero in all of a register.
    pub fn movi_zero(&mut self, d: VReg) {
        self.put(0x6f00_e400 | d.code());
    }

    /// FCVTL: the two lower numbers of single precision, in double precision.
    pub fn fcvtl(&mut self, d: VReg, n: VReg) {
        self.put(0x0e61_7800 | vvv(d, n, VReg::new(0)));
    }

    /// FCVTN: two numbers of double precision, in single precision; the upper half becomes zero.
    pub fn fcvtn(&mut self, d: VReg, n: VReg) {
        self.put(0x0e61_6800 | vvv(d, n, VReg::new(0)));
    }

    /// AESE (`FEAT_AES`): `AddRoundKey`, `SubBytes` and `ShiftRows` of `d`, with the key `n`.
    pub fn aese(&mut self, d: VReg, n: VReg) {
        self.put(0x4e28_4800 | vvv(d, n, VReg::new(0)));
    }

    /// AESD (`FEAT_AES`): `AddRoundKey`, then the inverses of `ShiftRows` and `SubBytes`.
    pub fn aesd(&mut self, d: VReg, n: VReg) {
        self.put(0x4e28_5800 | vvv(d, n, VReg::new(0)));
    }

    /// AESMC (`FEAT_AES`): `MixColumns`.
    pub fn aesmc(&mut self, d: VReg, n: VReg) {
        self.put(0x4e28_6800 | vvv(d, n, VReg::new(0)));
    }

    /// AESIMC (`FEAT_AES`): the inverse of `MixColumns`.
    pub fn aesimc(&mut self, d: VReg, n: VReg) {
        self.put(0x4e28_7800 | vvv(d, n, VReg::new(0)));
    }

    /// PMULL (`FEAT_PMULL`): the carry-less product of the lower 64 bits.
    pub fn pmull(&mut self, d: VReg, n: VReg, m: VReg) {
        self.put(0x0ee0_e000 | vvv(d, n, m));
    }

    /// PMULL2 (`FEAT_PMULL`): the carry-less product of the upper 64 bits.
    pub fn pmull2(&mut self, d: VReg, n: VReg, m: VReg) {
        self.put(0x4ee0_e000 | vvv(d, n, m));
    }
}
