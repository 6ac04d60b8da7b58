//! Guests, files and options that mean harm, or nothing at all: whatever they are, the host neither
//! fails nor panics nor leaves the guest's RAM.
//!
//! The random guests run some seconds each; `TRINE_FUZZ_SECONDS=60` makes it a minute for each
//! mode, `TRINE_FUZZ_SEED=N` starts at a seed that a failure named.

use std::{
    fs,
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

use trine_engine::{Access, Budget, Bus, CpuModel, CpuState, Engine, Exit, MsrFault, Pins, Vcpu};
use trine_guest::{Gpa, Ram, VmTime};
use trine_interp::Interp;
use trine_tests::console::{self, Ending};
use trine_testsuites::{
    noise::{Noise, mix},
    vectors::{Mode, Stage, Vector},
};

/// A stage's RAM.
const RAM_BYTES: u64 = 0x4_0000;
/// What of it is code and data; the rest is tables.
const OWN: u64 = 0x1_0000;
/// Instructions before the next guest.
const INSTRUCTIONS: u64 = 20_000;

const MODES: [Mode; 8] = [
    Mode::Real,
    Mode::V86,
    Mode::Prot16 { user: false },
    Mode::Prot16 { user: true },
    Mode::Prot32 { user: false },
    Mode::Prot32 { user: true },
    Mode::Long { user: false },
    Mode::Long { user: true },
];

/// A bus that answers everything with noise, the same for the same question at the same time, and
/// checks that nothing asks it for RAM.
struct NoisyBus {
    seed: u64,
    interrupts: bool,
}

impl NoisyBus {
    fn noise(&self, by: Access, at: u64) -> Noise {
        Noise::new(self.seed ^ mix(by.retired) ^ mix(at ^ 0x5555_5555))
    }

    fn check(at: Gpa, len: usize) {
        assert!((1..=64).contains(&len), "{len} bytes at {at}");
        assert!(at.0 >= RAM_BYTES, "the bus is asked for RAM at {at}");
        assert!((at.0 & 0xfff) + len as u64 <= 0x1000, "{len} bytes at {at} cross a page");
    }
}

impl Bus for NoisyBus {
    fn mmio_read(&self, by: Access, at: Gpa, data: &mut [u8]) {
        Self::check(at, data.len());
        let mut noise = self.noise(by, at.0);
        data.fill_with(|| noise.byte());
    }
    fn mmio_write(&self, _: Access, at: Gpa, data: &[u8]) {
        Self::check(at, data.len());
    }
    fn port_in(&self, by: Access, port: u16, data: &mut [u8]) {
        assert!(matches!(data.len(), 1 | 2 | 4), "{} bytes of port {port:#x}", data.len());
        let mut noise = self.noise(by, port.into());
        data.fill_with(|| noise.byte());
    }
    fn port_out(&self, _: Access, port: u16, data: &[u8]) {
        assert!(matches!(data.len(), 1 | 2 | 4), "{} bytes of port {port:#x}", data.len());
    }
    fn read_msr(&self, by: Access, msr: u32) -> Result<u64, MsrFault> {
        let mut noise = self.noise(by, msr.into());
        if noise.once_in(2) { Err(MsrFault) } else { Ok(noise.draw()) }
    }
    fn write_msr(&self, by: Access, msr: u32, _: u64, _: Option<VmTime>) -> Result<(), MsrFault> {
        let mut noise = self.noise(by, msr.into());
        if noise.once_in(2) { Err(MsrFault) } else { Ok(()) }
    }
    fn task_priority(&self, by: Access) -> u8 {
        (self.noise(by, 8).byte()) & 15
    }
    fn set_task_priority(&self, _: Access, priority: u8) {
        assert!(priority < 16, "CR8 = {priority}");
    }
    fn pins(&self, by: Access) -> Pins {
        if !self.interrupts {
            return Pins::default();
        }
        let mut noise = self.noise(by, 1);
        Pins {
            interrupt: noise.once_in(16),
            nmi: noise.once_in(256),
            init: noise.once_in(4096),
            startup: noise.once_in(16).then(|| noise.byte() & 15),
            a20_masked: noise.once_in(64),
            tscs_differ: false,
            tscs_changed: false,
        }
    }
    fn acknowledge_interrupt(&self, by: Access) -> Option<u8> {
        let mut noise = self.noise(by, 2);
        (!noise.once_in(4)).then(|| noise.byte())
    }
    fn random(&self, by: Access) -> u64 {
        self.noise(by, 3).draw()
    }
    fn now(&self, by: Access) -> VmTime {
        VmTime(by.retired)
    }
}

/// A guest of random bytes: its RAM and where its CPU starts.
struct Guest {
    ram: Arc<Ram>,
    state: CpuState,
}

impl Guest {
    fn new(mode: Mode, noise: &mut Noise, model: &CpuModel) -> Self {
        let nothing = Vector {
            mode,
            code: Vec::new(),
            text: String::new(),
            before: Vec::new(),
            after: Vec::new(),
            fault: None,
        };
        let stage = Stage::new(&nothing);
        let mut state = stage.state(&nothing, model);
        // Real mode keeps its interrupt table; random handlers in it are welcome, too.
        let start = if mode == Mode::Real && noise.once_in(2) { 0x400 } else { 0 };
        let code = if noise.once_in(8) {
            (start..OWN).map(|_| noise.byte()).collect()
        } else {
            noise.code((OWN - start) as usize, RAM_BYTES)
        };
        stage.ram.write(Gpa(start), &code).expect("it is RAM");
        if noise.once_in(2) {
            // Damaged tables, and handlers that do something.
            for _ in 0..=noise.below(32) {
                let at = OWN + noise.below(RAM_BYTES - OWN - 16);
                let len = 1 + noise.below(16) as usize;
                let bytes = noise.code(len, RAM_BYTES);
                stage.ram.write(Gpa(at), &bytes).expect("it is RAM");
            }
        }
        Self::stir(&mut state, noise);
        Self { ram: stage.ram, state }
    }

    /// Random values where any value is one that a CPU can have.
    fn stir(state: &mut CpuState, noise: &mut Noise) {
        const FLAGS: u64 = 0x4_0cd5; // AC, OF, DF, SF, ZF, AF, PF, CF
        for register in &mut state.gpr {
            *register = noise.value(RAM_BYTES);
        }
        if !noise.once_in(4) {
            state.gpr[4] = 0x8000 + 8 * noise.below(0x400);
        }
        state.rip = noise.below(OWN);
        state.rflags |= noise.draw() & FLAGS;
        if noise.once_in(2) {
            state.rflags |= 0x3200; // IF, IOPL 3
        }
        if noise.once_in(16) {
            state.rflags |= 0x100; // TF
        }
        for lane in state.simd.ymm.iter_mut().flat_map(|register| &mut register[..2]) {
            *lane = noise.value(RAM_BYTES);
        }
        if noise.once_in(2) {
            state.simd.mxcsr = noise.draw() as u32 & 0xffff;
            state.x87.control = noise.draw() as u16 & 0x1f3f | 0x40;
            state.x87.valid = noise.byte();
            state.x87.reg = [(); 8].map(|()| (noise.value(RAM_BYTES), noise.draw() as u16));
        }
        if noise.once_in(8) {
            state.debug.address = [(); 4].map(|()| noise.below(OWN));
            state.debug.dr7 = 0x400 | noise.draw() & 0xffff_03ff;
        }
    }

    fn vcpu(&self, model: &CpuModel, seed: u64, interrupts: bool) -> Box<dyn Vcpu> {
        let bus = Arc::new(NoisyBus { seed, interrupts });
        let engine = Interp::new(self.ram.clone());
        let mut vcpu = engine.create_vcpu(0, model, bus).expect("it can be made");
        vcpu.set_state(&self.state).expect("it is a state");
        vcpu
    }
}

/// Says the seed if the test fails, and ends a test that hangs.
struct Seed {
    mode: Mode,
    seed: u64,
    /// Its end is the case's.
    _watch: Sender<()>,
}

impl Seed {
    fn new(mode: Mode, seed: u64) -> Self {
        let (watch, watched) = channel::<()>();
        let patience = console::patience();
        std::thread::spawn(move || {
            if watched.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{mode:?} hangs with TRINE_FUZZ_SEED={seed}");
                std::process::abort();
            }
        });
        Self { mode, seed, _watch: watch }
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?} fails with TRINE_FUZZ_SEED={}", self.mode, self.seed);
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Calls `test` with new seeds for the time that is given to each mode, at least once.
fn for_a_while(mode: Mode, mut test: impl FnMut(u64)) {
    let end = Instant::now() + Duration::from_secs(from_environment("TRINE_FUZZ_SECONDS", 1));
    let mut seed = from_environment("TRINE_FUZZ_SEED", 1);
    loop {
        let name = Seed::new(mode, seed);
        test(seed);
        drop(name);
        seed += 1;
        if Instant::now() >= end {
            break;
        }
    }
}

fn model() -> CpuModel {
    CpuModel::named("max").expect("there is a model 'max'")
}

/// Runs a guest until its instructions are used up, it sleeps for good, or it shuts down.
fn run(vcpu: &mut dyn Vcpu, instructions: u64) {
    let end = vcpu.retired() + instructions;
    let mut sleeps = 0;
    while let Some(left) = NonZeroU64::new(end.saturating_sub(vcpu.retired())) {
        let before = vcpu.retired();
        let exit = vcpu.run(Budget::Instructions(left)).expect("the host does not fail");
        assert!(vcpu.retired() - before <= left.get(), "more instructions than the budget");
        match exit {
            Exit::Budget => assert_eq!(vcpu.retired(), end, "the budget is exact"),
            Exit::TripleFault(_) => break,
            Exit::Halted => {
                sleeps += 1;
                if sleeps > 64 {
                    break;
                }
            }
            Exit::Kicked | Exit::Breakpoint(_) => panic!("nobody asked for {exit:?}"),
        }
    }
}

fn survives(mode: Mode) {
    let model = model();
    for_a_while(mode, |seed| {
        let mut noise = Noise::new(seed);
        let guest = Guest::new(mode, &mut noise, &model);
        let mut vcpu = guest.vcpu(&model, seed, true);
        run(&mut *vcpu, INSTRUCTIONS);
        vcpu.state().expect("it has a state");
    });
}

/// The state and RAM after a guest ran, in steps of `step` instructions.
fn outcome(mode: Mode, seed: u64, model: &CpuModel, step: u64) -> (u64, CpuState, Vec<u8>) {
    const SHORT: u64 = 500;
    let guest = Guest::new(mode, &mut Noise::new(seed), model);
    let mut vcpu = guest.vcpu(model, seed, false);
    while vcpu.retired() < SHORT {
        let step = NonZeroU64::new(step.min(SHORT - vcpu.retired())).expect("it is not over");
        let before = vcpu.retired();
        match vcpu.run(Budget::Instructions(step)).expect("the host does not fail") {
            Exit::Budget => assert_eq!(vcpu.retired(), before + step.get(), "an exact budget"),
            _ => break,
        }
    }
    let mut memory = vec![0; RAM_BYTES as usize];
    guest.ram.read(Gpa(0), &mut memory).expect("it is RAM");
    (vcpu.retired(), vcpu.state().expect("it has a state"), memory)
}

/// How the engine groups instructions cannot be seen: not by the guest, and not in the state.
fn adds_up(mode: Mode, seed: u64, model: &CpuModel) {
    let (retired, state, memory) = outcome(mode, seed, model, u64::MAX);
    for step in [1, 7] {
        let (r, s, m) = outcome(mode, seed, model, step);
        assert_eq!(retired, r, "instructions, in steps of {step}");
        let at = (state.segments.seg[1].base.wrapping_add(state.rip) % RAM_BYTES) as usize;
        let code = &memory[at..memory.len().min(at + 16)];
        assert_eq!(state, s, "in steps of {step}, before {code:02x?}");
        let differs = memory.iter().zip(&m).position(|(a, b)| a != b);
        assert_eq!(differs, None, "address that differs in steps of {step}");
    }
}

fn steps_add_up(mode: Mode) {
    let model = model();
    for_a_while(mode, |seed| adds_up(mode, seed, &model));
}

#[test]
fn seeds_that_once_failed() {
    let model = model();
    // Handlers that fault at their first instruction; a data breakpoint on the stack of #DB.
    for (mode, seed) in [(Mode::Real, 37), (Mode::Prot16 { user: false }, 1990), (Mode::Real, 1395)]
    {
        adds_up(mode, seed, &model);
    }
}

#[test]
fn random_code_in_real_mode() {
    survives(Mode::Real);
    survives(Mode::V86);
}

#[test]
fn random_code_in_16_bit_protected_mode() {
    survives(Mode::Prot16 { user: false });
    survives(Mode::Prot16 { user: true });
}

#[test]
fn random_code_in_32_bit_protected_mode() {
    survives(Mode::Prot32 { user: false });
}

#[test]
fn random_code_in_32_bit_paged_mode() {
    survives(Mode::Prot32 { user: true });
}

#[test]
fn random_code_in_64_bit_mode() {
    survives(Mode::Long { user: false });
    survives(Mode::Long { user: true });
}

#[test]
fn random_code_in_steps_or_at_once() {
    for mode in MODES {
        steps_add_up(mode);
    }
}

/// A file that goes away with its name.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("trine-hostile-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, bytes).expect("temporary files can be written");
        Self(path)
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const STORM: &[u8] = include_bytes!("../guests/storm.elf");
/// Where in it the seed lies, and its first instruction.
const STORM_SEED: usize = 0x100;
const STORM_CODE: usize = 0x110;

fn storm(seed: u32) -> Vec<u8> {
    let mut file = STORM.to_vec();
    file[STORM_SEED..STORM_SEED + 4].copy_from_slice(&seed.to_le_bytes());
    file
}

/// Boots a kernel without input, for so many seconds at most.
fn boot(kernel: &Temporary, options: &[&str]) -> Ending {
    let kernel = kernel.name();
    let mut arguments = vec!["run", "--engine", "interp", "--kernel", &kernel, "--no-reboot"];
    arguments.extend(options);
    console::run(&arguments)
}

/// The run was refused: status 1, one line on stderr, nothing on stdout.
fn refused(ending: &Ending, what: &str) {
    let Ending { status, stdout, stderr } = ending;
    assert_eq!(status.code(), Some(1), "{what}: {stderr}");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{what}: {stderr}");
    assert!(stdout.is_empty(), "{what}: {}", String::from_utf8_lossy(stdout));
}

#[test]
fn storm_elf_is_what_the_source_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let out = Temporary::new("storm.elf", &[]);
    let nasm = Command::new("nasm")
        .args(["-f", "bin", "-o", &out.name()])
        .arg(folder.join("storm.asm"))
        .status();
    let Ok(status) = nasm else {
        println!("skipped: nasm is not installed");
        return;
    };
    assert!(status.success(), "nasm assembles storm.asm");
    let assembled = fs::read(&out.0).expect("nasm writes it");
    assert!(assembled == STORM, "storm.elf is not what nasm makes of storm.asm");
}

