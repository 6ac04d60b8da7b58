//! A table: integer instructions, branches to registers, flags, barriers, hints.

use super::{
    super::{
        Access, ArithmeticImm, Barrier,
        Cond::{self, Eq, Ge, Hi, Le, Ne, Vs},
        Extend, Landing, LogicalImm,
        Shift::{Asr, Lsl, Lsr, Ror},
        Size::{self, W, X},
        SystemRegister, *,
    },
    Row, rows,
};

fn imm(value: u64) -> ArithmeticImm {
    ArithmeticImm::new(value).expect("it can be one")
}

fn mask(size: Size, value: u64) -> LogicalImm {
    LogicalImm::new(size, value).expect("it can be one")
}

pub(super) const ROWS: &[Row] = rows! {
    0x8b02_0020 "add x0, x1, x2" => add(X, X0, X1, X2);
    0x0b11_03fe "add w30, wzr, w17" => add(W, X30, ZR, X17);
    0xab05_0083 "adds x3, x4, x5" => adds(X, X3, X4, X5);
    0x4b08_00e6 "sub w6, w7, w8" => sub(W, X6, X7, X8);
    0xeb0b_0149 "subs x9, x10, x11" => subs(X, X9, X10, X11);
    0x9a02_0020 "adc x0, x1, x2" => adc(X, X0, X1, X2);
    0x3a02_0020 "adcs w0, w1, w2" => adcs(W, X0, X1, X2);
    0x5a02_0020 "sbc w0, w1, w2" => sbc(W, X0, X1, X2);
    0xfa02_0020 "sbcs x0, x1, x2" => sbcs(X, X0, X1, X2);
    0x8a02_0020 "and x0, x1, x2" => and(X, X0, X1, X2);
    0x0a22_0020 "bic w0, w1, w2" => bic(W, X0, X1, X2);
    0xaa0e_01ac "orr x12, x13, x14" => orr(X, X12, X13, X14);
    0x2a22_0020 "orn w0, w1, w2" => orn(W, X0, X1, X2);
    0xca02_0020 "eor x0, x1, x2" => eor(X, X0, X1, X2);
    0xca22_0020 "eon x0, x1, x2" => eon(X, X0, X1, X2);
    0x6a02_0020 "ands w0, w1, w2" => ands(W, X0, X1, X2);
    0xea22_0020 "bics x0, x1, x2" => bics(X, X0, X1, X2);
    0x9ac2_0820 "udiv x0, x1, x2" => udiv(X, X0, X1, X2);
    0x1ac2_0c20 "sdiv w0, w1, w2" => sdiv(W, X0, X1, X2);
    0x9ac2_2020 "lsl x0, x1, x2" => lsl(X, X0, X1, X2);
    0x1ac2_2420 "lsr w0, w1, w2" => lsr(W, X0, X1, X2);
    0x9ac2_2820 "asr x0, x1, x2" => asr(X, X0, X1, X2);
    0x1ac2_2c20 "ror w0, w1, w2" => ror(W, X0, X1, X2);
    0x9b02_7c20 "mul x0, x1, x2" => mul(X, X0, X1, X2);
    0x1b02_fc20 "mneg w0, w1, w2" => mneg(W, X0, X1, X2);
    0x8b02_fc20 "add x0, x1, x2, lsl #63" => add_shifted(X, X0, X1, X2, Lsl(63));
    0x2b42_7c20 "adds w0, w1, w2, lsr #31" => adds_shifted(W, X0, X1, X2, Lsr(31));
    0xcb82_0420 "sub x0, x1, x2, asr #1" => sub_shifted(X, X0, X1, X2, Asr(1));
    0x6b02_1020 "subs w0, w1, w2, lsl #4" => subs_shifted(W, X0, X1, X2, Lsl(4));
    0x8ac2_1c20 "and x0, x1, x2, ror #7" => and_shifted(X, X0, X1, X2, Ror(7));
    0x0a22_4020 "bic w0, w1, w2, lsl #16" => bic_shifted(W, X0, X1, X2, Lsl(16));
    0xaa42_8020 "orr x0, x1, x2, lsr #32" => orr_shifted(X, X0, X1, X2, Lsr(32));
    0x2aa2_0c20 "orn w0, w1, w2, asr #3" => orn_shifted(W, X0, X1, X2, Asr(3));
    0x4ac2_7c20 "eor w0, w1, w2, ror #31" => eor_shifted(W, X0, X1, X2, Ror(31));
    0xca22_1420 "eon x0, x1, x2, lsl #5" => eon_shifted(X, X0, X1, X2, Lsl(5));
    0xea42_2420 "ands x0, x1, x2, lsr #9" => ands_shifted(X, X0, X1, X2, Lsr(9));
    0x6a22_0820 "bics w0, w1, w2, lsl #2" => bics_shifted(W, X0, X1, X2, Lsl(2));
    0x8b22_4fe0 "add x0, sp, w2, uxtw #3" => add_extended(X, X0, SP, X2, Extend::Uxtw, 3);
    0x8b22_f3ff "add sp, sp, x2, sxtx #4" => add_extended(X, SP, SP, X2, Extend::Sxtx, 4);
    0xab22_8020 "adds x0, x1, w2, sxtb" => adds_extended(X, X0, X1, X2, Extend::Sxtb, 0);
    0x4b22_2420 "sub w0, w1, w2, uxth #1" => sub_extended(W, X0, X1, X2, Extend::Uxth, 1);
    0xeb22_c3ff "subs xzr, sp, w2, sxtw" => subs_extended(X, ZR, SP, X2, Extend::Sxtw, 0);
    0xeb22_003f "cmp x1, w2, uxtb" => subs_extended(X, ZR, X1, X2, Extend::Uxtb, 0);
    0x913f_fc20 "add x0, x1, #4095" => add_imm(X, X0, X1, imm(4095));
    0x9144_8fff "add sp, sp, #0x123, lsl #12" => add_imm(X, SP, SP, imm(0x12_3000));
    0x3100_0420 "adds w0, w1, #1" => adds_imm(W, X0, X1, imm(1));
    0xd100_43bf "sub sp, x29, #16" => sub_imm(X, SP, X29, imm(16));
    0xf17f_fc20 "subs x0, x1, #0xfff, lsl #12" => subs_imm(X, X0, X1, imm(0xff_f000));
    0x7100_00bf "cmp w5, #0" => cmp_imm(W, X5, imm(0));
    0xb100_1fff "cmn sp, #7" => cmn_imm(X, SP, imm(7));
    0x9240_1c20 "and x0, x1, #0xff" => and_imm(X, X0, X1, mask(X, 0xff));
    0x927c_ec3f "and sp, x1, #0xfffffffffffffff0" => and_imm(X, SP, X1, mask(X, !15));
    0x3204_cfe0 "orr w0, wzr, #0xf0f0f0f0" => orr_imm(W, X0, ZR, mask(W, 0xf0f0_f0f0));
    0xd200_f020 "eor x0, x1, #0x5555555555555555" => eor_imm(X, X0, X1, mask(X, 0x5555_5555_5555_5555));
    0x5201_0420 "eor w0, w1, #0x80000001" => eor_imm(W, X0, X1, mask(W, 0x8000_0001));
    0xf241_0020 "ands x0, x1, #0x8000000000000000" => ands_imm(X, X0, X1, mask(X, 1 << 63));
    0x7210_3c20 "ands w0, w1, #0xffff0000" => ands_imm(W, X0, X1, mask(W, 0xffff_0000));
    0xf240_7c3f "tst x1, #0xffffffff" => tst_imm(X, X1, mask(X, 0xffff_ffff));
    0xeb02_003f "cmp x1, x2" => cmp(X, X1, X2);
    0x2b02_003f "cmn w1, w2" => cmn(W, X1, X2);
    0x6a02_003f "tst w1, w2" => tst(W, X1, X2);
    0xcb01_03e0 "neg x0, x1" => neg(X, X0, X1);
    0x6b01_03e0 "negs w0, w1" => negs(W, X0, X1);
    0xda01_03e0 "ngc x0, x1" => ngc(X, X0, X1);
    0xaa01_03e0 "mov x0, x1" => mov(X, X0, X1);
    0x2a1f_03e0 "mov w0, wzr" => mov(W, X0, ZR);
    0x9100_03bf "mov sp, x29" => mov_sp(SP, X29);
    0x9100_03fd "mov x29, sp" => mov_sp(X29, SP);
    0x2a21_03e0 "mvn w0, w1" => mvn(W, X0, X1);
    0xd2f5_79a0 "movz x0, #0xabcd, lsl #48" => movz(X, X0, 0xabcd, 48);
    0x5280_0020 "movz w0, #0x1" => movz(W, X0, 1, 0);
    0x92c2_4680 "movn x0, #0x1234, lsl #32" => movn(X, X0, 0x1234, 32);
    0x1280_0000 "movn w0, #0" => movn(W, X0, 0, 0);
    0xf2bf_ffe0 "movk x0, #0xffff, lsl #16" => movk(X, X0, 0xffff, 16);
    0x7280_00a0 "movk w0, #5" => movk(W, X0, 5, 0);
    0xb200_3fe7 "mov x7, #0xffff0000ffff" => mov_imm(X, X7, 0xffff_0000_ffff);
    0x1280_0027 "mov w7, #-2" => mov_imm(W, X7, 0xffff_fffe);
    0x9343_f020 "sbfm x0, x1, #3, #60" => sbfm(X, X0, X1, 3, 60);
    0x331f_0020 "bfm w0, w1, #31, #0" => bfm(W, X0, X1, 31, 0);
    0xd37f_f820 "ubfm x0, x1, #63, #62" => ubfm(X, X0, X1, 63, 62);
    0xd34b_2c20 "ubfx x0, x1, #11, #1" => ubfx(X, X0, X1, 11, 1);
    0x5308_3c20 "ubfx w0, w1, #8, #8" => ubfx(W, X0, X1, 8, 8);
    0x9360_fc20 "sbfx x0, x1, #32, #32" => sbfx(X, X0, X1, 32, 32);
    0x3304_7c20 "bfxil w0, w1, #4, #28" => bfxil(W, X0, X1, 4, 28);
    0xd358_5c20 "ubfiz x0, x1, #40, #24" => ubfiz(X, X0, X1, 40, 24);
    0x131f_1c20 "sbfiz w0, w1, #1, #8" => sbfiz(W, X0, X1, 1, 8);
    0xb378_1c20 "bfi x0, x1, #8, #8" => bfi(X, X0, X1, 8, 8);
    0x3300_3c20 "bfi w0, w1, #0, #16" => bfi(W, X0, X1, 0, 16);
    0xd340_fc20 "lsl x0, x1, #0" => lsl_imm(X, X0, X1, 0);
    0xd341_0020 "lsl x0, x1, #63" => lsl_imm(X, X0, X1, 63);
    0x531f_7820 "lsl w0, w1, #1" => lsl_imm(W, X0, X1, 1);
    0xd37f_fc20 "lsr x0, x1, #63" => lsr_imm(X, X0, X1, 63);
    0x531f_7c20 "lsr w0, w1, #31" => lsr_imm(W, X0, X1, 31);
    0x9341_fc20 "asr x0, x1, #1" => asr_imm(X, X0, X1, 1);
    0x131f_7c20 "asr w0, w1, #31" => asr_imm(W, X0, X1, 31);
    0x93c1_3420 "ror x0, x1, #13" => ror_imm(X, X0, X1, 13);
    0x1381_7c20 "ror w0, w1, #31" => ror_imm(W, X0, X1, 31);
    0x93c2_a020 "extr x0, x1, x2, #40" => extr(X, X0, X1, X2, 40);
    0x1382_0420 "extr w0, w1, w2, #1" => extr(W, X0, X1, X2, 1);
    0x5300_1c20 "uxtb w0, w1" => uxtb(X0, X1);
    0x5300_3c20 "uxth w0, w1" => uxth(X0, X1);
    0x9340_1c20 "sxtb x0, w1" => sxtb(X, X0, X1);
    0x1300_1c20 "sxtb w0, w1" => sxtb(W, X0, X1);
    0x9340_3c20 "sxth x0, w1" => sxth(X, X0, X1);
    0x9340_7c20 "sxtw x0, w1" => sxtw(X0, X1);
    0xdac0_0020 "rbit x0, x1" => rbit(X, X0, X1);
    0x5ac0_0020 "rbit w0, w1" => rbit(W, X0, X1);
    0x5ac0_0420 "rev16 w0, w1" => rev16(W, X0, X1);
    0xdac0_0420 "rev16 x0, x1" => rev16(X, X0, X1);
    0x5ac0_1020 "clz w0, w1" => clz(W, X0, X1);
    0xdac0_1020 "clz x0, x1" => clz(X, X0, X1);
    0xdac0_1420 "cls x0, x1" => cls(X, X0, X1);
    0x5ac0_0820 "rev w0, w1" => rev(W, X0, X1);
    0xdac0_0c20 "rev x0, x1" => rev(X, X0, X1);
    0xdac0_0820 "rev32 x0, x1" => rev32(X0, X1);
    0x9b02_0c20 "madd x0, x1, x2, x3" => madd(X, X0, X1, X2, X3);
    0x1b02_8c20 "msub w0, w1, w2, w3" => msub(W, X0, X1, X2, X3);
    0x9b22_7c20 "smull x0, w1, w2" => smull(X0, X1, X2);
    0x9ba2_7c20 "umull x0, w1, w2" => umull(X0, X1, X2);
    0x9b42_7c20 "smulh x0, x1, x2" => smulh(X0, X1, X2);
    0x9bc2_7c20 "umulh x0, x1, x2" => umulh(X0, X1, X2);
    0x9a82_0020 "csel x0, x1, x2, eq" => csel(X, X0, X1, X2, Eq);
    0x1a82_1420 "csinc w0, w1, w2, ne" => csinc(W, X0, X1, X2, Ne);
    0xda9f_8020 "csinv x0, x1, xzr, hi" => csinv(X, X0, X1, ZR, Hi);
    0x5a82_6420 "csneg w0, w1, w2, vs" => csneg(W, X0, X1, X2, Vs);
    0x1a9f_27e0 "cset w0, lo" => cset(W, X0, Cond::Cc);
    0x9a9f_d7e0 "cset x0, gt" => cset(X, X0, Cond::Gt);
    0xda9f_53e0 "csetm x0, mi" => csetm(X, X0, Cond::Mi);
    0x9a81_b420 "cinc x0, x1, ge" => cinc(X, X0, X1, Ge);
    0xfa42_0025 "ccmp x1, x2, #5, eq" => ccmp(X, X1, X2, 5, Eq);
    0x7a5f_d820 "ccmp w1, #31, #0, le" => ccmp_imm(W, X1, 31, 0, Le);
    0x3a42_102f "ccmn w1, w2, #15, ne" => ccmn(W, X1, X2, 15, Ne);
    0x1ac2_5020 "crc32cb w0, w1, w2" => crc32c(Access::B, X0, X1, X2);
    0x1ac2_5420 "crc32ch w0, w1, w2" => crc32c(Access::H, X0, X1, X2);
    0x1ac2_5820 "crc32cw w0, w1, w2" => crc32c(Access::W, X0, X1, X2);
    0x9ac2_5c20 "crc32cx w0, w1, x2" => crc32c(Access::X, X0, X1, X2);
    0xd61f_0200 "br x16" => br(X16);
    0xd63f_03c0 "blr x30" => blr(LR);
    0xd65f_03c0 "ret" => ret(LR);
    0xd65f_00e0 "ret x7" => ret(X7);
    0xd53b_4200 "mrs x0, nzcv" => mrs(X0, SystemRegister::Nzcv);
    0xd51b_4201 "msr nzcv, x1" => msr(SystemRegister::Nzcv, X1);
    0xd53b_4402 "mrs x2, fpcr" => mrs(X2, SystemRegister::Fpcr);
    0xd51b_441f "msr fpcr, xzr" => msr(SystemRegister::Fpcr, ZR);
    0xd53b_4424 "mrs x4, fpsr" => mrs(X4, SystemRegister::Fpsr);
    0xd51b_4425 "msr fpsr, x5" => msr(SystemRegister::Fpsr, X5);
    0xd53b_0026 "mrs x6, ctr_el0" => mrs(X6, SystemRegister::CtrEl0);
    0xd53b_e047 "mrs x7, cntvct_el0" => mrs(X7, SystemRegister::CntvctEl0);
    0xd500_401f "cfinv" => cfinv();
    0xd500_405f "axflag" => axflag();
    0xba1f_8425 "rmif x1, #63, #5" => rmif(X1, 63, 5);
    0x3a00_086d "setf8 w3" => setf8(X3);
    0x3a00_486d "setf16 w3" => setf16(X3);
    0xd503_3bbf "dmb ish" => dmb(Barrier::Ish);
    0xd503_39bf "dmb ishld" => dmb(Barrier::IshLd);
    0xd503_3abf "dmb ishst" => dmb(Barrier::IshSt);
    0xd503_3b9f "dsb ish" => dsb(Barrier::Ish);
    0xd503_3fdf "isb" => isb();
    0xd50b_7b23 "dc cvau, x3" => dc_cvau(X3);
    0xd50b_7524 "ic ivau, x4" => ic_ivau(X4);
    0xd503_201f "nop" => nop();
    0xd503_203f "yield" => yield_();
    0xd503_245f "bti c" => bti(Landing::Call);
    0xd503_249f "bti j" => bti(Landing::Jump);
    0xd503_24df "bti jc" => bti(Landing::Both);
    0xd435_79a0 "brk #0xabcd" => brk(0xabcd);
    0x0000_1234 "udf #0x1234" => udf(0x1234);
};
