//! The network: what ZeroMQ's sockets do with messages, in virtual time.
//!
//! A socket is a DEALER's. It has a connection to the ROUTER of a component, over which messages
//! go in their order, each way. When it is cut, an end of what is on its way is lost; the socket
//! connects again without a word, and the component sees another connection. What the DEALER has
//! not sent by then goes over the new one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::plan::{Id, Net};
use super::rng::Rng;
use crate::message::link::Envelope;

pub(super) type SocketId = usize;
pub(super) type Conn = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Wake(Id),
    /// Something has come up to a component, or down from it.
    Up(Conn),
    Down(Conn),
    Connect(SocketId),
    Shock,
    Start(Id),
    Unpartition,
}

struct Due {
    at: Instant,
    turn: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.turn == other.turn
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.turn).cmp(&(other.at, other.turn))
    }
}

pub(super) struct Socket {
    pub(super) owner: Id,
    pub(super) line: usize,
    pub(super) to: Id,
    /// The run of the component whose address it has.
    address: u64,
    pub(super) open: bool,
    pub(super) conn: Option<Conn>,
    /// What there is to send when it is connected.
    pending: VecDeque<Envelope>,
    slow: Duration,
}

pub(super) struct Connection {
    pub(super) socket: SocketId,
    /// The number that the component has for it: it may change.
    number: u64,
    run: u64,
    up: VecDeque<(Instant, Envelope)>,
    down: VecDeque<(Instant, Envelope)>,
    /// When the component's side notices that it is gone, once it is.
    pub(super) gone: Option<Instant>,
}

/// What has come for somebody.
#[derive(Debug)]
pub(super) enum Arrival {
    /// To a component.
    Up(Conn, Envelope),
    /// From a component.
    Down(SocketId, Envelope),
}

/// All that is not a process: the time, the network, and chance.
pub(super) struct Env {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) rng: Rng,
    net: Net,
    due: BinaryHeap<Reverse<Due>>,
    turn: u64,
    pub(super) sockets: Vec<Socket>,
    pub(super) conns: Vec<Connection>,
    /// By the component's numbers, which are the indices.
    numbers: Vec<Conn>,
    /// Which run of each process it is, if it runs.
    pub(super) runs: Vec<Option<u64>>,
    next_run: u64,
    /// When each process is to be woken next.
    wakes: Vec<Option<Instant>>,
    /// Who cannot reach whom.
    partition: Option<(Vec<Id>, Instant)>,
    pub(super) inboxes: Vec<VecDeque<Arrival>>,
    pub(super) trace: bool,
    /// Numbers for sessions and epochs.
    names: u64,
    pub(super) given: Given,
}

/// Over which connections each task was given to workers, by what it says and its step.
pub(super) type Given = BTreeMap<(String, Id), BTreeSet<u64>>;

impl Env {
    pub(super) fn new(seed: u64, net: Net, processes: usize, trace: bool) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            rng: Rng::new(seed),
            net,
            due: BinaryHeap::new(),
            turn: 0,
            sockets: Vec::new(),
            conns: Vec::new(),
            numbers: Vec::new(),
            runs: vec![None; processes],
            next_run: 0,
            wakes: vec![None; processes],
            partition: None,
            inboxes: (0..processes).map(|_| VecDeque::new()).collect(),
            trace,
            names: 0,
            given: Given::new(),
        }
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>10.4} {}", (self.now - self.start).as_secs_f64(), what());
        }
    }

    pub(super) fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    pub(super) fn at(&mut self, at: Instant, event: Event) {
        self.turn += 1;
        let turn = self.turn;
        self.due.push(Reverse(Due { at, turn, event }));
    }

    pub(super) fn after(&mut self, by: Duration, event: Event) {
        self.at(self.now + by, event);
    }

    /// The next event. The time is then its time.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let Reverse(due) = self.due.pop()?;
            self.now = self.now.max(due.at);
            match due.event {
                Event::Wake(id) if self.wakes[id] != Some(due.at) => {}
                Event::Wake(id) => {
                    self.wakes[id] = None;
                    return Some(due.event);
                }
                Event::Up(conn) => self.arrive_up(conn),
                Event::Down(conn) => self.arrive_down(conn),
                Event::Connect(socket) => self.connect(socket),
                Event::Unpartition => self.partition = None,
                event => return Some(event),
            }
        }
    }

    /// Has a process be woken then, or before.
    pub(super) fn wake(&mut self, id: Id, at: Instant) {
        if self.wakes[id].is_none_or(|before| at < before) {
            self.wakes[id] = Some(at);
            self.at(at, Event::Wake(id));
        }
    }

    pub(super) fn runs(&self, id: Id) -> bool {
        self.runs[id].is_some()
    }

    pub(super) fn started(&mut self, id: Id) {
        self.next_run += 1;
        self.runs[id] = Some(self.next_run);
        self.inboxes[id].clear();
        self.wake(id, self.now);
    }

    /// Whether two cannot reach each other, and until when.
    fn parted(&self, one: Id, other: Id) -> Option<Instant> {
        let (side, until) = self.partition.as_ref()?;
        (side.contains(&one) != side.contains(&other)).then_some(*until)
    }

    pub(super) fn part(&mut self, side: Vec<Id>, time: Duration) {
        let until = self.now + time;
        self.partition = Some((side, until));
        self.at(until, Event::Unpartition);
    }

    fn delay(&mut self, socket: SocketId) -> Duration {
        self.net.least + self.rng.time(self.net.jitter) + self.sockets[socket].slow
    }
}

