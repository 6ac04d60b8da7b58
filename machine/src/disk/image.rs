//! An image as a disk: what an order does to it.

use std::{
    cell::Cell,
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use imago::{Mapping, ShallowMapping, format::PreallocateMode};
use trine_devices::{DiskError, Order};

use super::{
    Cache, DiskOpenError, DiskSpec, Unopened,
    chain::{self, Contents, Mode, guarded},
    lock::Access,
    qcow2,
};

/// Zeros are written in pieces of this size where the format knows no better.
const ZEROS: usize = 1 << 20;
const SECTOR: u64 = 512;

/// A disk image. Orders may come from several threads at once.
pub(super) struct Image {
    path: PathBuf,
    /// Shared by all orders that keep to the mappings there are or add some; alone are those that
    /// take some away.
    contents: RwLock<Contents>,
    /// The image's own file, past the library.
    file: File,
    len: u64,
    is_read_only: bool,
    cache: Cache,
    /// It is raw because it does not begin with another format's magic number, and so must stay.
    guards_magic: bool,
    has_backing: bool,
    mark: Mark,
    /// The host has lost something that was to be flushed, or an order has ended in a panic: no
    /// flush can be promised any more.
    is_broken: AtomicBool,
    /// What has been logged.
    complaints: Mutex<Vec<DiskError>>,
}

impl Image {
    /// Opens the image of a disk.
    ///
    /// # Errors
    /// [`DiskOpenError`].
    pub(super) fn open(spec: &DiskSpec) -> Result<Self, DiskOpenError> {
        let failed = |why| DiskOpenError { file: spec.file.clone(), why };
        let is_writable_file = !spec.is_read_only && !spec.is_snapshot;
        let access = if is_writable_file { Access::Write } else { Access::Read };
        let mode = Mode { access, is_direct: spec.cache.is_direct() };
        let layer = chain::open(&spec.file, spec.format, mode)?;
        let len = layer.contents.size().next_multiple_of(SECTOR);
        if len == 0 {
            return Err(failed(Unopened::Empty));
        }
        let has_backing = spec.is_snapshot || layer.below_len.is_some();
        let can_mark = layer.header.as_ref().is_some_and(|h| h.version > 2) && is_writable_file;
        let contents = if spec.is_snapshot {
            chain::overlay(layer.contents).map_err(|e| failed(e.into()))?
        } else {
            layer.contents
        };
        let is_raw = layer.format == super::Format::Raw;
        Ok(Self {
            path: spec.file.clone(),
            contents: RwLock::new(contents),
            file: layer.file,
            len,
            is_read_only: spec.is_read_only,
            cache: if spec.is_snapshot { Cache::Unsafe } else { spec.cache },
            guards_magic: layer.was_probed && is_raw && is_writable_file,
            has_backing,
            mark: Mark { is_possible: can_mark, is_set: Mutex::new(false) },
            is_broken: AtomicBool::new(false),
            complaints: Mutex::new(Vec::new()),
        })
    }

    /// Bytes of the disk.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether it cannot be written.
    pub(super) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Does `order`, for as long as the host takes.
    pub(super) fn obey(&self, order: &Order) -> Result<Vec<u8>, DiskError> {
        let range = match order {
            Order::Flush => (0, 0),
            Order::Read { at, len } => (*at, *len as u64),
            Order::Write { at, data } => (*at, data.len() as u64),
            Order::Discard { at, len } | Order::WriteZeroes { at, len, .. } => (*at, *len),
        };
        if range.0.checked_add(range.1).is_none_or(|end| end > self.len) {
            return Err(DiskError::OutOfRange);
        }
        let writes = !matches!(order, Order::Read { .. } | Order::Flush);
        if writes && self.is_read_only {
            return Err(DiskError::ReadOnly);
        }
        let has_returned = Cell::new(false);
        let done = guarded(|| {
            let done = self.carry_out_safely(order, writes);
            has_returned.set(true);
            done
        });
        if !has_returned.get() {
            self.is_broken.store(true, Ordering::Release);
        }
        done.map_err(|e| self.complain(&e))
    }

    /// Marks the image before it is written, and flushes it after, if it has to be.
    fn carry_out_safely(&self, order: &Order, writes: bool) -> io::Result<Vec<u8>> {
        if writes {
            self.mark.set(&self.file, true)?;
        }
        let answer = self.carry_out(order)?;
        if writes && self.cache.flushes_writes() {
            self.flush()?;
        }
        Ok(answer)
    }

    fn carry_out(&self, order: &Order) -> io::Result<Vec<u8>> {
        match *order {
            Order::Read { at, len } => return self.read(at, len),
            Order::Write { at, ref data } => self.write(at, &data.bytes())?,
            Order::Flush => self.flush()?,
            Order::Discard { at, len } => self.discard(at, len)?,
            Order::WriteZeroes { at, len, may_unmap } => self.write_zeroes(at, len, may_unmap)?,
        }
        Ok(Vec::new())
    }

    fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(io::Error::other)?;
        data.resize(len, 0);
        self.shared().read(&mut data[..], at)?;
        Ok(data)
    }

    fn write(&self, at: u64, data: &[u8]) -> io::Result<()> {
        self.refuse_magic(at, data)?;
        let contents = self.shared();
        // The last sector of a file that ends in the middle of it.
        if at + data.len() as u64 > contents.size() {
            contents.resize_grow(self.len, PreallocateMode::None)?;
        }
        contents.write(data, at)
    }

    /// A guest must not make another format out of a raw image that is raw only because it looked
    /// so: the next start would follow the header that it wrote.
    fn refuse_magic(&self, at: u64, data: &[u8]) -> io::Result<()> {
        if !self.guards_magic || at >= qcow2::MAGIC.len() as u64 {
            return Ok(());
        }
        let mut start = [0; qcow2::MAGIC.len()];
        self.shared().read(&mut start[..], 0)?;
        start[at as usize..].iter_mut().zip(data).for_each(|(old, new)| *old = *new);
        if start == qcow2::MAGIC {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the guest writes a qcow2 header; if that is wanted, use format=raw",
            ));
        }
        Ok(())
    }

    /// All that was answered, data and metadata, is on the disk afterwards.
    fn flush(&self) -> io::Result<()> {
        if self.cache == Cache::Unsafe {
            return Ok(());
        }
        // The host forgets what it could not write once it has said so: the next one would succeed.
        if self.is_broken.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier flush has failed, and what it lost is lost"));
        }
        // The library's own sync keeps everybody else out of the file until the host is done.
        let done = self.shared().flush().and_then(|()| self.file.sync_data());
        if done.is_err() {
            self.is_broken.store(true, Ordering::Release);
        }
        done
    }

    /// Gives up what is allocated in the range. What is not allocated stays so: the format would
    /// spend tables on saying it.
    fn discard(&self, at: u64, len: u64) -> io::Result<()> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        let end = (at + len).min(contents.size());
        let mut at = at;
        while at < end {
            let (mapping, len) = contents.get_shallow_mapping(at, end - at)?;
            let is_allocated =
                matches!(mapping, ShallowMapping::Raw { .. } | ShallowMapping::Special { .. });
            let len = len.max(1);
            if is_allocated {
                let done = if self.has_backing {
                    contents.discard_to_any(at, len)
                } else {
                    contents.discard_to_backing(at, len)
                };
                match done {
                    Err(e) if e.kind() == io::ErrorKind::Unsupported => {}
                    done => done?,
                }
            }
            at += len;
        }
        Ok(())
    }

    /// Alone, because the library looks whether the rest of a cluster is zero and then takes the
    /// whole of it.
    fn write_zeroes(&self, at: u64, len: u64, may_unmap: bool) -> io::Result<()> {
        let mut contents = self.contents.write().unwrap_or_else(PoisonError::into_inner);
        let end = (at + len).min(contents.size());
        let mut at = at;
        while at < end {
            let (mapping, len) = contents.get_mapping(at, end - at)?;
            let is_zero = matches!(mapping, Mapping::Zero { .. });
            let len = len.max(1);
            if !is_zero {
                let done = if may_unmap {
                    contents.discard_to_zero(at, len)
                } else {
                    contents.write_zeroes(at, len)
                };
                match done {
                    Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                        write_zeros(&contents, at, len)?;
                    }
                    done => done?,
                }
            }
            at += len;
        }
        Ok(())
    }

    fn shared(&self) -> std::sync::RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the guest hears of the host's error, which is logged once for each kind.
    fn complain(&self, error: &io::Error) -> DiskError {
        use io::ErrorKind as Kind;
        let heard = match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => DiskError::NoSpace,
            Kind::ReadOnlyFilesystem => DiskError::ReadOnly,
            _ => DiskError::Io,
        };
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.contains(&heard) {
            log::debug!("{}: {error}", self.path.display());
        } else {
            complaints.push(heard);
            log::error!("{}: {error} (said once; the guest sees: {heard})", self.path.display());
        }
        heard
    }
}

