//! A job over the pylm wire, where nobody says which message a result belongs to: it is complete
//! when as many have come as were to be expected.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::calls::{CallState, Calls, Event};
use super::feeder::{Form, Submit};
use super::job::{Piece, Step, stopped, taken_at_once};
use super::pusher::{Handed, Pusher};
use crate::core::link::client::What;
use crate::core::window::Window;
use crate::error::{Error, Result};
use crate::message::Frame;

/// The reader's side of a job.
pub(super) struct Counted {
    state: Arc<CallState>,
    /// Taken and not read.
    events: VecDeque<Event>,
    /// The sizes of those that were read and still count.
    read: Vec<usize>,
    /// How many are taken at once: of a small window, a part.
    at_once: usize,
    number: u64,
    calls: Arc<Calls>,
    /// Whether a mark will tell how many results there are.
    end_mark: bool,
}

impl Counted {
    /// Begins a job. `None` when the client has ended.
    pub(super) fn open(calls: &Arc<Calls>, window: Window, end_mark: bool) -> Option<Self> {
        let at_once = taken_at_once(window.messages());
        let (number, state) = calls.add(window)?;
        Some(Self {
            state,
            events: VecDeque::new(),
            read: Vec::new(),
            at_once,
            number,
            calls: calls.clone(),
            end_mark,
        })
    }

    pub(super) fn topic(&self) -> String {
        self.calls.topic(self.number)
    }

    /// The side that sends.
    pub(super) fn sender(&self, pusher: &Arc<Pusher>) -> Sender {
        Sender {
            state: self.state.clone(),
            pusher: pusher.clone(),
        }
    }

    pub(super) fn state(&self) -> &Arc<CallState> {
        &self.state
    }

    /// The next thing that has happened, if it was taken already.
    pub(super) fn next_ready(&mut self) -> Option<Step> {
        Some(match self.events.pop_front()? {
            Event::Result(frame) => {
                self.read.push(frame.payload().len());
                match frame.end() {
                    Some(end) => Step::Mark(end),
                    None => Step::Output(Piece {
                        message: None,
                        position: Vec::new(),
                        what: What::Frame(frame, 0),
                    }),
                }
            }
            Event::Sent(messages) => Step::Sent((!self.end_mark).then_some(messages)),
            Event::Broken(_, error) if self.end_mark => Step::Broken(None, error),
            Event::Broken(messages, error) => Step::Broken(Some(messages), error),
            Event::Failed(error) => Step::Failed(error),
        })
    }

    /// The next thing that happens until then.
    pub(super) fn next(&mut self, until: Option<Instant>) -> Option<Step> {
        if self.events.is_empty() {
            let Self {
                read,
                events,
                at_once,
                ..
            } = self;
            self.state.take(read, *at_once, until, events);
        }
        self.next_ready()
    }

    pub(super) fn progress(&self) -> (u64, bool) {
        self.state.progress()
    }

    pub(super) fn end(&self) {
        self.state.close();
        self.calls.remove(self.number);
    }
}

/// Sends the messages of a job.
pub(super) struct Sender {
    state: Arc<CallState>,
    pusher: Arc<Pusher>,
}

impl Sender {
    /// Sends the one message of a call, by `deadline` if there is one.
    pub(super) fn send_one(&self, frame: Frame, size: usize, deadline: Option<Instant>) -> Handed {
        self.state.acquire(size);
        self.send(frame, deadline)
    }

    fn send(&self, mut frame: Frame, deadline: Option<Instant>) -> Handed {
        self.pusher
            .send(&mut frame, deadline, || self.state.is_closed())
    }
}

impl Submit for Sender {
    fn awaits_input(&self) {
        self.state.awaits_input();
    }

    fn submit(&mut self, form: &Form, payload: &[u8]) -> Result<()> {
        let (frame, size) = (form.frame(payload)?, payload.len());
        let room = self.state.acquire(size);
        if !room || self.send(frame, None) != Handed::Over {
            // Not an end like that of the payloads: a job that is cut short must not look whole.
            return Err(stopped());
        }
        Ok(())
    }

    fn knows_its_end(&self) -> bool {
        false
    }

    fn submit_mark(&mut self, frame: Frame) {
        // When it cannot be sent, the client has ended.
        self.send(frame, None);
    }

    fn fed(&self, messages: usize, ended: Result<()>) {
        self.state.fed();
        self.state.tell(match ended {
            Ok(()) => Event::Sent(messages),
            Err(error @ Error::Stopped { .. }) => Event::Failed(error),
            Err(error) => Event::Broken(messages, error),
        });
    }
}
