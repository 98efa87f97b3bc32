//! The sandbox over its real sockets: what a client sees, and what the ledger holds afterwards.

mod faults;
mod kinds;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::put;
use serde_json::{Value, json};

use super::*;
use crate::contract::Failure;
use crate::http::{Answer, ask, send};
use crate::registry::SigningKey;

fn settings() -> Settings {
    let currency = Currency::parse("KES").unwrap();
    Settings { delay_millis: 1, faults: Faults { payee_suffixes: true, ..Faults::none() }, ..Settings::new(currency) }
}

/// A client of one sandbox.
struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    fn of(sandbox: &Sandbox) -> Self {
        Self { base: sandbox.operator_url(), http: http::client(Duration::from_secs(10)).unwrap() }
    }

    async fn post(&self, path: &str, correlation: Option<&str>, body: &Value) -> Result<Answer, Failure> {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body);
        if let Some(id) = correlation {
            request = request.header("X-CorrelationID", id);
        }
        send(request).await
    }

    async fn get(&self, path: &str) -> (u16, HeaderMap, Value) {
        let answer = ask(self.http.get(format!("{}{path}", self.base))).await.unwrap();
        (answer.status.as_u16(), answer.headers.clone(), serde_json::from_slice(&answer.body).unwrap())
    }
}

