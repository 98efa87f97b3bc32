//! Doubt: lost requests and replies, words nobody knows, a shut gate, and a counterpart that is not there.

use paymaster::domain::disbursement::State;
use paymaster_connectors::contract::Outcome;
use tokio::net::TcpSocket;

use super::connector::{Setup, Subject, Trouble};
use super::run::{Run, good};

/// Rows of batches whose every reply is lost: a connector gives up somewhere among them, and must not have said
/// too little when it gives up at the very last.
const LOST_ROWS: std::ops::RangeInclusive<usize> = 1..=40;

pub async fn a_lost_reply_is_a_doubt_that_asking_ends(subject: &Subject) {
    let mut run = Run::open(subject, Setup::plain(), &good(3)).await;
    run.rig.counterpart.suffer(Trouble::LostReply);
    let told = run.submit().await;
    assert!(told.ends().is_empty(), "{:?}", told.spoken);
    run.all_are(State::InDoubt);
    run.rig.counterpart.suffer(Trouble::None);
    run.ask_to_the_end().await;
    run.all_are(State::Settled);
    run.credited_once(|_| true);
}

/// However many replies are lost, and whenever a connector gives up: nobody it wrote for may be sent anew.
pub async fn many_lost_replies_are_as_many_doubts(subject: &Subject) {
    for rows in LOST_ROWS {
        let mut run = Run::open(subject, Setup::plain(), &good(rows)).await;
        run.rig.counterpart.suffer(Trouble::LostReply);
        run.submit().await;
        run.rig.counterpart.quiet().await;
        assert!(run.states().contains(&State::InDoubt), "{rows} rows: {:?}", run.states());
        run.credited_once(|row| row.state == State::InDoubt);
        run.rig.counterpart.suffer(Trouble::None);
        run.submit_waiting().await;
        run.ask_to_the_end().await;
        run.all_are(State::Settled);
        run.credited_once(|_| true);
    }
}

pub async fn a_lost_request_is_absent_and_the_same_bytes_pay_once(subject: &Subject) {
    let mut run = Run::open(subject, Setup::plain(), &good(3)).await;
    run.rig.counterpart.suffer(Trouble::LostRequest);
    run.submit().await;
    run.rig.counterpart.quiet().await;
    run.all_are(State::InDoubt);
    run.nobody_credited();
    let told = run.inquire().await;
    for reference in run.rows.keys() {
        let absent = told.on(*reference).any(|report| report.outcome == Outcome::Absent);
        assert!(absent, "{reference}: {:?}", told.spoken);
    }
    // Before the fence it proves nothing.
    run.all_are(State::InDoubt);
    run.submit().await.done.unwrap();
    run.ask_to_the_end().await;
    run.all_are(State::Settled);
    run.credited_once(|_| true);
}

pub async fn a_word_nobody_knows_stays_pending(subject: &Subject) {
    let mut run = Run::open(subject, Setup::plain(), &good(3)).await;
    run.rig.counterpart.suffer(Trouble::ForeignStatus);
    let told = run.submit().await;
    assert!(told.ends().is_empty(), "{:?}", told.spoken);
    run.rig.counterpart.quiet().await;
    for _ in 0..2 {
        let told = run.inquire().await;
        let moved = told.reports().any(|report| report.outcome != Outcome::Accepted);
        assert!(!moved, "{:?}", told.spoken);
        assert!(run.states().iter().all(|state| state.is_in_flight()), "{:?}", run.states());
    }
    run.rig.counterpart.suffer(Trouble::None);
    run.ask_to_the_end().await;
    run.all_are(State::Settled);
    run.credited_once(|_| true);
}

pub async fn a_shut_gate_writes_nothing(subject: &Subject) {
    let mut run = Run::open(subject, Setup::plain(), &good(3)).await;
    run.door.leave(0);
    let told = run.submit().await;
    told.is_unavailable();
    assert_eq!(run.rig.counterpart.writes(), 0);
    run.all_are(State::Queued);
    if told.speaks_of_rows() {
        assert!(run.rows.keys().all(|reference| told.not_sent(*reference)), "{:?}", told.spoken);
    }
    run.door.leave(u32::MAX);
    run.submit().await.done.unwrap();
    run.ask_to_the_end().await;
    run.all_are(State::Settled);
    run.credited_once(|_| true);
}

pub async fn a_gate_that_shuts_midway_divides_the_sent_from_the_waiting(subject: &Subject) {
    let mut run = Run::open(subject, Setup::plain(), &good(40)).await;
    run.door.leave(15);
    let told = run.submit().await;
    told.is_unavailable();
    assert!(run.rig.counterpart.writes() <= run.door.passes());
    run.rig.counterpart.quiet().await;
    run.credited_once(|row| row.state != State::Queued);
    for (reference, row) in &run.rows {
        let waits = row.state == State::Queued;
        assert!(!told.speaks_of_rows() || waits == told.not_sent(*reference), "{reference} {}", row.state);
    }
    run.door.leave(u32::MAX);
    run.submit_waiting().await;
    run.ask_to_the_end().await;
    run.all_are(State::Settled);
    run.credited_once(|_| true);
}

pub async fn nobody_there_is_unavailable(subject: &Subject) {
    // Bound and never listening: the port stays ours, and refuses.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let setup = Setup { address: Some(socket.local_addr().unwrap()), ..Setup::plain() };
    let mut run = Run::open(subject, setup, &good(3)).await;
    let told = run.submit().await;
    told.is_unavailable();
    run.all_are(State::Queued);
    let told = run.inquire_about_all().await;
    told.is_unavailable();
    assert_eq!(told.reports().count(), 0, "{:?}", told.spoken);
    run.nobody_credited();
}
