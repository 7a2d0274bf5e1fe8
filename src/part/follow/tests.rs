//! A publisher, as a subscription sees it, that is of palm or of pylm.

use std::time::Duration;

use super::*;
use crate::address::Addresses;
use crate::message::link::{Envelope, differences};
use crate::message::spare::Buffer;
use crate::part::{Inlet, Received, Running, channel};

const SOON: Duration = Duration::from_secs(10);

/// A publisher and, if it has one, its link.
struct Publisher {
    socket: Socket,
    link: Option<Link>,
    bell: Arc<Bell>,
    address: String,
}

struct Link {
    socket: Socket,
    address: String,
    epoch: String,
    peer: Vec<u8>,
}

impl Publisher {
    fn new(address: &str) -> Self {
        let mut socket = Socket::open(Kind::Pub, "publisher", 1 << 20).unwrap();
        let address = socket.bind(address).unwrap();
        Self {
            socket,
            link: None,
            bell: Bell::new().unwrap(),
            address,
        }
    }

    /// One of palm, with a link.
    fn with_link(address: &str, epoch: &str) -> Self {
        let mut socket = Socket::open(Kind::LinkServer, "link", 1 << 20).unwrap();
        let link = socket.bind("tcp://127.0.0.1:*").unwrap();
        let mut publisher = Socket::open(Kind::Pub, "publisher", 1 << 20).unwrap();
        let welcome = format!("{WELCOME} {link}");
        publisher.set_welcome(welcome.as_bytes()).unwrap();
        let address = publisher.bind(address).unwrap();
        Self {
            socket: publisher,
            link: Some(Link {
                socket,
                address: link,
                epoch: epoch.to_owned(),
                peer: Vec::new(),
            }),
            bell: Bell::new().unwrap(),
            address,
        }
    }

    /// The next subscription, or what is taken back.
    fn subscription(&mut self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let end = Instant::now() + SOON;
        while !self.socket.try_recv(&mut parts).unwrap() {
            assert!(Instant::now() < end, "no subscription");
            let pause = Some(Duration::from_millis(20));
            self.socket.wait(Want::Read, &self.bell, pause).unwrap();
        }
        parts.remove(0)
    }

    /// Whether there is no subscription for some time.
    fn is_left_alone(&mut self) -> bool {
        std::thread::sleep(Duration::from_millis(500));
        !self.socket.try_recv(&mut Vec::<Vec<u8>>::new()).unwrap()
    }

    fn publish(&mut self, payload: &str) {
        let frame = frame(payload);
        let parts: [&[u8]; 2] = [b"first", frame.as_bytes()];
        assert!(self.socket.try_send_parts(&parts).unwrap());
    }

    /// The next thing that is said on the link but heartbeats.
    fn hear(&mut self) -> Head {
        let link = self.link.as_mut().unwrap();
        let mut parts: Vec<Buffer> = Vec::new();
        let end = Instant::now() + SOON;
        loop {
            assert!(Instant::now() < end, "nothing is said");
            // The subscription is answered by the thread that owns the publisher.
            let _ = self.socket.try_recv(&mut Vec::<Vec<u8>>::new()).unwrap();
            if !link.socket.try_recv(&mut parts).unwrap() {
                let pause = Some(Duration::from_millis(5));
                link.socket.wait(Want::Read, &self.bell, pause).unwrap();
                continue;
            }
            link.peer = parts.remove(0).into_vec();
            let (head, _) = Envelope::decode(&mut parts).unwrap();
            if *head != Head::default() {
                return *head;
            }
        }
    }

    fn say(&mut self, say: impl FnOnce(&mut Outgoing)) {
        let link = self.link.as_mut().unwrap();
        let mut out = Outgoing::default();
        say(&mut out);
        for envelope in out.take() {
            link.socket.say_to(&link.peer, envelope.encode()).unwrap();
        }
    }

    fn welcome(&mut self, resumed: bool) -> Hello {
        let hello = *self.hear().hello.expect("a hello");
        let welcome = Welcome {
            version: 1,
            nonce: hello.nonce,
            epoch: self.link.as_ref().unwrap().epoch.clone(),
            run: 1,
            resumed,
            ..Welcome::default()
        };
        self.say(|out| out.note(|head| head.welcome = Some(welcome.into())));
        hello
    }

    fn give(&mut self, first: u64, payloads: &[&str]) {
        self.say(|out| {
            for (number, payload) in (first..).zip(payloads) {
                out.item(number, frame(payload));
            }
        });
    }
}

