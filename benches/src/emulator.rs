//! What is measured, and how each of them is started.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    image::{self, MEMORY_MIB, Part, Result},
    traffic::Traffic,
};

/// Something that runs guests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Emulator {
    /// Ours, with one of its engines, by the host's clock or by a count of instructions.
    Trine { binary: PathBuf, engine: String, counts: bool },
    /// Debian's build, which has the debugger in it.
    Bochs,
    /// QEMU's translator; counting is `-icount shift=0`.
    Qemu { counts: bool },
    /// No emulator: the host's CPU.
    Native,
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, counts) = match self {
            Self::Trine { engine, counts, .. } => (engine.as_str(), *counts),
            Self::Bochs => ("bochs", false),
            Self::Qemu { counts } => ("qemu", *counts),
            Self::Native => ("native", false),
        };
        f.write_str(name)?;
        f.write_str(if counts { ":icount" } else { "" })
    }
}

/// A guest's files.
pub struct Guest {
    /// What is run, for whoever watches.
    pub name: String,
    folder: PathBuf,
    elf: PathBuf,
    disk: PathBuf,
    cylinders: usize,
    /// The same as a program of the host, with its arguments.
    native: Option<(PathBuf, String)>,
    /// What it is connected to and how it is booted, if it moves data.
    traffic: Option<Traffic>,
    /// What the last line that it prints contains.
    pub last: &'static str,
    /// Whether it waits for a line before it switches itself off.
    pub waits: bool,
}

impl Guest {
    /// The guest that performs `plan`, with its files in `folder`.
    pub fn programs(plan: &str, folder: &Path) -> Result<Self> {
        let mut guest = Self::new("programs", &image::programs(plan)?, folder, "@all done")?;
        let program = guest.write("native", &image::native())?;
        make_executable(&program)?;
        guest.native = Some((program, plan.to_owned()));
        Ok(guest)
    }

    /// The guest that boots a Linux kernel, with its files in `folder`.
    pub fn linux(name: &str, kernel: &Path, initrd: &Path, folder: &Path) -> Result<Self> {
        let guest = Self::new(name, &image::linux(kernel, initrd)?, folder, "READY ")?;
        Ok(Self { waits: true, ..guest })
    }

    /// The guest that moves data, with its files in `folder`.
    pub fn traffic(name: &str, traffic: Traffic, folder: &Path) -> Result<Self> {
        let guest = Self::empty(name, folder, "EXIT 0")?;
        Ok(Self { traffic: Some(traffic), ..guest })
    }

    fn empty(name: &str, folder: &Path, last: &'static str) -> Result<Self> {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Self {
            name: name.to_owned(),
            elf: PathBuf::new(),
            disk: PathBuf::new(),
            cylinders: 0,
            folder,
            native: None,
            traffic: None,
            last,
            waits: false,
        })
    }

    fn new(name: &str, parts: &[Part], folder: &Path, last: &'static str) -> Result<Self> {
        let disk = image::disk(parts);
        let mut guest = Self::empty(name, folder, last)?;
        guest.cylinders = image::cylinders(&disk);
        guest.elf = guest.write("guest.elf", &image::elf(parts))?;
        guest.disk = guest.write("guest.img", &disk)?;
        Ok(guest)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display())).map(|()| path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where Trine writes its statistics.
    pub fn stats(&self) -> PathBuf {
        self.path("stats.json")
    }

    /// The socket of QEMU's monitor.
    pub fn monitor(&self) -> PathBuf {
        self.path("monitor")
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

impl Emulator {
    /// Whether it can be given network cards and virtio disks, and is not held to a count.
    pub fn has_cards(&self) -> bool {
        matches!(self, Self::Trine { counts: false, .. } | Self::Qemu { counts: false })
    }

    /// What starts it with `guest`.
    pub fn command(&self, guest: &Guest) -> Result<Command> {
        match self {
            Self::Trine { binary, engine, counts } => Ok(trine(binary, engine, *counts, guest)),
            Self::Bochs => bochs(guest),
            Self::Qemu { counts } => Ok(qemu(*counts, guest)),
            Self::Native => {
                let (program, plan) = guest.native.as_ref().ok_or("needs privilege")?;
                let mut command = Command::new(program);
                command.args(plan.split(' '));
                Ok(command)
            }
        }
    }
}

fn trine(binary: &Path, engine: &str, counts: bool, guest: &Guest) -> Command {
    let mut command = Command::new(binary);
    command.args(["run", "--engine", engine, "--memory", &format!("{MEMORY_MIB}M")]);
    command.args(["--clock", if counts { "instructions" } else { "host" }]);
    command.args(["--no-reboot", "--stats"]).arg(guest.stats());
    match &guest.traffic {
        None => command.arg("--kernel").arg(&guest.elf),
        Some(traffic) => command.args(traffic.of_trine()),
    };
    command
}

fn qemu(counts: bool, guest: &Guest) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-cpu", "Nehalem", "-m", &MEMORY_MIB.to_string()]);
    command.args(["-display", "none", "-serial", "stdio"]);
    let monitor = format!("unix:{},server=on,wait=off", guest.monitor().display());
    command.args(["-monitor", &monitor]);
    match &guest.traffic {
        None => {
            let drive = format!("file={},format=raw,if=ide", guest.disk.display());
            command.args(["-nic", "none", "-drive", &drive])
        }
        Some(traffic) => command.args(traffic.of_qemu()),
    };
    if counts {
        command.args(["-icount", "shift=0"]);
    }
    command
}

/// Bochs without a screen (its VNC one, for which it does not wait), COM1 on standard output, and
/// a clock that counts instructions at about the speed it has, so that waiting costs what it
/// would cost on a real machine.
fn bochs(guest: &Guest) -> Result<Command> {
    let Guest { folder, disk, cylinders, .. } = guest;
    let settings = [
        "config_interface: textconfig".to_owned(),
        "display_library: rfb, options=\"timeout=0\"".to_owned(),
        format!("memory: guest={MEMORY_MIB}, host={MEMORY_MIB}"),
        "romimage: file=/usr/share/bochs/BIOS-bochs-latest".to_owned(),
        "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest".to_owned(),
        "cpu: model=corei5_lynnfield_750, ips=50000000, reset_on_triple_fault=0".to_owned(),
        "clock: sync=none".to_owned(),
        "boot: disk".to_owned(),
        format!(
            "ata0-master: type=disk, path={}, mode=flat, cylinders={cylinders}, heads=16, spt=63",
            disk.display()
        ),
        "com1: enabled=1, mode=file, dev=/dev/stdout".to_owned(),
        format!("log: {}", folder.join("bochs.log").display()),
        "panic: action=fatal".to_owned(),
        // The speaker of Debian's build crashes on a host without a sound card.
        "plugin_ctrl: speaker=0".to_owned(),
    ];
    let rc = guest.write("bochsrc", (settings.join("\n") + "\n").as_bytes())?;
    let debugger = guest.write("debugger", b"continue\n")?;
    let mut command = Command::new("bochs-bin");
    // A killed run leaves its lock on the disk behind.
    let _ = fs::remove_file(format!("{}.lock", disk.display()));
    command.args(["-q", "-f"]).arg(rc).arg("-rc").arg(debugger).current_dir(folder);
    Ok(command)
}
