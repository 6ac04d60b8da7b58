//! The controller's commands (82077AA datasheet, section 5), and the transfer that one of them is.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use super::{
    BAYS, CONFIG_BITS, CONFIG_IMPLIED_SEEK, CYLINDER_MAX, DRIVES, I82077, Phase, ST0_ABNORMAL,
    ST0_EQUIPMENT, ST0_INVALID, ST0_SEEK_END, Seek,
    medium::{Format, SECTOR},
};
use crate::Order;

/// Opcode: the command goes on with the other side of the disk.
const MULTI_TRACK: u8 = 1 << 7;
/// Opcode: relative SEEK.
const RELATIVE: u8 = 1 << 7;
/// Opcode: sectors of the other kind (deleted or not) are passed over.
const SKIP: u8 = 1 << 5;
/// The bits of an opcode that name the command.
const COMMAND: u8 = 0x1f;

const ST1_END_OF_CYLINDER: u8 = 1 << 7;
const ST1_NO_DATA: u8 = 1 << 2;
const ST1_NOT_WRITABLE: u8 = 1 << 1;
const ST1_MISSING_MARK: u8 = 1 << 0;
const ST1_DATA_ERROR: u8 = 1 << 5;
const ST2_DATA_ERROR: u8 = 1 << 5;
const ST2_CONTROL_MARK: u8 = 1 << 6;
const ST2_WRONG_CYLINDER: u8 = 1 << 4;
const ST2_SCAN_EQUAL: u8 = 1 << 3;
const ST2_SCAN_NOT_SATISFIED: u8 = 1 << 2;

/// How many bytes the command that starts with `opcode` has.
pub(super) fn command_len(opcode: u8) -> usize {
    match opcode & COMMAND {
        0x02 | 0x05 | 0x06 | 0x09 | 0x0c | 0x11 | 0x16 | 0x19 | 0x1d => 9,
        0x0d => 6,
        0x13 => 4,
        0x03 | 0x0f => 3,
        0x04 | 0x07 | 0x0a | 0x12 => 2,
        _ => 1,
    }
}

/// What a transfer does with sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Kind {
    Read,
    /// Of sectors that are marked as deleted: there are none.
    ReadDeleted,
    /// Of a whole track, from its start.
    ReadTrack,
    ReadId,
    Write,
    Format,
    Verify,
    ScanEqual,
    ScanLow,
    ScanHigh,
}

/// What a transfer waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Step {
    /// The head, and the disk behind.
    Wait,
    /// That the host takes bytes.
    ToHost,
    /// That the host brings bytes.
    FromHost,
}

/// A command that takes the disk.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Transfer {
    kind: Kind,
    step: Step,
    drive: u8,
    head: u8,
    is_multi_track: bool,
    is_skipping: bool,
    /// The address that is looked for: cylinder, head, sector, size.
    id: [u8; 4],
    end_of_track: u8,
    /// Of SCAN, how far sectors lie apart; of VERIFY, how many are left if that matters; of FORMAT,
    /// what sectors are filled with.
    extra: u8,
    /// VERIFY ends with the count.
    is_counted: bool,
    /// When what the head is at has passed it.
    due: VmTime,
    #[serde(with = "crate::saved::hex")]
    buffer: Vec<u8>,
    /// Bytes of it that have been moved.
    at: u16,
    /// The host has seen the end of what it wants.
    is_ended: bool,
    /// What is to be said about it: status 1 and 2.
    status: [u8; 2],
    /// It ends with this when it is due: status 0.
    outcome: Option<u8>,
}

impl Transfer {
    /// Whether the controller can be at it.
    pub(super) fn is_valid(&self) -> bool {
        usize::from(self.drive) < DRIVES
            && self.head < 2
            && self.buffer.len() <= 4 * 256
            && usize::from(self.at) <= self.buffer.len()
            && (self.step == Step::Wait || usize::from(self.at) < self.buffer.len())
    }

    pub(super) fn step(&self) -> Step {
        self.step
    }

    pub(super) fn drive(&self) -> usize {
        usize::from(self.drive)
    }
}

