//! The server's side of the palm link: what it hears from its peers, and what it says to them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outlets::{Seat, Subscriber};
use super::peers::Who;
use super::tasks::limit_of;
use super::{Clients, Conn, Item, Made, Outlets, Peers, Tasks, Told, heard, said};
use crate::core::custody::Ledger;
use crate::core::queue::{Leave, Settings};
use crate::core::stalled::Stalled;
use crate::core::turns::Portion;
use crate::message::link::{Envelope, Head, Hello, Kind, VERSION, Welcome};
use crate::message::{Frame, Giving, session_of};

/// What a server's side of the link is to be.
pub(crate) struct PostSettings {
    /// The id of this run of the server.
    pub(crate) epoch: String,
    /// How many bytes to keep for those who get something, and as many again of tasks and of
    /// what clients submit.
    pub(crate) hold: usize,
    /// How many later steps a message waits for.
    pub(crate) subscribers: usize,
    /// How long to wait for somebody who is away.
    pub(crate) patience: Duration,
    /// Whether clients may submit messages.
    pub(crate) submits: bool,
    /// The largest payload that it takes, in bytes.
    pub(crate) max_message: usize,
    /// Where to say whose messages are better not run.
    pub(crate) stalled: Arc<Stalled>,
    /// If it has workers: how it treats them.
    pub(crate) workers: Option<Settings>,
}

/// The server's side of the link, without its sockets.
///
/// What it hears goes in by [`receive`](Self::receive), [`unreachable`](Self::unreachable) and
/// what the component does; what it has for the component comes out by the `next_` functions,
/// and what it has to say by [`take`](Self::take).
pub(crate) struct Post {
    epoch: String,
    max_message: usize,
    ledger: Arc<Ledger>,
    peers: Peers,
    clients: Option<Clients>,
    outlets: Outlets,
    tasks: Option<Tasks>,
    /// How much that came from peers was malformed.
    refused: u64,
    /// When to look next who is late with something.
    look: Option<Instant>,
    /// When somebody would be late, as it was found then: it takes a look at each of them.
    late: Option<Instant>,
    /// Whether anything may have changed since.
    is_stirred: bool,
    /// Whether there is more to hear that has come: then nobody is silent.
    is_behind: bool,
}

/// How often to look for those who are late, at the most.
const LOOK: Duration = Duration::from_millis(50);

impl Post {
    pub(crate) fn new(settings: PostSettings, ledger: Arc<Ledger>) -> Self {
        let PostSettings {
            epoch,
            hold,
            subscribers,
            patience,
            submits,
            max_message,
            stalled,
            workers,
        } = settings;
        let tasks = workers.map(|settings| Tasks::new(settings, hold, run_of(&epoch)));
        Self {
            epoch,
            max_message,
            peers: Peers::default(),
            clients: submits.then(|| Clients::new(ledger.clone(), hold, patience)),
            outlets: Outlets::new(subscribers, hold, patience, stalled),
            tasks,
            ledger,
            refused: 0,
            look: None,
            late: None,
            is_stirred: false,
            is_behind: false,
        }
    }

    /// A peer has said something.
    pub(crate) fn receive(
        &mut self,
        conn: Conn,
        mut head: Box<Head>,
        frames: Vec<Frame>,
        now: Instant,
    ) {
        if let Some(hello) = head.hello.take() {
            self.hello(conn, *hello, now);
            return;
        }
        let Some(who) = self.peers.heard(conn, now).cloned() else {
            self.peers.ask(conn, now);
            return;
        };
        match who.kind {
            Kind::Client => self.hear_client(conn, &who, head, frames, now),
            Kind::Step => {
                self.hear_taker(conn, &who, &mut head, now);
                self.leave_if(head.bye, conn, &who, now);
            }
            Kind::Worker => self.hear_worker(conn, &who, head, frames, now),
        }
    }

