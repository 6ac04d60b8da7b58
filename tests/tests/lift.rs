//! Every hot form of instruction, lifted, in every kind of mode.
//!
//! The evaluator holds what was lifted against the rules that stand at the head of
//! `trine_x86::Sem` (nothing of the state changes before the last operation that may stop) and
//! against what the table says of stores and branches. Then it runs it, and so does this host's
//! backend, if there is one: from random states they must do what the interpreter does.
//!
//! `TRINE_FORMS=N` runs every Nth form only.

use std::{collections::HashSet, num::NonZeroU64, sync::Arc};

use trine_engine::{Budget, CpuModel, CpuState, Engine, NoBus, Vcpu};
use trine_guest::{Gpa, Ram};
use trine_interp::Interp;
use trine_testsuites::noise::Noise;
use trine_translate::Translate;
use trine_x86::{
    Decoded, Decoder, Insn, Mode, Pick, Seg, Segment, Semantics, Width, cr0, cr4, efer, pick,
    rflags, slot,
};

const CODE: u64 = 0x1000;
const RAM_BYTES: u64 = 2 << 20;
/// Two tables that map all addresses below 4 GiB as they are.
const ROOT: u64 = RAM_BYTES - 0x1000;
const GIGABYTES: u64 = RAM_BYTES - 0x2000;

/// Encodings that hold every hot form: opcodes with each ModRM.reg, operand kind and prefix.
fn encodings() -> Vec<Vec<u8>> {
    let prefixes: [&[u8]; 7] = [&[], &[0x66], &[0xf0], &[0xf3], &[0xf2], &[0x66, 0xf0], &[0x67]];
    let rex: [&[u8]; 3] = [&[], &[0x48], &[0x4d]];
    let mut heads: Vec<Vec<u8>> = Vec::new();
    for prefix in prefixes {
        for rex in rex {
            let head = [prefix, rex].concat();
            for opcode in 0..=255_u8 {
                heads.push([&head[..], &[opcode]].concat());
                heads.push([&head[..], &[0x0f, opcode]].concat());
                if opcode >= 0xf0 {
                    heads.push([&head[..], &[0x0f, 0x38, opcode]].concat());
                }
            }
        }
    }
    // BMI1 and BMI2, with both widths.
    for opcode in 0xf0..=0xf7_u8 {
        for pp in 0..4 {
            for w in [0, 0x80] {
                heads.push(vec![0xc4, 0xe2, 0x60 | w | pp, opcode]);
                heads.push(vec![0xc4, 0xe3, 0x78 | w | pp, opcode]);
            }
        }
    }
    let mut all = Vec::new();
    for head in heads {
        for reg in 0..8 {
            // Registers; [ebx]; [ebx + ecx * 4 + 10h]; an address alone.
            for rest in [
                &[0xc3 | reg << 3, 0x13, 0x22, 0x83, 0x14, 0x25, 0x36, 0x47][..],
                &[0x03 | reg << 3, 0x03, 0x22, 0x83, 0x14, 0x25, 0x36, 0x47],
                &[0x44 | reg << 3, 0x8b, 0x10, 0x05, 0x14, 0x25, 0x36, 0x47, 0x11],
                &[0x05 | reg << 3, 0x40, 0x10, 0x01, 0x00, 0x25, 0x36, 0x47, 0x11],
            ] {
                all.push([&head[..], rest].concat());
            }
        }
    }
    all
}

/// Whether an instruction is written in the primitives.
struct IsHot;

impl Pick for IsHot {
    type Out = bool;

    fn pick<T: Semantics>(self) -> bool {
        !T::COLD
    }
}

