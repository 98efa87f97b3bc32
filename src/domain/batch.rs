//! A batch: its states, what is to be done with it now, and the state it gives the rows that follow it.
//! Deliberately not here: doing it.

use std::fmt;

use paymaster_connectors::contract::{Dedupe, Profile};

use super::disbursement::State;
use super::guard::Guard;

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// Rows, count, sum and hash are fixed; nothing has left.
    Sealed,
    /// A worker has the durable intent to send it.
    Transmitting,
    /// The provider has it.
    Accepted,
    /// Nobody knows whether the provider has it.
    InDoubt,
    /// Every row has an end.
    Completed,
}

impl BatchState {
    const NAMES: [(Self, &'static str); 5] = [
        (Self::Sealed, "sealed"),
        (Self::Transmitting, "transmitting"),
        (Self::Accepted, "accepted"),
        (Self::InDoubt, "in_doubt"),
        (Self::Completed, "completed"),
    ];

    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(state, _)| *state == self).map_or("?", |(_, name)| name)
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }

    /// The state of a row that follows the batch. A completed batch has no such row.
    pub fn of_followers(self) -> State {
        match self {
            Self::Sealed => State::Queued,
            Self::Transmitting => State::Submitting,
            Self::Accepted => State::Accepted,
            Self::InDoubt | Self::Completed => State::InDoubt,
        }
    }

    /// The batch state that gives its followers `state`; `None` where only a row's own state can be that.
    pub fn giving(state: State) -> Option<Self> {
        let all = [Self::Sealed, Self::Transmitting, Self::Accepted, Self::InDoubt];
        all.into_iter().find(|batch| batch.of_followers() == state)
    }
}

impl fmt::Display for BatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row's state as it counts: its own, or its batch's while it follows the batch.
pub fn effective(own: State, batch: BatchState) -> State {
    if own == State::Queued { batch.of_followers() } else { own }
}

/// What is known of a batch when a worker looks at it. Instants are microseconds UTC.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its state.
    pub state: BatchState,
    /// Until when another worker may be at it.
    pub lease_until: i64,
    /// When it wants attention; `None` for never.
    pub due_at: Option<i64>,
    /// Nothing may be sent: its payroll is not released or is paused, or its provider or programme is.
    pub stopped: bool,
    /// It may have left in a time that the database lost: the provider is asked before it is sent.
    pub ask_first: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take the intent and send it.
    Submit,
    /// Ask the provider whether it left already.
    AskFirst,
    /// The worker that had the intent is gone: a doubt, and then a question.
    Lose,
    /// Ask the provider.
    Inquire,
    /// Nothing is due.
    Nothing,
}

/// The next thing to do with a batch. Asking goes on while sending is stopped.
pub fn next(batch: &Standing, now: i64) -> Action {
    let due = batch.due_at.is_some_and(|due_at| due_at <= now);
    if batch.lease_until > now || !due {
        return Action::Nothing;
    }
    match batch.state {
        BatchState::Sealed if batch.ask_first => Action::AskFirst,
        BatchState::Sealed if !batch.stopped => Action::Submit,
        BatchState::Transmitting => Action::Lose,
        BatchState::Accepted | BatchState::InDoubt => Action::Inquire,
        BatchState::Sealed | BatchState::Completed => Action::Nothing,
    }
}

/// Share of the provider's memory that is not relied on: the worker may take a while, and clocks differ.
const WINDOW_MARGIN_PERCENT: u128 = 10;

/// Whether the same bytes may be sent again under the same reference: only to a provider that executes a
/// reference once, and only while it surely remembers the first copy.
pub fn may_resend(profile: &Profile, first_copy_at: i64, now: i64) -> bool {
    let memory = profile.dedupe_window.as_micros() * (100 - WINDOW_MARGIN_PERCENT) / 100;
    // What leaves now must arrive before the first copy is forgotten.
    let trusted = memory.saturating_sub(profile.fence.as_micros());
    // A copy from the future: the clock was set back, and nobody knows how old it is.
    let Ok(age) = u128::try_from(now.saturating_sub(first_copy_at)) else { return false };
    let once = profile.dedupe == Dedupe::ByKey || !Guard::ResendNeedsDedupe.stands();
    once && (age < trusted || !Guard::ResendInsideWindow.stands())
}

/// Pause before attempt or inquiry number `tries` (from 0): doubled each time, up to `max`. Microseconds.
pub fn backoff(first: i64, max: i64, tries: i64) -> i64 {
    let doublings = u32::try_from(tries.clamp(0, 30)).unwrap_or(30);
    first.saturating_mul(1_i64 << doublings).clamp(0, max.max(first))
}

