//! The thread of a link: what peers say goes into its [`Post`], what that has to say to them and
//! what it has for the component comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::connections::Connections;
use super::exit::Exit;
use super::short::{ShortWays, WayOut};
use super::{Publish, Work};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::link::{Conn, Made, Post};
use crate::error::Result;
use crate::message::FrameReader;
use crate::message::link::{Envelope, Head};
use crate::message::status::Status;
use crate::part::dealer::accept;
use crate::part::publish::Topics;
use crate::part::{Context, Inlet, Outlet, Parcel, Received};
use crate::socket::{Routed, Socket, Want};

/// How many envelopes are read from the socket before others have their turn, and when they have
/// it before that: when so many messages were in them.
const AT_ONCE: usize = 64;
const MESSAGES_AT_ONCE: usize = 512;

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
    parts: Vec<Vec<u8>>,
    reader: FrameReader,
    submitted: Exit,
    tasks: Option<Inlet>,
    results: Exit,
    to_workers: Exit,
    from_workers: Option<Inlet>,
    crowd: Option<Receiver<(usize, bool)>>,
    messages: Option<Inlet>,
    topics: Topics,
    short: ShortWays,
    short_first: bool,
    to_publisher: Exit,
    subscribers: Receiver<(String, usize)>,
}

impl<'a> Linking<'a> {
    /// What the faces have left goes in; `bell` is rung when there is something to do.
    pub(super) fn new(
        context: &'a Context,
        (socket, max_message): (Socket, usize),
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
        let (results, tasks, to_workers, from_workers, crowd) = match work {
            Some(work) => (
                work.results,
                work.tasks,
                Some(work.to_wire),
                Some(work.from_wire),
                Some(work.crowd),
            ),
            None => (None, None, None, None, None),
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
            reader: FrameReader::default(),
            submitted: exit(submitted),
            tasks,
            results: exit(results),
            to_workers: exit(to_workers),
            from_workers,
            crowd,
            messages: Some(publish.messages),
            topics: publish.topics,
            short,
            short_first: false,
            to_publisher: exit(Some(publish.to_wire)),
            subscribers: publish.subscribers,
        }
    }

    pub(super) fn run(&mut self, bell: &Bell) -> Result<()> {
        let ended = self.serve(bell);
        self.post.leave();
        self.say(Instant::now())?;
        let lost = [
            &self.submitted,
            &self.results,
            &self.to_workers,
            &self.to_publisher,
        ];
        let exits: usize = lost.iter().map(|exit| exit.waiting.len()).sum();
        self.context.say_lost(self.post.unanswered() + exits);
        match ended? {
            true => Ok(()),
            false => self.context.deserted("nobody takes its messages any more"),
        }
    }

    /// Until everybody ends, or a stop has let out what is inside. False when nobody takes its
    /// messages any more.
    fn serve(&mut self, bell: &Bell) -> Result<bool> {
        while !self.context.hard.is_raised() {
            bell.take_news();
            let mut more = self.receive()?;
            self.post.set_behind(more);
            more |= self.take_in();
            self.post.tick(Instant::now());
            // That, too, may have made something, or room.
            more |= self.go_short_ways(Instant::now());
            match self.hand_on() {
                Ok(moved) => more |= moved,
                Err(()) => return Ok(false),
            }
            more |= self.say(Instant::now())?;
            if self.context.soft.is_raised() && self.wind_up() {
                break;
            }
            if !more {
                self.sleep(bell)?;
            }
        }
        Ok(true)
    }

