//! Jobs by apalis, on the engine's own database: a job names an id and carries nothing else.
//!
//! The row is the truth and the job a nudge. A job that is lost is found by the sweep, one that runs twice finds
//! nothing due the second time; exclusivity is the batch's lease, never the queue's. Deliberately not here:
//! retries (the queue's never repeats a payment) and any rule.

mod queue;
mod tick;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use crate::engine::Engine;

pub use queue::migrate;

/// How a worker process works.
#[derive(Debug, Clone, Copy)]
pub struct WorkTerms {
    /// Batches this process drives at once.
    pub batches: usize,
    /// Messages to the registry this process sends at once.
    pub publications: usize,
    /// How often what is due is looked for.
    pub sweep: Duration,
    /// How often the queue is looked at.
    pub poll: Duration,
}

impl Default for WorkTerms {
    fn default() -> Self {
        Self { batches: 4, publications: 2, sweep: Duration::from_millis(500), poll: Duration::from_millis(100) }
    }
}

/// How often dead intakes and done jobs are cleared away, and doubts that are too old are told.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Works until `stop` says so; what is under way then is finished first.
pub async fn run(engine: Arc<Engine>, terms: WorkTerms, stop: watch::Receiver<bool>) -> Result<()> {
    let sweeping = tokio::spawn(sweep(engine.clone(), terms.sweep, stop.clone()));
    let worked = queue::work(engine, terms, stop).await;
    sweeping.abort();
    worked
}

/// Resolves when `stop` says so, or when nobody is left to say it.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Tells the queue what is due, again and again, and clears away what is dead.
async fn sweep(engine: Arc<Engine>, every: Duration, stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tidied: Option<tokio::time::Instant> = None;
    while !*stop.borrow() {
        let now = ticks.tick().await;
        if let Err(error) = queue::nudge(&engine).await {
            tracing::error!(error = format!("{error:#}"), "what is due could not be looked for; it will be, again");
        }
        if tidied.is_none_or(|tidied| now.duration_since(tidied) >= TIDY_EVERY) {
            tidied = Some(now);
            if let Err(error) = tidy(&engine).await {
                tracing::error!(
                    error = format!("{error:#}"),
                    "what is dead could not be cleared away; it will be, again"
                );
            }
        }
    }
}

async fn tidy(engine: &Engine) -> Result<()> {
    engine.clear_abandoned().await?;
    engine.overdue(engine.clock.now()).await?;
    queue::prune(engine).await
}
