//! `trine image`: makes, describes, copies, checks and resizes disk images.
//!
//! It never destroys data by itself: a file that is there is replaced only with `--force`, and only
//! when its replacement is whole and on the disk; a smaller size wants `--shrink`.

mod convert;
mod describe;
mod new;
#[cfg(test)]
mod tests;

use std::path::Path;

use imago::{Mapping, Storage, format::PreallocateMode};

use super::{
    DiskOpenError, Format, Unopened,
    chain::{self, Layer, Mode},
    lock,
    qcow2::{
        self, Header, HeaderError, Incompatible,
        check::{self, Report},
    },
};
use crate::cli::{FormatOption, ImageArgs, ImageCommand, Resize};
use describe::{Description, in_units};
use new::NewImage;

/// Exit statuses of `check`, which are qemu-img's.
const DAMAGED: u8 = 2;
const LEAKS: u8 = 3;
const NOTHING_TO_CHECK: u8 = 63;

const SECTOR: u64 = 512;

/// Says something on standard output.
type Print<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// Does what the command line asks, and returns the exit status.
///
/// # Errors
/// One line that names the file.
pub fn image(args: &ImageArgs, print: impl Fn(&str) -> Result<(), String>) -> Result<u8, String> {
    let print: Print<'_> = &print;
    match &args.command {
        ImageCommand::Create { format, backing, backing_format, option, force, file, size } => {
            let backing = backing.clone().zip(*backing_format);
            let new = NewImage {
                format: *format,
                size: size.map(|size| size.0),
                cluster: cluster(*format, option)?,
                backing,
            };
            new.create(file, *force)?;
        }
        ImageCommand::Info { format, json, file } => {
            let description = Description::of(file, *format)?;
            print(&if *json { description.json()? } else { description.text() })?;
        }
        ImageCommand::Convert { format, output_format, option, force, from, to } => {
            let cluster = cluster(*output_format, option)?;
            let new = NewImage { format: *output_format, size: None, cluster, backing: None };
            convert::convert(from, *format, new, to, *force)?;
        }
        ImageCommand::Check { format, repair, json, file } => {
            return check(file, *format, *repair, *json, print);
        }
        ImageCommand::Resize { format, shrink, file, size } => {
            resize(file, *format, *size, *shrink)?;
        }
        ImageCommand::Map { format, file } => map(file, *format, print)?,
    }
    Ok(0)
}

/// An error as a line that begins with the file's name.
fn named(file: &Path) -> impl Fn(std::io::Error) -> String {
    move |e| format!("{}: {e}", file.display())
}

fn cluster(format: Format, options: &[FormatOption]) -> Result<Option<u64>, String> {
    let last = options.last().map(|FormatOption::ClusterSize(size)| *size);
    match format {
        Format::Raw if last.is_some() => Err("a raw image has no clusters".into()),
        _ => Ok(last),
    }
}

/// Counts references, repairs if asked, and says what was found.
fn check(
    file: &Path,
    format: Option<Format>,
    repairs: bool,
    json: bool,
    print: Print<'_>,
) -> Result<u8, String> {
    let failed = |why: Unopened| DiskOpenError { file: file.to_owned(), why }.to_string();
    let access = if repairs { lock::Access::Write } else { lock::Access::Read };
    let (host, _) = chain::open_file(file, Mode { access, is_direct: false }).map_err(failed)?;
    let probed = chain::probe(&host).map_err(named(file))?;
    if format.unwrap_or(probed) == Format::Raw {
        eprintln!("trine: {}: a raw image has nothing that could be checked", file.display());
        return Ok(NOTHING_TO_CHECK);
    }
    let header = Header::read(&host).map_err(|e| failed(e.into()))?;
    let counted = if repairs { check::repair } else { check::check };
    let report = counted(&host, &header).map_err(|e| failed(e.into()))?;
    print(&if json {
        let json = serde_json::to_string_pretty(&report);
        json.map_err(|e| format!("the report is no JSON: {e}"))? + "\n"
    } else {
        findings(&header, &report)
    })?;
    Ok(match (report.corruptions, report.leaks) {
        (0, 0) => 0,
        (0, _) => LEAKS,
        _ => DAMAGED,
    })
}

