//! The work queue: open exceptions by kind, provider, owner, age and what they are about, and what they come to.
//! Deliberately not here: what people do about them (`exception`).

use anyhow::Result;

use super::db::{Row, Table, Tx, Value, Values};
use super::exception::{EXCEPTION, exception_row};
use super::notes::ExceptionRow;
use super::{Scope, values};
use crate::domain::exception::{Decision, KINDS, Owner};
use crate::domain::id::{Id, Payroll, Programme};

/// Most lines of a summary.
const LINES_MAX: i64 = 10_000;

/// Which open exceptions. What is not given does not narrow; an empty list is not given.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of these kinds.
    pub codes: Vec<String>,
    /// With this provider.
    pub provider: Option<String>,
    /// About payments or batches of this payroll.
    pub payroll: Option<Id<Payroll>>,
    /// Of this programme.
    pub programme: Option<Id<Programme>>,
    /// Of kinds that are this one's.
    pub owner: Option<Owner>,
    /// These alone, by number.
    pub ids: Vec<i64>,
    /// Opened before an instant.
    pub opened_before: Option<i64>,
}

impl Filter {
    /// Whether it narrows nothing.
    pub fn is_empty(&self) -> bool {
        let lists = self.codes.is_empty() && self.ids.is_empty();
        let names = self.provider.is_none() && self.payroll.is_none() && self.programme.is_none();
        lists && names && self.owner.is_none() && self.opened_before.is_none()
    }
}

/// Which of more than are taken come first. Those alike come by age.
#[derive(Debug, Clone, Copy)]
pub enum First<'a> {
    /// Those that nobody has proposed anything for.
    Unproposed,
    /// Those that somebody has proposed something for.
    Proposed,
    /// Those of which somebody other than this person proposes this.
    ProposedByOthers(Decision, &'a str),
}

/// A statement about the open exceptions of a tenant that a filter wants.
struct Statement<'a> {
    /// From `FROM exception` to the last condition.
    wanted: String,
    bound: Vec<Value<'a>>,
    ids: [Values<'a>; 1],
    names: &'static [&'static str],
}

impl<'a> Statement<'a> {
    fn new(scope: &Scope, filter: &'a Filter) -> Self {
        let wanted = String::from("FROM exception e WHERE e.tenant = $1 AND e.closed_at IS NULL");
        let bound = vec![Value::Int(scope.tenant.number())];
        let names: &[&str] = if filter.ids.is_empty() { &[] } else { &["number"] };
        let mut statement = Self { wanted, bound, ids: [Values::Ints(&filter.ids)], names };
        if !filter.codes.is_empty() {
            let places: Vec<String> = filter.codes.iter().map(|code| statement.bind(code)).collect();
            statement.narrow(&format!("e.code IN ({})", places.join(",")));
        }
        if let Some(provider) = &filter.provider {
            let place = statement.bind(provider);
            statement.narrow(&format!("e.provider = {place}"));
        }
        if let Some(payroll) = filter.payroll {
            let place = statement.bind(payroll.number());
            statement.narrow(&format!(
                "(EXISTS (SELECT 1 FROM disbursement d WHERE d.number = e.subject AND d.payroll = {place}) \
                 OR EXISTS (SELECT 1 FROM batch b WHERE b.number = e.subject AND b.payroll = {place}))"
            ));
        }
        if let Some(programme) = filter.programme {
            let place = statement.bind(programme.number());
            statement.narrow(&format!("e.programme = {place}"));
        }
        if let Some(owner) = filter.owner {
            statement.narrow(&owned(owner));
        }
        if let Some(before) = filter.opened_before {
            let place = statement.bind(before);
            statement.narrow(&format!("e.opened_at < {place}"));
        }
        if !filter.ids.is_empty() {
            statement.narrow("e.number IN (SELECT number FROM {v})");
        }
        statement
    }

    fn bind(&mut self, value: impl Into<Value<'a>>) -> String {
        self.bound.push(value.into());
        format!("${}", self.bound.len())
    }

    fn narrow(&mut self, condition: &str) {
        self.wanted.push_str(" AND ");
        self.wanted.push_str(condition);
    }

