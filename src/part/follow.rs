//! A subscription that speaks the palm link where it can.
//!
//! ```text
//! publisher's pub ──► SUB: `_.link`, and the topic if it is one of pylm ─┐
//!                            │ where its link is                        ├─► the router
//! publisher's link ◄─► DEALER: the messages, and what is done ──────────┘
//! ```
//!
//! One thread owns the SUB socket, and finds out which wire the publisher speaks; another owns
//! the connection to its link, if it has one. While whoever takes the messages waits for some, that
//! one hears the connection itself. Never do messages come over both: what comes over
//! the one that is left is not taken, and so stays with a palm publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::receive::{Published, published};
use super::{Batch, Context, Crew, Dealer, Duty, NotSent, Outlet, Parcel, Voice, WELCOME};
use crate::address::{self, Purpose, seen_from};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::custody::{Ledger, Ticket};
use crate::core::link::{Credit, Made, Party, SPOKE_NOW, Speaks, StepSession, Upstream, is_little};
use crate::error::{Error, Result};
use crate::message::link::{Head, Hello, Outgoing, Welcome};
use crate::message::spare::Buffer;
use crate::message::{Frame, FrameReader};
use crate::socket::{Kind, Socket, Want};

/// How much of what the publisher gives may be open at once: of one client half of that.
const CREDIT: Credit = Credit {
    messages: 32_768,
    bytes: 16 << 20,
};

/// A subscription to a topic of the publisher at an address.
pub(super) struct Follow {
    /// The name of the part.
    pub(super) part: String,
    pub(super) address: String,
    pub(super) topic: String,
    pub(super) max_message: usize,
    /// Whether what it gives goes to a user, who says nothing of what becomes of it.
    pub(super) alone: bool,
    /// Where its component is, by which it is told from others of the same name.
    pub(super) beside: Option<String>,
}

impl Follow {
    pub(super) fn spawn(self, crew: &mut Crew, outlet: Outlet) -> Result<()> {
        let bell = Bell::new()?;
        let voice = Voice::heard_by(outlet.bell().clone())?;
        outlet.rings_for_room(&bell);
        outlet.comes_from(&voice);
        crew.stalled().wakes({
            let bell = bell.clone();
            move || bell.announce()
        });
        let patience = Arc::new(Patience::new(Instant::now()));
        let ledger = Ledger::telling({
            let (voice, patience) = (voice.clone(), patience.clone());
            move |entered| match patience.may_wait(entered.messages, Instant::now()) {
                true if entered.is_first => voice.speak_soon(),
                true => {}
                false => voice.announce(),
            }
        });
        let session = uuid::Uuid::new_v4().to_string();
        let name = match &self.beside {
            Some(address) => format!("{} at {address}", crew.name()),
            None => crew.name().to_owned(),
        };
        let session = StepSession::new(
            session,
            &name,
            &self.topic,
            CREDIT,
            ledger,
            crew.stalled().clone(),
        );
        let shared = Arc::new(Mutex::new(Arrivals {
            session,
            waiting: Batch::new(),
            untracked: self.alone.then(Vec::new),
            outlet: Some(outlet),
            closed: false,
        }));
        let (tell, told) = crossbeam_channel::unbounded();
        let dealer = Dealer {
            name: format!("{}-Link", self.part),
            party: Step {
                shared: shared.clone(),
                patience,
                bell: bell.clone(),
                max_message: self.max_message,
            },
            find: find(told),
            asks: false,
            max_message: self.max_message,
        };
        // Until the end: what is inside the component is done after the others have stopped.
        dealer.spawn(crew, Duty::Serves, voice.clone());
        let part = self.part.clone();
        crew.spawn(&part, Duty::Carries, move |context| {
            context.wake_by(&bell);
            let mut following = Following::open(&self, context, shared, tell, voice)?;
            context.ready(None)?;
            let result = following.run(&bell);
            following.end();
            result
        });
        Ok(())
    }
}

