//! Kernels made of headers alone, and real ones where `TRINE_GUESTS` names a folder with some.

use super::*;
use crate::{
    Entry,
    board::pc,
    record::{Record, u8_at, u16_at, u32_at, u64_at},
};

const GIB: u64 = 1 << 30;

/// A bzImage with the fields that a Debian amd64 kernel has, and a kernel of zeros in it.
fn bzimage(version: u16, xload_flags: u16) -> Record {
    let setup = 3;
    let mut file = Record::zeroed(512 * (setup + 1) + 0x4000);
    file.set_u8(0x1f1, setup as u8)
        .set_u32(0x1f4, 0x400)
        .set_u16(0x1fe, 0xaa55)
        .set(0x200, &[0xeb, 0x6a])
        .set(0x202, b"HdrS")
        .set_u16(0x206, version)
        .set_u8(0x211, 1)
        .set_u32(0x214, 0x10_0000)
        .set_u32(0x22c, 0x7fff_ffff)
        .set_u32(0x230, 0x20_0000)
        .set_u8(0x234, 1)
        .set_u16(0x236, xload_flags)
        .set_u32(0x238, 2047)
        .set_u64(0x258, 0x100_0000)
        .set_u32(0x260, 0x300_0000);
    file
}

/// An ELF file with a PVH note and a program of 16 bytes.
fn elf(is_64_bit: bool) -> Record {
    let mut file = Record::zeroed(0x1000);
    file.set(0, b"\x7fELF").set(4, &[1 + u8::from(is_64_bit), 1, 1]);
    file.set_u16(16, 2).set_u16(18, if is_64_bit { 62 } else { 3 });
    let headers = [(PT_LOAD, 0x800, 0x100_0000, 16, 0x20_0000), (PT_NOTE, 0x900, 0, 20, 20)];
    if is_64_bit {
        file.set_u64(32, 64).set_u16(54, 56).set_u16(56, 2);
    } else {
        file.set_u32(28, 52).set_u16(42, 32).set_u16(44, 2);
    }
    for (index, (kind, offset, at, size, memory)) in headers.into_iter().enumerate() {
        if is_64_bit {
            let header = 64 + 56 * index;
            file.set_u32(header, kind).set_u64(header + 8, offset).set_u64(header + 24, at);
            file.set_u64(header + 32, size).set_u64(header + 40, memory).set_u64(header + 48, 4);
        } else {
            let header = 52 + 32 * index;
            file.set_u32(header, kind).set_u32(header + 4, offset as u32);
            file.set_u32(header + 12, at as u32).set_u32(header + 16, size as u32);
            file.set_u32(header + 20, memory as u32).set_u32(header + 28, 4);
        }
    }
    file.set_u32(0x900, 4).set_u32(0x904, 4).set_u32(0x908, 18);
    file.set(0x90c, b"Xen\0").set_u32(0x910, 0x100_0004);
    file
}

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

fn segment(boot: &Boot, at: u64) -> &[u8] {
    &boot.segments.iter().find(|(start, _)| start.0 == at).expect("no segment there").1
}

fn boot64(file: &[u8], initrd: Option<&[u8]>, machine: &Description) -> Result<Boot, BootError> {
    let initrd: Vec<Module> = initrd.into_iter().map(|bytes| bytes.to_vec().into()).collect();
    linux(file, &initrd, "console=ttyS0", machine, EntryMode::Long64)
}

#[test]
fn a_64_bit_kernel_gets_its_zero_page_and_long_mode() {
    let file = bzimage(0x20f, 1);
    let boot = boot64(file.bytes(), Some(&[7; 5000]), &pc(GIB, GIB, 2)).unwrap();
    let Entry::Long64 { rip, rsi, cr3, gdt, cs, ds, .. } = boot.entry else {
        panic!("{:?}", boot.entry)
    };
    assert_eq!((rip, cs, ds), (0x100_0200, 0x10, 0x18));
    let params = segment(&boot, rsi);
    assert_eq!(params.len(), 4096);
    assert_eq!(params[0x1f1..0x1fa], file.bytes()[0x1f1..0x1fa]);
    assert_eq!(params[0x22c..0x26c], file.bytes()[0x22c..0x26c]);
    assert_eq!((u8_at(params, 0x210), u8_at(params, 0x211)), (Some(0xff), Some(0x81)));
    assert_eq!((u32_at(params, 0x214), u16_at(params, 0x224)), (Some(0x100_0000), Some(0xfe00)));
    assert_eq!(u8_at(params, 0x1ef), Some(0), "the sentinel says that the page was zeroed");
    let cmdline = u32_at(params, 0x228).unwrap();
    assert_eq!(segment(&boot, cmdline.into()), b"console=ttyS0\0");
    let (initrd, len) = (u32_at(params, 0x218).unwrap(), u32_at(params, 0x21c).unwrap());
    assert_eq!((initrd, len), (0x4000_0000 - 0x2000, 5000), "on a page, at the end of low RAM");
    assert_eq!(segment(&boot, initrd.into()), [7; 5000]);
    assert!(segment(&boot, u64_at(params, 0x070).unwrap()).starts_with(b"RSD PTR "));
    assert_eq!(segment(&boot, 0x100_0000).len(), 0x4000);

    // The page tables map the first 4 GiB one to one.
    let tables = segment(&boot, cr3);
    let entry =
        |table: u64, index: u64| u64_at(tables, (table - cr3 + 8 * index) as usize).unwrap();
    for at in [0, 0x20_0000, 0x1234_5678, 0xfee0_0000, 0xffff_ffff_u64] {
        let directories = entry(cr3, at >> 39) & !0xfff;
        let directory = entry(directories, at >> 30) & !0xfff;
        assert_eq!(entry(directory, at >> 21 & 511), at & !0x1f_ffff | 0x83);
    }
    assert_eq!(u64_at(segment(&boot, gdt.base.0), cs.into()), Some(0x00af_9b00_0000_ffff));
    assert_eq!(usize::from(gdt.limit), segment(&boot, gdt.base.0).len() - 1);
}

