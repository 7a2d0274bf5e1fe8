//! The works that are measured: who is there, and what the client does.

use std::time::Duration;

use super::load::{Load, Report};
use super::process::Process;
use super::role::{ClientRole, Place, Role};
use crate::common::Failure;

/// Who is there, beside the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A master with so many workers.
    Master { workers: usize },
    /// A chain of so many steps, of which the first is a server.
    Chain { steps: usize },
}

/// By what means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Bare ZeroMQ.
    Bare,
    /// palm, over the palm link.
    Link,
    /// palm, over pylm's wire.
    Pylm,
}

impl Variant {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare ZeroMQ",
            Self::Link => "palm link",
            Self::Pylm => "pylm wire",
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
    variant: Variant,
    load: &Load,
    limit: Duration,
) -> Result<Run, Failure> {
    let mut processes = Vec::new();
    let mut start = |role: &Role| -> Result<Place, Failure> {
        let mut process = Process::start(role, limit)?;
        let place = process.hear()?;
        processes.push(process);
        Ok(place)
    };
    let client = match variant {
        Variant::Bare => bare(topology, load, &mut start)?,
        Variant::Link => palm(topology, false, load, &mut start)?,
        Variant::Pylm => palm(topology, true, load, &mut start)?,
    };
    let mut client = Process::start(&client, limit)?;
    client.hear::<Place>()?;
    let all = || processes.iter().chain([&client]);
    let before: Vec<_> = all().map(Process::cpu).collect();
    client.go()?;
    let report = client.hear()?;
    let all = || processes.iter().chain([&client]);
    let used = |(process, before): (&Process, Duration)| {
        (process.name(), process.cpu().saturating_sub(before))
    };
    Ok(Run {
        report,
        cpu: all().zip(before).map(used).collect(),
        peaks: all()
            .map(|process| (process.name(), process.peak()))
            .collect(),
    })
}

/// Starts a process in a role, and gives where it is.
type Start<'a> = &'a mut dyn FnMut(&Role) -> Result<Place, Failure>;

/// Starts all but the client, whose role it gives.
fn palm(topology: Topology, pylm: bool, load: &Load, start: Start<'_>) -> Result<Role, Failure> {
    let load = load.clone();
    match topology {
        Topology::Master { workers } => {
            let master = start(&Role::Master)?;
            for _ in 0..workers {
                let db = master.db.clone();
                start(&Role::Worker { db, pylm })?;
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
            let server = start(&Role::Server { goes_on })?;
            let mut previous = server.clone();
            for number in 1..steps {
                previous = start(&Role::Step {
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

fn bare(topology: Topology, load: &Load, start: Start<'_>) -> Result<Role, Failure> {
    let (push, sub) = match topology {
        Topology::Master { workers } => {
            let forwarder = start(&Role::BareForwarder)?;
            let [pull, push] = forwarder.more.as_slice() else {
                return Err("a forwarder without addresses".to_owned().into());
            };
            for _ in 0..workers {
                let (pull, push) = (pull.clone(), push.clone());
                start(&Role::BareWorker { pull, push })?;
            }
            (forwarder.pull, forwarder.publish)
        }
        Topology::Chain { steps } => {
            let server = start(&Role::BareServer)?;
            let mut publish = server.publish;
            for _ in 1..steps {
                publish = start(&Role::BareStep { of: publish })?.publish;
            }
            (server.pull, publish)
        }
    };
    let load = load.clone();
    Ok(Role::BareClient { push, sub, load })
}
