//! A flush that was answered is on the disk, whatever happens to the process afterwards.
//!
//! A child process writes numbered records to an image, as a guest's controller does: several
//! orders under way, some of them flushes. It says on its standard output up to which record
//! everything has been flushed, and is killed at a random moment. Then each sector has to hold the
//! last flushed record of its place, or a later one; and the image has to be in order.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use trine_devices::{Disk, Order};
use trine_guest::VmTime;
use trine_machine::{
    ClockKind,
    disk::{DiskSpec, ImageDisk, open},
};

const SECTOR: usize = 512;
const BLOCK: usize = 4096;
const BLOCKS: u64 = 8192;
/// Orders under way at once.
const DEPTH: usize = 8;
/// A flush comes after so many records at the latest.
const FLUSH_EVERY: u64 = 64;
/// So many records may be written that nobody knows to be flushed, so that it is known which they
/// can be.
const WINDOW: u64 = 4 * FLUSH_EVERY;
/// Where the child finds its image, and its first record's number.
const IMAGE: &str = "TRINE_CRASH_IMAGE";
const FIRST: &str = "TRINE_CRASH_FIRST";

/// SplitMix64.
fn mix(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The block of record `n`.
fn place(n: u64) -> u64 {
    mix(n) % BLOCKS
}

/// Some records are zeros.
fn is_zeros(n: u64) -> bool {
    mix(n) >> 32 & 15 == 0
}

/// What record `n` has in its sector number `sector`.
fn contents(n: u64, sector: usize) -> Vec<u8> {
    if is_zeros(n) {
        return vec![0; SECTOR];
    }
    let words = (0..SECTOR as u64 / 8).map(|word| match word {
        0 => n,
        word => mix(n << 10 | (sector as u64) << 6 | word),
    });
    words.flat_map(u64::to_le_bytes).collect()
}

fn order(n: u64) -> Order {
    let at = place(n) * BLOCK as u64;
    if is_zeros(n) {
        return Order::WriteZeroes { at, len: BLOCK as u64, may_unmap: n.is_multiple_of(2) };
    }
    let data: Vec<u8> = (0..BLOCK / SECTOR).flat_map(|sector| contents(n, sector)).collect();
    Order::Write { at, data: data.into() }
}

struct Opened {
    disk: ImageDisk,
    woken: mpsc::Receiver<()>,
}

impl Opened {
    fn new(path: &Path) -> Self {
        let (sender, woken) = mpsc::sync_channel(1);
        let wake = Arc::new(move || {
            // One word is enough, and nobody listens while the disk is dropped.
            let _ = sender.try_send(());
        });
        let disk = open(&DiskSpec::new(path), ClockKind::Host, wake).expect("opens");
        Self { disk, woken }
    }

    /// The ticket of the next order that is done, and what it has read.
    fn answer(&mut self) -> (u64, Vec<u8>) {
        loop {
            if let Some(at) = self.disk.next_answer() {
                let answer = self.disk.take(at).expect("as promised");
                return (answer.ticket, answer.result.expect("done"));
            }
            self.woken.recv_timeout(Duration::from_secs(60)).expect("woken");
        }
    }

    fn whole(&mut self) -> Vec<u8> {
        let len = self.disk.len() as usize;
        self.disk.submit(VmTime(0), 0, Order::Read { at: 0, len });
        self.answer().1
    }
}

/// The tickets of flushes.
const FLUSH: u64 = 1 << 63;

#[test]
#[ignore = "the child of the other tests: it runs until it is killed"]
fn writes_until_it_is_killed() {
    let Some(image) = std::env::var_os(IMAGE) else { return };
    let first: u64 = std::env::var(FIRST).expect("set").parse().expect("a number");
    let mut opened = Opened::new(Path::new(&image));
    // Orders under way: a record's place, or what a flush covers.
    let mut under_way: BTreeMap<u64, u64> = BTreeMap::new();
    let mut flushed = first;
    for n in first.. {
        let is_busy = |under_way: &BTreeMap<u64, u64>, flushed: u64| {
            under_way.len() >= DEPTH
                || n >= flushed + WINDOW
                || under_way.iter().any(|(t, at)| t & FLUSH == 0 && *at == place(n))
        };
        while is_busy(&under_way, flushed) {
            let (ticket, _) = opened.answer();
            let covered = under_way.remove(&ticket).expect("it was asked for");
            if ticket & FLUSH != 0 {
                println!("flushed {covered}");
                std::io::stdout().flush().expect("the parent listens");
                flushed = flushed.max(covered);
            }
        }
        under_way.insert(n, place(n));
        opened.disk.submit(VmTime(0), n, order(n));
        if mix(n) >> 40 & 15 == 0 || n % FLUSH_EVERY == 0 {
            // All records below the first that is under way were answered.
            let covered = under_way.range(..FLUSH).next().map_or(n + 1, |(n, _)| *n);
            under_way.insert(FLUSH | n, covered);
            opened.disk.submit(VmTime(0), FLUSH | n, Order::Flush);
        }
    }
}

/// Runs a child on `image` and kills it; up to which record it has said that all is flushed.
fn kill_a_writer(image: &Path, first: u64, after: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(IMAGE, image)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (sender, heard) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        let flushed = |line: String| line.split_once("flushed ")?.1.parse::<u64>().ok();
        let mut last = first;
        for covered in lines.map_while(Result::ok).filter_map(flushed) {
            last = covered.max(last);
            if last > first {
                // Only the first one is waited for.
                let _ = sender.send(());
            }
        }
        last
    });
    heard.recv_timeout(Duration::from_secs(60)).expect("it writes");
    std::thread::sleep(after);
    child.kill().expect("SIGKILL");
    child.wait().expect("it is gone");
    listener.join().expect("it has heard all")
}

