//! A port's registers (AHCI 1.3.1, section 3.3), and the drive behind them.

use serde::{Deserialize, Serialize};
use trine_guest::{Gpa, VmTime};

use super::{
    command::Slot,
    frame::{self, Registers},
};
use crate::{
    AtaDrive, Cx, Disk,
    ata::{DriveState, Phase},
};

const CLB: u64 = 0x00;
const CLBU: u64 = 0x04;
const FB: u64 = 0x08;
const FBU: u64 = 0x0c;
const IS: u64 = 0x10;
const IE: u64 = 0x14;
const CMD: u64 = 0x18;
const TFD: u64 = 0x20;
const SIG: u64 = 0x24;
const SSTS: u64 = 0x28;
const SCTL: u64 = 0x2c;
const SERR: u64 = 0x30;
const SACT: u64 = 0x34;
const CI: u64 = 0x38;

/// Interrupts: frames received (register, PIO setup, set device bits).
pub(super) const IS_REGISTER: u32 = 1 << 0;
pub(super) const IS_PIO_SETUP: u32 = 1 << 1;
pub(super) const IS_SET_DEVICE_BITS: u32 = 1 << 3;
/// Interrupts: a region was done with that asked for it.
pub(super) const IS_REGION: u32 = 1 << 5;
/// Interrupts: SERR says that the drive was exchanged, that PhyRdy has changed.
const IS_CONNECTED: u32 = 1 << 6;
const IS_PHY: u32 = 1 << 22;
/// Interrupts: more data than regions; memory that is not there; the command failed.
pub(super) const IS_OVERFLOW: u32 = 1 << 24;
pub(super) const IS_BUS_FATAL: u32 = 1 << 29;
pub(super) const IS_FAILED: u32 = 1 << 30;
/// What is kept in IS; the two of SERR follow from there.
const IS_KEPT: u32 = IS_REGISTER
    | IS_PIO_SETUP
    | IS_SET_DEVICE_BITS
    | IS_REGION
    | IS_OVERFLOW
    | IS_BUS_FATAL
    | IS_FAILED;
const IE_BITS: u32 = 0xfdc0_00ff;

pub(super) const CMD_START: u32 = 1 << 0;
/// Spin-up and power: there is nothing to switch.
const CMD_ON: u32 = 1 << 1 | 1 << 2;
const CMD_OVERRIDE: u32 = 1 << 3;
const CMD_RECEIVE: u32 = 1 << 4;
const CMD_RECEIVING: u32 = 1 << 14;
const CMD_RUNNING: u32 = 1 << 15;
const CMD_PACKET: u32 = 1 << 24;
const CMD_WRITABLE: u32 = CMD_START | CMD_RECEIVE | CMD_PACKET;

/// A link at 3 Gbit/s, or a cable without a drive.
const SSTS_UP: u32 = 0x123;
const SSTS_OFFLINE: u32 = 0x004;
const SCTL_BITS: u32 = 0x0fff;
const SCTL_DETECTION: u32 = 0x0f;
const SERR_PHY: u32 = 1 << 16;
const SERR_EXCHANGED: u32 = 1 << 26;
/// Status of a port without a drive.
const NO_DRIVE: u32 = 0x7f;
const STATUS_BUSY: u8 = 1 << 7;
const STATUS_DRQ: u8 = 1 << 3;

/// What of a port is state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) command_list: u64,
    pub(super) frames: u64,
    pub(super) interrupts: u32,
    enabled: u32,
    pub(super) command: u32,
    control: u32,
    errors: u32,
    /// SACT: tags that are queued.
    pub(super) active: u32,
    /// CI: slots with a command.
    pub(super) issued: u32,
    /// What the drive has said of itself after the last reset.
    signature: u32,
    /// The drive is held in reset by a frame.
    pub(super) is_held: bool,
    /// It does nothing until it is stopped and started.
    pub(super) is_halted: bool,
    /// The command that the drive is at.
    pub(super) current: Option<Slot>,
    /// Those that are queued.
    pub(super) queued: Vec<Slot>,
    drive: Option<DriveState>,
}

/// A port, with a drive or without.
pub(super) struct Port {
    pub(super) drive: Option<AtaDrive>,
    pub(super) state: State,
}

