//! kvm-unit-tests: small guests that test a CPU and its interrupt controllers from the inside.
//!
//! The suite is not ours to give away: the adapter takes a checkout that the user built, reads its
//! list of tests (`x86/unittests.cfg`) and boots each as the suite's own runner does: by Multiboot,
//! with the environment as the module, the test device, and isa-debug-exit at port F4h. A group is
//! a test of the list, a case a subtest, and one more, `exit`, how the test ended.
//!
//! Source: kvm-unit-tests' `README.md`, `docs/unittests.txt`, `scripts/runtime.bash`, `x86/run`.

mod config;
mod peer;
mod protocol;
mod qemu;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use self::{
    config::Test,
    peer::Peer,
    protocol::{Outcome, Status, Subtest},
};
use crate::{
    Candidate, Suite, Tally,
    pc::{self, Ending, Guest, Image, Pc},
};

/// The suite's own limit, in seconds, for a test that has none.
const TIMEOUT: u64 = 90;
/// How many times a test's own limit we allow: the limits are for hardware.
const PATIENCE: u64 = 10;
/// The port of isa-debug-exit.
const DEBUG_EXIT: u16 = 0xf4;
/// The environment that the suite's runner gives: no erratum of an old host kernel is spared.
const ENVIRONMENT: &str = "ERRATA_FORCE=y\n";
/// The case of how a test ended.
const EXIT: &str = "exit";

/// A build of the suite.
struct Build {
    path: PathBuf,
    /// x86_64 or i386.
    arch: String,
}

/// Subtests that passed, failed and were skipped.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Count {
    fn of(subtests: &[Subtest]) -> Self {
        let mut count = Self::default();
        for subtest in subtests {
            match subtest.outcome {
                Outcome::Pass => count.passed += 1,
                Outcome::Fail => count.failed += 1,
                Outcome::Skip => count.skipped += 1,
            }
        }
        count
    }

    fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// Three columns of a table.
    fn text(self) -> String {
        format!("{:>4} | {:>4} | {:>4}", self.passed, self.failed, self.skipped)
    }
}

/// The suite.
pub struct KvmUnitTests<'a> {
    builds: Vec<Build>,
    /// Each with the number of its build.
    tests: Vec<(usize, Test)>,
    pc: &'a dyn Pc,
    peer: Peer,
    rows: Mutex<Rows>,
}

