//! What answers requests, many at a time.
//!
//! ```text
//! [envelope, "", message] ─► noted under a fresh id ─► outlet ─► … ─► inlet ─► its request
//!                                                                                  │
//! [envelope, "", answer] ◄─────────────────────────────────────────────────────────┘
//! ```
//!
//! A REP socket would take a request only when the one before is answered. A ROUTER socket
//! looks the same to who asks, and takes them all.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::attached::{Attached, Plan};
use super::envelope::{Envelope, split};
use super::{Batch, Context, Crew, Duty, Inlet, NotSent, Outlet, Place, Received};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::core::requests::Requests;
use crate::error::{Error, Result, seconds};
use crate::message::{Frame, FrameReader};
use crate::socket::{Kind, Routed, Want};
use crate::time::after;

/// How many requests may be open, with those whose answers are not sent yet.
const OPEN: usize = 1_024;

/// How many requests to hand over at once, and how many bytes.
const MOST: usize = 256;
const MOST_BYTES: usize = 256 << 10;

/// How often to look whether a peer has room.
const LOOK: Duration = Duration::from_millis(10);

/// How many bytes of answers may be held for peers that do not take them.
const HOLD: usize = 32 << 20;

/// The answer to a request that was taken, when no other is to come.
const TAKEN: &[u8] = b"1";

/// The answer when there is none.
const FAILED: &[u8] = b"0";

/// What all parts are that answer requests of the stream.
pub(super) struct Reply {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) max_message: usize,
    pub(super) timeout: Duration,
}

impl Reply {
    pub(super) fn spawn(
        self,
        crew: &mut Crew,
        outlet: Option<Outlet>,
        answers: Option<Inlet>,
    ) -> Result<()> {
        let bell = match &answers {
            Some(answers) => answers.bell().clone(),
            None => Bell::new()?,
        };
        let plan = Plan {
            kind: Kind::Router,
            part: self.name.clone(),
            topic: None,
            place: self.place,
            max_message: self.max_message,
            high_water: None,
        };
        let limit = self.max_message;
        let timeout = self.timeout;
        crew.spawn(&self.name, Duty::Carries, move |context| {
            context.wake_by(&bell);
            if let Some(outlet) = &outlet {
                outlet.rings_for_room(&bell);
            }
            let (attached, bound) = Attached::open(plan, &bell)?;
            context.ready(bound)?;
            let mut replying = Replying::new(context, attached, outlet, answers, limit, timeout);
            replying.run(&bell)
        });
        Ok(())
    }
}

/// A request that waits for its answer.
struct Request {
    envelope: Envelope,
    /// The requester's own id.
    cache: String,
}

/// An answer that its peer had no room for yet.
struct Answer {
    envelope: Envelope,
    bytes: Vec<u8>,
    until: Instant,
}

struct Replying<'a> {
    context: &'a Context,
    attached: Attached,
    /// Where requests go; `None` when no more are taken.
    outlet: Option<Outlet>,
    /// Where answers come from, if any are to.
    answers: Option<Inlet>,
    /// The largest payload to take.
    limit: usize,
    timeout: Duration,
    /// Why it cannot go on, if it cannot.
    deserted: Option<&'static str>,
    requests: Requests<Request>,
    /// Requests that are not handed over yet.
    pending: VecDeque<(Uuid, Frame)>,
    unsent: VecDeque<Answer>,
    /// How many bytes those have.
    held: usize,
    parts: Vec<Vec<u8>>,
    reader: FrameReader,
    refused: Complaints,
    /// Requests without an answer, and answers without a request.
    missed: Complaints,
}

