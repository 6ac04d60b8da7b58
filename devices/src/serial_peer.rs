//! What is at the other end of a serial line: the seam between a chip and the host's console.

/// The far end of a serial line. Input goes the other way: whoever reads the host's console calls
/// the chip.
pub trait SerialPeer: Send {
    /// The guest sent a byte.
    fn transmit(&mut self, byte: u8);

    /// The guest began (`true`) or ended a break condition.
    fn send_break(&mut self, _on: bool) {}
}
