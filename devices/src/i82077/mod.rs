//! The 82077AA floppy disk controller in PC-AT mode, with two drives.
//!
//! Source: Intel 82077AA datasheet (order 290166), sections 2 (registers), 4 (commands), 5 and 6.
//!
//! A disk turns and heads step as in a real drive, or so many times as fast: a sector is there when
//! it has passed the head and the disk behind has answered. The bytes of a sector then wait for the
//! host as long as it takes; there is no overrun. Media say by their size how they are recorded;
//! all sectors are of 512 bytes, none is deleted. A motor is up to speed at once; a drive whose motor
//! is off, or that has no disk, finds nothing.
//!
//! Data go by DMA ([`DmaPeer`]: the DREQ wire says when) or through the FIFO.

mod execution;
mod medium;

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{
    Bays, Cx, Device, Disk, DmaPeer, Line, LoadError, Ports, Saved, Timed, errand::Errand,
};
use execution::{Step, Transfer};
use medium::{Format, Motion};

const NAME: &str = "i82077";
/// Drives that can be there; the controller can address twice as many.
const BAYS: usize = 2;
const DRIVES: usize = 4;
/// The last cylinder that a head reaches.
const CYLINDER_MAX: u8 = 83;
/// After a reset the drives are polled.
const POLL_NS: u64 = 100_000;

// Digital output register (section 2.1.3).
const DOR_NOT_RESET: u8 = 1 << 2;
const DOR_GATE: u8 = 1 << 3;
const DOR_MOTOR_0: u8 = 1 << 4;

// Main status register (section 2.1.5).
const MSR_BUSY: u8 = 1 << 4;
const MSR_NON_DMA: u8 = 1 << 5;
const MSR_TO_HOST: u8 = 1 << 6;
const MSR_REQUEST: u8 = 1 << 7;

/// Data rate select register: software reset.
const DSR_RESET: u8 = 1 << 7;
/// Digital input register: the disk was changed.
const DIR_CHANGED: u8 = 1 << 7;
const RATE: u8 = 3;

// CONFIGURE (section 5.2.7).
const CONFIG_NO_FIFO: u8 = 1 << 5;
const CONFIG_NO_POLL: u8 = 1 << 4;
const CONFIG_IMPLIED_SEEK: u8 = 1 << 6;
const CONFIG_BITS: u8 = 0x7f;

/// Status 0: how a command ended, in the upper two bits.
const ST0_ABNORMAL: u8 = 1 << 6;
const ST0_INVALID: u8 = 1 << 7;
const ST0_POLLED: u8 = 3 << 6;
const ST0_SEEK_END: u8 = 1 << 5;
const ST0_EQUIPMENT: u8 = 1 << 4;

/// The longest command, and the longest result.
const COMMAND_MAX: usize = 9;
const RESULT_MAX: usize = 10;

/// Where the controller is in a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
enum Phase {
    /// Bytes of a command come; these have.
    Command(Vec<u8>),
    /// It is being done.
    Execution(Transfer),
    /// These are left to be read.
    Result(Vec<u8>),
}

/// A head on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Seek {
    until: VmTime,
    cylinder: u8,
    /// What SENSE INTERRUPT STATUS is to say.
    status: u8,
}

/// A drive, as the controller and as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Drive {
    /// The cylinder that the controller thinks the head is at.
    present: u8,
    /// The one it is at.
    cylinder: u8,
    /// The disk was changed and the head has not stepped since.
    is_changed: bool,
    seek: Option<Seek>,
    /// What SENSE INTERRUPT STATUS has to say about the drive.
    status: Option<u8>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    dor: u8,
    tdr: u8,
    /// Data rate.
    rate: u8,
    /// SPECIFY: step rate and head unload time, head load time and non-DMA mode.
    specify: [u8; 2],
    config: u8,
    precompensation: u8,
    perpendicular: u8,
    is_locked: bool,
    /// The end of a track in the last command, for DUMPREG.
    end_of_track: u8,
    drives: [Drive; DRIVES],
    phase: Phase,
    /// A result, or a byte in non-DMA mode, interrupts.
    is_done: bool,
    /// When the drives are polled after a reset.
    poll_at: Option<VmTime>,
    errand: Errand,
}

