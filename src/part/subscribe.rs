//! SUB: what a client gets back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::listened::{Connection, Heard, LONG, Listened};
use super::{Context, Crew, Duty, Target, WELCOME};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::error::{Error, Result};
use crate::message::{Frame, FrameReader};
use crate::socket::{Ears, Kind, Monitor, Socket, Want};

/// How long a peer that has answered at all may take to say that it is a palm peer. One that
/// says nothing may be one that publishes to nobody while our subscription is on its way.
const SETTLE: Duration = Duration::from_millis(300);

/// How many messages are read before others have their turn.
const AT_ONCE: usize = 64;

/// What a publisher sends that does not keep to its form.
pub(super) const UNPUBLISHED: Error = Error::Malformed {
    reason: "a published message has a topic and a message",
};

/// Receives what is published under the topics that begin with `prefix`.
///
/// It is ready when the subscription is: a palm publisher says so; of another, it is taken to
/// be a little after the connection was made.
pub(crate) struct Subscribe {
    /// The name of the part.
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) prefix: String,
    pub(crate) max_message: usize,
    /// How long to wait for the subscription.
    pub(crate) timeout: Duration,
    /// Is told whether the publisher is a palm peer, before the part is ready.
    pub(crate) is_palm: Arc<AtomicBool>,
}

impl Subscribe {
    /// Gives each topic and message to `reader`, while it has room for them; by whichever thread
    /// hears it.
    pub(crate) fn spawn<R: Reader>(self, crew: &mut Crew, hearing: Arc<Hearing<R>>, reader: R) {
        let name = self.name.clone();
        crew.spawn(&name, Duty::Serves, move |context| {
            context.wake_by(hearing.0.bell());
            let mut subscription = Subscription::open(self, context)?;
            let is_palm = subscription.settle(hearing.0.bell())?;
            subscription.socket.attend();
            let told = subscription.config.is_palm.clone();
            told.store(is_palm, Ordering::SeqCst);
            let owned = hearing.0.begin(Reading {
                subscription,
                reader,
                failed: None,
            });
            context.ready(None)?;
            let result = hearing.run(context);
            // Nobody hears it any more.
            let Some(Reading { mut reader, .. }) = owned.end() else {
                return result;
            };
            reader.hand_over();
            context.say_lost(reader.kept());
            result?;
            match reader.is_deserted() {
                true => context.deserted("nobody takes its messages any more"),
                false => Ok(()),
            }
        });
    }
}

/// What takes published messages.
pub(crate) trait Reader: Send + 'static {
    /// Whether it has room for more. When that changes, it rings the part's bell.
    fn has_room(&mut self) -> bool;
    /// Takes a message. Must not block.
    fn take(&mut self, topic: &str, frame: Frame);
    /// Nothing more has come at present: what it has taken it is to give away by now.
    fn hand_over(&mut self) {}
    /// Whether nobody is there any more for whom it takes messages.
    fn is_deserted(&self) -> bool {
        false
    }
    /// How many messages it has taken that did not get on.
    fn kept(&self) -> usize {
        0
    }
}

/// A subscription that several threads may hear: its own, or one that waits for what comes by it,
/// and needs not be woken by the other then.
pub(crate) struct Hearing<R>(Listened<Reading<R>>);

/// What is heard, by whichever thread.
struct Reading<R> {
    subscription: Subscription,
    reader: R,
    /// What another thread has failed of: its thread ends of that.
    failed: Option<Error>,
}

/// What there was to read.
enum Read {
    /// Something, and there may be more.
    More,
    /// No more at present.
    All(Ears),
    /// There is no room for it.
    Full,
}

impl<R> Connection for Reading<R> {
    fn socket(&self) -> Option<&Socket> {
        Some(&self.subscription.socket)
    }
}

