//! The connector against the sandbox's operator: its four kinds, and what goes wrong there. Its ledger says what
//! was paid; the reports say what the engine would learn of it.

use super::*;
use crate::contract::Source;
use crate::sandbox::{self, Fault, Faults, Kind, Sandbox};

const BATCH: &str = "batch";
const SINGLE: &str = "single";

async fn operator(kind: Kind) -> Sandbox {
    let faults = Faults { payee_suffixes: true, ..Faults::none() };
    let plain = sandbox::Settings::new(Currency::parse("KES").unwrap());
    Sandbox::start(sandbox::Settings { kind, delay_millis: 1, faults, ..plain }).await.unwrap()
}

fn connector(sandbox: &Sandbox, mode: &str, changes: Value) -> MobileMoney {
    let mut all = json!({"base_url": sandbox.operator_url(), "mode": mode});
    for (key, value) in changes.as_object().unwrap() {
        all[key] = value.clone();
    }
    open("p", settings(all)).unwrap()
}

/// A plain payment and one of a payee that calls for a fault.
fn with(fault: Fault) -> Batch {
    let mut batch = batch(&[(1, 100), (2, 250)]);
    batch.instructions[1].payee_account = format!("mobile:+254700{}@operator", fault.suffix().unwrap());
    batch
}

async fn sent(sandbox: &Sandbox, connector: &MobileMoney, batch: &Batch) -> Result<(), Failure> {
    let (done, _) = submit(connector, batch, WIDE).await;
    sandbox.quiet().await;
    done
}

async fn asked(connector: &MobileMoney, batch: &Batch) -> BTreeSet<(i64, String)> {
    let (_, heard) = inquire(connector, batch).await;
    heard.outcomes()
}

fn outcomes<const N: usize>(all: [(i64, &str); N]) -> BTreeSet<(i64, String)> {
    all.map(|(number, word)| (number, word.to_owned())).into()
}

fn sum(sandbox: &Sandbox) -> (usize, i64, usize) {
    let summary = sandbox.ledger_summary();
    (summary.credits, summary.sum_minor, summary.repeated_references)
}

#[tokio::test]
async fn replies_that_tell_nothing_are_in_doubt_and_asking_finds_the_payment() {
    let faults = [Fault::LoseReply, Fault::TruncateReply, Fault::GarbleReply, Fault::ErrorAfter, Fault::DoubleRequest];
    for (fault, mode) in faults.iter().flat_map(|fault| [(*fault, BATCH), (*fault, SINGLE)]) {
        let sandbox = operator(Kind::Remembers).await;
        let (connector, batch) = (connector(&sandbox, mode, json!({})), with(fault));
        let (done, heard) = submit(&connector, &batch, WIDE).await;
        if mode == BATCH {
            assert!(matches!(done, Err(Failure::InDoubt(_))), "{fault:?} {done:?}");
        }
        assert!(!heard.outcomes().iter().any(|(number, _)| *number == 2), "{fault:?} {mode}");
        sandbox.quiet().await;
        let settled = outcomes([(1, "settled"), (2, "settled")]);
        assert_eq!(asked(&connector, &batch).await, settled, "{fault:?} {mode}");
        assert_eq!(sum(&sandbox), (2, 350, 0), "{fault:?} {mode}");
    }
}

#[tokio::test]
async fn a_lost_request_is_absent_and_a_late_one_is_found_when_it_has_arrived() {
    for mode in [BATCH, SINGLE] {
        let sandbox = operator(Kind::Remembers).await;
        let (connector, batch) = (connector(&sandbox, mode, json!({})), with(Fault::LateRequest));
        // The operator is not quiet: the call is still on its way.
        submit(&connector, &batch, WIDE).await.0.ok();
        let (_, heard) = inquire(&connector, &batch).await;
        let absent = heard.of_batch().iter().any(|(word, _)| word == "absent")
            || heard.outcomes().contains(&(2, "absent".into()));
        assert!(absent, "{mode}: {:?}", heard.reports());
        sandbox.heal();
        sandbox.quiet().await;
        assert_eq!(asked(&connector, &batch).await, outcomes([(1, "settled"), (2, "settled")]));
        assert_eq!(sum(&sandbox), (2, 350, 0));
    }
}

