//! What this host offers: `trine probe`.

use serde::Serialize;

use crate::EngineKind;

/// What this host offers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Probe {
    /// The version of Trine.
    pub version: &'static str,
    /// The host's operating system, as Rust calls it.
    pub os: &'static str,
    /// The host's architecture, as Rust calls it.
    pub arch: &'static str,
    /// CPUs of the host that Trine may use.
    pub cpus: usize,
    /// Whether there is `/dev/kvm`, and whether it can be opened.
    pub kvm: Kvm,
    /// The engines, the fastest first.
    pub engines: Vec<EngineProbe>,
    /// The one that `--engine auto` takes.
    pub auto: EngineKind,
}

/// The state of `/dev/kvm`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "device", content = "reason")]
pub enum Kvm {
    /// It can be opened.
    Usable,
    /// It is there, but cannot be opened.
    Denied(String),
    /// There is none.
    Absent,
}

/// One engine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EngineProbe {
    /// Its name.
    pub name: EngineKind,
    /// Whether it can be used here.
    pub available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Probe {
    /// Looks at this host.
    #[must_use]
    pub fn of_this_host() -> Self {
        let engines = EngineKind::ALL.map(|name| EngineProbe {
            name,
            available: name.missing().is_none(),
            reason: name.missing(),
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kvm: Kvm::of_this_host(),
            engines: engines.to_vec(),
            auto: EngineKind::best(),
        }
    }

    /// As text for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let kvm = match &self.kvm {
            Kvm::Usable => "usable".to_owned(),
            Kvm::Denied(reason) => format!("there, but {reason}"),
            Kvm::Absent => "absent".to_owned(),
        };
        let mut text = format!(
            "trine {} on {} {}, {} CPUs\n/dev/kvm: {kvm}\n",
            self.version, self.os, self.arch, self.cpus
        );
        for engine in &self.engines {
            let state = match engine.reason {
                None if engine.name == self.auto => "available (what --engine auto takes)".into(),
                None => "available".to_owned(),
                Some(reason) => format!("not available: {reason}"),
            };
            text += &format!("{:<10} {state}\n", engine.name.name());
        }
        text
    }
}

impl Kvm {
    fn of_this_host() -> Self {
        let path = std::path::Path::new("/dev/kvm");
        if !cfg!(target_os = "linux") || !path.exists() {
            return Self::Absent;
        }
        match std::fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => Self::Usable,
            Err(e) => Self::Denied(e.to_string()),
        }
    }
}
