//! Paying again: only what was rejected, came back or was cancelled, with the same amount, as the next generation.

use std::collections::HashMap;

use paymaster::domain::payroll::{PayrollKind, PayrollState};
use paymaster::engine::{Actor, Reasons, Timeline};
use paymaster::store::payroll::Total;

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

on_both! {
    /// A bank refuses a file as a whole for three of its rows: the others go again without them, as they were.
    async fn a_file_that_was_refused_for_a_few_rows_goes_again_without_them(database) {
        let stage = Stage::new(database).await;
        stage.hear_of("settled", "E1").await;
        stage.hear_of("settled", "E2").await;
        let world = &stage.world;
        let all: Vec<(String, String, String)> = (1..=8)
            .map(|n| (format!("F{n}"), format!("{n}.05"), format!("mobile:+25470000001{n}@mobile-op")))
            .collect();
        let file = world.take_in(&crate::world::borrowed(&all)).await;
        world.release(file.id).await;
        stage.steps().await;
        for row in stage.rows_of(file.id).await {
            let is_bad = ["F2", "F5", "F7"].contains(&row.entitlement.as_str());
            let why = if is_bad { "class=fix_data code=ac01" } else { "class=not_executed code=unstated" };
            stage.hear(&format!("rejected {why}"), row.shown.number).await;
        }
        world.complete(file.id).await;
        assert_eq!(stage.balances().await["spent"], 3_000);

        let of = |code: &str| Reasons { codes: vec![code.to_owned()], ..Reasons::default() };
        let stranger = Actor { scope: world.engine.tenant("another").await.unwrap(), person: "eve".to_owned() };
        assert_eq!(code(world.engine.reissue_of(&stranger, file.id, &of("unstated")).await), "payroll_unknown");
        assert_eq!(code(world.engine.reissue_of(&world.maker, file.id, &of("am04")).await), "nothing_to_reissue");
        let again = world.engine.reissue_of(&world.maker, file.id, &of("unstated")).await.unwrap();
        let wanted = Total { payments: 5, sum_minor: 2_225 };
        assert_eq!((again.state, again.kind, again.declared), (PayrollState::Draft, PayrollKind::Reissue, wanted));
        assert_eq!((again.accepted, again.refused), (wanted, Total::default()));
        world.verified().await;
        assert_eq!(code(world.engine.reissue_of(&world.maker, file.id, &of("unstated")).await), "nothing_to_reissue");
        world.engine.submit_payroll(&world.maker, again.id).await.unwrap();
        assert_eq!(code(world.engine.approve_payroll(&world.maker, again.id).await), "maker_is_checker");
        world.engine.approve_payroll(&world.checker, again.id).await.unwrap();
        world.engine.release_payroll(&world.checker, again.id).await.unwrap();
        stage.steps().await;
        let before: HashMap<String, Timeline> =
            stage.rows_of(file.id).await.into_iter().map(|row| (row.entitlement.clone(), row)).collect();
        for row in stage.rows_of(again.id).await {
            let first = &before[&row.entitlement];
            assert_eq!(row.shown.generation, 2);
            assert_eq!(
                (&row.payee_name, &row.payee_account, &row.beneficiary, row.amount),
                (&first.payee_name, &first.payee_account, &first.beneficiary, first.amount)
            );
            stage.hear("settled", row.shown.number).await;
        }
        world.complete(again.id).await;
        world.verified().await;
        let balances = stage.balances().await;
        assert_eq!((balances["spent"], balances["paid"]), (3_000 + 2_225, 3_000 + 2_225));
        let states = world.states(file.id).await;
        for bad in ["F2", "F5", "F7"] {
            assert_eq!(states[bad], (State::Rejected, Some("ac01".to_owned())));
        }
        let mut sent = stage.script.sent.lock().unwrap().clone();
        assert_eq!(sent.len(), 2 + 8 + 5);
        sent.sort_unstable_by_key(|reference| reference.number());
        sent.dedup();
        assert_eq!(sent.len(), 2 + 8 + 5, "every payment was sent once");
    }
}

on_both! {
    /// Everything of a payroll, by class, and what only goes when it is asked for by name.
    async fn by_class_and_what_is_not_paid_again_unasked(database) {
        let stage = Stage::new(database).await;
        stage.hear_of("rejected class=stop code=md07", "E1").await;
        stage.hear_of("returned as=R1 class=limit code=am14", "E2").await;
        let world = &stage.world;
        let asked = |classes: &[&str]| Reasons { classes: classes.iter().map(|one| (*one).to_owned()).collect(), ..Reasons::default() };
        let all = world.engine.reissue_of(&world.maker, stage.payroll.id, &asked(&[])).await.unwrap();
        assert_eq!(all.accepted, Total { payments: 1, sum_minor: 2_000 });
        let dead = world.engine.reissue_of(&world.maker, stage.payroll.id, &asked(&["stop", "limit"])).await.unwrap();
        assert_eq!(dead.accepted, Total { payments: 1, sum_minor: 1_000 });
        let many = Reasons { codes: vec![String::new(); 101], ..Reasons::default() };
        assert_eq!(code(world.engine.reissue_of(&world.maker, stage.payroll.id, &many).await), "reasons_too_many");
        world.verified().await;
    }
}
