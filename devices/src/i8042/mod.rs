//! The 8042 keyboard controller of a PC, with a keyboard and a mouse attached.
//!
//! Sources: IBM PC AT Technical Reference, "Keyboard Controller"; IBM PS/2 Hardware Interface
//! Technical Reference, "Keyboard and Auxiliary Device Controller".
//!
//! A byte from a device takes a quarter of a millisecond on its cable, faster than any real one;
//! a byte from the controller itself appears at once. Until the next byte has come, the data port
//! reads the last one again, as interrupt handlers that chain to another rely on.

mod keyboard;
mod mouse;

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{
    Backplane, Cx, Device, Key, Line, LoadError, Ports, Power, Saved, Signal, Timed,
    remarks::Remarks,
};
use keyboard::Keyboard;
use mouse::Mouse;

/// The chip's name.
const NAME: &str = "i8042";
/// How long a byte takes on a device's cable.
const BYTE_NS: u64 = 250_000;

const STATUS_OUTPUT_FULL: u8 = 1 << 0;
const STATUS_SYSTEM: u8 = 1 << 2;
/// Status: the last write was a command.
const STATUS_COMMAND: u8 = 1 << 3;
/// Status: the keyboard lock is open.
const STATUS_UNLOCKED: u8 = 1 << 4;
/// Status: the byte in the output buffer is the mouse's.
const STATUS_AUX_FULL: u8 = 1 << 5;

const CONFIG_KEYBOARD_IRQ: u8 = 1 << 0;
const CONFIG_AUX_IRQ: u8 = 1 << 1;
const CONFIG_SYSTEM: u8 = 1 << 2;
const CONFIG_KEYBOARD_OFF: u8 = 1 << 4;
const CONFIG_AUX_OFF: u8 = 1 << 5;
const CONFIG_TRANSLATE: u8 = 1 << 6;

const OUTPUT_NO_RESET: u8 = 1 << 0;
const OUTPUT_A20: u8 = 1 << 1;
const OUTPUT_KEYBOARD_IRQ: u8 = 1 << 4;
const OUTPUT_AUX_IRQ: u8 = 1 << 5;
/// The keyboard's clock and data lines, as the controller drives them when idle.
const OUTPUT_IDLE: u8 = 0xc0;

/// What the input port reads: lock open, no manufacturing jumper, 512 KiB on the board.
const INPUT_PORT: u8 = 0xb0;

/// Where a byte in the output buffer comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Source {
    Keyboard,
    Aux,
}

/// What a write to the data port is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Expects {
    /// The keyboard.
    Keyboard,
    /// A byte of the controller's RAM, 0 to 31.
    Ram(u8),
    OutputPort,
    /// The output buffer, as if from a device.
    Output(Source),
    /// The mouse.
    Aux,
}

/// The controller proper.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Controller {
    /// The command byte (RAM byte 0).
    config: u8,
    /// RAM bytes 1 to 31 at their index; byte 0 is `config`.
    ram: [u8; 32],
    expects: Expects,
    /// The last write went to the command port.
    commanded: bool,
    a20: bool,
    /// The byte that the data port reads.
    data: u8,
    /// Whose it is, until it is read.
    full: Option<Source>,
    /// A byte that waits until the output buffer is empty.
    reply: Option<(u8, Source)>,
    /// When the next byte from a device will have arrived.
    cable_at: VmTime,
    /// Translation: the keyboard's last byte was F0h.
    release: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    controller: Controller,
    keyboard: Keyboard,
    mouse: Mouse,
}

impl State {
    fn new() -> Self {
        let controller = Controller {
            config: CONFIG_KEYBOARD_IRQ | CONFIG_AUX_OFF | CONFIG_TRANSLATE,
            ram: [0; 32],
            expects: Expects::Keyboard,
            commanded: false,
            a20: true,
            data: 0,
            full: None,
            reply: None,
            cable_at: VmTime::ZERO,
            release: false,
        };
        Self { controller, keyboard: Keyboard::new(), mouse: Mouse::new() }
    }

    /// The device whose byte comes next, if its interface is enabled.
    fn sender(&self) -> Option<Source> {
        let Controller { config, .. } = self.controller;
        if config & CONFIG_KEYBOARD_OFF == 0 && self.keyboard.has_output() {
            Some(Source::Keyboard)
        } else if config & CONFIG_AUX_OFF == 0 && self.mouse.has_output() {
            Some(Source::Aux)
        } else {
            None
        }
    }

    fn irq(&self, source: Source) -> bool {
        let enable = match source {
            Source::Keyboard => CONFIG_KEYBOARD_IRQ,
            Source::Aux => CONFIG_AUX_IRQ,
        };
        self.controller.full == Some(source) && self.controller.config & enable != 0
    }
}

/// The keyboard controller, its keyboard and its mouse.
///
/// The A20 output is high from the start, as its pull-up has it; the board combines it with
/// port 92h. The command byte starts as firmware leaves it (keyboard interrupt and translation
/// on, mouse off), so that a kernel booted without firmware finds a keyboard that works.
pub struct I8042 {
    keyboard_irq: Line,
    aux_irq: Line,
    a20: Line,
    backplane: Backplane,
    remarks: Remarks,
    state: State,
}

