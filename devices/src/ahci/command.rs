//! How a port executes commands (AHCI 1.3.1, sections 4.2.2, 4.2.3 and 5.3): the list, the tables,
//! and the regions of memory that data go to or come from.

use serde::{Deserialize, Serialize};
use trine_guest::Gpa;

use super::{
    frame,
    port::{
        IS_BUS_FATAL, IS_FAILED, IS_OVERFLOW, IS_PIO_SETUP, IS_REGION, IS_SET_DEVICE_BITS, Port,
    },
};
use crate::{
    Cx,
    ata::{Phase, QueueEvent, QueueRequest},
};

/// Bytes of an entry of the command list.
const HEADER: u64 = 32;
/// Header: where the count of bytes that were moved goes.
const HEADER_COUNT: u64 = 4;
/// Table: where the packet is, and the regions.
const TABLE_PACKET: u64 = 0x40;
const TABLE_REGIONS: u64 = 0x80;
/// Bytes of an entry of the table of regions.
const REGION: u64 = 16;
const SLOTS: u32 = 32;

const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;
const READ_FPDMA_QUEUED: u8 = 0x60;
const WRITE_FPDMA_QUEUED: u8 = 0x61;
const STATUS_ERROR: u8 = 1 << 0;
/// Control (byte 15 of a command frame): the drive is held in reset.
const CONTROL_SRST: u8 = 1 << 2;
/// Byte 1 of a command frame: it is a command, rather than a write to Device Control.
const IS_COMMAND: u8 = 1 << 7;

/// A command in a slot, and how far it is through its regions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) number: u8,
    table: u64,
    regions: u16,
    /// The region in use, and how much of it was.
    region: u16,
    offset: u32,
    /// Bytes that were moved.
    moved: u32,
    /// Data of the command go by PIO, so that it ends without a frame.
    is_silent: bool,
}

/// Why data were not moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Problem {
    /// There are no more regions.
    Overflow,
    /// That is not memory.
    NoMemory,
}

impl Slot {
    pub(super) fn is_valid(&self) -> bool {
        u32::from(self.number) < SLOTS && self.offset < 1 << 22
    }

    /// The region in use: where its rest is, how long that is, and whether its end interrupts.
    fn region(&self, cx: &Cx<'_>) -> Result<(Gpa, u64, bool), Problem> {
        if self.region >= self.regions {
            return Err(Problem::Overflow);
        }
        let at = TABLE_REGIONS + u64::from(self.region) * REGION;
        let mut entry = [0; REGION as usize];
        cx.ram.read(Gpa(self.table).offset(at), &mut entry).map_err(|_| Problem::NoMemory)?;
        let [word0, word1, _, word3] = words(&entry);
        let start = Gpa((u64::from(word1) << 32 | u64::from(word0)) & !1);
        let len = (u64::from(word3) & 0x3f_ffff | 1) + 1;
        let offset = u64::from(self.offset).min(len - 1);
        Ok((start.offset(offset), len - offset, word3 >> 31 != 0))
    }

    /// Steps through regions for `len` bytes: `f` gets a place and which of the bytes are there.
    /// Returns whether a region has asked for an interrupt.
    fn walk(
        &mut self,
        cx: &Cx<'_>,
        len: usize,
        mut f: impl FnMut(Gpa, std::ops::Range<usize>) -> Option<()>,
    ) -> Result<bool, Problem> {
        let (mut at, mut interrupts) = (0, false);
        while at < len {
            let (place, rest, is_marked) = self.region(cx)?;
            let count = rest.min((len - at) as u64) as usize;
            f(place, at..at + count).ok_or(Problem::NoMemory)?;
            at += count;
            self.moved = self.moved.wrapping_add(count as u32);
            if count as u64 == rest {
                interrupts |= is_marked;
                (self.region, self.offset) = (self.region + 1, 0);
            } else {
                self.offset += count as u32;
            }
        }
        Ok(interrupts)
    }

    /// Stores `data`.
    fn store(&mut self, cx: &Cx<'_>, data: &[u8]) -> Result<bool, Problem> {
        self.walk(cx, data.len(), |at, range| cx.ram.write(at, &data[range]).ok())
    }

