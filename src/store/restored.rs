//! A database that was put back from a backup: how it shows, and what is written then.
//!
//! PostgreSQL names its server and history; a SQLite file is watched by a small file beside it that a copy of the
//! database alone does not bring back. Deliberately not here: what is done about it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::db::{Db, Tx};
use super::payroll::Total;
use super::values;
use crate::domain::id::{COUNTER_BITS, Id, Tenant};

/// How the database showed that it went back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WentBack {
    /// In words.
    pub why: String,
    /// How often it had been put back before.
    pub restores: i64,
}

/// The highest number that was ever allotted from a SQLite file, in a file beside it.
#[derive(Debug, Clone)]
pub(super) struct Seen(PathBuf);

impl Seen {
    /// The one beside a database file.
    pub fn beside(url: &str) -> Self {
        let path = url.strip_prefix("sqlite://").unwrap_or(url);
        Self(PathBuf::from(format!("{path}.seen")))
    }

    /// What it holds; nothing where there is none, or where it cannot be read.
    pub fn read(&self) -> Option<i64> {
        std::fs::read_to_string(&self.0).ok()?.trim().parse().ok()
    }

    /// Writes it as a whole. After a power cut it may be an older one, and then says nothing wrong. That it cannot be
    /// written is no reason to stop: the database alone is the truth.
    pub async fn write(&self, next_number: i64) {
        let fresh = PathBuf::from(format!("{}.{}", self.0.display(), std::process::id()));
        let written = write_as_a_whole(&fresh, &self.0, next_number).await;
        if let Err(error) = written {
            tracing::debug!(file = %self.0.display(), error = %error, "a restore of the database will not be noticed");
        }
    }
}

async fn write_as_a_whole(fresh: &Path, path: &Path, next_number: i64) -> std::io::Result<()> {
    tokio::fs::write(fresh, next_number.to_string()).await?;
    tokio::fs::rename(fresh, path).await
}

/// What PostgreSQL calls this server and the history it is on. The history is read from the place it now writes to:
/// the control file tells of it only at the next checkpoint.
pub(super) async fn server(db: &Db) -> Option<String> {
    if matches!(db, Db::Sqlite { .. }) {
        return None;
    }
    let asked = async {
        let mut tx = db.read().await?;
        let sql = "SELECT CAST(system_identifier AS TEXT) || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) \
                   FROM pg_control_system()";
        tx.one(sql, &[]).await?.text(0)
    };
    match asked.await {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "PostgreSQL does not tell its server and history");
            None
        }
    }
}

/// Remembers the server of the first time.
pub(super) async fn keep_server(db: &Db, server: &str) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("UPDATE installation SET server = $1 WHERE one = 1 AND server IS NULL", values![server]).await?;
    tx.commit().await
}

/// Whether a database that was opened went back. `seen` must have been read before the rest.
pub(super) fn went_back(
    (restores, next_number): (i64, i64),
    (known, server): (Option<&str>, Option<&str>),
    seen: Option<i64>,
) -> Option<WentBack> {
    let why = match (known, server, seen) {
        (Some(known), Some(server), _) if known != server => {
            format!("it was last opened on server and history {known}, and is now on {server}")
        }
        (.., Some(seen)) if seen > next_number => {
            format!("numbers up to {seen} were allotted from it, and it knows only of those up to {next_number}")
        }
        _ => return None,
    };
    Some(WentBack { why, restores })
}

/// Counts a restore and remembers where the database is now; `None` when it is not the `before`-th any more, because
/// somebody else has just done all this. Returns the count, and the last instant that the database knows of for sure.
pub async fn count(tx: &mut Tx, before: Option<i64>, server: Option<&str>) -> Result<Option<(i64, i64)>> {
    let sql = "UPDATE installation SET restores = restores + 1, server = COALESCE($2, server) WHERE one = 1 \
               AND (restores = $1 OR $1 IS NULL) RETURNING restores, next_number";
    let row = tx.row(sql, values![before, server]).await?;
    row.map(|row| Ok((row.int(0)?, (row.int(1)? >> COUNTER_BITS) * 1_000))).transpose()
}

/// All batches that have not left as far as is known wait for their provider to be asked. If one did leave, it was
/// after `since`.
pub async fn ask_first(tx: &mut Tx, now: i64, since: i64) -> Result<u64> {
    let sql = "UPDATE batch SET ask_first_at = $1, first_copy_at = $2, nudged_at = 0 WHERE state = 'sealed' \
               AND payments > 0";
    tx.execute(sql, values![now, since]).await
}

