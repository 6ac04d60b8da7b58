//! What `--disk` says: a file, and how the guest is to have it.
//!
//! The syntax is QEMU's (`-drive`): options behind the file name, separated by commas; a comma in a
//! file name is written twice.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::options::{boot_index, one_of, parts, switch};

/// The longest serial number, as ATA's IDENTIFY DEVICE and virtio's `VIRTIO_BLK_ID_BYTES` have it.
const SERIAL_MAX: usize = 20;

/// A disk as the command line asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskSpec {
    /// The image.
    pub file: PathBuf,
    /// The controller; without one, the board's usual.
    pub interface: Option<Interface>,
    /// The image's format; without one, what its first bytes say.
    pub format: Option<Format>,
    /// The guest may not write.
    pub is_read_only: bool,
    /// The guest may write, and what it writes vanishes with the machine.
    pub is_snapshot: bool,
    /// What a write and a flush are worth.
    pub cache: Cache,
    /// A name that tells the disk from others, at most 20 printable ASCII characters.
    pub serial: Option<String>,
    /// The place in the boot order; the lowest comes first.
    pub boot_index: Option<u32>,
}

/// What a disk is attached to, or what kind of drive it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interface {
    /// An IDE (ATA) hard disk.
    Ide,
    /// A SATA hard disk behind an AHCI controller.
    Ahci,
    /// A virtio block device.
    Virtio,
    /// A floppy in a drive.
    Floppy,
    /// A CD or DVD in a drive.
    Cdrom,
}

/// An image's format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The disk's bytes and nothing else.
    Raw,
    /// QEMU's format, version 2 or 3.
    Qcow2,
}

/// What a write and a flush are worth: QEMU's cache modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cache {
    /// Writes go to the host's page cache; a flush brings them to the disk.
    #[default]
    Writeback,
    /// Each write is on the disk before its answer.
    Writethrough,
    /// As [`Cache::Writeback`], past the host's page cache.
    None,
    /// As [`Cache::Writethrough`], past the host's page cache.
    Directsync,
    /// A flush does nothing: fast, and for disks that nobody will miss.
    Unsafe,
}

/// A row for each name of a value.
macro_rules! named {
    ($type:ident, $($value:ident => $name:literal),+) => {
        impl $type {
            /// Every value with the name that the command line has for it.
            pub const NAMES: &[(&str, Self)] = &[$(($name, Self::$value)),+];
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => $name),+ })
            }
        }
    };
}
named!(Interface, Ide => "ide", Ahci => "ahci", Virtio => "virtio", Floppy => "floppy",
       Cdrom => "cdrom");
named!(Format, Raw => "raw", Qcow2 => "qcow2");
named!(Cache, Writeback => "writeback", Writethrough => "writethrough", None => "none",
       Directsync => "directsync", Unsafe => "unsafe");

impl Cache {
    /// Whether each write is flushed before its answer.
    #[must_use]
    pub fn flushes_writes(self) -> bool {
        matches!(self, Self::Writethrough | Self::Directsync)
    }

    /// Whether the host's page cache is bypassed.
    #[must_use]
    pub fn is_direct(self) -> bool {
        matches!(self, Self::None | Self::Directsync)
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(text, Self::NAMES)
    }
}

impl DiskSpec {
    /// A disk behind the board's usual controller, with nothing said about it.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            interface: None,
            format: None,
            is_read_only: false,
            is_snapshot: false,
            cache: Cache::default(),
            serial: None,
            boot_index: None,
        }
    }

    /// The controller that the guest finds: IDE, unless another is asked for.
    #[must_use]
    pub fn interface(&self) -> Interface {
        self.interface.unwrap_or(Interface::Ide)
    }

    /// Takes one option behind the file name.
    fn set(&mut self, option: &str) -> Result<(), String> {
        let (key, value) = option.split_once('=').map_or((option, None), |(k, v)| (k, Some(v)));
        let given = || value.ok_or_else(|| format!("'{key}' takes a value: {key}=…"));
        match key {
            "if" => self.interface = Some(one_of(given()?, Interface::NAMES)?),
            "format" => self.format = Some(given()?.parse()?),
            "cache" => self.cache = one_of(given()?, Cache::NAMES)?,
            "readonly" => self.is_read_only = switch(key, value)?,
            "snapshot" => self.is_snapshot = switch(key, value)?,
            "serial" => self.serial = Some(serial(given()?)?),
            "bootindex" => self.boot_index = Some(boot_index(given()?)?),
            "" => return Err("there is an empty option; a comma in a name is doubled".into()),
            _ => return Err(unknown(key)),
        }
        Ok(())
    }
}

