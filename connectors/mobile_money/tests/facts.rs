//! Balance, callbacks and the profile.

use super::*;

#[tokio::test]
async fn the_balance_is_what_may_be_spent() {
    let provider =
        provider(|_| (200, json!({"currentBalance": "90.00", "availableBalance": "80.5", "currency": "KES"}))).await;
    let kes = Currency::parse("KES").unwrap();
    assert_eq!(provider.open(json!({})).balance().await, Ok(Some(Money::new(8_050, kes))));
    assert_eq!(provider.lines(), ["GET /mm/accounts/organisationid/ministry/balance"]);
    let untold = self::provider(|_| (200, json!({"accountStatus": "available"}))).await;
    assert_eq!(untold.open(json!({})).balance().await, Ok(None));
}

fn receive(trust: &str, body: Value) -> Result<Received, Failure> {
    let connector = open("p", settings(json!({"callback_trust": trust}))).unwrap();
    connector.receive(&Callback { headers: Vec::new(), body: body.to_string().into() })
}

#[test]
fn callbacks_make_us_ask_and_count_only_where_they_are_believed() {
    let reference = Reference::new(1, 9);
    let paid = json!({"requestingOrganisationTransactionReference": reference.as_str(), "transactionReference": "T1",
        "transactionStatus": "completed", "amount": "1.5", "currency": "KES"});
    let hint = receive("hint", paid.clone()).unwrap();
    assert_eq!(hint, Received { reports: vec![], ask: vec![Ask::Instruction(reference)] });
    let believed = receive("secret_url", paid.clone()).unwrap();
    assert_eq!(believed.ask, [Ask::Instruction(reference)]);
    assert_eq!(believed.reports[0].outcome, Outcome::Settled);
    assert_eq!(believed.reports[0].amount, Some(Money::new(150, Currency::parse("KES").unwrap())));
    let with = |status: &str| {
        let mut one = paid.clone();
        one["transactionStatus"] = json!(status);
        one
    };
    let back = receive("secret_url", with("reversed")).unwrap();
    assert!(matches!(back.reports[0].outcome, Outcome::Returned(_)));
    let failed = receive("secret_url", with("failed")).unwrap();
    assert_eq!(failed, Received { reports: vec![], ask: vec![Ask::Instruction(reference)] });
    let mut without_sum = paid.clone();
    without_sum["amount"] = Value::Null;
    assert_eq!(receive("secret_url", without_sum).unwrap().reports, []);
    let batch = receive("secret_url", json!({"batchId": "B-1", "batchStatus": "completed"})).unwrap();
    assert_eq!(batch, Received { reports: vec![], ask: vec![Ask::Batch("B-1".into())] });
    assert_eq!(receive("hint", error("internal", "genericError")), Ok(Received::default()));
    for unreadable in [json!([]), json!("x"), json!({"hello": 1})] {
        assert!(
            matches!(receive("hint", unreadable), Err(Failure::Refused(reason)) if reason.class == ReasonClass::Format)
        );
    }
}

#[test]
fn the_profile_claims_what_the_settings_claim() {
    use crate::contract::{CallbackTrust, Dedupe};
    let profile = |changes| open("p", settings(changes)).unwrap().profile().clone();
    assert_eq!(profile(json!({})).dedupe, Dedupe::ByKey);
    assert_eq!(profile(json!({"dedupe_window_seconds": 0})).dedupe, Dedupe::None);
    assert_eq!(profile(json!({"callback_trust": "secret_url"})).callback_trust, CallbackTrust::SecretUrl);
    use crate::contract::{Finality, Profile};
    let worst = Profile::worst();
    let plain = profile(json!({}));
    assert_eq!((plain.finality, plain.remembers_rejections), (Finality::Status, false));
    assert_eq!((plain.doubt_limit, plain.rate_per_second), (worst.doubt_limit, 0));
    let stated = profile(
        json!({"ask": "statement", "remembers_rejections": true, "doubt_limit_seconds": 7_200, "rate_per_second": 20}),
    );
    assert_eq!((stated.finality, stated.remembers_rejections), (Finality::Statement, true));
    assert_eq!((stated.doubt_limit.as_secs(), stated.rate_per_second), (7_200, 20));
    let short = json!({"ask": "statement", "statement_days": 1, "doubt_limit_seconds": 86_400});
    assert!(open("p", settings(short)).is_err(), "the window must cover every doubt");
    assert!(open("p", settings(json!({"statement_days": 0}))).is_err());
    assert!(open("p", settings(json!({"fence_seconds": 5}))).is_err());
    assert!(open("p", settings(json!({"concurrency": 0}))).is_err());
}
