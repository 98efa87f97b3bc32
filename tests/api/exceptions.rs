//! Exceptions, reissues and single payments stopped, through the doors: roles, bodies, refusals.
//! Deliberately not here: what a decision does (`exceptions`).

use paymaster::domain::id::Id;
use paymaster::engine::Role;
use paymaster::store::notes::{self, ExceptionRow, Handling};
use paymaster_connectors::contract::Reference;
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{HEADER, World, row};
use super::{draft, released};

/// The references of a payroll's payments.
async fn references(world: &World, path: &str) -> Vec<String> {
    let rows = world.get(&format!("{path}/disbursements"), &world.auditor).await.good();
    rows["items"].as_array().unwrap().iter().map(|one| one["reference"].as_str().unwrap().to_owned()).collect()
}

/// An exception about a payment, as the engine would open it.
async fn opened(world: &World, reference: &str) -> String {
    let store = &world.engine.store;
    let programme = world.engine.programme(&world.scope, "grant").await.unwrap().id;
    let exception = ExceptionRow {
        id: Id::new(store.allot(1, 0).await.unwrap()),
        programme,
        code: String::from("overpaid"),
        subject: Reference::parse(reference).unwrap().number(),
        provider: String::from("mobile-op"),
        evidence: 0,
        detail: String::from("two of one"),
        opened_at: 1,
        handling: Handling::default(),
    };
    let mut tx = store.begin().await.unwrap();
    assert!(notes::open_exception(&mut tx, world.scope.tenant, &exception).await.unwrap());
    tx.commit().await.unwrap();
    exception.id.to_string()
}

#[tokio::test]
async fn one_person_proposes_and_another_confirms() {
    let world = World::with_programme().await;
    let path = draft(&world).await;
    let reference = references(&world, &path).await.remove(0);
    let id = opened(&world, &reference).await;
    let (one, proposal) = (format!("/v1/exceptions/{id}"), format!("/v1/exceptions/{id}/proposal"));
    let confirmation = format!("/v1/exceptions/{id}/confirmation");
    let seen = world.get(&one, &world.auditor).await.good();
    assert_eq!((&seen["subject"], &seen["decisions"]), (&json!(reference), &json!(["stands"])));
    assert_eq!(world.get("/v1/exceptions", &world.auditor).await.good()["items"], json!([seen]));
    let stands = json!({"decision": "stands", "reason": "it was given back in cash"});
    world.post(&proposal, &world.auditor, stands.clone()).await.problem(403, "role_forbidden");
    world
        .post(&proposal, &world.maker, json!({"decision": "paid", "reason": "x"}))
        .await
        .problem(422, "decision_unknown");
    world.post(&proposal, &world.maker, json!({"decision": "stands"})).await.problem(400, "json_malformed");
    let settled = json!({"decision": "settled", "reason": "x"});
    world.post(&proposal, &world.maker, settled).await.problem(409, "decision_impossible");
    world.post(&confirmation, &world.checker, Value::Null).await.problem(409, "nothing_proposed");
    let proposed = world.post(&proposal, &world.maker, stands.clone()).await.good();
    assert_eq!(proposed["proposal"]["reason"], "it was given back in cash");
    assert_eq!(proposed["proposal"]["proposed_by"], "max");
    world.post(&proposal, &world.checker, stands.clone()).await.problem(409, "already_proposed");
    let taken_off = world.send(Method::DELETE, &proposal, &world.checker, &[], vec![]).await.good();
    assert_eq!(taken_off["proposal"], Value::Null);
    world.send(Method::DELETE, &proposal, &world.checker, &[], vec![]).await.problem(409, "nothing_proposed");
    world.post(&proposal, &world.maker, stands).await.good();
    world.post(&confirmation, &world.maker, Value::Null).await.problem(403, "role_forbidden");
    let same_person = world.token("max", Role::Checker).await;
    world.post(&confirmation, &same_person, Value::Null).await.problem(403, "same_person");
    let closed = world.post(&confirmation, &world.checker, Value::Null).await.good();
    assert!(closed["closed_at"].is_string());
    world.post(&confirmation, &world.checker, Value::Null).await.problem(409, "exception_closed");
    assert_eq!(world.get("/v1/exceptions", &world.auditor).await.good()["items"], json!([]));
    world.get("/v1/exceptions/exc_0000000000001", &world.auditor).await.problem(404, "exception_unknown");
    world.get("/v1/exceptions/nonsense", &world.auditor).await.problem(404, "exception_unknown");
    world.stop().await;
}

