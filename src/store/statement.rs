//! Statements and their entries: staged while a file is read, matched in sets, added up by batch.
//! Deliberately not here: what an entry means.

use anyhow::{Context, Result};
use paymaster_connectors::contract::{Currency, Money};

use super::db::{Row, Table, Tx, Value, Values};
use super::load::{Column, Load, Strip};
use super::payroll::Total;
use super::values;
use crate::domain::id::{Batch, File, Id, Statement};

/// A statement as stored.
#[derive(Debug, Clone)]
pub struct StatementRow {
    /// Its number.
    pub id: Id<Statement>,
    /// The file it came in.
    pub file: Id<File>,
    /// Who left it.
    pub provider: String,
    /// `statement`, `interim` or `notice`.
    pub kind: String,
    /// The bank's name for it.
    pub name: String,
    /// The account as the bank writes it.
    pub account: String,
    /// Its sequence number in the account.
    pub sequence: Option<i64>,
    /// Its page, 0 where it was not cut.
    pub page: i64,
    /// First and last day.
    pub days: (Option<String>, Option<String>),
    /// Opening and closing balance in minor units.
    pub balances: (Option<i64>, Option<i64>),
    /// Entries read, and what could not be read.
    pub counts: (i64, i64),
    /// Sums of booked debits and credits in minor units.
    pub sums: (i64, i64),
    /// `holds`, or why the balances do not prove the entries.
    pub proof: Option<String>,
    /// `reading`, `counted`, `repeat`, `refused` or `overruled`.
    pub standing: String,
    /// Lowest and highest disbursement that its entries name.
    pub disbursements: Option<(i64, i64)>,
    /// The currency of the account, where it is stated.
    pub currency: Option<String>,
    /// How many entries name a disbursement.
    pub named: i64,
}

const STATEMENT: &str = "SELECT number, file, provider, kind, id, account, sequence, page, first_day, last_day, \
    opening_minor, closing_minor, entries, faults, debits_minor, credits_minor, proof, standing, first_disbursement, \
    last_disbursement, currency, named FROM statement";

fn statement_row(row: &Row) -> Result<StatementRow> {
    Ok(StatementRow {
        id: Id::new(row.int(0)?),
        file: Id::new(row.int(1)?),
        provider: row.text(2)?,
        kind: row.text(3)?,
        name: row.text(4)?,
        account: row.text(5)?,
        sequence: row.maybe_int(6)?,
        page: row.int(7)?,
        days: (row.maybe_text(8)?, row.maybe_text(9)?),
        balances: (row.maybe_int(10)?, row.maybe_int(11)?),
        counts: (row.int(12)?, row.int(13)?),
        sums: (row.int(14)?, row.int(15)?),
        proof: row.maybe_text(16)?,
        standing: row.text(17)?,
        disbursements: row.maybe_int(18)?.zip(row.maybe_int(19)?),
        currency: row.maybe_text(20)?,
        named: row.int(21)?,
    })
}

/// Begins a statement whose entries are about to be staged.
pub async fn begin(tx: &mut Tx, row: &StatementRow, now: i64) -> Result<()> {
    let sql = "INSERT INTO statement (number, file, provider, kind, id, account, currency, sequence, page, first_day, \
               last_day, opening_minor, standing, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
               'reading', $13)";
    let bound = values![
        row.id.number(),
        row.file.number(),
        &row.provider,
        &row.kind,
        &row.name,
        &row.account,
        row.currency.as_deref(),
        row.sequence,
        row.page,
        row.days.0.as_deref(),
        row.days.1.as_deref(),
        row.balances.0,
        now
    ];
    tx.execute(sql, bound).await.map(|_| ())
}

/// Writes what is known of a statement at its end.
pub async fn finish(tx: &mut Tx, row: &StatementRow) -> Result<()> {
    let sql = "UPDATE statement SET closing_minor = $2, entries = $3, faults = $4, debits_minor = $5, credits_minor = $6, \
               proof = $7, standing = $8, first_disbursement = $9, last_disbursement = $10, named = $11 WHERE number = $1";
    let range = row.disbursements.unzip();
    let bound = values![
        row.id.number(),
        row.balances.1,
        row.counts.0,
        row.counts.1,
        row.sums.0,
        row.sums.1,
        row.proof.as_deref(),
        &row.standing,
        range.0,
        range.1,
        row.named
    ];
    tx.execute(sql, bound).await.map(|_| ())
}

