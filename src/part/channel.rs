//! Bounded channels between parts.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{
    Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, TryRecvError, TrySendError,
    select,
};
use parking_lot::RwLock;

use super::Batch;
use super::signal::Signal;
use crate::bell::Bell;
use crate::core::turns::Portion;
use crate::error::Result;

/// How many batches a channel holds.
const BATCHES: usize = 8;

/// A channel between two parts, or a part and its user. It holds 8 batches; when it is full,
/// whoever sends waits: that is how back-pressure travels from part to part.
///
/// # Errors
/// [`Error::System`](crate::Error::System) when the process has no file descriptors left.
pub fn channel() -> Result<(Outlet, Inlet)> {
    Ok(joined(Measure::FIXED, Bell::new()?))
}

/// A channel that holds so many batches.
#[cfg(test)]
pub(super) fn channel_of(batches: usize) -> Result<(Outlet, Inlet)> {
    Ok(joined(
        Measure {
            batches,
            ..Measure::USUAL
        },
        Bell::new()?,
    ))
}

/// How much a channel holds.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// How many batches.
    pub(crate) batches: usize,
    /// How many messages may be in one, as long as whoever receives says nothing else.
    pub(crate) most: usize,
    /// Whether that may say so. (Not of a user's channel, who may count on what it holds.)
    pub(crate) is_fixed: bool,
}

impl Measure {
    pub(crate) const USUAL: Self = Self {
        batches: BATCHES,
        most: usize::MAX,
        is_fixed: false,
    };

    const FIXED: Self = Self {
        is_fixed: true,
        ..Self::USUAL
    };

    /// For so many threads that work on what comes: something for each when it is ready, and not
    /// much more. (Where a router is before them, that holds 8 such batches, too.) Several take their messages one by one; one alone says what it wants.
    pub(crate) fn of_workers(threads: usize) -> Self {
        Self {
            batches: 2 * threads.max(1),
            most: 1,
            is_fixed: false,
        }
    }
}

/// A channel whose receiver may wait for other things, too, that ring the same bell.
pub(super) fn joined(measure: Measure, bell: Arc<Bell>) -> (Outlet, Inlet) {
    let (sender, receiver) = crossbeam_channel::bounded(measure.batches);
    let most = Arc::new(AtomicUsize::new(measure.most));
    let (room, source) = (Room::default(), Source::default());
    let (senders, receivers) = (Arc::new(()), Arc::new(()));
    let outlet = Outlet {
        sender,
        receivers: Arc::downgrade(&receivers),
        _senders: senders.clone(),
        bell: RingOnDrop(bell.clone()),
        room: room.clone(),
        source: source.clone(),
        most: most.clone(),
        takes_bundles: false,
    };
    let inlet = Inlet {
        receiver,
        senders: Arc::downgrade(&senders),
        _receivers: receivers,
        bell,
        room: MoreRoom(room),
        source,
        most: (!measure.is_fixed).then_some(most),
    };
    (outlet, inlet)
}

/// The end of a channel that messages go into. The receiver ends when all clones are dropped.
#[derive(Clone)]
pub struct Outlet {
    // In this order: the receiver looks when the bell rings, so first the end, then the bell.
    sender: Sender<Batch>,
    /// Counts those who send, for the receiver to look at.
    _senders: Arc<()>,
    /// Whether anybody receives. (A `select` with no wait would tell both, after it has yielded
    /// the processor some times over in vain.)
    receivers: Weak<()>,
    bell: RingOnDrop,
    room: Room,
    source: Source,
    most: Arc<AtomicUsize>,
    takes_bundles: bool,
}

/// A connection over which comes what is sent into a channel: whoever waits at the channel may
/// hear it itself.
pub(super) trait Listen: Send + Sync {
    /// Waits in the caller's thread until it is `ready`, and hears what comes. Whoever else makes it
    /// ready rings the channel's bell. False when it does not wait.
    fn listen(&self, ready: &dyn Fn() -> bool) -> bool;
}

