//! A ROM image, such as a BIOS: where it appears, and the start at its reset vector.
//!
//! Sources: Intel SDM vol. 3A, section 11.1.4 (the first instruction is at FFFF_FFF0h); Intel
//! 82371SB (PIIX3) datasheet, BIOSCS# (the last 128 KiB of the ROM answer below 1 MiB too).

use trine_guest::{Gpa, PAGE_SIZE};

use crate::{Boot, BootError, Entry};

/// The smallest image: real mode reaches 64 KiB from the reset vector's segment.
const SMALLEST: u64 = 64 << 10;
/// The largest: below it lie the APICs.
const LARGEST: u64 = 16 << 20;
/// So much of its end appears below 1 MiB.
const LOW: u64 = 128 << 10;

/// Where an image of `len` bytes appears: below 1 MiB (its end alone) and below 4 GiB (all of it),
/// each with its length.
///
/// # Errors
/// If there cannot be a ROM of that size.
pub fn rom_windows(len: u64) -> Result<[(Gpa, u64); 2], BootError> {
    if !(SMALLEST..=LARGEST).contains(&len) || !len.is_multiple_of(PAGE_SIZE) {
        return Err(BootError::RomSize(len));
    }
    let low = len.min(LOW);
    Ok([(Gpa((1 << 20) - low), low), (Gpa((1 << 32) - len), len)])
}

/// Boots a ROM image as hardware does: nothing is prepared, the CPU starts at the reset vector. It is
/// programmed below 4 GiB; what appears below 1 MiB is the same memory.
///
/// # Errors
/// As [`rom_windows`].
pub fn rom(image: Vec<u8>) -> Result<Boot, BootError> {
    let [_, (at, _)] = rom_windows(image.len() as u64)?;
    Ok(Boot { segments: vec![(at, image)], entry: Entry::Reset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_ends_at_both_addresses() {
        let image: Vec<u8> = (0..256 << 10).map(|n: u32| (n >> 10) as u8).collect();
        let boot = rom(image.clone()).expect("a size that ROMs have");
        assert_eq!(boot.entry, Entry::Reset);
        assert_eq!(boot.segments, [(Gpa(0xfffc_0000), image)]);
        assert_eq!(rom_windows(256 << 10).expect("large")[0], (Gpa(0xe_0000), 128 << 10));
        assert_eq!(rom_windows(64 << 10).expect("small")[0], (Gpa(0xf_0000), 64 << 10));
    }

    #[test]
    fn sizes_that_no_rom_has_are_refused() {
        for len in [0, 4096, (64 << 10) - 1, (64 << 10) + 1, (16 << 20) + 4096, u64::MAX] {
            assert_eq!(rom_windows(len), Err(BootError::RomSize(len)));
        }
        assert!(rom_windows(16 << 20).is_ok());
    }
}
