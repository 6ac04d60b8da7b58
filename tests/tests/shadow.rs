//! A firmware that copies itself into the memory below its ROM, and then has its own segment change
//! between the two, on the whole machine: the same on every engine, with moves and snapshots in the
//! midst.

use trine_machine::{ClockKind, Ending, EngineKind, Limits, Machine, create_engine};
use trine_tests::rom::{self, engines};

/// How often the segment changes: often enough that its code is hot.
const TIMES: u16 = 400;
/// What the ROM holds at F8000h.
const WORD: u16 = 0x1111;

/// Writes `value` to PAM0 (F0000h to FFFFFh: 10h reads memory, 20h writes it).
fn pam(value: u8) -> Vec<u8> {
    // mov eax, 80000058h; mov dx, CF8h; out dx, eax; mov dx, CFDh; mov al, value; out dx, al
    let head = [0x66, 0xb8, 0x58, 0, 0, 0x80, 0xba, 0xf8, 0x0c, 0x66, 0xef, 0xba, 0xfd, 0x0c, 0xb0];
    [&head[..], &[value, 0xee]].concat()
}

/// 64 KiB that begin at their first byte. BX is the sum of what they saw; the status of the run is 0
/// if that is right.
fn rom() -> Vec<u8> {
    let mut code = pam(0x20);
    // mov ax, F000h; mov ds, ax; mov es, ax; mov ss, ax; xor si, si; xor di, di; mov cx, 8000h; cld;
    // rep movsw; xor bx, bx
    code.extend([0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x31, 0xf6, 0x31, 0xff]);
    code.extend([0xb9, 0x00, 0x80, 0xfc, 0xf3, 0xa5, 0x31, 0xdb]);
    let [low, high] = TIMES.to_le_bytes();
    // mov bp, TIMES
    code.extend([0xbd, low, high]);
    let again = code.len();
    let inc = [0xff, 0x06, 0x00, 0x80];
    let add = [0x03, 0x1e, 0x00, 0x80];
    // In memory it counts; in memory for reads alone, and in ROM, it does not.
    for (value, what) in [(0x30, &[inc][..]), (0x10, &[inc, add]), (0x00, &[inc, add])] {
        code.extend(pam(value));
        code.extend(what.concat());
    }
    // dec bp; jnz again
    code.extend([0x4d, 0x0f, 0x85]);
    let back = again as i16 - (code.len() as i16 + 2);
    code.extend(back.to_le_bytes());
    let mut sum = 0_u16;
    for n in 1..=TIMES {
        sum = sum.wrapping_add(WORD + n).wrapping_add(WORD);
    }
    let [low, high] = sum.to_le_bytes();
    // sub bx, sum; setnz al; out F4h, al; hlt
    code.extend([0x81, 0xeb, low, high, 0x0f, 0x95, 0xc0, 0xe6, 0xf4, 0xf4]);
    let mut rom = vec![0; 64 << 10];
    rom[..code.len()].copy_from_slice(&code);
    rom[0x8000..0x8002].copy_from_slice(&WORD.to_le_bytes());
    // jmp F000h:0000h
    rom[0xfff0..0xfff5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
    rom
}

fn machine(engine: EngineKind, clock: ClockKind) -> Machine {
    rom::machine(rom(), engine, clock)
}

#[test]
fn a_firmware_finds_itself_in_rom_and_in_memory() {
    for kind in engines() {
        let ending = machine(kind, ClockKind::Host).run(Limits::host_seconds(60));
        assert_eq!(
            ending.expect("the host does not fail"),
            Ending::DebugExit(1),
            "{}",
            kind.name()
        );
    }
}

#[test]
fn moves_and_snapshots_in_the_midst_change_nothing() {
    let software: Vec<_> = engines().into_iter().filter(|kind| *kind != EngineKind::Kvm).collect();
    let whole: Vec<_> = software
        .iter()
        .map(|kind| {
            let mut machine = machine(*kind, ClockKind::Instructions);
            let ending = machine.run(Limits::host_seconds(60)).expect("no failure");
            assert_eq!(ending, Ending::DebugExit(1));
            machine.save().expect("no failure")
        })
        .collect();
    assert!(whole.iter().all(|end| end.is_same(&whole[0])));
    let mut machines =
        [0, 1].map(|n| machine(software[n % software.len()], ClockKind::Instructions));
    for n in 0_u64.. {
        let limits = Limits { instructions: Some(1 + n * 97 % 1009), ..Limits::host_seconds(60) };
        let [now, other] = &mut machines;
        match now.run(limits).expect("no failure") {
            Ending::Instructions => {}
            ending => {
                assert_eq!(ending, Ending::DebugExit(1));
                break;
            }
        }
        let kind = software[n as usize % software.len()];
        if n % 3 == 0 {
            now.switch_engine(|ram| create_engine(kind, ram)).expect("the host has this engine");
        } else {
            // Whatever the other one's map was, it becomes this one's.
            let snapshot = now.save().expect("no failure");
            other.load(&snapshot).expect("they are built alike");
            machines.swap(0, 1);
        }
    }
    assert!(machines[0].save().expect("no failure").is_same(&whole[0]));
}

#[test]
fn a_reset_shows_the_rom_again() {
    let mut machine = machine(EngineKind::Interp, ClockKind::Instructions);
    let limits = Limits { instructions: Some(5_000), ..Limits::host_seconds(60) };
    let word = |machine: &Machine| {
        let mut word = [0; 2];
        machine.ram().read(trine_guest::Gpa(0xf_8000), &mut word).expect("ROM or memory");
        u16::from_le_bytes(word)
    };
    assert_eq!(machine.run(limits).expect("no failure"), Ending::Instructions);
    let hidden = machine.ram().load::<u16>(0xf_8000);
    assert!(hidden > WORD, "it has counted in memory: {hidden:x}");
    machine.reset().expect("no failure");
    assert_eq!((word(&machine), machine.ram().load::<u16>(0xf_8000)), (WORD, 0));
    let ending = machine.run(Limits::host_seconds(60)).expect("no failure");
    assert_eq!(ending, Ending::DebugExit(1));
}
