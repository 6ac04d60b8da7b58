//! What a floppy disk looks like, by the size of its image, and where in its turn it is.

use crate::Disk;

/// Bytes of a sector: the only size there is (N = 2).
pub(super) const SECTOR: usize = 512;
/// A turn at 300 revolutions per minute.
const TURN_NS: u64 = 200_000_000;

/// Data rates, as CCR and DSR encode them.
const RATE_500K: u8 = 0;
const RATE_300K: u8 = 1;
const RATE_250K: u8 = 2;
const RATE_1M: u8 = 3;

/// How a disk is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Format {
    pub(super) cylinders: u8,
    pub(super) heads: u8,
    pub(super) sectors: u8,
    rate: u8,
}

impl Format {
    const fn new(cylinders: u8, heads: u8, sectors: u8, rate: u8) -> Self {
        Self { cylinders, heads, sectors, rate }
    }

    /// Every format, from the smallest to the largest.
    const ALL: [Self; 11] = [
        Self::new(40, 1, 8, RATE_250K),
        Self::new(40, 1, 9, RATE_250K),
        Self::new(40, 2, 8, RATE_250K),
        Self::new(40, 2, 9, RATE_250K),
        Self::new(80, 2, 9, RATE_250K),
        Self::new(80, 2, 10, RATE_250K),
        Self::new(80, 2, 15, RATE_500K),
        Self::new(80, 2, 18, RATE_500K),
        Self::new(80, 2, 21, RATE_500K),
        Self::new(82, 2, 21, RATE_500K),
        Self::new(80, 2, 36, RATE_1M),
    ];

    fn len(self) -> u64 {
        self.sectors_of_disk() * SECTOR as u64
    }

    fn sectors_of_disk(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors)
    }

    /// The format of `disk`: the smallest that holds it, or else the largest.
    pub(super) fn of(disk: &dyn Disk) -> Self {
        let holds = |format: &Self| format.len() >= disk.len();
        let [.., largest] = Self::ALL;
        Self::ALL.into_iter().find(holds).unwrap_or(largest)
    }

    /// Whether a controller that is set to `rate` can read it. Double-density disks turn faster in
    /// drives for high-density ones.
    pub(super) fn is_readable_at(self, rate: u8) -> bool {
        rate == self.rate || rate == RATE_300K && self.rate == RATE_250K
    }

    /// Where sector `sector` (from 1 on) of a track lies in the image; `None` if there is none.
    pub(super) fn place(self, cylinder: u8, head: u8, sector: u8) -> Option<u64> {
        let is_there =
            cylinder < self.cylinders && head < self.heads && (1..=self.sectors).contains(&sector);
        let track = u64::from(cylinder) * u64::from(self.heads) + u64::from(head);
        let before = track * u64::from(self.sectors);
        is_there.then(|| (before + u64::from(sector) - 1) * SECTOR as u64)
    }
}

/// How fast things move: `pace` times as fast as in a real drive.
#[derive(Clone, Copy)]
pub(super) struct Motion {
    pace: u64,
}

impl Motion {
    pub(super) fn new(pace: u64) -> Self {
        Self { pace: pace.clamp(1, 1000) }
    }

    /// How long something takes that takes a real drive `ns`.
    pub(super) fn time(self, ns: u64) -> u64 {
        (ns / self.pace).max(1)
    }

    /// A turn of the disk.
    pub(super) fn turn_ns(self) -> u64 {
        self.time(TURN_NS)
    }

    /// How long after `now_ns` sector `sector` of so many has passed the head, from its start.
    pub(super) fn until_passed(self, now_ns: u64, sector: u8, sectors: u8) -> u64 {
        let turn = self.turn_ns();
        let each = (turn / u64::from(sectors.max(1))).max(1);
        let start = each * u64::from(sector.clamp(1, sectors.max(1)) - 1);
        let angle = now_ns % turn;
        (start + turn - angle) % turn + each
    }

    /// The sector that comes next after `now_ns`.
    pub(super) fn next_sector(self, now_ns: u64, sectors: u8) -> u8 {
        let sectors = u64::from(sectors.max(1));
        let each = (self.turn_ns() / sectors).max(1);
        let angle = now_ns % self.turn_ns();
        match angle.div_ceil(each) {
            before if before < sectors => before as u8 + 1,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RamDisk;

    #[test]
    fn every_size_has_its_format() {
        for (kib, want) in [
            (160, (40, 1, 8)),
            (360, (40, 2, 9)),
            (720, (80, 2, 9)),
            (1200, (80, 2, 15)),
            (1440, (80, 2, 18)),
            (1000, (80, 2, 15)),
            (2880, (80, 2, 36)),
            (9999, (80, 2, 36)),
        ] {
            let format = Format::of(&RamDisk::new(vec![0; kib << 10], 0));
            assert_eq!((format.cylinders, format.heads, format.sectors), want, "{kib} KiB");
        }
    }

    #[test]
    fn a_sector_is_somewhere_or_nowhere() {
        let format = Format::of(&RamDisk::new(vec![0; 1440 << 10], 0));
        assert_eq!(format.place(0, 0, 1), Some(0));
        assert_eq!(format.place(79, 1, 18), Some(2879 * 512));
        for (cylinder, head, sector) in [(0, 0, 0), (0, 0, 19), (0, 2, 1), (80, 0, 1)] {
            assert_eq!(format.place(cylinder, head, sector), None);
        }
    }

    #[test]
    fn sectors_pass_in_their_order() {
        let motion = Motion::new(1);
        let each = TURN_NS / 18;
        assert_eq!(motion.until_passed(0, 1, 18), each);
        assert_eq!(motion.until_passed(each, 2, 18), each, "the next one comes at once");
        assert_eq!(motion.until_passed(1, 1, 18), TURN_NS - 1 + each, "just missed");
        assert_eq!(motion.next_sector(0, 18), 1);
        assert_eq!(motion.next_sector(1, 18), 2);
        assert_eq!(motion.next_sector(TURN_NS - 1, 18), 1);
    }
}
