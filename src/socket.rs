//! Sockets: the only file that knows of libzmq, and with [`schedule`] the only one with `unsafe`.
//!
//! A [`Socket`] is used by one thread at a time: as a rule by the one that made it, or by several
//! in turn who share it under a lock. None of its calls blocks but [`Socket::wait`],
//! [`wait_for_any`] and [`Ears::wait`], which a [`Bell`] or their time-out ends.

pub(crate) mod schedule;
mod slab;

use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schedule::{Passed, Traffic};
use slab::Slabs;
use smallvec::SmallVec;

use crate::address::{self, Purpose};
use crate::bell::Bell;
use crate::error::{Error, Result};
use crate::message::link::{Encoded, MAX_PARTS};
use crate::message::spare::{Buffer, Lent};
use crate::message::{ENVELOPE, Frame, LENT, spare};

/// How long a closed socket may go on to hand over what it has, in milliseconds.
const LINGER: i32 = 250;

/// How many messages libzmq keeps for one peer on each side. It counts messages, not bytes:
/// so the number is small.
const HIGH_WATER: i32 = 256;

/// Which messages share slabs, by their size in bytes: smaller ones libzmq has in what it keeps of
/// each, and larger ones do not come by the thousand.
const IN_SLABS: RangeInclusive<usize> = 34..=1_024;

/// After so many seconds of silence the system asks a peer's system whether it is still there,
/// so often, so many times. (Not ZMTP's heartbeats: those are not read, and so not answered,
/// while a queue is full, and would end every connection under back-pressure.)
const KEEPALIVE_IDLE: i32 = 10;
const KEEPALIVE_INTERVAL: i32 = 5;
const KEEPALIVE_COUNT: i32 = 4;

/// The longest subscription that is let in, in bytes: a topic is an id or a name, and libzmq
/// keeps a level of a tree for each byte.
const MAX_TOPIC: usize = 4_096;

/// How many frames a request may have: its peer, one for each broker that it came through, an
/// empty one, and its body.
pub(crate) const MAX_REQUEST: usize = 16;

/// What libzmq says of a host name that is to be bound.
const ENODEV: i32 = 19;

/// How often to look whether an address is free.
const LOOK: Duration = Duration::from_millis(2);

/// What this process has unbound of late. libzmq closes a socket in a thread of its own, some
/// moments after it was asked to: so who binds the same address again may have to wait for it.
static UNBOUND: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());

/// How long those moments may be.
const UNBINDING: Duration = Duration::from_secs(1);

/// Whether this process has unbound an address just now.
fn was_unbound(address: &str) -> bool {
    let mut unbound = UNBOUND.lock();
    unbound.retain(|(_, at)| at.elapsed() < UNBINDING);
    unbound.iter().any(|(known, _)| known == address)
}

/// The libzmq context of the process, as long as a socket is open: one for every 150
/// sockets, which is as many as one has room for. `inproc://` leads to those in the same one.
/// When its last socket is closed, a context waits until all have handed over what they had, or
/// their linger is over.
struct Context {
    zmq: zmq::Context,
    traffic: Traffic,
}

static CONTEXTS: Mutex<Vec<Weak<Context>>> = Mutex::new(Vec::new());

/// libzmq's own limit is 1,023 a context, of which a socket that is monitored takes three, and
/// those that were closed take theirs for some moments more.
const MOST_SOCKETS: usize = 150;

fn context() -> Arc<Context> {
    let mut all = CONTEXTS.lock();
    all.retain(|context| context.strong_count() > 0);
    let mut with_room = all
        .iter()
        .filter(|context| context.strong_count() < MOST_SOCKETS);
    with_room.find_map(Weak::upgrade).unwrap_or_else(|| {
        let zmq = zmq::Context::new();
        // Its threads start with its first socket. If that fails, so does the next, which tells.
        let traffic = Traffic::of(|| drop(zmq.socket(zmq::PAIR)));
        let context = Arc::new(Context { zmq, traffic });
        all.push(Arc::downgrade(&context));
        context
    })
}

/// The kinds of sockets that the pylm wire has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pull,
    Push,
    Pub,
    Sub,
    Rep,
    Dealer,
    /// Answers many at a time, each by the envelope of its request.
    Router,
    /// The side of the palm link that binds. What it has to say is bounded by what its peers
    /// let it, so libzmq's own bound, which would drop or hold up, is off.
    LinkServer,
    /// The side of the palm link that connects.
    LinkPeer,
}

impl Kind {
    fn raw(self) -> zmq::SocketType {
        match self {
            Self::Pull => zmq::PULL,
            Self::Push => zmq::PUSH,
            Self::Pub => zmq::XPUB,
            Self::Sub => zmq::SUB,
            Self::Rep => zmq::REP,
            Self::Dealer | Self::LinkPeer => zmq::DEALER,
            Self::Router | Self::LinkServer => zmq::ROUTER,
        }
    }

    /// More frames than any message may have that comes in here: the rest of a longer one is
    /// thrown away unread, and what is left is to be refused for its length.
    fn max_parts(self) -> usize {
        match self {
            Self::Router => MAX_REQUEST + 1,
            // The peer, and one more than there may be.
            Self::LinkServer | Self::LinkPeer => MAX_PARTS + 2,
            _ => 4,
        }
    }

    /// How many messages libzmq keeps for one peer on each side, unless it is set.
    fn high_water(self) -> i32 {
        match self {
            Self::LinkServer | Self::LinkPeer => 0,
            _ => HIGH_WATER,
        }
    }
}

