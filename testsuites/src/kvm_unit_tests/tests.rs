//! A suite made of a list alone, on a PC that only says what a guest would.

use std::sync::atomic::AtomicU64;

use super::*;

/// Answers every guest with the same words, and remembers the guests.
struct Parrot {
    says: &'static str,
    ending: Ending,
    heard: Mutex<Vec<Guest>>,
}

impl Pc for Parrot {
    fn boot(&self, _: &str, guest: &Guest) -> Result<pc::Outcome, String> {
        self.heard.lock().unwrap().push(guest.clone());
        Ok(pc::Outcome {
            serial: self.says.into(),
            debug_console: Vec::new(),
            post_codes: Vec::new(),
            ending: self.ending.clone(),
        })
    }
}

const LIST: &str = "[one]\nfile = a.flat\nsmp = 2\ntest_args = 'x y'\nqemu_params = -m 64\n\
                    [two]\nfile = a.flat\nqemu_params = -device intel-iommu\n\
                    [three]\nfile = none.flat\narch = i386\n\
                    [four]\nfile = none.flat\narch = x86_64\n";

/// A folder of this name with a list, a build's configuration and one image.
fn checkout(name: &str, config: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("trine-kut-{name}-{}", std::process::id()));
    fs::create_dir_all(folder.join("x86")).unwrap();
    fs::write(folder.join("x86/unittests.cfg"), LIST).unwrap();
    fs::write(folder.join("x86/a.flat"), b"kernel").unwrap();
    fs::write(folder.join("config.mak"), config).unwrap();
    folder
}

fn parrot(says: &'static str, ending: Ending) -> Parrot {
    Parrot { says, ending, heard: Mutex::default() }
}

fn candidate() -> Candidate {
    Candidate::new("none", |_| {
        let reason = String::new();
        Err(trine_engine::EngineError::Unavailable { engine: "none", reason })
    })
}

#[test]
fn subtests_and_the_ending_are_cases() {
    let folder = checkout("cases", "ARCH=x86_64\nCONFIG_EFI=\n");
    let pc = parrot("PASS: a\nFAIL: b c\nSKIP: d\n", Ending::DebugExit(3));
    let suite = KvmUnitTests::open(&folder, &pc).unwrap();
    assert_eq!(suite.groups(), ["x86_64/one", "x86_64/two", "x86_64/four"]);
    let done = AtomicU64::new(0);
    let mut tally = Tally::new(&done);
    suite.run(0, &candidate(), &mut tally).unwrap();
    assert_eq!((tally.passed, tally.failed, tally.skipped.len()), (2, 1, 1));
    assert_eq!(tally.failures[0].case, "b_c");
    let guest = pc.heard.lock().unwrap()[0].clone();
    assert_eq!((guest.cpus, guest.memory, guest.debug_exit), (2, 64 << 20, Some(0xf4)));
    let Image::Kernel { kernel, append, initrd } = guest.image else { panic!("no kernel") };
    assert_eq!((kernel.as_slice(), append.as_str()), (&b"kernel"[..], "x y"));
    assert!(initrd.is_some_and(|env| env.starts_with(b"ERRATA_FORCE=y")));
    // What this board or build lacks is skipped with the reason.
    let mut tally = Tally::new(&done);
    suite.run(1, &candidate(), &mut tally).unwrap();
    assert!(tally.skipped[0].why.contains("IOMMU"));
    let mut tally = Tally::new(&done);
    suite.run(2, &candidate(), &mut tally).unwrap();
    assert!(tally.skipped[0].why.contains("x86/none.flat"));
    let table = suite.remarks();
    assert!(table[3].contains("x86_64/one") && table[3].contains("|    1 |    1 |    1 |    ? |"));
    assert!(table.last().unwrap().contains("|    1 |    1 |    1 |    0 |    0 |    0 |"));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_ending_that_is_none_fails() {
    let folder = checkout("endings", "ARCH=i386\n");
    for (says, ending, failed) in [
        ("PASS: a\n", Ending::DebugExit(1), 0),
        ("PASS: a\nUnhandled exception 6\n", Ending::DebugExit(127), 1),
        ("PASS: a\n", Ending::DebugExit(3), 1),
        ("no SVM\nSUMMARY: 0 tests\n", Ending::DebugExit(77), 0),
        ("PASS: a\n", Ending::TimeLimit, 1),
        ("PASS: a\n", Ending::Reset("triple fault".into()), 1),
    ] {
        let pc = parrot(says, ending.clone());
        let suite = KvmUnitTests::open(&folder, &pc).unwrap();
        let done = AtomicU64::new(0);
        let mut tally = Tally::new(&done);
        suite.run(0, &candidate(), &mut tally).unwrap();
        assert_eq!(tally.failed, failed, "{ending:?}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_no_build_is_refused_in_a_line() {
    let pc = parrot("", Ending::PowerOff);
    let refused = |path: &Path| KvmUnitTests::open(path, &pc).err().unwrap();
    let folder = checkout("builds", "ARCH=arm64\n");
    assert!(refused(&folder).contains("arm64"));
    fs::remove_file(folder.join("config.mak")).unwrap();
    assert!(refused(&folder).contains("./configure"));
    assert!(refused(&folder.join("x86")).contains("x86/unittests.cfg"));
    assert!(!refused(&folder.join("nowhere")).contains('\n'));
    fs::remove_dir_all(folder).unwrap();
}
