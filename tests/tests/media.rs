//! GRUB from a floppy, a CD and disks, on the BIOS that is built in, seen and typed into by `trine
//! ctl`. What else is on Debian's media is in the long run (`long_run`).

use trine_tests::{grub, seat::Seat};

#[test]
fn grub_shows_its_menu_and_obeys_keys() {
    for (image, options) in grub::MEDIA {
        let Some(file) = grub::file(image) else { return };
        let disk = format!("{file},{options}");
        grub::obeys_keys(Seat::new("grub", &["--memory", "128M", "--disk", &disk]));
    }
}

#[test]
fn a_disk_may_come_before_a_floppy() {
    let (Some(floppy), Some(usb)) = (grub::file("floppy.img"), grub::file("usb.img")) else {
        return;
    };
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
