//! OVMF, the UEFI firmware for virtual machines: from flash memory to its shell, to programs and to
//! Linux on disks, and back with the variables that were set.
//!
//! It is Debian's, from `tests/guests/fetch`; without it these tests say that they skip. The program
//! is `tests/guests/hello.asm`.

use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    process::Command,
};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use trine_tests::{
    console::{Console, guests, run},
    folder::Folder,
    screen::Screen,
};

/// What nasm makes of `hello.asm`: it says [`HELLO`] and switches the machine off.
const PROGRAM: &[u8] = include_bytes!("../guests/hello.efi");
const HELLO: &str = "Hello from an EFI program.";
/// What the firmware starts from a disk that nobody has installed anything from.
const DEFAULT_PROGRAM: &str = "EFI/BOOT/BOOTX64.EFI";
/// What its shell starts.
const SCRIPT: &str = "startup.nsh";

/// Debian's images.
struct Ovmf(PathBuf);

impl Ovmf {
    fn find() -> Option<Self> {
        let folder = guests()?.join("ovmf/usr/share");
        if !folder.is_dir() {
            println!("skipped: no OVMF among the guests: run tests/guests/fetch");
            return None;
        }
        Some(Self(folder))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// `--firmware` with 4 MiB in two files, the second one a copy in `folder`.
    fn split(&self, folder: &Folder) -> String {
        let variables = folder.path("vars.fd");
        if !Path::new(&variables).exists() {
            fs::copy(self.path("OVMF/OVMF_VARS_4M.fd"), &variables).expect("there is room");
        }
        format!("{},vars={variables}", self.path("OVMF/OVMF_CODE_4M.fd"))
    }

    /// The same with 2 MiB in one file.
    fn whole(&self, folder: &Folder) -> String {
        let image = folder.path("ovmf.fd");
        if !Path::new(&image).exists() {
            fs::copy(self.path("ovmf/OVMF.fd"), &image).expect("there is room");
        }
        image
    }
}

/// A disk image with a FAT file system and these files, at `path`.
fn write_disk(path: &str, mib: usize, files: &[(&str, &[u8])]) {
    let mut bytes = vec![0; mib << 20];
    let format = FormatVolumeOptions::new();
    format_volume(Cursor::new(&mut bytes), format).expect("a size that FAT can have");
    let disk = FileSystem::new(Cursor::new(&mut bytes), FsOptions::new()).expect("formatted");
    for (name, contents) in files {
        let mut folder = disk.root_dir();
        let mut names: Vec<_> = name.split('/').collect();
        let name = names.pop().expect("a name has a last part");
        for part in names {
            folder = folder.create_dir(part).expect("there is room");
        }
        let mut file = folder.create_file(name).expect("there is room");
        file.write_all(contents).expect("there is room");
    }
    disk.unmount().expect("it is in memory");
    fs::write(path, bytes).expect("there is room");
}

#[test]
fn the_shell_is_there_on_serial_and_on_screen() {
    let Some(ovmf) = Ovmf::find() else { return };
    let folder = Folder::new("uefi-shell");
    let (firmware, socket) = (ovmf.split(&folder), folder.path("ctl"));
    let mut console = Console::start(&["run", "--firmware", &firmware, "--ctl", &socket]);
    let screen = Screen::at(socket);
    let said = console.wait_for("UEFI Interactive Shell").and_then(|_| console.wait_for("skip"));
    said.unwrap_or_else(|e| panic!("{e}"));
    // A key of the PC's own keyboard ends the pause.
    screen.do_it(&["key", "ret"]);
    console.wait_for("Shell> ").unwrap_or_else(|e| panic!("{e}"));
    let look = |name: &str| {
        let picture = folder.path(name);
        screen.do_it(&["screenshot", &picture]);
        fs::read(picture).expect("it was written")
    };
    let before = look("before.png");
    // The size that the display adapter's monitor likes best, in IHDR.
    assert_eq!(before[16..24], [0, 0, 0x05, 0x00, 0, 0, 0x03, 0x20]);
    screen.do_it(&["type", "echo shown-$((1\\n"]);
    console.wait_for("\nshown-$((1").unwrap_or_else(|e| panic!("{e}"));
    assert_ne!(look("after.png"), before, "what is typed is drawn");
    // Its reset is the machine's; and it starts again.
    console.type_text("reset\r");
    console.wait_for("UEFI Interactive Shell").unwrap_or_else(|e| panic!("{e}"));
    console.wait_for("skip").unwrap_or_else(|e| panic!("{e}"));
    console.type_text("\r");
    console.wait_for("Shell> ").unwrap_or_else(|e| panic!("{e}"));
    console.type_text("reset -s\r");
    let ending = console.finish().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
}

#[test]
fn a_program_starts_from_a_disk_on_every_controller() {
    let Some(ovmf) = Ovmf::find() else { return };
    let folder = Folder::new("uefi-program");
    let disk = folder.path("disk.img");
    write_disk(&disk, 8, &[(DEFAULT_PROGRAM, PROGRAM)]);
    let runs =
        [("translate", "ide"), ("translate", "ahci"), ("translate", "virtio"), ("interp", "ide")];
    for (engine, controller) in runs {
        // It is the first one for the firmware, whatever others the variables know of.
        let disk = format!("{disk},if={controller},readonly,bootindex=0");
        let firmware = ovmf.split(&folder);
        let options = ["--engine", engine, "--cpus", "2", "--disk", &disk];
        let ending = run(&[&["run", "--firmware", &firmware], &options[..]].concat());
        let said = String::from_utf8_lossy(&ending.stdout);
        assert!(said.contains(HELLO), "{engine}, {controller}: {said}");
        assert_eq!(ending.status.code(), Some(0), "{engine}, {controller}: {}", ending.stderr);
    }
}

/// Runs a script on a disk, then the program. Returns what was printed.
fn run_script(folder: &Folder, firmware: &str, script: &str) -> String {
    let disk = folder.path("script.img");
    let script = format!("@echo -off\r\n{script}\r\nfs0:\\hello.efi\r\n");
    write_disk(&disk, 8, &[(SCRIPT, script.as_bytes()), ("hello.efi", PROGRAM)]);
    let mut console = Console::start(&["run", "--firmware", firmware, "--disk", &disk]);
    console.wait_for("skip").unwrap_or_else(|e| panic!("{e}"));
    console.type_text("\r");
    let ending = console.finish().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
    let said = String::from_utf8_lossy(&ending.stdout).into_owned();
    assert!(said.contains(HELLO), "{said}");
    said
}

/// A variable of nobody else's.
const VARIABLE: &str = "setvar Trine -guid 5c0b9f1e-7d53-4f0b-9c1a-2f6f3f1d8a77";
/// What it is set to, and how the shell shows it.
const SET: &str = "-nv -bs =6B657074";
const KEPT: &str = "6B 65 70 74";

#[test]
fn variables_outlive_the_machine() {
    let Some(ovmf) = Ovmf::find() else { return };
    let folder = Folder::new("uefi-variables");
    for firmware in [ovmf.split(&folder), ovmf.whole(&folder)] {
        let set = format!("{VARIABLE} {SET}");
        run_script(&folder, &format!("{firmware},snapshot"), &set);
        let said = run_script(&folder, &firmware, &format!("{VARIABLE}\r\n{set}"));
        assert!(!said.contains(KEPT), "{said}");
        let said = run_script(&folder, &firmware, VARIABLE);
        assert!(said.contains(KEPT), "{said}");
    }
}

#[test]
fn a_variable_that_was_set_is_there_after_a_kill() {
    let Some(ovmf) = Ovmf::find() else { return };
    let folder = Folder::new("uefi-kill");
    let firmware = ovmf.split(&folder);
    let mut console = Console::start(&["run", "--firmware", &firmware]);
    console.wait_for("skip").unwrap_or_else(|e| panic!("{e}"));
    console.type_text("\r");
    console.wait_for("Shell> ").unwrap_or_else(|e| panic!("{e}"));
    console.type_text(&format!("{VARIABLE} {SET}\r"));
    console.wait_for("Shell> ").unwrap_or_else(|e| panic!("{e}"));
    // SIGKILL.
    drop(console);
    let said = run_script(&folder, &firmware, VARIABLE);
    assert!(said.contains(KEPT), "{said}");
}

#[test]
fn linux_starts_as_an_efi_program() {
    let (Some(ovmf), Some(guests)) = (Ovmf::find(), guests()) else { return };
    let folder = Folder::new("uefi-linux");
    let read = |name: &str| fs::read(guests.join(name)).expect("a guest's file");
    let script = b"@echo -off\r\nfs0:\\vmlinuz.efi initrd=\\initrd.gz console=ttyS0\r\n";
    let disk = folder.path("disk.img");
    let files: [(&str, &[u8]); 3] = [
        (SCRIPT, script),
        ("vmlinuz.efi", &read("cloud/vmlinuz")),
        ("initrd.gz", &read("initrd-amd64.gz")),
    ];
    write_disk(&disk, 64, &files);
    let (disk, firmware) = (format!("{disk},if=virtio"), ovmf.split(&folder));
    let options = ["--memory", "512M", "--cpus", "2", "--disk", &disk];
    let mut console = Console::start(&[&["run", "--firmware", &firmware], &options[..]].concat());
    console.wait_for("skip").unwrap_or_else(|e| panic!("{e}"));
    console.type_text("\r");
    let said = console.wait_for("READY x86_64 cpus=2").unwrap_or_else(|e| panic!("{e}"));
    assert!(said.contains("efi: EFI v2"), "{said}");
    let mut ask = |what| console.ask(what).unwrap_or_else(|e| panic!("{e}"));
    // The tables say where the firmware has put power management.
    assert_eq!(ask("grep -c 'ACPI PM1a_EVT_BLK' /proc/ioports"), "1");
    let ports = ask("grep 'ACPI PM_TMR' /proc/ioports");
    assert!(ports.contains("b008-b00b"), "{ports}");
    assert_eq!(ask("ls /sys/firmware/efi/fw_platform_size"), "/sys/firmware/efi/fw_platform_size");
    console.type_text("poweroff -f\n");
    let ending = console.finish().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
}

#[test]
fn files_that_must_not_be_written_are_named() {
    let Some(ovmf) = Ovmf::find() else { return };
    let folder = Folder::new("uefi-files");
    let (code, small) = (ovmf.path("OVMF/OVMF_CODE_4M.fd"), ovmf.path("OVMF/OVMF_VARS.fd"));
    let template = folder.path("template.fd");
    fs::copy(ovmf.path("OVMF/OVMF_VARS_4M.fd"), &template).expect("there is room");
    let mut permissions = fs::metadata(&template).expect("it is there").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&template, permissions).expect("it is ours");
    for (firmware, why) in [
        (format!("{code},vars={template}"), "give it a copy of your own, or add 'snapshot'"),
        (format!("{code},vars={small},snapshot"), "131072 bytes of variables do not belong to"),
        (format!("{code},vars={}", folder.path("none")), "No such file"),
        (format!("{code},vars={code},snapshot"), "something else than a UEFI firmware's variables"),
    ] {
        let ending = run(&["run", "--firmware", &firmware]);
        assert_eq!(ending.status.code(), Some(1), "{firmware}");
        assert!(ending.stderr.contains(why), "{}", ending.stderr);
        assert_eq!(ending.stderr.trim_end().lines().count(), 1, "{}", ending.stderr);
    }
}

#[test]
fn the_program_is_what_its_source_says() {
    let folder = Folder::new("uefi-assembled");
    let (out, guests) = (folder.path("hello.efi"), Path::new(env!("CARGO_MANIFEST_DIR")));
    let source = guests.join("guests/hello.asm");
    let nasm = Command::new("nasm").args(["-f", "bin", "-o", &out]).arg(source).status();
    let Ok(status) = nasm else {
        eprintln!("skipped: nasm is not installed");
        return;
    };
    assert!(status.success(), "nasm assembles hello.asm");
    assert!(fs::read(out).expect("it has written it") == PROGRAM, "hello.efi is an older one");
}
