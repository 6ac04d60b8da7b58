//! A CD or DVD drive that takes SCSI commands in packets.
//!
//! Sources: ATA/ATAPI-6, sections 8.23 (PACKET) and 9.8 to 9.9 (its protocols); SFF-8020i revision
//! 2.6; MMC-3 (T10/1363-D revision 10g).
//!
//! Media have one track of data in one session, sectors of 2048 bytes. What surrounds the data in a
//! raw sector is made up when READ CD asks for it: synchronization and header as they were, error
//! correction as zeros.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    SECTOR,
    cable::{Cable, Phase},
    identify,
    taskfile::ABORTED,
};
use crate::{Disk, Order, errand::Errand};

mod replies;

/// Bytes of a block.
const BLOCK: usize = 2048;
/// Blocks of one order.
const PIECE: u32 = 32;
/// Bytes of a packet.
const PACKET: usize = 12;
/// The signature of a drive that takes packets.
pub(super) const SIGNATURE: [u8; 4] = [0x01, 0x01, 0x14, 0xeb];
/// Blocks of a second: addresses by time start two seconds before the first block.
const FRAMES: u32 = 75;

/// Interrupt reason (the Sector Count register): a command packet, rather than data.
const REASON_PACKET: u8 = 1 << 0;
/// Interrupt reason: to the host.
const REASON_TO_HOST: u8 = 1 << 1;

/// What is wrong, in SCSI's terms: sense key, additional sense code and its qualifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Sense {
    key: u8,
    code: u8,
    qualifier: u8,
}

impl Sense {
    const NO_MEDIUM: Self = Self::of(0x02, 0x3a, 0x01);
    const TRAY_OPEN: Self = Self::of(0x02, 0x3a, 0x02);
    const UNREADABLE: Self = Self::of(0x03, 0x11, 0x00);
    const NO_SUCH_COMMAND: Self = Self::of(0x05, 0x20, 0x00);
    const NO_SUCH_BLOCK: Self = Self::of(0x05, 0x21, 0x00);
    const BAD_FIELD: Self = Self::of(0x05, 0x24, 0x00);
    const NOT_SAVED: Self = Self::of(0x05, 0x39, 0x00);
    const LOCKED: Self = Self::of(0x05, 0x53, 0x02);
    const OTHER_TRACK: Self = Self::of(0x05, 0x64, 0x00);
    const NEW_MEDIUM: Self = Self::of(0x06, 0x28, 0x00);
    const POWER_ON: Self = Self::of(0x06, 0x29, 0x00);

    const fn of(key: u8, code: u8, qualifier: u8) -> Self {
        Self { key, code, qualifier }
    }
}

/// What GET EVENT STATUS NOTIFICATION tells of the medium (MMC-3, table 114).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum Event {
    #[default]
    None = 0,
    NewMedium = 2,
    Removal = 3,
}

/// What a packet comes to that is not refused.
enum Outcome {
    /// These bytes, and the host wants so many of them.
    Reply(Vec<u8>, usize),
    /// It is done.
    Done,
    /// Data will come.
    Started,
}

/// Blocks that are being read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Job {
    next: u32,
    left: u32,
    /// Blocks of the order that is under way.
    piece: u32,
    /// Which parts of raw sectors, as byte 9 of READ CD says it.
    parts: u8,
}

/// What a drive is, registers and data on their way apart.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// As SET FEATURES has set it.
    pub(super) transfer_mode: u8,
    /// The command is a packet.
    is_packet: bool,
    /// The data of the packet go by DMA.
    is_dma: bool,
    /// Bytes of a block of PIO, at most.
    limit: u16,
    sense: Sense,
    /// What the host is to be told before it gets anything else.
    attention: Option<Sense>,
    event: Event,
    is_open: bool,
    is_locked: bool,
    job: Option<Job>,
    errand: Errand,
}

impl State {
    fn power_on() -> Self {
        Self {
            transfer_mode: identify::MULTIWORD_DMA | 2,
            is_packet: false,
            is_dma: false,
            limit: u16::MAX - 1,
            sense: Sense::default(),
            attention: Some(Sense::POWER_ON),
            event: Event::None,
            is_open: false,
            is_locked: false,
            job: None,
            errand: Errand::default(),
        }
    }

