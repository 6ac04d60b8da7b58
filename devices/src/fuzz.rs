//! Every chip under random accesses: nothing panics, no state is lost, no event is stuck.

use trine_guest::VmTime;

use crate::{pci::seated::Seated, stress::Random, *};

/// Accesses to each chip.
const STEPS: u32 = 100_000;

/// A register: mostly one of the first ones, sometimes anything.
fn register(random: &mut Random) -> u16 {
    match random.below(20) {
        0 => random.next() as u16,
        1..5 => random.below(40) as u16,
        _ => random.below(9) as u16,
    }
}

/// A step of time: mostly short, sometimes none, rarely days.
fn step_ns(random: &mut Random) -> u64 {
    match random.below(100) {
        0 => random.below(1 << 47),
        1..10 => random.below(1 << 33),
        10..40 => random.below(1 << 20),
        40..70 => random.below(2000),
        _ => 0,
    }
}

/// A byte sink.
struct Nobody;

impl SerialPeer for Nobody {
    fn transmit(&mut self, _byte: u8) {}
}

fn virtio_disk() -> VirtioBlk {
    VirtioBlk::new(Box::new(RamDisk::new(vec![0; 1 << 16], 100)), 2)
}

fn virtio_functions(b: &Backplane) -> Seated {
    let rng = VirtioRng::new(Box::new(|bytes| bytes.fill(0)));
    let net = VirtioNet::new([2; 6], Box::new(Unplugged));
    let ports = ["", "a"].map(|name| ConsolePort { name: name.into(), peer: Box::new(Nobody) });
    let console = VirtioConsole::new(ports.into());
    Seated::new(vec![
        Box::new(VirtioPci::new("virtio-blk", virtio_disk(), b.line(10), b.clone())),
        Box::new(VirtioPci::new("virtio-rng", rng, b.line(11), b.clone())),
        with_rom(VirtioPci::new("virtio-net", net, b.line(13), b.clone())),
        Box::new(VirtioPci::new("virtio-console", console, b.line(14), b.clone())),
        Box::new(VirtioPci::new("virtio-balloon", VirtioBalloon::new(), b.line(15), b.clone())),
    ])
}

/// The same with an expansion ROM.
fn with_rom(mut function: impl PciFunction) -> Box<dyn PciFunction> {
    function.config_mut().add_rom(&[0x55; 0x1800]);
    Box::new(function)
}

/// A disk that takes a while.
fn disk(len: usize) -> Box<dyn Disk> {
    Box::new(RamDisk::new(vec![0; len], 3000))
}

/// A controller with two disks and a CD drive.
fn ide(b: &Backplane) -> Piix3Ide {
    let disks = [0, 1].map(|_| Some(AtaDrive::disk(disk(1 << 18))));
    let drives = [disks, [Some(AtaDrive::cd(Some(disk(1 << 16)))), None]];
    let mut ide = Piix3Ide::new([b.line(9), b.line(19)], drives);
    Piix3Ide::enable(ide.config_mut());
    ide
}

/// Every chip of this crate's PC part, twice for saving into another.
fn chips(b: &Backplane) -> Vec<Box<dyn Device>> {
    let vga = || Vga::new(Box::new(PlainMemory::new(256 << 10)), &[0x55, 0xaa], (1024, 768));
    let drives = vec![Some(AtaDrive::disk(disk(1 << 18))), None];
    let functions: Vec<Box<dyn PciFunction>> = vec![
        Box::new(I440fx::new()),
        Box::new(Piix3Isa::new()),
        Box::new(Ahci::new(b.line(16), drives)),
        Box::new(vga()),
        with_rom(E1000::new("e1000", [2; 6], Box::new(Unplugged), b.line(20), b.clone())),
    ];
    let mut pci = Seated::new(functions);
    let acpi = AcpiPm::new(b.line(21), b.clone(), true);
    pci.add(Slot::at(1, 3), Box::new(Piix4Pm::new(acpi)));
    vec![
        Box::new(I8259::new(b.line(0))),
        Box::new(I8254::new(b.line(1))),
        Box::new(Mc146818::new(b.line(2), 1_700_000_000)),
        Box::new(Uart16550::new("com1", b.line(3), Box::new(Nobody))),
        Box::new(I8042::new(b.line(4), b.line(5), b.line(6), b.clone())),
        Box::new(Port92::new(b.line(7), b.clone())),
        Box::new(PostCode::new()),
        Box::new(DebugConsole::new(Box::new(Nobody))),
        Box::new(DebugExit::new(b.clone())),
        Box::new(FwCfg::new()),
        Box::new(ResetControl::new(b.clone())),
        Box::new(AcpiPm::new(b.line(8), b.clone(), false)),
        Box::new(pci),
        Box::new(virtio_functions(b)),
        Box::new(VirtioMmio::new("virtio-mmio", virtio_disk(), b.line(12))),
        Box::new(vga()),
        Box::new(ide(b)),
        Box::new(I82077::new(b.line(17), b.line(18), [Some(disk(1_474_560)), None], 1)),
        Box::new(I8237::new()),
        Box::new(CfiFlash::new(Box::new(vec![0xff; 1 << 16]), 1 << 12)),
    ]
}

