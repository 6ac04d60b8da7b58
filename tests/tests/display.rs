//! The display adapter on the board: its memory is memory, wherever its BAR is, on every engine.

use trine_devices::{Display, Picture};
use trine_guest::VmTime;
use trine_machine::{ClockKind, Ending, EngineKind, Limits, Machine};
use trine_tests::rom::{self, engines};

/// Code of a ROM, in 16 bits: EAX, EDX and memory behind FS, which reaches all addresses.
#[derive(Default)]
struct Code(Vec<u8>);

impl Code {
    /// mov dx, port; mov eax, value; out dx, eax
    fn out(&mut self, port: u16, value: u32) {
        self.0.push(0xba);
        self.0.extend(port.to_le_bytes());
        self.0.extend([0x66, 0xb8]);
        self.0.extend(value.to_le_bytes());
        self.0.extend([0x66, 0xef]);
    }

    /// mov dx, port; mov ax, value; out dx, ax
    fn out_word(&mut self, port: u16, value: u16) {
        self.0.push(0xba);
        self.0.extend(port.to_le_bytes());
        self.0.push(0xb8);
        self.0.extend(value.to_le_bytes());
        self.0.push(0xef);
    }

    /// Writes a register of the adapter's configuration space.
    fn configure(&mut self, register: u8, value: u32) {
        self.out(0xcf8, 0x8000_1000 | u32::from(register));
        self.out(0xcfc, value);
    }

    fn dispi(&mut self, register: u16, value: u16) {
        self.out_word(0x1ce, register);
        self.out_word(0x1cf, value);
    }

    /// mov dword fs:[at], value
    fn store(&mut self, at: u32, value: u32) {
        self.0.extend([0x64, 0x67, 0x66, 0xc7, 0x05]);
        self.0.extend(at.to_le_bytes());
        self.0.extend(value.to_le_bytes());
    }

    /// mov eax, fs:[from]; mov fs:[to], eax
    fn copy(&mut self, from: u32, to: u32) {
        self.0.extend([0x64, 0x67, 0x66, 0xa1]);
        self.0.extend(from.to_le_bytes());
        self.0.extend([0x64, 0x67, 0x66, 0xa3]);
        self.0.extend(to.to_le_bytes());
    }
}

/// Where the frame buffer is first, and then.
const FIRST: u32 = 0xe000_0000;
const THEN: u32 = 0xd100_0000;

/// 64 KiB: sets 640 by 480 dots of 32 bits, and draws the first four, of which the last is what is
/// read where the frame buffer was before it moved.
fn rom() -> Vec<u8> {
    let gdt = 0x8000_u16;
    let mut code = Code::default();
    // lgdt cs:[gdt]; mov eax, 1; mov cr0, eax; mov cx, 8; mov fs, cx; dec ax; mov cr0, eax: FS reaches
    // 4 GiB.
    code.0.extend([0x2e, 0x66, 0x0f, 0x01, 0x16]);
    code.0.extend(gdt.to_le_bytes());
    code.0.extend([0x66, 0xb8, 1, 0, 0, 0, 0x0f, 0x22, 0xc0, 0xb9, 8, 0, 0x8e, 0xe1, 0x48]);
    code.0.extend([0x0f, 0x22, 0xc0]);
    code.configure(0x10, FIRST);
    code.configure(0x04, 3);
    for (register, value) in [(4, 0), (1, 640), (2, 480), (3, 32), (4, 0x41)] {
        code.dispi(register, value);
    }
    // mov dx, 3C0h; mov al, 20h; out dx, al: the screen is on.
    code.0.extend([0xba, 0xc0, 0x03, 0xb0, 0x20, 0xee]);
    code.store(FIRST, 0x11_2233);
    code.store(FIRST + 4, 0x44_5566);
    code.configure(0x10, THEN);
    code.copy(THEN, THEN + 8);
    code.copy(FIRST, THEN + 12);
    // mov al, 0; out F4h, al; hlt
    code.0.extend([0xb0, 0, 0xe6, 0xf4, 0xf4]);
    let mut rom = vec![0; 64 << 10];
    rom[..code.0.len()].copy_from_slice(&code.0);
    let at = usize::from(gdt);
    rom[at..at + 6].copy_from_slice(&[15, 0, 8, 0x80, 0x0f, 0]);
    rom[at + 16..at + 24].copy_from_slice(&[0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0]);
    // The table is at FFFF8008h: LGDT with 32 bits.
    rom[at + 2..at + 6].copy_from_slice(&0xffff_8008_u32.to_le_bytes());
    rom[0xfff0..0xfff5].copy_from_slice(&[0xea, 0, 0, 0, 0xf0]);
    rom
}

fn machine(engine: EngineKind, clock: ClockKind) -> Machine {
    rom::machine(rom(), engine, clock)
}

fn picture(machine: &Machine) -> Picture {
    let draw = |display: &mut dyn Display, now: VmTime| {
        display.draw(now);
        display.picture().clone()
    };
    machine.board().look(draw).expect("there is an adapter")
}

#[test]
fn a_frame_buffer_moves_with_its_bar() {
    for engine in engines() {
        let mut machine = machine(engine, ClockKind::Host);
        let ending = machine.run(Limits::host_seconds(60)).expect("the host does not fail");
        assert_eq!(ending, Ending::DebugExit(1), "{engine:?}");
        let picture = picture(&machine);
        assert_eq!((picture.width(), picture.height()), (640, 480));
        let dots = [0x11_2233, 0x44_5566, 0x11_2233, 0xff_ffff, 0];
        assert_eq!(picture.line(0)[..5], dots, "{engine:?}");
    }
}

#[test]
fn what_is_on_the_screen_is_in_a_snapshot() {
    for engine in engines() {
        let mut first = machine(engine, ClockKind::Host);
        first.run(Limits::host_seconds(60)).expect("the host does not fail");
        let mut second = machine(engine, ClockKind::Host);
        assert_ne!(picture(&second), picture(&first));
        second.load(&first.save().expect("a snapshot")).expect("they are built alike");
        assert_eq!(picture(&second), picture(&first), "{engine:?}");
    }
}
