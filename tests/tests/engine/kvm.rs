//! The contract on KVM, which does not count instructions: guests end in HLT, and are the same
//! as on the interpreter. Where the host has no KVM that will do, each test says that it skips;
//! `tests/kvm/run` runs them where there is one.

mod dirty;
mod pae;
mod remap;
mod snapshot;

use std::{sync::Mutex, thread, time::Duration};

use trine_engine::{Budget, CpuModel, CpuState, Exit, Pins, Vcpu};
use trine_machine::EngineKind;
use trine_testsuites::vectors;
use trine_x86::{Activity, Seg, Segment, Shadow, cr0, rflags};

use crate::{Board, Guest, Make, PROGRAMS};

const KVM: Make = |ram| Box::new(trine_kvm::Kvm::new(ram).expect("it is there"));
const INTERP: Make = |ram| Box::new(trine_interp::Interp::new(ram));

/// A vector of an interrupt, below 32 as all gates of the stage.
const VECTOR: u8 = 0x1e;

/// Whether there is KVM here; says so if not.
fn there() -> bool {
    let missing = EngineKind::Kvm.missing();
    if let Some(why) = missing {
        eprintln!("skipped: {why}");
    }
    missing.is_none()
}

/// Runs a guest until it halts, or is stopped because that takes too long.
fn to_halt(g: &mut Guest) -> Exit {
    end(&mut *g.vcpu)
}

/// The same of a vCPU.
fn end(vcpu: &mut dyn Vcpu) -> Exit {
    vectors::run_for(vcpu, Duration::from_secs(20)).expect("the host does not fail")
}

/// The state but for the TSC, which goes on in KVM whatever the board's clock does, and for the
/// x87's last instruction, which QEMU's CPU does not keep.
fn timeless(g: &mut Guest) -> CpuState {
    let mut state = g.state();
    state.msrs.tsc_offset = 0;
    let x87 = &mut state.x87;
    (x87.ip, x87.cs, x87.dp, x87.ds, x87.opcode) = (0, 0, 0, 0, 0);
    state
}

/// In protected mode with flat segments of 32 bits and without paging, at 1000h.
fn flat(model: &CpuModel) -> CpuState {
    let mut state = CpuState::reset(model, 0);
    let segment = |selector, rights| Segment { selector, base: 0, limit: u32::MAX, rights };
    state.segments.seg = [segment(0x10, 0xc093); 6];
    state.segments.seg[Seg::Cs as usize] = segment(8, 0xc09b);
    state.control.cr0 = cr0::PE | cr0::ET | cr0::NE;
    state.rip = 0x1000;
    state
}

/// A guest ends in the same state on KVM and on the interpreter.
fn same(mode: &str, code: &str, change: impl Fn(&mut CpuState)) {
    let ends = [KVM, INTERP].map(|make| {
        let mut g = Guest::new(make, mode, code, &change);
        assert_eq!(to_halt(&mut g), Exit::Halted, "{code}");
        let log: Vec<String> = {
            let log = g.board.log.lock().expect("not poisoned");
            log.iter().map(|(_, what)| what.clone()).collect()
        };
        let (state, mut memory) = (timeless(&mut g), g.memory());
        // What an exception has pushed: emulated CPUs differ in RF.
        let frame = state.gpr[4] as usize;
        memory[frame..(frame + 64).min(0x9000)].fill(0);
        (state, memory, log)
    });
    let [kvm, interp] = ends;
    assert!(kvm.0 == interp.0, "{mode} {code}\n{:x?}\n{:x?}", kvm.0, interp.0);
    assert!(kvm.1 == interp.1, "memory after {mode} {code}");
    assert_eq!(kvm.2, interp.2, "{mode} {code}");
}

#[test]
fn a_state_comes_back_from_kvm_as_it_went_there() {
    if !there() {
        return;
    }
    for mode in ["real", "16", "32", "32u", "64", "64u", "v86"] {
        // It goes to KVM only if something is executed there: jmp to itself.
        let mut g = Guest::new(KVM, mode, "ebfe", |s| {
            for (n, reg) in s.gpr.iter_mut().enumerate().filter(|(n, _)| *n != 4) {
                *reg = 0x0123_4567 + n as u64;
            }
            for (n, reg) in s.x87.reg.iter_mut().enumerate() {
                *reg = (1 << 63 | n as u64, 0x3fff + n as u16);
            }
            (s.x87.control, s.x87.status, s.x87.valid) = (0x27f, 0x2841, 0xf0);
            for (n, ymm) in s.simd.ymm.iter_mut().enumerate() {
                (ymm[0], ymm[1]) = (n as u64, !(n as u64));
            }
            s.simd.mxcsr = 0x9fa1;
            s.rflags |= rflags::CF | rflags::OF | rflags::DF;
            s.debug.address = [1, 2, 3, 4];
            (s.msrs.star, s.msrs.lstar, s.msrs.fmask) = (1 << 32, 0x1000, 0x200);
            (s.msrs.kernel_gs_base, s.msrs.sysenter_esp) = (0x7000, 0x8000);
            (s.msrs.pat, s.msrs.mtrr_def_type, s.msrs.tsc_aux) = (0x0606_0606_0606_0606, 0xc06, 5);
            s.control.cr2 = 0x1234;
        });
        let before = g.state();
        let kicker = g.vcpu.kicker();
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            kicker.stop();
        });
        assert_eq!(g.vcpu.run(Budget::Unlimited).expect("no failure"), Exit::Kicked);
        stopper.join().expect("it only stops");
        let mut after = g.state();
        // The TSC goes on.
        after.msrs.tsc_offset = before.msrs.tsc_offset;
        assert_eq!(after, before, "{mode}");
    }
}

