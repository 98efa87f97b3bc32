//! The suite's ear and its gate. Every message is checked as evidence when it is said.
//! Deliberately not here: what the reports come to (`run`).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use async_trait::async_trait;
use paymaster_connectors::contract::{
    About, Failure, Gate, Message, Outcome, Reason, ReasonClass, Reference, Report, Said,
};

use super::connector::CANARY;

/// A message and its reports.
pub type Spoken = (Message, Vec<Report>);

/// Remembers everything that is said.
#[derive(Default)]
pub struct Heard(Vec<Spoken>);

#[async_trait]
impl Said for Heard {
    async fn say(&mut self, message: Message, reports: Vec<Report>) -> anyhow::Result<()> {
        assert!(reports.is_empty() || !message.bytes.is_empty(), "reports without evidence: {message:?} {reports:?}");
        assert!(!message.origin.is_empty(), "evidence from nowhere: {message:?}");
        let seen = format!("{} {} {reports:?}", message.origin, String::from_utf8_lossy(&message.bytes));
        assert!(!seen.contains(CANARY), "a credential in evidence: {seen}");
        self.0.push((message, reports));
        Ok(())
    }
}

/// What one call came to.
pub struct Told {
    pub done: Result<(), Failure>,
    pub spoken: Vec<Spoken>,
}

impl Told {
    /// Takes the result of a call and what was heard meanwhile.
    pub fn new(done: Result<(), Failure>, heard: Heard) -> Self {
        let text = format!("{done:?}");
        assert!(!text.contains(CANARY), "a credential in an error: {text}");
        Self { done, spoken: heard.0 }
    }

    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.spoken.iter().flat_map(|(_, reports)| reports)
    }

    /// Reports on a row of its own or on the whole batch.
    pub fn on(&self, reference: Reference) -> impl Iterator<Item = &Report> {
        self.reports().filter(move |report| matches!(report.about, About::Batch) || is_on(report, reference))
    }

    pub fn speaks_of_rows(&self) -> bool {
        self.reports().any(|report| matches!(report.about, About::Instruction(_)))
    }

    /// Whether a row was reported as never begun.
    pub fn not_sent(&self, reference: Reference) -> bool {
        self.on(reference).any(|report| matches!(report.outcome, Outcome::NotSent(_)))
    }

    /// Reports that say how it ended.
    pub fn ends(&self) -> Vec<&Report> {
        self.reports().filter(|report| is_end(report)).collect()
    }

    /// Fails unless the call failed because the provider, or our own gate, could not take it.
    pub fn is_unavailable(&self) {
        assert!(matches!(self.done, Err(Failure::Unavailable { .. })), "{:?}", self.done);
    }
}

fn is_on(report: &Report, reference: Reference) -> bool {
    report.about == About::Instruction(reference)
}

/// Whether a report says how a payment ended.
pub fn is_end(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Settled | Outcome::Rejected(_) | Outcome::Returned(_))
}

/// Counts what passes, and lets so many payments pass as it was told.
pub struct Door {
    left: AtomicU32,
    passes: AtomicU64,
    items: AtomicU64,
}

impl Door {
    /// Lets everything pass.
    pub fn open() -> Self {
        Self { left: AtomicU32::new(u32::MAX), passes: AtomicU64::new(0), items: AtomicU64::new(0) }
    }

    /// Lets so many more payments pass; none is shut.
    pub fn leave(&self, left: u32) {
        self.left.store(left, Ordering::SeqCst);
    }

    /// Passes so far.
    pub fn passes(&self) -> u64 {
        self.passes.load(Ordering::SeqCst)
    }

    /// Payments that passed so far.
    pub fn items(&self) -> u64 {
        self.items.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Gate for Door {
    async fn pass(&self, items: u32) -> Result<(), Failure> {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(items));
        if taken.is_err() {
            let reason = Reason::new(ReasonClass::NotExecuted, "paused", "the gate is shut");
            return Err(Failure::Unavailable { reason, retry_after_seconds: None });
        }
        self.passes.fetch_add(1, Ordering::SeqCst);
        self.items.fetch_add(u64::from(items), Ordering::SeqCst);
        Ok(())
    }
}
