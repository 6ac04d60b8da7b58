//! What a board's schematic says, and which boards there are: [`pc`] and [`microvm`].

use trine_guest::Gpa;

use crate::{
    microvm,
    pc::{self, Chip, Wire},
};

/// `--machine`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum BoardKind {
    /// A PC.
    #[default]
    Pc,
    /// A board with as little as a kernel needs, for the shortest start.
    Microvm,
}

impl BoardKind {
    /// Its schematic.
    #[must_use]
    pub fn schematic(self) -> &'static Schematic {
        match self {
            Self::Pc => &pc::SCHEMATIC,
            Self::Microvm => &microvm::SCHEMATIC,
        }
    }
}

/// Who sits at which address, on which wire.
#[derive(Debug)]
pub struct Schematic {
    /// Port space, in order.
    pub ports: &'static [PortRow],
    /// Memory space besides RAM, the local APICs and what PCI functions map.
    pub windows: &'static [Window],
    /// The wiring.
    pub nets: &'static [Net],
    /// How many slots there are for cards.
    pub slots: u8,
}

/// A range of memory space that is a chip's.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its first address.
    pub at: Gpa,
    /// Its bytes.
    pub len: u64,
    /// Whose it is.
    pub chip: Chip,
}

/// Ports that lead to consecutive registers of a chip.
#[derive(Clone, Copy, Debug)]
pub struct PortRow {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// Whose they are.
    pub chip: Chip,
    /// The chip's register at the first port.
    pub register: u16,
}

pub(crate) const fn row(first: u16, last: u16, chip: Chip, register: u16) -> PortRow {
    PortRow { first, last, chip, register }
}

/// Where a net leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sink {
    /// An input pin of a chip.
    Pin(Chip, u16),
    /// LINT0 of every local APIC.
    Lint0,
    /// The A20 gate of every CPU.
    A20,
}

/// Wires that are joined (each can assert the net), and where they lead.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// What drives it at all times.
    pub from: &'static [Wire],
    /// What drives it unless the HPET stands in for it (legacy replacement routing).
    pub unless_hpet: &'static [Wire],
    /// The number by which the ISA bridge can join PCI's interrupts to it.
    pub irq: Option<u8>,
    /// Where it leads.
    pub to: &'static [Sink],
}
