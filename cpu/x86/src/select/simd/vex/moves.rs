//! Moves and transfers, masked ones and gathers included.

use iced_x86::{Code as C, Mnemonic as M};

use crate::{
    Insn, Pick,
    simd::{self, Vex, gather::gather, masked, moves, transfer},
};

/// The top bits of lanes of 32 and of 64 bits.
const SIGNS32: u64 = 0x8000_0000_8000_0000;
const SIGNS64: u64 = 0x8000_0000_0000_0000;

pub(super) fn pick<P: Pick>(i: &Insn, wide: bool, p: P) -> Result<P::Out, P> {
    let to_memory = i.is_memory(0);
    Ok(match i.code.mnemonic() {
        M::Vmovhlps => row!(@ p, "moves::movhlps", false, |core, i| {
            simd::binary::<Vex, 2>(core, i, moves::movhlps)
        }),
        M::Vmovlhps => row!(@ p, "moves::movlhps", false, |core, i| {
            simd::binary::<Vex, 2>(core, i, moves::movlhps)
        }),
        M::Vmovlps | M::Vmovlpd if to_memory => row!(p, moves::store_half::<Vex, 0>, stores),
        M::Vmovlps | M::Vmovlpd => row!(p, moves::load_half::<Vex, 0>),
        M::Vmovhps | M::Vmovhpd if to_memory => row!(p, moves::store_half::<Vex, 1>, stores),
        M::Vmovhps | M::Vmovhpd => row!(p, moves::load_half::<Vex, 1>),
        M::Vmovss if to_memory => row!(p, moves::movss_store::<Vex>, stores),
        M::Vmovss => row!(p, moves::movss::<Vex>),
        M::Vmovsd if to_memory => row!(p, moves::store_half::<Vex, 0>, stores),
        M::Vmovsd => row!(p, moves::movsd::<Vex>),
        M::Vlddqu => sized!(p, wide, Q => moves::load::<Vex, Q, false>),
        M::Vmovntdqa => sized!(p, wide, Q => moves::load::<Vex, Q, true>),
        M::Vmovntps | M::Vmovntpd | M::Vmovntdq => {
            sized!(p, wide, Q => moves::store_all::<Vex, Q, true>, stores)
        }
        M::Vmovmskps => sized!(p, wide, Q => transfer::mask::<Vex, Q, u32>),
        M::Vmovmskpd => sized!(p, wide, Q => transfer::mask::<Vex, Q, u64>),
        M::Vpmovmskb => sized!(p, wide, Q => transfer::mask::<Vex, Q, u8>),
        M::Vptest => sized!(p, wide, Q => transfer::test::<Vex, Q, { u64::MAX }>),
        M::Vtestps => sized!(p, wide, Q => transfer::test::<Vex, Q, SIGNS32>),
        M::Vtestpd => sized!(p, wide, Q => transfer::test::<Vex, Q, SIGNS64>),
        M::Vpinsrb => row!(p, transfer::insert::<Vex, 2, u8>),
        M::Vpinsrw => row!(p, transfer::insert::<Vex, 2, u16>),
        M::Vpinsrd => row!(p, transfer::insert::<Vex, 2, u32>),
        M::Vpinsrq => row!(p, transfer::insert::<Vex, 2, u64>),
        M::Vpextrb => row!(p, transfer::extract::<Vex, 2, u8>, stores),
        M::Vpextrw => row!(p, transfer::extract::<Vex, 2, u16>, stores),
        M::Vpextrd | M::Vextractps => row!(p, transfer::extract::<Vex, 2, u32>, stores),
        M::Vpextrq => row!(p, transfer::extract::<Vex, 2, u64>, stores),
        M::Vinsertps => row!(p, transfer::insertps::<Vex>),
        M::Vmaskmovdqu => row!(p, moves::maskmovdqu::<Vex>, stores),
        M::Vmaskmovps | M::Vpmaskmovd if to_memory => {
            sized!(p, wide, Q => masked::store::<u32, Q>, stores)
        }
        M::Vmaskmovps | M::Vpmaskmovd => sized!(p, wide, Q => masked::load::<u32, Q>),
        M::Vmaskmovpd | M::Vpmaskmovq if to_memory => {
            sized!(p, wide, Q => masked::store::<u64, Q>, stores)
        }
        M::Vmaskmovpd | M::Vpmaskmovq => sized!(p, wide, Q => masked::load::<u64, Q>),
        M::Vldmxcsr => row!(p, transfer::ldmxcsr::<Vex>),
        M::Vstmxcsr => row!(p, transfer::stmxcsr::<Vex>, stores),
        M::Vzeroupper => row!(p, moves::vzero::<false>),
        M::Vzeroall => row!(p, moves::vzero::<true>),
        _ => return by_code(i, wide, p),
    })
}