#[test]
fn programs_do_on_kvm_what_they_do_elsewhere() {
    if !there() {
        return;
    }
    let numbers = |s: &mut CpuState| {
        s.gpr[1] = 0x23;
        s.gpr[6] = 0x8000;
        s.gpr[7] = 0x9000;
    };
    // Those of the programs that end by themselves and read no port: what they read is a count.
    for (mode, code) in PROGRAMS {
        let ends = code.ends_with(" f4") || code.contains("0f0b") || code.contains("a1000000");
        if ends && mode == "64" && !code.contains("e580") {
            same(mode, code, numbers);
        }
    }
    // Ports of all widths, and strings of them; devices in memory, with operations that read and
    // write; MSRs that KVM keeps and that it does not; flags.
    same("64", "ef 66ef ee e780 f4", |s| s.gpr[2] = 0x80);
    same("64", "f36e f4", |s| (s.gpr[1], s.gpr[2], s.gpr[6]) = (5, 0x80, 0x1000));
    same("64", "b977020000 0f32 89c3 b974010000 31d2 b833000000 0f30 0f32 f4", numbers);
    same("64", "b9a0010000 0f32 0d00000400 0f30 f4", numbers);
    same("64", "01c8 9c 5b 31c0 f9 9c 59 d9eb d9e8 dec1 f20f58c1 f4", numbers);
    // A store to its own next instruction.
    same("64", "c6050100000042 b801000000 f4", numbers);
    // A fault, whose handler halts. (Not of a 32-bit user: QEMU 7.2 takes a busy TSS for none there.)
    same("64", "31c9 f7f1 f4", numbers);
    same("real", "b80300 f7f3 cd10", |s| s.gpr[3] = 0);
}

