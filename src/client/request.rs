//! Calls: one message and its result, or a stream of them.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Client;
use super::calls::{CallState, Calls, Event};
use super::feeder::{Feeder, Handed};
use crate::core::window::Window;
use crate::error::{Error, Result};
use crate::message::{End, Path, Steps};
use crate::time::after;

/// A call with its settings. Made by [`Client::request`].
#[derive(Clone)]
pub struct Request<'a> {
    client: &'a Client,
    function: String,
    expect: Option<usize>,
    end_mark: bool,
    cache: String,
    timeout: Option<Duration>,
    window: usize,
    window_bytes: usize,
}

impl<'a> Request<'a> {
    /// How long a call waits for a result unless told otherwise: 5 minutes.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

    pub(super) fn new(client: &'a Client, function: Steps) -> Self {
        Self {
            client,
            function: function.into_text(),
            expect: None,
            end_mark: false,
            cache: String::new(),
            timeout: Some(Self::DEFAULT_TIMEOUT),
            window: 8_192,
            window_bytes: 32 << 20,
        }
    }

    /// How many results to expect in all: by default one for each message. To be told when the
    /// server scatters, gathers, filters, or its functions give several results or none: on the
    /// pylm wire nobody else knows.
    pub fn expect(mut self, results: usize) -> Self {
        self.expect = Some(results);
        self
    }

    /// Has a job tell its end, and end when the cluster does. After the last payload one more
    /// message is sent, which is no work but a mark, and says how many there were. A
    /// [`Reducer`](crate::Reducer) closes the groups of the job by it, and answers with a mark
    /// that says how many results there are: with so many the job ends, without being told a
    /// number by [`expect`](Self::expect).
    ///
    /// This is for chains in which the steps before a reducer, and behind it, make one message
    /// of each, and have no branches. Palm components pass the mark on as it is; a function at a
    /// pylm peer gets it as a message with an empty payload, and its result is ignored.
    pub fn end_mark(mut self) -> Self {
        self.end_mark = true;
        self
    }

    /// What the messages carry in their `cache` field; by default nothing, which the server
    /// replaces by an id.
    pub fn cache(mut self, key: impl Into<String>) -> Self {
        self.cache = key.into();
        self
    }

    /// How long to wait while nothing moves: no message is sent and no result comes although
    /// some are due. 5 minutes by default; `None` for no end.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// How many messages a job may have sent without their results being read: 8,192 by
    /// default, and 450 at the most where a pylm peer publishes the results, which drops what a
    /// reader leaves behind. With [`expect`](Self::expect): how many results may wait to be read before no
    /// more messages are sent.
    pub fn window(mut self, messages: usize) -> Self {
        self.window = messages;
        self
    }

    /// How many bytes of payloads, and of results, a job may have open likewise: 32 MiB by
    /// default.
    pub fn window_bytes(mut self, bytes: usize) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// Sends one payload and waits for its result. With [`expect`](Self::expect) more than one,
    /// use [`job`](Self::job).
    ///
    /// # Errors
    /// [`Error::Path`] for a malformed function, [`Error::WrongServer`] when it is not of the
    /// client's server, [`Error::TooLarge`] for the payload; [`Error::Function`],
    /// [`Error::UnknownFunction`] or [`Error::Refused`] as the server says;
    /// [`Error::Timeout`]; [`Error::Stopped`] when the client has ended.
    pub fn eval(mut self, payload: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        if self.end_mark {
            return self.eval_with_end(payload.as_ref().to_vec());
        }
        self.check()?;
        self.expect = Some(1);
        let mut job = self.open()?;
        let payload = payload.as_ref();
        let feeder = self.feeder(&job);
        let frame = feeder.frame(payload)?;
        job.state.acquire(payload.len());
        match feeder.send(
            frame,
            self.timeout.map(|timeout| after(Instant::now(), timeout)),
        ) {
            Handed::Over => {}
            Handed::Late => return Err(job.timed_out(self.timeout.unwrap_or_default())),
            Handed::Closed => return Err(stopped()),
        }
        job.next().unwrap_or_else(|| Err(stopped()))
    }

    /// The same as a job of one message, of which the first result is taken.
    fn eval_with_end(self, payload: Vec<u8>) -> Result<Vec<u8>> {
        let function = self.function.clone();
        let cause = "its job has ended without a result".to_owned();
        let none = || Err(Error::Refused { function, cause });
        self.job([payload])?.next().unwrap_or_else(none)
    }

    /// Sends many payloads, and gives their results as they come. Returns at once: the payloads
    /// are taken and sent by a thread of the job's own, no faster than the results are read.
    /// Each result is a payload or the error of its message, after which the job goes on; an
    /// [`Error::Timeout`], [`Error::Stopped`] or [`Error::TooLarge`] is the last item.
    ///
    /// # Errors
    /// [`Error::Path`] for a malformed function, [`Error::WrongServer`] when it is not of the
    /// client's server, [`Error::Stopped`] when the client has ended.
    pub fn job<I>(self, payloads: I) -> Result<Job>
    where
        I: IntoIterator,
        I::IntoIter: Send + 'static,
        I::Item: AsRef<[u8]>,
    {
        self.check()?;
        let job = self.open()?;
        let feeder = self.feeder(&job);
        let payloads = payloads.into_iter();
        std::thread::Builder::new()
            .name("palm:job".to_owned())
            .spawn(move || feeder.run(payloads))
            .map_err(Error::system("a thread cannot be started"))?;
        Ok(job)
    }

