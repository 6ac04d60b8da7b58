//! Which pages guests on KVM have stored to, as rings and as bitmaps tell.

use std::{ops::Range, sync::Arc, thread};

use trine_engine::{CpuModel, Engine, Exit, NoBus, Vcpu};
use trine_guest::{Gpa, PAGE_SIZE, Ram};
use trine_kvm::{DirtyLog, Kvm};

use super::{end, flat, there, to_halt};
use crate::{Guest, Make, bytes};

/// Few entries, so that a ring fills up; but Intel's CPUs want half of them kept free.
const RING: DirtyLog = DirtyLog::Ring(1024);

fn logged(ram: Arc<Ram>, log: DirtyLog) -> Box<dyn Engine> {
    Box::new(Kvm::limited(ram, |host| host.dirty_log = log).expect("it is there"))
}

/// The logs that there are here, and engines with them.
pub(super) fn logs() -> Vec<(DirtyLog, Make)> {
    let ring: (_, Make) = (RING, |ram| logged(ram, RING));
    let bitmap: (_, Make) = (DirtyLog::Bitmap, |ram| logged(ram, DirtyLog::Bitmap));
    if !there() {
        return Vec::new();
    }
    let ram = Ram::flat(PAGE_SIZE).expect("a page");
    match Kvm::limited(Arc::new(ram), |host| host.dirty_log = RING) {
        Ok(_) => vec![ring, bitmap],
        Err(why) => {
            eprintln!("skipped with rings: {why}");
            vec![bitmap]
        }
    }
}

#[test]
fn stores_by_a_guest_mark_their_pages() {
    for (_, make) in logs() {
        // mov [8000h], eax; mov [9000h], eax; insb, which is for KVM to do; hlt
        let code = "89042500800000 89042500900000 6c f4";
        let mut g = Guest::new(make, "64", code, |s| s.gpr[7] = 0xa000);
        g.engine.collect_dirty().expect("no failure");
        assert_eq!(g.ram.take_dirty().len() as u64, g.ram.len() / PAGE_SIZE, "nobody knows");
        let start = g.state();
        for _ in 0..3 {
            g.vcpu.set_state(&start).expect("a state");
            assert_eq!(to_halt(&mut g), Exit::Halted);
            g.engine.collect_dirty().expect("no failure");
            let dirty = g.ram.take_dirty();
            assert!([0x8000, 0x9000, 0xa000].iter().all(|at| dirty.contains(at)), "{dirty:x?}");
            assert!(!dirty.contains(&0x6000) && !dirty.contains(&0xb000), "{dirty:x?}");
        }
    }
}

/// A vCPU that stores to each of these pages, then halts; without paging.
fn writer(engine: &dyn Engine, id: u32, pages: Range<u64>) -> Box<dyn Vcpu> {
    let model = engine.fit(CpuModel::named("x86-64-v1").expect("there is such a model"));
    let mut state = flat(&model);
    (state.gpr[6], state.gpr[7]) = (pages.end, pages.start);
    let mut vcpu = engine.create_vcpu(id, &model, Arc::new(NoBus::default())).expect("a vCPU");
    vcpu.set_state(&state).expect("a state");
    vcpu.count_events(|| 0);
    vcpu
}

#[test]
fn no_store_is_lost_where_a_ring_fills_up() {
    for (log, make) in logs() {
        let ram = Arc::new(Ram::flat(16 << 20).expect("16 MiB"));
        // mov [edi], edi; add edi, 1000h; cmp edi, esi; jb back; hlt
        ram.write(Gpa(0x1000), &bytes("893f 81c700100000 39f7 72f4 f4")).expect("in RAM");
        let engine = make(ram.clone());
        // KVM names the code's page too: it lets the guest store there from its first fetch on.
        let dirty = || {
            engine.collect_dirty().expect("no failure");
            let mut pages = ram.take_dirty();
            pages.retain(|page| *page != 0x1000);
            pages
        };
        dirty();
        // One fills its ring, and again, while the other one stores too.
        let ranges = [0x10_0000..0xb0_0000, 0xb0_0000..0xf0_0000];
        let mut vcpus = [0, 1].map(|id| writer(&*engine, id, ranges[id as usize].clone()));
        let starts = [0, 1].map(|n: usize| vcpus[n].state().expect("no failure"));
        let all: Vec<u64> = (0x10_0000..0xf0_0000).step_by(PAGE_SIZE as usize).collect();
        for _ in 0..2 {
            thread::scope(|scope| {
                for (vcpu, start) in vcpus.iter_mut().zip(&starts) {
                    vcpu.set_state(start).expect("a state");
                    scope.spawn(move || assert_eq!(end(&mut **vcpu), Exit::Halted));
                }
            });
            assert!(dirty() == all);
            assert!(dirty().is_empty());
        }
        let events = vcpus[0].events();
        let full = events.iter().find(|event| event.reason == "dirty ring full");
        assert_eq!(full.is_some_and(|event| event.count > 1), log == RING, "{events:?}");
        // What a vCPU has stored to is known when it is gone.
        let [mut one, other] = vcpus;
        one.set_state(&starts[0]).expect("a state");
        assert_eq!(end(&mut *one), Exit::Halted);
        drop((one, other));
        assert!(dirty() == all[..0xa00]);
    }
}
