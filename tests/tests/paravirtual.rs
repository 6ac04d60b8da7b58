//! Linux at virtio's entropy source, console and balloon, with Debian's own drivers.
//!
//! The guests come from `tests/guests/fetch`; without them the tests say that they skip.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use trine_machine::ctl::{Order, Outcome, send};
use trine_tests::{
    console::{Console, ask, guests, patience, power_off, run},
    folder::Folder,
    initramfs::initramfs,
};

/// Drivers of the cloud kernel.
const MODULES: [&str; 4] = ["virtio_pci", "virtio-rng", "virtio_console", "virtio_balloon"];

/// The arguments that boot Linux with these drivers.
fn arguments(folder: &Folder, append: &str) -> Option<Vec<String>> {
    let guests = guests()?;
    let file = folder.path("initramfs");
    fs::write(&file, initramfs(&guests, "cloud", &MODULES, &[])).expect("there is room");
    let kernel = guests.join("cloud/vmlinuz").display().to_string();
    let all = ["run", "--no-reboot", "--kernel", &kernel, "--initrd", &file, "--append", append];
    Some(all.map(str::to_owned).into())
}

/// Linux with its drivers loaded, on a machine with `options`.
fn linux(folder: &Folder, options: &[&str]) -> Option<Console> {
    let mut arguments = arguments(folder, "console=ttyS0 quiet")?;
    arguments.extend(options.iter().map(|option| (*option).to_owned()));
    let mut console = Console::start(&arguments);
    console.wait_for("/ #").unwrap_or_else(|silence| panic!("{silence}"));
    ask(&mut console, "sh /drivers");
    Some(console)
}

