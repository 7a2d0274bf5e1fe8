//! Functions by URL.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout_at;

use super::feed::{Feed, feed};
use super::limits::Gauge;
use super::request::{Reply, Request, deadline};
use super::server::{Host, Service, Settings};
use super::waiting::{Answer, Waiting};
use crate::error::{Error, Result};
use crate::message::{FailureKind, Frame, Path};
use crate::part::{Crew, Duty, Inbound, Inlet, Outlet, Part, Running, Wiring, start_alone};

/// How long a result may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The payload of a request that has none, as pylm has it.
const NO_PAYLOAD: &[u8] = b"No Payload";

/// Makes a message of each HTTP request, and a reply of what comes back for it.
///
/// ```text
/// curl -d payload http://HOST:PORT/function ─► Gateway ─► route ─► … whatever runs functions
///                                  result ◄─── Gateway ◄─ route ◄─ …
/// ```
///
/// `GET` or `POST` of `/function` becomes a call of `_.function`, that of `/server.function` one
/// of `server.function`. Workers do not look at the server's name, a
/// [`FunctionService`](crate::part::FunctionService) does: [`server`](Self::server) gives the name
/// that stands before a function alone. The body is the payload; a request without one has the
/// payload `No Payload`, as at pylm's gateway.
///
/// Each message has a client of its own, `ID/NUMBER`, under one [`id`](GatewayHandle::id) for the
/// gateway. Whatever comes back with that client is the reply, so a route must lead back to the
/// gateway. Of several messages that come back the first counts, and of a function that gives
/// nothing the request times out.
///
/// | status | |
/// |--------|---|
/// | 200 | the result, as `text/plain`. That of a function that failed at a pylm peer is `0` |
/// | 400, 408 | the body is broken, or comes too slowly |
/// | 404 | the path is no function, or nobody has that function, or not under that server's name |
/// | 405 | it is neither `GET` nor `POST` |
/// | 413 | the body is larger than [`max_message`](Self::max_message) |
/// | 502 | the function failed; the body is the cause |
/// | 503 | more than [`concurrent`](Self::concurrent) requests are open, or the gateway is being stopped |
/// | 504 | there was no result within [`timeout`](Self::timeout); the function may still run |
///
/// Nobody is asked who they are: whoever reaches the address can call, and so can any page that a
/// browser on that machine shows. Connections are kept
/// open; one that sends no request, or reads none of its reply, for 30 s is closed. The bodies in
/// memory have four times the largest message, or 64 MiB, and so have results that clients are
/// slow to read.
///
/// On a stop it accepts nothing more. Requests whose result is inside the component get it, the
/// others 503.
///
/// ```
/// use palm::http::Gateway;
/// use palm::part::FunctionService;
/// use palm::{Assembly, Functions};
///
/// let functions = Functions::new()
///     .function("shout", |call| Ok(call.payload().to_ascii_uppercase()));
/// let shouter = Assembly::new("shouter")
///     .inbound("Gateway", Gateway::new("127.0.0.1:0").server("shouter"), "Functions")
///     .outbound("Functions", FunctionService::new(functions))
///     .replies("Functions", "Gateway")
///     .start()?;
/// let url = shouter.address_of("Gateway").unwrap().to_owned() + "/shout";
/// let mut reply = ureq::post(&url).send("hello").unwrap();
/// assert_eq!(reply.body_mut().read_to_string().unwrap(), "HELLO");
/// # Ok::<(), palm::Error>(())
/// ```
///
/// A master with clients and HTTP beside each other sends each result where it belongs:
///
/// ```
/// use palm::http::Gateway;
/// use palm::part::{PubService, PullService, Route, WorkerPullService, WorkerPushService};
/// use palm::Assembly;
///
/// let free = "tcp://127.0.0.1:*";
/// let gateway = Gateway::new("127.0.0.1:0");
/// let handle = gateway.handle();
/// let back = Route::through(["Gateway", "Pub"], move |result, ways| {
///     ways.send(usize::from(!handle.owns(&result)), result);
/// });
/// let master = Assembly::new("server")
///     .inbound("Pull", PullService::new(free), "WorkerPush")
///     .inbound("Gateway", gateway, "WorkerPush")
///     .inbound("WorkerPull", WorkerPullService::new(free), back)
///     .outbound("WorkerPush", WorkerPushService::new(free))
///     .outbound("Pub", PubService::new(free))
///     .start()?;
/// # Ok::<(), palm::Error>(())
/// ```
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    server: String,
    timeout: Duration,
    waiting: Arc<Waiting>,
    gauge: Arc<Gauge>,
    connections: Arc<Gauge>,
}

/// What others may know of a [`Gateway`], also while it runs.
#[derive(Clone, Debug)]
pub struct GatewayHandle {
    waiting: Arc<Waiting>,
    gauge: Arc<Gauge>,
    connections: Arc<Gauge>,
}

impl GatewayHandle {
    /// Its id: the clients of its messages, and the topics of their results, begin with it.
    pub fn id(&self) -> &str {
        self.waiting.id()
    }

    /// Whether a message is the result of one of its requests.
    pub fn owns(&self, frame: &Frame) -> bool {
        self.waiting.owns(frame.client())
    }

    /// How many requests are open: being read, or waiting for their results.
    pub fn open(&self) -> usize {
        self.gauge.open()
    }

    /// How many connections there are, idle ones as well.
    pub fn connections(&self) -> usize {
        self.connections.open()
    }

    /// Has no more requests be open than so many.
    pub(super) fn limit(&self, requests: usize) {
        self.gauge.limit(requests);
    }

    /// How many results came that no request waited for any more.
    pub fn late(&self) -> u64 {
        self.waiting.late()
    }
}