/// What came out, and how it ended: by engine and test.
type Rows = BTreeMap<(&'static str, usize), (Count, String)>;

impl<'a> KvmUnitTests<'a> {
    /// Opens the checkout at `path`, or all that lie in this folder, one for each architecture.
    ///
    /// # Errors
    /// If there is none, or it is not built: one line.
    pub fn open(path: &Path, pc: &'a dyn Pc) -> Result<Self, String> {
        let mut builds = Vec::new();
        if path.join("x86/unittests.cfg").is_file() {
            builds.push(build(path)?);
        } else {
            let failed = |e| format!("{}: {e}", path.display());
            let folders = fs::read_dir(path).map_err(failed)?;
            let mut folders: Vec<_> = folders.flatten().map(|entry| entry.path()).collect();
            folders.sort();
            for folder in folders.iter().filter(|f| f.join("x86/unittests.cfg").is_file()) {
                builds.push(build(folder)?);
            }
        }
        if builds.is_empty() {
            return Err(format!(
                "{} has no x86/unittests.cfg: give the checkout of kvm-unit-tests that you built",
                path.display()
            ));
        }
        let mut tests = Vec::new();
        for (n, build) in builds.iter().enumerate() {
            let list = build.path.join("x86/unittests.cfg");
            let text = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
            let is_for = |test: &Test| test.arch.as_ref().is_none_or(|arch| *arch == build.arch);
            tests.extend(config::parse(&text)?.into_iter().filter(is_for).map(|t| (n, t)));
        }
        Ok(Self { builds, tests, pc, peer: Peer::ours(), rows: Mutex::default() })
    }

    /// The guest for a test; an error is why it cannot be run.
    fn guest(&self, build: &Build, test: &Test) -> Result<Guest, Reason> {
        if let Some(accel) = &test.accel {
            return Err(Reason::Skip(format!("for {accel} only, says the list of tests")));
        }
        let wanted = qemu::wanted(&test.params).map_err(Reason::Skip)?;
        let file = build.path.join("x86").join(&test.file);
        if !file.exists() {
            // As the suite's own runner does: some tests are for one build and do not say so.
            return Err(Reason::Skip(format!("the build has no x86/{}", test.file)));
        }
        let failed = |e| Reason::Error(format!("{}: {e}", file.display()));
        let kernel = fs::read(&file).map_err(failed)?;
        let image = Image::Kernel {
            kernel,
            append: arguments(&test.args)?,
            initrd: Some(ENVIRONMENT.into()),
        };
        Ok(Guest {
            cpu: wanted.cpu,
            cpus: test.smp.unwrap_or(1),
            memory: wanted.memory,
            debug_exit: Some(DEBUG_EXIT),
            test_device: true,
            time_limit: Duration::from_secs(test.timeout.unwrap_or(TIMEOUT) * PATIENCE),
            ..Guest::new(image)
        })
    }

    fn note(&self, engine: &'static str, group: usize, count: Count, how: &str) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.insert((engine, group), (count, how.into()));
    }
}

/// Why a test is not run.
enum Reason {
    Skip(String),
    Error(String),
}

/// Looks at a checkout: for what it is built.
fn build(path: &Path) -> Result<Build, String> {
    let config = fs::read_to_string(path.join("config.mak")).map_err(|_| {
        format!("{} is not built: run ./configure and make there first", path.display())
    })?;
    let value = |key: &str| {
        config.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::trim)
    };
    let arch = value("ARCH").unwrap_or_default().to_owned();
    if !matches!(arch.as_str(), "x86_64" | "i386") || value("CONFIG_EFI") == Some("y") {
        return Err(format!(
            "{} is built for {arch} or EFI: run ./configure --arch=x86_64 (or i386) and make there",
            path.display()
        ));
    }
    Ok(Build { path: path.into(), arch })
}

/// A test's command line, with the one command that it lets a shell run.
fn arguments(args: &str) -> Result<String, Reason> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let args = args.replace("`date +%s`", &now.to_string());
    if args.contains(['`', '$']) {
        return Err(Reason::Error(format!("the arguments want a shell: {args}")));
    }
    Ok(args)
}

impl Suite for KvmUnitTests<'_> {
    fn name(&self) -> &'static str {
        "kvm-unit-tests"
    }

    fn groups(&self) -> Vec<String> {
        let name = |(build, test): &(usize, Test)| {
            format!("{}/{}", self.builds.get(*build).map_or("", |b| b.arch.as_str()), test.name)
        };
        self.tests.iter().map(name).collect()
    }

    fn size(&self, _group: usize) -> u64 {
        20
    }

    fn run(
        &self,
        group: usize,
        candidate: &Candidate,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let (build, test) = self.tests.get(group).ok_or("there is no such test")?;
        let build = self.builds.get(*build).ok_or("there is no such build")?;
        let guest = match self.guest(build, test) {
            Ok(guest) => guest,
            Err(Reason::Error(why)) => return Err(why),
            Err(Reason::Skip(why)) => {
                tally.skip(EXIT, &why);
                self.note(candidate.name, group, Count::default(), &format!("skipped: {why}"));
                return Ok(());
            }
        };
        let outcome = self.pc.boot(candidate.name, &guest)?;
        let serial = String::from_utf8_lossy(&outcome.serial);
        let subtests = protocol::subtests(&serial);
        for subtest in &subtests {
            match subtest.outcome {
                Outcome::Pass => tally.pass(1),
                Outcome::Fail => tally.fail(&subtest.name, &subtest.line, None),
                Outcome::Skip => tally.skip(&subtest.name, subtest.text()),
            }
        }
        let count = Count::of(&subtests);
        let how = match ended(&outcome, &guest, count, &serial) {
            Ok(None) => {
                tally.pass(1);
                String::new()
            }
            Ok(Some(why)) => {
                tally.skip(EXIT, &why);
                format!("skipped: {why}")
            }
            Err(why) => {
                let why = format!("{why}; it said: {}", protocol::last_words(&serial));
                tally.fail(EXIT, &why, None);
                why
            }
        };
        self.note(candidate.name, group, count, &how);
        Ok(())
    }

    /// A table: each test beside what QEMU's translator makes of it.
    fn remarks(&self) -> Vec<String> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = self.groups();
        let mut lines = Vec::new();
        let mut table: Option<Table<'_>> = None;
        for ((engine, group), (count, how)) in rows.iter() {
            let build = self.tests.get(*group).map_or(0, |(build, _)| *build);
            if table.as_ref().is_none_or(|t| (t.engine, t.build) != (*engine, build)) {
                lines.extend(table.take().map(|t| t.total()));
                table = Some(Table::new(engine, build, &self.peer, &mut lines));
            }
            let name = groups.get(*group).map_or("", String::as_str);
            lines.extend(table.as_mut().map(|t| t.row(name, *count, how)));
        }
        lines.extend(table.map(|t| t.total()));
        lines
    }
}

