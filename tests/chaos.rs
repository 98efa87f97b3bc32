//! Real programs under chaos: workers, an operator and PostgreSQL that are killed, stopped, restarted and cut off from
//! each other while payrolls are made, approved, released and paid; and then all books are held against each other.
//!
//! `PAYMASTER_CHAOS_SECONDS` says for how long, `PAYMASTER_CHAOS_SEED` with which schedule:
//! `PAYMASTER_CHAOS_SECONDS=600 cargo test --test all -- chaos --nocapture`. The schedule follows the seed; what the
//! machine makes of it does not. Sleeps belong to that schedule alone; states are waited for by looking at them.

mod cluster;
mod dice;
mod feed;
mod judge;
mod proxy;
mod storm;

use std::sync::Arc;
use std::time::{Duration, Instant};

use paymaster::store::floor;
use paymaster_connectors::contract::Currency;
use paymaster_connectors::sandbox::{self, RegistryFaults, Sandbox};

use crate::house::{self, Setup};
use crate::world::{Database, Folder};
use cluster::Cluster;
use dice::Dice;
use feed::Feeder;
use proxy::{Lines, Proxy, Upstream};
use storm::{Operator, Parts, Storm, Workers};

/// What every piece takes to the operator and the registry, so that something is always under way.
const LATENCY: Duration = Duration::from_millis(15);
/// Payments of a batch: few, so that hundreds of batches are in play.
const ITEMS_MAX: usize = 10;
/// The operator's names and how each is spoken with.
const PROVIDERS: [(&str, &str); 2] = [("mobile-op", "batch"), ("single-op", "single")];

/// For how long, in seconds.
fn seconds(default: u64) -> Duration {
    let told = std::env::var("PAYMASTER_CHAOS_SECONDS").ok();
    Duration::from_secs(told.map_or(default, |told| told.parse().unwrap()))
}

fn seed() -> u64 {
    match std::env::var("PAYMASTER_CHAOS_SEED") {
        Ok(told) => told.parse().unwrap(),
        Err(_) => u64::from_be_bytes(paymaster::clock::random::<8>().unwrap()) % 1_000_000,
    }
}

async fn chaos(kind: Database, workers: usize, lasts: Duration) {
    let seed = seed();
    println!("chaos on {kind:?} for {} s: PAYMASTER_CHAOS_SEED={seed}", lasts.as_secs());
    let mut dice = Dice::new(seed);
    // What is made first goes last: the folder outlives whoever works in it.
    let folder = Folder::new();
    let cluster = (kind == Database::Postgres).then(|| Arc::new(Cluster::start(folder.path())));
    let registry = Sandbox::start(sandbox::Settings {
        verifying_key: Some(house::signing_key(&folder)),
        registry_faults: RegistryFaults { seed, refuse_first_n: 1, lose_ack_per_mille: 50 },
        ..sandbox::Settings::new(Currency::parse("KES").unwrap())
    });
    let registry = registry.await.unwrap();
    let operator = Operator::new(&folder, seed);
    let upstream = |url: &str| Upstream::Tcp(storm::address(url));
    let database = cluster.as_ref().map(|cluster| Proxy::start(Some(Upstream::Unix(cluster.socket())), Duration::ZERO));
    let lines = Arc::new(Lines {
        operator: Proxy::start(Some(Upstream::Tcp(operator.address)), LATENCY),
        registry: Proxy::start(Some(upstream(&registry.registry_url())), LATENCY),
        database,
    });
    let url = match &lines.database {
        Some(line) => {
            floor::fresh(&format!("postgres://postgres@{}/postgres", line.address), "paymaster").await.unwrap()
        }
        None => folder.path().join("paymaster.db").display().to_string(),
    };
    let setup = Setup {
        url: &url,
        operator: format!("http://{}/mm/v1.2", lines.operator.address),
        registry: format!("http://{}/on-disburse", lines.registry.address),
        providers: &PROVIDERS,
        batches: 4,
        items_max: ITEMS_MAX,
        lease_seconds: 6,
        timeout_seconds: 2,
        fence_seconds: 8,
    };
    let config = house::configuration(&folder, &setup);
    let (engine, maker, checker) = house::open(&config).await;
    engine.fund(&checker, "cash", i64::MAX / 4, "chaos").await.unwrap();
    let feeder = Feeder::start(engine.clone(), (maker.clone(), checker), folder.path().to_owned(), dice.split());
    let workers = Workers::start(workers, config.clone(), folder.path().to_owned());
    let began = Instant::now();
    let mut storm = Storm::new(Parts { dice, engine: engine.clone(), workers, operator, cluster, lines });
    storm.rage(lasts).await;
    storm.heal().await;
    let fed = feeder.finish(|| storm.watch()).await;
    let raged = began.elapsed();
    judge::judge(judge::Case { storm, engine, maker, config, registry, fed, lasts, raged, seed }).await;
    drop(folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_and_three_workers_pay_everybody_once() {
    chaos(Database::Postgres, 3, seconds(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_and_one_worker_pay_everybody_once() {
    chaos(Database::Sqlite, 1, seconds(20)).await;
}
