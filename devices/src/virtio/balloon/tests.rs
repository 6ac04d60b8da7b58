//! The balloon as Linux's virtio_balloon drives it.

use super::{
    super::rig::{Part, Rig, VERSION_1},
    *,
};
use crate::Device;

const LIST: u64 = 0x8000;
const LINUX: u64 = VERSION_1 | STATS_VQ | DEFLATE_ON_OOM | PAGE_REPORTING;
/// Below it the test has its lists and rings; from it to the end of RAM is what it looks at.
const FIRST: u64 = 0x2_0000;

/// The balloon and its driver, and no page of RAM that is all zeros.
fn started(features: u64) -> Rig<VirtioBalloon> {
    let rig = Rig::started(VirtioBalloon::new(), features);
    fill(&rig);
    rig
}

fn fill(rig: &Rig<VirtioBalloon>) {
    let ram = &rig.bench.ram;
    ram.store_bytes(FIRST, &vec![7; (ram.len() - FIRST) as usize]);
    ram.take_dirty();
}

/// The runs of pages (start and length) that have become zeros since they were filled, which all
/// count as stored to; and fills them.
fn emptied(rig: &Rig<VirtioBalloon>) -> Vec<(u64, u64)> {
    let ram = &rig.bench.ram;
    let mut dirty = ram.take_dirty();
    dirty.retain(|page| *page >= FIRST);
    let (mut page, mut empty) = ([0; PAGE_SIZE as usize], Vec::new());
    for at in (FIRST..ram.len()).step_by(PAGE_SIZE as usize) {
        ram.load_bytes(at, &mut page);
        if page == [0; PAGE_SIZE as usize] {
            empty.push(at);
        } else {
            assert_eq!(page, [7; PAGE_SIZE as usize], "{at:#x}");
        }
    }
    assert_eq!(dirty, empty);
    fill(rig);
    let runs = empty.chunk_by(|a, b| a + PAGE_SIZE == *b);
    runs.map(|run| (run[0], run.len() as u64 * PAGE_SIZE)).collect()
}

fn inflate(rig: &mut Rig<VirtioBalloon>, pages: &[u32]) {
    let list: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    rig.put(LIST, &list);
    assert_eq!(rig.call(INFLATE, &[Part::Out(LIST, list.len() as u32)]), 0);
}

#[test]
fn the_target_is_in_the_configuration() {
    let mut rig = started(LINUX);
    assert_eq!(
        rig.offered() & 0x00ff_ffff,
        STATS_VQ | DEFLATE_ON_OOM | PAGE_POISON | PAGE_REPORTING
    );
    rig.chip.device_mut().set_target(0x1234);
    rig.wake();
    assert_eq!((rig.vectors(), rig.device_config(0)), (vec![0x50], [0x34, 0x12, 0, 0, 0, 0, 0, 0]));
    rig.bar_write(0, 0x2004, &0x1230_u32.to_le_bytes());
    rig.bar_write(0, 0x2000, &[9; 4]);
    assert_eq!((rig.chip.device().actual(), rig.device_config(0)), (0x1230, [0x34, 0x12]));
    assert_eq!(rig.chip.device().target(), 0x1234);
    rig.chip.device_mut().set_target(0x1234);
    rig.wake();
    assert!(rig.vectors().is_empty(), "no change");
    rig.set_status(0);
    assert_eq!(rig.device_config(0), [0x34, 0x12, 0, 0, 0, 0, 0, 0], "the host's wish stays");
}

#[test]
fn pages_in_the_balloon_go_to_the_host() {
    let mut rig = started(LINUX);
    inflate(&mut rig, &[0x40, 0x41, 0x42, 0x50, 0x4f, 0xff, 0x100, u32::MAX, 0x60]);
    let runs = [(0x40, 3), (0x4f, 2), (0x60, 1), (0xff, 1)];
    assert_eq!(
        emptied(&rig),
        runs.map(|(page, count)| (page << 12, count << 12)),
        "as far as there is RAM"
    );
    rig.put(LIST, &[0x40, 0, 0, 0]);
    rig.call(DEFLATE, &[Part::Out(LIST, 4)]);
    inflate(&mut rig, &[]);
    assert!(emptied(&rig).is_empty());
    rig.offer(INFLATE, &[Part::Out(0, 1 << 20), Part::Out(0, 4)]);
    rig.kick(INFLATE);
    assert!(rig.needs_reset());
}

#[test]
fn free_pages_are_reported() {
    // Queue 3 is where Linux has it, 4 where the specification has it.
    for (features, queue) in [(LINUX, 3), (LINUX, 4), (LINUX & !STATS_VQ, 2)] {
        let mut rig = started(features);
        let parts = [Part::In(0x4_0000, 0x2_0000), Part::In(0x8_0800, 0x1fff), Part::In(0x1001, 9)];
        assert_eq!(rig.call(queue, &parts), 0);
        assert_eq!(emptied(&rig), [(0x4_0000, 0x2_0000), (0x8_1000, 0x1000)]);
    }
    let mut rig = started(LINUX | PAGE_POISON);
    rig.bar_write(0, 0x200c, &[0xaa; 4]);
    rig.call(3, &[Part::In(0x4_0000, 0x1000)]);
    assert!(emptied(&rig).is_empty(), "the guest checks what is in them");
    let mut rig = started(VERSION_1);
    rig.offer(4, &[Part::In(0x4_0000, 0x1000)]);
    rig.kick(4);
    assert!(emptied(&rig).is_empty() && rig.used(4).is_empty(), "not negotiated");
    let mut rig = started(LINUX);
    rig.offer(3, &[Part::In(0x4_0000, 1 << 20), Part::In(0x4_0000, 0x1000)]);
    rig.kick(3);
    assert!(emptied(&rig).is_empty() && rig.needs_reset(), "more than there is");
}

#[test]
fn statistics_are_asked_for() {
    let mut rig = started(LINUX);
    let stat = |tag: u16, value: u64| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat();
    let stats = [stat(4, 1 << 40), stat(5, 7), stat(99, 1)].concat();
    rig.put(LIST, &stats);
    rig.offer(STATS, &[Part::Out(LIST, 30)]);
    rig.kick(STATS);
    assert!(rig.used(STATS).is_empty(), "kept until it is wanted");
    assert_eq!(rig.chip.device().stats(), [(4, 1 << 40), (5, 7)]);
    let saved = rig.chip.save();
    rig.chip.load(&saved).expect("its own state");
    rig.chip.device_mut().request_stats();
    rig.wake();
    assert_eq!(rig.used(STATS), [(0, 0)]);
    rig.chip.device_mut().request_stats();
    rig.wake();
    assert!(rig.used(STATS).is_empty(), "the driver has it");
    rig.offer(STATS, &[Part::Out(LIST, 10)]);
    rig.kick(STATS);
    assert_eq!(rig.used(STATS), [(1, 0)]);
    assert_eq!(rig.chip.device().stats(), [(4, 1 << 40)]);
    let mut bad = saved.clone();
    bad.state["device"]["stats_buffer"] = 16.into();
    rig.chip.load(&bad).expect_err("no descriptor of the queue");
}
