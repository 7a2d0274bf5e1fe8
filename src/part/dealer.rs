//! A connection to the link of a server, the thread that owns it, and how others have it say
//! something.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{MappedMutexGuard, MutexGuard};

use super::channel::Listen;
use super::listened::{Connection, Heard, Listened};
use super::{Context, Crew, Duty};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::link::{Line, Party, Verdict};
use crate::error::{Error, Result};
use crate::message::link::{Envelope, Head};
use crate::message::spare::Buffer;
use crate::message::{Frame, FrameReader};
use crate::socket::{Ears, Kind, Socket, schedule};

/// How long to wait before the server is looked for again, or connected to again.
const PAUSE: Duration = Duration::from_millis(250);

/// How many messages are read before others have their turn.
const AT_ONCE: usize = 64;

/// Finds out where the server's link is; `None` when that is not known at present. It may take
/// its time, and is told when to give up.
pub(crate) type Find = Box<dyn FnMut(&dyn Fn() -> bool) -> Result<Option<String>> + Send>;

/// How many messages whoever is not the connection's thread reads.
const BESIDE: usize = 4;

/// A connection to the link of a server, over which a party does what it is there for.
///
/// The party may share its state with other threads: when there is something to say, they ring
/// by [`Voice::announce`], or [speak](Voice::speak) themselves. The thread never waits for
/// anything but the socket and the bell, or for the bell alone while somebody else
/// [listens](Voice::listen), so that heartbeats are sent and read whatever else goes
/// on.
pub(crate) struct Dealer<P> {
    pub(crate) name: String,
    pub(crate) party: P,
    pub(crate) find: Find,
    /// Whether to look for the server as soon as the connection breaks, and not after a silence
    /// only: of those who can ask anew where it is.
    pub(crate) asks: bool,
    pub(crate) max_message: usize,
}

/// How other threads have a connection say something, or hear it themselves.
pub(crate) struct Voice<P>(Listened<Talk<P>>);

impl<P: Party> Voice<P> {
    pub(crate) fn new() -> Result<Arc<Self>> {
        Self::heard_by(Bell::new()?)
    }

    /// One of which this bell wakes the thread that listens.
    pub(crate) fn heard_by(ear: Arc<Bell>) -> Result<Arc<Self>> {
        Ok(Arc::new(Self(Listened::new(ear)?)))
    }

    /// What wakes the thread that [listens](Self::listen).
    pub(crate) fn ear(&self) -> &Arc<Bell> {
        &self.0.ear
    }

    /// Whether something was announced since the last call.
    #[cfg(test)]
    pub(crate) fn take_news(&self) -> bool {
        self.0.bell().take_news()
    }

    /// Whether nothing is left to say or hear.
    fn is_over(&self) -> bool {
        let talk = self.0.connection.lock();
        talk.as_ref().is_none_or(|talk| talk.line.party().is_over())
    }

    /// Has the connection's thread say what there is to say.
    pub(crate) fn announce(&self) {
        self.0.bell().announce();
    }

    /// Says what there is to say in the caller's thread, if nobody else is about to. That is
    /// sooner than by the connection's thread, which has to wake up for it; but what many say one
    /// after another should go at once, by that. Whether it is said.
    ///
    /// The party is called: the caller must not hold what it locks.
    pub(crate) fn speak(&self) -> bool {
        let talk = self.0.connection.try_lock();
        let is_said = talk.is_some_and(|mut talk| {
            self.0.owner.take_left();
            talk.as_mut().is_some_and(Talk::speak_beside)
        });
        if !is_said {
            self.announce();
        }
        is_said
    }

    /// Has it said soon what there is to say: the connection's thread need not wake up for it at
    /// once, but does within a [nap](crate::bell::NAP) if nobody else has said it by then.
    pub(crate) fn speak_soon(&self) {
        self.0.look_soon();
    }

    /// Has the connection's thread hear what comes at once, though somebody has listened just now
    /// who might be back.
    pub(crate) fn leave(&self) {
        self.0.leave();
    }

    /// Waits in the caller's thread until there is something to do, as `ready` says, or the
    /// time-out, and hears meanwhile what comes over the connection. That is sooner than by the
    /// connection's thread, which would have to wake up for it and to wake the caller. Whoever
    /// else makes something to do rings the [ear](Self::ear).
    ///
    /// False when it does not wait: there is no connection at present, or somebody listens
    /// already. Before it waits, it says what there is to say, unless all `is_said` already.
    ///
    /// The party is called, and `ready` is: the caller must not hold what they lock.
    pub(crate) fn listen(
        &self,
        until: Option<Instant>,
        is_said: bool,
        ready: impl Fn() -> bool,
    ) -> bool {
        let mut is_said = is_said;
        let hear = |talk: &mut Talk<P>, _| {
            let is_left = self.0.owner.take_left();
            talk.hear_beside(std::mem::take(&mut is_said) && !is_left)
        };
        self.0.listen(until, ready, || {}, hear)
    }
}