    /// Fetches `len` bytes.
    fn fetch(&mut self, cx: &Cx<'_>, len: usize) -> Result<(Vec<u8>, bool), Problem> {
        let mut data = vec![0; len];
        let marked = self.walk(cx, len, |at, range| cx.ram.read(at, &mut data[range]).ok())?;
        Ok((data, marked))
    }
}

/// The doublewords in `bytes`.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    std::array::from_fn(|n| {
        bytes.get(4 * n..).and_then(|b| b.first_chunk().copied()).map_or(0, u32::from_le_bytes)
    })
}

impl Port {
    /// Everything that is due by now happens: the drive hears of its disk's answers, and commands
    /// are taken as long as there are some that can be.
    pub(super) fn serve(&mut self, cx: &Cx<'_>) {
        loop {
            // A drive may also have gone on because somebody has changed its medium.
            self.proceed(cx);
            while let Some(drive) = &mut self.drive
                && drive.advance(cx.now)
            {
                self.proceed(cx);
            }
            while let Some(event) = self.drive.as_mut().and_then(|drive| drive.queue_take(cx.now)) {
                self.queue_event(cx, event);
            }
            if !self.issue(cx) {
                return;
            }
        }
    }

    /// Something is wrong with what the guest has in memory: nothing goes on.
    fn halt(&mut self, why: u32) {
        self.state.interrupts |= why;
        self.state.is_halted = true;
    }

    /// Takes the next command that is issued, if the drive can. False if there is none.
    fn issue(&mut self, cx: &Cx<'_>) -> bool {
        let is_ready = self.is_running()
            && self.state.current.is_none()
            && self.state.issued != 0
            && self.drive.as_ref().is_some_and(|drive| drive.phase() == Phase::Idle);
        if !is_ready {
            return false;
        }
        let number = self.state.issued.trailing_zeros() as u8;
        let Some((slot, command)) = self.fetch_command(cx, number) else {
            self.halt(IS_BUS_FATAL);
            return false;
        };
        let [kind, flags, opcode, ..] = command;
        self.state.current = Some(slot);
        match opcode {
            _ if kind != frame::COMMAND => self.halt(IS_BUS_FATAL),
            _ if flags & IS_COMMAND == 0 => self.control(cx, command[15]),
            READ_FPDMA_QUEUED | WRITE_FPDMA_QUEUED => self.enqueue(cx, &command),
            _ => self.start(cx, &command),
        }
        true
    }

    /// The command in slot `number`: its table and its frame.
    fn fetch_command(&self, cx: &Cx<'_>, number: u8) -> Option<(Slot, [u8; 20])> {
        let mut header = [0; HEADER as usize];
        let at = Gpa(self.state.command_list).offset(u64::from(number) * HEADER);
        cx.ram.read(at, &mut header).ok()?;
        let [flags, _, low, high] = words(&header);
        let table = u64::from(high) << 32 | u64::from(low & !0x7f);
        let mut command = [0; 20];
        cx.ram.read(Gpa(table), &mut command).ok()?;
        let slot = Slot {
            number,
            table,
            regions: (flags >> 16) as u16,
            region: 0,
            offset: 0,
            moved: 0,
            is_silent: false,
        };
        Some((slot, command))
    }

    /// A write to Device Control: a reset starts or ends.
    fn control(&mut self, cx: &Cx<'_>, control: u8) {
        let was_held = std::mem::replace(&mut self.state.is_held, control & CONTROL_SRST != 0);
        if let Some(slot) = self.state.current.take() {
            self.state.issued &= !(1 << slot.number);
        }
        if self.state.is_held
            && let Some(drive) = &mut self.drive
        {
            drive.reset(true);
        } else if was_held {
            self.sign();
            self.receive_registers(cx, false);
        }
    }

