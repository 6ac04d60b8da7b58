//! test386.asm: a ROM in place of the BIOS that tests a CPU of the 80386's kind, from the reset
//! vector on.
//!
//! Source: the README.md and src/configuration.asm of barotto/test386.asm. The ROM says which test
//! it is at on its POST port and halts where a test fails; its last test prints what arithmetic
//! instructions do, which has to be test386-EE-reference.txt byte for byte.
//!
//! A ROM as it comes, built without changes to src/configuration.asm, prints nowhere: its POST
//! codes are checked, and its output is skipped. With `OUT_PORT equ 0xE9` or `COM_PORT equ 1` in
//! it, both are checked. `TEST_UNDEF equ 1` asks for what the manuals leave undefined, as one
//! stepping of the 80386 does it (PUSH of a segment register, POPAD, shifts by more than the
//! operand's width, decimal adjustments): no CPU that this emulator models does that, and such a
//! ROM is refused. One undefined flag is printed by every ROM, OF after a rotate by 7: its table
//! of masks takes that for a rotate by 1. The reference has it as the last step leaves it, and so
//! does the model `pentium`, on which the ROM runs; present CPUs do otherwise.

use std::{fs, path::Path, time::Duration};

use crate::{
    Candidate, Pc, Suite, Tally,
    pc::{Ending, Guest, Image, Outcome},
};

/// POST codes in the order in which they come, with what they stand for.
const CODES: [(u8, &str); 33] = [
    (0x00, "start in real mode"),
    (0x01, "jumps and loops"),
    (0x02, "multiplication and division"),
    (0x03, "segment registers in real mode"),
    (0x04, "string instructions in real mode"),
    (0x05, "calls in real mode"),
    (0x06, "far pointers in real mode"),
    (0x08, "entering protected mode"),
    (0x09, "the stack"),
    (0x20, "ring 3"),
    (0x21, "virtual-8086 mode"),
    (0x22, "task switches"),
    (0x0b, "segment registers"),
    (0x0c, "zero and sign extension"),
    (0x0d, "LEA with 16-bit addresses"),
    (0x0e, "LEA with 32-bit addresses"),
    (0x0f, "addressing modes"),
    (0x10, "string instructions"),
    (0x11, "page faults"),
    (0x12, "other faults of memory accesses"),
    (0x13, "bit scans"),
    (0x14, "bit tests"),
    (0x15, "SETcc"),
    (0x16, "calls"),
    (0x17, "ARPL"),
    (0x18, "BOUND"),
    (0x19, "XCHG"),
    (0x1a, "ENTER"),
    (0x1b, "LEAVE"),
    (0x1c, "VERR and VERW"),
    (0xe0, "undefined behaviour, if the ROM was built to test it"),
    (0xee, "printing what arithmetic does"),
    (0xff, "the end"),
];

/// Where a ROM prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Output {
    /// The debug console's port.
    DebugConsole,
    /// The first serial port.
    Serial,
    /// Nowhere, or to a port that this PC has nothing at.
    None,
}

/// The suite, with a ROM.
pub struct Test386<'a> {
    pc: &'a dyn Pc,
    guest: Guest,
    output: Output,
    reference: Vec<u8>,
}

impl<'a> Test386<'a> {
    /// Opens a checkout in which the ROM was built.
    ///
    /// # Errors
    /// If a file is missing, or the ROM was built for what no CPU here does.
    pub fn open(path: &Path, pc: &'a dyn Pc) -> Result<Self, String> {
        let place = path.display();
        let read =
            |name: &str| fs::read(path.join(name)).map_err(|e| format!("{place}/{name}: {e}"));
        let configuration = read("src/configuration.asm")?;
        let configuration = String::from_utf8_lossy(&configuration);
        let rom = path.join("test386.bin");
        if !rom.exists() {
            return Err(format!(
                "{} is missing: run make in {place} (it needs nasm)",
                rom.display()
            ));
        }
        let value = |name| {
            value(&configuration, name)
                .ok_or_else(|| format!("{place}/src/configuration.asm does not set {name}"))
        };
        if value("TEST_UNDEF")? != 0 {
            return Err(format!(
                "the ROM tests what only an 80386 does: set TEST_UNDEF equ 0 in \
                 {place}/src/configuration.asm and run make"
            ));
        }
        let output = match (value("OUT_PORT")?, value("COM_PORT")?) {
            (0xe9, _) => Output::DebugConsole,
            (_, 1) => Output::Serial,
            _ => Output::None,
        };
        let post_port = value("POST_PORT")?;
        let image = Image::Firmware(read("test386.bin")?);
        let guest = Guest {
            post_port: (post_port != 0x80).then_some(post_port),
            end_on_halt: true,
            cpu: "pentium".into(),
            time_limit: Duration::from_secs(600),
            ..Guest::new(image)
        };
        Ok(Self { pc, guest, output, reference: read("test386-EE-reference.txt")? })
    }
}

/// What `name equ VALUE` sets.
fn value(configuration: &str, name: &str) -> Option<u16> {
    configuration.lines().find_map(|line| {
        let mut words = line.split(';').next()?.split_whitespace();
        if words.next()? != name || !words.next()?.eq_ignore_ascii_case("equ") {
            return None;
        }
        let number = words.next()?.to_ascii_lowercase();
        let hex = number.strip_prefix("0x").or_else(|| number.strip_suffix('h'));
        hex.map_or_else(|| number.parse().ok(), |hex| u16::from_str_radix(hex, 16).ok())
    })
}

