//! What the server's side of the link tells of itself: how much it has of what, and why that
//! waits. It is reckoned when somebody asks, and costs nothing but a few counters until then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::outlets::{HeldStats, OutletStats};
use super::{Clients, Outlets, Post, Tasks};
use crate::core::queue::{self, Stats};
use crate::message::status::{Client, Outlet, Status, Totals, Wait, Why, Worker};

/// How many entries of each list are told.
const MOST: usize = 1_000;

/// What nobody is done with for so long waits, and is not just on its way.
const STILL: Duration = Duration::from_secs(1);

/// The longest name that is told, in bytes: peers choose their own.
const MOST_NAME: usize = 64;

impl Post {
    /// How it is, but for the name of the component and its age, which are not known here.
    pub(crate) fn status(&self, now: Instant) -> Status {
        let view = View {
            now,
            clients: self.clients(),
            outlets: self.outlets(),
            tasks: self.work_queue(),
            is_busy: self.is_busy(),
            stats: self.work_queue().map(|tasks| tasks.queue().stats()),
        };
        let (taken, held) = view.outlets.stats();
        let sessions = view.sessions(&taken);
        let mut waits = view.waits(&sessions, &taken, &held);
        waits.sort_by_key(|wait| std::cmp::Reverse(wait.messages));
        let totals = Totals {
            refused: self.refused(),
            ..view.totals(&sessions)
        };
        let clients = sessions.into_iter().map(|(session, client)| Client {
            session: cut(session),
            ..client
        });
        let (clients, more_clients) = beginning(clients);
        let (workers, more_workers) = beginning(view.workers().into_iter());
        let (outlets, more_outlets) = beginning(taken.into_iter().map(outlet));
        let (waits, more_waits) = beginning(waits.into_iter());
        Status {
            name: String::new(),
            epoch: self.epoch().to_owned(),
            uptime: 0,
            has_clients: view.clients.is_some(),
            has_workers: view.tasks.is_some(),
            totals: Some(totals),
            clients,
            more_clients,
            workers,
            more_workers,
            pylm_workers: view.tasks.map_or(0, Tasks::wired_workers) as u64,
            outlets,
            more_outlets,
            waits,
            more_waits,
        }
    }
}

/// What is looked at.
struct View<'a> {
    now: Instant,
    clients: Option<&'a Clients>,
    outlets: &'a Outlets,
    tasks: Option<&'a Tasks>,
    /// Whether no more tasks are taken.
    is_busy: bool,
    stats: Option<Stats>,
}