/// What a DEALER does.
impl Env {
    /// A socket to where a component is now. It may be there no more when it connects.
    pub(super) fn open(&mut self, owner: Id, line: usize, to: Id) -> SocketId {
        let is_slow = self.net.slow > 0 && self.rng.one_in(self.net.slow);
        let slow = if is_slow {
            Duration::from_millis(150)
        } else {
            Duration::ZERO
        };
        let id = self.sockets.len();
        self.sockets.push(Socket {
            owner,
            line,
            to,
            address: if self.net.moves {
                self.runs[to].unwrap_or(0)
            } else {
                0
            },
            open: true,
            conn: None,
            pending: VecDeque::new(),
            slow,
        });
        let delay = self.delay(id);
        self.after(delay, Event::Connect(id));
        id
    }

    fn connect(&mut self, id: SocketId) {
        let Socket {
            owner,
            to,
            address,
            open,
            conn,
            ..
        } = self.sockets[id];
        if !open || conn.is_some() {
            return;
        }
        let run = self.runs[to].filter(|run| !self.net.moves || *run == address);
        let Some(run) = run.filter(|_| self.parted(owner, to).is_none()) else {
            let pause = Duration::from_millis(100) + self.rng.time(Duration::from_millis(50));
            return self.after(pause, Event::Connect(id));
        };
        let conn = self.conns.len();
        let number = self.numbers.len() as u64;
        self.numbers.push(conn);
        self.conns.push(Connection {
            socket: id,
            number,
            run,
            up: VecDeque::new(),
            down: VecDeque::new(),
            gone: None,
        });
        self.sockets[id].conn = Some(conn);
        for envelope in std::mem::take(&mut self.sockets[id].pending) {
            self.send_up(id, envelope);
        }
    }

    pub(super) fn send_up(&mut self, id: SocketId, envelope: Envelope) {
        let Some(conn) = self.sockets[id].conn else {
            return self.sockets[id].pending.push_back(envelope);
        };
        let at = self.now + self.delay(id);
        let up = &mut self.conns[conn].up;
        let at = up.back().map_or(at, |(last, _)| at.max(*last));
        up.push_back((at, envelope));
        if up.len() == 1 {
            self.at(at, Event::Up(conn));
        }
    }

    /// The owner closes a socket: what it has said may still arrive, or some of it.
    pub(super) fn close(&mut self, id: SocketId) {
        self.sockets[id].open = false;
        self.sockets[id].pending.clear();
        if let Some(conn) = self.sockets[id].conn.take() {
            let up = self.conns[conn].up.len();
            let stays = if self.rng.one_in(2) {
                up
            } else {
                self.rng.below(up + 1)
            };
            self.conns[conn].up.truncate(stays);
            self.conns[conn].down.clear();
            self.lose(conn);
        }
    }

    fn lose(&mut self, conn: Conn) {
        let late = match self.rng.below(3) {
            0 => Duration::ZERO,
            1 => Duration::from_millis(100),
            _ => Duration::from_secs(1_000),
        };
        self.conns[conn].gone = Some(self.now + late);
    }

