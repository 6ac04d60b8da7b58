//! RDMSR and WRMSR.
//!
//! Source: SDM vol. 4, chapter 2; vol. 3A, sections 11.5 and 12.11 for the checks of PAT and MTRRs.

use crate::{
    Core, CpuModel, Feature as F, Insn, MsrFault as Refused, Raised, Seg, Vendor, cr0, efer,
    insn::Width, msr, segment::is_canonical,
};

/// The crystal that CPUID leaf 15h reports: the clock of the local APIC's timer.
pub const CRYSTAL_HZ: u64 = 1_000_000_000;
/// IA32_APIC_BASE: the local APIC is enabled.
pub(crate) const APIC_ENABLE: u64 = 1 << 11;
/// IA32_APIC_BASE: it is in x2APIC mode.
const X2APIC_ENABLE: u64 = 1 << 10;

/// IA32_MTRRCAP: 8 variable ranges, fixed ranges, write-combining.
const MTRRCAP: u64 = 8 | 1 << 8 | 1 << 10;
/// IA32_MCG_CAP: 4 banks, IA32_MCG_CTL.
const MCG_CAP: u64 = 4 | 1 << 8;
/// IA32_MISC_ENABLE: MONITOR is enabled, CPUID has no leaf above 2, execute disable is disabled.
pub(crate) const MISC_MONITOR: u64 = 1 << 18;
pub(crate) const MISC_LIMIT_CPUID: u64 = 1 << 22;
pub(crate) const MISC_XD_DISABLE: u64 = 1 << 34;
/// What it says of the CPU: there is neither branch trace storage nor precise event sampling.
const MISC_FIXED: u64 = 1 << 11 | 1 << 12;
/// What else software may change: fast strings, thermal control, SpeedStep, xTPR messages.
const MISC_ENABLE: u64 =
    1 | 1 << 3 | 1 << 16 | 1 << 23 | MISC_MONITOR | MISC_LIMIT_CPUID | MISC_XD_DISABLE;
