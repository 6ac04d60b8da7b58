//! The keyboard at the end of the cable: an enhanced (101- or 102-key) keyboard with all three scan
//! code sets, which repeats the key that is held down.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)". What
//! the keyboard adds around the keys between the main block and the keypad while Num Lock is on or
//! Shift is held (codes of Shift, so that an 84-key keyboard's driver understands) is left out, as
//! most emulated keyboards do.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::keys::{Key, Style};

/// Scan code sets 2 and 3: the next code is a key that was released.
pub(super) const RELEASE: u8 = 0xf0;
/// A keyboard understood.
const ACK: u8 = 0xfa;
/// A keyboard did not understand.
const RESEND: u8 = 0xfe;
/// The self test passed.
const PASSED: u8 = 0xaa;
/// The identity of an MF2 keyboard.
const IDENTITY: [u8; 2] = [0xab, 0x83];
/// Bytes that the keyboard remembers of what is typed.
const TYPED: usize = 16;
/// Room for what is typed and the longest answer.
const SIZE: usize = TYPED + 4;
/// Repeat after 500 ms, 10.9 times a second.
const TYPEMATIC: u8 = 0x2b;
/// The unit of the repeat's period.
const TYPEMATIC_UNIT_NS: u64 = 4_170_000;
const TYPEMATIC_DELAY_NS: u64 = 250_000_000;

/// Set 1 (with translation, or by command F0h) for the codes 00h to 7Fh of set 2.
/// Source: IBM PC AT Technical Reference, "scan code translation".
const SET_1: [u8; 128] = [
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
];

/// The code of set 1 for a code of set 2; what is no key's code stays as it is.
pub(super) fn set_1(code: u8) -> u8 {
    match code {
        0x83 => 0x41,
        0x84 => 0x54,
        _ => SET_1.get(usize::from(code)).copied().unwrap_or(code),
    }
}

/// The commands that take a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Expects {
    Command,
    Leds,
    Typematic,
    ScanCodeSet,
    /// How a single key is to behave in set 3: whether it repeats, whether it tells its release.
    Key {
        repeats: bool,
        breaks: bool,
    },
}

/// How a key is to behave in set 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Behavior {
    repeats: bool,
    breaks: bool,
}

impl From<Style> for Behavior {
    fn from(style: Style) -> Self {
        Self { repeats: style == Style::Typematic, breaks: style == Style::MakeBreak }
    }
}

/// The key that repeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Repeat {
    key: Key,
    /// When it does next.
    at: VmTime,
}

/// The keyboard.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Keyboard {
    output: VecDeque<u8>,
    /// The last byte that was sent, for RESEND.
    last: u8,
    expects: Expects,
    /// Keys are reported.
    scanning: bool,
    set: u8,
    leds: u8,
    typematic: u8,
    /// The keys that are held down.
    down: Vec<Key>,
    repeat: Option<Repeat>,
    /// Of every key, in the order of [`Key::ALL`].
    set_3: Vec<Behavior>,
}

impl Keyboard {
    pub(super) fn new() -> Self {
        Self {
            output: VecDeque::new(),
            last: PASSED,
            expects: Expects::Command,
            scanning: true,
            set: 2,
            leds: 0,
            typematic: TYPEMATIC,
            down: Vec::new(),
            repeat: None,
            set_3: Key::ALL.iter().map(|key| key.codes().style.into()).collect(),
        }
    }

    /// After a command that sets defaults; keys that are held down stay so.
    fn set_defaults(&mut self) {
        *self = Self { down: std::mem::take(&mut self.down), ..Self::new() };
    }

    pub(super) fn is_valid(&self) -> bool {
        let is_twice = |(n, key): (usize, &Key)| self.down[..n].contains(key);
        self.output.len() <= SIZE
            && matches!(self.set, 1..=3)
            && self.leds <= 7
            && self.typematic <= 0x7f
            && self.set_3.len() == Key::ALL.len()
            && !self.down.iter().enumerate().any(is_twice)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// The lights: Scroll Lock, Num Lock and Caps Lock in bits 0, 1 and 2.
    pub(super) fn leds(&self) -> u8 {
        self.leds
    }

    /// The next byte goes onto the cable.
    pub(super) fn take(&mut self) -> Option<u8> {
        let byte = self.output.pop_front()?;
        self.last = byte;
        Some(byte)
    }

    /// When the key that is held down repeats.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        self.repeat.map(|repeat| repeat.at)
    }