impl<R: Reader> Hearing<R> {
    /// One that is to be spawned.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self(Listened::new(Bell::new()?)?)))
    }

    /// What wakes the subscription's thread: for whoever makes room.
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        self.0.bell()
    }

    /// What wakes the thread that [listens](Self::listen).
    pub(crate) fn ear(&self) -> &Arc<Bell> {
        &self.0.ear
    }

    /// Has the subscription's thread hear what comes at once, though somebody has listened just now
    /// who might be back.
    pub(crate) fn leave(&self) {
        self.0.leave();
    }

    /// Waits in the caller's thread until there is something to do, as `ready` says, or the
    /// time-out, and hears meanwhile what comes. Whoever else makes something to do announces it by
    /// the [ear](Self::ear). `rests` is called before it sleeps.
    ///
    /// False when it does not wait: somebody listens already, or it cannot be heard at present.
    ///
    /// The reader is called, and `ready` and `rests` are: the caller must not hold what they lock.
    pub(crate) fn listen(
        &self,
        until: Option<Instant>,
        ready: impl Fn() -> bool,
        rests: impl Fn(),
    ) -> bool {
        // There may be many that have come since somebody listened; after a sleep there is one.
        let most = |has_slept| if has_slept { 1 } else { AT_ONCE };
        let hear = |reading: &mut Reading<R>, has_slept| {
            self.0.owner.take_left();
            reading.hear_beside(most(has_slept))
        };
        self.0.listen(until, ready, rests, hear)
    }

    /// The subscription's thread: hears what comes, unless another listens.
    fn run(&self, context: &Context) -> Result<()> {
        while !context.hard.is_raised() {
            self.0.bell().take_news();
            let mut guard = self.0.connection.lock();
            let Some(reading) = guard.as_mut() else {
                break;
            };
            if let Some(error) = reading.failed.take() {
                return Err(error);
            }
            if reading.reader.is_deserted() {
                break;
            }
            self.0.owner.take_left();
            let (ears, is_full) = match self.0.owner.hears() {
                false => (None, false),
                true => match reading.hear(AT_ONCE)? {
                    Read::More => continue,
                    Read::All(ears) => (Some(ears), false),
                    Read::Full => (None, true),
                },
            };
            drop(guard);
            let ready = || {
                self.0.bell().has_news() || context.hard.is_raised() || is_full && self.has_room()
            };
            let bell = self.0.bell();
            bell.sleep(ready, || match ears {
                Some(ears) => self.0.wait(ears, bell, LONG),
                None => bell.wait(LONG),
            })?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let mut reading = self.0.connection.lock();
        reading
            .as_mut()
            .is_none_or(|reading| reading.reader.has_room())
    }
}

impl<R: Reader> Reading<R> {
    /// Hears what is there, up to some number of messages, and hands it over.
    fn hear(&mut self, most: usize) -> Result<Read> {
        for heard in 0..most {
            let has_room = self.reader.has_room();
            let next = match has_room {
                true => self.subscription.next()?,
                false => None,
            };
            let Some(message) = next else {
                self.reader.hand_over();
                return Ok(match has_room {
                    true if heard == 0 => Read::All(self.subscription.socket.ears()),
                    true => Read::More,
                    false => Read::Full,
                });
            };
            if let Some((topic, frame)) = message {
                self.reader.take(&topic, frame);
            }
        }
        self.reader.hand_over();
        Ok(Read::More)
    }

    /// The same, by a thread that is not the subscription's.
    fn hear_beside(&mut self, most: usize) -> Heard {
        if self.failed.is_some() || self.subscription.context.hard.is_raised() {
            return Heard::Nothing;
        }
        match self.hear(most) {
            Ok(Read::More) => Heard::More,
            // Its thread has nothing to see to but this.
            Ok(Read::All(ears)) => Heard::All(ears, true),
            Ok(Read::Full) => Heard::Nothing,
            Err(error) => {
                self.failed = Some(error);
                Heard::Nothing
            }
        }
    }
}

struct Subscription {
    config: Subscribe,
    context: Context,
    socket: Socket,
    complaints: Complaints,
    parts: Vec<Vec<u8>>,
    reader: FrameReader,
}

impl Subscription {
    fn open(config: Subscribe, context: &Context) -> Result<Self> {
        let socket = Socket::open(Kind::Sub, &config.name, config.max_message)?;
        socket.subscribe(&config.prefix)?;
        socket.subscribe(WELCOME)?;
        Ok(Self {
            context: context.of(&context.part),
            config,
            socket,
            complaints: Complaints::default(),
            parts: Vec::new(),
            reader: FrameReader::default(),
        })
    }

    /// Waits for the publisher's welcome, or until one that gives none must have heard us.
    /// Whether there was a welcome.
    fn settle(&mut self, bell: &Bell) -> Result<bool> {
        let monitor = self.socket.monitor()?;
        self.socket.connect(&self.config.target.address())?;
        let is_palm = self.is_welcomed(&monitor, bell);
        self.socket.end_monitor(monitor);
        is_palm
    }

