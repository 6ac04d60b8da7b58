//! Page tables: accessed and dirty bits, crossings, rights, reserved bits.
//!
//! Source: SDM vol. 3A, chapter 5.

use trine_engine::Exit;
use trine_x86::{cr0, cr4, efer, rflags, vector};

use crate::{ENGINES, Guest, HANDLERS, RSP, TABLE};

#[test]
fn accessed_and_dirty_bits() {
    const A: u64 = 0x20;
    const D: u64 = 0x40;
    let entry = TABLE + 8 * 9;
    for make in ENGINES {
        for (code, want) in [
            ("8a03", A),
            ("8803", A | D),
            ("0003", A | D),
            ("f00003", A | D),
            ("8603", A | D),
            ("ffe3", A),
            ("f30f6f03", A),
            ("f30f7f03", A | D),
            // Loaded first: the translation is known, the bit is still to be set.
            ("8a03 8803", A | D),
            // A prefetch and a NOP with an operand touch nothing.
            ("0f1f03", 0),
        ] {
            let mut g = Guest::new(make, "64", code, |s| s.gpr[3] = 0x9000);
            for level in 0..4 {
                let at = TABLE - 0x1000 * level;
                g.set_word(at, g.word(at) & !(A | D));
            }
            g.set_word(entry, 0x9007);
            g.put(0x9000, "90");
            assert_eq!(g.run(2), Exit::Budget);
            assert_eq!(g.word(entry), 0x9007 | want, "{code}");
            assert_eq!(g.word(TABLE - 0x1000) & (A | D), A, "{code}");
        }
        // A store that is refused marks nothing as dirty.
        let mut g = Guest::new(make, "64", "8803", |s| s.gpr[3] = 0x9000);
        g.set_word(entry, 0x9005);
        g.until_handler(vector::PF);
        assert_eq!(g.word(entry) & D, 0);
    }
}

#[test]
fn faults_across_pages_store_nothing() {
    for make in ENGINES {
        // Operand at [rbx], 16 bytes at most; page 5 is not present.
        for (code, size) in [
            ("8903", 4),
            ("488903", 8),
            ("480103", 8),
            ("f0480103", 8),
            ("488703", 8),
            ("48870b", 8),
            ("0f1103", 16),
            ("488f03", 8),
            ("480fc103", 8),
            ("480fb10b", 8),
            ("d933", 28),
            ("0fc70b", 8),
            ("66c7031122", 2),
        ] {
            for below in 1..size {
                for (at, cr2) in [(0x5000 - below, 0x5000), (0x6000 - below, 0x6000 - below)] {
                    let mut g = Guest::new(make, "64", code, |s| {
                        s.gpr[3] = at;
                        s.gpr[0] = 0x1122_3344_5566_7788;
                    });
                    g.set_word(TABLE + 8 * 6, 0x6067);
                    g.set_word(0x4ff0, u64::MAX);
                    g.set_word(0x4ff8, u64::MAX);
                    let before = g.memory();
                    let state = g.until_handler(vector::PF);
                    // FNSTENV looks at its first field, then at its last byte, as on Intel's CPUs.
                    let last_byte = code == "d933" && at + 4 <= 0x5000;
                    let cr2 = if last_byte { at + 27 } else { cr2 };
                    assert_eq!(state.control.cr2, cr2, "{code} at {at:x}");
                    assert_eq!(g.pushed(0), 2, "{code}: a supervisor's write");
                    let after = g.memory();
                    assert_eq!(before[0x4000..0x7000], after[0x4000..0x7000], "{code} at {at:x}");
                    let mut rsp = state.gpr[RSP];
                    rsp += 6 * 8;
                    assert_eq!(rsp, 0x8000, "{code}");
                }
            }
        }
        // The second page of an instruction.
        let mut g = Guest::new(make, "64", "90", |s| s.rip = 0x4ffe);
        g.put(0x4ffe, "48b8");
        let state = g.until_handler(vector::PF);
        assert_eq!((state.control.cr2, g.pushed(1)), (0x5000, 0x4ffe));
    }
}

/// What the manual says of an access (SDM vol. 3A, section 5.6.1): the error code, or none.
fn refused(
    op: usize,
    bits: u64,
    user: bool,
    wp: bool,
    smep: bool,
    smap: bool,
    ac: bool,
) -> Option<u64> {
    let (us, rw, xd) = (bits & 4 != 0, bits & 2 != 0, bits >> 63 != 0);
    let (write, fetch) = (op == 1, op == 2);
    let allowed = match (user, op) {
        (true, 0) => us,
        (true, 1) => us && rw,
        (true, _) => us && !xd,
        (false, 2) => !(xd || us && smep),
        (false, op) => !(us && smap && !ac) && (op == 0 || rw || !wp),
    };
    let code = 1 | u64::from(write) << 1 | u64::from(user) << 2 | u64::from(fetch) << 4;
    (!allowed).then_some(code)
}

