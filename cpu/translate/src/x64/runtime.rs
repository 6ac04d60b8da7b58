//! Code that all regions share: the way in, the ways out, and calls of helpers.
//!
//! Calling convention: System V AMD64 ABI, section 3.2.

use trine_x86::Width;

use super::{
    HOMES, LEFT,
    asm::{
        Alu, Asm, Gpr, Label, R8, R9, R10, R11, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX,
        RSI, RSP, cc,
    },
    simd, slot, translated, x87,
};
use crate::{
    code::{Reason, Runtime},
    helper,
};

/// What the host's convention lets a called function destroy, of what holds guest registers, and
/// the two scratch registers that survive a TLB miss.
const KEPT: [Gpr; 7] = [RSI, RDI, R8, R9, R10, R11, RCX];
const SAVED: [Gpr; 6] = [RBP, RBX, R12, R13, R14, R15];

/// What has to be the host's own again before anybody is called or returned to.
struct Switches {
    vectors: simd::Switch,
    x87: x87::Switch,
}

impl Switches {
    /// Gives the core what the host's registers hold of it.
    fn put_back(&self, a: &mut Asm) {
        self.vectors.put_back(a);
        self.x87.put_back(a);
    }
}

/// The code, to lie at `base`.
pub(super) fn emit(base: usize) -> (Vec<u8>, Runtime) {
    let mut a = Asm::default();
    let mut at = Runtime::default();
    let here = |a: &Asm| base + a.code.len();
    let vectors = simd::Switch::emit(&mut a);
    at.vectors = [simd::XMM, simd::YMM].map(|wanted| {
        let at = here(&a);
        vectors.load(&mut a, wanted);
        at
    });

    let x87 = x87::Switch::emit(&mut a);
    at.x87 = here(&a);
    x87::Switch::load(&mut a);
    let host = Switches { vectors, x87 };

    at.enter = here(&a);
    SAVED.iter().for_each(|reg| a.push(*reg));
    a.alu_imm(Alu::Sub, Width::W64, RSP, 8);
    a.store(Width::W64, RBP, RDI);
    a.store(Width::W64, RAX, RSI);
    load_homes(&mut a);
    a.load(Width::W32, LEFT, translated!(left));
    a.jmp_to(RAX);

    let out = a.label();
    let mut leaves = [out; Reason::COUNT];
    for reason in Reason::ALL {
        at.leave[reason as usize] = here(&a);
        leaves[reason as usize] = a.label();
        a.bind(leaves[reason as usize]);
        // The number is in EAX.
        a.mov_imm(RDX, (reason as u64) << 32);
        a.jmp(out);
    }
    a.bind(out);
    host.put_back(&mut a);
    store_homes(&mut a);
    a.store(Width::W32, translated!(left), LEFT);
    let restored = a.label();
    a.bind(restored);
    a.alu(Alu::Or, Width::W64, RAX, RDX);
    a.alu_imm(Alu::Add, Width::W64, RSP, 8);
    SAVED.iter().rev().for_each(|reg| a.pop(*reg));
    a.ret();

    at.miss = here(&a);
    miss(&mut a, &host, leaves[Reason::Once as usize]);
    at.try_miss = here(&a);
    try_miss(&mut a, &host);
    a.ret();
    at.cold = here(&a);
    cold(&mut a, &host, restored);
    at.call = here(&a);
    call(&mut a, &host);
    a.resolve();
    (a.code, at)
}

fn load_homes(a: &mut Asm) {
    for (guest, host) in HOMES {
        a.load(Width::W64, host, slot(guest));
    }
}

fn store_homes(a: &mut Asm) {
    for (guest, host) in HOMES {
        a.store(Width::W64, slot(guest), host);
    }
}

/// RCX: linear address, EDX: the access. The flags say whether it failed. Keeps all but RDX.
fn try_miss(a: &mut Asm, host: &Switches) {
    host.put_back(a);
    a.push(RAX);
    KEPT.iter().for_each(|reg| a.push(*reg));
    a.alu_imm(Alu::Sub, Width::W64, RSP, 8);
    a.store(Width::W64, RDI, RBP);
    a.store(Width::W64, RSI, RCX);
    a.mov_imm(RAX, helper::fill as *const () as u64);
    a.call_to(RAX);
    a.test(Width::W32, RAX, RAX);
    a.lea(Width::W64, RSP, super::Mem::at(RSP, 8));
    KEPT.iter().rev().for_each(|reg| a.pop(*reg));
    a.pop(RAX);
}

/// The same, EAX: the site, where it goes out if that fails.
fn miss(a: &mut Asm, host: &Switches, once: Label) {
    try_miss(a, host);
    let failed = a.label();
    a.jcc(cc::E, failed);
    a.ret();
    a.bind(failed);
    a.alu_imm(Alu::Add, Width::W64, RSP, 8);
    a.jmp(once);
}

/// RDX: the [`crate::code::ColdCall`], EAX: the site.
fn cold(a: &mut Asm, host: &Switches, restored: Label) {
    host.put_back(a);
    store_homes(a);
    a.store(Width::W32, translated!(left), LEFT);
    a.push(RAX);
    a.store(Width::W64, RSI, RDX);
    a.store(Width::W64, RDI, RBP);
    a.mov_imm(RAX, helper::cold as *const () as u64);
    a.call_to(RAX);
    a.pop(RCX);
    let leaves = a.label();
    a.test(Width::W32, RAX, RAX);
    a.jcc(cc::NS, leaves);
    load_homes(a);
    a.ret();
    a.bind(leaves);
    // The reason above the site; the return address goes.
    a.store(Width::W64, RDX, RAX);
    a.shift(super::asm::Shift::Shl, Width::W64, RDX, 32);
    a.load(Width::W32, RAX, RCX);
    a.alu_imm(Alu::Add, Width::W64, RSP, 8);
    a.jmp(restored);
}

/// RAX: the function; RCX, RDX and R11: its arguments. Keeps nothing but guest registers.
fn call(a: &mut Asm, host: &Switches) {
    host.put_back(a);
    let kept = [RSI, RDI, R8, R9, R10];
    kept.iter().for_each(|reg| a.push(*reg));
    a.store(Width::W64, RDI, RCX);
    a.store(Width::W64, RSI, RDX);
    a.store(Width::W64, RDX, R11);
    a.call_to(RAX);
    kept.iter().rev().for_each(|reg| a.pop(*reg));
    a.ret();
}
