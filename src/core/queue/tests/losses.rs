//! Workers that die, or come back, or leave.

use super::*;

#[test]
fn a_worker_whose_connection_is_lost_is_given_nothing_and_is_no_death_of_anything() {
    let mut world = World::new();
    world.join([1, 2]);
    world.queue.set_away(1, true);
    (0..3).for_each(|item| _ = world.push("session", item));
    assert_eq!(world.given(), [(2, 0), (2, 1)]);
    // What killed the one is not given to the other, of which nobody knows whether it lives.
    world.leave(2, Leave::Died);
    assert_eq!(world.given(), []);
    world.queue.set_away(1, false);
    assert_eq!(world.given(), [(1, 0)]);
    assert_eq!(world.finish_all(1), [0, 1, 2]);
}

#[test]
fn what_a_dead_worker_had_runs_first_elsewhere_in_its_old_order() {
    let mut world = World::new();
    world.join([1]);
    (0..5).for_each(|item| _ = world.push("session", item));
    assert_eq!(world.given(), [(1, 0), (1, 1)]);
    world.leave(1, Leave::Drained);
    world.join([2]);
    assert_eq!(world.finish_all(2), [0, 1, 2, 3, 4]);
    assert_eq!(world.queue.counters().redelivered, 2);
}

#[test]
fn only_the_task_that_ran_is_suspected_of_a_death() {
    let mut world = World::new();
    world.join([1]);
    (0..3).for_each(|item| _ = world.push("session", item));
    assert_eq!(world.given(), [(1, 0), (1, 1)]);
    world.leave(1, Leave::Died);
    world.join([2, 3]);
    assert_eq!(world.given(), [(2, 0), (3, 1), (3, 2)]);
}

#[test]
fn a_task_that_kills_is_given_up_and_takes_no_innocent_with_it() {
    let mut world = World::new();
    world.join(0..3);
    (0..60).for_each(|item| _ = world.push("session", item));
    let (mut done, mut given_up, mut deaths) = (Vec::new(), Vec::new(), 0);
    for round in 0..1_000 {
        for order in world.assign() {
            if let Order::GiveUp { item, attempts, .. } = order {
                given_up.push((item, attempts));
            }
        }
        let worker = round % 3;
        let Some((id, attempt)) = world.held(worker).first().copied() else {
            continue;
        };
        if *world.queue.item(id).unwrap() == 7 {
            assert!(deaths == 0 || world.held(worker).len() == 1);
            world.leave(worker, Leave::Died);
            world.join([worker]);
            deaths += 1;
        } else {
            done.extend(world.queue.finish(worker, id, attempt, MS, world.now));
        }
    }
    done.sort_unstable();
    assert_eq!(done, Vec::from_iter((0..60).filter(|item| *item != 7)));
    assert_eq!((given_up, deaths), (vec![(7, 5)], 5));
}

#[test]
fn a_task_that_kills_when_the_results_before_it_are_not_out_yet_is_found_all_the_same() {
    let mut world = World::new();
    world.join([1]);
    let ids = [0, 1, 2, 3].map(|item| world.push("session", item));
    let mut died = 0;
    // It is the second one that kills, and what has come of the first is lost with the worker.
    loop {
        let orders = world.assign();
        if let Some(Order::GiveUp { item, attempts, .. }) = orders
            .iter()
            .find(|order| matches!(order, Order::GiveUp { .. }))
        {
            assert_eq!((*item, *attempts), (1, 5));
            break;
        }
        let held: Vec<_> = world.held(1).iter().map(|(id, _)| *id).collect();
        if held.contains(&ids[1]) {
            world.leave(1, Leave::Died);
            world.join([1]);
            died += 1;
        } else {
            world.finish(1, MS);
        }
        assert!(died < 20);
    }
    assert!(died <= 5 + SUSPECT, "{died} workers died of it");
}

#[test]
fn a_suspect_gets_a_worker_although_all_have_always_something_to_do() {
    let mut world = World::new();
    world.join([1, 2, 3]);
    let suspect = world.push("session", 0);
    assert_eq!(world.given(), [(1, 0)]);
    world.leave(1, Leave::Died);
    (1..100).for_each(|item| _ = world.push("session", item));
    // Two are idle, and it is the first to go to one of them.
    assert_eq!(world.given()[0], (2, 0));
    assert_eq!(world.held(2), [(suspect, 2)]);
    world.leave(2, Leave::Died);
    // Now the only one left has always something to do.
    world.assign();
    while world.held(3) != [(suspect, 3)] {
        let before = world.held(3);
        world.finish(3, MS);
        world.assign();
        assert!(world.held(3).len() < before.len() || before.len() == 1);
    }
    assert_eq!(world.finish(3, MS), Some(0));
    let done = world.queue.counters().finished as usize;
    assert_eq!(done + world.finish_all(3).len(), 100);
}

#[test]
fn the_first_result_counts_and_late_ones_do_not() {
    let mut world = World::new();
    world.join([1]);
    let id = world.push("session", 5);
    world.assign();
    world.leave(1, Leave::Died);
    assert_eq!(world.queue.finish(1, id, 1, MS, world.now), None);
    world.join([2]);
    world.assign();
    assert_eq!(world.queue.finish(1, id, 1, MS, world.now), None);
    assert_eq!(world.queue.finish(2, id, 1, MS, world.now), None);
    assert_eq!(world.queue.finish(2, id, 2, MS, world.now), Some(5));
    assert_eq!(world.queue.finish(2, id, 2, MS, world.now), None);
    assert_eq!(world.queue.counters().fenced, 4);
}

#[test]
fn a_worker_that_is_back_keeps_what_it_holds_and_drops_what_is_no_longer_its_own() {
    let mut world = World::new();
    world.join([1]);
    let ids = [0, 1].map(|item| world.push("session", item));
    world.assign();
    world
        .queue
        .resume(1, &[(ids[1], 1, 1), (99, 3, 1)], world.now);
    let drop = Order::Recall {
        worker: 1,
        ids: vec![99],
    };
    let again = Order::Give {
        worker: 1,
        id: ids[0],
        attempt: 2,
    };
    assert_eq!(world.assign(), [drop, again]);
    assert_eq!(world.finish_all(1), [1, 0]);
}

#[test]
fn a_draining_worker_gets_nothing_more_and_hands_back_what_it_has_not_begun() {
    let mut world = World::new();
    world.join([1]);
    let ids = [0, 1, 2].map(|item| world.push("session", item));
    world.assign();
    world.queue.drain(1, world.now);
    world.queue.hand_back(1, &[(ids[1], Some(1))], world.now);
    assert_eq!(world.assign(), []);
    assert_eq!(world.queue.why_session("session"), Why::NoWorker);
    assert_eq!(world.finish(1, MS), Some(0));
    world.leave(1, Leave::Drained);
    world.join([2]);
    assert_eq!(world.finish_all(2), [1, 2]);
    assert_eq!(world.queue.counters().redelivered, 0);
    world.leave(2, Leave::Drained);
    world.queue.assert_empty();
}
