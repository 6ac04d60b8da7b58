//! MSI-X: the capability with ID 11h, and its table in a BAR (PCI 3.0, section 6.8.2).

use serde::{Deserialize, Serialize};

use super::{Bar, ConfigSpace};
use crate::{Backplane, Signal, msi_message};

/// The capability's ID.
const ID: u8 = 0x11;
/// The message control register, from the start of the capability.
const CONTROL: usize = 0x02;
/// Control: messages instead of INTx#.
const ENABLE: u16 = 1 << 15;
/// Control: all vectors are masked.
const FUNCTION_MASK: u16 = 1 << 14;
/// Vector control: the vector is masked.
const MASK: u32 = 1 << 0;
/// Bytes of an entry of the table: address, upper address, data, vector control.
const ENTRY: u64 = 16;
/// Where the pending bits lie in the BAR, behind the table.
const PBA: u64 = 0x800;
/// Bytes of the BAR.
const REGION: u32 = 0x1000;

/// A vector: address, upper address, data and vector control.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Entry([u32; 4]);

impl Entry {
    const RESET: Self = Self([0, 0, 0, MASK]);
    /// Bits that the guest can change.
    const WRITABLE: [u32; 4] = [!3, u32::MAX, u32::MAX, MASK];

    fn is_masked(self) -> bool {
        self.0[3] & MASK != 0
    }
}

/// What there is of MSI-X outside of configuration space: a part of a function's own state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MsiXState {
    table: Vec<Entry>,
    /// A bit for each vector that waits to be unmasked.
    pending: Vec<u64>,
}

impl MsiXState {
    fn new(vectors: usize) -> Self {
        Self { table: vec![Entry::RESET; vectors], pending: vec![0; vectors.div_ceil(64)] }
    }

    fn is_pending(&self, vector: usize) -> bool {
        self.pending.get(vector / 64).is_some_and(|bits| bits >> (vector % 64) & 1 != 0)
    }

    fn set_pending(&mut self, vector: usize, is_pending: bool) {
        if let Some(bits) = self.pending.get_mut(vector / 64) {
            let bit = 1 << (vector % 64);
            *bits = if is_pending { *bits | bit } else { *bits & !bit };
        }
    }
}

/// MSI-X of a function, with a BAR for its table and its pending bits alone.
pub struct MsiX {
    backplane: Backplane,
    /// The BAR with the table.
    bar: u8,
    /// Where the capability lies in configuration space.
    offset: usize,
    state: MsiXState,
}

impl MsiX {
    /// The most vectors: as many as fit before the pending bits.
    pub const VECTORS_MAX: u16 = (PBA / ENTRY) as u16;

