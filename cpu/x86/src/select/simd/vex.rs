//! VEX encodings. One row is for XMM and for YMM registers, where there are both.

/// A path in which `$Q` is the number of quadwords of the registers.
macro_rules! sized {
    ($p:expr, $wide:expr, $Q:ident => $f:path $(, $stores:ident)?) => {
        if $wide {
            const $Q: usize = 4;
            row!($p, $f $(, $stores)?)
        } else {
            const $Q: usize = 2;
            row!($p, $f $(, $stores)?)
        }
    };
}

/// A call of `core` and `i`, as `sized` has it, under the name `$f`.
macro_rules! sized_call {
    ($p:expr, $wide:expr, $f:path, $Q:ident => |$core:ident, $i:ident| $call:expr) => {
        if $wide {
            const $Q: usize = 4;
            row!(@ $p, stringify!($f), false, |$core, $i| $call)
        } else {
            const $Q: usize = 2;
            row!(@ $p, stringify!($f), false, |$core, $i| $call)
        }
    };
}

/// Lane function `$f` in the shape `$shape` of `crate::simd`.
macro_rules! vex {
    ($p:expr, $wide:expr, $shape:ident, $f:path) => {
        sized_call!($p, $wide, $f, Q => |core, i| simd::$shape::<Vex, Q>(core, i, $f))
    };
}

/// The same of YMM registers only.
macro_rules! ymm {
    ($p:expr, $shape:ident, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| simd::$shape::<Vex, 4>(core, i, $f))
    };
}

/// Shift `$f`, by an immediate or by a register.
macro_rules! shift {
    ($p:expr, $wide:expr, $i:expr, $f:path) => {
        if $i.has_immediate() {
            vex!($p, $wide, shift_imm, $f)
        } else {
            sized_call!($p, $wide, $f, Q => |core, i| simd::shift_vex::<Q>(core, i, $f))
        }
    };
}

/// `$f` of one operand of `$part` bytes for each quadword of the result.
macro_rules! widen_vex {
    ($p:expr, $wide:expr, $part:expr, $f:path) => {
        sized_call!($p, $wide, $f, Q => |core, i| simd::widen::<Vex, Q>(core, i, $part * Q, $f))
    };
}

/// The lowest lane, of type `$t`, in all lanes.
macro_rules! broadcast {
    ($p:expr, $wide:expr, $t:ty) => {
        sized_call!($p, $wide, permute::broadcast, Q => |core, i| {
            simd::widen::<Vex, Q>(core, i, size_of::<$t>(), permute::broadcast::<$t, Q>)
        })
    };
}

/// `$f` of three operands, the last of which is in the immediate.
macro_rules! with_mask {
    ($p:expr, $wide:expr, $f:path) => {
        sized_call!($p, $wide, $f, Q => |core, i| simd::with_mask::<Q>(core, i, $f))
    };
}

/// `$f` of three operands, the first of which is the destination.
macro_rules! ternary {
    ($p:expr, $wide:expr, $Q:ident => $f:path) => {
        sized_call!($p, $wide, $f, $Q => |core, i| simd::ternary::<$Q>(core, i, $f))
    };
}

/// `$f` of each pair of lanes of type `$t`.
macro_rules! vex_packed {
    ($p:expr, $wide:expr, $t:ty, $f:path) => {
        sized_call!($p, $wide, $f, Q => |core, i| float::packed::<Vex, Q, $t>(core, i, $f))
    };
}

/// `$f` of each lane of type `$t`.
macro_rules! vex_single {
    ($p:expr, $wide:expr, $t:ty, $f:path) => {
        sized_call!($p, $wide, $f, Q => |core, i| float::single::<Vex, Q, $t>(core, i, $f))
    };
}

/// `$f` of the low lanes, of type `$t`.
macro_rules! vex_scalar {
    ($p:expr, $t:ty, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| float::scalar::<Vex, $t>(core, i, $f))
    };
}

/// A conversion between packed formats.
macro_rules! vex_convert {
    ($p:expr, $wide:expr, $Q:ident => $shape:ident, $f:path) => {
        sized_call!($p, $wide, $f, $Q => |core, i| convert::$shape::<Vex, $Q>(core, i, $f))
    };
}

/// A path in which `$WIDE` says that the general register or memory is of 64 bits.
macro_rules! general {
    ($p:expr, $i:expr, $WIDE:ident => $f:path) => {
        if matches!($i.width(), $crate::Width::W64) {
            const $WIDE: bool = true;
            row!($p, $f)
        } else {
            const $WIDE: bool = false;
            row!($p, $f)
        }
    };
}

/// FMA of packed or scalar lanes of type `$t`.
macro_rules! fma {
    ($p:expr, $wide:expr, $t:ty, $order:literal, $kind:ident) => {
        sized!($p, $wide, Q => fma::packed::<Q, $t, $order, $kind>)
    };
    ($p:expr, $t:ty, $order:literal, $kind:ident) => {
        row!($p, fma::scalar::<$t, $order, $kind>)
    };
}

mod float;
mod fma;
mod integer;
mod moves;

use iced_x86::EncodingKind;

use crate::{insn::Insn, sem::Pick};

pub(super) fn pick<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    let encoding = i.code.op_code();
    if encoding.encoding() != EncodingKind::VEX {
        return Err(p);
    }
    let wide = encoding.l() == 1;
    moves::pick(i, wide, p)
        .or_else(|p| float::pick(i, wide, p))
        .or_else(|p| integer::pick(i, wide, p))
        .or_else(|p| fma::pick(i, wide, p))
}
