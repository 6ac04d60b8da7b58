//! A machine: RAM, a board, vCPUs, and what it boots.

use std::{
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;
use trine_devices::{Power, SerialPeer};
use trine_engine::{Engine, EngineError, EventCount, TripleFault};
use trine_firmware::{Boot, BootError, Entry, waking_vector};
use trine_guest::{Gpa, Ram, RamError, RamImage, VmTime};
use trine_x86::{Activity, CpuModel, CpuState};

use crate::{
    Board, Capture, Clock, ClockKind, MachineStats, Remote, Request,
    cards::{DiskError, Disks, Doorbell, Drive, NoSlot, add_networks, add_paravirtual},
    check::check,
    control::{Cause, Reached},
    disk::DiskSpec,
    firmware::FirmwareError,
    flash::Flash,
    frame_buffer::FrameBuffer,
    guest::{Guest, memory},
    net::{NetError, NetSpec},
    pc::{self, Chip},
    random::Random,
    schematic::BoardKind,
    serial::{Nobody, backlogs},
    snapshot::SnapshotError,
    start,
    stats::{ChipStats, History, Times, VcpuStats},
    stopwatch,
    vcpu::{self, Cpu, Turns, Until},
};

/// What a machine is made of.
pub struct Config {
    /// The board.
    pub board: BoardKind,
    /// The CPU model.
    pub cpu: CpuModel,
    /// How many vCPUs.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Where guest time comes from.
    pub clock: ClockKind,
    /// What it boots.
    pub guest: Guest,
    /// What hears the serial port; `None` keeps what it hears, see [`Machine::serial`].
    pub serial: Option<Box<dyn SerialPeer>>,
    /// What hears the debug console at port E9h; `None` is nobody.
    pub debug_console: Option<Box<dyn SerialPeer>>,
    /// The port of isa-debug-exit, if there is one.
    pub debug_exit: Option<u16>,
    /// A port besides 80h that takes POST codes.
    pub post_port: Option<u16>,
    /// The run ends where vCPU 0 halts with interrupts off, as test programs do that are done.
    pub end_on_halt: bool,
    /// Lets an engine borrow the local APICs for its host's own, which are faster.
    pub lend_apics: bool,
    /// Is there the test device of kvm-unit-tests (QEMU's pc-testdev)?
    pub test_device: bool,
    /// The disks.
    pub disks: Vec<DiskSpec>,
    /// The display adapter's expansion ROM: a video BIOS for a firmware that has none.
    pub vga_rom: Vec<u8>,
    /// The network cards.
    pub nets: Vec<NetSpec>,
    /// Is there a source of random bits (virtio-rng)?
    pub rng: bool,
    /// What hears the virtio console, if there is one.
    pub console: Option<Box<dyn SerialPeer>>,
    /// Is there a memory balloon (virtio-balloon)?
    pub balloon: bool,
    /// A reset of the machine ends the run.
    pub no_reboot: bool,
    /// What the clock shows at power-on, in seconds of Unix time.
    pub unix_seconds: i64,
    /// Counts events by the instructions that cause them, and time by what it is spent on, for
    /// [`MachineStats`]: each event then costs a little more.
    pub count_events: bool,
    /// The seed of all random bits by [`ClockKind::Instructions`].
    pub seed: u64,
}

impl Default for Config {
    /// One vCPU of model `max`, 128 MiB, the demonstration guest, the host's clock and a clock
    /// that shows the start of 2026.
    fn default() -> Self {
        Self {
            board: BoardKind::Pc,
            // `max` exists; see `CpuModel::named`.
            cpu: CpuModel::named("max").expect("there is a model 'max'"),
            cpus: 1,
            memory: 128 << 20,
            clock: ClockKind::Host,
            guest: Guest::Demonstration,
            serial: None,
            debug_console: None,
            debug_exit: None,
            post_port: None,
            end_on_halt: false,
            lend_apics: true,
            test_device: false,
            disks: Vec::new(),
            vga_rom: Vec::new(),
            nets: Vec::new(),
            rng: false,
            console: None,
            balloon: false,
            no_reboot: false,
            unix_seconds: UNIX_2026,
            count_events: false,
            seed: 0,
        }
    }
}

/// How long a machine that ends waits for those who are looking at it.
const CLOSING: Duration = Duration::from_secs(10);
/// 2026-01-01 00:00:00 UTC.
const UNIX_2026: i64 = 1_767_225_600;

/// Why a machine stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The guest switched it off.
    PowerOff,
    /// The guest wrote to the debug exit port.
    DebugExit(u8),
    /// The guest reset the machine, through this chip, and must not.
    Reset(&'static str),
    /// A vCPU shut down, and the machine must not reset.
    TripleFault(u32, Box<TripleFault>),
    /// vCPU 0 halted with interrupts off, see [`Config::end_on_halt`].
    Halted,
    /// A debugger's breakpoint: vCPU and RIP.
    Breakpoint(u32, u64),
    /// Somebody asked, see [`Remote::ask`].
    Asked(Request),
    /// The condition of [`Machine::run_until`] holds.
    Condition,
    /// [`Limits::host_time`] is over.
    HostTime,
    /// [`Limits::guest_time`] is over.
    GuestTime,
    /// [`Limits::instructions`] are retired.
    Instructions,
}

impl Ending {
    /// The exit status that the command line promises.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::PowerOff | Self::Asked(_) | Self::Condition => 0,
            Self::DebugExit(status) => *status,
            Self::Reset(_)
            | Self::TripleFault(..)
            | Self::Halted
            | Self::Breakpoint(..)
            | Self::HostTime
            | Self::GuestTime
            | Self::Instructions => 2,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => write!(f, "the guest switched the machine off"),
            Self::DebugExit(status) => write!(f, "the guest ended with debug exit code {status}"),
            Self::Reset(chip) => write!(f, "the guest reset the machine (through {chip})"),
            Self::TripleFault(vcpu, fault) => write!(f, "vCPU {vcpu} shut down: {fault}"),
            Self::Halted => write!(f, "vCPU 0 halted with interrupts off"),
            Self::Breakpoint(vcpu, rip) => write!(f, "breakpoint on vCPU {vcpu} at {rip:#x}"),
            Self::Asked(Request::Quit) => write!(f, "ended by the user"),
            Self::Asked(Request::Statistics) => write!(f, "stopped for statistics"),
            Self::Asked(Request::SwitchEngine) => write!(f, "stopped for another engine"),
            Self::Asked(Request::Pause) => write!(f, "paused"),
            Self::Asked(Request::Resume) => write!(f, "resumed"),
            Self::Asked(Request::Reset) => write!(f, "stopped for a reset"),
            Self::Condition => write!(f, "the awaited output appeared"),
            Self::HostTime => write!(f, "the time limit is reached"),
            Self::GuestTime => write!(f, "the limit of guest time is reached"),
            Self::Instructions => write!(f, "the limit of instructions is reached"),
        }
    }
}