impl<P: Party + Send> Listen for Voice<P> {
    fn listen(&self, ready: &dyn Fn() -> bool) -> bool {
        Voice::listen(self, None, false, ready)
    }
}

impl<P: Party + Send + 'static> Dealer<P> {
    /// Starts the thread. It is ready at once, and connects when the server can be found. It
    /// ends when the party is over, or everybody ends.
    pub(crate) fn spawn(self, crew: &mut Crew, duty: Duty, voice: Arc<Voice<P>>) {
        let Self {
            name,
            party,
            find,
            asks,
            max_message,
        } = self;
        crew.spawn(&name, duty, move |context| {
            context.wake_by(voice.0.bell());
            context.ready(None)?;
            schedule::carry();
            let now = Instant::now();
            let _owned = voice.0.begin(Talk {
                context: context.of(&context.part),
                line: Line::new(party, now),
                socket: None,
                max_message,
                complaints: Complaints::default(),
                parts: Vec::new(),
                reader: FrameReader::of_link(),
                until: now,
                failed: None,
            });
            let mut dealing = Dealing {
                context,
                voice: &voice,
                opened: None,
                find,
                asks,
                max_message,
            };
            dealing.run()
        });
    }
}

/// What is said and heard over a connection, by whichever thread.
struct Talk<P> {
    context: Context,
    line: Line<P>,
    socket: Option<Socket>,
    max_message: usize,
    complaints: Complaints,
    parts: Vec<Buffer>,
    reader: FrameReader,
    /// When its thread wakes up if nothing happens.
    until: Instant,
    /// What another thread has failed of: its thread ends of that.
    failed: Option<Error>,
}

/// What is to be done after a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// There may be more to read.
    Read,
    /// To wait for something.
    Wait,
    Reopen,
}

impl<P> Connection for Talk<P> {
    fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }
}

impl<P: Party> Talk<P> {
    /// Reads what is there, up to some number of messages, and says what there is to say.
    fn turn(&mut self, most: usize, watches: bool) -> Result<Next> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let read = self.receive(most)?;
        let now = Instant::now();
        let more = read == most;
        if watches && !more && self.is_cut() {
            self.line.cut(now);
        }
        if self.line.tick(now) == Verdict::Reopen {
            return Ok(Next::Reopen);
        }
        let said = self.send(now)?;
        // What was there to read by then is no news to who waits for the socket.
        if more || said && self.is_readable()? {
            return Ok(Next::Read);
        }
        Ok(Next::Wait)
    }

    /// How many messages were there to read, up to so many.
    fn receive(&mut self, most: usize) -> Result<usize> {
        let Some(socket) = &mut self.socket else {
            return Ok(0);
        };
        for read in 0..most {
            if !socket.try_recv(&mut self.parts)? {
                return Ok(read);
            }
            let name = &self.context.component;
            let limit = self.max_message;
            match accept(&mut self.parts, &mut self.reader, limit, name) {
                Ok((head, frames)) => self.line.receive(head, frames, Instant::now()),
                Err(error) => {
                    let peer = socket.peer();
                    self.context.refuse(&mut self.complaints, &peer, error);
                }
            }
        }
        Ok(most)
    }

    /// Whether there is nothing to hear as far as is known, and nothing to see to.
    fn is_quiet(&self) -> bool {
        self.failed.is_none() && self.socket.as_ref().is_some_and(Socket::is_quiet)
    }

    fn is_readable(&self) -> Result<bool> {
        self.socket.as_ref().map_or(Ok(false), Socket::is_readable)
    }

    /// Whether the connection has broken since the last call.
    fn is_cut(&mut self) -> bool {
        let peers = self.socket.as_mut().and_then(Socket::peers);
        peers.is_some_and(|(_, gone)| gone)
    }

    /// Whether anything was said.
    fn send(&mut self, now: Instant) -> Result<bool> {
        let said = self.line.take(now);
        let something = !said.is_empty();
        if let Some(socket) = &mut self.socket {
            for envelope in said {
                if let Some(frame) = envelope.frames.last() {
                    self.reader.expect(frame);
                }
                // There always is room: what may be said is bounded by the peer.
                socket.say(envelope.encode())?;
            }
        }
        Ok(something)
    }

    /// A turn of a thread that is not the connection's. What that has to see to is not done here.
    fn turn_beside(&mut self) -> Next {
        self.turn(BESIDE, false).unwrap_or_else(|error| {
            self.failed = Some(error);
            Next::Reopen
        })
    }

    /// A turn of a thread that listens. It hears one thing, and is done with that, which may be what
    /// it waits for. What there is to say is said when there is no more to hear, or by the
    /// connection's thread soon after nobody listens any more.
    fn turn_to_hear(&mut self) -> Next {
        match self.receive(1) {
            Ok(0) => self.turn_beside(),
            Ok(_) => Next::Read,
            Err(error) => {
                self.failed.get_or_insert(error);
                Next::Reopen
            }
        }
    }

    /// A turn of a thread that has said something. Whether the connection's need not wake up: it
    /// does for whatever is not to be done here.
    fn speak_beside(&mut self) -> bool {
        let next = self.turn_beside();
        next == Next::Wait && self.until <= self.line.deadline()
    }

    /// A turn of a thread that listens; if all `is_said`, only if there may be something to hear.
    fn hear_beside(&mut self, is_said: bool) -> Heard {
        if !is_said || !self.is_quiet() {
            match self.turn_to_hear() {
                Next::Read => return Heard::More,
                Next::Wait => {}
                Next::Reopen => return Heard::Nothing,
            }
        }
        let is_enough = self.until <= self.line.deadline();
        match &self.socket {
            Some(socket) => Heard::All(socket.ears(), is_enough),
            None => Heard::Nothing,
        }
    }
}

