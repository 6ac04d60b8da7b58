//! The PCI interrupt routing table: which line of the ISA bridge each pin of each slot is wired to,
//! for a guest without ACPI and APICs.
//!
//! Source: Microsoft, PCI IRQ Routing Table Specification, version 1.0.

use crate::{
    description::{Description, PciRoot, PciRoute},
    record::Record,
};

/// The bridge that the lines lead to: a PIIX3, or one whose registers are the same.
const ROUTER: u32 = 0x7000_8086;
/// What the table calls a line: the bridge's register that says where it leads.
const PIRQ_ROUTE: u8 = 0x60;

const HEADER_LEN: usize = 32;
const SLOT_LEN: usize = 16;

/// The table; `None` for a board without PCI or a bridge to ISA.
pub(crate) fn table(machine: &Description) -> Option<Vec<u8>> {
    let pci = machine.pci.as_ref()?;
    let (device, function) = pci.isa_bridge?;
    let slots: Vec<[u8; SLOT_LEN]> = (0..32).filter_map(|slot| entry(pci, slot)).collect();
    let irqs = irqs(pci.routes.iter());
    let mut table = Record::zeroed(HEADER_LEN);
    table
        .set(0, b"$PIR")
        .set_u16(4, 0x0100)
        .set_u16(6, (HEADER_LEN + slots.len() * SLOT_LEN) as u16)
        .set_u8(9, device << 3 | function) // on bus 0
        .set_u16(10, irqs) // only for PCI
        .set_u32(12, ROUTER)
        .push(&slots.concat())
        .set_checksum(31);
    Some(table.into_bytes())
}

/// A slot: for each pin its line and the IRQs that this can lead to. `None` if none is wired.
fn entry(pci: &PciRoot, slot: u8) -> Option<[u8; SLOT_LEN]> {
    let mut entry = [0; SLOT_LEN];
    entry[1] = slot << 3;
    let routes = pci.routes.iter().filter(|route| route.slot == slot);
    let mut is_wired = false;
    for route in routes {
        let at = 2 + 3 * usize::from(route.pin);
        entry[at] = PIRQ_ROUTE + route.line;
        entry[at + 1..at + 3].copy_from_slice(&irqs(pci.routes.iter()).to_le_bytes());
        is_wired = true;
    }
    is_wired.then_some(entry)
}

/// A bit for each ISA IRQ that routes lead to.
fn irqs<'a>(routes: impl Iterator<Item = &'a PciRoute>) -> u16 {
    routes.filter(|route| route.gsi < 16).fold(0, |irqs, route| irqs | 1 << route.gsi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{board::pc, record::sum};

    #[test]
    fn each_pin_has_its_line_one_further_for_each_slot() {
        let table = table(&pc(1 << 30, 0, 1)).unwrap();
        assert_eq!(table.len(), 32 + 32 * 16);
        assert_eq!((&table[..8], sum(&table)), (&b"$PIR\0\x01\x20\x02"[..], 0));
        assert_eq!(table[8..16], [0, 1 << 3, 0, 0x0c, 0x86, 0x80, 0x00, 0x70]);
        let slot_2 = &table[32 + 2 * 16..][..16];
        assert_eq!(slot_2[..2], [0, 2 << 3]);
        let links: Vec<u8> = slot_2[2..14].chunks(3).map(|pin| pin[0]).collect();
        assert_eq!(links, [0x61, 0x62, 0x63, 0x60]);
        assert!(slot_2[2..14].chunks(3).all(|pin| pin[1..] == [0, 0x0c]), "IRQs 10 and 11");
    }

    #[test]
    fn a_board_without_a_bridge_has_none() {
        let mut machine = pc(1 << 30, 0, 1);
        machine.pci.as_mut().unwrap().isa_bridge = None;
        assert_eq!(table(&machine), None);
        machine.pci = None;
        assert_eq!(table(&machine), None);
    }
}
