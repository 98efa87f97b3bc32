//! An older generation is said to be paid after all: what follows it is held, or it is one payment too many.

use paymaster::domain::payroll::PayrollState;

use super::stage::A;
use super::*;

/// E1 was rejected and is to be paid again; that is released and has not left.
async fn reissued(
    database: crate::world::Database,
    released: bool,
) -> (Stage, paymaster::store::payroll::PayrollRow, i64) {
    let stage = Stage::new(database).await;
    stage.hear_of("rejected", "E1").await;
    let again = stage.reissue(&[("E1", "10.00", A)]).await;
    stage.world.submit_and_approve(again.id).await;
    if released {
        stage.world.engine.release_payroll(&stage.world.checker, again.id).await.unwrap();
    }
    let newer = stage.row_of(again.id, "E1").await.shown.number;
    (stage, again, newer)
}

on_both! {
    async fn what_has_not_left_is_held(database) {
        let (stage, again, newer) = reissued(database, true).await;
        assert_eq!(stage.balances().await["reserved"], 1_000);
        stage.hear_of("settled", "E1").await;
        stage.world.verified().await;
        assert_eq!(stage.row_of(again.id, "E1").await.state, State::Held);
        let balances = stage.balances().await;
        assert_eq!((balances.get("reserved"), balances["suspense"]), (None, 1_000));
        stage.steps().await;
        assert_eq!(stage.script.sent.lock().unwrap().len(), 2, "it was not sent");
        assert_eq!(code(stage.world.engine.unhold(&stage.world.checker, newer, "go").await), "exception_open");
        stage.decide(stage.only("settled_after_rejected").await.id, Decision::Settled).await;
        assert_eq!(code(stage.world.engine.unhold(&stage.world.checker, newer, "go").await), "entitlement_known");
        stage.world.engine.cancel(&stage.world.checker, newer, "paid by the first").await.unwrap();
        stage.world.complete(again.id).await;
        assert_eq!(stage.row_of(again.id, "E1").await.state, State::Cancelled);
        let balances = stage.balances().await;
        assert_eq!((balances["paid"], balances["in_transit"], balances["spent"]), (1_000, 2_000, 3_000));
        stage.world.verified().await;
    }
}

on_both! {
    /// It was not paid after all: the next generation goes, in a batch of its own.
    async fn what_was_held_is_let_go(database) {
        let (stage, again, newer) = reissued(database, true).await;
        stage.hear_of("settled", "E1").await;
        stage.decide(stage.only("settled_after_rejected").await.id, Decision::Stands).await;
        assert_eq!(code(stage.world.engine.unhold(&stage.world.maker, newer, "go").await), "maker_is_checker");
        stage.world.engine.unhold(&stage.world.checker, newer, "it was not paid").await.unwrap();
        stage.world.verified().await;
        assert_eq!(stage.balances().await["reserved"], 1_000);
        stage.steps().await;
        stage.hear("settled", newer).await;
        stage.world.complete(again.id).await;
        assert_eq!(stage.row_of(again.id, "E1").await.state, State::Settled);
        stage.world.verified().await;
    }
}

on_both! {
    /// Before release an approval is of other content than what is left: it does not hold any more.
    async fn an_approval_of_what_is_held_is_void(database) {
        let (stage, again, newer) = reissued(database, false).await;
        stage.hear_of("settled", "E1").await;
        assert_eq!(stage.row_of(again.id, "E1").await.state, State::Held);
        stage.world.verified().await;
        assert_eq!(code(stage.world.engine.release_payroll(&stage.world.checker, again.id).await), "content_changed");
        stage.decide(stage.only("settled_after_rejected").await.id, Decision::Stands).await;
        stage.world.engine.unhold(&stage.world.checker, newer, "it was not paid").await.unwrap();
        stage.world.engine.recall_payroll(&stage.world.maker, again.id).await.unwrap();
        stage.world.release(again.id).await;
        stage.steps().await;
        assert_eq!(stage.row_of(again.id, "E1").await.state, State::Accepted);
        stage.world.verified().await;
    }
}

on_both! {
    async fn what_has_left_is_one_too_many(database) {
        let (stage, again, newer) = reissued(database, true).await;
        stage.steps().await;
        stage.hear("settled", newer).await;
        stage.hear_of("settled", "E1").await;
        assert_eq!(stage.codes().await, ["settled_after_rejected", "overpaid"]);
        let tasks = stage.exceptions().await;
        let (old, new) = (stage.world.engine.reference(stage.number("E1").await), stage.world.engine.reference(newer));
        assert_eq!(tasks[1].subject, newer);
        assert!(tasks[1].detail.contains(old.as_str()) && tasks[1].detail.contains(new.as_str()), "{}", tasks[1].detail);
        assert!(tasks[1].evidence > 0);
        stage.decide(tasks[0].id, Decision::Settled).await;
        stage.decide(tasks[1].id, Decision::Stands).await;
        assert_eq!(stage.balances().await["paid"], 2_000);
        assert_eq!(stage.world.engine.payroll_state(&stage.world.maker.scope, again.id).await.unwrap(), PayrollState::Completed);
        stage.world.verified().await;
    }
}
