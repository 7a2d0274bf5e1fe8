//! Clients that do not read what comes of their jobs hold up nobody but themselves, however many
//! they are and wherever their results lie.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{SOON, limit, sorted, until};
use palm::{
    Addresses, Client, Functions, Hub, Job, Master, PalmMessage, Pipeline, Running, Server, Status,
    Wire, Worker,
};

/// How many do not read.
const DEAF: usize = 8;

/// How large a large result is, in bytes.
const MIB: usize = 1 << 20;

/// What each of them submits.
#[derive(Clone, Copy)]
struct Load {
    messages: u32,
    /// How large each message is, in bytes.
    payload: usize,
}

const SMALL: Load = Load {
    messages: 20_000,
    payload: 1_000,
};
const LARGE: Load = Load {
    messages: 700,
    payload: 100_000,
};

/// Components, the first of which clients submit to, and the last of which they get results from.
struct Cluster {
    running: Vec<Running>,
    path: Vec<&'static str>,
    /// How large what comes of a message is at the least, in bytes.
    bytes: usize,
    /// How many messages were run by the functions that give more than they get.
    ran: Arc<AtomicUsize>,
}

/// What begins with what a function was given, and has at least so many bytes.
fn grown(payload: &[u8], bytes: usize) -> Vec<u8> {
    let mut result = payload.to_vec();
    result.resize(bytes.max(result.len()), b' ');
    result
}

/// What marks a message of which more comes than of others.
const MUCH: u8 = b'!';

/// A function `f` that gives at least so many bytes, or a MiB if its message ends with that mark, `large`, which gives a MiB, and `many`, which gives 50
/// results.
fn growing(bytes: usize) -> (Functions, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = ran.clone();
    let functions = Functions::new().function("f", move |call| {
        counted.fetch_add(1, Ordering::SeqCst);
        let is_much = call.payload().last() == Some(&MUCH);
        Ok(grown(call.payload(), if is_much { MIB } else { bytes }))
    });
    (with_others(functions, &ran), ran)
}

/// A function `f` that gives what it gets, `large` and `many`.
fn echo(ran: &Arc<AtomicUsize>) -> Functions {
    let functions = Functions::new().function("f", |call| Ok(call.payload().to_vec()));
    with_others(functions, ran)
}

fn with_others(functions: Functions, ran: &Arc<AtomicUsize>) -> Functions {
    let (counted, counted_too) = (ran.clone(), ran.clone());
    let functions = functions.function("large", move |call| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(grown(call.payload(), MIB))
    });
    functions.function("many", move |call| {
        counted_too.fetch_add(1, Ordering::SeqCst);
        Ok(vec![grown(call.payload(), 300); 50])
    })
}

fn worker(server: &Running, functions: Functions) -> Running {
    let worker = Worker::new(&server.addresses().db).functions(functions);
    worker.start().unwrap()
}

impl Cluster {
    fn server(bytes: usize, threads: usize) -> Self {
        let (functions, ran) = growing(bytes);
        let server = Server::new("first", Addresses::ephemeral()).functions(functions);
        Self {
            running: vec![server.threads(threads).start().unwrap()],
            path: vec!["first.f"],
            bytes,
            ran,
        }
    }

    fn master(bytes: usize) -> Self {
        Self::master_as(Master::new("first", Addresses::ephemeral()), bytes)
    }

    /// A master with hooks, of which so many results come of each message.
    fn master_with_hooks(results: usize) -> Self {
        let scatter = move |message: PalmMessage| vec![message; results];
        let master = Master::new("first", Addresses::ephemeral());
        let master = master.scatter(scatter).gather(|message| [message]);
        Self::master_as(master, 0)
    }

    fn master_as(master: Master, bytes: usize) -> Self {
        let (functions, ran) = growing(bytes);
        let master = master.start().unwrap();
        let workers = [functions.clone(), functions].map(|functions| worker(&master, functions));
        Self {
            running: [master].into_iter().chain(workers).collect(),
            path: vec!["first.f"],
            bytes,
            ran,
        }
    }

    fn chain(bytes: usize) -> Self {
        let (functions, ran) = growing(bytes);
        let first = Server::new("first", Addresses::ephemeral()).functions(echo(&ran));
        let first = first.pipelined(true).start().unwrap();
        let second = Pipeline::new("second", Addresses::ephemeral()).functions(echo(&ran));
        let second = second.after("first", &first.addresses().publish);
        let second = second.to_client(false).start().unwrap();
        let third = Pipeline::new("third", Addresses::ephemeral()).functions(functions);
        let third = third.after("second", &second.addresses().publish);
        let third = third.to_client(true).start().unwrap();
        Self {
            running: vec![first, second, third],
            path: vec!["first.f", "second.f", "third.f"],
            bytes,
            ran,
        }
    }

