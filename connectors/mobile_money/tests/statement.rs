//! Reading the statement: what a line proves, and when nothing on it proves an absence.

use super::*;
use crate::contract::Source;

/// One entry of the statement, `minute` minutes old at noon.
fn entry(name: &str, number: i64, amount: &str, minute: usize) -> Value {
    json!({
        "transactionReference": name, "transactionStatus": "completed", "amount": amount, "currency": "KES",
        "displayType": "disbursement", "descriptionText": format!("{} March", Reference::new(number, 9)),
        "creditParty": [{"key": "msisdn", "value": format!("+25470000000{number}")}],
        "debitParty": [{"key": "organisationid", "value": "ministry"}],
        "creationDate": format!("2026-11-23T11:{:02}:00.000Z", 59 - minute),
    })
}

/// The reversal of an entry.
fn reversal(name: &str, number: i64, amount: &str, minute: usize) -> Value {
    let mut entry = entry(name, number, amount, minute);
    (entry["creditParty"], entry["debitParty"]) = (entry["debitParty"].clone(), entry["creditParty"].clone());
    entry["displayType"] = json!("reversal");
    entry
}

/// A provider whose statement has these entries, in pages of at most two.
async fn statement(entries: Vec<Value>, counted: bool) -> Provider {
    provider_raw(move |call| {
        let number = |name: &str| -> usize {
            let text = call.line.split(name).nth(1).unwrap();
            text.split('&').next().unwrap().parse().unwrap()
        };
        let page: Vec<_> = entries.iter().skip(number("offset=")).take(number("limit=").min(2)).collect();
        let mut answer = axum::Json(&page).into_response();
        let date = axum::http::HeaderValue::from_static("2026-11-23T12:00:00.000Z");
        answer.headers_mut().insert("x-date", date);
        if counted {
            answer.headers_mut().insert("x-records-available-count", entries.len().into());
        }
        answer
    })
    .await
}

async fn read(provider: &Provider, rows: &[(i64, i64)]) -> (Result<(), Failure>, Heard) {
    inquire(&provider.open(json!({"ask": "statement", "statement_days": 30})), &batch(rows)).await
}

/// Outcome and sum of every report, in order.
fn said(heard: &Heard) -> Vec<(i64, String, Option<i64>)> {
    let reports = heard.reports().into_iter().map(|report| match report.about {
        About::Instruction(one) => (one.number(), word(&report.outcome), report.amount.map(|money| money.minor)),
        About::Batch => panic!("a statement knows no batches"),
    });
    reports.collect()
}

fn settled(number: i64, minor: i64) -> (i64, String, Option<i64>) {
    (number, "settled".into(), Some(minor))
}

fn absent(number: i64) -> (i64, String, Option<i64>) {
    (number, "absent".into(), None)
}

#[tokio::test]
async fn a_debit_settles_and_what_is_on_no_line_is_absent_after_the_last() {
    let entries = vec![entry("T3", 1, "1", 0), entry("T2", 8, "7", 1), entry("T1", 2, "2.50", 2)];
    for counted in [true, false] {
        let provider = statement(entries.clone(), counted).await;
        let (done, heard) = read(&provider, &[(1, 100), (2, 250), (3, 300)]).await;
        assert_eq!(done, Ok(()));
        assert_eq!(said(&heard), [settled(1, 100), settled(2, 250), absent(3)]);
        assert!(heard.0.iter().all(|(message, _)| message.source == Source::Statement));
        let report = heard.reports()[0].clone();
        assert_eq!(report.provider_reference.as_deref(), Some("T3"));
        assert_eq!(report.payee_account.as_deref(), Some("mobile:+254700000001@operator"));
        let lines = provider.lines();
        assert_eq!(lines[0], "GET /mm/accounts/organisationid/ministry/statemententries?limit=1&offset=0");
        assert!(lines[1].ends_with("?limit=1000&offset=0&fromDateTime=2026-10-24T12%3A00%3A00.000Z"), "{lines:?}");
        // Without a count only an empty page is the end.
        assert_eq!(lines.len(), if counted { 3 } else { 4 });
    }
}

#[tokio::test]
async fn reading_ends_when_everybody_was_seen() {
    let entries = vec![entry("T4", 1, "1", 0), entry("T3", 2, "2", 1), entry("T2", 8, "1", 2), entry("T1", 9, "1", 3)];
    let provider = statement(entries.clone(), true).await;
    let (done, heard) = read(&provider, &[(1, 100), (2, 200)]).await;
    assert_eq!((done, said(&heard), provider.lines().len()), (Ok(()), vec![settled(1, 100), settled(2, 200)], 2));
    // Where entries are not in order an older line may still be to come.
    let mut shuffled = entries;
    shuffled.swap(0, 1);
    let provider = statement(shuffled, true).await;
    let (done, _) = read(&provider, &[(1, 100), (2, 200)]).await;
    assert_eq!((done, provider.lines().len()), (Ok(()), 3));
}

