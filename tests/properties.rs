//! Properties that must hold whatever the order, however often, and with whoever else at the same time.
//!
//! The cases are drawn from fixed seeds, so that a failure is the same failure tomorrow. Deliberately not here: single
//! cases told as stories, and the exhaustive search over one payment (`src/domain/search.rs`).

mod funds;
mod order;
mod repeats;

use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Draws so many cases from this seed; nothing is written to disk.
fn draws(cases: u32, seed: u64) -> TestRunner {
    let config = Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
}

/// For cases that need the engine.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
