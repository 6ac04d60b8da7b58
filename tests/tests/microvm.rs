//! The `microvm` board: Linux starts there by the 64-bit boot protocol and by PVH, on every engine,
//! and finds all that the board has.
//!
//! The guests come from `tests/guests/fetch`; without them the tests say that they skip.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use trine_machine::{
    BoardKind, ClockKind, Config, EngineKind, Guest, Limits, Machine, create_engine,
    ctl::{Order, Outcome, send},
};
use trine_tests::{
    console::{Console, ask, guests, patience, power_off, run},
    folder::Folder,
    initramfs::initramfs,
    vmlinux::vmlinux,
};

/// Drivers of the cloud kernel.
const MODULES: [&str; 6] =
    ["virtio_mmio", "virtio_blk", "virtio_net", "virtio-rng", "virtio_console", "virtio_balloon"];

const LEASE: &str = "#!/bin/sh
[ $1 = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip route add default via $router
";

/// The arguments that boot the cloud kernel on the board, by PVH or by the Linux protocol.
fn arguments(folder: &Folder, by_pvh: bool, append: &str) -> Option<Vec<String>> {
    let guests = guests()?;
    let initrd = folder.path("initramfs");
    fs::write(&initrd, initramfs(&guests, "cloud", &MODULES, &[("lease", LEASE)]))
        .expect("there is room");
    let mut kernel = guests.join("cloud/vmlinuz").display().to_string();
    if by_pvh {
        let bytes = fs::read(&kernel).expect("the guests are complete");
        kernel = folder.path("vmlinux");
        fs::write(&kernel, vmlinux(&bytes).expect("it is packed by LZ4")).expect("there is room");
    }
    let append = format!("console=ttyS0 quiet {append}");
    let all = ["run", "--machine", "microvm", "--no-reboot", "--kernel", &kernel];
    let rest = ["--initrd", &initrd, "--append", &append];
    Some(all.into_iter().chain(rest).map(str::to_owned).collect())
}

/// The engines that can run it here.
fn engines() -> impl Iterator<Item = &'static str> {
    EngineKind::ALL.into_iter().filter(|kind| kind.missing().is_none()).map(EngineKind::name)
}

fn start(mut arguments: Vec<String>, options: &[&str]) -> Console {
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    let mut console = Console::start(&arguments);
    console.wait_for("/ #").unwrap_or_else(|silence| panic!("{options:?}: {silence}"));
    console
}

#[test]
fn linux_starts_by_both_protocols_on_every_engine() {
    let folder = Folder::new("microvm");
    for by_pvh in [false, true] {
        for engine in engines() {
            let Some(arguments) = arguments(&folder, by_pvh, "") else { return };
            let mut linux = start(arguments, &["--engine", engine, "--cpus", "2"]);
            assert_eq!(ask(&mut linux, "nproc"), "2", "{engine}");
            ask(&mut linux, "mount -t proc p /proc; mount -t sysfs s /sys; dmesg -n 1");
            let product = "cat /sys/class/dmi/id/product_name";
            assert_eq!(ask(&mut linux, product), "microvm", "{engine}");
            // Neither a PIT nor an 8259 takes part.
            let old = "grep -cE 'XT-PIC|timer$' /proc/interrupts";
            assert_eq!(ask(&mut linux, old), "0", "{engine}");
            assert_eq!(ask(&mut linux, "ls /sys/bus/pci/devices 2>/dev/null | wc -l"), "0");
            power_off(linux);
        }
    }
}

#[test]
fn a_disk_keeps_what_is_written() {
    let folder = Folder::new("microvm-disk");
    let disk = folder.path("disk");
    fs::write(&disk, [b'd'; 1 << 20]).expect("there is room");
    let Some(arguments) = arguments(&folder, false, "") else { return };
    let mut linux = start(arguments, &["--disk", &disk]);
    ask(&mut linux, "sh /drivers");
    assert_eq!(ask(&mut linux, "head -c 3 /dev/vda"), "ddd");
    ask(&mut linux, "printf new | dd of=/dev/vda bs=512 seek=3 conv=notrunc 2>/dev/null; sync");
    power_off(linux);
    assert_eq!(fs::read(&disk).expect("it is there")[3 * 512..][..4], *b"newd");
}

#[test]
fn linux_finds_all_virtio_devices() {
    let folder = Folder::new("microvm-devices");
    let Some(arguments) = arguments(&folder, true, "") else { return };
    fs::write(folder.path("disk"), [b'd'; 1 << 20]).expect("there is room");
    let disk = format!("{},if=virtio,readonly", folder.path("disk"));
    let (console, socket) = (format!("file:{}", folder.path("hvc0")), folder.path("ctl"));
    let devices = ["--disk", &disk, "--net", "user", "--console", &console];
    let mut linux =
        start(arguments, &[&devices[..], &["--rng", "--balloon", "--ctl", &socket]].concat());
    ask(&mut linux, "sh /drivers; mount -t proc p /proc; mount -t sysfs s /sys; dmesg -n 1");
    assert_eq!(ask(&mut linux, "ls /sys/bus/virtio/devices | wc -l"), "5");
    assert_eq!(ask(&mut linux, "tail -c 3 /dev/vda"), "ddd");
    ask(&mut linux, "ip link set eth0 up; udhcpc -i eth0 -s /lease -n -q -t 20 2>/dev/null");
    let ping = ask(&mut linux, "ping -c 2 10.0.2.2 | grep received");
    assert!(ping.contains("2 packets received"), "{ping}");
    assert_eq!(ask(&mut linux, "cat /sys/class/misc/hw_random/rng_current"), "virtio_rng.0");
    assert_eq!(ask(&mut linux, "head -c 100 /dev/hwrng | wc -c"), "100");
    ask(&mut linux, "echo to the console >/dev/hvc0");
    let order = |order: &Order| send(socket.as_ref(), order).expect("the machine is there");
    order(&Order::Balloon { bytes: 16 << 20 });
    let end = Instant::now() + patience();
    while !matches!(order(&Order::Status), Outcome::Done(said) if said.contains("balloon: 16.0 MiB"))
    {
        assert!(Instant::now() < end, "the balloon fills");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(&mut linux, "ls -d /sys/bus/acpi/devices/LNXPWRBN:00 | wc -l"), "1");
    power_off(linux);
    let heard = fs::read_to_string(folder.path("hvc0")).expect("it is there");
    assert!(heard.contains("to the console"), "{heard:?}");
}

