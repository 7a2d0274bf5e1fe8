//! The later steps of a chain, killed and started again.

use std::time::{Duration, Instant};

use crate::common::{Random, fixed, limit};
use crate::process::{Process, Role, alone, disturbed};

const EACH: Duration = Duration::from_millis(300);

/// How many are killed at the least.
const LEAST: u64 = 5;

/// How long the server takes for each message at the least, in microseconds: so that jobs are not
/// over before anybody is killed, however fast the machine.
const NAP: u64 = 20;

/// The roles of a server and of what comes after it, each at an address of its own, and of their
/// client. `steps` are the functions: the first is the server's, with the name `s`.
pub fn chain(kinds: &[&str], steps: &[&str], messages: u64) -> (Vec<Role>, Role) {
    let db = fixed();
    let publish: Vec<String> = steps.iter().map(|_| fixed()).collect();
    let names: Vec<&str> = steps
        .iter()
        .map(|step| step.split_once('.').unwrap().0)
        .collect();
    let mut roles = vec![
        Role::new("server")
            .with("db", &db)
            .with("nap", NAP)
            .with("pub", &publish[0]),
    ];
    for (index, kind) in (1..).zip(kinds) {
        let before = format!("{}@{}", names[index - 1], publish[index - 1]);
        let role = Role::new(kind)
            .with("name", names[index])
            .with("after", before)
            .with("pub", &publish[index]);
        roles.push(match index == kinds.len() {
            true => role,
            false => role.with("more", true),
        });
    }
    let client = Role::new("client")
        .with("server", "s")
        .with("db", &db)
        .with("pub", publish.last().unwrap())
        .with("steps", steps.join(","))
        .with("messages", messages);
    (roles, client)
}

/// Runs a job while one of these processes is killed from time to time, each but those at the
/// front of the list.
fn killed(front: usize, roles: &[Role], client: &Role) {
    let mut random = Random::new("steps that are killed");
    let mut steps: Vec<Process> = roles.iter().map(Role::start).collect();
    let mut killed = 0;
    let mut next = Instant::now() + EACH;
    let tallies = disturbed(client, LEAST, || {
        if Instant::now() >= next {
            let index = front + random.below(steps.len() - front);
            steps[index].kill();
            steps[index] = roles[index].start();
            next = Instant::now() + EACH;
            killed += 1;
        }
        killed
    });
    for tally in tallies {
        println!(
            "{} messages, {} results, in {:?}",
            tally.messages, tally.results, tally.took
        );
    }
    println!("{killed} processes killed");
}

#[test]
fn pipelines_killed_in_a_chain_of_three_cost_no_result_and_double_none() {
    let _alone = alone();
    let _limit = limit(240, "pipelines that are killed");
    let steps = ["s.f", "p1.f", "p2.f", "p3.f"];
    let (roles, client) = chain(&["pipeline"; 3], &steps, 60_000);
    killed(1, &roles, &client);
}

#[test]
fn a_server_and_pipelines_of_which_one_makes_several_results_are_killed_without_loss() {
    let _alone = alone();
    let _limit = limit(240, "a chain with several results that is killed");
    let steps = ["s.f", "p1.several", "p2.f"];
    let (roles, client) = chain(&["pipeline"; 2], &steps, 50_000);
    killed(0, &with_fixed_pull(roles), &client);
}

#[test]
fn a_hub_its_workers_and_the_steps_around_it_are_killed_without_loss() {
    let _alone = alone();
    let _limit = limit(240, "a hub that is killed");
    let steps = ["s.f", "h.several", "p.f"];
    let (roles, client) = chain(&["hub", "pipeline"], &steps, 50_000);
    let mut roles = with_fixed_pull(roles);
    let db = fixed();
    roles[1] = roles[1].clone().with("db", &db);
    roles.extend([1, 2].map(|_| Role::new("worker").with("db", &db)));
    killed(0, &roles, &client);
}

/// A server that is found again has to be where it was.
fn with_fixed_pull(mut roles: Vec<Role>) -> Vec<Role> {
    roles[0] = roles[0].clone().with("pull", fixed());
    roles
}
