//! The comparison as one page of HTML that needs nothing else: style and plots are inside.

mod costs;
mod lesson;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    Comparison, EngineRun,
    plot::{self, Bar, Lane, Stack},
    table::{milestone_names, reasons},
    words,
};
use crate::MachineStats;

/// The kinds of time: class, name.
const KINDS: [(&str, &str); 4] = [
    ("executing", "executing guest code"),
    ("translating", "decoding and translating"),
    ("devices", "emulating devices"),
    ("idle", "idle"),
];
/// So many reasons are drawn; the table has all.
const REASONS_DRAWN: usize = 12;

/// The page.
#[must_use]
pub fn page(comparison: &Comparison) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "One guest, several engines \u{2013} trine compare" }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { main {
                h1 { "One guest, several engines" }
                p.lead {
                    "The same machine ran " strong { (comparison.guest) } " once under each engine of "
                    "this host (" (comparison.host) "). The engines see the same chips, the same memory "
                    "and the same first instruction; what differs is how guest code is executed."
                }
                (tiles(comparison))
                (lesson::engines())
                (time(comparison))
                (speed(comparison))
                (events(comparison))
                (costs::section(comparison))
                (lesson::theorem(comparison))
                (all_figures(comparison))
                footer {
                    "Written by trine " (comparison.version) " compare. Times are the host's, measured "
                    "while events were counted, which costs some tens of nanoseconds an event; the "
                    "nanoseconds of single instructions come from a second guest without counting. "
                    "\u{201c}\u{2013}\u{201d} is what an engine does not have or cannot count."
                }
            } }
        }
    };
    page.into_string() + "\n"
}

/// A number for each engine, large.
fn tiles(comparison: &Comparison) -> Markup {
    html! {
        div.tiles {
            @for run in &comparison.engines {
                @match &run.stats {
                    Some(stats) => div class=(format!("tile {}", run.engine)) {
                        (run.engine)
                        b { (words::seconds(stats.wall_seconds)) }
                        span { (stats.ending.as_deref().unwrap_or("it runs")) }
                    },
                    None => div.tile.off {
                        (run.engine)
                        b { "\u{2013}" }
                        span { "did not run: " (run.skipped.as_deref().unwrap_or("skipped")) }
                    },
                }
            }
        }
    }
}

/// Wall time, milestones, time by kind.
fn time(comparison: &Comparison) -> Markup {
    let walls: Vec<Bar<'_>> = bars(comparison, |s| s.wall_seconds, words::seconds);
    html! {
        h2 { "How long it took" }
        div.card { (plot::bars("wall time by engine", plot::WIDE, &walls)) }
        (milestones(comparison))
        h3 { "Where the time went" }
        p {
            "Shares of the vCPUs\u{2019} time on the host. An interpreter and a translator must both read "
            "guest code before they can run it; a translator pays more for each piece once, and then "
            "runs it many times. A chip costs the same under every engine, so the faster the engine, "
            "the larger its share. Time asleep, waiting for a timer or a key, no engine can shorten."
        }
        div.card {
            ul.legend { @for (class, name) in KINDS { li { i class=(class) {} (name) } } }
            (plot::stacks("time by kind and engine", &stacks(comparison)))
        }
    }
}

fn stacks(comparison: &Comparison) -> Vec<Stack<'_>> {
    let of = |(run, stats): (&'_ EngineRun, &MachineStats)| {
        let t = stats.times;
        let seconds = [t.executing, t.translating, t.devices, t.idle];
        let parts = KINDS.iter().zip(seconds);
        let parts = parts.map(|((class, name), s)| (*class, *name, s, words::seconds(s))).collect();
        (run.engine, words::seconds(seconds.iter().sum()), parts)
    };
    comparison
        .ran()
        .map(of)
        .map(|(engine, words, parts)| Stack { name: engine_name(engine), words, parts })
        .collect()
}

/// The names are known, so they outlive every run.
fn engine_name(name: &str) -> &'static str {
    crate::EngineKind::ALL.iter().map(|kind| kind.name()).find(|n| *n == name).unwrap_or("engine")
}

fn milestones(comparison: &Comparison) -> Markup {
    let names = milestone_names(comparison);
    let lane = |run: &EngineRun| {
        let number = |name: &str| names.iter().position(|n| *n == name).map_or(0, |n| n + 1);
        let points = names.iter().filter_map(|name| {
            let milestone = run.milestones.iter().find(|m| m.name == *name)?;
            Some((number(name), *name, milestone.seconds, words::seconds(milestone.seconds)))
        });
        let points: Vec<_> = points.collect();
        Lane { name: engine_name(run.engine), class: engine_name(run.engine), points }
    };
    let lanes: Vec<Lane<'_>> = comparison.ran().map(|(run, _)| lane(run)).collect();
    html! {
        h3 { "Milestones" }
        p {
            "When what appeared on the serial port, since the machine was switched on."
        }
        div.card {
            (plot::timeline("milestones by engine", &lanes))
            (milestone_table(comparison, &names))
        }
    }
}

fn milestone_table(comparison: &Comparison, names: &[&str]) -> Markup {
    let at = |run: &EngineRun, name: &str| {
        let milestone = run.milestones.iter().find(|m| m.name == name);
        milestone.map_or_else(|| "\u{2013}".into(), |m| words::seconds(m.seconds))
    };
    html! {
        table {
            thead { tr { th { "" } @for (run, _) in comparison.ran() { th { (run.engine) } } } }
            tbody {
                @for (n, name) in names.iter().enumerate() {
                    tr {
                        td { (n + 1) ". " (name) }
                        @for (run, _) in comparison.ran() { td { (at(run, name)) } }
                    }
                }
            }
        }
    }
}