/// What a thread waits for at its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// A message to read.
    Read,
    /// Room to write a message. (Always there on [`Kind::Pub`], which knows it by topic only.)
    Write,
    /// A message to read, or any news from a peer, such as that it has read something.
    ReadOrNews,
    /// Any news from a peer, while no message is to be read.
    News,
    /// Nothing: only the bell.
    Nothing,
}

/// What a frame is received as: a copy, or its bytes where they are.
pub(crate) trait Received {
    /// Takes the frame, or leaves it.
    fn take(frame: &mut zmq::Message) -> Self;
}

impl Received for Vec<u8> {
    fn take(frame: &mut zmq::Message) -> Self {
        spare::copy_of(frame)
    }
}

impl Received for Buffer {
    fn take(frame: &mut zmq::Message) -> Self {
        match frame.len() {
            LENT.. => Self::lent(Loan(std::mem::replace(frame, zmq::Message::new()))),
            _ => <Vec<u8> as Received>::take(frame).into(),
        }
    }
}

/// Where a frame came from.
fn address_in(frame: &mut zmq::Message) -> Option<String> {
    let peer = frame.gets("Peer-Address").filter(|peer| !peer.is_empty());
    peer.map(str::to_owned)
}

/// A frame that libzmq has received.
struct Loan(zmq::Message);

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Lent for Loan {}

/// A frame that others have, too.
struct Shared(Arc<dyn Lent>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Lent for Shared {}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routed {
    Sent,
    /// The peer has no room for it at present.
    Full,
    /// The peer is not there any more.
    Gone,
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Nothing,
    /// It was taken where it was.
    Taken,
    Parts,
}

/// What there may be to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// From peers.
    pub(crate) messages: bool,
    /// Of peers.
    pub(crate) peers: bool,
}

impl News {
    const ANY: Self = Self {
        messages: true,
        peers: true,
    };
}

/// One socket, used by one thread at a time.
pub(crate) struct Socket {
    // In this order: the socket is closed before the context may be.
    inner: zmq::Socket,
    received: zmq::Message,
    /// Where there is a bound on how many are on their way: each may keep its slab.
    slabs: Option<Slabs>,
    /// Where that came from, if it was lent to somebody.
    peer_of_lent: Option<String>,
    part: String,
    bound: Option<String>,
    max_parts: usize,
    /// What is told of the peers, if anybody wants to know.
    watch: Option<(Monitor, PeerCount)>,
    /// Whether it and its monitor are only read when there is news of them.
    attended: bool,
    /// What there may be to read, if it is.
    news: Cell<News>,
    ears: Ears,
    passed: Passed,
    context: Arc<Context>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some((monitor, _)) = self.watch.take() {
            self.end_monitor(monitor);
        }
        if let Some(address) = self.bound.take() {
            UNBOUND.lock().push((address, Instant::now()));
        }
    }
}

impl Socket {
    /// Opens a socket for a part. Frames far above `max_message` cut the connection that they
    /// come over; those just above are let in, to be refused by name.
    pub(crate) fn open(kind: Kind, part: &str, max_message: usize) -> Result<Self> {
        let context = context();
        let set_up = || -> zmq::Result<(zmq::Socket, Ears)> {
            let socket = context.zmq.socket(kind.raw())?;
            let limit = match kind {
                Kind::Pub => MAX_TOPIC,
                _ => max_message.saturating_add(ENVELOPE).saturating_mul(2),
            };
            socket.set_maxmsgsize(i64::try_from(limit).unwrap_or(i64::MAX))?;
            // A request that nobody waits for any more must not be carried out late.
            socket.set_linger(if kind == Kind::Dealer { 0 } else { LINGER })?;
            // Whoever speaks no ZMTP 3 (libzmq 4.0, of 2013) is refused once there is a domain,
            // though nobody is asked about it. Or any stray connection, such as a port scanner's,
            // would be taken for a peer of the first ZMTP, and given messages.
            socket.set_zap_domain("palm")?;
            socket.set_sndhwm(kind.high_water())?;
            socket.set_rcvhwm(kind.high_water())?;
            socket.set_tcp_keepalive(1)?;
            socket.set_tcp_keepalive_idle(KEEPALIVE_IDLE)?;
            socket.set_tcp_keepalive_intvl(KEEPALIVE_INTERVAL)?;
            socket.set_tcp_keepalive_cnt(KEEPALIVE_COUNT)?;
            socket.set_reconnect_ivl_max(1_000)?;
            if matches!(kind, Kind::Router | Kind::LinkServer) {
                // Or what a peer has no room for would be dropped without a word.
                socket.set_router_mandatory(true)?;
            }
            let ears = Ears {
                socket: socket.get_fd()?,
                monitor: None,
            };
            Ok((socket, ears))
        };
        let (inner, ears) = set_up().map_err(|error| Error::System {
            what: "a socket cannot be opened",
            source: io::Error::other(error.message()),
        })?;
        let mut socket = Self {
            inner,
            received: zmq::Message::new(),
            slabs: (kind.high_water() > 0).then(Slabs::default),
            peer_of_lent: None,
            part: part.to_owned(),
            bound: None,
            max_parts: kind.max_parts(),
            watch: None,
            attended: false,
            news: Cell::new(News::ANY),
            ears,
            passed: Passed::default(),
            context,
        };
        if kind == Kind::Pub {
            socket.set_drops(false)?;
            // A subscription is told even when there is another one to the same topic.
            let on = c_int::from(true).to_ne_bytes();
            socket.set_option(zmq_sys::ZMQ_XPUB_VERBOSE, &on, "XPUB_VERBOSE cannot be set")?;
        }
        Ok(socket)
    }

