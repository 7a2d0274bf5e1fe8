//! What an example is made of.

use std::fmt::Write as _;

use super::addresses::values;
use super::mix::Mix;
use super::report;
use crate::support::{Palm, Side};

/// An example: its roles, the last of which is the client, and what they print.
pub struct Example {
    pub name: &'static str,
    pub roles: Vec<Role>,
    prints: Vec<String>,
    prints_between_palm_peers: Option<&'static str>,
    pub logs: Vec<Logs>,
    pub probe: Option<Probe>,
    needs_http: bool,
}

/// A program.
pub struct Role {
    /// Palm's is the example program `EXAMPLE_NAME`.
    pub name: &'static str,
    /// pylm's is this file in `tests/pylm/examples`.
    pub twin: &'static str,
    /// Its arguments, with names for the addresses.
    pub args: String,
}

impl Role {
    fn publishes_at(&self, address: &str) -> bool {
        values(&self.args, "--pub").any(|at| at == address)
    }
}

/// Lines that a role logs for the client's messages.
pub struct Logs {
    pub role: &'static str,
    pub at_least: usize,
    pub text: &'static str,
}

/// What goes through all steps before the client starts, until all are subscribed.
pub struct Probe {
    pub function: &'static str,
    /// The first step sends one half of the messages this way and one half that way.
    pub both_branches: bool,
}

impl Example {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            roles: Vec::new(),
            prints: Vec::new(),
            prints_between_palm_peers: None,
            logs: Vec::new(),
            probe: None,
            needs_http: false,
        }
    }

    /// A program with its arguments: `@name` is an address, `%name` one as `host:port`. The last
    /// role is the client.
    pub fn role(mut self, name: &'static str, twin: &'static str, args: &str) -> Self {
        let args = args.to_owned();
        self.roles.push(Role { name, twin, args });
        self
    }

    /// A server of this name with the usual addresses.
    pub fn server(self, twin: &'static str, name: &str) -> Self {
        let args = format!("--name {name} --pull @pull --pub @pub --db @db");
        self.role("server", twin, &args)
    }

    /// A master with the usual addresses.
    pub fn master(self, twin: &'static str) -> Self {
        let args = "--name server --pull @pull --pub @pub --wpush @wpush --wpull @wpull --db @db";
        self.role("master", twin, args)
    }

    /// A step after others: their topics and where they publish, its name, where it publishes.
    pub fn step(self, role: &'static str, twin: &'static str, way: &str) -> Self {
        let way: Vec<_> = way.split(" > ").collect();
        let [previous, name, at] = way[..] else {
            panic!("{way:?} is not `TOPIC@ADDRESS … > NAME > ADDRESS`");
        };
        let mut args = format!("--name {name} --pub @{at} --db @{at}_db");
        for previous in previous.split(' ') {
            let (topic, address) = previous.split_once('@').expect("a topic and an address");
            let _ = write!(args, " --previous {topic} --sub @{address}");
        }
        self.role(role, twin, &args)
    }

    /// A worker of the server or master.
    pub fn worker(self, twin: &'static str) -> Self {
        self.role("worker", twin, "--name worker1 --db @db")
    }

    /// The client.
    pub fn client(self, twin: &'static str, args: &str) -> Self {
        self.role("client", twin, args)
    }

    /// The client prints a line so many times.
    pub fn prints(mut self, times: usize, line: &str) -> Self {
        self.prints
            .extend(std::iter::repeat_n(line.to_owned(), times));
        self
    }

    /// What the client prints instead when all roles are palm's.
    pub fn prints_between_palm_peers(mut self, line: &'static str) -> Self {
        self.prints_between_palm_peers = Some(line);
        self
    }

    /// For the client's messages, a role logs at least so many lines with a text.
    pub fn logs(mut self, role: &'static str, at_least: usize, text: &'static str) -> Self {
        self.logs.push(Logs {
            role,
            at_least,
            text,
        });
        self
    }

    /// A pylm step before a next step drops what the next one has not subscribed to yet: with
    /// one, probes of this function go before the client.
    pub fn probed(mut self, function: &'static str) -> Self {
        self.probe = Some(Probe {
            function,
            both_branches: false,
        });
        self
    }

    /// Probes must have come back through both branches.
    pub fn probed_in_both_branches(mut self) -> Self {
        let probe = self.probe.as_mut().expect("its function is told before");
        probe.both_branches = true;
        self
    }

    /// Palm's programs of this example need the feature `http`.
    pub fn needs_http(mut self) -> Self {
        self.needs_http = true;
        self
    }

    /// Why a mix cannot be, if it cannot.
    pub fn cannot_be(&self, sides: &[Side]) -> Option<&'static str> {
        let missing = self.needs_http && !cfg!(feature = "http") && sides.contains(&Palm);
        missing.then_some("palm is built without the feature http")
    }

    /// What the client prints in a mix, if that is another line than usual.
    pub fn special_line(&self, sides: &[Side]) -> Option<&'static str> {
        let palm_only = sides.iter().all(|side| *side == Palm);
        self.prints_between_palm_peers.filter(|_| palm_only)
    }

    /// What the client should print in a mix, in sorted order.
    pub fn expected(&self, sides: &[Side]) -> Vec<String> {
        let mut lines = match self.special_line(sides) {
            Some(line) => vec![line.to_owned()],
            None => self.prints.clone(),
        };
        lines.sort_unstable();
        lines
    }

    /// The client, and all others.
    pub fn split(&self) -> (&Role, &[Role]) {
        self.roles.split_last().expect("there is a client")
    }

    /// The number of the role of this name.
    pub fn number_of(&self, name: &str) -> usize {
        let number = self.roles.iter().position(|role| role.name == name);
        number.expect("the role is one of the example's")
    }

    /// The name of the address where the client subscribes.
    pub fn last_publisher(&self) -> &str {
        let (client, _) = self.split();
        values(&client.args, "--sub").next().unwrap_or("@pub")
    }

    /// The number of the role that publishes to the client, if one does.
    pub fn answers(&self) -> Option<usize> {
        let (_, others) = self.split();
        let at = self.last_publisher();
        others.iter().position(|role| role.publishes_at(at))
    }

    /// Whether a role publishes to a next step.
    pub fn feeds_a_step(&self, role: &Role) -> bool {
        let (_, others) = self.split();
        let mut subscribed = others.iter().flat_map(|step| values(&step.args, "--sub"));
        subscribed.any(|at| role.publishes_at(at))
    }

    /// Runs every mix, reports how each went, and fails if one did.
    pub fn runs_in_every_mix(self) {
        let mixes = Mix::all(&self);
        let verdicts = report::at_the_same_time(&mixes, |mix| mix.run(&self));
        report::matrix(&self, &mixes, &verdicts);
        // Without the feature, only the mix without any program of palm's is left.
        let expected = match self.needs_http && !cfg!(feature = "http") {
            true => 1,
            false => 1 << self.roles.len(),
        };
        let run = verdicts.iter().filter(|verdict| verdict.was_run()).count();
        assert_eq!(run, expected, "mixes of {} were run", self.name);
    }
}
