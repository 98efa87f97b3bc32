//! Money that arrives: once each, exactly, also under two copies, in full batches and in any currency.

use paymaster::domain::disbursement::State;
use paymaster_connectors::contract::{Dedupe, Failure, Outcome};

use super::connector::{ITEMS_MAX, Payee, Setup, Subject};
use super::run::{Run, good};

/// Minor units that a float could not hold.
const BEYOND_FLOATS: i64 = (1 << 53) + 1;

pub async fn a_batch_settles_once_each_and_exactly(subject: &Subject) {
    let mut run = Run::open(subject, Setup::plain(), &good(3)).await;
    let told = run.submit().await;
    assert_eq!(told.done, Ok(()));
    run.ask_to_the_end().await;
    run.all_are(State::Settled);
    run.credited_once(|_| true);
}

pub async fn the_same_bytes_twice_pay_once(subject: &Subject) {
    let mut run = Run::open(subject, Setup::plain(), &good(3)).await;
    if run.rig.connector.profile().dedupe == Dedupe::None {
        // Nothing is ever sent a second time to such a provider.
        return;
    }
    run.submit().await.done.unwrap();
    run.rig.counterpart.quiet().await;
    let again = run.submit().await;
    assert!(matches!(again.done, Ok(()) | Err(Failure::InDoubt(_))), "{:?}", again.done);
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Rejected(_) | Outcome::NotSent(_) | Outcome::Absent);
    assert!(!again.reports().any(|report| refused(&report.outcome)), "{:?}", again.spoken);
    run.ask_to_the_end().await;
    run.all_are(State::Settled);
    run.credited_once(|_| true);
}

pub async fn a_full_batch_loses_nobody(subject: &Subject) {
    let mut run = Run::open(subject, Setup::plain(), &good(ITEMS_MAX as usize)).await;
    run.submit().await.done.unwrap();
    assert_eq!(run.door.passes(), run.rig.counterpart.writes(), "each write passes the gate once");
    assert_eq!(run.door.items(), u64::from(ITEMS_MAX));
    run.ask_to_the_end().await;
    run.all_are(State::Settled);
    run.credited_once(|_| true);
    assert_eq!(run.door.passes(), run.rig.counterpart.writes(), "asking writes nothing");
}

pub async fn a_batch_beyond_the_profile_is_not_encoded(subject: &Subject) {
    let run = Run::open(subject, Setup::plain(), &good(3)).await;
    let small = (subject.open)(Setup { items_max: 2, ..Setup::plain() }).await;
    assert_eq!(small.connector.profile().items_max, 2);
    let refused = small.connector.encode(&run.outgoing(|_| true));
    assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
    assert_eq!(run.rig.counterpart.writes() + small.counterpart.writes(), 0, "encoding is pure");
}

pub async fn amounts_arrive_exactly_in_any_currency(subject: &Subject) {
    for code in ["JPY", "KES", "KWD"] {
        let sums = [1, 10, 1_000, 1_005, 123_456_789, BEYOND_FLOATS];
        let rows = sums.map(|minor| (Payee::Good, minor));
        let mut run = Run::open(subject, Setup::of(code), &rows).await;
        run.submit().await.done.unwrap();
        run.ask_to_the_end().await;
        run.all_are(State::Settled);
        run.credited_once(|_| true);
    }
}
