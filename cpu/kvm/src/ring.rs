//! A vCPU's dirty ring: the list in which KVM writes down each page that the vCPU stores to.
//!
//! It is shared with the kernel. KVM fills in entries one after the other and marks them dirty; who
//! reads them marks them to be reset, and KVM_RESET_DIRTY_RINGS makes them free again and lets the
//! next store to their pages be seen. Where a ring is nearly full, KVM_RUN returns instead of entering
//! the guest, so no entry is lost.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst: section 8.29 (KVM_CAP_DIRTY_LOG_RING), and
//! KVM_RESET_DIRTY_RINGS.

use std::{
    os::fd::AsRawFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use kvm_bindings::{
    KVM_CAP_DIRTY_LOG_RING, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_DIRTY_LOG_PAGE_OFFSET,
    kvm_dirty_gfn,
};
use kvm_ioctls::{VcpuFd, VmFd};
use trine_engine::EngineError;
use trine_guest::PAGE_SIZE;

use crate::{
    ioctl,
    vm::{self, failed, refused},
};

/// Flags of an entry (KVM_DIRTY_GFN_F_DIRTY, KVM_DIRTY_GFN_F_RESET): KVM has filled it in; it was read.
const DIRTY: u32 = 1 << 0;
const RESET: u32 = 1 << 1;

/// The ability, and how many entries a ring may have. The two differ in what they promise of the
/// order of memory accesses, which is none on a CPU that keeps stores in order, as x86-64's do.
fn offered(kvm: &kvm_ioctls::Kvm) -> Option<(u32, u32)> {
    [KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING].into_iter().find_map(|cap| {
        let bytes = u32::try_from(kvm.check_extension_raw(cap.into())).ok()?;
        let entries = bytes / size_of::<kvm_dirty_gfn>() as u32;
        (entries != 0).then_some((cap, entries))
    })
}

/// How many entries a ring may have on this host; `None` if it has no rings.
pub(crate) fn most_entries(kvm: &kvm_ioctls::Kvm) -> Option<u32> {
    offered(kvm).map(|(_, entries)| entries)
}

/// Gives each vCPU that is created from now on a ring of `entries`, a power of two.
pub(crate) fn enable(kvm: &kvm_ioctls::Kvm, vm: &VmFd, entries: u32) -> Result<(), EngineError> {
    const WHAT: &str = "dirty rings";
    let none = || refused(WHAT, kvm_ioctls::Error::new(libc::ENOTSUP));
    let (cap, _) = offered(kvm).ok_or_else(none)?;
    vm::enable(vm, cap, Ring::bytes(entries) as u64, WHAT)
}

/// All entries that were harvested are free again, and the next store to each of their pages makes a
/// new one.
pub(crate) fn reset(vm: &VmFd) -> Result<(), EngineError> {
    // SAFETY: the request takes no argument.
    match unsafe { libc::ioctl(vm.as_raw_fd(), ioctl::RESET_DIRTY_RINGS as _, 0) } {
        -1 => Err(failed("KVM_RESET_DIRTY_RINGS", kvm_ioctls::Error::last().errno())),
        _ => Ok(()),
    }
}

/// The ring of a vCPU. It may outlive the vCPU's file, as the vCPU itself does.
pub(crate) struct Ring {
    start: NonNull<kvm_dirty_gfn>,
    entries: u32,
    /// The entry that KVM fills in next, as far as is known; counts on past the end.
    next: u32,
}

// SAFETY: the mapping belongs to the value alone, and is accessed through it only.
unsafe impl Send for Ring {}

impl Ring {
    /// The ring of `vcpu`, which was created in a machine with rings of `entries`.
    pub(crate) fn map(vcpu: &VcpuFd, entries: u32) -> Result<Self, EngineError> {
        let offset = u64::from(KVM_DIRTY_LOG_PAGE_OFFSET) * PAGE_SIZE;
        // SAFETY: a new mapping touches no other.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                Self::bytes(entries),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        match NonNull::new(start.cast()) {
            Some(mapped) if start != libc::MAP_FAILED => {
                Ok(Self { start: mapped, entries, next: 0 })
            }
            _ => Err(refused("a dirty ring", kvm_ioctls::Error::last())),
        }
    }

    fn bytes(entries: u32) -> usize {
        entries as usize * size_of::<kvm_dirty_gfn>()
    }

    /// Calls `each` with the slot and the page in it, of all stores since the last call. The entries
    /// stay taken until [`reset`]. The vCPU may execute meanwhile.
    pub(crate) fn harvest(&mut self, mut each: impl FnMut(u32, u64)) {
        for _ in 0..self.entries {
            let index = self.next % self.entries;
            // SAFETY: the index is below the number of entries in the mapping.
            let entry = unsafe { self.start.add(index as usize) }.as_ptr();
            // SAFETY: the entry is in the mapping, aligned, and its flags are accessed atomically only,
            // here and in the kernel.
            let flags = unsafe { AtomicU32::from_ptr(&raw mut (*entry).flags) };
            if flags.load(Ordering::Acquire) & DIRTY == 0 {
                return;
            }
            // SAFETY: in the mapping; KVM does not change an entry between DIRTY and its reset.
            let (slot, offset) = unsafe { ((*entry).slot, (*entry).offset) };
            each(slot, offset);
            flags.store(RESET, Ordering::Release);
            self.next = self.next.wrapping_add(1);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), Self::bytes(self.entries)) };
    }
}
