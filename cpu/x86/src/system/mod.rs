//! Cold instructions and events: plain functions over [`crate::Core`].

mod deliver;
pub(crate) mod misc;
pub(crate) mod reset;
