//! The chips of a PC, one module each, named after the chip.
//!
//! A device is three things: its wires ([`Line`] and the rest of the [`Backplane`]), its runtime
//! glue (a console, a disk), and one plain `State`. It is lent time and RAM with each call
//! ([`Cx`]) and says when it next wants to be woken as a pure function ([`Timed::next_event`]).
//! It never knows the CPU, the host's clock, its own address or its interrupt's number: those are
//! the board's.
#![forbid(unsafe_code)]

mod acpi_pm;
mod ahci;
mod apic;
mod ata;
mod backplane;
mod bench;
mod cfi_flash;
mod debug_console;
mod debug_exit;
mod disk;
mod display;
mod e1000;
mod errand;
#[cfg(test)]
mod fuzz;
mod fw_cfg;
mod hpet;
mod i440fx;
mod i8042;
mod i82077;
mod i8237;
mod i8254;
mod i8259;
mod ioapic;
mod keys;
mod link;
mod mc146818;
mod pc_testdev;
mod pci;
mod piix4_pm;
mod port92;
mod post_code;
mod remarks;
mod reset_control;
mod saved;
mod segment;
mod serial_peer;
#[cfg(test)]
mod stress;
mod uart16550;
mod vga;
mod virtio;

use std::{any::Any, sync::Arc};

use trine_guest::{Ram, VmTime};

pub use acpi_pm::AcpiPm;
pub use ahci::Ahci;
pub use apic::{
    Ack, ApicImage, Gp, LocalApics, LocalSource, WINDOW as APIC_WINDOW, message_msi, msi_message,
};
pub use ata::{AtaDrive, Piix3Ide};
pub use backplane::{
    Backplane, CpuSignal, DeliveryMode, Destination, Line, Message, Power, Signal, TriggerMode,
};
pub use bench::Bench;
pub use cfi_flash::{CfiFlash, FlashCells};
pub use debug_console::DebugConsole;
pub use debug_exit::DebugExit;
pub use disk::{Answer, Bays, Data, Disk, DiskError, Order, RamDisk};
pub use display::{Display, Picture, Rect};
pub use e1000::E1000;
pub use fw_cfg::FwCfg;
pub use hpet::Hpet;
pub use i440fx::{I440fx, LowMemory, LowSegment, Piix3Isa, Side};
pub use i8042::I8042;
pub use i8237::{DmaPeer, I8237};
pub use i8254::I8254;
pub use i8259::I8259;
pub use i82077::I82077;
pub use ioapic::{IoApic, PINS as IOAPIC_PINS};
pub use keys::{Key, type_text};
pub use link::{
    Checksum, FRAME_MAX, Frame, Link, Offload, Offloads, Segmentation, Segments, Unplugged, plain,
};
pub use mc146818::Mc146818;
pub use pc_testdev::{PcTestdev, WINDOW as TESTDEV_WINDOW};
pub use pci::{
    Bar, ConfigSpace, Identity, Intx, Msi, MsiX, MsiXState, PciBus, PciFunction, PortWindow, Slot,
    Space,
};
pub use piix4_pm::Piix4Pm;
pub use port92::Port92;
pub use post_code::PostCode;
pub use reset_control::ResetControl;
pub use saved::{LoadError, Saved};
pub use segment::Segment;
pub use serial_peer::SerialPeer;
pub use uart16550::Uart16550;
pub use vga::{Cell, PlainMemory, Text, VIDEO_PAGE, Vga, VideoMemory};
pub use virtio::{
    Chain, ConsolePort, DeviceType, Driver, Entropy, MacAddress, QUEUES_MAX, Queue, QueueError,
    RingFeatures, VirtioBalloon, VirtioBlk, VirtioConsole, VirtioMmio, VirtioNet, VirtioPci,
    VirtioRng, device_type,
};

/// What a device is lent while it is called.
pub struct Cx<'a> {
    /// Guest time of this call; never earlier than in the call before.
    pub now: VmTime,
    /// Guest RAM, for devices that master the bus.
    pub ram: &'a Arc<Ram>,
    /// The vCPU that makes the access (0 where no vCPU does): a local APIC answers each its own.
    pub vcpu: u32,
}

/// A chip.
///
/// A board that has to speak to one goes by way of [`Any`].
pub trait Device: Any + Send {
    /// The chip's name, unique on a board, as the snapshot and `--stats` print it.
    fn name(&self) -> &'static str;
    /// The RESET pin: registers to their power-on values, outputs to their idle levels.
    fn reset(&mut self, cx: &mut Cx<'_>);
    /// A copy of the whole guest-visible state.
    fn save(&self) -> Saved;
    /// Replaces the state and drives the outputs to the levels it implies, without edges.
    ///
    /// # Errors
    /// If `saved` is another device's or its fields do not hold together; the device is unchanged.
    fn load(&mut self, saved: &Saved) -> Result<(), LoadError>;

    /// The registers that the CPU reaches with IN and OUT.
    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        None
    }
    /// The registers that the CPU reaches in memory space.
    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        None
    }
    /// The input pins.
    fn as_inputs(&mut self) -> Option<&mut dyn Inputs> {
        None
    }
    /// The drives whose media people change.
    fn as_bays(&mut self) -> Option<&mut dyn Bays> {
        None
    }
    /// The clockwork.
    fn as_timed(&mut self) -> Option<&mut dyn Timed> {
        None
    }
    /// The monitor.
    fn as_display(&mut self) -> Option<&mut dyn Display> {
        None
    }
}

/// Registers in port space. `reg` counts from the device's first register; the board maps port
/// numbers to it. `data` is 1, 2 or 4 bytes, little endian.
pub trait Ports {
    /// An IN. `data` comes filled with FFh, what a floating bus reads.
    fn port_in(&mut self, cx: &mut Cx<'_>, reg: u16, data: &mut [u8]);
    /// An OUT.
    fn port_out(&mut self, cx: &mut Cx<'_>, reg: u16, data: &[u8]);
}

/// Registers in memory space. `offset` counts in bytes from the start of the device's window;
/// `data` is 1 to 16 bytes and never leaves the window.
pub trait Mmio {
    /// A load. `data` comes filled with FFh.
    fn mmio_read(&mut self, cx: &mut Cx<'_>, offset: u64, data: &mut [u8]);
    /// A store.
    fn mmio_write(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]);
}

/// Input pins, numbered by the device.
pub trait Inputs {
    /// Pin `pin` is now at `level`. Only changes arrive.
    fn input(&mut self, cx: &mut Cx<'_>, pin: u16, level: bool);
}

/// A device in which something happens by itself.
pub trait Timed {
    /// When something that others can see happens next, if nobody touches the device; pure.
    fn next_event(&self) -> Option<VmTime>;
    /// Time is `cx.now`: everything due by now happens, in order. Called at or after
    /// [`Timed::next_event`], possibly long after.
    fn advance(&mut self, cx: &mut Cx<'_>);
}
