//! The keys of a keyboard: their names, where they are on a US layout, and their scan codes. Most of
//! it is a table.
//!
//! Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)"; the keys
//! that are newer from Microsoft, "Keyboard Scan Code Specification", revision 1.3a.

use serde::{Deserialize, Serialize};

/// What a key does in scan code set 3, unless it is told otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// It repeats, and does not say when it is released.
    Typematic,
    /// It only says that it was pressed.
    Make,
    /// It says when it is pressed and when it is released.
    MakeBreak,
}

/// The scan codes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Codes {
    /// In set 2, with the prefix in the high byte if it has one.
    pub(crate) set_2: u16,
    pub(crate) set_3: u8,
    pub(crate) style: Style,
}

macro_rules! keys {
    ($($key:ident $names:literal $shown:literal $set_2:literal $set_3:literal $style:ident;)*) => {
        /// A key, called after what is on it on a US keyboard.
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
        )]
        #[expect(missing_docs, reason = "the name is all there is to say")]
        pub enum Key { $($key,)* }

        impl Key {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$key,)*];

            /// Its names in lower case, between spaces.
            fn names(self) -> &'static str {
                match self { $(Self::$key => $names,)* }
            }

            /// The characters that it types, without and with Shift; none for most.
            fn characters(self) -> &'static str {
                match self { $(Self::$key => $shown,)* }
            }

            pub(crate) fn codes(self) -> Codes {
                match self {
                    $(Self::$key => Codes { set_2: $set_2, set_3: $set_3, style: Style::$style },)*
                }
            }
        }
    };
}

