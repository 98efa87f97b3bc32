//! The API through a real socket: what persons do, what they may not do, and what the answers say.

mod exceptions;
mod input;
mod uploads;
pub mod world;

use paymaster::engine::Role;
use reqwest::Method;
use serde_json::{Value, json};

use world::{HEADER, SECRET, World, row, same_as_snapshot};

fn file() -> String {
    [
        HEADER,
        &row(1, "000001", "100.50"),
        &row(2, "990001", "200"),
        &row(3, "000003", "1e3"),
        &row(4, "000004", "50.25"),
    ]
    .concat()
}

/// A payroll of three good rows and a bad one, as a draft.
async fn draft(world: &World) -> String {
    let made = world.upload((4, "350.75"), &[], &file()).await;
    let location = made.header("location").to_owned();
    assert_eq!(made.status, 201, "{}", made.text());
    let payroll = made.good();
    assert_eq!(location, format!("/v1/payrolls/{}", payroll["id"].as_str().unwrap()));
    location
}

async fn released(world: &World) -> String {
    let payroll = draft(world).await;
    world.post(&format!("{payroll}/submit"), &world.maker, Value::Null).await.good();
    world.post(&format!("{payroll}/approve"), &world.checker, Value::Null).await.good();
    let moved = world.post(&format!("{payroll}/release"), &world.checker, Value::Null).await.good();
    assert_eq!(moved["state"], "released");
    payroll
}

fn sum(payments: i64, sum: &str, minor: i64) -> Value {
    json!({"payments": payments, "sum": sum, "sum_minor": minor})
}

#[tokio::test]
async fn a_payroll_lives_from_its_file_to_proven_ends() {
    let world = World::with_programme().await;
    let path = released(&world).await;
    let view = world.get(&path, &world.auditor).await.good();
    assert_eq!(view["declared"], sum(4, "350.75", 35_075));
    assert_eq!(view["refused"], sum(1, "0.00", 0));
    assert_eq!(view["refused_by_code"], json!([{"code": "amount_not_plain", "total": sum(1, "0.00", 0)}]));
    assert_eq!(view["accepted"], sum(3, "350.75", 35_075));
    assert_eq!(view["providers"][0]["waiting"], sum(3, "350.75", 35_075));
    let queued = world.get(&format!("{path}/disbursements?state=queued"), &world.auditor).await.good();
    assert_eq!(queued["items"].as_array().unwrap().len(), 3);
    let funds = world.get("/v1/programmes", &world.admin).await.good();
    assert_eq!(funds["items"][0]["available"]["amount"], "9649.25");

    world.work().await;
    let view = world.get(&path, &world.auditor).await.good();
    assert_eq!((&view["state"], &view["submitted_by"]), (&json!("completed"), &json!("max")));
    let provider = &view["providers"][0];
    assert_eq!(provider["settled"], sum(2, "150.75", 15_075));
    assert_eq!(provider["rejected"], sum(1, "200.00", 20_000));
    for zero in ["waiting", "in_flight", "in_doubt", "returned"] {
        assert_eq!(provider[zero], sum(0, "0.00", 0), "{zero}");
    }
    assert_eq!(view["rejections"][0]["total"], sum(1, "200.00", 20_000));
    let funds = world.get("/v1/programmes", &world.admin).await.good();
    assert_eq!(funds["items"][0]["available"]["amount"], "9849.25");
    let paid = world.sandbox.ledger_summary();
    assert_eq!((paid.credits, paid.sum_minor, paid.repeated_references), (2, 15_075, 0));
    world.stop().await;
}

