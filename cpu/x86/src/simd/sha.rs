//! The SHA extensions. Doublewords are numbered from the lowest here; the manual writes the
//! highest first.
//!
//! Sources: SDM vol. 2B, SHA1MSG1 to SHA256RNDS2; FIPS 180-4.

use super::lanes::{build, lane};

fn words(v: [u64; 2]) -> [u32; 4] {
    std::array::from_fn(|n| lane(&v, n))
}

fn pack(words: [u32; 4]) -> [u64; 2] {
    build(|n| words[n])
}

fn choose(e: u32, f: u32, g: u32) -> u32 {
    e & f ^ !e & g
}

fn majority(a: u32, b: u32, c: u32) -> u32 {
    a & b ^ a & c ^ b & c
}

/// SHA1RNDS4: four rounds of SHA-1, of the quarter that `imm` names. The first message word
/// comes with E added.
pub(crate) fn sha1rnds4(state: [u64; 2], message: [u64; 2], imm: u8) -> [u64; 2] {
    let [mut d, mut c, mut b, mut a] = words(state);
    let message = words(message);
    let mut e = 0;
    for n in 0..4 {
        let (f, k) = match imm & 3 {
            0 => (choose(b, c, d), 0x5a82_7999),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => (majority(b, c, d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6u32),
        };
        let next = f
            .wrapping_add(a.rotate_left(5))
            .wrapping_add(message[3 - n])
            .wrapping_add(e)
            .wrapping_add(k);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    pack([d, c, b, a])
}

/// SHA1NEXTE: E after four rounds, added to the next message words.
pub(crate) fn sha1nexte(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    let e = words(a)[3].rotate_left(30);
    let mut out = words(b);
    out[3] = out[3].wrapping_add(e);
    pack(out)
}

/// SHA1MSG1.
pub(crate) fn sha1msg1(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    let ([w3, w2, w1, w0], [_, _, w5, w4]) = (words(a), words(b));
    pack([w5 ^ w3, w4 ^ w2, w3 ^ w1, w2 ^ w0])
}

/// SHA1MSG2.
pub(crate) fn sha1msg2(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    let ([a0, a1, a2, a3], [w15, w14, w13, _]) = (words(a), words(b));
    let w16 = (a3 ^ w13).rotate_left(1);
    let w17 = (a2 ^ w14).rotate_left(1);
    let w18 = (a1 ^ w15).rotate_left(1);
    let w19 = (a0 ^ w16).rotate_left(1);
    pack([w19, w18, w17, w16])
}

/// SHA256RNDS2: two rounds of SHA-256 with the message words in `wk`, constants added.
pub(crate) fn sha256rnds2(cdgh: [u64; 2], abef: [u64; 2], wk: [u64; 2]) -> [u64; 2] {
    let ([mut h, mut g, mut d, mut c], [mut f, mut e, mut b, mut a]) = (words(cdgh), words(abef));
    for w in &words(wk)[..2] {
        let big_1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let big_0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t1 = h.wrapping_add(big_1).wrapping_add(choose(e, f, g)).wrapping_add(*w);
        let t2 = big_0.wrapping_add(majority(a, b, c));
        (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c, b, a) = (c, b, a, t1.wrapping_add(t2));
    }
    pack([f, e, b, a])
}

/// SHA256MSG1.
pub(crate) fn sha256msg1(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    let small_0 = |w: u32| w.rotate_right(7) ^ w.rotate_right(18) ^ w >> 3;
    let (a, b) = (words(a), words(b));
    pack([
        a[0].wrapping_add(small_0(a[1])),
        a[1].wrapping_add(small_0(a[2])),
        a[2].wrapping_add(small_0(a[3])),
        a[3].wrapping_add(small_0(b[0])),
    ])
}

/// SHA256MSG2.
pub(crate) fn sha256msg2(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    let small_1 = |w: u32| w.rotate_right(17) ^ w.rotate_right(19) ^ w >> 10;
    let (a, b) = (words(a), words(b));
    let w16 = a[0].wrapping_add(small_1(b[2]));
    let w17 = a[1].wrapping_add(small_1(b[3]));
    let w18 = a[2].wrapping_add(small_1(w16));
    let w19 = a[3].wrapping_add(small_1(w17));
    pack([w16, w17, w18, w19])
}
