//! Reports for people: what was not paid and why, what is on its way, what came back, what was charged, and where the
//! account's statements say otherwise. Each is a table whose sums are held against the ledger in the same snapshot.
//! Deliberately not here: SQL, and what a file of it looks like (`paper`).

mod money;
pub mod paper;
mod payments;
mod statements;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use paymaster_connectors::contract::{Currency, Money};

use super::{Engine, Outcome, RefusedKind, no_payroll, refused};
use crate::domain::id::{Id, Payroll};
use crate::store::db::Tx;
use crate::store::ledger::Account;
use crate::store::report::{self as sql, Within};
use crate::store::{Scope, party, payroll};

/// Most rows of a report.
pub const ROWS_MAX: usize = 100_000;
/// Rows that are asked for, one more than may be.
const ROWS_ASKED: i64 = ROWS_MAX as i64 + 1;

/// Which report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportName {
    /// What was not paid, by cause.
    Unpaid,
    /// What is on its way, by age.
    InDoubt,
    /// The same money as the ledger has it.
    InTransit,
    /// What came back.
    Returns,
    /// What providers charge.
    Fees,
    /// Statements and payrolls that are not reconciled.
    StatementDifferences,
}

/// All reports: which, name and title.
pub const REPORTS: [(ReportName, &str, &str); 6] = [
    (ReportName::Unpaid, "unpaid", "Payments that were not paid, by cause"),
    (ReportName::InDoubt, "in_doubt", "Payments on their way without an end, by age"),
    (ReportName::InTransit, "in_transit", "Cash in transit, by the batches and by the ledger"),
    (ReportName::Returns, "returns", "Payments that came back, by reason"),
    (ReportName::Fees, "fees", "Charges in the account's statements"),
    (ReportName::StatementDifferences, "statement_differences", "Statements and payrolls that do not agree"),
];

impl ReportName {
    /// Its name and title.
    pub fn words(self) -> (&'static str, &'static str) {
        REPORTS.iter().find(|(report, ..)| *report == self).map_or(("?", "?"), |(_, name, title)| (name, title))
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        REPORTS.iter().find(|(_, known, _)| *known == name).map(|(report, ..)| *report)
    }

    /// Its columns.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Unpaid => payments::UNPAID,
            Self::InDoubt => payments::IN_DOUBT,
            Self::InTransit => money::IN_TRANSIT,
            Self::Returns => payments::RETURNS,
            Self::Fees => statements::FEES,
            Self::StatementDifferences => statements::DIFFERENCES,
        }
    }
}

/// A column: its name and what it holds.
pub type Column = (&'static str, Kind);

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A number of things.
    Count,
    /// A sum; its currency stands in a column of its own.
    Money,
    /// A civil date.
    Day,
}

impl Kind {
    /// Shown name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Count => "count",
            Self::Money => "money",
            Self::Day => "day",
        }
    }
}

/// What stands in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number of things.
    Count(i64),
    /// A sum.
    Money(Money),
    /// A civil date, `YYYY-MM-DD`; empty where it is not known.
    Day(String),
    /// Nothing belongs here.
    Empty,
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// A sum of the report beside the sum that it must be equal to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is compared.
    pub what: &'static str,
    /// In which currency.
    pub currency: Currency,
    /// By the report's rows.
    pub report_minor: i64,
    /// By the ledger, or by other books where no account of the ledger tells of it.
    pub ledger_minor: i64,
}

impl Check {
    /// Whether both are equal.
    pub fn holds(&self) -> bool {
        self.report_minor == self.ledger_minor
    }
}

/// A report.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// Its rows, each with as many cells as there are columns.
    pub rows: Vec<Vec<Cell>>,
    /// What was held against the books.
    pub checks: Vec<Check>,
    /// When it was made, in microseconds UTC.
    pub at: i64,
}

/// What a report is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Narrow {
    /// Code of a programme.
    pub programme: Option<String>,
    /// A payroll.
    pub payroll: Option<Id<Payroll>>,
    /// A provider.
    pub provider: Option<String>,
}

/// Rows and checks of a report.
type Made = (Vec<Vec<Cell>>, Vec<Check>);

