//! The control socket: a program looks at the machine's screen and types into it.
//!
//! `--ctl SOCKET` makes a Unix socket that this user alone can open. A client sends lines of JSON, each
//! an [`Order`], and gets a line for each in their order, an [`Answer`]:
//!
//! ```text
//! {"do":"key","chords":["ctrl-alt-del"]}          {"answer":"done"}
//! {"do":"type","text":"dir\n"}                    {"answer":"done"}
//! {"do":"mouse","right":10,"down":-5,"wheel":0}   {"answer":"done"}
//! {"do":"button","button":"left"}                 {"answer":"done"}
//! {"do":"screenshot","file":"/tmp/a.png"}         {"answer":"done"}
//! {"do":"screen-text"}                            {"answer":"text","lines":["C:\\>",""]}
//! {"do":"wait-text","text":"login:","seconds":60} {"answer":"timed-out","why":"…"}
//! {"do":"eject","drive":"cd0"}                    {"answer":"refused","why":"there is no drive …"}
//! {"do":"status"}                                 {"answer":"status","is_running":true,…}
//! ```
//!
//! Files are opened by the machine's process, so their names should be absolute. Several clients may
//! be there at once; each is answered in turn. `trine ctl SOCKET …` is a client ([`send`]).

mod client;
mod order;
mod server;

use std::{path::Path, time::Duration};

pub use client::{Outcome, send};
pub use order::{Answer, Balloon, Button, Order, Press, Screen, Status};
pub use server::CtlServer;

use crate::Request;

/// What a control socket does to a machine beside looking and typing.
pub trait Controls: Send + Sync {
    /// Whether guest time goes on.
    fn is_running(&self) -> bool;
    /// Asks whoever runs the machine for something and waits until it is done, but no longer than
    /// `patience`. False if it was not.
    fn ask(&self, request: Request, patience: Duration) -> bool;
    /// Asks for the end, and does not wait for it.
    fn quit(&self);
    /// Somebody presses the power button.
    fn press_power_button(&self);
    /// How the balloon is, if there is one.
    fn balloon(&self) -> Option<Balloon>;
    /// The guest is to put so many bytes of its memory into the balloon.
    ///
    /// # Errors
    /// One line that says why it cannot.
    fn set_balloon(&self, bytes: u64) -> Result<(), String>;
    /// The drives whose media can be changed, by name.
    fn drives(&self) -> Vec<String>;
    /// Puts an image into a drive in the place of what is in it, or nothing.
    ///
    /// # Errors
    /// One line that says what is wrong with the drive or the image.
    fn change_medium(
        &self,
        drive: &str,
        image: Option<&Path>,
        is_read_only: bool,
    ) -> Result<(), String>;
}

#[cfg(test)]
mod tests;
