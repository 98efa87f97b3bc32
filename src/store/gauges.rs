//! Counts over all tenants for whoever watches the installation. No personal data, and nothing per payment is
//! read: batches, publications and exceptions are few.

use anyhow::Result;

use super::db::Tx;
use super::values;

/// What is measured at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Batches by state.
    pub batches: Vec<(String, i64)>,
    /// Payments without an end, in batches of every state.
    pub open_payments: i64,
    /// Since when the oldest batch in doubt was last sent, in microseconds; `None` when none is.
    pub doubt_since: Option<i64>,
    /// Messages to registries by state: `open` (waiting), `due` (open and its time has come), `dead`.
    pub publications: Vec<(String, i64)>,
    /// Exceptions nobody has closed.
    pub open_exceptions: i64,
}

/// Measures.
pub async fn read(tx: &mut Tx, now: i64) -> Result<Gauges> {
    let mut gauges = Gauges::default();
    let sql = "SELECT state, COUNT(*), CAST(COALESCE(SUM(open_payments), 0) AS BIGINT), MIN(last_copy_at) FROM batch \
               GROUP BY state ORDER BY state";
    for row in tx.rows(sql, &[]).await? {
        let state = row.text(0)?;
        gauges.open_payments += row.int(2)?;
        if state == "in_doubt" {
            gauges.doubt_since = row.maybe_int(3)?;
        }
        gauges.batches.push((state, row.int(1)?));
    }
    let sql = "SELECT CASE WHEN state = 'open' AND due_at <= $1 THEN 'due' ELSE state END AS standing, COUNT(*) \
               FROM publication WHERE state <> 'acknowledged' GROUP BY standing ORDER BY standing";
    for row in tx.rows(sql, values![now]).await? {
        gauges.publications.push((row.text(0)?, row.int(1)?));
    }
    let row = tx.one("SELECT COUNT(*) FROM exception WHERE closed_at IS NULL", &[]).await?;
    gauges.open_exceptions = row.int(0)?;
    Ok(gauges)
}

/// The cheapest read there is; an error means the database does not answer.
pub async fn answers(tx: &mut Tx) -> Result<()> {
    tx.one("SELECT one FROM installation", &[]).await.map(|_| ())
}
