//! The x87's transcendental instructions.
//!
//! The manual promises an error below one unit in the last place and no more, so that the host's
//! bits are no measure: flags and C2 must be the host's, a value must be within a unit of the
//! host's, and some values are held against the mathematical one, computed with 256 bits. The
//! angle is reduced by a pi of 66 bits, as the manual says and the host does.
//!
//! Source: SDM vol. 1, sections 8.3.8 and 8.3.10.

use std::{
    collections::BTreeMap,
    f64::consts::LN_2,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

use astro_float_num::{BigFloat, Consts, RoundingMode, Sign, WORD_BIT_SIZE};
use trine_native::float::{self as native, Case, Kernel};
use trine_softfloat::{Env, F80, Flags, Rounding, x87};

use super::{
    BATCH, control, delivers, line,
    operands::{self, F80 as FORMAT},
    operations::{Checks, bits, st},
    status,
};
use crate::{Tally, noise::Noise};

/// One case in so many is held against the mathematical value.
const JUDGED: u64 = 16;
/// The largest error in units of the last place, rounding to nearest.
const BOUND: f64 = 0.51;
/// The same for the other ways to round.
const DIRECTED_BOUND: f64 = 1.01;
/// Bits of the reference.
const BITS: usize = 256;
const RM: RoundingMode = RoundingMode::ToEven;

/// What an instruction leaves in ST(0) and ST(1).
type Results = (F80, Option<F80>);
/// The mathematical values of the same.
type Values = (Option<BigFloat>, Option<BigFloat>);

/// A transcendental instruction.
pub(super) struct Function {
    /// The group's name.
    pub(super) group: &'static str,
    kernel: &'static Kernel,
    /// Draws ST(0) and ST(1).
    draw: fn(&mut Noise, &mut Case),
    /// It here; `None` if the operand is out of range.
    model: fn(&mut Env, F80, F80) -> Option<Results>,
    /// The truth about finite operands that are not 0.
    truth: fn(&mut Reference, F80, F80) -> Values,
}

pub(super) const FUNCTIONS: [Function; 8] = [
    Function {
        group: "sin.f80",
        kernel: &native::FSIN,
        draw: angle,
        model: |env, x, _| x87::sine(env, x).map(|r| (r, None)),
        truth: |r, x, _| (Some(r.sine(x)), None),
    },
    Function {
        group: "cos.f80",
        kernel: &native::FCOS,
        draw: angle,
        model: |env, x, _| x87::cosine(env, x).map(|r| (r, None)),
        truth: |r, x, _| (Some(r.cosine(x)), None),
    },
    Function {
        group: "sincos.f80",
        kernel: &native::FSINCOS,
        draw: angle,
        model: |env, x, _| x87::sine_cosine(env, x).map(|(sine, cosine)| (cosine, Some(sine))),
        truth: |r, x, _| (Some(r.cosine(x)), Some(r.sine(x))),
    },
    Function {
        group: "tan.f80",
        kernel: &native::FPTAN,
        draw: angle,
        model: |env, x, _| x87::tangent(env, x).map(|(tangent, one)| (one, Some(tangent))),
        truth: |r, x, _| (None, Some(r.tangent(x))),
    },
    Function {
        group: "atan2.f80",
        kernel: &native::FPATAN,
        draw: point,
        model: |env, x, y| Some((x87::arctangent(env, y, x), None)),
        truth: |r, x, y| (Some(r.arctangent(y, x)), None),
    },
    Function {
        group: "exp2m1.f80",
        kernel: &native::F2XM1,
        draw: |noise, case| case.a = number(noise, -70, 0),
        model: |env, x, _| Some((x87::exp2_minus_1(env, x), None)),
        truth: |r, x, _| (Some(r.exp2_minus_1(x)), None),
    },
    Function {
        group: "ylog2x.f80",
        kernel: &native::FYL2X,
        draw: logarithm,
        model: |env, x, y| Some((x87::log2(env, x, y), None)),
        truth: |r, x, y| (r.log2(x, y), None),
    },
    Function {
        group: "ylog2xp1.f80",
        kernel: &native::FYL2XP1,
        draw: |noise, case| {
            // Beyond about 0.29 the result is undefined.
            case.a = number(noise, -70, -2);
            case.b = number(noise, -20, 20);
        },
        model: |env, x, y| Some((x87::log2_plus_1(env, x, y), None)),
        truth: |r, x, y| (Some(r.log2_plus_1(x, y)), None),
    },
];

// Operands

/// A number with an exponent of `from` to below `to`; now and then 0, a denormal, an infinity or a
/// NaN.
fn number(noise: &mut Noise, from: i64, to: i64) -> u128 {
    let drawn = operands::draw(noise, FORMAT, None);
    let x = st(drawn);
    let special =
        x.sign_exp & 0x7fff == 0x7fff || x.sign_exp & 0x7fff == 0 || drawn == bits(F80::ONE);
    if special && noise.once_in(2) {
        return drawn;
    }
    let exponent = 0x3fff + from + noise.below((to - from) as u64) as i64;
    let sign_exp = x.sign_exp & 0x8000 | exponent as u16;
    bits(F80 { sign_exp, significand: x.significand | 1 << 63 })
}

/// An angle, at times close to a multiple of half of pi.
fn angle(noise: &mut Noise, case: &mut Case) {
    case.a = number(noise, -70, 65);
    if noise.once_in(4) {
        let mut env = Env::default();
        let count = x87::from_i64((noise.draw() >> (2 + noise.below(60))).cast_signed());
        let half = x87::constant(x87::Constant::Pi, Rounding::NearestEven);
        let half = F80 { sign_exp: half.sign_exp - 1, ..half };
        let near = x87::mul(&mut env, count, half);
        let off = noise.below(3).wrapping_sub(1);
        let significand = near.significand.wrapping_add(off) | 1 << 63;
        case.a = bits(F80 { significand, ..near });
    }
}

/// X and Y of FPATAN, often of about the same size.
fn point(noise: &mut Noise, case: &mut Case) {
    case.a = number(noise, -40, 40);
    case.b = number(noise, -20, 20);
    if noise.once_in(3) {
        let x = st(case.a);
        let exponent = (x.sign_exp & 0x7fff) as u64 + noise.below(9);
        let sign_exp = exponent.saturating_sub(4).min(0x7ffe) as u16 | (noise.draw() as u16) << 15;
        let significand = st(number(noise, 0, 1)).significand | 1 << 63;
        case.b = bits(F80 { sign_exp, significand });
    }
}

/// X and Y of FYL2X: X is mostly positive and often close to 1.
fn logarithm(noise: &mut Noise, case: &mut Case) {
    case.a = if noise.once_in(3) { number(noise, -1, 1) } else { number(noise, -80, 80) };
    case.b = number(noise, -20, 20);
    if !noise.once_in(5) {
        case.a &= !(1 << 79);
    }
}

// The reference

/// Mathematical values.
struct Reference {
    constants: Consts,
}

/// Pi of 66 bits, times 2^64.
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;

/// `integer` times two to the power of `power`.
fn scaled(integer: u128, power: i32, negative: bool) -> BigFloat {
    let mut value = BigFloat::from_u128(integer, BITS);
    if let Some(exponent) = value.exponent() {
        value.set_exponent(exponent + power);
    }
    value.set_sign(if negative { Sign::Neg } else { Sign::Pos });
    value
}

/// The value of a finite register.
fn value(x: F80) -> BigFloat {
    let exponent = i32::from(x.sign_exp & 0x7fff).max(1);
    scaled(x.significand.into(), exponent - 16383 - 63, x.is_negative())
}

/// The binary exponent of a finite register that is not 0: of its first bit.
fn magnitude(x: F80) -> i32 {
    i32::from(x.sign_exp & 0x7fff).max(1) - 16383 - x.significand.leading_zeros() as i32
}

impl Reference {
    /// What remains of the angle's magnitude, and its quarter turns modulo 4.
    fn reduced(x: F80) -> (BigFloat, u64) {
        let power = magnitude(x);
        if power < -1 {
            return (
                scaled(x.significand.into(), i32::from(x.sign_exp & 0x7fff).max(1) - 16446, false),
                0,
            );
        }
        // In units of 2^-65, of which half of pi has PI_66.
        let units = u128::from(x.significand) << (power + 2);
        let (turns, rest) = (units / PI_66, units % PI_66);
        let over = rest > PI_66 / 2;
        let rest = scaled(if over { PI_66 - rest } else { rest }, -65, over);
        (rest, (turns + u128::from(over)) as u64 & 3)
    }

    /// The sine of an angle and some quarter turns.
    fn turned(&mut self, rest: &BigFloat, quarters: u64) -> BigFloat {
        let value = if quarters & 1 == 0 {
            rest.sin(BITS, RM, &mut self.constants)
        } else {
            rest.cos(BITS, RM, &mut self.constants)
        };
        if quarters & 2 == 0 { value } else { value.neg() }
    }

    fn sine(&mut self, x: F80) -> BigFloat {
        let (rest, quarters) = Self::reduced(x);
        let value = self.turned(&rest, quarters);
        if x.is_negative() { value.neg() } else { value }
    }

    fn cosine(&mut self, x: F80) -> BigFloat {
        let (rest, quarters) = Self::reduced(x);
        self.turned(&rest, quarters + 1)
    }

    fn tangent(&mut self, x: F80) -> BigFloat {
        self.sine(x).div(&self.cosine(x), BITS, RM)
    }

    fn arctangent(&mut self, y: F80, x: F80) -> BigFloat {
        let ratio = value(y.abs()).div(&value(x.abs()), BITS, RM);
        let mut angle = ratio.atan(BITS, RM, &mut self.constants);
        if x.is_negative() {
            angle = self.constants.pi(BITS, RM).sub(&angle, BITS, RM);
        }
        if y.is_negative() { angle.neg() } else { angle }
    }

    fn exp2_minus_1(&mut self, x: F80) -> BigFloat {
        let one = BigFloat::from_u8(1, BITS);
        let exponent = value(x).mul(&self.constants.ln_2(BITS, RM), BITS, RM);
        if magnitude(x) < -100 {
            // z + z^2 / 2: the rest is beyond 200 bits.
            let half = scaled(1, -1, false).mul(&exponent, BITS, RM).add(&one, BITS, RM);
            return exponent.mul(&half, BITS, RM);
        }
        // The subtraction cancels up to 100 bits.
        exponent.exp(BITS + 128, RM, &mut self.constants).sub(&one, BITS, RM)
    }

    /// `None` where there is no logarithm, or it is 0.
    fn log2(&mut self, x: F80, y: F80) -> Option<BigFloat> {
        if x.is_negative() || x == F80::ONE {
            return None;
        }
        let log = value(x).ln(BITS, RM, &mut self.constants);
        Some(self.times_log2(&log, y))
    }

    fn log2_plus_1(&mut self, x: F80, y: F80) -> BigFloat {
        let one = BigFloat::from_u8(1, BITS);
        let log = if magnitude(x) < -100 {
            // x - x^2 / 2.
            let half = scaled(1, -1, true).mul(&value(x), BITS, RM).add(&one, BITS, RM);
            value(x).mul(&half, BITS, RM)
        } else {
            value(x).add(&one, BITS, RM).ln(BITS, RM, &mut self.constants)
        };
        self.times_log2(&log, y)
    }

    fn times_log2(&mut self, log: &BigFloat, y: F80) -> BigFloat {
        let log2 = log.div(&self.constants.ln_2(BITS, RM), BITS, RM);
        log2.mul(&value(y), BITS, RM)
    }
}

/// The error of `x` in units of the last place that the true value would have; `None` where either
/// is no number with a full significand.
fn error(x: F80, truth: &BigFloat) -> Option<f64> {
    let exponent = truth.exponent()? - 1;
    if x.sign_exp & 0x7fff == 0x7fff || !(-16381..16383).contains(&exponent) {
        return None;
    }
    let difference = value(x).sub(truth, BITS, RM);
    let Some(top) = difference.mantissa_digits().and_then(<[_]>::last) else { return Some(0.0) };
    let fraction = *top as f64 / (WORD_BIT_SIZE as f64 * LN_2).exp();
    let power = difference.exponent()? - (exponent - 63);
    Some(fraction * f64::from(power.clamp(-200, 200)).exp2())
}

// The run

/// The largest errors so far, by group: ours, the host's, and of how many judged.
#[derive(Default)]
pub(super) struct Worst(Mutex<BTreeMap<&'static str, (f64, f64, u64)>>);

impl Worst {
    fn note(&self, group: &'static str, ours: f64, host: f64, judged: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let worst = all.entry(group).or_default();
        *worst = (worst.0.max(ours), worst.1.max(host), worst.2 + judged);
    }

    /// A line for each function.
    pub(super) fn remarks(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(group, (ours, host, judged)): (&&str, &(f64, f64, u64))| {
            format!(
                "{group}: largest error {ours:.6} ulp, the host's {host:.6} ulp ({judged} values \
                 rounded to nearest, against 256 bits)"
            )
        };
        all.iter().map(line).collect()
    }
}

/// Runs a function's group.
pub(super) fn run(
    function: &'static Function,
    mut noise: Noise,
    cases: u64,
    worst: &Worst,
    tally: &mut Tally<'_>,
) {
    let Ok(constants) = Consts::new() else {
        return tally.skip("all", "the host has no memory for constants");
    };
    let mut judge =
        Judge { function, reference: Reference { constants }, ours: 0.0, host: 0.0, judged: 0 };
    let mut done = 0;
    while done < cases {
        let len = (cases - done).min(BATCH as u64) as usize;
        let mut before = [Case::default(); BATCH];
        for case in &mut before[..len] {
            case.control = control(&mut noise, function.kernel);
            case.b = operands::draw(&mut noise, FORMAT, None);
            (function.draw)(&mut noise, case);
        }
        let mut after = before;
        function.kernel.run(&mut after[..len]);
        let mut passed = 0;
        for (n, (before, after)) in (done..).zip(before[..len].iter().zip(&after)) {
            match judge.judge(before, after, n.is_multiple_of(JUDGED)) {
                None => passed += 1,
                Some(why) => tally.fail(n, why, Some(line(function.kernel, before, after))),
            }
        }
        tally.pass(passed);
        done += len as u64;
    }
    worst.note(function.group, judge.ours, judge.host, judge.judged);
}

struct Judge {
    function: &'static Function,
    reference: Reference,
    ours: f64,
    host: f64,
    judged: u64,
}

impl Judge {
    /// What is wrong with ours.
    fn judge(&mut self, before: &Case, after: &Case, fully: bool) -> Option<String> {
        /// Out of range.
        const C2: u32 = 1 << 10;
        let mut env = Env::from_control_word(before.control as u16);
        let (x, y) = (st(before.a), st(before.b));
        let ours = (self.function.model)(&mut env, x, y);
        let (want, got) = (after.status & 0xbf, status(&env, before, true));
        if want != got {
            return Some(format!("flags: the host has {want:x}, softfloat {got:x}"));
        }
        if !delivers(&env, Checks::default(), true) {
            let kept = (after.result, after.second) == (before.a, before.b);
            return (!kept).then(|| "the host changed registers".into());
        }
        let Some(ours) = ours else {
            return (after.status & C2 == 0).then(|| "only softfloat finds it out of range".into());
        };
        if after.status & C2 != 0 {
            return Some("only the host finds it out of range".into());
        }
        let host = (st(after.result), st(after.second));
        let near = |ours: F80, host: F80| {
            let exact = !env.flags.contains(Flags::PE);
            if exact { ours == host } else { distance(ours, host) <= 1 }
        };
        let mut why = String::new();
        if !near(ours.0, host.0) || ours.1.is_some_and(|second| !near(second, host.1)) {
            let _ = write!(why, "the host has {:x}", bits(host.0));
            let _ = write!(why, ", {:x}, softfloat {:x}", bits(host.1), bits(ours.0));
            let _ = write!(why, ", {:x}", bits(ours.1.unwrap_or_default()));
            return Some(why);
        }
        let finite = |x: F80| {
            x.sign_exp & 0x7fff != 0x7fff
                && (x.sign_exp & 0x7fff == 0) != (x.significand >> 63 != 0)
        };
        let inexact =
            env.flags.contains(Flags::PE) && !env.unmasked().intersects(Flags::OE | Flags::UE);
        if !fully
            || !inexact
            || !finite(x)
            || !finite(y)
            || x.significand == 0
            || y.significand == 0
        {
            return None;
        }
        let (first, second) = (self.function.truth)(&mut self.reference, x, y);
        let firsts = first.map(|truth| (ours.0, host.0, truth));
        let seconds = second.zip(ours.1).map(|(truth, ours)| (ours, host.1, truth));
        firsts
            .into_iter()
            .chain(seconds)
            .find_map(|(ours, host, truth)| self.compare(ours, host, &truth, env.rounding))
    }

    /// Holds both against the truth.
    fn compare(
        &mut self,
        ours: F80,
        host: F80,
        truth: &BigFloat,
        rounding: Rounding,
    ) -> Option<String> {
        let (ours, host) = (error(ours, truth)?, error(host, truth)?);
        let nearest = rounding == Rounding::NearestEven;
        if nearest {
            (self.ours, self.host) = (self.ours.max(ours), self.host.max(host));
            self.judged += 1;
        }
        let bound = if nearest { BOUND } else { DIRECTED_BOUND };
        (ours > bound).then(|| format!("the error is {ours} ulp, the host's {host}"))
    }
}

/// Units in the last place between two values of one sign.
fn distance(a: F80, b: F80) -> u128 {
    let place = |x: F80| {
        let exponent = u128::from((x.sign_exp & 0x7fff).max(1));
        (exponent << 63) + u128::from(x.significand)
    };
    if a.is_negative() == b.is_negative() { place(a).abs_diff(place(b)) } else { u128::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_knows_some_values() {
        let mut r = Reference { constants: Consts::new().expect("memory") };
        let of = |x: f64| x87::from_f64(&mut Env::default(), x.to_bits());
        // A few units in the last place of an f64.
        let close = |x: f64, truth: &BigFloat| error(of(x), truth).is_some_and(|e| e < 16384.0);
        assert!(close(3.0_f64.sin(), &r.sine(of(3.0))));
        assert!(close((-100.0_f64).cos(), &r.cosine(of(-100.0))));
        assert!(close(2.0_f64.tan(), &r.tangent(of(2.0))));
        assert!(close(3.0_f64.atan2(-2.0), &r.arctangent(of(3.0), of(-2.0))));
        assert!(close(0.5_f64.exp2() - 1.0, &r.exp2_minus_1(of(0.5))));
        assert!(close(1e-40 * LN_2, &r.exp2_minus_1(of(1e-40))));
        assert!(close(7.0 * 10.0_f64.log2(), &r.log2(of(10.0), of(7.0)).expect("a logarithm")));
        assert!(close(1.25_f64.log2(), &r.log2_plus_1(of(0.25), of(1.0))));
        assert!(close(1e-40 / LN_2, &r.log2_plus_1(of(1e-40), of(1.0))));
        assert!(!close(0.1411, &r.sine(of(3.0))));
    }
}
