//! Payrolls from file to proven ends, through the engine's verbs and over real sockets, on both databases.
//! The operator's own ledger is the oracle.

use paymaster::domain::disbursement::State;
use paymaster::domain::payroll::PayrollState;
use paymaster::engine::{Error, RefusedKind};
use paymaster::store::payroll::Total;
use paymaster::values;
use paymaster_connectors::sandbox::Faults;

use crate::on_both;
use crate::world::{Terms, World, borrowed, csv, rows, totals};

const A: &str = "mobile:+254700000001@mobile-op";
const B: &str = "mobile:+254700000002@mobile-op";

fn refused_code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (RefusedKind, &'static str) {
    match outcome {
        Err(Error::Refused(refused)) => (refused.kind, refused.code),
        other => panic!("not a refusal: {other:?}"),
    }
}

on_both! {
    async fn a_payroll_is_paid_whole(database) {
        let world = World::with(database, Terms { faults: Faults { reject_per_mille: 100, ..Faults::none() }, settings: serde_json::json!({"items_max": 40}), ..Terms::default() }).await;
        let all = rows(100);
        let payroll = world.take_in(&borrowed(&all)).await;
        assert_eq!((payroll.state, payroll.accepted, payroll.refused), (PayrollState::Draft, totals(&borrowed(&all)), Total::default()));
        world.release(payroll.id).await;
        world.complete(payroll.id).await;
        let status = world.engine.payroll_status(&world.maker.scope, payroll.id).await.unwrap();
        let one = &status.providers[0];
        assert_eq!(one.batches, 3);
        assert!(one.rejected.payments > 0, "the sandbox rejects one in ten");
        assert_eq!(one.settled.and(one.rejected).unwrap(), payroll.accepted);
        assert_eq!(world.credited(), (usize::try_from(one.settled.payments).unwrap(), one.settled.sum_minor));
        world.books_agree(payroll.id).await;
    }
}

on_both! {
    /// Replies lost after execution, requests lost before it, answers of 500 after execution: everybody once.
    async fn lost_replies_and_requests_pay_nobody_twice(database) {
        for (seed, mode) in [(1, "batch"), (2, "batch"), (3, "single")] {
            let faults = Faults { seed, lose_reply_per_mille: 300, lose_request_per_mille: 200, error_after_execute_per_mille: 200,
                duplicate_callback_per_mille: 300, reject_per_mille: 50, lose_first_replies: 1, ..Faults::none() };
            let settings = serde_json::json!({"items_max": 10, "mode": mode});
            let world = World::with(database, Terms { faults, settings, ..Terms::default() }).await;
            let all = rows(60);
            let payroll = world.take_in(&borrowed(&all)).await;
            world.release(payroll.id).await;
            world.complete(payroll.id).await;
            assert_eq!(world.sandbox.ledger_summary().repeated_references, 0);
            world.books_agree(payroll.id).await;
        }
    }
}

on_both! {
    /// The same cycle again, in another order, with other amounts and accounts, pays nobody again.
    async fn the_same_cycle_again_pays_nobody_twice(database) {
        let world = World::new(database).await;
        let first = world.take_in(&[("E1", "10.00", A), ("E2", "20.00", B)]).await;
        world.release(first.id).await;
        world.complete(first.id).await;
        assert_eq!(world.credited(), (2, 3_000));
        let again = world.take_in(&[("E2", "25.00", B), ("E3", "5.00", A), ("E1", "10.00", B)]).await;
        assert_eq!(again.accepted, Total { payments: 1, sum_minor: 500 });
        assert_eq!(world.rejects(again.id).await, [(2, "entitlement_known".to_owned()), (4, "entitlement_known".to_owned())]);
        let (text, _) = world.engine.reject_page(&world.maker.scope, again.id, 0).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("with another amount") && text.contains("with another account") && text.contains(&first.id.to_string()), "{text}");
        world.release(again.id).await;
        world.complete(again.id).await;
        assert_eq!(world.credited(), (3, 3_500));
        world.books_agree(first.id).await;
        world.books_agree(again.id).await;
        // The very same file is the very same payroll.
        let file = csv(&[("E1", "10.00", A), ("E2", "20.00", B)]);
        assert_eq!(world.take_in_text(&file, first.declared).await.id, first.id);
    }
}

