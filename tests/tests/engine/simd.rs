//! Vector registers and MXCSR between instructions: an engine may keep them where it likes.

use trine_engine::{CpuState, Exit};
use trine_x86::vector;

use crate::{ENGINES, Guest, Make, all_alike};

/// MXCSR after reset.
const MASKED: u64 = 0x1f80;

/// Floats that make results inexact.
fn numbers(s: &mut CpuState) {
    s.gpr[6] = 0x8000;
    s.gpr[1] = 100;
    for (n, ymm) in s.simd.ymm.iter_mut().enumerate() {
        let double = (0.1 + n as f64).to_bits();
        let single = u64::from((0.3 + n as f32).to_bits());
        *ymm = [double, single << 32 | single, !double, n as u64];
    }
}

#[test]
fn a_loop_is_the_same_on_all_engines() {
    // movaps, cvtsi2sd, mulsd, addps; a store that crosses into the next page now and then;
    // sqrtsd, comisd and branches on its flags, adc; rcpps, cvttsd2si, vaddps, pshufd, stmxcsr;
    // ucomisd, setp, ptest, adc; movaps, vextractf128, pmovmskb, movq; dec, jnz; hlt
    let code = "be00800000 bf009c0000 b92c010000 0f2806 f20f2ad9 f20f59dc 0f58c2 0f1144cf01 \
                f20f51eb 660f2fdd 761a 83d303 7a15 0f53f0 f20f2cd5 c5cc587e08 660f70d039 \
                0fae5e40 660f2ed9 0f9ac0 01c5 660f3817c2 83d501 0f2916 c4c37d19f801 66450fd7c0 \
                66490f7ec1 4d31ca ffc9 759e f4";
    all_alike(|make| Guest::new(make, "64", code, numbers));
}

#[test]
fn exceptions_come_when_they_are_unmasked() {
    for make in ENGINES {
        // divsd; stmxcsr [rsi]; ldmxcsr [rsi+8]; mulsd; divsd
        let code = "f20f5ec1 0fae1e 0fae5608 f20f59d3 f20f5ec4 f4";
        let mut g = Guest::new(make, "64", code, |s| {
            numbers(s);
            s.simd.ymm[4][0] = 0;
        });
        // All but precision unmasked.
        g.set_word(0x8008, 0x1000);
        let state = g.until_handler(vector::XM);
        assert_eq!(g.word(0x8000), MASKED | 0x20, "the first quotient is inexact");
        assert_eq!(state.simd.mxcsr, 0x1024);
        assert_eq!(g.pushed(0), 0x100f, "it is the second division that faults");
    }
}

#[test]
fn rounding_and_denormals_are_the_guests() {
    for make in ENGINES {
        // ldmxcsr [rsi]; mulss xmm0, xmm1; mulss xmm2, xmm3; dec ecx; jnz; stmxcsr [rsi+4]; hlt
        let code = "0fae16 f30f59c1 f30f59d3 ffc9 75f4 0fae5e04 f4";
        let run = |mxcsr: u64| {
            let mut g = Guest::new(make, "64", code, |s| {
                numbers(s);
                let singles = [1.0, 1.1, 1e-20, 0.5_f32];
                for (ymm, single) in s.simd.ymm.iter_mut().zip(singles) {
                    ymm[0] = u64::from(single.to_bits());
                }
            });
            g.set_word(0x8000, mxcsr);
            assert_eq!(g.run(10_000), Exit::Halted);
            let ymm = g.state().simd.ymm;
            (ymm[0][0], ymm[2][0], g.word(0x8000) >> 32)
        };
        let (nearest, denormal, flags) = run(MASKED);
        // 1.1 to the hundredth power; 1e-20 halved a hundred times is less than any.
        assert_eq!((denormal, flags), (0, MASKED | 0x32));
        let (up, least, _) = run(MASKED | 2 << 13);
        assert!(up > nearest && least == 1);
        let (down, _, _) = run(MASKED | 1 << 13);
        assert!(down < nearest);
        // Denormals are zero and become so: neither DE nor any denormal.
        assert_eq!(run(MASKED | 0x8040), (nearest, 0, MASKED | 0x8070));
    }
}

#[test]
fn a_task_switch_is_noticed() {
    for make in ENGINES {
        // addps; mov rax, cr0; or eax, TS; mov cr0, rax; addps
        let code = "0f58c1 0f20c0 83c808 0f22c0 0f58c1 f4";
        let mut g = Guest::new(make, "64", code, numbers);
        g.until_handler(vector::NM);
        assert_eq!(g.pushed(0), 0x100c);
    }
}

#[test]
fn aligned_operands_near_any_register_are_checked_and_found() {
    // With all scratch registers of a host in use, and none for the base. movaps xmm0, [base];
    // paddd xmm0, [base + 10h]; movaps [base + 20h], xmm0; cvtsi2ss xmm1, [base + 4]; hlt
    const OPCODES: [(&str, u8); 4] = [("0f28", 0), ("660ffe", 16), ("0f29", 32), ("f30f2a", 4)];
    let run = |make: Make, base: u8, misaligned: u64| {
        let mut code = String::new();
        for (opcode, distance) in OPCODES {
            let (prefix, opcode) = opcode.split_at(opcode.len() - 4);
            let (rex, sib) = (0x40 | base >> 3, if base & 7 == 4 { "24" } else { "" });
            code += &format!("{prefix}{rex:02x}{opcode}{:02x}{sib}{distance:02x}", 0x40 | base & 7);
        }
        let g = Guest::new(make, "64", &(code + "f4"), |s| {
            numbers(s);
            s.gpr[usize::from(base)] = 0x8000 + misaligned;
        });
        for n in 0..8 {
            g.set_word(0x8000 + 8 * n, 0x0123_4567_89ab_cdef * (n + 1));
        }
        g
    };
    for base in 0..16 {
        let ends = ENGINES.map(|make| {
            let mut g = run(make, base, 0);
            assert_eq!(g.run(100), Exit::Halted);
            (g.state(), g.memory())
        });
        for end in &ends[1..] {
            assert!(*end == ends[0], "{base}");
        }
        for make in ENGINES {
            run(make, base, 4).until_handler(vector::GP);
        }
    }
}
