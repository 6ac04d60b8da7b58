//! What depends on the model: the vendor, the width of addresses, registers, hypercalls.

use std::sync::Arc;

use super::{Bench, CODE, CODE3, DATA3, STACK0};
use crate::{
    CpuModel, Seg, cr4, dr6, msr, rflags,
    segment::UNUSABLE,
    system::{control, hypercall, msr as registers, syscall, tables},
    vector,
};

impl Bench {
    /// As another model.
    pub(super) fn with_model(mut self, name: &str) -> Self {
        self.core.model = Arc::new(CpuModel::named(name).unwrap());
        self
    }

    /// Whether WRMSR takes this value.
    pub(super) fn writes(&mut self, number: u32, value: u64) -> bool {
        self.core.regs[1] = number.into();
        self.core.regs[0] = value & 0xffff_ffff;
        self.core.regs[2] = value >> 32;
        self.core.rip = CODE;
        self.run(registers::wrmsr, &[0x0f, 0x30]).is_ok()
    }

    pub(super) fn reads(&mut self, number: u32) -> Option<u64> {
        self.core.regs[1] = number.into();
        self.core.rip = CODE;
        self.run(registers::rdmsr, &[0x0f, 0x32]).ok()?;
        Some(self.core.regs[2] << 32 | self.core.regs[0])
    }
}

const SYSCALL: &[u8] = &[0x0f, 0x05];
const SYSRETD: &[u8] = &[0x0f, 0x07];

/// STAR: user segments from 18h on, the kernel's from 8, a 32-bit entry.
fn set_entries(b: &mut Bench) {
    b.core.msrs.star = 0x0018_0008_0000_7000;
    b.core.msrs.lstar = 0x7100;
    b.core.msrs.cstar = 0x7200;
}

#[test]
fn amd_has_syscall_in_every_mode_and_intel_in_one() {
    for (vendor, has) in [("AuthenticAMD", true), ("GenuineIntel", false)] {
        let mut b = Bench::new(false).with_model(&format!("max,vendor={vendor}"));
        set_entries(&mut b);
        b.core.control.efer |= crate::efer::SCE;
        b.set_level(3);
        b.core.set_rflags(0x202);
        if !has {
            b.faults(syscall::syscall, SYSCALL, vector::UD, None);
            continue;
        }
        b.ok(syscall::syscall, SYSCALL);
        assert_eq!((b.core.rip, b.core.regs[1], b.core.cpl), (0x7000, CODE + 2, 0));
        assert_eq!((b.core.rflags() & rflags::IF, b.selector(Seg::Cs)), (0, 8));
        b.ok(syscall::sysretd, SYSRETD);
        assert_eq!((b.core.rip, b.core.cpl), (CODE + 2, 3));
        assert_eq!(b.core.rflags() & rflags::IF, rflags::IF);
        assert_eq!((b.selector(Seg::Cs), b.selector(Seg::Ss)), (CODE3, DATA3));
    }
    // From compatibility mode to the entry of its own.
    let mut b = Bench::new(true).with_model("max,vendor=AuthenticAMD");
    set_entries(&mut b);
    b.ok(syscall::sysretd, SYSRETD);
    assert!(!b.core.mode.is_64());
    b.core.rip = CODE;
    b.ok(syscall::syscall, SYSCALL);
    assert!(b.core.mode.is_64());
    assert_eq!((b.core.rip, b.core.regs[1]), (0x7200, CODE + 2));
    // SYSENTER is not AMD's in long mode.
    b.faults(syscall::sysenter, &[0x0f, 0x34], vector::UD, None);
    b.faults(syscall::sysexitd, &[0x0f, 0x35], vector::UD, None);
}

#[test]
fn sysret_traps_by_the_flag_that_it_sets() {
    let mut b = Bench::new(true);
    set_entries(&mut b);
    b.core.regs[1] = 0x7300;
    b.core.regs[11] = 0x202 | rflags::TF;
    b.ok(syscall::sysretq, &[0x48, 0x0f, 0x07]);
    assert_eq!((b.core.events.pending_debug, b.core.rip), (dr6::BS, 0x7300));
    let mut b = Bench::new(true);
    b.core.set_rflags(2 | rflags::TF);
    b.core.regs[11] = 2;
    b.core.regs[1] = 0x7300;
    b.ok(syscall::sysretq, &[0x48, 0x0f, 0x07]);
    assert!(b.core.events.pending_debug == 0 && b.core.entered_handler);
}

