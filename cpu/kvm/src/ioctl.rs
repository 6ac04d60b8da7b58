//! The few calls of KVM's interface that `kvm-ioctls` does not wrap.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use kvm_bindings::{
    KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, KVMIO, kvm_device_attr, kvm_interrupt, kvm_lapic_state,
    kvm_msr_entry, kvm_sregs2,
};
use kvm_ioctls::VcpuFd;

/// Of asm-generic/ioctl.h.
const NONE: libc::c_ulong = 0;
const WRITE: libc::c_ulong = 1;
const READ: libc::c_ulong = 2;

/// `_IOC(direction, KVMIO, number, sizeof(T))` of asm-generic/ioctl.h.
const fn request<T>(direction: libc::c_ulong, number: u32) -> libc::c_ulong {
    (direction << 30 | (size_of::<T>() as libc::c_ulong) << 16)
        | (KVMIO as libc::c_ulong) << 8
        | number as libc::c_ulong
}

const INTERRUPT: libc::c_ulong = request::<kvm_interrupt>(WRITE, 0x86);
const SET_DEVICE_ATTR: libc::c_ulong = request::<kvm_device_attr>(WRITE, 0xe1);
const HAS_DEVICE_ATTR: libc::c_ulong = request::<kvm_device_attr>(WRITE, 0xe3);
/// KVM_GET_SREGS2 and KVM_SET_SREGS2.
pub(crate) const GET_SREGS2: libc::c_ulong = request::<kvm_sregs2>(READ, 0xcc);
pub(crate) const SET_SREGS2: libc::c_ulong = request::<kvm_sregs2>(WRITE, 0xcd);
pub(crate) const RESET_DIRTY_RINGS: libc::c_ulong = request::<()>(NONE, 0xc7);
const GET_STATS_FD: libc::c_ulong = request::<()>(NONE, 0xce);
const GET_MSRS: libc::c_ulong = request::<kvm_msrs>(READ | WRITE, 0x88);
const SET_MSRS: libc::c_ulong = request::<kvm_msrs>(WRITE, 0x89);
const GET_LAPIC: libc::c_ulong = request::<kvm_lapic_state>(READ, 0x8e);
const SET_LAPIC: libc::c_ulong = request::<kvm_lapic_state>(WRITE, 0x8f);

/// The beginning of `struct kvm_msrs`.
#[repr(C)]
#[derive(Default)]
struct kvm_msrs {
    nmsrs: u32,
    pad: u32,
}

/// `struct kvm_msrs` with so many entries.
#[repr(C)]
struct Msrs<const N: usize> {
    head: kvm_msrs,
    entries: [kvm_msr_entry; N],
}

fn attribute(vcpu: &VcpuFd, request: libc::c_ulong, address: u64) -> io::Result<()> {
    let attribute = kvm_device_attr {
        flags: 0,
        group: KVM_VCPU_TSC_CTRL,
        attr: u64::from(KVM_VCPU_TSC_OFFSET),
        addr: address,
    };
    // SAFETY: the request takes such a structure, and reads 8 bytes at `addr` at most, where the
    // caller has a u64 (or, to ask whether there is the attribute, nothing).
    let result = unsafe { libc::ioctl(vcpu.as_raw_fd(), request as _, &raw const attribute) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the guest's TSC can be given an offset (Linux 5.16).
pub(crate) fn has_tsc_offset(vcpu: &VcpuFd) -> bool {
    attribute(vcpu, HAS_DEVICE_ATTR, 0).is_ok()
}

/// Sets what is added to the host's TSC, scaled, to give the guest's.
pub(crate) fn set_tsc_offset(vcpu: &VcpuFd, offset: u64) -> io::Result<()> {
    attribute(vcpu, SET_DEVICE_ATTR, &raw const offset as u64)
}

/// Has the guest take an interrupt at its next entry.
pub(crate) fn interrupt(vcpu: &VcpuFd, vector: u8) -> io::Result<()> {
    let interrupt = kvm_interrupt { irq: u32::from(vector) };
    // SAFETY: the request takes such a structure and reads it only.
    let result = unsafe { libc::ioctl(vcpu.as_raw_fd(), INTERRUPT as _, &raw const interrupt) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A file with what KVM counts of this vCPU (Linux 5.14).
pub(crate) fn counters(vcpu: &VcpuFd) -> io::Result<File> {
    // SAFETY: the request takes no argument.
    let result = unsafe { libc::ioctl(vcpu.as_raw_fd(), GET_STATS_FD as _) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is a new descriptor, which nobody else has.
    Ok(unsafe { File::from_raw_fd(result) })
}

/// Another handle of a vCPU, for calls from other threads while the vCPU does not run.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    pub(crate) fn new(vcpu: &VcpuFd) -> io::Result<Self> {
        // SAFETY: the descriptor is open as long as `vcpu`.
        let fd = unsafe { BorrowedFd::borrow_raw(vcpu.as_raw_fd()) };
        Ok(Self(fd.try_clone_to_owned()?))
    }

    /// Calls KVM with `argument`.
    ///
    /// # Safety
    /// The request takes such a structure, and stores at most its size.
    unsafe fn call<T>(&self, request: libc::c_ulong, argument: *mut T) -> io::Result<usize> {
        // SAFETY: the caller sees to it.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, argument) };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }

    pub(crate) fn lapic(&self) -> io::Result<[u32; 64]> {
        let mut state = kvm_lapic_state::default();
        // SAFETY: the request fills in such a structure.
        unsafe { self.call(GET_LAPIC, &raw mut state) }?;
        Ok(std::array::from_fn(|n| {
            u32::from_le_bytes(std::array::from_fn(|byte| state.regs[n * 16 + byte] as u8))
        }))
    }

    pub(crate) fn set_lapic(&self, registers: &[u32; 64]) -> io::Result<()> {
        let mut state = kvm_lapic_state::default();
        for (place, register) in state.regs.chunks_exact_mut(16).zip(registers) {
            for (place, byte) in place.iter_mut().zip(register.to_le_bytes()) {
                *place = byte as _;
            }
        }
        // SAFETY: the request reads such a structure.
        unsafe { self.call(SET_LAPIC, &raw mut state) }.map(drop)
    }

    /// The values of these registers.
    pub(crate) fn msrs<const N: usize>(&self, numbers: [u32; N]) -> io::Result<[u64; N]> {
        let mut msrs = msrs(numbers.map(|number| (number, 0)));
        // SAFETY: the request reads and fills in such a structure, whose head says its length.
        let done = unsafe { self.call(GET_MSRS, &raw mut msrs) }?;
        if done < N {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(msrs.entries.map(|e| e.data))
        }
    }

    pub(crate) fn set_msr(&self, number: u32, value: u64) -> io::Result<()> {
        let mut msrs = msrs([(number, value)]);
        // SAFETY: the request reads such a structure, whose head says its length.
        let done = unsafe { self.call(SET_MSRS, &raw mut msrs) }?;
        if done == 0 { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(()) }
    }
}

fn msrs<const N: usize>(entries: [(u32, u64); N]) -> Msrs<N> {
    let head = kvm_msrs { nmsrs: N as u32, pad: 0 };
    let entries = entries.map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() });
    Msrs { head, entries }
}