#[test]
fn accesses_to_devices_come_in_order() {
    if !there() {
        return;
    }
    let ends = [KVM, INTERP].map(|make| {
        // add [rbx], eax; mov eax, [rbx]; xchg [rbx], ecx; rep movsb of 3 bytes to there; hlt
        let mut g = Guest::new(make, "64", "0103 8b03 870b b903000000 4889df f3a4 f4", |s| {
            s.gpr[3] = 0x3_f000;
            s.gpr[6] = 0x2000;
        });
        g.set_word(crate::TABLE + 8 * 0x3f, 0xfee0_0067);
        assert_eq!(to_halt(&mut g), Exit::Halted);
        let log = g.board.log.lock().expect("not poisoned").clone();
        (timeless(&mut g), log.into_iter().map(|(_, what)| what).collect::<Vec<_>>())
    });
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn an_access_is_complete_when_the_run_ends() {
    if !there() {
        return;
    }
    // mov ecx, [rbx]; rep insb of 3; hlt; mov eax, 7; hlt
    let mut g = Guest::new(KVM, "64", "8b0b b903000000 f36c f4 b807000000 f4", |s| {
        (s.gpr[2], s.gpr[3], s.gpr[7]) = (0x80, 0x3_f000, 0x9000);
    });
    g.set_word(crate::TABLE + 8 * 0x3f, 0xfee0_0067);
    let mut elsewhere = g.state();
    elsewhere.rip = 0x100a;
    *g.board.stops.lock().expect("not poisoned") = Some(g.vcpu.kicker());
    assert_eq!(to_halt(&mut g), Exit::Kicked);
    // It would be late now.
    g.change(|s| assert_eq!((s.gpr[1], s.rip), (0x5a5a_5a5a, 0x1002)));
    assert_eq!(to_halt(&mut g), Exit::Kicked);
    g.vcpu.set_state(&elsewhere).expect("a state");
    assert_eq!(to_halt(&mut g), Exit::Halted);
    let (end, mut expected) = (timeless(&mut g), elsewhere);
    expected.msrs.tsc_offset = 0;
    (expected.gpr[0], expected.rip) = (7, 0x1010);
    expected.events.activity = Activity::Halted;
    assert_eq!(end, expected);
}

/// A board whose pins are these.
fn with_pins(pins: Pins, vector: Option<u8>) -> Board {
    Board { pins: Mutex::new(pins), vector, ..Board::default() }
}

#[test]
fn interrupts_wait_for_their_window() {
    if !there() {
        return;
    }
    let interrupt = Pins { interrupt: true, ..Pins::default() };
    let ends = [KVM, INTERP].map(|make| {
        // inc eax; sti; inc eax; inc eax; jmp to itself. STI lets one instruction pass.
        let code = "ffc0 fb ffc0 ffc0 ebfe";
        let board = with_pins(interrupt, Some(VECTOR));
        let mut g = Guest::with_board(make, "64", code, board, |s| s.rflags &= !rflags::IF);
        assert_eq!(to_halt(&mut g), Exit::Halted);
        timeless(&mut g)
    });
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0].gpr[0], 2);
    // An NMI comes whatever IF says, and the next one waits for IRET.
    let nmi = Pins { nmi: true, ..Pins::default() };
    let ends = [KVM, INTERP].map(|make| {
        let mut g = Guest::with_board(make, "64", "ebfe", with_pins(nmi, None), |s| {
            s.rflags &= !rflags::IF
        });
        assert_eq!(to_halt(&mut g), Exit::Halted);
        let state = timeless(&mut g);
        assert!(state.events.nmi_blocked);
        *g.board.pins.lock().expect("not poisoned") = nmi;
        g.vcpu.kicker().kick();
        assert_eq!(to_halt(&mut g), Exit::Halted, "it stays halted");
        assert!(g.state().events.nmi_pending);
        state
    });
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn a_halted_cpu_wakes_and_a_waiting_one_starts() {
    if !there() {
        return;
    }
    let ends = [KVM, INTERP].map(|make| {
        // sti; hlt; the handler halts again, with IF clear.
        let board = Board { vector: Some(VECTOR), ..Board::default() };
        let mut g = Guest::with_board(make, "64", "fb f4 90", board, |_| ());
        assert_eq!(to_halt(&mut g), Exit::Halted);
        assert_eq!(g.state().events.activity, Activity::Halted);
        assert_eq!(to_halt(&mut g), Exit::Halted, "nothing wakes it");
        *g.board.pins.lock().expect("not poisoned") = Pins { interrupt: true, ..Pins::default() };
        assert_eq!(to_halt(&mut g), Exit::Halted);
        let asleep = timeless(&mut g);
        // INIT, then a start-up IPI for page 2: mov al, 7; hlt.
        g.put(0x2000, "b007f4");
        *g.board.pins.lock().expect("not poisoned") =
            Pins { init: true, startup: Some(2), ..Pins::default() };
        g.change(|s| s.events.bootstrap = false);
        assert_eq!(to_halt(&mut g), Exit::Halted);
        (asleep, timeless(&mut g))
    });
    assert_eq!(ends[0], ends[1]);
    assert_eq!((ends[0].1.gpr[0], ends[0].1.rip), (7, 3));
}

#[test]
fn no_kick_is_lost_and_every_exit_is_between_instructions() {
    if !there() {
        return;
    }
    // add rdx, 1; add rbx, 1; mov [8000h], rdx; mov [8008h], rbx; out 80h, al; and again: at every
    // boundary the sums are at most one apart.
    let code = "4883c201 4883c301 48891425 00800000 48891c25 08800000 e680 ebe4";
    let mut g = Guest::new(KVM, "64", code, |_| ());
    let mut last = 0;
    for n in 0..200_u64 {
        let kicker = g.vcpu.kicker();
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_micros(n * 37 % 1500));
            kicker.stop();
        });
        assert_eq!(g.vcpu.run(Budget::Unlimited).expect("no failure"), Exit::Kicked);
        stopper.join().expect("it only stops");
        if n % 3 == 0 {
            let s = g.state();
            assert!(s.gpr[2] - s.gpr[3] <= 1, "{s:?}");
            let seen = g.word(0x8000);
            assert!(s.gpr[2] - seen <= 1 && seen >= last);
            assert!((0x1000..=0x101a).contains(&s.rip));
            last = seen;
            g.vcpu.set_state(&s).expect("a state");
        }
    }
}