#[test]
fn the_matrix_of_page_rights() {
    for make in ENGINES {
        for n in 0..3 * 8 * 32 {
            let (op, bits, flags) = (n % 3, n / 3 % 8, n / 24);
            let on = |bit: usize| flags >> bit & 1 != 0;
            let (user, wp, smep, smap, ac) = (on(0), on(1), on(2), on(3), on(4));
            let page = 0x9001
                | if bits & 1 != 0 { 2 } else { 0 }
                | if bits & 2 != 0 { 4 } else { 0 }
                | if bits & 4 != 0 { 1 << 63 } else { 0 };
            let mode = if user { "64u" } else { "64" };
            let mut g = Guest::new(make, mode, ["8a03", "8803", "ffe3"][op], |s| {
                s.gpr[3] = 0x9000;
                s.control.efer |= efer::NXE;
                s.control.cr0 = s.control.cr0 & !cr0::WP | if wp { cr0::WP } else { 0 };
                s.control.cr4 |=
                    if smep { cr4::SMEP } else { 0 } | if smap { cr4::SMAP } else { 0 };
                s.rflags |= if ac { rflags::AC } else { 0 };
            });
            // The supervisor's are all pages but those of a user's code and stack.
            for n in 0..0x40 {
                let user_page = user && matches!(n, 1 | 7);
                let at = TABLE + 8 * n;
                if n != 9 && !user_page && g.word(at) != 0 {
                    g.set_word(at, g.word(at) & !4);
                }
            }
            g.set_word(TABLE + 8 * 9, page);
            g.put(0x9000, "90");
            let what = format!("op {op}, entry {page:x}, flags {flags:05b}");
            // After the jump comes what it jumped to, or the handler's HLT.
            let _ = g.run(if op == 2 { 2 } else { 1 });
            let state = g.state();
            let got = (state.rip & !1 == HANDLERS + 14 * 16).then(|| g.pushed(0));
            assert_eq!(got, refused(op, page, user, wp, smep, smap, ac), "{what}");
            if got.is_some() {
                assert_eq!(state.control.cr2, 0x9000, "{what}");
            }
        }
    }
}

#[test]
fn reserved_bits_of_page_tables() {
    for make in ENGINES {
        // Without NXE, XD is reserved; a physical address beyond the CPU's is always.
        for (level, bit) in [(0, 63), (1, 63), (2, 63), (3, 63), (0, 51), (2, 51), (3, 7)] {
            let mut g = Guest::new(make, "64", "8a03", |s| {
                s.gpr[3] = 0x9000;
                s.control.efer &= !efer::NXE;
            });
            let at = TABLE - 0x1000 * level + if level == 0 { 8 * 9 } else { 0 };
            // Upper levels serve the handler, too: it is over with the first fault.
            g.set_word(at, g.word(at) | 1 << bit);
            if level == 0 {
                g.until_handler(vector::PF);
                assert_eq!(g.pushed(0), 9, "bit {bit} at level {level}");
            } else {
                assert!(matches!(g.run(1), Exit::TripleFault(_)), "bit {bit} at level {level}");
            }
        }
        // PAE: bits 62 to 52 are reserved, which in long mode they are not.
        for (bit, refused) in [(52, true), (62, true), (9, false), (11, false)] {
            let mut g = Guest::new(make, "32", "8a03 f4", |s| {
                s.gpr[3] = 0x9000;
                s.control.cr0 |= cr0::PG;
                s.control.cr4 |= cr4::PAE;
                s.control.cr3 = 0x2_0000;
                s.control.pdpte[0] = 0x2_1001;
            });
            g.set_word(0x2_1000, 0x2_2007);
            for n in 0..0x40 {
                g.set_word(0x2_2000 + 8 * n, n << 12 | 7);
            }
            g.set_word(0x2_2000 + 8 * 9, 0x9007 | 1 << bit);
            if refused {
                let state = g.until_handler(vector::PF);
                assert_eq!(g.word(state.gpr[RSP]) & 0xffff_ffff, 9, "bit {bit}");
            } else {
                assert_eq!(g.run(2), Exit::Halted);
                assert_eq!(g.state().rip, 0x1003, "bit {bit}");
            }
        }
    }
}