    fn hello(&mut self, conn: Conn, hello: Hello, now: Instant) {
        let mut hello = hello;
        if hello.kind() == Kind::Client {
            hello.topic.clone_from(&hello.session);
        }
        let who = Arc::new(Who {
            kind: hello.kind(),
            session: hello.session.clone(),
            topic: hello.topic.clone(),
        });
        let serves = match who.kind {
            Kind::Worker => self.tasks.is_some(),
            Kind::Client | Kind::Step => true,
        };
        if !serves || hello.version != VERSION {
            // It hears no welcome, and looks for its server anew.
            return;
        }
        if self.peers.is_overtaken(&who, hello.nonce) {
            return;
        }
        if let Some(before) = self.peers.lose(conn).filter(|before| *before != who) {
            self.gone(conn, &before, false, now);
        }
        self.peers.add(conn, who.clone(), hello.nonce, now);
        let same_epoch = hello
            .position
            .as_ref()
            .is_some_and(|at| at.epoch == self.epoch);
        match who.kind {
            Kind::Worker => {
                self.welcome(conn, Welcome::default());
                if let Some(tasks) = &mut self.tasks {
                    tasks.join(&hello, same_epoch, conn, now);
                }
            }
            Kind::Client => {
                let position = self
                    .clients
                    .as_mut()
                    .and_then(|clients| clients.join(&who.session, conn, now));
                let credit = self.clients.as_ref().map(Clients::credit);
                let seat = self.outlets.join(subscriber(&hello, conn, same_epoch), now);
                let seat = seat.unwrap_or(Seat {
                    conn,
                    run: 0,
                    resumed: false,
                });
                self.welcome(
                    conn,
                    Welcome {
                        position,
                        credit,
                        run: seat.run,
                        resumed: seat.resumed,
                        ..Welcome::default()
                    },
                );
                self.tell_client_again(conn, &who);
            }
            Kind::Step => match self.outlets.join(subscriber(&hello, conn, same_epoch), now) {
                Some(seat) => self.seat(seat),
                None => self.peers.probe(&who.topic),
            },
        }
    }

    fn welcome(&mut self, conn: Conn, welcome: Welcome) {
        let nonce = self.peers.nonce(conn);
        let epoch = self.epoch.clone();
        let max_message = self.max_message as u64;
        if let Some(out) = self.peers.to(conn) {
            out.clear();
            out.note(|head| {
                head.welcome = Some(Box::new(Welcome {
                    version: VERSION,
                    nonce,
                    epoch,
                    max_message,
                    ..welcome
                }));
            });
        }
    }

    fn seat(&mut self, seat: Seat) {
        let Seat { conn, run, resumed } = seat;
        self.welcome(
            conn,
            Welcome {
                run,
                resumed,
                ..Welcome::default()
            },
        );
    }

    fn tell_client_again(&mut self, conn: Conn, who: &Who) {
        if let Some(clients) = &self.clients
            && let Some(out) = self.peers.to(conn)
        {
            clients.tell_again(&who.session, out);
        }
        self.tell_credit(Clients::new_credit);
    }

    fn hear_client(
        &mut self,
        conn: Conn,
        who: &Who,
        mut head: Box<Head>,
        frames: Vec<Frame>,
        now: Instant,
    ) {
        self.hear_taker(conn, who, &mut head, now);
        let Some(clients) = &mut self.clients else {
            self.leave_if(head.bye, conn, who, now);
            return;
        };
        for number in head.heard {
            clients.heard(&who.session, number);
        }
        if !head.cancel.is_empty() {
            clients.cancel(&who.session, &head.cancel);
            if let Some(tasks) = &mut self.tasks {
                tasks.cancel(&who.session, &head.cancel);
            }
        }
        if !frames.is_empty() && !clients.take(&who.session, head.first, frames) {
            // Something is missing: begin again.
            self.peers.lose(conn);
            self.gone(conn, who, false, now);
            self.peers.ask(conn, now);
            return;
        }
        self.leave_if(head.bye, conn, who, now);
    }

    fn leave_if(&mut self, bye: bool, conn: Conn, who: &Who, now: Instant) {
        if !bye {
            return;
        }
        self.peers.remove(conn);
        match who.kind {
            Kind::Client => {
                // Its last acknowledgements came with its leave.
                self.settle();
                self.forget_client(&who.session);
            }
            Kind::Worker => {
                if let Some(tasks) = &mut self.tasks {
                    tasks.leave(&who.session, Leave::Drained, now);
                }
            }
            // It may be restarted, and finds what it had not done then.
            Kind::Step => self.gone(conn, who, false, now),
        }
    }

    fn forget_client(&mut self, session: &str) {
        if let Some(clients) = &mut self.clients {
            clients.leave(session);
        }
        if let Some(tasks) = &mut self.tasks {
            tasks.forget(session);
        }
        self.outlets.leave(session);
        self.tell_credit(Clients::new_credit);
    }