#[tokio::test]
async fn what_waits_stays_open_until_the_operator_is_healed() {
    for (fault, mode) in
        [(Fault::Silence, BATCH), (Fault::Partial, BATCH), (Fault::Silence, SINGLE), (Fault::Partial, SINGLE)]
    {
        let sandbox = operator(Kind::Remembers).await;
        let (connector, batch) = (connector(&sandbox, mode, json!({})), with(fault));
        assert_eq!(sent(&sandbox, &connector, &batch).await, Ok(()));
        let open = asked(&connector, &batch).await;
        let ended = open.iter().any(|(number, word)| *number == 2 && word != "accepted");
        assert!(!ended, "{fault:?} {mode} {open:?}");
        sandbox.heal();
        sandbox.quiet().await;
        assert_eq!(asked(&connector, &batch).await, outcomes([(1, "settled"), (2, "settled")]), "{fault:?} {mode}");
        assert_eq!(sum(&sandbox), (2, 350, 0));
    }
}

#[tokio::test]
async fn a_status_that_flaps_ends_nothing_wrongly() {
    for (fault, mode) in [
        (Fault::FlapFailed, BATCH),
        (Fault::FlapFailed, SINGLE),
        (Fault::FlapPending, BATCH),
        (Fault::FlapPending, SINGLE),
    ] {
        let sandbox = operator(Kind::Remembers).await;
        let (connector, batch) = (connector(&sandbox, mode, json!({})), with(fault));
        sent(&sandbox, &connector, &batch).await.unwrap();
        let mut words = BTreeSet::new();
        for _ in 0..3 {
            words.extend(asked(&connector, &batch).await.into_iter().filter(|(number, _)| *number == 2));
        }
        let mut wanted = outcomes([(2, "settled")]);
        if (fault, mode) == (Fault::FlapPending, SINGLE) {
            wanted.insert((2, "accepted".into()));
        }
        assert_eq!((words, sum(&sandbox)), (wanted, (2, 350, 0)), "{fault:?} {mode}");
    }
}

#[tokio::test]
async fn a_failure_that_is_asked_about_again_is_a_rejection() {
    let sandbox = operator(Kind::Remembers).await;
    let (connector, batch) = (connector(&sandbox, SINGLE, json!({})), with(Fault::Reject));
    sent(&sandbox, &connector, &batch).await.unwrap();
    assert_eq!(asked(&connector, &batch).await, outcomes([(1, "settled"), (2, "rejected not_executed")]));
    assert_eq!(sum(&sandbox), (1, 100, 0));
}

#[tokio::test]
async fn another_sum_is_told_as_it_was_shown() {
    for mode in [BATCH, SINGLE] {
        let sandbox = operator(Kind::Remembers).await;
        let (connector, batch) = (connector(&sandbox, mode, json!({})), with(Fault::WrongAmount));
        sent(&sandbox, &connector, &batch).await.unwrap();
        let (_, heard) = inquire(&connector, &batch).await;
        let wrong = heard.reports().into_iter().find(|report| report.about == About::Instruction(Reference::new(2, 9)));
        assert_eq!(wrong.and_then(|report| report.amount).map(|money| money.minor), Some(251), "{mode}");
        assert_eq!(sum(&sandbox), (2, 350, 0));
    }
}

