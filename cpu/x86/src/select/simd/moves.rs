//! Moves, transfers, and the state as a whole.

use iced_x86::Code as C;

use crate::{
    Insn, Pick, fxsave,
    simd::{self, Mm, Xmm, moves, transfer},
    xsave,
};

pub(super) fn pick<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Movups_xmm_xmmm128
        | C::Movupd_xmm_xmmm128
        | C::Movdqu_xmm_xmmm128
        | C::Lddqu_xmm_m128 => row!(p, moves::load::<Xmm, 2, false>),
        C::Movss_xmm_xmmm32 => row!(p, moves::movss::<Xmm>),
        C::Movsd_xmm_xmmm64 => row!(p, moves::movsd::<Xmm>),
        C::Movups_xmmm128_xmm | C::Movupd_xmmm128_xmm | C::Movdqu_xmmm128_xmm => {
            row!(p, moves::store_all::<Xmm, 2, false>, stores)
        }
        C::Movss_xmmm32_xmm => row!(p, moves::movss_store::<Xmm>, stores),
        C::Movsd_xmmm64_xmm => row!(p, moves::store_low::<Xmm, false>, stores),
        C::Movhlps_xmm_xmm => xmm!(p, binary, moves::movhlps),
        C::Movlps_xmm_m64 | C::Movlpd_xmm_m64 => row!(p, moves::load_half::<Xmm, 0>),
        C::Movddup_xmm_xmmm64 => widen!(p, 8, moves::movddup),
        C::Movlps_m64_xmm | C::Movlpd_m64_xmm => row!(p, moves::store_half::<Xmm, 0>, stores),
        C::Movlhps_xmm_xmm => xmm!(p, binary, moves::movlhps),
        C::Movhps_xmm_m64 | C::Movhpd_xmm_m64 => row!(p, moves::load_half::<Xmm, 1>),
        C::Movhps_m64_xmm | C::Movhpd_m64_xmm => row!(p, moves::store_half::<Xmm, 1>, stores),
        C::Movaps_xmm_xmmm128
        | C::Movapd_xmm_xmmm128
        | C::Movdqa_xmm_xmmm128
        | C::Movntdqa_xmm_m128 => row!(p, moves::load::<Xmm, 2, true>),
        C::Movaps_xmmm128_xmm
        | C::Movapd_xmmm128_xmm
        | C::Movntps_m128_xmm
        | C::Movntpd_m128_xmm
        | C::Movdqa_xmmm128_xmm
        | C::Movntdq_m128_xmm => row!(p, moves::store_all::<Xmm, 2, true>, stores),
        C::Movmskps_r32_xmm | C::Movmskps_r64_xmm => row!(p, transfer::mask::<Xmm, 2, u32>),
        C::Movmskpd_r32_xmm | C::Movmskpd_r64_xmm => row!(p, transfer::mask::<Xmm, 2, u64>),
        C::Movd_mm_rm32 => row!(p, transfer::movd::<Mm, 1, false>),
        C::Movq_mm_rm64 => row!(p, transfer::movd::<Mm, 1, true>),
        C::Movd_xmm_rm32 => row!(p, transfer::movd::<Xmm, 2, false>),
        C::Movq_xmm_rm64 => row!(p, transfer::movd::<Xmm, 2, true>),
        C::Movq_mm_mmm64 => row!(p, moves::movq_mmx),
        C::Emms => row!(p, moves::emms),
        C::Movd_rm32_mm => row!(p, transfer::movd_store::<Mm, 1, false>, stores),
        C::Movq_rm64_mm => row!(p, transfer::movd_store::<Mm, 1, true>, stores),
        C::Movd_rm32_xmm => row!(p, transfer::movd_store::<Xmm, 2, false>, stores),
        C::Movq_rm64_xmm => row!(p, transfer::movd_store::<Xmm, 2, true>, stores),
        C::Movq_xmm_xmmm64 => row!(p, moves::movq::<Xmm>),
        C::Movq_mmm64_mm | C::Movntq_m64_mm => row!(p, moves::movq_mmx_store, stores),
        C::Fxsave_m512byte => row!(p, fxsave::fxsave::<false>, stores),
        C::Fxsave64_m512byte => row!(p, fxsave::fxsave::<true>, stores),
        C::Fxrstor_m512byte => row!(p, fxsave::fxrstor::<false>),
        C::Fxrstor64_m512byte => row!(p, fxsave::fxrstor::<true>),
        C::Ldmxcsr_m32 => row!(p, transfer::ldmxcsr::<Xmm>),
        C::Stmxcsr_m32 => row!(p, transfer::stmxcsr::<Xmm>, stores),
        C::Xsave_mem => row!(p, xsave::xsave::<false, false>, stores),
        C::Xsave64_mem => row!(p, xsave::xsave::<true, false>, stores),
        C::Xrstor_mem => row!(p, xsave::xrstor::<false, false>, stores),
        C::Xrstor64_mem => row!(p, xsave::xrstor::<true, false>, stores),
        C::Xsaveopt_mem => row!(p, xsave::xsave::<false, true>, stores),
        C::Xsaveopt64_mem => row!(p, xsave::xsave::<true, true>, stores),
        C::Pinsrw_mm_r32m16_imm8 | C::Pinsrw_mm_r64m16_imm8 => {
            row!(p, transfer::insert::<Mm, 1, u16>)
        }
        C::Pinsrw_xmm_r32m16_imm8 | C::Pinsrw_xmm_r64m16_imm8 => {
            row!(p, transfer::insert::<Xmm, 2, u16>)
        }
        C::Pextrw_r32_mm_imm8 | C::Pextrw_r64_mm_imm8 => {
            row!(p, transfer::extract::<Mm, 1, u16>, stores)
        }
        C::Pextrw_r32_xmm_imm8
        | C::Pextrw_r64_xmm_imm8
        | C::Pextrw_r32m16_xmm_imm8
        | C::Pextrw_r64m16_xmm_imm8 => row!(p, transfer::extract::<Xmm, 2, u16>, stores),
        C::Xrstors_mem => row!(p, xsave::xrstor::<false, true>, stores),
        C::Xrstors64_mem => row!(p, xsave::xrstor::<true, true>, stores),
        C::Xsavec_mem => row!(p, xsave::xsavec::<false, false>, stores),
        C::Xsavec64_mem => row!(p, xsave::xsavec::<true, false>, stores),
        C::Xsaves_mem => row!(p, xsave::xsavec::<false, true>, stores),
        C::Xsaves64_mem => row!(p, xsave::xsavec::<true, true>, stores),
        C::Movq_xmmm64_xmm => row!(p, moves::store_low::<Xmm, true>, stores),
        C::Movq2dq_xmm_mm => row!(p, moves::movq2dq),
        C::Movdq2q_mm_xmm => row!(p, moves::movdq2q),
        C::Pmovmskb_r32_mm | C::Pmovmskb_r64_mm => row!(p, transfer::mask::<Mm, 1, u8>),
        C::Pmovmskb_r32_xmm | C::Pmovmskb_r64_xmm => row!(p, transfer::mask::<Xmm, 2, u8>),
        C::Maskmovq_rDI_mm_mm => row!(p, moves::maskmovq, stores),
        C::Maskmovdqu_rDI_xmm_xmm => row!(p, moves::maskmovdqu::<Xmm>, stores),
        C::Ptest_xmm_xmmm128 => row!(p, transfer::test::<Xmm, 2, { u64::MAX }>),
        C::Pextrb_r32m8_xmm_imm8 | C::Pextrb_r64m8_xmm_imm8 => {
            row!(p, transfer::extract::<Xmm, 2, u8>, stores)
        }
        C::Pextrd_rm32_xmm_imm8 | C::Extractps_rm32_xmm_imm8 | C::Extractps_r64m32_xmm_imm8 => {
            row!(p, transfer::extract::<Xmm, 2, u32>, stores)
        }
        C::Pextrq_rm64_xmm_imm8 => row!(p, transfer::extract::<Xmm, 2, u64>, stores),
        C::Pinsrb_xmm_r32m8_imm8 | C::Pinsrb_xmm_r64m8_imm8 => {
            row!(p, transfer::insert::<Xmm, 2, u8>)
        }
        C::Insertps_xmm_xmmm32_imm8 => row!(p, transfer::insertps::<Xmm>),
        C::Pinsrd_xmm_rm32_imm8 => row!(p, transfer::insert::<Xmm, 2, u32>),
        C::Pinsrq_xmm_rm64_imm8 => row!(p, transfer::insert::<Xmm, 2, u64>),
        _ => return Err(p),
    })
}
