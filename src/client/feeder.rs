//! Sends the messages of a call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::calls::{CallState, Event};
use super::request::stopped;
use crate::error::{Error, Result};
use crate::handler::panic_text;
use crate::message::{End, Frame};
use crate::part::{Batch, NotSent, Outlet};

/// How often a sender that waits for room looks whether its call is over.
const LOOK: Duration = Duration::from_millis(100);

/// Sends the messages of one call.
pub(super) struct Feeder {
    pub(super) state: Arc<CallState>,
    pub(super) outlet: Outlet,
    pub(super) pipeline: String,
    pub(super) topic: String,
    pub(super) function: String,
    pub(super) cache: String,
    pub(super) end_mark: bool,
    pub(super) max_message: usize,
}

impl Feeder {
    pub(super) fn run<P: AsRef<[u8]>>(self, payloads: impl Iterator<Item = P>) {
        let mut sent = 0;
        let fed = catch_unwind(AssertUnwindSafe(|| self.feed(payloads, &mut sent)));
        self.state.fed();
        // Told before the mark is sent: so it is known when the answer comes.
        self.state.tell(match fed {
            Ok(Ok(())) => Event::Sent(sent),
            Ok(Err(error @ Error::Stopped { .. })) => Event::Failed(error),
            Ok(Err(error)) => Event::Broken(sent, error),
            Err(panic) => {
                let function = "the iterator of payloads".to_owned();
                let cause = format!("it panicked: {}", panic_text(&*panic));
                Event::Broken(sent, Error::Function { function, cause })
            }
        });
        if self.end_mark {
            self.send_end(sent);
        }
    }

    fn feed<P: AsRef<[u8]>>(
        &self,
        mut payloads: impl Iterator<Item = P>,
        sent: &mut usize,
    ) -> Result<()> {
        loop {
            self.state.awaits_input();
            let Some(payload) = payloads.next() else {
                return Ok(());
            };
            let payload = payload.as_ref();
            let frame = self.frame(payload)?;
            let room = self.state.acquire(payload.len());
            if !room || self.send(frame, None) != Handed::Over {
                // Not an end like that of the payloads: a job that is cut short must not look whole.
                return Err(stopped());
            }
            *sent += 1;
        }
    }

    /// Sends the mark at the end, also of a job that was cut short: so the cluster lets go of
    /// it. When even that cannot be sent, the client has ended.
    fn send_end(&self, messages: usize) {
        let of_job = Frame::new(&self.pipeline, &self.topic, &self.function, "", b"");
        let mark = of_job.with_end(End {
            messages: messages as u64,
        });
        self.send(mark, None);
    }

    pub(super) fn frame(&self, payload: &[u8]) -> Result<Frame> {
        if payload.len() > self.max_message {
            return Err(Error::TooLarge {
                size: payload.len(),
                limit: self.max_message,
            });
        }
        Ok(Frame::new(
            &self.pipeline,
            &self.topic,
            &self.function,
            &self.cache,
            payload,
        ))
    }

    /// Hands a message to the socket's thread, by `deadline` if there is one.
    pub(super) fn send(&self, frame: Frame, deadline: Option<Instant>) -> Handed {
        let mut batch: Batch = [frame].into_iter().collect();
        loop {
            let look = Instant::now() + LOOK;
            let until = deadline.map_or(look, |deadline| deadline.min(look));
            match self.outlet.send_deadline(batch, until) {
                Ok(()) => return Handed::Over,
                Err(NotSent::Closed(_)) => return Handed::Closed,
                Err(NotSent::Full(_)) if self.state.is_closed() => return Handed::Closed,
                Err(NotSent::Full(_)) if deadline.is_some_and(|at| at <= until) => {
                    return Handed::Late;
                }
                Err(NotSent::Full(back)) => batch = back,
            }
        }
    }
}

/// What came of handing a message to the socket's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    Over,
    /// There was no room in time.
    Late,
    /// The call or the client is over.
    Closed,
}
