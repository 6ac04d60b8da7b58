//! The header of a qcow2 image: what is believed of an image before anything else looks at it.
//!
//! Source: QEMU's `docs/interop/qcow2.rst`. The crate that reads and writes images (imago) gets
//! only those whose header and tables have passed here, so that a hostile image fails when it is
//! opened, with a line that says why, and cannot ask for more memory than its file is worth.

pub mod check;
mod tables;

use std::{collections::HashSet, fs::File, io, os::unix::fs::FileExt};

use thiserror::Error;

/// `QFI\xfb`.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Lengths of the header's versions, and where version 3 has its feature bits.
const V2_LEN: usize = 72;
const V3_LEN: usize = 104;
const INCOMPATIBLE_AT: u64 = 72;
/// The largest tables that QEMU opens: 32 MiB of L1 entries, 8 MiB of refcount blocks' places.
const L1_ENTRIES_MAX: u32 = 4 << 20;
const REFCOUNT_TABLE_MAX: u64 = 8 << 20;
/// The largest backing file's name.
const BACKING_NAME_MAX: u32 = 1023;
/// The largest disk that host file offsets can count.
const SIZE_MAX: u64 = 1 << 62;

/// Types of header extensions.
const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;

bitflags::bitflags! {
    /// Features without which an image cannot be understood.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Incompatible: u64 {
        /// The reference counts may be wrong: the image was not closed.
        const DIRTY = 1 << 0;
        /// Somebody found the image damaged; it is not to be written.
        const CORRUPT = 1 << 1;
        /// The data is in another file.
        const DATA_FILE = 1 << 2;
        /// Clusters are compressed with something else than zlib.
        const COMPRESSION_TYPE = 1 << 3;
        /// L2 entries have bitmaps of subclusters.
        const EXTENDED_L2 = 1 << 4;
        const _ = !0;
    }
}

/// Why a qcow2 image is not opened.
#[derive(Debug, Error)]
pub enum HeaderError {
    /// The host could not read it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no qcow2 image.
    #[error("it is not a qcow2 image")]
    NotQcow2,
    /// It has what Trine cannot do.
    #[error("it {0}; 'qemu-img convert -O qcow2' makes a plain image of it")]
    Unsupported(&'static str),
    /// It contradicts itself or the format.
    #[error("its header is damaged: {0}")]
    Damaged(&'static str),
}

/// What a header says, checked against the format and the length of the file.
#[derive(Clone, Debug)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// The size of a cluster, as a power of two.
    pub cluster_bits: u32,
    /// Bytes of the disk.
    pub size: u64,
    /// Where the L1 table is.
    pub l1_at: u64,
    /// Entries of the L1 table.
    pub l1_entries: u32,
    /// Where the refcount table is.
    pub refcount_table_at: u64,
    /// Clusters of the refcount table.
    pub refcount_table_clusters: u32,
    /// The width of a refcount, as a power of two of bits.
    pub refcount_order: u32,
    /// Where the table of snapshots is.
    pub snapshots_at: u64,
    /// How many snapshots there are.
    pub snapshots: u32,
    /// Features without which it cannot be understood.
    pub incompatible: Incompatible,
    /// The file under this one.
    pub backing: Option<String>,
    /// That file's format.
    pub backing_format: Option<String>,
    /// The data is encrypted.
    pub is_encrypted: bool,
    /// Some of its clusters belong to dirty bitmaps that are valid.
    pub has_bitmaps: bool,
}

impl Header {
    /// Reads the header of `file`.
    ///
    /// # Errors
    /// [`HeaderError::Io`], [`HeaderError::NotQcow2`] or [`HeaderError::Damaged`]: an image of
    /// features that Trine has not is read all the same ([`Header::supported`]).
    pub fn read(file: &File) -> Result<Self, HeaderError> {
        let mut bytes = [0; V3_LEN];
        let len = read_up_to(file, &mut bytes)?;
        if bytes[..4] != MAGIC || len < V2_LEN {
            return Err(HeaderError::NotQcow2);
        }
        let version = be32(&bytes, 4);
        let cluster_bits = be32(&bytes, 20);
        match version {
            2 => {}
            3 if len == V3_LEN => {}
            3 => return Err(HeaderError::Damaged("the file is too short")),
            _ => return Err(HeaderError::Unsupported("is of an unknown version")),
        }
        if !(9..=21).contains(&cluster_bits) {
            return Err(HeaderError::Damaged("clusters have 512 bytes to 2 MiB"));
        }
        let v3 = |at| if version == 3 { be64(&bytes, at) } else { 0 };
        let mut header = Self {
            version,
            cluster_bits,
            size: be64(&bytes, 24),
            l1_at: be64(&bytes, 40),
            l1_entries: be32(&bytes, 36),
            refcount_table_at: be64(&bytes, 48),
            refcount_table_clusters: be32(&bytes, 56),
            refcount_order: if version == 3 { be32(&bytes, 96) } else { 4 },
            snapshots_at: be64(&bytes, 64),
            snapshots: be32(&bytes, 60),
            incompatible: Incompatible::from_bits_retain(v3(72)),
            backing: None,
            backing_format: None,
            is_encrypted: be32(&bytes, 32) != 0,
            has_bitmaps: false,
        };
        header.check_places(file.metadata()?.len())?;
        let len = if version == 3 { be32(&bytes, 100) } else { V2_LEN as u32 };
        header.read_extensions(file, len, v3(88))?;
        header.backing = header.read_backing(file, be64(&bytes, 8), be32(&bytes, 16))?;
        Ok(header)
    }