impl Engine {
    /// A report of a tenant, made in one snapshot.
    pub async fn report(&self, scope: &Scope, name: ReportName, narrow: &Narrow) -> Outcome<Table> {
        let mut tx = self.store.read().await?;
        let only = self.within(&mut tx, scope, narrow).await?;
        let at = self.clock.now();
        let (rows, checks) = match name {
            ReportName::Unpaid => payments::unpaid(&mut tx, &only).await?,
            ReportName::InDoubt => payments::in_doubt(&mut tx, &only, at).await?,
            ReportName::InTransit => money::in_transit(&mut tx, &only).await?,
            ReportName::Returns => payments::returns(&mut tx, &only).await?,
            ReportName::Fees => statements::fees(&mut tx, &only).await?,
            ReportName::StatementDifferences => self.differences(&mut tx, &only).await?,
        };
        if rows.len() > ROWS_MAX {
            let text = format!("it has more than {ROWS_MAX} rows; ask for one programme, payroll or provider");
            return refused(RefusedKind::Invalid, "report_too_long", text);
        }
        let (name, title, columns) = (name.words().0, name.words().1, name.columns());
        Ok(Table { name, title, columns, rows, checks, at })
    }

    /// A name that does not exist is refused: an empty report about it would be taken for good news.
    async fn within<'a>(&self, tx: &mut Tx, scope: &'a Scope, narrow: &'a Narrow) -> Outcome<Within<'a>> {
        let mut only = Within { scope, programme: None, payroll: None, provider: narrow.provider.as_deref() };
        if let Some(code) = &narrow.programme {
            let Some(row) = party::programme(tx, scope, code).await? else {
                return refused(RefusedKind::NotFound, "programme_unknown", format!("there is no programme {code}"));
            };
            only.programme = Some(row.id);
        }
        if let Some(id) = narrow.payroll {
            if payroll::get(tx, scope, id).await?.is_none() {
                return no_payroll(id);
            }
            only.payroll = Some(id);
        }
        if let Some(name) = &narrow.provider
            && self.provider(name).is_err()
            && !sql::has_paid_through(tx, scope, name).await?
        {
            return refused(RefusedKind::NotFound, "provider_unknown", format!("there is no provider {name}"));
        }
        Ok(only)
    }
}

/// Sums by currency.
#[derive(Default)]
struct Sums(BTreeMap<Currency, i64>);

impl Sums {
    fn of(all: impl IntoIterator<Item = (Currency, i64)>) -> anyhow::Result<Self> {
        let mut sums = Self::default();
        for (currency, minor) in all {
            sums.add(currency, minor)?;
        }
        Ok(sums)
    }

    fn add(&mut self, currency: Currency, minor: i64) -> anyhow::Result<()> {
        let sum = self.0.entry(currency).or_default();
        *sum = sum.checked_add(minor).context("a sum of a report is too large")?;
        Ok(())
    }

    fn less(mut self, others: &Self) -> anyhow::Result<Self> {
        for (currency, minor) in &others.0 {
            self.add(*currency, minor.checked_neg().context("a sum of a report is too large")?)?;
        }
        Ok(self)
    }

    /// The report's sums beside the ledger's, one check for each currency that either has.
    fn against(&self, ledger: &Self, what: &'static str) -> Vec<Check> {
        let currencies: BTreeSet<Currency> = self.0.keys().chain(ledger.0.keys()).copied().collect();
        let of = |sums: &Self, currency: Currency| sums.0.get(&currency).copied().unwrap_or(0);
        let check = |currency| {
            let (report_minor, ledger_minor) = (of(self, currency), of(ledger, currency));
            Check { what, currency, report_minor, ledger_minor }
        };
        currencies.into_iter().map(check).collect()
    }
}

/// Money that waits in suspense and would be in this account if nothing contradicted it.
async fn suspended(tx: &mut Tx, only: &Within<'_>, from: Account) -> anyhow::Result<Sums> {
    let all = sql::suspended(tx, only).await?.into_iter().filter(|(_, account, _)| *account == from);
    Sums::of(all.map(|(place, _, minor)| (place.2, minor)))
}

/// The balance of an account, by currency.
async fn balance(tx: &mut Tx, only: &Within<'_>, account: Account) -> anyhow::Result<Sums> {
    Sums::of(sql::balances(tx, only, account).await?.into_iter().map(|(place, minor)| (place.2, minor)))
}
