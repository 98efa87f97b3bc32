//! What people do about exceptions: propose, decide, close; and whose money waits for them meanwhile.
//! Deliberately not here: opening one (`notes`), and what may be decided.

use anyhow::{Context, Result};

use super::db::{Row, Table, Tx, Values};
use super::ledger::Account;
use super::notes::ExceptionRow;
use super::{Scope, values};
use crate::domain::disbursement::State;
use crate::domain::exception::{DOUBT_TOO_OLD, Decision, KINDS, Matter};
use crate::domain::id::{Batch, Exception, Id, Programme, Tenant};

/// What waits for an exception, and what people did about it so far.
#[derive(Debug, Clone, Default)]
pub struct Handling {
    /// The account from which its payment's money went to suspense; `None` where it concerns no money of its own.
    pub suspended_from: Option<Account>,
    /// What one person proposes.
    pub proposal: Option<Proposal>,
    /// When it was closed.
    pub closed_at: Option<i64>,
}

/// What one person proposes, for another to confirm.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// What is to be decided.
    pub decision: Decision,
    /// Who proposed it.
    pub by: String,
    /// When.
    pub at: i64,
    /// Where the payment stood; `None` where the subject is a batch.
    pub state: Option<State>,
    /// What they rest it on, beside what is known.
    pub evidence: Option<i64>,
    /// Why, in their words, sealed.
    pub sealed: Vec<u8>,
}

/// The columns of an exception `e`, as [`exception_row`] reads them.
pub(super) const EXCEPTION: &str = "SELECT e.number, e.programme, e.code, e.subject, e.provider, e.evidence, e.detail, \
    e.opened_at, e.suspended_from, e.closed_at, e.proposed, e.proposed_by, e.proposed_at, e.proposed_state, \
    e.proposed_evidence, e.proposed_sealed";

pub(super) fn exception_row(row: &Row) -> Result<ExceptionRow> {
    let suspended_from = row.maybe_text(8)?.map(|name| account(&name)).transpose()?;
    let handling = Handling { suspended_from, proposal: proposal(row)?, closed_at: row.maybe_int(9)? };
    Ok(ExceptionRow {
        id: Id::new(row.int(0)?),
        programme: Id::new(row.int(1)?),
        code: row.text(2)?,
        subject: row.int(3)?,
        provider: row.text(4)?,
        evidence: row.int(5)?,
        detail: row.text(6)?,
        opened_at: row.int(7)?,
        handling,
    })
}

fn proposal(row: &Row) -> Result<Option<Proposal>> {
    let Some(name) = row.maybe_text(10)? else { return Ok(None) };
    let decision = Decision::parse(&name).with_context(|| format!("a stored decision is unknown: {name}"))?;
    let state = row.maybe_int(13)?.map(|code| State::from_code(code).context("a stored state is unknown"));
    Ok(Some(Proposal {
        decision,
        by: row.text(11)?,
        at: row.int(12)?,
        state: state.transpose()?,
        evidence: row.maybe_int(14)?,
        sealed: row.bytes(15)?.to_vec(),
    }))
}

pub(super) fn account(name: &str) -> Result<Account> {
    Account::parse(name).with_context(|| format!("a stored account is unknown: {name}"))
}

/// An exception of the tenant, open or closed.
pub async fn get(tx: &mut Tx, scope: &Scope, id: Id<Exception>) -> Result<Option<ExceptionRow>> {
    let sql = format!("{EXCEPTION} FROM exception e WHERE e.number = $1 AND e.tenant = $2");
    tx.row(&sql, values![id.number(), scope.tenant.number()]).await?.as_ref().map(exception_row).transpose()
}

/// Exceptions of the tenant, open or closed, locked, ascending. Whoever locks their batch too has locked that before.
pub async fn lock(tx: &mut Tx, scope: &Scope, numbers: &[i64]) -> Result<Vec<ExceptionRow>> {
    let sql = format!(
        "{EXCEPTION} FROM exception e WHERE e.number IN (SELECT number FROM {{v}}) AND e.tenant = $1 \
         ORDER BY e.number{}",
        tx.for_update()
    );
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.rows_with(&sql, values![scope.tenant.number()], table).await?.iter().map(exception_row).collect()
}

/// Puts a proposal on open exceptions, or takes it off.
pub async fn set_proposal(tx: &mut Tx, numbers: &[i64], proposal: Option<&Proposal>) -> Result<()> {
    let sql = "UPDATE exception SET proposed = $1, proposed_by = $2, proposed_at = $3, \
               proposed_state = $4, proposed_evidence = $5, proposed_sealed = $6 \
               WHERE number IN (SELECT number FROM {v}) AND closed_at IS NULL";
    let bound = values![
        proposal.map(|one| one.decision.name()),
        proposal.map(|one| one.by.as_str()),
        proposal.map(|one| one.at),
        proposal.and_then(|one| one.state).map(State::code),
        proposal.and_then(|one| one.evidence),
        proposal.map(|one| one.sealed.as_slice())
    ];
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    all_open(tx.execute_with(sql, bound, table).await?, numbers)
}

/// Closes exceptions as it was proposed. The database refuses the person who proposed it.
pub async fn close(tx: &mut Tx, numbers: &[i64], by: &str, evidence: i64, now: i64) -> Result<()> {
    let sql = "UPDATE exception SET closed_at = $1, closed_by = $2, decision = proposed, decision_evidence = $3 \
               WHERE number IN (SELECT number FROM {v}) AND closed_at IS NULL";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    all_open(tx.execute_with(sql, values![now, by, evidence], table).await?, numbers)
}

