//! What a test says on the serial port: a line for each subtest (`lib/report.c`), and an exit
//! status (`lib/x86/io.c`, `lib/abort.c`).

use std::collections::BTreeMap;

/// How a subtest came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// PASS, or a failure that the test expects and tells (XFAIL, KFAIL).
    Pass,
    /// FAIL, or XPASS: it passes and must not.
    Fail,
    /// SKIP: the CPU or the board lacks what it needs.
    Skip,
}

/// A subtest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subtest {
    /// Its name, without blanks and unique in the test.
    pub(super) name: String,
    pub(super) outcome: Outcome,
    /// Its line.
    pub(super) line: String,
}

impl Subtest {
    /// Its line without the outcome.
    pub(super) fn text(&self) -> &str {
        self.line.split_once(": ").map_or("", |(_, text)| text)
    }
}

/// The words that a line starts with.
const WORDS: &[(&str, Outcome)] = &[
    ("PASS: ", Outcome::Pass),
    ("XFAIL: ", Outcome::Pass),
    ("KFAIL: ", Outcome::Pass),
    ("FAIL: ", Outcome::Fail),
    ("XPASS: ", Outcome::Fail),
    ("SKIP: ", Outcome::Skip),
];

/// The subtests in what a test said, in order.
pub(super) fn subtests(serial: &str) -> Vec<Subtest> {
    let (mut out, mut seen) = (Vec::new(), BTreeMap::<String, u32>::new());
    for line in serial.lines().map(|line| line.trim_end_matches('\r')) {
        let known = WORDS.iter().find_map(|(w, outcome)| Some((line.strip_prefix(w)?, *outcome)));
        let Some((text, outcome)) = known else { continue };
        let mut name = text.split_whitespace().collect::<Vec<_>>().join("_");
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            name = format!("{name}~{count}");
        }
        out.push(Subtest { name, outcome, line: line.into() });
    }
    out
}

/// What the status of the debug exit means: `exit(code)` writes `code`, of which 7 bits arrive, and
/// a test that skips everything writes what becomes 77, the status that says so to test runners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    /// Everything passed.
    Good,
    /// Nothing could be tested.
    Skipped,
    /// A subtest failed; it has said so itself.
    Failed,
    /// An assertion failed or an exception came: the rest of the test did not run.
    Aborted,
    /// Another exit code.
    Other(u8),
}

impl Status {
    /// From the emulator's exit status, `code << 1 | 1`.
    pub(super) fn new(status: u8) -> Self {
        match status >> 1 {
            0 => Self::Good,
            38 => Self::Skipped,
            1 => Self::Failed,
            63 | 127 => Self::Aborted,
            code => Self::Other(code),
        }
    }
}

/// The last thing that a test said, for why it ended; the cause, if it told one.
pub(super) fn last_words(serial: &str) -> &str {
    let says = |line: &&str| !line.is_empty() && !line.starts_with("SUMMARY:");
    let lines: Vec<&str> = serial.lines().map(str::trim).filter(says).collect();
    let is_cause = |line: &&&str| {
        line.contains("nhandled") || line.contains("ssert") || line.starts_with("ABORT")
    };
    lines.iter().rev().find(is_cause).or(lines.last()).copied().unwrap_or("(nothing)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_subtests() {
        let serial = "enabling apic\r\nPASS: a: b c\r\nFAIL: d\nXFAIL: e\nSKIP: f g\nPASS: a: b  c\n\
                      XPASS: h\nPASSING: i\n  PASS: j\nSUMMARY: 5 tests\n";
        let all = subtests(serial);
        let short: Vec<_> = all.iter().map(|s| (s.name.as_str(), s.outcome)).collect();
        use Outcome::{Fail, Pass, Skip};
        let expected = [
            ("a:_b_c", Pass),
            ("d", Fail),
            ("e", Pass),
            ("f_g", Skip),
            ("a:_b_c~2", Pass),
            ("h", Fail),
        ];
        assert_eq!(short, expected);
        assert_eq!((all[0].line.as_str(), all[0].text()), ("PASS: a: b c", "a: b c"));
    }

    #[test]
    fn statuses_and_last_words() {
        let all = [1, 3, 77, 127, 255, 9].map(Status::new);
        use Status::{Aborted, Failed, Good, Other, Skipped};
        assert_eq!(all, [Good, Failed, Skipped, Aborted, Aborted, Other(4)]);
        assert_eq!(last_words("a\nUnhandled exception 6\n  b\n\n"), "Unhandled exception 6");
        assert_eq!(last_words(" a\n\tb\nSUMMARY: 0 tests\n"), "b");
        assert_eq!(last_words(""), "(nothing)");
    }
}
