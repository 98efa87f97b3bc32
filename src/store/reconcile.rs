//! What is compared when a payroll is reconciled, and what an account's statements come to day by day.

use anyhow::{Context, Result};
use paymaster_connectors::contract::Currency;

use super::db::{Row, Tx};
use super::values;
use crate::domain::batch::BatchState;
use crate::domain::id::{Batch, Id, Payroll};
use crate::domain::reconcile::{Legs, Sum};

/// A batch from three sides.
#[derive(Debug, Clone)]
pub struct BatchLegs {
    /// The batch.
    pub id: Id<Batch>,
    /// Who got it.
    pub provider: String,
    /// Its currency.
    pub currency: Currency,
    /// Where it stands.
    pub state: BatchState,
    /// The day its bytes ask to pay on.
    pub execute_on: Option<String>,
    /// The three sides.
    pub legs: Legs,
}

fn batch_legs(row: &Row) -> Result<BatchLegs> {
    let state = row.text(3)?;
    let state = BatchState::parse(&state).with_context(|| format!("a stored batch state is unknown: {state}"))?;
    let sum = |at: usize| Ok::<_, anyhow::Error>(Sum::new(row.int(at)?, row.int(at + 1)?));
    let open = sum(7)?;
    let has_it = matches!(state, BatchState::Accepted | BatchState::Completed);
    let legs = Legs {
        instructed: sum(5)?,
        open,
        acknowledged_open: if has_it { open } else { Sum::default() },
        settled: sum(9)?,
        rejected: sum(11)?,
        returned: sum(13)?,
        debited: sum(15)?,
        credited: sum(17)?,
    };
    let currency = Currency::parse(&row.text(2)?).context("a stored currency is unknown")?;
    Ok(BatchLegs {
        id: Id::new(row.int(0)?),
        provider: row.text(1)?,
        currency,
        state,
        execute_on: row.maybe_text(4)?,
        legs,
    })
}

/// The batches of a payroll above a number, each with what statements book of it.
pub async fn batches(tx: &mut Tx, payroll: Id<Payroll>, above: i64, limit: i64) -> Result<Vec<BatchLegs>> {
    let booked = |column: &str| {
        format!("CAST(COALESCE((SELECT SUM({column}) FROM booking k WHERE k.batch = b.number), 0) AS BIGINT)")
    };
    let columns = ["debits", "debits_minor", "credits", "credits_minor"].map(booked).join(", ");
    let sql = format!(
        "SELECT b.number, b.provider, b.currency, b.state, b.execute_on, b.payments, b.sum_minor, b.open_payments, \
         b.open_minor, b.settled_payments, b.settled_minor, b.rejected_payments, b.rejected_minor, b.returned_payments, \
         b.returned_minor, {columns} FROM batch b WHERE b.payroll = $1 AND b.number > $2 ORDER BY b.number LIMIT $3"
    );
    tx.rows(&sql, values![payroll.number(), above, limit]).await?.iter().map(batch_legs).collect()
}

/// Open exceptions on a payroll's payments and batches.
pub async fn open_exceptions(tx: &mut Tx, payroll: Id<Payroll>) -> Result<i64> {
    let sql = "SELECT (SELECT COUNT(*) FROM exception e JOIN disbursement d ON d.number = e.subject WHERE d.payroll = $1 \
               AND e.closed_at IS NULL) + (SELECT COUNT(*) FROM exception e JOIN batch b ON b.number = e.subject \
               WHERE b.payroll = $1 AND e.closed_at IS NULL)";
    tx.one(sql, values![payroll.number()]).await?.int(0)
}

/// Payrolls that are completed, not reconciled, and paid through a provider.
pub async fn completed(tx: &mut Tx, provider: &str, limit: i64) -> Result<Vec<Id<Payroll>>> {
    let sql = "SELECT number FROM payroll r WHERE state = 'completed' AND EXISTS (SELECT 1 FROM batch b \
               WHERE b.payroll = r.number AND b.provider = $1) ORDER BY number LIMIT $2";
    tx.rows(sql, values![provider, limit]).await?.iter().map(|row| row.int(0).map(Id::new)).collect()
}

