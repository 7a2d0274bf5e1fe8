//! Which call a result belongs to.
//!
//! All calls of a client share one subscription, to its id. Each sends its messages under an id
//! of its own that begins with the client's, `ID/NUMBER`: that is the topic under which its
//! results are published, and ZeroMQ delivers every topic that begins with what was subscribed.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use crate::core::window::Window;
use crate::error::Error;
use crate::message::Frame;

/// What a call hears while it waits.
pub(super) enum Event {
    /// A result.
    Result(Frame),
    /// All its messages are sent; there were so many.
    Sent(usize),
    /// It cannot go on.
    Failed(Error),
}

/// The side of a call that sends: its window, and the way to tell the reader.
pub(super) struct CallState {
    events: Sender<Event>,
    window: Mutex<Progress>,
    moved: Condvar,
}

struct Progress {
    window: Window,
    /// How often anything was sent or received.
    steps: u64,
    closed: bool,
}

impl CallState {
    pub(super) fn new(window: Window) -> (Arc<Self>, Receiver<Event>) {
        // Not bounded by itself: the window bounds what may be in it.
        let (events, receiver) = crossbeam_channel::unbounded();
        let state = Self {
            events,
            window: Mutex::new(Progress {
                window,
                steps: 0,
                closed: false,
            }),
            moved: Condvar::new(),
        };
        (Arc::new(state), receiver)
    }

    /// Waits until a message of this size may be sent, and counts it. False when the call is
    /// over before.
    pub(super) fn acquire(&self, size: usize) -> bool {
        let mut progress = self.window.lock();
        while !progress.closed && !progress.window.may_send(size) {
            self.moved.wait(&mut progress);
        }
        if !progress.closed {
            progress.window.sent(size);
            progress.steps += 1;
        }
        !progress.closed
    }

    /// The reader has taken a result.
    pub(super) fn read(&self, size: usize) {
        self.window.lock().window.read(size);
        self.moved.notify_one();
    }

    /// How often anything was sent or received, and whether results are due.
    pub(super) fn progress(&self) -> (u64, bool) {
        let progress = self.window.lock();
        (progress.steps, progress.window.is_open())
    }

    /// The call is over: its sender stops.
    pub(super) fn close(&self) {
        self.window.lock().closed = true;
        self.moved.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.window.lock().closed
    }

    pub(super) fn tell(&self, event: Event) {
        // A reader that is gone needs to hear nothing.
        let _ = self.events.send(event);
    }

    fn receive(&self, frame: Frame) {
        {
            let mut progress = self.window.lock();
            progress.window.received(frame.payload().len());
            progress.steps += 1;
        }
        self.tell(Event::Result(frame));
    }
}

/// The calls of a client that wait for results.
pub(super) struct Calls {
    client: String,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    calls: HashMap<u64, Arc<CallState>>,
    over: bool,
}

impl Calls {
    pub(super) fn new(client: &str) -> Arc<Self> {
        Arc::new(Self {
            client: client.to_owned(),
            open: Mutex::default(),
        })
    }

    /// The id under which a call's messages go out, and the topic of its results.
    pub(super) fn topic(&self, number: u64) -> String {
        format!("{}/{number}", self.client)
    }

    /// Adds a call. `None` when the client has ended.
    pub(super) fn add(&self, call: Arc<CallState>) -> Option<u64> {
        let mut open = self.open.lock();
        if open.over {
            return None;
        }
        open.next += 1;
        let number = open.next;
        open.calls.insert(number, call);
        Some(number)
    }

    pub(super) fn remove(&self, number: u64) {
        self.open.lock().calls.remove(&number);
    }

    /// Gives a result to its call. One that comes for a call that is over is late, and dropped.
    pub(super) fn deliver(&self, topic: &str, frame: Frame) {
        let number = topic
            .strip_prefix(self.client.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|number| number.parse().ok());
        let call = number.and_then(|number: u64| self.open.lock().calls.get(&number).cloned());
        match call {
            Some(call) => call.receive(frame),
            None => log::debug!(target: &self.client, "a result for '{topic}' came too late"),
        }
    }

    /// No call will get anything any more.
    pub(super) fn end(&self) {
        let calls = {
            let mut open = self.open.lock();
            open.over = true;
            std::mem::take(&mut open.calls)
        };
        for call in calls.into_values() {
            call.close();
            call.tell(Event::Failed(Error::Stopped {
                component: format!("client {}", self.client),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_find_their_call_and_no_other() {
        let calls = Calls::new("client");
        let (first, first_events) = CallState::new(Window::new(10, 100, true));
        let (second, second_events) = CallState::new(Window::new(10, 100, true));
        let (one, two) = (calls.add(first).unwrap(), calls.add(second).unwrap());
        let frame = Frame::new("", "", "s.f", "", b"x");
        for topic in [
            calls.topic(one),
            "client/77".into(),
            "client/".into(),
            "client".into(),
            "other/1".into(),
            "client/1x".into(),
        ] {
            calls.deliver(&topic, frame.clone());
        }
        assert_eq!(first_events.len(), 1);
        assert_eq!(second_events.len(), 0);
        calls.remove(two);
        calls.deliver(&calls.topic(two), frame);
        assert_eq!(second_events.len(), 0);
    }

    #[test]
    fn the_end_of_the_client_ends_every_call() {
        let calls = Calls::new("client");
        let (call, events) = CallState::new(Window::new(1, 100, true));
        calls.add(call.clone()).unwrap();
        assert!(call.acquire(1));
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| call.acquire(1));
            calls.end();
            assert!(!sender.join().unwrap());
        });
        assert!(matches!(events.try_recv(), Ok(Event::Failed(_))));
        assert!(calls.add(call).is_none());
    }
}
