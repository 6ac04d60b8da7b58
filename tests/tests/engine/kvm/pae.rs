//! The page-directory pointers that a CPU holds while it pages with PAE move with the state.
//!
//! A CPU that holds them does not see a change of the table in memory before CR3 is loaded again;
//! one of AMD's with nested paging holds none. Whatever this host's does by itself is right.

use std::sync::Arc;

use trine_engine::{CpuModel, Exit, NoBus};
use trine_guest::{Gpa, Ram};
use trine_kvm::Kvm;
use trine_x86::{Activity, cr0, cr4};

use super::{INTERP, KVM, end, flat, there};
use crate::{Make, bytes};

/// A KVM that does not show the pointers.
const OLD: Make =
    |ram| Box::new(Kvm::limited(ram, |host| host.pdptes = false).expect("it is there"));

/// The table of pointers, a directory of the first 2 MiB, and two that map 2 MiB elsewhere.
const TABLE: u64 = 0x3000;
const LOW: u64 = 0x4000;
const FIRST: u64 = 0x5000;
const SECOND: u64 = 0x6000;

/// A guest loads CR3 and, if `changes`, has the second pointer in memory name another directory. Then
/// it reads what is mapped there. It halts in between if it `moves`, and goes on on the second
/// engine. Returns what it has read, and the pointer in its state.
fn read(makes: [Make; 2], changes: bool, moves: bool) -> (u64, u64) {
    let ram = Arc::new(Ram::flat(8 << 20).expect("8 MiB"));
    let put = |at, value: u64| ram.write(Gpa(at), &value.to_le_bytes()).expect("in RAM");
    for (directory, page) in [(LOW, 0), (FIRST, 0x20_0000), (SECOND, 0x40_0000)] {
        // Present, writable, 2 MiB.
        put(directory, page | 0x83);
        put(page, page);
    }
    put(TABLE, LOW | 1);
    put(TABLE + 8, FIRST | 1);
    // mov cr3, eax; mov [ecx], edx; hlt or nop; mov ebx, [40000000h]; hlt
    let between = if moves { "f4" } else { "90" };
    let code = format!("0f22d8 8911 {between} 8b1d00000040 f4");
    ram.write(Gpa(0x1000), &bytes(&code)).expect("in RAM");
    let engines = makes.map(|make| make(ram.clone()));
    let model = CpuModel::named("x86-64-v1").expect("there is such a model");
    let model = engines[0].fit(engines[1].fit(model));
    let mut state = flat(&model);
    state.control.cr0 |= cr0::PG;
    state.control.cr4 = cr4::PAE;
    (state.control.cr3, state.control.pdpte) = (TABLE, [LOW | 1, 0, 0, 0]);
    state.gpr[0] = TABLE;
    state.gpr[1] = TABLE + 8;
    state.gpr[2] = if changes { SECOND | 1 } else { FIRST | 1 };
    for engine in &engines[..=usize::from(moves)] {
        let mut vcpu = engine.create_vcpu(0, &model, Arc::new(NoBus::default())).expect("a vCPU");
        state.events.activity = Activity::Running;
        vcpu.set_state(&state).expect("a state");
        assert_eq!(end(&mut *vcpu), Exit::Halted);
        state = vcpu.state().expect("no failure");
    }
    // QEMU's CPU marks pointers as accessed.
    (state.gpr[3], state.control.pdpte[1] & !0x20)
}

#[test]
fn page_directory_pointers_go_with_the_state() {
    if !there() {
        return;
    }
    let moves = [[KVM, KVM], [KVM, INTERP], [INTERP, KVM]];
    let (first, second) = ((0x20_0000, FIRST | 1), (0x40_0000, SECOND | 1));
    assert_eq!(read([INTERP, INTERP], true, true), first);
    for makes in moves.into_iter().chain([[OLD, OLD], [OLD, INTERP], [INTERP, OLD]]) {
        assert_eq!(read(makes, false, true), first);
    }
    let alone = read([KVM, KVM], true, false);
    assert!([first, second].contains(&alone), "{alone:x?}");
    println!("this CPU {} the pointers", if alone == first { "holds" } else { "does not hold" });
    let ram = Arc::new(Ram::flat(0x1000).expect("a page"));
    let mut are_shown = false;
    Kvm::limited(ram, |host| are_shown = host.pdptes).expect("it is there");
    if alone == first && !are_shown {
        eprintln!("skipped the rest: this KVM does not show the pointers");
        return;
    }
    for makes in moves {
        assert_eq!(read(makes, true, true), alone);
    }
}
