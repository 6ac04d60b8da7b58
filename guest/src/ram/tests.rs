//! RAM, its map and its marks.

use super::*;

fn two_regions() -> Ram {
    Ram::new(&[
        Region { start: Gpa(0x10_0000), len: 0x2000, kind: RegionKind::Rom },
        Region { start: Gpa(0), len: 0x3000, kind: RegionKind::Ram },
    ])
    .expect("a few pages")
}

#[test]
fn regions_and_holes() {
    let ram = two_regions();
    assert_eq!(ram.spot(Gpa(0x2fff)).map(|s| (s.offset, s.run)), Some((0x2fff, 1)));
    assert_eq!(ram.spot(Gpa(0x3000)), None);
    let rom = ram.spot(Gpa(0x10_1000)).expect("ROM");
    assert_eq!((rom.offset, rom.run, rom.writable), (0x4000, 0x1000, false));
    assert_eq!(ram.spot(Gpa(0x10_2000)), None);
    assert!(ram.read(Gpa(0x2ffe), &mut [0; 4]).is_err());
    ram.write(Gpa(0x10_0000), &[1]).expect("ignored");
    ram.program(Gpa(0x10_0001), &[2]).expect("programmed");
    let mut two = [9; 2];
    ram.read(Gpa(0x10_0000), &mut two).expect("ROM");
    assert_eq!(two, [0, 2]);
}

#[test]
fn bad_layouts_are_refused() {
    let region = |start, len| Region { start: Gpa(start), len, kind: RegionKind::Ram };
    for bad in [
        vec![region(0, 0)],
        vec![region(0, 0x1001)],
        vec![region(0, 0x2000), region(0x1000, 0x1000)],
        vec![region(u64::MAX - 0xfff, 0x1000)],
        vec![region(0, 1 << 63)],
        vec![],
    ] {
        assert!(Ram::new(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn words_of_any_alignment() {
    let ram = Ram::flat(0x2000).expect("two pages");
    for at in 0..32 {
        ram.store(0xff0 + at, 0x1122_3344_5566_7788_u64);
        assert_eq!(ram.load::<u64>(0xff0 + at), 0x1122_3344_5566_7788);
        assert_eq!(ram.load::<u16>(0xff2 + at), 0x5566);
        let (old, _) = ram.update::<u32>(0xff1 + at, |v| v.wrapping_add(1));
        assert_eq!(old, 0x4455_6677);
        assert_eq!(ram.load::<u32>(0xff1 + at), 0x4455_6678);
        assert_eq!(ram.load::<u8>(0xff5 + at), 0x33);
    }
}

#[test]
fn code_and_dirty_marks() {
    let ram = Ram::flat(0x4000).expect("four pages");
    assert!(!ram.store(0x1ffe, 1_u32));
    assert_eq!(ram.take_dirty(), [0x1000, 0x2000]);
    assert_eq!(ram.take_dirty(), []);
    assert_eq!(ram.mark_code(0x2000, 1), Marked::Page);
    assert_eq!(ram.mark_code(0x2fff, 1), Marked::Granule);
    assert_eq!(ram.mark_code(0x2fc0, 64), Marked::Already);
    assert!(ram.store(0x1fff, 1_u16));
    assert!(!ram.store(0x1ff0, 1_u16));
    assert!(ram.store(0x2fff, 1_u8));
    assert_eq!((ram.code_version(0x2345), ram.code_version(0x1000)), (2, 0));
    assert_eq!(ram.take_dirty(), [0x1000, 0x2000]);
}

#[test]
fn stores_beside_code_raise_no_version() {
    let ram = Ram::flat(0x4000).expect("four pages");
    ram.mark_code(0x1080, 0x41);
    // What changes the code of granules 2 and 3, and what lies around it.
    for (at, size, here) in [(0x1079, 8, true), (0x1078, 8, false), (0x10ff, 1, true)] {
        let before = ram.code_version(at);
        assert_eq!(ram.store_bytes(at, &vec![1; size]), here, "{at:#x}");
        assert_eq!(ram.code_version(at) - before, u32::from(here), "{at:#x}");
        let near = if here { CodeNear::Here } else { CodeNear::Beside };
        assert_eq!(ram.code_near(at, size as u64), near, "{at:#x}");
    }
    let before = ram.code_version(0x1000);
    assert!(!ram.store_bytes(0x1100, &[1; 0x1f00]), "behind it and in other pages");
    assert!(!ram.update(0x1100, |v: u64| v + 1).1);
    ram.write(Gpa(0x1000), &[1; 0x80]).expect("RAM");
    assert_eq!(ram.code_version(0x1000), before);
    ram.write(Gpa(0x0fff), &[1; 0x82]).expect("RAM");
    assert!(ram.store_bytes(0, &[1; 0x4000]) && ram.update(0x10fd, |v: u32| v + 1).1);
    assert_eq!(ram.code_version(0x1000), before + 3);
    assert_eq!((ram.code_version(0), ram.code_version(0x2000)), (0, 0));
}

#[test]
fn pages_that_are_given_back_are_zeros_and_count_as_stored_to() {
    let ram = Ram::flat(0x8000).expect("eight pages");
    ram.store_bytes(0, &[7; 0x8000]);
    ram.mark_code(0x2fff, 1);
    let version = ram.code_version(0x2000);
    ram.take_dirty();
    ram.discard(0x2000, 0x3000);
    ram.discard(0x6000, 0);
    assert_eq!(ram.take_dirty(), [0x2000, 0x3000, 0x4000]);
    assert_eq!(ram.code_version(0x2000), version + 1);
    let mut all = [1; 0x8000];
    ram.load_bytes(0, &mut all);
    for (at, byte) in all.iter().enumerate() {
        assert_eq!(*byte, if (0x2000..0x5000).contains(&at) { 0 } else { 7 }, "{at:#x}");
    }
    ram.store(0x3000, 1_u8);
    assert_eq!((ram.load::<u16>(0x3000), ram.take_dirty()), (1, vec![0x3000]));
}

#[test]
#[cfg(target_os = "linux")]
fn the_host_has_the_memory_of_pages_that_are_given_back() {
    use std::os::unix::fs::MetadataExt;
    let ram = Ram::flat(0x10_0000).expect("a MiB");
    let blocks = || ram.file().expect("Linux has one").metadata().expect("it is open").blocks();
    ram.store_bytes(0, &vec![7; 0x10_0000]);
    let before = blocks();
    ram.discard(0x4_0000, 0x8_0000);
    assert_eq!(before - blocks(), 0x8_0000 / 512);
}

#[test]
#[should_panic(expected = "outside of guest RAM")]
fn what_is_not_there_cannot_be_given_back() {
    Ram::flat(0x2000).expect("two pages").discard(0x1000, 0x2000);
}

#[test]
fn pages_are_dirty_beside_code_too() {
    let ram = Ram::flat(0x2000).expect("two pages");
    ram.mark_code(0x1000, 1);
    assert_eq!(ram.code_near(0x1040, 8), CodeNear::Beside);
    assert_eq!(ram.take_dirty(), []);
    assert_eq!(ram.mark_dirty(0x1040, 8), CodeNear::Beside);
    assert_eq!(ram.take_dirty(), [0x1000]);
    assert_eq!(ram.mark_dirty(0x103f, 8), CodeNear::Here);
    assert_eq!(ram.mark_dirty(0, 8), CodeNear::Nowhere);
    assert_eq!(ram.take_dirty(), [0, 0x1000]);
    ram.store(0x1040, 1_u8);
    assert_eq!(ram.take_dirty(), [0x1000]);
}

/// A decoder and a writer, who never agree on when: in the end the decoder has what is there, or
/// knows that it has not.
#[test]
fn no_store_is_missed_when_a_granule_becomes_code() {
    let ram = Ram::flat(0x1000).expect("a page");
    ram.mark_code(0, 1);
    for granule in (1..64).map(|n| n * 64) {
        let start = std::sync::Barrier::new(2);
        let (version, byte) = std::thread::scope(|s| {
            s.spawn(|| {
                start.wait();
                ram.store(granule, 1_u8);
            });
            start.wait();
            let version = ram.code_version(granule);
            ram.mark_code(granule, 1);
            (version, ram.load::<u8>(granule))
        });
        assert!(byte == 1 || ram.code_version(granule) != version);
    }
}

#[test]
fn updates_from_many_threads_are_not_lost() {
    let ram = Ram::flat(0x1000).expect("a page");
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..10_000 {
                    for at in [0x10, 0x101, 0x1fe, 0x2ff] {
                        ram.update::<u32>(at, |v| v.wrapping_add(1));
                    }
                    ram.update::<u128>(0x400, |v| v.wrapping_add(u128::from(u64::MAX)));
                }
            });
        }
    });
    for at in [0x10, 0x101, 0x1fe, 0x2ff] {
        assert_eq!(ram.load::<u32>(at), 40_000);
    }
    assert_eq!(ram.load::<u128>(0x400), 40_000 * u128::from(u64::MAX));
}

