//! Requests that are not what they should be: each refused with its code, and nothing changed.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::World;

#[tokio::test]
async fn json_is_read_strictly() {
    let world = World::new().await;
    let json_type = [("content-type", "application/json; charset=utf-8")];
    let deep = format!("{{\"code\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies: [&[u8]; 10] = [
        b"{\"code\":\"a\",\"name\":\"A\",\"currency\":\"KES\",\"tenant_id\":\"ten_1\"}",
        b"{\"code\":\"a\",\"code\":\"b\",\"name\":\"A\",\"currency\":\"KES\"}",
        b"{\"code\":\"a\",\"name\":\"A\",\"currency\":\"KES\",\"amount_max\":10.5}",
        b"{\"code\":\"a\",\"name\":\"A\",\"currency\":\"KES\",\"shared_account_max\":1e400}",
        b"{\"code\":\"a\",\"name\":\"A\",\"currency\":\"KES\",\"shared_account_max\":9223372036854775808}",
        b"{\"code\":\"a\",\"name\":\"\\ud800\",\"currency\":\"KES\"}",
        b"{\"code\":\"a\",\"name\":\"\xff\",\"currency\":\"KES\"}",
        b"{\"code\":\"a\"",
        b"",
        deep.as_bytes(),
    ];
    for body in bodies {
        let got = world.send(Method::POST, "/v1/programmes", &world.admin, &json_type, body.to_vec()).await;
        got.problem(400, "json_malformed");
    }
    let large = format!("{{\"code\":\"{}\"}}", "a".repeat(64 << 10)).into_bytes();
    let got = world.send(Method::POST, "/v1/programmes", &world.admin, &json_type, large).await;
    got.problem(413, "body_too_large");
    let plain = [("content-type", "text/plain")];
    let got = world.send(Method::POST, "/v1/programmes", &world.admin, &plain, b"{}".to_vec()).await;
    got.problem(415, "media_type");
    assert_eq!(world.get("/v1/programmes", &world.admin).await.good()["items"], json!([]));
    world.stop().await;
}

#[tokio::test]
async fn what_can_be_read_and_not_used_is_told_apart() {
    let world = World::with_programme().await;
    let programme = |field: &str, value: &str| {
        let mut body = json!({"code": "second", "name": "Second", "currency": "KES"});
        body[field] = json!(value);
        body
    };
    for (field, value, code) in [
        ("currency", "usd", "currency_unknown"),
        ("currency", "XXX", "currency_unknown"),
        ("code", "a b", "code_malformed"),
        ("amount_max", "1,000.00", "amount_malformed"),
        ("amount_max", "-5", "amount_malformed"),
    ] {
        world.post("/v1/programmes", &world.admin, programme(field, value)).await.problem(422, code);
    }
    let mut other = programme("code", "grant");
    other["currency"] = json!("UGX");
    world.post("/v1/programmes", &world.admin, other).await.problem(409, "currency_fixed");
    let cycle = |first: &str, last: &str| json!({"code": "2026-12", "first_day": first, "last_day": last});
    let path = "/v1/programmes/grant/cycles";
    world.post(path, &world.admin, cycle("2026-12-01", "30.12.2026")).await.problem(422, "date_malformed");
    world.post(path, &world.admin, cycle("2026-12-31", "2026-12-01")).await.problem(422, "period_reversed");
    world.post(path, &world.admin, cycle("2026-11-30", "2026-12-31")).await.problem(409, "period_overlaps");
    let funding = json!({"amount": "0.001", "note": ""});
    world.post("/v1/programmes/grant/funding", &world.admin, funding.clone()).await.problem(422, "amount_malformed");
    world.post("/v1/programmes/none/funding", &world.admin, funding).await.problem(404, "programme_unknown");
    for path in [path, "/v1/programmes/grant/funding", "/v1/programmes/grant/holds", "/v1/programmes"] {
        let body = match path {
            "/v1/programmes" => programme("code", "x"),
            "/v1/programmes/grant/funding" => json!({"amount": "1", "note": ""}),
            "/v1/programmes/grant/holds" => json!({"beneficiary_id": "1", "reason": ""}),
            _ => cycle("2026-12-01", "2026-12-31"),
        };
        world.post(path, &world.checker, body).await.problem(403, "role_forbidden");
    }
    let funds = world.get("/v1/programmes", &world.maker).await.good();
    assert_eq!(funds["items"][0]["available"]["amount_minor"], 1_000_000);
    world.stop().await;
}

