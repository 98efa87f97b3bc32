//! What the account's statements show that people must know: charges, and whatever keeps a statement or a payroll from
//! being reconciled. A provider's statements are shown to the tenants that pay through it.

use std::collections::HashMap;

use anyhow::{Context, Result};
use paymaster_connectors::contract::{Currency, Money, StatementKind};

use super::{Cell, Check, Column, Kind, Made, ROWS_ASKED, ROWS_MAX, Sums};
use crate::domain::id::{Id, Payroll};
use crate::domain::reconcile::Sum;
use crate::engine::{Engine, Outcome, RefusedKind, no_payroll, refused};
use crate::store::db::Tx;
use crate::store::ledger::Account;
use crate::store::payroll;
use crate::store::reconcile::{self, StatementLine};
use crate::store::report::{self as sql, Within};

pub(super) const FEES: &[Column] = &[
    ("provider", Kind::Text),
    ("account", Kind::Text),
    ("month", Kind::Text),
    ("statement", Kind::Text),
    ("entries", Kind::Count),
    ("sum", Kind::Money),
    ("currency", Kind::Text),
];

pub(super) const DIFFERENCES: &[Column] = &[
    ("of", Kind::Text),
    ("provider", Kind::Text),
    ("account", Kind::Text),
    ("name", Kind::Text),
    ("day", Kind::Day),
    ("difference", Kind::Text),
    ("entries", Kind::Count),
    ("sum", Kind::Money),
    ("currency", Kind::Text),
];

/// Statements read at once.
const STATEMENTS_PAGE: i64 = 1_000;
/// Most payrolls that are compared for one report.
const PAYROLLS_MAX: usize = 10_000;
/// Charges. No account of the ledger tells of them; they are held against what each statement comes to.
pub(super) async fn fees(tx: &mut Tx, only: &Within<'_>) -> Result<Made> {
    let (mut rows, mut report, mut books) = (Vec::new(), Sums::default(), Sums::default());
    for provider in sql::providers(tx, only).await? {
        for fee in sql::fees(tx, &provider, ROWS_ASKED).await? {
            report.add(fee.currency, fee.total.sum_minor)?;
            rows.push(vec![
                Cell::text(&provider),
                Cell::Text(fee.account),
                Cell::Text(fee.month),
                Cell::Text(fee.statement),
                Cell::Count(fee.total.payments),
                Cell::Money(Money::new(fee.total.sum_minor, fee.currency)),
                Cell::text(fee.currency.code()),
            ]);
        }
        for line in statements(tx, &provider, |line| closes(line) && line.standing == "counted").await? {
            if let Some(currency) = line.currency.as_deref().and_then(Currency::parse) {
                books.add(currency, line.fees_minor)?;
            }
        }
    }
    let checks = report.against(&books, "charges, by the statements").into_iter();
    // A currency that no statement states is known from the entries alone.
    Ok((rows, checks.filter(|check| books.0.contains_key(&check.currency)).collect()))
}

/// A provider's statements that are wanted, up to one more than a report may have.
async fn statements(
    tx: &mut Tx,
    provider: &str,
    wanted: impl Fn(&StatementLine) -> bool,
) -> Result<Vec<StatementLine>> {
    let (mut all, mut above) = (Vec::new(), 0);
    while all.len() <= ROWS_MAX {
        let page = reconcile::statements(tx, Some(provider), above, STATEMENTS_PAGE).await?;
        let Some(last) = page.last() else { break };
        above = last.number;
        all.extend(page.into_iter().filter(|line| wanted(line)));
    }
    Ok(all)
}

impl Engine {
    /// Statements that are not reconciled, and what keeps payrolls from it.
    pub(super) async fn differences(&self, tx: &mut Tx, only: &Within<'_>) -> Outcome<Made> {
        let mut rows = Vec::new();
        for provider in sql::providers(tx, only).await? {
            let mut open: HashMap<i64, Vec<String>> = HashMap::new();
            for (statement, code) in sql::statement_exceptions(tx, &provider, ROWS_ASKED).await? {
                open.entry(statement).or_default().push(code);
            }
            for line in statements(tx, &provider, is_open).await? {
                let codes = open.remove(&line.number).unwrap_or_default();
                rows.extend(statement_rows(&line, &codes));
            }
        }
        let payrolls = sql::released(tx, only, ROWS_ASKED).await?;
        if payrolls.len() > PAYROLLS_MAX {
            let text = format!("more than {PAYROLLS_MAX} payrolls; ask for one programme, payroll or provider");
            return refused(RefusedKind::Invalid, "report_too_long", text);
        }
        let mut debits = Sums::default();
        for id in payrolls {
            self.payroll_differences(tx, only, id, (&mut rows, &mut debits)).await?;
        }
        let checks = self.debits_check(tx, only, &debits).await?;
        Ok((rows, checks))
    }

