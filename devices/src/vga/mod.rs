//! The display adapter: an IBM VGA with the Bochs project's linear modes, as a PCI function.
//!
//! Sources: IBM VGA/XGA Technical Reference (1992), section 2, "VGA function"; the FreeVGA project's
//! documents; the VBE display software interface of the Bochs project (`vbe.rs`); QEMU, "QEMU Standard
//! VGA" (docs/specs/standard-vga), for the PCI function and its registers in memory.
//!
//! The video memory is not the chip's own ([`VideoMemory`]): engines map it into the guest, so that
//! the linear frame buffer is as fast as RAM. It is saved with RAM and no part of the chip's state.
//!
//! Nothing here happens by itself. Where the beam is, and with it input status 1 and all blinking, is
//! a pure function of time; the vertical interrupt is not connected, as on most adapters. Whoever
//! wants to see the picture asks for it ([`Display::draw`]).

mod dac;
mod edid;
mod memory;
mod picture;
mod planes;
mod registers;
mod timing;
mod vbe;

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{
    Bar, ConfigSpace, Cx, Device, Display, Identity, LoadError, Mmio, PciFunction, Picture, Ports,
    Rect, Saved, remarks::Remarks,
};
pub use memory::{PAGE as VIDEO_PAGE, PlainMemory, VideoMemory};
use picture::Screen;
pub use picture::{Cell, Text};
use registers::Registers;
use vbe::Dispi;

/// The chip's name.
const NAME: &str = "vga";
/// The least video memory: the planes of a VGA.
const MEMORY_MIN: usize = 256 << 10;
/// The linear frame buffer and the registers, by their BARs.
const BAR_MEMORY: u8 = 0;
const BAR_REGISTERS: u8 = 2;
const REGISTERS_SIZE: u32 = 4096;

/// Where the registers in memory are: the EDID block, ports 3C0h to 3DFh, those of the Bochs
/// interface, and QEMU's own (their size and the byte order of pixels).
mod window {
    pub const PORTS: u64 = 0x400;
    /// 3C0h, counted from 3B0h.
    pub const FIRST_PORT: u16 = 0x10;
    pub const PORTS_END: u64 = 0x420;
    pub const DISPI: u64 = 0x500;
    pub const DISPI_END: u64 = 0x516;
    pub const EXTENDED: u64 = 0x600;
    pub const EXTENDED_LEN: u32 = 8;
    pub const BYTE_ORDER: u64 = 0x604;
    pub const EXTENDED_END: u64 = 0x608;
    pub const LITTLE_ENDIAN: u32 = 0x1e1e_1e1e;
    pub const BIG_ENDIAN: u32 = 0xbebe_bebe;
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    registers: Registers,
    dispi: Dispi,
}

/// The adapter.
///
/// Its ports are 3B0h to 3DFh, counted from 3B0h, and those of the Bochs interface
/// ([`Vga::DISPI_INDEX`]). Its window is the 128 KiB at A0000h. Both answer whatever the command
/// register says: whether it counts for what is no BAR's is up to the board. BAR 0 is the video
/// memory, BAR 2 the registers in memory, and there is an expansion ROM if the board has one for it.
pub struct Vga {
    memory: Box<dyn VideoMemory>,
    edid: [u8; edid::SIZE],
    screen: Screen,
    config: ConfigSpace,
    remarks: Remarks,
    state: State,
}

impl Vga {
    /// Ports of the VGA: 3B0h to 3DFh.
    pub const PORTS: u16 = 0x30;
    /// Register: the index of the Bochs interface (1CEh on a PC), 16 bits wide.
    pub const DISPI_INDEX: u16 = Self::PORTS;
    /// Register: the data of the Bochs interface (1CFh on a PC), 16 bits wide.
    pub const DISPI_DATA: u16 = Self::PORTS + 1;
    /// Bytes of the window at A0000h.
    pub const WINDOW: u64 = 0x2_0000;

