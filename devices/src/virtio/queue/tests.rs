//! Queues against the specification: rings, chains and everything that is wrong with them.

use trine_guest::{Gpa, Ram};

use super::{Chain, Queue, QueueError, RingFeatures};
use crate::Segment;

const TABLE: u64 = 0x1000;
const DRIVER: u64 = 0x2000;
const DEVICE: u64 = 0x3000;
const INDIRECT_TABLE: u64 = 0x4000;
const PLAIN: RingFeatures = RingFeatures { indirect: false, event_index: false };
const ALL: RingFeatures = RingFeatures { indirect: true, event_index: true };

/// Address, length, flags and next of a descriptor.
type Parts = (u64, u32, u16, u16);

struct Rings {
    ram: Ram,
    queue: Queue,
}

impl Rings {
    fn new(size: u16) -> Self {
        let mut queue = Queue::new(size);
        (queue.descriptors, queue.driver, queue.device) = (TABLE, DRIVER, DEVICE);
        queue.ready = true;
        assert!(queue.is_possible());
        Self { ram: Ram::flat(1 << 20).unwrap(), queue }
    }

    fn descriptor(&self, table: u64, n: u64, at: u64, len: u32, flags: u16, next: u16) {
        let low = u128::from(at) | u128::from(len) << 64;
        let all = low | u128::from(flags) << 96 | u128::from(next) << 112;
        self.ram.write(Gpa(table + 16 * n), &all.to_le_bytes()).unwrap();
    }

    fn write(&self, at: u64, value: u16) {
        self.ram.write(Gpa(at), &value.to_le_bytes()).unwrap();
    }

    fn read(&self, at: u64) -> u16 {
        let mut bytes = [0; 2];
        self.ram.read(Gpa(at), &mut bytes).unwrap();
        u16::from_le_bytes(bytes)
    }

    fn take(&mut self, has: RingFeatures) -> Result<Option<Chain>, QueueError> {
        self.queue.take(&self.ram, has)
    }

    /// The chain at descriptor 0.
    fn walk(&self, has: RingFeatures) -> Result<Chain, QueueError> {
        self.queue.chain(&self.ram, has, 0)
    }
}

fn segment(at: u64, len: u32) -> Segment {
    Segment { at: Gpa(at), len }
}

#[test]
fn buffers_come_in_order_and_go_back_in_any() {
    let mut r = Rings::new(4);
    for n in 0..4 {
        r.descriptor(TABLE, n, 0x8000 + n * 0x100, 16, 0, 0);
    }
    assert_eq!(r.take(PLAIN), Ok(None));
    // Ten rounds of three buffers in a ring of four: all positions, and beyond the end.
    for round in 0..10_u16 {
        for n in 0..3 {
            let index = round * 3 + n;
            r.write(DRIVER + 4 + 2 * u64::from(index % 4), 3 - n);
            r.write(DRIVER + 2, index + 1);
        }
        let heads = [0; 3].map(|_| r.take(PLAIN).unwrap().expect("a buffer").head);
        assert_eq!((heads, r.take(PLAIN)), ([3, 2, 1], Ok(None)));
        for head in [2, 3, 1] {
            r.queue.push(&r.ram, head, u32::from(head) * 10).unwrap();
        }
        assert_eq!(r.read(DEVICE + 2), round * 3 + 3);
        let last = u64::from((round * 3 + 2) % 4);
        assert_eq!((r.read(DEVICE + 4 + 8 * last), r.read(DEVICE + 8 + 8 * last)), (1, 10));
        assert_eq!(r.queue.wants_interrupt(&r.ram, PLAIN), Ok(true));
        assert_eq!(r.queue.wants_interrupt(&r.ram, PLAIN), Ok(false), "nothing is new");
    }
    r.write(DRIVER, 1);
    r.queue.push(&r.ram, 0, 0).unwrap();
    assert_eq!(r.queue.wants_interrupt(&r.ram, PLAIN), Ok(false), "the driver polls");
}

#[test]
fn indexes_wrap_around() {
    let mut r = Rings::new(2);
    r.descriptor(TABLE, 0, 0x8000, 1, 0, 0);
    for index in 1..=0x2_0003_u32 {
        r.write(DRIVER + 2, index as u16);
        assert!(r.take(ALL).unwrap().is_some());
        r.queue.push(&r.ram, 0, 0).unwrap();
    }
    assert_eq!((r.read(DEVICE + 2), r.take(ALL)), (3, Ok(None)));
}

/// The example of section 2.7.7.2, and its neighbours on both sides of the end of all numbers.
#[test]
fn the_event_index_says_which_buffer_is_worth_an_interrupt() {
    let mut r = Rings::new(8);
    let used_event = DRIVER + 4 + 2 * 8;
    let mut used = 0_u16;
    for (ahead, wants) in [(0, true), (1, true), (2, true), (3, false), (0xffff, false)] {
        for _ in 0..0x1_0003 / 3 {
            r.write(used_event, used.wrapping_add(ahead));
            for _ in 0..3 {
                r.queue.push(&r.ram, 0, 0).unwrap();
                used = used.wrapping_add(1);
            }
            let got = r.queue.wants_interrupt(&r.ram, ALL);
            assert_eq!(got, Ok(wants), "{ahead} ahead of {used}");
        }
    }
    // Flags say nothing then.
    r.write(DRIVER, 1);
    r.write(used_event, used);
    r.queue.push(&r.ram, 0, 0).unwrap();
    assert_eq!(r.queue.wants_interrupt(&r.ram, ALL), Ok(true));
}

