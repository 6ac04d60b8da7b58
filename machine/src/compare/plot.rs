//! Plots as SVG inside of a page: a function for each form. Colours are the page's, by class.

use maud::{Markup, html};

/// Width of a plot in its own units, which are about pixels; the page scales it.
pub const WIDE: f64 = 880.0;
/// Width of one of two that stand side by side.
pub const NARROW: f64 = 430.0;
/// Left of the bars are their names, ...
const NAMES: f64 = 120.0;
/// ... and right of them their values.
const VALUES: f64 = 100.0;
/// Height of a row.
const ROW: f64 = 34.0;

/// From values to places on an axis.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    left: f64,
    width: f64,
}

impl Scale {
    /// From 0 to the largest of `values`.
    pub fn linear(values: impl IntoIterator<Item = f64>, left: f64, width: f64) -> Self {
        let high = values.into_iter().fold(0.0, f64::max);
        let high = if high > 0.0 { high } else { 1.0 };
        Self { low: 0.0, high, is_log: false, left, width }
    }

    /// Whole decades around `values` above 0.
    pub fn decades(values: impl IntoIterator<Item = f64>, left: f64, width: f64) -> Self {
        let logs = values.into_iter().filter(|v| *v > 0.0 && v.is_finite()).map(f64::log10);
        let (low, high) = logs.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low <= high { (low.floor(), high.ceil()) } else { (0.0, 1.0) };
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, is_log: true, left, width }
    }

    /// Where a value is.
    pub fn at(&self, value: f64) -> f64 {
        let v = if self.is_log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        self.left + self.width * ((v - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The powers of ten of a logarithmic scale; round steps of a linear one, at most ten.
    pub fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let (low, high) = (self.low as i32, self.high as i32);
            return (low..=high).map(|power| 10_f64.powi(power)).collect();
        }
        let decade = 10_f64.powf(self.high.log10().floor());
        let step = [0.1, 0.2, 0.5, 1.0].map(|part| part * decade);
        let step = step.into_iter().find(|step| self.high / step <= 10.0).unwrap_or(decade);
        let steps = (self.high / step + 1e-9) as u32;
        (0..=steps).map(|n| f64::from(n) * step).collect()
    }
}

/// A row of a plot.
pub struct Bar<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is coloured as.
    pub class: &'a str,
    /// How long it is.
    pub value: f64,
    /// The value in words.
    pub words: String,
}

fn frame(width: f64, height: f64, label: &str, inside: &Markup) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {width:.0} {height:.0}")) role="img" aria-label=(label) {
            (inside)
        }
    }
}

fn px(n: f64) -> String {
    format!("{n:.1}")
}

/// Bars from 0; the plot is [`WIDE`] or [`NARROW`].
pub fn bars(label: &str, width: f64, bars: &[Bar<'_>]) -> Markup {
    let values = bars.iter().map(|bar| bar.value);
    let scale = Scale::linear(values, NAMES, width - NAMES - VALUES);
    let row = if width < WIDE { 28.0 } else { ROW };
    frame(
        width,
        row * bars.len() as f64,
        label,
        &html! {
            @for (n, bar) in bars.iter().enumerate() {
                @let y = row * n as f64 - (ROW - row) / 2.0;
                @let end = scale.at(bar.value).max(NAMES + if bar.value > 0.0 { 2.0 } else { 0.0 });
                text.name x=(px(NAMES - 12.0)) y=(px(y + 22.0)) text-anchor="end" { (bar.name) }
                rect class=(bar.class) x=(px(NAMES)) y=(px(y + 7.0)) width=(px(end - NAMES))
                    height="20" rx="3" { title { (bar.name) ": " (bar.words) } }
                text.value x=(px(end + 8.0)) y=(px(y + 22.0)) { (bar.words) }
            }
        },
    )
}

/// A row of parts that make up a whole.
pub struct Stack<'a> {
    /// Its name.
    pub name: &'a str,
    /// The whole in words.
    pub words: String,
    /// Class, name, value and value in words of each part.
    pub parts: Vec<(&'a str, &'a str, f64, String)>,
}

