//! The board's local APICs, lent to an engine's host.

use std::sync::Arc;

use trine_devices::ApicImage;
use trine_engine::{Access, ApicState, BoardApics, EngineError, Give, HostApics, Take};

use super::{Board, Chip};

fn given(image: ApicImage) -> ApicState {
    let ApicImage { base, registers, tsc_deadline, deadline_at, pv_eoi } = image;
    ApicState { base, registers, tsc_deadline, deadline_at, pv_eoi }
}

fn taken(state: ApicState) -> ApicImage {
    let ApicState { base, registers, tsc_deadline, deadline_at, pv_eoi } = state;
    ApicImage { base, registers, tsc_deadline, deadline_at, pv_eoi }
}

impl BoardApics for Board {
    fn lend(&self, host: Arc<dyn HostApics>, give: &mut Give<'_>) -> Result<(), EngineError> {
        self.with(self.clock.now(), 0, |state, cx| {
            state.touch(Chip::LocalApics);
            let images = state.chips.apics_mut().lend(cx);
            let states: Vec<_> = images.iter().cloned().map(given).collect();
            let result = give(&states);
            match result {
                Ok(()) => state.host_apics = Some(host),
                Err(_) => state.chips.apics_mut().take_back(cx, &images),
            }
            result
        })
    }

    fn take_back(&self, take: &mut Take<'_>) -> Result<(), EngineError> {
        self.with(self.clock.now(), 0, |state, cx| {
            state.touch(Chip::LocalApics);
            let images: Vec<_> = take(cx.now)?.into_iter().map(taken).collect();
            state.chips.apics_mut().take_back(cx, &images);
            state.host_apics = None;
            Ok(())
        })
    }

    fn end_of_interrupt(&self, by: Access, vector: u8) {
        self.access(by, |state, cx| {
            state.touch(Chip::IoApic);
            state.chips.ioapic_mut().end_of_interrupt(cx, vector);
        });
    }
}