#[test]
fn writes_to_every_port_and_all_mmio() {
    for seed in [1, 0x1234_5678, 0xdead_beef] {
        let kernel = Temporary::new(&format!("storm-{seed}"), &storm(seed));
        let ending = boot(&kernel, &["--memory", "64M", "--time-limit", "300"]);
        let said = String::from_utf8_lossy(&ending.stdout);
        for part in ["storm", "ports", "pci", "mmio", "apic"] {
            assert!(said.contains(part), "seed {seed}: no '{part}' in {said}\n{}", ending.stderr);
        }
        // What it did to the power management is its own affair.
        assert!(
            matches!(ending.status.code(), Some(0 | 2)),
            "seed {seed}: {}: {}",
            ending.status,
            ending.stderr
        );
    }
}

#[test]
fn kernels_of_random_code() {
    for seed in 0..from_environment("TRINE_FUZZ_SECONDS", 4) {
        let mut file = storm(1);
        let code = Noise::new(seed).code(file.len() - STORM_CODE, 64 << 20);
        file[STORM_CODE..].copy_from_slice(&code);
        let kernel = Temporary::new(&format!("random-{seed}"), &file);
        let ending = boot(&kernel, &["--memory", "64M", "--time-limit", "2"]);
        // It may hit the debug exit; a panic of the host would be 101, a crash a signal.
        assert!(
            ending.status.code().is_some_and(|code| code != 101)
                && !ending.stderr.contains("panic"),
            "seed {seed}: {}: {}",
            ending.status,
            ending.stderr
        );
    }
}

