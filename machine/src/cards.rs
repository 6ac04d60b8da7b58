//! The disks of a configuration on their controllers: in the floppy drives, on the IDE cables and in
//! the PCI slots; and its network cards.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use thiserror::Error;
use trine_devices::{Ahci, AtaDrive, Disk, E1000, VirtioBlk, VirtioNet, VirtioPci};

use crate::{
    Board, ClockKind, Config,
    disk::{self, DiskOpenError, DiskSpec, Interface, Wake},
    net::{self, NetError, NetModel},
    pc::{CARDS, Card, Chip},
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

/// What disks are on the board: in floppy drives, on the IDE controller's cables, and behind cards.
#[derive(Default)]
pub(crate) struct Disks {
    pub(crate) floppies: [Option<Box<dyn Disk>>; 2],
    pub(crate) drives: [[Option<AtaDrive>; 2]; 2],
    pub(crate) cards: Vec<Card>,
    /// Those whose media can be changed.
    pub(crate) changeable: Vec<Drive>,
}

/// A drive whose medium can be changed.
pub(crate) struct Drive {
    /// `fd0`, `fd1`, and `cd0`, `cd1`, … in the order in which they were asked for.
    pub(crate) name: String,
    pub(crate) chip: Chip,
    /// Its number among the chip's bays.
    pub(crate) bay: usize,
    interface: Interface,
    clock: ClockKind,
}

impl Drive {
    /// Opens an image as a medium for it.
    pub(crate) fn open(
        &self,
        board: &Arc<Board>,
        image: &Path,
        is_read_only: bool,
    ) -> Result<Box<dyn Disk>, DiskOpenError> {
        let mut spec = DiskSpec::new(image);
        spec.interface = Some(self.interface);
        spec.is_read_only = is_read_only || self.interface == Interface::Cdrom;
        let doorbell = Doorbell::default();
        doorbell.connect(board);
        Ok(Box::new(disk::open(&spec, self.clock, doorbell.of(self.chip))?))
    }
}

/// Why there are no such disks.
#[derive(Debug, Error)]
pub enum DiskError {
    /// An image cannot be opened.
    #[error(transparent)]
    Open(#[from] DiskOpenError),
    /// The controller has no more room.
    #[error(
        "{}: all {places} places of the {interface} controller are taken; use another, as if=virtio",
        file.display()
    )]
    Full {
        /// The controller.
        interface: Interface,
        /// How many places it has.
        places: usize,
        /// The image.
        file: PathBuf,
    },
    /// The board has no slot for its controller.
    #[error("{}: all PCI slots are taken", .0.display())]
    NoSlot(PathBuf),
}

/// Where disks go on the IDE controller's cables, and CDs: the first free place.
const DISK_PLACES: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];
const CD_PLACES: [(usize, usize); 4] = [(1, 0), (1, 1), (0, 1), (0, 0)];

impl Disks {
    /// Opens what `specs` say.
    ///
    /// # Errors
    /// [`DiskError`], with the file.
    pub(crate) fn open(
        specs: &[DiskSpec],
        cpus: u32,
        clock: ClockKind,
        doorbell: &Doorbell,
    ) -> Result<Self, DiskError> {
        let mut all = Self::default();
        let drive = |kind: &str, n: usize, interface, chip, bay| {
            let name = format!("{kind}{n}");
            Drive { name, chip, bay, interface, clock }
        };
        for n in 0..all.floppies.len() {
            all.changeable.push(drive("fd", n, Interface::Floppy, Chip::Floppy, n));
        }
        let open = |spec: &DiskSpec, chip| disk::open(spec, clock, doorbell.of(chip));
        let full = |interface, places, spec: &DiskSpec| {
            let file = spec.file.clone();
            DiskError::Full { interface, places, file }
        };
        let of = |interface| specs.iter().filter(move |spec| spec.interface() == interface);
        for spec in of(Interface::Floppy) {
            let free = all.floppies.iter_mut().find(|place| place.is_none());
            let place = free.ok_or_else(|| full(Interface::Floppy, 2, spec))?;
            *place = Some(Box::new(open(spec, Chip::Floppy)?));
        }
        for spec in specs {
            let interface = spec.interface();
            let places = match interface {
                Interface::Ide => DISK_PLACES,
                Interface::Cdrom => CD_PLACES,
                _ => continue,
            };
            let free = places.into_iter().find(|(cable, n)| all.drives[*cable][*n].is_none());
            let (cable, n) = free.ok_or_else(|| full(Interface::Ide, places.len(), spec))?;
            let disk = Box::new(open(spec, Chip::Ide)?);
            all.drives[cable][n] = Some(match interface {
                Interface::Cdrom => AtaDrive::cd(Some(disk)),
                _ => AtaDrive::disk(disk),
            });
            if interface == Interface::Cdrom {
                let (number, bay) = (all.changeable.len() - all.floppies.len(), 2 * cable + n);
                all.changeable.push(drive("cd", number, interface, Chip::Ide, bay));
            }
        }
        let mut ports = Vec::new();
        for spec in of(Interface::Ahci) {
            if ports.len() == Ahci::PORTS_MAX {
                return Err(full(Interface::Ahci, Ahci::PORTS_MAX, spec));
            }
            ports.push(Some(AtaDrive::disk(Box::new(open(spec, Chip::Card(0))?))));
        }
        if !ports.is_empty() {
            all.cards.push(Box::new(|_, intx| Box::new(Ahci::new(intx, ports))));
        }
        let queues = cpus.clamp(1, QUEUES_MAX) as u16;
        for spec in of(Interface::Virtio) {
            let slot = all.cards.len() as u8;
            if slot == CARDS {
                return Err(DiskError::NoSlot(spec.file.clone()));
            }
            let disk = open(spec, Chip::Card(slot))?;
            let name = name("virtio-blk", slot);
            all.cards.push(Box::new(move |backplane, intx| {
                let blk = VirtioBlk::new(Box::new(disk), queues);
                Box::new(VirtioPci::new(name, blk, intx, backplane.clone()))
            }));
        }
        Ok(all)
    }
}

/// The address of the first network card: QEMU's. The others count on from it.
const FIRST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// Opens the networks of `config`, and puts their cards into the slots behind `cards`.
///
/// # Errors
/// [`NetError`], for the user.
pub(crate) fn add_networks(
    cards: &mut Vec<Card>,
    config: &Config,
    doorbell: &Doorbell,
) -> Result<(), NetError> {
    for (n, spec) in (0_u8..).zip(&config.nets) {
        let slot = cards.len() as u8;
        if slot >= CARDS {
            return Err(NetError::NoSlot);
        }
        let wake = doorbell.of(Chip::Card(slot));
        let Some(link) = net::open(spec, config.clock, config.unix_seconds, wake)? else {
            continue;
        };
        let mut mac = FIRST_MAC;
        mac[5] = mac[5].wrapping_add(n);
        let mac = spec.mac.unwrap_or(mac);
        let name = name(card_name(spec.model), slot);
        let card: Card = match spec.model {
            NetModel::Virtio => Box::new(move |backplane, intx| {
                let net = VirtioNet::new(mac, link);
                Box::new(VirtioPci::new(name, net, intx, backplane.clone()))
            }),
            NetModel::E1000 => Box::new(move |backplane, intx| {
                Box::new(E1000::new(name, mac, link, intx, backplane.clone()))
            }),
        };
        cards.push(card);
    }
    Ok(())
}

/// What chips of a model are called.
fn card_name(model: NetModel) -> &'static str {
    match model {
        NetModel::Virtio => "virtio-net",
        NetModel::E1000 => "e1000",
    }
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