#[test]
fn registers_take_addresses_as_wide_as_the_cpu_can_use() {
    // Canonical with five levels of paging only, and not at all.
    let (wide, never) = (0xffaa_aaaa_aaaa_aaaa_u64, 0xaaaa_aaaa_aaaa_aaaa);
    for (model, fits) in [("max", false), ("max,+la57", true)] {
        let mut b = Bench::new(true).with_model(model);
        b.core.control.cr4 |= cr4::FSGSBASE;
        for number in [msr::LSTAR, msr::KERNEL_GS_BASE, msr::SYSENTER_EIP] {
            assert_eq!((b.writes(number, wide), b.writes(number, never)), (fits, false));
        }
        b.put(0x100, 0xffff | wide << 16);
        b.put(0x108, wide >> 48);
        b.core.regs[0] = 0x100;
        b.core.rip = CODE;
        assert_eq!(b.run(tables::lgdt, &[0x0f, 0x01, 0x10]).is_ok(), fits);
        b.core.regs[0] = wide;
        let written = b.run(control::wrgsbase, &[0xf3, 0x48, 0x0f, 0xae, 0xd8]);
        assert!(written.is_err(), "an instruction goes by the paging mode");
    }
}

#[test]
fn a_segment_that_a_return_nulls_keeps_its_base() {
    let mut b = Bench::new(true);
    b.core.segments.seg[Seg::Gs as usize].base = 0x40_0000;
    b.core.cpl = 3;
    b.core.drop_inner_segments();
    let gs = b.core.segments.seg[Seg::Gs as usize];
    assert_eq!((gs.selector, gs.base, gs.rights & UNUSABLE), (0, 0x40_0000, UNUSABLE));
}

#[test]
fn hypercalls_answer_as_kvm_does() {
    const VMCALL: &[u8] = &[0x0f, 0x01, 0xc1];
    const VMMCALL: &[u8] = &[0x0f, 0x01, 0xd9];
    let mut b = Bench::new(true);
    for (number, result) in [(1, 0), (99, -1000_i64), (10, 0)] {
        b.core.regs[0] = number;
        b.core.regs[6] = 0xf1;
        b.ok(hypercall::vmcall, VMCALL);
        assert_eq!(b.core.regs[0] as i64, result, "call {number}");
    }
    // To nobody in particular: no such argument.
    (b.core.regs[0], b.core.regs[6]) = (10, 0x4_00f1);
    b.ok(hypercall::vmcall, VMCALL);
    assert_eq!(b.core.regs[0] as i64, -22);
    b.set_level(3);
    b.core.regs[0] = 1;
    b.ok(hypercall::vmcall, VMCALL);
    assert_eq!(b.core.regs[0] as i64, -1);
    b.faults(hypercall::vmmcall, VMMCALL, vector::UD, None);
    let mut b = Bench::new(false).with_model("max,vendor=AuthenticAMD");
    b.core.regs[0] = 0xffff_ffff_0000_0063;
    b.ok(hypercall::vmmcall, VMMCALL);
    assert_eq!(b.core.regs[0], 0xffff_fc18);
    let bare = crate::Decoder::new(&CpuModel::named("max,-hypervisor").unwrap());
    assert!(matches!(bare.decode(VMCALL, b.core.mode, 0, 0), crate::Decoded::Invalid));
}

#[test]
fn reserved_bits_of_registers_are_refused() {
    let mut b = Bench::new(true).with_model("max,-x2apic,phys-bits=36");
    assert!(b.writes(msr::APIC_BASE, 0xf_fee0_0800));
    assert!(!b.writes(msr::APIC_BASE, 0x10_fee0_0800), "beyond the physical addresses");
    assert!(!b.writes(msr::APIC_BASE, 0xfee0_0c00), "no x2APIC");
    let bank = msr::MC0_CTL + 4;
    assert!(b.writes(bank, 0) && b.writes(bank, u64::MAX) && !b.writes(bank, 1));
    assert!(b.writes(bank + 1, 0) && !b.writes(bank + 1, 1));
    assert!(b.writes(bank + 2, 5) && b.writes(bank + 3, u64::MAX));
    assert_eq!(b.reads(bank + 2), Some(5));
    assert_eq!(b.reads(0xc001_0000), None, "a counter of AMD's");
    let mut b = Bench::new(true).with_model("max,vendor=AuthenticAMD");
    assert!(b.writes(0xc001_0007, 0) && !b.writes(0xc001_0000, 1));
    assert_eq!(b.reads(0xc001_0004), Some(0));
}

