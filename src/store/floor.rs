//! What the database itself needs for the same rows: the floor that the benchmark divides by.
//!
//! Bulk load of the tables as migrated, then the bare change of state; and a fixed yardstick table, so that fat in
//! our own tables would show. Deliberately not here: anything a payroll is paid with.

use anyhow::{Context, Result};

use super::db::{Db, Tx};
use super::disbursement::Chunk;
use super::load::{Column, Load, Strip};
use super::{Store, values};
use crate::domain::disbursement::State;

/// Rows made in memory at once.
const CHUNK_ROWS: i64 = 25_000;
/// Rows whose state is changed in one unit of work.
const SETTLE_ROWS: i64 = 5_000;
/// A sealed payee of usual length.
const PAYEE_BYTES: usize = 110;

/// A sealed rest of an entry of usual length.
const ENTRY_BYTES: usize = 48;

/// Spreads a number over 16 bytes, as a hash would.
fn spread(number: i64) -> [u8; 16] {
    let mut mixed = number.unsigned_abs().wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    for half in bytes.chunks_mut(8) {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        half.copy_from_slice(&mixed.to_be_bytes());
    }
    bytes
}

fn chunk(first: i64, end: i64) -> Chunk {
    let count = usize::try_from(end - first).unwrap_or(0);
    let numbers: Vec<i64> = (first..end).collect();
    let mut payees = Strip::default();
    let payee = [b'x'; PAYEE_BYTES];
    numbers.iter().for_each(|_| payees.push(&payee));
    Chunk {
        batches: numbers.iter().map(|number| number / SETTLE_ROWS).collect(),
        amounts: vec![123_456; count],
        generations: vec![1; count],
        states: vec![3; count],
        identities: numbers.iter().map(|number| spread(*number)).collect(),
        lines: numbers.clone(),
        account_hashes: numbers.iter().map(|number| spread(-number)).collect(),
        payees,
        numbers,
    }
}

/// Loads `rows` rows of both hot tables: one COPY each on PostgreSQL, many-row INSERTs on SQLite.
pub async fn load(store: &Store, rows: i64) -> Result<()> {
    let mut tx = store.begin().await?;
    let pieces = || (1..=rows).step_by(25_000).map(move |first| chunk(first, (first + CHUNK_ROWS).min(rows + 1)));
    tx.load_all(pieces().map(|chunk| super::disbursement::hot_load(crate::domain::id::Id::new(1), &chunk))).await?;
    tx.load_all(pieces().map(super::disbursement::payee_load)).await?;
    tx.commit().await
}