    fn is_welcomed(&mut self, monitor: &Monitor, bell: &Bell) -> Result<bool> {
        let start = Instant::now();
        let mut connected = None;
        loop {
            if self.socket.try_recv(&mut self.parts)? {
                return Ok(true);
            }
            if self.context.hard.is_raised() {
                return Err(self.context.stopped());
            }
            let now = Instant::now();
            if connected.is_none() && monitor.connected() {
                connected = Some(now);
            }
            match connected {
                Some(at) if now.duration_since(at) >= SETTLE => return Ok(false),
                None if now.duration_since(start) >= self.config.timeout => {
                    return Err(Error::Unreachable {
                        what: "the publisher (pub)",
                        address: self.config.target.address(),
                        waited: self.config.timeout,
                    });
                }
                _ => {}
            }
            // The monitor is another socket: so look at both, every few milliseconds.
            let pause = Some(Duration::from_millis(5));
            let wait = || self.socket.wait(Want::Read, bell, pause);
            bell.sleep(|| self.context.hard.is_raised(), wait)?;
        }
    }

    /// What is there next, if anything is: a message, or something that is none.
    fn next(&mut self) -> Result<Option<Option<(String, Frame)>>> {
        if !self.socket.try_recv(&mut self.parts)? {
            return Ok(None);
        }
        if self.parts.len() == 1 && self.parts[0].starts_with(WELCOME.as_bytes()) {
            return Ok(Some(None)); // After a reconnection.
        }
        let message = self.accept();
        Ok(Some(message.map_err(|error| self.refuse(&error)).ok()))
    }

    /// A message and its topic. One that is too large is taken as its failure: so whoever waits
    /// for it is told.
    fn accept(&mut self) -> Result<(String, Frame)> {
        let [topic, frame] = self.parts.as_mut_slice() else {
            return Err(UNPUBLISHED);
        };
        let (limit, component) = (self.config.max_message, &self.context.component);
        let (frame, refused) = self
            .reader
            .take_in(std::mem::take(frame), limit, component)?;
        let topic = String::from_utf8(std::mem::take(topic)).map_err(|_| Error::Malformed {
            reason: "its topic is not UTF-8",
        })?;
        if let Some(error) = refused {
            self.refuse(&error);
        }
        Ok((topic, frame))
    }