on_both! {
    async fn rows_under_one_entitlement_in_one_file(database) {
        let world = World::new(database).await;
        let file = [("E1", "10.00", A), ("E1", "10.00", A), ("E2", "5.00", A), ("E2", "6.00", A), ("E3", "1.00", B)];
        let payroll = world.take_in(&file).await;
        assert_eq!(payroll.accepted, Total { payments: 2, sum_minor: 1_100 });
        let wanted = [(3, "entitlement_repeated"), (4, "entitlement_conflict"), (5, "entitlement_conflict")];
        assert_eq!(world.rejects(payroll.id).await, wanted.map(|(line, code)| (line, code.to_owned())));
        world.verified().await;
    }
}

on_both! {
    /// Two payrolls with the same entitlements taken in at the same time: each entitlement is in exactly one.
    async fn concurrent_payrolls_share_nothing(database) {
        let world = World::new(database).await;
        let all = rows(300);
        let mut other = all.clone();
        other.reverse();
        let request = |rows: &[(String, String, String)]| world.request(csv(&borrowed(rows)).as_bytes(), totals(&borrowed(rows)));
        let (first, second) = (request(&all), request(&other));
        let (first, second) = tokio::join!(world.engine.take_in(&world.maker, &first), world.engine.take_in(&world.maker, &second));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!(first.accepted.payments + second.accepted.payments, 300);
        for payroll in [first, second].into_iter().filter(|payroll| payroll.state == PayrollState::Draft) {
            world.release(payroll.id).await;
            world.complete(payroll.id).await;
        }
        assert_eq!(world.credited().0, 300);
        assert_eq!(world.sandbox.ledger_summary().repeated_references, 0);
        world.verified().await;
    }
}

on_both! {
    async fn totals_must_be_as_declared_to_the_row_and_the_minor_unit(database) {
        let world = World::new(database).await;
        let file = csv(&[("E1", "10.00", A), ("E2", "20.00", B)]);
        for (payments, sum_minor) in [(3, 3_000), (1, 3_000), (2, 3_001), (2, 2_999)] {
            let payroll = world.take_in_text(&file, Total { payments, sum_minor }).await;
            assert_eq!(payroll.state, PayrollState::Refused);
            let refusal = payroll.refusal.unwrap();
            assert!(refusal.starts_with("totals_differ: ") && refusal.contains("2 rows and 30.00 KES"), "{refusal}");
        }
        world.verified().await;
        // Nothing of a refused payroll stays in the way of the right one.
        let payroll = world.take_in_text(&file, Total { payments: 2, sum_minor: 3_000 }).await;
        assert_eq!((payroll.state, payroll.accepted.payments), (PayrollState::Draft, 2));
    }
}

on_both! {
    async fn all_or_nothing_takes_nothing_when_one_row_is_bad(database) {
        let world = World::with(database, Terms { all_or_nothing: true, ..Terms::default() }).await;
        let payroll = world.take_in(&[("E1", "10.00", A), ("E2", "0", B)]).await;
        assert_eq!(payroll.state, PayrollState::Refused);
        assert!(payroll.refusal.unwrap().starts_with("rows_refused: 1 of 2 rows"));
        assert_eq!(world.rejects(payroll.id).await, [(3, "amount_not_positive".to_owned())]);
        world.verified().await;
        assert_eq!(world.take_in(&[("E1", "10.00", A), ("E2", "1", B)]).await.state, PayrollState::Draft);
    }
}

