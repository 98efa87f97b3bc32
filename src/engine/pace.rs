//! The pace of each provider: slots of its rate, a lane for each batch in hand, and rest for one that is not well.
//!
//! All of it is one row a provider in the database, so that it holds over all workers of all processes. Deliberately
//! not here: pauses by a person, which `said` asks for, and when a provider counts as unwell (`domain::pace`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use paymaster_connectors::contract::Failure;

use super::Engine;
use crate::domain::batch::wait;
use crate::domain::id::{Batch, Id};
use crate::domain::pace::{Entry, Health, Pace, Turn};
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::{notes, pace};

/// How late after its slot a payment may be written; a slot that was missed by more is left unused.
const LATE_MICROS_MAX: i64 = 39_000;
/// Slots stand for this much longer than a second in a second: payments that are as late as they may be, followed by
/// some that are not, then still are no more than the rate in any second. It costs 4 % of the rate.
const SECOND_OF_SLOTS_MICROS: i64 = 1_040_000;
/// Slots are reserved for at most this part of a second at once, for those who wait for one.
const LOTS_A_SECOND: i64 = 10;
/// Looks at the clock before a slot that does not come is given up.
const LOOKS_MAX: usize = 100;

/// How a provider stands, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderStanding {
    /// The provider.
    pub provider: String,
    /// Why a person or a rule stopped new sends.
    pub paused: Option<String>,
    /// Nothing begins before this instant, because the provider failed or asked for time.
    pub closed_until: Option<i64>,
    /// Failures in a row.
    pub failures: i64,
    /// Batches that workers have in hand.
    pub batches_in_hand: i64,
}

/// The slots that this process has reserved, by provider.
#[derive(Debug, Default)]
pub(super) struct Slots(Mutex<BTreeMap<String, Arc<Queue>>>);

/// Those who wait for a slot of one provider.
#[derive(Debug, Default)]
struct Queue {
    /// Payments that wait.
    waiting: AtomicI64,
    lot: tokio::sync::Mutex<Lot>,
}

/// `count` slots that share `width` microseconds from `first` on; `taken` of them are gone.
#[derive(Debug, Default)]
struct Lot {
    first: i64,
    width: i64,
    count: i64,
    taken: i64,
}

impl Lot {
    /// The next slot. Nobody multiplies past what fits: a lot is a second's tenth or one batch.
    fn next_at(&self) -> i64 {
        self.first.saturating_add(self.taken.saturating_mul(self.width) / self.count.max(1))
    }

    /// Whether `items` slots are left of it that have not passed.
    fn holds(&mut self, items: i64, now: i64) -> bool {
        while self.taken < self.count && self.next_at() + LATE_MICROS_MAX < now {
            self.taken += 1;
        }
        self.count - self.taken >= items
    }
}

/// Whoever waits is counted for as long as it does.
struct Waiting<'a>(&'a AtomicI64, i64);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicI64, items: i64) -> Self {
        count.fetch_add(items, Ordering::SeqCst);
        Self(count, items)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::SeqCst);
    }
}

impl Slots {
    fn of(&self, provider: &str) -> Arc<Queue> {
        let mut all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(all.entry(provider.to_owned()).or_default())
    }
}

/// Whether a slot has been missed.
pub(super) fn is_late(slot: i64, now: i64) -> bool {
    now > slot.saturating_add(LATE_MICROS_MAX)
}

/// How a provider is, by how a call to it ended. A doubt is a failure of the provider, whatever its payments are.
pub(super) fn health(done: &Result<(), Failure>, bounds: (i64, i64)) -> Health {
    match done {
        Ok(()) | Err(Failure::Refused(_)) => Health::Well,
        Err(Failure::Blocked(_)) => Health::Untold,
        Err(Failure::InDoubt(_)) => Health::Failed(None),
        Err(Failure::Unavailable { retry_after_seconds, .. }) => {
            Health::Failed(retry_after_seconds.map(|seconds| wait(Some(seconds), bounds, 0)))
        }
    }
}