impl Port {
    pub(super) fn new(mut drive: Option<AtaDrive>) -> Self {
        if let Some(drive) = &mut drive {
            drive.make_serial();
        }
        let state = State {
            command_list: 0,
            frames: 0,
            interrupts: 0,
            enabled: 0,
            command: 0,
            control: 0,
            errors: 0,
            active: 0,
            issued: 0,
            signature: u32::MAX,
            is_held: false,
            is_halted: false,
            current: None,
            queued: Vec::new(),
            drive: None,
        };
        let mut port = Self { drive, state };
        port.connect();
        port
    }

    /// HBA reset: registers as at power-on, and a new link.
    pub(super) fn reset(&mut self) {
        let drive = self.drive.take();
        *self = Self::new(drive);
    }

    /// COMRESET, and what follows it.
    fn connect(&mut self) {
        self.forget();
        self.state.signature = u32::MAX;
        if let Some(drive) = &mut self.drive {
            drive.reset(false);
            self.state.errors |= SERR_PHY | SERR_EXCHANGED;
            self.sign();
        }
    }

    /// The drive has said what it is.
    pub(super) fn sign(&mut self) {
        if let Some(drive) = &self.drive {
            let bytes = [2, 3, 4, 5].map(|register| drive.read(register, false));
            self.state.signature = u32::from_le_bytes(bytes);
        }
    }

    /// What was under way is not waited for any more.
    pub(super) fn forget(&mut self) {
        self.state.current = None;
        self.state.queued.clear();
        (self.state.active, self.state.issued) = (0, 0);
        (self.state.is_held, self.state.is_halted) = (false, false);
    }

    /// Whether it has something to signal that is enabled.
    pub(super) fn interrupts(&self) -> bool {
        self.interrupt_status() & self.state.enabled != 0
    }

    fn interrupt_status(&self) -> u32 {
        let connected = if self.state.errors & SERR_EXCHANGED != 0 { IS_CONNECTED } else { 0 };
        let phy = if self.state.errors & SERR_PHY != 0 { IS_PHY } else { 0 };
        self.state.interrupts | connected | phy
    }

    pub(super) fn is_running(&self) -> bool {
        self.state.command & CMD_START != 0 && !self.state.is_halted
    }

    pub(super) fn read(&self, register: u64) -> u32 {
        let state = &self.state;
        match register {
            CLB => state.command_list as u32,
            CLBU => (state.command_list >> 32) as u32,
            FB => state.frames as u32,
            FBU => (state.frames >> 32) as u32,
            IS => self.interrupt_status(),
            IE => state.enabled,
            CMD => {
                let running = if state.command & CMD_START != 0 { CMD_RUNNING } else { 0 };
                let receiving = if state.command & CMD_RECEIVE != 0 { CMD_RECEIVING } else { 0 };
                let slot = state.current.as_ref().map_or(0, |slot| u32::from(slot.number) << 8);
                state.command | CMD_ON | running | receiving | slot
            }
            TFD => self.task_file(),
            SIG => state.signature,
            SSTS => match (state.control & SCTL_DETECTION, &self.drive) {
                (4, _) => SSTS_OFFLINE,
                (0, Some(_)) => SSTS_UP,
                _ => 0,
            },
            SCTL => state.control,
            SERR => state.errors,
            SACT => state.active,
            CI => state.issued,
            _ => 0,
        }
    }

    /// Status and Error.
    fn task_file(&self) -> u32 {
        let Some(drive) = &self.drive else { return NO_DRIVE };
        if self.state.is_held || self.state.control & SCTL_DETECTION == 1 {
            return u32::from(STATUS_BUSY);
        }
        let [status, error] = [7, 1].map(|register| u32::from(drive.read(register, false)));
        error << 8 | status
    }

    /// Writes the bits `lanes` of a register.
    pub(super) fn write(&mut self, register: u64, value: u32, lanes: u32) {
        let state = &mut self.state;
        let merge = |old: u32, bits: u32| old & !(lanes & bits) | value & lanes & bits;
        let set = value & lanes;
        let low = |old: u64, bits: u32| old >> 32 << 32 | u64::from(merge(old as u32, bits));
        let high = |old: u64| {
            u64::from(merge((old >> 32) as u32, u32::MAX)) << 32 | old & u64::from(u32::MAX)
        };
        match register {
            CLB => state.command_list = low(state.command_list, !0x3ff),
            CLBU => state.command_list = high(state.command_list),
            FB => state.frames = low(state.frames, !0xff),
            FBU => state.frames = high(state.frames),
            IS => state.interrupts &= !set,
            IE => state.enabled = merge(state.enabled, IE_BITS),
            CMD => {
                let command = merge(state.command, CMD_WRITABLE);
                self.write_command(command, set & CMD_OVERRIDE != 0);
            }
            SCTL => {
                let control = merge(state.control, SCTL_BITS);
                self.write_control(control);
            }
            SERR => state.errors &= !set,
            // Nothing is queued or issued while it is stopped.
            SACT if state.command & CMD_START != 0 => state.active |= set,
            CI if state.command & CMD_START != 0 => state.issued |= set,
            _ => {}
        }
    }

