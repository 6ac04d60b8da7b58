//! The ACPI tables (ACPI specification 6.3, chapter 5), each as bytes; [`crate::tables`] places
//! them.
//!
//! The FADT says revision 4 and the tables that point to others have 32-bit and 64-bit forms, so
//! that an ACPI 1.0 system (RSDT) and a later one (XSDT) both find their way.

pub(crate) mod aml;
mod dsdt;
mod waking;

use trine_guest::Gpa;

pub(crate) use dsdt::dsdt;
pub use waking::waking_vector;

use crate::{
    description::{
        Description, Ecam, Hpet, InterruptOverride, Polarity, PowerManagement, ResetRegister,
        Trigger,
    },
    record::Record,
};

/// Bytes of the header that every table but the RSDP and the FACS begins with.
const HEADER_LEN: usize = 36;

/// A table: its header, checksum and all.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = Record::zeroed(HEADER_LEN);
    table
        .set(0, signature)
        .set_u32(4, (HEADER_LEN + body.len()) as u32)
        .set_u8(8, revision)
        .set(10, b"TRINE ")
        .set(16, b"TRINE PC")
        .set_u32(24, 1) // OEM revision
        .set(28, b"TRNE")
        .set_u32(32, 1) // creator revision
        .push(body)
        .set_checksum(9);
    table.into_bytes()
}

/// RSDP (section 5.2.5.3): where the RSDT and the XSDT are.
pub(crate) fn rsdp(rsdt: Gpa, xsdt: Gpa) -> Vec<u8> {
    let mut first = Record::zeroed(20);
    first.set(0, b"RSD PTR ").set(9, b"TRINE ").set_u8(15, 2).set_u32(16, rsdt.0 as u32);
    first.set_checksum(8);
    let mut rsdp = Record::zeroed(36);
    rsdp.set(0, first.bytes()).set_u32(20, 36).set_u64(24, xsdt.0).set_checksum(32);
    rsdp.into_bytes()
}

/// RSDT (section 5.2.7): where the other tables are, in 32 bits.
pub(crate) fn rsdt(tables: &[Gpa]) -> Vec<u8> {
    let mut body = Record::new();
    for at in tables {
        body.push_u32(at.0 as u32);
    }
    table(b"RSDT", 1, body.bytes())
}

/// XSDT (section 5.2.8): the same in 64 bits.
pub(crate) fn xsdt(tables: &[Gpa]) -> Vec<u8> {
    let mut body = Record::new();
    for at in tables {
        body.push_u64(at.0);
    }
    table(b"XSDT", 1, body.bytes())
}

/// FACS (section 5.2.10): the guest writes its waking vector and takes the global lock here.
pub(crate) fn facs() -> Vec<u8> {
    let mut facs = Record::zeroed(64);
    facs.set(0, b"FACS").set_u32(4, 64).set_u8(32, 1);
    facs.into_bytes()
}

/// A generic address structure (section 5.2.3.2) for a block of I/O ports; `access` is 1 for bytes,
/// 2 for words, 3 for double words.
fn io_block(port: u16, bytes: u8, access: u8) -> [u8; 12] {
    const SYSTEM_IO: u8 = 1;
    let mut block = Record::zeroed(12);
    if port != 0 {
        block.set_u8(0, SYSTEM_IO).set_u8(1, bytes.saturating_mul(8)).set_u8(3, access);
        block.set_u64(4, port.into());
    }
    let mut bytes = [0; 12];
    bytes.copy_from_slice(block.bytes());
    bytes
}

/// IA-PC boot architecture flags (table 5-35).
fn boot_architecture(machine: &Description) -> u16 {
    const LEGACY_DEVICES: u16 = 1 << 0;
    const I8042: u16 = 1 << 1;
    const NO_VGA: u16 = 1 << 2;
    const NO_ASPM: u16 = 1 << 4;
    let mut flags = LEGACY_DEVICES | NO_ASPM;
    if machine.i8042 {
        flags |= I8042;
    }
    if !machine.vga {
        flags |= NO_VGA;
    }
    flags
}

/// Fixed feature flags (table 5-34).
fn fixed_features(pm: &PowerManagement) -> u32 {
    const WBINVD: u32 = 1 << 0;
    const PROC_C1: u32 = 1 << 2;
    const NO_FIXED_POWER_BUTTON: u32 = 1 << 4;
    const NO_FIXED_SLEEP_BUTTON: u32 = 1 << 5;
    const NO_FIXED_RTC_WAKE: u32 = 1 << 6;
    const TIMER_32_BITS: u32 = 1 << 8;
    const RESET_REGISTER: u32 = 1 << 10;
    let mut flags = WBINVD | PROC_C1 | NO_FIXED_SLEEP_BUTTON;
    if pm.s3_sleep_type.is_none() {
        flags |= NO_FIXED_RTC_WAKE;
    }
    if !pm.power_button {
        flags |= NO_FIXED_POWER_BUTTON;
    }
    if pm.pm_timer_extended {
        flags |= TIMER_32_BITS;
    }
    if pm.reset.is_some() {
        flags |= RESET_REGISTER;
    }
    flags
}

