//! Guest physical addresses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A guest physical address in bytes, after segmentation, paging and the A20 gate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Gpa(pub u64);

impl Gpa {
    /// The address `bytes` further on, wrapping at 2^64 as an adder does.
    #[must_use]
    pub const fn offset(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }

    /// The start of the 4 KiB page that holds this address.
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !0xfff)
    }
}

impl fmt::Debug for Gpa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpa({:#x})", self.0)
    }
}

impl fmt::Display for Gpa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
