//! The text form of vectors.

use std::{fmt, str::FromStr};

use thiserror::Error;
use trine_native::WINDOW;

/// Names of the general registers, in their encoding's order.
pub(crate) const GPR_NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
/// Names of the segment registers, in their encoding's order.
pub(crate) const SEG_NAMES: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// Linear addresses below belong to the vector.
pub(crate) const OWN: usize = 0x1_0000;
/// Bytes of code a vector may have: the longest instruction, and one byte more that makes it too
/// long.
const LONGEST: usize = 16;

/// The mode a vector runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the format's own names")]
pub enum Mode {
    Real,
    Prot16 { user: bool },
    Prot32 { user: bool },
    Long { user: bool },
    V86,
    Compat32,
    Compat16,
}

/// One setting of a vector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setting {
    /// A register by name.
    Register(String, u128),
    /// A YMM register's quadwords, from the lowest up.
    Ymm(usize, [u64; 4]),
    /// Bytes at an address.
    Memory(u64, Vec<u8>),
}

/// An expected exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Its vector.
    pub vector: u8,
    /// Its error code, where it has one.
    pub code: Option<u32>,
    /// CR2.
    pub address: Option<u64>,
}

/// A parsed line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vector {
    /// The mode.
    pub mode: Mode,
    /// The instruction.
    pub code: Vec<u8>,
    /// Its disassembly, for people.
    pub text: String,
    /// The state before.
    pub before: Vec<Setting>,
    /// What changes.
    pub after: Vec<Setting>,
    /// The exception it raises instead.
    pub fault: Option<Fault>,
}

/// What is wrong with a line.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ParseError(String);

impl Vector {
    /// Whether the vector says that it goes to `rip`.
    #[must_use]
    pub fn jumps_to(&self, rip: u64) -> bool {
        self.after.contains(&Setting::Register("rip".to_owned(), rip.into()))
    }

    /// Whether it runs on the stage of the host's CPU: code of a 64-bit kernel's users that lies
    /// where such a kernel lets users map memory.
    #[must_use]
    pub fn is_on_host_stage(&self) -> bool {
        let lies_there = |s: &Setting| {
            matches!(s, Setting::Register(name, at)
                if name == "rip" && *at >= WINDOW.into() && *at < (2 * WINDOW).into())
        };
        match self.mode {
            Mode::Compat32 | Mode::Compat16 => true,
            Mode::Long { user: true } => self.before.iter().any(lies_there),
            _ => false,
        }
    }

    /// All the memory that it names is its own.
    fn check_memory(&self) -> Result<(), ParseError> {
        let (first, end) =
            if self.is_on_host_stage() { (WINDOW, 2 * WINDOW) } else { (0, OWN as u64) };
        for setting in self.before.iter().chain(&self.after) {
            if let Setting::Memory(at, data) = setting
                && (*at < first || at.saturating_add(data.len() as u64) > end)
            {
                let text =
                    format!("mem[{at:x}] lies beyond a vector's memory ({first:x} to {end:x})");
                return Err(ParseError(text));
            }
        }
        Ok(())
    }

    /// A register's value on the right side.
    #[must_use]
    pub fn after_register(&self, name: &str) -> Option<u128> {
        self.after.iter().find_map(|s| match s {
            Setting::Register(n, v) if n == name => Some(*v),
            _ => None,
        })
    }
}

fn hex(text: &str) -> Result<u128, ParseError> {
    let digits = text.strip_prefix("0x").unwrap_or(text).replace('_', "");
    u128::from_str_radix(&digits, 16)
        .map_err(|_| ParseError(format!("'{text}' is not hexadecimal")))
}

fn bytes(text: &str) -> Result<Vec<u8>, ParseError> {
    let bad = || ParseError(format!("'{text}' is not an even number of hexadecimal digits"));
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(bad());
    }
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).map_err(|_| bad()))
        .collect()
}

fn setting(text: &str) -> Result<Setting, ParseError> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| ParseError(format!("'{text}' has no '='")))?;
    if let Some(address) = name.strip_prefix("mem[").and_then(|n| n.strip_suffix(']')) {
        let (address, data) = (hex(address)?, bytes(value)?);
        return Ok(Setting::Memory(address as u64, data));
    }
    if let Some(n) = numbered(name, "ymm", 16) {
        return Ok(Setting::Ymm(n.into(), quadwords(value)?));
    }
    if !is_register(name) {
        return Err(ParseError(format!("there is no register '{name}'")));
    }
    Ok(Setting::Register(name.to_owned(), hex(value)?))
}

/// Registers that are no general or segment registers, and what only the right side knows.
const OTHERS: [&str; 19] = [
    "rip", "flags", "rflags", "undef", "fcw", "fsw", "ftw", "mxcsr", "cr0", "cr2", "cr3", "cr4",
    "xcr0", "efer", "fop", "fip", "fdp", "fsbase", "gsbase",
];

