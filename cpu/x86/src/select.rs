//! The instruction table: from `Code` to semantics.
//!
//! It is the only place that knows both. [`pick`] hands the semantics, as a type, to the engine's
//! [`Pick`], which builds its entry point around it. The table is cut by family; each part answers
//! `Err(p)` for what is not its own.

/// Hot semantics: `hot!(p, ends, stores, function::<S, …>)`; `S` is the engine's [`crate::Sem`].
macro_rules! hot {
    ($p:expr, $ends:expr, $stores:expr, $f:path) => {{
        struct H;
        impl $crate::sem::Semantics for H {
            const ENDS: bool = $ends;
            const STORES: bool = $stores;
            const COLD: bool = false;
            #[inline(always)]
            fn exec<S: $crate::sem::Sem>(s: &mut S, i: &$crate::insn::Insn) -> Result<(), S::Stop> {
                $f(s, i)
            }
        }
        $p.pick::<H>()
    }};
}

/// Hot semantics without a memory operand unless `T`, a [`crate::operand::Target`], is one:
/// `operand!(p, stores, T, function::<S, …>)`; `stores` says what it does if it is.
macro_rules! operand {
    ($p:expr, $stores:expr, $T:ty, $f:path) => {{
        struct H;
        impl $crate::sem::Semantics for H {
            const ENDS: bool = false;
            const STORES: bool = $stores && <$T as $crate::operand::Target>::MEMORY;
            const PLAIN: bool = !<$T as $crate::operand::Target>::MEMORY;
            const COLD: bool = false;
            #[inline(always)]
            fn exec<S: $crate::sem::Sem>(s: &mut S, i: &$crate::insn::Insn) -> Result<(), S::Stop> {
                $f(s, i)
            }
        }
        $p.pick::<H>()
    }};
}

/// A hot branch that may not be taken: `conditional!(p, function::<S, …>)`.
macro_rules! conditional {
    ($p:expr, $f:path) => {{
        struct H;
        impl $crate::sem::Semantics for H {
            const ENDS: bool = false;
            const STORES: bool = false;
            const CONDITIONAL: bool = true;
            const COLD: bool = false;
            #[inline(always)]
            fn exec<S: $crate::sem::Sem>(s: &mut S, i: &$crate::insn::Insn) -> Result<(), S::Stop> {
                $f(s, i)
            }
        }
        $p.pick::<H>()
    }};
}

/// A cold instruction: `cold!(p, function)`, with `, ends` if it ends its block, and `, serial` if
/// it is one of the serialising instructions (SDM vol. 3A, section 9.3): stores before it are seen
/// by all before it begins. `=> REASON` at the end: it is counted, for that reason of
/// [`crate::tally::event`].
macro_rules! cold {
    ($p:expr, $f:path => $reason:ident) => {
        cold!(@ counted $p, $f, $reason, false, false)
    };
    ($p:expr, $f:path, ends => $reason:ident) => {
        cold!(@ counted $p, $f, $reason, true, false)
    };
    ($p:expr, $f:path, serial => $reason:ident) => {
        cold!(@ counted $p, $f, $reason, false, true)
    };
    ($p:expr, $f:path, ends, serial => $reason:ident) => {
        cold!(@ counted $p, $f, $reason, true, true)
    };
    ($p:expr, $f:path) => {
        cold!(@ $p, $f, $f, false)
    };
    ($p:expr, $f:path, ends) => {
        cold!(@ $p, $f, $f, true)
    };
    ($p:expr, $f:path, serial) => {
        cold!(@ serial $p, $f, false)
    };
    ($p:expr, $f:path, ends, serial) => {
        cold!(@ serial $p, $f, true)
    };
    (@ counted $p:expr, $f:path, $reason:ident, $ends:expr, $serial:expr) => {{
        fn counted(core: &mut $crate::Core, i: &$crate::insn::Insn) -> Result<(), $crate::Raised> {
            if $serial {
                std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            }
            core.count_cold($crate::tally::event::$reason, i);
            $f(core, i)
        }
        cold!(@ $p, $f, counted, $ends)
    }};
    (@ serial $p:expr, $f:path, $ends:expr) => {{
        fn serial(core: &mut $crate::Core, i: &$crate::insn::Insn) -> Result<(), $crate::Raised> {
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            $f(core, i)
        }
        cold!(@ $p, $f, serial, $ends)
    }};
    (@ $p:expr, $f:path, $run:path, $ends:expr) => {{
        struct H;
        impl $crate::sem::Semantics for H {
            const ENDS: bool = $ends;
            const STORES: bool = true;
            const COLD: bool = true;
            #[inline(always)]
            fn exec<S: $crate::sem::Sem>(s: &mut S, i: &$crate::insn::Insn) -> Result<(), S::Stop> {
                s.cold($crate::sem::Cold { name: stringify!($f), run: $run }, i)
            }
        }
        $p.pick::<H>()
    }};
}