    /// Has the cancel of each subscriber be told, not only that of a topic's last one.
    pub(crate) fn tell_every_cancel(&mut self) -> Result<()> {
        let on = c_int::from(true).to_ne_bytes();
        self.set_option(
            zmq_sys::ZMQ_XPUB_VERBOSER,
            &on,
            "XPUB_VERBOSER cannot be set",
        )
    }

    /// Whether a subscriber without room is left out, or makes the send fail.
    fn set_drops(&mut self, drops: bool) -> Result<()> {
        let keep = c_int::from(!drops).to_ne_bytes();
        self.set_option(zmq_sys::ZMQ_XPUB_NODROP, &keep, "XPUB_NODROP cannot be set")
    }

    /// What every new subscriber gets first, if it subscribed to the beginning of it.
    pub(crate) fn set_welcome(&mut self, welcome: &[u8]) -> Result<()> {
        let what = "XPUB_WELCOME_MSG cannot be set";
        self.set_option(zmq_sys::ZMQ_XPUB_WELCOME_MSG, welcome, what)
    }

    /// Sets an option that the zmq crate does not offer.
    fn set_option(&mut self, option: u32, value: &[u8], what: &'static str) -> Result<()> {
        // SAFETY: the socket is open (it is closed on drop only), and libzmq copies the option's
        // bytes before it returns, of which the pointer and the size are those of a live slice.
        let code = unsafe {
            zmq_sys::zmq_setsockopt(
                self.inner.as_mut_ptr(),
                option as c_int,
                value.as_ptr().cast::<c_void>(),
                value.len(),
            )
        };
        match code {
            0 => Ok(()),
            _ => Err(Error::system(what)(last_error())),
        }
    }

    /// Publishes to those subscribers that have room; the others miss it.
    pub(crate) fn publish_to_who_has_room(&mut self, topic: &str, frame: &mut Frame) -> Result<()> {
        self.set_drops(true)?;
        let sent = self.try_publish(topic, frame);
        self.set_drops(false)?;
        sent.map(drop)
    }

    /// How many messages libzmq keeps for one peer on each side. Before it is bound or connected.
    pub(crate) fn set_high_water(&self, messages: u16) -> Result<()> {
        let messages = i32::from(messages);
        self.inner
            .set_sndhwm(messages)
            .and_then(|()| self.inner.set_rcvhwm(messages))
            .map_err(|error| Error::system("a high-water mark cannot be set")(text(error)))
    }

    /// Binds an address, and tells what was bound: the port in place of `*`.
    pub(crate) fn bind(&mut self, address: &str) -> Result<String> {
        let free;
        let address = match address {
            // libzmq would take a file relative to the current folder.
            "ipc://*" => {
                let name = format!("palm-{}", uuid::Uuid::new_v4().simple());
                free = format!("ipc://{}", std::env::temp_dir().join(name).display());
                &free
            }
            address => address,
        };
        address::check(address, Purpose::Bind)?;
        let part = self.part.clone();
        let refused = |source| Error::Bind {
            part,
            address: address.to_owned(),
            source,
        };
        if address::ipc_is_taken(address) {
            return Err(refused(io::ErrorKind::AddrInUse.into()));
        }
        if let Err(source) = self.prepare(address) {
            return Err(refused(source));
        }
        // SAFETY: see `attach`.
        while let Err(source) = unsafe { self.attach(zmq_sys::zmq_bind, address) } {
            if source.kind() == io::ErrorKind::AddrInUse && was_unbound(address) {
                std::thread::sleep(LOOK);
                continue;
            }
            return Err(refused(match source.raw_os_error() {
                Some(ENODEV) => io::Error::other("to bind, give an address in numbers, not a name"),
                _ => source,
            }));
        }
        let bound = self.bound_address(address);
        self.bound = Some(bound.clone());
        Ok(bound)
    }

    fn bound_address(&self, address: &str) -> String {
        match self.inner.get_last_endpoint() {
            Ok(Ok(bound)) if !bound.is_empty() => bound,
            _ => address.to_owned(),
        }
    }

    /// Connects to an address, whether or not somebody is there yet.
    pub(crate) fn connect(&mut self, address: &str) -> Result<()> {
        address::check(address, Purpose::Connect)?;
        let connected = self.prepare(address).and_then(|()| {
            // SAFETY: see `attach`.
            unsafe { self.attach(zmq_sys::zmq_connect, address) }
        });
        connected.map_err(|source| Error::Connect {
            part: self.part.clone(),
            address: address.to_owned(),
            source,
        })
    }

    fn prepare(&self, address: &str) -> io::Result<()> {
        if address.contains('[') {
            self.inner.set_ipv6(true).map_err(text)?;
        }
        Ok(())
    }

    /// Calls `zmq_bind` or `zmq_connect`. Not by way of the zmq crate, because it panics on
    /// error codes that it does not know, which the file system can give (`ipc://`).
    ///
    /// # Safety
    /// `call` must be one of the two: functions that take an open socket, which `self.inner` is
    /// until it is dropped, and a C string that they do not keep.
    unsafe fn attach(
        &mut self,
        call: unsafe extern "C" fn(*mut c_void, *const std::ffi::c_char) -> c_int,
        address: &str,
    ) -> io::Result<()> {
        let address = CString::new(address)?;
        // SAFETY: as the caller promises.
        match unsafe { call(self.inner.as_mut_ptr(), address.as_ptr()) } {
            0 => Ok(()),
            _ => Err(last_error()),
        }
    }

    /// Subscribes to every topic that begins with `prefix`.
    pub(crate) fn subscribe(&self, prefix: &str) -> Result<()> {
        self.inner
            .set_subscribe(prefix.as_bytes())
            .map_err(|error| Error::system("a subscription failed")(text(error)))
    }

