//! Who gets what, and when.

use super::*;

#[test]
fn a_session_with_much_to_do_does_not_hold_up_one_with_little() {
    let mut world = World::new();
    (0..10_000).for_each(|item| _ = world.push("greedy", item));
    (0..100).for_each(|item| _ = world.push("modest", 100_000 + item));
    world.join([1]);
    let items = world.finish_all(1);
    let last = items.iter().rposition(|item| *item >= 100_000).unwrap();
    assert!((199..=201).contains(&last), "{last}");
    assert_eq!(items.len(), 10_100);
}

/// How many tasks of one of so many sessions run in a row, when each takes so long.
fn in_a_row(sessions: u32, ran: Duration) -> Vec<usize> {
    const TASKS: u32 = 3_000;
    let mut world = World::new();
    for task in 0..TASKS * sessions {
        world.push(&format!("s{}", task % sessions), task % sessions);
    }
    world.join([1]);
    let mut order = Vec::new();
    while order.len() < (TASKS * sessions) as usize {
        world.assign();
        order.extend(world.finish(1, ran));
    }
    // The first ones, before anything is known of them, are in turn, one by one; and at the end
    // only some have any left.
    let rest = &order[order.len() / 4..order.len() / 2];
    rest.chunk_by(|one, next| one == next)
        .map(<[u32]>::len)
        .collect()
}

#[test]
fn tasks_that_take_no_time_run_some_in_a_row_and_others_one_by_one() {
    let longest = |lengths: Vec<usize>| lengths.into_iter().max().unwrap();
    assert_eq!(longest(in_a_row(2, Duration::from_nanos(100))), 512);
    assert_eq!(longest(in_a_row(20, Duration::from_micros(1))), 200);
    assert_eq!(longest(in_a_row(2, Duration::from_micros(20))), 10);
    assert_eq!(longest(in_a_row(2, MS)), 1);
}

#[test]
fn who_calls_now_and_then_does_not_wait_for_all_that_have_much_to_do() {
    const MICROSECOND: Duration = Duration::from_micros(1);
    let mut world = World::new();
    world.join([1]);
    for task in 0..100_000 {
        world.push(&format!("s{}", task % 50), task);
    }
    // Until it is known that they take no time.
    for _ in 0..10_000 {
        world.assign();
        world.finish(1, MICROSECOND);
    }
    // Each of them calls again as soon as its call is done: nobody but them would have a turn.
    let mut calls = [0; 4];
    let mut ran = 0;
    for caller in 0..calls.len() {
        world.push(&format!("caller {caller}"), 1_000_000 + caller as u32);
    }
    for _ in 0..10_000 {
        world.assign();
        match world.finish(1, MICROSECOND) {
            Some(item @ 1_000_000..) => {
                let caller = (item - 1_000_000) as usize;
                calls[caller] += 1;
                world.push(&format!("caller {caller}"), item);
            }
            Some(_) => ran += 1,
            None => {}
        }
    }
    // Each is done as soon as the worker has done what it had before, and not after 50 turns.
    assert!(
        calls.iter().all(|calls| (6..=14).contains(calls)),
        "{calls:?}"
    );
    assert!(ran >= 9_900, "{ran}");
}

#[test]
fn who_has_much_to_do_goes_on_however_many_call() {
    const RAN: Duration = Duration::from_micros(100);
    const CALLERS: u32 = 100;
    let mut world = World::new();
    world.join([1]);
    (0..30_000).for_each(|task| _ = world.push("stream", task));
    for _ in 0..1_000 {
        world.assign();
        world.finish(1, RAN);
    }
    // More than the worker may hold, each of whom calls again as soon as its call is done.
    let push = |world: &mut World, caller| {
        world.push(&format!("caller {caller}"), 1_000_000 + caller);
    };
    (0..CALLERS).for_each(|caller| push(&mut world, caller));
    let (mut calls, mut streamed) = (0, 0);
    for _ in 0..10_000 {
        world.assign();
        match world.finish(1, RAN) {
            Some(item @ 1_000_000..) => {
                calls += 1;
                push(&mut world, item - 1_000_000);
            }
            Some(_) => streamed += 1,
            None => {}
        }
    }
    // One turn in a round of all, which may be of two tasks.
    let turns = 10_000 / (CALLERS as usize + 2);
    assert!(streamed >= turns / 2, "{streamed} of {calls} calls");
    assert!(calls > streamed, "{streamed} of {calls} calls");
}

