//! `--firmware`: a ROM, or flash memory in which a firmware also keeps its variables.
//!
//! Sources: UEFI Platform Initialization Specification 1.8, volume 3, section 3.2.1 (the header of a
//! firmware volume); EDK II, `MdeModulePkg/Include/Guid/SystemNvDataGuid.h` (volumes of variables).
//!
//! An image that begins with a volume of variables is flash as a whole; any other is a ROM. Beside a
//! UEFI firmware's ROM the variables can have a file of their own (`vars=`), as QEMU has it with two
//! `pflash` drives. Such files are written to while the guest runs: see `flash.rs`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;
use trine_firmware::{Boot, BootError, Entry, rom};
use trine_guest::PAGE_SIZE;

use crate::{
    Guest,
    disk::lock::{Access, lock},
    flash::Contents,
    options::{parts, switch},
};

/// The largest file that is looked at; which sizes will do, `trine_firmware::rom_windows` says.
const LARGEST: u64 = 16 << 20;
/// Where a volume's header has the GUID of its file system, and its signature.
const FILE_SYSTEM: usize = 0x10;
const SIGNATURE: usize = 0x28;
/// `EFI_SYSTEM_NV_DATA_FV_GUID`, FFF12B8D-7696-4C8B-A985-2747075B4F50: the volume holds variables.
const VARIABLES: [u8; 16] = [
    0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50,
];

/// What the command line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirmwareSpec {
    /// The image.
    pub file: PathBuf,
    /// The file of its variables, if they are not in the image.
    pub variables: Option<PathBuf>,
    /// What the guest writes vanishes with the machine.
    pub is_snapshot: bool,
}

impl FromStr for FirmwareSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = parts(text).into_iter();
        let file: PathBuf = parts.next().unwrap_or_default().into();
        if file.as_os_str().is_empty() {
            return Err("there is no file name; write for example OVMF_CODE.fd,vars=FILE".into());
        }
        let mut spec = Self { file, variables: None, is_snapshot: false };
        for option in parts {
            match option.split_once('=').map_or((&*option, None), |(k, v)| (k, Some(v))) {
                ("vars", Some(file)) if !file.is_empty() => spec.variables = Some(file.into()),
                ("vars", _) => return Err("'vars' takes a file name: vars=FILE".into()),
                (key @ "snapshot", value) => spec.is_snapshot = switch(key, value)?,
                (key, _) => {
                    let known = "neither vars nor snapshot; a comma in a file name is doubled";
                    return Err(format!("'{key}' is {known}"));
                }
            }
        }
        Ok(spec)
    }
}

/// A firmware, as a machine takes it.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// What can only be read, up to 4 GiB; it may be empty where there is flash.
    pub rom: Vec<u8>,
    /// The flash memory below that.
    pub flash: Option<FlashSpec>,
}

/// A file as flash memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlashSpec {
    /// The file.
    pub file: PathBuf,
    /// What the guest writes does not get there.
    pub is_snapshot: bool,
}

/// Why there is no such firmware.
#[derive(Debug, Error)]
pub enum FirmwareError {
    /// The host does not let a file be read or written.
    #[error("{}: {e}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the host says.
        e: io::Error,
    },
    /// A file is too large.
    #[error("{} is larger than any ROM can be (more than {LARGEST} bytes)", .0.display())]
    Large(PathBuf),
    /// The flash's file must not be written.
    #[error(
        "{}: the firmware's variables go there, and it cannot be written: give it a copy of your \
         own, or add 'snapshot' to forget them", .0.display()
    )]
    ReadOnly(PathBuf),
    /// Another machine has the flash's file.
    #[error("{} is in use by another machine", .0.display())]
    InUse(PathBuf),
    /// The image has its variables in itself.
    #[error("{} holds the variables itself: leave 'vars' out", .0.display())]
    IsWhole(PathBuf),
    /// The image is no UEFI firmware.
    #[error("{} is no UEFI firmware, and has no variables: leave 'vars' out", .0.display())]
    IsOther(PathBuf),
    /// The file holds something else.
    #[error("{} holds something else than a UEFI firmware's variables", .0.display())]
    NoVariables(PathBuf),
    /// The sizes do not fit.
    #[error(
        "{}: {variables} bytes of variables do not belong to {code} bytes of code; they are of \
         firmwares of different sizes (as 2M and 4M)", file.display()
    )]
    Sizes {
        /// The variables' file.
        file: PathBuf,
        /// Its bytes.
        variables: u64,
        /// Those of the ROM.
        code: u64,
    },
}

/// Whether these bytes begin with a firmware volume.
fn is_volume(bytes: &[u8]) -> bool {
    bytes.get(SIGNATURE..).is_some_and(|rest| rest.starts_with(b"_FVH"))
}