/// Waits until it is told where the link is. The end of who tells is the end of the wait.
fn find(told: Receiver<Option<String>>) -> super::Find {
    let mut place = None;
    Box::new(move |_| {
        while let Ok(other) = told.try_recv() {
            place = other;
        }
        while place.is_none() {
            match told.recv() {
                Ok(other) => place = other,
                Err(_) => break,
            }
        }
        Ok(place.clone())
    })
}

/// What has come, on its way to the router. Both threads put it there.
struct Arrivals {
    session: StepSession,
    /// What goes to the router next.
    waiting: Batch,
    /// If it goes to a user: the tickets of those.
    untracked: Option<Vec<Ticket>>,
    /// `None` after a stop.
    outlet: Option<Outlet>,
    /// Nobody takes the messages any more.
    closed: bool,
}

impl Arrivals {
    /// Gives the router what it has room for. False when some is left.
    fn hand_on(&mut self) -> bool {
        let Some(outlet) = self.outlet.as_ref().filter(|_| !self.closed) else {
            return true;
        };
        loop {
            while let Some(portion) = outlet.next_in(&self.waiting) {
                let Some(Made { mut frame, ticket }) = self.session.next(portion) else {
                    break;
                };
                frame.fill_cache();
                let mut parcel = Parcel::from(frame);
                match &mut self.untracked {
                    Some(tickets) => tickets.extend(ticket),
                    None => parcel.ticket = ticket,
                }
                self.waiting.push(parcel);
            }
            if self.waiting.is_empty() {
                return true;
            }
            // A user gets all at once: so all tickets are settled together.
            let most = match self.untracked {
                Some(_) => usize::MAX,
                None => outlet.most(),
            };
            match outlet.try_send(self.waiting.take(most)) {
                Ok(()) => {
                    let tickets = self.untracked.iter_mut().flat_map(|all| all.drain(..));
                    tickets.for_each(Ticket::untracked);
                }
                Err(NotSent::Full(batch)) => {
                    self.waiting.put_back(batch);
                    return false;
                }
                Err(NotSent::Closed(batch)) => {
                    self.waiting.put_back(batch);
                    self.closed = true;
                    return true;
                }
            }
        }
    }

    /// Whether there is something that the router has room for now.
    fn can_move(&self) -> bool {
        let room = self.outlet.as_ref().is_some_and(Outlet::has_room);
        room && !self.waiting.is_empty()
    }

    /// Takes nothing more. Gives how many messages nobody answers for any more.
    fn end(&mut self) -> usize {
        self.session.close();
        self.outlet = None;
        let kept = self.untracked.take().unwrap_or_default().len();
        let left = std::mem::take(&mut self.waiting).into_iter();
        left.filter(|parcel| parcel.ticket.is_none()).count() - kept
    }
}

/// Whether what is done need not be said at once.
struct Patience {
    start: Instant,
    /// How many messages were open when something was said last, if there was room for others.
    open: AtomicUsize,
    /// When that was, in microseconds since the start.
    spoke: AtomicU64,
}

impl Patience {
    fn new(start: Instant) -> Self {
        Self {
            start,
            open: AtomicUsize::new(0),
            spoke: AtomicU64::new(0),
        }
    }

    fn since_start(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }

    /// Something was said, while so many were open with room for others.
    fn spoke(&self, open: usize, now: Instant) {
        self.open.store(open, Ordering::Relaxed);
        self.spoke.store(self.since_start(now), Ordering::Relaxed);
    }

    /// Whether it can wait until something is said again that so many are done since.
    fn may_wait(&self, done: usize, now: Instant) -> bool {
        let spoke = self.spoke.load(Ordering::Relaxed);
        let passed = self.since_start(now).saturating_sub(spoke);
        is_little(done, self.open.load(Ordering::Relaxed))
            && u128::from(passed) < SPOKE_NOW.as_micros()
    }
}

