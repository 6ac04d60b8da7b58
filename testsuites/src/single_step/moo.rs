//! The MOO format: chunks of a type, a length and a payload, some of which hold chunks.
//!
//! A file is hostile input. Nothing is allocated because a length field says so: payloads are read
//! as far as the file goes, and a count is held against the bytes that are there.
//!
//! Source: "MOO File Format Specification, Version 1.1" (github.com/dbalsom/moo, doc/moo_format_v1.md).

use std::io::Read;

use thiserror::Error;

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum MooError {
    /// It cannot be read, or its compression is damaged.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It does not begin as a MOO file does.
    #[error("is no MOO file")]
    NotMoo,
    /// Its format has another major version.
    #[error("has version {0} of the MOO format; versions 1.x are understood")]
    Version(u8),
    /// It ends too early.
    #[error("is cut off in chunk {0}")]
    Truncated(Id),
    /// It ends before the last test.
    #[error("ends after {0} of {1} tests")]
    Missing(u32, u32),
    /// A test is longer than any could be.
    #[error("has a chunk {0} of {1} bytes")]
    TooLong(Id, u64),
    /// A payload is not what its type says.
    #[error("has a damaged chunk {0}")]
    Damaged(Id),
    /// A test lacks a chunk.
    #[error("has a test without chunk {0}")]
    Lacks(Id),
}

/// A chunk's type: four characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Id(pub [u8; 4]);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}'", self.0.escape_ascii())
    }
}

const MOO: Id = Id(*b"MOO ");
const META: Id = Id(*b"META");
const TEST: Id = Id(*b"TEST");
const NAME: Id = Id(*b"NAME");
const BYTS: Id = Id(*b"BYTS");
const INIT: Id = Id(*b"INIT");
const FINA: Id = Id(*b"FINA");
const REGS: Id = Id(*b"REGS");
const RMSK: Id = Id(*b"RMSK");
const RG32: Id = Id(*b"RG32");
const RM32: Id = Id(*b"RM32");
const RAM: Id = Id(*b"RAM ");
const QUEU: Id = Id(*b"QUEU");
const EA32: Id = Id(*b"EA32");
const CYCL: Id = Id(*b"CYCL");
const EXCP: Id = Id(*b"EXCP");
const HASH: Id = Id(*b"HASH");

/// The longest chunk that is read. The longest there is, a repeated string instruction with all
/// its bus cycles, has some 100 KiB.
const LONGEST: u64 = 16 << 20;
/// The longest file that is read, unpacked. The longest there is has some 20 MiB.
const LONGEST_FILE: u64 = 1 << 30;
/// Bytes of one entry of `CYCL`.
const CYCLE: usize = 15;
/// Bytes of `EA32`.
const EFFECTIVE_ADDRESS: usize = 23;

/// The chunk that a file begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// How many tests follow.
    pub tests: u32,
    /// The CPU, padded with blanks.
    pub cpu: [u8; 4],
}

/// What all tests of a file have in common (`META`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// The mode of the CPU: 0 is real mode.
    pub mode: u8,
}

/// Registers by their place in the bit mask, those that a chunk names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// A bit for each register that is there.
    pub present: u32,
    /// Its value; 0 where it is not there.
    pub value: [u32; 20],
}

/// Registers of a 16-bit CPU, in the order of `REGS`: AX, BX, CX, DX, CS, SS, DS, ES, SP, BP, SI,
/// DI, IP, FLAGS.
pub const WORDS: usize = 14;
/// Registers of a 32-bit CPU, in the order of `RG32`.
const DOUBLEWORDS: usize = 20;

/// A CPU and the bytes of RAM around it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The registers of a 16-bit CPU (`REGS`).
    pub words: Option<Registers>,
    /// The registers of a 32-bit CPU (`RG32`).
    pub doublewords: Option<Registers>,
    /// Which of their bits are defined (`RMSK` or `RM32`).
    pub defined: Option<Registers>,
    /// Addresses and bytes (`RAM `).
    pub ram: Vec<(u32, u8)>,
    /// The prefetch queue (`QUEU`).
    pub queue: Vec<u8>,
}

