//! The disks of a configuration on their controllers: in the floppy drives, on the IDE cables and in
//! the PCI slots; and its other cards.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use thiserror::Error;
use trine_devices::{
    Ahci, AtaDrive, ConsolePort, DeviceType, Disk, E1000, SerialPeer, VirtioBalloon, VirtioBlk,
    VirtioConsole, VirtioMmio, VirtioNet, VirtioPci, VirtioRng,
};

use crate::{
    Board, ClockKind, Config,
    disk::{self, DiskOpenError, DiskSpec, Interface, Wake},
    net::{self, NetError, NetModel},
    pc::{Card, Chip},
    random::Random,
    schematic::BoardKind,
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

    /// Has `peer` wake `chip` when it has room again. Where guest time follows instructions it never
    /// lacks any: no guest sees then how fast the host's readers are.
    pub(crate) fn announce_room(&self, clock: ClockKind, chip: Chip, peer: &mut dyn SerialPeer) {
        if clock == ClockKind::Host {
            peer.on_room(self.of(chip));
        }
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

/// The slots of a board, and the cards that are in them, from the first one on.
#[derive(Default)]
pub(crate) struct Slots {
    board: BoardKind,
    pub(crate) cards: Vec<Card>,
}

impl Slots {
    /// The next free one.
    fn next(&self) -> Option<u8> {
        u8::try_from(self.cards.len()).ok().filter(|n| *n < self.board.schematic().slots)
    }

    /// Puts a virtio device into slot `slot`, the next free one.
    fn add_virtio<T: DeviceType>(&mut self, kind: &str, slot: u8, device: T) {
        let name = name(kind, slot);
        self.cards.push(match self.board {
            BoardKind::Pc => Card::Pci(Box::new(move |backplane, intx| {
                Box::new(VirtioPci::new(name, device, intx, backplane.clone()))
            })),
            BoardKind::Microvm => {
                Card::Virtio(Box::new(move |irq| Box::new(VirtioMmio::new(name, device, irq))))
            }
        });
    }

    /// Gives the last card an expansion ROM, which it has on a PC only.
    fn add_rom(&mut self, rom: Vec<u8>) {
        let card = self.cards.pop().map(|card| match card {
            Card::Pci(card) => Card::Pci(Box::new(move |backplane, intx| {
                let mut function = card(backplane, intx);
                net::rom::add(function.config_mut(), rom);
                function
            })),
            Card::Virtio(_) => card,
        });
        self.cards.extend(card);
    }
}

/// What disks are on the board: in floppy drives, on the IDE controller's cables, and behind cards.
#[derive(Default)]
pub(crate) struct Disks {
    pub(crate) floppies: [Option<Box<dyn Disk>>; 2],
    pub(crate) drives: [[Option<AtaDrive>; 2]; 2],
    pub(crate) slots: Slots,
    /// Those whose media can be changed.
    pub(crate) changeable: Vec<Drive>,
    /// What has a place in the boot order, network cards among it, and where a firmware finds it.
    boot_order: Vec<(u32, String)>,
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
    /// Two have the same place in the boot order.
    #[error("bootindex={0} is given twice")]
    BootIndex(u32),
    /// The board has no slot for its controller.
    #[error("{}: all slots are taken", .0.display())]
    NoSlot(PathBuf),
}

/// Where disks go on the IDE controller's cables, and CDs: the first free place.
const DISK_PLACES: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];
const CD_PLACES: [(usize, usize); 4] = [(1, 0), (1, 1), (0, 1), (0, 0)];

/// What opening disks takes besides what to open.
struct Host<'a> {
    specs: &'a [DiskSpec],
    clock: ClockKind,
    doorbell: &'a Doorbell,
}

impl<'a> Host<'a> {
    /// The disks behind `interface`.
    fn of(&self, interface: Interface) -> impl Iterator<Item = &'a DiskSpec> + use<'a> {
        self.specs.iter().filter(move |spec| spec.interface() == interface)
    }

