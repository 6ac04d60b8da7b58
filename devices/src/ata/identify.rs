//! What drives say of themselves: the data of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE
//! (ATA/ATAPI-6, sections 8.15 and 8.16), and of SMART.

use super::{
    QUEUE_DEPTH, SECTOR, cd,
    disk::{MULTIPLE_MAX, State, TRIM_BLOCKS_MAX},
};
use crate::Disk;

/// Transfer modes of SET FEATURES: Multiword DMA.
pub(super) const MULTIWORD_DMA: u8 = 0x20;
/// Transfer modes of SET FEATURES: Ultra DMA.
const ULTRA_DMA: u8 = 0x40;
/// Multiword DMA modes 0 to 2.
const MULTIWORD_MODES: u16 = 0x07;
/// Ultra DMA modes 0 to 5.
const ULTRA_MODES: u16 = 0x3f;
/// The revision of the drives' own firmware, as they say.
const FIRMWARE: &str = "1.0";
/// ATA-1 to ATA8-ACS.
const MAJOR_VERSIONS: u16 = 0x01fe;

/// The most cylinders that a disk claims (section 6.2).
const CYLINDERS_MAX: u64 = 16_383;
/// Attribute 9, power-on hours; 194, temperature: the least that tools look for.
const ATTRIBUTES: [[u8; 12]; 2] =
    [[9, 0x32, 0, 100, 100, 0, 0, 0, 0, 0, 0, 0], [194, 0x22, 0, 100, 100, 30, 0, 0, 0, 0, 0, 0]];

/// Whether SET FEATURES can choose `mode`: PIO by default and up to mode 4, the DMA modes.
pub(super) fn is_transfer_mode(mode: u8) -> bool {
    let number = mode & 7;
    match mode & !7 {
        0x00 => number <= 1,
        0x08 => number <= 4,
        MULTIWORD_DMA => MULTIWORD_MODES & 1 << number != 0,
        ULTRA_DMA => ULTRA_MODES & 1 << number != 0,
        _ => false,
    }
}

/// 256 words.
struct Words([u16; SECTOR / 2]);

impl Words {
    fn set(&mut self, first: usize, values: &[u16]) {
        for (word, value) in self.0.iter_mut().skip(first).zip(values) {
            *word = *value;
        }
    }

    /// A number of several words, the lowest first.
    fn set_wide(&mut self, first: usize, value: u64, words: usize) {
        let values: [u16; 4] = std::array::from_fn(|n| (value >> (16 * n)) as u16);
        self.set(first, &values[..words.min(4)]);
    }

    /// Text: the first character of each pair in the upper byte, spaces behind it.
    fn set_text(&mut self, first: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
        let mut next = || bytes.next().unwrap_or(b' ');
        for word in self.0.iter_mut().skip(first).take(words) {
            *word = u16::from_be_bytes([next(), next()]);
        }
    }

    /// Words 63 and 88: the DMA modes, and which one is chosen.
    fn set_dma_modes(&mut self, mode: u8) {
        let chosen = |kind: u8| if mode & !7 == kind { 1 << (8 + (mode & 7)) } else { 0 };
        self.set(63, &[MULTIWORD_MODES | chosen(MULTIWORD_DMA)]);
        self.set(88, &[ULTRA_MODES | chosen(ULTRA_DMA)]);
    }

    /// Serial ATA of the first and second generation; no cable to detect.
    fn set_serial(&mut self) {
        self.set(76, &[0x0006]);
        self.set(93, &[0]);
    }

    /// The data, which sum up to zero with a checksum in the last byte (word 255).
    fn finish(mut self) -> Vec<u8> {
        self.0[255] = 0x00a5;
        let mut data: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        sum_to_zero(&mut data);
        data
    }
}

/// Makes the last byte such that all of them sum up to zero.
fn sum_to_zero(data: &mut [u8]) {
    let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(last) = data.last_mut() {
        *last = last.wrapping_sub(sum);
    }
}

