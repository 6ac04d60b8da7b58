//! A memory map that changes while guests run: who changes it sees the new one at the next
//! instruction, whatever it remembers of the old one.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use trine_engine::{Access, Bus, CpuModel, CpuState, Engine, Exit, Kicker, MsrFault, Pins, Vcpu};
use trine_guest::{Gpa, PAGE_SIZE, Ram, Region, RegionKind, VmTime};
use trine_testsuites::vectors;
use trine_x86::{Seg, Segment, Table, cr0, cr4};

use crate::{ENGINES, Make, SINGLE, bytes};

/// The page that the map shows one thing or another at, and the other thing in the arena.
const PAGE: u64 = 0x8000;
const OTHER: u64 = 0x20_0000;
/// A page directory whose one entry maps the first 4 MiB as one page.
const DIRECTORY: u64 = 0x4000;
/// So often a guest goes around: often enough that everything is hot.
const TIMES: u32 = 3000;
/// The same where nothing becomes hot, and a change of the map is the host's work.
const TIMES_ON_HOST: u32 = 100;

/// The maps, by what is written to port F0h: the page as RAM, another in its place, that as ROM, and
/// nothing.
fn map(number: u8) -> Vec<(Region, u64)> {
    let region = |Range { start, end }: Range<u64>, offset, kind| {
        (Region { start: Gpa(start), len: end - start, kind }, offset)
    };
    let mut map = vec![
        region(0..PAGE, 0, RegionKind::Ram),
        region(PAGE + PAGE_SIZE..OTHER, PAGE + PAGE_SIZE, RegionKind::Ram),
    ];
    let page = PAGE..PAGE + PAGE_SIZE;
    match number {
        0 => map.push(region(page, PAGE, RegionKind::Ram)),
        1 => map.push(region(page, OTHER, RegionKind::Ram)),
        2 => map.push(region(page, OTHER, RegionKind::Rom)),
        _ => {}
    }
    map
}

/// A board that has the map changed by OUTs to port F0h, calls vCPU 1 with an NMI at port F1h, and
/// counts stores to itself.
struct Chipset {
    ram: Arc<Ram>,
    kickers: Mutex<Vec<Kicker>>,
    calls: AtomicBool,
    stores: Mutex<Vec<u64>>,
}

impl Bus for Chipset {
    fn mmio_read(&self, _: Access, _: Gpa, data: &mut [u8]) {
        data.fill(0x77);
    }
    fn mmio_write(&self, _: Access, at: Gpa, _: &[u8]) {
        self.stores.lock().expect("not poisoned").push(at.0);
    }
    fn port_in(&self, _: Access, _: u16, data: &mut [u8]) {
        data.fill(0xff);
    }
    fn port_out(&self, _: Access, port: u16, data: &[u8]) {
        match port {
            0xf0 => drop(self.ram.remap(&map(data[0])).expect("a map")),
            _ => self.calls.store(true, Ordering::SeqCst),
        }
        self.kickers.lock().expect("not poisoned").iter().for_each(Kicker::kick);
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
    fn set_task_priority(&self, _: Access, _: u8) {}
    fn pins(&self, by: Access) -> Pins {
        Pins { nmi: by.vcpu == 1 && self.calls.swap(false, Ordering::SeqCst), ..Pins::default() }
    }
    fn acknowledge_interrupt(&self, _: Access) -> Option<u8> {
        None
    }
    fn random(&self, _: Access) -> u64 {
        4
    }
    fn now(&self, _: Access) -> VmTime {
        VmTime::ZERO
    }
}

/// A machine of vCPUs that begin at 1000h, 1100h, ... in 32-bit mode with flat segments.
struct Pc {
    ram: Arc<Ram>,
    board: Arc<Chipset>,
    engine: Box<dyn Engine>,
    model: CpuModel,
    times: u32,
}

impl Pc {
    fn new(make: Make) -> Self {
        let ram = Arc::new(Ram::with_arena(OTHER + PAGE_SIZE, &map(0)).expect("2 MiB"));
        ram.write(Gpa(DIRECTORY), &0x83_u32.to_le_bytes()).expect("in RAM");
        let board = Arc::new(Chipset {
            ram: ram.clone(),
            kickers: Mutex::default(),
            calls: AtomicBool::new(false),
            stores: Mutex::default(),
        });
        let engine = make(ram.clone());
        let model = engine.fit(CpuModel::named("x86-64-v1").expect("there is such a model"));
        let times = if engine.limits().deterministic { TIMES } else { TIMES_ON_HOST };
        Self { ram, board, engine, model, times }
    }

