//! Starting and stopping, for every template: what is inside gets out, a stop is quick, once
//! and for all, and nothing is left.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{
    SOON, client, echo_server, eval, fixed_addresses, is_free, limit, message, sorted, timed, until,
};
use palm::{Addresses, Error, Master, Running, Server, Worker};

/// How long a stop may take: 0.25 s for what is inside, and then some on a busy machine.
const STOP: Duration = Duration::from_secs(1);

#[track_caller]
fn stops_in_time(running: &Running) {
    let (stopped, took) = timed(|| running.stop());
    stopped.unwrap();
    assert!(took < STOP, "'{}' took {took:?} to stop", running.name());
    assert!(running.is_over());
}

#[test]
fn a_stop_is_one_stop_whoever_asks_and_however_often() {
    let _limit = limit(60, "many stops");
    let server = Arc::new(echo_server("s").start().unwrap());
    let stopper = server.stopper();
    let waiting = std::thread::spawn({
        let server = server.clone();
        move || server.wait()
    });
    assert!(!server.is_over() && !waiting.is_finished());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| server.stop().unwrap());
            scope.spawn(|| stopper.stop());
        }
    });
    assert!(server.is_over());
    waiting.join().unwrap().unwrap();
    server.stop().unwrap();
    server.wait().unwrap();
    stopper.stop();
}

#[test]
fn a_stopper_ends_a_wait_without_waiting_itself() {
    let _limit = limit(60, "a stopper");
    let server = echo_server("s").start().unwrap();
    let stopper = server.stopper();
    let later = std::thread::spawn(move || stopper.stop());
    let (waited, took) = timed(|| server.wait());
    waited.unwrap();
    assert!(took < STOP, "{took:?}");
    later.join().unwrap();
    assert!(server.is_over());
}

#[test]
fn results_of_functions_that_run_get_out() {
    let _limit = limit(60, "results of functions that run");
    const CALLS: usize = 6;
    let inside = Arc::new(AtomicUsize::new(0));
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let counter = inside.clone();
    let server = Server::new("s", Addresses::ephemeral())
        .function("slow", move |call| {
            counter.fetch_add(1, Ordering::SeqCst);
            gate.lock().unwrap().recv()?;
            Ok(call.payload().to_vec())
        })
        .threads(CALLS)
        .start()
        .unwrap();
    let client = client(&server);
    let payloads = (0..CALLS).map(|number| vec![number as u8]);
    let request = client.request("s.slow").timeout(SOON);
    let job = request.job(payloads.clone()).unwrap();
    until("all functions to run", || {
        inside.load(Ordering::SeqCst) == CALLS
    });
    server.stopper().stop();
    assert!(!server.is_over());
    (0..CALLS).for_each(|_| open.send(()).unwrap());
    server.wait().unwrap();
    assert!(sorted(job.map(Result::unwrap)).into_iter().eq(payloads));
}

#[test]
fn results_that_wait_in_gather_get_out() {
    let _limit = limit(60, "results in the master");
    let (entered, inside) = mpsc::sync_channel(1);
    let (open, gate) = mpsc::channel::<()>();
    let master = Master::new("m", Addresses::ephemeral())
        .gather(move |message| {
            let _ = entered.send(());
            let _ = gate.recv();
            vec![message; 100]
        })
        .start()
        .unwrap();
    let _worker = Worker::new(&master.addresses().db)
        .function("echo", |call| Ok(call.payload().to_vec()))
        .start()
        .unwrap();
    let client = client(&master);
    let request = client.request("m.echo").timeout(SOON).expect(100);
    let job = request.job(["x"]).unwrap();
    inside.recv_timeout(SOON).expect("gather to run");
    master.stopper().stop();
    open.send(()).unwrap();
    master.wait().unwrap();
    assert_eq!(job.map(Result::unwrap).count(), 100);
}

