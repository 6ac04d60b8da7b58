//! Data beside code: stores that change no code are known to change none, by 64 bytes, and stores
//! that do are noticed all the same.

use std::sync::Barrier;

use trine_engine::{Budget, Exit};
use trine_guest::{CodeNear, Gpa};
use trine_x86::Activity;

use super::{Guest, SINGLE, bytes, model};

/// Loops of `dec ecx; jnz` around a store to 1080h, 80h behind their beginning, and how many bytes
/// that changes: with the turns in ECX, 1080h in RBX, and RSP behind the data.
const LOOPS: [(&str, &str, usize); 11] = [
    ("mov [rbx], ecx", "890b", 4),
    ("add [rbx], ecx", "010b", 4),
    ("mov [rbx], cl; mov [rbx+63], cl", "880b 884b3f", 64),
    ("lock add [rbx], ecx; lock cmpxchg [rbx], edx", "f0010b f00fb113", 4),
    ("mov [rbx+61], rcx, into the next granule", "48894b3d", 69),
    ("push rcx; pop rcx", "51 59", 16),
    ("call; add rsp, 8", "e800000000 4883c408", 16),
    ("movq xmm0, rcx; movups [rbx], xmm0", "66480f6ec1 0f1103", 16),
    ("fstp qword [rbx]", "d9e8 dd1b", 8),
    ("mov edi, ebx; mov eax, ecx; stosq", "89df 89c8 48ab", 8),
    (
        "push rcx; lea edi, [rbx+32]; mov al, cl; mov ecx, 16; rep stosb; pop rcx",
        "51 8d7b20 88c8 b910000000 f3aa 59",
        48,
    ),
];

const TURNS: u64 = 1000;

fn turns(make: super::Make, body: &str) -> Guest {
    // What follows the body: dec ecx; jnz to the start; hlt.
    let back = 0_u8.wrapping_sub(bytes(body).len() as u8 + 4);
    let code = format!("{body} ffc9 75{back:02x} f4");
    Guest::new(make, "64", &code, |s| {
        s.gpr[1] = TURNS;
        s.gpr[3] = 0x1080;
        s.gpr[super::RSP] = 0x1090;
    })
}

#[test]
fn stores_beside_code_change_none() {
    for make in SINGLE {
        for (name, body, changes) in LOOPS {
            let mut g = turns(make, body);
            let before = g.memory();
            let engine = g.engine.name();
            assert_eq!(g.run(40 * TURNS), Exit::Halted, "{name} on {engine}");
            assert_eq!(g.ram.code_version(0x1000), 0, "{name} on {engine}");
            let stats = g.vcpu.stats();
            assert!(stats.blocks_made <= 8 && stats.blocks_stale == 0, "{name}: {stats:?}");
            assert_eq!(g.ram.code_near(0x1000, 1), CodeNear::Here);
            assert_eq!(g.ram.code_near(0x1080, 0x80), CodeNear::Beside);
            let after = g.memory();
            assert!(before[..0x1080] == after[..0x1080], "{name} on {engine}");
            assert!(before[0x1080 + changes..0x2000] == after[0x1080 + changes..0x2000]);
            assert!(before[0x1080..0x10c8] != after[0x1080..0x10c8], "{name} on {engine}");
        }
    }
}

#[test]
fn what_is_beside_code_becomes_dirty_each_time() {
    for make in SINGLE {
        let mut g = turns(make, LOOPS[0].1);
        g.ram.take_dirty();
        for _ in 0..3 {
            assert_eq!(g.run(3 * 100), Exit::Budget);
            assert!(g.ram.take_dirty().contains(&0x1000));
            assert!(g.ram.take_dirty().is_empty());
        }
    }
}

#[test]
fn code_in_the_granule_is_noticed() {
    for make in SINGLE {
        // mov [rsi], cl; call 1103h; inc ecx; jmp back. Called: 120 times NOP, mov eax, 11223344h
        // (its immediate lies in both granules), ret.
        let mut g = Guest::new(make, "64", "880e e8fc000000 ffc1 ebf5", |s| s.gpr[1] = 1);
        g.put(0x1103, &format!("{} b811223344 c3", "90".repeat(120)));
        assert_eq!(g.run(126), Exit::Budget);
        assert_eq!((g.state().rip, g.state().gpr[0]), (0x1000, 0x4433_2211));
        for at in 0x117c_u64..0x1180 {
            g.change(|s| s.gpr[6] = at);
            for _ in 0..40 {
                let n = g.state().gpr[1];
                assert_eq!(g.run(126), Exit::Budget);
                let shift = (at - 0x117c) * 8;
                assert_eq!(g.state().gpr[0] >> shift & 0xff, n & 0xff, "{at:x}");
            }
        }
        // The same from a device, while data beside it change nothing.
        let version = g.ram.code_version(0x1000);
        g.put(0x1200, "00112233");
        assert_eq!(g.ram.code_version(0x1000), version);
        g.put(0x117c, "78563412");
        g.change(|s| s.gpr[6] = 0x9000);
        assert_eq!(g.run(126), Exit::Budget);
        assert_eq!(g.state().gpr[0], 0x1234_5678);
    }
}

