//! A hard disk's commands (ATA/ATAPI-6, section 8; DATA SET MANAGEMENT: ATA8-ACS, section 7.10).
//!
//! What is moved goes in pieces of at most 64 KiB, each an order to the disk behind. Registers of a
//! command that failed name the first sector of the piece in which it did.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    SECTOR,
    cable::{Cable, Phase},
    identify,
    queue::{Event, Queue, Request},
    taskfile::{ABORTED, Addressing, Geometry, ID_NOT_FOUND, UNCORRECTABLE},
};
use crate::{Disk, DiskError, Order, errand::Errand};

/// Sectors of one order.
const PIECE: u32 = 128;
/// The most sectors of a block of READ and WRITE MULTIPLE.
pub(super) const MULTIPLE_MAX: u8 = 16;
/// The most blocks of ranges that one DATA SET MANAGEMENT takes.
pub(super) const TRIM_BLOCKS_MAX: u32 = 8;
/// What a range of DATA SET MANAGEMENT takes: 48 bits of address, 16 bits of length.
const RANGE: usize = 8;
/// The signature of a disk.
pub(super) const SIGNATURE: [u8; 4] = [0x01, 0x01, 0x00, 0x00];
/// What SMART commands carry in their cylinder registers.
const SMART_KEY: [u8; 2] = [0x4f, 0xc2];

/// What a command does with sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Kind {
    Read,
    Write,
    Verify,
    Flush,
    Trim,
}

/// How data get over the cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Way {
    /// By words: so many sectors for each DRQ.
    Pio(u8),
    Dma,
}

/// A command that takes the disk.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Job {
    kind: Kind,
    way: Way,
    addressing: Addressing,
    /// The next sector; of TRIM, the next range in the buffer.
    next: u64,
    /// Sectors that are left.
    left: u32,
    /// Sectors of the order that is under way.
    piece: u32,
    /// What was written is flushed before the command is done.
    is_through: bool,
}

/// What the drive spends its time with (section 6.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Power {
    Active,
    Idle,
    Standby,
    Sleep,
}

/// What a disk is, registers and data on their way apart.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// The translation that INITIALIZE DEVICE PARAMETERS has set.
    pub(super) geometry: Geometry,
    /// Sectors of a block of READ and WRITE MULTIPLE; 0: they are off.
    pub(super) multiple: u8,
    /// As SET FEATURES has set it.
    pub(super) transfer_mode: u8,
    pub(super) write_cache: bool,
    pub(super) look_ahead: bool,
    pub(super) smart: bool,
    power: Power,
    job: Option<Job>,
    errand: Errand,
    queue: Queue,
    /// What WRITE BUFFER has written.
    #[serde(with = "crate::saved::hex")]
    scratch: Vec<u8>,
}

impl State {
    fn power_on(geometry: Geometry) -> Self {
        Self {
            geometry,
            multiple: 0,
            transfer_mode: identify::MULTIWORD_DMA | 2,
            write_cache: true,
            look_ahead: true,
            smart: true,
            power: Power::Active,
            job: None,
            errand: Errand::default(),
            queue: Queue::default(),
            scratch: vec![0; SECTOR],
        }
    }

    /// Whether a disk can be in it.
    pub(super) fn is_valid(&self, cable: &Cable) -> bool {
        let block = |way| match way {
            Way::Pio(sectors) => (1..=MULTIPLE_MAX).contains(&sectors),
            Way::Dma => true,
        };
        let is_job = |job: &Job| {
            let holds = cable.buffer.len() == job.piece as usize * SECTOR;
            block(job.way)
                && job.next < 1 << 48
                && job.left <= 1 << 16
                && job.piece <= PIECE.min(job.left)
                && (job.kind != Kind::Write || !self.errand.is_under_way() || holds)
        };
        self.geometry.is_valid()
            && (self.multiple == 0 || self.multiple.is_power_of_two())
            && self.multiple <= MULTIPLE_MAX
            && self.scratch.len() == SECTOR
            && self.queue.is_valid()
            && (self.queue.is_empty() || !self.errand.is_under_way())
            && self.job.as_ref().is_none_or(is_job)
    }
}

/// A hard disk.
pub(super) struct HardDisk {
    disk: Box<dyn Disk>,
    /// It is on a serial cable, and has a queue.
    is_serial: bool,
    pub(super) state: State,
}