#[test]
fn a_stop_in_the_midst_of_traffic_ends_in_time_and_what_came_is_right() {
    let _limit = limit(60, "a stop in the midst of traffic");
    let server = echo_server("s").threads(2).start().unwrap();
    let client = client(&server);
    let numbers = (0_u32..).map(u32::to_be_bytes);
    let request = client.request("s.echo").timeout(Duration::from_millis(300));
    let mut job = request.job(numbers).unwrap();
    assert_eq!(
        job.by_ref().take(1_000).filter_map(Result::ok).count(),
        1_000
    );
    stops_in_time(&server);
    let mut rest: Vec<_> = job.collect();
    assert!(matches!(rest.pop(), Some(Err(Error::Timeout { .. }))));
    assert!(rest.iter().all(Result::is_ok));
    let (_, took) = timed(|| drop(client));
    assert!(took < STOP, "{took:?}");
}

#[test]
fn a_stop_while_nobody_takes_the_work_ends_in_time() {
    let _limit = limit(60, "a master without workers");
    let master = Master::new("m", Addresses::ephemeral()).start().unwrap();
    let client = client(&master);
    let request = client.request("m.f").timeout(Duration::from_millis(300));
    let mut job = request.job(vec!["x"; 5_000]).unwrap();
    // By now the messages stand in every queue on the way.
    assert!(matches!(job.next(), Some(Err(Error::Timeout { .. }))));
    stops_in_time(&master);
    let (_, took) = timed(|| drop(client));
    assert!(took < STOP, "{took:?}");
}

#[test]
fn a_stop_while_nobody_takes_the_results_ends_in_time() {
    let _limit = limit(60, "a server without subscribers");
    let server = echo_server("s").hold(10_000).start().unwrap();
    let context = zmq::Context::new();
    let push = common::peer(&context, zmq::PUSH, &server.addresses().pull);
    let frame = message("nobody", "s.echo", &[0; 1_000]).encode_frame();
    // Until the hold is full, and the queues before it, and the connection.
    push.set_sndtimeo(200).unwrap();
    let sent = (0..100_000)
        .take_while(|_| push.send(&frame, 0).is_ok())
        .count();
    assert!(
        (10..100_000).contains(&sent),
        "{sent} sent: no back-pressure"
    );
    stops_in_time(&server);
}

#[test]
fn a_drop_is_a_stop() {
    let _limit = limit(60, "a drop");
    let addresses = fixed_addresses();
    let server = Server::new("s", addresses.clone()).start().unwrap();
    assert!(!is_free(&addresses.pull));
    let ((), took) = timed(|| drop(server));
    assert!(took < STOP, "{took:?}");
    for address in [&addresses.pull, &addresses.publish, &addresses.db] {
        until("the port to be free", || is_free(address));
    }
}

#[test]
fn the_same_addresses_can_be_used_again_and_again() {
    let _limit = limit(60, "the same addresses");
    let addresses = fixed_addresses();
    for round in 0..5 {
        let start = || Master::new("m", addresses.clone()).start();
        let master = common::start_again(start);
        let worker = Worker::new(&addresses.db)
            .function("echo", |call| Ok(call.payload().to_vec()))
            .start()
            .unwrap();
        let client = client(&master);
        assert_eq!(eval(&client, "m.echo", &[round]).unwrap(), [round]);
        drop(client);
        stops_in_time(&worker);
        stops_in_time(&master);
    }
}

#[test]
fn many_servers_in_one_process_do_not_hinder_each_other() {
    let _limit = limit(60, "many servers");
    let servers: Vec<_> = (0..12)
        .map(|number| echo_server(&format!("s{number}")).start().unwrap())
        .collect();
    let clients: Vec<_> = servers.iter().map(client).collect();
    for (server, client) in servers.iter().zip(&clients) {
        let function = format!("{}.echo", server.name());
        assert_eq!(eval(client, &function, b"x").unwrap(), b"x");
    }
    servers.iter().for_each(stops_in_time);
}
