//! GRUB from a floppy, a CD and disks, on the BIOS that is built in, seen and typed into by `trine
//! ctl`. What else is on Debian's media is in the long run (`long_run`).

use trine_tests::{console::guest_file, seat::Seat};

/// An image of GRUB's rescue system.
fn grub(image: &str) -> Option<String> {
    guest_file(&format!("grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-{image}"))
}

#[test]
fn grub_shows_its_menu_and_obeys_keys() {
    for (image, options) in [
        ("floppy.img", "if=floppy,readonly"),
        ("cdrom.iso", "if=cdrom"),
        ("usb.img", "if=ide,readonly"),
        ("usb.img", "if=virtio,readonly"),
        ("usb.img", "if=ahci,readonly"),
    ] {
        let Some(image) = grub(image) else { return };
        let disk = format!("{image},{options}");
        let seat = Seat::new("grub", &["--memory", "128M", "--disk", &disk]);
        seat.wait_for("*GNU/Linux");
        seat.press(&["down"]);
        seat.wait_for("*GNU (aka GNU/Hurd)");
        seat.press(&["c"]);
        seat.wait_for("grub>");
        // The product is not among what is typed.
        seat.type_text("set a=Tri\\nset b=ne\\necho $a$b\\n");
        seat.wait_for("Trine");
        seat.quit();
    }
}

#[test]
fn a_disk_may_come_before_a_floppy() {
    let (Some(floppy), Some(usb)) = (grub("floppy.img"), grub("usb.img")) else { return };
    let floppy = format!("{floppy},if=floppy,readonly");
    let disk = format!("{usb},if=virtio,readonly,bootindex=0");
    let seat = Seat::new("order", &["--disk", &floppy, "--disk", &disk]);
    seat.wait_for("*GNU/Linux");
    seat.press(&["c"]);
    seat.wait_for("grub>");
    seat.type_text("echo root is $root\\n");
    seat.wait_for("root is hd0");
    seat.quit();
}
