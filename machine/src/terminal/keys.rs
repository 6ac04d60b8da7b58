//! What somebody types at a terminal, as keys of a PC's keyboard.
//!
//! A terminal says characters, and sequences of them for keys that have none; it never says that a key
//! is released, so each becomes a chord that is pressed and released. Sources: ECMA-48, section 5.4;
//! xterm's control sequences ("PC-Style Function Keys"); console_codes(4) for Linux's console.

use trine_devices::Key;

/// The longest sequence that is a key's.
const SEQUENCE_MAX: usize = 16;
const ESCAPE: u8 = 0x1b;

/// What the bytes at the start of some input are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Typed {
    /// A chord, which took so many bytes. It is empty if they mean nothing.
    Chord(usize, Vec<Key>),
    /// The beginning of something longer.
    Part,
}

/// The first key in `input`. If no more bytes follow (`is_all`), an escape is the key, not the start
/// of a sequence.
pub(super) fn first(input: &[u8], is_all: bool) -> Typed {
    match input {
        [] => Typed::Part,
        [ESCAPE] if is_all => Typed::Chord(1, vec![Key::Escape]),
        [ESCAPE] => Typed::Part,
        [ESCAPE, b'[' | b'O', ..] => sequence(input, is_all),
        [ESCAPE, rest @ ..] => match character(rest, is_all) {
            Typed::Chord(len, keys) if !keys.is_empty() => {
                Typed::Chord(len + 1, [vec![Key::AltLeft], keys].concat())
            }
            Typed::Chord(len, keys) => Typed::Chord(len + 1, keys),
            Typed::Part => Typed::Part,
        },
        _ => character(input, is_all),
    }
}

/// A character, with Control for those that are control codes.
fn character(input: &[u8], is_all: bool) -> Typed {
    let Some(&first) = input.first() else { return Typed::Part };
    let chord = match first {
        b'\r' | b'\n' => vec![Key::Enter],
        b'\t' => vec![Key::Tab],
        0x7f | 0x08 => vec![Key::Backspace],
        ESCAPE => vec![Key::Escape],
        0x00 => vec![Key::ControlLeft, Key::Space],
        // The letters, and [ \ ] ^ _ behind them; the last two with Shift.
        0x01..=0x1f => typing((first | 0x40).to_ascii_lowercase().into(), &[Key::ControlLeft]),
        0x20..=0x7e => typing(char::from(first), &[]),
        // UTF-8: no key of a US keyboard types any of it.
        0x80.. => {
            let len = match first {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0.. => 4,
                _ => 1,
            };
            let is_part = input.len() < len && !is_all;
            return if is_part { Typed::Part } else { Typed::Chord(len.min(input.len()), vec![]) };
        }
    };
    Typed::Chord(1, chord)
}

/// The keys that type `character` while others are held.
fn typing(character: char, held: &[Key]) -> Vec<Key> {
    let Some((key, is_shifted)) = Key::typing(character) else { return Vec::new() };
    let shift: &[Key] = if is_shifted { &[Key::ShiftLeft] } else { &[] };
    [held, shift, &[key]].concat()
}

/// `ESC [` or `ESC O`, numbers between semicolons, and what ends it.
fn sequence(input: &[u8], is_all: bool) -> Typed {
    // Linux's console has a second bracket for its first five function keys.
    let body = if input.starts_with(b"\x1b[[") { 3 } else { 2 };
    let end = input.iter().skip(body).position(|byte| (0x40..=0x7e).contains(byte));
    let Some(end) = end.map(|end| end + body).filter(|end| *end < SEQUENCE_MAX) else {
        let is_part = !is_all && input.len() < SEQUENCE_MAX;
        return if is_part { Typed::Part } else { unfinished(input) };
    };
    let text = String::from_utf8_lossy(&input[body..end]);
    let mut numbers = text.split(';').map(|number| number.parse::<u8>().unwrap_or(0));
    let (number, modifiers) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let key = match (body, input[end]) {
        (3, last) => function_key(last.wrapping_sub(b'A').wrapping_add(11)),
        (_, b'~') => numbered(number),
        (_, b'Z') => return Typed::Chord(end + 1, vec![Key::ShiftLeft, Key::Tab]),
        (_, last) => lettered(last),
    };
    let held = [Key::ShiftLeft, Key::AltLeft, Key::ControlLeft].into_iter().enumerate();
    let held = held.filter(|(bit, _)| modifiers.saturating_sub(1) >> bit & 1 != 0);
    let chord = key.map(|key| held.map(|(_, key)| key).chain([key]).collect());
    Typed::Chord(end + 1, chord.unwrap_or_default())
}