    fn write_command(&mut self, command: u32, is_override: bool) {
        let was_started = self.state.command & CMD_START != 0;
        self.state.command = command;
        if was_started && command & CMD_START == 0 {
            self.forget();
            if let Some(drive) = &mut self.drive
                && drive.phase() != Phase::Idle
            {
                drive.abandon();
            }
        }
        if is_override && let Some(drive) = &mut self.drive {
            let status = drive.read(7, false);
            if status & (STATUS_BUSY | STATUS_DRQ) != 0 {
                drive.abandon();
            }
        }
    }

    fn write_control(&mut self, control: u32) {
        let before = std::mem::replace(&mut self.state.control, control) & SCTL_DETECTION;
        match (before, control & SCTL_DETECTION) {
            // The link is down as long as COMRESET is sent, and comes up behind it.
            (1, 0) => self.connect(),
            (4, 0) => self.connect(),
            (_, 1 | 4) => self.forget(),
            _ => {}
        }
    }

    // Frames

    /// The drive's registers, as frames carry them.
    pub(super) fn registers(&self) -> Registers {
        let read = |register, previous| {
            self.drive.as_ref().map_or(0, |drive| drive.read(register, previous))
        };
        let now = |register| read(register, false);
        let before = |register| read(register, true);
        Registers {
            status: now(7),
            error: now(1),
            address: [now(3), now(4), now(5), now(6), before(3), before(4), before(5)],
            count: [now(2), before(2)],
        }
    }

    /// A frame is received, and interrupts with `interrupt` or not.
    pub(super) fn receive(&mut self, cx: &Cx<'_>, at: u64, frame: &[u8], interrupt: Option<u32>) {
        if self.state.command & CMD_RECEIVE != 0 {
            let place = Gpa(self.state.frames).offset(at);
            if cx.ram.write(place, frame).is_err() {
                self.state.interrupts |= IS_BUS_FATAL;
            }
        }
        self.state.interrupts |= interrupt.unwrap_or(0);
    }

    /// The drive's registers are received.
    pub(super) fn receive_registers(&mut self, cx: &Cx<'_>, interrupts: bool) {
        let frame = self.registers().register(interrupts);
        self.receive(cx, frame::REGISTER_AT, &frame, interrupts.then_some(IS_REGISTER));
    }

    // The drive

    pub(super) fn next_event(&self) -> Option<VmTime> {
        self.drive.as_ref()?.next_event()
    }

    pub(super) fn change_medium(&mut self, medium: Option<Box<dyn Disk>>) -> Option<Box<dyn Disk>> {
        match &mut self.drive {
            Some(drive) => drive.change_medium(medium),
            None => medium,
        }
    }

    // State

    pub(super) fn save(&self) -> State {
        State { drive: self.drive.as_ref().map(AtaDrive::save), ..self.state.clone() }
    }

    /// Whether it can be in `state`.
    pub(super) fn fits(&self, state: &State) -> bool {
        let is_drive = match (&self.drive, &state.drive) {
            (Some(drive), Some(state)) => drive.fits(state),
            (None, None) => true,
            _ => false,
        };
        is_drive
            && state.command_list & 0x3ff == 0
            && state.frames & 0xff == 0
            && state.interrupts & !IS_KEPT == 0
            && state.enabled & !IE_BITS == 0
            && state.command & !CMD_WRITABLE == 0
            && state.control & !SCTL_BITS == 0
            && state.queued.len() <= crate::ata::QUEUE_DEPTH
            && state.current.iter().chain(&state.queued).all(Slot::is_valid)
    }

    /// Replaces the state by one that fits.
    pub(super) fn load(&mut self, mut state: State) {
        if let (Some(drive), Some(state)) = (&mut self.drive, state.drive.take()) {
            drive.load(state);
        }
        self.state = state;
    }
}