/// Pause before the next try: what the other side asked for, within the shortest and longest pause (`bounds`), and
/// [`backoff`] where it asked for nothing. Microseconds.
pub fn wait(asked_seconds: Option<u64>, bounds: (i64, i64), tries: i64) -> i64 {
    let (first, max) = (bounds.0, bounds.1.max(bounds.0));
    match asked_seconds {
        Some(seconds) => i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000).clamp(first, max),
        None => backoff(first, max, tries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn standing(state: BatchState) -> Standing {
        Standing { state, lease_until: 0, due_at: Some(0), stopped: false, ask_first: false }
    }

    #[test]
    fn only_a_sealed_batch_that_may_go_is_sent() {
        assert_eq!(next(&standing(BatchState::Sealed), 1), Action::Submit);
        assert_eq!(next(&Standing { stopped: true, ..standing(BatchState::Sealed) }, 1), Action::Nothing);
        assert_eq!(next(&Standing { lease_until: 2, ..standing(BatchState::Sealed) }, 1), Action::Nothing);
        assert_eq!(next(&Standing { due_at: Some(2), ..standing(BatchState::Sealed) }, 1), Action::Nothing);
        assert_eq!(next(&Standing { due_at: None, ..standing(BatchState::Sealed) }, 1), Action::Nothing);
    }

    #[test]
    fn a_worker_that_vanished_leaves_a_doubt_and_asking_goes_on_while_stopped() {
        assert_eq!(next(&standing(BatchState::Transmitting), 1), Action::Lose);
        let stopped = Standing { stopped: true, ..standing(BatchState::InDoubt) };
        assert_eq!(next(&stopped, 1), Action::Inquire);
        assert_eq!(next(&standing(BatchState::Completed), 1), Action::Nothing);
    }

    #[test]
    fn what_may_have_left_in_a_lost_time_is_asked_about_and_not_sent() {
        let flagged = Standing { ask_first: true, ..standing(BatchState::Sealed) };
        assert_eq!(next(&flagged, 1), Action::AskFirst);
        assert_eq!(next(&Standing { stopped: true, ..flagged }, 1), Action::AskFirst);
        assert_eq!(next(&Standing { due_at: None, ..flagged }, 1), Action::Nothing);
        assert_eq!(next(&Standing { ask_first: true, ..standing(BatchState::InDoubt) }, 1), Action::Inquire);
    }

    #[test]
    fn what_the_other_side_asks_for_is_granted_within_bounds() {
        let second = 1_000_000;
        assert_eq!(wait(Some(7), (second, 60 * second), 3), 7 * second);
        assert_eq!(wait(Some(0), (second, 60 * second), 3), second);
        assert_eq!(wait(Some(u64::MAX), (second, 60 * second), 3), 60 * second);
        assert_eq!(wait(None, (second, 60 * second), 3), 8 * second);
        assert_eq!(wait(Some(5), (10 * second, second), 0), 10 * second);
    }

    #[test]
    fn nothing_is_sent_twice_to_who_may_pay_twice() {
        let hour = 3_600_000_000;
        assert!(!may_resend(&Profile::worst(), 0, 1));
        let remembers =
            Profile { dedupe: Dedupe::ByKey, dedupe_window: Duration::from_secs(3_600), ..Profile::worst() };
        assert!(may_resend(&remembers, 0, hour / 2));
        assert!(!may_resend(&remembers, 0, hour - 1));
        assert!(!may_resend(&remembers, 0, hour * 9 / 10 - 1), "it may travel until the fence");
        let brief = Profile { dedupe_window: remembers.fence, ..remembers.clone() };
        assert!(!may_resend(&brief, 0, 1), "a copy may travel longer than the provider remembers");
        assert!(!may_resend(&remembers, 0, hour * 2));
        assert!(!may_resend(&remembers, hour, 0), "the clock was set back");
    }

    #[test]
    fn followers_and_batches_agree() {
        for (state, ..) in State::ALL {
            if let Some(batch) = BatchState::giving(state) {
                assert_eq!(effective(State::Queued, batch), state);
            }
        }
        assert_eq!(effective(State::Settled, BatchState::InDoubt), State::Settled);
        assert_eq!(backoff(100, 1_000, 0), 100);
        assert_eq!(backoff(100, 1_000, 2), 400);
        assert_eq!(backoff(100, 1_000, 60), 1_000);
    }
}
