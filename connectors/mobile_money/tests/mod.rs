//! The connector against small providers inside the test, among them ones that break the line on purpose.
//! Deliberately not here: the shape of bodies, which `wire` and `answers` test.

mod facts;
mod inquiry;
mod operator;
mod single;
mod statement;
mod submission;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::contract::{About, Currency, Instruction};

pub fn settings(changes: Value) -> Settings {
    let mut settings = json!({
        "base_url": "http://127.0.0.1:1/mm",
        "debit_party": {"key": "organisationid", "value": "ministry"},
        "timeout_seconds": 5,
    });
    for (key, value) in changes.as_object().unwrap() {
        settings[key] = value.clone();
    }
    serde_json::from_value(settings).unwrap()
}

pub fn instruction(number: i64, minor: i64) -> Instruction {
    Instruction {
        reference: Reference::new(number, 9),
        amount: Money::new(minor, Currency::parse("KES").unwrap()),
        payee_name: "A. Payee".into(),
        payee_account: format!("mobile:+25470000000{number}@operator"),
        purpose: "March".into(),
        provider_reference: None,
    }
}

pub fn batch(rows: &[(i64, i64)]) -> Batch {
    Batch {
        reference: Reference::new(900, 9),
        title: "Old age pension".into(),
        currency: Currency::parse("KES").unwrap(),
        made_at: "2026-11-23T08:30:00Z".parse().unwrap(),
        execute_on: "2026-11-24".parse().unwrap(),
        wire_bytes: 0,
        provider_reference: None,
        instructions: rows.iter().map(|(number, minor)| instruction(*number, *minor)).collect(),
    }
}

/// Remembers everything that was said.
#[derive(Default)]
struct Heard(Vec<(Message, Vec<Report>)>);

#[async_trait]
impl Said for Heard {
    async fn say(&mut self, message: Message, reports: Vec<Report>) -> anyhow::Result<()> {
        self.0.push((message, reports));
        Ok(())
    }
}

impl Heard {
    fn reports(&self) -> Vec<&Report> {
        self.0.iter().flat_map(|(_, reports)| reports).collect()
    }

    /// Outcome of each instruction, in words.
    fn outcomes(&self) -> BTreeSet<(i64, String)> {
        let reports = self.reports();
        let named = reports.iter().filter_map(|report| match report.about {
            About::Instruction(reference) => Some((reference.number(), word(&report.outcome))),
            About::Batch => None,
        });
        named.collect()
    }

    fn of_batch(&self) -> Vec<(String, Option<&str>)> {
        let reports = self.reports().into_iter().filter(|report| report.about == About::Batch);
        reports.map(|report| (word(&report.outcome), report.provider_reference.as_deref())).collect()
    }
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted => "accepted".into(),
        Outcome::Settled => "settled".into(),
        Outcome::Absent => "absent".into(),
        Outcome::Rejected(reason) => format!("rejected {}", reason.class.name()),
        Outcome::Returned(reason) => format!("returned {}", reason.class.name()),
        Outcome::NotSent(reason) => format!("not sent {}", reason.code),
    }
}

/// Lets `open` writes through, then refuses.
struct Doorkeeper {
    open: AtomicU32,
}

fn doorkeeper(open: u32) -> Doorkeeper {
    Doorkeeper { open: AtomicU32::new(open) }
}

#[async_trait]
impl Gate for Doorkeeper {
    async fn pass(&self, items: u32) -> Result<(), Failure> {
        let taken = self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| open.checked_sub(items));
        taken.map(|_| ()).map_err(|_| Failure::Unavailable {
            reason: Reason::new(ReasonClass::NotExecuted, "paused", "the gate is shut"),
            retry_after_seconds: None,
        })
    }
}

const WIDE: u32 = 1_000_000;

/// One call as a provider saw it.
#[derive(Clone)]
struct Call {
    line: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A provider that answers by a function and remembers its calls.
struct Provider {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

type Reply = (u16, Value);

async fn provider(answer: impl Fn(&Call) -> Reply + Clone + Send + Sync + 'static) -> Provider {
    provider_raw(move |call| {
        let (status, body) = answer(call);
        (axum::http::StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
    })
    .await
}

async fn provider_raw(answer: impl Fn(&Call) -> Response + Clone + Send + Sync + 'static) -> Provider {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let app = Router::new().fallback(move |request: Request| {
        let (seen, answer) = (seen.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let verb = if head.method == Method::POST { "POST" } else { "GET" };
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let call = Call { line: format!("{verb} {}", head.uri), headers: head.headers, body };
            seen.lock().unwrap().push(call.clone());
            answer(&call)
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mm", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Provider { url, calls }
}

impl Provider {
    fn open(&self, changes: Value) -> MobileMoney {
        let mut changes = changes;
        changes["base_url"] = json!(self.url);
        open("p", settings(changes)).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|call| call.line.clone()).collect()
    }
}

async fn submit(connector: &MobileMoney, batch: &Batch, gate: u32) -> (Result<(), Failure>, Heard) {
    let wire = connector.encode(batch).unwrap();
    let mut heard = Heard::default();
    let done = connector.submit(batch, &wire, &doorkeeper(gate), &mut heard).await;
    (done, heard)
}

async fn inquire(connector: &MobileMoney, batch: &Batch) -> (Result<(), Failure>, Heard) {
    let mut heard = Heard::default();
    let done = connector.inquire(batch, &mut heard).await;
    (done, heard)
}

fn error(category: &str, code: &str) -> Value {
    json!({"errorCategory": category, "errorCode": code, "errorDescription": "said the provider"})
}

/// A server that reads one whole request after another and closes without a word, or after `words`.
async fn mute(words: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mm", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            while !whole(&bytes) {
                let mut part = [0; 4096];
                match socket.read(&mut part).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => bytes.extend_from_slice(&part[..read]),
                }
            }
            seen.fetch_add(1, Ordering::SeqCst);
            let _ = socket.write_all(words).await;
        }
    });
    (url, requests)
}

fn whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn named(rows: &[(i64, i64)]) -> Batch {
    Batch { provider_reference: Some("B-1".into()), ..batch(rows) }
}
