//! The memory map: which pieces of guest physical space show which pieces of the arena.
//!
//! A chipset changes it while the guest runs: RAM comes in the place of ROM, a frame buffer moves
//! with its BAR. Each TLB miss of each vCPU looks at it, so who reads takes no lock and never waits:
//! there are two sheets, one to read and one to write, which change places with each new map.
//! A reader that is overtaken by two new maps has seen a sheet that was being written, and looks again.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use crate::{
    Gpa,
    ram::{PAGE_SIZE, RamError, Region, RegionKind, Spot},
};

/// The most regions that a map has.
pub const REGIONS_MAX: usize = 64;

/// A region and where in the arena it is. All numbers are multiples of pages, which leaves room for
/// the kind.
#[derive(Default)]
struct Row {
    start: AtomicU64,
    len: AtomicU64,
    /// The offset in the arena, and [`WRITABLE`].
    shows: AtomicU64,
}

/// In [`Row::shows`]: RAM rather than ROM.
const WRITABLE: u64 = 1;

impl Row {
    fn start(&self) -> u64 {
        self.start.load(Ordering::Relaxed)
    }

    fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }

    /// The offset in the arena, and whether guests may store there.
    fn shows(&self) -> (u64, bool) {
        let shows = self.shows.load(Ordering::Relaxed);
        (shows & !WRITABLE, shows & WRITABLE != 0)
    }

    fn set(&self, region: &Region, offset: u64) {
        let writable = if region.kind == RegionKind::Ram { WRITABLE } else { 0 };
        self.start.store(region.start.0, Ordering::Relaxed);
        self.len.store(region.len, Ordering::Relaxed);
        self.shows.store(offset | writable, Ordering::Relaxed);
    }

    fn get(&self) -> (Region, u64) {
        let (offset, writable) = self.shows();
        let kind = if writable { RegionKind::Ram } else { RegionKind::Rom };
        (Region { start: Gpa(self.start()), len: self.len(), kind }, offset)
    }
}

/// A map, by address.
struct Sheet {
    count: AtomicUsize,
    rows: [Row; REGIONS_MAX],
}

impl Sheet {
    fn rows(&self) -> &[Row] {
        &self.rows[..self.count.load(Ordering::Relaxed).min(REGIONS_MAX)]
    }
}

impl Default for Sheet {
    fn default() -> Self {
        Self { count: AtomicUsize::new(0), rows: std::array::from_fn(|_| Row::default()) }
    }
}

/// The map. Map number *n* is, or was, in sheet *n* % 2.
#[derive(Default)]
pub(crate) struct Map {
    sheets: [Sheet; 2],
    /// The number of the map that was begun last.
    begun: AtomicU32,
    /// The number of the present map.
    done: AtomicU32,
}

impl Map {
    /// Counts the maps that there have been.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        self.done.load(Ordering::Relaxed)
    }

    /// Replaces the map by one that [`checked`] has passed. One thread at a time.
    pub(crate) fn replace(&self, regions: &[(Region, u64)]) {
        let next = self.done.load(Ordering::Relaxed).wrapping_add(1);
        self.begun.store(next, Ordering::Relaxed);
        // Who sees a row of the new map, and fences, sees that it was begun.
        fence(Ordering::Release);
        let sheet = &self.sheets[next as usize % 2];
        for (row, (region, offset)) in sheet.rows.iter().zip(regions) {
            row.set(region, *offset);
        }
        sheet.count.store(regions.len(), Ordering::Relaxed);
        self.done.store(next, Ordering::Release);
    }

    /// What `look` finds in the present map. It may be shown nonsense, and is then asked again.
    #[inline]
    fn read<R>(&self, look: impl Fn(&[Row]) -> R) -> R {
        loop {
            let number = self.done.load(Ordering::Acquire);
            let found = look(self.sheets[number as usize % 2].rows());
            fence(Ordering::Acquire);
            // The next map is written to the other sheet, the one behind it to this one.
            if self.begun.load(Ordering::Relaxed).wrapping_sub(number) <= 1 {
                return found;
            }
        }
    }

    /// What is at `at`.
    pub(crate) fn spot(&self, at: Gpa) -> Option<Spot> {
        self.read(|rows| {
            let next = rows.partition_point(|row| row.start() <= at.0);
            let row = rows.get(next.checked_sub(1)?)?;
            let (inside, len) = (at.0.wrapping_sub(row.start()), row.len());
            let (offset, writable) = row.shows();
            (inside < len).then(|| Spot {
                offset: offset.wrapping_add(inside),
                run: len - inside,
                writable,
            })
        })
    }

    /// Where the arena's byte at `offset` is shown: where guests may store to it, if there is such
    /// a place.
    pub(crate) fn gpa_of(&self, offset: u64) -> Option<Gpa> {
        self.read(|rows| {
            let mut found = None;
            for row in rows {
                let (start, writable) = row.shows();
                let inside = offset.wrapping_sub(start);
                if inside < row.len() {
                    found = Some(Gpa(row.start().wrapping_add(inside)));
                    if writable {
                        break;
                    }
                }
            }
            found
        })
    }

    /// All regions, by address, each with its offset in the arena.
    pub(crate) fn regions(&self) -> Vec<(Region, u64)> {
        self.read(|rows| rows.iter().map(Row::get).collect())
    }
}

