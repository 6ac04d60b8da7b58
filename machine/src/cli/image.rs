//! The command line of `trine image`, close to that of `qemu-img`.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};

use crate::disk::Format;

/// What to do with a disk image.
#[derive(Args, Debug)]
pub struct ImageArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// What to do with a disk image.
#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// Make an empty image, or one that begins with what another one holds.
    Create {
        /// The format: raw or qcow2.
        #[arg(short, long, value_name = "FORMAT", default_value = "raw")]
        format: Format,
        /// The image that the new one stands on, found from the new one's folder.
        #[arg(short, long, value_name = "FILE", requires = "backing_format")]
        backing: Option<String>,
        /// The format of the image that the new one stands on.
        #[arg(short = 'F', long, value_name = "FORMAT")]
        backing_format: Option<Format>,
        /// cluster_size=SIZE, 512 bytes to 2M (qcow2).
        #[arg(short, value_name = "OPTION")]
        option: Vec<FormatOption>,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
        /// The new image.
        file: PathBuf,
        /// Bytes of the disk, with K, M, G or T; without it, as many as the image below has.
        size: Option<ImageSize>,
    },
    /// Say what an image is.
    Info {
        /// The format, instead of what the image begins with.
        #[arg(short, long, value_name = "FORMAT")]
        format: Option<Format>,
        /// As JSON, with the names that qemu-img has.
        #[arg(long)]
        json: bool,
        /// The image.
        file: PathBuf,
    },
    /// Copy an image, with all that it stands on, into a new one.
    Convert {
        /// The format of the image to copy, instead of what it begins with.
        #[arg(short, long, value_name = "FORMAT")]
        format: Option<Format>,
        /// The format of the new image.
        #[arg(short = 'O', long, value_name = "FORMAT", default_value = "raw")]
        output_format: Format,
        /// cluster_size=SIZE, 512 bytes to 2M (qcow2).
        #[arg(short, value_name = "OPTION")]
        option: Vec<FormatOption>,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
        /// The image to copy.
        from: PathBuf,
        /// The new image.
        to: PathBuf,
    },
    /// Count the references to a qcow2 image's clusters.
    ///
    /// Exit status: 0 all is right, 1 it could not be checked, 2 it is damaged, 3 clusters are lost
    /// but nothing else is wrong, 63 the format has nothing to check.
    Check {
        /// The format, instead of what the image begins with.
        #[arg(short, long, value_name = "FORMAT")]
        format: Option<Format>,
        /// Put right what can be.
        #[arg(short, long)]
        repair: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// The image.
        file: PathBuf,
    },
    /// Change the size of the disk.
    Resize {
        /// The format, instead of what the image begins with.
        #[arg(short, long, value_name = "FORMAT")]
        format: Option<Format>,
        /// Throw away what lies behind the new end.
        #[arg(long)]
        shrink: bool,
        /// The image.
        file: PathBuf,
        /// Bytes of the disk, with K, M, G or T, or +SIZE more than it has, or -SIZE less.
        #[arg(allow_hyphen_values = true)]
        size: Resize,
    },
    /// Say what of the disk is where.
    Map {
        /// The format, instead of what the image begins with.
        #[arg(short, long, value_name = "FORMAT")]
        format: Option<Format>,
        /// The image.
        file: PathBuf,
    },
}

/// The size of a disk in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageSize(pub u64);

/// The largest disk: 4 EiB, which leaves room for what a format adds to it.
const SIZE_MAX: u64 = 1 << 62;

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(number_end);
        let shift = match unit {
            "" => 0,
            "k" | "K" => 10,
            "m" | "M" => 20,
            "g" | "G" => 30,
            "t" | "T" => 40,
            _ => return Err(format!("'{text}' is not a size; write for example 512M or 20G")),
        };
        let number = digits.parse::<u64>();
        let number =
            number.map_err(|_| format!("'{text}' is not a size; write for example 20G"))?;
        let size = number.checked_mul(1 << shift).filter(|size| *size <= SIZE_MAX);
        size.map(Self).ok_or_else(|| format!("'{text}' is more than a disk can have"))
    }
}

/// A new size, or how it differs from the old one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resize {
    /// So many bytes.
    To(u64),
    /// So many bytes more.
    By(u64),
    /// So many bytes less.
    ByLess(u64),
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| text.parse().map(|ImageSize(size)| size);
        match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(more), _) => size(more).map(Self::By),
            (_, Some(less)) => size(less).map(Self::ByLess),
            _ => size(text).map(Self::To),
        }
    }
}

/// `-o`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FormatOption {
    /// The size of a cluster.
    ClusterSize(u64),
}

impl FromStr for FormatOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(("cluster_size", size)) = text.split_once('=') else {
            return Err(format!("'{text}' is not cluster_size=SIZE"));
        };
        let ImageSize(size) = size.parse()?;
        let is_good = size.is_power_of_two() && (512..=2 << 20).contains(&size);
        is_good
            .then_some(Self::ClusterSize(size))
            .ok_or_else(|| "a cluster is a power of two from 512 bytes to 2M".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_how_they_change() {
        assert_eq!("20G".parse(), Ok(ImageSize(20 << 30)));
        assert_eq!("1T".parse(), Ok(ImageSize(1 << 40)));
        assert_eq!("+1M".parse(), Ok(Resize::By(1 << 20)));
        assert_eq!("-512".parse(), Ok(Resize::ByLess(512)));
        assert_eq!("4k".parse(), Ok(Resize::To(4096)));
        for wrong in ["", "G", "1P", "1.5G", "-", "99999999T", "0x10", "18446744073709551616"] {
            assert!(wrong.parse::<ImageSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn clusters_are_powers_of_two() {
        assert_eq!("cluster_size=64K".parse(), Ok(FormatOption::ClusterSize(65536)));
        for wrong in ["cluster_size=256", "cluster_size=4M", "cluster_size=3k", "lazy=on", "x"] {
            assert!(wrong.parse::<FormatOption>().is_err(), "{wrong}");
        }
    }
}
