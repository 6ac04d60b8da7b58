//! x87 instructions.

use iced_x86::{Code as C, Mnemonic as M};

use crate::{
    insn::Insn,
    sem::Pick,
    x87::{
        arith::{self, Add, Div, DivReverse, Mul, Sub, SubReverse},
        compare, control, environment, exception,
        function::{self, Arctangent, Cosine, Exponential, Extract, Logarithm, LogarithmPlus1},
        function::{Nearest, Round, Scale, Sine, SineCosine, SquareRoot, Tangent, Truncated},
        load::{self, LnOf2, Log2Of10, Log2OfE, Log10Of2, One, Pi, Zero},
        operand::{Bcd, I16, I32, I64, M32, M64, M80},
        store,
    },
};

/// An operation in its forms with registers and floating-point memory.
macro_rules! arithmetic {
    ($p:expr, $i:expr, $O:ident) => {{
        let (p, i) = ($p, $i);
        match (i.has_memory(), i.code) {
            (false, _) => cold!(p, arith::registers::<$O, false>),
            (
                true,
                C::Fadd_m32fp
                | C::Fmul_m32fp
                | C::Fsub_m32fp
                | C::Fsubr_m32fp
                | C::Fdiv_m32fp
                | C::Fdivr_m32fp,
            ) => cold!(p, arith::memory::<$O, M32>),
            (true, _) => cold!(p, arith::memory::<$O, M64>),
        }
    }};
}

/// An operation with an integer in memory.
macro_rules! integer {
    ($p:expr, $i:expr, $wide:ident, $O:ident) => {
        match $i.code {
            C::$wide => cold!($p, arith::memory::<$O, I32>),
            _ => cold!($p, arith::memory::<$O, I16>),
        }
    };
}

pub(super) fn pick<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    let p = match arithmetic(i, p) {
        Ok(out) => return Ok(out),
        Err(p) => p,
    };
    let p = match moves(i, p) {
        Ok(out) => return Ok(out),
        Err(p) => p,
    };
    let p = match compares(i, p) {
        Ok(out) => return Ok(out),
        Err(p) => p,
    };
    let p = match functions(i, p) {
        Ok(out) => return Ok(out),
        Err(p) => p,
    };
    controls(i, p)
}

fn arithmetic<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Fadd => arithmetic!(p, i, Add),
        M::Fsub => arithmetic!(p, i, Sub),
        M::Fsubr => arithmetic!(p, i, SubReverse),
        M::Fmul => arithmetic!(p, i, Mul),
        M::Fdiv => arithmetic!(p, i, Div),
        M::Fdivr => arithmetic!(p, i, DivReverse),
        M::Faddp => cold!(p, arith::registers::<Add, true>),
        M::Fsubp => cold!(p, arith::registers::<Sub, true>),
        M::Fsubrp => cold!(p, arith::registers::<SubReverse, true>),
        M::Fmulp => cold!(p, arith::registers::<Mul, true>),
        M::Fdivp => cold!(p, arith::registers::<Div, true>),
        M::Fdivrp => cold!(p, arith::registers::<DivReverse, true>),
        M::Fiadd => integer!(p, i, Fiadd_m32int, Add),
        M::Fisub => integer!(p, i, Fisub_m32int, Sub),
        M::Fisubr => integer!(p, i, Fisubr_m32int, SubReverse),
        M::Fimul => integer!(p, i, Fimul_m32int, Mul),
        M::Fidiv => integer!(p, i, Fidiv_m32int, Div),
        M::Fidivr => integer!(p, i, Fidivr_m32int, DivReverse),
        _ => return Err(p),
    })
}