    async fn rows(&self, tx: &mut Tx, sql: &str) -> Result<Vec<Row>> {
        let columns: &[Values<'_>] = if self.names.is_empty() { &[] } else { &self.ids };
        tx.rows_with(sql, &self.bound, Table { names: self.names, columns }).await
    }
}

/// The condition that a kind is an owner's. What is in no table is a notice of operations.
fn owned(owner: Owner) -> String {
    let theirs = KINDS.iter().filter(|(.., of)| (*of == owner) != (owner == Owner::Operations));
    let codes: Vec<String> = theirs.map(|(code, ..)| format!("'{code}'")).collect();
    let not = if owner == Owner::Operations { "NOT " } else { "" };
    format!("e.code {not}IN ({})", codes.join(","))
}

/// Open exceptions that a filter wants, above a number, oldest first.
pub async fn list(tx: &mut Tx, scope: &Scope, filter: &Filter, above: i64, limit: i64) -> Result<Vec<ExceptionRow>> {
    let mut statement = Statement::new(scope, filter);
    let (above, limit) = (statement.bind(above), statement.bind(limit));
    let sql = format!("{EXCEPTION} {} AND e.number > {above} ORDER BY e.number LIMIT {limit}", statement.wanted);
    statement.rows(tx, &sql).await?.iter().map(exception_row).collect()
}

/// Open exceptions that a filter wants, for doing something with many of them.
pub async fn some(
    tx: &mut Tx,
    scope: &Scope,
    filter: &Filter,
    first: First<'_>,
    limit: i64,
) -> Result<Vec<ExceptionRow>> {
    let mut statement = Statement::new(scope, filter);
    let fits = match first {
        First::Unproposed => String::from("e.proposed IS NULL"),
        First::Proposed => String::from("e.proposed IS NOT NULL"),
        First::ProposedByOthers(decision, person) => {
            let (decision, person) = (statement.bind(decision.name()), statement.bind(person));
            format!("e.proposed = {decision} AND e.proposed_by <> {person}")
        }
    };
    let limit = statement.bind(limit);
    let sql =
        format!("{EXCEPTION} {} ORDER BY CASE WHEN {fits} THEN 0 ELSE 1 END, e.number LIMIT {limit}", statement.wanted);
    statement.rows(tx, &sql).await?.iter().map(exception_row).collect()
}

/// What waits of one kind with one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What kind.
    pub code: String,
    /// With which provider.
    pub provider: String,
    /// How many are open.
    pub open: i64,
    /// Since when the oldest is.
    pub oldest_at: i64,
    /// For how many of them somebody has proposed something.
    pub proposed: i64,
}

/// What waits, by kind and provider.
pub async fn summary(tx: &mut Tx, scope: &Scope) -> Result<Vec<Line>> {
    let sql = "SELECT code, provider, COUNT(*), MIN(opened_at), COUNT(proposed) FROM exception WHERE tenant = $1 \
               AND closed_at IS NULL GROUP BY code, provider ORDER BY code, provider LIMIT $2";
    let line = |row: &Row| {
        let (code, provider, open) = (row.text(0)?, row.text(1)?, row.int(2)?);
        Ok(Line { code, provider, open, oldest_at: row.int(3)?, proposed: row.int(4)? })
    };
    tx.rows(sql, values![scope.tenant.number(), LINES_MAX]).await?.iter().map(line).collect()
}

/// Which of these exceptions of a tenant there are, and whether each is closed.
pub async fn closed(tx: &mut Tx, scope: &Scope, numbers: &[i64]) -> Result<Vec<(i64, bool)>> {
    let sql = "SELECT e.number, CASE WHEN e.closed_at IS NULL THEN 0 ELSE 1 END FROM exception e \
               WHERE e.number IN (SELECT number FROM {v}) AND e.tenant = $1 ORDER BY e.number";
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    let rows = tx.rows_with(sql, values![scope.tenant.number()], table).await?;
    rows.iter().map(|row| Ok((row.int(0)?, row.int(1)? == 1))).collect()
}
