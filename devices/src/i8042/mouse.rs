//! The mouse at the end of the other cable: a PS/2 mouse of two or three buttons, which turns into
//! one with a wheel, or with a wheel and five buttons, for a driver that knows how to ask.
//!
//! Sources: IBM PS/2 Hardware Interface Technical Reference, "Mouse"; for the wheel and the further
//! buttons Microsoft's IntelliMouse and IntelliMouse Explorer, as "The PS/2 Mouse Interface" by
//! A. Chapweske describes them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

const ACK: u8 = 0xfa;
/// The mouse did not understand: first time, and again.
const RESEND: u8 = 0xfe;
/// The self test passed.
const PASSED: u8 = 0xaa;
/// The identity of a mouse without a wheel, of one with, and of one with five buttons as well.
const PLAIN: u8 = 0x00;
const WHEEL: u8 = 0x03;
const EXPLORER: u8 = 0x04;
/// The last sample rates that a driver sets to get a mouse with a wheel, and with five buttons.
const WHEEL_KNOCK: [u8; 3] = [200, 100, 80];
const EXPLORER_KNOCK: [u8; 3] = [200, 200, 80];
/// Room for the longest answer.
const SIZE: usize = 16;
/// The most counts of a report; with scaling they are doubled.
const COUNTS_MAX: i32 = 255;
const SCALED_COUNTS_MAX: i32 = 127;
/// What has not been told yet is kept up to here.
const PENDING_MAX: i32 = 1 << 20;

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
    identity: u8,
    /// Reports are sent in stream mode.
    reporting: bool,
    /// Reports are sent only when asked for.
    remote: bool,
    /// Every byte is echoed.
    wrap: bool,
    scaling_2_1: bool,
    /// Counts per millimetre as an exponent: 0 to 3. It is told, no more: counts come from outside.
    resolution: u8,
    /// Reports per second.
    sample_rate: u8,
    /// The last sample rates that were set.
    knock: [u8; 3],
    /// Counts to the right, up and (of the wheel) towards the user that were not reported yet.
    right: i32,
    up: i32,
    wheel: i32,
    buttons: u8,
    reported_buttons: u8,
    /// When the next report may be sent in stream mode.
    report_at: VmTime,
}

impl Mouse {
    pub(super) fn new() -> Self {
        Self {
            output: VecDeque::new(),
            last: PASSED,
            expects: Expects::Command,
            identity: PLAIN,
            reporting: false,
            remote: false,
            wrap: false,
            scaling_2_1: false,
            resolution: 2,
            sample_rate: 100,
            knock: [0; 3],
            right: 0,
            up: 0,
            wheel: 0,
            buttons: 0,
            reported_buttons: 0,
            report_at: VmTime::ZERO,
        }
    }

    /// Everything but what the hand does is as after power-on.
    fn set_defaults(&mut self, identity: u8) {
        let (buttons, report_at) = (self.buttons, self.report_at);
        *self = Self { identity, buttons, report_at, ..Self::new() };
    }

    pub(super) fn is_valid(&self) -> bool {
        let counts = [self.right, self.up, self.wheel];
        self.output.len() <= SIZE
            && self.resolution <= 3
            && is_sample_rate(self.sample_rate)
            && matches!(self.identity, PLAIN | WHEEL | EXPLORER)
            && counts.iter().all(|count| (-PENDING_MAX..=PENDING_MAX).contains(count))
            && (self.buttons | self.reported_buttons) & !0x1f == 0
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

    /// The hand moves the mouse and the wheel, and holds these buttons.
    pub(super) fn point(&mut self, right: i32, down: i32, wheel: i32, buttons: u8) {
        let add = |pending: &mut i32, count: i32| {
            *pending = pending.saturating_add(count).clamp(-PENDING_MAX, PENDING_MAX);
        };
        add(&mut self.right, right);
        add(&mut self.up, down.saturating_neg());
        add(&mut self.wheel, wheel);
        self.buttons = buttons & 0x1f;
    }

    /// The buttons that a driver can know of.
    fn known_buttons(&self) -> u8 {
        self.buttons & if self.identity == EXPLORER { 0x1f } else { 7 }
    }

    /// Whether there is anything to report.
    fn has_news(&self) -> bool {
        let wheel = if self.identity == PLAIN { 0 } else { self.wheel };
        (self.right, self.up, wheel) != (0, 0, 0) || self.known_buttons() != self.reported_buttons
    }

    /// When the next report is sent.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        let streams = self.reporting && !self.remote && !self.wrap;
        (streams && !self.has_output() && self.has_news()).then_some(self.report_at)
    }

