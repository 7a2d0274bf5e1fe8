//! The palm link of a client: its session, and the threads that share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::find::link_at;
use crate::cache::CacheClient;
use crate::core::link::Party;
use crate::core::link::client::{Inbox, JobSettings, News, Session, Submitted};
use crate::error::{Error, Result};
use crate::message::Frame;
use crate::message::link::{Head, Hello, Outgoing, Welcome};
use crate::part::{Crew, Dealer, Duty, Find, Running, Voice};

/// How long to look for a server that is not where it was, before looking anew.
const LOOK: Duration = Duration::from_secs(5);

/// How often to look, while the servers are waited for, whether the threads that connect live.
const CHECK: Duration = Duration::from_millis(100);

/// The session of a client, as its threads share it: those of its lines, which talk to the
/// servers, those that feed jobs, and those that read them.
pub(super) struct Link {
    session: Mutex<Session>,
    /// What was submitted and is not in the session yet: so those who submit need not wait for
    /// those who hold the session.
    inbox: Mutex<Inbox>,
    /// Whether the server lets nothing be given at present: then there is nothing to say of what is
    /// submitted until more is heard.
    is_held_up: AtomicBool,
    /// Of the lines.
    voices: Vec<Arc<Voice<Over>>>,
    /// A server has said welcome.
    welcome: Condvar,
}

/// Where a client's lines lead to.
pub(super) struct Places {
    /// The link of the server that it submits to.
    pub(super) first: String,
    /// That of the last step, if it is another, and where that publishes.
    pub(super) last: Option<(String, String)>,
}

/// What the threads of a job wait for, beside the session.
#[derive(Default)]
pub(super) struct Waits {
    /// There is room for more messages.
    pub(super) room: Condvar,
    /// There is something to read.
    pub(super) outputs: Condvar,
    /// Whether that was so since the reader looked.
    has_outputs: AtomicBool,
    /// Whether all that was submitted has been said.
    is_said: AtomicBool,
    /// Whether the next payload is being waited for.
    pub(super) awaits_input: AtomicBool,
}

impl Link {
    /// The session of the client of this id. Its threads are started with the crew's.
    pub(super) fn spawn(
        id: &str,
        places: Places,
        cache: CacheClient,
        max_message: usize,
        crew: &mut Crew,
    ) -> Result<Arc<Self>> {
        let mut find = vec![("Link", of_server(places.first, cache))];
        if let Some((link, publisher)) = places.last {
            find.push(("LastLink", of_publisher(link, publisher)));
        }
        let voices = find
            .iter()
            .map(|_| Voice::new())
            .collect::<Result<Vec<_>>>()?;
        let link = Arc::new(Self {
            session: Mutex::new(Session::new(id, find.len(), max_message)),
            inbox: Mutex::default(),
            is_held_up: AtomicBool::new(false),
            voices,
            welcome: Condvar::new(),
        });
        for (line, (name, find)) in find.into_iter().enumerate() {
            let dealer = Dealer {
                name: name.to_owned(),
                party: Over {
                    link: link.clone(),
                    line,
                },
                find,
                asks: true,
                max_message,
            };
            dealer.spawn(crew, Duty::Serves, link.voices[line].clone());
        }
        Ok(link)
    }

    /// Waits until all servers know the session. False if that takes too long, or the threads
    /// that connect have ended.
    pub(super) fn wait_welcome(&self, timeout: Duration, running: &Running) -> bool {
        let deadline = Instant::now() + timeout.min(Duration::from_secs(1 << 30));
        let mut session = self.session.lock();
        while !session.is_welcome() {
            if Instant::now() >= deadline || running.is_over() {
                return false;
            }
            let look = deadline.min(Instant::now() + CHECK);
            self.welcome.wait_until(&mut session, look);
        }
        true
    }

