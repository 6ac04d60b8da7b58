//! The `pc` board as a schematic: every address, port, wire and interrupt number, once.
//!
//! It is a PC of the kind that every x86 operating system knows: ISA chips behind a 440FX and a
//! PIIX3, an I/O APIC, an HPET, and a PIIX4's power management. Sources: Intel 82441FX, 82371SB
//! (PIIX3) and 82371AB (PIIX4) datasheets; MultiProcessor Specification 1.4, chapter 3; ACPI 6.3,
//! chapter 4.

use std::{
    any::Any,
    sync::{Arc, atomic::AtomicUsize},
};

use trine_devices::{
    AcpiPm, AtaDrive, Backplane, CfiFlash, Cx, DebugConsole, DebugExit, Device, Disk, FlashCells,
    FwCfg, Hpet, I440fx, I8042, I8237, I8254, I8259, I82077, IoApic, Line, LocalApics, Mc146818,
    PcTestdev, PciBus, PciFunction, Piix3Ide, Piix3Isa, Piix4Pm, Port92, PostCode, ResetControl,
    SerialPeer, Slot, TESTDEV_WINDOW, Uart16550, Vga, VideoMemory,
};
use trine_guest::Gpa;

use crate::{
    pci_setup::{Window as Room, set_up},
    schematic::{BoardKind, Net, PortRow, Schematic, Sink, Window, row},
};

mod description;
mod memory;
mod text_mode;

pub use description::{description, power_management, smbios};
pub use memory::{
    HIGH_RAM_AT, LOW_RAM_MAX, MEMORY_MAX, MEMORY_MIN, Memory, Shown, VIDEO_HOLE, VIDEO_MEMORY,
    pci_hole, split_memory,
};
use text_mode::{TEXT_SCREEN, set_text_mode};

/// The board.
pub const SCHEMATIC: Schematic =
    Schematic { ports: PORTS, windows: WINDOWS, nets: NETS, slots: CARDS };

/// The most vCPUs: xAPIC IDs are 8 bits wide, and FFh is all of them.
pub const CPUS_MAX: u32 = 255;

/// Where each vCPU sees its local APIC after a reset.
pub const LOCAL_APIC_AT: Gpa = Gpa(0xfee0_0000);
/// The I/O APIC.
pub const IOAPIC_AT: Gpa = Gpa(0xfec0_0000);
/// The HPET.
pub const HPET_AT: Gpa = Gpa(0xfed0_0000);

/// Memory space besides RAM and the local APICs (which each vCPU sees at its own address).
pub const WINDOWS: &[Window] = &[
    Window { at: IOAPIC_AT, len: 0x1000, chip: Chip::IoApic },
    Window { at: VIDEO_HOLE.0, len: Vga::WINDOW, chip: Chip::Vga },
    Window { at: HPET_AT, len: 0x400, chip: Chip::Hpet },
    Window { at: Gpa(0xff00_0000), len: TESTDEV_WINDOW as u64, chip: Chip::TestDevice },
];

// Chips

/// Names the chips that the board always has a place for.
macro_rules! chips {
    ($($name:ident),+ $(,)?) => {
        /// The chips of the board.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "named after what they are")]
        pub enum Chip {
            $($name,)+
            /// A card in one of the PCI slots, counted from 0.
            Card(u8),
        }

        impl Chip {
            const SOLDERED: &[Self] = &[$(Self::$name),+];

            /// Its place among all of them.
            #[must_use]
            pub const fn index(self) -> usize {
                enum Place { $($name),+ }
                match self {
                    $(Self::$name => Place::$name as usize,)+
                    Self::Card(n) => Self::SOLDERED.len() + n as usize,
                }
            }
        }
    };
}

chips![
    Pic,
    Pit,
    Rtc,
    LocalApics,
    IoApic,
    Hpet,
    Com1,
    Keyboard,
    Pm,
    Pci,
    HostBridge,
    IsaBridge,
    Ide,
    Vga,
    Dma,
    Floppy,
    Flash,
    Port92,
    ResetControl,
    PostCode,
    DebugConsole,
    DebugExit,
    FwCfg,
    TestDevice,
];

