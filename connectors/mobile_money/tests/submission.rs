//! Writing a batch: one attempt, and what every answer proves.

use super::*;

#[tokio::test]
async fn a_batch_is_one_call_with_its_key_and_is_accepted() {
    let state = json!({"serverCorrelationId": "s", "status": "pending", "notificationMethod": "polling", "objectReference": "B-1"});
    let provider = provider(move |_| (202, state.clone())).await;
    let connector = provider.open(json!({"client_id": "us", "api_key": "k", "callback_url": "https://us.example/cb"}));
    let (done, heard) = submit(&connector, &batch(&[(1, 100), (2, 250)]), 2).await;
    assert_eq!(done, Ok(()));
    assert_eq!(heard.of_batch(), [("accepted".into(), Some("B-1"))]);
    let calls = provider.calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls[0].line.as_str()), (1, "POST /mm/batchtransactions"));
    let header = |name: &str| calls[0].headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-correlationid"), Reference::new(900, 9).uuid().to_string());
    assert_eq!((header("x-client-id"), header("x-api-key")), ("us".into(), "k".into()));
    assert_eq!(
        (header("x-callback-url"), header("content-type")),
        ("https://us.example/cb".into(), "application/json".into())
    );
    let digest = ring::digest::digest(&ring::digest::SHA256, &calls[0].body);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(header("x-content-hash"), hex);
}

#[tokio::test]
async fn a_shut_gate_means_that_nothing_is_written() {
    let provider = provider(|_| (500, json!({}))).await;
    for mode in ["batch", "single"] {
        let (done, heard) = submit(&provider.open(json!({"mode": mode})), &batch(&[(1, 100), (2, 250)]), 0).await;
        assert!(matches!(done, Err(Failure::Unavailable { reason, .. }) if reason.code == "paused"));
        let expected: &[(i64, String)] = &[(1, "not sent paused".into()), (2, "not sent paused".into())];
        let expected = if mode == "single" { expected } else { &[] };
        assert_eq!(heard.outcomes(), expected.iter().cloned().collect());
    }
    assert_eq!(provider.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_reply_is_in_doubt_and_never_sent_again() {
    let cut: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 400\r\n\r\n{\"status\":";
    let html: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
    for words in [b"" as &[u8], cut, html] {
        let (url, requests) = mute(words).await;
        let connector = open("p", settings(json!({"base_url": url}))).unwrap();
        let (done, heard) = submit(&connector, &batch(&[(1, 100)]), WIDE).await;
        assert!(matches!(done, Err(Failure::InDoubt(_))), "{done:?}");
        assert_eq!((requests.load(Ordering::SeqCst), heard.reports().len()), (1, 0));
    }
}

#[tokio::test]
async fn a_refused_connection_has_carried_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mm", listener.local_addr().unwrap());
    drop(listener);
    let (done, heard) =
        submit(&open("p", settings(json!({"base_url": url}))).unwrap(), &batch(&[(1, 100)]), WIDE).await;
    assert!(matches!(done, Err(Failure::Unavailable { .. })), "{done:?}");
    assert!(heard.0.is_empty());
    let single = open("p", settings(json!({"base_url": url, "mode": "single"}))).unwrap();
    let (done, heard) = submit(&single, &batch(&[(1, 100), (2, 100)]), WIDE).await;
    assert!(matches!(done, Err(Failure::Unavailable { .. })), "{done:?}");
    let not_sent = |number| (number, "not sent not_connected".to_owned());
    assert_eq!(heard.outcomes(), [not_sent(1), not_sent(2)].into());
}

#[tokio::test]
async fn answers_to_a_batch_become_the_failures_they_prove() {
    let failed =
        |code: &str| json!({"serverCorrelationId": "s", "status": "failed", "error": error("businessRule", code)});
    let cases: Vec<(u16, Value, &str)> = vec![
        (500, error("internal", "genericError"), "in doubt"),
        (503, error("serviceUnavailable", "genericError"), "in doubt"),
        (400, error("businessRule", "duplicateRequest"), "in doubt"),
        (400, error("businessRule", "SomethingNew"), "in doubt"),
        (400, json!({"message": "Bad Request"}), "in doubt"),
        (404, json!("no such route"), "in doubt"),
        (302, json!({}), "in doubt"),
        (200, json!({"ok": true}), "in doubt"),
        (202, failed("genericError"), "in doubt"),
        (202, failed("FormatError"), "refused"),
        (400, error("validation", "FormatError"), "refused"),
        (404, error("identification", "IdentifierError"), "refused"),
        (400, error("businessRule", "InsufficientFunds"), "blocked"),
        (401, error("authorisation", "clientAuthorisationError"), "blocked"),
        (401, json!("who are you"), "blocked"),
        (400, error("businessRule", "RateLimitError"), "unavailable"),
        (429, json!({}), "unavailable"),
    ];
    for (status, body, expected) in cases {
        let (answer, shown) = (body.clone(), body.to_string());
        let provider = provider(move |_| (status, answer.clone())).await;
        let (done, heard) = submit(&provider.open(json!({})), &batch(&[(1, 100)]), WIDE).await;
        let found = match done.unwrap_err() {
            Failure::InDoubt(_) => "in doubt",
            Failure::Refused(_) => "refused",
            Failure::Blocked(_) => "blocked",
            Failure::Unavailable { .. } => "unavailable",
        };
        assert_eq!(found, expected, "{status} {shown}");
        // One attempt, kept as evidence, and no row moves by it.
        assert_eq!((provider.lines().len(), heard.reports().len()), (1, 0));
        assert_eq!(heard.0[0].0.bytes, shown.as_bytes());
    }
}
