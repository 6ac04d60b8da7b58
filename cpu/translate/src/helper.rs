//! What translated code calls: functions of the host's C calling convention.
//!
//! They get the vCPU's [`Core`] as the pointer with which the code was entered. While the code runs
//! nobody else has a reference to it.

use std::{
    ptr::with_exposed_provenance,
    sync::atomic::{AtomicBool, Ordering},
};

use trine_guest::CodeNear;
use trine_x86::{Core, Intent, Pure, Width, rflags, slot};

use crate::{
    code::{ColdCall, Reason},
    evaluate,
    flags::settle,
    ir::Op,
    simd::Usable,
};

/// Declares functions in the calling convention of code and of what it calls.
macro_rules! host_functions {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)? $body:block)*) => {
        $(
            #[cfg(target_arch = "x86_64")]
            $(#[$doc])*
            pub(crate) unsafe extern "sysv64" fn $name($($arg: $ty),*) $(-> $out)? $body
            #[cfg(not(target_arch = "x86_64"))]
            $(#[$doc])*
            pub(crate) unsafe extern "C" fn $name($($arg: $ty),*) $(-> $out)? $body
        )*
    };
}

pub(crate) use host_functions;

/// The words of [`trine_x86::Translated::spill`] with up to three values for [`evaluate()`], ...
pub(crate) const ARGUMENT_SPILLS: u8 = 22;
/// ... with the offset in RAM that its [`Op::Open`] found, ...
pub(crate) const OPENED_SPILL: u8 = 25;
/// ... and with whether it stopped.
pub(crate) const STOPPED_SPILL: u8 = 26;

/// In the access word of [`fill`], beside the bytes: a write.
pub(crate) const WRITE: u32 = 1 << 16;
/// The same: it only reads now, and a write may follow. So the page does not become dirty.
#[cfg(target_arch = "x86_64")]
pub(crate) const WRITE_LATER: u32 = 3 << 16;

host_functions! {
    /// Gets the TLB an entry for an access of so many bytes at `lin`, and makes sure that a store may
    /// go there; code then goes on as if it had found the entry's tag right, once. 0: the
    /// interpreter has to do it, because it would fault, is not plain RAM, or changes code.
    ///
    /// # Safety
    /// `core` is what the code was entered with.
    fn fill(core: *mut Core, lin: u64, access: u32) -> u32 {
        // SAFETY: by contract, and the code that called does not touch it meanwhile.
        let core = unsafe { &mut *core };
        u32::from(try_fill(core, lin, access))
    }

    /// Executes a cold instruction. Returns the [`Reason`] to leave, with RIP and the count of
    /// instructions as they are then, or -1 to go on.
    ///
    /// # Safety
    /// As for [`fill`]; `call` is one of the region that is running.
    fn cold(core: *mut Core, call: *const ColdCall) -> i32 {
        // SAFETY: by contract; the cache keeps calls as long as code that refers to them.
        let (core, call) = unsafe { (&mut *core, &*call) };
        call_cold(core, call).map_or(-1, |reason| reason as i32)
    }

    /// Computes the flags into [`Core::flags`]; returns them as in RFLAGS.
    ///
    /// # Safety
    /// As for [`fill`].
    fn image(core: *mut Core) -> u64 {
        // SAFETY: by contract.
        let core = unsafe { &mut *core };
        settle(core);
        core.flags.bits()
    }

    /// Sets the flags after an addition (or, `subtract`, a subtraction) with carry in. The operands
    /// are in the last words of [`trine_x86::Translated::spill`].
    ///
    /// # Safety
    /// As for [`fill`].
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only the backend for x86-64 calls it")
    )]
    fn carry_flags(core: *mut Core, w: u64, subtract: u64) {
        // SAFETY: by contract.
        let core = unsafe { &mut *core };
        let w = width(w);
        let [.., a, b, r] = core.translated.spill;
        let (a, b, r) = (a & w.mask(), b & w.mask(), r & w.mask());
        if subtract != 0 { core.flags.sub(w, a, b, r) } else { core.flags.add(w, a, b, r) }
        (core.translated.flags_kind, core.translated.flags_count) = (0, 0);
    }

    /// Sets flags by mask.
    ///
    /// # Safety
    /// As for [`fill`].
    fn masked_flags(core: *mut Core, mask: u64, bits: u64) {
        // SAFETY: by contract.
        let core = unsafe { &mut *core };
        settle(core);
        core.flags.set_masked(mask, bits);
    }

    /// Does an operation for which a backend makes no code, of values in the words from
    /// [`ARGUMENT_SPILLS`] on. Returns its value; in the word [`STOPPED_SPILL`] is then whether it
    /// stops the instruction.
    ///
    /// # Safety
    /// As for [`fill`]; `op` is one of the region that is running.
    fn evaluate(core: *mut Core, op: *const Op) -> u64 {
        // SAFETY: by contract; the cache keeps operations as long as code that refers to them.
        let (core, op) = unsafe { (&mut *core, &*op) };
        let from = usize::from(ARGUMENT_SPILLS);
        let arguments = std::array::from_fn(|n| core.translated.spill[from + n]);
        let made = evaluate::evaluate(core, op, arguments);
        core.translated.spill[usize::from(STOPPED_SPILL)] = u64::from(made.is_none());
        made.unwrap_or(0)
    }

    /// A pure function.
    ///
    /// # Safety
    /// `f` is a [`Pure`].
    fn pure(f: usize, a: u64, b: u64) -> u64 {
        // SAFETY: by contract: the number was made from such a pointer.
        let f = unsafe { std::mem::transmute::<usize, Pure>(f) };
        f(a, b)
    }
}

