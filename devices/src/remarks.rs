//! Log lines about what a guest does that a chip can only wonder at.

use std::fmt::Arguments;

use log::debug;

/// A chip's remarks: so many at `debug`, then silence, for a guest can repeat itself for ever.
pub(crate) struct Remarks {
    device: &'static str,
    left: u32,
}

impl Remarks {
    /// At most `count` remarks about the device called `device`.
    pub(crate) fn new(device: &'static str, count: u32) -> Self {
        Self { device, left: count }
    }

    /// Logs `remark`, unless there were too many.
    pub(crate) fn say(&mut self, remark: Arguments<'_>) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        let last = if left == 0 { " (no more of these)" } else { "" };
        debug!("{}: {remark}{last}", self.device);
    }
}