/// Batches of a provider that have left are in doubt or stay so, and may have left once more until now.
pub async fn doubt_in_flight(tx: &mut Tx, provider: &str, now: i64, fence_at: i64) -> Result<u64> {
    let sql = "UPDATE batch SET state = 'in_doubt', copies = copies + 1, last_copy_at = $2, \
               fence_at = CASE WHEN fence_at > $3 THEN fence_at ELSE $3 END, epoch = epoch + 1, lease_until = 0, \
               attempts = 0, due_at = $2, nudged_at = 0 \
               WHERE provider = $1 AND state IN ('transmitting', 'in_doubt')";
    tx.execute(sql, values![provider, now, fence_at]).await
}

/// Nobody is at work on what the database thinks somebody is.
pub async fn end_leases(tx: &mut Tx, now: i64) -> Result<()> {
    let sql = "UPDATE batch SET lease_until = 0, epoch = epoch + 1, due_at = $1, nudged_at = 0 \
               WHERE lease_until > 0 AND state = 'accepted'";
    tx.execute(sql, values![now]).await.map(|_| ())
}

/// Providers with batches that have no end.
pub async fn providers(tx: &mut Tx) -> Result<Vec<String>> {
    let rows = tx.rows("SELECT DISTINCT provider FROM batch WHERE state <> 'completed' LIMIT 1000", &[]).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// Batches that wait for their provider to be asked, by provider: batches and payments.
pub async fn waiting(tx: &mut Tx) -> Result<Vec<(String, i64, Total)>> {
    let sql = "SELECT provider, COUNT(*), CAST(SUM(open_payments) AS BIGINT), CAST(SUM(open_minor) AS BIGINT) \
               FROM batch WHERE state = 'sealed' AND ask_first_at IS NOT NULL GROUP BY provider ORDER BY provider \
               LIMIT 1000";
    let one = |row: &super::db::Row| Ok((row.text(0)?, row.int(1)?, Total::read(row, 2)?));
    tx.rows(sql, &[]).await?.iter().map(one).collect()
}

/// The batches of one provider need not wait any more: a person has asked. Returns them by tenant.
pub async fn asked(tx: &mut Tx, provider: &str, now: i64) -> Result<Vec<(Id<Tenant>, i64, Total)>> {
    let sql = "SELECT r.tenant, COUNT(*), CAST(SUM(b.open_payments) AS BIGINT), CAST(SUM(b.open_minor) AS BIGINT) \
               FROM batch b JOIN payroll r ON r.number = b.payroll WHERE b.provider = $1 AND b.state = 'sealed' \
               AND b.ask_first_at IS NOT NULL GROUP BY r.tenant ORDER BY r.tenant LIMIT 100000";
    let one = |row: &super::db::Row| Ok((Id::new(row.int(0)?), row.int(1)?, Total::read(row, 2)?));
    let found: Result<Vec<_>> = tx.rows(sql, values![provider]).await?.iter().map(one).collect();
    let sql = "UPDATE batch SET ask_first_at = NULL, first_copy_at = 0, attempts = 0, nudged_at = 0, \
               due_at = CASE WHEN due_at > $2 THEN $2 ELSE due_at END \
               WHERE provider = $1 AND state = 'sealed' AND ask_first_at IS NOT NULL";
    tx.execute(sql, values![provider, now]).await?;
    let sql = "UPDATE exception SET closed_at = $2 WHERE code = 'restored_unasked' AND provider = $1 \
               AND closed_at IS NULL";
    tx.execute(sql, values![provider, now]).await?;
    found
}

/// All tenants.
pub async fn tenants(tx: &mut Tx) -> Result<Vec<Id<Tenant>>> {
    let rows = tx.rows("SELECT number FROM tenant ORDER BY number LIMIT 100000", &[]).await?;
    rows.iter().map(|row| row.int(0).map(Id::new)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_knows_less_than_it_gave_away_went_back() {
        let sqlite = |next_number, seen| went_back((0, next_number), (None, None), seen).is_some();
        assert!(!sqlite(5_000, None), "nothing was seen yet");
        assert!(!sqlite(5_000, Some(5_000)));
        assert!(!sqlite(6_000, Some(5_000)), "the file beside it may be behind");
        assert!(sqlite(5_000, Some(6_000)));
        let server = |known, server| went_back((0, 0), (known, server), None).is_some();
        assert!(!server(None, Some("7/1")) && !server(Some("7/1"), None) && !server(Some("7/1"), Some("7/1")));
        assert!(server(Some("7/1"), Some("7/2")) && server(Some("7/1"), Some("8/1")));
    }
}
