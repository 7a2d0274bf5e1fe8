//! The results of a call.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::calls::{CallState, Event};
use super::counted::Counted;
use super::tracked::{Ender, Tracked};
use crate::core::link::client::What;
use crate::error::{Error, Result};
use crate::message::End;
use crate::time::after;

/// How often within its time-out a job looks whether anything has moved.
const LOOKS: u32 = 10;

/// The most results that a reader takes at once.
const AT_ONCE: usize = 256;

/// The results of a call, as they come. Over the palm link, a job ends by itself when all is
/// there that came of its messages, however much that is; over the pylm wire, when as many
/// results have come as it has messages, or as [`expect`](super::Request::expect) says.
///
/// It iterates over payloads and errors; [`results`](Self::results) tells with each which
/// message it came of.
///
/// Dropping it cancels what is left of the job: no more is sent, what comes later is thrown
/// away, and over the palm link what has not begun is not run.
pub struct Job {
    pub(super) function: String,
    pub(super) way: Way,
    pub(super) timeout: Option<Duration>,
    /// When the whole call is to be over, and what was allowed for it.
    pub(super) deadline: Option<(Instant, Duration)>,
    /// How many results there are in all, if that is known or was told.
    pub(super) expected: Option<usize>,
    pub(super) end_mark: bool,
    received: usize,
    /// Why no more was sent, to be told when all that was has come back.
    broken: Option<Error>,
    over: bool,
    cancelled: Arc<AtomicBool>,
}

/// How many results a reader takes at once, of a window of so many messages: they count until it
/// comes for more.
pub(super) fn taken_at_once(window: usize) -> usize {
    (window / 4).clamp(1, AT_ONCE)
}

/// How a job goes.
pub(super) enum Way {
    Counted(Counted),
    Tracked(Tracked),
}

/// What happens to a job.
pub(super) enum Step {
    Output(Piece),
    /// The mark at its end has come back.
    Mark(End),
    /// All is sent; so many results are to be expected, if nobody has said otherwise.
    Sent(Option<usize>),
    /// No more will be sent, because of this. The same of the number.
    Broken(Option<usize>, Error),
    /// There will be no more results. It may have been cut short by an error.
    Complete(Option<Error>),
    /// It cannot go on.
    Failed(Error),
}

/// One of the things that came of a message.
pub(super) struct Piece {
    pub(super) message: Option<u64>,
    pub(super) position: Vec<u64>,
    pub(super) what: What,
}

/// One result of a job, and what it came of.
#[derive(Debug)]
#[non_exhaustive]
pub struct JobResult {
    /// The index of the payload that it came of, from 0. `None` where nobody tells, which is
    /// always so over the pylm wire, and for the error that ends a job.
    pub message: Option<u64>,
    /// Where several messages were made of one on the way, the position of this one among them,
    /// from 0, for each time that this happened. Empty as a rule.
    pub position: Vec<u64>,
    /// The result, or the error in its place.
    pub payload: Result<Vec<u8>>,
}

impl Job {
    pub(super) fn new(function: String, way: Way) -> Self {
        Self {
            function,
            way,
            timeout: None,
            deadline: None,
            expected: None,
            end_mark: false,
            received: 0,
            broken: None,
            over: false,
            cancelled: Arc::default(),
        }
    }

    /// How many results have been read.
    pub fn received(&self) -> usize {
        self.received
    }