    /// An adapter with this video memory and this expansion ROM (none if it is empty), and a monitor
    /// of which the EDID block says that it prefers `width` by `height` dots.
    ///
    /// # Panics
    /// If the video memory's length is no power of two from 256 KiB to 1 GiB, or the ROM is larger
    /// than 16 MiB: the board is built wrongly.
    #[must_use]
    pub fn new(memory: Box<dyn VideoMemory>, rom: &[u8], (width, height): (u16, u16)) -> Self {
        let size = memory.len();
        let is_possible = size.is_power_of_two() && (MEMORY_MIN..=1 << 30).contains(&size);
        assert!(is_possible, "an adapter cannot have {size} bytes of video memory");
        let mut config = ConfigSpace::new(Identity {
            vendor: 0x1234,
            device: 0x1111,
            revision: 2,
            class: 0x03_00_00,
            subsystem_vendor: 0x1af4,
            subsystem: 0x1100,
        });
        let bar = Bar::Memory32 { size: size as u32, prefetchable: true };
        config.add_bar(usize::from(BAR_MEMORY), bar);
        let bar = Bar::Memory32 { size: REGISTERS_SIZE, prefetchable: false };
        config.add_bar(usize::from(BAR_REGISTERS), bar);
        if !rom.is_empty() {
            config.add_rom(rom);
        }
        Self {
            memory,
            edid: edid::block(width, height),
            screen: Screen::default(),
            config,
            remarks: Remarks::new(NAME, 16),
            state: State { registers: Registers::new(), dispi: Dispi::new() },
        }
    }

    /// Reads the byte register at `port`; FFh where there is none.
    fn read_port(&mut self, now: VmTime, port: u16) -> u8 {
        let State { registers, dispi } = &mut self.state;
        registers.read(port, now, dispi.dac_bits()).unwrap_or(0xff)
    }

    fn write_port(&mut self, port: u16, value: u8) {
        let State { registers, dispi } = &mut self.state;
        if !registers.write(port, value, dispi.dac_bits()) {
            self.remarks.say(format_args!("{value:02x} to port 3B0h + {port:x}: nothing there"));
        }
    }

    fn read_dispi(&self, index: u16) -> u16 {
        self.state.dispi.read(index, self.memory.len())
    }

    fn write_dispi(&mut self, index: u16, value: u16) {
        let cleared = self.state.dispi.write(index, value, self.memory.len());
        if cleared > 0 {
            self.memory.clear(0, cleared);
        }
    }

    /// Where in the video memory byte `offset` of the window at A0000h is, if a linear mode's bank
    /// is there.
    fn banked(&self, offset: u64) -> Option<usize> {
        let bank = self.state.dispi.bank().filter(|_| self.state.dispi.is_packed())?;
        (offset < 0x1_0000).then_some((bank as usize) << 16 | offset as usize)
    }

    /// A byte of the registers in memory.
    fn read_register(&mut self, now: VmTime, offset: u64) -> u8 {
        match offset {
            window::PORTS..window::PORTS_END => {
                self.read_port(now, window::FIRST_PORT + (offset - window::PORTS) as u16)
            }
            window::DISPI..window::DISPI_END => {
                let value = self.read_dispi((offset - window::DISPI) as u16 / 2);
                value.to_le_bytes()[(offset & 1) as usize]
            }
            window::EXTENDED..window::BYTE_ORDER => {
                window::EXTENDED_LEN.to_le_bytes()[(offset & 3) as usize]
            }
            window::BYTE_ORDER..window::EXTENDED_END => {
                let is_big = self.state.dispi.is_big_endian;
                let order = if is_big { window::BIG_ENDIAN } else { window::LITTLE_ENDIAN };
                order.to_le_bytes()[(offset & 3) as usize]
            }
            ..window::PORTS => self.edid.get(offset as usize).copied().unwrap_or(0),
            _ => 0xff,
        }
    }

    fn write_register(&mut self, offset: u64, data: &[u8]) {
        match (offset, data) {
            (window::PORTS..window::PORTS_END, _) => {
                let port = window::FIRST_PORT + (offset - window::PORTS) as u16;
                for (port, value) in (port..Self::PORTS).zip(data) {
                    self.write_port(port, *value);
                }
            }
            (window::DISPI..window::DISPI_END, [low, high]) if offset & 1 == 0 => {
                let index = (offset - window::DISPI) as u16 / 2;
                self.write_dispi(index, u16::from_le_bytes([*low, *high]));
            }
            (window::BYTE_ORDER, [a, b, c, d]) => {
                self.state.dispi.is_big_endian = match u32::from_le_bytes([*a, *b, *c, *d]) {
                    window::BIG_ENDIAN => true,
                    window::LITTLE_ENDIAN => false,
                    _ => self.state.dispi.is_big_endian,
                };
            }
            _ => self.remarks.say(format_args!("{data:02x?} to register {offset:03x}")),
        }
    }
}

