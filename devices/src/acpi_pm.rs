//! The ACPI fixed hardware: PM1 events and control, the power management timer, one block of
//! general-purpose events, the SMI command port and the reset register.
//!
//! Source: ACPI Specification 6.5, chapter 4 (4.8.3.1 PM1 events, 4.8.3.2 PM1 control, 4.8.3.3 PM
//! timer, 4.8.3.6 reset register, 4.8.4.1 general-purpose events) and section 16.1 (sleep states).
//!
//! There is no system management mode behind it: what firmware would do on an SMI (switch between
//! legacy and ACPI mode) happens in the chip.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{
    Backplane, Cx, Device, Inputs, Line, LoadError, Ports, Power, Saved, Signal, Timed,
    remarks::Remarks,
};

/// The chip's name.
const NAME: &str = "acpi-pm";
/// The PM timer's clock is 315/88 MHz (3.579545 MHz): 63 ticks are 17,600 ns exactly.
const TICKS: u128 = 63;
const TICKS_NS: u128 = 17_600;

/// PM1 status and enable: the timer's highest bit changed.
const TIMER: u16 = 1 << 0;
/// PM1 status: a bus master asked for the bus.
const BUS_MASTER: u16 = 1 << 4;
/// PM1 status and enable: firmware released the global lock.
const GLOBAL_LOCK: u16 = 1 << 5;
/// PM1 status and enable: the power button.
const POWER_BUTTON: u16 = 1 << 8;
/// PM1 status and enable: the clock's alarm.
const RTC: u16 = 1 << 10;
/// PM1 status: the machine woke up.
const WAKE: u16 = 1 << 15;
/// The status bits that there are.
const STATUS: u16 = TIMER | BUS_MASTER | GLOBAL_LOCK | POWER_BUTTON | RTC | WAKE;
/// The enable bits that there are.
const ENABLE: u16 = TIMER | GLOBAL_LOCK | POWER_BUTTON | RTC;

/// PM1 control: events interrupt by SCI; ACPI mode.
const SCI_EN: u16 = 1 << 0;
/// PM1 control: a bus master request ends C3.
const BM_RLD: u16 = 1 << 1;
/// PM1 control: the sleep state to enter.
const SLP_TYP_SHIFT: u16 = 10;
const SLP_TYP: u16 = 7 << SLP_TYP_SHIFT;
/// PM1 control: enters it. Reads as 0.
const SLP_EN: u16 = 1 << 13;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    status: u16,
    enable: u16,
    control: u16,
    gpe_status: u16,
    gpe_enable: u16,
    /// Levels of the general-purpose input pins.
    gpe_pins: u16,
    rtc_pin: bool,
    /// Suspended to RAM, and nothing woke it yet.
    asleep: bool,
    /// How often the timer's highest bit had changed when it was last looked at.
    timer_changes: u64,
}

impl State {
    fn new(timer_changes: u64) -> Self {
        Self {
            status: 0,
            enable: 0,
            control: 0,
            gpe_status: 0,
            gpe_enable: 0,
            gpe_pins: 0,
            rtc_pin: false,
            asleep: false,
            timer_changes,
        }
    }

    fn sci(&self) -> bool {
        let events = self.status & self.enable != 0 || self.gpe_status & self.gpe_enable != 0;
        self.control & SCI_EN != 0 && events
    }

    /// Whether something is there that ends sleep.
    fn wakes(&self) -> bool {
        let fixed = self.status & self.enable & (RTC | POWER_BUTTON) != 0;
        fixed || self.gpe_status & self.gpe_enable != 0
    }
}

/// The ACPI fixed hardware of a board.
///
/// Input pins 0 to 15 raise the general-purpose events GPE 00h to 0Fh while they are high; pin
/// [`AcpiPm::PIN_RTC`] is the clock's alarm.
pub struct AcpiPm {
    sci: Line,
    backplane: Backplane,
    remarks: Remarks,
    timer_bits: u32,
    state: State,
}

