//! The `trine` binary on a terminal: what Ctrl-A does, and that the terminal is left as it was.

use std::fs;

use rustix::termios::{LocalModes, Termios};
use trine_tests::console::{Console, Ending, Terminal, guests};

/// The guest of `clocks.rs`: it does not end before it is told to.
const ENDLESS: &[u8] = include_bytes!("../guests/clocks.elf");

/// What a `Termios` says, to be compared.
fn modes(terminal: &Termios) -> String {
    format!("{terminal:?}")
}

/// Starts a guest that does not end by itself.
fn start_endless(name: &str, options: &[&str]) -> (Console, Terminal) {
    let file = std::env::temp_dir().join(format!("trine-{name}-{}.elf", std::process::id()));
    fs::write(&file, ENDLESS).expect("there is room for a small file");
    let kernel = file.display().to_string();
    let mut arguments = vec!["run", "--engine", "interp", "--cpus", "2", "--kernel", &kernel];
    arguments.extend(options);
    let (mut console, terminal) = Console::start_on_terminal(&arguments);
    // Once it answers, it has read its files and the terminal is as it wants it.
    console.type_text("\x01h");
    wait(&mut console, "Ctrl-A x  quit");
    fs::remove_file(&file).expect("the file can be removed");
    (console, terminal)
}

fn wait(console: &mut Console, text: &str) -> String {
    console.wait_for(text).unwrap_or_else(|silence| panic!("{silence}"))
}

fn end(console: Console) -> Ending {
    console.finish().unwrap_or_else(|silence| panic!("{silence}"))
}

/// Types Ctrl-A e; from which engine and to which the guest then moves.
fn move_on(console: &mut Console) -> (String, String) {
    console.type_text("\x01e");
    wait(console, "trine: from the ");
    let engine = |said: String, rest: &str| said.trim_end_matches(rest).to_owned();
    let from = engine(wait(console, " engine to the "), " engine to the ");
    let to = engine(wait(console, " engine"), " engine");
    assert_ne!(from, to);
    (from, to)
}

#[test]
fn ctrl_a_helps_moves_the_guest_and_quits() {
    let (mut console, terminal) = start_endless("keys", &[]);
    assert!(!terminal.settings().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO));
    wait(&mut console, "Ctrl-A e  move the running guest to the next engine\r\n");
    wait(&mut console, "Ctrl-A Ctrl-A  send Ctrl-A\r\n");
    let mut now = "interp".to_owned();
    for _ in 0..6 {
        let (from, to) = move_on(&mut console);
        assert_eq!(from, now);
        now = to;
        // It runs on, and what has been counted is not lost.
        console.type_text("\x01s");
        wait(&mut console, &format!("\r\n{now} on 2 vCPU(s)"));
        wait(&mut console, "on interp: ");
    }
    // What is no key of ours does nothing.
    console.type_text("\x01z\x01c");
    wait(&mut console, "the screen is not here; start with --display terminal");
    console.type_text("\x01X");
    let ending = end(console);
    assert_eq!(ending.status.code(), Some(0), "{}", String::from_utf8_lossy(&ending.stdout));
}

#[test]
fn the_terminal_is_left_as_it_was() {
    let (_, fresh) = Console::start_on_terminal(&["probe"]);
    let fresh = modes(&fresh.settings());
    for (name, keys, options, status) in [
        ("quits", "\x01x", &[][..], 0),
        // Both vCPUs stop; the guest has not ended.
        ("late", "", &["--time-limit", "1"], 2),
    ] {
        let (mut console, terminal) = start_endless(name, options);
        assert_ne!(modes(&terminal.settings()), fresh, "{name}");
        console.type_text(keys);
        let ending = end(console);
        assert_eq!(ending.status.code(), Some(status), "{name}");
        assert_eq!(modes(&terminal.settings()), fresh, "{name}");
    }
}

#[test]
fn a_linux_that_is_moved_at_its_terminal_ends_well() {
    let Some(folder) = guests() else { return };
    let file = |name: &str| folder.join(name).display().to_string();
    let (kernel, initrd) = (file("cloud/vmlinuz"), file("initrd-amd64.gz"));
    let arguments = ["run", "--engine", "translate", "--memory", "512M", "--cpus", "2"];
    let boot = ["--kernel", &kernel, "--initrd", &initrd, "--append", "console=ttyS0 quiet"];
    let (mut console, terminal) = Console::start_on_terminal(&[&arguments[..], &boot].concat());
    wait(&mut console, "/ #");
    let ask = |console: &mut Console, command: &str| {
        console.ask(command).unwrap_or_else(|silence| panic!("{silence}"))
    };
    ask(&mut console, "(while :; do seq 1 2000 | sha256sum >> /sums; done &)");
    for round in 0..6 {
        move_on(&mut console);
        assert_eq!(ask(&mut console, &format!("echo {round}$((6*7))")), format!("{round}42"));
    }
    // What `seq 1 2000 | sha256sum` prints, as computed elsewhere.
    let sum = "6251e5743b6fd6a7d606130bdf7c15077ce85ebd3a0fdee284d15a46df199e38  -";
    // The moves may have been quicker than the first of them.
    let sums = ask(&mut console, "until [ -s /sums ]; do sleep 0.1; done; sort -u /sums");
    assert_eq!(sums, sum);
    console.type_text("poweroff -f\n");
    let ending = end(console);
    assert_eq!(ending.status.code(), Some(0), "{}", String::from_utf8_lossy(&ending.stdout));
    assert!(terminal.settings().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
}

#[test]
fn the_screen_comes_and_goes() {
    const ENTER: &str = "\x1b[?1049h";
    const LEAVE: &str = "\x1b[?1049l";
    let (_, fresh) = Console::start_on_terminal(&["probe"]);
    let fresh = modes(&fresh.settings());
    // Help is said on the other side.
    let (mut console, terminal) = start_endless("screen", &["--display", "terminal"]);
    terminal.resize(80, 25);
    for _ in 0..3 {
        console.type_text("\x01c");
        wait(&mut console, ENTER);
        // The whole of it is drawn: the last row's end, too.
        wait(&mut console, "\x1b[25;1H");
        console.type_text("\x01c");
        wait(&mut console, LEAVE);
    }
    console.type_text("\x01c");
    wait(&mut console, ENTER);
    console.type_text("\x01x");
    wait(&mut console, LEAVE);
    let ending = end(console);
    assert_eq!(ending.status.code(), Some(0), "{}", String::from_utf8_lossy(&ending.stdout));
    assert_eq!(modes(&terminal.settings()), fresh);
    // Without a terminal there is nowhere to draw.
    let refused = trine_tests::console::run(&["run", "--display", "terminal"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("--display terminal"), "{}", refused.stderr);
}
