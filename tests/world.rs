//! A whole house for a test: the engine on a database of its own, a sandbox behind a real socket, a clock that the
//! test moves, and the means to drive everything to its end and to compare the books.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use paymaster::clock::Clock;
use paymaster::domain::disbursement::State;
use paymaster::domain::id::{Id, Payroll};
use paymaster::domain::payroll::{PayrollKind, PayrollState};
use paymaster::engine::{Actor, CycleRequest, Engine, IntakeRequest, ProgrammeRequest, Provider, Route};
use paymaster::store::payroll::{PayrollRow, Total};
use paymaster::store::{Store, floor};
use paymaster_connectors::contract::{Currency, Money, Reference};
use paymaster_connectors::registry::{Registry, SigningKey};
use paymaster_connectors::sandbox::{self, Faults, Sandbox};

/// On which engine a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Writes a test once and runs it on both databases.
#[macro_export]
macro_rules! on_both {
    ($(#[$doc:meta])* async fn $name:ident($database:ident) $body:block) => {
        mod $name {
            use super::*;
            $(#[$doc])*
            async fn body($database: $crate::world::Database) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body($crate::world::Database::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body($crate::world::Database::Postgres).await;
            }
        }
    };
}

/// A folder that goes with its test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("paymaster-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A database nobody else has: a file, or a database on the server that the tests were given.
pub async fn database(kind: Database, folder: &Folder) -> String {
    match kind {
        Database::Sqlite => folder.path().join("paymaster.db").display().to_string(),
        Database::Postgres => {
            let url = std::env::var("PAYMASTER_TEST_POSTGRES").unwrap_or_else(|_| {
                panic!("no PostgreSQL to test on: run tests/run, or set PAYMASTER_TEST_POSTGRES to a server's URL")
            });
            let name = format!("pm_{:016x}", u64::from_be_bytes(paymaster::clock::random::<8>().unwrap()));
            floor::fresh(&url, &name).await.unwrap()
        }
    }
}

/// What differs between the houses of tests.
pub struct Terms {
    pub faults: Faults,
    pub settings: serde_json::Value,
    pub all_or_nothing: bool,
    pub registry_refuses: u32,
    pub float_minor: i64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            faults: Faults::none(),
            settings: serde_json::json!({}),
            all_or_nothing: false,
            registry_refuses: 0,
            float_minor: i64::MAX / 4,
        }
    }
}

pub struct World {
    pub engine: Arc<Engine>,
    pub sandbox: Sandbox,
    pub maker: Actor,
    pub checker: Actor,
    pub folder: Folder,
    /// Where its database is.
    pub url: String,
    clock: Arc<AtomicI64>,
}

/// 2026-11-25 08:00 UTC.
const MORNING: i64 = 1_795_593_600_000_000;
/// Steps of the clock before a test that should have ended is given up.
const STEPS_MAX: usize = 2_000;

impl World {
    pub async fn new(kind: Database) -> Self {
        Self::with(kind, Terms::default()).await
    }

