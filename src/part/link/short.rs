//! The short ways of a link: where no hook of the user's has a say, what clients submit goes to
//! the workers, and what comes of it to whoever gets it, without leaving the link's thread.
//!
//! Whatever a hook is to see takes the way through the component's router.

use std::time::Instant;

use crate::core::custody::Ticket;
use crate::core::divide::Divide;
use crate::core::link::{Item, Made, Post};
use crate::core::outbox::Topic;
use crate::core::turns::Portion;
use crate::message::Frame;
use crate::part::Parcel;
use crate::part::publish::Topics;
use crate::part::route::{Sorted, Sorting, runnable};

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
            && let Some(made) = post.next_result(out.takes_bundles())
        {
            out.publish(post, made.into(), now);
            moved = true;
        }
        let Some(sorting) = self.to_workers.as_mut().filter(|_| takes) else {
            return moved;
        };
        while has_room(post)
            && let Some(Item { mut frame, ticket }) = post.next_submitted(Portion::ANY)
        {
            frame.fill_cache();
            submit(sorting, post, out, (frame, Some(ticket)), now);
            moved = true;
        }
        moved
    }

    /// Hands on what a client has pushed over the pylm wire, if that way is short; gives it back
    /// if it is not.
    pub(super) fn push(
        &mut self,
        post: &mut Post,
        out: &mut WayOut<'_>,
        frame: Frame,
        now: Instant,
    ) -> Option<Frame> {
        let Some(sorting) = &mut self.to_workers else {
            return Some(frame);
        };
        submit(sorting, post, out, (frame, None), now);
        None
    }
}

/// Whether more may be submitted.
pub(super) fn has_room(post: &Post) -> bool {
    !post.is_busy() && !post.is_full()
}

fn submit(
    sorting: &mut Sorting,
    post: &mut Post,
    out: &mut WayOut<'_>,
    (frame, ticket): (Frame, Option<Ticket>),
    now: Instant,
) {
    if frame.count() > 1 && runnable(&frame).is_ok() {
        return post.work(Made { frame, ticket }, now);
    }
    for made in (Made { frame, ticket }).singles() {
        submit_one(sorting, post, out, made, now);
    }
}

fn submit_one(
    sorting: &mut Sorting,
    post: &mut Post,
    out: &mut WayOut<'_>,
    Made { frame, ticket }: Made,
    now: Instant,
) {
    match sorting.sort(frame) {
        Sorted::Runs(frame) => post.work(Made { frame, ticket }, now),
        Sorted::Answered(frame) => out.publish(post, Made { frame, ticket }.into(), now),
        Sorted::Ends => ticket.into_iter().for_each(Ticket::done),
    }
}

/// The way to clients and later steps.
pub(super) struct WayOut<'a> {
    pub(super) topics: &'a mut Topics,
    pub(super) component: &'a str,
}

impl WayOut<'_> {
    /// Whether bundles can go this way: a hook knows nothing of them.
    fn takes_bundles(&self) -> bool {
        !matches!(self.topics, Topics::Chosen { .. })
    }

    /// Has the link keep a message for those who are to get it, or a bundle.
    pub(super) fn publish(&mut self, post: &mut Post, parcel: Parcel, now: Instant) {
        if parcel.frame.count() == 1 || self.takes_bundles() {
            return self.publish_whole(post, parcel, now);
        }
        let Parcel { frame, ticket, .. } = parcel;
        for made in (Made { frame, ticket }).singles() {
            self.publish_whole(post, made.into(), now);
        }
    }

    fn publish_whole(&mut self, post: &mut Post, mut parcel: Parcel, now: Instant) {
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