/// How long [`Machine::run`] may run, from when it is called.
#[derive(Clone, Copy, Default, Debug)]
pub struct Limits {
    /// Host time.
    pub host_time: Option<Duration>,
    /// Guest time.
    pub guest_time: Option<Duration>,
    /// Instructions retired: by all vCPUs together, exactly, with [`ClockKind::Instructions`]; by
    /// any one of them otherwise.
    pub instructions: Option<u64>,
}

impl Limits {
    /// So many seconds of host time.
    #[must_use]
    pub fn host_seconds(seconds: u64) -> Self {
        Self { host_time: Some(Duration::from_secs(seconds)), ..Self::default() }
    }
}

/// Why there is no machine, or why it cannot go on. A guest cannot cause the latter.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The memory has a size that this board cannot have.
    #[error("--memory {0} bytes: this machine can have whole pages from 1M to 256G")]
    Memory(u64),
    /// The number of vCPUs is none that this board can have.
    #[error("--cpus {0}: this machine can have 1 to {max} vCPUs", max = pc::CPUS_MAX)]
    Cpus(u32),
    /// The debug exit port is another chip's.
    #[error("--debug-exit {0:#x}: that port belongs to another chip")]
    DebugExit(u16),
    /// The port for POST codes is another chip's.
    #[error("POST codes at port {0:#x}: that port belongs to another chip")]
    PostPort(u16),
    /// The board with as little as possible lacks something.
    #[error("--machine microvm {0}")]
    Microvm(&'static str),
    /// The engine cannot follow the count of instructions.
    #[error("the {0} engine does not count instructions: use --clock host")]
    NoCount(&'static str),
    /// The guest cannot be booted.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// There is no such memory.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// The engine fails.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such firmware.
    #[error("--firmware {0}")]
    Firmware(#[from] FirmwareError),
    /// There are no such disks.
    #[error("--disk {0}")]
    Disk(#[from] DiskError),
    /// There is no such network.
    #[error("--net {0}")]
    Net(#[from] NetError),
    /// A card has no slot.
    #[error(transparent)]
    Card(#[from] NoSlot),
    /// A snapshot does not fit the machine.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The host fails.
    #[error("{0}")]
    Host(String),
    /// A part of the machine panicked; the panic's own message has gone to stderr.
    #[error("{0}: {PANIC_ADVICE}")]
    Panic(String),
}

/// What to do after a panic.
pub(crate) const PANIC_ADVICE: &str = "an error in Trine itself, see above. Please report it; \
    until it is mended, another engine (see --engine) may run this guest";

/// A PC.
pub struct Machine {
    pub(crate) board: Arc<Board>,
    pub(crate) ram: Arc<Ram>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) model: CpuModel,
    pub(crate) memory: u64,
    boot: Boot,
    no_reboot: bool,
    end_on_halt: bool,
    pub(crate) lend_apics: bool,
    /// Whose media can be changed.
    drives: Arc<[Drive]>,
    capture: Capture,
    /// By [`ClockKind::Instructions`].
    pub(crate) turns: Turns,
    /// What RAM held when its dirty marks were last taken, which is nobody else's to do.
    pub(crate) image: RamImage,
    pub(crate) flash: Option<Arc<Flash>>,
    resets: u64,
    pub(crate) wall: Duration,
    pub(crate) history: History,
}

/// What hears the serial port: `capture`, unless there is somebody else.
fn com1(config: &mut Config, capture: &Capture, doorbell: &Doorbell) -> Box<dyn SerialPeer> {
    let mut peer = config.serial.take().unwrap_or_else(|| Box::new(capture.clone()));
    doorbell.announce_room(config.clock, Chip::Com1, &mut *peer);
    peer
}

impl Machine {
    /// Builds a machine; `engine` makes the engine that is bound to its RAM. It is ready to run
    /// its first instruction.
    ///
    /// # Errors
    /// If the configuration makes no sense, the guest cannot be booted on it, or the host lacks
    /// something.
    pub fn new(
        mut config: Config,
        engine: impl FnOnce(Arc<Ram>) -> Result<Arc<dyn Engine>, EngineError>,
    ) -> Result<Self, MachineError> {
        check(&mut config)?;
        let flash = config.guest.open_flash()?;
        let (memory, ram) = memory(&config, flash.as_ref())?;
        let image = RamImage::new(&ram);
        let engine = engine(ram.clone())?;
        check_count(config.clock, engine.as_ref())?;
        let (capture, doorbell) = (Capture::default(), Doorbell::default());
        let mut disks = Disks::open(&config, &doorbell)?;
        add_networks(&mut disks, &config, &doorbell)?;
        let random = Arc::new(Random::new(config.clock, config.seed));
        let backlogs = backlogs(&config);
        add_paravirtual(&mut disks.slots, &mut config, &doorbell, &random)?;
        let flash = flash.map(|contents| Flash::new(ram.clone(), memory.flash_offset(), contents));
        let parts = pc::Parts {
            board: config.board,
            cpus: config.cpus,
            unix_seconds: config.unix_seconds,
            com1: com1(&mut config, &capture, &doorbell),
            debug_console: config.debug_console.unwrap_or_else(|| Box::new(Nobody)),
            backlogs,
            debug_exit: config.debug_exit,
            post_port: config.post_port,
            memory,
            test_device: config.test_device,
            flash: flash.as_ref().map(Flash::cells),
            video: Box::new(FrameBuffer::new(ram.clone(), memory.video()..ram.len())),
            vga_rom: config.vga_rom,
            boot_order: disks.boot_order()?,
            floppies: disks.floppies,
            drives: disks.drives,
            cards: disks.slots.cards,
        };
        let board = Arc::new(Board::new(ram.clone(), Clock::new(config.clock), random, parts));
        doorbell.connect(&board);
        if config.count_events {
            board.device_times().switch_on();
        }
        // Where they are lent, nobody sees that a vCPU halts.
        let lend_apics = config.lend_apics && !config.end_on_halt;
        if lend_apics && engine.borrow_apics(board.clone())? {
            log::info!("the host has the local APICs while the guest runs");
        }
        let model = engine.fit(config.cpu.with_cpus(config.cpus));
        let boot = config.guest.boot(&board, config.memory, config.cpus, &model)?;
        let cpus = (0..config.cpus).map(|id| create_cpu(&*engine, id, &model, &board));
        let mut machine = Self {
            cpus: cpus.collect::<Result<_, _>>()?,
            board,
            ram,
            engine,
            model,
            memory: config.memory,
            boot,
            no_reboot: config.no_reboot,
            end_on_halt: config.end_on_halt,
            lend_apics,
            drives: disks.changeable.into(),
            capture,
            turns: Turns::default(),
            image,
            flash,
            resets: 0,
            wall: Duration::ZERO,
            history: History::default(),
        };
        machine.board.reset(&[]);
        machine.start()?;
        Ok(machine)
    }

    /// Runs until something ends it. It can be called again where that makes sense: after a
    /// limit, a condition or a request.
    ///
    /// # Errors
    /// If the engine or the host fails.
    pub fn run(&mut self, limits: Limits) -> Result<Ending, MachineError> {
        self.run_rounds(limits, None)
    }

    /// Runs until `condition` holds of everything that the guest has sent on the serial port (it
    /// has to be captured: [`Config::serial`] is `None`), or something else ends it. By the host's
    /// clock the condition is looked at every few milliseconds while the guest goes on.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_until(
        &mut self,
        mut condition: impl FnMut(&[u8]) -> bool,
        limits: Limits,
    ) -> Result<Ending, MachineError> {
        let capture = self.capture.clone();
        let mut met = || capture.with(&mut condition);
        if met() {
            return Ok(Ending::Condition);
        }
        self.run_rounds(limits, Some(&mut met))
    }

    fn run_rounds(
        &mut self,
        limits: Limits,
        condition: Option<&mut dyn FnMut() -> bool>,
    ) -> Result<Ending, MachineError> {
        self.board.control().forget_limits();
        self.board.control().start(false);
        let start = Instant::now();
        let now = self.board.clock().now();
        let in_turns = self.board.clock().kind() == ClockKind::Instructions;
        let mut retired = limits.instructions;
        if in_turns {
            retired = retired.map(|n| n.saturating_add(vcpu::retired(&self.cpus)));
        } else if let Some(n) = &mut retired {
            let most = self.cpus.iter().map(|c| c.vcpu.retired()).max();
            *n = n.saturating_add(most.unwrap_or(0));
        }
        let mut until = Until {
            host: limits.host_time.and_then(|t| start.checked_add(t)),
            guest: limits.guest_time.map(|t| now + t),
            retired,
            halt: self.end_on_halt,
            condition,
        };
        loop {
            let round = Instant::now();
            if in_turns {
                vcpu::round_in_turns(&self.board, &mut self.cpus, &mut self.turns, &mut until);
            } else {
                vcpu::round_on_threads(&self.board, &mut self.cpus, &mut until);
            }
            self.wall += round.elapsed();
            let Some(cause) = self.board.control().take() else { continue };
            if let Some(ending) = self.ending(cause)? {
                return Ok(ending);
            }
        }
    }

    /// Lets the machine stand until somebody asks for something ([`Remote::ask`]) or `host_time` is
    /// over. Guest time stands as well.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn stand(&mut self, host_time: Option<Duration>) -> Result<Ending, MachineError> {
        let board = self.board.clone();
        board.control().forget_limits();
        board.control().start(true);
        let until = host_time.and_then(|time| Instant::now().checked_add(time));
        while board.control().wait(until) {
            let Some(cause) = board.control().take() else { continue };
            if let Some(ending) = self.ending(cause)? {
                return Ok(ending);
            }
        }
        Ok(Ending::HostTime)
    }

    /// What a cause leads to: an ending, or a reset and on it goes.
    fn ending(&mut self, cause: Cause) -> Result<Option<Ending>, MachineError> {
        Ok(Some(match cause {
            Cause::Power(Power::Off, _) => Ending::PowerOff,
            Cause::Power(Power::Exit(status), _) => Ending::DebugExit(status),
            Cause::Power(Power::Reset, chip) => {
                if self.no_reboot {
                    return Ok(Some(Ending::Reset(chip)));
                }
                log::info!("the guest reset the machine (through {chip})");
                self.reset()?;
                return Ok(None);
            }
            Cause::Power(Power::Sleep, _) => {
                log::info!("the guest suspended the machine");
                self.sleep()?;
                return Ok(None);
            }
            Cause::Power(Power::Wake, chip) => return self.wake(chip),
            Cause::TripleFault(vcpu, fault) => {
                if self.no_reboot {
                    return Ok(Some(Ending::TripleFault(vcpu, fault)));
                }
                log::warn!("vCPU {vcpu} shut down and the machine resets: {fault}");
                self.reset()?;
                return Ok(None);
            }
            Cause::Breakpoint(vcpu, rip) => Ending::Breakpoint(vcpu, rip),
            Cause::Engine(e) => return Err(e.into()),
            Cause::Panic(part) => return Err(MachineError::Panic(part)),
            Cause::Host(why) => return Err(MachineError::Host(why)),
            Cause::Asked(request) => Ending::Asked(request),
            Cause::Condition(Reached::Serial) => Ending::Condition,
            Cause::Condition(Reached::HostTime) => Ending::HostTime,
            Cause::Condition(Reached::GuestTime) => Ending::GuestTime,
            Cause::Condition(Reached::Halt) => Ending::Halted,
            Cause::Condition(Reached::Instructions) => Ending::Instructions,
        }))
    }

    /// RESET for the whole machine: its memory, but not flash, is cleared and its guest loaded again.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn reset(&mut self) -> Result<(), MachineError> {
        self.resets += 1;
        self.engine.collect_dirty()?;
        // First the chips, so that no disk takes what it is to write out of memory that is cleared.
        self.board.reset(&[]);
        let flash = self.flash.as_ref().map(|flash| (flash, flash.bytes()));
        self.image.go_to(&RamImage::new(&self.ram), &self.ram);
        if let Some((flash, bytes)) = flash {
            flash.restore(&bytes);
        }
        self.start()
    }

    /// Loads the guest into memory that is cleared, behind chips that were reset.
    fn start(&mut self) -> Result<(), MachineError> {
        self.board.set_up(self.memory, self.boot.entry == Entry::Reset);
        for (at, bytes) in &self.boot.segments {
            self.ram.program(*at, bytes)?;
        }
        self.start_cpus(self.boot.entry)
    }

    /// All vCPUs start as after RESET, the first one by `entry`.
    fn start_cpus(&mut self, entry: Entry) -> Result<(), MachineError> {
        for (id, cpu) in (0_u32..).zip(&mut self.cpus) {
            cpu.vcpu.ram_changed(Gpa(0), u64::MAX);
            let state = if id == 0 {
                start::state(&self.model, &entry)
            } else if entry == Entry::Reset {
                CpuState::reset(&self.model, id)
            } else {
                start::after_firmware(&self.model, id)
            };
            cpu.vcpu.set_state(&state)?;
            cpu.idle = false;
        }
        self.turns = Turns::default();
        Ok(())
    }

    /// Suspend to RAM: the chips and the memory stay, the vCPUs are off.
    fn sleep(&mut self) -> Result<(), MachineError> {
        for (id, cpu) in (0_u32..).zip(&mut self.cpus) {
            let mut off = CpuState::reset(&self.model, id);
            off.events.activity = Activity::WaitForStartup;
            cpu.vcpu.set_state(&off)?;
            cpu.idle = false;
        }
        Ok(())
    }

    /// The end of it. Where the machine does without firmware it does what one would: it goes on
    /// where the guest wants, or starts anew if it does not say.
    fn wake(&mut self, chip: &'static str) -> Result<Option<Ending>, MachineError> {
        let is_firmware = self.boot.entry == Entry::Reset;
        let entry = if is_firmware {
            Entry::Reset
        } else if let Some(at) = waking_vector(&self.ram) {
            log::info!("the machine wakes up");
            Entry::Real { cs: (at.0 >> 4) as u16, ip: (at.0 & 15) as u16 }
        } else {
            log::warn!("the machine wakes up, and the guest left no waking vector: it resets");
            return self.ending(Cause::Power(Power::Reset, chip));
        };
        self.board.wake(self.memory, is_firmware);
        self.start_cpus(entry)?;
        Ok(None)
    }

    /// A remote control for other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote { board: Arc::downgrade(&self.board), drives: self.drives.clone() }
    }

    /// Ends the machine: when this returns, its disks have finished what they were asked, and their
    /// images are closed. Other threads that look at it or type into it at this moment are waited
    /// for.
    pub fn close(self) {
        let Self { mut board, cpus, engine, .. } = self;
        drop((cpus, engine));
        let end = Instant::now() + CLOSING;
        while let Err(shared) = Arc::try_unwrap(board) {
            if Instant::now() >= end {
                return log::warn!("the machine is still in use, and its disks are not closed");
            }
            board = shared;
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the guest has sent on the serial port, if nobody else hears it.
    #[must_use]
    pub fn serial(&self) -> Vec<u8> {
        self.capture.bytes()
    }

    /// The machine's memory.
    #[must_use]
    pub fn ram(&self) -> &Arc<Ram> {
        &self.ram
    }

    /// Changes the guest's memory from outside.
    ///
    /// # Errors
    /// If a part of it is not memory.
    pub fn write_ram(&mut self, at: Gpa, data: &[u8]) -> Result<(), MachineError> {
        self.ram.write(at, data)?;
        for cpu in &mut self.cpus {
            cpu.vcpu.ram_changed(at, data.len() as u64);
        }
        Ok(())
    }

    /// The board.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Guest time.
    #[must_use]
    pub fn now(&self) -> VmTime {
        self.board.clock().now()
    }

    /// Instructions retired by all vCPUs, on all engines that count.
    #[must_use]
    pub fn retired(&self) -> u64 {
        vcpu::retired(&self.cpus)
    }

    /// The architectural state of vCPU `vcpu`.
    ///
    /// # Errors
    /// If the engine fails, or there is no such vCPU.
    pub fn cpu_state(&mut self, vcpu: u32) -> Result<CpuState, MachineError> {
        Ok(self.cpu(vcpu)?.vcpu.state()?)
    }

    /// Replaces it.
    ///
    /// # Errors
    /// As [`Machine::cpu_state`].
    pub fn set_cpu_state(&mut self, vcpu: u32, state: &CpuState) -> Result<(), MachineError> {
        let cpu = self.cpu(vcpu)?;
        cpu.idle = false;
        Ok(cpu.vcpu.set_state(state)?)
    }

    fn cpu(&mut self, vcpu: u32) -> Result<&mut Cpu, MachineError> {
        self.cpus
            .get_mut(vcpu as usize)
            .ok_or_else(|| MachineError::Host(format!("there is no vCPU {vcpu}")))
    }

    /// What it did so far. `ending` is how it ended, if it has.
    #[must_use]
    pub fn stats(&self, ending: Option<&Ending>) -> MachineStats {
        let vcpus: Vec<VcpuStats> = (0_u32..)
            .zip(&self.cpus)
            .map(|(vcpu, cpu)| {
                let (engine, devices) = (cpu.stats(), self.board.device_times().of(vcpu));
                let times = Times::of_vcpu(cpu.time, engine, devices);
                VcpuStats { vcpu, engine, exits: cpu.exits, times }
            })
            .collect();
        let mut times = vcpus.iter().fold(Times::default(), |sum, v| sum.plus(v.times));
        times.devices += self.board.device_times().of_timer().as_secs_f64();
        let events = self.cpus.iter().map(|cpu| cpu.events());
        let events = events.fold(Vec::new(), EventCount::merge);
        let total = vcpus.iter().map(|v| v.engine).reduce(trine_engine::Stats::plus);
        let (chips, unclaimed) = self.board.access_counts();
        let chips = chips.into_iter().map(|(chip, accesses)| ChipStats { chip, accesses });
        let (instructions, wall_seconds) = (self.retired(), self.wall.as_secs_f64());
        MachineStats {
            schema: 1,
            engine: self.engine.name(),
            cpu: self.model.name(),
            cpus: self.cpus.len() as u32,
            memory: self.memory,
            clock: self.board.clock().kind(),
            ending: ending.map(ToString::to_string),
            status: ending.map(Ending::status),
            wall_seconds,
            guest_seconds: self.now().ns() as f64 / 1e9,
            instructions,
            mips: if wall_seconds > 0.0 { instructions as f64 / wall_seconds / 1e6 } else { 0.0 },
            resets: self.resets,
            times,
            total: total.unwrap_or_default(),
            events,
            engines: self.history.until_now(self.engine.name(), self.wall, instructions),
            vcpus,
            chips: chips.collect(),
            unclaimed,
        }
    }
}

/// Whether `engine` can follow the clock.
pub(crate) fn check_count(clock: ClockKind, engine: &dyn Engine) -> Result<(), MachineError> {
    match clock == ClockKind::Instructions && !engine.limits().counts_instructions {
        true => Err(MachineError::NoCount(engine.name())),
        false => Ok(()),
    }
}

/// A vCPU of `engine`, connected to its pins.
fn create_cpu(
    engine: &dyn Engine,
    id: u32,
    model: &CpuModel,
    board: &Arc<Board>,
) -> Result<Cpu, EngineError> {
    let mut vcpu = engine.create_vcpu(id, model, board.clone())?;
    if board.device_times().is_on() {
        vcpu.count_events(stopwatch::host_ns);
    }
    if let Some(wires) = board.cpu(id) {
        wires.connect(vcpu.kicker());
    }
    Ok(Cpu::new(vcpu))
}
