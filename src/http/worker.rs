//! Functions behind HTTP.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use hyper::StatusCode;
use tokio::sync::oneshot;

use super::limits::{Budget, Gauge, Held};
use super::request::{Reply, Request};
use super::server::{Host, Service, Settings};
use super::service::{Message, message, parse};
use super::waiting::Answer;
use crate::address::{self, Addresses, Purpose};
use crate::bell::Bell;
use crate::cache::{CacheClient, StoreCache};
use crate::error::{Error, Result};
use crate::handler::{Cache, Functions, Runner};
use crate::message::{DEFAULT_MAX_MESSAGE, ENVELOPE, Failure, FailureKind, Frame};
use crate::part::{Context, Crew, Duty, Running};
use crate::store::Memory;

/// How many requests may wait for a thread, however many may be open: of clients that hang up,
/// they wait on.
const MOST_WAITING: usize = 65_536;

/// Runs functions for whoever POSTs messages: an [`HttpConnection`](super::HttpConnection), or
/// pylm's. (pylm's `remote.server`.)
///
/// ```text
/// master ─► HttpConnection ─► POST ─► HttpWorker ─► functions
///                           ◄─ 200 ◄─
/// ```
///
/// # Building
/// [`HttpWorker::new`] with `HOST:PORT`; port 0 stands for a free one. Then functions: what
/// follows the dot in a message's path names the one to run, the server's name before it is not
/// looked at.
///
/// # Functions
/// As a [`Worker`](crate::Worker)'s, and the same ones, but for two things. HTTP has one reply:
/// a function that gives several payloads fails. And there is no master whose cache they could
/// reach: they have one of their own, unless [`db`](Self::db) says where one is. They run one
/// after another, unless [`threads`](Self::threads) says otherwise; what a client that has hung up
/// wanted is not begun.
///
/// | status | |
/// |--------|---|
/// | 200 | the message with the result |
/// | 204 | the function gave nothing |
/// | 400, 408 | the body is no message, or comes too slowly |
/// | 405 | it is no `POST` |
/// | 413 | the message is larger than [`max_message`](Self::max_message) |
/// | 500 | the function failed; the body is the message with the failure |
/// | 503 | more than [`concurrent`](Self::concurrent) requests are open, or the worker is being stopped |
///
/// # Lifecycle
/// [`start`](Self::start) returns when it listens; [`Running::address_of`] the part `Http` tells
/// where. On a stop, the functions that run are finished, and their results sent.
///
/// ```
/// use palm::http::{HttpConnection, HttpWorker};
/// use palm::part::{CacheService, PubService, PullService};
/// use palm::{Addresses, Assembly, Client};
///
/// let worker = HttpWorker::new("127.0.0.1:0")
///     .function("double", |call| Ok(call.payload().repeat(2)))
///     .start()?;
///
/// let free = "tcp://127.0.0.1:*";
/// let master = Assembly::new("server")
///     .inbound("Pull", PullService::new(free), "Http")
///     .outbound("Http", HttpConnection::new(worker.address_of("Http").unwrap()))
///     .replies("Http", "Pub")
///     .outbound("Pub", PubService::new(free))
///     .cache("Cache", free)
///     .preset("name", "server")
///     .preset_address("pull_address", "Pull")
///     .preset_address("pub_address", "Pub")
///     .start()?;
/// let client = Client::connect("server", &master.addresses().db)?;
/// assert_eq!(client.eval("server.double", "ab")?, b"abab");
/// # Ok::<(), palm::Error>(())
/// ```
#[derive(Debug)]
pub struct HttpWorker {
    name: String,
    settings: Settings,
    functions: Functions,
    threads: usize,
    db: Option<String>,
}

