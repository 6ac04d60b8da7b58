//! Our CPU, asked what the host's is asked: from a [`Case`] to the first exception.

use std::{num::NonZeroU64, sync::Arc};

use trine_engine::{Budget, CpuModel, CpuState, Exit, NoBus, Vcpu};
use trine_guest::{Gpa, Ram};
use trine_native::{
    Case, Change, FX_BYTES, Outcome, Page, State, WINDOW, WINDOW_BYTES, YMM_BYTES, page,
};
use trine_x86::{Simd, X87, rflags};

use crate::{Candidate, vectors::window};

/// Instructions that a case may take: a repeated one with a 16-bit count has not more iterations.
const PATIENCE: NonZeroU64 = NonZeroU64::new(70_000).expect("not 0");
/// Those that it may take where the host's CPU came to an end in the time that it has: a LOOP to
/// itself does so after some ten million.
const LONG_PATIENCE: NonZeroU64 = NonZeroU64::new(1 << 28).expect("not 0");
const PAGE_BYTES: usize = 0x1000;
const LINE: usize = 64;

/// A vCPU on the host's stage.
pub(crate) struct Guest {
    ram: Arc<Ram>,
    vcpu: Box<dyn Vcpu>,
    /// What every case begins with.
    base: CpuState,
    /// What the window held when the case began.
    mirror: Vec<u8>,
}

pub(crate) fn background(at: u64) -> u8 {
    if page(at) == Page::Code { 0xcc } else { 0 }
}

impl Guest {
    pub(crate) fn new(candidate: &Candidate, model: &CpuModel) -> Result<Self, String> {
        let ram = Arc::new(Ram::flat(window::RAM_BYTES).map_err(|e| e.to_string())?);
        window::tables(&ram);
        let mirror: Vec<u8> = (0..WINDOW_BYTES as u64).map(|n| background(WINDOW + n)).collect();
        ram.write(Gpa(WINDOW), &mirror).map_err(|e| e.to_string())?;
        let engine = candidate.engine(ram.clone()).map_err(|e| e.to_string())?;
        let vcpu =
            engine.create_vcpu(0, model, Arc::new(NoBus::default())).map_err(|e| e.to_string())?;
        ram.take_dirty();
        Ok(Self { ram, vcpu, base: window::state(model), mirror })
    }

