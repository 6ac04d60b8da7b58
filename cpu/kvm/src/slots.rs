//! KVM's memory slots: RAM's map, as KVM knows it.
//!
//! A slot is a region of the map, and keeps its number as long as the region stays as it is. KVM
//! changes slots while vCPUs execute; who meets a gap in between comes out.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION.

use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_userspace_memory_region};
use trine_engine::EngineError;
use trine_guest::{Region, RegionKind};

use crate::vm::{Vm, refused};

/// A region, and where it is in RAM's arena.
pub(crate) type Slot = (Region, u64);

/// The slots, by number.
#[derive(Default)]
pub(crate) struct Slots(Vec<Option<Slot>>);

impl Slots {
    /// The slot of this number.
    pub(crate) fn get(&self, number: u32) -> Option<Slot> {
        *self.0.get(number as usize)?
    }

    /// All of them, with their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, Slot)> {
        (0..).zip(&self.0).filter_map(|(number, slot)| Some((number, (*slot)?)))
    }

    /// Takes away the slots that the map no longer has; returns them.
    pub(crate) fn remove_old(&mut self, vm: &Vm, map: &[Slot]) -> Result<Vec<Slot>, EngineError> {
        let mut gone = Vec::new();
        for (number, place) in (0..).zip(&mut self.0) {
            if let Some((region, offset)) = place.filter(|slot| !map.contains(slot)) {
                set(vm, number, &(Region { len: 0, ..region }, offset), false)?;
                *place = None;
                gone.push((region, offset));
            }
        }
        Ok(gone)
    }

    /// Adds those that the map has besides; `log`: with a log of dirty pages.
    pub(crate) fn add_new(&mut self, vm: &Vm, map: &[Slot], log: bool) -> Result<(), EngineError> {
        for slot in map {
            if self.0.contains(&Some(*slot)) {
                continue;
            }
            let free = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
            set(vm, free as u32, slot, log)?;
            match self.0.get_mut(free) {
                Some(place) => *place = Some(*slot),
                None => self.0.push(Some(*slot)),
            }
        }
        Ok(())
    }

    /// From now on dirty pages are logged.
    pub(crate) fn log(&self, vm: &Vm) -> Result<(), EngineError> {
        self.all().try_for_each(|(number, slot)| set(vm, number, &slot, true))
    }
}

/// Tells KVM of a slot; one of no bytes is taken away.
fn set(vm: &Vm, number: u32, (region, offset): &Slot, log: bool) -> Result<(), EngineError> {
    let rom = if region.kind == RegionKind::Rom { KVM_MEM_READONLY } else { 0 };
    let log = if log { KVM_MEM_LOG_DIRTY_PAGES } else { 0 };
    let memory = kvm_userspace_memory_region {
        slot: number,
        flags: rom | log,
        guest_phys_addr: region.start.0,
        memory_size: region.len,
        userspace_addr: vm.ram.host_address() as u64 + offset,
    };
    // SAFETY: the region lies in RAM's arena, which `vm.ram` keeps as long as the virtual machine;
    // all others access it as memory that anybody may change.
    unsafe { vm.fd.set_user_memory_region(memory) }.map_err(|e| refused("a memory slot", e))
}
