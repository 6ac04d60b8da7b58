//! Frame information structures (Serial ATA revision 3.0, section 10.3), and where a port keeps
//! those that it has received (AHCI 1.3.1, section 4.2.1).

/// Register, host to device.
pub(super) const COMMAND: u8 = 0x27;
const REGISTER: u8 = 0x34;
const SET_DEVICE_BITS: u8 = 0xa1;
const PIO_SETUP: u8 = 0x5f;
/// Byte 1: it has something to interrupt for.
const INTERRUPT: u8 = 1 << 6;
/// Byte 1: to the host.
const TO_HOST: u8 = 1 << 5;

/// Where received frames lie.
pub(super) const PIO_SETUP_AT: u64 = 0x20;
pub(super) const REGISTER_AT: u64 = 0x40;
pub(super) const SET_DEVICE_BITS_AT: u64 = 0x58;

/// A drive's registers, as frames carry them.
#[derive(Clone, Copy)]
pub(super) struct Registers {
    pub(super) status: u8,
    pub(super) error: u8,
    /// Low, mid, high, device, then what was in the first three before.
    pub(super) address: [u8; 7],
    pub(super) count: [u8; 2],
}

impl Registers {
    fn frame(&self, kind: u8, flags: u8) -> [u8; 20] {
        let [low, mid, high, device, low_before, mid_before, high_before] = self.address;
        let mut frame = [0; 20];
        frame[..12].copy_from_slice(&[
            kind,
            flags,
            self.status,
            self.error,
            low,
            mid,
            high,
            device,
            low_before,
            mid_before,
            high_before,
            0,
        ]);
        frame[12..14].copy_from_slice(&self.count);
        frame
    }

    /// Register, device to host.
    pub(super) fn register(&self, interrupts: bool) -> [u8; 20] {
        self.frame(REGISTER, if interrupts { INTERRUPT } else { 0 })
    }

    /// PIO setup, for so many bytes.
    pub(super) fn pio_setup(&self, interrupts: bool, is_to_host: bool, len: usize) -> [u8; 20] {
        let direction = if is_to_host { TO_HOST } else { 0 };
        let mut frame = self.frame(PIO_SETUP, direction | if interrupts { INTERRUPT } else { 0 });
        frame[15] = self.status & !0x08;
        frame[16..18].copy_from_slice(&(len as u16).to_le_bytes());
        frame
    }

    /// Set device bits: these queued commands are done.
    pub(super) fn set_device_bits(&self, done: u32) -> [u8; 8] {
        let [a, b, c, d] = done.to_le_bytes();
        [SET_DEVICE_BITS, INTERRUPT, self.status & 0x77, self.error, a, b, c, d]
    }
}
