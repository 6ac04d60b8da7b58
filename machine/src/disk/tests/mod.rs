//! Disks over real image files in temporary folders.

mod chains;
mod hostile;
mod qemu;
mod random;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use clap::Parser;
use tempfile::TempDir;
use trine_devices::{Answer, Data, Disk, DiskError, Order, Segment};
use trine_guest::{Gpa, Ram, VmTime};

use super::{
    Cache, DiskOpenError, DiskSpec, Format, ImageDisk, Unopened, Wake, open,
    qcow2::{Header, check},
};
use crate::{
    ClockKind,
    cli::{Cli, Command},
};

/// What is longer than any host takes for a small order.
const LONG: Duration = Duration::from_secs(60);

/// Runs `trine image` with `args` and returns its status and what it said.
pub(super) fn image(args: &[&str]) -> Result<(u8, String), String> {
    let all = ["trine", "image"].iter().chain(args);
    let cli = Cli::try_parse_from(all).map_err(|e| e.to_string())?;
    let Some(Command::Image(args)) = cli.command else { panic!("not image") };
    let said = std::cell::RefCell::new(String::new());
    let status = super::image(&args, |text| {
        said.borrow_mut().push_str(text);
        Ok(())
    })?;
    Ok((status, said.into_inner()))
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// A new image with so many bytes of disk.
pub(super) fn create(folder: &TempDir, name: &str, format: &str, size: u64) -> PathBuf {
    let path = folder.path().join(name);
    image(&["create", "-f", format, text(&path), &size.to_string()]).expect("created");
    path
}

/// A disk in host time, with what its answers wake.
struct Awaited {
    disk: ImageDisk,
    woken: mpsc::Receiver<()>,
}

impl Awaited {
    fn open(spec: &DiskSpec) -> Result<Self, DiskOpenError> {
        let (sender, woken) = mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let wake: Wake = Arc::new(move || {
            // Nobody listens any more while the disk is dropped.
            let _ = sender.lock().expect("not poisoned").send(());
        });
        open(spec, ClockKind::Host, wake).map(|disk| Self { disk, woken })
    }

    fn of(path: &Path) -> Self {
        Self::open(&DiskSpec::new(path)).expect("opens")
    }

    fn answer(&mut self) -> Answer {
        loop {
            if let Some(at) = self.disk.next_answer() {
                return self.disk.take(at).expect("as promised");
            }
            self.woken.recv_timeout(LONG).expect("woken when there is an answer");
        }
    }

    fn ask(&mut self, order: Order) -> Result<Vec<u8>, DiskError> {
        self.disk.submit(VmTime(5), 7, order);
        let answer = self.answer();
        assert_eq!(answer.ticket, 7);
        answer.result
    }

    fn read(&mut self, at: u64, len: usize) -> Vec<u8> {
        self.ask(Order::Read { at, len }).expect("read")
    }

    fn write(&mut self, at: u64, data: &[u8]) {
        assert_eq!(self.ask(Order::Write { at, data: data.to_vec().into() }), Ok(vec![]));
    }
}

/// Asserts that an image's counts are right.
fn assert_clean(path: &Path) {
    let file = std::fs::File::open(path).expect("opens");
    let header = Header::read(&file).expect("a header");
    assert!(header.incompatible.is_empty(), "{:?}", header.incompatible);
    let report = check::check(&file, &header).expect("checked");
    assert_eq!((report.corruptions, report.leaks), (0, 0), "{report:?}");
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    for format in ["raw", "qcow2"] {
        let folder = folder();
        let path = create(&folder, "disk", format, 1 << 20);
        let mut disk = Awaited::of(&path);
        assert_eq!(disk.disk.len(), 1 << 20);
        disk.write(512, &[7; 1024]);
        disk.write((1 << 20) - 512, &[9; 512]);
        assert_eq!(disk.ask(Order::Flush), Ok(vec![]));
        drop(disk);
        let mut disk = Awaited::of(&path);
        assert_eq!(disk.read(0, 2048), [[0; 512], [7; 512], [7; 512], [0; 512]].concat());
        assert_eq!(disk.read((1 << 20) - 512, 512), [9; 512]);
        drop(disk);
        if format == "qcow2" {
            assert_clean(&path);
        }
    }
}

#[test]
fn ranges_behind_the_end_and_writes_to_what_is_read_only_are_refused() {
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 65536);
    let mut disk = Awaited::of(&path);
    for (at, len) in [(65536, 1), (0, 65537), (u64::MAX, 1), (1, u64::MAX)] {
        let order = Order::Discard { at, len };
        assert_eq!(disk.ask(order), Err(DiskError::OutOfRange), "{at} {len}");
    }
    assert_eq!(disk.ask(Order::Read { at: 1, len: usize::MAX }), Err(DiskError::OutOfRange));
    drop(disk);
    let spec = DiskSpec { is_read_only: true, ..DiskSpec::new(&path) };
    let mut disk = Awaited::open(&spec).expect("opens");
    assert!(disk.disk.is_read_only());
    for order in [
        Order::Write { at: 0, data: vec![1].into() },
        Order::Discard { at: 0, len: 1 },
        Order::WriteZeroes { at: 0, len: 1, may_unmap: true },
    ] {
        assert_eq!(disk.ask(order), Err(DiskError::ReadOnly));
    }
    assert_eq!(disk.ask(Order::Flush), Ok(vec![]));
}

