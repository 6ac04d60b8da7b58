//! Hosts that are no oracle.

use crate::{Case, OracleError, Outcome};

/// There is none on this kind of host.
#[derive(Debug)]
pub enum Oracle {}

impl Oracle {
    /// Says so.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> Result<Self, OracleError> {
        Err(OracleError::Host)
    }

    /// Whether cases have a local descriptor table.
    #[must_use]
    pub fn has_ldt(&self) -> bool {
        match *self {}
    }

    /// Whether cases have upper halves of YMM registers.
    #[must_use]
    pub fn has_ymm(&self) -> bool {
        match *self {}
    }

    /// Runs cases.
    ///
    /// # Errors
    /// Never, for there is no such thing.
    pub fn run<'a>(
        &mut self,
        _: impl IntoIterator<Item = &'a Case>,
        _: &mut [Outcome],
    ) -> Result<(), OracleError> {
        match *self {}
    }
}

/// What CPUID and XGETBV say: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the manual's own names")]
pub struct Cpuid {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// What CPUID says: nothing.
#[must_use]
pub fn cpuid(_: u32, _: u32) -> Cpuid {
    Cpuid::default()
}