/// Forgets the statements of a file and their entries, as far as an earlier reading of it came: it is read anew.
pub async fn forget_of(tx: &mut Tx, file: Id<File>) -> Result<()> {
    let bound = values![file.number()];
    tx.execute("DELETE FROM booking WHERE statement IN (SELECT number FROM statement WHERE file = $1)", bound).await?;
    tx.execute("DELETE FROM entry WHERE statement IN (SELECT number FROM statement WHERE file = $1)", bound).await?;
    tx.execute("DELETE FROM statement WHERE file = $1", bound).await.map(|_| ())
}

/// The statements of a file, in order.
pub async fn of_file(tx: &mut Tx, file: Id<File>) -> Result<Vec<StatementRow>> {
    let sql = format!("{STATEMENT} WHERE file = $1 ORDER BY number");
    tx.rows(&sql, values![file.number()]).await?.iter().map(statement_row).collect()
}

/// Statements of one kind and account that were counted, and have this name and page.
pub async fn like(tx: &mut Tx, row: &StatementRow) -> Result<Vec<StatementRow>> {
    let sql = format!(
        "{STATEMENT} WHERE provider = $1 AND account = $2 AND kind = $3 AND id = $4 AND page = $5 AND number <> $6 \
         AND standing = 'counted' ORDER BY number"
    );
    let bound = values![&row.provider, &row.account, &row.kind, &row.name, row.page, row.id.number()];
    tx.rows(&sql, bound).await?.iter().map(statement_row).collect()
}

/// The counted statements of an account with the sequence numbers next below and next above, the same one included.
pub async fn neighbours(tx: &mut Tx, row: &StatementRow) -> Result<(Option<StatementRow>, Option<StatementRow>)> {
    let Some(sequence) = row.sequence else { return Ok((None, None)) };
    let bound = values![&row.provider, &row.account, &row.kind, sequence, row.page, row.id.number()];
    let of = "WHERE provider = $1 AND account = $2 AND kind = $3 AND standing = 'counted' AND number <> $6 AND";
    let below = format!(
        "{STATEMENT} {of} (sequence < $4 OR (sequence = $4 AND page < $5)) ORDER BY sequence DESC, page DESC LIMIT 1"
    );
    let above =
        format!("{STATEMENT} {of} (sequence > $4 OR (sequence = $4 AND page > $5)) ORDER BY sequence, page LIMIT 1");
    let below = tx.row(&below, bound).await?.as_ref().map(statement_row).transpose()?;
    Ok((below, tx.row(&above, bound).await?.as_ref().map(statement_row).transpose()?))
}

/// A statement is overruled by a later one: what it booked counts no more.
pub async fn overrule(tx: &mut Tx, id: Id<Statement>) -> Result<()> {
    tx.execute("DELETE FROM booking WHERE statement = $1", values![id.number()]).await?;
    tx.execute("UPDATE statement SET standing = 'overruled' WHERE number = $1", values![id.number()]).await.map(|_| ())
}

/// Everything of a statement has been matched.
pub async fn set_matched(tx: &mut Tx, id: Id<Statement>, now: i64) -> Result<()> {
    tx.execute("UPDATE statement SET matched_at = $2 WHERE number = $1", values![id.number(), now]).await.map(|_| ())
}

/// What one statement books of one batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Booked {
    /// What was debited.
    pub debits: Total,
    /// What came back.
    pub credits: Total,
}

const BOOK: &str = "INSERT INTO booking (batch, statement, debits, debits_minor, credits, credits_minor) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT";

fn bound(statement: Id<Statement>, batch: Id<Batch>, booked: &Booked) -> [Value<'static>; 6] {
    let (debits, credits) = (booked.debits, booked.credits);
    [batch.number(), statement.number(), debits.payments, debits.sum_minor, credits.payments, credits.sum_minor]
        .map(Value::Int)
}

/// Keeps what a statement books of a batch by its payments. Repeating it has no effect.
pub async fn book(tx: &mut Tx, statement: Id<Statement>, batch: Id<Batch>, booked: &Booked) -> Result<()> {
    tx.execute(&format!("{BOOK} DO NOTHING"), &bound(statement, batch, booked)).await.map(|_| ())
}

