//! CPU models: which features a named CPU has.
//!
//! A model never offers what is not implemented, and an instruction whose feature the model lacks
//! raises #UD: the decoder asks [`CpuModel::has`].
//!
//! Sources: SDM vol. 2A, CPUID; the x86-64 psABI, section 3.1.1 (micro-architecture levels).

use thiserror::Error;

/// A feature that CPUID reports and a model may lack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the manuals' own names")]
pub enum Feature {
    Fpu,
    Vme,
    De,
    Pse,
    Tsc,
    Msr,
    Pae,
    Mce,
    Cx8,
    Apic,
    Sep,
    Mtrr,
    Pge,
    Mca,
    Cmov,
    Pat,
    Pse36,
    Clfsh,
    Mmx,
    Fxsr,
    Sse,
    Sse2,
    Sse3,
    Pclmulqdq,
    Monitor,
    Ssse3,
    Cx16,
    Pcid,
    Sse41,
    Sse42,
    X2apic,
    Movbe,
    Popcnt,
    TscDeadline,
    Aes,
    Xsave,
    Rdrand,
    Hypervisor,
    LahfLm,
    Lzcnt,
    Prefetchw,
    Syscall,
    Nx,
    Pdpe1gb,
    Rdtscp,
    Lm,
    Fsgsbase,
    TscAdjust,
    Bmi1,
    Smep,
    Bmi2,
    Erms,
    Invpcid,
    Rdseed,
    Adx,
    Smap,
    Clflushopt,
    Clwb,
    Sha,
    Umip,
    Pku,
    La57,
    Rdpid,
    Xsaveopt,
    Xsavec,
    Xsaves,
    Fsrm,
    InvariantTsc,
    Arat,
    Avx,
    Avx2,
    Fma,
    F16c,
    Vaes,
    Vpclmulqdq,
    Gfni,
    AvxVnni,
    Pks,
    Kvmclock,
    KvmStealTime,
    KvmPvEoi,
}

/// The TSC's frequency unless the model says otherwise: a nanosecond is a tick.
const TSC_HZ: u64 = 1_000_000_000;

/// A CPU's identity and features.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuModel {
    pub(crate) name: &'static str,
    pub(crate) features: u128,
    pub(crate) family: u8,
    pub(crate) model: u8,
    pub(crate) stepping: u8,
    pub(crate) vendor: Vendor,
    pub(crate) physical_bits: u8,
    pub(crate) max_leaf: u32,
    pub(crate) cpus: u32,
    pub(crate) tsc_hz: u64,
}

/// Whose CPU it says it is. Where the makers differ in what instructions do, so does the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// Intel.
    Intel,
    /// AMD: SYSCALL and SYSRET in every mode, SYSENTER and SYSEXIT not in long mode.
    Amd,
}

impl Vendor {
    /// What CPUID leaf 0 shows.
    pub(crate) fn name(self) -> [u8; 12] {
        match self {
            Self::Intel => *b"GenuineIntel",
            Self::Amd => *b"AuthenticAMD",
        }
    }
}

/// Why there is no such model.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ModelError {
    /// No model has that name.
    #[error(
        "there is no CPU model '{0}' (there are: pentium, p6, x86-64-v1, x86-64-v2, x86-64-v3, max)"
    )]
    UnknownModel(String),
    /// No feature has that name.
    #[error("there is no CPU feature '{0}' (features are spelled as QEMU does: sse4.2, -x2apic)")]
    UnknownFeature(String),
    /// No property has that name and can have that value.
    #[error(
        "'{0}' is none of vendor=GenuineIntel, vendor=AuthenticAMD, phys-bits=32 to 52 and \
         tsc-hz=1000000 to 10000000000"
    )]
    BadValue(String),
    /// A feature without one that it builds on.
    #[error("the CPU feature '{0}' needs '{1}'")]
    Missing(&'static str, &'static str),
}