impl Drop for Image {
    /// Everything to the disk, then the word that the image is closed.
    fn drop(&mut self) {
        let closed = guarded(|| {
            self.shared().flush()?;
            if self.cache != Cache::Unsafe && !self.is_read_only {
                self.flush()?;
            }
            self.mark.set(&self.file, false)
        });
        if let Err(e) = closed {
            log::error!("{}: could not be closed: {e}", self.path.display());
        }
    }
}

fn write_zeros(contents: &Contents, mut at: u64, mut len: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS.min(len as usize)];
    while len > 0 {
        let now = len.min(zeros.len() as u64);
        contents.write(&zeros[..now as usize], at)?;
        (at, len) = (at + now, len - now);
    }
    Ok(())
}

/// The mark in a qcow2 header that somebody writes to the image. The library writes L1 entries
/// before the counts of the clusters that they lead to, so whoever comes after a kill has to count.
struct Mark {
    /// Version 2 and raw images have no room for it, and a reader no reason.
    is_possible: bool,
    is_set: Mutex<bool>,
}

impl Mark {
    /// Sets it before anything is written, or takes it back when all is on the disk. Whoever comes
    /// meanwhile waits, so nobody else writes the header.
    fn set(&self, file: &File, is_set: bool) -> io::Result<()> {
        let mut was_set = self.is_set.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_possible && *was_set != is_set {
            qcow2::mark_dirty(file, is_set)?;
            *was_set = is_set;
        }
        Ok(())
    }
}
