//! What is written down beside the rows: the journal, exceptions, pauses, idempotency keys, raw callbacks.

use anyhow::{Context, Result};

use super::db::{Row, Tx};
pub use super::exception::Handling;
use super::ledger::Account;
use super::load::{Column, Load};
use super::payroll::Total;
use super::{Scope, values};
use crate::domain::id::{Exception, Id, Payroll, Programme, Tenant};

/// One fact of the journal, written in the same unit of work as what it tells of.
#[derive(Debug, Default)]
pub struct Fact<'a> {
    /// What happened, dotted: `payroll.released`.
    pub event: &'a str,
    /// Which payroll, batch, … it happened to, by number.
    pub subject: i64,
    /// Who did it: a person, or `engine`.
    pub actor: &'a str,
    /// How many payments it concerned, and their sum.
    pub total: Total,
    /// Hash of the list, where a whole list moved.
    pub list_hash: Option<&'a [u8]>,
    /// The evidence, where there is one.
    pub evidence: Option<i64>,
    /// Anything else worth knowing; no personal data.
    pub note: &'a str,
}

/// Appends to the journal.
pub async fn journal(tx: &mut Tx, number: i64, tenant: Id<Tenant>, fact: &Fact<'_>, now: i64) -> Result<()> {
    let sql = "INSERT INTO journal (number, tenant, subject, event, actor, payments, sum_minor, list_hash, evidence, \
               note, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let bound = values![
        number,
        tenant.number(),
        fact.subject,
        fact.event,
        fact.actor,
        fact.total.payments,
        fact.total.sum_minor,
        fact.list_hash,
        fact.evidence,
        fact.note,
        now
    ];
    tx.execute(sql, bound).await.map(|_| ())
}

