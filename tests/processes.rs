//! Workers as processes of their own that are killed, told to stop and put to sleep in the middle of a payroll.
//! The operator and the registry live in the test's own process, so their books outlive every worker and judge them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use paymaster::domain::batch::BatchState;
use paymaster::domain::id::{Id, Payroll};
use paymaster::domain::payroll::{PayrollKind, PayrollState};
use paymaster::engine::{Actor, Engine, IntakeRequest, PayrollStatus};
use paymaster::store::batch;
use paymaster::store::db::Tx;
use paymaster_connectors::contract::Currency;
use paymaster_connectors::sandbox::{self, Faults, RegistryFaults, Sandbox};

use crate::house::{self, Books, LOOK_EVERY, PATIENCE, Program, Setup, Verdict};
use crate::on_both;
use crate::world::{Database, Folder, borrowed, csv, database, rows, totals};

/// How often a worker is put to sleep before one is given up that is never in the middle.
const STOPS_MAX: usize = 400;
/// Looks at the database until it is certain that a sleeping worker holds a lock.
const LOOKS_MAX: usize = 25;

/// What differs between the tests.
struct Terms {
    mode: &'static str,
    /// How long the operator takes until the middle is over: as long as it is looked for.
    latency_millis: u64,
    batches: usize,
    items_max: usize,
    lose_per_mille: u16,
}

/// Whole batches over an operator that loses replies and requests.
const BATCHES: Terms = Terms { mode: "batch", latency_millis: 700, batches: 4, items_max: 20, lose_per_mille: 100 };
/// One call a payment.
const SINGLES: Terms = Terms { mode: "single", latency_millis: 60, batches: 2, items_max: 20, lose_per_mille: 50 };

/// A database, an operator, a registry, and the people who prepare a payroll. Whoever works comes from outside.
struct House {
    engine: Arc<Engine>,
    sandbox: Sandbox,
    /// What goes wrong at the operator, and how soon it answers once nobody looks for the middle.
    faults: Faults,
    maker: Actor,
    checker: Actor,
    config: PathBuf,
    folder: Folder,
}

impl House {
    async fn new(kind: Database, terms: &Terms) -> Self {
        let folder = Folder::new();
        let faults = Faults {
            seed: 11,
            reject_per_mille: 50,
            lose_reply_per_mille: terms.lose_per_mille,
            lose_request_per_mille: terms.lose_per_mille,
            ..Faults::none()
        };
        let settings = sandbox::Settings {
            verifying_key: Some(house::signing_key(&folder)),
            faults: Faults { latency_millis: terms.latency_millis, ..faults.clone() },
            registry_faults: RegistryFaults { seed: 11, refuse_first_n: 1, lose_ack_per_mille: 50 },
            ..sandbox::Settings::new(Currency::parse("KES").unwrap())
        };
        let sandbox = Sandbox::start(settings).await.unwrap();
        // The lease is short, so that a dead worker's batches are soon taken up.
        let setup = Setup {
            url: &database(kind, &folder).await,
            operator: sandbox.operator_url(),
            registry: sandbox.registry_url(),
            providers: &[("mobile-op", terms.mode)],
            batches: terms.batches,
            items_max: terms.items_max,
            lease_seconds: 5,
            timeout_seconds: 3,
            fence_seconds: 4,
        };
        let config = house::configuration(&folder, &setup);
        let (engine, maker, checker) = house::open(&config).await;
        Self { engine, sandbox, faults, maker, checker, config, folder }
    }

    /// Takes in a payroll of so many rows and lets it go; nobody works yet.
    async fn released(&self, count: usize) -> Id<Payroll> {
        let rows = rows(count);
        let rows = borrowed(&rows);
        let (file, declared) = (self.folder.path().join("payroll.csv"), totals(&rows));
        std::fs::write(&file, csv(&rows)).unwrap();
        let request = IntakeRequest {
            programme: "cash".to_owned(),
            cycle: "2026-11".to_owned(),
            kind: PayrollKind::Payment,
            declared,
            pay_on: None,
            idempotency_key: None,
            file,
        };
        let row = self.engine.take_in(&self.maker, &request).await.unwrap();
        assert_eq!((row.state, row.accepted), (PayrollState::Draft, declared));
        self.engine.submit_payroll(&self.maker, row.id).await.unwrap();
        self.engine.approve_payroll(&self.checker, row.id).await.unwrap();
        self.engine.fund(&self.checker, "cash", declared.sum_minor, "test").await.unwrap();
        self.engine.release_payroll(&self.checker, row.id).await.unwrap();
        row.id
    }

    /// Starts a worker. What it says is kept in the house's folder for as long as the test lives.
    fn worker(&self) -> Program {
        Program::worker(&self.config, self.folder.path().join("said.txt"))
    }

    async fn status(&self, id: Id<Payroll>) -> PayrollStatus {
        self.engine.payroll_status(&self.maker.scope, id).await.unwrap()
    }

    /// Batches of a payroll that a worker is sending by the books.
    async fn transmitting(&self, id: Id<Payroll>) -> i64 {
        let mut tx = self.engine.store.read().await.unwrap();
        let stages = batch::stages(&mut tx, id).await.unwrap();
        stages.iter().filter(|stage| stage.state == BatchState::Transmitting).map(|stage| stage.batches).sum()
    }

