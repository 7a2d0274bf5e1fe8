//! One side restarts, the other goes on.

use palm::{Addresses, Client, Master};

use crate::support::*;

const MESSAGES: usize = 1_000;

fn palm_master_at(addresses: &Addresses) -> Host {
    palm_master(Master::new("server", addresses.clone()))
}

/// A job that both workers, which must be the ones that were there before, have done.
fn assert_works(client: Side, master: &Host, workers: &mut [Host]) {
    check_squares(&squares(client, master, MESSAGES), MESSAGES);
    assert!(workers.iter_mut().all(Host::is_alive));
}

#[test]
fn pylm_workers_go_on_when_their_palm_master_has_been_restarted() {
    let addresses = free_addresses();
    let mut master = palm_master_at(&addresses);
    let mut workers = ["one", "two"].map(|name| worker(Pylm, name, master.db()));
    assert_works(Palm, &master, &mut workers);
    for client in [Palm, Pylm] {
        drop(master);
        master = palm_master_at(&addresses);
        assert_works(client, &master, &mut workers);
    }
}

#[test]
fn palm_workers_go_on_when_their_pylm_master_has_been_killed_and_restarted() {
    let addresses = free_addresses();
    let mut master = pylm_master_at(&addresses);
    let mut workers = ["one", "two"].map(|name| worker(Palm, name, master.db()));
    assert_works(Palm, &master, &mut workers);
    for client in [Palm, Pylm] {
        drop(master);
        master = pylm_master_at(&addresses);
        assert_works(client, &master, &mut workers);
    }
}

#[test]
fn a_palm_master_goes_on_when_its_pylm_worker_has_been_killed_and_another_one_started() {
    let master = master(Palm);
    let killed = worker(Pylm, "one", master.db());
    let client = Client::connect("server", master.db()).unwrap();
    assert_eq!(client.eval("server.square", "7").unwrap(), b"7 49 one");
    drop(killed);
    let mut workers = [worker(Pylm, "two", master.db())];
    assert_works(Palm, &master, &mut workers);
}
