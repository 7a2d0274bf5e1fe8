//! `palm bench`

use std::time::Duration;

use argh::FromArgs;

use crate::common::{Failure, Outcome, print, say};

mod bare;
mod load;
mod process;
mod pylm;
mod role;
mod table;
mod work;

pub use process::COMMAND as ROLE;
pub use role::play;

use load::{Kind, Load};
use table::{Case, Measured};
use work::{Topology, Variant};

/// Measure palm beside bare ZeroMQ, in turns: messages a second, and their costs. With no work
/// named, all of them are measured.
///
/// throughput: many small messages through a master with workers;
/// latency: one at a time through the same;
/// large: messages of 1 MB through the same;
/// uneven: tasks of which every second takes 10 ms, a master with two workers;
/// late-reader: a client that does not read for a while;
/// clients: 1, 10, 100 and 500 clients at once (of bare ZeroMQ, one pair of sockets for all);
/// workers: 1, 4, 16 and 64 workers;
/// single: one server;
/// chain: 1, 2, 4 and 8 steps;
/// cache: a value set and read again, one after the other;
/// idle: a master, workers and a client that do nothing for a while.
#[derive(FromArgs)]
#[argh(subcommand, name = "bench", help_triggers("-h", "--help", "help"))]
pub struct Bench {
    /// size of a payload, in bytes, up to 64 MiB (default: 100; of large ones 1000000)
    #[argh(option)]
    size: Option<usize>,
    /// how many messages are sent in all (default: by the work)
    #[argh(option)]
    count: Option<usize>,
    /// how many workers a master has (default: 2; the work workers has its own numbers)
    #[argh(option, default = "2")]
    workers: usize,
    /// how many messages a client may have open (default, and 0: as many as it likes)
    #[argh(option, default = "0")]
    window: usize,
    /// what palm is to speak: link or pylm (default: both, one after the other)
    #[argh(option, from_str_fn(wire))]
    wire: Option<Variant>,
    /// measure pylm, too, where it can do the work: a python that has it
    #[argh(option, arg_name = "python")]
    with_pylm: Option<String>,
    /// how often each is measured (default: 5)
    #[argh(option, default = "5")]
    runs: usize,
    /// how many seconds one measurement may take (default: 300; 0: as many as it takes)
    #[argh(option, default = "300.0")]
    timeout: f64,
    /// print a line of JSON for each figure, in place of tables
    #[argh(switch)]
    json: bool,
    /// what to measure
    #[argh(positional, arg_name = "WORK")]
    work: Vec<Work>,
}

/// The largest payload that is measured.
const MOST: usize = palm::message::DEFAULT_MAX_MESSAGE;

fn wire(name: &str) -> Result<Variant, String> {
    crate::common::wire(name).map(|wire| match wire {
        palm::Wire::Link => Variant::Link,
        palm::Wire::Pylm => Variant::Wire,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Throughput,
    Latency,
    Large,
    Uneven,
    LateReader,
    Clients,
    Workers,
    Single,
    Chain,
    Cache,
    Idle,
}

impl Work {
    const ALL: [Self; 11] = [
        Self::Throughput,
        Self::Latency,
        Self::Large,
        Self::Uneven,
        Self::LateReader,
        Self::Clients,
        Self::Workers,
        Self::Single,
        Self::Chain,
        Self::Cache,
        Self::Idle,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency => "latency",
            Self::Large => "large",
            Self::Uneven => "uneven",
            Self::LateReader => "late-reader",
            Self::Clients => "clients",
            Self::Workers => "workers",
            Self::Single => "single",
            Self::Chain => "chain",
            Self::Cache => "cache",
            Self::Idle => "idle",
        }
    }
}

impl std::str::FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let work = Self::ALL.into_iter().find(|work| work.name() == text);
        work.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("'{text}' is no work: there are {names}")
        })
    }
}

impl Bench {
    pub fn run(self) -> Outcome {
        crate::common::log_level(false, false);
        let limit = crate::common::timeout(self.timeout)?.unwrap_or(crate::common::FOREVER);
        for (value, flag) in [(self.runs, "--runs"), (self.workers, "--workers")] {
            Failure::unless_zero(value, flag)?;
        }
        if self.size.is_some_and(|size| size < 8) {
            return Err(Failure::usage(
                "--size is at least 8: a payload has its number",
            ));
        }
        if self.size.is_some_and(|size| size > MOST) {
            let most = format!("--size is at most {MOST}: nobody takes larger ones");
            return Err(Failure::usage(most));
        }
        Failure::unless_zero(self.count.unwrap_or(1), "--count")?;
        let works = match self.work.as_slice() {
            [] => &Work::ALL,
            works => works,
        };
        let mut wrong = false;
        for work in works {
            let cases = self.cases(*work);
            for case in &cases {
                say(&format!("palm: measuring {} ...", case.label));
                let measured = self.measure(case, limit)?;
                wrong |= measured.iter().any(Measured::is_wrong);
                let text = match self.json {
                    true => table::json(case, &measured)?,
                    false => table::text(case, &measured),
                };
                print(text.as_bytes())?;
            }
        }
        match wrong {
            true => Err(
                "messages were lost or doubled: their figures count for nothing"
                    .to_owned()
                    .into(),
            ),
            false => Ok(()),
        }
    }

