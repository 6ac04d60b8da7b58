//! The PC16550D UART with its FIFOs, at 1.8432 MHz.
//!
//! Source: National Semiconductor PC16550D datasheet (TL/C/8652).
//!
//! Sent bytes leave at once, so the transmitter reads as empty as long as the other end has room. The
//! interrupt that says so comes one character time after the first byte, as the datasheet has it for a
//! FIFO that was empty, but no later than at 115,200 baud: an interrupt-driven guest is paced, but not by
//! a speed that it has set for the sake of a line that is not there. A polling one waits for the other
//! end only.

use serde::{Deserialize, Serialize};
use trine_guest::VmTime;

use crate::{Cx, Device, Inputs, Line, LoadError, Ports, Saved, SerialPeer, Timed};

/// The clock that the divisor latch divides, 16 times the baud rate for a divisor of 1.
const CLOCK_HZ: u64 = 1_843_200;
/// The longest that a character takes to be sent: ten bits at the clock's highest speed.
const SENT_NS: u64 = 10 * 16 * 1_000_000_000 / CLOCK_HZ;
/// Bytes in the receiver FIFO.
const FIFO_SIZE: usize = 16;

/// IER: received data available, and character timeout.
const IER_RX: u8 = 1 << 0;
/// IER: transmitter holding register empty.
const IER_THRE: u8 = 1 << 1;
/// IER: receiver line status.
const IER_LINE: u8 = 1 << 2;
/// IER: modem status.
const IER_MODEM: u8 = 1 << 3;

const IIR_MODEM: u8 = 0x00;
const IIR_NONE: u8 = 0x01;
const IIR_THRE: u8 = 0x02;
const IIR_RX: u8 = 0x04;
const IIR_LINE: u8 = 0x06;
const IIR_TIMEOUT: u8 = 0x0c;
/// IIR: the FIFOs are enabled.
const IIR_FIFO: u8 = 0xc0;

const FCR_ENABLE: u8 = 1 << 0;
const FCR_CLEAR_RX: u8 = 1 << 1;

const LCR_STOP: u8 = 1 << 2;
const LCR_PARITY: u8 = 1 << 3;
const LCR_BREAK: u8 = 1 << 6;
const LCR_DLAB: u8 = 1 << 7;

const MCR_DTR: u8 = 1 << 0;
const MCR_RTS: u8 = 1 << 1;
const MCR_OUT1: u8 = 1 << 2;
/// MCR: on a PC, the gate between the chip and its interrupt wire.
const MCR_OUT2: u8 = 1 << 3;
const MCR_LOOP: u8 = 1 << 4;

const LSR_DATA: u8 = 1 << 0;
const LSR_OVERRUN: u8 = 1 << 1;
const LSR_BREAK: u8 = 1 << 4;
const LSR_THRE: u8 = 1 << 5;
const LSR_TEMT: u8 = 1 << 6;
/// LSR: an error somewhere in the FIFO.
const LSR_FIFO_ERROR: u8 = 1 << 7;
/// LSR: overrun, parity, framing, break.
const LSR_ERRORS: u8 = 0x1e;

const MSR_CTS: u8 = 1 << 4;
const MSR_DSR: u8 = 1 << 5;
const MSR_RI: u8 = 1 << 6;
const MSR_DCD: u8 = 1 << 7;

/// A byte in the receiver, with the LSR errors it came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Received {
    byte: u8,
    errors: u8,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    divisor: u16,
    ier: u8,
    /// Enable bit and trigger level.
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    /// The receiver FIFO, oldest first; without FIFOs, at most one byte.
    received: Vec<Received>,
    /// Errors to be read from LSR.
    errors: u8,
    /// Levels of the modem inputs, as in the upper half of MSR.
    modem: u8,
    /// The lower half of MSR.
    deltas: u8,
    thre_pending: bool,
    /// When the transmitter will say that it is empty.
    thre_at: Option<VmTime>,
    timeout_pending: bool,
    /// When the bytes in the FIFO will have waited for four character times.
    timeout_at: Option<VmTime>,
}

/// A serial port.
///
/// Input pins are the modem lines, `true` is asserted; CTS, DSR and DCD are asserted at first.
pub struct Uart16550 {
    name: &'static str,
    irq: Line,
    peer: Box<dyn SerialPeer>,
    state: State,
}

