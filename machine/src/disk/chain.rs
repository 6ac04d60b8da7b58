//! Opening an image and the chain of images under it.
//!
//! Everything that a file says is untrusted. A file's format is looked for once, here, and never
//! again while a guest writes to it; a header is checked before anything is read by it; files that
//! an image names are opened for reading only, and only if they are files or block devices.
//!
//! A backing file whose format nobody has written down is looked at, as QEMU does. It may be a raw
//! disk that some guest has written a qcow2 header to, to have a file of its choice read, so such a
//! header's own backing file is not opened (as libvirt has it).

use std::{
    fs::File,
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder,
    StorageOpenOptions, qcow2::Qcow2, raw::Raw,
};
use thiserror::Error;

use super::{
    Format,
    lock::{self, Access},
    qcow2::{
        self, Header, HeaderError, Incompatible,
        check::{self, CheckError},
    },
};

/// An image as the crate for formats has it.
pub(super) type Contents = FormatAccess<imago::file::File>;

/// The longest chain of images.
pub(super) const CHAIN_MAX: usize = 64;
/// What the host's page cache is bypassed with, where there is such a thing.
#[cfg(target_os = "linux")]
const DIRECT: Option<i32> = Some(libc::O_DIRECT);
#[cfg(not(target_os = "linux"))]
const DIRECT: Option<i32> = None;

/// Why an image could not be opened.
#[derive(Debug, Error)]
#[error("{}: {why}", file.display())]
pub struct DiskOpenError {
    /// The image.
    pub file: PathBuf,
    /// What is wrong with it.
    pub why: Unopened,
}

/// What is wrong with an image that could not be opened.
#[derive(Debug, Error)]
pub enum Unopened {
    /// The host refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a folder, a pipe, a terminal.
    #[error("it is neither a file nor a block device")]
    NotAFile,
    /// Somebody else writes it, or reads what would be written.
    #[error("another program uses it; end that one, or have both only read it (readonly)")]
    InUse,
    /// The page cache cannot be bypassed.
    #[error("its file system cannot bypass the page cache; use cache=writeback or writethrough")]
    NotDirect,
    /// There is nothing in it.
    #[error("it is empty; give it a size with 'trine image resize'")]
    Empty,
    /// It was killed while it was written, and cannot be repaired by a reader.
    #[error("it was not closed after writing; 'trine image check --repair' makes it good")]
    Dirty,
    /// Its metadata contradict each other.
    #[error("it is damaged, and writing to it would lose more; see 'trine image check'")]
    Corrupt,
    /// Its header is wrong, or not for us.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Its counts could not be looked at.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The image under it is of a format that there is not.
    #[error("its backing file is of the format '{0}'; only raw and qcow2 are known")]
    BackingFormat(String),
    /// The image under it is not a file's name.
    #[error("its backing file '{0}' is not a file's name")]
    BackingName(String),
    /// The image under it could not be opened.
    #[error("its backing file {0}")]
    Backing(Box<DiskOpenError>),
    /// One of the chain is below itself.
    #[error("it is its own backing file")]
    Loop,
    /// The chain has no end.
    #[error("it has more than {CHAIN_MAX} backing files")]
    TooDeep,
    /// The image under it claims to need another, and nobody has said that it is no raw disk.
    #[error(
        "it names a backing file, but the image above does not say that it is a qcow2 image; if \
         it is, 'qemu-img rebase -u -F qcow2' writes that down"
    )]
    UnstatedFormat,
}

/// How an image is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// What it will be used for, which is what it is locked for.
    pub access: Access,
    /// Past the host's page cache.
    pub is_direct: bool,
}

impl Mode {
    /// To be read, through the page cache.
    pub(super) const READ: Self = Self { access: Access::Read, is_direct: false };
    /// To be written, through the page cache.
    pub(super) const WRITE: Self = Self { access: Access::Write, is_direct: false };
}