#[tokio::test]
async fn what_came_back_is_returned_only_when_nothing_else_stands() {
    let cases = [
        (vec![reversal("T2", 1, "1", 0), entry("T1", 1, "1", 1)], vec![(1, "returned unknown".into(), None)]),
        // One of two debits was taken back: the payee has the money.
        (vec![reversal("T3", 1, "1", 0), entry("T2", 1, "1", 1), entry("T1", 1, "1", 2)], vec![settled(1, 100)]),
        // The debit is older than the window.
        (vec![reversal("T2", 1, "1", 0)], vec![(1, "returned unknown".into(), Some(100))]),
        // A part came back: another sum than ours is for a person.
        (vec![reversal("T2", 1, "0.4", 0), entry("T1", 1, "1", 1)], vec![settled(1, 60)]),
        // Paid twice, and never taken back.
        (vec![entry("T2", 1, "1", 0), entry("T1", 1, "1", 1)], vec![settled(1, 100), settled(1, 200)]),
        (vec![entry("T1", 1, "1.5", 0)], vec![settled(1, 150)]),
    ];
    for (entries, wanted) in cases {
        let shown = format!("{entries:?}");
        let (done, heard) = read(&statement(entries, true).await, &[(1, 100)]).await;
        assert_eq!((done, said(&heard)), (Ok(()), wanted), "{shown}");
    }
}

#[tokio::test]
async fn a_line_that_proves_nothing_is_no_absence_either() {
    let with = |field: &str, value: Value| {
        let mut one = entry("T1", 1, "1", 0);
        one[field] = value;
        vec![one]
    };
    for (entries, wanted) in [
        (with("transactionStatus", json!("marinating")), vec![]),
        (with("amount", json!("much")), vec![]),
        (with("transactionStatus", json!("pending")), vec![(1, "accepted".into(), None)]),
        (with("transactionStatus", json!("failed")), vec![absent(1)]),
        (with("transactionStatus", json!("reversed")), vec![(1, "returned unknown".into(), None)]),
        (with("descriptionText", json!(format!("for {}", Reference::new(1, 9)))), vec![absent(1)]),
    ] {
        let shown = format!("{entries:?}");
        let (done, heard) = read(&statement(entries, true).await, &[(1, 100)]).await;
        assert_eq!((done, said(&heard)), (Ok(()), wanted), "{shown}");
    }
    let mut own = entry("T1", 8, "1", 0);
    own["requestingOrganisationTransactionReference"] = json!(Reference::new(1, 9).as_str());
    let (_, heard) = read(&statement(vec![own], true).await, &[(1, 100)]).await;
    assert_eq!(heard.reports()[0].about, About::Instruction(Reference::new(1, 9)), "its own field comes first");
}

#[tokio::test]
async fn a_statement_that_is_not_read_to_its_end_proves_no_absence() {
    // Three are announced, and one is never shown.
    let short = provider_raw(|call| {
        let first = call.line.contains("offset=0");
        let page = if first { vec![entry("T1", 1, "1", 0)] } else { vec![] };
        let mut answer = axum::Json(page).into_response();
        answer.headers_mut().insert("x-records-available-count", 3_usize.into());
        answer
    })
    .await;
    let (done, heard) = read(&short, &[(1, 100), (2, 200)]).await;
    assert!(matches!(done, Err(Failure::Unavailable { reason, .. }) if reason.code == "statement_cut"));
    assert_eq!(said(&heard), [settled(1, 100)], "what was said stays said");
    let broken = [
        (503, json!({})),
        (404, error("identification", "identifierError")),
        (200, json!({"entries": []})),
        (500, error("internal", "genericError")),
    ];
    for (status, body) in broken {
        let answer = (status, body.clone());
        let (done, heard) = read(&provider(move |_| answer.clone()).await, &[(1, 100)]).await;
        assert!(matches!(done, Err(Failure::Unavailable { .. })), "{status} {body}: {done:?}");
        assert_eq!(said(&heard), []);
    }
}

#[tokio::test]
async fn entries_that_are_added_while_it_is_read_hide_nothing() {
    let asked = Arc::new(AtomicU32::new(0));
    let growing = provider_raw(move |call| {
        // Two new entries stand before the others from the third question on.
        let new = if asked.fetch_add(1, Ordering::SeqCst) > 1 { 2 } else { 0 };
        let mut all: Vec<Value> = (0..new).map(|n| entry(&format!("N{n}"), 8, "1", n)).collect();
        all.extend((1..=4).map(|n| entry(&format!("T{n}"), n, "1", 10 + n as usize)));
        let offset: usize = call.line.split("offset=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
        let page: Vec<_> = all.iter().skip(offset).take(2).collect();
        let mut answer = axum::Json(page).into_response();
        answer.headers_mut().insert("x-records-available-count", all.len().into());
        answer
    })
    .await;
    let (done, heard) = read(&growing, &[(1, 100), (2, 100), (3, 100), (4, 100), (5, 100)]).await;
    assert_eq!(done, Ok(()));
    let wanted: Vec<_> = (1..=4).map(|n| settled(n, 100)).chain([absent(5)]).collect();
    assert_eq!(said(&heard), wanted);
}