/// The transfer commands: what they do, by words or by DMA (`Pio(0)`: as SET MULTIPLE MODE says),
/// whether addresses are 48 bits wide, whether what is written is flushed.
fn transfer(opcode: u8) -> Option<(Kind, Way, bool, bool)> {
    use {Kind::*, Way::*};
    Some(match opcode {
        0x20 | 0x21 => (Read, Pio(1), false, false),
        0x24 => (Read, Pio(1), true, false),
        0x25 => (Read, Dma, true, false),
        0x29 => (Read, Pio(0), true, false),
        0x30 | 0x31 | 0x3c => (Write, Pio(1), false, false),
        0x34 => (Write, Pio(1), true, false),
        0x35 => (Write, Dma, true, false),
        0x39 => (Write, Pio(0), true, false),
        0x3d => (Write, Dma, true, true),
        0x40 | 0x41 => (Verify, Dma, false, false),
        0x42 => (Verify, Dma, true, false),
        0xc4 => (Read, Pio(0), false, false),
        0xc5 => (Write, Pio(0), false, false),
        0xc8 | 0xc9 => (Read, Dma, false, false),
        0xca | 0xcb => (Write, Dma, false, false),
        0xce => (Write, Pio(0), true, true),
        _ => return None,
    })
}

impl HardDisk {
    pub(super) fn new(disk: Box<dyn Disk>) -> Self {
        let geometry = Geometry { heads: 16, sectors: 63 };
        Self { disk, is_serial: false, state: State::power_on(geometry) }
    }

    /// RESET-, or with `is_soft` SRST, which keeps what SET FEATURES and the like have set.
    pub(super) fn reset(&mut self, is_soft: bool) {
        self.give_up();
        self.state.queue.forgive();
        if is_soft {
            self.state.power = Power::Active;
        } else {
            self.state = State::power_on(Geometry { heads: 16, sectors: 63 });
        }
    }

    /// Forgets the command that it is at.
    pub(super) fn give_up(&mut self) {
        if self.state.errand.is_under_way() || self.state.queue.is_under_way() {
            self.state.errand.cancel(&mut *self.disk);
        }
        self.state.queue.clear();
        self.state.job = None;
    }

    /// It is put on a serial cable.
    pub(super) fn make_serial(&mut self) {
        self.is_serial = true;
    }

    fn sectors(&self) -> u64 {
        self.disk.len() / SECTOR as u64
    }

    /// Executes a command (the drive is [`Phase::Busy`]).
    pub(super) fn command(&mut self, c: &mut Cable, now: VmTime, opcode: u8) {
        if self.state.power == Power::Sleep {
            // It only hears resets, but whoever asks is to get an answer.
            return c.abort();
        }
        if let Some((kind, way, is_wide, is_through)) = transfer(opcode) {
            return self.start(c, now, (kind, way), is_wide, is_through);
        }
        match opcode {
            0x06 => self.data_set_management(c),
            // RECALIBRATE; SEEK goes to sectors that are there.
            0x10..=0x1f => c.complete(),
            0x70..=0x7f => self.seek(c),
            0x27 => self.read_native_max(c, true),
            0xf8 => self.read_native_max(c, false),
            0x2f => self.read_log(c),
            0x91 => self.initialize_parameters(c),
            0x94 | 0x96 | 0xe0 | 0xe2 => self.set_power(c, Power::Standby),
            0x95 | 0x97 | 0xe1 | 0xe3 => self.set_power(c, Power::Idle),
            0x99 | 0xe6 => self.set_power(c, Power::Sleep),
            0x98 | 0xe5 => {
                c.registers.count.now = match self.state.power {
                    Power::Active => 0xff,
                    Power::Idle => 0x80,
                    Power::Standby | Power::Sleep => 0x00,
                };
                c.complete();
            }
            0xb0 => self.smart(c),
            0xc6 => self.set_multiple(c),
            0xe4 => c.send(Phase::PioIn, self.state.scratch.clone(), SECTOR),
            0xe8 => c.receive(Phase::PioOut, SECTOR),
            0xe7 => self.start_job(c, now, Kind::Flush, Addressing::Lba28),
            0xea => self.start_job(c, now, Kind::Flush, Addressing::Lba48),
            0xec => c.send(
                Phase::PioIn,
                identify::disk(&*self.disk, &self.state, self.is_serial),
                SECTOR,
            ),
            0xef => self.set_features(c),
            // NOP aborts what is queued, and there is nothing queued.
            _ => c.abort(),
        }
    }

