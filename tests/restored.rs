//! Drills: the database is put back from a backup after payments have left that it does not know of.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use paymaster::config::Config;
use paymaster::domain::batch::BatchState;
use paymaster::domain::disbursement::State;
use paymaster::domain::id::{Id, Payroll};
use paymaster::domain::payroll::PayrollState;
use paymaster::store::Store;
use paymaster_connectors::contract::{
    Batch, Connector, Failure, Gate, Inquiry, Message, Outcome, Profile, Reason, ReasonClass, Report, Said, Source,
};
use serde_json::json;

use crate::on_both;
use crate::world::{Database, Terms, World, borrowed, database, rows};

/// Longest journey of a copy, in seconds, and the steps that are taken within it.
const FENCE_SECONDS: i64 = 60;
const STEPS_BEFORE_FENCE: usize = 40;

/// Closes the world's database and copies it; returns where the copy is.
async fn back_up(world: &mut World, kind: Database) -> String {
    world.engine.store.db.close().await;
    let copy = match kind {
        Database::Sqlite => {
            let copy = world.folder.path().join("backup.db").display().to_string();
            std::fs::copy(&world.url, &copy).unwrap();
            copy
        }
        Database::Postgres => {
            let admin = std::env::var("PAYMASTER_TEST_POSTGRES").unwrap();
            let name = world.url.rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
            let pool = sqlx::PgPool::connect(&admin).await.unwrap();
            let sql = format!("CREATE DATABASE {name}_backup TEMPLATE {name}");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.unwrap();
            world.url.replace(&name, &format!("{name}_backup"))
        }
    };
    reopen(world).await;
    copy
}

async fn reopen(world: &mut World) {
    Arc::get_mut(&mut world.engine).unwrap().store = Store::open(&world.url, true).await.unwrap();
}

/// Puts the copy where the database was.
async fn put_back(world: &mut World, kind: Database, copy: String) {
    world.engine.store.db.close().await;
    match kind {
        Database::Sqlite => {
            for ending in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{ending}", world.url));
            }
            std::fs::copy(copy, &world.url).unwrap();
        }
        Database::Postgres => world.url = copy,
    }
    reopen(world).await;
}

async fn batches(world: &World, id: Id<Payroll>) -> Vec<(i64, BatchState)> {
    let rows = world.engine.batches(&world.maker.scope, id, 0, 100).await.unwrap();
    rows.into_iter().map(|row| (row.id.number(), row.state)).collect()
}

/// Drives one batch to its end.
async fn complete_batch(world: &World, number: i64) {
    for _ in 0..100 {
        world.engine.drive(Id::new(number)).await.unwrap();
        world.sandbox.quiet().await;
        world.pass_seconds(1);
        if world.engine.batch(&world.maker.scope, Id::new(number)).await.unwrap().0.state == BatchState::Completed {
            return;
        }
    }
    panic!("the batch has no end");
}

async fn drill(kind: Database, mode: &str) {
    let settings = json!({
        "mode": mode, "items_max": 2, "fence_seconds": FENCE_SECONDS, "absent_after_seconds": 30,
        "dedupe_window_seconds": 86_400,
    });
    let mut world = World::with(kind, Terms { settings, ..Terms::default() }).await;
    let all = rows(10);
    let half = world.take_in(&borrowed(&all[..6])).await;
    world.release(half.id).await;
    let ids: Vec<i64> = batches(&world, half.id).await.into_iter().map(|(number, _)| number).collect();
    complete_batch(&world, ids[0]).await;
    let approved = world.take_in(&borrowed(&all[6..])).await;
    world.submit_and_approve(approved.id).await;

    let copy = back_up(&mut world, kind).await;
    complete_batch(&world, ids[1]).await;
    world.engine.release_payroll(&world.checker, approved.id).await.unwrap();
    for (number, _) in batches(&world, approved.id).await {
        complete_batch(&world, number).await;
    }
    assert_eq!(world.credited().0, 8, "two of the first payroll are left");
    world.pass_seconds(3_600);
    put_back(&mut world, kind, copy).await;

    let done = world.engine.restored("amina", None).await.unwrap().unwrap();
    assert_eq!((done.restores, done.in_doubt, done.to_ask.len()), (1, 0, 1));
    let (provider, asked, total, can_be_asked) = &done.to_ask[0];
    assert_eq!((provider.as_str(), *asked, total.payments, *can_be_asked), ("mobile-op", 4, 8, true));
    let writes = world.sandbox.calls().writes;
    assert_eq!(world.engine.payroll_state(&world.maker.scope, approved.id).await.unwrap(), PayrollState::Approved);
    world.engine.release_payroll(&world.checker, approved.id).await.unwrap();
    for _ in 0..STEPS_BEFORE_FENCE {
        world.step().await;
        world.pass_seconds(1);
        world.verified().await;
    }
    assert_eq!(world.sandbox.calls().writes, writes, "nothing may be sent while a copy may still arrive");
    let state = world.engine.payroll_state(&world.maker.scope, approved.id).await.unwrap();
    assert_eq!(state, PayrollState::Completed, "the provider has all of it");
    world.complete(half.id).await;
    assert_eq!(world.credited().0, 10);
    world.books_agree(half.id).await;
    world.books_agree(approved.id).await;
    let facts = world.engine.disbursements(&world.maker.scope, half.id, &[], (0, 10)).await.unwrap();
    for (position, event) in [(2, "batch.found_after_restore"), (4, "batch.absent_after_restore")] {
        let timeline = world.engine.disbursement(&world.maker.scope, facts[position].shown.number).await.unwrap();
        assert!(timeline.entries.iter().any(|entry| entry.event == event), "{event}");
    }
}