    /// A command that is not queued.
    fn start(&mut self, cx: &Cx<'_>, command: &[u8; 20]) {
        let Some(drive) = &mut self.drive else { return };
        // Features, count and address: the bytes that were there before go first.
        for (register, now, before) in [(1, 3, 11), (2, 12, 13), (3, 4, 8), (4, 5, 9), (5, 6, 10)] {
            drive.write(register, command[before]);
            drive.write(register, command[now]);
        }
        drive.write(6, command[7]);
        // What was queued is lost.
        self.state.queued.clear();
        self.state.active = 0;
        if command[2] == EXECUTE_DEVICE_DIAGNOSTIC {
            drive.diagnose();
            drive.announce();
        } else {
            drive.command(cx.now, command[2]);
        }
        self.proceed(cx);
    }

    /// Gives the drive what it wants, and takes what it has, as far as that goes.
    fn proceed(&mut self, cx: &Cx<'_>) {
        while !self.state.is_halted
            && let Some(mut slot) = self.state.current.take()
            && let Some(drive) = &mut self.drive
        {
            let phase = drive.phase();
            let result = match phase {
                Phase::Busy => {
                    self.state.current = Some(slot);
                    return;
                }
                Phase::Idle => return self.finish(cx, &slot),
                Phase::Packet => self.move_packet(cx, &slot).map(|()| false),
                Phase::PioIn | Phase::DmaIn => self.move_in(cx, &mut slot, phase),
                Phase::PioOut | Phase::DmaOut => self.move_out(cx, &mut slot),
            };
            self.state.current = Some(slot);
            match result {
                Ok(is_marked) => self.mark(is_marked),
                Err(Problem::Overflow) => self.halt(IS_OVERFLOW),
                Err(Problem::NoMemory) => self.halt(IS_BUS_FATAL),
            }
        }
    }

    fn mark(&mut self, is_marked: bool) {
        self.state.interrupts |= if is_marked { IS_REGION } else { 0 };
    }

    fn move_packet(&mut self, cx: &Cx<'_>, slot: &Slot) -> Result<(), Problem> {
        let mut packet = [0; 12];
        let at = Gpa(slot.table).offset(TABLE_PACKET);
        cx.ram.read(at, &mut packet).map_err(|_| Problem::NoMemory)?;
        if let Some(drive) = &mut self.drive {
            drive.put(cx.now, &packet);
        }
        Ok(())
    }

    /// A block to memory. What there is no region for is lost.
    fn move_in(&mut self, cx: &Cx<'_>, slot: &mut Slot, phase: Phase) -> Result<bool, Problem> {
        let Some(drive) = &mut self.drive else { return Ok(false) };
        let len = drive.rest().len();
        let stored = match slot.store(cx, drive.rest()) {
            Err(Problem::Overflow) => {
                self.state.interrupts |= IS_OVERFLOW;
                Ok(false)
            }
            other => other,
        };
        let is_pio = phase == Phase::PioIn;
        if is_pio {
            let interrupts = drive.acknowledge();
            let frame = self.registers().pio_setup(interrupts, true, len);
            self.receive(cx, frame::PIO_SETUP_AT, &frame, interrupts.then_some(IS_PIO_SETUP));
        }
        slot.is_silent = is_pio;
        if let Some(drive) = &mut self.drive {
            drive.take(cx.now, len);
        }
        stored
    }

    /// A block from memory.
    fn move_out(&mut self, cx: &Cx<'_>, slot: &mut Slot) -> Result<bool, Problem> {
        let Some(drive) = &mut self.drive else { return Ok(false) };
        let (data, is_marked) = slot.fetch(cx, drive.room())?;
        drive.acknowledge();
        drive.put(cx.now, &data);
        Ok(is_marked)
    }

    /// The drive is done with the command.
    fn finish(&mut self, cx: &Cx<'_>, slot: &Slot) {
        let Some(drive) = &mut self.drive else { return };
        let interrupts = drive.acknowledge();
        let has_failed = drive.read(7, false) & STATUS_ERROR != 0;
        self.write_count(cx, slot);
        if interrupts || !slot.is_silent {
            self.receive_registers(cx, interrupts);
        }
        if has_failed {
            // The slot stays issued, so that the host sees which it was.
            self.halt(IS_FAILED);
        } else {
            self.state.issued &= !(1 << slot.number);
        }
    }

