//! The far end of a cable, for tests of controllers: what is sent can be looked at, what is to come
//! is brought.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use trine_guest::VmTime;

use super::{Frame, Link, Offload, Offloads};

/// What is at the far end, and on its way.
#[derive(Default)]
pub(crate) struct Cable {
    pub(crate) is_down: bool,
    pub(crate) takes: Offloads,
    pub(crate) sent: Vec<(Vec<u8>, Offload)>,
    pub(crate) coming: VecDeque<Frame>,
    /// What the guest was said to take.
    pub(crate) asked: Option<Offloads>,
}

/// The end. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct End(Arc<Mutex<Cable>>);

impl End {
    pub(crate) fn cable(&self) -> MutexGuard<'_, Cable> {
        self.0.lock().expect("no test panicked in here")
    }

    /// A frame comes.
    pub(crate) fn bring(&self, bytes: &[u8], offload: Offload) {
        self.cable().coming.push_back(Frame { bytes: bytes.to_vec(), offload });
    }

    /// What was sent since the last call.
    pub(crate) fn sent(&self) -> Vec<(Vec<u8>, Offload)> {
        std::mem::take(&mut self.cable().sent)
    }
}

impl Link for End {
    fn is_up(&self) -> bool {
        !self.cable().is_down
    }
    fn takes(&self) -> Offloads {
        self.cable().takes
    }
    fn send(&mut self, _now: VmTime, frame: &[u8], offload: Offload) {
        self.cable().sent.push((frame.to_vec(), offload));
    }
    fn next_frame(&self) -> Option<VmTime> {
        (!self.cable().coming.is_empty()).then_some(VmTime::ZERO)
    }
    fn receive(&mut self, _now: VmTime, takes: Offloads) -> Option<Frame> {
        let mut cable = self.cable();
        cable.asked = Some(takes);
        cable.coming.pop_front()
    }
}
