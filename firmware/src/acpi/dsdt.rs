//! The DSDT: which devices there are and what they use, in AML (ACPI 6.3, sections 5.2.11.1 and 6).

use super::{
    aml::{
        Aml, ResourceTemplate, argument, device, eisa_id, integer, method, name, package, scope,
        store, string, terms,
    },
    table,
};
use crate::description::{
    Cpu, Description, Hpet, PciRoot, PciRoute, PowerManagement, SerialPort, VirtioWindow,
};

/// The DSDT.
///
/// Interrupt routing needs no switch: the GSIs in `_PRT` are the same whatever the guest says to
/// `_PIC`, so a board whose PCI interrupts are on GSIs below 16 serves a guest that uses the 8259s.
pub(crate) fn dsdt(machine: &Description, pm: &PowerManagement) -> Vec<u8> {
    let mut board = vec![processors(&machine.cpus), reserved(machine, pm)];
    match &machine.pci {
        Some(pci) => board.push(pci_root(pci, machine)),
        None => board.push(terms(&legacy_devices(machine))),
    }
    if let Some(hpet) = &machine.hpet {
        board.push(hpet_device(hpet));
    }
    board.extend(machine.virtio.iter().enumerate().map(virtio));
    // SLP_TYP for PM1a and PM1b control, and two reserved values.
    let sleep = |sleep_type: u8| {
        let sleep_type = integer(sleep_type.into());
        package(&[sleep_type.clone(), sleep_type, integer(0), integer(0)])
    };
    let body = terms(&[
        terms(&pm.s3_sleep_type.map(|s3| name("_S3", sleep(s3))).into_iter().collect::<Vec<_>>()),
        name("_S5", sleep(pm.s5_sleep_type)),
        // The guest tells its interrupt model: 0 is the 8259s, 1 is the APICs.
        name("PICM", integer(0)),
        method("_PIC", 1, &[store(argument(0), "PICM")]),
        scope("_SB", &board),
    ]);
    // Revision 2: integers have 64 bits.
    table(b"DSDT", 2, &body.into_bytes())
}

/// One device for each CPU, whose `_UID` is the one in the MADT.
fn processors(cpus: &[Cpu]) -> Aml {
    let processor = |uid: usize| {
        let id = [name("_HID", string("ACPI0007")), name("_UID", integer(uid as u64))];
        device(&format!("C{uid:03X}"), &id)
    };
    terms(&(0..cpus.len().min(0x1000)).map(processor).collect::<Vec<_>>())
}

/// Addresses that belong to the board itself and must be given to no other device.
fn reserved(machine: &Description, pm: &PowerManagement) -> Aml {
    let mut resources =
        ResourceTemplate::new().io(pm.pm1a_event, 4).io(pm.pm1a_control, 2).io(pm.pm_timer, 4);
    if let Some((port, len)) = pm.gpe0 {
        resources = resources.io(port, len);
    }
    if let Some(ecam) = machine.pci.as_ref().and_then(|pci| pci.ecam.as_ref()) {
        let (at, len) = ecam.range();
        if let (Ok(at), Ok(len)) = (u32::try_from(at), u32::try_from(len)) {
            resources = resources.memory32_fixed(at, len);
        }
    }
    plug_and_play("MBRD", "PNP0C02", resources)
}

