//! Disbursements and their payees: loaded in chunks, moved in chunks, read by page.

use anyhow::{Context, Result};

use super::db::{Row, Table, Tx, Values};
use super::ledger::Account;
use super::load::{Column, Load, Strip};
use super::payroll::Total;
use super::{Scope, values};
use crate::domain::batch::BatchState;
use crate::domain::disbursement::State;
use crate::domain::id::{Batch, Evidence, Id, Payroll};

/// Rows taken in together, column by column; `numbers` ascend.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Their numbers.
    pub numbers: Vec<i64>,
    /// Their batches.
    pub batches: Vec<i64>,
    /// Their sums in minor units.
    pub amounts: Vec<i64>,
    /// Their generations.
    pub generations: Vec<i16>,
    /// `Queued` or `Held`.
    pub states: Vec<i16>,
    /// Their identities.
    pub identities: Vec<[u8; 16]>,
    /// Their lines in the file.
    pub lines: Vec<i64>,
    /// Look-up hashes of their payee accounts.
    pub account_hashes: Vec<[u8; 16]>,
    /// Their payees, sealed.
    pub payees: Strip,
}

/// Loads a chunk's disbursements and payees. A known identity fails it as a whole.
pub async fn load(tx: &mut Tx, payroll: Id<Payroll>, chunk: Chunk) -> Result<()> {
    tx.load(&hot_load(payroll, &chunk)).await?;
    tx.load(&payee_load(chunk)).await
}

pub(super) fn hot_load(payroll: Id<Payroll>, chunk: &Chunk) -> Load {
    Load {
        table: "disbursement",
        columns: vec![
            ("number", Column::Int(chunk.numbers.clone())),
            ("payroll", Column::Int(vec![payroll.number(); chunk.numbers.len()])),
            ("batch", Column::Int(chunk.batches.clone())),
            ("amount_minor", Column::Int(chunk.amounts.clone())),
            ("generation", Column::Small(chunk.generations.clone())),
            ("state", Column::Small(chunk.states.clone())),
            ("identity", Column::bytes(chunk.identities.iter().map(<[u8; 16]>::as_slice))),
        ],
    }
}

pub(super) fn payee_load(chunk: Chunk) -> Load {
    Load {
        table: "payee",
        columns: vec![
            ("number", Column::Int(chunk.numbers)),
            ("line", Column::Int(chunk.lines)),
            ("account_hash", Column::bytes(chunk.account_hashes.iter().map(<[u8; 16]>::as_slice))),
            ("sealed", Column::Bytes(chunk.payees)),
        ],
    }
}

/// The newest generation known under an identity.
#[derive(Debug, Clone)]
pub struct Known {
    /// The identity.
    pub identity: [u8; 16],
    /// Its newest disbursement.
    pub number: i64,
    /// In which payroll.
    pub payroll: Id<Payroll>,
    /// In which batch.
    pub batch: Id<Batch>,
    /// Its sum.
    pub amount_minor: i64,
    /// Its generation.
    pub generation: i64,
    /// Its own state.
    pub state: State,
    /// Its line in its file.
    pub line: i64,
    /// The look-up hash of its account.
    pub account_hash: [u8; 16],
    /// Its payee, sealed.
    pub sealed: Vec<u8>,
    /// Whether an exception about it is open.
    pub excepted: bool,
}

/// Which of these identities are known, each with its newest generation.
pub async fn known(tx: &mut Tx, identities: &[[u8; 16]]) -> Result<Vec<Known>> {
    let sql = "SELECT d.identity, d.number, d.payroll, d.batch, d.amount_minor, d.generation, d.state, p.line, \
               p.account_hash, p.sealed, (SELECT COUNT(*) FROM exception e WHERE e.subject = d.number \
               AND e.closed_at IS NULL) FROM {v} JOIN disbursement d ON d.identity = v.identity \
               JOIN payee p ON p.number = d.number ORDER BY d.generation DESC";
    let table = Table { names: &["identity"], columns: &[Values::Bytes(identities)] };
    let mut newest: Vec<Known> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for row in tx.rows_with(sql, &[], table).await? {
        let identity: [u8; 16] = row.bytes(0)?.try_into()?;
        if seen.insert(identity) {
            newest.push(Known {
                identity,
                number: row.int(1)?,
                payroll: Id::new(row.int(2)?),
                batch: Id::new(row.int(3)?),
                amount_minor: row.int(4)?,
                generation: row.int(5)?,
                state: state(row.int(6)?)?,
                line: row.int(7)?,
                account_hash: row.bytes(8)?.try_into()?,
                sealed: row.bytes(9)?.to_vec(),
                excepted: row.int(10)? > 0,
            });
        }
    }
    Ok(newest)
}