    /// Takes such a subscription back. What has come by it and was not received is dropped.
    pub(crate) fn unsubscribe(&self, prefix: &str) -> Result<()> {
        self.inner
            .set_unsubscribe(prefix.as_bytes())
            .map_err(|error| Error::system("a subscription cannot be taken back")(text(error)))
    }

    /// Receives a message into `parts`, if one is there. Of one with more frames than any of
    /// ours may have, some are left out, but it still has too many.
    ///
    /// If it is [attended](Self::attend), that is known without a look.
    pub(crate) fn try_recv<P: Received>(&mut self, parts: &mut Vec<P>) -> Result<bool> {
        let got = self.try_recv_or(parts, |_| false)?;
        Ok(got != Got::Nothing)
    }

    /// The same, but a message of one frame is first shown to `takes`, which may take it where it
    /// is.
    pub(crate) fn try_recv_or<P: Received>(
        &mut self,
        parts: &mut Vec<P>,
        takes: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Got> {
        parts.clear();
        self.peer_of_lent = None;
        if self.is_quiet() {
            return Ok(Got::Nothing);
        }
        let mut takes = Some(takes);
        loop {
            match self.inner.recv(&mut self.received, zmq::DONTWAIT) {
                Ok(()) => {}
                Err(zmq::Error::EAGAIN) if parts.is_empty() => {
                    self.set_messages(false);
                    return Ok(Got::Nothing);
                }
                Err(zmq::Error::EINTR) => continue,
                Err(error) => return Err(self.broken(error)),
            }
            let more = self.received.get_more();
            self.passed.add(self.received.len(), &self.context.traffic);
            if let Some(takes) = takes.take()
                && !more
                && takes(&self.received)
            {
                return Ok(Got::Taken);
            }
            if parts.len() < self.max_parts {
                if self.received.len() >= LENT {
                    self.peer_of_lent = address_in(&mut self.received);
                }
                parts.push(P::take(&mut self.received));
            }
            if !more {
                return Ok(Got::Parts);
            }
        }
    }

    /// From now on it and its monitor are read only when a [wait](wait_for_any) or a
    /// [look](look_at) has told of news, or something was sent: to ask libzmq whether there is
    /// anything costs a system call each time.
    pub(crate) fn attend(&mut self) {
        self.attended = true;
        // A wait before this may have taken the signal for what is there: so it looks once.
        self.news.set(News::ANY);
    }

    /// Whether there is no message to read as far as is known.
    pub(crate) fn is_quiet(&self) -> bool {
        self.attended && !self.news.get().messages
    }

    fn set_messages(&self, messages: bool) {
        let News { peers, .. } = self.news.get();
        self.news.set(News { messages, peers });
    }

    /// Something that was heard by its [ears](Self::ears).
    pub(crate) fn note(&self, news: News) {
        let known = self.news.get();
        self.news.set(News {
            messages: known.messages || news.messages,
            peers: known.peers || news.peers,
        });
    }

    /// Where the message that was received last came from, as far as that is known.
    pub(crate) fn peer(&mut self) -> String {
        let known = self.peer_of_lent.clone();
        known
            .or_else(|| address_in(&mut self.received))
            .unwrap_or_else(|| "a peer".to_owned())
    }

    /// Sends one frame, if there is room; else nothing of it is sent.
    pub(crate) fn try_send(&mut self, frame: &[u8]) -> Result<bool> {
        self.send(frame, zmq::DONTWAIT)
    }

    /// Sends a message in one frame, if there is room. A large one is lent, not copied.
    pub(crate) fn try_send_frame(&mut self, frame: &mut Frame) -> Result<bool> {
        self.send_frame(frame, zmq::DONTWAIT)
    }

    fn send_frame(&mut self, frame: &mut Frame, flags: i32) -> Result<bool> {
        match frame.len() {
            LENT.. => self.send_lent(Shared(frame.clone().lend()), flags),
            _ => self.send(frame.as_bytes(), flags),
        }
    }

    /// Publishes a message, if all subscribers have room; else nothing of it is sent.
    pub(crate) fn try_publish(&mut self, topic: &str, frame: &mut Frame) -> Result<bool> {
        if !self.begin_publishing(topic)? {
            return Ok(false);
        }
        self.send_frame(frame, 0)
    }

    /// The same of a message as it stands.
    pub(crate) fn try_publish_bytes(&mut self, topic: &str, message: &[u8]) -> Result<bool> {
        if !self.begin_publishing(topic)? {
            return Ok(false);
        }
        self.send(message, 0)
    }

    /// Sends the topic, if all its subscribers have room.
    fn begin_publishing(&mut self, topic: &str) -> Result<bool> {
        // Room is a matter of the first part: the other belongs to it.
        let is_begun = self.send(topic.as_bytes(), zmq::DONTWAIT | zmq::SNDMORE)?;
        if !is_begun {
            // What it may have found out by that is to be known, or whoever waits for room would
            // take it for news each time.
            self.catch_up()?;
        }
        Ok(is_begun)
    }

    /// Sends several frames as one message, if there is room; else nothing of them is sent.
    pub(crate) fn try_send_parts(&mut self, parts: &[&[u8]]) -> Result<bool> {
        let Some((last, first)) = parts.split_last() else {
            return Ok(true);
        };
        for (index, part) in first.iter().enumerate() {
            // Room is a matter of the first frame: the others belong to it.
            let wait = if index == 0 { zmq::DONTWAIT } else { 0 };
            if !self.send(part, wait | zmq::SNDMORE)? {
                return Ok(false);
            }
        }
        self.send(last, if first.is_empty() { zmq::DONTWAIT } else { 0 })
    }

    /// Answers the request that came in this envelope: the frames before its empty one.
    pub(crate) fn try_route(&mut self, envelope: &[Vec<u8>], answer: &[u8]) -> Result<Routed> {
        let Some((peer, hops)) = envelope.split_first() else {
            return Ok(Routed::Gone);
        };
        self.set_messages(true);
        // Room, and whether the peer is there, is a matter of the first frame.
        match self.inner.send(peer, zmq::DONTWAIT | zmq::SNDMORE) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => return Ok(Routed::Full),
            Err(zmq::Error::EHOSTUNREACH) => return Ok(Routed::Gone),
            Err(error) => return Err(self.broken(error)),
        }
        for hop in hops {
            self.send(hop, zmq::SNDMORE)?;
        }
        self.send(&[], zmq::SNDMORE)?;
        self.send(answer, 0)?;
        Ok(Routed::Sent)
    }