/// The hot forms among the encodings, each once, with their bytes; how many instructions they are.
fn hot_forms(model: &CpuModel, mode: Mode, mut each: impl FnMut(&Insn, &[u8])) -> usize {
    let decoder = Decoder::new(model);
    let (mut seen, mut codes) = (HashSet::new(), HashSet::new());
    for bytes in encodings() {
        let Decoded::Insn(i) = decoder.decode(&bytes, mode, CODE, 0) else { continue };
        let kinds = i.ops.map(|op| op == slot::MEM);
        let form = (i.code, kinds, i.address_width() as u8, i.lock(), i.flat());
        if seen.insert((form, i.rep(), i.repne(), bytes[bytes.len() - 8])) && pick(&i, IsHot) {
            codes.insert(i.code);
            each(&i, &bytes[..usize::from(i.len)]);
        }
    }
    codes.len()
}

/// A kind of mode; flat or not, as [`Mode`] has it.
#[derive(Clone, Copy, Debug)]
struct Kind {
    code: Width,
    stack: Width,
    flat: bool,
    protected: bool,
}

impl Kind {
    fn mode(self) -> Mode {
        Mode::new(self.code, self.stack, self.flat, self.protected)
    }

    /// A vCPU in that mode without interrupts; in 64-bit mode it checks alignment unless it is flat.
    fn state(self, model: &CpuModel) -> CpuState {
        let mut s = CpuState::reset(model, 0);
        (s.rip, s.rflags) = (CODE, rflags::FIXED);
        s.segments.idtr.limit = if self.protected { 0 } else { 0xffff };
        let (base, limit) = if self.flat { (0, u32::MAX) } else { (0x30, 0x1f_ffff) };
        let big = |w: Width| if w >= Width::W32 { 0x4000 } else { 0 };
        let data = Segment { selector: 0x10, base, limit, rights: 0x8093 | big(self.stack) };
        s.segments.seg = [data; 6];
        let rights = if self.code == Width::W64 { 0xa09b } else { 0x809b | big(self.code) };
        s.segments.seg[Seg::Cs as usize] =
            Segment { selector: 8, base: 0, limit: u32::MAX, rights };
        if !self.protected {
            for seg in &mut s.segments.seg {
                (seg.base, seg.limit) = (0, 0xffff);
            }
            return s;
        }
        s.control.cr0 = cr0::PE | cr0::ET;
        if self.code == Width::W64 {
            s.control.cr0 |= cr0::PG;
            s.control.cr4 = cr4::PAE;
            s.control.efer = efer::LME | efer::LMA;
            s.control.cr3 = ROOT;
            if !self.flat {
                s.control.cr0 |= cr0::AM;
                s.rflags |= rflags::AC;
                s.segments.seg.iter_mut().for_each(|seg| seg.rights |= 3 << 5);
            }
        }
        s
    }

    /// The same with random flags, and registers that point into RAM whatever is added to them.
    fn random(self, model: &CpuModel, noise: &mut Noise) -> CpuState {
        let mut s = self.state(model);
        for reg in &mut s.gpr {
            *reg = 0x10_0000 + noise.draw() % 0x4_0000;
        }
        // What no operand is based on may be anything.
        for n in [0, 2] {
            s.gpr[n] = match noise.draw() % 4 {
                0 => u64::MAX,
                1 => 1 << (noise.draw() % 64),
                _ => noise.draw(),
            };
            if self.code != Width::W64 {
                s.gpr[n] &= 0xffff_ffff;
            }
        }
        s.rflags |= noise.draw() & rflags::ARITHMETIC;
        s
    }
}

/// An engine and its guest. All guests are the same, from the first case to the last.
struct Bench {
    name: &'static str,
    ram: Arc<Ram>,
    vcpu: Box<dyn Vcpu>,
}

