//! The guards that keep a payment from being made twice, or from being forgotten, by name.
//!
//! Each stands at one place in the code, as a condition one can read there. A test may take one away, to show that
//! the proof notices: a guard whose absence nobody would notice is not proven. Outside the crate's own tests every
//! guard stands, and the compiler removes the question. Deliberately not here: the rules themselves.

/// One guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Guard {
    /// A time-out, a reset, an unreadable answer is a doubt and never a failure.
    TimeoutIsDoubt,
    /// The intent is durable before a byte leaves.
    IntentFirst,
    /// "We have it" is not "it has arrived".
    AcceptedIsNotSettled,
    /// "I don't have it" proves nothing while a copy may still arrive.
    AbsentNeedsFence,
    /// A worker that slept past its lease writes nothing.
    LeaseBeforeWrite,
    /// Nothing newer is paid while an older generation is in doubt.
    NothingNewInDoubt,
    /// Only a provider that executes a reference once gets a second copy.
    ResendNeedsDedupe,
    /// A second copy goes under the reference of the first.
    ResendKeepsReference,
    /// One attempt for one intent: nothing below the engine repeats a write.
    OneAttemptForIntent,
    /// A rejection is final only if it is remembered, or no copy can change it.
    RejectionNeedsFence,
    /// A report speaks for the attempt it names, not for whichever is newest.
    ReportNamesAttempt,
    /// A rejection of an older generation says nothing about a newer one.
    OldRejectionIsOld,
    /// What comes back is booked, however late.
    ReturnsAreBooked,
    /// No second copy once the provider may have forgotten the first.
    ResendInsideWindow,
}

impl Guard {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::TimeoutIsDoubt,
        Self::IntentFirst,
        Self::AcceptedIsNotSettled,
        Self::AbsentNeedsFence,
        Self::LeaseBeforeWrite,
        Self::NothingNewInDoubt,
        Self::ResendNeedsDedupe,
        Self::ResendKeepsReference,
        Self::OneAttemptForIntent,
        Self::RejectionNeedsFence,
        Self::ReportNamesAttempt,
        Self::OldRejectionIsOld,
        Self::ReturnsAreBooked,
        Self::ResendInsideWindow,
    ];

    /// Whether it stands. Always, except for the one that a test has taken away on its own thread.
    #[inline]
    pub fn stands(self) -> bool {
        #[cfg(test)]
        return away::is_up(self);
        #[cfg(not(test))]
        true
    }
}

/// Taking guards away, for tests of the proof.
#[cfg(test)]
pub mod away {
    use super::Guard;
    use std::cell::Cell;

    thread_local! {
        static AWAY: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    pub(super) fn is_up(guard: Guard) -> bool {
        AWAY.get() != Some(guard)
    }

    /// Does something on this thread without one guard, or with all of them.
    pub fn without<T>(guard: Option<Guard>, what: impl FnOnce() -> T) -> T {
        AWAY.set(guard);
        let done = what();
        AWAY.set(None);
        done
    }
}