impl I82077 {
    /// Executes a command that has come completely.
    pub(super) fn execute(&mut self, now: VmTime, bytes: &[u8]) {
        let mut padded = [0; super::COMMAND_MAX];
        for (place, byte) in padded.iter_mut().zip(bytes) {
            *place = *byte;
        }
        let [opcode, first, second, third, ..] = padded;
        let kind = match opcode & COMMAND {
            0x02 => Kind::ReadTrack,
            0x05 | 0x09 => Kind::Write,
            0x06 => Kind::Read,
            0x0a => Kind::ReadId,
            0x0c => Kind::ReadDeleted,
            0x0d => Kind::Format,
            0x11 => Kind::ScanEqual,
            0x16 => Kind::Verify,
            0x19 => Kind::ScanLow,
            0x1d => Kind::ScanHigh,
            _ => return self.execute_control(now, opcode, [first, second, third]),
        };
        self.start(now, kind, padded);
    }

    /// Commands that move no data.
    fn execute_control(&mut self, now: VmTime, opcode: u8, [first, second, third]: [u8; 3]) {
        match (opcode, opcode & COMMAND) {
            (_, 0x03) => {
                self.state.specify = [first, second];
                self.finish_silently();
            }
            (_, 0x04) => self.sense_drive(first),
            (_, 0x07) => self.recalibrate(now, first),
            (_, 0x08) => self.sense_interrupt(),
            (_, 0x0f) => self.seek(now, opcode, first, second),
            (_, 0x0e) => self.dump_registers(),
            // VERSION: an enhanced controller.
            (_, 0x10) => self.answer(vec![0x90]),
            (_, 0x12) => {
                // Only with OW set are the drives' own bits taken.
                let drives = if first & 0x80 != 0 { first } else { self.state.perpendicular };
                self.state.perpendicular = drives & 0x3c | first & 3;
                self.finish_silently();
            }
            (_, 0x13) => {
                self.state.config = second & CONFIG_BITS;
                self.state.precompensation = third;
                self.finish_silently();
            }
            (0x14 | 0x94, _) => {
                self.state.is_locked = opcode & 0x80 != 0;
                self.answer(vec![u8::from(self.state.is_locked) << 4]);
            }
            _ => self.answer(vec![ST0_INVALID]),
        }
    }

    fn finish_silently(&mut self) {
        self.state.phase = Phase::Command(Vec::new());
    }

    fn answer(&mut self, bytes: Vec<u8>) {
        self.state.phase = Phase::Result(bytes);
    }

    fn sense_drive(&mut self, select: u8) {
        let index = usize::from(select & 3);
        let drive = &self.state.drives[index];
        let is_track_0 = index < BAYS && drive.cylinder == 0;
        let is_protected = self.medium(index).is_some_and(|(disk, _)| disk.is_read_only());
        // Ready and two-sided are always read as 1.
        let status = 0x28 | select & 7 | u8::from(is_track_0) << 4 | u8::from(is_protected) << 6;
        self.answer(vec![status]);
    }

    fn sense_interrupt(&mut self) {
        let drive = self.state.drives.iter_mut().find(|drive| drive.status.is_some());
        let result = drive.and_then(|drive| Some(vec![drive.status.take()?, drive.present]));
        self.answer(result.unwrap_or_else(|| vec![ST0_INVALID]));
    }

    fn dump_registers(&mut self) {
        let state = &self.state;
        let mut bytes: Vec<u8> = state.drives.iter().map(|drive| drive.present).collect();
        bytes.extend(state.specify);
        bytes.push(state.end_of_track);
        bytes.push(u8::from(state.is_locked) << 7 | state.perpendicular);
        bytes.extend([state.config, state.precompensation]);
        self.answer(bytes);
    }

    /// How long a head takes for so many cylinders.
    fn seek_ns(&self, cylinders: u8) -> u64 {
        let rate_us = [1000, 1667, 2000, 500][usize::from(self.state.rate & 3)];
        let step_us = (16 - u64::from(self.state.specify[0] >> 4)) * rate_us;
        self.motion.time(u64::from(cylinders) * step_us * 1000)
    }

