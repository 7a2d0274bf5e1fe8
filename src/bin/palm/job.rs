//! `palm job`

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argh::FromArgs;
use indicatif::{ProgressBar, ProgressStyle};
use palm::message::Path;
use palm::{Client, Wire};

use crate::common::{FOREVER, Failure, Outcome, input, log_level, say, timeout, unwritable, wire};
use crate::signals;

/// How many errors are printed; more are counted.
const ERRORS_SHOWN: u64 = 20;

/// Send each line of the input as a message, and print each result as a line, in the order in
/// which they come, or in that of the input. (A result that has lines itself is printed as it is.)
#[derive(FromArgs)]
#[argh(subcommand, name = "job", help_triggers("-h", "--help", "help"))]
pub struct Job {
    /// address of the server's cache (default: tcp://127.0.0.1:5559)
    #[argh(option, default = "String::from(\"tcp://127.0.0.1:5559\")")]
    db: String,
    /// where to push the messages (default: as the server tells at db)
    #[argh(option)]
    pull: Option<String>,
    /// where to subscribe for the results: the pub address of the last step (default: as the
    /// server tells at db)
    #[argh(option)]
    sub: Option<String>,
    /// one more step, SERVER.FUNCTION, after those before (repeats)
    #[argh(option)]
    then: Vec<String>,
    /// file to read lines from (default: standard input)
    #[argh(option)]
    input: Option<String>,
    /// how many results to expect in all (default: what comes of the lines, or one for each of
    /// them over the pylm wire)
    #[argh(option)]
    expect: Option<usize>,
    /// print the results in the order of the lines that they came of (over the palm link)
    #[argh(switch)]
    ordered: bool,
    /// what to speak: link (the default, where the server has one) or pylm
    #[argh(option, from_str_fn(wire), default = "Wire::Link")]
    wire: Wire,
    /// how many seconds to wait for the server, and then while no result comes, 0 for as long
    /// as it takes (default: 10 for the server, 300 for a result)
    #[argh(option)]
    timeout: Option<f64>,
    /// log what it does, on standard error
    #[argh(switch, short = 'i')]
    info: bool,
    /// log everything
    #[argh(switch, short = 'd')]
    debug: bool,
    /// what to call, or the first step of a chain
    #[argh(positional, arg_name = "SERVER.FUNCTION")]
    function: String,
}

/// How a job ends.
enum End {
    Done(Outcome),
    Signal(i32),
}

impl Job {
    pub fn run(self) -> Outcome {
        log_level(self.debug, self.info);
        let wait = self.timeout.map(timeout).transpose()?;
        let input = input(self.input.as_deref())?;
        let path = path(self.function, &self.then, self.sub.as_deref())?;
        let client = connect(&path, self.db, self.pull, self.sub, self.wire, wait)?;
        let (lines, broken) = Lines::new(input);
        let mut request = client.request(&path);
        if let Some(wait) = wait {
            request = request.timeout(wait);
        }
        if let Some(results) = self.expect {
            request = request.expect(results);
        }
        if self.ordered {
            request = request.ordered();
        }
        let results = request.job(lines)?;

        let (ended, end) = mpsc::channel();
        let progress = Arc::new(Progress::new());
        on_signal(&ended);
        print_results(results, progress.clone(), ended);
        let outcome = wait_for(&end);
        progress.finish();
        outcome?;
        if let Some(error) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(format!("the input cannot be read: {error}").into());
        }
        match progress.counts().errors {
            0 => Ok(()),
            _ => Err(Failure::silent()),
        }
    }
}

/// The path of all steps. The results of several come from the last: so it is to be said where
/// that publishes.
pub fn path(first: String, then: &[String], sub: Option<&str>) -> Result<String, Failure> {
    let path = then.iter().fold(first, |path, step| path + " " + step);
    match sub {
        None if Path::parse(&path)?.len() > 1 => Err(Failure::usage(
            "several steps need --sub ADDRESS, where the last one publishes its results (its pub)",
        )),
        _ => Ok(path),
    }
}

