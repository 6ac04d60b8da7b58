//! Runs: one look at FPSR for several instructions.
//!
//! Reading FPSR waits for all arithmetic before it. So instructions that follow each other and
//! change nothing but vector registers share a look. Each keeps what its destination held, if no
//! other before it has, in a register of the host. If FPSR then says that one of them was odd, or a
//! load in their midst does not find its page, all registers become what they were, and the
//! interpreter does the whole run, instruction by instruction.
//!
//! IXC of a run that is given up may be wrong, since it computed with what was wrong: FPSR is what it
//! was at the last look.

use trine_x86::Insn;

use super::{
    super::{
        T0, T2,
        asm::{Label, Size, SystemRegister, VReg},
        emit::{Emitter, Stub},
        spill,
    },
    FPSR_SPILL, NUMBERS, Way, float, operands,
};
use crate::{
    code::ColdCall,
    flags::Recipe,
    ir::{Step, Work},
};

/// For what destinations held.
const KEPT: [VReg; 4] = [VReg::new(4), VReg::new(5), VReg::new(6), VReg::new(7)];
/// Instructions of a run, at most.
const LONGEST: usize = 16;

/// Instructions that have been emitted and not been looked after.
pub(in super::super) struct Run {
    /// Addresses of their [`ColdCall`]s, and their sites.
    calls: Vec<(u64, u32)>,
    /// The destinations whose contents are in [`KEPT`].
    kept: Vec<VReg>,
    /// For each number of such destinations, where to go to give the run up.
    ways_back: Vec<Label>,
    /// What FPSR must not say.
    odd: u64,
    recipe: Recipe,
}

impl Emitter<'_> {
    /// Where to go if a load finds nothing, in a run.
    pub(in super::super) fn way_back(&self) -> Option<Label> {
        self.run.as_ref().and_then(|run| run.ways_back.last().copied())
    }

    /// Before a step: ends the run, unless the step can be a part of it.
    pub(in super::super) fn settle_run(&mut self, step: &Step) {
        let Some(run) = &self.run else { return };
        let is_vector = matches!(step.work, Work::Vector(_));
        let joins = is_vector
            && run.calls.len() < LONGEST
            && Way::of(&step.insn).is_some_and(|(way, _)| way.joins())
            && (run.kept.len() < KEPT.len() || run.kept.contains(&operands(&step.insn).d));
        if !joins {
            self.close_run();
        }
    }

    /// Before a vector register changes, and behind all that may stop: notes it, if there is a run,
    /// or begins one with the first that is not exact by nature.
    pub(super) fn run_on(&mut self, insn: &Insn, way: Way, wanted: u32) {
        if self.run.is_none() {
            if wanted != NUMBERS {
                return;
            }
            // Who gives up destroys the host's flags.
            self.noisy();
            self.run = Some(Run {
                calls: Vec::new(),
                kept: Vec::new(),
                ways_back: vec![self.asm.label()],
                odd: 0,
                recipe: self.recipe,
            });
        }
        let (site, call) = (self.site(), self.cold_call());
        let label = self.asm.label();
        let Some(run) = &mut self.run else { return };
        run.calls.push((call, site));
        run.odd |= way.odd();
        let d = operands(insn).d;
        if !run.kept.contains(&d) {
            self.asm.mov_v(KEPT[run.kept.len()], d);
            run.kept.push(d);
            run.ways_back.push(label);
        }
    }

    /// The address of the [`ColdCall`] that is this vector instruction's.
    pub(super) fn cold_call(&mut self) -> u64 {
        let site = self.site();
        let step = &self.region.steps[self.step];
        let Work::Vector(cold) = step.work else { unreachable!("its step is a vector's") };
        let at = self.site_at(site);
        self.keep(ColdCall::new(cold, step.insn, self.block_ip, &at, false))
    }

    /// Ends the run, if there is one.
    pub(in super::super) fn close_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let Some(label) = run.ways_back.last().copied() else { return };
        self.look(run.odd, label);
        let back = self.asm.bound();
        self.stubs.push(Stub::Run { run, back });
    }

    /// Goes to `label` if FPSR has one of the bits of `odd`; else notes what it says.
    pub(super) fn look(&mut self, odd: u64, label: Label) {
        let a = self.quiet();
        a.mrs(T0, SystemRegister::Fpsr);
        a.mov_imm(Size::W, T2, odd);
        a.and(Size::W, T2, T2, T0);
        a.cbnz(Size::W, T2, label);
        a.str(Size::W, T0, spill(FPSR_SPILL));
    }

    /// In a stub: FPSR as it was at the last look.
    pub(super) fn forget_fpsr(&mut self) {
        self.asm.ldr(Size::W, T0, spill(FPSR_SPILL));
        self.asm.msr(SystemRegister::Fpsr, T0);
    }

    /// In a stub: gives a run up, and has the interpreter do it.
    pub(in super::super) fn give_up(&mut self, run: &Run) {
        for n in (0..run.ways_back.len()).rev() {
            self.asm.bind(run.ways_back[n]);
            if n > 0 {
                self.asm.mov_v(run.kept[n - 1], KEPT[n - 1]);
            }
        }
        self.forget_fpsr();
        self.recipe = run.recipe;
        self.remember();
        for (call, site) in &run.calls {
            self.call_cold(*call, *site);
        }
        self.call_vectors(NUMBERS);
    }
}

impl Way {
    /// Whether it changes nothing but a vector register.
    fn joins(self) -> bool {
        match self {
            Self::Load | Self::Vector(_) | Self::From(_) => true,
            Self::Number(number) => number.is_vector(),
            _ => false,
        }
    }

    /// What FPSR must not say after it.
    fn odd(self) -> u64 {
        match self {
            Self::Number(float::Number::Narrow(_)) => float::ODD_OR_SATURATED,
            Self::Number(_) => float::ODD,
            _ => 0,
        }
    }
}
