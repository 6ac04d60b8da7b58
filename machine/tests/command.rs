//! The `trine` command as a user meets it: exit statuses, streams, one-line errors.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// The command, or what the environment variable `TRINE` names: a script that starts it where this
/// host cannot by itself, because it is built for another.
fn command() -> Command {
    Command::new(std::env::var_os("TRINE").unwrap_or(env!("CARGO_BIN_EXE_trine").into()))
}

fn trine(args: &[&str]) -> Output {
    command()
        .args(args)
        .env_remove("TRINE_LOG")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("trine can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("trine-test-{}-{name}", std::process::id()))
}

/// The engine that `--engine auto` is.
fn auto() -> &'static str {
    trine_machine::EngineKind::best().name()
}

#[test]
fn the_demonstration_ends_with_status_0_and_results_on_standard_output() {
    let output = trine(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(out.contains("Goodbye") && out.contains("MIPS"), "{out}");
}

#[test]
fn standard_output_carries_the_guest_alone_and_statistics_go_to_a_file() {
    let path = temporary("stats.json");
    let stats = path.to_string_lossy();
    let output = trine(&["run", "--clock", "instructions", "--stats", &stats]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).trim_start().starts_with("Hello."));
    assert!(text(&output.stderr).starts_with(&format!("trine: using the {} engine", auto())));
    let json = fs::read_to_string(&path).expect("statistics");
    fs::remove_file(&path).expect("it is there");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["schema"], 1);
    assert_eq!(json["status"], 0);
    assert_eq!(json["engine"], auto());
    assert_eq!(json["clock"], "instructions");
    assert!(json["instructions"].as_u64().is_some_and(|n| n > 1_000_000));
    let com1 = json["chips"].as_array().and_then(|c| c.iter().find(|c| c["chip"] == "com1"));
    assert!(com1.is_some_and(|c| c["accesses"].as_u64() > Some(1000)), "{json}");
}

