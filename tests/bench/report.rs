//! Figures: printed as they come, and as JSON for machines.

use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write as _;

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Report {
    part: String,
    figures: Vec<(String, Figure)>,
}

/// One figure.
struct Figure {
    what: String,
    value: f64,
    unit: Unit,
    /// The value must be less.
    bound: Option<f64>,
}

/// What a value counts. Values are kept in these units, whatever they are shown in.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Of a clock on the wall.
    Seconds,
    /// Of a processor, user and system time of all threads.
    CpuSeconds,
    /// Of one processor.
    Percent,
    Bytes,
    /// How many times as much.
    Ratio,
}

impl Report {
    /// Begins a part; `how` says what was measured and against what.
    pub(crate) fn part(&mut self, title: &str, how: &str) {
        title.clone_into(&mut self.part);
        print(&format!("\n{title}\n  {how}"));
    }

    /// A figure without a bound.
    pub(crate) fn figure(&mut self, what: impl Into<String>, value: f64, unit: Unit) {
        self.add(Figure { what: what.into(), value, unit, bound: None });
    }

    /// A figure that must stay under a bound.
    pub(crate) fn bounded(&mut self, what: impl Into<String>, value: f64, unit: Unit, bound: f64) {
        self.add(Figure { what: what.into(), value, unit, bound: Some(bound) });
    }

    fn add(&mut self, figure: Figure) {
        print(&format!("  {}", figure.line()));
        self.figures.push((self.part.clone(), figure));
    }

    /// The figures that are over their bound.
    pub(crate) fn broken(&self) -> Vec<String> {
        self.figures.iter().filter(|(_, figure)| !figure.holds()).map(|(_, figure)| figure.line()).collect()
    }

    /// The whole report for machines.
    pub(crate) fn json(&self) -> Result<String> {
        let figures: Vec<Value> = self.figures.iter().map(|(part, figure)| figure.json(part)).collect();
        Ok(serde_json::to_string_pretty(&json!({ "figures": figures }))? + "\n")
    }
}

impl Figure {
    fn holds(&self) -> bool {
        self.bound.is_none_or(|bound| self.value < bound)
    }

    fn line(&self) -> String {
        let bound = match (self.bound, self.holds()) {
            (None, _) => String::new(),
            (Some(bound), true) => format!("   (under {})", self.unit.show(bound).trim()),
            (Some(bound), false) => format!("   NOT under {}", self.unit.show(bound).trim()),
        };
        format!("{:<66}{:>16}{bound}", self.what, self.unit.show(self.value))
    }

    fn json(&self, part: &str) -> Value {
        json!({ "part": part, "figure": self.what, "value": self.value, "unit": self.unit.word(), "under": self.bound })
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{} wall", time(value)),
            Self::CpuSeconds => format!("{} CPU ", time(value)),
            Self::Percent => format!("{value:.2} % CPU "),
            Self::Bytes => format!("{:.1} MiB     ", value / f64::from(1 << 20)),
            Self::Ratio => format!("× {value:.2}     "),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::CpuSeconds => "cpu-seconds",
            Self::Percent => "percent-of-a-cpu",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// Says what is going on, for whoever waits.
pub(crate) fn say(what: &str) {
    // Nobody may be listening any more.
    let _ = writeln!(std::io::stderr(), "bench: {what}");
}

fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The middle one of some values; of an even number the lower one of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The value that so many of a hundred are not over.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The least of some values.
pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}