/// Which of four idle workers get tasks that come so many times, so many at a time, and take so long:
/// the first of them each time.
fn who_runs(times: usize, tasks: u32, ran: Duration) -> Vec<WorkerId> {
    let mut world = World::new();
    (0..4).for_each(|worker| world.join_with(worker, &["work"]));
    let mut first = Vec::new();
    for _ in 0..times {
        (0..tasks).for_each(|item| _ = world.push("session", item));
        first.push(world.given()[0].0);
        let mut left = tasks;
        while left > 0 {
            let busy = (0..4).find(|worker| !world.held(*worker).is_empty());
            busy.and_then(|worker| world.finish(worker, ran)).unwrap();
            left -= 1;
            world.assign();
        }
    }
    first
}

#[test]
fn many_tasks_that_take_no_time_are_for_the_last_worker_and_others_for_that_which_rested_longest() {
    const QUICK: Duration = Duration::from_micros(1);
    let in_turn: Vec<_> = (0..8).map(|time| time % 4).collect();
    assert_eq!(who_runs(8, 1, QUICK), in_turn);
    assert_eq!(who_runs(8, 1, MS), in_turn);
    assert_eq!(who_runs(8, 3, MS), [0, 3, 2, 1, 0, 3, 2, 1]);
    let many = who_runs(100, 40, QUICK);
    // When each has shown that it may have many at once.
    let then = &many[50..];
    assert!(then.iter().all(|worker| *worker == then[0]), "{many:?}");
}

#[test]
fn what_comes_after_tasks_that_take_no_time_is_spread_over_idle_workers() {
    let mut world = World::new();
    world.join(0..4);
    (0..4_000).for_each(|item| _ = world.push("session", item));
    loop {
        world.assign();
        let busy: Vec<_> = (0..4).filter(|id| !world.held(*id).is_empty()).collect();
        if busy.is_empty() {
            break;
        }
        for worker in busy {
            world.finish(worker, Duration::from_micros(1));
        }
    }
    // They may take long: nothing tells.
    (0..8).for_each(|item| _ = world.push_for("session", "other", item));
    world.assign();
    let held: Vec<_> = (0..4).map(|worker| world.held(worker).len()).collect();
    assert_eq!(held, [2; 4]);
}

#[test]
fn the_tasks_of_a_session_run_in_order_whatever_their_functions() {
    let mut world = World::new();
    for item in 0..100 {
        world.push_for("session", ["f", "g", "h"][item as usize % 3], item);
    }
    world.join_with(1, &["f", "g", "h"]);
    assert_eq!(world.finish_all(1), Vec::from_iter(0..100));
}

#[test]
fn a_worker_gets_only_what_it_has_a_function_for() {
    let mut world = World::new();
    world.join_with(1, &["f"]);
    world.join_with(2, &["g", "g"]);
    for item in 0..10 {
        world.push_for("session", if item < 5 { "f" } else { "g" }, item);
    }
    assert_eq!(world.finish_all(2), [5, 6, 7, 8, 9]);
    assert_eq!(world.finish_all(1), [0, 1, 2, 3, 4]);
}

#[test]
fn tasks_are_spread_over_the_workers_before_any_has_two() {
    let mut world = World::new();
    world.join(0..4);
    (0..6).for_each(|item| _ = world.push("session", item));
    let given = world.given();
    assert_eq!(given, [(0, 0), (1, 1), (2, 2), (3, 3), (0, 4), (1, 5)]);
}

#[test]
fn short_tasks_are_given_by_the_thousand_and_long_ones_one_by_one() {
    let mut world = World::new();
    world.join([1]);
    (0..10_000).for_each(|item| _ = world.push("session", item));
    assert_eq!(world.given().len(), 2);
    let mut credits = vec![world.credit(1)];
    for _ in 0..2_100 {
        world.finish(1, Duration::from_micros(1));
        world.assign();
        assert_eq!(world.held(1).len(), world.credit(1));
        if credits.last() != Some(&world.credit(1)) {
            credits.push(world.credit(1));
        }
    }
    assert_eq!(credits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]);
    world.finish(1, 100 * MS);
    assert_eq!(world.credit(1), 1);
}

#[test]
fn what_is_sent_ahead_is_bounded_in_bytes_but_one_always_goes() {
    let mut world = World::new();
    world.queue.settings.most_bytes = 100;
    world.join([1]);
    for size in [1_000, 60, 60, 40] {
        world.queue.push("session", "job", "f", size, 0, world.now);
    }
    for expected in [1, 1, 2, 1] {
        world.assign();
        assert_eq!(world.held(1).len(), expected);
        world.finish(1, MS);
    }
}

