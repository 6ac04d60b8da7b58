//! Machines that boot from the network: iPXE in the expansion ROM of each network card, started by the
//! BIOS that is built in, with a lease from the gateway's DHCP and files from its TFTP.
//!
//! The guests come from `tests/guests/fetch`; without them the tests say that they skip.

use std::fs;

use trine_tests::{console::guest_file, folder::Folder, seat::Seat};

/// What iPXE does when DHCP names this as the file to boot.
const SCRIPT: &str = "#!ipxe
kernel linux console=ttyS0 quiet initrd=initrd.gz
initrd initrd.gz
boot
";

/// A folder to be served by TFTP, with copies of these guests' files.
fn served(test: &str, files: &[(&str, &str)]) -> Option<Folder> {
    let folder = Folder::new(test);
    for (name, file) in files {
        fs::copy(guest_file(file)?, folder.path(name)).expect("there is room");
    }
    Some(folder)
}

/// `--net`'s value: a network that ends at its gateway, behind a card with iPXE in its ROM.
fn net(card: &str, folder: &Folder, bootfile: &str) -> Option<String> {
    let rom = guest_file(&format!("ipxe-qemu/usr/lib/ipxe/qemu/pxe-{card}.rom"))?;
    let folder = folder.at().display();
    Some(format!("user,restrict=on,model={card},rom={rom},tftp={folder},bootfile={bootfile}"))
}

#[test]
fn a_script_boots_linux_and_its_initrd() {
    let files = [("linux", "cloud/vmlinuz"), ("initrd.gz", "initrd-amd64.gz")];
    let Some(folder) = served("netboot-script", &files) else { return };
    fs::write(folder.path("boot.ipxe"), SCRIPT).expect("there is room");
    let Some(net) = net("virtio", &folder, "boot.ipxe") else { return };
    let mut seat = Seat::new("netboot-linux", &["--memory", "512M", "--net", &net]);
    seat.wait_for("Booting from network iPXE");
    seat.wait_for("net0: 10.0.2.15/255.255.255.0");
    seat.wait_for_print("READY x86_64");
    // It boots as from any other medium: with all tables of the BIOS.
    assert_eq!(seat.ask("cat /sys/class/dmi/id/sys_vendor"), "Trine");
    seat.console.type_text("poweroff -f\n");
    seat.end();
}

#[test]
fn a_kernel_may_be_the_file_to_boot() {
    let files = [("memtest", "memtest86+/boot/memtest86+x64.bin")];
    let Some(folder) = served("netboot-kernel", &files) else { return };
    let Some(net) = net("e1000", &folder, "memtest") else { return };
    let seat = Seat::new("netboot-memtest", &["--memory", "64M", "--net", &net]);
    seat.wait_for("Booting from network iPXE");
    seat.wait_for("Memtest86+");
    seat.wait_for("Errors: 0");
    seat.quit();
}

#[test]
fn the_network_has_its_place_in_the_boot_order() {
    let floppy = "grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-floppy.img";
    let Some(floppy) = guest_file(floppy) else { return };
    let floppy = format!("{floppy},if=floppy,readonly");
    let Some(folder) = served("netboot-order", &[]) else { return };
    let Some(net) = net("virtio", &folder, "none") else { return };
    // Last of all if nothing is said.
    let seat = Seat::new("netboot-last", &["--disk", &floppy, "--net", &net]);
    seat.wait_for("*GNU/Linux");
    seat.quit();
    // What fails to boot is followed by the next.
    let net = format!("{net},bootindex=0");
    let seat = Seat::new("netboot-first", &["--disk", &floppy, "--net", &net]);
    seat.wait_for("Booting from network iPXE");
    seat.wait_for("*GNU/Linux");
    seat.quit();
}
