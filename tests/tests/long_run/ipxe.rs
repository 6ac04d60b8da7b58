//! iPXE, from wherever it is started.

use std::fs;

use trine_tests::{console::guest_file, folder::Folder};

use super::{Firmware, start, start_by, turn};

const SCRIPT: &str = "#!ipxe
kernel linux console=ttyS0 quiet initrd=initrd.gz
initrd initrd.gz
boot
";

/// A folder for TFTP with a script, Debian's kernel and the initramfs.
fn served() -> Option<Folder> {
    let folder = Folder::new("long-ipxe");
    for (name, file) in [("linux", "amd64/vmlinuz"), ("initrd.gz", "initrd-amd64.gz")] {
        fs::copy(guest_file(file)?, folder.path(name)).expect("there is room");
    }
    fs::write(folder.path("boot.ipxe"), SCRIPT).expect("there is room");
    Some(folder)
}

/// Waits until iPXE has booted Linux.
fn boots_linux(mut seat: trine_tests::seat::Seat) {
    seat.wait_for("net0: 10.0.2.15/255.255.255.0");
    seat.wait_for_print("READY x86_64");
    seat.console.type_text("poweroff -f\n");
    seat.end();
}

#[test]
#[ignore = "long: about five minutes"]
fn ipxe_boots_linux_by_tftp() {
    let _turn = turn();
    let Some(folder) = served() else { return };
    let net = |card: &str| {
        let folder = folder.at().display();
        format!("user,restrict=on,model={card},tftp={folder},bootfile=boot.ipxe")
    };
    for card in ["virtio", "e1000"] {
        let rom = format!("ipxe-qemu/usr/lib/ipxe/qemu/pxe-{card}.rom");
        let Some(rom) = guest_file(&rom) else { return };
        let with_rom = format!("{},rom={rom}", net(card));
        let Some(iso) = guest_file("ipxe/usr/lib/ipxe/ipxe.iso") else { return };
        let iso = format!("{iso},if=cdrom");
        for firmware in Firmware::ALL {
            let arguments = ["--memory", "512M", "--net", &with_rom];
            let name = format!("ipxe-rom-{card}");
            let Some(seat) = start_by(firmware, &name, &arguments) else { return };
            boots_linux(seat);
            let arguments = ["--memory", "512M", "--net", &net(card), "--disk", &iso];
            let name = format!("ipxe-cd-{card}");
            let Some(seat) = start_by(firmware, &name, &arguments) else { return };
            boots_linux(seat);
        }
    }
}

#[test]
#[ignore = "long: about a minute"]
fn ipxe_is_a_kernel_too() {
    let _turn = turn();
    let Some(folder) = served() else { return };
    let Some(kernel) = guest_file("ipxe/boot/ipxe.lkrn") else { return };
    let net = format!("user,restrict=on,tftp={},bootfile=boot.ipxe", folder.at().display());
    boots_linux(start("ipxe-kernel", &["--memory", "512M", "--kernel", &kernel, "--net", &net]));
}