#[test]
fn an_order_takes_its_time_in_counted_time_and_no_more_than_that() {
    let folder = folder();
    let path = create(&folder, "disk", "raw", 1 << 20);
    let woken = Arc::new(AtomicUsize::new(0));
    let wake = {
        let woken = Arc::clone(&woken);
        Arc::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        })
    };
    let mut disk = open(&DiskSpec::new(&path), ClockKind::Instructions, wake).expect("opens");
    disk.submit(VmTime(1000), 1, Order::Write { at: 0, data: vec![3; 65536].into() });
    disk.submit(VmTime(1001), 2, Order::Read { at: 0, len: 512 });
    let first = disk.next_answer().expect("known at once");
    assert!(first > VmTime(1001));
    assert_eq!(disk.take(VmTime(first.0 - 1)), None, "not yet, however fast the host is");
    let read = Answer { ticket: 2, result: Ok(vec![3; 512]) };
    assert_eq!(disk.take(first), Some(read), "the shorter one first, after the write all the same");
    let second = disk.next_answer().expect("known");
    assert_eq!(second.0 - first.0, 2 * (65536 - 512) - 1);
    assert_eq!(disk.take(second), Some(Answer { ticket: 1, result: Ok(vec![]) }));
    assert_eq!(woken.load(Ordering::Relaxed), 0, "the board knows when");

    // What was cancelled is done all the same, so that it never depends on the host.
    disk.submit(second, 3, Order::Write { at: 0, data: vec![4; 512].into() });
    disk.cancel();
    assert_eq!(disk.next_answer(), None);
    disk.submit(second, 4, Order::Read { at: 0, len: 512 });
    let at = disk.next_answer().expect("known");
    assert_eq!(disk.take(at), Some(Answer { ticket: 4, result: Ok(vec![4; 512]) }));
}

#[test]
fn a_cancelled_write_never_comes_over_a_later_one() {
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 8 << 20);
    let mut disk = Awaited::of(&path);
    for round in 0..50_u8 {
        for n in 0..8 {
            let order = Order::Write { at: n << 20, data: vec![0xff; 1 << 20].into() };
            disk.disk.submit(VmTime(0), 1, order);
        }
        disk.disk.cancel();
        let at = u64::from(round % 8) << 20;
        disk.write(at, &[round; 4096]);
        assert_eq!(disk.read(at, 4096), [round; 4096], "{round}");
    }
}

/// RAM that is full of `byte`, and all of it in two pieces, the second half first.
fn guest(byte: u8, len: u32) -> (Arc<Ram>, Data) {
    let ram = Arc::new(Ram::flat(len.into()).expect("some RAM"));
    ram.fill(0, len.into(), u64::from_ne_bytes([byte; 8]));
    let half = len / 2;
    let halves = [half, 0].map(|at| Segment { at: Gpa(at.into()), len: half });
    let data = Data::in_guest(&ram, halves.to_vec());
    (ram, data)
}

