//! What a viewer's person does with the keyboard and the mouse.
//!
//! A viewer says characters (keysyms), a keyboard says keys: where a character needs Shift on a US
//! layout and it is not held, or is held and must not be, the typist presses or releases it around the
//! key. A viewer points at places, a PS/2 mouse moves: the way from place to place is what the guest
//! gets, unless the viewer knows how to say movements (QEMU's pointer motion change).

use std::sync::Arc;

use trine_devices::Key;

use super::keysym;
use crate::seat::{Seat, Typist};

/// Where a viewer that says movements is when it does not move.
const CENTER: i32 = 0x7fff;
/// Keys that a viewer can hold.
const HELD_MAX: usize = 32;
/// The light of Caps Lock.
const CAPS_LOCK: u8 = 1 << 2;

/// What a viewer calls a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sign {
    /// By what it types.
    Keysym(u32),
    /// By where it is.
    Keycode(u32),
}

/// A viewer's hands. When they are dropped, they let go of everything.
pub(super) struct Hands {
    seat: Arc<dyn Seat>,
    typist: Arc<Typist>,
    held: Vec<(Sign, Key)>,
    place: Option<(u16, u16)>,
    /// The viewer's buttons.
    buttons: u8,
}

impl Hands {
    pub(super) fn new(seat: Arc<dyn Seat>, typist: Arc<Typist>) -> Self {
        Self { seat, typist, held: Vec::new(), place: None, buttons: 0 }
    }

    /// A key goes down or up.
    pub(super) fn key(&mut self, sign: Sign, goes_down: bool) {
        let at = self.held.iter().position(|(held, _)| *held == sign);
        match (at, goes_down) {
            (Some(at), false) => {
                let (_, key) = self.held.remove(at);
                self.typist.press(key, false);
            }
            (None, true) if self.held.len() < HELD_MAX => self.press(sign),
            // It repeats, which the guest's keyboard does by itself, or was never pressed.
            _ => {}
        }
    }

    fn press(&mut self, sign: Sign) {
        let known = match sign {
            Sign::Keysym(keysym) => keysym::key(keysym),
            Sign::Keycode(keycode) => keysym::numbered(keycode).map(|key| (key, None)),
        };
        let Some((key, is_shifted)) = known else {
            return log::debug!("a viewer's {sign:x?} is on no key");
        };
        let around = is_shifted.map_or(Vec::new(), |is_shifted| self.shifts(sign, is_shifted));
        for (shift, goes_down) in &around {
            self.typist.press(*shift, *goes_down);
        }
        if self.typist.press(key, true) {
            self.held.push((sign, key));
        }
        for (shift, goes_down) in around.iter().rev() {
            self.typist.press(*shift, !goes_down);
        }
    }

    /// What has to happen to Shift before a key that types a character goes down.
    fn shifts(&self, sign: Sign, is_shifted: bool) -> Vec<(Key, bool)> {
        // Where Caps Lock is on, Shift does the opposite to letters.
        let is_letter = matches!(sign, Sign::Keysym(0x41..=0x5a | 0x61..=0x7a));
        let is_turned = is_letter && self.seat.leds() & CAPS_LOCK != 0;
        let shifts = self.held.iter().map(|(_, key)| *key);
        let held: Vec<Key> =
            shifts.filter(|key| matches!(key, Key::ShiftLeft | Key::ShiftRight)).collect();
        match (is_shifted != is_turned, held.is_empty()) {
            (true, true) => vec![(Key::ShiftLeft, true)],
            (false, false) => held.into_iter().map(|key| (key, false)).collect(),
            _ => Vec::new(),
        }
    }

    /// The pointer is at a place, or, if the viewer says movements, has moved.
    pub(super) fn point(&mut self, (x, y): (u16, u16), buttons: u8, is_movement: bool) {
        let (right, down) = match self.place {
            _ if is_movement => (i32::from(x) - CENTER, i32::from(y) - CENTER),
            Some((old_x, old_y)) => {
                (i32::from(x) - i32::from(old_x), i32::from(y) - i32::from(old_y))
            }
            None => (0, 0),
        };
        self.place = (!is_movement).then_some((x, y));
        // The wheel is two buttons, each pressed for a notch.
        let pressed = buttons & !self.buttons;
        let wheel = i32::from(pressed >> 4 & 1) - i32::from(pressed >> 3 & 1);
        self.buttons = buttons;
        self.seat.point(right, down, wheel, mouse_buttons(buttons));
    }
}

