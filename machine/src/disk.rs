//! What stands behind disk controllers: image files, raw and qcow2, and the `trine image` command.
//!
//! - a [`DiskSpec`] is what `--disk` says;
//! - [`open`] makes an [`ImageDisk`] of it: workers do what the controller asks;
//! - `chain` opens an image with all that it stands on, `lock` keeps others from it, [`qcow2`]
//!   looks at a header and counts references before the image library gets to see them;
//! - `tool` is `trine image`.
//!
//! The formats themselves are the crate imago's. It is compiled without its async half: the workers
//! here wait for the host, and several of them may be in it at once.

mod chain;
mod image;
mod image_disk;
pub(crate) mod lock;
pub mod qcow2;
mod spec;
#[cfg(test)]
mod tests;
mod tool;

pub use chain::{DiskOpenError, Unopened};
pub use image_disk::{ImageDisk, Wake, open};
pub use spec::{Cache, DiskSpec, Format, Interface};
pub use tool::image;