/// A statement as people look at it: what it says, and how much of it was matched.
#[derive(Debug, Clone)]
pub struct StatementLine {
    /// Its number.
    pub number: i64,
    /// Who left it.
    pub provider: String,
    /// The account as the bank writes it.
    pub account: String,
    /// `statement`, `interim` or `notice`.
    pub kind: String,
    /// The bank's name for it, its sequence number and page.
    pub name: (String, Option<i64>, i64),
    /// Last day spoken about.
    pub day: Option<String>,
    /// The currency, where it is stated.
    pub currency: Option<String>,
    /// Opening and closing balance in minor units.
    pub balances: (Option<i64>, Option<i64>),
    /// Sums of booked debits and credits in minor units.
    pub sums: (i64, i64),
    /// Entries that could not be read.
    pub faults: i64,
    /// Whether the entries prove the balances.
    pub proof: Option<String>,
    /// Whether it counts.
    pub standing: String,
    /// Entries that name a payment of ours.
    pub named: i64,
    /// Entries nobody ordered: how many, and their debits and credits in minor units.
    pub unknown: (i64, i64, i64),
    /// Entries of ours that differ from what was ordered.
    pub misfits: i64,
    /// Charges, in minor units.
    pub fees_minor: i64,
    /// Open exceptions about it: gaps, other openings.
    pub exceptions: i64,
}

impl StatementLine {
    /// Whether the day is reconciled: it counts, adds up, follows what came before, and nothing in it is open.
    pub fn is_reconciled(&self) -> bool {
        let proven = self.proof.as_deref() == Some("holds");
        self.standing == "counted"
            && proven
            && (self.faults, self.unknown.0, self.misfits, self.exceptions) == (0, 0, 0, 0)
    }
}

fn statement_line(row: &Row) -> Result<StatementLine> {
    Ok(StatementLine {
        number: row.int(0)?,
        provider: row.text(1)?,
        account: row.text(2)?,
        kind: row.text(3)?,
        name: (row.text(4)?, row.maybe_int(5)?, row.int(6)?),
        day: row.maybe_text(7)?,
        currency: row.maybe_text(8)?,
        balances: (row.maybe_int(9)?, row.maybe_int(10)?),
        sums: (row.int(11)?, row.int(12)?),
        faults: row.int(13)?,
        proof: row.maybe_text(14)?,
        standing: row.text(15)?,
        named: row.int(16)?,
        unknown: (row.int(17)?, row.int(18)?, row.int(19)?),
        misfits: row.int(20)?,
        fees_minor: row.int(21)?,
        exceptions: row.int(22)?,
    })
}

/// Statements above a number, of one provider or of all.
pub async fn statements(tx: &mut Tx, provider: Option<&str>, above: i64, limit: i64) -> Result<Vec<StatementLine>> {
    let entries = |what: &str, of: &str| {
        format!("CAST(COALESCE((SELECT {what} FROM entry e WHERE e.statement = s.number AND {of}), 0) AS BIGINT)")
    };
    let columns = [
        entries("COUNT(*)", "e.verdict = 'unknown'"),
        entries("SUM(e.amount_minor)", "e.verdict = 'unknown' AND e.direction = 'debit'"),
        entries("SUM(e.amount_minor)", "e.verdict = 'unknown' AND e.direction = 'credit'"),
        entries("COUNT(*)", "e.verdict NOT IN ('unknown', 'fee', 'not_booked', 'total')"),
        entries(
            "SUM(CASE WHEN e.direction = 'debit' THEN e.amount_minor ELSE -e.amount_minor END)",
            "e.verdict = 'fee'",
        ),
    ]
    .join(", ");
    let sql = format!(
        "SELECT s.number, s.provider, s.account, s.kind, s.id, s.sequence, s.page, s.last_day, s.currency, s.opening_minor, \
         s.closing_minor, s.debits_minor, s.credits_minor, s.faults, s.proof, s.standing, s.named, {columns}, \
         (SELECT COUNT(*) FROM exception x WHERE x.subject = s.number AND x.closed_at IS NULL) FROM statement s \
         WHERE s.number > $1 AND (CAST($2 AS TEXT) IS NULL OR s.provider = $2) ORDER BY s.number LIMIT $3"
    );
    tx.rows(&sql, values![above, provider, limit]).await?.iter().map(statement_line).collect()
}
