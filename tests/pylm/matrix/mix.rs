//! A mix: an example with each of its roles on one of the two sides.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::addresses::{Ports, values};
use super::example::{Example, Logs, Role};
use super::probe;
use super::report::Verdict;
use crate::support::{Palm, Peer, Pylm, SOON, Side, palm_program, script};

/// Which side each role is on.
pub struct Mix(pub Vec<Side>);

impl Mix {
    /// Every mix of an example.
    pub fn all(example: &Example) -> Vec<Self> {
        let roles = example.roles.len();
        let side = |number: usize, role: usize| match number >> role & 1 {
            0 => Palm,
            _ => Pylm,
        };
        let mix = |number| Self((0..roles).map(|role| side(number, role)).collect());
        (0..1 << roles).map(mix).collect()
    }

    /// Starts every role, and compares what the client prints.
    pub fn run(&self, example: &Example) -> Verdict {
        if let Some(reason) = example.cannot_be(&self.0) {
            return Verdict::CannotBe(reason);
        }
        let mut run = Run {
            example,
            sides: &self.0,
            ports: Ports::default(),
            peers: Vec::new(),
        };
        match run.serve().and_then(|()| run.client()) {
            Ok(()) => Verdict::AsExpected,
            Err(error) => {
                let others: String = run.peers.iter().map(Peer::transcript).collect();
                Verdict::Failed(format!("{error}\n{others}"))
            }
        }
    }
}

struct Run<'a> {
    example: &'a Example,
    sides: &'a [Side],
    ports: Ports,
    /// All but the client.
    peers: Vec<Peer>,
}

impl Run<'_> {
    /// Starts all but the client, and waits for what the client cannot wait for itself.
    fn serve(&mut self) -> Result<(), String> {
        let (_, others) = self.example.split();
        for (role, side) in others.iter().zip(self.sides) {
            let peer = self.start(role, *side, false)?;
            self.peers.push(peer);
        }
        for role in others {
            for address in values(&role.args, "--listen") {
                let address = self.ports.of(address.trim_start_matches('%'));
                accepts(&address)?;
            }
        }
        let mut steps = others.iter().zip(self.sides);
        match steps.any(|(role, side)| *side == Pylm && self.example.feeds_a_step(role)) {
            true => self.probe(),
            false => Ok(()),
        }
    }

    /// Sends probes through all steps until all are there.
    fn probe(&mut self) -> Result<(), String> {
        let probe = self.example.probe.as_ref().expect("it has next steps");
        let last = self.example.last_publisher().trim_start_matches('@');
        let (pull, publish) = (self.ports.of("pull"), self.ports.of(last));
        let heard = || {
            let mut logs = self.example.logs.iter();
            logs.all(|logs| self.peer(logs).said(logs.text) > 0)
        };
        probe::until_they_return(probe, &pull, &publish, heard)
    }

    /// Runs the client, and checks what it prints and what the others log.
    fn client(&mut self) -> Result<(), String> {
        let logs = &self.example.logs;
        let said = |logs: &Logs| self.peer(logs).said(logs.text);
        let before: Vec<_> = logs.iter().map(said).collect();

        let (client, others) = self.example.split();
        let answers = self.example.answers().map(|number| self.sides[number]);
        let side = self.sides[others.len()];
        let client = self.start(client, side, answers == Some(Pylm))?;
        let mut printed = client.printed(SOON)?;
        printed.sort_unstable();
        if printed != self.example.expected(self.sides) {
            return Err(format!("the client printed {printed:#?}"));
        }

        for (logs, before) in logs.iter().zip(before) {
            let lines = before + logs.at_least;
            let what = format!("{lines} lines with '{}'", logs.text);
            self.peer(logs).wait_for(&what, SOON, |said| {
                said.iter().filter(|line| line.contains(logs.text)).count() >= lines
            })?;
        }
        Ok(())
    }

    /// Starts a role, when the server is there whose db it needs.
    fn start(&mut self, role: &Role, side: Side, pylm_publishes: bool) -> Result<Peer, String> {
        for db in values(&role.args, "--db").map(|db| db.trim_start_matches('@')) {
            if self.ports.has(db) {
                accepts(&self.ports.of(db))?;
            }
        }
        let palm = format!("{}_{}", self.example.name, role.name);
        let mut command = match side {
            Palm => palm_example(&palm)?,
            Pylm => script(&format!("examples/{}.py", role.twin)),
        };
        self.ports.give(&mut command, &role.args);
        if pylm_publishes {
            command.env("PALM_TEST_PYLM_PUBLISHES", "1");
        }
        Ok(Peer::start(&format!("{side:?} {palm}"), command))
    }

    /// Who should log this.
    fn peer(&self, logs: &Logs) -> &Peer {
        &self.peers[self.example.number_of(logs.role)]
    }
}

/// One of palm's example programs.
pub fn palm_example(name: &str) -> Result<Command, String> {
    let binary = palm_program();
    let folder = binary.parent().expect("it is in a folder");
    let program = folder.join("examples").join(name);
    if !program.exists() {
        return Err(format!(
            "there is no {name} in the folder of the example programs: \
             `cargo build --examples --all-features` makes it"
        ));
    }
    Ok(Command::new(program))
}

/// Waits until somebody listens at `host:port`.
fn accepts(address: &str) -> Result<(), String> {
    let deadline = Instant::now() + SOON;
    while let Err(error) = TcpStream::connect(address) {
        if Instant::now() > deadline {
            return Err(format!("nobody listens at {address}: {error}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
