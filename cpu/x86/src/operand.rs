//! Operands as types: an instruction is compiled once for each shape that it comes in.

use std::marker::PhantomData;

use crate::{
    insn::{Insn, Width},
    sem::{Reach, Sem},
};

/// An operand that can be read.
pub trait Source: 'static {
    /// Its value, of width `w`.
    ///
    /// # Errors
    /// If it is in memory and the access faults.
    fn read<S: Sem>(s: &mut S, i: &Insn, w: Width) -> Result<S::Value, S::Stop>;
}

/// An operand that can be written.
pub trait Target: Source {
    /// Whether it is memory.
    const MEMORY: bool;
    /// What [`Target::open`] proved.
    type Place<S: Sem>: Copy;
    /// Reads it and proves it writable.
    ///
    /// # Errors
    /// If it is in memory and the access faults.
    #[expect(clippy::type_complexity, reason = "a pair of two associated types")]
    fn open<S: Sem>(s: &mut S, i: &Insn, w: Width) -> Result<(Self::Place<S>, S::Value), S::Stop>;
    /// Writes what was opened.
    fn commit<S: Sem>(s: &mut S, i: &Insn, w: Width, place: Self::Place<S>, value: S::Value);
    /// Writes it without reading. Must be the last thing that can fault.
    ///
    /// # Errors
    /// If it is in memory and the access faults.
    fn write<S: Sem>(s: &mut S, i: &Insn, w: Width, value: S::Value) -> Result<(), S::Stop>;
}

/// Operand `N` of the instruction, a general register.
pub struct Reg<const N: usize>;

impl<const N: usize> Source for Reg<N> {
    #[inline(always)]
    fn read<S: Sem>(s: &mut S, i: &Insn, w: Width) -> Result<S::Value, S::Stop> {
        Ok(s.get(w, i.ops[N]))
    }
}

impl<const N: usize> Target for Reg<N> {
    const MEMORY: bool = false;
    type Place<S: Sem> = ();

    #[inline(always)]
    fn open<S: Sem>(s: &mut S, i: &Insn, w: Width) -> Result<((), S::Value), S::Stop> {
        Ok(((), s.get(w, i.ops[N])))
    }

    #[inline(always)]
    fn commit<S: Sem>(s: &mut S, i: &Insn, w: Width, (): (), value: S::Value) {
        s.set(w, i.ops[N], value);
    }

    #[inline(always)]
    fn write<S: Sem>(s: &mut S, i: &Insn, w: Width, value: S::Value) -> Result<(), S::Stop> {
        s.set(w, i.ops[N], value);
        Ok(())
    }
}

/// The memory operand.
pub struct Mem<R>(PhantomData<R>);

impl<R: Reach> Source for Mem<R> {
    #[inline(always)]
    fn read<S: Sem>(s: &mut S, i: &Insn, w: Width) -> Result<S::Value, S::Stop> {
        let offset = s.address::<R>(i);
        s.load::<R>(w, i, i.seg(), offset)
    }
}

impl<R: Reach> Target for Mem<R> {
    const MEMORY: bool = true;
    type Place<S: Sem> = S::Place;

    #[inline(always)]
    fn open<S: Sem>(s: &mut S, i: &Insn, w: Width) -> Result<(S::Place, S::Value), S::Stop> {
        let offset = s.address::<R>(i);
        s.load_for_write::<R>(w, i, i.seg(), offset)
    }

    #[inline(always)]
    fn commit<S: Sem>(s: &mut S, _: &Insn, w: Width, place: S::Place, value: S::Value) {
        s.commit(w, place, value);
    }

    #[inline(always)]
    fn write<S: Sem>(s: &mut S, i: &Insn, w: Width, value: S::Value) -> Result<(), S::Stop> {
        let offset = s.address::<R>(i);
        s.store::<R>(w, i, i.seg(), offset, value)
    }
}

/// The immediate, sign-extended to the operand's width.
pub struct Imm;

impl Source for Imm {
    #[inline(always)]
    fn read<S: Sem>(s: &mut S, i: &Insn, w: Width) -> Result<S::Value, S::Stop> {
        Ok(s.imm(i64::from(i.imm) as u64 & w.mask()))
    }
}