impl AcpiPm {
    /// Register: the PM1a event block: 16 bits of status, 16 bits of enable.
    pub const PM1_EVENT: u16 = 0;
    /// Register: the PM1a control block, 16 bits.
    pub const PM1_CONTROL: u16 = 4;
    /// Register: the PM timer block, 32 bits.
    pub const PM_TIMER: u16 = 8;
    /// Register: the GPE0 block: 16 bits of status, 16 bits of enable (block length 4).
    pub const GPE0: u16 = 16;
    /// Register: the SMI command port, 8 bits.
    pub const SMI_COMMAND: u16 = 32;
    /// Register: the reset register, 8 bits.
    pub const RESET: u16 = 33;

    /// What to write to [`AcpiPm::SMI_COMMAND`] for ACPI mode (FADT: `ACPI_ENABLE`).
    pub const ACPI_ENABLE: u8 = 0xf1;
    /// What to write to [`AcpiPm::SMI_COMMAND`] for legacy mode (FADT: `ACPI_DISABLE`).
    pub const ACPI_DISABLE: u8 = 0xf0;
    /// What to write to [`AcpiPm::RESET`] (FADT: `RESET_VALUE`).
    pub const RESET_VALUE: u8 = 0x0f;
    /// `SLP_TYP` for suspend to RAM (the DSDT's `\_S3`).
    pub const SLEEP_TYPE_S3: u8 = 1;
    /// `SLP_TYP` for soft off (the DSDT's `\_S5`).
    pub const SLEEP_TYPE_S5: u8 = 5;
    /// The same, as a PIIX4 has it (82371AB, section 7.2, PMCNTRL), and by which firmware does it
    /// that knows the chip.
    pub const SLEEP_TYPE_SOFT_OFF: u8 = 0;

    /// Input pin: the clock's alarm.
    pub const PIN_RTC: u16 = 16;

    /// The chip in legacy mode. `sci` is the system control interrupt, active high; `wide_timer`
    /// is the FADT's `TMR_VAL_EXT`: a PM timer of 32 bits, not 24.
    #[must_use]
    pub fn new(sci: Line, backplane: Backplane, wide_timer: bool) -> Self {
        let timer_bits = if wide_timer { 32 } else { 24 };
        let remarks = Remarks::new(NAME, 16);
        Self { sci, backplane, remarks, timer_bits, state: State::new(0) }
    }

    /// Somebody presses the power button.
    pub fn press_power_button(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
        self.state.status |= POWER_BUTTON;
        self.drive();
    }

    fn ticks(now: VmTime) -> u64 {
        (u128::from(now.ns()) * TICKS / TICKS_NS) as u64
    }

    /// How often the timer's highest bit has changed by `now`.
    fn changes(&self, now: VmTime) -> u64 {
        Self::ticks(now) >> (self.timer_bits - 1)
    }

    fn drive(&mut self) {
        self.sci.set(self.state.sci());
        if self.state.asleep && self.state.wakes() {
            self.state.asleep = false;
            self.state.status |= WAKE;
            self.backplane.say(Signal::Power(Power::Wake));
        }
    }

    fn catch_up(&mut self, now: VmTime) {
        let changes = self.changes(now);
        if changes != self.state.timer_changes {
            self.state.timer_changes = changes;
            self.state.status |= TIMER;
        }
        // A general-purpose event is level-sensitive.
        self.state.gpe_status |= self.state.gpe_pins;
        self.drive();
    }

    fn read(&self, now: VmTime, reg: u16) -> u8 {
        let State { status, enable, control, gpe_status, gpe_enable, .. } = self.state;
        let (value, first) = match reg {
            0..2 => (u32::from(status), 0),
            2..4 => (u32::from(enable), 2),
            4..6 => (u32::from(control), 4),
            8..12 => {
                let mask = u64::MAX >> (64 - self.timer_bits);
                ((Self::ticks(now) & mask) as u32, 8)
            }
            16..18 => (u32::from(gpe_status), 16),
            18..20 => (u32::from(gpe_enable), 18),
            32..34 => (0, 32),
            _ => return 0xff,
        };
        (value >> (8 * (reg - first))) as u8
    }

