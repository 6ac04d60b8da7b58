//! What of a board is in a snapshot.

use std::sync::atomic::Ordering;

use trine_devices::Saved;

use super::{Board, INPUT_MAX, State};
use crate::{
    pc::Chip,
    snapshot::{BoardSaved, SnapshotError},
};

impl Board {
    /// The chips' states, and the board's own.
    pub(crate) fn save(&self) -> BoardSaved {
        let mut state = self.lock();
        BoardSaved {
            now: self.clock.now(),
            devices: state.save_chips(),
            wires: state.wires.to_vec(),
            nets: state.nets.clone(),
            incoming: state.incoming.iter().copied().collect(),
            random: self.random.save(),
        }
    }

    /// Replaces them, while the machine stands.
    ///
    /// # Errors
    /// If they do not fit this board; it is then as it was.
    pub(crate) fn load(&self, saved: &BoardSaved) -> Result<(), SnapshotError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let wires = saved.wires.as_slice().try_into();
        let wires = wires.map_err(|_| SnapshotError::Build("number of wires"))?;
        if saved.nets.len() != state.nets.len() {
            return Err(SnapshotError::Build("number of nets"));
        }
        if saved.incoming.len() > INPUT_MAX {
            return Err(SnapshotError::Damaged("more serial input waits than can"));
        }
        let before = state.save_chips();
        if let Err(e) = state.load_chips(&saved.devices) {
            state.load_chips(&before)?;
            return Err(e);
        }
        (state.wires, state.nets) = (wires, saved.nets.clone());
        state.incoming = saved.incoming.iter().copied().collect();
        (state.last, state.touched) = (saved.now, u64::MAX);
        self.clock.set(saved.now);
        self.random.load(saved.random);
        state.follow_pci();
        self.follow_memory_map(state);
        self.note_due(state);
        self.awaited.store(0, Ordering::SeqCst);
        self.control.forget_guest();
        Ok(())
    }
}

impl State {
    /// The states of the chips that there are, in order.
    fn save_chips(&mut self) -> Vec<Saved> {
        let mut saved = Vec::new();
        for chip in Chip::all() {
            saved.extend(self.chips.device(chip).map(|device| device.save()));
        }
        saved
    }

    /// Replaces them. What fails may have replaced some.
    fn load_chips(&mut self, saved: &[Saved]) -> Result<(), SnapshotError> {
        let mut saved = saved.iter();
        for chip in Chip::all() {
            if let Some(device) = self.chips.device(chip) {
                device.load(saved.next().ok_or(SnapshotError::Build("set of chips"))?)?;
            }
        }
        saved.next().map_or(Ok(()), |_| Err(SnapshotError::Build("set of chips")))
    }
}
