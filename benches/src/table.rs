//! The results as tables for people and as JSON for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::{
    Time,
    programs::Group,
    results::{Ratio, Results},
};

/// Width of the column of names, and of each other one.
const NAME: usize = 18;
const COLUMN: usize = 17;

/// A row; what is not known is "-".
fn row(out: &mut String, name: &str, cells: impl Iterator<Item = Option<String>>) {
    let _ = write!(out, "{name:NAME$}");
    for cell in cells {
        let _ = write!(out, "{:>COLUMN$}", cell.as_deref().unwrap_or("-"));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
}

fn title(ratio: Ratio<'_>) -> String {
    // "translate:icount/qemu:icount" says it twice.
    let (fast, slow) = (ratio.fast.to_string(), ratio.slow.to_string());
    match (fast.strip_suffix(":icount"), slow.strip_suffix(":icount")) {
        (Some(fast), Some(slow)) => format!("{fast}/{slow}:i"),
        _ => format!("{fast}/{slow}"),
    }
}

/// Three significant digits or so.
fn short(number: f64) -> String {
    match number {
        n if n < 10.0 => format!("{n:.2}"),
        n if n < 100.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// The tables: milliseconds, million instructions in a second, ratios with their means, and how
/// much code the boots left behind.
pub fn tables(results: &Results) -> String {
    let mut out = String::new();
    times(&mut out, results);
    speeds(&mut out, results);
    ratios(&mut out, results);
    code(&mut out, results);
    out
}

fn times(out: &mut String, results: &Results) {
    let kind = if results.time == Time::Wall { "wall" } else { "cpu" };
    let names = results.emulators.iter().map(|emulator| Some(emulator.to_string()));
    row(out, &format!("ms per turn, {kind}"), names);
    for program in &results.programs {
        let cell = |emulator| {
            results.median(emulator, program.name).map(|seconds| format!("{:.3}", seconds * 1e3))
        };
        row(out, program.name, results.emulators.iter().map(cell));
    }
}

/// Known for programs whose instructions an emulator counted.
fn speeds(out: &mut String, results: &Results) {
    if !results.programs.iter().any(|p| results.instructions(p.name).is_some()) {
        return;
    }
    let names = results.emulators.iter().map(|emulator| Some(emulator.to_string()));
    row(out, "\nMIPS", names);
    for program in &results.programs {
        let Some(instructions) = results.instructions(program.name) else { continue };
        let cell = |emulator| {
            let seconds = results.median(emulator, program.name)?;
            Some(format!("{:.0}", instructions as f64 / seconds / 1e6))
        };
        row(out, program.name, results.emulators.iter().map(cell));
    }
}

fn ratios(out: &mut String, results: &Results) {
    let ratios = results.ratios();
    if ratios.is_empty() {
        return;
    }
    row(out, "\ntimes as fast", ratios.iter().map(|ratio| Some(title(*ratio))));
    for program in &results.programs {
        let cell = |ratio: &Ratio<'_>| results.ratio(*ratio, program.name).map(short);
        row(out, program.name, ratios.iter().map(cell));
    }
    for group in Group::ALL {
        if !results.programs.iter().any(|p| p.group == group) {
            continue;
        }
        let means: Vec<_> = ratios.iter().map(|ratio| results.mean(*ratio, group)).collect();
        let mean = means.iter().map(|mean| mean.map(|(mean, ..)| short(mean)));
        row(out, &format!("{group} geomean"), mean);
        let lowest = |(_, lowest, name): (f64, f64, &str)| format!("{} {name}", short(lowest));
        row(out, &format!("{group} lowest"), means.iter().map(|mean| mean.map(lowest)));
    }
}

fn code(out: &mut String, results: &Results) {
    let boots = results.programs.iter().filter(|p| p.group == Group::Boot);
    let made = |name| results.emulators.iter().map(move |e| results.code_bytes(e, name));
    let told: Vec<_> = boots.filter(|p| made(p.name).any(|bytes| bytes.is_some())).collect();
    if told.is_empty() {
        return;
    }
    let names = results.emulators.iter().map(|emulator| Some(emulator.to_string()));
    row(out, "\nMB of code", names);
    for program in told {
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        row(out, program.name, made(program.name).map(|bytes| bytes.map(megabytes)));
    }
}

/// The same as one object, with each single time: for each program its group, result, instructions
/// of a turn and ratios, and for each emulator seconds of a turn (sorted), turns and bytes of code;
/// the means of groups; Trine's statistics at the end of each of its runs; and why runs failed.
pub fn json(results: &Results) -> Value {
    let program = |name: &str| {
        let emulators: Map<_, _> = results
            .emulators
            .iter()
            .filter(|emulator| results.median(emulator, name).is_some())
            .map(|emulator| {
                let value = json!({
                    "seconds": results.seconds(emulator, name),
                    "median": results.median(emulator, name),
                    "turns": results.turns(emulator, name),
                    "code_bytes": results.code_bytes(emulator, name),
                });
                (emulator.to_string(), value)
            })
            .collect();
        let ratios = results.ratios().into_iter();
        let ratios: Map<_, _> =
            ratios.map(|ratio| (title(ratio), json!(results.ratio(ratio, name)))).collect();
        (emulators, ratios)
    };
    let programs: Map<_, _> = results
        .programs
        .iter()
        .map(|p| {
            let (emulators, ratios) = program(p.name);
            let value = json!({
                "group": p.group.to_string(),
                "result": results.result(p.name),
                "instructions": results.instructions(p.name),
                "emulators": emulators,
                "ratios": ratios,
            });
            (p.name.to_owned(), value)
        })
        .collect();
    let stats: Vec<_> = results
        .runs
        .iter()
        .filter_map(|(by, run)| Some(json!({ "by": by.to_string(), "stats": run.stats.as_ref()? })))
        .collect();
    json!({
        "schema": 1,
        "time": if results.time == Time::Wall { "wall" } else { "cpu" },
        "programs": programs,
        "means": means(results),
        "trine": stats,
        "failures": results.failures,
    })
}

fn means(results: &Results) -> Map<String, Value> {
    let of = |group| {
        let ratios = results.ratios().into_iter();
        let means: Map<_, _> = ratios
            .filter_map(|ratio| {
                let (mean, lowest, name) = results.mean(ratio, group)?;
                let value = json!({ "geomean": mean, "lowest": lowest, "lowest_name": name });
                Some((title(ratio), value))
            })
            .collect();
        Value::Object(means)
    };
    Group::ALL.into_iter().map(|group| (group.to_string(), of(group))).collect()
}
