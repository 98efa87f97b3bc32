//! A seeded generator, so that a run's schedule can be had again. What the machine makes of it is its own affair.

use std::time::Duration;

use paymaster::chance::Chance;

/// Chance, and what a storm draws with it.
pub struct Dice(Chance);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Chance::new(seed))
    }

    /// Another generator, for somebody who draws at times of their own.
    pub fn split(&mut self) -> Self {
        Self::new(self.0.any())
    }

    /// From `low` to below `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high - low)
    }

    pub fn below(&mut self, high: usize) -> usize {
        self.0.place(high)
    }

    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for place in (1..all.len()).rev() {
            all.swap(place, self.below(place + 1));
        }
    }
}