    pub async fn with(kind: Database, terms: Terms) -> Self {
        let folder = Folder::new();
        let url = database(kind, &folder).await;
        let currency = Currency::parse("KES").unwrap();
        let key = SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), None).unwrap();
        let settings = sandbox::Settings {
            float: Money::new(terms.float_minor, currency),
            verifying_key: Some(key.public_key()),
            faults: terms.faults,
            registry_faults: sandbox::RegistryFaults { refuse_first_n: terms.registry_refuses, ..Default::default() },
            ..sandbox::Settings::new(currency)
        };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let clock = Arc::new(AtomicI64::new(MORNING));
        let mut engine = Engine::new(Store::open(&url, true).await.unwrap(), Clock::Fixed(clock.clone()));
        engine.providers.push(operator(&sandbox, &terms.settings));
        let settings =
            serde_json::json!({"url": sandbox.registry_url(), "sender_id": "pay.test", "timeout_seconds": 5});
        engine.registry = Some(Registry::open(serde_json::from_value(settings).unwrap(), key).unwrap());
        let scope = engine.tenant("test").await.unwrap();
        let [maker, checker] = ["amina", "bruno"].map(|person| Actor { scope, person: person.to_owned() });
        let request = ProgrammeRequest {
            code: "cash".to_owned(),
            name: "Cash".to_owned(),
            currency,
            all_or_nothing: terms.all_or_nothing,
            amount_minor_max: Some(10_000_000),
            shared_account_max: None,
        };
        engine.save_programme(&checker, &request).await.unwrap();
        let day = |text: &str| text.parse().unwrap();
        let cycle =
            CycleRequest { code: "2026-11".to_owned(), first_day: day("2026-11-01"), last_day: day("2026-11-30") };
        engine.make_cycle(&checker, "cash", &cycle).await.unwrap();
        engine.fund(&checker, "cash", 100_000_000, "test").await.unwrap();
        Self { engine: Arc::new(engine), sandbox, maker, checker, folder, url, clock }
    }

    /// Hands in rows `entitlement,amount,account`, with the totals they really have.
    pub async fn take_in(&self, rows: &[(&str, &str, &str)]) -> PayrollRow {
        let (file, declared) = (csv(rows), totals(rows));
        self.take_in_text(&file, declared).await
    }

    /// Hands in a file as it is.
    pub async fn take_in_text(&self, text: &str, declared: Total) -> PayrollRow {
        self.engine.take_in(&self.maker, &self.request(text.as_bytes(), declared)).await.unwrap()
    }

    /// A request for a file with these bytes.
    pub fn request(&self, bytes: &[u8], declared: Total) -> IntakeRequest {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let file = self.folder.path().join(format!("payroll-{}.csv", COUNT.fetch_add(1, Ordering::SeqCst)));
        std::fs::write(&file, bytes).unwrap();
        IntakeRequest {
            programme: "cash".to_owned(),
            cycle: "2026-11".to_owned(),
            kind: PayrollKind::Payment,
            declared,
            pay_on: None,
            idempotency_key: None,
            file,
        }
    }

    pub async fn submit_and_approve(&self, id: Id<Payroll>) {
        self.engine.submit_payroll(&self.maker, id).await.unwrap();
        self.engine.approve_payroll(&self.checker, id).await.unwrap();
    }

    pub async fn release(&self, id: Id<Payroll>) {
        self.submit_and_approve(id).await;
        self.engine.release_payroll(&self.checker, id).await.unwrap();
    }

    /// Does everything that is due now, once; false when nothing was.
    pub async fn step(&self) -> bool {
        let due = self.engine.due().await.unwrap();
        for number in &due.batches {
            self.engine.drive(Id::new(*number)).await.unwrap();
        }
        for number in &due.publications {
            self.engine.tell(Id::new(*number)).await.unwrap();
        }
        for number in &due.mailboxes {
            self.engine.collect(Id::new(*number)).await.unwrap();
        }
        self.sandbox.quiet().await;
        !due.batches.is_empty() || !due.publications.is_empty()
    }

    /// Lets time pass from wherever it is moved to.
    pub fn clock(&self) -> impl Fn(i64) + Send + 'static {
        let clock = self.clock.clone();
        move |seconds| {
            clock.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        }
    }

    pub fn pass_seconds(&self, seconds: i64) {
        self.clock.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// Works and lets time pass until the payroll is completed and the registry knows.
    pub async fn complete(&self, id: Id<Payroll>) {
        for _ in 0..STEPS_MAX {
            if !self.step().await {
                self.pass_seconds(1);
            }
            let status = self.engine.payroll_status(&self.maker.scope, id).await.unwrap();
            let told = status.publications.iter().all(|(state, ..)| state == "acknowledged");
            if status.payroll.state == PayrollState::Completed && told {
                return;
            }
        }
        panic!("the payroll never completed: {:?}", self.engine.payroll_status(&self.maker.scope, id).await.unwrap());
    }

    /// Own state of each disbursement of a payroll by entitlement, with the reason's code.
    pub async fn states(&self, id: Id<Payroll>) -> HashMap<String, (State, Option<String>)> {
        let rows = self.engine.disbursements(&self.maker.scope, id, &[], (0, 1_000)).await.unwrap();
        rows.into_iter().map(|row| (row.entitlement, (row.state, row.shown.reason.map(|(_, code)| code)))).collect()
    }

    /// Codes of the rows that were not taken in, by line.
    pub async fn rejects(&self, id: Id<Payroll>) -> Vec<(u64, String)> {
        let (text, _) = self.engine.reject_page(&self.maker.scope, id, 0).await.unwrap();
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_slice());
        reader
            .byte_records()
            .map(Result::unwrap)
            .map(|record| {
                let field = |at: usize| String::from_utf8(record.get(at).unwrap().to_vec()).unwrap();
                (field(0).parse().unwrap(), field(1))
            })
            .collect()
    }

    /// All three books agree about a payroll, nobody was paid twice, nobody forgotten, and verify finds nothing.
    pub async fn books_agree(&self, id: Id<Payroll>) {
        let mut credits: HashMap<Reference, Vec<i64>> = HashMap::new();
        self.sandbox.visit_ledger(|credit| {
            credits.entry(Reference::parse(&credit.reference).unwrap()).or_default().push(credit.amount_minor);
        });
        let told: HashMap<String, (String, Option<i64>)> =
            self.sandbox.outcomes().into_iter().map(|one| (one.instruction, (one.status, one.amount_minor))).collect();
        for row in self.engine.disbursements(&self.maker.scope, id, &[], (0, 1_000)).await.unwrap() {
            let reference = self.engine.reference(row.shown.number);
            let credited = credits.remove(&reference).unwrap_or_default();
            let (wanted, status) =
                if row.state == State::Settled { (vec![row.shown.amount_minor], "succ") } else { (vec![], "rjct") };
            assert_eq!(credited, wanted, "{reference} is {}", row.state);
            if row.state.is_final() && row.state != State::Cancelled {
                let told = told.get(reference.as_str()).unwrap_or_else(|| panic!("{reference} was not told"));
                assert_eq!((told.0.as_str(), told.1), (status, Some(row.shown.amount_minor)), "{reference}");
                assert!(row.shown.evidence.is_some(), "{reference} has no evidence");
            }
        }
        self.verified().await;
    }

    /// Verify finds nothing.
    pub async fn verified(&self) {
        let found = self.engine.verify().await.unwrap();
        assert!(found.findings.is_empty(), "{:?}", found.findings);
    }

    /// What the operator's ledger holds in all: credits and minor units.
    pub fn credited(&self) -> (usize, i64) {
        let summary = self.sandbox.ledger_summary();
        (summary.credits, summary.sum_minor)
    }
}

