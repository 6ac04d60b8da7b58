//! The block device as Linux, OVMF and SeaBIOS drive it, and as they would not.

use super::{
    super::rig::{EVENT_IDX, INDIRECT_DESC, NEXT, Part, Rig, VERSION_1, WRITE},
    *,
};
use crate::{Answer, Device, RamDisk};
use std::sync::{Arc, Mutex};

const HEADER: u64 = 0x8000;
const STATUS: u64 = 0x8100;
const DATA: u64 = 0x2_0000;
/// Features that Linux accepts.
const LINUX: u64 = VERSION_1
    | INDIRECT_DESC
    | EVENT_IDX
    | SEG_MAX
    | BLK_SIZE
    | FLUSH
    | TOPOLOGY
    | CONFIG_WCE
    | DISCARD
    | WRITE_ZEROES;

/// A disk that says what it was asked, and can be made larger.
#[derive(Clone)]
struct Spy {
    disk: Arc<Mutex<RamDisk>>,
    orders: Arc<Mutex<Vec<String>>>,
    len: Arc<Mutex<u64>>,
    fails: Arc<Mutex<Option<DiskError>>>,
}

impl Spy {
    fn new(disk: RamDisk) -> Self {
        let len = Arc::new(Mutex::new(disk.len()));
        let (orders, fails) = <(Arc<Mutex<Vec<String>>>, _)>::default();
        Self { disk: Arc::new(Mutex::new(disk)), orders, len, fails }
    }

    fn orders(&self) -> Vec<String> {
        std::mem::take(&mut self.orders.lock().unwrap())
    }

    fn contents(&self) -> Vec<u8> {
        self.disk.lock().unwrap().contents().to_vec()
    }
}

impl Disk for Spy {
    fn len(&self) -> u64 {
        *self.len.lock().unwrap()
    }
    fn is_read_only(&self) -> bool {
        self.disk.lock().unwrap().is_read_only()
    }
    fn serial(&self) -> &str {
        "a serial of 20 bytes"
    }
    fn submit(&mut self, now: VmTime, ticket: u64, order: Order) {
        let shown = match &order {
            Order::Read { at, len } => format!("read {at} {len}"),
            Order::Write { at, data } => format!("write {at} {}", data.len()),
            Order::Flush => "flush".into(),
            Order::Discard { at, len } => format!("discard {at} {len}"),
            Order::WriteZeroes { at, len, may_unmap } => format!("zero {at} {len} {may_unmap}"),
        };
        self.orders.lock().unwrap().push(shown);
        self.disk.lock().unwrap().submit(now, ticket, order);
    }
    fn next_answer(&self) -> Option<VmTime> {
        self.disk.lock().unwrap().next_answer()
    }
    fn take(&mut self, now: VmTime) -> Option<Answer> {
        let answer = self.disk.lock().unwrap().take(now)?;
        let result = self.fails.lock().unwrap().map_or(answer.result, Err);
        Some(Answer { result, ..answer })
    }
    fn cancel(&mut self) {
        self.disk.lock().unwrap().cancel();
    }
}

/// A disk of 64 sectors, each filled with its number.
fn disk() -> RamDisk {
    numbered(1000)
}

fn numbered(latency_ns: u64) -> RamDisk {
    RamDisk::new((0..64 * 512).map(|n| (n / 512) as u8).collect(), latency_ns)
}

fn started(disk: RamDisk, features: u64) -> (Rig<VirtioBlk>, Spy) {
    let spy = Spy::new(disk);
    (Rig::started(VirtioBlk::new(Box::new(spy.clone()), 1), features), spy)
}

impl Rig<VirtioBlk> {
    fn header(&mut self, at: u64, of: u32, sector: u64) {
        self.put(at, &(u128::from(of) | u128::from(sector) << 64).to_le_bytes());
        self.put(STATUS, &[0xee]);
    }

    /// Makes a request, waits for its end, and returns its status.
    fn request(&mut self, of: u32, sector: u64, data: &[Part]) -> u8 {
        self.header(HEADER, of, sector);
        let mut parts = vec![Part::Out(HEADER, 16)];
        parts.extend(data);
        parts.push(Part::In(STATUS, 1));
        let head = self.offer(0, &parts);
        self.kick(0);
        self.run_ns(1_000_000);
        let used = self.used(0);
        assert_eq!(used.iter().map(|(of, _)| *of).collect::<Vec<_>>(), [u32::from(head)]);
        self.get::<1>(STATUS)[0]
    }
}

