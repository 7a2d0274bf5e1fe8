//! A job over the palm link, where each message is known to be done or not: it is complete when
//! all are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::feeder::{Form, Submit};
use super::job::{Piece, Step, stopped, taken_at_once};
use super::link::{Link, Waits};
use crate::core::link::client::{Inbox, JobSettings, Output, Room, Standing, Submitted, What};
use crate::error::{Error, Result};
use crate::message::Frame;

/// The reader's side of a job.
pub(super) struct Tracked {
    link: Arc<Link>,
    number: u64,
    waits: Arc<Waits>,
    /// How many outputs are taken at once: of a small window, a part.
    at_once: usize,
    /// Taken and not read.
    outputs: VecDeque<Output>,
    /// Read and not acknowledged.
    read: Vec<Output>,
    function: String,
}

impl Tracked {
    /// Begins a job. `None` when the client has ended.
    pub(super) fn open(link: &Arc<Link>, settings: JobSettings, function: &str) -> Option<Self> {
        let (number, waits) = link.open(settings)?;
        Some(Self {
            link: link.clone(),
            number,
            waits,
            at_once: taken_at_once(settings.messages),
            outputs: VecDeque::new(),
            read: Vec::new(),
            function: function.to_owned(),
        })
    }

    pub(super) fn topic(&self) -> String {
        self.link.topic(self.number)
    }

    /// The side that submits.
    pub(super) fn submitter(&self) -> Submitter {
        Submitter {
            link: self.link.clone(),
            job: self.number,
            waits: self.waits.clone(),
            room: Room::default(),
            last: 0,
            in_common: None,
        }
    }

    /// Ends it from another thread.
    pub(super) fn ender(&self) -> Ender {
        Ender {
            link: self.link.clone(),
            number: self.number,
        }
    }

    /// The next thing that has happened already, as far as this knows.
    pub(super) fn next_ready(&mut self) -> Option<Step> {
        let output = self.outputs.pop_front()?;
        Some(self.step(output))
    }

    /// The next thing that happens until then.
    pub(super) fn next(&mut self, until: Option<Instant>) -> Option<Step> {
        if let Some(step) = self.next_ready() {
            return Some(step);
        }
        let link = self.link.clone();
        let has_read = !self.read.is_empty();
        let standing = self.wait(&link, until);
        if has_read {
            // Nobody waits to hear of it, if it has not been said by now.
            link.speak_soon();
        }
        match standing {
            None => self.next_ready(),
            Some(Standing::Open) => None,
            Some(Standing::Complete(broken)) => Some(Step::Complete(broken)),
            Some(Standing::Stopped) => Some(Step::Failed(stopped())),
            Some(Standing::Gone) => {
                let function = self.function.clone();
                Some(Step::Failed(Error::Cancelled { function }))
            }
        }
    }

    /// Gives back what was read, and takes what there is to read, after waiting for it. Says how
    /// it stands when there is nothing.
    fn wait(&mut self, link: &Link, until: Option<Instant>) -> Option<Standing> {
        let has_read = !self.read.is_empty();
        let mut session = link.lock();
        session.read(self.number, self.read.drain(..));
        let mut listens = true;
        loop {
            self.waits.looks();
            match session.take(self.number, self.at_once, &mut self.outputs) {
                Some(Standing::Open) => {}
                done => return done,
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Some(Standing::Open);
            }
            // Where others wait, too, whoever listened would have to leave it to them.
            if listens && session.has_one_job() {
                drop(session);
                if has_read {
                    link.announce_beside();
                }
                listens = link.listen(&self.waits, until, has_read);
                session = link.lock();
                if !session.has_one_job() {
                    link.leave_to_threads();
                }
                continue;
            }
            listens = true;
            match has_read {
                true => link.announce(),
                false => link.leave_to_threads(),
            }
            let outputs = &self.waits.outputs;
            match until {
                None => outputs.wait(&mut session),
                Some(until) => drop(outputs.wait_until(&mut session, until)),
            }
        }
    }

