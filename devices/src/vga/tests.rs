//! The adapter as firmware, drivers and games program it, against the manual.

mod hostile;
mod linear;
mod modes;
mod pictures;
mod planes;
mod registers;
mod screens;

use super::{PlainMemory, Vga};
use crate::{Bench, Cx, Display, Mmio, PciFunction, Ports, Rect};
use modes::Standard;

/// Bytes of video memory.
const MEMORY: usize = 4 << 20;

/// An adapter on the bench.
struct Card {
    bench: Bench,
    vga: Vga,
}

impl Card {
    fn new() -> Self {
        let memory = Box::new(PlainMemory::new(MEMORY));
        Self { bench: Bench::new(), vga: Vga::new(memory, &[0x55, 0xaa, 1], (1280, 800)) }
    }

    /// An adapter in a mode of the BIOS.
    fn in_mode(mode: &Standard) -> Self {
        let mut card = Self::new();
        card.set_mode(mode);
        card
    }

    fn with<R>(&mut self, f: impl FnOnce(&mut Vga, &mut Cx<'_>) -> R) -> R {
        let Self { bench, vga } = self;
        bench.with(|cx| f(vga, cx))
    }

    fn out(&mut self, port: u16, value: u8) {
        self.with(|vga, cx| vga.port_out(cx, port - 0x3b0, &[value]));
    }

    fn read(&mut self, port: u16) -> u8 {
        let mut data = [0xff];
        self.with(|vga, cx| vga.port_in(cx, port - 0x3b0, &mut data));
        data[0]
    }

    /// Writes register `index` of the chip part whose index register is at `port`, as drivers do:
    /// with one access of 16 bits.
    fn set(&mut self, port: u16, index: u8, value: u8) {
        self.with(|vga, cx| vga.port_out(cx, port - 0x3b0, &[index, value]));
    }

    fn get(&mut self, port: u16, index: u8) -> u8 {
        self.out(port, index);
        self.read(port + 1)
    }

    fn set_attribute(&mut self, index: u8, value: u8) {
        self.read(0x3da);
        self.read(0x3ba);
        self.out(0x3c0, index);
        self.out(0x3c0, value);
        self.out(0x3c0, 0x20);
    }

    /// Writes to the window at A0000h.
    fn store(&mut self, address: u64, data: &[u8]) {
        self.with(|vga, cx| vga.mmio_write(cx, address - 0xa_0000, data));
    }

    fn load(&mut self, address: u64) -> u8 {
        let mut data = [0xff];
        self.with(|vga, cx| vga.mmio_read(cx, address - 0xa_0000, &mut data));
        data[0]
    }

    fn set_dispi(&mut self, index: u16, value: u16) {
        self.with(|vga, cx| vga.port_out(cx, Vga::DISPI_INDEX, &index.to_le_bytes()));
        self.with(|vga, cx| vga.port_out(cx, Vga::DISPI_DATA, &value.to_le_bytes()));
    }

    fn dispi(&mut self, index: u16) -> u16 {
        self.with(|vga, cx| vga.port_out(cx, Vga::DISPI_INDEX, &index.to_le_bytes()));
        let mut data = [0xff; 2];
        self.with(|vga, cx| vga.port_in(cx, Vga::DISPI_DATA, &mut data));
        u16::from_le_bytes(data)
    }

    fn bar_load<const N: usize>(&mut self, bar: u8, offset: u64) -> [u8; N] {
        let mut data = [0xff; N];
        self.with(|vga, cx| vga.bar_read(cx, bar, offset, &mut data));
        data
    }

    fn bar_store(&mut self, bar: u8, offset: u64, data: &[u8]) {
        self.with(|vga, cx| vga.bar_write(cx, bar, offset, data));
    }

    fn draw(&mut self) -> Vec<Rect> {
        self.vga.draw(self.bench.now)
    }

    /// The dot at `x`, `y` of a picture drawn now.
    fn dot(&mut self, x: usize, y: usize) -> u32 {
        self.draw();
        self.vga.picture().line(y)[x]
    }

    fn size(&mut self) -> (usize, usize) {
        self.draw();
        (self.vga.picture().width(), self.vga.picture().height())
    }

    /// Programs a mode as a BIOS does, with color `n` of the DAC as [`color`] has it.
    fn set_mode(&mut self, mode: &Standard) {
        self.out(0x3c2, mode.misc);
        for (index, value) in (0..).zip(mode.sequencer) {
            self.set(0x3c4, index, value);
        }
        let crtc = if mode.misc & 1 != 0 { 0x3d4 } else { 0x3b4 };
        self.set(crtc, 0x11, 0);
        for (index, value) in (0..).zip(mode.crtc) {
            self.set(crtc, index, value);
        }
        for (index, value) in (0..).zip(mode.graphics) {
            self.set(0x3ce, index, value);
        }
        self.read(0x3da);
        self.read(0x3ba);
        for (index, value) in (0..).zip(mode.attribute) {
            self.out(0x3c0, index);
            self.out(0x3c0, value);
        }
        self.out(0x3c0, 0x20);
        self.out(0x3c6, 0xff);
        self.out(0x3c8, 0);
        for n in 0..=255_u8 {
            for component in [n & 63, n >> 2, 63 - (n & 63)] {
                self.out(0x3c9, component);
            }
        }
    }
}

/// What color `n` of [`Card::set_mode`] looks like.
fn color(n: u8) -> u32 {
    let part = |value: u8| u32::from(value << 2 | value >> 4);
    part(n & 63) << 16 | part(n >> 2) << 8 | part(63 - (n & 63))
}
