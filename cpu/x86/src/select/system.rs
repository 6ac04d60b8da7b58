//! System instructions.

use iced_x86::Code as C;

use crate::{insn::Insn, sem::Pick, system};

pub(super) fn pick<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Ud0
        | C::Ud0_r16_rm16
        | C::Ud0_r32_rm32
        | C::Ud0_r64_rm64
        | C::Ud1_r16_rm16
        | C::Ud1_r32_rm32
        | C::Ud1_r64_rm64
        | C::Ud2 => cold!(p, system::misc::undefined, ends),
        _ => return Err(p),
    })
}