#[test]
fn tasks_of_which_much_comes_are_given_few_at_a_time() {
    let mut world = World::new();
    world.queue.settings.most_bytes = 1_000;
    world.join([1]);
    (0..10_000).for_each(|item| _ = world.push("session", item));
    world.assign();
    for _ in 0..1_000 {
        let time = Duration::from_micros(1);
        world.finish(1, Ran { time, bytes: 100 });
        world.assign();
    }
    assert_eq!(world.credit(1), 11);
    for _ in 0..1_000 {
        world.finish(1, Duration::from_micros(1));
        world.assign();
    }
    assert!(world.credit(1) > 100);
}

#[test]
fn a_worker_that_is_at_a_long_task_is_given_nothing_more_to_wait_behind_it() {
    let mut world = World::new();
    world.join([1]);
    (0..100).for_each(|item| _ = world.push("session", item));
    for _ in 0..30 {
        world.assign();
        world.finish(1, Duration::from_micros(1));
    }
    let held = world.held(1).len();
    assert!(held < world.credit(1));
    world.now += 6 * MS;
    assert_eq!(world.assign(), []);
    world.finish(1, 6 * MS);
    assert!(world.credit(1) < held);
    assert_eq!(world.finish_all(1).len(), 69);
}

#[test]
fn a_worker_that_joins_again_has_been_started_again() {
    let mut world = World::new();
    world.join([1]);
    (0..3).for_each(|item| _ = world.push("session", item));
    assert_eq!(world.given(), [(1, 0), (1, 1)]);
    world.join([1]);
    assert_eq!(world.given(), [(1, 0)]);
    assert_eq!(world.finish_all(1), [0, 1, 2]);
    world.leave(1, Leave::Drained);
    world.queue.assert_empty();
}

#[test]
fn what_waits_behind_a_busy_worker_is_recalled_for_an_idle_one() {
    let mut world = World::new();
    world.join([1]);
    let ids = [0, 1].map(|item| world.push("session", item));
    assert_eq!(world.given().len(), 2);
    world.join([2]);
    assert_eq!(world.assign(), []);
    world.now = world.queue.next_deadline().unwrap();
    let recall = Order::Recall {
        worker: 1,
        ids: vec![ids[1]],
    };
    assert_eq!(world.assign(), [recall]);
    assert_eq!(
        (world.assign(), world.queue.next_deadline()),
        (vec![], None)
    );
    world
        .queue
        .hand_back(1, &[(ids[1], Some(1)), (77, Some(1))], world.now);
    assert_eq!(world.given(), [(2, 1)]);
    let counters = world.queue.counters();
    assert_eq!(
        (counters.recalled, counters.handed_back, counters.strays),
        (1, 1, 1)
    );
}

#[test]
fn an_empty_answer_ends_a_recall_and_so_does_finishing_all_of_it() {
    let mut world = World::new();
    world.join([1]);
    (0..2).for_each(|item| _ = world.push("session", item));
    world.assign();
    // Of which the second finds nothing to recall.
    world.join([2, 3]);
    world.now += MS;
    assert_eq!(world.assign().len(), 1);
    world.queue.hand_back(1, &[], world.now);
    assert!(matches!(world.assign()[..], [Order::Recall { .. }]));
    world.finish(1, 50 * MS);
    world.finish(1, 50 * MS);
    assert!(world.queue.pool.workers[&1].recall.is_none());
    world.queue.assert_sound();
}

#[test]
fn nothing_is_recalled_that_the_idle_worker_could_not_run() {
    let mut world = World::new();
    world.join_with(1, &["f"]);
    world.join_with(2, &["g"]);
    (0..2).for_each(|item| _ = world.push_for("session", "f", item));
    assert_eq!(world.given().len(), 2);
    world.now += 100 * MS;
    assert_eq!(
        (world.assign(), world.queue.next_deadline()),
        (vec![], None)
    );
}

