//! The controller and its disks against ATA-6 and against what drivers do.

use trine_guest::{Gpa, VmTime};

use super::{super::rig::*, *};
use crate::{
    Bench,
    stress::{Driven, Random, drive},
};

fn words(data: &[u8]) -> Vec<u16> {
    data.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// As Linux's ata_devchk and ata_bus_softreset, and as a BIOS: which drives are there?
#[test]
fn a_probe_finds_the_drive_and_misses_the_absent_one() {
    let mut r = Rig::disk(numbered(1000));
    for (device, is_there) in [(0xa0, true), (0xb0, false)] {
        r.out(6, device);
        for (count, low) in [(0x55, 0xaa), (0xaa, 0x55), (0x55, 0xaa)] {
            r.out(2, count);
            r.out(3, low);
        }
        // The one drive answers for both, but only its own Status says READY.
        assert_eq!((r.read(2), r.read(3)), (0x55, 0xaa));
        assert_eq!(r.read(6), device);
        assert_eq!(r.status(), if is_there { 0x50 } else { 0 });
    }
    // A command to the absent drive is nobody's.
    r.out(7, 0xec);
    assert_eq!(r.status(), 0);
    r.out(8, 0x04);
    assert_eq!(r.status(), BSY);
    r.out(8, 0x00);
    assert_eq!(r.status(), 0x50, "the reset has chosen device 0");
    assert_eq!([1, 2, 3, 4, 5].map(|n| r.read(n)), [1, 1, 1, 0, 0]);
    r.base = Piix3Ide::SECONDARY;
    assert_eq!(r.read(7), 0x7f, "a channel without drives floats, and is not busy");
    assert_eq!(r.status(), 0x7f);
    r.out(2, 0x55);
    assert_eq!(r.read(2), 0x7f, "nobody keeps what is written");
}

#[test]
fn ports_are_decoded_when_the_guest_wants_it() {
    let mut r = Rig::disk(numbered(10));
    assert_eq!(r.read(7), 0x50);
    r.ide.config.write(IDETIM + 1, &[0]);
    assert_eq!(r.read(7), 0xff);
    r.ide.config.write(IDETIM + 1, &[IDETIM_DECODE]);
    r.ide.config.write(4, &[0]);
    assert_eq!(r.read(7), 0xff);
    r.bench.with(|cx| r.ide.reset(cx));
    assert_eq!(r.ide.config.byte(0x0a), 0x01);
    assert_eq!(r.read(7), 0xff, "after a reset the firmware turns it on");
}

#[test]
fn identify_says_what_there_is() {
    let mut r = Rig::disk(numbered(20_000));
    r.command(0xec, [0, 0, 0, 0, 0, 0xa0]);
    assert_eq!(r.status(), 0x58);
    assert!(r.interrupt());
    let data = r.data(512);
    assert_eq!(r.status(), 0x50);
    assert!(!r.interrupt(), "none at the end of a read by words");
    assert_eq!(data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    let w = words(&data);
    assert_eq!([w[1], w[3], w[6]], [19, 16, 63], "cylinders, heads, sectors");
    assert_eq!([w[60], w[61], w[100], w[101]], [20_000, 0, 20_000, 0]);
    assert_eq!(&data[54..68], b"RTNI EAHDRIDKS", "the first character is in the upper byte");
    assert_eq!([w[83] & 0xc000, w[87] & 0xc000], [0x4000; 2], "these words are valid");
    assert_eq!(w[63], 0x0407, "Multiword DMA mode 2");
    for (mode, want) in [(0x22, (0x0407, 0x003f)), (0x44, (0x0007, 0x103f))] {
        r.command(0xef, [0x03, mode, 0, 0, 0, 0xa0]);
        r.command(0xec, [0; 6]);
        let w = words(&r.data(512));
        assert_eq!((w[63], w[88]), want, "SET FEATURES {mode:#x}");
    }
}

#[test]
fn sectors_are_read_by_cylinder_and_by_number() {
    let mut r = Rig::disk(numbered(70_000));
    // Cylinder 2, head 3, sector 4 of 16 heads with 63 sectors.
    r.command(0x20, [0, 2, 4, 2, 0, 0xa3]);
    assert_eq!(r.status() & BSY, BSY, "the disk takes its time");
    let first = (2 * 16 + 3) * 63 + 3;
    assert_eq!(numbers(&r.pio_in(512).0), [first, first + 1]);
    assert_eq!([2, 3, 4, 5, 6].map(|n| r.read(n)), [0, 5, 2, 0, 0xa3], "the last sector's");
    // 8 heads, 32 sectors.
    r.command(0x91, [0, 32, 0, 0, 0, 0xa7]);
    assert_eq!(r.read(7), 0x50);
    r.command(0x20, [0, 1, 1, 1, 0, 0xa0]);
    assert_eq!(numbers(&r.pio_in(512).0), [256]);
    r.lba28(0x20, 0x1_0001, 0);
    let (data, blocks) = r.pio_in(512);
    assert_eq!((numbers(&data), blocks), ((0x1_0001..0x1_0101).collect(), 256));
    r.lba48(0x24, 69_000, 300);
    assert_eq!(numbers(&r.pio_in(512).0), (69_000..69_300).collect::<Vec<_>>());
    assert_eq!([3, 4, 5].map(|n| r.read(n)), [0xb3, 0x0e, 0x01]);
    r.out(8, 0x80);
    assert_eq!([3, 4, 5].map(|n| r.read(n)), [0, 0, 0], "HOB");
    r.out(3, 0x77);
    r.out(3, 0x66);
    assert_eq!(r.read(3), 0x66, "a write ends HOB");
}

#[test]
fn blocks_of_many_sectors() {
    let mut r = Rig::disk(numbered(1000));
    r.lba28(0xc4, 0, 20);
    assert_eq!(r.status() & ERR, ERR, "READ MULTIPLE before SET MULTIPLE");
    r.command(0xc6, [0, 3, 0, 0, 0, 0xa0]);
    assert_eq!((r.read(7) & ERR, r.read(1)), (ERR, 0x04));
    r.command(0xc6, [0, 8, 0, 0, 0, 0xa0]);
    assert!(r.interrupt());
    r.lba28(0xc4, 5, 20);
    r.settle();
    let mut data = Vec::new();
    for block in [8, 8, 4] {
        assert!(r.interrupt());
        assert_eq!(r.status(), 0x58);
        data.extend(r.data(block * 512));
    }
    assert_eq!(numbers(&data), (5..25).collect::<Vec<_>>());
    assert_eq!(r.status(), 0x50);
    // The same way back, each sector one further on.
    r.lba28(0xc5, 6, 20);
    assert!(!r.interrupt(), "the first block of a write comes without");
    for block in data.chunks(8 * 512) {
        assert_eq!(r.status(), 0x58);
        r.put(block);
        assert_eq!(r.status(), 0xd0);
        r.settle();
        assert!(r.interrupt());
    }
    assert_eq!(r.status(), 0x50);
    r.lba28(0x20, 4, 23);
    let want: Vec<u32> = [4, 5].into_iter().chain(5..25).chain([26]).collect();
    assert_eq!(numbers(&r.pio_in(512).0), want);
    r.command(0xe7, [0, 0, 0, 0, 0, 0xa0]);
    assert_eq!(r.status(), 0xd0, "a flush takes as long as the disk does");
    r.settle();
    assert!(r.interrupt());
}

#[test]
fn dma_moves_sectors_through_regions() {
    let mut r = Rig::disk(numbered(3000));
    r.lba28(0xc8, 1000, 3);
    r.start_dma(true, &[(0x2002, 512), (0x3_0000, 1024)]);
    assert_eq!(r.master_status(), 0x01);
    r.settle();
    assert_eq!(r.master_status(), 0x04, "inactive, interrupted");
    assert_eq!(numbers(&[r.ram(0x2002, 512), r.ram(0x3_0000, 1024)].concat()), [1000, 1001, 1002]);
    assert!(r.interrupt());
    assert_eq!(r.status(), 0x50);
    r.master_out(0, &[0]);
    // There and back: 600 sectors, more than the drive holds at once, started by the bus master.
    let regions: Vec<(u32, u16)> = (1..6).map(|n| (n << 16, 0)).collect();
    r.start_dma(false, &regions);
    r.lba48(0x35, 7, 600);
    r.settle();
    assert_eq!(r.master_status(), 0x05, "the table is longer than the command");
    r.master_out(0, &[0]);
    let written = r.ram(0x1_0000, 600 * 512);
    r.lba48(0x25, 7, 600);
    r.start_dma(true, &[(0x8_0000, 0), (0x9_0000, 0), (0xa_0000, 0), (0xb_0000, 0), (0xc_0000, 0)]);
    r.settle();
    assert_eq!(r.ram(0x8_0000, 600 * 512), written);
}

#[test]
fn bad_tables_end_with_an_error_or_in_silence() {
    let mut r = Rig::disk(numbered(1000));
    // Too short: inactive without an interrupt, and the drive still wants to move data.
    r.lba28(0xc8, 0, 2);
    r.start_dma(true, &[(0x2000, 512)]);
    r.settle();
    assert_eq!((r.master_status(), r.status() & BSY), (0x00, BSY));
    r.master_out(0, &[0]);
    r.out(8, 0x04);
    r.out(8, 0x00);
    for (what, is_to_memory, region) in [
        ("crosses 64 KiB", true, (0x1_ff00, 0x200)),
        ("no memory", true, (0x8000_0000, 0x200)),
        ("direction", false, (0x2000, 0x200)),
    ] {
        r.lba28(0xc8, 0, 1);
        r.start_dma(is_to_memory, &[region]);
        r.settle();
        assert_eq!(r.master_status(), 0x02, "{what}");
        r.out(8, 0x04);
        r.out(8, 0x00);
        r.master_out(0, &[0]);
    }
    // The table itself is not memory.
    r.master_out(4, &0xf000_0000_u32.to_le_bytes());
    r.master_out(2, &[6]);
    r.lba28(0xc8, 0, 1);
    r.master_out(0, &[9]);
    r.settle();
    assert_eq!(r.master_status(), 0x02);
    // No bus master, no transfer, until there is one.
    r.out(8, 0x04);
    r.out(8, 0x00);
    r.ide.config.write(4, &[0x01]);
    r.lba28(0xc8, 9, 1);
    r.start_dma(true, &[(0x2000, 512)]);
    r.settle();
    assert_eq!(r.master_status(), 0x01);
    r.ide.config.write(4, &[0x05]);
    r.bench.with(|cx| r.ide.config_written(cx, 4, 1));
    assert_eq!((r.master_status(), numbers(&r.ram(0x2000, 512))), (0x04, vec![9]));
}

#[test]
fn a_table_without_an_end_stays_in_its_64_kib() {
    let mut r = Rig::disk(numbered(40_000));
    // Every descriptor of 1_0000h to 1_FFFFh says the same two bytes.
    let entry = [0x2000_u32.to_le_bytes(), 2_u32.to_le_bytes()].concat();
    r.bench.ram.write(Gpa(0x1_0000), &entry.repeat(0x2000)).expect("RAM");
    r.master_out(4, &0x1_fff8_u32.to_le_bytes());
    r.lba48(0x25, 0, 35_000);
    r.master_out(0, &[9]);
    r.settle();
    assert_eq!(r.master_status(), 0x05, "17,920,000 bytes later");
}

#[test]
fn disks_that_fail_make_commands_fail() {
    let mut r = Rig::disk(Scratched::new(1000));
    r.lba28(0x20, 100, 1);
    r.settle();
    assert_eq!((r.status(), r.read(1)), (0x51, 0x40));
    assert!(r.interrupt());
    assert_eq!([3, 4, 5, 6].map(|n| r.read(n)), [100, 0, 0, 0xe0]);
    r.lba28(0x40, 100, 200);
    r.settle();
    assert_eq!(r.read(1), 0x40, "READ VERIFY");
    for (opcode, sector, count) in [(0x20, 999, 2), (0x30, 1000, 1), (0xc8, 0xfff_ffff, 0)] {
        r.lba28(opcode, sector, count);
        assert_eq!((r.status(), r.read(1)), (0x51, 0x10), "{opcode:#x} {sector}");
    }
    r.lba48(0x24, u64::MAX >> 16, 0);
    assert_eq!(r.read(1), 0x10);
    r.command(0x20, [0, 1, 0, 0, 0, 0xa0]);
    assert_eq!(r.read(1), 0x10, "there is no sector 0");
    r.command(0x20, [0, 1, 64, 0, 0, 0xa0]);
    assert_eq!(r.read(1), 0x10, "nor 64");
    let mut r = Rig::disk(numbered(1000).read_only());
    r.lba28(0x30, 0, 1);
    assert_eq!((r.status(), r.read(1)), (0x51, 0x04));
}

#[test]
fn commands_without_data() {
    let mut r = Rig::disk(numbered(1000));
    for opcode in [0x10, 0x40, 0x70, 0xe0, 0xe1, 0xe2, 0xe3, 0xe7, 0xea] {
        r.lba28(opcode, 1, 1);
        r.settle();
        assert_eq!(r.status(), 0x50, "{opcode:#x}");
        assert!(r.interrupt(), "{opcode:#x}");
    }
    for opcode in [0x00, 0x08, 0xa0, 0xa1, 0x60, 0x61, 0xf1, 0xff] {
        r.lba28(opcode, 1, 1);
        assert_eq!((r.status(), r.read(1)), (0x51, 0x04), "{opcode:#x}");
    }
    r.lba28(0xf8, 0, 0);
    assert_eq!([3, 4, 5].map(|n| r.read(n)), [0xe7, 0x03, 0]);
    r.out(7, 0xe0);
    r.out(7, 0xe5);
    assert_eq!(r.read(2), 0x00, "standby");
    // SMART: enabled, well; not without its key.
    r.command(0xb0, [0xda, 0, 0, 0x4f, 0xc2, 0xa0]);
    assert_eq!((r.status(), r.read(4), r.read(5)), (0x50, 0x4f, 0xc2));
    r.command(0xb0, [0xda, 0, 0, 0, 0, 0xa0]);
    assert_eq!(r.status(), 0x51);
    // What was written to the buffer is read from it.
    r.command(0xe8, [0; 6]);
    r.put(&[0x5a; 512]);
    r.command(0xe4, [0; 6]);
    assert_eq!(r.data(512), [0x5a; 512]);
    // A drive that sleeps hears nothing but resets.
    r.command(0xe6, [0; 6]);
    r.command(0xec, [0; 6]);
    assert_eq!(r.status() & DRQ, 0);
    r.out(8, 0x04);
    r.out(8, 0x00);
    r.command(0xec, [0; 6]);
    assert_eq!(r.status() & DRQ, DRQ);
}

#[test]
fn trim_discards_ranges() {
    let mut r = Rig::disk(numbered(1000));
    let mut ranges = [0; 512];
    for (n, (first, count)) in [(10_u64, 2_u64), (0, 0), (20, 1)].into_iter().enumerate() {
        ranges[8 * n..8 * n + 8].copy_from_slice(&(first | count << 48).to_le_bytes());
    }
    r.bench.ram.write(Gpa(0x2000), &ranges).expect("RAM");
    r.out(2, 0);
    r.command(0x06, [1, 1, 0, 0, 0, 0xe0]);
    r.start_dma(false, &[(0x2000, 512)]);
    r.settle();
    assert_eq!((r.master_status(), r.status()), (0x04, 0x50));
    r.lba28(0x20, 9, 13);
    let want: Vec<u32> = [9, 0, 0].into_iter().chain(12..20).chain([0, 21]).collect();
    assert_eq!(numbers(&r.pio_in(512).0), want);
    r.out(2, 0);
    r.command(0x06, [1, 9, 0, 0, 0, 0xe0]);
    assert_eq!(r.status(), 0x51, "more blocks than IDENTIFY offers");
}

#[test]
fn interrupts_follow_the_chosen_drive_and_nien() {
    let drives = [1000, 2000].map(|n| Some(AtaDrive::disk(Box::new(numbered(n)))));
    let mut r = Rig::new(drives);
    r.out(6, 0xb0);
    r.out(7, 0xec);
    assert_eq!(words(&r.data(512))[60], 2000);
    assert!(r.ide.irqs[0].level());
    r.out(6, 0xa0);
    assert!(!r.ide.irqs[0].level(), "the other drive has none");
    r.out(6, 0xb0);
    assert!(r.ide.irqs[0].level());
    r.out(8, 0x02);
    assert!(!r.ide.irqs[0].level());
    r.out(8, 0x00);
    assert!(r.ide.irqs[0].level());
    assert_eq!(r.status(), 0x50);
    assert!(r.ide.irqs[0].level(), "Alternate Status acknowledges nothing");
    assert_eq!(r.read(7), 0x50);
    assert!(!r.ide.irqs[0].level());
    r.out(7, 0x90);
    assert_eq!(r.read(6), 0xa0, "diagnostics end with device 0 chosen");
    assert!(r.interrupt());
    assert_eq!([1, 2, 3, 4, 5].map(|n| r.read(n)), [1, 1, 1, 0, 0]);
}

#[test]
fn without_a_write_cache_writes_are_flushed() {
    let disk = Scratched::new(100);
    let flushes = disk.flushes();
    let mut r = Rig::disk(disk);
    let count = |r: &mut Rig, opcode| {
        r.lba48(opcode, 0, 1);
        r.put(&[1; 512]);
        r.settle();
        assert_eq!(r.status(), 0x50);
        flushes()
    };
    assert_eq!(count(&mut r, 0x30), 0);
    r.command(0xef, [0x82, 0, 0, 0, 0, 0xa0]);
    assert_eq!(count(&mut r, 0x30), 1, "write cache off");
    r.command(0xef, [0x02, 0, 0, 0, 0, 0xa0]);
    r.command(0xc6, [0, 1, 0, 0, 0, 0xa0]);
    assert_eq!(count(&mut r, 0xce), 1, "WRITE MULTIPLE FUA EXT");
}

/// An order that was under way when the state was taken is done by the drive that gets the state.
#[test]
fn what_was_under_way_goes_on_after_a_load() {
    let mut r = Rig::disk(numbered(1000));
    r.lba28(0xca, 5, 200);
    r.bench.ram.write(Gpa(0x2_0000), &[0xab; 200 * 512]).expect("RAM");
    r.start_dma(false, &[(0x2_0000, 0), (0x3_0000, 0)]);
    let mut other = Rig::disk(numbered(1000));
    other.bench.ram.write(Gpa(0x1000), &r.ram(0x1000, 16)).expect("RAM");
    other.bench.ram.write(Gpa(0x2_0000), &[0xcd; 200 * 512]).expect("RAM");
    other.ide.load(&r.ide.save()).expect("a chip loads what it saved");
    assert_eq!(other.ide.next_event(), Some(VmTime(LATENCY_NS)));
    other.settle();
    assert_eq!(other.status(), 0x50);
    other.lba28(0x20, 4, 202);
    let (data, _) = other.pio_in(512);
    let [before, .., after] = &numbers(&data)[..] else { panic!("202 sectors") };
    assert_eq!((*before, *after), (4, 205));
    // The first piece was on its way already; the second was fetched by the new controller.
    assert!(data[512..129 * 512].iter().all(|byte| *byte == 0xab));
    assert!(data[129 * 512..201 * 512].iter().all(|byte| *byte == 0xcd));
}

/// A controller with two disks on one channel, a CD drive on the other.
fn full(bench: &Bench) -> Piix3Ide {
    let disks = [300, 2000].map(|n| Some(AtaDrive::disk(Box::new(numbered(n)))));
    let cd = AtaDrive::cd(Some(Box::new(numbered(4000))));
    let lines = [bench.backplane.line(14), bench.backplane.line(15)];
    let mut ide = Piix3Ide::new(lines, [disks, [Some(cd), None]]);
    Piix3Ide::enable(ide.config_mut());
    ide
}

/// One thing that a guest might do, mostly something that makes sense.
fn random_access(r: &mut Rig, random: &mut Random) {
    const OPCODES: [u8; 28] = [
        0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x3d, 0x40, 0x42, 0xc4, 0xc5, 0xc6, 0xc8,
        0xca, 0xce, 0xec, 0xef, 0x06, 0xa0, 0xa0, 0xa0, 0xa1, 0x08, 0x90, 0xe7, 0xe4,
    ];
    let byte = random.next() as u8;
    match random.below(16) {
        0..4 => {
            let small = if random.below(2) == 0 { byte } else { byte & 7 };
            r.out(1 + random.below(6) as u16, small);
        }
        4 => {
            let opcode = OPCODES[random.below(OPCODES.len() as u64) as usize];
            let sector = random.below(320);
            match random.below(3) {
                0 => r.out(7, opcode),
                1 => r.lba28(opcode, sector as u32, byte & 31),
                _ => r.lba48(opcode, sector, u16::from(byte)),
            }
        }
        5 if random.below(8) == 0 => r.out(random.below(10) as u16, byte),
        5 => r.base = [Piix3Ide::PRIMARY, Piix3Ide::SECONDARY][random.below(2) as usize],
        6 if random.below(16) == 0 => {
            r.out(8, 0x04);
            r.out(8, byte & 0x82);
        }
        6 | 7 => drop(r.data(4 * random.below(600) as usize)),
        8 => {
            let packet = [[byte & 0xbf, 0, 0, 0, 0, 0, 0, 0], random.next().to_le_bytes()].concat();
            r.put(&packet[..12]);
        }
        9 => r.put(&vec![byte; random.below(9000) as usize]),
        10 => {
            let at = random.below(1 << 21) as u32;
            r.start_dma(byte & 1 != 0, &[(at & !1, random.next() as u16), (0x4_0000, 0)]);
        }
        11 => r.master_out(random.below(16), &random.next().to_le_bytes()[..1 << (byte % 3)]),
        12 => r.bench.now = r.bench.now.after_ns(random.below(5 * LATENCY_NS)),
        _ => {
            let latest = r.bench.now.after_ns(random.below(3 * LATENCY_NS));
            r.bench.run_ns(&mut r.ide, latest.since(r.bench.now));
        }
    }
}

impl Driven for Rig {
    type Chip = Piix3Ide;

    fn fresh(&self) -> Piix3Ide {
        full(&self.bench)
    }
    fn parts(&mut self) -> (&mut Bench, &mut Piix3Ide) {
        (&mut self.bench, &mut self.ide)
    }
    fn start(&mut self) {
        Piix3Ide::enable(self.ide.config_mut());
    }
    fn act(&mut self, random: &mut Random) {
        random_access(self, random);
    }
}

fn rig() -> Rig {
    let bench = Bench::new();
    let ide = full(&bench);
    Rig { bench, ide, base: Piix3Ide::PRIMARY }
}

#[test]
fn random_guests_do_no_harm() {
    drive(&mut rig(), 0x1de_5eed, 100_000);
}

#[test]
#[ignore = "takes a minute"]
fn a_million_random_accesses() {
    drive(&mut rig(), 0x1de_0000, 1_000_000);
}
