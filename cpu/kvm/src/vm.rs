//! A machine in KVM: its memory slots, and what all its vCPUs share.

use std::{
    io,
    sync::{Arc, OnceLock, Weak},
};

use kvm_bindings::{
    KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER, KVM_MSR_EXIT_REASON_INVAL,
    KVM_MSR_EXIT_REASON_UNKNOWN, kvm_enable_cap,
};
use kvm_ioctls::VmFd;
use trine_engine::{BoardApics, Bus, CpuModel, Engine, EngineError, Limits, Vcpu};
use trine_guest::{MapWatcher, Ram};

use crate::{
    NAME,
    apics::{self, Apics},
    cpuid,
    dirty::{self, DirtyLog},
    host::{Abilities, Host},
    kick, msrs, ring, tsc,
    vcpu::KvmVcpu,
};

/// Where Intel's CPUs want three pages for a task state segment in real mode, and KVM an identity
/// page table: below the ROM, where the board has neither memory nor devices.
const TSS_ADDRESS: usize = 0xfeff_d000;
const IDENTITY_MAP: u64 = 0xfeff_c000;

/// The engine.
pub struct Kvm {
    pub(crate) vm: Arc<Vm>,
}

/// What all vCPUs share.
pub(crate) struct Vm {
    pub(crate) fd: VmFd,
    pub(crate) host: Host,
    pub(crate) ram: Arc<Ram>,
    /// The memory slots, and the pages that guests store to.
    pub(crate) log: dirty::Log,
    /// The local APICs, if they go to the kernel.
    pub(crate) apics: OnceLock<Apics>,
}

/// The host refuses at the outset.
pub(crate) fn refused(what: &'static str, error: kvm_ioctls::Error) -> EngineError {
    EngineError::Refused { engine: NAME, what, error: io::Error::from_raw_os_error(error.errno()) }
}

/// The host fails later.
pub(crate) fn failed(what: &'static str, errno: i32) -> EngineError {
    EngineError::Failed { engine: NAME, what, error: io::Error::from_raw_os_error(errno) }
}

/// The same for a call that tells of its failure as the standard library does.
pub(crate) fn failed_io(what: &'static str) -> impl Fn(io::Error) -> EngineError {
    move |e| failed(what, e.raw_os_error().unwrap_or(libc::EINVAL))
}

/// Enables an ability of a virtual machine, with one argument; `what` it is for.
pub(crate) fn enable(
    fd: &VmFd,
    cap: u32,
    argument: u64,
    what: &'static str,
) -> Result<(), EngineError> {
    let mut cap = kvm_enable_cap { cap, ..Default::default() };
    cap.args[0] = argument;
    fd.enable_cap(&cap).map_err(|e| refused(what, e))
}

impl Kvm {
    /// An engine for the guest in `ram`.
    ///
    /// # Errors
    /// If the host has no KVM that will do, or refuses something.
    pub fn new(ram: Arc<Ram>) -> Result<Self, EngineError> {
        Self::limited(ram, |_| ())
    }

    /// The same, with fewer of the host's abilities, as on an older one: `limit` takes them away.
    ///
    /// # Errors
    /// As [`Kvm::new`]; or KVM does not have what `limit` puts in place of one.
    pub fn limited(ram: Arc<Ram>, limit: impl FnOnce(&mut Abilities)) -> Result<Self, EngineError> {
        let mut host =
            Host::open().map_err(|reason| EngineError::Unavailable { engine: NAME, reason })?;
        limit(&mut host.abilities);
        Self::on(host, ram)
    }

    /// An engine on a host that was looked at.
    pub(crate) fn on(host: Host, ram: Arc<Ram>) -> Result<Self, EngineError> {
        kick::install_handler().map_err(|error| EngineError::Refused {
            engine: NAME,
            what: "a signal handler",
            error,
        })?;
        let fd = host.kvm.create_vm().map_err(|e| refused("a virtual machine", e))?;
        let exits =
            KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN;
        enable(&fd, KVM_CAP_X86_USER_SPACE_MSR, u64::from(exits), "exits for MSRs")?;
        msrs::filter(&fd, None)?;
        // Only Intel's CPUs want them, and only some.
        if let Err(e) = fd.set_identity_map_address(IDENTITY_MAP) {
            log::debug!("no identity map address: {e}");
        }
        if let Err(e) = fd.set_tss_address(TSS_ADDRESS) {
            log::debug!("no TSS address: {e}");
        }
        if let DirtyLog::Ring(entries) = host.abilities.dirty_log {
            ring::enable(&host.kvm, &fd, entries)?;
        }
        let vm = Vm { fd, host, ram, log: dirty::Log::default(), apics: OnceLock::new() };
        let vm = Arc::new(vm);
        let watcher = Arc::downgrade(&vm);
        vm.ram.watch_map(watcher as Weak<dyn MapWatcher>);
        dirty::follow_map(&vm)?;
        Ok(Self { vm })
    }

    pub(crate) fn create(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<KvmVcpu, EngineError> {
        if self.vm.apics.get().is_some() {
            msrs::filter(&self.vm.fd, Some(model))?;
        }
        KvmVcpu::new(self.vm.clone(), id, model, bus)
    }
}

impl MapWatcher for Vm {
    fn map_changed(&self) {
        // Where a slot is missing the guest comes out, and is served by the map.
        if let Err(e) = dirty::follow_map(self) {
            log::error!("the guest's memory has changed and KVM does not follow: {e}");
        }
    }
}

impl Engine for Kvm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> Limits {
        Limits { counts_instructions: false, deterministic: false }
    }

    fn fit(&self, model: CpuModel) -> CpuModel {
        tsc::fit(&self.vm, cpuid::fit(&self.vm.host, model))
    }

    fn borrow_apics(&self, board: Arc<dyn BoardApics>) -> Result<bool, EngineError> {
        let Some(apics) = apics::set_up(&self.vm.fd, board)? else { return Ok(false) };
        Ok(self.vm.apics.set(apics).is_ok())
    }

    fn collect_dirty(&self) -> Result<(), EngineError> {
        dirty::collect(&self.vm)
    }

    fn create_vcpu(
        &self,
        id: u32,
        model: &CpuModel,
        bus: Arc<dyn Bus>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        if self.fit(model.clone()) != *model {
            let reason = "the CPU model has what this host's KVM does not offer (take it away as in \
                 --cpu max,-name, or begin the run with --engine kvm)";
            return Err(EngineError::Unavailable { engine: NAME, reason: reason.to_owned() });
        }
        Ok(Box::new(self.create(id, model, bus)?))
    }
}
