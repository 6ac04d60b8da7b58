//! Where a set's files lie: the public repositories keep them in `v1_binary/` or `v1_real_mode/`,
//! with `metadata.json` there or in `v1/`; a user may have copied some of them anywhere.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

/// How deep files may lie below the path that the user gave.
const DEPTH: usize = 3;
/// The longest text file that is read.
const LONGEST_TEXT: u64 = 16 << 20;

/// The files of a set.
pub struct Files {
    /// Tests by name: the file's without its ending, which is the opcode.
    pub tests: Vec<(String, PathBuf)>,
    /// What is undefined.
    pub metadata: Metadata,
    /// Tests that their author has withdrawn, by hash.
    pub revoked: BTreeSet<String>,
}

impl Files {
    /// Finds them at `path`, a folder or one file of tests.
    ///
    /// # Errors
    /// If there are none, or `metadata.json` is missing: one line.
    pub fn find(path: &Path) -> Result<Self, String> {
        let mut all = Vec::new();
        if path.is_file() {
            all.push(path.to_path_buf());
        } else {
            walk(path, DEPTH, &mut all)?;
        }
        let mut tests: BTreeMap<String, PathBuf> = BTreeMap::new();
        for file in &all {
            let Some(name) = opcode(file) else { continue };
            if let Some(other) = tests.insert(name, file.clone()) {
                let both = format!("{} and {}", other.display(), file.display());
                return Err(format!("{both} are for one opcode; give one of their folders"));
            }
        }
        let first = tests.values().next().ok_or_else(|| {
            format!("{}: there are no .MOO or .MOO.gz files here", path.display())
        })?;
        let metadata = beside(first, &all, "metadata.json").ok_or_else(|| {
            format!(
                "{}: metadata.json is missing; copy it from the same repository",
                path.display()
            )
        })?;
        let revoked = match beside(first, &all, "revocation_list.txt") {
            Some(list) => hashes(&text(&list)?),
            None => BTreeSet::new(),
        };
        Ok(Self {
            metadata: Metadata::read(&metadata)?,
            revoked,
            tests: tests.into_iter().collect(),
        })
    }
}

/// Opens a file of tests, packed or not.
///
/// # Errors
/// If it cannot be opened.
pub fn open(path: &Path) -> Result<Box<dyn Read>, String> {
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let file = BufReader::with_capacity(1 << 16, file);
    let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    if !packed {
        return Ok(Box::new(file));
    }
    Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))))
}

/// The opcode that a file of tests is for.
fn opcode(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?.to_ascii_uppercase();
    let name = name.strip_suffix(".GZ").unwrap_or(&name);
    let stem = name.strip_suffix(".MOO")?;
    (!stem.contains(char::is_whitespace)).then(|| stem.to_string())
}

fn walk(folder: &Path, depth: usize, out: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if !path.is_dir() {
            out.push(path);
        } else if depth > 1 {
            // What cannot be listed is none of the set's.
            let _ = walk(&path, depth - 1, out);
        }
    }
    Ok(())
}

/// The file called `name` that belongs to `tests`: among all that were found, in its own folder or
/// near it.
fn beside(tests: &Path, all: &[PathBuf], name: &str) -> Option<PathBuf> {
    let found = all.iter().find(|p| p.file_name().is_some_and(|n| n == name)).cloned();
    found.or_else(|| {
        let folder = tests.parent()?;
        let above = folder.join("..");
        [folder.join(name), above.join(name), above.join("v1").join(name)]
            .into_iter()
            .find(|p| p.is_file())
    })
}

fn text(path: &Path) -> Result<String, String> {
    let failed = |e| format!("{}: {e}", path.display());
    let mut out = String::new();
    File::open(path)
        .map_err(failed)?
        .take(LONGEST_TEXT)
        .read_to_string(&mut out)
        .map_err(failed)?;
    Ok(out)
}

fn hashes(list: &str) -> BTreeSet<String> {
    let lines = list.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.map(str::to_ascii_lowercase).collect()
}

/// `metadata.json`: what the set's author found undefined, by opcode.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    opcodes: HashMap<String, Opcode>,
}

#[derive(Debug, Deserialize)]
struct Opcode {
    #[serde(rename = "flags-mask")]
    flags_mask: Option<u16>,
    #[serde(default)]
    reg: HashMap<String, Opcode>,
}

impl Metadata {
    fn read(path: &Path) -> Result<Self, String> {
        serde_json::from_str(&text(path)?).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The flags that `opcode` with `reg` in its `ModR/M` byte leaves defined: its `flags-mask`.
    pub fn defined_flags(&self, opcode: u8, reg: u8) -> u16 {
        let row = self.opcodes.get(&format!("{opcode:02X}"));
        let row = row.map(|row| row.reg.get(&reg.to_string()).unwrap_or(row));
        row.and_then(|row| row.flags_mask).unwrap_or(0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_opcodes() {
        let name = |n: &str| opcode(Path::new(n));
        assert_eq!(name("a/F7.5.MOO.gz"), Some("F7.5".into()));
        assert_eq!(name("a/0f04.moo"), Some("0F04".into()));
        assert_eq!(name("a/metadata.json"), None);
        assert_eq!(name("a/00.json.gz"), None);
    }

    #[test]
    fn metadata_names_flags() {
        let json = r#"{"opcodes": {"08": {"flags-mask": 65519}, "90": {"status": "normal"},
            "F6": {"reg": {"4": {"flags-mask": 65323}, "2": {"status": "normal"}}}}}"#;
        let m: Metadata = serde_json::from_str(json).unwrap();
        assert_eq!(m.defined_flags(8, 3), 0xffef);
        assert_eq!(m.defined_flags(0xf6, 4), 0xff2b);
        assert_eq!(m.defined_flags(0xf6, 2), 0xffff);
        assert_eq!(m.defined_flags(0x90, 0), 0xffff);
        assert_eq!(m.defined_flags(0x91, 0), 0xffff);
    }

    #[test]
    fn withdrawn_tests_are_listed() {
        assert_eq!(hashes("# none\n\n ABCD \n"), BTreeSet::from(["abcd".to_string()]));
    }

    #[test]
    fn a_folder_without_tests_says_so() {
        let why = Files::find(Path::new(env!("CARGO_MANIFEST_DIR"))).err().unwrap();
        assert!(why.contains("no .MOO"), "{why}");
        assert!(Files::find(Path::new("/nonexistent")).is_err());
    }
}