fn moves<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Fld_m32fp => cold!(p, load::memory::<M32>),
        C::Fld_m64fp => cold!(p, load::memory::<M64>),
        C::Fld_m80fp => cold!(p, load::memory::<M80>),
        C::Fild_m16int => cold!(p, load::memory::<I16>),
        C::Fild_m32int => cold!(p, load::memory::<I32>),
        C::Fild_m64int => cold!(p, load::memory::<I64>),
        C::Fbld_m80bcd => cold!(p, load::memory::<Bcd>),
        C::Fld_sti => cold!(p, load::register),
        C::Fld1 => cold!(p, load::constant::<One>),
        C::Fldl2t => cold!(p, load::constant::<Log2Of10>),
        C::Fldl2e => cold!(p, load::constant::<Log2OfE>),
        C::Fldpi => cold!(p, load::constant::<Pi>),
        C::Fldlg2 => cold!(p, load::constant::<Log10Of2>),
        C::Fldln2 => cold!(p, load::constant::<LnOf2>),
        C::Fldz => cold!(p, load::constant::<Zero>),
        C::Fst_m32fp => cold!(p, store::memory::<M32, false>),
        C::Fst_m64fp => cold!(p, store::memory::<M64, false>),
        C::Fstp_m32fp => cold!(p, store::memory::<M32, true>),
        C::Fstp_m64fp => cold!(p, store::memory::<M64, true>),
        C::Fstp_m80fp => cold!(p, store::memory::<M80, true>),
        C::Fist_m16int => cold!(p, store::memory::<I16, false>),
        C::Fist_m32int => cold!(p, store::memory::<I32, false>),
        C::Fistp_m16int => cold!(p, store::memory::<I16, true>),
        C::Fistp_m32int => cold!(p, store::memory::<I32, true>),
        C::Fistp_m64int => cold!(p, store::memory::<I64, true>),
        C::Fisttp_m16int => cold!(p, store::truncated::<I16>),
        C::Fisttp_m32int => cold!(p, store::truncated::<I32>),
        C::Fisttp_m64int => cold!(p, store::truncated::<I64>),
        C::Fbstp_m80bcd => cold!(p, store::memory::<Bcd, true>),
        C::Fst_sti => cold!(p, store::register::<false>),
        C::Fstp_sti | C::Fstp_sti_DFD0 | C::Fstp_sti_DFD8 => cold!(p, store::register::<true>),
        C::Fstpnce_sti => cold!(p, store::unchecked),
        C::Fcmovb_st0_sti => cold!(p, control::conditional_move::<0x2>),
        C::Fcmovnb_st0_sti => cold!(p, control::conditional_move::<0x3>),
        C::Fcmove_st0_sti => cold!(p, control::conditional_move::<0x4>),
        C::Fcmovne_st0_sti => cold!(p, control::conditional_move::<0x5>),
        C::Fcmovbe_st0_sti => cold!(p, control::conditional_move::<0x6>),
        C::Fcmovnbe_st0_sti => cold!(p, control::conditional_move::<0x7>),
        C::Fcmovu_st0_sti => cold!(p, control::conditional_move::<0xa>),
        C::Fcmovnu_st0_sti => cold!(p, control::conditional_move::<0xb>),
        _ => return Err(p),
    })
}

fn compares<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Fcom_m32fp => cold!(p, compare::memory::<M32, 0>),
        C::Fcom_m64fp => cold!(p, compare::memory::<M64, 0>),
        C::Fcomp_m32fp => cold!(p, compare::memory::<M32, 1>),
        C::Fcomp_m64fp => cold!(p, compare::memory::<M64, 1>),
        C::Ficom_m16int => cold!(p, compare::memory::<I16, 0>),
        C::Ficom_m32int => cold!(p, compare::memory::<I32, 0>),
        C::Ficomp_m16int => cold!(p, compare::memory::<I16, 1>),
        C::Ficomp_m32int => cold!(p, compare::memory::<I32, 1>),
        C::Ftst => cold!(p, compare::test),
        C::Fxam => cold!(p, compare::examine),
        _ => match i.code.mnemonic() {
            M::Fcom => cold!(p, compare::registers::<false, 0>),
            M::Fcomp => cold!(p, compare::registers::<false, 1>),
            M::Fcompp => cold!(p, compare::registers::<false, 2>),
            M::Fucom => cold!(p, compare::registers::<true, 0>),
            M::Fucomp => cold!(p, compare::registers::<true, 1>),
            M::Fucompp => cold!(p, compare::registers::<true, 2>),
            M::Fcomi => cold!(p, compare::flags::<false, false>),
            M::Fcomip => cold!(p, compare::flags::<false, true>),
            M::Fucomi => cold!(p, compare::flags::<true, false>),
            M::Fucomip => cold!(p, compare::flags::<true, true>),
            _ => return Err(p),
        },
    })
}

fn functions<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code.mnemonic() {
        M::Fchs => cold!(p, function::change_sign),
        M::Fabs => cold!(p, function::absolute),
        M::Fsqrt => cold!(p, function::unary::<SquareRoot, false>),
        M::Frndint => cold!(p, function::unary::<Round, false>),
        M::F2xm1 => cold!(p, function::unary::<Exponential, false>),
        M::Fsin => cold!(p, function::unary::<Sine, true>),
        M::Fcos => cold!(p, function::unary::<Cosine, true>),
        M::Fscale => cold!(p, function::binary::<Scale, false>),
        M::Fyl2x => cold!(p, function::binary::<Logarithm, true>),
        M::Fyl2xp1 => cold!(p, function::binary::<LogarithmPlus1, true>),
        M::Fpatan => cold!(p, function::binary::<Arctangent, true>),
        M::Fsincos => cold!(p, function::twofold::<SineCosine, true>),
        M::Fptan => cold!(p, function::twofold::<Tangent, true>),
        M::Fxtract => cold!(p, function::twofold::<Extract, false>),
        M::Fprem => cold!(p, function::partial::<Truncated>),
        M::Fprem1 => cold!(p, function::partial::<Nearest>),
        _ => return Err(p),
    })
}