    fn recalibrate(&mut self, now: VmTime, select: u8) {
        let index = usize::from(select & 3);
        let is_there = index < BAYS;
        let problem = if is_there { 0 } else { ST0_ABNORMAL | ST0_EQUIPMENT };
        let cylinder = self.state.drives[index].cylinder;
        let until = now.after_ns(self.seek_ns(if is_there { cylinder } else { 79 }));
        let drive = &mut self.state.drives[index];
        drive.present = 0;
        drive.seek =
            Some(Seek { until, cylinder: 0, status: ST0_SEEK_END | problem | index as u8 });
        self.finish_silently();
    }

    fn seek(&mut self, now: VmTime, opcode: u8, select: u8, to: u8) {
        let index = usize::from(select & 3);
        let drive = &self.state.drives[index];
        let (present, cylinder) = match opcode & RELATIVE {
            0 => {
                let steps = i16::from(to) - i16::from(drive.present);
                let cylinder = (i16::from(drive.cylinder) + steps).clamp(0, CYLINDER_MAX.into());
                (to, cylinder as u8)
            }
            // Inwards with DIR set.
            _ if opcode & 0x40 != 0 => (
                drive.present.wrapping_add(to),
                drive.cylinder.saturating_add(to).min(CYLINDER_MAX),
            ),
            _ => (drive.present.wrapping_sub(to), drive.cylinder.saturating_sub(to)),
        };
        let until = now.after_ns(self.seek_ns(cylinder.abs_diff(drive.cylinder)));
        let drive = &mut self.state.drives[index];
        drive.present = present;
        drive.seek = Some(Seek { until, cylinder, status: ST0_SEEK_END | select & 7 });
        self.finish_silently();
    }

    // Transfers

    /// Starts a command that takes the disk.
    fn start(&mut self, now: VmTime, kind: Kind, bytes: [u8; super::COMMAND_MAX]) {
        let [opcode, select, cylinder, head, sector, size, end_of_track, _, extra] = bytes;
        let index = usize::from(select & 3);
        let mut transfer = Transfer {
            kind,
            step: Step::Wait,
            drive: select & 3,
            head: select >> 2 & 1,
            is_multi_track: opcode & MULTI_TRACK != 0,
            is_skipping: opcode & SKIP != 0,
            id: [cylinder, head, sector, size],
            end_of_track,
            extra,
            // VERIFY's EC bit lies where others have nothing.
            is_counted: select & 0x80 != 0,
            due: now,
            buffer: Vec::new(),
            at: 0,
            is_ended: false,
            status: [0; 2],
            outcome: None,
        };
        match kind {
            Kind::Format => {
                // Size, sectors of a track, gap, filler.
                transfer.id = [self.state.drives[index].present, transfer.head, 1, cylinder];
                transfer.end_of_track = head;
                transfer.extra = size;
                transfer.buffer = vec![0; 4 * usize::from(head)];
                transfer.step = if head == 0 { Step::Wait } else { Step::FromHost };
            }
            Kind::ReadId => transfer.id = [0; 4],
            _ => self.state.end_of_track = end_of_track,
        }
        let is_seeking = self.state.config & CONFIG_IMPLIED_SEEK != 0
            && !matches!(kind, Kind::Format | Kind::ReadId)
            && self.state.drives[index].present != cylinder;
        if is_seeking {
            let steps = cylinder.abs_diff(self.state.drives[index].cylinder);
            transfer.due = now.after_ns(self.seek_ns(steps));
            self.state.drives[index].present = cylinder;
            self.step_head(index, cylinder);
        }
        if kind == Kind::ReadTrack {
            transfer.id[2] = 1;
        }
        self.state.phase = Phase::Execution(transfer);
        self.begin_sector(now);
    }

