//! What reports are made of: payments and money in groups, and the same money as the ledger has it.
//! Deliberately not here: what a report shows, and what must be equal.

use anyhow::{Context, Result};
use paymaster_connectors::contract::Currency;

use super::db::{Row, Tx, Value};
use super::ledger::Account;
use super::payroll::Total;
use super::{Scope, values};
use crate::domain::batch::BatchState;
use crate::domain::disbursement::State;
use crate::domain::id::{Id, Payroll, Programme};

/// Whose payments a report is about. What is `None` narrows nothing.
#[derive(Debug, Clone, Copy)]
pub struct Within<'a> {
    /// The tenant.
    pub scope: &'a Scope,
    /// Only of this programme.
    pub programme: Option<Id<Programme>>,
    /// Only of this payroll.
    pub payroll: Option<Id<Payroll>>,
    /// Only through this provider.
    pub provider: Option<&'a str>,
}

impl<'a> Within<'a> {
    /// `$1` to `$4` of every query here, and what follows them.
    fn bound(&self, more: &[i64]) -> Vec<Value<'a>> {
        let (programme, payroll) = (self.programme.map(Id::number), self.payroll.map(Id::number));
        let mut bound = values![self.scope.tenant.number(), programme, payroll, self.provider].to_vec();
        bound.extend(more.iter().map(|number| Value::Int(*number)));
        bound
    }
}

/// The tenant's programmes `p`, and of these the one that is asked for.
const PROGRAMMES: &str = "p.tenant = $1 AND (CAST($2 AS BIGINT) IS NULL OR p.number = $2)";
/// The same for payrolls `r` that have rows: neither being received nor refused as a whole.
const PAYROLLS: &str = "(CAST($3 AS BIGINT) IS NULL OR r.number = $3) AND r.state NOT IN ('receiving', 'refused')";

/// Payrolls and programmes within the bounds, and of something with a provider only that which is asked for.
fn within(provider: &str) -> String {
    format!("{PROGRAMMES} AND {PAYROLLS} AND {}", of_provider(provider))
}

fn of_provider(column: &str) -> String {
    format!("(CAST($4 AS TEXT) IS NULL OR {column} = $4)")
}

fn currency(code: &str) -> Result<Currency> {
    Currency::parse(code).context("a stored currency is unknown")
}

/// Payments that were not paid, and are alike.
#[derive(Debug, Clone)]
pub struct Unpaid {
    /// Code of the programme.
    pub programme: String,
    /// The payroll.
    pub payroll: Id<Payroll>,
    /// Empty where the row never had one.
    pub provider: String,
    /// The state by name, or `refused` for what was not taken in.
    pub state: String,
    /// Class of the reason, or empty.
    pub class: String,
    /// Code of the reason, or empty.
    pub code: String,
    /// A newer generation of these is there.
    pub is_followed: bool,
    /// The currency.
    pub currency: Currency,
    /// How many, and their sum.
    pub total: Total,
}

/// States of rows that were not paid and are not on their way.
fn unpaid_states() -> String {
    let states = [State::Planned, State::Held, State::Rejected, State::Returned, State::Cancelled];
    states.map(|state| state.code().to_string()).join(", ")
}

/// Rows that were rejected, came back, were withdrawn or are held.
pub async fn unpaid(tx: &mut Tx, only: &Within<'_>, limit: i64) -> Result<Vec<Unpaid>> {
    let sql = format!(
        "SELECT p.code, r.number, b.provider, d.state, COALESCE(x.class, ''), COALESCE(x.code, ''), CASE WHEN EXISTS \
         (SELECT 1 FROM disbursement n WHERE n.identity = d.identity AND n.generation > d.generation) THEN 1 ELSE 0 END, \
         r.currency, COUNT(*), CAST(SUM(d.amount_minor) AS BIGINT) FROM payroll r JOIN programme p \
         ON p.number = r.programme JOIN disbursement d ON d.number BETWEEN r.first_number AND r.last_number \
         AND d.payroll = r.number JOIN batch b ON b.number = d.batch LEFT JOIN departure x ON x.disbursement = d.number \
         WHERE {} AND d.state IN ({}) GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY 1, 2, 3, 4, 5, 6, 7 LIMIT $5",
        within("b.provider"),
        unpaid_states()
    );
    let group = |row: &Row| {
        let state = State::from_code(row.int(3)?).context("a stored state is unknown")?;
        unpaid_row(row, state.name())
    };
    tx.rows(&sql, &only.bound(&[limit])).await?.iter().map(group).collect()
}

