//! Payrolls, the rows of their files that were not taken in, and approvals.

use anyhow::{Context, Result};
use paymaster_connectors::contract::Currency;

use super::db::{Row, Tx};
use super::load::{Column, Load};
use super::{Scope, values};
use crate::domain::id::{Cycle, Id, Payroll, Programme, Tenant};
use crate::domain::payroll::{PayrollKind, PayrollState};

/// A payroll as stored.
#[derive(Debug, Clone)]
pub struct PayrollRow {
    /// Its number.
    pub id: Id<Payroll>,
    /// Whose it is.
    pub tenant: Id<Tenant>,
    /// Which programme pays.
    pub programme: Id<Programme>,
    /// Whether it pays for the first time or again.
    pub kind: PayrollKind,
    /// For which period.
    pub cycle: Id<Cycle>,
    /// The one currency.
    pub currency: Currency,
    /// Where it stands.
    pub state: PayrollState,
    /// SHA-256 of the file.
    pub file_hash: Vec<u8>,
    /// SHA-256 over the batches' hashes; what an approval binds.
    pub content_hash: Option<Vec<u8>>,
    /// The day it is to be paid, `YYYY-MM-DD`.
    pub pay_on: Option<String>,
    /// What the maker said the file holds: rows and minor units.
    pub declared: Total,
    /// What the file held.
    pub file: Total,
    /// What was not taken in.
    pub refused: Total,
    /// What was taken in.
    pub accepted: Total,
    /// What of it was withdrawn before it left.
    pub cancelled: Total,
    /// Lowest and highest number of its disbursements.
    pub numbers: (i64, i64),
    /// Why it was refused as a whole: code and text.
    pub refusal: Option<String>,
    /// Who handed it in.
    pub made_by: String,
    /// Who submitted it for approval.
    pub submitted_by: Option<String>,
    /// When it came. Instants are microseconds UTC.
    pub created_at: i64,
    /// When it was released.
    pub released_at: Option<i64>,
    /// When its last payment ended.
    pub completed_at: Option<i64>,
    /// Since when it is paused.
    pub paused_at: Option<i64>,
}

/// A count of payments and their sum in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, utoipa::ToSchema)]
pub struct Total {
    /// How many.
    pub payments: i64,
    /// Their sum in minor units.
    pub sum_minor: i64,
}

impl Total {
    /// Adds one payment. `None` when the sum does not fit.
    #[must_use]
    pub fn with(self, amount_minor: i64) -> Option<Self> {
        Some(Self { payments: self.payments + 1, sum_minor: self.sum_minor.checked_add(amount_minor)? })
    }

    /// Adds another total. `None` when the sum does not fit.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let sum_minor = self.sum_minor.checked_add(other.sum_minor)?;
        Some(Self { payments: self.payments + other.payments, sum_minor })
    }

    pub(super) fn read(row: &Row, position: usize) -> Result<Self> {
        Ok(Self { payments: row.int(position)?, sum_minor: row.int(position + 1)? })
    }
}

const PAYROLL: &str = "SELECT number, tenant, programme, cycle, currency, state, file_hash, content_hash, pay_on, \
    declared_rows, declared_minor, file_rows, file_minor, refused_rows, refused_minor, accepted_rows, \
    accepted_minor, first_number, last_number, refusal, made_by, submitted_by, created_at, released_at, \
    completed_at, paused_at, kind, cancelled_rows, cancelled_minor FROM payroll";

