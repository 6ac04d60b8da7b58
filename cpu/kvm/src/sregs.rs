//! System registers, with the page-directory pointers that a CPU holds while it pages with PAE.
//!
//! A CPU loads those four with CR3 and holds them, whatever becomes of the table in memory. KVM shows
//! and takes them (KVM_GET_SREGS2, Linux 5.14); where it does not, they are read where KVM itself
//! reads them. With nested pages AMD's CPUs hold none, but read the table as they do any other: what
//! is in memory is right then.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst: KVM_GET_SREGS, KVM_GET_SREGS2; SDM vol. 3A, section
//! 4.4.1; AMD APM vol. 2, section 15.25.10.

use std::os::fd::AsRawFd;

use kvm_bindings::{CpuId, KVM_CAP_SREGS2, KVM_SREGS2_FLAGS_PDPTRS_VALID, kvm_sregs, kvm_sregs2};
use kvm_ioctls::VcpuFd;
use trine_engine::EngineError;
use trine_guest::{Gpa, Ram};
use trine_x86::{cr0, cr4, efer};

use crate::{
    ioctl,
    vm::{Vm, failed},
};

/// [`kvm_sregs2::flags`]: `pdptrs` is valid.
pub(crate) const HAS_PDPTES: u64 = KVM_SREGS2_FLAGS_PDPTRS_VALID as u64;

/// Whether there are page-directory pointers that KVM shows and takes.
pub(crate) fn has_pdptes(kvm: &kvm_ioctls::Kvm, supported: &CpuId) -> bool {
    // CPUID Fn8000_000A EDX: AMD's nested paging, which KVM offers if it uses it itself.
    let nested = supported.as_slice().iter().any(|e| e.function == 0x8000_000a && e.edx & 1 != 0);
    kvm.check_extension_raw(KVM_CAP_SREGS2.into()) > 0 && !nested
}

/// Whether page-directory pointers are in use.
pub(crate) fn is_pae(sregs: &kvm_sregs2) -> bool {
    sregs.cr0 & cr0::PG != 0 && sregs.cr4 & cr4::PAE != 0 && sregs.efer & efer::LMA == 0
}

/// What KVM has. Page-directory pointers are valid if they are in use.
pub(crate) fn load(vcpu: &VcpuFd, vm: &Vm) -> Result<kvm_sregs2, EngineError> {
    if vm.host.abilities.pdptes {
        let mut sregs = kvm_sregs2::default();
        // SAFETY: the request fills in such a structure.
        let result =
            unsafe { libc::ioctl(vcpu.as_raw_fd(), ioctl::GET_SREGS2 as _, &raw mut sregs) };
        return match result {
            0 => Ok(sregs),
            _ => Err(failed("KVM_GET_SREGS2", kvm_ioctls::Error::last().errno())),
        };
    }
    let sregs = vcpu.get_sregs().map_err(|e| failed("KVM_GET_SREGS", e.errno()))?;
    let mut sregs = with_room(&sregs);
    if is_pae(&sregs) {
        sregs.pdptrs = table(&vm.ram, sregs.cr3);
        sregs.flags = HAS_PDPTES;
    }
    Ok(sregs)
}

/// Gives them to KVM.
pub(crate) fn store(vcpu: &VcpuFd, vm: &Vm, sregs: &kvm_sregs2) -> Result<(), EngineError> {
    if vm.host.abilities.pdptes {
        // SAFETY: the request reads such a structure.
        let result = unsafe { libc::ioctl(vcpu.as_raw_fd(), ioctl::SET_SREGS2 as _, sregs) };
        return match result {
            0 => Ok(()),
            _ => Err(failed("KVM_SET_SREGS2", kvm_ioctls::Error::last().errno())),
        };
    }
    vcpu.set_sregs(&without(sregs)).map_err(|e| failed("KVM_SET_SREGS", e.errno()))
}

/// The page-directory pointers in memory.
fn table(ram: &Ram, cr3: u64) -> [u64; 4] {
    let mut bytes = [0; 32];
    // Where there is no memory, KVM has found none either.
    let _ = ram.read(Gpa(cr3 & 0xffff_ffe0), &mut bytes);
    let (entries, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|n| u64::from_le_bytes(entries[n]))
}

/// The two structures are alike up to here.
macro_rules! alike {
    ($from:expr, $to:ident { $($more:tt)* }) => {
        $to {
            cs: $from.cs,
            ds: $from.ds,
            es: $from.es,
            fs: $from.fs,
            gs: $from.gs,
            ss: $from.ss,
            tr: $from.tr,
            ldt: $from.ldt,
            gdt: $from.gdt,
            idt: $from.idt,
            cr0: $from.cr0,
            cr2: $from.cr2,
            cr3: $from.cr3,
            cr4: $from.cr4,
            cr8: $from.cr8,
            efer: $from.efer,
            apic_base: $from.apic_base,
            $($more)*
        }
    };
}

fn with_room(sregs: &kvm_sregs) -> kvm_sregs2 {
    alike!(sregs, kvm_sregs2 { flags: 0, pdptrs: [0; 4] })
}

fn without(sregs: &kvm_sregs2) -> kvm_sregs {
    alike!(sregs, kvm_sregs { interrupt_bitmap: [0; 4] })
}