impl Chip {
    /// How many places there are.
    pub const COUNT: usize = Self::SOLDERED.len() + CARDS as usize;

    /// All of them, there or not.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::SOLDERED.iter().copied().chain(Self::cards())
    }

    /// The cards, there or not.
    pub fn cards() -> impl Iterator<Item = Self> {
        (0..CARDS).map(Self::Card)
    }

    /// Where card `n` sits.
    #[must_use]
    pub const fn slot_of_card(n: u8) -> Slot {
        Slot::at(FIRST_CARD + n, 0)
    }

    /// The one that sits at `slot` of the PCI bus.
    #[must_use]
    pub fn at(slot: Slot) -> Option<Self> {
        match slot {
            HOST_BRIDGE => Some(Self::HostBridge),
            ISA_BRIDGE => Some(Self::IsaBridge),
            IDE => Some(Self::Ide),
            PM => Some(Self::Pm),
            VGA => Some(Self::Vga),
            _ if slot.function() == 0 => slot.device().checked_sub(FIRST_CARD).map(Self::Card),
            _ => None,
        }
    }
}

/// Where a guest without firmware finds the ports of power management, and our own BIOS puts them.
const PM_PORTS: u16 = 0x600;
/// The same of the SMBus.
const SMBUS_PORTS: u16 = 0x700;
/// General-purpose event block 0, where no firmware puts anything.
const GPE0: u16 = 0xafe0;
/// SMI command port.
const SMI_COMMAND: u16 = 0xb2;
/// Reset control register.
pub const RESET_CONTROL: u16 = 0xcf9;
/// First port of COM1.
pub const COM1: u16 = 0x3f8;
/// CONFIG_ADDRESS of PCI: a doubleword access at this port is PCI's, whatever else lies in it.
pub const PCI_CONFIG_ADDRESS: u16 = 0xcf8;

/// Port space.
pub const PORTS: &[PortRow] = &[
    row(0x000, 0x00f, Chip::Dma, I8237::FIRST),
    row(0x020, 0x021, Chip::Pic, I8259::MASTER_COMMAND),
    row(0x040, 0x043, Chip::Pit, I8254::COUNTER_0),
    row(0x060, 0x060, Chip::Keyboard, I8042::DATA),
    row(0x061, 0x061, Chip::Pit, I8254::PORT_61),
    row(0x064, 0x064, Chip::Keyboard, I8042::STATUS_COMMAND),
    row(0x070, 0x071, Chip::Rtc, Mc146818::INDEX),
    row(0x080, 0x080, Chip::PostCode, PostCode::CODE),
    row(0x081, 0x08f, Chip::Dma, I8237::PAGE + 1),
    row(0x092, 0x092, Chip::Port92, Port92::CONTROL),
    row(0x0a0, 0x0a1, Chip::Pic, I8259::SLAVE_COMMAND),
    row(SMI_COMMAND, SMI_COMMAND, Chip::Pm, AcpiPm::SMI_COMMAND),
    row(0x0c0, 0x0df, Chip::Dma, I8237::SECOND),
    row(0x0e9, 0x0e9, Chip::DebugConsole, DebugConsole::DATA),
    row(0x170, 0x177, Chip::Ide, Piix3Ide::SECONDARY),
    // Each is a word, so that the second one reaches one port further.
    row(0x1ce, 0x1d0, Chip::Vga, Vga::DISPI_INDEX),
    row(0x1f0, 0x1f7, Chip::Ide, Piix3Ide::PRIMARY),
    row(0x376, 0x376, Chip::Ide, Piix3Ide::SECONDARY_CONTROL),
    row(0x3b0, 0x3df, Chip::Vga, 0),
    row(0x3f0, 0x3f5, Chip::Floppy, 0),
    row(0x3f6, 0x3f6, Chip::Ide, Piix3Ide::PRIMARY_CONTROL),
    row(0x3f7, 0x3f7, Chip::Floppy, I82077::DIR),
    row(COM1, COM1 + 7, Chip::Com1, Uart16550::RBR_THR),
    row(0x402, 0x402, Chip::DebugConsole, DebugConsole::DATA),
    row(ELCR, ELCR + 1, Chip::Pic, I8259::ELCR_MASTER),
    row(0x510, 0x511, Chip::FwCfg, FwCfg::SELECTOR),
    row(0x514, 0x51b, Chip::FwCfg, FwCfg::DMA),
    row(RESET_CONTROL, RESET_CONTROL, Chip::ResetControl, ResetControl::CONTROL),
    row(0xcfc, 0xcff, Chip::Pci, PciBus::CONFIG_DATA),
    row(GPE0, GPE0 + 3, Chip::Pm, AcpiPm::GPE0),
];

