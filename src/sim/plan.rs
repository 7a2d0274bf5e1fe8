//! What a seed decides before anything runs: who there is, what is to be done, what will go
//! wrong, and what is to come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rng::{Rng, hash};

/// Who there is: the components first, then their workers, then the clients.
pub(super) type Id = usize;

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) workers: Vec<Worker>,
    pub(super) clients: Vec<Client>,
    /// How long those who are away are waited for.
    pub(super) patience: Duration,
    pub(super) max_attempts: u32,
    /// How many bytes a component keeps.
    pub(super) hold: usize,
    /// How many messages a client may have open, by the server's and by its own word.
    pub(super) credit: u64,
    /// How many messages a step may have open.
    pub(super) step_credit: u64,
    /// How large payloads are, about.
    pub(super) size: usize,
    pub(super) net: Net,
    /// What may happen, each as often as it is here.
    pub(super) shocks: Vec<Shock>,
    pub(super) shock_count: usize,
    /// When the last of it happens.
    pub(super) calm: Duration,
    /// How long somebody is away.
    pub(super) away: Duration,
    /// How long a function takes at the most.
    pub(super) work: Duration,
    /// One message in so many kills whoever runs it: each time, or once. 0 for none.
    pub(super) kills: u64,
    pub(super) kills_once: u64,
    /// One function in so many fails. 0 for none.
    pub(super) fails: u64,
}

/// A component.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: String,
    /// Where its messages come from: other steps, or clients if there are none.
    pub(super) from: Vec<Id>,
    /// Where they go: to other steps, or to clients if there are none.
    pub(super) to: Vec<Id>,
    /// Whether workers do its work.
    pub(super) has_workers: bool,
    /// Whether hooks make several messages of one, and leave some out.
    pub(super) scatters: bool,
    pub(super) gathers: bool,
    /// Whether a function gives none or several results.
    pub(super) spreads: bool,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) master: Id,
    pub(super) functions: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) jobs: Vec<Job>,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) messages: u64,
    pub(super) ordered: bool,
    pub(super) window: usize,
    /// How long its reader takes for an output, and how long its feeder for a message.
    pub(super) reads: Duration,
    pub(super) feeds: Duration,
    pub(super) starts: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Net {
    pub(super) least: Duration,
    pub(super) jitter: Duration,
    /// One connection in so many is slow. 0 for none.
    pub(super) slow: usize,
    /// Whether a component that is restarted is elsewhere.
    pub(super) moves: bool,
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shock {
    Cut,
    CutAll,
    Refuse,
    Partition,
    CrashWorker,
    CrashStep,
    LeaveStep,
    /// It never comes back.
    LoseWorker,
    LoseStep,
    Stick,
    DrainWorker,
    PauseReader,
    Cancel,
    CrashClient,
    LeaveClient,
}

const ALL: [Shock; 14] = [
    Shock::Cut,
    Shock::Cut,
    Shock::CutAll,
    Shock::Refuse,
    Shock::Partition,
    Shock::CrashWorker,
    Shock::CrashStep,
    Shock::LeaveStep,
    Shock::LoseWorker,
    Shock::Stick,
    Shock::DrainWorker,
    Shock::PauseReader,
    Shock::Cancel,
    Shock::CrashClient,
];

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x70a1_0000);
        let mut shocks: Vec<Shock> = ALL.into_iter().filter(|_| rng.one_in(3)).collect();
        let mut patience = Duration::from_secs(20);
        if rng.one_in(8) {
            shocks.clear();
        }
        let is_hasty = rng.one_in(16);
        if is_hasty {
            patience = Duration::from_secs(3);
            shocks.extend(rng.one_in(2).then_some(Shock::LoseStep));
            shocks.extend([Shock::Cut, Shock::Cut]);
        }
        if rng.one_in(8) {
            shocks.push(Shock::LeaveClient);
        }
        let ms = Duration::from_millis;
        let mut plan = Self {
            steps: steps(&mut rng),
            workers: Vec::new(),
            clients: Vec::new(),
            patience,
            max_attempts: rng.between(2, 5) as u32,
            hold: rng.pick(&[1_500, 4_000, 20_000, 1 << 20]),
            credit: rng.pick(&[1, 3, 10, 1_000]),
            step_credit: rng.pick(&[1, 3, 10, 1_000]),
            size: rng.pick(&[10, 10, 10, 100, 100, 5_000]),
            net: Net {
                least: rng.pick(&[Duration::from_micros(50), ms(1), ms(10)]),
                jitter: rng.pick(&[Duration::from_micros(50), ms(1), ms(20)]),
                slow: rng.pick(&[0, 0, 4]),
                moves: rng.one_in(2),
            },
            shock_count: if shocks.is_empty() {
                0
            } else {
                rng.between(1, 8)
            },
            shocks,
            calm: rng.pick(&[ms(50), ms(300), ms(1_000), ms(4_000)]),
            away: rng.pick(&[ms(20), ms(500), ms(4_000)]),
            work: rng.pick(&[Duration::ZERO, ms(1), ms(5), ms(100)]),
            kills: rng.pick(&[0, 0, 0, 20]),
            kills_once: rng.pick(&[0, 0, 10]),
            fails: rng.pick(&[0, 0, 8]),
        };
        if is_hasty {
            plan.shock_count = rng.between(4, 20);
            plan.calm = ms(10_000);
        }
        for (id, step) in plan.steps.iter().enumerate() {
            let count = if step.has_workers {
                rng.between(1, 4)
            } else {
                0
            };
            for _ in 0..count {
                let functions = match rng.one_in(2) {
                    true => vec!["f".to_owned()],
                    false => Vec::new(),
                };
                let master = id;
                plan.workers.push(Worker { master, functions });
            }
        }
        for _ in 0..rng.pick(&[1, 1, 2, 3]) {
            let jobs = (0..rng.pick(&[1, 1, 2])).map(|_| job(&mut rng)).collect();
            plan.clients.push(Client { jobs });
        }
        plan
    }

    pub(super) fn worker_id(&self, number: usize) -> Id {
        self.steps.len() + number
    }

    pub(super) fn client_id(&self, number: usize) -> Id {
        self.steps.len() + self.workers.len() + number
    }

    /// The last step of the chain, if that is not the first.
    pub(super) fn last(&self) -> Option<Id> {
        let last = self.steps.len() - 1;
        (last > 0).then_some(last)
    }
}

