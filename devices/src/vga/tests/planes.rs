//! The window at A0000h against a plain model: planes of bytes, pixels of bits.

use super::{
    Card,
    modes::{MODE_3, MODE_12, MODE_13},
};
use crate::{Ports, stress::Random};

/// The registers that count, and the planes.
struct Model {
    planes: Vec<[u8; 4]>,
    latch: [u8; 4],
    sequencer: [u8; 5],
    graphics: [u8; 9],
}

/// Where a byte goes: the plane address, which planes are written and which one is read.
type Place = (usize, [bool; 4], usize);

impl Model {
    fn place(&self, offset: usize) -> Option<Place> {
        let [start, end] = match self.graphics[6] >> 2 & 3 {
            0 => [0, 0x2_0000],
            1 => [0, 0x1_0000],
            2 => [0x1_0000, 0x1_8000],
            _ => [0x1_8000, 0x2_0000],
        };
        if !(start..end).contains(&offset) {
            return None;
        }
        let address = offset - start;
        let read_map = usize::from(self.graphics[4]);
        if self.sequencer[4] & 8 != 0 {
            let plane = address % 4;
            return Some((address / 4, [0, 1, 2, 3].map(|n| n == plane), plane));
        }
        let odd = address % 2;
        let chained = match self.graphics[6] & 2 != 0 {
            true if end - start == 0x2_0000 => address - odd + address / 0x1_0000,
            true => address - odd,
            false => address,
        };
        let writes = [0, 1, 2, 3].map(|n| self.sequencer[4] & 4 != 0 || n % 2 == odd);
        let reads_odd_even = self.graphics[5] & 0x10 != 0;
        let plane = if reads_odd_even { read_map / 2 * 2 + odd } else { read_map };
        Some((chained % 0x1_0000, writes, plane))
    }

    fn load(&mut self, offset: usize) -> u8 {
        let Some((at, _, plane)) = self.place(offset) else { return 0xff };
        self.latch = self.planes[at];
        if self.graphics[5] & 8 == 0 {
            return self.latch[plane];
        }
        let mut result = 0;
        for bit in 0..8 {
            let matches = (0..4).all(|n| {
                let cares = self.graphics[7] >> n & 1 != 0;
                !cares || self.latch[n] >> bit & 1 == self.graphics[2] >> n & 1
            });
            result |= u8::from(matches) << bit;
        }
        result
    }

    fn store(&mut self, offset: usize, value: u8) {
        let Some((at, writes, _)) = self.place(offset) else { return };
        for n in (0..4).filter(|n| writes[*n] && self.sequencer[2] >> n & 1 != 0) {
            self.planes[at][n] = self.written(n, value);
        }
    }

    /// What comes out for plane `n`, bit by bit.
    fn written(&self, n: usize, value: u8) -> u8 {
        let [set_reset, enable, _, rotate, .., mask] = self.graphics;
        let mode = self.graphics[5] & 3;
        let rotated = value.rotate_right(u32::from(rotate & 7));
        let mut result = 0;
        for bit in 0..8 {
            let of = |byte: u8| byte >> bit & 1;
            let latch = of(self.latch[n]);
            let source = match mode {
                0 if enable >> n & 1 == 0 => of(rotated),
                0 | 3 => set_reset >> n & 1,
                2 => value >> n & 1,
                _ => latch,
            };
            let combined = match rotate >> 3 {
                0 => source,
                1 => source & latch,
                2 => source | latch,
                _ => source ^ latch,
            };
            let passes = if mode == 3 { of(mask & rotated) } else { of(mask) };
            let out = if mode == 1 || passes == 0 { latch } else { combined };
            result |= out << bit;
        }
        result
    }
}