    fn check(&self) -> Result<()> {
        let server = Path::parse(&self.function)?.step(0)?.server.to_owned();
        if server == self.client.server {
            return Ok(());
        }
        Err(Error::WrongServer {
            expected: server,
            found: self.client.server.clone(),
            address: self.client.cache.address().to_owned(),
        })
    }

    fn open(&self) -> Result<Job> {
        let messages = self.window.min(self.client.most_open);
        let counted = self.expect.is_none() && !self.end_mark;
        let window = Window::new(messages, self.window_bytes, counted);
        let calls = self.client.calls.clone();
        let Some((number, state, events)) = calls.add(window) else {
            return Err(stopped());
        };
        Ok(Job {
            function: self.function.clone(),
            state,
            events,
            timeout: self.timeout,
            expected: self.expect,
            end_mark: self.end_mark,
            received: 0,
            broken: None,
            over: false,
            number,
            calls,
        })
    }

    fn feeder(&self, job: &Job) -> Feeder {
        Feeder {
            state: job.state.clone(),
            outlet: self.client.outlet.clone(),
            pipeline: self.client.pipeline.clone(),
            topic: job.calls.topic(job.number),
            function: self.function.clone(),
            cache: self.cache.clone(),
            end_mark: self.end_mark,
            max_message: self.client.max_message,
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("function", &self.function)
            .field("expect", &self.expect)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The results of a call, as they come. Dropping it ends the job: no more is sent, and what
/// comes later is thrown away.
pub struct Job {
    function: String,
    state: Arc<CallState>,
    events: Receiver<Event>,
    timeout: Option<Duration>,
    expected: Option<usize>,
    /// Whether a mark will tell how many results there are.
    end_mark: bool,
    received: usize,
    /// Why no more was sent, to be told when all that was has come back.
    broken: Option<Error>,
    over: bool,
    number: u64,
    calls: Arc<Calls>,
}

impl Job {
    /// How many results have been read.
    pub fn received(&self) -> usize {
        self.received
    }

    fn next_event(&self) -> Result<Event> {
        let mut seen = self.state.progress().0;
        loop {
            let Some(timeout) = self.timeout else {
                return self.events.recv().map_err(|_| stopped());
            };
            match self.events.recv_timeout(timeout) {
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Disconnected) => return Err(stopped()),
                Err(RecvTimeoutError::Timeout) => {
                    let (steps, due) = self.state.progress();
                    if steps == seen && due {
                        return Err(self.timed_out(timeout));
                    }
                    seen = steps;
                }
            }
        }
    }

    fn timed_out(&self, after: Duration) -> Error {
        let of = self
            .expected
            .map(|n| format!(" of {n}"))
            .unwrap_or_default();
        Error::Timeout {
            what: format!(
                "a result of {} ({}{of} have come)",
                self.function, self.received
            ),
            after,
        }
    }

    /// The mark has come: there are so many results in all. (One that nobody asked for says
    /// nothing.)
    fn ends_with(&mut self, end: End) {
        if self.end_mark {
            let results = usize::try_from(end.messages).unwrap_or(usize::MAX);
            self.expected = Some(self.expected.map_or(results, |most| most.min(results)));
        }
    }

    fn end(&mut self) {
        if !self.over {
            self.over = true;
            self.state.close();
            self.calls.remove(self.number);
        }
    }
}

pub(super) fn stopped() -> Error {
    Error::Stopped {
        component: "the client".to_owned(),
    }
}

impl Iterator for Job {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let expected = self.expected.unwrap_or(usize::MAX);
            if self.over || self.received >= expected {
                self.end();
                return self.broken.take().map(Err);
            }
            match self.next_event() {
                Ok(Event::Result(frame)) => {
                    self.state.read(frame.payload().len());
                    if let Some(end) = frame.end() {
                        self.ends_with(end);
                        continue;
                    }
                    self.received += 1;
                    return Some(match frame.failure() {
                        Some(failure) => Err(failure.into_error(&self.function)),
                        None => Ok(frame.payload().to_vec()),
                    });
                }
                Ok(Event::Sent(_)) if self.end_mark => {}
                Ok(Event::Sent(messages)) => {
                    self.expected.get_or_insert(messages);
                }
                Ok(Event::Broken(_, error)) if self.end_mark => self.broken = Some(error),
                Ok(Event::Broken(messages, error)) if self.expected.is_none() => {
                    self.expected = Some(messages);
                    self.broken = Some(error);
                }
                Ok(Event::Failed(error) | Event::Broken(_, error)) | Err(error) => {
                    self.end();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl FusedIterator for Job {}

impl Drop for Job {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("function", &self.function)
            .field("received", &self.received)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
