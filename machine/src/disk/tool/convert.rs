//! Copying an image into a new one, without what is zero.

use std::{fs::File, io, path::Path};

use imago::Mapping;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::{SeekFrom, seek};

use super::new::{NewImage, Place};
use crate::disk::{
    Format,
    chain::{self, Contents, Layer, Mode, guarded},
};

/// So much is read at once.
const PIECE: u64 = 2 << 20;
/// Zeros are looked for in blocks of this size: what file systems and guests have as pages.
const BLOCK: usize = 4096;

/// Copies the disk in `from`, with all that it stands on, into a new image at `to`.
///
/// # Errors
/// One line that names the file.
pub(super) fn convert(
    from: &Path,
    format: Option<Format>,
    mut new: NewImage,
    to: &Path,
    may_replace: bool,
) -> Result<(), String> {
    let source = chain::open(from, format, Mode::READ).map_err(|e| e.to_string())?;
    new.size = Some(source.contents.size());
    let place = Place::new(to, may_replace)?;
    let target = new.format(&place).map_err(super::named(to))?;
    // Not drawn where standard error is no terminal.
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}");
    let bar = ProgressBar::new(source.contents.size());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let copied = copy(&source, &target, |at| bar.set_position(at));
    bar.finish_and_clear();
    copied.map_err(|e| format!("{} to {}: {e}", from.display(), to.display()))?;
    place.fill(target)
}

/// Copies everything that is not zero, and says how far it is.
fn copy(source: &Layer, target: &Contents, progress: impl Fn(u64)) -> io::Result<()> {
    let size = source.contents.size();
    let mut buffer = vec![0; PIECE as usize];
    let mut at = 0;
    while at < size {
        progress(at);
        if source.format == Format::Raw {
            at = next_data(&source.file, at)?.min(size);
        }
        let most = PIECE.min(size - at);
        let (is_zero, len) = guarded(|| {
            let (mapping, len) = source.contents.get_mapping(at, size - at)?;
            Ok((matches!(mapping, Mapping::Zero { .. } | Mapping::Eof { .. }), len))
        })?;
        if is_zero {
            at += len.max(1);
            continue;
        }
        // Further than the mapping goes: reading finds out by itself.
        let piece = &mut buffer[..most as usize];
        guarded(|| source.contents.read(&mut *piece, at))?;
        write_sparsely(target, piece, at)?;
        at += most;
    }
    Ok(())
}

/// The next byte at or after `at` that is not in a hole of the file.
fn next_data(file: &File, at: u64) -> io::Result<u64> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(data),
        // There is none.
        Err(rustix::io::Errno::NXIO) => Ok(u64::MAX),
        // The file system, or the device, cannot say.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOTSUP) => Ok(at),
        Err(e) => Err(e.into()),
    }
}

/// Writes the blocks of `piece` that are not zero, neighbours together.
fn write_sparsely(target: &Contents, piece: &[u8], at: u64) -> io::Result<()> {
    let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let mut done = 0;
    for run in piece.chunks(BLOCK).collect::<Vec<_>>().chunk_by(|a, b| is_zero(a) == is_zero(b)) {
        let len: usize = run.iter().map(|block| block.len()).sum();
        if !run.first().is_some_and(|block| is_zero(block)) {
            target.write(&piece[done..done + len], at + done as u64)?;
        }
        done += len;
    }
    Ok(())
}
