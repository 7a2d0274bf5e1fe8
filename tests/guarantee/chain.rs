//! The later steps of a chain, killed and started again.

use std::time::{Duration, Instant};

use crate::common::{Random, fixed, limit};
use crate::process::{Process, Role, alone};
use crate::tally::Tally;

const MESSAGES: u64 = 60_000;
const EACH: Duration = Duration::from_millis(300);

/// A server and three pipelines behind it: the roles of all, and the client's.
pub fn chain(messages: u64) -> ([Role; 4], Role) {
    let db = fixed();
    let publish: Vec<String> = (0..4).map(|_| fixed()).collect();
    let pipeline = |index: usize, before: &str| {
        Role::new("pipeline")
            .with("name", format!("p{index}"))
            .with("after", format!("{before}@{}", publish[index - 1]))
            .with("pub", &publish[index])
    };
    let steps = [
        Role::new("server").with("db", &db).with("pub", &publish[0]),
        pipeline(1, "s").with("more", true),
        pipeline(2, "p1").with("more", true),
        pipeline(3, "p2"),
    ];
    let client = Role::new("client")
        .with("server", "s")
        .with("db", &db)
        .with("pub", &publish[3])
        .with("steps", "s.f,p1.f,p2.f,p3.f")
        .with("messages", messages);
    (steps, client)
}

#[test]
fn pipelines_killed_in_a_chain_of_three_cost_no_result_and_double_none() {
    let _alone = alone();
    let _limit = limit(240, "pipelines that are killed");
    let mut random = Random::new("pipelines that are killed");
    let (roles, client) = chain(MESSAGES);
    let mut steps: Vec<Process> = roles.iter().map(Role::start).collect();
    let mut client = client.start();
    let mut killed = 0;
    let mut next = Instant::now() + EACH;
    while client.ended().is_none() {
        if Instant::now() >= next {
            let index = 1 + random.below(3);
            steps[index].kill();
            steps[index] = roles[index].start();
            next = Instant::now() + EACH;
            killed += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let tally: Tally = client.wait_for("tally", EACH).parse().unwrap();
    println!(
        "{MESSAGES} messages, {killed} pipelines killed, in {:?}",
        tally.took
    );
    tally.is_whole();
    assert!(killed >= 5, "only {killed} were killed");
}
