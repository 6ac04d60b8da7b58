//! Random programs of legacy vector instructions: what one leaves behind is what the next begins
//! with, wherever an engine keeps it.
//!
//! `TRINE_MIXTURES=N` runs N programs, others each time that N changes.

use trine_engine::{CpuState, Exit};
use trine_testsuites::noise::Noise;
use trine_x86::{Decoded, Decoder, Mode, Width};

use crate::{ENGINES, Guest, model};

/// Where R14 points to; a word for LDMXCSR is in front of it.
const DATA: u64 = 0x8100;
const R13: usize = 13;
const R14: usize = 14;
/// MXCSR after reset: everything is masked.
const MASKED: u64 = 0x1f80;

/// A number's bits, often of those at which something changes.
fn number(noise: &mut Noise, exponent_bits: u32, fraction_bits: u32) -> u64 {
    let most = (1 << exponent_bits) - 1;
    let one = most >> 1;
    let exponent = match noise.below(16) {
        0 => noise.pick(&[0, 0, 1, most, most - 1]),
        1 => noise.below(most),
        // About as large as an integer can be.
        2 => one + noise.pick(&[31_u64, 32, 63]).min(one),
        3 => one + noise.below(u64::from(fraction_bits)).min(one),
        _ => one + noise.below(6) - 3,
    };
    let whole = (1 << fraction_bits) - 1;
    let fraction = match noise.below(6) {
        0 => 0,
        1 => noise.pick(&[1, whole, 1 << (fraction_bits - 1)]),
        2 => noise.draw() & whole & !0 << (fraction_bits - 4),
        _ => noise.draw() & whole,
    };
    noise.below(2) << (exponent_bits + fraction_bits) | exponent << fraction_bits | fraction
}

/// Two numbers of single precision, one of double precision, or lanes of small integers.
fn quadword(noise: &mut Noise) -> u64 {
    match noise.below(4) {
        0 | 1 => number(noise, 11, 52),
        2 => number(noise, 8, 23) << 32 | number(noise, 8, 23),
        _ => noise.draw() & noise.pick(&[u64::MAX, 0x00ff_00ff_00ff_00ff, 0xffff_ffff, 0x3f]),
    }
}

fn mxcsr(noise: &mut Noise) -> u64 {
    let flushes = if noise.once_in(4) { noise.draw() & 0x8040 } else { 0 };
    MASKED | noise.below(4) << 13 | flushes
}

/// Bytes of an instruction on XMM registers, which finds memory by R14.
fn instruction(noise: &mut Noise, decoder: &Decoder) -> Vec<u8> {
    let mode = Mode::new(Width::W64, Width::W64, true, true);
    loop {
        let prefix: &[u8] = noise.pick(&[&[][..], &[0x66], &[0xf2], &[0xf3]]);
        let map: &[u8] = noise.pick(&[&[0x0f][..], &[0x0f], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]]);
        let wide = if noise.once_in(4) { 8 } else { 0 };
        let modrm: [u8; 2] = match noise.below(3) {
            0 => [0x46 | noise.byte() & 0x38, noise.byte() & 0x70],
            _ => [0xc0 | noise.byte(), noise.byte()],
        };
        let rex = 0x40 | noise.byte() & 5 | wide | u8::from(modrm[0] < 0xc0);
        let mut bytes = [prefix, &[rex], map, &[noise.byte()], &modrm, &[noise.byte()]].concat();
        let Decoded::Insn(insn) = decoder.decode(&bytes, mode, 0, 0) else { continue };
        let text = insn.code.op_code().instruction_string();
        // An MMX register would make the x87's tags a part of everything.
        if text.contains("xmm") && !text.contains(" mm") {
            bytes.truncate(usize::from(insn.len));
            return bytes;
        }
    }
}

/// Something that looks at the flags, and at MXCSR now and then.
fn look(noise: &mut Noise) -> Vec<u8> {
    let condition = noise.byte() & 15;
    match noise.below(8) {
        // A condition to the low byte of RAX to RBX; one more in RBP if it does not hold.
        0..=2 => vec![0x0f, 0x90 | condition, 0xc0 | noise.byte() & 3],
        3 | 4 => vec![0x70 | condition, 2, 0xff, 0xc5],
        5 => vec![0x83, 0xd5, noise.byte()],
        // STMXCSR, LDMXCSR.
        6 => vec![0x41, 0x0f, 0xae, 0x5e, 0x74],
        _ => vec![0x41, 0x0f, 0xae, 0x56, 0xf0],
    }
}

/// A program, in hexadecimal: a loop of such instructions, and a halt.
fn program(noise: &mut Noise, decoder: &Decoder) -> String {
    let mut code = Vec::new();
    for _ in 0..8 + noise.below(20) {
        code.extend(instruction(noise, decoder));
        if noise.once_in(3) {
            code.extend(look(noise));
        }
    }
    // dec r13d; jnz to the start; hlt
    code.extend([0x41, 0xff, 0xcd, 0x0f, 0x85]);
    let back = -(code.len() as i32 + 4);
    code.extend(back.to_le_bytes());
    code.push(0xf4);
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn all_engines_come_to_the_same() {
    let programs = std::env::var("TRINE_MIXTURES").ok().and_then(|n| n.parse().ok());
    let programs = programs.unwrap_or(300_u64);
    let decoder = Decoder::new(&model());
    let mut halted = 0;
    for n in 0..programs {
        let mut noise = Noise::new(programs << 32 | n);
        let code = program(&mut noise, &decoder);
        let words: Vec<u64> = (0..32).map(|_| quadword(&mut noise)).collect();
        let control = mxcsr(&mut noise) as u32;
        let registers: [[u64; 4]; 16] =
            std::array::from_fn(|_| std::array::from_fn(|_| quadword(&mut noise)));
        let (flags, other) = (noise.draw() as u32 & 0x3f, mxcsr(&mut noise));
        let change = |s: &mut CpuState| {
            (s.gpr[R13], s.gpr[R14]) = (3, DATA);
            (s.simd.ymm, s.simd.mxcsr) = (registers, control | flags);
        };
        let ends = ENGINES.map(|make| {
            let mut g = Guest::new(make, "64", &code, change);
            words.iter().zip(0..).for_each(|(word, k)| g.set_word(DATA + 8 * k, *word));
            g.set_word(DATA - 16, other);
            // Some never end, because they count with R13.
            let exit = g.run(1000);
            (exit, g.state(), g.memory())
        });
        let (exit, state, memory) = &ends[0];
        halted += u64::from(*exit == Exit::Halted && state.gpr[R13] == 0);
        for (k, (its_exit, its_state, its_memory)) in ends.iter().enumerate().skip(1) {
            assert_eq!(its_state.simd, state.simd, "engine {k}, {n}: {code}");
            assert_eq!((its_exit, its_state), (exit, state), "engine {k}, {n}: {code}");
            assert!(its_memory == memory, "engine {k}, {n}: {code}: memory");
        }
    }
    assert!(halted * 2 > programs, "only {halted} of {programs} came to their end");
}