    /// Starts a command that reads, writes or verifies.
    fn start(
        &mut self,
        c: &mut Cable,
        now: VmTime,
        (kind, way): (Kind, Way),
        is_wide: bool,
        is_through: bool,
    ) {
        let way = match way {
            Way::Pio(0) => Way::Pio(self.state.multiple),
            way => way,
        };
        if way == Way::Pio(0) || kind == Kind::Write && self.disk.is_read_only() {
            return c.abort();
        }
        let addressing = c.registers.addressing(is_wide);
        let left = c.registers.sectors(is_wide);
        let first = c.registers.address(addressing, self.state.geometry);
        let Some(next) = first.filter(|first| first + u64::from(left) <= self.sectors()) else {
            return c.fail(ID_NOT_FOUND);
        };
        self.state.power = Power::Active;
        let is_through = kind == Kind::Write && (is_through || !self.state.write_cache);
        self.state.job = Some(Job { kind, way, addressing, next, left, piece: 0, is_through });
        self.proceed(c, now);
    }

    /// Starts a command that moves no sectors.
    fn start_job(&mut self, c: &mut Cable, now: VmTime, kind: Kind, addressing: Addressing) {
        let (next, left, piece) = (0, 0, 0);
        let way = Way::Dma;
        self.state.job = Some(Job { kind, way, addressing, next, left, piece, is_through: false });
        if kind == Kind::Flush {
            self.give(c, now);
        }
    }

    /// The next piece of the command, or its end.
    fn proceed(&mut self, c: &mut Cable, now: VmTime) {
        let Some(job) = &mut self.state.job else { return };
        if job.left == 0 {
            return self.finish(c, now);
        }
        job.piece = job.left.min(PIECE);
        match (job.kind, job.way) {
            (Kind::Write, Way::Pio(block)) => {
                job.piece = job.piece.min(u32::from(block));
                c.receive(Phase::PioOut, job.piece as usize * SECTOR);
            }
            (Kind::Write, Way::Dma) => c.receive(Phase::DmaOut, job.piece as usize * SECTOR),
            _ => {
                c.enter(Phase::Busy);
                self.give(c, now);
            }
        }
    }

    /// All sectors have been dealt with.
    fn finish(&mut self, c: &mut Cable, now: VmTime) {
        let Some(job) = &mut self.state.job else { return };
        if std::mem::take(&mut job.is_through) {
            job.kind = Kind::Flush;
            c.enter(Phase::Busy);
            return self.give(c, now);
        }
        if matches!(job.kind, Kind::Read | Kind::Write | Kind::Verify) {
            c.registers.count = Default::default();
            c.registers.set_address(
                job.addressing,
                self.state.geometry,
                job.next.saturating_sub(1),
            );
        }
        // Of a read by words, the last block's interrupt was the last.
        let is_silent = job.kind == Kind::Read && job.way != Way::Dma;
        self.state.job = None;
        if is_silent {
            c.enter(Phase::Idle);
        } else {
            c.complete();
        }
    }

    /// The order that the command needs now; `None` if it needs none.
    fn order(&self, c: &Cable) -> Option<Order> {
        let job = self.state.job.as_ref()?;
        let at = job.next.checked_mul(SECTOR as u64)?;
        Some(match job.kind {
            Kind::Read | Kind::Verify => Order::Read { at, len: job.piece as usize * SECTOR },
            Kind::Write => Order::Write { at, data: c.buffer.clone().into() },
            Kind::Flush => Order::Flush,
            Kind::Trim => {
                let (first, count) = range(c, job.next)?;
                Order::Discard { at: first * SECTOR as u64, len: count * SECTOR as u64 }
            }
        })
    }

    fn give(&mut self, c: &Cable, now: VmTime) {
        if let Some(order) = self.order(c) {
            self.state.errand.give(&mut *self.disk, now, order);
        }
    }

    /// When the disk behind has something to say.
    pub(super) fn next_event(&self) -> Option<VmTime> {
        if self.state.queue.is_under_way() {
            return self.disk.next_answer();
        }
        self.state.errand.next_event(&*self.disk)
    }

