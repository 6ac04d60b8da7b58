//! The TSC: it counts guest time, which stands while the machine does; the host's does not.
//!
//! So it is set when a vCPU begins to run, unless it is where it should be. It is never set back
//! behind what the guest may have seen.
//!
//! Source: Linux, Documentation/virt/kvm/devices/vcpu.rst, section 4 (KVM_VCPU_TSC_OFFSET).

use kvm_ioctls::VcpuFd;
use trine_engine::{CpuModel, EngineError};
use trine_x86::msr;

use crate::{
    ioctl, msrs,
    vm::{Vm, failed_io, refused},
};

/// What it may differ from guest time before it is set anew, in nanoseconds: guest time and TSC are
/// read one after the other, and the frequency that the host knows of its TSC is not exact.
const TOLERANCE_NS: u64 = 500_000;

/// The TSC of a vCPU.
pub(crate) struct Tsc {
    /// What KVM adds to the host's, if that can be set.
    offset: Option<u64>,
    /// The guest has seen no later one.
    seen: u64,
}

/// `model` with a TSC of the host's frequency, where the CPU cannot scale it.
pub(crate) fn fit(vm: &Vm, model: CpuModel) -> CpuModel {
    if vm.host.scales_tsc {
        return model;
    }
    let other = vm.host.kvm.create_vm();
    match other.and_then(|vm| vm.create_vcpu(0)).and_then(|vcpu| vcpu.get_tsc_khz()) {
        Ok(khz) if u64::from(khz) * 1000 != model.tsc_hz() => {
            let hz = u64::from(khz) * 1000;
            log::info!("this host's CPU cannot scale the TSC: it counts {hz} ticks in a second");
            model.with_tsc_hz(hz)
        }
        _ => model,
    }
}

impl Tsc {
    pub(crate) fn new(vcpu: &VcpuFd, model: &CpuModel) -> Result<Self, EngineError> {
        let khz = u32::try_from(model.tsc_hz() / 1000).unwrap_or(u32::MAX);
        if vcpu.get_tsc_khz().ok() != Some(khz) {
            vcpu.set_tsc_khz(khz).map_err(|e| refused("a TSC of the model's frequency", e))?;
        }
        let mut offset = None;
        if ioctl::has_tsc_offset(vcpu) {
            ioctl::set_tsc_offset(vcpu, 0).map_err(failed_io("setting the TSC"))?;
            offset = Some(0);
        }
        Ok(Self { offset, seen: 0 })
    }

    /// Makes the TSC `wanted` now, which is `exact` after somebody has set it.
    pub(crate) fn align(
        &mut self,
        vcpu: &VcpuFd,
        model: &CpuModel,
        wanted: u64,
        exact: bool,
    ) -> Result<(), EngineError> {
        let now = msrs::load_one(vcpu, msr::TSC)?;
        let tolerance = if exact { 0 } else { model.tsc_ticks(TOLERANCE_NS) };
        if now.abs_diff(wanted) <= tolerance {
            return Ok(());
        }
        let wanted = if exact { wanted } else { wanted.max(self.seen) };
        match &mut self.offset {
            Some(offset) => {
                *offset = offset.wrapping_add(wanted.wrapping_sub(now));
                ioctl::set_tsc_offset(vcpu, *offset).map_err(failed_io("setting the TSC"))
            }
            None => msrs::store_one(vcpu, msr::TSC, wanted),
        }
    }

    /// The vCPU stops at `tsc`: the guest has seen no later one.
    pub(crate) fn stop(&mut self, tsc: u64) {
        self.seen = tsc;
    }
}