/// Bars of parts, each as long as the others: shares of the whole.
pub fn stacks(label: &str, stacks: &[Stack<'_>]) -> Markup {
    let width = WIDE - NAMES - VALUES;
    frame(
        WIDE,
        ROW * stacks.len() as f64,
        label,
        &html! {
            @for (n, stack) in stacks.iter().enumerate() {
                @let y = ROW * n as f64;
                text.name x=(px(NAMES - 12.0)) y=(px(y + 22.0)) text-anchor="end" { (stack.name) }
                @for (start, share, (class, name, _, words)) in shares(stack) {
                    @let (x, w) = (NAMES + width * start, width * share);
                    rect class=(class) x=(px(x)) y=(px(y + 5.0)) width=(px((w - 2.0).max(0.6)))
                        height="24" rx="2" { title { (stack.name) ", " (name) ": " (words) } }
                    @if w > 62.0 {
                        text.inside x=(px(x + w / 2.0)) y=(px(y + 21.5)) text-anchor="middle" {
                            (words)
                        }
                    }
                }
                text.value x=(px(NAMES + width + 8.0)) y=(px(y + 22.0)) { (stack.words) }
            }
        },
    )
}

type Part<'a> = (&'a str, &'a str, f64, String);

/// Where each part that is not 0 starts, and how much of the whole it is.
fn shares<'a>(stack: &'a Stack<'a>) -> Vec<(f64, f64, &'a Part<'a>)> {
    let whole: f64 = stack.parts.iter().map(|part| part.2).sum();
    let mut start = 0.0;
    let mut shares = Vec::new();
    for part in stack.parts.iter().filter(|part| part.2 > 0.0 && whole > 0.0) {
        shares.push((start, part.2 / whole, part));
        start += part.2 / whole;
    }
    shares
}

/// A line of time with numbered points.
pub struct Lane<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is coloured as.
    pub class: &'a str,
    /// Number, name, seconds and these in words of each point.
    pub points: Vec<(usize, &'a str, f64, String)>,
}

/// Lanes with points over one axis of time: logarithmic, unless that were a single decade.
pub fn timeline(label: &str, lanes: &[Lane<'_>]) -> Markup {
    const LANE: f64 = 88.0;
    let seconds = || lanes.iter().flat_map(|lane| lane.points.iter().map(|point| point.2));
    let (left, width) = (NAMES + 14.0, WIDE - NAMES - 44.0);
    let decades = Scale::decades(seconds(), left, width);
    let is_narrow = decades.ticks().len() <= 2;
    let scale = if is_narrow { Scale::linear(seconds(), left, width) } else { decades };
    let bottom = LANE * lanes.len() as f64;
    frame(
        WIDE,
        bottom + 26.0,
        label,
        &html! {
            @for tick in scale.ticks() {
                @let x = px(scale.at(tick));
                line.grid x1=(x) x2=(x) y1="0" y2=(px(bottom)) {}
                text.tick x=(x) y=(px(bottom + 18.0)) text-anchor="middle" { (short(tick * 1e9)) }
            }
            @for (n, lane) in lanes.iter().enumerate() {
                @let y = LANE * (n as f64 + 0.5);
                @let from = px(scale.at(lane.points.iter().map(|p| p.2).fold(f64::MAX, f64::min)));
                @let to = px(scale.at(lane.points.iter().map(|p| p.2).fold(0.0, f64::max)));
                text.name x=(px(NAMES - 12.0)) y=(px(y + 4.0)) text-anchor="end" { (lane.name) }
                line class=(format!("lane {}", lane.class)) x1=(from) x2=(to) y1=(px(y)) y2=(px(y)) {}
                @for (x, dy, (number, name, _, at)) in apart(lane, &scale) {
                    g { title { (lane.name) ", " (name) ": " (at) }
                        circle class=(lane.class) cx=(px(x)) cy=(px(y + dy)) r="9.5" {}
                        text.inside x=(px(x)) y=(px(y + dy + 4.0)) text-anchor="middle" { (number) }
                    }
                }
            }
        },
    )
}

type Point<'a> = (usize, &'a str, f64, String);