/// That connection, as long as it is there.
type Source = Arc<OnceLock<Weak<dyn Listen>>>;

/// How senders that wait at their sockets hear of room.
type Room = Arc<Waiting>;

#[derive(Default)]
struct Waiting {
    /// Whether one of them has found none since they were rung last. Whoever receives looks after
    /// it has made room, and whoever sends looks for room after it has said this: so one of the
    /// two sees the other.
    is_wanted: AtomicBool,
    /// Their bells, as long as they are there.
    bells: RwLock<Vec<Weak<Bell>>>,
}

impl Waiting {
    fn want(&self) {
        self.is_wanted.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct RingOnDrop(Arc<Bell>);

impl Drop for RingOnDrop {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// A batch that could not be sent, given back.
#[derive(Debug, PartialEq, Eq)]
pub enum NotSent {
    /// There was no room, or not in time.
    Full(Batch),
    /// Nobody receives any more.
    Closed(Batch),
}

impl Outlet {
    /// Sends a batch; waits while the channel is full.
    ///
    /// # Errors
    /// [`NotSent::Closed`] when the receiver is gone.
    pub fn send(&self, batch: Batch) -> Result<(), NotSent> {
        let sent = self.sender.send(batch);
        self.ring();
        sent.map_err(|error| NotSent::Closed(error.0))
    }

    /// Sends a batch if there is room.
    ///
    /// # Errors
    /// [`NotSent`] when there is no room, or the receiver is gone.
    pub fn try_send(&self, batch: Batch) -> Result<(), NotSent> {
        let sent = self.try_send_twice(batch);
        self.ring();
        sent
    }

    /// If there is no room, it looks again when it has said that it wants some: so it is rung when
    /// there is.
    fn try_send_twice(&self, batch: Batch) -> Result<(), NotSent> {
        let sent = match self.sender.try_send(batch) {
            Err(TrySendError::Full(batch)) => {
                self.room.want();
                self.sender.try_send(batch)
            }
            sent => sent,
        };
        sent.map_err(|error| match error {
            TrySendError::Full(batch) => NotSent::Full(batch),
            TrySendError::Disconnected(batch) => NotSent::Closed(batch),
        })
    }

    /// Sends a batch if there is room, of which whoever receives needs to know soon only: within a
    /// [nap](crate::bell::NAP). The sender is to [ring](Self::ring) when it has nothing else to
    /// send soon.
    pub(super) fn try_send_soon(&self, batch: Batch) -> Result<(), NotSent> {
        let sent = self.try_send_twice(batch);
        self.bell.0.ring_soon();
        sent
    }

    /// Sends a batch; waits while the channel is full, until `deadline` at the longest.
    ///
    /// # Errors
    /// [`NotSent`] when there was no room in time, or the receiver is gone.
    pub fn send_deadline(&self, batch: Batch, deadline: Instant) -> Result<(), NotSent> {
        let sent = self.sender.send_deadline(batch, deadline);
        self.ring();
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(batch) => NotSent::Full(batch),
            SendTimeoutError::Disconnected(batch) => NotSent::Closed(batch),
        })
    }

    /// Sends a batch; waits while the channel is full, until `stop` is raised at the longest.
    pub(crate) fn send_until(&self, batch: Batch, stop: &Signal) -> Result<(), NotSent> {
        let mut batch = batch;
        loop {
            batch = match self.try_send(batch) {
                Err(NotSent::Full(batch)) if !stop.is_raised() => batch,
                done => return done,
            };
            let mut select = Select::new();
            select.send(&self.sender);
            select.recv(stop.raised());
            select.ready();
        }
    }

    /// How many messages whoever receives wants in a batch now, at the most. Whoever has more is to
    /// send them as several.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// What is to be put into a batch next; nothing if it is to be sent as it is.
    pub(crate) fn next_in(&self, batch: &Batch) -> Option<Portion> {
        let most = self.most();
        let left = most.saturating_sub(batch.len());
        let at_once = if self.takes_bundles {
            left
        } else {
            left.min(1)
        };
        let portion = Portion {
            at_once,
            in_a_row: most,
        };
        (at_once > 0 && !batch.is_full()).then_some(portion)
    }

    /// Whether whoever receives takes bundles. If not, they are to be taken apart before.
    pub(super) fn takes_bundles(&self) -> bool {
        self.takes_bundles
    }

    pub(super) fn set_takes_bundles(&mut self, takes_bundles: bool) {
        self.takes_bundles = takes_bundles;
    }

    /// Has the channel ring this bell when there is room again, or nobody receives any more. All
    /// who send may have it so: which of them finds the room is open, so all are rung.
    pub(super) fn rings_for_room(&self, bell: &Arc<Bell>) {
        let mut bells = self.room.bells.write();
        bells.retain(|bell| bell.strong_count() > 0);
        bells.push(Arc::downgrade(bell));
    }

    /// What comes over this connection goes into the channel, of which the bell wakes who listens to
    /// it. Of several, whoever receives listens to the first.
    pub(super) fn comes_from<C: Listen + 'static>(&self, connection: &Arc<C>) {
        let connection: Weak<C> = Arc::downgrade(connection);
        let _ = self.source.set(connection);
    }