#[test]
fn memory_of_no_or_absurd_size() {
    let kernel = Temporary::new("memory", &storm(1));
    let sizes = ["0", "1", "4095", "64K", "-1", "many", "", "1X", "8388608T", "17179869184G"];
    for size in sizes.into_iter().chain(["18446744073709551615", "99999999999999999999G"]) {
        let option = format!("--memory={size}");
        refused(&boot(&kernel, &[&option]), &option);
    }
}

#[test]
fn truncated_kernels() {
    let whole = storm(1);
    for len in [0, 1, 4, 51, 52, 53, 100, 0x90, 0xa0, 0x100, 0x110, whole.len() - 1] {
        let kernel = Temporary::new(&format!("cut-{len}"), &whole[..len]);
        refused(&boot(&kernel, &["--memory", "64M"]), &format!("{len} bytes of an ELF kernel"));
    }
    let Some(folder) = console::guests() else { return };
    let whole = fs::read(folder.join("cloud/vmlinuz")).expect("the kernel can be read");
    for len in [0x1f0, 0x202, 0x206, 0x250, 0x400, 0x4000, 0x8000, whole.len() / 2] {
        let kernel = Temporary::new(&format!("bz-cut-{len}"), &whole[..len]);
        refused(&boot(&kernel, &["--memory", "64M"]), &format!("{len} bytes of a bzImage"));
    }
}

#[test]
fn initrd_larger_than_ram() {
    let kernel = Temporary::new("initrd-kernel", &storm(1));
    let initrd = Temporary::new("initrd", &[]);
    let file = fs::File::options().write(true).open(&initrd.0).expect("it is there");
    file.set_len(80 << 20).expect("it can be sparse");
    let options = ["--memory", "64M", "--initrd", &initrd.name()];
    refused(&boot(&kernel, &options), "an initrd of 80 MiB for 64 MiB of RAM");
}

#[test]
fn files_that_are_not_there() {
    let kernel = Temporary::new("files-kernel", &storm(1));
    let missing = "/nonexistent/file";
    let ending = console::run(&["run", "--engine", "interp", "--kernel", missing]);
    refused(&ending, "a kernel that is not there");
    refused(&boot(&kernel, &["--initrd", missing]), "an initrd that is not there");
    refused(&console::run(&["run", "--kernel", "/"]), "a folder as the kernel");
}
