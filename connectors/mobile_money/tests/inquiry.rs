//! Questions about a batch: pages, counts, absence.

use super::*;

/// A provider with a batch `B-1` of `rows` rows, the last rejected, in pages of at most two.
async fn paged(rows: usize, announced: u64, headers: bool) -> Provider {
    provider_raw(move |call| {
        let paid: Vec<Value> = (1..rows).map(completion).collect();
        let unpaid = vec![json!({
            "requestingOrganisationTransactionReference": Reference::new(rows as i64, 9).as_str(),
            "rejectionReason": "MaxBalanceExceeded",
        })];
        let path = call.line.split('?').next().unwrap();
        let items = match path.rsplit('/').next().unwrap() {
            "completions" => paid,
            "rejections" => unpaid,
            _ => {
                let status = json!({"batchId": "B-1", "batchStatus": "completed", "processingFlag": false,
                    "completedCount": announced, "rejectionCount": "1"});
                return axum::Json(status).into_response();
            }
        };
        let offset: usize = call.line.split("offset=").nth(1).unwrap().parse().unwrap();
        let page: Vec<_> = items.iter().skip(offset).take(2).collect();
        let mut answer = axum::Json(&page).into_response();
        if headers {
            let count = |count: usize| axum::http::HeaderValue::from(count);
            answer.headers_mut().insert("x-records-available-count", count(items.len()));
            answer.headers_mut().insert("x-records-returned-count", count(page.len()));
        }
        answer
    })
    .await
}

fn completion(number: usize) -> Value {
    json!({
        "transactionReference": format!("MM-{number}"),
        "requestingOrganisationTransactionReference": Reference::new(number as i64, 9).as_str(),
        "creditParty": [{"key": "msisdn", "value": format!("+25470000000{number}")}],
    })
}

#[tokio::test]
async fn every_page_is_read_even_where_the_provider_makes_them_short() {
    for headers in [true, false] {
        let provider = paged(6, 5, headers).await;
        let rows: Vec<_> = (1..=6).map(|number| (number, 100 * number)).collect();
        let (done, heard) = inquire(&provider.open(json!({})), &named(&rows)).await;
        assert_eq!(done, Ok(()));
        let mut expected: BTreeSet<_> = (1..=5).map(|number| (number, "settled".to_owned())).collect();
        expected.insert((6, "rejected limit".into()));
        assert_eq!(heard.outcomes(), expected);
        let settled = heard.reports().into_iter().find(|report| report.outcome == Outcome::Settled).unwrap();
        assert_eq!(settled.payee_account.as_deref(), Some("mobile:+254700000001@operator"));
        assert_eq!(settled.provider_reference.as_deref(), Some("MM-1"));
        // The status, three pages and one page, each kept with where it came from.
        assert_eq!(heard.0.len(), 5);
        assert_eq!(heard.0[2].0.origin, "GET /batchtransactions/B-1/completions?limit=1000&offset=2");
    }
}

#[tokio::test]
async fn counts_that_differ_are_asked_again_and_what_was_said_stays_said() {
    let provider = paged(4, 7, false).await;
    let (done, heard) = inquire(&provider.open(json!({})), &named(&[(1, 100), (2, 100), (3, 100), (4, 100)])).await;
    assert!(matches!(done, Err(Failure::Unavailable { reason, .. }) if reason.code == "counts_differ"));
    assert_eq!(heard.outcomes(), (1..=3).map(|number| (number, "settled".to_owned())).collect());
}

#[tokio::test]
async fn a_page_that_shifts_is_noticed_though_the_number_is_right() {
    let provider = provider(|call| match call.line.split("offset=").nth(1) {
        Some("0") => (200, json!([completion(1), completion(2)])),
        // The first item moved down while we read.
        Some(_) => (200, json!([completion(2)])),
        None => (200, json!({"batchId": "B-1", "batchStatus": "completed", "completedCount": 3, "rejectionCount": 0})),
    })
    .await;
    let (done, _) = inquire(&provider.open(json!({"page_items": 2})), &named(&[(1, 100), (2, 100), (3, 100)])).await;
    assert!(matches!(done, Err(Failure::Unavailable { reason, .. }) if reason.code == "counts_differ"));
}

#[tokio::test]
async fn a_batch_without_a_name_is_found_by_its_key() {
    let uuid = Reference::new(900, 9).uuid();
    let routes = |state: Value| {
        move |call: &Call| match call.line.as_str() {
            line if line == format!("GET /mm/responses/{uuid}") => (200, json!({"link": "/requeststates/S-1"})),
            "GET /mm/requeststates/S-1" => (200, state.clone()),
            "GET /mm/batchtransactions/B-1" => (200, json!({"batchId": "B-1", "batchStatus": "created"})),
            other => panic!("{other}"),
        }
    };
    let cases = [
        (json!({"status": "pending"}), vec![("accepted".to_owned(), None)]),
        (
            json!({"status": "failed", "error": error("validation", "formatError")}),
            vec![("rejected format".into(), None)],
        ),
        (json!({"status": "completed", "objectReference": "B-1"}), vec![("accepted".into(), Some("B-1")); 2]),
    ];
    for (state, expected) in cases {
        let provider = provider(routes(state)).await;
        let (done, heard) = inquire(&provider.open(json!({})), &batch(&[(1, 100)])).await;
        assert_eq!((done, heard.of_batch()), (Ok(()), expected));
    }
}

#[tokio::test]
async fn only_the_protocols_own_words_say_that_a_batch_is_absent() {
    let absent = provider(|_| (404, error("identification", "identifierError"))).await;
    for batch in [batch(&[(1, 100)]), named(&[(1, 100)])] {
        let (done, heard) = inquire(&absent.open(json!({})), &batch).await;
        assert_eq!((done, heard.of_batch()), (Ok(()), vec![("absent".into(), None)]));
    }
    let gateway = provider(|_| (404, json!({"status": 404, "error": "Not Found", "path": "/responses"}))).await;
    for mode in ["batch", "single"] {
        let (done, heard) = inquire(&gateway.open(json!({"mode": mode})), &batch(&[(1, 100)])).await;
        assert!(matches!(done, Err(Failure::Unavailable { .. })), "{done:?}");
        assert_eq!((heard.0.len(), heard.reports().len()), (1, 0));
    }
}