    /// The session, with all that was submitted so far.
    pub(super) fn lock(&self) -> MutexGuard<'_, Session> {
        let mut session = self.session.lock();
        for message in self.inbox.lock().take() {
            session.submit(message);
        }
        session
    }

    /// Submits a message that its job has room for, and that others may follow.
    pub(super) fn submit(&self, message: Submitted) {
        self.inbox.lock().push(message);
        self.announce_submitted();
    }

    /// Submits a small message with this payload, which has the rest in common with the others of
    /// its job, that its job has room for and that others may follow.
    pub(super) fn submit_small(&self, job: u64, number: u64, form: &Frame, payload: &[u8]) {
        // What is put with others is taken with them.
        if self.inbox.lock().add(job, number, form, payload) {
            self.announce_submitted();
        }
    }

    /// Has it said what was put into the inbox, unless there is no room for it at the server: whoever
    /// hears that there is some looks into the inbox after that.
    fn announce_submitted(&self) {
        if !self.is_held_up.load(Ordering::SeqCst) {
            self.voices[0].announce();
        }
    }

    /// Submits a message that is all of its job, and ends that.
    pub(super) fn submit_all(&self, message: Submitted, waits: &Waits) {
        let job = message.job;
        self.inbox.lock().push(message);
        self.lock().fed(job, None);
        let is_said = self.voices[0].speak();
        waits.is_said.store(is_said, Ordering::Relaxed);
    }

    /// Notes whether there is room at the server. True if there is, and was none.
    fn note_room(&self, session: &Session) -> bool {
        let is_held_up = session.is_held_up();
        self.is_held_up.swap(is_held_up, Ordering::SeqCst) && !is_held_up
    }

    /// Has the lines say what there is to say.
    pub(super) fn announce(&self) {
        self.voices.iter().for_each(|voice| voice.announce());
    }

    /// Has the lines say what there is to say over which no results come.
    pub(super) fn announce_beside(&self) {
        let beside = self.voices.len() - 1;
        self.voices[..beside]
            .iter()
            .for_each(|voice| voice.announce());
    }

    /// Has the lines say soon what there is to say.
    pub(super) fn speak_soon(&self) {
        self.voices.iter().for_each(|voice| voice.speak_soon());
    }

    /// Says what there is to say over the lines, if that is little. The session must not be
    /// locked by the caller.
    pub(super) fn speak(&self) {
        for voice in &self.voices {
            voice.speak();
        }
    }

    /// Of the line over which results come.
    fn last_voice(&self) -> &Voice<Over> {
        self.voices
            .last()
            .expect("there is a line to the first server")
    }

    /// Waits until there are outputs, or the time-out, and hears what comes meanwhile: see
    /// [`Voice::listen`]. Whether the reader `has_read` something is to be said first.
    pub(super) fn listen(&self, waits: &Waits, until: Option<Instant>, has_read: bool) -> bool {
        let has_outputs = || waits.has_outputs.load(Ordering::SeqCst);
        let is_said = waits.is_said.swap(false, Ordering::Relaxed) && !has_read;
        self.last_voice().listen(until, is_said, has_outputs)
    }

    /// Has the threads of the lines hear what comes, though somebody has listened just now.
    pub(super) fn leave_to_threads(&self) {
        self.last_voice().leave();
    }

    /// Begins a job. `None` when the client has ended.
    pub(super) fn open(&self, settings: JobSettings) -> Option<(u64, Arc<Waits>)> {
        let waits = Arc::new(Waits::default());
        let wakes = waits.clone();
        let ear = self.last_voice().ear().clone();
        let wake = move |news| match news {
            News::Room => drop(wakes.room.notify_one()),
            News::Outputs => {
                wakes.has_outputs.store(true, Ordering::SeqCst);
                wakes.outputs.notify_one();
                ear.ring();
            }
        };
        let number = self.lock().open(settings, Box::new(wake))?;
        Some((number, waits))
    }

    /// The id under which a job's messages go out.
    pub(super) fn topic(&self, job: u64) -> String {
        self.session.lock().topic(job)
    }
}

impl Waits {
    /// The reader looks at what there is.
    pub(super) fn looks(&self) {
        self.has_outputs.store(false, Ordering::SeqCst);
    }

    pub(super) fn awaits_input(&self) -> bool {
        self.awaits_input.load(Ordering::Relaxed)
    }
}