/// Where CPUID reports a feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    /// Leaf 1.
    L1Ecx,
    /// Leaf 1.
    L1Edx,
    /// Leaf 6.
    L6Eax,
    /// Leaf 7, subleaf 0.
    L7Ebx,
    /// Leaf 7, subleaf 0.
    L7Ecx,
    /// Leaf 7, subleaf 0.
    L7Edx,
    /// Leaf 7, subleaf 1.
    L71Eax,
    /// Leaf 0Dh, subleaf 1.
    LdEax,
    /// Leaf 40000001h: what KVM offers to guests that know it.
    KvmEax,
    /// Leaf 80000001h.
    X1Ecx,
    /// Leaf 80000001h.
    X1Edx,
    /// Leaf 80000007h.
    X7Edx,
}

struct Row(Feature, &'static str, Word, u8);

use Feature as F;
use Word as W;

/// Every feature: its name as QEMU spells it and its place in CPUID.
const FEATURES: &[Row] = &[
    Row(F::Fpu, "fpu", W::L1Edx, 0),
    Row(F::Vme, "vme", W::L1Edx, 1),
    Row(F::De, "de", W::L1Edx, 2),
    Row(F::Pse, "pse", W::L1Edx, 3),
    Row(F::Tsc, "tsc", W::L1Edx, 4),
    Row(F::Msr, "msr", W::L1Edx, 5),
    Row(F::Pae, "pae", W::L1Edx, 6),
    Row(F::Mce, "mce", W::L1Edx, 7),
    Row(F::Cx8, "cx8", W::L1Edx, 8),
    Row(F::Apic, "apic", W::L1Edx, 9),
    Row(F::Sep, "sep", W::L1Edx, 11),
    Row(F::Mtrr, "mtrr", W::L1Edx, 12),
    Row(F::Pge, "pge", W::L1Edx, 13),
    Row(F::Mca, "mca", W::L1Edx, 14),
    Row(F::Cmov, "cmov", W::L1Edx, 15),
    Row(F::Pat, "pat", W::L1Edx, 16),
    Row(F::Pse36, "pse36", W::L1Edx, 17),
    Row(F::Clfsh, "clflush", W::L1Edx, 19),
    Row(F::Mmx, "mmx", W::L1Edx, 23),
    Row(F::Fxsr, "fxsr", W::L1Edx, 24),
    Row(F::Sse, "sse", W::L1Edx, 25),
    Row(F::Sse2, "sse2", W::L1Edx, 26),
    Row(F::Sse3, "pni", W::L1Ecx, 0),
    Row(F::Pclmulqdq, "pclmulqdq", W::L1Ecx, 1),
    Row(F::Monitor, "monitor", W::L1Ecx, 3),
    Row(F::Ssse3, "ssse3", W::L1Ecx, 9),
    Row(F::Fma, "fma", W::L1Ecx, 12),
    Row(F::Cx16, "cx16", W::L1Ecx, 13),
    Row(F::Pcid, "pcid", W::L1Ecx, 17),
    Row(F::Sse41, "sse4.1", W::L1Ecx, 19),
    Row(F::Sse42, "sse4.2", W::L1Ecx, 20),
    Row(F::X2apic, "x2apic", W::L1Ecx, 21),
    Row(F::Movbe, "movbe", W::L1Ecx, 22),
    Row(F::Popcnt, "popcnt", W::L1Ecx, 23),
    Row(F::TscDeadline, "tsc-deadline", W::L1Ecx, 24),
    Row(F::Aes, "aes", W::L1Ecx, 25),
    Row(F::Xsave, "xsave", W::L1Ecx, 26),
    Row(F::Avx, "avx", W::L1Ecx, 28),
    Row(F::F16c, "f16c", W::L1Ecx, 29),
    Row(F::Rdrand, "rdrand", W::L1Ecx, 30),
    Row(F::Hypervisor, "hypervisor", W::L1Ecx, 31),
    Row(F::Arat, "arat", W::L6Eax, 2),
    Row(F::Fsgsbase, "fsgsbase", W::L7Ebx, 0),
    Row(F::TscAdjust, "tsc-adjust", W::L7Ebx, 1),
    Row(F::Bmi1, "bmi1", W::L7Ebx, 3),
    Row(F::Avx2, "avx2", W::L7Ebx, 5),
    Row(F::Smep, "smep", W::L7Ebx, 7),
    Row(F::Bmi2, "bmi2", W::L7Ebx, 8),
    Row(F::Erms, "erms", W::L7Ebx, 9),
    Row(F::Invpcid, "invpcid", W::L7Ebx, 10),
    Row(F::Rdseed, "rdseed", W::L7Ebx, 18),
    Row(F::Adx, "adx", W::L7Ebx, 19),
    Row(F::Smap, "smap", W::L7Ebx, 20),
    Row(F::Clflushopt, "clflushopt", W::L7Ebx, 23),
    Row(F::Clwb, "clwb", W::L7Ebx, 24),
    Row(F::Sha, "sha-ni", W::L7Ebx, 29),
    Row(F::Umip, "umip", W::L7Ecx, 2),
    Row(F::Pku, "pku", W::L7Ecx, 3),
    Row(F::Gfni, "gfni", W::L7Ecx, 8),
    Row(F::Vaes, "vaes", W::L7Ecx, 9),
    Row(F::Vpclmulqdq, "vpclmulqdq", W::L7Ecx, 10),
    Row(F::La57, "la57", W::L7Ecx, 16),
    Row(F::Rdpid, "rdpid", W::L7Ecx, 22),
    Row(F::Pks, "pks", W::L7Ecx, 31),
    Row(F::Fsrm, "fsrm", W::L7Edx, 4),
    Row(F::AvxVnni, "avx-vnni", W::L71Eax, 4),
    Row(F::Xsaveopt, "xsaveopt", W::LdEax, 0),
    Row(F::Xsavec, "xsavec", W::LdEax, 1),
    Row(F::Xsaves, "xsaves", W::LdEax, 3),
    Row(F::Kvmclock, "kvmclock", W::KvmEax, 3),
    Row(F::KvmStealTime, "kvm-steal-time", W::KvmEax, 5),
    Row(F::KvmPvEoi, "kvm-pv-eoi", W::KvmEax, 6),
    Row(F::LahfLm, "lahf-lm", W::X1Ecx, 0),
    Row(F::Lzcnt, "abm", W::X1Ecx, 5),
    Row(F::Prefetchw, "3dnowprefetch", W::X1Ecx, 8),
    Row(F::Syscall, "syscall", W::X1Edx, 11),
    Row(F::Nx, "nx", W::X1Edx, 20),
    Row(F::Pdpe1gb, "pdpe1gb", W::X1Edx, 26),
    Row(F::Rdtscp, "rdtscp", W::X1Edx, 27),
    Row(F::Lm, "lm", W::X1Edx, 29),
    Row(F::InvariantTsc, "invtsc", W::X7Edx, 8),
];

/// Other spellings that QEMU or Linux knows.
const ALIASES: &[(&str, Feature)] = &[
    ("sse3", F::Sse3),
    ("sse4-1", F::Sse41),
    ("sse4-2", F::Sse42),
    ("pclmuldq", F::Pclmulqdq),
    ("lzcnt", F::Lzcnt),
    ("xd", F::Nx),
    ("i64", F::Lm),
    ("tsc-deadline-timer", F::TscDeadline),
    ("clfsh", F::Clfsh),
];

/// What a feature builds on: without the second the first has no meaning, or software relies on it.
const NEEDS: &[(Feature, Feature)] = &[
    (F::Pse36, F::Pse),
    (F::Apic, F::Msr),
    (F::Sep, F::Msr),
    (F::Mtrr, F::Msr),
    (F::Pat, F::Msr),
    (F::Mca, F::Mce),
    (F::Fxsr, F::Fpu),
    (F::Mmx, F::Fpu),
    (F::Sse, F::Fxsr),
    (F::Sse2, F::Sse),
    (F::Sse3, F::Sse2),
    (F::Ssse3, F::Sse3),
    (F::Sse41, F::Ssse3),
    (F::Sse42, F::Sse41),
    (F::Aes, F::Sse2),
    (F::Pclmulqdq, F::Sse2),
    (F::Sha, F::Sse2),
    (F::Xsave, F::Fxsr),
    (F::Xsaveopt, F::Xsave),
    (F::Xsavec, F::Xsave),
    (F::Xsaves, F::Xsavec),
    (F::Lm, F::Pae),
    (F::Lm, F::Msr),
    (F::Lm, F::Sse2),
    (F::Lm, F::Syscall),
    (F::Syscall, F::Msr),
    (F::Nx, F::Pae),
    (F::Nx, F::Msr),
    (F::Cx16, F::Lm),
    (F::LahfLm, F::Lm),
    (F::Pdpe1gb, F::Lm),
    (F::Pcid, F::Lm),
    (F::Invpcid, F::Lm),
    (F::Fsgsbase, F::Lm),
    (F::Pku, F::Lm),
    (F::Pks, F::Lm),
    (F::La57, F::Lm),
    (F::X2apic, F::Apic),
    (F::TscDeadline, F::Apic),
    (F::TscDeadline, F::Tsc),
    (F::TscAdjust, F::Tsc),
    (F::TscAdjust, F::Msr),
    (F::InvariantTsc, F::Tsc),
    (F::Rdtscp, F::Tsc),
    (F::Arat, F::Apic),
    (F::Fsrm, F::Erms),
    (F::Avx, F::Xsave),
    (F::Avx, F::Sse42),
    (F::Avx2, F::Avx),
    (F::Fma, F::Avx),
    (F::F16c, F::Avx),
    (F::Vaes, F::Avx),
    (F::Vaes, F::Aes),
    (F::Vpclmulqdq, F::Avx),
    (F::Vpclmulqdq, F::Pclmulqdq),
    (F::Gfni, F::Sse2),
    (F::AvxVnni, F::Avx2),
    (F::Kvmclock, F::Hypervisor),
    (F::Kvmclock, F::Msr),
    (F::Kvmclock, F::Tsc),
    (F::KvmStealTime, F::Hypervisor),
    (F::KvmStealTime, F::Msr),
    (F::KvmPvEoi, F::Hypervisor),
    (F::KvmPvEoi, F::Apic),
];

const PENTIUM: &[Feature] =
    &[F::Fpu, F::Vme, F::De, F::Pse, F::Tsc, F::Msr, F::Mce, F::Cx8, F::Apic];

const P6: &[Feature] =
    &[F::Pae, F::Sep, F::Mtrr, F::Pge, F::Mca, F::Cmov, F::Pat, F::Pse36, F::Mmx, F::Fxsr];

/// The user's instructions of the micro-architecture level, and what every such CPU had for its
/// kernels.
const V1: &[Feature] =
    &[F::Clfsh, F::Sse, F::Sse2, F::Syscall, F::Nx, F::Lm, F::Hypervisor, F::InvariantTsc, F::Arat];

const V2: &[Feature] = &[F::Sse3, F::Ssse3, F::Cx16, F::Sse41, F::Sse42, F::Popcnt, F::LahfLm];

const V3: &[Feature] =
    &[F::Xsave, F::Avx, F::Avx2, F::Bmi1, F::Bmi2, F::F16c, F::Fma, F::Lzcnt, F::Movbe];

/// What a hypervisor does for guests that know of it.
const PARAVIRTUAL: &[Feature] = &[F::Kvmclock, F::KvmStealTime, F::KvmPvEoi];

/// In `max` only if asked for: five-level paging changes what kernels do, MONITOR makes them idle
/// in MWAIT, which does not notice the stores of other CPUs and so has to poll, and a machine that
/// says it is KVM's is no longer a mere PC.
const NOT_IN_MAX: &[Feature] = &[F::La57, F::Monitor, F::Kvmclock, F::KvmStealTime, F::KvmPvEoi];

const fn bit(feature: Feature) -> u128 {
    1 << feature as u32
}

const fn set(features: &[Feature]) -> u128 {
    let (mut bits, mut n) = (0, 0);
    while n < features.len() {
        bits |= bit(features[n]);
        n += 1;
    }
    bits
}

const fn all() -> u128 {
    let (mut bits, mut n) = (0, 0);
    while n < FEATURES.len() {
        bits |= bit(FEATURES[n].0);
        n += 1;
    }
    bits & !set(NOT_IN_MAX)
}

const PENTIUM_BITS: u128 = set(PENTIUM);
const P6_BITS: u128 = PENTIUM_BITS | set(P6);
const V1_BITS: u128 = P6_BITS | set(V1);
const V2_BITS: u128 = V1_BITS | set(V2);
const V3_BITS: u128 = V2_BITS | set(V3);

// The 64-bit models call themselves an Atom of the first, in-order kind, which does not speculate.
// Neither do we: a kernel that knows it spends no time on defences against speculation.
const MODELS: &[CpuModel] = &[
    model("pentium", PENTIUM_BITS, (5, 4, 3), 32, 1),
    model("p6", P6_BITS, (6, 5, 2), 36, 2),
    model("x86-64-v1", V1_BITS, (6, 0x1c, 10), 40, 0x16),
    model("x86-64-v2", V2_BITS, (6, 0x1c, 10), 40, 0x16),
    model("x86-64-v3", V3_BITS, (6, 0x1c, 10), 40, 0x16),
    model("max", all(), (6, 0x1c, 10), 40, 0x16),
];

const fn model(
    name: &'static str,
    features: u128,
    (family, model, stepping): (u8, u8, u8),
    physical_bits: u8,
    max_leaf: u32,
) -> CpuModel {
    let vendor = Vendor::Intel;
    CpuModel {
        name,
        features,
        family,
        model,
        stepping,
        vendor,
        physical_bits,
        max_leaf,
        cpus: 1,
        tsc_hz: TSC_HZ,
    }
}

impl CpuModel {
    /// The model called `name`, which may be followed by features to add or to take away, as in
    /// `max,-x2apic,+monitor`; `vendor=AuthenticAMD`, `phys-bits=36` and `tsc-hz=2500000000` change
    /// the vendor, the width of physical addresses and the TSC's frequency. What only a hypervisor
    /// has (`kvmclock`) brings `hypervisor`.
    ///
    /// # Errors
    /// If there is no such model or feature, or a feature lacks one that it builds on.
    pub fn named(name: &str) -> Result<Self, ModelError> {
        let mut parts = name.split(',').map(str::trim);
        let base = parts.next().unwrap_or_default();
        let mut model = MODELS
            .iter()
            .find(|m| m.name.eq_ignore_ascii_case(base))
            .cloned()
            .ok_or_else(|| ModelError::UnknownModel(base.to_owned()))?;
        for part in parts.filter(|part| !part.is_empty()) {
            if let Some((key, value)) = part.split_once('=') {
                model.set(key, value).ok_or_else(|| ModelError::BadValue(part.to_owned()))?;
                continue;
            }
            let (on, name) = match part.strip_prefix('-') {
                Some(name) => (false, name),
                None => (true, part.strip_prefix('+').unwrap_or(part)),
            };
            let feature = Feature::named(name)?;
            if on {
                model.features |= bit(feature);
                if PARAVIRTUAL.contains(&feature) {
                    model.features |= bit(F::Hypervisor);
                }
            } else {
                model.features &= !bit(feature);
            }
        }
        model.check()
    }

    /// Gives a property its value, if there is such a property and value.
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "vendor" => {
                let all = [Vendor::Intel, Vendor::Amd];
                self.vendor = all.into_iter().find(|v| v.name() == *value.as_bytes())?;
            }
            "phys-bits" => {
                self.physical_bits = value.parse().ok().filter(|bits| (32..=52).contains(bits))?;
            }
            "tsc-hz" => {
                let possible = 1_000_000..=10_000_000_000;
                self.tsc_hz = value.parse().ok().filter(|hz| possible.contains(hz))?;
            }
            _ => return None,
        }
        Some(())
    }

    fn check(self) -> Result<Self, ModelError> {
        match NEEDS.iter().find(|(f, needed)| self.has(*f) && !self.has(*needed)) {
            Some((f, needed)) => Err(ModelError::Missing(f.name(), needed.name())),
            None => Ok(self),
        }
    }

    /// The same CPU in a machine with so many of them, for the topology that CPUID shows.
    #[must_use]
    pub fn with_cpus(self, cpus: u32) -> Self {
        Self { cpus: cpus.clamp(1, 1 << 16), ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it has `feature`.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.features >> feature as u32 & 1 != 0
    }

    /// Whether the model does as the 80386 where that differs from present CPUs and the manual is
    /// silent (test386.asm's reference output): a rotate of a register by an immediate above 1
    /// leaves OF as its last step does, where present CPUs do not touch it in ROL and ROR; ENTER on
    /// a 16-bit stack that wraps leaves the high half of the frame pointer alone, where present
    /// CPUs borrow from it.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.family < 6
    }

    /// Whose it says it is.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Bits of a physical address.
    #[must_use]
    pub fn physical_bits(&self) -> u32 {
        u32::from(self.physical_bits)
    }

    /// Ticks of the TSC in a second.
    #[must_use]
    pub fn tsc_hz(&self) -> u64 {
        self.tsc_hz
    }

    /// The same CPU with a TSC of `hz` ticks in a second.
    #[must_use]
    pub fn with_tsc_hz(self, hz: u64) -> Self {
        Self { tsc_hz: hz, ..self }
    }

    /// Whole ticks of the TSC in so many nanoseconds.
    #[inline]
    #[must_use]
    pub fn tsc_ticks(&self, ns: u64) -> u64 {
        match self.tsc_hz {
            TSC_HZ => ns,
            hz => (u128::from(ns) * u128::from(hz) / 1_000_000_000) as u64,
        }
    }

    /// Nanoseconds until so many ticks of the TSC have passed.
    #[must_use]
    pub fn tsc_ns(&self, ticks: u64) -> u64 {
        let ns = (u128::from(ticks) * 1_000_000_000).div_ceil(u128::from(self.tsc_hz));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The same CPU with what `offered` keeps of its features, and without those that build on
    /// what it does not; and which are gone.
    #[must_use]
    pub fn cut(self, offered: impl Fn(Feature) -> bool) -> (Self, Vec<Feature>) {
        let mut model = self.clone();
        for Row(feature, ..) in FEATURES.iter().filter(|row| !offered(row.0)) {
            model.features &= !bit(*feature);
        }
        while let Some((f, _)) =
            NEEDS.iter().find(|(f, needed)| model.has(*f) && !model.has(*needed))
        {
            model.features &= !bit(*f);
        }
        let gone = FEATURES.iter().map(|row| row.0).filter(|f| self.has(*f) && !model.has(*f));
        let gone = gone.collect();
        (model, gone)
    }

    /// The same CPU with physical addresses of at most so many bits.
    #[must_use]
    pub fn with_physical_bits_of(self, most: u32) -> Self {
        Self { physical_bits: self.physical_bits.min(most as u8), ..self }
    }

    /// The highest basic leaf of CPUID.
    #[must_use]
    pub fn max_leaf(&self) -> u32 {
        self.max_leaf
    }

    /// The features that one of CPUID's words reports.
    pub(crate) fn word(&self, word: Word) -> u32 {
        let here = FEATURES.iter().filter(|row| row.2 == word && self.has(row.0));
        here.fold(0, |bits, row| bits | 1 << row.3)
    }
}

