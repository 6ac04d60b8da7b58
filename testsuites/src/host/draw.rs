//! Draws cases of a form: an encoding, registers, flags, memory.

use iced_x86::{Code, Instruction, MemorySize, Mnemonic, OpKind, Register};
use trine_native::{Case, FX_BYTES, Page, State, WINDOW, page};

use super::{
    encode::{Aim, Encoded, encode, is_branch, is_vsib},
    forms::Form,
    image,
    values::{self, Lane},
};
use crate::{noise::Noise, vectors::window};

const RSP: usize = 4;
/// The first address beyond the pages of code.
const CODE_END: u64 = WINDOW + 0x2000;
const PAGE_BYTES: u64 = 0x1000;

/// A case, and what it was made of.
#[derive(Clone)]
pub(crate) struct Drawn {
    pub(crate) case: Case,
    pub(crate) form: Form,
    pub(crate) encoded: Encoded,
    /// The linear address of the instruction.
    pub(crate) at: u64,
}

/// Draws one case of `form`. `components` are the bits of EDX:EAX that the XSAVE instructions may
/// find set: what else the host's XCR0 has, ours has not. `has_ymm` says that the host has YMM
/// registers.
pub(crate) fn draw(form: Form, components: u64, has_ymm: bool, n: &mut Noise) -> Option<Drawn> {
    let mut d = Drawing::new(form, n);
    let size = memory_bytes(form.code);
    let target = d.place(size, n);
    let branch = d.branch_target(n);
    let aim = Aim {
        rip: d.state.rip,
        memory: target,
        bases: d.bases(),
        branch,
        selector: values::selector(n),
    };
    let encoded = encode(form, &aim, n)?;
    d.registers(n);
    d.special(&encoded.insn, components, n);
    d.operands(&encoded.insn, target, n);
    d.state.fx = image::draw(form.code, n);
    if has_ymm {
        d.state.ymm = image::upper_halves(form.code, n);
    }
    if encoded.insn.is_vsib() {
        d.indices(&encoded.insn, n);
    }
    if form.bits != 64 {
        for register in &mut d.state.gpr {
            *register &= 0xffff_ffff;
        }
        for register in &mut d.state.gpr[8..] {
            *register = 0;
        }
        d.state.fx[160 + 8 * 16..].fill(0);
        d.state.ymm[8 * 16..].fill(0);
    }
    if is_xsave(form.code.mnemonic()) {
        // Its address may have taken the registers of its mask.
        let asked = d.state.gpr[2] << 32 | d.state.gpr[0] & 0xffff_ffff;
        if asked & !components != 0 {
            return None;
        }
    }
    let mut case = Case::new(d.state);
    let at = d.rip_linear;
    // The INT3 behind the instruction stays: what would be executed there is another form.
    let behind = at.wrapping_add(encoded.bytes.len() as u64);
    for (at, bytes) in &d.memory {
        if behind.wrapping_sub(*at) >= bytes.len() as u64 || is_branch(form.code) {
            patch(&mut case, *at, bytes);
        }
    }
    patch(&mut case, at, &encoded.bytes);
    Some(Drawn { case, form, encoded, at })
}

/// Sets what of it lies in pages that are present.
pub(crate) fn patch(case: &mut Case, at: u64, bytes: &[u8]) {
    let mut at = at;
    let mut rest = bytes;
    while !rest.is_empty() {
        let room = (PAGE_BYTES - at % PAGE_BYTES).min(rest.len() as u64) as usize;
        let (now, later) = rest.split_at(room);
        if page(at) != Page::Absent {
            // Without room for it, memory is what it is.
            let _ = case.patch(at, now);
        }
        at = at.wrapping_add(room as u64);
        rest = later;
    }
}

struct Drawing {
    form: Form,
    state: State,
    rip_linear: u64,
    memory: Vec<(u64, Vec<u8>)>,
    /// Few values, so that operands are equal now and then.
    pool: [u64; 4],
}