fn controls<P: Pick>(i: &Insn, p: P) -> Result<P::Out, P> {
    Ok(match i.code {
        C::Wait => cold!(p, exception::wait),
        C::Fnop => cold!(p, control::nop),
        C::Fninit => cold!(p, control::init),
        C::Fnclex => cold!(p, control::clear_exceptions),
        C::Fneni | C::Fndisi | C::Fnsetpm => cold!(p, control::ignored),
        C::Fldcw_m2byte => cold!(p, control::load_control),
        C::Fnstcw_m2byte => cold!(p, control::store_control),
        C::Fnstsw_m2byte => cold!(p, control::store_status),
        C::Fnstsw_AX => cold!(p, control::status_to_ax),
        C::Fxch_st0_sti | C::Fxch_st0_sti_DDC8 | C::Fxch_st0_sti_DFC8 => {
            cold!(p, control::exchange)
        }
        C::Ffree_sti => cold!(p, control::free::<false>),
        C::Ffreep_sti => cold!(p, control::free::<true>),
        C::Fincstp => cold!(p, control::rotate::<1>),
        C::Fdecstp => cold!(p, control::rotate::<7>),
        C::Fnstenv_m14byte => cold!(p, environment::store_environment::<false>),
        C::Fnstenv_m28byte => cold!(p, environment::store_environment::<true>),
        C::Fldenv_m14byte => cold!(p, environment::load_environment::<false>),
        C::Fldenv_m28byte => cold!(p, environment::load_environment::<true>),
        C::Fnsave_m94byte => cold!(p, environment::save::<false>),
        C::Fnsave_m108byte => cold!(p, environment::save::<true>),
        C::Frstor_m94byte => cold!(p, environment::restore::<false>),
        C::Frstor_m108byte => cold!(p, environment::restore::<true>),
        _ => return Err(p),
    })
}

#[cfg(test)]
mod tests {
    use iced_x86::{Code, CpuidFeature};

    use crate::{
        CpuModel, Decoded, Decoder,
        insn::{Mode, Width},
        sem::{Pick, Semantics},
    };

    struct Name;
    impl Pick for Name {
        type Out = &'static str;
        fn pick<T: Semantics>(self) -> &'static str {
            std::any::type_name::<T>()
        }
    }

    /// Decodes every opcode and ModRM of the x87 and looks up what it is.
    #[test]
    fn every_code_that_decodes_is_an_x87_instruction() {
        let model = CpuModel::named("max").expect("there is a model 'max'");
        let decoder = Decoder::new(&model);
        let mut seen = std::collections::BTreeSet::new();
        for prefix in [&[][..], &[0x66]] {
            for opcode in 0xd8..=0xdf_u8 {
                for modrm in 0..=0xff_u8 {
                    let bytes = [prefix, &[opcode, modrm], &[0; 12]].concat();
                    let mode = Mode::new(Width::W64, Width::W64, true, true);
                    if let Decoded::Insn(i) = decoder.decode(&bytes, mode, 0x1000, 0) {
                        let name = crate::pick(&i, Name);
                        assert!(name.contains("::x87::"), "{:?} is {name}", i.code);
                        assert_eq!(i.imm, i32::from(opcode & 7) << 8 | i32::from(modrm));
                        seen.insert(i.code as u16);
                    }
                }
            }
        }
        let fpu = |code: &Code| {
            let features = code.cpuid_features();
            let ours = [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387];
            features.iter().any(|f| ours.contains(f))
        };
        for code in Code::values().filter(fpu) {
            let decodes = seen.contains(&(code as u16));
            assert!(decodes != includes_wait(code), "{code:?}");
        }
    }

    /// FWAIT itself, and the codes that are FWAIT and another instruction: two to a decoder.
    fn includes_wait(code: Code) -> bool {
        use Code as C;
        matches!(
            code,
            C::Wait
                | C::Fstenv_m14byte
                | C::Fstenv_m28byte
                | C::Fstcw_m2byte
                | C::Feni
                | C::Fdisi
                | C::Fclex
                | C::Finit
                | C::Fsetpm
                | C::Fsave_m94byte
                | C::Fsave_m108byte
                | C::Fstsw_m2byte
                | C::Fstsw_AX
        )
    }
}
