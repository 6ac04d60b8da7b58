//! QEMU's firmware configuration device: items that a firmware or a guest reads by number.
//!
//! Source: QEMU's `docs/specs/fw_cfg.rst`: a 16-bit selector, an 8-bit data port that steps through
//! the selected item, and a DMA interface whose 64-bit register is big endian.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trine_guest::Gpa;

use crate::{Cx, Device, LoadError, Ports, Saved, remarks::Remarks};

/// The chip's name.
const NAME: &str = "fw-cfg";

/// Files have the items from here on.
const FILE_FIRST: u16 = 0x20;
/// The most files.
const FILES_MAX: usize = 0x100;
/// A directory entry: size, item and two reserved bytes, then the name with zeros behind it.
const NAME_LEN: usize = 56;

/// Bits of an item's number that choose nothing here: written items, and architecture's own.
const WRITE_CHANNEL: u16 = 1 << 14;

/// Item ID: the traditional interface, and DMA.
const ID: u32 = 0b11;
/// What the DMA register reads.
const DMA_SIGNATURE: u64 = u64::from_be_bytes(*b"QEMU CFG");

/// DMA control: an error, read, skip, select, write; the item is in the upper half.
const DMA_ERROR: u32 = 1 << 0;
const DMA_READ: u32 = 1 << 1;
const DMA_SKIP: u32 = 1 << 2;
const DMA_SELECT: u32 = 1 << 3;
const DMA_WRITE: u32 = 1 << 4;

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct State {
    /// The selected item.
    item: u16,
    /// The next byte of it.
    offset: u32,
    /// The upper half of the DMA address, until the lower one starts the transfer.
    dma_high: u32,
}

/// The device. Its items are the board's configuration and no part of the state.
pub struct FwCfg {
    items: BTreeMap<u16, Vec<u8>>,
    /// Names and items, in the order of the directory.
    files: Vec<(String, u16)>,
    remarks: Remarks,
    state: State,
}

impl FwCfg {
    /// Register: the selector, 16 bits wide.
    pub const SELECTOR: u16 = 0;
    /// Register: the next byte of the selected item.
    pub const DATA: u16 = 1;
    /// Register: the DMA address, big endian, in two halves of 32 bits.
    pub const DMA: u16 = 4;

    /// Item: the bytes "QEMU".
    pub const SIGNATURE: u16 = 0x00;
    /// Item: which interfaces there are.
    pub const INTERFACES: u16 = 0x01;
    /// Item: bytes of RAM, 64 bits.
    pub const RAM_SIZE: u16 = 0x03;
    /// Item: whether there is no display, 16 bits.
    pub const NO_GRAPHICS: u16 = 0x04;
    /// Item: how many CPUs there are, 16 bits.
    pub const CPUS: u16 = 0x05;
    /// Item: the most CPUs, or the end of APIC IDs, 16 bits.
    pub const CPUS_MAX: u16 = 0x0f;
    /// Item: the directory of files.
    pub const DIRECTORY: u16 = 0x19;

    /// A device with nothing but what every one has.
    #[must_use]
    pub fn new() -> Self {
        let mut device = Self {
            items: BTreeMap::new(),
            files: Vec::new(),
            remarks: Remarks::new(NAME, 16),
            state: State::default(),
        };
        device.set(Self::SIGNATURE, b"QEMU".to_vec());
        device.set(Self::INTERFACES, ID.to_le_bytes().to_vec());
        device.write_directory();
        device
    }

    /// Gives an item its value, little endian where it is a number.
    pub fn set(&mut self, item: u16, value: Vec<u8>) {
        self.items.insert(item, value);
    }

    /// Adds a file, or replaces the one of this name; false if there is no room in the directory,
    /// or the name is too long for it.
    pub fn set_file(&mut self, name: &str, value: Vec<u8>) -> bool {
        if name.len() >= NAME_LEN || u32::try_from(value.len()).is_err() {
            return false;
        }
        let item = match self.files.iter().find(|(known, _)| known == name) {
            Some((_, item)) => *item,
            None if self.files.len() < FILES_MAX => {
                let item = FILE_FIRST + self.files.len() as u16;
                self.files.push((name.to_owned(), item));
                item
            }
            None => return false,
        };
        self.set(item, value);
        self.write_directory();
        true
    }

