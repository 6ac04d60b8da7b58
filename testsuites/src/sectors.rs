//! The suite `sectors`: our own boot sectors, which check what lenient emulators get wrong.
//!
//! A sector of 512 bytes brings itself into one mode of the CPU, tries things that must fault, or
//! must not, and prints a line for each check, `GOT=WANT` or `GOT!WANT` in hexadecimal, on the
//! debug console and on the first serial port. Its source names the checks, in their order, in
//! lines that begin with `;=`. Images and sources lie in `testsuites/sectors`, and how to run them
//! elsewhere in the README there.

use std::time::Duration;

use crate::{
    Candidate, Pc, Suite, Tally,
    pc::{Ending, Guest, Image, Outcome},
};

mod list;

use list::SECTORS;

/// The mode that a sector is assembled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Real,
    P16,
    P32,
    Long,
}

impl Mode {
    /// What `MODE` is in the source.
    const fn number(self) -> &'static str {
        match self {
            Self::Real => "0",
            Self::P16 => "16",
            Self::P32 => "32",
            Self::Long => "64",
        }
    }

    /// What it is in a file's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::P16 => "p16",
            Self::P32 => "p32",
            Self::Long => "long",
        }
    }
}

/// A source, and what was assembled of it.
struct Sector {
    name: &'static str,
    source: &'static str,
    images: &'static [(Mode, &'static [u8; 512])],
}

impl Sector {
    /// The names of the checks that it makes in `mode`, in order.
    fn checks(&self, mode: Mode) -> Vec<&'static str> {
        let mut conditions = Vec::new();
        let mut checks = Vec::new();
        for line in self.source.lines().map(str::trim) {
            if let Some(condition) = line.strip_prefix("%if") {
                let mut modes = condition.split("MODE == ").skip(1).peekable();
                let number = |word: &str| word.split_whitespace().next() == Some(mode.number());
                conditions.push(modes.peek().is_none() || modes.any(number));
            } else if line == "%else" {
                if let Some(last) = conditions.last_mut() {
                    *last = !*last;
                }
            } else if line == "%endif" {
                conditions.pop();
            } else if let Some(check) = line.strip_prefix(";=")
                && conditions.iter().all(|holds| *holds)
            {
                let end = check.find(':').unwrap_or(check.len());
                checks.push(check[..end].trim());
            }
        }
        checks
    }

    /// Whether it ends by shutting down the CPU.
    fn shuts_down(&self) -> bool {
        self.source.lines().any(|line| line == "; ends: triple fault")
    }
}

/// What a sector gives to the debug exit device if all was well, and if not; as an exit status.
const ALL_WELL: u8 = 0x10 << 1 | 1;
const NOT_WELL: u8 = 0x11 << 1 | 1;

/// Far longer than any takes.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// The suite.
pub struct Sectors<'a> {
    pc: &'a dyn Pc,
    groups: Vec<(&'static Sector, Mode, &'static [u8; 512])>,
}

impl<'a> Sectors<'a> {
    /// On such PCs.
    #[must_use]
    pub fn new(pc: &'a dyn Pc) -> Self {
        let groups = SECTORS
            .iter()
            .flat_map(|sector| {
                sector.images.iter().map(move |(mode, image)| (sector, *mode, *image))
            })
            .collect();
        Self { pc, groups }
    }
}

impl Suite for Sectors<'_> {
    fn name(&self) -> &'static str {
        "sectors"
    }

    fn groups(&self) -> Vec<String> {
        self.groups.iter().map(|(s, mode, _)| format!("{}.{}", s.name, mode.name())).collect()
    }

    fn size(&self, group: usize) -> u64 {
        let (sector, mode, _) = self.groups[group];
        sector.checks(mode).len() as u64 + 1
    }

    fn run(
        &self,
        group: usize,
        candidate: &Candidate,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let (sector, mode, image) = self.groups[group];
        let guest = Guest {
            memory: 16 << 20,
            debug_exit: Some(0xf4),
            time_limit: TIME_LIMIT,
            ..Guest::new(Image::Sector(image.to_vec()))
        };
        let outcome = self.pc.boot(candidate.name, &guest)?;
        judge(&sector.checks(mode), sector.shuts_down(), &outcome, tally);
        Ok(())
    }
}

/// Compares what a sector printed, and how it ended, with what it should.
fn judge(checks: &[&str], shuts_down: bool, outcome: &Outcome, tally: &mut Tally<'_>) {
    let printed = String::from_utf8_lossy(&outcome.debug_console);
    let mut lines = printed.lines();
    for check in checks {
        let Some(line) = lines.next() else {
            tally.fail(check, format!("it was not reached: {:?}", outcome.ending), None);
            continue;
        };
        match (line.split_once('='), line.split_once('!')) {
            (Some((got, want)), _) if got == want => tally.pass(1),
            (None, Some((got, want))) if got != want => tally.fail(check, told(got, want), None),
            _ => tally.fail(check, format!("it printed '{line}'"), None),
        }
    }
    let end = match outcome.ending {
        _ if lines.next().is_some() => Err("more checks than the source has names".into()),
        _ if outcome.serial != outcome.debug_console => {
            Err("the serial port and the debug console differ".into())
        }
        Ending::Reset(_) if shuts_down => Ok(()),
        Ending::DebugExit(ALL_WELL) if !shuts_down && tally.failed() == 0 => Ok(()),
        // The checks that failed are counted already.
        Ending::DebugExit(NOT_WELL) if !shuts_down && tally.failed() > 0 => Ok(()),
        ref other => Err(format!("{other:?}")),
    };
    match end {
        Ok(()) => tally.pass(1),
        Err(why) => tally.fail("end", why, None),
    }
}

