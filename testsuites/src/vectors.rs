//! Instruction vectors: one line, one instruction, the state before and after.
//!
//! ```text
//! MODE HEXBYTES "disassembly" name=value … => name=value …
//! 64 4801d8 "add rax, rbx" rax=1 rbx=ffffffffffffffff => rax=0 flags=55
//! 32u 8b0500500000 "mov eax, [0x5000]" => #PF(4)@5000
//! ```
//!
//! `MODE` is real, 16, 32, 64 (CPL 0), 16u, 32u, 64u (CPL 3) or v86. Values are hexadecimal. What
//! is not named on the left is 0, but rsp = 8000 and rflags = 2. What is not named on the right
//! does not change, but rip, which is behind the instruction.
//!
//! The instruction lies at 1000h, and every linear address below 10000h is RAM and its own offset.
//! Modes 64, 64u and 32u are paged: 5000h is not present, 6000h is read-only (CR0.WP is set),
//! 7000h is the supervisor's.
//!
//! An XMM register's name leaves the rest of its YMM register as it is, on both sides.
//!
//! There is a second stage, that of programs on the host's own CPU: see [`crate::host`]. Vectors of
//! mode 64u run there if their left side sets rip to 10000h or beyond, and so do those of the modes
//! 32c and 16c: 32- and 16-bit code of a 64-bit kernel's users, at 11000h. Pages 10000h and 11000h
//! are code; 13000h, 14000h, 17000h, 18000h and 1f000h can be written, 16000h and 19000h be read,
//! and the rest is not present. What is not named is 0, but rsp = 18800 and rflags = 202; selectors
//! are those of Linux (cs = 33 or 23, the others 2b, fs and gs 0; in 16c segments of the local
//! table that begin at 10000h, in which rip = 1000 and rsp = 8800). A fault's right side names what
//! has changed all the same.
//!
//! A fault is `#GP(0)`, `#UD` or `#PF(code)@cr2`; then nothing else may have changed.

mod stage;
pub(crate) mod text;
mod transplant;
pub(crate) mod window;

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use trine_engine::{Budget, CpuModel, CpuState, EngineError, Exit, NoBus, Vcpu};
use trine_guest::{PAGE_SIZE, Ram};
use trine_x86::Activity;

use crate::{Candidate, Suite, Tally};

pub use stage::Stage;
pub(crate) use text::GPR_NAMES;
pub use text::{Fault, Mode, ParseError, Vector};
pub use transplant::{Scene, record};

/// Runs one vector; `Err` says what differs.
///
/// # Errors
/// The engine's result is not the vector's.
pub fn run(vector: &Vector, model: &CpuModel, candidate: &Candidate) -> Result<(), String> {
    if vector.is_on_host_stage() {
        return crate::host::run_line(vector, model, candidate);
    }
    let stage = Stage::new(vector);
    let engine = candidate.engine(stage.ram.clone()).map_err(|e| e.to_string())?;
    let model = &engine.fit(model.clone());
    let mut vcpu =
        engine.create_vcpu(0, model, Arc::new(NoBus::default())).map_err(|e| e.to_string())?;
    let before = stage.state(vector, model);
    vcpu.set_state(&before).map_err(|e| e.to_string())?;
    let after = if engine.limits().counts_instructions {
        step(vector, &before, &mut *vcpu)?
    } else {
        run_to_halt(vector, &stage, &mut *vcpu)?
    };
    stage.compare(vector, &before, &after)
}

/// Executes the instruction; a repeated string instruction may take several steps.
fn step(vector: &Vector, before: &CpuState, vcpu: &mut dyn Vcpu) -> Result<CpuState, String> {
    let mut after = before.clone();
    for _ in 0..10_000 {
        let exit = vcpu.run(Budget::Instructions(NonZeroU64::MIN)).map_err(|e| e.to_string())?;
        after = vcpu.state().map_err(|e| e.to_string())?;
        if let Exit::TripleFault(fault) = exit {
            return Err(fault.to_string());
        }
        if after.rip != before.rip || vector.jumps_to(before.rip) {
            break;
        }
    }
    Ok(after)
}

/// Runs a vCPU until it returns by itself, or stops it after so long.
///
/// # Errors
/// If the engine fails.
pub fn run_for(vcpu: &mut dyn Vcpu, longest: Duration) -> Result<Exit, EngineError> {
    let (done, over) = mpsc::channel::<()>();
    let kicker = vcpu.kicker();
    thread::scope(|scope| {
        scope.spawn(move || {
            if over.recv_timeout(longest) == Err(mpsc::RecvTimeoutError::Timeout) {
                kicker.stop();
            }
        });
        let exit = vcpu.run(Budget::Unlimited);
        drop(done);
        exit
    })
}

/// Executes the instruction and the HLT that follows it, here or in a handler, for an engine that
/// cannot be told to stop after one; then takes the HLT back.
fn run_to_halt(vector: &Vector, stage: &Stage, vcpu: &mut dyn Vcpu) -> Result<CpuState, String> {
    const LONGEST: Duration = Duration::from_secs(5);
    let failed = |e: EngineError| e.to_string();
    let taken = stage.put_halt(vector);
    let exit = run_for(vcpu, LONGEST);
    match exit.map_err(failed)? {
        Exit::Halted => {}
        Exit::TripleFault(fault) => return Err(fault.to_string()),
        other => return Err(format!("it does not come to its end ({other:?})")),
    }
    let mut after = vcpu.state().map_err(failed)?;
    after.rip = after.rip.wrapping_sub(1);
    after.events.activity = Activity::Running;
    stage.put_back(vector, taken);
    Ok(after)
}