    /// Says something on a link that this side has connected. `false` when there is no room.
    pub(crate) fn say(&mut self, said: Encoded) -> Result<bool> {
        self.say_parts(said, zmq::DONTWAIT)
    }

    /// Says something to a peer on a link that this side has bound.
    pub(crate) fn say_to(&mut self, peer: &[u8], said: Encoded) -> Result<Routed> {
        self.set_messages(true);
        match self.inner.send(peer, zmq::DONTWAIT | zmq::SNDMORE) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => return Ok(Routed::Full),
            Err(zmq::Error::EHOSTUNREACH) => return Ok(Routed::Gone),
            Err(error) => return Err(self.broken(error)),
        }
        self.say_parts(said, 0)?;
        Ok(Routed::Sent)
    }

    /// Sends frames, of which the first one is sent with these flags. `false` when there is no room.
    fn say_parts(&mut self, Encoded { first, large }: Encoded, flags: i32) -> Result<bool> {
        let more = |is_last| if is_last { 0 } else { zmq::SNDMORE };
        if !self.send(&first, flags | more(large.is_empty()))? {
            return Ok(false);
        }
        let last = large.len().saturating_sub(1);
        for (index, frame) in large.into_iter().enumerate() {
            self.send_lent(Shared(frame.lend()), more(index == last))?;
        }
        Ok(true)
    }

    fn send(&mut self, frame: &[u8], flags: i32) -> Result<bool> {
        if let Some(slabs) = &mut self.slabs
            && IN_SLABS.contains(&frame.len())
        {
            let frame = slabs.copy(frame);
            return self.send_lent(frame, flags);
        }
        self.passed.add(frame.len(), &self.context.traffic);
        // libzmq may find out, and tell us no more.
        self.set_messages(true);
        loop {
            match self.inner.send(frame, flags) {
                Ok(()) => return Ok(true),
                Err(zmq::Error::EAGAIN) => return Ok(false),
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    /// Sends a frame without copying it: libzmq keeps it until it is sent.
    fn send_lent<L: Lent + 'static>(&mut self, frame: L, flags: i32) -> Result<bool> {
        // libzmq may find out, and tell us no more.
        self.set_messages(true);
        let frame = Box::new(frame);
        let bytes = (*frame).as_ref();
        let (data, size) = (bytes.as_ptr(), bytes.len());
        self.passed.add(size, &self.context.traffic);
        let kept = Box::into_raw(frame);
        let mut message = MaybeUninit::<zmq_sys::zmq_msg_t>::uninit();
        // SAFETY: `data` and `size` are those of a live slice. It lives, unmoved and unchanged,
        // as long as somebody has what is lent, as `Lent` promises; and `kept` does, until
        // `release` drops it, which libzmq calls once, from whatever thread (it is `Send` and
        // `Sync`), when it needs the data no more. libzmq only reads them.
        let code = unsafe {
            zmq_sys::zmq_msg_init_data(
                message.as_mut_ptr(),
                data.cast_mut().cast::<c_void>(),
                size,
                Some(release::<L>),
                kept.cast::<c_void>(),
            )
        };
        if code != 0 {
            // SAFETY: as libzmq has not taken it, it is still ours.
            drop(unsafe { Box::from_raw(kept) });
            return Err(Error::died(&self.part, "libzmq has no memory left"));
        }
        loop {
            // SAFETY: the message was initialized above, and the socket is open.
            let sent = unsafe {
                zmq_sys::zmq_msg_send(message.as_mut_ptr(), self.inner.as_mut_ptr(), flags)
            };
            // On success libzmq has the message now, and closes it.
            if sent >= 0 {
                return Ok(true);
            }
            let error = last_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            // SAFETY: the message is initialized, and still ours as it was not sent; closed, it
            // is not used again.
            unsafe { zmq_sys::zmq_msg_close(message.as_mut_ptr()) };
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(false),
                _ => Err(Error::died(
                    &self.part,
                    format_args!("its socket failed: {error}"),
                )),
            };
        }
    }

    /// Waits for the socket, the bell, or the time-out. May return early.
    ///
    /// A thread that also waits for something that is announced by the bell calls this from
    /// within [`Bell::sleep`].
    pub(crate) fn wait(&self, want: Want, bell: &Bell, timeout: Option<Duration>) -> Result<()> {
        wait_for_any(&[(self, want)], bell, timeout)
    }

    /// Adds what is wanted of it to what is polled.
    fn poll_items<'a>(&'a self, want: Want, items: &mut PollItems<'a>) {
        let events = match want {
            Want::Read | Want::ReadOrNews => zmq::POLLIN,
            Want::Write => zmq::POLLOUT,
            Want::News | Want::Nothing => zmq::PollEvents::empty(),
        };
        items.push(self.inner.as_poll_item(events));
        if matches!(want, Want::ReadOrNews | Want::News) {
            items.push(zmq::PollItem::from_fd(self.ears.socket, zmq::POLLIN));
        }
        if let Some((monitor, _)) = &self.watch {
            items.push(monitor.0.as_poll_item(zmq::POLLIN));
        }
    }

    /// Whether it is bound for those in this process, of whom there is no news.
    pub(crate) fn is_local(&self) -> bool {
        let bound = self.bound.as_ref();
        bound.is_some_and(|address| address.starts_with("inproc:"))
    }

    /// Whether there is somebody to write to, with room.
    pub(crate) fn is_writable(&self) -> Result<bool> {
        Ok(self.events()?.contains(zmq::POLLOUT))
    }

    /// Whether there is a message to read.
    pub(crate) fn is_readable(&self) -> Result<bool> {
        Ok(self.events()?.contains(zmq::POLLIN))
    }

    /// What can be done with it.
    fn events(&self) -> Result<zmq::PollEvents> {
        loop {
            match self.inner.get_events() {
                Ok(events) => {
                    self.set_messages(events.contains(zmq::POLLIN));
                    return Ok(events);
                }
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    /// Whether there is already what is wanted of it.
    fn has_now(&self, want: Want) -> Result<bool> {
        let News { messages, peers } = self.news.get();
        let has = match want {
            // What is known may be no more than that something was sent.
            Want::Read => messages && self.is_readable()?,
            // A look would take what is no message for read.
            Want::ReadOrNews => messages,
            Want::Write => self.is_writable()?,
            Want::News | Want::Nothing => false,
        };
        Ok(has || peers && self.watch.is_some())
    }

    /// How to wait for it while other threads may use it.
    pub(crate) fn ears(&self) -> Ears {
        self.ears
    }

    /// Has libzmq look at what its peers did, so that the next send knows of it.
    pub(crate) fn catch_up(&self) -> Result<()> {
        self.events().map(drop)
    }

    /// Starts to count the peers. Before it is bound or connected. From then on, what is told
    /// of them ends every [`wait`](Self::wait), until [`peers`](Self::peers) is called.
    pub(crate) fn watch_peers(&mut self) -> Result<()> {
        let events = zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw()
            | zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL.to_raw()
            | zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL.to_raw()
            | zmq::SocketEvent::HANDSHAKE_FAILED_AUTH.to_raw()
            | zmq::SocketEvent::DISCONNECTED.to_raw();
        let monitor = self.monitor_of(events)?;
        let fd = monitor.0.get_fd().map_err(|error| self.broken(error))?;
        self.ears.monitor = Some(fd);
        self.watch = Some((monitor, PeerCount::default()));
        Ok(())
    }

    /// How many peers there are, and whether one has gone, if something was told since the last
    /// call. (There are no news of peers over `inproc://`.)
    pub(crate) fn peers(&mut self) -> Option<(usize, bool)> {
        let (monitor, count) = self.watch.as_mut()?;
        let News { messages, peers } = self.news.get();
        if self.attended && !peers {
            return None;
        }
        self.news.set(News {
            messages,
            peers: false,
        });
        let mut news = None;
        while let Ok(told) = monitor.0.recv_multipart(zmq::DONTWAIT) {
            let event = told.first().and_then(|event| event.first_chunk::<2>());
            if let Some(event) = event {
                let gone = count.note(u16::from_ne_bytes(*event));
                let (_, before) = news.unwrap_or_default();
                news = Some((count.peers, gone || before));
            }
        }
        news
    }

    /// Starts to tell when a connection is made. To be ended by [`Socket::end_monitor`]: libzmq
    /// stops all connections of the process when what it tells is not read.
    pub(crate) fn monitor(&self) -> Result<Monitor> {
        self.monitor_of(zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw())
    }

    fn monitor_of(&self, events: u16) -> Result<Monitor> {
        let address = format!("inproc://palm.monitor.{}", uuid::Uuid::new_v4());
        let open = || -> zmq::Result<zmq::Socket> {
            self.inner.monitor(&address, i32::from(events))?;
            let pair = self.context.zmq.socket(zmq::PAIR)?;
            pair.set_linger(0)?;
            pair.connect(&address)?;
            Ok(pair)
        };
        open()
            .map(Monitor)
            .map_err(|error| Error::system("a monitor cannot be opened")(text(error)))
    }

    /// Tells no more.
    pub(crate) fn end_monitor(&mut self, monitor: Monitor) {
        // SAFETY: the socket is open (it is closed on drop only); a null address ends the monitor.
        unsafe { zmq_sys::zmq_socket_monitor(self.inner.as_mut_ptr(), std::ptr::null(), 0) };
        drop(monitor);
    }

    fn broken(&self, error: zmq::Error) -> Error {
        Error::died(&self.part, format_args!("its socket failed: {error}"))
    }
}

/// Waits for any of these sockets of one thread, the bell, or the time-out. May return early.
/// As [`Socket::wait`].
pub(crate) fn wait_for_any(
    sockets: &[(&Socket, Want)],
    bell: &Bell,
    timeout: Option<Duration>,
) -> Result<()> {
    poll(sockets, Some(bell), timeout.map_or(-1, milliseconds))
}

/// The same, within a [sleep](Bell::sleep) of the bell that ends when it is `ready`. Whoever is so
/// at once, each time, knows all the same what news there is of sockets that are
/// [attended](Socket::attend).
pub(crate) fn sleep_until_any(
    sockets: &[(&Socket, Want)],
    bell: &Bell,
    timeout: Option<Duration>,
    ready: impl FnMut() -> bool,
) -> Result<()> {
    let has_waited = Cell::new(false);
    bell.sleep(ready, || {
        has_waited.set(true);
        wait_for_any(sockets, bell, timeout)
    })?;
    match has_waited.get() {
        true => Ok(()),
        false => look_at(sockets),
    }
}

/// Has these sockets, which are [attended](Socket::attend), know what news there is of them.
pub(crate) fn look_at(sockets: &[(&Socket, Want)]) -> Result<()> {
    poll(sockets, None, 0)
}

/// What is polled at once: seldom more than a link's sockets, with their monitors, and a bell.
type PollItems<'a> = SmallVec<[zmq::PollItem<'a>; 12]>;

fn poll(sockets: &[(&Socket, Want)], bell: Option<&Bell>, timeout: i64) -> Result<()> {
    let mut timeout = timeout;
    let mut items = PollItems::new();
    items.extend(bell.map(|bell| zmq::PollItem::from_fd(bell.as_raw_fd(), zmq::POLLIN)));
    // Whose news is at which place among the items.
    let mut heard: SmallVec<[_; 12]> = SmallVec::new();
    for (socket, want) in sockets {
        if !socket.attended {
            socket.poll_items(*want, &mut items);
            continue;
        }
        if timeout != 0 && socket.has_now(*want)? {
            timeout = 0;
        }
        let of_peers = socket.ears.monitor.map(|fd| (fd, false));
        let of_messages = (*want != Want::Nothing).then_some((socket.ears.socket, true));
        for (fd, messages) in of_messages.into_iter().chain(of_peers) {
            let news = News {
                messages,
                peers: !messages,
            };
            heard.push((items.len(), *socket, news));
            items.push(zmq::PollItem::from_fd(fd, zmq::POLLIN));
        }
    }
    match zmq::poll(&mut items, timeout) {
        Ok(_) => {
            let readable = heard.iter().filter(|(at, ..)| items[*at].is_readable());
            readable.for_each(|(_, socket, news)| socket.note(*news));
            Ok(())
        }
        Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(match sockets.first() {
            Some((socket, _)) => socket.broken(error),
            None => Error::system("a wait failed")(text(error)),
        }),
    }
}

/// What becomes readable when there is news for an [attended](Socket::attend) socket: to wait
/// while other threads may use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ears {
    socket: RawFd,
    monitor: Option<RawFd>,
}

