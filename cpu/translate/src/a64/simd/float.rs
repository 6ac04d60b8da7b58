//! Numbers: arithmetic, comparisons and conversions, under the guest's rounding.
//!
//! The host works with FPCR.FZ set: whatever has a denormal operand or a tiny result says so in FPSR
//! (IDC, UFC), and whatever makes a NaN of numbers, has a signalling NaN or no integer says IOC. Of
//! all that is left, results are the guest's by nature (of two quiet NaNs, both take the first
//! operand's), and so is IXC, which is PE. So code looks at FPSR before anything has changed. If it
//! says more than IXC, the interpreter's function does the instruction in its place: results that
//! would differ (a default NaN's sign, which operand is quieted), DE, UE and tininess after
//! rounding, DAZ and FTZ are its business, and IE, ZE and OE as well.
//!
//! Sources: Arm ARM, A1.5 (floating-point support), C5.2.8 (FPCR), C5.2.10 (FPSR); SDM vol. 1,
//! sections 4.8.3.5 (NaNs), 4.9.1 and 11.5.

use iced_x86::Mnemonic as M;
use trine_x86::{Insn, Width, rflags};

use super::{
    super::{
        T0, T1,
        asm::{
            Arrangement::{self, D2, S2, S4},
            Asm, Cond, Label, Lane, LogicalImm,
            Precision::{self, D, S},
            Reg, Rounding, Shift, Size, SystemRegister, VReg, X0,
        },
        core_pointer,
        emit::{Emitter, Stub},
        flags::Carry,
        home,
    },
    NUMBERS, Operands, V, Way,
};
#[cfg(doc)]
use crate::code::ColdCall;
use crate::{flags::Recipe, helper};

/// Where a result is until it is known to be right.
const RESULT: VReg = V[2];

/// FPSR: IOC, DZC, OFC, UFC and IDC.
pub(super) const ODD: u64 = 0x8f;
/// The same and QC, of those that narrow integers.
pub(super) const ODD_OR_SATURATED: u64 = ODD | 1 << 27;

/// An instruction on numbers.
#[derive(Clone, Copy)]
pub(super) enum Number {
    /// The result in [`RESULT`], of which so much is the destination's.
    Vector(fn(&mut Asm, Operands), Part),
    /// The same of all of it, narrowed by saturation.
    Narrow(fn(&mut Asm, Operands)),
    /// An integer to a general register.
    Integer(fn(&mut Asm, Reg, Operands)),
    /// FCMP or FCMPE.
    Compare(fn(&mut Asm, Operands)),
}

impl Number {
    /// Whether it changes a vector register, and nothing else.
    pub(super) fn is_vector(self) -> bool {
        matches!(self, Self::Vector(..) | Self::Narrow(_))
    }
}

/// What of a result is the destination's.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// The lowest number; the rest of the destination stays.
    Low(Lane),
    /// All of it.
    Whole,
}

/// What a stub has to bring in order when the interpreter has done an instruction.
#[derive(Clone, Copy)]
pub(super) enum After {
    /// A value that is wanted in a register, of this guest register.
    General(Reg, u8),
    /// What LAHF would load, and the host's flags as FCMP would make them.
    Flags(Reg),
}

/// An instruction that the interpreter does after all.
#[derive(Clone, Copy)]
pub(in super::super) struct Redo {
    /// Address of the [`ColdCall`].
    call: u64,
    site: u32,
    recipe: Recipe,
    after: After,
}

/// Two operands of lanes.
macro_rules! packed {
    ($name:ident $lanes:ident) => {
        Number::Vector(|a, o| a.$name($lanes, RESULT, o.d, o.s), Part::Whole)
    };
}

/// Two operands, of which the lowest numbers count.
macro_rules! scalar {
    ($name:ident $p:ident) => {
        Number::Vector(|a, o| a.$name($p, RESULT, o.d, o.s), Part::Low(Lane::$p(0)))
    };
}

/// One operand.
macro_rules! single {
    ($name:ident $p:ident) => {
        Number::Vector(|a, o| a.$name($p, RESULT, o.s), Part::Low(Lane::$p(0)))
    };
    ($name:ident packed $lanes:ident) => {
        Number::Vector(|a, o| a.$name($lanes, RESULT, o.s), Part::Whole)
    };
}

/// How `insn` is done, if it is one of these.
pub(super) fn way(insn: &Insn) -> Option<Way> {
    let mnemonic = insn.code.mnemonic();
    let number = arithmetic(mnemonic)
        .or_else(|| comparison(mnemonic))
        .or_else(|| conversion(mnemonic))
        .or_else(|| rounding(mnemonic, insn.imm as u8));
    number.map(Way::Number).or_else(|| integers(mnemonic))
}

