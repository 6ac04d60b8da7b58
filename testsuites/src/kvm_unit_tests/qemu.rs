//! QEMU's options, as the list of tests gives them, in our terms.

use trine_x86::{CpuModel, ModelError};

/// The PC that a test wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    /// The CPU model, as `--cpu` takes it.
    pub(super) cpu: String,
    /// Bytes of memory.
    pub(super) memory: u64,
}

/// QEMU's default.
const MEMORY: u64 = 128 << 20;

/// QEMU's CPU models and ours that have as much of it as we have. `host` and `max` are all there
/// is; the default is qemu64.
const MODELS: &[(&str, &str)] = &[
    ("max", "max,+la57"),
    ("host", "max,+la57"),
    ("qemu64", "x86-64-v1,+pni,+cx16,+lahf-lm"),
    ("Opteron_G1", "x86-64-v1,+pni"),
    ("IvyBridge", "x86-64-v2,+xsave,+fsgsbase,+smep,+erms,+x2apic,+tsc-deadline,+pcid,+rdtscp"),
    ("Skylake-Server", "max"),
];

/// Words of `-cpu` that say nothing to us: how KVM or a migration is to behave, and what no CPU of
/// ours has. QEMU's translator too warns and goes on without: the test finds it missing and says
/// so.
const NOTHING: &[&str] = &[
    "host-phys-bits",
    "host-phys-bits=off",
    "migratable=no",
    "+vmx",
    "+vmx-mbec",
    "+svm",
    "hv_passthrough",
];

/// Devices that no board of ours has, but whose test goes on and looks for them.
const NO_DEVICES: &[&str] = &["hyperv-testdev"];

/// What no board of ours has, by the option that asks for it.
const MISSING: &[(&str, &str)] = &[
    ("-device intel-iommu", "the board has no IOMMU"),
    ("-machine vmport=on", "the board has no VMware port"),
];

/// What the options ask for; an error says why a test cannot be run.
pub(super) fn wanted(params: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted { cpu: cpu("qemu64")?, memory: MEMORY };
    let mut params = params.iter().map(String::as_str);
    while let Some(option) = params.next() {
        let mut value = || params.next().ok_or_else(|| format!("{option} lacks its value"));
        match option {
            "-cpu" => wanted.cpu = cpu(value()?)?,
            "-m" => wanted.memory = memory(value()?)?,
            "-device" | "-machine" | "-M" => {
                let value = value()?;
                if NO_DEVICES.contains(&value) {
                    continue;
                }
                let first = format!("{option} {}", value.split(',').next().unwrap_or_default());
                missing(&first)?;
                // The PIT is in the way of AMD's AVIC only.
                if value.starts_with("q35") {
                    return Err("the board is no Q35".into());
                }
            }
            // Of KVM's scheduling.
            "-overcommit" => drop(value()?),
            "-enable-kvm" => {}
            _ => return Err(format!("the option {option} of QEMU is not known")),
        }
    }
    Ok(wanted)
}

fn missing(option: &str) -> Result<(), String> {
    match MISSING.iter().find(|(known, _)| *known == option) {
        Some((_, why)) => Err((*why).into()),
        None => Ok(()),
    }
}

/// `-m`: mebibytes, or with K, M or G.
fn memory(text: &str) -> Result<u64, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit).and_then(|digits| digits.parse::<u64>().ok());
    let shift = match unit {
        "" | "m" | "M" => 20,
        "k" | "K" => 10,
        "g" | "G" => 30,
        _ => 64,
    };
    let bytes = number.and_then(|n| n.checked_mul(1_u64.checked_shl(shift)?));
    bytes.ok_or_else(|| format!("-m {text} is no size"))
}

/// `-cpu`.
fn cpu(text: &str) -> Result<String, String> {
    let mut words = text.split(',');
    let name = words.next().unwrap_or_default();
    let model = MODELS.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours);
    let mut cpu = model.ok_or_else(|| format!("the CPU model {name} is not known"))?.to_owned();
    for word in words.filter(|word| !NOTHING.contains(word)) {
        let with = format!("{cpu},{word}");
        match CpuModel::named(&with) {
            Ok(_) => cpu = with,
            // What is to be taken away and is not there.
            Err(ModelError::UnknownFeature(_)) if word.starts_with('-') => {}
            Err(ModelError::Missing(..)) if word.starts_with('-') => cpu = without_orphans(with),
            // Two words may need each other.
            Err(ModelError::Missing(..)) => cpu = with,
            Err(e) => return Err(e.to_string()),
        }
    }
    CpuModel::named(&cpu).map(|_| cpu).map_err(|e| e.to_string())
}

/// Takes away what builds on something that was taken away, as QEMU does.
fn without_orphans(mut cpu: String) -> String {
    // Each round takes away one feature; there are not 128.
    for _ in 0..128 {
        let Err(ModelError::Missing(orphan, _)) = CpuModel::named(&cpu) else { break };
        cpu = format!("{cpu},-{orphan}");
    }
    cpu
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Wanted, String> {
        wanted(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn every_model_is_one_of_ours() {
        for (theirs, ours) in MODELS {
            assert!(CpuModel::named(ours).is_ok(), "{theirs}");
        }
    }

    #[test]
    fn options_are_translated_or_refused() {
        assert_eq!(of("").unwrap().memory, 128 << 20);
        assert_eq!(of("-cpu max,host-phys-bits -m 4g").unwrap().memory, 4 << 30);
        assert_eq!(of("-m 2560").unwrap().memory, 2560 << 20);
        assert!(of("-cpu qemu64,+x2apic,+tsc-deadline").unwrap().cpu.ends_with("+tsc-deadline"));
        assert_eq!(of("-cpu max,+svm").unwrap().cpu, of("-cpu max").unwrap().cpu);
        assert!(of("-cpu max,+svm,-rdtscp,-xsave,-invpcid,-skinit").is_ok());
        assert!(of("-cpu host,hv_passthrough -device hyperv-testdev").is_ok());
        assert!(of("-cpu max,-npt").is_ok() && of("-machine pit=off").is_ok());
        for (line, why) in [
            ("-device intel-iommu,eim=off", "no IOMMU"),
            ("-M q35,kernel-irqchip=split", "no Q35"),
            ("-cpu 486", "not known"),
            ("-cpu max,+mpx", "no CPU feature"),
            ("-m 1T", "no size"),
            ("-cpu", "lacks its value"),
            ("-usb", "not known"),
        ] {
            let error = of(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
