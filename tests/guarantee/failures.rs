//! What fails is an error at the client that names the cause, and the rest of the job completes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use palm::{Client, Error};

use crate::common::{SOON, limit};
use crate::journal::Journal;
use crate::process::{Process, Role, alone, master};
use crate::role::{FATAL, UNLUCKY};
use crate::tally::{number, payload, step};

const MESSAGES: u64 = 2_000;

/// How many workers may die of a message.
const ATTEMPTS: usize = 5;

/// Runs something while four workers are there, and each that ends is replaced. Gives how many
/// have ended.
fn with_workers(role: &Role, work: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    let ended = AtomicUsize::new(0);
    let mut workers: Vec<Process> = (0..4).map(|_| role.start()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                for worker in &mut workers {
                    if worker.ended().is_some() {
                        ended.fetch_add(1, Ordering::SeqCst);
                        *worker = role.spawn();
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Whatever becomes of the work, the workers' keeper is to end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::SeqCst);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    ended.into_inner()
}

#[test]
fn a_message_that_fails_and_one_that_kills_its_workers_are_errors_and_the_rest_completes() {
    let _alone = alone();
    let _limit = limit(120, "messages that fail");
    let journal = Journal::new();
    let (master, db) = master();
    let _master = master.start();
    let worker = Role::new("worker")
        .with("db", &db)
        .with("journal", journal.path());
    let ended = with_workers(&worker, || {
        let client = Client::connect("m", &db).unwrap();
        let request = client.request("m.mixed").timeout(2 * SOON);
        let job = request.job((0..MESSAGES).map(|number| payload(number, 8)));
        let mut outcomes = BTreeMap::new();
        for result in job.unwrap().results() {
            let message = result.message.unwrap();
            let before = outcomes.insert(message, result.payload);
            assert!(before.is_none(), "{message} has two outcomes");
        }
        assert_eq!(outcomes.len() as u64, MESSAGES);
        for (message, outcome) in outcomes {
            match (message, outcome) {
                (
                    FATAL,
                    Err(Error::GivenUp {
                        attempts, cause, ..
                    }),
                ) => {
                    println!("{message}: {attempts} attempts: {cause}");
                    assert_eq!(attempts as usize, ATTEMPTS);
                    assert!(cause.contains("'mixed'"), "{cause}");
                }
                (_, Err(Error::Function { function, cause })) if message % 100 == UNLUCKY => {
                    assert_eq!(function, "m.mixed");
                    let expected = format!("{message} is unlucky");
                    assert!(cause.contains(&expected), "{cause}");
                }
                (_, Ok(result)) => assert_eq!(number(&result), step(message)),
                (_, Err(error)) => panic!("{message}: {error}"),
            }
        }
    });
    println!("{ended} workers died of it");
    let runs = journal.runs();
    let fatal = runs.iter().filter(|run| run.number == FATAL).count();
    assert_eq!(fatal, ended);
    // The master takes a dead worker's oldest task for the one that it died of. When the results
    // of those before it were lost with the worker, it was another; but not a third time.
    assert!((ATTEMPTS..=ATTEMPTS + 2).contains(&fatal), "{fatal} runs");
}

#[test]
fn a_client_on_the_pylm_wire_is_told_what_killed_all_workers_that_there_were() {
    let _alone = alone();
    let _limit = limit(60, "a message that kills all workers");
    let (master, db) = master();
    let _master = master.start();
    let worker = Role::new("worker").with("db", &db);
    let _workers: Vec<Process> = (0..ATTEMPTS).map(|_| worker.start()).collect();
    let client = Client::builder("m", &db).wire(palm::Wire::Pylm);
    let client = client.connect().unwrap();
    let request = client.request("m.die").timeout(SOON);
    let error = request.eval(payload(1, 8)).unwrap_err();
    assert!(
        matches!(error, Error::GivenUp { attempts, .. } if attempts as usize == ATTEMPTS),
        "{error}"
    );
}

#[test]
fn functions_that_always_fail_that_always_kill_and_that_nobody_has_are_each_an_error() {
    let _alone = alone();
    let _limit = limit(120, "functions that fail");
    let journal = Journal::new();
    let (master, db) = master();
    let _master = master.start();
    let worker = Role::new("worker")
        .with("db", &db)
        .with("journal", journal.path());
    let ended = with_workers(&worker, || {
        let client = Client::connect("m", &db).unwrap();
        let errors = |function: &str, count: u64| -> Vec<Error> {
            let request = client.request(function).timeout(2 * SOON);
            let job = request.job((0..count).map(|number| payload(number, 8)));
            let errors = job.unwrap().map(Result::unwrap_err);
            errors.collect()
        };
        // A job of another client runs beside them.
        let beside = Role::new("client").with("db", &db).with("messages", 20_000);
        let beside = beside.start();
        for error in errors("m.fail", 50) {
            let Error::Function { function, cause } = &error else {
                panic!("{error}");
            };
            assert_eq!(function, "m.fail");
            assert!(cause.contains("always fails"), "{cause}");
        }
        let unknown = errors("m.nobody_has_it", 50);
        assert_eq!(unknown.len(), 50);
        for error in unknown {
            assert!(matches!(error, Error::UnknownFunction { .. }), "{error}");
            assert!(error.to_string().contains("'nobody_has_it'"), "{error}");
        }
        let fatal = errors("m.die", 2);
        assert_eq!(fatal.len(), 2);
        for error in fatal {
            let Error::GivenUp {
                attempts, cause, ..
            } = &error
            else {
                panic!("{error}");
            };
            assert_eq!(*attempts as usize, ATTEMPTS);
            assert!(cause.contains("'die'"), "{cause}");
        }
        beside.tally(3 * SOON).is_whole();
    });
    println!("{ended} workers died of two messages");
    assert_eq!(ended, 2 * ATTEMPTS);
}