    /// A connection breaks.
    pub(super) fn cut(&mut self, id: SocketId) {
        let Some(conn) = self.sockets[id].conn.take() else {
            return;
        };
        self.lose(conn);
        let up = self.conns[conn].up.len();
        let arrive = self.rng.below(up + 1);
        let unsent = match self.rng.one_in(2) {
            true => self.rng.between(arrive, up),
            false => up,
        };
        let unsent = self.conns[conn].up.split_off(unsent);
        self.conns[conn].up.truncate(arrive);
        let unsent = unsent.into_iter().map(|(_, envelope)| envelope);
        self.sockets[id].pending.extend(unsent);
        let down = self.conns[conn].down.len();
        let arrive = self.rng.below(down + 1);
        let now = self.now;
        self.conns[conn].down.truncate(arrive);
        self.conns[conn]
            .down
            .iter_mut()
            .for_each(|(at, _)| *at = now);
        self.deliver_down(conn);
        let pause = self.rng.time(Duration::from_millis(200));
        self.after(pause, Event::Connect(id));
    }

    /// A process is gone, and with it what it had to say and to hear.
    pub(super) fn crash(&mut self, id: Id, said: bool) {
        self.runs[id] = None;
        self.inboxes[id].clear();
        for socket in 0..self.sockets.len() {
            if self.sockets[socket].owner == id && self.sockets[socket].open {
                self.close(socket);
            }
            if self.sockets[socket].to == id {
                let Some(conn) = self.sockets[socket].conn.take() else {
                    continue;
                };
                self.lose(conn);
                self.conns[conn].up.clear();
                if !said {
                    let down = self.conns[conn].down.len();
                    let arrive = self.rng.below(down + 1);
                    self.conns[conn].down.truncate(arrive);
                }
                let pause = self.rng.time(Duration::from_millis(200));
                self.after(pause, Event::Connect(socket));
            }
        }
    }

    fn arrive_down(&mut self, conn: Conn) {
        let socket = self.conns[conn].socket;
        let Socket { owner, to, .. } = self.sockets[socket];
        if let Some(until) = self.parted(owner, to) {
            return self.at(until, Event::Down(conn));
        }
        self.deliver_down(conn);
        if let Some((at, _)) = self.conns[conn].down.front() {
            self.at(*at, Event::Down(conn));
        }
    }

    fn deliver_down(&mut self, conn: Conn) {
        let socket = self.conns[conn].socket;
        let Socket { owner, open, .. } = self.sockets[socket];
        while let Some((_, envelope)) = self.conns[conn]
            .down
            .pop_front_if(|(at, _)| *at <= self.now)
        {
            if open && self.runs(owner) {
                self.inboxes[owner].push_back(Arrival::Down(socket, envelope));
                self.wake(owner, self.now);
            }
        }
    }
}

/// What a ROUTER does.
impl Env {
    /// Says something over a connection. Gives it back when that is gone, as far as one knows:
    /// should something come from there after all, it has another number.
    pub(super) fn send_down(&mut self, number: u64, envelope: Envelope) -> Option<Envelope> {
        let conn = self.numbers[number as usize];
        let connection = &self.conns[conn];
        if connection.number != number {
            return None; // It was said to be gone before.
        }
        if let Some(gone) = connection.gone {
            if gone <= self.now {
                self.renumber(conn);
                return Some(envelope);
            }
            return None;
        }
        let at = self.now + self.delay(connection.socket);
        let down = &mut self.conns[conn].down;
        let at = down.back().map_or(at, |(last, _)| at.max(*last));
        down.push_back((at, envelope));
        if down.len() == 1 {
            self.at(at, Event::Down(conn));
        }
        None
    }

    fn arrive_up(&mut self, conn: Conn) {
        let Connection { socket, run, .. } = self.conns[conn];
        let Socket { owner, to, .. } = self.sockets[socket];
        if let Some(until) = self.parted(owner, to) {
            return self.at(until, Event::Up(conn));
        }
        while let Some((_, envelope)) = self.conns[conn].up.pop_front_if(|(at, _)| *at <= self.now)
        {
            if self.runs[to] == Some(run) {
                self.inboxes[to].push_back(Arrival::Up(conn, envelope));
                self.wake(to, self.now);
            }
        }
        if let Some((at, _)) = self.conns[conn].up.front() {
            self.at(*at, Event::Up(conn));
        }
    }

    /// The component's number for a connection.
    pub(super) fn number(&self, conn: Conn) -> u64 {
        self.conns[conn].number
    }

    /// A component gives somebody up: what comes from there later has another number. Gives the
    /// old one.
    pub(super) fn renumber(&mut self, conn: Conn) -> u64 {
        let number = self.numbers.len() as u64;
        self.numbers.push(conn);
        std::mem::replace(&mut self.conns[conn].number, number)
    }
}
