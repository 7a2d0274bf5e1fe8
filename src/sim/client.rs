//! A client: its session over one line or two, and for each job one who submits and one who
//! reads, as `client/tracked.rs` does it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::dealer::Dealer;
use super::net::{Arrival, Env};
use super::plan::{self, Id, Plan};
use crate::core::link::Party;
use crate::core::link::client::{
    Inbox, JobSettings, News, Output, Room, Session, Standing, Submitted, What,
};
use crate::message::link::{Head, Hello, Outgoing, Welcome};
use crate::message::{Failure, Frame};

/// What a message says, without what only makes it large.
pub(super) fn text_of(frame: &Frame) -> String {
    let text = String::from_utf8_lossy(frame.payload());
    text.split('#').next().unwrap_or_default().to_owned()
}

/// A payload that says this.
pub(super) fn padded(text: &str, plan: &Plan) -> Vec<u8> {
    let mut payload = text.as_bytes().to_vec();
    payload.push(b'#');
    payload.resize(payload.len().max(plan.size), b'.');
    payload
}

/// What has come of a message.
#[derive(Debug)]
pub(super) enum Came {
    Text(String),
    Failure(Failure),
}

/// A line of a session, by its number.
pub(crate) struct Over(pub(crate) Rc<RefCell<Session>>, pub(crate) usize);

impl Party for Over {
    fn hello(&mut self) -> Hello {
        self.0.borrow_mut().hello(self.1)
    }
    fn welcomed(&mut self, welcome: Welcome, _: &mut Outgoing, _: Instant) {
        self.0.borrow_mut().welcomed(self.1, welcome);
    }
    fn heard(&mut self, head: Box<Head>, frames: Vec<Frame>, out: &mut Outgoing, _: Instant) {
        self.0.borrow_mut().heard(self.1, head, frames, out);
    }
    fn lost(&mut self, _: Instant) {
        self.0.borrow_mut().lost(self.1);
    }
    fn speak(&mut self, out: &mut Outgoing, _: Instant) {
        self.0.borrow_mut().speak(self.1, out);
    }
    fn is_broken(&self) -> bool {
        self.0.borrow().is_broken(self.1)
    }
}

pub(super) struct Client {
    id: Id,
    name: String,
    plan: Rc<Plan>,
    session: Rc<RefCell<Session>>,
    lines: Vec<Dealer<Over>>,
    pub(super) jobs: Vec<Job>,
}

#[derive(Default)]
struct Flags {
    room: AtomicBool,
    outputs: AtomicBool,
}

pub(super) struct Job {
    spec: plan::Job,
    number: u64,
    news: Arc<Flags>,
    starts: Instant,
    // Who submits.
    inbox: Inbox,
    submitted: u64,
    room: Room,
    waits_for_room: bool,
    feeds: Instant,
    fed: bool,
    said_fed: bool,
    // Who reads.
    at_once: usize,
    outputs: VecDeque<Output>,
    read: Vec<Output>,
    waits_for_outputs: bool,
    reads: Instant,
    pub(super) came: BTreeMap<u64, Vec<Came>>,
    /// The order in which they were read.
    order: Vec<u64>,
    pub(super) over: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Complete,
    Cancelled,
}

impl Client {
    pub(super) fn new(id: Id, plan: &Rc<Plan>, env: &mut Env) -> Self {
        let name = env.name("client");
        let places: Vec<Id> = std::iter::once(0).chain(plan.last()).collect();
        let mut session = Session::new(&name, places.len(), 1 << 20);
        session.set_credit_messages(plan.credit);
        let session = Rc::new(RefCell::new(session));
        let lines = places
            .iter()
            .enumerate()
            .map(|(line, to)| Dealer::new(id, line, *to, Over(session.clone(), line), env.now));
        let spec = &plan.clients[id - plan.client_id(0)];
        let lines = lines.collect();
        let jobs = spec
            .jobs
            .iter()
            .map(|spec| Job::new(spec, &session, env.now));
        let jobs = jobs.collect();
        Self {
            id,
            name,
            plan: plan.clone(),
            session,
            lines,
            jobs,
        }
    }

    pub(super) fn receive(&mut self, arrival: Arrival, env: &mut Env) {
        if let Arrival::Down(socket, envelope) = arrival {
            let line = env.sockets[socket].line;
            self.lines[line].receive(socket, envelope, env.now);
        }
    }

