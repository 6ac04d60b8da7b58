//! The Bochs interface as SeaBIOS's VGA BIOS and Linux's bochs-drm program it, and the function on
//! its PCI bus.

use super::{
    Card, MEMORY, color,
    modes::{MODE_3, MODE_12, MODE_13},
};
use crate::{Bar, ConfigSpace, Device, Display, PciFunction, PlainMemory, Rect, Space, Vga};

const ID: u16 = 0;
const WIDTH: u16 = 1;
const HEIGHT: u16 = 2;
const BITS: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRTUAL_WIDTH: u16 = 6;
const VIRTUAL_HEIGHT: u16 = 7;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY_64K: u16 = 10;
const LINEAR: u16 = 0x41;

impl Card {
    fn in_linear_mode(width: u16, height: u16, bits: u16) -> Self {
        let mut card = Self::in_mode(&MODE_13);
        for (index, value) in
            [(ENABLE, 0), (WIDTH, width), (HEIGHT, height), (BITS, bits), (ENABLE, LINEAR)]
        {
            card.set_dispi(index, value);
        }
        card
    }
}

#[test]
fn seabios_finds_the_interface_and_its_memory() {
    let mut card = Card::new();
    card.set_dispi(ID, 0xb0c0);
    assert_eq!(card.dispi(ID), 0xb0c0);
    card.set_dispi(ID, 0xb0c6);
    assert_eq!(card.dispi(ID), 0xb0c0, "no such version");
    card.set_dispi(ID, 0xb0c5);
    assert_eq!((card.dispi(ID), card.dispi(MEMORY_64K)), (0xb0c5, 64));
    card.set_dispi(ENABLE, 2);
    assert_eq!([WIDTH, HEIGHT, BITS].map(|n| card.dispi(n)), [4096, 4096, 32]);
    card.set_dispi(ENABLE, 0);
    assert_eq!([WIDTH, HEIGHT, BITS].map(|n| card.dispi(n)), [0, 0, 8]);
    assert_eq!((card.dispi(11), card.dispi(0xffff)), (0, 0));
}

#[test]
fn every_depth_has_its_colors() {
    // Of 15 bits: 10000, 11010, 00001; of 16: 10000, 100001, 00001.
    for (bits, bytes, wanted) in [
        (8, vec![0xc3], color(0xc3)),
        (15, vec![0x41, 0x43], 0x0084_d608),
        (16, vec![0x21, 0x84], 0x0084_8608),
        (24, vec![0x11, 0x22, 0x33], 0x0033_2211),
        (32, vec![0x11, 0x22, 0x33, 0x44], 0x0033_2211),
    ] {
        let mut card = Card::in_linear_mode(800, 600, bits);
        assert_eq!(card.size(), (800, 600));
        let pitch = 800 * bytes.len() as u64;
        card.bar_store(0, 599 * pitch + 799 * bytes.len() as u64, &bytes);
        let black = if bits == 8 { color(0) } else { 0 };
        assert_eq!([798, 799].map(|x| card.dot(x, 599)), [black, wanted], "{bits}");
    }
}

#[test]
fn four_bits_are_planes_beyond_a_vgas() {
    let mut card = Card::in_mode(&MODE_12);
    for (index, value) in [(WIDTH, 1024), (HEIGHT, 768), (BITS, 4), (ENABLE, LINEAR)] {
        card.set_dispi(index, value);
    }
    assert_eq!(card.size(), (1024, 768));
    // The last byte of the last line is 98303 bytes into the planes: in bank 1.
    card.set_dispi(BANK, 1);
    card.set(0x3c4, 2, 0x0e);
    card.store(0xa_0000 + 98303 - 0x1_0000, &[0x03]);
    let lit = color(MODE_12.attribute[14]);
    assert_eq!([1021, 1022, 1023].map(|x| card.dot(x, 767)), [color(0), lit, lit]);
    // Offsets go by pixels.
    card.set_dispi(VIRTUAL_WIDTH, 2048);
    card.set_dispi(BANK, 0);
    card.store(0xa_0001, &[0x80]);
    card.set_dispi(X_OFFSET, 3);
    assert_eq!((card.dot(5, 0), card.dot(8, 0)), (lit, color(0)));
}