#[test]
fn linux_reads_what_kind_of_disk_it_is() {
    let (mut rig, _) = started(disk(), LINUX);
    assert_eq!(rig.offered(), LINUX);
    assert_eq!(u64::from_le_bytes(rig.device_config(0)), 64);
    let words =
        [12, 20, 24, 36, 40, 44, 48, 52].map(|at| u32::from_le_bytes(rig.device_config(at)));
    assert_eq!(words, [254, 512, 0x8_0003, 1 << 22, 64, 8, 1 << 22, 64]);
    assert_eq!((rig.device_config(32), rig.device_config(34)), ([1], [1, 0]));
    assert_eq!((rig.device_config(56), rig.device_config(60)), ([1], [0; 4]), "and nothing more");
    let many = VirtioBlk::new(Box::new(disk().read_only()), 4);
    let mut rig = Rig::new(many);
    assert_eq!(rig.offered() & (RO | MQ | DISCARD | WRITE_ZEROES), RO | MQ);
    assert_eq!((rig.device_config(34), rig.bar_read(0, 0x12)), ([4, 0], [4, 0]));
}

#[test]
fn sectors_are_read_and_written_in_pieces_of_memory() {
    let (mut rig, spy) = started(disk(), LINUX);
    let into = [Part::In(DATA, 100), Part::In(DATA + 0x1000, 924)];
    assert_eq!(rig.request(0, 3, &into), 0);
    assert_eq!((rig.get::<2>(DATA + 98), rig.get::<2>(DATA + 0x1000)), ([3, 3], [3, 3]));
    assert_eq!(rig.get::<3>(DATA + 0x1000 + 922), [4, 4, 0]);
    rig.put(DATA, &[0xaa; 512]);
    assert_eq!(rig.request(1, 63, &[Part::Out(DATA, 12), Part::Out(DATA + 12, 500)]), 0);
    assert_eq!(spy.contents()[63 * 512 - 1..63 * 512 + 1], [62, 0xaa]);
    assert_eq!(spy.orders(), ["read 1536 1024", "write 32256 512"]);
    assert_eq!(rig.request(4, 0, &[]), 0);
    assert_eq!(rig.request(8, 0, &[Part::In(DATA, 20)]), 0);
    assert_eq!((rig.get(DATA), spy.orders()), (*b"a serial of 20 bytes\xaa", vec!["flush".into()]));
    assert_eq!(rig.request(8, 0, &[Part::In(DATA + 0x1000, 4)]), 0);
    assert_eq!(rig.get(DATA + 0x1000), *b"a se\x03");
}

#[test]
fn the_driver_hears_how_much_is_new() {
    let (mut rig, _) = started(numbered(0), LINUX);
    let mut call = |of, sector, data: Part| {
        rig.header(HEADER, of, sector);
        rig.call(0, &[Part::Out(HEADER, 16), data, Part::In(STATUS, 1)])
    };
    assert_eq!(call(0, 0, Part::In(DATA, 1024)), 1025);
    assert_eq!(call(1, 0, Part::Out(DATA, 512)), 1);
    assert_eq!(call(0, 64, Part::In(DATA, 512)), 0, "nothing that can be relied on");
    assert_eq!(call(1, 64, Part::Out(DATA, 512)), 1);
}

#[test]
fn what_cannot_be_done_has_a_status() {
    let (mut rig, spy) = started(disk(), LINUX);
    let (one, io, unsupported) = ([Part::In(DATA, 512)], 1, 2);
    for sector in [64, u64::MAX, u64::MAX / 512, 1 << 55] {
        assert_eq!(rig.request(0, sector, &one), io, "sector {sector}");
    }
    assert_eq!(rig.request(0, 63, &[Part::In(DATA, 1024)]), io, "half of it");
    assert_eq!(rig.request(0, 0, &[Part::In(DATA, 511)]), io, "no whole sector");
    assert_eq!(rig.request(1, 0, &[Part::Out(DATA, 513)]), io);
    for of in [2, 3, 5, 7, 14, 0x8000_0000] {
        assert_eq!(rig.request(of, 0, &one), unsupported, "type {of}");
    }
    assert_eq!(spy.orders().len(), 0);
    for (error, status) in [(DiskError::Io, io), (DiskError::Unsupported, unsupported)] {
        *spy.fails.lock().unwrap() = Some(error);
        assert_eq!(rig.request(1, 0, &[Part::Out(DATA, 512)]), status);
    }
    assert!(!rig.needs_reset());
    let (mut rig, spy) = started(disk().read_only(), VERSION_1 | RO);
    assert_eq!(rig.request(1, 0, &[Part::Out(DATA, 512)]), io);
    assert_eq!((rig.request(0, 5, &one), rig.get(DATA)), (0, [5]));
    assert_eq!(spy.contents(), disk().contents());
}

