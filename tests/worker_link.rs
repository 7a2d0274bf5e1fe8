//! What a worker over the palm link promises: its master loses nothing when it is killed, cut
//! off or stopped, and no function runs twice because it is long.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{SOON, client, fixed_addresses, limit, sorted, start_again, timed};
use palm::{Addresses, Master, Running, Wire, Worker};

fn master() -> Running {
    Master::new("m", Addresses::ephemeral()).start().unwrap()
}

fn echo(master: &Running) -> Worker {
    Worker::new(&master.addresses().db).function("echo", |call| Ok(call.payload().to_vec()))
}

/// A job of so many numbers, each of which is to come back once.
fn job_is_whole(master: &Running, function: &str, count: u32) {
    let client = client(master);
    let payloads = (0..count).map(|number| number.to_be_bytes());
    let request = client.request(function).timeout(2 * SOON);
    let results = request.job(payloads).unwrap().map(|result| {
        let result = result.unwrap();
        u32::from_be_bytes(result.try_into().unwrap())
    });
    assert_eq!(sorted(results), (0..count).collect::<Vec<_>>());
}

#[test]
fn a_worker_takes_the_link_by_default_and_the_pylm_wire_on_request() {
    let _limit = limit(60, "either wire");
    let master = master();
    let worker = echo(&master).start().unwrap();
    assert_eq!(worker.addresses().link, master.addresses().link);
    assert_eq!(worker.addresses().worker_push, "");
    job_is_whole(&master, "m.echo", 1_000);
    worker.stop().unwrap();
    let worker = echo(&master).wire(Wire::Pylm).start().unwrap();
    let addresses = (worker.addresses(), master.addresses());
    assert_eq!(addresses.0.worker_push, addresses.1.worker_push);
    assert_eq!(worker.addresses().link, "");
    job_is_whole(&master, "m.echo", 1_000);
}

#[test]
fn workers_that_come_and_go_in_the_midst_of_a_job_lose_and_double_nothing() {
    let _limit = limit(60, "workers that come and go");
    const COUNT: u32 = 3_000;
    let master = master();
    let ran = Arc::new(AtomicUsize::new(0));
    let worker = || {
        let ran = ran.clone();
        let worker = Worker::new(&master.addresses().db).function("echo", move |call| {
            ran.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(500));
            Ok(call.payload().to_vec())
        });
        worker.start().unwrap()
    };
    let _stays = worker();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| job_is_whole(&master, "m.echo", COUNT));
        while !job.is_finished() {
            let leaves = worker();
            std::thread::sleep(Duration::from_millis(50));
            leaves.stop().unwrap();
        }
    });
    // Whoever leaves finishes what runs and hands back the rest: no function has run twice.
    assert_eq!(ran.load(Ordering::SeqCst), COUNT as usize);
}

#[test]
fn a_function_that_is_longer_than_every_silence_runs_once() {
    let _limit = limit(60, "a long function");
    let master = master();
    let ran = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let ran = ran.clone();
            let worker = Worker::new(&master.addresses().db).function("slow", move |call| {
                ran.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(4_500));
                Ok(call.payload().to_vec())
            });
            worker.start().unwrap()
        })
        .collect();
    job_is_whole(&master, "m.slow", 1);
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    drop(workers);
}

#[test]
fn a_stop_hands_back_what_has_not_begun_to_another_worker() {
    let _limit = limit(60, "a stop");
    let master = master();
    let slow = |time: u64| {
        Worker::new(&master.addresses().db).function("slow", move |call| {
            std::thread::sleep(Duration::from_millis(time));
            Ok(call.payload().to_vec())
        })
    };
    let leaving = slow(1_000).start().unwrap();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| job_is_whole(&master, "m.slow", 20));
        std::thread::sleep(Duration::from_millis(300));
        let _other = slow(1).start().unwrap();
        let (stopped, took) = timed(|| leaving.stop());
        stopped.unwrap();
        // The one that runs, and no other.
        assert!(took < Duration::from_millis(1_500), "{took:?}");
        job.join().unwrap();
    });
}

#[test]
fn several_results_and_none_are_results_of_one_call() {
    let _limit = limit(60, "several results");
    let master = master();
    let _worker = Worker::new(&master.addresses().db)
        .function("many", |call| {
            let count = usize::from(call.payload()[0]);
            Ok(vec![vec![7; 200_000]; count])
        })
        .start()
        .unwrap();
    let client = client(&master);
    // More than goes into one message on the link.
    let request = client.request("m.many").timeout(2 * SOON);
    let results = request.job([[0_u8], [1], [12], [0], [3]]).unwrap();
    assert_eq!(results.map(Result::unwrap).count(), 16);
}

#[test]
fn a_master_that_is_restarted_elsewhere_gets_its_workers_back() {
    let _limit = limit(60, "a master that moves");
    let addresses = fixed_addresses();
    let first = Master::new("m", addresses.clone()).start().unwrap();
    let worker = echo(&first).start().unwrap();
    job_is_whole(&first, "m.echo", 100);
    first.stop().unwrap();
    let addresses = Addresses::ephemeral().db(addresses.db);
    let second = start_again(|| Master::new("m", addresses.clone()).start());
    let (_, took) = timed(|| job_is_whole(&second, "m.echo", 100));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!worker.is_over());
}

#[test]
fn one_message_that_takes_its_time_after_many_that_take_none_holds_up_no_other() {
    let _limit = limit(60, "a slow one among quick ones");
    const COUNT: u32 = 2_000;
    const SLOW: u32 = 1_010;
    let master = master();
    let (go, gate) = crossbeam_channel::bounded::<()>(1);
    let worker = || {
        let gate = gate.clone();
        let worker = Worker::new(&master.addresses().db).function("echo", move |call| {
            if call.payload() == SLOW.to_be_bytes() {
                gate.recv_timeout(2 * SOON)?;
            }
            Ok(call.payload().to_vec())
        });
        worker.start().unwrap()
    };
    let _workers = [worker(), worker()];
    let client = client(&master);
    // That it takes no time is known then, and what follows travels together.
    let quick = (0..20_000_u32).map(|_| u32::MAX.to_be_bytes());
    assert_eq!(client.job("m.echo", quick).unwrap().count(), 20_000);
    let payloads = (0..COUNT).map(|number| number.to_be_bytes());
    let request = client.request("m.echo").timeout(2 * SOON);
    let mut job = request.job(payloads).unwrap();
    let others = job.by_ref().take(COUNT as usize - 1);
    let others: Vec<_> = others.map(Result::unwrap).collect();
    // All have come, while that one runs: neither those before it waited for it, nor those behind it.
    assert!(others.iter().all(|result| *result != SLOW.to_be_bytes()));
    go.send(()).unwrap();
    assert_eq!(job.next().unwrap().unwrap(), SLOW.to_be_bytes());
    assert!(job.next().is_none());
}
