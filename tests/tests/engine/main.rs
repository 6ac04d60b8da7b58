//! The contract of `trine_engine`, on every engine that keeps it on this host.
//!
//! Each test takes an engine through its traits only. Guests are a few bytes of machine code on the
//! vectors' stage: code at 1000h, tables above 10000h, each exception's handler a HLT.

mod alias;
mod debug;
mod granules;
mod hop;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kvm;
mod mixture;
mod order;
mod paging;
mod remap;
mod simd;
mod walk;

use std::{
    num::NonZeroU64,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use trine_engine::{
    Access, Budget, Bus, CpuModel, CpuState, Engine, Exit, Kicker, MsrFault, Pins, Vcpu,
};
use trine_guest::{Gpa, Ram, VmTime};
use trine_tests::hopper::Hopper;
use trine_testsuites::vectors::{Stage, Vector};
use trine_x86::{Activity, Shadow, rflags, vector};

const HANDLERS: u64 = 0x1_3000;
const IDT: u64 = 0x1_1000;
const TSS: u64 = 0x1_2000;
/// The page table of 64-bit vectors.
const TABLE: u64 = 0x1_7000;
const RSP: usize = 4;

type Make = fn(Arc<Ram>) -> Box<dyn Engine>;

/// Every engine; the translator with whole blocks, with a block for each instruction, and without
/// host code.
const SINGLE: [Make; 4] = [
    |ram| Box::new(trine_interp::Interp::new(ram)),
    |ram| Box::new(translate(ram).eager(trine_x86::BLOCK_INSNS)),
    |ram| Box::new(translate(ram).eager(1)),
    |ram| {
        let engine = trine_translate::Translate::evaluated(ram).expect("it runs anywhere");
        Box::new(engine.eager(trine_x86::BLOCK_INSNS))
    },
];

/// The same, and a guest that moves among them all the time.
const ENGINES: [Make; 5] = [SINGLE[0], SINGLE[1], SINGLE[2], SINGLE[3], |ram| {
    Box::new(Hopper::new(SINGLE.iter().map(|make| make(ram.clone())).collect()))
}];

fn translate(ram: Arc<Ram>) -> trine_translate::Translate {
    trine_translate::Translate::new(ram).expect("it makes code for this host")
}

/// Pins, and a record of accesses. Its clock moves each time that somebody looks.
#[derive(Default)]
struct Board {
    pins: Mutex<Pins>,
    /// Comes with the acknowledge cycle.
    vector: Option<u8>,
    /// What the pins are once an interrupt has been acknowledged.
    after: Mutex<Pins>,
    clock: AtomicU64,
    log: Mutex<Vec<(u64, String)>>,
    /// Stopped at each access.
    stops: Mutex<Option<Kicker>>,
}

impl Board {
    fn note(&self, by: Access, what: String) {
        self.log.lock().expect("not poisoned").push((by.retired, what));
        if let Some(kicker) = &*self.stops.lock().expect("not poisoned") {
            kicker.stop();
        }
    }
}

impl Bus for Board {
    fn mmio_read(&self, by: Access, at: Gpa, data: &mut [u8]) {
        data.fill(0x5a);
        self.note(by, format!("read {} at {at}", data.len()));
    }
    fn mmio_write(&self, by: Access, at: Gpa, data: &[u8]) {
        self.note(by, format!("write {data:?} at {at}"));
    }
    fn port_in(&self, by: Access, port: u16, data: &mut [u8]) {
        data.fill(by.retired as u8);
        self.note(by, format!("in {port:x}"));
    }
    fn port_out(&self, by: Access, port: u16, data: &[u8]) {
        self.note(by, format!("out {port:x} {data:?}"));
    }
    fn read_msr(&self, _: Access, _: u32) -> Result<u64, MsrFault> {
        Err(MsrFault)
    }
    fn write_msr(&self, _: Access, _: u32, _: u64, _: Option<VmTime>) -> Result<(), MsrFault> {
        Err(MsrFault)
    }
    fn task_priority(&self, _: Access) -> u8 {
        0
    }
    /// Anything above 0 holds every interrupt back.
    fn set_task_priority(&self, _: Access, priority: u8) {
        if priority > 0 {
            self.pins.lock().expect("not poisoned").interrupt = false;
        }
    }
    fn pins(&self, _: Access) -> Pins {
        let mut pins = self.pins.lock().expect("not poisoned");
        let now = *pins;
        (pins.nmi, pins.init, pins.startup) = (false, false, None);
        now
    }
    fn acknowledge_interrupt(&self, _: Access) -> Option<u8> {
        *self.pins.lock().expect("not poisoned") = *self.after.lock().expect("not poisoned");
        self.vector
    }
    fn random(&self, _: Access) -> u64 {
        4
    }
    fn now(&self, _: Access) -> VmTime {
        VmTime(self.clock.fetch_add(1, Ordering::Relaxed))
    }
}

/// One vCPU at the start of its code.
struct Guest {
    ram: Arc<Ram>,
    board: Arc<Board>,
    engine: Box<dyn Engine>,
    vcpu: Box<dyn Vcpu>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len() / 2)
        .map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).expect("hex digits"))
        .collect()
}