    /// Code at an address; at [`PAGE`] it is in the page of map 0.
    fn put(&self, at: u64, hex: &str) {
        self.ram.store_bytes(at, &bytes(hex));
    }

    fn vcpu(&self, id: u32, pages: bool) -> Box<dyn Vcpu> {
        let vcpu = self.engine.create_vcpu(id, &self.model, self.board.clone());
        let mut vcpu = vcpu.expect("a vCPU");
        let mut state = CpuState::reset(&self.model, 0);
        let segment = |selector, rights| Segment { selector, base: 0, limit: u32::MAX, rights };
        state.segments.seg = [segment(0x10, 0xc093); 6];
        state.segments.seg[Seg::Cs as usize] = segment(8, 0xc09b);
        state.segments.gdtr = Table { base: 0x2000, limit: 0x17 };
        state.segments.idtr = Table { base: 0x2100, limit: 0xff };
        state.control.cr0 = cr0::PE | cr0::ET | cr0::NE;
        if pages {
            state.control.cr0 |= cr0::PG | cr0::WP;
            state.control.cr3 = DIRECTORY;
            state.control.cr4 |= cr4::PSE;
        }
        state.rip = 0x1000 + 0x100 * u64::from(id);
        state.gpr[4] = 0x7000 + 0x800 * u64::from(id);
        state.gpr[5] = u64::from(self.times);
        vcpu.set_state(&state).expect("a state");
        vcpu
    }
}

fn to_halt(vcpu: &mut dyn Vcpu) -> Exit {
    vectors::run_for(vcpu, Duration::from_secs(60)).expect("the host does not fail")
}

/// Runs `code` to its HLT with both pages filled, with and without paging; gives each machine and
/// the end to `look`.
fn each(make: Make, code: &str, page: &str, other: &str, look: impl Fn(&Pc, &CpuState)) {
    for pages in [false, true] {
        let pc = Pc::new(make);
        pc.put(0x1000, code);
        pc.put(PAGE, page);
        pc.put(OTHER, other);
        let mut vcpu = pc.vcpu(0, pages);
        assert_eq!(to_halt(&mut *vcpu), Exit::Halted, "{code}");
        look(&pc, &vcpu.state().expect("the host does not fail"));
    }
}

/// Loads see what the map shows: two memories, ROM, and a device.
pub(crate) fn loads(make: Make) {
    // l: mov al, 1; out F0h, al; add esi, [8000h]; mov al, 0; out F0h, al; add edi, [8000h];
    // mov al, 3; out F0h, al; mov ebx, [8000h]; mov al, 2; out F0h, al; add edx, [8000h];
    // dec ebp; jnz l; hlt
    let code = "b001e6f0 033500800000 b000e6f0 033d00800000 b003e6f0 8b1d00800000 b002e6f0 \
                031500800000 4d 75d5 f4";
    each(make, code, "01000000", "05000000", |pc, state| {
        let times = u64::from(pc.times);
        let sums = (state.gpr[6], state.gpr[7], state.gpr[2] as u32);
        // EDX is the model's signature after a reset.
        let signature = CpuState::reset(&CpuModel::named("x86-64-v1").expect("a model"), 0).gpr[2];
        assert_eq!(sums, (5 * times, times, (signature + 5 * times) as u32));
        assert_eq!(state.gpr[3], 0x7777_7777);
    });
}

/// Code is what the map shows: called, and under the feet of who changes it.
pub(crate) fn code(make: Make) {
    // l: mov al, 1; out F0h, al; mov ebx, 8000h; call ebx; mov al, 0; out F0h, al; call ebx;
    // dec ebp; jnz l; hlt. There: inc esi; ret, or inc edi; ret.
    let code = "b001e6f0 bb00800000 ffd3 b000e6f0 ffd3 4d 75ec f4";
    each(make, code, "46 c3", "47 c3", |pc, state| {
        let times = u64::from(pc.times);
        assert_eq!((state.gpr[6], state.gpr[7]), (times, times));
    });
    // l: mov ebx, 8000h; call ebx; mov al, 0; out F0h, al; dec ebp; jnz l; hlt. There: mov al, 1;
    // out F0h, al; and then inc esi; ret, which becomes inc edi; ret.
    let code = "bb00800000 ffd3 b000e6f0 4d 75f2 f4";
    each(make, code, "b001e6f0 46 c3", "90909090 47 c3", |pc, state| {
        assert_eq!((state.gpr[6], state.gpr[7]), (0, u64::from(pc.times)));
    });
}

/// Stores go where the map shows RAM, and to the bus where it shows ROM.
pub(crate) fn stores(make: Make) {
    // l: mov al, 0; out F0h, al; inc dword [8000h]; mov al, 1; out F0h, al; add dword [8000h], 2;
    // mov al, 2; out F0h, al; mov [8004h], ebp; dec ebp; jnz l; hlt
    let code = "b000e6f0 ff0500800000 b001e6f0 83050080000002 b002e6f0 892d04800000 4d 75de f4";
    each(make, code, "00000000 11111111", "00000000 22222222", |pc, _| {
        let words = |at: u64| (pc.ram.load::<u32>(at), pc.ram.load::<u32>(at + 4));
        assert_eq!(words(PAGE), (pc.times, 0x1111_1111));
        assert_eq!(words(OTHER), (2 * pc.times, 0x2222_2222));
        let stores = pc.board.stores.lock().expect("not poisoned");
        assert_eq!(stores.len(), pc.times as usize);
        assert!(stores.iter().all(|at| *at == 0x8004));
    });
}

/// What one vCPU changes, another sees when it is called.
pub(crate) fn calls(make: Make) {
    for _ in 0..20 {
        let pc = Pc::new(make);
        // A code segment; NMI's gate leads to 1200h.
        pc.ram.store(0x2008, 0x00cf_9b00_0000_ffff_u64);
        pc.ram.store(0x2010, 0x00cf_9300_0000_ffff_u64);
        pc.ram.store(0x2110, 0x0000_8e00_0008_1200_u64);
        // l: cmp dword [9000h], 100; jb l; mov al, 1; out F0h, al; out F1h, al; hlt
        pc.put(0x1000, "813d0090000064000000 72f4 b001 e6f0 e6f1 f4");
        // l: mov ebx, [8000h]; inc dword [9000h]; jmp l
        pc.put(0x1100, "8b1d00800000 ff0500900000 ebf2");
        // mov eax, [8000h]; hlt
        pc.put(0x1200, "a100800000 f4");
        pc.ram.store(PAGE, 1_u32);
        pc.ram.store(OTHER, 5_u32);
        let mut vcpus = [0, 1].map(|id| pc.vcpu(id, false));
        pc.board.kickers.lock().expect("not poisoned").extend(vcpus.iter().map(|v| v.kicker()));
        thread::scope(|scope| {
            for vcpu in &mut vcpus {
                scope.spawn(|| assert_eq!(to_halt(&mut **vcpu), Exit::Halted));
            }
        });
        assert_eq!(vcpus[1].state().expect("no failure").gpr[0], 5);
    }
}

/// What a guest stored to memory that has left the map is dirty, whatever the engine's log is.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn leaves_dirty(make: Make, log: &str) {
    let pc = Pc::new(make);
    // inc dword [8000h]; mov al, 1; out F0h, al; inc dword [8000h]; mov al, 3; out F0h, al; hlt
    pc.put(0x1000, "ff0500800000 b001e6f0 ff0500800000 b003e6f0 f4");
    let mut vcpu = pc.vcpu(0, false);
    let start = vcpu.state().expect("no failure");
    pc.engine.collect_dirty().expect("no failure");
    pc.ram.take_dirty();
    for _ in 0..3 {
        pc.ram.remap(&map(0)).expect("a map");
        pc.engine.collect_dirty().expect("no failure");
        pc.ram.take_dirty();
        vcpu.set_state(&start).expect("a state");
        assert_eq!(to_halt(&mut *vcpu), Exit::Halted);
        pc.engine.collect_dirty().expect("no failure");
        let dirty = pc.ram.take_dirty();
        assert!(dirty.contains(&PAGE) && dirty.contains(&OTHER), "{log}: {dirty:x?}");
        assert!(!dirty.contains(&0xa000), "{log}: {dirty:x?}");
    }
}

#[test]
fn loads_see_the_new_map() {
    ENGINES.into_iter().for_each(loads);
}

#[test]
fn code_is_what_the_new_map_shows() {
    ENGINES.into_iter().for_each(code);
}

#[test]
fn stores_go_where_the_new_map_leads() {
    ENGINES.into_iter().for_each(stores);
}

#[test]
fn who_is_called_sees_the_new_map() {
    SINGLE.into_iter().for_each(calls);
}
