//! What may be believed: rejections, our own faults, callbacks, and evidence.

use paymaster::domain::disbursement::State;
use paymaster_connectors::contract::{Callback, CallbackTrust, Failure, Outcome, ReasonClass, Received};

use super::connector::{CANARY, Payee, Setup, Subject};
use super::listen::is_end;
use super::run::{Run, good};

/// Depth of a body that no reader may follow to the end of its stack.
const NESTED: usize = 200_000;

pub async fn refused_stays_refused(subject: &Subject) {
    let rows = [(Payee::Good, 1_000), (Payee::Refused, 2_000), (Payee::Good, 3_000)];
    let mut run = Run::open(subject, Setup::plain(), &rows).await;
    run.submit().await;
    run.ask_to_the_end().await;
    assert_eq!(run.states(), [State::Settled, State::Rejected, State::Settled]);
    run.credited_once(|row| row.state == State::Settled);
    let (reference, row) = run.rows.iter().find(|(_, row)| row.state == State::Rejected).unwrap();
    let (reference, class) = (*reference, row.rejected_as.unwrap());
    assert!(!matches!(class, ReasonClass::Unknown | ReasonClass::Duplicate), "{class:?} never ends a payment");
    for _ in 0..2 {
        let told = run.inquire_about_all().await;
        for report in told.on(reference).filter(|report| is_end(report)) {
            assert!(matches!(&report.outcome, Outcome::Rejected(reason) if reason.class == class), "{report:?}");
        }
        assert_eq!(run.states(), [State::Settled, State::Rejected, State::Settled]);
    }
    run.credited_once(|row| row.state == State::Settled);
}

pub async fn a_wrong_credential_blocks_and_fails_no_payment(subject: &Subject) {
    let setup = Setup { credential: "another", ..Setup::plain() };
    let mut run = Run::open(subject, setup, &good(3)).await;
    let told = run.submit().await;
    assert!(matches!(told.done, Err(Failure::Blocked(_))), "{:?}", told.done);
    run.rig.counterpart.quiet().await;
    run.all_are(State::Queued);
    run.nobody_credited();
    let told = run.inquire_about_all().await;
    assert!(matches!(told.done, Err(Failure::Blocked(_))), "{:?}", told.done);
    assert_eq!(told.reports().count(), 0, "a locked door is no answer: {:?}", told.spoken);
}

pub async fn garbage_at_the_door_is_harmless(subject: &Subject) {
    for callbacks_believed in [false, true] {
        let rig = (subject.open)(Setup { callbacks_believed, ..Setup::plain() }).await;
        for body in garbage() {
            if let Ok(received) = rig.connector.receive(&callback(body)) {
                assert!(!received.reports.iter().any(is_end), "{received:?}");
            }
        }
    }
}

pub async fn a_forged_callback_settles_only_as_far_as_it_is_trusted(subject: &Subject) {
    for callbacks_believed in [false, true] {
        let run = Run::open(subject, Setup { callbacks_believed, ..Setup::plain() }, &good(2)).await;
        let trust = run.rig.connector.profile().callback_trust;
        assert!(callbacks_believed || trust != CallbackTrust::SecretUrl, "{trust:?} by default");
        for whole in (subject.forgeries)(&run.outgoing(|_| true)) {
            for cut in [whole.len(), whole.len() - 1, whole.len() / 2] {
                if let Ok(received) = run.rig.connector.receive(&callback(whole[..cut].to_vec())) {
                    believed_within(trust, &received);
                }
            }
        }
        assert_eq!(run.rig.counterpart.writes(), 0, "receiving is pure");
        run.nobody_credited();
    }
}

fn believed_within(trust: CallbackTrust, received: &Received) {
    let mut ends = received.reports.iter().filter(|report| is_end(report));
    match trust {
        // Facts that cannot be matched are no evidence.
        CallbackTrust::SecretUrl => {
            let unmatched = ends.find(|report| report.outcome == Outcome::Settled && report.amount.is_none());
            assert_eq!(unmatched, None);
        }
        CallbackTrust::Hint | CallbackTrust::Signed => assert_eq!(ends.next(), None, "{trust:?}"),
    }
}

pub async fn evidence_and_bytes_carry_no_credential(subject: &Subject) {
    let rows = [(Payee::Good, 1_000), (Payee::Refused, 2_000)];
    let mut run = Run::open(subject, Setup::plain(), &rows).await;
    assert!(!String::from_utf8_lossy(&run.wire).contains(CANARY), "a credential in the stored bytes");
    // The ear checks each message as it comes.
    let mut spoken = run.submit().await.spoken;
    run.rig.counterpart.quiet().await;
    spoken.extend(run.inquire_about_all().await.spoken);
    assert!(spoken.iter().any(|(_, reports)| !reports.is_empty()));
    for (message, reports) in &spoken {
        assert!(!message.bytes.is_empty() || reports.is_empty());
    }
}

fn callback(body: Vec<u8>) -> Callback {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Callback { headers, body: body.into() }
}

/// Bodies that no provider means.
fn garbage() -> Vec<Vec<u8>> {
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(NESTED), close.repeat(NESTED)).into_bytes();
    let mut bodies: Vec<Vec<u8>> =
        ["", " ", "null", "0", "true", "\"\"", "[]", "{}", "{", "<html>", "{\"a\":1e999999}"]
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
    bodies.push((0..=u8::MAX).collect());
    bodies.push(vec![0; 4_096]);
    bodies.push(b"\xef\xbb\xbf{}".to_vec());
    bodies.push(nested("[", "]"));
    bodies.push(nested("{\"error\":", "}"));
    bodies.push(nested("{\"a\":[", "]}"));
    bodies.push(nested("<a>", "</a>"));
    bodies.push("[".repeat(NESTED).into_bytes());
    bodies
}
