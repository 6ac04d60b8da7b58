//! AES-NI.
//!
//! Sources: SDM vol. 2, AESENC to AESKEYGENASSIST; FIPS 197.

use super::lanes::{Lane, build, lane};

/// Multiplies by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
const fn double(a: u8) -> u8 {
    a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 }
}

/// The product in that field.
pub(super) const fn multiply(a: u8, b: u8) -> u8 {
    let (mut product, mut a, mut b) = (0, a, b);
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = double(a);
        b >>= 1;
    }
    product
}

/// The substitution: the inverse (of 0: 0) through an affine map.
const SUB: [u8; 256] = {
    let mut table = [0; 256];
    // 3 generates the field, and its inverse is 0xf6.
    let (mut p, mut q) = (1u8, 1u8);
    loop {
        let s = q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4);
        table[p as usize] = s ^ 0x63;
        p = multiply(p, 3);
        q = multiply(q, 0xf6);
        if p == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
};

const INVERSE_SUB: [u8; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        table[SUB[n] as usize] = n as u8;
        n += 1;
    }
    table
};

/// Rows shifted (`by` columns for each row) and bytes substituted, in each 16 bytes.
#[inline(always)]
fn shift_and_sub<const Q: usize>(a: [u64; Q], by: usize, table: &[u8; 256]) -> [u64; Q] {
    build(|n| {
        let row = n % 4;
        let from: u8 = lane(&a, n / 16 * 16 + (n + 4 * by * row) % 16);
        table[usize::from(from)]
    })
}

/// Multiplies each byte by x.
fn double_all(a: u64) -> u64 {
    let carries = (a >> 7) & 0x0101_0101_0101_0101;
    ((a & 0x7f7f_7f7f_7f7f_7f7f) << 1) ^ (carries * 0x1b)
}

/// Byte r + `n` of each column at byte r.
fn rotate(a: u64, n: u32) -> u64 {
    let column = |c: u32| u64::from(((a >> (32 * c)) as u32).rotate_right(8 * n)) << (32 * c);
    column(0) | column(1)
}

/// MixColumns.
fn mix<const Q: usize>(a: [u64; Q]) -> [u64; Q] {
    a.map(|a| {
        let next = rotate(a, 1);
        double_all(a ^ next) ^ next ^ rotate(a, 2) ^ rotate(a, 3)
    })
}

fn xor<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    std::array::from_fn(|q| a[q] ^ b[q])
}

/// AESENC: one round of encryption with key `b`.
pub(crate) fn aesenc<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    xor(mix(shift_and_sub(a, 1, &SUB)), b)
}

/// AESENCLAST.
pub(crate) fn aesenclast<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    xor(shift_and_sub(a, 1, &SUB), b)
}

/// AESDEC: one round of the equivalent inverse cipher.
pub(crate) fn aesdec<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    xor(aesimc(shift_and_sub(a, 3, &INVERSE_SUB)), b)
}

/// AESDECLAST.
pub(crate) fn aesdeclast<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    xor(shift_and_sub(a, 3, &INVERSE_SUB), b)
}

/// AESIMC: a key for the equivalent inverse cipher.
pub(crate) fn aesimc<const Q: usize>(b: [u64; Q]) -> [u64; Q] {
    b.map(|a| {
        let (x2, x4) = (double_all(a), double_all(double_all(a)));
        let x8 = double_all(x4);
        let (x9, x11, x13) = (x8 ^ a, x8 ^ x2 ^ a, x8 ^ x4 ^ a);
        x8 ^ x4 ^ x2 ^ rotate(x11, 1) ^ rotate(x13, 2) ^ rotate(x9, 3)
    })
}

/// AESKEYGENASSIST.
pub(crate) fn aeskeygenassist(b: [u64; 2], imm: u8) -> [u64; 2] {
    build(|n| {
        let word: u32 = lane(&b, n | 1);
        let word = u32::from_le_bytes(word.to_le_bytes().map(|byte| SUB[usize::from(byte)]));
        if n % 2 == 0 { word } else { word.rotate_right(8) ^ u32::of(imm.into()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, figure 7 and section 5.3.
    #[test]
    fn substitution_table_is_the_standards() {
        assert_eq!(SUB[..8], [0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5]);
        assert_eq!(SUB[0x53], 0xed);
        assert_eq!(SUB[0xff], 0x16);
        assert!((0..=255u8).all(|n| INVERSE_SUB[usize::from(SUB[usize::from(n)])] == n));
    }
}