    /// Repeats what is due; of what comes late, only once.
    pub(super) fn advance(&mut self, now: VmTime) {
        let period_ns = self.typematic_period_ns();
        if let Some(repeat) = self.repeat.as_mut().filter(|repeat| repeat.at <= now) {
            let key = repeat.key;
            let late = now.since(repeat.at) / period_ns;
            repeat.at = repeat.at.after_ns((late + 1).saturating_mul(period_ns));
            let codes = self.make(key);
            self.report(&codes);
        }
    }

    fn typematic_period_ns(&self) -> u64 {
        let [unit, shift] = [self.typematic & 7, self.typematic >> 3 & 3];
        (8 + u64::from(unit) << shift) * TYPEMATIC_UNIT_NS
    }

    fn behavior(&self, key: Key) -> Behavior {
        match self.set {
            3 => self.set_3.get(key as usize).copied().unwrap_or(key.codes().style.into()),
            _ => Behavior { repeats: key != Key::Pause, breaks: true },
        }
    }

    /// A key goes down or up. False if it cannot be told, for lack of room: nothing has happened.
    pub(super) fn key(&mut self, now: VmTime, key: Key, goes_down: bool) -> bool {
        if self.down.contains(&key) == goes_down {
            return true;
        }
        let codes = match goes_down {
            true => self.make(key),
            false if self.behavior(key).breaks => self.break_codes(key),
            false => Vec::new(),
        };
        if self.scanning && !self.report(&codes) {
            return false;
        }
        if goes_down {
            self.down.push(key);
            let delay_ns = (u64::from(self.typematic >> 5 & 3) + 1) * TYPEMATIC_DELAY_NS;
            let repeats = self.scanning && self.behavior(key).repeats;
            self.repeat = repeats.then(|| Repeat { key, at: now.after_ns(delay_ns) });
        } else {
            self.down.retain(|down| *down != key);
            self.repeat = self.repeat.filter(|repeat| repeat.key != key);
        }
        true
    }

    /// The keys that are held down.
    pub(super) fn down(&self) -> &[Key] {
        &self.down
    }

    /// Sends codes, all or none.
    fn report(&mut self, codes: &[u8]) -> bool {
        let fits = self.output.len() + codes.len() <= TYPED;
        if fits {
            self.output.extend(codes);
        }
        fits
    }

    /// What the keyboard sends when a key goes down.
    fn make(&self, key: Key) -> Vec<u8> {
        let [prefix, code] = key.codes().set_2.to_be_bytes();
        let codes = match key {
            _ if self.set == 3 => vec![key.codes().set_3],
            Key::Pause if self.has_control() => vec![0xe0, 0x7e, 0xe0, RELEASE, 0x7e],
            Key::Pause => vec![0xe1, 0x14, 0x77, 0xe1, RELEASE, 0x14, RELEASE, 0x77],
            Key::PrintScreen if self.has_alt() => vec![0x84],
            Key::PrintScreen if self.has_control() || self.has_shift() => vec![0xe0, 0x7c],
            Key::PrintScreen => vec![0xe0, 0x12, 0xe0, 0x7c],
            _ if prefix != 0 => vec![prefix, code],
            _ => vec![code],
        };
        self.in_set(codes)
    }

    /// What it sends when a key goes up.
    fn break_codes(&self, key: Key) -> Vec<u8> {
        let [prefix, code] = key.codes().set_2.to_be_bytes();
        let codes = match key {
            _ if self.set == 3 => vec![RELEASE, key.codes().set_3],
            // It has said all when it went down.
            Key::Pause => vec![],
            Key::PrintScreen if self.has_alt() => vec![RELEASE, 0x84],
            Key::PrintScreen if self.has_control() || self.has_shift() => vec![0xe0, RELEASE, 0x7c],
            Key::PrintScreen => vec![0xe0, RELEASE, 0x7c, 0xe0, RELEASE, 0x12],
            _ if prefix != 0 => vec![prefix, RELEASE, code],
            _ => vec![RELEASE, code],
        };
        self.in_set(codes)
    }

