//! A drive, of whatever kind, as a controller sees it.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    cable::{Cable, Phase},
    cd::{self, CdDrive},
    disk::{self, HardDisk},
    queue::{Event, Request},
    taskfile,
};
use crate::Disk;

const DEVICE_RESET: u8 = 0x08;
const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;

enum Kind {
    Disk(HardDisk),
    Cd(CdDrive),
}

/// A drive that obeys ATA commands, to be put on a controller.
pub struct AtaDrive {
    cable: Cable,
    kind: Kind,
}

/// What of a drive is state, by kind.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum KindState {
    Disk(disk::State),
    Cd(cd::State),
}

/// What of a drive is state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct DriveState {
    cable: Cable,
    kind: KindState,
}

impl AtaDrive {
    /// A hard disk.
    #[must_use]
    pub fn disk(disk: Box<dyn Disk>) -> Self {
        Self::new(Kind::Disk(HardDisk::new(disk)))
    }

    /// A CD or DVD drive (ATAPI), with a medium in it or none.
    #[must_use]
    pub fn cd(medium: Option<Box<dyn Disk>>) -> Self {
        Self::new(Kind::Cd(CdDrive::new(medium)))
    }

    fn new(kind: Kind) -> Self {
        let mut drive = Self { cable: Cable::default(), kind };
        drive.show_reset();
        drive
    }

    /// Puts it on a serial cable.
    pub(crate) fn make_serial(&mut self) {
        match &mut self.kind {
            Kind::Disk(disk) => disk.make_serial(),
            Kind::Cd(cd) => cd.make_serial(),
        }
    }

    fn signature(&self) -> [u8; 4] {
        match self.kind {
            Kind::Disk(_) => disk::SIGNATURE,
            Kind::Cd(_) => cd::SIGNATURE,
        }
    }

    /// Whether it takes packets.
    pub(crate) fn is_packet(&self) -> bool {
        matches!(self.kind, Kind::Cd(_))
    }

    fn show_reset(&mut self) {
        self.cable = Cable::reset(self.signature(), !self.is_packet());
    }

    /// RESET-, or with `is_soft` SRST, which keeps what SET FEATURES and the like have set.
    pub(crate) fn reset(&mut self, is_soft: bool) {
        match &mut self.kind {
            Kind::Disk(disk) => disk.reset(is_soft),
            Kind::Cd(cd) => cd.reset(is_soft),
        }
        self.show_reset();
    }

    /// EXECUTE DEVICE DIAGNOSTIC: all is well.
    pub(crate) fn diagnose(&mut self) {
        self.give_up();
        self.show_reset();
    }

    /// The host has lost interest in what it is at.
    pub(crate) fn abandon(&mut self) {
        self.give_up();
        self.cable.enter(Phase::Idle);
    }

    fn give_up(&mut self) {
        match &mut self.kind {
            Kind::Disk(disk) => disk.give_up(),
            Kind::Cd(cd) => cd.give_up(),
        }
    }

    // Registers

    /// Reads a byte register; Status without acknowledging.
    pub(crate) fn read(&self, register: u16, previous: bool) -> u8 {
        match register {
            taskfile::STATUS => self.cable.status(),
            _ => self.cable.registers.read(register, previous),
        }
    }

    /// Writes a byte register, except Command. A drive that is busy does not hear.
    pub(crate) fn write(&mut self, register: u16, value: u8) {
        if !self.is_busy() {
            self.cable.registers.write(register, value);
        }
    }

    fn is_busy(&self) -> bool {
        matches!(self.cable.phase, Phase::Busy | Phase::DmaIn | Phase::DmaOut)
    }

    /// Takes a command; EXECUTE DEVICE DIAGNOSTIC is the controller's, as it is for both drives.
    pub(crate) fn command(&mut self, now: VmTime, opcode: u8) {
        debug_assert_ne!(opcode, EXECUTE_DEVICE_DIAGNOSTIC);
        if opcode == DEVICE_RESET && self.is_packet() {
            // Heard at any time; ends without an interrupt.
            self.give_up();
            let device = self.cable.registers.device;
            self.show_reset();
            self.cable.registers.device = device & taskfile::DEVICE_1;
            return;
        }
        if self.is_busy() {
            return;
        }
        // The host has lost interest in what was before.
        self.give_up();
        match &mut self.kind {
            Kind::Disk(disk) => {
                self.cable.begin();
                disk.command(&mut self.cable, now, opcode);
            }
            Kind::Cd(cd) => {
                self.cable.begin();
                cd.command(&mut self.cable, opcode);
            }
        }
    }

    // Data

    /// What it wants from the cable.
    pub(crate) fn phase(&self) -> Phase {
        self.cable.phase
    }

    /// What there is to be taken of the present block.
    pub(crate) fn rest(&self) -> &[u8] {
        self.cable.rest()
    }

