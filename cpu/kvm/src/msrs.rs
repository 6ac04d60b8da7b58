//! Which MSRs KVM keeps, and which the interpreter.
//!
//! KVM keeps those that the CPU itself uses, or that a guest reads or writes all the time. At any
//! other the vCPU comes out and asks the interpreter's core.

use kvm_bindings::{Msrs as List, kvm_msr_entry};
use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VcpuFd, VmFd};
use trine_engine::{CpuModel, EngineError};
use trine_x86::{Feature, Msrs, msr};

use crate::vm::{failed, refused};

/// Ranges that KVM answers: first register, how many (8 at most), and whether writes too.
const KEPT: [(u32, u32, bool); 5] = [
    (msr::TSC, 1, false),
    (msr::SYSENTER_CS, 3, true),
    (msr::EFER, 1, true),
    (msr::STAR, 4, true),
    (msr::FS_BASE, 4, true),
];

/// What it answers besides if it has the local APICs. x2APIC registers pass any filter. The last one
/// it would answer whatever CPUID says.
const KEPT_WITH_APICS: [(u32, u32, bool); 3] =
    [(msr::APIC_BASE, 1, true), (msr::TSC_DEADLINE, 1, true), (msr::KVM_PV_EOI, 1, true)];
const X2APIC: (u32, u32, bool) = (0x800, 0x100, true);

/// Whether KVM answers a read, or a write, of register `number`.
pub(crate) fn is_kept(number: u32, write: bool, with_apics: bool) -> bool {
    let more = KEPT_WITH_APICS.iter().chain([&X2APIC]).filter(|_| with_apics);
    KEPT.iter().chain(more).any(|(first, count, writes)| {
        (*first..first + count).contains(&number) && (*writes || !write)
    })
}

/// Has KVM come out at all others. With local APICs there is a model.
pub(crate) fn filter(vm: &VmFd, apics: Option<&CpuModel>) -> Result<(), EngineError> {
    let all = [0xff];
    let range = |&(base, msr_count, writes): &(u32, u32, bool)| {
        let write = if writes { MsrFilterRangeFlags::WRITE } else { MsrFilterRangeFlags::empty() };
        MsrFilterRange { flags: MsrFilterRangeFlags::READ | write, base, msr_count, bitmap: &all }
    };
    let more = KEPT_WITH_APICS.iter().filter(|(number, ..)| {
        apics.is_some_and(|model| *number != msr::KVM_PV_EOI || model.has(Feature::KvmPvEoi))
    });
    let ranges: Vec<_> = KEPT.iter().chain(more).map(range).collect();
    vm.set_msr_filter(MsrFilterDefaultAction::DENY, &ranges)
        .map_err(|e| refused("a filter for MSRs", e))
}

/// What it keeps besides FS.base, GS.base, EFER and the TSC, which have other ways in and out.
fn kept(model: &CpuModel, m: &Msrs) -> Vec<(u32, u64)> {
    let mut list = Vec::new();
    if model.has(Feature::Sep) {
        list.extend([
            (msr::SYSENTER_CS, m.sysenter_cs),
            (msr::SYSENTER_ESP, m.sysenter_esp),
            (msr::SYSENTER_EIP, m.sysenter_eip),
        ]);
    }
    if model.has(Feature::Syscall) {
        list.extend([
            (msr::STAR, m.star),
            (msr::LSTAR, m.lstar),
            (msr::CSTAR, m.cstar),
            (msr::FMASK, m.fmask),
        ]);
    }
    if model.has(Feature::Lm) {
        list.push((msr::KERNEL_GS_BASE, m.kernel_gs_base));
    }
    if model.has(Feature::Rdtscp) || model.has(Feature::Rdpid) {
        list.push((msr::TSC_AUX, m.tsc_aux));
    }
    list
}

fn list(entries: &[(u32, u64)]) -> Result<List, EngineError> {
    let entry = |(index, data): &(u32, u64)| kvm_msr_entry {
        index: *index,
        data: *data,
        ..Default::default()
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    List::from_entries(&entries).map_err(|_| failed("a list of MSRs", libc::E2BIG))
}

/// Gives KVM what it keeps.
pub(crate) fn store(vcpu: &VcpuFd, model: &CpuModel, m: &Msrs) -> Result<(), EngineError> {
    let entries = kept(model, m);
    let done = vcpu.set_msrs(&list(&entries)?).map_err(|e| failed("KVM_SET_MSRS", e.errno()))?;
    match entries.get(done) {
        None => Ok(()),
        Some((number, value)) => {
            Err(EngineError::BadState(format!("KVM refuses MSR {number:#x} = {value:#x}")))
        }
    }
}

/// Takes it back.
pub(crate) fn load(vcpu: &VcpuFd, model: &CpuModel, m: &mut Msrs) -> Result<(), EngineError> {
    let mut wanted = list(&kept(model, m))?;
    vcpu.get_msrs(&mut wanted).map_err(|e| failed("KVM_GET_MSRS", e.errno()))?;
    for entry in wanted.as_slice() {
        let place = match entry.index {
            msr::SYSENTER_CS => &mut m.sysenter_cs,
            msr::SYSENTER_ESP => &mut m.sysenter_esp,
            msr::SYSENTER_EIP => &mut m.sysenter_eip,
            msr::STAR => &mut m.star,
            msr::LSTAR => &mut m.lstar,
            msr::CSTAR => &mut m.cstar,
            msr::FMASK => &mut m.fmask,
            msr::KERNEL_GS_BASE => &mut m.kernel_gs_base,
            msr::TSC_AUX => &mut m.tsc_aux,
            _ => continue,
        };
        *place = entry.data;
    }
    Ok(())
}

/// One register, as it is in KVM now.
pub(crate) fn load_one(vcpu: &VcpuFd, number: u32) -> Result<u64, EngineError> {
    let mut wanted = list(&[(number, 0)])?;
    vcpu.get_msrs(&mut wanted).map_err(|e| failed("KVM_GET_MSRS", e.errno()))?;
    Ok(wanted.as_slice().first().map_or(0, |entry| entry.data))
}

/// Sets one register in KVM.
pub(crate) fn store_one(vcpu: &VcpuFd, number: u32, value: u64) -> Result<(), EngineError> {
    vcpu.set_msrs(&list(&[(number, value)])?)
        .map(drop)
        .map_err(|e| failed("KVM_SET_MSRS", e.errno()))
}