    /// Bytes of a cluster.
    #[must_use]
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of an L2 table.
    #[must_use]
    pub fn l2_entries(&self) -> u64 {
        self.cluster() / 8
    }

    /// Refcounts of a refcount block.
    #[must_use]
    pub fn refcounts_per_block(&self) -> u64 {
        self.cluster() * 8 >> self.refcount_order
    }

    /// Whether Trine can read and write such an image.
    ///
    /// # Errors
    /// [`HeaderError::Unsupported`] says what it has.
    pub fn supported(&self) -> Result<(), HeaderError> {
        let known = [
            (Incompatible::DATA_FILE, "has its data in another file"),
            (Incompatible::COMPRESSION_TYPE, "is compressed with zstd"),
            (Incompatible::EXTENDED_L2, "has extended L2 entries"),
        ];
        if self.is_encrypted {
            return Err(HeaderError::Unsupported("is encrypted"));
        }
        for (feature, what) in known {
            if self.incompatible.contains(feature) {
                return Err(HeaderError::Unsupported(what));
            }
        }
        if self.incompatible.difference(Incompatible::DIRTY | Incompatible::CORRUPT).is_empty() {
            Ok(())
        } else {
            Err(HeaderError::Unsupported("has a feature that is not known here"))
        }
    }

    /// Whether size, tables and widths are such as the format allows, and lie in the file.
    fn check_places(&self, file_len: u64) -> Result<(), HeaderError> {
        let damaged = |what| Err(HeaderError::Damaged(what));
        let lies_within = |at: u64, len: u64| {
            at.is_multiple_of(self.cluster())
                && at.checked_add(len).is_some_and(|end| end <= file_len)
        };
        if self.refcount_order > 6 {
            return damaged("refcounts have 1 to 64 bits");
        }
        if self.size > SIZE_MAX {
            return damaged("the disk is larger than any file can be");
        }
        let l1_needed = self.size.div_ceil(self.cluster() * self.l2_entries());
        if self.l1_entries > L1_ENTRIES_MAX || l1_needed > u64::from(self.l1_entries) {
            return damaged("the L1 table's size does not fit the disk's");
        }
        if !lies_within(self.l1_at, u64::from(self.l1_entries) * 8) {
            return damaged("the L1 table is not in the file");
        }
        let refcounts = u64::from(self.refcount_table_clusters) << self.cluster_bits;
        if refcounts == 0 || refcounts > REFCOUNT_TABLE_MAX {
            return damaged("the refcount table has an impossible size");
        }
        if self.refcount_table_at == 0 || !lies_within(self.refcount_table_at, 8) {
            return damaged("the refcount table is not in the file");
        }
        if self.snapshots > 0 && !lies_within(self.snapshots_at, 0) {
            return damaged("the snapshots are not in the file");
        }
        Ok(())
    }