/// Port space of the test device. Where it is, it hides the debug console.
pub const TEST_PORTS: &[PortRow] = &[
    row(0x0e0, 0x0eb, Chip::TestDevice, PcTestdev::DATA),
    row(0x2000, 0x2017, Chip::TestDevice, PcTestdev::LINE_0),
];

/// Edge/level control of the 8259s.
pub const ELCR: u16 = 0x4d0;

// Wires

/// Output pins of chips.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[expect(missing_docs, reason = "named after the pin")]
pub enum Wire {
    PicInt,
    PitOut0,
    RtcIrq,
    Com1Irq,
    KeyboardIrq,
    MouseIrq,
    Sci,
    HpetIrq0,
    HpetIrq8,
    HpetPin20,
    HpetPin21,
    HpetPin22,
    HpetPin23,
    A20Port92,
    A20Keyboard,
    IdePrimary,
    IdeSecondary,
    FloppyIrq,
    FloppyDreq,
    Test0,
    Test1,
    Test3,
    Test4,
    Test5,
    Test6,
    Test7,
    Test8,
    Test9,
    Test10,
    Test11,
    Test12,
    Test13,
    Test14,
    Test15,
    Test16,
    Test17,
    Test18,
    Test19,
    Test20,
    Test21,
    Test22,
    Test23,
}

impl Wire {
    /// How many there are.
    pub const COUNT: usize = 42;
    /// All that a board can have: behind these are the four interrupt pins of each PCI device.
    pub const ALL: usize = Self::COUNT + 4 * 32;
    /// The number of the wire at interrupt pin `pin` (0 is INTA#) of a PCI device.
    #[must_use]
    pub const fn intx(device: u8, pin: u8) -> u32 {
        Self::COUNT as u32 + device as u32 * 4 + pin as u32
    }
    /// On which of the four lines to the ISA bridge PCI's wire `wire` is, counted from the first
    /// of PCI's: one further for each device, INTA# of device 1 on the first.
    #[must_use]
    pub const fn pirq(wire: usize) -> usize {
        (wire / 4 + wire + PIRQ_TURN as usize) % 4
    }
    /// The test device's interrupt lines; there is no IRQ 2.
    const TEST: [Option<Self>; 24] = [
        Some(Self::Test0),
        Some(Self::Test1),
        None,
        Some(Self::Test3),
        Some(Self::Test4),
        Some(Self::Test5),
        Some(Self::Test6),
        Some(Self::Test7),
        Some(Self::Test8),
        Some(Self::Test9),
        Some(Self::Test10),
        Some(Self::Test11),
        Some(Self::Test12),
        Some(Self::Test13),
        Some(Self::Test14),
        Some(Self::Test15),
        Some(Self::Test16),
        Some(Self::Test17),
        Some(Self::Test18),
        Some(Self::Test19),
        Some(Self::Test20),
        Some(Self::Test21),
        Some(Self::Test22),
        Some(Self::Test23),
    ];
}

/// An ISA interrupt: the same number at the 8259s and at the I/O APIC.
macro_rules! irq {
    ($n:literal, $($from:ident),+) => {
        Net {
            from: &[$(Wire::$from),+],
            unless_hpet: &[],
            irq: Some($n),
            to: &[Sink::Pin(Chip::Pic, $n), Sink::Pin(Chip::IoApic, $n)],
        }
    };
}