    /// Whether a drive can be in it.
    pub(super) fn is_valid(&self) -> bool {
        let is_job = |job: &Job| {
            job.piece <= PIECE.min(job.left) && job.next.checked_add(job.left).is_some()
        };
        self.limit != 0 && self.job.as_ref().is_none_or(is_job)
    }
}

/// A CD or DVD drive.
pub(super) struct CdDrive {
    medium: Option<Box<dyn Disk>>,
    /// It is on a serial cable.
    is_serial: bool,
    state: State,
}

impl CdDrive {
    pub(super) fn new(medium: Option<Box<dyn Disk>>) -> Self {
        Self { medium, is_serial: false, state: State::power_on() }
    }

    /// It is put on a serial cable.
    pub(super) fn make_serial(&mut self) {
        self.is_serial = true;
    }

    /// RESET-, or with `is_soft` SRST, of which a packet's world hears nothing.
    pub(super) fn reset(&mut self, is_soft: bool) {
        self.give_up();
        if !is_soft {
            let is_open = self.state.is_open;
            self.state = State { is_open, ..State::power_on() };
        }
    }

    /// Forgets the command that it is at.
    pub(super) fn give_up(&mut self) {
        match &mut self.medium {
            Some(medium) => self.state.errand.cancel(&mut **medium),
            None => self.state.errand.forget(),
        }
        self.state.job = None;
    }

    /// Executes an ATA command (the drive is [`Phase::Busy`]).
    pub(super) fn command(&mut self, c: &mut Cable, opcode: u8) {
        self.state.is_packet = opcode == 0xa0;
        match opcode {
            0xa0 => self.packet(c),
            0xa1 => c.send(Phase::PioIn, identify::cd(&self.state, self.is_serial), SECTOR),
            // READ SECTORS, IDENTIFY DEVICE: what disks do. It says that it is none.
            0x20 | 0xec => {
                c.registers.sign(SIGNATURE);
                c.abort();
            }
            0xe0..=0xe3 | 0xe6 => c.complete(),
            0xe5 => {
                c.registers.count.now = 0xff;
                c.complete();
            }
            0xef => match (c.registers.features.now, c.registers.count.now) {
                (0x03, mode) if identify::is_transfer_mode(mode) => {
                    self.state.transfer_mode = mode;
                    c.complete();
                }
                (0x66 | 0xcc, _) => c.complete(),
                _ => c.abort(),
            },
            _ => c.abort(),
        }
    }

    /// PACKET: asks for the packet.
    fn packet(&mut self, c: &mut Cable) {
        let limit = u16::from_le_bytes([c.registers.mid.now, c.registers.high.now]);
        self.state.is_dma = c.registers.features.now & 1 != 0;
        // Blocks have an even number of bytes, but for the last; 0 is what old drivers say that
        // mean any number.
        self.state.limit = match limit & !1 {
            0 if limit == 0 => u16::MAX - 1,
            0 => 1,
            even => even,
        };
        c.registers.count.now = REASON_PACKET;
        c.receive(Phase::Packet, PACKET);
    }

    /// The block for which DRQ was set has been moved.
    pub(super) fn moved(&mut self, c: &mut Cable, now: VmTime) {
        let phase = c.phase;
        match phase {
            Phase::Packet => {
                let packet = c.buffer.first_chunk().copied().unwrap_or_default();
                c.enter(Phase::Busy);
                self.execute(c, now, packet);
            }
            Phase::PioIn if !self.state.is_packet => c.enter(Phase::Idle),
            _ if self.next_block(c) => {}
            _ if self.state.job.is_some() => self.proceed(c, now),
            _ => self.succeed(c),
        }
    }

    /// The medium, if it can be reached.
    fn medium(&mut self) -> Result<&mut (dyn Disk + 'static), Sense> {
        match &mut self.medium {
            _ if self.state.is_open => Err(Sense::TRAY_OPEN),
            None => Err(Sense::NO_MEDIUM),
            Some(medium) => Ok(&mut **medium),
        }
    }

