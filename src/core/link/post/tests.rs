use std::collections::BTreeMap;

use super::*;
use crate::core::custody::Ticket;
use crate::message::Bundler;
use crate::message::link::{Credit, Position, differences};

fn settings() -> PostSettings {
    PostSettings {
        epoch: "e".to_owned(),
        hold: 1 << 20,
        subscribers: 1,
        patience: Duration::from_secs(60),
        submits: true,
        max_message: 1 << 20,
        stalled: Default::default(),
        workers: None,
    }
}

fn post() -> Post {
    Post::new(settings(), Ledger::new(|| {}))
}

fn hello(nonce: u64, position: Option<Position>) -> Head {
    let credit = Credit {
        messages: 100,
        bytes: 1 << 20,
    };
    Head {
        hello: Some(Box::new(Hello {
            version: VERSION,
            nonce,
            kind: Kind::Step.into(),
            session: "s".to_owned(),
            name: "n".to_owned(),
            topic: "t".to_owned(),
            credit: Some(credit),
            position,
            ..Hello::default()
        })),
        ..Head::default()
    }
}

fn has(run: u64, received: u64, open: &[u64]) -> Option<Position> {
    Some(Position {
        epoch: "e".to_owned(),
        run,
        received,
        open: differences(open.iter().copied()),
    })
}

/// The hello of a step that lets as much be open as there is.
fn step_that_takes_all(nonce: u64) -> Head {
    let mut head = hello(nonce, None);
    if let Some(hello) = &mut head.hello {
        hello.credit = Some(Credit {
            messages: 1_000_000,
            bytes: 1 << 40,
        });
    }
    head
}

/// A client's hello.
fn client(nonce: u64, position: Option<Position>) -> Head {
    let mut head = hello(nonce, position);
    if let Some(hello) = &mut head.hello {
        hello.kind = Kind::Client.into();
        hello.session = "c".to_owned();
        hello.topic = "c".to_owned();
    }
    head
}

#[test]
fn with_the_last_piece_of_a_message_its_client_is_told_that_it_is_done() {
    let now = Instant::now();
    let mut post = post();
    let say = |post: &mut Post| {
        post.tick(now);
        let said = post.take(now).into_iter();
        said.map(|(_, envelope)| envelope.head).collect::<Vec<_>>()
    };
    post.receive(1, client(1, None).into(), vec![], now);
    let run = say(&mut post)[0].welcome.as_ref().expect("a welcome").run;
    let frames = [1, 2].map(|number| {
        let mut frame = Frame::new("", "c/1", "s.f", "", b"x");
        frame.set_place(number, &[]);
        frame
    });
    let items = Head {
        first: 1,
        ..Head::default()
    };
    post.receive(1, items.into(), frames.to_vec(), now);
    let mut one = post.next_submitted(Portion::SINGLES).expect("the first");
    let two = post.next_submitted(Portion::SINGLES).expect("the second");
    let result = |Item { frame, ticket }| Made {
        frame,
        ticket: Some(ticket),
    };
    // Of the first there are two pieces; one is on its way still.
    let piece = Item {
        frame: one.frame,
        ticket: one.ticket.split(),
    };
    post.give_client(result(piece), now);
    let head = say(&mut post).remove(0);
    assert_eq!((head.sizes.len(), head.complete.len()), (1, 0));
    post.give_client(result(two), now);
    let head = say(&mut post).remove(0);
    assert_eq!((head.sizes.len(), &head.complete[..]), (1, &[2][..]));
    // What is not said to have come is given again, with the same word.
    post.unreachable(1, &[], now);
    post.receive(2, client(2, has(run, 1, &[])).into(), vec![], now);
    let heads = say(&mut post);
    let welcome = heads.iter().find_map(|head| head.welcome.as_ref());
    let known = welcome.and_then(|welcome| welcome.position.clone());
    assert_eq!(known.expect("a position").open, [1, 1]);
    assert!(heads.iter().any(|head| head.complete == [2]));
    // It needs not be told again when it is done with it.
    let done = Head {
        done: vec![2],
        ..Head::default()
    };
    post.receive(2, done.into(), vec![], now);
    one.ticket.done();
    let heads = say(&mut post);
    assert!(heads.iter().all(|head| head.done == [1]), "{heads:?}");
    let left = ["client c has 0 open", "topic c keeps 0, and holds 0"];
    assert_eq!(post.left(), left);
}

/// A bundle of a client, whose messages have these payloads; the first has the number 1.
fn bundle(payloads: &[&[u8]]) -> Frame {
    let form = Frame::new("", "c/1", "s.f", "", b"");
    let mut bundler = Bundler::of_job(&form, 1);
    payloads.iter().for_each(|payload| bundler.push(payload));
    bundler.take()
}

