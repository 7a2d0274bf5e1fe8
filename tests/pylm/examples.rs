//! pylm's documented examples give the same output whichever side is palm: every mix of the
//! roles, with palm's example programs on one side and the same in Python on the other.

use std::process::Command;

use palm::Addresses;

use crate::support::*;

/// An example: its roles, the last of which is the client, and what the client prints.
struct Example {
    name: &'static str,
    roles: &'static [&'static str],
    server: &'static str,
    prints: Vec<String>,
}

impl Example {
    /// Starts every role on the side that the mix says, and compares what the client prints.
    fn run(&self, mix: &[Side]) -> Result<(), String> {
        let at = free_addresses();
        let publisher = mix[0];
        let mut peers: Vec<Peer> = self
            .roles
            .iter()
            .zip(mix)
            .map(|(role, side)| self.start(role, *side, publisher, &at))
            .collect();
        let client = peers.pop().expect("the client is the last role");
        let printed = client.printed(SOON);
        let others = || peers.iter().map(Peer::transcript).collect::<String>();
        let printed = printed.map_err(|error| error + &others())?;
        match printed == self.prints {
            true => Ok(()),
            false => Err(format!("the client printed {printed:#?}\n{}", others())),
        }
    }

    fn start(&self, role: &str, side: Side, publisher: Side, at: &Addresses) -> Peer {
        let name = format!("{}_{role}", self.name);
        let mut command = match (side, role) {
            (Palm, _) => palm_example(&name),
            (Pylm, "master") => script("examples/master.py"),
            (Pylm, _) => script(&format!("examples/{name}.py")),
        };
        if (side, publisher) == (Pylm, Pylm) {
            command.env("PALM_TEST_PYLM_PUBLISHES", "1");
        }
        let (server, db) = (self.server, at.db.as_str());
        match role {
            "server" => command.args(["--name", server, "--db", db]),
            "master" => command.args(["--name", server, "--db", db]),
            "worker" => command.args(["--name", "worker1", "--db", db]),
            _ => command.args(["--server", server, "--function", "foo", "--db", db]),
        };
        if matches!(role, "server" | "master") {
            command.args(["--pull", &at.pull, "--pub", &at.publish]);
        }
        if role == "master" {
            command.args(["--wpush", &at.worker_push, "--wpull", &at.worker_pull]);
        }
        Peer::start(&format!("{side:?} {name}"), command)
    }

    /// Runs every mix, prints how each went, and fails if one did.
    fn run_every_mix(&self) {
        let mut failed = Vec::new();
        let mut table = format!("{}: {}\n", self.name, self.roles.join(" x "));
        for number in 0..1_u32 << self.roles.len() {
            let side = |role: usize| match number >> role & 1 {
                0 => Palm,
                _ => Pylm,
            };
            let mix: Vec<_> = (0..self.roles.len()).map(side).collect();
            let result = self.run(&mix);
            let verdict = if result.is_ok() {
                "same output"
            } else {
                "FAILED"
            };
            table += &format!("    {mix:?} {verdict}\n");
            failed.extend(result.err().map(|error| format!("{mix:?}: {error}")));
        }
        println!("{table}");
        assert!(failed.is_empty(), "{table}\n{}", failed.join("\n"));
    }
}

fn palm_example(name: &str) -> Command {
    let binary = palm_program();
    let folder = binary.parent().expect("it is in a folder");
    let program = folder.join("examples").join(name);
    assert!(
        program.exists(),
        "there is no {name} in the folder of the example programs: \
         `cargo build --examples --all-features` makes it"
    );
    Command::new(program)
}

fn ten(line: &str) -> Vec<String> {
    vec![line.to_owned(); 10]
}

#[test]
fn single_prints_the_same_in_every_mix() {
    Example {
        name: "single",
        roles: &["server", "client"],
        server: "my_server",
        prints: vec!["Client got:  b'you sent me a message'".to_owned()],
    }
    .run_every_mix();
}

#[test]
fn parallel_prints_the_same_in_every_mix() {
    Example {
        name: "parallel",
        roles: &["master", "worker", "client"],
        server: "server",
        prints: ten("b'worker1 processed a message'"),
    }
    .run_every_mix();
}

#[test]
fn cache_prints_the_same_in_every_mix() {
    let mut prints = ten("b'worker1 cached data a message'");
    prints.insert(0, "b' cached data '".to_owned());
    Example {
        name: "cache",
        roles: &["master", "worker", "client"],
        server: "server",
        prints,
    }
    .run_every_mix();
}

#[test]
fn applications_prints_the_same_in_every_mix() {
    Example {
        name: "applications",
        roles: &["master", "worker", "launcher"],
        server: "server",
        prints: ten("b'worker1 processed a message'"),
    }
    .run_every_mix();
}