impl Ears {
    /// Waits for news, the bell, or the time-out. May return early. The socket must be open all
    /// the time, and is to be [told](Socket::note).
    pub(crate) fn wait(&self, bell: &Bell, timeout: Duration) -> Result<News> {
        let fds = [Some(self.socket), Some(bell.as_raw_fd()), self.monitor];
        let fds = fds.into_iter().flatten();
        let mut items: PollItems<'_> = fds
            .map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLIN))
            .collect();
        match zmq::poll(&mut items, milliseconds(timeout)) {
            Ok(_) => Ok(News {
                messages: items[0].is_readable(),
                peers: items.get(2).is_some_and(zmq::PollItem::is_readable),
            }),
            Err(zmq::Error::EINTR) => Ok(News::ANY),
            Err(error) => Err(Error::system("a wait failed")(text(error))),
        }
    }
}

/// Waits for a bell, or the time-out. May return early.
pub(crate) fn wait_for(bell: &Bell, timeout: Duration) -> Result<()> {
    wait_for_any(&[], bell, Some(timeout))
}

/// Rounded up: a wait of less than a millisecond must not become a busy loop.
fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(i64::MAX)
}

/// Gives back what `send_lent` has lent to libzmq.
///
/// # Safety
/// `kept` is what `Box::into_raw` gave for a `Box<L>`, and it is called once for it.
unsafe extern "C" fn release<L: Lent>(_: *mut c_void, kept: *mut c_void) {
    // SAFETY: as the caller promises.
    drop(unsafe { Box::from_raw(kept.cast::<L>()) });
}