// Key, names, characters, codes in sets 2 and 3 and what it does in set 3.
keys! {
    Escape "esc escape" "\u{1b}" 0x76 0x08 Make;
    F1 "f1" "" 0x05 0x07 Make;
    F2 "f2" "" 0x06 0x0f Make;
    F3 "f3" "" 0x04 0x17 Make;
    F4 "f4" "" 0x0c 0x1f Make;
    F5 "f5" "" 0x03 0x27 Make;
    F6 "f6" "" 0x0b 0x2f Make;
    F7 "f7" "" 0x83 0x37 Make;
    F8 "f8" "" 0x0a 0x3f Make;
    F9 "f9" "" 0x01 0x47 Make;
    F10 "f10" "" 0x09 0x4f Make;
    F11 "f11" "" 0x78 0x56 Make;
    F12 "f12" "" 0x07 0x5e Make;
    PrintScreen "print sysrq" "" 0xe07c 0x57 Make;
    ScrollLock "scrolllock scroll_lock" "" 0x7e 0x5f Make;
    Pause "pause break" "" 0xe114 0x62 Make;
    Backquote "grave backquote `" "`~" 0x0e 0x0e Typematic;
    Digit1 "1" "1!" 0x16 0x16 Typematic;
    Digit2 "2" "2@" 0x1e 0x1e Typematic;
    Digit3 "3" "3#" 0x26 0x26 Typematic;
    Digit4 "4" "4$" 0x25 0x25 Typematic;
    Digit5 "5" "5%" 0x2e 0x2e Typematic;
    Digit6 "6" "6^" 0x36 0x36 Typematic;
    Digit7 "7" "7&" 0x3d 0x3d Typematic;
    Digit8 "8" "8*" 0x3e 0x3e Typematic;
    Digit9 "9" "9(" 0x46 0x46 Typematic;
    Digit0 "0" "0)" 0x45 0x45 Typematic;
    Minus "minus" "-_" 0x4e 0x4e Typematic;
    Equal "equal =" "=+" 0x55 0x55 Typematic;
    Backspace "backspace" "\u{8}" 0x66 0x66 Typematic;
    Tab "tab" "\t" 0x0d 0x0d Typematic;
    Q "q" "qQ" 0x15 0x15 Typematic;
    W "w" "wW" 0x1d 0x1d Typematic;
    E "e" "eE" 0x24 0x24 Typematic;
    R "r" "rR" 0x2d 0x2d Typematic;
    T "t" "tT" 0x2c 0x2c Typematic;
    Y "y" "yY" 0x35 0x35 Typematic;
    U "u" "uU" 0x3c 0x3c Typematic;
    I "i" "iI" 0x43 0x43 Typematic;
    O "o" "oO" 0x44 0x44 Typematic;
    P "p" "pP" 0x4d 0x4d Typematic;
    BracketLeft "bracket_left [" "[{" 0x54 0x54 Typematic;
    BracketRight "bracket_right ]" "]}" 0x5b 0x5b Typematic;
    Backslash "backslash \\" "\\|" 0x5d 0x5c Typematic;
    CapsLock "capslock caps_lock" "" 0x58 0x14 MakeBreak;
    A "a" "aA" 0x1c 0x1c Typematic;
    S "s" "sS" 0x1b 0x1b Typematic;
    D "d" "dD" 0x23 0x23 Typematic;
    F "f" "fF" 0x2b 0x2b Typematic;
    G "g" "gG" 0x34 0x34 Typematic;
    H "h" "hH" 0x33 0x33 Typematic;
    J "j" "jJ" 0x3b 0x3b Typematic;
    K "k" "kK" 0x42 0x42 Typematic;
    L "l" "lL" 0x4b 0x4b Typematic;
    Semicolon "semicolon ;" ";:" 0x4c 0x4c Typematic;
    Quote "quote apostrophe '" "'\"" 0x52 0x52 Typematic;
    Enter "enter ret return" "\n" 0x5a 0x5a Typematic;
    ShiftLeft "shift shift_l" "" 0x12 0x12 MakeBreak;
    Z "z" "zZ" 0x1a 0x1a Typematic;
    X "x" "xX" 0x22 0x22 Typematic;
    C "c" "cC" 0x21 0x21 Typematic;
    V "v" "vV" 0x2a 0x2a Typematic;
    B "b" "bB" 0x32 0x32 Typematic;
    N "n" "nN" 0x31 0x31 Typematic;
    M "m" "mM" 0x3a 0x3a Typematic;
    Comma "comma ," ",<" 0x41 0x41 Typematic;
    Period "dot period ." ".>" 0x49 0x49 Typematic;
    Slash "slash /" "/?" 0x4a 0x4a Typematic;
    ShiftRight "shift_r" "" 0x59 0x59 MakeBreak;
    // Between left Shift and Z, where there is such a key.
    Intl102 "less 102nd" "" 0x61 0x13 Typematic;
    ControlLeft "ctrl control ctrl_l" "" 0x14 0x11 MakeBreak;
    MetaLeft "meta win meta_l" "" 0xe01f 0x8b MakeBreak;
    AltLeft "alt alt_l" "" 0x11 0x19 MakeBreak;
    Space "space spc" " " 0x29 0x29 Typematic;
    AltRight "alt_r altgr" "" 0xe011 0x39 Make;
    MetaRight "meta_r" "" 0xe027 0x8c MakeBreak;
    Menu "menu" "" 0xe02f 0x8d Make;
    ControlRight "ctrl_r" "" 0xe014 0x58 Make;
    Insert "insert ins" "" 0xe070 0x67 Make;
    Home "home" "" 0xe06c 0x6e Make;
    PageUp "pgup pageup" "" 0xe07d 0x6f Make;
    Delete "delete del" "" 0xe071 0x64 Typematic;
    End "end" "" 0xe069 0x65 Make;
    PageDown "pgdn pagedown" "" 0xe07a 0x6d Make;
    ArrowUp "up" "" 0xe075 0x63 Typematic;
    ArrowLeft "left" "" 0xe06b 0x61 Typematic;
    ArrowDown "down" "" 0xe072 0x60 Typematic;
    ArrowRight "right" "" 0xe074 0x6a Typematic;
    NumLock "numlock num_lock" "" 0x77 0x76 Make;
    KeypadDivide "kp_divide" "" 0xe04a 0x77 Make;
    KeypadMultiply "kp_multiply" "" 0x7c 0x7e Make;
    KeypadSubtract "kp_subtract" "" 0x7b 0x84 Make;
    KeypadAdd "kp_add" "" 0x79 0x7c Typematic;
    KeypadEnter "kp_enter" "" 0xe05a 0x79 Make;
    Keypad7 "kp_7" "" 0x6c 0x6c Make;
    Keypad8 "kp_8" "" 0x75 0x75 Make;
    Keypad9 "kp_9" "" 0x7d 0x7d Make;
    Keypad4 "kp_4" "" 0x6b 0x6b Make;
    Keypad5 "kp_5" "" 0x73 0x73 Make;
    Keypad6 "kp_6" "" 0x74 0x74 Make;
    Keypad1 "kp_1" "" 0x69 0x69 Make;
    Keypad2 "kp_2" "" 0x72 0x72 Make;
    Keypad3 "kp_3" "" 0x7a 0x7a Make;
    Keypad0 "kp_0" "" 0x70 0x70 Make;
    KeypadDecimal "kp_decimal" "" 0x71 0x71 Make;
}

