//! The contract between a machine and whatever executes its guest.
#![forbid(unsafe_code)]
