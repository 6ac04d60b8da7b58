//! The command line of `trine ctl`.

use std::path::{Path, PathBuf, absolute};

use clap::{Args, Subcommand};

use super::Size;
use crate::ctl::{Button, Order, Press};

/// Which machine, and what it is to do.
#[derive(Args, Debug)]
pub struct CtlArgs {
    /// The socket that the machine's --ctl names.
    pub socket: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What the machine is to do.
#[derive(Subcommand, Debug)]
pub enum CtlCommand {
    /// Press and release keys, one after the other, or chords of them: ctrl-alt-del, f1, kp_enter.
    Key {
        /// By name.
        #[arg(required = true, value_name = "CHORD")]
        chords: Vec<String>,
    },
    /// Type text on a US keyboard. In it, \\n is Enter, \\t is Tab, \\b is Backspace, \\e is Escape
    /// and \\\\ is a backslash.
    #[command(allow_hyphen_values = true)]
    Type {
        /// The text.
        text: String,
    },
    /// Move the mouse, in counts to the right and down, and its wheel, in notches towards the user.
    #[command(allow_negative_numbers = true)]
    Mouse {
        /// To the right.
        #[arg(value_name = "DX")]
        right: i32,
        /// Down.
        #[arg(value_name = "DY")]
        down: i32,
        /// Towards the user.
        #[arg(value_name = "DZ", default_value_t = 0)]
        wheel: i32,
    },
    /// Click a button of the mouse, press it or release it.
    Button {
        /// Which.
        button: Button,
        /// How.
        #[arg(default_value = "click")]
        press: Press,
    },
    /// Write the picture to a PNG file.
    Screenshot {
        /// The file.
        file: PathBuf,
    },
    /// Print the text on the screen.
    ScreenText,
    /// Wait until there is a text in a line of the screen.
    #[command(allow_hyphen_values = true)]
    WaitText {
        /// The text.
        text: String,
        /// How long.
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
        timeout: f64,
    },
    /// Take out what is in a drive.
    Eject {
        /// The drive: cd0, fd0.
        drive: String,
    },
    /// Put an image into a drive.
    Insert {
        /// The drive: cd0, fd0.
        drive: String,
        /// The image.
        file: PathBuf,
        /// The guest cannot write to it.
        #[arg(long)]
        readonly: bool,
    },
    /// Ask the guest for so much of its memory, all in all, or for none with 0. What it gives is the
    /// host's until it is asked for less.
    Balloon {
        /// How much, with K, M or G.
        size: Size,
    },
    /// Say how the machine is.
    Status,
    /// Stop guest time.
    Pause,
    /// Let it go on.
    Resume,
    /// Reset the machine.
    Reset,
    /// Press the power button.
    Power,
    /// End the machine.
    Quit,
}

impl CtlCommand {
    /// What is said at the socket.
    ///
    /// # Errors
    /// One line that says what makes no sense.
    pub fn order(&self) -> Result<Order, String> {
        // The machine may have been started elsewhere.
        let here = |file: &Path| absolute(file).map_err(|e| format!("{}: {e}", file.display()));
        Ok(match self {
            Self::Key { chords } => Order::Key { chords: chords.clone() },
            Self::Type { text } => Order::Type { text: unescape(text)? },
            Self::Mouse { right, down, wheel } => {
                Order::Mouse { right: *right, down: *down, wheel: *wheel }
            }
            Self::Button { button, press } => Order::Button { button: *button, press: *press },
            Self::Screenshot { file } => Order::Screenshot { file: here(file)? },
            Self::ScreenText => Order::ScreenText,
            Self::WaitText { text, timeout } => {
                Order::WaitText { text: text.clone(), seconds: *timeout }
            }
            Self::Eject { drive } => Order::Eject { drive: drive.clone() },
            Self::Insert { drive, file, readonly } => {
                let (drive, file) = (drive.clone(), here(file)?);
                Order::Insert { drive, file, is_read_only: *readonly }
            }
            Self::Balloon { size } => Order::Balloon { bytes: size.0 },
            Self::Status => Order::Status,
            Self::Pause => Order::Pause,
            Self::Resume => Order::Resume,
            Self::Reset => Order::Reset,
            Self::Power => Order::Power,
            Self::Quit => Order::Quit,
        })
    }
}

/// What a backslash and a letter stand for.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        out.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('b') => '\u{8}',
                Some('e') => '\u{1b}',
                Some('\\') => '\\',
                _ => return Err(format!("'{text}': after a backslash come n, t, b, e or another")),
            },
            other => other,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn order(arguments: &[&str]) -> Result<Order, String> {
        let all = ["trine", "ctl", "/socket"].iter().chain(arguments);
        match Cli::try_parse_from(all).map_err(|e| e.to_string())?.command {
            Some(Command::Ctl(args)) => args.command.order(),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn commands_are_orders() {
        let chords = vec!["ctrl-alt-del".to_owned(), "a".to_owned()];
        assert_eq!(order(&["key", "ctrl-alt-del", "a"]), Ok(Order::Key { chords }));
        let text = "dir \\ -x\n".to_owned();
        assert_eq!(order(&["type", r"dir \\ -x\n"]), Ok(Order::Type { text }));
        let text = "-l".to_owned();
        assert_eq!(order(&["type", "-l"]), Ok(Order::Type { text }));
        assert_eq!(order(&["mouse", "-3", "4"]), Ok(Order::Mouse { right: -3, down: 4, wheel: 0 }));
        let (button, press) = (Button::Left, Press::Click);
        assert_eq!(order(&["button", "left"]), Ok(Order::Button { button, press }));
        let Ok(Order::Screenshot { file }) = order(&["screenshot", "a.png"]) else { panic!() };
        assert!(file.is_absolute() && file.ends_with("a.png"));
        assert_eq!(order(&["balloon", "64M"]), Ok(Order::Balloon { bytes: 64 << 20 }));
        let (text, seconds) = ("login:".to_owned(), 5.0);
        let wait = ["wait-text", "login:", "--timeout", "5"];
        assert_eq!(order(&wait), Ok(Order::WaitText { text, seconds }));
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in
            [&["type", r"a\x"][..], &["type", r"a\"], &["key"], &["mouse", "1"], &["explode"], &[]]
        {
            assert!(order(wrong).is_err(), "{wrong:?}");
        }
    }
}