    /// How many bytes it still wants for the present block.
    pub(crate) fn room(&self) -> usize {
        self.cable.room()
    }

    /// `count` bytes of the rest were taken.
    pub(crate) fn take(&mut self, now: VmTime, count: usize) {
        if !self.cable.rest().is_empty() && self.cable.take(count) {
            self.moved(now);
        }
    }

    /// `data` come; what is too much is lost.
    pub(crate) fn put(&mut self, now: VmTime, data: &[u8]) {
        if self.cable.room() != 0 && self.cable.put(data) {
            self.moved(now);
        }
    }

    fn moved(&mut self, now: VmTime) {
        match &mut self.kind {
            Kind::Disk(disk) => disk.moved(&mut self.cable, now),
            Kind::Cd(cd) => cd.moved(&mut self.cable, now),
        }
    }

    // The queue

    /// Takes a queued command; false if it cannot be done, and what was queued before is lost.
    pub(crate) fn enqueue(&mut self, now: VmTime, request: Request) -> bool {
        self.cable.begin();
        let is_taken = match &mut self.kind {
            Kind::Disk(disk) => disk.enqueue(now, request),
            Kind::Cd(_) => false,
        };
        if is_taken {
            self.cable.complete();
            self.cable.interrupt = false;
        } else {
            self.give_up();
            self.cable.abort();
        }
        is_taken
    }

    /// How many bytes the queued command with this tag wants now.
    pub(crate) fn queue_room(&self, tag: u8) -> usize {
        match &self.kind {
            Kind::Disk(disk) => disk.queue().room(tag),
            Kind::Cd(_) => 0,
        }
    }

    /// Brings these bytes.
    pub(crate) fn queue_put(&mut self, now: VmTime, tag: u8, data: Vec<u8>) {
        if let Kind::Disk(disk) = &mut self.kind {
            disk.queue_put(now, tag, data);
        }
    }

    /// What has become of a queued command by `now`.
    pub(crate) fn queue_take(&mut self, now: VmTime) -> Option<Event> {
        let Kind::Disk(disk) = &mut self.kind else { return None };
        let event = disk.queue_take(now)?;
        if let Event::Failed { .. } = event {
            let error = disk.queue().error();
            self.cable.fail(error);
            self.cable.interrupt = false;
        }
        Some(event)
    }

    // Interrupts and time

    /// INTRQ, before nIEN.
    pub(crate) fn interrupt(&self) -> bool {
        self.cable.interrupt
    }

    /// Asserts INTRQ.
    pub(crate) fn announce(&mut self) {
        self.cable.interrupt = true;
    }

    /// The host has read Status. Whether there was an interrupt.
    pub(crate) fn acknowledge(&mut self) -> bool {
        std::mem::take(&mut self.cable.interrupt)
    }

    /// When the disk behind it has something to say.
    pub(crate) fn next_event(&self) -> Option<VmTime> {
        match &self.kind {
            Kind::Disk(disk) => disk.next_event(),
            Kind::Cd(cd) => cd.next_event(),
        }
    }

    /// Takes one answer of the disk behind it. False if there is none by `now`.
    pub(crate) fn advance(&mut self, now: VmTime) -> bool {
        match &mut self.kind {
            Kind::Disk(disk) => disk.advance(&mut self.cable, now),
            Kind::Cd(cd) => cd.advance(&mut self.cable, now),
        }
    }

    /// See [`crate::Bays::change_medium`]; a hard disk is none.
    pub(crate) fn change_medium(&mut self, medium: Option<Box<dyn Disk>>) -> Option<Box<dyn Disk>> {
        match &mut self.kind {
            Kind::Disk(_) => medium,
            Kind::Cd(cd) => cd.change_medium(&mut self.cable, medium),
        }
    }

    // State

    pub(crate) fn save(&self) -> DriveState {
        let kind = match &self.kind {
            Kind::Disk(disk) => KindState::Disk(disk.save()),
            Kind::Cd(cd) => KindState::Cd(cd.save()),
        };
        DriveState { cable: self.cable.clone(), kind }
    }

    /// Whether it can be in `state`.
    pub(crate) fn fits(&self, state: &DriveState) -> bool {
        state.cable.is_valid()
            && match (&self.kind, &state.kind) {
                (Kind::Disk(_), KindState::Disk(kind)) => kind.is_valid(&state.cable),
                (Kind::Cd(_), KindState::Cd(kind)) => kind.is_valid(),
                _ => false,
            }
    }

    /// Replaces its state by one that fits.
    pub(crate) fn load(&mut self, state: DriveState) {
        self.cable = state.cable;
        match (&mut self.kind, state.kind) {
            (Kind::Disk(disk), KindState::Disk(kind)) => disk.load(&self.cable, kind),
            (Kind::Cd(cd), KindState::Cd(kind)) => cd.load(kind),
            _ => {}
        }
    }
}
