//! What a process of a measurement does.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::load::{Kind, Load};
use super::{bare, load, process};
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
        nap: Duration,
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
    Bare(bare::Role),
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
            Self::Worker { .. } => "worker",
            Self::Server { .. } => "server",
            Self::Step { .. } => "step",
            Self::Client(_) => "client",
            Self::Bare(bare) => bare.name(),
        }
    }
}

/// Plays a role that another process has given, until that ends.
pub fn play(role: &str) -> Outcome {
    let role: Role = serde_json::from_str(role)
        .map_err(|error| Failure::usage(format!("this is no role: {error}")))?;
    let go = process::listen();
    match role {
        Role::Master => {
            let master = Master::new(SERVER, Addresses::ephemeral()).start()?;
            process::tell(&Place::of(master.addresses()))?;
            process::rest()
        }
        Role::Worker { db, pylm, nap } => {
            let _worker = Worker::new(db)
                .wire(wire(pylm))
                .function(FUNCTION, move |call| {
                    if !nap.is_zero() {
                        load::nap(call.payload(), nap);
                    }
                    Ok(call.payload().to_vec())
                })
                .start()?;
            process::tell(&Place::default())?;
            process::rest()
        }
        Role::Server { goes_on } => {
            let server = Server::new(SERVER, Addresses::ephemeral())
                .function(FUNCTION, |call| Ok(call.payload().to_vec()))
                .pipelined(goes_on)
                .start()?;
            process::tell(&Place::of(server.addresses()))?;
            process::rest()
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
            process::rest()
        }
        Role::Client(client) => client.play(&go),
        Role::Bare(bare) => bare.play(&go),
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
    fn play(self, go: &Receiver<()>) -> Outcome {
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
        if go.recv().is_err() {
            return Ok(());
        }
        let load = &self.load;
        let report = match load.kind {
            Kind::Calls => load.time_calls(|payload| {
                let result = clients[0].eval(steps.clone(), payload)?;
                Ok(result)
            })?,
            Kind::Cache => load.time_calls(|payload| {
                clients[0].set(Some("key"), &payload)?;
                let value = clients[0].get("key")?;
                value.ok_or_else(|| "what was set is not there".to_owned().into())
            })?,
            Kind::Idle => load.idle(),
            Kind::Stream => {
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
        process::tell(&report)?;
        process::rest()
    }
}
