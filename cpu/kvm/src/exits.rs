//! Why the guest came out, for statistics: each exit by its reason, and the instruction there.
//!
//! KVM has gone past some instructions when it exits (HLT, and stores to devices where it emulates
//! them): what is shown is then the instruction behind, and says so.

use kvm_bindings::{
    KVM_EXIT_DIRTY_RING_FULL, KVM_EXIT_HLT, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IO_IN,
    KVM_EXIT_IOAPIC_EOI, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO, KVM_EXIT_SET_TPR,
    KVM_EXIT_SHUTDOWN, KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR,
};
use kvm_ioctls::VcpuFd;
use trine_engine::{Tally, disassemble};
use trine_guest::{Gpa, Ram};
use trine_x86::event;

/// The exit's name in statistics: the event's, where the software engines count the same.
fn reason(fd: &mut VcpuFd) -> &'static str {
    let run = fd.get_kvm_run();
    match run.exit_reason {
        KVM_EXIT_IO => {
            // SAFETY: KVM has filled in this member, as the exit reason says.
            let direction = unsafe { run.__bindgen_anon_1.io.direction };
            if u32::from(direction) == KVM_EXIT_IO_IN { event::IN } else { event::OUT }
        }
        KVM_EXIT_MMIO => {
            // SAFETY: as above.
            let is_write = unsafe { run.__bindgen_anon_1.mmio.is_write };
            if is_write == 0 { event::MMIO_READ } else { event::MMIO_WRITE }
        }
        KVM_EXIT_X86_RDMSR => event::RDMSR,
        KVM_EXIT_X86_WRMSR => event::WRMSR,
        KVM_EXIT_HLT => event::HLT,
        KVM_EXIT_INTR => "kick",
        KVM_EXIT_IRQ_WINDOW_OPEN => "interrupt window",
        KVM_EXIT_IOAPIC_EOI => "end of interrupt",
        KVM_EXIT_SET_TPR => "task priority",
        KVM_EXIT_DIRTY_RING_FULL => "dirty ring full",
        KVM_EXIT_SHUTDOWN => "shutdown",
        _ => "not emulated by kvm",
    }
}

/// Notes an exit; `entered` is false if KVM was interrupted instead.
pub(crate) fn note(tally: &mut Tally, fd: &mut VcpuFd, ram: &Ram, entered: bool) {
    let reason = if entered { reason(fd) } else { "kick" };
    let Ok(regs) = fd.get_regs() else { return };
    let is_behind = reason == event::HLT || reason == event::MMIO_WRITE;
    tally.note(reason, regs.rip, || match text(fd, ram, regs.rip) {
        Some(text) if is_behind => format!("before: {text}"),
        text => text.unwrap_or_default(),
    });
}

/// The instruction at RIP, if it lies in one page of RAM.
fn text(fd: &VcpuFd, ram: &Ram, rip: u64) -> Option<String> {
    let cs = fd.get_sregs().ok()?.cs;
    let lin = cs.base.wrapping_add(rip);
    let at = fd.translate_gva(lin).ok().filter(|at| at.valid != 0)?.physical_address;
    let offset = ram.spot(Gpa(at))?.offset;
    let mut bytes = [0; 15];
    let len = bytes.len().min((0x1000 - (at & 0xfff)) as usize);
    ram.load_bytes(offset, &mut bytes[..len]);
    let bits = match (cs.l, cs.db) {
        (1, _) => 64,
        (_, 1) => 32,
        _ => 16,
    };
    Some(disassemble(&bytes[..len], bits, rip))
}
