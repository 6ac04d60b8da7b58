//! GFNI: arithmetic of bytes as elements of GF(2^8), and affine maps of bytes.
//!
//! Source: SDM vol. 2A, GF2P8AFFINEINVQB, GF2P8AFFINEQB, GF2P8MULB.

use super::{
    aes::multiply,
    lanes::{build, lane, map2},
};

/// The inverse of each byte modulo x^8 + x^4 + x^3 + x + 1; of 0: 0.
const INVERSE: [u8; 256] = {
    let mut table = [0; 256];
    // 3 generates the field, and its inverse is 0xf6.
    let (mut p, mut q) = (1u8, 1u8);
    loop {
        table[p as usize] = q;
        p = multiply(p, 3);
        q = multiply(q, 0xf6);
        if p == 1 {
            break;
        }
    }
    table
};

/// GF2P8MULB.
pub(crate) fn gf2p8mulb<const Q: usize>(a: [u64; Q], b: [u64; Q]) -> [u64; Q] {
    map2(a, b, multiply)
}

/// The map of `x` by the matrix of eight rows of bits (the first one is the top byte), and `imm`.
fn affine(matrix: u64, x: u8, imm: u8) -> u8 {
    let rows = matrix.to_be_bytes();
    let product = (0..8).fold(0, |bits, n| bits | ((rows[n] & x).count_ones() as u8 & 1) << n);
    product ^ imm
}

/// GF2P8AFFINEQB: each byte of `a` through the matrix in its quadword of `b`.
pub(crate) fn gf2p8affineqb<const Q: usize>(a: [u64; Q], b: [u64; Q], imm: u8) -> [u64; Q] {
    build::<u8, Q>(|n| affine(b[n / 8], lane(&a, n), imm))
}

/// GF2P8AFFINEINVQB: the same of each byte's inverse.
pub(crate) fn gf2p8affineinvqb<const Q: usize>(a: [u64; Q], b: [u64; Q], imm: u8) -> [u64; Q] {
    build::<u8, Q>(|n| affine(b[n / 8], INVERSE[usize::from(lane::<u8, Q>(&a, n))], imm))
}
