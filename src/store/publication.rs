//! Messages to a registry: one row each, however many ends it tells of.

use anyhow::Result;

use super::db::{Row, Tx};
use super::load::{Column, Load};
use super::{Scope, values};
use crate::domain::disbursement::State;
use crate::domain::id::{Batch, Id, Payroll, Programme, Publication, Tenant};

/// A message as stored.
#[derive(Debug, Clone)]
pub struct PublicationRow {
    /// Its number; the message's id is made of it.
    pub id: Id<Publication>,
    /// Whose it is.
    pub tenant: Id<Tenant>,
    /// Of which programme.
    pub programme: Id<Programme>,
    /// Of which payroll.
    pub payroll: Id<Payroll>,
    /// Of which batch.
    pub batch: Id<Batch>,
    /// Its place among the batch's messages; they go out in this order.
    pub sequence: i64,
    /// What proved the ends it tells of.
    pub evidence: i64,
    /// Lowest and highest number of the disbursements it tells of.
    pub numbers: (i64, i64),
    /// How many.
    pub items: i64,
    /// `open`, `acknowledged` or `dead`.
    pub state: String,
    /// Tries so far.
    pub attempts: i64,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it was made; the time in the message.
    pub created_at: i64,
    /// When the registry acknowledged it.
    pub acknowledged_at: Option<i64>,
}

const PUBLICATION: &str = "SELECT number, tenant, programme, payroll, batch, sequence, evidence, first_number, \
    last_number, items, state, attempts, last_error, created_at, acknowledged_at FROM publication";

fn publication_row(row: &Row) -> Result<PublicationRow> {
    Ok(PublicationRow {
        id: Id::new(row.int(0)?),
        tenant: Id::new(row.int(1)?),
        programme: Id::new(row.int(2)?),
        payroll: Id::new(row.int(3)?),
        batch: Id::new(row.int(4)?),
        sequence: row.int(5)?,
        evidence: row.int(6)?,
        numbers: (row.int(7)?, row.int(8)?),
        items: row.int(9)?,
        state: row.text(10)?,
        attempts: row.int(11)?,
        last_error: row.maybe_text(12)?,
        created_at: row.int(13)?,
        acknowledged_at: row.maybe_int(14)?,
    })
}

/// Stores messages that are due now.
pub async fn insert(tx: &mut Tx, all: &[PublicationRow]) -> Result<()> {
    let ints = |value: fn(&PublicationRow) -> i64| Column::Int(all.iter().map(value).collect());
    let load = Load {
        table: "publication",
        columns: vec![
            ("number", ints(|one| one.id.number())),
            ("tenant", ints(|one| one.tenant.number())),
            ("programme", ints(|one| one.programme.number())),
            ("payroll", ints(|one| one.payroll.number())),
            ("batch", ints(|one| one.batch.number())),
            ("sequence", ints(|one| one.sequence)),
            ("evidence", ints(|one| one.evidence)),
            ("first_number", ints(|one| one.numbers.0)),
            ("last_number", ints(|one| one.numbers.1)),
            ("items", ints(|one| one.items)),
            ("state", Column::texts(all.iter().map(|one| one.state.as_str()))),
            ("due_at", ints(|one| one.created_at)),
            ("created_at", ints(|one| one.created_at)),
        ],
    };
    tx.load(&load).await
}

/// Due messages that nobody was told of lately, each the first open one of its batch; marks them as told.
pub async fn nudge(tx: &mut Tx, now: i64, told_before: i64, limit: i64) -> Result<Vec<i64>> {
    let sql = "UPDATE publication SET nudged_at = $1 WHERE number IN (SELECT p.number FROM publication p \
               WHERE p.due_at <= $1 AND p.lease_until <= $1 AND p.nudged_at < $2 AND NOT EXISTS \
               (SELECT 1 FROM publication q WHERE q.batch = p.batch AND q.sequence < p.sequence \
               AND q.state <> 'acknowledged') ORDER BY p.due_at LIMIT $3) AND nudged_at < $2 RETURNING number";
    tx.rows(sql, values![now, told_before, limit]).await?.iter().map(|row| row.int(0)).collect()
}

/// Takes a message to send it: only when it is due, nobody else has it, and all before it are acknowledged.
pub async fn claim(tx: &mut Tx, id: Id<Publication>, now: i64, lease_until: i64) -> Result<Option<PublicationRow>> {
    let sql = "UPDATE publication SET lease_until = $3, attempts = attempts + 1 WHERE number = $1 AND state = 'open' \
               AND due_at <= $2 AND lease_until <= $2 AND NOT EXISTS (SELECT 1 FROM publication q \
               WHERE q.batch = publication.batch AND q.sequence < publication.sequence AND q.state <> 'acknowledged')";
    if tx.execute(sql, values![id.number(), now, lease_until]).await? == 0 {
        return Ok(None);
    }
    let row = tx.one(&format!("{PUBLICATION} WHERE number = $1"), values![id.number()]).await?;
    publication_row(&row).map(Some)
}