/// An interrupt that only the I/O APIC has.
macro_rules! pin {
    ($n:literal, $($from:ident),+) => {
        Net {
            from: &[$(Wire::$from),+],
            unless_hpet: &[],
            irq: None,
            to: &[Sink::Pin(Chip::IoApic, $n)],
        }
    };
}

/// The wiring. The timer, IRQ 0, is at pin 2 of the I/O APIC.
pub const NETS: &[Net] = &[
    Net { from: &[Wire::PicInt], unless_hpet: &[], irq: None, to: &[Sink::Lint0] },
    Net {
        from: &[Wire::HpetIrq0, Wire::Test0],
        unless_hpet: &[Wire::PitOut0],
        irq: None,
        to: &[Sink::Pin(Chip::Pic, 0), Sink::Pin(Chip::IoApic, 2)],
    },
    irq!(1, KeyboardIrq, Test1),
    irq!(3, Test3),
    irq!(4, Com1Irq, Test4),
    irq!(5, Test5),
    irq!(6, FloppyIrq, Test6),
    irq!(7, Test7),
    Net {
        from: &[Wire::HpetIrq8, Wire::Test8],
        unless_hpet: &[Wire::RtcIrq],
        irq: None,
        to: &[Sink::Pin(Chip::Pic, 8), Sink::Pin(Chip::IoApic, 8)],
    },
    irq!(9, Sci, Test9),
    irq!(10, Test10),
    irq!(11, Test11),
    irq!(12, MouseIrq, Test12),
    irq!(13, Test13),
    irq!(14, IdePrimary, Test14),
    irq!(15, IdeSecondary, Test15),
    pin!(16, Test16),
    pin!(17, Test17),
    pin!(18, Test18),
    pin!(19, Test19),
    pin!(20, HpetPin20, Test20),
    pin!(21, HpetPin21, Test21),
    pin!(22, HpetPin22, Test22),
    pin!(23, HpetPin23, Test23),
    Net {
        from: &[Wire::RtcIrq],
        unless_hpet: &[],
        irq: None,
        to: &[Sink::Pin(Chip::Pm, AcpiPm::PIN_RTC)],
    },
    Net {
        from: &[Wire::FloppyDreq],
        unless_hpet: &[],
        irq: None,
        to: &[Sink::Pin(Chip::Dma, FLOPPY_CHANNEL as u16)],
    },
    Net {
        from: &[Wire::A20Port92, Wire::A20Keyboard],
        unless_hpet: &[],
        irq: None,
        to: &[Sink::A20],
    },
];

/// The DMA channel of the floppy controller.
pub const FLOPPY_CHANNEL: u8 = 2;

/// ISA interrupts that are level-triggered, as the firmware leaves them in ELCR and tells ACPI:
/// the SCI and PCI's.
pub const LEVEL_IRQS: &[u8] = &[SCI_IRQ, PCI_IRQS[0], PCI_IRQS[1]];
/// ACPI's interrupt.
pub const SCI_IRQ: u8 = 9;
const PCI_IRQS: [u8; 2] = [10, 11];
/// Where firmware has the ISA bridge lead PCI's four lines.
const PIRQ_IRQS: [u8; 4] = [PCI_IRQS[0], PCI_IRQS[0], PCI_IRQS[1], PCI_IRQS[1]];
/// Device 0's INTA# is on this one of PCI's four lines.
const PIRQ_TURN: u8 = 3;
/// The first serial port's interrupt.
pub const COM1_IRQ: u8 = 4;

// Clocks

/// What the local APICs' timers count, over their divide configuration: a tick is a nanosecond.
pub const APIC_BUS_HZ: u64 = 1_000_000_000;
/// The PM timer is 32 bits wide.
pub const PM_TIMER_WIDE: bool = true;

