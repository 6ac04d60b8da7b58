//! The memory of the board: what its arena holds, and the map that the host bridge makes of it.
//!
//! Sources: Intel 82441FX datasheet, section 4.1 (system address map); 82371SB (PIIX3) datasheet,
//! BIOSCS#.

use std::ops::Range;

use trine_devices::{LowMemory, Side};
use trine_firmware::{BootError, rom_windows};
use trine_guest::{Gpa, Region, RegionKind};

/// RAM below 4 GiB ends here at most: above it lie PCI, the APICs and the HPET.
pub const LOW_RAM_MAX: u64 = 3 << 30;
/// RAM that does not fit below is here.
pub const HIGH_RAM_AT: Gpa = Gpa(1 << 32);
/// The video memory and option ROM area, in which there is no RAM unless the host bridge is told to
/// show some. From its end to 1 MiB lies the firmware's area.
pub const VIDEO_HOLE: (Gpa, Gpa) = (Gpa(0xa_0000), Gpa(0xe_0000));
/// What the video memory hides, and SMRAM control can show: up to the first segment with attributes
/// of its own.
const SMRAM_END: u64 = 0xc_0000;
/// What is PCI's below 4 GiB, between `low` bytes of DRAM and the chips that are no PCI device's. It
/// begins where OVMF begins to give it away.
#[must_use]
pub fn pci_hole(low: u64) -> Range<u64> {
    low.max(2 << 30)..0xfec0_0000
}
/// Where memory goes on without attributes.
const MIB: u64 = 1 << 20;
/// The least memory of this board.
pub const MEMORY_MIN: u64 = MIB;
/// The most memory of this board: what lies above belongs to PCI.
pub const MEMORY_MAX: u64 = 256 << 30;

/// How much of `memory` bytes lies below and above 4 GiB.
#[must_use]
pub fn split_memory(memory: u64) -> (u64, u64) {
    let low = memory.min(LOW_RAM_MAX);
    (low, memory - low)
}

/// Bytes of video memory.
pub const VIDEO_MEMORY: u64 = 16 << 20;

/// What chips make of memory, as far as its map depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// What the host bridge does with accesses below 1 MiB.
    pub low: LowMemory,
    /// Where the display adapter's memory is to be seen.
    pub frame_buffer: Option<Gpa>,
    /// The flash memory shows its cells, and not its status.
    pub flash: bool,
}

/// What is in the arena: all of DRAM, in the order of its addresses, behind it flash memory and ROM,
/// and then the video memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    dram: u64,
    /// Where flash memory and ROM, as one, appear below 1 MiB and below 4 GiB.
    rom: Option<[(Gpa, u64); 2]>,
    /// Bytes of the former.
    flash: u64,
}

impl Memory {
    /// So many bytes of DRAM, at least [`MEMORY_MIN`], without a ROM.
    #[must_use]
    pub fn new(dram: u64) -> Self {
        Self { dram, rom: None, flash: 0 }
    }

    /// The same with a ROM of `len` bytes.
    ///
    /// # Errors
    /// If there cannot be a ROM of that size.
    pub fn with_rom(self, len: u64) -> Result<Self, BootError> {
        self.with_flash(0, len)
    }

    /// The same with `flash` bytes of flash memory, and behind it a ROM of `rom` bytes.
    ///
    /// # Errors
    /// If there cannot be that much of the two.
    pub fn with_flash(self, flash: u64, rom: u64) -> Result<Self, BootError> {
        let windows = rom_windows(flash.saturating_add(rom))?;
        Ok(Self { rom: Some(windows), flash, ..self })
    }

    /// Where the guest sees the flash memory, and how much of it.
    #[must_use]
    pub fn flash(&self) -> Option<(Gpa, u64)> {
        let [_, (start, _)] = self.rom?;
        (self.flash > 0).then_some((start, self.flash))
    }

    /// Where in the arena the flash memory is.
    #[must_use]
    pub fn flash_offset(&self) -> u64 {
        self.dram
    }

    /// Bytes of DRAM.
    #[must_use]
    pub fn dram(&self) -> u64 {
        self.dram
    }

    /// Bytes of the arena.
    #[must_use]
    pub fn arena(&self) -> u64 {
        self.video() + VIDEO_MEMORY
    }

    /// Where in the arena the video memory is.
    #[must_use]
    pub fn video(&self) -> u64 {
        self.dram + self.rom.map_or(0, |[_, (_, len)]| len)
    }