fn payroll_row(row: &Row) -> Result<PayrollRow> {
    let state = row.text(5)?;
    Ok(PayrollRow {
        id: Id::new(row.int(0)?),
        tenant: Id::new(row.int(1)?),
        programme: Id::new(row.int(2)?),
        cycle: Id::new(row.int(3)?),
        currency: Currency::parse(&row.text(4)?).context("a stored currency is unknown")?,
        state: PayrollState::parse(&state).with_context(|| format!("a stored payroll state is unknown: {state}"))?,
        file_hash: row.bytes(6)?.to_vec(),
        content_hash: row.maybe_bytes(7)?.map(<[u8]>::to_vec),
        pay_on: row.maybe_text(8)?,
        declared: Total::read(row, 9)?,
        file: Total::read(row, 11)?,
        refused: Total::read(row, 13)?,
        accepted: Total::read(row, 15)?,
        numbers: (row.int(17)?, row.int(18)?),
        refusal: row.maybe_text(19)?,
        made_by: row.text(20)?,
        submitted_by: row.maybe_text(21)?,
        created_at: row.int(22)?,
        released_at: row.maybe_int(23)?,
        completed_at: row.maybe_int(24)?,
        paused_at: row.maybe_int(25)?,
        kind: PayrollKind::parse(&row.text(26)?).context("a stored kind of payroll is unknown")?,
        cancelled: Total::read(row, 27)?,
    })
}

/// Stores a payroll that is being received.
pub async fn insert(tx: &mut Tx, payroll: &PayrollRow) -> Result<()> {
    let sql = "INSERT INTO payroll (number, tenant, programme, cycle, currency, state, file_hash, pay_on, \
               declared_rows, declared_minor, made_by, created_at, alive_at, kind) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13)";
    let bound = values![
        payroll.id.number(),
        payroll.tenant.number(),
        payroll.programme.number(),
        payroll.cycle.number(),
        payroll.currency.code(),
        payroll.state.name(),
        payroll.file_hash.as_slice(),
        payroll.pay_on.as_deref(),
        payroll.declared.payments,
        payroll.declared.sum_minor,
        &payroll.made_by,
        payroll.created_at,
        payroll.kind.name()
    ];
    tx.execute(sql, bound).await.map(|_| ())
}

/// A payroll of the tenant.
pub async fn get(tx: &mut Tx, scope: &Scope, id: Id<Payroll>) -> Result<Option<PayrollRow>> {
    let sql = format!("{PAYROLL} WHERE number = $1 AND tenant = $2");
    tx.row(&sql, values![id.number(), scope.tenant.number()]).await?.as_ref().map(payroll_row).transpose()
}

/// A payroll by its number alone, locked; for the engine's own work.
pub async fn lock(tx: &mut Tx, id: Id<Payroll>) -> Result<PayrollRow> {
    let sql = format!("{PAYROLL} WHERE number = $1{}", tx.for_update());
    payroll_row(&tx.one(&sql, values![id.number()]).await?)
}

/// Payrolls of a tenant, newest first, below a number.
pub async fn list(tx: &mut Tx, scope: &Scope, below: i64, limit: i64) -> Result<Vec<PayrollRow>> {
    let sql = format!("{PAYROLL} WHERE tenant = $1 AND number < $2 ORDER BY number DESC LIMIT $3");
    tx.rows(&sql, values![scope.tenant.number(), below, limit]).await?.iter().map(payroll_row).collect()
}

/// A payroll of this kind and cycle that came from the same file and is not dead. What is paid again may have to be
/// paid once more: a reissue that has come to its end does not count.
pub async fn same_file(
    tx: &mut Tx,
    cycle: Id<Cycle>,
    kind: PayrollKind,
    file_hash: &[u8],
) -> Result<Option<PayrollRow>> {
    let sql = format!(
        "{PAYROLL} WHERE cycle = $1 AND file_hash = $2 AND kind = $3 AND state NOT IN ('refused', 'void', 'receiving') \
         AND (kind <> 'reissue' OR state NOT IN ('completed', 'reconciled'))"
    );
    tx.row(&sql, values![cycle.number(), file_hash, kind.name()]).await?.as_ref().map(payroll_row).transpose()
}

/// Payrolls whose intake died: still receiving, and silent since `alive_before`.
pub async fn abandoned(tx: &mut Tx, alive_before: i64) -> Result<Vec<(Id<Payroll>, Id<Tenant>)>> {
    let sql = "SELECT number, tenant FROM payroll WHERE state = 'receiving' AND alive_at < $1 LIMIT 100";
    let rows = tx.rows(sql, values![alive_before]).await?;
    rows.iter().map(|row| Ok((Id::new(row.int(0)?), Id::new(row.int(1)?)))).collect()
}