    fn open(&self, spec: &DiskSpec, chip: Chip) -> Result<Box<dyn Disk>, DiskOpenError> {
        Ok(Box::new(disk::open(spec, self.clock, self.doorbell.of(chip))?))
    }
}

fn full(places: usize, spec: &DiskSpec) -> DiskError {
    let interface = match spec.interface() {
        Interface::Cdrom => Interface::Ide,
        interface => interface,
    };
    DiskError::Full { interface, places, file: spec.file.clone() }
}

impl Disks {
    /// Opens those of `config`; for a board without PCI, all of them are virtio's.
    ///
    /// # Errors
    /// [`DiskError`], with the file.
    pub(crate) fn open(config: &Config, doorbell: &Doorbell) -> Result<Self, DiskError> {
        let &Config { board, cpus, clock, .. } = config;
        let host = Host { specs: &config.disks, clock, doorbell };
        let mut all = Self { slots: Slots { board, cards: Vec::new() }, ..Self::default() };
        if board == BoardKind::Pc {
            all.open_floppies(&host)?;
            all.open_ide(&host)?;
            all.open_ahci(&host)?;
        }
        all.open_virtio(&host, cpus.clamp(1, QUEUES_MAX) as u16)?;
        Ok(all)
    }

    fn open_floppies(&mut self, host: &Host<'_>) -> Result<(), DiskError> {
        let (interface, clock) = (Interface::Floppy, host.clock);
        for bay in 0..self.floppies.len() {
            let name = format!("fd{bay}");
            self.changeable.push(Drive { name, chip: Chip::Floppy, bay, interface, clock });
        }
        for spec in host.of(interface) {
            let free = self.floppies.iter().position(Option::is_none);
            let n = free.ok_or_else(|| full(self.floppies.len(), spec))?;
            self.floppies[n] = Some(host.open(spec, Chip::Floppy)?);
            self.boots_from(spec.boot_index, || format!("/pci@i0cf8/isa@1/fdc@03f0/floppy@{n}"));
        }
        Ok(())
    }

    fn open_ide(&mut self, host: &Host<'_>) -> Result<(), DiskError> {
        for spec in host.specs {
            let interface = spec.interface();
            let places = match interface {
                Interface::Ide => DISK_PLACES,
                Interface::Cdrom => CD_PLACES,
                _ => continue,
            };
            let free = places.into_iter().find(|(cable, n)| self.drives[*cable][*n].is_none());
            let (cable, n) = free.ok_or_else(|| full(places.len(), spec))?;
            let disk = host.open(spec, Chip::Ide)?;
            self.drives[cable][n] = Some(match interface {
                Interface::Cdrom => AtaDrive::cd(Some(disk)),
                _ => AtaDrive::disk(disk),
            });
            self.boots_from(spec.boot_index, || {
                format!("/pci@i0cf8/ide@1,1/drive@{cable}/disk@{n}")
            });
            if interface == Interface::Cdrom {
                let name = format!("cd{}", self.changeable.len() - self.floppies.len());
                let (bay, clock) = (2 * cable + n, host.clock);
                self.changeable.push(Drive { name, chip: Chip::Ide, bay, interface, clock });
            }
        }
        Ok(())
    }

    fn open_ahci(&mut self, host: &Host<'_>) -> Result<(), DiskError> {
        let slot = self.slots.cards.len() as u8;
        let mut ports = Vec::new();
        for spec in host.of(Interface::Ahci) {
            if ports.len() == Ahci::PORTS_MAX {
                return Err(full(Ahci::PORTS_MAX, spec));
            }
            let (device, port) = (Chip::slot_of_card(slot).device(), ports.len());
            self.boots_from(spec.boot_index, || {
                format!("/pci@i0cf8/pci8086,2922@{device:x}/drive@{port:x}/disk@0")
            });
            ports.push(Some(AtaDrive::disk(host.open(spec, Chip::Card(slot))?)));
        }
        if !ports.is_empty() {
            let card = Box::new(|_: &_, intx| Box::new(Ahci::new(intx, ports)) as _);
            self.slots.cards.push(Card::Pci(card));
        }
        Ok(())
    }