fn all_open(changed: u64, numbers: &[i64]) -> Result<()> {
    // They are locked and were looked at: this is a broken invariant, not a race.
    anyhow::ensure!(changed == numbers.len() as u64, "{changed} of {} exceptions are open", numbers.len());
    Ok(())
}

/// The payments among these whose money is in suspense: each with every open exception that keeps it there, and the
/// account it came from.
pub async fn suspended(tx: &mut Tx, numbers: &[i64]) -> Result<Vec<(i64, Id<Exception>, Account)>> {
    let sql = "SELECT e.subject, e.number, e.suspended_from FROM {v} JOIN exception e ON e.subject = v.number \
               WHERE e.closed_at IS NULL AND e.suspended_from IS NOT NULL ORDER BY e.subject, e.suspended_from";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    let rows = tx.rows_with(sql, values![], table).await?;
    rows.iter().map(|row| Ok((row.int(0)?, Id::new(row.int(1)?), account(&row.text(2)?)?))).collect()
}

/// Which of these disbursements have an open exception of their own.
pub async fn with_open(tx: &mut Tx, numbers: &[i64]) -> Result<Vec<i64>> {
    let sql = "SELECT DISTINCT e.subject FROM {v} JOIN exception e ON e.subject = v.number WHERE e.closed_at IS NULL";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.rows_with(sql, values![], table).await?.iter().map(|row| row.int(0)).collect()
}

/// Codes of exceptions that keep a batch from leaving, as a list for SQL.
fn unsent() -> String {
    let codes = KINDS.iter().filter(|(_, matter, _)| *matter == Matter::Unsent);
    codes.map(|(code, ..)| format!("'{code}'")).collect::<Vec<_>>().join(",")
}

/// The numbers of batches that an open exception keeps from leaving, as a SELECT.
pub(super) fn frozen_batches() -> String {
    let codes = unsent();
    format!(
        "SELECT COALESCE(f.batch, e.subject) FROM exception e LEFT JOIN disbursement f ON f.number = e.subject \
         WHERE e.closed_at IS NULL AND e.code IN ({codes})"
    )
}

/// Whether an open exception keeps a batch from leaving.
pub async fn is_frozen(tx: &mut Tx, batch: Id<Batch>) -> Result<bool> {
    let sql = format!("SELECT COUNT(*) FROM batch b WHERE b.number = $1 AND b.number IN ({})", frozen_batches());
    Ok(tx.one(&sql, values![batch.number()]).await?.int(0)? > 0)
}

/// A batch that has been in doubt for too long.
#[derive(Debug, Clone, Copy)]
pub struct Overdue {
    /// The batch.
    pub batch: Id<Batch>,
    /// Whose it is.
    pub tenant: Id<Tenant>,
    /// Which programme's.
    pub programme: Id<Programme>,
    /// Payments in it that have no end.
    pub open_payments: i64,
}

/// Batches of a provider whose last copy left before an instant and that are still in doubt; not those a person has
/// been told of and has not answered, or answered since then.
pub async fn overdue(tx: &mut Tx, provider: &str, before: i64, limit: i64) -> Result<Vec<Overdue>> {
    let sql = "SELECT b.number, p.tenant, b.programme, b.open_payments FROM batch b \
               JOIN programme p ON p.number = b.programme WHERE b.due_at IS NOT NULL AND b.state = 'in_doubt' \
               AND b.provider = $1 AND b.last_copy_at <= $2 AND b.open_payments > 0 AND b.number NOT IN \
               (SELECT COALESCE(d.batch, e.subject) FROM exception e LEFT JOIN disbursement d ON d.number = e.subject \
               WHERE e.code = $3 AND (e.closed_at IS NULL OR e.closed_at > $2)) ORDER BY b.number LIMIT $4";
    let rows = tx.rows(sql, values![provider, before, DOUBT_TOO_OLD, limit]).await?;
    let overdue = |row: &Row| {
        let (batch, tenant, programme) = (Id::new(row.int(0)?), Id::new(row.int(1)?), Id::new(row.int(2)?));
        Ok(Overdue { batch, tenant, programme, open_payments: row.int(3)? })
    };
    rows.iter().map(overdue).collect()
}

/// Keeps how payments had ended before two persons decide otherwise.
pub async fn keep_overruled(tx: &mut Tx, numbers: &[i64]) -> Result<()> {
    let sql = "INSERT INTO overruled (disbursement, batch, state, end_evidence, end_position, return_evidence, code, \
               sealed) SELECT d.number, d.batch, d.state, d.end_evidence, d.end_position, x.return_evidence, x.code, \
               x.sealed FROM {v} JOIN disbursement d ON d.number = v.number \
               LEFT JOIN departure x ON x.disbursement = d.number WHERE d.end_evidence IS NOT NULL";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.execute_with(sql, values![], table).await.map(|_| ())
}

/// The programme that paid through a provider last, or the first one there is.
pub async fn programme_of_provider(tx: &mut Tx, provider: &str) -> Result<Option<Id<Programme>>> {
    let sql = "SELECT programme FROM batch WHERE provider = $1 ORDER BY number DESC LIMIT 1";
    let found = match tx.row(sql, values![provider]).await? {
        Some(row) => Some(row),
        None => tx.row("SELECT number FROM programme ORDER BY number LIMIT 1", &[]).await?,
    };
    found.map(|row| row.int(0).map(Id::new)).transpose()
}

/// Closes the open exceptions of these kinds about a thing: what they told of is over by itself.
pub async fn close_by_rule(tx: &mut Tx, codes: &[&str], subject: i64, now: i64) -> Result<()> {
    for code in codes {
        let sql = "UPDATE exception SET closed_at = $3 WHERE subject = $1 AND code = $2 AND closed_at IS NULL";
        tx.execute(sql, values![subject, *code, now]).await?;
    }
    Ok(())
}
