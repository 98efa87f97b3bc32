//! A worker as the world sees it: what it is at, and the weather between it and the database.
//! Deliberately not here: what it does; that is the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Result, bail};
use async_trait::async_trait;

use super::rare::Rare;
use super::world::{Event, Inner, SECOND, World};
use crate::store::weather::{Commit, Weather};

tokio::task_local! {
    static TASK: u64;
}

/// The task that asks.
pub(super) fn task() -> u64 {
    TASK.try_with(|task| *task).unwrap_or(0)
}

/// Runs a future as a task of the simulation.
pub(super) async fn as_task<T>(number: u64, future: impl Future<Output = T>) -> T {
    TASK.scope(number, future).await
}

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// It has the intent.
    Sending,
    /// It has written and waits for the answer.
    Waiting,
}

/// One worker.
#[derive(Clone)]
pub(super) struct Actor {
    pub world: Arc<World>,
    pub worker: usize,
    phase: Arc<AtomicU8>,
}

impl Actor {
    pub fn new(world: Arc<World>, worker: usize) -> Self {
        Self { world, worker, phase: Arc::default() }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Idle,
            1 => Phase::Sending,
            _ => Phase::Waiting,
        }
    }

    /// Whether the provider cannot be reached just now.
    pub fn is_cut_off(&self) -> bool {
        let mut inner = self.world.look();
        inner.storm && inner.chance.falls(30)
    }

    /// Something may befall the worker here, most of all while it has an intent.
    fn fate(&self, inner: &mut Inner) {
        let share = if self.phase() == Phase::Idle { 8 } else { 120 };
        if !inner.storm || !inner.chance.falls(share) {
            return;
        }
        let soon = inner.chance.falls(600);
        let when = if soon { 0 } else { inner.chance.between(0, 25 * SECOND) };
        let event = if inner.chance.falls(500) {
            Event::Kill(self.worker)
        } else {
            let long = inner.chance.falls(400);
            let micros = if long {
                inner.chance.between(100 * SECOND, 500 * SECOND)
            } else {
                inner.chance.between(SECOND, 30 * SECOND)
            };
            Event::Sleep { worker: self.worker, micros, suspended: inner.chance.falls(300) }
        };
        inner.after(when, event);
    }

    /// How long to dally, so that others come between.
    fn dally(&self, share: u16) -> i64 {
        let mut inner = self.world.look();
        self.fate(&mut inner);
        if inner.storm && inner.chance.falls(share) { inner.chance.between(0, 3 * SECOND) } else { 0 }
    }
}

#[async_trait]
impl Weather for Actor {
    async fn begin(&self) -> Result<()> {
        let dally = self.dally(250);
        if dally > 0 {
            self.world.wait(task(), dally).await;
        }
        let mut inner = self.world.look();
        if inner.storm && inner.chance.falls(5) {
            bail!("the database cannot be reached");
        }
        Ok(())
    }

    fn commit(&self) -> Commit {
        let mut inner = self.world.look();
        if !inner.storm {
            return Commit::Made;
        }
        match inner.chance.between(0, 999) {
            0..6 => {
                inner.note(Rare::CommitLost);
                Commit::Lost
            }
            6..12 => {
                inner.note(Rare::CommitUnheard);
                Commit::Unheard
            }
            _ => Commit::Made,
        }
    }

    async fn ended(&self) {
        let dally = self.dally(250);
        if dally > 0 {
            self.world.wait(task(), dally).await;
        }
    }
}