#[test]
fn the_memory_map_is_in_the_zero_page() {
    let mut machine = pc(GIB, 2 * GIB, 1);
    machine.pci.as_mut().unwrap().ecam = None;
    let boot = boot64(bzimage(0x20f, 1).bytes(), None, &machine).unwrap();
    let params = segment(&boot, 0x7000);
    let count = usize::from(params[0x1e8]);
    let map: Vec<_> = params[0x2d0..]
        .chunks(20)
        .take(count)
        .map(|e| (u64_at(e, 0).unwrap(), u64_at(e, 8).unwrap(), u32_at(e, 16).unwrap()))
        .collect();
    assert_eq!(
        map,
        [
            (0, 0x9_fc00, 1),
            (0x9_fc00, 0x400, 2),
            (0xe_0000, 0x2_0000, 2),
            (0x10_0000, GIB - 0x10_0000, 1),
            (4 * GIB, 2 * GIB, 1),
        ]
    );
    assert_eq!(u32_at(params, 0x1e0), Some(1023 * 1024));
    assert_eq!((u8_at(params, 0x06), u8_at(params, 0x0f)), (Some(0), Some(0)), "no screen");
}

#[test]
fn a_32_bit_kernel_gets_protected_mode_on_any_cpu() {
    for cpu in [EntryMode::Protected32, EntryMode::Long64] {
        let file = bzimage(0x20f, 0);
        let boot = linux(file.bytes(), &[], "", &pc(GIB, 0, 1), cpu).unwrap();
        let Entry::Protected32 { eip, esi, ebx, gdt, cs, tr, .. } = boot.entry else {
            panic!("{:?}", boot.entry)
        };
        assert_eq!((eip, esi, ebx, tr), (0x100_0000, 0x7000, 0, 0));
        assert_eq!(u64_at(segment(&boot, gdt.base.0), cs.into()), Some(0x00cf_9b00_0000_ffff));
    }
}

#[test]
fn a_kernel_that_stays_put_is_loaded_at_1_mib() {
    let mut file = bzimage(0x20f, 0);
    file.set_u8(0x234, 0);
    let boot = boot64(file.bytes(), None, &pc(GIB, 0, 1)).unwrap();
    assert!(matches!(boot.entry, Entry::Protected32 { eip: 0x10_0000, .. }));
    // An old one does not say where it would run, nor how much it needs.
    let boot = boot64(bzimage(0x206, 0).bytes(), None, &pc(GIB, 0, 1)).unwrap();
    assert!(matches!(boot.entry, Entry::Protected32 { eip: 0x20_0000, .. }));
}

#[test]
fn several_archives_are_one_initrd() {
    let file = bzimage(0x20f, 1);
    let modules = [vec![1; 5], vec![2; 6], vec![3; 4]].map(Module::from);
    let boot_with =
        |modules: &[Module]| linux(file.bytes(), modules, "", &pc(GIB, 0, 1), EntryMode::Long64);
    let boot = boot_with(&modules).unwrap();
    let params = segment(&boot, 0x7000);
    let (at, len) = (u32_at(params, 0x218).unwrap(), u32_at(params, 0x21c).unwrap());
    let want = [1, 1, 1, 1, 1, 0, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0, 3, 3, 3, 3];
    assert_eq!((segment(&boot, at.into()), len), (&want[..], 20));
    let line = Module { bytes: vec![1], line: "quiet".into() };
    assert_eq!(boot_with(&[line]), Err(BootError::ModuleLine));
}

