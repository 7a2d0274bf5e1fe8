//! What was measured, as tables and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::json;

use super::load::{Kind, Load};
use super::work::{Run, Topology, Variant};
use crate::common::Failure;

/// What is measured.
pub struct Case {
    pub label: String,
    pub topology: Topology,
    pub load: Load,
}

/// What has come of one variant of it.
pub struct Measured {
    pub variant: Variant,
    pub runs: Vec<Run>,
}

impl Measured {
    pub fn new(variant: Variant) -> Self {
        Self {
            variant,
            runs: Vec::new(),
        }
    }

    fn lost(&self) -> usize {
        self.runs.iter().map(|run| run.report.lost).sum()
    }

    fn doubled(&self) -> usize {
        self.runs.iter().map(|run| run.report.doubled).sum()
    }

    /// Whether palm has lost or doubled something. The others promise nothing.
    pub fn is_wrong(&self) -> bool {
        matches!(self.variant, Variant::Link | Variant::Wire) && self.lost() + self.doubled() > 0
    }

    fn figures(&self, of: impl Fn(&Run) -> f64) -> Spread {
        Spread::of(self.runs.iter().map(of))
    }

    /// The processor time of all processes of each kind, on average: see [`cost`].
    fn cpus(&self, case: &Case) -> BTreeMap<&'static str, f64> {
        let mut cpus = BTreeMap::new();
        for run in &self.runs {
            for (name, cpu) in &run.cpu {
                *cpus.entry(*name).or_insert(0.0) += cost(case, run, *cpu) / self.runs.len() as f64;
            }
        }
        cpus
    }

    /// The most that a process of each kind had, in bytes.
    fn peaks(&self) -> BTreeMap<&'static str, u64> {
        let mut peaks = BTreeMap::new();
        for (name, peak) in self.runs.iter().flat_map(|run| &run.peaks) {
            let most = peaks.entry(*name).or_insert(0);
            *most = (*peak).max(*most);
        }
        peaks
    }
}

/// The median of several runs, and how far they are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let count = values.len();
        Self {
            median: (at(count.saturating_sub(1) / 2) + at(count / 2)) / 2.0,
            least: at(0),
            most: at(count.saturating_sub(1)),
        }
    }
}

/// Something that is measured of a run.
struct Figure {
    name: &'static str,
    of: fn(&Case, &Run) -> f64,
    digits: usize,
}

const MESSAGES: Figure = Figure {
    name: "messages/s",
    of: |case, run| (case.load.clients * case.load.count) as f64 / run.report.seconds,
    digits: 0,
};

const MEGABYTES: Figure = Figure {
    name: "MB/s",
    of: |case, run| MESSAGES.of(case, run) * case.load.size as f64 / 1e6,
    digits: 0,
};

const MIDDLE: Figure = Figure {
    name: "p50, us",
    of: |_, run| quantile(&run.report.calls, 0.5) * 1e6,
    digits: 0,
};

const SLOW: Figure = Figure {
    name: "p99, us",
    of: |_, run| quantile(&run.report.calls, 0.99) * 1e6,
    digits: 0,
};

const CPU: Figure = Figure {
    name: "CPU, us/message",
    of: |case, run| {
        let all: Duration = run.cpu.iter().map(|(_, cpu)| *cpu).sum();
        cost(case, run, all)
    },
    digits: 2,
};

const BUSIEST: Figure = Figure {
    name: "CPU of one, % of a core",
    of: |case, run| {
        let most = run.cpu.iter().map(|(_, cpu)| *cpu).max();
        cost(case, run, most.unwrap_or_default())
    },
    digits: 2,
};

/// Processor time: in microseconds a message, or, if there are none, in hundredths of a core.
fn cost(case: &Case, run: &Run, time: Duration) -> f64 {
    match case.load.kind {
        Kind::Idle => 100.0 * time.as_secs_f64() / run.report.seconds,
        _ => time.as_secs_f64() * 1e6 / (case.load.clients * case.load.count) as f64,
    }
}

impl Figure {
    fn of(&self, case: &Case, run: &Run) -> f64 {
        (self.of)(case, run)
    }

    fn spread(&self, case: &Case, measured: &Measured) -> Spread {
        measured.figures(|run| self.of(case, run))
    }
}