impl Uart16550 {
    /// Register: received and sent bytes; with DLAB, the divisor's low byte.
    pub const RBR_THR: u16 = 0;
    /// Register: interrupt enable; with DLAB, the divisor's high byte.
    pub const IER: u16 = 1;
    /// Register: interrupt identification (read), FIFO control (write).
    pub const IIR_FCR: u16 = 2;
    /// Register: line control.
    pub const LCR: u16 = 3;
    /// Register: modem control.
    pub const MCR: u16 = 4;
    /// Register: line status.
    pub const LSR: u16 = 5;
    /// Register: modem status.
    pub const MSR: u16 = 6;
    /// Register: scratch.
    pub const SCR: u16 = 7;

    /// Input pin: clear to send.
    pub const PIN_CTS: u16 = 0;
    /// Input pin: data set ready.
    pub const PIN_DSR: u16 = 1;
    /// Input pin: ring indicator.
    pub const PIN_RI: u16 = 2;
    /// Input pin: data carrier detect.
    pub const PIN_DCD: u16 = 3;

    /// A port called `name` (unique on the board) that interrupts on `irq` and sends to `peer`.
    #[must_use]
    pub fn new(name: &'static str, irq: Line, peer: Box<dyn SerialPeer>) -> Self {
        let state = State {
            divisor: 12,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scratch: 0,
            received: Vec::new(),
            errors: 0,
            modem: MSR_CTS | MSR_DSR | MSR_DCD,
            deltas: 0,
            thre_pending: false,
            thre_at: None,
            timeout_pending: false,
            timeout_at: None,
        };
        Self { name, irq, peer, state }
    }

    /// The line brings `bytes`. Returns how many were taken; the rest should come again later.
    pub fn receive(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) -> usize {
        self.catch_up(cx.now);
        let count = bytes.len().min(self.room());
        for byte in &bytes[..count] {
            self.push(cx.now, Received { byte: *byte, errors: 0 });
        }
        self.drive();
        count
    }

    /// The line brings a break condition: a null byte marked as a break. Whether it was taken.
    pub fn receive_break(&mut self, cx: &mut Cx<'_>) -> bool {
        self.catch_up(cx.now);
        if self.room() == 0 {
            return false;
        }
        self.push(cx.now, Received { byte: 0, errors: LSR_BREAK });
        self.drive();
        true
    }