#[test]
fn a_bundle_is_taken_apart_for_who_knows_nothing_of_it_whatever_its_size() {
    for (count, size) in (2..=64).flat_map(|count| (0..100).map(move |size| (count, size))) {
        let now = Instant::now();
        let mut post = post();
        post.receive(1, client(1, None).into(), vec![], now);
        let payload = vec![7; size];
        let payloads: Vec<_> = (0..count).map(|_| payload.as_slice()).collect();
        let items = Head {
            first: 1,
            ..Head::default()
        };
        post.receive(1, items.into(), vec![bundle(&payloads)], now);
        let mut tickets = Vec::new();
        while let Some(Item { frame, ticket }) = post.next_submitted(Portion::SINGLES) {
            tickets.push(ticket);
            assert_eq!((frame.count(), frame.payload().len()), (1, size));
            assert_eq!(frame.place().unwrap().number, tickets.len() as u64);
        }
        assert_eq!(tickets.len(), count);
        tickets.into_iter().for_each(Ticket::done);
        post.tick(now);
        let said = post.take(now);
        let done = said.iter().flat_map(|(_, said)| said.head.done());
        assert_eq!(done.collect::<Vec<_>>(), [(1, count)]);
    }
}

#[test]
fn the_messages_of_a_bundle_are_done_as_their_taker_is_done_with_them() {
    let now = Instant::now();
    let mut post = post();
    post.receive(1, client(1, None).into(), vec![], now);
    let items = Head {
        first: 1,
        ..Head::default()
    };
    post.receive(1, items.into(), vec![bundle(&[&b"x"[..]; 5])], now);
    let Item { frame, ticket } = post.next_submitted(Portion::ANY).unwrap();
    let ticket = Some(ticket);
    post.give_step("t", Made { frame, ticket }, now);
    post.receive(2, hello(2, None).into(), vec![], now);
    post.tick(now);
    let mut done = |head: Head| {
        post.receive(2, head.into(), vec![], now);
        post.tick(now);
        let said = post.take(now);
        let done = said.iter().flat_map(|(_, said)| said.head.done());
        let done: Vec<_> = done.collect();
        let said = said.iter().flat_map(|(_, said)| &said.head.outcomes);
        (done, said.map(|outcome| outcome.number).collect::<Vec<_>>())
    };
    let some = |number, count| {
        let mut head = Head::default();
        head.add_done(number, count);
        head
    };
    done(Head::default());
    assert_eq!(done(some(2, 2)), (vec![(2, 2)], vec![]));
    assert_eq!(done(some(1, 3)), (vec![(1, 1)], vec![]));
    // One that ends in another way does so alone.
    let outcome = crate::message::link::Outcome {
        number: 5,
        untracked: true,
        ..Default::default()
    };
    let outcomes = vec![outcome];
    let head = Head {
        outcomes,
        ..Head::default()
    };
    assert_eq!(done(head), (vec![], vec![5]));
    assert_eq!(done(some(1, 5)), (vec![(4, 1)], vec![]));
}

#[test]
fn what_a_client_acknowledges_when_it_leaves_is_settled() {
    let now = Instant::now();
    let mut post = post();
    post.receive(1, client(1, None).into(), vec![], now);
    post.tick(now);
    let mut frame = Frame::new("", "c/1", "s.f", "", b"x");
    frame.set_place(1, &[]);
    let items = Head {
        first: 1,
        ..Head::default()
    };
    post.receive(1, items.into(), vec![frame], now);
    let Item { frame, ticket } = post.next_submitted(Portion::SINGLES).expect("a message");
    let ticket = Some(ticket);
    post.give_client(Made { frame, ticket }, now);
    post.tick(now);
    let leave = Head {
        done: vec![1],
        bye: true,
        ..Head::default()
    };
    post.receive(1, leave.into(), vec![], now);
    let clients = post.clients().expect("it has clients");
    assert_eq!(clients.counters().settled, 1);
    assert_eq!(post.left(), Vec::<String>::new());
}