/// What a board is built with.
pub struct Parts {
    /// Which board.
    pub board: BoardKind,
    /// How many vCPUs.
    pub cpus: u32,
    /// What the clock shows at power-on, in seconds of Unix time.
    pub unix_seconds: i64,
    /// What hears the serial port.
    pub com1: Box<dyn SerialPeer>,
    /// What hears port E9h.
    pub debug_console: Box<dyn SerialPeer>,
    /// How much waits for whoever hears the guest.
    pub backlogs: Vec<Arc<AtomicUsize>>,
    /// The port of isa-debug-exit, if there is one.
    pub debug_exit: Option<u16>,
    /// A port besides 80h that takes POST codes.
    pub post_port: Option<u16>,
    /// What memory there is.
    pub memory: Memory,
    /// Is there the test device of kvm-unit-tests?
    pub test_device: bool,
    /// What is in the flash memory, if there is one.
    pub flash: Option<Box<dyn FlashCells>>,
    /// The display adapter's memory.
    pub video: Box<dyn VideoMemory>,
    /// The display adapter's expansion ROM; none if it is empty.
    pub vga_rom: Vec<u8>,
    /// The file that tells a firmware the boot order, if there is one.
    pub boot_order: Option<Vec<u8>>,
    /// The disks in the floppy drives; without one, there is no such drive.
    pub floppies: [Option<Box<dyn Disk>>; 2],
    /// What is on the IDE controller's two cables.
    pub drives: [[Option<AtaDrive>; 2]; 2],
    /// What is in the slots, from the first one on.
    pub cards: Vec<Card>,
}

/// Makes a PCI function.
pub type PciCard = Box<dyn FnOnce(&Backplane, Line) -> Box<dyn PciFunction> + Send>;

/// Makes a card.
pub enum Card {
    /// For a PCI slot: its interrupt messages go to the backplane, its INTA# to the line.
    Pci(PciCard),
    /// A virtio device with a window of its own, that interrupts on the line.
    Virtio(Box<dyn FnOnce(Line) -> Box<dyn Device> + Send>),
}

/// The chips on their sockets.
#[expect(missing_docs, reason = "named after the chips")]
pub struct Chips {
    pub pic: I8259,
    pub pit: I8254,
    pub rtc: Mc146818,
    pub apics: LocalApics,
    pub ioapic: IoApic,
    pub hpet: Hpet,
    pub com1: Uart16550,
    pub keyboard: I8042,
    pub pci: PciBus,
    pub dma: I8237,
    pub floppy: I82077,
    floppy_types: [u8; 2],
    pub flash: Option<CfiFlash>,
    pub port92: Port92,
    pub reset_control: ResetControl,
    pub post_code: PostCode,
    pub debug_console: DebugConsole,
    pub debug_exit: Option<DebugExit>,
    pub fw_cfg: FwCfg,
    pub test_device: Option<PcTestdev>,
}