impl Gateway {
    /// A gateway that will listen at this `HOST:PORT`; port 0 stands for a free one.
    pub fn new(address: impl Into<String>) -> Self {
        let settings = Settings::new(address.into());
        Self {
            server: "_".to_owned(),
            timeout: TIMEOUT,
            waiting: Waiting::new(settings.max_message),
            gauge: Gauge::of(usize::MAX),
            connections: Gauge::of(usize::MAX),
            settings,
        }
    }

    /// The name of the server whose functions a path without one calls, in place of `_`.
    pub fn server(mut self, name: impl Into<String>) -> Self {
        self.server = name.into();
        self
    }

    /// How long a result may take: 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    listen_settings!();

    /// The largest body to take, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.settings.max_message = bytes;
        self
    }

    /// Something to tell its messages from others, and to see how it does.
    pub fn handle(&self) -> GatewayHandle {
        GatewayHandle {
            waiting: self.waiting.clone(),
            gauge: self.gauge.clone(),
            connections: self.connections.clone(),
        }
    }

    /// Starts it, as a part named `Gateway`, with a thread of its own: requests go to the outlet,
    /// results come from the inlet.
    ///
    /// # Errors
    /// When the address is malformed, in use or not to be bound.
    pub fn start(self, outlet: Outlet, inlet: Inlet) -> Result<Running> {
        start_alone("Gateway", self, Some(outlet), Some(inlet))
    }
}

impl Part for Gateway {
    const GIVES: bool = true;
    const TAKES: bool = true;

    fn check(&self) -> Result<()> {
        self.settings.check()?;
        Path::parse(&format!("{}.f", self.server)).map(drop)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let (Some(outlet), Some(inlet)) = (wiring.outlet, wiring.inlet) else {
            let reason = format!("no route leads back to '{}'", wiring.name);
            return Err(Error::setup(crew.name(), reason));
        };
        let bell = inlet.bell().clone();
        let (feed, feeding) = feed(outlet);
        crew.spawn(&wiring.name, Duty::Carries, move |context| {
            let waiting = self.waiting.clone();
            self.gauge.limit(self.settings.concurrent);
            let service = Arc::new(Calls {
                server: self.server,
                timeout: self.timeout,
                limit: self.settings.max_message,
                waiting: self.waiting,
                feed,
            });
            let host = Host {
                settings: self.settings,
                service,
                gauge: self.gauge,
                connections: self.connections,
                inlet: Some(inlet),
                feeding: Some(feeding),
                bell,
            };
            let result = host.run(context);
            if waiting.late() > 0 {
                let (name, part) = (&context.component, &context.part);
                log::info!(target: name, "{part} had {} results that nobody waited for", waiting.late());
            }
            result
        });
        Ok(())
    }
}

impl Inbound for Gateway {}

/// Calls of functions.
struct Calls {
    server: String,
    timeout: Duration,
    limit: usize,
    waiting: Arc<Waiting>,
    feed: Feed,
}

impl Service for Calls {
    const METHODS: &'static str = "GET, POST";

    fn limit(&self) -> usize {
        self.limit
    }

    async fn answer(&self, request: &mut Request) -> Result<Reply, Reply> {
        let function = self.function(request.path())?;
        let has_body = request.has_body();
        let body = request.body().await?;
        let payload = if has_body { &body.bytes } else { NO_PAYLOAD };
        let mut ticket = self.waiting.add().ok_or_else(Reply::stopped)?;
        let id = uuid::Uuid::new_v4().to_string();
        let frame = Frame::new(self.waiting.id(), &ticket.key, &function, &id, payload);
        let held = body.held;
        let result = async {
            match self.feed.send(frame, held).await {
                true => ticket.result().await,
                false => None,
            }
        };
        match timeout_at(deadline(self.timeout), result).await {
            Err(_) => Err(Reply::late(self.timeout)),
            Ok(None) => Err(Reply::stopped()),
            Ok(Some(answer)) => Ok(reply(answer)),
        }
    }

    fn has_room(&self) -> bool {
        self.waiting.has_room()
    }

    async fn room(&self) {
        self.waiting.room().await;
    }

    fn deliver(&self, frame: Frame) {
        let key = frame.client().to_owned();
        self.waiting.deliver(&key, frame);
    }

    fn no_more_results(&self) {
        self.waiting.end();
    }
}

impl Calls {
    /// The function that a path calls.
    fn function(&self, path: &str) -> Result<String, Reply> {
        let name = path.strip_prefix('/').unwrap_or(path);
        let name = name.strip_suffix('/').unwrap_or(name);
        let function = match name.contains('.') {
            true => name.to_owned(),
            false => format!("{}.{name}", self.server),
        };
        if name.contains('/') || Path::parse(&function).is_err() {
            let cause = "a function is called by /FUNCTION or /SERVER.FUNCTION";
            return Err(Reply::error(StatusCode::NOT_FOUND, cause));
        }
        Ok(function)
    }
}

/// The reply that a result makes.
fn reply(answer: Answer) -> Reply {
    if !answer.frame.is_failure() {
        return Reply::of(StatusCode::OK, Reply::PAYLOAD, Payload(answer));
    }
    let failure = answer.frame.failure().unwrap_or_default();
    let status = match failure.kind() {
        FailureKind::Function
        | FailureKind::Unfinished
        | FailureKind::GivenUp
        | FailureKind::Undelivered => StatusCode::BAD_GATEWAY,
        FailureKind::UnknownFunction | FailureKind::WrongServer | FailureKind::BadPath => {
            StatusCode::NOT_FOUND
        }
    };
    Reply::error(status, &failure.cause)
}

struct Payload(Answer);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.0.frame.payload()
    }
}
