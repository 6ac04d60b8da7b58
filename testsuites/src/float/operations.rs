//! The operations: what runs on the host, what computes it here, and what must be equal.
//!
//! Sources: SDM vol. 1, chapters 8 and 11; vol. 2, the pages of the instructions.

use trine_native::float::{self as native, Case, Kernel};
use trine_softfloat::{
    Env, F80 as X, Relation, Rounding, sse,
    x87::{self, Operand},
};

use super::operands::{self, F16, F32, F64, F80, Format};
use crate::noise::Noise;

/// An operation of a format.
pub(super) struct Operation {
    /// The group's name.
    pub(super) group: &'static str,
    /// It on the host.
    pub(super) kernel: &'static Kernel,
    /// Draws operands.
    pub(super) draw: fn(&mut Noise, &mut Case),
    /// It here.
    pub(super) model: fn(&mut Env, &Case) -> Outcome,
    /// What is compared.
    pub(super) checks: Checks,
}

/// What an operation gives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Outcome {
    /// ST(0) or XMM0.
    pub(super) result: u128,
    /// ST(1).
    pub(super) second: u128,
    /// Memory, RAX or EFLAGS.
    pub(super) memory: u128,
    /// C0, C2 and C3, and where it does not tell of rounding, C1.
    pub(super) codes: u32,
}

/// What is compared of an outcome: a mask of each part.
#[derive(Clone, Copy, Default)]
pub(super) struct Checks {
    pub(super) result: u128,
    pub(super) second: u128,
    pub(super) memory: u128,
    pub(super) codes: u32,
    /// C1 says whether the result was rounded up.
    pub(super) rounds: bool,
    /// The number is loaded even if it is denormal and that is not masked.
    pub(super) loads: bool,
    /// Unmasked overflow and underflow leave the destination, too, as it is in memory.
    pub(super) stores: bool,
}

/// C1.
pub(super) const C1: u32 = 1 << 9;
/// C0, C1, C2, C3.
const CODES: u32 = 0x4500 | C1;
/// The low 80 bits.
const ST: u128 = (1 << 80) - 1;

const fn result(bits: u32) -> Checks {
    Checks {
        result: u128::MAX >> (128 - bits),
        second: 0,
        memory: 0,
        codes: 0,
        rounds: false,
        loads: false,
        stores: false,
    }
}

const fn memory(bits: u32) -> Checks {
    Checks { result: 0, memory: u128::MAX >> (128 - bits), ..result(1) }
}

/// An x87 result that is rounded.
const ROUNDED: Checks = Checks { rounds: true, ..result(80) };
/// A load.
const LOADED: Checks = Checks { loads: true, ..ROUNDED };
/// Both registers; FXTRACT leaves C1 undefined.
const BOTH: Checks = Checks { second: ST, ..result(80) };
/// FPREM: C0, C1 and C3 are the quotient's.
const REMAINDER: Checks = Checks { codes: CODES, ..result(80) };
/// A comparison.
const COMPARED: Checks = Checks { result: 0, codes: CODES, ..result(80) };
/// OF, SF, ZF, AF, PF and CF.
const EFLAGS: Checks = Checks { result: 0, memory: super::EFLAGS, ..result(1) };

const fn stored(bits: u32) -> Checks {
    Checks { rounds: true, stores: true, ..memory(bits) }
}

fn out(result: impl Into<u128>) -> Outcome {
    Outcome { result: result.into(), ..Outcome::default() }
}

fn kept(memory: impl Into<u128>) -> Outcome {
    Outcome { memory: memory.into(), ..Outcome::default() }
}

/// An 80-bit register from its bits, and back.
pub(super) fn st(bits: u128) -> X {
    X { sign_exp: (bits >> 64) as u16, significand: bits as u64 }
}

pub(super) fn bits(x: X) -> u128 {
    u128::from(x.sign_exp) << 64 | u128::from(x.significand)
}

fn one(noise: &mut Noise, format: Format) -> u128 {
    operands::draw(noise, format, None)
}

/// XMM0 and XMM1, or ST(0) and ST(1).
fn two(noise: &mut Noise, case: &mut Case, format: Format) {
    case.a = one(noise, format);
    case.b = operands::draw(noise, format, Some((format, case.a)));
    if noise.once_in(2) {
        (case.a, case.b) = (case.b, case.a);
    }
}

