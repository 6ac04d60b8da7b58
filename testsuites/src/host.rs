//! The host's CPU as oracle: every user's instruction that it has, on it and on our engines, from
//! the same states, compared bit for bit.
//!
//! A group is an instruction form, drawn from iced-x86's table (`forms`); its cases are drawn
//! from the seed and the group's name, so that shards do not change them.

mod compare;
mod cpuid;
mod draw;
mod encode;
mod forms;
mod guest;
mod image;
mod line;
mod minimise;
mod undefined;
mod values;

pub(crate) use line::run as run_line;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use trine_engine::CpuModel;
use trine_native::{Case, Oracle, Outcome, cpuid as leaf};
use trine_x86::Decoder;

use crate::{Candidate, Suite, Tally, noise::Noise};
use compare::Compared;
use cpuid::HostFeatures;
use draw::Drawn;
use forms::Form;
use guest::Guest;
use undefined::Freedom;

/// Cases that go to the oracle at once.
const BATCH: usize = 256;

/// The suite.
pub struct Host {
    seed: u64,
    cases: u64,
    model: CpuModel,
    features: HostFeatures,
    /// Bits of EDX:EAX that XSAVE's relatives may find set.
    components: u64,
    has_ymm: bool,
    forms: Vec<Form>,
    /// Forms that are not run, by reason.
    left_out: BTreeMap<String, Vec<String>>,
    /// Oracles and vCPUs that nobody uses now.
    oracles: Mutex<Vec<Oracle>>,
    guests: Mutex<Vec<(&'static str, Guest)>>,
    /// Flags that the manuals leave undefined are compared too.
    exact: bool,
}

impl Host {
    /// So many cases of all forms together, drawn from `seed`.
    ///
    /// # Errors
    /// If the host's CPU is no oracle: one line says why.
    pub fn new(seed: u64, cases: u64) -> Result<Self, String> {
        let oracle = Oracle::new().map_err(|e| e.to_string())?;
        let model = CpuModel::named("max").map_err(|e| e.to_string())?;
        let has_ymm = oracle.has_ymm();
        let (features, ours) = (HostFeatures::read(), Decoder::new(&model));
        let mut left_out: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut kept = Vec::new();
        for form in forms::all() {
            let why =
                forms::excluded(form, &ours, &features, oracle.has_ldt(), has_ymm).or_else(|| {
                    let none = "only CPUs of other makers or times decode it so";
                    (!encode::exists(form)).then(|| none.to_owned())
                });
            match why {
                Some(why) => left_out.entry(why).or_default().push(form.name()),
                None => kept.push(form),
            }
        }
        // What one of the two XCR0s has and the other has not.
        let beyond_ours = u64::from(leaf(0xd, 0).eax) & !7 | u64::from(!has_ymm) << 2;
        Ok(Self {
            seed,
            cases,
            model,
            features,
            components: !beyond_ours,
            has_ymm,
            forms: kept,
            left_out,
            oracles: Mutex::new(vec![oracle]),
            guests: Mutex::default(),
            exact: false,
        })
    }

    /// Compares what the manuals leave undefined, too: our CPU does there as this one, on hosts of
    /// its kind.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Whether the host's CPU is of the kind whose undefined flags ours has: Intel's of 2023
    /// (Sapphire Rapids and Emerald Rapids).
    #[must_use]
    pub fn is_our_kind(&self) -> bool {
        self.features.is_like_ours()
    }

    fn guest(&self, candidate: &Candidate) -> Result<Guest, String> {
        let mut idle = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        match idle.iter().position(|(name, _)| *name == candidate.name) {
            Some(n) => Ok(idle.swap_remove(n).1),
            None => {
                drop(idle);
                Guest::new(candidate, &self.model)
            }
        }
    }

    fn oracle(&self) -> Result<Oracle, String> {
        let idle = self.oracles.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Oracle::new().map_err(|e| e.to_string()), Ok)
    }

    fn noise(&self, form: Form) -> Noise {
        let name = form.name();
        let number = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Noise::new(crate::noise::mix(self.seed) ^ number)
    }

    fn run_form(
        &self,
        form: Form,
        cases: u64,
        bench: &mut Bench,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let mut noise = self.noise(form);
        let mut host = vec![Outcome::default(); BATCH];
        let mut ours = Outcome::default();
        let mut drawn: Vec<Drawn> = Vec::with_capacity(BATCH);
        let (mut number, mut silent) = (0, 0);
        while number < cases {
            let count = (cases - number).min(BATCH as u64) as usize;
            drawn.clear();
            let draws = (0..count * 4)
                .filter_map(|_| draw::draw(form, self.components, self.has_ymm, &mut noise));
            drawn.extend(draws.take(count));
            if drawn.is_empty() {
                return Err("no encoding was found".into());
            }
            let batch = drawn.iter().map(|d| &d.case);
            bench.oracle.run(batch, &mut host).map_err(|e| e.to_string())?;
            for (n, (drawn, host)) in drawn.iter().zip(&host).enumerate() {
                bench.guest.run(&drawn.case, host.vector != Outcome::NONE, &mut ours)?;
                let number = number + n as u64;
                if host.vector == Outcome::NONE {
                    silent += 1;
                    if ours.vector == Outcome::NONE {
                        tally.pass(1);
                    } else {
                        tally.skip(number, "no answer from the host's CPU: endless, or deadly");
                    }
                } else if self.judge(drawn, host, &ours).is_empty() {
                    tally.pass(1);
                } else {
                    self.report(number, drawn, bench, tally)?;
                }
            }
            number += drawn.len() as u64;
        }
        if silent > cases / 2 {
            return Err(format!("no answer from the host's CPU in {silent} of {cases} cases"));
        }
        Ok(())
    }