#[test]
fn random_accesses_agree_with_the_model() {
    let mut random = Random::new(0x9_1a4e);
    let mut card = Card::in_mode(&MODE_12);
    let mut model = Model {
        planes: vec![[0; 4]; 0x1_0000],
        latch: [0; 4],
        sequencer: MODE_12.sequencer,
        graphics: MODE_12.graphics,
    };
    let mut answers = std::collections::BTreeSet::new();
    for step in 0..200_000 {
        let value = random.next() as u8;
        // A few places at both ends of each map, so that much is met again.
        let base = [0, 0xfff0, 0x1_0000, 0x1_7ff0, 0x1_8000, 0x1_fff0][random.below(6) as usize];
        let offset = base + random.below(16);
        match random.below(8) {
            0 => {
                let index = random.below(9) as u8;
                model.graphics[usize::from(index)] =
                    value & super::super::registers::gc::WRITABLE[usize::from(index)];
                card.set(0x3ce, index, value);
            }
            1 => {
                let index = 2 + 2 * random.below(2) as u8;
                model.sequencer[usize::from(index)] = value;
                card.set(0x3c4, index, value);
            }
            2..5 => {
                let got = card.load(0xa_0000 + offset);
                assert_eq!(got, model.load(offset as usize), "step {step} at {offset:05x}");
                answers.insert(got);
            }
            _ => {
                card.store(0xa_0000 + offset, &[value]);
                model.store(offset as usize, value);
            }
        }
    }
    assert!(answers.len() > 200, "all kinds of bytes were read: {}", answers.len());
}

#[test]
fn fonts_are_loaded_as_a_bios_does() {
    let mut card = Card::in_mode(&MODE_3);
    card.store(0xb_8000, &[b'A', 0x1e]);
    for (port, index, value) in
        [(0x3c4, 2, 4), (0x3c4, 4, 7), (0x3ce, 4, 2), (0x3ce, 5, 0), (0x3ce, 6, 4)]
    {
        card.set(port, index, value);
    }
    card.store(0xa_0000 + 32 * u64::from(b'A'), &[0x18, 0x3c]);
    assert_eq!(card.load(0xa_0000 + 32 * u64::from(b'A') + 1), 0x3c);
    for (port, index, value) in
        [(0x3c4, 2, 3), (0x3c4, 4, 2), (0x3ce, 4, 0), (0x3ce, 5, 0x10), (0x3ce, 6, 0x0e)]
    {
        card.set(port, index, value);
    }
    assert_eq!([card.load(0xb_8000), card.load(0xb_8001)], [b'A', 0x1e], "the text is unharmed");
}

#[test]
fn mode_x_copies_four_pixels_at_once_through_the_latches() {
    let mut card = Card::in_mode(&MODE_13);
    card.store(0xa_0000, &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(card.load(0xa_0005), 6, "chained");
    card.set(0x3c4, 4, 0x06);
    assert_eq!(card.load(0xa_0001), 5, "unchained: plane 0 at plane address 1");
    // Write mode 1, or a bit mask of 0, copies all planes.
    card.set(0x3ce, 8, 0x00);
    card.load(0xa_0000);
    card.store(0xa_4000, &[0xff]);
    card.set(0x3ce, 8, 0xff);
    let planes: Vec<u8> = (0..4)
        .map(|plane| {
            card.set(0x3ce, 4, plane);
            card.load(0xa_4000)
        })
        .collect();
    assert_eq!(planes, [1, 2, 3, 4]);
    // The latch is what register 22h reads.
    assert_eq!(card.get(0x3d4, 0x22), 4);
}

#[test]
fn memory_can_be_switched_off() {
    let mut card = Card::in_mode(&MODE_3);
    card.store(0xb_8000, &[0x41]);
    card.out(0x3c2, 0x65);
    assert_eq!(card.load(0xb_8000), 0xff);
    card.store(0xb_8000, &[0x42]);
    card.out(0x3c2, 0x67);
    assert_eq!((card.load(0xb_8000), card.load(0xa_0000), card.load(0xb_0000)), (0x41, 0xff, 0xff));
    let mut wide = [0xff; 16];
    card.with(|vga, cx| crate::Mmio::mmio_read(vga, cx, 0x1_fff8, &mut wide));
    assert_eq!(wide, [0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    card.with(|vga, cx| vga.port_out(cx, 0x100, &[1, 2]));
}
