//! When a provider may be spoken to: after it failed several times in a row, or asked for time, nothing new begins
//! for a while, over all workers. A payment never fails by it. Deliberately not here: the rate of payments.

use super::batch::backoff;

/// Failures in a row after which nothing new begins.
pub const FAILURES_MAX: i64 = 5;
/// How long nothing begins at first, and at most, in microseconds.
const CLOSED_MICROS: (i64, i64) = (1_000_000, 300_000_000);
/// A closing that ends later than this from now was written by a clock that is wrong, and is not believed. It must be
/// above the longest wait that any provider is granted.
const BELIEVED_MICROS: i64 = 2 * 24 * 3_600_000_000;

/// How a provider stands. Instants are microseconds UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Failures in a row.
    pub failures: i64,
    /// Nothing begins before.
    pub closed_until: i64,
}

/// Whether something new may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It may.
    Open,
    /// One may, to see whether the provider is well again.
    Trial,
    /// Not yet.
    Closed,
}

/// What a worker took along when it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Failures in a row until then.
    pub failures: i64,
    /// Until when the others wait for this one, if it is the trial.
    pub trial_until: Option<i64>,
}

/// What a worker's turn says of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Well,
    /// It does not, and asked for this pause, if for any, in microseconds.
    Failed(Option<i64>),
    /// Nothing: it was not reached because of us.
    Untold,
}

impl Pace {
    /// Whether something new may begin now.
    pub fn entry(&self, now: i64) -> Entry {
        if self.is_closed(now) {
            Entry::Closed
        } else if self.failures >= FAILURES_MAX {
            Entry::Trial
        } else {
            Entry::Open
        }
    }

    /// Whether nothing may begin.
    pub fn is_closed(&self, now: i64) -> bool {
        self.closed_until > now && self.closed_until <= now.saturating_add(BELIEVED_MICROS)
    }

    /// How it stands after a turn.
    pub fn after(self, turn: Turn, health: Health, now: i64) -> Self {
        let is_trial = turn.trial_until.is_some_and(|until| until == self.closed_until);
        // Whoever was under way when it closed adds nothing to why it is closed.
        let counts = is_trial || !self.is_closed(now);
        let closed_until = if is_trial { now } else { self.closed_until };
        match health {
            Health::Well => Self { failures: 0, closed_until },
            Health::Untold => Self { closed_until, ..self },
            Health::Failed(asked) => {
                let failures = self.failures + i64::from(counts);
                let over = failures - FAILURES_MAX;
                let own = if over >= 0 && counts { backoff(CLOSED_MICROS.0, CLOSED_MICROS.1, over) } else { 0 };
                let until = now.saturating_add(own.max(asked.unwrap_or(0)));
                Self { failures, closed_until: closed_until.max(until) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn failed(pace: Pace, now: i64) -> Pace {
        pace.after(Turn::default(), Health::Failed(None), now)
    }

    #[test]
    fn it_closes_after_failures_in_a_row_and_one_try_opens_it() {
        let mut pace = Pace::default();
        for _ in 1..FAILURES_MAX {
            pace = failed(pace, 0);
            assert_eq!(pace.entry(0), Entry::Open);
        }
        pace = failed(pace, 0);
        assert_eq!((pace.entry(0), pace.entry(SECOND)), (Entry::Closed, Entry::Trial));
        assert_eq!(failed(pace, 0), pace, "what was under way adds nothing");
        let trial = Turn { failures: pace.failures, trial_until: Some(120 * SECOND) };
        let trying = Pace { closed_until: 120 * SECOND, ..pace };
        assert_eq!(trying.entry(SECOND), Entry::Closed);
        let again = trying.after(trial, Health::Failed(None), SECOND);
        assert_eq!(again.closed_until, 3 * SECOND, "twice as long as before");
        assert_eq!(trying.after(trial, Health::Well, SECOND), Pace { failures: 0, closed_until: SECOND });
        assert_eq!(trying.after(trial, Health::Untold, SECOND).entry(SECOND), Entry::Trial);
    }

    #[test]
    fn what_a_provider_asks_for_is_kept_whoever_succeeds_meanwhile() {
        let asked = Pace::default().after(Turn::default(), Health::Failed(Some(30 * SECOND)), 0);
        assert_eq!(asked, Pace { failures: 1, closed_until: 30 * SECOND });
        let turn = Turn { failures: 1, trial_until: None };
        assert_eq!(asked.after(turn, Health::Well, SECOND).entry(29 * SECOND), Entry::Closed);
    }

    #[test]
    fn it_never_closes_longer_than_five_minutes_by_itself_nor_by_a_wrong_clock() {
        let worn = Pace { failures: i64::MAX / 2, closed_until: 0 };
        assert_eq!(failed(worn, 0).closed_until, 300 * SECOND);
        assert_ne!(Pace { failures: 0, closed_until: i64::MAX }.entry(0), Entry::Closed);
    }
}