/// Finds the link of the server that has this cache: first where it was said to be.
fn of_server(link: String, cache: CacheClient) -> Find {
    let mut known = Some(link);
    Box::new(move |give_up| {
        if let Some(link) = known.take() {
            return Ok(Some(link));
        }
        match cache.place(&None, "link_address", LOOK, give_up) {
            Ok(address) => Ok(Some(address)),
            Err(Error::NotConfigured { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    })
}

/// Finds the link of the component that publishes there: first where it was said to be.
fn of_publisher(link: String, publisher: String) -> Find {
    let mut known = Some(link);
    Box::new(move |give_up| match known.take() {
        Some(link) => Ok(Some(link)),
        None => link_at(&publisher, LOOK, give_up),
    })
}

/// One line of a session.
struct Over {
    link: Arc<Link>,
    line: usize,
}

impl Party for Over {
    fn hello(&mut self) -> Hello {
        self.link.lock().hello(self.line)
    }

    fn welcomed(&mut self, welcome: Welcome, _: &mut Outgoing, _: Instant) {
        let mut session = self.link.lock();
        session.welcomed(self.line, welcome);
        self.link.note_room(&session);
        drop(session);
        self.link.welcome.notify_all();
    }

    fn heard(&mut self, head: Box<Head>, frames: Vec<Frame>, out: &mut Outgoing, _: Instant) {
        let mut session = self.link.lock();
        session.heard(self.line, head, frames, out);
        self.link.note_room(&session);
    }

    fn lost(&mut self, _: Instant) {
        self.link.lock().lost(self.line);
    }

    fn speak(&mut self, out: &mut Outgoing, _: Instant) {
        let mut session = self.link.lock();
        session.speak(self.line, out);
        if self.link.note_room(&session) {
            // Of what was submitted since this looked into the inbox, nobody was told.
            self.link.voices[0].announce();
        }
    }

    fn is_broken(&self) -> bool {
        self.link.lock().is_broken(self.line)
    }
}

impl Drop for Over {
    /// Without its line, nothing more will come.
    fn drop(&mut self) {
        self.link.lock().close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::link::Credit;

    const SETTINGS: JobSettings = JobSettings {
        ordered: false,
        one_each: true,
        messages: 1_000,
        bytes: 1 << 20,
    };

    fn message(link: &Link, job: u64, number: u64, size: usize) -> Submitted {
        let topic = link.topic(job);
        let mut frame = Frame::new("", &topic, "s.f", "", &vec![0; size]);
        frame.set_place(number, &[]);
        Submitted { job, number, frame }
    }

    #[test]
    fn what_is_submitted_is_announced_unless_there_is_no_room_and_again_when_there_is() {
        let link = Arc::new(Link {
            session: Mutex::new(Session::new("me", 1, 1 << 20)),
            inbox: Mutex::default(),
            is_held_up: AtomicBool::new(false),
            voices: vec![Voice::new().unwrap()],
            welcome: Condvar::new(),
        });
        let mut over = Over {
            link: link.clone(),
            line: 0,
        };
        let (now, mut out) = (Instant::now(), Outgoing::default());
        let credit = Credit {
            messages: 100,
            bytes: 100_000,
        };
        let welcome = Welcome {
            credit: Some(credit),
            max_message: 1 << 20,
            ..Welcome::default()
        };
        over.welcomed(welcome, &mut out, now);
        let open = || {
            let mut session = link.session.lock();
            session.open(SETTINGS, Box::new(|_| {})).unwrap()
        };
        let (large, other) = (open(), open());
        link.submit(message(&link, large, 1, 10));
        assert!(link.voices[0].take_news());
        link.submit(message(&link, large, 2, 100_000));
        over.speak(&mut out, now);
        assert!(link.voices[0].take_news());
        // Behind one that the server has no room for.
        link.submit(message(&link, other, 1, 10));
        assert!(!link.voices[0].take_news());
        assert_eq!(link.inbox.lock().take().count(), 1);
        // That is withdrawn. Who submits while this is said may not know of the room yet.
        link.lock().end(large);
        over.speak(&mut out, now);
        assert!(link.voices[0].take_news());
        link.submit(message(&link, other, 2, 10));
        assert!(link.voices[0].take_news());
    }
}