    /// What differs where it should not.
    fn judge(&self, drawn: &Drawn, host: &Outcome, ours: &Outcome) -> Vec<String> {
        let freedom = self.freedom(drawn, host);
        let compared = Compared {
            bits: drawn.form.bits,
            before: &drawn.case.before,
            keeps_fdp: self.features.keeps_fdp(),
        };
        compared.differences(host, ours, &freedom)
    }

    fn freedom(&self, drawn: &Drawn, host: &Outcome) -> Freedom {
        let mut freedom = undefined::freedom(&drawn.encoded.insn, host);
        if self.exact {
            freedom.flags = 0;
        }
        freedom
    }

    /// Tells of a case that failed, with the smallest line that shows it.
    fn report(
        &self,
        number: u64,
        drawn: &Drawn,
        bench: &mut Bench,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let small = if tally.failed() < MINIMISED {
            minimise::minimise(drawn, |smaller| {
                let (host, ours) = bench.run(&smaller.case)?;
                Ok(host.vector != Outcome::NONE && !self.judge(smaller, &host, &ours).is_empty())
            })?
        } else {
            drawn.clone()
        };
        let (host, ours) = bench.run(&small.case)?;
        let why =
            format!("{}: {}", small.encoded.insn, self.judge(&small, &host, &ours).join("; "));
        let line = line::write(&small, &host, &self.freedom(&small, &host));
        tally.fail(number, why, Some(line));
        Ok(())
    }
}

/// Failures of a group that are made smaller; it takes some hundred runs.
const MINIMISED: u64 = 8;

/// Both CPUs.
struct Bench {
    oracle: Oracle,
    guest: Guest,
}

impl Bench {
    fn run(&mut self, case: &Case) -> Result<(Outcome, Outcome), String> {
        let mut host = [Outcome::default()];
        let mut ours = Outcome::default();
        self.oracle.run([case], &mut host).map_err(|e| e.to_string())?;
        let [host] = host;
        self.guest.run(case, host.vector != Outcome::NONE, &mut ours)?;
        Ok((host, ours))
    }
}

impl Suite for Host {
    fn name(&self) -> &'static str {
        "host"
    }

    fn groups(&self) -> Vec<String> {
        self.forms.iter().map(|form| form.name()).collect()
    }

    fn size(&self, group: usize) -> u64 {
        let forms = self.forms.len().max(1) as u64;
        self.cases / forms + u64::from((group as u64) < self.cases % forms)
    }

    fn run(
        &self,
        group: usize,
        candidate: &Candidate,
        tally: &mut Tally<'_>,
    ) -> Result<(), String> {
        let form = *self.forms.get(group).ok_or("there is no such group")?;
        let mut bench = Bench { oracle: self.oracle()?, guest: self.guest(candidate)? };
        let done = self.run_form(form, self.size(group), &mut bench, tally);
        let Bench { oracle, guest } = bench;
        self.oracles.lock().unwrap_or_else(PoisonError::into_inner).push(oracle);
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).push((candidate.name, guest));
        done
    }

    fn remarks(&self) -> Vec<String> {
        let left_out: usize = self.left_out.values().map(Vec::len).sum();
        let mut out = vec![format!(
            "host: {} instruction forms of {} covered on {}",
            self.forms.len(),
            self.forms.len() + left_out,
            self.features.describe(),
        )];
        let mut absent = Vec::new();
        for (why, names) in &self.left_out {
            if let Some(features) = why.strip_prefix(forms::NOT_OURS) {
                absent.push((names.len(), features));
                continue;
            }
            let some = names.iter().take(6).map(String::as_str).collect::<Vec<_>>().join(" ");
            let more = if names.len() > 6 { " …" } else { "" };
            out.push(format!("host: {} forms not covered, {why}: {some}{more}", names.len()));
        }
        let sum: usize = absent.iter().map(|(n, _)| n).sum();
        let features =
            absent.iter().map(|(n, f)| format!("{f} {n}")).collect::<Vec<_>>().join(", ");
        out.push(format!("host: {sum} forms not covered, {}{features}", forms::NOT_OURS));
        out
    }
}