/// What looked like a sequence and is none: Alt and the second character.
fn unfinished(input: &[u8]) -> Typed {
    let second = input.get(1).copied().unwrap_or(b'[');
    Typed::Chord(2.min(input.len()), typing(second.into(), &[Key::AltLeft]))
}

fn lettered(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::ArrowUp,
        b'B' => Key::ArrowDown,
        b'C' => Key::ArrowRight,
        b'D' => Key::ArrowLeft,
        b'E' => Key::Keypad5,
        b'F' => Key::End,
        b'H' => Key::Home,
        b'M' => Key::KeypadEnter,
        b'P' => Key::F1,
        b'Q' => Key::F2,
        b'R' => Key::F3,
        b'S' => Key::F4,
        _ => return None,
    })
}

fn numbered(number: u8) -> Option<Key> {
    Some(match number {
        1 | 7 => Key::Home,
        2 => Key::Insert,
        3 => Key::Delete,
        4 | 8 => Key::End,
        5 => Key::PageUp,
        6 => Key::PageDown,
        29 => Key::Menu,
        _ => return function_key(number),
    })
}

/// VT220's numbers of the function keys, which have gaps.
fn function_key(number: u8) -> Option<Key> {
    Some(match number {
        11 => Key::F1,
        12 => Key::F2,
        13 => Key::F3,
        14 => Key::F4,
        15 => Key::F5,
        17 => Key::F6,
        18 => Key::F7,
        19 => Key::F8,
        20 => Key::F9,
        21 => Key::F10,
        23 => Key::F11,
        24 => Key::F12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All chords of some input, by their keys' names in Rust.
    fn chords(mut input: &[u8]) -> String {
        let mut chords = Vec::new();
        while !input.is_empty() {
            match first(input, true) {
                Typed::Chord(len, keys) => {
                    let names: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
                    chords.push(names.join("-"));
                    input = &input[len..];
                }
                Typed::Part => panic!("that was all: {input:?}"),
            }
        }
        chords.join(" ")
    }

    #[test]
    fn characters_are_keys() {
        assert_eq!(chords(b"aZ1!"), "A ShiftLeft-Z Digit1 ShiftLeft-Digit1");
        assert_eq!(chords(b"\r\n\t\x7f\x08\x1b"), "Enter Enter Tab Backspace Backspace Escape");
        assert_eq!(chords(b"\x03\x1c\0"), "ControlLeft-C ControlLeft-Backslash ControlLeft-Space");
        assert_eq!(chords(b"\x1e\x1f").split(' ').count(), 2);
        assert_eq!(chords(b"\x1bx\x1b\x18"), "AltLeft-X AltLeft-ControlLeft-X");
        assert_eq!(chords("é€😀a".as_bytes()), "   A");
    }

    #[test]
    fn sequences_are_keys() {
        assert_eq!(chords(b"\x1b[A\x1bOB\x1b[C\x1b[D"), "ArrowUp ArrowDown ArrowRight ArrowLeft");
        assert_eq!(chords(b"\x1b[H\x1b[F\x1b[1~\x1b[4~\x1bOH"), "Home End Home End Home");
        assert_eq!(chords(b"\x1b[2~\x1b[3~\x1b[5~\x1b[6~"), "Insert Delete PageUp PageDown");
        assert_eq!(chords(b"\x1bOP\x1b[11~\x1b[[A\x1b[[E\x1b[15~"), "F1 F1 F1 F5 F5");
        assert_eq!(chords(b"\x1b[17~\x1b[21~\x1b[23~\x1b[24~"), "F6 F10 F11 F12");
        assert_eq!(chords(b"\x1b[1;5A\x1b[3;4~"), "ControlLeft-ArrowUp ShiftLeft-AltLeft-Delete");
        assert_eq!(chords(b"\x1b[1;2P\x1b[Z"), "ShiftLeft-F1 ShiftLeft-Tab");
        // What is no key is swallowed, whole.
        assert_eq!(chords(b"\x1b[?1;2ca\x1b[99~b"), " A  B");
        assert_eq!(chords(b"\x1b[x"), "");
    }

    #[test]
    fn what_is_not_complete_waits() {
        for part in
            [&b"\x1b"[..], b"\x1b[", b"\x1bO", b"\x1b[1;", b"\x1b[[", b"\xe2\x82", b"\x1b\xc3"]
        {
            assert_eq!(first(part, false), Typed::Part, "{part:?}");
        }
        // After a while it is what was typed.
        assert_eq!(chords(b"\x1b["), "AltLeft-BracketLeft");
        assert_eq!(chords(b"\x1b[1"), "AltLeft-BracketLeft Digit1");
        let endless = [&b"\x1b["[..], &[b'1'; 100]].concat();
        assert_eq!(first(&endless, false), Typed::Chord(2, vec![Key::AltLeft, Key::BracketLeft]));
    }
}