    /// The results, each with the message that it came of.
    ///
    /// ```
    /// # use palm::{Addresses, Client, Server};
    /// # let server = Server::new("s", Addresses::ephemeral())
    /// #     .function("echo", |call| Ok(call.payload().to_vec()))
    /// #     .start()?;
    /// # let client = Client::connect("s", &server.addresses().db)?;
    /// for result in client.job("s.echo", ["one", "two"])?.results() {
    ///     match result.payload {
    ///         Ok(payload) => println!("{:?} gave {payload:?}", result.message),
    ///         Err(error) => println!("{:?} failed: {error}", result.message),
    ///     }
    /// }
    /// # Ok::<(), palm::Error>(())
    /// ```
    pub fn results(&mut self) -> Results<'_> {
        Results(self)
    }

    /// Cancels what is left of the job: no more is sent, and over the palm link the server is
    /// told not to run what it has not begun. The next result is [`Error::Cancelled`], and the
    /// last.
    pub fn cancel(&self) {
        self.canceller().cancel();
    }

    /// Cancels it from another thread.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            function: self.function.clone(),
            cancelled: self.cancelled.clone(),
            way: match &self.way {
                Way::Counted(counted) => CancelWay::Counted(counted.state().clone()),
                Way::Tracked(tracked) => CancelWay::Tracked(tracked.ender()),
            },
        }
    }

    fn next_result(&mut self) -> Option<JobResult> {
        loop {
            let expected = self.expected.unwrap_or(usize::MAX);
            if self.over || self.received >= expected {
                self.end();
                return self.broken.take().map(JobResult::last);
            }
            if self.cancelled.load(Ordering::SeqCst) {
                let function = self.function.clone();
                return self.fail(Error::Cancelled { function });
            }
            match self.next_step() {
                Ok(Step::Output(piece)) => {
                    self.received += 1;
                    return Some(piece.into_result(&self.function));
                }
                Ok(Step::Mark(end)) => self.ends_with(end),
                Ok(Step::Sent(messages)) => self.expected = self.expected.or(messages),
                Ok(Step::Broken(None, error)) => self.broken = Some(error),
                Ok(Step::Broken(Some(messages), error)) if self.expected.is_none() => {
                    self.expected = Some(messages);
                    self.broken = Some(error);
                }
                Ok(Step::Complete(error)) => {
                    self.end();
                    return error.or_else(|| self.shortfall()).map(JobResult::last);
                }
                Ok(Step::Failed(error) | Step::Broken(_, error)) | Err(error) => {
                    return self.fail(error);
                }
            }
        }
    }

    fn fail(&mut self, error: Error) -> Option<JobResult> {
        self.end();
        Some(JobResult::last(error))
    }

    /// The next thing that happens.
    fn next_step(&mut self) -> Result<Step> {
        // As a rule, and quickly.
        if self.deadline.is_none()
            && let Some(step) = self.way.next_ready()
        {
            return Ok(step);
        }
        let mut seen = self.way.progress().0;
        // When anything moved last, to within a part of the time-out.
        let mut moved = Instant::now();
        loop {
            let look = self.timeout.map(|timeout| {
                let over = after(moved, timeout);
                over.min(after(Instant::now(), timeout / LOOKS))
            });
            let end = self.deadline.map(|(end, _)| end);
            let until = look.into_iter().chain(end).min();
            if let Some(step) = self.way.next(until) {
                return Ok(step);
            }
            if let Some((end, allowed)) = self.deadline
                && Instant::now() >= end
            {
                return Err(self.timed_out(allowed));
            }
            let Some(timeout) = self.timeout else {
                continue;
            };
            let (steps, due) = self.way.progress();
            let now = Instant::now();
            if steps != seen || !due {
                (seen, moved) = (steps, now);
            } else if now >= after(moved, timeout) {
                return Err(self.timed_out(timeout));
            }
        }
    }

    pub(super) fn timed_out(&self, after: Duration) -> Error {
        let of = self
            .expected
            .map(|n| format!(" of {n}"))
            .unwrap_or_default();
        let trouble = match self.way.is_connected() {
            true => "",
            false => ", and the server cannot be reached",
        };
        let (function, received) = (&self.function, self.received);
        Error::Timeout {
            what: format!("a result of {function} ({received}{of} have come{trouble})"),
            after,
        }
    }

    /// The error of a job that is complete with fewer results than were to be expected.
    fn shortfall(&self) -> Option<Error> {
        let expected = self.expected.filter(|_| !self.end_mark)?;
        let cause = match self.received {
            0 => "it gave no result".to_owned(),
            received => format!("it gave {received} of the {expected} results expected"),
        };
        (self.received < expected).then(|| Error::Refused {
            function: self.function.clone(),
            cause,
        })
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
            self.way.end();
        }
    }
}

impl Way {
    /// What needs not be waited for, if that is known.
    fn next_ready(&mut self) -> Option<Step> {
        match self {
            Self::Counted(counted) => counted.next_ready(),
            Self::Tracked(tracked) => tracked.next_ready(),
        }
    }

    fn next(&mut self, until: Option<Instant>) -> Option<Step> {
        match self {
            Self::Counted(counted) => counted.next(until),
            Self::Tracked(tracked) => tracked.next(until),
        }
    }

    fn progress(&self) -> (u64, bool) {
        match self {
            Self::Counted(counted) => counted.progress(),
            Self::Tracked(tracked) => tracked.progress(),
        }
    }

    /// Whether the server is there, as far as anybody knows.
    fn is_connected(&self) -> bool {
        match self {
            Self::Counted(_) => true,
            Self::Tracked(tracked) => tracked.is_connected(),
        }
    }

    fn end(&mut self) {
        match self {
            Self::Counted(counted) => counted.end(),
            Self::Tracked(tracked) => tracked.end(),
        }
    }
}

impl Piece {
    fn into_result(self, function: &str) -> JobResult {
        let payload = match self.what {
            What::Failure(failure) => Err(failure.into_error(function)),
            What::Frame(frame, at) => match frame.failure() {
                Some(failure) => Err(failure.into_error(function)),
                None => Ok(frame.payload_at(at).to_vec()),
            },
        };
        JobResult {
            message: self.message,
            position: self.position,
            payload,
        }
    }
}

impl JobResult {
    /// The error that ends a job.
    fn last(error: Error) -> Self {
        Self {
            message: None,
            position: Vec::new(),
            payload: Err(error),
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
        self.next_result().map(|result| result.payload)
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

/// The results of a [`Job`], each with the message that it came of. Made by [`Job::results`].
#[derive(Debug)]
pub struct Results<'a>(&'a mut Job);

impl Iterator for Results<'_> {
    type Item = JobResult;

    fn next(&mut self) -> Option<JobResult> {
        self.0.next_result()
    }
}

impl FusedIterator for Results<'_> {}

/// Cancels a [`Job`] from any thread. Made by [`Job::canceller`].
#[derive(Clone)]
pub struct Canceller {
    function: String,
    cancelled: Arc<AtomicBool>,
    way: CancelWay,
}

#[derive(Clone)]
enum CancelWay {
    Counted(Arc<CallState>),
    Tracked(Ender),
}

impl Canceller {
    /// Cancels the job, as [`Job::cancel`] does. One that is over stays as it is.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        match &self.way {
            CancelWay::Counted(state) => {
                state.close();
                let function = self.function.clone();
                state.tell(Event::Failed(Error::Cancelled { function }));
            }
            CancelWay::Tracked(ender) => ender.end(),
        }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("function", &self.function)
            .finish_non_exhaustive()
    }
}