#[test]
fn an_empty_queue_asks_for_a_notification_of_the_next_buffer() {
    let mut r = Rings::new(8);
    let avail_event = DEVICE + 4 + 8 * 8;
    r.descriptor(TABLE, 0, 0x8000, 1, 0, 0);
    r.write(DRIVER + 2, 2);
    assert!(r.take(ALL).unwrap().is_some());
    assert_eq!(r.read(avail_event), 0, "not while there is more");
    assert!(r.take(ALL).unwrap().is_some());
    assert_eq!((r.take(ALL), r.read(avail_event)), (Ok(None), 2));
    r.write(DRIVER + 2, 3);
    assert!(r.take(PLAIN).unwrap().is_some());
    assert_eq!((r.take(PLAIN), r.read(avail_event)), (Ok(None), 2), "only if negotiated");
}

#[test]
fn chains_are_walked_to_their_end() {
    let r = Rings::new(8);
    r.descriptor(TABLE, 0, 0x8000, 16, 1, 5);
    r.descriptor(TABLE, 5, 0x9000, 0, 1, 2);
    r.descriptor(TABLE, 2, 0xa000, 3, 3, 7);
    r.descriptor(TABLE, 7, 0xfffff, 1, 2, 3);
    let chain = r.walk(PLAIN).unwrap();
    assert_eq!(chain.readable, [segment(0x8000, 16)]);
    assert_eq!(chain.writable, [segment(0xa000, 3), segment(0xfffff, 1)]);
    assert_eq!((chain.readable_len(), chain.writable_len()), (16, 4));
}

#[test]
fn an_indirect_table_follows_direct_descriptors() {
    let r = Rings::new(4);
    r.descriptor(TABLE, 0, 0x8000, 1, 1, 1);
    // WRITE has no meaning beside INDIRECT.
    r.descriptor(TABLE, 1, INDIRECT_TABLE, 16 * 9, 4 | 2, 0);
    for n in 0..9 {
        let flags = if n == 8 { 2 } else { 1 };
        r.descriptor(INDIRECT_TABLE, n, 0x9000 + n, 1, flags, n as u16 + 1);
    }
    let chain = r.walk(ALL).unwrap();
    assert_eq!((chain.readable.len(), chain.writable.len()), (9, 1), "longer than the queue");
    assert_eq!(r.walk(PLAIN), Err(QueueError::Indirect), "not negotiated");
}

#[test]
fn a_broken_chain_is_refused() {
    use QueueError::*;
    let cases: [(&[Parts], QueueError); 12] = [
        (&[(0x8000, 1, 1, 0)], Endless),
        (&[(0x8000, 1, 1, 1), (0x8000, 1, 1, 0)], Endless),
        (&[(0x8000, 1, 1, 4)], NoDescriptor(4)),
        (&[(0x8000, 1, 1, 0xffff)], NoDescriptor(0xffff)),
        (&[(0xfffff, 2, 0, 0)], NotRam(Gpa(0xfffff))),
        (&[(u64::MAX, 2, 2, 0)], NotRam(Gpa(u64::MAX))),
        (&[(1 << 40, u32::MAX, 0, 0)], NotRam(Gpa(1 << 40))),
        (&[(0x8000, 1, 3, 1), (0x8000, 1, 0, 0)], Order),
        (&[(INDIRECT_TABLE, 16, 5, 1)], Indirect),
        (&[(INDIRECT_TABLE, 17, 4, 0)], Indirect),
        (&[(INDIRECT_TABLE, 0, 4, 0)], Indirect),
        (&[(INDIRECT_TABLE, 16 * 1025, 4, 0)], Indirect),
    ];
    for (descriptors, want) in cases {
        let r = Rings::new(4);
        for (n, &(at, len, flags, next)) in (0..).zip(descriptors) {
            r.descriptor(TABLE, n, at, len, flags, next);
        }
        assert_eq!(r.walk(ALL), Err(want), "{descriptors:x?}");
    }
}

#[test]
fn a_broken_indirect_table_is_refused() {
    use QueueError::*;
    let cases = [
        ((INDIRECT_TABLE, 16, 4, 0), Indirect),
        ((0x8000, 1, 1, 2), NoDescriptor(2)),
        ((0x8000, 1, 1, 0), Endless),
        ((1 << 32, 1, 0, 0), NotRam(Gpa(1 << 32))),
    ];
    for ((at, len, flags, next), want) in cases {
        let r = Rings::new(4);
        r.descriptor(TABLE, 0, INDIRECT_TABLE, 32, 4, 0);
        r.descriptor(INDIRECT_TABLE, 0, at, len, flags, next);
        assert_eq!(r.walk(ALL), Err(want));
        r.descriptor(TABLE, 0, 0xffff8, 32, 4, 0);
        assert_eq!(r.walk(ALL), Err(NotRam(Gpa(0xffff8))), "half of it");
    }
}