#[tokio::test]
async fn cursors_limits_and_parameters_are_held_to_what_they_are() {
    let world = World::with_programme().await;
    for number in 1..=3 {
        let file = [super::HEADER, &super::row(number, "000001", "10")].concat();
        world.upload((1, "10"), &[], &file).await.good();
    }
    let first = world.get("/v1/payrolls?limit=2", &world.maker).await.good();
    let next = first["next"].as_str().unwrap();
    let second = world.get(&format!("/v1/payrolls?limit=2&cursor={next}"), &world.maker).await.good();
    assert_eq!((first["items"].as_array().unwrap().len(), second["items"].as_array().unwrap().len()), (2, 1));
    assert_eq!(second["next"], Value::Null);
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|one| one["id"].to_string()).collect()
    };
    assert!(ids(&first).iter().all(|id| !ids(&second).contains(id)), "a payroll is on both pages");
    let mut tampered = next.to_owned();
    tampered.replace_range(5..6, if &next[5..6] == "A" { "B" } else { "A" });
    for cursor in [tampered.as_str(), "", "1", "%27%20OR%201%3D1", &next[1..], &format!("{next}AAAA")] {
        let got = world.get(&format!("/v1/payrolls?cursor={cursor}"), &world.maker).await;
        got.problem(400, "cursor_malformed");
    }
    world.get(&format!("/v1/exceptions?cursor={next}"), &world.maker).await.problem(400, "cursor_malformed");
    for limit in ["0", "-1", "1001"] {
        world.get(&format!("/v1/payrolls?limit={limit}"), &world.maker).await.problem(400, "limit_out_of_range");
    }
    for query in ["limit=x", "limit=1&limit=2", "order=asc", "limit=9223372036854775808"] {
        world.get(&format!("/v1/payrolls?{query}"), &world.maker).await.problem(400, "query_malformed");
    }
    let path = format!("/v1/payrolls/{}/disbursements", first["items"][0]["id"].as_str().unwrap());
    world.get(&format!("{path}?state=paid"), &world.maker).await.problem(400, "state_unknown");
    world.get(&format!("{path}?order=asc"), &world.maker).await.problem(400, "query_malformed");
    world.get("/v1/publications?state=lost", &world.maker).await.problem(400, "state_unknown");
    assert_eq!(world.get("/v1/publications?state=open", &world.maker).await.good()["items"], json!([]));
    world.stop().await;
}

#[tokio::test]
async fn what_cannot_be_an_id_names_nothing() {
    let world = World::new().await;
    for path in ["prl_1", "bat_0000000000000", "..%2f..%2fx", "prl_0000000000000", "1%20OR%201=1"] {
        world.get(&format!("/v1/payrolls/{path}"), &world.maker).await.problem(404, "payroll_unknown");
    }
    world.get("/v1/payrolls/%ff", &world.maker).await.problem(400, "path_malformed");
    world.get("/v1/disbursements/0000000000000000", &world.maker).await.problem(404, "disbursement_unknown");
    world.get("/v1/disbursements/x", &world.maker).await.problem(404, "disbursement_unknown");
    world
        .post("/v1/publications/pub_0000000000000/replay", &world.admin, Value::Null)
        .await
        .problem(404, "publication_unknown");
    world.post("/v1/publications/replay", &world.maker, Value::Null).await.problem(403, "role_forbidden");
    let replayed = world.post("/v1/publications/replay", &world.admin, Value::Null).await.good();
    assert_eq!(replayed["replayed"], 0);
    world.stop().await;
}
