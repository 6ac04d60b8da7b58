//! The 8042, its keyboard and its mouse against what Linux's i8042 driver asks them.

use super::{BYTE_NS, I8042};
use crate::{Bench, Device, Key, Power, Signal, Timed};

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
            } else if self.kbc.next_event().is_some_and(|at| at <= self.bench.now.after_ns(BYTE_NS))
            {
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

    fn key(&mut self, key: Key, goes_down: bool) -> bool {
        self.bench.with(|cx| self.kbc.key(cx, key, goes_down))
    }

    /// What keys that go down (and up) make the keyboard send.
    fn type_keys(&mut self, strokes: &[(Key, bool)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, goes_down) in strokes {
            assert!(self.key(*key, *goes_down));
            bytes.extend(self.drain().into_iter().map(|(byte, _)| byte));
        }
        bytes
    }

    /// What the devices send within `ns`.
    fn run(&mut self, ns: u64) -> Vec<u8> {
        let end = self.bench.now.after_ns(ns);
        let mut bytes = Vec::new();
        while self.bench.now < end {
            if self.status() & 1 != 0 {
                bytes.push(self.read());
            }
            let next = self.kbc.next_event().map_or(end, |at| at.min(end));
            let ns = next.since(self.bench.now).max(1);
            self.bench.run_ns(&mut self.kbc, ns);
        }
        bytes
    }

    fn point(&mut self, right: i32, down: i32, wheel: i32, buttons: u8) {
        self.bench.with(|cx| self.kbc.point(cx, right, down, wheel, buttons));
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
    k.key(Key::A, true);
    k.key(Key::A, false);
    assert_eq!(k.bench.said(), [Signal::Level { wire: KEYBOARD, level: true }]);
    assert_eq!(k.read(), 0x1e);
    assert_eq!(k.read(), 0x1e, "until the next arrives");
    assert_eq!(k.bench.said(), [Signal::Level { wire: KEYBOARD, level: false }]);
    k.bench.run_ns(&mut k.kbc, 2 * BYTE_NS);
    assert_eq!(k.bench.said(), [Signal::Level { wire: KEYBOARD, level: true }]);
    assert_eq!(k.read(), 0x9e);
}

/// Selects a scan code set, without translation.
fn select_set(k: &mut Kbc, set: u8) {
    k.configure(0x21);
    assert_eq!([k.keyboard(0xf0), k.keyboard(set)], [[0xfa]; 2]);
    assert_eq!([k.keyboard(0xf0), k.keyboard(0x00)].concat(), [0xfa, 0xfa, set]);
}

#[test]
fn three_scan_code_sets() {
    let stroke = |key| [(key, true), (key, false)];
    let mut k = Kbc::new();
    for (key, set_1, set_2, set_3) in [
        (Key::Q, &[0x10, 0x90][..], &[0x15, 0xf0, 0x15][..], &[0x15][..]),
        (Key::F7, &[0x41, 0xc1], &[0x83, 0xf0, 0x83], &[0x37]),
        (Key::ArrowUp, &[0xe0, 0x48, 0xe0, 0xc8], &[0xe0, 0x75, 0xe0, 0xf0, 0x75], &[0x63]),
        (Key::ShiftLeft, &[0x2a, 0xaa], &[0x12, 0xf0, 0x12], &[0x12, 0xf0, 0x12]),
        (Key::KeypadEnter, &[0xe0, 0x1c, 0xe0, 0x9c], &[0xe0, 0x5a, 0xe0, 0xf0, 0x5a], &[0x79]),
    ] {
        k.configure(0x61);
        k.keyboard(0xf0);
        k.keyboard(2);
        assert_eq!(k.type_keys(&stroke(key)), set_1, "{key:?}, translated");
        for (set, codes) in [(1, set_1), (2, set_2), (3, set_3)] {
            select_set(&mut k, set);
            assert_eq!(k.type_keys(&stroke(key)), codes, "{key:?}, set {set}");
        }
    }
    assert_eq!([k.keyboard(0xf0), k.keyboard(4)], [[0xfa], [0xfe]], "there are three");
}

#[test]
fn print_screen_and_pause_depend_on_what_is_held() {
    let mut k = Kbc::new();
    let stroke = |key| [(key, true), (key, false)];
    let mut held_with = |set: u8, held: Option<Key>, key| {
        select_set(&mut k, set);
        held.map(|held| k.type_keys(&[(held, true)]));
        let codes = k.type_keys(&stroke(key));
        held.map(|held| k.type_keys(&[(held, false)]));
        codes
    };
    use Key::{AltLeft, ControlLeft, Pause, PrintScreen, ShiftRight};
    let print_2 = [0xe0, 0x12, 0xe0, 0x7c, 0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12];
    assert_eq!(held_with(2, None, PrintScreen), print_2);
    let print_1 = [0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa];
    assert_eq!(held_with(1, None, PrintScreen), print_1);
    assert_eq!(held_with(1, Some(ShiftRight), PrintScreen), [0xe0, 0x37, 0xe0, 0xb7]);
    assert_eq!(held_with(1, Some(AltLeft), PrintScreen), [0x54, 0xd4], "SysRq");
    assert_eq!(held_with(2, Some(AltLeft), PrintScreen), [0x84, 0xf0, 0x84]);
    let pause_2 = [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77];
    assert_eq!(held_with(2, None, Pause), pause_2);
    assert_eq!(held_with(1, None, Pause), [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    assert_eq!(held_with(1, Some(ControlLeft), Pause), [0xe0, 0x46, 0xe0, 0xc6], "Break");
    assert_eq!(held_with(3, None, Pause), [0x62]);
}

#[test]
fn a_key_that_is_held_down_repeats() {
    const MS: u64 = 1_000_000;
    let mut k = Kbc::new();
    assert!(k.key(Key::A, true) && k.key(Key::A, true), "it is down already");
    assert_eq!(k.run(499 * MS), [0x1e]);
    // 10.9 times a second: every 91.7 ms.
    assert_eq!(k.run(2 * MS), [0x1e]);
    assert_eq!(k.run(917 * MS), [0x1e; 10]);
    assert_eq!(k.kbc.keys_down(), [Key::A]);
    // Another key takes over, and the first one's release does not stop it.
    k.key(Key::B, true);
    k.key(Key::A, false);
    assert_eq!(k.run(550 * MS), [0x30, 0x9e, 0x30]);
    k.key(Key::B, false);
    assert_eq!((k.run(2000 * MS), k.kbc.next_event()), (vec![0xb0], None));
    // Slowest: after a second, twice a second.
    assert_eq!([k.keyboard(0xf3), k.keyboard(0x7f)], [[0xfa]; 2]);
    k.key(Key::A, true);
    assert_eq!(k.run(1001 * MS), [0x1e; 2]);
    assert_eq!(k.run(500 * MS + MS), [0x1e]);
    // A guest that was away for long finds one repetition, not hundreds.
    k.bench.now = k.bench.now.after_ns(100_000 * MS);
    assert_eq!(k.run(2 * MS), [0x1e]);
    k.key(Key::A, false);
    k.run(MS);
    k.key(Key::Pause, true);
    assert_eq!(k.run(3000 * MS).len(), 6, "Pause does not repeat");
}

#[test]
fn keys_of_set_3_behave_as_they_are_told() {
    const MS: u64 = 1_000_000;
    let mut k = Kbc::new();
    select_set(&mut k, 3);
    let hold = |k: &mut Kbc, key| {
        k.key(key, true);
        let mut codes = k.run(550 * MS);
        k.key(key, false);
        codes.extend(k.run(10 * MS));
        codes
    };
    assert_eq!(hold(&mut k, Key::A), [0x1c, 0x1c], "typematic");
    assert_eq!(hold(&mut k, Key::F1), [0x07], "make only");
    assert_eq!(hold(&mut k, Key::AltLeft), [0x19, 0xf0, 0x19], "make and break");
    for (command, codes) in [
        (0xf7, &[0x07, 0x07][..]),
        (0xf8, &[0x07, 0xf0, 0x07]),
        (0xf9, &[0x07]),
        (0xfa, &[0x07, 0x07, 0xf0, 0x07]),
    ] {
        assert_eq!(k.keyboard(command), [0xfa]);
        assert_eq!(hold(&mut k, Key::F1), codes, "{command:02x}");
    }
    assert_eq!([k.keyboard(0xfd), k.keyboard(0x07)], [[0xfa]; 2]);
    assert_eq!(hold(&mut k, Key::F1), [0x07]);
    assert_eq!(hold(&mut k, Key::F2), [0x0f, 0x0f, 0xf0, 0x0f], "only that one");
}

#[test]
fn lights_are_what_was_set_last() {
    let mut k = Kbc::new();
    k.keyboard(0xed);
    k.keyboard(0x05);
    assert_eq!(k.kbc.leds(), 5);
    k.keyboard(0xf5);
    assert_eq!(k.kbc.leds(), 5);
    k.keyboard(0xff);
    assert_eq!(k.kbc.leds(), 0);
}

#[test]
fn a_disabled_keyboard_holds_its_keys_back() {
    let mut k = Kbc::new();
    k.command(0xad);
    k.key(Key::A, true);
    k.key(Key::A, false);
    assert_eq!((k.status() & 1, k.kbc.next_event()), (0, None));
    assert_eq!(k.ask(0x20), 0x71);
    k.command(0xae);
    assert_eq!(k.drain(), [(0x1e, false), (0x9e, false)]);
    k.keyboard(0xf5);
    assert!(k.key(Key::A, true) && k.key(Key::A, false));
    assert_eq!(k.drain(), []);
    k.keyboard(0xf4);
    // What has no room is refused whole, so that no key gets stuck.
    let mut told = 0;
    while k.key(Key::ArrowUp, told % 2 == 0) {
        told += 1;
    }
    let codes: Vec<u8> = k.drain().into_iter().map(|(byte, _)| byte).collect();
    let stroke = [0xe0, 0x48, 0xe0, 0xc8];
    assert_eq!(codes, stroke.repeat(told / 2 + 1)[..2 * told]);
    assert!(k.key(Key::ArrowUp, told % 2 == 0));
}

#[test]
fn a_mouse_reports_what_it_does() {
    let mut k = Kbc::new();
    k.configure(0x47);
    k.point(5, 5, 1, 1);
    assert_eq!(k.drain(), [], "not before it is told to");
    assert_eq!(k.mouse(0xff), [0xfa, 0xaa, 0x00]);
    k.point(0, 0, 0, 0);
    assert_eq!(k.mouse(0xf4), [0xfa]);
    k.run(1_000_000);
    k.bench.said();
    k.point(3, -2, 0, 0b101);
    assert_eq!(k.bench.said(), [Signal::Level { wire: AUX, level: true }]);
    assert_eq!(k.drain(), [0x0d, 3, 2].map(|byte| (byte, true)));
    // Reports come 100 times a second; what happens meanwhile adds up.
    for _ in 0..10 {
        k.point(-50, 40, 0, 0);
    }
    let reports = k.run(100_000_000);
    assert_eq!(reports[..3], [0x38, 0x01, 0x01], "255 to the left and down");
    assert_eq!(reports[3..], [0x38, 11, 0x100_u16.wrapping_sub(145) as u8]);
    // Scaling is for streams; what is asked for has none.
    k.mouse(0xe7);
    k.point(4, 0, 0, 0);
    assert_eq!(k.run(20_000_000), [0x08, 6, 0]);
    k.mouse(0xf0);
    k.point(4, 0, 0, 0);
    assert_eq!(k.run(20_000_000), [0_u8; 0], "remote mode");
    assert_eq!(k.mouse(0xeb), [0xfa, 0x08, 4, 0]);
    assert_eq!(k.mouse(0xe9), [0xfa, 0x70, 2, 100]);
    assert_eq!(k.mouse(0xea), [0xfa]);
    k.point(0, 0, 0, 0b010);
    assert_eq!(k.run(20_000_000), [0x0a, 0, 0]);
    assert_eq!(k.mouse(0xe9), [0xfa, 0x31, 2, 100]);
}

/// Sets sample rates, as a driver does that looks for more than a plain mouse.
fn knock(k: &mut Kbc, rates: [u8; 3]) -> Vec<u8> {
    for rate in rates {
        assert_eq!([k.mouse(0xf3), k.mouse(rate)], [[0xfa]; 2]);
    }
    k.mouse(0xf2)
}

#[test]
fn a_mouse_has_a_wheel_for_those_who_knock() {
    let mut k = Kbc::new();
    k.configure(0x47);
    assert_eq!(knock(&mut k, [200, 100, 80]), [0xfa, 3]);
    k.mouse(0xf4);
    k.point(1, 0, -2, 0b11000);
    assert_eq!(k.run(20_000_000), [0x08, 1, 0, 0xfe]);
    k.point(0, 0, 200, 0b11000);
    assert_eq!(k.run(60_000_000), [0x08, 0, 0, 127, 0x08, 0, 0, 73]);
    k.point(0, 0, 0, 0);
    assert_eq!(knock(&mut k, [200, 200, 80]), [0xfa, 4]);
    k.point(0, 1, 1, 0b10001);
    assert_eq!(k.run(50_000_000), [0x29, 0, 0xff, 0x21]);
    k.point(0, 0, -9, 0b01000);
    assert_eq!(k.run(50_000_000), [0x08, 0, 0, 0x18, 0x08, 0, 0, 0x1f]);
    assert_eq!((k.mouse(0xf6), k.mouse(0xf2)), (vec![0xfa], vec![0xfa, 4]));
    assert_eq!((k.mouse(0xff), k.mouse(0xf2)), (vec![0xfa, 0xaa, 0], vec![0xfa, 0]));
}

#[test]
fn keyboard_and_mouse_share_the_buffer() {
    let mut k = Kbc::new();
    k.configure(0x47);
    k.mouse(0xf4);
    let (mut codes, mut reports) = (Vec::new(), Vec::new());
    for n in 0..200 {
        k.point(1, 1, 0, 0);
        k.key(Key::A, n % 2 == 0);
        for (byte, is_mouse) in k.drain() {
            if is_mouse { reports.push(byte) } else { codes.push(byte) }
        }
    }
    k.bench.run_ns(&mut k.kbc, 20_000_000);
    reports.extend(k.drain().into_iter().map(|(byte, _)| byte));
    assert_eq!(codes, [0x1e, 0x9e].repeat(100));
    let moved = reports.chunks(3).map(|report| {
        assert_eq!(report[0], 0x28);
        (u32::from(report[1]), 256 - u32::from(report[2]))
    });
    let moved = moved.fold((0, 0), |sum, report| (sum.0 + report.0, sum.1 + report.1));
    assert_eq!(moved, (200, 200), "nothing is lost");
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
    k.key(Key::A, true);
    k.bench.said();
    let saved = k.kbc.save();
    let mut other = Kbc::new();
    other.kbc.load(&saved).expect("its own state");
    assert_eq!(other.bench.said(), []);
    assert!(!other.kbc.a20.level() && other.kbc.keyboard_irq.level());
    other.command(0xdf);
    assert_eq!(other.bench.said(), [Signal::Level { wire: A20, level: true }]);
}
