//! The works that are measured: who is there, and what the client does.

use std::time::Duration;

use super::load::{Kind, Load, Report};
use super::process::{Process, Program};
use super::role::{ClientRole, Place, Role};
use super::{bare, pylm};
use crate::common::Failure;

/// Who is there, beside the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A master with so many workers, which take a nap at every second message.
    Master { workers: usize, nap: Duration },
    /// A chain of so many steps, of which the first is a server.
    Chain { steps: usize },
}

/// By what means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Bare ZeroMQ.
    Bare,
    /// palm, over the palm link.
    Link,
    /// palm, over pylm's wire.
    Wire,
    /// pylm, by this Python.
    Pylm(String),
}

impl Variant {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bare => "bare ZeroMQ",
            Self::Link => "palm link",
            Self::Wire => "pylm wire",
            Self::Pylm(_) => "pylm",
        }
    }

    /// Whether it can do such a work.
    pub fn does(&self, topology: Topology, load: &Load) -> bool {
        let plain = match topology {
            Topology::Master { nap, .. } => nap.is_zero(),
            Topology::Chain { steps } => steps == 1,
        };
        match self {
            Self::Bare | Self::Link => true,
            // The steps of a chain, and caches, speak to each other in one way only.
            Self::Wire => {
                load.kind != Kind::Cache && !matches!(topology, Topology::Chain { steps: 2.. })
            }
            Self::Pylm(_) => {
                plain && load.clients == 1 && load.kind != Kind::Cache && load.late.is_zero()
            }
        }
    }
}

/// What one measurement has come to.
#[derive(Clone, Debug)]
pub struct Run {
    pub report: Report,
    /// The processor time of each process while it ran.
    pub cpu: Vec<(&'static str, Duration)>,
    /// The most memory that each process had, in bytes.
    pub peaks: Vec<(&'static str, u64)>,
}

/// Runs a load once, in processes of its own.
pub fn run(
    topology: Topology,
    variant: &Variant,
    load: &Load,
    limit: Duration,
) -> Result<Run, Failure> {
    let mut started = Started {
        processes: Vec::new(),
        limit,
    };
    let client = match variant {
        Variant::Bare => Program::Own(Role::Bare(with_bare(topology, load, &mut started)?)),
        Variant::Link => Program::Own(with_palm(topology, false, load, &mut started)?),
        Variant::Wire => Program::Own(with_palm(topology, true, load, &mut started)?),
        Variant::Pylm(python) => {
            let role = with_pylm(topology, python, load, &mut started)?;
            Program::Pylm(python.clone(), role)
        }
    };
    started.start(client)?;
    let processes = &mut started.processes;
    let before: Vec<_> = processes.iter().map(Process::cpu).collect();
    let report = match processes.last_mut() {
        Some(client) => {
            client.go()?;
            client.hear()?
        }
        None => Report::default(), // Cannot be: it was started.
    };
    let used = |(process, before): (&Process, Duration)| {
        (process.name(), process.cpu().saturating_sub(before))
    };
    let peak = |process: &Process| (process.name(), process.peak());
    Ok(Run {
        report,
        cpu: processes.iter().zip(before).map(used).collect(),
        peaks: processes.iter().map(peak).collect(),
    })
}

/// The processes that are there so far.
struct Started {
    processes: Vec<Process>,
    limit: Duration,
}

impl Drop for Started {
    /// All end at once, and not each when the one before has.
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(Process::end);
    }
}

impl Started {
    /// Starts one more, and gives where it is.
    fn start(&mut self, program: Program) -> Result<Place, Failure> {
        let mut process = Process::start(&program, self.limit)?;
        let place = process.hear()?;
        self.processes.push(process);
        Ok(place)
    }

    fn own(&mut self, role: Role) -> Result<Place, Failure> {
        self.start(Program::Own(role))
    }

    fn bare(&mut self, role: bare::Role) -> Result<Place, Failure> {
        self.own(Role::Bare(role))
    }
}

/// Starts all but the client, whose role it gives.
fn with_palm(
    topology: Topology,
    pylm: bool,
    load: &Load,
    started: &mut Started,
) -> Result<Role, Failure> {
    let load = load.clone();
    match topology {
        Topology::Master { workers, nap } => {
            let master = started.own(Role::Master)?;
            for _ in 0..workers {
                let db = master.db.clone();
                started.own(Role::Worker { db, pylm, nap })?;
            }
            Ok(Role::Client(ClientRole {
                pylm,
                db: master.db,
                publish: None,
                steps: 1,
                load,
            }))
        }
        Topology::Chain { steps } => {
            let goes_on = steps > 1;
            let server = started.own(Role::Server { goes_on })?;
            let mut previous = server.clone();
            for number in 1..steps {
                previous = started.own(Role::Step {
                    number,
                    of: steps,
                    previous,
                })?;
            }
            Ok(Role::Client(ClientRole {
                pylm,
                db: server.db,
                publish: goes_on.then_some(previous.publish),
                steps,
                load,
            }))
        }
    }
}

fn with_bare(
    topology: Topology,
    load: &Load,
    started: &mut Started,
) -> Result<bare::Role, Failure> {
    let load = load.clone();
    if load.kind == Kind::Cache {
        let db = started.bare(bare::Role::Cache)?.db;
        return Ok(bare::Role::CacheClient { db, load });
    }
    let (push, sub) = match topology {
        Topology::Master { workers, nap } => {
            let forwarder = started.bare(bare::Role::Forwarder)?;
            let [pull, push] = forwarder.more.as_slice() else {
                return Err("a forwarder without addresses".to_owned().into());
            };
            for _ in 0..workers {
                let (pull, push) = (pull.clone(), push.clone());
                started.bare(bare::Role::Worker { pull, push, nap })?;
            }
            (forwarder.pull, forwarder.publish)
        }
        Topology::Chain { steps } => {
            let server = started.bare(bare::Role::Server)?;
            let mut publish = server.publish;
            for _ in 1..steps {
                let step = bare::Role::Step { of: publish };
                publish = started.bare(step)?.publish;
            }
            (server.pull, publish)
        }
    };
    Ok(bare::Role::Client { push, sub, load })
}

fn with_pylm(
    topology: Topology,
    python: &str,
    load: &Load,
    started: &mut Started,
) -> Result<pylm::Role, Failure> {
    let mut start = |role| started.start(Program::Pylm(python.to_owned(), role));
    let place = pylm::free_place()?;
    match topology {
        Topology::Master { workers, .. } => {
            start(pylm::Role::Master(place.clone()))?;
            for _ in 0..workers {
                start(pylm::Role::Worker(place.clone()))?;
            }
        }
        Topology::Chain { .. } => {
            start(pylm::Role::Server(place.clone()))?;
        }
    }
    Ok(pylm::Role::Client {
        db: place.db,
        load: load.clone(),
    })
}
