//! Compares what was instructed, acknowledged and booked, and moves a payroll to reconciled when nothing differs.
//! Deliberately not here: the comparison itself (the domain), and reading statements (`collect`).

use anyhow::Result;

use super::{Engine, Outcome, no_payroll};
use crate::domain::id::{File, Id, Payroll};
use crate::domain::payroll::PayrollMove;
use crate::domain::reconcile::{Legs, Sum};
use crate::store::db::Tx;
use crate::store::file::{self, FileRow};
use crate::store::notes::{self, Fact};
use crate::store::payroll::{self, PayrollRow, Total};
use crate::store::reconcile::{self, BatchLegs, StatementLine};
use crate::store::{Scope, party};

/// Batches compared in one go.
const BATCHES_PAGE: i64 = 1_000;
/// Completed payrolls looked at after a provider's files were read.
const PAYROLLS_MAX: i64 = 1_000;

/// One payroll from three sides.
#[derive(Debug, Clone)]
pub struct Reconciliation {
    /// The payroll.
    pub payroll: PayrollRow,
    /// All its batches; those of a provider without statements count as booked by its word.
    pub batches: Vec<BatchLegs>,
    /// All of them added up.
    pub total: Legs,
    /// What does not agree, each with a stable name.
    pub differences: Vec<(&'static str, Sum)>,
    /// Exceptions on it that nobody has decided.
    pub exceptions: i64,
}

impl Reconciliation {
    /// Whether nothing differs and nothing is open.
    pub fn is_even(&self) -> bool {
        self.differences.is_empty() && self.exceptions == 0
    }
}

impl Engine {
    /// A payroll of the tenant from three sides.
    pub async fn reconciliation(&self, scope: &Scope, id: Id<Payroll>) -> Outcome<Reconciliation> {
        let mut tx = self.store.read().await?;
        let Some(row) = payroll::get(&mut tx, scope, id).await? else { return no_payroll(id) };
        Ok(self.compare(&mut tx, row).await?)
    }

    /// Statements above a number, of one provider or of all, with how much of each was matched.
    pub async fn statements(&self, provider: Option<&str>, above: i64, limit: i64) -> Result<Vec<StatementLine>> {
        reconcile::statements(&mut self.store.read().await?, provider, above, limit).await
    }

    /// Files that providers left, above a number; of one provider or of all.
    pub async fn files(&self, provider: Option<&str>, above: i64, limit: i64) -> Result<Vec<FileRow>> {
        file::list(&mut self.store.read().await?, provider, above, limit).await
    }

    /// A part of a file as it came; `None` after the last.
    pub async fn file_part(&self, id: Id<File>, position: i64) -> Result<Option<Vec<u8>>> {
        file::part(&self.store, id, position).await
    }

    pub(super) async fn compare(&self, tx: &mut Tx, row: PayrollRow) -> Result<Reconciliation> {
        let (mut batches, mut above) = (Vec::new(), 0);
        loop {
            let page = reconcile::batches(tx, row.id, above, BATCHES_PAGE).await?;
            let Some(last) = page.last() else { break };
            above = last.id.number();
            batches.extend(page);
        }
        for batch in &mut batches {
            if !self.has_statements(&batch.provider) {
                batch.legs = batch.legs.by_its_word();
            }
        }
        let total = batches.iter().fold(Legs::default(), |all, batch| all.and(batch.legs));
        // Added up, a debit too many of one batch could hide one that is missing in another.
        let mut differences: Vec<(&'static str, Sum)> = Vec::new();
        for (name, sum) in batches.iter().flat_map(|batch| batch.legs.differences()) {
            match differences.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => *all = Sum::new(all.payments + sum.payments, all.minor + sum.minor),
                None => differences.push((name, sum)),
            }
        }
        let exceptions = reconcile::open_exceptions(tx, row.id).await?;
        Ok(Reconciliation { payroll: row, batches, total, differences, exceptions })
    }

    /// Whether a provider's statements show each payment. One that is configured no more gives none.
    pub fn has_statements(&self, provider: &str) -> bool {
        self.provider(provider).is_ok_and(|provider| provider.connector.profile().statements)
    }

    /// Moves the completed payrolls that were paid through a provider to reconciled, where nothing differs.
    pub(super) async fn reconcile_completed(&self, provider: &str) -> Result<()> {
        let mut tx = self.store.read().await?;
        let completed = reconcile::completed(&mut tx, provider, PAYROLLS_MAX).await?;
        drop(tx);
        for id in completed {
            self.reconcile_payroll(id).await?;
        }
        Ok(())
    }

    async fn reconcile_payroll(&self, id: Id<Payroll>) -> Result<()> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let mut tx = self.store.begin().await?;
        let row = payroll::lock(&mut tx, id).await?;
        let Some(to) = row.state.step(PayrollMove::Reconcile) else { return Ok(()) };
        let found = self.compare(&mut tx, row).await?;
        if !found.is_even() {
            return Ok(());
        }
        payroll::set_state(&mut tx, id, found.payroll.state, to).await?;
        let total = Total { payments: found.total.instructed.payments, sum_minor: found.total.instructed.minor };
        let fact =
            Fact { event: "payroll.reconciled", subject: id.number(), actor: "engine", total, ..Fact::default() };
        let tenant = party::tenant_of(&mut tx, found.payroll.programme).await?;
        notes::journal(&mut tx, numbers.take()?, tenant, &fact, now).await?;
        tx.commit().await
    }
}
