//! The semantics are generic over what a value is: here a value is a number in a list of
//! operations, as a translator's lifter has it.
//!
//! Every hot form of instruction is recorded. The lists keep the rules that stand at the head of
//! `trine_x86::Sem`: nothing of the state changes before the last operation that may stop, and what
//! the table says of stores and branches is true. Then the lists are evaluated, with flags and
//! arithmetic written down a second time, and must do what the interpreter does.

mod machine;
mod record;

use std::{collections::HashSet, num::NonZeroU64, sync::Arc};

use trine_engine::{Budget, CpuModel, CpuState, Engine, Exit, Vcpu};
use trine_guest::{Gpa, Ram};
use trine_testsuites::{noise::Noise, vectors::NoBus};
use trine_x86::{
    Decoded, Decoder, Insn, Mode, Seg, Segment, Width, cr0, cr4, efer, pick, rflags, slot,
};

use machine::Machine;
use record::{Lift, Lifted, Op};

const CODE: u64 = 0x1000;
const RAM_BYTES: u64 = 8 << 20;

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

/// Everything flat, 32 or 64 bits wide, without interrupts.
fn state(model: &CpuModel, long: bool) -> CpuState {
    let mut s = CpuState::reset(model, 0);
    let code = if long { 0xa09b } else { 0xc09b };
    s.segments.seg = [Segment { selector: 0x10, base: 0, limit: u32::MAX, rights: 0xc093 }; 6];
    s.segments.seg[1] = Segment { selector: 8, base: 0, limit: u32::MAX, rights: code };
    s.segments.idtr.limit = 0;
    s.control.cr0 = cr0::PE | cr0::ET;
    if long {
        s.control.cr0 |= cr0::PG;
        s.control.cr4 = cr4::PAE;
        s.control.efer = efer::LME | efer::LMA;
        s.control.cr3 = RAM_BYTES - 0x1000;
    }
    s.rip = CODE;
    s
}

/// The hot forms among the encodings, each once, with their lists and bytes.
fn hot_forms(mode: Mode, mut each: impl FnMut(&Insn, &Lifted, &[u8])) -> usize {
    let decoder = Decoder::new(&CpuModel::named("max").expect("there is a model 'max'"));
    let (mut seen, mut codes) = (HashSet::new(), HashSet::new());
    for bytes in encodings() {
        let Decoded::Insn(i) = decoder.decode(&bytes, mode, CODE, 0) else { continue };
        let kinds = i.ops.map(|op| op == slot::MEM);
        let form = (i.code, kinds, i.address_width() as u8, i.lock(), i.flat());
        if !seen.insert((form, i.rep(), i.repne(), bytes[bytes.len() - 8])) {
            continue;
        }
        if let Some(lifted) = pick(&i, Lift(&i)) {
            codes.insert(i.code);
            each(&i, &lifted, &bytes[..usize::from(i.len)]);
        }
    }
    codes.len()
}

fn name(i: &Insn, bytes: &[u8]) -> String {
    format!("{:?} {bytes:x?} in {:?}", i.code, i.mode)
}

#[test]
fn every_hot_form_checks_then_commits() {
    use Width::{W16, W32, W64};
    for (code, stack, flat, protected) in [
        (W16, W16, false, false),
        (W16, W16, false, true),
        (W16, W32, true, true),
        (W32, W32, true, true),
        (W32, W32, false, true),
        (W32, W16, false, true),
        (W64, W64, true, true),
        (W64, W64, false, true),
    ] {
        let mode = Mode::new(code, stack, flat, protected);
        let codes = hot_forms(mode, |i, lifted, bytes| lifted.check(&name(i, bytes)));
        println!("{codes} hot instructions in {mode:?}");
        assert!(codes > 300, "{codes} in {mode:?}");
    }
}

/// The interpreter, and what it is compared on.
struct Bench {
    model: CpuModel,
    ram: Arc<Ram>,
    vcpu: Box<dyn Vcpu>,
    noise: Noise,
    compared: usize,
    /// Jumps to where there is no memory.
    stopped: usize,
    /// Operands that are not in RAM.
    skipped: usize,
}

