//! What each sensitive instruction cost: a table with a plot in each row.

use maud::{Markup, html};

use crate::compare::{
    Comparison, EngineRun, Kind, Operation,
    costs::OPERATIONS,
    plot::{Scale, points},
    words,
};

/// Width of the plot in a row, in its own units.
const WIDTH: f64 = 430.0;

/// The kinds with what is to be said of them.
const KINDS: [(Kind, &str, &str); 6] = [
    (Kind::Innocuous, "Innocuous", "any CPU may run them as they are: the price of ordinary work"),
    (
        Kind::Unprivileged,
        "Sensitive, not privileged",
        "they read or change the machine's own state and need not trap in ring 3",
    ),
    (Kind::Privileged, "Sensitive and privileged", "in ring 3 they trap"),
    (Kind::Device, "Devices", "only the machine can answer"),
    (Kind::Event, "Privilege changes and events", "the CPU goes through a gate, or is woken"),
    (Kind::Code, "Self-modifying code", "what has been decoded or translated is wrong at once"),
];

/// The section.
pub fn section(comparison: &Comparison) -> Markup {
    let runs: Vec<&EngineRun> =
        comparison.engines.iter().filter(|run| !run.costs.is_empty()).collect();
    if runs.is_empty() {
        return html! {
            @for run in &comparison.engines {
                @if let Some(why) = &run.costs_missing { p { (run.engine) ": " (why) } }
            }
        };
    }
    let all = runs.iter().flat_map(|run| run.costs.iter().map(|cost| cost.ns.max(0.05)));
    let scale = Scale::decades(all, 16.0, WIDTH - 36.0);
    html! {
        h2 { "What each instruction cost" }
        p {
            "A second guest, built in, times each of these from inside, in 64-bit mode: a loop of some "
            "hundreds to thousands, the same loop empty subtracted, the fastest of eight attempts. "
            "Nanoseconds each, on a logarithmic scale."
        }
        div.card {
            ul.legend { @for run in &runs { li { i class=(run.engine) {} (run.engine) } } }
            table {
                thead { tr {
                    th { "" }
                    @for run in &runs { th { (run.engine) } }
                    th.plot { (points(&scale, None, WIDTH)) }
                } }
                tbody {
                    @for (kind, title, note) in KINDS {
                        tr.kind { th colspan=(runs.len() + 2) { (title) span { " \u{2013} " (note) } } }
                        @for operation in OPERATIONS.iter().filter(|o| o.kind == kind) {
                            (row(operation, &runs, &scale))
                        }
                    }
                }
            }
        }
        @for run in &comparison.engines {
            @if let Some(why) = &run.costs_missing { p { (run.engine) ": " (why) "." } }
        }
    }
}

fn row(operation: &Operation, runs: &[&EngineRun], scale: &Scale) -> Markup {
    let costs: Vec<Option<f64>> = runs.iter().map(|run| cost(run, operation.name)).collect();
    let known = runs.iter().zip(&costs).filter_map(|(run, ns)| Some((run.engine, (*ns)?)));
    let row: Vec<_> = known
        .map(|(engine, ns)| (engine, engine, ns.max(0.05), words::nanoseconds(ns) + " ns"))
        .collect();
    html! {
        tr {
            td { (operation.title) }
            @for ns in &costs {
                td { (ns.map_or_else(|| "\u{2013}".into(), words::nanoseconds)) }
            }
            td.plot { @if !row.is_empty() { (points(scale, Some(&row), WIDTH)) } }
        }
    }
}

/// What an operation cost under an engine.
pub fn cost(run: &EngineRun, name: &str) -> Option<f64> {
    run.costs.iter().find(|cost| cost.operation == name).map(|cost| cost.ns)
}
