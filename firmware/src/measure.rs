//! The measuring guest: times what a virtual machine monitor cares about (CPUID, CR3, HLT, ports,
//! page faults, ...) from inside, in 64-bit mode, and says it on COM1.
//!
//! Its source, commented for who learns, is `measure/measure.asm`; it opens with what it says. The
//! assembled image lies beside it, so that building needs no assembler. After a change:
//! `nasm -f bin -o measure.bin measure.asm` in that folder.

use trine_guest::Gpa;

use crate::{
    boot::{Boot, BootError, Entry},
    demo,
    description::Description,
};

/// The machine code.
const IMAGE: &[u8] = include_bytes!("../measure/measure.bin");
/// Where it is loaded and entered.
const LOADED_AT: u16 = 0x8000;
/// The image is loaded below this, and uses RAM up to 0x15000.
const ROOM: usize = 0x4000;

/// It does each loop so often, and the fastest one counts.
pub const ROUNDS: u64 = 8;
/// The frequency of ACPI's PM timer in Hz (ACPI 6.3, section 4.8.3.3).
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// OUT instructions beside the characters that it says and what it measures: the masks of the 8259s,
/// the UART's set-up, the power switch.
pub const OTHER_OUTS: u64 = 2 + 7 + 1;
/// CPUID instructions beside those that it measures.
pub const OTHER_CPUIDS: u64 = 1;

/// What starts the measuring guest. The CPU needs long mode and a local APIC.
///
/// # Errors
/// [`BootError::Description`] where the board is not the one it is written for, which is that of the
/// demonstration guest.
pub fn boot(machine: &Description) -> Result<Boot, BootError> {
    demo::check_board(machine)?;
    const { assert!(IMAGE.len() < ROOM) };
    let segments = vec![(Gpa(LOADED_AT.into()), IMAGE.to_vec())];
    Boot::placed(segments, Entry::Real { cs: 0, ip: LOADED_AT }, machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_what_the_source_says() {
        demo::assert_assembled("measure", IMAGE);
    }
}