impl Device for Vga {
    fn name(&self) -> &'static str {
        NAME
    }

    /// The video memory keeps what is in it, as RAM does.
    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.config.reset();
        self.state = State { registers: Registers::new(), dispi: Dispi::new() };
    }

    fn save(&self) -> Saved {
        Saved::pack(NAME, &(self.config.registers(), &self.state))
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let (config, state): (Vec<u8>, State) = saved.unpack(NAME)?;
        let damaged = |reason: &str| LoadError::Damaged { device: NAME, reason: reason.to_owned() };
        if !state.registers.is_valid() || !state.dispi.is_valid(self.memory.len()) {
            return Err(damaged("a register has a value that it cannot have"));
        }
        if !self.config.load_registers(&config) {
            return Err(damaged("these are not the registers of its configuration space"));
        }
        self.state = state;
        self.screen.forget();
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }

    fn as_display(&mut self) -> Option<&mut dyn Display> {
        Some(self)
    }
}

impl Display for Vga {
    fn draw(&mut self, now: VmTime) -> Vec<Rect> {
        self.screen.draw(&self.state, &mut *self.memory, now)
    }

    fn picture(&self) -> &Picture {
        self.screen.picture()
    }

    fn text(&self) -> Option<Text> {
        Text::of(&self.state, &*self.memory)
    }
}

impl Ports for Vga {
    /// A wide access is one to each of the ports in turn, as the bus makes of it for a card of
    /// 8 bits, except with the Bochs interface, which is 16 bits wide.
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        if reg < Self::PORTS {
            for (port, byte) in (reg..Self::PORTS).zip(data) {
                *byte = self.read_port(cx.now, port);
            }
            return;
        }
        let value = match reg {
            Self::DISPI_INDEX => self.state.dispi.index,
            Self::DISPI_DATA => self.read_dispi(self.state.dispi.index),
            _ => return,
        };
        for (byte, value) in data.iter_mut().zip(value.to_le_bytes()) {
            *byte = value;
        }
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        match (reg, data) {
            (..Self::PORTS, _) => {
                for (port, value) in (reg..Self::PORTS).zip(data) {
                    self.write_port(port, *value);
                }
            }
            (Self::DISPI_INDEX, [low, high, ..]) => {
                self.state.dispi.index = u16::from_le_bytes([*low, *high]);
            }
            (Self::DISPI_DATA, [low, high, ..]) => {
                self.write_dispi(self.state.dispi.index, u16::from_le_bytes([*low, *high]));
            }
            _ => self.remarks.say(format_args!("{data:02x?} to register {reg:x}")),
        }
    }
}

/// The window at A0000h.
impl Mmio for Vga {
    fn mmio_read(&mut self, _cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        if let Some(at) = self.banked(offset) {
            self.memory.load(at, data);
            return;
        }
        let State { registers, dispi } = &mut self.state;
        let bank = dispi.bank().map(|bank| bank << 16);
        for (at, byte) in (offset..Self::WINDOW).zip(data) {
            if let Some(value) = registers.load(&*self.memory, at as u32, bank) {
                *byte = value;
            }
        }
    }

    fn mmio_write(&mut self, _cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        if let Some(at) = self.banked(offset) {
            self.memory.store(at, data);
            return;
        }
        let State { registers, dispi } = &mut self.state;
        let bank = dispi.bank().map(|bank| bank << 16);
        for (at, value) in (offset..Self::WINDOW).zip(data) {
            registers.store(&mut *self.memory, at as u32, bank, *value);
        }
    }
}

impl PciFunction for Vga {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn bar_read(&mut self, cx: &mut Cx<'_>, bar: u8, offset: u64, data: &mut [u8]) {
        match bar {
            BAR_MEMORY => self.memory.load(usize::try_from(offset).unwrap_or(usize::MAX), data),
            BAR_REGISTERS => {
                for (at, byte) in (offset..).zip(data) {
                    *byte = self.read_register(cx.now, at);
                }
            }
            _ => {}
        }
    }

    fn bar_write(&mut self, _cx: &mut Cx<'_>, bar: u8, offset: u64, data: &[u8]) {
        match bar {
            BAR_MEMORY => self.memory.store(usize::try_from(offset).unwrap_or(usize::MAX), data),
            BAR_REGISTERS => self.write_register(offset, data),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