impl Bench {
    fn new(model: &CpuModel, make: impl Fn(Arc<Ram>) -> Box<dyn Engine>) -> Self {
        let ram = Arc::new(Ram::flat(RAM_BYTES).expect("2 MiB"));
        let mut noise = Noise::new(1);
        let fill: Vec<u8> = (0..RAM_BYTES / 8).flat_map(|_| noise.draw().to_le_bytes()).collect();
        ram.write(Gpa(0), &fill).expect("in RAM");
        for n in 0..4 {
            let entry = n << 30 | 0xe7;
            ram.write(Gpa(GIGABYTES + 8 * n), &entry.to_le_bytes()).expect("in RAM");
        }
        ram.write(Gpa(ROOT), &(GIGABYTES | 0x27).to_le_bytes()).expect("in RAM");
        ram.take_dirty();
        let engine = make(ram.clone());
        let vcpu = engine.create_vcpu(0, model, Arc::new(NoBus::default())).expect("a vCPU");
        Self { name: engine.name(), ram, vcpu }
    }

    /// One instruction: how it ends, the state behind it, and the pages that it has changed.
    fn run(&mut self, bytes: &[u8], before: &CpuState) -> (String, CpuState, Vec<Page>) {
        self.ram.write(Gpa(CODE), bytes).expect("in RAM");
        self.vcpu.set_state(before).expect("a state");
        let exit = self.vcpu.run(Budget::Instructions(NonZeroU64::MIN)).expect("no failure");
        let page = |at: u64| {
            let mut page = vec![0; 0x1000];
            self.ram.read(Gpa(at), &mut page).expect("in RAM");
            (at, page)
        };
        let dirty = self.ram.take_dirty().into_iter().map(page).collect();
        (format!("{exit:?}"), self.vcpu.state().expect("no failure"), dirty)
    }
}

/// A page's address and bytes.
type Page = (u64, Vec<u8>);

#[test]
fn hot_forms_do_what_the_interpreter_does() {
    let model = CpuModel::named("max").expect("there is a model 'max'");
    let mut interp = Bench::new(&model, |ram| Box::new(Interp::new(ram)));
    let mut lifted = vec![Bench::new(&model, |ram| {
        Box::new(Translate::evaluated(ram).expect("it runs anywhere").eager(1))
    })];
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        lifted.push(Bench::new(&model, |ram| {
            Box::new(Translate::new(ram).expect("it makes code for this host").eager(1))
        }));
    }
    let share = std::env::var("TRINE_FORMS").map_or(1, |text| text.parse().expect("a number"));
    let mut noise = Noise::new(2);
    let (mut forms, mut runs) = (0_u64, 0);
    let kind = |code, stack, flat, protected| Kind { code, stack, flat, protected };
    use Width::{W16, W32, W64};
    for kind in [
        kind(W16, W16, false, false),
        kind(W16, W16, false, true),
        kind(W16, W32, true, true),
        kind(W32, W32, true, true),
        kind(W32, W32, false, true),
        kind(W32, W16, false, true),
        kind(W64, W64, true, true),
        kind(W64, W64, false, true),
    ] {
        let codes = hot_forms(&model, kind.mode(), |i, bytes| {
            forms += 1;
            if !forms.is_multiple_of(share) {
                return;
            }
            let before = kind.random(&model, &mut noise);
            let wanted = interp.run(bytes, &before);
            for bench in &mut lifted {
                let got = bench.run(bytes, &before);
                let what = || format!("{:?} {bytes:x?} on {} in {kind:?}", i.code, bench.name);
                assert_eq!(got.0, wanted.0, "{}: its end", what());
                assert_eq!(got.1, wanted.1, "{}: the state, from {before:x?}", what());
                assert!(got.2 == wanted.2, "{}: memory, from {before:x?}", what());
            }
            runs += 1;
        });
        println!("{codes} hot instructions in {kind:?}");
        assert!(codes > 300, "{codes} in {kind:?}");
    }
    for bench in &lifted {
        // Whoever stops enters a block in the interpreter, too.
        let entered = bench.vcpu.stats().blocks_entered;
        println!("{runs} runs on {}, {entered} blocks entered", bench.name);
        assert!(entered < runs * 3 / 2, "{} leaves most to the interpreter", bench.name);
    }
}