    /// Reads what peers have said. Whether there may be more.
    fn receive(&mut self) -> Result<bool> {
        let mut messages = 0;
        for _ in 0..AT_ONCE {
            if messages >= MESSAGES_AT_ONCE {
                break;
            }
            if !self.socket.try_recv(&mut self.parts)? {
                return Ok(false);
            }
            let Some((name, parts)) = self.parts.split_first_mut() else {
                continue;
            };
            let name = std::mem::take(name);
            let component = &self.context.component;
            match accept(parts, &mut self.reader, self.max_message, component) {
                Ok((head, _)) if head.ask_status => self.tell_status(name)?,
                Ok((head, frames)) => {
                    let conn = self.peers.number(&name, |conn| self.post.knows(conn));
                    messages += frames.len();
                    self.post.receive(conn, head, frames, Instant::now());
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
        let frames = Vec::new();
        // One who is gone by now needs no answer.
        self.socket
            .say_to(&name, Envelope { head, frames }.encode())?;
        self.asked.push((name, now));
        Ok(())
    }

    /// Takes what the component and the parts of the pylm wire have. Whether there was any.
    fn take_in(&mut self) -> bool {
        let now = Instant::now();
        // When there is little room, those on either wire are first in turn.
        self.short_first = !self.short_first;
        let mut moved = self.short_first && self.go_short_ways(now);
        if let Some(crowd) = &self.crowd
            && let Some(tasks) = self.post.tasks()
        {
            for (peers, gone) in crowd.try_iter() {
                tasks.set_wired(peers, gone, now);
                moved = true;
            }
        }
        for (prefix, count) in self.subscribers.try_iter() {
            self.post.set_wire_subscribers(&prefix, count);
            moved = true;
        }
        for _ in 0..BATCHES {
            let taken = !self.post.is_busy()
                && take_from(&mut self.tasks, |parcel| {
                    let Parcel { frame, ticket, .. } = parcel;
                    self.post.work(Made { frame, ticket }, now);
                });
            moved |= taken;
            if !taken {
                break;
            }
        }
        if let Some(tasks) = self.post.tasks() {
            moved |= take_from(&mut self.from_workers, |parcel| {
                tasks.wired(parcel.frame, now);
            });
        }
        let post = &mut self.post;
        let mut out = WayOut {
            topics: &mut self.topics,
            component: &self.context.component,
        };
        for _ in 0..BATCHES {
            if post.is_full() {
                break;
            }
            let taken = take_from(&mut self.messages, |parcel| out.publish(post, parcel, now));
            moved |= taken;
            if !taken {
                break;
            }
        }
        moved | self.go_short_ways(now)
    }

    /// Hands on what needs not leave this thread. Whether there was any.
    fn go_short_ways(&mut self, now: Instant) -> bool {
        let mut out = WayOut {
            topics: &mut self.topics,
            component: &self.context.component,
        };
        let takes = self.submitted.outlet.is_some();
        self.short.hand_on(&mut self.post, &mut out, takes, now)
    }

    /// Hands on what there is for the component and for the parts of the pylm wire. Whether
    /// there was any.
    fn hand_on(&mut self) -> Result<bool, ()> {
        let post = &mut self.post;
        let mut moved = false;
        moved |= self
            .results
            .feed(BATCHES, || match self.short.from_workers {
                true => None,
                false => post.next_result().map(Parcel::from),
            })?;
        moved |= self.submitted.feed(1, || {
            if self.short.to_workers.is_some() {
                return None;
            }
            let mut item = post.next_submitted()?;
            item.frame.fill_cache();
            Some(Parcel {
                topic: None,
                frame: item.frame,
                ticket: Some(item.ticket),
            })
        })?;
        moved |= self.to_workers.feed(BATCHES, || {
            let frame = post.tasks()?.next_wired()?;
            Some(frame.into())
        })?;
        moved |= self.to_publisher.feed(BATCHES, || {
            let (topic, frame) = post.next_published()?;
            Some(Parcel::new(Some(topic), frame))
        })?;
        Ok(moved)
    }

    /// Says what is to be said. Whether somebody turned out to be gone.
    fn say(&mut self, now: Instant) -> Result<bool> {
        let mut unsaid: BTreeMap<Conn, Vec<Head>> = BTreeMap::new();
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
        if !self.submitted.is_blocked() {
            self.submitted.outlet = None;
        }
        let works = !self.post.is_workless() || self.tasks.is_some();
        if !works && !self.results.is_blocked() {
            self.results.outlet = None;
            self.to_workers.outlet = None;
        }
        self.messages.is_none() && self.post.is_idle() && !self.to_publisher.is_blocked()
    }

    fn sleep(&self, bell: &Bell) -> Result<()> {
        let now = Instant::now();
        let until = self.post.deadline(now);
        let left = until.map(|until| until.saturating_duration_since(now));
        let is_ready = |inlet: &Option<Inlet>| inlet.as_ref().is_some_and(Inlet::is_ready);
        let ready = || {
            bell.has_news()
                || self.context.hard.is_raised()
                || (!self.post.is_busy() && is_ready(&self.tasks))
                || is_ready(&self.from_workers)
                || (!self.post.is_full() && is_ready(&self.messages))
                || self
                    .exits()
                    .any(|exit| exit.is_blocked() && exit.has_room())
        };
        bell.sleep(ready, || self.socket.wait(Want::Read, bell, left))
    }

    fn exits(&self) -> impl Iterator<Item = &Exit> {
        [
            &self.submitted,
            &self.results,
            &self.to_workers,
            &self.to_publisher,
        ]
        .into_iter()
    }
}

/// Takes a batch from an inlet. Whether there was one; at its end the inlet is let go.
fn take_from(inlet: &mut Option<Inlet>, take: impl FnMut(Parcel)) -> bool {
    match inlet.as_ref().map(Inlet::try_recv) {
        Some(Received::Batch(batch)) => {
            batch.into_iter().for_each(take);
            true
        }
        Some(Received::End) => {
            *inlet = None;
            true
        }
        Some(Received::Nothing) | None => false,
    }
}
