//! The main job in one process: a master, two workers and a client, and what happens.
//!
//! In earnest each of them is a process of its own, on any machine: they need to know nothing
//! but the address of the master's cache.

use std::collections::BTreeMap;
use std::time::Instant;

use palm::{Addresses, Client, Master, Worker};

const MESSAGES: usize = 20_000;

fn main() -> Result<(), palm::Error> {
    let master = Master::new("server", Addresses::ephemeral()).start()?;
    let db = &master.addresses().db;
    println!("master 'server' is up, its cache at {db}");

    let mut workers = Vec::new();
    for name in ["ann", "bob"] {
        let worker = Worker::new(db)
            .name(name)
            .function("square", |call| {
                let number: u64 = std::str::from_utf8(call.payload())?.parse()?;
                Ok(format!("{} {}", number * number, call.component()))
            })
            .start()?;
        println!("worker '{name}' is up, with the function 'square'");
        workers.push(worker);
    }

    let client = Client::connect("server", db)?;
    println!("client is up");
    let twelve = client.eval("server.square", "12")?;
    println!(
        "one call:  12 squared, and by whom: {}",
        String::from_utf8_lossy(&twelve)
    );
    if let Err(error) = client.eval("server.square", "a dozen") {
        println!("an error:  {error}");
    }

    let start = Instant::now();
    let mut sum = 0;
    let mut by_worker = BTreeMap::<String, usize>::new();
    let numbers = (1..=MESSAGES).map(|number| number.to_string());
    for result in client.job("server.square", numbers)? {
        let result = String::from_utf8_lossy(&result?).into_owned();
        if let Some((square, worker)) = result.split_once(' ') {
            sum += square.parse::<u64>().unwrap_or_default();
            *by_worker.entry(worker.to_owned()).or_default() += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("a job:     {MESSAGES} messages in {seconds:.2} s, the squares add up to {sum}");
    for (worker, count) in by_worker {
        println!("           {count} of them by '{worker}'");
    }

    drop(client);
    for worker in workers {
        worker.stop()?;
    }
    master.stop()?;
    println!("all stopped");
    Ok(())
}
