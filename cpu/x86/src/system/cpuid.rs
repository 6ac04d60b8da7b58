//! CPUID.
//!
//! Sources: SDM vol. 2A, CPUID; vol. 1, section 13.2 (leaf 0Dh); QEMU's documentation of TCG for
//! what lies at 40000000h, and Linux's `Documentation/virt/kvm/x86/cpuid.rst` for what lies there
//! under KVM.

use crate::{
    Core, CpuModel, Feature, Insn, Raised, cr4,
    insn::Width,
    model::{Vendor, Word},
    system::msr::{APIC_ENABLE, CRYSTAL_HZ, MISC_LIMIT_CPUID, MISC_MONITOR, MISC_XD_DISABLE},
    xsave::{self, COMPONENTS},
};

/// EAX, EBX, ECX and EDX.
type Leaf = [u32; 4];

/// EDX of leaf 1: the package holds more than one logical CPU.
const HTT: u32 = 1 << 28;
/// ECX of leaf 1: CR4.OSXSAVE.
const OSXSAVE: u32 = 1 << 27;
/// EDX of leaf 1: there is a local APIC, and it is enabled.
const APIC: u32 = 1 << 9;
/// ECX of leaf 7: CR4.PKE.
const OSPKE: u32 = 1 << 4;
/// ECX of leaf 1.
const MONITOR: u32 = 1 << 3;
/// EDX of leaf 80000001h.
const SYSCALL: u32 = 1 << 11;
const NX: u32 = 1 << 20;
/// The first leaf of a hypervisor.
const HYPERVISOR: u32 = 0x4000_0000;
/// What KVM offers.
const KVM: u32 = HYPERVISOR + 1;
/// EAX of that leaf: the clock by its old MSRs too; its flag that all CPUs agree has a meaning.
const KVM_CLOCK_OLD: u32 = 1 << 0;
const KVM_CLOCK_STABLE: u32 = 1 << 24;
/// The first extended leaf.
const EXTENDED: u32 = 0x8000_0000;

/// CPUID.
pub(crate) fn cpuid(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    let (leaf, subleaf) = (core.get(Width::W32, 0) as u32, core.get(Width::W32, 1) as u32);
    let [eax, ebx, ecx, edx] = core.cpuid(leaf, subleaf);
    for (reg, value) in [(0, eax), (3, ebx), (1, ecx), (2, edx)] {
        core.set(Width::W32, reg, u64::from(value));
    }
    Ok(())
}

impl Core {
    /// What CPUID answers now: the model's leaves, with what the control registers show in them.
    #[must_use]
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let leaf = self.model.known_leaf(leaf);
        let mut out = self.model.cpuid(leaf, subleaf, self.id);
        let put = |set: bool, bit: u32| if set { bit } else { 0 };
        let misc = |bit: u64| self.msrs.misc_enable & bit != 0;
        match (leaf, subleaf) {
            (1, _) => {
                out[2] |= put(self.control.cr4 & cr4::OSXSAVE != 0, OSXSAVE);
                let apic_base = self.bus.read_msr(self.access(), crate::msr::APIC_BASE);
                if apic_base.is_ok_and(|base| base & APIC_ENABLE == 0) {
                    out[3] &= !APIC;
                }
                if !misc(MISC_MONITOR) {
                    out[2] &= !MONITOR;
                }
            }
            (0, _) if misc(MISC_LIMIT_CPUID) => out[0] = out[0].min(2),
            (7, 0) => out[2] |= put(self.control.cr4 & cr4::PKE != 0, OSPKE),
            (0xd, 0) if self.model.has(Feature::Xsave) => {
                out[1] = xsave::standard_size(self.control.xcr0) as u32;
            }
            (0xd, 1) if self.model.has(Feature::Xsavec) => {
                out[1] = xsave::compacted_size(self.control.xcr0 | self.msrs.xss) as u32;
            }
            (0x8000_0001, _) => {
                out[3] &= !put(misc(MISC_XD_DISABLE), NX);
                // Intel's CPUs show it in 64-bit mode only, the only one in which they execute it.
                let hidden = !self.mode.is_64() && self.model.vendor == Vendor::Intel;
                out[3] &= !put(hidden, SYSCALL);
            }
            _ => {}
        }
        out
    }
}