/// How many peers a socket has.
#[derive(Default)]
struct PeerCount {
    peers: usize,
    /// Connections that were no peers, and of whose end is told yet.
    failed: usize,
}

impl PeerCount {
    /// Notes an event. Whether a peer has gone.
    fn note(&mut self, event: u16) -> bool {
        const SUCCEEDED: u16 = zmq_sys::ZMQ_EVENT_HANDSHAKE_SUCCEEDED as u16;
        const DISCONNECTED: u16 = zmq_sys::ZMQ_EVENT_DISCONNECTED as u16;
        const STOPPED: u16 = zmq_sys::ZMQ_EVENT_MONITOR_STOPPED as u16;
        match event {
            SUCCEEDED => self.peers += 1,
            DISCONNECTED if self.failed > 0 => self.failed -= 1,
            DISCONNECTED => {
                self.peers = self.peers.saturating_sub(1);
                return true;
            }
            STOPPED => {}
            // One of the kinds of failed handshakes.
            _ => self.failed += 1,
        }
        false
    }
}

/// Tells when a socket's connection is made.
pub(crate) struct Monitor(zmq::Socket);

impl Monitor {
    /// Whether a connection was made since the last call.
    pub(crate) fn connected(&self) -> bool {
        let mut connected = false;
        while self.0.recv_multipart(zmq::DONTWAIT).is_ok() {
            connected = true;
        }
        connected
    }
}

fn text(error: zmq::Error) -> io::Error {
    io::Error::other(error.message())
}

