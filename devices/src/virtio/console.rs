//! The console device (VIRTIO 1.2, section 5.3): one port, or several of which port 0 is the
//! console.

use serde::{Deserialize, Serialize};

use super::{DeviceType, Driver, QUEUES_MAX, Queue};
use crate::SerialPeer;

// Feature bits (section 5.3.3).
const SIZE: u64 = 1 << 0;
const MULTIPORT: u64 = 1 << 1;
const EMERG_WRITE: u64 = 1 << 2;

/// The size of all queues.
const QUEUE_SIZE: u16 = 64;
/// The queues of control messages: to the driver, and from it.
const CONTROL_RECEIVE: usize = 2;
const CONTROL_TRANSMIT: usize = 3;
/// Bytes of input that wait at a port for the driver.
const INPUT_MAX: usize = 4096;
/// The longest buffer that is sent. Drivers send pages.
const TRANSMIT_MAX: u64 = 1 << 20;
/// Where the emergency write register lies in device configuration space.
const EMERG_WR: usize = 8;

/// Bytes of a control message: port, event and value; a name or a size may follow.
const CONTROL_LEN: usize = 8;
// Events of control messages (section 5.3.6.2).
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const CONSOLE_PORT: u16 = 4;
const RESIZE: u16 = 5;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// What is to be said of a port that the driver is ready for, in this order.
const INTRODUCTION: [u16; 4] = [CONSOLE_PORT, PORT_NAME, PORT_OPEN, RESIZE];

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Port {
    /// What came in and has found no buffer.
    input: Vec<u8>,
    /// The driver has the port set up.
    is_ready: bool,
    /// The guest has it open.
    is_open: bool,
    /// Events that the driver is to be told of: a bit for each.
    to_say: u8,
}

/// The state of a [`VirtioConsole`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    columns: u16,
    rows: u16,
    /// The size is another one than when the driver was last told that it has changed.
    is_resized: bool,
    ports: Vec<Port>,
}

/// What is at the other end of a port.
pub struct ConsolePort {
    /// By what the guest finds the port (`/dev/virtio-ports/NAME`); the console needs none.
    pub name: String,
    /// Where output goes.
    pub peer: Box<dyn SerialPeer>,
}

/// A console, without or with further ports.
pub struct VirtioConsole {
    ends: Vec<ConsolePort>,
    state: State,
}

impl VirtioConsole {
    /// The most ports: each takes two queues, and so does control.
    pub const PORTS_MAX: usize = QUEUES_MAX / 2 - 1;

    /// A device whose port 0 is the console; with more than that one it offers
    /// VIRTIO_CONSOLE_F_MULTIPORT.
    ///
    /// # Panics
    /// If there is no port or there are more than [`VirtioConsole::PORTS_MAX`]: the board is wired
    /// wrongly.
    #[must_use]
    pub fn new(ports: Vec<ConsolePort>) -> Self {
        assert!((1..=Self::PORTS_MAX).contains(&ports.len()), "{} ports", ports.len());
        let state = State {
            columns: 80,
            rows: 25,
            is_resized: false,
            ports: vec![Port::default(); ports.len()],
        };
        Self { ends: ports, state }
    }

    /// `bytes` come in at port `port`. Returns how many were taken; the rest should come again
    /// later. The board wakes the chip afterwards.
    pub fn receive(&mut self, port: usize, bytes: &[u8]) -> usize {
        let Some(port) = self.state.ports.get_mut(port) else { return 0 };
        let count = bytes.len().min(INPUT_MAX - port.input.len());
        port.input.extend(&bytes[..count]);
        count
    }

    /// How many bytes [`VirtioConsole::receive`] would take now.
    #[must_use]
    pub fn room(&self, port: usize) -> usize {
        self.state.ports.get(port).map_or(0, |port| INPUT_MAX - port.input.len())
    }

    /// Whether the guest has port `port` open. The console of a device with one port always is.
    #[must_use]
    pub fn is_open(&self, port: usize) -> bool {
        !self.has_many() || self.state.ports.get(port).is_some_and(|port| port.is_open)
    }

    /// The console has another size. The board wakes the chip afterwards.
    pub fn set_size(&mut self, columns: u16, rows: u16) {
        let state = &mut self.state;
        if (state.columns, state.rows) == (columns, rows) {
            return;
        }
        (state.columns, state.rows, state.is_resized) = (columns, rows, true);
        if let Some(console) = state.ports.first_mut()
            && console.is_ready
        {
            console.to_say |= 1 << RESIZE;
        }
    }

    fn has_many(&self) -> bool {
        self.ends.len() > 1
    }

    /// Sends what the driver has for port `port`, and gives it what came in.
    fn serve_port(&mut self, driver: &mut Driver<'_>, port: usize) {
        let (receive, transmit) = queues_of(port);
        while driver.is_notified(transmit)
            && self.ends[port].peer.room() > 0
            && let Some(chain) = driver.next(transmit)
        {
            if chain.readable_len() > TRANSMIT_MAX {
                return driver.fail("a buffer is longer than a driver of consoles would make it");
            }
            let mut bytes = vec![0; chain.readable_len() as usize];
            chain.read(driver.ram, 0, &mut bytes);
            bytes.into_iter().for_each(|byte| self.ends[port].peer.transmit(byte));
            driver.give_back(transmit, chain.head, 0);
        }
        let input = &mut self.state.ports[port].input;
        while !input.is_empty()
            && let Some(chain) = driver.next(receive)
        {
            let written = chain.write(driver.ram, 0, input);
            input.drain(..written);
            driver.give_back(receive, chain.head, written as u32);
        }
    }