impl CpuModel {
    /// What CPUID answers on vCPU `id` apart from what depends on control registers.
    #[must_use]
    pub fn cpuid(&self, leaf: u32, subleaf: u32, id: u32) -> [u32; 4] {
        match self.known_leaf(leaf) {
            0 => vendor(self.max_leaf, self.vendor.name()),
            1 => self.leaf_1(id),
            2 => self.leaf_2(),
            4 => self.leaf_4(subleaf),
            5 if self.has(Feature::Monitor) => [64, 64, 0, 0],
            6 => [self.word(Word::L6Eax), 0, 0, 0],
            7 if subleaf == 0 => {
                let last = u32::from(self.word(Word::L71Eax) != 0);
                [last, self.word(Word::L7Ebx), self.word(Word::L7Ecx), self.word(Word::L7Edx)]
            }
            7 if subleaf == 1 => [self.word(Word::L71Eax), 0, 0, 0],
            0xb => self.leaf_b(subleaf, id),
            0xd => self.leaf_d(subleaf),
            // Any other ratio would overflow the 32 bits in which kernels multiply.
            0x15 if self.has(Feature::Tsc) && self.tsc_hz().is_multiple_of(CRYSTAL_HZ) => {
                [1, (self.tsc_hz() / CRYSTAL_HZ) as u32, CRYSTAL_HZ as u32, 0]
            }
            0x16 => {
                let mhz = (self.tsc_hz() / 1_000_000) as u32;
                [mhz, mhz, 100, 0]
            }
            HYPERVISOR if self.is_kvm() => vendor(KVM, *b"KVMKVMKVM\0\0\0"),
            HYPERVISOR => vendor(HYPERVISOR, *b"TrineTrine\0\0"),
            KVM => [self.leaf_kvm(), 0, 0, 0],
            0x8000_0000 if self.vendor == Vendor::Amd => vendor(0x8000_0008, self.vendor.name()),
            0x8000_0000 => [0x8000_0008, 0, 0, 0],
            0x8000_0001 => [0, 0, self.word(Word::X1Ecx), self.word(Word::X1Edx)],
            leaf @ 0x8000_0002..=0x8000_0004 => self.brand(leaf - 0x8000_0002),
            // 512 KiB of level-2 cache, 8 ways, lines of 64 bytes.
            0x8000_0006 => [0, 0, 512 << 16 | 6 << 12 | 64, 0],
            0x8000_0007 => [0, 0, 0, self.word(Word::X7Edx)],
            0x8000_0008 => [self.physical_bits() | self.linear_bits() << 8, 0, 0, 0],
            _ => [0; 4],
        }
    }

    fn linear_bits(&self) -> u32 {
        match () {
            () if self.has(Feature::La57) => 57,
            () if self.has(Feature::Lm) => 48,
            () => 32,
        }
    }

    /// The leaf itself, or the highest basic one if there is no such leaf.
    fn known_leaf(&self, leaf: u32) -> u32 {
        let known = match leaf {
            HYPERVISOR..=0x4fff_ffff => {
                let last = if self.is_kvm() { KVM } else { HYPERVISOR };
                self.has(Feature::Hypervisor) && leaf <= last
            }
            EXTENDED.. => self.max_leaf > 2 && leaf <= EXTENDED + 8,
            _ => leaf <= self.max_leaf,
        };
        if known { leaf } else { self.max_leaf }
    }

    /// Whether it offers anything for which guests look behind KVM's name.
    fn is_kvm(&self) -> bool {
        self.word(Word::KvmEax) != 0
    }

    fn leaf_kvm(&self) -> u32 {
        let clock = if self.has(Feature::Kvmclock) { KVM_CLOCK_OLD | KVM_CLOCK_STABLE } else { 0 };
        self.word(Word::KvmEax) | clock
    }