#[test]
fn no_interrupt_is_lost_between_exits() {
    if !there() {
        return;
    }
    // jmp to itself; the handler counts in memory and returns.
    let board = Board { vector: Some(VECTOR), ..Board::default() };
    let mut g = Guest::with_board(KVM, "64", "ebfe", board, |s| s.rflags |= rflags::IF);
    // inc qword [8000h]; iretq
    g.put(crate::HANDLERS + 16 * u64::from(VECTOR), "48ff042500800000 48cf");
    let mut taken = 0;
    for n in 0..200_u64 {
        *g.board.pins.lock().expect("not poisoned") = Pins { interrupt: true, ..Pins::default() };
        let kicker = g.vcpu.kicker();
        kicker.kick();
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_micros(n * 13 % 400));
            kicker.stop();
        });
        let exit = g.vcpu.run(Budget::Unlimited).expect("no failure");
        stopper.join().expect("it only stops");
        assert!(exit == Exit::Kicked, "{n}: {exit:?} {:x?}", g.state());
        // The state moves while the interrupt may be anywhere on its way.
        let state = g.state();
        g.vcpu.set_state(&state).expect("a state");
        let mut pins = g.board.pins.lock().expect("not poisoned");
        taken += u64::from(!pins.interrupt);
        *pins = Pins::default();
    }
    // What is in the handler still comes out of it.
    let kicker = g.vcpu.kicker();
    let stopper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        kicker.stop();
    });
    assert_eq!(g.vcpu.run(Budget::Unlimited).expect("no failure"), Exit::Kicked);
    stopper.join().expect("it only stops");
    assert!(taken > 0);
    assert_eq!(g.word(0x8000), taken);
}

#[test]
fn a_closed_a20_gate_folds_addresses() {
    if !there() {
        return;
    }
    let ends = [KVM, INTERP].map(|make| {
        let board = with_pins(Pins { a20_masked: true, ..Pins::default() }, None);
        // mov eax, [102000h]; hlt
        let mut g = Guest::with_board(make, "32", "a100201000 f4", board, |s| {
            s.control.cr0 &= !cr0::PG;
        });
        g.put(0x2000, "78563412");
        assert_eq!(to_halt(&mut g), Exit::Halted);
        timeless(&mut g)
    });
    assert_eq!(ends[0].gpr[0], 0x1234_5678);
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn a_triple_fault_ends_on_kvm() {
    if !there() {
        return;
    }
    let mut g = Guest::new(KVM, "64", "0f0b", |s| s.segments.idtr.limit = 0);
    assert!(matches!(to_halt(&mut g), Exit::TripleFault(_)));
    assert_eq!(g.state().events.activity, Activity::Shutdown);
}

#[test]
fn a_guest_moves_between_kvm_and_the_interpreter() {
    if !there() {
        return;
    }
    // A checksum over numbers: mov ecx, 200000; imul rax, rax, 6364136223846793005; add rax, rcx;
    // ror rax, 7; movq xmm0, rax; paddq xmm1, xmm0; xor [8000h], rax; dec ecx; jnz; hlt
    let code = "b9400d0300 48ba2d7f954c2df45158 480fafc2 4801c8 48c1c807 66480f6ec0 660fd4c8 \
                4831042500800000 ffc9 75de f4";
    let run = |hops: bool| {
        let mut g = Guest::new(INTERP, "64", code, |_| ());
        let mut on_kvm = false;
        let model = KVM(g.ram.clone()).fit(crate::model());
        loop {
            let exit = if on_kvm {
                let kicker = g.vcpu.kicker();
                let stopper = thread::spawn(move || {
                    thread::sleep(Duration::from_micros(300));
                    kicker.stop();
                });
                let exit = g.vcpu.run(Budget::Unlimited).expect("no failure");
                stopper.join().expect("it only stops");
                exit
            } else {
                g.run(3000)
            };
            if exit == Exit::Halted {
                break;
            }
            if hops {
                let state = g.state();
                on_kvm = !on_kvm;
                g.engine = if on_kvm { KVM } else { INTERP }(g.ram.clone());
                let vcpu = g.engine.create_vcpu(0, &model, g.board.clone());
                g.vcpu = vcpu.expect("an engine of this host");
                g.vcpu.set_state(&state).expect("a state");
            }
        }
        (timeless(&mut g), g.memory())
    };
    let (moved, stayed) = (run(true), run(false));
    assert_eq!(moved.0, stayed.0);
    assert!(moved.1 == stayed.1);
}

#[test]
fn a_shadow_goes_with_the_state() {
    if !there() {
        return;
    }
    let board = with_pins(Pins { interrupt: true, ..Pins::default() }, Some(VECTOR));
    // inc eax; inc eax; jmp: the first one is behind a STI.
    let mut g = Guest::with_board(KVM, "64", "ffc0 ffc0 ebfe", board, |s| {
        s.rflags |= rflags::IF;
        s.events.shadow = Shadow::Sti;
    });
    assert_eq!(to_halt(&mut g), Exit::Halted);
    assert_eq!(g.state().gpr[0], 1);
}
