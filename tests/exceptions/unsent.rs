//! What may not leave as it is: sent after all, withdrawn, or paid already.

use super::stage::Mood;
use super::*;

/// "I took nothing", and then "E1 is paid".
async fn frozen(database: crate::world::Database) -> Stage {
    let stage = Stage::waiting(database, Mood::TakesNothing).await;
    stage.world.step().await;
    stage.hear_of("settled", "E1").await;
    stage.world.pass_seconds(600);
    *stage.script.mood.lock().unwrap() = Mood::Takes;
    stage.steps().await;
    assert_eq!((stage.codes().await, stage.states().await), (vec!["never_sent".to_owned()], [State::Queued; 2]));
    assert_eq!(stage.balances().await["reserved"], 3_000);
    stage
}

on_both! {
    async fn it_is_sent(database) {
        let stage = frozen(database).await;
        let task = stage.only("never_sent").await;
        assert_eq!(code(stage.propose(task.id, Decision::Stands).await), "decision_impossible");
        stage.decide(task.id, Decision::Send).await;
        stage.steps().await;
        assert_eq!(stage.states().await, [State::Accepted; 2]);
        assert_eq!(stage.balances().await["in_transit"], 3_000);
        stage.world.verified().await;
    }
}

on_both! {
    async fn it_is_withdrawn_and_the_others_go(database) {
        let stage = frozen(database).await;
        let e1 = stage.number("E1").await;
        stage.decide(stage.only("never_sent").await.id, Decision::Withdraw).await;
        stage.steps().await;
        assert_eq!(stage.states().await, [State::Cancelled, State::Accepted]);
        let e2 = stage.world.engine.reference(stage.number("E2").await);
        assert_eq!(*stage.script.sent.lock().unwrap(), [e2]);
        let balances = stage.balances().await;
        assert_eq!((balances["spent"], balances["in_transit"]), (2_000, 2_000));
        assert_eq!(stage.end_of(e1).await.0, "decision");
        stage.hear_of("settled", "E2").await;
        stage.world.complete(stage.payroll.id).await;
        assert_eq!(stage.told(e1), "rjct");
        stage.world.verified().await;
    }
}

on_both! {
    /// The first copy was executed after all: booked as paid, not sent, and the other one goes.
    async fn it_was_paid(database) {
        let stage = frozen(database).await;
        stage.decide(stage.only("never_sent").await.id, Decision::Settled).await;
        stage.steps().await;
        assert_eq!(stage.states().await, [State::Settled, State::Accepted]);
        assert_eq!(stage.script.sent.lock().unwrap().len(), 1);
        let balances = stage.balances().await;
        assert_eq!((balances["paid"], balances["in_transit"]), (1_000, 2_000));
        stage.hear_of("settled", "E1").await;
        assert_eq!(stage.codes().await, Vec::<String>::new(), "that is known now");
        stage.world.verified().await;
    }
}

on_both! {
    /// What cannot be written waits; once it can, it is sent; or it is withdrawn as a whole.
    async fn what_cannot_be_written(database) {
        for decision in [Decision::Send, Decision::Withdraw] {
            let stage = Stage::waiting(database, Mood::Takes).await;
            *stage.script.unwritable.lock().unwrap() = true;
            stage.steps().await;
            let task = stage.only("cannot_be_written").await;
            stage.propose(task.id, decision).await.unwrap();
            if decision == Decision::Send {
                assert_eq!(code(stage.confirm(task.id).await), "cannot_be_written");
                *stage.script.unwritable.lock().unwrap() = false;
            }
            stage.confirm(task.id).await.unwrap();
            stage.world.verified().await;
            stage.steps().await;
            let wanted = if decision == Decision::Send { State::Accepted } else { State::Cancelled };
            assert_eq!(stage.states().await, [wanted; 2]);
            if decision == Decision::Withdraw {
                assert!(stage.balances().await.is_empty(), "{:?}", stage.balances().await);
                stage.world.complete(stage.payroll.id).await;
            }
            stage.world.verified().await;
        }
    }
}

on_both! {
    /// Sent, and again not: the same kind of exception is opened again for the same batch.
    async fn an_exception_that_was_decided_can_come_back(database) {
        let stage = Stage::waiting(database, Mood::TakesNothing).await;
        *stage.script.unwritable.lock().unwrap() = true;
        stage.steps().await;
        let task = stage.only("cannot_be_written").await;
        *stage.script.unwritable.lock().unwrap() = false;
        stage.decide(task.id, Decision::Send).await;
        *stage.script.unwritable.lock().unwrap() = true;
        stage.steps().await;
        assert_ne!(stage.only("cannot_be_written").await.id, task.id);
        stage.world.verified().await;
    }
}
