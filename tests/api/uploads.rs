//! Payroll files on their way in: whole or not at all.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{FILE_BYTES_MAX, HEADER, World, row, upload_path};

fn two_rows() -> String {
    [HEADER, &row(1, "000001", "100.50"), &row(2, "000002", "20")].concat()
}

async fn nothing_came(world: &World) {
    assert_eq!(world.get("/v1/payrolls", &world.maker).await.good()["items"], json!([]));
    assert_eq!(world.folder.spooled(), 0, "an upload was left behind");
}

#[tokio::test]
async fn the_same_key_is_the_same_payroll() {
    let world = World::with_programme().await;
    let key = [("idempotency-key", "november-1")];
    let first = world.upload((2, "120.50"), &key, &two_rows()).await.good();
    let again = world.upload((2, "120.50"), &key, &two_rows()).await.good();
    assert_eq!(first["id"], again["id"]);
    let other = [HEADER, &row(7, "000007", "1")].concat();
    world.upload((1, "1"), &key, &other).await.problem(409, "idempotency_key_reused");
    world.upload((2, "120.51"), &key, &two_rows()).await.problem(409, "idempotency_key_reused");
    let same_file = world.upload((2, "120.50"), &[], &two_rows()).await.good();
    assert_eq!(first["id"], same_file["id"]);
    let long = "k".repeat(10_000);
    let refused = world.upload((2, "120.50"), &[("idempotency-key", &long)], &two_rows()).await;
    refused.problem(422, "idempotency_key_malformed");
    let all = world.get("/v1/payrolls", &world.maker).await.good();
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_refused_payroll_says_both_totals() {
    let world = World::with_programme().await;
    let key = [("idempotency-key", "wrong")];
    for _ in 0..2 {
        let problem = world.upload((3, "120.51"), &key, &two_rows()).await.problem(422, "totals_differ");
        assert_eq!(problem["declared"], json!({"payments": 3, "sum": "120.51", "sum_minor": 12_051}));
        assert_eq!(problem["found"], json!({"payments": 2, "sum": "120.50", "sum_minor": 12_050}));
        let path = format!("/v1/payrolls/{}", problem["payroll"].as_str().unwrap());
        let view = world.get(&path, &world.maker).await.good();
        assert_eq!((&view["state"], &view["refusal"]["code"]), (&json!("refused"), &json!("totals_differ")));
        assert_eq!(view["accepted"]["payments"], 0);
        world.post(&format!("{path}/submit"), &world.maker, Value::Null).await.problem(409, "payroll_state");
    }
    assert_eq!(world.folder.spooled(), 0);
    world.stop().await;
}

#[tokio::test]
async fn an_upload_that_is_cut_off_has_no_effect() {
    let world = World::with_programme().await;
    let head = |framing: &str| {
        format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: text/csv\r\n{framing}\r\n\r\n",
            upload_path((2, "120.50")),
            world.maker
        )
    };
    let whole = two_rows();
    let cut = &whole[..whole.len() - 1];
    let calls = [
        format!("{}{cut}", head(&format!("Content-Length: {}", whole.len()))),
        format!("{}{:x}\r\n{cut}", head("Transfer-Encoding: chunked"), whole.len()),
        format!("{}{:x}\r\n{whole}\r\n", head("Transfer-Encoding: chunked"), whole.len()),
    ];
    for call in calls {
        let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
        socket.write_all(call.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        nothing_came(&world).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_reject_file_comes_back_mended() {
    let world = World::with_programme().await;
    let file = [two_rows(), row(3, "000003", "1e3"), row(4, "000004", "9000")].concat();
    let path =
        format!("/v1/payrolls/{}", world.upload((4, "9120.50"), &[], &file).await.good()["id"].as_str().unwrap());
    let got = world.get(&format!("{path}/rejects"), &world.maker).await;
    assert_eq!(got.header("content-type"), "text/csv; charset=utf-8");
    assert!(got.header("content-disposition").starts_with("attachment; filename=\"rejects-prl_"));
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    let rejects = got.text();
    assert_eq!(rejects.lines().count(), 3, "{rejects}");
    assert!(rejects.starts_with("reject_line,reject_code,reject_reason,"));
    let mended = rejects.replace("1e3", "1000").replace("9000", "900");
    let second = world.upload((2, "1900"), &[], &mended).await.good();
    assert_eq!(second["accepted"], json!({"payments": 2, "sum": "1900.00", "sum_minor": 190_000}));
    assert_eq!(second["refused"]["payments"], 0);
    world.stop().await;
}

#[tokio::test]
async fn a_file_over_the_limit_is_not_taken() {
    let world = World::with_programme().await;
    let large = [two_rows(), "x".repeat(usize::try_from(FILE_BYTES_MAX).unwrap())].concat();
    let path = upload_path((2, "120.50"));
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: text/csv\r\n",
        world.maker
    );
    let said = format!("{head}Content-Length: 99999999\r\n\r\n");
    let found = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for call in [said, found] {
        let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
        socket.write_all(call.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
    nothing_came(&world).await;
    world.stop().await;
}

const BOUNDARY: [(&str, &str); 1] = [("content-type", "multipart/form-data; boundary=XX")];

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (name, value) in fields {
        let file = if *name == "file" { "; filename=\"../../p.csv\"\r\nContent-Type: text/csv" } else { "" };
        text.push_str(&format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"));
    }
    text.push_str("--XX--\r\n");
    text.into_bytes()
}

async fn send_form(world: &World, fields: &[(&str, &str)]) -> super::world::Got {
    world.send(Method::POST, "/v1/payrolls", &world.maker, &BOUNDARY, form(fields)).await
}

#[tokio::test]
async fn a_form_may_have_its_fields_in_any_order_and_no_others() {
    let world = World::with_programme().await;
    let file = two_rows();
    let fields = [
        ("file", file.as_str()),
        ("declared_sum", "120.50"),
        ("cycle", "2026-11"),
        ("declared_rows", "2"),
        ("programme", "grant"),
    ];
    let long = "9".repeat(2_000);
    let with = |extra| [&fields[..], &[extra]].concat();
    send_form(&world, &with(("status", "settled"))).await.problem(400, "form_malformed");
    send_form(&world, &with(("cycle", "2026-12"))).await.problem(400, "form_malformed");
    send_form(&world, &fields[1..]).await.problem(400, "form_malformed");
    send_form(&world, &fields[..4]).await.problem(400, "form_malformed");
    send_form(&world, &with(("pay_on", &long))).await.problem(413, "body_too_large");
    send_form(&world, &with(("pay_on", "2026-02-30"))).await.problem(422, "date_malformed");
    send_form(&world, &with(("pay_on", "2026-10-30"))).await.problem(422, "pay_on_past");
    let mut cut = form(&fields);
    cut.truncate(cut.len() - 9);
    let got = world.send(Method::POST, "/v1/payrolls", &world.maker, &BOUNDARY, cut).await;
    got.problem(400, "form_malformed");
    nothing_came(&world).await;
    let made = send_form(&world, &with(("pay_on", "2026-11-20"))).await.good();
    assert_eq!((&made["state"], &made["pay_on"]), (&json!("draft"), &json!("2026-11-20")));
    assert_eq!(made["accepted"]["sum_minor"], 12_050);
    assert_eq!(world.folder.spooled(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_form_is_streamed_and_what_lies_outside_its_fields_is_bounded() {
    let world = World::with_programme().await;
    let large = format!("not,a,header\n{}", "x".repeat(6 << 20));
    let fields =
        [("programme", "grant"), ("cycle", "2026-11"), ("declared_rows", "2"), ("declared_sum", "1"), ("file", &large)];
    let problem = send_form(&world, &fields).await.problem(422, "column_unknown");
    assert_eq!(problem["found"]["payments"], 0);
    let preamble = [vec![b'x'; 6 << 20], form(&fields[..4])].concat();
    let got = world.send(Method::POST, "/v1/payrolls", &world.maker, &BOUNDARY, preamble).await;
    got.problem(400, "form_malformed");
    assert_eq!(world.folder.spooled(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_declaration_is_read_strictly() {
    let world = World::with_programme().await;
    let csv = [("content-type", "text/csv")];
    let base = "/v1/payrolls?programme=grant&cycle=2026-11";
    for (query, status, code) in [
        ("&declared_rows=2", 400, "query_malformed"),
        ("&declared_rows=2&declared_sum=120.50&status=settled", 400, "query_malformed"),
        ("&declared_rows=2&declared_rows=3&declared_sum=1", 400, "query_malformed"),
        ("&declared_rows=2.0&declared_sum=120.50", 400, "query_malformed"),
        ("&declared_rows=2&declared_sum=1e3", 422, "amount_malformed"),
        ("&declared_rows=2&declared_sum=120.505", 422, "amount_malformed"),
        ("&declared_rows=0&declared_sum=120.50", 422, "declared_missing"),
    ] {
        let path = format!("{base}{query}");
        let got = world.send(Method::POST, &path, &world.maker, &csv, two_rows().into_bytes()).await;
        got.problem(status, code);
    }
    let path = upload_path((2, "120.50")).replace("2026-11", "2027-01");
    world.send(Method::POST, &path, &world.maker, &csv, two_rows().into_bytes()).await.problem(404, "cycle_unknown");
    for kind in ["application/json", "text/plain", "application/gzip", ""] {
        let with: Vec<(&str, &str)> = if kind.is_empty() { vec![] } else { vec![("content-type", kind)] };
        let got = world.send(Method::POST, &upload_path((2, "120.50")), &world.maker, &with, vec![b'x']).await;
        got.problem(415, "media_type");
    }
    nothing_came(&world).await;
    world.stop().await;
}
