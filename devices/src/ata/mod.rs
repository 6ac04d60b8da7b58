//! ATA: the drives, and the IDE controller of a PIIX3 in front of them.
//!
//! Sources: AT Attachment with Packet Interface - 6 (T13/1410D revision 3b), and what ATA-1 to
//! ATA-3 had that later ones dropped; ATA8-ACS (T13/1699D) for DATA SET MANAGEMENT.
//!
//! The set of commands is one thing, who carries them another. An [`AtaDrive`] is the drive: its
//! registers, the command it is at, and what it wants next from its cable ([`Phase`]), be it a word
//! at a time, a burst of DMA or a frame. [`Piix3Ide`] and [`crate::Ahci`] move the bytes.
//!
//! A drive takes the time that the disk behind it takes; whatever needs no disk is done at once.

mod bus_master;
mod cable;
mod cd;
mod channel;
mod disk;
mod drive;
mod identify;
mod piix3;
mod queue;
#[cfg(test)]
mod rig;
mod taskfile;

pub use drive::AtaDrive;
pub use piix3::Piix3Ide;
pub(crate) use {
    cable::Phase,
    drive::DriveState,
    queue::{DEPTH as QUEUE_DEPTH, Event as QueueEvent, Request as QueueRequest},
};

/// Bytes of a sector of a disk.
const SECTOR: usize = 512;
