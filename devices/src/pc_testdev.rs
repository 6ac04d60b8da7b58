//! The test device of kvm-unit-tests: a register to practise on, interrupt lines to pull, and a
//! window of memory that is not RAM.
//!
//! Source: kvm-unit-tests' `lib/x86` and `x86/ioram.h`, which drive it as QEMU's `pc-testdev`.

use serde::{Deserialize, Serialize};

use crate::{Cx, Device, Line, LoadError, Mmio, Ports, Saved};

/// Bytes of its window.
pub const WINDOW: usize = 0x1_0000;
/// Interrupt lines.
const LINES: usize = 24;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct State {
    /// The register.
    data: u32,
    /// The levels of the interrupt lines, by bit.
    lines: u32,
    /// The window.
    memory: Vec<u8>,
}

impl State {
    fn new() -> Self {
        Self { data: 0, lines: 0, memory: vec![0; WINDOW] }
    }
}

/// The test device.
pub struct PcTestdev {
    lines: [Line; LINES],
    state: State,
}

impl PcTestdev {
    /// Register: 32 bits to practise on, in any width.
    pub const DATA: u16 = 0;
    /// Register: an address whose page a hypervisor is to unmap; nothing a guest can see.
    pub const FLUSH_PAGE: u16 = 4;
    /// Register: the first one once more, for accesses of a byte.
    pub const DATA_BYTES: u16 = 8;
    /// Register: the level of interrupt line 0; the others follow.
    pub const LINE_0: u16 = 0x100;

    /// A device that pulls `lines`.
    #[must_use]
    pub fn new(lines: [Line; LINES]) -> Self {
        Self { lines, state: State::new() }
    }

    fn drive(&mut self) {
        for (n, line) in self.lines.iter_mut().enumerate() {
            line.set(self.state.lines >> n & 1 != 0);
        }
    }

    /// The register's place for `reg`, in bytes.
    fn place(reg: u16) -> Option<usize> {
        match reg {
            Self::DATA..Self::FLUSH_PAGE => Some(usize::from(reg)),
            Self::DATA_BYTES..0xc => Some(usize::from(reg - Self::DATA_BYTES)),
            _ => None,
        }
    }
}

impl Device for PcTestdev {
    fn name(&self) -> &'static str {
        "pc-testdev"
    }

    fn reset(&mut self, _cx: &mut Cx<'_>) {
        self.state = State::new();
        self.drive();
    }

    fn save(&self) -> Saved {
        Saved::pack(self.name(), &self.state)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), LoadError> {
        let state: State = saved.unpack(self.name())?;
        if state.memory.len() != WINDOW || state.lines >> LINES != 0 {
            let reason = format!("not {WINDOW} bytes of memory and {LINES} lines");
            return Err(LoadError::Damaged { device: self.name(), reason });
        }
        self.state = state;
        for (n, line) in self.lines.iter_mut().enumerate() {
            line.restore(self.state.lines >> n & 1 != 0);
        }
        Ok(())
    }

    fn as_ports(&mut self) -> Option<&mut dyn Ports> {
        Some(self)
    }

    fn as_mmio(&mut self) -> Option<&mut dyn Mmio> {
        Some(self)
    }
}

impl Ports for PcTestdev {
    fn port_in(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &mut [u8]) {
        let bytes = self.state.data.to_le_bytes();
        let place = Self::place(reg);
        for (n, byte) in data.iter_mut().enumerate() {
            *byte = place.and_then(|at| bytes.get(at + n)).copied().unwrap_or(0);
        }
    }

    fn port_out(&mut self, _cx: &mut Cx<'_>, reg: u16, data: &[u8]) {
        if let Some(place) = Self::place(reg) {
            let mut bytes = self.state.data.to_le_bytes();
            for (byte, new) in bytes.iter_mut().skip(place).zip(data) {
                *byte = *new;
            }
            self.state.data = u32::from_le_bytes(bytes);
        } else if let (Some(n), [level, ..]) = (reg.checked_sub(Self::LINE_0), data)
            && usize::from(n) < LINES
        {
            let bit = 1 << n;
            self.state.lines = self.state.lines & !bit | if *level != 0 { bit } else { 0 };
            self.drive();
        }
    }
}

impl Mmio for PcTestdev {
    fn mmio_read(&mut self, _cx: &mut Cx<'_>, offset: u64, data: &mut [u8]) {
        let bytes = self.state.memory.iter().skip(offset as usize);
        for (byte, stored) in data.iter_mut().zip(bytes) {
            *byte = *stored;
        }
    }

    fn mmio_write(&mut self, _cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        let bytes = self.state.memory.iter_mut().skip(offset as usize);
        for (stored, byte) in bytes.zip(data) {
            *stored = *byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bench, Signal};

    #[test]
    fn the_register_takes_every_width() {
        let mut bench = Bench::new();
        let mut device = PcTestdev::new(std::array::from_fn(|_| Line::unconnected()));
        bench.with(|cx| device.port_out(cx, PcTestdev::DATA, &0x1234_5678_u32.to_le_bytes()));
        bench.port_out(&mut device, PcTestdev::DATA + 1, 0xaa);
        assert_eq!(bench.port_in::<4>(&mut device, PcTestdev::DATA), [0x78, 0xaa, 0x34, 0x12]);
        assert_eq!(bench.port_in::<2>(&mut device, PcTestdev::DATA + 2), [0x34, 0x12]);
        assert_eq!(bench.port_in::<1>(&mut device, PcTestdev::DATA_BYTES + 1), [0xaa]);
        bench.port_out(&mut device, PcTestdev::DATA_BYTES + 3, 0xbb);
        assert_eq!(bench.port_in::<4>(&mut device, PcTestdev::DATA), [0x78, 0xaa, 0x34, 0xbb]);
    }

    #[test]
    fn lines_follow_their_registers() {
        let mut bench = Bench::new();
        let backplane = bench.backplane.clone();
        let mut device = PcTestdev::new(std::array::from_fn(|n| backplane.line(n as u32)));
        bench.port_out(&mut device, PcTestdev::LINE_0 + 14, 1);
        bench.port_out(&mut device, PcTestdev::LINE_0 + 14, 1);
        bench.port_out(&mut device, PcTestdev::LINE_0 + 24, 1);
        let saved = device.save();
        bench.port_out(&mut device, PcTestdev::LINE_0 + 14, 0);
        let level = |level| Signal::Level { wire: 14, level };
        assert_eq!(bench.said(), [level(true), level(false)]);
        device.load(&saved).unwrap();
        assert_eq!(bench.said(), []);
        bench.with(|cx| device.reset(cx));
        assert_eq!(bench.said(), [level(false)]);
    }

    #[test]
    fn its_window_keeps_what_is_stored() {
        let mut bench = Bench::new();
        let mut device = PcTestdev::new(std::array::from_fn(|_| Line::unconnected()));
        bench.with(|cx| device.mmio_write(cx, 0xfffe, &[1, 2]));
        let mut data = [0xff; 4];
        bench.with(|cx| device.mmio_read(cx, 0xfffc, &mut data));
        assert_eq!(data, [0, 0, 1, 2]);
    }
}
