//! What the cache of a component promises, to its peers over the wire and to its functions.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{cache_call, client, echo_server, eval, limit, timed};
use palm::store::{Each, Memory, SharedStore, Store};
use palm::{Addresses, Cache, CacheClient, Client, Error, Master, Result, Running, Server};

/// A store that refuses everything while it is broken.
#[derive(Default)]
struct Breakable {
    inner: Memory,
    broken: AtomicBool,
}

impl Breakable {
    fn check(&self) -> Result<()> {
        match self.broken.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(Error::Store {
                store: "breakable".into(),
                reason: "the disk is on fire".into(),
            }),
        }
    }
}

impl Store for Breakable {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.check().and_then(|()| self.inner.get(key))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        self.check().and_then(|()| self.inner.set(key, value))
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.check().and_then(|()| self.inner.delete(key))
    }

    fn scan(&self, prefix: &str, each: &mut Each<'_>) -> Result<()> {
        self.check().and_then(|()| self.inner.scan(prefix, each))
    }
}

/// Starts a server or a master with a store.
type Start = fn(SharedStore) -> Result<Running>;

const EITHER: [Start; 2] = [
    |store| echo_server("s").store(store).start(),
    |store| {
        Master::new("m", Addresses::ephemeral())
            .store(store)
            .start()
    },
];

#[test]
fn what_is_set_can_be_read_until_it_is_deleted() {
    let _limit = limit(60, "set, get, delete");
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    for running in [echo_server("s").start().unwrap(), master] {
        let client = client(&running);
        assert_eq!(client.get("key").unwrap(), None);
        assert_eq!(client.set(Some("key"), b"value").unwrap(), "key");
        assert_eq!(client.set(Some("key"), b"\0\xff other").unwrap(), "key");
        assert_eq!(client.get("key").unwrap().unwrap(), b"\0\xff other");
        client.delete("key").unwrap();
        client.delete("key").unwrap();
        assert_eq!(client.get("key").unwrap(), None);
        let strange = "käse/✓ with spaces.and.dots";
        client.set(Some(strange), b"x").unwrap();
        assert_eq!(client.get(strange).unwrap().unwrap(), b"x");
    }
}

#[test]
fn a_new_key_is_a_fresh_one_each_time() {
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    let [one, two] = [b"1", b"2"].map(|value| client.set(None, value).unwrap());
    assert_ne!(one, two);
    assert_eq!(one.len(), 36, "no uuid: {one}");
    assert_eq!(client.get(&one).unwrap().unwrap(), b"1");
    assert_eq!(client.get(&two).unwrap().unwrap(), b"2");
}

#[test]
fn a_session_is_put_before_keys_that_are_set_and_no_others() {
    let server = echo_server("s").start().unwrap();
    let db = &server.addresses().db;
    let client = Client::builder("s", db).session("mine").connect().unwrap();
    let key = client.set(Some("key"), b"value").unwrap();
    assert_eq!(key, "minekey");
    assert_eq!(client.get("key").unwrap(), None);
    assert_eq!(client.get(&key).unwrap().unwrap(), b"value");
    let fresh = client.set(None, b"x").unwrap();
    assert_eq!(client.get(&fresh).unwrap().unwrap(), b"x");
    client.delete(&key).unwrap();
    assert_eq!(client.get(&key).unwrap(), None);
}

#[test]
fn a_cache_client_needs_the_address_only() {
    let _limit = limit(60, "a cache client");
    let server = echo_server("s").start().unwrap();
    let cache = CacheClient::new(&server.addresses().db);
    let key = cache.set("", b"value").unwrap();
    assert_eq!(client(&server).get(&key).unwrap().unwrap(), b"value");
    assert_eq!(cache.set("key", b"1").unwrap(), "key");
    assert_eq!(cache.get("key").unwrap().unwrap(), b"1");
    cache.delete("key").unwrap();
    assert_eq!(cache.get("key").unwrap(), None);
    let address = server.addresses().pull.as_bytes();
    assert_eq!(cache.get("pull_address").unwrap().unwrap(), address);
    let timeout = Duration::from_millis(200);
    let nobody = CacheClient::new(common::fixed()).timeout(timeout);
    let (result, took) = timed(|| nobody.get("key"));
    assert!(
        matches!(result, Err(Error::Unreachable { .. })),
        "{result:?}"
    );
    assert!(took >= timeout && took < 5 * timeout, "{took:?}");
}

