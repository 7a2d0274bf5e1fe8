//! The cache, from either side to either side.

use palm::Client;

use crate::support::*;

/// What the calls in `client.py` and in `palm_calls` print.
fn expected(session: Option<&str>) -> Vec<String> {
    let named = match session {
        Some(_) => "b''", // The session's name is put before the key in set, not in get.
        None => "b'a value'",
    };
    vec![
        format!("set named: {}named", session.unwrap_or_default()),
        format!("get named: {named}"),
        "get what set returned: b'a value'".to_owned(),
        "set fresh: 36 4".to_owned(),
        "get fresh: b'another value'".to_owned(),
        "get absent: b''".to_owned(),
        "delete: True".to_owned(),
        "get deleted: b''".to_owned(),
        "get crossed: b'from the test'".to_owned(),
    ]
}

/// The same calls as `cache` in `client.py`, and the same lines.
fn palm_calls(host: &Host, session: Option<&str>) -> Vec<String> {
    let mut builder = Client::builder("server", host.db());
    if let Some(session) = session {
        builder = builder.session(session);
    }
    let client = builder.connect().unwrap();
    let get = |key: &str| {
        let value = client.get(key).unwrap().unwrap_or_default();
        format!("b'{}'", String::from_utf8(value).unwrap())
    };
    let key = client.set(Some("named"), b"a value").unwrap();
    let mut lines = vec![
        format!("set named: {key}"),
        format!("get named: {}", get("named")),
        format!("get what set returned: {}", get(&key)),
    ];
    let fresh = client.set(None, b"another value").unwrap();
    let dashes = fresh.matches('-').count();
    lines.push(format!("set fresh: {} {dashes}", fresh.len()));
    lines.push(format!("get fresh: {}", get(&fresh)));
    lines.push(format!("get absent: {}", get("absent")));
    client.delete(&key).unwrap();
    lines.push("delete: True".to_owned());
    lines.push(format!("get deleted: {}", get(&key)));
    lines.push(format!("get crossed: {}", get("set by the test")));
    lines
}

fn pylm_calls(host: &Host, session: Option<&str>) -> Vec<String> {
    let args = match session {
        Some(session) => vec!["--session", session, "cache"],
        None => vec!["cache"],
    };
    pylm_client(host, &args)
}

fn cache_calls(client: Side, host: &Host) {
    let other = Client::connect("server", host.db()).unwrap();
    other
        .set(Some("set by the test"), b"from the test")
        .unwrap();
    for session in [None, Some("the session's ")] {
        let lines = match client {
            Palm => palm_calls(host, session),
            Pylm => pylm_calls(host, session),
        };
        assert_eq!(lines, expected(session), "session: {session:?}");
    }
}

#[test]
fn every_cache_call_works_between_palm_client_and_palm_server() {
    cache_calls(Palm, &server(Palm));
}

#[test]
fn every_cache_call_works_between_palm_client_and_pylm_server() {
    cache_calls(Palm, &server(Pylm));
}

#[test]
fn every_cache_call_works_between_pylm_client_and_palm_server() {
    let host = server(Palm);
    cache_calls(Pylm, &host);
    // With the session's name before its key.
    let other = Client::connect("server", host.db()).unwrap();
    let crossed = other.get("the session's set by pylm").unwrap();
    assert_eq!(crossed.as_deref(), Some(b"from pylm".as_slice()));
}

#[test]
fn every_cache_call_works_between_pylm_client_and_pylm_server() {
    cache_calls(Pylm, &server(Pylm));
}

#[test]
fn deleting_an_absent_key_harms_no_palm_server() {
    let host = server(Palm);
    let client = Client::connect("server", host.db()).unwrap();
    client.delete("absent").unwrap();
    // A pylm server's cache would have ended by this (so no such test with one).
    assert_eq!(palm_calls(&host, None).len(), expected(None).len());
}

/// A function that uses its master's cache, at a worker of either side.
fn cache_from_inside_a_function(master_side: Side, worker_side: Side) {
    let master = master(master_side);
    let _worker = worker(worker_side, "one", master.db());
    let client = Client::connect("server", master.db()).unwrap();
    client.set(Some("shared"), b"for all").unwrap();
    for number in 0..20 {
        let payload = format!("value {number}");
        let seen = client.eval("server.remember", &payload).unwrap();
        let expected = format!("for all|own {payload}|{payload}|||");
        assert_eq!(String::from_utf8(seen).unwrap(), expected);
    }
}

#[test]
fn a_palm_worker_s_function_uses_the_cache_of_a_palm_master() {
    cache_from_inside_a_function(Palm, Palm);
}

#[test]
fn a_pylm_worker_s_function_uses_the_cache_of_a_palm_master() {
    cache_from_inside_a_function(Palm, Pylm);
}

#[test]
fn a_palm_worker_s_function_uses_the_cache_of_a_pylm_master() {
    cache_from_inside_a_function(Pylm, Palm);
}

#[test]
fn a_pylm_worker_s_function_uses_the_cache_of_a_pylm_master() {
    cache_from_inside_a_function(Pylm, Pylm);
}