/// An exception or interrupt in the course of a test (`EXCP`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted {
    /// Its vector.
    pub vector: u8,
    /// Where FLAGS were pushed.
    pub flags_at: u32,
}

/// One test.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Test {
    /// Its number in the file.
    pub index: u32,
    /// The disassembly.
    pub name: String,
    /// The instruction.
    pub bytes: Vec<u8>,
    /// The state before.
    pub before: State,
    /// What is different after.
    pub after: State,
    /// The exception or interrupt.
    pub interrupted: Option<Interrupted>,
    /// SHA-1 of something, the name of the test in the whole set.
    pub hash: Option<[u8; 20]>,
}

/// Reads one test after the other.
pub struct Reader<R> {
    input: std::io::Take<R>,
    header: Header,
    meta: Option<Meta>,
    defined: Option<Registers>,
    read: u32,
    payload: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If `input` does not begin as a MOO file.
    pub fn new(input: R) -> Result<Self, MooError> {
        let mut input = input.take(LONGEST_FILE);
        let mut payload = Vec::new();
        let header = match next_chunk(&mut input, &mut payload)? {
            Some(MOO) => header(&payload)?,
            _ => return Err(MooError::NotMoo),
        };
        Ok(Self { input, header, meta: None, defined: None, read: 0, payload })
    }

    /// The header.
    pub fn header(&self) -> Header {
        self.header
    }

    /// What the file says of all its tests, once the first of them is read.
    pub fn meta(&self) -> Option<Meta> {
        self.meta
    }

    /// The defined bits of registers in all tests, once the first of them is read.
    pub fn defined(&self) -> Option<Registers> {
        self.defined
    }

    /// The next test; `None` after the last.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn test(&mut self) -> Result<Option<Test>, MooError> {
        while self.read < self.header.tests {
            match next_chunk(&mut self.input, &mut self.payload)? {
                None => return Err(MooError::Missing(self.read, self.header.tests)),
                Some(TEST) => {
                    self.read += 1;
                    return test(&self.payload).map(Some);
                }
                Some(META) => self.meta = Some(meta(&self.payload)?),
                Some(id @ RMSK) => self.defined = Some(words(id, &self.payload)?),
                Some(id @ RM32) => self.defined = Some(doublewords(id, &self.payload)?),
                Some(_) => {}
            }
        }
        Ok(None)
    }
}

/// Reads a chunk into `payload` and returns its type; `None` at the end.
fn next_chunk(input: &mut impl Read, payload: &mut Vec<u8>) -> Result<Option<Id>, MooError> {
    let mut head = Vec::with_capacity(8);
    input.by_ref().take(8).read_to_end(&mut head)?;
    let Some((id, len)) = head.first_chunk().zip(head.get(4..).and_then(<[u8]>::first_chunk))
    else {
        return if head.is_empty() { Ok(None) } else { Err(MooError::NotMoo) };
    };
    let (id, len) = (Id(*id), u64::from(u32::from_le_bytes(*len)));
    if len > LONGEST {
        return Err(MooError::TooLong(id, len));
    }
    payload.clear();
    if input.by_ref().take(len).read_to_end(payload)? as u64 != len {
        return Err(MooError::Truncated(id));
    }
    Ok(Some(id))
}

/// A payload from which fields are taken.
struct Fields<'a> {
    of: Id,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(of: Id, rest: &'a [u8]) -> Self {
        Self { of, rest }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], MooError> {
        let (now, later) = self.rest.split_at_checked(len).ok_or(MooError::Damaged(self.of))?;
        self.rest = later;
        Ok(now)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MooError> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| MooError::Damaged(self.of))
    }

    fn byte(&mut self) -> Result<u8, MooError> {
        Ok(self.array::<1>()?[0])
    }

    fn word(&mut self) -> Result<u16, MooError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn doubleword(&mut self) -> Result<u32, MooError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A count and so many entries of `size` bytes each.
    fn counted(&mut self, size: usize) -> Result<&'a [u8], MooError> {
        let count = self.doubleword()? as usize;
        let len = count.checked_mul(size).ok_or(MooError::Damaged(self.of))?;
        self.take(len)
    }

    /// A chunk in this payload.
    fn chunk(&mut self) -> Result<Option<(Id, &'a [u8])>, MooError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let id = Id(self.array()?);
        let len = self.doubleword()? as usize;
        let payload = self.take(len).map_err(|_| MooError::Truncated(id))?;
        Ok(Some((id, payload)))
    }
}