/// The same of many facts in one go, each with its number and about a list.
pub async fn journal_all(tx: &mut Tx, tenant: Id<Tenant>, facts: &[(i64, Fact<'_>)], now: i64) -> Result<()> {
    let hashes: Option<Vec<&[u8]>> = facts.iter().map(|one| one.1.list_hash).collect();
    let hashes = hashes.context("a fact about no list")?;
    let ints = |of: &dyn Fn(&(i64, Fact<'_>)) -> i64| Column::Int(facts.iter().map(of).collect());
    let load = Load {
        table: "journal",
        columns: vec![
            ("number", ints(&|one| one.0)),
            ("tenant", ints(&|_| tenant.number())),
            ("subject", ints(&|one| one.1.subject)),
            ("event", Column::texts(facts.iter().map(|one| one.1.event))),
            ("actor", Column::texts(facts.iter().map(|one| one.1.actor))),
            ("payments", ints(&|one| one.1.total.payments)),
            ("sum_minor", ints(&|one| one.1.total.sum_minor)),
            ("list_hash", Column::bytes(hashes.into_iter())),
            ("evidence", Column::MaybeInt(facts.iter().map(|one| one.1.evidence).collect())),
            ("note", Column::texts(facts.iter().map(|one| one.1.note))),
            ("at", ints(&|_| now)),
        ],
    };
    tx.load(&load).await
}

/// A fact as it is shown.
#[derive(Debug, Clone)]
pub struct FactRow {
    /// When.
    pub at: i64,
    /// What happened.
    pub event: String,
    /// Who did it.
    pub actor: String,
    /// What it concerned.
    pub total: Total,
    /// The evidence.
    pub evidence: Option<i64>,
    /// Anything else.
    pub note: String,
}

/// The journal of one subject of the tenant, oldest first.
pub async fn facts(tx: &mut Tx, scope: &Scope, subject: i64, limit: i64) -> Result<Vec<FactRow>> {
    let sql = "SELECT at, event, actor, payments, sum_minor, evidence, note FROM journal WHERE subject = $1 \
               AND tenant = $2 ORDER BY at, number LIMIT $3";
    let fact = |row: &Row| {
        let (event, actor) = (row.text(1)?, row.text(2)?);
        let total = Total { payments: row.int(3)?, sum_minor: row.int(4)? };
        Ok(FactRow { at: row.int(0)?, event, actor, total, evidence: row.maybe_int(5)?, note: row.text(6)? })
    };
    tx.rows(sql, values![subject, scope.tenant.number(), limit]).await?.iter().map(fact).collect()
}

/// A person's task. What people do about it is in [`super::exception`].
#[derive(Debug, Clone)]
pub struct ExceptionRow {
    /// Its number.
    pub id: Id<Exception>,
    /// Its programme.
    pub programme: Id<Programme>,
    /// What kind.
    pub code: String,
    /// Which disbursement or batch, by number.
    pub subject: i64,
    /// Which provider.
    pub provider: String,
    /// What contradicts; 0 for none.
    pub evidence: i64,
    /// In words, without personal data.
    pub detail: String,
    /// Since when.
    pub opened_at: i64,
    /// What waits for it and what people did about it.
    pub handling: Handling,
}

/// Opens an exception; one of this kind that is open for its subject is not opened again. True when it is new.
pub async fn open_exception(tx: &mut Tx, tenant: Id<Tenant>, exception: &ExceptionRow) -> Result<bool> {
    let sql = "INSERT INTO exception (number, tenant, programme, code, subject, provider, evidence, detail, opened_at, \
               suspended_from) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE NOT EXISTS (SELECT 1 FROM exception \
               WHERE code = $4 AND subject = $5 AND closed_at IS NULL) ON CONFLICT DO NOTHING";
    let bound = values![
        exception.id.number(),
        tenant.number(),
        exception.programme.number(),
        &exception.code,
        exception.subject,
        &exception.provider,
        exception.evidence,
        &exception.detail,
        exception.opened_at,
        exception.handling.suspended_from.map(Account::name)
    ];
    Ok(tx.execute(sql, bound).await? == 1)
}

/// The pause code of a provider.
pub fn provider_pause(provider: &str) -> String {
    format!("provider:{provider}")
}

/// The pause code of a programme.
pub fn programme_pause(programme: Id<Programme>) -> String {
    format!("programme:{}", programme.number())
}

/// Stops new sends under a code.
pub async fn pause(tx: &mut Tx, code: &str, reason: &str, now: i64) -> Result<()> {
    let sql = "INSERT INTO pause (code, reason, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    tx.execute(sql, values![code, reason, now]).await.map(|_| ())
}

/// Lets sends go on; false when nothing was paused.
pub async fn resume(tx: &mut Tx, code: &str) -> Result<bool> {
    Ok(tx.execute("DELETE FROM pause WHERE code = $1", values![code]).await? > 0)
}

/// How many things stop sending under a provider's pause code ($1), a programme's ($2) and a payroll ($3).
pub(super) const STOPS: &str = "(SELECT COUNT(*) FROM pause WHERE code IN ($1, $2)) + (SELECT COUNT(*) FROM payroll \
    WHERE number = $3 AND (paused_at IS NOT NULL OR state <> 'released'))";

/// Whether sending under any of these three is stopped: a payroll, its provider, its programme.
pub async fn is_stopped(tx: &mut Tx, payroll: Id<Payroll>, provider: &str, programme: Id<Programme>) -> Result<bool> {
    let sql = format!("SELECT {STOPS}");
    let (provider, programme) = (provider_pause(provider), programme_pause(programme));
    let bound = values![&provider, &programme, payroll.number()];
    Ok(tx.one(&sql, bound).await?.int(0)? > 0)
}

/// All pauses: code, reason, since when.
pub async fn pauses(tx: &mut Tx) -> Result<Vec<(String, String, i64)>> {
    let rows = tx.rows("SELECT code, reason, at FROM pause ORDER BY code LIMIT 1000", &[]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?, row.int(2)?))).collect()
}

/// What an idempotency key stands for: the hash of its request and the payroll that came of it.
pub async fn idempotency(tx: &mut Tx, scope: &Scope, key: &str) -> Result<Option<(Vec<u8>, Id<Payroll>)>> {
    let sql = "SELECT request_hash, payroll FROM idempotency WHERE tenant = $1 AND key = $2";
    let row = tx.row(sql, values![scope.tenant.number(), key]).await?;
    row.map(|row| Ok((row.bytes(0)?.to_vec(), Id::new(row.int(1)?)))).transpose()
}

/// Keeps an idempotency key. Fails on a conflict when somebody else just kept it.
pub async fn keep_idempotency(
    tx: &mut Tx,
    scope: &Scope,
    key: &str,
    request: (&[u8], Id<Payroll>),
    now: i64,
) -> Result<()> {
    let sql = "INSERT INTO idempotency (tenant, key, request_hash, payroll, created_at) VALUES ($1, $2, $3, $4, $5)";
    let bound = values![scope.tenant.number(), key, request.0, request.1.number(), now];
    tx.execute(sql, bound).await.map(|_| ())
}

/// Lets the key that stands for a payroll stand for another one.
pub async fn free_idempotency(tx: &mut Tx, payroll: Id<Payroll>) -> Result<()> {
    tx.execute("DELETE FROM idempotency WHERE payroll = $1", values![payroll.number()]).await.map(|_| ())
}

/// A provider's call as it came.
#[derive(Debug)]
pub struct CallbackRow<'a> {
    /// Its number.
    pub number: i64,
    /// Who called.
    pub provider: &'a str,
    /// SHA-256 of the body.
    pub sha256: &'a [u8],
    /// The body, sealed.
    pub sealed: &'a [u8],
    /// What it came to: `heard` or `unreadable` at first, `applied` once its reports are.
    pub verdict: &'a str,
}

/// Notes that a call's reports are applied.
pub async fn set_callback_applied(tx: &mut Tx, provider: &str, sha256: &[u8]) -> Result<()> {
    let sql = "UPDATE callback SET verdict = 'applied' WHERE provider = $1 AND sha256 = $2";
    tx.execute(sql, values![provider, sha256]).await.map(|_| ())
}

/// Keeps a provider's call; false when the same body came before and its reports were applied.
pub async fn keep_callback(tx: &mut Tx, callback: &CallbackRow<'_>, now: i64) -> Result<bool> {
    let sql = "INSERT INTO callback (number, provider, sha256, sealed, at, verdict) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT DO NOTHING";
    let bound = values![callback.number, callback.provider, callback.sha256, callback.sealed, now, callback.verdict];
    if tx.execute(sql, bound).await? == 1 {
        return Ok(true);
    }
    let sql = "SELECT verdict FROM callback WHERE provider = $1 AND sha256 = $2";
    Ok(tx.one(sql, values![callback.provider, callback.sha256]).await?.text(0)? != "applied")
}