/// Somebody alone, a chain, or a tee that meets in a sink or does not.
fn steps(rng: &mut Rng) -> Vec<Step> {
    let edges: Vec<(Id, Id)> = match rng.below(8) {
        0..3 => vec![],
        3 => vec![(0, 1)],
        4 => vec![(0, 1), (1, 2)],
        5 => vec![(0, 1), (1, 2), (2, 3)],
        6 => vec![(0, 1), (0, 2), (1, 3), (2, 3)],
        _ => vec![(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)],
    };
    let count = edges.last().map_or(1, |(_, to)| to + 1);
    let spreads = rng.one_in(3);
    let step = |id: Id| Step {
        name: format!("s{id}"),
        from: edges
            .iter()
            .filter(|(_, to)| *to == id)
            .map(|(from, _)| *from)
            .collect(),
        to: edges
            .iter()
            .filter(|(from, _)| *from == id)
            .map(|(_, to)| *to)
            .collect(),
        has_workers: false,
        scatters: false,
        gathers: false,
        spreads: false,
    };
    let mut steps: Vec<Step> = (0..count).map(step).collect();
    for step in &mut steps {
        step.has_workers = rng.one_in(if count == 1 { 2 } else { 3 }) && step.from.len() < 2;
        step.scatters = spreads && rng.one_in(3);
        step.gathers = step.has_workers && rng.one_in(5);
        step.spreads = spreads && rng.one_in(3);
    }
    steps
}

fn job(rng: &mut Rng) -> Job {
    let ms = Duration::from_millis;
    Job {
        messages: rng.pick(&[1, 5, 20, 40]) as u64,
        ordered: rng.one_in(3),
        window: rng.pick(&[1, 4, 20, 1_000]),
        reads: rng.pick(&[Duration::ZERO, Duration::ZERO, ms(1), ms(30)]),
        feeds: rng.pick(&[Duration::ZERO, Duration::ZERO, ms(1), ms(30)]),
        starts: rng.time(ms(100)),
    }
}

/// What a function does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Gives(Vec<String>),
    Fails(String),
    Kills,
    KillsOnce(Vec<String>),
}

/// What comes of a message at its client, or why nothing does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Text(String),
    Failed(String),
    GivenUp,
}

impl Plan {
    /// What the scatter hook of a step makes of a message.
    pub(super) fn scattered(&self, step: Id, text: &str) -> Vec<String> {
        if !self.steps[step].scatters {
            return vec![text.to_owned()];
        }
        let count = hash(text, 1 + step as u64) % 4;
        (0..count).map(|part| format!("{text}<{part}")).collect()
    }

    /// Whether the gather hook of a step lets a message through.
    pub(super) fn gathered(&self, step: Id, text: &str) -> bool {
        !self.steps[step].gathers || !hash(text, 100 + step as u64).is_multiple_of(3)
    }

    /// What the function of a step does with a message.
    pub(super) fn done(&self, step: Id, text: &str) -> Does {
        let one_in = |times: u64, salt: u64| times > 0 && hash(text, salt).is_multiple_of(times);
        if one_in(self.fails, 200 + step as u64) {
            return Does::Fails(format!("no: {text}"));
        }
        let works = self.steps[step].has_workers;
        if works && one_in(self.kills, 300 + step as u64) {
            return Does::Kills;
        }
        let count = match self.steps[step].spreads {
            true => hash(text, 400 + step as u64) % 4,
            false => 1,
        };
        let all = (0..count)
            .map(|part| format!("{text}.{step}{part}"))
            .collect();
        match works && one_in(self.kills_once, 500 + step as u64) {
            true => Does::KillsOnce(all),
            false => Does::Gives(all),
        }
    }

    /// All that is to come of a message, and how often.
    pub(super) fn ends(&self, text: &str) -> BTreeMap<End, usize> {
        let mut ends = BTreeMap::new();
        self.add_ends(0, End::Text(text.to_owned()), &mut ends);
        ends
    }

    fn add_ends(&self, step: Id, arrived: End, ends: &mut BTreeMap<End, usize>) {
        let mut left = Vec::new();
        match arrived {
            End::Text(text) => {
                for part in self.scattered(step, &text) {
                    match self.done(step, &part) {
                        Does::Gives(all) | Does::KillsOnce(all) => {
                            let all = all.into_iter().filter(|text| self.gathered(step, text));
                            left.extend(all.map(End::Text));
                        }
                        Does::Fails(cause) => left.push(End::Failed(cause)),
                        Does::Kills => left.push(End::GivenUp),
                    }
                }
            }
            failed => left.push(failed),
        }
        let to = &self.steps[step].to;
        for end in left {
            if to.is_empty() {
                *ends.entry(end).or_default() += 1;
            } else {
                to.iter()
                    .for_each(|next| self.add_ends(*next, end.clone(), ends));
            }
        }
    }
}
