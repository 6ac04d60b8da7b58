//! Getting a vCPU out of the guest: a flag in the structure that it shares with KVM, and a signal.
//!
//! The flag makes an entry that has not happened yet return at once, the signal ends one that has.
//! So a kick is never lost, whenever it comes (api.rst, section 5, `immediate_exit`).

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use kvm_ioctls::VcpuFd;
use trine_engine::Wake;

/// A vCPU that may be kicked. It outlives the vCPU.
#[derive(Default)]
pub(crate) struct Bell(Mutex<Target>);

/// What a kick reaches.
#[derive(Default)]
struct Target {
    /// `immediate_exit` of the vCPU's `kvm_run`, while there is the vCPU.
    flag: Option<Flag>,
    /// The thread that executes it, while one does.
    thread: Option<libc::pthread_t>,
}

/// The address of a byte in a mapping that is shared with KVM.
struct Flag(*const AtomicU8);

// SAFETY: the byte is only accessed atomically, and only while the mapping is there: see
// `Bell::detach`.
unsafe impl Send for Flag {}

impl Flag {
    fn store(&self, value: u8) {
        // SAFETY: as above.
        unsafe { (*self.0).store(value, Ordering::SeqCst) };
    }
}

impl Bell {
    /// A bell for the vCPU, which calls [`Bell::detach`] before it goes.
    pub(crate) fn new(vcpu: &mut VcpuFd) -> Self {
        let flag = &raw const vcpu.get_kvm_run().immediate_exit;
        Self(Mutex::new(Target { flag: Some(Flag(flag.cast())), thread: None }))
    }

    /// The vCPU goes away.
    pub(crate) fn detach(&self) {
        *self.lock() = Target::default();
    }

    /// This thread executes the vCPU from now on.
    pub(crate) fn enter(&self) {
        // SAFETY: the call has no conditions.
        self.lock().thread = Some(unsafe { libc::pthread_self() });
    }

    /// It does no longer.
    pub(crate) fn leave(&self) {
        self.lock().thread = None;
    }

    /// Whether the next entry returns at once.
    pub(crate) fn set_immediate(&self, immediate: bool) {
        if let Some(flag) = &self.lock().flag {
            flag.store(u8::from(immediate));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Target> {
        // A target is whole wherever a holder could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(&self) {
        let target = self.lock();
        if let Some(flag) = &target.flag {
            flag.store(1);
        }
        if let Some(thread) = target.thread {
            // SAFETY: the thread is in `KvmVcpu::run`, which takes this lock before it returns.
            unsafe { libc::pthread_kill(thread, signal()) };
        }
    }
}

/// The signal that ends KVM_RUN; nothing else happens on it.
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 3
}

/// Gives the signal a handler, since without one it would end the process.
pub(crate) fn install_handler() -> std::io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all zeros are such a structure; the handler does nothing, so it may run anywhere.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(signal(), &raw const action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
