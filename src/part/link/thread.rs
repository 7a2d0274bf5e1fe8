//! The thread of a link: what peers say goes into its [`Post`], what that has to say to them and
//! what it has for the component comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connections::Connections;
use super::exit::{Exit, Moved};
use super::short::{ShortWays, WayOut, has_room};
use super::wired::{Wants, Wired};
use super::{Publish, Work};
use crate::bell::{Bell, NAP};
use crate::core::complaints::Complaints;
use crate::core::link::{Conn, Item, Made, Post};
use crate::core::turns::Turns;
use crate::error::Result;
use crate::message::link::{Envelope, Head};
use crate::message::spare::Buffer;
use crate::message::status::Status;
use crate::message::{Frame, FrameReader};
use crate::part::dealer::accept;
use crate::part::publish::Topics;
use crate::part::receive::Came;
use crate::part::{Context, Inlet, Outlet, Parcel, Received};
use crate::socket::{Routed, Socket, Want, look_at, sleep_until_any};

/// How many envelopes are read from the socket before others have their turn, and when they have
/// it before that: when so many messages were in them.
const AT_ONCE: usize = 64;
const MESSAGES_AT_ONCE: usize = 512;

/// So many messages that were pushed on the pylm wire may wait for their turn, and so many bytes.
const PUSHED: usize = 256;
const PUSHED_BYTES: u64 = 256 << 10;

/// The same of messages on the pylm wire, by socket.
const WIRED_AT_ONCE: usize = 512;

/// How many batches are taken from the component before others have their turn: all that a
/// channel holds. What clients submit is handed to the router one batch at a time: so what is
/// between the clients' turns and those of the queue, in the order in which it came, stays little.
/// By the short way nothing is between them.
const BATCHES: usize = 8;

/// How often one peer is told the status, and how many are in that time: answers are long, and
/// nobody may have them pile up.
const ASKED: Duration = Duration::from_millis(100);
const ASKERS: usize = 16;

pub(super) struct Linking<'a> {
    context: &'a Context,
    socket: Socket,
    max_message: usize,
    post: Post,
    peers: Connections,
    since: Instant,
    /// Who was told the status of late.
    asked: Vec<(Vec<u8>, Instant)>,
    complaints: Complaints,
    parts: Vec<Buffer>,
    reader: FrameReader,
    submitted: Exit,
    /// What clients have pushed on the pylm wire that goes there.
    pushed: Turns<Made>,
    /// Whether that is the next to go there, before what comes over the link.
    pushed_first: bool,
    tasks: Option<Inlet>,
    results: Exit,
    messages: Option<Inlet>,
    topics: Topics,
    short: ShortWays,
    /// Whether those on the link are first in this turn.
    link_first: bool,
    wired: Wired,
    /// Whether a stop was known at the beginning of this turn.
    saw_soft: bool,
    /// Whether something has moved in this turn.
    has_moved: bool,
    /// Whether peers have said no more of late than could be heard in a turn.
    is_calm: bool,
}

impl<'a> Linking<'a> {
    /// What the faces have left goes in; `bell` is rung when there is something to do.
    pub(super) fn new(
        context: &'a Context,
        (socket, max_message, wired): (Socket, usize, Wired),
        post: Post,
        short: ShortWays,
        (submitted, work, publish): (Option<Outlet>, Option<Work>, Publish),
        bell: &Arc<Bell>,
    ) -> Self {
        let exit = |outlet: Option<Outlet>| {
            if let Some(outlet) = &outlet {
                outlet.rings_for_room(bell);
            }
            Exit::new(outlet)
        };
        let (results, tasks) = match work {
            Some(work) => (work.results, work.tasks),
            None => (None, None),
        };
        Self {
            context,
            socket,
            max_message,
            post,
            peers: Connections::default(),
            since: Instant::now(),
            asked: Vec::new(),
            complaints: Complaints::default(),
            parts: Vec::new(),
            reader: FrameReader::of_link(),
            submitted: exit(submitted),
            pushed: Turns::default(),
            pushed_first: false,
            tasks,
            results: exit(results),
            messages: Some(publish.messages),
            topics: publish.topics,
            short,
            link_first: false,
            wired,
            saw_soft: false,
            has_moved: false,
            is_calm: false,
        }
    }

    pub(super) fn run(&mut self, bell: &Bell) -> Result<()> {
        let ended = self.serve(bell);
        self.post.leave();
        self.say(Instant::now())?;
        let exits = self.submitted.waiting.len() + self.results.waiting.len();
        let unsent = exits + self.pushed.messages() + self.wired.unsent();
        self.context.say_lost(self.post.unanswered() + unsent);
        self.wired.say_end();
        match ended? {
            true => Ok(()),
            false => self.context.deserted("nobody takes its messages any more"),
        }
    }

