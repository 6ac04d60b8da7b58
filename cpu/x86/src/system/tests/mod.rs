//! Tests of what vectors cannot express: gates, tasks, stacks, several exceptions at once.
//!
//! They run single instructions and events on a [`Core`] with a little RAM, identity-mapped.

mod hostile;
mod legacy;
mod long;
mod models;
mod paravirt;
mod tasks;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use trine_guest::{Gpa, Ram, VmTime};

use crate::{
    Access, Bus, Core, CpuModel, CpuState, Decoded, Decoder, Insn, MsrFault, Pins, Raised, Seg,
    Table, cr0, cr4, efer,
    state::{Activity, Segment},
};

const GDT: u64 = 0x1000;
const IDT: u64 = 0x2000;
const TSS: u64 = 0x3000;
const LDT: u64 = 0x4000;
const CODE: u64 = 0x5000;
const PAGES: u64 = 0x8000;
const STACK0: u64 = 0x1_0000;
const STACK3: u64 = 0x1_8000;

/// Selectors of the GDT.
const CODE0: u16 = 0x08;
const DATA0: u16 = 0x10;
const CODE3: u16 = 0x1b;
const DATA3: u16 = 0x23;
const TASK: u16 = 0x28;
/// Takes two places in long mode.
const FREE: u16 = 0x38;

/// A bus that remembers what was written to it.
#[derive(Default)]
struct Desk {
    msrs: Mutex<Vec<(u32, u64, Option<VmTime>)>>,
    priority: Mutex<u8>,
    /// What was told of the TSC.
    tsc_offsets: Mutex<Vec<u64>>,
    /// Nanoseconds beyond the first millisecond.
    later: AtomicU64,
    /// Nanoseconds that were stolen and not told yet.
    stolen: AtomicU64,
}

impl Bus for Desk {
    fn mmio_read(&self, _: Access, _: Gpa, _: &mut [u8]) {}
    fn mmio_write(&self, _: Access, _: Gpa, _: &[u8]) {}
    fn port_in(&self, _: Access, port: u16, data: &mut [u8]) {
        data.fill(port as u8);
    }
    fn port_out(&self, _: Access, _: u16, _: &[u8]) {}
    fn read_msr(&self, _: Access, msr: u32) -> Result<u64, MsrFault> {
        if msr == crate::msr::APIC_BASE { Ok(0xfee0_0900) } else { Err(MsrFault) }
    }
    fn write_msr(
        &self,
        _: Access,
        msr: u32,
        value: u64,
        deadline: Option<VmTime>,
    ) -> Result<(), MsrFault> {
        self.msrs.lock().unwrap().push((msr, value, deadline));
        Ok(())
    }
    fn task_priority(&self, _: Access) -> u8 {
        *self.priority.lock().unwrap()
    }
    fn set_task_priority(&self, _: Access, priority: u8) {
        *self.priority.lock().unwrap() = priority;
    }
    fn pins(&self, _: Access) -> Pins {
        Pins::default()
    }
    fn acknowledge_interrupt(&self, _: Access) -> Option<u8> {
        None
    }
    fn random(&self, _: Access) -> u64 {
        42
    }
    fn now(&self, _: Access) -> VmTime {
        VmTime(1_000_000 + self.later.load(Ordering::Relaxed))
    }
    fn wall_clock(&self) -> Duration {
        Duration::new(1_234_567_890, 500)
    }
    fn take_stolen_ns(&self, _: Access) -> u64 {
        self.stolen.swap(0, Ordering::Relaxed)
    }
    fn set_tsc_offset(&self, _: Access, offset: u64) {
        self.tsc_offsets.lock().unwrap().push(offset);
    }
}

/// A cold instruction.
type Cold = fn(&mut Core, &Insn) -> Result<(), Raised>;

struct Bench {
    core: Core,
    desk: Arc<Desk>,
}