    /// Blocks of the medium.
    fn blocks(&mut self) -> Result<u32, Sense> {
        let blocks = self.medium()?.len() / BLOCK as u64;
        Ok(u32::try_from(blocks).unwrap_or(u32::MAX))
    }

    // Commands

    fn execute(&mut self, c: &mut Cable, now: VmTime, packet: [u8; PACKET]) {
        // INQUIRY, REQUEST SENSE and the commands that report events are not held up.
        let is_exempt = matches!(packet[0], 0x03 | 0x12 | 0x46 | 0x4a);
        let attention = if is_exempt { None } else { self.state.attention.take() };
        let outcome = match attention {
            Some(attention) => Err(attention),
            None => self.dispatch(c, now, &packet),
        };
        match outcome {
            Ok(Outcome::Reply(reply, most)) => self.answer(c, reply, most),
            Ok(Outcome::Done) => self.succeed(c),
            Ok(Outcome::Started) => {}
            Err(sense) => self.refuse(c, sense),
        }
    }

    /// Does what a packet says.
    fn dispatch(&mut self, c: &mut Cable, now: VmTime, p: &[u8; PACKET]) -> Result<Outcome, Sense> {
        let long = |at: usize| u32::from_be_bytes([p[at], p[at + 1], p[at + 2], p[at + 3]]);
        let short = |at: usize| usize::from(u16::from_be_bytes([p[at], p[at + 1]]));
        let (reply, most) = match p[0] {
            // TEST UNIT READY; SET CD SPEED and STOP PLAY: nothing to slow down or to stop.
            0x00 | 0xbb | 0x4e => return self.medium().map(|_| Outcome::Done),
            0x03 => (self.request_sense(), usize::from(p[4])),
            0x12 if p[1] & 1 != 0 => return Err(Sense::BAD_FIELD),
            0x12 => (replies::inquiry(), short(3)),
            0x1a => (self.mode_sense(p, 4)?, usize::from(p[4])),
            0x1b => return self.start_stop(p[4]),
            // PREVENT ALLOW MEDIUM REMOVAL
            0x1e => {
                self.state.is_locked = p[4] & 1 != 0;
                return Ok(Outcome::Done);
            }
            0x25 => (replies::capacity(self.blocks()?), 8),
            0x28 => return self.read(c, now, (long(2), short(7) as u32), replies::USER_DATA),
            // SEEK, VERIFY
            0x2b | 0x2f => {
                let is_there = long(2) < self.blocks()?;
                return is_there.then_some(Outcome::Done).ok_or(Sense::NO_SUCH_BLOCK);
            }
            0x42 => (self.blocks().and_then(|_| replies::subchannel(p))?, short(7)),
            0x43 => (replies::toc(p, self.blocks()?).ok_or(Sense::BAD_FIELD)?, short(7)),
            0x46 => (replies::configuration(p, self.blocks().ok()), short(7)),
            0x4a => (self.event_status(p)?, short(7)),
            0x51 => (self.blocks().map(|_| replies::disc_information())?, short(7)),
            0x52 => (replies::track_information(p, self.blocks()?)?, short(7)),
            0x5a => (self.mode_sense(p, 8)?, short(7)),
            0xa8 => return self.read(c, now, (long(2), long(6)), replies::USER_DATA),
            0xb9 | 0xbe => return self.read_cd(c, now, p),
            0xbd => (replies::mechanism(self.state.is_open), short(8)),
            _ => return Err(Sense::NO_SUCH_COMMAND),
        };
        Ok(Outcome::Reply(reply, most))
    }

    /// Sends the first `most` bytes of `reply`.
    fn answer(&mut self, c: &mut Cable, mut reply: Vec<u8>, most: usize) {
        reply.truncate(most);
        if reply.is_empty() {
            self.succeed(c);
        } else {
            self.send(c, reply);
        }
    }

    fn send(&mut self, c: &mut Cable, data: Vec<u8>) {
        if self.state.is_dma {
            c.send(Phase::DmaIn, data, usize::MAX);
        } else {
            c.send(Phase::PioIn, data, usize::from(self.state.limit));
            self.show_block(c);
        }
    }

