//! The list of known failures, which may only shrink.
//!
//! A line is `SUITE ENGINE GROUP CASE reason…`; `*` stands for every engine. `#` starts a comment.
//! A failure that is not in the list fails the run; so does a line whose case the run came to, and
//! passed.

use std::collections::BTreeMap;

use thiserror::Error;

/// Known failures by suite, engine, group and case, with their reasons.
#[derive(Clone, Default, Debug)]
pub struct Expected {
    lines: BTreeMap<Key, String>,
}

type Key = (String, String, String, String);

/// A line of the list that says nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("line {line}: {why}")]
pub struct ExpectedError {
    line: usize,
    why: &'static str,
}

/// The list that comes with this version.
const OURS: &str = include_str!("../expected.txt");

impl Expected {
    /// The list that comes with this version.
    ///
    /// # Panics
    /// Never: a test reads it, and counts its lines.
    #[must_use]
    pub fn ours() -> Self {
        Self::parse(OURS).expect("a test reads it")
    }

    /// Reads a list.
    ///
    /// # Errors
    /// With the first line that is no known failure.
    pub fn parse(text: &str) -> Result<Self, ExpectedError> {
        let mut lines = BTreeMap::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |why| ExpectedError { line: n + 1, why };
            let mut words = line.split_whitespace();
            let mut word = || words.next().map(str::to_string);
            let key = word().zip(word()).zip(word()).zip(word());
            let Some((((suite, engine), group), case)) = key else {
                return Err(bad("write SUITE ENGINE GROUP CASE REASON"));
            };
            let reason = words.collect::<Vec<_>>().join(" ");
            if reason.is_empty() {
                return Err(bad("a known failure has a reason"));
            }
            if lines.insert((suite, engine, group, case), reason).is_some() {
                return Err(bad("this case is there twice"));
            }
        }
        Ok(Self { lines })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Is this failure known?
    #[must_use]
    pub fn has(&self, suite: &str, engine: &str, group: &str, case: &str) -> bool {
        self.of(suite, engine, group).any(|known| known == case)
    }

    /// The suites and engines that lines name.
    pub fn subjects(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.keys().map(|(suite, engine, ..)| (suite.as_str(), engine.as_str()))
    }

    /// The groups of a suite that lines name.
    pub(crate) fn groups<'a>(&'a self, suite: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.lines.keys().filter(move |(s, ..)| s == suite).map(|(_, _, g, _)| g.as_str())
    }

    /// The cases of a group that are known to fail.
    pub fn of<'a>(
        &'a self,
        suite: &'a str,
        engine: &'a str,
        group: &'a str,
    ) -> impl Iterator<Item = &'a str> + 'a {
        self.lines.keys().filter_map(move |(s, e, g, c)| {
            (s == suite && (e == engine || e == "*") && g == group).then_some(c.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many failures are known. Lower it with the list, never raise it.
    const KNOWN: usize = 0;

    #[test]
    fn our_list_only_shrinks() {
        assert_eq!(Expected::ours().len(), KNOWN, "mend what fails; lower this if it shrank");
    }

    #[test]
    fn lines_name_a_case_and_a_reason() {
        let list = "# comment\n\nhost * ADD_r8_rm8 7 wrong carry\nhost kvm X 1 because\n";
        let list = Expected::parse(list).unwrap();
        assert_eq!(list.len(), 2);
        assert!(list.has("host", "interp", "ADD_r8_rm8", "7"));
        assert!(list.has("host", "kvm", "X", "1") && !list.has("host", "interp", "X", "1"));
        assert_eq!(list.groups("host").collect::<Vec<_>>(), ["ADD_r8_rm8", "X"]);
        assert!(Expected::parse("host * ADD_r8_rm8 7").is_err());
        assert!(Expected::parse("a b c d e\na b c d f").is_err());
    }
}