impl View<'_> {
    /// All clients that are connected, or have something inside.
    fn sessions(&self, taken: &[OutletStats]) -> BTreeMap<String, Client> {
        let mut sessions: BTreeMap<String, Client> = BTreeMap::new();
        for stats in self.clients.map(Clients::stats).unwrap_or_default() {
            let client = Client {
                connected: stats.connected,
                open: stats.open as u64,
                inbox: stats.inbox as u64,
                ..Client::default()
            };
            sessions.insert(stats.session, client);
        }
        for stats in self.stats.iter().flat_map(|stats| &stats.sessions) {
            let client = sessions.entry(stats.name.clone()).or_default();
            client.waiting = stats.waiting as u64;
            client.running = stats.given as u64;
        }
        for outlet in taken.iter().filter(|outlet| outlet.connected) {
            if let Some(client) = sessions.get_mut(&outlet.session) {
                client.connected = true;
            }
        }
        sessions
    }

    fn totals(&self, sessions: &BTreeMap<String, Client>) -> Totals {
        let submits = self.clients.map(Clients::counters).unwrap_or_default();
        let work = self.stats.as_ref();
        let counters = work.map(|stats| stats.counters).unwrap_or_default();
        let of_work = |number: fn(&Stats) -> usize| work.map_or(0, number) as u64;
        let inbox: u64 = sessions.values().map(|client| client.inbox).sum();
        Totals {
            submitted: submits.submitted,
            settled: submits.settled,
            accepted: counters.accepted,
            running: of_work(|stats| stats.given),
            waiting: of_work(|stats| stats.waiting) + inbox,
            completed: counters.finished,
            redelivered: counters.redelivered,
            doubles: counters.fenced,
            given_up: counters.given_up,
            no_function: counters.no_function,
            cancelled: counters.cancelled,
            delivered: self.outlets.delivered(),
            undelivered: self.outlets.undelivered(),
            refused: 0,
            inbox_bytes: self.clients.map_or(0, Clients::bytes),
            task_bytes: of_work(|stats| stats.bytes),
            result_bytes: self.tasks.map_or(0, Tasks::result_bytes),
            outlet_bytes: self.outlets.bytes() + self.outlets.published_bytes(),
        }
    }

    fn workers(&self) -> Vec<Worker> {
        let stats = self.tasks.map(Tasks::stats).unwrap_or_default();
        let workers = stats.into_iter().map(|stats| Worker {
            name: cut(stats.name),
            session: cut(stats.session),
            connected: stats.connected,
            draining: stats.draining,
            given: stats.given as u64,
            credit: stats.credit as u64,
            finished: stats.finished,
            average: stats.average.map_or(0, |time| time.as_micros() as u64),
        });
        workers.collect()
    }

    /// What waits, and why: on its way in, for workers, and on its way out.
    fn waits(
        &self,
        sessions: &BTreeMap<String, Client>,
        taken: &[OutletStats],
        held: &[HeldStats],
    ) -> Vec<Wait> {
        let inside = sessions
            .iter()
            .filter(|(_, client)| client.inbox + client.waiting > 0)
            .filter_map(|(session, client)| self.wait_of(session, client));
        let held = held.iter().map(|held| Wait {
            whose: cut(held.topic.clone()),
            is_client: held.is_client,
            messages: held.held as u64,
            why: match held.is_client {
                true => Why::Away.into(),
                false => Why::NoSubscriber.into(),
            },
            missing: held.missing as u64,
            ..Wait::default()
        });
        let kept = taken.iter().filter_map(|outlet| self.wait_for(outlet));
        let shares = taken.iter().flat_map(|outlet| &outlet.shares);
        let shares = shares.map(|(session, count)| Wait {
            whose: cut(session.clone()),
            is_client: true,
            messages: *count as u64,
            why: Why::StepShare.into(),
            ..Wait::default()
        });
        inside.chain(held).chain(kept).chain(shares).collect()
    }

    /// Why a client's messages are not run, if they wait and are not just on their way.
    fn wait_of(&self, session: &str, client: &Client) -> Option<Wait> {
        let mut function = String::new();
        let why = if self.outlets.is_unread(session) {
            Why::NotReading
        } else if self.outlets.is_stalled(session) {
            Why::StepShare
        } else if self.is_choked() {
            Why::NoRoom
        } else {
            match self.why_queued(session, client) {
                queue::Why::NoWorker => Why::NoWorker,
                queue::Why::NoWorkerWithFunction(name) => {
                    function = cut(name);
                    Why::NoFunction
                }
                _ if self.tasks.is_some() && self.workers_there() == 0 => Why::NoWorker,
                queue::Why::Nothing if self.tasks.is_some() && !self.is_busy => {
                    return None;
                }
                // Its client does read; but much is to come for it.
                queue::Why::NotReading => Why::AllBusy,
                queue::Why::AllBusy | queue::Why::Nothing => Why::AllBusy,
            }
        };
        Some(Wait {
            whose: cut(session.to_owned()),
            is_client: true,
            messages: client.inbox + client.waiting,
            why: why.into(),
            function,
            workers: match why {
                Why::AllBusy => self.workers_there(),
                _ => 0,
            },
            ..Wait::default()
        })
    }

    /// Why the oldest task of a session waits; or, if those of others fill the queue so that
    /// none of its own is there, why the first of those does.
    fn why_queued(&self, session: &str, client: &Client) -> queue::Why {
        let Some(queue) = self.tasks.map(Tasks::queue) else {
            return queue::Why::Nothing;
        };
        if client.waiting > 0 {
            return queue.why_session(session);
        }
        let others = self.stats.iter().flat_map(|stats| &stats.sessions);
        let first = others.into_iter().find(|other| other.waiting > 0);
        first.map_or(queue::Why::Nothing, |other| queue.why_session(&other.name))
    }

    /// Whether nothing more is run for anybody before something that was made is taken.
    fn is_choked(&self) -> bool {
        self.outlets.is_full() || self.tasks.is_some_and(Tasks::is_choked)
    }

    /// How many workers may be given something.
    fn workers_there(&self) -> u64 {
        let Some(tasks) = self.tasks else {
            return 0;
        };
        let stats = tasks.stats().into_iter();
        let linked = stats.filter(|worker| worker.connected && !worker.draining);
        (linked.count() + tasks.wired_workers()) as u64
    }

    /// Why what is kept for somebody waits, if it does: some is always on its way.
    fn wait_for(&self, outlet: &OutletStats) -> Option<Wait> {
        let stalled = outlet.is_client && self.outlets.is_unread(&outlet.session);
        let is_late = |since| self.now.saturating_duration_since(since) >= STILL;
        let stalled = stalled || outlet.still.is_some_and(is_late);
        let (why, messages) = match outlet.connected {
            false if outlet.kept > 0 => (Why::Away, outlet.kept),
            true if outlet.held_up || stalled => (Why::NotReading, outlet.kept),
            _ => return None,
        };
        Some(Wait {
            whose: cut(outlet.topic.clone()),
            is_client: outlet.is_client,
            messages: messages as u64,
            why: why.into(),
            ..Wait::default()
        })
    }
}

fn outlet(stats: OutletStats) -> Outlet {
    Outlet {
        topic: cut(stats.topic),
        session: cut(stats.session),
        name: cut(stats.name),
        is_client: stats.is_client,
        connected: stats.connected,
        kept: stats.kept as u64,
        waiting: stats.waiting as u64,
        bytes: stats.bytes,
    }
}

/// The first entries of a list, and how many more there are.
fn beginning<T>(mut all: impl ExactSizeIterator<Item = T>) -> (Vec<T>, u64) {
    let first = all.by_ref().take(MOST).collect();
    (first, all.len() as u64)
}

fn cut(mut name: String) -> String {
    if name.len() > MOST_NAME {
        name.truncate(name.floor_char_boundary(MOST_NAME));
        name.push('…');
    }
    name
}

#[cfg(test)]
mod tests;
