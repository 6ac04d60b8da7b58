//! The 256 bytes of configuration space of a conventional PCI function.

use std::sync::Arc;

use super::Space;
use crate::{LoadError, Saved};

/// Bytes of configuration space.
const SIZE: usize = 256;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const HEADER_TYPE: usize = 0x0e;
const BAR_0: usize = 0x10;
const ROM: usize = 0x30;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
/// The first byte that the standard header does not use.
const FREE: usize = 0x40;

/// Command: ports are decoded.
const COMMAND_IO: u16 = 1 << 0;
/// Command: memory is decoded.
const COMMAND_MEMORY: u16 = 1 << 1;
/// Command: I/O, memory, bus master, parity response, SERR#, interrupt disable.
const COMMAND_WRITABLE: u16 = 0x0547;
/// Command: the function may not assert INTx#.
const COMMAND_INTX_DISABLE: u16 = 1 << 10;
/// Status: the function has an interrupt to signal.
const STATUS_INTERRUPT: u16 = 1 << 3;
/// Status: there is a capabilities list.
const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Status: the error bits, which a 1 clears.
const STATUS_W1C: u16 = 0xf900;
const MULTI_FUNCTION: u8 = 1 << 7;
const BAR_IO: u32 = 1 << 0;
const BAR_64: u32 = 1 << 2;
const BAR_PREFETCHABLE: u32 = 1 << 3;
/// Expansion ROM: its window is open.
const ROM_ENABLE: u32 = 1 << 0;
/// Expansion ROM: the bits that can be an address.
const ROM_ADDRESS: u32 = 0xffff_f800;
/// The least bytes of its region.
const ROM_MIN: usize = 2048;

/// Who a function says it is (PCI 3.0, section 6.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// The vendor, as the PCI SIG numbers it.
    pub vendor: u16,
    /// The device, as the vendor numbers it.
    pub device: u16,
    /// The revision.
    pub revision: u8,
    /// Base class, subclass and programming interface: bits 23-16, 15-8, 7-0.
    pub class: u32,
    /// The subsystem's vendor; 0 if it has none.
    pub subsystem_vendor: u16,
    /// The subsystem.
    pub subsystem: u16,
}

/// What a base address register maps. Sizes are powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bar {
    /// Ports: 4 to 256 of them.
    Io {
        /// How many.
        size: u32,
    },
    /// Memory below 4 GiB, 16 bytes at least.
    Memory32 {
        /// Bytes.
        size: u32,
        /// Reads have no side effects.
        prefetchable: bool,
    },
    /// Memory anywhere; takes this register and the next one.
    Memory64 {
        /// Bytes.
        size: u64,
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

/// Ports that a register outside the header maps, as functions of chipsets have them. Bit 0 of the
/// register reads 1, the bits that can be an address are written like a BAR's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortWindow {
    /// The register, 32 bits of which the lower 16 are used.
    pub register: u8,
    /// How many ports: a power of two, 4 at least.
    pub size: u16,
    /// Bits that all have to be set: offset of the byte, and which.
    pub switches: &'static [(u8, u8)],
}

/// Configuration space of header type 0: registers, and what a write to them can change.
#[derive(Clone, PartialEq, Debug)]
pub struct ConfigSpace {
    registers: Vec<u8>,
    /// The registers after RST#.
    initial: Vec<u8>,
    /// Bits that keep what is written.
    writable: Vec<u8>,
    /// Bits that a written 1 clears.
    clearable: Vec<u8>,
    bars: [Option<Bar>; 6],
    /// What is in the expansion ROM.
    rom: Option<Arc<[u8]>>,
    windows: Vec<PortWindow>,
    /// Where the next capability goes.
    free: usize,
    /// Where the offset of the next capability is to be written.
    link: usize,
}

impl ConfigSpace {
    /// The number by which the expansion ROM goes where BARs are numbered.
    pub const ROM: u8 = 6;
    /// The most bytes that an expansion ROM can have.
    pub const ROM_MAX: usize = 16 << 20;
    /// The number by which the first [`PortWindow`] goes there, and how many there can be.
    pub const WINDOWS: u8 = 7;
    /// See [`ConfigSpace::WINDOWS`].
    pub const WINDOWS_MAX: u8 = 2;