/// The later step, as the thread of the link knows it.
struct Step {
    shared: Arc<Mutex<Arrivals>>,
    patience: Arc<Patience>,
    /// Of the thread that waits for room.
    bell: Arc<Bell>,
    max_message: usize,
}

impl Party for Step {
    fn hello(&mut self) -> Hello {
        Hello {
            max_message: self.max_message as u64,
            ..self.shared.lock().session.hello()
        }
    }

    fn welcomed(&mut self, welcome: Welcome, out: &mut Outgoing, now: Instant) {
        self.shared.lock().session.welcomed(welcome, out, now);
    }

    fn heard(&mut self, head: Box<Head>, frames: Vec<Frame>, out: &mut Outgoing, now: Instant) {
        let mut shared = self.shared.lock();
        shared.session.heard(head, frames, out, now);
        let all = shared.hand_on();
        let closed = shared.closed;
        drop(shared);
        if !all || closed {
            self.bell.ring();
        }
    }

    fn lost(&mut self, now: Instant) {
        self.shared.lock().session.lost(now);
    }

    fn speak(&mut self, out: &mut Outgoing, now: Instant) {
        let session = &mut self.shared.lock().session;
        session.speak(out, now);
        self.patience.spoke(session.open_with_room(), now);
    }

    fn is_broken(&self) -> bool {
        self.shared.lock().session.is_broken()
    }
}

/// The thread of the SUB socket.
struct Following<'a> {
    config: &'a Follow,
    context: &'a Context,
    socket: Socket,
    upstream: Upstream,
    /// How the publisher is spoken to now.
    speaks: Option<Speaks>,
    shared: Arc<Mutex<Arrivals>>,
    /// Tells the other thread where the link is.
    tell: Sender<Option<String>>,
    voice: Arc<Voice<Step>>,
    complaints: Complaints,
    parts: Vec<Buffer>,
    reader: FrameReader,
}

impl<'a> Following<'a> {
    fn open(
        config: &'a Follow,
        context: &'a Context,
        shared: Arc<Mutex<Arrivals>>,
        tell: Sender<Option<String>>,
        voice: Arc<Voice<Step>>,
    ) -> Result<Self> {
        let mut socket = Socket::open(Kind::Sub, &config.part, config.max_message)?;
        socket.subscribe(WELCOME)?;
        socket.watch_peers()?;
        let mut following = Self {
            config,
            context,
            socket,
            upstream: Upstream::default(),
            speaks: None,
            shared,
            tell,
            voice,
            complaints: Complaints::default(),
            parts: Vec::new(),
            reader: FrameReader::default(),
        };
        following.socket.connect(&config.address)?;
        Ok(following)
    }

    fn run(&mut self, bell: &Bell) -> Result<()> {
        while !self.context.soft.is_raised() {
            self.look_at_connection()?;
            self.upstream.tick(Instant::now());
            self.follow()?;
            bell.take_news();
            let (all, closed) = {
                let mut shared = self.shared.lock();
                (shared.hand_on(), shared.closed)
            };
            if closed {
                return self.context.deserted("nobody takes its messages any more");
            }
            let more = all && self.receive()?;
            let has_news = self.upstream.speaks() != self.speaks.as_ref();
            if !more && !has_news {
                self.sleep(all, bell)?;
            }
        }
        Ok(())
    }

    fn sleep(&self, takes: bool, bell: &Bell) -> Result<()> {
        let want = if takes { Want::Read } else { Want::Nothing };
        let now = Instant::now();
        let until = self.upstream.deadline();
        let left = until.map(|until| until.saturating_duration_since(now));
        let ready = || {
            let shared = self.shared.lock();
            let is_over = self.context.soft.is_raised() || shared.closed;
            is_over || bell.has_news() || shared.can_move()
        };
        bell.sleep(ready, || self.socket.wait(want, bell, left))
    }

