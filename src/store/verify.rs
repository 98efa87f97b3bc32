//! Queries that recompute the books from the rows themselves, for the verify command.

use anyhow::Result;

use super::db::{Row, Tx};
use super::ledger::{Account, balances};
use super::payroll::Total;
use super::{batch, values};
use crate::domain::disbursement::State;
use crate::domain::id::{Id, Programme};

/// A payroll's books, as the rows of payroll and batch tell them.
#[derive(Debug)]
pub struct Books {
    /// The payroll's number.
    pub number: i64,
    /// Lowest and highest number of its disbursements.
    pub numbers: (i64, i64),
    /// Declared, file, refused, accepted.
    pub totals: [Total; 4],
    /// What was withdrawn before it left.
    pub cancelled: Total,
    /// What was hashed at intake.
    pub content_hash: Option<Vec<u8>>,
    /// Whether it is a draft, submitted or approved.
    pub before_release: bool,
    /// Refused as a whole, or being received: its rows do not count.
    pub without_rows: bool,
    /// All, open, settled, rejected, returned over its batches.
    pub batches: [Total; 5],
}

/// Disbursements of a payroll that are alike.
#[derive(Debug)]
pub struct RowGroup {
    /// Own state's code.
    pub state: i64,
    /// Whether their batch exists, belongs to the payroll, and its number range covers them.
    pub placed: bool,
    /// Whether a final state names evidence that exists.
    pub proven: bool,
    /// How many, and their sum.
    pub total: Total,
}

/// The next payroll above a number.
pub async fn next_payroll(tx: &mut Tx, above: i64) -> Result<Option<Books>> {
    let sql = "SELECT number, first_number, last_number, declared_rows, declared_minor, file_rows, file_minor, \
               refused_rows, refused_minor, accepted_rows, accepted_minor, content_hash, state, cancelled_rows, \
               cancelled_minor FROM payroll WHERE number > $1 ORDER BY number LIMIT 1";
    let Some(row) = tx.row(sql, values![above]).await? else { return Ok(None) };
    let number = row.int(0)?;
    let batches =
        tx.one(&format!("SELECT {} FROM batch WHERE payroll = $1", batch::stage_sums()), values![number]).await?;
    let state = row.text(12)?;
    let mut totals = [Total::default(); 4];
    for (position, total) in totals.iter_mut().enumerate() {
        *total = Total::read(&row, 3 + 2 * position)?;
    }
    Ok(Some(Books {
        number,
        numbers: (row.int(1)?, row.int(2)?),
        totals,
        cancelled: Total::read(&row, 13)?,
        content_hash: row.maybe_bytes(11)?.map(<[u8]>::to_vec),
        before_release: matches!(state.as_str(), "draft" | "submitted" | "approved"),
        without_rows: matches!(state.as_str(), "refused" | "receiving"),
        batches: batch::read_stages(&batches, 0)?,
    }))
}

/// The disbursements of a payroll, grouped, each group with whether it is where it should be.
pub async fn rows_of(tx: &mut Tx, books: &Books) -> Result<Vec<RowGroup>> {
    let sql = "SELECT d.state, CASE WHEN b.payroll = d.payroll AND d.number BETWEEN b.first_number AND b.last_number \
               OR d.state IN (1, 2, 10) THEN 1 ELSE 0 END, CASE WHEN d.state < 7 OR e.number IS NOT NULL THEN 1 ELSE 0 END, \
               COUNT(*), CAST(SUM(d.amount_minor) AS BIGINT) FROM disbursement d LEFT JOIN batch b ON b.number = d.batch \
               LEFT JOIN evidence e ON e.number = d.end_evidence \
               WHERE d.number BETWEEN $1 AND $2 AND d.payroll = $3 GROUP BY 1, 2, 3";
    let rows = tx.rows(sql, values![books.numbers.0, books.numbers.1, books.number]).await?;
    let group = |row: &Row| {
        Ok(RowGroup {
            state: row.int(0)?,
            placed: row.int(1)? == 1,
            proven: row.int(2)? == 1,
            total: Total::read(row, 3)?,
        })
    };
    rows.iter().map(group).collect()
}

