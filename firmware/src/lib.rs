//! Boot protocols and the tables a guest finds in memory: a description in, bytes out.
#![forbid(unsafe_code)]
