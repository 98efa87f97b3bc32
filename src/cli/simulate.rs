//! Runs seeds of the simulation on all cores and prints what they came to.
//! Deliberately not here: what a seed is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result};
use clap::Args;

use super::screen::Screen;
use crate::simulation::{Arena, Tally};

/// Of so many seeds one is run twice, to see that it replays exactly.
const TWICE_EVERY: u64 = 20;
/// A campaign of so many seeds must have met every rare event.
const RARE_SEEDS_MIN: u64 = 1_000;

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Seeds run at the same time; as many as there are cores without it
    #[arg(long)]
    jobs: Option<usize>,
    /// Print one JSON object last, and words to standard error
    #[arg(long)]
    json: bool,
}

/// Runs the campaign; false when something was wrong, or when a long campaign never met a rare event.
pub async fn run(args: SimulateArgs) -> Result<bool> {
    let screen = Screen { json: args.json };
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let jobs = args.jobs.unwrap_or(cores).clamp(1, 64);
    let tally = tokio::task::spawn_blocking(move || campaign(&args, jobs, screen)).await??;
    screen.line(format!("{} seeds, {} events; rare events:\n{}", tally.seeds, tally.events, tally.seen));
    for (seed, wrong) in &tally.failed {
        screen.line(format!("seed {seed}: {wrong}\n  again: paymaster simulate --from {seed} --seeds 1"));
    }
    let never: Vec<&str> = tally.seen.never().collect();
    let met_all = never.is_empty() || tally.seeds < RARE_SEEDS_MIN;
    if !met_all {
        screen.line(format!("never met: {}", never.join(", ")));
    }
    let clean = tally.is_clean();
    screen.line(if clean {
        "Nobody was paid twice, nobody was forgotten, the money adds up."
    } else {
        "It does not hold."
    });
    if screen.json {
        screen.object(&tally.to_json());
    }
    Ok(clean && met_all)
}

fn campaign(args: &SimulateArgs, jobs: usize, screen: Screen) -> Result<Tally> {
    let folder = std::env::temp_dir().join(format!("paymaster-simulate-{}", std::process::id()));
    let next = Arc::new(AtomicU64::new(args.from));
    let end = args.from.saturating_add(args.seeds);
    let (tell, told) = mpsc::channel();
    let mut threads = Vec::new();
    for job in 0..jobs {
        let (next, tell, folder) = (next.clone(), tell.clone(), folder.join(job.to_string()));
        threads.push(thread::spawn(move || {
            stay(job);
            seeds(folder, &next, end, &tell)
        }));
    }
    drop(tell);
    let mut stage = screen.stage("seeds", args.seeds);
    let mut tally = Tally::default();
    for ran in told {
        tally.and(ran);
        stage.at(tally.seeds);
    }
    stage.done(&format!("{} done", tally.seeds));
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a simulation broke off"))??;
    }
    // Whatever is left of it is in the system's folder for such things.
    let _ = std::fs::remove_dir_all(folder);
    Ok(tally)
}

/// Keeps this thread, and the one that its database will have, on one core: they only ever wait for each other, and
/// waking one on another core takes longer than what it then does.
fn stay(job: usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if !cores.is_empty() {
        core_affinity::set_for_current(cores[job % cores.len()]);
    }
}

/// One thread: one database in memory, one seed after the other.
fn seeds(folder: PathBuf, next: &AtomicU64, end: u64, tell: &mpsc::Sender<Tally>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let arena = Arena::open(&folder).await?;
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= end {
                return Ok(());
            }
            let ran = arena.run(seed, seed.is_multiple_of(TWICE_EVERY)).await?;
            if tell.send(ran).is_err() {
                return Ok(());
            }
        }
    })
}