#[test]
fn an_initrd_goes_where_there_is_room() {
    let file = bzimage(0x20f, 1);
    let place = |low_ram: u64, len: usize| {
        let boot = boot64(file.bytes(), Some(&vec![1; len]), &pc(low_ram, 0, 1))?;
        Ok(u32_at(segment(&boot, 0x7000), 0x218).unwrap())
    };
    // Below the limit of the kernel, though RAM goes on.
    assert_eq!(place(3 * GIB - GIB / 4, 4096), Ok(0x7fff_f000));
    // Above the kernel, which needs memory up to 64 MiB, to the last page.
    assert_eq!(place(72 << 20, 8 << 20), Ok(64 << 20));
    // Where it no longer fits above, below.
    assert_eq!(place(72 << 20, 9 << 20), Ok(7 << 20));
    let error = BootError::InitrdTooLarge { len: 16 << 20, room: 15 << 20 };
    assert_eq!(place(72 << 20, 16 << 20), Err(error));
}

#[test]
fn the_last_unit_of_a_kernel_may_be_cut() {
    let machine = pc(GIB, 0, 1);
    let file = bzimage(0x20f, 1);
    let len = file.bytes().len();
    assert!(boot64(&file.bytes()[..len - 15], None, &machine).is_ok());
    let cut = boot64(&file.bytes()[..len - 16], None, &machine);
    assert!(matches!(cut, Err(BootError::Truncated { .. })));
}

#[test]
fn what_cannot_be_booted_is_refused_in_a_line() {
    let machine = pc(GIB, 0, 1);
    let error = |change: fn(&mut Record)| {
        let mut file = bzimage(0x20f, 1);
        change(&mut file);
        boot64(file.bytes(), None, &machine).unwrap_err()
    };
    assert_eq!(error(|f| _ = f.set_u16(0x206, 0x205)), BootError::OldProtocol(0x205));
    assert_eq!(error(|f| _ = f.set_u8(0x211, 0)), BootError::NotLoadedHigh);
    assert!(matches!(error(|f| _ = f.set_u32(0x230, 3)), BootError::Damaged(_)));
    assert!(matches!(error(|f| _ = f.set_u64(0x258, u64::MAX)), BootError::Damaged(_)));
    assert!(matches!(error(|f| _ = f.set_u32(0x1f4, 0)), BootError::Damaged(_)));
    assert!(matches!(error(|f| _ = f.set_u32(0x1f4, 0x401)), BootError::Truncated { .. }));
    let needed = 0x100_0000 + 0xffff_ffff;
    let too_large = BootError::KernelTooLarge { needed, low_ram: GIB };
    assert_eq!(error(|f| _ = f.set_u32(0x260, u32::MAX)), too_large);

    let file = bzimage(0x20f, 1);
    let with = |cmdline: &str| linux(file.bytes(), &[], cmdline, &machine, EntryMode::Long64);
    assert!(with(&"x".repeat(2047)).is_ok());
    let too_long = BootError::CommandLineTooLong { len: 2048, limit: 2047 };
    assert_eq!(with(&"x".repeat(2048)), Err(too_long));
    assert_eq!(with("a\0b"), Err(BootError::CommandLineZero));
    let on_32_bits = linux(file.bytes(), &[], "", &machine, EntryMode::Protected32);
    assert_eq!(on_32_bits, Err(BootError::NeedsLongMode));
    let tiny = boot64(file.bytes(), None, &pc(16 << 20, 0, 1));
    assert_eq!(tiny, Err(BootError::KernelTooLarge { needed: 64 << 20, low_ram: 16 << 20 }));

    for junk in [&b""[..], b"MZ", b"\x1f\x8b\x08", &[0; 4096]] {
        let error = boot64(junk, None, &machine).unwrap_err();
        assert!(matches!(error, BootError::UnknownKernel(_)) && !error.to_string().contains('\n'));
    }
}

