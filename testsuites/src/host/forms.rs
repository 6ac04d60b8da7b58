//! Which instruction forms there are, and which of them the host's CPU can be asked about.
//!
//! A form is one of iced-x86's `Code`s in code of 16, 32 or 64 bits: all of them, so that none is
//! forgotten. One is left out only if [`excluded`] says why.

use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic, OpCodeOperandKind};
use trine_x86::Decoder;

use super::cpuid::HostFeatures;

/// One instruction form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Form {
    pub(crate) code: Code,
    /// 16, 32 or 64: the size of the code segment.
    pub(crate) bits: u32,
}

impl Form {
    /// As groups are called.
    pub(crate) fn name(self) -> String {
        format!("{:?}.{}", self.code, self.bits)
    }
}

/// Every form that an x86 CPU of some kind has.
pub(crate) fn all() -> impl Iterator<Item = Form> {
    let known = Code::values().filter(|code| code.op_code().is_instruction());
    known.flat_map(|code| {
        let modes = [64, 32, 16].into_iter();
        modes
            .filter(move |bits| code.op_code().is_available_in_mode(*bits))
            .map(move |bits| Form { code, bits })
    })
}

/// The reason of most: the features follow.
pub(crate) const NOT_OURS: &str = "no model of Trine's has it: ";

/// Why the host's CPU is not asked about `form`, if it is not.
pub(crate) fn excluded(
    form: Form,
    ours: &Decoder,
    host: &HostFeatures,
    has_ldt: bool,
    has_ymm: bool,
) -> Option<String> {
    let Form { code, bits } = form;
    if code.op_code().fwait() {
        return Some("it is two instructions, FWAIT and another".into());
    }
    if !ours.offers(code) {
        return Some(format!("{NOT_OURS}{}", names(code.cpuid_features())));
    }
    if let Some(row) = LEFT_OUT.iter().find(|row| row.0 == code.mnemonic()) {
        return Some(row.1.into());
    }
    let missing = code.cpuid_features().iter().find(|f| !host.has(**f));
    if let Some(missing) = missing {
        return Some(format!("this host's CPU has no {missing:?}"));
    }
    if !has_ymm && code.op_code().encoding() == EncodingKind::VEX && uses_vectors(code) {
        return Some("this host's kernel gives no YMM registers".into());
    }
    if bits == 16 && !has_ldt {
        return Some("this host's kernel gives no 16-bit segment (modify_ldt)".into());
    }
    None
}

/// Whether one of the operands is an XMM or YMM register.
fn uses_vectors(code: Code) -> bool {
    use OpCodeOperandKind as K;
    let is_vector = |k: &K| {
        matches!(k, K::xmm_reg | K::ymm_reg | K::xmm_rm | K::ymm_rm | K::xmm_or_mem | K::ymm_or_mem)
    };
    code.op_code().op_kinds().iter().any(is_vector)
}

fn names(features: &[CpuidFeature]) -> String {
    features.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(" and ")
}

const KERNEL: &str = "it would call the host's kernel";
const CHANCE: &str = "its result is not the same twice (time, chance, or the CPU it runs on)";
const IDENTITY: &str = "it tells which CPU this is, which Trine's models decide themselves";
const HYPERVISOR: &str = "it is the host's hypervisor that answers, if there is one";
const EMULATED: &str = "Linux emulates it where UMIP forbids it (arch/x86/kernel/umip.c)";

/// What is left out though both CPUs have it.
const LEFT_OUT: [(Mnemonic, &str); 17] = [
    (Mnemonic::Syscall, KERNEL),
    (Mnemonic::Sysenter, KERNEL),
    (Mnemonic::Vmcall, HYPERVISOR),
    (Mnemonic::Vmmcall, HYPERVISOR),
    (Mnemonic::Rdtsc, CHANCE),
    (Mnemonic::Rdtscp, CHANCE),
    (Mnemonic::Rdpid, CHANCE),
    (Mnemonic::Rdrand, CHANCE),
    (Mnemonic::Rdseed, CHANCE),
    (Mnemonic::Cpuid, IDENTITY),
    (Mnemonic::Xgetbv, IDENTITY),
    (Mnemonic::Sgdt, EMULATED),
    (Mnemonic::Sidt, EMULATED),
    (Mnemonic::Sldt, EMULATED),
    (Mnemonic::Smsw, EMULATED),
    (Mnemonic::Str, EMULATED),
    (Mnemonic::Rdpmc, CHANCE),
];
