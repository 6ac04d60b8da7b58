//! Local APICs in the kernel ("split irqchip"): borrowed from the board while vCPUs run.
//!
//! In the kernel, interrupts between vCPUs, the APICs' timers, HLT and what follows an interrupt's
//! end cost no exit. The 8259 and the I/O APIC stay on the board and send messages.
//!
//! The APICs are in the kernel from the first entry of any vCPU until the last one leaves
//! [`trine_engine::Vcpu::run`]. If the interpreter has to execute something meanwhile, it finds all
//! of them on the board: the other vCPUs are called out of the guest and wait ([`Apics::still`]).
//!
//! KVM tells the end of an interrupt only for vectors that a table of routes has as level-triggered.
//! So a vector is put there, for all APICs, before the first such message with it is sent.
//!
//! Source: Linux, Documentation/virt/kvm/api.rst: KVM_CAP_SPLIT_IRQCHIP, KVM_SIGNAL_MSI,
//! KVM_SET_GSI_ROUTING, KVM_EXIT_IOAPIC_EOI, KVM_SET_LAPIC.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use kvm_bindings::{
    KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_X2APIC_API, KVM_IRQ_ROUTING_MSI, KVM_X2APIC_API_USE_32BIT_IDS,
    KvmIrqRouting, kvm_irq_routing_entry, kvm_msi,
};
use kvm_ioctls::{Cap, VcpuFd, VmFd};
use trine_engine::{ApicState, BoardApics, CpuModel, EngineError, HostApics, Wake};
use trine_guest::VmTime;
use trine_x86::{Feature, msr};

use crate::{
    ioctl::Handle,
    kick::Bell,
    vm::{Vm, enable, failed, failed_io},
};

/// What it takes.
pub(crate) const NEEDED: [Cap; 5] =
    [Cap::SplitIrqchip, Cap::SignalMsi, Cap::MpState, Cap::TscDeadlineTimer, Cap::X2ApicApi];
/// Vectors below are exceptions.
const FIRST_VECTOR: u32 = 16;
/// Routes: one for each vector.
const ROUTES: u64 = 256 - FIRST_VECTOR as u64;
/// A message: level-triggered, asserted.
const LEVEL: u32 = 1 << 15 | 1 << 14;
/// The LVT entry of the timer, its initial count, and the spurious-interrupt vector register, by
/// number.
const LVT_TIMER: usize = 0x32;
const TIMER_INITIAL: usize = 0x38;
const SVR: usize = 0x0f;
const TSC_DEADLINE_MODE: u32 = 2 << 17;

/// The local APICs of a virtual machine.
pub(crate) struct Apics {
    board: Arc<dyn BoardApics>,
    place: Mutex<Place>,
    changed: Condvar,
    /// By vCPU.
    seats: Mutex<Vec<Option<Seat>>>,
    /// The vectors that have a route, a bit each.
    levels: Mutex<[u64; 4]>,
}

/// Where they are, and who needs them there.
#[derive(Default)]
struct Place {
    in_kernel: bool,
    /// vCPUs in `run`.
    inside: usize,
    /// vCPUs that may be in the guest.
    running: usize,
    /// vCPUs that want the others to stand still.
    waiting: usize,
    /// One of them has it so.
    still: bool,
}

/// What belongs to a vCPU.
struct Seat {
    handle: Handle,
    bell: Arc<Bell>,
    model: CpuModel,
}

/// A vCPU may be in the guest: the APICs are in the kernel.
pub(crate) struct Running<'a>(&'a Apics);

/// No vCPU is in the guest: the APICs are on the board.
pub(crate) struct Still<'a>(&'a Apics);