    /// Tells all clients how much they may have open, if that is `new`.
    fn tell_credit(&mut self, new: impl FnOnce(&mut Clients) -> Option<super::Credit>) {
        let Some(clients) = &mut self.clients else {
            return;
        };
        let Some(credit) = new(clients) else {
            return;
        };
        for conn in clients.connected() {
            if let Some(out) = self.peers.to(conn) {
                out.note(|head| head.credit = Some(credit));
            }
        }
    }

    /// What whoever gets something says of it.
    fn hear_taker(&mut self, conn: Conn, who: &Who, head: &mut Head, now: Instant) {
        self.outlets.heard(&who.topic, &who.session, now);
        if !head.done.is_empty() {
            self.outlets.done(&who.topic, &who.session, head.done());
        }
        for outcome in std::mem::take(&mut head.outcomes) {
            let number = outcome.number;
            self.outlets
                .outcome(&who.topic, &who.session, number, heard(outcome));
            if let Some(out) = self.peers.to(conn) {
                out.note(|head| head.heard.push(number));
            }
        }
        if let Some(credit) = head.credit {
            self.outlets.set_credit(&who.topic, &who.session, credit);
        }
    }

    fn hear_worker(
        &mut self,
        conn: Conn,
        who: &Who,
        head: Box<Head>,
        frames: Vec<Frame>,
        now: Instant,
    ) {
        let Some(tasks) = &mut self.tasks else {
            return;
        };
        let mut frames = frames.into_iter();
        for result in head.results() {
            let own = frames.as_slice().iter().take(result.count);
            let bytes = own.map(Frame::len).sum();
            let mut own = frames.by_ref().take(result.count);
            let all = (bytes, &mut own);
            tasks.finished(&who.session, result, all, self.peers.to(conn), now);
            // Nobody has taken those of a result that does not count.
            own.for_each(drop);
        }
        if let Some(returned) = head.returned {
            tasks.returned(&who.session, &returned.ids, now);
        }
        if head.drain {
            tasks.drain(&who.session, now);
        }
        self.leave_if(head.bye, conn, who, now);
    }

    /// Whether somebody at this connection has said who it is.
    pub(crate) fn knows(&self, conn: Conn) -> bool {
        self.peers.knows(conn)
    }

    /// A peer cannot be reached any more, and this could not be said to it: tasks in that were not
    /// given, and are no death of it.
    pub(crate) fn unreachable(&mut self, conn: Conn, unsaid: &[Box<Head>], now: Instant) {
        let Some(who) = self.peers.lose(conn) else {
            return;
        };
        if let Some(tasks) = &mut self.tasks
            && !planted!(UnsaidIsGiven)
        {
            let given = unsaid.iter().flat_map(|head| head.tasks());
            tasks.not_given(&who.session, given.map(|(task, _)| task), now);
        }
        self.gone(conn, &who, false, now);
    }

    fn gone(&mut self, conn: Conn, who: &Who, silent: bool, now: Instant) {
        match (who.kind, &mut self.tasks) {
            (Kind::Worker, Some(tasks)) if silent => tasks.silent(&who.session, conn, now),
            (Kind::Worker, Some(tasks)) => tasks.lost(&who.session, conn, now),
            _ => {}
        }
        if who.kind == Kind::Client
            && let Some(clients) = &mut self.clients
        {
            clients.lost(&who.session, conn, now);
        }
        self.outlets.lost(&who.topic, &who.session, conn, now);
    }

    /// What is the next that a client has submitted.
    pub(crate) fn next_submitted(&mut self, portion: Portion) -> Option<Item> {
        let outlets = &self.outlets;
        let clients = self.clients.as_mut()?;
        let takes = |session: &str| {
            let tasks = self.tasks.as_ref();
            tasks.is_none_or(|tasks| tasks.takes_of(session))
        };
        clients.next(portion, |session| {
            !outlets.is_stalled(session) && takes(session)
        })
    }

    /// A message that a worker is to run, or a bundle.
    pub(crate) fn work(&mut self, made: Made, now: Instant) {
        let session = made.frame.session();
        let clients = self.clients.as_ref();
        if clients.is_some_and(|clients| clients.is_cancelled(session, &made.frame)) {
            if let Some(ticket) = made.ticket {
                ticket.done();
            }
        } else if let Some(tasks) = &mut self.tasks {
            // What a hub takes comes from the step before, which is asked for no more of who crowds.
            let of_step = clients.is_none().then(|| made.frame.clone());
            tasks.push(made, now);
            if let Some(frame) = of_step
                && let Some(crowd) = tasks.crowd_of(frame.session())
            {
                self.outlets.stalled().note_crowd(frame.session(), crowd);
            }
        }
    }

