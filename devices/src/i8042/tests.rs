//! The 8042, its keyboard and its mouse against what Linux's i8042 driver asks them.

use super::{BYTE_NS, I8042};
use crate::{Bench, Device, Power, Signal, Timed};

const KEYBOARD: u32 = 1;
const AUX: u32 = 12;
const A20: u32 = 20;

struct Kbc {
    bench: Bench,
    kbc: I8042,
}

impl Kbc {
    fn new() -> Self {
        let mut bench = Bench::new();
        let b = &bench.backplane;
        let kbc = I8042::new(b.line(KEYBOARD), b.line(AUX), b.line(A20), b.clone());
        assert_eq!(bench.said(), [Signal::Level { wire: A20, level: true }]);
        Self { bench, kbc }
    }

    fn data(&mut self, value: u8) {
        self.bench.port_out(&mut self.kbc, I8042::DATA, value);
    }

    fn command(&mut self, value: u8) {
        self.bench.port_out(&mut self.kbc, I8042::STATUS_COMMAND, value);
    }

    fn status(&mut self) -> u8 {
        self.bench.port_in::<1>(&mut self.kbc, I8042::STATUS_COMMAND)[0]
    }

    fn read(&mut self) -> u8 {
        self.bench.port_in::<1>(&mut self.kbc, I8042::DATA)[0]
    }

    fn ask(&mut self, command: u8) -> u8 {
        self.command(command);
        assert_eq!(self.status() & 0x21, 0x01, "an answer to {command:02x}");
        self.read()
    }

    fn configure(&mut self, config: u8) {
        self.command(0x60);
        self.data(config);
    }

    /// All that the devices send, with whether the mouse does.
    fn drain(&mut self) -> Vec<(u8, bool)> {
        let mut bytes = Vec::new();
        loop {
            let status = self.status();
            if status & 1 != 0 {
                bytes.push((self.read(), status & 0x20 != 0));
            } else if self.kbc.next_event().is_some() {
                self.bench.run_ns(&mut self.kbc, BYTE_NS);
            } else {
                return bytes;
            }
        }
    }

    fn keyboard(&mut self, value: u8) -> Vec<u8> {
        self.data(value);
        self.drain().into_iter().map(|(byte, _)| byte).collect()
    }

    fn mouse(&mut self, value: u8) -> Vec<u8> {
        self.command(0xd4);
        self.data(value);
        let bytes = self.drain();
        assert!(bytes.iter().all(|(_, aux)| *aux));
        bytes.into_iter().map(|(byte, _)| byte).collect()
    }

    fn key(&mut self, codes: &[u8]) {
        self.bench.with(|cx| self.kbc.key(cx, codes));
    }
}

#[test]
fn the_controller_tests_itself_and_its_interfaces() {
    let mut k = Kbc::new();
    assert_eq!(k.status(), 0x10);
    assert_eq!(k.ask(0xaa), 0x55);
    assert_eq!(k.status(), 0x1c, "system flag, last write a command");
    assert_eq!([k.ask(0xab), k.ask(0xa9), k.ask(0xa4), k.ask(0xe0)], [0, 0, 0xf1, 0]);
    assert_eq!(k.ask(0x20), 0x65);
    k.command(0x65);
    k.data(0x42);
    assert_eq!(k.ask(0x25), 0x42);
}

#[test]
fn linux_probes_the_mouse_port() {
    let mut k = Kbc::new();
    k.configure(0x74);
    k.command(0xd3);
    k.data(0x5a);
    assert_eq!((k.status() & 0x21, k.read()), (0x21, 0x5a), "loop back");
    k.command(0xa7);
    assert_eq!(k.ask(0x20) & 0x20, 0x20);
    k.command(0xa8);
    assert_eq!(k.ask(0x20) & 0x20, 0);
    // The interrupt arrives even with the interface off.
    k.configure(0x76);
    k.bench.said();
    k.command(0xd3);
    k.data(0xa5);
    assert_eq!(k.bench.said(), [Signal::Level { wire: AUX, level: true }]);
    assert_eq!(k.read(), 0xa5);
    assert_eq!(k.bench.said(), [Signal::Level { wire: AUX, level: false }]);
}

#[test]
fn the_keyboard_answers_its_commands() {
    let mut k = Kbc::new();
    k.configure(0x24);
    assert_eq!(k.keyboard(0xff), [0xfa, 0xaa]);
    assert_eq!(k.keyboard(0xf2), [0xfa, 0xab, 0x83]);
    assert_eq!(k.keyboard(0xee), [0xee]);
    for byte in [0xed, 0x07, 0xf3, 0x20, 0xf4, 0xf5, 0xf6] {
        assert_eq!(k.keyboard(byte), [0xfa], "{byte:02x}");
    }
    assert_eq!(k.keyboard(0xf0), [0xfa]);
    assert_eq!(k.keyboard(0x00), [0xfa, 0x02]);
    assert_eq!(k.keyboard(0xfe), [0x02], "the last byte again");
    assert_eq!(k.keyboard(0xe0), [0xfe]);
    // A command instead of an argument is a command.
    k.keyboard(0xed);
    assert_eq!(k.keyboard(0xf4), [0xfa]);
    assert_eq!(k.keyboard(0x07), [0xfe]);
}

