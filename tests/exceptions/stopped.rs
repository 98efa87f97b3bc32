//! Single payments stopped by a person before they leave.

use super::stage::Mood;
use super::*;

on_both! {
    async fn held_let_go_and_cancelled(database) {
        let stage = Stage::waiting(database, Mood::Takes).await;
        let (engine, [maker, checker]) = (&stage.world.engine, [&stage.world.maker, &stage.world.checker]);
        let [e1, e2] = [stage.number("E1").await, stage.number("E2").await];
        engine.hold(maker, e1, "asked by the registry").await.unwrap();
        assert_eq!(code(engine.hold(maker, e1, "again").await), "held_already");
        stage.world.verified().await;
        assert_eq!((stage.balances().await["reserved"], stage.balances().await["spent"]), (2_000, 2_000));
        stage.steps().await;
        assert_eq!(stage.states().await, [State::Held, State::Accepted]);
        assert_eq!(code(engine.hold(maker, e2, "too late").await), "too_late");
        assert_eq!(code(engine.cancel(checker, e2, "too late").await), "too_late");
        assert_eq!(code(engine.unhold(checker, e2, "what").await), "not_held");
        assert_eq!(code(engine.cancel(maker, e1, "by its maker").await), "maker_is_checker");
        engine.unhold(checker, e1, "all is well").await.unwrap();
        stage.world.verified().await;
        engine.hold(maker, e1, "once more").await.unwrap();
        engine.cancel(checker, e1, "moved away").await.unwrap();
        assert_eq!(code(engine.cancel(checker, e1, "moved away").await), "too_late");
        stage.world.verified().await;
        assert_eq!(stage.balances().await["spent"], 2_000);
        stage.hear("settled", e2).await;
        stage.world.complete(stage.payroll.id).await;
        assert_eq!(stage.states().await, [State::Cancelled, State::Settled]);
        assert_eq!(stage.told(e1), "rjct");
        stage.world.verified().await;
    }
}

on_both! {
    /// A batch whose bytes were made and did not leave: who was taken out of it since is not in what is sent.
    async fn bytes_that_never_left_are_made_anew(database) {
        let stage = Stage::waiting(database, Mood::TakesNothing).await;
        stage.world.step().await;
        let e1 = stage.number("E1").await;
        stage.world.engine.hold(&stage.world.maker, e1, "wait").await.unwrap();
        let batch = stage.world.engine.batches(&stage.world.maker.scope, stage.payroll.id, 0, 10).await.unwrap().remove(0);
        assert_eq!((batch.wire, batch.total.payments), (None, 1));
        *stage.script.mood.lock().unwrap() = Mood::Takes;
        stage.world.pass_seconds(600);
        stage.steps().await;
        assert_eq!(stage.script.sent.lock().unwrap().len(), 1);
        assert_eq!(stage.states().await, [State::Held, State::Accepted]);
        stage.world.verified().await;
    }
}

on_both! {
    /// Held at intake, for a beneficiary, and cancelled: the payroll comes to its end without it.
    async fn a_row_that_was_held_at_intake(database) {
        let stage = Stage::waiting(database, Mood::Takes).await;
        let engine = &stage.world.engine;
        engine.hold_beneficiary(&stage.world.checker, "cash", "B-H2", "court").await.unwrap();
        let payroll = stage.world.take_in(&[("H1", "1.00", stage::A), ("H2", "2.00", stage::A)]).await;
        let held = stage.row_of(payroll.id, "H2").await;
        assert_eq!(held.state, State::Held);
        engine.cancel(&stage.world.checker, held.shown.number, "court").await.unwrap();
        stage.world.verified().await;
        stage.world.release(payroll.id).await;
        stage.steps().await;
        stage.hear("settled", stage.row_of(payroll.id, "H1").await.shown.number).await;
        stage.world.complete(payroll.id).await;
        stage.world.verified().await;
    }
}
