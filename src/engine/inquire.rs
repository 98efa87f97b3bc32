//! Asks a provider what became of a batch, and decides what an answer of "I don't have it" leads to.

use anyhow::{Context, Result};
use paymaster_connectors::contract::Failure;

use super::Engine;
use super::said::{Ear, Hold};
use crate::domain::batch::{BatchState, backoff, effective, may_resend};
use crate::domain::id::{Batch, Id};
use crate::store::batch;
use crate::store::disbursement;
use crate::store::notes;

impl Engine {
    /// Asks about the open rows of a batch. Never moves money by itself.
    pub(super) async fn inquire_batch(&self, id: Id<Batch>) -> Result<()> {
        let (began, now) = (self.clock.monotonic(), self.clock.now());
        let mut tx = self.store.begin().await?;
        let Some(mut row) = batch::lock(&mut tx, id).await? else { return Ok(()) };
        if !matches!(row.state, BatchState::Accepted | BatchState::InDoubt) || row.lease_until > now {
            return Ok(());
        }
        row.epoch += 1;
        row.lease_until = now + self.lease.lease_micros;
        batch::save(&mut tx, &row).await?;
        let mut open = disbursement::members(&mut tx, id, row.numbers).await?;
        open.retain(|member| effective(member.state, row.state).is_in_flight());
        let outgoing = self.outgoing(&mut tx, &row, open).await?;
        tx.commit().await?;

        let facts = outgoing.instructions.as_slice();
        let hold = Hold::new(row.epoch, began, self.lease.lease_micros);
        let mut ear = Ear::new(self, id, facts, &hold);
        let provider = self.provider(&row.provider)?;
        let asked = provider.connector.inquire(&outgoing, &mut ear).await;
        if let Err(failure) = &asked {
            tracing::warn!(batch.id = %id, provider = row.provider, failure = %failure, "asking did not end well");
        }
        ear.flush().await?;
        let absent = if ear.applied.batch_absent {
            facts.iter().map(|fact| fact.reference.number()).collect()
        } else {
            ear.applied.absent
        };
        let absent = self.inquired(id, &hold, absent, asked.err()).await?;
        if absent.is_empty() { Ok(()) } else { self.resend_batch(id, &absent).await }
    }

    /// Ends an inquiry; returns what may be sent again now.
    async fn inquired(
        &self,
        id: Id<Batch>,
        hold: &Hold,
        absent: Vec<i64>,
        failure: Option<Failure>,
    ) -> Result<Vec<i64>> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let mut row = batch::lock(&mut tx, id).await?.context("the batch is gone")?;
        if row.epoch != hold.epoch {
            return Ok(Vec::new());
        }
        row.lease_until = 0;
        let profile = self.provider(&row.provider)?.connector.profile();
        if row.state != BatchState::Completed {
            let every = i64::try_from(profile.inquire_every.as_micros())?;
            let most = i64::try_from(profile.inquire_every_max.as_micros())?;
            let wait = match failure {
                Some(Failure::Unavailable { retry_after_seconds: Some(seconds), .. }) => {
                    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000).clamp(every, most.max(every))
                }
                _ => backoff(every, most, row.attempts),
            };
            row.attempts += 1;
            row.due_at = Some(now + wait);
        }
        let stopped = notes::is_stopped(&mut tx, row.payroll, &row.provider, row.programme).await?;
        let again = row.state == BatchState::InDoubt && !stopped && may_resend(profile, row.first_copy_at, now);
        batch::save(&mut tx, &row).await?;
        tx.commit().await?;
        Ok(if again { absent } else { Vec::new() })
    }

    /// The worker that had the intent is gone: from now on its batch is in doubt, and is asked about at once.
    pub(super) async fn lose_batch(&self, id: Id<Batch>) -> Result<()> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let Some(mut row) = batch::lock(&mut tx, id).await? else { return Ok(()) };
        if row.state != BatchState::Transmitting || row.lease_until > now {
            return Ok(());
        }
        row.state = BatchState::InDoubt;
        // Its last write may have begun just before its lease ended.
        self.fence(&mut row, now, 0)?;
        row.epoch += 1;
        row.lease_until = 0;
        row.attempts = 0;
        row.due_at = Some(now);
        batch::save(&mut tx, &row).await?;
        tx.commit().await?;
        tracing::warn!(batch.id = %id, "a worker vanished while sending; the batch is in doubt");
        self.inquire_batch(id).await
    }
}