impl Chips {
    /// The chips after power-on, wired to `backplane`.
    #[must_use]
    pub fn new(parts: Parts, backplane: &Backplane) -> Self {
        let line = |wire: Wire| backplane.line(wire as u32);
        let test_line = |wire: Option<Wire>| wire.map_or_else(Line::unconnected, line);
        let mut routes: [Option<Line>; 32] = std::array::from_fn(|_| None);
        routes[20] = Some(line(Wire::HpetPin20));
        routes[21] = Some(line(Wire::HpetPin21));
        routes[22] = Some(line(Wire::HpetPin22));
        routes[23] = Some(line(Wire::HpetPin23));
        let floppy_types = parts.floppies.each_ref().map(|disk| floppy_type(disk.as_deref()));
        let mut pci = PciBus::new();
        pci.add(HOST_BRIDGE, Box::new(I440fx::new()));
        pci.add(ISA_BRIDGE, Box::new(Piix3Isa::new()));
        let irqs = [line(Wire::IdePrimary), line(Wire::IdeSecondary)];
        pci.add(IDE, Box::new(Piix3Ide::new(irqs, parts.drives)));
        let acpi = AcpiPm::new(line(Wire::Sci), backplane.clone(), PM_TIMER_WIDE);
        pci.add(PM, Box::new(Piix4Pm::new(acpi)));
        pci.add(VGA, Box::new(Vga::new(parts.video, &parts.vga_rom, MONITOR)));
        for (n, card) in (0..CARDS).zip(parts.cards) {
            let slot = Chip::slot_of_card(n);
            if let Card::Pci(card) = card {
                pci.add(slot, card(backplane, backplane.line(Wire::intx(slot.device(), 0))));
            }
        }
        Self {
            pic: I8259::new(line(Wire::PicInt)),
            pit: I8254::new(line(Wire::PitOut0)),
            rtc: Mc146818::new(line(Wire::RtcIrq), parts.unix_seconds),
            apics: LocalApics::new(backplane.clone(), parts.cpus, APIC_BUS_HZ),
            ioapic: IoApic::new(backplane.clone()),
            hpet: Hpet::new(routes, [line(Wire::HpetIrq0), line(Wire::HpetIrq8)]),
            com1: Uart16550::new("com1", line(Wire::Com1Irq), parts.com1),
            keyboard: I8042::new(
                line(Wire::KeyboardIrq),
                line(Wire::MouseIrq),
                line(Wire::A20Keyboard),
                backplane.clone(),
            ),
            pci,
            dma: I8237::new(),
            floppy: I82077::new(
                line(Wire::FloppyIrq),
                line(Wire::FloppyDreq),
                parts.floppies,
                FLOPPY_PACE,
            ),
            floppy_types,
            flash: parts.flash.map(|cells| CfiFlash::new(cells, FLASH_BLOCK)),
            port92: Port92::new(line(Wire::A20Port92), backplane.clone()),
            reset_control: ResetControl::new(backplane.clone()),
            post_code: PostCode::new(),
            debug_console: DebugConsole::new(parts.debug_console),
            debug_exit: parts.debug_exit.map(|_| DebugExit::new(backplane.clone())),
            fw_cfg: fw_cfg(parts.memory.dram(), parts.cpus, parts.boot_order),
            test_device: parts.test_device.then(|| PcTestdev::new(Wire::TEST.map(test_line))),
        }
    }

    /// The chip called `chip`; `None` where this board has none.
    pub fn device(&mut self, chip: Chip) -> Option<&mut dyn Device> {
        Some(match chip {
            Chip::Pic => &mut self.pic,
            Chip::Pit => &mut self.pit,
            Chip::Rtc => &mut self.rtc,
            Chip::LocalApics => &mut self.apics,
            Chip::IoApic => &mut self.ioapic,
            Chip::Hpet => &mut self.hpet,
            Chip::Com1 => &mut self.com1,
            Chip::Keyboard => &mut self.keyboard,
            Chip::Pm => self.pci.function_mut(PM)?,
            Chip::Pci => &mut self.pci,
            Chip::HostBridge => self.pci.function_mut(HOST_BRIDGE)?,
            Chip::IsaBridge => self.pci.function_mut(ISA_BRIDGE)?,
            Chip::Ide => self.pci.function_mut(IDE)?,
            Chip::Vga => self.pci.function_mut(VGA)?,
            Chip::Card(n) => self.pci.function_mut(Slot::new(FIRST_CARD + n, 0)?)?,
            Chip::Dma => &mut self.dma,
            Chip::Floppy => &mut self.floppy,
            Chip::Flash => return self.flash.as_mut().map(|chip| chip as &mut dyn Device),
            Chip::Port92 => &mut self.port92,
            Chip::ResetControl => &mut self.reset_control,
            Chip::PostCode => &mut self.post_code,
            Chip::DebugConsole => &mut self.debug_console,
            Chip::DebugExit => return self.debug_exit.as_mut().map(|chip| chip as &mut dyn Device),
            Chip::FwCfg => &mut self.fw_cfg,
            Chip::TestDevice => {
                return self.test_device.as_mut().map(|chip| chip as &mut dyn Device);
            }
        })
    }

