//! What is in the PCI slots: a card for each disk of the configuration that wants one.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use trine_devices::{VirtioBlk, VirtioPci};

use crate::{
    Board, ClockKind,
    disk::{self, DiskOpenError, DiskSpec, Interface, Wake},
    pc::{Card, Chip},
};

/// Wakes chips of a board that is still to be built.
#[derive(Clone, Default)]
pub(crate) struct Doorbell(Arc<OnceLock<Weak<Board>>>);

impl Doorbell {
    /// The board is there.
    pub(crate) fn connect(&self, board: &Arc<Board>) {
        // There is only one.
        let _ = self.0.set(Arc::downgrade(board));
    }

    /// What wakes `chip`.
    fn of(&self, chip: Chip) -> Wake {
        let board = self.0.clone();
        Arc::new(move || {
            if let Some(board) = board.get().and_then(Weak::upgrade) {
                board.wake_chip(chip);
            }
        })
    }
}

/// The cards for `disks`, in the order of their slots.
///
/// # Errors
/// If an image cannot be opened.
pub(crate) fn cards(
    disks: &[DiskSpec],
    cpus: u32,
    clock: ClockKind,
    doorbell: &Doorbell,
) -> Result<Vec<Card>, DiskOpenError> {
    let mut cards: Vec<Card> = Vec::new();
    for spec in disks.iter().filter(|spec| spec.interface() == Interface::Virtio) {
        let slot = cards.len() as u8;
        let name = name("virtio-blk", slot);
        let disk = disk::open(spec, clock, doorbell.of(Chip::Card(slot)))?;
        let queues = cpus.clamp(1, QUEUES_MAX) as u16;
        cards.push(Box::new(move |backplane, intx| {
            let blk = VirtioBlk::new(Box::new(disk), queues);
            Box::new(VirtioPci::new(name, blk, intx, backplane.clone()))
        }));
    }
    Ok(cards)
}

/// A queue for each vCPU, but not more.
const QUEUES_MAX: u32 = 8;

/// The name of the card in slot `slot`. There is one of each, however many machines there were.
fn name(kind: &str, slot: u8) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let name = format!("{kind}-{slot}");
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = names.get(&*name) {
        return name;
    }
    let name = &*name.leak();
    names.insert(name);
    name
}
