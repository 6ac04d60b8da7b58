//! KVM: the guest's instructions run on the host's own CPU.
//!
//! The engine lends the guest what Linux offers as `/dev/kvm`, and nothing else: all devices stay on
//! the board, so that a machine is the same under every engine. Only the local APICs go to the
//! kernel while vCPUs run, if it has what that takes (`apics`).
//!
//! # The life of a vCPU
//!
//! `vcpu` enters the guest and serves what it comes out for: port and memory-mapped accesses go
//! to the bus, and so do interrupts' acknowledge cycles when the guest can take one. It comes out
//! without a reason of its own when somebody kicks it (`kick`). What is not executing (halted,
//! waiting for a start-up IPI) sleeps where the local APIC is that can wake it: in the kernel, or
//! it is not entered at all.
//!
//! # What KVM does not do
//!
//! Behind each vCPU stands an interpreter, with a [`trine_x86::Core`] of the same model. It answers
//! RDMSR and WRMSR of whatever is no matter of speed, so that there is one meaning of those
//! registers; KVM is told to let through a few (`msrs`). It takes INIT and start-up IPIs. It executes
//! while the A20 gate is closed, which KVM does not know, and instructions on which KVM gives
//! up. And it completes the delivery of an event that KVM has begun when the state is to be seen.
//!
//! # State
//!
//! `state` converts between [`trine_x86::CpuState`] and what KVM has, both ways. What the guest's
//! registers do not hold in KVM (most MSRs, whether the CPU is halted) is kept in the interpreter.
//!
//! # Memory
//!
//! KVM's memory slots (`slots`) are RAM's map, and follow it when it changes, on the thread of
//! the vCPU that changes it, while the others execute. One that touches memory in the moment between
//! its old slot and its new one comes out as for a device, and is served by the map.
//!
//! # Time
//!
//! Guest time is the board's. `tsc` sets KVM's offset so that the TSC counts it, at the model's
//! frequency if the host's CPU can scale, and else at the host's, which is then the model's
//! ([`trine_engine::Engine::fit`]).
//!
//! Sources: Linux, Documentation/virt/kvm/api.rst; SDM vol. 3; AMD APM vol. 2, chapter 15.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod apics;
mod counters;
mod cpuid;
mod dirty;
mod exits;
mod host;
mod ioctl;
mod kick;
mod msrs;
mod offer;
mod ring;
mod slots;
mod sregs;
mod state;
mod tsc;
mod vcpu;
mod vm;
mod xsave;

pub use dirty::DirtyLog;
pub use host::{Abilities, missing};
pub use offer::Offer;
pub use vm::Kvm;

/// [`trine_engine::Engine::name`].
const NAME: &str = "kvm";
