//! What lies beyond the CPU's pins: everything that is not RAM.

use std::time::Duration;

use trine_guest::{Gpa, VmTime};

/// Who makes an access, and when in its own count: the bus derives guest time from it where time
/// follows instructions, and a local APIC answers each vCPU its own registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// The vCPU, counted from 0.
    pub vcpu: u32,
    /// Instructions that the vCPU has retired since its engine made it, up to the one that asks.
    pub retired: u64,
}

/// An MSR access that the bus refuses: the CPU raises #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsrFault;

/// Pins of a vCPU that call for action, as [`Bus::pins`] samples them. Edges (NMI, INIT, SIPI, and
/// changes of `tscs_differ`) are taken: they are reported once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pins {
    /// A maskable interrupt waits for its acknowledge cycle.
    pub interrupt: bool,
    /// A non-maskable interrupt arrived.
    pub nmi: bool,
    /// INIT arrived. It comes before a start-up IPI that arrived with it.
    pub init: bool,
    /// A start-up IPI arrived, with this vector.
    pub startup: Option<u8>,
    /// The A20 gate holds address bit 20 at 0.
    pub a20_masked: bool,
    /// The vCPUs' time-stamp counters do not agree ([`Bus::set_tsc_offset`]).
    pub tscs_differ: bool,
    /// Whether they do has changed.
    pub tscs_changed: bool,
}

/// Everything that is not RAM. Called from inside `Vcpu::run`, so that every exit of an engine is
/// an instruction boundary.
pub trait Bus: Send + Sync {
    /// Loads from an address that is not RAM. `data` is 1 to 64 bytes within a page; what nothing
    /// answers reads as all ones.
    fn mmio_read(&self, by: Access, at: Gpa, data: &mut [u8]);
    /// Stores to an address that is not RAM (ROM included).
    fn mmio_write(&self, by: Access, at: Gpa, data: &[u8]);
    /// IN: `data` is 1, 2 or 4 bytes.
    fn port_in(&self, by: Access, port: u16, data: &mut [u8]);
    /// OUT: `data` is 1, 2 or 4 bytes.
    fn port_out(&self, by: Access, port: u16, data: &[u8]);
    /// RDMSR of a register that a chip holds: the local APIC's (1Bh, 6E0h, 800h to 8FFh, and
    /// KVM's 4B564D04h).
    ///
    /// # Errors
    /// If the chip has no such register, or not in its present mode.
    fn read_msr(&self, by: Access, msr: u32) -> Result<u64, MsrFault>;
    /// WRMSR of a register that a chip holds. For the TSC deadline (6E0h), `value` is in ticks of
    /// this vCPU's TSC and `deadline` is the same as guest time; otherwise `deadline` is `None`.
    ///
    /// # Errors
    /// As [`Bus::read_msr`], or if the value sets reserved bits.
    fn write_msr(
        &self,
        by: Access,
        msr: u32,
        value: u64,
        deadline: Option<VmTime>,
    ) -> Result<(), MsrFault>;
    /// The task priority that CR8 shows: bits 7:4 of the local APIC's TPR.
    fn task_priority(&self, by: Access) -> u8;
    /// MOV to CR8.
    fn set_task_priority(&self, by: Access, priority: u8);
    /// Samples the pins. Cheap when nothing has changed.
    fn pins(&self, by: Access) -> Pins;
    /// The acknowledge cycle of a maskable interrupt: its vector, or `None` if it went away.
    fn acknowledge_interrupt(&self, by: Access) -> Option<u8>;
    /// Random bits for RDRAND and RDSEED: unpredictable, unless the machine is reproducible.
    fn random(&self, by: Access) -> u64;
    /// Sends the local APIC `apic_id` an interrupt, as one of its kind would; false if there is
    /// none with this ID. `icr` has the delivery mode and the vector of an interrupt command.
    fn send_interrupt(&self, by: Access, apic_id: u32, icr: u32) -> bool {
        let _ = (by, apic_id, icr);
        false
    }
    /// Guest time.
    fn now(&self, by: Access) -> VmTime;
    /// The wall clock at guest time 0, as time since the beginning of 1970 UTC. It is a constant of
    /// the machine: a guest that sets its clock does not change it.
    fn wall_clock(&self) -> Duration {
        Duration::ZERO
    }
    /// Nanoseconds for which the vCPU's thread could have run and the host ran others, since the
    /// thread last asked; 0 where time follows instructions or the host does not tell.
    fn take_stolen_ns(&self, by: Access) -> u64 {
        let _ = by;
        0
    }
    /// What the vCPU's time-stamp counter is ahead of guest time, in ticks. Where a guest relies on
    /// all of them being the same, each tells; [`Pins::tscs_differ`] is the answer.
    fn set_tsc_offset(&self, by: Access, offset: u64) {
        let _ = (by, offset);
    }
}

/// A bus with nothing on it, for CPUs that execute by themselves: reads are all ones, no chip has
/// MSRs, random bits are always the same, and time is the vCPU's own count of instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoBus {
    /// The A20 gate holds address bit 20 at 0. No other pin is ever driven.
    pub a20_masked: bool,
}

impl Bus for NoBus {
    fn mmio_read(&self, _: Access, _: Gpa, data: &mut [u8]) {
        data.fill(0xff);
    }
    fn mmio_write(&self, _: Access, _: Gpa, _: &[u8]) {}
    fn port_in(&self, _: Access, _: u16, data: &mut [u8]) {
        data.fill(0xff);
    }
    fn port_out(&self, _: Access, _: u16, _: &[u8]) {}
    fn read_msr(&self, _: Access, _: u32) -> Result<u64, MsrFault> {
        Err(MsrFault)
    }
    fn write_msr(&self, _: Access, _: u32, _: u64, _: Option<VmTime>) -> Result<(), MsrFault> {
        Err(MsrFault)
    }
    fn task_priority(&self, _: Access) -> u8 {
        0
    }
    fn set_task_priority(&self, _: Access, _: u8) {}
    fn pins(&self, _: Access) -> Pins {
        Pins { a20_masked: self.a20_masked, ..Pins::default() }
    }
    fn acknowledge_interrupt(&self, _: Access) -> Option<u8> {
        None
    }
    fn random(&self, _: Access) -> u64 {
        0x0123_4567_89ab_cdef
    }
    fn now(&self, by: Access) -> VmTime {
        VmTime(by.retired)
    }
}