#[test]
fn a_pvh_kernel_gets_its_start_info() {
    for is_64_bit in [false, true] {
        let file = elf(is_64_bit);
        let boot = boot64(file.bytes(), Some(&[9; 100]), &pc(GIB, 0, 1)).unwrap();
        let Entry::Protected32 { eip, esi, ebx, gdt, tr, .. } = boot.entry else {
            panic!("{:?}", boot.entry)
        };
        assert_eq!((eip, esi, tr), (0x100_0004, 0, 0x20));
        assert_eq!(u64_at(segment(&boot, gdt.base.0), 0x20), Some(0x0000_8b00_0000_0067));
        let info = segment(&boot, ebx.into());
        assert_eq!((u32_at(info, 0), u32_at(info, 4)), (Some(0x336e_c578), Some(1)));
        let long = |at| u64_at(info, at).unwrap();
        assert_eq!(segment(&boot, long(24)), b"console=ttyS0\0");
        assert!(segment(&boot, long(32)).starts_with(b"RSD PTR "));
        assert_eq!(u32_at(info, 12), Some(1));
        let module = (long(16) - u64::from(ebx)) as usize;
        assert_eq!(segment(&boot, long(module)), [9; 100]);
        assert_eq!(long(module + 8), 100);
        let map = (long(40) - u64::from(ebx)) as usize;
        assert_eq!((long(map), long(map + 8), u32_at(info, map + 16)), (0, 0x9_fc00, Some(1)));
        assert_eq!(segment(&boot, 0x100_0000).len(), 16);
    }
    let mut file = elf(true);
    file.set_u32(0x908, 17);
    assert_eq!(boot64(file.bytes(), None, &pc(GIB, 0, 1)), Err(BootError::NoPvhEntry));
    let mut file = elf(true);
    file.set_u16(18, 183);
    assert_eq!(boot64(file.bytes(), None, &pc(GIB, 0, 1)), Err(BootError::NotX86));
    // Two parts in the same place.
    let mut file = elf(true);
    file.set_u32(64 + 56, PT_LOAD).set_u64(64 + 56 + 24, 0x101_0000);
    let error = linux(file.bytes(), &[], "", &pc(GIB, 0, 1), EntryMode::Protected32);
    assert_eq!(error, Err(BootError::NeedsLongMode));
}

/// A small generator of numbers (xorshift64), the same at every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn no_damage_to_a_file_brings_the_host_down() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let machine = pc(128 << 20, 0, 1);
    let files = [bzimage(0x20f, 1), bzimage(0x20a, 0), elf(true), elf(false)];
    let mut booted = 0;
    for round in 0..20_000 {
        let mut file = files[round % files.len()].bytes().to_vec();
        let headers = if round % files.len() < 2 { 0x1f0..0x270 } else { 0..0xb0 };
        for _ in 0..numbers.below(4) {
            // Mostly in the headers, and mostly values at the edges.
            let at = match numbers.below(4) {
                0 => numbers.below(file.len()),
                1 if headers.start == 0 => 0x900 + numbers.below(20),
                _ => headers.start + numbers.below(headers.len()),
            };
            file[at] = [0, 1, 0x7f, 0x80, 0xff, file[at] ^ 1 << numbers.below(8)][numbers.below(6)];
        }
        if numbers.below(3) == 0 {
            file.truncate(numbers.below(file.len()));
        }
        let initrd = vec![0; numbers.below(1 << 16)];
        match boot64(&file, Some(&initrd), &machine) {
            Ok(boot) => {
                booted += 1;
                let total: usize = boot.segments.iter().map(|(_, bytes)| bytes.len()).sum();
                assert!(total < 128 << 20);
            }
            Err(error) => assert!(!error.to_string().contains('\n')),
        }
    }
    assert!(booted > 1000, "the damage is so heavy that nothing is tested: {booted}");
}

#[test]
fn real_kernels_are_placed() {
    let Some(folder) = std::env::var_os("TRINE_GUESTS") else {
        eprintln!("skipped: TRINE_GUESTS names no folder with kernels");
        return;
    };
    let folder = std::path::Path::new(&folder);
    let initrd = vec![0x42; 1 << 20];
    for (name, is_64_bit) in [("amd64", true), ("cloud", true), ("686", false), ("686-pae", false)]
    {
        let Ok(file) = std::fs::read(folder.join(name).join("vmlinuz")) else {
            eprintln!("skipped: {name}");
            continue;
        };
        let boot = boot64(&file, Some(&initrd), &pc(512 << 20, 0, 2)).unwrap();
        match boot.entry {
            Entry::Long64 { rip, .. } => assert!(is_64_bit && rip == 0x100_0200),
            Entry::Protected32 { eip, .. } => assert!(!is_64_bit && eip == 0x100_0000),
            other => panic!("{other:?}"),
        }
        let params = segment(&boot, 0x7000);
        assert_eq!(u32_at(params, 0x218), Some((512 << 20) - (1 << 20)));
        let payload = segment(&boot, 0x100_0000);
        let size = 16 * u32_at(&file, 0x1f4).unwrap() as usize;
        let start = 512 * (1 + usize::from(file[0x1f1]));
        assert_eq!(payload, &file[start..start + size]);
        let small = boot64(&file, None, &pc(16 << 20, 0, 1)).unwrap_err();
        assert!(matches!(small, BootError::KernelTooLarge { .. }));
        for cut in [0, 0x1f0, 0x205, 0x238, 0x263, 0x5000, file.len() / 2] {
            assert!(boot64(&file[..cut], None, &pc(512 << 20, 0, 1)).is_err(), "{cut:#x}");
        }
    }
}