    /// The next block of what is being sent, if there is one.
    fn next_block(&mut self, c: &mut Cable) -> bool {
        let is_more = c.next_block(usize::from(self.state.limit));
        if is_more && c.phase == Phase::PioIn {
            self.show_block(c);
        }
        is_more
    }

    /// How many bytes the block has, and that they are data.
    fn show_block(&self, c: &mut Cable) {
        let [low, high] = (c.block() as u16).to_le_bytes();
        (c.registers.mid.now, c.registers.high.now) = (low, high);
        c.registers.count.now = REASON_TO_HOST;
    }

    fn succeed(&mut self, c: &mut Cable) {
        self.state.sense = Sense::default();
        c.registers.count.now = REASON_TO_HOST | REASON_PACKET;
        c.complete();
    }

    fn refuse(&mut self, c: &mut Cable, sense: Sense) {
        self.state.sense = sense;
        self.state.job = None;
        c.registers.count.now = REASON_TO_HOST | REASON_PACKET;
        c.fail(sense.key << 4 | ABORTED);
    }

    fn request_sense(&mut self) -> Vec<u8> {
        let mut sense = std::mem::take(&mut self.state.sense);
        if sense == Sense::default() {
            sense = self.state.attention.take().unwrap_or_default();
        }
        replies::sense(sense)
    }

    /// START STOP UNIT.
    fn start_stop(&mut self, what: u8) -> Result<Outcome, Sense> {
        match what & 3 {
            0b10 if self.state.is_locked => return Err(Sense::LOCKED),
            0b10 if !self.state.is_open => {
                self.state.is_open = true;
                self.state.event = Event::Removal;
            }
            0b11 if self.state.is_open => {
                self.state.is_open = false;
                self.show_medium();
            }
            _ => {}
        }
        Ok(Outcome::Done)
    }

    /// The tray is closed, perhaps with another medium in it.
    fn show_medium(&mut self) {
        if self.medium.is_some() {
            self.state.attention = Some(Sense::NEW_MEDIUM);
            self.state.event = Event::NewMedium;
        } else {
            self.state.event = Event::Removal;
        }
    }

    fn event_status(&mut self, p: &[u8; PACKET]) -> Result<Vec<u8>, Sense> {
        if p[1] & 1 == 0 {
            // It does not wait for events.
            return Err(Sense::BAD_FIELD);
        }
        if p[4] & 1 << replies::MEDIA_EVENTS == 0 {
            return Ok(replies::no_events());
        }
        let is_present = self.medium().is_ok();
        let event = std::mem::take(&mut self.state.event);
        Ok(replies::media_event(event as u8, self.state.is_open, is_present))
    }

    /// MODE SENSE, with a header of `header` bytes.
    fn mode_sense(&mut self, p: &[u8; PACKET], header: usize) -> Result<Vec<u8>, Sense> {
        let control = p[2] >> 6;
        if control == 3 {
            return Err(Sense::NOT_SAVED);
        }
        let pages = replies::mode_pages(p[2] & 0x3f, control == 1, self.state.is_locked);
        if pages.is_empty() {
            return Err(Sense::BAD_FIELD);
        }
        let mut reply = vec![0; header];
        reply.extend(pages);
        let len = reply.len();
        if header == 4 {
            reply[0] = (len - 1) as u8;
        } else {
            reply[..2].copy_from_slice(&(len as u16 - 2).to_be_bytes());
        }
        Ok(reply)
    }

    // Reading

    /// READ CD and READ CD MSF.
    fn read_cd(&mut self, c: &mut Cable, now: VmTime, p: &[u8; PACKET]) -> Result<Outcome, Sense> {
        let time = |at: usize| {
            let [minute, second, frame] = [p[at], p[at + 1], p[at + 2]].map(u32::from);
            ((minute * 60 + second) * FRAMES + frame).checked_sub(2 * FRAMES)
        };
        let blocks = if p[0] == 0xbe {
            let count = u32::from_be_bytes([0, p[6], p[7], p[8]]);
            (u32::from_be_bytes([p[2], p[3], p[4], p[5]]), count)
        } else {
            let (first, end) = time(3).zip(time(6)).ok_or(Sense::NO_SUCH_BLOCK)?;
            (first, end.checked_sub(first).ok_or(Sense::BAD_FIELD)?)
        };
        // Any type of sector, or mode 1. No subchannel.
        if !matches!(p[1] >> 2 & 7, 0 | 2) {
            return Err(Sense::OTHER_TRACK);
        }
        if p[10] & 7 != 0 {
            return Err(Sense::BAD_FIELD);
        }
        self.read(c, now, blocks, p[9])
    }