/// The registry has it. The lease taken must still be the one held.
pub async fn acknowledge(tx: &mut Tx, id: Id<Publication>, body_hash: &[u8], now: i64) -> Result<()> {
    let sql = "UPDATE publication SET state = 'acknowledged', due_at = NULL, acknowledged_at = $2, body_hash = $3, \
               last_error = NULL WHERE number = $1 AND state = 'open'";
    tx.execute(sql, values![id.number(), now, body_hash]).await.map(|_| ())
}

/// The try failed: once more at `due_at`, or, without it, into the dead-letter list.
pub async fn fail(tx: &mut Tx, id: Id<Publication>, error: &str, due_at: Option<i64>) -> Result<()> {
    let state = if due_at.is_some() { "open" } else { "dead" };
    let sql = "UPDATE publication SET state = $2, due_at = $3, last_error = $4, lease_until = 0, nudged_at = 0 \
               WHERE number = $1 AND state = 'open'";
    tx.execute(sql, values![id.number(), state, due_at, error]).await.map(|_| ())
}

/// Brings dead messages of a tenant back; returns how many.
pub async fn replay(tx: &mut Tx, scope: &Scope, id: Option<Id<Publication>>, now: i64) -> Result<u64> {
    let sql = "UPDATE publication SET state = 'open', due_at = $2, attempts = 0, nudged_at = 0 WHERE tenant = $1 \
               AND state = 'dead' AND (number = $3 OR $3 = 0)";
    tx.execute(sql, values![scope.tenant.number(), now, id.map_or(0, Id::number)]).await
}

/// Messages of a tenant in a state, above a number.
pub async fn list(tx: &mut Tx, scope: &Scope, state: &str, above: i64, limit: i64) -> Result<Vec<PublicationRow>> {
    let sql = format!("{PUBLICATION} WHERE tenant = $1 AND state = $2 AND number > $3 ORDER BY number LIMIT $4");
    tx.rows(&sql, values![scope.tenant.number(), state, above, limit]).await?.iter().map(publication_row).collect()
}

/// Messages and items of a payroll by state.
pub async fn counts(tx: &mut Tx, payroll: Id<Payroll>) -> Result<Vec<(String, i64, i64)>> {
    let sql = "SELECT state, COUNT(*), CAST(SUM(items) AS BIGINT) FROM publication WHERE payroll = $1 GROUP BY state";
    let rows = tx.rows(sql, values![payroll.number()]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.int(1)?, row.int(2)?))).collect()
}

/// One end to tell of.
#[derive(Debug)]
pub struct Item {
    /// The disbursement's number.
    pub number: i64,
    /// Its state.
    pub state: State,
    /// Its sum.
    pub amount_minor: i64,
    /// Its payee, sealed.
    pub sealed: Vec<u8>,
    /// The reason's code.
    pub reason_code: Option<String>,
    /// The reason's text, sealed.
    pub reason_sealed: Option<Vec<u8>>,
    /// What proved that it came back after its end.
    pub returned_by: Option<i64>,
}

/// The ends a message tells of, ascending; as they were, where two persons decided otherwise later.
pub async fn items(tx: &mut Tx, publication: &PublicationRow) -> Result<Vec<Item>> {
    let sql = "SELECT d.number, d.state, d.amount_minor, p.sealed, x.code, x.sealed, x.return_evidence FROM disbursement d \
               JOIN payee p ON p.number = d.number LEFT JOIN departure x ON x.disbursement = d.number \
               WHERE d.number BETWEEN $1 AND $2 AND d.batch = $3 AND (d.end_evidence = $4 OR x.return_evidence = $4) \
               UNION ALL SELECT d.number, o.state, d.amount_minor, p.sealed, o.code, o.sealed, o.return_evidence \
               FROM overruled o JOIN disbursement d ON d.number = o.disbursement JOIN payee p ON p.number = d.number \
               WHERE o.batch = $3 AND o.disbursement BETWEEN $1 AND $2 \
               AND (o.end_evidence = $4 OR o.return_evidence = $4) ORDER BY 1";
    let (first, last) = publication.numbers;
    let rows = tx.rows(sql, values![first, last, publication.batch.number(), publication.evidence]).await?;
    let item = |row: &Row| {
        Ok(Item {
            number: row.int(0)?,
            state: State::from_code(row.int(1)?).unwrap_or(State::InDoubt),
            amount_minor: row.int(2)?,
            sealed: row.bytes(3)?.to_vec(),
            reason_code: row.maybe_text(4)?,
            reason_sealed: row.maybe_bytes(5)?.map(<[u8]>::to_vec),
            returned_by: row.maybe_int(6)?,
        })
    };
    rows.iter().map(item).collect()
}