/// The sandbox's operator as a provider, with these settings over the tests' own.
pub fn operator(sandbox: &Sandbox, over: &serde_json::Value) -> Provider {
    let mut settings = serde_json::json!({
        "base_url": sandbox.operator_url(), "debit_party": {"key": "accountid", "value": "programme"}, "timeout_seconds": 5,
        "inquire_every_millis": 1_000, "inquire_every_max_seconds": 8,
    });
    for (key, value) in over.as_object().unwrap() {
        settings[key] = value.clone();
    }
    Provider {
        name: "mobile-op".to_owned(),
        routes: vec![Route::parse("mobile:*@mobile-op").unwrap()],
        connector: paymaster_connectors::open("mobile_money", "mobile-op", settings).unwrap(),
        callback_secret: Some("s3cret".to_owned()),
    }
}

/// A payroll file of rows `entitlement,amount,account`.
pub fn csv(rows: &[(&str, &str, &str)]) -> String {
    let mut text = String::from("entitlement,beneficiary_id,payee_name,payee_account,amount,currency\n");
    for (entitlement, amount, account) in rows {
        text.push_str(&format!("{entitlement},B-{entitlement},Name of {entitlement},{account},{amount},KES\n"));
    }
    text
}

/// What a careful maker declares for these rows.
pub fn totals(rows: &[(&str, &str, &str)]) -> Total {
    let currency = Currency::parse("KES").unwrap();
    let sum =
        rows.iter().filter_map(|(_, amount, _)| Money::parse(amount, currency).ok()).map(|money| money.minor).sum();
    Total { payments: i64::try_from(rows.len()).unwrap(), sum_minor: sum }
}

/// `count` rows with accounts and amounts of their own.
pub fn rows(count: usize) -> Vec<(String, String, String)> {
    (0..count)
        .map(|n| {
            (
                format!("E{n:05}"),
                format!("{}.{:02}", 100 + n, n % 100),
                format!("mobile:+2547{:08}@mobile-op", 10_000_000 + n),
            )
        })
        .collect()
}

/// The same, borrowed.
pub fn borrowed(rows: &[(String, String, String)]) -> Vec<(&str, &str, &str)> {
    rows.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect()
}