/// What does not agree between a payroll's books and its rows: the rule and what was found.
pub fn compare(books: &Books, rows: &[RowGroup]) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut differ = |rule: &'static str, what: &str, books: Total, rows: Total| {
        if books != rows {
            found.push((rule, format!("{what}: the books say {books:?}, the rows {rows:?}")));
        }
    };
    let sum = |wanted: &dyn Fn(&RowGroup) -> bool| {
        let groups = rows.iter().filter(|group| wanted(group));
        groups.fold(Total::default(), |all, group| all.and(group.total).unwrap_or_default())
    };
    let [declared, file, refused, accepted] = books.totals;
    if books.without_rows {
        differ("partition", "rows of a payroll that was not taken in", Total::default(), sum(&|_| true));
        return found;
    }
    differ("totals", "declared against file", declared, file);
    differ("totals", "accepted and refused against file", file, accepted.and(refused).unwrap_or_default());
    differ("partition", "accepted", accepted, sum(&|_| true));
    let [all, open, settled, rejected, returned] = books.batches;
    differ("partition", "in batches", all, sum(&|group| !matches!(group.state, 1 | 2 | 10)));
    differ("totals", "open", open, sum(&|group| matches!(group.state, 3..=6)));
    differ("totals", "settled", settled, sum(&|group| group.state == 7));
    differ("totals", "rejected", rejected, sum(&|group| group.state == 8));
    differ("totals", "returned", returned, sum(&|group| group.state == 9));
    differ("totals", "cancelled", books.cancelled, sum(&|group| group.state == 10));
    differ("partition", "rows outside their batch", Total::default(), sum(&|group| !group.placed));
    differ("evidence", "ends without evidence", Total::default(), sum(&|group| !group.proven));
    found
}

/// All programmes.
pub async fn programmes(tx: &mut Tx) -> Result<Vec<Id<Programme>>> {
    let rows = tx.rows("SELECT number FROM programme ORDER BY number LIMIT 100000", &[]).await?;
    rows.iter().map(|row| row.int(0).map(Id::new)).collect()
}

/// Money of a programme in suspense, by the account it would be in without an open exception: recomputed from the
/// exceptions and the states of the payments they are about.
async fn suspended(tx: &mut Tx, programme: Id<Programme>) -> Result<Vec<(Account, i64)>> {
    let sql = "SELECT d.state, CAST(SUM(d.amount_minor) AS BIGINT) FROM (SELECT DISTINCT subject FROM exception \
               WHERE programme = $1 AND closed_at IS NULL AND suspended_from IS NOT NULL) s \
               JOIN disbursement d ON d.number = s.subject GROUP BY d.state";
    let rows = tx.rows(sql, values![programme.number()]).await?;
    let sum = |row: &Row| {
        let state = State::from_code(row.int(0)?).unwrap_or(State::InDoubt);
        Ok((Account::of(state), row.int(1)?))
    };
    rows.iter().map(sum).collect()
}

/// Open exceptions of a programme that say their payment's money is in suspense and name no evidence, and closed ones
/// whose decision is no evidence of two persons.
pub async fn exceptions(tx: &mut Tx, programme: Id<Programme>) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM exception x LEFT JOIN evidence e ON e.number = x.decision_evidence \
               AND e.kind = 'decision' WHERE x.programme = $1 AND ((x.suspended_from IS NOT NULL AND x.evidence = 0) \
               OR (x.closed_by IS NOT NULL AND e.number IS NULL))";
    tx.one(sql, values![programme.number()]).await?.int(0)
}