impl<'a> Replying<'a> {
    fn new(
        context: &'a Context,
        attached: Attached,
        outlet: Option<Outlet>,
        answers: Option<Inlet>,
        limit: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            context,
            attached,
            outlet,
            answers,
            limit,
            timeout,
            deserted: None,
            requests: Requests::new(OPEN, timeout),
            pending: VecDeque::new(),
            unsent: VecDeque::new(),
            held: 0,
            parts: Vec::new(),
            reader: FrameReader::default(),
            refused: Complaints::default(),
            missed: Complaints::default(),
        }
    }

    fn run(&mut self, bell: &Bell) -> Result<()> {
        loop {
            self.send_unsent()?;
            self.expire()?;
            let mut worked = self.take_answers()?;
            worked |= self.take_requests()?;
            worked |= self.hand_over()?;
            if self.context.soft.is_raised() && self.pending.is_empty() {
                // So what is behind it ends when it is through.
                self.outlet = None;
            }
            if self.is_over() {
                break;
            }
            if !worked {
                self.sleep(bell)?;
            }
        }
        self.end()?;
        match self.deserted {
            Some(why) => self.context.deserted(why),
            None => Ok(()),
        }
    }

    /// Whether there is nothing more to do. Answers that their peers have no room for are waited
    /// for, as long as a stop allows.
    fn is_over(&self) -> bool {
        let answered = self.requests.len() == 0 || self.answers.is_none();
        let ended = self.outlet.is_none() && answered && self.unsent.is_empty();
        ended || self.deserted.is_some() || self.context.hard.is_raised()
    }

    fn takes_requests(&self) -> bool {
        let open = self.requests.len() + self.unsent.len();
        let is_open = self.outlet.is_some() && !self.context.soft.is_raised();
        is_open && self.pending.is_empty() && open < OPEN && self.held < HOLD
    }

    fn takes_answers(&self) -> bool {
        self.answers.is_some() && self.held < HOLD
    }

    /// Receives what requests are there, up to a full batch.
    fn take_requests(&mut self) -> Result<bool> {
        if !self.takes_requests() {
            return Ok(false);
        }
        let mut bytes = 0;
        for _ in 0..MOST {
            let full = bytes >= MOST_BYTES || self.requests.len() + self.unsent.len() >= OPEN;
            if full || !self.attached.socket.try_recv(&mut self.parts)? {
                break;
            }
            match split(&mut self.parts) {
                Ok((envelope, body)) => bytes += self.accept(envelope, body)?,
                // Nobody knows whom to answer.
                Err(error) => self.refuse(&error),
            }
        }
        Ok(!self.pending.is_empty())
    }

    /// Notes a request, or refuses it. Gives how large it is.
    fn accept(&mut self, envelope: Envelope, body: Result<Vec<u8>>) -> Result<usize> {
        let taken = body.and_then(|body| {
            self.reader
                .take_in(body, self.limit, &self.context.component)
        });
        let (mut frame, refused) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                self.refuse(&error);
                self.answer(envelope, FAILED.to_vec())?;
                return Ok(0);
            }
        };
        if let Some(error) = refused {
            self.refuse(&error);
            let answer = match self.answers {
                Some(_) => frame.into_bytes(),
                None => FAILED.to_vec(),
            };
            let bytes = answer.len();
            self.answer(envelope, answer)?;
            return Ok(bytes);
        }
        let id = Uuid::new_v4();
        let cache = frame.cache().to_owned();
        if self.answers.is_some() || cache.is_empty() {
            let mut buffer = Uuid::encode_buffer();
            frame.set_cache(id.hyphenated().encode_lower(&mut buffer));
        }
        let bytes = frame.len();
        let request = Request { envelope, cache };
        self.requests.open(id, request, Instant::now());
        self.pending.push_back((id, frame));
        Ok(bytes)
    }

    /// Hands requests over, if there is room. If that is all there is to say, says so.
    fn hand_over(&mut self) -> Result<bool> {
        let Some(outlet) = self.outlet.as_ref().filter(|_| !self.pending.is_empty()) else {
            return Ok(false);
        };
        let count = outlet.most().min(self.pending.len());
        let (ids, frames): (Vec<Uuid>, Vec<Frame>) = self.pending.drain(..count).unzip();
        match outlet.try_send(frames.into_iter().collect::<Batch>()) {
            Ok(()) => {}
            Err(NotSent::Full(batch)) => {
                let frames = batch.into_iter().map(|parcel| parcel.frame);
                let pending = ids.into_iter().zip(frames).rev();
                pending.for_each(|request| self.pending.push_front(request));
                return Ok(false);
            }
            Err(NotSent::Closed(batch)) => {
                // They are among those that have no answer.
                drop(batch);
                self.outlet = None;
                self.deserted = Some("nobody takes its requests any more");
                return Ok(true);
            }
        }
        if self.answers.is_none() {
            for id in ids {
                if let Some(request) = self.requests.close(id) {
                    self.answer(request.envelope, TAKEN.to_vec())?;
                }
            }
        }
        Ok(true)
    }

    /// Answers requests by what comes back for them.
    fn take_answers(&mut self) -> Result<bool> {
        let Some(answers) = self.answers.as_ref().filter(|_| self.takes_answers()) else {
            return Ok(false);
        };
        let batch = match answers.try_recv() {
            Received::Batch(batch) => batch,
            Received::Nothing => return Ok(false),
            Received::End => {
                self.outlet = None;
                self.answers = None;
                if !self.context.soft.is_raised() {
                    self.deserted = Some("nobody answers its requests any more");
                }
                return Ok(true);
            }
        };
        for parcel in batch {
            let mut frame = parcel.frame;
            let id = Uuid::try_parse(frame.cache()).ok();
            match id.and_then(|id| self.requests.close(id)) {
                Some(request) => {
                    frame.set_cache(&request.cache);
                    self.answer(request.envelope, frame.into_bytes())?;
                }
                None => self.miss("dropped a message that no request waits for (any more)"),
            }
        }
        Ok(true)
    }

    /// Gives up what has had no answer in time.
    fn expire(&mut self) -> Result<()> {
        let now = Instant::now();
        while let Some((id, request)) = self.requests.expire(now) {
            // What was not handed over yet need not be any more.
            self.pending.retain(|(pending, _)| *pending != id);
            let time = seconds(&self.timeout);
            self.miss(&format!("has had no answer to a request within {time}"));
            self.answer(request.envelope, FAILED.to_vec())?;
        }
        Ok(())
    }

    fn answer(&mut self, envelope: Envelope, bytes: Vec<u8>) -> Result<()> {
        let until = after(Instant::now(), self.timeout);
        self.send(Answer {
            envelope,
            bytes,
            until,
        })
    }

    fn send(&mut self, answer: Answer) -> Result<()> {
        let socket = &mut self.attached.socket;
        match socket.try_route(&answer.envelope, &answer.bytes)? {
            Routed::Sent => {}
            Routed::Gone => self.miss("had an answer for a peer that is not there any more"),
            Routed::Full => {
                self.held += answer.bytes.len();
                self.unsent.push_back(answer);
            }
        }
        Ok(())
    }

    /// Tries again what peers had no room for.
    fn send_unsent(&mut self) -> Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        self.attached.socket.catch_up()?;
        let now = Instant::now();
        for answer in std::mem::take(&mut self.unsent) {
            self.held -= answer.bytes.len();
            match answer.until > now {
                true => self.send(answer)?,
                false => self.miss("had an answer that its peer did not take in time"),
            }
        }
        Ok(())
    }

    fn sleep(&self, bell: &Bell) -> Result<()> {
        let want = match (self.takes_requests(), self.unsent.is_empty()) {
            (true, true) => Want::Read,
            (true, false) => Want::ReadOrNews,
            (false, true) => Want::Nothing,
            (false, false) => Want::News,
        };
        let ready = || {
            let answers = self.answers.as_ref().filter(|_| self.takes_answers());
            let outlet = self.outlet.as_ref().filter(|_| !self.pending.is_empty());
            answers.is_some_and(Inlet::is_ready)
                || outlet.is_some_and(Outlet::has_room)
                || self.context.soft.is_raised() && self.outlet.is_some() && outlet.is_none()
                || self.context.hard.is_raised()
        };
        let end = self.requests.next_end();
        let mut timeout = end.map(|end| end.saturating_duration_since(Instant::now()));
        if !self.unsent.is_empty() {
            // News that come just before the wait may be taken for read already.
            timeout = Some(timeout.map_or(LOOK, |time| time.min(LOOK)));
        }
        bell.sleep(ready, || self.attached.socket.wait(want, bell, timeout))
    }

    /// Gives what answers there still are, and tells who still waits that nothing will come.
    fn end(&mut self) -> Result<()> {
        while self.take_answers()? {}
        let open: Vec<Request> = self.requests.drain().collect();
        for request in &open {
            let _ = self.attached.socket.try_route(&request.envelope, FAILED)?;
        }
        let (name, part) = (&self.context.component, &self.context.part);
        let unanswered = open.len() + self.unsent.len();
        if unanswered > 0 {
            log::warn!(target: name, "{part} ended with {unanswered} requests that had no answer");
        }
        for (complaints, what) in [
            (&self.refused, "refused"),
            (&self.missed, "missed or dropped"),
        ] {
            if complaints.total() > 0 {
                let total = complaints.total();
                log::warn!(target: name, "{part} {what} {total} messages in all");
            }
        }
        Ok(())
    }

    fn refuse(&mut self, error: &Error) {
        let peer = self.attached.socket.peer();
        self.context.refuse(&mut self.refused, &peer, error);
    }

    fn miss(&mut self, what: &str) {
        if let Some(more) = self.missed.note(what, Instant::now()) {
            let part = &self.context.part;
            log::warn!(target: &self.context.component, "{part} {what}{more}");
        }
    }
}