#[tokio::test]
async fn what_came_back_is_returned_wherever_it_is_asked() {
    for (kind, mode, changes) in [
        (Kind::Remembers, BATCH, json!({})),
        (Kind::Remembers, SINGLE, json!({})),
        (Kind::StatementOnly, BATCH, json!({"ask": "statement"})),
        (Kind::StatementOnly, SINGLE, json!({"ask": "statement"})),
    ] {
        let sandbox = operator(kind).await;
        let (connector, batch) = (connector(&sandbox, mode, changes), with(Fault::Return));
        sent(&sandbox, &connector, &batch).await.unwrap();
        assert_eq!(asked(&connector, &batch).await, outcomes([(1, "settled"), (2, "returned unknown")]), "{kind:?}");
        let summary = sandbox.ledger_summary();
        assert_eq!((summary.credits, summary.returns, summary.sum_minor), (2, 1, 100));
    }
}

#[tokio::test]
async fn two_executions_are_told_as_twice_the_sum_and_one_that_stands_is_no_return() {
    for changes in [json!({}), json!({"ask": "statement"})] {
        let sandbox = operator(Kind::NoDedupe).await;
        let (connector, batch) = (connector(&sandbox, BATCH, changes), with(Fault::DoubleRequest));
        sent(&sandbox, &connector, &batch).await.unwrap();
        let (done, heard) = inquire(&connector, &batch).await;
        assert_eq!(done, Ok(()));
        let sums: BTreeSet<_> =
            heard.reports().iter().filter_map(|report| report.amount.map(|sum| sum.minor)).collect();
        assert!(sums.contains(&200) && sums.contains(&500), "{sums:?}");
        assert_eq!(sum(&sandbox), (4, 700, 2));
        // The operator takes one of each back.
        let mut seen = std::collections::HashSet::new();
        let second: Vec<u32> = sandbox
            .ledger()
            .iter()
            .enumerate()
            .filter_map(|(at, credit)| (!seen.insert(credit.reference.clone())).then_some(at as u32))
            .collect();
        sandbox.give_back_at(&second).await.unwrap();
        assert_eq!(asked(&connector, &batch).await, outcomes([(1, "settled"), (2, "settled")]));
        assert_eq!(sum(&sandbox), (4, 350, 0));
    }
}

#[tokio::test]
async fn a_statement_is_all_that_is_needed_to_pay() {
    for mode in [BATCH, SINGLE] {
        let sandbox = operator(Kind::StatementOnly).await;
        let by_status = connector(&sandbox, mode, json!({}));
        let by_statement = connector(&sandbox, mode, json!({"ask": "statement", "page_items": 1}));
        let mut batch = with(Fault::Reject);
        batch.instructions.push(instruction(3, 300));
        assert_eq!(sent(&sandbox, &by_statement, &batch).await, Ok(()));
        let (done, heard) = inquire(&by_status, &batch).await;
        assert!(matches!(done, Err(Failure::Unavailable { .. })) && heard.reports().is_empty(), "{mode} {done:?}");
        let (done, heard) = inquire(&by_statement, &batch).await;
        assert_eq!((done, heard.outcomes()), (Ok(()), outcomes([(1, "settled"), (2, "absent"), (3, "settled")])));
        assert!(heard.0.iter().all(|(message, _)| message.source == Source::Statement));
        assert_eq!(sum(&sandbox), (2, 400, 0));
    }
}

#[tokio::test]
async fn a_second_copy_pays_what_was_rejected_only_where_that_is_forgotten() {
    for (kind, mode, paid) in [
        (Kind::Remembers, BATCH, 100),
        (Kind::Remembers, SINGLE, 100),
        (Kind::ForgetsRejections, BATCH, 350),
        (Kind::ForgetsRejections, SINGLE, 350),
    ] {
        let sandbox = operator(kind).await;
        let (connector, batch) = (connector(&sandbox, mode, json!({})), with(Fault::RejectOnce));
        for _ in 0..2 {
            sent(&sandbox, &connector, &batch).await.ok();
        }
        let second = if paid == 350 { "settled" } else { "rejected" };
        let words = asked(&connector, &batch).await;
        assert!(
            words.iter().any(|(number, word)| *number == 2 && word.starts_with(second)),
            "{kind:?} {mode} {words:?}"
        );
        assert_eq!((sum(&sandbox).1, sum(&sandbox).2), (paid, 0), "{kind:?} {mode}");
    }
}