impl State {
    fn power_on() -> Self {
        let drive = Drive { is_changed: true, ..Drive::default() };
        Self {
            dor: 0,
            tdr: 0,
            rate: 2,
            specify: [0; 2],
            config: CONFIG_NO_FIFO,
            precompensation: 0,
            perpendicular: 0,
            is_locked: false,
            end_of_track: 0,
            drives: [drive; DRIVES],
            phase: Phase::Command(Vec::new()),
            is_done: false,
            poll_at: None,
            errand: Errand::default(),
        }
    }

    fn is_valid(&self) -> bool {
        let is_phase = match &self.phase {
            Phase::Command(bytes) => bytes.len() < COMMAND_MAX,
            Phase::Execution(transfer) => transfer.is_valid(),
            Phase::Result(bytes) => (1..=RESULT_MAX).contains(&bytes.len()),
        };
        is_phase
            && self.rate <= RATE
            && self.tdr <= 3
            && self.config & !CONFIG_BITS == 0
            && self.drives.iter().all(|drive| drive.cylinder <= CYLINDER_MAX)
    }

    fn is_non_dma(&self) -> bool {
        self.specify[1] & 1 != 0
    }
}

/// The controller.
///
/// Its ports are eight (3F0h to 3F7h on a PC), of which 3F6h is an IDE controller's. Its [`Bays`]
/// are drives 0 and 1.
pub struct I82077 {
    irq: Line,
    dreq: Line,
    media: [Option<Box<dyn Disk>>; BAYS],
    motion: Motion,
    state: State,
}

impl I82077 {
    /// Register: digital output.
    pub const DOR: u16 = 2;
    /// Register: tape drive.
    pub const TDR: u16 = 3;
    /// Register: main status (read), data rate select (write).
    pub const MSR: u16 = 4;
    /// Register: data.
    pub const FIFO: u16 = 5;
    /// Register: digital input (read), configuration control (write).
    pub const DIR: u16 = 7;

    /// A controller after power-on, with these disks in its drives. It interrupts on `irq`; `dreq`
    /// leads to a pin of an [`crate::I8237`]. Whatever moves is `pace` times as fast as in a real
    /// drive, where a disk turns in 200 ms.
    #[must_use]
    pub fn new(irq: Line, dreq: Line, media: [Option<Box<dyn Disk>>; BAYS], pace: u64) -> Self {
        Self { irq, dreq, media, motion: Motion::new(pace), state: State::power_on() }
    }

    /// The disk in drive `drive`, with how it is recorded.
    fn medium(&self, drive: usize) -> Option<(&dyn Disk, Format)> {
        let disk = self.media.get(drive)?.as_deref()?;
        Some((disk, Format::of(disk)))
    }

    fn is_in_reset(&self) -> bool {
        self.state.dor & DOR_NOT_RESET == 0
    }

    /// What every reset but RESET does: the drives keep their places.
    fn restart(&mut self) {
        self.cancel();
        let state = &mut self.state;
        state.phase = Phase::Command(Vec::new());
        state.is_done = false;
        state.poll_at = None;
        for drive in &mut state.drives {
            (drive.seek, drive.status, drive.present) = (None, None, 0);
        }
        if !state.is_locked {
            (state.config, state.precompensation) = (CONFIG_NO_FIFO, 0);
        }
        state.perpendicular &= !3;
    }

    /// Forgets the order that is under way.
    fn cancel(&mut self) {
        if let Phase::Execution(transfer) = &self.state.phase
            && let Some(disk) = self.media.get_mut(transfer.drive()).and_then(Option::as_mut)
        {
            self.state.errand.cancel(&mut **disk);
        }
        self.state.errand.forget();
    }

    fn drive_lines(&mut self) {
        let (irq, dreq) = (self.requests_interrupt(), self.dreq());
        self.irq.set(irq);
        self.dreq.set(dreq);
    }

    fn requests_interrupt(&self) -> bool {
        let is_moving = self.moves_data() && self.state.is_non_dma();
        let is_asked = self.state.drives.iter().any(|drive| drive.status.is_some());
        self.state.dor & DOR_GATE != 0 && (self.state.is_done || is_asked || is_moving)
    }