impl Bench {
    /// A CPU in 32-bit protected mode without paging, or in 64-bit mode, at CPL 0.
    fn new(long: bool) -> Self {
        let model = CpuModel::named("max").unwrap();
        let ram = Arc::new(Ram::flat(0x4_0000).unwrap());
        let desk = Arc::new(Desk::default());
        let core = Core::new(0, &model, ram, desk.clone());
        let mut bench = Self { core, desk };
        let code = if long { 0x00af_9b00_0000_ffff } else { 0x00cf_9b00_0000_ffff };
        let data = 0x00cf_9300_0000_ffff;
        let user = 3 << 45;
        for (n, d) in [0, code, data, code | user, data | user].into_iter().enumerate() {
            bench.put(GDT + 8 * n as u64, d);
        }
        bench.put(GDT + u64::from(TASK), tss_descriptor(TSS, 0xfff, 0x8b));
        bench.put(PAGES, (PAGES + 0x1000) | 0x27);
        bench.put(PAGES + 0x1000, 0xe7);
        bench.put(TSS + 4, if long { STACK0 } else { STACK0 | u64::from(DATA0) << 32 });
        let mut s = CpuState::reset(&model, 0);
        s.gpr = std::array::from_fn(|n| 0x100 + n as u64);
        s.gpr[4] = STACK0;
        s.rip = CODE;
        s.rflags = 2;
        s.control.cr0 = cr0::PE | cr0::ET | cr0::NE | if long { cr0::PG } else { 0 };
        if long {
            s.control.cr3 = PAGES;
            s.control.cr4 = cr4::PAE;
            s.control.efer = efer::LME | efer::LMA | efer::SCE;
        }
        s.segments.gdtr = Table { base: GDT, limit: 0xff };
        s.segments.idtr = Table { base: IDT, limit: 0xfff };
        s.segments.tr = Segment { selector: TASK, base: TSS, limit: 0xfff, rights: 0x8b };
        s.segments.ldtr.rights = crate::segment::UNUSABLE;
        bench.core.set_state(&s);
        bench.set_level(0);
        bench
    }

    /// Puts flat segments of that privilege in place, with its stack.
    fn set_level(&mut self, cpl: u8) {
        let (code, data, sp) =
            if cpl == 3 { (CODE3, DATA3, STACK3) } else { (CODE0, DATA0, STACK0) };
        for seg in Seg::ALL {
            let selector = if seg == Seg::Cs { code } else { data };
            let bits = self.get(GDT + u64::from(selector & !7));
            let d = crate::system::descriptor::Descriptor { at: 0, bits };
            self.core.segments.seg[seg as usize] = d.segment(selector);
        }
        self.core.regs[4] = sp;
        self.core.refresh();
        assert_eq!(self.core.cpl, cpl);
    }

    fn put(&mut self, at: u64, value: u64) {
        self.core.ram.write(Gpa(at), &value.to_le_bytes()).unwrap();
    }

    fn put32(&mut self, at: u64, value: u32) {
        self.core.ram.write(Gpa(at), &value.to_le_bytes()).unwrap();
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.core.ram.read(Gpa(at), &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn get32(&self, at: u64) -> u32 {
        self.get(at) as u32
    }

    /// A gate of the interrupt table.
    fn gate(&mut self, vector: u8, selector: u16, offset: u64, rights: u8, ist: u8) {
        let low = offset & 0xffff
            | u64::from(selector) << 16
            | u64::from(ist) << 32
            | u64::from(rights) << 40
            | (offset >> 16 & 0xffff) << 48;
        if self.core.long_mode() {
            self.put(IDT + 16 * u64::from(vector), low);
            self.put(IDT + 16 * u64::from(vector) + 8, offset >> 32);
        } else {
            self.put(IDT + 8 * u64::from(vector), low);
        }
    }

    /// Runs one instruction as an engine does: RIP behind it, and back at its start on a fault.
    fn run(&mut self, f: Cold, bytes: &[u8]) -> Result<(), Raised> {
        let decoder = Decoder::new(&self.core.model);
        let start = self.core.rip;
        let Decoded::Insn(insn) = decoder.decode(bytes, self.core.mode, start, 0) else {
            panic!("{bytes:x?} is no instruction");
        };
        self.core.rip = start + u64::from(insn.len);
        let result = f(&mut self.core, &insn);
        if result.is_err() {
            self.core.rip = start;
        }
        result
    }

    /// Runs an instruction that must not fault.
    fn ok(&mut self, f: Cold, bytes: &[u8]) {
        let result = self.run(f, bytes);
        assert_eq!(result, Ok(()), "{:?}", self.core.raised);
    }

    /// Runs an instruction that must fault with this vector and error code.
    fn faults(&mut self, f: Cold, bytes: &[u8], vector: u8, code: Option<u32>) {
        assert!(self.run(f, bytes).is_err());
        let raised = self.core.raised.take().unwrap();
        assert_eq!((raised.vector, raised.code), (vector, code));
    }

    fn selector(&self, seg: Seg) -> u16 {
        self.core.segments.seg[seg as usize].selector
    }

    fn is_shut_down(&self) -> bool {
        self.core.events.activity == Activity::Shutdown
    }
}

/// The low half of a TSS's descriptor.
fn tss_descriptor(base: u64, limit: u64, rights: u64) -> u64 {
    limit & 0xffff | (base & 0xff_ffff) << 16 | rights << 40 | (base >> 24 & 0xff) << 56
}
