//! The engine's ear and its gate: what a connector hears is applied in flushes, and nothing is written to a
//! provider without a live lease and leave to send.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use paymaster_connectors::contract::{Failure, Gate, Message, Reason, ReasonClass, Report, Said};

use super::Engine;
use super::apply::{Applied, Facts, Spoken};
use super::pace::is_late;
use crate::clock::Moment;
use crate::domain::guard::Guard;
use crate::domain::id::{Batch, Id, Payroll, Programme};
use crate::domain::pace::Turn;
use crate::store::{batch, notes};

/// Reports applied in one unit of work.
const FLUSH_REPORTS_MAX: usize = 5_000;
/// Longest time something heard waits to be applied.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// Longest time a pause goes unnoticed.
const PAUSE_NOTICED_WITHIN: Duration = Duration::from_millis(500);
/// Slots of the provider's rate that one write may miss before it is left for another time.
const SLOTS_MISSED_MAX: usize = 20;

/// A worker's hold on one batch.
pub(super) struct Hold {
    /// The claim's number; another claim has another.
    pub epoch: i64,
    /// What it took along of the provider's pace.
    pub turn: Turn,
    began: Mutex<Moment>,
    length: Duration,
}

impl Hold {
    /// A hold that began at `began`, before the claim was written.
    pub fn new(epoch: i64, turn: Turn, began: Moment, lease_micros: i64) -> Self {
        let length = Duration::from_micros(u64::try_from(lease_micros).unwrap_or(0));
        Self { epoch, turn, began: Mutex::new(began), length }
    }

    fn renew(&self, again: Moment) {
        if let Ok(mut began) = self.began.lock() {
            *began = again;
        }
    }

    fn left(&self, now: Moment) -> Duration {
        self.began.lock().map_or(Duration::ZERO, |began| self.length.saturating_sub(now.since(*began)))
    }
}

/// Collects what is said about one batch and applies it.
pub(super) struct Ear<'a> {
    engine: &'a Engine,
    batch: Id<Batch>,
    facts: &'a Facts,
    hold: &'a Hold,
    heard: Vec<Spoken>,
    reports: usize,
    flushed_at: Moment,
    /// What all flushes together came to.
    pub applied: Applied,
    /// Whether any report on a single instruction was heard.
    pub spoke_of_rows: bool,
    /// The last message, for a failure that refers to it.
    pub last: Option<Message>,
}

impl<'a> Ear<'a> {
    pub fn new(engine: &'a Engine, batch: Id<Batch>, facts: &'a Facts, hold: &'a Hold) -> Self {
        let flushed_at = engine.clock.moment();
        Self {
            engine,
            batch,
            facts,
            hold,
            heard: Vec::new(),
            reports: 0,
            flushed_at,
            applied: Applied::default(),
            spoke_of_rows: false,
            last: None,
        }
    }

    /// Applies what was heard and not yet applied.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        let began = self.engine.clock.moment();
        if self.heard.is_empty() {
            return Ok(());
        }
        let heard = std::mem::take(&mut self.heard);
        let applied = self.engine.apply(self.batch, self.facts, &heard, Some(self.hold.epoch)).await?;
        self.hold.renew(began);
        self.applied.absent.extend(applied.absent);
        self.applied.not_sent.extend(applied.not_sent);
        self.applied.batch_absent |= applied.batch_absent;
        self.reports = 0;
        self.flushed_at = began;
        Ok(())
    }
}

#[async_trait]
impl Said for Ear<'_> {
    async fn say(&mut self, message: Message, reports: Vec<Report>) -> anyhow::Result<()> {
        use paymaster_connectors::contract::About;
        self.spoke_of_rows |= reports.iter().any(|report| matches!(report.about, About::Instruction(_)));
        self.last = Some(message.clone());
        self.reports += reports.len();
        self.heard.push((message, reports));
        let late = self.engine.clock.moment().since(self.flushed_at) >= FLUSH_AFTER;
        if self.reports >= FLUSH_REPORTS_MAX || late { self.flush().await } else { Ok(()) }
    }
}

