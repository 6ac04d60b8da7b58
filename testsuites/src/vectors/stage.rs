//! Where vectors run: RAM, tables, the state before, the comparison after.

use std::sync::Arc;

use trine_engine::{CpuModel, CpuState};
use trine_guest::{Gpa, Ram};
use trine_x86::{Segment, Table, cr0, cr4, efer, rflags, vector};

use super::{
    differences,
    text::{Fault, GPR_NAMES, Mode, OWN, SEG_NAMES, Setting, Vector},
};

pub(super) const CODE: u64 = 0x1000;
const GDT: u64 = 0x1_0000;
const IDT: u64 = 0x1_1000;
const TSS: u64 = 0x1_2000;
/// Each exception's handler is a HLT, 16 bytes apart.
const HANDLERS: u64 = 0x1_3000;
const PAGES: u64 = 0x1_4000;
/// The supervisor's stack for exceptions at CPL 3.
const STACK0: u64 = 0x1_f000;
const RAM_BYTES: u64 = 0x4_0000;

const CODE32: u16 = 0x08;
const DATA32: u16 = 0x10;
const CODE64: u16 = 0x18;
const CODE16: u16 = 0x20;
const DATA16: u16 = 0x28;
const USER_CODE32: u16 = 0x33;
const USER_DATA32: u16 = 0x3b;
const USER_CODE64: u16 = 0x43;
const USER_CODE16: u16 = 0x4b;
const USER_DATA16: u16 = 0x53;
const TASK: u16 = 0x58;

/// Descriptors from selector 0 on.
const DESCRIPTORS: [u64; 11] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x0000_9b00_0000_ffff,
    0x0000_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0x0000_fb00_0000_ffff,
    0x0000_f300_0000_ffff,
];

/// RAM with the tables that a vector's mode needs.
pub struct Stage {
    /// The RAM.
    pub ram: Arc<Ram>,
    own: Vec<u8>,
}

impl Stage {
    /// Sets the stage for a vector.
    ///
    /// # Panics
    /// If the host has not 256 KiB, or the vector sets memory outside of its own 64 KiB.
    #[must_use]
    pub fn new(v: &Vector) -> Self {
        let ram = Arc::new(Ram::flat(RAM_BYTES).expect("256 KiB"));
        let mut own = vec![0; OWN];
        if v.mode == Mode::Real {
            for n in 0..256 {
                let handler = (HANDLERS as u32 + (n as u32 % 32) * 16) >> 4 << 16;
                own[4 * n..4 * n + 4].copy_from_slice(&handler.to_le_bytes());
            }
        }
        own[CODE as usize..CODE as usize + v.code.len()].copy_from_slice(&v.code);
        for s in &v.before {
            if let Setting::Memory(at, data) = s {
                own[*at as usize..*at as usize + data.len()].copy_from_slice(data);
            }
        }
        ram.write(Gpa(0), &own).expect("in RAM");
        for n in 0..256 {
            ram.write(Gpa(HANDLERS + n * 16), &[0xf4]).expect("in RAM");
        }
        let stage = Self { ram, own };
        stage.tables(v.mode);
        stage
    }

    /// Whether a HLT behind its instruction can end a vector: it raises an exception, whose handler
    /// halts, or it goes to another place on the stage in a mode that may halt.
    pub(super) fn can_halt(v: &Vector) -> bool {
        let may = matches!(
            v.mode,
            Mode::Real
                | Mode::Prot16 { user: false }
                | Mode::Prot32 { user: false }
                | Mode::Long { user: false }
        );
        let code = CODE..CODE + v.code.len() as u64;
        !v.is_on_host_stage()
            && (v.fault.is_some() || may && !code.contains(&end(v)) && end(v) < OWN as u64)
    }