    /// The next message that has come of a task, or the next bundle if whoever asks takes
    /// `bundles`.
    pub(crate) fn next_result(&mut self, bundles: bool) -> Option<Made> {
        self.tasks.as_mut()?.next_result(bundles)
    }

    pub(super) fn work_queue(&self) -> Option<&Tasks> {
        self.tasks.as_ref()
    }

    /// Whether what a worker on the pylm wire has made for this client can be published there as it
    /// stands: nothing else is before it, and nobody wants to know more of it.
    pub(crate) fn may_pass(&self, client: &str, giving: Giving) -> bool {
        let tasks = self.tasks.as_ref();
        tasks.is_some_and(|tasks| tasks.may_pass(giving))
            && self.outlets.is_next_published(session_of(client))
    }

    /// The tasks, if it has workers.
    pub(crate) fn tasks(&mut self) -> Option<&mut Tasks> {
        self.tasks.as_mut()
    }

    /// A message for its client.
    pub(crate) fn give_client(&mut self, made: Made, now: Instant) {
        self.outlets.give_client(made, now);
    }

    /// A message for later steps.
    pub(crate) fn give_step(&mut self, topic: &str, made: Made, now: Instant) {
        self.outlets.give_step(topic, made, now);
    }

    /// A message whose topic is empty, which goes to nobody.
    pub(crate) fn give_nowhere(&mut self, made: Made) {
        if let Some(ticket) = made.ticket {
            ticket.done();
        }
    }

    /// So many subscribe to the topics that begin with `prefix` on the pylm wire.
    pub(crate) fn set_wire_subscribers(&mut self, prefix: &str, subscribers: usize) {
        self.outlets.set_wire(prefix, subscribers);
    }

    /// The next message that is to be published on the pylm wire, where nobody says what
    /// becomes of it.
    pub(crate) fn next_published(&mut self) -> Option<(String, Frame)> {
        let (topic, Made { frame, ticket }) = self.outlets.next_published()?;
        if let Some(ticket) = ticket {
            ticket.untracked();
        }
        Some((topic, frame))
    }

    /// Takes leave of everybody.
    pub(crate) fn leave(&mut self) {
        self.peers.leave();
    }

    /// Whether no task is left.
    pub(crate) fn is_workless(&self) -> bool {
        self.tasks.as_ref().is_none_or(Tasks::is_empty)
    }

    /// Whether it is time to look who is silent.
    pub(crate) fn is_time(&self, now: Instant) -> bool {
        self.peers.is_time(now)
    }

    /// Says whether more may have come than was received so far.
    pub(crate) fn set_behind(&mut self, is_behind: bool) {
        self.is_behind = is_behind;
    }