    /// How many bytes [`Uart16550::receive`] would take now: none in loopback mode.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.looped() {
            return 0;
        }
        self.capacity() - self.state.received.len().min(self.capacity())
    }

    /// Whether the transmitter is empty: whoever sees that sends as many bytes as the FIFO holds.
    fn can_send(&self) -> bool {
        self.looped() || self.peer.room() >= FIFO_SIZE
    }

    fn looped(&self) -> bool {
        self.state.mcr & MCR_LOOP != 0
    }

    fn fifo(&self) -> bool {
        self.state.fcr & FCR_ENABLE != 0
    }

    fn capacity(&self) -> usize {
        if self.fifo() { FIFO_SIZE } else { 1 }
    }

    /// How many bytes make "received data available".
    fn trigger(&self) -> usize {
        if self.fifo() { [1, 4, 8, 14][usize::from(self.state.fcr >> 6)] } else { 1 }
    }

    /// How long one character takes on the line.
    fn character_ns(&self) -> u64 {
        let State { lcr, divisor, .. } = self.state;
        let extra = u64::from(lcr & LCR_STOP != 0) + u64::from(lcr & LCR_PARITY != 0);
        let bits = 7 + u64::from(lcr & 3) + extra;
        let divisor = if divisor == 0 { 1 << 16 } else { u64::from(divisor) };
        bits * 16 * divisor * 1_000_000_000 / CLOCK_HZ
    }

    fn four_characters_after(&self, now: VmTime) -> VmTime {
        now.after_ns(4 * self.character_ns())
    }

    /// A byte comes out of the receiver's shift register.
    fn push(&mut self, now: VmTime, received: Received) {
        if self.state.received.len() >= self.capacity() {
            self.state.errors |= LSR_OVERRUN;
            if self.fifo() {
                return;
            }
            self.state.received.clear();
        }
        self.state.received.push(received);
        self.surface();
        if self.fifo() {
            self.state.timeout_at = Some(self.four_characters_after(now));
        }
    }

    /// The errors of the byte at the top of the FIFO show in LSR.
    fn surface(&mut self) {
        if let Some(top) = self.state.received.first_mut() {
            self.state.errors |= std::mem::take(&mut top.errors);
        }
    }

    fn pop(&mut self, now: VmTime) -> u8 {
        self.state.timeout_pending = false;
        self.state.timeout_at = None;
        if self.state.received.is_empty() {
            return 0;
        }
        let byte = self.state.received.remove(0).byte;
        self.surface();
        if self.fifo() && !self.state.received.is_empty() {
            self.state.timeout_at = Some(self.four_characters_after(now));
        }
        byte
    }

    fn clear_receiver(&mut self) {
        self.state.received.clear();
        self.state.timeout_pending = false;
        self.state.timeout_at = None;
    }

    fn send(&mut self, now: VmTime, byte: u8) {
        self.state.thre_pending = false;
        let empty_at = now.after_ns(self.character_ns().min(SENT_NS));
        self.state.thre_at.get_or_insert(empty_at);
        if self.looped() {
            let mask = 0xff >> (3 - (self.state.lcr & 3));
            self.push(now, Received { byte: byte & mask, errors: 0 });
        } else {
            self.peer.transmit(byte);
        }
    }

    /// The upper half of MSR: the modem's lines, or in loopback the chip's own.
    fn modem_status(&self) -> u8 {
        if !self.looped() {
            return self.state.modem;
        }
        [(MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD)]
            .into_iter()
            .filter(|(output, _)| self.state.mcr & output != 0)
            .fold(0, |status, (_, input)| status | input)
    }

    /// Changes what [`Uart16550::modem_status`] depends on, and notes the differences.
    fn change_modem(&mut self, f: impl FnOnce(&mut State)) {
        let before = self.modem_status();
        f(&mut self.state);
        let after = self.modem_status();
        // The ring indicator counts when it falls.
        let changed = (before ^ after) & !(after & MSR_RI);
        self.state.deltas |= changed >> 4;
    }

    /// The interrupt with the highest priority, as IIR encodes it.
    fn cause(&self) -> u8 {
        let State { ier, errors, thre_pending, timeout_pending, deltas, .. } = self.state;
        let is_ready = self.state.received.len() >= self.trigger();
        [
            (IER_LINE, errors != 0, IIR_LINE),
            (IER_RX, is_ready, IIR_RX),
            (IER_RX, timeout_pending, IIR_TIMEOUT),
            (IER_THRE, thre_pending, IIR_THRE),
            (IER_MODEM, deltas != 0, IIR_MODEM),
        ]
        .into_iter()
        .find(|(enable, pending, _)| *pending && ier & enable != 0)
        .map_or(IIR_NONE, |(.., cause)| cause)
    }

    /// Whether the interrupt wire is high: OUT2 opens its gate, loopback forces OUT2 off.
    fn requests(&self) -> bool {
        self.state.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2 && self.cause() != IIR_NONE
    }

    fn drive(&mut self) {
        self.irq.set(self.requests());
    }

    /// What is due by `now` happens.
    fn catch_up(&mut self, now: VmTime) {
        if self.state.thre_at.is_some_and(|at| at <= now) && self.can_send() {
            self.state.thre_at = None;
            self.state.thre_pending = true;
        }
        if self.state.timeout_at.take_if(|at| *at <= now).is_some() {
            self.state.timeout_pending = true;
        }
        self.drive();
    }

    fn read(&mut self, now: VmTime, reg: u16) -> u8 {
        let dlab = self.state.lcr & LCR_DLAB != 0;
        match reg {
            Self::RBR_THR if dlab => self.state.divisor as u8,
            Self::RBR_THR => self.pop(now),
            Self::IER if dlab => (self.state.divisor >> 8) as u8,
            Self::IER => self.state.ier,
            Self::IIR_FCR => {
                let cause = self.cause();
                if cause == IIR_THRE {
                    self.state.thre_pending = false;
                }
                cause | if self.fifo() { IIR_FIFO } else { 0 }
            }
            Self::LCR => self.state.lcr,
            Self::MCR => self.state.mcr,
            Self::LSR => self.read_line_status(),
            Self::MSR => self.modem_status() | std::mem::take(&mut self.state.deltas),
            Self::SCR => self.state.scratch,
            _ => 0xff,
        }
    }

    fn read_line_status(&mut self) -> u8 {
        let empty = if self.can_send() { LSR_THRE | LSR_TEMT } else { 0 };
        let State { received, errors, .. } = &mut self.state;
        let waiting = received.iter().any(|r| r.errors != 0);
        let in_fifo = waiting || *errors & !LSR_OVERRUN != 0;
        let data = if received.is_empty() { 0 } else { LSR_DATA };
        let status = empty | data | std::mem::take(errors);
        status | if in_fifo && self.fifo() { LSR_FIFO_ERROR } else { 0 }
    }

    fn write(&mut self, now: VmTime, reg: u16, value: u8) {
        let dlab = self.state.lcr & LCR_DLAB != 0;
        match reg {
            Self::RBR_THR if dlab => {
                self.state.divisor = self.state.divisor & 0xff00 | u16::from(value);
            }
            Self::RBR_THR => self.send(now, value),
            Self::IER if dlab => {
                self.state.divisor = self.state.divisor & 0x00ff | u16::from(value) << 8;
            }
            Self::IER => {
                if value & !self.state.ier & IER_THRE != 0 {
                    // Enabling the interrupt of an empty transmitter raises it.
                    if self.can_send() {
                        self.state.thre_pending = true;
                    } else {
                        self.state.thre_at.get_or_insert(now);
                    }
                }
                self.state.ier = value & 0x0f;
            }
            Self::IIR_FCR => {
                let switched = (value ^ self.state.fcr) & FCR_ENABLE != 0;
                if switched || value & (FCR_ENABLE | FCR_CLEAR_RX) == FCR_ENABLE | FCR_CLEAR_RX {
                    self.clear_receiver();
                }
                // "Bit 0 must be a 1 when other FCR bits are written to."
                self.state.fcr = if value & FCR_ENABLE != 0 { value & 0xc1 } else { 0 };
            }
            Self::LCR => {
                let changed = value ^ self.state.lcr;
                self.state.lcr = value;
                if changed & LCR_BREAK != 0 && !self.looped() {
                    self.peer.send_break(value & LCR_BREAK != 0);
                }
            }
            Self::MCR => self.change_modem(|state| state.mcr = value & 0x1f),
            Self::SCR => self.state.scratch = value,
            // LSR and MSR are for the factory.
            _ => {}
        }
    }
}