#[test]
fn banks_show_the_memory_at_a0000() {
    let mut card = Card::in_linear_mode(640, 480, 8);
    card.set_dispi(BANK, 4);
    card.store(0xa_0010, &[1, 2, 3, 4]);
    assert_eq!(card.bar_load(0, 4 * 0x1_0000 + 0x10), [1, 2, 3, 4]);
    assert_eq!(card.load(0xa_0013), 4);
    card.set_dispi(BANK, 64);
    assert_eq!(card.dispi(BANK), 4, "there are 64 banks");
    card.set_dispi(BANK, 63);
    card.store(0xa_ffff, &[5]);
    assert_eq!(card.bar_load(0, MEMORY as u64 - 1), [5]);
}

#[test]
fn a_mode_clears_the_memory_unless_asked_not_to() {
    let mut card = Card::in_linear_mode(640, 480, 32);
    card.bar_store(0, 0, &[1, 2, 3, 4]);
    card.set_dispi(ENABLE, 0);
    card.set_dispi(ENABLE, LINEAR | 0x80);
    assert_eq!(card.bar_load(0, 0), [1, 2, 3, 4]);
    card.set_dispi(ENABLE, LINEAR);
    assert_eq!(card.bar_load(0, 0), [1, 2, 3, 4], "it was enabled already");
    card.set_dispi(ENABLE, 0);
    card.set_dispi(ENABLE, LINEAR);
    assert_eq!(card.bar_load(0, 0), [0; 4]);
}

#[test]
fn a_picture_always_lies_inside_the_memory() {
    let mut card = Card::in_linear_mode(1001, 4096, 32);
    // 4 MiB hold 1048 lines of 1000 pixels.
    assert_eq!([WIDTH, HEIGHT, VIRTUAL_WIDTH].map(|n| card.dispi(n)), [1000, 1048, 1000]);
    card.set_dispi(VIRTUAL_WIDTH, 2003);
    assert_eq!((card.dispi(VIRTUAL_WIDTH), card.dispi(VIRTUAL_HEIGHT)), (2000, 524));
    assert_eq!(card.dispi(HEIGHT), 524);
    card.set_dispi(X_OFFSET, 1500);
    card.set_dispi(Y_OFFSET, 1);
    assert_eq!((card.dispi(X_OFFSET), card.dispi(Y_OFFSET)), (1000, 0));
    card.set_dispi(WIDTH, 4097);
    assert_eq!(card.dispi(WIDTH), 1000);
    for (index, value) in [(WIDTH, 0), (HEIGHT, 0), (VIRTUAL_WIDTH, 0xffff), (BITS, 0)] {
        card.set_dispi(index, value);
        card.draw();
    }
    assert_eq!((card.dispi(WIDTH), card.dispi(HEIGHT)), (8, 1));
    assert_eq!((card.size(), card.dispi(VIRTUAL_WIDTH)), ((8, 1), 0xfff8));
    card.set_dispi(WIDTH, 4096);
    card.set_dispi(HEIGHT, 4096);
    assert_eq!(card.size().0, 4096);
}

