//! What a CPU and a device both see of the guest: addresses, RAM and time.
//!
//! This crate knows nothing of instructions or chips. It is the bottom of the dependency order,
//! together with `trine-softfloat`.

mod addr;
mod granule;
mod image;
mod map;
mod ram;
mod share;
mod time;
mod word;

pub use addr::Gpa;
pub use granule::{CodeNear, GRANULE_SIZE, Marked};
pub use image::{Page, RamImage};
pub use map::REGIONS_MAX;
pub use ram::{MapWatcher, PAGE_SIZE, Ram, RamError, Region, RegionKind, Spot};
pub use share::RamShare;
pub use time::VmTime;
pub use word::Word;
