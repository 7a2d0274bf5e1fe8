//! What all parts are that listen for HTTP: connections, limits, and the way to the end.
//!
//! One thread does it all, with a task for each connection (tokio's runtime of one thread):
//!
//! ```text
//! listener ─► connections ─► requests ─► Service ─► Feed ─► outlet ─► router
//!                                           ▲                            │
//!                                           └──────── inlet ◄────────────┘
//! ```

use std::convert::Infallible;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::door::Door;
use super::feed::Feeding;
use super::limits::{Budget, Gauge};
use super::request::{Bounds, Reply, Request};
use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::message::{DEFAULT_MAX_MESSAGE, Frame};
use crate::part::{Context, Inlet, Received};

/// How long a client may keep a connection waiting unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any connection lives, and short enough to be added to any time.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How long that may take which is said to those who have no reply when all else has ended.
const GOODBYE: Duration = Duration::from_millis(100);

/// How many requests are served at once unless told otherwise.
pub(super) const DEFAULT_CONCURRENT: usize = 1_024;

/// What those who listen can be told.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) address: String,
    pub(super) concurrent: usize,
    pub(super) max_message: usize,
    pub(super) patience: Duration,
}

impl Settings {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            concurrent: DEFAULT_CONCURRENT,
            max_message: DEFAULT_MAX_MESSAGE,
            patience: PATIENCE,
        }
    }

    /// Checks what can be checked before anything is opened.
    pub(super) fn check(&self) -> Result<()> {
        let reason = match place(&self.address).rsplit_once(':') {
            None => "HTTP listens at HOST:PORT",
            Some(("", _)) => "the host is missing",
            Some((_, port)) if port.parse::<u16>().is_err() => "the port is no number",
            Some(_) => return Ok(()),
        };
        Err(Error::Address {
            address: self.address.clone(),
            reason: reason.to_owned(),
        })
    }
}

/// The settings of those who listen, in their field `settings`.
macro_rules! listen_settings {
    () => {
        /// How many requests may be open at once: 1,024 by default. There may be twice as many
        /// connections; others wait to be accepted.
        pub fn concurrent(mut self, requests: usize) -> Self {
            self.settings.concurrent = requests;
            self
        }

        /// How long a client may take for the head of a request, or be idle before it, or read
        /// nothing of its reply, before its connection is closed: 30 s by default. So long may
        /// a body take, and a second more for each 10 KiB of it.
        pub fn patience(mut self, patience: std::time::Duration) -> Self {
            self.settings.patience = patience.min($crate::http::server::LONGEST_PATIENCE);
            self
        }
    };
}

/// Answers requests.
pub(super) trait Service: Send + Sync + 'static {
    /// The methods that it understands.
    const METHODS: &'static str;

    /// The largest body, in bytes.
    fn limit(&self) -> usize;

    /// The reply to a request. When the client hangs up, this is dropped.
    fn answer(&self, request: &mut Request) -> impl Future<Output = Result<Reply, Reply>> + Send;

    /// Whether it has room for results.
    fn has_room(&self) -> bool {
        true
    }

    /// Ends when it may have room again.
    fn room(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Takes a result.
    fn deliver(&self, _: Frame) {}

    /// There will be no more results.
    fn no_more_results(&self) {}
}

/// Kept by every task that a stop waits for.
pub(super) type Alive = mpsc::Sender<Infallible>;

/// A listening part that is about to run.
pub(super) struct Host<S> {
    pub(super) settings: Settings,
    pub(super) service: Arc<S>,
    /// Counts the requests that are open.
    pub(super) gauge: Arc<Gauge>,
    /// Counts the connections.
    pub(super) connections: Arc<Gauge>,
    pub(super) inlet: Option<Inlet>,
    pub(super) feeding: Option<Feeding>,
    pub(super) bell: Arc<Bell>,
}

impl<S: Service> Host<S> {
    /// Runs it, to the end.
    pub(super) fn run(self, context: &Context) -> Result<()> {
        context.wake_by(&self.bell);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .thread_name(format!("palm:{}", context.part.to_lowercase()))
            .build()
            .map_err(Error::system("a runtime cannot be started"))?;
        // When the runtime is dropped, so are the connections.
        runtime.block_on(self.serve(context))
    }