/// The start of a part of the chip's window: of a bus's, a region of some function.
fn part_of(name: &str, random: &mut Random) -> u64 {
    match name {
        "seated" => {
            let function = [0, 0, 0, 3][random.below(4) as usize];
            Seated::region(random.below(6) as u8, random.below(9) as u8) | function << 24
        }
        _ => 0,
    }
}

/// One random thing that a guest or the board does to a chip.
fn access(chip: &mut dyn Device, cx: &mut Cx<'_>, random: &mut Random) {
    let mut data = random.next().to_le_bytes();
    let len = 1 << random.below(3);
    let choice = random.below(1000);
    match choice {
        0 => chip.reset(cx),
        1..100 => {
            if let Some(inputs) = chip.as_inputs() {
                inputs.input(cx, random.below(20) as u16, random.below(2) != 0);
            }
        }
        100..130 => {
            let part = part_of(chip.name(), random);
            if let Some(mmio) = chip.as_mmio() {
                let offset = part + random.below(1 << 16);
                let len = 1 + random.below(8) as usize;
                if random.below(2) == 0 {
                    mmio.mmio_read(cx, offset, &mut data[..len]);
                } else {
                    mmio.mmio_write(cx, offset, &data[..len]);
                }
            }
        }
        _ => {
            let Some(ports) = chip.as_ports() else { return };
            if choice.is_multiple_of(3) {
                ports.port_in(cx, register(random), &mut data[..len]);
            } else {
                ports.port_out(cx, register(random), &data[..len]);
            }
        }
    }
}

/// Wakes the chip at its next event; whatever was due is then not due any more.
fn wake(chip: &mut dyn Device, bench: &mut Bench, latest: VmTime) {
    let Some(timed) = chip.as_timed() else { return };
    for _ in 0..3 {
        let Some(at) = timed.next_event().filter(|at| *at <= latest) else { return };
        assert_eq!(timed.next_event(), Some(at), "next_event is pure");
        bench.now = bench.now.max(at);
        timed.advance(&mut Cx { now: bench.now, ram: &bench.ram, vcpu: 0 });
        let next = timed.next_event();
        assert!(next.is_none_or(|next| next > bench.now), "an event at {at} is stuck");
    }
}

#[test]
fn random_accesses_neither_panic_nor_lose_state() {
    disturb_each_chip(0x5eed_7e57, STEPS);
}

#[test]
#[ignore = "takes minutes"]
fn a_million_random_accesses_to_each_chip() {
    disturb_each_chip(0x5eed_1000, 1_000_000);
}

fn disturb_each_chip(seed: u64, steps: u32) {
    let mut random = Random::new(seed);
    let mut bench = Bench::new();
    let others = Backplane::default();
    let count = chips(&others).len();
    for index in 0..count {
        let mut chip = chips(&bench.backplane).swap_remove(index);
        for step in 0..steps {
            let latest = bench.now.after_ns(step_ns(&mut random));
            wake(&mut *chip, &mut bench, latest);
            bench.now = bench.now.max(latest);
            bench.with(|cx| access(&mut *chip, cx, &mut random));
            bench.said();
            if step % 512 == 0 {
                let saved = chip.save();
                let mut twin = chips(&others).swap_remove(index);
                while others.take().is_some() {}
                twin.load(&saved).expect("a chip loads what it saved");
                assert_eq!(others.take(), None, "{}: a load makes no edges", chip.name());
                assert_eq!(twin.save(), saved, "{}", chip.name());
                let events =
                    [&mut chip, &mut twin].map(|c| c.as_timed().map(|timed| timed.next_event()));
                assert_eq!(events[0], events[1], "{}", chip.name());
                chip = rewire(twin, &bench.backplane, index);
            }
        }
    }
}

