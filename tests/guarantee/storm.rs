//! Everything at once.

use std::time::{Duration, Instant};

use palm::{Cache, CacheClient};

use crate::common::{Random, limit, until_within};
use crate::process::{Process, Role, alone, master};
use crate::proxy::Proxy;

const MESSAGES: u64 = 30_000;
const WORKERS: usize = 4;

/// How long somebody hangs: longer than anybody may be silent.
const HANG: Duration = Duration::from_millis(2_500);

/// Some go over a proxy, which stands before the link of the first run of the master.
fn through_proxy(db: &str) -> Proxy {
    let cache = CacheClient::new(db);
    let link = String::from_utf8(cache.get("link_address").unwrap().unwrap()).unwrap();
    let proxy = Proxy::start(&link, 1 << 20, Random::new("lives of connections"));
    cache
        .set("link_address", proxy.address().as_bytes())
        .unwrap();
    proxy
}

#[test]
fn workers_and_the_master_are_killed_and_hang_and_connections_are_cut_without_loss() {
    let _alone = alone();
    let _limit = limit(240, "a storm");
    let mut random = Random::new("a storm");
    let (role, db) = master();
    let mut master = role.start();
    let mut proxy = through_proxy(&db);
    let worker = Role::new("worker").with("db", &db).with("nap", 100);
    let mut workers: Vec<Process> = (0..WORKERS).map(|_| worker.start()).collect();
    let client = Role::new("client")
        .with("db", &db)
        .with("steps", "m.several")
        .with("messages", MESSAGES);
    let mut client = client.start();
    let mut hanging: Vec<(Instant, usize)> = Vec::new();
    let (mut killed, mut masters, mut hung, mut cuts) = (0, 0, 0, 0);
    let mut next = Instant::now();
    while client.ended().is_none() {
        let now = Instant::now();
        hanging.retain(|(since, index)| {
            let over = now - *since >= HANG;
            if over {
                workers[*index].signal("CONT");
            }
            !over
        });
        if now >= next {
            next = now + Duration::from_millis(100 + random.below(200) as u64);
            let index = random.below(WORKERS);
            match random.below(20) {
                0 => {
                    master.kill();
                    master = role.start();
                    cuts += proxy.cut();
                    proxy = through_proxy(&db);
                    masters += 1;
                }
                1..=3 => {
                    workers[index].signal("STOP");
                    hanging.push((now, index));
                    hung += 1;
                }
                4..=9 => {
                    hanging.retain(|(_, hangs)| *hangs != index);
                    workers[index].kill();
                    workers[index] = worker.spawn();
                    killed += 1;
                }
                10..=11 => proxy.cut_all(),
                _ => proxy.cut_one(&mut random),
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    cuts += proxy.cut();
    let tally = client.tally(Duration::from_secs(1));
    println!(
        "{MESSAGES} messages, {} results: {killed} workers and {masters} masters killed, {hung} \
         workers hung, {cuts} connections cut, in {:?}",
        tally.results, tally.took
    );
    tally.is_whole();
    // All who hang go on, so that they can end.
    workers.iter().for_each(|worker| worker.signal("CONT"));
    until_within(HANG, "the master to be there", || master.ended().is_none());
}