    /// Puts that HLT there; returns what was there before.
    pub(super) fn put_halt(&self, v: &Vector) -> u8 {
        let mut taken = [0];
        if v.fault.is_none() {
            self.ram.read(Gpa(end(v)), &mut taken).expect("in RAM");
            self.ram.write(Gpa(end(v)), &[0xf4]).expect("in RAM");
        }
        taken[0]
    }

    /// Takes the HLT away again, unless the instruction itself has stored there.
    pub(super) fn put_back(&self, v: &Vector, taken: u8) {
        let mut now = [0];
        if v.fault.is_none() && self.ram.read(Gpa(end(v)), &mut now).is_ok() && now == [0xf4] {
            self.ram.write(Gpa(end(v)), &[taken]).expect("in RAM");
        }
    }

    fn put(&self, at: u64, value: u64) {
        self.ram.write(Gpa(at), &value.to_le_bytes()).expect("in RAM");
    }

    fn tables(&self, mode: Mode) {
        for (n, descriptor) in DESCRIPTORS.iter().enumerate() {
            self.put(GDT + 8 * n as u64, *descriptor);
        }
        self.put(GDT + u64::from(TASK), 0x0000_8b01_2000_0fff);
        let long = matches!(mode, Mode::Long { .. });
        for n in 0..32 {
            let at = HANDLERS + 16 * n;
            let selector = u64::from(if long { CODE64 } else { CODE32 });
            let gate = at & 0xffff | selector << 16 | 0x8e00 << 32 | (at >> 16) << 48;
            self.put(IDT + if long { 16 * n } else { 8 * n }, gate);
        }
        if long {
            self.put(TSS + 4, STACK0);
        } else {
            self.put(TSS + 4, STACK0 | u64::from(DATA32) << 32);
        }
        // The I/O map lies beyond the limit: no port is allowed.
        self.put(TSS + 0x60, 0xffff_0000_0000_0000);
        match mode {
            Mode::Long { .. } => {
                self.put(PAGES, (PAGES + 0x1000) | 7);
                self.put(PAGES + 0x1000, (PAGES + 0x2000) | 7);
                self.put(PAGES + 0x2000, (PAGES + 0x3000) | 7);
                for n in 0..RAM_BYTES >> 12 {
                    self.put(PAGES + 0x3000 + 8 * n, n << 12 | page_bits(n));
                }
            }
            Mode::Prot32 { user: true } => {
                self.put(PAGES, (PAGES + 0x1000) | 7);
                for n in 0..RAM_BYTES >> 12 {
                    let at = Gpa(PAGES + 0x1000 + 4 * n);
                    let entry = (n << 12 | page_bits(n)) as u32;
                    self.ram.write(at, &entry.to_le_bytes()).expect("in RAM");
                }
            }
            _ => {}
        }
    }