impl FromStr for DiskSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = parts(text).into_iter();
        let file = parts.next().unwrap_or_default();
        let file = file.strip_prefix("file=").unwrap_or(&file);
        if file.is_empty() {
            return Err("there is no file name; write for example disk.qcow2,if=virtio".into());
        }
        let mut spec = Self::new(file);
        let mut seen = Vec::new();
        for option in parts {
            let key = option.split('=').next().unwrap_or_default().to_owned();
            if seen.contains(&key) {
                return Err(format!("'{key}' is given twice"));
            }
            spec.set(&option)?;
            seen.push(key);
        }
        if spec.interface == Some(Interface::Cdrom) && spec.is_snapshot {
            return Err("a cdrom is never written, so snapshot has no meaning for it".into());
        }
        if spec.is_read_only && spec.is_snapshot {
            return Err("readonly and snapshot exclude each other".into());
        }
        spec.is_read_only |= spec.interface == Some(Interface::Cdrom);
        Ok(spec)
    }
}

fn serial(text: &str) -> Result<String, String> {
    let is_good = !text.is_empty()
        && text.len() <= SERIAL_MAX
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    is_good.then(|| text.to_owned()).ok_or_else(|| {
        format!("the serial '{text}' is not 1 to {SERIAL_MAX} printable ASCII characters")
    })
}

fn unknown(key: &str) -> String {
    let known = "if, format, readonly, snapshot, cache, serial and bootindex";
    format!("'{key}' is none of {known}; a comma in a file name is doubled")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DiskSpec, String> {
        text.parse()
    }

    #[test]
    fn a_file_alone_is_a_disk() {
        assert_eq!(parse("a.img"), Ok(DiskSpec::new("a.img")));
        assert_eq!(parse("file=a=b.img"), Ok(DiskSpec::new("a=b.img")));
    }

    #[test]
    fn all_options_are_understood() {
        let spec = parse(
            "/x/d,if=ahci,format=qcow2,snapshot,cache=none,serial=A 1,bootindex=3,readonly=off",
        );
        let want = DiskSpec {
            interface: Some(Interface::Ahci),
            format: Some(Format::Qcow2),
            is_snapshot: true,
            cache: Cache::None,
            serial: Some("A 1".into()),
            boot_index: Some(3),
            ..DiskSpec::new("/x/d")
        };
        assert_eq!(spec, Ok(want));
        assert!(parse("d,readonly").is_ok_and(|s| s.is_read_only && !s.is_snapshot));
        assert!(parse("d.iso,if=cdrom").is_ok_and(|s| s.is_read_only), "CDs are read");
    }

    #[test]
    fn doubled_commas_belong_to_the_name() {
        let spec = parse("a,,b,,,if=ide").expect("parses");
        assert_eq!((spec.file, spec.interface), ("a,b,".into(), Some(Interface::Ide)));
        assert_eq!(parse(",,").map(|s| s.file), Ok(",".into()));
    }

    #[test]
    fn names_are_what_is_parsed() {
        for (name, cache) in Cache::NAMES {
            assert_eq!(cache.to_string(), *name);
            assert_eq!(parse(&format!("d,cache={name}")).map(|s| s.cache), Ok(*cache));
        }
        for (name, interface) in Interface::NAMES {
            let spec = parse(&format!("d,if={name}")).expect("parses");
            assert_eq!(spec.interface.map(|i| i.to_string()).as_deref(), Some(*name));
            assert_eq!(spec.interface, Some(*interface));
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_a_line() {
        for (text, what) in [
            ("", "no file name"),
            (",if=ide", "no file name"),
            ("d,", "empty option"),
            ("d,if", "takes a value"),
            ("d,if=scsi", "'scsi' is none of ide, ahci, virtio, floppy, cdrom"),
            ("d,format=vmdk", "'vmdk' is none of raw, qcow2"),
            ("d,cache=maybe", "is none of writeback"),
            ("d,readonly=yes", "neither on nor off"),
            ("d,readonly,snapshot", "exclude each other"),
            ("d,if=cdrom,snapshot", "never written"),
            ("d,serial=123456789012345678901", "1 to 20"),
            ("d,serial=ü", "printable"),
            ("d,bootindex=-1", "not a number"),
            ("d,media=cdrom", "'media' is none of"),
            ("d,if=ide,if=ahci", "'if' is given twice"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(what) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