    /// A function without BARs, capabilities and interrupt pin.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let mut config = Self {
            registers: vec![0; SIZE],
            initial: vec![0; SIZE],
            writable: vec![0; SIZE],
            clearable: vec![0; SIZE],
            bars: [None; 6],
            rom: None,
            windows: Vec::new(),
            free: FREE,
            link: CAPABILITIES,
        };
        let [interface, subclass, class, _] = identity.class.to_le_bytes();
        config.set(0x00, &identity.vendor.to_le_bytes());
        config.set(0x02, &identity.device.to_le_bytes());
        config.set(0x08, &[identity.revision, interface, subclass, class]);
        config.set(0x2c, &identity.subsystem_vendor.to_le_bytes());
        config.set(0x2e, &identity.subsystem.to_le_bytes());
        config.set_writable(COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        config.clearable[STATUS..STATUS + 2].copy_from_slice(&STATUS_W1C.to_le_bytes());
        // Cache line size and latency timer are memory for the guest.
        config.set_writable(0x0c, &[0xff, 0xff]);
        config
    }

    /// Sets the power-on value of registers from `offset` on.
    ///
    /// # Panics
    /// If they leave configuration space: the device is built wrongly.
    pub fn set(&mut self, offset: usize, bytes: &[u8]) {
        let range = offset..offset + bytes.len();
        self.registers[range.clone()].copy_from_slice(bytes);
        self.initial[range].copy_from_slice(bytes);
    }

    /// Sets which bits of the registers from `offset` on keep what the guest writes.
    ///
    /// # Panics
    /// If they leave configuration space: the device is built wrongly.
    pub fn set_writable(&mut self, offset: usize, masks: &[u8]) {
        self.writable[offset..offset + masks.len()].copy_from_slice(masks);
    }

    /// Gives the function interrupt pin `pin` (1 is INTA#) and an interrupt line register.
    pub fn set_interrupt_pin(&mut self, pin: u8) {
        self.set(INTERRUPT_PIN, &[pin]);
        self.set_writable(INTERRUPT_LINE, &[0xff]);
    }

    /// Marks the device as one with more functions than 0.
    pub fn set_multi_function(&mut self) {
        self.registers[HEADER_TYPE] |= MULTI_FUNCTION;
        self.initial[HEADER_TYPE] |= MULTI_FUNCTION;
    }

    /// Makes base address register `index` map `bar`.
    ///
    /// # Panics
    /// If there is no such register, it is taken or the size is not possible: the device is built
    /// wrongly.
    pub fn add_bar(&mut self, index: usize, bar: Bar) {
        assert!(self.bars[index].is_none(), "BAR {index} is taken");
        let offset = BAR_0 + 4 * index;
        let (size, smallest, largest, kind) = match bar {
            Bar::Io { size } => (u64::from(size), 4, 256, BAR_IO),
            Bar::Memory32 { size, prefetchable } => {
                let kind = if prefetchable { BAR_PREFETCHABLE } else { 0 };
                (u64::from(size), 16, 1 << 31, kind)
            }
            Bar::Memory64 { size, prefetchable } => {
                assert!(self.bars[index + 1].is_none(), "BAR {index} needs the next one");
                (size, 16, 1 << 63, BAR_64 | if prefetchable { BAR_PREFETCHABLE } else { 0 })
            }
        };
        let is_possible = size.is_power_of_two() && (smallest..=largest).contains(&size);
        assert!(is_possible, "BAR {index} cannot map {size} bytes");
        let [low, high] = [!(size - 1) as u32, (!(size - 1) >> 32) as u32];
        self.set(offset, &kind.to_le_bytes());
        self.set_writable(offset, &low.to_le_bytes());
        if matches!(bar, Bar::Memory64 { .. }) {
            self.set_writable(offset + 4, &high.to_le_bytes());
        }
        self.bars[index] = Some(bar);
    }

    /// Gives the function an expansion ROM with `contents`, in a region that goes as BAR number
    /// [`ConfigSpace::ROM`]. The region is a power of two; what is left of it reads FFh. Its bus
    /// answers there, the function sees nothing of it.
    ///
    /// # Panics
    /// If it has one, or the contents are larger than [`ConfigSpace::ROM_MAX`]: the device is built
    /// wrongly.
    pub fn add_rom(&mut self, contents: &[u8]) {
        assert!(self.rom.is_none(), "the function has an expansion ROM");
        let len = contents.len();
        assert!(len <= Self::ROM_MAX, "an expansion ROM cannot have {len} bytes");
        let size = len.next_power_of_two().max(ROM_MIN);
        let mut rom = contents.to_vec();
        rom.resize(size, 0xff);
        self.set_writable(ROM, &(!(size as u32 - 1) | ROM_ENABLE).to_le_bytes());
        self.rom = Some(rom.into());
    }

    /// Reads the expansion ROM from `offset` on; beyond its end nothing is read.
    pub fn read_rom(&self, offset: u64, data: &mut [u8]) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.rom.as_deref().and_then(|rom| rom.get(start..)).unwrap_or_default();
        for (byte, rom) in data.iter_mut().zip(rest) {
            *byte = *rom;
        }
    }

    /// Bytes of the expansion ROM's region, if there is one.
    fn rom_size(&self) -> Option<u32> {
        Some(self.rom.as_ref()?.len() as u32)
    }

    /// Gives the function a [`PortWindow`]. Its switches are to be made writable by the caller.
    ///
    /// # Panics
    /// If there are too many, or the size is not possible: the device is built wrongly.
    pub fn add_window(&mut self, window: PortWindow) {
        let size = window.size;
        assert!(self.windows.len() < usize::from(Self::WINDOWS_MAX), "a window too many");
        assert!(size.is_power_of_two() && size >= 4, "a window cannot map {size} ports");
        self.set(window.register.into(), &[1]);
        self.set_writable(window.register.into(), &(!(size - 1)).to_le_bytes());
        self.windows.push(window);
    }

    /// Appends a capability: `body` follows its ID and link bytes, `writable` says which bits of
    /// the body keep what the guest writes (what is missing is read-only). Returns its offset.
    ///
    /// # Panics
    /// If configuration space is full: the device is built wrongly.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> u8 {
        let offset = self.free;
        self.set(offset, &[id, 0]);
        self.set(offset + 2, body);
        self.set_writable(offset + 2, writable);
        let link = self.link;
        self.set(link, &[offset as u8]);
        let status = self.word(STATUS) | STATUS_CAPABILITIES;
        self.set(STATUS, &status.to_le_bytes());
        self.link = offset + 1;
        self.free = (offset + 2 + body.len()).next_multiple_of(4);
        offset as u8
    }

    /// The next capability is to lie at `offset`, as it does in the chip.
    ///
    /// # Panics
    /// If something lies there, or it is no multiple of 4: the device is built wrongly.
    pub fn leave_gap(&mut self, offset: usize) {
        assert!(offset >= self.free && offset.is_multiple_of(4), "no capability at {offset:#x}");
        self.free = offset;
    }

    /// Reads registers from `offset` on; beyond the end nothing is read.
    pub fn read(&self, offset: u8, data: &mut [u8]) {
        for (byte, register) in data.iter_mut().zip(&self.registers[usize::from(offset)..]) {
            *byte = *register;
        }
    }

    /// The guest writes registers from `offset` on.
    pub fn write(&mut self, offset: u8, data: &[u8]) {
        for (at, value) in (usize::from(offset)..SIZE).zip(data) {
            let writable = self.writable[at];
            let register = &mut self.registers[at];
            *register = *register & !writable | value & writable;
            *register &= !(value & self.clearable[at]);
        }
    }

    /// A byte, as the guest would read it.
    #[must_use]
    pub fn byte(&self, offset: u8) -> u8 {
        self.registers[usize::from(offset)]
    }

    /// Sets registers from `offset` on to what the device has there now; beyond the end nothing is
    /// set. Such registers are to be writable, or a saved state would be refused.
    pub fn put(&mut self, offset: u8, bytes: &[u8]) {
        for (register, byte) in self.registers[usize::from(offset)..].iter_mut().zip(bytes) {
            *register = *byte;
        }
    }

    /// A word, as the guest would read it.
    ///
    /// # Panics
    /// If it leaves configuration space: the device is built wrongly.
    #[must_use]
    pub fn word(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.registers[offset], self.registers[offset + 1]])
    }

    /// A doubleword, as the guest would read it.
    ///
    /// # Panics
    /// If it leaves configuration space: the device is built wrongly.
    #[must_use]
    pub fn doubleword(&self, offset: usize) -> u32 {
        u32::from(self.word(offset)) | u32::from(self.word(offset + 2)) << 16
    }

    /// Sets bits of the status register that the device reports errors with.
    pub fn set_status(&mut self, bits: u16) {
        let status = self.word(STATUS) | bits & STATUS_W1C;
        self.registers[STATUS..STATUS + 2].copy_from_slice(&status.to_le_bytes());
    }

    /// Shows in the status register whether the function has an interrupt to signal.
    pub(super) fn set_interrupt_status(&mut self, pending: bool) {
        let others = self.word(STATUS) & !STATUS_INTERRUPT;
        let status = others | if pending { STATUS_INTERRUPT } else { 0 };
        self.registers[STATUS..STATUS + 2].copy_from_slice(&status.to_le_bytes());
    }

    /// Whether the guest lets the function master the bus.
    #[must_use]
    pub fn is_bus_master(&self) -> bool {
        self.word(COMMAND) & 1 << 2 != 0
    }

    /// Whether the guest keeps the function from asserting INTx#.
    #[must_use]
    pub fn is_interrupt_disabled(&self) -> bool {
        self.word(COMMAND) & COMMAND_INTX_DISABLE != 0
    }

    /// The window that goes by `index`.
    fn window(&self, index: usize) -> Option<&PortWindow> {
        self.windows.get(index.checked_sub(Self::WINDOWS.into())?)
    }

    /// What base address register `index` can map; `None` if there is no such register.
    #[must_use]
    pub fn bar(&self, index: usize) -> Option<Bar> {
        if let Some(window) = self.window(index) {
            return Some(Bar::Io { size: window.size.into() });
        }
        if index == usize::from(Self::ROM) {
            return self.rom_size().map(|size| Bar::Memory32 { size, prefetchable: false });
        }
        *self.bars.get(index)?
    }

    /// What base address register `index` maps, and where; `None` while it maps nothing (it does
    /// not exist, its space is off in the command register, or it was never set).
    #[must_use]
    pub fn mapped(&self, index: usize) -> Option<(Space, u64, u64)> {
        if index == usize::from(Self::ROM) {
            return self.mapped_rom();
        }
        if let Some(window) = self.window(index) {
            let at = u64::from(self.word(window.register.into()) & !(window.size - 1));
            let is_on = window.switches.iter().all(|(byte, bits)| self.byte(*byte) & bits == *bits);
            return (is_on && at != 0).then_some((Space::Io, at, window.size.into()));
        }
        let low = u64::from(self.doubleword(BAR_0 + 4 * index));
        let (space, base, size, enable) = match self.bar(index)? {
            Bar::Io { size } => (Space::Io, low & !3, u64::from(size), COMMAND_IO),
            Bar::Memory32 { size, .. } => {
                (Space::Memory, low & !15, u64::from(size), COMMAND_MEMORY)
            }
            Bar::Memory64 { size, .. } => {
                let high = u64::from(self.doubleword(BAR_0 + 4 * index + 4));
                (Space::Memory, high << 32 | low & !15, size, COMMAND_MEMORY)
            }
        };
        (self.word(COMMAND) & enable != 0 && base != 0).then_some((space, base, size))
    }

    /// The same for the expansion ROM, which has an enable bit of its own (section 6.2.5.2).
    fn mapped_rom(&self) -> Option<(Space, u64, u64)> {
        let register = self.doubleword(ROM);
        let base = u64::from(register & ROM_ADDRESS);
        let is_open = register & ROM_ENABLE != 0 && self.word(COMMAND) & COMMAND_MEMORY != 0;
        let size = self.rom_size().filter(|_| is_open && base != 0)?;
        Some((Space::Memory, base, u64::from(size)))
    }

    /// RST#: every register as at power-on.
    pub fn reset(&mut self) {
        self.registers.clone_from(&self.initial);
    }

    /// The state of the device called `name` that has no other than this.
    #[must_use]
    pub fn save(&self, name: &'static str) -> Saved {
        Saved::pack(name, &self.registers)
    }

    /// Replaces it.
    ///
    /// # Errors
    /// If it is another device's, or these cannot be its registers; nothing is changed then.
    pub fn load(&mut self, name: &'static str, saved: &Saved) -> Result<(), LoadError> {
        let registers: Vec<u8> = saved.unpack(name)?;
        let reason = || "these are not the registers of its configuration space".to_owned();
        let is_loaded = self.load_registers(&registers);
        is_loaded.then_some(()).ok_or_else(|| LoadError::Damaged { device: name, reason: reason() })
    }

    /// A copy of the registers, to be saved.
    #[must_use]
    pub fn registers(&self) -> Vec<u8> {
        self.registers.clone()
    }

    /// Replaces the registers; `false`, and nothing is changed, if these cannot be its registers:
    /// too many or few, or a difference in a bit that neither guest nor device can change.
    pub fn load_registers(&mut self, registers: &[u8]) -> bool {
        let may_differ = |at: usize| match at {
            STATUS => self.writable[at] | self.clearable[at] | STATUS_INTERRUPT as u8,
            _ => self.writable[at] | self.clearable[at],
        };
        let fits = registers.len() == SIZE
            && (0..SIZE).all(|at| (registers[at] ^ self.initial[at]) & !may_differ(at) == 0);
        if fits {
            self.registers.copy_from_slice(registers);
        }
        fits
    }
}
