//! What a provider's report means for one attempt: a move, a repeat, nothing yet, or a contradiction.
//!
//! This is the home of two rules that keep a payment from being made twice. A rejection is final only if the
//! provider remembers it, or one copy at most was ever intended, or it answers a question asked when no copy could
//! arrive any more. "I don't have it" proves nothing until then either. Deliberately not here: what is done about a
//! contradiction.

use paymaster_connectors::contract::{Finality, Money, Outcome, Profile, ReasonClass, Report, Source};

use super::disbursement::{Move, State};
use super::guard::Guard;

/// What is known of an attempt when a report on it arrives. Instants are microseconds UTC.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The row's state, or its batch's where the row follows its batch.
    pub state: State,
    /// Durable intents to send so far; every one may have become a copy.
    pub copies: u32,
    /// When the last copy was intended.
    pub last_copy_at: i64,
    /// The instant after which no copy can arrive.
    pub fence_at: i64,
    /// The sum that was instructed.
    pub amount: Money,
    /// The account that was instructed.
    pub payee_account: &'a str,
}

/// The judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Apply this move.
    Move(Move),
    /// Known already; no effect.
    Repeat,
    /// Kept as evidence; proves nothing yet.
    Inconclusive,
    /// Goes to a person; nothing is overwritten.
    Contradiction(Contradiction),
}

/// Ways in which a provider contradicts what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Contradiction {
    /// Another sum or currency.
    OtherAmount,
    /// Another account.
    OtherAccount,
    /// A report on something we never sent.
    NeverSent,
    /// Settled after it was proven not paid.
    SettledAfterRejected,
    /// Rejected after it was settled or returned.
    RejectedAfterSettled,
    /// Returned after it was proven not paid.
    ReturnedAfterRejected,
}

impl Contradiction {
    /// Stable code of the exception that a person will see.
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherAmount => "other_amount",
            Self::OtherAccount => "other_account",
            Self::NeverSent => "never_sent",
            Self::SettledAfterRejected => "settled_after_rejected",
            Self::RejectedAfterSettled => "rejected_after_settled",
            Self::ReturnedAfterRejected => "returned_after_rejected",
        }
    }
}

/// Judges one report on one attempt. `now` is when it came, and for an answer when the question was asked: an answer
/// tells of nothing that arrived while it was on its way.
pub fn judge(attempt: &Attempt<'_>, report: &Report, source: Source, profile: &Profile, now: i64) -> Verdict {
    let says_it_went = !matches!(report.outcome, Outcome::NotSent(_) | Outcome::Absent);
    if says_it_went && !has_left(attempt) {
        return Verdict::Contradiction(Contradiction::NeverSent);
    }
    if report.amount.is_some_and(|amount| amount != attempt.amount) {
        return Verdict::Contradiction(Contradiction::OtherAmount);
    }
    if report.payee_account.as_deref().is_some_and(|account| account != attempt.payee_account) {
        return Verdict::Contradiction(Contradiction::OtherAccount);
    }
    match &report.outcome {
        Outcome::NotSent(_) => not_sent(attempt),
        Outcome::Absent => absent(attempt, profile, now),
        Outcome::Settled if settles(source, profile.finality) => settled(attempt.state),
        Outcome::Accepted if !Guard::AcceptedIsNotSettled.stands() => settled(attempt.state),
        Outcome::Settled | Outcome::Accepted => accepted(attempt.state),
        Outcome::Rejected(reason) => rejected(attempt, (reason.class, source), profile, now),
        Outcome::Returned(_) => returned(attempt.state),
    }
}

/// Whether a copy of it may have gone. What is withdrawn or held has not, whatever became of the others in its batch.
fn has_left(attempt: &Attempt<'_>) -> bool {
    let ended = matches!(attempt.state, State::Settled | State::Rejected | State::Returned);
    ended || (attempt.copies > 0 && attempt.state.is_in_flight())
}

/// Whether an answer to a question tells of every copy: none can arrive any more, and the provider's books show all
/// that did.
fn tells_all(attempt: &Attempt<'_>, profile: &Profile, now: i64) -> bool {
    let quiet = i64::try_from(profile.absent_after.as_micros()).unwrap_or(i64::MAX);
    now >= attempt.fence_at.max(attempt.last_copy_at.saturating_add(quiet))
}

/// Whether no other copy of this attempt can have another outcome. A reply, a callback or a status file speaks of one copy,
/// and may have been on its way while another was executed.
fn one_copy_at_most(attempt: &Attempt<'_>, source: Source, profile: &Profile, now: i64) -> bool {
    let of_all = source >= Source::Inquiry && tells_all(attempt, profile, now);
    attempt.copies <= 1 || of_all || !Guard::RejectionNeedsFence.stands()
}

fn settles(source: Source, finality: Finality) -> bool {
    match finality {
        Finality::Reply => true,
        Finality::Status => source >= Source::Callback,
        Finality::Statement => source >= Source::SettlementFile,
    }
}