struct Dealing<'a, P> {
    context: &'a Context,
    voice: &'a Voice<P>,
    /// When the socket was opened last.
    opened: Option<Instant>,
    find: Find,
    asks: bool,
    max_message: usize,
}

impl<P: Party> Dealing<'_, P> {
    /// What is said and heard, for a moment.
    fn talk(&self) -> MappedMutexGuard<'_, Talk<P>> {
        MutexGuard::map(self.voice.0.connection.lock(), |talk| {
            talk.as_mut().expect("it is there as long as its thread")
        })
    }

    fn run(&mut self) -> Result<()> {
        while !self.is_over() {
            self.voice.0.bell().take_news();
            let mut talk = self.talk();
            self.voice.0.owner.take_left();
            let next = talk.turn(AT_ONCE, true)?;
            talk.until = talk.line.deadline();
            let hears = self.voice.0.owner.hears();
            let socket = talk.socket.as_ref().filter(|_| hears);
            let (until, ears) = (talk.until, socket.map(Socket::ears));
            drop(talk);
            match next {
                Next::Read => {}
                Next::Reopen => self.reopen()?,
                Next::Wait => {
                    let left = until.saturating_duration_since(Instant::now());
                    self.sleep(ears, left)?;
                }
            }
        }
        let mut talk = self.talk();
        let now = Instant::now();
        talk.line.leave(now);
        talk.send(now).map(drop)
    }

    fn is_over(&self) -> bool {
        self.context.hard.is_raised() || self.voice.is_over()
    }

    /// Leaves the old connection, and makes another to where the server is now.
    fn reopen(&mut self) -> Result<()> {
        self.talk().socket = None;
        self.voice.0.ear.announce();
        // One that breaks at once each time is not made again at once each time.
        if let Some(opened) = self.opened {
            self.pause_until(opened + PAUSE)?;
        }
        let (context, voice) = (self.context, self.voice);
        let over = || context.hard.is_raised() || voice.is_over();
        match (self.find)(&over) {
            Ok(Some(address)) => {
                let mut socket = Socket::open(Kind::LinkPeer, &context.part, self.max_message)?;
                socket.attend();
                if self.asks {
                    socket.watch_peers()?;
                }
                match socket.connect(&address) {
                    Ok(()) => {
                        let now = Instant::now();
                        self.opened = Some(now);
                        let mut talk = self.talk();
                        talk.socket = Some(socket);
                        talk.line.opened(now);
                        return talk.send(now).map(drop);
                    }
                    // What a cache tells, any of its clients may have set.
                    Err(error) => {
                        log::warn!(target: &context.component, "{} waits: {error}", context.part);
                    }
                }
            }
            Ok(None) => {}
            Err(error) => {
                log::debug!(target: &context.component, "{} looks for its server: {error}", context.part);
            }
        }
        self.pause_until(Instant::now() + PAUSE)
    }

    fn pause_until(&self, end: Instant) -> Result<()> {
        let bell = self.voice.0.bell();
        while !self.is_over() && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            let news = || self.is_over();
            bell.sleep(news, || bell.wait(left))?;
        }
        Ok(())
    }

    fn sleep(&self, ears: Option<Ears>, left: Duration) -> Result<()> {
        let bell = self.voice.0.bell();
        let ready = || bell.has_news() || self.is_over();
        bell.sleep(ready, || {
            let Some(ears) = ears else {
                return bell.wait(left);
            };
            self.voice.0.wait(ears, bell, left)
        })
    }
}

/// What a peer has said. A message that is too large is taken as its failure.
pub(super) fn accept(
    parts: &mut [Buffer],
    reader: &mut FrameReader,
    limit: usize,
    component: &str,
) -> Result<(Box<Head>, Vec<Frame>)> {
    let (head, messages) = Envelope::decode(parts)?;
    let frames = messages.take_in(reader, limit, component)?;
    Ok((head, frames))
}
