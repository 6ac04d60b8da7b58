//! Cold instructions and events: plain functions over [`crate::Core`].

pub(crate) mod misc;
pub(crate) mod reset;
