//! The keyboard at the end of the cable: an enhanced (101-key) keyboard with scan code sets 1
//! and 2.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)".

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Scan code set 2: the next code is a key that was released.
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
    /// Of a command for a single key in set 3.
    Key,
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
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.output.len() <= SIZE && matches!(self.set, 1 | 2)
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// The next byte goes onto the cable.
    pub(super) fn take(&mut self) -> Option<u8> {
        let byte = self.output.pop_front()?;
        self.last = byte;
        Some(byte)
    }

    /// Keys, as codes of set 2.
    pub(super) fn key(&mut self, codes: &[u8]) {
        if !self.scanning || self.output.len().saturating_add(codes.len()) > TYPED {
            return;
        }
        if self.set == 2 {
            self.output.extend(codes);
            return;
        }
        let mut release = 0;
        for code in codes {
            if *code == RELEASE {
                release = 0x80;
            } else {
                self.output.push_back(set_1(*code) | release);
                release = 0;
            }
        }
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
            (Expects::ScanCodeSet, 1 | 2) => {
                self.set = value;
                self.answer(&[ACK]);
            }
            // Like many since, this keyboard has no set 3: it stays with the set it has.
            (Expects::ScanCodeSet, 3) | (Expects::Key, _) => self.answer(&[ACK]),
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
                *self = Self { scanning: command == 0xf6, leds: self.leds, ..Self::new() };
                self.answer(&[ACK]);
            }
            // Which keys repeat and report their release, in set 3: for all keys, for one.
            0xf7..=0xfa => self.answer(&[ACK]),
            0xfb..=0xfd => self.expect(Expects::Key),
            0xfe => self.answer(&[self.last]),
            0xff => {
                *self = Self::new();
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
