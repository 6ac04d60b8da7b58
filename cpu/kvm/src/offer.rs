//! What this host's KVM offers, for somebody who asks.

use kvm_bindings::KVM_CAP_BINARY_STATS_FD;
use kvm_ioctls::Cap;
use trine_engine::CpuModel;
use trine_x86::Feature;

use crate::{apics, cpuid, dirty::DirtyLog, host, sregs};

/// What KVM offers, whether that is enough or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The version of its interface; Trine speaks 12.
    pub version: i32,
    /// What Trine cannot do without, and whether it is there.
    pub needed: Vec<(&'static str, bool)>,
    /// What Trine uses where it is there.
    pub useful: Vec<(&'static str, bool)>,
    /// How many vCPUs a machine can have.
    pub cpus_max: usize,
    /// Features of the CPU model `max` that a guest does not get.
    pub cut: Vec<&'static str>,
}

impl Offer {
    /// Looks at this host.
    ///
    /// # Errors
    /// If there is no KVM that can be asked; with the reason.
    pub fn of_this_host() -> Result<Self, String> {
        let kvm = host::open()?;
        let supported = host::supported_cpuid(&kvm)?;
        let model = CpuModel::named("max").map_err(|e| e.to_string())?;
        let (_, cut) = model.cut(|feature| cpuid::offers(&supported, feature));
        let has = |caps: &[Cap]| caps.iter().all(|cap| kvm.check_extension(*cap));
        Ok(Self {
            version: kvm.get_api_version(),
            needed: host::NEEDED.iter().map(|(cap, name)| (*name, has(&[*cap]))).collect(),
            useful: vec![
                ("local APICs in the kernel", has(&apics::NEEDED)),
                ("a TSC of any frequency", has(&[Cap::TscControl])),
                ("rings of dirty pages", matches!(DirtyLog::best(&kvm), DirtyLog::Ring(_))),
                ("page-directory pointers", sregs::has_pdptes(&kvm, &supported)),
                ("counters", kvm.check_extension_raw(KVM_CAP_BINARY_STATS_FD.into()) > 0),
            ],
            cpus_max: kvm.get_max_vcpus(),
            cut: cut.into_iter().map(Feature::name).collect(),
        })
    }
}