/// Connects to the server that a function path names.
pub fn connect(
    function: &str,
    db: String,
    pull: Option<String>,
    sub: Option<String>,
    wire: Wire,
    timeout: Option<Option<Duration>>,
) -> Result<Client, Failure> {
    let server = Path::parse(function)?.step(0)?.server;
    let mut client = Client::builder(server, db).wire(wire);
    if let Some(timeout) = timeout {
        client = client.timeout(timeout.unwrap_or(FOREVER));
    }
    if let Some(address) = pull {
        client = client.pull(address);
    }
    if let Some(address) = sub {
        client = client.publish(address);
    }
    Ok(client.connect()?)
}

fn on_signal(ended: &Sender<End>) {
    let ended = ended.clone();
    signals::on_first(move |signal| {
        let _ = ended.send(End::Signal(signal));
    });
}

/// Prints from a thread of its own: so a signal ends a job that waits for a result.
fn print_results(results: palm::Job, progress: Arc<Progress>, ended: Sender<End>) {
    std::thread::spawn(move || {
        let _ = ended.send(End::Done(print_all(results, &progress)));
    });
}

fn print_all(mut job: palm::Job, progress: &Progress) -> Outcome {
    let mut out = io::stdout().lock();
    for result in job.results() {
        match result.payload {
            Ok(line) => {
                write_line(&mut out, &line).map_err(|error| unwritable(&error))?;
                progress.result();
            }
            Err(error) if is_of_one_message(&error) => progress.error(result.message, &error),
            Err(error) => return Err(error.into()),
        }
    }
    out.flush().map_err(|error| unwritable(&error))
}

fn write_line(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
    out.write_all(line)?;
    if line.ends_with(b"\n") {
        return Ok(());
    }
    out.write_all(b"\n")
}

fn is_of_one_message(error: &palm::Error) -> bool {
    use palm::Error::{Function, GivenUp, Refused, Undelivered, UnknownFunction};
    matches!(
        error,
        Function { .. }
            | UnknownFunction { .. }
            | GivenUp { .. }
            | Undelivered { .. }
            | Refused { .. }
    )
}

fn wait_for(end: &Receiver<End>) -> Outcome {
    match end.recv() {
        Ok(End::Done(outcome)) => outcome,
        Ok(End::Signal(signal)) => Err(Failure {
            message: Some("interrupted: what no worker has begun is not run".to_owned()),
            code: u8::try_from(signals::exit_code(signal)).unwrap_or(1),
        }),
        Err(_) => Err("the printing thread died".to_owned().into()),
    }
}

/// The lines of the input. A read error ends them, and is left where it can be found.
struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    broken: Arc<Mutex<Option<io::Error>>>,
}

impl Lines {
    fn new(input: Box<dyn Read + Send>) -> (Self, Arc<Mutex<Option<io::Error>>>) {
        let broken = Arc::new(Mutex::new(None));
        let lines = Self {
            input: BufReader::with_capacity(64 << 10, input),
            broken: broken.clone(),
        };
        (lines, broken)
    }
}

impl Iterator for Lines {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        match self.input.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => {
                line.pop_if(|last| *last == b'\n');
                Some(line)
            }
            Err(error) => {
                let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
                *broken = Some(error);
                None
            }
        }
    }
}

/// Counts, a bar where standard error is a terminal, and the closing line.
struct Progress {
    bar: ProgressBar,
    start: Instant,
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    results: u64,
    errors: u64,
}

impl Progress {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {pos} results, {per_sec}, {elapsed}")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            start: Instant::now(),
            counts: Mutex::default(),
        }
    }

    fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self) {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .results += 1;
        self.bar.inc(1);
    }

    /// An error, of the message with this index if that is known.
    fn error(&self, message: Option<u64>, error: &palm::Error) {
        let errors = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.errors += 1;
            counts.errors
        };
        let tell = |line: String| self.bar.suspend(|| say(&format!("palm: {line}")));
        match errors {
            ..=ERRORS_SHOWN => tell(match message {
                Some(message) => format!("line {}: {error}", message + 1),
                None => error.to_string(),
            }),
            more if more == ERRORS_SHOWN + 1 => tell("more errors are counted only".to_owned()),
            _ => {}
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
        let Counts { results, errors } = self.counts();
        let seconds = self.start.elapsed().as_secs_f64();
        let results = counted(results, "result");
        let errors = counted(errors, "error");
        say(&format!("palm: {results}, {errors}, {seconds:.2} s"));
    }
}

/// So many of something.
fn counted(number: u64, of: &str) -> String {
    match number {
        1 => format!("1 {of}"),
        _ => format!("{number} {of}s"),
    }
}
