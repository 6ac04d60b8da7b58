//! iPXE, from wherever it is started.

use std::fs;

use trine_tests::{console::guest_file, folder::Folder, seat::Seat};

use super::{Firmware, start_by, turn};

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
fn boots_linux(mut seat: Seat) {
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
    let Some(iso) = guest_file("ipxe/usr/lib/ipxe/ipxe.iso") else { return };
    let iso = format!("{iso},if=cdrom");
    for card in ["virtio", "e1000"] {
        let rom = format!("ipxe-qemu/usr/lib/ipxe/qemu/pxe-{card}.rom");
        let Some(rom) = guest_file(&rom) else { return };
        let with_rom = format!("{},rom={rom}", net(card));
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

/// What the first iPXE does to start a second one, and what that one is to do.
const FIRST: &str = "#!ipxe
kernel ipxe.lkrn
initrd second.ipxe
boot
";
const SECOND: &str = "#!ipxe
echo Second iPXE
dhcp
chain tftp://${next-server}/boot.ipxe
";

#[test]
#[ignore = "long: about two minutes"]
fn ipxe_is_a_kernel_too() {
    let _turn = turn();
    let (Some(folder), Some(kernel), Some(rom)) = (
        served(),
        guest_file("ipxe/boot/ipxe.lkrn"),
        guest_file("ipxe-qemu/usr/lib/ipxe/qemu/pxe-virtio.rom"),
    ) else {
        return;
    };
    fs::copy(kernel, folder.path("ipxe.lkrn")).expect("there is room");
    for (name, script) in [("first.ipxe", FIRST), ("second.ipxe", SECOND)] {
        fs::write(folder.path(name), script).expect("there is room");
    }
    let tftp = folder.at().display();
    let net = format!("user,restrict=on,rom={rom},tftp={tftp},bootfile=first.ipxe");
    for firmware in Firmware::ALL {
        let arguments = ["--memory", "512M", "--net", &net];
        let Some(seat) = start_by(firmware, "ipxe-kernel", &arguments) else { return };
        seat.wait_for("Second iPXE");
        boots_linux(seat);
    }
}