impl Engine {
    /// Waits for `items` slots of a provider's rate, and returns the instant they are for; nothing, and no slot is
    /// taken, if that is more than `patience` microseconds away.
    pub(super) async fn slot(&self, provider: &str, rate: u32, items: u32, patience: i64) -> Result<Option<i64>> {
        let (rate, items, queue) = (i64::from(rate), i64::from(items.max(1)), self.slots.of(provider));
        let waiting = Waiting::new(&queue.waiting, items);
        let mut lot = queue.lot.lock().await;
        let now = self.clock.now();
        let latest = now.saturating_add(patience);
        if !lot.holds(items, now) {
            // As many as wait now, so that none is reserved that nobody uses.
            let count = queue.waiting.load(Ordering::SeqCst).clamp(items, items.max(rate / LOTS_A_SECOND));
            let width = (count.saturating_mul(SECOND_OF_SLOTS_MICROS) + rate - 1) / rate;
            let mut tx = self.store.begin().await?;
            let Some(first) = pace::reserve(&mut tx, provider, (now, latest), width).await? else { return Ok(None) };
            tx.commit().await?;
            *lot = Lot { first, width, count, taken: 0 };
        }
        let at = lot.next_at();
        if at > latest {
            return Ok(None);
        }
        lot.taken += items;
        drop(lot);
        drop(waiting);
        for _ in 0..LOOKS_MAX {
            match u64::try_from(at - self.clock.now()) {
                Ok(left) if left > 0 => tokio::time::sleep(Duration::from_micros(left)).await,
                _ => return Ok(Some(at)),
            }
        }
        Ok(None)
    }

    /// The last thing before the commit of a claim or of a question: saves the batch with its lease if its provider
    /// is open and a lane is free. Nothing otherwise; the caller then leaves its unit of work uncommitted.
    pub(super) async fn take_lane(&self, tx: &mut Tx, row: &BatchRow, now: i64) -> Result<Option<Turn>> {
        let lanes = i64::from(self.provider(&row.provider)?.connector.profile().batches_in_flight);
        let stands = pace::lock(tx, &row.provider).await?;
        let trial_until = match stands.entry(now) {
            Entry::Closed => return Ok(None),
            Entry::Open => None,
            // The others wait until this one has ended, or its worker is surely gone.
            Entry::Trial => Some(row.lease_until),
        };
        if let Some(closed_until) = trial_until {
            pace::save(tx, &row.provider, Pace { closed_until, ..stands }).await?;
        }
        let saved = batch::save_in_lane(tx, row, lanes.max(1), now).await?;
        Ok(saved.then_some(Turn { failures: stands.failures, trial_until }))
    }

    /// A batch could not begin: it stays due, and the next look for what is due may find it.
    pub(super) async fn wait_for_lane(&self, id: Id<Batch>) -> Result<()> {
        let mut tx = self.store.begin().await?;
        batch::untell(&mut tx, id).await?;
        tx.commit().await
    }

    /// Remembers how a provider is, where that changes anything. The last thing before the commit.
    pub(super) async fn remember(&self, tx: &mut Tx, provider: &str, turn: Turn, health: Health) -> Result<()> {
        let changes = turn.failures > 0 || turn.trial_until.is_some() || matches!(health, Health::Failed(_));
        if !changes {
            return Ok(());
        }
        let now = self.clock.now();
        let before = pace::lock(tx, provider).await?;
        let after = before.after(turn, health, now);
        pace::save(tx, provider, after).await?;
        if after.is_closed(now) && after.closed_until != before.closed_until {
            let millis = (after.closed_until - now) / 1_000;
            tracing::warn!(provider, failures = after.failures, millis, "the provider is left alone for a while");
        }
        if after.failures == 0 && before.entry(i64::MAX) == Entry::Trial {
            tracing::info!(provider, failures = before.failures, "the provider is well again");
        }
        Ok(())
    }

    /// How every configured provider stands.
    pub async fn provider_standings(&self) -> Result<Vec<ProviderStanding>> {
        let now = self.clock.now();
        let mut tx = self.store.read().await?;
        let (board, pauses) = (pace::board(&mut tx, now).await?, notes::pauses(&mut tx).await?);
        let standing = |provider: &super::Provider| {
            let (pace, batches_in_hand) = board.get(&provider.name).copied().unwrap_or_default();
            let code = notes::provider_pause(&provider.name);
            ProviderStanding {
                provider: provider.name.clone(),
                paused: pauses.iter().find(|(known, ..)| *known == code).map(|(_, reason, _)| reason.clone()),
                closed_until: pace.is_closed(now).then_some(pace.closed_until),
                failures: pace.failures,
                batches_in_hand,
            }
        };
        Ok(self.providers.iter().map(standing).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lot_hands_out_its_slots_evenly_and_skips_what_has_passed() {
        let mut lot = Lot { first: 1_000_000, width: 104_000, count: 10, taken: 0 };
        assert!(lot.holds(10, 0));
        assert_eq!(lot.next_at(), 1_000_000);
        lot.taken += 1;
        assert_eq!(lot.next_at(), 1_010_400);
        assert!(!lot.holds(10, 1_000_000));
        assert!(lot.holds(1, 1_060_000));
        assert_eq!(lot.next_at(), 1_031_200, "those before were missed");
        assert!(!lot.holds(1, 2_000_000));
    }
}