/// The regions by address, if they can be the map of an arena of `arena` bytes: whole pages, which
/// are disjoint where the guest sees them. Any number of them may show the same piece of the arena.
pub(crate) fn checked(
    regions: &[(Region, u64)],
    arena: u64,
) -> Result<Vec<(Region, u64)>, RamError> {
    if regions.len() > REGIONS_MAX {
        return Err(RamError::Regions(regions.len()));
    }
    let mut sorted = regions.to_vec();
    sorted.sort_by_key(|(region, _)| region.start);
    let mut free = 0;
    for (region, offset) in &sorted {
        let Region { start: at, len, .. } = *region;
        let end = at.0.checked_add(len).ok_or(RamError::Layout { at, len })?;
        if len == 0 || (len | at.0) % PAGE_SIZE != 0 || at.0 < free {
            return Err(RamError::Layout { at, len });
        }
        let shown = offset.checked_add(len).filter(|end| *end <= arena);
        if shown.is_none() || offset % PAGE_SIZE != 0 {
            return Err(RamError::Beyond { at, offset: *offset, arena });
        }
        free = end;
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    };

    use super::REGIONS_MAX;
    use crate::{Gpa, MapWatcher, Ram, RamError, Region, RegionKind};

    const PAGE: u64 = 0x1000;

    fn ram(page: u64, pages: u64, from: u64) -> (Region, u64) {
        let kind = RegionKind::Ram;
        (Region { start: Gpa(page * PAGE), len: pages * PAGE, kind }, from * PAGE)
    }

    fn rom(page: u64, pages: u64, from: u64) -> (Region, u64) {
        let (region, offset) = ram(page, pages, from);
        (Region { kind: RegionKind::Rom, ..region }, offset)
    }

    fn byte(ram: &Ram, at: u64) -> Option<u8> {
        let mut byte = [0];
        ram.read(Gpa(at), &mut byte).ok().map(|()| byte[0])
    }

    #[test]
    fn what_is_hidden_keeps_its_contents_and_what_is_shown_twice_is_one() {
        // 16 pages of DRAM, then a ROM of two.
        let memory = Ram::with_arena(18 * PAGE, &[ram(0, 16, 0)]).expect("a few pages");
        memory.write(Gpa(0xa000), &[0xd]).expect("DRAM");
        memory.store_bytes(0x1_0000, &[0xf]);
        let before = memory.map_epoch();
        let shadowed = [ram(0, 10, 0), rom(10, 2, 16), ram(12, 4, 12), rom(0x100, 2, 16)];
        assert!(memory.remap(&shadowed).expect("a map"));
        assert_eq!(memory.map_epoch(), before + 1);
        assert_eq!(memory.regions(), shadowed);
        assert_eq!((byte(&memory, 0xa000), byte(&memory, 0x10_0000)), (Some(0xf), Some(0xf)));
        memory.write(Gpa(0xa000), &[1]).expect("ignored");
        memory.program(Gpa(0x10_0001), &[2]).expect("programmed");
        assert_eq!((byte(&memory, 0xa000), byte(&memory, 0xa001)), (Some(0xf), Some(2)));
        // Two pages of DRAM are hidden; ROM is wherever it is.
        assert_eq!(memory.gpa_of(0xa000), None);
        assert_eq!(memory.gpa_of(0x9fff), Some(Gpa(0x9fff)));
        let places = [0xa000, 0x10_0000].map(|at| Some(Gpa(at)));
        assert!(places.contains(&memory.gpa_of(0x1_0000)));
        assert!(memory.remap(&[ram(0, 16, 0)]).expect("a map"));
        assert_eq!(byte(&memory, 0xa000), Some(0xd));
        assert_eq!((byte(&memory, 0x10_0000), memory.gpa_of(0x1_0000)), (None, None));
    }

    #[test]
    fn an_address_for_stores_comes_first() {
        let map = [rom(0, 2, 1), ram(4, 2, 1), rom(8, 1, 0)];
        let memory = Ram::with_arena(3 * PAGE, &map).expect("three pages");
        assert_eq!(memory.gpa_of(0x1234), Some(Gpa(0x4234)));
        assert_eq!(memory.gpa_of(0x0fff), Some(Gpa(0x8fff)));
        assert_eq!(memory.gpa_of(0x3000), None);
    }

    #[test]
    fn maps_that_cannot_be_are_refused_and_change_nothing() {
        let map = [ram(0, 2, 0)];
        let memory = Ram::with_arena(4 * PAGE, &map).expect("four pages");
        let odd = |start, len, offset| (Region { start: Gpa(start), len, ..map[0].0 }, offset);
        let many: Vec<_> = (0..=REGIONS_MAX as u64).map(|n| ram(2 * n, 1, 0)).collect();
        for bad in [
            &[odd(0, 0, 0)][..],
            &[odd(0, 0x1001, 0)],
            &[odd(1, 0x1000, 0)],
            &[odd(0, 0x1000, 1)],
            &[odd(0, 0x2000, 0x3000)],
            &[odd(0, 0x1000, u64::MAX - 0xfff)],
            &[odd(u64::MAX - 0xfff, 0x1000, 0)],
            &[ram(0, 2, 0), ram(1, 2, 2)],
            &many,
        ] {
            assert!(memory.remap(bad).is_err(), "{bad:?}");
            assert_eq!((memory.regions(), memory.map_epoch()), (map.to_vec(), 1));
        }
        assert!(matches!(memory.remap(&many), Err(RamError::Regions(65))));
        assert!(memory.remap(&many[..REGIONS_MAX]).expect("a map"));
        assert!(memory.remap(&[]).expect("the guest sees nothing"));
        assert_eq!(memory.spot(Gpa(0)), None);
        assert!(Ram::with_arena(0, &[]).is_err() && Ram::with_arena(0x1001, &map).is_err());
    }

    #[derive(Default)]
    struct Counts(AtomicU32);

    impl MapWatcher for Counts {
        fn map_changed(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn watchers_are_told_of_changes_while_they_are_there() {
        let memory = Ram::flat(2 * PAGE).expect("two pages");
        let (one, other) = (Arc::new(Counts::default()), Arc::new(Counts::default()));
        for watcher in [&one, &other] {
            let watcher = Arc::downgrade(watcher);
            memory.watch_map(watcher as Weak<dyn MapWatcher>);
        }
        assert!(!memory.remap(&[ram(0, 2, 0)]).expect("the same map"));
        assert_eq!(one.0.load(Ordering::Relaxed), 0);
        assert!(memory.remap(&[ram(0, 1, 0)]).expect("a map"));
        drop(other);
        assert!(memory.remap(&[ram(0, 1, 1)]).expect("a map"));
        assert_eq!(one.0.load(Ordering::Relaxed), 2);
    }

    /// Whoever reads while the map changes sees one of the maps, never parts of two.
    #[test]
    fn readers_see_whole_maps() {
        let maps = [
            vec![ram(0, 4, 0)],
            vec![rom(0, 1, 7), ram(1, 1, 6), ram(2, 2, 4)],
            vec![ram(0, 2, 2), rom(2, 1, 1), rom(3, 1, 0), ram(8, 1, 3)],
        ];
        let memory = Ram::with_arena(8 * PAGE, &maps[0]).expect("eight pages");
        let spots = |page: u64| {
            let of = |map: &[_]| {
                let alone = Ram::with_arena(8 * PAGE, map).expect("a map");
                alone.spot(Gpa(page * PAGE))
            };
            maps.iter().map(|map| of(map)).collect::<Vec<_>>()
        };
        let spots: Vec<_> = (0..10).map(spots).collect();
        let (done, changes) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        for (page, spots) in (0..).zip(&spots) {
                            let spot = memory.spot(Gpa(page * PAGE));
                            assert!(spots.contains(&spot), "page {page}: {spot:?}");
                        }
                        assert!(maps.contains(&memory.regions()));
                        let at = memory.gpa_of(0);
                        assert!([None, Some(Gpa(0)), Some(Gpa(3 * PAGE))].contains(&at));
                    }
                });
            }
            for n in 0..30_000 {
                let changed = memory.remap(&maps[n % maps.len()]).expect("a map");
                changes.fetch_add(u32::from(changed), Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
        });
        // The first one was there.
        assert_eq!(changes.load(Ordering::Relaxed), 29_999);
        assert_eq!(memory.map_epoch(), 30_000);
    }
}