    fn has_alt(&self) -> bool {
        self.down.iter().any(|key| matches!(key, Key::AltLeft | Key::AltRight))
    }

    fn has_control(&self) -> bool {
        self.down.iter().any(|key| matches!(key, Key::ControlLeft | Key::ControlRight))
    }

    fn has_shift(&self) -> bool {
        self.down.iter().any(|key| matches!(key, Key::ShiftLeft | Key::ShiftRight))
    }

    /// Codes of set 2 as those of set 1, if that is the one.
    fn in_set(&self, codes: Vec<u8>) -> Vec<u8> {
        if self.set != 1 {
            return codes;
        }
        let mut release = 0;
        let translate = |code: u8| match code {
            RELEASE => {
                release = 0x80;
                None
            }
            0xe0 | 0xe1 => Some(code),
            _ => Some(set_1(code) | std::mem::take(&mut release)),
        };
        codes.into_iter().filter_map(translate).collect()
    }

    fn answer(&mut self, bytes: &[u8]) {
        if self.output.len() + bytes.len() <= SIZE {
            self.output.extend(bytes);
        }
    }

    /// A byte from the controller. It cuts off whatever the keyboard was about to send.
    pub(super) fn write(&mut self, value: u8) {
        self.output.clear();
        match (std::mem::replace(&mut self.expects, Expects::Command), value) {
            // No argument is above EFh: this is a new command.
            (Expects::Command, _) | (_, 0xed..) => self.command(value),
            (Expects::Leds, _) => {
                self.leds = value & 7;
                self.answer(&[ACK]);
            }
            (Expects::Typematic, _) => {
                self.typematic = value & 0x7f;
                self.answer(&[ACK]);
            }
            (Expects::ScanCodeSet, 0) => self.answer(&[ACK, self.set]),
            (Expects::ScanCodeSet, 1..=3) => {
                self.set = value;
                self.repeat = None;
                self.answer(&[ACK]);
            }
            (Expects::Key { repeats, breaks }, _) => {
                let key = Key::ALL.iter().position(|key| key.codes().set_3 == value);
                if let Some(behavior) = key.and_then(|key| self.set_3.get_mut(key)) {
                    *behavior = Behavior { repeats, breaks };
                }
                self.answer(&[ACK]);
            }
            (Expects::ScanCodeSet, _) => self.answer(&[RESEND]),
        }
    }

    fn command(&mut self, command: u8) {
        match command {
            0xed => self.expect(Expects::Leds),
            0xee => self.answer(&[0xee]),
            0xf0 => self.expect(Expects::ScanCodeSet),
            0xf2 => self.answer(&[ACK, IDENTITY[0], IDENTITY[1]]),
            0xf3 => self.expect(Expects::Typematic),
            0xf4 => {
                self.scanning = true;
                self.answer(&[ACK]);
            }
            0xf5 | 0xf6 => {
                let leds = self.leds;
                self.set_defaults();
                (self.leds, self.scanning) = (leds, command == 0xf6);
                self.answer(&[ACK]);
            }
            // How all keys are to behave in set 3.
            0xf7..=0xfa => {
                let [repeats, breaks] = behavior_of(command + 4);
                self.set_3.fill(Behavior { repeats, breaks });
                self.answer(&[ACK]);
            }
            0xfb..=0xfd => {
                let [repeats, breaks] = behavior_of(command);
                self.expect(Expects::Key { repeats, breaks });
            }
            0xfe => self.answer(&[self.last]),
            0xff => {
                self.set_defaults();
                self.answer(&[ACK, PASSED]);
            }
            _ => self.answer(&[RESEND]),
        }
    }

    fn expect(&mut self, expects: Expects) {
        self.expects = expects;
        self.answer(&[ACK]);
    }
}

/// What commands FBh (typematic), FCh (make and break) and FDh (make only) make of a key: whether it
/// repeats and whether it tells its release. Those for all keys are four less, with one for both.
fn behavior_of(command: u8) -> [bool; 2] {
    match command {
        0xfb => [true, false],
        0xfc => [false, true],
        0xfd => [false, false],
        _ => [true, true],
    }
}