impl Feature {
    /// Where CPUID reports it: leaf, subleaf, register (EAX, EBX, ECX, EDX from 0) and bit.
    #[must_use]
    pub fn place(self) -> (u32, u32, usize, u32) {
        let row = FEATURES.iter().find(|row| row.0 == self);
        let (leaf, subleaf, register) = match row.map(|row| row.2) {
            Some(W::L1Ecx) => (1, 0, 2),
            Some(W::L1Edx) => (1, 0, 3),
            Some(W::L6Eax) => (6, 0, 0),
            Some(W::L7Ebx) => (7, 0, 1),
            Some(W::L7Ecx) => (7, 0, 2),
            Some(W::L7Edx) => (7, 0, 3),
            Some(W::L71Eax) => (7, 1, 0),
            Some(W::LdEax) => (0xd, 1, 0),
            Some(W::KvmEax) => (0x4000_0001, 0, 0),
            Some(W::X1Ecx) => (0x8000_0001, 0, 2),
            Some(W::X1Edx) => (0x8000_0001, 0, 3),
            Some(W::X7Edx) | None => (0x8000_0007, 0, 3),
        };
        (leaf, subleaf, register, row.map_or(0, |row| u32::from(row.3)))
    }

    /// Its name, as QEMU spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        FEATURES.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    fn named(name: &str) -> Result<Self, ModelError> {
        let plain = name.to_ascii_lowercase().replace('_', "-");
        let row = FEATURES.iter().find(|row| row.1 == plain).map(|row| row.0);
        row.or_else(|| ALIASES.iter().find(|(alias, _)| *alias == plain).map(|(_, f)| *f))
            .ok_or_else(|| ModelError::UnknownFeature(name.to_owned()))
    }
}

