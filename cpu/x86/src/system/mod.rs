//! Cold instructions and events: plain functions over [`crate::Core`].

pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod cpuid;
pub(crate) mod debug;
pub(crate) mod descriptor;
pub(crate) mod event;
pub(crate) mod far;
pub(crate) mod flag;
pub(crate) mod gate;
pub(crate) mod hypercall;
pub(crate) mod idle;
pub(crate) mod interrupt;
pub(crate) mod iret;
pub(crate) mod load;
pub(crate) mod msr;
pub(crate) mod paravirt;
pub(crate) mod port;
pub(crate) mod reset;
pub(crate) mod stack;
pub(crate) mod syscall;
pub(crate) mod tables;
pub(crate) mod task;
pub(crate) mod undefined;

#[cfg(test)]
mod tests;