    fn write_count(&mut self, cx: &Cx<'_>, slot: &Slot) {
        let at =
            Gpa(self.state.command_list).offset(u64::from(slot.number) * HEADER + HEADER_COUNT);
        if cx.ram.write(at, &slot.moved.to_le_bytes()).is_err() {
            self.state.interrupts |= IS_BUS_FATAL;
        }
    }

    // Queued commands

    fn enqueue(&mut self, cx: &Cx<'_>, command: &[u8; 20]) {
        let (Some(slot), Some(drive)) = (self.state.current.take(), &mut self.drive) else {
            return;
        };
        let [_, _, opcode, count, a, b, c, device, d, e, f, count_before, tag, ..] = *command;
        let tag = tag >> 3;
        let sectors = u16::from_le_bytes([count, count_before]);
        let request = QueueRequest {
            tag,
            is_write: opcode == WRITE_FPDMA_QUEUED,
            first: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            sectors: if sectors == 0 { 1 << 16 } else { u32::from(sectors) },
            is_through: device & 1 << 7 != 0,
        };
        // A command's tag is its slot.
        let is_taken = tag == slot.number && drive.enqueue(cx.now, request);
        if is_taken {
            self.state.issued &= !(1 << slot.number);
            self.state.queued.push(slot);
            self.receive_registers(cx, false);
            self.feed(cx, tag);
        } else {
            if tag != slot.number {
                drive.command(cx.now, 0x00);
            }
            drive.acknowledge();
            self.state.queued.clear();
            self.receive_registers(cx, true);
            self.halt(IS_FAILED);
        }
    }

    fn slot(&mut self, tag: u8) -> Option<&mut Slot> {
        self.state.queued.iter_mut().find(|slot| slot.number == tag)
    }

    /// Brings what a queued write wants.
    fn feed(&mut self, cx: &Cx<'_>, tag: u8) {
        let room = self.drive.as_ref().map_or(0, |drive| drive.queue_room(tag));
        if room == 0 {
            return;
        }
        match self.slot(tag).map(|slot| slot.fetch(cx, room)) {
            Some(Ok((data, is_marked))) => {
                self.mark(is_marked);
                if let Some(drive) = &mut self.drive {
                    drive.queue_put(cx.now, tag, data);
                }
            }
            Some(Err(Problem::Overflow)) => self.halt(IS_OVERFLOW),
            _ => self.halt(IS_BUS_FATAL),
        }
    }

    fn queue_event(&mut self, cx: &Cx<'_>, event: QueueEvent) {
        if self.state.is_halted {
            return;
        }
        match event {
            QueueEvent::Wants { tag } => self.feed(cx, tag),
            QueueEvent::Done { tag } => self.dequeue(cx, tag),
            QueueEvent::Data { tag, data, is_last } => {
                match self.slot(tag).map(|slot| slot.store(cx, &data)) {
                    Some(Ok(is_marked)) => self.mark(is_marked),
                    Some(Err(Problem::Overflow)) => self.state.interrupts |= IS_OVERFLOW,
                    _ => return self.halt(IS_BUS_FATAL),
                }
                if is_last {
                    self.dequeue(cx, tag);
                }
            }
            QueueEvent::Failed { .. } => {
                let frame = self.registers().set_device_bits(0);
                self.receive(cx, frame::SET_DEVICE_BITS_AT, &frame, Some(IS_SET_DEVICE_BITS));
                self.state.queued.clear();
                self.halt(IS_FAILED);
            }
        }
    }

    /// A queued command is done.
    fn dequeue(&mut self, cx: &Cx<'_>, tag: u8) {
        let Some(index) = self.state.queued.iter().position(|slot| slot.number == tag) else {
            return;
        };
        let slot = self.state.queued.remove(index);
        self.write_count(cx, &slot);
        let done = 1 << tag;
        self.state.active &= !done;
        let frame = self.registers().set_device_bits(done);
        self.receive(cx, frame::SET_DEVICE_BITS_AT, &frame, Some(IS_SET_DEVICE_BITS));
    }
}
