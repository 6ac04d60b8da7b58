//! `SingleStepTests`: what an 8086 and an 80286 did, instruction by instruction, recorded from the
//! hardware: registers, FLAGS and RAM before and after.
//!
//! A modern CPU differs from those in ways that the manual lists, and in some that it does not:
//! `differences` is a table of them. A row changes what is expected and as little of that as can
//! be; all else is compared.
//!
//! Sources: github.com/SingleStepTests/8086 and /80286, their README.md and metadata.json; SDM
//! vol. 3A, chapter 21 (8086 emulation), and vol. 3B, chapter 23 (architecture compatibility).

mod access;
mod case;
mod differences;
mod files;
mod moo;
mod reproducer;
mod stage;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

use case::{Case, Ending, Expectation};
use differences::Verdict;
use files::Files;
use moo::Reader;
use stage::Stage;

use crate::{Candidate, Suite, Tally};

/// Which set of tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// github.com/SingleStepTests/8086.
    I8086,
    /// github.com/SingleStepTests/80286, real mode.
    I80286,
}

impl Kind {
    fn suite(self) -> &'static str {
        match self {
            Self::I8086 => "sst-8086",
            Self::I80286 => "sst-80286",
        }
    }

    /// Does the header of a file name this CPU?
    fn is(self, cpu: [u8; 4]) -> bool {
        match self {
            Self::I8086 => cpu == *b"8086",
            Self::I80286 => matches!(&cpu, b"286 " | b"C286"),
        }
    }

    /// The tests assume RAM everywhere. In real mode an 80286 reaches 10FFEFh.
    fn ram_bytes(self) -> u64 {
        match self {
            Self::I8086 => 1 << 20,
            Self::I80286 => 2 << 20,
        }
    }

    /// The 8086 has 20 address lines.
    fn wrap(self, at: u32) -> u32 {
        at % self.ram_bytes() as u32
    }

    /// The documented opcode of which `opcode` is another encoding on this CPU only: the 8086
    /// leaves bits of some opcodes undecoded.
    fn alias(self, opcode: u8) -> Option<u8> {
        match (self, opcode) {
            (Self::I8086, 0x60..=0x6f) => Some(opcode | 0x10),
            (Self::I8086, 0xc0 | 0xc1 | 0xc8 | 0xc9) => Some(opcode | 2),
            _ => None,
        }
    }

    /// Behind each instruction of the 80286's is a HLT.
    fn ending(self) -> Ending {
        match self {
            Self::I8086 => Ending::Instruction,
            Self::I80286 => Ending::Halt,
        }
    }
}

/// A set of tests, found on the disk.
pub struct SingleStep {
    kind: Kind,
    files: Files,
    sizes: Vec<u64>,
    /// How often each row of the table of differences was used.
    used: Mutex<BTreeMap<String, u64>>,
}

impl SingleStep {
    /// The set at `path`: a checkout of its repository, a folder of its files or one file.
    ///
    /// # Errors
    /// If there is none: one line that says how to get it.
    pub fn open(kind: Kind, path: &Path) -> Result<Self, String> {
        let repository = kind.suite().trim_start_matches("sst-");
        let files = Files::find(path).map_err(|e| {
            format!("{e} (the tests are at https://github.com/SingleStepTests/{repository})")
        })?;
        let size = |path: &Path| {
            let reader = files::open(path).ok().and_then(|f| Reader::new(f).ok());
            reader.map_or(1, |r| u64::from(r.header().tests))
        };
        let sizes = files.tests.iter().map(|(_, path)| size(path)).collect();
        Ok(Self { kind, files, sizes, used: Mutex::default() })
    }

    fn run_file(
        &self,
        path: &Path,
        candidate: &Candidate,
        tally: &mut Tally<'_>,
        used: &mut BTreeMap<String, u64>,
    ) -> Result<(), String> {
        let mut reader = Reader::new(files::open(path)?).map_err(|e| e.to_string())?;
        let cpu = reader.header().cpu;
        if !self.kind.is(cpu) {
            return Err(format!("is for another CPU: '{}'", cpu.escape_ascii()));
        }
        let mut stage = Stage::new(candidate, self.kind.ram_bytes(), self.kind == Kind::I8086)?;
        let mut number = 0_u32;
        while let Some(test) = reader.test().map_err(|e| e.to_string())? {
            if reader.meta().is_some_and(|meta| meta.mode != 0) {
                return Err("is not for real mode".into());
            }
            let case = Case::new(self.kind, &test, &self.files.metadata)?;
            // The 8086's files number all their tests 0.
            let name = number;
            number += 1;
            let hash = case.hash();
            if hash.as_ref().is_some_and(|h| self.files.revoked.contains(h)) {
                tally.skip(name, "its author has withdrawn it (revocation_list.txt)");
                continue;
            }
            let mut want = Expectation::recorded(&case, reader.defined());
            if let Verdict::Skip(why) = differences::apply(&case, &mut want, used) {
                tally.skip(name, why);
                continue;
            }
            match stage.run(&case.regs, &test.before.ram, &want)? {
                Ok(()) => tally.pass(1),
                Err(why) => {
                    let hash = hash.map_or(String::new(), |h| format!(" (hash {h})"));
                    let bytes = hex(&test.bytes);
                    let line = reproducer::line(&case, &want);
                    tally.fail(name, format!("{bytes} {}: {why}{hash}", test.name), line);
                }
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Suite for SingleStep {
    fn name(&self) -> &'static str {
        self.kind.suite()
    }

    fn groups(&self) -> Vec<String> {
        self.files.tests.iter().map(|(name, _)| name.clone()).collect()
    }

    fn size(&self, group: usize) -> u64 {
        self.sizes.get(group).copied().unwrap_or(1)
    }

    fn run(
        &self,
        group: usize,
        candidate: &Candidate,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let Some((_, path)) = self.files.tests.get(group) else { return Ok(()) };
        let mut used = BTreeMap::new();
        let outcome = self.run_file(path, candidate, tally, &mut used);
        let mut total = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, cases) in used {
            *total.entry(what).or_default() += cases;
        }
        outcome.map_err(|e| format!("{}: {e}", path.display()))
    }

    fn remarks(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.name();
        used.iter().map(|(what, cases)| format!("{name}: {cases} cases differ: {what}")).collect()
    }
}
