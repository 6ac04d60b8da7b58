//! The transceiver: a Marvell 88E1011 behind MDIC (sections 8.6, 11.1 and 13.4.7; IEEE 802.3,
//! clauses 22, 28 and 40).
//!
//! At the other end of the cable is somebody who can do everything at 10, 100 and 1000 Mbit/s.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

/// How long it takes to agree on speed and duplex: on real wires seconds, here not at once, but
/// before a driver looks for the first time. Linux's does again after two seconds only.
const NEGOTIATION_NS: u64 = 1_000_000;

const CONTROL: usize = 0;
const STATUS: usize = 1;
const ADVERTISEMENT: usize = 4;
const PARTNER: usize = 5;
const EXPANSION: usize = 6;
const GIGABIT_CONTROL: usize = 9;
const GIGABIT_STATUS: usize = 10;
const SPECIFIC_STATUS: usize = 17;
const INTERRUPT_STATUS: usize = 19;
/// How many there are.
const REGISTERS: usize = 32;

/// Registers after a reset. ID 0141_0C2xh; all of 10, 100 and 1000 Mbit/s; automatic crossover.
const INITIAL: [u16; REGISTERS] = [
    0x1140, 0x7949, 0x0141, 0x0c20, 0x0de1, 0, 0, 0x2001, 0, 0x0300, 0, 0, 0, 0, 0, 0x3000, //
    0x0068, 0, 0, 0, 0x0d60, 0, 0, 0, 0x4100, 0, 0, 0, 0, 0, 0, 0,
];
/// What of them can be written; the last ones are for the maker's own procedures.
const WRITABLE: [u16; REGISTERS] = [
    0x7dc0, 0, 0, 0, 0xffff, 0, 0, 0xffff, 0, 0xff00, 0, 0, 0, 0, 0, 0, //
    0xffff, 0, 0xffff, 0, 0xffff, 0, 0, 0, 0xffff, 0, 0, 0, 0, 0xffff, 0xffff, 0,
];

// Control.
const RESET: u16 = 1 << 15;
const LOOPBACK: u16 = 1 << 14;
const SPEED_100: u16 = 1 << 13;
const NEGOTIATE: u16 = 1 << 12;
const POWER_DOWN: u16 = 1 << 11;
const ISOLATE: u16 = 1 << 10;
const RESTART: u16 = 1 << 9;
const FULL_DUPLEX: u16 = 1 << 8;
const SPEED_1000: u16 = 1 << 6;
// Status.
const NEGOTIATED: u16 = 1 << 5;
const LINK: u16 = 1 << 2;
// Advertisement.
const HALF_10: u16 = 1 << 5;
const FULL_10: u16 = 1 << 6;
const HALF_100: u16 = 1 << 7;
const FULL_100: u16 = 1 << 8;
// 1000BASE-T control.
const HALF_1000: u16 = 1 << 8;
const FULL_1000: u16 = 1 << 9;
/// What the other end can do: everything up to 100 Mbit/s, pauses, and it has heard us.
const PARTNER_ABILITY: u16 = 0x45e1;
/// It can negotiate, a page of it has come, further pages can.
const PARTNER_EXPANSION: u16 = 0x000f;
/// Both receivers work, and the other end can do 1000 Mbit/s in either duplex.
const PARTNER_GIGABIT: u16 = 0x3c00;
// PHY specific status.
const RESOLVED: u16 = 1 << 11;
const REAL_TIME_LINK: u16 = 1 << 10;
const SPECIFIC_FULL: u16 = 1 << 13;

// MDIC (section 13.4.7).
const MDIC_REGISTER_SHIFT: u32 = 16;
const MDIC_PHY_SHIFT: u32 = 21;
const MDIC_WRITE: u32 = 1 << 26;
const MDIC_READ: u32 = 2 << 26;
const MDIC_OPERATION: u32 = 3 << 26;
const MDIC_READY: u32 = 1 << 28;
/// An interrupt when it is done.
pub(super) const MDIC_INTERRUPT: u32 = 1 << 29;
const MDIC_ERROR: u32 = 1 << 30;
/// The address of the only transceiver.
const ADDRESS: u32 = 1;

/// What two ends have agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mode {
    /// 0, 1, 2: 10, 100, 1000 Mbit/s.
    pub(super) speed: u8,
    pub(super) is_full: bool,
}

/// The transceiver's state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Phy {
    registers: Vec<u16>,
    /// Whether a cable is plugged in.
    has_cable: bool,
    /// When the two ends will agree, while they negotiate.
    due: Option<VmTime>,
    /// The link was lost since Status was last read.
    was_lost: bool,
}

impl Phy {
    pub(super) fn new(has_cable: bool) -> Self {
        let mut phy = Self { registers: INITIAL.to_vec(), has_cable, due: None, was_lost: false };
        phy.negotiate(VmTime::ZERO);
        phy
    }

    pub(super) fn reset(&mut self, now: VmTime) {
        self.registers.copy_from_slice(&INITIAL);
        self.negotiate(now);
    }

