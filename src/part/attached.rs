//! A socket that is bound, or connected to a peer that may move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Context;
use crate::bell::Bell;
use crate::error::Result;
use crate::socket::{Kind, Socket};

/// Where a part's socket belongs.
#[derive(Clone)]
pub(crate) enum Place {
    /// It binds this address.
    Bind(String),
    /// It connects to whatever this target is, now and later.
    Connect(Target),
}

impl Place {
    /// It connects to this address, for good.
    pub(crate) fn connect(address: impl Into<String>) -> Self {
        Self::Connect(Target::new(address))
    }
}

/// An address that may change while parts are connected to it.
#[derive(Clone)]
pub(crate) struct Target(Arc<TargetInner>);

struct TargetInner {
    address: Mutex<String>,
    version: AtomicU64,
    bells: Mutex<Vec<Arc<Bell>>>,
}

impl Target {
    pub(crate) fn new(address: impl Into<String>) -> Self {
        Self(Arc::new(TargetInner {
            address: Mutex::new(address.into()),
            version: AtomicU64::new(0),
            bells: Mutex::default(),
        }))
    }

    pub(crate) fn address(&self) -> String {
        self.0.address.lock().clone()
    }

    /// Has the parts leave the old address and connect to this one, if it is another.
    pub(crate) fn set(&self, address: &str) -> bool {
        let mut current = self.0.address.lock();
        if *current == address {
            return false;
        }
        address.clone_into(&mut current);
        drop(current);
        self.0.version.fetch_add(1, Ordering::SeqCst);
        self.0.bells.lock().iter().for_each(|bell| bell.ring());
        true
    }
}

/// How to open a part's socket.
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) part: String,
    /// What to subscribe to.
    pub(super) topic: Option<String>,
    pub(super) place: Place,
    pub(super) max_message: usize,
    /// The most messages in libzmq's queue for a peer, if not the usual number.
    pub(super) high_water: Option<u16>,
}

/// An open socket, at its place.
pub(super) struct Attached {
    pub(super) socket: Socket,
    plan: Plan,
    /// The version of the target that it is connected to.
    version: u64,
}

impl Attached {
    /// Opens a socket, and binds or connects it. Gives what was bound.
    pub(super) fn open(plan: Plan, bell: &Arc<Bell>) -> Result<(Self, Option<String>)> {
        if let Place::Connect(target) = &plan.place {
            target.0.bells.lock().push(bell.clone());
        }
        let version = plan.version();
        let (socket, bound) = plan.open()?;
        let attached = Self {
            socket,
            plan,
            version,
        };
        Ok((attached, bound))
    }

    /// Whether its target has moved.
    pub(super) fn has_moved(&self) -> bool {
        self.plan.version() != self.version
    }

    /// Connects anew if the target has moved. If that fails, it stays where it is.
    pub(super) fn follow(&mut self, context: &Context) {
        if !self.has_moved() {
            return;
        }
        self.version = self.plan.version();
        match self.plan.open() {
            Ok((socket, _)) => self.socket = socket,
            Err(error) => {
                log::error!(target: &context.component, "{} stays: {error}", self.plan.part);
            }
        }
    }
}

impl Plan {
    fn open(&self) -> Result<(Socket, Option<String>)> {
        let mut socket = Socket::open(self.kind, &self.part, self.max_message)?;
        if let Some(topic) = &self.topic {
            socket.subscribe(topic)?;
        }
        if let Some(messages) = self.high_water {
            socket.set_high_water(messages)?;
        }
        match &self.place {
            Place::Bind(address) => {
                let bound = socket.bind(address)?;
                Ok((socket, Some(bound)))
            }
            Place::Connect(target) => {
                socket.connect(&target.address())?;
                Ok((socket, None))
            }
        }
    }

    fn version(&self) -> u64 {
        match &self.place {
            Place::Bind(_) => 0,
            Place::Connect(target) => target.0.version.load(Ordering::SeqCst),
        }
    }
}
