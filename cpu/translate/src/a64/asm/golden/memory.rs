//! A table: loads, stores and atomic accesses.

use super::{
    super::{
        Access, Address,
        Address::{Extended, Index, PostIndex, PreIndex},
        Extend::{Sxtw, Uxtw},
        Order::{Acquire, AcquireRelease, Relaxed, Release},
        Size::{W, X},
        VSize, *,
    },
    Row, rows,
};

/// A base and an offset.
fn at(base: impl Into<OrSp>, offset: i32) -> Address {
    Address::offset(base, offset)
}

pub(super) const ROWS: &[Row] = rows! {
    0xf940_0020 "ldr x0, [x1]" => ldr(X, X0, X1);
    0xf97f_ffe0 "ldr x0, [sp, #32760]" => ldr(X, X0, at(SP, 32760));
    0xb97f_fc20 "ldr w0, [x1, #16380]" => ldr(W, X0, at(X1, 16380));
    0xf850_0020 "ldur x0, [x1, #-256]" => ldr(X, X0, at(X1, -256));
    0xb84f_f020 "ldur w0, [x1, #255]" => ldr(W, X0, at(X1, 255));
    0xf85f_8c20 "ldr x0, [x1, #-8]!" => ldr(X, X0, PreIndex(X1.into(), -8));
    0xb84f_f7e0 "ldr w0, [sp], #255" => ldr(W, X0, PostIndex(SP, 255));
    0xf862_6820 "ldr x0, [x1, x2]" => ldr(X, X0, Address::index(X1, X2));
    0xf862_7820 "ldr x0, [x1, x2, lsl #3]" => ldr(X, X0, Index(X1.into(), X2.into(), true));
    0xb862_4820 "ldr w0, [x1, w2, uxtw]" => ldr(W, X0, Extended(X1.into(), X2.into(), Uxtw, false));
    0xb862_dbe0 "ldr w0, [sp, w2, sxtw #2]" => ldr(W, X0, Extended(SP, X2.into(), Sxtw, true));
    0x397f_fc20 "ldrb w0, [x1, #4095]" => ldrb(X0, at(X1, 4095));
    0x385f_f020 "ldurb w0, [x1, #-1]" => ldrb(X0, at(X1, -1));
    0x3862_4820 "ldrb w0, [x1, w2, uxtw]" => ldrb(X0, Extended(X1.into(), X2.into(), Uxtw, false));
    0x797f_fc20 "ldrh w0, [x1, #8190]" => ldrh(X0, at(X1, 8190));
    0x7840_1020 "ldurh w0, [x1, #1]" => ldrh(X0, at(X1, 1));
    0x7862_7820 "ldrh w0, [x1, x2, lsl #1]" => ldrh(X0, Index(X1.into(), X2.into(), true));
    0xb980_0420 "ldrsw x0, [x1, #4]" => ldrsw(X0, at(X1, 4));
    0xb89f_c020 "ldursw x0, [x1, #-4]" => ldrsw(X0, at(X1, -4));
    0x39c0_1c20 "ldrsb w0, [x1, #7]" => ldrsb(W, X0, at(X1, 7));
    0x3880_1420 "ldrsb x0, [x1], #1" => ldrsb(X, X0, PostIndex(X1.into(), 1));
    0x78c0_2c20 "ldrsh w0, [x1, #2]!" => ldrsh(W, X0, PreIndex(X1.into(), 2));
    0x7980_0420 "ldrsh x0, [x1, #2]" => ldrsh(X, X0, at(X1, 2));
    0xf900_0420 "str x0, [x1, #8]" => str(X, X0, at(X1, 8));
    0xb900_043f "str wzr, [x1, #4]" => str(W, ZR, at(X1, 4));
    0xf800_3020 "stur x0, [x1, #3]" => str(X, X0, at(X1, 3));
    0xf81f_0ffe "str x30, [sp, #-16]!" => str(X, LR, PreIndex(SP, -16));
    0xb822_6820 "str w0, [x1, x2]" => str(W, X0, Address::index(X1, X2));
    0x3900_0020 "strb w0, [x1]" => strb(X0, X1);
    0x381f_f420 "strb w0, [x1], #-1" => strb(X0, PostIndex(X1.into(), -1));
    0x7900_0420 "strh w0, [x1, #2]" => strh(X0, at(X1, 2));
    0x7822_6820 "strh w0, [x1, x2]" => strh(X0, Address::index(X1, X2));
    0xa940_0440 "ldp x0, x1, [x2]" => ldp(X, X0, X1, X2);
    0xa8df_fbfd "ldp x29, x30, [sp], #504" => ldp(X, X29, LR, PostIndex(SP, 504));
    0x2960_0440 "ldp w0, w1, [x2, #-256]" => ldp(W, X0, X1, at(X2, -256));
    0xa9a0_7bfd "stp x29, x30, [sp, #-512]!" => stp(X, X29, LR, PreIndex(SP, -512));
    0x291f_fc40 "stp w0, wzr, [x2, #252]" => stp(W, X0, ZR, at(X2, 252));
    0x3d40_0420 "ldr b0, [x1, #1]" => ldr_v(VSize::B, V0, at(X1, 1));
    0x7d40_0420 "ldr h0, [x1, #2]" => ldr_v(VSize::H, V0, at(X1, 2));
    0xbd40_0420 "ldr s0, [x1, #4]" => ldr_v(VSize::S, V0, at(X1, 4));
    0xfc62_783f "ldr d31, [x1, x2, lsl #3]" => ldr_v(VSize::D, V31, Index(X1.into(), X2.into(), true));
    0x3dff_fc20 "ldr q0, [x1, #65520]" => ldr_v(VSize::Q, V0, at(X1, 65520));
    0x3cc0_8020 "ldur q0, [x1, #8]" => ldr_v(VSize::Q, V0, at(X1, 8));
    0x3ce2_7820 "ldr q0, [x1, x2, lsl #4]" => ldr_v(VSize::Q, V0, Index(X1.into(), X2.into(), true));
    0xbd00_0020 "str s0, [x1]" => str_v(VSize::S, V0, X1);
    0xfc1f_8fe0 "str d0, [sp, #-8]!" => str_v(VSize::D, V0, PreIndex(SP, -8));
    0x3d80_0420 "str q0, [x1, #16]" => str_v(VSize::Q, V0, at(X1, 16));
    0x3c9f_0020 "stur q0, [x1, #-16]" => str_v(VSize::Q, V0, at(X1, -16));
    0x3d00_0020 "str b0, [x1]" => str_v(VSize::B, V0, X1);
    0x7c00_2420 "str h0, [x1], #2" => str_v(VSize::H, V0, PostIndex(X1.into(), 2));
    0x2d40_8440 "ldp s0, s1, [x2, #4]" => ldp_v(VSize::S, V0, V1, at(X2, 4));
    0xacc1_27e8 "ldp q8, q9, [sp], #32" => ldp_v(VSize::Q, V8, V9, PostIndex(SP, 32));
    0x6dbf_27e8 "stp d8, d9, [sp, #-16]!" => stp_v(VSize::D, V8, V9, PreIndex(SP, -16));
    0xad1f_8440 "stp q0, q1, [x2, #1008]" => stp_v(VSize::Q, V0, V1, at(X2, 1008));
    0xc8df_fc20 "ldar x0, [x1]" => ldar(Access::X, X0, X1);
    0x88df_ffe0 "ldar w0, [sp]" => ldar(Access::W, X0, SP);
    0x08df_fc20 "ldarb w0, [x1]" => ldar(Access::B, X0, X1);
    0x48df_fc20 "ldarh w0, [x1]" => ldar(Access::H, X0, X1);
    0xf8bf_c020 "ldapr x0, [x1]" => ldapr(Access::X, X0, X1);
    0xb8bf_c020 "ldapr w0, [x1]" => ldapr(Access::W, X0, X1);
    0x38bf_c020 "ldaprb w0, [x1]" => ldapr(Access::B, X0, X1);
    0x78bf_c020 "ldaprh w0, [x1]" => ldapr(Access::H, X0, X1);
    0xc89f_fc20 "stlr x0, [x1]" => stlr(Access::X, X0, X1);
    0x889f_fc3f "stlr wzr, [x1]" => stlr(Access::W, ZR, X1);
    0x089f_fc20 "stlrb w0, [x1]" => stlr(Access::B, X0, X1);
    0x489f_fc20 "stlrh w0, [x1]" => stlr(Access::H, X0, X1);
    0xd950_0020 "ldapur x0, [x1, #-256]" => ldapur(Access::X, X0, X1, -256);
    0x194f_f020 "ldapurb w0, [x1, #255]" => ldapur(Access::B, X0, X1, 255);
    0x9900_4020 "stlur w0, [x1, #4]" => stlur(Access::W, X0, X1, 4);
    0x591f_e020 "stlurh w0, [x1, #-2]" => stlur(Access::H, X0, X1, -2);
    0xc85f_7c20 "ldxr x0, [x1]" => ldxr(Access::X, X0, X1);
    0x085f_7c20 "ldxrb w0, [x1]" => ldxr(Access::B, X0, X1);
    0x885f_fc20 "ldaxr w0, [x1]" => ldaxr(Access::W, X0, X1);
    0x485f_fc20 "ldaxrh w0, [x1]" => ldaxr(Access::H, X0, X1);
    0xc802_7c20 "stxr w2, x0, [x1]" => stxr(Access::X, X2, X0, X1);
    0x8802_fc20 "stlxr w2, w0, [x1]" => stlxr(Access::W, X2, X0, X1);
    0x0802_fc20 "stlxrb w2, w0, [x1]" => stlxr(Access::B, X2, X0, X1);
    0xc87f_0440 "ldxp x0, x1, [x2]" => ldxp(X, X0, X1, X2);
    0xc87f_8440 "ldaxp x0, x1, [x2]" => ldaxp(X, X0, X1, X2);
    0x887f_8440 "ldaxp w0, w1, [x2]" => ldaxp(W, X0, X1, X2);
    0xc823_0440 "stxp w3, x0, x1, [x2]" => stxp(X, X3, X0, X1, X2);
    0xc823_8440 "stlxp w3, x0, x1, [x2]" => stlxp(X, X3, X0, X1, X2);
    0x8823_8440 "stlxp w3, w0, w1, [x2]" => stlxp(W, X3, X0, X1, X2);
    0xd503_3f5f "clrex" => clrex();
    0xf820_0041 "ldadd x0, x1, [x2]" => ldadd(Access::X, Relaxed, X0, X1, X2);
    0xb8e0_0041 "ldaddal w0, w1, [x2]" => ldadd(Access::W, AcquireRelease, X0, X1, X2);
    0xf8a0_03e1 "ldadda x0, x1, [sp]" => ldadd(Access::X, Acquire, X0, X1, SP);
    0x3860_0041 "ldaddlb w0, w1, [x2]" => ldadd(Access::B, Release, X0, X1, X2);
    0x7860_005f "staddlh w0, [x2]" => ldadd(Access::H, Release, X0, ZR, X2);
    0xf8e0_1041 "ldclral x0, x1, [x2]" => ldclr(Access::X, AcquireRelease, X0, X1, X2);
    0x3820_1041 "ldclrb w0, w1, [x2]" => ldclr(Access::B, Relaxed, X0, X1, X2);
    0xb8e0_2041 "ldeoral w0, w1, [x2]" => ldeor(Access::W, AcquireRelease, X0, X1, X2);
    0x78e0_3041 "ldsetalh w0, w1, [x2]" => ldset(Access::H, AcquireRelease, X0, X1, X2);
    0xf8a0_3041 "ldseta x0, x1, [x2]" => ldset(Access::X, Acquire, X0, X1, X2);
    0xf8e0_8041 "swpal x0, x1, [x2]" => swp(Access::X, AcquireRelease, X0, X1, X2);
    0x3820_8041 "swpb w0, w1, [x2]" => swp(Access::B, Relaxed, X0, X1, X2);
    0xc8e0_fc41 "casal x0, x1, [x2]" => cas(Access::X, AcquireRelease, X0, X1, X2);
    0x88e0_7c41 "casa w0, w1, [x2]" => cas(Access::W, Acquire, X0, X1, X2);
    0x08a0_fc41 "caslb w0, w1, [x2]" => cas(Access::B, Release, X0, X1, X2);
    0x48a0_7c41 "cash w0, w1, [x2]" => cas(Access::H, Relaxed, X0, X1, X2);
    0x4860_fc82 "caspal x0, x1, x2, x3, [x4]" => casp(X, AcquireRelease, X0, X2, X4);
    0x0826_7fe8 "casp w6, w7, w8, w9, [sp]" => casp(W, Relaxed, X6, X8, SP);
};
