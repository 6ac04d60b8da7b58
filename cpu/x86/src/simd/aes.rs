//! AES-NI.
//!
//! Sources: SDM vol. 2, AESENC to AESKEYGENASSIST; FIPS 197.

use super::lanes::{Lane, build, lane};

/// Multiplies by x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
const fn double(a: u8) -> u8 {
    a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 }
}

const fn multiply(a: u8, b: u8) -> u8 {
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

/// Each column through the matrix whose first row is given.
#[inline(always)]
fn mix<const Q: usize>(a: [u64; Q], row: [u8; 4]) -> [u64; Q] {
    build(|n| (0..4).fold(0u8, |sum, k| sum ^ multiply(lane(&a, n / 4 * 4 + (n + k) % 4), row[k])))
}

fn xor<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    std::array::from_fn(|q| a[q] ^ b[q])
}

/// AESENC: one round of encryption with key `b`.
pub(crate) fn aesenc<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    xor(mix(shift_and_sub(a, 1, &SUB), [2, 3, 1, 1]), b)
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
    mix(b, [14, 11, 13, 9])
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