    fn open_virtio(&mut self, host: &Host<'_>, queues: u16) -> Result<(), DiskError> {
        for spec in host.of(Interface::Virtio) {
            let slot = self.slots.next().ok_or_else(|| DiskError::NoSlot(spec.file.clone()))?;
            let disk = host.open(spec, Chip::Card(slot))?;
            let device = Chip::slot_of_card(slot).device();
            self.boots_from(spec.boot_index, || format!("/pci@i0cf8/scsi@{device:x}/disk@0,0"));
            self.slots.add_virtio("virtio-blk", slot, VirtioBlk::new(disk, queues));
        }
        Ok(())
    }

    /// If something has a place in the boot order, it is at `path`, in Open Firmware's names as QEMU
    /// has them.
    fn boots_from(&mut self, index: Option<u32>, path: impl FnOnce() -> String) {
        self.boot_order.extend(index.map(|index| (index, path())));
    }

    /// The file `bootorder` of fw_cfg: a path in each line (SeaBIOS, docs/Runtime_config.md).
    ///
    /// # Errors
    /// If two have the same place.
    pub(crate) fn boot_order(&mut self) -> Result<Option<Vec<u8>>, DiskError> {
        self.boot_order.sort();
        if let Some(pair) = self.boot_order.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(DiskError::BootIndex(pair[0].0));
        }
        let paths: Vec<&str> = self.boot_order.iter().map(|(_, path)| &**path).collect();
        Ok((!paths.is_empty()).then(|| [paths.join("\n").as_bytes(), &[0]].concat()))
    }
}

/// The address of the first network card: QEMU's. The others count on from it.
const FIRST_MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// Opens the networks of `config`, and puts their cards into the slots behind those of `disks`.
///
/// # Errors
/// [`NetError`], for the user.
pub(crate) fn add_networks(
    disks: &mut Disks,
    config: &Config,
    doorbell: &Doorbell,
) -> Result<(), NetError> {
    for (n, spec) in (0_u8..).zip(&config.nets) {
        let slot = disks.slots.next().ok_or(NetError::NoSlot)?;
        let wake = doorbell.of(Chip::Card(slot));
        let Some(link) = net::open(spec, config.clock, config.unix_seconds, wake)? else {
            continue;
        };
        let mut mac = FIRST_MAC;
        mac[5] = mac[5].wrapping_add(n);
        let mac = spec.mac.unwrap_or(mac);
        let slots = &mut disks.slots;
        match spec.model {
            NetModel::Virtio => slots.add_virtio("virtio-net", slot, VirtioNet::new(mac, link)),
            NetModel::E1000 => {
                let name = name("e1000", slot);
                slots.cards.push(Card::Pci(Box::new(move |backplane, intx| {
                    Box::new(E1000::new(name, mac, link, intx, backplane.clone()))
                })));
            }
        }
        if let Some(file) = &spec.rom {
            slots.add_rom(net::rom::read(file)?);
        }
        let device = Chip::slot_of_card(slot).device();
        disks.boots_from(spec.boot_index, || {
            format!("/pci@i0cf8/ethernet@{device:x}/ethernet-phy@0")
        });
    }
    Ok(())
}