    /// Takes an answer of the disk behind, if there is one. False if there is none.
    pub(super) fn advance(&mut self, c: &mut Cable, now: VmTime) -> bool {
        let Some(result) = self.state.errand.take(&mut *self.disk, now) else { return false };
        let Some(job) = &mut self.state.job else { return true };
        let piece = std::mem::take(&mut job.piece);
        let is_whole = |data: &[u8]| data.len() == piece as usize * SECTOR;
        match (result, job.kind) {
            (Ok(data), Kind::Read | Kind::Verify) if !is_whole(&data) => {
                self.fail(c, DiskError::Io);
            }
            (Ok(_) | Err(DiskError::Unsupported), Kind::Trim) => {
                job.next += 1;
                self.trim(c, now);
            }
            (Err(error), _) => self.fail(c, error),
            (Ok(data), kind) => {
                job.next += u64::from(piece);
                job.left = job.left.saturating_sub(piece);
                match (kind, job.way) {
                    (Kind::Read, Way::Dma) => c.send(Phase::DmaIn, data, usize::MAX),
                    (Kind::Read, Way::Pio(block)) => {
                        c.send(Phase::PioIn, data, usize::from(block) * SECTOR);
                    }
                    (Kind::Flush, _) => self.finish(c, now),
                    (_, way) => {
                        c.interrupt |= matches!(way, Way::Pio(_)) && job.left > 0;
                        self.proceed(c, now);
                    }
                }
            }
        }
        true
    }

    /// The command fails because the disk behind did.
    fn fail(&mut self, c: &mut Cable, error: DiskError) {
        let Some(job) = self.state.job.take() else { return };
        c.fail(match error {
            DiskError::OutOfRange => ID_NOT_FOUND,
            DiskError::Io if matches!(job.kind, Kind::Read | Kind::Verify) => UNCORRECTABLE,
            _ => ABORTED,
        });
        if matches!(job.kind, Kind::Read | Kind::Write | Kind::Verify) {
            c.registers.set_address(job.addressing, self.state.geometry, job.next);
        }
    }

    /// The block for which DRQ was set has been moved.
    pub(super) fn moved(&mut self, c: &mut Cable, now: VmTime) {
        match (c.phase, &self.state.job) {
            (Phase::PioIn | Phase::DmaIn, Some(job)) => {
                let block = match job.way {
                    Way::Pio(block) => usize::from(block) * SECTOR,
                    Way::Dma => usize::MAX,
                };
                if !c.next_block(block) {
                    self.proceed(c, now);
                }
            }
            (Phase::PioIn, None) => c.enter(Phase::Idle),
            (Phase::PioOut | Phase::DmaOut, Some(job)) if job.kind == Kind::Trim => {
                self.trim(c, now);
            }
            (Phase::PioOut | Phase::DmaOut, Some(_)) => {
                c.work();
                self.give(c, now);
            }
            (Phase::PioOut, None) => {
                self.state.scratch.clone_from(&c.buffer);
                self.state.scratch.resize(SECTOR, 0);
                c.complete();
            }
            _ => c.abort(),
        }
    }

    // The queue

    /// Takes a queued command; false if it cannot be done.
    pub(super) fn enqueue(&mut self, now: VmTime, request: Request) -> bool {
        let end = request.first.checked_add(u64::from(request.sectors));
        let is_possible = self.is_serial
            && self.state.power != Power::Sleep
            && end.is_some_and(|end| end <= self.sectors())
            && !(request.is_write && self.disk.is_read_only());
        let is_through = request.is_through || !self.state.write_cache;
        let request = Request { is_through, ..request };
        is_possible && self.state.queue.add(&mut *self.disk, now, request)
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.state.queue
    }

    /// Brings what [`Queue::room`] said.
    pub(super) fn queue_put(&mut self, now: VmTime, tag: u8, data: Vec<u8>) {
        self.state.queue.put(&mut *self.disk, now, tag, data);
    }

    pub(super) fn queue_take(&mut self, now: VmTime) -> Option<Event> {
        self.state.queue.take(&mut *self.disk, now)
    }

    /// READ LOG EXT: the directory, and what has failed in the queue.
    fn read_log(&mut self, c: &mut Cable) {
        let is_one = c.registers.sectors(true) == 1 && c.registers.mid.now == 0;
        let log = match c.registers.low.now {
            _ if !is_one || !self.is_serial => return c.abort(),
            0x00 => identify::log_directory(),
            0x10 => self.state.queue.read_log(),
            _ => return c.abort(),
        };
        c.send(Phase::PioIn, log, SECTOR);
    }

    // What moves no sectors

    fn seek(&mut self, c: &mut Cable) {
        let addressing = c.registers.addressing(false);
        let sector = c.registers.address(addressing, self.state.geometry);
        match sector.filter(|sector| *sector < self.sectors()) {
            Some(_) => c.complete(),
            None => c.fail(ID_NOT_FOUND),
        }
    }