/// `$body` with `$T` the type of operand `$n`: a register, flat memory or checked memory.
macro_rules! target {
    ($i:expr, $n:literal, $T:ident => $body:expr) => {
        if !$i.is_memory($n) {
            type $T = $crate::operand::Reg<$n>;
            $body
        } else {
            target!(mem $i, $T => $body)
        }
    };
    (mem $i:expr, $T:ident => $body:expr) => {
        reach!($i, ReachOfTarget => {
            type $T = $crate::operand::Mem<ReachOfTarget>;
            $body
        })
    };
}

/// `$body` with `$R` the reach of the memory operand, or of one that is flat if `$flat`. A flat one
/// with an address of 16 bits is too rare for a type of its own.
macro_rules! reach {
    ($i:expr, $R:ident => $body:expr) => {
        reach!($i, $i.flat(), $R => $body)
    };
    ($i:expr, $flat:expr, $R:ident => $body:expr) => {
        match ($flat, $i.address_width()) {
            (true, $crate::insn::Width::W64) if $i.index == $crate::insn::slot::ZERO => {
                type $R = $crate::sem::Flat64;
                $body
            }
            (true, $crate::insn::Width::W64) => {
                type $R = $crate::sem::Indexed64;
                $body
            }
            (true, $crate::insn::Width::W32) => {
                type $R = $crate::sem::Flat32;
                $body
            }
            _ => {
                type $R = $crate::sem::Checked;
                $body
            }
        }
    };
}

/// `$body` with `$W` the operand size as a type.
macro_rules! width {
    ($i:expr, $W:ident => $body:expr) => {
        match $i.width() {
            $crate::insn::Width::W8 => {
                type $W = $crate::sem::size::B8;
                $body
            }
            $crate::insn::Width::W16 => {
                type $W = $crate::sem::size::B16;
                $body
            }
            $crate::insn::Width::W32 => {
                type $W = $crate::sem::size::B32;
                $body
            }
            $crate::insn::Width::W64 => {
                type $W = $crate::sem::size::B64;
                $body
            }
        }
    };
}

// The macros above are in scope in these modules because these lines come after them.
mod int;
mod simd;
mod system;
mod x87;

use crate::{insn::Insn, sem::Pick};

/// The engine's entry point for `i`.
pub fn pick<P: Pick>(i: &Insn, p: P) -> P::Out {
    let p = match int::pick(i, p) {
        Ok(out) => return out,
        Err(p) => p,
    };
    let p = match simd::pick(i, p) {
        Ok(out) => return out,
        Err(p) => p,
    };
    let p = match system::pick(i, p) {
        Ok(out) => return out,
        Err(p) => p,
    };
    match x87::pick(i, p) {
        Ok(out) => out,
        Err(p) => undefined(p),
    }
}

fn undefined<P: Pick>(p: P) -> P::Out {
    cold!(p, crate::system::undefined::undefined, ends)
}
