//! The oracle answers, and survives everything.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::Write as _;

use trine_native::{Case, Oracle, Outcome, State, WINDOW};

const RSP: usize = 4;

fn oracle() -> Option<Oracle> {
    match Oracle::new() {
        Ok(oracle) => Some(oracle),
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "skipped: {why}");
            None
        }
    }
}

fn case(code: &[u8], change: impl FnOnce(&mut State)) -> Case {
    let mut state = State { rip: WINDOW + 0x100, ..State::default() };
    state.gpr[RSP] = 0x1_8800;
    state.fx[0] = 0x7f;
    state.fx[1] = 3;
    state.fx[24] = 0x80;
    state.fx[25] = 0x1f;
    change(&mut state);
    let mut case = Case::new(state);
    case.patch(WINDOW + 0x100, code).expect("it fits");
    case
}

fn run(oracle: &mut Oracle, cases: &[Case]) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::default(); cases.len()];
    oracle.run(cases, &mut outcomes).expect("a child runs");
    outcomes
}

#[test]
fn instructions_run() {
    let Some(mut oracle) = oracle() else { return };
    let cases = [
        // add rax, rcx
        case(&[0x48, 0x01, 0xc8], |s| (s.gpr[0], s.gpr[1]) = (u64::MAX, 2)),
        // push rax
        case(&[0x50], |s| s.gpr[0] = 0x1122_3344_5566_7788),
        // mov eax, [15000h]
        case(&[0x8b, 0x04, 0x25, 0, 0x50, 1, 0], |_| ()),
        // inc eax in compatibility mode
        case(&[0x40], |s| s.selectors[1] = 0x23),
        // fld1
        case(&[0xd9, 0xe8], |_| ()),
        // paddb xmm0, xmm1
        case(&[0x66, 0x0f, 0xfc, 0xc1], |s| s.fx[160..192].fill(0x11)),
    ];
    let out = run(&mut oracle, &cases);
    assert_eq!(out[0].vector, 3);
    assert_eq!(out[0].after.gpr[0], 1);
    assert_eq!(out[0].after.rflags, 0x213 & !0x12 | 0x13);
    assert_eq!(out[0].after.rip, WINDOW + 0x104);
    assert_eq!(out[1].after.gpr[RSP], 0x1_87f8);
    assert_eq!(out[1].lines().len(), 1);
    assert_eq!(out[1].lines()[0].bytes[0x38..], 0x1122_3344_5566_7788_u64.to_le_bytes());
    assert_eq!((out[2].vector, out[2].error, out[2].cr2), (14, 4, 0x1_5000));
    assert_eq!((out[3].vector, out[3].after.gpr[0], out[3].after.selectors[1]), (3, 1, 0x23));
    assert_eq!(out[4].after.fx[32..42], [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f]);
    assert_eq!(out[5].after.fx[160..192], [[0x22; 16], [0x11; 16]].concat());
    assert_eq!(oracle.restarts(), 0);
}

#[test]
fn nothing_stops_it() {
    let Some(mut oracle) = oracle() else { return };
    let cases = [
        // jmp $ never ends.
        case(&[0xeb, 0xfe], |_| ()),
        // rep stosb runs through the window until a page fault.
        case(&[0xf3, 0xaa], |s| (s.gpr[1], s.gpr[7]) = (u64::MAX, 0x1_3000)),
        // A stack pointer that is none.
        case(&[0x50], |s| s.gpr[RSP] = 0x8000_0000_0000_0000),
        case(&[0x0f, 0x0b], |s| s.gpr[RSP] = u64::MAX),
        case(&[0xf4], |_| ()),
        case(&[0x90], |_| ()),
    ];
    let out = run(&mut oracle, &cases);
    let vectors: Vec<u32> = out.iter().map(|o| o.vector).collect();
    assert_eq!(vectors, [Outcome::NONE, 14, 12, 6, 13, 3]);
    assert_eq!((out[1].cr2, out[1].error, out[1].changed), (0x1_5000, 6, 0));
    assert_eq!(oracle.restarts(), 1);
}

/// Not a claim, a figure for whoever looks: run with `--nocapture`.
#[test]
fn what_a_case_costs() {
    let Some(mut oracle) = oracle() else { return };
    let cases = vec![case(&[0x48, 0x01, 0xc8], |_| ()); 20_000];
    let mut outcomes = vec![Outcome::default(); cases.len()];
    let start = std::time::Instant::now();
    oracle.run(&cases, &mut outcomes).expect("a child runs");
    println!("{:?} for each case", start.elapsed() / 20_000);
    assert!(outcomes.iter().all(|o| o.vector == 3 && o.changed == 0));
}