fn unpaid_row(row: &Row, state: &str) -> Result<Unpaid> {
    Ok(Unpaid {
        programme: row.text(0)?,
        payroll: Id::new(row.int(1)?),
        provider: row.text(2)?,
        state: state.to_owned(),
        class: row.text(4)?,
        code: row.text(5)?,
        is_followed: row.int(6)? == 1,
        currency: currency(&row.text(7)?)?,
        total: Total::read(row, 8)?,
    })
}

/// Rows of payroll files that were not taken in. They have no provider.
pub async fn refused(tx: &mut Tx, only: &Within<'_>, limit: i64) -> Result<Vec<Unpaid>> {
    let sql = format!(
        "SELECT p.code, r.number, '', 0, '', j.code, 0, r.currency, COUNT(*), CAST(SUM(j.amount_minor) AS BIGINT) \
         FROM reject j JOIN payroll r ON r.number = j.payroll JOIN programme p ON p.number = r.programme \
         WHERE {} GROUP BY p.code, r.number, j.code, r.currency ORDER BY 1, 2, 6 LIMIT $5",
        within("''")
    );
    tx.rows(&sql, &only.bound(&[limit])).await?.iter().map(|row| unpaid_row(row, "refused")).collect()
}

/// What payrolls' own books say of rows in no batch: refused, cancelled, and all that was taken in.
pub async fn payroll_books(tx: &mut Tx, only: &Within<'_>) -> Result<Vec<(Currency, [i64; 3])>> {
    let sql = format!(
        "SELECT r.currency, CAST(SUM(r.refused_minor) AS BIGINT), CAST(SUM(r.cancelled_minor) AS BIGINT), \
         CAST(SUM(r.accepted_minor) AS BIGINT) FROM payroll r JOIN programme p ON p.number = r.programme WHERE {} \
         GROUP BY r.currency",
        within("''")
    );
    let books = |row: &Row| Ok((currency(&row.text(0)?)?, [row.int(1)?, row.int(2)?, row.int(3)?]));
    tx.rows(&sql, &only.bound(&[])).await?.iter().map(books).collect()
}

/// Where money is: a programme's, with a provider, in a currency.
pub type Place = (String, String, Currency);

fn place(row: &Row) -> Result<Place> {
    Ok((row.text(0)?, row.text(1)?, currency(&row.text(2)?)?))
}

/// What batches say, in one place.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchBooks {
    /// Everything in them, in minor units.
    pub all_minor: i64,
    /// What has left and has no end.
    pub open: Total,
    /// In minor units.
    pub settled_minor: i64,
    /// Likewise.
    pub rejected_minor: i64,
    /// Likewise.
    pub returned_minor: i64,
    /// What the account's statements debit.
    pub debited_minor: i64,
}

/// What batches say, place by place.
pub async fn batch_books(tx: &mut Tx, only: &Within<'_>) -> Result<Vec<(Place, BatchBooks)>> {
    let sum = |what: &str| format!("CAST(COALESCE(SUM({what}), 0) AS BIGINT)");
    let columns = [
        "b.sum_minor",
        "CASE WHEN b.copies > 0 THEN b.open_payments ELSE 0 END",
        "CASE WHEN b.copies > 0 THEN b.open_minor ELSE 0 END",
        "b.settled_minor",
        "b.rejected_minor",
        "b.returned_minor",
        "k.debits_minor",
    ]
    .map(sum)
    .join(", ");
    let sql = format!(
        "SELECT p.code, b.provider, b.currency, {columns} FROM batch b JOIN payroll r ON r.number = b.payroll \
         JOIN programme p ON p.number = b.programme LEFT JOIN (SELECT batch, SUM(debits_minor) AS debits_minor \
         FROM booking GROUP BY batch) k ON k.batch = b.number WHERE {} GROUP BY 1, 2, 3",
        within("b.provider")
    );
    let books = |row: &Row| {
        let books = BatchBooks {
            all_minor: row.int(3)?,
            open: Total::read(row, 4)?,
            settled_minor: row.int(6)?,
            rejected_minor: row.int(7)?,
            returned_minor: row.int(8)?,
            debited_minor: row.int(9)?,
        };
        Ok((place(row)?, books))
    };
    tx.rows(&sql, &only.bound(&[])).await?.iter().map(books).collect()
}

/// The balance of one of the ledger's accounts, place by place.
pub async fn balances(tx: &mut Tx, only: &Within<'_>, account: Account) -> Result<Vec<(Place, i64)>> {
    ledger_sum(tx, only, &quoted(&[account]), &quoted(&Account::ALL.map(|(account, _)| account))).await
}

