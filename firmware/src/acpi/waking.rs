//! What firmware does first when the machine wakes from suspend to RAM: it looks where the guest
//! wants to go on (ACPI 6.3, sections 5.2.10 and 16.3).

use trine_guest::{Gpa, Ram};

/// The guest's waking vector, in the FACS: where it wants to be entered in real mode. `None` if it
/// left none, or the tables are no longer what firmware placed.
#[must_use]
pub fn waking_vector(ram: &Ram) -> Option<Gpa> {
    /// A longer RSDT is none of ours.
    const LONGEST: u32 = 0x1000;
    let rsdt = rsdt(ram)?;
    let len = u32_at(ram, rsdt.offset(4)).filter(|len| *len <= LONGEST)?;
    let mut tables = (36..len.saturating_sub(3)).step_by(4).filter_map(|n| {
        let at = Gpa(u32_at(ram, rsdt.offset(n.into()))?.into());
        (signature(ram, at)? == *b"FACP").then_some(at)
    });
    let facs = Gpa(u32_at(ram, tables.next()?.offset(36))?.into());
    let vector = u32_at(ram, facs.offset(12))?;
    let good = signature(ram, facs)? == *b"FACS" && vector != 0 && vector < 1 << 20;
    good.then_some(Gpa(vector.into()))
}

/// Where the RSDT is: by the RSDP, which lies below 1 MiB (section 5.2.5.1).
fn rsdt(ram: &Ram) -> Option<Gpa> {
    (0xe_0000..0x10_0000).step_by(16).map(Gpa).find_map(|at| {
        let mut rsdp = [0; 20];
        ram.read(at, &mut rsdp).ok()?;
        let sum = rsdp.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        let [.., a, b, c, d] = rsdp;
        let good = rsdp.starts_with(b"RSD PTR ") && sum == 0;
        good.then_some(Gpa(u32::from_le_bytes([a, b, c, d]).into()))
    })
}

fn u32_at(ram: &Ram, at: Gpa) -> Option<u32> {
    signature(ram, at).map(u32::from_le_bytes)
}

fn signature(ram: &Ram, at: Gpa) -> Option<[u8; 4]> {
    let mut bytes = [0; 4];
    ram.read(at, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_is_found_in_our_tables() {
        let tables = crate::tables(&crate::board::pc(2 << 20, 0, 1)).unwrap();
        let ram = Ram::flat(2 << 20).unwrap();
        for (at, bytes) in &tables.segments {
            ram.write(*at, bytes).unwrap();
        }
        assert_eq!(waking_vector(&ram), None, "the guest wrote none");
        let (facs, _) = tables.segments.iter().find(|(_, b)| b.starts_with(b"FACS")).unwrap();
        for (vector, found) in [(0x9_a000_u32, true), (0x10_0000, false), (0, false)] {
            ram.write(facs.offset(12), &vector.to_le_bytes()).unwrap();
            assert_eq!(waking_vector(&ram), found.then_some(Gpa(vector.into())));
        }
        // A guest may do what it likes to the tables.
        ram.write(facs.offset(12), &0x8000_u32.to_le_bytes()).unwrap();
        for at in (0xe_0000..0x10_0000).step_by(4) {
            let mut old = [0; 4];
            ram.read(Gpa(at), &mut old).unwrap();
            if old == [0; 4] {
                continue;
            }
            ram.write(Gpa(at), &[0xff; 4]).unwrap();
            let _ = waking_vector(&ram);
            ram.write(Gpa(at), &old).unwrap();
        }
        assert_eq!(waking_vector(&ram), Some(Gpa(0x8000)));
        ram.write(*facs, b"    ").unwrap();
        assert_eq!(waking_vector(&ram), None);
    }
}