/// A register of the x87 and memory of a format.
fn with_memory(noise: &mut Noise, case: &mut Case, format: Format) {
    case.memory = one(noise, format);
    case.a = operands::draw(noise, F80, Some((format, case.memory)));
}

/// A factor for FSCALE: mostly one that leaves a number.
fn scale_operands(noise: &mut Noise, case: &mut Case) {
    two(noise, case, F80);
    if !noise.once_in(3) {
        let power = noise.draw().cast_signed() >> noise.pick(&[47, 48, 49, 52, 56, 60]);
        let mut factor = x87::from_i64(power);
        if power != 0 && noise.once_in(2) {
            factor.significand |= noise.draw() >> 20;
        }
        case.b = bits(factor);
    }
}

/// Operands of FPREM: quotients of any size.
fn remainder_operands(noise: &mut Noise, case: &mut Case) {
    two(noise, case, F80);
    if noise.once_in(2) {
        let divisor = st(case.b);
        let exponent = (divisor.sign_exp & 0x7fff) + noise.below(130) as u16;
        let sign = (noise.draw() as u16) & 0x8000;
        let significand = st(case.a).significand | 1 << 63;
        case.a = bits(X { sign_exp: exponent.min(0x7ffe) | sign, significand });
    }
}

/// The predicates of CMPSS from EQ on: the relations (less, equal, greater, unordered from bit 0
/// on) that satisfy each.
const PREDICATES: [u8; 8] = [0b0010, 0b0001, 0b0011, 0b1000, 0b1101, 0b1110, 0b1100, 0b0111];

/// Whether a relation satisfies a predicate.
fn satisfies(relation: Relation, predicate: usize) -> bool {
    let bit = match relation {
        Relation::Less => 0,
        Relation::Equal => 1,
        Relation::Greater => 2,
        Relation::Unordered => 3,
    };
    PREDICATES[predicate] >> bit & 1 != 0
}

fn all_ones<F: sse::Float>(env: &mut Env, a: F, b: F, predicate: usize) -> u128 {
    // LT, LE and their opposites mind quiet NaNs.
    let relation = if matches!(predicate & 3, 1 | 2) {
        sse::compare_signalling(env, a, b)
    } else {
        sse::compare(env, a, b)
    };
    if satisfies(relation, predicate) { u128::MAX } else { 0 }
}

fn x87_remainder(r: x87::Remainder) -> Outcome {
    Outcome { codes: r.condition_codes(0).into(), ..out(bits(r.value)) }
}

fn compared(relation: Relation) -> Outcome {
    Outcome { codes: relation.condition_codes().into(), ..Outcome::default() }
}

fn extract(env: &mut Env, case: &Case) -> Outcome {
    let (exponent, significand) = x87::extract(env, st(case.a));
    Outcome { second: bits(exponent), ..out(bits(significand)) }
}

fn examine(case: &Case) -> Outcome {
    let a = st(case.a);
    let sign = if a.is_negative() { C1 } else { 0 };
    Outcome { codes: u32::from(a.classify().condition_codes()) | sign, ..Outcome::default() }
}

fn m32(case: &Case) -> Operand {
    Operand::from_f32(case.memory as u32)
}

fn m64(case: &Case) -> Operand {
    Operand::from_f64(case.memory as u64)
}

/// A row: group, kernel, draw, model, checks.
macro_rules! row {
    ($group:literal, $kernel:ident, $draw:expr, $model:expr, $checks:expr) => {
        Operation {
            group: $group,
            kernel: &native::$kernel,
            draw: $draw,
            model: $model,
            checks: $checks,
        }
    };
}

/// SSE on two values of a format.
macro_rules! sse2 {
    ($group:literal, $kernel:ident, $t:ty, $format:ident, $op:path) => {
        row!(
            $group,
            $kernel,
            |noise, case| two(noise, case, $format),
            |env, case| out($op(env, case.a as $t, case.b as $t)),
            result(<$t>::BITS)
        )
    };
}

/// CMPSS and CMPSD.
macro_rules! predicate {
    ($group:literal, $kernel:ident, $t:ty, $format:ident, $n:literal) => {
        row!(
            $group,
            $kernel,
            |noise, case| two(noise, case, $format),
            |env, case| out(all_ones(env, case.a as $t, case.b as $t, $n)),
            result(<$t>::BITS)
        )
    };
}

/// COMISS and the like.
macro_rules! eflags {
    ($group:literal, $kernel:ident, $t:ty, $format:ident, $op:path) => {
        row!(
            $group,
            $kernel,
            |noise, case| two(noise, case, $format),
            |env, case| kept($op(env, case.a as $t, case.b as $t).eflags()),
            EFLAGS
        )
    };
}

