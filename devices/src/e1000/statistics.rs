//! Statistics (section 13.7): 64 counters, which reading clears and which stop at their maximum.

use serde::{Deserialize, Serialize};

/// Where they start.
pub(super) const START: u32 = 0x4000;
/// How many there are.
const COUNTERS: usize = 64;

/// A counter, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Counter {
    /// Missed: there was nowhere to put it.
    Mpc = 0x10 / 4,
    /// Good ones received.
    Gprc = 0x74 / 4,
    Bprc = 0x78 / 4,
    Mprc = 0x7c / 4,
    /// Good ones transmitted.
    Gptc = 0x80 / 4,
    /// No buffers when it came.
    Rnbc = 0xa0 / 4,
    /// Too long.
    Roc = 0xac / 4,
    /// All that came, and all that went.
    Tpr = 0xd0 / 4,
    Tpt = 0xd4 / 4,
    Mptc = 0xf0 / 4,
    Bptc = 0xf4 / 4,
    /// Frames that were cut into segments.
    Tsctc = 0xf8 / 4,
}
use Counter::*;

/// Counters of bytes, by the place of their lower half.
const GORC: usize = 0x88 / 4;
const GOTC: usize = 0x90 / 4;
const TOR: usize = 0xc0 / 4;
const TOT: usize = 0xc8 / 4;
/// The first of six counters of frames received by length, and transmitted.
const PRC_64: usize = 0x5c / 4;
const PTC_64: usize = 0xd8 / 4;

/// Bytes of a frame check sequence, which counts.
const FCS: u64 = 4;

/// All counters.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Statistics(Vec<u32>);

impl Default for Statistics {
    fn default() -> Self {
        Self(vec![0; COUNTERS])
    }
}

impl Statistics {
    pub(super) fn is_possible(&self) -> bool {
        self.0.len() == COUNTERS
    }

    /// Reads and clears the counter at `offset` from the first. Of one with two halves both are
    /// cleared, with the upper one.
    pub(super) fn read(&mut self, offset: u32) -> u32 {
        match offset as usize / 4 % COUNTERS {
            low @ (GORC | GOTC | TOR | TOT) => self.0[low],
            n => {
                if let Some(low @ (GORC | GOTC | TOR | TOT)) = n.checked_sub(1) {
                    self.0[low] = 0;
                }
                std::mem::take(&mut self.0[n])
            }
        }
    }

    /// Counts one.
    pub(super) fn count(&mut self, counter: Counter) {
        self.add(counter as usize, 1);
    }

    fn add(&mut self, n: usize, count: u32) {
        self.0[n] = self.0[n].saturating_add(count);
    }

    fn add_octets(&mut self, low: usize, octets: u64) {
        let before = u64::from(self.0[low + 1]) << 32 | u64::from(self.0[low]);
        let sum = before.saturating_add(octets);
        (self.0[low], self.0[low + 1]) = (sum as u32, (sum >> 32) as u32);
    }

    /// A frame has come, received or not.
    pub(super) fn came(&mut self, len: usize) {
        self.count(Tpr);
        self.add_octets(TOR, len as u64 + FCS);
    }

    /// A frame that begins like `frame` was received, of `len` bytes.
    pub(super) fn received(&mut self, frame: &[u8], len: usize) {
        self.count(Gprc);
        self.add_octets(GORC, len as u64 + FCS);
        self.add(PRC_64 + class(len), 1);
        self.count_group(frame, Bprc, Mprc, 1);
    }

    /// `count` frames that begin like `frame` were sent, each of `len` bytes.
    pub(super) fn sent(&mut self, frame: &[u8], len: usize, count: u32) {
        let octets = (len as u64 + FCS) * u64::from(count);
        self.add(Tpt as usize, count);
        self.add(Gptc as usize, count);
        self.add_octets(TOT, octets);
        self.add_octets(GOTC, octets);
        self.add(PTC_64 + class(len), count);
        self.count_group(frame, Bptc, Mptc, count);
    }

    fn count_group(&mut self, frame: &[u8], broadcast: Counter, multicast: Counter, count: u32) {
        match frame.first_chunk::<6>() {
            Some([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]) => self.add(broadcast as usize, count),
            Some([first, ..]) if first & 1 != 0 => self.add(multicast as usize, count),
            _ => {}
        }
    }
}

/// Which of six lengths a frame of `len` bytes has on the wire: up to 64, 127, 255, 511, 1023, and
/// more.
fn class(len: usize) -> usize {
    [64, 127, 255, 511, 1023].partition_point(|most| *most < len as u64 + FCS)
}
