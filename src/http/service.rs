//! Messages that are POSTed.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout_at;

use super::feed::{Feed, feed};
use super::limits::{Gauge, Held};
use super::request::{Reply, Request, deadline};
use super::server::{Host, Service, Settings};
use super::waiting::{Answer, Waiting};
use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::message::{ENVELOPE, Frame};
use crate::part::{Crew, Duty, Inbound, Inlet, Outlet, Part, Running, Wiring, start_alone};

/// How long a result may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Takes in messages over HTTP: the body of each POST, to whatever path, is a
/// [`PalmMessage`](crate::PalmMessage).
///
/// Without a route that leads back to it, the reply is 200 with the body `1` as soon as the
/// message has been handed on, as at pylm's `HttpService`; a message without an id in its
/// `cache` field gets a fresh uuid there.
///
/// With a route that leads back, the reply is the message that comes back for it, and the part
/// answers as an [`HttpWorker`](super::HttpWorker) does; an
/// [`HttpConnection`](super::HttpConnection) can be its client. To know what belongs to what,
/// messages carry another id in `cache` on their way; the reply has their own again.
///
/// | status | |
/// |--------|---|
/// | 200 | the result, or `1` |
/// | 400, 408 | the body is no message, or comes too slowly |
/// | 405 | it is no `POST` |
/// | 413 | the message is larger than [`max_message`](Self::max_message) |
/// | 500 | there is a failure in place of a result; the body is the message that has it |
/// | 503 | more than [`concurrent`](Self::concurrent) requests are open, or the part is being stopped |
/// | 504 | there was no result within [`timeout`](Self::timeout), or nobody took the message |
///
/// Connections and memory are bounded as a [`Gateway`](super::Gateway)'s are.
///
/// ```
/// use palm::PalmMessage;
/// use palm::http::HttpService;
/// use palm::part::channel;
///
/// let (outlet, inlet) = channel()?;
/// let service = HttpService::new("127.0.0.1:0").start(outlet)?;
/// let url = service.address_of("Http").unwrap();
/// let message = PalmMessage { payload: b"hello".to_vec(), ..Default::default() };
/// let mut reply = ureq::post(url).send(&message.encode_frame()).unwrap();
/// assert_eq!(reply.body_mut().read_to_string().unwrap(), "1");
/// let taken = inlet.recv().unwrap().into_iter().next().unwrap();
/// assert_eq!(taken.frame.payload(), b"hello");
/// # Ok::<(), palm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpService {
    settings: Settings,
    timeout: Duration,
}

impl HttpService {
    /// A service that will listen at this `HOST:PORT`; port 0 stands for a free one.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            settings: Settings::new(address.into()),
            timeout: TIMEOUT,
        }
    }

    /// How long a result may take: 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    listen_settings!();

    /// The largest payload to take, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.settings.max_message = bytes;
        self
    }

    /// Starts it, as a part named `Http`, with a thread of its own. Nothing leads back to it.
    ///
    /// # Errors
    /// When the address is malformed, in use or not to be bound.
    pub fn start(self, outlet: Outlet) -> Result<Running> {
        start_alone("Http", self, Some(outlet), None)
    }
}

impl Part for HttpService {
    const GIVES: bool = true;
    const TAKES: bool = true;

    fn check(&self) -> Result<()> {
        self.settings.check()
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let Some(outlet) = wiring.outlet else {
            let reason = format!("'{}' leads nowhere", wiring.name);
            return Err(Error::setup(crew.name(), reason));
        };
        let inlet: Option<Inlet> = wiring.inlet;
        let bell = match &inlet {
            Some(inlet) => inlet.bell().clone(),
            None => Bell::new()?,
        };
        let (feed, feeding) = feed(outlet);
        let service = Arc::new(Messages {
            timeout: self.timeout,
            limit: self.settings.max_message.saturating_add(ENVELOPE),
            waiting: Waiting::new(self.settings.max_message),
            replies: inlet.is_some(),
            feed,
        });
        let host = Host {
            gauge: Gauge::of(self.settings.concurrent),
            connections: Gauge::of(usize::MAX),
            settings: self.settings,
            service,
            inlet,
            feeding: Some(feeding),
            bell,
        };
        crew.spawn(&wiring.name, Duty::Carries, move |context| {
            host.run(context)
        });
        Ok(())
    }
}

impl Inbound for HttpService {}

/// Messages on their way to the router.
struct Messages {
    timeout: Duration,
    limit: usize,
    waiting: Arc<Waiting>,
    /// Whether results come back.
    replies: bool,
    feed: Feed,
}

impl Service for Messages {
    const METHODS: &'static str = "POST";

    fn limit(&self) -> usize {
        self.limit
    }

    async fn answer(&self, request: &mut Request) -> Result<Reply, Reply> {
        let body = request.body().await?;
        let frame = parse(body.bytes, self.limit)?;
        let answer = async {
            match self.replies {
                true => self.ask(frame, body.held).await,
                false => self.give(frame, body.held).await,
            }
        };
        let answer = timeout_at(deadline(self.timeout), answer).await;
        answer.unwrap_or_else(|_| Err(Reply::late(self.timeout)))
    }

    fn has_room(&self) -> bool {
        self.waiting.has_room()
    }

    async fn room(&self) {
        self.waiting.room().await;
    }

    fn deliver(&self, frame: Frame) {
        let key = frame.cache().to_owned();
        self.waiting.deliver(&key, frame);
    }

    fn no_more_results(&self) {
        self.waiting.end();
    }
}

impl Messages {
    /// Hands a message on.
    async fn give(&self, mut frame: Frame, held: Held) -> Result<Reply, Reply> {
        frame.fill_cache();
        match self.feed.send(frame, held).await {
            true => Ok(Reply::new(StatusCode::OK, Reply::PAYLOAD, "1")),
            false => Err(Reply::stopped()),
        }
    }

    /// Hands a message on, and waits for what comes back.
    async fn ask(&self, mut frame: Frame, held: Held) -> Result<Reply, Reply> {
        frame.fill_cache();
        let own = frame.cache().to_owned();
        let mut ticket = self.waiting.add().ok_or_else(Reply::stopped)?;
        frame.set_cache(&ticket.key);
        if !self.feed.send(frame, held).await {
            return Err(Reply::stopped());
        }
        let mut answer = ticket.result().await.ok_or_else(Reply::stopped)?;
        answer.frame.set_cache(&own);
        Ok(message(answer.frame.is_failure(), Message(answer)))
    }
}

/// The message that a body is.
pub(super) fn parse(bytes: Vec<u8>, limit: usize) -> Result<Frame, Reply> {
    Frame::parse(bytes, limit).map_err(|error| Reply::bad(&error.to_string()))
}

/// The reply that a resulting message makes.
pub(super) fn message<M>(failed: bool, message: M) -> Reply
where
    M: AsRef<[u8]> + Send + 'static,
{
    let status = match failed {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::OK,
    };
    Reply::of(status, Reply::MESSAGE, message)
}

/// A message as the body of a reply.
pub(super) struct Message(pub(super) Answer);

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.0.frame.as_bytes()
    }
}
