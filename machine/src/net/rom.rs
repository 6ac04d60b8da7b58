//! The expansion ROM of a network card: a firmware of its own that boots from the network, as iPXE.
//!
//! Sources: PCI Firmware Specification 3.0, section 5.1 (images and their headers); Plug and Play
//! BIOS Specification 1.0a, section 3.2 (the sum of an image's bytes).

use std::{fs::File, io::Read, path::Path};

use trine_devices::ConfigSpace;

use super::NetError;

/// The signature of an image, and of the PCI data structure in it.
const IMAGE: [u8; 2] = [0x55, 0xaa];
const PCI_DATA: &[u8; 4] = b"PCIR";

// In the header of an image: its length, one of the bytes that stand for nothing, and where the PCI
// data structure is.
const BLOCKS: usize = 0x02;
const FREE: usize = 0x06;
const PCI_DATA_AT: usize = 0x18;

// In the PCI data structure.
const VENDOR: usize = 0x04;
const DEVICE: usize = 0x06;
const LENGTH: usize = 0x10;
const CODE_TYPE: usize = 0x14;
const INDICATOR: usize = 0x15;
const PCI_DATA_LEN: usize = 0x18;

/// Code for PCs, whose sum is checked.
const FOR_PCS: u8 = 0;
/// The image is the last one.
const IS_LAST: u8 = 1 << 7;
/// Lengths are so many bytes.
const BLOCK: usize = 512;

/// What is in the file of an expansion ROM.
///
/// # Errors
/// [`NetError::Rom`], in a line for the user.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, NetError> {
    let failed = |reason: String| NetError::Rom { file: file.to_owned(), reason };
    let mut rom = Vec::new();
    let most = ConfigSpace::ROM_MAX as u64;
    let opened = File::open(file).and_then(|file| file.take(most + 1).read_to_end(&mut rom));
    opened.map_err(|e| failed(e.to_string()))?;
    if rom.len() as u64 > most {
        return Err(failed(format!("it has more than {most} bytes")));
    }
    if !rom.starts_with(&IMAGE) {
        return Err(failed("it does not begin as an expansion ROM does (55 AA)".to_owned()));
    }
    Ok(rom)
}

/// Gives the function that `config` is of this expansion ROM, of which all images then say that they
/// are for that function. A firmware runs no other; and iPXE's image for all of virtio's network
/// cards says that it is for a transitional one.
pub(crate) fn add(config: &mut ConfigSpace, mut rom: Vec<u8>) {
    make_fit(&mut rom, config.word(0), config.word(2));
    config.add_rom(&rom);
}

fn make_fit(rom: &mut [u8], vendor: u16, device: u16) {
    let mut rest = rom;
    while let Some((pci_data, len)) = image(rest) {
        let (image, behind) = rest.split_at_mut(len);
        let data = &mut image[pci_data..];
        let (kind, is_last) = (data[CODE_TYPE], data[INDICATOR] & IS_LAST != 0);
        data[VENDOR..DEVICE].copy_from_slice(&vendor.to_le_bytes());
        data[DEVICE..DEVICE + 2].copy_from_slice(&device.to_le_bytes());
        if kind == FOR_PCS {
            let checked = len.min(usize::from(image[BLOCKS]) * BLOCK);
            let sum = image[..checked].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            image[FREE] = image[FREE].wrapping_sub(sum);
        }
        if is_last {
            break;
        }
        rest = behind;
    }
}

/// Where the PCI data structure is in the image that `rom` begins with, and the image's bytes; `None`
/// if there is no whole one.
fn image(rom: &[u8]) -> Option<(usize, usize)> {
    let word = |at: usize| Some(u16::from_le_bytes([*rom.get(at)?, *rom.get(at + 1)?]));
    let pci_data = usize::from(word(PCI_DATA_AT)?);
    let is_image = rom.starts_with(&IMAGE) && rom.get(pci_data..)?.starts_with(PCI_DATA);
    let len = usize::from(word(pci_data + LENGTH)?) * BLOCK;
    (is_image && pci_data + PCI_DATA_LEN <= len && len <= rom.len()).then_some((pci_data, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image of a KiB for device 2 of vendor 1.
    fn of_kind(kind: u8, indicator: u8) -> Vec<u8> {
        let mut image = vec![0; 2 * BLOCK];
        image[..3].copy_from_slice(&[0x55, 0xaa, 2]);
        image[PCI_DATA_AT] = 0x40;
        image[0x40..0x44].copy_from_slice(PCI_DATA);
        image[0x44..0x48].copy_from_slice(&[1, 0, 2, 0]);
        image[0x40 + LENGTH] = 2;
        image[0x40 + CODE_TYPE] = kind;
        image[0x40 + INDICATOR] = indicator;
        image
    }

    fn fit(rom: &[u8]) -> Vec<u8> {
        let mut rom = rom.to_vec();
        make_fit(&mut rom, 0x1af4, 0x1041);
        rom
    }

    #[test]
    fn every_image_says_whose_it_is_and_adds_up() {
        let rom = fit(&[of_kind(0, 0), of_kind(3, IS_LAST), of_kind(0, 0)].concat());
        for at in [0, 1024] {
            assert_eq!(rom[at + 0x44..at + 0x48], [0xf4, 0x1a, 0x41, 0x10]);
        }
        let sum = |image: &[u8]| image.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!((sum(&rom[..1024]), rom[1024 + FREE]), (0, 0), "EFI does not add up");
        assert_eq!(rom[2048..], of_kind(0, 0), "what follows the last one is no image");
    }

    #[test]
    fn what_is_no_image_stays_as_it_is() {
        let whole = of_kind(0, 0);
        for len in [0, 1, 2, PCI_DATA_AT + 1, 0x43, 0x57, 1023] {
            assert_eq!(fit(&whole[..len]), whole[..len], "{len}");
        }
        for (at, value) in [(0, 0x54), (PCI_DATA_AT + 1, 0xff), (0x40, b'Q'), (0x40 + LENGTH, 0)] {
            let mut other = whole.clone();
            other[at] = value;
            assert_eq!(fit(&other), other, "{at:#x}");
        }
    }
}
