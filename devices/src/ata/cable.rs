//! A drive's side of its cable: registers, the phase of the command it is at, and the data of that
//! phase (ATA/ATAPI-6, section 9).

use serde::{Deserialize, Serialize};

use super::taskfile::{ABORTED, Taskfile};
use crate::saved::hex;

/// Status: the command failed; Error says why.
pub(crate) const STATUS_ERROR: u8 = 1 << 0;
/// Status: data are to be moved.
pub(crate) const STATUS_DRQ: u8 = 1 << 3;
/// Status: the heads are where they were to go.
const STATUS_SEEKED: u8 = 1 << 4;
/// Status: the drive takes commands.
pub(crate) const STATUS_READY: u8 = 1 << 6;
/// Status: the drive is at a command.
pub(crate) const STATUS_BUSY: u8 = 1 << 7;

/// The most bytes that a drive holds at once.
pub(crate) const BUFFER_MAX: usize = 128 << 10;

/// What a drive wants from its cable next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Nothing: it waits for a command.
    #[default]
    Idle,
    /// Nothing: it waits for the disk behind it.
    Busy,
    /// That the host reads what it has for it, word by word.
    PioIn,
    /// That the host writes data, word by word.
    PioOut,
    /// That the host writes a command packet, word by word.
    Packet,
    /// That what it has for the host is taken by DMA.
    DmaIn,
    /// Data by DMA.
    DmaOut,
}

/// A drive's side of its cable.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cable {
    pub(crate) registers: Taskfile,
    pub(crate) phase: Phase,
    /// The bits of Status that stay when the drive is idle: READY, SEEKED, ERROR.
    pub(crate) status: u8,
    /// INTRQ, before nIEN.
    pub(crate) interrupt: bool,
    /// The data of the phase: on their way to the host, or come from there.
    #[serde(with = "hex")]
    pub(crate) buffer: Vec<u8>,
    /// Up to where they were moved.
    at: usize,
    /// Where the block ends for which DRQ is set.
    end: usize,
}

impl Cable {
    /// A drive after a reset. One that takes packets is not READY until it got its first command.
    pub(crate) fn reset(signature: [u8; 4], is_ready: bool) -> Self {
        let status = if is_ready { STATUS_READY | STATUS_SEEKED } else { 0 };
        Self { registers: Taskfile::signed(signature), status, ..Self::default() }
    }

    /// Whether these can be in a state: no part of them leads outside another.
    pub(crate) fn is_valid(&self) -> bool {
        self.at <= self.end && self.end <= self.buffer.len() && self.buffer.len() <= BUFFER_MAX
    }

    /// The Status register.
    pub(crate) fn status(&self) -> u8 {
        self.status
            | match self.phase {
                Phase::Idle => 0,
                Phase::Busy | Phase::DmaIn | Phase::DmaOut => STATUS_BUSY,
                Phase::PioIn | Phase::PioOut | Phase::Packet => STATUS_DRQ,
            }
    }

    /// A command has come.
    pub(crate) fn begin(&mut self) {
        self.registers.error = 0;
        self.status = STATUS_READY | STATUS_SEEKED;
        self.interrupt = false;
        self.enter(Phase::Busy);
    }

    /// Goes to a phase without data.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.buffer.clear();
        (self.at, self.end) = (0, 0);
    }

    /// The drive works on the data that have come.
    pub(crate) fn work(&mut self) {
        self.phase = Phase::Busy;
    }

    /// The command is done.
    pub(crate) fn complete(&mut self) {
        self.enter(Phase::Idle);
        self.interrupt = true;
    }

    /// The command has failed.
    pub(crate) fn fail(&mut self, error: u8) {
        self.complete();
        self.registers.error = error;
        self.status |= STATUS_ERROR;
    }

    /// There is no such command, or not with such parameters.
    pub(crate) fn abort(&mut self) {
        self.fail(ABORTED);
    }

    /// Offers `data` in blocks of `block` bytes, and says so: the first block is there.
    pub(crate) fn send(&mut self, phase: Phase, data: Vec<u8>, block: usize) {
        self.enter(phase);
        self.buffer = data;
        self.next_block(block);
    }

    /// The next block of what is offered is there. False if there is none.
    pub(crate) fn next_block(&mut self, block: usize) -> bool {
        self.end = self.at.saturating_add(block).min(self.buffer.len());
        let is_more = self.at < self.end;
        if is_more && self.phase == Phase::PioIn {
            self.interrupt = true;
        }
        is_more
    }

    /// Asks for `len` bytes.
    pub(crate) fn receive(&mut self, phase: Phase, len: usize) {
        self.enter(phase);
        self.buffer.resize(len.min(BUFFER_MAX), 0);
        self.end = self.buffer.len();
    }

    /// What of the block is left to be taken.
    pub(crate) fn rest(&self) -> &[u8] {
        match self.phase {
            Phase::PioIn | Phase::DmaIn => self.buffer.get(self.at..self.end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// How many bytes of the block are still to come.
    pub(crate) fn room(&self) -> usize {
        match self.phase {
            Phase::PioOut | Phase::DmaOut | Phase::Packet => self.end.saturating_sub(self.at),
            _ => 0,
        }
    }

    /// `count` bytes of the rest are taken. True if that was all of the block.
    pub(crate) fn take(&mut self, count: usize) -> bool {
        self.at += count.min(self.rest().len());
        self.at == self.end
    }

    /// Bytes come; those for which there is no room are lost. True if the block is complete.
    pub(crate) fn put(&mut self, data: &[u8]) -> bool {
        let count = data.len().min(self.room());
        if let Some(place) = self.buffer.get_mut(self.at..self.at + count) {
            place.copy_from_slice(&data[..count]);
            self.at += count;
        }
        self.at == self.end
    }

    /// How long the block is that is on offer or asked for.
    pub(crate) fn block(&self) -> usize {
        self.end - self.at
    }
}
