//! The order in which two vCPUs, each on a thread, see each other's stores (SDM vol. 3A, section
//! 9.2): litmus tests, each many times from a common start.
//!
//! A host orders less than the guest is promised: any CPU lets a load overtake a store, and one
//! that is not x86 nearly everything. A test fails if the outcome that x86 forbids comes up once.

use std::{iter, num::NonZeroU64, sync::Arc, thread};

use trine_engine::{Budget, Exit, Vcpu};
use trine_guest::{Gpa, Ram};
use trine_testsuites::vectors::{Stage, Vector};

use super::{Board, SINGLE, bytes, model};

/// Rounds lie behind each other in the stage's data; in each, words at these offsets.
const ROUNDS: u64 = 112;
const ROUND_BYTES: u64 = 256;
const DATA: u64 = 0x8000;
const RESULTS: [u64; 2] = [192, 200];
/// How often all rounds are played.
const TIMES: usize = 10;

/// Two programs. RDI is the round; one variable is at [RDI+RBX], the other at [RDI+RDX], both
/// zero; [RSP] is nobody else's. What EAX is in the end is the outcome.
struct Litmus {
    name: &'static str,
    bodies: [&'static str; 2],
    /// RBX and RDX, for each.
    variables: [[u64; 2]; 2],
    forbidden: [u32; 2],
}

/// Each stores to its own variable, does what `$between` says, and loads the other's.
macro_rules! store_buffering {
    ($name:literal, $between:literal) => {
        Litmus {
            name: $name,
            // mov dword [rdi+rbx], 1; …; mov eax, [rdi+rdx]
            bodies: [concat!("c7041f01000000", $between, "8b0417"); 2],
            variables: [[64, 128], [128, 64]],
            forbidden: [0, 0],
        }
    };
}

/// One stores to the first variable, then to the second; the other loads them in reverse.
const fn message_passing(name: &'static str, variables: [u64; 2]) -> Litmus {
    Litmus {
        name,
        bodies: [
            // mov dword [rdi+rbx], 1; mov dword [rdi+rdx], 1; xor eax, eax
            "c7041f01000000 c7041701000000 31c0",
            // mov eax, [rdi+rdx]; mov esi, [rdi+rbx]; sub eax, esi
            "8b0417 8b341f 29f0",
        ],
        variables: [variables; 2],
        forbidden: [0, 1],
    }
}

const LITMUS: [Litmus; 7] = [
    store_buffering!("mfence", "0faef0"),
    // lock or dword [rsp], 0
    store_buffering!("lock or", "f0830c2400"),
    // xchg [rsp], eax
    store_buffering!("xchg", "870424"),
    // mov rax, cr3; mov cr3, rax
    store_buffering!("mov cr3", "0f20d8 0f22d8"),
    message_passing("aligned", [64, 128]),
    message_passing("unaligned", [67, 131]),
    message_passing("one crosses a quadword", [68, 134]),
];

/// A vCPU's whole program: waits for the other in each round, and leaves its outcome.
fn program(body: &str) -> Vec<u8> {
    // lock inc dword [rdi]; until: cmp dword [rdi], 2; jne until
    let mut code = bytes("f0ff07 833f02 75fb");
    code.extend(bytes(body));
    // mov [rdi+rbp], eax; add rdi, 256; dec dword [rsp+8]; jnz to the start; hlt
    code.extend(bytes("89042f 4881c700010000 ff4c2408 75"));
    let back = -(code.len() as i64 + 1);
    code.push(i8::try_from(back).expect("it is short") as u8);
    code.push(0xf4);
    code
}

/// Plays all rounds, and returns how many had the forbidden outcome.
fn play(litmus: &Litmus, ram: &Ram, vcpus: [&mut Box<dyn Vcpu>; 2]) -> usize {
    ram.write(Gpa(DATA), &[0; (ROUNDS * ROUND_BYTES) as usize]).expect("in RAM");
    thread::scope(|scope| {
        for vcpu in vcpus {
            scope.spawn(|| {
                // Who waits for the other lets it run, on a host with fewer CPUs than threads.
                let some = NonZeroU64::new(1000).expect("not zero");
                let run = || vcpu.run(Budget::Instructions(some)).expect("the host does not fail");
                let ends = iter::repeat_with(run).find(|exit| {
                    thread::yield_now();
                    *exit != Exit::Budget
                });
                assert_eq!(ends, Some(Exit::Halted));
                let state = vcpu.state().expect("the host does not fail");
                assert!(state.rip < DATA, "halted by an exception");
            });
        }
    });
    let outcome = |round: u64, n: usize| {
        let mut word = [0; 4];
        let at = DATA + round * ROUND_BYTES + RESULTS[n];
        ram.read(Gpa(at), &mut word).expect("in RAM");
        u32::from_le_bytes(word)
    };
    (0..ROUNDS).filter(|&round| [outcome(round, 0), outcome(round, 1)] == litmus.forbidden).count()
}

#[test]
fn stores_are_seen_in_the_order_that_x86_promises() {
    let line = "64 90 \"code\" => rip=0";
    let v: Vector = line.parse().expect("a vector");
    for (make, litmus) in SINGLE.iter().flat_map(|make| LITMUS.iter().map(move |l| (make, l))) {
        let stage = Stage::new(&v);
        let engine = make(stage.ram.clone());
        let board = Arc::new(Board::default());
        let create = |id| engine.create_vcpu(id, &model(), board.clone()).expect("a vCPU");
        let (mut first, mut second) = (create(0), create(1));
        let mut found = 0;
        for _ in 0..TIMES {
            for (n, vcpu) in [&mut first, &mut second].into_iter().enumerate() {
                let (code, stack) = (0x1000 + 0x400 * n as u64, 0x1200 + 0x400 * n as u64);
                stage.ram.write(Gpa(code), &program(litmus.bodies[n])).expect("in RAM");
                stage.ram.write(Gpa(stack + 8), &ROUNDS.to_le_bytes()).expect("in RAM");
                let mut state = stage.state(&v, &model());
                state.rip = code;
                let [rbx, rdx] = litmus.variables[n];
                (state.gpr[3], state.gpr[2]) = (rbx, rdx);
                (state.gpr[4], state.gpr[5], state.gpr[7]) = (stack, RESULTS[n], DATA);
                vcpu.set_state(&state).expect("a state");
            }
            found += play(litmus, &stage.ram, [&mut first, &mut second]);
        }
        let rounds = ROUNDS as usize * TIMES;
        assert_eq!(found, 0, "{}: forbidden in {found} of {rounds} rounds", litmus.name);
    }
}
