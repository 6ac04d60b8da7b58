//! PCLMULQDQ: carry-less multiplication.
//!
//! Source: SDM vol. 2B, PCLMULQDQ.

/// The product, as of polynomials over GF(2), of a quadword of `a` and one of `b`, which bits 0
/// and 4 of `imm` name, in each 16 bytes.
pub(crate) fn pclmulqdq<const Q: usize>(a: [u64; Q], b: [u64; Q], imm: u8) -> [u64; Q] {
    let mut out = [0; Q];
    for q in (0..Q & !1).step_by(2) {
        let x = a[q + usize::from(imm & 1)];
        let y = b[q + usize::from(imm >> 4 & 1)];
        let product = multiply(x, y);
        out[q] = product as u64;
        out[q + 1] = (product >> 64) as u64;
    }
    out
}

fn multiply(x: u64, y: u64) -> u128 {
    // The products of x with all polynomials of four terms, then four terms of y at a time.
    let mut products = [0u128; 16];
    for n in 1..16 {
        let half = products[n / 2] << 1;
        products[n] = if n % 2 == 0 { half } else { half ^ u128::from(x) };
    }
    (0..16).rev().fold(0, |sum, n| sum << 4 ^ products[(y >> (4 * n) & 15) as usize])
}