#[test]
fn a_hello_that_comes_after_its_peer_was_given_up_is_too_late() {
    let now = Instant::now();
    let mut post = post();
    let say = |post: &mut Post| {
        post.tick(now);
        post.take(now)
    };
    post.receive(1, hello(1, None).into(), vec![], now);
    let welcome = say(&mut post).remove(0).1.head.welcome;
    let run = welcome.expect("a welcome").run;
    // The second hello is on its way by connection 2, while the third comes by connection 3.
    post.receive(3, hello(3, has(run, 0, &[])).into(), vec![], now);
    for text in ["a", "b", "c"] {
        let frame = Frame::new("", "c", "s.f", "", text.as_bytes());
        let made = Made {
            frame,
            ticket: None,
        };
        post.give_step("t", made, now);
    }
    say(&mut post);
    let done = Head {
        done: vec![2],
        ..Head::default()
    };
    post.receive(3, done.into(), vec![], now);
    post.unreachable(3, &[], now);
    post.receive(2, hello(2, has(run, 0, &[])).into(), vec![], now);
    assert!(say(&mut post).is_empty(), "nothing is given to who is late");
    post.receive(4, hello(4, has(run, 3, &[1, 3])).into(), vec![], now);
    say(&mut post);
    let kept: usize = post.outlets.stats().0.iter().map(|slot| slot.kept).sum();
    assert_eq!(kept, 2, "what is open at the taker is kept");
}

#[test]
fn what_is_pushed_has_its_share_whatever_is_submitted_over_the_link() {
    let now = Instant::now();
    let payload = vec![b'x'; 10_000];
    let work = |post: &mut Post, ticket| {
        let frame = Frame::new("", "c/1", "s.f", "", &payload);
        post.work(Made { frame, ticket }, now);
    };
    let ledger = Ledger::new(|| {});
    let settings = || PostSettings {
        workers: Some(Default::default()),
        ..settings()
    };
    // Not all that may be kept is for what is pushed,
    let mut post = Post::new(settings(), ledger.clone());
    let mut pushed = 0;
    while post.takes_pushed() {
        work(&mut post, None);
        pushed += 1;
    }
    assert!(!post.is_busy());
    let mut submitted = 0;
    while !post.is_busy() {
        submitted += 1;
        let ticket = Some(ledger.ticket_for(1, submitted, 1));
        work(&mut post, ticket);
        assert!(!post.takes_pushed());
    }
    assert!(
        (submitted - 2..=submitted + 2).contains(&pushed),
        "{pushed} {submitted}"
    );
    // but that is for it as long as there is any room.
    let mut post = Post::new(settings(), ledger.clone());
    for number in 1..pushed + submitted {
        assert!(post.takes_pushed(), "{number}");
        let ticket = Some(ledger.ticket_for(1, number, 1));
        work(&mut post, ticket);
    }
}

#[test]
fn those_that_submit_in_streams_share_what_may_be_open_and_others_count_for_nothing() {
    let mut now = Instant::now();
    let settings = PostSettings {
        hold: 1 << 30,
        ..settings()
    };
    let mut post = Post::new(settings, Ledger::new(|| {}));
    let client = |id: u64| {
        let mut head = client(id, None);
        if let Some(hello) = &mut head.hello {
            hello.session = format!("c{id}");
            hello.topic = hello.session.clone();
        }
        head
    };
    // What each was told last that it may have open.
    let mut told = BTreeMap::new();
    let mut say = |post: &mut Post, now| {
        post.tick(now);
        for (conn, envelope) in post.take(now) {
            let welcome = envelope.head.welcome.and_then(|welcome| welcome.credit);
            let credit = envelope.head.credit.or(welcome);
            told.extend(credit.map(|credit| (conn, credit.messages)));
        }
        told.clone()
    };
    const LATER: Duration = Duration::from_millis(100);
    for id in 1..=16 {
        post.receive(id, client(id).into(), vec![], now);
    }
    let at_first = say(&mut post, now);
    assert_eq!(at_first, (1..=16).map(|id| (id, at_first[&1])).collect());
    // One that has much open gets no less for the others.
    let submit = |post: &mut Post, id, first, count| {
        let items = Head {
            first,
            ..Head::default()
        };
        let frame = Frame::new("", &format!("c{id}/1"), "s.f", "", b"x");
        post.receive(id, items.into(), vec![frame; count], Instant::now());
    };
    submit(&mut post, 1, 1, 200);
    now += LATER;
    assert_eq!(say(&mut post, now), at_first);
    (2..=8).for_each(|id| submit(&mut post, id, 1, 200));
    now += LATER;
    let shared = say(&mut post, now);
    assert!(shared[&16] < at_first[&16], "{shared:?}");
    assert_eq!(shared, (1..=16).map(|id| (id, shared[&1])).collect());
    // When one of them is gone, that is no reason to tell all; when all are, it is.
    let leave = |post: &mut Post, id| {
        let bye = Head {
            bye: true,
            ..Head::default()
        };
        post.receive(id, bye.into(), vec![], Instant::now());
    };
    leave(&mut post, 8);
    now += LATER;
    assert_eq!(say(&mut post, now), shared);
    (1..=7).for_each(|id| leave(&mut post, id));
    now += LATER;
    assert_eq!(say(&mut post, now)[&16], at_first[&16]);
}

