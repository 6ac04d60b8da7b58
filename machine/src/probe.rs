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
#[serde(rename_all = "lowercase", tag = "device")]
pub enum Kvm {
    /// It can be opened.
    Usable(Capabilities),
    /// It is there, but cannot be opened or asked.
    Denied {
        /// Why.
        reason: String,
    },
    /// There is none.
    Absent,
}

/// What KVM offers, whether that is enough for the engine or not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Capabilities {
    /// The version of its interface; Trine speaks 12.
    pub version: i32,
    /// How many vCPUs a machine can have.
    pub cpus_max: usize,
    /// What the engine cannot do without.
    pub needed: Vec<Capability>,
    /// What it uses where it is there.
    pub useful: Vec<Capability>,
    /// Features of the CPU model `max` that a guest does not get under KVM.
    pub cut: Vec<&'static str>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Capability {
    /// What it is.
    pub name: &'static str,
    /// Whether it is there.
    pub available: bool,
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
            Kvm::Usable(capabilities) => capabilities.text(),
            Kvm::Denied { reason } => format!("there, but {reason}"),
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

impl Capabilities {
    fn text(&self) -> String {
        let list = |all: &[Capability], available: bool| {
            let names = all.iter().filter(|c| c.available == available).map(|c| c.name);
            words(&names.collect::<Vec<_>>())
        };
        format!(
            "usable, version {}, up to {} vCPUs\n  \
             lacks, of what it takes:  {}\n  \
             has, to be faster:        {}\n  \
             lacks, to be faster:      {}\n  \
             guests lack of --cpu max: {}",
            self.version,
            self.cpus_max,
            list(&self.needed, false),
            list(&self.useful, true),
            list(&self.useful, false),
            words(&self.cut),
        )
    }
}

fn words(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

impl Kvm {
    fn of_this_host() -> Self {
        let path = std::path::Path::new("/dev/kvm");
        if !cfg!(target_os = "linux") || !path.exists() {
            return Self::Absent;
        }
        capabilities().map_or_else(|reason| Self::Denied { reason }, Self::Usable)
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn capabilities() -> Result<Capabilities, String> {
    let offer = trine_kvm::Offer::of_this_host()?;
    let rows = |rows: Vec<(&'static str, bool)>| {
        rows.into_iter().map(|(name, available)| Capability { name, available }).collect()
    };
    Ok(Capabilities {
        version: offer.version,
        cpus_max: offer.cpus_max,
        needed: rows(offer.needed),
        useful: rows(offer.useful),
        cut: offer.cut,
    })
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn capabilities() -> Result<Capabilities, String> {
    Err("it takes an x86-64 host".to_owned())
}