/// Adds what one entry of a statement books of a batch as a whole. The entry's verdict must be set beside it.
pub async fn book_more(tx: &mut Tx, statement: Id<Statement>, batch: Id<Batch>, booked: &Booked) -> Result<()> {
    let sql = format!(
        "{BOOK} (batch, statement) DO UPDATE SET debits = booking.debits + excluded.debits, \
         debits_minor = booking.debits_minor + excluded.debits_minor, credits = booking.credits + excluded.credits, \
         credits_minor = booking.credits_minor + excluded.credits_minor"
    );
    tx.execute(&sql, &bound(statement, batch, booked)).await.map(|_| ())
}

/// Whether what a statement books of a batch is kept already.
pub async fn is_booked(tx: &mut Tx, statement: Id<Statement>, batch: Id<Batch>) -> Result<bool> {
    let sql = "SELECT 1 FROM booking WHERE batch = $1 AND statement = $2";
    Ok(tx.row(sql, values![batch.number(), statement.number()]).await?.is_some())
}

/// Entries to be staged, column by column.
#[derive(Debug, Default)]
pub struct Lines {
    /// Their places in the statement.
    pub positions: Vec<i64>,
    /// Their places in the entry, 0 for an entry as a whole.
    pub details: Vec<i64>,
    /// `debit` or `credit`.
    pub directions: Vec<&'static str>,
    /// What they are, see the domain.
    pub kinds: Vec<&'static str>,
    /// Currency codes.
    pub currencies: Vec<&'static str>,
    /// Minor units.
    pub amounts: Vec<i64>,
    /// How many payments each stands for.
    pub payments: Vec<i64>,
    /// The days they were booked.
    pub booked_on: Vec<Option<String>>,
    /// The disbursements they name.
    pub disbursements: Vec<Option<i64>>,
    /// The rest, sealed.
    pub sealed: Strip,
}

/// Stages entries under successive numbers from `first` on.
pub async fn stage(tx: &mut Tx, statement: Id<Statement>, first: i64, lines: Lines) -> Result<()> {
    let count = i64::try_from(lines.positions.len())?;
    let load = Load {
        table: "entry",
        columns: vec![
            ("number", Column::Int((first..first + count).collect())),
            ("statement", Column::Int(vec![statement.number(); lines.positions.len()])),
            ("position", Column::Int(lines.positions)),
            ("detail", Column::Int(lines.details)),
            ("direction", Column::texts(lines.directions.into_iter())),
            ("kind", Column::texts(lines.kinds.into_iter())),
            ("currency", Column::texts(lines.currencies.into_iter())),
            ("amount_minor", Column::Int(lines.amounts)),
            ("payments", Column::Int(lines.payments)),
            ("booked_on", Column::MaybeText(lines.booked_on)),
            ("disbursement", Column::MaybeInt(lines.disbursements)),
            ("sealed", Column::Bytes(lines.sealed)),
        ],
    };
    tx.load(&load).await
}

/// An entry as stored.
#[derive(Debug, Clone)]
pub struct EntryRow {
    /// Its number.
    pub number: i64,
    /// Whether money left the account.
    pub is_debit: bool,
    /// What it is, see the domain.
    pub kind: String,
    /// How much.
    pub amount: Money,
    /// How many payments it stands for.
    pub payments: i64,
    /// The day it was booked.
    pub booked_on: Option<String>,
    /// The disbursement it names; 0 for none.
    pub disbursement: i64,
    /// Its place in the statement.
    pub position: i64,
    /// Its place in the entry, 0 for the entry as a whole.
    pub detail: i64,
    /// The batch it names.
    pub batch: Option<Id<Batch>>,
    /// The rest, sealed.
    pub sealed: Vec<u8>,
}

const ENTRY: &str = "SELECT e.number, e.direction, e.kind, e.currency, e.amount_minor, e.payments, e.booked_on, \
    COALESCE(e.disbursement, 0), e.position, e.detail, e.batch, e.sealed FROM entry e";