/// The intake is still at it, and its rows lie between these numbers.
pub async fn alive(tx: &mut Tx, id: Id<Payroll>, numbers: (i64, i64), now: i64) -> Result<()> {
    let sql = "UPDATE payroll SET alive_at = $1, first_number = $2, last_number = $3 WHERE number = $4 \
               AND state = 'receiving'";
    let changed = tx.execute(sql, values![now, numbers.0, numbers.1, id.number()]).await?;
    anyhow::ensure!(changed == 1, "the payroll is no longer being received");
    Ok(())
}

/// What intake found, at its end.
pub async fn received(tx: &mut Tx, payroll: &PayrollRow) -> Result<()> {
    let sql = "UPDATE payroll SET state = $2, file_rows = $3, file_minor = $4, refused_rows = $5, refused_minor = $6, \
               accepted_rows = $7, accepted_minor = $8, content_hash = $9, refusal = $10 \
               WHERE number = $1 AND state = 'receiving'";
    let bound = values![
        payroll.id.number(),
        payroll.state.name(),
        payroll.file.payments,
        payroll.file.sum_minor,
        payroll.refused.payments,
        payroll.refused.sum_minor,
        payroll.accepted.payments,
        payroll.accepted.sum_minor,
        payroll.content_hash.as_deref(),
        payroll.refusal.as_deref()
    ];
    let changed = tx.execute(sql, bound).await?;
    anyhow::ensure!(changed == 1, "the payroll is no longer being received");
    Ok(())
}

/// Moves a payroll by compare-and-set; false when it was no longer in `from`.
pub async fn set_state(tx: &mut Tx, id: Id<Payroll>, from: PayrollState, to: PayrollState) -> Result<bool> {
    let sql = "UPDATE payroll SET state = $3 WHERE number = $1 AND state = $2";
    Ok(tx.execute(sql, values![id.number(), from.name(), to.name()]).await? == 1)
}

/// Notes who submitted a payroll.
pub async fn set_submitted_by(tx: &mut Tx, id: Id<Payroll>, person: &str) -> Result<()> {
    tx.execute("UPDATE payroll SET submitted_by = $2 WHERE number = $1", values![id.number(), person]).await.map(|_| ())
}

/// Notes when a payroll was released.
pub async fn set_released_at(tx: &mut Tx, id: Id<Payroll>, now: i64) -> Result<()> {
    tx.execute("UPDATE payroll SET released_at = $2 WHERE number = $1", values![id.number(), now]).await.map(|_| ())
}

/// Notes when the last payment of a payroll ended.
pub async fn set_completed_at(tx: &mut Tx, id: Id<Payroll>, now: i64) -> Result<()> {
    tx.execute("UPDATE payroll SET completed_at = $2 WHERE number = $1", values![id.number(), now]).await.map(|_| ())
}

/// What would be paid changed before release: an approval of what it was is void.
pub async fn set_content_hash(tx: &mut Tx, id: Id<Payroll>, content_hash: &[u8]) -> Result<()> {
    tx.execute("UPDATE payroll SET content_hash = $2 WHERE number = $1", values![id.number(), content_hash])
        .await
        .map(|_| ())
}

/// Counts rows that were withdrawn before they left.
pub async fn add_cancelled(tx: &mut Tx, id: Id<Payroll>, more: Total) -> Result<()> {
    let sql = "UPDATE payroll SET cancelled_rows = cancelled_rows + $2, cancelled_minor = cancelled_minor + $3 \
               WHERE number = $1";
    tx.execute(sql, values![id.number(), more.payments, more.sum_minor]).await.map(|_| ())
}

/// Pauses a payroll, or lets it go on.
pub async fn set_paused_at(tx: &mut Tx, id: Id<Payroll>, paused_at: Option<i64>) -> Result<()> {
    tx.execute("UPDATE payroll SET paused_at = $2 WHERE number = $1", values![id.number(), paused_at]).await.map(|_| ())
}