impl Drawing {
    fn new(form: Form, n: &mut Noise) -> Self {
        let rip_linear = match n.below(40) {
            // Up to the end of the code, and over it.
            0 => CODE_END - 1 - n.below(16),
            1 => WINDOW + PAGE_BYTES - 1 - n.below(16),
            _ => WINDOW + 0x80 + n.below(0x1e00),
        };
        let mut state = State { selectors: selectors(form.bits, n), ..State::default() };
        state.bases = if form.bits == 64 {
            let mut base = || match n.below(6) {
                0 => 0,
                1 => 0x1_3000,
                2 => 0x1_0000_u64.wrapping_neg(),
                3 => n.draw() >> 18,
                4 => n.draw() >> 17 | 0xffff_8000_0000_0000,
                _ => n.below(0x1_0000),
            };
            [base(), base()]
        } else {
            [0; 2]
        };
        let code = window::segment(state.selectors[1]);
        state.rip = rip_linear - if form.bits == 64 { 0 } else { code.base };
        let pool = std::array::from_fn(|_| values::integer(n));
        Self { form, state, rip_linear, memory: Vec::new(), pool }
    }

    /// The segments' bases as addresses use them.
    fn bases(&self) -> [u64; 6] {
        std::array::from_fn(|n| {
            if n >= 4 && self.state.selectors[n] & 0xfffc == 0 {
                self.state.bases[n - 4]
            } else if self.form.bits == 64 && n < 4 {
                0
            } else {
                window::segment(self.state.selectors[n]).base
            }
        })
    }

    /// Where a branch may go, as an offset: INT3 lies there, as a rule.
    fn branch_target(&self, n: &mut Noise) -> u64 {
        let base = self.rip_linear - self.state.rip;
        let linear = match n.below(30) {
            0 => self.place(1, n),
            1 => return values::integer(n),
            2..=12 if self.rip_linear > WINDOW + 0x80 => self.rip_linear - 20 - n.below(90),
            _ => self.rip_linear + 16 + n.below(90),
        };
        linear.wrapping_sub(base)
    }

    /// A linear address for a memory operand of `size` bytes.
    fn place(&self, size: u64, n: &mut Noise) -> u64 {
        const DATA: [u64; 5] = [0x1_3000, 0x1_4000, 0x1_7000, 0x1_8000, 0x1_f000];
        let over = |edge: u64, n: &mut Noise| edge - 1 - n.below(size.max(2) - 1);
        let room = PAGE_BYTES.saturating_sub(size).max(1);
        match n.below(100) {
            0..=52 => n.pick(&DATA) + (n.below(room) & !15),
            53..=60 => n.pick(&DATA) + (n.below(room) & !63),
            61..=74 => n.pick(&DATA) + n.below(room),
            // Over the edge between two pages of data; onto a page that is not there; from one.
            75..=80 => over(n.pick(&[0x1_4000, 0x1_8000]), n),
            81..=83 => over(n.pick(&[0x1_5000, 0x2_0000]), n),
            84 => over(n.pick(&[0x1_3000, 0x1_f000]), n),
            85..=87 => n.pick(&[0x1_5000, 0x1_2000, 0x2_0000, 0xf000]) + n.below(PAGE_BYTES),
            // Read-only pages, and over their edges.
            88..=90 => n.pick(&[0x1_6000, 0x1_9000]) + (n.below(room) & !15),
            91 | 92 => over(n.pick(&[0x1_6000, 0x1_7000, 0x1_9000, 0x1_a000]), n),
            93 | 94 => WINDOW + n.below(0x1ff0),
            // The edges of canonical addresses and of 32 bits, the kernel's half, anywhere.
            95 => over(n.pick(&[1 << 47, 0x8000_0000_0000_0000]), n),
            96 => over(n.pick(&[0xffff_8000_0000_0000, 0]), n).wrapping_add(n.below(2)),
            97 => over(1 << 32, n),
            98 => 0xffff_8000_0000_0000 | n.draw() >> 17,
            _ => n.draw(),
        }
    }

    fn registers(&mut self, n: &mut Noise) {
        for register in 0..16 {
            self.state.gpr[register] = match n.below(4) {
                0 => n.pick(&self.pool),
                _ => values::integer(n),
            };
        }
        let stack = if n.below(12) == 0 { self.place(8, n) } else { self.stack_place(n) };
        let base = window::segment(self.state.selectors[2]).base;
        self.state.gpr[RSP] = if self.form.bits == 64 { stack } else { stack.wrapping_sub(base) };
        let mut words = [0; 96];
        for word in words.chunks_exact_mut(8) {
            let value = if n.once_in(4) { n.pick(&self.pool) } else { values::integer(n) };
            word.copy_from_slice(&value.to_le_bytes());
        }
        self.memory.push((stack.wrapping_sub(16), words.to_vec()));
        let arithmetic = n.draw() & 0x8d5;
        let mut flags = 0x202 | arithmetic;
        let rare = [(10, 4), (18, 24), (21, 12), (14, 30), (8, 150)];
        for (bit, times) in rare {
            flags |= u64::from(n.once_in(times)) << bit;
        }
        self.state.rflags = flags;
    }

