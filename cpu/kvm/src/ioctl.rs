//! The few calls of KVM's interface that `kvm-ioctls` does not wrap.

use std::{io, os::fd::AsRawFd};

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, KVMIO, kvm_device_attr, kvm_interrupt};
use kvm_ioctls::VcpuFd;

/// `_IOW(KVMIO, number, T)` of asm-generic/ioctl.h.
const fn write_request<T>(number: u32) -> libc::c_ulong {
    (1 << 30 | (size_of::<T>() as libc::c_ulong) << 16)
        | (KVMIO as libc::c_ulong) << 8
        | number as libc::c_ulong
}

const INTERRUPT: libc::c_ulong = write_request::<kvm_interrupt>(0x86);
const SET_DEVICE_ATTR: libc::c_ulong = write_request::<kvm_device_attr>(0xe1);
const HAS_DEVICE_ATTR: libc::c_ulong = write_request::<kvm_device_attr>(0xe3);

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
