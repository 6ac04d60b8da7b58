//! Which pages the guest has stored to: from KVM's log to RAM's marks.
//!
//! Logging makes KVM take a fault at the first store to each page, so it begins only when somebody
//! asks. What was stored before is not known: the first answer is all pages.

use std::sync::PoisonError;

use trine_engine::EngineError;
use trine_guest::{PAGE_SIZE, RegionKind};

use crate::vm::{Vm, failed};

/// Marks the pages that the guest stored to since the last call.
pub(crate) fn collect(vm: &Vm) -> Result<(), EngineError> {
    let mut logs = vm.logs.lock().unwrap_or_else(PoisonError::into_inner);
    if !*logs {
        vm.set_slots(true)?;
        *logs = true;
        for page in (0..vm.ram.len()).step_by(PAGE_SIZE as usize) {
            vm.ram.mark_dirty(page, 1);
        }
        return Ok(());
    }
    for (slot, (region, offset)) in (0..).zip(vm.ram.regions()) {
        if region.kind == RegionKind::Rom {
            continue;
        }
        let log = vm.fd.get_dirty_log(slot, region.len as usize);
        let log = log.map_err(|e| failed("KVM_GET_DIRTY_LOG", e.errno()))?;
        for (n, mut word) in (0_u64..).zip(log) {
            while word != 0 {
                let page = n * 64 + u64::from(word.trailing_zeros());
                vm.ram.mark_dirty(offset + page * PAGE_SIZE, 1);
                word &= word - 1;
            }
        }
    }
    Ok(())
}
