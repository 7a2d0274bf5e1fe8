//! Which call a result belongs to.
//!
//! All calls of a client share one subscription, to its id. Each sends its messages under an id
//! of its own that begins with the client's, `ID/NUMBER`: that is the topic under which its
//! results are published, and ZeroMQ delivers every topic that begins with what was subscribed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::core::window::Window;
use crate::error::{Error, shown};
use crate::message::{Frame, number_under};
use crate::part::{Hearing, Reader};

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

/// What all calls of a client have in common.
struct Common {
    /// How many there are.
    calls: AtomicUsize,
    /// Of their results, those that wait to be read.
    unread_bytes: AtomicUsize,
    /// By which threads those come.
    hearing: Arc<Hearing<Delivery>>,
}

impl Common {
    /// Some results have been read.
    fn less(&self, bytes: usize) {
        let before = self.unread_bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.ring_if_full(before);
    }

    /// Whether there is one call only, which may hear for itself: where others wait, too, whoever
    /// listened would have to leave it to them.
    fn is_one_call(&self) -> bool {
        self.calls.load(Ordering::SeqCst) <= 1
    }

    /// Nobody waits for room unless there were so many bytes that there was none.
    fn ring_if_full(&self, bytes: usize) {
        if bytes >= MOST_UNREAD {
            self.hearing.bell().ring();
        }
    }
}

/// How many bytes of results may wait to be read, over all calls of a client, before no more are
/// received. (A job with a window of its own stays below; one that expects any number of results
/// may not.)
const MOST_UNREAD: usize = 64 << 20;

/// What the threads of a call share: that which sends, that which reads, and that which receives.
pub(super) struct CallState {
    common: Arc<Common>,
    progress: Mutex<Progress>,
    /// There is room to send.
    room: Condvar,
    /// There is something to read.
    news: Condvar,
}

struct Progress {
    window: Window,
    /// What its reader has not taken.
    events: VecDeque<Event>,
    /// How often anything was sent or received.
    steps: u64,
    /// Whether the next payload is being waited for.
    awaits_input: bool,
    /// The size of a message that waits for room.
    blocked: Option<usize>,
    closed: bool,
}

impl CallState {
    fn new(window: Window, common: Arc<Common>) -> Arc<Self> {
        Arc::new(Self {
            common,
            progress: Mutex::new(Progress {
                window,
                events: VecDeque::new(),
                steps: 0,
                awaits_input: false,
                blocked: None,
                closed: false,
            }),
            room: Condvar::new(),
            news: Condvar::new(),
        })
    }

    /// Waits until a message of this size may be sent, and counts it. False when the call is
    /// over before.
    pub(super) fn acquire(&self, size: usize) -> bool {
        let mut progress = self.progress.lock();
        progress.awaits_input = false;
        while !progress.closed && !progress.window.may_send(size) {
            progress.blocked = Some(size);
            self.room.wait(&mut progress);
        }
        progress.blocked = None;
        if !progress.closed {
            progress.window.sent(size);
            progress.steps += 1;
        }
        !progress.closed
    }

    /// The next payload is being waited for: so that long, nothing is late.
    pub(super) fn awaits_input(&self) {
        self.progress.lock().awaits_input = true;
    }

    /// There is no next payload.
    pub(super) fn fed(&self) {
        self.progress.lock().awaits_input = false;
    }

    /// The reader has read results of these sizes, and takes what there is, up to so many: they
    /// count until it comes again. It waits for something until then, if that is ever, and hears
    /// itself what comes if it can.
    pub(super) fn take(
        &self,
        read: &mut Vec<usize>,
        most: usize,
        until: Option<Instant>,
        events: &mut VecDeque<Event>,
    ) {
        let mut progress = self.progress.lock();
        if !progress.closed {
            read.iter().for_each(|size| progress.window.read(*size));
            self.common.less(read.iter().sum());
        }
        read.clear();
        // Whoever sends is woken for much room; or for any, before nothing else happens.
        if progress.window.has_much_room() {
            self.tell_of_room(&progress);
        }
        let mut listens = true;
        while progress.events.is_empty() {
            if listens && self.common.is_one_call() {
                drop(progress);
                listens = self.listen(until);
                progress = self.progress.lock();
                let is_late = || until.is_some_and(|until| Instant::now() >= until);
                if listens && progress.events.is_empty() && is_late() {
                    break;
                }
                continue;
            }
            listens = true;
            self.tell_of_room(&progress);
            self.common.hearing.leave();
            match until {
                None => self.news.wait(&mut progress),
                Some(until) => {
                    if self.news.wait_until(&mut progress, until).timed_out() {
                        break;
                    }
                }
            }
        }
        let count = progress.events.len().min(most);
        events.extend(progress.events.drain(..count));
    }

    /// Wakes whoever waits for room, if there is enough.
    fn tell_of_room(&self, progress: &Progress) {
        let blocked = progress.blocked;
        if blocked.is_some_and(|size| progress.window.may_send(size)) {
            self.room.notify_one();
        }
    }