fn entry_row(row: &Row) -> Result<EntryRow> {
    let currency = Currency::parse(&row.text(3)?).context("a stored currency is unknown")?;
    Ok(EntryRow {
        number: row.int(0)?,
        is_debit: row.text(1)? == "debit",
        kind: row.text(2)?,
        amount: Money::new(row.int(4)?, currency),
        payments: row.int(5)?,
        booked_on: row.maybe_text(6)?,
        disbursement: row.int(7)?,
        position: row.int(8)?,
        detail: row.int(9)?,
        batch: row.maybe_int(10)?.map(Id::new),
        sealed: row.bytes(11)?.to_vec(),
    })
}

/// The batch of the next disbursement above a number that an entry of the statement names.
pub async fn next_batch(tx: &mut Tx, row: &StatementRow, above: i64) -> Result<Option<Id<Batch>>> {
    let Some((_, last)) = row.disbursements else { return Ok(None) };
    let sql = "SELECT d.batch FROM entry e JOIN disbursement d ON d.number = e.disbursement \
               JOIN batch b ON b.number = d.batch WHERE e.disbursement > $2 AND e.disbursement <= $3 \
               AND e.statement = $1 AND b.provider = $4 ORDER BY e.disbursement LIMIT 1";
    let bound = values![row.id.number(), above, last, &row.provider];
    tx.row(sql, bound).await?.map(|row| row.int(0).map(Id::new)).transpose()
}

/// Entries of a statement that name disbursements of a batch, in the order of those.
pub async fn of_batch(
    tx: &mut Tx,
    statement: Id<Statement>,
    batch: Id<Batch>,
    numbers: (i64, i64),
    limit: i64,
) -> Result<Vec<EntryRow>> {
    let sql = format!(
        "{ENTRY} JOIN disbursement d ON d.number = e.disbursement WHERE e.disbursement BETWEEN $3 AND $4 \
         AND e.statement = $1 AND d.batch = $2 ORDER BY e.disbursement, e.number LIMIT $5"
    );
    let bound = values![statement.number(), batch.number(), numbers.0, numbers.1, limit];
    tx.map_rows(&sql, bound, entry_row).await
}

/// Entries of a statement that name nothing of ours and were not looked at.
pub async fn unnamed(tx: &mut Tx, statement: Id<Statement>, limit: i64) -> Result<Vec<EntryRow>> {
    let sql = format!(
        "{ENTRY} WHERE e.statement = $1 AND e.disbursement IS NULL AND e.verdict IS NULL ORDER BY e.number LIMIT $2"
    );
    tx.rows(&sql, values![statement.number(), limit]).await?.iter().map(entry_row).collect()
}

/// Entries of a statement that name what could be a disbursement of ours and is none of its provider's: from now on
/// they name one of its batches, or nothing. Returns how many.
pub async fn disown(tx: &mut Tx, row: &StatementRow) -> Result<u64> {
    let sql = "UPDATE entry SET batch = (SELECT b.number FROM batch b WHERE b.number = entry.disbursement \
               AND b.provider = $2), disbursement = NULL WHERE statement = $1 AND disbursement IS NOT NULL AND NOT EXISTS \
               (SELECT 1 FROM disbursement d JOIN batch b ON b.number = d.batch WHERE d.number = entry.disbursement \
               AND b.provider = $2)";
    tx.execute(sql, values![row.id.number(), &row.provider]).await
}

/// Which of these disbursements an entry of another statement debits already.
pub async fn debited_before(tx: &mut Tx, statement: Id<Statement>, numbers: &[i64]) -> Result<Vec<i64>> {
    let sql = "SELECT DISTINCT e.disbursement FROM {v} JOIN entry e ON e.disbursement = v.number \
               JOIN statement s ON s.number = e.statement WHERE e.statement <> $1 AND e.verdict IS NULL \
               AND e.direction = 'debit' AND s.kind = 'statement' AND s.standing = 'counted' AND s.matched_at IS NOT NULL";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.rows_with(sql, values![statement.number()], table).await?.iter().map(|row| row.int(0)).collect()
}

/// What was found of entries: the same verdict for all, and their batch.
pub async fn set_verdict(tx: &mut Tx, numbers: &[i64], verdict: &str, batch: Option<Id<Batch>>) -> Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let sql = "UPDATE entry SET verdict = $1, batch = $2 FROM {v} WHERE entry.number = v.number";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.execute_with(sql, values![verdict, batch.map(Id::number)], table).await.map(|_| ())
}
