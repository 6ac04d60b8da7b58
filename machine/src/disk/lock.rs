//! Locks on image files, so that nobody writes what another one reads or writes.
//!
//! They are advisory byte-range locks of an open file description (`F_OFD_SETLK`, fcntl(2)), at the
//! bytes where QEMU has its own, so that Trine and QEMU respect each other (QEMU,
//! `docs/system/qemu-block-drivers.rst`, "Disk image file locking", and `block/file-posix.c`). For
//! each thing that a program does with an image it locks, shared, a byte from 100 on; for each
//! thing that it cannot bear others to do, one from 200 on. Then it looks whether anybody does what
//! it cannot bear, or cannot bear what it does. The locks end with the open file.
//!
//! Hosts without such locks have a `flock` on the whole file in their place.

use std::{fs::File, io, thread::sleep, time::Duration};

/// How often a lock that somebody has is tried again, and after which time. Who was just killed is
/// still on its way out, and what a process is about to become has its files for a moment yet
/// (between fork and exec).
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// What the opener of an image is going to do with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read it. Others may read it too, and nobody may write it.
    Read,
    /// Read and write it, alone.
    Write,
}

/// Takes the locks for `access` on `file`, until it is closed.
///
/// # Errors
/// `WouldBlock` where another process (or this one) has the image in a way that excludes this one;
/// whatever else the host says. A file system that has no locks is none.
pub fn lock(file: &File, access: Access) -> io::Result<()> {
    let mut tried = imp::lock(file, access);
    for _ in 1..TRIES {
        if !tried.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
            break;
        }
        sleep(PAUSE);
        tried = imp::lock(file, access);
    }
    match tried {
        Err(e) if is_unsupported(&e) => {
            log::warn!("the file system has no locks: nothing keeps others from writing ({e})");
            Ok(())
        }
        result => result,
    }
}

fn is_unsupported(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOLCK | libc::ENOTSUP | libc::ENOSYS))
}

#[cfg(target_os = "linux")]
mod imp {
    use std::{fs::File, io};

    use nix::fcntl::{FcntlArg, fcntl};

    use super::Access;

    /// The first byte for what is done (`RAW_LOCK_PERM_BASE`), and for what others may not do
    /// (`RAW_LOCK_SHARED_BASE`).
    const DOES: i64 = 100;
    const EXCLUDES: i64 = 200;

    /// Numbers of what may be done with an image (`BLK_PERM_*`).
    const CONSISTENT_READ: i64 = 0;
    const WRITE: i64 = 1;
    const RESIZE: i64 = 3;

    pub(super) fn lock(file: &File, access: Access) -> io::Result<()> {
        let (does, excludes): (&[i64], &[i64]) = match access {
            Access::Read => (&[CONSISTENT_READ], &[WRITE, RESIZE]),
            Access::Write => (&[CONSISTENT_READ, WRITE, RESIZE], &[WRITE, RESIZE]),
        };
        for at in bytes(does, DOES).chain(bytes(excludes, EXCLUDES)) {
            fcntl(file, FcntlArg::F_OFD_SETLK(&range(at, libc::F_RDLCK)))?;
        }
        // Who excludes what is done here, or does what is excluded here?
        for at in bytes(does, EXCLUDES).chain(bytes(excludes, DOES)) {
            let mut found = range(at, libc::F_WRLCK);
            fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
            if i32::from(found.l_type) != libc::F_UNLCK {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    fn bytes(numbers: &[i64], base: i64) -> impl Iterator<Item = i64> {
        numbers.iter().map(move |n| base + n)
    }

    fn range(at: i64, kind: i32) -> libc::flock {
        libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: at,
            l_len: 1,
            l_pid: 0,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::{fs::File, io};

    use rustix::fs::{FlockOperation, flock};

    use super::Access;

    pub(super) fn lock(file: &File, access: Access) -> io::Result<()> {
        let operation = match access {
            Access::Read => FlockOperation::NonBlockingLockShared,
            Access::Write => FlockOperation::NonBlockingLockExclusive,
        };
        Ok(flock(file, operation)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image");
        std::fs::write(&path, [0; 4096]).expect("written");
        let open = |access| {
            let options = File::options().read(true).write(true).open(&path);
            let file = options.expect("opens");
            lock(&file, access).map(|()| file)
        };
        let busy =
            |result: io::Result<File>| result.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        let (first, second) = (open(Access::Read), open(Access::Read));
        assert!(first.is_ok() && second.is_ok());
        assert!(busy(open(Access::Write)), "it is read");
        drop(first);
        assert!(busy(open(Access::Write)), "it is still read");
        drop(second);
        let writer = open(Access::Write).expect("free");
        assert!(busy(open(Access::Write)) && busy(open(Access::Read)));
        drop(writer);
        assert!(open(Access::Read).is_ok(), "a lock ends with its file");
    }
}