    /// Hears what comes for any call until there is something for this one. False when it is to be
    /// waited for, because another thread hears it.
    fn listen(&self, until: Option<Instant>) -> bool {
        let ready = || !self.progress.lock().events.is_empty() || !self.common.is_one_call();
        let rests = || self.tell_of_room(&self.progress.lock());
        self.common.hearing.listen(until, ready, rests)
    }

    /// How often anything was sent or received, and whether results are due.
    pub(super) fn progress(&self) -> (u64, bool) {
        let progress = self.progress.lock();
        let due = progress.window.is_open(progress.awaits_input);
        (progress.steps, due)
    }

    /// The call is over: its sender stops.
    pub(super) fn close(&self) {
        let mut progress = self.progress.lock();
        if !progress.closed {
            progress.closed = true;
            let bytes = progress.window.waiting_bytes();
            drop(progress);
            self.room.notify_one();
            self.common.less(bytes);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.progress.lock().closed
    }

    pub(super) fn tell(&self, event: Event) {
        self.progress.lock().events.push_back(event);
        self.has_news();
    }

    /// Wakes its reader, however that waits.
    fn has_news(&self) {
        self.news.notify_one();
        self.common.hearing.ear().announce();
    }

    /// Some results have come.
    fn receive(&self, frames: impl Iterator<Item = Frame>) {
        let mut progress = self.progress.lock();
        if progress.closed {
            return;
        }
        for frame in frames {
            let size = frame.payload().len();
            progress.window.received(size);
            progress.steps += 1;
            self.common.unread_bytes.fetch_add(size, Ordering::SeqCst);
            progress.events.push_back(Event::Result(frame));
        }
        drop(progress);
        self.has_news();
    }

    /// Whether its reader has read all there is.
    fn is_hungry(&self) -> bool {
        let progress = self.progress.lock();
        !progress.closed && progress.window.waiting() == 0
    }
}

/// The calls of a client that wait for results.
pub(super) struct Calls {
    client: String,
    open: Mutex<Open>,
    common: Arc<Common>,
}

#[derive(Default)]
struct Open {
    next: u64,
    calls: HashMap<u64, Arc<CallState>>,
    over: bool,
}

impl Calls {
    /// The calls of a client, whose results come in by `hearing`.
    pub(super) fn new(client: &str, hearing: Arc<Hearing<Delivery>>) -> Arc<Self> {
        Arc::new(Self {
            client: client.to_owned(),
            open: Mutex::default(),
            common: Arc::new(Common {
                calls: AtomicUsize::new(0),
                unread_bytes: AtomicUsize::new(0),
                hearing,
            }),
        })
    }