on_both! {
    async fn nobody_approves_or_releases_what_they_made(database) {
        let world = World::new(database).await;
        let id = world.take_in(&[("E1", "10.00", A)]).await.id;
        assert_eq!(refused_code(world.engine.approve_payroll(&world.checker, id).await), (RefusedKind::Conflict, "payroll_state"));
        world.engine.submit_payroll(&world.maker, id).await.unwrap();
        assert_eq!(refused_code(world.engine.approve_payroll(&world.maker, id).await), (RefusedKind::Forbidden, "maker_is_checker"));
        assert_eq!(refused_code(world.engine.release_payroll(&world.checker, id).await), (RefusedKind::Conflict, "payroll_state"));
        world.engine.approve_payroll(&world.checker, id).await.unwrap();
        assert_eq!(refused_code(world.engine.release_payroll(&world.maker, id).await), (RefusedKind::Forbidden, "maker_is_checker"));
        world.engine.recall_payroll(&world.checker, id).await.unwrap();
        assert_eq!(refused_code(world.engine.release_payroll(&world.checker, id).await), (RefusedKind::Conflict, "payroll_state"));
        let stranger = paymaster::engine::Actor { scope: world.engine.tenant("another").await.unwrap(), person: "eve".to_owned() };
        assert_eq!(refused_code(world.engine.approve_payroll(&stranger, id).await), (RefusedKind::NotFound, "payroll_unknown"));
        assert_eq!(world.credited(), (0, 0));
    }
}

on_both! {
    async fn money_that_is_not_there_is_not_promised(database) {
        let world = World::new(database).await;
        let [first, second] = [world.take_in(&[("E1", "60000.00", A)]).await.id, world.take_in(&[("E2", "60000.00", B), ("E3", "90000.00", B), ("E4", "90000.00", B)]).await.id];
        // 1,000,000.00 are there; 60,000.00 and 240,000.00 fit, 800,000.00 more do not.
        world.release(first).await;
        world.release(second).await;
        let third: Vec<(String, String, String)> = (0..8).map(|n| (format!("F{n}"), "100000.00".to_owned(), A.to_owned())).collect();
        let third = world.take_in(&borrowed(&third)).await.id;
        world.submit_and_approve(third).await;
        assert_eq!(refused_code(world.engine.release_payroll(&world.checker, third).await), (RefusedKind::Conflict, "funds_short"));
        world.verified().await;
        world.engine.fund(&world.checker, "cash", 10_000_000, "second warrant").await.unwrap();
        world.engine.release_payroll(&world.checker, third).await.unwrap();
        for id in [first, second, third] {
            world.complete(id).await;
            world.books_agree(id).await;
        }
    }
}

on_both! {
    /// One byte changed in the database after approval: the batch stays and a person is told.
    async fn what_was_not_approved_is_not_sent(database) {
        let world = World::new(database).await;
        let id = world.take_in(&[("E1", "10.00", A), ("E2", "20.00", B)]).await.id;
        world.release(id).await;
        let mut tx = world.engine.store.begin().await.unwrap();
        let changed = tx.execute("UPDATE payee SET sealed = (SELECT sealed FROM payee WHERE line = 3) WHERE line = 2", values![]).await.unwrap();
        assert_eq!(changed, 1);
        tx.commit().await.unwrap();
        for _ in 0..5 {
            world.step().await;
            world.pass_seconds(60);
        }
        assert_eq!(world.credited(), (0, 0));
        let exceptions = world.engine.exceptions(&world.maker.scope, 0, 10).await.unwrap();
        assert_eq!(exceptions.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["content_changed"]);
    }
}