/// The table of one engine and build, in Markdown.
struct Table<'a> {
    engine: &'static str,
    build: usize,
    peer: &'a Peer,
    ours: Count,
    theirs: Count,
}

impl<'a> Table<'a> {
    fn new(engine: &'static str, build: usize, peer: &'a Peer, lines: &mut Vec<String>) -> Self {
        let columns = "pass | fail | skip";
        lines.push(String::new());
        lines.push(format!("| {engine} beside {:<40} | {columns} | {columns} | |", peer.name));
        lines.push(format!("|---{}|", "|---:".repeat(6) + "|---"));
        Self { engine, build, peer, ours: Count::default(), theirs: Count::default() }
    }

    fn row(&mut self, name: &str, ours: Count, how: &str) -> String {
        let mut remarks: Vec<String> = (!how.is_empty()).then(|| how.into()).into_iter().collect();
        let theirs = self.peer.of(name).map(|row| {
            if !row.how.is_empty() {
                remarks.push(format!("QEMU: {}", row.how));
            }
            row.count
        });
        self.ours = self.ours.plus(ours);
        self.theirs = self.theirs.plus(theirs.unwrap_or_default());
        let theirs = theirs.map_or("   ? |    ? |    ?".into(), Count::text);
        let line = format!("| {name:<54} | {} | {theirs} | {}", ours.text(), remarks.join("; "));
        format!("{} |", line.trim_end())
    }

    fn total(self) -> String {
        format!("| {:<54} | {} | {} | |", "total", self.ours.text(), self.theirs.text())
    }
}

/// How a test ended: well, with why it tested nothing, or as it must not.
fn ended(
    outcome: &pc::Outcome,
    guest: &Guest,
    count: Count,
    serial: &str,
) -> Result<Option<String>, String> {
    match &outcome.ending {
        Ending::DebugExit(status) => match Status::new(*status) {
            Status::Good => Ok(None),
            Status::Skipped => {
                let why = protocol::last_words(serial);
                Ok(Some(why.trim_start_matches("SKIP: ").into()))
            }
            // Its subtests have said so.
            Status::Failed if count.failed > 0 => Ok(None),
            Status::Failed => Err("a failure that no subtest told".into()),
            Status::Aborted => Err("aborted".into()),
            Status::Other(code) => Err(format!("exit code {code}")),
        },
        Ending::PowerOff => Err("it switched the machine off".into()),
        Ending::Reset(how) => Err(how.clone()),
        Ending::Halted => Err("halted for good".into()),
        Ending::TimeLimit => Err(format!("not done after {} s", guest.time_limit.as_secs())),
    }
}
