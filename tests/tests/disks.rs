//! Linux at its disks: through every controller that there is, with Debian's own drivers.
//!
//! What it writes is in the image when it has ended, and what it reads is what is there; also while
//! the machine moves between engines. The guests come from `tests/guests/fetch`; without them the
//! tests say that they skip.

use std::{fs, path::Path};

use trine_tests::{
    console::{Console, ask, guests, power_off},
    folder::Folder,
    initramfs::initramfs,
};

/// Drivers of the cloud kernel.
const MODULES: [&str; 6] =
    ["virtio_pci", "virtio_blk", "ata_piix", "ata_generic", "sd_mod", "sr_mod"];

/// Linux at its shell, with the drivers loaded.
fn boot(folder: &Folder, guests: &Path, options: &[&str]) -> Console {
    let initramfs_file = folder.path("initramfs");
    fs::write(&initramfs_file, initramfs(guests, "cloud", &MODULES, &[])).expect("there is room");
    let kernel = guests.join("cloud/vmlinuz").display().to_string();
    let machine = ["run", "--memory", "512M", "--no-reboot", "--kernel", &kernel];
    let boot = ["--initrd", &initramfs_file, "--append", "console=ttyS0 quiet"];
    let mut console = Console::start(&[&machine[..], &boot, options].concat());
    let shell = console.wait_for("/ #");
    shell.unwrap_or_else(|silence| panic!("{silence}"));
    ask(&mut console, "sh /drivers 2>/dev/null; until [ -e /sys/block/sr0 ]; do sleep 0.1; done");
    console
}

/// Bytes of which no two blocks are the same.
fn contents(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..len / 8).flat_map(|_| next()).collect()
}

/// Writes 6 MiB of random bytes to `disk`, from its third MiB on, and reads them again past all
/// caches: their checksum, twice.
fn write_and_read(console: &mut Console, disk: &str) {
    let sums = ask(
        console,
        &format!(
            "dd if=/dev/urandom of=/data bs=1M count=6 2>/dev/null; \
             dd if=/data of=/dev/{disk} bs=64k seek=32 conv=fsync 2>/dev/null; \
             echo 3 >/proc/sys/vm/drop_caches; md5sum </data; \
             dd if=/dev/{disk} bs=64k skip=32 count=96 2>/dev/null | md5sum"
        ),
    );
    let sums: Vec<&str> = sums.lines().collect();
    assert!(sums.len() == 2 && sums[0].len() > 32 && sums[0] == sums[1], "{disk}: {sums:?}");
}

#[test]
fn linux_writes_and_reads_through_every_controller() {
    let Some(guests) = guests() else { return };
    let folder = Folder::new("disks");
    let (virtio, ide, cd) =
        (folder.path("virtio.qcow2"), folder.path("ide.img"), folder.path("cd"));
    let made = trine_tests::console::run(&["image", "create", "-f", "qcow2", &virtio, "64M"]);
    assert_eq!(made.status.code(), Some(0), "{}", made.stderr);
    let before = contents(16 << 20, 1);
    fs::write(&ide, &before).expect("there is room");
    fs::write(&cd, contents(2 << 20, 2)).expect("there is room");
    let virtio_option = format!("{virtio},if=virtio,serial=seven");
    let cd_option = format!("{cd},if=cdrom");
    let disks = ["--disk", &virtio_option, "--disk", &ide, "--disk", &cd_option, "--cpus", "2"];
    let mut console = boot(&folder, &guests, &disks);
    assert_eq!(ask(&mut console, "cat /sys/block/vda/size /sys/block/sda/size"), "131072\n32768");
    assert_eq!(ask(&mut console, "cat /sys/block/vda/serial"), "seven");
    for disk in ["vda", "sda"] {
        write_and_read(&mut console, disk);
    }
    // What the CD holds, it finds on a disk after it has copied it there.
    ask(&mut console, "dd if=/dev/sr0 of=/dev/sda bs=64k seek=144 conv=fsync 2>/dev/null");
    power_off(console);
    let after = fs::read(&ide).expect("it is there");
    assert_eq!(after[..2 << 20], before[..2 << 20], "what lies before stays");
    assert_eq!(after[8 << 20..9 << 20], before[8 << 20..9 << 20], "and what lies behind");
    assert_eq!(after[9 << 20..11 << 20], contents(2 << 20, 2), "the CD");
    assert_eq!(after[11 << 20..], before[11 << 20..]);
    assert_ne!(after[2 << 20..8 << 20], before[2 << 20..8 << 20]);
    let checked = trine_tests::console::run(&["image", "check", &virtio]);
    assert_eq!(checked.status.code(), Some(0), "{}", checked.stderr);
    // It was closed: nobody has to count its clusters.
    let info = trine_tests::console::run(&["image", "info", "--json", &virtio]);
    let info = String::from_utf8_lossy(&info.stdout).replace(' ', "");
    assert!(info.contains("\"dirty-flag\":false"), "{info}");
}