/// The number of register `name` of a kind of which there are `below`.
fn numbered(name: &str, prefix: &str, below: u8) -> Option<u8> {
    name.strip_prefix(prefix)?.parse().ok().filter(|n| *n < below)
}

/// Up to 64 digits.
fn quadwords(text: &str) -> Result<[u64; 4], ParseError> {
    let at = text.len().saturating_sub(32);
    if !text.is_ascii() || text.len() > 64 {
        return Err(ParseError(format!("'{text}' is no number of up to 64 digits")));
    }
    let high = if at == 0 { 0 } else { hex(&text[..at])? };
    let low = hex(&text[at..])?;
    Ok([low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64])
}

fn is_register(name: &str) -> bool {
    let numbered = |prefix, below| numbered(name, prefix, below).is_some();
    GPR_NAMES.contains(&name)
        || SEG_NAMES.contains(&name)
        || OTHERS.contains(&name)
        || numbered("st", 8)
        || numbered("mm", 8)
        || numbered("xmm", 16)
}

fn fault(text: &str) -> Result<Fault, ParseError> {
    let (text, address) = match text.split_once('@') {
        Some((text, address)) => (text, Some(hex(address)? as u64)),
        None => (text, None),
    };
    let (name, code) = match text.split_once('(') {
        Some((name, code)) => (name, Some(hex(code.trim_end_matches(')'))? as u32)),
        None => (text, None),
    };
    let vector = (0..32)
        .find(|v| trine_x86::vector::name(*v) == name)
        .ok_or_else(|| ParseError(format!("there is no exception {name}")))?;
    Ok(Fault { vector, code, address })
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Real => "real",
            Self::Prot16 { user: false } => "16",
            Self::Prot16 { user: true } => "16u",
            Self::Prot32 { user: false } => "32",
            Self::Prot32 { user: true } => "32u",
            Self::Long { user: false } => "64",
            Self::Long { user: true } => "64u",
            Self::V86 => "v86",
            Self::Compat32 => "32c",
            Self::Compat16 => "16c",
        })
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(name, value) => write!(f, "{name}={value:x}"),
            Self::Ymm(n, value) => {
                write!(f, "ymm{n}=")?;
                value.iter().rev().try_for_each(|quadword| write!(f, "{quadword:016x}"))
            }
            Self::Memory(at, bytes) => {
                write!(f, "mem[{at:x}]=")?;
                write_bytes(f, bytes)
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(trine_x86::vector::name(self.vector))?;
        if let Some(code) = self.code {
            write!(f, "({code:x})")?;
        }
        self.address.map_or(Ok(()), |address| write!(f, "@{address:x}"))
    }
}

/// The line that is read as this vector.
impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.mode)?;
        write_bytes(f, &self.code)?;
        write!(f, " \"{}\"", self.text)?;
        self.before.iter().try_for_each(|setting| write!(f, " {setting}"))?;
        f.write_str(" =>")?;
        self.fault.map_or(Ok(()), |fault| write!(f, " {fault}"))?;
        self.after.iter().try_for_each(|setting| write!(f, " {setting}"))
    }
}

impl FromStr for Vector {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        let missing = |what: &str| ParseError(format!("there is no {what}"));
        let (head, rest) = line.split_once('"').ok_or_else(|| missing("disassembly in quotes"))?;
        let (text, rest) = rest.split_once('"').ok_or_else(|| missing("closing quote"))?;
        let (left, right) = rest.split_once("=>").ok_or_else(|| missing("'=>'"))?;
        let mut head = head.split_whitespace();
        let mode = match head.next().ok_or_else(|| missing("mode"))? {
            "real" => Mode::Real,
            "16" => Mode::Prot16 { user: false },
            "16u" => Mode::Prot16 { user: true },
            "32" => Mode::Prot32 { user: false },
            "32u" => Mode::Prot32 { user: true },
            "64" => Mode::Long { user: false },
            "64u" => Mode::Long { user: true },
            "v86" => Mode::V86,
            "32c" => Mode::Compat32,
            "16c" => Mode::Compat16,
            other => return Err(ParseError(format!("there is no mode '{other}'"))),
        };
        let code = bytes(head.next().ok_or_else(|| missing("code"))?)?;
        if code.is_empty() || code.len() > LONGEST {
            return Err(ParseError(format!("an instruction has 1 to {LONGEST} bytes")));
        }
        let before = left.split_whitespace().map(setting).collect::<Result<_, _>>()?;
        let mut expected = None;
        let mut after = Vec::new();
        for word in right.split_whitespace() {
            if word.starts_with('#') {
                expected = Some(fault(word)?);
            } else {
                after.push(setting(word)?);
            }
        }
        let vector = Self { mode, code, text: text.to_owned(), before, after, fault: expected };
        vector.check_memory()?;
        Ok(vector)
    }
}