/// What [`add_paravirtual`] found no slot for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("--{0}: all slots are taken")]
pub struct NoSlot(&'static str);

/// Puts the cards that have nothing of their own to say into the next of `slots`: those that
/// bring random bits, a console and a balloon to a guest that knows it is one. Takes the console's
/// hearer out of `config`.
///
/// # Errors
/// If a slot is missing.
pub(crate) fn add_paravirtual(
    slots: &mut Slots,
    config: &mut Config,
    doorbell: &Doorbell,
    random: &Arc<Random>,
) -> Result<(), NoSlot> {
    if config.rng {
        let slot = slots.next().ok_or(NoSlot("rng"))?;
        let random = random.clone();
        let rng = VirtioRng::new(Box::new(move |bytes| random.fill(bytes)));
        slots.add_virtio("virtio-rng", slot, rng);
    }
    if let Some(mut peer) = config.console.take() {
        let slot = slots.next().ok_or(NoSlot("console"))?;
        doorbell.announce_room(config.clock, Chip::Card(slot), &mut *peer);
        let port = ConsolePort { name: String::new(), peer };
        slots.add_virtio("virtio-console", slot, VirtioConsole::new(vec![port]));
    }
    if config.balloon {
        let slot = slots.next().ok_or(NoSlot("balloon"))?;
        slots.add_virtio("virtio-balloon", slot, VirtioBalloon::new());
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_is_told_the_boot_order() {
        let folder = tempfile::tempdir().expect("there is room");
        let image = folder.path().join("a.img");
        std::fs::write(&image, [0; 4096]).expect("there is room");
        let open = |options: &[&str]| {
            let spec = |options: &&str| format!("{},readonly,{options}", image.display()).parse();
            let specs = options.iter().map(spec).collect::<Result<Vec<_>, String>>();
            let disks = specs.expect("right options");
            let config = Config { disks, clock: ClockKind::Instructions, ..Config::default() };
            Disks::open(&config, &Doorbell::default())
        };
        let disks = open(&[
            "if=virtio,bootindex=7",
            "if=virtio",
            "if=virtio,bootindex=1",
            "if=cdrom,bootindex=0",
            "if=ide,bootindex=4",
            "if=floppy",
            "if=floppy,bootindex=3",
            "if=ahci,bootindex=2",
        ]);
        let order = disks.expect("room for all").boot_order();
        let order = order.expect("no place twice").expect("an order");
        let paths = [
            "/pci@i0cf8/ide@1,1/drive@1/disk@0",
            "/pci@i0cf8/scsi@6/disk@0,0",
            "/pci@i0cf8/pci8086,2922@3/drive@0/disk@0",
            "/pci@i0cf8/isa@1/fdc@03f0/floppy@1",
            "/pci@i0cf8/ide@1,1/drive@0/disk@0",
            "/pci@i0cf8/scsi@4/disk@0,0",
        ];
        assert_eq!(String::from_utf8_lossy(&order), paths.join("\n") + "\0");
        let order = |options| open(options).expect("room for all").boot_order();
        assert!(matches!(order(&["if=ide"]), Ok(None)));
        let twice = order(&["if=ide,bootindex=1", "if=virtio,bootindex=1"]);
        assert!(matches!(twice, Err(DiskError::BootIndex(1))));
    }

    fn with_networks(specs: &[&str]) -> Result<Disks, NetError> {
        let nets = specs.iter().map(|spec| spec.parse().expect("right options")).collect();
        let config = Config { clock: ClockKind::Instructions, nets, ..Config::default() };
        let mut disks = Disks::default();
        add_networks(&mut disks, &config, &Doorbell::default()).map(|()| disks)
    }

    #[test]
    fn network_cards_have_places_in_the_boot_order() {
        let disks = with_networks(&[
            "user,restrict=on,bootindex=3",
            "none",
            "user,restrict=on,bootindex=2,model=e1000",
        ]);
        let order = disks.expect("closed networks").boot_order();
        let order = order.expect("no place twice").expect("an order");
        let paths =
            ["/pci@i0cf8/ethernet@4/ethernet-phy@0", "/pci@i0cf8/ethernet@3/ethernet-phy@0"];
        assert_eq!(String::from_utf8_lossy(&order), paths.join("\n") + "\0");
    }

    #[test]
    fn what_is_no_expansion_rom_is_refused() {
        let folder = tempfile::tempdir().expect("there is room");
        let file = folder.path().join("a.rom");
        let open = || with_networks(&[&format!("user,restrict=on,rom={}", file.display())]).err();
        assert!(matches!(open(), Some(NetError::Rom { .. })), "there is none");
        std::fs::write(&file, b"MZ").expect("there is room");
        assert!(matches!(open(), Some(NetError::Rom { .. })));
        std::fs::write(&file, [0x55, 0xaa, 1]).expect("there is room");
        assert!(open().is_none());
    }
}