fn model() -> CpuModel {
    CpuModel::named("max").expect("there is a model 'max'")
}

impl Guest {
    /// `code` in `mode` (see [`trine_testsuites::vectors`]), after `change`.
    fn new(make: Make, mode: &str, code: &str, change: impl FnOnce(&mut CpuState)) -> Self {
        Self::with_board(make, mode, code, Board::default(), change)
    }

    fn with_board(
        make: Make,
        mode: &str,
        code: &str,
        board: Board,
        change: impl FnOnce(&mut CpuState),
    ) -> Self {
        let line = format!("{mode} 90 \"code\" => rip=0");
        let v: Vector = line.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        let stage = Stage::new(&v);
        stage.ram.write(Gpa(0x1000), &bytes(code)).expect("in RAM");
        let board = Arc::new(board);
        let engine = make(stage.ram.clone());
        let model = engine.fit(model());
        let vcpu = engine.create_vcpu(0, &model, board.clone());
        let mut vcpu = vcpu.expect("an engine of this host");
        let mut state = stage.state(&v, &model);
        change(&mut state);
        vcpu.set_state(&state).expect("a state");
        Self { ram: stage.ram, board, engine, vcpu }
    }

    fn run(&mut self, n: u64) -> Exit {
        let n = NonZeroU64::new(n).expect("some instructions");
        self.vcpu.run(Budget::Instructions(n)).expect("the host does not fail")
    }

    fn state(&mut self) -> CpuState {
        self.vcpu.state().expect("the host does not fail")
    }

    fn change(&mut self, change: impl FnOnce(&mut CpuState)) {
        let mut state = self.state();
        change(&mut state);
        self.vcpu.set_state(&state).expect("a state");
    }

    fn put(&self, at: u64, hex: &str) {
        self.ram.write(Gpa(at), &bytes(hex)).expect("in RAM");
    }

    fn word(&self, at: u64) -> u64 {
        let mut word = [0; 8];
        self.ram.read(Gpa(at), &mut word).expect("in RAM");
        u64::from_le_bytes(word)
    }

    fn set_word(&self, at: u64, value: u64) {
        self.ram.write(Gpa(at), &value.to_le_bytes()).expect("in RAM");
    }

    /// Runs until it halts, which it does in the handler of `vector`; returns the state there.
    fn until_handler(&mut self, vector: u8) -> CpuState {
        assert_eq!(self.run(10_000), Exit::Halted);
        let state = self.state();
        let at = state.rip.wrapping_sub(HANDLERS + 1);
        assert_eq!(at % 16, 0, "halted at {:x}, in no handler", state.rip);
        assert_eq!(vector::name((at / 16) as u8), vector::name(vector));
        state
    }

    /// The quadwords on a 64-bit stack: the error code if there is one, then RIP, CS, RFLAGS.
    fn pushed(&mut self, n: u64) -> u64 {
        let rsp = self.state().gpr[RSP];
        self.word(rsp + 8 * n)
    }

    /// All of RAM.
    fn memory(&self) -> Vec<u8> {
        let mut all = vec![0; self.ram.len() as usize];
        self.ram.read(Gpa(0), &mut all).expect("in RAM");
        all
    }
}

/// Runs a guest to its HLT on every engine: state and memory are the same everywhere.
fn all_alike(guest: impl Fn(Make) -> Guest) {
    let ends = ENGINES.map(|make| {
        let mut g = guest(make);
        assert_eq!(g.run(100_000), Exit::Halted);
        (g.state(), g.memory())
    });
    for (state, memory) in &ends[1..] {
        assert_eq!(*state, ends[0].0);
        assert!(*memory == ends[0].1);
    }
}

