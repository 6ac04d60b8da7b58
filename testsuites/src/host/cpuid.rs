//! What the host's CPU has (SDM vol. 2A, CPUID).

use iced_x86::CpuidFeature;
use trine_native::cpuid;

/// The words of CPUID that tell of instructions.
#[derive(Clone, Debug)]
pub(crate) struct HostFeatures {
    leaf1_ecx: u32,
    leaf1_edx: u32,
    leaf7_ebx: u32,
    leaf7_ecx: u32,
    leaf7_1_eax: u32,
    leaf_d_1_eax: u32,
    extended_ecx: u32,
    extended_edx: u32,
    vendor: [u8; 12],
    signature: u32,
}

impl HostFeatures {
    pub(crate) fn read() -> Self {
        let (one, seven, extended) = (cpuid(1, 0), cpuid(7, 0), cpuid(0x8000_0001, 0));
        let zero = cpuid(0, 0);
        let mut vendor = [0; 12];
        for (part, word) in vendor.chunks_exact_mut(4).zip([zero.ebx, zero.edx, zero.ecx]) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        Self {
            leaf1_ecx: one.ecx,
            leaf1_edx: one.edx,
            leaf7_ebx: seven.ebx,
            leaf7_ecx: seven.ecx,
            leaf7_1_eax: if seven.eax >= 1 { cpuid(7, 1).eax } else { 0 },
            leaf_d_1_eax: cpuid(0xd, 1).eax,
            extended_ecx: extended.ecx,
            extended_edx: extended.edx,
            vendor,
            signature: one.eax,
        }
    }

    /// Intel's family 6, model 8Fh or CFh.
    pub(crate) fn is_like_ours(&self) -> bool {
        let model = self.signature >> 4 & 0xf | self.signature >> 12 & 0xf0;
        &self.vendor == b"GenuineIntel"
            && self.signature >> 8 & 0xf == 6
            && matches!(model, 0x8f | 0xcf)
    }

    /// The x87's last data pointer is updated only by unmasked exceptions (SDM vol. 1, section
    /// 8.1.8).
    pub(crate) fn keeps_fdp(&self) -> bool {
        self.leaf7_ebx >> 6 & 1 != 0
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        format!("{} {:x}", String::from_utf8_lossy(&self.vendor), self.signature)
    }

    /// Whether user code may use it. What has no row has no bit of its own, or is in no model of
    /// ours.
    pub(crate) fn has(&self, feature: CpuidFeature) -> bool {
        use CpuidFeature as C;
        let (word, bit) = match feature {
            C::FPU | C::FPU287 | C::FPU387 => (self.leaf1_edx, 0),
            C::TSC => (self.leaf1_edx, 4),
            C::MSR => (self.leaf1_edx, 5),
            C::CX8 => (self.leaf1_edx, 8),
            C::CMOV => (self.leaf1_edx, 15),
            C::CLFSH => (self.leaf1_edx, 19),
            C::MMX => (self.leaf1_edx, 23),
            C::FXSR => (self.leaf1_edx, 24),
            C::SSE => (self.leaf1_edx, 25),
            C::SSE2 => (self.leaf1_edx, 26),
            C::SSE3 => (self.leaf1_ecx, 0),
            C::PCLMULQDQ => (self.leaf1_ecx, 1),
            C::MONITOR => (self.leaf1_ecx, 3),
            C::SSSE3 => (self.leaf1_ecx, 9),
            C::FMA => (self.leaf1_ecx, 12),
            C::CMPXCHG16B => (self.leaf1_ecx, 13),
            C::SSE4_1 => (self.leaf1_ecx, 19),
            C::SSE4_2 => (self.leaf1_ecx, 20),
            C::MOVBE => (self.leaf1_ecx, 22),
            C::POPCNT => (self.leaf1_ecx, 23),
            C::AES => (self.leaf1_ecx, 25),
            C::XSAVE => (self.leaf1_ecx, 27),
            C::AVX => (self.leaf1_ecx, 28),
            C::F16C => (self.leaf1_ecx, 29),
            C::FSGSBASE => (self.leaf7_ebx, 0),
            C::BMI1 => (self.leaf7_ebx, 3),
            C::AVX2 => (self.leaf7_ebx, 5),
            C::BMI2 => (self.leaf7_ebx, 8),
            C::INVPCID => (self.leaf7_ebx, 10),
            C::ADX => (self.leaf7_ebx, 19),
            C::SMAP => (self.leaf7_ebx, 20),
            C::CLFLUSHOPT => (self.leaf7_ebx, 23),
            C::CLWB => (self.leaf7_ebx, 24),
            C::SHA => (self.leaf7_ebx, 29),
            C::GFNI => (self.leaf7_ecx, 8),
            C::VAES => (self.leaf7_ecx, 9),
            C::VPCLMULQDQ => (self.leaf7_ecx, 10),
            C::AVX_VNNI => (self.leaf7_1_eax, 4),
            // OSPKE: the kernel lets users use it.
            C::PKU => (self.leaf7_ecx, 4),
            C::XSAVEOPT => (self.leaf_d_1_eax, 0),
            C::XSAVEC => (self.leaf_d_1_eax, 1),
            C::XSAVES => (self.leaf_d_1_eax, 3),
            C::LZCNT => (self.extended_ecx, 5),
            C::PREFETCHW => (self.extended_ecx, 8),
            C::SYSCALL => (self.extended_edx, 11),
            _ => return true,
        };
        word >> bit & 1 != 0
    }
}