/// Executes a cold instruction. Returns why to leave, if so.
pub(crate) fn call_cold(core: &mut Core, call: &ColdCall) -> Option<Reason> {
    settle(core);
    let left = i64::from(core.translated.left) + i64::from(call.back);
    core.retired = core.translated.end.wrapping_add_signed(-left);
    let origin = core.regs[usize::from(slot::ORIGIN)];
    let at = |ip| origin.wrapping_add(ip);
    core.regs[usize::from(slot::BLOCK_IP)] = at(call.block_ip);
    core.rip = at(call.next);
    core.leave_block = false;
    let state = |core: &Core| (core.class, Usable::of(core), core.system_flags & rflags::DF);
    let before = state(core);
    if let Some(tally) = &mut core.tally {
        tally.at = Some(at(call.ip));
    }
    let done = (call.run)(core, &call.insn);
    if let Some(tally) = &mut core.tally {
        tally.at = None;
    }
    if done.is_err() {
        core.rip = at(call.ip);
        return Some(Reason::Faulted);
    }
    // STAC, CLAC, LDMXCSR and STD change what the code was made for.
    let leaves = core.leave_block || state(core) != before;
    if !call.ends && !leaves {
        return None;
    }
    core.retired += 1;
    if !call.ends {
        core.rip = at(call.next);
    }
    Some(Reason::Ended)
}

fn width(number: u64) -> Width {
    [Width::W8, Width::W16, Width::W32, Width::W64][(number & 3) as usize]
}

/// Makes an access possible, as [`fill`] does; false if it is not.
pub(crate) fn try_fill(core: &mut Core, lin: u64, access: u32) -> bool {
    let (bytes, write) = (u64::from(access & 0xffff), access & WRITE != 0);
    if (lin ^ lin.wrapping_add(bytes - 1)) & !0xfff != 0 {
        return false;
    }
    let class = core.class;
    if write && core.tlb.entry(class, lin).may_write(lin) {
        return may_store(core, lin, bytes);
    }
    let intent = if access >> 16 == WRITE >> 16 { Intent::Write } else { Intent::Read };
    let long = core.long_mode();
    if long && !trine_x86::is_canonical(lin, core.linear_bits()) {
        return false;
    }
    // If this fails the interpreter walks again, and devices should see that once.
    core.skips_far_tables = true;
    let walked = core.translate(class, lin, intent);
    core.skips_far_tables = false;
    if walked.is_err() {
        core.raised = None;
        return false;
    }
    if !write {
        return core.readable(class, lin, bytes).is_some();
    }
    core.tlb.entry(class, lin).may_write(lin) && may_store(core, lin, bytes)
}

/// Whether code may store so many bytes at `lin`, which the TLB lets it write, without a look at
/// marks. The page may be clean: stores will not say so any more, so it is dirty from now on.
fn may_store(core: &mut Core, lin: u64, bytes: u64) -> bool {
    let at = core.tlb.entry(core.class, lin).offset(lin);
    let mut code = core.ram.mark_dirty(at, bytes);
    // Who decodes marks, then asks whether somebody may be about to store: so the flag comes before
    // the look that counts.
    if code == CodeNear::Beside && is_new_beside(core) {
        code = core.ram.mark_dirty(at, bytes);
    }
    if code == CodeNear::Nowhere {
        core.tlb.set_quiet(core.class, lin);
    }
    code != CodeNear::Here
}

/// Says that this vCPU may store beside code, until it comes out; true if that was not yet said.
fn is_new_beside(core: &Core) -> bool {
    let address = core.translated.beside as usize;
    // SAFETY: the address of a flag that belongs to the vCPU's translator, which lives as long as
    // the core does and shares it by atomic accesses only.
    let flag = unsafe { &*with_exposed_provenance::<AtomicBool>(address) };
    !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::SeqCst)
}
