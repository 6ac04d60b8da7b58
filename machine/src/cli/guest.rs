//! The options that say what the guest is and what it runs on: the same for every command that runs
//! one.

use std::{
    fs::File,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use trine_firmware::Module;
use trine_x86::CpuModel;

use super::{Size, port};
use crate::{
    BoardKind, ClockKind, Config, Guest, disk::DiskSpec, firmware::FirmwareSpec, net::NetSpec,
};

/// What the guest is, and the machine it runs on.
#[derive(Args, Clone, Debug)]
pub struct GuestArgs {
    /// The CPU model: pentium, p6, x86-64-v1, x86-64-v2, x86-64-v3 or max. Features are added and
    /// taken away by name: max,-invtsc. What KVM does for guests that know of it is a feature too:
    /// max,+kvmclock,+kvm-steal-time,+kvm-pv-eoi.
    #[arg(long, value_name = "MODEL", default_value = "max")]
    pub cpu: String,
    /// How many vCPUs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub cpus: u32,
    /// Guest memory, with K, M or G.
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    pub memory: Size,
    /// The board. Microvm starts kernels alone and has virtio devices alone.
    #[arg(long, value_enum, default_value_t = BoardKind::Pc)]
    pub machine: BoardKind,
    /// A kernel: a bzImage, an ELF file with a PVH entry, or a Multiboot (1 or 2) image, which may be
    /// compressed by gzip. Without one, a BIOS boots from the disks or by a network card's ROM;
    /// without any, the demonstration guest runs.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// The kernel's initial RAM file system, or a Multiboot module with its arguments behind a space.
    /// Repeatable.
    #[arg(long, value_name = "FILE[ ARGS]", requires = "kernel")]
    pub initrd: Vec<String>,
    /// The kernel's command line.
    #[arg(long, value_name = "STRING", requires = "kernel", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// What guest time follows.
    #[arg(long, value_enum, default_value_t = ClockKind::Host)]
    pub clock: ClockKind,
    /// Where the local APICs are under KVM: in the kernel while the guest runs, if the kernel can
    /// (split), or always on Trine's board (off).
    #[arg(long, value_enum, default_value_t = KernelIrqchip::Split)]
    pub kernel_irqchip: KernelIrqchip,
    /// A port at which a write of V ends the run with status (V << 1) | 1, as F4h or 501h.
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub debug_exit: Option<u16>,
    /// Add the test device of kvm-unit-tests (as QEMU's pc-testdev).
    #[arg(long)]
    pub test_device: bool,
    /// A firmware that runs from the reset vector in place of a kernel, 64K to 16M: a ROM (SeaBIOS), or
    /// one that keeps variables (OVMF). They are in the file itself, or in one of their own:
    /// OVMF_CODE.fd,vars=FILE, where FILE begins as a copy of OVMF_VARS.fd. Either is written to; with
    /// snapshot, what the guest writes vanishes. A comma in a file's name is written twice.
    #[arg(long, value_name = "FILE[,vars=FILE]", conflicts_with = "kernel")]
    pub firmware: Option<FirmwareSpec>,
    /// The display adapter's expansion ROM: a video BIOS, for a firmware that has none.
    #[arg(long, value_name = "FILE", requires = "firmware")]
    pub vga_rom: Option<PathBuf>,
    /// A disk: its image, raw or qcow2, and options: if=ide|ahci|virtio|cdrom|floppy, format=raw|qcow2,
    /// readonly, snapshot (what the guest writes vanishes), serial=NAME, bootindex=N,
    /// cache=writeback|writethrough|none|directsync|unsafe. A comma in the file's name is written
    /// twice. Repeatable.
    #[arg(long, value_name = "FILE[,…]")]
    pub disk: Vec<DiskSpec>,
    /// A network card and what it is connected to: user (a network of its own, with a way out
    /// through the host's sockets), tap (an interface of a Linux host) or none; and options. Of all:
    /// model=virtio|e1000, mac=ADDRESS, pcap=FILE (what goes by is written there), rom=FILE (an
    /// expansion ROM that boots from the network, as iPXE's), bootindex=N. Of user:
    /// hostfwd=tcp|udp:HOST:PORT-GUEST:PORT (either address may be left out; repeatable),
    /// restrict=on (no way out), net=10.0.2.0/24, host=, dns= and dhcpstart= (who has which address
    /// there), hostname=, domainname=, dnssearch= (repeatable), tftp=FOLDER, bootfile=NAME,
    /// tftp-server-name=NAME, resolver=ADDRESS:PORT (who answers DNS in place of the host's
    /// resolvers). Of tap: ifname=NAME. A comma in a value is written twice. Repeatable.
    #[arg(long, value_name = "KIND[,…]")]
    pub net: Vec<NetSpec>,
    /// Add a source of random bits (virtio-rng): the host's, or by --clock instructions always the
    /// same.
    #[arg(long)]
    pub rng: bool,
    /// Add a memory balloon (virtio-balloon), which `trine ctl SOCKET balloon SIZE` fills: what is in it,
    /// and what a guest reports as free, is the host's.
    #[arg(long)]
    pub balloon: bool,
    /// Not available yet.
    #[arg(long, value_name = "ADDR", hide = true)]
    pub gdb: Option<SocketAddr>,
}

/// Where the local APICs are under KVM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum KernelIrqchip {
    /// In the kernel while the guest runs.
    Split,
    /// On the board.
    Off,
}