    /// The map while chips show memory so. Below 1 MiB, regions are the bridge's segments, so that
    /// those of which nothing has changed stay as they are. While flash shows its status, accesses are
    /// the chip's; its copy below 1 MiB, which no firmware programs by, stays.
    #[must_use]
    pub fn map(&self, shown: &Shown) -> Vec<(Region, u64)> {
        let Shown { low, frame_buffer, flash } = shown;
        let (below, above) = split_memory(self.dram);
        // Below 4 GiB, DRAM's address is its offset.
        let dram = |start: u64, end: u64, kind: RegionKind| {
            (Region { start: Gpa(start), len: end.saturating_sub(start), kind }, start)
        };
        let video = VIDEO_HOLE.0.0;
        let mut map = vec![dram(0, video, RegionKind::Ram)];
        if low.smram_is_open {
            map.push(dram(video, SMRAM_END, RegionKind::Ram));
        }
        for segment in &low.segments {
            let (start, end) = (segment.start.0, segment.start.0 + segment.len);
            match (segment.reads, segment.writes) {
                (Side::Dram, Side::Dram) => map.push(dram(start, end, RegionKind::Ram)),
                (Side::Dram, Side::Pci) => map.push(dram(start, end, RegionKind::Rom)),
                (Side::Pci, _) => map.extend(self.rom_between(start, end)),
            }
        }
        map.push(dram(MIB, below, RegionKind::Ram));
        map.push((Region { start: HIGH_RAM_AT, len: above, kind: RegionKind::Ram }, below));
        if let Some([_, (start, len)]) = self.rom {
            let (kind, fixed) = (RegionKind::Rom, start.offset(self.flash));
            if *flash {
                map.push((Region { start, len: self.flash, kind }, self.dram));
            }
            let rom = Region { start: fixed, len: len - self.flash, kind };
            map.push((rom, self.dram + self.flash));
        }
        if let Some(start) = frame_buffer.filter(|at: &Gpa| pci_hole(below).contains(&at.0)) {
            let len = VIDEO_MEMORY.min(pci_hole(below).end - start.0);
            map.push((Region { start, len, kind: RegionKind::Ram }, self.video()));
        }
        map.retain(|(region, _)| region.len > 0);
        map
    }

    /// The ROM, as far as it appears between these addresses below 1 MiB.
    fn rom_between(&self, start: u64, end: u64) -> Option<(Region, u64)> {
        let [(first, _), _] = self.rom?;
        let start = start.max(first.0);
        // It ends before the video memory, and below 1 MiB.
        let offset = self.video() - (MIB - start);
        let region =
            Region { start: Gpa(start), len: end.checked_sub(start)?, kind: RegionKind::Rom };
        Some((region, offset))
    }
}

#[cfg(test)]
mod tests {
    use trine_devices::{I440fx, PciFunction};
    use trine_guest::Ram;

    use super::*;

    /// With these PAM registers and SMRAM control of the host bridge, and no frame buffer.
    fn shown(pam: [u8; 7], smram: u8) -> Shown {
        let mut bridge = I440fx::new();
        bridge.config_mut().write(I440fx::PAM, &pam);
        bridge.config_mut().write(I440fx::SMRAM, &[smram]);
        Shown { low: I440fx::low_memory(bridge.config()), frame_buffer: None, flash: true }
    }

    /// RAM with that map; each page of the arena holds its number.
    fn ram(memory: &Memory, shown: &Shown) -> Ram {
        let ram = Ram::with_arena(memory.arena(), &memory.map(shown)).expect("a map");
        for page in 0..memory.arena() >> 12 {
            ram.store(page << 12, page as u32);
        }
        ram
    }

    /// What page the guest sees, and whether it may store there.
    fn page(ram: &Ram, at: u64) -> Option<(u64, bool)> {
        ram.spot(Gpa(at)).map(|spot| (u64::from(ram.load::<u32>(spot.offset)), spot.writable))
    }

    #[test]
    fn memory_lies_below_3_gib_and_above_4() {
        assert_eq!(split_memory(512 << 20), (512 << 20, 0));
        assert_eq!(split_memory(5 << 30), (3 << 30, 2 << 30));
        let memory = Memory::new(5 << 30);
        let map = memory.map(&shown([0; 7], 2));
        assert_eq!(map.len(), 3);
        assert_eq!((map[1].0.start.0, map[1].0.len), (MIB, (3 << 30) - MIB));
        assert_eq!((map[2].0.start, map[2].0.len, map[2].1), (HIGH_RAM_AT, 2 << 30, 3 << 30));
        assert_eq!(memory.video(), 5 << 30);
    }

    #[test]
    fn after_a_reset_the_rom_is_seen_twice() {
        let memory = Memory::new(2 << 20).with_rom(256 << 10).expect("a ROM");
        let ram = ram(&memory, &shown([0; 7], 2));
        let rom = |n: u64| Some(((2 << 8) + n, false));
        assert_eq!(page(&ram, 0x9_f000), Some((0x9f, true)));
        for hole in [0xa_0000, 0xb_f000, 0xc_0000, 0xd_f000, 2 << 20, 0xfffb_f000] {
            assert_eq!(page(&ram, hole), None, "{hole:x}");
        }
        // Its last 128 KiB, and all of it.
        assert_eq!((page(&ram, 0xe_0000), page(&ram, 0xf_f000)), (rom(32), rom(63)));
        assert_eq!((page(&ram, 0xfffc_0000), page(&ram, 0xffff_f000)), (rom(0), rom(63)));
        assert_eq!(page(&ram, 0x10_0000), Some((0x100, true)));
    }