fn payment(reference: &str, payee: &str, amount: &str) -> Value {
    json!({
        "amount": amount, "currency": "KES", "type": "disbursement",
        "requestingOrganisationTransactionReference": reference,
        "creditParty": [{"key": "msisdn", "value": payee}],
        "debitParty": [{"key": "organisationid", "value": "PROGRAMME"}],
    })
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

const ID: &str = "8688c948-147b-433d-9511-a4e6de9b583b";

/// A new empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("paymaster-sandbox-{name}-{}-{}", std::process::id(), now_micros()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[tokio::test]
async fn a_batch_settles_in_the_ledger_and_shows_in_its_pages() {
    let sandbox = Sandbox::start(settings()).await.unwrap();
    let client = Client::of(&sandbox);
    let batch = json!({"batchTitle": "June", "transactions": [
        payment("R1", "254700000011", "200"),
        payment("R2", "254700990001", "5.5"),
        payment("R3", "254700000013", "0.01"),
    ]});
    let accepted = client.post("/batchtransactions", Some(ID), &batch).await.unwrap();
    assert_eq!(accepted.status, 202);
    assert!(accepted.headers.contains_key("X-Date"));
    let state = body(&accepted);
    assert_eq!((&state["status"], &state["notificationMethod"]), (&json!("pending"), &json!("polling")));
    let id = state["objectReference"].as_str().unwrap();
    sandbox.quiet().await;

    let (_, _, shown) = client.get(&format!("/batchtransactions/{id}")).await;
    assert_eq!(shown["batchStatus"], "completed");
    assert_eq!(shown["batchTitle"], "June");
    let counts = ["parsingSuccessCount", "completedCount", "rejectionCount"].map(|name| shown[name].as_u64().unwrap());
    assert_eq!(counts, [3, 2, 1]);
    let (_, headers, first) = client.get(&format!("/batchtransactions/{id}/completions?limit=1&offset=1")).await;
    let counts = ["Available", "Returned"].map(|name| headers[&format!("X-Records-{name}-Count")].to_str().unwrap());
    assert_eq!(counts, ["2", "1"]);
    assert_eq!(first[0]["requestingOrganisationTransactionReference"], "R3");
    let (status, _, paid) = client.get(first[0]["link"].as_str().unwrap()).await;
    assert_eq!((status, &paid["amount"], &paid["transactionStatus"]), (200, &json!("0.01"), &json!("completed")));
    let (_, _, rejected) = client.get(&format!("/batchtransactions/{id}/rejections")).await;
    assert_eq!(rejected[0]["requestingOrganisationTransactionReference"], "R2");
    assert_eq!(rejected[0]["rejectionReason"], "Account not found");
    let (_, _, state) = client.get(&format!("/requeststates/{}", state["serverCorrelationId"].as_str().unwrap())).await;
    assert_eq!(state["status"], "completed");
    let (_, _, link) = client.get(&format!("/responses/{ID}")).await;
    assert_eq!(link["link"], format!("/batchtransactions/{id}"));

    let paid: Vec<_> = sandbox.ledger().iter().map(|c| (c.reference.to_string(), c.amount_minor)).collect();
    assert_eq!(paid, [("R1".to_owned(), 20_000), ("R3".to_owned(), 1)]);
    assert_eq!(sandbox.ledger()[0].payee_id(), "254700000011");
    let summary = sandbox.ledger_summary();
    assert_eq!((summary.credits, summary.sum_minor, summary.repeated_references), (2, 20_001, 0));
    sandbox.shutdown().await;
}

#[tokio::test]
async fn a_repeated_correlation_id_is_credited_once() {
    let sandbox = Sandbox::start(settings()).await.unwrap();
    let client = Client::of(&sandbox);
    let one = payment("R1", "254700000011", "7");
    assert_eq!(client.post("/transactions", Some(ID), &one).await.unwrap().status, 202);
    for path in ["/transactions", "/transactions/type/disbursement"] {
        let again = client.post(path, Some(ID), &one).await.unwrap();
        assert_eq!(again.status, 400);
        let error = body(&again);
        assert_eq!(
            (&error["errorCategory"], &error["errorCode"]),
            (&json!("businessRule"), &json!("duplicateRequest"))
        );
    }
    sandbox.quiet().await;
    assert_eq!(sandbox.ledger_summary().sum_minor, 700);
    let (_, _, link) = client.get(&format!("/responses/{ID}")).await;
    let (_, _, paid) = client.get(link["link"].as_str().unwrap()).await;
    assert_eq!((&paid["transactionStatus"], &paid["amount"]), (&json!("completed"), &json!("7")));
    let (status, _, _) = client.get("/responses/00000000-0000-4000-8000-000000000000").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_lost_reply_is_an_error_here_and_a_credit_there() {
    let faults = Faults { lose_first_replies: 1, payee_suffixes: true, ..Faults::none() };
    let sandbox = Sandbox::start(Settings { faults, ..settings() }).await.unwrap();
    let client = Client::of(&sandbox);
    let batch = json!({"transactions": [payment("R1", "254700000011", "200")]});
    let lost = client.post("/batchtransactions", Some(ID), &batch).await;
    assert!(matches!(lost, Err(Failure::InDoubt(_))), "{lost:?}");
    let single = client.post("/transactions", None, &payment("R2", "254700990003", "3")).await;
    assert!(matches!(single, Err(Failure::InDoubt(_))), "{single:?}");
    sandbox.quiet().await;
    assert_eq!(sandbox.ledger_summary().sum_minor, 20_300);
    assert_eq!(client.post("/batchtransactions", Some(ID), &batch).await.unwrap().status, 400);
    let (status, _, _) = client.get(&format!("/responses/{ID}")).await;
    assert_eq!((status, sandbox.ledger_summary().credits), (200, 2));
}

#[tokio::test]
async fn a_lost_request_did_nothing_and_passes_the_second_time() {
    let faults = Faults { lose_request_per_mille: 1000, ..Faults::none() };
    let sandbox = Sandbox::start(Settings { faults, ..settings() }).await.unwrap();
    let client = Client::of(&sandbox);
    let batch = json!({"transactions": [payment("R1", "254700000011", "200")]});
    assert!(client.post("/batchtransactions", Some(ID), &batch).await.is_err());
    sandbox.quiet().await;
    assert_eq!(sandbox.ledger_summary().credits, 0);
    assert_eq!(client.post("/batchtransactions", Some(ID), &batch).await.unwrap().status, 202);
    sandbox.set_faults(Faults { error_after_execute_per_mille: 1000, ..Faults::none() });
    let failed = client.post("/transactions", None, &payment("R2", "254700000012", "1")).await.unwrap();
    assert_eq!(failed.status, 500);
    sandbox.quiet().await;
    assert_eq!(sandbox.ledger_summary().sum_minor, 20_100);
}

#[tokio::test]
async fn a_restart_from_the_folder_keeps_credits_and_finishes_what_was_accepted() {
    let folder = folder("restart");
    let kept = || Settings { folder: Some(folder.clone()), ..settings() };
    let sandbox = Sandbox::start(kept()).await.unwrap();
    let client = Client::of(&sandbox);
    let batch = json!({"transactions": [payment("R1", "254700000011", "200"), payment("R2", "254700990001", "1")]});
    let id = body(&client.post("/batchtransactions", Some(ID), &batch).await.unwrap())["objectReference"].clone();
    sandbox.quiet().await;
    sandbox.shutdown().await;

    // An operator that never gets to its work before it stops.
    let slow = Sandbox::start(Settings { delay_millis: 3_600_000, ..kept() }).await.unwrap();
    let late = "00000000-0000-4000-8000-000000000001";
    let single = payment("R3", "254700000013", "3");
    assert_eq!(Client::of(&slow).post("/transactions", Some(late), &single).await.unwrap().status, 202);
    assert_eq!(slow.ledger_summary().sum_minor, 20_000);
    slow.shutdown().await;

    let path = folder.join("ledger.jsonl");
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(br#"{"credit":{"request":1,"#);
    std::fs::write(&path, torn).unwrap();
    let sandbox = Sandbox::start(kept()).await.unwrap();
    sandbox.quiet().await;
    let client = Client::of(&sandbox);
    assert_eq!(client.post("/batchtransactions", Some(ID), &batch).await.unwrap().status, 400);
    assert_eq!(client.post("/transactions", Some(late), &single).await.unwrap().status, 400);
    let (_, _, shown) = client.get(&format!("/batchtransactions/{}", id.as_str().unwrap())).await;
    assert_eq!((&shown["completedCount"], &shown["rejectionCount"]), (&json!(1), &json!(1)));
    let (_, _, rejected) = client.get(&format!("/batchtransactions/{}/rejections", id.as_str().unwrap())).await;
    assert_eq!(rejected[0]["requestingOrganisationTransactionReference"], "R2");
    let summary = sandbox.ledger_summary();
    assert_eq!((summary.credits, summary.sum_minor, summary.references), (2, 20_300, 2));
    sandbox.shutdown().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn what_the_schema_forbids_is_refused_as_a_whole() {
    let sandbox = Sandbox::start(settings()).await.unwrap();
    let client = Client::of(&sandbox);
    let without = |field: &str| {
        let mut one = payment("R1", "254700000011", "5");
        one.as_object_mut().unwrap().remove(field);
        one
    };
    let cases = [
        (payment("R1", "254700000011", "200.00"), "formatError"),
        (payment("R1", "254700000011", "-1"), "formatError"),
        (json!(5), "formatError"),
        (without("amount"), "mandatoryValueNotSupplied"),
        (without("creditParty"), "mandatoryValueNotSupplied"),
        (without("debitParty"), "mandatoryValueNotSupplied"),
        (without("type"), "mandatoryValueNotSupplied"),
    ];
    for (bad, code) in cases {
        let batch = json!({"transactions": [payment("R0", "254700000010", "1"), bad]});
        let answer = client.post("/batchtransactions", None, &batch).await.unwrap();
        assert_eq!((answer.status.as_u16(), &body(&answer)["errorCode"]), (400, &json!(code)), "{batch}");
    }
    let bad_id = client.post("/transactions", Some("nonsense"), &payment("R1", "254700000011", "5")).await.unwrap();
    assert_eq!(bad_id.status, 400);
    sandbox.quiet().await;
    assert_eq!(sandbox.ledger_summary().credits, 0);
}

#[tokio::test]
async fn the_float_runs_out_and_the_balance_tells() {
    let float = Money::new(1_000, Currency::parse("KES").unwrap());
    let sandbox = Sandbox::start(Settings { float, ..settings() }).await.unwrap();
    let client = Client::of(&sandbox);
    let batch = json!({"transactions": [
        payment("R1", "254700000011", "6"), payment("R2", "254700000012", "5"), payment("R3", "254700000013", "4"),
    ]});
    let id = body(&client.post("/batchtransactions", None, &batch).await.unwrap())["objectReference"].clone();
    sandbox.quiet().await;
    let (_, _, rejected) = client.get(&format!("/batchtransactions/{}/rejections", id.as_str().unwrap())).await;
    assert_eq!(rejected[0]["requestingOrganisationTransactionReference"], "R2");
    assert_eq!(rejected[0]["rejectionReason"], "Insufficient funds");
    assert_eq!(sandbox.ledger_summary().sum_minor, 1_000);
    let (_, _, balance) = client.get("/accounts/balance").await;
    assert_eq!((&balance["availableBalance"], &balance["currency"]), (&json!("0"), &json!("KES")));
    let single = body(&client.post("/transactions", None, &payment("R4", "254700000014", "1")).await.unwrap());
    sandbox.quiet().await;
    let (_, _, state) =
        client.get(&format!("/requeststates/{}", single["serverCorrelationId"].as_str().unwrap())).await;
    assert_eq!((&state["status"], &state["error"]["errorCode"]), (&json!("failed"), &json!("insufficientFunds")));
}

#[tokio::test]
async fn a_created_batch_waits_for_its_checker_and_a_pending_payee_for_ever() {
    let sandbox = Sandbox::start(Settings { api_key: Some("sesame".into()), ..settings() }).await.unwrap();
    let mut client = Client::of(&sandbox);
    let batch = json!({"batchStatus": "created", "transactions": [
        payment("R1", "254700000011", "6"), payment("R2", "254700990002", "5"),
    ]});
    let refused = client.post("/batchtransactions", None, &batch).await.unwrap();
    assert_eq!((refused.status.as_u16(), &body(&refused)["errorCategory"]), (401, &json!("authorisation")));
    client.base = sandbox.operator_admin_url();
    let with_key = |request: reqwest::RequestBuilder| request.header("X-API-Key", "sesame");
    let url = format!("{}/batchtransactions", client.base);
    let answer = send(with_key(client.http.post(&url).json(&batch))).await.unwrap();
    let id = body(&answer)["objectReference"].as_str().unwrap().to_owned();
    sandbox.quiet().await;
    assert_eq!(sandbox.ledger_summary().credits, 0);
    let approval = json!([{"op": "replace", "path": "/batchStatus", "value": "approved"}]);
    let approve = || send(with_key(client.http.patch(format!("{url}/{id}")).json(&approval)));
    assert_eq!(approve().await.unwrap().status, 204);
    assert_eq!(approve().await.unwrap().status, 400);
    sandbox.quiet().await;
    let shown = body(&ask(with_key(client.http.get(format!("{url}/{id}")))).await.unwrap());
    assert_eq!((&shown["batchStatus"], &shown["completedCount"]), (&json!("completed"), &json!(1)));
    assert_eq!((&shown["parsingSuccessCount"], &shown["rejectionCount"]), (&json!(2), &json!(0)));
    assert_eq!(sandbox.ledger_summary().sum_minor, 600);
}

#[tokio::test]
async fn callbacks_carry_the_final_object_as_often_as_the_faults_say() {
    let taken: Arc<Mutex<Vec<Value>>> = Arc::default();
    let keep = taken.clone();
    let door = put(move |axum::Json(body): axum::Json<Value>| async move {
        let mut taken = keep.lock().unwrap();
        taken.push(body);
        // The first try is turned away, so it is made once more.
        if taken.len() == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NO_CONTENT }
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/door", listener.local_addr().unwrap());
    let door = tokio::spawn(axum::serve(listener, Router::new().route("/door", door)).into_future());
    let sandbox = Sandbox::start(settings()).await.unwrap();
    let client = Client::of(&sandbox);
    let batch = json!({"transactions": [payment("R1", "254700000011", "6")]});
    let post = |path: &str, body: &Value| {
        let request = client.http.post(format!("{}{path}", client.base)).json(body);
        send(request.header("X-Callback-URL", &url))
    };
    let state = body(&post("/batchtransactions", &batch).await.unwrap());
    assert_eq!(state["notificationMethod"], "callback");
    sandbox.quiet().await;
    sandbox.set_faults(Faults { duplicate_callback_per_mille: 1000, payee_suffixes: true, ..Faults::none() });
    post("/transactions", &payment("R2", "254700990001", "6")).await.unwrap();
    sandbox.quiet().await;
    sandbox.set_faults(Faults { silent_callback_per_mille: 1000, ..Faults::none() });
    post("/transactions", &payment("R3", "254700000013", "6")).await.unwrap();
    sandbox.quiet().await;
    let taken = taken.lock().unwrap();
    assert_eq!(taken.len(), 4, "one repeated, two of a duplicate, none of a silent one");
    assert!(taken[..2].iter().all(|b| b["batchId"] == state["objectReference"] && b["batchStatus"] == "completed"));
    assert!(taken[2..].iter().all(|b| b["errorCode"] == "identifierError"));
    assert_eq!(sandbox.ledger_summary().sum_minor, 1_200);
    door.abort();
}

#[tokio::test]
async fn the_admin_doors_tell_the_ledger_and_take_faults() {
    let sandbox = Sandbox::start(settings()).await.unwrap();
    let client = Client::of(&sandbox);
    let items: Vec<Value> = (0..2_500).map(|n| payment(&format!("R{n}"), &format!("2547{n:08}"), "1")).collect();
    client.post("/batchtransactions", None, &json!({"transactions": items})).await.unwrap();
    sandbox.quiet().await;
    let admin = sandbox.operator_admin_url();
    let lines = ask(client.http.get(format!("{admin}/admin/ledger"))).await.unwrap();
    let text = std::str::from_utf8(&lines.body).unwrap();
    let sum: i64 =
        text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["amount_minor"].as_i64().unwrap()).sum();
    assert_eq!((text.lines().count(), sum), (2_500, 250_000));
    let summary = body(&ask(client.http.get(format!("{admin}/admin/ledger/summary"))).await.unwrap());
    assert_eq!((&summary["credits"], &summary["sum_minor"]), (&json!(2_500), &json!(250_000)));
    assert_eq!((&summary["references"], &summary["repeated_references"]), (&json!(2_500), &json!(0)));
    let faults = json!({"reject_per_mille": 1000});
    let set = send(client.http.post(format!("{admin}/admin/faults")).json(&faults)).await.unwrap();
    assert_eq!(set.status, 204);
    client.post("/transactions", None, &payment("R", "254700000011", "1")).await.unwrap();
    sandbox.quiet().await;
    assert_eq!(sandbox.ledger_summary().credits, 2_500);
}

fn message(id: &str, amount: &str) -> Vec<u8> {
    json!({
        "header": {
            "message_id": id, "message_ts": "2026-01-01T00:00:00.000Z", "action": "on-disburse", "status": "succ",
        },
        "message": {"transaction_id": "T", "disbursements_status": [
            {"reference_id": "E1", "timestamp": "2026-01-01T00:00:00.000Z", "status": "succ", "instruction": "R1",
             "amount": amount, "currency_code": "KES"},
            {"reference_id": "E2", "timestamp": "2026-01-01T00:00:00.000Z", "status": "rjct", "instruction": "R2"},
        ]},
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn the_registry_takes_signed_messages_once() {
    let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), None).unwrap();
    let registry_faults = RegistryFaults { refuse_first_n: 1, lose_ack_per_mille: 1000, seed: 0 };
    let verifying_key = Some(key.public_key());
    let sandbox = Sandbox::start(Settings { registry_faults, verifying_key, ..settings() }).await.unwrap();
    let client = Client::of(&sandbox);
    let post = |body: &[u8], jws: Option<String>| {
        let request = client.http.post(sandbox.registry_url()).body(body.to_vec());
        send(jws.into_iter().fold(request, |request, jws| request.header("Signature", jws)))
    };
    let good = message("M1", "12.50");
    assert_eq!(post(&good, Some(key.sign(&good))).await.unwrap().status, 503);
    let unsigned = post(&good, None).await.unwrap();
    assert_eq!(
        (unsigned.status.as_u16(), &body(&unsigned)["errors"][0]["code"]),
        (401, &json!("err.signature.missing"))
    );
    let forged = post(&message("M1", "12.51"), Some(key.sign(&good))).await.unwrap();
    assert_eq!((forged.status.as_u16(), &body(&forged)["errors"][0]["code"]), (401, &json!("err.signature.invalid")));
    assert!(sandbox.outcomes().is_empty());
    assert!(post(&good, Some(key.sign(&good))).await.is_err(), "the first acknowledgement is lost");
    let again = post(&good, Some(key.sign(&good))).await.unwrap();
    assert_eq!((again.status.as_u16(), &body(&again)["message"]["ack_status"]), (200, &json!("ACK")));
    let broken = post(b"{}", Some(key.sign(b"{}"))).await.unwrap();
    assert_eq!((broken.status.as_u16(), &body(&broken)["message"]["ack_status"]), (200, &json!("ERR")));
    let wanted = OutcomesSummary { succ: 1, rjct: 1, sum_minor_succ: 1_250, messages: 1, repeated_messages: 1 };
    assert_eq!(sandbox.outcomes_summary(), wanted);
    assert_eq!(sandbox.outcomes()[0].instruction, "R1");
    sandbox.shutdown().await;
}