#[test]
fn broken_rings_are_refused() {
    let mut r = Rings::new(4);
    r.write(DRIVER + 2, 5);
    assert_eq!(r.take(PLAIN), Err(QueueError::Overrun { waiting: 5, size: 4 }));
    r.write(DRIVER + 2, 0xffff);
    assert_eq!(r.take(PLAIN), Err(QueueError::Overrun { waiting: 0xffff, size: 4 }));
    r.write(DRIVER + 2, 1);
    r.write(DRIVER + 4, 4);
    assert_eq!(r.take(PLAIN), Err(QueueError::NoDescriptor(4)));
    for nowhere in [0x10_0000, u64::MAX - 3] {
        let at = Gpa(nowhere.wrapping_add(2));
        let mut queue = r.queue.clone();
        queue.driver = nowhere;
        assert_eq!(queue.take(&r.ram, PLAIN), Err(QueueError::NotRam(at)));
        queue.device = nowhere;
        assert!(queue.push(&r.ram, 0, 0).is_err());
    }
}

#[test]
fn a_buffer_is_read_and_written_across_its_parts() {
    let r = Rings::new(4);
    r.ram.write(Gpa(0x8000), b"abcdef").unwrap();
    let chain = Chain {
        head: 0,
        readable: vec![segment(0x8003, 3), segment(0x8000, 2)],
        writable: vec![segment(0x9000, 2), segment(0x9100, 3)],
    };
    let mut data = [0; 8];
    assert_eq!((chain.read(&r.ram, 0, &mut data), &data[..5]), (5, &b"defab"[..]));
    assert_eq!((chain.read(&r.ram, 2, &mut data[..2]), &data[..2]), (2, &b"fa"[..]));
    assert_eq!(chain.read(&r.ram, 5, &mut data), 0);
    assert_eq!(chain.write(&r.ram, 1, b"xyz"), 3);
    assert_eq!(chain.write(&r.ram, 4, b"!?"), 1);
    assert_eq!(chain.write(&r.ram, u64::MAX, b"no"), 0);
    let mut data = [0; 2];
    r.ram.read(Gpa(0x9000), &mut data).unwrap();
    assert_eq!(data, *b"\0x");
    let mut data = [0; 4];
    r.ram.read(Gpa(0x9100), &mut data).unwrap();
    assert_eq!(data, *b"yz!\0");
}

/// A driver on another thread, that notifies only when it is asked to and waits for what it gets
/// back: no buffer is forgotten, however the two meet.
#[test]
fn no_notification_is_lost_between_threads() {
    use std::{
        sync::atomic::{AtomicBool, AtomicU32, Ordering, fence},
        thread,
    };
    const SIZE: u16 = 4;
    const BUFFERS: u32 = 50_000;
    let mut r = Rings::new(SIZE);
    (0..SIZE).for_each(|n| r.descriptor(TABLE, n.into(), 0x8000, 1, 0, 0));
    (0..SIZE).for_each(|n| r.write(DRIVER + 4 + 2 * u64::from(n), n));
    let Rings { ram, queue } = &mut r;
    let ram = &*ram;
    let (kicks, heard, is_done) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
    let avail_event = DEVICE + 4 + 8 * u64::from(SIZE);
    let taken = thread::scope(|s| {
        let device = s.spawn(|| {
            let mut taken = 0;
            loop {
                let now = kicks.load(Ordering::SeqCst);
                while heard.load(Ordering::SeqCst) != now {
                    while let Some(chain) = queue.take(ram, ALL).unwrap() {
                        queue.push(ram, chain.head, 0).unwrap();
                        taken += 1;
                    }
                    heard.store(now, Ordering::SeqCst);
                }
                if is_done.load(Ordering::SeqCst) && kicks.load(Ordering::SeqCst) == now {
                    return taken;
                }
                thread::yield_now();
            }
        });
        let spot = |at: u64| ram.spot(Gpa(at)).unwrap().offset;
        'all: for n in 0..BUFFERS {
            let index = (n + 1) as u16;
            ram.store(spot(DRIVER + 2), index);
            fence(Ordering::SeqCst);
            if ram.load::<u16>(spot(avail_event)) == n as u16 {
                kicks.fetch_add(1, Ordering::SeqCst);
            }
            // There is room again when the oldest buffer is back.
            let is_full = || index.wrapping_sub(ram.load::<u16>(spot(DEVICE + 2))) >= SIZE;
            while is_full() {
                let is_idle = heard.load(Ordering::SeqCst) == kicks.load(Ordering::SeqCst);
                if is_idle && is_full() {
                    break 'all;
                }
                thread::yield_now();
            }
        }
        is_done.store(true, Ordering::SeqCst);
        device.join().unwrap()
    });
    assert_eq!(taken, BUFFERS, "the device sleeps on a full queue");
}