fn not_sent(attempt: &Attempt<'_>) -> Verdict {
    match attempt.state {
        State::Submitting if attempt.copies <= 1 => Verdict::Move(Move::Requeue),
        // An earlier copy may still arrive.
        State::Submitting => Verdict::Move(Move::Lose),
        _ => Verdict::Repeat,
    }
}

fn absent(attempt: &Attempt<'_>, profile: &Profile, now: i64) -> Verdict {
    let fenced = tells_all(attempt, profile, now) || !Guard::AbsentNeedsFence.stands();
    match attempt.state {
        State::InDoubt if fenced => Verdict::Move(Move::Absent),
        state if state.is_in_flight() => Verdict::Inconclusive,
        _ => Verdict::Repeat,
    }
}

fn settled(state: State) -> Verdict {
    match state {
        state if state.is_in_flight() => Verdict::Move(Move::Settle),
        State::Settled | State::Returned => Verdict::Repeat,
        State::Rejected => Verdict::Contradiction(Contradiction::SettledAfterRejected),
        _ => Verdict::Contradiction(Contradiction::NeverSent),
    }
}

fn accepted(state: State) -> Verdict {
    match state {
        State::Submitting | State::InDoubt => Verdict::Move(Move::Accept),
        State::Accepted | State::Settled | State::Returned | State::Rejected => Verdict::Repeat,
        _ => Verdict::Contradiction(Contradiction::NeverSent),
    }
}

fn rejected(attempt: &Attempt<'_>, (class, source): (ReasonClass, Source), profile: &Profile, now: i64) -> Verdict {
    let stated = !matches!(class, ReasonClass::Unknown | ReasonClass::Duplicate);
    let conclusive = stated && (profile.remembers_rejections || one_copy_at_most(attempt, source, profile, now));
    match attempt.state {
        State::Rejected => Verdict::Repeat,
        State::Settled | State::Returned if conclusive => Verdict::Contradiction(Contradiction::RejectedAfterSettled),
        // Another copy was refused, or the reason does not say that nothing was paid: that contradicts nothing.
        State::Settled | State::Returned => Verdict::Inconclusive,
        state if !state.is_in_flight() => Verdict::Contradiction(Contradiction::NeverSent),
        _ if conclusive => Verdict::Move(Move::Reject),
        _ => Verdict::Inconclusive,
    }
}