    fn refuse(&mut self, error: &Error) {
        let peer = self.socket.peer();
        self.context.refuse(&mut self.complaints, &peer, error);
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use parking_lot::{Condvar, Mutex};

    use super::*;
    use crate::address::Addresses;
    use crate::part::Running;

    const SOON: Duration = Duration::from_secs(10);

    /// What was heard, and by which threads.
    #[derive(Default)]
    struct Notes {
        heard: Mutex<Vec<(ThreadId, Vec<u8>)>>,
        news: Condvar,
        is_full: AtomicBool,
    }

    impl Notes {
        fn count(&self) -> usize {
            self.heard.lock().len()
        }

        /// Waits until there are so many, without listening.
        fn wait(&self, count: usize) {
            let mut heard = self.heard.lock();
            let end = Instant::now() + SOON;
            while heard.len() < count {
                let late = self.news.wait_until(&mut heard, end).timed_out();
                assert!(!late, "{} of {count} messages", heard.len());
            }
        }
    }

    impl Reader for Arc<Notes> {
        fn has_room(&mut self) -> bool {
            !self.is_full.load(Ordering::SeqCst)
        }

        fn take(&mut self, _: &str, frame: Frame) {
            let payload = frame.payload().to_vec();
            self.heard.lock().push((thread::current().id(), payload));
            self.news.notify_all();
        }
    }

    struct Published {
        publisher: Socket,
        hearing: Arc<Hearing<Arc<Notes>>>,
        notes: Arc<Notes>,
        running: Running,
    }

    fn subscribed() -> Published {
        let mut publisher = Socket::open(Kind::Pub, "publisher", 1 << 20).unwrap();
        publisher.set_welcome(WELCOME.as_bytes()).unwrap();
        let address = publisher.bind("tcp://127.0.0.1:*").unwrap();
        let subscribe = Subscribe {
            name: "Sub".into(),
            target: Target::new(&address),
            prefix: "me".into(),
            max_message: 1 << 20,
            timeout: SOON,
            is_palm: Arc::default(),
        };
        let (hearing, notes) = (Hearing::new().unwrap(), Arc::<Notes>::default());
        let mut crew = Crew::new("test");
        subscribe.spawn(&mut crew, hearing.clone(), notes.clone());
        let running = crew.start(|_| Ok(Addresses::none())).unwrap();
        Published {
            publisher,
            hearing,
            notes,
            running,
        }
    }

    impl Published {
        fn publish(&mut self, payload: &[u8]) {
            let mut frame = Frame::new("", "me", "s.f", "", payload);
            assert!(self.publisher.try_publish("me/1", &mut frame).unwrap());
        }

        /// Listens until there are so many.
        fn listen(&self, count: usize) -> bool {
            let until = Some(Instant::now() + SOON);
            let ready = || self.notes.count() >= count;
            let listens = self.hearing.listen(until, ready, || {});
            assert!(!listens || ready());
            listens
        }
    }

    #[test]
    fn who_listens_hears_in_its_own_thread_and_the_subscriptions_goes_on_after_it() {
        let mut published = subscribed();
        let notes = published.notes.clone();
        // The subscription's thread hears one, or does not before somebody listens.
        published.publish(b"0");
        assert!(published.listen(1));
        let mut own = 0;
        for number in 1..100 {
            thread::scope(|scope| {
                let ear = published.hearing.ear().clone();
                let listened = &published.hearing.0;
                let publisher = &mut published.publisher;
                scope.spawn(move || {
                    // While somebody listens, if that is soon.
                    let end = Instant::now() + Duration::from_millis(100);
                    while !(listened.owner.is_heard() && ear.is_asleep()) && Instant::now() < end {
                        thread::yield_now();
                    }
                    let mut frame = Frame::new("", "me", "s.f", "", &[number]);
                    assert!(publisher.try_publish("me/1", &mut frame).unwrap());
                });
                let count = usize::from(number) + 1;
                let ready = || notes.count() >= count;
                let until = Some(Instant::now() + SOON);
                assert!(published.hearing.listen(until, ready, || {}) && ready());
            });
            own += usize::from(notes.heard.lock().last().unwrap().0 == thread::current().id());
        }
        assert!(own > 0, "none was heard by who listened");
        // Nobody listens any more.
        published.publish(b"last");
        notes.wait(101);
        let heard = notes.heard.lock();
        assert_ne!(heard[100].0, thread::current().id());
        let numbers = heard[1..100].iter().map(|(_, payload)| payload[0]);
        assert!(numbers.eq(1..100));
    }

    #[test]
    fn one_may_listen_and_is_woken_by_the_ear_or_the_end() {
        let published = subscribed();
        let (hearing, done) = (&published.hearing, AtomicBool::new(false));
        let end = Instant::now() + SOON;
        let until = Some(end);
        thread::scope(|scope| {
            let first =
                scope.spawn(|| hearing.listen(until, || done.load(Ordering::SeqCst), || {}));
            while !hearing.0.owner.is_heard() {
                thread::yield_now();
            }
            assert!(
                !hearing.listen(until, || true, || {}),
                "another one listens"
            );
            done.store(true, Ordering::SeqCst);
            hearing.ear().announce();
            assert!(first.join().unwrap());

            let second = scope.spawn(|| hearing.listen(until, || false, || {}));
            while !hearing.0.owner.is_heard() {
                thread::yield_now();
            }
            published.running.stop().unwrap();
            assert!(!second.join().unwrap(), "there is nothing more to hear");
        });
        assert!(Instant::now() < end);
        assert!(!hearing.listen(until, || false, || {}));
    }

    #[test]
    fn who_has_no_room_does_not_listen_and_the_subscriptions_thread_goes_on_when_there_is() {
        let mut published = subscribed();
        published.notes.is_full.store(true, Ordering::SeqCst);
        published.publish(b"1");
        assert!(!published.listen(1));
        assert_eq!(published.notes.count(), 0);
        published.notes.is_full.store(false, Ordering::SeqCst);
        published.hearing.bell().ring();
        published.notes.wait(1);
    }

    #[test]
    fn who_listens_waits_no_longer_than_it_wants() {
        let published = subscribed();
        let until = Instant::now() + Duration::from_millis(50);
        let rested = AtomicBool::new(false);
        let rests = || rested.store(true, Ordering::SeqCst);
        assert!(published.hearing.listen(Some(until), || false, rests));
        assert!(Instant::now() >= until && rested.load(Ordering::SeqCst));
    }
}
