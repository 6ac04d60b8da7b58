//! The integer instructions, generic over [`crate::Sem`].

pub(crate) mod alu;
pub(crate) mod bcd;
pub(crate) mod bits;
pub(crate) mod branch;
pub(crate) mod data;
pub(crate) mod exchange;
pub(crate) mod flag;
pub(crate) mod muldiv;
pub(crate) mod shift;
pub(crate) mod stack;
pub(crate) mod string;
pub(crate) mod unary;

/// Numbers of general registers that instructions name by themselves.
const RAX: u8 = 0;
const RCX: u8 = 1;
const RDX: u8 = 2;
const RBX: u8 = 3;
const RSP: u8 = crate::slot::RSP;
const RBP: u8 = 5;
const RSI: u8 = 6;
const RDI: u8 = 7;
const AH: u8 = crate::insn::slot::HIGH;
