//! Multiboot images made of headers alone.

use super::{
    v1::{ADDRESSES, MEMORY, PAGES},
    *,
};
use crate::{
    board::pc,
    linux,
    record::{Record, u8_at, u32_at, u64_at},
};

const MIB16: u64 = 16 << 20;

/// A header with `flags` at `at`.
fn header(file: &mut Record, at: usize, flags: u32) {
    const MAGIC: u32 = 0x1bad_b002;
    let check = 0_u32.wrapping_sub(MAGIC).wrapping_sub(flags);
    file.set_u32(at, MAGIC).set_u32(at + 4, flags).set_u32(at + 8, check);
}

/// An ELF32 image of 256 bytes at 16 MiB, with as much again of zeros.
fn elf() -> Record {
    let mut file = Record::zeroed(0x1000);
    file.set(0, b"\x7fELF\x01\x01\x01").set_u16(16, 2).set_u16(18, 3);
    file.set_u32(24, MIB16 as u32 + 12).set_u32(28, 52).set_u16(42, 32).set_u16(44, 1);
    file.set_u32(52, 1).set_u32(56, 0x800).set_u32(64, MIB16 as u32).set_u32(68, 0x100);
    file.set_u32(72, 0x200);
    header(&mut file, 0x800, PAGES | MEMORY);
    file
}

/// An image that says where it is to be loaded: from 16 MiB on, its header at 40h of the file.
fn flat() -> Record {
    let mut file = Record::zeroed(0x400);
    header(&mut file, 0x40, ADDRESSES);
    let at = MIB16 as u32;
    file.set_u32(0x4c, at + 0x20).set_u32(0x50, at).set_u32(0x54, at + 0x200);
    file.set_u32(0x58, at + 0x1000).set_u32(0x5c, at + 0x40);
    file
}

/// Header tags of version 2, to be obeyed or not: kind, flags, and the numbers behind them.
type Wish<'a> = (u16, u16, &'a [u32]);

