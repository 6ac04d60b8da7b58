//! Guests on floppies, CDs and disks.

use trine_tests::{console::guest_file, grub};

use super::{Firmware, start_by, turn};

#[test]
#[ignore = "long: about a minute"]
fn grub_reaches_its_menu_and_obeys_keys() {
    let _turn = turn();
    for (image, options) in grub::MEDIA {
        let Some(file) = grub::file(image) else { return };
        let disk = format!("{file},{options}");
        for firmware in Firmware::ALL {
            let arguments = ["--memory", "128M", "--serial", "null", "--disk", &disk];
            let name = format!("grub-{options}");
            let Some(seat) = start_by(firmware, &name, &arguments) else { return };
            grub::obeys_keys(seat);
        }
    }
}

/// A whole pass of each build of memtest86+.
fn memtest(cpus: &str) {
    let _turn = turn();
    for build in ["x64", "ia32"] {
        let file = format!("memtest86+/usr/lib/memtest86+/memtest86+{build}.iso");
        let Some(file) = guest_file(&file) else { return };
        let disk = format!("{file},if=cdrom");
        for firmware in Firmware::ALL {
            let arguments =
                ["--memory", "32M", "--cpus", cpus, "--serial", "null", "--disk", &disk];
            let name = format!("memtest-{build}-{cpus}");
            let Some(seat) = start_by(firmware, &name, &arguments) else { return };
            seat.wait_for("Memtest86+");
            seat.wait_for("Pass:  1");
            let text = seat.screen.do_it(&["screen-text"]);
            assert!(text.contains("Errors: 0"), "{name}:\n{text}");
            assert!(text.contains(&format!("CPU: {cpus} Cores")), "{name}:\n{text}");
            seat.quit();
        }
    }
}

#[test]
#[ignore = "long: four passes"]
fn memtest86_passes_on_one_cpu() {
    memtest("1");
}

#[test]
#[ignore = "long: four passes"]
fn memtest86_passes_on_two_cpus() {
    memtest("2");
}