fn frame(payload: &str) -> Frame {
    Frame::new("", "c", "first.f second.f", "", payload.as_bytes())
}

/// A step after the publisher at this address.
fn follow(address: &str) -> (Running, Inlet) {
    start(address, false)
}

fn start(address: &str, alone: bool) -> (Running, Inlet) {
    let (outlet, inlet) = channel().unwrap();
    let mut crew = Crew::new("second");
    let follow = Follow {
        part: "Sub".to_owned(),
        address: address.to_owned(),
        topic: "first".to_owned(),
        max_message: 1 << 20,
        alone,
        beside: None,
    };
    follow.spawn(&mut crew, outlet).unwrap();
    (crew.start(|_| Ok(Addresses::none())).unwrap(), inlet)
}

fn parcels(inlet: &Inlet, count: usize) -> Vec<Parcel> {
    let mut all = Vec::new();
    while all.len() < count {
        match inlet.recv_timeout(SOON) {
            Received::Batch(batch) => all.extend(batch),
            other => panic!("{} of {count} have come, then {other:?}", all.len()),
        }
    }
    assert_eq!(all.len(), count);
    all
}

fn texts(inlet: &Inlet, count: usize) -> Vec<String> {
    let text = |parcel: Parcel| {
        parcel.ticket.into_iter().for_each(|ticket| ticket.done());
        assert!(!parcel.frame.cache().is_empty());
        String::from_utf8(parcel.frame.payload().to_vec()).unwrap()
    };
    parcels(inlet, count).into_iter().map(text).collect()
}

#[test]
fn what_comes_over_the_link_keeps_its_order_and_is_said_to_be_done() {
    let mut publisher = Publisher::with_link("tcp://127.0.0.1:*", "one");
    let (running, inlet) = follow(&publisher.address);
    let hello = publisher.welcome(false);
    assert_eq!(
        (hello.topic.as_str(), hello.name.as_str()),
        ("first", "second")
    );
    assert_eq!(hello.credit, Some(CREDIT));
    publisher.give(1, &["a", "b"]);
    publisher.give(3, &["c"]);
    let mut all = parcels(&inlet, 3);
    all.remove(1).ticket.unwrap().done();
    assert_eq!(publisher.hear().done, [2]);
    let texts: Vec<_> = all.iter().map(|parcel| parcel.frame.payload()).collect();
    assert_eq!(texts, [b"a", b"c"]);
    all.remove(0).ticket.unwrap().untracked();
    assert!(publisher.hear().outcomes[0].untracked);
    running.stopper().stop();
    assert!(publisher.hear().bye);
    running.wait().unwrap();
}

#[test]
fn what_a_user_takes_is_done_for_the_publisher_when_the_user_has_it() {
    let mut publisher = Publisher::with_link("tcp://127.0.0.1:*", "one");
    let (_running, inlet) = start(&publisher.address, true);
    publisher.welcome(false);
    publisher.give(1, &["a", "b"]);
    let outcomes = publisher.hear().outcomes;
    assert!(outcomes.iter().all(|outcome| outcome.untracked));
    assert_eq!(texts(&inlet, 2), ["a", "b"]);
}

#[test]
fn more_than_the_channel_holds_waits_and_none_is_lost() {
    const COUNT: u64 = 8_000;
    let mut publisher = Publisher::with_link("tcp://127.0.0.1:*", "one");
    let (_running, inlet) = follow(&publisher.address);
    publisher.welcome(false);
    let payloads: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    publisher.give(1, &payloads);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(texts(&inlet, COUNT as usize), payloads);
    let mut done = 0;
    while done < COUNT {
        let head = publisher.hear();
        done += head.done().map(|(_, count)| count as u64).sum::<u64>();
    }
}

#[test]
fn a_connection_that_breaks_goes_on_where_it_was() {
    let mut publisher = Publisher::with_link("tcp://127.0.0.1:*", "one");
    let (_running, inlet) = follow(&publisher.address);
    publisher.welcome(false);
    publisher.give(1, &["a", "b", "c"]);
    let mut all = parcels(&inlet, 3);
    let link = publisher.link.as_mut().unwrap();
    // As if the server had died, and its address were another's.
    link.socket = Socket::open(Kind::LinkServer, "link", 1 << 20).unwrap();
    all.remove(0).ticket.unwrap().done();
    link.socket.bind(&link.address).unwrap();
    publisher.say_unknown();
    let hello = publisher.welcome(true);
    let position = hello.position.unwrap();
    assert_eq!(position.received, 3);
    assert_eq!(position.open, differences([2, 3]));
    publisher.give(4, &["d"]);
    assert_eq!(texts(&inlet, 1), ["d"]);
}