/// What came back to the programme of money that had left: rejections, less what was taken back from them. Money that
/// was lent where it was spent already counts as there.
pub async fn given_back(tx: &mut Tx, only: &Within<'_>) -> Result<Vec<(Place, i64)>> {
    let out = [Account::InTransit, Account::Paid, Account::Returned, Account::Suspense];
    ledger_sum(tx, only, &quoted(&[Account::Available, Account::Funding]), &quoted(&out)).await
}

/// Names of accounts as a list for SQL.
fn quoted(accounts: &[Account]) -> String {
    accounts.iter().map(|account| format!("'{}'", account.name())).collect::<Vec<_>>().join(", ")
}

/// What moved into the first accounts from the second, less what moved back.
async fn ledger_sum(tx: &mut Tx, only: &Within<'_>, into: &str, from: &str) -> Result<Vec<(Place, i64)>> {
    let sql = format!(
        "SELECT p.code, l.provider, l.currency, CAST(SUM(CASE WHEN l.debit IN ({into}) THEN l.amount_minor \
         ELSE -l.amount_minor END) AS BIGINT) FROM ledger_entry l JOIN programme p ON p.number = l.programme \
         WHERE {PROGRAMMES} AND (CAST($3 AS BIGINT) IS NULL OR l.payroll = $3) AND {} \
         AND ((l.debit IN ({into}) AND l.credit IN ({from})) OR (l.credit IN ({into}) AND l.debit IN ({from}))) \
         GROUP BY 1, 2, 3",
        of_provider("l.provider")
    );
    let rows = tx.rows(&sql, &only.bound(&[])).await?;
    rows.iter().map(|row| Ok((place(row)?, row.int(3)?))).collect()
}

/// Money that waits in suspense, place by place, with the account it would be in without an open exception.
pub async fn suspended(tx: &mut Tx, only: &Within<'_>) -> Result<Vec<(Place, Account, i64)>> {
    let sql = format!(
        "SELECT p.code, b.provider, b.currency, d.state, CAST(SUM(d.amount_minor) AS BIGINT) FROM (SELECT DISTINCT \
         subject FROM exception WHERE tenant = $1 AND closed_at IS NULL AND suspended_from IS NOT NULL) s \
         JOIN disbursement d ON d.number = s.subject JOIN batch b ON b.number = d.batch JOIN payroll r \
         ON r.number = d.payroll JOIN programme p ON p.number = r.programme WHERE {} GROUP BY 1, 2, 3, 4",
        within("b.provider")
    );
    let rows = tx.rows(&sql, &only.bound(&[])).await?;
    let sum = |row: &Row| {
        let state = State::from_code(row.int(3)?).context("a stored state is unknown")?;
        Ok((place(row)?, Account::of(state), row.int(4)?))
    };
    rows.iter().map(sum).collect()
}

/// Payments on their way: provider, currency, state that counts, and which of the ages given (oldest last).
#[derive(Debug, Clone)]
pub struct OnTheWay {
    /// The provider.
    pub provider: String,
    /// The currency.
    pub currency: Currency,
    /// The state that counts.
    pub state: State,
    /// Position of the first instant that the first copy left after; how many were given if it left before all.
    pub age: usize,
    /// How many, and their sum.
    pub total: Total,
}

/// Payments that have left and have no end, by when their batch was first to be sent; `since` descends.
pub async fn on_the_way(tx: &mut Tx, only: &Within<'_>, since: &[i64], limit: i64) -> Result<Vec<OnTheWay>> {
    let state = |state: BatchState| format!("WHEN '{}' THEN {}", state.name(), state.of_followers().code());
    let followed = [BatchState::Transmitting, BatchState::Accepted, BatchState::InDoubt, BatchState::Completed]
        .map(state)
        .join(" ");
    let ages: Vec<String> =
        since.iter().enumerate().map(|(at, _)| format!("WHEN b.first_copy_at > ${} THEN {at}", at + 6)).collect();
    let sql = format!(
        "SELECT b.provider, b.currency, CASE WHEN d.state <> {queued} THEN d.state ELSE CASE b.state {followed} \
         ELSE {queued} END END, CASE {} ELSE {} END, COUNT(*), CAST(SUM(d.amount_minor) AS BIGINT) FROM batch b \
         JOIN payroll r ON r.number = b.payroll JOIN programme p ON p.number = r.programme JOIN disbursement d \
         ON d.number BETWEEN b.first_number AND b.last_number AND d.batch = b.number WHERE {} AND b.copies > 0 \
         AND b.open_payments > 0 AND d.state IN (3, 4, 5, 6) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 4, 3 LIMIT $5",
        ages.join(" "),
        since.len(),
        within("b.provider"),
        queued = State::Queued.code()
    );
    let more: Vec<i64> = std::iter::once(limit).chain(since.iter().copied()).collect();
    let group = |row: &Row| {
        Ok(OnTheWay {
            provider: row.text(0)?,
            currency: currency(&row.text(1)?)?,
            state: State::from_code(row.int(2)?).context("a stored state is unknown")?,
            age: usize::try_from(row.int(3)?)?,
            total: Total::read(row, 4)?,
        })
    };
    tx.rows(&sql, &only.bound(&more)).await?.iter().map(group).collect()
}

