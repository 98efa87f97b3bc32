//! Tells the registry what became of payments: at least once, in order per batch, the same bytes each time.

use anyhow::{Context, Result};
use paymaster_connectors::contract::{Currency, Failure, Money};
use paymaster_connectors::registry::{self, Envelope, Outcome, Status};

use super::Engine;
use super::intake::Payee;
use crate::domain::batch::wait;
use crate::domain::disbursement::State;
use crate::domain::id::{Id, Publication};
use crate::store::publication::{self, Item, PublicationRow};
use crate::store::seal::sha256;
use crate::store::{Scope, party};

/// Pause before the second try, and the longest.
const RETRY_MICROS: (i64, i64) = (1_000_000, 3_600_000_000);
/// Tries before a message is laid aside for a person; with these pauses, about a week.
const ATTEMPTS_MAX: i64 = 180;
/// Longest reason of a failed try that is kept.
const ERROR_CHARS_MAX: usize = 300;

impl Engine {
    /// Sends one message if it is due and all before it of its batch are acknowledged.
    pub(super) async fn publish(&self, id: Id<Publication>) -> Result<()> {
        let Some(told_to) = &self.registry else { return Ok(()) };
        let now = self.clock.now();
        // A message of a worker that died is another's after the same time as a batch; told twice, it is the same.
        let lease_until = now + self.lease.lease_micros;
        let mut tx = self.store.begin().await?;
        let Some(row) = publication::claim(&mut tx, id, now, lease_until).await? else { return Ok(()) };
        let items = publication::items(&mut tx, &row).await?;
        let currency = party::programme_by_id(&mut tx, row.programme).await?.currency;
        tx.commit().await?;
        anyhow::ensure!(i64::try_from(items.len())? == row.items, "message {id} no longer holds what it was made of");
        let currency = Currency::parse(&currency).context("a stored currency is unknown")?;
        let body = self.message(&row, &items, currency, told_to.settings())?;
        let told = told_to.publish(&body).await;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        match told {
            Ok(_) => publication::acknowledge(&mut tx, id, &sha256(&body), now).await?,
            Err(failure) => {
                let (error, due_at) = self.failed(&row, &failure, now);
                publication::fail(&mut tx, id, &error, due_at).await?;
            }
        }
        tx.commit().await
    }

    fn failed(&self, row: &PublicationRow, failure: &Failure, now: i64) -> (String, Option<i64>) {
        let error: String = failure.to_string().chars().take(ERROR_CHARS_MAX).collect();
        let asked = match failure {
            Failure::Unavailable { retry_after_seconds, .. } => *retry_after_seconds,
            _ => None,
        };
        let wait = wait(asked, RETRY_MICROS, row.attempts - 1);
        let dead = row.attempts >= ATTEMPTS_MAX || matches!(failure, Failure::Refused(_));
        if dead {
            tracing::error!(publication.id = %row.id, error, "the registry does not take a message; it waits for a person");
        } else {
            tracing::warn!(publication.id = %row.id, error, "the registry did not take a message yet");
        }
        (error, (!dead).then_some(now + wait))
    }

    /// The message, a function of stored facts alone, so that a repeat is the same bytes.
    fn message(
        &self,
        row: &PublicationRow,
        items: &[Item],
        currency: Currency,
        settings: &registry::Settings,
    ) -> Result<Vec<u8>> {
        let outcomes: Result<Vec<Outcome>> = items.iter().map(|item| self.outcome(row, item, currency)).collect();
        let count = u64::try_from(items.len())?;
        let envelope = Envelope {
            message_id: row.id.to_string(),
            timestamp_micros: row.created_at,
            payroll: row.payroll.to_string(),
            status: Status::Succ,
            sender_id: settings.sender_id.clone(),
            receiver_id: settings.receiver_id.clone(),
            total_count: count,
            completed_count: count,
        };
        Ok(registry::on_disburse(&envelope, &outcomes?)?)
    }

    fn outcome(&self, row: &PublicationRow, item: &Item, currency: Currency) -> Result<Outcome> {
        let payee = Payee::open(&self.store.keys, &item.sealed)?;
        // The message tells of the first end; that it came back later is told by a later one.
        let came_back_later = item.returned_by.is_some_and(|returned_by| returned_by != row.evidence);
        let settled = item.state == State::Settled || (item.state == State::Returned && came_back_later);
        let reason = match (&item.reason_code, &item.reason_sealed) {
            (Some(code), Some(sealed)) if !settled => {
                Some(format!("{code}: {}", String::from_utf8_lossy(&self.store.keys.open(sealed)?)))
            }
            _ => None,
        };
        let reference_id = if payee.instalment.is_empty() {
            payee.entitlement
        } else {
            format!("{}/{}", payee.entitlement, payee.instalment)
        };
        Ok(Outcome {
            reference_id,
            timestamp_micros: row.created_at,
            status: if settled { Status::Succ } else { Status::Rjct },
            reason_code: None,
            reason_text: reason,
            our_reference: self.reference(item.number).to_string(),
            amount: Money::new(item.amount_minor, currency),
            payer_fa: Some(self.payer_account.clone()),
            payee_fa: Some(payee.payee_account),
            payee_name: Some(payee.payee_name),
        })
    }

    /// Brings messages that were laid aside back; all of them, or one.
    pub async fn replay(&self, scope: &Scope, id: Option<Id<Publication>>) -> Result<u64> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let count = publication::replay(&mut tx, scope, id, now).await?;
        tx.commit().await?;
        Ok(count)
    }
}
