//! Asks a provider what became of a batch, and decides what an answer of "I don't have it" leads to.

use anyhow::{Context, Result};
use paymaster_connectors::contract::{self, Failure, Profile};

use super::Engine;
use super::pace::health;
use super::said::{Ear, Hold};
use crate::domain::batch::{BatchState, effective, may_resend, wait};
use crate::domain::disbursement::State;
use crate::domain::id::{Batch, Id};
use crate::store::batch::{self, BatchRow};
use crate::store::disbursement;
use crate::store::notes;

impl Engine {
    /// Asks about the open rows of a batch. Never moves money by itself.
    pub(super) async fn inquire_batch(&self, id: Id<Batch>) -> Result<()> {
        let asks = |row: &BatchRow| matches!(row.state, BatchState::Accepted | BatchState::InDoubt);
        let Some((row, outgoing, hold)) = self.begin_asking(id, asks).await? else { return Ok(()) };
        let facts = outgoing.instructions.as_slice();
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
        let absent = self.inquired(id, &hold, absent, asked).await?;
        if absent.is_empty() { Ok(()) } else { self.resend_batch(id, &absent).await }
    }

    /// Takes a batch in hand for a question, if `asks` says that it is one to ask about and its provider has a lane.
    pub(super) async fn begin_asking(
        &self,
        id: Id<Batch>,
        asks: impl Fn(&BatchRow) -> bool,
    ) -> Result<Option<(BatchRow, contract::Batch, Hold)>> {
        let began = self.clock.moment();
        let now = began.date;
        let mut tx = self.store.begin().await?;
        let Some(mut row) = batch::lock(&mut tx, id).await? else { return Ok(None) };
        if !asks(&row) || row.lease_until > now {
            return Ok(None);
        }
        row.epoch += 1;
        row.lease_until = now + self.lease.lease_micros;
        let mut open = disbursement::members(&mut tx, id, row.numbers).await?;
        let is_asked = |state: State| state.is_in_flight() || state == State::Queued;
        open.retain(|member| is_asked(effective(member.state, row.state)));
        let outgoing = self.outgoing(&mut tx, &row, open).await?;
        let Some(turn) = self.take_lane(&mut tx, &row, now).await? else {
            drop(tx);
            self.wait_for_lane(id).await?;
            return Ok(None);
        };
        tx.commit().await?;
        let hold = Hold::new(row.epoch, turn, began, self.lease.lease_micros);
        Ok(Some((row, outgoing, hold)))
    }

    /// Ends an inquiry; returns what may be sent again now.
    async fn inquired(
        &self,
        id: Id<Batch>,
        hold: &Hold,
        absent: Vec<i64>,
        asked: Result<(), Failure>,
    ) -> Result<Vec<i64>> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let mut row = batch::lock(&mut tx, id).await?.context("the batch is gone")?;
        if row.epoch != hold.epoch {
            return Ok(Vec::new());
        }
        let profile = self.provider(&row.provider)?.connector.profile();
        self.ask_again(&mut row, &asked, now)?;
        let stopped = notes::is_stopped(&mut tx, row.payroll, &row.provider, row.programme).await?;
        let again = row.state == BatchState::InDoubt && !stopped && may_resend(profile, row.first_copy_at, now);
        batch::save(&mut tx, &row).await?;
        self.remember(&mut tx, &row.provider, hold.turn, health(&asked, inquiry_bounds(profile)?)).await?;
        tx.commit().await?;
        Ok(if again { absent } else { Vec::new() })
    }

    /// Lets go of a batch, and makes it due for the next question where it is not at its end.
    pub(super) fn ask_again(&self, row: &mut BatchRow, asked: &Result<(), Failure>, now: i64) -> Result<()> {
        row.lease_until = 0;
        if row.state != BatchState::Completed {
            let bounds = inquiry_bounds(self.provider(&row.provider)?.connector.profile())?;
            let wanted = match asked {
                Err(Failure::Unavailable { retry_after_seconds, .. }) => *retry_after_seconds,
                _ => None,
            };
            row.due_at = Some(now + wait(wanted, bounds, row.attempts));
            row.attempts += 1;
        }
        Ok(())
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

/// The shortest and the longest pause between two questions.
pub(super) fn inquiry_bounds(profile: &Profile) -> Result<(i64, i64)> {
    Ok((i64::try_from(profile.inquire_every.as_micros())?, i64::try_from(profile.inquire_every_max.as_micros())?))
}