/// FADT (section 5.2.9), revision 4: where the fixed hardware is. Its signature is FACP.
pub(crate) fn fadt(machine: &Description, pm: &PowerManagement, facs: Gpa, dsdt: Gpa) -> Vec<u8> {
    const LEN: usize = 244;
    // Where the century is in the RTC's RAM, as on every PC.
    const CENTURY: u8 = 0x32;
    // Latencies beyond these say that there is no C2 and no C3.
    const NO_C2: u16 = 101;
    const NO_C3: u16 = 1001;
    let (gpe0, gpe0_len) = pm.gpe0.unwrap_or((0, 0));
    let mut fadt = Record::zeroed(LEN);
    fadt.set_u32(36, facs.0 as u32)
        .set_u32(40, dsdt.0 as u32)
        .set_u8(45, 1) // preferred profile: desktop
        .set_u16(46, pm.sci_irq.into())
        .set_u32(48, pm.smi_command.into())
        .set_u8(52, pm.acpi_enable)
        .set_u8(53, pm.acpi_disable)
        .set_u32(56, pm.pm1a_event.into())
        .set_u32(64, pm.pm1a_control.into())
        .set_u32(76, pm.pm_timer.into())
        .set_u32(80, gpe0.into())
        .set_u8(88, 4) // length of the PM1 event block
        .set_u8(89, 2) // of the PM1 control block
        .set_u8(91, 4) // of the PM timer block
        .set_u8(92, gpe0_len)
        .set_u16(96, NO_C2)
        .set_u16(98, NO_C3)
        .set_u8(108, CENTURY)
        .set_u16(109, boot_architecture(machine))
        .set_u32(112, fixed_features(pm))
        .set_u64(140, dsdt.0)
        .set(148, &io_block(pm.pm1a_event, 4, 2))
        .set(172, &io_block(pm.pm1a_control, 2, 2))
        .set(208, &io_block(pm.pm_timer, 4, 3))
        .set(220, &io_block(gpe0, gpe0_len, 1));
    if let Some(ResetRegister { port, value }) = pm.reset {
        fadt.set(116, &io_block(port, 1, 1)).set_u8(128, value);
    }
    table(b"FACP", 4, &fadt.bytes()[HEADER_LEN..])
}

/// The flags of an interrupt in the MADT and in the MP table: polarity in bits 1:0, trigger in bits
/// 3:2, zero for what the bus says.
pub(crate) fn interrupt_flags(mode: Option<(Trigger, Polarity)>) -> u16 {
    let Some((trigger, polarity)) = mode else { return 0 };
    let polarity = match polarity {
        Polarity::ActiveHigh => 0b01,
        Polarity::ActiveLow => 0b11,
    };
    let trigger = match trigger {
        Trigger::Edge => 0b01,
        Trigger::Level => 0b11,
    };
    polarity | trigger << 2
}

/// MADT (section 5.2.12): the interrupt controllers. Its signature is APIC.
pub(crate) fn madt(machine: &Description, local_apic: Gpa) -> Vec<u8> {
    const PCAT_COMPAT: u32 = 1;
    const ENABLED: u32 = 1;
    const ALL_CPUS: u8 = 0xff;
    const NMI_INPUT: u8 = 1;
    let mut body = Record::new();
    body.push_u32(local_apic.0 as u32).push_u32(if machine.legacy { PCAT_COMPAT } else { 0 });
    for (uid, cpu) in machine.cpus.iter().enumerate() {
        match u8::try_from(cpu.apic_id) {
            // Local APIC. Its processor UID has 8 bits, so a later CPU gets the other form.
            Ok(id) if id < 255 && uid < 255 => {
                body.push(&[0, 8, uid as u8, id]).push_u32(ENABLED);
            }
            // Local x2APIC.
            _ => {
                body.push(&[9, 16, 0, 0]).push_u32(cpu.apic_id).push_u32(ENABLED);
                body.push_u32(uid as u32);
            }
        }
    }
    for ioapic in &machine.ioapics {
        body.push(&[1, 12, ioapic.id, 0]).push_u32(ioapic.at.0 as u32).push_u32(ioapic.gsi_base);
    }
    for InterruptOverride { irq, gsi, mode } in &machine.interrupt_overrides {
        const ISA: u8 = 0;
        body.push(&[2, 10, ISA, *irq]).push_u32(*gsi).push_u16(interrupt_flags(*mode));
    }
    // Local APIC NMI, and local x2APIC NMI where a CPU has only that.
    body.push(&[4, 6, ALL_CPUS, 0, 0, NMI_INPUT]);
    if machine.cpus.len() > 255 || machine.cpus.iter().any(|cpu| cpu.apic_id > 254) {
        body.push(&[10, 12, 0, 0]).push_u32(u32::MAX).push(&[NMI_INPUT, 0, 0, 0]);
    }
    table(b"APIC", 3, body.bytes())
}

/// HPET (IA-PC HPET specification 1.0a, section 3.2.4).
pub(crate) fn hpet(hpet: &Hpet) -> Vec<u8> {
    const SYSTEM_MEMORY: u8 = 0;
    let mut body = Record::new();
    body.push_u32(hpet.event_timer_block_id)
        .push(&[SYSTEM_MEMORY, 64, 0, 0])
        .push_u64(hpet.at.0)
        .push_u8(0) // number of this block
        .push_u16(hpet.minimum_tick)
        .push_u8(0); // no page protection
    table(b"HPET", 1, body.bytes())
}

/// MCFG (PCI Firmware Specification 3.0, section 4.1.2): memory-mapped configuration space.
pub(crate) fn mcfg(ecam: &Ecam) -> Vec<u8> {
    let mut body = Record::new();
    body.push_u64(0)
        .push_u64(ecam.at.0)
        .push_u16(0) // PCI segment group
        .push(&[ecam.first_bus, ecam.last_bus])
        .push_u32(0);
    table(b"MCFG", 1, body.bytes())
}
