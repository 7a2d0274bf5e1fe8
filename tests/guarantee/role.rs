//! The roles that a process can have.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use palm::{Addresses, BoxError, Call, Client, Hub, Master};
use palm::{Pipeline, Reply, Running, Server, Worker};

use crate::journal::Writer;
use crate::process::{READY, ROLE, peak};
use crate::saw;
use crate::tally::{Plan, Tally, number, payload, several, step, with_copy, with_number};

/// Is what this process was started for, if it was. In the process of the tests it is nothing.
#[test]
fn play() {
    let Ok(text) = std::env::var(ROLE) else {
        return;
    };
    end_with_the_tests();
    palm::logging::init(log::LevelFilter::Info, palm::logging::Output::Stderr);
    let mut words = text.split(' ');
    let role = words.next().unwrap();
    let settings = Settings(words.filter_map(|word| word.split_once('=')).collect());
    if let Some(every) = settings.number("cut") {
        saw::start(Duration::from_millis(every), |cut| tell("cut", cut));
    }
    match role {
        "master" => serve(master(&settings)),
        "server" => serve(server(&settings)),
        "pipeline" => serve(pipeline(&settings)),
        "hub" => serve(hub(&settings)),
        "worker" => serve(worker(&settings)),
        "client" => client(&settings),
        _ => panic!("there is no role {role}"),
    }
}

/// Tells the tests something.
fn tell(key: &str, value: impl std::fmt::Display) {
    eprintln!("@ {key} {value}");
}

/// When the process of the tests is gone, its end of the pipe is closed.
fn end_with_the_tests() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
}

struct Settings<'a>(HashMap<&'a str, &'a str>);

impl Settings<'_> {
    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).map(|text| (*text).to_owned())
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).map(|number| number.parse().unwrap())
    }

    fn is(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn addresses(&self) -> Addresses {
        let free = Addresses::ephemeral();
        Addresses {
            pull: self.text("pull").unwrap_or(free.pull),
            publish: self.text("pub").unwrap_or(free.publish),
            worker_push: self.text("wpush").unwrap_or(free.worker_push),
            worker_pull: self.text("wpull").unwrap_or(free.worker_pull),
            db: self.text("db").unwrap_or(free.db),
            link: self.text("link").unwrap_or_default(),
        }
    }
}

fn serve(running: palm::Result<Running>) {
    let running = running.unwrap();
    tell("db", &running.addresses().db);
    tell("pub", &running.addresses().publish);
    tell("ready", "");
    running.wait().unwrap();
}

fn master(settings: &Settings) -> palm::Result<Running> {
    let mut master = Master::new("m", settings.addresses());
    if settings.is("pipelined") {
        master = master.pipelined(true);
    }
    master.start()
}

fn server(settings: &Settings) -> palm::Result<Running> {
    let nap = Duration::from_micros(settings.number("nap").unwrap_or(0));
    Server::new("s", settings.addresses())
        .function("f", move |call| {
            rest(nap);
            Ok(answer(call))
        })
        .function("several", |call| Ok(answers(call)))
        .pipelined(true)
        .start()
}

/// A step after another: `after=NAME@ADDRESS`.
fn pipeline(settings: &Settings) -> palm::Result<Running> {
    let after = settings.text("after").unwrap();
    let (before, address) = after.split_once('@').unwrap();
    Pipeline::new(settings.text("name").unwrap(), settings.addresses())
        .after(before, address)
        .function("f", |call| Ok(answer(call)))
        .function("several", |call| Ok(answers(call)))
        .to_client(!settings.is("more"))
        .start()
}

/// The same with workers.
fn hub(settings: &Settings) -> palm::Result<Running> {
    let after = settings.text("after").unwrap();
    let (before, address) = after.split_once('@').unwrap();
    Hub::new(settings.text("name").unwrap(), settings.addresses())
        .after(before, address)
        .pipelined(settings.is("more"))
        .start()
}

/// What the functions of a worker know.
struct Work {
    journal: Option<Writer>,
    mark: u64,
    /// Whether the end of a function is written down, with its time, and not the begin.
    timed: bool,
    /// How long `f` takes.
    nap: Duration,
    /// How long the first attempt of `long_once` takes.
    long: Duration,
    folder: PathBuf,
}

