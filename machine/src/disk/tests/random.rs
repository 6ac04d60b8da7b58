//! Random orders against a disk in memory, several under way at once.

use std::collections::HashMap;

use trine_devices::RamDisk;

use super::*;

/// xorshift64*.
pub(super) struct Dice(pub u64);

impl Dice {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % n
    }
}

/// The disk is cut into lanes, each with one order under way, so that it is known what is read.
const LANES: u64 = 8;
const LANE: u64 = 256 << 10;

fn random_order(dice: &mut Dice, lane: u64, step: u64) -> Order {
    let start = lane * LANE;
    let at = dice.below(LANE / 512) * 512;
    let most = if dice.below(10) == 0 { LANE } else { 16 << 10 };
    let len = (1 + dice.below(most / 512)) * 512;
    let (at, len) = (start + at, len.min(LANE - at));
    match dice.below(20) {
        0 => Order::Flush,
        1 => Order::WriteZeroes { at, len, may_unmap: false },
        2 => Order::WriteZeroes { at, len, may_unmap: true },
        3 => Order::Discard { at, len },
        4..12 => Order::Write { at, data: vec![(step % 255) as u8 + 1; len as usize].into() },
        _ => Order::Read { at, len: len as usize },
    }
}

/// Runs `steps` orders on `disk` and the same on `model`, and compares what they read. What was
/// discarded may read as anything, so it is written at once.
fn run(disk: &mut Awaited, model: &mut RamDisk, dice: &mut Dice, steps: u64) {
    let mut waiting: HashMap<u64, Result<Vec<u8>, DiskError>> = HashMap::new();
    let mut again = Vec::new();
    for step in 0..steps {
        let lane = step % LANES;
        while waiting.contains_key(&lane) {
            let answer = disk.answer();
            let want = waiting.remove(&answer.ticket).expect("it was asked for");
            assert!(answer.result == want, "step {step}, lane {}", answer.ticket);
        }
        let order = again.pop_if(|(of, _)| *of == lane).map(|(_, order)| order);
        let order = order.unwrap_or_else(|| random_order(dice, lane, step));
        if let Order::Discard { at, len } = order {
            again.push((lane, Order::Write { at, data: vec![0xdd; len as usize].into() }));
            // Nobody may read before that is written.
            if again.len() > 1 {
                again.remove(0);
            }
        }
        model.submit(VmTime(0), lane, order.clone());
        let want = model.take(VmTime(0)).expect("at once").result;
        disk.disk.submit(VmTime(step), lane, order);
        waiting.insert(lane, want);
        if !again.is_empty() {
            while !waiting.is_empty() {
                let answer = disk.answer();
                let want = waiting.remove(&answer.ticket).expect("it was asked for");
                assert!(answer.result == want, "step {step}, lane {}", answer.ticket);
            }
            let (lane, order) = again.remove(0);
            model.submit(VmTime(0), lane, order.clone());
            assert!(model.take(VmTime(0)).is_some());
            disk.disk.submit(VmTime(step), lane, order);
            waiting.insert(lane, Ok(vec![]));
        }
    }
    while !waiting.is_empty() {
        let answer = disk.answer();
        let want = waiting.remove(&answer.ticket).expect("it was asked for");
        assert!(answer.result == want, "the last ones, lane {}", answer.ticket);
    }
}

/// Every kind of image, opened `rounds` times for `steps` orders each.
fn compare(rounds: u64, steps: u64, seed: u64) {
    let size = LANES * LANE;
    for cluster in [0, 512, 4096, 65536, 2 << 20] {
        for has_backing in [false, true] {
            if cluster == 0 && has_backing {
                continue;
            }
            let folder = folder();
            let path = folder.path().join("disk");
            let mut contents = vec![0; size as usize];
            if has_backing {
                let base = create(&folder, "base", "raw", size);
                contents.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i / 777) as u8);
                std::fs::write(&base, &contents).expect("written");
            }
            let (option, size) = (format!("cluster_size={cluster}"), size.to_string());
            let mut args = vec!["create", text(&path), &size];
            if cluster > 0 {
                args.extend(["-f", "qcow2", "-o", &option]);
            }
            if has_backing {
                args.extend(["-b", "base", "-F", "raw"]);
            }
            image(&args).expect("created");
            let mut model = RamDisk::new(contents, 0);
            let mut dice = Dice(seed + cluster + u64::from(has_backing));
            for _ in 0..rounds {
                let mut disk = Awaited::of(&path);
                run(&mut disk, &mut model, &mut dice, steps);
                drop(disk);
                if cluster > 0 {
                    assert_clean(&path);
                }
            }
            let whole = Awaited::of(&path).read(0, model.contents().len());
            assert!(whole == model.contents(), "{cluster} {has_backing}");
        }
    }
}

#[test]
fn random_orders_do_to_an_image_what_they_do_to_memory() {
    compare(3, 4_000, 1);
}

#[test]
#[ignore = "a million orders take some minutes"]
fn a_million_random_orders_do_to_an_image_what_they_do_to_memory() {
    compare(10, 12_000, 2);
}

/// Asks `workers` for `orders`, `DEPTH` at once, and says how long it took.
fn time(path: &Path, workers: usize, orders: impl Iterator<Item = Order>) -> Duration {
    const DEPTH: usize = 16;
    let (sender, woken) = mpsc::sync_channel(1);
    let wake: Wake = Arc::new(move || {
        let _ = sender.try_send(());
    });
    let disk = ImageDisk::start(&DiskSpec::new(path), workers, Some(wake)).expect("opens");
    let mut disk = Awaited { disk, woken };
    let start = std::time::Instant::now();
    let mut under_way = 0;
    for order in orders {
        disk.disk.submit(VmTime(0), 0, order);
        under_way += 1;
        if under_way == DEPTH {
            assert!(disk.answer().result.is_ok());
            under_way -= 1;
        }
    }
    (0..under_way).for_each(|_| assert!(disk.answer().result.is_ok()));
    start.elapsed()
}

#[test]
#[ignore = "a measurement: run it alone, with --nocapture"]
fn what_several_workers_are_worth() {
    const SIZE: u64 = 256 << 20;
    for format in ["raw", "qcow2"] {
        let folder = folder();
        let path = create(&folder, "disk", format, SIZE);
        let orders = |what: &'static str| {
            let mut dice = Dice(1);
            (0..if what == "read 1M" { 1000 } else { 5000 }).map(move |n| {
                let at = dice.below(SIZE / 4096) * 4096;
                match what {
                    "write 4K" => Order::Write { at, data: vec![n as u8; 4096].into() },
                    "write 4K, flush" if n % 50 == 0 => Order::Flush,
                    "write 4K, flush" => Order::Write { at, data: vec![n as u8; 4096].into() },
                    "read 1M" => Order::Read { at: at.min(SIZE - (1 << 20)), len: 1 << 20 },
                    _ => Order::Read { at, len: 4096 },
                }
            })
        };
        for what in ["write 4K", "write 4K, flush", "read 4K", "read 1M"] {
            // The best of three each: the machine has others to serve.
            let best = |workers| (0..3).map(|_| time(&path, workers, orders(what))).min();
            let one = best(1).expect("three").as_secs_f64();
            for workers in [2, 4, 8] {
                let ratio = one / best(workers).expect("three").as_secs_f64();
                println!("{format}, {what}: {workers} workers are {ratio:.2} times as fast as one");
            }
        }
    }
}