/// Holds what is on the disk against what was there before the round and what was flushed in it.
fn verify(disk: &[u8], before: &[u8], first: u64, flushed: u64) {
    let last: HashMap<u64, u64> = (first..flushed).map(|n| (place(n), n)).collect();
    let mut later: HashMap<u64, Vec<u64>> = HashMap::new();
    (flushed..flushed + WINDOW).for_each(|n| later.entry(place(n)).or_default().push(n));
    for (index, now) in disk.chunks(SECTOR).enumerate() {
        let (block, sector) = ((index * SECTOR / BLOCK) as u64, index % (BLOCK / SECTOR));
        let kept = match last.get(&block) {
            Some(n) => contents(*n, sector),
            None => before[index * SECTOR..][..SECTOR].to_vec(),
        };
        let is_later =
            || later.get(&block).is_some_and(|all| all.iter().any(|n| now == contents(*n, sector)));
        assert!(
            now == kept || is_later(),
            "sector {index} has lost record {:?} of {first}..{flushed}",
            last.get(&block)
        );
    }
}

fn trine_image(args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_trine")).arg("image").args(args).output();
    let output = output.expect("runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said));
}

/// Kills `rounds` writers on each kind of image.
fn kill_writers(rounds: u64) {
    let size = (BLOCKS * BLOCK as u64).to_string();
    for kind in ["raw", "512", "4K", "64K", "64K over a backing file"] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk");
        let file = path.to_str().expect("a plain name");
        let (cluster, has_backing) = match kind.split_once(' ') {
            Some((cluster, _)) => (cluster, true),
            None => (kind, false),
        };
        let option = format!("cluster_size={cluster}");
        let mut args = vec!["create", file, &size];
        if kind != "raw" {
            args.extend(["-f", "qcow2", "-o", &option]);
        }
        let mut before = vec![0; (BLOCKS * BLOCK as u64) as usize];
        if has_backing {
            before.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i / 99) as u8);
            std::fs::write(folder.path().join("base"), &before).expect("written");
            args.extend(["-b", "base", "-F", "raw"]);
        }
        trine_image(&args);
        for round in 0..rounds {
            let first = (round + 1) * 1_000_000;
            let after = Duration::from_micros(mix(round) % 60_000);
            let flushed = kill_a_writer(&path, first, after);
            assert!(flushed > first, "{kind}: something was flushed");
            let disk = Opened::new(&path).whole();
            verify(&disk, &before, first, flushed);
            if kind != "raw" {
                trine_image(&["check", file]);
            }
            before = disk;
        }
    }
}

#[test]
fn what_was_flushed_survives_twenty_kills() {
    kill_writers(4);
}

#[test]
#[ignore = "takes some minutes"]
fn what_was_flushed_survives_five_hundred_kills() {
    kill_writers(100);
}
