//! The interpreter: exact, and runs on any host.
#![forbid(unsafe_code)]
