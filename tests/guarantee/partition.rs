//! Machines that cannot reach each other for a while: network namespaces.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::common::limit;
use crate::journal::Journal;
use crate::process::{Process, Role, alone, until_number};

const MESSAGES: u64 = 45_000;
const PARTITION: Duration = Duration::from_secs(5);
const DB: &str = "5559";

/// A master, a client and some workers on machines of their own, each of the last two with a
/// cable to the first.
struct Machines {
    id: u32,
}

impl Machines {
    /// An error if this machine does not allow it.
    fn new() -> Result<Self, String> {
        let machines = Self {
            id: std::process::id(),
        };
        let [master, client, workers] = ["m", "c", "w"].map(|role| machines.name(role));
        for name in [&master, &client, &workers] {
            ip(&format!("netns add {name}"))?;
        }
        for (subnet, other) in [(1, &client), (2, &workers)] {
            ip(&format!(
                "link add eth{subnet} netns {master} type veth peer name eth0 netns {other}"
            ))?;
            ip(&format!(
                "-n {master} addr add 10.77.{subnet}.1/24 dev eth{subnet}"
            ))?;
            ip(&format!("-n {other} addr add 10.77.{subnet}.2/24 dev eth0"))?;
            ip(&format!("-n {other} link set eth0 up"))?;
            ip(&format!("-n {master} link set eth{subnet} up"))?;
        }
        Ok(machines)
    }

    fn name(&self, role: &str) -> String {
        format!("palm-{}-{role}", self.id)
    }

    /// Pulls a cable out for a while.
    fn part(&self, subnet: u32) {
        let master = self.name("m");
        let set = |state| ip(&format!("-n {master} link set eth{subnet} {state}")).unwrap();
        set("down");
        std::thread::sleep(PARTITION);
        set("up");
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for role in ["m", "c", "w"] {
            let _ = ip(&format!("netns del {}", self.name(role)));
        }
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

#[test]
fn a_partition_of_5_s_between_machines_costs_no_result_and_doubles_none() {
    let _alone = alone();
    let _limit = limit(240, "a partition");
    let machines = match Machines::new() {
        Ok(machines) => machines,
        Err(cause) => {
            // Past the harness, which would keep it to itself.
            let said = format!("\n*** NOT TESTED: a partition of 5 s: {cause} ***\n");
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            return;
        }
    };
    let journal = Journal::new();
    let mut master = Role::new("master")
        .with("db", format!("tcp://0.0.0.0:{DB}"))
        .within(&machines.name("m"));
    for role in ["pull", "pub", "wpush", "wpull"] {
        master = master.with(role, "tcp://0.0.0.0:*");
    }
    let _master = master.start();
    let worker = Role::new("worker")
        .with("db", format!("tcp://10.77.2.1:{DB}"))
        .with("journal", journal.path())
        .with("nap", 300)
        .within(&machines.name("w"));
    let _workers: Vec<Process> = (0..4).map(|_| worker.start()).collect();
    let client = Role::new("client")
        .with("db", format!("tcp://10.77.1.1:{DB}"))
        .with("messages", MESSAGES)
        .within(&machines.name("c"));
    let client = client.start();
    let minute = Duration::from_secs(60);
    until_number(&client, "come", MESSAGES / 3, minute);
    machines.part(2);
    assert!(client.number("come") < MESSAGES * 2 / 3, "they were apart");
    until_number(&client, "come", MESSAGES * 2 / 3, minute);
    machines.part(1);
    let tally = client.tally(minute);
    let (again, most) = journal.again();
    println!(
        "{MESSAGES} messages, workers and client each apart for {PARTITION:?}, {again} messages \
         run again, one {most} times, in {:?}",
        tally.took
    );
    tally.is_whole();
}
