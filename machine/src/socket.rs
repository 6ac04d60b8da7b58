//! Unix sockets at which the process serves whoever may open their files.

use std::{
    io,
    os::unix::{
        fs::FileTypeExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process::umask};

/// Listens at `path`, which only this user can open; takes the place of a socket that nobody serves
/// any more.
///
/// # Errors
/// If there is one that is served, or no socket can be made there.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let is_socket = |path: &Path| path.metadata().is_ok_and(|m| m.file_type().is_socket());
    match bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_socket(path) => {
            if UnixStream::connect(path).is_ok() {
                return Err(e);
            }
            std::fs::remove_file(path)?;
            bind(path)
        }
        other => other,
    }
}

/// The mask is the process's: a file that another thread makes meanwhile is this user's alone, too.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}

/// Removes a socket when it is no longer served.
pub struct Socket(pub PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_file(&self.0) {
            log::debug!("the socket {} is gone: {e}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("socket");
        drop(listen(&path).expect("a socket"));
        let live = listen(&path).expect("the stale one is replaced");
        assert!(listen(&path).is_err());
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(live);
        drop(Socket(path.clone()));
        assert!(!path.exists());
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("file");
        std::fs::write(&path, "precious").expect("there is room");
        assert!(listen(&path).is_err());
        assert_eq!(std::fs::read(&path).expect("it is there"), b"precious");
    }
}
