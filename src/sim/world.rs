//! The world of a seed: everybody in it, and what happens to them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::check::Excuses;
use super::client::Client;
use super::component::Component;
use super::net::{Env, Event};
use super::plan::{Id, Plan, Shock};
use super::worker::{Goes, Runs, Worker};

/// How long everything may take when nothing happens any more.
const ENDS: Duration = Duration::from_secs(2_000);

/// How often anybody may be woken in a second.
const BUSY: usize = 60_000;

pub(super) struct World {
    plan: Rc<Plan>,
    env: Env,
    processes: Vec<Process>,
    stuck: Vec<Instant>,
    /// What has killed a worker once.
    killed: BTreeSet<String>,
    runs: Runs,
    /// Clients that are gone, and have what had come until then.
    gone: BTreeMap<Id, Client>,
    /// Who does not come back.
    lost: BTreeSet<Id>,
    /// How much has gone wrong.
    shocks: usize,
    second: (u64, usize),
}

#[expect(clippy::large_enum_variant, reason = "there are few of them")]
enum Process {
    Component(Component),
    Worker(Worker),
    Client(Client),
    Dead,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let plan = Rc::new(Plan::of(seed));
        let count = plan.client_id(plan.clients.len());
        let env = Env::new(seed, plan.net, count, trace);
        env.say(|| format!("{plan:#?}"));
        let start = env.now;
        let mut world = Self {
            plan: plan.clone(),
            env,
            processes: (0..count).map(|_| Process::Dead).collect(),
            stuck: vec![start; count],
            killed: BTreeSet::new(),
            runs: Runs::new(),
            gone: BTreeMap::new(),
            lost: BTreeSet::new(),
            shocks: 0,
            second: (0, 0),
        };
        for id in 0..count {
            let late = world.env.rng.time(Duration::from_millis(20));
            world.env.after(late, Event::Start(id));
        }
        for _ in 0..plan.shock_count {
            let at = world.env.rng.time(plan.calm);
            world.env.after(at, Event::Shock);
        }
        world
    }

    /// Lets all of it happen. What is wrong, if anything is.
    pub(super) fn run(mut self) -> Result<(), String> {
        let calm = self.env.start + self.plan.calm;
        self.run_until(calm + ENDS, |world| {
            world.env.now > calm && world.clients().all(Client::is_over)
        })?;
        let open: Vec<_> = self
            .clients()
            .filter(|client| !client.is_over())
            .map(Client::open)
            .collect();
        if !open.is_empty() {
            return Err(format!(
                "it does not end: {}\n{}",
                open.join("\n"),
                self.all_left().join("\n")
            ));
        }
        self.check_clients()?;
        // What was cancelled may not have come back yet.
        let end = self.env.now + ENDS;
        self.run_until(end, |world| {
            world
                .clients()
                .all(|client| world.left_of(client).is_empty())
        })?;
        for id in 0..self.processes.len() {
            let left = match &self.processes[id] {
                Process::Client(client) => self.left_of(client),
                _ => continue,
            };
            if let Process::Client(client) = &mut self.processes[id] {
                if !left.is_empty() {
                    return Err(format!("client {id} still has {}", left.join(", ")));
                }
                let polite = self.env.rng.one_in(2);
                if polite {
                    client.leave(&mut self.env);
                }
                self.end(id, polite);
            }
        }
        let end = self.env.now + ENDS;
        self.run_until(end, |world| world.all_left().is_empty())?;
        let left = self.all_left();
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("this is left at the end: {}", left.join("\n"))),
        }
    }

    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let mut look = self.env.now;
        while self.env.now < end {
            if self.env.now >= look {
                if done(self) {
                    break;
                }
                look = self.env.now + Duration::from_millis(20);
            }
            let Some(event) = self.env.next() else {
                break;
            };
            self.count()?;
            match event {
                Event::Wake(id) => self.wake(id)?,
                Event::Start(id) => self.start(id),
                Event::Shock => self.shock(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Nobody may be busy with nothing.
    fn count(&mut self) -> Result<(), String> {
        let second = (self.env.now - self.env.start).as_secs();
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        match self.second.1 > BUSY {
            true => Err(format!("too much happens in second {second}")),
            false => Ok(()),
        }
    }

    fn start(&mut self, id: Id) {
        if self.env.runs(id) || self.lost.contains(&id) || self.gone.contains_key(&id) {
            return;
        }
        self.env.say(|| format!("{id} starts"));
        let (plan, env) = (&self.plan, &mut self.env);
        self.processes[id] = if id < plan.worker_id(0) {
            Process::Component(Component::new(id, plan, env))
        } else if id < plan.client_id(0) {
            Process::Worker(Worker::new(id, plan, env))
        } else {
            Process::Client(Client::new(id, plan, env))
        };
        self.env.started(id);
    }

    fn wake(&mut self, id: Id) -> Result<(), String> {
        let env = &mut self.env;
        if self.stuck[id] > env.now {
            env.wake(id, self.stuck[id]);
            return Ok(());
        }
        let arrived = std::mem::take(&mut env.inboxes[id]);
        let now = env.now;
        let again = match &mut self.processes[id] {
            Process::Dead => return Ok(()),
            Process::Component(component) => {
                arrived
                    .into_iter()
                    .for_each(|arrival| component.receive(arrival, env));
                let again = component.run(env);
                if let Some(excess) = component.excess() {
                    return Err(excess);
                }
                again
            }
            Process::Worker(worker) => {
                arrived
                    .into_iter()
                    .for_each(|arrival| worker.receive(arrival, env));
                match worker.run(env, &mut self.killed, &mut self.runs) {
                    Goes::On(again) => again,
                    Goes::Dies => {
                        self.shocks += 1;
                        self.env.say(|| format!("{id} is killed by what it ran"));
                        self.restart(id, false);
                        return Ok(());
                    }
                    Goes::Leaves => {
                        self.restart(id, true);
                        return Ok(());
                    }
                }
            }
            Process::Client(client) => {
                arrived
                    .into_iter()
                    .for_each(|arrival| client.receive(arrival, env));
                client.run(env)?
            }
        };
        // Whoever wants to be called at once is, but not before the time has moved.
        let soon = now + Duration::from_micros(20);
        self.env.wake(id, again.max(soon));
        Ok(())
    }

    /// A process ends.
    fn end(&mut self, id: Id, said: bool) {
        self.env.crash(id, said);
        if let Process::Client(client) = std::mem::replace(&mut self.processes[id], Process::Dead) {
            self.gone.insert(id, client);
        }
    }

    fn restart(&mut self, id: Id, said: bool) {
        self.end(id, said);
        let away = Duration::from_millis(50) + self.env.rng.time(self.plan.away);
        self.env.after(away, Event::Start(id));
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        self.processes.iter().filter_map(|process| match process {
            Process::Client(client) => Some(client),
            _ => None,
        })
    }

    fn check_clients(&self) -> Result<(), String> {
        let hit = self.shocks > 0;
        let twice = self.runs.iter().find(|(_, runs)| !hit && **runs > 1);
        if let Some(((step, text), runs)) = twice {
            return Err(format!(
                "nothing has happened, and yet {text} was run {runs} times at {step}"
            ));
        }
        let excuses = Excuses {
            given: &self.env.given,
            max_attempts: self.plan.max_attempts as usize,
            undelivered: self.plan.patience < Duration::from_secs(10) && hit,
            no_function: hit,
            none: self
                .plan
                .steps
                .iter()
                .any(|step| step.spreads || step.gathers || step.scatters),
        };
        for client in self.clients().chain(self.gone.values()) {
            if let Some(wrong) = client.wrong(&excuses) {
                return Err(wrong);
            }
        }
        Ok(())
    }

    /// What a client keeps. What it has for one who is gone for ever does not count.
    fn left_of(&self, client: &Client) -> Vec<String> {
        match self
            .plan
            .last()
            .is_some_and(|last| self.lost.contains(&last))
        {
            true => Vec::new(),
            false => client.left(),
        }
    }

    fn all_left(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (id, process) in self.processes.iter().enumerate() {
            let left = match process {
                Process::Component(component) => {
                    let open = component
                        .open()
                        .filter(|(from, _)| !self.lost.contains(from));
                    let open = open.map(|(_, open)| open);
                    component.left().into_iter().chain(open).collect()
                }
                // One whose master is gone keeps what it has for it.
                Process::Worker(worker) if !self.lost.contains(&worker.master()) => {
                    worker.left().into_iter().collect()
                }
                _ => Vec::new(),
            };
            if !left.is_empty() {
                all.push(format!("{id}: {}", left.join(", ")));
            }
        }
        all
    }
}

/// What goes wrong.
impl World {
    fn shock(&mut self) {
        let shocks = self.plan.shocks.clone();
        let shock = self.env.rng.pick(&shocks);
        let (worker, client) = (self.plan.worker_id(0), self.plan.client_id(0));
        let end = self.processes.len();
        self.shocks += 1;
        let workers = client - worker;
        match shock {
            Shock::Cut => {
                let open: Vec<_> = self.sockets().collect();
                if !open.is_empty() {
                    let socket = self.env.rng.pick(&open);
                    self.env.say(|| format!("{socket} is cut"));
                    self.env.cut(socket);
                }
            }
            Shock::CutAll => {
                let id = self.env.rng.below(end);
                let own = |socket: &usize| {
                    let socket = &self.env.sockets[*socket];
                    socket.owner == id || socket.to == id
                };
                let all: Vec<_> = self.sockets().filter(own).collect();
                self.env.say(|| format!("all connections of {id} are cut"));
                all.into_iter().for_each(|socket| self.env.cut(socket));
            }
            Shock::Refuse => {
                let open: Vec<_> = self.sockets().collect();
                if !open.is_empty() {
                    let socket = self.env.rng.pick(&open);
                    let to = self.env.sockets[socket].to;
                    if let (Some(conn), Process::Component(component)) =
                        (self.env.sockets[socket].conn, &mut self.processes[to])
                    {
                        let number = self.env.renumber(conn);
                        self.env.say(|| format!("{to} gives {number} up"));
                        component.post.unreachable(number, &[], self.env.now);
                        self.env.wake(to, self.env.now);
                    }
                }
            }
            Shock::Partition => {
                let side: Vec<_> = (0..end).filter(|_| self.env.rng.one_in(3)).collect();
                let time = self.env.rng.time(self.plan.away);
                self.env
                    .say(|| format!("{side:?} are parted from the others for {time:?}"));
                self.env.part(side, time);
            }
            Shock::Stick => {
                let id = self.env.rng.below(end);
                let time = self.env.rng.time(self.plan.away);
                self.env.say(|| format!("{id} is stuck for {time:?}"));
                self.stuck[id] = self.env.now + time;
            }
            Shock::CrashWorker => self.crash(worker, client),
            Shock::CrashStep => self.crash(0, worker),
            Shock::LoseWorker if workers > 1 => {
                let id = self.env.rng.between(worker, client - 1);
                let others = (worker..client).filter(|other| {
                    let masters = |id: Id| self.plan.workers[id - worker].master;
                    let can = |id: Id| self.plan.workers[id - worker].functions != ["g"];
                    *other != id
                        && !self.lost.contains(other)
                        && masters(*other) == masters(id)
                        && can(*other)
                });
                if others.count() > 0 {
                    self.env.say(|| format!("{id} dies"));
                    self.lost.insert(id);
                    self.end(id, false);
                }
            }
            Shock::LoseStep if worker > 1 => {
                let id = self.env.rng.between(1, worker - 1);
                self.env.say(|| format!("{id} dies"));
                self.lost.insert(id);
                self.end(id, false);
            }
            Shock::LeaveStep => {
                let id = self.env.rng.below(worker);
                if let Process::Component(component) = &mut self.processes[id] {
                    self.env.say(|| format!("{id} leaves"));
                    component.leave(&mut self.env);
                    self.restart(id, true);
                }
            }
            Shock::DrainWorker if workers > 0 => {
                let id = self.env.rng.between(worker, client - 1);
                if let Process::Worker(process) = &mut self.processes[id] {
                    self.env.say(|| format!("{id} drains"));
                    process.drain();
                    self.env.wake(id, self.env.now);
                }
            }
            Shock::PauseReader => {
                let id = self.env.rng.between(client, end - 1);
                if let Process::Client(process) = &mut self.processes[id] {
                    self.env.say(|| format!("{id} reads nothing for a while"));
                    process.pause(self.env.now + Duration::from_secs(3));
                }
            }
            Shock::Cancel => {
                let id = self.env.rng.between(client, end - 1);
                if let Process::Client(process) = &mut self.processes[id] {
                    let job = self.env.rng.below(process.jobs.len());
                    process.cancel(job, &self.env);
                    self.env.wake(id, self.env.now);
                }
            }
            Shock::CrashClient | Shock::LeaveClient if end - client > 1 => {
                let id = self.env.rng.between(client, end - 1);
                if let Process::Client(process) = &mut self.processes[id] {
                    self.env.say(|| format!("{id} is gone: {shock:?}"));
                    let polite = shock == Shock::LeaveClient;
                    if polite {
                        process.leave(&mut self.env);
                    }
                    self.end(id, polite);
                }
            }
            _ => {}
        }
    }

    /// The sockets that are connected.
    fn sockets(&self) -> impl Iterator<Item = usize> + '_ {
        let sockets = self.env.sockets.iter().enumerate();
        sockets
            .filter(|(_, socket)| socket.conn.is_some())
            .map(|(id, _)| id)
    }

    fn crash(&mut self, from: Id, end: Id) {
        if from < end {
            let id = self.env.rng.between(from, end - 1);
            if self.env.runs(id) {
                self.env.say(|| format!("{id} crashes"));
                self.restart(id, false);
            }
        }
    }
}