    /// Whether the refcount table leads to as many blocks as there are, and to each once: whoever
    /// looks for a free cluster looks through all of them, and a hostile table could have a million
    /// that are the same.
    ///
    /// # Errors
    /// [`HeaderError::Damaged`], [`HeaderError::Io`].
    pub fn check_refcount_table(&self, file: &File) -> Result<(), HeaderError> {
        let len = u64::from(self.refcount_table_clusters) << self.cluster_bits;
        let entries = tables::read_table(file, self.refcount_table_at, len / 8)?;
        let file_len = file.metadata()?.len();
        let mut seen = HashSet::new();
        let is_sound = entries
            .into_iter()
            .filter_map(tables::place)
            .all(|at| at.is_multiple_of(self.cluster()) && at < file_len && seen.insert(at));
        is_sound
            .then_some(())
            .ok_or(HeaderError::Damaged("the refcount table leads to what is no block of its own"))
    }

    /// Reads what lies between the header, `len` bytes long, and the end of its cluster.
    fn read_extensions(
        &mut self,
        file: &File,
        len: u32,
        autoclear: u64,
    ) -> Result<(), HeaderError> {
        const AUTOCLEAR_BITMAPS: u64 = 1 << 0;
        const TOO_LONG: HeaderError = HeaderError::Damaged("the extensions are too long");
        if u64::from(len) > self.cluster() || self.version == 3 && (len as usize) < V3_LEN {
            return Err(HeaderError::Damaged("it has an impossible length"));
        }
        let mut at = u64::from(len);
        loop {
            // Version 2 may have no room left for an end, version 3 always has.
            let mut head = [0; 8];
            if at + 8 > self.cluster() || file.read_at(&mut head, at)? < 8 {
                return if self.version == 2 { Ok(()) } else { Err(TOO_LONG) };
            }
            let (kind, len) = (be32(&head, 0), be32(&head, 4));
            at += 8;
            if at + u64::from(len) > self.cluster() {
                return Err(TOO_LONG);
            }
            match kind {
                EXTENSION_END => return Ok(()),
                EXTENSION_BACKING_FORMAT => {
                    self.backing_format = Some(read_text(file, at, len)?);
                }
                EXTENSION_BITMAPS => self.has_bitmaps = autoclear & AUTOCLEAR_BITMAPS != 0,
                _ => {}
            }
            at += u64::from(len).next_multiple_of(8);
        }
    }

    fn read_backing(&self, file: &File, at: u64, len: u32) -> Result<Option<String>, HeaderError> {
        if at == 0 {
            return Ok(None);
        }
        let end = at.checked_add(u64::from(len));
        if len > BACKING_NAME_MAX || end.is_none_or(|end| end > self.cluster()) {
            return Err(HeaderError::Damaged("the backing file's name is too long"));
        }
        read_text(file, at, len).map(Some)
    }
}

/// Says in the image that its refcounts cannot be trusted, or that they can, and brings that to the
/// disk. Only version 3 has room for it.
///
/// # Errors
/// What the host says.
pub fn mark_dirty(file: &File, is_dirty: bool) -> io::Result<()> {
    let mut bits = [0; 8];
    file.read_exact_at(&mut bits, INCOMPATIBLE_AT)?;
    let mut features = Incompatible::from_bits_retain(u64::from_be_bytes(bits));
    features.set(Incompatible::DIRTY, is_dirty);
    file.write_all_at(&features.bits().to_be_bytes(), INCOMPATIBLE_AT)?;
    file.sync_data()
}

/// Fills `buffer` from the start of `file`; how much of it, if the file is shorter.
fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

/// Reads a name of `len` bytes, which the caller has found to be few.
fn read_text(file: &File, at: u64, len: u32) -> Result<String, HeaderError> {
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, at)?;
    let is_text = !bytes.contains(&0);
    let text = String::from_utf8(bytes).ok().filter(|_| is_text);
    text.ok_or(HeaderError::Damaged("a name in it is not text"))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}
