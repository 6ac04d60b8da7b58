//! A BIOS of our own, and the board's tables in its ROM.
//!
//! The source, commented for who learns, is `bios/bios.asm` with the files that it includes; the
//! assembled image lies beside them, so that building needs no assembler. After a change:
//! `nasm -f bin -o bios.bin bios.asm` in that folder.
//!
//! The ROM has 128 KiB: the image in its upper half, for F0000h, and in its lower one, for E0000h,
//! the tables that ACPI, SMBIOS and MP point to. The image keeps 4 KiB free for what a guest scans
//! for. When it starts, the BIOS copies both to RAM. Without tables it is a ROM of 64 KiB, for any
//! board.

use std::ops::Range;

use trine_guest::Gpa;

use crate::{
    boot::{Boot, BootError},
    description::{Description, MIB},
    e820::TABLES_AT,
    rom::rom,
    tables::tables_of_bios,
};

/// The machine code.
const IMAGE: &[u8; 64 << 10] = include_bytes!("../bios/bios.bin");
/// Where it lies below 1 MiB.
const IMAGE_AT: u64 = MIB - IMAGE.len() as u64;
/// What is free in it: `FIXED_ANCHORS` to `FIXED_ANCHORS_END` of `fixed.asm`.
const ANCHORS: Range<usize> = 0xd000..0xe000;

/// Bytes of its ROM.
pub const BIOS_LEN: u64 = 128 << 10;

/// What starts a board from the BIOS.
///
/// # Errors
/// [`BootError::Description`] where the board makes no sense, [`BootError::TablesTooLarge`] where
/// it has too many CPUs.
pub fn bios(machine: &Description) -> Result<Boot, BootError> {
    let free = (IMAGE_AT + ANCHORS.start as u64, IMAGE_AT + ANCHORS.end as u64);
    let mut contents = vec![0; IMAGE.len()];
    contents.extend(IMAGE);
    for (Gpa(at), bytes) in tables_of_bios(machine, (TABLES_AT, IMAGE_AT), free)? {
        let at = (at - TABLES_AT) as usize;
        contents[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    rom(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        board::pc,
        demo::assert_assembled,
        record::{sum, u16_at, u32_at, u64_at},
    };

    const KIB64: usize = IMAGE.len();

    fn contents(cpus: u32) -> Vec<u8> {
        let boot = bios(&pc(1 << 30, 0, cpus)).expect("a board");
        let [(at, contents)] = &boot.segments[..] else { panic!("one ROM") };
        assert_eq!((at.0, contents.len() as u64), ((1 << 32) - BIOS_LEN, BIOS_LEN));
        contents.clone()
    }

    /// What a scan of the upper half finds, every 16 bytes.
    fn scan<'a>(contents: &'a [u8], anchor: &[u8]) -> &'a [u8] {
        let found = contents[KIB64..].chunks(16).position(|bytes| bytes.starts_with(anchor));
        &contents[KIB64 + 16 * found.expect("no anchor")..]
    }

    /// What an address of the tables leads to.
    fn at(contents: &[u8], address: u64) -> &[u8] {
        &contents[address.checked_sub(TABLES_AT).expect("above the tables") as usize..]
    }

    #[test]
    fn the_image_is_what_the_source_says() {
        assert_assembled("bios", IMAGE);
    }

    #[test]
    fn entries_and_tables_have_their_old_addresses() {
        // The reset vector jumps without leaving the copy below 4 GiB.
        assert_eq!(IMAGE[0xfff0], 0xe9);
        assert_eq!(&IMAGE[0xfff5..0xfffd], b"01/01/26");
        assert_eq!(IMAGE[0xfffe], 0xfc, "an AT");
        for entry in [
            0xe05b, 0xe3fe, 0xe6f2, 0xe739, 0xe82e, 0xe987, 0xec59, 0xef57, 0xefd2, 0xf065, 0xf841,
            0xf84d, 0xf859, 0xfe6e, 0xfea5,
        ] {
            assert_eq!(IMAGE[entry], 0xe9, "{entry:04x}");
        }
        assert_eq!((IMAGE[0xff53], IMAGE[0xff54]), (0xcf, 0xcf), "two IRETs");
        assert_eq!(IMAGE[0xfa6e..][..1024], crate::FONT_8X8.glyphs[..1024]);
        assert!(IMAGE[ANCHORS].iter().all(|byte| *byte == 0), "free for anchors");
    }

    #[test]
    fn anchors_of_the_bios_itself_sum_to_zero() {
        let directory = scan(IMAGE_TWICE, b"_32_");
        assert_eq!(sum(&directory[..16]), 0);
        let entry = u32_at(directory, 4).unwrap();
        assert!((0xf_0000..0xf_d000).contains(&entry));
        let pnp = scan(IMAGE_TWICE, b"$PnP");
        assert_eq!(sum(&pnp[..pnp[5].into()]), 0);
    }

    /// As [`contents`] without tables.
    const IMAGE_TWICE: &[u8] = &{
        let mut twice = [0; 2 * KIB64];
        let mut n = 0;
        while n < KIB64 {
            twice[KIB64 + n] = IMAGE[n];
            n += 1;
        }
        twice
    };

    #[test]
    fn a_guest_finds_all_tables() {
        let contents = contents(2);
        let rsdp = scan(&contents, b"RSD PTR ");
        assert_eq!(sum(&rsdp[..36]), 0);
        assert!(at(&contents, u32_at(rsdp, 16).unwrap().into()).starts_with(b"RSDT"));
        assert!(at(&contents, u64_at(rsdp, 24).unwrap()).starts_with(b"XSDT"));
        let smbios = scan(&contents, b"_SM_");
        let structures = at(&contents, u32_at(smbios, 24).unwrap().into());
        assert_eq!(structures[..2], [0, 24], "the BIOS comes first");
        let mp = scan(&contents, b"_MP_");
        let table = at(&contents, u32_at(mp, 4).unwrap().into());
        assert!(table.starts_with(b"PCMP"));
        assert_eq!(sum(&table[..u16_at(table, 4).unwrap().into()]), 0);
        assert!(scan(&contents, b"$PIR")[6..].starts_with(&[0x20, 0x02]));
    }

    #[test]
    fn nothing_but_the_free_part_of_the_image_changes() {
        let contents = contents(1);
        let (start, end) = (KIB64 + ANCHORS.start, KIB64 + ANCHORS.end);
        assert_eq!(contents[KIB64..start], IMAGE[..ANCHORS.start]);
        assert_eq!(contents[end..], IMAGE[ANCHORS.end..]);
        assert_ne!(contents[start], 0, "which tells the BIOS that there are tables");
    }

    #[test]
    fn there_is_room_for_as_many_cpus_as_xapics_can_be() {
        contents(255);
    }
}