on_both! {
    async fn a_pause_stops_sends_and_not_questions(database) {
        let world = World::new(database).await;
        let id = world.take_in(&[("E1", "10.00", A)]).await.id;
        world.engine.pause_provider("mobile-op", Some("drill")).await.unwrap();
        world.release(id).await;
        for _ in 0..5 {
            world.step().await;
            world.pass_seconds(60);
        }
        assert_eq!(world.credited(), (0, 0));
        world.engine.pause_provider("mobile-op", None).await.unwrap();
        world.engine.pause_payroll(&world.checker, id, true).await.unwrap();
        world.step().await;
        assert_eq!(world.credited(), (0, 0));
        world.engine.pause_payroll(&world.checker, id, false).await.unwrap();
        world.complete(id).await;
        assert_eq!(world.credited(), (1, 1_000));
        world.books_agree(id).await;
    }
}

on_both! {
    async fn a_held_beneficiary_is_taken_in_and_not_paid(database) {
        let world = World::new(database).await;
        world.engine.hold_beneficiary(&world.checker, "cash", "B-E1", "reported deceased").await.unwrap();
        let payroll = world.take_in(&[("E1", "10.00", A), ("E2", "20.00", B)]).await;
        assert_eq!(payroll.accepted.payments, 2);
        world.release(payroll.id).await;
        for _ in 0..20 {
            world.step().await;
            world.pass_seconds(1);
        }
        let states = world.states(payroll.id).await;
        assert_eq!((states["E1"].0, states["E2"].0), (State::Held, State::Settled));
        assert_eq!(world.credited(), (1, 2_000));
        let status = world.engine.payroll_status(&world.maker.scope, payroll.id).await.unwrap();
        assert_eq!(status.payroll.state, PayrollState::Released, "a held row keeps its payroll open");
        assert_eq!(status.held, Total { payments: 1, sum_minor: 1_000 });
        world.verified().await;
    }
}

on_both! {
    /// The provider is not there: the batch waits again, provably unsent, and goes out when it is back.
    async fn an_absent_provider_costs_nothing(database) {
        let world = World::with(database, Terms { settings: serde_json::json!({"base_url": "http://127.0.0.1:9/mm"}), ..Terms::default() }).await;
        let id = world.take_in(&[("E1", "10.00", A)]).await.id;
        world.release(id).await;
        for _ in 0..3 {
            world.step().await;
            let status = world.engine.payroll_status(&world.maker.scope, id).await.unwrap();
            assert_eq!((status.providers[0].waiting.payments, status.providers[0].in_doubt.payments), (1, 0));
            world.verified().await;
            world.pass_seconds(300);
        }
    }
}

on_both! {
    /// The operator's float runs out in the middle: the provider is paused with a task for a person, and whoever
    /// comes later waits instead of failing.
    async fn a_float_that_runs_out_pauses_the_provider(database) {
        let world = World::with(database, Terms { float_minor: 3_500, ..Terms::default() }).await;
        let of = |all: Vec<(String, String, String)>| all.into_iter().map(|(entitlement, _, account)| (entitlement, "10.00".to_owned(), account)).collect::<Vec<_>>();
        let (six, later) = (of(rows(6)), [("L1", "10.00", A)]);
        let [id, waiting] = [world.take_in(&borrowed(&six)).await.id, world.take_in(&later).await.id];
        world.release(id).await;
        world.complete(id).await;
        world.release(waiting).await;
        for _ in 0..10 {
            world.step().await;
            world.pass_seconds(60);
        }
        let status = world.engine.payroll_status(&world.maker.scope, id).await.unwrap();
        assert_eq!((status.providers[0].settled.payments, status.providers[0].rejected.payments), (3, 3));
        assert_eq!(status.rejected_by_code[0].1, "funding");
        assert_eq!(world.engine.payroll_status(&world.maker.scope, waiting).await.unwrap().providers[0].waiting.payments, 1);
        assert_eq!(world.credited(), (3, 3_000));
        let exceptions = world.engine.exceptions(&world.maker.scope, 0, 10).await.unwrap();
        assert_eq!(exceptions[0].code, "provider_blocked");
        world.books_agree(id).await;
    }
}