/// What is larger than `--kernel` and `--initrd` may be.
const RAM: &str = "the guest's memory, see --memory";
/// The largest file that `--vga-rom` takes: an option ROM says its length in 255 units of 512 bytes.
const VGA_ROM_MAX: u64 = 255 * 512;

impl GuestArgs {
    /// What was asked for and is not there yet, with what to do instead.
    ///
    /// # Errors
    /// One line that says what.
    pub fn check(&self) -> Result<(), String> {
        let later = |option: &str| {
            Err(format!("{option} is not available yet; leave it out (see trine run --help)"))
        };
        if self.gdb.is_some() {
            return later("--gdb");
        }
        Ok(())
    }

    /// The machine that was asked for, with its guest's files read; nobody hears it yet.
    ///
    /// # Errors
    /// One line that says what is wrong, and with which option.
    pub fn config(&self) -> Result<Config, String> {
        Ok(Config {
            board: self.machine,
            cpu: CpuModel::named(&self.cpu).map_err(|e| e.to_string())?,
            cpus: self.cpus,
            memory: self.memory.0,
            clock: self.clock,
            guest: self.guest()?,
            debug_exit: self.debug_exit,
            lend_apics: self.kernel_irqchip == KernelIrqchip::Split,
            test_device: self.test_device,
            disks: self.disk.clone(),
            vga_rom: self.vga_rom()?,
            nets: self.net.clone(),
            rng: self.rng,
            balloon: self.balloon,
            unix_seconds: unix_seconds(self.clock),
            ..Config::default()
        })
    }

    /// The disks for a machine beside others, or one that is to begin as others did: what it writes
    /// to them vanishes with it.
    #[must_use]
    pub fn disks_of_many(&self) -> Vec<DiskSpec> {
        let mut disks = self.disk.clone();
        disks.iter_mut().for_each(|disk| disk.is_snapshot |= !disk.is_read_only);
        disks
    }

    fn vga_rom(&self) -> Result<Vec<u8>, String> {
        let Some(path) = &self.vga_rom else { return Ok(Vec::new()) };
        read("--vga-rom", path, VGA_ROM_MAX, "any video BIOS can be")
    }

    /// The networks of one machine of several: what each one writes down has that one's name in it.
    #[must_use]
    pub fn nets_of(&self, machine: &str) -> Vec<NetSpec> {
        let mut nets = self.net.clone();
        for file in nets.iter_mut().filter_map(|net| net.pcap.as_mut()) {
            let mut name = file.file_stem().unwrap_or_default().to_owned();
            name.push(format!("-{machine}"));
            if let Some(extension) = file.extension() {
                name.push(".");
                name.push(extension);
            }
            file.set_file_name(name);
        }
        nets
    }

    /// What to boot, with its files read.
    ///
    /// # Errors
    /// One line that says which file is wrong.
    pub fn guest(&self) -> Result<Guest, String> {
        if let Some(spec) = &self.firmware {
            return spec.read().map(Guest::Firmware).map_err(|e| format!("--firmware {e}"));
        }
        let Some(kernel) = &self.kernel else {
            let boots = !self.disk.is_empty() || self.net.iter().any(|net| net.rom.is_some());
            return Ok(if boots { Guest::Bios } else { Guest::Demonstration });
        };
        Ok(Guest::Linux {
            kernel: self.unpacked(read("--kernel", kernel, self.memory.0, RAM)?)?,
            modules: self.initrd.iter().map(|text| self.module(text)).collect::<Result<_, _>>()?,
            append: self.append.clone().unwrap_or_default(),
        })
    }

    /// The file and the arguments that `text` names.
    fn module(&self, text: &str) -> Result<Module, String> {
        // A name may have a space in it.
        let whole = (text, "");
        let (file, line) = match text.split_once(' ') {
            Some(parts) if !Path::new(text).exists() => parts,
            _ => whole,
        };
        let bytes = read("--initrd", Path::new(file), self.memory.0, RAM)?;
        Ok(Module { bytes, line: line.trim().to_owned() })
    }

    /// A kernel as it is, or what gzip has packed: of Multiboot images, which cannot unpack themselves.
    fn unpacked(&self, kernel: Vec<u8>) -> Result<Vec<u8>, String> {
        const GZIP: &[u8] = &[0x1f, 0x8b];
        if !kernel.starts_with(GZIP) {
            return Ok(kernel);
        }
        let most = self.memory.0;
        let mut bytes = Vec::new();
        let unpacking = flate2::read::MultiGzDecoder::new(&*kernel).take(most.saturating_add(1));
        { unpacking }.read_to_end(&mut bytes).map_err(|e| format!("--kernel: {e}"))?;
        if bytes.len() as u64 > most {
            return Err(format!("--kernel is larger than {RAM} when it is unpacked"));
        }
        Ok(bytes)
    }
}

/// Reads a file of at most `most` bytes, what is larger being `limit`; and no more of it than shows
/// whether it is.
fn read(option: &str, path: &Path, most: u64, limit: &str) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("{option} {}: {e}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(format!(
            "{option} {} is larger than {limit} (more than {most} bytes)",
            path.display()
        ));
    }
    Ok(bytes)
}

/// What the guest's clock shows: the host's time, or always the same if runs are to be the same.
pub fn unix_seconds(clock: ClockKind) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    match (clock, now) {
        (ClockKind::Host, Ok(now)) => i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        _ => Config::default().unix_seconds,
    }
}
