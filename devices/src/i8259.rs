//! The two 8259A interrupt controllers of a PC, cascaded, with the edge/level control register.
//!
//! Sources: Intel 8259A datasheet (order 231468); Intel 82371SB (PIIX3) datasheet, section 2.5.2,
//! for ELCR.
//!
//! One thing is kinder than the datasheet: an edge stays latched when its input falls before the
//! acknowledge cycle, as in every emulator, so that a pulse of no length is an interrupt. The wire
//! between the two chips is exact: a request that the slave withdraws is withdrawn at the master.

use serde::{Deserialize, Serialize};

use crate::{Cx, Device, Inputs, Line, LoadError, Ports, Saved};

/// The master's input that the slave's INT leads to.
const CASCADE: u8 = 2;
/// Which inputs ELCR can make level-triggered: not 0, 1, 2 of the master, 8 and 13 of the pair.
const ELCR_WRITABLE: [u8; 2] = [0xf8, 0xde];

/// ICW1: this write starts an initialisation.
const ICW1: u8 = 1 << 4;
/// ICW1: all inputs are level-triggered.
const ICW1_LTIM: u8 = 1 << 3;
/// ICW1: call address interval of 4 (8080 mode).
const ICW1_ADI: u8 = 1 << 2;
/// ICW1: the only 8259A, no ICW3.
const ICW1_SNGL: u8 = 1 << 1;
/// ICW1: an ICW4 follows.
const ICW1_IC4: u8 = 1 << 0;
/// ICW4: special fully nested mode.
const ICW4_SFNM: u8 = 1 << 4;
/// ICW4: automatic end of interrupt.
const ICW4_AEOI: u8 = 1 << 1;
/// ICW4: 8086 mode.
const ICW4_UPM: u8 = 1 << 0;
/// Tells OCW3 from OCW2.
const OCW3: u8 = 1 << 3;

/// Which initialisation word the chip waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Awaits {
    /// Never initialised: makes no requests.
    Icw1,
    Icw2,
    Icw3,
    Icw4,
    /// Initialised: operation command words.
    Ocw,
}

/// One 8259A.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Chip {
    /// Levels of the inputs.
    pins: u8,
    /// Latched edges: IRR of the edge-triggered inputs.
    edges: u8,
    isr: u8,
    imr: u8,
    elcr: u8,
    awaits: Awaits,
    icw1: u8,
    icw2: u8,
    icw3: u8,
    icw4: u8,
    /// The input with the lowest priority; the next one in the circle has the highest.
    lowest: u8,
    rotate_on_aeoi: bool,
    special_mask: bool,
    /// The next read is a poll.
    poll: bool,
    /// The command register reads ISR, else IRR.
    read_isr: bool,
}

impl Chip {
    fn new() -> Self {
        Self {
            pins: 0,
            edges: 0,
            isr: 0,
            imr: 0,
            elcr: 0,
            awaits: Awaits::Icw1,
            icw1: 0,
            icw2: 0,
            icw3: 0,
            icw4: 0,
            lowest: 7,
            rotate_on_aeoi: false,
            special_mask: false,
            poll: false,
            read_isr: false,
        }
    }

    /// Which inputs are level-triggered.
    fn level_triggered(&self) -> u8 {
        if self.icw1 & ICW1_LTIM != 0 { 0xff } else { self.elcr }
    }

    fn irr(&self) -> u8 {
        let level = self.level_triggered();
        (self.edges & !level) | (self.pins & level)
    }

    fn input(&mut self, pin: u8, level: bool) {
        let mask = 1 << pin;
        if level {
            self.edges |= mask & !self.pins;
            self.pins |= mask;
        } else {
            self.pins &= !mask;
        }
    }

    /// The set input with the highest priority.
    fn first(&self, set: u8) -> Option<u8> {
        let rotated = set.rotate_right(u32::from(self.lowest) + 1);
        (rotated != 0).then(|| (rotated.trailing_zeros() as u8 + self.lowest + 1) & 7)
    }

