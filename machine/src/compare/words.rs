//! Numbers as people read them, and the figures that table and page have in common.

use crate::MachineStats;

/// A figure of a run.
pub struct Figure {
    /// What it is.
    pub title: &'static str,
    /// The cell of one engine.
    pub cell: fn(&MachineStats) -> String,
}

const fn figure(title: &'static str, cell: fn(&MachineStats) -> String) -> Figure {
    Figure { title, cell }
}

/// What both the table and the page show of each run.
pub const FIGURES: [Figure; 17] = [
    figure("exit status", |s| s.status.map_or_else(|| "-".into(), |status| status.to_string())),
    figure("wall time", |s| seconds(s.wall_seconds)),
    figure("guest time", |s| seconds(s.guest_seconds)),
    figure("instructions", |s| known(s.instructions)),
    figure("millions of them a second", |s| match s.instructions {
        0 => "-".into(),
        _ => format!("{:.1}", s.mips),
    }),
    figure("  executed as host code", |s| {
        match (s.instructions, s.total.instructions_translated) {
            (0, _) | (_, 0) => "-".into(),
            (all, translated) => format!("{:.2} %", 100.0 * translated as f64 / all as f64),
        }
    }),
    figure("time executing", |s| seconds(s.times.executing)),
    figure("  decoding and translating", |s| seconds(s.times.translating)),
    figure("  in devices", |s| seconds(s.times.devices)),
    figure("  idle", |s| seconds(s.times.idle)),
    figure("blocks decoded", |s| known(s.total.blocks_made)),
    figure("regions translated", |s| known(s.total.translations)),
    figure("bytes of host code", |s| known(s.total.code_bytes)),
    figure("code changed by the guest", |s| {
        known(s.total.blocks_stale + s.total.translations_stale)
    }),
    figure("TLB misses", |s| known(s.total.tlb_misses)),
    figure("TLB flushes", |s| known(s.total.tlb_flushes)),
    figure("interrupts", |s| known(s.total.interrupts)),
];

/// A count that is 0 where an engine cannot count.
fn known(n: u64) -> String {
    if n == 0 { "-".into() } else { count(n) }
}

/// With a thin gap between thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Seconds, milliseconds or microseconds.
pub fn seconds(s: f64) -> String {
    match s {
        _ if s >= 100.0 => format!("{s:.0} s"),
        _ if s >= 1.0 => format!("{s:.2} s"),
        _ if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        _ if s > 0.0 => format!("{:.0} \u{b5}s", s * 1e6),
        _ => "0".into(),
    }
}

/// Nanoseconds, with as many decimals as make sense.
pub fn nanoseconds(ns: f64) -> String {
    match ns {
        _ if ns >= 100.0 => count(ns.round() as u64),
        _ if ns >= 10.0 => format!("{ns:.1}"),
        _ => format!("{ns:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(123), "123");
        assert_eq!(seconds(0.0123), "12.3 ms");
        assert_eq!(seconds(2.5e-5), "25 \u{b5}s");
        assert_eq!(nanoseconds(0.256), "0.26");
        assert_eq!(nanoseconds(1234.4), "1\u{202f}234");
    }
}
