//! apalis on either engine, behind four calls: migrate, nudge, work, prune.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use apalis::prelude::*;
use apalis_postgres::PostgresStorage;
use apalis_sqlite::SqliteStorage;
use tokio::sync::{RwLock, watch};

use super::tick::Tick;
use super::{WorkTerms, stopped};
use crate::domain::id::{Batch, Id, Mailbox, Publication};
use crate::engine::{Due, Engine};
use crate::store::db::{Db, Tx};
use crate::store::values;

/// Queue of batches to drive.
const BATCHES: &str = "paymaster.batch";
/// Queue of messages to send to the registry.
const PUBLICATIONS: &str = "paymaster.publication";
/// Queue of mailboxes to look into.
const MAILBOXES: &str = "paymaster.mailbox";
/// A worker that was silent for six of these is dead, and its jobs go to another.
const HEARTBEAT: Duration = Duration::from_secs(5);
const MISSED_HEARTBEATS: usize = 6;
/// Mailboxes that one process looks into at once.
const MAILBOXES_AT_ONCE: usize = 2;
/// Done jobs and dead workers older than this are deleted.
const KEEP_SECONDS: i64 = 300;
/// Pause before a queue's worker that failed is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How long a stopping process waits for what is under way.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);

/// Brings the queue's own tables up to date, in its own history table.
pub async fn migrate(db: &Db) -> Result<()> {
    // SqliteStorage::setup would turn fsync off for the pool that money is written with.
    match db {
        Db::Sqlite { writer, .. } => SqliteStorage::migrations().run(writer).await.context("the queue's tables")?,
        Db::Postgres(pool) => PostgresStorage::setup(pool).await.context("the queue's tables")?,
    }
    Ok(())
}

/// Finds what is due and tells the queue.
pub(super) async fn nudge(engine: &Engine) -> Result<()> {
    let Due { batches, publications, mailboxes } = engine.due().await?;
    push(engine, BATCHES, &batches).await?;
    push(engine, MAILBOXES, &mailboxes).await?;
    push(engine, PUBLICATIONS, &publications).await
}

async fn push(engine: &Engine, queue: &str, numbers: &[i64]) -> Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let task = |number: &i64| Ok(TaskBuilder::new(serde_json::to_vec(number)?).max_attempts(1).build());
    let tasks: Result<Vec<Task<Vec<u8>>>> = numbers.iter().map(task).collect();
    let mut tx = engine.store.begin().await?;
    match &mut tx {
        Tx::Sqlite(tx) => {
            apalis_sqlite::queries::push_tasks(&mut **tx, queue, &tasks?).await.context("pushing jobs")?
        }
        Tx::Postgres(tx) => {
            apalis_postgres::queries::push_tasks(&mut **tx, queue, tasks?).await.context("pushing jobs")?
        }
    }
    tx.commit().await
}

/// Deletes done jobs and workers that are long gone; the queue slows down by what it keeps.
pub(super) async fn prune(engine: &Engine) -> Result<()> {
    let now = engine.clock.now() / 1_000_000;
    let mut tx = engine.store.begin().await?;
    let (jobs, workers) = match &tx {
        Tx::Sqlite(_) => (
            "DELETE FROM Jobs WHERE status IN ('Done', 'Failed', 'Killed') AND job_type LIKE 'paymaster.%' AND run_at < $1",
            "DELETE FROM Workers WHERE last_seen < $1 AND NOT EXISTS (SELECT 1 FROM Jobs WHERE lock_by = Workers.id)",
        ),
        Tx::Postgres(_) => (
            "DELETE FROM apalis.jobs WHERE status IN ('Done', 'Failed', 'Killed') AND job_type LIKE 'paymaster.%' \
             AND run_at < to_timestamp($1)",
            "DELETE FROM apalis.workers WHERE last_seen < to_timestamp($1) AND NOT EXISTS \
             (SELECT 1 FROM apalis.jobs WHERE lock_by = workers.id)",
        ),
    };
    tx.execute(jobs, values![now - KEEP_SECONDS]).await?;
    tx.execute(workers, values![now - KEEP_SECONDS]).await?;
    tx.commit().await
}

/// What a job needs. Whatever is under way holds `open` to read; a stopping process takes it to write, which waits
/// for them and lets nothing begin.
#[derive(Clone)]
struct Desk {
    engine: Arc<Engine>,
    open: Arc<RwLock<()>>,
}

/// What a queue's worker is made of.
struct Seat {
    queue: &'static str,
    name: String,
    desk: Desk,
    concurrency: usize,
    poll: Duration,
}

