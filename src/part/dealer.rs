//! The thread that owns a connection to the link of a server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Context, Crew, Duty};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::link::{Line, Party, Verdict};
use crate::error::Result;
use crate::message::link::{Envelope, Head};
use crate::message::{Frame, FrameReader};
use crate::socket::{Kind, Socket, Want};

/// How long to wait before the server is looked for again, or connected to again.
const PAUSE: Duration = Duration::from_millis(250);

/// How many messages are read before others have their turn.
const AT_ONCE: usize = 64;

/// Finds out where the server's link is; `None` when that is not known at present. It may take
/// its time, and is told when to give up.
pub(crate) type Find = Box<dyn FnMut(&dyn Fn() -> bool) -> Result<Option<String>> + Send>;

/// A connection to the link of a server, over which a party does what it is there for.
///
/// The party may share its state with other threads: they ring the bell by
/// [`Bell::announce`] when there is something to say. The thread never waits for anything but
/// the socket and the bell, so that heartbeats are sent and read whatever else goes on.
pub(crate) struct Dealer<P> {
    pub(crate) name: String,
    pub(crate) party: P,
    pub(crate) find: Find,
    /// Whether to look for the server as soon as the connection breaks, and not after a silence
    /// only: of those who can ask anew where it is.
    pub(crate) asks: bool,
    pub(crate) max_message: usize,
}

impl<P: Party + Send + 'static> Dealer<P> {
    /// Starts the thread. It is ready at once, and connects when the server can be found. It
    /// ends when the party is over, or everybody ends.
    pub(crate) fn spawn(self, crew: &mut Crew, duty: Duty, bell: Arc<Bell>) {
        let Self {
            name,
            party,
            find,
            asks,
            max_message,
        } = self;
        crew.spawn(&name, duty, move |context| {
            context.wake_by(&bell);
            context.ready(None)?;
            let mut dealing = Dealing {
                context,
                line: Line::new(party, Instant::now()),
                socket: None,
                opened: None,
                find,
                asks,
                max_message,
                complaints: Complaints::default(),
                parts: Vec::new(),
                reader: FrameReader::default(),
            };
            dealing.run(&bell)
        });
    }
}

struct Dealing<'a, P> {
    context: &'a Context,
    line: Line<P>,
    socket: Option<Socket>,
    /// When that was opened last.
    opened: Option<Instant>,
    find: Find,
    asks: bool,
    max_message: usize,
    complaints: Complaints,
    parts: Vec<Vec<u8>>,
    reader: FrameReader,
}

impl<P: Party> Dealing<'_, P> {
    fn run(&mut self, bell: &Bell) -> Result<()> {
        while !self.is_over() {
            bell.take_news();
            let more = self.receive()?;
            if !more && self.is_cut() {
                self.line.cut(Instant::now());
            }
            if self.line.tick(Instant::now()) == Verdict::Reopen {
                self.reopen(bell)?;
                continue;
            }
            self.send()?;
            if !more && !self.is_over() {
                self.sleep(bell)?;
            }
        }
        self.line.leave(Instant::now());
        self.send()
    }

    fn is_over(&self) -> bool {
        self.context.hard.is_raised() || self.line.party().is_over()
    }

    /// Reads what is there, up to some number of messages. Whether there may be more.
    fn receive(&mut self) -> Result<bool> {
        let Some(socket) = &mut self.socket else {
            return Ok(false);
        };
        for _ in 0..AT_ONCE {
            if !socket.try_recv(&mut self.parts)? {
                return Ok(false);
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
        Ok(true)
    }

    /// Whether the connection has broken since the last call.
    fn is_cut(&mut self) -> bool {
        let peers = self.socket.as_mut().and_then(Socket::peers);
        peers.is_some_and(|(_, gone)| gone)
    }

    /// Leaves the old connection, and makes another to where the server is now.
    fn reopen(&mut self, bell: &Bell) -> Result<()> {
        self.socket = None;
        let context = self.context;
        // One that breaks at once each time is not made again at once each time.
        if let Some(opened) = self.opened {
            self.pause_until(opened + PAUSE, bell)?;
        }
        let over = || context.hard.is_raised() || self.line.party().is_over();
        match (self.find)(&over) {
            Ok(Some(address)) => {
                let mut socket = Socket::open(Kind::LinkPeer, &context.part, self.max_message)?;
                if self.asks {
                    socket.watch_peers()?;
                }
                match socket.connect(&address) {
                    Ok(()) => {
                        self.socket = Some(socket);
                        let now = Instant::now();
                        self.opened = Some(now);
                        self.line.opened(now);
                        return self.send();
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
        self.pause_until(Instant::now() + PAUSE, bell)
    }

    fn pause_until(&self, end: Instant, bell: &Bell) -> Result<()> {
        while !self.is_over() && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            let news = || self.is_over();
            bell.sleep(news, || bell.wait(left))?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        let said = self.line.take(Instant::now());
        if let Some(socket) = &mut self.socket {
            for envelope in said {
                // There always is room: what may be said is bounded by the peer.
                socket.say(envelope.encode())?;
            }
        }
        Ok(())
    }

    fn sleep(&self, bell: &Bell) -> Result<()> {
        let until = self.line.deadline();
        let left = until.saturating_duration_since(Instant::now());
        let Some(socket) = &self.socket else {
            return bell.sleep(|| bell.has_news(), || bell.wait(left));
        };
        let ready = || bell.has_news() || self.is_over();
        bell.sleep(ready, || socket.wait(Want::Read, bell, Some(left)))
    }
}

/// What a peer has said. A message that is too large is taken as its failure.
pub(super) fn accept(
    parts: &mut [Vec<u8>],
    reader: &mut FrameReader,
    limit: usize,
    component: &str,
) -> Result<(Head, Vec<Frame>)> {
    let (head, messages) = Envelope::decode(parts)?;
    let mut frames = Vec::with_capacity(messages.len());
    for bytes in messages {
        let (frame, _) = reader.take_in(bytes, limit, component)?;
        frames.push(frame);
    }
    Ok((head, frames))
}