fn bars<'a>(
    comparison: &'a Comparison,
    value: impl Fn(&MachineStats) -> f64,
    in_words: impl Fn(f64) -> String,
) -> Vec<Bar<'a>> {
    let bar = |(run, stats): (&'a EngineRun, &MachineStats)| {
        let value = value(stats);
        Bar { name: run.engine, class: run.engine, value, words: in_words(value) }
    };
    comparison.ran().map(bar).collect()
}

/// Instructions a second, and what the engines keep.
fn speed(comparison: &Comparison) -> Markup {
    let known = |n: f64| if n > 0.0 { words::count(n as u64) } else { "\u{2013}".into() };
    let small = |title: &str, words: &str, value: fn(&MachineStats) -> u64| {
        html! {
            div.card {
                h3 { (title) }
                p { (words) }
                (plot::bars(title, plot::NARROW, &bars(comparison, |s| value(s) as f64, known)))
            }
        }
    };
    let mips = |n: f64| if n > 0.0 { format!("{n:.1} MIPS") } else { "does not count".into() };
    html! {
        h2 { "How fast, and at what price" }
        p {
            "Millions of guest instructions for each second of the host, idle time included. "
            @for (run, stats) in comparison.ran().filter(|(_, s)| s.instructions > 0) {
                (run.engine) " retired " (words::count(stats.instructions)) " instructions. "
            }
            "The real CPU does not say how many it has retired, so under kvm there is no count."
        }
        div.card { (plot::bars("MIPS by engine", plot::WIDE, &bars(comparison, |s| s.mips, mips))) }
        div.grid {
            (small("Pieces of code made", "Blocks decoded and regions translated.",
                |s| s.total.blocks_made + s.total.translations))
            (small("Bytes of host code", "What the translator wrote; the others write none.",
                |s| s.total.code_bytes))
            (small("TLB misses", "Walks of the guest\u{2019}s page tables, in software.",
                |s| s.total.tlb_misses))
            (small("Code that changed", "Blocks and translations dropped: the guest wrote over them.",
                |s| s.total.blocks_stale + s.total.translations_stale))
            (small("Interrupts", "A slower engine boots longer, so its timer ticks more often.",
                |s| s.total.interrupts))
            (small("Page faults and exceptions", "Delivered to the guest\u{2019}s own handlers.",
                |s| s.total.exceptions))
        }
    }
}

/// Exits by reason.
fn events(comparison: &Comparison) -> Markup {
    let reasons = reasons(comparison);
    let count = |stats: &MachineStats, reason: &str| {
        stats.events.iter().find(|event| event.reason == reason).map_or(0, |event| event.count)
    };
    let drawn = |stats: &MachineStats| {
        let values = reasons.iter().take(REASONS_DRAWN).map(|reason| count(stats, reason));
        reasons.iter().zip(values.collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    html! {
        h2 { "Why guest code was left" }
        p {
            "Each time guest code asks for something that only the machine can give, its engine has to "
            "leave the fast path: a hypervisor calls that an " em { "exit" } ". The software engines "
            "count every sensitive instruction and event, kvm only those that the hardware lets "
            "through to it. The tables below name the instructions that caused most of them."
        }
        div.grid {
            @for (run, stats) in comparison.ran() {
                @let rows = drawn(stats);
                @let bars: Vec<Bar<'_>> = rows.iter().map(|(reason, n)| Bar {
                    name: reason, class: run.engine, value: *n as f64, words: words::count(*n),
                }).collect();
                @let label = format!("events by reason under {}", run.engine);
                div.card { h3 { (run.engine) } (plot::bars(&label, plot::NARROW, &bars)) }
            }
        }
        h3 { "The instructions that caused them" }
        @for (run, stats) in comparison.ran() {
            div.card { details {
                summary { (run.engine) ": all reasons, and the hottest instructions of each" }
                (event_table(stats))
            } }
        }
    }
}

fn event_table(stats: &MachineStats) -> Markup {
    html! {
        table {
            thead { tr {
                th { "reason" } th { "count" } th.code { "instruction" } th.code { "at" }
                th { "of these" }
            } }
            tbody {
                @for event in &stats.events {
                    @for (n, cause) in event.instructions.iter().take(4).enumerate() {
                        tr {
                            @if n == 0 { td { (event.reason) } td { (words::count(event.count)) } }
                            @else { td {} td {} }
                            td.code { code { (cause.text) } }
                            td.code { code { (format!("{:#x}", cause.rip)) } }
                            td { (words::count(cause.count)) }
                        }
                    }
                }
            }
        }
    }
}

/// What the terminal shows too.
fn all_figures(comparison: &Comparison) -> Markup {
    html! {
        h2 { "All figures" }
        div.card {
            table {
                thead { tr {
                    th { "" }
                    @for (run, _) in comparison.ran() { th { (run.engine) } }
                } }
                tbody {
                    @for figure in words::FIGURES {
                        tr {
                            td { (figure.title) }
                            @for (_, stats) in comparison.ran() {
                                td { ((figure.cell)(stats).replace('-', "\u{2013}")) }
                            }
                        }
                    }
                }
            }
        }
    }
}