    /// Wakes whoever receives, if it sleeps at it.
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell.0
    }

    /// Whether [`try_send`](Self::try_send) would not give a batch back as
    /// [`Full`](NotSent::Full).
    pub(super) fn has_room(&self) -> bool {
        let has_room = || !self.sender.is_full() || self.receivers.strong_count() == 0;
        has_room() || {
            self.room.want();
            has_room()
        }
    }

    /// Adds the wait for room to a select.
    pub(super) fn select<'a>(&'a self, select: &mut Select<'a>) {
        select.send(&self.sender);
    }

    /// Wakes whoever receives.
    pub(super) fn ring(&self) {
        self.bell.0.ring();
    }
}

/// The end of a channel that messages come out of.
pub struct Inlet {
    // In this order: the sender looks when its bell rings, so first the end, then the bell.
    receiver: Receiver<Batch>,
    _receivers: Arc<()>,
    /// Whether anybody sends.
    senders: Weak<()>,
    bell: Arc<Bell>,
    room: MoreRoom,
    source: Source,
    /// What it [wants](Self::set_most), if it may say so.
    most: Option<Arc<AtomicUsize>>,
}

/// Tells the senders that wait at their sockets when there is room, and when nobody receives.
struct MoreRoom(Room);

impl MoreRoom {
    /// There may be room again.
    fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.0.is_wanted.load(Ordering::Relaxed)
            && self.0.is_wanted.swap(false, Ordering::SeqCst)
        {
            self.ring_all();
        }
    }

    fn ring_all(&self) {
        for bell in self.0.bells.read().iter().filter_map(Weak::upgrade) {
            bell.ring();
        }
    }
}

impl Drop for MoreRoom {
    fn drop(&mut self) {
        self.ring_all();
    }
}

/// What came of an attempt to receive.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A batch.
    Batch(Batch),
    /// Nothing, so far.
    Nothing,
    /// Nothing, and nothing will come: all senders are gone.
    End,
}

impl Inlet {
    /// The next batch, after waiting for it; `None` when all senders are gone.
    pub fn recv(&self) -> Option<Batch> {
        self.taken(self.receiver.recv().ok())
    }

    /// The next batch, if it is there.
    pub fn try_recv(&self) -> Received {
        let received = self.receiver.try_recv();
        self.room.ring();
        match received {
            Ok(batch) => Received::Batch(batch),
            Err(TryRecvError::Empty) => Received::Nothing,
            Err(TryRecvError::Disconnected) => Received::End,
        }
    }

