//! When what appeared on the serial port.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde::Serialize;
use trine_devices::SerialPeer;

/// Texts that are looked for in every guest, and what they mean.
const BUILT_IN: [(&str, &str); 8] = [
    ("in real mode", "in real mode"),
    ("in protected mode", "in protected mode"),
    ("in long mode", "in long mode"),
    ("Goodbye", "goodbye"),
    ("Linux version", "kernel starts"),
    ("Run /init as init process", "init starts"),
    ("login:", "login prompt"),
    ("reboot: Power down", "power-off"),
];
/// A listener keeps so many bytes of what it hears.
const KEPT_MAX: usize = 16 << 20;

/// Something that happened in a run.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Milestone {
    /// What.
    pub name: String,
    /// Seconds of host time since the run began.
    pub seconds: f64,
}

struct Heard {
    start: Instant,
    text: Vec<u8>,
    /// Texts that have not appeared yet, with their names.
    waiting: Vec<(Vec<u8>, String)>,
    milestones: Vec<Milestone>,
}

/// Hears the serial port, and notes when what is looked for appears. Clones are the same.
#[derive(Clone)]
pub struct Listener(Arc<Mutex<Heard>>);

impl Listener {
    /// A listener for these texts and the built-in ones.
    #[must_use]
    pub fn new(texts: &[String]) -> Self {
        let own = texts.iter().filter(|text| !text.is_empty());
        let own = own.map(|text| (text.clone().into_bytes(), format!("\u{201c}{text}\u{201d}")));
        let built_in = BUILT_IN.iter().map(|(text, name)| (text.as_bytes().into(), (*name).into()));
        Self(Arc::new(Mutex::new(Heard {
            start: Instant::now(),
            text: Vec::new(),
            waiting: own.chain(built_in).collect(),
            milestones: Vec::new(),
        })))
    }

    /// The run begins.
    pub fn start(&self) {
        self.lock().start = Instant::now();
    }

    /// The run has ended; what happened in it.
    #[must_use]
    pub fn end(&self) -> Vec<Milestone> {
        let mut heard = self.lock();
        heard.note("end".into());
        heard.milestones.clone()
    }

    /// What was heard.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().text).into_owned()
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn note(&mut self, name: String) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.milestones.push(Milestone { name, seconds });
    }
}

impl SerialPeer for Listener {
    fn transmit(&mut self, byte: u8) {
        let mut heard = self.lock();
        if heard.text.is_empty() {
            heard.note("first output".into());
        }
        if heard.text.len() >= KEPT_MAX {
            return;
        }
        heard.text.push(byte);
        let text = &heard.text;
        if let Some(n) = heard.waiting.iter().position(|(wanted, _)| text.ends_with(wanted)) {
            let (_, name) = heard.waiting.swap_remove(n);
            heard.note(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_noted_once_and_in_order() {
        let listener = Listener::new(&["READY".into(), String::new()]);
        let mut peer = listener.clone();
        for byte in b"Linux version 6\nREADY\nREADY\nhost login: " {
            peer.transmit(*byte);
        }
        let names: Vec<String> = listener.end().into_iter().map(|m| m.name).collect();
        let ready = "\u{201c}READY\u{201d}";
        assert_eq!(names, ["first output", "kernel starts", ready, "login prompt", "end"]);
        assert!(listener.text().ends_with("login: "));
    }
}
