//! Rare events, counted: a campaign that never met one of them has proven nothing about it.
//! Deliberately not here: what makes them happen.

use std::fmt;

/// An event that has to happen now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rare {
    /// A payment was executed after its sender had given up waiting.
    LateSuccess,
    /// A worker slept past its lease with a write still before it, and was refused.
    WokeAfterLease,
    /// A worker died with the intent made and nothing sent.
    KilledBeforeWrite,
    /// A worker died waiting for the answer.
    KilledBeforeAnswer,
    /// A return was heard of before the settlement.
    ReturnFirst,
    /// A callback came before the reply to the request.
    CallbackBeforeReply,
    /// The same callback came again.
    CallbackAgain,
    /// The same bytes went again to a provider that executes a reference once.
    Resent,
    /// A second copy was answered without being executed.
    Replayed,
    /// A copy arrived whose reference had been rejected before.
    CopyAfterRejection,
    /// A provider forgot a key.
    KeyForgotten,
    /// A provider said that it did not have what it had.
    NotYetVisible,
    /// A provider answered 500 and had executed.
    ErrorAfterExecution,
    /// An answer could not be read.
    Unreadable,
    /// Part of a batch was taken and the rest not mentioned.
    PartlySilent,
    /// A payment came back after it had settled.
    Returned,
    /// A provider rejected what it had settled.
    Contradicted,
    /// A provider named another sum.
    OtherAmount,
    /// A provider ran out of our money.
    FloatShort,
    /// A commit was lost.
    CommitLost,
    /// A commit was made and nobody heard.
    CommitUnheard,
    /// Two workers came to the same batch.
    CameTwice,
    /// A payment was proven never to have arrived.
    NeverArrived,
    /// The database went back to a backup.
    Restored,
    /// What was not paid was handed in again.
    Reissued,
    /// A provider spoke of a payment that another one had followed.
    OldHeard,
    /// A newer generation was held because an older one was in question.
    NewerHeld,
    /// A newer generation had left when an older one was said to be paid.
    Overpaid,
    /// Two persons decided where the money of a contradicted payment is.
    Decided,
    /// A doubt was so old that a person was told.
    DoubtTooOld,
}

impl Rare {
    /// All of them, with the names under which they are counted.
    pub const ALL: [(Self, &'static str); 30] = [
        (Self::LateSuccess, "late_success_after_timeout"),
        (Self::WokeAfterLease, "paused_worker_woke_after_lease"),
        (Self::KilledBeforeWrite, "killed_between_intent_and_write"),
        (Self::KilledBeforeAnswer, "killed_before_the_answer"),
        (Self::ReturnFirst, "return_before_success"),
        (Self::CallbackBeforeReply, "callback_before_reply"),
        (Self::CallbackAgain, "callback_repeated"),
        (Self::Resent, "resent_same_bytes"),
        (Self::Replayed, "copy_replayed_by_provider"),
        (Self::CopyAfterRejection, "copy_after_rejection"),
        (Self::KeyForgotten, "key_forgotten"),
        (Self::NotYetVisible, "absent_although_taken"),
        (Self::ErrorAfterExecution, "error_after_execution"),
        (Self::Unreadable, "unreadable_answer"),
        (Self::PartlySilent, "partial_batch_with_silence"),
        (Self::Returned, "return_after_settlement"),
        (Self::Contradicted, "rejected_after_settled"),
        (Self::OtherAmount, "other_amount_named"),
        (Self::FloatShort, "float_ran_out"),
        (Self::CommitLost, "commit_lost"),
        (Self::CommitUnheard, "commit_unheard"),
        (Self::CameTwice, "two_workers_on_one_batch"),
        (Self::NeverArrived, "proven_never_arrived"),
        (Self::Restored, "restored_from_backup"),
        (Self::Reissued, "reissued"),
        (Self::OldHeard, "old_generation_heard_of"),
        (Self::NewerHeld, "newer_generation_held"),
        (Self::Overpaid, "older_paid_and_newer_left"),
        (Self::Decided, "contradiction_decided"),
        (Self::DoubtTooOld, "doubt_too_old"),
    ];
}

/// How often each was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen([u64; Rare::ALL.len()]);

impl Seen {
    pub(super) fn note(&mut self, what: Rare) {
        self.0[what as usize] += 1;
    }

    pub(super) fn and(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// How often one was seen.
    pub fn times(&self, what: Rare) -> u64 {
        self.0[what as usize]
    }

    /// Those that never were.
    pub fn never(&self) -> impl Iterator<Item = &'static str> {
        Rare::ALL.iter().filter(|(what, _)| self.times(*what) == 0).map(|(_, name)| *name)
    }

    /// All, by name.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Rare::ALL.iter().map(|(what, name)| (*name, self.times(*what)))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_name().try_for_each(|(name, times)| writeln!(f, "  {times:>10}  {name}"))
    }
}