#[test]
fn bochs_drm_sets_a_mode_by_memory() {
    let mut card = Card::in_mode(&MODE_3);
    let dispi = |card: &mut Card, index: u64, value: u16| {
        card.bar_store(2, 0x500 + 2 * index, &value.to_le_bytes());
    };
    assert_eq!(card.bar_load(2, 0x500), 0xb0c5_u16.to_le_bytes());
    assert_eq!(card.bar_load(2, 0x500 + 2 * 10), 64_u16.to_le_bytes());
    assert_eq!(card.bar_load(2, 0x600), 8_u32.to_le_bytes());
    card.bar_store(2, 0x604, &0x1e1e_1e1e_u32.to_le_bytes());
    let edid: Vec<u8> = (0..128).map(|at| card.bar_load::<1>(2, at)[0]).collect();
    assert_eq!(edid[..8], [0, 255, 255, 255, 255, 255, 255, 0]);
    assert_eq!(edid.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    // Unblank, then the mode.
    card.bar_load::<1>(2, 0x400 + 0x1a);
    card.bar_store(2, 0x400, &[0x20]);
    let yres = (MEMORY / (1024 * 4)) as u16;
    for (index, value) in [
        (4, 0),
        (3, 32),
        (1, 1024),
        (2, 768),
        (5, 0),
        (6, 1024),
        (7, yres),
        (8, 0),
        (9, 0),
        (4, LINEAR),
    ] {
        dispi(&mut card, index, value);
    }
    // A second buffer behind the first, by the offset.
    dispi(&mut card, 6, 1024);
    dispi(&mut card, 8, 0);
    dispi(&mut card, 9, 256);
    card.bar_store(0, 256 * 4096 + 4, &0x00ab_cdef_u32.to_le_bytes());
    assert_eq!((card.dot(1, 0), card.vga.picture().height()), (0x00ab_cdef, 768));
    // A big-endian guest turns its pixels round.
    card.bar_store(2, 0x604, &0xbebe_bebe_u32.to_le_bytes());
    assert_eq!(card.bar_load(2, 0x604), 0xbebe_bebe_u32.to_le_bytes());
    assert_eq!(card.dot(1, 0), 0x00cd_ab00);
    // Blanked.
    card.bar_load::<1>(2, 0x400 + 0x1a);
    card.bar_store(2, 0x400, &[0]);
    assert_eq!(card.dot(1, 0), 0);
}

#[test]
fn stores_to_the_frame_buffer_are_seen() {
    let mut card = Card::in_linear_mode(640, 480, 32);
    card.draw();
    card.bar_store(0, 4 * (640 * 100 + 7), &[1; 8]);
    assert_eq!(card.draw(), [Rect { x: 7, y: 100, width: 2, height: 1 }]);
    assert_eq!(card.draw(), []);
    card.set_dispi(ENABLE, 0);
    assert_eq!(card.draw(), [Rect { x: 0, y: 0, width: 640, height: 400 }]);
    // What was stored meanwhile is in the picture of the old mode.
    card.set_dispi(ENABLE, LINEAR | 0x80);
    card.draw();
    card.bar_store(0, 0, &[9; 4]);
    card.set_dispi(ENABLE, 0);
    assert_eq!(card.dot(0, 0), color(9));
}

#[test]
fn the_function_has_its_regions() {
    let mut card = Card::new();
    let config = card.vga.config();
    assert_eq!(config.byte(0x0b), 3, "a display controller");
    assert_eq!(config.bar(0), Some(Bar::Memory32 { size: 4 << 20, prefetchable: true }));
    assert_eq!(config.bar(2), Some(Bar::Memory32 { size: 4096, prefetchable: false }));
    assert_eq!(config.mapped(0), None);
    card.vga.config_mut().write(0x10, &0xfd00_0000_u32.to_le_bytes());
    card.vga.config_mut().write(0x04, &[2]);
    let mapped = card.vga.config().mapped(0);
    assert_eq!(mapped, Some((Space::Memory, 0xfd00_0000, 4 << 20)));
    let mut rom = [0; 4];
    card.vga.config().read_rom(0, &mut rom);
    assert_eq!(rom, [0x55, 0xaa, 1, 0xff]);
    assert_eq!(card.bar_load(0, MEMORY as u64 - 1), [0, 0xff]);
    let bare = Vga::new(Box::new(PlainMemory::new(256 << 10)), &[], (640, 480));
    assert_eq!(bare.config().bar(ConfigSpace::ROM.into()), None);
}

#[test]
fn a_reset_goes_back_to_text() {
    let mut card = Card::in_linear_mode(640, 480, 32);
    card.bar_store(0, 0, &[1]);
    card.with(|vga, cx| vga.reset(cx));
    assert_eq!((card.dispi(ENABLE), card.size()), (0, (720, 400)));
    assert_eq!(card.bar_load(0, 0), [1], "the memory is no register");
}