/// Whether these bytes begin with a volume of variables.
fn holds_variables(bytes: &[u8]) -> bool {
    is_volume(bytes) && bytes[FILE_SYSTEM..].starts_with(&VARIABLES)
}

/// Whether nothing is in there yet: erased flash, or a file that was made for it.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff) || bytes.iter().all(|byte| *byte == 0)
}

impl FirmwareSpec {
    /// Reads the image, and sees what it is.
    ///
    /// # Errors
    /// [`FirmwareError`], for the user.
    pub fn read(&self) -> Result<Firmware, FirmwareError> {
        let file = File::open(&self.file).map_err(|e| failed(&self.file, e))?;
        let rom = contents(&file, &self.file)?;
        let flash =
            |file: &PathBuf| FlashSpec { file: file.clone(), is_snapshot: self.is_snapshot };
        match &self.variables {
            Some(_) if holds_variables(&rom) => Err(FirmwareError::IsWhole(self.file.clone())),
            Some(_) if !is_volume(&rom) => Err(FirmwareError::IsOther(self.file.clone())),
            Some(file) => Ok(Firmware { rom, flash: Some(flash(file)) }),
            None if holds_variables(&rom) => {
                Ok(Firmware { rom: Vec::new(), flash: Some(flash(&self.file)) })
            }
            None => Ok(rom.into()),
        }
    }
}

/// A ROM.
impl From<Vec<u8>> for Firmware {
    fn from(rom: Vec<u8>) -> Self {
        Self { rom, flash: None }
    }
}

impl Firmware {
    /// Opens the flash's file.
    ///
    /// # Errors
    /// [`FirmwareError`], for the user.
    pub(crate) fn open_flash(&self) -> Result<Option<Contents>, FirmwareError> {
        let Some(spec) = &self.flash else { return Ok(None) };
        let contents = spec.open()?;
        let (variables, code) = (contents.bytes.len() as u64, self.rom.len() as u64);
        let is_size = variables > 0
            && variables.is_multiple_of(PAGE_SIZE)
            && (variables + code).is_power_of_two();
        match is_size {
            true => Ok(Some(contents)),
            false => Err(FirmwareError::Sizes { file: spec.file.clone(), variables, code }),
        }
    }

    /// What starts a machine from it.
    ///
    /// # Errors
    /// If there cannot be such a ROM.
    pub(crate) fn boot(self) -> Result<Boot, BootError> {
        match self.rom.is_empty() && self.flash.is_some() {
            true => Ok(Boot { segments: Vec::new(), entry: Entry::Reset }),
            false => rom(self.rom),
        }
    }
}

impl Guest {
    /// What is in its flash memory, if it has one.
    pub(crate) fn open_flash(&self) -> Result<Option<Contents>, FirmwareError> {
        match self {
            Self::Firmware(firmware) => firmware.open_flash(),
            _ => Ok(None),
        }
    }

    /// The same for a machine beside others, or one that is to begin as others did: what it writes to
    /// flash memory vanishes with it.
    #[must_use]
    pub fn of_many(mut self) -> Self {
        if let Self::Firmware(Firmware { flash: Some(flash), .. }) = &mut self {
            flash.is_snapshot = true;
        }
        self
    }
}

impl FlashSpec {
    fn open(&self) -> Result<Contents, FirmwareError> {
        let path = &self.file;
        let file = OpenOptions::new().read(true).write(!self.is_snapshot).open(path);
        let file = file.map_err(|e| match e.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                if !self.is_snapshot =>
            {
                FirmwareError::ReadOnly(path.clone())
            }
            _ => failed(path, e),
        })?;
        let metadata = file.metadata().map_err(|e| failed(path, e))?;
        // Who may do everything may write this as well, and does not mean to.
        if !self.is_snapshot && metadata.permissions().readonly() {
            return Err(FirmwareError::ReadOnly(path.clone()));
        }
        let access = if self.is_snapshot { Access::Read } else { Access::Write };
        lock(&file, access).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => FirmwareError::InUse(path.clone()),
            _ => failed(path, e),
        })?;
        let bytes = contents(&file, path)?;
        if !holds_variables(&bytes) && !is_blank(&bytes) {
            return Err(FirmwareError::NoVariables(path.clone()));
        }
        Ok(Contents { bytes, file: (!self.is_snapshot).then_some(file) })
    }
}

fn failed(path: &Path, e: io::Error) -> FirmwareError {
    FirmwareError::File { file: path.to_owned(), e }
}

/// All of a file, and no more of it than shows whether it is too large.
fn contents(file: &File, path: &Path) -> Result<Vec<u8>, FirmwareError> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| failed(path, e))?;
    match bytes.len() as u64 > LARGEST {
        true => Err(FirmwareError::Large(path.to_owned())),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
