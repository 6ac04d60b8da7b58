//! What people do at the board: they look at its screen, type, move its mouse, press its button, and
//! change what is in its drives.

use std::sync::{Arc, Weak};

use trine_devices::{Disk, Display, Key};
use trine_guest::VmTime;

use super::Board;
use crate::{pc::Chip, seat::Seat};

impl Board {
    /// Somebody presses the power button.
    pub(crate) fn press_power_button(&self) {
        self.with(self.clock.now(), 0, |state, cx| {
            state.touch(Chip::Pm);
            if let Some(acpi) = state.chips.acpi_mut() {
                acpi.press_power_button(cx);
            }
        });
    }

    /// Somebody presses a key or releases it. False if the keyboard has no room for it now.
    pub fn key(&self, key: Key, goes_down: bool) -> bool {
        self.with(self.clock.now(), 0, |state, cx| {
            state.touch(Chip::Keyboard);
            // Where there is no keyboard, keys are lost.
            state.chips.pc_mut().is_none_or(|pc| pc.keyboard.key(cx, key, goes_down))
        })
    }

    /// Somebody moves the mouse or its wheel, or presses its buttons: see [`I8042::point`].
    ///
    /// [`I8042::point`]: trine_devices::I8042::point
    pub fn point(&self, right: i32, down: i32, wheel: i32, buttons: u8) {
        self.with(self.clock.now(), 0, |state, cx| {
            state.touch(Chip::Keyboard);
            if let Some(pc) = state.chips.pc_mut() {
                pc.keyboard.point(cx, right, down, wheel, buttons);
            }
        });
    }

    /// Looks at the screen, now.
    pub fn look<R>(&self, f: impl FnOnce(&mut dyn Display, VmTime) -> R) -> Option<R> {
        let mut state = self.lock();
        let now = state.last.max(self.clock.now());
        Some(f(state.chips.device(Chip::Vga)?.as_display()?, now))
    }

    /// Drive `bay` of `chip` gets `medium` in the place of what is in it. Returns what is outside
    /// then, which is dropped best when nobody waits: a disk finishes what it was asked.
    pub(crate) fn change_medium(
        &self,
        chip: Chip,
        bay: usize,
        medium: Option<Box<dyn Disk>>,
    ) -> Option<Box<dyn Disk>> {
        self.with(self.clock.now(), 0, |state, cx| {
            state.touch(chip);
            match state.chips.device(chip).and_then(|device| device.as_bays()) {
                Some(bays) => bays.change_medium(cx, bay, medium),
                None => medium,
            }
        })
    }
}

/// Who sits there does not keep the board: once it is gone, the screen is dark and keys do nothing.
impl Seat for Weak<Board> {
    fn look(&self, f: &mut dyn FnMut(&mut dyn Display, VmTime)) -> bool {
        self.upgrade().is_some_and(|board| board.look(f).is_some())
    }

    /// While the machine stands, nothing about it changes.
    fn key(&self, key: Key, goes_down: bool) -> bool {
        let takes = |board: Arc<Board>| !board.control.is_standing() && board.key(key, goes_down);
        self.upgrade().is_none_or(takes)
    }

    fn point(&self, right: i32, down: i32, wheel: i32, buttons: u8) {
        if let Some(board) = self.upgrade().filter(|board| !board.control.is_standing()) {
            board.point(right, down, wheel, buttons);
        }
    }

    fn leds(&self) -> u8 {
        let leds = |board: Arc<Board>| Some(board.lock().chips.pc()?.keyboard.leds());
        self.upgrade().and_then(leds).unwrap_or(0)
    }

    fn now(&self) -> VmTime {
        self.upgrade().map_or(VmTime::ZERO, |board| board.clock.now())
    }
}