/// IA32_FEATURE_CONTROL: locked.
const FEATURE_LOCK: u64 = 1;
/// IA32_DEBUGCTL: single step on branches (BTF).
const DEBUGCTL: u64 = 2;
/// The fixed-range MTRRs in the order in which the state keeps them.
const MTRR_FIXED: [u32; 11] =
    [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
const MC_BANKS_END: u32 = msr::MC0_CTL + 4 * 4;
const MTRR_VARIABLE_END: u32 = msr::MTRR_PHYSBASE0 + 2 * 8;
/// EBL_CR_POWERON of the P6 family: bus frequency and cluster straps.
const EBL_CR_POWERON: u32 = 0x2a;
/// IA32_PERF_CTL: the performance state that software asks for.
const PERF_CTL: u32 = 0x199;
/// The Pentium's machine check: none has happened.
const P5_MC_ADDR: u32 = 0;
const P5_MC_TYPE: u32 = 1;
/// Registers of Intel's family 6 with values that never change, for systems that read them without
/// asking: platform ID, power-on straps, bus clock (100 MHz), control of the level-2 cache (present
/// and enabled), performance state (ten times the bus clock), the last branch and the last
/// interrupt, of which none is recorded.
const FIXED: [(u32, u64); 12] = [
    (P5_MC_ADDR, 0),
    (P5_MC_TYPE, 0),
    (msr::PLATFORM_ID, 0),
    (EBL_CR_POWERON, 0),
    (0xcd, 5),
    (0x11e, 0xbe70_2111),
    (0x198, 10 << 8),
    (PERF_CTL, 10 << 8),
    (0x1db, 0),
    (0x1dc, 0),
    (0x1dd, 0),
    (0x1de, 0),
];

/// The performance counters of AMD's K7 and its successors: four controls, four counters.
const K7_COUNTERS: std::ops::RangeInclusive<u32> = 0xc001_0000..=0xc001_0007;

/// IA32_MISC_ENABLE after RESET.
pub(crate) fn misc_enable_at_reset(model: &CpuModel) -> u64 {
    1 | MISC_FIXED | if model.has(F::Monitor) { MISC_MONITOR } else { 0 }
}

/// RDMSR.
pub(crate) fn rdmsr(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.require_cpl0()?;
    let number = core.get(Width::W32, 1) as u32;
    match core.read_msr(number) {
        Ok(value) => {
            core.set(Width::W32, 0, value & 0xffff_ffff);
            core.set(Width::W32, 2, value >> 32);
            Ok(())
        }
        Err(Refused) => {
            log::debug!("vCPU {}: RDMSR {number:#x} at {:#x} refused", core.id, core.rip);
            Err(core.gp(0))
        }
    }
}

/// WRMSR.
pub(crate) fn wrmsr(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    core.require_cpl0()?;
    let number = core.get(Width::W32, 1) as u32;
    let value = core.get(Width::W32, 2) << 32 | core.get(Width::W32, 0);
    core.write_msr(number, value).map_err(|Refused| {
        log::debug!("vCPU {}: WRMSR {number:#x} = {value:#x} at {:#x} refused", core.id, core.rip);
        core.gp(0)
    })
}

impl Core {
    /// Whether the model has register `number` (of those that depend on a feature).
    fn has_msr(&self, number: u32) -> bool {
        let has = |feature| self.model.has(feature);
        match number {
            P5_MC_ADDR | P5_MC_TYPE => has(F::Mce),
            msr::TSC => has(F::Tsc),
            msr::TSC_ADJUST => has(F::TscAdjust),
            msr::KVM_WALL_CLOCK_OLD | msr::KVM_SYSTEM_TIME_OLD => has(F::Kvmclock),
            msr::KVM_WALL_CLOCK | msr::KVM_SYSTEM_TIME => has(F::Kvmclock),
            msr::KVM_STEAL_TIME => has(F::KvmStealTime),
            msr::KVM_PV_EOI => has(F::KvmPvEoi),
            msr::APIC_BASE => has(F::Apic),
            msr::TSC_DEADLINE => has(F::TscDeadline),
            msr::X2APIC_FIRST..=msr::X2APIC_LAST => has(F::X2apic),
            msr::SYSENTER_CS..=msr::SYSENTER_EIP => has(F::Sep),
            msr::MTRRCAP | msr::MTRR_PHYSBASE0..MTRR_VARIABLE_END | msr::MTRR_DEF_TYPE => {
                has(F::Mtrr)
            }
            n if MTRR_FIXED.contains(&n) => has(F::Mtrr),
            msr::PAT => has(F::Pat),
            msr::MCG_CAP..=msr::MCG_CTL | msr::MC0_CTL..MC_BANKS_END => has(F::Mca),
            msr::XSS => has(F::Xsaves),
            msr::PKRS => has(F::Pks),
            msr::EFER => has(F::Lm) || has(F::Nx) || has(F::Syscall),
            msr::STAR..=msr::FMASK => has(F::Syscall),
            msr::FS_BASE..=msr::KERNEL_GS_BASE => has(F::Lm),
            msr::TSC_AUX => has(F::Rdtscp) || has(F::Rdpid),
            n if K7_COUNTERS.contains(&n) => self.model.vendor() == Vendor::Amd,
            _ => self.model.max_leaf > 1,
        }
    }

    /// What RDMSR of register `number` gives.
    ///
    /// # Errors
    /// If it raises #GP(0).
    pub fn read_msr(&self, number: u32) -> Result<u64, Refused> {
        if !self.has_msr(number) {
            return Err(Refused);
        }
        let m = &self.msrs;
        Ok(match number {
            msr::TSC => self.tsc(),
            msr::APIC_BASE
            | msr::TSC_DEADLINE
            | msr::X2APIC_FIRST..=msr::X2APIC_LAST
            | msr::KVM_PV_EOI => {
                return self.bus.read_msr(self.access(), number).map_err(|_| Refused);
            }
            msr::KVM_WALL_CLOCK_OLD | msr::KVM_WALL_CLOCK => m.kvm_wall_clock,
            msr::KVM_SYSTEM_TIME_OLD | msr::KVM_SYSTEM_TIME => m.kvm_system_time,
            msr::KVM_STEAL_TIME => m.kvm_steal_time,
            msr::FEATURE_CONTROL => m.feature_control,
            msr::TSC_ADJUST => m.tsc_adjust,
            msr::BIOS_SIGN_ID => m.bios_sign_id,
            msr::MTRRCAP => MTRRCAP,
            msr::SYSENTER_CS => m.sysenter_cs,
            msr::SYSENTER_ESP => m.sysenter_esp,
            msr::SYSENTER_EIP => m.sysenter_eip,
            msr::MCG_CAP => MCG_CAP,
            msr::MCG_STATUS => m.mcg_status,
            msr::MCG_CTL => m.mcg_ctl,
            msr::MISC_ENABLE => m.misc_enable,
            msr::DEBUGCTL => m.debugctl,
            msr::MTRR_PHYSBASE0..MTRR_VARIABLE_END => {
                let n = number - msr::MTRR_PHYSBASE0;
                let (base, mask) = m.mtrr_variable[n as usize / 2 % 8];
                if n & 1 == 0 { base } else { mask }
            }
            msr::PAT => m.pat,
            msr::MTRR_DEF_TYPE => m.mtrr_def_type,
            msr::MC0_CTL..MC_BANKS_END => {
                let n = (number - msr::MC0_CTL) as usize;
                m.mc_banks[n / 4 % 4][n % 4]
            }
            msr::XSS => m.xss,
            msr::PKRS => u64::from(m.pkrs),
            msr::EFER => self.control.efer,
            msr::STAR => m.star,
            msr::LSTAR => m.lstar,
            msr::CSTAR => m.cstar,
            msr::FMASK => m.fmask,
            msr::FS_BASE => self.segments.seg[Seg::Fs as usize].base,
            msr::GS_BASE => self.segments.seg[Seg::Gs as usize].base,
            msr::KERNEL_GS_BASE => m.kernel_gs_base,
            msr::TSC_AUX => m.tsc_aux,
            n if K7_COUNTERS.contains(&n) => 0,
            _ => {
                let fixed = FIXED.iter().find(|(n, _)| *n == number).map(|(_, value)| *value);
                let range = || MTRR_FIXED.iter().position(|n| *n == number);
                fixed.or_else(|| range().map(|n| m.mtrr_fixed[n])).ok_or(Refused)?
            }
        })
    }

    /// WRMSR of register `number`.
    ///
    /// # Errors
    /// If it raises #GP(0).
    pub fn write_msr(&mut self, number: u32, value: u64) -> Result<(), Refused> {
        if !self.has_msr(number) {
            return Err(Refused);
        }
        match number {
            msr::TSC => self.move_tsc(value.wrapping_sub(self.tsc())),
            msr::TSC_ADJUST => {
                self.move_tsc(value.wrapping_sub(self.msrs.tsc_adjust));
            }
            msr::APIC_BASE
            | msr::TSC_DEADLINE
            | msr::X2APIC_FIRST..=msr::X2APIC_LAST
            | msr::KVM_PV_EOI => {
                return self.write_bus_msr(number, value);
            }
            msr::KVM_WALL_CLOCK_OLD | msr::KVM_WALL_CLOCK => self.set_wall_clock(value),
            msr::KVM_SYSTEM_TIME_OLD | msr::KVM_SYSTEM_TIME => self.set_system_time(value),
            msr::KVM_STEAL_TIME => self.set_steal_time(value)?,
            msr::FEATURE_CONTROL => {
                allow(self.msrs.feature_control & FEATURE_LOCK == 0 && value & !FEATURE_LOCK == 0)?;
                self.msrs.feature_control = value;
            }
            // A microcode update that brings nothing new; straps and a state that stay.
            msr::BIOS_UPDT_TRIG | EBL_CR_POWERON | PERF_CTL => {}
            msr::BIOS_SIGN_ID => self.msrs.bios_sign_id = value,
            msr::SYSENTER_CS => self.msrs.sysenter_cs = value & 0xffff_ffff,
            msr::SYSENTER_ESP => self.msrs.sysenter_esp = self.address_value(value)?,
            msr::SYSENTER_EIP => self.msrs.sysenter_eip = self.address_value(value)?,
            msr::MCG_STATUS => {
                allow(value == 0)?;
                self.msrs.mcg_status = value;
            }
            msr::MCG_CTL => {
                allow(value == 0 || value == u64::MAX)?;
                self.msrs.mcg_ctl = value;
            }
            msr::MISC_ENABLE => {
                allow(value & !MISC_ENABLE == MISC_FIXED)?;
                self.msrs.misc_enable = value;
            }
            msr::DEBUGCTL => {
                allow(value & !DEBUGCTL == 0)?;
                self.msrs.debugctl = value;
            }
            msr::MC0_CTL..MC_BANKS_END => self.write_error_bank(number - msr::MC0_CTL, value)?,
            msr::XSS => allow(value == 0)?,
            msr::PKRS => {
                self.msrs.pkrs = u32::try_from(value).map_err(|_| Refused)?;
                // What the keys allow is in the entries.
                self.flush_tlb();
            }
            msr::EFER => self.set_efer(value)?,
            msr::STAR => self.msrs.star = value,
            msr::LSTAR => self.msrs.lstar = self.address_value(value)?,
            msr::CSTAR => self.msrs.cstar = self.address_value(value)?,
            msr::FMASK => self.msrs.fmask = value & 0xffff_ffff,
            msr::FS_BASE => self.segments.seg[Seg::Fs as usize].base = self.address_value(value)?,
            msr::GS_BASE => self.segments.seg[Seg::Gs as usize].base = self.address_value(value)?,
            msr::KERNEL_GS_BASE => self.msrs.kernel_gs_base = self.address_value(value)?,
            msr::TSC_AUX => {
                allow(value >> 32 == 0)?;
                self.msrs.tsc_aux = value;
            }
            // Nothing is counted.
            n if K7_COUNTERS.contains(&n) => allow(value == 0)?,
            _ => self.write_memory_type(number, value)?,
        }
        Ok(())
    }

    /// Register `n` of the machine-check banks, four for each (SDM vol. 3B, section 17.3.2): a
    /// control enables all errors or none, a status can be cleared; the address and what goes with
    /// it take anything.
    fn write_error_bank(&mut self, n: u32, value: u64) -> Result<(), Refused> {
        let n = n as usize;
        allow(match n % 4 {
            0 => value == 0 || value == u64::MAX,
            1 => value == 0,
            _ => true,
        })?;
        self.msrs.mc_banks[n / 4 % 4][n % 4] = value;
        Ok(())
    }

    /// MTRRs and PAT: kept and checked; all memory behaves as write-back.
    fn write_memory_type(&mut self, number: u32, value: u64) -> Result<(), Refused> {
        let high = u64::MAX << self.model.physical_bits();
        match number {
            msr::PAT => {
                allow(value.to_le_bytes().iter().all(|t| *t == 7 || is_memory_type(*t)))?;
                self.msrs.pat = value;
            }
            msr::MTRR_DEF_TYPE => {
                allow(value & !0xcff == 0 && is_memory_type(value as u8))?;
                self.msrs.mtrr_def_type = value;
            }
            msr::MTRR_PHYSBASE0..MTRR_VARIABLE_END => {
                let n = number - msr::MTRR_PHYSBASE0;
                let pair = &mut self.msrs.mtrr_variable[n as usize / 2 % 8];
                if n & 1 == 0 {
                    allow(value & (high | 0xf00) == 0 && is_memory_type(value as u8))?;
                    pair.0 = value;
                } else {
                    allow(value & (high | 0x7ff) == 0)?;
                    pair.1 = value;
                }
            }
            _ => {
                let n = MTRR_FIXED.iter().position(|n| *n == number).ok_or(Refused)?;
                allow(value.to_le_bytes().iter().all(|t| is_memory_type(*t)))?;
                self.msrs.mtrr_fixed[n] = value;
            }
        }
        Ok(())
    }

    fn write_bus_msr(&mut self, number: u32, value: u64) -> Result<(), Refused> {
        if number == msr::APIC_BASE {
            let x2apic = if self.model.has(F::X2apic) { 0 } else { X2APIC_ENABLE };
            allow(value >> self.model.physical_bits() == 0 && value & x2apic == 0)?;
        }
        let deadline = (number == msr::TSC_DEADLINE && value != 0).then(|| {
            let ahead = value.saturating_sub(self.tsc());
            self.now().after_ns(self.model.tsc_ns(ahead))
        });
        let written = self.bus.write_msr(self.access(), number, value, deadline);
        self.follow_map();
        written.map_err(|_| Refused)
    }

    fn move_tsc(&mut self, by: u64) {
        self.msrs.tsc_offset = self.msrs.tsc_offset.wrapping_add(by);
        self.msrs.tsc_adjust = self.msrs.tsc_adjust.wrapping_add(by);
        self.tell_tsc_offset();
        self.set_clock();
    }

    fn set_efer(&mut self, value: u64) -> Result<(), Refused> {
        let put = |feature, bit| if self.model.has(feature) { bit } else { 0 };
        let writable = put(F::Syscall, efer::SCE) | put(F::Lm, efer::LME) | put(F::Nx, efer::NXE);
        let old = self.control.efer;
        let paging = self.control.cr0 & cr0::PG != 0;
        // LMA is the CPU's; writes leave it as it is.
        allow(value & !(writable | efer::LMA) == 0)?;
        let no_execute = self.msrs.misc_enable & MISC_XD_DISABLE == 0;
        allow(no_execute || value & !old & efer::NXE == 0)?;
        allow(!(paging && (old ^ value) & efer::LME != 0))?;
        self.control.efer = value & writable | old & efer::LMA;
        if (old ^ value) & efer::NXE != 0 {
            self.flush_tlb();
        }
        self.refresh();
        Ok(())
    }

    /// A value that has to be an address: canonical where there are 64 bits, else 32 bits.
    fn address_value(&self, value: u64) -> Result<u64, Refused> {
        if self.model.has(F::Lm) {
            allow(is_canonical(value, self.widest_linear_bits()))?;
            Ok(value)
        } else {
            Ok(value & 0xffff_ffff)
        }
    }
}

fn allow(allowed: bool) -> Result<(), Refused> {
    if allowed { Ok(()) } else { Err(Refused) }
}

/// UC, WC, WT, WP and WB.
fn is_memory_type(kind: u8) -> bool {
    matches!(kind, 0 | 1 | 4 | 5 | 6)
}