/// A line of a file: its number, and what it says.
struct Line {
    number: usize,
    text: String,
    vector: Vector,
}

/// Files of vectors as a suite: a group is a file, a case is a line's number.
pub struct Vectors {
    model: CpuModel,
    files: Vec<(String, Vec<Line>)>,
}

impl Vectors {
    /// Reads the file at `path`, or every `.ins` file of the folder.
    ///
    /// # Errors
    /// With the file and the line that cannot be read.
    pub fn open(path: &Path) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut paths = vec![path.to_path_buf()];
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(failed)?;
            paths = entries.map(|e| Ok(e?.path())).collect::<Result<_, _>>().map_err(failed)?;
            paths.retain(|p| p.extension().is_some_and(|e| e == "ins"));
            paths.sort();
            if paths.is_empty() {
                return Err(format!("{}: there is no .ins file in it", path.display()));
            }
        }
        let model = CpuModel::named("max").map_err(|e| e.to_string())?;
        Ok(Self { model, files: paths.into_iter().map(read).collect::<Result<_, _>>()? })
    }
}

impl Suite for Vectors {
    fn name(&self) -> &'static str {
        "vectors"
    }

    fn groups(&self) -> Vec<String> {
        self.files.iter().map(|(name, _)| name.clone()).collect()
    }

    fn size(&self, group: usize) -> u64 {
        self.files[group].1.len() as u64
    }

    fn run(
        &self,
        group: usize,
        candidate: &Candidate,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let ram = Ram::flat(PAGE_SIZE).map_err(|e| e.to_string())?;
        let engine = candidate.engine(Arc::new(ram)).map_err(|e| e.to_string())?;
        let counts = engine.limits().counts_instructions;
        for Line { number, text, vector } in &self.files[group].1 {
            if !counts && !Stage::can_halt(vector) {
                tally.skip(number, "no HLT can end it, and the engine does not count");
                continue;
            }
            match run(vector, &self.model, candidate) {
                Ok(()) => tally.pass(1),
                Err(why) => {
                    tally.fail(number, format!("{}: {why}", vector.text), Some(text.clone()));
                }
            }
        }
        Ok(())
    }
}

fn read(path: PathBuf) -> Result<(String, Vec<Line>), String> {
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut vectors = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let vector =
            line.parse().map_err(|e| format!("{}:{}: {e}: {line}", path.display(), n + 1))?;
        vectors.push(Line { number: n + 1, text: line.into(), vector });
    }
    if vectors.is_empty() {
        return Err(format!("{}: there is no vector in it", path.display()));
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok((name.replace(char::is_whitespace, "_"), vectors))
}

/// The differences of two states that a vector does not expect, for a person to read.
pub(crate) fn differences(want: &CpuState, got: &CpuState) -> Vec<String> {
    let mut out = Vec::new();
    for (name, w, g) in
        text::GPR_NAMES.iter().zip(want.gpr).zip(got.gpr).map(|((n, w), g)| (n, w, g))
    {
        if w != g {
            out.push(format!("{name}: want {w:x}, got {g:x}"));
        }
    }
    let mut pair = |name: &str, w: u64, g: u64| {
        if w != g {
            out.push(format!("{name}: want {w:x}, got {g:x}"));
        }
    };
    pair("rip", want.rip, got.rip);
    pair("rflags", want.rflags, got.rflags);
    for (n, name) in text::SEG_NAMES.iter().enumerate() {
        let (w, g) = (&want.segments.seg[n], &got.segments.seg[n]);
        pair(name, w.selector.into(), g.selector.into());
        pair(&format!("{name}.base"), w.base, g.base);
    }
    pair("cr0", want.control.cr0, got.control.cr0);
    pair("cr2", want.control.cr2, got.control.cr2);
    pair("cr3", want.control.cr3, got.control.cr3);
    pair("cr4", want.control.cr4, got.control.cr4);
    pair("mxcsr", want.simd.mxcsr.into(), got.simd.mxcsr.into());
    pair("fcw", want.x87.control.into(), got.x87.control.into());
    pair("fsw", want.x87.status.into(), got.x87.status.into());
    pair("ftw", want.x87.valid.into(), got.x87.valid.into());
    for n in 0..8 {
        let (w, g) = (want.x87.reg[n], got.x87.reg[n]);
        if w != g {
            out.push(format!("R{n}: want {:04x}{:016x}, got {:04x}{:016x}", w.1, w.0, g.1, g.0));
        }
    }
    for n in 0..16 {
        let (w, g) = (want.simd.ymm[n], got.simd.ymm[n]);
        if w != g {
            let digits =
                |v: [u64; 4]| v.iter().rev().map(|q| format!("{q:016x}")).collect::<String>();
            out.push(format!("ymm{n}: want {}, got {}", digits(w), digits(g)));
        }
    }
    out
}