    #[test]
    fn video_memory_is_seen_where_pci_has_room() {
        let memory = Memory::new(2 << 20).with_rom(64 << 10).expect("a ROM");
        let seen = |at: u64| {
            let map = memory.map(&Shown { frame_buffer: Some(Gpa(at)), ..shown([0; 7], 2) });
            let ram = Ram::with_arena(memory.arena(), &map).expect("a map");
            ram.spot(Gpa(at)).map(|spot| (spot.offset, spot.run))
        };
        let video = (2 << 20) + (64 << 10);
        assert_eq!(seen(0xe000_0000), Some((video, VIDEO_MEMORY)));
        assert_eq!(seen(0x8000_0000), Some((video, VIDEO_MEMORY)));
        assert_eq!(seen(0x7fff_0000), None);
        assert_eq!(seen(0xfe00_0000), Some((video, 0xc0_0000)));
        // In the midst of memory, and where the APICs are.
        assert_eq!(seen(0x10_0000), Some((0x10_0000, 1 << 20)));
        assert_eq!(seen(0xff00_0000), None);
    }

    #[test]
    fn flash_lies_below_the_rom_and_hides_while_it_shows_its_status() {
        let memory = Memory::new(2 << 20).with_flash(64 << 10, 192 << 10).expect("both");
        assert_eq!(memory.flash(), Some((Gpa(0xfffc_0000), 64 << 10)));
        let cell = |n: u64| Some(((2 << 8) + n, false));
        let array = shown([0; 7], 2);
        for (shown, first) in [(array, cell(0)), (Shown { flash: false, ..array }, None)] {
            let ram = ram(&memory, &shown);
            assert_eq!(
                (page(&ram, 0xfffc_0000), page(&ram, 0xfffc_f000)),
                (first, first.and(cell(15)))
            );
            assert_eq!((page(&ram, 0xfffd_0000), page(&ram, 0xffff_f000)), (cell(16), cell(63)));
            assert_eq!((page(&ram, 0xe_0000), page(&ram, 0xf_f000)), (cell(32), cell(63)));
        }
        // Flash alone.
        let memory = Memory::new(2 << 20).with_flash(128 << 10, 0).expect("flash");
        let ram = ram(&memory, &Shown { flash: false, ..array });
        assert_eq!((page(&ram, 0xffff_f000), page(&ram, 0xf_f000)), (None, cell(31)));
        assert!(Memory::new(2 << 20).with_flash(u64::MAX, 64 << 10).is_err());
    }

    #[test]
    fn a_rom_may_end_within_a_segment() {
        let memory = Memory::new(1 << 20).with_rom(72 << 10).expect("a ROM");
        let ram = ram(&memory, &shown([0; 7], 2));
        assert_eq!((page(&ram, 0xe_d000), page(&ram, 0xe_e000)), (None, Some((0x100, false))));
        assert_eq!(page(&ram, 0xf_f000), Some((0x111, false)));
    }

    #[test]
    fn segments_show_memory_one_by_one() {
        let memory = Memory::new(2 << 20).with_rom(128 << 10).expect("a ROM");
        // C0000h is for reads alone, C4000h for writes alone, F0000h for both; SMRAM is open.
        let ram = ram(&memory, &shown([0x30, 0x21, 0, 0, 0, 0, 0], 0x42));
        assert_eq!(page(&ram, 0xc_3000), Some((0xc3, false)));
        assert_eq!((page(&ram, 0xc_4000), page(&ram, 0xc_8000)), (None, None));
        assert_eq!(page(&ram, 0xe_f000), Some(((2 << 8) + 15, false)));
        assert_eq!(page(&ram, 0xf_0000), Some((0xf0, true)));
        assert_eq!(
            (page(&ram, 0xa_0000), page(&ram, 0xb_f000)),
            (Some((0xa0, true)), Some((0xbf, true)))
        );
        assert_eq!(page(&ram, 0xffff_0000), Some(((2 << 8) + 16, false)));
    }

    #[test]
    fn every_setting_makes_a_map() {
        for rom in [64 << 10, 72 << 10, 128 << 10, 256 << 10] {
            let memory = Memory::new(1 << 20).with_rom(rom).expect("a ROM");
            for pam in 0..=0xff {
                for smram in [0x02, 0x42, 0x52] {
                    ram(&memory, &shown([pam; 7], smram));
                }
            }
        }
    }
}