    /// Whether more results may be received: not while too much waits to be read, unless there
    /// is a call that has read all of its own. (It may be made by the reader of a job whose
    /// results are what waits.)
    pub(super) fn has_room(&self) -> bool {
        if self.common.unread_bytes.load(Ordering::SeqCst) < MOST_UNREAD {
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
    pub(super) fn add(&self, window: Window) -> Option<(u64, Arc<CallState>)> {
        let call = CallState::new(window, self.common.clone());
        let number = self.insert(call.clone())?;
        if !self.common.is_one_call() {
            // Whoever listens leaves that to the thread that does for all.
            self.common.hearing.ear().announce();
        }
        // It has read all of its own.
        let bytes = self.common.unread_bytes.load(Ordering::SeqCst);
        self.common.ring_if_full(bytes);
        Some((number, call))
    }

    fn insert(&self, call: Arc<CallState>) -> Option<u64> {
        let mut open = self.open.lock();
        if open.over {
            return None;
        }
        open.next += 1;
        let number = open.next;
        open.calls.insert(number, call);
        self.common.calls.store(open.calls.len(), Ordering::SeqCst);
        Some(number)
    }

    pub(super) fn remove(&self, number: u64) {
        let mut open = self.open.lock();
        open.calls.remove(&number);
        self.common.calls.store(open.calls.len(), Ordering::SeqCst);
    }

    /// Which call a topic is of.
    fn number_of(&self, topic: &str) -> Option<u64> {
        number_under(&self.client, topic)
    }

    /// Gives results to their call. What comes for a call that is over is late, and dropped.
    fn deliver(&self, number: Option<u64>, frames: impl Iterator<Item = Frame>) {
        let call = number.and_then(|number| self.open.lock().calls.get(&number).cloned());
        match call {
            Some(call) => call.receive(frames),
            None => {
                for frame in frames {
                    let topic = shown(frame.client());
                    log::debug!(target: &self.client, "a result for '{topic}' came too late");
                }
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

/// Gives results to their calls, those that come together at once, and ends all calls when it ends
/// itself.
pub(super) struct Delivery {
    calls: Arc<Calls>,
    /// Of this call,
    number: Option<u64>,
    /// these are to be given to it,
    frames: Vec<Frame>,
    /// with so many bytes.
    bytes: usize,
}

/// So many results, or bytes, are given to a call at once at the most.
const AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 64 << 10;

impl Delivery {
    pub(super) fn to(calls: Arc<Calls>) -> Self {
        Self {
            calls,
            number: None,
            frames: Vec::new(),
            bytes: 0,
        }
    }
}

impl Reader for Delivery {
    fn has_room(&mut self) -> bool {
        self.calls.has_room()
    }

    fn take(&mut self, topic: &str, frame: Frame) {
        let number = self.calls.number_of(topic);
        if number != self.number {
            self.hand_over();
            self.number = number;
        }
        self.bytes += frame.payload().len();
        self.frames.push(frame);
        if self.frames.len() >= AT_ONCE || self.bytes >= BYTES_AT_ONCE {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if !self.frames.is_empty() {
            self.bytes = 0;
            self.calls.deliver(self.number, self.frames.drain(..));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.calls.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> Arc<Calls> {
        Calls::new("client", Hearing::new().unwrap())
    }

    fn window() -> Window {
        Window::new(1, 100, true)
    }

    fn give(calls: &Arc<Calls>, topic: &str, frame: &Frame) {
        let number = calls.number_of(topic);
        calls.deliver(number, std::iter::once(frame.clone()));
    }

    fn taken(call: &CallState) -> VecDeque<Event> {
        let mut events = VecDeque::new();
        let until = Some(Instant::now());
        call.take(&mut Vec::new(), usize::MAX, until, &mut events);
        events
    }

    #[test]
    fn results_find_their_call_and_no_other() {
        let calls = calls();
        let (one, first) = calls.add(window()).unwrap();
        let (two, second) = calls.add(window()).unwrap();
        let frame = Frame::new("", "", "s.f", "", b"x");
        for topic in [
            calls.topic(one),
            "client/77".into(),
            "client/".into(),
            "client".into(),
            "other/1".into(),
            "client/1x".into(),
        ] {
            give(&calls, &topic, &frame);
        }
        assert_eq!(taken(&first).len(), 1);
        assert_eq!(taken(&second).len(), 0);
        calls.remove(two);
        give(&calls, &calls.topic(two), &frame);
        assert_eq!(taken(&second).len(), 0);
    }

    #[test]
    fn results_that_come_together_keep_their_order_and_their_calls() {
        let calls = calls();
        let (one, first) = calls.add(window()).unwrap();
        let (two, second) = calls.add(window()).unwrap();
        let mut delivery = Delivery::to(calls.clone());
        for (number, payload) in [(one, b"a"), (one, b"b"), (two, b"c"), (one, b"d")] {
            let frame = Frame::new("", "", "s.f", "", payload);
            delivery.take(&calls.topic(number), frame);
        }
        delivery.hand_over();
        let texts = |call: &CallState| -> Vec<u8> {
            let events = taken(call).into_iter();
            let payloads = events.map(|event| match event {
                Event::Result(frame) => frame.payload().to_vec(),
                _ => panic!("nothing else was told"),
            });
            payloads.flatten().collect()
        };
        assert_eq!(texts(&first), b"abd");
        assert_eq!(texts(&second), b"c");
    }

    #[test]
    fn the_end_of_the_client_ends_every_call() {
        let calls = calls();
        let (_, call) = calls.add(window()).unwrap();
        assert!(call.acquire(1));
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| call.acquire(1));
            calls.end();
            assert!(!sender.join().unwrap());
        });
        assert!(matches!(taken(&call).pop_front(), Some(Event::Failed(_))));
        assert!(calls.add(window()).is_none());
    }

    #[test]
    fn whoever_waits_for_room_is_woken_when_all_is_read_though_little_is_free() {
        const MESSAGES: usize = 100;
        let calls = calls();
        let window = Window::new(MESSAGES, MESSAGES, true);
        let (number, call) = calls.add(window).unwrap();
        for _ in 0..MESSAGES {
            assert!(call.acquire(1));
        }
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| call.acquire(1));
            let frame = Frame::new("", "", "s.f", "", b"x");
            give(&calls, &calls.topic(number), &frame);
            assert_eq!(taken(&call).len(), 1);
            // It is blocked by now, or will find the room itself.
            let until = Some(Instant::now());
            call.take(&mut vec![1], 1, until, &mut VecDeque::new());
            assert!(sender.join().unwrap());
        });
    }

    #[test]
    fn too_much_unread_stops_the_receiving_unless_another_call_waits() {
        let calls = calls();
        let (job, state) = calls.add(window()).unwrap();
        let size = MOST_UNREAD / 4;
        let frame = Frame::new("", "", "s.f", "", &vec![0; size]);
        for _ in 0..4 {
            assert!(calls.has_room());
            give(&calls, &calls.topic(job), &frame);
        }
        assert!(!calls.has_room());
        let (eval, nested) = calls.add(window()).unwrap();
        assert!(calls.has_room());
        nested.close();
        calls.remove(eval);
        assert!(!calls.has_room());
        let (mut events, until) = (VecDeque::new(), Some(Instant::now()));
        state.take(&mut vec![size], 1, until, &mut events);
        assert!(calls.has_room());
        give(&calls, &calls.topic(job), &frame);
        assert!(!calls.has_room());
        state.close();
        assert!(calls.has_room());
        assert_eq!(calls.common.unread_bytes.load(Ordering::SeqCst), 0);
    }
}