    /// Whether data wait for the host, or the host for data to be taken.
    fn moves_data(&self) -> bool {
        matches!(&self.state.phase, Phase::Execution(t) if t.step() != Step::Wait)
    }

    /// Everything that is due by `now` happens.
    fn catch_up(&mut self, now: VmTime) {
        let is_polling = self.state.config & CONFIG_NO_POLL == 0;
        if self.state.poll_at.take_if(|at| *at <= now).is_some() && is_polling {
            for (n, drive) in self.state.drives.iter_mut().enumerate() {
                drive.status = Some(ST0_POLLED | n as u8);
            }
        }
        for index in 0..DRIVES {
            let drive = &mut self.state.drives[index];
            if let Some(seek) = drive.seek.take_if(|seek| seek.until <= now) {
                drive.status = Some(seek.status);
                self.step_head(index, seek.cylinder);
            }
        }
        while self.advance_transfer(now) {}
        self.drive_lines();
    }

    /// The head of a drive goes to a cylinder.
    fn step_head(&mut self, index: usize, cylinder: u8) {
        let is_loaded = self.medium(index).is_some();
        let drive = &mut self.state.drives[index];
        let cylinder = cylinder.min(CYLINDER_MAX);
        if drive.cylinder != cylinder && is_loaded {
            drive.is_changed = false;
        }
        drive.cylinder = cylinder;
    }

    // Registers

    fn main_status(&self) -> u8 {
        if self.is_in_reset() {
            return 0;
        }
        let seeks = self.state.drives.iter().enumerate().filter(|(_, drive)| drive.seek.is_some());
        let seeks = seeks.fold(0, |bits, (n, _)| bits | 1 << n);
        seeks
            | match &self.state.phase {
                Phase::Command(bytes) if bytes.is_empty() => MSR_REQUEST,
                Phase::Command(_) => MSR_REQUEST | MSR_BUSY,
                Phase::Result(_) => MSR_REQUEST | MSR_TO_HOST | MSR_BUSY,
                Phase::Execution(transfer) => {
                    let non_dma = if self.state.is_non_dma() { MSR_NON_DMA } else { 0 };
                    MSR_BUSY
                        | match transfer.step() {
                            Step::ToHost if non_dma != 0 => MSR_REQUEST | MSR_TO_HOST | non_dma,
                            Step::FromHost if non_dma != 0 => MSR_REQUEST | non_dma,
                            _ => non_dma,
                        }
                }
            }
    }

    /// The disk change line of the drive that is selected, if its motor is on.
    fn digital_input(&self) -> u8 {
        let index = usize::from(self.state.dor & 3);
        let is_changed = index < BAYS
            && self.is_spinning(index)
            && (self.state.drives[index].is_changed || self.media[index].is_none());
        if is_changed { DIR_CHANGED } else { 0 }
    }

    fn is_spinning(&self, drive: usize) -> bool {
        self.state.dor & DOR_MOTOR_0 << drive != 0
    }

    fn write_dor(&mut self, now: VmTime, value: u8) {
        let was_in_reset = self.is_in_reset();
        self.state.dor = value;
        if self.is_in_reset() {
            self.restart();
        } else if was_in_reset {
            self.state.poll_at = Some(now.after_ns(POLL_NS));
        }
    }

    fn read_fifo(&mut self, now: VmTime) -> u8 {
        match &mut self.state.phase {
            Phase::Result(bytes) => {
                self.state.is_done = false;
                // A result is never empty.
                let byte = bytes.remove(0);
                if bytes.is_empty() {
                    self.state.phase = Phase::Command(Vec::new());
                }
                byte
            }
            Phase::Execution(transfer)
                if transfer.step() == Step::ToHost && self.state.specify[1] & 1 != 0 =>
            {
                let mut byte = 0;
                self.move_byte(now, &mut byte, false);
                byte
            }
            _ => 0,
        }
    }

