//! Where single disbursements are, and which others pay the same entitlement: older and newer generations.
//! Deliberately not here: moving them.

use anyhow::Result;

use super::db::{Row, Table, Tx, Value, Values};
use super::disbursement::state;
use super::values;
use crate::domain::disbursement::State;
use crate::domain::id::{Batch, Id, Payroll};

/// Where a row is and how it stands.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its number.
    pub number: i64,
    /// Its payroll.
    pub payroll: Id<Payroll>,
    /// Its batch, which may not be cut yet.
    pub batch: Id<Batch>,
    /// Its own state.
    pub state: State,
    /// Its sum.
    pub amount_minor: i64,
    /// Its generation.
    pub generation: i64,
    /// What proves its end.
    pub end_evidence: Option<i64>,
}

const PLACE: &str =
    "SELECT d.number, d.payroll, d.batch, d.state, d.amount_minor, d.generation, d.end_evidence FROM disbursement d";

fn place_row(row: &Row) -> Result<Place> {
    Ok(Place {
        number: row.int(0)?,
        payroll: Id::new(row.int(1)?),
        batch: Id::new(row.int(2)?),
        state: state(row.int(3)?)?,
        amount_minor: row.int(4)?,
        generation: row.int(5)?,
        end_evidence: row.maybe_int(6)?,
    })
}

/// Where a row is, by its number alone.
pub async fn place(tx: &mut Tx, number: i64) -> Result<Option<Place>> {
    let sql = format!("{PLACE} WHERE d.number = $1");
    tx.row(&sql, values![number]).await?.as_ref().map(place_row).transpose()
}

/// Where rows are, ascending.
pub async fn places(tx: &mut Tx, numbers: &[i64]) -> Result<Vec<Place>> {
    let sql = format!("{PLACE} JOIN {{v}} ON v.number = d.number ORDER BY d.number");
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.rows_with(&sql, values![], table).await?.iter().map(place_row).collect()
}

/// Locks rows, so that nobody takes in a newer generation of them meanwhile.
pub async fn lock(tx: &mut Tx, numbers: &[i64]) -> Result<()> {
    let sql =
        format!("SELECT d.number FROM disbursement d WHERE d.number IN (SELECT number FROM {{v}}){}", tx.for_update());
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.rows_with(&sql, values![], table).await.map(|_| ())
}

/// Newer generations of the entitlements of these rows: each with the number of the row it follows.
pub async fn newer(tx: &mut Tx, numbers: &[i64]) -> Result<Vec<(i64, Place)>> {
    let sql = "SELECT d.number, d.payroll, d.batch, d.state, d.amount_minor, d.generation, d.end_evidence, o.number \
               FROM {v} JOIN disbursement o ON o.number = v.number JOIN disbursement d ON d.identity = o.identity \
               AND d.generation > o.generation ORDER BY d.number";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    let rows = tx.rows_with(sql, values![], table).await?;
    rows.iter().map(|row| Ok((row.int(7)?, place_row(row)?))).collect()
}

/// Older generations of the entitlements of a payroll's rows, or of one of them: number of the newer, and the older.
pub async fn older(tx: &mut Tx, payroll: Id<Payroll>, numbers: (i64, i64)) -> Result<Vec<(i64, Place)>> {
    let sql = "SELECT o.number, o.payroll, o.batch, o.state, o.amount_minor, o.generation, o.end_evidence, d.number \
               FROM disbursement d JOIN disbursement o ON o.identity = d.identity AND o.generation < d.generation \
               WHERE d.number BETWEEN $1 AND $2 AND d.payroll = $3 AND d.generation > 1 ORDER BY o.number";
    let rows = tx.rows(sql, values![numbers.0, numbers.1, payroll.number()]).await?;
    rows.iter().map(|row| Ok((row.int(7)?, place_row(row)?))).collect()
}

/// A payment that may be paid again as it was.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its number.
    pub number: i64,
    /// Its sum.
    pub amount_minor: i64,
    /// Its payee, sealed.
    pub sealed: Vec<u8>,
}

/// Why payments were not paid.
#[derive(Debug, Clone, Copy)]
pub struct Because<'a> {
    /// One of these codes.
    pub codes: &'a [String],
    /// Or of one of these classes.
    pub classes: &'a [String],
    /// Where neither is given, whatever it was but of this class.
    pub not: &'a str,
}

/// Rows of a payroll above a number that were rejected or came back for such reasons and that nothing newer follows.
pub async fn ended(
    tx: &mut Tx,
    payroll: Id<Payroll>,
    because: Because<'_>,
    above: i64,
    limit: i64,
) -> Result<Vec<Ended>> {
    let places = |from: usize, count: usize| {
        (from..from + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
    };
    let Because { codes, classes, not } = because;
    let wanted = match (codes.len(), classes.len()) {
        (0, 0) => String::from("COALESCE(x.class, '') <> $4"),
        (0, count) => format!("x.class IN ({})", places(4, count)),
        (count, 0) => format!("x.code IN ({})", places(4, count)),
        (one, other) => format!("(x.code IN ({}) OR x.class IN ({}))", places(4, one), places(4 + one, other)),
    };
    let states = [State::Rejected, State::Returned].map(|state| state.code().to_string()).join(", ");
    let sql = format!(
        "SELECT d.number, d.amount_minor, p.sealed FROM departure x JOIN disbursement d ON d.number = x.disbursement \
         JOIN payee p ON p.number = d.number WHERE x.payroll = $1 AND d.number > $2 AND d.state IN ({states}) AND {wanted} \
         AND NOT EXISTS (SELECT 1 FROM disbursement n WHERE n.identity = d.identity AND n.generation > d.generation) \
         ORDER BY d.number LIMIT $3"
    );
    let mut bound = values![payroll.number(), above, limit].to_vec();
    bound.extend(codes.iter().chain(classes).map(|text| Value::Text(text)));
    if codes.is_empty() && classes.is_empty() {
        bound.push(Value::Text(not));
    }
    let row = |row: &Row| Ok(Ended { number: row.int(0)?, amount_minor: row.int(1)?, sealed: row.bytes(2)?.to_vec() });
    tx.map_rows(&sql, &bound, row).await
}