#[test]
fn a_task_for_an_unknown_function_ends_but_not_while_there_are_no_workers() {
    let mut world = World::new();
    world.push_for("session", "f", 0);
    world.now += 100_000 * MS;
    assert_eq!(
        (world.assign(), world.queue.next_deadline()),
        (vec![], None)
    );
    world.join_with(1, &["g"]);
    assert_eq!(
        world.queue.why_session("session"),
        Why::NoWorkerWithFunction("f".into())
    );
    world.now += 500 * MS;
    world.push_for("other", "f", 1);
    assert_eq!(world.assign(), []);
    world.now = world.queue.next_deadline().unwrap();
    assert_eq!(world.assign(), [Order::NoFunction { item: 0 }]);
    world.now = world.queue.next_deadline().unwrap();
    assert_eq!(world.assign(), [Order::NoFunction { item: 1 }]);
    world.push_for("session", "f", 2);
    world.now += 999 * MS;
    world.join_with(2, &["f"]);
    assert_eq!(
        (world.given(), world.queue.next_deadline()),
        (vec![(2, 2)], None)
    );
}

#[test]
fn a_cancelled_job_is_taken_out_and_what_workers_have_of_it_is_recalled() {
    let mut world = World::new();
    world.join([1]);
    (0..5).for_each(|item| _ = world.push("session", item));
    world.push("other", 9);
    assert_eq!(world.given(), [(1, 0), (1, 9)]);
    let held = world.held(1);
    assert_eq!(world.queue.cancel(["session's job"].iter()), [1, 2, 3, 4]);
    assert!(world.queue.cancel(["session's job"].iter()).is_empty());
    let recall = Order::Recall {
        worker: 1,
        ids: vec![held[0].0],
    };
    assert_eq!(world.assign(), [recall]);
    world.queue.hand_back(1, &[(held[0].0, Some(1))], world.now);
    assert_eq!(world.assign(), [Order::Cancelled { item: 0 }]);
    assert_eq!(world.finish(1, MS), Some(9));
    world.leave(1, Leave::Drained);
    world.queue.assert_empty();
    assert_eq!(world.queue.counters().cancelled, 5);
}

#[test]
fn the_tasks_of_a_client_that_does_not_read_wait_and_the_others_go_on() {
    let mut world = World::new();
    world.deaf = vec!["deaf"];
    world.join([1]);
    (0..1_000).for_each(|item| _ = world.push("deaf", item));
    (0..1_000).for_each(|item| _ = world.push("session", 5_000 + item));
    assert_eq!(world.finish_all(1), Vec::from_iter(5_000..6_000));
    assert!(world.asked < 4_000, "{}", world.asked);
    assert_eq!(world.queue.why_job("deaf's job"), Why::NotReading);
    assert_eq!(world.queue.next_deadline(), None);
    world.deaf.clear();
    assert_eq!(world.finish_all(1), Vec::from_iter(0..1_000));
}

#[test]
fn no_more_runs_of_a_session_than_there_is_room_for_what_comes_of_it() {
    let mut world = World::new();
    world.join([1]);
    (0..10_000).for_each(|item| _ = world.push("session", item));
    // Nothing is known of the function: there is one for the worker.
    world.room = 1_000;
    assert_eq!(world.given().len(), 1);
    let ran = |bytes| Ran {
        time: Duration::from_micros(1),
        bytes,
    };
    for _ in 0..1_000 {
        world.finish(1, ran(50));
        world.assign();
    }
    assert!(world.credit(1) > 100);
    assert_eq!(world.held(1).len(), 1_000 / 50);
    // More comes of each.
    for _ in 0..100 {
        world.finish(1, ran(500));
        world.assign();
    }
    assert_eq!(world.held(1).len(), 1_000 / 500);
    // Others have their own room.
    let before = world.held(1).len();
    world.push("other", 20_000);
    world.assign();
    assert_eq!(world.held(1).len(), before + 1);
}

#[test]
fn what_comes_of_a_session_is_reckoned_by_its_own_results_too() {
    let mut world = World::new();
    world.join([1]);
    (0..1_000).for_each(|item| _ = world.push("small", item));
    (0..1_000).for_each(|item| _ = world.push("large", 5_000 + item));
    world.room = 10_000;
    for _ in 0..500 {
        world.assign();
        let (id, attempt) = world.held(1)[0];
        let is_large = world.queue.item(id).is_some_and(|item| *item >= 5_000);
        let ran = Ran {
            time: Duration::from_micros(1),
            bytes: if is_large { 2_000 } else { 20 },
        };
        world.queue.finish(1, id, attempt, ran, world.now);
    }
    world.assign();
    let held = world.held(1);
    let large = held
        .iter()
        .filter(|(id, _)| *world.queue.item(*id).unwrap() >= 5_000);
    let large = large.count();
    assert!(
        large <= 5 && held.len() - large > 100,
        "{large} of {}",
        held.len()
    );
}

