//! The integer instructions, generic over [`crate::Sem`].

pub(crate) mod alu;