#[test]
fn raw_calls_are_answered_as_pylm_peers_expect() {
    let server = echo_server("s").start().unwrap();
    let call = |function: &str, key: &str, payload: &[u8]| {
        cache_call(&server.addresses().db, function, key, payload)
    };
    for server in ["s", "_"] {
        let of = |function: &str| format!("{server}.{function}");
        assert_eq!(call(&of("set"), "key", b"value"), b"key");
        assert_eq!(call(&of("get"), "", b"key"), b"value");
        assert_eq!(call(&of("delete"), "", b"key"), b"key");
        assert_eq!(call(&of("delete"), "", b"key"), b"key");
        assert_eq!(call(&of("get"), "", b"key"), b"");
        let fresh = call(&of("set"), "", b"value");
        assert_eq!(
            (fresh.len(), call(&of("get"), "", &fresh)),
            (36, b"value".to_vec())
        );
        for other in ["", "other", "set.get", "set set"] {
            assert_eq!(call(&of(other), "key", b"x"), b"", "{other}");
        }
        assert_eq!(call(&of("get"), "", b"\xff"), b"");
        assert_eq!(call(&of("delete"), "", b"\xff"), b"");
    }
}

#[test]
fn functions_and_clients_of_a_server_share_its_cache() {
    let server = Server::new("s", Addresses::ephemeral())
        .function("double", |call| {
            let key = call.message().cache();
            let value = call.cache().get(key)?.ok_or("nothing to double")?;
            let fresh = call.cache().set("", &value.repeat(2))?;
            call.cache().delete(key)?;
            Ok(fresh)
        })
        .start()
        .unwrap();
    let client = client(&server);
    client.set(Some("number"), b"12").unwrap();
    let double = || client.request("s.double").cache("number").eval("");
    let fresh = String::from_utf8(double().unwrap()).unwrap();
    assert_eq!(client.get(&fresh).unwrap().unwrap(), b"1212");
    assert_eq!(client.get("number").unwrap(), None);
    assert!(matches!(double(), Err(Error::Function { .. })));
}

#[test]
fn several_threads_use_one_clients_cache_at_once() {
    let _limit = limit(60, "several threads");
    let server = echo_server("s").start().unwrap();
    let client = client(&server);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..100 {
                    let (key, value) = (format!("key {thread}"), format!("{thread}: {round}"));
                    client.set(Some(&key), value.as_bytes()).unwrap();
                    let read = client.get(&key).unwrap().unwrap();
                    assert_eq!(read, value.as_bytes());
                }
            });
        }
    });
}

#[test]
fn large_values_come_back_and_too_large_ones_are_refused() {
    let _limit = limit(60, "large values");
    let server = echo_server("s").max_message(1 << 20).start().unwrap();
    let client = client(&server);
    let value = vec![7; 1 << 20];
    client.set(Some("large"), &value).unwrap();
    assert!(client.get("large").unwrap().unwrap() == value);
    // Within what the socket lets in, but over the limit: an answer, not a time-out.
    match client
        .set(Some("larger"), &vec![7; (1 << 20) + (100 << 10)])
        .unwrap_err()
    {
        Error::Cache { call, key, address } => {
            assert_eq!((call, key.as_str()), ("set", "larger"));
            assert_eq!(address, server.addresses().db);
        }
        other => panic!("{other}"),
    }
    assert_eq!(client.get("larger").unwrap(), None);
}

#[test]
fn a_store_that_cannot_be_written_is_the_error_of_the_start() {
    for start in EITHER {
        let store = Arc::new(Breakable::default());
        store.broken.store(true, Ordering::SeqCst);
        let started = start(store);
        let error = started.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error}");
        assert!(error.to_string().contains("on fire"), "{error}");
    }
}