    /// Adds the capability with `vectors` vectors to `config`, and BAR `bar` with 4 KiB of memory.
    ///
    /// # Panics
    /// If these are none or more than [`MsiX::VECTORS_MAX`], or there is no room in `config`: the
    /// device is built wrongly.
    #[must_use]
    pub fn new(config: &mut ConfigSpace, backplane: Backplane, bar: u8, vectors: u16) -> Self {
        assert!((1..=Self::VECTORS_MAX).contains(&vectors), "{vectors} vectors");
        config.add_bar(usize::from(bar), Bar::Memory32 { size: REGION, prefetchable: false });
        let mut body = [0; 10];
        body[..2].copy_from_slice(&(vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&u32::from(bar).to_le_bytes());
        body[6..].copy_from_slice(&(PBA as u32 | u32::from(bar)).to_le_bytes());
        let writable = (ENABLE | FUNCTION_MASK).to_le_bytes();
        let offset = usize::from(config.add_capability(ID, &body, &writable));
        let state = MsiXState::new(usize::from(vectors));
        Self { backplane, bar, offset, state }
    }

    /// The BAR whose region [`MsiX::read`] and [`MsiX::write`] are for.
    #[must_use]
    pub fn bar(&self) -> u8 {
        self.bar
    }

    /// How many vectors there are.
    #[must_use]
    pub fn vectors(&self) -> u16 {
        self.state.table.len() as u16
    }

    /// Whether the function sends messages: it then keeps INTx# as it is without interrupts.
    #[must_use]
    pub fn is_enabled(&self, config: &ConfigSpace) -> bool {
        config.word(self.offset + CONTROL) & ENABLE != 0
    }

    /// Sends vector `vector`, or remembers it until the guest unmasks it. One that does not exist
    /// is sent to nobody, and without MSI-X so are all.
    pub fn signal(&mut self, config: &ConfigSpace, vector: u16) {
        let vector = usize::from(vector);
        if self.is_enabled(config) && vector < self.state.table.len() {
            self.state.set_pending(vector, true);
            self.send_pending(config, vector);
        }
    }

    /// To be called whenever the command register or the capability may have changed: sends what
    /// is not masked any more.
    pub fn config_written(&mut self, config: &ConfigSpace) {
        for vector in 0..self.state.table.len() {
            self.send_pending(config, vector);
        }
    }

    /// Sends vector `vector` if it waits and is not kept from it.
    fn send_pending(&mut self, config: &ConfigSpace, vector: usize) {
        let is_free = config.word(self.offset + CONTROL) & (ENABLE | FUNCTION_MASK) == ENABLE
            && config.is_bus_master();
        let entry = self.state.table[vector];
        if !is_free || entry.is_masked() || !self.state.is_pending(vector) {
            return;
        }
        self.state.set_pending(vector, false);
        let [low, high, data, _] = entry.0;
        if let Some(message) = msi_message(u64::from(high) << 32 | u64::from(low), data) {
            self.backplane.say(Signal::Message(message));
        }
    }

    /// The byte at `offset` of the region.
    fn byte(&self, offset: u64) -> u8 {
        let (entry, part) = ((offset / ENTRY) as usize, offset % ENTRY);
        if let Some(entry) = self.state.table.get(entry) {
            return entry.0[(part / 4) as usize].to_le_bytes()[(part % 4) as usize];
        }
        let word = offset.checked_sub(PBA).and_then(|at| self.state.pending.get(at as usize / 8));
        word.map_or(0, |bits| bits.to_le_bytes()[(offset % 8) as usize])
    }

    /// The guest reads the region.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = self.byte(at);
        }
    }

    /// The guest writes the region: doublewords and quadwords at their natural alignment
    /// (section 6.8.2.1). The pending bits are read-only.
    pub fn write(&mut self, config: &ConfigSpace, offset: u64, data: &[u8]) {
        if !matches!(data.len(), 4 | 8) || !offset.is_multiple_of(data.len() as u64) {
            return;
        }
        let vector = (offset / ENTRY) as usize;
        let Some(entry) = self.state.table.get_mut(vector) else { return };
        for (register, bytes) in ((offset % ENTRY / 4) as usize..).zip(data.chunks_exact(4)) {
            let writable = Entry::WRITABLE[register];
            let value = bytes.first_chunk().copied().map_or(0, u32::from_le_bytes);
            entry.0[register] = entry.0[register] & !writable | value & writable;
        }
        self.send_pending(config, vector);
    }

    /// RST#: all vectors are masked and none is pending.
    pub fn reset(&mut self) {
        self.state = MsiXState::new(self.state.table.len());
    }

    /// A copy of the state, to be saved.
    #[must_use]
    pub fn save(&self) -> MsiXState {
        self.state.clone()
    }

    /// Whether `state` can be this function's.
    #[must_use]
    pub fn is_possible(&self, state: &MsiXState) -> bool {
        let empty = MsiXState::new(self.state.table.len());
        let writable = Entry::WRITABLE;
        let is_entry = |entry: &Entry| entry.0.iter().zip(writable).all(|(v, w)| v & !w == 0);
        let last = match state.table.len() % 64 {
            0 => 0,
            used => u64::MAX << used,
        };
        state.table.len() == empty.table.len()
            && state.pending.len() == empty.pending.len()
            && state.table.iter().all(is_entry)
            && state.pending.last().is_none_or(|bits| bits & last == 0)
    }

    /// Replaces the state by one that [`MsiX::is_possible`].
    pub fn load(&mut self, state: MsiXState) {
        self.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Identity;

    const NONE: [u8; 0] = [];

    struct Rig {
        backplane: Backplane,
        config: ConfigSpace,
        msix: MsiX,
    }

    impl Rig {
        /// Three vectors; vector n is interrupt 40h + n. MSI-X is on.
        fn new() -> Self {
            let backplane = Backplane::default();
            let mut config = ConfigSpace::new(Identity::default());
            let msix = MsiX::new(&mut config, backplane.clone(), 1, 3);
            config.write(0x04, &[0x06]);
            config.write(0x43, &[0x80]);
            let mut rig = Self { backplane, config, msix };
            for vector in 0..3 {
                let address = 0xfee0_0003_u64;
                rig.msix.write(&rig.config, vector * 16, &address.to_le_bytes());
                rig.write(vector * 16 + 8, 0x40 + vector as u32);
                rig.write(vector * 16 + 12, 0);
            }
            rig
        }

        fn write(&mut self, offset: u64, value: u32) {
            self.msix.write(&self.config, offset, &value.to_le_bytes());
        }

        fn read(&self, offset: u64) -> u32 {
            let mut data = [0xff; 4];
            self.msix.read(offset, &mut data);
            u32::from_le_bytes(data)
        }

        fn control(&mut self, value: u8) {
            self.config.write(0x43, &[value]);
            self.msix.config_written(&self.config);
        }

        /// The vectors sent for these signals and before.
        fn signal(&mut self, vectors: &[u16]) -> Vec<u8> {
            vectors.iter().for_each(|vector| self.msix.signal(&self.config, *vector));
            self.sent()
        }

        fn sent(&mut self) -> Vec<u8> {
            let signals = std::iter::from_fn(|| self.backplane.take());
            signals
                .map(|signal| match signal {
                    Signal::Message(message) => message.vector,
                    other => panic!("{other:?} is no message"),
                })
                .collect()
        }
    }

    #[test]
    fn the_capability_says_where_table_and_pending_bits_are() {
        let rig = Rig::new();
        assert_eq!(rig.config.doubleword(0x40), 0x8002_0011);
        assert_eq!((rig.config.doubleword(0x44), rig.config.doubleword(0x48)), (1, 0x801));
        assert_eq!((rig.read(0x00), rig.read(0x18), rig.read(0x30)), (0xfee0_0000, 0x41, 0));
    }

    #[test]
    fn masked_vectors_wait() {
        let mut rig = Rig::new();
        assert_eq!(rig.signal(&[0, 2, 3, 0xffff]), [0x40, 0x42]);
        rig.write(0x1c, 0xffff_ffff);
        assert_eq!(rig.read(0x1c), 1);
        assert_eq!(rig.signal(&[1, 0, 1]), [0x40]);
        assert_eq!(rig.read(0x800), 2, "pending");
        rig.write(0x800, 0);
        rig.write(0x1c, 0);
        assert_eq!((rig.sent(), rig.read(0x800)), (vec![0x41], 0), "once");
        rig.control(0xc0);
        assert_eq!(rig.signal(&[0, 1]), NONE);
        rig.control(0x80);
        assert_eq!(rig.sent(), [0x40, 0x41]);
        rig.config.write(0x04, &[0x02]);
        assert_eq!(rig.signal(&[2]), NONE, "not a bus master");
        rig.config.write(0x04, &[0x06]);
        rig.control(0x80);
        assert_eq!(rig.sent(), [0x42]);
        rig.control(0x00);
        assert_eq!(rig.signal(&[0]), NONE);
        rig.control(0x80);
        assert_eq!(rig.sent(), NONE, "what came while it was off is lost");
    }

    #[test]
    fn only_whole_doublewords_are_written() {
        let mut rig = Rig::new();
        for (offset, len) in [(0x08, 1), (0x08, 2), (0x0a, 4), (0x04, 8), (0x08, 16)] {
            rig.msix.write(&rig.config, offset, &[0x55; 16][..len]);
        }
        assert_eq!([0, 4, 8, 12].map(|at| rig.read(at)), [0xfee0_0000, 0, 0x40, 0]);
        rig.msix.write(&rig.config, 0xff8, &[0x55; 8]);
        assert_eq!(rig.read(0xff8), 0);
    }

    #[test]
    fn a_state_is_one_that_could_have_come_about() {
        let mut rig = Rig::new();
        rig.write(0x1c, 1);
        rig.signal(&[1]);
        let state = rig.msix.save();
        rig.msix.reset();
        assert_eq!((rig.read(0x1c), rig.read(0x800)), (1, 0));
        assert!(rig.msix.is_possible(&state));
        let damage: [fn(&mut MsiXState); 4] = [
            |s| s.table[0].0[3] = 2,
            |s| s.pending[0] = 8,
            |s| s.table.truncate(2),
            |s| s.pending.push(0),
        ];
        for f in damage {
            let mut bad = state.clone();
            f(&mut bad);
            assert!(!rig.msix.is_possible(&bad), "{bad:?}");
        }
        rig.msix.load(state);
        rig.write(0x1c, 0);
        assert_eq!(rig.sent(), [0x41]);
    }
}
