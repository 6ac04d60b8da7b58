//! The board as the firmware's tables describe it: the numbers of the schematic.

use trine_devices::{AcpiPm, Hpet, IOAPIC_PINS};
use trine_firmware as firmware;
use trine_x86::CpuModel;

use super::*;

/// What the tables say of a board with these chips, so much memory and so many vCPUs.
#[must_use]
pub fn description(
    chips: &mut Chips,
    memory: u64,
    cpus: u32,
    model: &CpuModel,
) -> firmware::Description {
    let (low_ram, high_ram) = split_memory(memory);
    let overrides = std::iter::once(firmware::InterruptOverride { irq: 0, gsi: 2, mode: None });
    let levels = LEVEL_IRQS.iter().map(|irq| firmware::InterruptOverride {
        irq: *irq,
        gsi: u32::from(*irq),
        mode: Some((firmware::Trigger::Level, firmware::Polarity::ActiveHigh)),
    });
    firmware::Description {
        cpus: (0..cpus).map(|apic_id| firmware::Cpu { apic_id }).collect(),
        low_ram,
        high_ram,
        local_apic: Some(LOCAL_APIC_AT),
        ioapics: vec![firmware::IoApic {
            id: 0,
            at: IOAPIC_AT,
            gsi_base: 0,
            inputs: u32::from(IOAPIC_PINS),
        }],
        interrupt_overrides: overrides.chain(levels).collect(),
        hpet: Some(firmware::Hpet {
            at: HPET_AT,
            event_timer_block_id: Hpet::BLOCK_ID,
            minimum_tick: 100,
        }),
        power_management: Some(power_management(chips.power_ports())),
        pci: Some(pci_root(low_ram)),
        serial: vec![firmware::SerialPort { port: COM1, irq: COM1_IRQ }],
        legacy: true,
        virtio: Vec::new(),
        i8042: true,
        vga: true,
        screen: Some(TEXT_SCREEN),
        smbios: smbios("PC", model),
    }
}

/// What SMBIOS says of a board called `product`.
#[must_use]
pub fn smbios(product: &str, model: &CpuModel) -> firmware::Smbios {
    firmware::Smbios {
        bios_vendor: "Trine".into(),
        bios_version: env!("CARGO_PKG_VERSION").into(),
        bios_date: "01/01/2026".into(),
        manufacturer: "Trine".into(),
        product: product.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        processor: model.name().into(),
        processor_signature: model.signature(),
        ..firmware::Smbios::default()
    }
}

/// What they say of power management with its ports at `ports`.
#[must_use]
pub fn power_management(ports: u16) -> firmware::PowerManagement {
    firmware::PowerManagement {
        sci_irq: SCI_IRQ,
        smi_command: SMI_COMMAND,
        acpi_enable: AcpiPm::ACPI_ENABLE,
        acpi_disable: AcpiPm::ACPI_DISABLE,
        pm1a_event: ports + AcpiPm::PM1_EVENT,
        pm1a_control: ports + AcpiPm::PM1_CONTROL,
        pm_timer: ports + AcpiPm::PM_TIMER,
        pm_timer_extended: PM_TIMER_WIDE,
        gpe0: Some((GPE0, 4)),
        power_button: true,
        s3_sleep_type: Some(AcpiPm::SLEEP_TYPE_S3),
        s5_sleep_type: AcpiPm::SLEEP_TYPE_S5,
        reset: Some(firmware::ResetRegister { port: RESET_CONTROL, value: 0x0f }),
    }
}

fn pci_root(low_ram: u64) -> firmware::PciRoot {
    let hole = pci_hole(low_ram);
    firmware::PciRoot {
        last_bus: 0xff,
        io_windows: vec![
            firmware::IoWindow { first: 0, last: 0xcf7 },
            firmware::IoWindow { first: 0xd00, last: 0xffff },
        ],
        memory_windows: vec![
            firmware::MemoryWindow { first: VIDEO_HOLE.0.0, last: 0xb_ffff, prefetchable: true },
            firmware::MemoryWindow { first: hole.start, last: hole.end - 1, prefetchable: false },
        ],
        routes: firmware::PciRoute::swizzled(PIRQ_IRQS.map(u32::from), PIRQ_TURN),
        ecam: None,
        isa_bridge: Some((ISA_BRIDGE.device(), ISA_BRIDGE.function())),
    }
}