/// The memory map is wanted; modules on pages; something unknown that does no harm.
const WISHES: [Wish<'_>; 3] = [(1, 0, &[6]), (6, 0, &[]), (99, 1, &[5, 6, 7])];

/// The ELF32 image with a header of version 2 at 800h.
fn elf_2(wishes: &[Wish<'_>]) -> Record {
    let mut header = Record::zeroed(16);
    for (kind, flags, numbers) in wishes {
        header.push_u16(*kind).push_u16(*flags).push_u32(8 + 4 * numbers.len() as u32);
        numbers.iter().for_each(|n| {
            header.push_u32(*n);
        });
        header.push(&vec![0; header.len().next_multiple_of(8) - header.len()]);
    }
    header.push_u32(0).push_u32(8);
    let (magic, len) = (0xe852_50d6_u32, header.len() as u32);
    header.set_u32(0, magic).set_u32(8, len);
    header.set_u32(12, 0_u32.wrapping_sub(magic).wrapping_sub(len));
    let mut file = elf();
    file.set(0x800, header.bytes());
    file
}

fn module(bytes: &[u8], line: &str) -> Module {
    Module { bytes: bytes.to_vec(), line: line.into() }
}

fn boot(file: &Record, modules: &[Module], line: &str) -> Result<Boot, BootError> {
    linux(file.bytes(), modules, line, &pc(128 << 20, 1 << 30, 2), EntryMode::Long64)
}

fn segment(boot: &Boot, at: u64) -> &[u8] {
    &boot.segments.iter().find(|(start, _)| start.0 == at).expect("no segment there").1
}

#[test]
fn an_elf_image_gets_its_boot_information() {
    let boot = boot(&elf(), &[module(&[7; 5000], ""), module(b"second", "c d")], "a b").unwrap();
    let Entry::Protected32 { eip, eax, ebx, tr, .. } = boot.entry else {
        panic!("{:?}", boot.entry)
    };
    assert_eq!((eip, eax, tr), (MIB16 as u32 + 12, 0x2bad_b002, 0));
    assert_eq!(segment(&boot, MIB16).len(), 0x100);
    let info = segment(&boot, ebx.into());
    let word = |at| u32_at(info, at).unwrap();
    let inside = |at: u32| (at - ebx) as usize;
    assert_eq!((word(4), word(8)), (639, 127 << 10));
    assert_eq!(segment(&boot, word(16).into()), b"kernel a b\0");
    let modules = inside(word(24));
    assert_eq!(word(20), 2);
    assert_eq!(segment(&boot, word(modules).into()), [7; 5000]);
    assert_eq!(word(modules + 4) - word(modules), 5000);
    assert_eq!(word(modules) % 4096, 0);
    let second = modules + 16;
    assert_eq!(segment(&boot, word(second).into()), b"second");
    assert!(word(second + 4) <= word(modules), "one below the other");
    for (at, line) in [(modules + 8, &b"module\0"[..]), (second + 8, b"module c d\0")] {
        assert_eq!(&info[inside(word(at))..][..line.len()], line);
    }
    let (map, len) = (inside(word(48)), word(44));
    assert_eq!(len % 24, 0);
    assert_eq!((word(map), word(map + 4), word(map + 12), word(map + 20)), (20, 0, 0x9_fc00, 1));
    // The last entry: what lies above 4 GiB.
    let last = map + len as usize - 24;
    assert_eq!((word(last + 8), word(last + 12), word(last + 20)), (1, 1 << 30, 1));
    assert_eq!(&info[inside(word(64))..], LOADER_NAME);
}

#[test]
fn version_2_gets_tags() {
    let modules = [module(&[7; 5000], ""), module(b"second", "c d")];
    let boot = boot(&elf_2(&WISHES), &modules, "a b").unwrap();
    let Entry::Protected32 { eip, eax, ebx, .. } = boot.entry else { panic!("{:?}", boot.entry) };
    assert_eq!((eip, eax), (MIB16 as u32 + 12, 0x36d7_6289));
    let info = segment(&boot, ebx.into());
    assert_eq!(u32_at(info, 0), Some(info.len() as u32));
    let (mut tags, mut at) = (Vec::new(), 8);
    while at < info.len() {
        let (kind, len) = (u32_at(info, at).unwrap(), u32_at(info, at + 4).unwrap() as usize);
        tags.push((kind, &info[at + 8..at + len]));
        at += len.next_multiple_of(8);
    }
    let all = |kind: u32| tags.iter().filter(move |tag| tag.0 == kind).map(|tag| tag.1);
    let one = |kind: u32| all(kind).next().expect("a tag");
    assert_eq!((one(1), one(2)), (&b"kernel a b\0"[..], LOADER_NAME));
    let places: Vec<&[u8]> = all(3).collect();
    let at = |n: usize| u32_at(places[n], 0).unwrap();
    assert_eq!(
        (segment(&boot, at(0).into()), segment(&boot, at(1).into())),
        (&[7; 5000][..], &b"second"[..])
    );
    assert_eq!((&places[0][8..], &places[1][8..]), (&b"module\0"[..], &b"module c d\0"[..]));
    assert_eq!((u32_at(one(4), 0), u32_at(one(4), 4)), (Some(639), Some(127 << 10)));
    let map = one(6);
    assert_eq!(
        (u32_at(map, 0), u64_at(map, 8), u64_at(map, 16)),
        (Some(24), Some(0), Some(0x9_fc00))
    );
    assert_eq!(&one(15)[..8], b"RSD PTR ");
    assert_eq!((one(21), tags.last().unwrap().0), (&(MIB16 as u32).to_le_bytes()[..], 0));
}

#[test]
fn version_2_may_say_where_it_goes() {
    let at = MIB16 as u32;
    let addresses: Wish<'_> = (2, 0, &[at + 0x800, at, at + 0x900, at + 0x2000]);
    let placed = boot(&elf_2(&[addresses, (3, 0, &[at + 0x20])]), &[], "").unwrap();
    assert!(matches!(placed.entry, Entry::Protected32 { eip, .. } if eip == at + 0x20));
    assert_eq!(segment(&placed, MIB16).len(), 0x900);
    // The entry of an ELF file, too.
    let placed = boot(&elf_2(&[(3, 0, &[at + 0x20])]), &[], "").unwrap();
    assert!(matches!(placed.entry, Entry::Protected32 { eip, .. } if eip == at + 0x20));
    assert!(matches!(boot(&elf_2(&[addresses]), &[], ""), Err(BootError::Damaged(_))));
    assert_eq!(boot(&elf_2(&[(99, 0, &[])]), &[], ""), Err(BootError::MultibootTag(99)));
    let cut = Record::zeroed(0);
    assert!(boot(&cut, &[], "").is_err());
}

#[test]
fn what_a_kernel_is_told_has_an_end() {
    let modules = vec![module(b"", &"x".repeat(100)); 40];
    for file in [elf(), elf_2(&WISHES)] {
        assert_eq!(boot(&file, &modules, ""), Err(BootError::StartInfo));
    }
}

#[test]
fn a_flat_image_goes_where_its_header_says() {
    let boot_of = |file: &Record| boot(file, &[], "");
    let placed = boot_of(&flat()).unwrap();
    assert!(matches!(placed.entry, Entry::Protected32 { eip: 0x100_0040, .. }));
    // From 20h of the file on.
    assert_eq!(segment(&placed, MIB16), &flat().bytes()[0x20..0x220]);
    let info = segment(&placed, START_INFO_AT.0);
    assert_eq!((u32_at(info, 20), u32_at(info, 24)), (Some(0), Some(0)));
    assert_eq!(segment(&placed, 0x2_0000), b"kernel\0");
    let with = |at: usize, value: u32| {
        let mut file = flat();
        file.set_u32(at, value);
        boot_of(&file).map(|_| ())
    };
    assert_eq!(with(0x54, 0), Ok(()), "no end is the file's end");
    assert_eq!(with(0x58, 0), Ok(()), "no zeros behind it");
    assert!(matches!(with(0x54, 0x200_0000), Err(BootError::Truncated { .. })));
    assert!(matches!(with(0x58, 0x900_0000), Err(BootError::KernelTooLarge { .. })));
    for (at, value) in [(0x4c, 0), (0x4c, 0x200_0000), (0x58, 0x10), (0x5c, 0), (0x54, 0x10)] {
        assert!(matches!(with(at, value), Err(BootError::Damaged(_))), "{at:#x} {value:#x}");
    }
}

#[test]
fn what_cannot_be_booted_is_refused_in_a_line() {
    let mut unknown = elf();
    header(&mut unknown, 0x800, 1 << 5);
    assert_eq!(boot(&unknown, &[], ""), Err(BootError::MultibootFlags(1 << 5)));
    let mut no_elf = Record::zeroed(0x100);
    header(&mut no_elf, 0, 0);
    assert!(matches!(boot(&no_elf, &[], ""), Err(BootError::Damaged(_))));
    let mut outside = elf();
    outside.set_u32(24, 0x2000);
    assert!(matches!(boot(&outside, &[], ""), Err(BootError::Damaged(_))));
    // Onto the boot information, and zeros onto the command line.
    for (at, len) in [(0x6000, 0x200), (0x1_0000, 0x1_1000)] {
        let mut file = elf();
        file.set_u32(24, at + 12).set_u32(64, at).set_u32(72, len);
        assert!(matches!(boot(&file, &[], ""), Err(BootError::Overlap { .. })), "{at:#x}");
    }
    // A kernel below 1 MiB is welcome where nothing else is.
    let mut low = elf();
    low.set_u32(24, 0x1_000c).set_u32(64, 0x1_0000);
    assert!(boot(&low, &[], "").is_ok());
    assert_eq!(boot(&low, &[], "\0"), Err(BootError::CommandLineZero));
}

#[test]
fn no_damage_to_an_image_brings_the_host_down() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % limit as u64) as usize
    };
    let mut booted = 0;
    for round in 0..20_000 {
        let (file, fields) = match round % 3 {
            0 => (elf(), 0..84),
            1 => (flat(), 0x4c..0x60),
            _ => (elf_2(&WISHES), 0x800..0x850),
        };
        let mut bytes = file.into_bytes();
        for _ in 0..below(4) {
            let at =
                if below(4) == 0 { below(bytes.len()) } else { fields.start + below(fields.len()) };
            let old = u8_at(&bytes, at).unwrap();
            bytes[at] = [0, 1, 0x7f, 0x80, 0xff, old ^ 1 << below(8)][below(6)];
        }
        if below(3) == 0 {
            bytes.truncate(below(bytes.len()));
        }
        let machine = pc(64 << 20, 0, 1);
        match linux(&bytes, &[vec![0; below(1 << 16)].into()], "", &machine, EntryMode::Long64) {
            Ok(boot) => {
                booted += 1;
                let total: usize = boot.segments.iter().map(|(_, bytes)| bytes.len()).sum();
                assert!(total < 1 << 20);
            }
            Err(error) => assert!(!error.to_string().contains('\n')),
        }
    }
    assert!(booted > 1000, "the damage is so heavy that nothing is tested: {booted}");
}
