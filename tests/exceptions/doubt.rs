//! Doubts that are too old: told once, decided by two persons, and nothing is rejected while a copy may arrive.

use super::stage::{FENCE_SECONDS, Mood};
use super::*;

const LIMIT_SECONDS: i64 = 72 * 3_600;

on_both! {
    async fn a_doubt_that_is_too_old_is_decided(database) {
        let stage = Stage::waiting(database, Mood::SaysNothing).await;
        stage.world.step().await;
        let engine = &stage.world.engine;
        assert_eq!(engine.overdue(engine.clock.now()).await.unwrap(), 0);
        stage.world.pass_seconds(LIMIT_SECONDS + 1);
        assert_eq!(engine.overdue(engine.clock.now()).await.unwrap(), 2);
        assert_eq!(engine.overdue(engine.clock.now()).await.unwrap(), 0, "told once");
        let tasks = stage.exceptions().await;
        assert!(tasks.iter().all(|one| one.code == "doubt_too_old"));
        assert_eq!(code(stage.propose(tasks[0].id, Decision::Send).await), "decision_impossible");
        stage.decide(tasks[0].id, Decision::Settled).await;
        assert_eq!(stage.states().await, [State::Settled, State::InDoubt]);
        stage.decide(tasks[1].id, Decision::Rejected).await;
        assert_eq!(stage.states().await, [State::Settled, State::Rejected]);
        let balances = stage.balances().await;
        assert_eq!((balances["spent"], balances["paid"]), (1_000, 1_000));
        stage.world.complete(stage.payroll.id).await;
        assert_eq!(stage.told(stage.number("E1").await), "succ");
        assert_eq!(stage.told(stage.number("E2").await), "rjct");
        assert_eq!(stage.end_of(stage.number("E2").await).await.0, "decision");
        stage.world.verified().await;
    }
}

on_both! {
    /// A provider whose copies travel for longer than our patience.
    async fn nothing_is_rejected_before_the_fence(database) {
        let stage = Stage::waiting(database, Mood::SaysNothing).await;
        stage.world.step().await;
        let engine = &stage.world.engine;
        // As if the limit were short.
        assert_eq!(engine.overdue(engine.clock.now() + LIMIT_SECONDS * 1_000_000).await.unwrap(), 2);
        let task = stage.exceptions().await[0].clone();
        stage.propose(task.id, Decision::Rejected).await.unwrap();
        stage.world.pass_seconds(FENCE_SECONDS - 1);
        assert_eq!(code(stage.confirm(task.id).await), "fence_not_passed");
        assert_eq!(stage.states().await, [State::InDoubt; 2]);
        stage.world.pass_seconds(1);
        stage.confirm(task.id).await.unwrap();
        assert_eq!(stage.states().await, [State::Rejected, State::InDoubt]);
        stage.world.verified().await;
    }
}

on_both! {
    /// What ended by itself meanwhile is not decided on; what was let stand is told again, later.
    async fn a_report_is_faster_and_what_stands_is_told_again(database) {
        let stage = Stage::waiting(database, Mood::SaysNothing).await;
        stage.world.step().await;
        let engine = &stage.world.engine;
        stage.world.pass_seconds(LIMIT_SECONDS + 1);
        assert_eq!(engine.overdue(engine.clock.now()).await.unwrap(), 2);
        let tasks = stage.exceptions().await;
        stage.propose(tasks[0].id, Decision::Rejected).await.unwrap();
        stage.hear_of("settled", "E1").await;
        assert_eq!(code(stage.confirm(tasks[0].id).await), "decision_impossible");
        assert_eq!(stage.states().await[0], State::Settled);
        stage.world.engine.withdraw_proposal(&stage.world.maker, tasks[0].id).await.unwrap();
        stage.decide(tasks[0].id, Decision::Stands).await;
        stage.decide(tasks[1].id, Decision::Stands).await;
        assert_eq!(engine.overdue(engine.clock.now()).await.unwrap(), 0);
        stage.world.pass_seconds(LIMIT_SECONDS + 1);
        assert_eq!(engine.overdue(engine.clock.now()).await.unwrap(), 1);
        stage.world.verified().await;
    }
}

on_both! {
    /// Too many to be told one by one: the batch is told of, and one decision ends all of it.
    async fn a_large_batch_is_one_task(database) {
        let stage = Stage::waiting(database, Mood::SaysNothing).await;
        let rows: Vec<(String, String, String)> = crate::world::rows(150);
        let large = stage.world.take_in(&crate::world::borrowed(&rows)).await;
        stage.world.release(large.id).await;
        stage.world.step().await;
        stage.world.pass_seconds(LIMIT_SECONDS + 1);
        let engine = &stage.world.engine;
        assert_eq!(engine.overdue(engine.clock.now()).await.unwrap(), 3);
        let small = [stage.number("E1").await, stage.number("E2").await];
        let task = stage.exceptions().await.into_iter().find(|one| !small.contains(&one.subject)).unwrap();
        let ended = stage.rows_of(large.id).await[7].shown.number;
        stage.hear("rejected", ended).await;
        stage.decide(task.id, Decision::Settled).await;
        let mut rows = stage.rows_of(large.id).await;
        rows.retain(|row| row.state != State::Settled);
        assert_eq!(rows.iter().map(|row| row.shown.number).collect::<Vec<_>>(), [ended]);
        let status = stage.world.engine.payroll_status(&stage.world.maker.scope, large.id).await.unwrap();
        assert_eq!(status.providers[0].settled.payments, 149);
        stage.world.complete(large.id).await;
        stage.world.verified().await;
    }
}
