//! What a device says to the outside: levels on wires, interrupt messages, the power button.
//!
//! Nothing is delivered inside the call in which it is said. The board drains the backplane after
//! each call into a device and carries every signal to where its wire leads, in order, until all
//! is quiet. So devices never call each other, and the order is the same in every run.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

/// Something a device said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A wire changed its level. The board gave the wire its number.
    Level {
        /// The wire.
        wire: u32,
        /// Its new level: `true` is asserted.
        level: bool,
    },
    /// An interrupt message: from an I/O APIC pin or a PCI device's MSI.
    Message(Message),
    /// A local APIC broadcasts the end of a level-triggered interrupt to the I/O APICs.
    EndOfInterrupt(u8),
    /// A local APIC drives a pin of its vCPU.
    Cpu {
        /// The vCPU, counted from 0.
        vcpu: u32,
        /// The pin.
        signal: CpuSignal,
    },
    /// The power supply or the reset wire.
    Power(Power),
}

/// A pin of a vCPU, driven by its local APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpuSignal {
    /// An interrupt is (or is no longer) waiting to be acknowledged.
    Interrupt(bool),
    /// A non-maskable interrupt (an edge).
    Nmi,
    /// A system management interrupt (an edge).
    Smi,
    /// INIT: back to the reset state without touching caches, x87 and MSRs that INIT keeps.
    Init,
    /// SIPI: a vCPU that waits for it starts in real mode at `vector << 12`.
    Startup(u8),
}

/// What a board does at large.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    /// The machine resets: every vCPU and every device.
    Reset,
    /// Soft off (ACPI S5).
    Off,
    /// Suspend to RAM (ACPI S3): the vCPUs lose their power.
    Sleep,
    /// The end of it: firmware starts, and finds that it was sleep.
    Wake,
    /// isa-debug-exit: the emulator ends with this status.
    Exit(u8),
}

/// An interrupt message on the system bus (SDM vol. 3A, sections 11.11.1 and 11.11.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Whom it is for.
    pub destination: Destination,
    /// How it is delivered.
    pub delivery: DeliveryMode,
    /// The vector, where the delivery mode has one.
    pub vector: u8,
    /// Edge or level.
    pub trigger: TriggerMode,
}

/// Whom a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Destination {
    /// The local APIC with this ID (`FFh` in xAPIC, `FFFF_FFFFh` in x2APIC form: all).
    Physical(u32),
    /// The local APICs whose logical ID matches this one.
    Logical(u32),
}

impl Destination {
    /// The 8-bit destination of a redirection entry or an MSI: physical FFh is everyone.
    #[must_use]
    pub fn from_byte(destination: u8, logical: bool) -> Self {
        match destination {
            _ if logical => Self::Logical(u32::from(destination)),
            0xff => Self::Physical(u32::MAX),
            id => Self::Physical(u32::from(id)),
        }
    }
}

/// How a message is delivered (the encoding of redirection entries and the ICR).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum DeliveryMode {
    /// To every APIC of the destination.
    Fixed = 0,
    /// To the one of the destination with the lowest priority.
    LowestPriority = 1,
    /// As an SMI.
    Smi = 2,
    /// As an NMI.
    Nmi = 4,
    /// As an INIT.
    Init = 5,
    /// As a start-up IPI.
    Startup = 6,
    /// As if from an 8259: the vector comes from the acknowledge cycle.
    ExtInt = 7,
}

impl DeliveryMode {
    /// The mode that the low three bits of `bits` are the encoding of; 3 is reserved.
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        Some(match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::Startup,
            7 => Self::ExtInt,
            _ => return None,
        })
    }
}

/// Edge or level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TriggerMode {
    /// Once for each message.
    Edge,
    /// Until the source is served; ends with an [`Signal::EndOfInterrupt`].
    Level,
}

impl TriggerMode {
    /// The trigger mode bit of the LVT, a redirection entry or a message: set is level.
    #[must_use]
    pub fn from_bit(level: bool) -> Self {
        if level { Self::Level } else { Self::Edge }
    }
}

/// The queue of what has been said and not yet been carried. Clones are the same queue.
#[derive(Clone, Default)]
pub struct Backplane(Arc<Mutex<VecDeque<Signal>>>);

impl Backplane {
    /// Says something.
    pub fn say(&self, signal: Signal) {
        self.queue().push_back(signal);
    }

    /// The oldest thing that was said, taken off the queue.
    #[must_use]
    pub fn take(&self) -> Option<Signal> {
        self.queue().pop_front()
    }

    /// An output pin that leads to wire `wire`, at the idle level.
    #[must_use]
    pub fn line(&self, wire: u32) -> Line {
        Line { backplane: self.clone(), wire: Some(wire), level: false }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Signal>> {
        // The queue is consistent at every point where a holder could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An output pin. It drives a level and cannot know where the wire leads.
pub struct Line {
    backplane: Backplane,
    wire: Option<u32>,
    level: bool,
}

impl Line {
    /// A pin that is connected to nothing.
    #[must_use]
    pub fn unconnected() -> Self {
        Self { backplane: Backplane::default(), wire: None, level: false }
    }

    /// Drives the pin; only a change of level is a signal.
    pub fn set(&mut self, level: bool) {
        if self.level != level {
            self.level = level;
            if let Some(wire) = self.wire {
                self.backplane.say(Signal::Level { wire, level });
            }
        }
    }

    /// A low-high-low pulse: one edge.
    pub fn pulse(&mut self) {
        self.set(true);
        self.set(false);
    }

    /// Sets the level after a load, without a signal: the other end was loaded too.
    pub fn restore(&mut self, level: bool) {
        self.level = level;
    }

    /// The level now.
    #[must_use]
    pub fn level(&self) -> bool {
        self.level
    }
}
