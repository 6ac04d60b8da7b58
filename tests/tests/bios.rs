//! The BIOS, from the reset vector to what it boots, on the whole machine.
//!
//! Two disks are tested: one that asks for most services and compares the answers
//! (`tests/guests/services.asm`), and one with Linux, loaded by nothing but INT 13h and INT 15h
//! (`tests/guests/loader.asm`). Linux comes from `tests/guests/fetch`; without it that test says that it
//! skips.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use trine_tests::console::{Console, guests, run};

/// What nasm makes of `services.asm`.
const SERVICES: &[u8] = include_bytes!("../guests/services.bin");
/// What nasm makes of `loader.asm`.
const LOADER: &[u8] = include_bytes!("../guests/loader.bin");

/// In the loader: sectors of the kernel, of the initrd, and the initrd's bytes.
const SIZES: usize = 0x1f0;
/// What the services' guest writes to the debug exit port if all answers are right.
const SUCCESS: i32 = 0x20;

const CONTROLLERS: [&str; 3] = ["ide", "virtio", "ahci"];

/// A file of a test's own, which goes with it.
struct File(PathBuf);

impl File {
    fn new(name: &str, contents: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("trine-{name}-{}", std::process::id()));
        fs::write(&path, contents).expect("there is room for a file");
        Self(path)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn every_service_answers_as_on_any_pc() {
    for engine in ["interp", "translate"] {
        for controller in CONTROLLERS {
            let disk = File::new(&format!("services-{engine}-{controller}"), SERVICES);
            let console = File::new(&format!("said-{engine}-{controller}"), b"");
            let said = run(&[
                "run",
                "--engine",
                engine,
                "--memory",
                "32M",
                "--disk",
                &format!("{},if={controller}", disk.path()),
                "--debug-exit",
                "0xf4",
                "--debug-console",
                &format!("file:{}", console.path()),
            ]);
            let printed = fs::read_to_string(&console.0).unwrap_or_default();
            let status = said.status.code();
            assert_eq!(status, Some(SUCCESS << 1 | 1), "{engine} {controller}: {printed}");
            assert!(printed.contains("Booting from hard disk"), "{printed}");
        }
    }
}

#[test]
fn a_disk_without_a_boot_sector_is_named_as_tried() {
    let disk = File::new("empty", &[0; 1 << 20]);
    let console = File::new("said-empty", b"");
    let (disk, said) = (disk.path(), format!("file:{}", console.path()));
    let ended = run(&["run", "--disk", &disk, "--debug-console", &said, "--time-limit", "5"]);
    let printed = fs::read_to_string(&console.0).unwrap_or_default();
    assert!(printed.contains("No bootable device. Tried:"), "{printed}\n{}", ended.stderr);
    assert!(printed.contains("TRINE HARDDISK: it has no boot sector"), "{printed}");
}

/// The loader, a command line, a kernel and an initrd, each from a sector on.
fn linux_disk(guests: &Path) -> Vec<u8> {
    let file = |name: &str| fs::read(guests.join(name)).expect("a guest's file");
    let (kernel, initrd) = (file("cloud/vmlinuz"), file("initrd-amd64.gz"));
    let sectors = |bytes: &[u8]| bytes.len().div_ceil(512);
    let sizes = [sectors(&kernel), sectors(&initrd), initrd.len()];
    let sizes: Vec<u8> = sizes.iter().flat_map(|size| (*size as u32).to_le_bytes()).collect();
    let mut disk = LOADER.to_vec();
    disk[SIZES..SIZES + sizes.len()].copy_from_slice(&sizes);
    for part in [&b"console=ttyS0\0"[..], &kernel, &initrd] {
        disk.extend(part);
        disk.resize(disk.len().next_multiple_of(512), 0);
    }
    disk
}

#[test]
fn linux_starts_from_a_disk_on_every_controller_and_finds_the_tables() {
    let Some(guests) = guests() else { return };
    let disk = File::new("linux", &linux_disk(&guests));
    for controller in CONTROLLERS {
        let disk = format!("{},if={controller},readonly", disk.path());
        let mut console = Console::start(&["run", "--memory", "512M", "--disk", &disk]);
        let map = console.wait_for("READY").unwrap_or_else(|e| panic!("{controller}: {e}"));
        assert!(map.contains("[mem 0x00000000000e0000-0x00000000000fffff] reserved"), "{map}");
        let mut ask = |what| console.ask(what).unwrap_or_else(|e| panic!("{controller}: {e}"));
        assert_eq!(ask("cat /sys/class/dmi/id/sys_vendor"), "Trine");
        let acpi = ask("ls /sys/firmware/acpi/tables");
        assert!(acpi.contains("APIC") && acpi.contains("DSDT"), "{acpi}");
        // It ends as ACPI says.
        console.type_text("poweroff -f\n");
        let ending = console.finish().unwrap_or_else(|e| panic!("{controller}: {e}"));
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
    }
}

#[test]
fn the_guests_are_what_their_sources_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    for (source, image) in [("services.asm", SERVICES), ("loader.asm", LOADER)] {
        let out = File::new(&format!("assembled-{source}"), b"");
        let nasm = Command::new("nasm")
            .args(["-f", "bin", "-o"])
            .arg(&out.0)
            .arg(folder.join(source))
            .status();
        let Ok(status) = nasm else {
            eprintln!("skipped: nasm is not installed");
            return;
        };
        assert!(status.success(), "nasm assembles {source}");
        let assembled = fs::read(&out.0).expect("nasm has written it");
        assert!(assembled == image, "{source} has changed and what nasm made of it has not");
    }
}