/// Changes the state of all rows and names their evidence, chunk by chunk.
pub async fn settle(store: &Store, rows: i64) -> Result<()> {
    let sql = "UPDATE disbursement SET state = $1, end_evidence = 1, end_position = 0 WHERE number BETWEEN $2 AND $3";
    for first in (1..=rows).step_by(5_000) {
        let mut tx = store.begin().await?;
        tx.execute(sql, values![State::Settled.code(), first, first + SETTLE_ROWS - 1]).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Loads as many statement entries as there are rows, as migrated, and then joins both in one statement that changes
/// the state of every row whose sum agrees.
pub async fn join(store: &Store, rows: i64) -> Result<()> {
    let mut tx = store.begin().await?;
    let pieces = (1..=rows).step_by(25_000).map(|first| {
        let numbers: Vec<i64> = (first..(first + CHUNK_ROWS).min(rows + 1)).collect();
        let (count, rest) = (numbers.len(), [b'x'; ENTRY_BYTES]);
        Load {
            table: "entry",
            columns: vec![
                ("statement", Column::Int(vec![1; count])),
                ("position", Column::Int(numbers.clone())),
                ("detail", Column::Int(vec![1; count])),
                ("direction", Column::texts((0..count).map(|_| "debit"))),
                ("kind", Column::texts((0..count).map(|_| "payment"))),
                ("currency", Column::texts((0..count).map(|_| "KES"))),
                ("amount_minor", Column::Int(vec![123_456; count])),
                ("payments", Column::Int(vec![1; count])),
                ("disbursement", Column::Int(numbers.clone())),
                ("sealed", Column::bytes((0..count).map(|_| &rest[..]))),
                ("number", Column::Int(numbers)),
            ],
        }
    });
    tx.load_all(pieces).await?;
    let sql = "UPDATE disbursement SET state = $1, end_evidence = 1, end_position = 0 FROM entry e \
               WHERE e.disbursement = disbursement.number AND e.amount_minor = disbursement.amount_minor AND e.statement = 1";
    tx.execute(sql, values![State::Settled.code()]).await?;
    tx.commit().await
}

/// The numbers and sums of a payroll's rows, in order, for a bank's statement of them.
pub async fn ordered(store: &Store, payroll: i64) -> Result<Vec<(i64, i64)>> {
    let sql = "SELECT number, amount_minor FROM disbursement WHERE payroll = $1 ORDER BY number";
    store.read().await?.map_rows(sql, values![payroll], |row| Ok((row.int(0)?, row.int(1)?))).await
}

/// Loads `rows` rows of a fixed, lean payment table with the three indexes that any would have.
pub async fn yardstick(store: &Store, rows: i64) -> Result<()> {
    let mut tx = store.begin().await?;
    let sql = "CREATE TABLE yardstick (id BIGINT PRIMARY KEY, identity BYTEA NOT NULL UNIQUE, reference TEXT NOT NULL \
               UNIQUE, amount BIGINT NOT NULL, state SMALLINT NOT NULL)";
    tx.execute(sql, &[]).await?;
    let pieces = (1..=rows).step_by(25_000).map(|first| {
        let numbers: Vec<i64> = (first..(first + CHUNK_ROWS).min(rows + 1)).collect();
        let identities: Vec<[u8; 16]> = numbers.iter().map(|number| spread(*number)).collect();
        let references: Vec<String> = numbers.iter().map(|number| format!("{number:016}")).collect();
        Load {
            table: "yardstick",
            columns: vec![
                ("identity", Column::bytes(identities.iter().map(<[u8; 16]>::as_slice))),
                ("reference", Column::texts(references.iter().map(String::as_str))),
                ("amount", Column::Int(vec![123_456; numbers.len()])),
                ("state", Column::Small(vec![3; numbers.len()])),
                ("id", Column::Int(numbers)),
            ],
        }
    });
    tx.load_all(pieces).await?;
    tx.commit().await
}

/// Makes a fresh database beside the one of `url` on its server, or a path beside it; returns its URL.
pub async fn fresh(url: &str, name: &str) -> Result<String> {
    let Some((server, rest)) = url.rsplit_once('/').filter(|_| url.contains("://")) else {
        return Ok(format!("{url}.{name}"));
    };
    let options = rest.split_once('?').map_or(String::new(), |(_, options)| format!("?{options}"));
    outside(url, &format!("CREATE DATABASE {name}")).await?;
    Ok(format!("{server}/{name}{options}"))
}

/// Drops what [`fresh`] made.
pub async fn drop(url: &str, name: &str) -> Result<()> {
    if url.contains("://") {
        return outside(url, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    }
    for ending in ["", "-wal", "-shm", ".seen"] {
        let path = format!("{url}.{name}{ending}");
        if std::path::Path::new(&path).exists() {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {path}"))?;
        }
    }
    Ok(())
}

/// Runs a statement that no unit of work may hold.
async fn outside(url: &str, sql: &str) -> Result<()> {
    let db = Db::open(url).await?;
    if let Db::Postgres(pool) = &db {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(pool).await.with_context(|| format!("cannot run: {sql}"))?;
    }
    db.close().await;
    Ok(())
}

/// Makes PostgreSQL write out what it owes before a phase is timed. Without the right to, phases owe each other.
pub async fn checkpoint(store: &Store) -> bool {
    match &store.db {
        Db::Sqlite { .. } => true,
        Db::Postgres(pool) => sqlx::query("CHECKPOINT").execute(pool).await.is_ok(),
    }
}

/// What PostgreSQL counted: bytes of write-ahead log so far, and the share of updates of `disbursement` that
/// stayed on their page, in a thousand.
pub async fn counted(store: &Store) -> Result<Option<(i64, i64)>> {
    if let Db::Sqlite { .. } = store.db {
        return Ok(None);
    }
    let mut tx: Tx = store.read().await?;
    let wal = tx.one("SELECT CAST(pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS BIGINT)", &[]).await?.int(0)?;
    let sql = "SELECT CAST(COALESCE(1000 * n_tup_hot_upd / NULLIF(n_tup_upd, 0), 0) AS BIGINT) FROM pg_stat_user_tables \
               WHERE relname = 'disbursement'";
    let hot = tx.row(sql, &[]).await?.map_or(Ok(0), |row| row.int(0))?;
    Ok(Some((wal, hot)))
}