/// Stores that walk through data of a page up to code there: what knows the page does not know all
/// of it.
#[test]
fn a_walk_into_code_is_noticed() {
    for make in SINGLE {
        // mov edi, 1101h; mov [rdi], ecx; add edi, 4; cmp edi, 1285h; jne; call 1280h; cmp eax, ecx;
        // jne to the end; inc ecx; jmp to the start; hlt
        let code = "bf01110000 890f 83c704 81ff85120000 75f3 e869020000 39c8 7504 ffc1 ebe1 f4";
        // The last two words are MOV EAX, ECX's value.
        let mut g = Guest::new(make, "64", code, |s| s.gpr[1] = 0xb800_0000);
        g.put(0x1285, "c3");
        for turn in 1..60 {
            assert_eq!(g.run(396), Exit::Budget);
            assert_eq!((g.state().rip, g.state().gpr[1]), (0x1000, 0xb800_0000 + turn));
        }
        // Each turn changes code once or twice.
        assert!((59..=118).contains(&g.ram.code_version(0x1000)), "{}", g.engine.name());
    }
}

/// Code that is new to one vCPU while another is about to store to it, in a page with code of both:
/// in the end what was stored is executed. The one that stores has looked for its place long before.
#[test]
fn no_store_is_lost_to_code_that_is_new() {
    for make in SINGLE {
        // Reader: cmp dword [r10+4], 1; jne; mov dword [r10], 1; call rsi; cmp eax, 1; jne; hlt.
        // Writer: mov dword [r10+4], 1; cmp dword [r10], 1; jne; dec r9; jnz; mov edi, [rbx+8];
        // 24 times sqrtpd xmm1, xmm1; mov [rbx], ecx; hlt
        let reader = "41837a0401 75f9 41c70201000000 ffd6 83f801 75f9 f4";
        let mut g = Guest::new(make, "64", reader, |_| ());
        let ready = "41c7420401000000 41833a01 75fa 49ffc9 75fb 8b7b08";
        g.put(0x1040, &format!("{ready} {} 890b f4", "660f51c9".repeat(24)));
        let writer = g.engine.create_vcpu(1, &model(), g.board.clone());
        let mut writer = writer.expect("an engine of this host");
        for granule in 3..63 {
            let at = 0x1000 + granule * 64;
            // mov eax, imm; ret
            g.put(at, "b800000000 c3");
            let mut state = g.state();
            state.events.activity = Activity::Running;
            (state.rip, state.gpr[6], state.gpr[10]) = (0x1000, at, 0x9000);
            g.set_word(0x9000, 0);
            g.vcpu.set_state(&state).expect("a state");
            (state.rip, state.gpr[1], state.gpr[3]) = (0x1040, 1, at + 1);
            state.gpr[9] = 1 + granule * 37 % 60 * 100;
            state.gpr[super::RSP] = 0x8000;
            writer.set_state(&state).expect("a state");
            let (start, stopper) = (Barrier::new(2), writer.kicker());
            let read = std::thread::scope(|s| {
                s.spawn(|| {
                    start.wait();
                    writer.run(Budget::Unlimited).expect("no failure")
                });
                start.wait();
                let read = g.run(50_000_000);
                if read != Exit::Halted {
                    stopper.stop();
                }
                read
            });
            assert_eq!(read, Exit::Halted, "{}: the store was missed at {at:x}", g.engine.name());
        }
    }
}

#[test]
fn a_device_that_writes_beside_code_disturbs_nobody() {
    for make in SINGLE {
        let mut g = turns(make, LOOPS[0].1);
        for n in 0..50_u64 {
            assert_eq!(g.run(30), Exit::Budget);
            g.ram.write(Gpa(0x1100), &[n as u8; 0xf00]).expect("in RAM");
        }
        let stats = g.vcpu.stats();
        assert!(stats.blocks_made <= 8 && stats.blocks_stale == 0, "{stats:?}");
        assert_eq!(g.ram.code_version(0x1000), 0);
    }
}
