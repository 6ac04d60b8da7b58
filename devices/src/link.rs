//! What a network controller is connected to: the seam between a chip and a network on the host.
//!
//! Frames are Ethernet frames without preamble and frame check sequence. A frame may come with work
//! left undone, a checksum or the cutting into segments, and goes on like that to who is content
//! with it: between two ends of one host nobody ever need do it, and one call moves up to 64 KiB.
//! For all others [`plain`] does it.

use trine_guest::VmTime;

#[cfg(test)]
pub(crate) mod end;
mod plain;

pub use plain::plain;
pub(crate) use plain::{fold, sum};

/// The longest frame: 64 KiB of IP behind an Ethernet header with a VLAN tag.
pub const FRAME_MAX: usize = 65_535 + 18;

/// A checksum that is to be put into a frame: the Internet checksum (RFC 1071) of all bytes from
/// `start` on. What is in its place is the sum of the pseudo-header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum {
    /// The first byte that it covers.
    pub start: u16,
    /// Where it is put, counted from there.
    pub offset: u16,
}

/// What kind of segments a frame is to be cut into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segmentation {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
}

/// That a frame is to be cut into several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// As what.
    pub kind: Segmentation,
    /// The most bytes of TCP payload in each.
    pub size: u16,
}

/// What is left to do to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offload {
    /// A checksum is to be put into it, or into each of its segments. Frames to be cut always have
    /// one.
    pub checksum: Option<Checksum>,
    /// It is to be cut.
    pub segments: Option<Segments>,
}

/// What kinds of unfinished frames somebody takes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Offloads {
    /// Frames without their checksum.
    pub checksum: bool,
    /// Frames of TCP over IPv4 that are not cut yet.
    pub tcp4: bool,
    /// Frames of TCP over IPv6 that are not cut yet.
    pub tcp6: bool,
}

impl Offloads {
    /// Whether these include what `offload` leaves to do.
    #[must_use]
    pub fn include(&self, offload: &Offload) -> bool {
        let cuts = match offload.segments.map(|segments| segments.kind) {
            None => true,
            Some(Segmentation::Tcp4) => self.tcp4,
            Some(Segmentation::Tcp6) => self.tcp6,
        };
        cuts && (self.checksum || offload.checksum.is_none())
    }
}

/// A frame, and what is left to do to it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Frame {
    /// From the destination's address on, at most [`FRAME_MAX`].
    pub bytes: Vec<u8>,
    /// What is left to do.
    pub offload: Offload,
}

/// A network behind a controller. Nothing waits: frames that it has no room for are lost, as on any
/// Ethernet.
///
/// Frames under way are runtime glue and in nobody's state: who relies on them sends them again.
pub trait Link: Send {
    /// Whether a cable is plugged in. The board wakes the controller
    /// ([`crate::Timed::advance`]) when this changes.
    fn is_up(&self) -> bool {
        true
    }
    /// The unfinished frames that may be sent to it.
    fn takes(&self) -> Offloads {
        Offloads::default()
    }
    /// The guest sends a frame. What is left to do is among what [`Link::takes`]; of the frame
    /// itself nothing is certain but that it is at most [`FRAME_MAX`] bytes long.
    fn send(&mut self, now: VmTime, frame: &[u8], offload: Offload);
    /// When a frame will be, or was, ready to be received; `None` as long as that is not known. The
    /// board wakes the controller when one has come.
    fn next_frame(&self) -> Option<VmTime>;
    /// A frame for the guest that is ready by `now`, with no more left to do than what is in
    /// `takes`. What [`Link::next_frame`] has promised is there.
    fn receive(&mut self, now: VmTime, takes: Offloads) -> Option<Frame>;
}

/// A cable that leads nowhere.
pub struct Unplugged;

impl Link for Unplugged {
    fn is_up(&self) -> bool {
        false
    }
    fn send(&mut self, _now: VmTime, _frame: &[u8], _offload: Offload) {}
    fn next_frame(&self) -> Option<VmTime> {
        None
    }
    fn receive(&mut self, _now: VmTime, _takes: Offloads) -> Option<Frame> {
        None
    }
}