pub(super) fn state(code: i64) -> Result<State> {
    State::from_code(code).with_context(|| format!("a stored state is unknown: {code}"))
}

/// Deletes rows of a payroll that is being received, with their payees.
pub async fn delete(tx: &mut Tx, numbers: &[i64]) -> Result<u64> {
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.execute_with("DELETE FROM payee WHERE number IN (SELECT number FROM {v})", &[], table).await?;
    tx.execute_with("DELETE FROM disbursement WHERE number IN (SELECT number FROM {v})", &[], table).await
}

/// Up to `limit` numbers of a payroll's rows.
pub async fn some_of(tx: &mut Tx, payroll: Id<Payroll>, numbers: (i64, i64), limit: i64) -> Result<Vec<i64>> {
    let sql =
        "SELECT number FROM disbursement WHERE number BETWEEN $1 AND $2 AND payroll = $3 ORDER BY number LIMIT $4";
    let rows = tx.rows(sql, values![numbers.0, numbers.1, payroll.number(), limit]).await?;
    rows.iter().map(|row| row.int(0)).collect()
}

/// Count and sum of a payroll's rows as they are, per batch and own state.
pub async fn totals(tx: &mut Tx, payroll: Id<Payroll>, numbers: (i64, i64)) -> Result<Vec<(Id<Batch>, State, Total)>> {
    let sql = "SELECT batch, state, COUNT(*), CAST(SUM(amount_minor) AS BIGINT) FROM disbursement \
               WHERE number BETWEEN $1 AND $2 AND payroll = $3 GROUP BY batch, state";
    let rows = tx.rows(sql, values![numbers.0, numbers.1, payroll.number()]).await?;
    rows.iter().map(|row| Ok((Id::new(row.int(0)?), state(row.int(1)?)?, Total::read(row, 2)?))).collect()
}

/// Payee accounts of a payroll that more than `limit` rows share: how many accounts, how many rows.
pub async fn shared_accounts(tx: &mut Tx, payroll: Id<Payroll>, numbers: (i64, i64), limit: i64) -> Result<(i64, i64)> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(n), 0) AS BIGINT) FROM (SELECT COUNT(*) AS n FROM payee p \
               JOIN disbursement d ON d.number = p.number WHERE d.number BETWEEN $1 AND $2 AND d.payroll = $3 \
               GROUP BY p.account_hash HAVING COUNT(*) > $4) AS shared";
    let row = tx.one(sql, values![numbers.0, numbers.1, payroll.number(), limit]).await?;
    Ok((row.int(0)?, row.int(1)?))
}

/// A disbursement with its payee, as a batch is made of them.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its number.
    pub number: i64,
    /// Its own state.
    pub state: State,
    /// Its sum.
    pub amount_minor: i64,
    /// Its identity.
    pub identity: [u8; 16],
    /// Its payee, sealed.
    pub sealed: Vec<u8>,
    /// The provider's own name for it, once told.
    pub provider_reference: Option<String>,
}

/// All rows of a batch, ascending by number.
pub async fn members(tx: &mut Tx, batch: Id<Batch>, numbers: (i64, i64)) -> Result<Vec<Member>> {
    let sql = "SELECT d.number, d.state, d.amount_minor, d.identity, p.sealed, x.provider_reference \
               FROM disbursement d JOIN payee p ON p.number = d.number \
               LEFT JOIN departure x ON x.disbursement = d.number \
               WHERE d.number BETWEEN $1 AND $2 AND d.batch = $3 ORDER BY d.number";
    let member = |row: &Row| {
        Ok(Member {
            number: row.int(0)?,
            state: state(row.int(1)?)?,
            amount_minor: row.int(2)?,
            identity: row.bytes(3)?.try_into()?,
            sealed: row.bytes(4)?.to_vec(),
            provider_reference: row.maybe_text(5)?,
        })
    };
    tx.map_rows(sql, values![numbers.0, numbers.1, batch.number()], member).await
}

