//! Which call a result belongs to.
//!
//! All calls of a client share one subscription, to its id. Each sends its messages under an id
//! of its own that begins with the client's, `ID/NUMBER`: that is the topic under which its
//! results are published, and ZeroMQ delivers every topic that begins with what was subscribed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use crate::bell::Bell;
use crate::core::window::Window;
use crate::error::{Error, shown};
use crate::message::{Frame, number_under};

/// What a call hears while it waits.
pub(super) enum Event {
    /// A result.
    Result(Frame),
    /// All its messages are sent; there were so many.
    Sent(usize),
    /// It cannot go on.
    Failed(Error),
    /// There will be no more messages than so many, because of this.
    Broken(usize, Error),
}

/// The results of all calls of a client that wait to be read.
struct Unread {
    bytes: AtomicUsize,
    /// Of the thread that receives: rung when there may be room again.
    bell: Arc<Bell>,
}

impl Unread {
    fn less(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.bell.ring();
    }
}

/// How many bytes of results may wait to be read, over all calls of a client, before no more are
/// received. (A job with a window of its own stays below; one that expects any number of results
/// may not.)
const MOST_UNREAD: usize = 64 << 20;

/// The side of a call that sends: its window, and the way to tell the reader.
pub(super) struct CallState {
    events: Sender<Event>,
    unread: Arc<Unread>,
    window: Mutex<Progress>,
    moved: Condvar,
}

struct Progress {
    window: Window,
    /// How often anything was sent or received.
    steps: u64,
    /// Whether the next payload is being waited for.
    awaits_input: bool,
    closed: bool,
}

impl CallState {
    /// Waits until a message of this size may be sent, and counts it. False when the call is
    /// over before.
    pub(super) fn acquire(&self, size: usize) -> bool {
        let mut progress = self.window.lock();
        progress.awaits_input = false;
        while !progress.closed && !progress.window.may_send(size) {
            self.moved.wait(&mut progress);
        }
        if !progress.closed {
            progress.window.sent(size);
            progress.steps += 1;
        }
        !progress.closed
    }

    /// The next payload is being waited for: so that long, nothing is late.
    pub(super) fn awaits_input(&self) {
        self.window.lock().awaits_input = true;
    }

    /// There is no next payload.
    pub(super) fn fed(&self) {
        self.window.lock().awaits_input = false;
    }

    /// The reader has taken a result.
    pub(super) fn read(&self, size: usize) {
        self.window.lock().window.read(size);
        self.moved.notify_one();
        self.unread.less(size);
    }

    /// How often anything was sent or received, and whether results are due.
    pub(super) fn progress(&self) -> (u64, bool) {
        let progress = self.window.lock();
        let due = progress.window.is_open(progress.awaits_input);
        (progress.steps, due)
    }

    /// The call is over: its sender stops.
    pub(super) fn close(&self) {
        let mut progress = self.window.lock();
        if !progress.closed {
            progress.closed = true;
            let bytes = progress.window.waiting_bytes();
            drop(progress);
            self.moved.notify_one();
            self.unread.less(bytes);
        }
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
            if progress.closed {
                return;
            }
            let size = frame.payload().len();
            progress.window.received(size);
            progress.steps += 1;
            self.unread.bytes.fetch_add(size, Ordering::SeqCst);
        }
        self.tell(Event::Result(frame));
    }

    /// Whether its reader has read all there is.
    fn is_hungry(&self) -> bool {
        let progress = self.window.lock();
        !progress.closed && progress.window.waiting() == 0
    }
}

/// The calls of a client that wait for results.
pub(super) struct Calls {
    client: String,
    open: Mutex<Open>,
    unread: Arc<Unread>,
}

#[derive(Default)]
struct Open {
    next: u64,
    calls: HashMap<u64, Arc<CallState>>,
    over: bool,
}

impl Calls {
    /// The calls of a client, whose results are received by the thread that `bell` wakes.
    pub(super) fn new(client: &str, bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self {
            client: client.to_owned(),
            open: Mutex::default(),
            unread: Arc::new(Unread {
                bytes: AtomicUsize::new(0),
                bell,
            }),
        })
    }

    /// Whether more results may be received: not while too much waits to be read, unless there
    /// is a call that has read all of its own. (It may be made by the reader of a job whose
    /// results are what waits.)
    pub(super) fn has_room(&self) -> bool {
        if self.unread.bytes.load(Ordering::SeqCst) < MOST_UNREAD {
            return true;
        }
        let calls: Vec<_> = self.open.lock().calls.values().cloned().collect();
        calls.iter().any(|call| call.is_hungry())
    }

    /// The id under which a call's messages go out, and the topic of its results.
    pub(super) fn topic(&self, number: u64) -> String {
        format!("{}/{number}", self.client)
    }

    /// Adds a call. `None` when the client has ended.
    pub(super) fn add(&self, window: Window) -> Option<(u64, Arc<CallState>, Receiver<Event>)> {
        // Not bounded by itself: the windows bound what may be in it.
        let (events, receiver) = crossbeam_channel::unbounded();
        let call = Arc::new(CallState {
            events,
            unread: self.unread.clone(),
            window: Mutex::new(Progress {
                window,
                steps: 0,
                awaits_input: false,
                closed: false,
            }),
            moved: Condvar::new(),
        });
        let number = self.insert(call.clone())?;
        self.unread.bell.ring();
        Some((number, call, receiver))
    }

    fn insert(&self, call: Arc<CallState>) -> Option<u64> {
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
        let number = number_under(&self.client, topic);
        let call = number.and_then(|number| self.open.lock().calls.get(&number).cloned());
        match call {
            Some(call) => call.receive(frame),
            None => {
                log::debug!(target: &self.client, "a result for '{}' came too late", shown(topic));
            }
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

    fn calls() -> Arc<Calls> {
        Calls::new("client", Bell::new().unwrap())
    }

    fn window() -> Window {
        Window::new(1, 100, true)
    }

    #[test]
    fn results_find_their_call_and_no_other() {
        let calls = calls();
        let (one, _first, first_events) = calls.add(window()).unwrap();
        let (two, _second, second_events) = calls.add(window()).unwrap();
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
        let calls = calls();
        let (_, call, events) = calls.add(window()).unwrap();
        assert!(call.acquire(1));
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| call.acquire(1));
            calls.end();
            assert!(!sender.join().unwrap());
        });
        assert!(matches!(events.try_recv(), Ok(Event::Failed(_))));
        assert!(calls.add(window()).is_none());
    }

    #[test]
    fn too_much_unread_stops_the_receiving_unless_another_call_waits() {
        let calls = calls();
        let (job, state, _events) = calls.add(window()).unwrap();
        let size = MOST_UNREAD / 4;
        let frame = Frame::new("", "", "s.f", "", &vec![0; size]);
        for _ in 0..4 {
            assert!(calls.has_room());
            calls.deliver(&calls.topic(job), frame.clone());
        }
        assert!(!calls.has_room());
        let (eval, nested, _result) = calls.add(window()).unwrap();
        assert!(calls.has_room());
        nested.close();
        calls.remove(eval);
        assert!(!calls.has_room());
        state.read(size);
        assert!(calls.has_room());
        calls.deliver(&calls.topic(job), frame.clone());
        assert!(!calls.has_room());
        state.close();
        assert!(calls.has_room());
        assert_eq!(calls.unread.bytes.load(Ordering::SeqCst), 0);
    }
}