    /// Looks for the sector that the transfer wants next.
    fn begin_sector(&mut self, now: VmTime) {
        let Phase::Execution(transfer) = &self.state.phase else { return };
        let index = transfer.drive();
        let (kind, from, head, id) = (transfer.kind, transfer.due, transfer.head, transfer.id);
        let cylinder = self.state.drives[index].cylinder;
        let found = self.medium(index).filter(|(_, format)| {
            self.is_spinning(index) && format.is_readable_at(self.state.rate) && head < format.heads
        });
        let Some((disk, format)) = found else { return self.find_nothing() };
        let is_write = matches!(kind, Kind::Write | Kind::Format);
        if is_write && disk.is_read_only() {
            return self.give_up(0, [ST1_NOT_WRITABLE, 0]);
        }
        let sector = match kind {
            Kind::ReadId => self.motion.next_sector(from.ns(), format.sectors),
            _ => id[2],
        };
        let wait = self.motion.until_passed(from.ns(), sector, format.sectors);
        let two_turns = 2 * self.motion.turn_ns();
        if kind == Kind::ReadId && cylinder < format.cylinders {
            return self.wait(wait, [cylinder, head, sector, 2]);
        }
        let wrong = match kind {
            _ if cylinder >= format.cylinders => Some([ST1_MISSING_MARK, 0]),
            Kind::Format => None,
            _ if id[0] != cylinder => Some([ST1_NO_DATA, ST2_WRONG_CYLINDER]),
            _ if id[1] != head || id[3] != 2 => Some([ST1_NO_DATA, 0]),
            _ if format.place(cylinder, head, sector).is_none() => Some([ST1_NO_DATA, 0]),
            Kind::ReadDeleted if transfer.is_skipping => Some([ST1_NO_DATA, ST2_CONTROL_MARK]),
            _ => None,
        };
        match (wrong, kind) {
            (Some(status), _) => self.give_up(two_turns, status),
            (None, Kind::Write) => self.move_data(Step::FromHost, vec![0; SECTOR]),
            // What is to be there comes first.
            (None, Kind::Format) if transfer.step == Step::FromHost => {}
            (None, Kind::Format) => self.give_up(two_turns, [ST1_MISSING_MARK, 0]),
            (None, _) => self.wait(wait, id),
        }
        if matches!(&self.state.phase, Phase::Execution(t) if t.step == Step::Wait) {
            self.order(now);
        }
    }

    /// The head waits so long for `id` to pass.
    fn wait(&mut self, ns: u64, id: [u8; 4]) {
        if let Phase::Execution(transfer) = &mut self.state.phase {
            transfer.id = id;
            transfer.step = Step::Wait;
            transfer.due = transfer.due.after_ns(ns);
            transfer.buffer.clear();
            transfer.at = 0;
        }
    }

    fn move_data(&mut self, step: Step, buffer: Vec<u8>) {
        if let Phase::Execution(transfer) = &mut self.state.phase {
            (transfer.step, transfer.buffer, transfer.at) = (step, buffer, 0);
        }
    }

    /// The transfer fails after so long.
    fn give_up(&mut self, ns: u64, status: [u8; 2]) {
        if let Phase::Execution(transfer) = &mut self.state.phase {
            transfer.step = Step::Wait;
            transfer.due = transfer.due.after_ns(ns);
            transfer.status = status;
            transfer.outcome = Some(ST0_ABNORMAL);
        }
    }

    /// There is no disk that turns.
    pub(super) fn find_nothing(&mut self) {
        self.give_up(2 * self.motion.turn_ns(), [ST1_MISSING_MARK, 0]);
    }

    /// What the transfer needs of the disk behind.
    fn order_of(&self, transfer: &Transfer) -> Option<Order> {
        let (_, format) = self.medium(transfer.drive())?;
        let cylinder = self.state.drives[transfer.drive()].cylinder;
        let at = format.place(cylinder, transfer.head, transfer.id[2])?;
        match transfer.kind {
            _ if transfer.outcome.is_some() => None,
            Kind::ReadId => None,
            Kind::Write => Some(Order::Write { at, data: transfer.buffer.clone().into() }),
            Kind::Format => {
                let sectors = usize::from(transfer.end_of_track.min(format.sectors));
                Some(Order::Write { at, data: vec![transfer.extra; sectors * SECTOR].into() })
            }
            _ => Some(Order::Read { at, len: SECTOR }),
        }
    }

