//! What is at the other end of a serial line: the seam between a chip and the host's console.

use std::sync::{Arc, atomic::AtomicUsize};

/// The far end of a serial line. Input goes the other way: whoever reads the host's console calls
/// the chip.
pub trait SerialPeer: Send {
    /// The guest sent a byte. It is taken, whether there is [`SerialPeer::room`] or not, and nobody
    /// waits.
    fn transmit(&mut self, byte: u8);

    /// The guest began (`true`) or ended a break condition.
    fn send_break(&mut self, _on: bool) {}

    /// For how many bytes there is room. A chip lets a guest that asks wait for some.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// `wake` is to be called when there is room again. Without it there always is: then what a guest
    /// sees does not depend on how fast the host is.
    fn on_room(&mut self, _wake: Arc<dyn Fn() + Send + Sync>) {}

    /// How many bytes wait, if any ever do, for a board that makes a guest wait which does not ask.
    fn backlog(&self) -> Option<Arc<AtomicUsize>> {
        None
    }
}
