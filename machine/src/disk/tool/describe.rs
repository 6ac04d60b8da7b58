//! What an image is, from its header and its file alone: an image that is in use, or that cannot be
//! opened, can be described all the same.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{header, named};
use crate::disk::{
    Format,
    chain::{CHAIN_MAX, backing_path},
    qcow2::{Header, Incompatible},
};

/// An image. The names are those of `qemu-img info --output=json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Description {
    filename: PathBuf,
    format: Format,
    virtual_size: u64,
    actual_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_size: Option<u64>,
    dirty_flag: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    backing_filename: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_backing_filename: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backing_filename_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format_specific: Option<Qcow2>,
    /// The images below, from this one's own on; the last may be one that could not be read.
    backing_chain: Vec<Description>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What only a qcow2 image has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Qcow2 {
    version: u32,
    refcount_bits: u32,
    snapshots: u32,
    encrypted: bool,
    corrupt: bool,
    /// Why Trine does not open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsupported: Option<String>,
}

impl Description {
    /// Describes `path` and what is below it.
    ///
    /// # Errors
    /// One line that names the file.
    pub(super) fn of(path: &Path, format: Option<Format>) -> Result<Self, String> {
        let mut whole = Self::of_one(path, format)?;
        let mut next = whole.below();
        while let Some((path, format)) = next.take() {
            if whole.backing_chain.len() >= CHAIN_MAX {
                break;
            }
            match Self::of_one(&path, format) {
                Ok(layer) => {
                    next = layer.below();
                    whole.backing_chain.push(layer);
                }
                Err(error) => {
                    whole.error = Some(format!("the backing file {error}"));
                }
            }
        }
        Ok(whole)
    }

    fn of_one(path: &Path, format: Option<Format>) -> Result<Self, String> {
        let metadata = std::fs::metadata(path).map_err(named(path))?;
        if !metadata.is_file() && metadata.rdev() == 0 {
            return Err(format!("{}: it is neither a file nor a block device", path.display()));
        }
        let file = File::open(path).map_err(named(path))?;
        let header = header(path, &file, format)?;
        let full = |name: &String| backing_path(path, name).ok();
        Ok(Self {
            filename: path.to_owned(),
            format: if header.is_some() { Format::Qcow2 } else { Format::Raw },
            virtual_size: header.as_ref().map_or(metadata.len(), |header| header.size),
            actual_size: metadata.blocks() * 512,
            cluster_size: header.as_ref().map(Header::cluster),
            dirty_flag: header
                .as_ref()
                .is_some_and(|header| header.incompatible.contains(Incompatible::DIRTY)),
            full_backing_filename: header.as_ref().and_then(|h| h.backing.as_ref().and_then(full)),
            backing_filename: header.as_ref().and_then(|header| header.backing.clone()),
            backing_filename_format: header.as_ref().and_then(|h| h.backing_format.clone()),
            format_specific: header.as_ref().map(Qcow2::of),
            backing_chain: Vec::new(),
            error: None,
        })
    }

    /// The next file of the chain, and its format if it is one that can be looked at.
    fn below(&self) -> Option<(PathBuf, Option<Format>)> {
        let format = self.backing_filename_format.as_deref().and_then(|name| name.parse().ok());
        self.full_backing_filename.clone().map(|path| (path, format))
    }

    /// As JSON.
    ///
    /// # Errors
    /// If a name is not Unicode.
    pub(super) fn json(&self) -> Result<String, String> {
        let json = serde_json::to_string_pretty(self);
        Ok(json.map_err(|e| format!("the description is no JSON: {e}"))? + "\n")
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = self.own_text();
        for layer in &self.backing_chain {
            text += "\n";
            text += &layer.own_text();
        }
        if let Some(error) = &self.error {
            text += &format!("\n{error}\n");
        }
        text
    }

    fn own_text(&self) -> String {
        let sized = |bytes| format!("{} ({bytes} bytes)", in_units(bytes));
        let mut rows = vec![
            ("image", self.filename.display().to_string()),
            ("format", self.format.to_string()),
            ("disk", sized(self.virtual_size)),
            ("on the host", in_units(self.actual_size)),
        ];
        rows.extend(self.cluster_size.map(|size| ("clusters", in_units(size))));
        if let Some(name) = &self.backing_filename {
            let format = self.backing_filename_format.as_deref().unwrap_or("format not stated");
            rows.push(("backing file", format!("{} ({format})", name.escape_debug())));
        }
        if let Some(qcow2) = &self.format_specific {
            rows.extend(qcow2.rows());
        }
        if self.dirty_flag {
            rows.push(("dirty", "in use, or not closed after writing".into()));
        }
        rows.into_iter().map(|(name, value)| format!("{name:<14}{value}\n")).collect()
    }
}

impl Qcow2 {
    fn of(header: &Header) -> Self {
        Self {
            version: header.version,
            refcount_bits: 1 << header.refcount_order,
            snapshots: header.snapshots,
            encrypted: header.is_encrypted,
            corrupt: header.incompatible.contains(Incompatible::CORRUPT),
            unsupported: header.supported().err().map(|e| e.to_string()),
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("version", format!("{}", self.version))];
        if self.snapshots > 0 {
            rows.push(("snapshots", self.snapshots.to_string()));
        }
        if self.corrupt {
            rows.push(("corrupt", "marked as damaged".into()));
        }
        rows.extend(self.unsupported.clone().map(|why| ("unsupported", why)));
        rows
    }
}

/// A number of bytes with the largest unit that leaves a number of 1 or more.
pub(super) fn in_units(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    let digits = usize::from(value.fract() >= 0.05);
    format!("{value:.digits$} {unit}")
}
