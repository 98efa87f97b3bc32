//! What is due and has no worker, and doing it: the one way a job becomes a verb.

use anyhow::Result;

use super::Engine;
use crate::domain::batch::{Action, Standing, next};
use crate::domain::id::{Batch, Id, Publication};
use crate::domain::pace::Entry;
use crate::store::{batch, pace, publication};

/// Told of a batch or message, a worker should have come to it within this time; else it is told again.
const NUDGE_AGAIN_MICROS: i64 = 15_000_000;
/// Most told at once of each provider, and of the registry.
const NUDGES_MAX: i64 = 500;
/// Batches told at once for each lane of a provider that is free. Too few leave lanes idle until the next look, too
/// many are told in vain while a lane is taken.
const NUDGES_A_LANE: i64 = 8;

/// Things that are due, by number.
#[derive(Debug, Default)]
pub struct Due {
    /// Batches to drive.
    pub batches: Vec<i64>,
    /// Messages to send to the registry.
    pub publications: Vec<i64>,
    /// Mailboxes to look into.
    pub mailboxes: Vec<i64>,
}

impl Engine {
    /// What is due for this process's providers and registry, and nobody was told of lately. Whoever asks must tell.
    pub async fn due(&self) -> Result<Due> {
        let now = self.clock.now();
        let times = (now, now - NUDGE_AGAIN_MICROS);
        let mut tx = self.store.begin().await?;
        let (mut batches, mut publications) = (Vec::new(), Vec::new());
        let board = pace::board(&mut tx, now).await?;
        for provider in &self.providers {
            let (pace, in_hand) = board.get(&provider.name).copied().unwrap_or_default();
            let lanes = provider.lanes() - in_hand;
            let places = match pace.entry(now) {
                Entry::Closed => 0,
                Entry::Trial => lanes.clamp(0, 1),
                Entry::Open => lanes.saturating_mul(NUDGES_A_LANE).clamp(0, NUDGES_MAX),
            };
            if places > 0 {
                batches.extend(batch::nudge(&mut tx, &provider.name, times, places).await?);
            }
        }
        if self.registry.is_some() {
            publications = publication::nudge(&mut tx, times.0, times.1, NUDGES_MAX).await?;
        }
        let mailboxes = self.due_mailboxes(&mut tx, times).await?;
        tx.commit().await?;
        batches.sort_unstable();
        Ok(Due { batches: batches.into_iter().map(|told| told.number).collect(), publications, mailboxes })
    }

    /// Does what is due for a batch. Nothing due is success, so that it may be called any number of times.
    pub async fn drive(&self, id: Id<Batch>) -> Result<()> {
        let now = self.clock.now();
        let mut tx = self.store.read().await?;
        let Some(row) = batch::get_any(&mut tx, id).await? else { return Ok(()) };
        let way = pace::way(&mut tx, &row, now).await?;
        drop(tx);
        let standing = Standing {
            state: row.state,
            lease_until: row.lease_until,
            due_at: row.due_at,
            stopped: way.stopped,
            ask_first: row.ask_first_at.is_some(),
        };
        let action = next(&standing, now);
        if matches!(action, Action::Submit | Action::AskFirst | Action::Inquire) {
            // Looked at without a lock, to spare work; it is looked at again where it counts.
            if way.in_hand >= self.provider(&row.provider)?.lanes() || way.pace.is_closed(now) {
                return self.wait_for_lane(id).await;
            }
        }
        match action {
            Action::Submit => self.submit_batch(id).await,
            Action::AskFirst => self.ask_first(id).await,
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
