//! Which key a viewer means. Most of it is tables.
//!
//! Sources: RFC 6143, section 7.5.4, and X11's keysymdef.h for keysyms; the key numbers of QEMU's
//! extended key event are scan codes of set 1, those after an E0h with 80h added.

use trine_devices::Key;

/// The key for `keysym` on a US layout, and, of one that types a character, whether with Shift.
pub(super) fn key(keysym: u32) -> Option<(Key, Option<bool>)> {
    if let Some(key) = function_key(keysym) {
        return Some((key, None));
    }
    // Latin-1 is as it is, and Unicode is above it; nothing else types anything.
    let code = match keysym {
        0x20..=0xff => keysym,
        0x0100_0100..=0x0110_ffff => keysym - 0x0100_0000,
        _ => return None,
    };
    let (key, is_shifted) = Key::typing(char::from_u32(code)?)?;
    Some((key, Some(is_shifted)))
}

/// The keys that type no character, or are not among those that do.
fn function_key(keysym: u32) -> Option<Key> {
    Some(match keysym {
        0xff08 => Key::Backspace,
        0xff09 | 0xfe20 => Key::Tab,
        0xff0a | 0xff0d => Key::Enter,
        0xff13 | 0xff6b => Key::Pause,
        0xff14 => Key::ScrollLock,
        0xff15 | 0xff61 => Key::PrintScreen,
        0xff1b => Key::Escape,
        0xff50 => Key::Home,
        0xff51 => Key::ArrowLeft,
        0xff52 => Key::ArrowUp,
        0xff53 => Key::ArrowRight,
        0xff54 => Key::ArrowDown,
        0xff55 => Key::PageUp,
        0xff56 => Key::PageDown,
        0xff57 => Key::End,
        0xff63 => Key::Insert,
        0xff67 => Key::Menu,
        0xff7f => Key::NumLock,
        0xff80 => Key::Space,
        0xff89 => Key::Tab,
        0xff8d => Key::KeypadEnter,
        0xff95 | 0xffb7 => Key::Keypad7,
        0xff96 | 0xffb4 => Key::Keypad4,
        0xff97 | 0xffb8 => Key::Keypad8,
        0xff98 | 0xffb6 => Key::Keypad6,
        0xff99 | 0xffb2 => Key::Keypad2,
        0xff9a | 0xffb9 => Key::Keypad9,
        0xff9b | 0xffb3 => Key::Keypad3,
        0xff9c | 0xffb1 => Key::Keypad1,
        0xff9d | 0xffb5 => Key::Keypad5,
        0xff9e | 0xffb0 => Key::Keypad0,
        0xff9f | 0xffac | 0xffae => Key::KeypadDecimal,
        0xffaa => Key::KeypadMultiply,
        0xffab => Key::KeypadAdd,
        0xffad => Key::KeypadSubtract,
        0xffaf => Key::KeypadDivide,
        0xffbe..=0xffc9 => F_KEYS[(keysym - 0xffbe) as usize],
        0xffe1 => Key::ShiftLeft,
        0xffe2 => Key::ShiftRight,
        0xffe3 => Key::ControlLeft,
        0xffe4 => Key::ControlRight,
        0xffe5 => Key::CapsLock,
        // Where Alt is a Meta as well, viewers send either.
        0xffe7 | 0xffe9 => Key::AltLeft,
        0xffe8 | 0xffea | 0xfe03 => Key::AltRight,
        0xffeb => Key::MetaLeft,
        0xffec => Key::MetaRight,
        0xffff => Key::Delete,
        _ => return None,
    })
}

const F_KEYS: [Key; 12] = [
    Key::F1,
    Key::F2,
    Key::F3,
    Key::F4,
    Key::F5,
    Key::F6,
    Key::F7,
    Key::F8,
    Key::F9,
    Key::F10,
    Key::F11,
    Key::F12,
];