/// Lets a write pass while the lease lives, nothing is paused, and the provider's rate allows it.
pub(super) struct EngineGate<'a> {
    pub engine: &'a Engine,
    pub hold: &'a Hold,
    pub batch: Id<Batch>,
    pub payroll: Id<Payroll>,
    pub programme: Id<Programme>,
    pub provider: &'a str,
    /// Payments a second, 0 for any number.
    pub rate: u32,
    pub asked_at: tokio::sync::Mutex<Option<Moment>>,
    /// It let something not pass: what the send came to says nothing about the provider.
    pub refused: AtomicBool,
}

#[async_trait]
impl Gate for EngineGate<'_> {
    async fn pass(&self, items: u32) -> Result<(), Failure> {
        let passed = self.leave(items).await;
        if passed.is_err() {
            self.refused.store(true, Ordering::SeqCst);
        }
        passed
    }
}

impl EngineGate<'_> {
    async fn leave(&self, items: u32) -> Result<(), Failure> {
        for _ in 0..SLOTS_MISSED_MAX {
            let slot = self.slot(items).await?;
            self.ask().await?;
            if slot.is_some_and(|slot| is_late(slot, self.engine.clock.now())) {
                continue;
            }
            // The lease is looked at last, right before the write.
            return match self.patience() {
                None if Guard::LeaseBeforeWrite.stands() => {
                    closed("lease", "too little of the worker's lease is left to send safely")
                }
                _ => Ok(()),
            };
        }
        closed("rate", "the slots of the provider's rate were missed again and again")
    }

    /// Waits for the write's slot, if the provider has a rate.
    async fn slot(&self, items: u32) -> Result<Option<i64>, Failure> {
        if self.rate == 0 {
            return Ok(None);
        }
        let patience = self.patience().map_or(0, |left| i64::try_from(left.as_micros()).unwrap_or(i64::MAX));
        match self.engine.slot(self.provider, self.rate, items, patience).await {
            Ok(Some(slot)) => Ok(Some(slot)),
            Ok(None) => closed("rate", "the provider's rate leaves no slot within the worker's lease"),
            Err(_) => closed("store", "the database cannot say when the provider's rate allows it"),
        }
    }

    /// How long a write may be put off; nothing when too little of the lease is left for any.
    fn patience(&self) -> Option<Duration> {
        let margin = Duration::from_micros(u64::try_from(self.engine.lease.margin_micros).unwrap_or(u64::MAX));
        self.hold.left(self.engine.clock.moment()).checked_sub(margin)
    }

    /// Whether the batch is still ours and may be sent, unless that was asked a moment ago.
    async fn ask(&self) -> Result<(), Failure> {
        let mut asked_at = self.asked_at.lock().await;
        let now = self.engine.clock.moment();
        if asked_at.is_some_and(|asked_at| now.since(asked_at) < PAUSE_NOTICED_WITHIN) {
            return Ok(());
        }
        let asked = async {
            let mut tx = self.engine.store.read().await?;
            let ours = batch::get_any(&mut tx, self.batch).await?.is_some_and(|row| row.epoch == self.hold.epoch);
            let stopped = notes::is_stopped(&mut tx, self.payroll, self.provider, self.programme).await?;
            anyhow::Ok((ours, stopped))
        };
        match asked.await {
            Ok((ours, false)) if ours || !Guard::LeaseBeforeWrite.stands() => *asked_at = Some(now),
            // A clock that was set forward ends leases early: by ours we would still be at it.
            Ok((false, _)) => return closed("lease", "another worker has taken the batch"),
            Ok((true, _)) => return closed("paused", "sending is paused"),
            Err(_) => return closed("store", "the database cannot say whether sending is paused"),
        }
        Ok(())
    }
}

/// Not now, and nothing was written.
fn closed<T>(code: &str, text: &str) -> Result<T, Failure> {
    let reason = Reason::new(ReasonClass::NotExecuted, code, text);
    Err(Failure::Unavailable { reason, retry_after_seconds: None })
}
