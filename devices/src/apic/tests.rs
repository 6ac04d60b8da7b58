//! Tests of the local APICs.