/// Those whose encodings differ in more than what their operands are.
fn by_code<P: Pick>(i: &Insn, wide: bool, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::VEX_Vmovups_xmm_xmmm128
        | C::VEX_Vmovups_ymm_ymmm256
        | C::VEX_Vmovupd_xmm_xmmm128
        | C::VEX_Vmovupd_ymm_ymmm256
        | C::VEX_Vmovdqu_xmm_xmmm128
        | C::VEX_Vmovdqu_ymm_ymmm256 => sized!(p, wide, Q => moves::load::<Vex, Q, false>),
        C::VEX_Vmovups_xmmm128_xmm
        | C::VEX_Vmovups_ymmm256_ymm
        | C::VEX_Vmovupd_xmmm128_xmm
        | C::VEX_Vmovupd_ymmm256_ymm
        | C::VEX_Vmovdqu_xmmm128_xmm
        | C::VEX_Vmovdqu_ymmm256_ymm => {
            sized!(p, wide, Q => moves::store_all::<Vex, Q, false>, stores)
        }
        C::VEX_Vmovaps_xmm_xmmm128
        | C::VEX_Vmovaps_ymm_ymmm256
        | C::VEX_Vmovapd_xmm_xmmm128
        | C::VEX_Vmovapd_ymm_ymmm256
        | C::VEX_Vmovdqa_xmm_xmmm128
        | C::VEX_Vmovdqa_ymm_ymmm256 => sized!(p, wide, Q => moves::load::<Vex, Q, true>),
        C::VEX_Vmovaps_xmmm128_xmm
        | C::VEX_Vmovaps_ymmm256_ymm
        | C::VEX_Vmovapd_xmmm128_xmm
        | C::VEX_Vmovapd_ymmm256_ymm
        | C::VEX_Vmovdqa_xmmm128_xmm
        | C::VEX_Vmovdqa_ymmm256_ymm => {
            sized!(p, wide, Q => moves::store_all::<Vex, Q, true>, stores)
        }
        C::VEX_Vmovd_xmm_rm32 => row!(p, transfer::movd::<Vex, 2, false>),
        C::VEX_Vmovq_xmm_rm64 => row!(p, transfer::movd::<Vex, 2, true>),
        C::VEX_Vmovd_rm32_xmm => row!(p, transfer::movd_store::<Vex, 2, false>, stores),
        C::VEX_Vmovq_rm64_xmm => row!(p, transfer::movd_store::<Vex, 2, true>, stores),
        C::VEX_Vmovq_xmm_xmmm64 => row!(p, moves::movq::<Vex>),
        C::VEX_Vmovq_xmmm64_xmm => row!(p, moves::store_low::<Vex, true>, stores),
        C::VEX_Vpgatherdd_xmm_vm32x_xmm | C::VEX_Vgatherdps_xmm_vm32x_xmm => {
            row!(p, gather::<u32, u32, 4>)
        }
        C::VEX_Vpgatherdd_ymm_vm32y_ymm | C::VEX_Vgatherdps_ymm_vm32y_ymm => {
            row!(p, gather::<u32, u32, 8>)
        }
        C::VEX_Vpgatherdq_xmm_vm32x_xmm | C::VEX_Vgatherdpd_xmm_vm32x_xmm => {
            row!(p, gather::<u64, u32, 2>)
        }
        C::VEX_Vpgatherdq_ymm_vm32x_ymm | C::VEX_Vgatherdpd_ymm_vm32x_ymm => {
            row!(p, gather::<u64, u32, 4>)
        }
        C::VEX_Vpgatherqd_xmm_vm64x_xmm | C::VEX_Vgatherqps_xmm_vm64x_xmm => {
            row!(p, gather::<u32, u64, 2>)
        }
        C::VEX_Vpgatherqd_xmm_vm64y_xmm | C::VEX_Vgatherqps_xmm_vm64y_xmm => {
            row!(p, gather::<u32, u64, 4>)
        }
        C::VEX_Vpgatherqq_xmm_vm64x_xmm | C::VEX_Vgatherqpd_xmm_vm64x_xmm => {
            row!(p, gather::<u64, u64, 2>)
        }
        C::VEX_Vpgatherqq_ymm_vm64y_ymm | C::VEX_Vgatherqpd_ymm_vm64y_ymm => {
            row!(p, gather::<u64, u64, 4>)
        }
        _ => return Err(p),
    })
}