#[test]
fn fills_and_copies_are_as_byte_by_byte() {
    let ram = Ram::flat(0x1_0000).expect("64 KiB");
    let base: Vec<u8> = (0..0x3000).map(|n| (n * 7 % 251) as u8).collect();
    let pattern = 0x8877_6655_4433_2211_u64;
    for len in [0, 1, 7, 8, 9, 127, 128, 150, 0x1003] {
        for at in [0, 3, 0xffe] {
            ram.store_bytes(0, &base);
            ram.fill(at as u64, len as u64, pattern);
            let mut want = base.clone();
            let cycled = pattern.to_le_bytes().into_iter().cycle();
            want[at..at + len].iter_mut().zip(cycled).for_each(|(to, byte)| *to = byte);
            let mut got = vec![0; base.len()];
            ram.load_bytes(0, &mut got);
            assert!(got == want, "fill of {len} at {at}");
        }
        for (from, to) in [(40, 5), (40, 39), (40, 40), (40, 41), (40, 47), (40, 48), (41, 90)] {
            ram.store_bytes(0, &base);
            ram.copy(from as u64, to as u64, len as u64);
            let mut want = base.clone();
            (0..len).for_each(|n| want[to + n] = want[from + n]);
            let mut got = vec![0; base.len()];
            ram.load_bytes(0, &mut got);
            assert!(got == want, "copy of {len} from {from} to {to}");
        }
    }
    ram.take_dirty();
    ram.fill(0x0fff, 0x1002, 0);
    ram.copy(0, 0x3ffe, 3);
    assert_eq!(ram.take_dirty(), [0, 0x1000, 0x2000, 0x3000, 0x4000]);
}
