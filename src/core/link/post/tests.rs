use super::*;
use crate::message::link::{Credit, Position, differences};

fn post() -> Post {
    let settings = PostSettings {
        epoch: "e".to_owned(),
        hold: 1 << 20,
        subscribers: 1,
        patience: Duration::from_secs(60),
        submits: true,
        max_message: 1 << 20,
        workers: None,
    };
    Post::new(settings, Ledger::new(|| {}))
}

fn hello(nonce: u64, position: Option<Position>) -> Head {
    let credit = Credit {
        messages: 100,
        bytes: 1 << 20,
    };
    Head {
        hello: Some(Hello {
            version: VERSION,
            nonce,
            kind: Kind::Step.into(),
            session: "s".to_owned(),
            name: "n".to_owned(),
            topic: "t".to_owned(),
            credit: Some(credit),
            position,
            ..Hello::default()
        }),
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

#[test]
fn a_hello_that_comes_after_its_peer_was_given_up_is_too_late() {
    let now = Instant::now();
    let mut post = post();
    let say = |post: &mut Post| {
        post.tick(now);
        post.take(now)
    };
    post.receive(1, hello(1, None), vec![], now);
    let welcome = say(&mut post).remove(0).1.head.welcome;
    let run = welcome.expect("a welcome").run;
    // The second hello is on its way by connection 2, while the third comes by connection 3.
    post.receive(3, hello(3, has(run, 0, &[])), vec![], now);
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
    post.receive(3, done, vec![], now);
    post.unreachable(3, &[], now);
    post.receive(2, hello(2, has(run, 0, &[])), vec![], now);
    assert!(say(&mut post).is_empty(), "nothing is given to who is late");
    post.receive(4, hello(4, has(run, 3, &[1, 3])), vec![], now);
    say(&mut post);
    let kept: usize = post.outlets.stats().0.iter().map(|slot| slot.kept).sum();
    assert_eq!(kept, 2, "what is open at the taker is kept");
}
