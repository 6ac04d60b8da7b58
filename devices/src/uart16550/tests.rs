//! The 16550 against its datasheet and against what Linux's 8250 driver tries.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{Uart16550, VmTime};
use crate::{Bench, Inputs, SerialPeer, Timed};

const IRQ: u32 = 4;
/// Ten bits at 115,200 baud.
const CHARACTER_NS: u64 = 86_805;

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<(Vec<u8>, Vec<bool>)>>, Arc<AtomicUsize>);

impl SerialPeer for Wire {
    fn transmit(&mut self, byte: u8) {
        self.0.lock().expect("unshared").0.push(byte);
    }

    fn send_break(&mut self, on: bool) {
        self.0.lock().expect("unshared").1.push(on);
    }

    fn room(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

struct Com {
    bench: Bench,
    uart: Uart16550,
    wire: Wire,
}

impl Com {
    /// 115,200 baud, 8N1, OUT2 on, FIFOs off.
    fn new() -> Self {
        let bench = Bench::new();
        let wire = Wire::default();
        wire.1.store(usize::MAX, Ordering::Relaxed);
        let uart = Uart16550::new("com1", bench.backplane.line(IRQ), Box::new(wire.clone()));
        let mut com = Self { bench, uart, wire };
        for (reg, value) in [(3, 0x83), (0, 1), (1, 0), (3, 0x03), (4, 0x0b)] {
            com.out(reg, value);
        }
        com
    }

    fn out(&mut self, reg: u16, value: u8) {
        self.bench.port_out(&mut self.uart, reg, value);
    }

    fn read(&mut self, reg: u16) -> u8 {
        self.bench.port_in::<1>(&mut self.uart, reg)[0]
    }

    fn receive(&mut self, bytes: &[u8]) -> usize {
        self.bench.with(|cx| self.uart.receive(cx, bytes))
    }

    fn irq(&self) -> bool {
        self.uart.irq.level()
    }
}

#[test]
fn sent_bytes_arrive_and_the_empty_interrupt_is_paced() {
    let mut c = Com::new();
    c.out(Uart16550::IER, 0x02);
    assert!(c.irq(), "enabling the interrupt of an empty transmitter raises it");
    assert_eq!(c.read(Uart16550::IIR_FCR), 0x02);
    assert!(!c.irq(), "reading IIR clears it");
    for byte in *b"hi" {
        c.out(Uart16550::RBR_THR, byte);
        assert_eq!(c.read(Uart16550::LSR), 0x60);
    }
    assert_eq!(c.wire.0.lock().expect("unshared").0, b"hi");
    assert!(!c.irq());
    assert_eq!(c.uart.next_event(), Some(VmTime(CHARACTER_NS)));
    c.bench.run_ns(&mut c.uart, CHARACTER_NS);
    assert!(c.irq());
    c.out(Uart16550::RBR_THR, b'!');
    assert!(!c.irq(), "writing THR clears it");
    c.bench.run_ns(&mut c.uart, CHARACTER_NS);
    // 9600 baud.
    for (reg, value) in [(3, 0x83), (0, 12), (3, 0x03), (0, b'?')] {
        c.out(reg, value);
    }
    assert_eq!(c.uart.next_event(), Some(VmTime(3 * CHARACTER_NS)), "not slower than the fastest");
}

#[test]
fn the_transmitter_is_empty_when_the_other_end_has_room_for_a_fifo() {
    let mut c = Com::new();
    c.out(Uart16550::IIR_FCR, 0x01);
    c.wire.1.store(15, Ordering::Relaxed);
    assert_eq!(c.read(Uart16550::LSR), 0);
    c.out(Uart16550::IER, 0x02);
    c.bench.run_ns(&mut c.uart, 10 * CHARACTER_NS);
    assert_eq!((c.irq(), c.uart.next_event()), (false, None), "who wakes it is the other end");
    c.out(Uart16550::RBR_THR, b'a');
    c.bench.run_ns(&mut c.uart, 10 * CHARACTER_NS);
    assert_eq!((c.irq(), c.wire.0.lock().expect("unshared").0.len()), (false, 1));
    c.wire.1.store(16, Ordering::Relaxed);
    c.bench.with(|cx| c.uart.advance(cx));
    assert!(c.irq());
    assert_eq!((c.read(Uart16550::IIR_FCR), c.read(Uart16550::LSR)), (0xc2, 0x60));
    // Loopback goes nowhere.
    c.wire.1.store(0, Ordering::Relaxed);
    assert_eq!(c.read(Uart16550::LSR), 0);
    c.out(Uart16550::MCR, 0x1b);
    assert_eq!(c.read(Uart16550::LSR), 0x60);
}

#[test]
fn linux_finds_a_16550a_without_the_bugs_it_tests_for() {
    let mut c = Com::new();
    c.out(Uart16550::IER, 0);
    assert_eq!(c.read(Uart16550::IER), 0);
    c.out(Uart16550::IER, 0xff);
    assert_eq!(c.read(Uart16550::IER), 0x0f);
    c.out(Uart16550::IER, 0);
    c.out(Uart16550::MCR, 0x1a);
    assert_eq!(c.read(Uart16550::MSR) & 0xf0, 0x90);
    c.out(Uart16550::MCR, 0x0b);
    c.out(Uart16550::IIR_FCR, 0x01);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc1);
    // UART_BUG_THRE: the interrupt comes again each time it is enabled.
    for _ in 0..2 {
        c.out(Uart16550::IER, 0x02);
        assert_eq!(c.read(Uart16550::IIR_FCR), 0xc2);
        assert_eq!(c.read(Uart16550::IIR_FCR), 0xc1);
        c.out(Uart16550::IER, 0);
    }
    c.out(Uart16550::SCR, 0x5a);
    assert_eq!(c.read(Uart16550::SCR), 0x5a);
}

#[test]
fn the_fifo_interrupts_at_its_trigger_level() {
    let mut c = Com::new();
    c.out(Uart16550::IIR_FCR, 0x41);
    c.out(Uart16550::IER, 0x01);
    assert_eq!(c.receive(b"abc"), 3);
    assert!(!c.irq());
    assert_eq!(c.receive(b"d"), 1);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc4);
    assert_eq!(c.read(Uart16550::RBR_THR), b'a');
    assert!(!c.irq(), "below the trigger level");
    assert_eq!(c.uart.room(), 13);
    assert_eq!(c.receive(&[b'x'; 20]), 13);
    assert_eq!(c.receive(b"y"), 0);
    c.out(Uart16550::IIR_FCR, 0x43);
    assert_eq!((c.uart.room(), c.read(Uart16550::LSR)), (16, 0x60));
}

