//! Parts beside the stream of messages: raw bytes in and out, for whatever is no message.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::answer::{Answer, one};
use super::attached::{Attached, Plan};
use super::wiring::{Bypass, Part, Wiring};
use super::{Context, Crew, Duty, Place, Running, start_alone};
use crate::address::{self, Purpose};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::error::{Error, Result};
use crate::handler::panic_text;
use crate::message::DEFAULT_MAX_MESSAGE;
use crate::socket::{Kind, Want};

/// Answers raw bytes by a function (a REP socket that binds): for what peers want to know of a
/// component, such as how it does. (pylm's `RepBypassService`.)
///
/// The function runs in the part's thread, one request after another; a stop waits for it. If it
/// panics, the answer is empty, and the log says so; as with what is too large, or has several
/// frames.
///
/// ```
/// use palm::part::RepBypass;
///
/// let health = RepBypass::new("tcp://127.0.0.1:*", |_request| b"well".to_vec());
/// # health.start()?.stop()?;
/// # Ok::<(), palm::Error>(())
/// ```
pub struct RepBypass {
    address: String,
    max_message: usize,
    answer: AnswerFn,
}

/// Gives raw bytes to a function (a PULL socket that connects): logs or metrics, say, of one who
/// pushes them from there. (pylm's `PullBypassConnection`.)
///
/// The function runs in the part's thread, for one after another; while it runs, no more is
/// taken, and a stop waits for it. If it panics, the log says so, and the next is taken. What is
/// too large, or has several frames, is refused.
pub struct PullBypass {
    address: String,
    max_message: usize,
    take: Box<dyn FnMut(Vec<u8>) + Send>,
}

type AnswerFn = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

impl RepBypass {
    /// A service that will bind this address, and answer by this function.
    pub fn new(
        address: impl Into<String>,
        answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Self {
        Self {
            address: address.into(),
            max_message: DEFAULT_MAX_MESSAGE,
            answer: Box::new(answer),
        }
    }

    /// The largest request to take, in bytes: 64 MiB by default.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Starts it, as a part named `Rep`, with a thread of its own.
    ///
    /// # Errors
    /// When the address is malformed, in use or not to be bound.
    pub fn start(self) -> Result<Running> {
        start_alone("Rep", self, None, None)
    }
}

impl Part for RepBypass {
    const GIVES: bool = false;
    const TAKES: bool = false;

    fn check(&self) -> Result<()> {
        address::check(&self.address, Purpose::Bind)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let (mut function, limit) = (self.answer, self.max_message);
        let answer = Answer {
            name: wiring.name,
            address: self.address,
            max_message: limit,
        };
        answer.spawn(crew, move |_, request| {
            check_size(&request, limit)?;
            shielded(|| function(&request))
        })
    }
}

impl Bypass for RepBypass {}

impl PullBypass {
    /// A connection to whoever pushes at this address, which gives what comes to this function.
    pub fn new(address: impl Into<String>, take: impl FnMut(Vec<u8>) + Send + 'static) -> Self {
        Self {
            address: address.into(),
            max_message: DEFAULT_MAX_MESSAGE,
            take: Box::new(take),
        }
    }

    /// The most bytes to take at once: 64 MiB by default. What is larger is refused.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Starts it, as a part named `Pull`, with a thread of its own.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn start(self) -> Result<Running> {
        start_alone("Pull", self, None, None)
    }

    fn run(mut self, context: &Context, mut attached: Attached, bell: &Bell) -> Result<()> {
        let mut complaints = Complaints::default();
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let stop = || context.hard.is_raised();
        while !stop() {
            if !attached.socket.try_recv(&mut parts)? {
                bell.sleep(stop, || attached.socket.wait(Want::Read, bell, None))?;
                continue;
            }
            let taken = one(&mut parts).and_then(|bytes| {
                check_size(&bytes, self.max_message)?;
                shielded(|| (self.take)(bytes))
            });
            if let Err(error) = taken {
                context.refuse(&mut complaints, &attached.socket.peer(), error);
            }
        }
        Ok(())
    }
}

impl Part for PullBypass {
    const GIVES: bool = false;
    const TAKES: bool = false;

    fn check(&self) -> Result<()> {
        address::check(&self.address, Purpose::Connect)
    }

    fn spawn(self, crew: &mut Crew, wiring: Wiring) -> Result<()> {
        let bell = Bell::new()?;
        let plan = Plan {
            kind: Kind::Pull,
            part: wiring.name.clone(),
            topic: None,
            place: Place::connect(&self.address),
            max_message: self.max_message,
            high_water: None,
        };
        crew.spawn(&wiring.name, Duty::Serves, move |context| {
            context.wake_by(&bell);
            let (attached, bound) = Attached::open(plan, &bell)?;
            context.ready(bound)?;
            self.run(context, attached, &bell)
        });
        Ok(())
    }
}

impl Bypass for PullBypass {}

fn check_size(bytes: &[u8], limit: usize) -> Result<()> {
    match bytes.len() {
        size if size > limit => Err(Error::TooLarge { size, limit }),
        _ => Ok(()),
    }
}

/// Calls a function of the user's; a panic in it is an error.
fn shielded<T>(call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| Error::Function {
        function: "its function".to_owned(),
        cause: format!("it panicked: {}", panic_text(&*panic)),
    })
}

impl std::fmt::Debug for RepBypass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RepBypass").field(&self.address).finish()
    }
}

impl std::fmt::Debug for PullBypass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PullBypass").field(&self.address).finish()
    }
}