/// A client of this number, and what it submits: messages of so many bytes, the first of which has the
/// number `first`.
fn submit(post: &mut Post, id: u64, first: u64, messages: u64, now: Instant) {
    let session = format!("c{id}");
    if first == 1 {
        let mut head = client(id, None);
        if let Some(hello) = &mut head.hello {
            hello.session.clone_from(&session);
            hello.topic.clone_from(&session);
        }
        post.receive(id, head.into(), vec![], now);
    }
    let frames = (first..first + messages).map(|number| {
        let mut frame = Frame::new("", &format!("{session}/1"), "s.f", "", &[b'x'; 10_000]);
        frame.set_place(number, &[]);
        frame
    });
    let items = Head {
        first,
        ..Head::default()
    };
    post.receive(id, items.into(), frames.collect(), now);
}

/// Gives to the clients, or to a step, what comes of all that may be run. How many that were.
fn run_all(post: &mut Post, step: Option<&str>, now: Instant) -> usize {
    let mut ran = 0;
    while !post.is_full()
        && let Some(Item { frame, ticket }) = post.next_submitted(Portion::SINGLES)
    {
        ran += 1;
        let ticket = Some(ticket);
        match step {
            None => post.give_client(Made { frame, ticket }, now),
            Some(topic) => post.give_step(topic, Made { frame, ticket }, now),
        }
    }
    post.tick(now);
    ran
}

#[test]
fn however_many_clients_are_done_with_nothing_what_others_submit_runs() {
    for step in [None, Some("t")] {
        let mut now = Instant::now();
        let mut post = small_post(0, now);
        if step.is_some() {
            post.receive(1_000, step_that_takes_all(1_000).into(), vec![], now);
        }
        let mut ran = Vec::new();
        for id in 1..=30 {
            submit(&mut post, id, 1, 150, now);
            ran.push(run_all(&mut post, step, now));
            assert!(!post.is_full(), "of {id}");
            // It looks around, and nobody is silent yet.
            now += Duration::from_millis(55);
            post.tick(now);
        }
        // The first may have half of half the room, and each has its least.
        assert!(ran.iter().all(|ran| (9..150).contains(ran)), "{ran:?}");
        let kept = post.outlets().bytes();
        assert!(kept < (2 << 20) + 30 * 111_000, "{kept} bytes");
        assert_eq!(run_all(&mut post, step, now), 0);
        // What one is done with makes room for the rest of its own.
        let (conn, done) = match step {
            None => (1, ran[0]),
            Some(_) => (1_000, ran.iter().sum()),
        };
        let mut head = Head::default();
        head.add_done(1, done);
        post.receive(conn, head.into(), vec![], now);
        post.tick(now);
        let again = run_all(&mut post, step, now);
        assert!(again >= 8, "{again} more after {done} by {conn}: {ran:?}");
    }
}

/// A server that has room for 4 MiB, with these clients.
fn small_post(clients: u64, now: Instant) -> Post {
    let settings = PostSettings {
        hold: 4 << 20,
        ..settings()
    };
    let mut post = Post::new(settings, Ledger::new(|| {}));
    (1..=clients).for_each(|id| submit(&mut post, id, 1, 1, now));
    post
}

#[test]
fn much_that_was_on_its_way_to_one_that_does_not_read_is_in_nobodys_way() {
    let now = Instant::now();
    let mut post = small_post(2, now);
    let Item { frame, mut ticket } = post.next_submitted(Portion::SINGLES).expect("the first");
    assert_eq!(frame.session(), "c1");
    for _ in 0..10_000 {
        let made = Made {
            frame: frame.clone(),
            ticket: Some(ticket.split()),
        };
        post.give_client(made, now);
        assert!(!post.is_full());
    }
    assert!(post.outlets().bytes() > 100 << 20);
    // The other one goes on, and what is on its way of the first one as well.
    assert_eq!(run_all(&mut post, None, now), 1);
    submit(&mut post, 1, 2, 1, now);
    submit(&mut post, 2, 2, 1, now);
    let next = post.next_submitted(Portion::SINGLES).expect("the other's");
    assert_eq!(next.frame.session(), "c2");
    assert!(post.next_submitted(Portion::SINGLES).is_none());
    // When it reads, it goes on.
    for number in (1..10_000).step_by(50) {
        let mut head = Head::default();
        head.add_done(number, 50);
        post.receive(1, head.into(), vec![], now);
        post.tick(now);
    }
    assert!(post.outlets().bytes() < 20_000);
    let next = post.next_submitted(Portion::SINGLES).expect("its own");
    assert_eq!(next.frame.session(), "c1");
}