#[test]
fn a_lone_byte_times_out() {
    let mut c = Com::new();
    c.out(Uart16550::IIR_FCR, 0xc1);
    c.out(Uart16550::IER, 0x01);
    c.receive(b"ab");
    c.bench.run_ns(&mut c.uart, 4 * CHARACTER_NS - 1);
    assert!(!c.irq());
    c.bench.run_ns(&mut c.uart, 1);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xcc);
    assert_eq!(c.read(Uart16550::RBR_THR), b'a');
    assert!(!c.irq(), "a read restarts the wait");
    c.bench.run_ns(&mut c.uart, 4 * CHARACTER_NS);
    assert!(c.irq());
    assert_eq!(c.read(Uart16550::RBR_THR), b'b');
    assert_eq!(c.uart.next_event(), None);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc1);
}

#[test]
fn without_fifos_there_is_room_for_one_byte() {
    let mut c = Com::new();
    c.out(Uart16550::IER, 0x01);
    assert_eq!(c.receive(b"ab"), 1);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0x04);
    assert_eq!(c.read(Uart16550::LSR), 0x61);
    assert_eq!(c.read(Uart16550::RBR_THR), b'a');
    assert_eq!(c.read(Uart16550::LSR), 0x60);
}

#[test]
fn interrupts_have_priorities() {
    let mut c = Com::new();
    c.out(Uart16550::IIR_FCR, 0x01);
    c.out(Uart16550::IER, 0x0f);
    c.bench.with(|cx| c.uart.input(cx, Uart16550::PIN_CTS, false));
    c.receive(b"a");
    assert!(c.bench.with(|cx| c.uart.receive_break(cx)));
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc4, "the break is not at the top yet");
    assert_eq!(c.read(Uart16550::LSR), 0xe1, "but somewhere in the FIFO");
    assert_eq!(c.read(Uart16550::RBR_THR), b'a');
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc6);
    assert_eq!(c.read(Uart16550::LSR), 0xf1);
    assert_eq!(c.read(Uart16550::LSR), 0x61);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc4);
    assert_eq!(c.read(Uart16550::RBR_THR), 0);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc2);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc0);
    assert_eq!(c.read(Uart16550::MSR), 0xa1);
    assert_eq!(c.read(Uart16550::IIR_FCR), 0xc1);
    assert!(!c.irq());
}

#[test]
fn loopback_connects_the_chip_to_itself() {
    let mut c = Com::new();
    c.read(Uart16550::MSR);
    c.out(Uart16550::IER, 0x01);
    c.out(Uart16550::MCR, 0x1f);
    assert_eq!(c.read(Uart16550::MSR), 0xf0);
    c.out(Uart16550::RBR_THR, b'q');
    assert!(!c.irq(), "OUT2 is off the wire");
    assert_eq!(c.uart.room(), 0);
    c.out(Uart16550::RBR_THR, b'r');
    assert_eq!(c.read(Uart16550::LSR), 0x63, "overrun");
    assert_eq!(c.read(Uart16550::RBR_THR), b'r');
    assert!(c.wire.0.lock().expect("unshared").0.is_empty());
    c.out(Uart16550::MCR, 0x10);
    assert_eq!(c.read(Uart16550::MSR), 0x0f, "all four fell");
    c.out(Uart16550::MCR, 0x14);
    assert_eq!(c.read(Uart16550::MSR), 0x40, "a rising ring indicator does not count");
}

#[test]
fn out2_gates_the_wire() {
    let mut c = Com::new();
    c.out(Uart16550::IER, 0x02);
    assert!(c.irq());
    c.out(Uart16550::MCR, 0x03);
    assert!(!c.irq());
    c.out(Uart16550::MCR, 0x0b);
    assert!(c.irq());
}

#[test]
fn breaks_are_sent() {
    let mut c = Com::new();
    c.out(Uart16550::LCR, 0x43);
    c.out(Uart16550::LCR, 0x03);
    assert_eq!(c.wire.0.lock().expect("unshared").1, [true, false]);
}

#[test]
fn the_divisor_latch_hides_behind_dlab() {
    let mut c = Com::new();
    c.out(Uart16550::LCR, 0x83);
    c.out(0, 0x34);
    c.out(1, 0x12);
    assert_eq!(c.bench.port_in::<2>(&mut c.uart, 0), [0x34, 0x12]);
    c.out(Uart16550::LCR, 0x03);
    assert_eq!(c.read(Uart16550::IER), 0);
}
