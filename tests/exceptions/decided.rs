//! Contradictions about money: into suspense at once, out by two persons, and never overwritten by a report.

use std::collections::BTreeMap;

use super::*;

fn sums<const N: usize>(sums: [(&'static str, i64); N]) -> BTreeMap<&'static str, i64> {
    BTreeMap::from(sums)
}

on_both! {
    async fn paid_after_it_was_rejected(database) {
        let stage = Stage::new(database).await;
        let (e1, before) = (stage.number("E1").await, stage.balances().await);
        assert_eq!(before, sums([("spent", 3_000), ("in_transit", 3_000)]));
        stage.hear("rejected", e1).await;
        stage.steps().await;
        assert_eq!(stage.balances().await, sums([("spent", 2_000), ("in_transit", 2_000)]));
        stage.hear("settled", e1).await;
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("in_transit", 2_000), ("suspense", 1_000)]));
        assert_eq!(stage.states().await, [State::Rejected, State::Accepted], "no report overwrites an end");
        stage.world.verified().await;
        let task = stage.only("settled_after_rejected").await;
        assert_eq!((task.subject, task.handling.suspended_from.unwrap().name()), (e1, "available"));
        assert!(task.evidence > 0);
        stage.hear("settled", e1).await;
        assert_eq!(stage.codes().await.len(), 1, "said again is known");
        assert_eq!(stage.balances().await["suspense"], 1_000);

        assert_eq!(code(stage.confirm(task.id).await), "nothing_proposed");
        stage.propose(task.id, Decision::Settled).await.unwrap();
        assert_eq!(code(stage.propose(task.id, Decision::Stands).await), "already_proposed");
        assert_eq!(code(stage.world.engine.confirm(&stage.world.maker, task.id).await), "same_person");
        assert_eq!(stage.balances().await["suspense"], 1_000, "nothing moves before the second person");
        assert_eq!(stage.states().await[0], State::Rejected);
        stage.confirm(task.id).await.unwrap();
        stage.world.verified().await;
        assert_eq!(stage.states().await, [State::Settled, State::Accepted]);
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("in_transit", 2_000), ("paid", 1_000)]));
        assert_eq!(stage.ended().await, [1_000, 0, 0]);
        let (kind, text) = stage.end_of(e1).await;
        assert_eq!(kind, "decision");
        for part in ["amina", "bruno", "letter of the operator", "evidence_against", "evd_", "settled"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.matches("evd_").count(), 2, "both evidences are named: {text}");
        assert_eq!(code(stage.confirm(task.id).await), "exception_closed");
        assert_eq!(stage.balances().await["paid"], 1_000);
        stage.steps().await;
        assert_eq!(stage.told(e1), "succ");
        assert_eq!(stage.codes().await, Vec::<String>::new());
        stage.world.verified().await;
    }
}

on_both! {
    /// The registry could not be told of the first end before it was overruled: it still learns both, in order.
    async fn a_message_of_an_end_that_was_overruled_is_what_it_was(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("rejected", e1).await;
        stage.hear("settled", e1).await;
        stage.decide(stage.only("settled_after_rejected").await.id, Decision::Settled).await;
        for told in ["rjct", "succ"] {
            assert_ne!(stage.told(e1), told);
            stage.world.step().await;
            assert_eq!(stage.told(e1), told, "one message of a batch after the other");
        }
    }
}

on_both! {
    async fn what_stands_gives_the_money_back(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("rejected", e1).await;
        stage.hear("settled", e1).await;
        let task = stage.only("settled_after_rejected").await;
        assert_eq!(code(stage.propose(task.id, Decision::Send).await), "decision_impossible");
        assert_eq!(code(stage.propose(task.id, Decision::Rejected).await), "decision_impossible", "it is rejected already");
        stage.propose(task.id, Decision::Settled).await.unwrap();
        stage.world.engine.withdraw_proposal(&stage.world.checker, task.id).await.unwrap();
        stage.decide(task.id, Decision::Stands).await;
        assert_eq!(stage.balances().await, sums([("spent", 2_000), ("in_transit", 2_000)]));
        assert_eq!(stage.states().await[0], State::Rejected);
    }
}