    /// How far `input` is from the highest priority.
    fn rank(&self, input: u8) -> u8 {
        input.wrapping_sub(self.lowest + 1) & 7
    }

    /// The input to be served now: INT is high if there is one.
    fn request(&self, is_master: bool) -> Option<u8> {
        if self.awaits != Awaits::Ocw {
            return None;
        }
        let wanted = self.first(self.irr() & !self.imr)?;
        let mut blocking = self.isr;
        if self.special_mask {
            blocking &= !self.imr;
        }
        if is_master && self.icw4 & ICW4_SFNM != 0 {
            // The slave may interrupt its own service with something more urgent.
            blocking &= !(1 << CASCADE);
        }
        match self.first(blocking) {
            Some(served) if self.rank(served) <= self.rank(wanted) => None,
            _ => Some(wanted),
        }
    }

    /// The acknowledge cycle's effect on the input that is served.
    fn accept(&mut self, input: u8) {
        let mask = 1 << input;
        self.edges &= !mask;
        if self.icw4 & ICW4_AEOI == 0 {
            self.isr |= mask;
        } else if self.rotate_on_aeoi {
            self.lowest = input;
        }
    }

    /// What the chip puts on the bus in the last INTA cycle.
    fn vector(&self, input: u8) -> u8 {
        if self.icw4 & ICW4_UPM != 0 {
            (self.icw2 & 0xf8) | input
        } else if self.icw1 & ICW1_ADI != 0 {
            (self.icw1 & 0xe0) | (input << 2)
        } else {
            (self.icw1 & 0xc0) | (input << 3)
        }
    }

    fn read(&mut self, is_master: bool, a0: bool) -> u8 {
        if std::mem::take(&mut self.poll) {
            return match self.request(is_master) {
                Some(input) => {
                    self.accept(input);
                    0x80 | input
                }
                None => 0,
            };
        }
        match (a0, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr(),
        }
    }

    fn write(&mut self, a0: bool, value: u8) {
        if a0 {
            self.write_data(value);
        } else if value & ICW1 != 0 {
            self.initialise(value);
        } else if value & OCW3 != 0 {
            self.write_ocw3(value);
        } else {
            self.write_ocw2(value);
        }
    }

    fn initialise(&mut self, icw1: u8) {
        *self = Self {
            pins: self.pins,
            elcr: self.elcr,
            icw1,
            // "The slave mode address is set to 7."
            icw3: 7,
            awaits: Awaits::Icw2,
            ..Self::new()
        };
    }

    fn write_data(&mut self, value: u8) {
        let after_icw3 = if self.icw1 & ICW1_IC4 != 0 { Awaits::Icw4 } else { Awaits::Ocw };
        match self.awaits {
            Awaits::Icw1 | Awaits::Ocw => self.imr = value,
            Awaits::Icw2 => {
                self.icw2 = value;
                self.awaits = if self.icw1 & ICW1_SNGL != 0 { after_icw3 } else { Awaits::Icw3 };
            }
            Awaits::Icw3 => {
                self.icw3 = value;
                self.awaits = after_icw3;
            }
            Awaits::Icw4 => {
                self.icw4 = value;
                self.awaits = Awaits::Ocw;
            }
        }
    }

    /// End of interrupt, rotation and priority.
    fn write_ocw2(&mut self, value: u8) {
        let level = value & 7;
        // "An IS bit that is masked by an IMR bit will not be cleared by a non-specific EOI if
        // the 8259A is in the Special Mask Mode."
        let served = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let target = match value >> 5 {
            0b001 | 0b101 => self.first(served),
            _ => Some(level),
        };
        match (value >> 5, target) {
            (0b000, _) => self.rotate_on_aeoi = false,
            (0b100, _) => self.rotate_on_aeoi = true,
            (0b001 | 0b011, Some(input)) => self.isr &= !(1 << input),
            (0b101 | 0b111, Some(input)) => {
                self.isr &= !(1 << input);
                self.lowest = input;
            }
            (0b110, _) => self.lowest = level,
            _ => {}
        }
    }