/// Programs that end in every way that a block can: branches, faults, REP, stores to themselves,
/// devices. Mode, code, what to set.
const PROGRAMS: [(&str, &str); 12] = [
    // inc eax; add ebx, eax; dec ecx; jnz; hlt
    ("64", "ffc0 01c3 ffc9 75f8 f4"),
    // rep movsb over pages; inc eax; jmp back with a new count
    ("64", "f3a4 ffc0 b900300000 be00800000 bf00900000 ebed"),
    // ud2 behind a few; the handler halts
    ("64", "ffc0 ffc0 ffc0 0f0b"),
    // out; in; a load beyond RAM (4 GiB is mapped nowhere: a fault); never reached
    ("64", "ffc0 e680 ffc0 e580 8b0425 00f00300 a100000080 00000000"),
    // mov [rip+1], cl; mov eax, imm; inc ecx; jmp
    ("64", "880d01000000 b811223344 ffc1 ebf1"),
    // push; call; pop; ret
    ("32", "50 e802000000 ebf8 5b 4b 53 c3"),
    // LOOP, string stores and stack in 16 bits
    ("real", "b90500 51 b90300 f3aa 59 e2f7 ebf1"),
    // at CPL 3: a store to a page that is not there
    ("32u", "40 40 a300500000"),
    // CPUID, RDTSC (time is the bus's), flags
    ("64", "31c0 0fa2 ffc0 9c 58 80f401 ebf4"),
    // flags that are soon set anew: add; xor; shl; mov; rol 1; rol 5; inc; dec; neg; sub; imul;
    // adc; shr 0; and; pushf; pop; jmp
    (
        "64",
        "01c8 31c2 c1e003 89c3 d1c0 c1c005 ffc1 ffc9 f7da 29d0 0fafc1 83d001 c1e900 83e207 9c 58 \
         ebd6",
    ),
    // add; xor; shl; inc; a load that faults and shows their flags
    ("64", "01c8 31c2 c1e203 ffc1 a100000080 00000000"),
    // constants in registers, and in parts of them, for shifts by CL, CMOV, BSF, XCHG, an index, REP:
    // mov ecx, 4; shl ebx, cl; mov cl, 33; rol rbx, cl; mov ah, cl; sub ah, cl; setz dl; ...; jmp
    (
        "64",
        "b904000000d3e3b12148d3c388cc28cc0f94c24531c94983d17f4a8db4ce08fcffff41ba000000 \
         8041d3fa4d0f48da4500d16641b880ff450fbec04183f88075254c8986f8030000b90000000048 \
         d3eb72140fbcc94987c84c01c14c0fafd1bf03000000f3aaeb98",
    ),
];

/// What takes addresses to the host's stays in a register between accesses near one another, and a
/// multiplication between them needs registers, too.
#[test]
fn a_product_leaves_addresses_alone() {
    // mov esi, 9000h; mov ecx, 2000; mov dword [rsi+20h], 7654321h; then mov [rsi+18h], rcx;
    // mov [rsi+10h], rdi; mov eax, BA7Eh; mul qword [rsi+20h]; add r14d, [rsi+10h];
    // add r14d, [rsi+18h]; add r14d, edx; add rdi, rax; dec ecx; jnz back; hlt
    let code = "be00900000b9d0070000c746202143650748894e1848897e10b87eba000048f76620440376 \
                10440376184101d64801c7ffc975ddf4";
    all_alike(|make| Guest::new(make, "64", code, |_| ()));
}