    fn order(&mut self, now: VmTime) {
        let Phase::Execution(transfer) = &self.state.phase else { return };
        let index = transfer.drive();
        if let Some(order) = self.order_of(transfer)
            && let Some(disk) = self.media.get_mut(index).and_then(Option::as_mut)
        {
            self.state.errand.give(&mut **disk, now, order);
        }
    }

    /// After a load: the order that is waited for is given again.
    pub(super) fn order_again(&mut self) {
        let Phase::Execution(transfer) = &self.state.phase else {
            return self.state.errand.forget();
        };
        let (index, order) = (transfer.drive(), self.order_of(transfer));
        match self.media.get_mut(index).and_then(Option::as_mut) {
            Some(disk) => self.state.errand.give_again(&mut **disk, order),
            None => self.state.errand.forget(),
        }
    }

    /// When the transfer goes on.
    pub(super) fn next_of_transfer(&self) -> Option<VmTime> {
        let Phase::Execution(transfer) = &self.state.phase else { return None };
        if transfer.step != Step::Wait {
            return None;
        }
        match self.media.get(transfer.drive()).and_then(Option::as_ref) {
            Some(disk) if self.state.errand.is_under_way() => {
                Some(self.state.errand.next_event(&**disk)?.max(transfer.due))
            }
            _ => Some(transfer.due),
        }
    }

    /// The transfer goes on, if it is time. False if it is not.
    pub(super) fn advance_transfer(&mut self, now: VmTime) -> bool {
        let Phase::Execution(transfer) = &mut self.state.phase else { return false };
        if transfer.step != Step::Wait || transfer.due > now {
            return false;
        }
        if self.state.errand.is_under_way()
            && let Some(disk) = self.media.get_mut(transfer.drive()).and_then(Option::as_mut)
        {
            match self.state.errand.take(&mut **disk, now) {
                None => return false,
                Some(Ok(data)) if transfer.kind.reads() && data.len() == SECTOR => {
                    transfer.buffer = data;
                }
                Some(Ok(_)) if !transfer.kind.reads() => {}
                Some(_) => {
                    transfer.status = [ST1_DATA_ERROR, ST2_DATA_ERROR];
                    transfer.outcome = Some(ST0_ABNORMAL);
                }
            }
        }
        if let Some(outcome) = transfer.outcome {
            self.finish(outcome);
            return true;
        }
        transfer.at = 0;
        match transfer.kind {
            Kind::ReadId | Kind::Format => self.finish(0),
            Kind::Write | Kind::Verify => self.next_sector(now),
            Kind::Read | Kind::ReadTrack | Kind::ReadDeleted => transfer.step = Step::ToHost,
            Kind::ScanEqual | Kind::ScanLow | Kind::ScanHigh => transfer.step = Step::FromHost,
        }
        // Without data there is nothing to move: a state that was never saved by this chip.
        if matches!(&self.state.phase, Phase::Execution(t) if t.step != Step::Wait && t.buffer.is_empty())
        {
            self.find_nothing();
        }
        true
    }

    /// A byte goes to the host or comes from there; `tc` says that it is the last one.
    pub(super) fn move_byte(&mut self, now: VmTime, bus: &mut u8, tc: bool) {
        let Phase::Execution(transfer) = &mut self.state.phase else { return };
        let at = usize::from(transfer.at);
        let Some(byte) = transfer.buffer.get_mut(at) else { return };
        match transfer.kind {
            _ if transfer.step == Step::ToHost => *bus = *byte,
            Kind::ScanEqual | Kind::ScanLow | Kind::ScanHigh => {
                // FFh of either side equals anything.
                let is_equal = *bus == *byte || *bus == 0xff || *byte == 0xff;
                let is_met = match transfer.kind {
                    Kind::ScanLow => is_equal || *byte <= *bus,
                    Kind::ScanHigh => is_equal || *byte >= *bus,
                    _ => is_equal,
                };
                if at == 0 {
                    transfer.status[1] = ST2_SCAN_EQUAL;
                }
                if !is_equal {
                    transfer.status[1] &= !ST2_SCAN_EQUAL;
                }
                if !is_met {
                    transfer.status[1] |= ST2_SCAN_NOT_SATISFIED;
                }
            }
            _ => *byte = *bus,
        }
        transfer.at += 1;
        transfer.is_ended |= tc;
        if transfer.is_ended || usize::from(transfer.at) == transfer.buffer.len() {
            self.moved(now);
        }
    }