fn returned(state: State) -> Verdict {
    match state {
        _ if !Guard::ReturnsAreBooked.stands() => Verdict::Repeat,
        state if state.is_in_flight() || state == State::Settled => Verdict::Move(Move::Return),
        State::Returned => Verdict::Repeat,
        State::Rejected => Verdict::Contradiction(Contradiction::ReturnedAfterRejected),
        _ => Verdict::Contradiction(Contradiction::NeverSent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::disbursement::step;
    use paymaster_connectors::contract::{Currency, Reason, Reference};
    use proptest::prelude::*;
    use std::time::Duration;

    const FENCE: i64 = 1_000;
    const QUIET: i64 = 2_000;

    fn attempt(state: State, copies: u32) -> Attempt<'static> {
        let amount = Money::new(500, Currency::parse("KES").unwrap());
        Attempt { state, copies, last_copy_at: 0, fence_at: FENCE, amount, payee_account: "mobile:254700000001@op" }
    }

    fn profile() -> Profile {
        Profile { finality: Finality::Status, absent_after: Duration::from_micros(2_000), ..Profile::worst() }
    }

    fn report(outcome: Outcome) -> Report {
        Report::instruction(Reference::new(1, 1), outcome)
    }

    fn rejection(class: ReasonClass) -> Outcome {
        Outcome::Rejected(Reason::new(class, "code", "text"))
    }

    fn verdict(state: State, copies: u32, outcome: Outcome, now: i64) -> Verdict {
        judge(&attempt(state, copies), &report(outcome), Source::Inquiry, &profile(), now)
    }

    #[test]
    fn a_rejection_with_another_copy_in_flight_is_not_final_before_the_fence() {
        let fix = || rejection(ReasonClass::FixData);
        assert_eq!(verdict(State::InDoubt, 2, fix(), FENCE - 1), Verdict::Inconclusive);
        assert_eq!(verdict(State::InDoubt, 2, fix(), FENCE), Verdict::Inconclusive, "the books may be behind");
        assert_eq!(verdict(State::InDoubt, 2, fix(), QUIET), Verdict::Move(Move::Reject));
        assert_eq!(verdict(State::InDoubt, 1, fix(), 0), Verdict::Move(Move::Reject));
        let remembers = Profile { remembers_rejections: true, ..profile() };
        let judged = judge(&attempt(State::InDoubt, 2), &report(fix()), Source::Inquiry, &remembers, 0);
        assert_eq!(judged, Verdict::Move(Move::Reject));
    }

    #[test]
    fn a_late_word_on_one_of_two_copies_proves_nothing_however_late() {
        for source in [Source::Reply, Source::Callback] {
            let late = |state, copies| {
                let rejected = report(rejection(ReasonClass::FixData));
                judge(&attempt(state, copies), &rejected, source, &profile(), i64::MAX)
            };
            assert_eq!(late(State::InDoubt, 2), Verdict::Inconclusive);
            assert_eq!(late(State::InDoubt, 1), Verdict::Move(Move::Reject));
            assert_eq!(late(State::Settled, 2), Verdict::Inconclusive, "the other copy was paid");
            assert_eq!(late(State::Settled, 1), Verdict::Contradiction(Contradiction::RejectedAfterSettled));
        }
    }

    #[test]
    fn what_does_not_say_that_nothing_was_paid_contradicts_no_settlement() {
        for class in [ReasonClass::Unknown, ReasonClass::Duplicate] {
            assert_eq!(verdict(State::Settled, 1, rejection(class), 0), Verdict::Inconclusive);
            assert_eq!(verdict(State::Returned, 1, rejection(class), 0), Verdict::Inconclusive);
        }
    }

    #[test]
    fn absence_proves_nothing_before_fence_and_quiet_time() {
        assert_eq!(verdict(State::InDoubt, 1, Outcome::Absent, FENCE), Verdict::Inconclusive);
        assert_eq!(verdict(State::InDoubt, 1, Outcome::Absent, 2_000), Verdict::Move(Move::Absent));
        assert_eq!(verdict(State::Accepted, 1, Outcome::Absent, i64::MAX), Verdict::Inconclusive);
        assert_eq!(verdict(State::Submitting, 1, Outcome::Absent, i64::MAX), Verdict::Inconclusive);
    }

    #[test]
    fn unknown_and_duplicate_codes_never_reject() {
        for class in [ReasonClass::Unknown, ReasonClass::Duplicate] {
            assert_eq!(verdict(State::InDoubt, 1, rejection(class), i64::MAX), Verdict::Inconclusive);
        }
    }

    #[test]
    fn a_weak_source_does_not_settle() {
        let judged = judge(&attempt(State::Submitting, 1), &report(Outcome::Settled), Source::Reply, &profile(), 0);
        assert_eq!(judged, Verdict::Move(Move::Accept));
        let judged = judge(&attempt(State::Submitting, 1), &report(Outcome::Settled), Source::Callback, &profile(), 0);
        assert_eq!(judged, Verdict::Move(Move::Settle));
    }

    #[test]
    fn other_facts_and_unsent_rows_are_for_a_person() {
        let more = Report {
            amount: Some(Money::new(5_000, attempt(State::Accepted, 1).amount.currency)),
            ..report(Outcome::Settled)
        };
        let judged = judge(&attempt(State::Accepted, 1), &more, Source::Inquiry, &profile(), 0);
        assert_eq!(judged, Verdict::Contradiction(Contradiction::OtherAmount));
        let other = Report { payee_account: Some("mobile:1@op".into()), ..report(Outcome::Settled) };
        let judged = judge(&attempt(State::Accepted, 1), &other, Source::Inquiry, &profile(), 0);
        assert_eq!(judged, Verdict::Contradiction(Contradiction::OtherAccount));
        assert_eq!(verdict(State::Queued, 0, Outcome::Settled, 0), Verdict::Contradiction(Contradiction::NeverSent));
        assert_eq!(
            verdict(State::Rejected, 1, Outcome::Settled, 0),
            Verdict::Contradiction(Contradiction::SettledAfterRejected)
        );
        assert_eq!(
            verdict(State::Settled, 1, rejection(ReasonClass::FixData), 0),
            Verdict::Contradiction(Contradiction::RejectedAfterSettled)
        );
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Accepted),
            Just(Outcome::Settled),
            Just(Outcome::Absent),
            Just(rejection(ReasonClass::FixData)),
            Just(rejection(ReasonClass::Unknown)),
            Just(Outcome::Returned(Reason::new(ReasonClass::FixAtBank, "closed", ""))),
        ]
    }

    fn states() -> impl Strategy<Value = State> {
        (0..State::ALL.len()).prop_map(|position| State::ALL[position].0)
    }

    proptest! {
        #[test]
        fn every_move_is_in_the_table(state in states(), copies in 1_u32..3, outcome in outcomes(), now in 0_i64..4_000) {
            if let Verdict::Move(asked) = verdict(state, copies, outcome, now) {
                prop_assert!(step(state, asked).is_ok(), "{state} {asked:?}");
            }
        }

        #[test]
        fn a_report_applied_twice_is_applied_once(state in states(), outcome in outcomes(), now in 0_i64..4_000) {
            if let Verdict::Move(asked) = verdict(state, 1, outcome.clone(), now) {
                let after = step(state, asked).unwrap();
                prop_assert_eq!(verdict(after, 1, outcome, now), Verdict::Repeat);
            }
        }

        #[test]
        fn the_end_does_not_depend_on_the_order_of_truthful_reports(order in Just(vec![
            Outcome::Accepted, Outcome::Settled, Outcome::Settled, Outcome::Returned(Reason::unknown("r", "")), Outcome::Accepted,
        ]).prop_shuffle()) {
            let end = order.into_iter().fold(State::InDoubt, |state, outcome| match verdict(state, 1, outcome, 0) {
                Verdict::Move(asked) => step(state, asked).unwrap(),
                _ => state,
            });
            prop_assert_eq!(end, State::Returned);
        }
    }
}