#[test]
fn misc_enable_hides_what_it_disables() {
    let mut b = Bench::new(true).with_model("max,+monitor");
    b.core.msrs.misc_enable = registers::misc_enable_at_reset(&b.core.model);
    let old = b.reads(msr::MISC_ENABLE).unwrap();
    let monitor = |b: &Bench| b.core.cpuid(1, 0)[2] & 8 != 0;
    let nx = |b: &Bench| b.core.cpuid(0x8000_0001, 0)[3] & 1 << 20 != 0;
    assert!(monitor(&b) && nx(&b) && b.core.cpuid(0, 0)[0] > 2);
    let new =
        old & !registers::MISC_MONITOR | registers::MISC_LIMIT_CPUID | registers::MISC_XD_DISABLE;
    assert!(b.writes(msr::MISC_ENABLE, new));
    assert!(!monitor(&b) && !nx(&b) && b.core.cpuid(0, 0)[0] == 2);
    let efer = b.reads(msr::EFER).unwrap();
    assert!(!b.writes(msr::EFER, efer | crate::efer::NXE) && b.writes(msr::EFER, efer));
    assert!(!b.writes(msr::MISC_ENABLE, old | 1 << 1), "reserved");
    assert!(!b.writes(msr::MISC_ENABLE, old & !(1 << 11)), "there is no branch trace storage");
    assert_eq!(b.core.regs[4], STACK0);
}

#[test]
fn the_supervisors_protection_keys_are_an_msr() {
    let mut b = Bench::new(true);
    // The page at 0, the supervisor's with key 1.
    b.put(super::PAGES + 0x1000, 1 << 59 | 0xe3);
    b.core.control.cr4 |= cr4::PKS;
    b.core.control.cr0 |= crate::cr0::WP;
    b.core.refresh();
    let mut access = |rights: u64, intent| {
        assert!(b.writes(msr::PKRS, rights));
        let class = b.core.class;
        let done = b.core.translate(class, 0x100, intent).is_ok();
        (done, b.core.raised.take().and_then(|raised| raised.code))
    };
    use crate::{
        Class,
        paging::Intent::{Fetch, Read, Write},
    };
    assert_eq!(access(0, Write), (true, None));
    assert_eq!(access(0b1000, Read), (true, None), "write disable");
    assert_eq!(access(0b1000, Write), (false, Some(0x23)));
    assert_eq!(access(0b0100, Read), (false, Some(0x21)), "access disable");
    assert_eq!(access(0b0001, Read), (true, None), "another key's");
    assert_eq!(access(0b1100, Fetch), (true, None), "keys are for data");
    // Keys forbid user accesses to the supervisor's pages nothing more.
    assert!(b.core.translate(Class::User, 0x100, Read).is_err());
    assert_eq!(b.core.raised.take().and_then(|raised| raised.code), Some(5));
    // WD is for where writes are checked at all; AD always.
    b.core.control.cr0 &= !crate::cr0::WP;
    b.core.flush_tlb();
    assert!(b.core.translate(Class::Supervisor, 0x100, Read).is_err());
    b.core.raised = None;
    assert!(b.writes(msr::PKRS, 0b1000));
    assert!(b.core.translate(Class::Supervisor, 0x100, Write).is_ok());
    // A user page's key is for PKRU alone.
    b.put(super::PAGES + 0x1000, 1 << 59 | 0xe7);
    assert!(b.writes(msr::PKRS, 0b1100));
    assert!(b.core.translate(Class::User, 0x100, Write).is_ok());
    assert!(b.core.translate(Class::Supervisor, 0x100, Write).is_ok());
    assert!(!b.writes(msr::PKRS, 1 << 32));
}
