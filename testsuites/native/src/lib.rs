//! Runs instructions on the host's CPU: the oracle of `trine conform host` and `float`.
//!
//! It is a crate of its own because it is `unsafe` by nature and nothing else in the suites is.