    /// Until everybody ends, or a stop has let out what is inside. False when nobody takes its
    /// messages any more.
    ///
    /// It sleeps after a turn that has moved all that can move: what is left waits for a socket,
    /// for the bell, or for what [`sleep`](Self::sleep) looks at.
    fn serve(&mut self, bell: &Bell) -> Result<bool> {
        while !self.context.hard.is_raised() {
            self.has_moved = false;
            self.saw_soft = self.context.soft.is_raised();
            let now = Instant::now();
            let mut more = self.receive(now)?;
            more |= self.hear_wired(now)?;
            // When there is little room, those on either wire are first in turn.
            self.link_first = !self.link_first;
            if self.link_first {
                // What waits already, and one more.
                match self.submit(2) {
                    Ok(again) => more |= again,
                    Err(()) => return Ok(false),
                }
            }
            more |= self.take_in(now)?;
            // What is settled by now the post finds.
            bell.take_news();
            let now = Instant::now();
            self.post.tick(now);
            // Before all that nobody waits for.
            more |= self.say(now)?;
            // The tick may have made something, or room; what comes of it is to be seen to again.
            more |= self.go_short_ways(now);
            let (was_choked, was_full) = (self.post.is_choked(), self.post.is_full());
            let took_pushed = self.post.takes_pushed();
            match self.hand_on() {
                Ok(again) => more |= again,
                Err(()) => return Ok(false),
            }
            self.speak_wired(now)?;
            if self.context.soft.is_raised() && self.wind_up() {
                break;
            }
            // There is room for what waits inside.
            more |= was_choked && !self.post.is_choked() || was_full && !self.post.is_full();
            more |= !took_pushed && self.post.takes_pushed();
            more = more || !self.socket.is_quiet() && self.socket.is_readable()?;
            self.is_calm = !more;
            match more {
                true => look_at(&self.wants())?,
                false => self.sleep(bell)?,
            }
        }
        Ok(true)
    }

    /// Reads what peers have said. Whether there may be more.
    ///
    /// In calm times there is no look for more after the first thing: it would cost as much as to
    /// read one. There is one before the thread sleeps.
    fn receive(&mut self, now: Instant) -> Result<bool> {
        // Nor near the time at which the silent are looked for.
        let is_one = self.is_calm && !self.post.is_time(now + NAP);
        // Of what has not been heard, nobody may be found to be silent.
        self.post.set_behind(true);
        let mut messages = 0;
        for read in 0..AT_ONCE {
            if messages >= MESSAGES_AT_ONCE {
                break;
            }
            if is_one && read > 0 {
                return Ok(false);
            }
            if !self.socket.try_recv(&mut self.parts)? {
                self.post.set_behind(false);
                return Ok(false);
            }
            let Some((name, parts)) = self.parts.split_first_mut() else {
                continue;
            };
            let name = std::mem::take(name).into_vec();
            let component = &self.context.component;
            match accept(parts, &mut self.reader, self.max_message, component) {
                Ok((head, _)) if head.ask_status => self.tell_status(name)?,
                Ok((head, frames)) => {
                    let conn = self.peers.number(&name, |conn| self.post.knows(conn));
                    messages += frames.len();
                    self.post.receive(conn, head, frames, now);
                }
                Err(error) => {
                    self.peers.forget(&name);
                    self.post.note_refused();
                    let peer = self.socket.peer();
                    self.context.refuse(&mut self.complaints, &peer, error);
                }
            }
        }
        Ok(true)
    }

    /// Tells somebody how the component is, unless it was told just now.
    fn tell_status(&mut self, name: Vec<u8>) -> Result<()> {
        let now = Instant::now();
        self.asked
            .retain(|(_, at)| now.saturating_duration_since(*at) < ASKED);
        if self.asked.len() >= ASKERS || self.asked.iter().any(|(asker, _)| *asker == name) {
            return Ok(());
        }
        let status = Status {
            name: self.context.component.clone(),
            uptime: now.saturating_duration_since(self.since).as_millis() as u64,
            ..self.post.status(now)
        };
        let head = Head {
            status: Some(Box::new(status)),
            ..Head::default()
        };
        // One who is gone by now needs no answer.
        self.socket.say_to(&name, Envelope::of(head).encode())?;
        self.asked.push((name, now));
        Ok(())
    }

