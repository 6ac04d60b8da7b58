//! The mouse at the end of the other cable: a PS/2 mouse with two buttons that nobody moves yet.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Mouse".

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

const ACK: u8 = 0xfa;
/// The mouse did not understand: first time, and again.
const RESEND: u8 = 0xfe;
/// The self test passed.
const PASSED: u8 = 0xaa;
/// The identity of a mouse without a wheel.
const IDENTITY: u8 = 0x00;
/// A report of no movement; bit 3 is always set.
const STILL: [u8; 3] = [0x08, 0, 0];
/// Room for the longest answer.
const SIZE: usize = 16;

/// The commands that take a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Expects {
    Command,
    Resolution,
    SampleRate,
}

/// The mouse.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Mouse {
    output: VecDeque<u8>,
    /// The last byte that was sent, for RESEND.
    last: u8,
    expects: Expects,
    /// Reports are sent in stream mode.
    reporting: bool,
    /// Reports are sent only when asked for.
    remote: bool,
    /// Every byte is echoed.
    wrap: bool,
    scaling_2_1: bool,
    /// Counts per millimetre as an exponent: 0 to 3.
    resolution: u8,
    /// Reports per second.
    sample_rate: u8,
}

impl Mouse {
    pub(super) fn new() -> Self {
        Self {
            output: VecDeque::new(),
            last: PASSED,
            expects: Expects::Command,
            reporting: false,
            remote: false,
            wrap: false,
            scaling_2_1: false,
            resolution: 2,
            sample_rate: 100,
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.output.len() <= SIZE && self.resolution <= 3
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

    fn answer(&mut self, bytes: &[u8]) {
        if self.output.len() + bytes.len() <= SIZE {
            self.output.extend(bytes);
        }
    }

    /// A byte from the controller. It cuts off whatever the mouse was about to send.
    pub(super) fn write(&mut self, value: u8) {
        self.output.clear();
        if self.wrap && !matches!(value, 0xec | 0xff) {
            self.answer(&[value]);
            return;
        }
        match (std::mem::replace(&mut self.expects, Expects::Command), value) {
            (Expects::Command, _) => self.command(value),
            (Expects::Resolution, 0..=3) => {
                self.resolution = value;
                self.answer(&[ACK]);
            }
            (Expects::SampleRate, 10 | 20 | 40 | 60 | 80 | 100 | 200) => {
                self.sample_rate = value;
                self.answer(&[ACK]);
            }
            (Expects::Resolution | Expects::SampleRate, _) => self.answer(&[RESEND]),
        }
    }

    fn command(&mut self, command: u8) {
        match command {
            0xe6 | 0xe7 => self.scaling_2_1 = command == 0xe7,
            0xe8 => self.expects = Expects::Resolution,
            0xe9 => {
                let status = u8::from(self.remote) << 6
                    | u8::from(self.reporting) << 5
                    | u8::from(self.scaling_2_1) << 4;
                self.answer(&[ACK, status, self.resolution, self.sample_rate]);
                return;
            }
            0xea => self.remote = false,
            0xeb => {
                self.answer(&[ACK]);
                self.answer(&STILL);
                return;
            }
            0xec => self.wrap = false,
            0xee => self.wrap = true,
            0xf0 => self.remote = true,
            0xf2 => {
                self.answer(&[ACK, IDENTITY]);
                return;
            }
            0xf3 => self.expects = Expects::SampleRate,
            0xf4 => self.reporting = true,
            0xf5 => self.reporting = false,
            0xf6 => *self = Self::new(),
            0xfe => {
                self.answer(&[self.last]);
                return;
            }
            0xff => {
                *self = Self::new();
                self.answer(&[ACK, PASSED, IDENTITY]);
                return;
            }
            _ => {
                self.answer(&[RESEND]);
                return;
            }
        }
        self.answer(&[ACK]);
    }
}