on_both! {
    async fn everybody_is_paid_once_after_a_restore_in_batch_mode(database) {
        drill(database, "batch").await;
    }
}

on_both! {
    async fn everybody_is_paid_once_after_a_restore_in_single_mode(database) {
        drill(database, "single").await;
    }
}

/// A provider that says the same of every payment, and pays whatever it is sent.
struct Says {
    profile: Profile,
    answer: Arc<Mutex<Outcome>>,
    sent: Arc<Mutex<usize>>,
}

#[async_trait]
impl Connector for Says {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn encode(&self, _batch: &Batch) -> Result<Vec<u8>, Failure> {
        Ok(b"wire".to_vec())
    }

    async fn submit(&self, batch: &Batch, _wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        gate.pass(1).await?;
        *self.sent.lock().unwrap() += 1;
        say(batch, Source::Statement, Outcome::Settled, said).await;
        Ok(())
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let answer = self.answer.lock().unwrap().clone();
        say(batch, Source::Inquiry, answer, said).await;
        Ok(())
    }
}

async fn say(batch: &Batch, source: Source, outcome: Outcome, said: &mut dyn Said) {
    let reports = batch.instructions.iter().map(|one| Report::instruction(one.reference, outcome.clone())).collect();
    said.say(Message { source, origin: "test".to_owned(), bytes: "{}".into() }, reports).await.unwrap();
}

fn rejection() -> Outcome {
    Outcome::Rejected(Reason::new(ReasonClass::FixData, "unknown_account", ""))
}

/// A released payroll of one batch that has not left, and a restore.
async fn restored_with(kind: Database, inquiry: Inquiry, answer: Outcome) -> (World, Id<Payroll>, Arc<Mutex<usize>>) {
    let mut world = World::new(kind).await;
    let sent = Arc::new(Mutex::new(0));
    let profile = Profile {
        inquiry,
        fence: Duration::from_secs(60),
        absent_after: Duration::from_secs(30),
        inquire_every: Duration::from_secs(1),
        inquire_every_max: Duration::from_secs(5),
        ..Profile::worst()
    };
    let says = Says { profile, answer: Arc::new(Mutex::new(answer)), sent: sent.clone() };
    Arc::get_mut(&mut world.engine).unwrap().providers[0].connector = Arc::new(says);
    let payroll = world.take_in(&borrowed(&rows(2))).await;
    world.release(payroll.id).await;
    world.engine.restored("amina", None).await.unwrap().unwrap();
    (world, payroll.id, sent)
}

async fn codes(world: &World) -> Vec<String> {
    let found = world.engine.exceptions(&world.maker.scope, 0, 100).await.unwrap();
    found.into_iter().map(|one| one.code).collect()
}

on_both! {
    async fn who_cannot_be_asked_is_asked_by_a_person(database) {
        let (world, id, sent) = restored_with(database, Inquiry::None, Outcome::Absent).await;
        for _ in 0..200 {
            world.step().await;
            world.pass_seconds(60);
        }
        assert_eq!(*sent.lock().unwrap(), 0);
        assert_eq!(codes(&world).await, vec!["restored_unasked".to_owned()]);
        let refused = world.engine.asked_by_person("amina", "mobile-op", " ").await;
        assert!(refused.is_err(), "without a reason it was not asked");
        let (asked, total) = world.engine.asked_by_person("amina", "mobile-op", "by telephone: none").await.unwrap();
        assert_eq!((asked, total.payments), (1, 2));
        world.complete(id).await;
        assert_eq!(*sent.lock().unwrap(), 1);
        assert!(codes(&world).await.is_empty());
        world.verified().await;
    }
}