    /// A sector's bytes have been moved, or as many as the host wanted.
    fn moved(&mut self, now: VmTime) {
        let Phase::Execution(transfer) = &mut self.state.phase else { return };
        let sector = transfer.id[2];
        transfer.step = Step::Wait;
        match transfer.kind {
            Kind::Write | Kind::Format => {
                // Data may have come late: the head is wherever it is.
                transfer.due = transfer.due.max(now);
                let (from, index, is_format) =
                    (transfer.due.ns(), transfer.drive(), transfer.kind == Kind::Format);
                let sectors =
                    self.medium(index).map_or(1, |(_, format): (_, Format)| format.sectors);
                let wait = match is_format {
                    true => self.motion.turn_ns(),
                    false => self.motion.until_passed(from, sector, sectors),
                };
                self.order(now);
                if let Phase::Execution(transfer) = &mut self.state.phase {
                    transfer.due = transfer.due.after_ns(wait);
                }
            }
            Kind::ReadDeleted => {
                // The sector is of the other kind: it was read, and that is the end.
                transfer.status[1] |= ST2_CONTROL_MARK;
                transfer.is_ended = true;
                self.next_sector(now);
            }
            _ => self.next_sector(now),
        }
    }

    /// A sector is done with: what comes after it?
    fn next_sector(&mut self, now: VmTime) {
        let Phase::Execution(transfer) = &mut self.state.phase else { return };
        if transfer.kind.scans() && transfer.status[1] & ST2_SCAN_NOT_SATISFIED == 0 {
            return self.finish(0);
        }
        if transfer.kind == Kind::Verify && transfer.is_counted {
            transfer.extra = transfer.extra.wrapping_sub(1);
            transfer.is_ended |= transfer.extra == 0;
        }
        let is_track_end = transfer.id[2] == transfer.end_of_track;
        let [cylinder, head, sector, _] = &mut transfer.id;
        let step = if transfer.kind.scans() { transfer.extra.max(1) } else { 1 };
        *sector = sector.wrapping_add(step);
        let mut is_end = false;
        if is_track_end {
            *sector = 1;
            // Without MT, or after its second side, the next cylinder would come.
            is_end = !transfer.is_multi_track || transfer.head == 1;
            if is_end {
                *cylinder = cylinder.wrapping_add(1);
            }
            if transfer.is_multi_track {
                *head ^= 1;
                // The head that the status names is the last one that was used.
                if !is_end && !transfer.is_ended {
                    transfer.head ^= 1;
                }
            }
        }
        if transfer.is_ended {
            self.finish(0);
        } else if is_end {
            let is_verify = transfer.kind == Kind::Verify;
            let is_scan = transfer.kind.scans();
            if !is_verify && !is_scan {
                transfer.status[0] |= ST1_END_OF_CYLINDER;
            }
            self.finish(if is_verify || is_scan { 0 } else { ST0_ABNORMAL });
        } else {
            if transfer.kind.scans() {
                transfer.status[1] = 0;
            }
            self.begin_sector(now);
        }
    }

    /// The command is over: its result interrupts.
    fn finish(&mut self, outcome: u8) {
        let Phase::Execution(transfer) = &self.state.phase else { return };
        let seek = if self.state.config & CONFIG_IMPLIED_SEEK != 0 { ST0_SEEK_END } else { 0 };
        let mut result = vec![outcome | seek | transfer.head << 2 | transfer.drive];
        result.extend(transfer.status);
        result.extend(transfer.id);
        self.state.phase = Phase::Result(result);
        self.state.is_done = true;
    }
}

impl Kind {
    fn reads(self) -> bool {
        !matches!(self, Self::Write | Self::Format | Self::ReadId)
    }

    fn scans(self) -> bool {
        matches!(self, Self::ScanEqual | Self::ScanLow | Self::ScanHigh)
    }
}
