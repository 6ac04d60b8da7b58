//! GRUB's rescue system, on Debian's images of media.

use crate::{console::guest_file, seat::Seat};

/// The images, each with the options of `--disk` for a place where it boots.
pub const MEDIA: [(&str, &str); 5] = [
    ("floppy.img", "if=floppy,readonly"),
    ("cdrom.iso", "if=cdrom"),
    ("usb.img", "if=ide,readonly"),
    ("usb.img", "if=virtio,readonly"),
    ("usb.img", "if=ahci,readonly"),
];

/// The file of an image; `None`, after saying so, where it was not fetched.
#[must_use]
pub fn file(image: &str) -> Option<String> {
    guest_file(&format!("grub-rescue-pc/usr/lib/grub-rescue/grub-rescue-{image}"))
}

/// Waits for its menu, goes through it, has its shell do something, and ends the machine.
///
/// # Panics
/// If it does not obey.
pub fn obeys_keys(seat: Seat) {
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
