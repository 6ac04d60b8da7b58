//! Lists of options on the command line, as QEMU writes them: `key=value`, separated by commas; a comma
//! in a value is written twice.

/// Splits at commas, except doubled ones, which stand for one.
pub(crate) fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ',' && chars.next_if_eq(&',').is_none() {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

/// The value with this name.
pub(crate) fn one_of<T: Copy>(text: &str, names: &[(&str, T)]) -> Result<T, String> {
    let found = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        format!("'{text}' is none of {}", names.join(", "))
    })
}

/// What a key that is on or off says; alone it says on.
pub(crate) fn switch(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(other) => Err(format!("{key}={other} is neither on nor off")),
    }
}

/// A place in the boot order.
pub(crate) fn boot_index(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("bootindex={text} is not a number from 0 on"))
}