    /// All variants in turns, so that what else the machine does hits them alike.
    fn measure(&self, case: &Case, limit: Duration) -> Result<Vec<Measured>, Failure> {
        let mut variants = vec![Variant::Bare];
        match &self.wire {
            Some(variant) => variants.push(variant.clone()),
            None => variants.extend([Variant::Link, Variant::Wire]),
        }
        variants.extend(self.with_pylm.clone().map(Variant::Pylm));
        variants.retain(|variant| variant.does(case.topology, &case.load));
        let mut measured: Vec<_> = variants.into_iter().map(Measured::new).collect();
        for _ in 0..self.runs {
            for of in &mut measured {
                let run = work::run(case.topology, &of.variant, &case.load, limit)?;
                of.runs.push(run);
            }
        }
        Ok(measured)
    }

    fn cases(&self, work: Work) -> Vec<Case> {
        let (count, size) = match work {
            Work::Throughput | Work::Single | Work::Clients | Work::Workers => (500_000, 100),
            Work::Latency | Work::Cache => (5_000, 100),
            Work::Uneven => (400, 100),
            Work::Large => (2_000, 1_000_000),
            Work::LateReader => (100_000, 1_000),
            Work::Chain => (200_000, 100),
            Work::Idle => (0, 100),
        };
        let load = Load {
            clients: 1,
            count: self.count.unwrap_or(count),
            size: self.size.unwrap_or(size),
            window: self.window,
            kind: match work {
                Work::Latency => Kind::Calls,
                Work::Cache => Kind::Cache,
                Work::Idle => Kind::Idle,
                _ => Kind::Stream,
            },
            late: Duration::ZERO,
        };
        let with = |workers| Topology::Master {
            workers,
            nap: Duration::ZERO,
        };
        let master = with(self.workers);
        let case = |label: String, topology, load: &Load| Case {
            label,
            topology,
            load: load.clone(),
        };
        let what = format!("{} messages of {} bytes", load.count, load.size);
        let workers = self.workers;
        match work {
            Work::Throughput => vec![case(
                format!("throughput: {what}, a master, {workers} workers"),
                master,
                &load,
            )],
            Work::Latency => vec![case(
                format!("latency: {what}, one at a time, a master, {workers} workers"),
                master,
                &load,
            )],
            Work::Large => vec![case(
                format!("large: {what}, a master, {workers} workers"),
                master,
                &load,
            )],
            Work::Uneven => {
                let nap = Duration::from_millis(10);
                let label =
                    format!("uneven: {what}, every second takes {nap:?}, {workers} workers");
                vec![case(label, Topology::Master { workers, nap }, &load)]
            }
            Work::LateReader => {
                let late = Duration::from_secs(3);
                let load = Load { late, ..load };
                let label = format!("late reader: {what}, results read after {late:?}");
                vec![case(label, master, &load)]
            }
            Work::Clients => [1, 10, 100, 500]
                .map(|clients| {
                    let load = Load {
                        clients,
                        count: load.count.div_ceil(clients),
                        ..load.clone()
                    };
                    case(
                        format!("clients: {what}, clients: {clients}"),
                        master,
                        &load,
                    )
                })
                .into(),
            Work::Workers => [1, 4, 16, 64]
                .map(|workers| {
                    let label = format!("workers: {what}, workers: {workers}");
                    case(label, with(workers), &load)
                })
                .into(),
            Work::Single => vec![case(
                format!("single: {what}, one server"),
                Topology::Chain { steps: 1 },
                &load,
            )],
            Work::Idle => {
                let late = Duration::from_secs(10);
                let label = format!("idle: for {late:?}, a master, {workers} workers");
                vec![case(label, master, &Load { late, ..load })]
            }
            Work::Cache => vec![case(
                format!("cache: {what}, each set and read again, one at a time"),
                Topology::Chain { steps: 1 },
                &load,
            )],
            Work::Chain => [1, 2, 4, 8]
                .map(|steps| {
                    let label = format!("chain: {what}, steps: {steps}");
                    case(label, Topology::Chain { steps }, &load)
                })
                .into(),
        }
    }
}