impl HttpWorker {
    /// A worker that will listen at this `HOST:PORT`. Its name is a fresh uuid.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            name: uuid::Uuid::new_v4().to_string(),
            settings: Settings::new(address.into()),
            functions: Functions::new(),
            threads: 1,
            db: None,
        }
    }

    /// Sets its name: for its functions and the log.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    function_settings!();

    /// How many threads run functions, from 1 to 1,024: 1 by default.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The cache that its functions reach: that of the server whose db this is.
    pub fn db(mut self, address: impl Into<String>) -> Self {
        self.db = Some(address.into());
        self
    }

    listen_settings!();

    /// The largest payload to take and to give, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.settings.max_message = bytes;
        self
    }

    /// Starts it. Returns when it listens.
    ///
    /// # Errors
    /// When an address is malformed, in use or not to be bound; with no thread, or too many; with a
    /// function of a name that no call can have.
    pub fn start(self) -> Result<Running> {
        self.settings.check()?;
        let checked = self.functions.check(self.threads);
        checked.map_err(|reason| Error::setup(&self.name, reason))?;
        let max_message = self.settings.max_message;
        let runner = Arc::new(Runner {
            cache: self.cache()?,
            functions: self.functions,
            component: self.name.clone(),
            only_own_name: false,
            max_message,
            complaints: Default::default(),
        });
        let mut crew = Crew::new(&self.name);
        let (jobs, waiting) = bounded(self.settings.concurrent.clamp(1, MOST_WAITING));
        spawn_functions(&mut crew, self.threads, &runner, &waiting);
        let host = Host {
            gauge: Gauge::of(self.settings.concurrent),
            connections: Gauge::of(usize::MAX),
            service: Arc::new(Working {
                jobs,
                limit: max_message.saturating_add(ENVELOPE),
            }),
            settings: self.settings,
            inlet: None,
            feeding: None,
            bell: Bell::new()?,
        };
        crew.spawn("Http", Duty::Carries, move |context| host.run(context));
        crew.start(|_| Ok(Addresses::none()))
    }

    fn cache(&self) -> Result<Arc<dyn Cache>> {
        Ok(match &self.db {
            None => Arc::new(StoreCache::new(Arc::new(Memory::new()))),
            Some(db) => {
                address::check(db, Purpose::Connect)?;
                let timeout = Duration::from_secs(10);
                let most = DEFAULT_MAX_MESSAGE.max(self.settings.max_message);
                Arc::new(CacheClient::of(&self.name, "_", db, timeout, most))
            }
        })
    }
}

/// A message whose function is to be run.
struct Job {
    frame: Frame,
    _held: Held,
    outcome: oneshot::Sender<Outcome>,
}

/// What came of a message.
enum Outcome {
    Nothing,
    Result(Box<Answer>),
    /// There is no room for its result.
    NoRoom,
}

/// Starts the threads that run functions.
fn spawn_functions(crew: &mut Crew, threads: usize, runner: &Arc<Runner>, waiting: &Receiver<Job>) {
    let unread = Budget::for_messages_of(runner.max_message);
    for number in 1..=threads {
        let (runner, waiting, unread) = (runner.clone(), waiting.clone(), unread.clone());
        let name = format!("Functions-{number}");
        crew.spawn(&name, Duty::Works, move |context| {
            context.ready(None)?;
            work(context, &runner, &waiting, &unread);
            Ok(())
        });
    }
}

/// Runs functions, until a stop.
fn work(context: &Context, runner: &Runner, jobs: &Receiver<Job>, unread: &Arc<Budget>) {
    while !context.late.is_raised() {
        let job = select! {
            recv(jobs) -> job => job,
            recv(context.late.raised()) -> _ => break,
        };
        let Ok(job) = job else { break };
        if !job.outcome.is_closed() {
            let outcome = run(runner, &job.frame, unread);
            // One that has hung up meanwhile needs to hear nothing.
            let _ = job.outcome.send(outcome);
        }
    }
    // Whoever waits for these hears that there is no result.
    while jobs.try_recv().is_ok() {}
}

fn run(runner: &Runner, frame: &Frame, unread: &Arc<Budget>) -> Outcome {
    if unread.is_full() {
        return Outcome::NoRoom;
    }
    let (mut first, mut count) = (None, 0);
    runner.run(frame, &mut |result| {
        first.get_or_insert(result);
        count += 1;
    });
    match (first, count) {
        (None, _) => Outcome::Nothing,
        (Some(result), 1) => Outcome::Result(Box::new(Answer::new(result, unread))),
        (Some(_), _) => {
            let cause = format!(
                "it gave {count} results, and a reply over HTTP is one (at '{}')",
                runner.component
            );
            let failure = Failure::new(FailureKind::Function, cause);
            runner.log(frame, &failure);
            let failed = Answer::new(frame.with_failure(&failure), unread);
            Outcome::Result(Box::new(failed))
        }
    }
}

/// Requests on their way to the functions.
struct Working {
    jobs: Sender<Job>,
    limit: usize,
}

impl Service for Working {
    const METHODS: &'static str = "POST";

    fn limit(&self) -> usize {
        self.limit
    }

    async fn answer(&self, request: &mut Request) -> Result<Reply, Reply> {
        let body = request.body().await?;
        let frame = parse(body.bytes, self.limit)?;
        let (outcome, receiver) = oneshot::channel();
        let job = Job {
            frame,
            _held: body.held,
            outcome,
        };
        if self.jobs.try_send(job).is_err() {
            return Err(Reply::busy("there are too many requests"));
        }
        match receiver.await {
            Err(_) => Err(Reply::stopped()),
            Ok(Outcome::NoRoom) => Err(Reply::busy("results that nobody reads fill the memory")),
            Ok(Outcome::Nothing) => Ok(Reply::new(StatusCode::NO_CONTENT, Reply::MESSAGE, "")),
            Ok(Outcome::Result(answer)) => Ok(message(answer.frame.is_failure(), Message(*answer))),
        }
    }
}