#[tokio::test]
async fn a_set_is_proposed_taken_off_and_confirmed() {
    let world = World::with_programme().await;
    let path = draft(&world).await;
    for reference in references(&world, &path).await {
        opened(&world, &reference).await;
    }
    let payroll = path.rsplit('/').next().unwrap();
    let list = async |query: &str| {
        let seen = world.get(&format!("/v1/exceptions?{query}"), &world.auditor).await.good();
        seen["items"].as_array().unwrap().len()
    };
    let all = list("code=overpaid").await;
    assert!(all > 1);
    assert_eq!(list(&format!("owner=finance&provider=mobile-op&payroll={payroll}")).await, all);
    assert_eq!((list("owner=bank").await, list("code=other_amount").await), (0, 0));
    assert_eq!(list("opened_before=1970-01-01T00:00:00Z").await, 0);
    world.get("/v1/exceptions?owner=nobody", &world.auditor).await.problem(400, "owner_unknown");
    world.get("/v1/exceptions?opened_before=today", &world.auditor).await.problem(400, "instant_malformed");
    let line = json!({
        "code": "overpaid", "owner": "finance", "provider": "mobile-op", "open": all, "proposed": 0,
        "oldest_at": "1970-01-01T00:00:00.000Z",
    });
    assert_eq!(world.get("/v1/exceptions/summary", &world.auditor).await.good()["items"], json!([line]));

    let [proposals, confirmations, withdrawals] =
        ["proposals", "confirmations", "withdrawals"].map(|verb| format!("/v1/exceptions/{verb}"));
    let filter = json!({"codes": ["overpaid"], "payroll": payroll});
    let propose = json!({"filter": filter, "decision": "stands", "reason": "given back in cash"});
    let confirm = json!({"filter": filter, "decision": "stands"});
    world.post(&proposals, &world.auditor, propose.clone()).await.problem(403, "role_forbidden");
    let nothing = json!({"filter": {}, "decision": "stands", "reason": "x"});
    world.post(&proposals, &world.maker, nothing).await.problem(422, "filter_missing");
    let misspelt = json!({"filter": {"code": "overpaid"}, "decision": "stands", "reason": "x"});
    world.post(&proposals, &world.maker, misspelt).await.problem(400, "json_malformed");
    let done = world.post(&proposals, &world.maker, propose.clone()).await.good();
    assert_eq!(done, json!({"done": all, "refused": [], "more": false}));
    let off = world.post(&withdrawals, &world.maker, json!({"filter": filter})).await.good();
    assert_eq!(off["done"], json!(all));
    world.post(&proposals, &world.maker, propose.clone()).await.good();
    let again = world.post(&proposals, &world.checker, propose).await.good();
    assert_eq!((&again["done"], &again["refused"][0]["code"]), (&json!(0), &json!("already_proposed")));
    assert_eq!(
        (&again["refused"][0]["count"], again["refused"][0]["examples"].as_array().unwrap().len()),
        (&json!(all), all)
    );
    world.post(&confirmations, &world.maker, confirm.clone()).await.problem(403, "role_forbidden");
    let closed = world.post(&confirmations, &world.checker, confirm).await.good();
    assert_eq!(closed, json!({"done": all, "refused": [], "more": false}));
    assert_eq!(list("limit=10").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_payment_is_held_let_go_and_cancelled() {
    let world = World::with_programme().await;
    let path = released(&world).await;
    let reference = references(&world, &path).await.remove(0);
    let verb = |verb: &str| format!("/v1/disbursements/{reference}/{verb}");
    let why = json!({"reason": "asked by the registry"});
    world.post(&verb("hold"), &world.auditor, why.clone()).await.problem(403, "role_forbidden");
    world.post(&verb("hold"), &world.maker, json!({"reason": ""})).await.problem(422, "reason_missing");
    assert_eq!(world.post(&verb("hold"), &world.maker, why.clone()).await.good()["state"], "held");
    world.post(&verb("unhold"), &world.maker, why.clone()).await.problem(403, "role_forbidden");
    assert_eq!(world.post(&verb("unhold"), &world.checker, why.clone()).await.good()["state"], "queued");
    assert_eq!(world.post(&verb("cancel"), &world.checker, why.clone()).await.good()["state"], "cancelled");
    world.post(&verb("hold"), &world.maker, why.clone()).await.problem(409, "too_late");
    world.post("/v1/disbursements/000000000000HHHH/hold", &world.maker, why).await.problem(404, "disbursement_unknown");
    let view = world.get(&path, &world.auditor).await.good();
    assert_eq!((&view["cancelled"]["payments"], &view["held"]["payments"]), (&json!(1), &json!(0)));
    world.stop().await;
}

#[tokio::test]
async fn what_was_rejected_is_handed_in_as_a_reissue() {
    let world = World::with_programme().await;
    let path = released(&world).await;
    world.work().await;
    let file = [HEADER, &row(2, "000009", "200"), &row(1, "000001", "100.50")].concat();
    let upload = |kind: &str| format!("{}&kind={kind}", super::world::upload_path((2, "300.50")));
    let headers = [("content-type", "text/csv")];
    let send = async |kind: &str| {
        world.send(Method::POST, &upload(kind), &world.maker, &headers, file.clone().into_bytes()).await
    };
    send("again").await.problem(422, "kind_unknown");
    send("payment").await.problem(422, "nothing_payable");
    let made = send("reissue").await.good();
    assert_eq!((&made["kind"], &made["accepted"]["sum"]), (&json!("reissue"), &json!("200.00")));
    assert_eq!(made["refused_by_code"][0]["code"], "entitlement_known");
    let again = references(&world, &format!("/v1/payrolls/{}", made["id"].as_str().unwrap())).await;
    let row = world.get(&format!("/v1/disbursements/{}", again[0]), &world.auditor).await.good();
    assert_eq!((&row["generation"], &row["state"]), (&json!(2), &json!("queued")));
    assert_eq!(world.get(&path, &world.auditor).await.good()["kind"], "payment");
    world.stop().await;
}
