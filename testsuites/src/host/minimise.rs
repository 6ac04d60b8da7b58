//! Makes a failing case small while it still fails.

use trine_native::Case;

use super::draw::{Drawn, patch};

/// Registers of the image that can be cleared: place and bytes.
const PARTS: [(usize, usize); 7] = [(2, 2), (4, 1), (6, 2), (8, 8), (16, 8), (0, 2), (24, 4)];

/// The smallest case found that `fails` still accepts.
pub(crate) fn minimise(
    drawn: &Drawn,
    mut fails: impl FnMut(&Drawn) -> Result<bool, String>,
) -> Result<Drawn, String> {
    let mut best = drawn.clone();
    let mut attempt = |best: &mut Drawn, change: &dyn Fn(&mut Drawn)| -> Result<(), String> {
        let mut smaller = best.clone();
        change(&mut smaller);
        if fails(&smaller)? {
            *best = smaller;
        }
        Ok(())
    };
    // Twice: what one register hides, another may show.
    for _ in 0..2 {
        for n in 0..16 {
            attempt(&mut best, &|d| d.case.before.gpr[n] = 0)?;
            attempt(&mut best, &|d| d.case.before.gpr[n] &= 0xffff_ffff)?;
            attempt(&mut best, &|d| d.case.before.gpr[n] &= 0xff)?;
        }
        for bit in [0, 2, 4, 6, 7, 8, 10, 11, 14, 18, 21] {
            attempt(&mut best, &|d| d.case.before.rflags &= !(1 << bit))?;
        }
        for n in 0..24 {
            let at = 32 + 16 * n;
            attempt(&mut best, &|d| d.case.before.fx[at..at + 16].fill(0))?;
        }
        for n in 0..16 {
            attempt(&mut best, &|d| d.case.before.ymm[16 * n..16 * n + 16].fill(0))?;
        }
        for (at, len) in PARTS {
            attempt(&mut best, &|d| {
                let usual: &[u8] = match at {
                    0 => &[0x7f, 3],
                    24 => &[0x80, 0x1f, 0, 0],
                    _ => &[0; 8],
                };
                d.case.before.fx[at..at + len].copy_from_slice(&usual[..len]);
            })?;
        }
        for n in [0, 1] {
            attempt(&mut best, &|d| d.case.before.bases[n] = 0)?;
        }
        memory(&mut best, &mut attempt)?;
    }
    Ok(best)
}

type Attempt<'a> = dyn FnMut(&mut Drawn, &dyn Fn(&mut Drawn)) -> Result<(), String> + 'a;

/// Drops patches, then halves them.
fn memory(best: &mut Drawn, attempt: &mut Attempt<'_>) -> Result<(), String> {
    for n in data(best) {
        attempt(best, &|d| replace(d, n, |_| Vec::new()))?;
    }
    for n in data(best) {
        for _ in 0..6 {
            attempt(best, &|d| replace(d, n, |bytes| bytes[..bytes.len() / 2].to_vec()))?;
            attempt(best, &|d| {
                replace(d, n, |bytes| {
                    let mut bytes = bytes.to_vec();
                    let half = bytes.len() / 2;
                    bytes[..half].fill(0);
                    bytes
                });
            })?;
        }
    }
    Ok(())
}

/// The patches that are not the instruction, from the last on.
fn data(drawn: &Drawn) -> Vec<usize> {
    let code = drawn.at..drawn.at + drawn.encoded.bytes.len() as u64;
    let patches = drawn.case.patches().enumerate();
    let mut out: Vec<usize> =
        patches.filter(|(_, (at, _))| !code.contains(at)).map(|(n, _)| n).collect();
    out.reverse();
    out
}

/// The case with another patch in place of patch `n`; none, if it is empty.
fn replace(drawn: &mut Drawn, n: usize, with: impl Fn(&[u8]) -> Vec<u8>) {
    let mut case = Case::new(drawn.case.before);
    for (place, (at, bytes)) in drawn.case.patches().enumerate() {
        let bytes = if place == n { with(bytes) } else { bytes.to_vec() };
        if !bytes.is_empty() {
            patch(&mut case, at, &bytes);
        }
    }
    drawn.case = case;
}
