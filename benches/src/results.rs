//! Medians, ratios and means of what was measured.

use crate::{
    Time,
    emulator::Emulator,
    image::Result,
    programs::{Group, Program},
    watch::{Measurement, Run},
};

/// Which emulators are compared, by their names: how many times as fast as the second the first is.
const RATIOS: [(&str, &str); 7] = [
    ("translate", "qemu"),
    ("translate", "native"),
    ("translate:icount", "qemu:icount"),
    ("interp", "bochs"),
    ("interp", "qemu"),
    ("interp:icount", "qemu:icount"),
    ("qemu", "native"),
];

/// All runs of one session.
pub struct Results {
    pub time: Time,
    pub emulators: Vec<Emulator>,
    pub programs: Vec<&'static Program>,
    pub runs: Vec<(Emulator, Run)>,
    /// Why runs failed.
    pub failures: Vec<String>,
}

/// A column of the table of ratios.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ratio<'a> {
    pub fast: &'a Emulator,
    pub slow: &'a Emulator,
}

impl Results {
    fn measurements(&self) -> impl Iterator<Item = (&Emulator, &Measurement)> {
        self.runs.iter().flat_map(|(by, run)| run.measurements.iter().map(move |m| (by, m)))
    }

    /// Seconds that a turn of a program took, each time, sorted.
    pub fn seconds(&self, emulator: &Emulator, name: &str) -> Vec<f64> {
        let mut seconds: Vec<f64> = self
            .measurements()
            .filter(|(by, m)| *by == emulator && m.name == name)
            .filter_map(|(_, m)| {
                let time = match self.time {
                    Time::Wall => Some(m.wall),
                    Time::Cpu => m.cpu,
                };
                time.map(|time| time.as_secs_f64() / m.turns as f64)
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    /// The median of them.
    pub fn median(&self, emulator: &Emulator, name: &str) -> Option<f64> {
        let seconds = self.seconds(emulator, name);
        seconds.get(seconds.len() / 2).copied()
    }

    /// Turns that each measurement of it had.
    pub fn turns(&self, emulator: &Emulator, name: &str) -> Option<u64> {
        self.measurements().find(|(by, m)| *by == emulator && m.name == name).map(|(_, m)| m.turns)
    }

    /// What all computed.
    pub fn result(&self, name: &str) -> Option<&str> {
        self.measurements().find(|(_, m)| m.name == name).map(|(_, m)| m.result.as_str())
    }

    /// Instructions of a turn, as an emulator that counts them saw it: ours, or else QEMU.
    pub fn instructions(&self, name: &str) -> Option<u64> {
        let counted = |is_ours: bool| {
            self.measurements().find_map(|(by, m)| {
                let counts = match by {
                    Emulator::Trine { counts, .. } => *counts && is_ours,
                    Emulator::Qemu { counts } => *counts && !is_ours,
                    Emulator::Bochs | Emulator::Native => false,
                };
                m.ticks.filter(|_| counts && m.name == name).map(|ticks| ticks / m.turns)
            })
        };
        counted(true).or_else(|| counted(false))
    }

    /// Bytes of host code that an emulator had made when the guest was at its end.
    pub fn code_bytes(&self, emulator: &Emulator, name: &str) -> Option<u64> {
        let made = |run: &Run| run.measurements.iter().any(|m| m.name == name);
        self.runs
            .iter()
            .filter(|(by, run)| by == emulator && made(run))
            .find_map(|(_, run)| run.code_bytes)
    }

    /// The comparisons whose both sides are there.
    pub fn ratios(&self) -> Vec<Ratio<'_>> {
        let named = |name: &str| self.emulators.iter().find(|e| e.to_string() == name);
        RATIOS
            .iter()
            .filter_map(|(fast, slow)| Some(Ratio { fast: named(fast)?, slow: named(slow)? }))
            .collect()
    }

    /// How many times as fast a program is.
    pub fn ratio(&self, ratio: Ratio<'_>, name: &str) -> Option<f64> {
        let slow = self.median(ratio.slow, name)?;
        self.median(ratio.fast, name).map(|fast| slow / fast)
    }

    /// The geometric mean of a group's ratios, and the lowest with its name.
    pub fn mean(&self, ratio: Ratio<'_>, group: Group) -> Option<(f64, f64, &'static str)> {
        let of_group: Vec<_> = self
            .programs
            .iter()
            .filter(|p| p.group == group)
            .filter_map(|p| Some((self.ratio(ratio, p.name)?, p.name)))
            .collect();
        let (lowest, name) = of_group.iter().copied().min_by(|a, b| a.0.total_cmp(&b.0))?;
        let logarithms: f64 = of_group.iter().map(|(ratio, _)| ratio.ln()).sum();
        Some(((logarithms / of_group.len() as f64).exp(), lowest, name))
    }

    /// Whether all computed the same.
    ///
    /// # Errors
    /// Two emulators that differ, and in what.
    pub fn agree(&self) -> Result<()> {
        for program in &self.programs {
            let mut of_name = self.measurements().filter(|(_, m)| m.name == program.name);
            let Some((first, wanted)) = of_name.next() else { continue };
            if let Some((other, m)) = of_name.find(|(_, m)| m.result != wanted.result) {
                let (name, wanted, result) = (program.name, &wanted.result, &m.result);
                return Err(format!("{name}: {first} computes {wanted}, {other} {result}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::programs::choose;

    fn run(name: &str, millis: u64, turns: u64, result: &str) -> Run {
        let measurement = Measurement {
            name: name.to_owned(),
            wall: Duration::from_millis(millis),
            cpu: None,
            turns,
            result: result.to_owned(),
            ticks: Some(1000),
        };
        Run { measurements: vec![measurement], ..Run::default() }
    }

    fn results(runs: Vec<(Emulator, Run)>) -> Results {
        let emulators = vec![Emulator::Qemu { counts: false }, Emulator::Native];
        let programs = choose(Some("fib,crc")).unwrap();
        Results { time: Time::Wall, emulators, programs, runs, failures: Vec::new() }
    }

    #[test]
    fn ratios_are_of_medians_for_each_turn() {
        let qemu = Emulator::Qemu { counts: false };
        let results = results(vec![
            (qemu.clone(), run("fib", 100, 1, "a")),
            (qemu.clone(), run("fib", 900, 1, "a")),
            (qemu.clone(), run("fib", 200, 1, "a")),
            (qemu, run("crc", 100, 1, "b")),
            (Emulator::Native, run("fib", 500, 10, "a")),
            (Emulator::Native, run("crc", 100, 1, "b")),
        ]);
        let ratios = results.ratios();
        assert_eq!(ratios.len(), 1);
        assert!((results.ratio(ratios[0], "fib").unwrap() - 0.25).abs() < 1e-9);
        let (mean, lowest, name) = results.mean(ratios[0], Group::Integer).unwrap();
        assert!((mean - 0.5).abs() < 1e-9);
        assert!((lowest - 0.25).abs() < 1e-9 && name == "fib");
        assert!(results.mean(ratios[0], Group::Float).is_none());
        assert!(results.agree().is_ok());
        assert_eq!(results.instructions("fib"), None);
    }

    #[test]
    fn different_results_are_found() {
        let qemu = Emulator::Qemu { counts: true };
        let results =
            results(vec![(qemu, run("crc", 1, 2, "a")), (Emulator::Native, run("crc", 1, 1, "b"))]);
        assert_eq!(results.agree().unwrap_err(), "crc: qemu:icount computes a, native b");
        assert_eq!(results.instructions("crc"), Some(500));
    }
}