#[test]
fn a_request_without_header_or_status_needs_a_reset() {
    let header = Part::Out(HEADER, 16);
    let cases = [vec![header], vec![Part::Out(HEADER, 15), Part::In(STATUS, 1)], vec![]];
    for parts in cases {
        let (mut rig, spy) = started(disk(), LINUX);
        rig.header(HEADER, 0, 0);
        rig.offer(0, &[header, Part::In(DATA, 512), Part::In(STATUS, 1)]);
        match parts.is_empty() {
            // The first one once more.
            true => rig.offer_head(0, 0),
            false => drop(rig.offer(0, &parts)),
        }
        rig.kick(0);
        assert!(rig.needs_reset());
        rig.run_ns(10_000);
        assert_eq!((rig.used(0), spy.next_answer()), (vec![], None), "nothing is under way");
    }
}

#[test]
fn ranges_are_discarded_and_zeroed() {
    let (mut rig, spy) = started(disk(), LINUX);
    let mut ranges = |of, ranges: &[(u64, u32, u32)]| {
        for (n, (sector, sectors, flags)) in (0..).zip(ranges) {
            let low = u128::from(*sector) | u128::from(*sectors) << 64;
            rig.put(DATA + 16 * n, &(low | u128::from(*flags) << 96).to_le_bytes());
        }
        rig.request(of, 0, &[Part::Out(DATA, 16 * ranges.len() as u32)])
    };
    assert_eq!(ranges(11, &[(0, 8, 0), (32, 1, 0)]), 0);
    assert_eq!(ranges(13, &[(1, 1, 1), (63, 1, 0)]), 0);
    assert_eq!(
        spy.orders(),
        ["discard 0 4096", "discard 16384 512", "zero 512 512 true", "zero 32256 512 false"]
    );
    assert_eq!((spy.contents()[62 * 512], spy.contents()[63 * 512]), (62, 0));
    assert_eq!(ranges(11, &[(0, 1, 1)]), 2, "discards have no flags");
    assert_eq!(ranges(13, &[(0, 1, 2)]), 2);
    assert_eq!(ranges(11, &[(0, 1, 0), (64, 1, 0)]), 1, "and the first is not done either");
    assert_eq!(ranges(13, &[(u64::MAX, u32::MAX, 0)]), 1);
    assert_eq!(ranges(11, &[]), 1);
    assert_eq!(ranges(11, &[(0, 1, 0); 65]), 1);
    assert_eq!(rig.request(11, 0, &[Part::Out(DATA, 15)]), 1);
    assert_eq!(spy.orders().len(), 0);
}

#[test]
fn writes_go_through_a_cache_that_the_driver_cannot_flush() {
    let write = [Part::Out(DATA, 512)];
    let through = ["write 0 512", "flush"];
    let (mut rig, spy) = started(disk(), VERSION_1);
    assert_eq!((rig.request(1, 0, &write), spy.orders()), (0, through.map(String::from).to_vec()));
    let (mut rig, spy) = started(disk(), VERSION_1 | FLUSH);
    assert_eq!((rig.request(1, 0, &write), spy.orders()), (0, vec!["write 0 512".into()]));
    let (mut rig, spy) = started(disk(), VERSION_1 | FLUSH | CONFIG_WCE);
    rig.bar_write(0, 0x2020, &[0]);
    assert_eq!(rig.device_config(32), [0]);
    assert_eq!((rig.request(1, 0, &write), spy.orders()), (0, through.map(String::from).to_vec()));
    rig.bar_write(0, 0x2000, &[9]);
    assert_eq!(rig.device_config(0), [64], "no other field is the driver's");
    rig.start(LINUX);
    assert_eq!(rig.device_config(32), [1], "as after a reset");
}