on_both! {
    async fn rejected_after_it_was_paid(database) {
        let stage = Stage::new(database).await;
        let [e1, e2] = [stage.number("E1").await, stage.number("E2").await];
        for number in [e1, e2] {
            stage.hear("settled", number).await;
            stage.hear("rejected", number).await;
        }
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("suspense", 3_000)]));
        assert_eq!(stage.states().await, [State::Settled; 2]);
        stage.world.verified().await;
        let tasks = stage.exceptions().await;
        stage.decide(tasks[0].id, Decision::Rejected).await;
        stage.decide(tasks[1].id, Decision::Stands).await;
        assert_eq!(stage.states().await, [State::Rejected, State::Settled]);
        assert_eq!(stage.balances().await, sums([("spent", 2_000), ("paid", 2_000)]));
        assert_eq!(stage.ended().await, [2_000, 1_000, 0]);
        stage.steps().await;
        assert_eq!(stage.told(e1), "rjct");
        assert_eq!(stage.row_of(stage.payroll.id, "E1").await.shown.reason.unwrap().1, "decided_rejected");
    }
}

on_both! {
    async fn returned_after_it_was_rejected(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("rejected", e1).await;
        stage.hear("returned as=R1", e1).await;
        stage.decide(stage.only("returned_after_rejected").await.id, Decision::Returned).await;
        assert_eq!(stage.states().await[0], State::Returned);
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("in_transit", 2_000), ("returned", 1_000)]));
        assert_eq!(stage.ended().await, [0, 0, 1_000]);
    }
}

on_both! {
    async fn a_second_return_is_another_one_only_under_another_name(database) {
        let stage = Stage::new(database).await;
        let [e1, e2] = [stage.number("E1").await, stage.number("E2").await];
        stage.hear("settled", e1).await;
        for number in [e1, e2] {
            stage.hear("returned as=R1", number).await;
            stage.hear("returned as=R1", number).await;
            stage.hear("returned", number).await;
        }
        assert_eq!(stage.codes().await, Vec::<String>::new());
        stage.hear("returned as=R2", e1).await;
        let task = stage.only("returned_twice").await;
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("returned", 2_000), ("suspense", 1_000)]));
        stage.world.verified().await;
        stage.decide(task.id, Decision::Stands).await;
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("returned", 3_000)]));
    }
}

on_both! {
    /// Another sum, while it is under way: it departs from its batch, and its money stays in suspense whatever is
    /// said of it later.
    async fn another_amount_in_flight(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("settled amount=500", e1).await;
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("in_transit", 2_000), ("suspense", 1_000)]));
        assert_eq!(stage.states().await, [State::InDoubt, State::Accepted]);
        stage.world.verified().await;
        let task = stage.only("other_amount").await;
        stage.propose(task.id, Decision::Rejected).await.unwrap();
        stage.hear("settled", e1).await;
        assert_eq!(stage.states().await[0], State::Settled);
        assert_eq!(stage.balances().await["suspense"], 1_000);
        stage.world.verified().await;
        assert_eq!(code(stage.confirm(task.id).await), "changed_since", "it was in doubt when that was proposed");
        stage.world.engine.withdraw_proposal(&stage.world.maker, task.id).await.unwrap();
        stage.decide(task.id, Decision::Stands).await;
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("in_transit", 2_000), ("paid", 1_000)]));
    }
}

on_both! {
    /// Two exceptions about one payment: its money leaves suspense with the last of them.
    async fn money_waits_for_the_last_exception(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("settled amount=500", e1).await;
        stage.hear("settled", e1).await;
        stage.hear("rejected", e1).await;
        let tasks = stage.exceptions().await;
        assert_eq!(stage.codes().await, ["other_amount", "rejected_after_settled"]);
        assert_eq!(stage.balances().await["suspense"], 1_000, "once");
        stage.world.verified().await;
        stage.decide(tasks[1].id, Decision::Rejected).await;
        assert_eq!(stage.states().await[0], State::Rejected);
        assert_eq!(stage.balances().await["suspense"], 1_000);
        stage.decide(tasks[0].id, Decision::Settled).await;
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("in_transit", 2_000), ("paid", 1_000)]));
    }
}