/// A row as a report finds it.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its number.
    pub number: i64,
    /// Its own state.
    pub state: State,
    /// Its sum.
    pub amount_minor: i64,
    /// Where its money came from, if that waits in suspense.
    pub suspended_from: Option<Account>,
}

/// Those of these rows that are in the batch, ascending by number.
pub async fn standings(tx: &mut Tx, batch: Id<Batch>, numbers: &[i64]) -> Result<Vec<Standing>> {
    let sql = "SELECT d.number, d.state, d.amount_minor, e.suspended_from FROM {v} \
               JOIN disbursement d ON d.number = v.number LEFT JOIN exception e ON e.subject = d.number \
               AND e.closed_at IS NULL AND e.suspended_from IS NOT NULL WHERE d.batch = $1 ORDER BY d.number";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    let standing = |row: &Row| {
        let suspended_from = row.maybe_text(3)?.map(|name| super::exception::account(&name)).transpose()?;
        let (number, state) = (row.int(0)?, state(row.int(1)?)?);
        Ok(Standing { number, state, amount_minor: row.int(2)?, suspended_from })
    };
    tx.rows_with(sql, values![batch.number()], table).await?.iter().map(standing).collect()
}

/// By what name of the provider's these rows came back, where that is known.
pub async fn return_references(tx: &mut Tx, numbers: &[i64]) -> Result<Vec<(i64, String)>> {
    let sql = "SELECT x.disbursement, x.return_reference FROM {v} JOIN departure x ON x.disbursement = v.number \
               WHERE x.return_reference IS NOT NULL";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    let rows = tx.rows_with(sql, values![], table).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?))).collect()
}

/// Moves rows of a batch by compare-and-set from their own state `from` to one that is no end.
pub async fn set_state(tx: &mut Tx, batch: Id<Batch>, numbers: &[i64], from: State, to: State) -> Result<()> {
    let sql = "UPDATE disbursement SET state = $1 FROM {v} WHERE disbursement.number = v.number \
               AND disbursement.batch = $2 AND disbursement.state = $3";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    let changed = tx.execute_with(sql, values![to.code(), batch.number(), from.code()], table).await?;
    all_moved(changed, numbers.len())
}

/// Ends rows of a batch, each with the place in the evidence that proves it.
pub async fn end(tx: &mut Tx, batch: Id<Batch>, ends: &Ends<'_>) -> Result<()> {
    let sql = "UPDATE disbursement SET state = $1, end_evidence = $2, end_position = CAST(v.position AS INTEGER) \
               FROM {v} WHERE disbursement.number = v.number AND disbursement.batch = $3 AND disbursement.state = $4";
    let table =
        Table { names: &["number", "position"], columns: &[Values::Ints(ends.numbers), Values::Ints(ends.positions)] };
    let bound = values![ends.to.code(), ends.evidence.number(), batch.number(), ends.from.code()];
    let changed = tx.execute_with(sql, bound, table).await?;
    all_moved(changed, ends.numbers.len())
}

/// Rows that end alike.
#[derive(Debug)]
pub struct Ends<'a> {
    /// Which rows.
    pub numbers: &'a [i64],
    /// Where each stands in the evidence.
    pub positions: &'a [i64],
    /// Their own state until now.
    pub from: State,
    /// Their end.
    pub to: State,
    /// What proves it.
    pub evidence: Id<Evidence>,
}

fn all_moved(changed: u64, wanted: usize) -> Result<()> {
    // The batch's row is locked, so nobody else can have moved them: this is a broken invariant, not a race.
    anyhow::ensure!(changed == wanted as u64, "{changed} of {wanted} rows moved");
    Ok(())
}

