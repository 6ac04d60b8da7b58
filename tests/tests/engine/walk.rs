//! Loops that walk through memory: an engine may remember the page in which they are, until it goes.

use trine_engine::{CpuState, Exit};
use trine_x86::vector;

use crate::{ENGINES, Guest, TABLE, all_alike};

const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;
const RBP: usize = 5;
const RSI: usize = 6;
const RDI: usize = 7;
const R8: usize = 8;

/// Present, writable, for users.
const P: u64 = 7;

/// A guest that has pages 40h and up somewhere in pages 8 to 15.
fn scattered(
    make: crate::Make,
    code: &str,
    pages: u64,
    frame: impl Fn(u64) -> u64,
    change: impl FnOnce(&mut CpuState),
) -> Guest {
    let guest = Guest::new(make, "64", code, change);
    for n in 0..pages {
        guest.set_word(TABLE + 8 * (0x40 + n), frame(n) << 12 | P);
    }
    guest
}

#[test]
fn words_reach_into_the_next_page() {
    // mov rax, [rsi]; add [rdi], rax; add rsi, 24; add rdi, 24; dec ecx; jnz; hlt
    let code = "488b06 480107 4883c618 4883c718 ffc9 75ee f4";
    all_alike(|make| {
        let frames = [0xb, 0x9, 0xc, 0x8];
        let guest = scattered(
            make,
            code,
            4,
            |n| frames[n as usize],
            |s| {
                (s.gpr[RSI], s.gpr[RDI], s.gpr[RCX]) = (0x40003, 0x42005, 300);
            },
        );
        for n in 0..0x400 {
            guest.set_word(0x8000 + 8 * n, n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        guest
    });
}

#[test]
fn strides_of_a_page_and_more() {
    // mov [rbx], cl; add rbx, 1000h; dec ecx; jnz; mov ecx, 1000; mov rbx, r8; mov [rbx], cl;
    // inc rbx; dec ecx; jnz; hlt
    let code = "880b 4881c300100000 ffc9 75f3 b9e8030000 4c89c3 880b 48ffc3 ffc9 75f7 f4";
    all_alike(|make| {
        scattered(
            make,
            code,
            0x100,
            |n| 8 + n * 3 % 8,
            |s| {
                (s.gpr[RBX], s.gpr[R8], s.gpr[RCX]) = (0x40123, 0x40f00, 200);
            },
        )
    });
}

/// A loop that is left for something, and entered again; what is done the second time matters, since
/// by then all of its code has run: mov [rbx], rsi; dec ecx; jnz; ...; mov ecx,
/// 5; dec esi; jnz; hlt.
fn looped(make: crate::Make, code: &str, change: impl FnOnce(&mut CpuState)) -> Guest {
    let back = 0xf0 - code.split_whitespace().collect::<String>().len() / 2;
    let code = format!("488933 ffc9 75f9 {code} b905000000 ffce 75{back:02x} f4");
    Guest::new(make, "64", &code, |s| {
        (s.gpr[RBX], s.gpr[RCX], s.gpr[RSI]) = (0x9008, 50, 41);
        change(s);
    })
}

/// mov [rdx], rax; invlpg [rbx]; xor rax, rbp
const REMAPS: &str = "488902 0f013b 4831e8";

#[test]
fn the_page_moves() {
    for make in ENGINES {
        let mut g = looped(make, REMAPS, |s| {
            (s.gpr[RDX], s.gpr[RAX], s.gpr[RBP]) = (TABLE + 8 * 9, 0xa000 | P, 0x9000 ^ 0xa000);
        });
        assert_eq!(g.run(10_000), Exit::Halted);
        assert_eq!((g.word(0x9008), g.word(0xa008)), (1, 2));
    }
}

#[test]
fn the_page_becomes_read_only() {
    for make in ENGINES {
        let mut g = looped(make, REMAPS, |s| {
            (s.gpr[RDX], s.gpr[RAX], s.gpr[RBP]) = (TABLE + 8 * 9, 0x9000 | P, 2);
        });
        let state = g.until_handler(vector::PF);
        assert_eq!((state.gpr[RSI], state.control.cr2, g.word(0x9008)), (39, 0x9008, 40));
    }
}

#[test]
fn the_page_gets_a_breakpoint() {
    for make in ENGINES {
        // mov dr7, rax; xor rax, rbp
        let mut g = looped(make, "0f23f8 4831e8", |s| {
            (s.gpr[RAX], s.gpr[RBP], s.debug.address[0]) = (0x400, 0x000d_0001, 0x9008);
        });
        assert_eq!(g.until_handler(vector::DB).gpr[RSI], 39);
        assert_eq!((g.pushed(0), g.word(0x9008)), (0x1003, 39));
    }
}

#[test]
fn the_page_becomes_code() {
    for make in ENGINES {
        // cmp esi, c327h; ja over the next; call 9010h
        let mut g = looped(make, "81fe27c30000 7705 e8fc7f0000", |s| {
            (s.gpr[RBX], s.gpr[RSI], s.gpr[RDX]) = (0x9012, 0xc300 + 41, 0);
        });
        // add edx, imm8; ret: of which the store writes the immediate and RET.
        g.put(0x9010, "83c200 c3");
        assert_eq!(g.run(150 + 40 * 15 + 41 * 5 + 39 * 3), Exit::Budget);
        assert_eq!(g.state().gpr[RDX], 780);
    }
}