on_both! {
    /// A registry that is away is told later; one that refuses leaves the message for a person, who brings it back.
    async fn a_registry_that_is_away_is_told_later(database) {
        let world = World::with(database, Terms { registry_refuses: 5, ..Terms::default() }).await;
        let id = world.take_in(&[("E1", "10.00", A), ("E2", "20.00", B)]).await.id;
        world.release(id).await;
        world.complete(id).await;
        world.books_agree(id).await;
        let told = world.sandbox.outcomes_summary();
        assert_eq!((told.succ, told.rjct, told.sum_minor_succ), (2, 0, 3_000));
        assert_eq!(world.engine.replay_publications(&world.maker.scope, None).await.unwrap(), 0);
    }
}

on_both! {
    async fn an_intake_that_died_is_cleared_away(database) {
        let world = World::new(database).await;
        let id = world.take_in(&[("E1", "10.00", A)]).await.id;
        // As a crash in the middle leaves it.
        let mut tx = world.engine.store.begin().await.unwrap();
        tx.execute("UPDATE payroll SET state = 'receiving' WHERE number = $1", values![id.number()]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.engine.clear_abandoned().await.unwrap(), 0, "it may still be at it");
        world.pass_seconds(3_600);
        assert_eq!(world.engine.clear_abandoned().await.unwrap(), 1);
        let status = world.engine.payroll_status(&world.maker.scope, id).await.unwrap();
        assert!(status.payroll.refusal.unwrap().starts_with("intake_died"));
        world.verified().await;
        assert_eq!(world.take_in(&[("E1", "10.00", A)]).await.accepted.payments, 1);
    }
}

on_both! {
    async fn callbacks_only_make_us_ask(database) {
        use paymaster_connectors::contract::Callback;
        let world = World::with(database, Terms { settings: serde_json::json!({"inquire_every_millis": 3_600_000, "inquire_every_max_seconds": 7_200}), ..Terms::default() }).await;
        let id = world.take_in(&[("E1", "10.00", A)]).await.id;
        world.release(id).await;
        world.step().await;
        assert!(!world.step().await, "the next question is an hour away");
        let batch = world.engine.batches(&world.maker.scope, id, 0, 10).await.unwrap().remove(0);
        let body = serde_json::json!({"batchId": batch.provider_reference, "batchStatus": "completed", "completionDate": "2026-11-25T08:00:00Z"});
        let call = |body: String| Callback { headers: vec![], body: body.into() };
        for (secret, text) in [("wrong", body.to_string()), ("", body.to_string())] {
            assert_eq!(refused_code(world.engine.hear("mobile-op", secret, &call(text)).await).0, RefusedKind::NotFound);
        }
        assert_eq!(refused_code(world.engine.hear("mobile-op", "s3cret", &call("{".to_owned())).await).0, RefusedKind::Invalid);
        world.engine.hear("mobile-op", "s3cret", &call(r#"{"batchId": "nobody", "batchStatus": "completed"}"#.to_owned())).await.unwrap();
        assert!(!world.step().await, "a call about something else changes nothing");
        world.engine.hear("mobile-op", "s3cret", &call(body.to_string())).await.unwrap();
        world.complete(id).await;
        assert_eq!(world.states(id).await["E1"].0, State::Settled);
        world.books_agree(id).await;
    }
}

on_both! {
    /// A payroll to be paid on a later day is released today and leaves when that day begins.
    async fn a_later_day_is_waited_for(database) {
        let world = World::new(database).await;
        let mut request = world.request(csv(&[("E1", "10.00", A)]).as_bytes(), totals(&[("E1", "10.00", A)]));
        request.pay_on = Some("2026-11-27".parse().unwrap());
        let id = world.engine.take_in(&world.maker, &request).await.unwrap().id;
        world.release(id).await;
        world.step().await;
        world.pass_seconds(36 * 3_600);
        world.step().await;
        assert_eq!(world.credited(), (0, 0), "it is the evening of the 26th");
        world.pass_seconds(5 * 3_600);
        world.complete(id).await;
        assert_eq!(world.credited(), (1, 1_000));
    }
}