impl Key {
    /// The key with this name, in any case: `a`, `f1`, `ctrl`, `pgup`, `kp_enter`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        Self::ALL.iter().copied().find(|key| key.names().split(' ').any(|known| known == name))
    }

    /// The keys of a chord, to be pressed in this order and released in the opposite one:
    /// `ctrl-alt-del`. `None` if a name is not known.
    #[must_use]
    pub fn chord(names: &str) -> Option<Vec<Self>> {
        names.split('-').map(Self::named).collect()
    }

    /// The key that types `character` on a US layout, and whether with Shift; `None` if none does.
    #[must_use]
    pub fn typing(character: char) -> Option<(Self, bool)> {
        let position = |key: &Self| key.characters().chars().position(|typed| typed == character);
        Self::ALL.iter().find_map(|key| Some((*key, position(key)? == 1)))
    }
}

/// The keys that type `text` on a US layout, in order, each with whether it goes down.
///
/// # Errors
/// The first character that no key types.
pub fn type_text(text: &str) -> Result<Vec<(Key, bool)>, char> {
    let mut strokes = Vec::new();
    let mut is_shifted = false;
    for character in text.chars() {
        let (key, shift) = Key::typing(character).ok_or(character)?;
        if shift != is_shifted {
            strokes.push((Key::ShiftLeft, shift));
            is_shifted = shift;
        }
        strokes.extend([(key, true), (key, false)]);
    }
    if is_shifted {
        strokes.push((Key::ShiftLeft, false));
    }
    Ok(strokes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_codes_are_each_one_keys() {
        let names = Key::ALL.iter().flat_map(|key| key.names().split(' '));
        let (count, all) = (names.clone().count(), names.collect::<BTreeSet<_>>());
        assert_eq!(count, all.len());
        let set_2: BTreeSet<u16> = Key::ALL.iter().map(|key| key.codes().set_2).collect();
        let set_3: BTreeSet<u8> = Key::ALL.iter().map(|key| key.codes().set_3).collect();
        assert_eq!([set_2.len(), set_3.len(), Key::ALL.len()], [104 + 1; 3]);
    }

    #[test]
    fn every_printable_character_has_a_key() {
        for character in (b' '..=b'~').map(char::from).chain(['\n', '\t', '\u{8}', '\u{1b}']) {
            let (key, shift) = Key::typing(character).expect("a key");
            assert_eq!(key.characters().chars().nth(usize::from(shift)), Some(character));
        }
        assert_eq!(type_text("aé"), Err('é'));
        let strokes = type_text("A:b").expect("a US keyboard has these");
        let [shift, a, semicolon, b] = [Key::ShiftLeft, Key::A, Key::Semicolon, Key::B];
        let want = [shift, a, a, semicolon, semicolon, shift, b, b];
        assert_eq!(strokes.iter().map(|(key, _)| *key).collect::<Vec<_>>(), want);
        let downs: Vec<bool> = strokes.iter().map(|(_, down)| *down).collect();
        assert_eq!(downs, [true, true, false, true, false, false, true, false]);
    }

    #[test]
    fn chords_have_names() {
        let chord = Key::chord("Ctrl-Alt-Del").expect("known names");
        assert_eq!(chord, [Key::ControlLeft, Key::AltLeft, Key::Delete]);
        assert_eq!(Key::chord("kp_enter"), Some(vec![Key::KeypadEnter]));
        assert_eq!((Key::chord("ctrl-nothing"), Key::chord("")), (None, None));
    }
}