/// What a check says that failed. The words may be faults or anything else; a reader of the source
/// knows which.
fn told(got: &str, want: &str) -> String {
    let fault = |word: &str| {
        let word = u16::from_str_radix(word, 16).ok()?;
        let (vector, distance, code) = (word & 0x1f, word >> 5 & 7, word >> 8);
        Some(format!("vector {vector}, code {code:02X}h, {distance} from the end"))
    };
    match (fault(got), fault(want)) {
        (Some(g), Some(w)) => format!("got {got} ({g}), want {want} ({w})"),
        _ => format!("got {got}, want {want}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet, fs, io::Write as _, process::Command, sync::atomic::AtomicU64,
    };

    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sectors/");

    const MODES: [Mode; 4] = [Mode::Real, Mode::P16, Mode::P32, Mode::Long];

    #[test]
    fn the_list_is_what_the_folder_holds() {
        let modes = |source: &str| -> Vec<Mode> {
            let line = source.lines().find_map(|l| l.strip_prefix("; modes: ")).expect("modes");
            let number = |n: &str| MODES.into_iter().find(|m| m.number() == n).expect("mode");
            line.split_whitespace().map(number).collect()
        };
        let mut listed = BTreeSet::new();
        for sector in SECTORS {
            let images: Vec<Mode> = sector.images.iter().map(|(mode, _)| *mode).collect();
            assert_eq!(images, modes(sector.source), "{}", sector.name);
            for (mode, image) in sector.images {
                assert!(image.ends_with(&[0x55, 0xaa]), "{}", sector.name);
                listed.insert(format!("{}.{}.bin", sector.name, mode.name()));
                let checks = sector.checks(*mode);
                let distinct: BTreeSet<_> = checks.iter().collect();
                assert_eq!(distinct.len(), checks.len(), "{}: a name is taken twice", sector.name);
                assert!(!checks.iter().any(|c| c.contains(' ')), "{}: a blank", sector.name);
            }
            listed.insert(format!("{}.asm", sector.name));
        }
        let there: BTreeSet<String> = fs::read_dir(FOLDER)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| [".asm", ".bin"].iter().any(|end| name.ends_with(end)))
            .collect();
        assert_eq!(listed, there);
    }

    #[test]
    fn the_images_are_what_the_sources_say() {
        let name = format!("trine-sector-{}.bin", std::process::id());
        let out = std::env::temp_dir().join(name);
        for sector in SECTORS {
            for (mode, image) in sector.images {
                let nasm = Command::new("nasm")
                    .args(["-f", "bin", "-w-prefix-seg", "-I", FOLDER])
                    .args(["-D", &format!("MODE={}", mode.number()), "-o"])
                    .arg(&out)
                    .arg(format!("{FOLDER}{}.asm", sector.name))
                    .output();
                let Ok(nasm) = nasm else {
                    let _ = writeln!(std::io::stderr(), "skipped: nasm is not installed");
                    return;
                };
                let said = String::from_utf8_lossy(&nasm.stderr);
                assert!(nasm.status.success() && said.is_empty(), "{}: {said}", sector.name);
                let same = fs::read(&out).unwrap() == **image;
                assert!(same, "{}.{} is not what nasm makes", sector.name, mode.name());
            }
        }
        fs::remove_file(&out).unwrap();
    }

    #[test]
    fn a_check_fails_if_it_says_so_or_nothing() {
        let done = AtomicU64::new(0);
        let outcome = |text: &str, ending| Outcome {
            serial: text.into(),
            debug_console: text.into(),
            post_codes: Vec::new(),
            ending,
        };
        let failed = |text: &str, shuts_down, ending| {
            let mut tally = Tally::new(&done);
            judge(&["one", "two"], shuts_down, &outcome(text, ending), &mut tally);
            tally.failures.iter().map(|f| f.case.clone()).collect::<Vec<_>>()
        };
        let well = || Ending::DebugExit(ALL_WELL);
        assert_eq!(failed("000D=000D\n0000=0000\n", false, well()), Vec::<String>::new());
        assert_eq!(failed("000D=000D\n0000!000D\n", false, Ending::DebugExit(NOT_WELL)), ["two"]);
        assert_eq!(failed("000D=000D\n", false, Ending::DebugExit(NOT_WELL)), ["two"]);
        assert_eq!(failed("000D=000D\n0000=000D\n", false, Ending::DebugExit(NOT_WELL)), ["two"]);
        assert_eq!(failed("000D=000D\n0000!000D\n", false, well()), ["two", "end"]);
        assert_eq!(failed("1=1\n2=2\n", false, Ending::DebugExit(NOT_WELL)), ["end"]);
        assert_eq!(failed("1=1\n2=2\n3=3\n", false, well()), ["end"]);
        assert_eq!(failed("1=1\n2=2\n", false, Ending::TimeLimit), ["end"]);
        assert_eq!(failed("1=1\n2=2\n", true, Ending::Reset(String::new())), Vec::<String>::new());
        assert_eq!(failed("1=1\n2=2\n", true, well()), ["end"]);
    }
}