/// SSE on one value of a format: the closure gives XMM0.
macro_rules! sse1 {
    ($group:literal, $kernel:ident, $t:ty, $format:ident, $bits:literal, $op:expr) => {
        row!(
            $group,
            $kernel,
            |noise, case| case.a = one(noise, $format),
            |env, case| {
                let op: fn(&mut Env, $t) -> u128 = $op;
                out(op(env, case.a as $t))
            },
            result($bits)
        )
    };
}

/// SSE from a format to an integer in RAX.
macro_rules! to_integer {
    (
        $group:literal, $kernel:ident, $t:ty, $format:ident, $int:ty, $op:path, $truncates:literal
    ) => {
        row!(
            $group,
            $kernel,
            |noise, case| case.a = one(noise, $format),
            |env, case| {
                let rounding = if $truncates { Rounding::TowardZero } else { env.rounding };
                kept($op(env, case.a as $t, rounding) as $int)
            },
            memory(64)
        )
    };
}

/// SSE from an integer in RAX.
macro_rules! from_integer {
    ($group:literal, $kernel:ident, $t:ty, $int:ty, $op:ident) => {
        row!(
            $group,
            $kernel,
            |noise, case| case.memory = operands::integer(noise).into(),
            |env, case| out(sse::$op::<$t>(env, case.memory as $int)),
            result(<$t>::BITS)
        )
    };
}

/// VFMADD213: XMM1 * XMM0 + XMM2, the sum often a cancellation.
macro_rules! fused {
    ($group:literal, $kernel:ident, $t:ty, $format:ident) => {
        row!(
            $group,
            $kernel,
            |noise, case| {
                two(noise, case, $format);
                let mut env = Env::default();
                let product = sse::mul(&mut env, case.b as $t, case.a as $t);
                case.c = operands::draw(noise, $format, Some(($format, product.into())));
            },
            |env, case| out(sse::mul_add(env, case.b as $t, case.a as $t, case.c as $t)),
            result(<$t>::BITS)
        )
    };
}

/// The x87 on two registers.
macro_rules! x87_2 {
    (
        $group:literal, $kernel:ident, $draw:expr,
        |$env:ident, $a:ident, $b:ident| $model:expr, $checks:expr
    ) => {
        row!(
            $group,
            $kernel,
            $draw,
            |$env, case| {
                let ($a, $b) = (st(case.a), st(case.b));
                $model
            },
            $checks
        )
    };
}

/// The x87 on a register and memory.
macro_rules! x87_m {
    (
        $group:literal, $kernel:ident, $format:ident, $load:ident,
        |$env:ident, $a:ident, $m:ident| $model:expr, $checks:expr
    ) => {
        row!(
            $group,
            $kernel,
            |noise, case| with_memory(noise, case, $format),
            |$env, case| {
                let ($a, $m) = (st(case.a), $load(case));
                $model
            },
            $checks
        )
    };
}

/// The x87 on one register.
macro_rules! x87_1 {
    ($group:literal, $kernel:ident, |$env:ident, $a:ident| $model:expr, $checks:expr) => {
        row!(
            $group,
            $kernel,
            |noise, case| case.a = one(noise, F80),
            |$env, case| {
                let $a = st(case.a);
                $model
            },
            $checks
        )
    };
}

/// A load of the x87.
macro_rules! load {
    (
        $group:literal, $kernel:ident, |$noise:ident| $draw:expr, |$env:ident, $m:ident| $model:expr
    ) => {
        row!(
            $group,
            $kernel,
            |$noise, case| {
                case.memory = $draw;
                case.a = one($noise, F80);
            },
            |$env, case| {
                let $m = case.memory;
                out(bits($model))
            },
            LOADED
        )
    };
}