/// What a check has found, for people.
fn findings(header: &Header, report: &Report) -> String {
    let mut text: String = report.notes.iter().map(|note| format!("{note}\n")).collect();
    if header.incompatible.contains(Incompatible::DIRTY) {
        text += "The image was not closed after writing";
        text += match report.corruptions {
            0 if report.repaired > 0 => ".\n",
            _ => "; whoever writes it next counts again, or --repair does.\n",
        };
    }
    if report.repaired > 0 {
        text += &format!("{} counts and flags were put right.\n", report.repaired);
    }
    text += &match (report.corruptions, report.leaks) {
        (0, 0) => "No errors were found on the image.\n".into(),
        (0, leaks) => {
            format!("{leaks} clusters are lost: space is wasted, data is not in danger.\n")
        }
        (errors, leaks) => {
            format!(
                "{errors} errors were found (data may be damaged), and {leaks} lost clusters.\n"
            )
        }
    };
    let Report { allocated_clusters, compressed_clusters, total_clusters, .. } = report;
    let percent = *allocated_clusters as f64 * 100.0 / (*total_clusters).max(1) as f64;
    text + &format!(
        "{allocated_clusters}/{total_clusters} = {percent:.2}% allocated, {compressed_clusters} \
         clusters compressed\nImage end offset: {}\n",
        report.image_end
    )
}

/// Changes the size of the disk, and leaves the image whole whenever it is stopped.
fn resize(file: &Path, format: Option<Format>, to: Resize, shrink: bool) -> Result<(), String> {
    let mut layer = chain::open(file, format, Mode::WRITE).map_err(|e| e.to_string())?;
    let old = layer.contents.size();
    let new = match to {
        Resize::To(size) => Some(size),
        Resize::By(more) => old.checked_add(more),
        Resize::ByLess(less) => old.checked_sub(less),
    };
    let new = new.and_then(|new| new.checked_next_multiple_of(SECTOR));
    let new = new.ok_or_else(|| format!("{}: no disk can have that size", file.display()))?;
    if new < old && !shrink {
        let lost = in_units(old - new);
        return Err(format!(
            "{}: that would throw away the last {lost} of the disk; say --shrink if it may",
            file.display()
        ));
    }
    if layer.header.as_ref().is_some_and(|h| h.snapshots > 0) {
        return Err(format!("{}: the image has snapshots of the old size", file.display()));
    }
    change_size(&mut layer, new).map_err(named(file))
}

fn change_size(layer: &mut Layer, new: u64) -> std::io::Result<()> {
    let can_mark = layer.header.as_ref().is_some_and(|header| header.version > 2);
    if can_mark {
        qcow2::mark_dirty(&layer.file, true)?;
    }
    // What the image below has behind the old end must not be seen.
    let mode = match layer.below_len {
        Some(below) if below > layer.contents.size() => PreallocateMode::Zero,
        _ => PreallocateMode::None,
    };
    chain::guarded(|| {
        layer.contents.resize(new, mode)?;
        layer.contents.flush()?;
        layer.contents.sync()
    })?;
    if can_mark {
        qcow2::mark_dirty(&layer.file, false)?;
    }
    Ok(())
}

/// Lists what of the disk is where. What reads as zeros is left out.
fn map(file: &Path, format: Option<Format>, print: Print<'_>) -> Result<(), String> {
    let layer = chain::open(file, format, Mode::READ).map_err(|e| e.to_string())?;
    let row = |at: &str, len: &str, place: &str, file: &str| {
        print(&format!("{at:<18}{len:<18}{place:<18}{file}\n"))
    };
    row("Offset", "Length", "Mapped to", "File")?;
    let size = layer.contents.size();
    let mut at = 0;
    while at < size {
        let found = chain::guarded(|| {
            let (mapping, len) = layer.contents.get_mapping(at, size - at)?;
            let place = match mapping {
                Mapping::Raw { storage, offset, .. } => {
                    Some((format!("{offset:#x}"), storage.get_filename()))
                }
                Mapping::Special { .. } => Some(("compressed".into(), None)),
                _ => None,
            };
            Ok((place, len.max(1)))
        });
        let (place, len) = found.map_err(named(file))?;
        if let Some((place, file)) = place {
            let file = file.unwrap_or_default();
            row(&format!("{at:#x}"), &format!("{len:#x}"), &place, &file.display().to_string())?;
        }
        at += len;
    }
    Ok(())
}

/// The header of `file`, if it is a qcow2 image.
fn header(
    file: &Path,
    host: &std::fs::File,
    format: Option<Format>,
) -> Result<Option<Header>, String> {
    let probed = chain::probe(host).map_err(named(file))?;
    if format.unwrap_or(probed) == Format::Raw {
        return Ok(None);
    }
    let failed = |e: HeaderError| format!("{}: {e}", file.display());
    Header::read(host).map(Some).map_err(failed)
}