    fn step(&mut self, mut output: Output) -> Step {
        let what = output.take();
        let step = match &what {
            What::Frame(frame, _) if frame.end().is_some() => {
                Step::Mark(frame.end().unwrap_or_default())
            }
            _ => Step::Output(Piece {
                message: output.number.and_then(|number| number.checked_sub(1)),
                position: std::mem::take(&mut output.path),
                what,
            }),
        };
        self.read.push(output);
        step
    }

    /// How often it has moved, and whether something is late that does not come.
    pub(super) fn progress(&self) -> (u64, bool) {
        let (steps, is_open) = self.link.lock().progress(self.number);
        (steps, is_open || !self.waits.awaits_input())
    }

    /// Whether all its servers are there.
    pub(super) fn is_connected(&self) -> bool {
        self.link.lock().is_welcome()
    }

    pub(super) fn end(&mut self) {
        let mut session = self.link.lock();
        session.read(
            self.number,
            self.read.drain(..).chain(self.outputs.drain(..)),
        );
        let at_once = session.end(self.number);
        drop(session);
        match at_once {
            true => self.link.speak(),
            // Nobody waits to hear what was read.
            false => self.link.speak_soon(),
        }
    }
}

/// Ends a job from any thread.
#[derive(Clone)]
pub(super) struct Ender {
    link: Arc<Link>,
    number: u64,
}

impl Ender {
    pub(super) fn end(&self) {
        self.link.lock().end(self.number);
        self.link.announce();
    }
}

/// Submits the messages of a job.
pub(super) struct Submitter {
    link: Arc<Link>,
    job: u64,
    waits: Arc<Waits>,
    /// How much it may submit without asking.
    room: Room,
    /// The number of the last message.
    last: u64,
    /// What small messages have in common.
    in_common: Option<Frame>,
}

impl Submitter {
    /// Submits the one message of a call.
    pub(super) fn submit_one(&mut self, frame: Frame) {
        let message = self.numbered(frame);
        self.link.submit_all(message, &self.waits);
    }

    fn push(&mut self, frame: Frame) {
        let message = self.numbered(frame);
        self.link.submit(message);
    }

    fn numbered(&mut self, mut frame: Frame) -> Submitted {
        self.last += 1;
        // Here, where it is built, and not at the server, which would have to copy it.
        frame.fill_cache();
        frame.set_place(self.last, &[]);
        Submitted {
            job: self.job,
            number: self.last,
            frame,
        }
    }

    /// Waits until there is room for a message of this size.
    fn wait_for_room(&self, size: usize) -> Result<Room> {
        let mut session = self.link.lock();
        loop {
            let room = session.room(self.job, size).ok_or_else(stopped)?;
            if room.messages > 0 {
                return Ok(room);
            }
            self.waits.room.wait(&mut session);
        }
    }
}

impl Submit for Submitter {
    fn awaits_input(&self) {
        self.waits.awaits_input.store(true, Ordering::Relaxed);
    }

    fn submit(&mut self, form: &Form, payload: &[u8]) -> Result<()> {
        let size = payload.len();
        self.waits.awaits_input.store(false, Ordering::Relaxed);
        if self.room.messages == 0 || self.room.bytes < size {
            self.room = self.wait_for_room(size)?;
        }
        self.room.messages -= 1;
        self.room.bytes -= size;
        if !Inbox::is_small(payload) {
            self.push(form.frame(payload)?);
            return Ok(());
        }
        self.last += 1;
        let form = self.in_common.get_or_insert_with(|| form.in_common());
        self.link.submit_small(self.job, self.last, form, payload);
        Ok(())
    }

    fn knows_its_end(&self) -> bool {
        true
    }

    fn submit_mark(&mut self, frame: Frame) {
        self.push(frame);
    }

    fn fed(&self, _: usize, ended: Result<()>) {
        self.waits.awaits_input.store(false, Ordering::Relaxed);
        let broken = match ended {
            // A job that is cut short must not look whole.
            Err(Error::Stopped { .. }) => return,
            ended => ended.err(),
        };
        self.link.lock().fed(self.job, broken);
    }
}