    /// Looks what time it is, and what there is to do and to say.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.settle();
        if self.peers.is_time(now) && !self.is_behind {
            for conn in self.peers.silent(now) {
                if let Some(who) = self.peers.lose(conn) {
                    self.gone(conn, &who, true, now);
                }
            }
        }
        self.is_stirred = self.look.is_some_and(|look| look > now);
        if !self.is_stirred {
            self.look = Some(now + LOOK);
            self.look_around(now);
        }
        let tasks = self.tasks.as_ref().filter(|_| self.clients.is_none());
        self.outlets.look_at_stalled(!self.is_stirred, |session| {
            tasks.and_then(|tasks| tasks.crowd_of(session))
        });
        let unread = self.outlets.take_unread();
        if let Some(tasks) = &mut self.tasks {
            let outlets = &self.outlets;
            for session in unread {
                tasks.call_back(&session);
            }
            let room = |session: &str, coming| outlets.room_for(session, coming);
            tasks.assign(now, room, &mut self.peers);
        }
        // Tasks may have come to their end by that.
        self.settle();
        let clients = self.clients.as_ref();
        self.outlets
            .speak(&mut self.peers, |session| clients?.stream_of(session));
    }

    fn look_around(&mut self, now: Instant) {
        let expired = self.clients.as_ref().map(|clients| clients.expired(now));
        for session in expired.into_iter().flatten() {
            self.forget_client(&session);
        }
        self.tell_credit(Clients::credit_of_streams);
        self.outlets.expire(now);
        for seat in self.outlets.seat() {
            self.seat(seat);
        }
        let clients = self.clients.as_ref().and_then(Clients::deadline);
        let seats = self.outlets.has_newcomers().then_some(now);
        let late = [clients, self.outlets.deadline(), seats];
        self.late = late.into_iter().flatten().min();
    }

    /// Tells clients what is done.
    fn settle(&mut self) {
        let Some(clients) = &mut self.clients else {
            return;
        };
        for settled in self.ledger.take() {
            clients.settle(settled, |conn, told| {
                let Some(out) = self.peers.to(conn) else {
                    return;
                };
                match told {
                    Told::Done(number, count, false) => {
                        out.note(|head| head.add_done(number, count));
                    }
                    Told::Done(number, count, true) => {
                        out.note_unhurried(count, |head| head.add_done(number, count));
                    }
                    Told::Outcome(number, outcome) => out.outcome(said(number, &outcome)),
                }
            });
        }
    }

    /// Something malformed has come from a peer.
    pub(crate) fn note_refused(&mut self) {
        self.refused += 1;
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// All that is to be said now.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<(Conn, Envelope)> {
        self.peers.take(now)
    }

    /// When to call [`tick`](Self::tick) again though nothing happens.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let tasks = self.tasks.as_ref().and_then(Tasks::deadline);
        let soon = now + LOOK;
        let late = match self.is_stirred {
            true => Some(soon),
            false => self.late.map(|late| late.max(soon)),
        };
        [self.peers.deadline(now), tasks, late]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether it can keep no more results.
    pub(crate) fn is_full(&self) -> bool {
        self.outlets.is_full()
    }

    /// Whether no worker is given anything because of the results that nobody has taken.
    pub(crate) fn is_choked(&self) -> bool {
        self.tasks.as_ref().is_some_and(Tasks::is_choked)
    }

    /// Whether it can keep no more tasks.
    pub(crate) fn is_busy(&self) -> bool {
        let crowd = self.outlets.stalled().crowd();
        let tasks = self.tasks.as_ref();
        tasks.is_some_and(|tasks| tasks.is_full(crowd))
    }

    /// Whether it takes tasks that are pushed on the pylm wire, if there is room at all.
    pub(crate) fn takes_pushed(&self) -> bool {
        let tasks = self.tasks.as_ref();
        !self.outlets.is_wire_full() && tasks.is_none_or(Tasks::takes_pushed)
    }

    /// How many results nobody answers for that are still inside.
    pub(crate) fn unanswered(&self) -> usize {
        self.tasks.as_ref().map_or(0, Tasks::unanswered)
    }

    /// Whether it keeps nothing for anybody.
    pub(crate) fn is_idle(&self) -> bool {
        self.outlets.is_empty() && self.is_workless()
    }

    pub(crate) fn clients(&self) -> Option<&Clients> {
        self.clients.as_ref()
    }

    pub(crate) fn outlets(&self) -> &Outlets {
        &self.outlets
    }
}

/// The number of a run of a server.
fn run_of(epoch: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    epoch.hash(&mut hasher);
    hasher.finish()
}

fn subscriber(hello: &Hello, conn: Conn, same_epoch: bool) -> Subscriber<'_> {
    Subscriber {
        topic: &hello.topic,
        is_client: hello.kind() == Kind::Client,
        session: &hello.session,
        name: &hello.name,
        conn,
        credit: hello.credit.unwrap_or_default(),
        max_message: limit_of(hello.max_message),
        position: hello.position.as_ref().filter(|_| same_epoch),
    }
}

#[cfg(test)]
impl Post {
    pub(crate) fn set_client_credit(&mut self, messages: u64) {
        if let Some(clients) = &mut self.clients {
            clients.set_credit_messages(messages);
        }
    }

    /// What is kept, for a test that there is nothing.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = self.clients.as_ref().map_or(Vec::new(), Clients::left);
        left.extend(self.outlets.left());
        left.extend(self.tasks.iter().flat_map(Tasks::left));
        if !self.ledger.is_empty() {
            left.push("what is settled is not told".to_owned());
        }
        left
    }
}

#[cfg(test)]
mod tests;
