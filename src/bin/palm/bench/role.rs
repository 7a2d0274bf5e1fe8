//! What a process of a measurement does.

use serde::{Deserialize, Serialize};

use super::load::Load;
use super::{bare, process};
use crate::common::{Failure, Outcome};
use palm::{Addresses, Client, Master, Pipeline, Server, Wire, Worker};

/// The name of the component that clients call, and of its function.
const SERVER: &str = "bench";
const FUNCTION: &str = "echo";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    Master,
    Worker {
        db: String,
        pylm: bool,
    },
    Server {
        goes_on: bool,
    },
    Step {
        number: usize,
        of: usize,
        previous: Place,
    },
    Client(ClientRole),
    BareForwarder,
    BareWorker {
        pull: String,
        push: String,
    },
    BareServer,
    BareStep {
        of: String,
    },
    BareClient {
        push: String,
        sub: String,
        load: Load,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientRole {
    pub pylm: bool,
    pub db: String,
    /// Where the results come from, if not from the server.
    pub publish: Option<String>,
    pub steps: usize,
    pub load: Load,
}

/// Where a component is, for the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub db: String,
    pub publish: String,
    pub pull: String,
    pub more: Vec<String>,
}

impl Place {
    fn of(addresses: &Addresses) -> Self {
        Self {
            db: addresses.db.clone(),
            publish: addresses.publish.clone(),
            pull: addresses.pull.clone(),
            more: Vec::new(),
        }
    }
}

impl Role {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker { .. } | Self::BareWorker { .. } => "worker",
            Self::Server { .. } | Self::BareServer => "server",
            Self::Step { .. } | Self::BareStep { .. } => "step",
            Self::Client(_) | Self::BareClient { .. } => "client",
            Self::BareForwarder => "forwarder",
        }
    }
}

/// Plays a role that another process has given, until that ends.
pub fn play(role: &str) -> Outcome {
    let role: Role = serde_json::from_str(role)
        .map_err(|error| Failure::usage(format!("this is no role: {error}")))?;
    match role {
        Role::Master => {
            let master = Master::new(SERVER, Addresses::ephemeral()).start()?;
            process::tell(&Place::of(master.addresses()))?;
            process::wait_for_end();
            Ok(master.stop()?)
        }
        Role::Worker { db, pylm } => {
            let worker = Worker::new(db)
                .wire(wire(pylm))
                .function(FUNCTION, |call| Ok(call.payload().to_vec()))
                .start()?;
            process::tell(&Place::default())?;
            process::wait_for_end();
            Ok(worker.stop()?)
        }
        Role::Server { goes_on } => {
            let server = Server::new(SERVER, Addresses::ephemeral())
                .function(FUNCTION, |call| Ok(call.payload().to_vec()))
                .pipelined(goes_on)
                .start()?;
            process::tell(&Place::of(server.addresses()))?;
            process::wait_for_end();
            Ok(server.stop()?)
        }
        Role::Step {
            number,
            of,
            previous,
        } => {
            let step = Pipeline::new(name_of(number), Addresses::ephemeral())
                .after(name_of(number - 1), previous.publish)
                .function(FUNCTION, |call| Ok(call.payload().to_vec()))
                .to_client(number + 1 == of)
                .start()?;
            process::tell(&Place::of(step.addresses()))?;
            process::wait_for_end();
            Ok(step.stop()?)
        }
        Role::Client(client) => client.play(),
        Role::BareForwarder => bare::forwarder(),
        Role::BareWorker { pull, push } => bare::worker(&pull, &push),
        Role::BareServer => bare::server(),
        Role::BareStep { of } => bare::step(&of),
        Role::BareClient { push, sub, load } => bare::client(&push, &sub, &load),
    }
}

fn wire(pylm: bool) -> Wire {
    match pylm {
        true => Wire::Pylm,
        false => Wire::Link,
    }
}

/// The name of a step of a chain, of which the first is the server.
fn name_of(step: usize) -> String {
    match step {
        0 => SERVER.to_owned(),
        _ => format!("step{step}"),
    }
}

impl ClientRole {
    fn play(self) -> Outcome {
        let connect = || {
            let client = Client::builder(SERVER, &self.db).wire(wire(self.pylm));
            match &self.publish {
                Some(publish) => client.publish(publish),
                None => client,
            }
            .connect()
        };
        let clients = (0..self.load.clients)
            .map(|_| connect())
            .collect::<Result<Vec<_>, _>>()?;
        let steps = (0..self.steps).map(|step| format!("{}.{FUNCTION}", name_of(step)));
        let steps = steps.collect::<Vec<_>>();
        for client in &clients {
            client.eval(steps.clone(), self.load.payload(0))?;
        }
        process::tell(&Place::default())?;
        if !process::wait_for_go() {
            return Ok(());
        }
        process::end_when_told();
        let load = &self.load;
        let report = match load.calls {
            true => load.time_calls(|payload| {
                let result = clients[0].eval(steps.clone(), payload)?;
                Ok(result)
            })?,
            false => {
                let jobs = clients
                    .iter()
                    .map(|client| {
                        let request = client.request(steps.clone());
                        let request = match load.window {
                            0 => request,
                            window => request.window(window),
                        };
                        let load = load.clone();
                        let payloads = (0..load.count).map(move |number| load.payload(number));
                        Ok((request, payloads))
                    })
                    .collect::<Result<Vec<_>, palm::Error>>()?;
                load.time_streams(jobs.into_iter().map(|(request, payloads)| {
                    move || -> Result<_, Failure> {
                        let job = request.job(payloads)?;
                        Ok(job.map(|result| result.map_err(Failure::from)))
                    }
                }))?
            }
        };
        process::tell_last(&report)
    }
}
