//! Functions: what a user registers, what it is called with, and what it may answer.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use crate::core::complaints::Complaints;
use crate::core::link::Parts;
use crate::error::{BoxError, Result, shown};
use crate::message::{Failure, FailureKind, Frame, is_name};

/// Access to a component's cache, from its own functions or over the wire.
pub trait Cache: Send + Sync {
    /// The value of a key, `None` when there is none (or it is empty: the wire cannot tell).
    ///
    /// # Errors
    /// When the cache cannot be reached or read.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Sets a key. An empty key stands for a new one. Returns the key.
    ///
    /// # Errors
    /// When the cache cannot be reached or written.
    fn set(&self, key: &str, value: &[u8]) -> Result<String>;

    /// Removes a key; it is no error if there is none.
    ///
    /// # Errors
    /// When the cache cannot be reached or written.
    fn delete(&self, key: &str) -> Result<()>;
}

/// One call of a function: the message, and where it is run.
pub struct Call<'a> {
    frame: &'a Frame,
    /// Which of its messages it is, if it is a bundle.
    at: usize,
    /// That by itself, once somebody wants more of it than its payload.
    alone: OnceLock<Frame>,
    component: &'a str,
    cache: &'a dyn Cache,
}

impl<'a> Call<'a> {
    /// A call of a function with this message in this component. A handler can be tested with it.
    pub fn new(frame: &'a Frame, component: &'a str, cache: &'a dyn Cache) -> Self {
        Self::of_bundle(frame, 0, component, cache)
    }

    /// A call with the message at this place of a bundle.
    fn of_bundle(frame: &'a Frame, at: usize, component: &'a str, cache: &'a dyn Cache) -> Self {
        Self {
            frame,
            at,
            alone: OnceLock::new(),
            component,
            cache,
        }
    }

    /// The data.
    pub fn payload(&self) -> &'a [u8] {
        self.frame.payload_at(self.at)
    }

    /// Name of the server or worker that runs the function.
    pub fn component(&self) -> &'a str {
        self.component
    }

    /// The component's cache: a server's own, a worker's master's. A worker's calls wait for
    /// the master's answer.
    pub fn cache(&self) -> &'a dyn Cache {
        self.cache
    }

    /// The message, with its other fields: the client, the stream, the steps, the stage, the
    /// cache key.
    pub fn message(&self) -> &Frame {
        match self.frame.count() {
            1 => self.frame,
            _ => self.alone.get_or_init(|| self.frame.single(self.at)),
        }
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("component", &self.component)
            .field("message", self.message())
            .finish_non_exhaustive()
    }
}

/// What a function answers: nothing, one payload, or several, each a message of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing is sent on.
    None,
    /// One payload.
    One(Vec<u8>),
    /// Several payloads, in this order.
    Many(Vec<Vec<u8>>),
}

impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::None
    }
}

impl From<Vec<u8>> for Reply {
    fn from(payload: Vec<u8>) -> Self {
        Self::One(payload)
    }
}

