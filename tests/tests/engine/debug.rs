//! Debugging: single steps, instruction and data breakpoints.
//!
//! Source: SDM vol. 3B, chapter 18.

use trine_engine::{CpuState, Exit};
use trine_x86::{Activity, cr4, dr6, rflags, vector};

use crate::{ENGINES, Guest, HANDLERS};

/// Instructions, and where the next one is.
const STEPS: [(&str, u64); 14] = [
    ("90", 0x1001),
    ("0103", 0x1002),
    ("f00103", 0x1003),
    ("eb10", 0x1012),
    ("7410", 0x1002),
    ("7510", 0x1012),
    ("e800010000", 0x1105),
    ("50", 0x1001),
    ("a4", 0x1001),
    ("f3a4", 0x1000),
    ("0fa2", 0x1002),
    ("9d", 0x1001),
    ("d9e8", 0x1002),
    ("0f280b", 0x1003),
];

#[test]
fn every_instruction_is_a_single_step() {
    for make in ENGINES {
        for (code, next) in STEPS {
            let mut g = Guest::new(make, "64", code, |s| {
                s.rflags |= rflags::TF;
                s.gpr[1] = 2;
                s.gpr[3] = 0x9000;
                s.gpr[6] = 0x9000;
                s.gpr[7] = 0xa000;
            });
            let state = g.until_handler(vector::DB);
            assert_eq!(g.pushed(0), next, "{code}");
            assert_eq!(state.debug.dr6 & 0xf00f, dr6::BS, "{code}");
            let flags = g.pushed(2);
            // POPF has popped zeros; between iterations RF is set.
            assert_eq!(flags & rflags::TF != 0, code != "9d", "{code}");
            assert_eq!(flags & rflags::RF != 0, code == "f3a4", "{code}");
        }
        // MOV SS holds the trap back; INT3's handler runs without one.
        let trap = |s: &mut CpuState| {
            s.rflags |= rflags::TF;
            s.gpr[0] = 0x10;
        };
        let mut g = Guest::new(make, "64", "8ed0 90 90", trap);
        g.until_handler(vector::DB);
        assert_eq!(g.pushed(0), 0x1003);
        // INT1 passes for a debug exception of its own; what MOV SS held back is gone, or told
        // with it if it is a breakpoint.
        let mut g = Guest::new(make, "64", "8ed0 f1 90", trap);
        assert_eq!(g.until_handler(vector::DB).debug.dr6 & 0xf00f, 0);
        assert_eq!(g.pushed(0), 0x1003);
        let mut g = Guest::new(make, "64", "8e16 f1 90", |s| {
            s.gpr[6] = 0x9008;
            s.debug.address[1] = 0x9008;
            s.debug.dr7 |= 0x0030_0004;
        });
        g.put(0x9008, "1000");
        let state = g.until_handler(vector::DB);
        assert_eq!((g.pushed(0), state.debug.dr6 & 0xf00f), (0x1003, 2));
        assert_eq!(state.events.pending_debug, 0);
        let mut g = Guest::new(make, "64", "cc", trap);
        assert_eq!(g.until_handler(vector::BP).debug.dr6 & dr6::BS, 0);
        // A fault is not a step.
        let mut g = Guest::new(make, "64", "0f0b", trap);
        assert_eq!(g.until_handler(vector::UD).debug.dr6 & dr6::BS, 0);
    }
}

#[test]
fn instruction_breakpoints() {
    for make in ENGINES {
        let watch = |s: &mut CpuState| {
            s.debug.address[0] = 0x1001;
            s.debug.dr7 |= 1;
        };
        let mut g = Guest::new(make, "64", "90 90 90 f4", watch);
        let state = g.until_handler(vector::DB);
        assert_eq!((g.pushed(0), g.pushed(2) & rflags::RF), (0x1001, 0));
        assert_eq!(state.debug.dr6 & 0xf00f, 1);
        g.change(|s| {
            s.rip = 0x1001;
            s.rflags |= rflags::RF;
            s.events.activity = Activity::Running;
        });
        assert_eq!(g.run(1), Exit::Budget);
        assert_eq!((g.state().rip, g.state().rflags & rflags::RF), (0x1002, 0));
        // Once for all iterations. Its handler: inc r15; or [rsp+16], RF; iretq.
        let mut g = Guest::new(make, "64", "90 f3a4 f4", |s| {
            watch(s);
            (s.gpr[1], s.gpr[6], s.gpr[7]) = (0x2000, 0x9800, 0xc000);
        });
        g.put(HANDLERS + 16, "49ffc7 814c241000000100 48cf");
        assert_eq!(g.run(10_000), Exit::Halted);
        assert_eq!((g.state().gpr[15], g.state().gpr[1], g.state().rip), (1, 0, 0x1004));
    }
}

#[test]
fn data_breakpoints() {
    for make in ENGINES {
        // DR0: writes to the doubleword at 9000h. DR1: any access to the byte at 9008h.
        let watch = |s: &mut CpuState| {
            (s.debug.address[0], s.debug.address[1]) = (0x9000, 0x9008);
            s.debug.dr7 |= 0x003d_0005;
            (s.gpr[6], s.gpr[7], s.gpr[3]) = (0x9008, 0x5000, 0x9000);
        };
        for (code, hit) in [
            ("8903 90", Some(1)),
            ("c6430301 90", Some(1)),
            ("8943fe 90", Some(1)),
            ("0103 90", Some(1)),
            ("8703 90", Some(1)),
            ("8b4308 90", Some(2)),
            ("8b4307 90", Some(2)),
            ("8b03 f4", None),
            ("884304 f4", None),
        ] {
            let mut g = Guest::new(make, "64", code, watch);
            let Some(hit) = hit else {
                assert_eq!(g.run(100), Exit::Halted);
                assert!(g.state().rip < 0x1010, "{code}");
                continue;
            };
            let state = g.until_handler(vector::DB);
            assert_eq!(state.debug.dr6 & 0xf00f, hit, "{code}");
            let first = code.find(' ').unwrap_or(0) as u64 / 2;
            assert_eq!(g.pushed(0), 0x1000 + first, "{code}");
        }
        // Ports, with CR4.DE: reads and writes of port 80h, two bytes.
        for (code, de, hit) in [
            ("e680 90", true, true),
            ("66ed 90", true, true),
            ("e682 f4", true, false),
            ("e680 f4", false, false),
        ] {
            let mut g = Guest::new(make, "64", code, |s| {
                s.control.cr4 |= if de { cr4::DE } else { 0 };
                s.debug.address[2] = 0x80;
                s.debug.dr7 |= 0x0600_0010;
                s.gpr[2] = 0x7f;
            });
            if hit {
                assert_eq!(g.until_handler(vector::DB).debug.dr6 & 0xf00f, 4, "{code}");
                assert_eq!(g.pushed(0), 0x1002, "{code}");
            } else {
                assert_eq!(g.run(100), Exit::Halted);
                assert_eq!(g.state().rip, 0x1003, "{code}");
            }
        }
        // MOVSB reads what is watched, then faults: that is a fault and nothing else.
        let mut g = Guest::new(make, "64", "a4", watch);
        assert_eq!(g.until_handler(vector::PF).debug.dr6 & 0xf, 0);
    }
}
