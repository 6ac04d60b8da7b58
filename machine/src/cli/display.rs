//! `--display`.

use std::str::FromStr;

use crate::vnc::VncOptions;

/// Where the guest's screen is, and its keyboard and mouse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Display {
    /// Nowhere. The control socket sees it all the same.
    None,
    /// On the terminal.
    Terminal,
    /// Where VNC viewers find it.
    Vnc(VncOptions),
}

impl FromStr for Display {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "terminal" => Ok(Self::Terminal),
            Some(("vnc", options)) => options.parse().map(Self::Vnc),
            _ => Err(format!("'{text}' is none of none, terminal and vnc:ADDR")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_have_names() {
        assert_eq!("none".parse(), Ok(Display::None));
        assert_eq!("terminal".parse(), Ok(Display::Terminal));
        assert!(matches!("vnc::1,share=ignore".parse(), Ok(Display::Vnc(_))));
        for wrong in ["", "vnc", "vnc:", "sdl", "none:1", "terminal:x"] {
            assert!(wrong.parse::<Display>().is_err(), "{wrong}");
        }
    }
}
