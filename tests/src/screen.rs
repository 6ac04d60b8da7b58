//! A guest's screen and keyboard as a test has them: through the control socket.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::console::{patience, trine};

/// The screen and the keyboard of a guest with a control socket, by `trine ctl`.
pub struct Screen {
    socket: String,
}

impl Screen {
    /// The one whose socket is, or soon will be, at `socket`.
    ///
    /// # Panics
    /// If nobody listens there within [`patience`].
    #[must_use]
    pub fn at(socket: String) -> Self {
        let screen = Self { socket };
        let end = Instant::now() + patience();
        while screen.ctl(&["status"]).0 != Some(0) {
            assert!(Instant::now() < end, "no machine listens at {}", screen.socket);
            std::thread::sleep(Duration::from_millis(50));
        }
        screen
    }

    /// Where its socket is.
    #[must_use]
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// `trine ctl`: its status, and what it printed.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(trine());
        let output = command.arg("ctl").arg(&self.socket).args(arguments).output();
        let output = output.expect("trine starts");
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
    }

    /// The same, of which all goes well: what it printed.
    ///
    /// # Panics
    /// If it does not.
    pub fn do_it(&self, arguments: &[&str]) -> String {
        let (status, printed) = self.ctl(arguments);
        assert_eq!(status, Some(0), "{arguments:?}: {printed}");
        printed
    }

    /// Waits until the screen shows graphics of this size, as `640 by 480`.
    ///
    /// # Panics
    /// If it does not within [`patience`].
    pub fn wait_for_graphics(&self, size: &str) {
        let wanted = format!("graphics, {size}");
        let end = Instant::now() + patience();
        while !self.do_it(&["status"]).contains(&wanted) {
            assert!(Instant::now() < end, "no {wanted}: {}", self.do_it(&["status"]));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until `text` is on the screen.
    ///
    /// # Panics
    /// If it is not within [`patience`].
    pub fn wait_for(&self, text: &str) {
        let timeout = patience().as_secs().to_string();
        let (status, printed) = self.ctl(&["wait-text", text, "--timeout", &timeout]);
        let screen = self.ctl(&["screen-text"]).1;
        assert_eq!(status, Some(0), "{printed}\n{screen}");
    }
}
