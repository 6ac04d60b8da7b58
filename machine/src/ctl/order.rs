//! What is said at the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a client wants.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// Press and release chords of keys, one after the other: `ctrl-alt-del`, `f1`, `a`.
    Key {
        /// By their names, see [`trine_devices::Key::chord`].
        chords: Vec<String>,
    },
    /// Type text on a US keyboard. The answer comes when the guest has taken all of it.
    Type {
        /// The text.
        text: String,
    },
    /// Move the mouse and turn its wheel.
    Mouse {
        /// Counts to the right.
        right: i32,
        /// Counts down.
        down: i32,
        /// Notches towards the user.
        #[serde(default)]
        wheel: i32,
    },
    /// Press a button of the mouse.
    Button {
        /// Which.
        button: Button,
        /// How.
        #[serde(default)]
        press: Press,
    },
    /// Write the picture to a PNG file.
    Screenshot {
        /// The file.
        file: PathBuf,
    },
    /// The text on the screen.
    ScreenText,
    /// Wait until there is this text in a line of the screen.
    WaitText {
        /// The text.
        text: String,
        /// How long, on the host.
        seconds: f64,
    },
    /// Take out what is in a drive.
    Eject {
        /// The drive: `cd0`, `fd0`.
        drive: String,
    },
    /// Put an image into a drive.
    Insert {
        /// The drive.
        drive: String,
        /// The image.
        file: PathBuf,
        /// The guest cannot write to it. Nobody writes to a CD.
        #[serde(default)]
        is_read_only: bool,
    },
    /// Ask the guest for so much of its memory, all in all.
    Balloon {
        /// How much it is to do without.
        bytes: u64,
    },
    /// How the machine is.
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

/// A button of the mouse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the name is all there is to say")]
pub enum Button {
    Left,
    Right,
    Middle,
    Fourth,
    Fifth,
}

/// What is done to a button.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Press {
    /// It goes down, and up again.
    #[default]
    Click,
    /// It goes down.
    Down,
    /// It goes up.
    Up,
}

/// What became of an order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The text that was asked for, without the spaces at the lines' ends.
    Text {
        /// By lines.
        lines: Vec<String>,
    },
    /// The status that was asked for.
    Status(Status),
    /// What was waited for did not come.
    TimedOut {
        /// What there is instead.
        why: String,
    },
    /// It was not done.
    Refused {
        /// The reason.
        why: String,
    },
}

/// How the machine is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Guest time goes on.
    pub is_running: bool,
    /// Guest time.
    pub guest_seconds: f64,
    /// What the screen shows.
    pub screen: Screen,
    /// The drives whose media can be changed.
    pub drives: Vec<String>,
    /// The balloon, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balloon: Option<Balloon>,
}

/// How a memory balloon is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Balloon {
    /// Bytes that the guest is to put into it.
    pub target: u64,
    /// Bytes that the guest says it has put there.
    pub actual: u64,
}

/// What a screen shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Screen {
    /// Text.
    Text {
        /// Characters of a row.
        columns: usize,
        /// Rows.
        rows: usize,
    },
    /// Graphics.
    Graphics {
        /// Dots of a line.
        width: usize,
        /// Lines.
        height: usize,
    },
}

impl std::fmt::Display for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text { columns, rows } => write!(f, "text, {columns} by {rows}"),
            Self::Graphics { width, height } => write!(f, "graphics, {width} by {height} dots"),
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.is_running { "running" } else { "paused" };
        writeln!(f, "the machine is {state} at {:.3} s of guest time", self.guest_seconds)?;
        writeln!(f, "screen: {}", self.screen)?;
        writeln!(f, "drives: {}", self.drives.join(", "))?;
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
        self.balloon.map_or(Ok(()), |balloon| {
            let (actual, target) = (mib(balloon.actual), mib(balloon.target));
            writeln!(f, "balloon: {actual:.1} MiB of {target:.1} MiB that it is to hold")
        })
    }
}
