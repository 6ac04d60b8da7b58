//! Which pages the guest has stored to: from KVM's log to RAM's marks.
//!
//! KVM writes them down in a ring for each vCPU (`ring`) or, where it has none, in a bitmap. Logging
//! makes KVM take a fault at the first store to each page, so it begins only when somebody asks. What
//! was stored before is not known: the first answer is all pages. Nor is what was stored to a region
//! last before it left the map: all of it counts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kvm_ioctls::VcpuFd;
use trine_engine::EngineError;
use trine_guest::{PAGE_SIZE, Ram, RegionKind};

use crate::{
    ring::{self, Ring},
    slots::Slots,
    vm::{Vm, failed},
};

/// Entries of a ring where KVM offers as many: each vCPU stores to so many pages between two stops
/// to empty it (64 MiB), for 256 KiB of the host's memory.
const ENTRIES: u32 = 1 << 14;

/// How KVM tells which pages a guest has stored to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirtyLog {
    /// Each vCPU has a ring with room for so many pages, a power of two. To ask costs as much as
    /// there are pages that were stored to (Linux 5.11).
    Ring(u32),
    /// There is a bit for each page of RAM, and to ask is to look at all of them.
    Bitmap,
}

impl DirtyLog {
    /// The better one that this host's KVM has.
    pub(crate) fn best(kvm: &kvm_ioctls::Kvm) -> Self {
        ring::most_entries(kvm).map_or(Self::Bitmap, |most| Self::Ring(most.min(ENTRIES)))
    }
}

/// A machine's slots and their log, which is off at first.
#[derive(Default)]
pub(crate) struct Log(Mutex<State>);

#[derive(Default)]
struct State {
    slots: Slots,
    is_on: bool,
    /// Those of all vCPUs that ever were: their entries stay.
    rings: Vec<Ring>,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A ring is whole wherever a holder could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new vCPU's stores are logged too.
pub(crate) fn join(vm: &Vm, vcpu: &VcpuFd) -> Result<(), EngineError> {
    if let DirtyLog::Ring(entries) = vm.host.abilities.dirty_log {
        vm.log.lock().rings.push(Ring::map(vcpu, entries)?);
    }
    Ok(())
}

/// RAM's map has changed: the slots follow. Others may execute, and store to what goes.
pub(crate) fn follow_map(vm: &Vm) -> Result<(), EngineError> {
    let mut state = vm.log.lock();
    let logs = state.is_on;
    if logs && matches!(vm.host.abilities.dirty_log, DirtyLog::Ring(_)) {
        // While the slots that the rings name are there.
        empty(vm, &mut state)?;
    }
    let map = vm.ram.regions();
    for (region, offset) in state.slots.remove_old(vm, &map)? {
        if logs && region.kind == RegionKind::Ram {
            mark_all(&vm.ram, offset, region.len);
        }
    }
    state.slots.add_new(vm, &map, logs)
}

/// Marks the pages that the guest stored to since the last call.
pub(crate) fn collect(vm: &Vm) -> Result<(), EngineError> {
    let mut state = vm.log.lock();
    if !state.is_on {
        state.slots.log(vm)?;
        state.is_on = true;
        mark_all(&vm.ram, 0, vm.ram.len());
        return Ok(());
    }
    match vm.host.abilities.dirty_log {
        DirtyLog::Ring(_) => empty(vm, &mut state),
        DirtyLog::Bitmap => read_bitmaps(vm, &state.slots),
    }
}

/// A ring is nearly full: marks the pages that it names, and makes room.
pub(crate) fn make_room(vm: &Vm) -> Result<(), EngineError> {
    empty(vm, &mut vm.log.lock())
}

/// Empties all rings. Pages are marked once KVM sees stores to them again: whoever takes the marks
/// then and copies the pages misses none, even if vCPUs execute.
fn empty(vm: &Vm, state: &mut State) -> Result<(), EngineError> {
    let mut pages = Vec::new();
    for ring in &mut state.rings {
        ring.harvest(|slot, page| pages.push((slot, page)));
    }
    let done = if pages.is_empty() { Ok(()) } else { ring::reset(&vm.fd) };
    for (slot, page) in pages {
        mark(&vm.ram, &state.slots, slot, page);
    }
    done
}

/// Marks a page of a memory slot. The slot may be gone, and its pages are marked then, or another
/// one in its place, of which a page too many is marked.
fn mark(ram: &Ram, slots: &Slots, slot: u32, page: u64) {
    if let Some((region, offset)) = slots.get(slot)
        && page < region.len / PAGE_SIZE
    {
        ram.mark_dirty(offset + page * PAGE_SIZE, 1);
    }
}

/// Marks all pages of a piece of the arena.
fn mark_all(ram: &Ram, offset: u64, len: u64) {
    for page in (offset..offset + len).step_by(PAGE_SIZE as usize) {
        ram.mark_dirty(page, 1);
    }
}

fn read_bitmaps(vm: &Vm, slots: &Slots) -> Result<(), EngineError> {
    for (slot, (region, _)) in slots.all() {
        if region.kind == RegionKind::Rom {
            continue;
        }
        let log = vm.fd.get_dirty_log(slot, region.len as usize);
        let log = log.map_err(|e| failed("KVM_GET_DIRTY_LOG", e.errno()))?;
        for (n, mut word) in (0_u64..).zip(log) {
            while word != 0 {
                mark(&vm.ram, slots, slot, n * 64 + u64::from(word.trailing_zeros()));
                word &= word - 1;
            }
        }
    }
    Ok(())
}