    fn stack_place(&self, n: &mut Noise) -> u64 {
        let at = 0x1_8200 + n.below(0xb00);
        if n.once_in(6) { at } else { at & !7 }
    }
}

/// ES, CS, SS, DS, FS, GS.
fn selectors(bits: u32, n: &mut Noise) -> [u16; 6] {
    const OTHERS: [u16; 4] = [0x07, 0x0f, 0x17, 0x27];
    match bits {
        64 => {
            let mut null = || if n.once_in(20) { 0 } else { 0x2b };
            [null(), window::USER_CODE64, 0x2b, null(), 0, 0]
        }
        32 => {
            let mut data = || if n.once_in(6) { n.pick(&OTHERS) } else { 0x2b };
            let (es, ds) = (data(), data());
            let fs = n.pick(&[0, 0x07, 0x0f, 0x17, 0x2b]);
            let gs = n.pick(&[0, 0x07, 0x0f, 0x17, 0x2b]);
            let cs = if n.once_in(8) { 0x47 } else { window::USER_CODE32 };
            let ss = if n.once_in(10) { n.pick(&[0x07, 0x17, 0x27]) } else { 0x2b };
            [es, cs, ss, ds, fs, gs]
        }
        _ => {
            let whole = window::LOCAL_DATA16;
            let mut data = || if n.once_in(8) { n.pick(&[0x07, 0x0f, 0x2f]) } else { whole };
            let (es, ds, fs, gs) = (data(), data(), data(), data());
            let ss = if n.once_in(10) { n.pick(&[0x07, 0x2b, 0x2f]) } else { whole };
            [es, window::LOCAL_CODE16, ss, ds, fs, gs]
        }
    }
}

/// Bytes that the form reads or writes.
pub(crate) fn memory_bytes(code: Code) -> u64 {
    match code.op_code().memory_size().size() as u64 {
        0 if is_xsave(code.mnemonic()) => 832,
        0 => 8,
        // Elements of a gather lie here and there.
        _ if code.op_code().op_kinds().iter().any(|k| is_vsib(*k)) => 64,
        size => size,
    }
}

pub(crate) fn is_xsave(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Xsave
            | M::Xsave64
            | M::Xsavec
            | M::Xsavec64
            | M::Xsaveopt
            | M::Xsaveopt64
            | M::Xrstor
            | M::Xrstor64
    )
}

/// What the memory operand's bytes mean.
pub(crate) fn lane_of(size: MemorySize) -> Lane {
    match size.element_type() {
        MemorySize::Float16 => Lane::F16,
        MemorySize::Float32 => Lane::F32,
        MemorySize::Float64 => Lane::F64,
        MemorySize::Float80 => Lane::F80,
        MemorySize::Bcd => Lane::Bcd,
        MemorySize::UInt8 | MemorySize::Int8 => Lane::Byte,
        _ => Lane::Integer,
    }
}