impl Work {
    fn new(settings: &Settings) -> Self {
        let journal = settings.text("journal");
        let folder = journal.as_ref().and_then(|path| Path::new(path).parent());
        let micros = |key| Duration::from_micros(settings.number(key).unwrap_or(0));
        Self {
            folder: folder.unwrap_or(Path::new("")).to_owned(),
            journal: journal.as_deref().map(Writer::open),
            mark: settings.number("mark").unwrap_or(0),
            timed: settings.is("timed"),
            nap: micros("nap"),
            long: micros("long"),
        }
    }

    /// Writes down that a function is begun.
    fn begin(&self, call: &Call<'_>) -> u64 {
        let number = number(call.payload());
        if let Some(journal) = self.journal.as_ref().filter(|_| !self.timed) {
            journal.write(number, self.mark, Duration::ZERO);
        }
        number
    }

    /// Writes down that it is over, if that is what is asked for.
    fn end(&self, number: u64, took: Duration) {
        if let Some(journal) = self.journal.as_ref().filter(|_| self.timed) {
            journal.write(number, self.mark, took);
        }
    }

    fn f(&self, _: u64) -> Result<(), BoxError> {
        rest(self.nap);
        Ok(())
    }

    /// Every second one takes 50 ms.
    fn every_second(&self, number: u64) -> Result<(), BoxError> {
        rest(Duration::from_millis(50 * (number % 2)));
        Ok(())
    }

    /// The first attempt at each takes long, the others no time at all.
    fn long_once(&self, number: u64) -> Result<(), BoxError> {
        let begun = File::create_new(self.folder.join(format!("begun-{number}")));
        if begun.is_ok() {
            rest(self.long);
        }
        Ok(())
    }

    /// Some fail, and one kills its worker.
    fn mixed(&self, number: u64) -> Result<(), BoxError> {
        match number {
            FATAL => std::process::abort(),
            _ if number % 100 == UNLUCKY => Err(format!("{number} is unlucky").into()),
            _ => Ok(()),
        }
    }
}

/// The number that `mixed` does not survive.
pub const FATAL: u64 = 777;

/// What numbers that `mixed` fails with are modulo 100.
pub const UNLUCKY: u64 = 13;

fn worker(settings: &Settings) -> palm::Result<Running> {
    let work = Arc::new(Work::new(settings));
    type Function = fn(&Work, u64) -> Result<(), BoxError>;
    let functions: [(&str, Function); 7] = [
        ("f", Work::f),
        ("several", Work::f),
        ("every_second", Work::every_second),
        ("long_once", Work::long_once),
        ("mixed", Work::mixed),
        ("die", |_, _| std::process::exit(3)),
        ("fail", |_, number| {
            Err(format!("{number} always fails").into())
        }),
    ];
    let mut worker = Worker::new(settings.text("db").unwrap()).timeout(READY);
    for (name, function) in functions {
        let work = work.clone();
        worker = worker.function(name, move |call| {
            let number = work.begin(call);
            let start = Instant::now();
            function(&work, number)?;
            work.end(number, start.elapsed());
            Ok(match name {
                "several" => answers(call),
                _ => answer(call).into(),
            })
        });
    }
    worker.start()
}

fn rest(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

/// The next number.
fn answer(call: &Call<'_>) -> Vec<u8> {
    let next = step(number(call.payload()));
    with_number(call.payload().to_vec(), next)
}

/// None, one or several of it.
fn answers(call: &Call<'_>) -> Reply {
    let count = several(number(call.payload()));
    Reply::Many(
        (0..count)
            .map(|copy| with_copy(answer(call), copy))
            .collect(),
    )
}

/// Runs a job of numbers and tells what came of it.
fn client(settings: &Settings) {
    let server = settings.text("server").unwrap_or("m".to_owned());
    let mut builder = Client::builder(&server, settings.text("db").unwrap());
    if let Some(publish) = settings.text("pub") {
        builder = builder.publish(publish);
    }
    let client = builder.timeout(READY).connect().unwrap();
    let steps = settings.text("steps").unwrap_or("m.f".to_owned());
    let steps: Vec<&str> = steps.split(',').collect();
    let messages = settings.number("messages").unwrap();
    let several = steps.iter().position(|step| step.ends_with(".several"));
    let plan = Plan {
        messages,
        size: settings.number("size").unwrap_or(16) as usize,
        steps: steps.len() as u32,
        several: several.map(|step| step as u32),
    };
    tell("ready", "");
    let job = client
        .request(steps)
        .timeout(Duration::from_secs(40))
        .job((0..messages).map(move |number| payload(number, plan.size)))
        .unwrap();
    let tally = Tally::of(job, plan, |come| tell("come", come));
    tell("peak", peak("self"));
    tell("tally", tally);
}
