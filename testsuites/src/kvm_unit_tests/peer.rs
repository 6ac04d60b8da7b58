//! What QEMU's translator makes of the same files, for the table.
//!
//! `testsuites/kvm_unit_tests/peer.py` writes the list with QEMU and the suite's own runner.

use std::collections::BTreeMap;

use super::Count;

/// How a test came out there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) count: Count,
    /// The runner's words, if there is more to say than the counts.
    pub(super) how: String,
}

/// The list.
#[derive(Default, Debug)]
pub(super) struct Peer {
    /// QEMU's version.
    pub(super) name: String,
    rows: BTreeMap<String, Row>,
}

impl Peer {
    /// The list that this version of ours holds.
    pub(super) fn ours() -> Self {
        // A test reads it, so it is one.
        Self::parse(include_str!("../../kvm_unit_tests/qemu.txt")).unwrap_or_default()
    }

    /// Reads a list: the peer's name in the first line, then `BUILD/TEST PASS FAIL SKIP HOW`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(n, line)| (n + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let name = lines.next().map_or("", |(_, line)| line).to_owned();
        let mut rows = BTreeMap::new();
        for (n, line) in lines {
            let (test, row) = row(line).ok_or_else(|| format!("line {n}: no row: {line}"))?;
            if rows.insert(test, row).is_some() {
                return Err(format!("line {n}: a second row for the same test"));
            }
        }
        Ok(Self { name, rows })
    }

    /// How the group of this name came out.
    pub(super) fn of(&self, group: &str) -> Option<&Row> {
        self.rows.get(group)
    }
}

fn row(line: &str) -> Option<(String, Row)> {
    let mut words = line.split_whitespace();
    let test = words.next().filter(|test| test.contains('/'))?.to_owned();
    let mut number = || words.next()?.parse().ok();
    let count = Count { passed: number()?, failed: number()?, skipped: number()? };
    let how = words.collect::<Vec<_>>().join(" ");
    Some((test, Row { count, how }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_or_refused_with_its_line() {
        let peer = Peer::parse("# x\n\nQEMU 1\nx86_64/a 1 2 3\ni386/a 0 0 0 not  done\n").unwrap();
        assert_eq!(peer.name, "QEMU 1");
        let row = peer.of("i386/a").unwrap();
        assert_eq!((row.count, row.how.as_str()), (Count::default(), "not done"));
        assert_eq!(peer.of("x86_64/a").unwrap().count, Count { passed: 1, failed: 2, skipped: 3 });
        assert!(peer.of("x86_64/b").is_none());
        for bad in ["Q\nx/a 1 2\n", "Q\na 1 2 3\n", "Q\nx/a 1 2 three\n"] {
            assert!(Peer::parse(bad).unwrap_err().contains("line 2:"));
        }
        assert!(Peer::parse("Q\nx/a 1 2 3\nx/a 1 2 3\n").unwrap_err().contains("line 3:"));
    }

    #[test]
    fn ours_is_a_list() {
        let text = include_str!("../../kvm_unit_tests/qemu.txt");
        let peer = Peer::parse(text).unwrap();
        assert!(peer.name.starts_with("QEMU"), "{}", peer.name);
        assert!(peer.rows.len() > 100, "both builds");
    }
}
