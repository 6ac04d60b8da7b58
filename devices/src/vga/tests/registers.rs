//! Registers that are read back, what protects them, and where the beam is.

use super::{
    Card,
    modes::{MODE_3, MODE_7, MODE_12, MODE_13, Standard},
};
use crate::{Device, Ports, vga::registers};

#[test]
fn every_register_reads_back_the_bits_it_has() {
    let mut card = Card::in_mode(&MODE_3);
    card.set(0x3d4, 0x11, 0);
    for (port, writable) in [
        (0x3c4, &registers::seq::WRITABLE[..]),
        (0x3ce, &registers::gc::WRITABLE[..]),
        (0x3d4, &registers::crtc::WRITABLE[..]),
    ] {
        for (index, mask) in (0..).zip(writable) {
            for value in [0x55, 0xaa, 0xff, 0x00] {
                card.set(port, index, value);
                assert_eq!(card.get(port, index), value & mask, "{port:x} {index:x}");
                assert_eq!(card.read(port), index);
            }
        }
        assert_eq!(card.get(port, writable.len() as u8), 0, "no such register");
    }
    for (index, mask) in (0..).zip(registers::atc::WRITABLE) {
        for value in [0x55, 0xaa, 0xff, 0x00] {
            card.read(0x3da);
            card.out(0x3c0, index);
            card.out(0x3c0, value);
            assert_eq!((card.read(0x3c1), card.read(0x3c0)), (value & mask, index));
        }
    }
    card.out(0x3c2, 0xff);
    assert_eq!(card.read(0x3cc), 0xef);
    card.out(0x3da, 0x08);
    assert_eq!((card.read(0x3ca), card.read(0x3c2) & 0x10), (0x08, 0x10));
}

#[test]
fn timings_and_palette_can_be_protected() {
    let mut card = Card::in_mode(&MODE_3);
    assert_eq!(card.get(0x3d4, 0x11) & 0x80, 0x80);
    for index in 0..8 {
        card.set(0x3d4, index, 0);
    }
    let kept: Vec<u8> = (0..8).map(|index| card.get(0x3d4, index)).collect();
    assert_eq!(kept[..7], MODE_3.crtc[..7]);
    assert_eq!(kept[7], MODE_3.crtc[7] & !0x10, "but for the line compare's bit");
    card.read(0x3da);
    card.out(0x3c0, 0x20 | 3);
    card.out(0x3c0, 0x2a);
    assert_eq!(card.read(0x3c1), 3, "the screen has the palette");
    card.out(0x3c0, 3);
    card.out(0x3c0, 0x2a);
    assert_eq!(card.read(0x3c1), 0x2a);
}

#[test]
fn the_flip_flop_tells_index_from_data() {
    let mut card = Card::in_mode(&MODE_3);
    card.read(0x3da);
    assert_eq!(card.get(0x3d4, 0x24), 0);
    card.out(0x3c0, 0x14);
    assert_eq!((card.get(0x3d4, 0x24), card.get(0x3d4, 0x26)), (0x80, 0x14));
    card.read(0x3ba);
    assert_eq!(card.get(0x3d4, 0x24), 0x80, "status 1 is at 3DAh now");
    card.out(0x3c0, 5);
    assert_eq!(card.read(0x3c1), 5);
}

#[test]
fn the_crt_controller_is_at_one_of_two_places() {
    let mut card = Card::in_mode(&MODE_7);
    assert_eq!(card.get(0x3b4, 1), 0x4f);
    assert_eq!((card.get(0x3d4, 1), card.read(0x3da)), (0xff, 0xff));
    card.out(0x3c2, 0x67);
    assert_eq!((card.get(0x3b4, 1), card.get(0x3d4, 1)), (0xff, 0x4f));
    card.out(0x3c3, 0);
    assert_eq!((card.get(0x3d4, 1), card.read(0x3cc), card.load(0xb_8000)), (0xff, 0xff, 0xff));
    card.out(0x3c3, 1);
    assert_eq!(card.read(0x3cc), 0x67);
}