#[test]
fn what_cannot_be_done_is_one_line_and_status_1() {
    let empty = temporary("empty");
    fs::write(&empty, b"").expect("a file");
    let empty_name = empty.to_string_lossy();
    let wrong: [(&[&str], &str); 17] = [
        (&["run", "--memory", "0"], "--memory 0"),
        (&["run", "--memory", "64K"], "--memory"),
        (&["run", "--memory", "100000G"], "--memory"),
        (&["run", "--memory", "99999999999999999999G"], "more than any machine"),
        (&["run", "--memory", "lots"], "not a size"),
        (&["run", "--cpus", "0"], "--cpus 0"),
        (&["run", "--cpus", "4000"], "--cpus 4000"),
        (&["run", "--cpu", "z80"], "no CPU model 'z80'"),
        (&["run", "--engine", "kvm"], "not available"),
        (&["run", "--machine", "microvm"], "needs a --kernel"),
        (&["run", "--disk", "a.img,bootindex=-1"], "not a number"),
        (&["run", "--disk", "/nonexistent"], "--disk /nonexistent"),
        (&["run", "--disk", "a.img,if=scsi"], "if"),
        (&["run", "--initrd", "a"], "--kernel"),
        (&["run", "--kernel", "/nonexistent"], "/nonexistent"),
        (&["run", "--kernel", &empty_name], "kernel"),
        (&["run", "--serial", "pty"], "stdio, null, file:PATH and unix:PATH"),
    ];
    for (args, part) in wrong {
        let output = trine(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{args:?}: {err}");
        assert!(out.is_empty(), "{args:?}: {out}");
        let errors: Vec<&str> =
            err.lines().filter(|line| !line.starts_with("trine: using the")).collect();
        assert_eq!(errors.len(), 1, "{args:?}: {err}");
        assert!(errors[0].starts_with("trine: ") && errors[0].contains(part), "{args:?}: {err}");
    }
    fs::remove_file(&empty).expect("it is there");
}

/// The status and the log of `trine run` with so many MiB of address space.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn within(mib: u32, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("sh")
        .args(["-c", "ulimit -v $0 && exec \"$@\"", &(mib << 10).to_string()])
        .args([env!("CARGO_BIN_EXE_trine"), "run", "--memory", "16M", "--serial", "null"])
        .args(args)
        .env("TRINE_LOG", "trine_translate=debug,trine_machine=warn")
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell");
    (output.status.code(), text(&output.stderr))
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn where_memory_for_code_is_scarce_auto_is_slower_and_translate_an_error() {
    const ONCE: &str = "is not mapped twice";
    const REFUSED: &str = "refuses the translate engine memory for code";
    // Until it does not suffice for one mapping, from where it does for two.
    let mut limits = (0..50).map(|n| 400 - n * 8).map(|mib| {
        let (status, log) = within(mib, &["--engine", "translate", "--time-limit", "0.02"]);
        (mib, status, log)
    });
    let (mib, ..) = limits.find(|(_, _, log)| log.contains(ONCE)).expect("two are too many");
    let (status, log) = within(mib, &["--engine", "translate"]);
    assert_eq!(status, Some(0), "{mib} MiB: {log}");
    assert!(log.contains(ONCE) && !log.contains(REFUSED), "{log}");

    let (mib, status, log) =
        limits.find(|(_, _, log)| log.contains(REFUSED)).expect("one is too many");
    assert_eq!(status, Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("trine: ") && last.contains("--engine"), "{log}");
    let (status, log) = within(mib, &["--engine", "auto"]);
    assert_eq!(status, Some(0), "{mib} MiB: {log}");
    assert_eq!(log.matches(REFUSED).count(), 1, "{log}");
    assert!(log.contains("trine: using the interp engine"), "{log}");
}

#[test]
fn a_time_limit_is_status_2() {
    let output = trine(&["run", "--serial", "null", "--time-limit", "0.05"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("time limit"));
}

#[test]
fn probe_names_every_engine() {
    let output = trine(&["probe", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let engines = json["engines"].as_array().expect("a list");
    assert_eq!(engines.len(), 3);
    for engine in engines {
        let available = engine["available"].as_bool().expect("a truth value");
        assert_eq!(available, engine["reason"].is_null(), "{engine}");
    }
    assert_eq!(json["arch"], std::env::consts::ARCH);
    // What KVM offers is shown whether or not it is enough; what it lacks is why it is not.
    let kvm = &json["kvm"];
    match kvm["device"].as_str() {
        Some("usable") => {
            let lacks = |c: &serde_json::Value| c["available"] == false;
            let needed = kvm["needed"].as_array().expect("a list");
            assert!(needed.iter().all(|c| c["name"].is_string()), "{needed:?}");
            assert!(!needed.iter().any(lacks) || engines[0]["available"] == false);
            assert!(kvm["useful"].as_array().is_some_and(|rows| rows.len() > 3), "{kvm}");
        }
        Some("denied") => assert!(kvm["reason"].is_string(), "{kvm}"),
        device => assert_eq!(device, Some("absent")),
    }
}

#[test]
fn a_socket_serves_the_serial_port() {
    let path = temporary("serial.sock");
    let mut child = command()
        .args(["run", "--engine", "interp", "--serial", &format!("unix:{}", path.display())])
        .stdin(Stdio::null())
        .spawn()
        .expect("trine can be started");
    let start = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(&path) {
            Ok(stream) => break stream,
            Err(e) => assert!(start.elapsed() < Duration::from_secs(20), "{e}"),
        }
        sleep(Duration::from_millis(2));
    };
    stream.write_all(b"nobody reads this").expect("the other end is there");
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("it ends with the machine");
    assert!(text(&heard).contains("Goodbye"), "{}", text(&heard));
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(!path.exists());
}

/// mov eax, address; mov dx, 0xcf8; out dx, eax; mov eax, value; mov dl, 0xfc; out dx, eax
fn configure(address: u32, value: u32) -> Vec<u8> {
    let ([a, b, c, d], [e, f, g, h]) = (address.to_le_bytes(), value.to_le_bytes());
    let select = [0x66, 0xb8, a, b, c, d, 0xba, 0xf8, 0x0c, 0x66, 0xef];
    let write = [0x66, 0xb8, e, f, g, h, 0xb2, 0xfc, 0x66, 0xef];
    [&select[..], &write].concat()
}

/// A ROM of 64 KiB that says R at port E9h, tries to write to itself, says what is there then, and
/// switches the machine off.
fn rom() -> Vec<u8> {
    let mut rom = vec![0_u8; 64 << 10];
    let code = [
        &[0xb0, b'R', 0xe6, 0xe9][..],         // mov al, 'R'; out 0xe9, al
        &[0x2e, 0x80, 0x36, 0x00, 0x01, 0xff], // xor byte [cs:0x100], 0xff
        &[0x2e, 0xa0, 0x00, 0x01, 0xe6, 0xe9], // mov al, [cs:0x100]; out 0xe9, al
        // PMBASE (40h) of function 1:3.0, and PMREGMISC (80h), which enables what is there.
        &configure(0x8000_0b40, 0x601),
        &configure(0x8000_0b80, 0x001),
        &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x34, 0xef], // mov dx, 0x604; mov ax, 0x3400; out dx, ax
        &[0xfa, 0xf4],                               // cli; hlt
    ]
    .concat();
    rom[..code.len()].copy_from_slice(&code);
    rom[0x100] = b'O';
    rom[0xfff0..0xfff5].copy_from_slice(&[0xea, 0x00, 0x00, 0x00, 0xf0]); // jmp 0xf000:0
    rom
}

#[test]
fn a_rom_runs_from_the_reset_vector_and_cannot_be_written() {
    let (path, console) = (temporary("rom.bin"), temporary("rom.out"));
    let run = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a place for temporary files");
        let debug_console = format!("file:{}", console.display());
        let firmware = path.to_string_lossy().into_owned();
        trine(&["run", "--firmware", &firmware, "--debug-console", &debug_console])
    };
    let output = run(&rom());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(fs::read(&console).expect("what it said"), b"RO");
    let output = run(&rom()[1..]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("has 65535 bytes; a ROM has"));
    fs::remove_file(&path).expect("it is there");
    fs::remove_file(&console).expect("it is there");
}