impl I8042 {
    /// Register: data (60h on a PC).
    pub const DATA: u16 = 0;
    /// Register: status (read) and command (write) (64h on a PC).
    pub const STATUS_COMMAND: u16 = 1;

    /// A controller after power-on; resets of the CPU are said on `backplane`.
    #[must_use]
    pub fn new(keyboard_irq: Line, aux_irq: Line, a20: Line, backplane: Backplane) -> Self {
        let remarks = Remarks::new(NAME, 16);
        let state = State::new();
        let mut chip = Self { keyboard_irq, aux_irq, a20, backplane, remarks, state };
        chip.drive();
        chip
    }

    /// A key goes down or up; one that is held down repeats by itself. False if the keyboard has no
    /// room to remember it: then nothing has happened, and it is to be tried again later.
    pub fn key(&mut self, cx: &mut Cx<'_>, key: Key, goes_down: bool) -> bool {
        self.transfer(cx.now);
        let is_told = self.state.keyboard.key(cx.now, key, goes_down);
        self.transfer(cx.now);
        is_told
    }

    /// The keys that are held down.
    #[must_use]
    pub fn keys_down(&self) -> &[Key] {
        self.state.keyboard.down()
    }

    /// The lights on the keyboard: Scroll Lock, Num Lock and Caps Lock in bits 0, 1 and 2.
    #[must_use]
    pub fn leds(&self) -> u8 {
        self.state.keyboard.leds()
    }

    /// The mouse moves by counts to the right and down, its wheel by notches towards the user, and
    /// `buttons` are held down now: left, right, middle, fourth and fifth in bits 0 to 4. What a
    /// driver has not been told yet adds up.
    pub fn point(&mut self, cx: &mut Cx<'_>, right: i32, down: i32, wheel: i32, buttons: u8) {
        self.state.mouse.point(right, down, wheel, buttons);
        self.transfer(cx.now);
    }

    fn drive(&mut self) {
        self.keyboard_irq.set(self.state.irq(Source::Keyboard));
        self.aux_irq.set(self.state.irq(Source::Aux));
        self.a20.set(self.state.controller.a20);
    }

    /// Fills the output buffer, if it is empty and a byte is there.
    fn transfer(&mut self, now: VmTime) {
        self.state.keyboard.advance(now);
        self.state.mouse.advance(now);
        let sender = self.state.sender();
        let State { controller, keyboard, mouse } = &mut self.state;
        if controller.full.is_none() {
            if let Some((byte, source)) = controller.reply.take() {
                controller.fill(byte, source);
            } else if now >= controller.cable_at {
                match sender {
                    Some(Source::Keyboard) => {
                        if let Some(byte) = keyboard.take().and_then(|b| controller.translate(b)) {
                            controller.fill(byte, Source::Keyboard);
                        }
                    }
                    Some(Source::Aux) => {
                        if let Some(byte) = mouse.take() {
                            controller.fill(byte, Source::Aux);
                        }
                    }
                    None => {}
                }
                if sender.is_some() {
                    // With the buffer still empty (a swallowed F0h), the next is on its way.
                    controller.cable_at = now.after_ns(BYTE_NS);
                }
            }
        }
        self.drive();
    }

    fn read_data(&mut self, now: VmTime) -> u8 {
        let controller = &mut self.state.controller;
        if controller.full.take().is_some() {
            controller.cable_at = now.after_ns(BYTE_NS);
        }
        let data = controller.data;
        self.drive();
        self.transfer(now);
        data
    }

    fn read_status(&self) -> u8 {
        let Controller { config, commanded, full, .. } = self.state.controller;
        let full = match full {
            None => 0,
            Some(Source::Keyboard) => STATUS_OUTPUT_FULL,
            Some(Source::Aux) => STATUS_OUTPUT_FULL | STATUS_AUX_FULL,
        };
        let system = if config & CONFIG_SYSTEM != 0 { STATUS_SYSTEM } else { 0 };
        let commanded = if commanded { STATUS_COMMAND } else { 0 };
        STATUS_UNLOCKED | full | system | commanded
    }

    fn output_port(&self) -> u8 {
        let a20 = if self.state.controller.a20 { OUTPUT_A20 } else { 0 };
        let keyboard = if self.state.irq(Source::Keyboard) { OUTPUT_KEYBOARD_IRQ } else { 0 };
        let aux = if self.state.irq(Source::Aux) { OUTPUT_AUX_IRQ } else { 0 };
        OUTPUT_IDLE | OUTPUT_NO_RESET | a20 | keyboard | aux
    }

    fn write_output_port(&mut self, value: u8) {
        self.state.controller.a20 = value & OUTPUT_A20 != 0;
        if value & OUTPUT_NO_RESET == 0 {
            self.backplane.say(Signal::Power(Power::Reset));
        }
    }