#[test]
fn of_what_nobody_answers_for_no_more_is_taken_than_there_is_room_for() {
    let now = Instant::now();
    let mut post = small_post(1, now);
    let pushed = |post: &mut Post| {
        let frame = Frame::new("", "pylm/1", "s.f", "", &[b'x'; 10_000]);
        let made = Made {
            frame,
            ticket: None,
        };
        post.give_step("t", made, now);
        post.tick(now);
    };
    let mut given = 0;
    while !post.is_full() {
        pushed(&mut post);
        given += 1;
        assert!(given < 1_000);
    }
    assert!(given > 300, "{given}");
    // A step takes all.
    post.receive(9, step_that_takes_all(9).into(), vec![], now);
    post.tick(now);
    assert!(post.is_full());
    let mut head = Head::default();
    head.add_done(1, given);
    post.receive(9, head.into(), vec![], now);
    post.tick(now);
    assert!(!post.is_full() && post.outlets().bytes() == 0);
}

#[test]
fn a_publisher_without_room_stops_only_those_for_whom_it_publishes() {
    let now = Instant::now();
    let mut post = small_post(1, now);
    let ledger = Ledger::new(|| {});
    let mut given = 0;
    let mut give = |post: &mut Post, is_pushed: bool| {
        given += 1;
        let frame = Frame::new("", "pylm/1", "s.f", "", &[b'x'; 10_000]);
        let ticket = (!is_pushed).then(|| ledger.ticket_for(1, given, 1));
        post.give_client(Made { frame, ticket }, now);
        post.tick(now);
    };
    while post.takes_pushed() {
        assert!(!post.outlets().stalled().has("pylm"));
        give(&mut post, true);
    }
    // What comes from a step before, where it can stay.
    give(&mut post, false);
    assert!(post.outlets().stalled().has("pylm") && !post.is_full());
    assert_eq!(run_all(&mut post, None, now), 1);
    // There is room again, and some.
    let mut published = 0;
    while post.outlets().stalled().has("pylm") {
        assert!(post.next_published().is_some());
        published += 1;
    }
    assert!(post.takes_pushed() && published > 40, "{published}");
    // Whatever comes has a bound, too.
    (0..390).for_each(|_| give(&mut post, true));
    assert!(post.is_full());
    while post.next_published().is_some() {}
    assert!(!post.is_full() && !post.outlets().stalled().has("pylm"));
}

#[test]
fn in_a_hub_too_many_clients_crowd_nobody_out() {
    let now = Instant::now();
    let settings = PostSettings {
        hold: 4 << 20,
        submits: false,
        workers: Some(Default::default()),
        ..settings()
    };
    let mut post = Post::new(settings, Ledger::new(|| {}));
    let ledger = Ledger::new(|| {});
    let mut number = 0;
    let mut task = |post: &mut Post, client: u64| {
        number += 1;
        let mut frame = Frame::new("", &format!("c{client}/1"), "s.f", "", &[b'x'; 100]);
        frame.set_place(number, &[]);
        let ticket = Some(ledger.ticket_for(1, number, 1));
        post.work(Made { frame, ticket }, now);
    };
    for client in 0..500 {
        assert!(!post.is_busy(), "of {client}");
        // As much as the step before may have given by then.
        for _ in 0..500 {
            task(&mut post, client);
        }
        post.tick(now);
    }
    // Of one who has little there, more is taken.
    task(&mut post, 1_000);
    let stalled = post.outlets().stalled();
    assert!(stalled.has("c400") && !stalled.has("c1000"));
}

#[test]
fn a_master_takes_of_each_client_whatever_waits_of_others() {
    let now = Instant::now();
    let settings = PostSettings {
        hold: 4 << 20,
        workers: Some(Default::default()),
        ..settings()
    };
    let mut post = Post::new(settings, Ledger::new(|| {}));
    for id in 1..=30 {
        submit(&mut post, id, 1, 150, now);
        let mut taken = 0;
        while !post.is_busy()
            && let Some(Item { frame, ticket }) = post.next_submitted(Portion::SINGLES)
        {
            assert_eq!(frame.session(), format!("c{id}"));
            let ticket = Some(ticket);
            post.work(Made { frame, ticket }, now);
            taken += 1;
        }
        assert!((1..150).contains(&taken), "{taken} of {id}");
        assert!(!post.is_busy(), "of {id}");
    }
}