    /// What the host bridge, the display adapter and flash memory make of the memory map.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        let frame_buffer = self.pci.function(VGA).and_then(|vga| vga.config().mapped(0));
        Some(Shown {
            low: I440fx::low_memory(self.pci.function(HOST_BRIDGE)?.config()),
            frame_buffer: frame_buffer.map(|(_, at, _)| Gpa(at)),
            flash: self.flash.as_ref().is_some_and(CfiFlash::shows_array),
        })
    }

    /// ACPI's fixed hardware.
    pub fn acpi_mut(&mut self) -> Option<&mut AcpiPm> {
        Some(self.function_mut::<Piix4Pm>(PM)?.acpi_mut())
    }

    /// The first of the ports of power management; while they are nowhere, where our BIOS has them.
    #[must_use]
    pub fn power_ports(&self) -> u16 {
        let function = self.pci.function(PM);
        let mapped = function.and_then(|pm| pm.config().mapped(Piix4Pm::POWER.into()));
        mapped.map_or(PM_PORTS, |(_, at, _)| at as u16)
    }

    /// The function at `slot`, if it is an `F`.
    fn function_mut<F: PciFunction>(&mut self, slot: Slot) -> Option<&mut F> {
        let function: &mut dyn Any = self.pci.function_mut(slot)?;
        function.downcast_mut()
    }

    /// To which IRQ each of PCI's four lines leads.
    #[must_use]
    pub fn pirq_routes(&self) -> [Option<u8>; 4] {
        let bridge = self.pci.function(ISA_BRIDGE);
        std::array::from_fn(|n| Piix3Isa::pirq_route(bridge?.config(), n as u8))
    }

    /// What a firmware does to the chips before it starts a guest: virtual wire mode (MP
    /// specification, section 3.6.2.2), the interrupt controllers and the timer as every BIOS
    /// leaves them, level-triggered interrupts, memory for the tables at E0000h, and the sizes in CMOS.
    pub fn firmware_setup(&mut self, cx: &mut Cx<'_>, memory: u64) {
        self.apics.virtual_wire(cx, 0);
        let levels = LEVEL_IRQS.iter().fold(0_u16, |mask, irq| mask | 1 << irq).to_le_bytes();
        if let Some(ports) = self.pic.as_ports() {
            // The interrupts at vectors 8 and 70h (Intel 8259A datasheet, initialization), the
            // timer's alone let through.
            for (chip, vectors, wiring, mask) in
                [(I8259::MASTER_COMMAND, 0x08, 1 << 2, 0xfa), (I8259::SLAVE_COMMAND, 0x70, 2, 0xff)]
            {
                ports.port_out(cx, chip, &[0x11]);
                for word in [vectors, wiring, 0x01, mask] {
                    ports.port_out(cx, chip + 1, &[word]);
                }
            }
            ports.port_out(cx, I8259::ELCR_MASTER, &levels[..1]);
            ports.port_out(cx, I8259::ELCR_SLAVE, &levels[1..]);
        }
        if let Some(bridge) = self.pci.function_mut(HOST_BRIDGE) {
            // A BIOS would make the area read-only in the end, but there is none to write to it then.
            let dram = I440fx::PAM_DRAM;
            bridge.config_mut().write(I440fx::PAM, &[dram]);
            bridge.config_mut().write(I440fx::PAM + 5, &[dram, dram]);
        }
        if let Some(bridge) = self.pci.function_mut(ISA_BRIDGE) {
            bridge.config_mut().write(Piix3Isa::PIRQ_ROUTE, &PIRQ_IRQS);
        }
        let irq = |slot: Slot, pin: u8| {
            let pirq = Wire::pirq(usize::from(slot.device()) * 4 + usize::from(pin));
            Some(PIRQ_IRQS[pirq])
        };
        let mut ports = Room { next: 0xc000, end: 0x1_0000 };
        let mut window = Room { next: LOW_RAM_MAX, end: IOAPIC_AT.0 };
        set_up(&mut self.pci, cx, &mut ports, &mut window, irq);
        if let Some(ide) = self.pci.function_mut(IDE) {
            Piix3Ide::enable(ide.config_mut());
        }
        if let Some(pm) = self.pci.function_mut(PM) {
            Piix4Pm::set_up(pm.config_mut(), PM_PORTS, SMBUS_PORTS);
        }
        if let Some(vga) = self.function_mut(VGA) {
            set_text_mode(vga, cx);
        }
        if let Some(ports) = self.pit.as_ports() {
            // Counter 0, mode 3, 65536: 18.2 Hz.
            ports.port_out(cx, I8254::CONTROL, &[0x36]);
            ports.port_out(cx, I8254::COUNTER_0, &[0]);
            ports.port_out(cx, I8254::COUNTER_0, &[0]);
        }
        self.strap(memory);
    }

    /// What the board itself tells a firmware: the sizes of memory and the floppy drives, in CMOS. And
    /// what OVMF, which runs on emulators alone, does not do: turn on the IDE controller's channels.
    pub fn strap(&mut self, memory: u64) {
        if let Some(ide) = self.pci.function_mut(IDE) {
            Piix3Ide::turn_on(ide.config_mut());
        }
        let (low, high) = split_memory(memory);
        self.rtc.set_memory_sizes(low, high);
        self.rtc.set_floppy_types(self.floppy_types);
    }
}