    fn hub(bytes: usize, hold: usize) -> Self {
        let (functions, ran) = growing(bytes);
        let first = Server::new("first", Addresses::ephemeral()).functions(echo(&ran));
        let first = first.pipelined(true).start().unwrap();
        let hub = Hub::new("second", Addresses::ephemeral()).hold(hold);
        let hub = hub.after("first", &first.addresses().publish);
        let hub = hub.start().unwrap();
        let worker = worker(&hub, functions);
        Self {
            running: vec![first, worker, hub],
            path: vec!["first.f", "second.f"],
            bytes,
            ran,
        }
    }

    fn client(&self) -> Client {
        let (first, last) = (&self.running[0], self.running.last().unwrap());
        let client = Client::builder("first", &first.addresses().db);
        let client = match self.path.len() {
            1 => client,
            _ => client.publish(&last.addresses().publish),
        };
        client.connect().unwrap()
    }

    fn job(&self, client: &Client, Load { messages, payload }: Load) -> Job {
        let payloads = (0..messages).map(move |number| {
            let mut text = number.to_string().into_bytes();
            text.resize(payload, b' ');
            text
        });
        let request = client.request(self.path.clone()).timeout(10 * SOON);
        request.job(payloads).unwrap()
    }

    /// Waits until no function has run for a while.
    fn settle(&self) -> usize {
        let mut last = (usize::MAX, Instant::now());
        until("nothing to run any more", || {
            let ran = self.ran.load(Ordering::SeqCst);
            if ran != last.0 {
                last = (ran, Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(200)
        });
        last.0
    }

    /// Has some clients read nothing of their jobs, one after another, while others call and have jobs
    /// done; then some of them read all.
    fn holds_up_nobody(&self, load: Load) {
        let other = self.client();
        let request = |client: &Client| {
            let request = client.request(self.path.clone()).timeout(SOON);
            assert!(request.eval("call").unwrap().starts_with(b"call"));
        };
        let mut deaf: Vec<(Client, Job)> = Vec::new();
        for _ in 0..DEAF {
            request(&other);
            let client = self.client();
            let before = self.ran.load(Ordering::SeqCst);
            let job = self.job(&client, load);
            deaf.push((client, job));
            let ran = self.settle() - before;
            assert!(ran < load.messages as usize, "all was run");
        }
        request(&other);
        request(&self.client());
        let request = other.request(self.path.clone()).timeout(SOON);
        let job = request.job((0..1_000).map(|number| number.to_string()));
        assert_eq!(job.unwrap().flatten().count(), 1_000);
        let last = deaf.pop().unwrap();
        let first = deaf.swap_remove(0);
        for (_client, job) in [first, last] {
            let numbers = numbers(job, self.bytes.max(load.payload));
            assert!(numbers.into_iter().eq(0..load.messages), "lost or doubled");
        }
        deaf.into_iter().for_each(|(_, job)| job.cancel());
    }

    /// Where nobody has had large results so far, some clients want so many that come of the function
    /// `large` at this place, or of the last one, and read none; then they do.
    fn learns_in_time(&self, place: Option<usize>, clients: usize, messages: u32) {
        let other = self.client();
        let calls = |client: &Client| {
            let request = client.request(self.path.clone()).timeout(SOON);
            assert!(request.eval("call").unwrap().starts_with(b"call"));
        };
        (0..500).for_each(|_| calls(&other));
        let many = other.request(self.path.clone()).timeout(SOON);
        let many = many.job((0..50_000).map(|number| number.to_string()));
        many.unwrap().for_each(|result| drop(result.unwrap()));
        let per_message = self.results_of(&other);
        let before = self.ran.load(Ordering::SeqCst);
        let mut large: Vec<_> = self.path.iter().map(|step| step.to_string()).collect();
        if let Some(place) = place {
            large[place] = large[place].replace(".f", ".large");
        }
        let deaf = (0..clients).map(|_| {
            let client = self.client();
            let request = client.request(large.clone()).timeout(10 * SOON);
            let payloads =
                (0..messages).map(|number| [number.to_string().as_bytes(), &[MUCH]].concat());
            let job = request.job(payloads).unwrap();
            (client, job)
        });
        let deaf: Vec<_> = deaf.collect();
        let ran = self.settle() - before;
        let all = clients * messages as usize * per_message;
        assert!(ran < all, "all {all} was run");
        (0..20).for_each(|_| calls(&other));
        calls(&self.client());
        // What each may have at the least, and what was on its way to it.
        let no_workers = self.running.iter().map(|running| &running.addresses().db);
        let held = no_workers.filter(|db| !db.is_empty()).map(|db| {
            let status = Status::of(db, SOON).unwrap();
            status.totals.bytes() as usize / MIB
        });
        let held = held.max().unwrap();
        assert!(held < 64 + 4 * clients, "{held} MiB are held");
        let reading = deaf.into_iter().map(|(client, job)| {
            std::thread::spawn(move || {
                let _client = client;
                numbers(job, MIB)
            })
        });
        for reading in reading.collect::<Vec<_>>() {
            let expected = (0..messages).flat_map(|number| vec![number; per_message]);
            assert!(
                reading.join().unwrap().into_iter().eq(expected),
                "lost or doubled"
            );
        }
    }

    /// How many results come of a message.
    fn results_of(&self, client: &Client) -> usize {
        let request = client.request(self.path.clone()).timeout(SOON);
        request.job(["call"]).unwrap().count()
    }
}

/// The numbers that the results of a job begin with, in their order. Each is so large.
fn numbers(job: Job, size: usize) -> Vec<u32> {
    sorted(job.map(|result| {
        let result = String::from_utf8(result.unwrap()).unwrap();
        assert_eq!(result.len(), size);
        let number = result.trim().trim_end_matches(char::from(MUCH));
        number.parse::<u32>().unwrap()
    }))
}

#[test]
fn of_a_server() {
    let _limit = limit(120, "clients of a server that do not read");
    Cluster::server(10_000, 1).holds_up_nobody(SMALL);
    Cluster::server(10_000, 3).holds_up_nobody(Load {
        payload: 10,
        ..SMALL
    });
    Cluster::server(0, 1).holds_up_nobody(LARGE);
}

#[test]
fn of_a_master() {
    let _limit = limit(120, "clients of a master that do not read");
    Cluster::master(10_000).holds_up_nobody(SMALL);
    Cluster::master(0).holds_up_nobody(LARGE);
}

#[test]
fn of_a_chain() {
    let _limit = limit(120, "clients of a chain that do not read");
    Cluster::chain(10_000).holds_up_nobody(SMALL);
    Cluster::chain(0).holds_up_nobody(LARGE);
}

#[test]
fn of_large_results_that_nobody_expects_no_more_come_than_are_read() {
    let _limit = limit(300, "large results that are not read");
    Cluster::server(0, 1).learns_in_time(Some(0), 1, 300);
    Cluster::server(0, 3).learns_in_time(Some(0), 1, 300);
    Cluster::chain(0).learns_in_time(Some(0), 1, 300);
    for place in 0..3 {
        Cluster::chain(0).learns_in_time(Some(place), 10, 60);
    }
    // Of the same function as many small ones before, which workers have much of at once.
    Cluster::server(0, 1).learns_in_time(None, 1, 100);
    Cluster::master(0).learns_in_time(None, 1, 300);
    Cluster::master(0).learns_in_time(Some(0), 10, 60);
    Cluster::hub(0, 32 << 20).learns_in_time(None, 1, 300);
    Cluster::master_with_hooks(20).learns_in_time(None, 1, 15);
    Cluster::master_with_hooks(20).learns_in_time(Some(0), 20, 5);
}

/// Over the pylm wire nobody can be asked for less: those that speak it stop each other, but not those on
/// the link.
#[test]
fn on_the_pylm_wire() {
    let _limit = limit(120, "clients on the pylm wire that do not read");
    for cluster in [Cluster::server(0, 1), Cluster::master(0)] {
        let (first, other) = (&cluster.running[0], cluster.client());
        let deaf = Client::builder("first", &first.addresses().db).wire(Wire::Pylm);
        let deaf = deaf.connect().unwrap();
        let payloads = (0..20_000).map(|number: u32| number.to_string());
        let request = deaf.request("first.many").timeout(10 * SOON);
        let job = request.job(payloads).unwrap();
        let ran = cluster.settle();
        assert!(ran < 20_000, "all was run");
        for _ in 0..20 {
            let request = other.request("first.f").timeout(SOON);
            assert_eq!(request.eval("call").unwrap(), b"call");
        }
        let own = other.job("first.f", (0..10_000).map(|number: u32| number.to_string()));
        assert_eq!(own.unwrap().flatten().count(), 10_000);
        drop(job);
    }
}

#[test]
fn of_a_hub() {
    let _limit = limit(120, "clients of a hub that do not read");
    Cluster::hub(10_000, 32 << 20).holds_up_nobody(SMALL);
    Cluster::hub(10_000, 16 << 20).holds_up_nobody(SMALL);
}
