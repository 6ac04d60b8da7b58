//! The demonstration guest: a program of our own that runs without an operating system, from real
//! mode through protected mode to long mode, says on COM1 what it measures in each, and switches
//! the machine off through ACPI.
//!
//! Its source, commented for who learns, is `demo/demo.asm` with `demo/mode.inc`; the assembled
//! image lies beside them, so that building needs no assembler. After a change:
//! `nasm -f bin -o demo.bin demo.asm` in that folder.

use trine_guest::Gpa;

use crate::{
    boot::{Boot, BootError, Entry},
    description::Description,
};

/// The machine code.
const IMAGE: &[u8] = include_bytes!("../demo/demo.bin");
/// Where it is loaded and entered.
const LOADED_AT: u16 = 0x8000;
/// The image is loaded below this, and uses RAM up to 0x21000.
const ROOM: usize = 0x4000;

/// The parts of a board that the guest relies on.
const COM1: u16 = 0x3f8;
const PM1A_CONTROL: u16 = 0x604;
const PM_TIMER: u16 = 0x608;
const S5_SLEEP_TYPE: u8 = 5;

/// What starts the demonstration guest.
///
/// # Errors
/// [`BootError::Description`] where the board is not the one it is written for: COM1 at 0x3f8,
/// PM1a control at 0x604, the PM timer at 0x608 and SLP_TYP 5 for soft off.
pub fn boot(machine: &Description) -> Result<Boot, BootError> {
    check_board(machine)?;
    const { assert!(IMAGE.len() < ROOM) };
    let segments = vec![(Gpa(LOADED_AT.into()), IMAGE.to_vec())];
    Boot::placed(segments, Entry::Real { cs: 0, ip: LOADED_AT }, machine)
}

/// Whether the board is the one that the built-in guests are written for.
pub(crate) fn check_board(machine: &Description) -> Result<(), BootError> {
    let serial = machine.serial.first().is_some_and(|serial| serial.port == COM1);
    let power = machine.power_management.is_some_and(|pm| {
        (pm.pm1a_control, pm.pm_timer, pm.s5_sleep_type) == (PM1A_CONTROL, PM_TIMER, S5_SLEEP_TYPE)
    });
    if !serial || !power {
        return Err(BootError::Description("the built-in guests are written for another one"));
    }
    machine.check()
}

/// Assembles `NAME/NAME.asm` anew, if there is an assembler, and compares.
#[cfg(test)]
pub(crate) fn assert_assembled(name: &str, image: &[u8]) {
    use std::{fs, process::Command};

    let folder = format!("{}/{name}/", env!("CARGO_MANIFEST_DIR"));
    let out = std::env::temp_dir().join(format!("trine-{name}-{}.bin", std::process::id()));
    let nasm = Command::new("nasm")
        .args(["-f", "bin", "-I", &folder, "-o"])
        .arg(&out)
        .arg(format!("{folder}{name}.asm"))
        .output();
    let Ok(nasm) = nasm else {
        eprintln!("skipped: nasm is not installed");
        return;
    };
    assert!(nasm.status.success(), "{}", String::from_utf8_lossy(&nasm.stderr));
    assert!(nasm.stderr.is_empty(), "{}", String::from_utf8_lossy(&nasm.stderr));
    let assembled = fs::read(&out).unwrap();
    fs::remove_file(&out).unwrap();
    assert!(assembled == image, "{name}.bin is not what nasm makes of {name}.asm");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::pc;

    #[test]
    fn it_starts_in_real_mode_on_its_own_board_only() {
        let boot_on_pc = boot(&pc(64 << 20, 0, 1)).unwrap();
        assert_eq!(boot_on_pc.entry, Entry::Real { cs: 0, ip: 0x8000 });
        assert_eq!(boot_on_pc.segments, [(Gpa(0x8000), IMAGE.to_vec())]);
        let mut other = pc(64 << 20, 0, 1);
        other.serial.clear();
        assert!(matches!(boot(&other), Err(BootError::Description(_))));
    }

    #[test]
    fn the_image_is_what_the_source_says() {
        assert_assembled("demo", IMAGE);
    }
}