/// IDENTIFY DEVICE of a hard disk.
pub(super) fn disk(disk: &dyn Disk, state: &State, is_serial: bool) -> Vec<u8> {
    let sectors = disk.len() / SECTOR as u64;
    let short = sectors.min((1 << 28) - 1);
    let cylinders = (short / (16 * 63)).clamp(1, CYLINDERS_MAX);
    let current = (short / state.geometry.cylinder().max(1)).clamp(1, CYLINDERS_MAX);
    let translated = (current * state.geometry.cylinder()).min(short);
    let [heads, track] = [state.geometry.heads, state.geometry.sectors].map(u16::from);
    let mut w = Words([0; SECTOR / 2]);
    // A fixed drive, and its translation after power-on.
    w.set(0, &[0x0040, cylinders as u16, 0, 16, 0, 0, 63]);
    w.set_text(10, 10, disk.serial());
    // A dual-ported buffer with look-ahead of 256 sectors, 4 bytes of ECC.
    w.set(20, &[3, 256, 4]);
    w.set_text(23, 4, FIRMWARE);
    w.set_text(27, 20, "TRINE HARDDISK");
    // READ MULTIPLE, 32-bit words, IORDY, LBA and DMA.
    w.set(47, &[0x8000 | u16::from(MULTIPLE_MAX), 1, 0x0f00, 0x4000, 0x0200, 0x0200, 0x0007]);
    w.set(54, &[current as u16, heads, track]);
    w.set_wide(57, translated, 2);
    w.set(59, &[0x0100 | u16::from(state.multiple)]);
    w.set_wide(60, short, 2);
    w.set_dma_modes(state.transfer_mode);
    // PIO modes 3 and 4, cycles of 120 ns.
    w.set(64, &[3, 120, 120, 120, 120]);
    w.set(80, &[MAJOR_VERSIONS, 0]);
    // NOP, READ and WRITE BUFFER, look-ahead, write cache, power management, SMART; FLUSH CACHE in
    // both widths, 48-bit addresses; FUA.
    let features = [0x7069, 0x7400, 0x4040];
    w.set(82, &features);
    let on = [(state.look_ahead, 1 << 6), (state.write_cache, 1 << 5), (state.smart, 1 << 0)];
    let off = on.iter().filter(|(is_on, _)| !is_on).fold(0, |bits, (_, bit)| bits | bit);
    w.set(85, &[features[0] & !off, features[1] & !0x4000, features[2]]);
    // Device 0, found by jumper; an 80-conductor cable.
    w.set(93, &[0x600b]);
    w.set_wide(100, sectors.min((1 << 48) - 1), 4);
    w.set(106, &[0x4000]);
    // It does not rotate.
    w.set(217, &[1]);
    if is_serial {
        w.set_serial();
        // A queue, and logs to read what has failed in it.
        w.set(75, &[QUEUE_DEPTH as u16 - 1, 0x0106]);
        w.set(84, &[features[2] | 1 << 5]);
        w.set(87, &[features[2] | 1 << 5]);
    }
    if !disk.is_read_only() {
        w.set(105, &[TRIM_BLOCKS_MAX as u16]);
        w.set(169, &[1]);
    }
    w.finish()
}

/// IDENTIFY PACKET DEVICE of a CD drive.
pub(super) fn cd(state: &cd::State, is_serial: bool) -> Vec<u8> {
    let mut w = Words([0; SECTOR / 2]);
    // A removable CD drive that sets DRQ within 50 us of PACKET; packets of 12 bytes.
    w.set(0, &[0x85c0]);
    w.set_text(10, 10, "CD");
    w.set(20, &[3, 512, 4]);
    w.set_text(23, 4, FIRMWARE);
    w.set_text(27, 20, "TRINE CD-ROM");
    w.set(48, &[1, 0x0f00, 0x4000, 0x0200, 0x0200, 0x0006]);
    w.set_dma_modes(state.transfer_mode);
    w.set(64, &[3, 120, 120, 120, 120]);
    w.set(80, &[0x01f0, 0]);
    // NOP, DEVICE RESET, PACKET.
    w.set(82, &[0x4210, 0x4000, 0x4000, 0x4210, 0, 0x4000]);
    w.set(93, &[0x600b]);
    if is_serial {
        w.set_serial();
    }
    w.finish()
}

/// The General Purpose Log directory: one page about the queue.
pub(super) fn log_directory() -> Vec<u8> {
    let mut log = vec![0; SECTOR];
    log[0] = 1;
    log[2 * 0x10] = 1;
    log
}

/// SMART READ DATA: nothing is wrong, nothing is being tested.
pub(super) fn smart_data() -> Vec<u8> {
    let mut data = vec![0; SECTOR];
    data[0] = 1;
    for (place, attribute) in data[2..].chunks_mut(12).zip(ATTRIBUTES) {
        place.copy_from_slice(&attribute);
    }
    // Data are collected by themselves; off-line collection never started.
    data[368..370].copy_from_slice(&[0x03, 0x00]);
    sum_to_zero(&mut data);
    data
}

/// SMART READ THRESHOLDS: none is ever exceeded.
pub(super) fn smart_thresholds() -> Vec<u8> {
    let mut data = vec![0; SECTOR];
    data[0] = 1;
    for (place, attribute) in data[2..].chunks_mut(12).zip(ATTRIBUTES) {
        place[0] = attribute[0];
    }
    sum_to_zero(&mut data);
    data
}
