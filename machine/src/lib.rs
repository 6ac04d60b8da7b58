//! Boards, buses, time and the trine command.
#![forbid(unsafe_code)]