/// Bytes on the line and keys, between random accesses.
#[test]
fn random_input_is_taken_or_refused() {
    let mut random = Random::new(0x5eed_1207);
    let mut bench = Bench::new();
    let mut uart = Uart16550::new("com1", bench.backplane.line(0), Box::new(Nobody));
    let b = &bench.backplane;
    let mut kbc = I8042::new(b.line(1), b.line(2), b.line(3), b.clone());
    let mut taken = 0;
    for _ in 0..STEPS {
        let latest = bench.now.after_ns(random.below(1 << 20));
        wake(&mut uart, &mut bench, latest);
        bench.now = bench.now.max(latest);
        wake(&mut kbc, &mut bench, latest);
        let bytes = random.next().to_le_bytes();
        let bytes = &bytes[..random.below(9) as usize];
        let room = uart.room();
        let count = bench.with(|cx| uart.receive(cx, bytes));
        assert_eq!(count, room.min(bytes.len()));
        taken += count;
        bench.with(|cx| uart.receive_break(cx));
        let key = Key::ALL[random.below(Key::ALL.len() as u64) as usize];
        bench.with(|cx| kbc.key(cx, key, random.below(2) == 0));
        let counts = [random.next() as i32, random.next() as i32, random.next() as i32];
        let [right, down, wheel] = counts.map(|count| count >> (count as u32 & 31));
        bench.with(|cx| kbc.point(cx, right, down, wheel, random.next() as u8));
        bench.with(|cx| access(&mut uart, cx, &mut random));
        bench.with(|cx| access(&mut kbc, cx, &mut random));
        bench.said();
    }
    assert!(taken > 1000, "{taken} bytes taken");
    for chip in [&mut uart as &mut dyn Device, &mut kbc] {
        let saved = chip.save();
        chip.load(&saved).expect("a chip loads what it saved");
    }
}

/// The same chip on the bench's own wires again.
fn rewire(twin: Box<dyn Device>, backplane: &Backplane, index: usize) -> Box<dyn Device> {
    let mut chip = chips(backplane).swap_remove(index);
    while backplane.take().is_some() {}
    chip.load(&twin.save()).expect("a chip loads what it saved");
    chip
}

/// Replaces one random number or flag of a saved state by a random number.
pub(crate) fn damage(value: &mut serde_json::Value, random: &mut Random) {
    use serde_json::Value;
    let number = match random.below(3) {
        0 => random.below(256),
        1 => random.next(),
        _ => u64::MAX,
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            let index = random.below(items.len() as u64) as usize;
            damage(&mut items[index], random);
        }
        Value::Object(fields) if !fields.is_empty() => {
            let index = random.below(fields.len() as u64) as usize;
            if let Some(field) = fields.values_mut().nth(index) {
                damage(field, random);
            }
        }
        Value::Bool(flag) => *flag = !*flag,
        Value::Number(_) | Value::Null => *value = number.into(),
        _ => {}
    }
}

#[test]
fn a_hostile_state_is_refused_or_harmless() {
    let mut random = Random::new(0xbad_57a7e);
    let mut bench = Bench::new();
    let mut refused = 0;
    let count = chips(&bench.backplane).len();
    for index in 0..count {
        for _ in 0..1000 {
            bench.now = VmTime(random.below(1 << 40));
            let mut chip = chips(&bench.backplane).swap_remove(index);
            for _ in 0..20 {
                bench.with(|cx| access(&mut *chip, cx, &mut random));
            }
            let before = chip.save();
            let mut saved = before.clone();
            for _ in 0..=random.below(3) {
                damage(&mut saved.state, &mut random);
            }
            if chip.load(&saved).is_err() {
                refused += 1;
                assert_eq!(chip.save(), before, "{}: refused, but changed", chip.name());
            }
            for _ in 0..40 {
                let latest = bench.now.after_ns(step_ns(&mut random));
                wake(&mut *chip, &mut bench, latest);
                bench.now = bench.now.max(latest);
                bench.with(|cx| access(&mut *chip, cx, &mut random));
            }
            bench.said();
        }
    }
    assert!(refused > 100, "most damage is found: {refused}");
}

#[test]
fn another_devices_state_is_refused() {
    let backplane = Backplane::default();
    let states: Vec<Saved> = chips(&backplane).iter().map(|chip| chip.save()).collect();
    for (index, mut chip) in chips(&backplane).into_iter().enumerate() {
        for (other, state) in states.iter().enumerate() {
            assert_eq!(chip.load(state).is_ok(), index == other, "{} {other}", chip.name());
        }
    }
}
