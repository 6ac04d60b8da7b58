//! The long run: what is on Debian's media, each from power-on to where it is of use, started by the
//! BIOS that is built in and by SeaBIOS.
//!
//! ```text
//! tests/guests/fetch --all
//! cargo test --release -p trine-tests --test long_run -- --ignored --nocapture
//! ```
//!
//! One guest runs at a time; all of them together take about an hour on two cores. A name behind
//! `--ignored` picks some: `xen`, `installer_on_i386`. Each says what it has reached and when; where
//! one fails, there is a picture of its screen in the folder for temporary files. `TRINE_ENGINE` names
//! an engine (the usual one is the translator), `TRINE_TEST_SECONDS` how long a step may take.
//!
//! - `media`: GRUB's floppy, CD and USB images reach their menu and obey keys; memtest86+ from its CD
//!   finds no errors in a whole pass, in 64 and 32 bits, on 1 and 2 CPUs;
//! - `ipxe`: from a ROM, from a CD and as a kernel it gets its lease and boots Linux by TFTP;
//! - `installer`: Debian's, for amd64 and i386, comes by PXE, shows its first dialogue on the screen and
//!   on the serial line, obeys keys, finds network and disks;
//! - `xen`: starts its paravirtualised dom0, by the machine's own loader and from the network, and dom0's
//!   shell answers.

use std::{
    env,
    sync::{Mutex, MutexGuard, PoisonError},
};

use trine_tests::{console::guest_file, seat::Seat};

mod installer;
mod ipxe;
mod media;
mod xen;

/// Who starts a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Firmware {
    /// The BIOS that is built in.
    Trine,
    /// Debian's.
    SeaBios,
}

impl Firmware {
    const ALL: [Self; 2] = [Self::Trine, Self::SeaBios];

    /// The arguments that choose it.
    fn arguments(self) -> Option<Vec<String>> {
        let file = |name: &str| guest_file(&format!("seabios/usr/share/seabios/{name}"));
        Some(match self {
            Self::Trine => Vec::new(),
            Self::SeaBios => {
                let (rom, video) = (file("bios.bin")?, file("vgabios-stdvga.bin")?);
                ["--firmware", &rom, "--vga-rom", &video].map(str::to_owned).into()
            }
        })
    }
}

/// The turn of a guest: there is one at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // Whose test failed has had its turn.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a machine on the engine that is asked for.
fn start(name: &str, arguments: &[&str]) -> Seat {
    let engine = env::var("TRINE_ENGINE").unwrap_or_else(|_| "translate".to_owned());
    println!("{name}: starts on {engine}");
    Seat::new(name, &[&["--engine", &engine], arguments].concat())
}

/// The same with a firmware; `None`, after saying so, if it was not fetched.
fn start_by(firmware: Firmware, name: &str, arguments: &[&str]) -> Option<Seat> {
    let chosen = firmware.arguments()?;
    let all: Vec<&str> =
        chosen.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    Some(start(&format!("{name}-{firmware:?}"), &all))
}