    /// What has become of the connection to the publisher.
    fn look_at_connection(&mut self) -> Result<()> {
        let Some((peers, gone)) = self.socket.peers() else {
            return Ok(());
        };
        if gone {
            // The subscription ends: what has come by it is taken first.
            if self.speaks == Some(Speaks::Pylm) {
                while self.receive()? {}
            }
            self.upstream.broken();
            self.follow()?;
        }
        if peers > 0 {
            self.upstream.connected(Instant::now());
        }
        Ok(())
    }

    /// Speaks as the publisher does.
    fn follow(&mut self) -> Result<()> {
        if self.upstream.speaks() == self.speaks.as_ref() {
            return Ok(());
        }
        let old = std::mem::replace(&mut self.speaks, self.upstream.speaks().cloned());
        let Follow { topic, address, .. } = self.config;
        if old == Some(Speaks::Pylm) {
            self.socket.unsubscribe(topic)?;
        }
        // First where to go, then that it is to go.
        let link = match &self.speaks {
            Some(Speaks::Link(link)) => Some(link.clone()),
            _ => None,
        };
        let name = &self.context.component;
        match (&link, &self.speaks) {
            (Some(link), _) => {
                log::info!(target: name, "{} takes '{topic}' over the link {link}", self.config.part);
            }
            (None, Some(_)) => {
                log::info!(target: name, "{} takes '{topic}' over the pylm wire from {address}", self.config.part);
            }
            (None, None) => {}
        }
        let _ = self.tell.send(link); // The other thread ends later than this one.
        if matches!(old, Some(Speaks::Link(_))) {
            self.shared.lock().session.break_off();
            self.voice.announce();
        }
        if self.speaks == Some(Speaks::Pylm) {
            self.socket.subscribe(topic)?;
        }
        Ok(())
    }

    /// Takes what is there, up to a full batch. Whether there may be more.
    fn receive(&mut self) -> Result<bool> {
        let mut batch = Batch::new();
        let mut more = true;
        while more && !batch.is_full() {
            more = self.socket.try_recv(&mut self.parts)?;
            if !more {
                break;
            }
            match self.accept() {
                Ok(Some(frame)) => batch.push(frame),
                Ok(None) => {}
                Err(error) => self.refuse(&error),
            }
        }
        let mut shared = self.shared.lock();
        for parcel in batch {
            shared.waiting.push(parcel);
        }
        shared.hand_on();
        Ok(more)
    }

    /// The message that was received, if it is one for us.
    fn accept(&mut self) -> Result<Option<Frame>> {
        let bytes = match published(&mut self.parts, &self.config.topic)? {
            Published::Message(bytes) => bytes,
            Published::Other => return Ok(None),
            Published::Welcome(link) => {
                self.welcomed(link)?;
                return Ok(None);
            }
        };
        let (limit, component) = (self.config.max_message, &self.context.component);
        let (mut frame, refused) = self.reader.take_in(bytes, limit, component)?;
        if let Some(error) = refused {
            self.refuse(&error);
        }
        frame.fill_cache();
        Ok(Some(frame))
    }

    fn welcomed(&mut self, link: Option<String>) -> Result<()> {
        let link = link.map(|link| seen_from(&link, &self.config.address));
        if let Some(link) = &link {
            address::check(link, Purpose::Connect)?;
        }
        // It came over a connection whose making may not have been read yet.
        let _ = self.socket.peers();
        self.upstream.welcomed(link);
        Ok(())
    }

    fn refuse(&mut self, error: &Error) {
        let peer = self.socket.peer();
        self.context.refuse(&mut self.complaints, &peer, error);
    }

    fn end(&mut self) {
        let lost = self.shared.lock().end();
        self.context.say_lost(lost);
        let refused = self.complaints.total();
        if refused > 0 {
            log::warn!(target: &self.context.component, "{} refused {refused} messages in all", self.context.part);
        }
    }
}

#[cfg(test)]
mod tests;
