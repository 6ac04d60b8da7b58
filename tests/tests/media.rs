//! What is on Debian's media: GRUB from a floppy, a CD and a disk, memtest86+ and the installer, on the
//! BIOS that is built in, seen and typed into by `trine ctl`.
//!
//! `cargo test --release -p trine-tests --test media -- --ignored` is the long run: minutes.

use std::path::Path;

use trine_tests::{
    console::{Console, guests},
    folder::Folder,
    screen::Screen,
};

/// A machine with a screen. `name` is that of a test.
fn start(name: &str, arguments: &[&str]) -> (Folder, Console, Screen) {
    let folder = Folder::new(name);
    let socket = folder.path("ctl");
    let machine = ["run", "--serial", "null", "--ctl", &socket];
    let console = Console::start(&[&machine[..], arguments].concat());
    let screen = Screen::at(socket);
    (folder, console, screen)
}

/// The machine ends when it is asked to.
fn quit(console: Console, screen: &Screen) {
    screen.do_it(&["quit"]);
    let ending = console.finish().unwrap_or_else(|silence| panic!("{silence}"));
    assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
}

/// A file of a Debian package, if it was fetched.
fn of_package(package: &str, file: &str) -> Option<String> {
    let path = guests()?.join(package).join(file);
    if !path.exists() {
        eprintln!("skipped: there is no {}; see tests/guests/fetch", path.display());
        return None;
    }
    Some(path.display().to_string())
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
        let file = Path::new("usr/lib/grub-rescue").join(format!("grub-rescue-{image}"));
        let Some(image) = of_package("grub-rescue-pc", &file.display().to_string()) else { return };
        let disk = format!("{image},{options}");
        let (_folder, console, screen) = start("grub", &["--memory", "128M", "--disk", &disk]);
        screen.wait_for("*GNU/Linux");
        screen.do_it(&["key", "down"]);
        screen.wait_for("*GNU (aka GNU/Hurd)");
        screen.do_it(&["key", "c"]);
        screen.wait_for("grub>");
        // The product is not among what is typed.
        screen.do_it(&["type", "set a=Tri\\nset b=ne\\necho $a$b\\n"]);
        screen.wait_for("Trine");
        quit(console, &screen);
    }
}

#[test]
fn a_disk_may_come_before_a_floppy() {
    let folder = "usr/lib/grub-rescue";
    let image =
        |name: &str| of_package("grub-rescue-pc", &format!("{folder}/grub-rescue-{name}.img"));
    let (Some(floppy), Some(usb)) = (image("floppy"), image("usb")) else { return };
    let floppy = format!("{floppy},if=floppy,readonly");
    let disk = format!("{usb},if=virtio,readonly,bootindex=0");
    let (_folder, console, screen) = start("order", &["--disk", &floppy, "--disk", &disk]);
    screen.wait_for("*GNU/Linux");
    screen.do_it(&["key", "c"]);
    screen.wait_for("grub>");
    screen.do_it(&["type", "echo root is $root\\n"]);
    screen.wait_for("root is hd0");
    quit(console, &screen);
}

#[test]
#[ignore = "a whole pass on each of four machines takes minutes"]
fn memtest86_passes_without_errors() {
    for build in ["x64", "ia32"] {
        for cpus in ["1", "2"] {
            let file = format!("boot/memtest86+{build}.bin");
            let Some(kernel) = of_package("memtest86+", &file) else { return };
            let arguments = ["--memory", "64M", "--cpus", cpus, "--kernel", &kernel];
            let (_folder, console, screen) = start("memtest", &arguments);
            screen.wait_for("Pass:  1");
            let text = screen.do_it(&["screen-text"]);
            assert!(text.contains("Errors: 0"), "{build}, {cpus} CPUs:\n{text}");
            quit(console, &screen);
        }
    }
}
