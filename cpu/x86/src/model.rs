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
}

/// A CPU's identity and features.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuModel {
    pub(crate) name: &'static str,
    pub(crate) features: u128,
    pub(crate) family: u8,
    pub(crate) model: u8,
    pub(crate) stepping: u8,
    pub(crate) physical_bits: u8,
}

/// Why there is no such model.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ModelError {
    /// No model has that name.
    #[error("there is no CPU model '{0}' (there are: pentium, p6, x86-64-v1, x86-64-v2, max)")]
    UnknownModel(String),
}

impl CpuModel {
    /// The model called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Self, ModelError> {
        match name {
            "max" => Ok(Self {
                name: "max",
                features: u128::MAX,
                family: 6,
                model: 0x3c,
                stepping: 3,
                physical_bits: 40,
            }),
            _ => Err(ModelError::UnknownModel(name.to_owned())),
        }
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

    /// Bits of a physical address.
    #[must_use]
    pub fn physical_bits(&self) -> u32 {
        u32::from(self.physical_bits)
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
