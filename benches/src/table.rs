//! The table of results.

use std::{fmt::Write, time::Duration};

use crate::{
    Time,
    emulator::{Emulator, Measurement},
    image::Result,
};

/// The names of what was measured, in order.
fn names(runs: &[(Emulator, Measurement)]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (_, measurement) in runs {
        if !names.contains(&measurement.name.as_str()) {
            names.push(&measurement.name);
        }
    }
    names
}

/// The median time of an emulator.
fn median(
    runs: &[(Emulator, Measurement)],
    emulator: &Emulator,
    name: &str,
    time: Time,
) -> Option<Duration> {
    let mut times: Vec<_> = runs
        .iter()
        .filter(|(by, measurement)| by == emulator && measurement.name == name)
        .filter_map(|(_, measurement)| match time {
            Time::Wall => Some(measurement.wall),
            Time::Cpu => measurement.cpu,
        })
        .collect();
    times.sort();
    times.get(times.len() / 2).copied()
}

/// One row for each loop, with seconds and MIPS of each emulator; then how many times as fast as
/// Bochs they are.
pub fn table(emulators: &[Emulator], runs: &[(Emulator, Measurement)], time: Time) -> String {
    let mut out = String::new();
    let kind = if time == Time::Wall { "wall" } else { "cpu" };
    let _ = write!(out, "{:10}", format!("s ({kind})"));
    for emulator in emulators {
        let _ = write!(out, "{:>24}", emulator.to_string());
    }
    for emulator in emulators.iter().filter(|e| **e != Emulator::Bochs) {
        let _ = write!(out, "{:>21}", format!("{emulator}/bochs"));
    }
    out.push('\n');
    for name in names(runs) {
        let _ = write!(out, "{name:10}");
        let instructions =
            runs.iter().find(|(_, m)| m.name == name).and_then(|(_, m)| m.instructions);
        for emulator in emulators {
            let cell = median(runs, emulator, name, time).map_or("-".to_owned(), |time| {
                let seconds = time.as_secs_f64();
                let mips = instructions.map(|n| n as f64 / seconds / 1e6);
                let mips = mips.map_or(String::new(), |mips| format!(" = {mips:.0} MIPS"));
                format!("{seconds:.3}{mips}")
            });
            let _ = write!(out, "{cell:>24}");
        }
        let bochs = median(runs, &Emulator::Bochs, name, time);
        for emulator in emulators.iter().filter(|e| **e != Emulator::Bochs) {
            let ratio =
                bochs.zip(median(runs, emulator, name, time)).map_or("-".to_owned(), |(b, e)| {
                    format!("{:.2}", b.as_secs_f64() / e.as_secs_f64())
                });
            let _ = write!(out, "{ratio:>21}");
        }
        out.push('\n');
    }
    out
}

/// Whether all computed the same.
pub fn same_results(runs: &[(Emulator, Measurement)]) -> Result<()> {
    for name in names(runs) {
        let mut of_name = runs.iter().filter(|(_, m)| m.name == name);
        let Some((first, wanted)) = of_name.next() else { continue };
        for (emulator, measurement) in of_name {
            if measurement.result != wanted.result {
                return Err(format!(
                    "{name}: {first} computes {}, {emulator} {}",
                    wanted.result, measurement.result
                ));
            }
        }
    }
    Ok(())
}