    /// The state before the vector.
    ///
    /// # Panics
    /// If the vector names a register that there is not.
    #[must_use]
    pub fn state(&self, v: &Vector, model: &CpuModel) -> CpuState {
        let mut s = CpuState::reset(model, 0);
        s.gpr = [0; 16];
        s.gpr[4] = 0x8000;
        s.rip = CODE;
        s.rflags = rflags::FIXED;
        s.x87.control = 0x37f;
        s.control.cr0 = cr0::ET | cr0::NE | cr0::MP;
        s.control.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::OSXSAVE;
        s.control.xcr0 = 7;
        s.segments.gdtr = Table { base: GDT, limit: 0xff };
        let idt = if v.mode == Mode::Real { 0 } else { IDT };
        s.segments.idtr = Table { base: idt, limit: 0xfff };
        let segment = |selector: u16| descriptor(selector);
        let (code, data) = match v.mode {
            Mode::Real => {
                for seg in &mut s.segments.seg {
                    *seg = Segment { selector: 0, base: 0, limit: 0xffff, rights: 0x93 };
                }
                (None, None)
            }
            Mode::V86 => {
                for seg in &mut s.segments.seg {
                    *seg = Segment { selector: 0, base: 0, limit: 0xffff, rights: 0xf3 };
                }
                s.rflags |= rflags::VM;
                (None, None)
            }
            Mode::Prot16 { user: false } => (Some(CODE16), Some(DATA16)),
            Mode::Prot16 { user: true } => (Some(USER_CODE16), Some(USER_DATA16)),
            Mode::Prot32 { user: false } => (Some(CODE32), Some(DATA32)),
            Mode::Prot32 { user: true } => (Some(USER_CODE32), Some(USER_DATA32)),
            Mode::Long { user: false } => (Some(CODE64), Some(DATA32)),
            Mode::Long { user: true } => (Some(USER_CODE64), Some(USER_DATA32)),
            Mode::Compat32 | Mode::Compat16 => unreachable!("they have a stage of their own"),
        };
        if let (Some(code), Some(data)) = (code, data) {
            s.segments.seg = [segment(data); 6];
            s.segments.seg[1] = segment(code);
        }
        if v.mode != Mode::Real {
            s.control.cr0 |= cr0::PE | cr0::WP;
            s.segments.tr = Segment { selector: TASK, base: TSS, limit: 0xfff, rights: 0x8b };
            s.segments.ldtr = Segment { rights: 0x1_0000, ..Segment::default() };
        }
        match v.mode {
            Mode::Long { .. } => {
                s.control.cr0 |= cr0::PG;
                s.control.cr4 |= cr4::PAE;
                s.control.efer = efer::LME | efer::LMA | efer::SCE;
                s.control.cr3 = PAGES;
            }
            Mode::Prot32 { user: true } => {
                s.control.cr0 |= cr0::PG;
                s.control.cr3 = PAGES;
            }
            _ => {}
        }
        for setting in &v.before {
            match setting {
                Setting::Register(name, value) => set(&mut s, name, *value, v.mode),
                Setting::Ymm(n, value) => s.simd.ymm[*n] = *value,
                Setting::Memory(..) => {}
            }
        }
        s
    }

    /// Compares with what the vector expects.
    ///
    /// # Errors
    /// With the differences.
    pub fn compare(&self, v: &Vector, before: &CpuState, after: &CpuState) -> Result<(), String> {
        let raised = raised(v, after);
        match (raised, v.fault) {
            (Some(vector), Some(fault)) if vector == fault.vector => {
                self.compare_fault(v, fault, before, after)
            }
            (None, None) => self.compare_success(v, before, after),
            (got, want) => Err(format!(
                "want {}, got {}",
                want.map_or("no fault", |f| vector::name(f.vector)),
                got.map_or("no fault", vector::name)
            )),
        }
    }

    fn compare_success(
        &self,
        v: &Vector,
        before: &CpuState,
        after: &CpuState,
    ) -> Result<(), String> {
        let (mut want, mut got) = (before.clone(), after.clone());
        want.rip = CODE + v.code.len() as u64;
        let mut memory = self.own.clone();
        for setting in &v.after {
            match setting {
                Setting::Register(name, value) if name == "undef" => {
                    got.rflags &= !(*value as u64);
                    want.rflags &= !(*value as u64);
                }
                Setting::Register(name, value) => set(&mut want, name, *value, v.mode),
                Setting::Ymm(n, value) => want.simd.ymm[*n] = *value,
                Setting::Memory(at, data) => {
                    memory[*at as usize..*at as usize + data.len()].copy_from_slice(data);
                }
            }
        }
        if let Some(undefined) = v.after_register("undef") {
            want.rflags &= !(undefined as u64);
        }
        let mut out = differences(&want, &got);
        self.compare_memory(&memory, &mut out);
        if out.is_empty() { Ok(()) } else { Err(out.join("; ")) }
    }