/// An open image.
#[derive(Debug)]
pub(super) struct Layer {
    /// What is in it.
    pub contents: Contents,
    /// Its format.
    pub format: Format,
    /// Whether nobody has said that that is its format.
    pub was_probed: bool,
    /// Its header, if it is a qcow2 image.
    pub header: Option<Header>,
    /// The same file, for looking at it past the library; through the page cache in any case.
    pub file: File,
    /// Bytes of the disk in the image under it, if there is one.
    pub below_len: Option<u64>,
}

/// Opens the image `path` and all that it stands on, and locks them.
///
/// # Errors
/// [`DiskOpenError`] names the file and says what to do.
pub(super) fn open(
    path: &Path,
    format: Option<Format>,
    mode: Mode,
) -> Result<Layer, DiskOpenError> {
    open_layer(path, format, mode, &mut Vec::new())
}

fn open_layer(
    path: &Path,
    format: Option<Format>,
    mode: Mode,
    above: &mut Vec<(u64, u64)>,
) -> Result<Layer, DiskOpenError> {
    let failed = |why| DiskOpenError { file: path.to_owned(), why };
    // Before it is locked: an image that is below itself would find itself in use.
    let place = std::fs::metadata(path).map_err(|e| failed(e.into()))?;
    let place = (place.dev(), place.ino());
    if above.contains(&place) {
        return Err(failed(Unopened::Loop));
    }
    if above.len() >= CHAIN_MAX {
        return Err(failed(Unopened::TooDeep));
    }
    let (file, plain) = open_file(path, mode).map_err(failed)?;
    let probed = probe(&plain).map_err(|e| failed(e.into()))?;
    let was_probed = format.is_none();
    let is_below = !above.is_empty();
    let format = format.unwrap_or(probed);
    let options = StorageOpenOptions::new()
        .filename(path)
        .write(mode.access == Access::Write)
        .direct(mode.is_direct);
    let storage = guarded(|| imago::file::File::from_open_file(file, options));
    let storage = storage.map_err(|e| failed(e.into()))?;
    let writes = mode.access == Access::Write;
    if format == Format::Raw {
        let raw = Raw::builder(storage).write(writes);
        let raw = guarded(|| raw.open(DenyImplicitOpenGate::default()));
        let contents = FormatAccess::new(raw.map_err(|e| failed(e.into()))?);
        let header = None;
        return Ok(Layer { contents, format, was_probed, header, file: plain, below_len: None });
    }

    let header = make_good(path, &plain, mode.access).map_err(failed)?;
    if is_below && was_probed && header.backing.is_some() {
        return Err(failed(Unopened::UnstatedFormat));
    }
    above.push(place);
    let backing = open_backing(path, &header, mode.is_direct, above).map_err(failed)?;
    above.pop();
    let below_len = backing.as_ref().map(Contents::size);
    let qcow2 = Qcow2::builder(storage).write(writes).backing(backing).data_file(None);
    let qcow2 = guarded(|| qcow2.open(DenyImplicitOpenGate::default()));
    let contents = FormatAccess::new(qcow2.map_err(|e| failed(e.into()))?);
    Ok(Layer { contents, format, was_probed, header: Some(header), file: plain, below_len })
}

/// Opens the image that `header` names, found from the folder of `path`.
fn open_backing(
    path: &Path,
    header: &Header,
    is_direct: bool,
    above: &mut Vec<(u64, u64)>,
) -> Result<Option<Contents>, Unopened> {
    let Some(name) = &header.backing else { return Ok(None) };
    let below = backing_path(path, name)?;
    let format = match header.backing_format.as_deref() {
        None => None,
        Some("raw" | "file" | "host_device") => Some(Format::Raw),
        Some("qcow2") => Some(Format::Qcow2),
        Some(other) => return Err(Unopened::BackingFormat(other.escape_default().to_string())),
    };
    let mode = Mode { access: Access::Read, is_direct };
    let layer = open_layer(&below, format, mode, above);
    let layer = layer.map_err(|e| Unopened::Backing(Box::new(e)))?;
    log::debug!("{} stands on {}", path.display(), below.display());
    Ok(Some(layer.contents))
}