/// A block's steps call each other, at most as many as it has instructions; where the compiler does
/// not make jumps of the calls, they still need little of the stack.
#[test]
fn the_interpreter_needs_little_stack() {
    let work = || {
        // 40 times inc eax; then back while ecx is not 0
        let code = "ffc0".repeat(40) + "ffc9 75ac f4";
        let make: Make = |ram| Box::new(trine_interp::Interp::new(ram));
        let mut guest = Guest::new(make, "64", &code, |s| s.gpr[1] = 1000);
        assert_eq!(guest.run(1_000_000), Exit::Halted);
        assert_eq!(guest.vcpu.retired(), 42 * 1000 + 1);
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(work);
    thread.expect("a thread").join().expect("no overflow");
}

#[test]
fn budgets_are_exact_wherever_they_end() {
    for make in ENGINES {
        for (mode, code) in PROGRAMS {
            let start = |s: &mut CpuState| {
                s.gpr[1] = 0x23;
                s.gpr[6] = 0x8000;
                s.gpr[7] = 0x9000;
                s.segments.seg[2].limit |= 0xffff;
            };
            let mut whole = Guest::new(make, mode, code, start);
            let exit = whole.run(60);
            let total = whole.vcpu.retired();
            assert!(total == 60 || exit == Exit::Halted, "{code}: {total}, {exit:?}");
            for piece in [1, 2, 3, 7] {
                let mut parts = Guest::new(make, mode, code, start);
                let mut ran = 0;
                while ran < total {
                    let now = piece.min(total - ran);
                    let exit = parts.run(now);
                    ran += now;
                    if ran < total {
                        assert_eq!(exit, Exit::Budget, "{code}");
                    }
                    assert_eq!(parts.vcpu.retired(), ran, "{code}");
                }
                assert_eq!(parts.state(), whole.state(), "{mode} {code} in pieces of {piece}");
                assert_eq!(parts.memory(), whole.memory(), "{mode} {code}");
                let log = |g: &Guest| g.board.log.lock().expect("not poisoned").clone();
                assert_eq!(log(&parts), log(&whole), "{mode} {code}");
            }
        }
    }
}

#[test]
fn devices_hear_which_instruction_asks() {
    for make in ENGINES {
        // inc; inc; out; inc; in; jmp
        let mut g = Guest::new(make, "64", "ffc0 ffc0 e680 ffc0 e480 ebf4", |_| ());
        assert_eq!(g.run(10), Exit::Budget);
        let log = g.board.log.lock().expect("not poisoned");
        let when: Vec<u64> = log.iter().map(|(retired, _)| *retired).collect();
        assert_eq!(when, [2, 4, 8]);
    }
}

#[test]
fn a_locked_operation_reads_a_device_once() {
    for make in ENGINES {
        let mut g = Guest::new(make, "64", "8703 f4", |s| {
            s.gpr[3] = 0x3_f000;
            s.gpr[0] = 7;
        });
        // The page is beyond RAM now.
        g.set_word(TABLE + 8 * 0x3f, 0xfee0_0067);
        assert_eq!(g.run(2), Exit::Halted);
        assert_eq!(g.state().gpr[0], 0x5a5a_5a5a);
        let log = g.board.log.lock().expect("not poisoned");
        let what: Vec<&str> = log.iter().map(|(_, what)| &what[..]).collect();
        assert_eq!(what, ["read 4 at 0xfee00000", "write [7, 0, 0, 0] at 0xfee00000"]);
    }
}

#[test]
fn a_stop_is_never_lost() {
    for make in ENGINES {
        let mut g = Guest::new(make, "64", "ebfe", |_| ());
        g.vcpu.kicker().stop();
        assert_eq!(g.vcpu.run(Budget::Unlimited).expect("no failure"), Exit::Kicked);
        assert_eq!(g.run(5), Exit::Budget);
        // A kick without a stop is no reason to return.
        g.vcpu.kicker().kick();
        assert_eq!(g.run(5), Exit::Budget);
        for _ in 0..20 {
            let kicker = g.vcpu.kicker();
            let stopper = std::thread::spawn(move || kicker.stop());
            assert_eq!(g.vcpu.run(Budget::Unlimited).expect("no failure"), Exit::Kicked);
            stopper.join().expect("it only stops");
        }
    }
}

/// A guest whose page-fault handler lies in a page that is not present: faults for ever, on a
/// stack that starts anew each time, and never completes an instruction.
fn endless_faults(make: Make) -> Guest {
    let g = Guest::new(make, "64", "0f0b", |_| ());
    for vector in [6, 14] {
        let gate = g.word(IDT + 16 * vector) & !0xffff & !(0xffff << 48) | 0x5000 | 1 << 32;
        g.set_word(IDT + 16 * vector, gate);
    }
    g.set_word(TSS + 0x24, 0x1_f000);
    g
}

#[test]
fn faults_without_end_can_be_stopped() {
    for make in ENGINES {
        let mut g = endless_faults(make);
        let until = Budget::Until(VmTime(3));
        assert_eq!(g.vcpu.run(until).expect("no failure"), Exit::Budget);
        let before = g.vcpu.retired();
        assert_eq!(g.run(100), Exit::Budget);
        assert_eq!(g.vcpu.retired(), before + 100);
        let kicker = g.vcpu.kicker();
        let stopper = std::thread::spawn(move || kicker.stop());
        assert_eq!(g.vcpu.run(Budget::Unlimited).expect("no failure"), Exit::Kicked);
        stopper.join().expect("it only stops");
    }
}

#[test]
fn a_triple_fault_says_so() {
    for make in ENGINES {
        let mut g = Guest::new(make, "64", "0f0b", |s| s.segments.idtr.limit = 0);
        let Exit::TripleFault(fault) = g.run(3) else { panic!("there is no handler") };
        let vectors: Vec<u8> = fault.chain.iter().map(|e| e.vector).collect();
        assert_eq!(vectors[0], vector::UD);
        assert!(vectors.len() >= 3 && fault.rip == 0x1000, "{fault}");
        assert_eq!(g.state().events.activity, Activity::Shutdown);
    }
}

#[test]
fn code_that_changes_itself() {
    for make in ENGINES {
        // mov byte [rip+1], 42h; mov eax, 1; hlt: the second one is what the first makes it.
        let mut g = Guest::new(make, "64", "c6050100000042 b801000000 f4", |_| ());
        assert_eq!(g.run(2), Exit::Budget);
        assert_eq!(g.state().gpr[0], 0x42);
        // mov [rip+1], cl; mov eax, imm32 across two pages; inc ecx; jmp back.
        let mut g = Guest::new(make, "64", "90", |s| {
            s.gpr[1] = 0x10;
            s.rip = 0x1ff9;
        });
        g.put(0x1ff9, "880d01000000 b800000000 ffc1 ebf1");
        for n in 0x10..0x80 {
            assert_eq!(g.run(4), Exit::Budget);
            assert_eq!((g.state().gpr[0], g.state().rip), (n, 0x1ff9));
        }
        // From outside, between two runs; in either page.
        g.put(0x2001, "01");
        assert_eq!(g.run(4), Exit::Budget);
        assert_eq!(g.state().gpr[0], 0x180);
        g.put(0x1fff, "bb");
        assert_eq!(g.run(4), Exit::Budget);
        assert_eq!(g.state().gpr[3], 0x181);
    }
}

#[test]
fn one_page_of_code_before_two_others() {
    for make in ENGINES {
        // Pages 2 and Ah are the same one; what follows them is not. The instruction reaches over.
        let mut g = Guest::new(make, "64", "90", |_| ());
        g.set_word(TABLE + 8 * 0xa, 0x2067);
        g.put(0x2fff, "b8");
        g.put(0x3000, "11000000 f4");
        g.put(0xb000, "22000000 f4");
        for _ in 0..3 {
            for (rip, want) in [(0x2fff, 0x11), (0xafff, 0x22), (0x2fff, 0x11)] {
                g.change(|s| s.rip = rip);
                assert_eq!(g.run(1), Exit::Budget);
                assert_eq!((g.state().gpr[0], g.state().rip), (want, rip + 5));
            }
        }
        // The instruction becomes a short one, and the second page goes: nobody may miss it.
        g.put(0x2fff, "90");
        g.set_word(TABLE + 8 * 3, 0);
        g.change(|s| s.rip = 0x2fff);
        assert_eq!(g.run(1), Exit::Budget);
        assert_eq!(g.state().rip, 0x3000);
    }
}

#[test]
fn the_limit_of_cs_counts_at_each_entry() {
    for make in ENGINES {
        let mut g = Guest::new(make, "32", "90 90 90 ebfb", |_| ());
        assert_eq!(g.run(8), Exit::Budget);
        g.change(|s| {
            s.rip = 0x1000;
            s.segments.seg[1].limit = 0x1001;
        });
        let state = g.until_handler(vector::GP);
        let rsp = state.gpr[RSP];
        assert_eq!(g.word(rsp) & 0xffff_ffff, 0);
        assert_eq!(g.word(rsp + 4) & 0xffff_ffff, 0x1002);
    }
}

/// A far jump to a shorter segment with the same base: nothing else tells the blocks apart.
#[test]
fn a_shorter_code_segment_ends_earlier() {
    for make in ENGINES {
        // Twice nop, nop, far jump to the start with the other selector.
        let mut g = Guest::new(make, "32", "90 90 ea00100000 6000", |_| ());
        // Selector 60h: as selector 8, but the limit is 1001h.
        g.set_word(0x1_0060, 0x0040_9b00_0000_1001);
        assert_eq!(g.run(3), Exit::Budget);
        assert_eq!(g.run(2), Exit::Budget);
        let state = g.until_handler(vector::GP);
        assert_eq!(g.word(state.gpr[RSP] + 4) & 0xffff_ffff, 0x1002);
    }
}

#[test]
fn code_that_another_cpu_changes() {
    for make in SINGLE {
        const LAST: u32 = 200;
        let reader =
            "448b042500900000 31c0 0fa2 e8eb0f0000 4439c0 720a 4489042508900000 ebe0 f4 f4";
        let mut g = Guest::new(make, "64", reader, |_| ());
        assert_eq!(bytes(reader)[12], 0xe8);
        // What is called, at 2000h: mov eax, imm; ret.
        let call = 0x2000 - (0x1000 + 17);
        g.ram.write(Gpa(0x100d), &u32::to_le_bytes(call)).expect("in RAM");
        g.put(0x2000, "b800000000 c3");
        // The writer, at 3000h: the immediate, then the number; waits until the reader has it.
        g.put(
            0x3000,
            "890c2501200000 890c2500900000 390c2508900000 75f7 ffc1 81f9c8000000 75df f4",
        );
        let mut state = g.state();
        state.rip = 0x3000;
        state.gpr[1] = 1;
        let writer = g.engine.create_vcpu(0, &model(), g.board.clone());
        let mut writer = writer.expect("an engine of this host");
        writer.set_state(&state).expect("a state");
        let kicker = g.vcpu.kicker();
        let (ram, stopper) = (g.ram.clone(), writer.kicker());
        let read = std::thread::spawn(move || {
            let exit = g.vcpu.run(Budget::Unlimited).expect("no failure");
            stopper.stop();
            exit
        });
        let exit = writer.run(Budget::Unlimited).expect("no failure");
        kicker.stop();
        assert_eq!(read.join().expect("no panic"), Exit::Kicked, "the reader saw old code");
        assert_eq!(exit, Exit::Halted);
        let mut seen = [0; 4];
        ram.read(Gpa(0x9008), &mut seen).expect("in RAM");
        assert_eq!(u32::from_le_bytes(seen), LAST - 1);
    }
}

#[test]
fn shadows_hold_back_what_they_should() {
    let board =
        |pins: Pins| Board { pins: Mutex::new(pins), vector: Some(0x1e), ..Board::default() };
    let interrupt = Pins { interrupt: true, ..Pins::default() };
    let nmi = Pins { nmi: true, ..Pins::default() };
    for make in ENGINES {
        for (pins, shadow, vector, before) in [
            (interrupt, Shadow::None, 0x1e, 0),
            (interrupt, Shadow::Sti, 0x1e, 1),
            (interrupt, Shadow::MovSs, 0x1e, 1),
            (nmi, Shadow::None, 2, 0),
            (nmi, Shadow::Sti, 2, 1),
            (nmi, Shadow::MovSs, 2, 1),
        ] {
            let mut g = Guest::with_board(make, "64", "90 90 90", board(pins), |s| {
                s.rflags |= rflags::IF;
                s.events.shadow = shadow;
            });
            g.until_handler(vector);
            assert_eq!(g.pushed(0), 0x1000 + before, "{shadow:?}");
        }
        // STI itself casts one; HLT behind it is left at once.
        let mut g = Guest::with_board(make, "64", "fb f4 90", board(interrupt), |_| ());
        g.until_handler(0x1e);
        assert_eq!(g.pushed(0), 0x1002);
    }
}

#[test]
fn no_edge_of_a_pin_is_lost() {
    for make in ENGINES {
        // An NMI arrives during the acknowledge cycle of an interrupt.
        let board = Board {
            pins: Mutex::new(Pins { interrupt: true, ..Pins::default() }),
            vector: Some(0x1e),
            after: Mutex::new(Pins { nmi: true, ..Pins::default() }),
            ..Board::default()
        };
        let mut g = Guest::with_board(make, "64", "90", board, |s| s.rflags |= rflags::IF);
        g.until_handler(vector::NMI);
        // Before or behind the first instruction of the interrupt's handler.
        assert_eq!(g.pushed(0) & !1, HANDLERS + 0x1e0);
        assert!(g.state().events.nmi_blocked);
        // A second one waits.
        g.board.pins.lock().expect("not poisoned").nmi = true;
        assert_eq!(g.run(1), Exit::Halted);
        assert!(g.state().events.nmi_pending);
    }
}

#[test]
fn an_interrupt_that_is_held_back_in_time_does_not_come() {
    for make in ENGINES {
        let pins = Mutex::new(Pins { interrupt: true, ..Pins::default() });
        let board = Board { pins, vector: Some(0x1e), ..Board::default() };
        // mov cr8, rax; sti; nop; nop
        let mut g = Guest::with_board(make, "64", "440f22c0 fb 90 90", board, |s| s.gpr[0] = 1);
        assert_eq!(g.run(4), Exit::Budget);
        assert_eq!(g.state().rip, 0x1007);
    }
}

#[test]
fn init_and_startup() {
    for make in ENGINES {
        let g = Guest::new(make, "real", "90", |_| ());
        g.put(0x9000, "40 f4");
        let mut second = make(g.ram.clone())
            .create_vcpu(1, &model(), g.board.clone())
            .expect("an engine of this host");
        let one = Budget::Instructions(NonZeroU64::MIN);
        assert_eq!(second.run(one).expect("no failure"), Exit::Halted);
        assert_eq!(second.retired(), 0);
        let pins = |init, startup| {
            *g.board.pins.lock().expect("not poisoned") = Pins { init, startup, ..Pins::default() };
        };
        pins(false, Some(9));
        assert_eq!(second.run(one).expect("no failure"), Exit::Budget);
        let state = second.state().expect("no failure");
        assert_eq!((state.segments.seg[1].base, state.rip, state.gpr[0]), (0x9000, 1, 1));
        // A start-up IPI to a CPU that runs is nothing; INIT and start-up together are a restart.
        pins(false, Some(8));
        assert_eq!(second.run(one).expect("no failure"), Exit::Halted);
        pins(true, Some(9));
        assert_eq!(second.run(one).expect("no failure"), Exit::Budget);
        assert_eq!(second.state().expect("no failure").rip, 1);
    }
}

#[test]
fn a_halted_cpu_wakes_up() {
    for make in ENGINES {
        let board = Board { vector: Some(0x1e), ..Board::default() };
        let mut g = Guest::with_board(make, "64", "f4 90", board, |s| s.rflags |= rflags::IF);
        assert_eq!(g.run(100), Exit::Halted);
        assert_eq!((g.vcpu.retired(), g.state().rip), (1, 0x1001));
        assert_eq!(g.run(100), Exit::Halted);
        assert_eq!(g.vcpu.retired(), 1);
        g.board.pins.lock().expect("not poisoned").interrupt = true;
        g.vcpu.kicker().kick();
        g.until_handler(0x1e);
        assert_eq!((g.pushed(0), g.vcpu.retired()), (0x1001, 2));
    }
}

#[test]
fn a_state_goes_on_elsewhere() {
    for make in ENGINES {
        for (mode, code) in PROGRAMS {
            for steps in [1, 2, 3, 5, 9, 17] {
                let start = |s: &mut CpuState| {
                    (s.gpr[1], s.gpr[6], s.gpr[7]) = (0x23, 0x8000, 0x9000);
                    s.segments.seg[2].limit |= 0xffff;
                };
                let mut first = Guest::new(make, mode, code, start);
                let _ = first.run(steps);
                let text = serde_json::to_string(&first.state()).expect("it serialises");
                let state: CpuState = serde_json::from_str(&text).expect("and back");
                assert_eq!(state, first.state());
                let mut second = Guest::new(make, mode, code, |_| ());
                second.ram.write(Gpa(0), &first.memory()).expect("in RAM");
                second
                    .board
                    .clock
                    .store(first.board.clock.load(Ordering::Relaxed), Ordering::Relaxed);
                second.vcpu.set_state(&state).expect("a state");
                // What IN reads follows from the count, which starts anew.
                let _ = (first.run(40), second.run(40));
                if !code.contains("e580") {
                    assert_eq!(first.state(), second.state(), "{mode} {code} after {steps}");
                    assert_eq!(first.memory(), second.memory(), "{mode} {code} after {steps}");
                }
            }
        }
    }
}