    /// Waits until at least so many payments have left, a worker is sending, and others still wait.
    async fn in_the_middle(&self, id: Id<Payroll>, gone: i64) {
        let began = Instant::now();
        loop {
            let status = self.status(id).await;
            assert!(waiting(&status) > 0, "too late for the middle");
            if status.payroll.accepted.payments - waiting(&status) >= gone && self.transmitting(id).await > 0 {
                return;
            }
            self.patient(began, &status);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the payroll is completed and the registry has acknowledged every end.
    async fn completed(&self, id: Id<Payroll>) {
        self.sandbox.set_faults(self.faults.clone());
        let began = Instant::now();
        loop {
            let status = self.status(id).await;
            if house::is_done(&status) {
                return self.sandbox.quiet().await;
            }
            self.patient(began, &status);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn patient(&self, began: Instant, status: &PayrollStatus) {
        if began.elapsed() >= PATIENCE {
            let said = std::fs::read_to_string(self.folder.path().join("said.txt")).unwrap_or_default();
            panic!("nothing moves: {status:?}\nthe workers said:\n{said}");
        }
    }

    /// All three books agree about every row, and the operator credited nobody twice.
    async fn books_agree(&self, id: Id<Payroll>) {
        let mut books = Books::new(self.sandbox.outcomes());
        self.sandbox.visit_ledger(|credit| books.credit(&credit.reference, credit.amount_minor));
        let mut verdict = Verdict::default();
        books.compare(&self.engine, &self.maker, id, &mut verdict).await;
        assert_eq!(verdict.wrong, Vec::<String>::new());
        assert!(books.credits.is_empty(), "credits that nobody ordered: {:?}", books.credits);
        let summary = self.sandbox.ledger_summary();
        assert_eq!((summary.repeated_references, summary.sum_minor), (0, verdict.settled_minor));
        let found = self.engine.verify().await.unwrap();
        assert!(found.findings.is_empty(), "{:?}", found.findings);
    }

    /// Puts a worker to sleep while it is sending a batch of so many payments one by one, most of them still unsent.
    /// One that sleeps while it holds a lock of the database would make everybody wait for it; it is woken and put
    /// to sleep again.
    async fn put_to_sleep(&self, worker: &Program, id: Id<Payroll>, items: u64) {
        for _ in 0..STOPS_MAX {
            worker.signal("STOP");
            if self.nobody_holds_a_lock().await {
                let sent = self.sandbox.calls().writes % items;
                if self.transmitting(id).await > 0 && (5..items / 2).contains(&sent) {
                    return;
                }
            }
            worker.signal("CONT");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("the worker was never in the middle: {:?}", self.status(id).await);
    }

    async fn nobody_holds_a_lock(&self) -> bool {
        for _ in 0..LOOKS_MAX {
            let free = match self.engine.store.read().await.unwrap() {
                Tx::Sqlite(_) => tokio::time::timeout(LOOK_EVERY * 10, self.engine.store.begin()).await.is_ok(),
                mut tx @ Tx::Postgres(_) => {
                    let sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                               AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
                    tx.one(sql, &[]).await.unwrap().int(0).unwrap() == 0
                }
            };
            if free {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        false
    }
}

/// How many payments have not left.
fn waiting(status: &PayrollStatus) -> i64 {
    status.providers.iter().map(|one| one.waiting.payments).sum()
}

async fn a_killed_worker(database: Database, terms: &Terms, count: usize, gone: i64) {
    let house = House::new(database, terms).await;
    let id = house.released(count).await;
    let first = house.worker();
    house.in_the_middle(id, gone).await;
    first.kill();
    assert!(waiting(&house.status(id).await) > 0, "the kill came too late to prove anything");
    let _second = house.worker();
    house.completed(id).await;
    house.books_agree(id).await;
}

on_both! {
    async fn killing_a_worker_in_the_middle_pays_everybody_once(database) {
        a_killed_worker(database, &BATCHES, 2_000, 200).await;
    }
}

on_both! {
    async fn killing_a_worker_that_sends_one_by_one_pays_everybody_once(database) {
        a_killed_worker(database, &SINGLES, 300, 40).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_on_one_postgres_send_nothing_twice() {
    let house = House::new(Database::Postgres, &BATCHES).await;
    let id = house.released(2_000).await;
    let mut victim = house.worker();
    let _others = [house.worker(), house.worker()];
    for gone in [200, 500] {
        house.in_the_middle(id, gone).await;
        std::mem::replace(&mut victim, house.worker()).kill();
    }
    house.completed(id).await;
    house.books_agree(id).await;
}

on_both! {
    async fn a_worker_that_is_told_to_stop_finishes_what_it_has(database) {
        let house = House::new(database, &SINGLES).await;
        let id = house.released(300).await;
        let first = house.worker();
        house.in_the_middle(id, 40).await;
        let status = first.stop().await;
        assert!(status.success(), "it ended with {status}");
        assert_eq!(house.transmitting(id).await, 0, "a batch was left in the middle");
        assert!(waiting(&house.status(id).await) > 0, "it had stopped by itself");
        let _second = house.worker();
        house.completed(id).await;
        house.books_agree(id).await;
    }
}

on_both! {
    async fn a_worker_that_slept_past_its_lease_does_not_send_when_it_wakes(database) {
        let terms = Terms { latency_millis: 150, batches: 1, items_max: 100, lose_per_mille: 0, ..SINGLES };
        let house = House::new(database, &terms).await;
        let id = house.released(300).await;
        let sleeper = house.worker();
        house.put_to_sleep(&sleeper, id, 100).await;
        // Whoever takes over sends what the sleeper had not yet sent, so that the sleeper would be the second.
        let _other = house.worker();
        house.completed(id).await;
        let writes = house.sandbox.calls().writes;
        assert!((300..=304).contains(&writes), "what was in the air at most is written again, not {writes}");
        sleeper.signal("CONT");
        let status = sleeper.stop().await;
        assert!(status.success(), "it ended with {status}");
        assert_eq!(house.sandbox.calls().writes, writes, "the sleeper sent after its lease");
        house.books_agree(id).await;
    }
}