/// Whether the tenant has paid through a provider, within the bounds or outside of them.
pub async fn has_paid_through(tx: &mut Tx, scope: &Scope, provider: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM batch b JOIN payroll r ON r.number = b.payroll WHERE r.tenant = $1 AND b.provider = $2 \
               LIMIT 1";
    Ok(tx.row(sql, values![scope.tenant.number(), provider]).await?.is_some())
}

/// Providers that something within the bounds was to be paid through. Their statements are what the tenant may see.
pub async fn providers(tx: &mut Tx, only: &Within<'_>) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT b.provider FROM batch b JOIN payroll r ON r.number = b.payroll JOIN programme p \
         ON p.number = r.programme WHERE {} ORDER BY 1 LIMIT 10000",
        within("b.provider")
    );
    tx.rows(&sql, &only.bound(&[])).await?.iter().map(|row| row.text(0)).collect()
}

/// Payrolls within the bounds whose money has been let go.
pub async fn released(tx: &mut Tx, only: &Within<'_>, limit: i64) -> Result<Vec<Id<Payroll>>> {
    let sql = format!(
        "SELECT r.number FROM payroll r JOIN programme p ON p.number = r.programme WHERE {PROGRAMMES} AND {PAYROLLS} \
         AND r.released_at IS NOT NULL AND EXISTS (SELECT 1 FROM batch b WHERE b.payroll = r.number AND {}) \
         ORDER BY 1 LIMIT $5",
        of_provider("b.provider")
    );
    tx.rows(&sql, &only.bound(&[limit])).await?.iter().map(|row| row.int(0).map(Id::new)).collect()
}

/// Charges of one month in one statement.
#[derive(Debug, Clone)]
pub struct Fee {
    /// The account as the bank writes it.
    pub account: String,
    /// `YYYY-MM`, or empty.
    pub month: String,
    /// The bank's name for the statement.
    pub statement: String,
    /// The currency.
    pub currency: Currency,
    /// How many, and their sum; less what was given back.
    pub total: Total,
}

/// Charges in the statements of a provider that count; what is announced only is not there.
pub async fn fees(tx: &mut Tx, provider: &str, limit: i64) -> Result<Vec<Fee>> {
    let sql = "SELECT s.account, COALESCE(SUBSTR(e.booked_on, 1, 7), SUBSTR(s.last_day, 1, 7), ''), s.id, e.currency, \
               COUNT(*), CAST(SUM(CASE WHEN e.direction = 'debit' THEN e.amount_minor ELSE -e.amount_minor END) AS BIGINT) \
               FROM statement s JOIN entry e ON e.statement = s.number WHERE s.provider = $1 AND s.kind = 'statement' \
               AND s.standing = 'counted' AND e.verdict = 'fee' GROUP BY 1, 2, s.number, 3, 4 ORDER BY 1, 2, s.number, 4 \
               LIMIT $2";
    let fee = |row: &Row| {
        Ok(Fee {
            account: row.text(0)?,
            month: row.text(1)?,
            statement: row.text(2)?,
            currency: currency(&row.text(3)?)?,
            total: Total::read(row, 4)?,
        })
    };
    tx.rows(sql, values![provider, limit]).await?.iter().map(fee).collect()
}

/// Codes of open exceptions about a provider's statements, by the number of the statement.
pub async fn statement_exceptions(tx: &mut Tx, provider: &str, limit: i64) -> Result<Vec<(i64, String)>> {
    let sql = "SELECT s.number, x.code FROM statement s JOIN exception x ON x.subject = s.number \
               WHERE s.provider = $1 AND x.closed_at IS NULL ORDER BY 1, 2 LIMIT $2";
    let rows = tx.rows(sql, values![provider, limit]).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?))).collect()
}
