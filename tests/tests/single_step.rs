//! What an 8086 and an 80286 did, on every engine.
//!
//! The tests are not part of this repository. They are looked for in the folder that the variable
//! `TRINE_CORPORA` names, or in `corpora/` beside this crate: as `sst-8086`, `sst-80286` (files
//! alone or a checkout of github.com/SingleStepTests/8086 and /80286). Without them the tests say
//! that they are skipped. Each runs a tenth of the files; `TRINE_SHARD=1/1` runs all.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use trine_machine::conform::candidates;
use trine_testsuites::{Options, Shard, SingleStep, run, single_step::Kind, vectors};
use trine_x86::CpuModel;

fn corpus(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("TRINE_CORPORA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpora"),
    };
    let folder = root.join(name);
    folder.is_dir().then_some(folder)
}

fn conform(kind: Kind, name: &str) {
    let Some(folder) = corpus(name) else {
        let repository = name.trim_start_matches("sst-");
        // Past the test harness, which swallows what a passing test prints.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: {name} is not there; clone https://github.com/SingleStepTests/{repository} \
             to corpora/{name}, or let TRINE_CORPORA name the folder that holds it"
        );
        return;
    };
    let suite = SingleStep::open(kind, &folder).unwrap_or_else(|e| panic!("{e}"));
    let shard = std::env::var("TRINE_SHARD").unwrap_or_else(|_| "1/10".into());
    let shard: Shard = shard.parse().expect("TRINE_SHARD is I/N");
    let filter = std::env::var("TRINE_FILTER").ok();
    let report = run(&suite, &candidates(), &Options { shard, filter, ..Options::default() });
    println!("{}", report.text());
    assert!(report.good(), "{name}: see above");
    assert!(report.groups.iter().any(|g| g.passed > 0), "{name}: no case ran");
}

#[test]
fn i8086() {
    conform(Kind::I8086, "sst-8086");
}

#[test]
fn i80286() {
    conform(Kind::I80286, "sst-80286");
}

/// A chunk of a MOO file.
fn chunk(id: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&id[..], &(payload.len() as u32).to_le_bytes(), payload].concat()
}

/// A state: all registers (AX, BX, CX, DX, CS, SS, DS, ES, SP, BP, SI, DI, IP, FLAGS) and RAM.
fn state(id: &[u8; 4], regs: [u16; 14], ram: &[(u32, u8)]) -> Vec<u8> {
    let mut words = 0x3fff_u16.to_le_bytes().to_vec();
    words.extend(regs.iter().flat_map(|r| r.to_le_bytes()));
    let mut bytes = (ram.len() as u32).to_le_bytes().to_vec();
    for (at, byte) in ram {
        bytes.extend(at.to_le_bytes());
        bytes.push(*byte);
    }
    chunk(id, &[chunk(b"REGS", &words), chunk(b"RAM ", &bytes)].concat())
}

/// A test of the 8086's: what it runs, and its states.
fn case(
    code: &[u8],
    before: ([u16; 14], &[(u32, u8)]),
    after: ([u16; 14], &[(u32, u8)]),
) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&(bytes.len() as u32).to_le_bytes(), bytes].concat();
    let at = u32::from(before.0[4]) * 16 + u32::from(before.0[12]);
    let mut ram: Vec<_> = (at..).zip(code.iter().copied()).collect();
    ram.extend(before.1);
    let parts = [
        vec![0; 4],
        chunk(b"NAME", &counted(b"some instruction")),
        chunk(b"BYTS", &counted(code)),
        state(b"INIT", before.0, &ram),
        state(b"FINA", after.0, after.1),
    ];
    chunk(b"TEST", &parts.concat())
}

#[test]
fn a_file_of_our_own() {
    // ADD [BX], AL at 2000:0100; DS = 3000, SS = 4000.
    let regs =
        |ax, sp, ip, flags| [ax, 0x5000, 0, 0, 0x2000, 0x4000, 0x3000, 0, sp, 0, 0, 0, ip, flags];
    let before = regs(0x7f, 0x100, 0x100, 0xf002);
    let add = [0, 7];
    let right = regs(0x7f, 0x100, 0x102, 0xf892);
    // DIV by 0: the 8086 pushes the address behind it, and FLAGS that it has changed.
    let divided = [0x7f, 0, 0, 0, 0, 0x4000, 0x3000, 0, 0xfa, 0, 0, 0, 0x400, 0xf046];
    let mut undivided = before;
    undivided[1] = 0;
    let frame = [
        (0x400fe, 0x46),
        (0x400ff, 0xf0),
        (0x400fd, 0x20),
        (0x400fc, 0),
        (0x400fb, 1),
        (0x400fa, 2),
    ];
    let tests = [
        case(&add, (before, &[(0x35000, 1)]), (right, &[(0x35000, 0x80)])),
        // The sum is wrong.
        case(&add, (before, &[(0x35000, 1)]), (right, &[(0x35000, 0x81)])),
        // PUSH SP.
        case(
            &[0x54],
            (before, &[]),
            (regs(0x7f, 0xfe, 0x101, 0xf002), &[(0x400fe, 0xfe), (0x400ff, 0)]),
        ),
        case(&[0xf6, 0xf3], (undivided, &[(1, 4)]), (divided, &frame)),
    ];
    let header = chunk(b"MOO ", &[1, 0, 0, 0, 4, 0, 0, 0, b'8', b'0', b'8', b'6']);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sst-own/v1_binary");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("00.MOO"), [header, tests.concat()].concat()).unwrap();
    std::fs::write(folder.join("metadata.json"), r#"{"opcodes": {}}"#).unwrap();

    let suite = SingleStep::open(Kind::I8086, folder.parent().unwrap()).unwrap();
    let report = run(&suite, &candidates()[..1], &Options::default());
    let [group] = &report.groups[..] else { panic!("{} groups", report.groups.len()) };
    assert_eq!((group.group.as_str(), group.passed, group.failed), ("00", 3, 1), "{report:?}");
    let failure = &group.failures[0];
    assert_eq!(failure.case, "1");
    assert!(failure.why.contains("mem[35000]: want 81, got 80"), "{}", failure.why);
    // The reproducer fails in the same way, and passes once it is right.
    let line = failure.reproducer.clone().unwrap();
    let try_line = |line: &str| {
        let model = CpuModel::named("pentium").unwrap();
        vectors::run(&line.parse().unwrap(), &model, &candidates()[0])
    };
    assert!(try_line(&line).is_err(), "{line}");
    assert_eq!(try_line(&line.replace("mem[5000]=81", "mem[5000]=80")), Ok(()), "{line}");
}
