//! A bar, where a terminal watches.

use std::{
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how far a run is, on standard error; nothing if that is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    pub(crate) done: AtomicU64,
    pub(crate) failed: AtomicU64,
    finished: Mutex<bool>,
    finish: Condvar,
}

impl Progress {
    pub(crate) fn new(name: &str, cases: u64) -> Self {
        let bar = ProgressBar::new(cases);
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix} [{bar:30}] {human_pos}/{human_len} {per_sec}, {eta} left {msg}",
        ) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_string());
        let finished = Mutex::new(false);
        Self {
            bar,
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            finished,
            finish: Condvar::new(),
        }
    }

    /// Draws until [`Progress::finish`] is called.
    pub(crate) fn watch(&self) {
        let Ok(mut finished) = self.finished.lock() else { return };
        while !*finished {
            self.bar.set_position(self.done.load(Ordering::Relaxed));
            match self.failed.load(Ordering::Relaxed) {
                0 => {}
                n => self.bar.set_message(format!("- {n} failed")),
            }
            let wait = self.finish.wait_timeout(finished, Duration::from_millis(200));
            let Ok((now, _)) = wait else { return };
            finished = now;
        }
        self.bar.finish_and_clear();
    }

    pub(crate) fn finish(&self) {
        if let Ok(mut finished) = self.finished.lock() {
            *finished = true;
        }
        self.finish.notify_all();
    }
}