    /// Sends a report, if one is due. A report that is not wholly sent holds up the next one.
    pub(super) fn advance(&mut self, now: VmTime) {
        if self.next_event().is_some_and(|at| at <= now) {
            self.report(self.scaling_2_1);
            self.report_at = now.after_ns(1_000_000_000 / u64::from(self.sample_rate));
        }
    }

    /// Sends what was not reported yet, or as much of it as a report can hold.
    fn report(&mut self, is_scaled: bool) {
        let largest = if is_scaled { SCALED_COUNTS_MAX } else { COUNTS_MAX };
        let take = |pending: &mut i32, low: i32, high: i32| {
            let count = (*pending).clamp(low, high);
            *pending -= count;
            count
        };
        let moved = [&mut self.right, &mut self.up].map(|pending| take(pending, -largest, largest));
        let [right, up] = moved.map(|count| if is_scaled { scaled(count) } else { count });
        let buttons = self.known_buttons();
        self.reported_buttons = buttons;
        let signs = u8::from(right < 0) << 4 | u8::from(up < 0) << 5;
        // Bit 3 is always set.
        let mut report = vec![buttons & 7 | 0x08 | signs, right as u8, up as u8];
        match self.identity {
            PLAIN => self.wheel = 0,
            WHEEL => report.push(take(&mut self.wheel, -128, 127) as u8),
            _ => {
                let wheel = take(&mut self.wheel, -8, 7) as u8 & 0x0f;
                report.push(wheel | (buttons & 0x18) << 1);
            }
        }
        self.answer(&report);
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
            (Expects::SampleRate, _) if is_sample_rate(value) => {
                self.sample_rate = value;
                self.knock = [self.knock[1], self.knock[2], value];
                match self.knock {
                    WHEEL_KNOCK => self.identity = WHEEL,
                    EXPLORER_KNOCK => self.identity = EXPLORER,
                    _ => {}
                }
                self.answer(&[ACK]);
            }
            (Expects::Resolution | Expects::SampleRate, _) => self.answer(&[RESEND]),
        }
    }

    /// The three bytes that say how the mouse is set.
    fn status(&self) -> [u8; 3] {
        let [left, right, middle] = [0, 1, 2].map(|n| self.buttons >> n & 1);
        let modes = u8::from(self.remote) << 6
            | u8::from(self.reporting) << 5
            | u8::from(self.scaling_2_1) << 4;
        [modes | left << 2 | middle << 1 | right, self.resolution, self.sample_rate]
    }

    fn command(&mut self, command: u8) {
        match command {
            0xe6 | 0xe7 => self.scaling_2_1 = command == 0xe7,
            0xe8 => self.expects = Expects::Resolution,
            0xe9 => {
                let [modes, resolution, sample_rate] = self.status();
                return self.answer(&[ACK, modes, resolution, sample_rate]);
            }
            0xea => self.remote = false,
            0xeb => {
                self.answer(&[ACK]);
                return self.report(false);
            }
            0xec => self.wrap = false,
            0xee => self.wrap = true,
            0xf0 => self.remote = true,
            0xf2 => return self.answer(&[ACK, self.identity]),
            0xf3 => self.expects = Expects::SampleRate,
            0xf4 => self.reporting = true,
            0xf5 => self.reporting = false,
            0xf6 => self.set_defaults(self.identity),
            0xfe => return self.answer(&[self.last]),
            0xff => {
                self.set_defaults(PLAIN);
                return self.answer(&[ACK, PASSED, PLAIN]);
            }
            _ => return self.answer(&[RESEND]),
        }
        self.answer(&[ACK]);
    }
}

fn is_sample_rate(value: u8) -> bool {
    matches!(value, 10 | 20 | 40 | 60 | 80 | 100 | 200)
}

/// A count with 2:1 scaling, which is there to make large movements larger.
fn scaled(count: i32) -> i32 {
    let large = match count.abs() {
        2 => 1,
        4 => 6,
        5 => 9,
        count @ (0 | 1 | 3) => count,
        count => 2 * count,
    };
    large * count.signum()
}
