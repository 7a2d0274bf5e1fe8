//! REP: each request is answered at once, by a function.

use super::{Context, Crew, Duty};
use crate::bell::Bell;
use crate::core::complaints::Complaints;
use crate::error::{Error, Result};
use crate::socket::{Kind, Socket, Want};

/// What all parts are that answer requests beside the stream, one after another.
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) address: String,
    /// The largest request to take, beside what libzmq lets in.
    pub(super) max_message: usize,
}

impl Answer {
    /// Starts it. What `reply` refuses is answered with nothing.
    pub(super) fn spawn<F>(self, crew: &mut Crew, mut reply: F) -> Result<()>
    where
        F: FnMut(&Context, Vec<u8>) -> Result<Vec<u8>> + Send + 'static,
    {
        let bell = Bell::new()?;
        crew.spawn(&self.name, Duty::Serves, move |context| {
            context.wake_by(&bell);
            let mut socket = Socket::open(Kind::Rep, &context.part, self.max_message)?;
            let bound = socket.bind(&self.address)?;
            context.ready(Some(bound))?;
            run(context, &mut socket, &bell, &mut reply)
        });
        Ok(())
    }
}

type Reply<'a> = &'a mut dyn FnMut(&Context, Vec<u8>) -> Result<Vec<u8>>;

fn run(context: &Context, socket: &mut Socket, bell: &Bell, reply: Reply<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    let mut parts = Vec::new();
    let stop = || context.hard.is_raised();
    while !stop() {
        if !socket.try_recv(&mut parts)? {
            bell.sleep(stop, || socket.wait(Want::Read, bell, None))?;
            continue;
        }
        let answer = one(&mut parts).and_then(|request| reply(context, request));
        let answer = answer.unwrap_or_else(|error| {
            context.refuse(&mut complaints, &socket.peer(), error);
            Vec::new()
        });
        while !socket.try_send(&answer)? {
            if stop() {
                return Ok(());
            }
            bell.sleep(stop, || socket.wait(Want::Write, bell, None))?;
        }
    }
    Ok(())
}

/// The frame of a message that shall have one.
pub(super) fn one<P: Default>(parts: &mut [P]) -> Result<P> {
    match parts {
        [frame] => Ok(std::mem::take(frame)),
        _ => Err(Error::Malformed {
            reason: "it has more than one frame",
        }),
    }
}