    /// The directory: how many files, then an entry for each, all big endian.
    fn write_directory(&mut self) {
        let mut directory = (self.files.len() as u32).to_be_bytes().to_vec();
        for (name, item) in &self.files {
            let len = self.items.get(item).map_or(0, Vec::len) as u32;
            let mut padded = [0; NAME_LEN];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            directory.extend(len.to_be_bytes());
            directory.extend(item.to_be_bytes());
            directory.extend([0; 2]);
            directory.extend(padded);
        }
        self.set(Self::DIRECTORY, directory);
    }

    fn select(&mut self, item: u16) {
        self.state.item = item & !WRITE_CHANNEL;
        self.state.offset = 0;
        if !self.items.contains_key(&self.state.item) {
            self.remarks.say(format_args!("there is no item {item:#x}"));
        }
    }

    /// What is left of the selected item.
    fn rest(&self) -> &[u8] {
        let item = self.items.get(&self.state.item);
        item.and_then(|item| item.get(self.state.offset as usize..)).unwrap_or_default()
    }

    /// The next byte; zeros behind the end.
    fn next_byte(&mut self) -> u8 {
        let byte = self.rest().first().copied();
        self.state.offset = self.state.offset.saturating_add(u32::from(byte.is_some()));
        byte.unwrap_or(0)
    }

    /// Does what the control block at `at` says, and tells it so.
    fn dma(&mut self, cx: &mut Cx<'_>, at: Gpa) {
        let mut block = [0; 16];
        if cx.ram.read(at, &mut block).is_err() {
            self.remarks.say(format_args!("no DMA control block at {:#x}: no RAM", at.0));
            return;
        }
        let [control, len, high, low] =
            std::array::from_fn(|n| word_be(block.get(4 * n..).unwrap_or_default()));
        if control & DMA_SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        let data_at = Gpa(u64::from(high) << 32 | u64::from(low));
        let done = if control & DMA_READ != 0 {
            self.dma_read(cx, data_at, len)
        } else if control & DMA_WRITE != 0 {
            // No item can be written.
            false
        } else {
            if control & DMA_SKIP != 0 {
                self.state.offset = self.state.offset.saturating_add(len);
            }
            true
        };
        let result = if done { 0 } else { DMA_ERROR };
        if cx.ram.write(at, &result.to_be_bytes()).is_err() {
            self.remarks.say(format_args!("no result at {:#x}", at.0));
        }
    }

    /// The next `len` bytes, zeros behind the end, to RAM; false if that is not RAM.
    fn dma_read(&mut self, cx: &mut Cx<'_>, at: Gpa, len: u32) -> bool {
        const ZEROS: [u8; 4096] = [0; 4096];
        let rest = self.rest();
        let copied = rest.len().min(len as usize);
        if cx.ram.write(at, &rest[..copied]).is_err() {
            return false;
        }
        let (mut at, mut left) = (at.0.wrapping_add(copied as u64), len as usize - copied);
        self.state.offset = self.state.offset.saturating_add(copied as u32);
        while left > 0 {
            let now = left.min(ZEROS.len());
            if cx.ram.write(Gpa(at), &ZEROS[..now]).is_err() {
                return false;
            }
            at = at.wrapping_add(now as u64);
            left -= now;
        }
        true
    }
}

fn word_be(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_be_bytes)
}

impl Default for FwCfg {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for FwCfg {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state = State::default();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        self.state = saved.unpack(self.name())?;
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }
}