    fn write(&mut self, reg: u16, value: u8) {
        let shift = 8 * (reg & 1);
        let (bits, mask) = (u16::from(value) << shift, 0xff << shift);
        let put = |register: u16| (register & !mask) | bits;
        let state = &mut self.state;
        match reg {
            0..2 => state.status &= !bits,
            2..4 => state.enable = put(state.enable) & ENABLE,
            4..6 => {
                let written = put(state.control);
                state.control = written & (SCI_EN | BM_RLD | SLP_TYP);
                // GBL_RLS has no effect: no firmware at run time waits for the global lock.
                if written & SLP_EN != 0 {
                    self.sleep();
                }
            }
            16..18 => state.gpe_status &= !bits,
            18..20 => state.gpe_enable = put(state.gpe_enable),
            Self::SMI_COMMAND => match value {
                Self::ACPI_ENABLE => state.control |= SCI_EN,
                Self::ACPI_DISABLE => state.control &= !SCI_EN,
                _ => self.remarks.say(format_args!("SMI command {value:02x}: nobody listens")),
            },
            Self::RESET if value == Self::RESET_VALUE => {
                self.backplane.say(Signal::Power(Power::Reset));
            }
            _ => {}
        }
    }

    fn sleep(&mut self) {
        let sleep_type = (self.state.control & SLP_TYP) >> SLP_TYP_SHIFT;
        match sleep_type as u8 {
            Self::SLEEP_TYPE_S3 => {
                // What wakes it may be there already: see `drive`.
                self.state.asleep = true;
                self.backplane.say(Signal::Power(Power::Sleep));
            }
            Self::SLEEP_TYPE_S5 | Self::SLEEP_TYPE_SOFT_OFF => {
                self.backplane.say(Signal::Power(Power::Off));
            }
            _ => {
                let there = "there is only suspend to RAM (1) and soft off (0, 5)";
                self.remarks.say(format_args!("sleep type {sleep_type}: {there}"));
            }
        }
    }
}

impl Device for AcpiPm {
    fn name(&self) -> &'static str {
        NAME
    }

    /// The timer goes on: it is not on the reset wire.
    fn reset(&mut self, cx: &mut Cx<'_>) {
        let State { gpe_pins, rtc_pin, .. } = self.state;
        self.state = State { gpe_pins, rtc_pin, ..State::new(self.changes(cx.now)) };
        self.drive();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name())?;
        let excess = state.status & !STATUS
            | state.enable & !ENABLE
            | state.control & !(SCI_EN | BM_RLD | SLP_TYP);
        if excess != 0 {
            let reason = "bits that no register has".to_owned();
            return Err(LoadError::Damaged { device: self.name(), reason });
        }
        self.sci.restore(state.sci());
        self.state = state;
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_inputs(&mut self) -> Option<&mut dyn Inputs> {
        Some(self)
    }

    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        Some(self)
    }
}

/// The last register of the block that `reg` lies in: a wide access does not leave it.
fn last_of_block(reg: u16) -> u16 {
    match reg {
        0..4 => 3,
        4..6 => 5,
        8..12 => 11,
        16..20 => 19,
        _ => reg,
    }
}

impl Ports for AcpiPm {
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        self.catch_up(cx.now);
        for (reg, byte) in (reg..=last_of_block(reg)).zip(data) {
            *byte = self.read(cx.now, reg);
        }
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        self.catch_up(cx.now);
        for (reg, byte) in (reg..=last_of_block(reg)).zip(data) {
            self.write(reg, *byte);
        }
        self.catch_up(cx.now);
    }
}