#[tokio::test]
async fn every_end_can_be_followed_to_its_evidence() {
    let world = World::with_programme().await;
    let path = released(&world).await;
    world.work().await;
    let first = world.get(&format!("{path}/disbursements?state=settled&limit=1"), &world.auditor).await.good();
    assert_eq!(first["items"][0]["amount_minor"], 10_050);
    let next = first["next"].as_str().unwrap();
    let rest = world.get(&format!("{path}/disbursements?state=settled&limit=1&cursor={next}"), &world.auditor).await;
    let rest = rest.good();
    assert_eq!((&rest["items"][0]["amount_minor"], &rest["next"]), (&json!(5_025), &Value::Null));

    let ended = format!("{path}/disbursements?state=rejected&state=returned");
    let rejected = world.get(&ended, &world.auditor).await.good()["items"][0].clone();
    assert_eq!((&rejected["entitlement"], &rejected["amount"]), (&json!("E2"), &json!("200.00")));
    assert_eq!(rejected["reason"]["class"], "fix_data");
    let reference = rejected["reference"].as_str().unwrap();
    let detail = world.get(&format!("/v1/disbursements/{reference}"), &world.auditor).await.good();
    let events: Vec<&str> =
        detail["timeline"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    for wanted in ["payroll.received", "payroll.approved", "payroll.released", "batch.rejected", "evidence.wire"] {
        assert!(events.contains(&wanted), "{wanted} is missing in {events:?}");
    }
    let evidence = format!("/v1/evidence/{}", detail["evidence"]["id"].as_str().unwrap());
    world.get(&evidence, &world.maker).await.problem(403, "role_forbidden");
    let proof = world.get(&evidence, &world.auditor).await;
    assert_eq!(proof.header("content-type"), "application/octet-stream");
    let digest = ring_hex(&proof.bytes);
    assert_eq!(proof.header("x-evidence-sha256"), digest);
    assert!(!proof.header("x-evidence-origin").is_empty() && !proof.header("x-evidence-source").is_empty());
    assert!(proof.text().contains(reference), "the evidence names the payment");

    let batches = world.get(&format!("{path}/batches"), &world.auditor).await.good();
    let batch = batches["items"][0]["id"].as_str().unwrap();
    let batch = world.get(&format!("/v1/batches/{batch}"), &world.auditor).await.good();
    assert_eq!((&batch["state"], &batch["copies"]), (&json!("completed"), &json!(1)));
    assert_eq!(batch["total"], sum(3, "350.75", 35_075));
    assert!(batch["evidence"].as_array().unwrap().iter().any(|one| one["id"] == detail["evidence"]["id"]));
    assert_eq!(world.get("/v1/exceptions", &world.auditor).await.good()["items"], json!([]));
    world.stop().await;
}

fn ring_hex(bytes: &[u8]) -> String {
    let digest = paymaster::store::seal::sha256(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn nobody_approves_or_releases_what_they_made() {
    let world = World::with_programme().await;
    let path = draft(&world).await;
    let (submit, approve, release) = (format!("{path}/submit"), format!("{path}/approve"), format!("{path}/release"));
    world.post(&submit, &world.admin, Value::Null).await.problem(403, "role_forbidden");
    world.post(&submit, &world.maker, Value::Null).await.good();
    for token in [&world.maker, &world.admin, &world.auditor] {
        world.post(&approve, token, Value::Null).await.problem(403, "role_forbidden");
    }
    let same_person = world.token("max", Role::Checker).await;
    world.post(&approve, &same_person, Value::Null).await.problem(403, "maker_is_checker");
    world.post(&release, &world.checker, Value::Null).await.problem(409, "payroll_state");
    world.post(&approve, &world.checker, Value::Null).await.good();
    world.post(&approve, &world.checker, Value::Null).await.problem(409, "payroll_state");
    world.post(&release, &same_person, Value::Null).await.problem(403, "maker_is_checker");
    let back = world.post(&format!("{path}/recall"), &world.maker, Value::Null).await.good();
    assert_eq!(back["state"], "draft");
    world.post(&release, &world.checker, Value::Null).await.problem(409, "payroll_state");
    world.post(&format!("{path}/pause"), &world.auditor, Value::Null).await.problem(403, "role_forbidden");
    assert_eq!(world.post(&format!("{path}/pause"), &world.checker, Value::Null).await.good()["paused"], true);
    assert!(world.get(&path, &world.maker).await.good()["paused_at"].is_string());
    assert_eq!(world.post(&format!("{path}/resume"), &world.checker, Value::Null).await.good()["paused"], false);
    let checker = world.checker.clone();
    let headers = [("content-type", "text/csv")];
    let sent = world.send(Method::POST, &world::upload_path((1, "1")), &checker, &headers, vec![]).await;
    sent.problem(403, "role_forbidden");
    world.stop().await;
}

#[tokio::test]
async fn what_belongs_to_another_tenant_does_not_exist() {
    let world = World::with_programme().await;
    let path = released(&world).await;
    world.work().await;
    let one = world.get(&format!("{path}/disbursements"), &world.maker).await.good()["items"][0].clone();
    let batch = one["batch"].as_str().unwrap();
    let other = world.engine.tenant("another").await.unwrap();
    let mut tokens = Vec::new();
    for role in [Role::Admin, Role::Maker, Role::Checker] {
        tokens.push(world.engine.make_token(&other, "eve", role).await.unwrap().1);
    }
    for (token, move_) in
        [(&tokens[1], "submit"), (&tokens[2], "approve"), (&tokens[2], "release"), (&tokens[0], "pause")]
    {
        world.post(&format!("{path}/{move_}"), token, Value::Null).await.problem(404, "payroll_unknown");
    }
    for below in ["", "/rejects", "/disbursements", "/batches"] {
        world.get(&format!("{path}{below}"), &tokens[0]).await.problem(404, "payroll_unknown");
    }
    let reference = one["reference"].as_str().unwrap();
    world.get(&format!("/v1/disbursements/{reference}"), &tokens[0]).await.problem(404, "disbursement_unknown");
    world.get(&format!("/v1/batches/{batch}"), &tokens[0]).await.problem(404, "batch_unknown");
    let evidence = one["evidence"]["id"].as_str().unwrap();
    world.get(&format!("/v1/evidence/{evidence}"), &tokens[0]).await.problem(404, "evidence_unknown");
    assert_eq!(world.get("/v1/payrolls", &tokens[0]).await.good()["items"], json!([]));
    assert_eq!(world.get("/v1/programmes", &tokens[0]).await.good()["items"], json!([]));
    let headers = [("content-type", "text/csv")];
    let sent = world.send(Method::POST, &world::upload_path((1, "1")), &tokens[1], &headers, vec![]).await;
    sent.problem(404, "programme_unknown");
    world.stop().await;
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_ended() {
    let world = World::new().await;
    world
        .post("/v1/tokens", &world.maker, json!({"person": "x", "role": "admin"}))
        .await
        .problem(403, "role_forbidden");
    let made = world.post("/v1/tokens", &world.admin, json!({"person": "mia", "role": "maker"})).await;
    assert_eq!(made.status, 201);
    let made = made.good();
    let secret = made["secret"].as_str().unwrap();
    world.get("/v1/payrolls", secret).await.good();
    let path = format!("/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(world.send(Method::DELETE, &path, &world.admin, &[], vec![]).await.status, 204);
    let gone = world.get("/v1/payrolls", secret).await;
    assert_eq!(gone.header("www-authenticate"), "Bearer");
    gone.problem(401, "token_unknown");
    world.send(Method::DELETE, &path, &world.admin, &[], vec![]).await.problem(404, "token_unknown");
    world.get("/v1/payrolls", "").await.problem(401, "token_unknown");
    world.post("/v1/tokens", &world.admin, json!({"person": "x", "role": "king"})).await.problem(422, "role_unknown");
    world.stop().await;
}

#[tokio::test]
async fn a_hold_keeps_a_beneficiary_out_and_a_paused_provider_gets_nothing() {
    let world = World::with_programme().await;
    let hold = json!({"beneficiary_id": "B1", "reason": "deceased, being verified"});
    world.post("/v1/programmes/grant/holds", &world.admin, hold).await.good();
    let pause = json!({"reason": "maintenance"});
    world.post("/v1/providers/nobody/pause", &world.admin, pause.clone()).await.problem(404, "provider_unknown");
    world.post("/v1/providers/mobile-op/pause", &world.checker, pause.clone()).await.problem(403, "role_forbidden");
    world.post("/v1/providers/mobile-op/pause", &world.admin, pause).await.good();
    let path = released(&world).await;
    for number in world.engine.due().await.unwrap().batches {
        world.engine.drive(paymaster::domain::id::Id::new(number)).await.unwrap();
    }
    let view = world.get(&path, &world.maker).await.good();
    assert_eq!(view["held"], sum(1, "100.50", 10_050));
    assert_eq!(view["providers"][0]["waiting"], sum(2, "250.25", 25_025));
    assert_eq!(world.sandbox.ledger_summary().credits, 0);
    world.post("/v1/providers/mobile-op/resume", &world.admin, Value::Null).await.good();
    world.work().await;
    let view = world.get(&path, &world.maker).await.good();
    assert_eq!((&view["held"], &view["providers"][0]["settled"]), (&sum(1, "100.50", 10_050), &sum(1, "50.25", 5_025)));
    world.stop().await;
}

#[tokio::test]
async fn a_forged_callback_finds_nothing() {
    let world = World::with_programme().await;
    let good = format!("/callbacks/mobile-op/{SECRET}");
    for path in ["/callbacks/mobile-op/guess", "/callbacks/other-op/x", "/callbacks/mobile-op/"] {
        let got = world.send(Method::PUT, path, "", &[], b"{}".to_vec()).await;
        assert_eq!(got.status, 404, "{path}");
    }
    world.send(Method::POST, &good, "", &[], b"not a message".to_vec()).await.problem(422, "callback_unreadable");
    world.send(Method::PUT, &good, "", &[], vec![b' '; (1 << 20) + 1]).await.problem(413, "body_too_large");
    world.get(&good, "").await.problem(405, "method_not_allowed");
    let call = json!({"batchId": "B-unknown", "batchStatus": "completed"}).to_string().into_bytes();
    for method in [Method::PUT, Method::POST] {
        assert_eq!(world.send(method, &good, "", &[], call.clone()).await.status, 204);
    }
    assert_eq!(world.get("/v1/exceptions", &world.admin).await.good()["items"], json!([]));
    world.stop().await;
}

#[tokio::test]
async fn the_service_tells_how_it_is() {
    let world = World::with_programme().await;
    released(&world).await;
    assert_eq!(world.get("/health", "").await.good()["status"], "ok");
    assert_eq!(world.get("/health/ready", "").await.good()["status"], "ok");
    let metrics = world.get("/metrics", "").await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = metrics.text();
    let mut described = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described.push(rest.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<i64>().unwrap();
            let family = name.split('{').next().unwrap();
            assert_eq!(described.last().map(String::as_str), Some(family), "{line}");
        }
    }
    let has = |line: &str| assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    has("paymaster_batches{state=\"sealed\"} 1");
    has("paymaster_batches{state=\"in_doubt\"} 0");
    has("paymaster_payments_open 3");
    has("paymaster_publications{state=\"dead\"} 0");
    has("paymaster_exceptions_open 0");
    world.get("/nowhere", "").await.problem(404, "path_unknown");
    world.stop().await;
}

#[tokio::test]
async fn the_api_is_described_and_the_description_is_kept() {
    let world = World::new().await;
    let described = world.get("/openapi.json", "").await.good();
    assert_eq!(described["openapi"], "3.1.0");
    let mut names = Vec::new();
    for (path, operations) in described["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let guarded = operation["security"].is_array();
            assert_eq!(guarded, path.starts_with("/v1/"), "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path} has no words");
            names.push(operation["operationId"].as_str().unwrap());
        }
    }
    names.sort_unstable();
    let operations = names.len();
    names.dedup();
    assert_eq!(operations, names.len(), "two operations have one name");
    let page = world.get("/docs/", "").await;
    assert!(page.status.is_success() && page.text().contains("swagger-ui"));
    for part in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        let got = world.get(&format!("/docs/{part}"), "").await;
        assert!(got.status.is_success() && !got.bytes.is_empty(), "{part}");
        assert!(!part.contains("initializer") || got.text().contains("/openapi.json"));
    }
    same_as_snapshot("openapi.json", &format!("{}\n", serde_json::to_string_pretty(&described).unwrap()));
    world.stop().await;
}
