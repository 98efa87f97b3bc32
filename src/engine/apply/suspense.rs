//! What contradicts: the payment's money goes to suspense at once, from wherever its state says that it is
//! ([`Account::OF_STATES`]), and it departs from its batch, so that it is never sent again.
//! Deliberately not here: how it comes out again, which two persons decide (`engine/exception`).

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use paymaster_connectors::contract::{Outcome, Report};

use super::{Spoken, Work};
use crate::domain::batch::effective;
use crate::domain::disbursement::{Move, State, step};
use crate::domain::exception::{Matter, RETURNED_TWICE, matter};
use crate::domain::id::{Id, Programme};
use crate::store::db::Tx;
use crate::store::ledger::{self, Account, Entry};
use crate::store::{Numbers, disbursement};

impl Work<'_> {
    /// A report does not fit what is known of a row.
    pub(super) fn contradicted(
        &mut self,
        number: i64,
        code: &'static str,
        report: &Report,
        evidence: i64,
    ) -> Result<()> {
        self.exceptions.push((code, number, evidence));
        let Some(row) = self.rows.get_mut(&number) else { return Ok(()) };
        let is_paid = report.outcome == Outcome::Settled;
        if is_paid && matches!(row.now, State::Rejected | State::Cancelled) {
            self.paid_after_all.push((number, evidence));
        }
        if matter(code) != Matter::Money {
            return Ok(());
        }
        row.contradicted = true;
        let state = effective(row.now, self.batch.state);
        if matches!(state, State::Submitting | State::Accepted) {
            row.now = step(state, Move::Lose)?;
        } else if state == State::InDoubt {
            row.now = state;
        }
        Ok(())
    }

    /// By what name a row came back.
    pub(super) fn note_return(&mut self, number: i64, report: &Report) {
        if let (Outcome::Returned(_), Some(name)) = (&report.outcome, &report.provider_reference) {
            self.return_references.entry(number).or_insert_with(|| name.clone());
        }
    }

    /// A payment comes back once. The same return may be told again; under another name it is another one.
    pub(super) fn look_for_second_return(&mut self, number: i64, report: &Report, evidence: i64) -> Result<()> {
        let (Outcome::Returned(_), Some(name)) = (&report.outcome, &report.provider_reference) else { return Ok(()) };
        match self.return_references.get(&number) {
            Some(first) if first != name => self.contradicted(number, RETURNED_TWICE, report, evidence),
            _ => Ok(()),
        }
    }

    /// Money of rows that were contradicted here, from each account in one line.
    pub(super) async fn suspend(&mut self, tx: &mut Tx, numbers: &mut Numbers) -> Result<()> {
        let mut from: BTreeMap<Account, (i64, Vec<i64>)> = BTreeMap::new();
        for (number, row) in self.rows.iter().filter(|(_, row)| row.contradicted && row.suspended_from.is_none()) {
            let (sum, all) = from.entry(Account::of(effective(row.now, self.batch.state))).or_default();
            *sum = sum.checked_add(row.amount_minor).context("the sum is too large")?;
            all.push(*number);
        }
        for (account, (sum, all)) in from {
            let account = covering(tx, self.batch.programme, account, sum).await?;
            let evidence = self.exceptions.iter().find(|(_, subject, _)| all.contains(subject)).map_or(0, |one| one.2);
            let entry = Entry::of_batch(&self.batch, (Account::Suspense, account), sum, Some(evidence));
            ledger::post(tx, numbers.take()?, &entry, self.now).await?;
            for number in &all {
                if let Some(row) = self.rows.get_mut(number) {
                    row.suspended_from = Some(account);
                }
            }
        }
        Ok(())
    }
}

/// The account that a sum is taken from. What came back to `Available` may be promised to others by now: then the
/// programme owes it to whoever funds it, because a report must be booked whatever is left.
pub(in crate::engine) async fn covering(
    tx: &mut Tx,
    programme: Id<Programme>,
    account: Account,
    sum: i64,
) -> Result<Account> {
    if account == Account::Available && ledger::available(tx, programme).await? < sum {
        return Ok(Account::Funding);
    }
    Ok(account)
}

/// By what names of the provider's rows came back before; asked only when something is said to come back.
pub(super) async fn return_references(tx: &mut Tx, spoken: &[Spoken], wanted: &[i64]) -> Result<BTreeMap<i64, String>> {
    let mut reports = spoken.iter().flat_map(|(_, reports)| reports);
    if !reports.any(|report| matches!(report.outcome, Outcome::Returned(_))) {
        return Ok(BTreeMap::new());
    }
    Ok(disbursement::return_references(tx, wanted).await?.into_iter().collect())
}