    /// Reads these `parts` of `count` blocks from `first` on.
    fn read(
        &mut self,
        c: &mut Cable,
        now: VmTime,
        (first, count): (u32, u32),
        parts: u8,
    ) -> Result<Outcome, Sense> {
        let blocks = self.blocks()?;
        let is_there = first.checked_add(count).is_some_and(|end| end <= blocks);
        if !is_there {
            return Err(Sense::NO_SUCH_BLOCK);
        }
        if count == 0 || replies::sector_len(parts) == 0 {
            return Ok(Outcome::Done);
        }
        self.state.job = Some(Job { next: first, left: count, piece: 0, parts });
        self.proceed(c, now);
        Ok(Outcome::Started)
    }

    /// The next piece of what is being read, or its end.
    fn proceed(&mut self, c: &mut Cable, now: VmTime) {
        let Some(job) = &mut self.state.job else { return };
        if job.left == 0 {
            self.state.job = None;
            return self.succeed(c);
        }
        job.piece = job.left.min(PIECE);
        c.enter(Phase::Busy);
        let order = self.order();
        match (&mut self.medium, order) {
            (Some(medium), Some(order)) => self.state.errand.give(&mut **medium, now, order),
            _ => self.refuse(c, Sense::NO_MEDIUM),
        }
    }

    fn order(&self) -> Option<Order> {
        let job = self.state.job.as_ref()?;
        Some(Order::Read {
            at: u64::from(job.next) * BLOCK as u64,
            len: job.piece as usize * BLOCK,
        })
    }

    /// When the medium has something to say.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        self.state.errand.next_event(&**self.medium.as_ref()?)
    }

    /// Takes an answer of the medium, if there is one. False if there is none.
    pub(super) fn advance(&mut self, c: &mut Cable, now: VmTime) -> bool {
        let Some(medium) = &mut self.medium else { return false };
        let Some(result) = self.state.errand.take(&mut **medium, now) else { return false };
        let Some(job) = &mut self.state.job else { return true };
        let piece = std::mem::take(&mut job.piece);
        match result {
            Ok(data) if data.len() == piece as usize * BLOCK => {
                let first = job.next;
                job.next += piece;
                job.left -= piece;
                let sectors = data.chunks(BLOCK).zip(first..);
                let parts = job.parts;
                let data = match parts {
                    replies::USER_DATA => data,
                    _ => sectors.flat_map(|(data, at)| replies::sector(parts, at, data)).collect(),
                };
                self.send(c, data);
            }
            _ => self.refuse(c, Sense::UNREADABLE),
        }
        true
    }

    /// Somebody puts `medium` in, or takes out what is in.
    pub(super) fn change_medium(
        &mut self,
        c: &mut Cable,
        medium: Option<Box<dyn Disk>>,
    ) -> Option<Box<dyn Disk>> {
        if self.state.job.is_some() {
            self.give_up();
            self.refuse(c, Sense::NO_MEDIUM);
        }
        let outside = std::mem::replace(&mut self.medium, medium);
        self.state.is_open = false;
        if outside.is_some() || self.medium.is_some() {
            self.show_medium();
        }
        outside
    }

    // State

    pub(super) fn save(&self) -> State {
        self.state.clone()
    }

    /// Replaces the state by one that is valid, and orders what it waits for.
    pub(super) fn load(&mut self, state: State) {
        self.state = state;
        let order = self.order();
        match &mut self.medium {
            Some(medium) => self.state.errand.give_again(&mut **medium, order),
            None => self.state.errand.forget(),
        }
    }
}

#[cfg(test)]
mod tests;