    /// Does what there is to do. Gives when to come again; an error when something came that
    /// should not have.
    pub(super) fn run(&mut self, env: &mut Env) -> Result<Instant, String> {
        let mut again = env.now + Duration::from_secs(1_000_000);
        loop {
            let mut moved = false;
            for line in &mut self.lines {
                again = again.min(line.run(env));
            }
            for number in 0..self.jobs.len() {
                let job = &mut self.jobs[number];
                if job.over.is_some() || job.starts > env.now {
                    continue;
                }
                moved |= job.submit(self.id, number, &self.session, &self.plan, env);
                moved |= job.take(&self.session, env, self.id)?;
            }
            if !moved {
                break;
            }
        }
        for job in self.jobs.iter().filter(|job| job.over.is_none()) {
            let times = [
                Some(job.starts),
                (!job.fed && !job.waits_for_room).then_some(job.feeds),
                (!job.waits_for_outputs).then_some(job.reads),
            ];
            for time in times.into_iter().flatten().filter(|time| *time > env.now) {
                again = again.min(time);
            }
        }
        // What was done above may be said.
        for line in &mut self.lines {
            again = again.min(line.run(env));
        }
        Ok(again)
    }

    pub(super) fn is_over(&self) -> bool {
        self.jobs.iter().all(|job| job.over.is_some())
    }

    pub(super) fn cancel(&mut self, job: usize, env: &Env) {
        let job = &mut self.jobs[job];
        if job.over.is_none() && job.starts <= env.now {
            env.say(|| format!("{} cancels job {}", self.id, job.number));
            let mut session = self.session.borrow_mut();
            session.read(job.number, job.read.drain(..).chain(job.outputs.drain(..)));
            session.end(job.number);
            job.over = Some(Ended::Cancelled);
        }
    }

    /// Its readers read nothing until then.
    pub(super) fn pause(&mut self, until: Instant) {
        for job in &mut self.jobs {
            job.reads = job.reads.max(until);
        }
    }

    pub(super) fn leave(&mut self, env: &mut Env) {
        for line in &mut self.lines {
            line.leave(env);
        }
    }

    /// What is wrong with what has come.
    pub(super) fn wrong(&self, excuses: &super::check::Excuses<'_>) -> Option<String> {
        for (index, job) in self.jobs.iter().enumerate() {
            let texts =
                (1..=job.spec.messages).map(|number| (number, text(self.id, index, number)));
            for (number, text) in texts {
                let came = job.came.get(&number).map_or(&[][..], |came| came);
                let wanted = self.plan.ends(&text);
                let whole = job.over == Some(Ended::Complete);
                if let Some(wrong) = super::check::compare(&text, &wanted, came, whole, excuses) {
                    return Some(format!(
                        "message {text} (number {number}) of {}: {wrong}",
                        self.name
                    ));
                }
            }
            if job.spec.ordered && !job.order.is_sorted() {
                return Some(format!(
                    "{}/{}: outputs are out of order: {:?}",
                    self.name, job.number, job.order
                ));
            }
        }
        None
    }

    /// What is open, for people.
    pub(super) fn open(&self) -> String {
        let jobs = self.jobs.iter().filter(|job| job.over.is_none()).map(|job| {
            format!(
                "job {}: {} of {} submitted, outputs of {} came, waits for room {} for outputs {}",
                job.number, job.submitted, job.spec.messages, job.came.len(), job.waits_for_room, job.waits_for_outputs
            )
        });
        jobs.collect::<Vec<_>>().join("; ")
    }

    pub(super) fn left(&self) -> Vec<String> {
        self.session.borrow().left()
    }
}

/// What message this is, so that what becomes of it differs from all others.
fn text(client: Id, job: usize, number: u64) -> String {
    format!("{client}/{job}/{number}")
}

impl Job {
    fn new(spec: &plan::Job, session: &Rc<RefCell<Session>>, now: Instant) -> Self {
        let news = Arc::new(Flags::default());
        let settings = JobSettings {
            ordered: spec.ordered,
            one_each: false,
            messages: spec.window,
            bytes: 1 << 20,
        };
        let wakes = news.clone();
        let wake = move |news| match news {
            News::Room => wakes.room.store(true, Ordering::Relaxed),
            News::Outputs => wakes.outputs.store(true, Ordering::Relaxed),
        };
        let number = session
            .borrow_mut()
            .open(settings, Box::new(wake))
            .unwrap_or(0);
        Self {
            spec: spec.clone(),
            number,
            news,
            starts: now + spec.starts,
            inbox: Inbox::default(),
            submitted: 0,
            room: Room::default(),
            waits_for_room: false,
            feeds: now,
            fed: false,
            said_fed: false,
            at_once: (spec.window / 4).clamp(1, 64),
            outputs: VecDeque::new(),
            read: Vec::new(),
            waits_for_outputs: false,
            reads: now,
            came: BTreeMap::new(),
            order: Vec::new(),
            over: None,
        }
    }

