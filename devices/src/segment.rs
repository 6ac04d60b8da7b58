//! Buffers that lie in pieces in guest memory.

use trine_guest::{Gpa, Ram};

/// A piece of a buffer. All of it is RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The first byte.
    pub at: Gpa,
    /// How many bytes, at least one.
    pub len: u32,
}

/// Bytes of all of `segments`.
pub(crate) fn len_of(segments: &[Segment]) -> u64 {
    segments.iter().map(|s| u64::from(s.len)).sum()
}

/// Bytes `from` to `from + len - 1` of `segments`, as far as there are so many.
pub(crate) fn pieces(segments: &[Segment], from: u64, len: u64) -> impl Iterator<Item = Segment> {
    let (mut skip, mut left) = (from, len);
    segments.iter().filter_map(move |segment| {
        let skipped = skip.min(u64::from(segment.len));
        skip -= skipped;
        let part = left.min(u64::from(segment.len) - skipped);
        left -= part;
        (part > 0).then(|| Segment { at: segment.at.offset(skipped), len: part as u32 })
    })
}

/// Reads what lies in `segments`. Returns how many bytes there were.
pub(crate) fn read(segments: impl Iterator<Item = Segment>, ram: &Ram, data: &mut [u8]) -> usize {
    let mut done = 0;
    for Segment { at, len } in segments {
        let Some(part) = data.get_mut(done..done + len as usize) else { break };
        // It was RAM when the segments were made, and RAM stays RAM.
        if ram.read(at, part).is_err() {
            break;
        }
        done += part.len();
    }
    done
}
