//! Code that all regions share: the way in, the ways out, and calls of helpers.
//!
//! Calling convention: AAPCS64, section 6.

use std::mem::offset_of;

use trine_x86::{Core, Tlb};

use super::{
    CORE, HOMES, LEFT, RAM, T0, T1, T2, TLB, add_far,
    asm::{
        Address, Asm, LR, Label, Reg, SP, Shift, Size, SystemRegister, X0, X1, X2, X8, X19, X20,
        X21, X22, X23, X24, X25, X26, X27, X28, X29, X30,
    },
    core_pointer, field, finish,
    simd::{self, Switch},
    slot, translated,
};
use crate::{
    code::{Reason, Runtime},
    helper,
};

/// What our caller wants back as it was.
const SAVED: [(Reg, Reg); 6] =
    [(X19, X20), (X21, X22), (X23, X24), (X25, X26), (X27, X28), (X29, X30)];

/// The code, to lie at `base`.
pub(super) fn emit(base: usize) -> (Vec<u8>, Runtime) {
    let mut a = Asm::new();
    let mut at = Runtime::default();
    let here = |a: &Asm| base + 4 * a.here();
    let vectors = Switch::emit(&mut a);
    at.vectors = simd::LEVELS.map(|wanted| {
        let at = here(&a);
        simd::load(&mut a, wanted);
        at
    });

    at.enter = here(&a);
    enter(&mut a);
    let out = a.label();
    for reason in Reason::ALL {
        at.leave[reason as usize] = here(&a);
        // The number is in W0.
        a.mov_imm(Size::X, X1, (reason as u64) << 32);
        a.b(out);
    }
    a.bind(out);
    a.str(Size::W, LEFT, translated!(left));
    store_homes(&mut a);
    vectors.put_back(&mut a);
    let restored = a.bound();
    a.orr(Size::X, X0, X0, X1);
    for (n, (first, second)) in SAVED.into_iter().enumerate() {
        a.ldp(Size::X, first, second, Address::offset(SP, 16 * n as i32));
    }
    a.add_imm(Size::X, SP, SP, super::twelve(16 * SAVED.len() as u64));
    a.ret(LR);

    at.miss = here(&a);
    miss(&mut a, &vectors);
    at.cold = here(&a);
    cold(&mut a, &vectors, restored);
    at.call = here(&a);
    call(&mut a, &vectors);
    (finish(a), at)
}

/// X0: the core, X1: the code.
///
/// Code may be new that another CPU has written and announced: ISB forgets what this one fetched
/// there before (Arm ARM, B2.2.5).
fn enter(a: &mut Asm) {
    a.sub_imm(Size::X, SP, SP, super::twelve(16 * SAVED.len() as u64));
    for (n, (first, second)) in SAVED.into_iter().enumerate() {
        a.stp(Size::X, first, second, Address::offset(SP, 16 * n as i32));
    }
    add_far(a, CORE, X0, offset_of!(Core, regs) as u64);
    add_far(a, TLB, X0, offset_of!(Core, tlb) as u64);
    a.ldrb(T0, field(offset_of!(Core, class)));
    let class = Tlb::CLASS_BYTES.trailing_zeros();
    a.add_shifted(Size::X, TLB, TLB, T0, Shift::Lsl(class));
    a.ldr(Size::X, RAM, translated!(ram));
    load_homes(a);
    a.ldr(Size::W, LEFT, translated!(left));
    a.isb();
    a.br(X1);
}

fn load_homes(a: &mut Asm) {
    for (n, pair) in HOMES.chunks_exact(2).enumerate() {
        a.ldp(Size::X, pair[0], pair[1], slot(2 * n as u8));
    }
}

fn store_homes(a: &mut Asm) {
    for (n, pair) in HOMES.chunks_exact(2).enumerate() {
        a.stp(Size::X, pair[0], pair[1], slot(2 * n as u8));
    }
}

/// Stores or loads X`first`, X`first + 1` and so on in pairs at SP.
fn pairs(a: &mut Asm, load: bool, first: u8, count: u8) {
    for n in (0..count).step_by(2) {
        let (x, y) = (Reg::new(first + n), Reg::new(first + n + 1));
        let at = Address::offset(SP, i32::from(8 * n));
        if load { a.ldp(Size::X, x, y, at) } else { a.stp(Size::X, x, y, at) }
    }
}

/// X16: linear address, W17: the access. W17 = 0 if the interpreter has to do it. Keeps everything
/// else, the flags too.
fn miss(a: &mut Asm, vectors: &Switch) {
    const FRAME: u64 = 160;
    a.sub_imm(Size::X, SP, SP, super::twelve(FRAME));
    pairs(a, false, 0, 16);
    a.stp(Size::X, T0, T2, Address::offset(SP, 128));
    a.mrs(X0, SystemRegister::Nzcv);
    a.str(Size::X, X0, Address::offset(SP, 144));
    vectors.put_back(a);
    core_pointer(a, X0);
    a.mov(Size::X, X1, T0);
    a.mov(Size::X, X2, T1);
    a.mov_imm(Size::X, T0, helper::fill as *const () as u64);
    a.blr(T0);
    a.mov(Size::W, T1, X0);
    a.ldr(Size::X, X0, Address::offset(SP, 144));
    a.msr(SystemRegister::Nzcv, X0);
    a.ldp(Size::X, T0, T2, Address::offset(SP, 128));
    pairs(a, true, 0, 16);
    a.add_imm(Size::X, SP, SP, super::twelve(FRAME));
    a.ret(LR);
}

/// X16: the [`crate::code::ColdCall`], W17: the site.
fn cold(a: &mut Asm, vectors: &Switch, restored: Label) {
    store_homes(a);
    a.str(Size::W, LEFT, translated!(left));
    a.stp(Size::X, T1, LR, Address::PreIndex(SP, -16));
    a.mov(Size::X, X1, T0);
    vectors.put_back(a);
    core_pointer(a, X0);
    a.mov_imm(Size::X, T0, helper::cold as *const () as u64);
    a.blr(T0);
    a.ldp(Size::X, T1, LR, Address::PostIndex(SP, 16));
    let leaves = a.label();
    a.tbz(X0, 31, leaves);
    load_homes(a);
    a.ldr(Size::W, LEFT, translated!(left));
    a.ret(LR);
    a.bind(leaves);
    // The reason above the site.
    a.lsl_imm(Size::X, X1, X0, 32);
    a.mov(Size::W, X0, T1);
    a.b(restored);
}

/// X16: the function; X0, X1 and X2: its arguments. Keeps nothing but guest registers.
fn call(a: &mut Asm, vectors: &Switch) {
    const FRAME: u64 = 80;
    a.sub_imm(Size::X, SP, SP, super::twelve(FRAME));
    pairs(a, false, X8.number(), 8);
    a.stp(Size::X, LEFT, LR, Address::offset(SP, 64));
    vectors.put_back(a);
    a.blr(T0);
    a.ldp(Size::X, LEFT, LR, Address::offset(SP, 64));
    pairs(a, true, X8.number(), 8);
    a.add_imm(Size::X, SP, SP, super::twelve(FRAME));
    a.ret(LR);
}