impl Bench {
    fn new() -> Self {
        let model = CpuModel::named("max").expect("there is a model 'max'");
        let ram = Arc::new(Ram::flat(RAM_BYTES).expect("8 MiB"));
        let mut noise = Noise::new(1);
        let fill: Vec<u8> = (0..RAM_BYTES / 8).flat_map(|_| noise.draw().to_le_bytes()).collect();
        ram.write(Gpa(0), &fill).expect("in RAM");
        // Identity by gigabytes; the table of the first level is the last page.
        for n in 0..4 {
            let entry = n << 30 | 0xe7;
            ram.write(Gpa(RAM_BYTES - 0x2000 + 8 * n), &entry.to_le_bytes()).expect("in RAM");
        }
        let root = (RAM_BYTES - 0x2000) | 0x27;
        ram.write(Gpa(RAM_BYTES - 0x1000), &root.to_le_bytes()).expect("in RAM");
        let vcpu = trine_interp::Interp::new(ram.clone())
            .create_vcpu(0, &model, Arc::new(NoBus))
            .expect("the interpreter runs anywhere");
        Self { model, ram, vcpu, noise, compared: 0, stopped: 0, skipped: 0 }
    }

    /// Runs one instruction both ways.
    fn compare(&mut self, i: &Insn, lifted: &Lifted, bytes: &[u8]) {
        let what = name(i, bytes);
        let before = random(&self.model, i.mode.is_64(), &mut self.noise);
        self.ram.write(Gpa(CODE), bytes).expect("in RAM");
        let mut machine = Machine::new(&before, CODE, i, &self.ram);
        machine.run(&lifted.ops);
        // Absolute addresses may be anywhere, the paging tables are not to change.
        let harms = |(at, _): &(u64, Vec<u8>)| !(0x2000..RAM_BYTES - 0x3000).contains(at);
        if machine.outside.get() || machine.stores.iter().any(harms) {
            self.skipped += 1;
            return;
        }
        self.vcpu.set_state(&before).expect("a state");
        let exit = self.vcpu.run(Budget::Instructions(NonZeroU64::MIN)).expect("no failure");
        if exit != Exit::Budget {
            // The one thing that can fault here.
            let jumps = lifted.ops.iter().any(|op| matches!(op, Op::Jump(..)));
            assert!(jumps, "{what}: {exit:?}");
            self.stopped += 1;
            return;
        }
        let after = self.vcpu.state().expect("no failure");
        assert_eq!(after.gpr, machine.regs[..16], "{what}: registers, from {:x?}", before.gpr);
        assert_eq!(after.rip, machine.rip, "{what}: RIP");
        let flags = after.rflags & rflags::ARITHMETIC;
        assert_eq!(flags, machine.flags, "{what}: flags, from {:x?}", before.gpr);
        for (at, data) in &machine.stores {
            let mut now = vec![0; data.len()];
            self.ram.read(Gpa(*at), &mut now).expect("in RAM");
            assert_eq!(now, *data, "{what}: memory at {at:x}");
        }
        self.compared += 1;
    }
}

#[test]
fn lists_do_what_the_interpreter_does() {
    let mut bench = Bench::new();
    for width in [Width::W32, Width::W64] {
        hot_forms(Mode::new(width, width, true, true), |i, lifted, bytes| {
            // Nothing may be stored through CS in protected mode.
            if i.seg() != Seg::Cs || i.mode.is_64() {
                for _ in 0..4 {
                    bench.compare(i, lifted, bytes);
                }
            }
        });
    }
    let Bench { compared, stopped, skipped, .. } = bench;
    println!("{compared} runs compared, {stopped} jumps to nowhere, {skipped} operands");
    assert!(compared > 50_000 && stopped + skipped < compared / 10, "{compared} compared");
}

/// Random flags, and registers that point into RAM whatever is added to them.
fn random(model: &CpuModel, long: bool, noise: &mut Noise) -> CpuState {
    let mut s = state(model, long);
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
        if !long {
            s.gpr[n] &= 0xffff_ffff;
        }
    }
    s.rflags = rflags::FIXED | noise.draw() & rflags::ARITHMETIC;
    s
}