    /// Runs `case`, which ended on the host's CPU if `ends`.
    pub(crate) fn run(&mut self, case: &Case, ends: bool, out: &mut Outcome) -> Result<(), String> {
        for (at, bytes) in case.patches() {
            self.ram.write(Gpa(at), bytes).map_err(|e| e.to_string())?;
            let at = (at - WINDOW) as usize;
            self.mirror[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let before = self.before(&case.before);
        self.vcpu.set_state(&before).map_err(|e| e.to_string())?;
        let mut run = |budget| self.vcpu.run(Budget::Instructions(budget));
        let mut exit = run(PATIENCE).map_err(|e| e.to_string())?;
        if ends && exit == Exit::Budget {
            exit = run(LONG_PATIENCE).map_err(|e| e.to_string())?;
        }
        let after = self.vcpu.state().map_err(|e| e.to_string())?;
        out.vector = Outcome::NONE;
        if exit == Exit::Halted
            && let Some(frame) = window::frame(&self.ram, &after)
        {
            self.after(frame, &after, out);
        }
        self.sweep(case, out);
        Ok(())
    }

    fn before(&self, from: &State) -> CpuState {
        let mut s = self.base.clone();
        s.gpr = from.gpr;
        s.rip = from.rip;
        s.rflags = from.rflags | rflags::FIXED | rflags::IF;
        for (n, (seg, selector)) in s.segments.seg.iter_mut().zip(from.selectors).enumerate() {
            *seg = window::segment(selector);
            if n >= 4 && selector & 0xfffc == 0 {
                seg.base = from.bases[n - 4];
            }
        }
        (s.x87, s.simd) = from_image(&from.fx);
        for (n, ymm) in s.simd.ymm.iter_mut().enumerate() {
            [ymm[2], ymm[3]] = [word(&from.ymm, 16 * n), word(&from.ymm, 16 * n + 8)];
        }
        s
    }

    fn after(&self, frame: window::Frame, after: &CpuState, out: &mut Outcome) {
        out.vector = frame.vector.into();
        out.error = frame.error;
        out.cr2 = after.control.cr2;
        let to = &mut out.after;
        to.gpr = after.gpr;
        to.gpr[4] = frame.rsp;
        to.rip = frame.rip;
        to.rflags = frame.rflags;
        to.selectors = after.segments.seg.map(|s| s.selector);
        (to.selectors[1], to.selectors[2]) = (frame.cs, frame.ss);
        to.bases = [after.segments.seg[4].base, after.segments.seg[5].base];
        to.fx = to_image(&after.x87, &after.simd);
        to.ymm = upper_halves(&after.simd);
    }

    /// Collects what the case changed, and makes the window what it was.
    fn sweep(&mut self, case: &Case, out: &mut Outcome) {
        out.clear_lines();
        let mut now = [0; PAGE_BYTES];
        for offset in self.ram.take_dirty() {
            if page(offset) != Page::Data {
                continue;
            }
            self.ram.load_bytes(offset, &mut now);
            let start = (offset - WINDOW) as usize;
            for (n, line) in now.chunks_exact(LINE).enumerate() {
                let at = start + n * LINE;
                if line == &self.mirror[at..at + LINE] {
                    continue;
                }
                let mut bytes = [0; LINE];
                bytes.copy_from_slice(line);
                out.push_line(Change { at: WINDOW + at as u64, bytes });
                self.ram.store_bytes(WINDOW + at as u64, &[0; LINE]);
            }
        }
        for (at, bytes) in case.patches() {
            for n in at..at + bytes.len() as u64 {
                self.mirror[(n - WINDOW) as usize] = background(n);
            }
            let start = (at - WINDOW) as usize;
            self.ram.store_bytes(at, &self.mirror[start..start + bytes.len()]);
        }
        // The restoring is no change of the next case's.
        self.ram.take_dirty();
    }
}

/// Reads FXSAVE64's image (SDM vol. 1, table 10-2, and vol. 2A, FXSAVE).
pub(crate) fn from_image(fx: &[u8; FX_BYTES]) -> (X87, Simd) {
    let (mut x87, mut simd) = (X87::default(), Simd::default());
    x87.control = word(fx, 0) as u16;
    x87.status = word(fx, 2) as u16;
    x87.valid = fx[4];
    x87.opcode = word(fx, 6) as u16;
    x87.ip = word(fx, 8);
    x87.dp = word(fx, 16);
    simd.mxcsr = word(fx, 24) as u32;
    let top = usize::from(x87.status >> 11 & 7);
    for n in 0..8 {
        x87.reg[(top + n) % 8] = (word(fx, 32 + 16 * n), word(fx, 40 + 16 * n) as u16);
    }
    for n in 0..16 {
        simd.ymm[n] = [word(fx, 160 + 16 * n), word(fx, 168 + 16 * n), 0, 0];
    }
    (x87, simd)
}

/// Writes FXSAVE64's image.
pub(crate) fn to_image(x87: &X87, simd: &Simd) -> [u8; FX_BYTES] {
    let mut fx = [0; FX_BYTES];
    let mut put = |at: usize, bytes: &[u8]| fx[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &x87.control.to_le_bytes());
    put(2, &x87.status.to_le_bytes());
    put(4, &[x87.valid]);
    put(6, &x87.opcode.to_le_bytes());
    put(8, &x87.ip.to_le_bytes());
    put(16, &x87.dp.to_le_bytes());
    put(24, &simd.mxcsr.to_le_bytes());
    let top = usize::from(x87.status >> 11 & 7);
    for n in 0..8 {
        let (significand, exponent) = x87.reg[(top + n) % 8];
        put(32 + 16 * n, &significand.to_le_bytes());
        put(40 + 16 * n, &exponent.to_le_bytes());
    }
    for (n, ymm) in simd.ymm.iter().enumerate() {
        put(160 + 16 * n, &ymm[0].to_le_bytes());
        put(168 + 16 * n, &ymm[1].to_le_bytes());
    }
    fx
}

/// The upper halves of the YMM registers.
fn upper_halves(simd: &Simd) -> [u8; YMM_BYTES] {
    let mut out = [0; YMM_BYTES];
    for (half, ymm) in out.chunks_exact_mut(16).zip(&simd.ymm) {
        half[..8].copy_from_slice(&ymm[2].to_le_bytes());
        half[8..].copy_from_slice(&ymm[3].to_le_bytes());
    }
    out
}

/// The eight bytes at `at`, fewer at the end.
pub(crate) fn word(bytes: &[u8], at: usize) -> u64 {
    let some = bytes.get(at..).unwrap_or_default();
    some.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
