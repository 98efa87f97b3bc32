//! Single mode: writes, questions, and what stays silent.

use super::*;

fn number_of(call: &Call) -> i64 {
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let name = body["requestingOrganisationTransactionReference"].as_str().unwrap();
    Reference::parse(name).unwrap().number()
}

#[tokio::test]
async fn single_calls_report_each_payment_at_the_position_of_its_line() {
    let provider = provider(|call| match number_of(call) {
        1 => (
            201,
            json!({"transactionStatus": "completed", "transactionReference": "T1", "amount": "1", "currency": "KES"}),
        ),
        2 => (202, json!({"serverCorrelationId": "s", "status": "pending", "objectReference": "T2"})),
        3 => (404, error("identification", "IdentifierError")),
        4 => (500, error("internal", "genericError")),
        5 => (201, json!({"transactionStatus": "marinating", "transactionReference": "T5"})),
        _ => (400, error("businessRule", "duplicateRequest")),
    })
    .await;
    let rows: Vec<_> = (1..=6).map(|number| (number, 100)).collect();
    let connector = provider.open(json!({"mode": "single", "concurrency": 2}));
    let (done, heard) = submit(&connector, &batch(&rows), WIDE).await;
    assert_eq!(done, Ok(()));
    let expected = [(1, "settled"), (2, "accepted"), (3, "rejected fix_data")];
    assert_eq!(heard.outcomes(), expected.map(|(number, word)| (number, word.to_owned())).into());
    assert_eq!(provider.lines(), vec!["POST /mm/transactions/type/disbursement"; 6]);
    for (message, reports) in &heard.0 {
        let text = String::from_utf8(message.bytes.to_vec()).unwrap();
        for (report, line) in reports.iter().zip(text.lines()) {
            let line: Value = serde_json::from_str(line).unwrap();
            let reference = Reference::parse(line["reference"].as_str().unwrap()).unwrap();
            assert_eq!(report.about, About::Instruction(reference));
            assert!(line["http_status"].is_u64() && line["body"].is_string());
        }
    }
}

#[tokio::test]
async fn our_own_fault_stops_single_calls_and_says_which_were_not_sent() {
    let provider = provider(|call| match number_of(call) {
        2 => (400, error("businessRule", "InsufficientFunds")),
        _ => (202, json!({"serverCorrelationId": "s", "status": "pending"})),
    })
    .await;
    let connector = provider.open(json!({"mode": "single", "concurrency": 1}));
    let (done, heard) = submit(&connector, &batch(&[(1, 100), (2, 100), (3, 100), (4, 100)]), WIDE).await;
    assert!(matches!(done, Err(Failure::Blocked(reason)) if reason.class == ReasonClass::Funding));
    let not_sent = |number| (number, "not sent insufficient_funds".to_owned());
    assert_eq!(heard.outcomes(), [(1, "accepted".into()), not_sent(2), not_sent(3), not_sent(4)].into());
    assert_eq!(provider.lines().len(), 2);
}

#[tokio::test]
async fn lost_answers_to_single_calls_stay_silent_and_stop_in_time() {
    let (url, requests) = mute(b"").await;
    let connector = open("p", settings(json!({"base_url": url, "mode": "single", "concurrency": 1}))).unwrap();
    let mut long = batch(&[]);
    long.instructions = (1..=30)
        .map(|number| Instruction { payee_account: "mobile:254700000001@o".into(), ..instruction(number, 100) })
        .collect();
    let (done, heard) = submit(&connector, &long, WIDE).await;
    assert!(matches!(done, Err(Failure::InDoubt(_))), "{done:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 20);
    assert_eq!(
        heard.outcomes().into_iter().map(|(number, _)| number).collect::<Vec<_>>(),
        (21..=30).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn bytes_of_another_batch_are_not_sent_and_closed_rows_neither() {
    let provider = provider(|_| (202, json!({"status": "pending"}))).await;
    let connector = provider.open(json!({"mode": "single"}));
    let wire = connector.encode(&batch(&[(1, 100), (2, 100)])).unwrap();
    let mut heard = Heard::default();
    let done = connector.submit(&batch(&[(3, 100)]), &wire, &doorkeeper(WIDE), &mut heard).await;
    assert!(matches!(done, Err(Failure::Blocked(_))), "{done:?}");
    assert_eq!(connector.submit(&batch(&[(2, 100)]), &wire, &doorkeeper(WIDE), &mut heard).await, Ok(()));
    assert_eq!(heard.outcomes(), [(2, "accepted".to_owned())].into());
    assert_eq!(provider.lines().len(), 1);
}

#[tokio::test]
async fn single_payments_are_followed_to_what_became_of_them() {
    let key = |number| format!("GET /mm/responses/{}", Reference::new(number, 9).uuid());
    let provider = provider(move |call| match call.line.as_str() {
        "GET /mm/transactions/T1" | "GET /mm/transactions/T2" => (
            200,
            json!({
            "transactionStatus": "completed", "transactionReference": "T", "amount": "1.00", "currency": "KES"}),
        ),
        "GET /mm/requeststates/S3" => (200, json!({"status": "completed", "objectReference": "T2"})),
        "GET /mm/requeststates/S4" => (200, json!({"status": "pending"})),
        line if line == key(2) => (200, json!({"link": "https://elsewhere.example/mm/transactions/T2"})),
        line if line == key(3) => (200, json!({"link": "/requeststates/S3"})),
        line if line == key(4) => (200, json!({"link": "/requeststates/S4"})),
        line if line == key(5) => (404, error("identification", "identifierError")),
        line if line == key(6) => (500, json!({})),
        line if line == key(7) => (200, json!({"link": "/transactions/gone"})),
        "GET /mm/transactions/gone" => (404, error("identification", "identifierError")),
        other => panic!("{other}"),
    })
    .await;
    let rows: Vec<_> = (1..=7).map(|number| (number, 100)).collect();
    let mut batch = batch(&rows);
    batch.instructions[0].provider_reference = Some("T1".into());
    let (done, heard) = inquire(&provider.open(json!({"mode": "single"})), &batch).await;
    assert!(matches!(done, Err(Failure::Unavailable { .. })), "{done:?}");
    let expected = [(1, "settled"), (2, "settled"), (3, "settled"), (4, "accepted"), (5, "absent")];
    assert_eq!(heard.outcomes(), expected.map(|(number, word)| (number, word.to_owned())).into());
}
