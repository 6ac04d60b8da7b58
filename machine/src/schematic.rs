//! What a board's schematic says, and which boards there are: [`pc`] and [`microvm`].

use crate::{
    microvm,
    pc::{self, Net, PortRow, Window},
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