impl Suite for Test386<'_> {
    fn name(&self) -> &'static str {
        "test386"
    }

    fn groups(&self) -> Vec<String> {
        vec!["rom".into()]
    }

    fn size(&self, _: usize) -> u64 {
        (CODES.len() + self.reference.iter().filter(|b| **b == b'\n').count()) as u64
    }

    fn run(&self, _: usize, candidate: &Candidate, tally: &mut Tally<'_>) -> Result<(), String> {
        let outcome = self.pc.boot(candidate.name, &self.guest)?;
        let printed = match self.output {
            Output::DebugConsole => &outcome.debug_console,
            Output::Serial => &outcome.serial,
            Output::None => &Vec::new(),
        };
        post_codes(&outcome, tally)?;
        if self.output == Output::None {
            tally.skip(
                "output",
                "the ROM prints nowhere: set OUT_PORT equ 0xE9 (or COM_PORT equ 1) in \
                 src/configuration.asm and run make",
            );
        } else if outcome.post_codes.contains(&0xee) {
            compare(&self.reference, printed, tally);
        } else {
            tally.skip("output", "an earlier test failed");
        }
        Ok(())
    }
}

/// A case for each POST code: the test that it announces has passed if the next one came.
fn post_codes(outcome: &Outcome, tally: &mut Tally<'_>) -> Result<(), String> {
    let codes = &outcome.post_codes;
    if codes.is_empty() {
        return Err(format!(
            "the ROM sent no POST code ({}); was it built with this src/configuration.asm?",
            ending(&outcome.ending)
        ));
    }
    let right = codes.iter().zip(CODES).take_while(|(code, (right, _))| *code == right).count();
    for (n, (code, what)) in CODES.into_iter().enumerate() {
        let case = format!("post.{code:02X}");
        if n + 1 < right || n + 1 == CODES.len() && right == CODES.len() {
            tally.pass(1);
        } else if n + 1 == right.max(1) {
            let then = codes.get(right).map_or_else(
                || ending(&outcome.ending).to_string(),
                |code| format!("POST code {code:02X}h came next"),
            );
            tally.fail(case, format_args!("{what}: {then}"), None);
        } else {
            tally.skip(case, "an earlier test failed");
        }
    }
    if codes.len() > CODES.len() {
        tally.fail("post.end", "more POST codes came after the last", None);
    }
    Ok(())
}

fn ending(ending: &Ending) -> &str {
    match ending {
        Ending::PowerOff => "it switched the machine off",
        Ending::DebugExit(_) => "it wrote to the debug exit port",
        Ending::Reset(why) => why,
        Ending::Halted => "it halted",
        Ending::TimeLimit => "its time was over",
    }
}

/// A case for each line of the reference.
fn compare(reference: &[u8], printed: &[u8], tally: &mut Tally<'_>) {
    let mut ours = printed.split_inclusive(|b| *b == b'\n');
    let mut same = 0;
    for (n, right) in (1..).zip(reference.split_inclusive(|b| *b == b'\n')) {
        let line = ours.next().unwrap_or_default();
        if line == right {
            same += 1;
            continue;
        }
        let text = |line: &[u8]| String::from_utf8_lossy(line).trim_end().to_string();
        let why = if line.is_empty() {
            "the line is missing".into()
        } else {
            format!("printed {}, the reference has {}", text(line), text(right))
        };
        tally.fail(format_args!("line.{n}"), why, None);
    }
    tally.pass(same);
    if ours.next().is_some() {
        tally.fail("line.end", "there are more lines than in the reference", None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn outcome(codes: &[u8]) -> Outcome {
        Outcome {
            serial: Vec::new(),
            debug_console: Vec::new(),
            post_codes: codes.to_vec(),
            ending: Ending::Halted,
        }
    }

    #[test]
    fn a_post_code_is_a_case() {
        let all: Vec<u8> = CODES.iter().map(|(code, _)| *code).collect();
        let count = |codes: &[u8]| {
            let done = AtomicU64::new(0);
            let mut tally = Tally::new(&done);
            post_codes(&outcome(codes), &mut tally).map(|()| {
                let first = tally.failures.first().map(|f| f.case.clone());
                (tally.passed, tally.failed, tally.skipped.len(), first)
            })
        };
        let failing = |case: &str| Some(case.to_string());
        assert_eq!(count(&all), Ok((33, 0, 0, None)));
        assert_eq!(count(&all[..5]), Ok((4, 1, 28, failing("post.04"))));
        assert_eq!(count(&[0, 1, 0, 1]), Ok((1, 1, 31, failing("post.01"))));
        assert_eq!(count(&[7]), Ok((0, 1, 32, failing("post.00"))));
        assert!(count(&[]).is_err());
    }

    #[test]
    fn lines_are_compared_byte_for_byte() {
        let failures = |reference: &str, printed: &str| {
            let done = AtomicU64::new(0);
            let mut tally = Tally::new(&done);
            compare(reference.as_bytes(), printed.as_bytes(), &mut tally);
            tally.failures.into_iter().map(|f| f.case).collect::<Vec<_>>()
        };
        assert!(failures("a\nb\n", "a\nb\n").is_empty());
        assert_eq!(failures("a\nb\n", "a\nB\n"), ["line.2"]);
        assert_eq!(failures("a\nb\n", "a\n"), ["line.2"]);
        assert_eq!(failures("a\nb\n", "a\nb"), ["line.2"]);
        assert_eq!(failures("a\nb\n", "a\nb\nc"), ["line.end"]);
    }

    #[test]
    fn the_configuration_is_read() {
        let text = "; OUT_PORT equ 1\nPOST_PORT equ 0x190 ; comment\nOUT_PORT equ 0E9h\nA equ x";
        assert_eq!(value(text, "POST_PORT"), Some(0x190));
        assert_eq!(value(text, "OUT_PORT"), Some(0xe9));
        assert_eq!((value(text, "A"), value(text, "B")), (None, None));
    }
}
