//! A machine that is saved while its guest writes to disks and talks to a network goes on as if
//! nothing had happened.
//!
//! By counted time "as if nothing" is to the bit. By the host's clock the guest itself says whether
//! what it reads is what it wrote, and whether its kernel complained. The guests come from
//! `tests/guests/fetch`; without them the tests say that they skip.

use std::{fs, time::Duration};

use trine_machine::{ClockKind, Config, Ending, EngineKind, Guest, Limits, Machine, create_engine};
use trine_tests::{console::guests, folder::Folder, initramfs::initramfs};

/// Drivers of the cloud kernel.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_blk", "virtio_net", "ata_piix", "ahci", "sd_mod"];

/// Writes to both disks at once, again and again, with the gateway answering pings beside it; says
/// the sums of what is on the disks, read past all caches.
const WORK: &str = "#!/bin/sh
sh /drivers 2>/dev/null
until [ -e /sys/block/vda ] && [ -e /sys/block/sda ]; do sleep 0.1; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ping -q -i 0.05 -c 100000 10.0.2.2 >/ping 2>&1 &
ping=$!
for round in 1 2 3 4 5 6; do
  for disk in vda sda; do
    (
      dd if=/dev/urandom of=/$disk bs=64k count=24 2>/dev/null
      dd if=/$disk of=/dev/$disk bs=4k seek=$((round * 100)) conv=fsync 2>/dev/null
      echo 3 >/proc/sys/vm/drop_caches
      dd if=/dev/$disk of=/$disk.read bs=4k skip=$((round * 100)) count=384 2>/dev/null
      cmp /$disk /$disk.read && echo same on $disk
    ) &
    eval $disk=$!
  done
  wait $vda $sda
done
kill -INT $ping
sleep 0.2
# The last answer may be under way when it ends.
awk '/transmitted/ && $1 > 10 && $1 - $4 <= 1 { print \"no ping was lost\" }' /ping
dmesg | grep -iE 'ata[0-9].*(error|exception|frozen|reset)|timed out|timeout|hung|I/O error' ||
  echo no complaints
md5sum /dev/vda /dev/sda
";

/// A machine at that work, and its disks.
struct Worker {
    machine: Machine,
    folder: Folder,
}

const DISKS: [&str; 2] = ["vda", "sda"];

impl Worker {
    fn new(test: &str, engine: EngineKind, clock: ClockKind, nets: &[&str]) -> Option<Self> {
        let guests = guests()?;
        let folder = Folder::new(test);
        for disk in DISKS {
            fs::write(folder.path(disk), vec![0; 8 << 20]).expect("there is room");
        }
        let disk = |name: &str, controller: &str| {
            let option = format!("{},if={controller},format=raw", folder.path(name));
            option.parse().expect("it is an option")
        };
        let guest = Guest::Linux {
            kernel: fs::read(guests.join("cloud/vmlinuz")).expect("the guests are complete"),
            modules: vec![initramfs(&guests, "cloud", &MODULES, &[("work", WORK)]).into()],
            append: "console=ttyS0 quiet run=sh,/work".to_owned(),
        };
        let config = Config {
            guest,
            clock,
            memory: 256 << 20,
            disks: vec![disk("vda", "virtio"), disk("sda", "ide")],
            nets: nets.iter().map(|net| net.parse().expect("it is an option")).collect(),
            no_reboot: true,
            ..Config::default()
        };
        let machine = Machine::new(config, |ram| create_engine(engine, ram)).expect("a machine");
        Some(Self { machine, folder })
    }

    /// Runs to the end, and calls `meanwhile` each time that as much as `pieces` say is over.
    fn run(&mut self, pieces: &[Limits], meanwhile: fn(&mut Machine)) -> String {
        for n in 0.. {
            let limits = pieces.get(n % pieces.len().max(1)).copied().unwrap_or_default();
            match self.machine.run(limits).expect("the host does not fail") {
                Ending::PowerOff => {
                    assert!(pieces.is_empty() || n > 20, "{n} pieces");
                    break;
                }
                Ending::Instructions | Ending::GuestTime => meanwhile(&mut self.machine),
                ending => panic!("{ending:?}: {}", self.said()),
            }
        }
        self.said()
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.machine.serial()).into_owned()
    }

    fn images(&self) -> [Vec<u8>; 2] {
        DISKS.map(|disk| fs::read(self.folder.path(disk)).expect("it is there"))
    }
}

/// Saves the machine; it is then the same as before.
fn save(machine: &mut Machine) {
    let saved = machine.save().expect("a snapshot");
    let again = machine.save().expect("a snapshot");
    assert!(again.is_same(&saved), "{:#?}", again.differences(&saved, machine.ram()));
}

/// Saves the machine, which goes on from what was saved.
fn save_and_load(machine: &mut Machine) {
    let saved = machine.save().expect("a snapshot");
    machine.load(&saved).expect("it fits");
    let again = machine.save().expect("a snapshot");
    assert!(again.is_same(&saved), "{:#?}", again.differences(&saved, machine.ram()));
}

/// The software engines of this host.
fn engines() -> Vec<EngineKind> {
    let there = |kind: &EngineKind| kind.missing().is_none();
    [EngineKind::Translate, EngineKind::Interp].into_iter().filter(there).collect()
}

/// What was written was read, no ping was lost (if there was a network), and the kernel does not
/// complain.
fn assert_all_went_well(said: &str, has_network: bool) {
    for disk in DISKS {
        assert_eq!(said.matches(&format!("same on {disk}")).count(), 6, "{said}");
    }
    assert_eq!(said.contains("no ping was lost"), has_network, "{said}");
    assert!(said.contains("no complaints"), "{said}");
}

fn counted(name: &str, nets: &[&str]) -> Option<Worker> {
    Worker::new(name, EngineKind::Translate, ClockKind::Instructions, nets)
}

/// Pieces of a counted run, long ones and short ones.
fn pieces() -> [Limits; 5] {
    let piece = |instructions| Limits { instructions: Some(instructions), ..Limits::default() };
    [20_000_003, 7, 60_000_000, 999, 33_333_333].map(piece)
}

#[test]
fn a_counted_run_is_the_same_if_it_is_saved_meanwhile() {
    let nets = ["user,restrict=on"];
    let Some(mut whole) = counted("saving-whole", &nets) else { return };
    let expected = whole.run(&[], |_| ());
    assert_all_went_well(&expected, true);
    let mut cut = counted("saving-cut", &nets).expect("again");
    assert_eq!(cut.run(&pieces(), save), expected);
    assert_eq!(cut.machine.retired(), whole.machine.retired());
    assert!(cut.images() == whole.images(), "the images differ");
}

/// What disks are asked at that moment they are asked again, so their answers come a little later than
/// they would have; frames that are under way are lost, so there is no network.
#[test]
fn a_machine_goes_on_from_what_was_saved() {
    let Some(mut worker) = counted("loading", &[]) else { return };
    let said = worker.run(&pieces(), save_and_load);
    assert_all_went_well(&said, false);
}

#[test]
fn a_guest_does_not_notice_that_it_is_saved() {
    for engine in engines() {
        let nets = ["user,restrict=on"];
        let Some(mut worker) = Worker::new("saving-live", engine, ClockKind::Host, &nets) else {
            return;
        };
        let piece =
            |ms| Limits { guest_time: Some(Duration::from_millis(ms)), ..Limits::default() };
        let said = worker.run(&[23, 1, 40, 5, 17].map(piece), save);
        assert_all_went_well(&said, true);
    }
}
