//! A guest as the person before it has it: a screen, a keyboard, and its serial line.

use std::{env, ops::Deref, thread, time::Instant};

use crate::{console::Console, folder::Folder, screen::Screen};

/// A machine with a control socket.
pub struct Seat {
    /// Screen and keyboard. They go before the machine does.
    pub screen: Photographed,
    /// The serial line, if the arguments leave it on standard input and output.
    pub console: Console,
    name: String,
    since: Instant,
    _folder: Folder,
}

impl Seat {
    /// Runs `trine run` with these arguments. `name` is that of a test.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn new<S: AsRef<str>>(name: &str, arguments: &[S]) -> Self {
        let folder = Folder::new(name);
        let socket = folder.path("ctl");
        let mut all = vec!["run", "--ctl", &socket];
        all.extend(arguments.iter().map(AsRef::as_ref));
        let console = Console::start(&all);
        let name = name.to_owned();
        let screen = Photographed { screen: Screen::at(socket), name: name.clone() };
        Self { screen, console, name, since: Instant::now(), _folder: folder }
    }

    /// Says what the guest has done, and when.
    pub fn say(&self, what: &str) {
        println!("{}: {what} after {:.1} s", self.name, self.since.elapsed().as_secs_f64());
    }

    /// Waits until `text` is on the screen.
    ///
    /// # Panics
    /// As [`Screen::wait_for`].
    pub fn wait_for(&self, text: &str) {
        self.screen.wait_for(text);
        self.say(&format!("{text:?} is on the screen"));
    }

    /// Waits until the guest prints `text` on the serial line; returns what it printed before.
    ///
    /// # Panics
    /// If it does not within [`crate::console::patience`].
    pub fn wait_for_print(&mut self, text: &str) -> String {
        let printed = self.console.wait_for(text).unwrap_or_else(|silence| panic!("{silence}"));
        self.say(&format!("{text:?} is on the serial line"));
        printed
    }

    /// Has a shell on the serial line run `command`; returns what it prints.
    ///
    /// # Panics
    /// As [`Seat::wait_for_print`].
    pub fn ask(&mut self, command: &str) -> String {
        self.console.ask(command).unwrap_or_else(|silence| panic!("{silence}"))
    }

    /// Presses keys, as `trine ctl` calls them.
    pub fn press(&self, keys: &[&str]) {
        self.screen.do_it(&[&["key"], keys].concat());
    }

    /// Types text.
    pub fn type_text(&self, text: &str) {
        self.screen.do_it(&["type", text]);
    }

    /// Ends the machine.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn quit(self) {
        self.screen.do_it(&["quit"]);
        self.end();
    }

    /// Waits for the machine to end by itself.
    ///
    /// # Panics
    /// If it does not, or not well.
    pub fn end(self) {
        let Self { console, name, since, .. } = self;
        let ending = console.finish().unwrap_or_else(|silence| panic!("{silence}"));
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
        println!("{name}: the end after {:.1} s", since.elapsed().as_secs_f64());
    }
}

/// A screen of which a picture is kept where a test fails.
pub struct Photographed {
    screen: Screen,
    name: String,
}

impl Deref for Photographed {
    type Target = Screen;

    fn deref(&self) -> &Screen {
        &self.screen
    }
}

impl Drop for Photographed {
    fn drop(&mut self) {
        if thread::panicking() {
            let picture = env::temp_dir().join(format!("trine-{}.png", self.name));
            let picture = picture.display().to_string();
            let (status, said) = self.screen.ctl(&["screenshot", &picture]);
            let is_kept = status == Some(0);
            println!("{}: {}", self.name, if is_kept { &picture } else { said.trim_end() });
        }
    }
}
