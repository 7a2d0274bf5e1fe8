//! Calls: one message and its result, or a stream of them.

use std::fmt;
use std::time::{Duration, Instant};

use super::counted::Counted;
use super::feeder::{Form, Submit, feed};
use super::job::{Job, Way, stopped};
use super::pusher::Handed;
use super::tracked::Tracked;
use super::{Client, Connected};
use crate::core::link::client::JobSettings;
use crate::core::window::Window;
use crate::error::{Error, Result};
use crate::message::{Frame, Path, Steps};
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
    deadline: Option<Duration>,
    ordered: bool,
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
            deadline: None,
            ordered: false,
            window: 16_384,
            window_bytes: 32 << 20,
        }
    }

    /// How many results to expect in all: with so many the job ends, and what is left of it is
    /// cancelled.
    ///
    /// Over the palm link a job ends by itself, and needs no number; if there are fewer results
    /// than were expected, the last item is an [`Error::Refused`] that says so. Over the pylm
    /// wire one result is expected for each message unless this says otherwise. There it is to
    /// be told when the server scatters, gathers, filters, or its functions give several results
    /// or none: nobody else knows.
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
    /// Over the palm link a job ends by itself, and needs no mark; it is sent along all the same,
    /// for a reducer somewhere on the way.
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

    /// How many messages a job may have open, that is, without all of their results being read:
    /// 16,384 by default. The server may let it have fewer.
    ///
    /// Over the pylm wire 450 at the most where a pylm peer publishes the results, which drops
    /// what a reader leaves behind; and with [`expect`](Self::expect), how many results may wait
    /// to be read before no more messages are sent.
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

    /// How long the whole call may take, whether or not anything moves. No end by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Gives the results of a job in the order of its messages, and those of one message in that
    /// of their positions. What comes too early waits, within the window.
    ///
    /// Over the pylm wire nobody says which message a result belongs to: there they are given as
    /// they come.
    pub fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }

    /// Sends one payload and waits for its first result. For more than one, use
    /// [`job`](Self::job).
    ///
    /// # Errors
    /// [`Error::Path`] for a malformed function, [`Error::WrongServer`] when it is not of the
    /// client's server, [`Error::TooLarge`] for the payload; [`Error::Function`],
    /// [`Error::UnknownFunction`], [`Error::GivenUp`], [`Error::Undelivered`] or
    /// [`Error::Refused`] as the server says, the last also when the call is done and gave no
    /// result; [`Error::Timeout`]; [`Error::Stopped`] when the client has ended.
    pub fn eval(mut self, payload: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        if self.end_mark {
            return self.eval_with_end(payload.as_ref().to_vec());
        }
        self.check()?;
        self.expect = Some(1);
        let mut job = self.open()?;
        let payload = payload.as_ref();
        let frame = self.form(&job).frame(payload)?;
        match (&self.client.connected, &job.way) {
            (Connected::Pylm { pusher, .. }, Way::Counted(counted)) => {
                let timeout = self.timeout.into_iter().chain(self.deadline).min();
                let until = timeout.map(|timeout| after(Instant::now(), timeout));
                let sender = counted.sender(pusher);
                match sender.send_one(frame, payload.len(), until) {
                    Handed::Over => {}
                    Handed::Late => return Err(job.timed_out(timeout.unwrap_or_default())),
                    Handed::Closed => return Err(stopped()),
                }
            }
            (_, Way::Tracked(tracked)) => tracked.submitter().submit_one(frame),
            _ => {}
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
    /// [`Error::Timeout`], [`Error::Stopped`], [`Error::Cancelled`] or [`Error::TooLarge`] is
    /// the last item.
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
        let form = self.form(&job);
        let payloads = payloads.into_iter();
        match (&self.client.connected, &job.way) {
            (Connected::Pylm { pusher, .. }, Way::Counted(counted)) => {
                self.spawn(form, counted.sender(pusher), payloads)?;
            }
            (_, Way::Tracked(tracked)) => self.spawn(form, tracked.submitter(), payloads)?,
            _ => {}
        }
        Ok(job)
    }

    fn spawn<I>(&self, form: Form, mut to: impl Submit + Send + 'static, payloads: I) -> Result<()>
    where
        I: Iterator + Send + 'static,
        I::Item: AsRef<[u8]>,
    {
        let end_mark = self.end_mark;
        std::thread::Builder::new()
            .name("palm:job".to_owned())
            .spawn(move || feed(&form, &mut to, end_mark, payloads))
            .map_err(Error::system("a thread cannot be started"))?;
        Ok(())
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
        let is_counted = self.expect.is_none() && !self.end_mark;
        let way = match &self.client.connected {
            Connected::Pylm {
                calls, most_open, ..
            } => {
                let messages = self.window.min(*most_open);
                let window = Window::new(messages, self.window_bytes, is_counted);
                Counted::open(calls, window, self.end_mark).map(Way::Counted)
            }
            Connected::Link(link) => {
                let settings = JobSettings {
                    ordered: self.ordered,
                    one_each: is_counted,
                    messages: self.window.max(1),
                    bytes: self.window_bytes.max(1),
                };
                Tracked::open(link, settings, &self.function).map(Way::Tracked)
            }
        };
        let mut job = Job::new(self.function.clone(), way.ok_or_else(stopped)?);
        job.timeout = self.timeout;
        job.deadline = self
            .deadline
            .map(|allowed| (after(Instant::now(), allowed), allowed));
        job.expected = self.expect;
        job.end_mark = self.end_mark;
        Ok(job)
    }

    fn form(&self, job: &Job) -> Form {
        let topic = match &job.way {
            Way::Counted(counted) => counted.topic(),
            Way::Tracked(tracked) => tracked.topic(),
        };
        let empty = Frame::new(&self.client.pipeline, &topic, &self.function, "", b"");
        Form::new(empty, &self.cache, self.client.max_message)
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
