//! A board for this crate's tests: a PC with two CPUs and PCI.

use trine_guest::Gpa;

use crate::*;

const LEVEL_HIGH: Option<(Trigger, Polarity)> = Some((Trigger::Level, Polarity::ActiveHigh));

pub(crate) fn pc(low_ram: u64, high_ram: u64, cpus: u32) -> Description {
    let level = |irq: u8| InterruptOverride { irq, gsi: irq.into(), mode: LEVEL_HIGH };
    let timer = InterruptOverride { irq: 0, gsi: 2, mode: None };
    Description {
        // As on Intel's CPUs, no CPU has the broadcast address.
        cpus: (0..=cpus)
            .filter(|id| *id != 255)
            .take(cpus as usize)
            .map(|apic_id| Cpu { apic_id })
            .collect(),
        low_ram,
        high_ram,
        local_apic: Some(Gpa(0xfee0_0000)),
        ioapics: vec![IoApic { id: 0, at: Gpa(0xfec0_0000), gsi_base: 0, inputs: 24 }],
        interrupt_overrides: vec![timer, level(5), level(9), level(10), level(11)],
        hpet: Some(Hpet {
            at: Gpa(0xfed0_0000),
            event_timer_block_id: 0x8086_a201,
            minimum_tick: 0x80,
        }),
        power_management: Some(PowerManagement {
            sci_irq: 9,
            smi_command: 0xb2,
            acpi_enable: 0xf1,
            acpi_disable: 0xf0,
            pm1a_event: 0x600,
            pm1a_control: 0x604,
            pm_timer: 0x608,
            pm_timer_extended: false,
            gpe0: Some((0xafe0, 4)),
            power_button: true,
            s3_sleep_type: Some(1),
            s5_sleep_type: 5,
            reset: Some(ResetRegister { port: 0xcf9, value: 0x0f }),
        }),
        pci: Some(PciRoot {
            last_bus: 255,
            io_windows: vec![
                IoWindow { first: 0, last: 0xcf7 },
                IoWindow { first: 0xd00, last: 0xffff },
            ],
            memory_windows: vec![
                MemoryWindow { first: 0xa_0000, last: 0xb_ffff, prefetchable: true },
                MemoryWindow { first: 0xc000_0000, last: 0xfebf_ffff, prefetchable: false },
                MemoryWindow { first: 1 << 39, last: (1 << 40) - 1, prefetchable: true },
            ],
            routes: PciRoute::swizzled([10, 10, 11, 11], 3),
            ecam: Some(Ecam { at: Gpa(0xb000_0000), first_bus: 0, last_bus: 255 }),
            isa_bridge: Some((1, 0)),
        }),
        serial: vec![SerialPort { port: 0x3f8, irq: 4 }, SerialPort { port: 0x2f8, irq: 3 }],
        legacy: true,
        virtio: Vec::new(),
        i8042: true,
        vga: false,
        screen: None,
        smbios: Smbios {
            bios_vendor: "Trine".into(),
            bios_version: "1".into(),
            bios_date: "01/01/2026".into(),
            manufacturer: "Trine".into(),
            product: "PC".into(),
            uuid: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            processor: "x86-64-v2".into(),
            processor_signature: 0x000f_0600,
            processor_features: 0x0783_fbff,
            ..Smbios::default()
        },
    }
}
