//! What may happen between us and the database: it is slow, a commit is lost, or it is made and nobody hears of it.
//!
//! A simulation brings its weather along with each of its tasks; everywhere else the sky is clear and nothing is
//! asked. Deliberately not here: when something happens.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;

tokio::task_local! {
    static WEATHER: Arc<dyn Weather>;
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It is made.
    Made,
    /// The connection is lost before it; nothing is made.
    Lost,
    /// It is made, and the connection is lost before the answer.
    Unheard,
}

/// The weather around one task.
#[async_trait]
pub trait Weather: Send + Sync {
    /// Before a unit of work begins. May take its time, may refuse, may never return.
    async fn begin(&self) -> Result<()>;
    /// Decides what becomes of a commit.
    fn commit(&self) -> Commit;
    /// After a unit of work has ended, when its connection is free again. May never return.
    async fn ended(&self);
}

/// Runs a task in its weather.
pub async fn around<T>(weather: Arc<dyn Weather>, task: impl Future<Output = T>) -> T {
    WEATHER.scope(weather, task).await
}

fn now() -> Option<Arc<dyn Weather>> {
    WEATHER.try_with(Arc::clone).ok()
}

pub(super) async fn begin() -> Result<()> {
    match now() {
        Some(weather) => weather.begin().await,
        None => Ok(()),
    }
}

pub(super) fn commit() -> Commit {
    now().map_or(Commit::Made, |weather| weather.commit())
}

pub(super) async fn ended() {
    if let Some(weather) = now() {
        weather.ended().await;
    }
}
