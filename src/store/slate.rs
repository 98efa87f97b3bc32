//! A database that is used again and again by simulations: wiped, and looked at from outside the engine.
//! Deliberately not here: anything a service would ever call.

use anyhow::{Context, Result};

use super::db::{Db, Row, Tx};
use super::{Store, values};
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::State;

/// Installation tag and look-up key of every simulated world, so that a seed gives the same references each time.
const TAG: i64 = 77;
const INDEX_KEY: [u8; 32] = [7; 32];

/// What the names of copies begin with.
const COPY: &str = "copy_of_";

/// The tables that a world fills, in an order that the foreign keys bear when it is emptied.
async fn tables(tx: &mut Tx) -> Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '%migration%' \
               AND name NOT LIKE 'copy_of_%' \
               AND name NOT IN ('installation', 'Jobs', 'Workers') ORDER BY rootpage DESC";
    tx.rows(sql, &[]).await?.iter().map(|row| row.text(0)).collect()
}

/// Empties every table and gives the installation its fixed identity.
async fn wipe(db: &Db) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("PRAGMA defer_foreign_keys = ON", &[]).await?;
    for table in tables(&mut tx).await? {
        tx.execute(&format!("DELETE FROM {table}"), &[]).await?;
    }
    let sql = "UPDATE installation SET tag = $1, index_key = $2, next_number = 0";
    tx.execute(sql, values![TAG, INDEX_KEY.as_slice()]).await?;
    tx.commit().await
}

/// Keeps a copy of everything, or puts the copy back: what a backup and its restore do to a database.
pub async fn copy(db: &Db, back: bool) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("PRAGMA defer_foreign_keys = ON", &[]).await?;
    let mut all = tables(&mut tx).await?;
    all.push(String::from("installation"));
    for table in all {
        let kept = format!("{COPY}{table}");
        tx.execute(&format!("CREATE TABLE IF NOT EXISTS {kept} AS SELECT * FROM {table} WHERE 0"), &[]).await?;
        let (from, to) = if back { (&kept, &table) } else { (&table, &kept) };
        tx.execute(&format!("DELETE FROM {to}"), &[]).await?;
        tx.execute(&format!("INSERT INTO {to} SELECT * FROM {from}"), &[]).await?;
    }
    tx.commit().await
}

/// A store on a wiped database.
pub async fn store(db: &Db) -> Result<Store> {
    wipe(db).await?;
    Store::on(db.clone(), false).await
}

/// Numbers of all batches.
pub async fn batches(tx: &mut Tx) -> Result<Vec<i64>> {
    let rows = tx.rows("SELECT number FROM batch ORDER BY number", &[]).await?;
    rows.iter().map(|row| row.int(0)).collect()
}

/// When a batch will next want a worker who can have it.
pub async fn next_due(tx: &mut Tx) -> Result<Option<i64>> {
    let sql = "SELECT MIN(MAX(due_at, lease_until, CASE WHEN nudged_at > 0 THEN nudged_at + 15000000 ELSE 0 END)) \
               FROM batch WHERE due_at IS NOT NULL";
    tx.one(sql, &[]).await?.maybe_int(0)
}

/// How many payments that were let go have no end, and exceptions nobody has decided.
pub async fn unfinished(tx: &mut Tx) -> Result<i64> {
    let sql = "SELECT (SELECT COUNT(*) FROM disbursement d JOIN payroll p ON p.number = d.payroll WHERE d.state < 7 \
               AND p.state IN ('released', 'completed', 'reconciled')) + (SELECT COUNT(*) FROM exception WHERE closed_at IS NULL)";
    tx.one(sql, &[]).await?.int(0)
}

/// The newest generation of an entitlement.
#[derive(Debug, Clone)]
pub struct Newest {
    /// Its number.
    pub number: i64,
    /// Its state as it counts.
    pub state: State,
    /// Which generation it is.
    pub generation: i64,
    /// Its sum.
    pub amount_minor: i64,
}

/// The newest generation of every entitlement.
pub async fn newest(tx: &mut Tx) -> Result<Vec<Newest>> {
    let sql = "SELECT d.number, d.state, b.state, d.generation, d.amount_minor FROM disbursement d \
               JOIN batch b ON b.number = d.batch WHERE NOT EXISTS (SELECT 1 FROM disbursement n \
               WHERE n.identity = d.identity AND n.generation > d.generation) ORDER BY d.number";
    let newest = |row: &Row| {
        Ok(Newest { number: row.int(0)?, state: counted(row, 1)?, generation: row.int(3)?, amount_minor: row.int(4)? })
    };
    tx.rows(sql, &[]).await?.iter().map(newest).collect()
}

/// The state that counts, of a column with a payment's own and the next one with its batch's.
fn counted(row: &Row, column: usize) -> Result<State> {
    let own = State::from_code(row.int(column)?).context("a stored state is unknown")?;
    let batch = BatchState::parse(&row.text(column + 1)?).context("a stored state of a batch is unknown")?;
    Ok(effective(own, batch))
}

/// One disbursement as it ended.
#[derive(Debug, Clone)]
pub struct End {
    /// Its number.
    pub number: i64,
    /// Its state's code.
    pub state: i64,
    /// Whether an end names evidence that is there.
    pub proven: bool,
    /// Why it was rejected or returned.
    pub reason: Option<String>,
}

/// All disbursements.
pub async fn ends(tx: &mut Tx) -> Result<Vec<End>> {
    let sql = "SELECT d.number, d.state, CASE WHEN e.number IS NULL THEN 0 ELSE 1 END, r.code FROM disbursement d \
               LEFT JOIN evidence e ON e.number = d.end_evidence LEFT JOIN departure r ON r.disbursement = d.number \
               ORDER BY d.number";
    let end = |row: &Row| {
        Ok(End { number: row.int(0)?, state: row.int(1)?, proven: row.int(2)? == 1, reason: row.maybe_text(3)? })
    };
    tx.rows(sql, &[]).await?.iter().map(end).collect()
}

/// The state of one disbursement as it counts, and whether a newer generation follows it.
pub async fn standing(tx: &mut Tx, number: i64) -> Result<Option<(State, bool)>> {
    let sql = "SELECT d.state, b.state, CASE WHEN EXISTS (SELECT 1 FROM disbursement n WHERE n.identity = d.identity \
               AND n.generation > d.generation) THEN 1 ELSE 0 END \
               FROM disbursement d JOIN batch b ON b.number = d.batch WHERE d.number = $1";
    tx.row(sql, values![number]).await?.map(|row| Ok((counted(&row, 0)?, row.int(2)? == 1))).transpose()
}