impl Drawing {
    /// What the mnemonic makes interesting.
    fn special(&mut self, insn: &Instruction, components: u64, n: &mut Noise) {
        use Mnemonic as M;
        let pool = self.pool;
        let gpr = &mut self.state.gpr;
        match insn.mnemonic() {
            M::Div | M::Idiv if !n.once_in(3) => {
                gpr[2] = if n.once_in(2) { 0 } else { ((gpr[0] as i64) >> 63) as u64 };
            }
            M::Shl | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
                if !n.once_in(4) =>
            {
                gpr[1] = gpr[1] & !0xff | n.below(70);
            }
            M::Loop | M::Loope | M::Loopne | M::Jcxz | M::Jecxz | M::Jrcxz if !n.once_in(3) => {
                gpr[1] = n.below(3);
            }
            M::Bt | M::Bts | M::Btr | M::Btc => {
                for register in gpr.iter_mut() {
                    if !n.once_in(3) {
                        *register = n.below(0x400).wrapping_sub(0x200);
                    }
                }
            }
            M::Pcmpestri | M::Pcmpestrm | M::Pcmpestri64 | M::Pcmpestrm64 => {
                for register in [0, 2] {
                    if !n.once_in(4) {
                        gpr[register] = n.below(40).wrapping_sub(20);
                    }
                }
            }
            M::Enter => gpr[5] = gpr[RSP].wrapping_add(n.below(64) * 8),
            M::Leave => gpr[5] = gpr[RSP].wrapping_add(n.below(0x40)),
            M::Lsl | M::Lar | M::Verr | M::Verw | M::Mov | M::Pop if reads_selector(insn) => {
                for register in gpr.iter_mut() {
                    *register = *register & !0xffff | u64::from(values::selector(n));
                }
            }
            m if is_xsave(m) => {
                gpr[0] = gpr[0] & !0xffff_ffff | n.draw() & components & 0xffff_ffff;
                gpr[2] = gpr[2] & !0xffff_ffff | n.draw() & components >> 32;
            }
            M::Cmpxchg | M::Cmpxchg8b | M::Cmpxchg16b if n.once_in(2) => gpr[0] = pool[0],
            _ => {}
        }
        if matches!(insn.code().mnemonic(), M::Retf | M::Iret | M::Iretd | M::Iretq)
            || is_branch(insn.code())
            || reads_selector(insn)
        {
            self.transfer(insn, n);
        }
        // Where IRET raises #AC, Linux takes it for a split lock and tries again, for ever
        // (arch/x86/kernel/traps.c, exc_alignment_check): AC is not as it was. So it is set in
        // aligned frames only.
        if matches!(insn.mnemonic(), M::Iret | M::Iretd | M::Iretq) {
            self.state.rflags &= !(1 << 18);
        }
        // MOV SS and POP SS hold back single steps, over an INT3.
        if reads_selector(insn) {
            self.state.rflags &= !(1 << 8);
        }
    }

    /// Registers and the stack say where to go.
    fn transfer(&mut self, insn: &Instruction, n: &mut Noise) {
        use Mnemonic as M;
        let target = self.branch_target(n);
        if matches!(insn.mnemonic(), M::Jmp | M::Call) {
            for register in (0..16).filter(|r| *r != RSP) {
                if n.once_in(2) {
                    self.state.gpr[register] = target;
                }
            }
        }
        let slot = match (insn.mnemonic(), insn.code()) {
            (M::Ret, Code::Retnw | Code::Retnw_imm16) => 2,
            (M::Ret, Code::Retnd | Code::Retnd_imm16) => 4,
            (M::Ret, _) => 8,
            (M::Retf, Code::Retfw | Code::Retfw_imm16) | (M::Iret, _) => 2,
            (M::Retf, Code::Retfd | Code::Retfd_imm16) | (M::Iretd, _) => 4,
            (M::Pop, _) => insn.stack_pointer_increment().unsigned_abs() as usize,
            _ => 8,
        };
        let mut words = Vec::new();
        let code = match n.below(8) {
            0 => values::selector(n),
            1 => n.pick(&[0x23, 0x33, 0x47, 0x1f]),
            _ => self.state.selectors[1],
        };
        let flags = values::integer(n) & 0x0035_4fd5 | n.below(2) << 9;
        let stack = self.stack_place(n);
        let data = if n.once_in(2) { self.state.selectors[2] } else { values::selector(n) };
        let aligned = self.state.gpr[RSP].is_multiple_of(8);
        let flags = if aligned { flags } else { flags & !(1 << 18) };
        let mut frame = [target, code.into(), flags, stack, data.into()];
        if matches!(insn.mnemonic(), M::Retf) {
            frame = [target, code.into(), stack, data.into(), 0];
        } else if matches!(insn.mnemonic(), M::Pop) {
            frame = [u64::from(values::selector(n)); 5];
        }
        for word in frame {
            words.extend(&word.to_le_bytes()[..slot.clamp(2, 8)]);
        }
        let base =
            if self.form.bits == 64 { 0 } else { window::segment(self.state.selectors[2]).base };
        let mut top = self.state.gpr[RSP].wrapping_add(base);
        if self.form.bits != 64 {
            top &= 0xffff_ffff;
        }
        self.memory.push((top, words));
    }