fn arithmetic(mnemonic: M) -> Option<Number> {
    Some(match mnemonic {
        M::Addps => packed!(fadd_v S4),
        M::Addpd => packed!(fadd_v D2),
        M::Addss => scalar!(fadd S),
        M::Addsd => scalar!(fadd D),
        M::Subps => packed!(fsub_v S4),
        M::Subpd => packed!(fsub_v D2),
        M::Subss => scalar!(fsub S),
        M::Subsd => scalar!(fsub D),
        M::Mulps => packed!(fmul_v S4),
        M::Mulpd => packed!(fmul_v D2),
        M::Mulss => scalar!(fmul S),
        M::Mulsd => scalar!(fmul D),
        M::Divps => packed!(fdiv_v S4),
        M::Divpd => packed!(fdiv_v D2),
        M::Divss => scalar!(fdiv S),
        M::Divsd => scalar!(fdiv D),
        M::Sqrtps => single!(fsqrt_v packed S4),
        M::Sqrtpd => single!(fsqrt_v packed D2),
        M::Sqrtss => single!(fsqrt S),
        M::Sqrtsd => single!(fsqrt D),
        M::Haddps => packed!(faddp_v S4),
        M::Haddpd => packed!(faddp_v D2),
        M::Hsubps => Number::Vector(|a, o| subtract_neighbours(a, o, S4), Part::Whole),
        M::Hsubpd => Number::Vector(|a, o| subtract_neighbours(a, o, D2), Part::Whole),
        _ => return None,
    })
}

fn subtract_neighbours(a: &mut Asm, o: Operands, lanes: Arrangement) {
    a.uzp1(lanes, V[0], o.d, o.s);
    a.uzp2(lanes, V[1], o.d, o.s);
    a.fsub_v(lanes, RESULT, V[0], V[1]);
}

fn comparison(mnemonic: M) -> Option<Number> {
    Some(match mnemonic {
        M::Minps => Number::Vector(|a, o| least(a, o, S4), Part::Whole),
        M::Minpd => Number::Vector(|a, o| least(a, o, D2), Part::Whole),
        M::Maxps => Number::Vector(|a, o| greatest(a, o, S4), Part::Whole),
        M::Maxpd => Number::Vector(|a, o| greatest(a, o, D2), Part::Whole),
        M::Minss => Number::Vector(|a, o| choose(a, o, S, Cond::Mi), Part::Low(Lane::S(0))),
        M::Minsd => Number::Vector(|a, o| choose(a, o, D, Cond::Mi), Part::Low(Lane::D(0))),
        M::Maxss => Number::Vector(|a, o| choose(a, o, S, Cond::Gt), Part::Low(Lane::S(0))),
        M::Maxsd => Number::Vector(|a, o| choose(a, o, D, Cond::Gt), Part::Low(Lane::D(0))),
        M::Cmpps => Number::Vector(|a, o| compare(a, o, S4), Part::Whole),
        M::Cmppd => Number::Vector(|a, o| compare(a, o, D2), Part::Whole),
        M::Cmpss => Number::Vector(|a, o| compare_low(a, o, S, S4), Part::Low(Lane::S(0))),
        M::Cmpsd => Number::Vector(|a, o| compare_low(a, o, D, D2), Part::Low(Lane::D(0))),
        M::Comiss => Number::Compare(|a, o| a.fcmpe(S, o.d, o.s)),
        M::Comisd => Number::Compare(|a, o| a.fcmpe(D, o.d, o.s)),
        M::Ucomiss => Number::Compare(|a, o| a.fcmp(S, o.d, o.s)),
        M::Ucomisd => Number::Compare(|a, o| a.fcmp(D, o.d, o.s)),
        _ => return None,
    })
}

/// MINPS, MINPD: the source unless the destination is less.
fn least(a: &mut Asm, o: Operands, lanes: Arrangement) {
    a.fcmgt_v(lanes, RESULT, o.s, o.d);
    a.bsl_v(Arrangement::B16, RESULT, o.d, o.s);
}

/// MAXPS, MAXPD: the source unless the destination is greater.
fn greatest(a: &mut Asm, o: Operands, lanes: Arrangement) {
    a.fcmgt_v(lanes, RESULT, o.d, o.s);
    a.bsl_v(Arrangement::B16, RESULT, o.d, o.s);
}

/// The same of one number.
fn choose(a: &mut Asm, o: Operands, p: Precision, cond: Cond) {
    a.fcmpe(p, o.d, o.s);
    a.fcsel(p, RESULT, o.d, o.s, cond);
}

