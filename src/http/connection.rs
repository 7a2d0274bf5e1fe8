//! Messages that are POSTed to those who run their functions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;
use ureq::http::{StatusCode, Uri};

use crate::core::complaints::Complaints;
use crate::error::{Error, Result, shown};
use crate::message::{DEFAULT_MAX_MESSAGE, ENVELOPE, Failure, FailureKind, Frame};
use crate::part::{
    Context, Crew, Inlet, Measure, Outbound, Outlet, Part, Running, Wiring, Work, spawn_work,
    start_alone,
};

/// How long a reply may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A time-out that is none.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long to wait before the first new attempt; before each later one it is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// POSTs messages to a URL, several at once, and gives back the replies: to an
/// [`HttpWorker`](super::HttpWorker), to an [`HttpService`](super::HttpService) that replies, or
/// to pylm's web worker.
///
/// The body of a request is the message, that of the reply the message with the result. What
/// is answered by 204 gives nothing, nor does `1`, which is what a service says, pylm's or palm's,
/// that has taken a message and has no reply to it. Anything else is a failure, with the URL and the status for
/// a cause, or with the one that the reply tells: a client gets it as the error of its call.
/// (pylm's `HttpConnection` gives back the message unchanged instead, as if that were the
/// result.) What has failed before is given back as it is, without a request.
///
/// # Retries
/// A message is sent again, after a pause, when there was no connection, when the connection
/// ended before the reply, and after 502 and 503; not after 500, which is the function's error,
/// nor after a [`timeout`](Self::timeout). So a function may run twice for a message: once at a
/// server that died before it could say so, and again. Without [`retries`](Self::retries) it
/// never does.
///
/// # Order and end
/// One thread for each that is sent at once; with more than one, the order is not kept. A stop
/// waits for the replies that are due, as it waits for a function that runs, and begins no other
/// request.
///
/// Only `http://`: there is no TLS, and no proxy is asked.
#[derive(Clone, Debug)]
pub struct HttpConnection {
    url: String,
    parallel: usize,
    retries: u32,
    timeout: Duration,
    max_message: usize,
}

impl HttpConnection {
    /// A connection to this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            parallel: 4,
            retries: 2,
            timeout: TIMEOUT,
            max_message: DEFAULT_MAX_MESSAGE,
        }
    }

    /// How many messages to send at once: 4 by default. 1 keeps their order.
    pub fn parallel(mut self, messages: usize) -> Self {
        self.parallel = messages;
        self
    }

    /// How often to send a message again: 2 by default.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How long a reply may take, from the attempt to connect to its last byte: 30 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest payload of a reply, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Starts it, as a part named `HttpConnection`.
    ///
    /// # Errors
    /// When the URL is malformed.
    pub fn start(self, inlet: Inlet, outlet: Outlet) -> Result<Running> {
        start_alone("HttpConnection", self, Some(outlet), Some(inlet))
    }
}

impl Part for HttpConnection {
    const GIVES: bool = true;
    const TAKES: bool = true;
    const ANSWERS: bool = true;

    fn check(&self) -> Result<()> {
        let wrong = |reason: &str| {
            Err(Error::Address {
                address: self.url.clone(),
                reason: reason.to_owned(),
            })
        };
        if self.parallel == 0 {
            return Err(Error::Setup {
                component: "HTTP connection".to_owned(),
                reason: "it sends at least one message at once".to_owned(),
            });
        }
        match self.url.parse::<Uri>() {
            Err(error) => wrong(&error.to_string()),
            Ok(url) if url.scheme_str() != Some("http") => wrong("only http:// is spoken here"),
            Ok(url) if url.host().is_none_or(str::is_empty) => wrong("the host is missing"),
            Ok(_) => Ok(()),
        }
    }