    fn read_native_max(&mut self, c: &mut Cable, is_wide: bool) {
        let addressing = c.registers.addressing(is_wide);
        let most = if is_wide { (1 << 48) - 1 } else { (1 << 28) - 1 };
        let last = self.sectors().saturating_sub(1).min(most);
        c.registers.set_address(addressing, self.state.geometry, last);
        c.complete();
    }

    fn initialize_parameters(&mut self, c: &mut Cable) {
        let heads = (c.registers.device & 0x0f) + 1;
        let geometry = Geometry { heads, sectors: c.registers.count.now };
        if geometry.is_valid() {
            self.state.geometry = geometry;
            c.complete();
        } else {
            c.abort();
        }
    }

    fn set_power(&mut self, c: &mut Cable, power: Power) {
        self.state.power = power;
        c.complete();
    }

    fn set_multiple(&mut self, c: &mut Cable) {
        let sectors = c.registers.count.now;
        if sectors == 0 || sectors.is_power_of_two() && sectors <= MULTIPLE_MAX {
            self.state.multiple = sectors;
            c.complete();
        } else {
            self.state.multiple = 0;
            c.abort();
        }
    }

    fn set_features(&mut self, c: &mut Cable) {
        let state = &mut self.state;
        match c.registers.features.now {
            0x02 => state.write_cache = true,
            0x82 => state.write_cache = false,
            0xaa => state.look_ahead = true,
            0x55 => state.look_ahead = false,
            0x03 if identify::is_transfer_mode(c.registers.count.now) => {
                state.transfer_mode = c.registers.count.now;
            }
            // Power-on defaults kept or restored by a reset: they are always kept.
            0x66 | 0xcc => {}
            _ => return c.abort(),
        }
        c.complete();
    }

    fn smart(&mut self, c: &mut Cable) {
        if [c.registers.mid.now, c.registers.high.now] != SMART_KEY {
            return c.abort();
        }
        match c.registers.features.now {
            0xd8 => self.state.smart = true,
            _ if !self.state.smart => return c.abort(),
            0xd0 => return c.send(Phase::PioIn, identify::smart_data(), SECTOR),
            0xd1 => return c.send(Phase::PioIn, identify::smart_thresholds(), SECTOR),
            0xd9 => self.state.smart = false,
            // Saving of attributes, tests, and RETURN STATUS, which answers with the same key as
            // long as the disk is well.
            0xd2 | 0xd3 | 0xd4 | 0xda => {}
            _ => return c.abort(),
        }
        c.complete();
    }

    fn data_set_management(&mut self, c: &mut Cable) {
        let blocks = c.registers.sectors(true);
        let is_trim = c.registers.features.now == 1 && blocks <= TRIM_BLOCKS_MAX;
        if !is_trim || self.disk.is_read_only() {
            return c.abort();
        }
        self.start_job(c, VmTime::ZERO, Kind::Trim, Addressing::Lba48);
        c.receive(Phase::DmaOut, blocks as usize * SECTOR);
    }

    /// The next of the ranges that a TRIM has brought.
    fn trim(&mut self, c: &mut Cable, now: VmTime) {
        c.work();
        let sectors = self.sectors();
        while let Some(job) = &mut self.state.job {
            let Some((first, count)) = range(c, job.next) else {
                self.state.job = None;
                return c.complete();
            };
            if count == 0 {
                job.next += 1;
                continue;
            }
            if first + count > sectors {
                self.state.job = None;
                return c.fail(ID_NOT_FOUND | ABORTED);
            }
            return self.give(c, now);
        }
    }

    /// Replaces the state by one that is valid, and orders what it waits for.
    pub(super) fn load(&mut self, c: &Cable, state: State) {
        self.state = state;
        let order = self.order(c);
        self.state.errand.give_again(&mut *self.disk, order);
        self.state.queue.give_again(&mut *self.disk);
    }

    pub(super) fn save(&self) -> State {
        self.state.clone()
    }
}

/// Range `index` of a TRIM: its first sector, and how many there are.
fn range(c: &Cable, index: u64) -> Option<(u64, u64)> {
    let at = usize::try_from(index).ok()?.checked_mul(RANGE)?;
    let bytes = c.buffer.get(at..)?.first_chunk::<RANGE>()?;
    let entry = u64::from_le_bytes(*bytes);
    Some((entry & (1 << 48) - 1, entry >> 48))
}