/// Puts rows into another batch.
pub async fn set_batch(tx: &mut Tx, from: Id<Batch>, to: Id<Batch>, numbers: &[i64]) -> Result<()> {
    let sql = "UPDATE disbursement SET batch = $1 FROM {v} WHERE disbursement.number = v.number \
               AND disbursement.batch = $2";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    let changed = tx.execute_with(sql, values![to.number(), from.number()], table).await?;
    all_moved(changed, numbers.len())
}

/// What departs from its batch alone.
#[derive(Debug, Clone)]
pub struct Departure {
    /// The disbursement's number.
    pub number: i64,
    /// The reason's class and code.
    pub reason: Option<(&'static str, String)>,
    /// The provider's own name for it.
    pub provider_reference: Option<String>,
    /// What proves a return.
    pub return_evidence: Option<i64>,
    /// The provider's own name for the return.
    pub return_reference: Option<String>,
    /// The reason's text, sealed.
    pub sealed: Vec<u8>,
}

/// Notes departures; what a row already has stays unless something newer is told.
pub async fn insert_departures(tx: &mut Tx, payroll: Id<Payroll>, departures: &[Departure]) -> Result<()> {
    const ROWS: usize = 100;
    const COLUMNS: usize = 8;
    for group in departures.chunks(ROWS) {
        let mut sql = String::from(
            "INSERT INTO departure (disbursement, payroll, class, code, provider_reference, return_evidence, \
             sealed, return_reference) VALUES ",
        );
        let mut bound = Vec::with_capacity(group.len() * COLUMNS);
        for (position, departure) in group.iter().enumerate() {
            let at = position * COLUMNS;
            let places: Vec<String> = (1..=COLUMNS).map(|column| format!("${}", at + column)).collect();
            sql.push_str(if position == 0 { "(" } else { ",(" });
            sql.push_str(&places.join(","));
            sql.push(')');
            bound.extend_from_slice(values![
                departure.number,
                payroll.number(),
                departure.reason.as_ref().map(|(class, _)| *class),
                departure.reason.as_ref().map(|(_, code)| code.as_str()),
                departure.provider_reference.as_deref(),
                departure.return_evidence,
                departure.sealed.as_slice(),
                departure.return_reference.as_deref()
            ]);
        }
        sql.push_str(
            " ON CONFLICT (disbursement) DO UPDATE SET class = COALESCE(excluded.class, departure.class), \
             code = COALESCE(excluded.code, departure.code), \
             provider_reference = COALESCE(excluded.provider_reference, departure.provider_reference), \
             return_evidence = COALESCE(excluded.return_evidence, departure.return_evidence), \
             return_reference = COALESCE(departure.return_reference, excluded.return_reference), \
             sealed = CASE WHEN excluded.code IS NULL THEN departure.sealed ELSE excluded.sealed END",
        );
        tx.execute(&sql, &bound).await?;
    }
    Ok(())
}

/// Forgets why rows were rejected and by what they came back, which two persons decided against.
pub async fn forget_departures(tx: &mut Tx, numbers: &[i64]) -> Result<()> {
    let sql = "UPDATE departure SET class = NULL, code = NULL, sealed = NULL, return_evidence = NULL, \
               return_reference = NULL WHERE disbursement IN (SELECT number FROM {v})";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.execute_with(sql, values![], table).await.map(|_| ())
}

/// Rejections of a payroll counted by provider, class and code.
pub async fn rejections(tx: &mut Tx, payroll: Id<Payroll>) -> Result<Vec<(String, String, String, Total)>> {
    let sql = "SELECT b.provider, x.class, x.code, COUNT(*), CAST(SUM(d.amount_minor) AS BIGINT) FROM departure x \
               JOIN disbursement d ON d.number = x.disbursement JOIN batch b ON b.number = d.batch \
               WHERE x.payroll = $1 AND x.code IS NOT NULL AND d.state IN (8, 9) \
               GROUP BY b.provider, x.class, x.code ORDER BY 4 DESC, 3 LIMIT 1000";
    let rows = tx.rows(sql, values![payroll.number()]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?, row.text(2)?, Total::read(row, 3)?))).collect()
}