    fn write_fifo(&mut self, now: VmTime, mut value: u8) {
        let is_non_dma = self.state.is_non_dma();
        match &mut self.state.phase {
            Phase::Command(bytes) => {
                bytes.push(value);
                if bytes.len() == execution::command_len(bytes[0]) {
                    let bytes = std::mem::take(bytes);
                    self.execute(now, &bytes);
                }
            }
            Phase::Execution(transfer) if transfer.step() == Step::FromHost && is_non_dma => {
                self.move_byte(now, &mut value, false);
            }
            _ => {}
        }
    }

    fn read(&mut self, now: VmTime, reg: u16) -> u8 {
        match reg {
            Self::DOR => self.state.dor,
            Self::TDR => self.state.tdr,
            Self::MSR => self.main_status(),
            Self::FIFO if !self.is_in_reset() => self.read_fifo(now),
            Self::FIFO => 0,
            Self::DIR => self.digital_input(),
            // The status registers A and B are not there in PC-AT mode.
            _ => 0xff,
        }
    }

    fn write(&mut self, now: VmTime, reg: u16, value: u8) {
        match reg {
            Self::DOR => self.write_dor(now, value),
            Self::TDR => self.state.tdr = value & 3,
            Self::MSR => {
                self.state.rate = value & RATE;
                if value & DSR_RESET != 0 && !self.is_in_reset() {
                    self.restart();
                    self.state.poll_at = Some(now.after_ns(POLL_NS));
                }
            }
            Self::FIFO if !self.is_in_reset() => self.write_fifo(now, value),
            Self::DIR => self.state.rate = value & RATE,
            _ => {}
        }
    }
}

impl Ports for I82077 {
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        self.catch_up(cx.now);
        for (reg, byte) in (reg..=Self::DIR).zip(data) {
            *byte = self.read(cx.now, reg);
            self.catch_up(cx.now);
        }
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        self.catch_up(cx.now);
        for (reg, byte) in (reg..=Self::DIR).zip(data) {
            self.write(cx.now, reg, *byte);
            self.catch_up(cx.now);
        }
    }
}

impl DmaPeer for I82077 {
    fn dreq(&self) -> bool {
        self.state.dor & DOR_GATE != 0 && self.moves_data() && !self.state.is_non_dma()
    }

    fn dack(&mut self, cx: &mut Cx<'_>, bus: &mut u8, tc: bool) {
        if self.dreq() {
            self.move_byte(cx.now, bus, tc);
            self.catch_up(cx.now);
        }
    }
}

impl Timed for I82077 {
    fn next_event(&self) -> Option<VmTime> {
        let seeks = self.state.drives.iter().filter_map(|drive| Some(drive.seek?.until));
        seeks.chain(self.state.poll_at).chain(self.next_of_transfer()).min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
    }
}

impl Bays for I82077 {
    fn change_medium(
        &mut self,
        cx: &mut Cx<'_>,
        bay: usize,
        medium: Option<Box<dyn Disk>>,
    ) -> Option<Box<dyn Disk>> {
        if bay >= BAYS {
            return medium;
        }
        self.catch_up(cx.now);
        if matches!(&self.state.phase, Phase::Execution(transfer) if transfer.drive() == bay) {
            self.cancel();
            self.find_nothing();
        }
        self.state.drives[bay].is_changed = true;
        let outside = std::mem::replace(&mut self.media[bay], medium);
        self.drive_lines();
        outside
    }
}

impl Device for I82077 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.cancel();
        let drives = self.state.drives;
        self.state = State::power_on();
        for (drive, before) in self.state.drives.iter_mut().zip(drives) {
            // The heads stay where they are.
            (drive.cylinder, drive.is_changed) = (before.cylinder, before.is_changed);
        }
        self.drive_lines();
    }

    fn save(&self) -> Saved {
        Saved::pack(NAME, &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(NAME)?;
        if !state.is_valid() {
            let reason = "a register is out of range".to_owned();
            return Err(LoadError::Damaged { device: NAME, reason });
        }
        self.cancel();
        self.state = state;
        self.order_again();
        self.irq.restore(self.requests_interrupt());
        self.dreq.restore(self.dreq());
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_bays(&mut self) -> Option<&mut dyn Bays> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