/// Bytes of a block of flash memory, as OVMF is built for.
const FLASH_BLOCK: usize = 4096;
/// Floppy drives are so many times as fast as real ones, of which reading a disk takes 36 seconds.
const FLOPPY_PACE: u64 = 20;

/// What CMOS calls the drive that a disk of this size belongs into; 0 if there is none.
fn floppy_type(disk: Option<&dyn Disk>) -> u8 {
    match disk.map(|disk| disk.len() >> 10) {
        None => 0,
        Some(..=360) => 1,
        Some(1200) => 2,
        Some(..=1722) => 4,
        Some(_) => 5,
    }
}

/// What a firmware asks about the board.
fn fw_cfg(memory: u64, cpus: u32, boot_order: Option<Vec<u8>>) -> FwCfg {
    let cpus = (cpus as u16).to_le_bytes();
    let mut device = FwCfg::new();
    device.set(FwCfg::RAM_SIZE, memory.to_le_bytes().to_vec());
    device.set(FwCfg::NO_GRAPHICS, 0_u16.to_le_bytes().to_vec());
    device.set(FwCfg::CPUS, cpus.to_vec());
    device.set(FwCfg::CPUS_MAX, cpus.to_vec());
    device.set_file("etc/e820", ram_ranges(memory));
    if let Some(order) = boot_order {
        device.set_file("bootorder", order);
    }
    device
}

/// Where RAM is, as SeaBIOS wants it: start, bytes and type (1 is RAM) of each range.
fn ram_ranges(memory: u64) -> Vec<u8> {
    let (low, high) = split_memory(memory);
    let ranges = [(0, low), (HIGH_RAM_AT.0, high)];
    let row = |(start, len): (u64, u64)| {
        let numbers = [start.to_le_bytes(), len.to_le_bytes()].concat();
        [numbers, 1_u32.to_le_bytes().to_vec()].concat()
    };
    ranges.into_iter().filter(|(_, len)| *len > 0).flat_map(row).collect()
}

/// The device number of the first slot for cards.
const FIRST_CARD: u8 = 3;
/// How many there are.
pub const CARDS: u8 = 29;
/// Where the 440FX sits.
const HOST_BRIDGE: Slot = Slot::at(0, 0);
/// Where the PIIX3 sits.
const ISA_BRIDGE: Slot = Slot::at(1, 0);
/// Where its IDE controller sits.
const IDE: Slot = Slot::at(1, 1);
/// Where the power management of a PIIX4 sits, which firmware looks for beside a PIIX3.
const PM: Slot = Slot::at(1, 3);
/// Where the display adapter sits.
const VGA: Slot = Slot::at(2, 0);
/// What its monitor likes best: dots and lines.
const MONITOR: (u16, u16) = (1280, 800);

#[cfg(test)]
mod tests;