#[test]
fn the_mouse_answers_its_commands() {
    let mut k = Kbc::new();
    k.configure(0x44);
    assert_eq!(k.mouse(0xff), [0xfa, 0xaa, 0x00]);
    assert_eq!(k.mouse(0xf2), [0xfa, 0x00]);
    assert_eq!([k.mouse(0xe8), k.mouse(0x03), k.mouse(0xf3), k.mouse(200)], [[0xfa]; 4]);
    assert_eq!([k.mouse(0xf4), k.mouse(0xe7)], [[0xfa]; 2]);
    assert_eq!(k.mouse(0xe9), [0xfa, 0x30, 0x03, 200]);
    assert_eq!(k.mouse(0xeb), [0xfa, 0x08, 0, 0]);
    k.mouse(0xee);
    assert_eq!(k.mouse(0xf2), [0xf2], "wrap mode");
    assert_eq!(k.mouse(0xec), [0xfa]);
    k.mouse(0xe8);
    assert_eq!(k.mouse(0x04), [0xfe]);
}

#[test]
fn keys_are_translated_and_interrupt_one_by_one() {
    let mut k = Kbc::new();
    k.key(&[0x1c, 0xf0, 0x1c]);
    assert_eq!(k.bench.said(), [Signal::Level { wire: KEYBOARD, level: true }]);
    assert_eq!(k.read(), 0x1e);
    assert_eq!(k.read(), 0x1e, "until the next arrives");
    assert_eq!(k.bench.said(), [Signal::Level { wire: KEYBOARD, level: false }]);
    k.bench.run_ns(&mut k.kbc, 2 * BYTE_NS);
    assert_eq!(k.bench.said(), [Signal::Level { wire: KEYBOARD, level: true }]);
    assert_eq!(k.read(), 0x9e);
    k.configure(0x21);
    k.key(&[0xe0, 0xf0, 0x75]);
    let bytes: Vec<u8> = k.drain().into_iter().map(|(byte, _)| byte).collect();
    assert_eq!(bytes, [0xe0, 0xf0, 0x75], "raw");
    k.keyboard(0xf0);
    k.keyboard(0x01);
    k.key(&[0xe0, 0xf0, 0x75]);
    let bytes: Vec<u8> = k.drain().into_iter().map(|(byte, _)| byte).collect();
    assert_eq!(bytes, [0xe0, 0xc8], "set 1 from the keyboard itself");
}

#[test]
fn a_disabled_keyboard_holds_its_keys_back() {
    let mut k = Kbc::new();
    k.command(0xad);
    k.key(&[0x1c]);
    assert_eq!((k.status() & 1, k.kbc.next_event()), (0, None));
    assert_eq!(k.ask(0x20), 0x71);
    k.command(0xae);
    assert_eq!(k.drain(), [(0x1e, false)]);
    k.keyboard(0xf5);
    k.key(&[0x1c]);
    assert_eq!(k.drain(), []);
    k.keyboard(0xf4);
    for _ in 0..100 {
        k.key(&[0x1c]);
    }
    assert!(k.drain().len() <= 17, "what does not fit is lost");
}

#[test]
fn the_output_port_has_a20_and_reset() {
    let mut k = Kbc::new();
    assert_eq!(k.ask(0xd0), 0xc3);
    k.bench.said();
    k.command(0xd1);
    k.data(0xdd);
    assert_eq!(k.bench.said(), [Signal::Level { wire: A20, level: false }]);
    k.command(0xdf);
    assert_eq!(k.bench.said(), [Signal::Level { wire: A20, level: true }]);
    k.command(0xff);
    assert_eq!(k.bench.said(), []);
    k.command(0xfe);
    assert_eq!(k.bench.said(), [Signal::Power(Power::Reset)]);
    k.command(0xd1);
    k.data(0x02);
    assert_eq!(k.bench.said(), [Signal::Power(Power::Reset)]);
}

#[test]
fn a_load_drives_a20_without_an_edge() {
    let mut k = Kbc::new();
    k.command(0xdd);
    k.key(&[0x1c]);
    k.bench.said();
    let saved = k.kbc.save();
    let mut other = Kbc::new();
    other.kbc.load(&saved).expect("its own state");
    assert_eq!(other.bench.said(), []);
    assert!(!other.kbc.a20.level() && other.kbc.keyboard_irq.level());
    other.command(0xdf);
    assert_eq!(other.bench.said(), [Signal::Level { wire: A20, level: true }]);
}