#[test]
fn data_in_the_guest_are_those_at_the_time_of_the_order_where_time_is_counted() {
    let folder = folder();
    let path = create(&folder, "disk", "raw", 1 << 20);
    let spec = DiskSpec::new(&path);
    let mut disk = open(&spec, ClockKind::Instructions, Arc::new(|| {})).expect("opens");
    for _ in 0..50 {
        let (ram, data) = guest(1, 64 << 10);
        ram.store_bytes(0, &[2]);
        disk.submit(VmTime(0), 1, Order::Write { at: 0, data });
        ram.fill(0, 64 << 10, u64::MAX);
        disk.submit(VmTime(0), 2, Order::Read { at: 0, len: 64 << 10 });
        for ticket in [1, 2] {
            let answer = disk.take(VmTime(1 << 32)).expect("done by then");
            assert_eq!(answer.ticket, ticket);
            if let (2, data) = (ticket, answer.result.expect("done")) {
                assert_eq!((data[0], data[32 << 10], data[65535]), (1, 2, 1));
            }
        }
    }
}

#[test]
fn a_cancelled_write_takes_nothing_more_out_of_the_guest() {
    const LEN: u32 = 1 << 20;
    let folder = folder();
    let path = create(&folder, "disk", "raw", 8 << 20);
    let mut disk = Awaited::of(&path);
    for round in 0..200_u64 {
        let (ram, data) = guest(1, LEN);
        for n in 0..8 {
            let order = Order::Write { at: n * u64::from(LEN), data: data.clone() };
            disk.disk.submit(VmTime(0), 1, order);
        }
        // So that some are under way, at any point.
        std::thread::sleep(Duration::from_micros(round * 10));
        disk.disk.cancel();
        ram.fill(0, LEN.into(), u64::MAX);
        let disk = disk.read(0, 8 << 20);
        assert!(disk.iter().all(|byte| *byte < 2), "round {round}: taken after it was cancelled");
    }
}

#[test]
fn a_dropped_disk_finishes_what_it_was_asked_and_lets_go_of_the_image() {
    let folder = folder();
    let path = create(&folder, "disk", "qcow2", 4 << 20);
    let mut disk = Awaited::of(&path);
    for n in 0..64 {
        disk.disk.submit(
            VmTime(0),
            n,
            Order::Write { at: n << 16, data: vec![n as u8; 65536].into() },
        );
    }
    let second = Awaited::open(&DiskSpec::new(&path)).err().expect("it is in use");
    assert!(matches!(second.why, Unopened::InUse), "{second}");
    let line = second.to_string();
    assert!(line.contains("disk") && line.contains("readonly") && !line.contains('\n'), "{line}");
    drop(disk);
    assert_clean(&path);
    let mut disk = Awaited::of(&path);
    for n in 0..64 {
        assert_eq!(disk.read(n << 16, 65536), vec![n as u8; 65536]);
    }
}

#[test]
fn a_snapshot_leaves_the_image_as_it_was() {
    for format in ["raw", "qcow2"] {
        let folder = folder();
        let path = create(&folder, "disk", format, 1 << 20);
        Awaited::of(&path).write(0, &[1; 4096]);
        let before = std::fs::read(&path).expect("read");
        let spec = DiskSpec { is_snapshot: true, ..DiskSpec::new(&path) };
        let mut disk = Awaited::open(&spec).expect("opens");
        let mut reader = Awaited::open(&spec).expect("it only reads, so another may");
        disk.write(512, &[2; 512]);
        assert_eq!(disk.ask(Order::Discard { at: 0, len: 65536 }), Ok(vec![]));
        disk.write(1024, &[3; 512]);
        assert_eq!(disk.ask(Order::Flush), Ok(vec![]));
        assert_eq!(disk.read(1024, 512), [3; 512]);
        assert_eq!(reader.read(0, 4096), [1; 4096]);
        drop((disk, reader));
        assert_eq!(std::fs::read(&path).expect("read"), before);
        let left = std::fs::read_dir(folder.path()).expect("listed").count();
        assert_eq!(left, 1, "nothing is left beside it");
    }
}

