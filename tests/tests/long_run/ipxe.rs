//! iPXE, from wherever it is started.

use trine_tests::{
    console::guest_file,
    seat::Seat,
    tftp::{BOOT_LINUX, Tftp, rom},
};

use super::{Firmware, start_by, turn};

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
    let files = [("linux", "amd64/vmlinuz"), ("initrd.gz", "initrd-amd64.gz")];
    let Some(served) = Tftp::new("ipxe", &files) else { return };
    served.write("boot.ipxe", BOOT_LINUX);
    let Some(iso) = guest_file("ipxe/usr/lib/ipxe/ipxe.iso") else { return };
    let iso = format!("{iso},if=cdrom");
    for card in ["virtio", "e1000"] {
        let Some(rom) = rom(card) else { return };
        let net = format!("{},restrict=on", served.net(card, "boot.ipxe"));
        let with_rom = format!("{net},rom={rom}");
        for firmware in Firmware::ALL {
            let arguments = ["--memory", "512M", "--net", &with_rom];
            let name = format!("ipxe-rom-{card}");
            let Some(seat) = start_by(firmware, &name, &arguments) else { return };
            boots_linux(seat);
            let arguments = ["--memory", "512M", "--net", &net, "--disk", &iso];
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
    let files = [
        ("ipxe.lkrn", "ipxe/boot/ipxe.lkrn"),
        ("linux", "amd64/vmlinuz"),
        ("initrd.gz", "initrd-amd64.gz"),
    ];
    let Some((served, rom)) = Tftp::new("ipxe-kernel", &files).zip(rom("virtio")) else { return };
    for (name, script) in
        [("first.ipxe", FIRST), ("second.ipxe", SECOND), ("boot.ipxe", BOOT_LINUX)]
    {
        served.write(name, script);
    }
    let net = format!("{},restrict=on,rom={rom}", served.net("virtio", "first.ipxe"));
    for firmware in Firmware::ALL {
        let arguments = ["--memory", "512M", "--net", &net];
        let Some(seat) = start_by(firmware, "ipxe-kernel", &arguments) else { return };
        seat.wait_for("Second iPXE");
        boots_linux(seat);
    }
}
