//! The engine's ear and its gate: what a connector hears is applied in flushes, and nothing is written to a
//! provider without a live lease and leave to send.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use paymaster_connectors::contract::{Failure, Gate, Message, Reason, ReasonClass, Report, Said};

use super::Engine;
use super::apply::{Applied, Facts, Spoken};
use crate::domain::guard::Guard;
use crate::domain::id::{Batch, Id, Payroll, Programme};
use crate::store::{batch, notes};

/// Reports applied in one unit of work.
const FLUSH_REPORTS_MAX: usize = 5_000;
/// Longest time something heard waits to be applied.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// Longest time a pause goes unnoticed.
const PAUSE_NOTICED_WITHIN: Duration = Duration::from_millis(500);

/// A worker's hold on one batch.
pub(super) struct Hold {
    /// The claim's number; another claim has another.
    pub epoch: i64,
    deadline: Mutex<Instant>,
    length: Duration,
}

impl Hold {
    /// A hold that began at `began`, before the claim was written.
    pub fn new(epoch: i64, began: Instant, lease_micros: i64) -> Self {
        let length = Duration::from_micros(u64::try_from(lease_micros).unwrap_or(0));
        Self { epoch, deadline: Mutex::new(began + length), length }
    }

    fn renew(&self, began: Instant) {
        if let Ok(mut deadline) = self.deadline.lock() {
            *deadline = began + self.length;
        }
    }

    fn left(&self, now: Instant) -> Duration {
        self.deadline.lock().map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(now))
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
    flushed_at: Instant,
    /// What all flushes together came to.
    pub applied: Applied,
    /// Whether any report on a single instruction was heard.
    pub spoke_of_rows: bool,
    /// The last message, for a failure that refers to it.
    pub last: Option<Message>,
}

impl<'a> Ear<'a> {
    pub fn new(engine: &'a Engine, batch: Id<Batch>, facts: &'a Facts, hold: &'a Hold) -> Self {
        let flushed_at = engine.clock.monotonic();
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
        let began = self.engine.clock.monotonic();
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
        let late = self.engine.clock.monotonic().duration_since(self.flushed_at) >= FLUSH_AFTER;
        if self.reports >= FLUSH_REPORTS_MAX || late { self.flush().await } else { Ok(()) }
    }
}

/// Lets a write pass while the lease lives and nothing is paused.
pub(super) struct EngineGate<'a> {
    pub engine: &'a Engine,
    pub hold: &'a Hold,
    pub batch: Id<Batch>,
    pub payroll: Id<Payroll>,
    pub programme: Id<Programme>,
    pub provider: &'a str,
    pub asked_at: tokio::sync::Mutex<Option<Instant>>,
}

#[async_trait]
impl Gate for EngineGate<'_> {
    async fn pass(&self, _items: u32) -> Result<(), Failure> {
        let closed = |code: &str, text: &str| {
            Err(Failure::Unavailable {
                reason: Reason::new(ReasonClass::NotExecuted, code, text),
                retry_after_seconds: None,
            })
        };
        let mut asked_at = self.asked_at.lock().await;
        let now = self.engine.clock.monotonic();
        if asked_at.is_none_or(|asked_at| now.duration_since(asked_at) >= PAUSE_NOTICED_WITHIN) {
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
        }
        drop(asked_at);
        // The lease is looked at last, right before the write.
        let margin = Duration::from_micros(u64::try_from(self.engine.lease.margin_micros).unwrap_or(u64::MAX));
        let left = self.hold.left(self.engine.clock.monotonic());
        if left < margin && Guard::LeaseBeforeWrite.stands() {
            return closed("lease", "too little of the worker's lease is left to send safely");
        }
        Ok(())
    }
}