/// A disbursement as people see it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its number.
    pub number: i64,
    /// Its payroll.
    pub payroll: Id<Payroll>,
    /// Its batch.
    pub batch: Id<Batch>,
    /// Its provider.
    pub provider: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Its own state.
    pub state: State,
    /// Its batch's state.
    pub batch_state: String,
    /// Its sum.
    pub amount_minor: i64,
    /// Its generation.
    pub generation: i64,
    /// What proves its end, and where in it.
    pub evidence: Option<(Id<Evidence>, i64)>,
    /// Its line in the file.
    pub line: i64,
    /// Its payee, sealed.
    pub sealed: Vec<u8>,
    /// Class and code of a reason.
    pub reason: Option<(String, String)>,
    /// The reason's text, sealed.
    pub reason_sealed: Option<Vec<u8>>,
    /// The provider's own name for it.
    pub provider_reference: Option<String>,
    /// Its identity.
    pub identity: [u8; 16],
}

const SHOWN: &str = "SELECT d.number, d.payroll, d.batch, b.provider, b.currency, d.state, b.state, d.amount_minor, \
    d.generation, d.end_evidence, d.end_position, p.line, p.sealed, x.class, x.code, x.sealed, x.provider_reference, \
    d.identity FROM disbursement d JOIN batch b ON b.number = d.batch JOIN payee p ON p.number = d.number \
    LEFT JOIN departure x ON x.disbursement = d.number";

fn shown(row: &Row) -> Result<Shown> {
    let (class, code) = (row.maybe_text(13)?, row.maybe_text(14)?);
    Ok(Shown {
        number: row.int(0)?,
        payroll: Id::new(row.int(1)?),
        batch: Id::new(row.int(2)?),
        provider: row.text(3)?,
        currency: row.text(4)?,
        state: state(row.int(5)?)?,
        batch_state: row.text(6)?,
        amount_minor: row.int(7)?,
        generation: row.int(8)?,
        evidence: row.maybe_int(9)?.map(Id::new).zip(Some(row.maybe_int(10)?.unwrap_or(0))),
        line: row.int(11)?,
        sealed: row.bytes(12)?.to_vec(),
        reason: class.zip(code),
        reason_sealed: row.maybe_bytes(15)?.map(<[u8]>::to_vec),
        provider_reference: row.maybe_text(16)?,
        identity: row.bytes(17)?.try_into()?,
    })
}

/// Which rows of a payroll are wanted. Both lists empty: all.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Rows whose own state is one of these.
    pub own: Vec<State>,
    /// Rows that follow a batch in one of these.
    pub following: Vec<BatchState>,
}

impl Wanted {
    fn filter(&self) -> String {
        let codes: Vec<String> = self.own.iter().map(|state| state.code().to_string()).collect();
        let names: Vec<String> = self.following.iter().map(|state| format!("'{}'", state.name())).collect();
        let own = (!codes.is_empty()).then(|| format!("d.state IN ({})", codes.join(",")));
        let following = (!names.is_empty())
            .then(|| format!("(d.state = {} AND b.state IN ({}))", State::Queued.code(), names.join(",")));
        let parts: Vec<String> = [own, following].into_iter().flatten().collect();
        if parts.is_empty() { String::new() } else { format!(" AND ({})", parts.join(" OR ")) }
    }
}

/// A page of a payroll's rows above a number.
pub async fn page(
    tx: &mut Tx,
    payroll: (Id<Payroll>, i64),
    wanted: &Wanted,
    above: i64,
    limit: i64,
) -> Result<Vec<Shown>> {
    let filter = wanted.filter();
    let sql =
        format!("{SHOWN} WHERE d.number > $1 AND d.number <= $2 AND d.payroll = $3{filter} ORDER BY d.number LIMIT $4");
    tx.rows(&sql, values![above, payroll.1, payroll.0.number(), limit]).await?.iter().map(shown).collect()
}

/// One disbursement of the tenant.
pub async fn get(tx: &mut Tx, scope: &Scope, number: i64) -> Result<Option<Shown>> {
    let sql = format!("{SHOWN} JOIN payroll r ON r.number = d.payroll WHERE d.number = $1 AND r.tenant = $2");
    tx.row(&sql, values![number, scope.tenant.number()]).await?.as_ref().map(shown).transpose()
}
