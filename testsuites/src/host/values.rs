//! Operands: random ones, and those at which things change.
//!
//! Sources: SDM vol. 1, sections 4.2.2, 4.8.3 and 8.2 (encodings of floating-point values, tables
//! 4-3, 4-7 and 8-3).

use iced_x86::{Code, Mnemonic};

use crate::noise::Noise;

/// An integer: near zero, a power of two, the edge of a width, few bits, or anything.
pub(crate) fn integer(n: &mut Noise) -> u64 {
    match n.below(10) {
        0 => n.below(70),
        1 => 0_u64.wrapping_sub(n.below(70)),
        2 => (1_u64 << n.below(64)).wrapping_add(n.below(3)).wrapping_sub(1),
        3 => n.pick(&[0, 0, 1, u64::MAX]),
        4 => {
            let edge = 1_u64 << (n.pick(&[8_u32, 16, 32, 64]) - 1);
            edge.wrapping_sub(n.below(2))
        }
        5 => n.draw() & n.draw() & n.draw(),
        6 => n.draw() >> n.below(64),
        // The same byte, word or doubleword again and again.
        7 => match n.below(3) {
            0 => n.below(256).wrapping_mul(0x0101_0101_0101_0101),
            1 => n.below(0x1_0000).wrapping_mul(0x0001_0001_0001_0001),
            _ => n.below(1 << 32).wrapping_mul(0x1_0000_0001),
        },
        _ => n.draw(),
    }
}

/// A displacement of 32 bits.
pub(crate) fn displacement(n: &mut Noise) -> u64 {
    if n.once_in(4) { n.draw() } else { n.below(0x200).wrapping_sub(0x100) }
}

/// An 8-bit immediate that suits the instruction.
pub(crate) fn immediate8(code: Code, n: &mut Noise) -> u8 {
    match code.mnemonic() {
        // INT 80h would call the kernel.
        Mnemonic::Int => match n.byte() {
            0x80 => 3,
            other => other,
        },
        // The second is the nesting level, which is taken modulo 32.
        Mnemonic::Enter => n.pick(&[0, 1, 2, 3, 31, 32, 0xff]),
        _ => match n.below(3) {
            0 => n.below(66) as u8,
            1 => n.pick(&[0, 1, 7, 8, 0x7f, 0x80, 0xff]),
            _ => n.byte(),
        },
    }
}

/// Bits of a value with this many bits of exponent and fraction, as it lies in memory.
fn float(n: &mut Noise, exponent_bits: u32, fraction_bits: u32) -> u64 {
    let bias = (1_u64 << (exponent_bits - 1)) - 1;
    let most = (1_u64 << exponent_bits) - 1;
    let whole = (1_u64 << fraction_bits) - 1;
    let exponent = match n.below(12) {
        0 => 0,
        1 => 1,
        2 => most,
        3 => most - 1,
        // Near one.
        4..=6 => bias.wrapping_add(n.below(5)).wrapping_sub(2),
        // Near the edges of integers.
        7 => bias + n.pick(&[14_u64, 15, 30, 31, 32, 52, 53, 62, 63, 64]).min(bias),
        8 => bias + n.below(u64::from(fraction_bits) + 3).min(bias),
        _ => n.draw() & most,
    };
    let fraction = match n.below(8) {
        0 | 1 => 0,
        2 => 1,
        3 => whole,
        4 => 1 << (fraction_bits - 1),
        5 => n.draw() & whole & !0u64 << n.below(u64::from(fraction_bits)),
        _ => n.draw() & whole,
    };
    let sign = n.below(2);
    sign << (exponent_bits + fraction_bits) | (exponent & most) << fraction_bits | fraction & whole
}

/// Single precision.
pub(crate) fn f32(n: &mut Noise) -> u32 {
    float(n, 8, 23) as u32
}

/// Double precision.
pub(crate) fn f64(n: &mut Noise) -> u64 {
    float(n, 11, 52)
}