fn header(payload: &[u8]) -> Result<Header, MooError> {
    let mut f = Fields::new(MOO, payload);
    let version = f.byte()?;
    if version != 1 {
        return Err(MooError::Version(version));
    }
    // The minor version, and what is reserved.
    f.take(3)?;
    Ok(Header { tests: f.doubleword()?, cpu: f.array()? })
}

fn meta(payload: &[u8]) -> Result<Meta, MooError> {
    let mut f = Fields::new(META, payload);
    // The set's version, the exact CPU, the opcode, the mnemonic, the number of tests, the seed.
    f.take(2 + 1 + 4 + 8 + 4 + 8)?;
    Ok(Meta { mode: f.byte()? })
}

fn words(id: Id, payload: &[u8]) -> Result<Registers, MooError> {
    let mut f = Fields::new(id, payload);
    let present = u32::from(f.word()?);
    registers(present, WORDS, || f.word().map(u32::from))
}

fn doublewords(id: Id, payload: &[u8]) -> Result<Registers, MooError> {
    let mut f = Fields::new(id, payload);
    let present = f.doubleword()?;
    registers(present, DOUBLEWORDS, || f.doubleword())
}

fn registers(
    present: u32,
    count: usize,
    mut next: impl FnMut() -> Result<u32, MooError>,
) -> Result<Registers, MooError> {
    let mut out = Registers { present: present & ((1 << count) - 1), ..Registers::default() };
    for (n, value) in out.value.iter_mut().enumerate().take(count) {
        if present >> n & 1 != 0 {
            *value = next()?;
        }
    }
    Ok(out)
}

fn state(of: Id, payload: &[u8]) -> Result<State, MooError> {
    let mut out = State::default();
    let mut f = Fields::new(of, payload);
    while let Some((id, payload)) = f.chunk()? {
        let mut f = Fields::new(id, payload);
        match id {
            REGS => out.words = Some(words(id, payload)?),
            RG32 => out.doublewords = Some(doublewords(id, payload)?),
            RMSK => out.defined = Some(words(id, payload)?),
            RM32 => out.defined = Some(doublewords(id, payload)?),
            RAM => {
                let entries = f.counted(5)?;
                out.ram.reserve_exact(entries.len() / 5);
                let entry = |e: &[u8; 5]| (u32::from_le_bytes([e[0], e[1], e[2], e[3]]), e[4]);
                out.ram.extend(entries.as_chunks().0.iter().map(entry));
            }
            QUEU => out.queue = f.counted(1)?.to_vec(),
            EA32 => {
                f.take(EFFECTIVE_ADDRESS)?;
            }
            _ => {}
        }
    }
    Ok(out)
}

fn test(payload: &[u8]) -> Result<Test, MooError> {
    let mut f = Fields::new(TEST, payload);
    let mut out = Test { index: f.doubleword()?, ..Test::default() };
    let (mut before, mut after) = (None, None);
    while let Some((id, payload)) = f.chunk()? {
        let mut f = Fields::new(id, payload);
        match id {
            NAME => out.name = String::from_utf8_lossy(f.counted(1)?).into_owned(),
            BYTS => out.bytes = f.counted(1)?.to_vec(),
            INIT => before = Some(state(id, payload)?),
            FINA => after = Some(state(id, payload)?),
            EXCP => {
                let (vector, flags_at) = (f.byte()?, f.doubleword()?);
                out.interrupted = Some(Interrupted { vector, flags_at });
            }
            HASH => out.hash = Some(f.array()?),
            // Not kept: only an emulator of a bus could compare it.
            CYCL => {
                f.counted(CYCLE)?;
            }
            // GMET, the seeds of the generator, and what is yet to come.
            _ => {}
        }
    }
    out.before = before.ok_or(MooError::Lacks(INIT))?;
    out.after = after.ok_or(MooError::Lacks(FINA))?;
    Ok(out)
}

#[cfg(test)]
mod tests;
