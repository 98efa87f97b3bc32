//! Paying again: only what was rejected, came back or was cancelled, with the same amount, as the next generation.

use paymaster::domain::payroll::PayrollState;

use super::stage::{A, B};
use super::*;

on_both! {
    async fn what_was_rejected_is_paid_to_another_account(database) {
        let stage = Stage::new(database).await;
        let (e1, other) = (stage.number("E1").await, "mobile:+254700000009@mobile-op");
        stage.hear("rejected", e1).await;
        stage.hear_of("settled", "E2").await;
        stage.world.complete(stage.payroll.id).await;
        let again = stage.reissue(&[("E1", "10.00", other), ("E2", "20.00", B), ("E9", "1.00", A)]).await;
        assert_eq!((again.state, again.accepted.sum_minor), (PayrollState::Draft, 1_000));
        let wanted = [(3, "entitlement_known"), (4, "nothing_to_reissue")].map(|(line, code)| (line, code.to_owned()));
        assert_eq!(stage.world.rejects(again.id).await, wanted);
        assert_eq!(code(stage.world.engine.approve_payroll(&stage.world.checker, again.id).await), "payroll_state");
        stage.world.release(again.id).await;
        stage.steps().await;
        let row = stage.row_of(again.id, "E1").await;
        assert_eq!((row.shown.generation, row.state, row.payee_account.as_str()), (2, State::Accepted, other));
        stage.hear("settled", row.shown.number).await;
        stage.world.complete(again.id).await;
        let balances = stage.balances().await;
        assert_eq!((balances["spent"], balances["paid"]), (3_000, 3_000));
        assert_eq!(stage.states().await, [State::Rejected, State::Settled], "the first generation stays what it was");
        stage.world.verified().await;
        // Not a third time, and not under a payroll of first payments either.
        let third = stage.reissue(&[("E1", "10.00", A)]).await;
        assert_eq!(third.state, PayrollState::Refused);
        assert_eq!(stage.world.rejects(third.id).await, [(2, "entitlement_known".to_owned())]);
    }
}

on_both! {
    async fn an_amount_that_differs_and_an_exception_that_is_open(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("rejected", e1).await;
        stage.hear_of("returned as=R1", "E2").await;
        let first = stage.reissue(&[("E1", "10.01", A), ("E2", "19.99", B)]).await;
        assert_eq!(stage.world.rejects(first.id).await.into_iter().map(|(_, code)| code).collect::<Vec<_>>(), ["amount_differs"; 2]);
        stage.hear("settled", e1).await;
        let second = stage.reissue(&[("E1", "10.00", A), ("E2", "20.00", B)]).await;
        assert_eq!(stage.world.rejects(second.id).await, [(2, "exception_open".to_owned())]);
        assert_eq!(second.accepted.payments, 1);
        stage.decide(stage.only("settled_after_rejected").await.id, Decision::Stands).await;
        let third = stage.reissue(&[("E1", "10.00", A)]).await;
        assert_eq!((third.state, third.accepted.payments), (PayrollState::Draft, 1));
        stage.world.verified().await;
    }
}

on_both! {
    /// In doubt is not rejected; a payroll of first payments takes in what was cancelled, and only that.
    async fn what_may_be_followed(database) {
        let stage = Stage::new(database).await;
        let again = stage.reissue(&[("E1", "10.00", A)]).await;
        assert_eq!(stage.world.rejects(again.id).await, [(2, "entitlement_known".to_owned())]);
        let other = stage.world.take_in(&[("E3", "5.00", A), ("E4", "6.00", A)]).await;
        let e3 = stage.row_of(other.id, "E3").await.shown.number;
        stage.world.engine.cancel(&stage.world.checker, e3, "moved away").await.unwrap();
        let next = stage.world.take_in(&[("E3", "7.00", B), ("E4", "6.00", A)]).await;
        assert_eq!((next.accepted.payments, stage.row_of(next.id, "E3").await.shown.generation), (1, 2));
        stage.world.verified().await;
    }
}

on_both! {
    /// Two makers pay the same again at once: one of them does.
    async fn two_reissues_at_once(database) {
        let stage = Stage::new(database).await;
        stage.hear_of("rejected", "E1").await;
        let (one, other) = ([("E1", "10.00", A)], [("E1", "10.00", B)]);
        let (one, other) = tokio::join!(stage.reissue(&one), stage.reissue(&other));
        let mut accepted = [one.accepted.payments, other.accepted.payments];
        accepted.sort_unstable();
        assert_eq!(accepted, [0, 1]);
        stage.world.verified().await;
    }
}
