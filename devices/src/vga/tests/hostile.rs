//! A guest that does anything: the adapter neither panics nor leaves its memory, and what it draws
//! of the changes is what it would draw of the whole.

use super::{
    Card, MEMORY,
    modes::{MODE_1, MODE_3, MODE_4, MODE_6, MODE_7, MODE_12, MODE_13, MODE_D, MODE_F},
};
use crate::{
    Bench, ConfigSpace, Device, Display, Mmio, PciFunction, PlainMemory, Ports, Vga, VideoMemory,
    stress::Random,
};

impl Card {
    /// One random thing; if `only_memory`, a store to the video memory.
    fn disturb(&mut self, random: &mut Random, only_memory: bool) {
        let bytes = [random.next().to_le_bytes(), random.next().to_le_bytes()].concat();
        let data = &bytes[..1 + random.below(16) as usize];
        let port = random.below(u64::from(Vga::PORTS) + 4) as u16;
        let window = random.below(Vga::WINDOW) & [!0, 0x1_8fff][random.below(2) as usize];
        let mut read = [0xff; 16];
        match if only_memory { [7, 40][random.below(2) as usize] } else { random.below(64) } {
            0 => {
                let modes = [
                    &MODE_1, &MODE_3, &MODE_4, &MODE_6, &MODE_7, &MODE_12, &MODE_13, &MODE_D,
                    &MODE_F,
                ];
                self.set_mode(modes[random.below(9) as usize]);
            }
            1 => self.set_dispi(4, random.next() as u16 & [0, 0xe3][random.below(2) as usize]),
            2..6 => {
                self.set_dispi(random.below(12) as u16, random.next() as u16 >> random.below(9))
            }
            6 => self.vga.config_mut().write(random.next() as u8, &data[..data.len().min(4)]),
            7..10 => {
                let bar = [0, 1, 2, 3, ConfigSpace::ROM][random.below(5) as usize];
                let size = [MEMORY as u64, 0x700][random.below(2) as usize];
                let offset = random.below(size);
                self.bar_store(bar, offset, data);
                self.with(|vga, cx| vga.bar_read(cx, bar, offset, &mut read[..data.len()]));
            }
            10..20 => {
                let data = &data[..data.len().min(4)];
                self.with(|vga, cx| vga.port_out(cx, port, data));
            }
            20..26 => self.with(|vga, cx| vga.port_in(cx, port, &mut read[..4])),
            26..30 => {
                let [part, index, value] = [random.below(4), random.next(), random.next()];
                match [0x3c4, 0x3ce, 0x3d4].get(part as usize) {
                    Some(port) => self.set(*port, index as u8 & 31, value as u8),
                    None => self.set_attribute(index as u8 & 31, value as u8),
                }
            }
            30..40 => {
                self.with(|vga, cx| vga.mmio_read(cx, window, &mut read[..data.len()]));
            }
            _ => self.with(|vga, cx| vga.mmio_write(cx, window, data)),
        }
        let ns = random.next() >> 34 >> random.below(30);
        self.bench.now = self.bench.now.after_ns(ns);
    }

    /// Another card in the same state, with a copy of the memory.
    fn twin(&self) -> Self {
        let mut memory = PlainMemory::new(MEMORY);
        let mut bytes = vec![0; MEMORY];
        self.vga.memory.load(0, &mut bytes);
        memory.store(0, &bytes);
        let mut bench = Bench::new();
        bench.now = self.bench.now;
        let mut vga = Vga::new(Box::new(memory), &[0x55, 0xaa, 1], (1280, 800));
        let saved = self.vga.save();
        vga.load(&saved).expect("an adapter loads what it saved");
        assert_eq!(vga.save(), saved);
        Self { bench, vga }
    }
}

fn disturb(steps: u32) {
    let mut random = Random::new(0xd15b_1a4e);
    let mut card = Card::in_mode(&MODE_3);
    let (mut sizes, mut lit) = (std::collections::BTreeSet::new(), 0);
    let mut only_memory = false;
    for step in 0..steps {
        card.disturb(&mut random, only_memory);
        if step % 199 == 0 {
            only_memory = random.below(2) == 0;
            sizes.insert(card.size());
            let mut twin = card.twin();
            twin.draw();
            assert!(card.vga.picture() == twin.vga.picture(), "step {step}");
            assert_eq!(card.vga.text(), twin.vga.text());
            lit += u32::from(card.vga.picture().pixels().iter().any(|dot| *dot != 0));
            // Whatever is drawn of the whole again is the same.
            assert_eq!(card.draw(), []);
        }
    }
    assert!(sizes.len() > 10 && lit > 10, "{sizes:?}, {lit} pictures");
}

#[test]
fn a_random_guest_is_drawn_faithfully() {
    disturb(100_000);
}

#[test]
#[ignore = "takes a minute"]
fn a_random_guest_is_drawn_faithfully_for_long() {
    disturb(1_000_000);
}
