//! What goes in at virtio devices from outside: input of the console, the balloon's target.

use trine_devices::{DeviceType, VirtioBalloon, VirtioConsole, device_type};
use trine_guest::PAGE_SIZE;

use super::{Board, State};
use crate::{ctl::Balloon, pc::Chip};

impl State {
    /// The first device of type `T`, and the chip that it is.
    fn virtio<T: DeviceType>(&mut self) -> Option<(Chip, &mut T)> {
        let is_one = |chip: &Chip| {
            self.chips.device(*chip).is_some_and(|device| device_type::<T>(device).is_some())
        };
        let chip = Chip::cards().find(is_one)?;
        Some((chip, device_type(self.chips.device(chip)?)?))
    }
}

impl Board {
    /// Calls the first device of type `T`, which then sees to what has changed. `None` if there is
    /// none.
    fn with_virtio<T: DeviceType, R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let (chip, result) = self.lock().virtio().map(|(chip, device)| (chip, f(device)))?;
        self.wake_chip(chip);
        Some(result)
    }

    /// Input arrives at the console. False if it has no room for all of it; where there is no console,
    /// it is lost.
    pub(crate) fn console_input(&self, bytes: &[u8]) -> bool {
        let taken = self.with_virtio(|console: &mut VirtioConsole| {
            let has_room = bytes.len() <= console.room(0);
            has_room && console.receive(0, bytes) == bytes.len()
        });
        taken.unwrap_or(true)
    }

    /// The guest is to put so many bytes of its memory into the balloon.
    ///
    /// # Errors
    /// One line that says why it cannot.
    pub(crate) fn set_balloon(&self, bytes: u64) -> Result<(), String> {
        let memory = self.memory.dram();
        if bytes > memory {
            return Err(format!("the guest has {} MiB in all", memory >> 20));
        }
        let pages = u32::try_from(bytes / PAGE_SIZE).unwrap_or(u32::MAX);
        self.with_virtio(|balloon: &mut VirtioBalloon| balloon.set_target(pages))
            .ok_or_else(|| "there is no balloon; start the machine with --balloon".into())
    }

    /// How the balloon is, if there is one.
    pub(crate) fn balloon(&self) -> Option<Balloon> {
        let mut state = self.lock();
        let (_, balloon) = state.virtio::<VirtioBalloon>()?;
        let [target, actual] =
            [balloon.target(), balloon.actual()].map(|pages| u64::from(pages) * PAGE_SIZE);
        Some(Balloon { target, actual })
    }
}