    async fn serve(self, context: &Context) -> Result<()> {
        let (listener, bound) = listen(&context.part, &self.settings.address)?;
        context.ready(Some(format!("http://{bound}")))?;
        let (ends, ending) = watch::channel(false);
        let (alive, gone) = mpsc::channel(1);
        let unfed = Arc::new(AtomicBool::new(false));
        if let Some(feeding) = self.feeding {
            let feed = feeding.run(ending.clone(), context.hard.clone(), alive.clone());
            let (unfed, bell) = (unfed.clone(), self.bell.clone());
            tokio::spawn(async move {
                if !feed.await {
                    unfed.store(true, Ordering::SeqCst);
                    bell.ring();
                }
            });
        }
        let door = Arc::new(Door {
            component: context.component.clone(),
            part: context.part.clone(),
            bounds: Arc::new(Bounds {
                body: self.service.limit(),
                bodies: Budget::for_messages_of(self.settings.max_message),
                patience: self.settings.patience,
            }),
            settings: self.settings,
            service: self.service.clone(),
            gauge: self.gauge.clone(),
            connections: self.connections,
            ending,
            complaints: Mutex::default(),
        });
        tokio::spawn(door.accept(listener, alive.clone()));
        let mut serving = Serving {
            context,
            service: self.service,
            gauge: self.gauge,
            inlet: self.inlet,
            unfed,
            deserted: None,
            alive: Some(alive),
            gone,
            ends,
        };
        serving.run(&self.bell).await;
        match serving.deserted {
            Some(why) => context.deserted(why),
            None => Ok(()),
        }
    }
}

/// Waits until the end has come.
pub(super) async fn over(ending: &mut watch::Receiver<bool>) {
    // That there is nobody to tell is an end, too.
    let _ = ending.wait_for(|ends| *ends).await;
}

/// Opens the listener, and gives what it has bound.
fn listen(part: &str, address: &str) -> Result<(TcpListener, SocketAddr)> {
    let bind = || {
        let found: Vec<_> = place(address).to_socket_addrs()?.collect();
        // A name of both kinds, as `localhost` is, means what it means to pylm.
        let place = found.iter().find(|place| place.is_ipv4()).or(found.first());
        let place = *place.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let socket = match place {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(place)?;
        let listener = socket.listen(BACKLOG)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind().map_err(|source| Error::Bind {
        part: part.to_owned(),
        address: address.to_owned(),
        source,
    })
}

/// An address without its scheme, which it may have.
fn place(address: &str) -> &str {
    address.strip_prefix("http://").unwrap_or(address)
}

/// The task that sees to results and to the end.
struct Serving<'a, S> {
    context: &'a Context,
    service: Arc<S>,
    gauge: Arc<Gauge>,
    inlet: Option<Inlet>,
    /// Whether nobody takes the messages of requests any more.
    unfed: Arc<AtomicBool>,
    /// Why it cannot go on, if it cannot.
    deserted: Option<&'static str>,
    /// Our own copy; `None` once it is to end.
    alive: Option<Alive>,
    gone: mpsc::Receiver<Infallible>,
    ends: watch::Sender<bool>,
}

impl<S: Service> Serving<'_, S> {
    async fn run(&mut self, bell: &Bell) {
        let context = self.context;
        let unfed = self.unfed.clone();
        // After a stop, that is in order.
        let is_unfed = || unfed.load(Ordering::SeqCst) && !context.soft.is_raised();
        while !context.hard.is_raised() {
            if context.soft.is_raised() && self.alive.take().is_some() {
                self.ends.send_replace(true);
            }
            if is_unfed() {
                self.deserted = Some("nobody takes its messages any more");
            }
            if self.deserted.is_some() {
                break;
            }
            let has_room = self.service.has_room();
            if has_room && self.take_results() {
                // The connections have their turn.
                tokio::task::yield_now().await;
                continue;
            }
            let ends = self.alive.is_none();
            let inlet = self.inlet.as_ref().filter(|_| has_room);
            let ready = || {
                let results = inlet.is_some_and(Inlet::is_ready);
                results
                    || is_unfed()
                    || context.hard.is_raised()
                    || context.soft.is_raised() != ends
            };
            tokio::select! {
                () = bell.until(ready) => {}
                () = self.service.room(), if !has_room => {}
                _ = self.gone.recv(), if ends => return,
            }
        }
        self.say_goodbye().await;
    }

    /// Whoever still waits hears what has come, or that nothing will.
    async fn say_goodbye(&mut self) {
        while self.service.has_room() && self.take_results() {}
        self.context.say_lost(self.gauge.open());
        self.alive = None;
        self.ends.send_replace(true);
        self.service.no_more_results();
        let _ = timeout(GOODBYE, self.gone.recv()).await;
    }

    /// Takes a batch of results, if there is one. Whether anything has changed.
    fn take_results(&mut self) -> bool {
        match self.inlet.as_ref().map(Inlet::try_recv) {
            Some(Received::Batch(batch)) => {
                for parcel in batch {
                    self.service.deliver(parcel.frame);
                }
                true
            }
            Some(Received::End) => {
                self.inlet = None;
                self.service.no_more_results();
                if !self.context.soft.is_raised() {
                    self.deserted = Some("nobody answers its requests any more");
                }
                true
            }
            Some(Received::Nothing) | None => false,
        }
    }
}
