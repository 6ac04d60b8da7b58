//! Draws the state of x87 and SSE, as FXSAVE64's image and its relatives.
//!
//! Sources: SDM vol. 1, sections 8.1, 10.2.3, 13.4; vol. 2A, FLDENV and FXSAVE.

use iced_x86::Code;

use super::{
    draw::{Image, lane_of},
    guest::word,
    values::{self, Lane},
};
use crate::noise::Noise;

/// The exception flags and masks of x87 and, 7 bits further for the masks, of SSE.
const EXCEPTIONS: u64 = 0x3f;

/// The x87 control word: every rounding and precision, mostly with all exceptions masked.
pub(crate) fn control(n: &mut Noise) -> u16 {
    let masks = if n.once_in(4) { n.draw() & EXCEPTIONS } else { EXCEPTIONS };
    let precision = if n.once_in(3) { n.below(4) } else { 3 };
    (masks | 0x40 | precision << 8 | n.below(4) << 10 | n.below(2) << 12) as u16
}

/// MXCSR, mostly with all exceptions masked. Its reserved bits are zero.
pub(crate) fn mxcsr(n: &mut Noise) -> u32 {
    let masks = if n.once_in(4) { n.draw() & EXCEPTIONS } else { EXCEPTIONS };
    let flags = if n.once_in(2) { n.draw() & EXCEPTIONS } else { 0 };
    let modes = u64::from(n.once_in(8)) << 15 | u64::from(n.once_in(8)) << 6;
    (masks << 7 | flags | n.below(4) << 13 | modes) as u32
}

/// The x87 status word under `control`: ES and B tell whether an unmasked exception waits.
fn status(control: u16, n: &mut Noise) -> u16 {
    let flags = if n.once_in(4) { n.draw() & 0x7f } else { 0 } as u16;
    let flags = if n.once_in(4) { flags } else { flags & (control | 0x40) };
    let waits = flags & !control & 0x3f != 0;
    flags | (n.draw() & 0x7f00) as u16 & 0x7f00 | if waits { 0x8080 } else { 0 }
}

/// The registers of x87 and SSE before an instruction of this form.
pub(crate) fn draw(code: Code, n: &mut Noise) -> Image {
    let mut fx = [0; trine_native::FX_BYTES];
    let mut put = |at: usize, bytes: &[u8]| fx[at..at + bytes.len()].copy_from_slice(bytes);
    let control = control(n);
    put(0, &control.to_le_bytes());
    put(2, &status(control, n).to_le_bytes());
    put(4, &[if n.once_in(3) { n.byte() } else { n.byte() | n.byte() | n.byte() }]);
    put(6, &(n.draw() as u16 & 0x7ff).to_le_bytes());
    put(8, &(n.draw() >> 17).to_le_bytes());
    put(16, &(n.draw() >> 17).to_le_bytes());
    put(24, &mxcsr(n).to_le_bytes());
    let near = n.once_in(3);
    let mut last = values::f80(n);
    for register in 0..8 {
        let (significand, rest) = if near && !n.once_in(3) {
            neighbour(last, n)
        } else if n.once_in(16) {
            (values::integer(n), 0xffff)
        } else {
            values::f80(n)
        };
        last = (significand, rest);
        put(32 + 16 * register, &significand.to_le_bytes());
        put(40 + 16 * register, &rest.to_le_bytes());
    }
    let lane = xmm_lane(code, n);
    let pool = values::lanes(lane, n);
    for register in 0..16 {
        let value = if n.once_in(6) { pool } else { values::lanes(lane, n) };
        put(160 + 16 * register, &value.to_le_bytes());
    }
    fx
}

/// The upper halves of the YMM registers; of which one or another is not in use, as a rule.
pub(crate) fn upper_halves(code: Code, n: &mut Noise) -> [u8; trine_native::YMM_BYTES] {
    let mut out = [0; trine_native::YMM_BYTES];
    let lane = xmm_lane(code, n);
    for half in out.chunks_exact_mut(16) {
        if !n.once_in(8) {
            half.copy_from_slice(&values::lanes(lane, n).to_le_bytes());
        }
    }
    out
}

/// A value close to another.
fn neighbour((significand, rest): (u64, u16), n: &mut Noise) -> (u64, u16) {
    let significand = significand.wrapping_add(n.below(5)).wrapping_sub(2) | 1 << 63;
    let rest = match n.below(4) {
        0 => rest ^ 0x8000,
        1 => rest.wrapping_add(n.below(3) as u16).wrapping_sub(1),
        2 => rest.wrapping_sub(n.below(64) as u16),
        _ => rest,
    };
    (significand, rest)
}

fn xmm_lane(code: Code, n: &mut Noise) -> Lane {
    let own = lane_of(code.op_code().memory_size());
    match n.below(8) {
        0 => Lane::Integer,
        1 => Lane::Byte,
        2 => Lane::F32,
        3 => Lane::F64,
        4 => Lane::F16,
        _ if own == Lane::F80 || own == Lane::Bcd => Lane::Integer,
        _ => own,
    }
}

/// What FLDENV and FRSTOR read: words, or doublewords whose upper halves are reserved.
pub(crate) fn environment(words: bool, n: &mut Noise) -> Vec<u8> {
    let control = control(n);
    let fields = [
        control,
        status(control, n),
        n.draw() as u16,
        n.draw() as u16,
        n.draw() as u16,
        n.draw() as u16,
        n.draw() as u16,
    ];
    let mut out = Vec::new();
    for field in fields {
        out.extend(field.to_le_bytes());
        if !words {
            out.extend((n.draw() as u16).to_le_bytes());
        }
    }
    for _ in 0..8 {
        let (significand, rest) = values::f80(n);
        out.extend(significand.to_le_bytes());
        out.extend(rest.to_le_bytes());
    }
    out
}

/// What XRSTOR reads: the legacy region and a header that is good as a rule.
pub(crate) fn xsave_area(code: Code, n: &mut Noise) -> Vec<u8> {
    let mut area = draw(code, n).to_vec();
    if n.once_in(12) {
        // A reserved bit of MXCSR.
        let bad = word(&area, 24) as u32 | 1 << (16 + n.below(16));
        area[24..28].copy_from_slice(&bad.to_le_bytes());
    }
    area.resize(512, 0);
    let mut present = n.below(8);
    let mut compact = if n.once_in(4) { 1 << 63 | present | n.below(8) } else { 0 };
    if n.once_in(20) {
        present |= 1 << n.pick(&[10_u32, 20, 62, 63]);
    }
    if n.once_in(20) {
        compact ^= 1 << n.pick(&[0_u32, 1, 10, 40, 62]);
    }
    let reserved = if n.once_in(30) { 1 << n.below(64) } else { 0 };
    for word in [present, compact, reserved, 0, 0, 0, 0, 0] {
        area.extend(u64::to_le_bytes(word));
    }
    area.extend(upper_halves(code, n));
    area
}
