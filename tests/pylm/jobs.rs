//! Many messages in every mix of the two sides: none is lost, none is doubled.

use crate::support::*;

/// How many messages a job has.
const MESSAGES: usize = 20_000;

fn client_and_server(client: Side, server_side: Side) {
    let host = server(server_side);
    let done = check_squares(&squares(client, &host, MESSAGES), MESSAGES);
    assert_eq!(done["server"], MESSAGES);
}

fn client_master_and_workers(client: Side, master_side: Side, worker_side: Side) {
    let master = master(master_side);
    let _workers = ["one", "two"].map(|name| worker(worker_side, name, master.db()));
    let done = check_squares(&squares(client, &master, MESSAGES), MESSAGES);
    assert_eq!(done.len(), 2, "one worker did it all: {done:?}");
}

/// A test for each mix of a client with a server.
macro_rules! with_servers {
    ($($name:ident: $client:ident, $server:ident;)*) => {$(
        #[test]
        fn $name() {
            client_and_server($client, $server);
        }
    )*};
}

/// A test for each mix of a client with a master and two workers.
macro_rules! with_masters {
    ($($name:ident: $client:ident, $master:ident, $worker:ident;)*) => {$(
        #[test]
        fn $name() {
            client_master_and_workers($client, $master, $worker);
        }
    )*};
}

with_servers! {
    none_lost_or_doubled_by_palm_client_and_palm_server: Palm, Palm;
    none_lost_or_doubled_by_palm_client_and_pylm_server: Palm, Pylm;
    none_lost_or_doubled_by_pylm_client_and_palm_server: Pylm, Palm;
    none_lost_or_doubled_by_pylm_client_and_pylm_server: Pylm, Pylm;
}

with_masters! {
    none_lost_or_doubled_by_palm_client_palm_master_palm_workers: Palm, Palm, Palm;
    none_lost_or_doubled_by_palm_client_palm_master_pylm_workers: Palm, Palm, Pylm;
    none_lost_or_doubled_by_palm_client_pylm_master_palm_workers: Palm, Pylm, Palm;
    none_lost_or_doubled_by_palm_client_pylm_master_pylm_workers: Palm, Pylm, Pylm;
    none_lost_or_doubled_by_pylm_client_palm_master_palm_workers: Pylm, Palm, Palm;
    none_lost_or_doubled_by_pylm_client_palm_master_pylm_workers: Pylm, Palm, Pylm;
    none_lost_or_doubled_by_pylm_client_pylm_master_palm_workers: Pylm, Pylm, Palm;
    none_lost_or_doubled_by_pylm_client_pylm_master_pylm_workers: Pylm, Pylm, Pylm;
}