    /// The next batch, after waiting for it for at most `timeout`.
    pub fn recv_timeout(&self, timeout: Duration) -> Received {
        let received = self.receiver.recv_timeout(timeout);
        self.room.ring();
        match received {
            Ok(batch) => Received::Batch(batch),
            Err(RecvTimeoutError::Timeout) => Received::Nothing,
            Err(RecvTimeoutError::Disconnected) => Received::End,
        }
    }

    /// Wants so many messages in a batch at the most, from now on: at least one. What is not sent
    /// stays where each whose it is has its turn. A [user's](channel()) channel stays as it is.
    pub(crate) fn set_most(&self, most: usize) {
        if let Some(wanted) = &self.most
            && wanted.load(Ordering::Relaxed) != most
        {
            wanted.store(most.max(1), Ordering::Relaxed);
        }
    }

    /// The next batch; waits for it until `stop` is raised, which is an end as well, or until there is
    /// something in `woken`: then there may be none.
    pub(crate) fn recv_until(&self, stop: &Signal, woken: Option<&Receiver<()>>) -> Received {
        let came = |batch| self.taken(batch).map_or(Received::End, Received::Batch);
        let Some(woken) = woken else {
            return select! {
                recv(self.receiver) -> batch => came(batch.ok()),
                recv(stop.raised()) -> _ => Received::End,
            };
        };
        select! {
            recv(self.receiver) -> batch => came(batch.ok()),
            recv(stop.raised()) -> _ => Received::End,
            recv(woken) -> _ => Received::Nothing,
        }
    }

    /// The same, but while it waits, it hears what comes over the connection that the channel's messages
    /// come from: so no thread has to wake up for that, and to wake this one. The signal, and whoever
    /// wakes, is to ring the channel's bell. (For one thread that receives: of several, one that does not
    /// listen would not be woken by what comes while the one that did is busy, or late only.)
    pub(crate) fn hear_until(&self, stop: &Signal, woken: Option<&Receiver<()>>) -> Received {
        let is_woken = || woken.is_some_and(|woken| !woken.is_empty());
        loop {
            if stop.is_raised() {
                return Received::End;
            }
            if let Received::Batch(batch) = self.try_recv() {
                return Received::Batch(batch);
            }
            let ready = || self.is_ready() || is_woken() || stop.is_raised();
            let source = self.source.get().and_then(Weak::upgrade);
            if ready() || !source.is_some_and(|source| source.listen(&ready)) {
                return self.recv_until(stop, woken);
            }
        }
    }

    /// Throws away what is there, at the end of who takes it. Gives how many messages those are.
    pub(crate) fn drain(&self) -> usize {
        let mut messages = 0;
        while let Received::Batch(batch) = self.try_recv() {
            messages += batch.len();
        }
        messages
    }

    /// Says that there is room again.
    fn taken(&self, batch: Option<Batch>) -> Option<Batch> {
        self.room.ring();
        batch
    }

    /// Whether [`try_recv`](Self::try_recv) has something to say: a batch, or the end.
    pub(crate) fn is_ready(&self) -> bool {
        !self.receiver.is_empty() || self.senders.strong_count() == 0
    }