    fn measure(&self) -> Measure {
        Measure::of_workers(self.parallel)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let Some(inlet) = wiring.inlet else {
            return Ok(());
        };
        let timeout = Some(self.timeout).filter(|timeout| *timeout < NEVER);
        let agent = ureq::Agent::config_builder()
            .timeout_global(timeout)
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(self.parallel)
            .max_idle_connections_per_host(self.parallel)
            .user_agent(concat!("palm/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let parallel = self.parallel;
        let posting = Arc::new(Posting {
            agent,
            config: self,
            complaints: Mutex::default(),
        });
        spawn_work(crew, &wiring.name, parallel, posting, inlet, wiring.outlet);
        Ok(())
    }
}

impl Outbound for HttpConnection {}

struct Posting {
    agent: ureq::Agent,
    config: HttpConnection,
    complaints: Mutex<Complaints>,
}

/// Why an attempt gave no reply, and whether another may.
struct Refusal {
    cause: String,
    retry: bool,
}

impl Work for Posting {
    fn run(&self, context: &Context, frame: &Frame, emit: &mut dyn FnMut(Frame)) {
        if frame.is_failure() {
            return emit(frame.clone());
        }
        let mut attempt = 0;
        loop {
            match self.post(frame) {
                Ok(None) => return,
                Ok(Some(reply)) => return emit(reply),
                Err(refusal) => {
                    let retry = refusal.retry && attempt < self.config.retries;
                    if !retry || !pause(context, attempt) {
                        self.complain(context, &refusal.cause);
                        let failure = Failure::new(FailureKind::Function, refusal.cause);
                        return emit(frame.with_failure(&failure));
                    }
                }
            }
            attempt += 1;
        }
    }
}

impl Posting {
    /// Logs why there is no result, unless there was such a line just now.
    fn complain(&self, context: &Context, cause: &str) {
        let noted = self.complaints.lock().note(cause, Instant::now());
        if let Some(more) = noted {
            log::warn!(target: &context.component, "{}: {cause}{more}", context.part);
        }
    }

    /// One attempt.
    fn post(&self, frame: &Frame) -> Result<Option<Frame>, Refusal> {
        let url = &self.config.url;
        let request = self
            .agent
            .post(url)
            .header("Content-Type", super::request::Reply::MESSAGE);
        let mut response = request
            .send(frame.as_bytes())
            .map_err(|error| self.no_reply(&error))?;
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let limit = self.config.max_message.saturating_add(ENVELOPE);
        let body = response.body_mut().with_config().limit(limit as u64);
        let body = body.read_to_vec().map_err(|error| self.no_reply(&error))?;
        self.reply(status, body, limit)
    }

    fn reply(
        &self,
        status: StatusCode,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<Option<Frame>, Refusal> {
        let url = &self.config.url;
        if status == StatusCode::OK && body == b"1" {
            return Ok(None);
        }
        let is_empty = body.is_empty();
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let message = Frame::parse(body, limit);
        let refused = |what: &str, retry| {
            let cause = format!("POST {url}: {what}");
            Err(Refusal { cause, retry })
        };
        match (status, message) {
            (StatusCode::OK, Ok(message)) if !is_empty => Ok(Some(message)),
            (StatusCode::OK, _) => refused("the reply is no message", false),
            // What an HttpWorker says of a function that failed.
            (_, Ok(message)) if message.is_failure() => Ok(Some(message)),
            _ => {
                let busy = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE];
                let what = match text.trim() {
                    "" => status.to_string(),
                    text => format!("{status}: {}", shown(text)),
                };
                refused(&what, busy.contains(&status))
            }
        }
    }

    /// What an error of the client means.
    fn no_reply(&self, error: &ureq::Error) -> Refusal {
        let retry = !matches!(
            error,
            ureq::Error::Timeout(_) | ureq::Error::BodyExceedsLimit(_)
        );
        Refusal {
            cause: format!("POST {}: {error}", self.config.url),
            retry,
        }
    }
}

/// Waits before the next attempt. False when there shall be none.
fn pause(context: &Context, attempt: u32) -> bool {
    let pause = PAUSE.saturating_mul(1 << attempt.min(10));
    let raised = context.soft.raised().recv_timeout(pause.min(LONGEST_PAUSE));
    matches!(raised, Err(RecvTimeoutError::Timeout))
}