    fn compare_memory(&self, want: &[u8], out: &mut Vec<String>) {
        let mut got = vec![0; OWN];
        self.ram.read(Gpa(0), &mut got).expect("in RAM");
        for (at, (w, g)) in want.iter().zip(&got).enumerate() {
            if w != g && out.len() < 20 {
                out.push(format!("mem[{at:x}]: want {w:02x}, got {g:02x}"));
            }
        }
    }

    /// A word of an exception's frame, from the stack pointer on.
    fn pushed(&self, v: &Vector, n: u64, after: &CpuState) -> u64 {
        let size = match v.mode {
            Mode::Real => 2,
            Mode::Long { .. } => 8,
            _ => 4,
        };
        let mut bytes = [0; 8];
        let at = Gpa(after.gpr[4] + n * size);
        // A stack outside of RAM holds nothing.
        let _ = self.ram.read(at, &mut bytes[..size as usize]);
        u64::from_le_bytes(bytes)
    }

    /// The error code with which exception `vector` came, if it has one.
    pub(super) fn error_code(&self, v: &Vector, vector: u8, after: &CpuState) -> Option<u32> {
        let has_code = matches!(vector, 8 | 10..=14 | 17 | 21) && v.mode != Mode::Real;
        has_code.then(|| self.pushed(v, 0, after) as u32)
    }

    /// The vector's own memory as it was at first.
    pub(super) fn own(&self) -> &[u8] {
        &self.own
    }

    fn compare_fault(
        &self,
        v: &Vector,
        fault: Fault,
        before: &CpuState,
        after: &CpuState,
    ) -> Result<(), String> {
        let mut out = Vec::new();
        let code = self.error_code(v, fault.vector, after);
        if let Some(got) = code {
            let want = fault.code.unwrap_or(0);
            if want != got {
                out.push(format!("error code: want {want:x}, got {got:x}"));
            }
        }
        let pushed = self.pushed(v, code.is_some().into(), after);
        if pushed != before.rip && !matches!(fault.vector, 1 | 3 | 4) {
            out.push(format!("pushed rip: want {:x}, got {pushed:x}", before.rip));
        }
        if let Some(address) = fault.address
            && after.control.cr2 != address
        {
            out.push(format!("cr2: want {address:x}, got {:x}", after.control.cr2));
        }
        for n in (0..16).filter(|n| *n != 4) {
            if before.gpr[n] != after.gpr[n] {
                out.push(format!(
                    "{} changed from {:x} to {:x}",
                    GPR_NAMES[n], before.gpr[n], after.gpr[n]
                ));
            }
        }
        if let Some(mxcsr) = v.after_register("mxcsr")
            && u128::from(after.simd.mxcsr) != mxcsr
        {
            out.push(format!("mxcsr: want {mxcsr:x}, got {:x}", after.simd.mxcsr));
        }
        // A gather that faults has done some of its elements.
        let mut want = before.clone();
        for setting in &v.after {
            match setting {
                Setting::Register(name, value) if name.starts_with("xmm") => {
                    set(&mut want, name, *value, v.mode);
                }
                Setting::Ymm(n, value) => want.simd.ymm[*n] = *value,
                _ => {}
            }
        }
        for n in 0..16 {
            if want.simd.ymm[n] != after.simd.ymm[n] {
                out.push(format!("ymm{n} is not what it should be"));
            }
        }
        // Exceptions in these modes push onto the vector's own stack.
        let mut memory = self.own.clone();
        let low = after.gpr[4].min(OWN as u64) as usize;
        let high = (low + 64).min(OWN);
        let mut now = vec![0; OWN];
        self.ram.read(Gpa(0), &mut now).expect("in RAM");
        memory[low..high].copy_from_slice(&now[low..high]);
        self.compare_memory(&memory, &mut out);
        if out.is_empty() { Ok(()) } else { Err(out.join("; ")) }
    }
}

/// Where a vector's instruction goes.
fn end(v: &Vector) -> u64 {
    v.after_register("rip").map_or(CODE + v.code.len() as u64, |rip| rip as u64)
}

