//! The same code at several linear addresses, as programs and libraries lie at another one in each
//! process: what it knows of RIP is right at each of them.

use trine_engine::CpuState;
use trine_x86::vector;

use crate::{ENGINES, Guest, Make, SINGLE, TABLE};

const RDX: usize = 2;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;
const R14: usize = 14;

/// Present, writable, for users.
const P: u64 = 7;

/// So often each copy is called.
const TIMES: u64 = 50;
/// Where the first copy lies, and how far away the next one is.
const FIRST: u64 = 0x4_0000;
const APART: u64 = 0x4000;

/// Two pages of code that go to each other, with a page of data behind them for each copy; the
/// copies lie in the same RAM, but for the second page of the last one.
fn program(make: Make, copies: u64) -> Guest {
    // mov ecx, 50; l: mov edi, 40000h; m: call rdi; add edi, 4000h; cmp edi, r14d; jb m; dec ecx;
    // jnz l; hlt
    let code = "b932000000 bf00000400 ffd7 81c700400000 4439f7 72f3 ffc9 75ea f4";
    let guest = Guest::new(make, "64", code, |s| {
        s.gpr[8..16].fill(0);
        s.gpr[RBP] = 0;
        s.gpr[R14] = FIRST + copies * APART;
    });
    // p: lea rbx, [rip]; add r9, rbx; add r10, [p+800h]; inc qword [p+2010h]; call p+80h; call
    // p+1100h; jmp p+FFDh; ret
    guest.put(
        0x9000,
        "488d1d00000000 4901d9 4c0315ef070000 48ff05f81f0000 e863000000 e8de100000 e9d60f0000 c3",
    );
    // mov rax, [rsp]; add r11, rax; ret
    guest.put(0x9080, "488b0424 4901c3 c3");
    guest.set_word(0x9800, 3);
    // add rbp, imm, across the pages; jmp p+27h
    guest.put(0x9ffd, "4881c5");
    for (frame, imm) in [(0xa000, "01000000"), (0xf000, "00010000")] {
        guest.put(frame, &format!("{imm} e91ef0ffff"));
        // lea rax, [rip]; add r12, rax; mov rax, [rsp]; add r13, rax; ret
        guest.put(frame + 0x100, "488d0500000000 4901c4 488b0424 4901c5 c3");
    }
    for n in 0..4 {
        let second = if n == 3 { 0xf000 } else { 0xa000 };
        for (page, frame) in [0x9000, second, 0xb000 + 0x1000 * n].into_iter().enumerate() {
            let page = (FIRST + n * APART >> 12) + page as u64;
            guest.set_word(TABLE + 8 * page, frame | P);
        }
    }
    guest
}

#[test]
fn each_copy_knows_where_it_is() {
    for make in ENGINES {
        let mut g = program(make, 4);
        assert_eq!(g.run(100_000), trine_engine::Exit::Halted);
        let state = g.state();
        let sum = |at: u64| TIMES * (0..4).map(|n| FIRST + n * APART + at).sum::<u64>();
        assert_eq!(state.gpr[9], sum(7), "LEA");
        assert_eq!(state.gpr[10], TIMES * 4 * 3, "a load");
        assert_eq!(state.gpr[11], sum(0x1d), "what a call in the page leaves");
        assert_eq!(state.gpr[12], sum(0x1107), "LEA in the other page");
        assert_eq!(state.gpr[13], sum(0x22), "what a call of the other page leaves");
        assert_eq!(state.gpr[RBP], TIMES * (3 + 0x100), "an instruction across the pages");
        for n in 0..4 {
            assert_eq!(g.word(0xb010 + 0x1000 * n), TIMES, "what copy {n} counts");
        }
    }
}

#[test]
fn copies_are_translated_once() {
    let [_, whole, ..] = SINGLE;
    let translations = [1, 3].map(|copies| {
        let mut g = program(whole, copies);
        assert_eq!(g.run(100_000), trine_engine::Exit::Halted);
        assert_ne!(g.vcpu.stats().translations, 0);
        g.vcpu.stats().translations
    });
    assert_eq!(translations[0], translations[1]);
}

/// A branch that one copy can take and another cannot, because its target would not be canonical.
#[test]
fn branches_are_legal_where_they_lead() {
    const LOW: u64 = 0x4_1000;
    const HIGH: u64 = 0x7fff_ffe0_0000 + LOW;
    for make in ENGINES {
        for (first, second) in [(LOW, HIGH), (HIGH, LOW)] {
            for last in [LOW, HIGH] {
                let start = |s: &mut CpuState| {
                    (s.gpr[RDI], s.gpr[RSI], s.gpr[RDX]) = (first, second, last);
                };
                // mov ecx, 20; l: xor eax, eax; call rdi; call rsi; dec ecx; jnz l; inc eax; call rdx
                let code = "b914000000 31c0 ffd7 ffd6 ffc9 75f6 ffc0 ffd2";
                let mut g = Guest::new(make, "64", code, start);
                // test eax, eax; jnz $+7FF00000h; ret
                g.put(0x9000, "85c0 0f85faffef7f c3");
                g.set_word(TABLE + 8 * (LOW >> 12), 0x9000 | P);
                // The last 2 MiB of the lower half are those at 0, too.
                for (level, n) in [(1, 511), (2, 511), (3, 255)] {
                    let table = TABLE - 0x1000 * level;
                    g.set_word(table + 8 * n, g.word(table));
                }
                let (vector, rip) = match last {
                    LOW => (vector::PF, LOW + 0x7ff0_0002),
                    _ => (vector::GP, HIGH + 2),
                };
                g.until_handler(vector);
                assert_eq!(g.pushed(1), rip, "from {last:x}");
            }
        }
    }
}