    fn write_data(&mut self, now: VmTime, value: u8) {
        let State { controller, keyboard, mouse } = &mut self.state;
        controller.commanded = false;
        match std::mem::replace(&mut controller.expects, Expects::Keyboard) {
            Expects::Keyboard => {
                // A byte for a device enables its interface.
                controller.config &= !CONFIG_KEYBOARD_OFF;
                keyboard.write(value);
                controller.cable_at = controller.cable_at.max(now.after_ns(BYTE_NS));
            }
            Expects::Aux => {
                controller.config &= !CONFIG_AUX_OFF;
                mouse.write(value);
                controller.cable_at = controller.cable_at.max(now.after_ns(BYTE_NS));
            }
            Expects::Ram(0) => controller.config = value,
            Expects::Ram(index) => controller.ram[usize::from(index & 0x1f)] = value,
            Expects::Output(source) => controller.reply = Some((value, source)),
            Expects::OutputPort => self.write_output_port(value),
        }
    }

    fn write_command(&mut self, command: u8) {
        let output_port = self.output_port();
        let controller = &mut self.state.controller;
        controller.commanded = true;
        controller.expects = Expects::Keyboard;
        match command {
            0x20 => controller.answer(controller.config),
            0x21..=0x3f => controller.answer(controller.ram[usize::from(command & 0x1f)]),
            0x60..=0x7f => controller.expects = Expects::Ram(command & 0x1f),
            // No password is installed.
            0xa4 => controller.answer(0xf1),
            0xa7 => controller.config |= CONFIG_AUX_OFF,
            0xa8 => controller.config &= !CONFIG_AUX_OFF,
            // Interface tests: clock and data lines are sound.
            0xa9 | 0xab => controller.answer(0x00),
            0xaa => {
                controller.config |= CONFIG_SYSTEM;
                controller.answer(0x55);
            }
            0xad => controller.config |= CONFIG_KEYBOARD_OFF,
            0xae => controller.config &= !CONFIG_KEYBOARD_OFF,
            0xc0 => controller.answer(INPUT_PORT),
            0xd0 => controller.answer(output_port),
            0xd1 => controller.expects = Expects::OutputPort,
            0xd2 => controller.expects = Expects::Output(Source::Keyboard),
            0xd3 => controller.expects = Expects::Output(Source::Aux),
            0xd4 => controller.expects = Expects::Aux,
            // Not IBM's, but of many controllers since: the A20 gate in one command.
            0xdd => controller.a20 = false,
            0xdf => controller.a20 = true,
            // The test inputs: both clock lines idle.
            0xe0 => controller.answer(0x00),
            // Pulses the output port bits that are 0; only the reset line is worth one.
            0xf0..=0xff if command & OUTPUT_NO_RESET == 0 => {
                self.backplane.say(Signal::Power(Power::Reset));
            }
            0xf0..=0xff => {}
            _ => self.remarks.say(format_args!("command {command:02x} is not known")),
        }
    }
}

impl Controller {
    fn fill(&mut self, byte: u8, source: Source) {
        self.data = byte;
        self.full = Some(source);
    }

    /// An answer of the controller itself.
    fn answer(&mut self, byte: u8) {
        self.reply = Some((byte, Source::Keyboard));
    }

    /// A byte from the keyboard on its way to the output buffer.
    fn translate(&mut self, byte: u8) -> Option<u8> {
        if self.config & CONFIG_TRANSLATE == 0 {
            return Some(byte);
        }
        if byte == keyboard::RELEASE {
            self.release = true;
            return None;
        }
        let release = if std::mem::take(&mut self.release) { 0x80 } else { 0 };
        Some(keyboard::set_1(byte) | release)
    }
}

impl Device for I8042 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state = State::new();
        self.drive();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name())?;
        if !state.keyboard.is_valid() || !state.mouse.is_valid() {
            let reason = "a device's output queue or mode is out of range".to_owned();
            return Err(LoadError::Damaged { device: self.name(), reason });
        }
        self.state = state;
        self.keyboard_irq.restore(self.state.irq(Source::Keyboard));
        self.aux_irq.restore(self.state.irq(Source::Aux));
        self.a20.restore(self.state.controller.a20);
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

/// The two registers are not neighbours: of a wide access, only the first byte arrives.
impl Ports for I8042 {
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        self.transfer(cx.now);
        if let Some(byte) = data.first_mut() {
            match reg {
                Self::DATA => *byte = self.read_data(cx.now),
                Self::STATUS_COMMAND => *byte = self.read_status(),
                _ => {}
            }
        }
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        self.transfer(cx.now);
        match (reg, data.first()) {
            (Self::DATA, Some(value)) => self.write_data(cx.now, *value),
            (Self::STATUS_COMMAND, Some(value)) => self.write_command(*value),
            _ => {}
        }
        self.transfer(cx.now);
    }
}

impl Timed for I8042 {
    fn next_event(&self) -> Option<VmTime> {
        let State { controller, keyboard, mouse } = &self.state;
        let brings = controller.full.is_none() && self.state.sender().is_some();
        let byte = brings.then_some(controller.cable_at);
        [byte, keyboard.next_event(), mouse.next_event()].into_iter().flatten().min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.transfer(cx.now);
    }
}

#[cfg(test)]
mod tests;