#[test]
fn many_requests_are_under_way_at_once() {
    let (mut rig, spy) = started(disk(), LINUX);
    for n in 0..4 {
        rig.header(HEADER + 16 * n, 0, n);
        let at = DATA + 0x1000 * n;
        let parts = [Part::Out(HEADER + 16 * n, 16), Part::In(at, 512), Part::In(STATUS + n, 1)];
        rig.offer(0, &parts);
    }
    rig.kick(0);
    assert_eq!((spy.orders().len(), rig.used(0)), (4, vec![]));
    assert_eq!(rig.chip.as_timed().unwrap().next_event(), Some(VmTime(1000)));
    rig.run_ns(1000);
    assert_eq!(rig.used(0).len(), 4);
    assert_eq!(rig.vectors(), [0x51], "one interrupt for all");
    assert_eq!([0, 1, 2, 3].map(|n| rig.get::<1>(DATA + 0x1000 * n)[0]), [0, 1, 2, 3]);
    assert_eq!(rig.chip.as_timed().unwrap().next_event(), None);
}

#[test]
fn long_requests_go_to_the_disk_in_pieces() {
    let (mut rig, spy) = started(RamDisk::new(vec![9; 8 << 20], 10), LINUX);
    // An indirect table of 200 times the same 15 KiB: 3,072,000 bytes.
    let table = 0x4_0000;
    rig.header(HEADER, 0, 16);
    rig.descriptor(table, 0, (HEADER, 16, NEXT, 1));
    (1..=200).for_each(|n| rig.descriptor(table, n, (DATA, 15 << 10, NEXT | WRITE, n + 1)));
    rig.descriptor(table, 201, (STATUS, 1, WRITE, 0));
    rig.descriptor(0x1_0000, 3, (table, 202 * 16, 4, 0));
    rig.offer_head(0, 3);
    rig.kick(0);
    assert_eq!(spy.orders(), ["read 8192 1048576"]);
    rig.run_ns(10);
    let saved = rig.chip.save();
    rig.chip.load(&saved).expect("its own state");
    spy.orders();
    rig.run_ns(19);
    assert_eq!(spy.orders(), ["read 1056768 1048576", "read 2105344 974848"], "not the first");
    assert_eq!(rig.used(0), []);
    rig.run_ns(1);
    assert_eq!(rig.used(0), [(3, 3_072_001)]);
    assert_eq!((rig.get::<1>(STATUS), rig.get::<1>(DATA)), ([0], [9]));
}

#[test]
fn requests_under_way_are_made_again_after_a_load() {
    let (mut rig, spy) = started(disk(), VERSION_1);
    rig.put(DATA, &[0x77; 512]);
    rig.header(HEADER, 1, 8);
    rig.offer(0, &[Part::Out(HEADER, 16), Part::Out(DATA, 512), Part::In(STATUS, 1)]);
    rig.kick(0);
    let saved = rig.chip.save();
    // Another machine, with the same RAM and a disk on which nothing was written.
    let fresh = Spy::new(disk());
    drop(spy);
    rig.chip = Rig::chip(&rig.bench, VirtioBlk::new(Box::new(fresh.clone()), 1));
    rig.chip.load(&saved).expect("the same device");
    assert_eq!((rig.chip.save(), rig.bench.said()), (saved.clone(), vec![]));
    assert_eq!(rig.chip.as_timed().unwrap().next_event(), Some(VmTime::ZERO));
    rig.wake();
    assert_eq!(rig.chip.save(), saved, "still under way");
    rig.run_ns(1000);
    assert_eq!(fresh.orders(), ["write 4096 512", "flush"]);
    let flushing = rig.chip.save();
    assert_eq!(flushing.state["device"]["under_way"][0]["is_flushing"], true);
    rig.chip.load(&flushing).expect("its own state");
    rig.run_ns(1000);
    assert_eq!((fresh.orders(), rig.used(0)), (vec!["flush".to_owned()], vec![(0, 1)]));
    assert_eq!((rig.vectors(), fresh.contents()[4096]), (vec![0x51], 0x77));
}