/// All operations but the transcendental ones.
pub(super) const OPERATIONS: &[Operation] = &[
    sse2!("add.f32", ADDSS, u32, F32, sse::add),
    sse2!("sub.f32", SUBSS, u32, F32, sse::sub),
    sse2!("mul.f32", MULSS, u32, F32, sse::mul),
    sse2!("div.f32", DIVSS, u32, F32, sse::div),
    sse2!("min.f32", MINSS, u32, F32, sse::min),
    sse2!("max.f32", MAXSS, u32, F32, sse::max),
    sse1!("sqrt.f32", SQRTSS, u32, F32, 32, |env, a| sse::sqrt(env, a).into()),
    sse1!("round_to_int.f32", ROUNDSS, u32, F32, 32, |env, a| {
        let rounding = env.rounding;
        sse::round_to_integral(env, a, rounding, false).into()
    }),
    sse1!("round_to_int_quiet.f32", ROUNDSS_QUIET, u32, F32, 32, |env, a| {
        let rounding = env.rounding;
        sse::round_to_integral(env, a, rounding, true).into()
    }),
    predicate!("eq.f32", CMPEQSS, u32, F32, 0),
    predicate!("lt.f32", CMPLTSS, u32, F32, 1),
    predicate!("le.f32", CMPLESS, u32, F32, 2),
    predicate!("unord.f32", CMPUNORDSS, u32, F32, 3),
    predicate!("neq.f32", CMPNEQSS, u32, F32, 4),
    predicate!("nlt.f32", CMPNLTSS, u32, F32, 5),
    predicate!("nle.f32", CMPNLESS, u32, F32, 6),
    predicate!("ord.f32", CMPORDSS, u32, F32, 7),
    eflags!("compare_signalling.f32", COMISS, u32, F32, sse::compare_signalling),
    eflags!("compare_quiet.f32", UCOMISS, u32, F32, sse::compare),
    to_integer!("to_i32.f32", CVTSS2SI32, u32, F32, u32, sse::to_i32, false),
    to_integer!("to_i32_truncate.f32", CVTTSS2SI32, u32, F32, u32, sse::to_i32, true),
    from_integer!("from_i32.f32", CVTSI2SS32, u32, i32, from_i32),
    to_integer!("to_i64.f32", CVTSS2SI64, u32, F32, u64, sse::to_i64, false),
    to_integer!("to_i64_truncate.f32", CVTTSS2SI64, u32, F32, u64, sse::to_i64, true),
    from_integer!("from_i64.f32", CVTSI2SS64, u32, i64, from_i64),
    fused!("mul_add.f32", VFMADDSS, u32, F32),
    sse2!("add.f64", ADDSD, u64, F64, sse::add),
    sse2!("sub.f64", SUBSD, u64, F64, sse::sub),
    sse2!("mul.f64", MULSD, u64, F64, sse::mul),
    sse2!("div.f64", DIVSD, u64, F64, sse::div),
    sse2!("min.f64", MINSD, u64, F64, sse::min),
    sse2!("max.f64", MAXSD, u64, F64, sse::max),
    sse1!("sqrt.f64", SQRTSD, u64, F64, 64, |env, a| sse::sqrt(env, a).into()),
    sse1!("round_to_int.f64", ROUNDSD, u64, F64, 64, |env, a| {
        let rounding = env.rounding;
        sse::round_to_integral(env, a, rounding, false).into()
    }),
    sse1!("round_to_int_quiet.f64", ROUNDSD_QUIET, u64, F64, 64, |env, a| {
        let rounding = env.rounding;
        sse::round_to_integral(env, a, rounding, true).into()
    }),
    predicate!("eq.f64", CMPEQSD, u64, F64, 0),
    predicate!("lt.f64", CMPLTSD, u64, F64, 1),
    predicate!("le.f64", CMPLESD, u64, F64, 2),
    predicate!("unord.f64", CMPUNORDSD, u64, F64, 3),
    predicate!("neq.f64", CMPNEQSD, u64, F64, 4),
    predicate!("nlt.f64", CMPNLTSD, u64, F64, 5),
    predicate!("nle.f64", CMPNLESD, u64, F64, 6),
    predicate!("ord.f64", CMPORDSD, u64, F64, 7),
    eflags!("compare_signalling.f64", COMISD, u64, F64, sse::compare_signalling),
    eflags!("compare_quiet.f64", UCOMISD, u64, F64, sse::compare),
    to_integer!("to_i32.f64", CVTSD2SI32, u64, F64, u32, sse::to_i32, false),
    to_integer!("to_i32_truncate.f64", CVTTSD2SI32, u64, F64, u32, sse::to_i32, true),
    from_integer!("from_i32.f64", CVTSI2SD32, u64, i32, from_i32),
    to_integer!("to_i64.f64", CVTSD2SI64, u64, F64, u64, sse::to_i64, false),
    to_integer!("to_i64_truncate.f64", CVTTSD2SI64, u64, F64, u64, sse::to_i64, true),
    from_integer!("from_i64.f64", CVTSI2SD64, u64, i64, from_i64),
    fused!("mul_add.f64", VFMADDSD, u64, F64),
    sse1!("to_f64.f32", CVTSS2SD, u32, F32, 64, |env, a| sse::f32_to_f64(env, a).into()),
    sse1!("to_f32.f64", CVTSD2SS, u64, F64, 32, |env, a| sse::f64_to_f32(env, a).into()),
    sse1!("to_f32.f16", VCVTPH2PS, u16, F16, 32, |env, a| sse::f16_to_f32(env, a).into()),
    sse1!("to_f16.f32", VCVTPS2PH, u32, F32, 16, |env, a| {
        let rounding = env.rounding;
        sse::f32_to_f16(env, a, rounding).into()
    }),
    x87_2!(
        "add.f80",
        FADD,
        |noise, case| two(noise, case, F80),
        |env, a, b| out(bits(x87::add(env, a, b))),
        ROUNDED
    ),
    x87_2!(
        "sub.f80",
        FSUB,
        |noise, case| two(noise, case, F80),
        |env, a, b| out(bits(x87::sub(env, a, b))),
        ROUNDED
    ),
    x87_2!(
        "sub_reverse.f80",
        FSUBR,
        |noise, case| two(noise, case, F80),
        |env, a, b| out(bits(x87::sub(env, b, a))),
        ROUNDED
    ),
    x87_2!(
        "mul.f80",
        FMUL,
        |noise, case| two(noise, case, F80),
        |env, a, b| out(bits(x87::mul(env, a, b))),
        ROUNDED
    ),
    x87_2!(
        "div.f80",
        FDIV,
        |noise, case| two(noise, case, F80),
        |env, a, b| out(bits(x87::div(env, a, b))),
        ROUNDED
    ),
    x87_2!(
        "div_reverse.f80",
        FDIVR,
        |noise, case| two(noise, case, F80),
        |env, a, b| out(bits(x87::div(env, b, a))),
        ROUNDED
    ),
    x87_m!("add.f80.m32", FADD_M32, F32, m32, |env, a, m| out(bits(x87::add(env, a, m))), ROUNDED),
    x87_m!("add.f80.m64", FADD_M64, F64, m64, |env, a, m| out(bits(x87::add(env, a, m))), ROUNDED),
    x87_m!("sub.f80.m32", FSUB_M32, F32, m32, |env, a, m| out(bits(x87::sub(env, a, m))), ROUNDED),
    x87_m!("sub.f80.m64", FSUB_M64, F64, m64, |env, a, m| out(bits(x87::sub(env, a, m))), ROUNDED),
    x87_m!(
        "sub_reverse.f80.m32",
        FSUBR_M32,
        F32,
        m32,
        |env, a, m| out(bits(x87::sub(env, m, a))),
        ROUNDED
    ),
    x87_m!(
        "sub_reverse.f80.m64",
        FSUBR_M64,
        F64,
        m64,
        |env, a, m| out(bits(x87::sub(env, m, a))),
        ROUNDED
    ),
    x87_m!("mul.f80.m32", FMUL_M32, F32, m32, |env, a, m| out(bits(x87::mul(env, a, m))), ROUNDED),
    x87_m!("mul.f80.m64", FMUL_M64, F64, m64, |env, a, m| out(bits(x87::mul(env, a, m))), ROUNDED),
    x87_m!("div.f80.m32", FDIV_M32, F32, m32, |env, a, m| out(bits(x87::div(env, a, m))), ROUNDED),
    x87_m!("div.f80.m64", FDIV_M64, F64, m64, |env, a, m| out(bits(x87::div(env, a, m))), ROUNDED),
    x87_m!(
        "div_reverse.f80.m32",
        FDIVR_M32,
        F32,
        m32,
        |env, a, m| out(bits(x87::div(env, m, a))),
        ROUNDED
    ),
    x87_m!(
        "div_reverse.f80.m64",
        FDIVR_M64,
        F64,
        m64,
        |env, a, m| out(bits(x87::div(env, m, a))),
        ROUNDED
    ),
    x87_1!("sqrt.f80", FSQRT, |env, a| out(bits(x87::sqrt(env, a))), ROUNDED),
    x87_1!(
        "round_to_int.f80",
        FRNDINT,
        |env, a| out(bits(x87::round_to_integral(env, a))),
        ROUNDED
    ),
    x87_2!(
        "rem.f80",
        FPREM1,
        remainder_operands,
        |env, a, b| x87_remainder(x87::remainder_nearest(env, a, b)),
        REMAINDER
    ),
    x87_2!(
        "rem_truncate.f80",
        FPREM,
        remainder_operands,
        |env, a, b| x87_remainder(x87::remainder(env, a, b)),
        REMAINDER
    ),
    x87_2!(
        "scale.f80",
        FSCALE,
        scale_operands,
        |env, a, b| out(bits(x87::scale(env, a, b))),
        ROUNDED
    ),
    row!("extract.f80", FXTRACT, |noise, case| two(noise, case, F80), extract, BOTH),
    x87_2!(
        "compare_signalling.f80",
        FCOM,
        |noise, case| two(noise, case, F80),
        |env, a, b| compared(x87::compare_signalling(env, a, b)),
        COMPARED
    ),
    x87_2!(
        "compare_quiet.f80",
        FUCOM,
        |noise, case| two(noise, case, F80),
        |env, a, b| compared(x87::compare(env, a, b)),
        COMPARED
    ),
    x87_m!(
        "compare_signalling.f80.m32",
        FCOM_M32,
        F32,
        m32,
        |env, a, m| compared(x87::compare_signalling(env, a, m)),
        COMPARED
    ),
    x87_m!(
        "compare_signalling.f80.m64",
        FCOM_M64,
        F64,
        m64,
        |env, a, m| compared(x87::compare_signalling(env, a, m)),
        COMPARED
    ),
    x87_1!(
        "compare_zero.f80",
        FTST,
        |env, a| compared(x87::compare_signalling(env, a, X::ZERO)),
        COMPARED
    ),
    row!(
        "examine.f80",
        FXAM,
        |noise, case| case.a = one(noise, F80),
        |_, case| examine(case),
        COMPARED
    ),
    load!("from_f32.f80", FLD_M32, |noise| one(noise, F32), |env, m| x87::from_f32(env, m as u32)),
    load!("from_f64.f80", FLD_M64, |noise| one(noise, F64), |env, m| x87::from_f64(env, m as u64)),
    load!("from_i16.f80", FILD_M16, |noise| operands::integer(noise).into(), |_env, m| {
        x87::from_i16(m as i16)
    }),
    load!("from_i32.f80", FILD_M32, |noise| operands::integer(noise).into(), |_env, m| {
        x87::from_i32(m as i32)
    }),
    load!("from_i64.f80", FILD_M64, |noise| operands::integer(noise).into(), |_env, m| {
        x87::from_i64(m as i64)
    }),
    load!("from_bcd.f80", FBLD, |noise| operands::bcd(noise), |_env, m| x87::from_bcd(
        st(m).to_bytes()
    )),
    x87_1!("to_f32.f80", FST_M32, |env, a| kept(x87::to_f32(env, a)), stored(32)),
    x87_1!("to_f64.f80", FST_M64, |env, a| kept(x87::to_f64(env, a)), stored(64)),
    x87_1!(
        "to_i16.f80",
        FIST_M16,
        |env, a| {
            let r = env.rounding;
            kept(x87::to_i16(env, a, r).cast_unsigned())
        },
        stored(16)
    ),
    x87_1!(
        "to_i16_truncate.f80",
        FISTTP_M16,
        |env, a| kept(x87::to_i16(env, a, Rounding::TowardZero).cast_unsigned()),
        stored(16)
    ),
    x87_1!(
        "to_i32.f80",
        FIST_M32,
        |env, a| {
            let r = env.rounding;
            kept(x87::to_i32(env, a, r).cast_unsigned())
        },
        stored(32)
    ),
    x87_1!(
        "to_i32_truncate.f80",
        FISTTP_M32,
        |env, a| kept(x87::to_i32(env, a, Rounding::TowardZero).cast_unsigned()),
        stored(32)
    ),
    x87_1!(
        "to_i64.f80",
        FISTP_M64,
        |env, a| {
            let r = env.rounding;
            kept(x87::to_i64(env, a, r).cast_unsigned())
        },
        stored(64)
    ),
    x87_1!(
        "to_i64_truncate.f80",
        FISTTP_M64,
        |env, a| kept(x87::to_i64(env, a, Rounding::TowardZero).cast_unsigned()),
        stored(64)
    ),
    x87_1!(
        "to_bcd.f80",
        FBSTP,
        |env, a| kept(bits(X::from_bytes(x87::to_bcd(env, a)))),
        stored(80)
    ),
];