/// A monitor with one worker at a seat. The two engines' workers are of different types and share no trait that
/// could be named here in fewer words than this.
macro_rules! monitor {
    ($seat:expr, $job:ident) => {{
        let seat: Seat = $seat;
        match seat.desk.engine.store.db.clone() {
            Db::Sqlite { writer, .. } => monitor!(seat, $job, apalis_sqlite::Config::default(), |config| {
                SqliteStorage::<i64>::new(&writer).with_config(config)
            }),
            Db::Postgres(pool) => monitor!(seat, $job, apalis_postgres::Config::default(), |config| {
                PostgresStorage::<i64>::new(&pool).with_config(config).with_pubsub()
            }),
        }
    }};
    ($seat:ident, $job:ident, $config:expr, |$filled:ident| $storage:expr) => {
        Monitor::new().register(move |_| {
            let mut $filled = $config.queue($seat.queue);
            ($filled.batch_size, $filled.heartbeat_interval, $filled.missed_heartbeats) =
                (1, HEARTBEAT, MISSED_HEARTBEATS);
            WorkerBuilder::new($seat.name.clone())
                .backend($storage.poll_with_strategy(Tick::new($seat.poll)))
                .data($seat.desk.clone())
                .concurrency($seat.concurrency)
                .build($job)
        })
    };
}

/// Runs all queues' workers until `stop` says so.
pub(super) async fn work(engine: Arc<Engine>, terms: WorkTerms, stop: watch::Receiver<bool>) -> Result<()> {
    // A worker name must be new each time: under a reused one a killed worker's jobs would be lost.
    let unique = u64::from_be_bytes(crate::clock::random::<8>()?);
    let desk = Desk { engine, open: Arc::default() };
    let seat = |queue, concurrency, starts| Seat {
        queue,
        name: format!("{queue}-{unique:016x}-{starts}"),
        desk: desk.clone(),
        concurrency,
        poll: terms.poll,
    };
    let (close, closed) = watch::channel(false);
    let closing = async {
        stopped(stop).await;
        // apalis is told only when nothing is under way: once told, it no longer polls its own queries, and one of
        // them may hold SQLite's only writer, which what is under way would then wait for in vain.
        let shut = tokio::time::timeout(SHUTDOWN_TIMEOUT, desk.open.write()).await.ok();
        if shut.is_none() {
            tracing::error!("what was under way did not end in time; another worker will find it in doubt");
        }
        close.send_replace(true);
        // Held until all queues' workers have ended, so that nothing begins.
        shut
    };
    let batches = keep(|starts| monitor!(seat(BATCHES, terms.batches, starts), drive), closed.clone());
    let publications = keep(|starts| monitor!(seat(PUBLICATIONS, terms.publications, starts), tell), closed.clone());
    let mailboxes = keep(|starts| monitor!(seat(MAILBOXES, MAILBOXES_AT_ONCE, starts), collect), closed.clone());
    tokio::join!(closing, batches, publications, mailboxes);
    Ok(())
}

/// Keeps a queue's worker running until the desk is closed. apalis could start one again that failed, but at once:
/// while the database is away that fails thousands of times a second, and besets the database when it comes back.
async fn keep(monitor: impl Fn(u64) -> Monitor, closed: watch::Receiver<bool>) {
    let mut starts = 0;
    while !*closed.borrow() {
        let told = async {
            stopped(closed.clone()).await;
            Ok(())
        };
        if let Err(error) = monitor(starts).shutdown_timeout(SHUTDOWN_TIMEOUT).run_with_signal(told).await {
            tracing::error!(%error, "the queue's worker did not end well");
        }
        starts += 1;
        let _ = tokio::time::timeout(RESTART_AFTER, stopped(closed.clone())).await;
    }
}

/// Does what a job names, unless this process stops: then nothing begins, what it names stays due, and another is told
/// of it.
async fn at<F>(desk: &Desk, verb: impl FnOnce(Arc<Engine>) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let Ok(open) = Arc::clone(&desk.open).try_read_owned() else { return Ok(()) };
    let doing = verb(Arc::clone(&desk.engine));
    let done = tokio::spawn(async move {
        let _open = open;
        doing.await
    });
    done.await.map_err(anyhow::Error::from).flatten()
}

/// One job: drive a batch. It always succeeds; what went wrong is in the log and found again by the sweep.
async fn drive(number: i64, desk: Data<Desk>) -> Result<(), BoxDynError> {
    let id = Id::<Batch>::new(number);
    if let Err(error) = at(&desk, move |engine| async move { engine.drive(id).await }).await {
        tracing::error!(batch.id = %id, error = format!("{error:#}"), "driving a batch failed");
    }
    Ok(())
}

/// One job: send a message to the registry.
async fn tell(number: i64, desk: Data<Desk>) -> Result<(), BoxDynError> {
    let id = Id::<Publication>::new(number);
    if let Err(error) = at(&desk, move |engine| async move { engine.tell(id).await }).await {
        tracing::error!(publication.id = %id, error = format!("{error:#}"), "telling the registry failed");
    }
    Ok(())
}

/// One job: look into a mailbox.
async fn collect(number: i64, desk: Data<Desk>) -> Result<(), BoxDynError> {
    let id = Id::<Mailbox>::new(number);
    if let Err(error) = at(&desk, move |engine| async move { engine.collect(id).await }).await {
        tracing::error!(mailbox.id = %id, error = format!("{error:#}"), "looking into a mailbox failed");
    }
    Ok(())
}