#[test]
fn the_dac_takes_colors_whole() {
    let mut card = Card::in_mode(&MODE_13);
    card.out(0x3c8, 0x10);
    card.out(0x3c9, 0x7f);
    card.out(0x3c9, 0x01);
    card.out(0x3c7, 0x10);
    let read: Vec<u8> = (0..4).map(|_| card.read(0x3c9)).collect();
    assert_eq!((read, card.read(0x3c7)), (vec![0x10, 4, 0x2f, 0x11], 3), "two are not enough");
    card.out(0x3c8, 0x10);
    for component in [0x7f, 0x01, 0x02, 0x03] {
        card.out(0x3c9, component);
    }
    assert_eq!((card.read(0x3c8), card.read(0x3c7)), (0x11, 0));
    card.out(0x3c7, 0x10);
    assert_eq!([(); 3].map(|()| card.read(0x3c9)), [0x3f, 1, 2], "six bits each");
    // The Bochs interface makes it eight.
    card.set_dispi(4, 0x20);
    card.out(0x3c8, 0x10);
    for component in [0xff, 0x81, 0x02] {
        card.out(0x3c9, component);
    }
    card.out(0x3c7, 0x10);
    assert_eq!([(); 3].map(|()| card.read(0x3c9)), [0xff, 0x81, 2]);
}

/// How long a frame takes, as a program measures it that polls: from one vertical retrace to a
/// later one. Also which parts of that time it retraces and displays.
fn measure(mode: &Standard) -> (f64, f64, f64) {
    const STEP_NS: u64 = 997;
    const FRAMES: u64 = 20;
    let mut card = Card::in_mode(mode);
    let (mut before, mut starts) = (true, 0);
    let (mut polls, mut retraced, mut displayed) = (0_u64, 0_u64, 0_u64);
    loop {
        card.bench.now = card.bench.now.after_ns(STEP_NS);
        assert!(card.bench.now.ns() < 1_000_000_000, "no retrace");
        let status = card.read(0x3da);
        starts += u64::from(status & 8 != 0 && !before);
        before = status & 8 != 0;
        if starts > FRAMES {
            let part = |count| count as f64 / polls as f64;
            let frame_ns = (STEP_NS * polls) as f64 / FRAMES as f64;
            return (frame_ns, part(retraced), part(displayed));
        }
        if starts > 0 {
            polls += 1;
            retraced += u64::from(before);
            displayed += u64::from(status & 1 == 0);
        }
    }
}

#[test]
fn retraces_have_the_frequency_of_the_mode() {
    for (mode, hz, lines, shown) in [
        // 28.322 MHz / (900 * 449); the retrace takes two lines.
        (&MODE_3, 70.086, 449.0, 720.0 * 400.0 / (900.0 * 449.0)),
        // 25.175 MHz / (800 * 449).
        (&MODE_13, 70.086, 449.0, 640.0 * 400.0 / (800.0 * 449.0)),
        // 25.175 MHz / (800 * 525).
        (&MODE_12, 59.940, 525.0, 640.0 * 480.0 / (800.0 * 525.0)),
    ] {
        let (frame_ns, retraced, displayed) = measure(mode);
        let measured = 1e9 / frame_ns;
        assert!((measured - hz).abs() < 0.01, "{measured} Hz, not {hz} Hz");
        assert!((retraced - 2.0 / lines).abs() < 2e-4, "retraces {retraced} of the time");
        assert!((displayed - shown).abs() < 2e-3, "displays {displayed} of the time");
    }
}

#[test]
fn a_load_is_all_or_nothing() {
    let mut card = Card::in_mode(&MODE_12);
    card.set_dispi(1, 800);
    let saved = card.vga.save();
    let mut other = Card::new();
    other.vga.load(&saved).expect("its own state");
    assert_eq!(other.vga.save(), saved);
    for (path, value) in [
        ("/1/registers/sequencer/1", 0x40),
        ("/1/registers/crtc/8", 0x80),
        ("/1/registers/graphics_index", 0x10),
        ("/1/registers/dac/component", 3),
        ("/1/dispi/bits", 7),
        ("/1/dispi/width", 5000),
        ("/1/dispi/bank", 64),
        ("/0/0", 0),
    ] {
        let mut damaged = saved.clone();
        *damaged.state.pointer_mut(path).expect(path) = value.into();
        other.vga.load(&damaged).expect_err(path);
        assert_eq!(other.vga.save(), saved, "{path}");
    }
    let mut damaged = saved.clone();
    let colors = damaged.state.pointer_mut("/1/registers/dac/colors").expect("colors");
    colors.as_array_mut().expect("an array").pop();
    other.vga.load(&damaged).expect_err("a component too few");
}

#[test]
fn the_bus_splits_wide_accesses() {
    let mut card = Card::in_mode(&MODE_3);
    card.with(|vga, cx| vga.port_out(cx, 0x24, &[0x0e, 0x12]));
    let mut data = [0; 2];
    card.with(|vga, cx| vga.port_in(cx, 0x24, &mut data));
    assert_eq!(data, [0x0e, 0x12]);
    // Behind the last port there is nothing.
    let mut data = [0xff; 4];
    card.with(|vga, cx| vga.port_in(cx, 0x2f, &mut data));
    assert_eq!(data, [0xff; 4]);
}