/// The mouse's buttons (left, right, middle, fourth) for a viewer's (left, middle, right, the wheel's
/// four, back).
fn mouse_buttons(buttons: u8) -> u8 {
    buttons & 1 | (buttons >> 2 & 1) << 1 | (buttons >> 1 & 1) << 2 | (buttons >> 7) << 3
}

impl Drop for Hands {
    fn drop(&mut self) {
        for (_, key) in self.held.drain(..) {
            self.typist.press(key, false);
        }
        if mouse_buttons(self.buttons) != 0 {
            self.seat.point(0, 0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seat::fake::FakeSeat;

    const SHIFT: Sign = Sign::Keysym(0xffe1);

    fn sign(character: char) -> Sign {
        Sign::Keysym(character.into())
    }

    /// What the guest's keyboard gets if a viewer does `f`.
    fn strokes(leds: u8, f: impl FnOnce(&mut Hands)) -> Vec<(Key, bool)> {
        let seat = FakeSeat::new(8, 8);
        seat.light(leds);
        let typist = Arc::new(Typist::new(seat.clone()).expect("a thread"));
        let mut hands = Hands::new(seat.clone(), typist.clone());
        f(&mut hands);
        drop(hands);
        typist.type_strokes(&[(Key::Pause, true)]).expect("it is taken");
        let mut strokes = seat.strokes();
        assert_eq!(strokes.pop(), Some((Key::Pause, true)));
        strokes
    }

    #[test]
    fn a_us_viewer_is_passed_on() {
        let got = strokes(0, |hands| {
            for (sign, goes_down) in
                [(sign('a'), true), (SHIFT, true), (sign('B'), true), (sign('B'), true)]
            {
                hands.key(sign, goes_down);
            }
            hands.key(sign('a'), false);
            hands.key(Sign::Keysym(0xffff_0000), true);
            hands.key(sign('z'), false);
        });
        let want = [
            (Key::A, true),
            (Key::ShiftLeft, true),
            (Key::B, true),
            (Key::A, false),
            // It leaves with these held.
            (Key::ShiftLeft, false),
            (Key::B, false),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn shift_is_as_a_us_layout_needs_it() {
        // A German viewer's Shift-7 is a slash.
        let got = strokes(0, |hands| {
            hands.key(SHIFT, true);
            hands.key(sign('/'), true);
        });
        let (shift, slash) = (Key::ShiftLeft, Key::Slash);
        let want = [(shift, true), (shift, false), (slash, true), (shift, true)];
        assert_eq!(got[..4], want);
        // AltGr-Q there is an at sign.
        let got = strokes(0, |hands| hands.key(sign('@'), true));
        let want = [(shift, true), (Key::Digit2, true), (shift, false), (Key::Digit2, false)];
        assert_eq!(got, want);
        // Caps Lock is on, here and there.
        let got = strokes(CAPS_LOCK, |hands| hands.key(sign('A'), true));
        assert_eq!(got, [(Key::A, true), (Key::A, false)]);
        let got = strokes(CAPS_LOCK, |hands| hands.key(sign('a'), true));
        assert_eq!(got[..3], [(shift, true), (Key::A, true), (shift, false)]);
    }

    #[test]
    fn places_become_movements() {
        let seat = FakeSeat::new(8, 8);
        let typist = Arc::new(Typist::new(seat.clone()).expect("a thread"));
        let mut hands = Hands::new(seat.clone(), typist);
        hands.point((100, 50), 0, false);
        hands.point((90, 65), 0b001, false);
        hands.point((90, 65), 0b110, false);
        // The wheel goes up, up, down.
        for buttons in [0x08, 0, 0x08, 0, 0x10, 0] {
            hands.point((90, 65), buttons, false);
        }
        hands.point((0x7fff + 3, 0x7fff - 4), 0x80, true);
        hands.point((0x7fff, 0x7fff), 0x80, true);
        // Back to places: from where, nobody knows.
        hands.point((5, 5), 0x80, false);
        drop(hands);
        let mut want = vec![(0, 0, 0, 0), (-10, 15, 0, 1), (0, 0, 0, 0b110)];
        want.extend([(0, 0, -1, 0), (0, 0, 0, 0), (0, 0, -1, 0), (0, 0, 0, 0)]);
        want.extend([(0, 0, 1, 0), (0, 0, 0, 0)]);
        want.extend([(3, -4, 0, 8), (0, 0, 0, 8), (0, 0, 0, 8), (0, 0, 0, 0)]);
        assert_eq!(seat.motions(), want);
    }
}
