//! Single calls: each is answered, and nobody waits for a subscription before it calls.

use palm::Client;

use crate::support::*;

/// One after another, by the same palm client.
fn palm_client_calls(host: &Host) {
    const CALLS: usize = 100;
    let client = Client::connect("server", host.db()).unwrap();
    let call = |number: usize| {
        let request = client.request("server.square").timeout(SOON);
        String::from_utf8(request.eval(number.to_string()).unwrap()).unwrap()
    };
    let lines: Vec<_> = (0..CALLS).map(call).collect();
    check_squares(&lines, CALLS);
}

/// By pylm clients, of which `way` makes some. (With a pylm server or master about half of such
/// calls are lost: not for palm to cure.)
fn pylm_clients_call(way: &str, count: usize, host: &Host) {
    let calls = count.to_string();
    let args = ["--function", "server.square", "--count", &calls, way];
    check_squares(&pylm_client_within(SOON, host, &args), count);
}

fn workers_of_both_sides(master: &Host) -> [Host; 2] {
    [("one", Palm), ("two", Pylm)].map(|(name, side)| worker(side, name, master.db()))
}

#[test]
fn every_call_of_a_palm_client_is_answered_by_a_palm_server() {
    palm_client_calls(&server(Palm));
}

#[test]
fn every_call_of_a_palm_client_is_answered_by_a_pylm_server() {
    palm_client_calls(&server(Pylm));
}

#[test]
fn every_call_of_a_palm_client_is_answered_through_a_pylm_master() {
    let master = master(Pylm);
    let _workers = workers_of_both_sides(&master);
    palm_client_calls(&master);
}

#[test]
fn the_first_call_of_every_pylm_client_is_answered_by_a_palm_server_without_any_wait() {
    pylm_clients_call("first_calls", 40, &server(Palm));
}

#[test]
fn the_first_call_of_every_pylm_client_is_answered_through_a_palm_master_without_any_wait() {
    let master = master(Palm);
    let _workers = workers_of_both_sides(&master);
    pylm_clients_call("first_calls", 40, &master);
}

// A pylm client subscribes anew for each call, always to the same topic. The message of a call
// can arrive while the subscription of the call before still stands, at a socket that is being
// closed: a result that is published then is lost.
#[test]
fn every_call_of_a_pylm_client_in_a_loop_is_answered_by_a_palm_server_without_any_wait() {
    pylm_clients_call("evals", 300, &server(Palm));
}
