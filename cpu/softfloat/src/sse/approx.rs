//! The approximations RCPSS and RSQRTSS.

/// RCPSS: an approximation of 1/x within 1.5 * 2^-12. Raises nothing; denormals count as zeros.
pub fn reciprocal(x: u32) -> u32 {
    todo!("{x}")
}

/// RSQRTSS: an approximation of 1/sqrt(x) within 1.5 * 2^-12. Raises nothing; denormals count as
/// zeros.
pub fn reciprocal_sqrt(x: u32) -> u32 {
    todo!("{x}")
}
