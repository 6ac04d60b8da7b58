//! The comparison as a table for a terminal.

use super::{Comparison, costs::OPERATIONS, words};
use crate::MachineStats;

/// Columns for what a row is about.
const NAME: usize = 34;
/// Columns for an engine.
const COLUMN: usize = 16;

/// The comparison as text.
#[must_use]
pub fn table(comparison: &Comparison) -> String {
    let mut text = format!("{}, on {}\n", comparison.guest, comparison.host);
    for run in &comparison.engines {
        if let Some(why) = &run.skipped {
            text += &format!("without {}: {why}\n", run.engine);
        }
    }
    let ran: Vec<_> = comparison.ran().collect();
    let row = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>COLUMN$}")).collect();
        format!("{name:<NAME$}{cells}\n")
    };
    let each = |f: &dyn Fn(&MachineStats) -> String| ran.iter().map(|(_, s)| f(s)).collect();
    text += &row("", ran.iter().map(|(run, _)| run.engine.into()).collect());
    for figure in words::FIGURES {
        text += &row(figure.title, each(&figure.cell));
    }
    text += "\nReached after\n";
    for name in milestone_names(comparison) {
        let at = |run: &super::EngineRun| {
            let milestone = run.milestones.iter().find(|m| m.name == name);
            milestone.map_or_else(|| "-".into(), |m| words::seconds(m.seconds))
        };
        text += &row(&format!("  {name}"), ran.iter().map(|(run, _)| at(run)).collect());
    }
    text += "\nExits, and other sensitive events\n";
    for reason in reasons(comparison) {
        let count = |s: &MachineStats| {
            let event = s.events.iter().find(|event| event.reason == reason);
            event.map_or_else(|| "-".into(), |event| words::count(event.count))
        };
        text += &row(&format!("  {reason}"), each(&count));
    }
    if ran.iter().any(|(run, _)| !run.costs.is_empty()) {
        text += "\nNanoseconds each, measured inside\n";
        for operation in OPERATIONS {
            let cost = |run: &super::EngineRun| {
                let cost = run.costs.iter().find(|cost| cost.operation == operation.name);
                cost.map_or_else(|| "-".into(), |cost| words::nanoseconds(cost.ns))
            };
            let cells = ran.iter().map(|(run, _)| cost(run)).collect();
            text += &row(&format!("  {}", operation.title), cells);
        }
    }
    for (run, _) in &ran {
        if let Some(why) = &run.costs_missing {
            text += &format!("{}: {why}\n", run.engine);
        }
    }
    text
}

/// The milestones of all engines, in the order of the one that has most.
pub fn milestone_names(comparison: &Comparison) -> Vec<&str> {
    let longest = comparison.engines.iter().max_by_key(|run| run.milestones.len());
    let mut names: Vec<&str> = Vec::new();
    for run in longest.into_iter().chain(&comparison.engines) {
        for milestone in &run.milestones {
            if !names.contains(&milestone.name.as_str()) {
                names.push(&milestone.name);
            }
        }
    }
    names
}

/// The reasons of all engines, the most frequent first.
pub fn reasons(comparison: &Comparison) -> Vec<&str> {
    let mut reasons: Vec<(&str, u64)> = Vec::new();
    for event in comparison.ran().flat_map(|(_, stats)| &stats.events) {
        match reasons.iter_mut().find(|(reason, _)| *reason == event.reason) {
            Some((_, most)) => *most = event.count.max(*most),
            None => reasons.push((&event.reason, event.count)),
        }
    }
    reasons.sort_by_key(|(_, most)| std::cmp::Reverse(*most));
    reasons.into_iter().map(|(reason, _)| reason).collect()
}