on_both! {
    /// What came back is promised to others by now: the report is booked all the same, and the programme owes it.
    async fn a_sum_that_is_spent_again_is_lent(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("rejected", e1).await;
        let rows: Vec<(String, &str, &str)> = (0..10).map(|n| (format!("F{n}"), if n == 0 { "99980.00" } else { "100000.00" }, stage::A)).collect();
        let rows: Vec<(&str, &str, &str)> = rows.iter().map(|(key, amount, account)| (key.as_str(), *amount, *account)).collect();
        let other = stage.world.take_in(&rows).await;
        stage.world.release(other.id).await;
        assert_eq!(stage.balances().await["spent"], stage::FUNDED);
        stage.hear("settled", e1).await;
        assert_eq!((stage.balances().await["lent"], stage.balances().await["suspense"]), (1_000, 1_000));
        let task = stage.only("settled_after_rejected").await;
        assert!(task.detail.contains("fund the programme"), "{}", task.detail);
        stage.world.verified().await;
        stage.decide(task.id, Decision::Stands).await;
        assert!(!stage.balances().await.contains_key("lent"), "what was lent is given back");
        stage.hear("settled", e1).await;
        stage.decide(stage.only("settled_after_rejected").await.id, Decision::Settled).await;
        assert_eq!((stage.balances().await["lent"], stage.balances().await["paid"]), (1_000, 1_000));
    }
}

on_both! {
    /// Two checkers at once: one decision.
    async fn two_confirmations_are_one(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("rejected", e1).await;
        stage.hear("settled", e1).await;
        let task = stage.only("settled_after_rejected").await;
        stage.propose(task.id, Decision::Settled).await.unwrap();
        let third = stage.third();
        let (one, other) = tokio::join!(stage.confirm(task.id), stage.world.engine.confirm(&third, task.id));
        let mut codes = [code(one), code(other)];
        codes.sort_unstable();
        assert_eq!(codes, ["", "exception_closed"]);
        assert_eq!(stage.balances().await, sums([("spent", 3_000), ("in_transit", 2_000), ("paid", 1_000)]));
        stage.steps().await;
        assert_eq!(stage.told(e1), "succ");
        stage.world.verified().await;
    }
}

on_both! {
    /// Another tenant's exception does not exist; evidence that is given must.
    async fn a_stranger_and_made_up_evidence(database) {
        let stage = Stage::new(database).await;
        let e1 = stage.number("E1").await;
        stage.hear("rejected", e1).await;
        stage.hear("settled", e1).await;
        let task = stage.only("settled_after_rejected").await;
        let scope = stage.world.engine.tenant("theirs").await.unwrap();
        let stranger = paymaster::engine::Actor { scope, person: "zoe".to_owned() };
        assert_eq!(code(stage.world.engine.confirm(&stranger, task.id).await), "exception_unknown");
        let engine = &stage.world.engine;
        let mut request = paymaster::engine::ProposalRequest {
            decision: Decision::Stands,
            reason: " ".to_owned(),
            evidence: None,
        };
        assert_eq!(code(engine.propose(&stage.world.maker, task.id, &request).await), "reason_missing");
        request.reason = "because".to_owned();
        request.evidence = Some(paymaster::domain::id::Id::new(7));
        assert_eq!(code(engine.propose(&stage.world.maker, task.id, &request).await), "evidence_unknown");
        request.evidence = Some(paymaster::domain::id::Id::new(task.evidence));
        engine.propose(&stage.world.maker, task.id, &request).await.unwrap();
        stage.confirm(task.id).await.unwrap();
        stage.world.verified().await;
    }
}
