//! Simulation: the real engine and store in a world that is made of one seed.
//!
//! Time, network, providers and the death of workers are simulated; the engine's verbs, the SQL and the transactions
//! are those of the service, on a database in memory. First there is a storm, then it is calm and everything must
//! come to its end; then the providers' own ledgers judge. The same seed is the same world to the last event.
//!
//! `world` keeps time, `operator` is a provider and its ledger, `outside` what providers do, `line` the
//! connector to them, `actor` a worker's weather, `people` who looks in, `stage` runs workers, `seed` one world from
//! beginning to end, `audit` the judgement. Deliberately not here: real sockets and real processes, which other tests have, and the queue.

mod actor;
mod audit;
mod line;
mod operator;
mod outside;
mod people;
mod rare;
mod seed;
mod stage;
#[cfg(test)]
mod tests;
mod world;

use std::path::Path;

use anyhow::{Context, Result};

use crate::store::Store;
use crate::store::db::Db;
pub use audit::Verdict;
pub use rare::{Rare, Seen};

/// What a campaign came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Seeds that were run.
    pub seeds: u64,
    /// Events in all of them.
    pub events: u64,
    /// What was wrong.
    pub verdict: Verdict,
    /// Seeds that did not replay exactly.
    pub nondeterministic: u64,
    /// Rare events.
    pub seen: Seen,
    /// The first seeds in which something was wrong, with what.
    pub failed: Vec<(u64, String)>,
}

/// Seeds that failed and are remembered.
const FAILED_MAX: usize = 20;

impl Tally {
    /// Adds another tally.
    pub fn and(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.verdict.and(&other.verdict);
        self.nondeterministic += other.nondeterministic;
        self.seen.and(&other.seen);
        self.failed.extend(other.failed);
        self.failed.sort();
        self.failed.truncate(FAILED_MAX);
    }

    /// Whether nothing was wrong.
    pub fn is_clean(&self) -> bool {
        self.verdict == Verdict::default() && self.nondeterministic == 0
    }

    /// As one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        let Verdict { paid_twice, forgotten, unbalanced, without_evidence } = self.verdict;
        let mut json = serde_json::json!({
            "seeds": self.seeds, "events": self.events, "paid_twice": paid_twice, "forgotten": forgotten,
            "unbalanced": unbalanced, "without_evidence": without_evidence, "nondeterministic": self.nondeterministic,
        });
        let rare = self.seen.by_name().map(|(name, times)| (name.to_owned(), times.into()));
        json["rare_events"] = serde_json::Value::Object(rare.collect());
        json
    }
}

/// A database in memory in which one seed after the other is run.
pub struct Arena {
    db: Db,
    folder: std::path::PathBuf,
}

impl Arena {
    /// Makes the tables once. The folder takes payroll files while they are taken in.
    pub async fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let db = Db::in_memory().await?;
        Store::on(db.clone(), true).await?;
        Ok(Self { db, folder: folder.to_owned() })
    }

    /// Runs one seed; `twice` runs it again and holds the two against each other.
    pub async fn run(&self, seed: u64, twice: bool) -> Result<Tally> {
        let first = seed::run(&self.db, &self.folder, seed).await.with_context(|| format!("seed {seed}"))?;
        let mut tally = Tally { seeds: 1, events: first.events, seen: first.seen, ..Tally::default() };
        tally.verdict = first.verdict;
        let mut wrong = first.wrong;
        if twice {
            let second = seed::run(&self.db, &self.folder, seed).await?;
            if second.hash != first.hash {
                tally.nondeterministic = 1;
                wrong.push(format!("{} events the first time, {} the second", first.events, second.events));
            }
        }
        if !wrong.is_empty() {
            tally.failed.push((seed, wrong.join("; ")));
        }
        Ok(tally)
    }
}