impl Inputs for AcpiPm {
    fn input(&mut self, cx: &mut Cx<'_>, pin: u16, level: bool) {
        if pin < 16 {
            let mask = 1 << pin;
            let pins = self.state.gpe_pins;
            self.state.gpe_pins = if level { pins | mask } else { pins & !mask };
        } else if pin == Self::PIN_RTC {
            let was_high = std::mem::replace(&mut self.state.rtc_pin, level);
            if level && !was_high {
                self.state.status |= RTC;
            }
        }
        self.catch_up(cx.now);
    }
}

impl Timed for AcpiPm {
    fn next_event(&self) -> Option<VmTime> {
        let State { status, enable, control, timer_changes, .. } = self.state;
        let visible = enable & TIMER != 0 && control & SCI_EN != 0 && status & TIMER == 0;
        if !visible || self.state.sci() {
            return None;
        }
        let tick = u128::from(timer_changes.saturating_add(1)) << (self.timer_bits - 1);
        Some(VmTime(u64::try_from((tick * TICKS_NS).div_ceil(TICKS)).unwrap_or(u64::MAX)))
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
    }
}

#[cfg(test)]
mod tests {
    use super::AcpiPm;
    use crate::{Bench, Device, Inputs, Ports, Power, Signal, Timed};

    const SCI: u32 = 9;
    const HIGH: Signal = Signal::Level { wire: SCI, level: true };
    const LOW: Signal = Signal::Level { wire: SCI, level: false };

    struct Pm {
        bench: Bench,
        pm: AcpiPm,
    }

    impl Pm {
        /// In ACPI mode, entered as Linux does.
        fn new(wide_timer: bool) -> Self {
            let bench = Bench::new();
            let (sci, backplane) = (bench.backplane.line(SCI), bench.backplane.clone());
            let mut pm = Self { bench, pm: AcpiPm::new(sci, backplane, wide_timer) };
            assert_eq!(pm.read16(AcpiPm::PM1_CONTROL), 0);
            pm.bench.port_out(&mut pm.pm, AcpiPm::SMI_COMMAND, AcpiPm::ACPI_ENABLE);
            assert_eq!(pm.read16(AcpiPm::PM1_CONTROL), 1);
            pm
        }

        fn read16(&mut self, reg: u16) -> u16 {
            u16::from_le_bytes(self.bench.port_in(&mut self.pm, reg))
        }

        fn write16(&mut self, reg: u16, value: u16) {
            self.bench.with(|cx| self.pm.port_out(cx, reg, &value.to_le_bytes()));
        }

        fn timer(&mut self) -> u32 {
            u32::from_le_bytes(self.bench.port_in(&mut self.pm, AcpiPm::PM_TIMER))
        }
    }

    #[test]
    fn the_timer_counts_three_and_a_half_million_times_a_second() {
        for (wide, second) in [(false, 3_579_545), (true, 3_579_545)] {
            let mut p = Pm::new(wide);
            p.bench.now = p.bench.now.after_ns(1_000_000_000);
            assert_eq!(p.timer(), second);
            p.bench.now = p.bench.now.after_ns(9_000_000_000);
            assert_eq!(p.timer(), 35_795_454 & if wide { u32::MAX } else { 0xff_ffff });
        }
    }

    #[test]
    fn the_timers_highest_bit_interrupts() {
        let mut p = Pm::new(false);
        p.write16(2, 1);
        let half_ns = (1_u64 << 23) * 17_600 / 63;
        assert_eq!(p.pm.next_event().map(|at| at.ns()), Some(half_ns + 1));
        p.bench.run_ns(&mut p.pm, half_ns + 1);
        assert_eq!(p.bench.said(), [HIGH]);
        assert_eq!((p.read16(0), p.timer()), (1, 1 << 23));
        assert_eq!(p.pm.next_event(), None);
        p.write16(0, 1);
        assert_eq!((p.bench.said(), p.read16(0)), (vec![LOW], 0));
        p.bench.run_ns(&mut p.pm, half_ns + 1);
        assert_eq!(p.bench.said(), [HIGH]);
    }