impl CpuModel {
    /// Family, model and stepping as CPUID leaf 1 gives them in EAX and RESET leaves them in EDX.
    #[must_use]
    pub fn signature(&self) -> u32 {
        let (family, model) = (u32::from(self.family), u32::from(self.model));
        let extended = if family >= 0xf { (family - 0xf) << 20 } else { 0 };
        extended
            | (model >> 4) << 16
            | family.min(0xf) << 8
            | (model & 0xf) << 4
            | u32::from(self.stepping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_one_name_and_one_bit() {
        for (n, row) in FEATURES.iter().enumerate() {
            assert_eq!(
                row.0 as usize,
                FEATURES.iter().filter(|r| (r.0 as u8) < row.0 as u8).count()
            );
            assert_eq!(Feature::named(row.1), Ok(row.0));
            assert!(FEATURES[..n].iter().all(|r| (r.2, r.3) != (row.2, row.3)), "{}", row.1);
        }
    }

    #[test]
    fn every_model_is_consistent() {
        for model in MODELS {
            assert_eq!(CpuModel::named(model.name).as_ref(), Ok(model));
        }
        let max = CpuModel::named("max").unwrap();
        assert!(max.has(F::Xsaves) && max.has(F::Avx2) && !max.has(F::La57));
        assert!(CpuModel::named("max,+la57").unwrap().has(F::La57));
    }

    #[test]
    fn features_are_added_and_taken_away() {
        let p6 = CpuModel::named("p6,+sse,-sep").unwrap();
        assert!(p6.has(F::Sse) && !p6.has(F::Sep) && p6.has(F::Cmov));
        assert!(CpuModel::named("max,sse4_2,-SHA_NI").is_ok());
        let amd = CpuModel::named("max,vendor=AuthenticAMD,phys-bits=36").unwrap();
        assert_eq!((amd.vendor(), amd.physical_bits()), (Vendor::Amd, 36));
        for bad in ["vendor=Cyrix", "phys-bits=53", "phys-bits=x", "a=b"] {
            let error = CpuModel::named(&format!("max,{bad}"));
            assert_eq!(error, Err(ModelError::BadValue(bad.to_owned())));
        }
        assert_eq!(CpuModel::named("max,-sse"), Err(ModelError::Missing("sse2", "sse")));
        assert!(CpuModel::named("x86-64-v3,-fma,+aes").is_ok());
        let kvm = CpuModel::named("pentium,+kvmclock,+kvm-pv-eoi,+kvm_steal_time").unwrap();
        assert!(kvm.has(F::Hypervisor) && kvm.has(F::KvmPvEoi) && kvm.has(F::KvmStealTime));
        let bare = CpuModel::named("max,+kvmclock,-hypervisor");
        assert_eq!(bare, Err(ModelError::Missing("kvmclock", "hypervisor")));
        assert_eq!(CpuModel::named("max,-avx"), Err(ModelError::Missing("avx2", "avx")));
        assert_eq!(CpuModel::named("max,+mpx"), Err(ModelError::UnknownFeature("mpx".to_owned())));
        assert_eq!(CpuModel::named("486"), Err(ModelError::UnknownModel("486".to_owned())));
    }
}
