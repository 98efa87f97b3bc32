//! The pace of each provider: slots of its rate, failures in a row, and which batches are in hand.
//!
//! One row a provider, shared by all workers of all processes; made when it is first needed. Deliberately not here:
//! what any of it leads to.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::batch::BatchRow;
use super::db::Tx;
use super::{notes, values};
use crate::domain::pace::Pace;

/// What stands in the way of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Nothing of it may be sent.
    pub stopped: bool,
    /// Batches of its provider that a worker has in hand.
    pub in_hand: i64,
    /// How its provider stands.
    pub pace: Pace,
}

/// What stands in the way of a batch, in one question and without a lock.
pub async fn way(tx: &mut Tx, batch: &BatchRow, now: i64) -> Result<Way> {
    let sql = "SELECT (SELECT COUNT(*) FROM pause WHERE code IN ($1, $2)) + (SELECT COUNT(*) FROM payroll \
               WHERE number = $3 AND (paused_at IS NOT NULL OR state <> 'released')), \
               (SELECT COUNT(*) FROM batch WHERE provider = $4 AND lease_until > 0 AND lease_until > $5), \
               COALESCE((SELECT failures FROM pace WHERE provider = $4), 0), \
               COALESCE((SELECT closed_until FROM pace WHERE provider = $4), 0)";
    let (provider, programme) = (notes::provider_pause(&batch.provider), notes::programme_pause(batch.programme));
    let row = tx.one(sql, values![&provider, &programme, batch.payroll.number(), &batch.provider, now]).await?;
    let pace = Pace { failures: row.int(2)?, closed_until: row.int(3)? };
    Ok(Way { stopped: row.int(0)? > 0, in_hand: row.int(1)?, pace })
}

/// How a provider stands, locked until the unit of work ends: whoever wants to begin something waits here.
pub async fn lock(tx: &mut Tx, provider: &str) -> Result<Pace> {
    let sql = format!("SELECT failures, closed_until FROM pace WHERE provider = $1{}", tx.for_update());
    let mut row = tx.row(&sql, values![provider]).await?;
    if row.is_none() {
        tx.execute("INSERT INTO pace (provider) VALUES ($1) ON CONFLICT DO NOTHING", values![provider]).await?;
        row = tx.row(&sql, values![provider]).await?;
    }
    let row = row.context("a provider has no pace")?;
    Ok(Pace { failures: row.int(0)?, closed_until: row.int(1)? })
}

/// Writes back how a provider stands. The caller has it locked.
pub async fn save(tx: &mut Tx, provider: &str, pace: Pace) -> Result<()> {
    let sql = "UPDATE pace SET failures = $2, closed_until = $3 WHERE provider = $1";
    tx.execute(sql, values![provider, pace.failures, pace.closed_until]).await.map(|_| ())
}

/// Reserves `width` microseconds of a provider's time from now on, not to begin after `latest`; returns when they
/// begin, or nothing when they would begin later.
pub async fn reserve(tx: &mut Tx, provider: &str, (now, latest): (i64, i64), width: i64) -> Result<Option<i64>> {
    let sql = "INSERT INTO pace (provider, next_slot_at) VALUES ($1, $2 + $3) ON CONFLICT (provider) DO UPDATE \
               SET next_slot_at = CASE WHEN pace.next_slot_at > $2 THEN pace.next_slot_at ELSE $2 END + $3 \
               WHERE pace.next_slot_at <= $4 RETURNING next_slot_at";
    let row = tx.row(sql, values![provider, now, width, latest]).await?;
    row.map(|row| Ok(row.int(0)? - width)).transpose()
}

/// How every provider stands, and how many of its batches workers have in hand.
pub async fn board(tx: &mut Tx, now: i64) -> Result<BTreeMap<String, (Pace, i64)>> {
    let sql = "SELECT provider, MAX(failures), MAX(closed_until), CAST(SUM(in_hand) AS BIGINT) FROM \
               (SELECT provider, failures, closed_until, 0 AS in_hand FROM pace UNION ALL \
               SELECT provider, 0, 0, 1 FROM batch WHERE lease_until > 0 AND lease_until > $1) one GROUP BY provider";
    let rows = tx.rows(sql, values![now]).await?;
    let one = |row: &super::db::Row| {
        let pace = Pace { failures: row.int(1)?, closed_until: row.int(2)? };
        Ok((row.text(0)?, (pace, row.int(3)?)))
    };
    rows.iter().map(one).collect()
}