#[test]
fn a_store_that_breaks_is_an_error_of_each_call_and_stops_nothing() {
    let _limit = limit(60, "a store that breaks");
    for start in EITHER {
        let breakable = Arc::new(Breakable::default());
        let running = start(breakable.clone()).unwrap();
        let client = client(&running);
        client.set(Some("key"), b"value").unwrap();
        breakable.broken.store(true, Ordering::SeqCst);
        for error in [
            client.set(Some("key"), b"other").unwrap_err(),
            client.set(None, b"other").unwrap_err(),
            client.delete("key").unwrap_err(),
        ] {
            assert!(matches!(error, Error::Cache { .. }), "{error}");
        }
        // The wire knows only one empty answer: the same as for a key that is not there.
        assert_eq!(client.get("key").unwrap(), None);
        breakable.broken.store(false, Ordering::SeqCst);
        assert_eq!(client.get("key").unwrap().unwrap(), b"value");
        assert!(!running.is_over());
    }
}

#[test]
fn a_function_hears_that_the_store_is_broken() {
    let breakable = Arc::new(Breakable::default());
    let server = Server::new("s", Addresses::ephemeral())
        .function("get", |call| Ok(call.cache().get("key")?))
        .store(breakable.clone())
        .start()
        .unwrap();
    let client = client(&server);
    client.set(Some("key"), b"value").unwrap();
    assert_eq!(eval(&client, "s.get", b"").unwrap(), b"value");
    breakable.broken.store(true, Ordering::SeqCst);
    match eval(&client, "s.get", b"").unwrap_err() {
        Error::Function { cause, .. } => assert!(cause.contains("on fire"), "{cause}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_full_store_refuses_and_keeps_what_it_has() {
    let store = Arc::new(Memory::with_limit(1_000));
    let server = echo_server("s").store(store).start().unwrap();
    let client = client(&server);
    client.set(Some("key"), &[1; 500]).unwrap();
    let error = client.set(Some("other"), &[2; 500]).unwrap_err();
    assert!(matches!(error, Error::Cache { .. }), "{error}");
    assert_eq!(client.get("key").unwrap().unwrap(), [1; 500]);
    client.delete("key").unwrap();
    client.set(Some("other"), &[2; 500]).unwrap();
}

#[test]
fn a_store_outlives_its_server() {
    let store: SharedStore = Arc::new(Memory::new());
    for round in 0..3_u8 {
        let server = echo_server("s").store(store.clone()).start().unwrap();
        let client = client(&server);
        let before = client.get("round").unwrap();
        assert_eq!(before, (round > 0).then(|| vec![round - 1]));
        client.set(Some("round"), &[round]).unwrap();
    }
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_store_in_a_folder_outlives_its_server() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3_u8 {
        let store = palm::store::open(folder.path()).unwrap();
        let server = echo_server("s").store(store).start().unwrap();
        let client = client(&server);
        let before = client.get("round").unwrap();
        assert_eq!(before, (round > 0).then(|| vec![round - 1]));
        client.set(Some("round"), &[round]).unwrap();
        // Its own place, not that of the server before, is what is told.
        let told = client.get("pull_address").unwrap().unwrap();
        assert_eq!(told, server.addresses().pull.as_bytes());
    }
}

#[test]
fn a_cache_that_is_gone_is_an_error_in_time() {
    let server = echo_server("s").start().unwrap();
    let timeout = Duration::from_millis(400);
    let db = server.addresses().db.clone();
    let client = Client::builder("s", &db)
        .timeout(timeout)
        .connect()
        .unwrap();
    server.stop().unwrap();
    let calls: [fn(&Client) -> Result<()>; 3] = [
        |client| client.get("key").map(drop),
        |client| client.delete("key"),
        |client| client.set(None, b"x").map(drop),
    ];
    for call in calls {
        let (result, took) = timed(|| call(&client));
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(&db), "{error}");
        assert!(took >= timeout && took < 5 * timeout, "{took:?}");
    }
}
