//! Machines that boot from the network: iPXE in the expansion ROM of each network card, started by the
//! BIOS that is built in, with a lease from the gateway's DHCP and files from its TFTP.
//!
//! The guests come from `tests/guests/fetch`; without them the tests say that they skip.

use trine_tests::{
    console::guest_file,
    seat::Seat,
    tftp::{BOOT_LINUX, Tftp, rom},
};

/// `--net`'s value: a network that ends at its gateway, behind a card with iPXE in its ROM.
fn net(card: &str, served: &Tftp, bootfile: &str) -> Option<String> {
    Some(format!("{},restrict=on,rom={}", served.net(card, bootfile), rom(card)?))
}

#[test]
fn a_script_boots_linux_and_its_initrd() {
    let files = [("linux", "cloud/vmlinuz"), ("initrd.gz", "initrd-amd64.gz")];
    let Some(served) = Tftp::new("script", &files) else { return };
    served.write("boot.ipxe", BOOT_LINUX);
    let Some(net) = net("virtio", &served, "boot.ipxe") else { return };
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
    let Some(served) = Tftp::new("kernel", &files) else { return };
    let Some(net) = net("e1000", &served, "memtest") else { return };
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
    let Some(served) = Tftp::new("order", &[]) else { return };
    let Some(net) = net("virtio", &served, "none") else { return };
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