    /// Memory operands: the registers that make them up, and what lies there.
    fn operands(&mut self, insn: &Instruction, target: u64, n: &mut Noise) {
        for operand in 0..insn.op_count() {
            match insn.op_kind(operand) {
                OpKind::Memory => self.solve(insn, target, n),
                OpKind::MemorySegSI | OpKind::MemorySegESI | OpKind::MemorySegRSI => {
                    self.string(6, insn.memory_segment(), insn, n);
                }
                OpKind::MemoryESDI | OpKind::MemoryESEDI | OpKind::MemoryESRDI => {
                    self.string(7, Register::ES, insn, n);
                }
                OpKind::MemorySegDI | OpKind::MemorySegEDI | OpKind::MemorySegRDI => {
                    self.string(7, insn.memory_segment(), insn, n);
                }
                _ => {}
            }
        }
        if insn.is_string_instruction() {
            let count = match n.below(8) {
                0 => 0,
                1..=5 => n.below(9),
                _ => n.below(72),
            };
            // Bits that are not part of the count, where addresses are narrower.
            let above = if n.once_in(3) { values::integer(n) } else { 0 };
            let bits = address_bits(insn);
            let mask = if bits == 64 { 0 } else { !0 << bits };
            self.state.gpr[1] = count | above & mask;
        }
    }

    fn string(&mut self, register: usize, segment: Register, insn: &Instruction, n: &mut Noise) {
        let size = insn.memory_size().size().max(1) as u64;
        let target = self.place(size, n);
        let base = self.bases()[segment_number(segment)];
        let bits = address_bits(insn);
        let mask = if bits == 64 { !0 } else { (1 << bits) - 1 };
        let above = if n.once_in(3) { values::integer(n) & !mask } else { 0 };
        self.state.gpr[register] = target.wrapping_sub(base) & mask | above;
        let some = [0, self.state.gpr[0] as u8, n.byte(), n.byte()];
        let bytes = (0..160).map(|_| n.pick(&some)).collect();
        self.memory.push((target.wrapping_sub(80), bytes));
    }

    /// Sets the address's registers so that it is `target`, and memory there.
    fn solve(&mut self, insn: &Instruction, target: u64, n: &mut Noise) {
        let (base, mut index) = (insn.memory_base(), insn.memory_index());
        if insn.is_vsib() {
            // Its lanes come later, near zero as a rule.
            index = Register::None;
        }
        let linear_base = self.bases()[segment_number(insn.memory_segment())];
        let offset = target.wrapping_sub(linear_base);
        let scale = u64::from(insn.memory_index_scale());
        let displacement = insn.memory_displacement64();
        let wanted = offset.wrapping_sub(displacement);
        let slot =
            |r: Register| (r != Register::None && !r.is_ip()).then(|| r.full_register().number());
        let (base_slot, index_slot) = (slot(base), slot(index));
        let gpr = &mut self.state.gpr;
        match (base_slot, index_slot) {
            // XLAT's index is AL.
            (Some(b), Some(i)) if b != i => {
                let value = match index.size() {
                    1 => gpr[i] & 0xff,
                    2 => gpr[i] & 0xffff,
                    _ => gpr[i],
                };
                gpr[b] = wanted.wrapping_sub(value.wrapping_mul(scale));
            }
            (Some(b), Some(_)) => gpr[b] = wanted / (scale + 1),
            (Some(b), None) => gpr[b] = wanted,
            (None, Some(i)) => gpr[i] = wanted / scale.max(1),
            (None, None) => {}
        }
        self.contents(insn, target, n);
    }

    /// The lanes of a gather's index register: near zero, as a rule.
    fn indices(&mut self, insn: &Instruction, n: &mut Noise) {
        let register = insn.memory_index().number();
        let wide = insn.is_vsib64();
        let mut near = || match n.below(40) {
            0 => values::integer(n),
            1 => n.below(0x2000).wrapping_sub(0x1000),
            _ => n.below(20).wrapping_sub(6),
        };
        let mut quadword = || if wide { near() } else { near() << 32 | near() & 0xffff_ffff };
        let at = 16 * register;
        for place in self.state.fx[160 + at..176 + at].chunks_exact_mut(8) {
            place.copy_from_slice(&quadword().to_le_bytes());
        }
        for place in self.state.ymm[at..at + 16].chunks_exact_mut(8) {
            place.copy_from_slice(&quadword().to_le_bytes());
        }
    }