/// Where the image at `path` means to find its backing file `name`.
pub(super) fn backing_path(path: &Path, name: &str) -> Result<PathBuf, Unopened> {
    // QEMU's `json:{…}` and `nbd://…`, but not a file's name that happens to have a colon later.
    let has_protocol = name.split_once(':').is_some_and(|(protocol, _)| !protocol.contains('/'));
    match name.strip_prefix("file:") {
        _ if name.is_empty() => Err(Unopened::BackingName(String::new())),
        Some(name) => Ok(beside(path, Path::new(name))),
        None if has_protocol => Err(Unopened::BackingName(name.escape_default().to_string())),
        None => Ok(beside(path, Path::new(name))),
    }
}

fn beside(path: &Path, name: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(name)
}

/// Opens a file as the image is to be used, locked, and for looking at it past the library.
pub(super) fn open_file(path: &Path, mode: Mode) -> Result<(File, File), Unopened> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Unopened::NotAFile);
    }
    let mut options = File::options();
    options.read(true).write(mode.access == Access::Write);
    let plain = options.open(path)?;
    let used = if mode.is_direct {
        let direct = options.custom_flags(DIRECT.ok_or(Unopened::NotDirect)?).open(path);
        direct.map_err(|e| match e.raw_os_error() {
            Some(libc::EINVAL) => Unopened::NotDirect,
            _ => Unopened::Io(e),
        })?
    } else {
        plain.try_clone()?
    };
    lock::lock(&used, mode.access).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => Unopened::InUse,
        _ => Unopened::Io(e),
    })?;
    Ok((used, plain))
}

/// Whether it is a qcow2 image. Everything else is raw.
pub(super) fn probe(file: &File) -> io::Result<Format> {
    use std::os::unix::fs::FileExt;

    let mut magic = [0; 4];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) if magic == qcow2::MAGIC => Ok(Format::Qcow2),
        Ok(()) => Ok(Format::Raw),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(Format::Raw),
        Err(e) => Err(e),
    }
}

/// The header of a qcow2 image that can be read, and whose counts are right if it is to be written.
fn make_good(path: &Path, file: &File, access: Access) -> Result<Header, Unopened> {
    let header = Header::read(file)?;
    header.supported()?;
    if header.incompatible.contains(Incompatible::CORRUPT) {
        return Err(Unopened::Corrupt);
    }
    let is_dirty = header.incompatible.contains(Incompatible::DIRTY);
    if access == Access::Write {
        header.check_refcount_table(file)?;
    }
    match access {
        Access::Read if is_dirty => return Err(Unopened::Dirty),
        Access::Read => return Ok(header),
        // Version 2 cannot say whether it was closed.
        Access::Write if !is_dirty && header.version > 2 => return Ok(header),
        Access::Write => {}
    }
    let report = check::repair(file, &header)?;
    if report.corruptions > 0 {
        return Err(Unopened::Corrupt);
    }
    if is_dirty {
        let (path, repaired) = (path.display(), report.repaired);
        log::warn!("{path}: it was not closed after writing; {repaired} counts were put right");
    }
    Ok(Header::read(file)?)
}

/// A qcow2 image above `below` in a temporary file that has no name and goes with the process.
///
/// # Errors
/// What the host says about the temporary file.
pub(super) fn overlay(below: Contents) -> io::Result<Contents> {
    // A disk's worth of writes does not belong in memory, which /tmp often is (as QEMU has it).
    let folder = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into());
    let file = tempfile::tempfile_in(folder)?;
    let options = StorageOpenOptions::new().write(true);
    let storage = imago::file::File::from_open_file(file, options)?;
    let builder = Qcow2::<imago::file::File>::create_builder(storage).size(below.size());
    let qcow2 = guarded(|| {
        builder.create_open(DenyImplicitOpenGate::default(), |image| {
            Ok(Qcow2::builder(image).backing(Some(below)).write(true))
        })
    })?;
    Ok(FormatAccess::new(qcow2))
}

/// Runs what works on metadata that may be hostile: a panic in it is an error like others.
pub(super) fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(io::Error::other("its metadata led the image library astray")))
}