#[test]
fn a_reset_forgets_what_is_under_way() {
    let (mut rig, spy) = started(disk(), LINUX);
    rig.header(HEADER, 0, 8);
    rig.offer(0, &[Part::Out(HEADER, 16), Part::In(DATA, 512), Part::In(STATUS, 1)]);
    rig.kick(0);
    rig.set_status(0);
    assert_eq!(spy.next_answer(), None, "cancelled");
    rig.run_ns(2000);
    assert_eq!((rig.get(STATUS), rig.get(DATA)), ([0xee], [0]));
    rig.start(LINUX);
    assert_eq!((rig.request(0, 8, &[Part::In(DATA, 512)]), rig.get(DATA)), (0, [8]));
}

#[test]
fn answers_wait_for_a_bus_master() {
    let (mut rig, _) = started(disk(), LINUX);
    rig.header(HEADER, 0, 8);
    rig.offer(0, &[Part::Out(HEADER, 16), Part::In(DATA, 512), Part::In(STATUS, 1)]);
    rig.kick(0);
    rig.config_write(0x04, &[0x02]);
    rig.run_ns(2000);
    assert_eq!((rig.get(STATUS), rig.used(0)), ([0xee], vec![]));
    rig.config_write(0x04, &[0x06]);
    assert_eq!((rig.get(STATUS), rig.used(0)), ([0], vec![(0, 513)]));
}

#[test]
fn a_larger_disk_is_announced() {
    let (mut rig, spy) = started(disk(), LINUX);
    let generation = rig.bar_read::<1>(0, 0x15)[0];
    spy.disk.lock().unwrap().submit(VmTime(0), 0, Order::Flush);
    *spy.len.lock().unwrap() = 128 * 512;
    rig.wake();
    assert_eq!(rig.vectors(), [0x50]);
    assert_eq!(u64::from_le_bytes(rig.device_config(0)), 128);
    assert_eq!(rig.bar_read(0, 0x15), [generation.wrapping_add(1)]);
    rig.wake();
    assert!(rig.vectors().is_empty(), "once");
}

#[test]
fn every_queue_is_served() {
    let spy = Spy::new(disk());
    let mut rig = Rig::started(VirtioBlk::new(Box::new(spy.clone()), 3), LINUX | MQ);
    for queue in [2, 0, 1] {
        let n = queue as u64;
        rig.header(HEADER + 16 * n, 0, 10 + n);
        let data = Part::In(DATA + 0x1000 * n, 512);
        rig.offer(queue, &[Part::Out(HEADER + 16 * n, 16), data, Part::In(STATUS + n, 1)]);
        rig.kick(queue);
    }
    assert_eq!(spy.orders(), ["read 6144 512", "read 5120 512", "read 5632 512"]);
    rig.run_ns(1000);
    assert_eq!([0, 1, 2].map(|queue| rig.used(queue)), [0; 3].map(|_| vec![(0, 513)]));
    assert_eq!(rig.vectors(), [0x51, 0x52, 0x53]);
}

#[test]
fn a_state_has_only_requests_that_can_be() {
    let (mut rig, _) = started(disk(), LINUX);
    rig.header(HEADER, 0, 8);
    rig.offer(0, &[Part::Out(HEADER, 16), Part::In(DATA, 512), Part::In(STATUS, 1)]);
    rig.kick(0);
    let saved = rig.chip.save();
    for (pointer, value) in [
        ("/device/under_way/0/queue", 1),
        ("/device/under_way/0/head", 16),
        ("/device/capacity", u64::MAX),
        ("/device/turn", 1),
        ("/facilities/queues/0/size", 0),
    ] {
        let mut bad = saved.clone();
        *bad.state.pointer_mut(pointer).unwrap() = value.into();
        rig.chip.load(&bad).expect_err(pointer);
        assert_eq!(rig.chip.save(), saved, "{pointer}");
    }
    let mut twice = saved.clone();
    let one = twice.state["device"]["under_way"][0].clone();
    twice.state["device"]["under_way"].as_array_mut().unwrap().push(one);
    rig.chip.load(&twice).expect_err("the same request twice");
    // What can be and is not true does no harm.
    for (pointer, value) in
        [("/device/under_way/0/head", 7), ("/device/under_way/0/done", u64::MAX)]
    {
        let mut odd = saved.clone();
        *odd.state.pointer_mut(pointer).unwrap() = value.into();
        rig.chip.load(&odd).expect(pointer);
        rig.run_ns(2000);
    }
}