/// Where each point of a lane is; neighbours that would hide each other are moved up and down.
fn apart<'a>(lane: &'a Lane<'a>, scale: &Scale) -> Vec<(f64, f64, &'a Point<'a>)> {
    let mut places: Vec<(f64, f64, &Point<'a>)> = Vec::new();
    for point in &lane.points {
        let x = scale.at(point.2);
        let near = |dy: f64, places: &[(f64, f64, &Point<'a>)]| {
            places.iter().any(|place| (place.0 - x).abs() < 19.0 && (place.1 - dy).abs() < 10.0)
        };
        let dys = [0.0, -17.0, 17.0, -34.0, 34.0];
        let dy = dys.into_iter().find(|dy| !near(*dy, &places)).unwrap_or(0.0);
        places.push((x, dy, point));
    }
    places
}

/// A row of points, one for each engine, over decades; `None` for the axis itself.
pub fn points(scale: &Scale, row: Option<&[(&str, &str, f64, String)]>, width: f64) -> Markup {
    let height = if row.is_some() { 22.0 } else { 16.0 };
    html! {
        svg.row viewBox=(format!("0 0 {width:.0} {height:.0}")) role="img"
            aria-label=(if row.is_some() { "on a logarithmic scale" } else { "the scale" }) {
            @for tick in scale.ticks() {
                @let x = px(scale.at(tick));
                @if row.is_some() {
                    line.grid x1=(x) x2=(x) y1="0" y2=(px(height)) {}
                } @else {
                    text.tick x=(x) y="12" text-anchor="middle" { (short(tick)) }
                }
            }
            @if let Some(row) = row {
                @let at: Vec<f64> = row.iter().map(|point| scale.at(point.2)).collect();
                line.span x1=(px(at.iter().copied().fold(f64::MAX, f64::min)))
                    x2=(px(at.iter().copied().fold(0.0, f64::max))) y1="11" y2="11" {}
                @for (name, class, value, words) in row {
                    circle class=(class) cx=(px(scale.at(*value))) cy="11" r="6" {
                        title { (name) ": " (words) }
                    }
                }
            }
        }
    }
}

/// Nanoseconds, as an axis says it.
fn short(ns: f64) -> String {
    let (by, unit) = match ns {
        _ if ns >= 1e9 => (1e9, "s"),
        _ if ns >= 1e6 => (1e6, "ms"),
        _ if ns >= 1e3 => (1e3, "\u{b5}s"),
        _ if ns > 0.0 => (1.0, "ns"),
        _ => return "0".into(),
    };
    // At most two decimals, and none that are 0.
    format!("{} {unit}", (ns / by * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_reach_from_end_to_end() {
        let linear = Scale::linear([1.0, 4.0], 100.0, 200.0);
        assert_eq!((linear.at(0.0), linear.at(2.0), linear.at(4.0)), (100.0, 200.0, 300.0));
        let decades = Scale::decades([0.5, 90.0], 0.0, 300.0);
        assert_eq!(decades.ticks(), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!(linear.ticks(), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]);
        assert_eq!([0.1, 500.0, 1e6, 2.5e9].map(short), ["0.1 ns", "500 ns", "1 ms", "2.5 s"]);
        assert!((decades.at(1.0) - 100.0).abs() < 1e-9 && decades.at(0.0) == 0.0);
        let nothing = Scale::decades([], 0.0, 10.0);
        assert!(nothing.at(1.0).is_finite());
    }

    #[test]
    fn points_do_not_hide_each_other() {
        let point = |n, s| (n, "name", s, String::new());
        let points = vec![point(1, 1.0), point(2, 1.01), point(3, 1.02)];
        let lane = Lane { name: "a", class: "a", points };
        let scale = Scale::decades([1.0, 10.0], 0.0, 600.0);
        let places = apart(&lane, &scale);
        let heights: Vec<f64> = places.iter().map(|place| place.1).collect();
        assert_eq!(heights, [0.0, -17.0, 17.0]);
    }
}
