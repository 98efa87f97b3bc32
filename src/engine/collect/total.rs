//! Entries that name no payment of ours: a batch that was debited as one sum, charges, and movements nobody ordered.

use anyhow::Result;
use paymaster_connectors::contract::{Outcome, Report, StatementKind};

use super::matched::{Counted, batch_named};
use super::statement::title;
use super::stored::Rest;
use crate::domain::batch::effective;
use crate::domain::matching::LineKind;
use crate::engine::Engine;
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::disbursement;
use crate::store::file::Held;
use crate::store::payroll::Total;
use crate::store::statement::{self, Booked, EntryRow};

/// Entries looked at in one unit of work.
const ENTRIES_PAGE: i64 = 500;
/// Entries of one statement that nobody ordered and that are told of one by one; the rest together.
const TOLD_MAX: usize = 1_000;

impl Engine {
    pub(super) async fn match_unnamed(&self, held: &Held, counted: &Counted<'_>) -> Result<()> {
        let mut unknown = 0;
        loop {
            self.hold_on(held).await?;
            let mut tx = self.store.begin().await?;
            let page = statement::unnamed(&mut tx, counted.row.id, ENTRIES_PAGE).await?;
            tx.commit().await?;
            if page.is_empty() {
                return Ok(());
            }
            let (mut fees, mut others, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
            for entry in &page {
                match LineKind::parse(&entry.kind) {
                    Some(LineKind::Fee) => fees.push(entry.number),
                    Some(LineKind::Payment | LineKind::Return) if self.match_total(counted, entry).await? => {}
                    Some(LineKind::Payment | LineKind::Return) => strangers.push(entry),
                    _ => others.push(entry.number),
                }
            }
            let mut tx = self.store.begin().await?;
            statement::set_verdict(&mut tx, &fees, "fee", None).await?;
            statement::set_verdict(&mut tx, &others, "not_booked", None).await?;
            let numbers: Vec<i64> = strangers.iter().map(|entry| entry.number).collect();
            statement::set_verdict(&mut tx, &numbers, "unknown", None).await?;
            if counted.kind == StatementKind::Statement {
                for entry in strangers {
                    unknown += 1;
                    self.tell_unknown(&mut tx, counted, entry, unknown).await?;
                }
            }
            tx.commit().await?;
        }
    }

    /// Money moved that nobody ordered, or that cannot be told what it was for.
    async fn tell_unknown(&self, tx: &mut Tx, counted: &Counted<'_>, entry: &EntryRow, count: usize) -> Result<()> {
        let provider = counted.row.provider.as_str();
        if count > TOLD_MAX {
            let text = format!("{}: more than {TOLD_MAX} entries that nobody ordered", title(counted.row));
            return self.alarm(tx, provider, ("unknown_entries", counted.row.id.number()), &text).await;
        }
        let code = if entry.is_debit { "unknown_debit" } else { "unknown_credit" };
        let rest = self.rest(entry)?;
        let day = entry.booked_on.as_deref().unwrap_or("an unstated day");
        let text = format!(
            "{}: {} on {day}, bank reference {}",
            title(counted.row),
            entry.amount,
            if rest.bank_reference.is_empty() { "none" } else { &rest.bank_reference }
        );
        self.alarm(tx, provider, (code, entry.number), &text).await
    }

    /// One debit for a whole batch: if it is the sum of what was not rejected, everything in it is paid. False when
    /// the entry names no batch of ours.
    async fn match_total(&self, counted: &Counted<'_>, entry: &EntryRow) -> Result<bool> {
        let rest = self.rest(entry)?;
        let mut tx = self.store.read().await?;
        let named = match entry.batch {
            Some(id) => batch::get_any(&mut tx, id).await?,
            None => self.batch_of(&mut tx, counted, &rest).await?,
        };
        let Some(row) = named else { return Ok(false) };
        if !entry.is_debit {
            return Ok(false);
        }
        let expected = Total {
            payments: row.total.payments - row.rejected.payments,
            sum_minor: row.total.sum_minor - row.rejected.sum_minor,
        };
        let is_count = rest.count.is_none_or(|count| i64::try_from(count) == Ok(expected.payments));
        let is_sum = entry.amount.minor == expected.sum_minor && entry.amount.currency == row.currency;
        if !(is_count && is_sum) {
            drop(tx);
            self.tell_difference(counted, entry, &row, (expected, rest.count)).await?;
            return Ok(true);
        }
        let members = disbursement::members(&mut tx, row.id, row.numbers).await?;
        let open = |state| effective(state, row.state).is_in_flight();
        let numbers: Vec<i64> = members.iter().filter(|one| open(one.state)).map(|one| one.number).collect();
        let facts = self.outgoing(&mut tx, &row, members).await?.instructions;
        drop(tx);
        let settled = |number: &i64| Report::instruction(self.reference(*number), Outcome::Settled);
        let reports: Vec<Report> = numbers.iter().map(settled).collect();
        if !reports.is_empty() {
            let message = self.statement_message(counted, &vec![(entry.position, entry.detail); reports.len()])?;
            self.apply(row.id, &facts, &[(message, reports)], None).await?;
        }
        let mut tx = self.store.begin().await?;
        statement::set_verdict(&mut tx, &[entry.number], "total", Some(row.id)).await?;
        if counted.kind == StatementKind::Statement {
            let booked = Booked { debits: expected, credits: Total::default() };
            statement::book_more(&mut tx, counted.row.id, row.id, &booked).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn tell_difference(
        &self,
        counted: &Counted<'_>,
        entry: &EntryRow,
        row: &BatchRow,
        (expected, count): (Total, Option<u64>),
    ) -> Result<()> {
        let said = count.map_or_else(|| String::from("unstated"), |count| count.to_string());
        let text = format!(
            "{}: one debit of {} ({said} payments) for a batch of which {} payments of {} minor units were not rejected",
            title(counted.row),
            entry.amount,
            expected.payments,
            expected.sum_minor
        );
        let mut tx = self.store.begin().await?;
        let whose = (row.provider.as_str(), row.programme);
        self.alarm_of(&mut tx, whose, ("batch_total_differs", row.id.number()), &text).await?;
        statement::set_verdict(&mut tx, &[entry.number], "total_differs", Some(row.id)).await?;
        if counted.kind == StatementKind::Statement {
            let debits = Total { payments: 0, sum_minor: entry.amount.minor };
            let booked = Booked { debits, credits: Total::default() };
            statement::book_more(&mut tx, counted.row.id, row.id, &booked).await?;
        }
        tx.commit().await
    }

    /// The batch that an entry names, as file, as group of payments, or in its text.
    async fn batch_of(&self, tx: &mut Tx, counted: &Counted<'_>, rest: &Rest) -> Result<Option<BatchRow>> {
        let words = rest.text.split(|c: char| !c.is_ascii_alphanumeric());
        for name in rest.names.iter().map(String::as_str).chain(words) {
            if let Some(row) = batch_named(self, tx, &counted.row.provider, name).await? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}