/// Double extended precision, the encodings that no arithmetic gives included.
pub(crate) fn f80(n: &mut Noise) -> (u64, u16) {
    let sign = (n.below(2) as u16) << 15;
    let exponent = match n.below(16) {
        0 => 0,
        1 => 1,
        2 => 0x7fff,
        3 => 0x7ffe,
        4..=7 => 0x3ffe + n.below(4) as u16,
        8 => 0x3fff + n.pick(&[14, 15, 16, 30, 31, 32, 62, 63, 64, 65]),
        9 => n.pick(&[0x3fff - 127, 0x3fff - 150, 0x3fff - 1023, 0x3fff - 1075, 0x43ff, 0x407f]),
        10 => 0x3fff_u16.wrapping_add(n.below(0x90) as u16).wrapping_sub(0x48),
        11 | 12 => 0x3fff_u16.wrapping_add(n.below(80) as u16).wrapping_sub(8),
        _ => n.draw() as u16 & 0x7fff,
    };
    let mut significand = match n.below(10) {
        0..=2 => 1 << 63,
        3 => u64::MAX,
        4 => 1 << 63 | 1,
        5 => 3 << 62,
        6 => n.draw() & !0u64 << n.below(63),
        // Halfway between two singles or doubles.
        7 => n.draw() & !0u64 << 39 | n.pick(&[0, 1 << 39, (1 << 39) - 1, 1]),
        8 => n.draw() & !0u64 << 10 | n.pick(&[0, 1 << 10, (1 << 10) - 1, 1]),
        _ => n.draw(),
    };
    // The integer bit is set but in zeros and denormals, as a rule.
    significand |= 1 << 63;
    if exponent == 0 {
        significand &= !(1 << 63);
        if n.once_in(2) {
            significand = 0;
        }
    }
    if n.once_in(24) {
        significand ^= 1 << 63;
    }
    if n.once_in(40) {
        significand = 0;
    }
    (significand, sign | exponent)
}

/// Packed BCD as FBLD takes it.
pub(crate) fn bcd(n: &mut Noise) -> [u8; 10] {
    let mut out = [0; 10];
    for byte in &mut out {
        *byte = (n.below(10) << 4 | n.below(10)) as u8;
    }
    out[9] = n.pick(&[0, 0x80, 0x7f, 0xff]);
    if n.once_in(8) {
        out[n.below(9) as usize] = n.byte();
    }
    out
}

/// What the lanes of a register or memory operand hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    Integer,
    Byte,
    F16,
    F32,
    F64,
    F80,
    Bcd,
}

/// 16 bytes of lanes.
pub(crate) fn lanes(lane: Lane, n: &mut Noise) -> u128 {
    let pair = |low: u64, high: u64| u128::from(high) << 64 | u128::from(low);
    match lane {
        Lane::F16 => (0..8).fold(0, |v, _| v << 16 | u128::from(float(n, 5, 10))),
        Lane::F32 => (0..4).fold(0, |v, _| v << 32 | u128::from(f32(n))),
        Lane::F64 => pair(f64(n), f64(n)),
        Lane::F80 => {
            let (significand, rest) = f80(n);
            pair(significand, rest.into())
        }
        Lane::Bcd => {
            let mut bytes = [0; 16];
            bytes[..10].copy_from_slice(&bcd(n));
            u128::from_le_bytes(bytes)
        }
        // Few different bytes, so that there are equal ones.
        Lane::Byte => {
            let some = [0, n.byte(), n.byte(), n.byte() & 0x8f];
            (0..16).fold(0, |v, _| v << 8 | u128::from(n.pick(&some)))
        }
        Lane::Integer => pair(integer(n), integer(n)),
    }
}

/// A selector: each of the user's descriptors, the kernel's, none, anything.
pub(crate) fn selector(n: &mut Noise) -> u16 {
    const KNOWN: [u16; 16] =
        [0, 3, 0x23, 0x2b, 0x33, 7, 0xf, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x10];
    let any = match n.below(10) {
        0..=6 => n.pick(&KNOWN),
        7 => n.pick(&KNOWN) ^ n.below(4) as u16,
        8 => n.below(0x100) as u16,
        _ => n.draw() as u16,
    };
    // Linux keeps the CPU's number in this one's limit.
    if any & 0xfffc == 0x78 { 0x2b } else { any }
}