/// Waits until `condition` holds.
fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + patience();
    while !condition() {
        assert!(Instant::now() < end, "waited for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn random_bits_come_from_the_host() {
    let folder = Folder::new("rng");
    let Some(mut linux) = linux(&folder, &["--rng"]) else { return };
    assert_eq!(ask(&mut linux, "cat /sys/class/misc/hw_random/rng_current"), "virtio_rng.0");
    let read = "head -c 5000 /dev/hwrng | md5sum";
    assert_ne!(ask(&mut linux, read), ask(&mut linux, read));
    power_off(linux);
}

#[test]
fn random_bits_are_the_same_in_every_run_by_counted_time() {
    let folder = Folder::new("counted-rng");
    // Commas stand for spaces in what the initramfs runs.
    let append = "console=ttyS0 quiet run=sh,/drivers;head,-c,5000,/dev/hwrng|md5sum";
    let counted = |engine: &str| {
        let options = ["--engine", engine, "--clock", "instructions", "--rng"];
        let ending = run(&[&arguments(&folder, append)?, &options.map(str::to_owned)[..]].concat());
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
        let said = String::from_utf8_lossy(&ending.stdout).into_owned();
        assert!(said.lines().any(|line| line.trim_end().ends_with("  -")), "{said}");
        Some(said)
    };
    let Some(first) = counted("translate") else { return };
    assert_eq!(counted("interp"), Some(first));
}

#[test]
fn a_console_is_heard_and_typed_at() {
    let folder = Folder::new("console");
    let socket = folder.path("hvc0");
    let place = format!("unix:{socket}");
    let control = folder.path("ctl");
    let options = ["--console", &place, "--ctl", &control];
    let Some(mut linux) = linux(&folder, &options) else { return };
    let client = UnixStream::connect(&socket).expect("it listens");
    client.set_read_timeout(Some(patience())).expect("a socket");
    ask(&mut linux, "exec 5<>/dev/hvc0; stty raw -echo <&5; echo ready >&5");
    let mut lines = BufReader::new(&client).lines().map(|line| line.expect("it says something"));
    assert_eq!(lines.next().as_deref(), Some("ready"));
    // More than the device keeps.
    let typed: Vec<String> = (0..200).map(|n| format!("{n:099}\n")).collect();
    (&client).write_all(typed.concat().as_bytes()).expect("it listens");
    assert!(ask(&mut linux, "head -n 200 <&5") == typed.concat().trim_end(), "all of it");
    // More than the host holds while nobody reads: Linux waits, without sleeping, and the machine does
    // not.
    linux.type_text("seq 100000 >&5\n");
    thread::sleep(Duration::from_secs(2));
    let Ok(Outcome::Done(status)) = send(Path::new(&control), &Order::Status) else {
        panic!("the machine does not answer")
    };
    assert!(status.contains("running"), "{status}");
    assert!((1..=100_000).all(|n| lines.next() == Some(n.to_string())), "all lines, in order");
    linux.wait_for("/ #").expect("it goes on");
    power_off(linux);
}

#[test]
fn a_serial_port_that_nobody_reads_holds_back_those_who_write_to_it() {
    let folder = Folder::new("unread");
    let (socket, control) = (folder.path("com1"), folder.path("ctl"));
    let append = "console=ttyS0 quiet run=seq,100000";
    let Some(arguments) = arguments(&folder, append) else { return };
    let place = format!("unix:{socket}");
    let options = ["--serial", &place, "--ctl", &control].map(str::to_owned);
    let machine = Console::start(&[&arguments[..], &options].concat());
    wait("the socket", || Path::new(&socket).exists());
    let client = UnixStream::connect(&socket).expect("it listens");
    client.set_read_timeout(Some(patience())).expect("a socket");
    let mut lines = BufReader::new(&client).lines().map(|line| line.expect("it says something"));
    assert!(lines.any(|line| line.trim_end() == "1"), "it counts");
    thread::sleep(Duration::from_secs(2));
    let Ok(Outcome::Done(status)) = send(Path::new(&control), &Order::Status) else {
        panic!("the machine does not answer")
    };
    assert!(status.contains("running"), "{status}");
    let in_order = |n: u32| lines.next().is_some_and(|line| line.trim_end() == n.to_string());
    assert!((2..=100_000).all(in_order), "all lines, in order");
    assert_eq!(machine.finish().expect("it ends").status.code(), Some(0));
}

/// Bytes of host memory that the guest's memory takes, where the host says so.
fn resident(process: u32) -> Option<u64> {
    let files = fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd")).ok()?;
    let is_ram = |link: &Path| {
        fs::read_link(link).is_ok_and(|to| to.to_string_lossy().contains("memfd:guest-ram"))
    };
    let file = files.flatten().map(|file| file.path()).find(|path| is_ram(path))?;
    Some(fs::metadata(file).ok()?.blocks() * 512)
}

#[test]
fn memory_that_a_guest_does_not_need_is_the_hosts() {
    let folder = Folder::new("balloon");
    let socket = folder.path("ctl");
    let options = ["--balloon", "--memory", "512M", "--ctl", &socket];
    let Some(mut linux) = linux(&folder, &options) else { return };
    let status = || match send(Path::new(&socket), &Order::Status) {
        Ok(Outcome::Done(text)) => text,
        other => panic!("{other:?}"),
    };
    let set = |bytes: u64| send(Path::new(&socket), &Order::Balloon { bytes });
    assert!(status().contains("balloon: 0.0 MiB of 0.0 MiB"), "{}", status());
    // What was used and is free again is reported, without anybody asking.
    ask(&mut linux, "dd if=/dev/zero bs=1M count=128 2>/dev/null | tr '\\0' x >/filled");
    let process = linux.process();
    if let Some(before) = resident(process) {
        ask(&mut linux, "rm /filled");
        wait("free pages", || resident(process).is_some_and(|now| now + (96 << 20) < before));
    } else {
        ask(&mut linux, "rm /filled");
    }
    set(200 << 20).expect("it has 512 MiB");
    wait("the balloon", || status().contains("balloon: 200.0 MiB of 200.0 MiB"));
    let free = "grep MemFree /proc/meminfo | tr -cd 0-9";
    let little: u64 = ask(&mut linux, free).parse().expect("a number");
    set(0).expect("nothing is little");
    wait("the balloon", || status().contains("balloon: 0.0 MiB of 0.0 MiB"));
    let much: u64 = ask(&mut linux, free).parse().expect("a number");
    assert!(much > little + (190 << 10), "{little} KiB, then {much} KiB");
    // All of it is memory as before.
    let sum = "dd if=/dev/zero bs=1M count=200 2>/dev/null | tr '\\0' y >/again; md5sum </again";
    let again = "dd if=/dev/zero bs=1M count=200 2>/dev/null | tr '\\0' y | md5sum";
    assert_eq!(ask(&mut linux, sum), ask(&mut linux, again));
    let why = set(1 << 30).expect_err("more than there is");
    assert!(why.contains("512 MiB in all"), "{why}");
    power_off(linux);
}
