//! MMX, SSE to SSE4.2, AVX, AVX2, FMA, F16C, AES-NI, PCLMULQDQ, GFNI, SHA, FXSAVE and XSAVE.
//!
//! Rows of legacy and of VEX encodings name the same lane functions.

/// A cold instruction as a path; `, stores` if it may store to memory.
macro_rules! row {
    ($p:expr, $f:path) => {
        row!(@ $p, stringify!($f), false, $f)
    };
    ($p:expr, $f:path, stores) => {
        row!(@ $p, stringify!($f), true, $f)
    };
    (@ $p:expr, $name:expr, $stores:expr, $run:expr) => {{
        // A function of its own, so that it is compiled here and not with each engine.
        fn run(core: &mut $crate::Core, i: &$crate::Insn) -> Result<(), $crate::Raised> {
            let run: fn(&mut $crate::Core, &$crate::Insn) -> Result<(), $crate::Raised> = $run;
            run(core, i)
        }
        struct H;
        impl $crate::sem::Semantics for H {
            const ENDS: bool = false;
            const STORES: bool = $stores;
            const COLD: bool = true;
            #[inline(always)]
            fn exec<S: $crate::sem::Sem>(s: &mut S, i: &$crate::insn::Insn) -> Result<(), S::Stop> {
                s.cold($crate::sem::Cold { name: $name, run }, i)
            }
        }
        $p.pick::<H>()
    }};
}

/// Lane function `$f` on MMX registers, in the shape `$shape` of `crate::simd`.
macro_rules! mm {
    ($p:expr, $shape:ident, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| simd::$shape::<Mm, 1>(core, i, $f))
    };
}

/// The same of those that read 32 bits of memory.
macro_rules! low {
    ($p:expr, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| simd::binary_low(core, i, $f))
    };
}

/// Lane function `$f` on XMM registers.
macro_rules! xmm {
    ($p:expr, $shape:ident, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| simd::$shape::<Xmm, 2>(core, i, $f))
    };
}

/// The same with XMM0 as the third operand.
macro_rules! xmm0 {
    ($p:expr, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| simd::with_xmm0(core, i, $f))
    };
}

/// The same of one operand that is smaller than the result: `$size` bytes.
macro_rules! widen {
    ($p:expr, $size:expr, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| simd::widen::<Xmm, 2>(core, i, $size, $f))
    };
}

/// `$f` of the low lanes, of type `$t`.
macro_rules! scalar {
    ($p:expr, $t:ty, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| float::scalar::<Xmm, $t>(core, i, $f))
    };
}

/// `$f` of each pair of lanes of type `$t`.
macro_rules! packed {
    ($p:expr, $t:ty, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| float::packed::<Xmm, 2, $t>(core, i, $f))
    };
}

/// `$f` of each lane of type `$t`.
macro_rules! single {
    ($p:expr, $t:ty, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| float::single::<Xmm, 2, $t>(core, i, $f))
    };
}

/// A conversion between packed formats.
macro_rules! convert {
    ($p:expr, $shape:ident, $f:path) => {
        row!(@ $p, stringify!($f), false, |core, i| convert::$shape::<Xmm, 2>(core, i, $f))
    };
}

mod float;
mod integer;
mod moves;
#[cfg(test)]
mod tests;
mod vex;

use crate::{insn::Insn, sem::Pick};

pub(super) fn pick<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    moves::pick(i, p)
        .or_else(|p| float::pick(i, p))
        .or_else(|p| integer::pick(i, p))
        .or_else(|p| vex::pick(i, p))
}