#[test]
fn a_reset_ends_a_run_that_must_not_reboot() {
    let folder = Folder::new("microvm-reset");
    let Some(arguments) = arguments(&folder, false, "run=reboot,-f") else { return };
    let ending = run(&arguments);
    assert_eq!(ending.status.code(), Some(2));
    assert!(
        ending.stderr.contains("reset the machine (through reset-control)"),
        "{}",
        ending.stderr
    );
}

#[test]
fn a_counted_run_is_the_same_on_both_engines() {
    let folder = Folder::new("microvm-counted");
    let append = "run=sh,/drivers;head,-c,1000,/dev/hwrng|md5sum;cat,/proc/interrupts";
    let counted = |engine: &str| {
        let mut arguments = arguments(&folder, false, append)?;
        let options = ["--engine", engine, "--clock", "instructions", "--rng", "--cpus", "2"];
        arguments.extend(options.map(str::to_owned));
        let ending = run(&arguments);
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
        let said = String::from_utf8_lossy(&ending.stdout).into_owned();
        assert!(said.lines().any(|line| line.trim_end().ends_with("  -")), "{said}");
        Some(said)
    };
    let Some(first) = counted("translate") else { return };
    assert_eq!(counted("interp"), Some(first));
}

/// A machine goes back to where it was saved, and does the same again; on another engine, too.
#[test]
fn a_snapshot_goes_on() {
    let folder = Folder::new("microvm-snapshot");
    let Some(guests) = guests() else { return };
    let guest = Guest::Linux {
        kernel: fs::read(guests.join("cloud/vmlinuz")).expect("the guests are complete"),
        modules: vec![initramfs(&guests, "cloud", &MODULES, &[]).into()],
        append: "console=ttyS0 run=sh,/drivers;md5sum,/dev/vda;poweroff,-f".into(),
    };
    fs::write(folder.path("disk"), vec![b'd'; 1 << 20]).expect("there is room");
    let config = Config {
        board: BoardKind::Microvm,
        clock: ClockKind::Instructions,
        memory: 256 << 20,
        disks: vec![format!("{},readonly", folder.path("disk")).parse().expect("a disk")],
        rng: true,
        balloon: true,
        guest,
        ..Config::default()
    };
    let machine = Machine::new(config, |ram| create_engine(EngineKind::Translate, ram));
    let mut machine = machine.expect("a machine");
    let limits = Limits { host_time: Some(patience()), ..Limits::default() };
    let at_init = |said: &[u8]| said.windows(12).any(|text| text == b"Run /init as");
    machine.run_until(at_init, limits).expect("it runs");
    let snapshot = machine.save().expect("it can be saved");
    let heard = machine.serial().len();
    let first = machine.run(limits).expect("it runs");
    let said = machine.serial()[heard..].to_vec();
    assert!(said.windows(8).any(|text| text == b"/dev/vda"), "{}", String::from_utf8_lossy(&said));
    machine.load(&snapshot).expect("it was this machine's");
    machine.switch_engine(|ram| create_engine(EngineKind::Interp, ram)).expect("it is there");
    let (before, again) = (machine.serial().len(), machine.run(limits).expect("it runs"));
    assert_eq!((first, &said[..]), (again, &machine.serial()[before..]));
}

#[test]
fn what_the_board_lacks_is_refused() {
    let Some(guests) = guests() else { return };
    let kernel = guests.join("cloud/vmlinuz").display().to_string();
    let with_kernel = |options: &[&'static str]| {
        let all = ["run", "--machine", "microvm", "--kernel", &kernel];
        run(&[&all, options].concat())
    };
    for (ending, part) in [
        (run(&["run", "--machine", "microvm"]), "--kernel"),
        (run(&["run", "--machine", "microvm", "--disk", "a"]), "--kernel"),
        (with_kernel(&["--disk", "a,if=ide"]), "if=virtio"),
        (with_kernel(&["--net", "user,model=e1000"]), "model=virtio"),
        (with_kernel(&["--display", "vnc::9"]), "--display"),
        (with_kernel(&["--test-device"]), "--test-device"),
    ] {
        assert_eq!(ending.status.code(), Some(1));
        let said = ending.stderr.trim_end();
        assert!(said.contains(part) && said.lines().count() == 1, "{part}: {said}");
    }
}