    async fn payroll_differences(
        &self,
        tx: &mut Tx,
        only: &Within<'_>,
        id: Id<Payroll>,
        (rows, debits): (&mut Vec<Vec<Cell>>, &mut Sums),
    ) -> Outcome<()> {
        let Some(row) = payroll::get(tx, only.scope, id).await? else { return no_payroll(id) };
        let found = self.compare(tx, row).await?;
        let mut all: Vec<(&str, &'static str, Sum)> = Vec::new();
        for batch in found.batches.iter().filter(|batch| only.provider.is_none_or(|name| name == batch.provider)) {
            for (name, sum) in batch.legs.differences() {
                match all.iter_mut().find(|(provider, known, _)| (*provider, *known) == (&*batch.provider, name)) {
                    Some((.., known)) => *known = Sum::new(known.payments + sum.payments, known.minor + sum.minor),
                    None => all.push((&batch.provider, name, sum)),
                }
            }
        }
        let currency = found.payroll.currency;
        for (provider, name, sum) in all {
            if name == "debits" {
                debits.add(currency, sum.minor)?;
            }
            let sums = (Cell::Count(sum.payments), Cell::Money(Money::new(sum.minor, currency)));
            rows.push(payroll_row(&found.payroll, provider, name, sums));
        }
        if only.provider.is_none() && found.exceptions > 0 {
            let sums = (Cell::Count(found.exceptions), Cell::Empty);
            rows.push(payroll_row(&found.payroll, "", "open_exceptions", sums));
        }
        Ok(())
    }

    /// Debits too many or missing, of providers whose statements show each payment: by the payrolls, and by the
    /// statements' bookings less what the ledger has as paid and returned.
    async fn debits_check(&self, tx: &mut Tx, only: &Within<'_>, debits: &Sums) -> Result<Vec<Check>> {
        let shown = |provider: &str| self.has_statements(provider);
        let books = sql::batch_books(tx, only).await?.into_iter().filter(|(place, _)| shown(&place.1));
        let mut expected = Sums::of(books.map(|(place, one)| (place.2, one.debited_minor)))?;
        for account in [Account::Paid, Account::Returned] {
            let ledger = sql::balances(tx, only, account).await?.into_iter().filter(|(place, _)| shown(&place.1));
            expected = expected.less(&Sums::of(ledger.map(|(place, minor)| (place.2, minor)))?)?;
        }
        for (place, account, minor) in sql::suspended(tx, only).await? {
            if shown(&place.1) && matches!(account, Account::Paid | Account::Returned) {
                expected.add(place.2, minor.checked_neg().context("a sum of a report is too large")?)?;
            }
        }
        Ok(debits.against(&expected, "debits, by the statements and the ledger"))
    }
}

/// Whether a statement closes a period; others announce what is booked later.
fn closes(line: &StatementLine) -> bool {
    line.kind == StatementKind::Statement.name()
}

/// Whether something about a statement is open. One that is known already or was replaced says nothing by itself, and
/// what is announced only has no balances that could be proven.
fn is_open(line: &StatementLine) -> bool {
    let replaced = matches!(line.standing.as_str(), "repeat" | "overruled");
    let quiet = (line.faults, line.unknown.0, line.misfits, line.exceptions) == (0, 0, 0, 0);
    !replaced && !line.is_reconciled() && (closes(line) || !quiet)
}

/// A statement's differences, one a row; one at least.
fn statement_rows(line: &StatementLine, codes: &[String]) -> Vec<Vec<Cell>> {
    let currency = line.currency.as_deref().and_then(Currency::parse);
    let money = |minor: i64| match currency {
        Some(currency) => Cell::Money(Money::new(minor, currency)),
        None => Cell::Text(format!("{minor} minor units")),
    };
    let mut found: Vec<(String, Cell, Cell)> = Vec::new();
    if line.standing != "counted" {
        found.push((line.standing.clone(), Cell::Empty, Cell::Empty));
    }
    if closes(line) && line.proof.as_deref() != Some("holds") {
        let proof = line.proof.as_deref().unwrap_or("unproven");
        found.push((format!("balances: {proof}"), Cell::Empty, Cell::Empty));
    }
    let (entries, debits, credits) = line.unknown;
    for (name, count) in [("unknown_entries", entries), ("misfits", line.misfits), ("unreadable_entries", line.faults)]
    {
        if count > 0 {
            found.push((name.to_owned(), Cell::Count(count), Cell::Empty));
        }
    }
    for (name, minor) in [("unknown_debits", debits), ("unknown_credits", credits)] {
        if minor != 0 {
            found.push((name.to_owned(), Cell::Empty, money(minor)));
        }
    }
    found.extend(codes.iter().map(|code| (code.clone(), Cell::Empty, Cell::Empty)));
    let row = |(name, count, sum)| {
        vec![
            Cell::text(&line.kind),
            Cell::text(&line.provider),
            Cell::text(&line.account),
            Cell::text(&line.name.0),
            Cell::Day(line.day.clone().unwrap_or_default()),
            Cell::Text(name),
            count,
            sum,
            Cell::text(currency.map_or("", Currency::code)),
        ]
    };
    found.into_iter().map(row).collect()
}

fn payroll_row(row: &payroll::PayrollRow, provider: &str, name: &str, (count, sum): (Cell, Cell)) -> Vec<Cell> {
    vec![
        Cell::text("payroll"),
        Cell::text(provider),
        Cell::text(""),
        Cell::text(row.id.to_string()),
        Cell::Day(row.pay_on.clone().unwrap_or_default()),
        Cell::text(name),
        count,
        sum,
        Cell::text(row.currency.code()),
    ]
}