/// The exception in whose handler a CPU is.
pub(super) fn raised(v: &Vector, after: &CpuState) -> Option<u8> {
    if v.mode == Mode::Real {
        let base = after.segments.seg[1].base;
        return (HANDLERS..HANDLERS + 512).contains(&base).then(|| ((base - HANDLERS) / 16) as u8);
    }
    let handler = after.rip.wrapping_sub(HANDLERS);
    (handler < 512).then_some((handler / 16) as u8)
}

fn page_bits(n: u64) -> u64 {
    // Accessed and dirty, so that the tables do not change.
    match n {
        5 => 0,
        6 => 0x65,
        7 => 0x63,
        _ => 0x67,
    }
}

/// The hidden part that loading `selector` gives.
fn descriptor(selector: u16) -> Segment {
    let d = DESCRIPTORS.get(usize::from(selector >> 3)).copied().unwrap_or(0);
    let limit = (d & 0xffff | (d >> 32) & 0xf_0000) as u32;
    let granular = d >> 55 & 1 != 0;
    Segment {
        selector,
        base: 0,
        limit: if granular { limit << 12 | 0xfff } else { limit },
        rights: (d >> 40 & 0xf0ff) as u32,
    }
}

fn set(s: &mut CpuState, name: &str, value: u128, mode: Mode) {
    let low = value as u64;
    if let Some(n) = GPR_NAMES.iter().position(|g| *g == name) {
        s.gpr[n] = low;
        return;
    }
    if let Some(n) = SEG_NAMES.iter().position(|g| *g == name) {
        let seg = &mut s.segments.seg[n];
        match mode {
            Mode::Real | Mode::V86 => {
                seg.selector = low as u16;
                seg.base = (low & 0xffff) << 4;
            }
            _ if low & 0xfffc == 0 => {
                *seg = Segment { selector: low as u16, rights: 0x1_0000, ..Segment::default() };
            }
            _ => *seg = descriptor(low as u16),
        }
        return;
    }
    let numbered = |prefix: &str| name.strip_prefix(prefix).and_then(|n| n.parse::<usize>().ok());
    let top = usize::from(s.x87.status >> 11 & 7);
    match name {
        "rip" => s.rip = low,
        "flags" => s.rflags = s.rflags & !rflags::ARITHMETIC | low & rflags::ARITHMETIC,
        "rflags" => s.rflags = low | rflags::FIXED,
        "fcw" => s.x87.control = low as u16,
        "fsw" => s.x87.status = low as u16,
        "ftw" => s.x87.valid = low as u8,
        "mxcsr" => s.simd.mxcsr = low as u32,
        "cr0" => s.control.cr0 = low,
        "cr2" => s.control.cr2 = low,
        "cr3" => s.control.cr3 = low,
        "cr4" => s.control.cr4 = low,
        "xcr0" => s.control.xcr0 = low,
        "fop" => s.x87.opcode = low as u16,
        "fip" => s.x87.ip = low,
        "fdp" => s.x87.dp = low,
        "fsbase" => s.segments.seg[4].base = low,
        "gsbase" => s.segments.seg[5].base = low,
        "efer" => s.control.efer = low,
        // Tells which flags are not compared.
        "undef" => {}
        _ => {
            if let Some(n @ 0..8) = numbered("st") {
                let n = (n + top) % 8;
                s.x87.reg[n] = (low, (value >> 64) as u16);
                s.x87.valid |= 1 << n;
            } else if let Some(n @ 0..8) = numbered("mm") {
                s.x87.reg[n] = (low, 0xffff);
                s.x87.valid |= 1 << n;
            } else if let Some(n @ 0..16) = numbered("xmm") {
                s.simd.ymm[n][0] = low;
                s.simd.ymm[n][1] = (value >> 64) as u64;
            } else {
                panic!("there is no register '{name}'");
            }
        }
    }
}