    /// Submits what there is room for. Whether there was anything.
    fn submit(
        &mut self,
        id: Id,
        job: usize,
        session: &Rc<RefCell<Session>>,
        plan: &Plan,
        env: &mut Env,
    ) -> bool {
        let moved = self.feed(id, job, session, plan, env);
        // Not each time, so that some are put together.
        for message in self.inbox.take() {
            session.borrow_mut().submit(message);
        }
        if self.fed && !self.said_fed {
            session.borrow_mut().fed(self.number, None);
            self.said_fed = true;
        }
        moved
    }

    fn feed(
        &mut self,
        id: Id,
        job: usize,
        session: &Rc<RefCell<Session>>,
        plan: &Plan,
        env: &mut Env,
    ) -> bool {
        let mut moved = false;
        if self.waits_for_room && self.news.room.swap(false, Ordering::Relaxed) {
            self.waits_for_room = false;
        }
        while !self.fed && !self.waits_for_room && self.feeds <= env.now {
            if self.submitted == self.spec.messages {
                self.fed = true;
                return true;
            }
            let text = text(id, job, self.submitted + 1);
            let payload = padded(&text, plan);
            let mut session = session.borrow_mut();
            if self.room.messages == 0 || self.room.bytes < payload.len() {
                let Some(room) = session.room(self.number, payload.len()) else {
                    return moved;
                };
                if room.messages == 0 {
                    self.news.room.store(false, Ordering::Relaxed);
                    self.waits_for_room = true;
                    return moved;
                }
                self.room = room;
            }
            moved = true;
            self.room.messages -= 1;
            self.room.bytes -= payload.len();
            self.submitted += 1;
            let topic = session.topic(self.number);
            let form = Frame::new("", &topic, "s.f", "", b"");
            drop(session);
            if Inbox::is_small(&payload) {
                self.inbox.add(self.number, self.submitted, &form, &payload);
            } else {
                let mut frame = form.another("", &payload);
                frame.set_place(self.submitted, &[]);
                self.inbox.push(Submitted {
                    job: self.number,
                    number: self.submitted,
                    frame,
                });
            }
            if self.spec.feeds > Duration::ZERO {
                self.feeds = env.now + env.rng.time(2 * self.spec.feeds);
            }
        }
        moved
    }

    /// Reads what there is. Whether there was anything.
    fn take(
        &mut self,
        session: &Rc<RefCell<Session>>,
        env: &mut Env,
        id: Id,
    ) -> Result<bool, String> {
        let mut moved = false;
        if self.waits_for_outputs && self.news.outputs.swap(false, Ordering::Relaxed) {
            self.waits_for_outputs = false;
        }
        while self.over.is_none() && !self.waits_for_outputs && self.reads <= env.now {
            moved = true;
            if self.outputs.is_empty() {
                let mut session = session.borrow_mut();
                if !self.read.is_empty() {
                    session.read(self.number, self.read.drain(..));
                }
                self.news.outputs.store(false, Ordering::Relaxed);
                match session.take(self.number, self.at_once, &mut self.outputs) {
                    None => {}
                    Some(Standing::Open) => {
                        self.waits_for_outputs = true;
                        break;
                    }
                    Some(Standing::Complete(None)) => {
                        session.end(self.number);
                        self.over = Some(Ended::Complete);
                        env.say(|| format!("{id}: job {} is complete", self.number));
                        break;
                    }
                    Some(other) => {
                        return Err(format!("job {} stands like this: {other:?}", self.number));
                    }
                }
            }
            if let Some(mut output) = self.outputs.pop_front() {
                let Some(number) = output.number else {
                    return Err("an output of no message has come".to_owned());
                };
                let what = match output.take() {
                    What::Failure(failure) => Came::Failure(failure),
                    What::Frame(frame, at) => match frame.failure() {
                        Some(failure) => Came::Failure(failure),
                        None => Came::Text(text_of(&frame.single(at))),
                    },
                };
                env.say(|| format!("{id} reads of {number} {:?}: {what:?}", output.path));
                self.order.push(number);
                self.came.entry(number).or_default().push(what);
                self.read.push(output);
            }
            if self.spec.reads > Duration::ZERO {
                self.reads = env.now + env.rng.time(2 * self.spec.reads);
            }
        }
        Ok(moved)
    }
}