/// What does not agree between a programme's ledger, its guarded row, its batches, and its open exceptions.
pub async fn ledger(tx: &mut Tx, programme: Id<Programme>) -> Result<Vec<String>> {
    let balances = balances(tx, programme).await?;
    let balance = |account| balances.iter().find(|(known, _)| *known == account).map_or(0, |(_, balance)| *balance);
    let row =
        tx.one("SELECT available_minor FROM funding_account WHERE programme = $1", values![programme.number()]).await?;
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN b.state = 'sealed' AND b.copies = 0 AND r.state IN ('released', 'completed', 'reconciled') \
               THEN b.open_minor ELSE 0 END), 0) AS BIGINT), \
               CAST(COALESCE(SUM(CASE WHEN b.copies > 0 THEN b.open_minor ELSE 0 END), 0) AS BIGINT), \
               CAST(COALESCE(SUM(b.settled_minor), 0) AS BIGINT), CAST(COALESCE(SUM(b.returned_minor), 0) AS BIGINT) \
               FROM batch b JOIN payroll r ON r.number = b.payroll WHERE b.programme = $1";
    let stages = tx.one(sql, values![programme.number()]).await?;
    let wanted = [
        (Account::Available, row.int(0)?),
        (Account::Reserved, stages.int(0)?),
        (Account::InTransit, stages.int(1)?),
        (Account::Paid, stages.int(2)?),
        (Account::Returned, stages.int(3)?),
        (Account::Suspense, 0),
    ];
    let suspended = suspended(tx, programme).await?;
    let away = |account| suspended.iter().filter(|(of, _)| *of == account).map(|(_, sum)| sum).sum::<i64>();
    let in_suspense: i64 = suspended.iter().map(|(_, sum)| sum).sum();
    let mut found = Vec::new();
    for (account, books) in wanted {
        // `Available` is not told from states: what was rejected may be promised to others by now.
        let books = match account {
            Account::Suspense => in_suspense,
            Account::Available => books,
            _ => books - away(account),
        };
        if balance(account) != books {
            found.push(format!(
                "{programme}: {} is {} in the ledger and {books} in the rows",
                account.name(),
                balance(account)
            ));
        }
    }
    let all: i64 = balances.iter().map(|(_, balance)| balance).sum();
    if all != 0 {
        found.push(format!("{programme}: the accounts add up to {all}, not to 0"));
    }
    Ok(found)
}

/// Evidence above a number: number, hash, sealed bytes.
pub async fn evidence_page(tx: &mut Tx, above: i64, limit: i64) -> Result<Vec<(i64, Vec<u8>, Vec<u8>)>> {
    let sql = "SELECT number, sha256, sealed FROM evidence WHERE number > $1 ORDER BY number LIMIT $2";
    let rows = tx.rows(sql, values![above, limit]).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.bytes(1)?.to_vec(), row.bytes(2)?.to_vec()))).collect()
}

/// A counted statement: debits and credits as it was read, and as its entries come to.
#[derive(Debug, Clone, Copy)]
pub struct Sums {
    /// Its number.
    pub number: i64,
    /// As it was read.
    pub stored: (i64, i64),
    /// As its booked entries come to now.
    pub computed: (i64, i64),
}

/// Counted statements above a number that were read without a fault.
pub async fn statements(tx: &mut Tx, above: i64, limit: i64) -> Result<Vec<Sums>> {
    let sum = |direction: &str| {
        format!(
            "CAST(COALESCE(SUM(CASE WHEN e.direction = '{direction}' AND e.kind <> 'not_booked' THEN e.amount_minor ELSE 0 \
             END), 0) AS BIGINT)"
        )
    };
    let sql = format!(
        "SELECT s.number, s.debits_minor, s.credits_minor, {}, {} FROM (SELECT * FROM statement WHERE number > $1 \
         AND standing = 'counted' AND faults = 0 ORDER BY number LIMIT $2) s LEFT JOIN entry e ON e.statement = s.number \
         GROUP BY s.number, s.debits_minor, s.credits_minor ORDER BY s.number",
        sum("debit"),
        sum("credit")
    );
    let read = |row: &Row| {
        let (stored, computed) = ((row.int(1)?, row.int(2)?), (row.int(3)?, row.int(4)?));
        Ok(Sums { number: row.int(0)?, stored, computed })
    };
    tx.rows(&sql, values![above, limit]).await?.iter().map(read).collect()
}