impl Publisher {
    /// The first thing that comes from a connection that is not known.
    fn say_unknown(&mut self) {
        let link = self.link.as_mut().unwrap();
        let mut parts: Vec<Buffer> = Vec::new();
        let end = Instant::now() + SOON;
        while !link.socket.try_recv(&mut parts).unwrap() {
            assert!(Instant::now() < end, "nothing is said");
            let pause = Some(Duration::from_millis(20));
            link.socket.wait(Want::Read, &self.bell, pause).unwrap();
        }
        link.peer = parts.remove(0).into_vec();
        self.say(|out| out.note(|head| head.unknown = true));
    }
}

#[test]
fn a_publisher_that_says_nothing_is_subscribed_to() {
    let mut publisher = Publisher::new("tcp://127.0.0.1:*");
    let (running, inlet) = follow(&publisher.address);
    assert_eq!(publisher.subscription(), b"\x01_.link");
    let start = Instant::now();
    assert_eq!(publisher.subscription(), b"\x01first");
    assert!(start.elapsed() > Duration::from_millis(200));
    publisher.publish("a");
    publisher.publish("b");
    assert_eq!(texts(&inlet, 2), ["a", "b"]);
    running.stop().unwrap();
}

#[test]
fn a_palm_publisher_without_a_link_is_subscribed_to_at_once() {
    let mut publisher = Publisher::new("tcp://127.0.0.1:*");
    publisher.socket.set_welcome(WELCOME.as_bytes()).unwrap();
    let (_running, inlet) = follow(&publisher.address);
    assert_eq!(publisher.subscription(), b"\x01_.link");
    let start = Instant::now();
    assert_eq!(publisher.subscription(), b"\x01first");
    assert!(start.elapsed() < Duration::from_millis(250));
    publisher.publish("a");
    assert_eq!(texts(&inlet, 1), ["a"]);
}

#[test]
fn each_publisher_that_comes_back_is_spoken_to_as_it_speaks() {
    let mut publisher = Publisher::with_link("tcp://127.0.0.1:*", "one");
    let address = publisher.address.clone();
    let (_running, inlet) = follow(&address);
    publisher.welcome(false);
    publisher.give(1, &["by link"]);
    assert_eq!(texts(&inlet, 1), ["by link"]);
    drop(publisher);

    let mut publisher = Publisher::new(&address);
    assert_eq!(publisher.subscription(), b"\x01_.link");
    assert_eq!(publisher.subscription(), b"\x01first");
    publisher.publish("by pylm");
    assert_eq!(texts(&inlet, 1), ["by pylm"]);
    drop(publisher);

    // It does not ask one of palm for what it gets over the link.
    let mut publisher = Publisher::with_link(&address, "two");
    assert_eq!(publisher.subscription(), b"\x01_.link");
    publisher.welcome(false);
    assert!(publisher.is_left_alone());
    publisher.give(1, &["by another link"]);
    assert_eq!(texts(&inlet, 1), ["by another link"]);
    drop(publisher);

    let mut publisher = Publisher::with_link(&address, "three");
    let (_, took) = {
        let start = Instant::now();
        (publisher.welcome(false), start.elapsed())
    };
    // Not after a silence, but as soon as the publisher says where its link is now.
    assert!(took < Duration::from_millis(1_900), "{took:?}");
    publisher.give(1, &["by a third"]);
    assert_eq!(texts(&inlet, 1), ["by a third"]);
}

#[test]
fn what_is_done_waits_only_while_much_else_is_open_and_something_is_said_all_the_time() {
    let start = Instant::now();
    let patience = Patience::new(start);
    assert!(!patience.may_wait(1, start), "nothing is open");
    let now = start + Duration::from_secs(3);
    patience.spoke(100, now);
    assert!(patience.may_wait(24, now));
    assert!(!patience.may_wait(25, now), "a quarter");
    assert!(!patience.may_wait(1, now + SPOKE_NOW), "nobody speaks");
    patience.spoke(64, now);
    assert!(!patience.may_wait(1, now), "of a window of 64");
}