/// What the last failed call of libzmq on this thread says.
fn last_error() -> io::Error {
    // SAFETY: both calls have no preconditions, and the text is a static C string.
    let (code, message) = unsafe {
        let code = zmq_sys::zmq_errno();
        (code, CStr::from_ptr(zmq_sys::zmq_strerror(code)))
    };
    match code {
        // libzmq's own codes are above this; the others are the system's.
        156_384_712.. => io::Error::other(message.to_string_lossy()),
        _ => io::Error::from_raw_os_error(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Socket, Socket) {
        let mut pull = Socket::open(Kind::Pull, "pull", 1 << 20).unwrap();
        let address = pull.bind("tcp://127.0.0.1:*").unwrap();
        let mut push = Socket::open(Kind::Push, "push", 1 << 20).unwrap();
        push.connect(&address).unwrap();
        (pull, push)
    }

    #[test]
    fn a_publisher_without_room_knows_that_there_is_no_news() {
        let bell = Bell::new().unwrap();
        let mut publisher = Socket::open(Kind::Pub, "pub", 1 << 20).unwrap();
        publisher.attend();
        let address = publisher.bind("tcp://127.0.0.1:*").unwrap();
        let mut subscriber = Socket::open(Kind::Sub, "sub", 1 << 20).unwrap();
        subscriber.subscribe("topic").unwrap();
        subscriber.connect(&address).unwrap();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        while !publisher.try_recv(&mut parts).unwrap() {
            wait_for_any(&[(&publisher, Want::Read)], &bell, None).unwrap();
        }
        assert_eq!(parts, [b"\x01topic"]);
        let mut frame = Frame::new("", "c", "s.f", "", &[7; 20_000]);
        while publisher.try_publish("topic", &mut frame).unwrap() {}
        // Or whoever waits for room would look again and again.
        assert!(publisher.is_quiet());
        subscriber.unsubscribe("topic").unwrap();
        while !publisher.try_recv(&mut parts).unwrap() {
            wait_for_any(&[(&publisher, Want::Read)], &bell, None).unwrap();
        }
        assert_eq!(parts, [b"\x00topic"]);
    }

    #[test]
    fn it_is_known_where_a_large_message_came_from_that_others_have_now() {
        let bell = Bell::new().unwrap();
        let mut pull = Socket::open(Kind::Pull, "pull", 1 << 20).unwrap();
        let address = pull.bind("tcp://127.0.0.1:*").unwrap();
        let mut push = Socket::open(Kind::Push, "push", 1 << 20).unwrap();
        push.connect(&address).unwrap();
        let mut frame = Frame::new("", "c", "s.f", "", &vec![7; 2 * LENT]);
        assert!(push.try_send_frame(&mut frame).unwrap());
        let mut parts: Vec<Buffer> = Vec::new();
        while !pull.try_recv(&mut parts).unwrap() {
            pull.wait(Want::Read, &bell, None).unwrap();
        }
        assert_eq!(*parts[0], *frame.as_bytes());
        assert_eq!(pull.peer(), "127.0.0.1");
    }

    #[test]
    fn who_never_waits_knows_of_news_all_the_same() {
        let (mut pull, mut push) = pair();
        pull.attend();
        let bell = Bell::new().unwrap();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        assert!(!pull.try_recv(&mut parts).unwrap());
        assert!(push.try_send(b"x").unwrap());
        let end = Instant::now() + Duration::from_secs(5);
        while !pull.try_recv(&mut parts).unwrap() {
            assert!(Instant::now() < end, "it never looks");
            sleep_until_any(&[(&pull, Want::Read)], &bell, None, || true).unwrap();
        }
        assert_eq!(parts, [b"x"]);
    }

    #[test]
    fn extra_frames_are_counted_but_not_kept() {
        let (mut pull, mut push) = pair();
        let bell = Bell::new().unwrap();
        let frames: Vec<&[u8]> = vec![b"x"; 50];
        assert!(push.try_send_parts(&frames).unwrap());
        assert!(push.try_send(b"single").unwrap());
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            if pull.try_recv(&mut parts).unwrap() {
                seen.push(parts.len());
            } else {
                pull.wait(Want::Read, &bell, Some(Duration::from_secs(5)))
                    .unwrap();
            }
        }
        assert_eq!(seen, [Kind::Pull.max_parts(), 1]);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let mut first = Socket::open(Kind::Pull, "first", 1).unwrap();
        let address = first.bind("tcp://127.0.0.1:*").unwrap();
        let mut second = Socket::open(Kind::Pull, "second", 1).unwrap();
        let error = second.bind(&address).unwrap_err().to_string();
        assert!(
            error.contains(&address) && error.contains("second"),
            "{error}"
        );
        assert!(error.contains("in use"), "{error}");
    }

    #[test]
    fn what_this_process_has_unbound_can_be_bound_again_at_once() {
        let mut socket = Socket::open(Kind::Pull, "part", 1).unwrap();
        let address = socket.bind("tcp://127.0.0.1:*").unwrap();
        for _ in 0..200 {
            drop(socket);
            socket = Socket::open(Kind::Pull, "part", 1).unwrap();
            socket.bind(&address).unwrap();
        }
    }

    #[test]
    fn a_live_ipc_socket_is_not_stolen() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("ipc://{}/socket", folder.path().display());
        let mut first = Socket::open(Kind::Pull, "first", 1).unwrap();
        first.bind(&address).unwrap();
        let mut second = Socket::open(Kind::Pull, "second", 1).unwrap();
        assert!(matches!(second.bind(&address), Err(Error::Bind { .. })));
        drop(first);
        // Closing is finished by a thread of libzmq's.
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while second.bind(&address).is_err() {
            assert!(std::time::Instant::now() < end, "the file stays taken");
            std::thread::yield_now();
        }
    }
}