    /// Adds the wait for a batch, or the end, to a select.
    pub(super) fn select<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.receiver);
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::message::Frame;
    use crate::socket::{Kind, Socket, Want};

    const SOON: Duration = Duration::from_secs(10);

    fn batch(payload: &[u8]) -> Batch {
        [Frame::new("", "", "s.f", "", payload)]
            .into_iter()
            .collect()
    }

    /// A connection over which so many batches come, as soon as somebody listens.
    struct Comes {
        outlet: Outlet,
        left: AtomicUsize,
        listens: AtomicBool,
    }

    impl Comes {
        fn into(outlet: &Outlet, batches: usize) -> Arc<Self> {
            let comes = Arc::new(Self {
                outlet: outlet.clone(),
                left: AtomicUsize::new(batches),
                listens: AtomicBool::new(false),
            });
            outlet.comes_from(&comes);
            comes
        }
    }

    impl Listen for Comes {
        fn listen(&self, ready: &dyn Fn() -> bool) -> bool {
            while !ready() {
                let took = self
                    .left
                    .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    });
                match took {
                    Ok(_) => self.outlet.try_send(batch(b"heard")).unwrap(),
                    Err(_) => {
                        self.listens.store(true, Ordering::SeqCst);
                        let bell = self.outlet.bell();
                        bell.sleep(ready, || bell.wait(SOON)).unwrap();
                    }
                }
            }
            true
        }
    }

    #[test]
    fn whoever_waits_hears_what_comes_and_is_woken_by_others_and_by_a_stop() {
        let (outlet, inlet) = channel().unwrap();
        let comes = Comes::into(&outlet, 2);
        let stop = Signal::new();
        stop.rings(inlet.bell().clone());
        for _ in 0..2 {
            assert_eq!(
                inlet.hear_until(&stop, None),
                Received::Batch(batch(b"heard"))
            );
        }
        let sleeps = || {
            while !(comes.listens.load(Ordering::SeqCst) && outlet.bell().is_asleep()) {
                std::thread::yield_now();
            }
        };
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sleeps();
                outlet.send(batch(b"sent")).unwrap();
            });
            assert_eq!(
                inlet.hear_until(&stop, None),
                Received::Batch(batch(b"sent"))
            );
            comes.listens.store(false, Ordering::SeqCst);
            scope.spawn(|| {
                sleeps();
                stop.raise();
            });
            assert_eq!(inlet.hear_until(&stop, None), Received::End);
        });
        assert!(start.elapsed() < SOON);
    }

    #[test]
    fn whoever_waits_does_so_by_itself_when_what_it_listened_to_is_gone() {
        let (outlet, inlet) = channel().unwrap();
        let comes = Comes::into(&outlet, 1);
        let stop = Signal::new();
        assert_eq!(
            inlet.hear_until(&stop, None),
            Received::Batch(batch(b"heard"))
        );
        drop(comes);
        std::thread::scope(|scope| {
            scope.spawn(|| outlet.send(batch(b"sent")).unwrap());
            assert_eq!(
                inlet.hear_until(&stop, None),
                Received::Batch(batch(b"sent"))
            );
        });
        drop(outlet);
        assert_eq!(inlet.hear_until(&stop, None), Received::End);
    }

    #[test]
    fn a_full_channel_gives_the_batch_back() {
        let (outlet, inlet) = channel().unwrap();
        for _ in 0..BATCHES {
            outlet.try_send(batch(b"x")).unwrap();
        }
        assert_eq!(
            outlet.try_send(batch(b"y")),
            Err(NotSent::Full(batch(b"y")))
        );
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(
            outlet.send_deadline(batch(b"y"), soon),
            Err(NotSent::Full(batch(b"y")))
        );
        assert_eq!(inlet.try_recv(), Received::Batch(batch(b"x")));
        outlet.send(batch(b"y")).unwrap();
    }

    #[test]
    fn a_batch_holds_as_many_as_whoever_receives_wants() {
        let (mut outlet, inlet) = joined(
            Measure {
                batches: 2,
                most: 3,
                ..Measure::USUAL
            },
            Bell::new().unwrap(),
        );
        let mut two = batch(b"x");
        two.push(Frame::new("", "", "s.f", "", b"y"));
        let next_in = |outlet: &Outlet, batch: &Batch| {
            let portion = outlet.next_in(batch)?;
            Some((portion.at_once, portion.in_a_row))
        };
        // One by one, if bundles are not wanted.
        assert_eq!(next_in(&outlet, &Batch::new()), Some((1, 3)));
        outlet.set_takes_bundles(true);
        assert_eq!(next_in(&outlet, &Batch::new()), Some((3, 3)));
        assert_eq!(next_in(&outlet, &two), Some((1, 3)));
        inlet.set_most(0);
        assert_eq!(next_in(&outlet, &Batch::new()), Some((1, 1)));
        assert_eq!(next_in(&outlet, &two), None);
        inlet.set_most(usize::MAX);
        assert!(next_in(&outlet, &two).is_some_and(|(at_once, _)| at_once > 1_000));
        while !two.is_full() {
            two.push(Frame::new("", "", "s.f", "", b"z"));
        }
        assert_eq!(next_in(&outlet, &two), None);
    }

    #[test]
    fn a_users_channel_holds_batches_as_they_are() {
        let (outlet, inlet) = channel().unwrap();
        inlet.set_most(1);
        assert_eq!(outlet.most(), usize::MAX);
    }

    #[test]
    fn a_raised_signal_ends_every_wait() {
        let (outlet, inlet) = channel().unwrap();
        let stop = Signal::new();
        std::thread::scope(|scope| {
            let receiving = scope.spawn(|| inlet.recv_until(&stop, None));
            stop.raise();
            assert_eq!(receiving.join().unwrap(), Received::End);
        });
        for _ in 0..BATCHES {
            outlet.send_until(batch(b"x"), &stop).unwrap();
        }
        assert_eq!(
            outlet.send_until(batch(b"y"), &stop),
            Err(NotSent::Full(batch(b"y")))
        );
    }

    #[test]
    fn the_end_comes_after_what_was_sent() {
        let (outlet, inlet) = channel().unwrap();
        outlet.clone().send(batch(b"x")).unwrap();
        drop(outlet);
        assert!(inlet.is_ready());
        assert_eq!(inlet.try_recv(), Received::Batch(batch(b"x")));
        assert_eq!(inlet.try_recv(), Received::End);
        assert_eq!(inlet.recv(), None);
    }

    #[test]
    fn all_who_wait_for_room_are_rung_and_none_is_kept() {
        let (outlet, inlet) = channel().unwrap();
        let bells = [(); 2].map(|()| Bell::new().unwrap());
        for bell in &bells {
            outlet.rings_for_room(bell);
        }
        while outlet.try_send(batch(b"x")).is_ok() {}
        std::thread::scope(|scope| {
            for bell in &bells {
                let outlet = &outlet;
                scope.spawn(move || {
                    let socket = Socket::open(Kind::Pull, "test", 1).unwrap();
                    // Without a time-out: a ring that is missed would hang the test.
                    let wait = || socket.wait(Want::Read, bell, None);
                    bell.sleep(|| outlet.has_room(), wait).unwrap();
                });
            }
            while !bells.iter().all(|bell| bell.is_asleep()) {
                std::thread::yield_now();
            }
            inlet.recv().unwrap();
        });
        let [one, _other] = bells;
        drop(one);
        outlet.rings_for_room(&Bell::new().unwrap());
        assert_eq!(outlet.room.bells.read().len(), 2);
    }

    #[test]
    fn whoever_waits_at_its_socket_for_room_is_rung() {
        let (outlet, inlet) = channel().unwrap();
        let bell = Bell::new().unwrap();
        outlet.rings_for_room(&bell);
        let socket = Socket::open(Kind::Pull, "test", 1).unwrap();
        // Without a time-out: a ring that is missed would hang the test.
        let wait = || {
            let wait = || socket.wait(Want::Read, &bell, None);
            bell.sleep(|| outlet.has_room(), wait).unwrap();
        };
        while outlet.try_send(batch(b"x")).is_ok() {}
        assert!(!outlet.has_room());
        std::thread::scope(|scope| {
            let taken = scope.spawn(move || {
                inlet.recv().unwrap();
                inlet
            });
            wait();
            let inlet = taken.join().unwrap();
            outlet.send(batch(b"x")).unwrap();
            assert!(!outlet.has_room());
            scope.spawn(move || drop(inlet));
            wait();
        });
        assert!(matches!(
            outlet.try_send(batch(b"y")),
            Err(NotSent::Closed(_))
        ));
    }
}
