//! Debian's installer, the image for booting from the network.
//!
//! It comes as on a real network: the card's ROM loads PXELINUX, that shows its menu (in a VBE mode) and
//! loads kernel and initrd, one file after the other through the ROM's UNDI. The initrd has drivers of
//! network cards only; those of disks are to be loaded from a mirror. To show that the disks are found
//! without one, those of the installer's kernel come in a second initrd.

use std::{fs, path::Path, process::Command};

use trine_tests::{
    console::{guest_file, guests},
    folder::Folder,
    initramfs,
    seat::Seat,
    tftp::{Tftp, rom},
};

use super::{Firmware, start, start_by, turn};

/// An architecture: Debian's name, and whose kernel its installer has.
#[derive(Clone, Copy)]
struct Port {
    name: &'static str,
    kernel: &'static str,
    /// The network card that it gets.
    card: &'static str,
}

const AMD64: Port = Port { name: "amd64", kernel: "amd64", card: "virtio" };
const I386: Port = Port { name: "i386", kernel: "686", card: "e1000" };

/// Drivers of virtio's and IDE disks.
const MODULES: [&str; 2] = ["virtio_blk", "ata_piix"];

impl Port {
    /// The folder that is to be served by TFTP.
    fn netboot(self) -> Option<String> {
        let Self { name, .. } = self;
        guest_file(&format!(
            "debian-installer-12-netboot-{name}/usr/lib/debian-installer/images/12/{name}/text"
        ))
    }

    /// A copy of it, with drivers.
    fn served(self) -> Option<Tftp> {
        let served = Tftp::new(&format!("installer-{}", self.name), &[])?;
        let source = Path::new(&self.netboot()?).join(".");
        let copied = Command::new("cp").arg("-a").arg(source).arg(served.at()).status();
        assert!(copied.is_ok_and(|status| status.success()), "there is room");
        let modules = guests()?.join(self.kernel).join("lib/modules");
        let drivers = initramfs::drivers(&modules, &MODULES);
        served.write("drivers.cpio", drivers);
        Some(served)
    }
}

/// At PXELINUX's menu: starts the installer on a screen in text mode, with drivers.
fn choose(seat: &Seat, port: Port) {
    seat.screen.wait_for_graphics("640 by 480");
    seat.say("PXELINUX shows its menu");
    let folder = format!("debian-installer/{}", port.name);
    let line = format!(
        "{folder}/linux initrd={folder}/initrd.gz,drivers.cpio vga=normal fb=false nomodeset\\n"
    );
    seat.press(&["esc"]);
    seat.wait_for("boot:");
    seat.type_text(&line);
}

/// From PXE to the first question that the installer asks with the network up; then a look at the disks.
fn finds_all(port: Port) {
    let _turn = turn();
    let Some((served, rom)) = port.served().zip(rom(port.card)) else { return };
    let folder = Folder::new(&format!("disks-{}", port.name));
    let disks = ["virtio", "ide"].map(|interface| {
        let image = folder.path(interface);
        fs::write(&image, vec![0; 16 << 20]).expect("there is room");
        format!("{image},if={interface},format=raw")
    });
    let net = format!("{},rom={rom},bootindex=0", served.net(port.card, "pxelinux.0"));
    for firmware in Firmware::ALL {
        let arguments = ["--memory", "1G", "--serial", "null", "--net", &net];
        let disks = ["--disk", &disks[0], "--disk", &disks[1]];
        let name = format!("installer-{}", port.name);
        let all = [&arguments[..], &disks].concat();
        let Some(seat) = start_by(firmware, &name, &all) else { return };
        choose(&seat, port);
        for question in ["Select a language", "Select your location", "Configure the keyboard"] {
            seat.wait_for(question);
            seat.press(&["enter"]);
        }
        // It has found the card and has its lease, or it would ask about that.
        seat.wait_for("Please enter the hostname");
        seat.press(&["alt-f2"]);
        seat.wait_for("press Enter");
        seat.press(&["enter"]);
        seat.wait_for("~ #");
        seat.type_text("ip addr | grep inet\\n");
        seat.wait_for("10.0.2.15/24");
        seat.type_text("sh /drivers; modprobe sd_mod; sleep 2; list-devices disk\\n");
        seat.wait_for("/dev/vda");
        seat.wait_for("/dev/sda");
        seat.quit();
    }
}

#[test]
#[ignore = "long: about eight minutes"]
fn installer_on_amd64_comes_from_the_network_and_finds_disk_and_network() {
    finds_all(AMD64);
}

#[test]
#[ignore = "long: about eight minutes"]
fn installer_on_i386_comes_from_the_network_and_finds_disk_and_network() {
    finds_all(I386);
}

#[test]
#[ignore = "long: about three minutes"]
fn installer_speaks_on_the_serial_line() {
    let _turn = turn();
    for port in [AMD64, I386] {
        let Some(folder) = port.netboot() else { return };
        let file = |name: &str| format!("{folder}/debian-installer/{}/{name}", port.name);
        let (kernel, initrd) = (file("linux"), file("initrd.gz"));
        let arguments = ["--memory", "1G", "--kernel", &kernel, "--initrd", &initrd];
        let name = format!("installer-serial-{}", port.name);
        let mut seat = start(&name, &[&arguments[..], &["--append", "console=ttyS0"]].concat());
        seat.wait_for_print("Select a language");
        seat.console.type_text("\r");
        seat.wait_for_print("Select your location");
        seat.quit();
    }
}
