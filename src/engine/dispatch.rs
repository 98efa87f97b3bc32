//! What is due and has no worker, and doing it: the one way a job becomes a verb.

use anyhow::Result;

use super::Engine;
use crate::domain::batch::{Action, Standing, next};
use crate::domain::id::{Batch, Id, Publication};
use crate::store::{batch, notes, publication};

/// Told of a batch or message, a worker should have come to it within this time; else it is told again.
const NUDGE_AGAIN_MICROS: i64 = 15_000_000;
/// Most of each kind told at once.
const NUDGES_MAX: i64 = 500;

/// Things that are due, by number.
#[derive(Debug, Default)]
pub struct Due {
    /// Batches to drive.
    pub batches: Vec<i64>,
    /// Messages to send to the registry.
    pub publications: Vec<i64>,
}

impl Engine {
    /// What is due for this process's providers and registry, and nobody was told of lately. Whoever asks must tell.
    pub async fn due(&self) -> Result<Due> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let providers: Vec<&str> = self.providers.iter().map(|provider| provider.name.as_str()).collect();
        let (mut batches, mut publications) = (Vec::new(), Vec::new());
        if !providers.is_empty() {
            batches = batch::nudge(&mut tx, &providers, (now, now - NUDGE_AGAIN_MICROS), NUDGES_MAX).await?;
        }
        if self.registry.is_some() {
            publications = publication::nudge(&mut tx, now, now - NUDGE_AGAIN_MICROS, NUDGES_MAX).await?;
        }
        tx.commit().await?;
        Ok(Due { batches, publications })
    }

    /// Does what is due for a batch. Nothing due is success, so that it may be called any number of times.
    pub async fn drive(&self, id: Id<Batch>) -> Result<()> {
        let now = self.clock.now();
        let mut tx = self.store.read().await?;
        let Some(row) = batch::get_any(&mut tx, id).await? else { return Ok(()) };
        let stopped = notes::is_stopped(&mut tx, row.payroll, &row.provider, row.programme).await?;
        drop(tx);
        let standing = Standing { state: row.state, lease_until: row.lease_until, due_at: row.due_at, stopped };
        match next(&standing, now) {
            Action::Submit => self.submit_batch(id).await,
            Action::Lose => self.lose_batch(id).await,
            Action::Inquire => self.inquire_batch(id).await,
            Action::Nothing => Ok(()),
        }
    }

    /// Sends a message to the registry if it is due.
    pub async fn tell(&self, id: Id<Publication>) -> Result<()> {
        self.publish(id).await
    }
}
