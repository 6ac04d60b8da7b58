//! A person, or a program, before the guest's screen: Debian's kernel with its console on a VGA, seen
//! and typed into by `trine ctl` and a VNC viewer.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
};

use trine_tests::{
    console::{Console, guests},
    folder::Folder,
    screen::Screen,
};

/// What a VNC viewer is told first: the size of the picture.
fn size_for_viewers(socket: &str) -> (u16, u16) {
    let mut viewer = UnixStream::connect(socket).expect("the server listens");
    let mut told = [0; 12];
    viewer.read_exact(&mut told).expect("a version");
    assert_eq!(&told, b"RFB 003.008\n");
    viewer.write_all(b"RFB 003.008\n\x01\x01").expect("the server listens");
    // Its security types, the result, then the size.
    let mut told = [0; 10];
    viewer.read_exact(&mut told).expect("it is let in");
    assert_eq!(told[..6], [1, 1, 0, 0, 0, 0]);
    (u16::from_be_bytes([told[6], told[7]]), u16::from_be_bytes([told[8], told[9]]))
}

/// Floppies go in and out of the drives, each into one at a time.
fn change_media(guest: &Screen, folder: &Folder) {
    let floppy = folder.path("a.img");
    fs::write(&floppy, vec![0; 1440 << 10]).expect("there is room");
    guest.do_it(&["insert", "fd0", &floppy]);
    let (status, why) = guest.ctl(&["insert", "fd1", &floppy]);
    assert_eq!(status, Some(1), "{why}");
    assert!(why.contains("a.img"), "{why}");
    guest.do_it(&["eject", "fd0"]);
    guest.do_it(&["insert", "fd1", &floppy]);
    // Into the same drive again.
    guest.do_it(&["insert", "fd1", &floppy, "--readonly"]);
    let (status, why) = guest.ctl(&["insert", "fd0", &folder.path("none.img")]);
    assert_eq!(status, Some(1));
    assert!(why.contains("none.img"), "{why}");
    let (status, why) = guest.ctl(&["eject", "cd0"]);
    assert_eq!(status, Some(1));
    assert!(why.contains("there is no drive cd0; there are fd0, fd1"), "{why}");
}

#[test]
fn linux_is_seen_and_typed_into() {
    let Some(guests) = guests() else { return };
    let file = |name: &str| guests.join(name).display().to_string();
    let (kernel, initrd) = (file("686/vmlinuz"), file("initrd-i386.gz"));
    let folder = Folder::new("screen");
    let (socket, viewers) = (folder.path("ctl"), folder.path("vnc"));
    let display = format!("vnc:unix:{viewers}");
    let console = Console::start(
        &[
            ["run", "--memory", "256M", "--no-reboot", "--serial", "null"],
            ["--kernel", &kernel, "--initrd", &initrd, "--append", "console=tty0 quiet"],
            ["--display", &display, "--ctl", &socket, "--clock", "host"],
        ]
        .concat(),
    );
    let guest = Screen::at(socket);
    guest.wait_for("/ #");
    // What is typed is longer than a keyboard remembers. The sum is not among it.
    let line = r"echo The quick brown fox: $((123456789+1)) | tr a-z A-Z; clear_=~!@#%\n";
    guest.do_it(&["type", line]);
    guest.wait_for("THE QUICK BROWN FOX: 123456790");
    let text = guest.do_it(&["screen-text"]);
    let typed = "echo The quick brown fox: $((123456789+1)) | tr a-z A-Z; clear_=~!@#%";
    assert!(text.contains(typed), "{text}");
    assert_eq!(text.lines().count(), 25, "{text}");
    let picture = folder.path("screen.png");
    guest.do_it(&["screenshot", &picture]);
    let picture = fs::read(picture).expect("it was written");
    assert_eq!(picture[..8], *b"\x89PNG\r\n\x1a\n");
    // The width and the height in IHDR: 80 by 25 characters of 9 by 16 dots.
    assert_eq!(picture[16..24], [0, 0, 2, 208, 0, 0, 1, 144]);
    assert_eq!(size_for_viewers(&viewers), (720, 400));
    // While it stands, nothing is answered; then all of it.
    guest.do_it(&["pause"]);
    assert!(guest.do_it(&["status"]).contains("paused"));
    let (status, why) = guest.ctl(&["wait-text", "never", "--timeout", "0.1"]);
    assert_eq!(status, Some(2), "{why}");
    guest.do_it(&["resume"]);
    guest.do_it(&["key", "e", "c", "h", "o", "spc", "shift-x", "minus", "y", "ret"]);
    guest.wait_for("X-y");
    change_media(&guest, &folder);
    // After a reset nothing of it is left.
    guest.do_it(&["reset"]);
    assert!(!guest.do_it(&["screen-text"]).contains("X-y"));
    guest.wait_for("/ #");
    guest.do_it(&["quit"]);
    let ending = console.finish().unwrap_or_else(|silence| panic!("{silence}"));
    assert_eq!((ending.status.code(), ending.stdout), (Some(0), Vec::new()), "{}", ending.stderr);
    for socket in [guest.socket(), &*viewers] {
        assert!(fs::metadata(socket).is_err(), "{socket} is left");
    }
    let (status, why) = guest.ctl(&["status"]);
    assert_eq!(status, Some(1));
    assert!(why.contains("no machine listens there"), "{why}");
}
