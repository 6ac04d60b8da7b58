//! One cable with up to two drives, as a host sees it in ports (ATA/ATAPI-6, sections 6.7, 7 and
//! 9.16): both drives hear every write, the chosen one answers.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    AtaDrive,
    cable::{Phase, STATUS_BUSY},
    drive::DriveState,
    taskfile::{self, DEVICE_1},
};

/// Device Control: no interrupts.
const CONTROL_NIEN: u8 = 1 << 1;
/// Device Control: both drives are held in reset.
const CONTROL_SRST: u8 = 1 << 2;
/// Device Control: the bytes before the last ones are read.
const CONTROL_HOB: u8 = 1 << 7;
const CONTROL_BITS: u8 = CONTROL_NIEN | CONTROL_SRST | CONTROL_HOB;

const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;

/// What of a channel is state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Device Control.
    control: u8,
    /// Device 1 is chosen.
    is_second: bool,
    drives: [Option<DriveState>; 2],
}

pub(super) struct Channel {
    drives: [Option<AtaDrive>; 2],
    control: u8,
    is_second: bool,
}

impl Channel {
    pub(super) fn new(drives: [Option<AtaDrive>; 2]) -> Self {
        Self { drives, control: 0, is_second: false }
    }

    /// RESET-.
    pub(super) fn reset(&mut self) {
        (self.control, self.is_second) = (0, false);
        self.drives().for_each(|drive| drive.reset(false));
    }

    pub(super) fn drives(&mut self) -> impl Iterator<Item = &mut AtaDrive> {
        self.drives.iter_mut().flatten()
    }

    /// Drive 0 or 1, if it is there.
    pub(super) fn drive(&mut self, index: usize) -> Option<&mut AtaDrive> {
        self.drives.get_mut(index)?.as_mut()
    }

    fn chosen(&mut self) -> Option<&mut AtaDrive> {
        self.drive(usize::from(self.is_second))
    }

    /// The drive that DMARQ comes from.
    pub(super) fn requester(&mut self) -> Option<&mut AtaDrive> {
        self.drives().find(|drive| matches!(drive.phase(), Phase::DmaIn | Phase::DmaOut))
    }

    /// INTRQ.
    pub(super) fn interrupt(&self) -> bool {
        let chosen = self.drives[usize::from(self.is_second)].as_ref();
        self.control & (CONTROL_NIEN | CONTROL_SRST) == 0 && chosen.is_some_and(AtaDrive::interrupt)
    }

    /// Reads from the Data register.
    pub(super) fn read_data(&mut self, now: VmTime, data: &mut [u8]) {
        let Some(drive) = self.chosen().filter(|drive| drive.phase() == Phase::PioIn) else {
            return;
        };
        let rest = drive.rest();
        let count = rest.len().min(data.len());
        data[..count].copy_from_slice(&rest[..count]);
        // The register is 16 bits wide: who reads half of it has read all of it.
        drive.take(now, data.len().max(2));
    }

    /// Writes to the Data register.
    pub(super) fn write_data(&mut self, now: VmTime, data: &[u8]) {
        let Some(drive) = self.chosen() else { return };
        if matches!(drive.phase(), Phase::PioOut | Phase::Packet) {
            match data {
                [half] => drive.put(now, &[*half, 0]),
                words => drive.put(now, words),
            }
        }
    }

    /// Reads a byte register of the Command Block.
    pub(super) fn read(&mut self, register: u16) -> u8 {
        if register != taskfile::STATUS {
            return self.peek(register);
        }
        let status = self.alternate_status();
        if status & STATUS_BUSY == 0
            && let Some(drive) = self.chosen()
        {
            drive.acknowledge();
        }
        status
    }

    /// Status, without acknowledging the interrupt.
    pub(super) fn alternate_status(&mut self) -> u8 {
        let is_in_reset = self.control & CONTROL_SRST != 0 && self.drives().next().is_some();
        if is_in_reset { STATUS_BUSY } else { self.peek(taskfile::STATUS) }
    }

    /// A drive that is alone answers for the other: with its own registers, but a Status of 0.
    /// Without drives the bus floats, all but DD7, which the host pulls down (section 4.3): who waits
    /// for an absent drive does not find it busy.
    fn peek(&mut self, register: u16) -> u8 {
        let previous = self.control & CONTROL_HOB != 0;
        let is_second = self.is_second;
        if let Some(drive) = self.chosen() {
            return drive.read(register, previous);
        }
        match (self.drives().next(), register) {
            (None, _) => !STATUS_BUSY,
            (Some(_), taskfile::STATUS) => 0,
            (Some(other), taskfile::DEVICE) => {
                let device = other.read(register, previous) & !DEVICE_1;
                // It was written to the one that is there as well, busy or not.
                device | if is_second { DEVICE_1 } else { 0 }
            }
            (Some(other), _) => other.read(register, previous),
        }
    }

    /// Writes a byte register of the Command Block.
    pub(super) fn write(&mut self, now: VmTime, register: u16, value: u8) {
        self.control &= !CONTROL_HOB;
        if self.control & CONTROL_SRST != 0 {
            return;
        }
        match (register, value) {
            (taskfile::STATUS, EXECUTE_DEVICE_DIAGNOSTIC) => {
                self.is_second = false;
                self.drives().for_each(AtaDrive::diagnose);
                // Device 0 speaks for both.
                if let Some(first) = self.drive(0) {
                    first.announce();
                }
            }
            (taskfile::STATUS, opcode) => {
                if let Some(drive) = self.chosen() {
                    drive.command(now, opcode);
                }
            }
            _ => {
                if register == taskfile::DEVICE {
                    self.is_second = value & DEVICE_1 != 0;
                }
                self.drives().for_each(|drive| drive.write(register, value));
            }
        }
    }

    /// Writes Device Control.
    pub(super) fn write_control(&mut self, value: u8) {
        if value & !self.control & CONTROL_SRST != 0 {
            self.is_second = false;
            self.drives().for_each(|drive| drive.reset(true));
        }
        self.control = value & CONTROL_BITS;
    }

    pub(super) fn next_event(&self) -> Option<VmTime> {
        self.drives.iter().flatten().filter_map(AtaDrive::next_event).min()
    }

    pub(super) fn save(&self) -> State {
        let drives = self.drives.each_ref().map(|drive| drive.as_ref().map(AtaDrive::save));
        State { control: self.control, is_second: self.is_second, drives }
    }

    /// Whether it can be in `state`.
    pub(super) fn fits(&self, state: &State) -> bool {
        state.control & !CONTROL_BITS == 0
            && self.drives.iter().zip(&state.drives).all(|pair| match pair {
                (Some(drive), Some(state)) => drive.fits(state),
                (None, None) => true,
                _ => false,
            })
    }

    /// Replaces the state by one that fits.
    pub(super) fn load(&mut self, state: State) {
        (self.control, self.is_second) = (state.control, state.is_second);
        for (drive, state) in
            self.drives.iter_mut().flatten().zip(state.drives.into_iter().flatten())
        {
            drive.load(state);
        }
    }
}
