//! Connections that are cut.

use std::time::{Duration, Instant};

use palm::{Cache, CacheClient};

use crate::chain::chain;
use crate::common::{Random, limit};
use crate::journal::Journal;
use crate::process::{Process, Role, alone, disturbed, master};
use crate::proxy::Proxy;

const MESSAGES: u64 = 100_000;

/// How many are cut at the least.
const LEAST: u64 = 10;

/// After how many bytes a connection is cut at the latest.
const MOST: usize = 4 << 20;

#[test]
fn connections_of_clients_and_workers_that_are_cut_cost_no_result_and_double_none() {
    let _alone = alone();
    let _limit = limit(240, "connections that are cut");
    let mut random = Random::new("connections that are cut");
    let journal = Journal::new();
    let (master, db) = master();
    let _master = master.start();
    // Whoever asks the master where its link is hears where the proxy is.
    let cache = CacheClient::new(&db);
    let link = cache.get("link_address").unwrap().unwrap();
    let link = String::from_utf8(link).unwrap();
    let proxy = Proxy::start(&link, MOST, Random::new("lives of connections"));
    let address = proxy.address().as_bytes();
    cache.set("link_address", address).unwrap();
    let worker = Role::new("worker")
        .with("db", &db)
        .with("journal", journal.path());
    let _workers: Vec<Process> = (0..4).map(|_| worker.start()).collect();
    let client = Role::new("client")
        .with("db", &db)
        .with("messages", MESSAGES);
    let mut next = Instant::now();
    let tallies = disturbed(&client, LEAST, || {
        if Instant::now() >= next {
            next += Duration::from_millis(50 + random.below(300) as u64);
            match random.below(4) {
                0 => proxy.cut_all(),
                _ => proxy.cut_one(&mut random),
            }
        }
        proxy.cut()
    });
    let messages = tallies.len() as u64 * MESSAGES;
    println!(
        "{messages} messages, {} connections cut, {} messages run again, in {:?}",
        proxy.cut(),
        journal.beyond(messages),
        tallies.iter().map(|tally| tally.took).sum::<Duration>(),
    );
}

#[test]
fn connections_of_steps_that_are_cut_cost_no_result_and_double_none() {
    let _alone = alone();
    let _limit = limit(240, "connections of steps that are cut");
    let steps = ["s.f", "p1.several", "p2.f", "p3.f"];
    let (roles, client) = chain(&["pipeline"; 3], &steps, MESSAGES / 2);
    let cut = |role: &Role| role.clone().with("cut", 200);
    let steps: Vec<Process> = roles.iter().map(|role| cut(role).start()).collect();
    let mut client = cut(&client).start();
    while client.ended().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let tally = client.tally(Duration::from_secs(1));
    let cuts: u64 = steps.iter().map(|step| step.number("cut")).sum();
    println!(
        "{} messages, {cuts} connections cut, in {:?}",
        tally.messages, tally.took
    );
    tally.is_whole();
    assert!(cuts >= LEAST, "only {cuts} were cut");
}
