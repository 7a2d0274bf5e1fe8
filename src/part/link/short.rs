//! The short ways of a link: where no hook of the user's has a say, what clients submit goes to
//! the workers, and what comes of it to whoever gets it, without leaving the link's thread.
//!
//! What comes over the pylm wire, and whatever a hook is to see, takes the way through the
//! component's router.

use std::time::Instant;

use crate::core::link::{Item, Made, Post};
use crate::core::outbox::Topic;
use crate::part::Parcel;
use crate::part::publish::Topics;
use crate::part::route::{Sorted, Sorting};

/// Which ways are short.
#[derive(Default)]
pub(crate) struct ShortWays {
    /// From clients to workers, and what is done with what cannot be run.
    pub(crate) to_workers: Option<Sorting>,
    /// From workers to clients and later steps.
    pub(crate) from_workers: bool,
}

impl ShortWays {
    /// Hands on what there is, as far as there is room. Whether there was any.
    pub(super) fn hand_on(
        &mut self,
        post: &mut Post,
        out: &mut WayOut<'_>,
        takes: bool,
        now: Instant,
    ) -> bool {
        let mut moved = false;
        while self.from_workers
            && !post.is_full()
            && let Some(made) = post.next_result()
        {
            out.publish(post, made.into(), now);
            moved = true;
        }
        let Some(sorting) = self.to_workers.as_mut().filter(|_| takes) else {
            return moved;
        };
        while !post.is_busy()
            && !post.is_full()
            && let Some(Item { mut frame, ticket }) = post.next_submitted()
        {
            frame.fill_cache();
            let ticket = Some(ticket);
            match sorting.sort(frame) {
                Sorted::Runs(frame) => post.work(Made { frame, ticket }, now),
                Sorted::Answered(frame) => out.publish(post, Made { frame, ticket }.into(), now),
                Sorted::Ends => ticket.into_iter().for_each(|ticket| ticket.done()),
            }
            moved = true;
        }
        moved
    }
}

/// The way to clients and later steps.
pub(super) struct WayOut<'a> {
    pub(super) topics: &'a mut Topics,
    pub(super) component: &'a str,
}

impl WayOut<'_> {
    /// Has the link keep a message for those who are to get it.
    pub(super) fn publish(&mut self, post: &mut Post, mut parcel: Parcel, now: Instant) {
        let ticket = parcel.ticket.take();
        let (topic, frame) = self.topics.address(self.component, parcel);
        let made = Made { frame, ticket };
        match topic {
            Topic::Client => post.give_client(made, now),
            Topic::Chosen(topic) if topic.is_empty() => post.give_nowhere(made),
            Topic::Chosen(topic) => post.give_step(&topic, made, now),
        }
    }
}

impl From<Made> for Parcel {
    fn from(Made { frame, ticket }: Made) -> Self {
        Self {
            topic: None,
            frame,
            ticket,
        }
    }
}
