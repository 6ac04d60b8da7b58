//! Making an image: in a temporary file beside its place, which takes the place when it is whole.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder,
    StorageOpenOptions, qcow2::Qcow2, raw::Raw,
};
use tempfile::NamedTempFile;

use super::{SECTOR, named};
use crate::disk::{
    Format,
    chain::{self, Contents, Mode},
    lock::{self, Access},
};

/// An image that is to be made.
#[derive(Clone, Debug)]
pub(super) struct NewImage {
    /// Its format.
    pub format: Format,
    /// Bytes of the disk; without it, as many as the image below has.
    pub size: Option<u64>,
    /// Bytes of a cluster, if not the usual.
    pub cluster: Option<u64>,
    /// The name of the image below, and its format.
    pub backing: Option<(String, Format)>,
}

impl NewImage {
    /// Makes it, with nothing of its own in it.
    ///
    /// # Errors
    /// One line that names the file.
    pub(super) fn create(mut self, path: &Path, may_replace: bool) -> Result<(), String> {
        if self.format == Format::Raw && self.backing.is_some() {
            return Err("a raw image cannot stand on another; use -f qcow2".into());
        }
        if let Some((name, format)) = &self.backing {
            let failed = |e: &dyn std::fmt::Display| format!("the backing file {name}: {e}");
            let below = chain::backing_path(path, name).map_err(|e| failed(&e))?;
            let below = chain::open(&below, Some(*format), Mode::READ);
            let below = below.map_err(|e| format!("the backing file {e}"))?;
            self.size = self.size.or(Some(below.contents.size()));
        }
        let wants_size = || "how large is the disk to be? Write for example 20G at the end";
        self.size = Some(self.size.ok_or_else(wants_size)?);
        let place = Place::new(path, may_replace)?;
        let contents = self.format(&place).map_err(named(path))?;
        place.fill(contents)
    }

    /// Makes the image in its temporary file; the size has to be known.
    pub(super) fn format(&self, place: &Place<'_>) -> io::Result<Contents> {
        let size = self.size.unwrap_or_default().next_multiple_of(SECTOR);
        let file = place.file.as_file().try_clone()?;
        let options = StorageOpenOptions::new().write(true).filename(place.file.path());
        if self.format == Format::Raw {
            file.set_len(size)?;
            let storage = imago::file::File::from_open_file(file, options)?;
            let raw = Raw::builder(storage).write(true).open(DenyImplicitOpenGate::default())?;
            return Ok(FormatAccess::new(raw));
        }
        let storage = imago::file::File::from_open_file(file, options)?;
        let mut builder = Qcow2::<imago::file::File>::create_builder(storage).size(size);
        if let Some(cluster) = self.cluster {
            builder = builder.cluster_size(cluster as usize);
        }
        if let Some((name, format)) = &self.backing {
            builder = builder.backing(name.clone(), format.to_string());
        }
        let qcow2 = builder.create_open(DenyImplicitOpenGate::default(), |image| {
            Ok(Qcow2::builder(image).backing(None).write(true))
        })?;
        Ok(FormatAccess::new(qcow2))
    }
}

/// Where an image is going to be, and the file that becomes it. Until then, nothing is there, or
/// what was; and if it never comes to that, the file vanishes.
pub(super) struct Place<'a> {
    path: &'a Path,
    file: NamedTempFile,
    may_replace: bool,
}

impl<'a> Place<'a> {
    /// # Errors
    /// One line: something is there that must not be replaced, or is in use.
    pub(super) fn new(path: &'a Path, may_replace: bool) -> Result<Self, String> {
        match File::options().read(true).write(true).open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(named(path)(e)),
            Ok(_) if !may_replace => {
                return Err(format!("{}: is there already; --force replaces it", path.display()));
            }
            Ok(old) if !old.metadata().is_ok_and(|m| m.is_file()) => {
                return Err(format!("{}: is not a file that could be replaced", path.display()));
            }
            Ok(old) => lock::lock(&old, Access::Write)
                .map_err(|_| format!("{}: another program uses it", path.display()))?,
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".trine-image-")
            .permissions(Permissions::from_mode(0o666)) // Less what the umask takes.
            .tempfile_in(folder.unwrap_or(Path::new(".")));
        Ok(Self { path, file: file.map_err(named(path))?, may_replace })
    }

    /// Brings `contents` to the disk, and then to its place.
    ///
    /// # Errors
    /// One line that names the file.
    pub(super) fn fill(self, contents: Contents) -> Result<(), String> {
        let failed = named(self.path);
        contents.flush().and_then(|()| contents.sync()).map_err(&failed)?;
        drop(contents);
        let kept = if self.may_replace {
            self.file.persist(self.path)
        } else {
            self.file.persist_noclobber(self.path)
        };
        kept.map_err(|e| failed(e.error))?;
        // The name is in the folder, which is a file of its own.
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).map_err(&failed)
    }
}