/// The PCI host bridge with bus 0.
fn pci_root(pci: &PciRoot, machine: &Description) -> Aml {
    // The configuration ports are the bridge's own, everything else is for the devices behind it.
    let mut resources = ResourceTemplate::new().buses(0, pci.last_bus).io(0xcf8, 8);
    for window in &pci.io_windows {
        resources = resources.io_window(window.first, window.last);
    }
    for window in &pci.memory_windows {
        resources = resources.memory_window(window.first, window.last, window.prefetchable);
    }
    let mut body = vec![
        // With memory-mapped configuration space the bridge is a PCI Express one, and also a plain
        // one for a guest that knows nothing of that.
        name("_HID", eisa_id(if pci.ecam.is_some() { "PNP0A08" } else { "PNP0A03" })),
        name("_UID", integer(0)),
        name("_BBN", integer(0)),
        name("_CRS", resources.build()),
        name("_PRT", package(&pci.routes.iter().map(route).collect::<Vec<_>>())),
    ];
    if pci.ecam.is_some() {
        body.push(name("_CID", eisa_id("PNP0A03")));
    }
    let legacy = legacy_devices(machine);
    match pci.isa_bridge {
        Some((slot, function)) => {
            let address = u64::from(slot) << 16 | u64::from(function);
            let mut bridge = vec![name("_ADR", integer(address))];
            bridge.extend(legacy);
            body.push(device("ISA", &bridge));
        }
        None => body.extend(legacy),
    }
    device("PCI0", &body)
}

/// A row of `_PRT` (section 6.2.13): address with any function, pin, no link device, GSI.
fn route(route: &PciRoute) -> Aml {
    let address = u64::from(route.slot) << 16 | 0xffff;
    package(&[integer(address), integer(route.pin.into()), integer(0), integer(route.gsi.into())])
}

/// A device with a Plug and Play ID and fixed resources, present and working.
fn plug_and_play(at: &str, id: &str, resources: ResourceTemplate) -> Aml {
    device(at, &[name("_HID", eisa_id(id)), name("_CRS", resources.build())])
}

/// What has been on the ISA bus of every PC since 1984.
fn legacy_devices(machine: &Description) -> Vec<Aml> {
    let ports = ResourceTemplate::new;
    let mut devices = vec![plug_and_play("RTC", "PNP0B00", ports().io(0x70, 2).irq(8))];
    if machine.legacy {
        let pic = ports().io(0x20, 2).io(0xa0, 2).io(0x4d0, 2).irq(2);
        devices.extend([
            plug_and_play("PIC", "PNP0000", pic),
            plug_and_play("TIMR", "PNP0100", ports().io(0x40, 4).irq(0)),
            plug_and_play("SPKR", "PNP0800", ports().io(0x61, 1)),
            plug_and_play("FPU", "PNP0C04", ports().io(0xf0, 1).irq(13)),
        ]);
    }
    if machine.i8042 {
        devices.push(plug_and_play("KBD", "PNP0303", ports().io(0x60, 1).io(0x64, 1).irq(1)));
        devices.push(plug_and_play("MOU", "PNP0F13", ports().irq(12)));
    }
    devices.extend(machine.serial.iter().enumerate().map(serial));
    devices
}

/// A 16550 serial port, COM1 to COM4.
fn serial((index, serial): (usize, &SerialPort)) -> Aml {
    let number = index as u64 + 1;
    let resources = ResourceTemplate::new().io(serial.port, 8).irq(serial.irq);
    let body = [
        name("_HID", eisa_id("PNP0501")),
        name("_UID", integer(number)),
        name("_CRS", resources.build()),
    ];
    device(&format!("COM{number}"), &body)
}

/// A virtio device in memory space, by the ID that Linux and QEMU have agreed on.
fn virtio((index, window): (usize, &VirtioWindow)) -> Aml {
    let at = u32::try_from(window.at.0).unwrap_or(0);
    let resources =
        ResourceTemplate::new().memory32_fixed(at, window.len).shared_interrupt(window.gsi);
    let body = [
        name("_HID", string("LNRO0005")),
        name("_UID", integer(index as u64)),
        // What it does to memory is seen by the CPUs' caches.
        name("_CCA", integer(1)),
        name("_CRS", resources.build()),
    ];
    device(&format!("V{index:03X}"), &body)
}

/// The high precision event timer.
fn hpet_device(hpet: &Hpet) -> Aml {
    let at = u32::try_from(hpet.at.0).unwrap_or(0);
    plug_and_play("HPET", "PNP0103", ResourceTemplate::new().memory32_fixed(at, 0x400))
}