    /// Hears who is there on the pylm wire, and what its workers have made. Whether there may be
    /// more.
    fn hear_wired(&mut self, now: Instant) -> Result<bool> {
        let post = &mut self.post;
        self.wired.keep_up(now, |prefix, count| {
            post.set_wire_subscribers(prefix, count)
        })?;
        let Some(tasks) = post.tasks() else {
            return Ok(false);
        };
        if let Some((peers, gone)) = self.wired.crowd()? {
            tasks.set_wired(peers, gone, now);
        }
        // No hook is to see them.
        let passes = self.short.from_workers && matches!(self.topics, Topics::Client);
        for _ in 0..WIRED_AT_ONCE {
            if !self.wired.take_result(post, passes, now)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there is room for what clients push on the pylm wire.
    fn takes_pushed(&self) -> bool {
        let has_room = match self.short.to_workers {
            Some(_) => has_room(&self.post),
            None => self.pushed.messages() < PUSHED && self.pushed.bytes() < PUSHED_BYTES,
        };
        let takes = self.submitted.outlet.is_some() && !self.context.soft.is_raised();
        takes && has_room && self.post.takes_pushed()
    }

    /// Takes what clients push on the pylm wire, as far as there is room. Whether there may be
    /// more.
    fn take_pushed(&mut self, now: Instant) -> Result<bool> {
        // Where a hook is to see them, they go one by one.
        let gathers = self.short.to_workers.is_some() || self.submitted.takes_bundles();
        let mut left = WIRED_AT_ONCE;
        while left > 0 && self.takes_pushed() {
            match self.wired.next_pushed(gathers)? {
                Came::Message(frame) => self.push(frame, now),
                Came::Other => {}
                Came::Nothing => break,
            }
            left -= 1;
        }
        while let Some(gathered) = self.wired.gathered() {
            self.push(gathered, now);
        }
        self.has_moved |= left < WIRED_AT_ONCE;
        Ok(left == 0)
    }

    /// Hands on what a client has pushed.
    fn push(&mut self, frame: Frame, now: Instant) {
        let mut out = WayOut {
            topics: &mut self.topics,
            component: &self.context.component,
        };
        if let Some(frame) = self.short.push(&mut self.post, &mut out, frame, now) {
            self.pushed.push(Made {
                frame,
                ticket: None,
            });
        }
    }

    /// Gives workers and subscribers on the pylm wire what there is for them.
    fn speak_wired(&mut self, now: Instant) -> Result<()> {
        let post = &mut self.post;
        self.has_moved |= self.wired.give(|buffer| post.tasks()?.next_wired(buffer))?;
        self.has_moved |= self.wired.publish(now, || post.next_published())?;
        Ok(())
    }

    /// Takes what the component and clients on the pylm wire have. Whether there may be more.
    fn take_in(&mut self, now: Instant) -> Result<bool> {
        if self.link_first {
            self.go_short_ways(now);
        }
        let mut more = self.take_pushed(now)?;
        let post = &mut self.post;
        let tasks = take_from(
            &mut self.tasks,
            post,
            |post| !post.is_busy(),
            |post, Parcel { frame, ticket, .. }| post.work(Made { frame, ticket }, now),
        );
        let mut out = WayOut {
            topics: &mut self.topics,
            component: &self.context.component,
        };
        let messages = take_from(
            &mut self.messages,
            post,
            |post| !post.is_full(),
            |post, parcel| out.publish(post, parcel, now),
        );
        for moved in [tasks, messages] {
            more |= self.note(moved);
        }
        self.go_short_ways(now);
        Ok(more)
    }

    /// Notes what has moved. Whether there may be more.
    fn note(&mut self, moved: Moved) -> bool {
        self.has_moved |= moved != Moved::Nothing;
        moved == Moved::Some
    }

    /// Hands on what needs not leave this thread. Whether there was any.
    fn go_short_ways(&mut self, now: Instant) -> bool {
        let mut out = WayOut {
            topics: &mut self.topics,
            component: &self.context.component,
        };
        let takes = self.submitted.outlet.is_some();
        let moved = self.short.hand_on(&mut self.post, &mut out, takes, now);
        self.has_moved |= moved;
        moved
    }

    /// Hands on what there is for the component. Whether there may be more.
    fn hand_on(&mut self) -> Result<bool, ()> {
        let post = &mut self.post;
        let results = self.results.takes_bundles();
        let moved = self
            .results
            .feed(BATCHES, |_| match self.short.from_workers {
                true => None,
                false => post.next_result(results).map(Parcel::from),
            })?;
        Ok(self.note(moved) | self.submit(1)?)
    }

    /// Hands the component so many batches of what clients have submitted, where that way is not
    /// short: of those on either wire in turn. Whether there may be more.
    fn submit(&mut self, batches: usize) -> Result<bool, ()> {
        let (post, pushed) = (&mut self.post, &mut self.pushed);
        let takes = self.short.to_workers.is_none();
        let moved = self.submitted.feed(batches, |portion| {
            self.pushed_first = !self.pushed_first;
            let takes_pushed = post.takes_pushed();
            let mut pushed = || pushed.next(portion, |_| takes_pushed);
            let mut linked = || {
                let Item { frame, ticket } = post.next_submitted(portion)?;
                let ticket = Some(ticket);
                Some(Made { frame, ticket })
            };
            let mut made = match self.pushed_first {
                _ if !takes => None,
                true => pushed().or_else(linked),
                false => linked().or_else(pushed),
            }?;
            made.frame.fill_cache();
            Some(made.into())
        })?;
        Ok(self.note(moved))
    }

    /// Says what is to be said. Whether somebody turned out to be gone.
    fn say(&mut self, now: Instant) -> Result<bool> {
        let mut unsaid: BTreeMap<Conn, Vec<Box<Head>>> = BTreeMap::new();
        for (conn, envelope) in self.post.take(now) {
            if let Some(heads) = unsaid.get_mut(&conn) {
                heads.push(envelope.head);
            } else if let Some(name) = self.peers.names.get(&conn)
                && self.socket.say_to(name, envelope.encode())? != Routed::Sent
            {
                self.peers.remove(conn);
                unsaid.insert(conn, vec![envelope.head]);
            }
        }
        for (conn, heads) in &unsaid {
            self.post.unreachable(*conn, heads, now);
        }
        Ok(!unsaid.is_empty())
    }

    /// After a stop: takes nothing new, and lets go of each way out when nothing can come for
    /// it any more. Whether that is all.
    fn wind_up(&mut self) -> bool {
        if !self.submitted.is_blocked() && self.pushed.is_empty() {
            self.submitted.outlet = None;
        }
        let works = !self.post.is_workless() || self.tasks.is_some();
        if !works && !self.results.is_blocked() {
            self.results.outlet = None;
        }
        self.messages.is_none() && self.post.is_idle() && self.wired.is_empty()
    }

    /// Sleeps until there is something to do, and knows then what news there is of its sockets.
    fn sleep(&self, bell: &Bell) -> Result<()> {
        let now = Instant::now();
        let until = self.post.deadline(now);
        let left = until.map(|until| until.saturating_duration_since(now));
        let left = left.into_iter().chain(self.wired.deadline(now)).min();
        let nap = self.has_moved.then_some(NAP);
        let left = left.into_iter().chain(nap).min();
        bell.set_naps(left.is_some_and(|left| left <= NAP));
        let is_ready = |inlet: &Option<Inlet>| inlet.as_ref().is_some_and(Inlet::is_ready);
        let ready = || {
            bell.has_news()
                || self.context.hard.is_raised()
                || (!self.saw_soft && self.context.soft.is_raised())
                || (!self.post.is_busy() && is_ready(&self.tasks))
                || (!self.post.is_full() && is_ready(&self.messages))
                || self
                    .exits()
                    .any(|exit| exit.is_blocked() && exit.has_room())
        };
        sleep_until_any(&self.wants(), bell, left, ready)
    }

    /// What is wanted of the sockets.
    fn wants(&self) -> Wants<'_> {
        let mut wants = Wants::new();
        wants.push((&self.socket, Want::Read));
        self.wired.wants(self.takes_pushed(), &mut wants);
        wants
    }

    fn exits(&self) -> impl Iterator<Item = &Exit> {
        [&self.submitted, &self.results].into_iter()
    }
}

/// Takes what there is in an inlet, up to some batches, each while `has_room`; at its end the
/// inlet is let go.
fn take_from<T>(
    inlet: &mut Option<Inlet>,
    to: &mut T,
    has_room: impl Fn(&T) -> bool,
    mut take: impl FnMut(&mut T, Parcel),
) -> Moved {
    let mut moved = Moved::Nothing;
    for _ in 0..BATCHES {
        let from = inlet.as_ref().filter(|_| has_room(to));
        match from.map(Inlet::try_recv) {
            Some(Received::Batch(batch)) => {
                batch.into_iter().for_each(|parcel| take(to, parcel));
                moved = Moved::All;
            }
            Some(Received::End) => *inlet = None,
            Some(Received::Nothing) | None => return moved,
        }
    }
    Moved::Some
}
