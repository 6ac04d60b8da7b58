//! CPUID: the model as a table for KVM, and what of the model this host can offer.

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};
use trine_engine::{CpuModel, EngineError};
use trine_x86::Feature;

use crate::{host::Host, vm::failed};

/// Leaves that have subleaves, and how many of them.
const SUBLEAVES: [(u32, u32); 4] = [(4, 5), (7, 2), (0xb, 3), (0xd, 64)];
/// The first leaf of a hypervisor, and how many of those may be in use.
const HYPERVISOR: std::ops::RangeInclusive<u32> = 0x4000_0000..=0x4000_0001;
const EXTENDED: std::ops::RangeInclusive<u32> = 0x8000_0000..=0x8000_0008;
/// Leaf 0Dh, subleaf of PKRU.
const PKRU: u32 = 9;

/// One leaf of what KVM supports (`by`): EAX, EBX, ECX, EDX.
fn supported(by: &CpuId, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
    let entry = by.as_slice().iter().find(|e| e.function == leaf && e.index == subleaf)?;
    Some([entry.eax, entry.ebx, entry.ecx, entry.edx])
}

/// `model` without what KVM does not offer here.
pub(crate) fn fit(host: &Host, model: CpuModel) -> CpuModel {
    let (model, gone) = model.cut(|feature| offers(&host.supported, feature));
    if !gone.is_empty() {
        let names: Vec<&str> = gone.into_iter().map(Feature::name).collect();
        log::warn!("this host's KVM does not offer {}: the CPU is without", names.join(", "));
    }
    let bits = supported(&host.supported, 0x8000_0008, 0).map_or(36, |leaf| leaf[0] & 0xff);
    if model.physical_bits() > bits {
        log::warn!("physical addresses have {bits} bits on this host");
    }
    model.with_physical_bits_of(bits)
}

/// Whether a guest can have `feature` where KVM supports `by`.
pub(crate) fn offers(by: &CpuId, feature: Feature) -> bool {
    match feature {
        // Matters of the board, of registers that the interpreter keeps, or of the clock.
        Feature::Apic
        | Feature::X2apic
        | Feature::TscDeadline
        | Feature::TscAdjust
        | Feature::Arat
        | Feature::Hypervisor
        | Feature::InvariantTsc
        | Feature::Mtrr
        | Feature::Mca
        | Feature::Mce
        | Feature::Kvmclock
        | Feature::KvmStealTime
        | Feature::KvmPvEoi => true,
        // KVM would have to tell when it is done.
        Feature::Monitor => false,
        // Its place in the save area is the host's.
        Feature::Pku if xsave_offset(by, PKRU) != Some(2688) => false,
        feature => {
            let (leaf, subleaf, register, bit) = feature.place();
            supported(by, leaf, subleaf).is_some_and(|leaf| leaf[register] >> bit & 1 != 0)
        }
    }
}

/// Where this host's XSAVE puts a component.
fn xsave_offset(by: &CpuId, component: u32) -> Option<usize> {
    supported(by, 0xd, component).filter(|leaf| leaf[0] != 0).map(|leaf| leaf[1] as usize)
}

/// What CPUID answers on vCPU `id`. KVM itself puts in what control registers show.
pub(crate) fn table(model: &CpuModel, id: u32) -> Result<CpuId, EngineError> {
    let mut entries = Vec::new();
    for leaf in (0..=model.max_leaf()).chain(HYPERVISOR).chain(EXTENDED) {
        let subleaves = SUBLEAVES.iter().find(|row| row.0 == leaf).map(|row| row.1);
        for subleaf in 0..subleaves.unwrap_or(1) {
            let [eax, ebx, ecx, edx] = model.cpuid(leaf, subleaf, id);
            if subleaf > 0 && [eax, ebx, ecx, edx] == [0; 4] {
                continue;
            }
            let flags = subleaves.map_or(0, |_| KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
            entries.push(kvm_cpuid_entry2 {
                function: leaf,
                index: subleaf,
                flags,
                eax,
                ebx,
                ecx,
                edx,
                ..Default::default()
            });
        }
    }
    CpuId::from_entries(&entries).map_err(|_| failed("a table for CPUID", libc::E2BIG))
}
