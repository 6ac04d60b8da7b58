//! The EEPROM: 64 words behind four wires (sections 5.3 to 5.6), and EERD, which reads them by
//! itself.
//!
//! The chip is a Microwire one of 1 Kbit like 93C46 (Microchip DS20001749, section 2): an
//! instruction is a start bit, two bits of opcode and six of address, taken at rising edges of the
//! clock, and what it changes is changed when its chip select falls.

use serde::{Deserialize, Serialize};

/// Words.
const WORDS: usize = 64;
/// What all words add up to, the last one being there for that (section 5.6.35).
const SUM: u16 = 0xbaba;
const CHECKSUM: usize = 0x3f;

// EECD (section 13.4.3).
const CLOCK: u32 = 1 << 0;
const SELECT: u32 = 1 << 1;
const DATA_IN: u32 = 1 << 2;
const DATA_OUT: u32 = 1 << 3;
/// Writes to a flash memory that is not there: two bits.
const FLASH_WRITE: u32 = 3 << 4;
const REQUEST: u32 = 1 << 6;
const GRANT: u32 = 1 << 7;
const PRESENT: u32 = 1 << 8;
const WRITABLE: u32 = CLOCK | SELECT | DATA_IN | FLASH_WRITE | REQUEST;

// EERD (section 13.4.4).
const READ_START: u32 = 1 << 0;
const READ_DONE: u32 = 1 << 4;
const READ_ADDRESS: u32 = 0xff00;

/// Bits of an instruction, and of one with data behind it.
const INSTRUCTION: u32 = 9;
const WITH_DATA: u32 = INSTRUCTION + 16;

/// What is in it, and what is on its wires.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Eeprom {
    words: Vec<u16>,
    /// Instructions that write were enabled.
    is_unlocked: bool,
    /// EECD, as far as it is written.
    pins: u32,
    /// The bits of an instruction that have come, its start bit first.
    shift: u32,
    /// The bit of the contents that comes next, while they are read.
    reading: Option<u16>,
    data_out: bool,
}

impl Eeprom {
    /// An EEPROM for a card with the address `mac`.
    pub(super) fn new(mac: [u8; 6]) -> Self {
        let mut words = vec![u16::MAX; WORDS];
        for (word, pair) in words.iter_mut().zip(mac.chunks(2)) {
            *word = u16::from(pair[1]) << 8 | u16::from(pair[0]);
        }
        // Compatibility and the lights: nothing special (words 03h, 04h).
        words[0x03..0x05].fill(0);
        // Initialization control 1: signature, 32-bit BAR, full duplex, IDs as in these words;
        // subsystem, its vendor, device, vendor; initialization control 2: pauses both ways.
        words[0x0a..0x10].copy_from_slice(&[0x6403, 0x001e, 0x8086, 0x100e, 0x8086, 0x3000]);
        // Pins, and what wakes the machine: nothing (words 20h to 24h).
        words[0x20..0x25].fill(0);
        let sum = words[..CHECKSUM].iter().fold(0_u16, |sum, word| sum.wrapping_add(*word));
        words[CHECKSUM] = SUM.wrapping_sub(sum);
        Self { words, ..Self::blank() }
    }

    fn blank() -> Self {
        let words = Vec::new();
        Self { words, is_unlocked: false, pins: 0, shift: 0, reading: None, data_out: true }
    }

    pub(super) fn is_possible(&self) -> bool {
        self.words.len() == WORDS
            && self.pins & !WRITABLE == 0
            && self.shift < 1 << WITH_DATA
            && self.reading.is_none_or(|bit| usize::from(bit) < 16 * WORDS)
    }

    /// A word; addresses have six bits.
    pub(super) fn word(&self, address: u32) -> u16 {
        self.words.get(address as usize % WORDS).copied().unwrap_or(u16::MAX)
    }

    /// The card's address.
    pub(super) fn mac(&self) -> [u8; 6] {
        let [[a, b], [c, d], [e, f]] = [0, 1, 2].map(|address| self.word(address).to_le_bytes());
        [a, b, c, d, e, f]
    }

    /// What EERD reads after `value` was written.
    pub(super) fn read_word(&self, value: u32) -> u32 {
        let address = value & READ_ADDRESS;
        if value & READ_START == 0 {
            return address;
        }
        u32::from(self.word(address >> 8)) << 16 | address | READ_DONE
    }

    /// EECD.
    pub(super) fn read(&self) -> u32 {
        let grant = if self.pins & REQUEST != 0 { GRANT } else { 0 };
        let data_out = if self.data_out { DATA_OUT } else { 0 };
        self.pins | grant | data_out | PRESENT
    }

    pub(super) fn write(&mut self, value: u32) {
        let before = std::mem::replace(&mut self.pins, value & WRITABLE);
        let [rose, fell] = [!before & value, before & !value];
        if fell & SELECT != 0 {
            self.execute();
        }
        if (rose | fell) & SELECT != 0 {
            // Nobody drives the wire, or it says that nothing is being written: both read 1.
            (self.shift, self.reading, self.data_out) = (0, None, true);
        }
        if value & SELECT != 0 && rose & CLOCK != 0 {
            self.clock(value & DATA_IN != 0);
        }
    }

    /// Nobody holds the wires any more; what was not complete is not done.
    pub(super) fn deselect(&mut self) {
        let words = std::mem::take(&mut self.words);
        *self = Self { words, ..Self::blank() };
    }

    fn clock(&mut self, data_in: bool) {
        if let Some(bit) = self.reading {
            let word = self.word(u32::from(bit) / 16);
            self.data_out = word >> (15 - bit % 16) & 1 != 0;
            self.reading = Some((bit + 1) % (16 * WORDS as u16));
        } else if self.shift < 1 << (WITH_DATA - 1) {
            self.shift = self.shift << 1 | u32::from(data_in);
            if let 0b1_1000_0000..=0b1_1011_1111 = self.shift {
                // A read: a zero comes before the data.
                (self.reading, self.data_out) = (Some((self.shift as u16 & 0x3f) * 16), false);
            }
        }
    }

    /// Does what the instruction says that has come, if it is one that writes.
    fn execute(&mut self) {
        let len = u32::BITS - self.shift.leading_zeros();
        let Some(behind) = len.checked_sub(INSTRUCTION) else { return };
        let instruction = self.shift >> behind;
        let address = instruction as usize & 0x3f;
        let data = (len == WITH_DATA).then_some(self.shift as u16);
        match (instruction >> 6 & 3, address >> 4, data) {
            (0b00, 0b11, _) => self.is_unlocked = true,
            (0b00, 0b00, _) => self.is_unlocked = false,
            _ if !self.is_unlocked => {}
            (0b00, 0b10, _) => self.words.fill(u16::MAX),
            (0b00, 0b01, Some(data)) => self.words.fill(data),
            (0b01, _, Some(data)) => self.words[address] = data,
            (0b11, ..) => self.words[address] = u16::MAX,
            _ => {}
        }
    }
}