#[test]
fn a_guest_makes_no_qcow2_image_of_a_raw_one() {
    let folder = folder();
    let path = create(&folder, "disk", "raw", 65536);
    let mut disk = Awaited::of(&path);
    let header = [b"QFI\xfb".as_slice(), &[0; 508]].concat();
    disk.write(512, &header);
    assert_eq!(disk.ask(Order::Write { at: 0, data: header.clone().into() }), Err(DiskError::Io));
    disk.write(0, b"QFI");
    assert_eq!(
        disk.ask(Order::Write { at: 2, data: b"I\xfb".to_vec().into() }),
        Err(DiskError::Io)
    );
    assert_eq!(disk.read(0, 4), b"QFI\0");
    drop(disk);
    let spec = DiskSpec { format: Some(Format::Raw), ..DiskSpec::new(&path) };
    let mut disk = Awaited::open(&spec).expect("opens");
    disk.write(0, &header);
    drop(disk);
    let mut disk = Awaited::open(&spec).expect("it is what the user says");
    assert_eq!(disk.read(0, 512), header);
    drop(disk);
    let probed = Awaited::open(&DiskSpec::new(&path)).err().expect("no qcow2 image");
    assert!(matches!(probed.why, Unopened::Header(_)), "{probed}");
}

#[test]
fn a_raw_file_may_end_within_a_sector() {
    let folder = folder();
    let path = folder.path().join("disk");
    std::fs::write(&path, [5; 1000]).expect("written");
    let mut disk = Awaited::of(&path);
    assert_eq!(disk.disk.len(), 1024);
    assert_eq!(disk.read(512, 512), [[5; 488].as_slice(), &[0; 24]].concat());
    assert_eq!(disk.ask(Order::WriteZeroes { at: 512, len: 512, may_unmap: true }), Ok(vec![]));
    assert_eq!(std::fs::metadata(&path).expect("there").len(), 1000);
    disk.write(512, &[6; 512]);
    drop(disk);
    assert_eq!(std::fs::read(&path).expect("read"), [[5; 512], [6; 512]].concat());
}

#[test]
fn discarding_gives_space_back() {
    use std::os::unix::fs::MetadataExt;
    for format in ["raw", "qcow2"] {
        let folder = folder();
        let path = create(&folder, "disk", format, 64 << 20);
        let mut disk = Awaited::of(&path);
        let blocks = || std::fs::metadata(&path).expect("there").blocks();
        disk.write(0, &vec![1; 8 << 20]);
        assert_eq!(disk.ask(Order::Flush), Ok(vec![]));
        let full = blocks();
        assert_eq!(disk.ask(Order::Discard { at: 0, len: 64 << 20 }), Ok(vec![]));
        assert_eq!(disk.ask(Order::Flush), Ok(vec![]));
        let empty = blocks();
        if format == "raw" {
            assert!(empty * 4 < full, "{full} blocks, then {empty}");
        }
        // Clusters are given to whoever writes next, so the image does not grow.
        disk.write(32 << 20, &vec![2; 8 << 20]);
        drop(disk);
        assert!(blocks() <= full + 512, "{format}: {full}, then {}", blocks());
        if format == "qcow2" {
            assert_clean(&path);
        }
    }
}

#[test]
fn caches_past_the_page_cache_work_or_say_why_not() {
    for cache in [Cache::None, Cache::Directsync, Cache::Writethrough, Cache::Unsafe] {
        let folder = folder();
        let path = create(&folder, "disk", "qcow2", 1 << 20);
        match Awaited::open(&DiskSpec { cache, ..DiskSpec::new(&path) }) {
            Err(e) if cache.is_direct() => assert!(matches!(e.why, Unopened::NotDirect), "{e}"),
            Err(e) => panic!("{cache}: {e}"),
            Ok(mut disk) => {
                disk.write(1000, &[1; 3000]);
                assert_eq!(disk.read(0, 8192)[999..4001], [&[0][..], &[1; 3000], &[0]].concat());
                assert!(Awaited::open(&DiskSpec::new(&path)).is_err(), "{cache}: locked");
                drop(disk);
                assert_clean(&path);
            }
        }
    }
}

#[test]
fn a_disk_has_the_name_it_was_given_or_the_files() {
    let folder = folder();
    let path = create(&folder, "a long name of a disk.qcow2", "qcow2", 512);
    assert_eq!(Awaited::of(&path).disk.serial(), "alongnameofadisk.qco");
    let spec = DiskSpec { serial: Some("X 1".into()), ..DiskSpec::new(&path) };
    assert_eq!(Awaited::open(&spec).expect("opens").disk.serial(), "X 1");
}