    pub(super) fn is_possible(&self) -> bool {
        self.registers.len() == REGISTERS
            && (0..REGISTERS).all(|n| (self.registers[n] ^ INITIAL[n]) & !WRITABLE[n] == 0)
    }

    fn negotiate(&mut self, now: VmTime) {
        self.was_lost = true;
        let is_possible = self.has_cable && self.registers[CONTROL] & NEGOTIATE != 0;
        self.due = is_possible.then_some(now.after_ns(NEGOTIATION_NS));
    }

    /// The cable is plugged in or out.
    pub(super) fn plug(&mut self, now: VmTime, has_cable: bool) {
        if std::mem::replace(&mut self.has_cable, has_cable) != has_cable {
            self.negotiate(now);
        }
    }

    pub(super) fn next_event(&self) -> Option<VmTime> {
        self.due
    }

    pub(super) fn advance(&mut self, now: VmTime) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
        }
    }

    pub(super) fn has_link(&self) -> bool {
        self.mode().is_some()
    }

    /// Whether what is sent comes back.
    pub(super) fn is_loop(&self) -> bool {
        self.registers[CONTROL] & LOOPBACK != 0
    }

    /// What the two ends have agreed on, or this one was told; `None` without a link.
    pub(super) fn mode(&self) -> Option<Mode> {
        let control = self.registers[CONTROL];
        if !self.has_cable || self.due.is_some() || control & (POWER_DOWN | ISOLATE) != 0 {
            return None;
        }
        if control & NEGOTIATE == 0 {
            let speed = match control & (SPEED_1000 | SPEED_100) {
                0 => 0,
                SPEED_100 => 1,
                _ => 2,
            };
            return Some(Mode { speed, is_full: control & FULL_DUPLEX != 0 });
        }
        let (gigabit, slower) = (self.registers[GIGABIT_CONTROL], self.registers[ADVERTISEMENT]);
        let by_priority = [
            (gigabit & FULL_1000, 2, true),
            (gigabit & HALF_1000, 2, false),
            (slower & FULL_100, 1, true),
            (slower & HALF_100, 1, false),
            (slower & FULL_10, 0, true),
            (slower & HALF_10, 0, false),
        ];
        let best = by_priority.into_iter().find(|(can, ..)| *can != 0)?;
        Some(Mode { speed: best.1, is_full: best.2 })
    }

    fn read(&mut self, register: usize) -> u16 {
        let mode = self.mode();
        let has_negotiated = mode.is_some() && self.registers[CONTROL] & NEGOTIATE != 0;
        let partner = |value: u16| if has_negotiated { value } else { 0 };
        match register {
            STATUS => {
                // A lost link stays so until it was read.
                let was_lost = std::mem::replace(&mut self.was_lost, mode.is_none());
                let link = if mode.is_some() && !was_lost { LINK } else { 0 };
                INITIAL[STATUS] | partner(NEGOTIATED) | link
            }
            PARTNER => partner(PARTNER_ABILITY),
            EXPANSION => partner(PARTNER_EXPANSION),
            GIGABIT_STATUS => partner(PARTNER_GIGABIT),
            SPECIFIC_STATUS => mode.map_or(0, |Mode { speed, is_full }| {
                let duplex = if is_full { SPECIFIC_FULL } else { 0 };
                u16::from(speed) << 14 | duplex | RESOLVED | REAL_TIME_LINK
            }),
            INTERRUPT_STATUS => 0,
            _ => self.registers[register],
        }
    }

    fn write(&mut self, now: VmTime, register: usize, value: u16) {
        if register == CONTROL && value & RESET != 0 {
            // A soft reset keeps what was written elsewhere, for that takes effect by it.
            self.registers[CONTROL] = value & WRITABLE[CONTROL];
            return self.negotiate(now);
        }
        let keep = self.registers[register] & !WRITABLE[register];
        let before =
            std::mem::replace(&mut self.registers[register], keep | value & WRITABLE[register]);
        let changed = before ^ self.registers[register];
        let restarts = value & RESTART != 0 || changed & (NEGOTIATE | POWER_DOWN | ISOLATE) != 0;
        if register == CONTROL && restarts {
            self.negotiate(now);
        }
    }

    /// What MDIC reads after `value` was written: the operation is done.
    pub(super) fn operate(&mut self, now: VmTime, value: u32) -> u32 {
        let register = (value >> MDIC_REGISTER_SHIFT & 31) as usize;
        let kept = value & !(MDIC_READY | MDIC_ERROR);
        let done = kept | MDIC_READY;
        match value & MDIC_OPERATION {
            _ if value >> MDIC_PHY_SHIFT & 31 != ADDRESS => done | MDIC_ERROR,
            MDIC_READ => done & !0xffff | u32::from(self.read(register)),
            MDIC_WRITE => {
                self.write(now, register, value as u16);
                done
            }
            _ => done | MDIC_ERROR,
        }
    }
}