#[test]
fn what_workers_have_not_begun_of_a_client_that_does_not_read_is_called_back() {
    let mut world = World::new();
    world.join([1]);
    (0..50).for_each(|item| _ = world.push("deaf", item));
    while world.held(1).len() < 10 {
        world.assign();
        world.finish(1, Duration::from_micros(1));
    }
    world.push("session", 100);
    world.deaf = vec!["deaf"];
    let held = world.held(1);
    assert!(held.len() > 10);
    world.finish(1, Duration::from_micros(1));
    world.queue.call_back("deaf");
    let orders = world.assign();
    let [
        Order::Give { id: other, .. },
        Order::Recall { worker: 1, ids },
    ] = &orders[..]
    else {
        panic!("{orders:?}");
    };
    assert_eq!(world.queue.item(*other), Some(&100));
    // Not the one that runs now.
    let expected: Vec<_> = held[2..].iter().map(|(id, _)| *id).collect();
    assert_eq!(*ids, expected);
    // It reads again: what it has left does not run before that.
    world.deaf.clear();
    assert_eq!(world.assign(), []);
    world.queue.assert_sound();
    world.deaf = vec!["deaf"];
    let back: Vec<_> = ids.iter().map(|id| (*id, Some(1))).collect();
    world.queue.hand_back(1, &back, world.now);
    world.queue.assert_sound();
    assert_eq!(world.assign(), []);
    assert_eq!(world.held(1).len(), 2);
    world.deaf.clear();
    let first = *world.queue.item(held[1].0).expect("it runs");
    let left = world.finish_all(1).into_iter().filter(|item| *item != 100);
    assert_eq!(Vec::from_iter(left), Vec::from_iter(first..50));
    world.leave(1, Leave::Drained);
    world.queue.assert_empty();
}

#[test]
fn it_is_said_why_something_waits_and_how_much() {
    let mut world = World::new();
    (0..4).for_each(|item| _ = world.push("session", item));
    assert_eq!(world.queue.why_session("session"), Why::NoWorker);
    world.join([1]);
    world.assign();
    assert_eq!(world.queue.why_job("session's job"), Why::AllBusy);
    let stats = world.queue.stats();
    assert_eq!((stats.waiting, stats.given, stats.bytes), (2, 2, 40));
    assert_eq!((stats.sessions[0].waiting, stats.workers[0].given), (2, 2));
    world.finish_all(1);
    assert_eq!(world.queue.why_session("session"), Why::Nothing);
    assert_eq!(world.queue.why_job("session's job"), Why::Nothing);
    assert!(world.queue.sessions.is_empty());
}

#[test]
fn a_task_that_lost_its_worker_waits_its_time_for_another_with_its_function() {
    let mut world = World::new();
    world.join_with(1, &["f"]);
    world.join_with(2, &["g"]);
    world.push_for("session", "f", 0);
    assert_eq!(world.given(), [(1, 0)]);
    world.now += 10_000 * MS;
    world.leave(1, Leave::Drained);
    assert_eq!(world.assign(), []);
    world.now += 999 * MS;
    assert_eq!(world.assign(), []);
    world.now += MS;
    assert_eq!(world.assign(), [Order::NoFunction { item: 0 }]);
}

#[test]
fn all_clients_that_read_again_are_served_however_many_there_are() {
    const NAMES: &str = "abcdefghijklmnopqrstuvwxyz";
    let mut world = World::new();
    let names: Vec<_> = (0..26).map(|place| &NAMES[place..=place]).collect();
    world.deaf = names.clone();
    world.join(0..30);
    for (item, name) in names.iter().enumerate() {
        world.push(name, item as u32);
    }
    assert_eq!(world.assign(), []);
    world.deaf.clear();
    assert_eq!(world.given().len(), 26);
}

#[test]
fn a_client_that_did_not_read_is_asked_again_for_its_next_tasks() {
    let mut world = World::new();
    world.join([1]);
    (0..3).for_each(|item| _ = world.push("session", item));
    assert_eq!(world.given().len(), 2);
    world.finish(1, MS);
    world.deaf = vec!["session"];
    assert_eq!(world.assign(), []);
    assert_eq!(world.queue.cancel(["session's job"].iter()), [2]);
    world.queue.assert_sound();
    world.deaf.clear();
    world.push("session", 3);
    let orders = world.assign();
    assert!(matches!(
        orders[..],
        [Order::Give { .. }, Order::Recall { .. }]
    ));
}