on_both! {
    /// Several copies may have left in the lost time: a rejection holds only when none of them can arrive any more.
    async fn a_rejection_of_a_lost_time_waits_for_the_fence(database) {
        let (world, id, sent) = restored_with(database, Inquiry::Direct, rejection()).await;
        for _ in 0..50 {
            world.step().await;
            world.pass_seconds(1);
        }
        let states = world.states(id).await;
        assert!(states.values().all(|(state, _)| *state == State::InDoubt), "{states:?}");
        world.verified().await;
        world.complete(id).await;
        let states = world.states(id).await;
        assert!(states.values().all(|(state, _)| *state == State::Rejected), "{states:?}");
        assert_eq!(*sent.lock().unwrap(), 0);
        assert!(codes(&world).await.is_empty());
        world.verified().await;
    }
}

on_both! {
    /// What was on its way at the backup is in doubt at once, and may have been sent again since.
    async fn what_had_left_is_in_doubt_at_once(database) {
        let world = World::with(database, Terms { settings: json!({"fence_seconds": FENCE_SECONDS}), ..Terms::default() }).await;
        let payroll = world.take_in(&borrowed(&rows(2))).await;
        world.release(payroll.id).await;
        let (number, _) = batches(&world, payroll.id).await[0];
        let mut tx = world.engine.store.begin().await.unwrap();
        let mut row = paymaster::store::batch::lock(&mut tx, Id::new(number)).await.unwrap().unwrap();
        // As a claim leaves it, but for the ledger, which is not looked at here.
        let now = world.engine.clock.now();
        (row.state, row.copies, row.epoch, row.lease_until) = (BatchState::Transmitting, 1, 1, now + 120_000_000);
        row.due_at = Some(row.lease_until);
        paymaster::store::batch::save(&mut tx, &row).await.unwrap();
        tx.commit().await.unwrap();
        let done = world.engine.restored("amina", None).await.unwrap().unwrap();
        assert_eq!((done.in_doubt, done.to_ask.len()), (1, 0));
        let (row, _) = world.engine.batch(&world.maker.scope, Id::new(number)).await.unwrap();
        assert_eq!((row.state, row.copies, row.due_at, row.lease_until), (BatchState::InDoubt, 2, Some(now), 0));
        assert_eq!((row.last_copy_at, row.fence_at), (now, now + FENCE_SECONDS * 1_000_000));
        assert_eq!(world.engine.due().await.unwrap().batches, [number]);
    }
}

/// How often the database has been put back, and how many batches wait for their provider to be asked.
async fn counted(store: &Store) -> (i64, i64) {
    let mut tx = store.read().await.unwrap();
    let sql = "SELECT (SELECT restores FROM installation), (SELECT COUNT(*) FROM batch WHERE ask_first_at IS NOT NULL)";
    let row = tx.one(sql, &[]).await.unwrap();
    (row.int(0).unwrap(), row.int(1).unwrap())
}

fn config(url: &str) -> Config {
    Config { database_url: url.to_owned(), ..Config::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_put_back_is_noticed_at_its_next_opening() {
    let mut world = World::new(Database::Sqlite).await;
    let payroll = world.take_in(&borrowed(&rows(2))).await;
    world.release(payroll.id).await;
    let copy = back_up(&mut world, Database::Sqlite).await;
    world.pass_seconds(60);
    world.complete(payroll.id).await;
    world.engine.store.db.close().await;
    let url = world.url.clone();
    let engine = config(&url).engine(true).await.unwrap();
    assert_eq!(counted(&engine.store).await, (0, 0), "a file that goes on is as it was");
    engine.store.db.close().await;

    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{url}{ending}"));
    }
    std::fs::copy(&copy, PathBuf::from(&url)).unwrap();
    let engine = config(&url).engine(true).await.unwrap();
    assert_eq!(counted(&engine.store).await, (1, 1));
    engine.store.db.close().await;
    let engine = config(&url).engine(true).await.unwrap();
    assert_eq!(counted(&engine.store).await, (1, 1), "it is noticed once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_or_history_is_noticed_by_one_of_several() {
    let folder = crate::world::Folder::new();
    let url = database(Database::Postgres, &folder).await;
    let engine = config(&url).engine(true).await.unwrap();
    let server = engine.store.server.clone().unwrap();
    assert_eq!((engine.store.went_back.clone(), counted(&engine.store).await), (None, (0, 0)));
    let mut tx = engine.store.begin().await.unwrap();
    tx.execute("UPDATE installation SET server = '1/00000001'", &[]).await.unwrap();
    tx.commit().await.unwrap();
    // Both see it before either of them does anything.
    let store = Store::open(&url, false).await.unwrap();
    let late = paymaster::engine::Engine::new(store, engine.clock.clone());
    assert!(late.store.went_back.is_some());
    let again = config(&url).engine(true).await.unwrap();
    late.notice_restore().await.unwrap();
    assert_eq!(counted(&again.store).await.0, 1);
    let known = Store::open(&url, false).await.unwrap();
    assert_eq!((known.went_back, known.server), (None, Some(server)));
}