/// CMPPS, CMPPD: of the eight predicates, the latter four are the former's inverses.
fn compare(a: &mut Asm, o: Operands, lanes: Arrangement) {
    match o.imm & 3 {
        0 => a.fcmeq_v(lanes, RESULT, o.d, o.s),
        1 => a.fcmgt_v(lanes, RESULT, o.s, o.d),
        2 => a.fcmge_v(lanes, RESULT, o.s, o.d),
        _ => {
            a.fcmeq_v(lanes, RESULT, o.d, o.d);
            a.fcmeq_v(lanes, V[0], o.s, o.s);
            a.and_v(Arrangement::B16, RESULT, RESULT, V[0]);
        }
    }
    // Here "unordered" is the inverse.
    if (o.imm & 4 != 0) != (o.imm & 3 == 3) {
        a.not_v(Arrangement::B16, RESULT, RESULT);
    }
}

/// CMPSS, CMPSD: the rest are zeros, about which nothing can be said.
fn compare_low(a: &mut Asm, o: Operands, p: Precision, lanes: Arrangement) {
    a.fmov(p, V[0], o.d);
    a.fmov(p, V[1], o.s);
    compare(a, Operands { d: V[0], s: V[1], ..o }, lanes);
}

fn conversion(mnemonic: M) -> Option<Number> {
    Some(match mnemonic {
        M::Cvtps2pd => Number::Vector(|a, o| a.fcvtl(RESULT, o.s), Part::Whole),
        M::Cvtpd2ps => Number::Vector(|a, o| a.fcvtn(RESULT, o.s), Part::Whole),
        M::Cvtss2sd => Number::Vector(|a, o| a.fcvt(D, RESULT, S, o.s), Part::Low(Lane::D(0))),
        M::Cvtsd2ss => Number::Vector(|a, o| a.fcvt(S, RESULT, D, o.s), Part::Low(Lane::S(0))),
        M::Cvttps2dq => single!(fcvtzs_v packed S4),
        M::Cvtps2dq => Number::Vector(
            |a, o| {
                a.frintx_v(S4, RESULT, o.s);
                a.fcvtzs_v(S4, RESULT, RESULT);
            },
            Part::Whole,
        ),
        M::Cvttpd2dq => Number::Narrow(|a, o| {
            a.fcvtzs_v(D2, RESULT, o.s);
            a.sqxtn(S2, RESULT, RESULT);
        }),
        M::Cvtpd2dq => Number::Narrow(|a, o| {
            a.frintx_v(D2, RESULT, o.s);
            a.fcvtzs_v(D2, RESULT, RESULT);
            a.sqxtn(S2, RESULT, RESULT);
        }),
        M::Cvttss2si => Number::Integer(|a, to, o| a.fcvts(Rounding::Zero, o.size, to, S, o.s)),
        M::Cvttsd2si => Number::Integer(|a, to, o| a.fcvts(Rounding::Zero, o.size, to, D, o.s)),
        M::Cvtss2si => Number::Integer(|a, to, o| {
            a.frintx(S, RESULT, o.s);
            a.fcvts(Rounding::Zero, o.size, to, S, RESULT);
        }),
        M::Cvtsd2si => Number::Integer(|a, to, o| {
            a.frintx(D, RESULT, o.s);
            a.fcvts(Rounding::Zero, o.size, to, D, RESULT);
        }),
        _ => return None,
    })
}

/// ROUNDPS and its like: as FPCR says, or in a way that says nothing of what was lost.
fn rounding(mnemonic: M, imm: u8) -> Option<Number> {
    macro_rules! round {
        ($scalar:ident $packed:ident) => {
            match mnemonic {
                M::Roundps => single!($packed packed S4),
                M::Roundpd => single!($packed packed D2),
                M::Roundss => single!($scalar S),
                M::Roundsd => single!($scalar D),
                _ => return None,
            }
        };
    }
    Some(match imm & 15 {
        4..8 => round!(frintx frintx_v),
        8 => round!(frintn frintn_v),
        9 => round!(frintm frintm_v),
        10 => round!(frintp frintp_v),
        11 => round!(frintz frintz_v),
        12.. => round!(frinti frinti_v),
        _ => return None,
    })
}