/// Sets up KVM's APICs for a virtual machine without vCPUs; `None` if this host's will not do.
pub(crate) fn set_up(fd: &VmFd, board: Arc<dyn BoardApics>) -> Result<Option<Apics>, EngineError> {
    if let Some(lacks) = NEEDED.into_iter().find(|cap| !fd.check_extension(*cap)) {
        log::info!("this host's KVM has no {lacks:?}: the local APICs stay on the board");
        return Ok(None);
    }
    enable(fd, KVM_CAP_SPLIT_IRQCHIP, ROUTES, "local APICs in the kernel")?;
    enable(fd, KVM_CAP_X2APIC_API, u64::from(KVM_X2APIC_API_USE_32BIT_IDS), "IDs of x2APICs")?;
    Ok(Some(Apics {
        board,
        place: Mutex::default(),
        changed: Condvar::new(),
        seats: Mutex::default(),
        levels: Mutex::default(),
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole wherever a holder could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Apics {
    /// A vCPU has come.
    pub(crate) fn sit(
        &self,
        id: u32,
        fd: &VcpuFd,
        bell: &Arc<Bell>,
        model: &CpuModel,
    ) -> Result<(), EngineError> {
        let handle = Handle::new(fd).map_err(failed_io("a vCPU's descriptor"))?;
        let seat = Seat { handle, bell: bell.clone(), model: model.clone() };
        let mut seats = lock(&self.seats);
        if seats.len() <= id as usize {
            seats.resize_with(id as usize + 1, || None);
        }
        seats[id as usize] = Some(seat);
        Ok(())
    }

    /// It goes.
    pub(crate) fn stand_up(&self, id: u32) {
        if let Some(seat) = lock(&self.seats).get_mut(id as usize) {
            *seat = None;
        }
    }

    /// A vCPU begins to run.
    pub(crate) fn enter(&self) {
        lock(&self.place).inside += 1;
    }

    /// It leaves. The last one leaves the APICs on the board.
    pub(crate) fn leave(&self) -> Result<(), EngineError> {
        let mut place = lock(&self.place);
        place.inside -= 1;
        if place.inside == 0 { self.to_board(&mut place) } else { Ok(()) }
    }

    /// Whether they are in the kernel.
    pub(crate) fn in_kernel(&self) -> bool {
        lock(&self.place).in_kernel
    }

    /// The spurious-interrupt vector register of a vCPU that is not in the guest.
    pub(crate) fn svr(&self, id: u32) -> Result<u32, EngineError> {
        let seats = lock(&self.seats);
        let Some(seat) = seats.get(id as usize).and_then(Option::as_ref) else { return Ok(0) };
        Ok(seat.handle.lapic().map_err(failed_io("KVM_GET_LAPIC"))?[SVR])
    }

    /// An APIC of the kernel's broadcasts the end of an interrupt.
    pub(crate) fn end_of_interrupt(&self, by: trine_engine::Access, vector: u8) {
        self.board.end_of_interrupt(by, vector);
    }

    /// A vCPU is about to enter the guest. Waits while others have to stand still.
    pub(crate) fn begin<'a>(&'a self, vm: &Arc<Vm>) -> Result<Running<'a>, EngineError> {
        let mut place = lock(&self.place);
        while place.still || place.waiting > 0 {
            place = self.changed.wait(place).unwrap_or_else(PoisonError::into_inner);
        }
        if !place.in_kernel {
            self.board.lend(vm.clone(), &mut |states| self.to_kernel(&vm.fd, states))?;
            place.in_kernel = true;
        }
        place.running += 1;
        Ok(Running(self))
    }

    /// Calls all vCPUs out of the guest and takes the APICs to the board.
    pub(crate) fn still(&self) -> Result<Still<'_>, EngineError> {
        let mut place = lock(&self.place);
        place.waiting += 1;
        for seat in lock(&self.seats).iter().flatten() {
            seat.bell.wake();
        }
        while place.still || place.running > 0 {
            place = self.changed.wait(place).unwrap_or_else(PoisonError::into_inner);
        }
        place.waiting -= 1;
        place.still = true;
        let still = Still(self);
        let taken = self.to_board(&mut place);
        drop(place);
        taken.map(|()| still)
    }

    fn to_board(&self, place: &mut Place) -> Result<(), EngineError> {
        if place.in_kernel {
            self.board.take_back(&mut |now| {
                let seats = lock(&self.seats);
                seats.iter().flatten().map(|seat| seat.save(now)).collect()
            })?;
            place.in_kernel = false;
        }
        Ok(())
    }

    fn to_kernel(&self, fd: &VmFd, states: &[ApicState]) -> Result<(), EngineError> {
        // An interrupt that is in service ends there.
        for vector in states.iter().flat_map(level_vectors) {
            self.route(fd, vector)?;
        }
        let seats = lock(&self.seats);
        let seats = seats.iter().zip(states);
        seats.filter_map(|(seat, state)| Some(seat.as_ref()?.load(state))).collect()
    }

    /// Has KVM tell the end of the level-triggered interrupt `vector`.
    fn route(&self, fd: &VmFd, vector: u8) -> Result<(), EngineError> {
        let mut levels = lock(&self.levels);
        let word = &mut levels[usize::from(vector >> 6)];
        let bit = 1 << (vector & 63);
        if *word & bit != 0 || u32::from(vector) < FIRST_VECTOR {
            return Ok(());
        }
        *word |= bit;
        let has = |vector: &u32| levels[*vector as usize >> 6] >> (vector & 63) & 1 != 0;
        let routes: Vec<_> = (FIRST_VECTOR..256).filter(has).map(route).collect();
        let routes = KvmIrqRouting::from_entries(&routes)
            .map_err(|_| failed("a table of routes", libc::E2BIG))?;
        fd.set_gsi_routing(&routes).map_err(|e| failed("KVM_SET_GSI_ROUTING", e.errno()))
    }
}

/// The route of a vector: a level-triggered message to all.
fn route(vector: u32) -> kvm_irq_routing_entry {
    let mut entry = kvm_irq_routing_entry {
        gsi: vector - FIRST_VECTOR,
        type_: KVM_IRQ_ROUTING_MSI,
        ..Default::default()
    };
    entry.u.msi.address_lo = 0xfee0_0000 | 0xff << 12;
    entry.u.msi.data = vector | LEVEL;
    entry
}

/// Vectors that the trigger mode register has as level-triggered.
fn level_vectors(state: &ApicState) -> impl Iterator<Item = u8> {
    const TMR: usize = 0x18;
    let tmr: [u32; 8] = std::array::from_fn(|n| state.registers[TMR + n]);
    (0..=255).filter(move |vector: &u8| tmr[usize::from(vector >> 5)] >> (vector & 31) & 1 != 0)
}

impl Seat {
    /// The APIC goes to the kernel.
    fn load(&self, state: &ApicState) -> Result<(), EngineError> {
        let msr = |number, value| {
            self.handle.set_msr(number, value).map_err(failed_io("an MSR of the local APIC"))
        };
        msr(msr::APIC_BASE, state.base)?;
        // Leaving the deadline mode, KVM forgets the count.
        let mut registers = state.registers;
        registers[TIMER_INITIAL] = 0;
        self.handle.set_lapic(&registers).map_err(failed_io("KVM_SET_LAPIC"))?;
        self.handle.set_lapic(&state.registers).map_err(failed_io("KVM_SET_LAPIC"))?;
        if self.model.has(Feature::TscDeadline) {
            msr(msr::TSC_DEADLINE, state.tsc_deadline)?;
        }
        if self.model.has(Feature::KvmPvEoi) {
            msr(msr::KVM_PV_EOI, state.pv_eoi)?;
        }
        Ok(())
    }

    /// It comes back.
    fn save(&self, now: VmTime) -> Result<ApicState, EngineError> {
        let registers = self.handle.lapic().map_err(failed_io("KVM_GET_LAPIC"))?;
        let fails = failed_io("an MSR of the local APIC");
        let [base, tsc] = self.handle.msrs([msr::APIC_BASE, msr::TSC]).map_err(&fails)?;
        let one = |number| self.handle.msrs([number]).map(|[value]| value).map_err(&fails);
        let is_deadline = registers[LVT_TIMER] & 3 << 17 == TSC_DEADLINE_MODE;
        let tsc_deadline = if is_deadline { one(msr::TSC_DEADLINE)? } else { 0 };
        let pv_eoi = if self.model.has(Feature::KvmPvEoi) { one(msr::KVM_PV_EOI)? } else { 0 };
        let left = self.model.tsc_ns(tsc_deadline.saturating_sub(tsc));
        Ok(ApicState { base, registers, tsc_deadline, deadline_at: now.after_ns(left), pv_eoi })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut place = lock(&self.0.place);
        place.running -= 1;
        if place.running == 0 && place.waiting > 0 {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        lock(&self.0.place).still = false;
        self.0.changed.notify_all();
    }
}

impl HostApics for Vm {
    fn message(&self, address: u64, data: u32) {
        let Some(apics) = self.apics.get() else { return };
        if data & LEVEL != 0
            && let Err(e) = apics.route(&self.fd, data as u8)
        {
            log::error!("{e}");
        }
        let (address_lo, address_hi) = (address as u32, (address >> 32) as u32);
        let msi = kvm_msi { address_lo, address_hi, data, ..Default::default() };
        if let Err(e) = self.fd.signal_msi(msi) {
            log::debug!("no local APIC takes the message {data:#x} to {address:#x}: {e}");
        }
    }
}
