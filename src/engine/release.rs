//! Release: reserve the money and let the batches go. Touches the payroll, its batches and the ledger, no row.

use super::approve::{not_own, owned, step};
use super::{Actor, Engine, Outcome, RefusedKind, refused};
use crate::domain::id::{Id, Payroll};
use crate::domain::payroll::{PayrollMove, PayrollState};
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::ledger::{self, Account, Entry};
use crate::store::notes::{self, Fact};
use crate::store::payroll::{self, PayrollRow, Total};
use crate::store::seal::sha256;

/// Batches read at once when a payroll's content is hashed.
const BATCHES_PAGE: i64 = 1_000;

impl Engine {
    /// Reserves a payroll's money and makes its batches due. The content must be what was approved.
    pub async fn release_payroll(&self, actor: &Actor, id: Id<Payroll>) -> Outcome<PayrollState> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(2, now).await?;
        let mut tx = self.store.begin().await?;
        let row = owned(&mut tx, actor, id).await?;
        not_own(actor, &row)?;
        let to = step(&row, PayrollMove::Release)?;
        let (content_hash, total) = content(&mut tx, id).await?;
        check_approval(&mut tx, &row, &content_hash).await?;
        let available = ledger::available(&mut tx, row.programme).await?;
        if available < total.sum_minor {
            let text = format!(
                "{} minor units are needed and {available} are available; fund the programme first",
                total.sum_minor
            );
            return refused(RefusedKind::Conflict, "funds_short", text);
        }
        if total.sum_minor > 0 {
            let entry = Entry {
                programme: row.programme,
                currency: row.currency,
                provider: "",
                debit: Account::Reserved,
                credit: Account::Available,
                amount_minor: total.sum_minor,
                payroll: Some(id.number()),
                batch: None,
                evidence: None,
            };
            ledger::post(&mut tx, numbers.take()?, &entry, now).await?;
        }
        payroll::set_state(&mut tx, id, row.state, to).await?;
        payroll::set_released_at(&mut tx, id, now).await?;
        batch::make_due(&mut tx, id, first_due(row.pay_on.as_deref(), now)).await?;
        let list_hash = Some(content_hash.as_slice());
        let fact = Fact {
            event: "payroll.released",
            subject: id.number(),
            actor: &actor.person,
            total,
            list_hash,
            ..Fact::default()
        };
        notes::journal(&mut tx, numbers.take()?, row.tenant, &fact, now).await?;
        tx.commit().await?;
        Ok(to)
    }
}

/// When the batches may leave: at once, or when the day to be paid on begins (UTC).
pub(super) fn first_due(pay_on: Option<&str>, now: i64) -> i64 {
    let day = pay_on.and_then(|day| day.parse::<chrono::NaiveDate>().ok());
    let begins = day.and_then(|day| day.and_hms_opt(0, 0, 0)).map(|begins| begins.and_utc().timestamp_micros());
    begins.unwrap_or(now).max(now)
}

async fn check_approval(tx: &mut Tx, row: &PayrollRow, content_hash: &[u8]) -> Outcome<()> {
    let approved = payroll::approval(tx, row.id).await?;
    let holds = approved.is_some_and(|(_, decision, hash)| decision == "approved" && hash == content_hash);
    if !holds || row.content_hash.as_deref() != Some(content_hash) {
        let text = "what would be paid is not what was approved; recall it and have it approved again";
        return refused(RefusedKind::Conflict, "content_changed", text);
    }
    Ok(())
}

/// The hash that an approval binds, and the totals, computed from the stored batches.
pub(super) async fn content(tx: &mut Tx, id: Id<Payroll>) -> anyhow::Result<(Vec<u8>, Total)> {
    let (mut bytes, mut total, mut above) = (Vec::new(), Total::default(), 0);
    loop {
        let page = batch::of_payroll(tx, id, above, BATCHES_PAGE).await?;
        for row in &page {
            bytes.extend_from_slice(&batch_content(row));
            total = total.and(row.total).ok_or_else(|| anyhow::anyhow!("the payroll's sum is too large"))?;
            above = row.id.number();
        }
        if page.is_empty() {
            return Ok((sha256(&bytes).to_vec(), total));
        }
    }
}

fn batch_content(row: &BatchRow) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(row.content_hash.len() + 64);
    bytes.extend_from_slice(&row.id.number().to_be_bytes());
    bytes.extend_from_slice(&row.total.payments.to_be_bytes());
    bytes.extend_from_slice(&row.total.sum_minor.to_be_bytes());
    bytes.extend_from_slice(row.provider.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&row.content_hash);
    bytes
}