    /// Special mask mode, poll, and which register reads.
    fn write_ocw3(&mut self, value: u8) {
        if value & 0x40 != 0 {
            self.special_mask = value & 0x20 != 0;
        }
        if value & 0x04 != 0 {
            self.poll = true;
        } else if value & 0x02 != 0 {
            self.read_isr = value & 0x01 != 0;
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    master: Chip,
    slave: Chip,
}

/// The pair of 8259As: 15 inputs (pin 2 is the cascade and ignored), one output to the CPU.
///
/// Pins 0 to 15 of [`Inputs`] are IRQ 0 to 15.
pub struct I8259 {
    int: Line,
    state: State,
}

impl I8259 {
    /// Register: the master's command port (A0 = 0; 20h on a PC).
    pub const MASTER_COMMAND: u16 = 0;
    /// Register: the master's data port (A0 = 1; 21h on a PC).
    pub const MASTER_DATA: u16 = 1;
    /// Register: the slave's command port (A0h on a PC).
    pub const SLAVE_COMMAND: u16 = 2;
    /// Register: the slave's data port (A1h on a PC).
    pub const SLAVE_DATA: u16 = 3;
    /// Register: edge/level control of IRQ 0 to 7 (4D0h on a PC).
    pub const ELCR_MASTER: u16 = 4;
    /// Register: edge/level control of IRQ 8 to 15 (4D1h on a PC).
    pub const ELCR_SLAVE: u16 = 5;

    /// A pair that was never initialised; `int` is the master's INT.
    #[must_use]
    pub fn new(int: Line) -> Self {
        Self { int, state: State { master: Chip::new(), slave: Chip::new() } }
    }

    /// Both INTA cycles: the vector of the interrupt that the CPU now serves. With no request
    /// left, the vector of IRQ 7 (or of IRQ 15, if it is the slave that has none) and no IS bit.
    #[must_use = "the vector is lost"]
    pub fn acknowledge(&mut self) -> u8 {
        let State { master, slave } = &mut self.state;
        let Some(input) = master.request(true) else { return master.vector(7) };
        master.accept(input);
        let cascaded = master.icw1 & ICW1_SNGL == 0 && master.icw3 & (1 << input) != 0;
        let vector = if !cascaded {
            master.vector(input)
        } else if input != CASCADE || slave.icw3 & 7 != input {
            // The master leaves the bus to a slave that is not there: it floats.
            0xff
        } else {
            let served = slave.request(false);
            if let Some(input) = served {
                slave.accept(input);
            }
            slave.vector(served.unwrap_or(7))
        };
        if cascaded {
            // INT falls with INTA; if the slave has more, it rises again.
            master.input(CASCADE, false);
        }
        self.settle();
        vector
    }

    /// Carries the slave's INT to the master and the master's to the CPU.
    fn settle(&mut self) {
        let State { master, slave } = &mut self.state;
        let level = slave.request(false).is_some();
        master.input(CASCADE, level);
        if !level {
            master.edges &= !(1 << CASCADE);
        }
        self.int.set(master.request(true).is_some());
    }

    fn read(&mut self, reg: u16) -> u8 {
        let State { master, slave } = &mut self.state;
        match reg {
            Self::MASTER_COMMAND | Self::MASTER_DATA => master.read(true, reg & 1 != 0),
            Self::SLAVE_COMMAND | Self::SLAVE_DATA => {
                if slave.poll {
                    master.input(CASCADE, false);
                }
                slave.read(false, reg & 1 != 0)
            }
            Self::ELCR_MASTER => master.elcr,
            Self::ELCR_SLAVE => slave.elcr,
            _ => 0xff,
        }
    }

    fn write(&mut self, reg: u16, value: u8) {
        let State { master, slave } = &mut self.state;
        match reg {
            Self::MASTER_COMMAND | Self::MASTER_DATA => master.write(reg & 1 != 0, value),
            Self::SLAVE_COMMAND | Self::SLAVE_DATA => slave.write(reg & 1 != 0, value),
            Self::ELCR_MASTER => master.elcr = value & ELCR_WRITABLE[0],
            Self::ELCR_SLAVE => slave.elcr = value & ELCR_WRITABLE[1],
            _ => {}
        }
    }
}

impl Device for I8259 {
    fn name(&self) -> &'static str {
        "i8259"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        for chip in [&mut self.state.master, &mut self.state.slave] {
            *chip = Chip { pins: chip.pins, ..Chip::new() };
        }
        self.settle();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name())?;
        let chips = [&state.master, &state.slave];
        if chips.iter().zip(ELCR_WRITABLE).any(|(c, elcr)| c.lowest > 7 || c.elcr & !elcr != 0) {
            let reason = "a priority or a trigger mode is out of range".to_owned();
            return Err(LoadError::Damaged { device: self.name(), reason });
        }
        self.int.restore(state.master.request(true).is_some());
        self.state = state;
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_inputs(&mut self) -> Option<&mut dyn Inputs> {
        Some(self)
    }
}

impl Ports for I8259 {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        // The registers are three pairs of neighbours; a wide access does not leave its pair.
        for (reg, byte) in (reg..=reg | 1).zip(data) {
            *byte = self.read(reg);
        }
        self.settle();
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        for (reg, byte) in (reg..=reg | 1).zip(data) {
            self.write(reg, *byte);
            self.settle();
        }
    }
}