/// Of values in ascending order.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1) as f64;
    let index = (last * part).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Of what naps alone would take, were they shared out evenly.
const OF_IDEAL: Figure = Figure {
    name: "time / ideal",
    of: |case, run| match case.topology {
        Topology::Master { workers, nap } => {
            let naps = case.load.count.div_ceil(2).div_ceil(workers);
            run.report.seconds / (nap.as_secs_f64() * naps as f64)
        }
        Topology::Chain { .. } => f64::NAN,
    },
    digits: 2,
};

fn figures(case: &Case) -> Vec<&'static Figure> {
    let naps = matches!(case.topology, Topology::Master { nap, .. } if !nap.is_zero());
    match case.load.kind {
        Kind::Calls | Kind::Cache => vec![&MIDDLE, &SLOW, &CPU],
        Kind::Idle => vec![&BUSIEST],
        Kind::Stream if naps => vec![&OF_IDEAL],
        Kind::Stream if case.load.size >= 100_000 => vec![&MEGABYTES, &CPU],
        Kind::Stream => vec![&MESSAGES, &CPU],
    }
}

/// A figure, by one of those that were measured.
struct Row<'a> {
    figure: &'static Figure,
    of: &'a Measured,
    spread: Spread,
    /// To the baseline, which is measured first, if that is anything.
    ratio: Option<f64>,
}

fn rows<'a>(case: &Case, measured: &'a [Measured]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for figure in figures(case) {
        let base = measured
            .first()
            .map(|bare| figure.spread(case, bare).median);
        let base = base.filter(|base| *base > 0.0);
        rows.extend(measured.iter().map(|of| {
            let spread = figure.spread(case, of);
            Row {
                figure,
                of,
                spread,
                ratio: base.map(|base| spread.median / base),
            }
        }));
    }
    rows
}

/// A table for people.
pub fn text(case: &Case, measured: &[Measured]) -> String {
    let mut table = new_table(&[
        "figure",
        "by",
        "median",
        "min to max",
        "ratio",
        "lost",
        "doubled",
    ]);
    for Row {
        figure,
        of,
        spread,
        ratio,
    } in rows(case, measured)
    {
        let digits = figure.digits;
        table.add_row([
            figure.name.to_owned(),
            of.variant.name().to_owned(),
            format!("{:.digits$}", spread.median),
            format!("{:.digits$} to {:.digits$}", spread.least, spread.most),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            of.lost().to_string(),
            of.doubled().to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let costs = match case.load.kind {
        Kind::Idle => "CPU of each, % of a core",
        _ => "CPU of each, us/message",
    };
    let mut each = new_table(&["by", costs, "peak memory of each, MiB"]);
    for of in measured {
        let cpus = of.cpus(case).into_iter();
        let peaks = of.peaks().into_iter();
        each.add_row([
            of.variant.name().to_owned(),
            join(cpus.map(|(name, cpu)| format!("{name} {cpu:.2}"))),
            join(peaks.map(|(name, peak)| format!("{name} {}", peak >> 20))),
        ]);
    }
    format!("{}\n{table}\n{each}\n\n", case.label)
}

fn new_table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(columns);
    table
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// A line for each figure, for programs.
pub fn json(case: &Case, measured: &[Measured]) -> Result<String, Failure> {
    let mut lines = String::new();
    for Row {
        figure,
        of,
        spread,
        ratio,
    } in rows(case, measured)
    {
        let costs = match case.load.kind {
            Kind::Idle => "cpu_percent",
            _ => "cpu_us",
        };
        let line = json!({
            "case": case.label,
            "figure": figure.name,
            "by": of.variant.name(),
            "runs": of.runs.iter().map(|run| figure.of(case, run)).collect::<Vec<_>>(),
            "median": spread.median,
            "min": spread.least,
            "max": spread.most,
            "ratio": ratio,
            "lost": of.lost(),
            "doubled": of.doubled(),
            costs: of.cpus(case),
            "peak_bytes": of.peaks(),
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!((spread.median, spread.least, spread.most), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([7.0].into_iter()).median, 7.0);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sorted = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(quantile(&sorted, 0.5), 3.0);
        assert_eq!(quantile(&sorted, 0.99), 5.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