/// Scan codes of set 1 in their order, from 01h (Escape) on.
const PLAIN: [Key; 0x53] = {
    use Key::*;
    [
        Escape,
        Digit1,
        Digit2,
        Digit3,
        Digit4,
        Digit5,
        Digit6,
        Digit7,
        Digit8,
        Digit9,
        Digit0,
        Minus,
        Equal,
        Backspace,
        Tab,
        Q,
        W,
        E,
        R,
        T,
        Y,
        U,
        I,
        O,
        P,
        BracketLeft,
        BracketRight,
        Enter,
        ControlLeft,
        A,
        S,
        D,
        F,
        G,
        H,
        J,
        K,
        L,
        Semicolon,
        Quote,
        Backquote,
        ShiftLeft,
        Backslash,
        Z,
        X,
        C,
        V,
        B,
        N,
        M,
        Comma,
        Period,
        Slash,
        ShiftRight,
        KeypadMultiply,
        AltLeft,
        Space,
        CapsLock,
        F1,
        F2,
        F3,
        F4,
        F5,
        F6,
        F7,
        F8,
        F9,
        F10,
        NumLock,
        ScrollLock,
        Keypad7,
        Keypad8,
        Keypad9,
        KeypadSubtract,
        Keypad4,
        Keypad5,
        Keypad6,
        KeypadAdd,
        Keypad1,
        Keypad2,
        Keypad3,
        Keypad0,
        KeypadDecimal,
    ]
};

/// The key with this number in QEMU's extended key event.
pub(super) fn numbered(keycode: u32) -> Option<Key> {
    Some(match keycode {
        0x01..=0x53 => PLAIN[keycode as usize - 1],
        0x54 | 0xb7 => Key::PrintScreen,
        0x56 => Key::Intl102,
        0x57 => Key::F11,
        0x58 => Key::F12,
        0x9c => Key::KeypadEnter,
        0x9d => Key::ControlRight,
        0xb5 => Key::KeypadDivide,
        0xb8 => Key::AltRight,
        0xc6 => Key::Pause,
        0xc7 => Key::Home,
        0xc8 => Key::ArrowUp,
        0xc9 => Key::PageUp,
        0xcb => Key::ArrowLeft,
        0xcd => Key::ArrowRight,
        0xcf => Key::End,
        0xd0 => Key::ArrowDown,
        0xd1 => Key::PageDown,
        0xd2 => Key::Insert,
        0xd3 => Key::Delete,
        0xdb => Key::MetaLeft,
        0xdc => Key::MetaRight,
        0xdd => Key::Menu,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trine_devices::{Backplane, Bench, I8042, Line};

    use super::*;

    #[test]
    fn every_key_has_a_keysym_and_every_character_its_key() {
        let mut keys: BTreeSet<Key> = (0xfe00..=0xffff).filter_map(|n| Some(key(n)?.0)).collect();
        for character in ' '..='~' {
            let (key, is_shifted) = key(character.into()).expect("a US keyboard types it");
            assert_eq!(Key::typing(character), Some((key, is_shifted.expect("a character's"))));
            keys.insert(key);
        }
        // The key beside left Shift types what others do on a US layout.
        let missing: Vec<_> = Key::ALL.iter().filter(|key| !keys.contains(key)).collect();
        assert_eq!(missing, [&Key::Intl102]);
        assert_eq!(key('é'.into()), None);
        assert_eq!(key(0x0100_20ac), None);
        assert_eq!(key(0x0100_0041), None, "Latin-1 has no second form");
        assert_eq!((key(0), key(u32::MAX), key(0x0011_0000)), (None, None, None));
    }

    /// What the keyboard controller says in set 1 when `key` goes down.
    fn scan_codes(key: Key) -> Vec<u8> {
        let mut bench = Bench::new();
        let line = Line::unconnected;
        let mut chip = I8042::new(line(), line(), line(), Backplane::default());
        assert!(bench.with(|cx| chip.key(cx, key, true)));
        let mut codes = Vec::new();
        for _ in 0..32 {
            bench.run_ns(&mut chip, 1_000_000);
            let [status] = bench.port_in(&mut chip, I8042::STATUS_COMMAND);
            if status & 1 != 0 {
                codes.extend(bench.port_in::<1>(&mut chip, I8042::DATA));
            }
        }
        codes
    }

    #[test]
    fn key_numbers_are_scan_codes_of_set_1() {
        let mut numbered_keys = BTreeSet::new();
        for keycode in 0..0x200 {
            let Some(key) = numbered(keycode) else { continue };
            numbered_keys.insert(key);
            // These two have codes and numbers of their own kind.
            if matches!(key, Key::PrintScreen | Key::Pause) {
                continue;
            }
            let code = keycode as u8 & 0x7f;
            let want = if keycode & 0x80 != 0 { vec![0xe0, code] } else { vec![code] };
            assert_eq!(scan_codes(key), want, "{key:?}");
        }
        assert_eq!(numbered_keys.len(), Key::ALL.len());
    }
}