impl Ports for FwCfg {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        match reg {
            Self::DATA => data.fill_with(|| self.next_byte()),
            Self::SELECTOR => data.fill(0),
            _ => {
                let bytes = DMA_SIGNATURE.to_be_bytes();
                for (n, byte) in data.iter_mut().enumerate() {
                    let at = usize::from(reg.wrapping_sub(Self::DMA)) + n;
                    *byte = bytes.get(at).copied().unwrap_or(0);
                }
            }
        }
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        match (reg, data) {
            (Self::SELECTOR, [low, high]) => self.select(u16::from_le_bytes([*low, *high])),
            (Self::DMA, [_, _, _, _]) => self.state.dma_high = word_be(data),
            (reg, [_, _, _, _]) if reg == Self::DMA + 4 => {
                let high = std::mem::take(&mut self.state.dma_high);
                self.dma(cx, Gpa(u64::from(high) << 32 | u64::from(word_be(data))));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bench;

    fn select(bench: &mut Bench, device: &mut FwCfg, item: u16) {
        bench.with(|cx| device.port_out(cx, FwCfg::SELECTOR, &item.to_le_bytes()));
    }

    fn read<const N: usize>(bench: &mut Bench, device: &mut FwCfg) -> [u8; N] {
        std::array::from_fn(|_| bench.port_in::<1>(device, FwCfg::DATA)[0])
    }

    /// Runs a control block at 1000h.
    fn dma(bench: &mut Bench, device: &mut FwCfg, control: u32, len: u32, to: u64) -> u32 {
        let mut block = Vec::new();
        block.extend(control.to_be_bytes());
        block.extend(len.to_be_bytes());
        block.extend(to.to_be_bytes());
        bench.ram.write(Gpa(0x1000), &block).unwrap();
        bench.with(|cx| device.port_out(cx, FwCfg::DMA, &[0; 4]));
        bench.with(|cx| device.port_out(cx, FwCfg::DMA + 4, &0x1000_u32.to_be_bytes()));
        let mut result = [0; 4];
        bench.ram.read(Gpa(0x1000), &mut result).unwrap();
        u32::from_be_bytes(result)
    }

    #[test]
    fn items_are_read_byte_by_byte_with_zeros_behind_them() {
        let mut bench = Bench::new();
        let mut device = FwCfg::new();
        device.set(FwCfg::CPUS, 3_u16.to_le_bytes().to_vec());
        assert_eq!(read(&mut bench, &mut device), *b"QEMU\0");
        select(&mut bench, &mut device, FwCfg::CPUS);
        assert_eq!(read(&mut bench, &mut device), [3, 0, 0]);
        select(&mut bench, &mut device, 0x1234);
        assert_eq!(read(&mut bench, &mut device), [0; 3]);
        select(&mut bench, &mut device, FwCfg::SIGNATURE);
        let saved = device.save();
        assert_eq!(read(&mut bench, &mut device), *b"QE");
        device.load(&saved).unwrap();
        assert_eq!(read(&mut bench, &mut device), *b"QE");
    }

    #[test]
    fn the_directory_lists_files() {
        let mut bench = Bench::new();
        let mut device = FwCfg::new();
        assert!(device.set_file("etc/a", vec![1, 2, 3]) && device.set_file("etc/b", vec![4]));
        assert!(device.set_file("etc/a", vec![5, 6]));
        assert!(!device.set_file(&"x".repeat(56), vec![]));
        select(&mut bench, &mut device, FwCfg::DIRECTORY);
        let head: [u8; 17] = read(&mut bench, &mut device);
        assert_eq!(&head[..12], [0, 0, 0, 2, 0, 0, 0, 2, 0, 0x20, 0, 0]);
        assert_eq!(&head[12..], b"etc/a");
        select(&mut bench, &mut device, 0x20);
        assert_eq!(read(&mut bench, &mut device), [5, 6, 0]);
    }

    #[test]
    fn dma_selects_skips_and_reads() {
        let mut bench = Bench::new();
        let mut device = FwCfg::new();
        assert_eq!(bench.port_in::<4>(&mut device, FwCfg::DMA), *b"QEMU");
        assert_eq!(bench.port_in::<4>(&mut device, FwCfg::DMA + 4), *b" CFG");
        assert_eq!(dma(&mut bench, &mut device, DMA_SELECT | DMA_SKIP, 1, 0), 0);
        bench.ram.write(Gpa(0x2000), &[0xff; 8]).unwrap();
        assert_eq!(dma(&mut bench, &mut device, DMA_READ, 5, 0x2000), 0);
        let mut data = [0; 8];
        bench.ram.read(Gpa(0x2000), &mut data).unwrap();
        assert_eq!(&data, b"EMU\0\0\xff\xff\xff");
        // To where there is no RAM, and into an item.
        assert_eq!(dma(&mut bench, &mut device, DMA_SELECT | DMA_READ, 4, 1 << 40), DMA_ERROR);
        assert_eq!(dma(&mut bench, &mut device, DMA_READ, u32::MAX, 0x2000), DMA_ERROR);
        assert_eq!(dma(&mut bench, &mut device, DMA_WRITE, 4, 0x2000), DMA_ERROR);
        bench.with(|cx| device.port_out(cx, FwCfg::DMA, &[0xff; 4]));
        bench.with(|cx| device.port_out(cx, FwCfg::DMA + 4, &[0xff; 4]));
    }
}