    /// What lies at the memory operand.
    fn contents(&mut self, insn: &Instruction, target: u64, n: &mut Noise) {
        use Mnemonic as M;
        let size = memory_bytes(insn.code()) as usize;
        let mut bytes: Vec<u8> = Vec::new();
        let lane = lane_of(insn.memory_size());
        while bytes.len() < size {
            bytes.extend(values::lanes(lane, n).to_le_bytes());
        }
        bytes.truncate(size);
        let gpr = &self.state.gpr;
        let mut put = |from: &[u8]| {
            let len = from.len().min(bytes.len());
            bytes[..len].copy_from_slice(&from[..len]);
        };
        match insn.mnemonic() {
            M::Cmpxchg | M::Cmpxchg8b if n.once_in(2) => {
                put(&gpr[0].to_le_bytes());
                if insn.mnemonic() == M::Cmpxchg8b {
                    let both = gpr[2] << 32 | gpr[0] & 0xffff_ffff;
                    put(&both.to_le_bytes());
                }
            }
            M::Cmpxchg16b if n.once_in(2) => {
                put(&(u128::from(gpr[2]) << 64 | u128::from(gpr[0])).to_le_bytes());
            }
            M::Ldmxcsr => put(&image::mxcsr(n).to_le_bytes()),
            M::Fldcw => put(&image::control(n).to_le_bytes()),
            M::Fxrstor | M::Fxrstor64 => put(&image::draw(insn.code(), n)),
            M::Xrstor | M::Xrstor64 => put(&image::xsave_area(insn.code(), n)),
            M::Fldenv | M::Frstor => {
                put(&image::environment(size == 14 || size == 94, n));
            }
            M::Jmp | M::Call => {
                let branch = self.branch_target(n);
                put(&branch.to_le_bytes()[..size.min(8)]);
                if insn.is_jmp_far_indirect() || insn.is_call_far_indirect() {
                    put(&far_pointer(branch, size, self.state.selectors[1], n));
                }
            }
            M::Les | M::Lds | M::Lss | M::Lfs | M::Lgs => {
                put(&far_pointer(values::integer(n), size, 0x2b, n));
            }
            M::Lsl | M::Lar | M::Verr | M::Verw | M::Mov if reads_selector(insn) => {
                put(&values::selector(n).to_le_bytes());
            }
            M::Bound => {
                let low = n.below(64).wrapping_sub(32);
                put(&low.to_le_bytes()[..size / 2]);
            }
            _ if n.once_in(4) => {
                let pool = n.pick(&self.pool);
                put(&pool.to_le_bytes());
            }
            _ => {}
        }
        self.memory.push((target, bytes));
    }
}

fn far_pointer(offset: u64, size: usize, usual: u16, n: &mut Noise) -> Vec<u8> {
    let mut out = offset.to_le_bytes()[..size.saturating_sub(2).min(8)].to_vec();
    let selector = if n.once_in(2) { usual } else { values::selector(n) };
    out.extend(selector.to_le_bytes());
    out
}

fn segment_number(segment: Register) -> usize {
    match segment {
        Register::ES => 0,
        Register::CS => 1,
        Register::SS => 2,
        Register::FS => 4,
        Register::GS => 5,
        _ => 3,
    }
}

/// Whether a general register or memory operand is a selector.
pub(crate) fn reads_selector(insn: &Instruction) -> bool {
    use Mnemonic as M;
    match insn.mnemonic() {
        M::Lsl | M::Lar | M::Verr | M::Verw | M::Les | M::Lds | M::Lss | M::Lfs | M::Lgs => true,
        M::Mov | M::Pop => insn.op0_register().is_segment_register(),
        _ => false,
    }
}

/// The address size of a string instruction.
fn address_bits(insn: &Instruction) -> u32 {
    use OpKind as O;
    for operand in 0..insn.op_count() {
        match insn.op_kind(operand) {
            O::MemorySegSI | O::MemoryESDI | O::MemorySegDI => return 16,
            O::MemorySegESI | O::MemoryESEDI | O::MemorySegEDI => return 32,
            _ => {}
        }
    }
    64
}

/// An image that is all of FXSAVE's fields.
pub(crate) type Image = [u8; FX_BYTES];