#[test]
fn a_machine_moves_while_its_disks_work() {
    let Some(guests) = guests() else { return };
    let folder = Folder::new("disks-hop");
    let (virtio, ide, cd) = (folder.path("virtio.img"), folder.path("ide.img"), folder.path("cd"));
    for (file, bytes) in [(&virtio, 16 << 20), (&ide, 16 << 20), (&cd, 1 << 20)] {
        fs::write(file, vec![0; bytes]).expect("there is room");
    }
    let virtio_option = format!("{virtio},if=virtio");
    let cd_option = format!("{cd},if=cdrom");
    let mut options = vec!["--disk", &virtio_option, "--disk", &ide, "--disk", &cd_option];
    // Every 20 ms, from well before the drivers are loaded.
    let engines = ["interp", "translate"];
    let switches: Vec<String> =
        (0..300).map(|n| format!("{}ms={}", 1500 + n * 20, engines[n % 2])).collect();
    options.extend(switches.iter().flat_map(|switch| ["--switch", switch.as_str()]));
    let mut console = boot(&folder, &guests, &options);
    for disk in ["vda", "sda", "vda", "sda"] {
        write_and_read(&mut console, disk);
    }
    assert_eq!(ask(&mut console, "dmesg | grep -iE 'error|timeout|reset' | grep -i ata"), "");
    power_off(console);
}

#[test]
fn a_counted_run_is_the_same_with_disks() {
    let Some(guests) = guests() else { return };
    let folder = Folder::new("disks-counted");
    let run = |engine: &str| {
        let (virtio, cd) = (folder.path("virtio.img"), folder.path("cd"));
        fs::write(&virtio, contents(4 << 20, 3)).expect("there is room");
        fs::write(&cd, contents(1 << 20, 4)).expect("there is room");
        let initramfs_file = folder.path("initramfs");
        fs::write(&initramfs_file, initramfs(&guests, "cloud", &MODULES, &[]))
            .expect("there is room");
        let kernel = guests.join("cloud/vmlinuz").display().to_string();
        let virtio_option = format!("{virtio},if=virtio");
        let cd_option = format!("{cd},if=cdrom");
        // Commas stand for spaces in what the initramfs runs.
        let work = "console=ttyS0 quiet run=sh,/drivers;md5sum,/dev/vda,/dev/sr0;\
             dd,if=/dev/sr0,of=/dev/vda,bs=64k,conv=fsync;md5sum,/dev/vda;cat,/proc/interrupts";
        let arguments = [
            "run",
            "--engine",
            engine,
            "--clock",
            "instructions",
            "--no-reboot",
            "--memory",
            "256M",
            "--kernel",
            &kernel,
            "--initrd",
            &initramfs_file,
            "--append",
            work,
            "--disk",
            &virtio_option,
            "--disk",
            &cd_option,
        ];
        let ending = trine_tests::console::run(&arguments);
        assert_eq!(ending.status.code(), Some(0), "{}", ending.stderr);
        let image = fs::read(&virtio).expect("it is there");
        assert_eq!(image[..1 << 20], contents(1 << 20, 4));
        (String::from_utf8_lossy(&ending.stdout).into_owned(), image)
    };
    let (first, second) = (run("translate"), run("interp"));
    assert_eq!(first.0, second.0);
    assert_eq!(first.1, second.1);
}