/// From integers: nothing can go wrong, but it may be inexact.
fn integers(mnemonic: M) -> Option<Way> {
    Some(match mnemonic {
        M::Cvtdq2ps => Way::Vector(|a, o| a.scvtf_v(S4, o.d, o.s)),
        M::Cvtdq2pd => Way::Vector(|a, o| {
            a.sshll(S2, o.d, o.s, 0);
            a.scvtf_v(D2, o.d, o.d);
        }),
        M::Cvtsi2ss => Way::From(|a, o, from| {
            a.scvtf(S, RESULT, o.size, from);
            a.ins_lane(o.d, Lane::S(0), RESULT, Lane::S(0));
        }),
        M::Cvtsi2sd => Way::From(|a, o, from| {
            a.scvtf(D, RESULT, o.size, from);
            a.ins_lane(o.d, Lane::D(0), RESULT, Lane::D(0));
        }),
        _ => return None,
    })
}

impl Emitter<'_> {
    /// An instruction on numbers whose operands are in registers.
    pub(super) fn number(&mut self, n: usize, number: Number, o: Operands) {
        match number {
            Number::Vector(put, part) => {
                put(self.quiet(), o);
                match part {
                    Part::Whole => self.quiet().mov_v(o.d, RESULT),
                    Part::Low(lane) => self.quiet().ins_lane(o.d, lane, RESULT, lane),
                }
            }
            Number::Narrow(put) => {
                put(self.quiet(), o);
                self.quiet().mov_v(o.d, RESULT);
            }
            Number::Integer(put) => {
                let insn = self.region.steps[self.step].insn;
                // Not yet where it goes: that may be a part of the address.
                let to = self.temp();
                // Whatever happens out of line destroys the host's flags.
                put(self.noisy(), to, o);
                let back = self.redo_if_odd(After::General(to, insn.ops[0]));
                self.asm.bind(back);
                self.defined(n, to, Width::W64, true);
            }
            Number::Compare(put) => {
                put(self.noisy(), o);
                let to = self.temp();
                let back = self.redo_if_odd(After::Flags(to));
                if self.values.last[n] > n {
                    self.flags_of_comparison(to);
                }
                self.asm.bind(back);
                self.made = Some(n);
                self.host.carry = Carry::Float;
                self.defined(n, to, Width::W8, true);
            }
        }
    }

    /// What LAHF would load, from what FCMP has left.
    fn flags_of_comparison(&mut self, to: Reg) {
        let a = self.quiet();
        a.cset(Size::W, to, Cond::Lt);
        a.cset(Size::W, T0, Cond::Vs);
        a.cset(Size::W, T1, Cond::Eq);
        a.orr(Size::W, T1, T1, T0);
        a.orr_shifted(Size::W, to, to, T0, place(rflags::PF));
        a.orr_shifted(Size::W, to, to, T1, place(rflags::ZF));
    }

    /// If FPSR is odd, the interpreter does this instruction, and code goes on where the label will
    /// be bound.
    fn redo_if_odd(&mut self, after: After) -> Label {
        let (site, call) = (self.site(), self.cold_call());
        let (label, back) = (self.asm.label(), self.asm.label());
        self.look(ODD, label);
        let redo = Redo { call, site, recipe: self.recipe, after };
        self.stubs.push(Stub::Redo { label, back, redo });
        back
    }

    /// In a stub: has the interpreter do an instruction.
    pub(in super::super) fn redo(&mut self, redo: &Redo) {
        self.forget_fpsr();
        self.recipe = redo.recipe;
        self.remember();
        self.call_cold(redo.call, redo.site);
        match redo.after {
            After::General(to, reg) => self.asm.mov(Size::X, to, home(reg)),
            After::Flags(to) => self.flags_again(to),
        }
        self.call_vectors(NUMBERS);
    }

    /// What a comparison has left in the core, as its code would have left it.
    fn flags_again(&mut self, to: Reg) {
        core_pointer(&mut self.asm, X0);
        self.finish_call(helper::image as *const () as usize);
        let bit = |flag| LogicalImm::new(Size::W, flag).expect("one bit");
        let a = &mut self.asm;
        // What FCMP says of greater, less, equal and unordered.
        a.mov_imm(Size::W, T1, 0b0010);
        for (flag, nzcv) in [(rflags::CF, 0b1000), (rflags::ZF, 0b0110), (rflags::PF, 0b0011)] {
            a.mov_imm(Size::W, T0, nzcv);
            a.tst_imm(Size::W, X0, bit(flag));
            a.csel(Size::W, T1, T0, T1, Cond::Ne);
        }
        a.lsl_imm(Size::X, T1, T1, 28);
        a.msr(SystemRegister::Nzcv, T1);
        a.uxtb(to, X0);
    }
}

/// Where a flag goes from bit 0.
fn place(flag: u64) -> Shift {
    Shift::Lsl(flag.trailing_zeros())
}