    fn leaf_1(&self, id: u32) -> Leaf {
        let lines = if self.has(Feature::Clfsh) { 8 << 8 } else { 0 };
        let cpus = self.cpus.next_power_of_two().min(128);
        let (package, htt) = if self.cpus > 1 { (cpus << 16, HTT) } else { (0, 0) };
        [
            self.signature(),
            (id & 0xff) << 24 | package | lines,
            self.word(Word::L1Ecx),
            self.word(Word::L1Edx) | htt,
        ]
    }

    /// Cache and TLB descriptors, where there is no leaf 4 to tell.
    fn leaf_2(&self) -> Leaf {
        if self.max_leaf >= 4 {
            // Instruction and data TLBs of 128 and 256 entries; for the caches see leaf 4.
            [0xb4b0_ff01, 0, 0, 0]
        } else {
            [0x0302_0101, 0, 0, 0x0c04_0843]
        }
    }

    /// Caches: 32 KiB each for instructions and data and 512 KiB of level 2 for each core, 4 MiB of
    /// level 3 for all.
    fn leaf_4(&self, subleaf: u32) -> Leaf {
        let cpus = self.cpus.next_power_of_two().min(64);
        let (kind, level, ways, sets, sharing) = match subleaf {
            0 => (1, 1, 8, 64, 1),
            1 => (2, 1, 8, 64, 1),
            2 => (3, 2, 8, 1024, 1),
            3 => (3, 3, 16, 4096, cpus),
            _ => return [0; 4],
        };
        let eax = kind | level << 5 | 1 << 8 | (sharing - 1) << 14 | (cpus - 1) << 26;
        [eax, 63 | (ways - 1) << 22, sets - 1, 0]
    }

    /// One package of as many cores as there are CPUs, with one thread each.
    fn leaf_b(&self, subleaf: u32, id: u32) -> Leaf {
        let bits = self.cpus.next_power_of_two().trailing_zeros();
        let level = subleaf & 0xff;
        match subleaf {
            0 => [0, 1, level | 1 << 8, id],
            1 => [bits, self.cpus, level | 2 << 8, id],
            _ => [0, 0, level, id],
        }
    }

    fn leaf_d(&self, subleaf: u32) -> Leaf {
        if !self.has(Feature::Xsave) {
            return [0; 4];
        }
        let allowed = xsave::supported(self);
        match subleaf {
            0 => [allowed as u32, 0, xsave::standard_size(allowed) as u32, (allowed >> 32) as u32],
            1 => {
                // XGETBV with ECX = 1 comes with the compacted form.
                let in_use = if self.has(Feature::Xsavec) { 1 << 2 } else { 0 };
                [self.word(Word::LdEax) | in_use, 0, 0, 0]
            }
            _ => match COMPONENTS.iter().find(|c| c.number == subleaf) {
                Some(c) if self.has(c.feature) => {
                    [c.size as u32, c.offset as u32, if c.aligned { 2 } else { 0 }, 0]
                }
                _ => [0; 4],
            },
        }
    }

    /// 16 bytes of the brand string "Trine <model>".
    fn brand(&self, part: u32) -> Leaf {
        let brand = format!("Trine {}", self.name());
        let byte = |n: usize| brand.as_bytes().get(n).copied().map_or(0, u32::from);
        std::array::from_fn(|word| {
            let first = part as usize * 16 + word * 4;
            (0..4).fold(0, |bits, n| bits | byte(first + n) << (8 * n))
        })
    }
}

/// A vendor's name, in EBX, EDX, ECX for leaf 0 and in EBX, ECX, EDX for a hypervisor.
fn vendor(max: u32, name: [u8; 12]) -> Leaf {
    let word = |n: usize| u32::from_le_bytes([name[n], name[n + 1], name[n + 2], name[n + 3]]);
    if max >> 28 == HYPERVISOR >> 28 {
        [max, word(0), word(4), word(8)]
    } else {
        [max, word(0), word(8), word(4)]
    }
}