impl From<&[u8]> for Reply {
    fn from(payload: &[u8]) -> Self {
        Self::One(payload.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Reply {
    fn from(payload: &[u8; N]) -> Self {
        Self::One(payload.to_vec())
    }
}

impl From<String> for Reply {
    fn from(payload: String) -> Self {
        Self::One(payload.into_bytes())
    }
}

impl From<&str> for Reply {
    fn from(payload: &str) -> Self {
        Self::One(payload.as_bytes().to_vec())
    }
}

impl From<Option<Vec<u8>>> for Reply {
    fn from(payload: Option<Vec<u8>>) -> Self {
        payload.map_or(Self::None, Self::One)
    }
}

impl From<Vec<Vec<u8>>> for Reply {
    fn from(payloads: Vec<Vec<u8>>) -> Self {
        Self::Many(payloads)
    }
}

/// A function as a trait object, for those that have state or a type of their own. Closures
/// are registered as they are.
///
/// It may be called from several threads at once. An error, or a panic, is the error of that
/// call: it is logged and sent to the client, and the component goes on.
pub trait Handler: Send + Sync {
    /// Runs the function.
    ///
    /// # Errors
    /// Whatever the client should hear in place of a result.
    fn call(&self, call: &Call<'_>) -> Result<Reply, BoxError>;

    /// Whether it never answers anything but [`Reply::None`], as closures do that return
    /// nothing. What has failed in an earlier step of a chain takes the way that its result
    /// would have taken; so it ends here. (A [`Hub`](crate::Hub) knows nothing of its workers'
    /// functions, and is told: [`Hub::silent`](crate::Hub::silent).)
    fn is_silent(&self) -> bool {
        false
    }
}

struct Closure<F>(F);

impl<F, R> Handler for Closure<F>
where
    F: Fn(&Call<'_>) -> Result<R, BoxError> + Send + Sync,
    R: Into<Reply> + 'static,
{
    fn call(&self, call: &Call<'_>) -> Result<Reply, BoxError> {
        (self.0)(call).map(Into::into)
    }

    fn is_silent(&self) -> bool {
        TypeId::of::<R>() == TypeId::of::<()>()
    }
}

/// More threads than any machine has use for.
const MOST_THREADS: usize = 1_024;

/// A component's functions by name. A name has at least one character, and no dot, space or control
/// character: with others, no component starts.
#[derive(Clone, Default)]
pub struct Functions {
    by_name: HashMap<String, Arc<dyn Handler>>,
    any: Option<Arc<dyn Handler>>,
}

impl Functions {
    /// No functions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a closure under a name, in place of an earlier one.
    pub fn function<F, R>(mut self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(&Call<'_>) -> Result<R, BoxError> + Send + Sync + 'static,
        R: Into<Reply> + 'static,
    {
        self.by_name
            .insert(name.into(), Arc::new(Closure(function)));
        self
    }

    /// Registers a trait object under a name, in place of an earlier one.
    pub fn handler(mut self, name: impl Into<String>, handler: Arc<dyn Handler>) -> Self {
        self.by_name.insert(name.into(), handler);
        self
    }

    /// Registers what runs when no function has the name that is called.
    pub fn any(mut self, handler: Arc<dyn Handler>) -> Self {
        self.any = Some(handler);
        self
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.any.is_none()
    }

    /// Their names; none if there is one for any.
    pub(crate) fn names(&self) -> Vec<String> {
        match self.any {
            Some(_) => Vec::new(),
            None => self.by_name.keys().cloned().collect(),
        }
    }

    /// That each can be called, and that so many threads can run them.
    ///
    /// # Errors
    /// The reason, if not.
    pub(crate) fn check(&self, threads: usize) -> Result<(), String> {
        let mut names = self.by_name.keys();
        match names.find(|name| !is_name(name)) {
            Some(name) => Err(format!(
                "no call can name the function {name:?}: a name has at least one character, and no dot \
                 or space"
            )),
            None if threads == 0 => Err("functions need at least one thread".to_owned()),
            None if threads > MOST_THREADS => Err(format!(
                "functions may have {MOST_THREADS} threads at the most, and not {threads}"
            )),
            None => Ok(()),
        }
    }

    fn find(&self, name: &str) -> Option<&dyn Handler> {
        self.by_name
            .get(name)
            .or(self.any.as_ref())
            .map(AsRef::as_ref)
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// The methods to add functions to a component that has them in its field `functions`.
macro_rules! function_settings {
    () => {
        /// Adds a function.
        pub fn function<F, R>(mut self, name: impl Into<String>, function: F) -> Self
        where
            F: Fn(&$crate::Call<'_>) -> Result<R, $crate::BoxError> + Send + Sync + 'static,
            R: Into<$crate::Reply> + 'static,
        {
            self.functions = self.functions.function(name, function);
            self
        }

        /// Adds a function that is a trait object.
        pub fn handler(
            mut self,
            name: impl Into<String>,
            handler: std::sync::Arc<dyn $crate::Handler>,
        ) -> Self {
            self.functions = self.functions.handler(name, handler);
            self
        }

        /// Sets all functions at once.
        pub fn functions(mut self, functions: $crate::Functions) -> Self {
            self.functions = functions;
            self
        }
    };
}

/// What has come of a message.
pub(crate) enum Ran {
    /// One result, with this payload: that is the rule.
    One(Vec<u8>),
    /// Anything else.
    Other(Vec<Frame>),
}

impl Ran {
    /// Notes it as what has come of the next message of a bundle, which has ended now.
    pub(crate) fn note(self, parts: &mut Parts, now: Instant) {
        match self {
            Self::One(payload) => parts.one(&payload, now),
            Self::Other(results) => parts.other(results, now),
        }
    }
}

/// Runs the step that a message asks for, and gives each result to `emit`.
///
/// Nothing that a message or a handler does gets past this: every error, and every panic, is
/// emitted as a failure and logged.
pub(crate) struct Runner {
    pub(crate) functions: Functions,
    pub(crate) component: String,
    /// Servers run only what is addressed to them; workers run whatever their master sends.
    pub(crate) only_own_name: bool,
    pub(crate) max_message: usize,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) complaints: Mutex<Complaints>,
}

impl Runner {
    pub(crate) fn run(&self, frame: &Frame, emit: &mut dyn FnMut(Frame)) {
        if frame.end().is_some() {
            // No work: it goes the way of the results.
            return emit(frame.clone());
        }
        if frame.is_failure() {
            // Of an earlier step: there is nothing to run the function on.
            if !self.is_silent(frame) {
                emit(frame.clone());
            }
            return;
        }
        let handler = self.handler_of(frame);
        let reply = handler.and_then(|handler| self.call(handler, frame, 0));
        self.emit(frame, reply, emit);
    }

    /// Runs the step that the messages of a bundle ask for on one after another, as long as `each`
    /// wants more: it is told what has come of each.
    pub(crate) fn run_each(&self, bundle: &Frame, each: &mut dyn FnMut(Ran) -> bool) {
        let handler = self.handler_of(bundle);
        for at in 0..bundle.count() {
            let reply = match &handler {
                Ok(handler) => self.call(*handler, bundle, at),
                Err(failure) => Err(failure.clone()),
            };
            let ran = match reply {
                Ok(Reply::One(payload)) => Ran::One(payload),
                reply => {
                    let mut results = Vec::new();
                    self.emit(&bundle.single(at), reply, &mut |result| {
                        results.push(result)
                    });
                    Ran::Other(results)
                }
            };
            if !each(ran) {
                return;
            }
        }
    }

    /// Gives what has come of a message to `emit`.
    fn emit(&self, frame: &Frame, reply: Result<Reply, Failure>, emit: &mut dyn FnMut(Frame)) {
        match reply {
            Ok(Reply::None) => {}
            Ok(Reply::One(payload)) => emit(frame.with_payload(&payload)),
            Ok(Reply::Many(payloads)) => {
                for payload in payloads {
                    emit(frame.with_payload(&payload));
                }
            }
            Err(failure) => {
                self.log(frame, &failure);
                emit(frame.with_failure(&failure));
            }
        }
    }

    /// Whether the function that a message asks for never has a result.
    fn is_silent(&self, frame: &Frame) -> bool {
        let step = frame.step().ok();
        let handler = step.and_then(|step| self.functions.find(step.function));
        handler.is_some_and(Handler::is_silent)
    }

    /// Logs a failure, unless one like it, or of the same client, was just now.
    pub(crate) fn log(&self, frame: &Frame, failure: &Failure) {
        let mut complaints = self.complaints.lock();
        if failure.kind() != FailureKind::Function {
            return complain(&mut complaints, &self.component, frame, &failure.cause);
        }
        if let Some(more) = complaints.note(&failure.cause, Instant::now()) {
            let function = shown(frame.function());
            log::error!(target: &self.component, "{function} failed: {}{more}", failure.cause);
        }
    }

    /// The function that a message asks for.
    fn handler_of(&self, frame: &Frame) -> Result<&dyn Handler, Failure> {
        let step = frame
            .step()
            .map_err(|error| Failure::new(FailureKind::BadPath, error.to_string()))?;
        if self.only_own_name && step.server != self.component {
            let called = shown(&step.to_string());
            let cause = format!("'{called}' was called, but this is '{}'", self.component);
            return Err(Failure::new(FailureKind::WrongServer, cause));
        }
        let Some(handler) = self.functions.find(step.function) else {
            let function = shown(step.function);
            let cause = format!("'{}' has no function '{function}'", self.component);
            return Err(Failure::new(FailureKind::UnknownFunction, cause));
        };
        Ok(handler)
    }

    /// Calls a function with the message at this place of a bundle.
    fn call(&self, handler: &dyn Handler, frame: &Frame, at: usize) -> Result<Reply, Failure> {
        let call = Call::of_bundle(frame, at, &self.component, &*self.cache);
        let failed = |what: String| {
            let cause = format!("{what} (at '{}')", self.component);
            Failure::new(FailureKind::Function, cause)
        };
        match catch_unwind(AssertUnwindSafe(|| handler.call(&call))) {
            Ok(Ok(reply)) => self.check_size(reply),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(panic) => Err(failed(format!("it panicked: {}", panic_text(&*panic)))),
        }
    }

    fn check_size(&self, reply: Reply) -> Result<Reply, Failure> {
        let largest = match &reply {
            Reply::None => 0,
            Reply::One(payload) => payload.len(),
            Reply::Many(payloads) => payloads.iter().map(Vec::len).max().unwrap_or(0),
        };
        if largest <= self.max_message {
            return Ok(reply);
        }
        let cause = format!(
            "a result of {largest} bytes is over the limit of {} bytes",
            self.max_message
        );
        Err(Failure::new(FailureKind::Function, cause))
    }
}

/// Logs that a message was refused, unless its client has had such a line just now.
pub(crate) fn complain(complaints: &mut Complaints, component: &str, frame: &Frame, cause: &str) {
    let client = shown(frame.client());
    if let Some(more) = complaints.note(&client, Instant::now()) {
        log::error!(target: component, "refused from client '{client}': {cause}{more}");
    }
}

/// Calls a hook of the user's. A panic in it is an error of the message that it was called for.
pub(crate) fn guarded<T>(
    component: &str,
    hook: &str,
    call: impl FnOnce() -> T,
) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let cause = format!("{hook} of '{component}' panicked: {}", panic_text(&*panic));
        log::error!(target: component, "{cause}");
        Failure::new(FailureKind::Function, cause)
    })
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::StoreCache;
    use crate::message::End;
    use crate::store::Memory;

    fn runner(functions: Functions, only_own_name: bool) -> Runner {
        Runner {
            functions,
            component: "server".into(),
            only_own_name,
            max_message: 100,
            cache: Arc::new(StoreCache::new(Arc::new(Memory::new()))),
            complaints: Mutex::default(),
        }
    }

    fn run(runner: &Runner, function: &str, payload: &[u8]) -> Vec<Frame> {
        let mut results = Vec::new();
        let frame = Frame::new("p", "client", function, "id", payload);
        runner.run(&frame, &mut |frame| results.push(frame));
        results
    }

    #[test]
    fn a_reply_keeps_all_but_the_payload() {
        let functions = Functions::new().function("twice", |call| Ok(call.payload().repeat(2)));
        let results = run(&runner(functions, true), "server.twice", b"ab");
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].payload(), b"abab");
        assert_eq!(results[0].cache(), "id");
        assert_eq!(results[0].client(), "client");
        assert_eq!(results[0].failure(), None);
    }

    #[test]
    fn nothing_one_and_many() {
        let functions = Functions::new()
            .function("none", |_| Ok(()))
            .function("many", |_| Ok(vec![b"1".to_vec(), b"2".to_vec()]));
        let runner = runner(functions, true);
        assert!(run(&runner, "server.none", b"").is_empty());
        let many = run(&runner, "server.many", b"");
        assert_eq!(
            many.iter().map(Frame::payload).collect::<Vec<_>>(),
            [b"1", b"2"]
        );
    }

    #[test]
    fn no_function_is_run_on_the_mark_at_the_end_of_a_job() {
        let functions = Functions::new().function("foo", |_| Ok("run"));
        let runner = runner(functions, true);
        let mark = Frame::new("p", "c", "server.foo", "id", b"").with_end(End { messages: 3 });
        let mut results = Vec::new();
        runner.run(&mark, &mut |frame| results.push(frame));
        assert_eq!(results, [mark]);
    }

    #[test]
    fn every_kind_of_failure_is_told_apart() {
        let functions = Functions::new()
            .function("fail", |_| -> Result<(), BoxError> {
                Err("no luck".into())
            })
            .function("panic", |_| -> Result<(), BoxError> {
                panic!("on {}", "purpose")
            })
            .function("large", |_| Ok(vec![0; 101]));
        let runner = runner(functions, true);
        for (function, kind, text) in [
            ("server.fail", FailureKind::Function, "no luck"),
            ("server.panic", FailureKind::Function, "on purpose"),
            ("server.large", FailureKind::Function, "101 bytes"),
            ("server.nope", FailureKind::UnknownFunction, "'nope'"),
            ("other.fail", FailureKind::WrongServer, "'other.fail'"),
            ("garbage", FailureKind::BadPath, "'garbage'"),
        ] {
            let results = run(&runner, function, b"x");
            let failure = results[0].failure().unwrap();
            assert_eq!(failure.kind(), kind, "{function}");
            assert!(failure.cause.contains(text), "{}", failure.cause);
            assert_eq!(results[0].payload(), b"0");
        }
    }

    #[test]
    fn a_failure_of_an_earlier_step_runs_nothing_and_goes_on_unless_the_function_is_silent() {
        let functions = Functions::new()
            .function("loud", |_| Ok("never"))
            .function("silent", |_| -> Result<(), BoxError> {
                panic!("never run")
            });
        let runner = runner(functions, true);
        let failure = Failure::new(FailureKind::Function, "before");
        let failed = |function| Frame::new("p", "c", function, "id", b"x").with_failure(&failure);
        let collect = |frame: Frame| {
            let mut results = Vec::new();
            runner.run(&frame, &mut |frame| results.push(frame));
            results
        };
        assert_eq!(collect(failed("server.loud")), [failed("server.loud")]);
        assert_eq!(collect(failed("nonsense")), [failed("nonsense")]);
        assert_eq!(collect(failed("server.silent")), []);
    }

    #[test]
    fn a_worker_looks_only_behind_the_dot() {
        let functions = Functions::new().function("foo", |_| Ok("done"));
        let results = run(&runner(functions, false), "_.foo", b"");
        assert_eq!(results[0].payload(), b"done");
    }

    #[test]
    fn any_takes_what_has_no_name_of_its_own() {
        struct Name;
        impl Handler for Name {
            fn call(&self, call: &Call<'_>) -> Result<Reply, BoxError> {
                Ok(call.message().function().into())
            }
        }
        let functions = Functions::new()
            .function("foo", |_| Ok("foo itself"))
            .any(Arc::new(Name));
        let runner = runner(functions, false);
        assert_eq!(run(&runner, "s.foo", b"")[0].payload(), b"foo itself");
        assert_eq!(run(&runner, "s.bar", b"")[0].payload(), b"s.bar");
    }
}