impl Inputs for I8259 {
    fn input(&mut self, _cx: &mut Cx<'_>, pin: u16, level: bool) {
        match pin {
            2 => {}
            0..=7 => self.state.master.input(pin as u8, level),
            8..=15 => self.state.slave.input(pin as u8 - 8, level),
            _ => {}
        }
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::I8259;
    use crate::{Bench, Device, Signal};

    const INT: u32 = 99;

    struct Pair {
        bench: Bench,
        pic: I8259,
    }

    impl Pair {
        /// Initialised as a PC does: vectors 20h and 28h, nothing masked.
        fn new() -> Self {
            Self::with_icw(0x11, 0x01)
        }

        fn with_icw(icw1: u8, icw4: u8) -> Self {
            let bench = Bench::new();
            let pic = I8259::new(bench.backplane.line(INT));
            let mut pair = Self { bench, pic };
            for (chip, base, icw3) in [(0, 0x20, 4), (2, 0x28, 2)] {
                pair.out(chip, icw1);
                pair.out(chip + 1, base);
                pair.out(chip + 1, icw3);
                pair.out(chip + 1, icw4);
            }
            pair
        }

        fn out(&mut self, reg: u16, value: u8) {
            self.bench.port_out(&mut self.pic, reg, value);
        }

        fn read(&mut self, reg: u16) -> u8 {
            self.bench.port_in::<1>(&mut self.pic, reg)[0]
        }

        fn pin(&mut self, pin: u16, level: bool) {
            let inputs = self.pic.as_inputs().expect("it has inputs");
            self.bench.with(|cx| inputs.input(cx, pin, level));
        }

        fn pulse(&mut self, pin: u16) {
            self.pin(pin, true);
            self.pin(pin, false);
        }

        fn int(&self) -> bool {
            self.pic.int.level()
        }
    }

    #[test]
    fn an_edge_is_served_once_and_ends_with_eoi() {
        let mut p = Pair::new();
        p.pin(4, true);
        assert_eq!(p.bench.said(), [Signal::Level { wire: INT, level: true }]);
        assert_eq!(p.read(I8259::MASTER_COMMAND), 0x10, "IRR");
        assert_eq!(p.pic.acknowledge(), 0x24);
        assert!(!p.int());
        p.out(I8259::MASTER_COMMAND, 0x0b);
        assert_eq!(p.read(I8259::MASTER_COMMAND), 0x10, "ISR");
        p.out(I8259::MASTER_COMMAND, 0x20);
        assert_eq!(p.read(I8259::MASTER_COMMAND), 0);
        assert!(!p.int(), "the level is still high, but there was no new edge");
        p.pin(4, false);
        p.pin(4, true);
        assert!(p.int());
    }

    #[test]
    fn the_cascade_gives_the_slaves_vector_and_blocks_lower_masters() {
        let mut p = Pair::new();
        p.pulse(12);
        p.pulse(3);
        assert_eq!(p.pic.acknowledge(), 0x2c);
        assert!(!p.int(), "IRQ 3 waits for the cascade's EOI");
        p.pulse(8);
        assert!(!p.int(), "fully nested: the master serves its input 2 already");
        p.out(I8259::SLAVE_COMMAND, 0x20);
        p.out(I8259::MASTER_COMMAND, 0x20);
        assert_eq!(p.pic.acknowledge(), 0x28);
        p.out(I8259::SLAVE_COMMAND, 0x20);
        p.out(I8259::MASTER_COMMAND, 0x20);
        assert_eq!(p.pic.acknowledge(), 0x23);
    }

    #[test]
    fn special_fully_nested_mode_lets_the_slave_interrupt_itself() {
        let mut p = Pair::with_icw(0x11, 0x11);
        p.pulse(12);
        assert_eq!(p.pic.acknowledge(), 0x2c);
        p.pulse(8);
        assert!(p.int());
        assert_eq!(p.pic.acknowledge(), 0x28);
    }

    #[test]
    fn level_triggered_inputs_ask_until_they_fall() {
        let mut p = Pair::new();
        p.out(I8259::ELCR_MASTER, 0xff);
        p.out(I8259::ELCR_SLAVE, 0xff);
        assert_eq!([p.read(I8259::ELCR_MASTER), p.read(I8259::ELCR_SLAVE)], [0xf8, 0xde]);
        p.pin(11, true);
        assert_eq!(p.pic.acknowledge(), 0x2b);
        p.out(I8259::SLAVE_COMMAND, 0x20);
        p.out(I8259::MASTER_COMMAND, 0x20);
        assert_eq!(p.pic.acknowledge(), 0x2b, "still asserted");
        p.pin(11, false);
        p.out(I8259::SLAVE_COMMAND, 0x20);
        p.out(I8259::MASTER_COMMAND, 0x20);
        assert!(!p.int());
    }

    #[test]
    fn a_request_that_went_away_is_spurious() {
        let mut p = Pair::new();
        p.out(I8259::ELCR_MASTER, 0x20);
        p.pin(5, true);
        p.pin(5, false);
        assert!(!p.int());
        assert_eq!(p.pic.acknowledge(), 0x27);
        p.out(I8259::MASTER_COMMAND, 0x0b);
        assert_eq!(p.read(I8259::MASTER_COMMAND), 0, "no IS bit for a default IR7");
        // The slave withdraws its request while the master is already answering.
        p.pic.state.master.edges = 4;
        p.pic.state.master.pins |= 4;
        assert_eq!(p.pic.acknowledge(), 0x2f);
        assert_eq!(p.read(I8259::MASTER_COMMAND), 4, "the master serves its input 2");
        p.out(I8259::SLAVE_COMMAND, 0x0b);
        assert_eq!(p.read(I8259::SLAVE_COMMAND), 0);
    }

    #[test]
    fn a_masked_request_of_the_slave_is_withdrawn() {
        let mut p = Pair::new();
        p.pulse(9);
        assert!(p.int());
        p.out(I8259::SLAVE_DATA, 0x02);
        assert!(!p.int());
        p.out(I8259::SLAVE_DATA, 0);
        assert_eq!(p.pic.acknowledge(), 0x29);
    }

    #[test]
    fn rotation_moves_the_lowest_priority() {
        let mut p = Pair::new();
        p.pulse(0);
        p.pulse(1);
        assert_eq!(p.pic.acknowledge(), 0x20);
        p.out(I8259::MASTER_COMMAND, 0xa0);
        p.pulse(0);
        assert_eq!(p.pic.acknowledge(), 0x21, "IRQ 0 is the lowest now");
        p.out(I8259::MASTER_COMMAND, 0x61);
        p.out(I8259::MASTER_COMMAND, 0xc5);
        p.pulse(6);
        assert_eq!(p.pic.acknowledge(), 0x26, "set priority: IRQ 6 is the highest");
        p.out(I8259::MASTER_COMMAND, 0xe6);
        assert_eq!(p.pic.state.master.lowest, 6);
        assert_eq!(p.pic.acknowledge(), 0x20);
    }

    #[test]
    fn automatic_eoi_leaves_no_is_bit_and_can_rotate() {
        let mut p = Pair::with_icw(0x11, 0x03);
        p.out(I8259::MASTER_COMMAND, 0x80);
        p.pulse(3);
        assert_eq!(p.pic.acknowledge(), 0x23);
        assert_eq!((p.pic.state.master.isr, p.pic.state.master.lowest), (0, 3));
        p.pulse(9);
        p.pulse(10);
        assert_eq!(p.pic.acknowledge(), 0x29);
        assert!(p.int(), "the slave's INT rises again for the next");
        assert_eq!(p.pic.acknowledge(), 0x2a);
        assert!(!p.int());
    }

    #[test]
    fn special_mask_mode_lets_lower_priorities_through() {
        let mut p = Pair::new();
        p.pulse(1);
        assert_eq!(p.pic.acknowledge(), 0x21);
        p.pulse(6);
        assert!(!p.int());
        p.out(I8259::MASTER_DATA, 0x02);
        p.out(I8259::MASTER_COMMAND, 0x68);
        assert_eq!(p.pic.acknowledge(), 0x26);
        p.out(I8259::MASTER_COMMAND, 0x20);
        assert_eq!(p.pic.state.master.isr, 0x02, "the masked IS bit survives a non-specific EOI");
        p.out(I8259::MASTER_COMMAND, 0x61);
        assert_eq!(p.pic.state.master.isr, 0);
    }

    #[test]
    fn a_poll_is_an_acknowledge() {
        let mut p = Pair::new();
        p.out(I8259::MASTER_COMMAND, 0x0c);
        assert_eq!(p.read(I8259::MASTER_COMMAND) & 0x80, 0);
        p.pulse(5);
        p.out(I8259::MASTER_COMMAND, 0x0c);
        assert_eq!(p.read(I8259::MASTER_COMMAND), 0x85);
        assert!(!p.int());
        p.out(I8259::MASTER_COMMAND, 0x0b);
        assert_eq!(p.read(I8259::MASTER_COMMAND), 0x20);
    }

    #[test]
    fn initialisation_forgets_edges_and_masks_but_not_levels() {
        let mut p = Pair::new();
        p.out(I8259::MASTER_DATA, 0xfe);
        p.pin(4, true);
        p.out(I8259::MASTER_COMMAND, 0x13);
        assert_eq!(p.read(I8259::MASTER_COMMAND), 0);
        p.out(I8259::MASTER_DATA, 0x40);
        p.out(I8259::MASTER_DATA, 0x01);
        assert_eq!(p.read(I8259::MASTER_DATA), 0, "IMR is cleared; the third word is OCW1 now");
        assert!(!p.int(), "an edge is needed");
        p.pin(4, false);
        p.pin(4, true);
        assert_eq!(p.pic.acknowledge(), 0x44);
    }

    #[test]
    fn the_8080_vector_follows_the_interval() {
        let mut p = Pair::with_icw(0xf5, 0x00);
        p.pulse(3);
        assert_eq!(p.pic.acknowledge(), 0xe0 | 3 << 2);
        let mut p = Pair::with_icw(0xf1, 0x00);
        p.pulse(3);
        assert_eq!(p.pic.acknowledge(), 0xc0 | 3 << 3);
    }

    #[test]
    fn an_uninitialised_pair_is_silent() {
        let mut bench = Bench::new();
        let mut pic = I8259::new(bench.backplane.line(INT));
        bench.with(|cx| pic.as_inputs().expect("inputs").input(cx, 0, true));
        assert_eq!(bench.said(), []);
    }
}