    #[test]
    fn the_power_button_is_an_event() {
        let mut p = Pm::new(true);
        p.bench.with(|cx| p.pm.press_power_button(cx));
        assert_eq!(p.bench.said(), []);
        p.write16(2, 0x0100);
        assert_eq!((p.bench.said(), p.read16(0)), (vec![HIGH], 0x0100));
        p.bench.port_out(&mut p.pm, AcpiPm::SMI_COMMAND, AcpiPm::ACPI_DISABLE);
        assert_eq!(p.bench.said(), [LOW]);
    }

    #[test]
    fn general_purpose_events_follow_their_pins() {
        let mut p = Pm::new(true);
        p.write16(18, 1 << 3);
        p.bench.with(|cx| p.pm.input(cx, 3, true));
        p.write16(16, 1 << 3);
        assert_eq!((p.bench.said(), p.read16(16)), (vec![HIGH], 1 << 3), "still high");
        p.bench.with(|cx| p.pm.input(cx, 3, false));
        p.write16(16, 1 << 3);
        assert_eq!(p.bench.said(), [LOW]);
        p.bench.with(|cx| p.pm.input(cx, AcpiPm::PIN_RTC, true));
        assert_eq!(p.read16(0), 0x0400);
    }

    #[test]
    fn sleep_ends_by_an_enabled_event() {
        const SLEEP: Signal = Signal::Power(Power::Sleep);
        const WAKE: Signal = Signal::Power(Power::Wake);
        let mut p = Pm::new(true);
        p.write16(4, 1 | 1 << 10 | 1 << 13);
        assert_eq!(p.bench.said(), [SLEEP]);
        p.bench.with(|cx| p.pm.press_power_button(cx));
        assert_eq!(p.bench.said(), [], "not enabled");
        let saved = p.pm.save();
        p.pm.reset(&mut crate::Cx { now: p.bench.now, ram: &p.bench.ram, vcpu: 0 });
        p.pm.load(&saved).unwrap();
        p.write16(2, 1 << 10);
        p.bench.said();
        p.bench.with(|cx| p.pm.input(cx, AcpiPm::PIN_RTC, true));
        assert_eq!(p.bench.said(), [HIGH, WAKE]);
        assert_eq!(p.read16(0), 1 << 15 | 1 << 10 | 1 << 8, "WAK_STS, RTC_STS, PWRBTN_STS");
        // An event that is there does not let it sleep.
        p.write16(4, 1 | 1 << 10 | 1 << 13);
        assert_eq!(p.bench.said(), [SLEEP, WAKE]);
    }

    #[test]
    fn soft_off_is_a_sleep_state_and_most_numbers_are_none() {
        let mut p = Pm::new(true);
        p.write16(4, 1 | 2 << 10 | 1 << 13);
        assert_eq!((p.bench.said(), p.read16(4)), (vec![], 1 | 2 << 10));
        p.write16(4, 1 | 5 << 10);
        assert_eq!(p.bench.said(), []);
        p.write16(4, 1 | 5 << 10 | 1 << 13);
        assert_eq!(p.bench.said(), [Signal::Power(Power::Off)]);
        assert_eq!(p.read16(4), 1 | 5 << 10, "SLP_EN reads as 0");
        p.write16(4, 1 << 13);
        assert_eq!(p.bench.said(), [Signal::Power(Power::Off)], "as firmware does it");
    }

    #[test]
    fn the_reset_register_wants_its_value() {
        let mut p = Pm::new(true);
        p.bench.port_out(&mut p.pm, AcpiPm::RESET, 1);
        assert_eq!(p.bench.said(), []);
        p.bench.port_out(&mut p.pm, AcpiPm::RESET, AcpiPm::RESET_VALUE);
        assert_eq!(p.bench.said(), [Signal::Power(Power::Reset)]);
        p.bench.with(|cx| p.pm.reset(cx));
        assert_eq!(p.read16(4), 0);
    }
}