impl Device for Uart16550 {
    fn name(&self) -> &'static str {
        self.name
    }

    /// Master reset leaves the divisor and the scratch register as they are.
    fn reset(&mut self, _cx: &mut Cx<'_>) {
        if self.state.lcr & LCR_BREAK != 0 {
            self.peer.send_break(false);
        }
        let State { divisor, scratch, modem, .. } = self.state;
        self.state = State {
            divisor,
            scratch,
            modem,
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            received: Vec::new(),
            errors: 0,
            deltas: 0,
            thre_pending: false,
            thre_at: None,
            timeout_pending: false,
            timeout_at: None,
        };
        self.drive();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name, &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name)?;
        let size = if state.fcr & FCR_ENABLE != 0 { FIFO_SIZE } else { 1 };
        let is_valid = state.received.len() <= size
            && state.ier <= 0x0f
            && state.mcr <= 0x1f
            && state.deltas <= 0x0f
            && state.modem & 0x0f == 0
            && state.errors & !LSR_ERRORS == 0
            && state.received.iter().all(|r| r.errors & !LSR_ERRORS == 0);
        if !is_valid {
            let reason = "a register is out of range".to_owned();
            return Err(LoadError::Damaged { device: self.name, reason });
        }
        self.state = state;
        self.irq.restore(self.requests());
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

impl Ports for Uart16550 {
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        self.catch_up(cx.now);
        for (reg, byte) in (reg..=Self::SCR).zip(data) {
            *byte = self.read(cx.now, reg);
            self.drive();
        }
    }

    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        self.catch_up(cx.now);
        for (reg, byte) in (reg..=Self::SCR).zip(data) {
            self.write(cx.now, reg, *byte);
            self.drive();
        }
    }
}

impl Inputs for Uart16550 {
    fn input(&mut self, cx: &mut Cx<'_>, pin: u16, level: bool) {
        self.catch_up(cx.now);
        if pin <= Self::PIN_DCD {
            let mask = MSR_CTS << pin;
            self.change_modem(|state| {
                state.modem = if level { state.modem | mask } else { state.modem & !mask };
            });
        }
        self.drive();
    }
}

impl Timed for Uart16550 {
    fn next_event(&self) -> Option<VmTime> {
        let State { ier, thre_at, timeout_at, .. } = self.state;
        let thre_at = thre_at.filter(|_| ier & IER_THRE != 0 && self.can_send());
        [thre_at, timeout_at.filter(|_| ier & IER_RX != 0)].into_iter().flatten().min()
    }

    fn advance(&mut self, cx: &mut Cx<'_>) {
        self.catch_up(cx.now);
    }
}

#[cfg(test)]
mod tests;
