//! Counts of round trips and commits since the process began, for the benchmark and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

static ROUND_TRIPS: AtomicU64 = AtomicU64::new(0);
static COMMITS: AtomicU64 = AtomicU64::new(0);

pub(super) fn round_trip() {
    ROUND_TRIPS.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn commit() {
    COMMITS.fetch_add(1, Ordering::Relaxed);
}

/// Round trips and commits so far.
pub fn read() -> (u64, u64) {
    (ROUND_TRIPS.load(Ordering::Relaxed), COMMITS.load(Ordering::Relaxed))
}
