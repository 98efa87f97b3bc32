//! What a killed worker costs: the same payroll with a worker in a process of its own, undisturbed, and killed when half
//! of the payments have ended. Deliberately not here: whether it stays right, which the tests of processes show.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;

use super::{LOOK_EVERY, Payroll, ROUND_MAX, house, pay, provider, said, seconds};
use crate::clock::Clock;
use crate::domain::payroll::PayrollState;
use crate::engine::{Engine, LeaseTerms};
use crate::jobs;
use crate::store::{Store, floor};

/// How long what a dead worker had in hand stays with it: longer than what is due waits to be told of again, and shorter
/// than a benchmark's patience.
const LEASE: LeaseTerms = LeaseTerms { lease_micros: 20_000_000, margin_micros: 8_000_000 };

/// How long a payroll took with a worker nobody disturbed, and with one that was killed half way, its lease apart.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    pub undisturbed: Duration,
    pub killed: Duration,
}

impl Recovery {
    /// In words.
    pub fn line(&self) -> String {
        let (undisturbed, killed) = (seconds(self.undisturbed), seconds(self.killed));
        format!("worker undisturbed, whole {undisturbed}; killed half way, its lease apart, {killed}")
    }
}

/// A worker that does not outlive this process.
struct Worker(Child);

impl Worker {
    fn start(url: &str) -> Result<Self> {
        let program = std::env::current_exe().context("where this program is")?;
        let mut command = Command::new(program);
        command.args(["bench", "--work-on", url]).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn().context("a worker cannot be started")?))
    }
}

impl Drop for Worker {
    /// As kill -9 does.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The two rounds.
pub async fn rounds(base: &str, name: &str, payroll: &Payroll<'_>) -> Result<Recovery> {
    let undisturbed = round(base, &format!("{name}_calm"), payroll, false).await?;
    let killed = round(base, &format!("{name}_killed"), payroll, true).await?;
    let lease = Duration::from_micros(LEASE.lease_micros.unsigned_abs());
    Ok(Recovery { undisturbed, killed: killed.saturating_sub(lease) })
}

async fn round(base: &str, name: &str, payroll: &Payroll<'_>, kills: bool) -> Result<Duration> {
    let url = floor::fresh(base, name).await?;
    let (engine, maker, checker) = house(&url, payroll).await?;
    floor::checkpoint(&engine.store).await;
    let mut worker = Worker::start(&url)?;
    let began = Instant::now();
    let (row, _) = pay(&engine, (&maker, &checker), payroll).await?;
    let mut killed = !kills;
    while said(engine.payroll_state(&maker.scope, row.id).await)? != PayrollState::Completed {
        ensure!(began.elapsed() < ROUND_MAX, "the payroll is stuck");
        if !killed {
            let status = said(engine.payroll_status(&maker.scope, row.id).await)?;
            let ended: i64 = status.providers.iter().map(|one| one.settled.payments).sum();
            if ended * 2 >= row.accepted.payments {
                ensure!(ended < row.accepted.payments, "the worker was done before it could be killed: more --rows");
                killed = true;
                drop(std::mem::replace(&mut worker, Worker::start(&url)?));
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let whole = began.elapsed();
    drop(worker);
    let found = engine.verify().await?;
    ensure!(found.findings.is_empty(), "the books do not hold: {:?}", found.findings);
    engine.store.db.close().await;
    drop(engine);
    floor::drop(base, name).await?;
    Ok(whole)
}

/// What the worker's process does until it is killed.
pub async fn work_on(url: &str) -> Result<()> {
    let is_file = !url.contains("://");
    ensure!(!is_file || Path::new(url).exists(), "there is no database {url}");
    let mut engine = Engine::new(Store::open(url, false).await?, Clock::System);
    engine.lease = LEASE;
    engine.providers.push(provider());
    let (_stop, stopping) = watch::channel(false);
    jobs::run(engine.into(), super::work_terms(), stopping).await
}
