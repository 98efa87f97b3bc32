//! A service behind a real socket, on SQLite in a folder of its own, with a sandbox operator to pay through and a
//! clock that the test moves. Deliberately not here: job queues; tests drive what is due themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use paymaster::api::ApiState;
use paymaster::clock::{Clock, random};
use paymaster::domain::id::Id;
use paymaster::engine::{Engine, Provider, Role, Route};
use paymaster::store::{Scope, Store};
use paymaster_connectors::contract::Currency;
use paymaster_connectors::sandbox::{Faults, Sandbox, Settings};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// 2026-11-02, noon.
const START_MICROS: i64 = 1_793_620_800_000_000;
/// Rounds of work after which a payroll must have come to its end.
const ROUNDS_MAX: usize = 200;
/// Largest payroll file of a test's service.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
pub const SECRET: &str = "only-the-operator-knows-this";
pub const HEADER: &str = "entitlement,beneficiary_id,payee_name,payee_account,amount,currency\n";

pub struct World {
    pub folder: Folder,
    pub engine: Arc<Engine>,
    pub sandbox: Sandbox,
    pub address: std::net::SocketAddr,
    /// Tokens of four persons of one tenant.
    pub admin: String,
    pub maker: String,
    pub checker: String,
    pub auditor: String,
    pub scope: Scope,
    clock: Arc<AtomicI64>,
    client: reqwest::Client,
    stop: watch::Sender<bool>,
    server: JoinHandle<anyhow::Result<()>>,
}

pub struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = u64::from_be_bytes(random::<8>().unwrap());
        let path = std::env::temp_dir().join(format!("paymaster-api-{name:016x}"));
        std::fs::create_dir_all(path.join("spool")).unwrap();
        Self(path)
    }

    /// How many uploads lie on disk.
    pub fn spooled(&self) -> usize {
        std::fs::read_dir(self.0.join("spool")).unwrap().count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Got {
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body of a success.
    pub fn good(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem, which must have this status and code and be told as RFC 9457 wants.
    pub fn problem(self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status.as_u16(), problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["type"], format!("urn:paymaster:{code}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        problem
    }
}

impl World {
    pub async fn new() -> Self {
        let folder = Folder::new();
        let store = Store::open(folder.0.join("paymaster.db").to_str().unwrap(), true).await.unwrap();
        let clock = Arc::new(AtomicI64::new(START_MICROS));
        let settings = Settings { faults: Faults { payee_suffixes: true, ..Faults::none() }, ..sandbox_settings() };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let mut engine = Engine::new(store, Clock::Fixed(clock.clone()));
        engine.providers.push(provider(&sandbox));
        let scope = engine.tenant("ministry").await.unwrap();
        let mut tokens = Vec::new();
        for (person, role) in
            [("ada", Role::Admin), ("max", Role::Maker), ("cleo", Role::Checker), ("otto", Role::Auditor)]
        {
            tokens.push(engine.make_token(&scope, person, role).await.unwrap().1);
        }
        let [admin, maker, checker, auditor] = tokens.try_into().unwrap();
        let engine = Arc::new(engine);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let state = ApiState { engine: engine.clone(), spool: folder.0.join("spool"), body_bytes_max: FILE_BYTES_MAX };
        let server = tokio::spawn(paymaster::api::serve(listener, state, stopped));
        let client = paymaster_connectors::http::client(Duration::from_secs(60)).unwrap();
        Self { folder, engine, sandbox, address, admin, maker, checker, auditor, scope, clock, client, stop, server }
    }

    /// With a programme `grant` in KES, a cycle and 10,000.00 of money.
    pub async fn with_programme() -> Self {
        let world = Self::new().await;
        world.set_up(&world.admin).await;
        world
    }

    pub async fn set_up(&self, admin: &str) {
        let programme = json!({"code": "grant", "name": "Child grant", "currency": "KES", "amount_max": "5000.00"});
        self.post("/v1/programmes", admin, programme).await.good();
        let cycle = json!({"code": "2026-11", "first_day": "2026-11-01", "last_day": "2026-11-30"});
        self.post("/v1/programmes/grant/cycles", admin, cycle).await.good();
        let funding = json!({"amount": "10000.00", "note": "warrant 7"});
        self.post("/v1/programmes/grant/funding", admin, funding).await.good();
    }

    pub async fn token(&self, person: &str, role: Role) -> String {
        self.engine.make_token(&self.scope, person, role).await.unwrap().1
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, method: Method, path: &str, token: &str, with: &[(&str, &str)], body: Vec<u8>) -> Got {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address)).body(body);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        for (name, value) in with {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Got { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }

    pub async fn get(&self, path: &str, token: &str) -> Got {
        self.send(Method::GET, path, token, &[], vec![]).await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> Got {
        let body = if body.is_null() { vec![] } else { serde_json::to_vec(&body).unwrap() };
        self.send(Method::POST, path, token, &[("content-type", "application/json")], body).await
    }

    /// Hands a file in as `text/csv`.
    pub async fn upload(&self, declared: (i64, &str), with: &[(&str, &str)], file: &str) -> Got {
        let path = upload_path(declared);
        let mut headers = vec![("content-type", "text/csv")];
        headers.extend_from_slice(with);
        self.send(Method::POST, &path, &self.maker, &headers, file.as_bytes().to_vec()).await
    }

    /// Does what is due, and lets time pass, until nothing is open any more.
    pub async fn work(&self) {
        for _ in 0..ROUNDS_MAX {
            let due = self.engine.due().await.unwrap();
            for number in due.batches {
                self.engine.drive(Id::new(number)).await.unwrap();
            }
            self.sandbox.quiet().await;
            if self.engine.gauges().await.unwrap().open_payments == 0 {
                return;
            }
            self.clock.fetch_add(60_000_000, Ordering::SeqCst);
        }
        panic!("payments are still open");
    }

    /// Stops the service and waits until it has stopped.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        drop(self.client);
        self.server.await.unwrap().unwrap();
        self.sandbox.shutdown().await;
    }
}

pub fn upload_path((rows, sum): (i64, &str)) -> String {
    format!("/v1/payrolls?programme=grant&cycle=2026-11&declared_rows={rows}&declared_sum={sum}")
}

/// A row of a payroll file.
pub fn row(number: u32, account_end: &str, amount: &str) -> String {
    format!("E{number},B{number},Person {number},mobile:+254700{account_end}@mobile-op,{amount},KES\n")
}

fn sandbox_settings() -> Settings {
    Settings { delay_millis: 0, ..Settings::new(Currency::parse("KES").unwrap()) }
}

fn provider(sandbox: &Sandbox) -> Provider {
    let settings = json!({
        "base_url": sandbox.operator_url(),
        "debit_party": {"key": "organisationid", "value": "1"},
    });
    Provider {
        name: String::from("mobile-op"),
        routes: vec![Route::parse("mobile:*@mobile-op").unwrap()],
        connector: paymaster_connectors::open("mobile_money", "mobile-op", settings).unwrap(),
        callback_secret: Some(String::from(SECRET)),
    }
}

/// Compares with a stored text, or stores it when `UPDATE_SNAPSHOTS=1` says so.
pub fn same_as_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var("UPDATE_SNAPSHOTS").is_ok_and(|wanted| wanted == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "{} is not what the service says now; if that is meant, run the test again with UPDATE_SNAPSHOTS=1",
        path.display()
    );
}
