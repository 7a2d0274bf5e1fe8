//! Which wire to speak with a publisher.

use std::time::{Duration, Instant};

/// How long a publisher that is connected may take to say that it is a palm peer.
const SETTLE: Duration = Duration::from_millis(300);

/// The same of one that was a palm peer before: where it is started again on a busy machine, its
/// welcome may be late, and meanwhile its link gives what it has.
const SETTLE_AGAIN: Duration = Duration::from_secs(5);

/// Finds out, at each connection to a publisher, which wire it speaks.
///
/// One of palm welcomes whoever subscribes to that, and tells in its welcome where its link is,
/// if it has one. One of pylm says nothing. So who hears nothing for some time speaks the pylm
/// wire, and not before that: the same message must not come over both.
#[derive(Debug, Default)]
pub(crate) struct Upstream {
    speaks: Option<Speaks>,
    /// Since when its welcome is awaited.
    asked: Option<Instant>,
}

/// How a publisher is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Over the link at this address.
    Link(String),
    Pylm,
}

impl Upstream {
    /// A connection is made. Until more is known, what was known before holds.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// The connection is broken. Its link, if it has one, may not be.
    pub(crate) fn broken(&mut self) {
        self.asked = None;
        if self.speaks == Some(Speaks::Pylm) {
            self.speaks = None;
        }
    }

    /// It is a palm peer, and has a link there, if it has one.
    pub(crate) fn welcomed(&mut self, address: Option<String>) {
        self.asked = None;
        self.speaks = Some(address.map_or(Speaks::Pylm, Speaks::Link));
    }

    /// Looks what time it is.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.asked = None;
            self.speaks = Some(Speaks::Pylm);
        }
    }

    /// When to call [`tick`](Self::tick) again though nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let settle = match self.speaks {
            Some(Speaks::Link(_)) => SETTLE_AGAIN,
            _ => SETTLE,
        };
        self.asked.map(|asked| asked + settle)
    }

    /// How to speak to it, as far as that is known.
    pub(crate) fn speaks(&self) -> Option<&Speaks> {
        self.speaks.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(299);
    const LATE: Duration = Duration::from_millis(300);

    fn link(address: &str) -> Option<Speaks> {
        Some(Speaks::Link(address.to_owned()))
    }

    #[test]
    fn who_is_silent_for_some_time_after_the_connection_is_of_pylm() {
        let (mut upstream, start) = (Upstream::default(), Instant::now());
        upstream.tick(start + 100 * LATE);
        assert_eq!(upstream.speaks(), None);
        upstream.connected(start);
        upstream.tick(start + SOON);
        assert_eq!(upstream.speaks(), None);
        assert_eq!(upstream.deadline(), Some(start + LATE));
        upstream.tick(start + LATE);
        assert_eq!(upstream.speaks(), Some(&Speaks::Pylm));
        assert_eq!(upstream.deadline(), None);
    }

    #[test]
    fn who_welcomes_us_says_where_its_link_is() {
        let (mut upstream, start) = (Upstream::default(), Instant::now());
        upstream.connected(start);
        upstream.welcomed(Some("a".to_owned()));
        upstream.tick(start + LATE);
        assert_eq!(upstream.speaks(), link("a").as_ref());
        upstream.welcomed(None);
        assert_eq!(upstream.speaks(), Some(&Speaks::Pylm));
    }

    #[test]
    fn each_connection_may_be_to_one_of_another_kind() {
        let (mut upstream, start) = (Upstream::default(), Instant::now());
        upstream.connected(start);
        upstream.tick(start + LATE);
        // Nothing goes over the pylm wire before it is known whether that is the one.
        upstream.broken();
        assert_eq!(upstream.speaks(), None);
        upstream.connected(start);
        upstream.welcomed(Some("a".to_owned()));
        // The link goes on by itself.
        upstream.broken();
        upstream.connected(start);
        upstream.tick(start + SETTLE_AGAIN - SETTLE);
        assert_eq!(upstream.speaks(), link("a").as_ref());
        upstream.welcomed(Some("b".to_owned()));
        assert_eq!(upstream.speaks(), link("b").as_ref());
        upstream.broken();
        upstream.connected(start);
        upstream.tick(start + SETTLE_AGAIN);
        assert_eq!(upstream.speaks(), Some(&Speaks::Pylm));
    }
}