/// A row of a file that was not taken in.
#[derive(Debug, Clone)]
pub struct Reject {
    /// Line in the file, from 1.
    pub line: i64,
    /// Stable code.
    pub code: &'static str,
    /// What to mend.
    pub text: String,
    /// Its amount where that could be read, else 0.
    pub amount_minor: i64,
    /// The row as CSV, sealed.
    pub sealed: Vec<u8>,
}

/// Stores rows that were not taken in.
pub async fn insert_rejects(tx: &mut Tx, id: Id<Payroll>, rejects: &[Reject]) -> Result<()> {
    let load = Load {
        table: "reject",
        columns: vec![
            ("payroll", Column::Int(vec![id.number(); rejects.len()])),
            ("line", Column::Int(rejects.iter().map(|reject| reject.line).collect())),
            ("code", Column::texts(rejects.iter().map(|reject| reject.code))),
            ("text", Column::texts(rejects.iter().map(|reject| reject.text.as_str()))),
            ("amount_minor", Column::Int(rejects.iter().map(|reject| reject.amount_minor).collect())),
            ("sealed", Column::bytes(rejects.iter().map(|reject| reject.sealed.as_slice()))),
        ],
    };
    tx.load(&load).await
}

/// One page of a payroll's rejects above a line: line, code, text, sealed row.
pub async fn rejects(
    tx: &mut Tx,
    id: Id<Payroll>,
    above: i64,
    limit: i64,
) -> Result<Vec<(i64, String, String, Vec<u8>)>> {
    let sql = "SELECT line, code, text, sealed FROM reject WHERE payroll = $1 AND line > $2 ORDER BY line LIMIT $3";
    let rows = tx.rows(sql, values![id.number(), above, limit]).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?, row.text(2)?, row.bytes(3)?.to_vec()))).collect()
}

/// Rejects of a payroll counted by code.
pub async fn rejects_by_code(tx: &mut Tx, id: Id<Payroll>) -> Result<Vec<(String, Total)>> {
    let sql = "SELECT code, COUNT(*), CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) FROM reject WHERE payroll = $1 \
               GROUP BY code ORDER BY code";
    let rows = tx.rows(sql, values![id.number()]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, Total::read(row, 1)?))).collect()
}

/// A decision on a payroll's content.
#[derive(Debug)]
pub struct Approval<'a> {
    /// Its number.
    pub number: i64,
    /// Who decided.
    pub person: &'a str,
    /// `approved` or `recalled`.
    pub decision: &'a str,
    /// On exactly this content.
    pub content_hash: &'a [u8],
    /// When.
    pub at: i64,
}

/// Keeps a decision.
pub async fn insert_approval(tx: &mut Tx, id: Id<Payroll>, one: &Approval<'_>) -> Result<()> {
    let sql =
        "INSERT INTO approval (number, payroll, person, decision, content_hash, at) VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(sql, values![one.number, id.number(), one.person, one.decision, one.content_hash, one.at])
        .await
        .map(|_| ())
}

/// The newest decision on a payroll: person, decision, content hash.
pub async fn approval(tx: &mut Tx, id: Id<Payroll>) -> Result<Option<(String, String, Vec<u8>)>> {
    let sql =
        "SELECT person, decision, content_hash FROM approval WHERE payroll = $1 ORDER BY at DESC, number DESC LIMIT 1";
    let row = tx.row(sql, values![id.number()]).await?;
    row.map(|row| Ok((row.text(0)?, row.text(1)?, row.bytes(2)?.to_vec()))).transpose()
}

/// The day a payroll is to be paid on, if one was asked for.
pub async fn pay_on(tx: &mut Tx, id: Id<Payroll>) -> Result<Option<String>> {
    tx.one("SELECT pay_on FROM payroll WHERE number = $1", values![id.number()]).await?.maybe_text(0)
}
