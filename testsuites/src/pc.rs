//! What a suite that boots images needs of a whole machine.

use std::time::Duration;

/// Boots guests on a PC.
pub trait Pc: Sync {
    /// Runs `guest` under the engine of this name until it ends.
    ///
    /// # Errors
    /// If the guest cannot be started, or the host fails: one line.
    fn boot(&self, engine: &str, guest: &Guest) -> Result<Outcome, String>;
}

/// A guest and the PC that it wants.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What it starts from.
    pub image: Image,
    /// The CPU model, as `--cpu` takes it.
    pub cpu: String,
    /// How many vCPUs.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// The port of the debug exit device, if there is one.
    pub debug_exit: Option<u16>,
    /// A port besides 80h that takes POST codes.
    pub post_port: Option<u16>,
    /// It ends where its first CPU halts with interrupts off.
    pub end_on_halt: bool,
    /// Is there the test device of kvm-unit-tests?
    pub test_device: bool,
    /// How long it may take, in host time.
    pub time_limit: Duration,
}

impl Guest {
    /// A guest on the model `max` with one CPU, 64 MiB, no extra ports and a minute.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self {
            image,
            cpu: "max".into(),
            cpus: 1,
            memory: 64 << 20,
            debug_exit: None,
            post_port: None,
            end_on_halt: false,
            test_device: false,
            time_limit: Duration::from_secs(60),
        }
    }
}

/// What a PC starts from.
#[derive(Clone, Debug)]
pub enum Image {
    /// A Linux or Multiboot kernel with its command line and modules.
    Kernel {
        /// The file.
        kernel: Vec<u8>,
        /// The command line.
        append: String,
        /// An initial RAM file system, or a module.
        initrd: Option<Vec<u8>>,
    },
    /// A ROM that ends at the reset vector's page: at 4 GiB and at 1 MiB.
    Firmware(Vec<u8>),
    /// A boot sector, at 7C00h in real mode as a BIOS leaves it.
    Sector(Vec<u8>),
}

/// What a guest did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What it sent to its first serial port.
    pub serial: Vec<u8>,
    /// What it sent to the debug console at port E9h.
    pub debug_console: Vec<u8>,
    /// What it sent to the POST code port, in order; the last ones if they are many.
    pub post_codes: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
}

/// How a guest ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It switched itself off.
    PowerOff,
    /// The exit status that isa-debug-exit gives: `value << 1 | 1`.
    DebugExit(u8),
    /// It reset the machine, or shut the CPU down: how.
    Reset(String),
    /// Its first CPU halted with interrupts off, see [`Guest::end_on_halt`].
    Halted,
    /// Its time was over.
    TimeLimit,
}