    /// Hears and sends control messages.
    fn serve_control(&mut self, driver: &mut Driver<'_>) {
        while driver.is_notified(CONTROL_TRANSMIT)
            && let Some(chain) = driver.next(CONTROL_TRANSMIT)
        {
            let mut message = [0; CONTROL_LEN];
            if chain.read(driver.ram, 0, &mut message) == CONTROL_LEN {
                self.hear(message);
            }
            driver.give_back(CONTROL_TRANSMIT, chain.head, 0);
        }
        for port in 0..self.ends.len() {
            while let Some(event) = self.next_event_to_say(port)
                && let Some(chain) = driver.next(CONTROL_RECEIVE)
            {
                let message = self.message(port, event);
                if chain.write(driver.ram, 0, &message) < message.len() {
                    return driver.fail("a buffer is too short for a control message");
                }
                self.state.ports[port].to_say &= !(1 << event);
                driver.give_back(CONTROL_RECEIVE, chain.head, message.len() as u32);
            }
        }
    }

    /// The driver says something.
    fn hear(&mut self, message: [u8; CONTROL_LEN]) {
        let message = u64::from_le_bytes(message);
        let (port, event, value) = (message as u32, (message >> 32) as u16, message >> 48);
        if event == DEVICE_READY && value == 1 {
            self.state.ports.iter_mut().for_each(|port| port.to_say |= 1 << PORT_ADD);
        }
        let is_console = port == 0;
        let Some(end) = self.ends.get(port as usize) else { return };
        let has_name = !end.name.is_empty();
        let port = &mut self.state.ports[port as usize];
        match event {
            PORT_READY if value == 1 => {
                port.is_ready = true;
                for event in INTRODUCTION {
                    let is_due = match event {
                        CONSOLE_PORT | RESIZE => is_console,
                        PORT_NAME => has_name,
                        _ => true,
                    };
                    port.to_say |= u8::from(is_due) << event;
                }
            }
            PORT_OPEN => port.is_open = value == 1,
            _ => {}
        }
    }

    fn next_event_to_say(&self, port: usize) -> Option<u16> {
        let to_say = self.state.ports[port].to_say;
        std::iter::once(PORT_ADD).chain(INTRODUCTION).find(|event| to_say >> event & 1 != 0)
    }

    fn message(&self, port: usize, event: u16) -> Vec<u8> {
        let mut message = (port as u32).to_le_bytes().to_vec();
        message.extend(event.to_le_bytes());
        message.extend(1_u16.to_le_bytes());
        match event {
            PORT_NAME => message.extend(self.ends[port].name.bytes()),
            // In the specification's order; Linux before 6.18 takes the one for the other.
            RESIZE => {
                message.extend(self.state.columns.to_le_bytes());
                message.extend(self.state.rows.to_le_bytes());
            }
            _ => {}
        }
        message
    }
}

/// receiveq and transmitq of a port (section 5.3.2).
fn queues_of(port: usize) -> (usize, usize) {
    match port {
        0 => (0, 1),
        n => (2 * n + 2, 2 * n + 3),
    }
}

impl DeviceType for VirtioConsole {
    type State = State;
    const ID: u16 = 3;
    /// Simple communication controller, other.
    const CLASS: u32 = 0x07_80_00;

    fn features(&self) -> u64 {
        SIZE | EMERG_WRITE | if self.has_many() { MULTIPORT } else { 0 }
    }

    fn queue_sizes(&self) -> Vec<u16> {
        let pairs = if self.has_many() { self.ends.len() + 1 } else { 1 };
        vec![QUEUE_SIZE; 2 * pairs]
    }

    /// `struct virtio_console_config` (section 5.3.4).
    fn config(&self) -> Vec<u8> {
        let mut all = self.state.columns.to_le_bytes().to_vec();
        all.extend(self.state.rows.to_le_bytes());
        all.extend((self.ends.len() as u32).to_le_bytes());
        all.extend([0; 4]);
        all
    }

    /// A write of the emergency register is a byte of output, whatever else works.
    fn write_config(&mut self, offset: usize, data: &[u8]) {
        if let (EMERG_WR, [byte, ..]) = (offset, data) {
            self.ends[0].peer.transmit(*byte);
        }
    }

    fn take_config_change(&mut self) -> bool {
        std::mem::take(&mut self.state.is_resized)
    }

    fn reset(&mut self) {
        self.state.ports.fill(Port::default());
    }

    fn serve(&mut self, driver: &mut Driver<'_>) {
        let has_many = driver.has(MULTIPORT);
        if has_many {
            self.serve_control(driver);
        }
        let ports = if has_many { self.ends.len() } else { 1 };
        (0..ports).for_each(|port| self.serve_port(driver, port));
    }

    fn save(&self) -> State {
        self.state.clone()
    }

    fn load(&mut self, state: State, _queues: &[Queue]) -> Result<(), String> {
        let events =
            INTRODUCTION.into_iter().fold(1 << PORT_ADD, |bits, event| bits | 1_u8 << event);
        let is_possible = |port: &Port| port.input.len() <= INPUT_MAX && port.to_say & !events == 0;
        if state.ports.len() != self.ends.len() || !state.ports.iter().all(is_possible) {
            return Err("a port cannot be like this".to_owned());
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
