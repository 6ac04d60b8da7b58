//! The chips of a board, whichever it is, as the board at work sees them.

use trine_devices::{AcpiPm, Backplane, Cx, Device, IoApic, LocalApics, Uart16550};
use trine_firmware::Description;
use trine_x86::CpuModel;

use crate::{
    microvm,
    pc::{self, Chip, Wire},
    schematic::{BoardKind, Schematic},
};

/// The chips on their sockets.
pub enum Chips {
    /// Of a PC.
    Pc(Box<pc::Chips>),
    /// Of the board with as little as possible.
    Microvm(Box<microvm::Chips>),
}

/// What is said in the same words of both boards' chips.
macro_rules! either {
    ($self:expr, $chips:ident => $what:expr) => {
        match $self {
            Chips::Pc($chips) => $what,
            Chips::Microvm($chips) => $what,
        }
    };
}

impl Chips {
    /// The chips that keep their state while the machine sleeps: who wakes it, and the clock on its
    /// battery. What else there was, firmware and the guest's drivers set up again.
    pub const AWAKE: [Chip; 2] = [Chip::Pm, Chip::Rtc];

    /// The chips after power-on, wired to `backplane`.
    #[must_use]
    pub fn new(parts: pc::Parts, backplane: &Backplane) -> Self {
        match parts.board {
            BoardKind::Pc => Self::Pc(Box::new(pc::Chips::new(parts, backplane))),
            BoardKind::Microvm => Self::Microvm(Box::new(microvm::Chips::new(parts, backplane))),
        }
    }

    /// How they are wired.
    #[must_use]
    pub fn schematic(&self) -> &'static Schematic {
        match self {
            Self::Pc(_) => &pc::SCHEMATIC,
            Self::Microvm(_) => &microvm::SCHEMATIC,
        }
    }

    /// The chip called `chip`; `None` where this board has none.
    pub fn device(&mut self, chip: Chip) -> Option<&mut dyn Device> {
        either!(self, chips => chips.device(chip))
    }

    /// A PC's, with what no other board has.
    #[must_use]
    pub fn pc(&self) -> Option<&pc::Chips> {
        match self {
            Self::Pc(chips) => Some(chips),
            Self::Microvm(_) => None,
        }
    }

    /// The same, to change them.
    pub fn pc_mut(&mut self) -> Option<&mut pc::Chips> {
        match self {
            Self::Pc(chips) => Some(chips),
            Self::Microvm(_) => None,
        }
    }

    /// The local APICs.
    #[must_use]
    pub fn apics(&self) -> &LocalApics {
        either!(self, chips => &chips.apics)
    }

    /// The same, to change them.
    pub fn apics_mut(&mut self) -> &mut LocalApics {
        either!(self, chips => &mut chips.apics)
    }

    /// The I/O APIC.
    pub fn ioapic_mut(&mut self) -> &mut IoApic {
        either!(self, chips => &mut chips.ioapic)
    }

    /// The first serial port.
    pub fn com1_mut(&mut self) -> &mut Uart16550 {
        either!(self, chips => &mut chips.com1)
    }

    /// ACPI's fixed hardware.
    pub fn acpi_mut(&mut self) -> Option<&mut AcpiPm> {
        match self {
            Self::Pc(chips) => chips.acpi_mut(),
            Self::Microvm(chips) => Some(&mut chips.pm),
        }
    }

    /// At which of the I/O APIC's pins, or of the ISA interrupts, a card's interrupt wire ends; wires
    /// are counted from the first of all cards'. `pirqs` is where PCI's lines lead.
    #[must_use]
    pub fn irq_of_card(&self, wire: usize, pirqs: &[Option<u8>; 4]) -> Option<u8> {
        match self {
            Self::Pc(_) => pirqs[Wire::pirq(wire)],
            Self::Microvm(_) => Some(microvm::irq_of_card(wire)),
        }
    }

    /// What a firmware does to the chips before it starts a guest.
    pub fn firmware_setup(&mut self, cx: &mut Cx<'_>, memory: u64) {
        match self {
            Self::Pc(chips) => chips.firmware_setup(cx, memory),
            Self::Microvm(chips) => chips.firmware_setup(cx),
        }
    }

    /// What the board itself tells a firmware.
    pub fn strap(&mut self, memory: u64) {
        if let Self::Pc(chips) = self {
            chips.strap(memory);
        }
    }

    /// What tables say of a board with these chips, so much memory and so many vCPUs.
    #[must_use]
    pub fn description(&mut self, memory: u64, cpus: u32, model: &CpuModel) -> Description {
        match self {
            Self::Pc(chips) => pc::description(chips, memory, cpus, model),
            Self::Microvm(chips) => microvm::description(chips, memory, cpus, model),
        }
    }
}
