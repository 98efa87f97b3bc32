//! The states of one disbursement and the only moves between them.
//! Deliberately not here: which move a provider's report asks for (`judge`).

use std::fmt;

use super::guard::Guard;

/// Where one sum for one payee stands, in one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Accepted into a payroll, in no batch.
    Planned,
    /// Stopped by a person or rule before anything left.
    Held,
    /// In a batch that waits for release or a worker.
    Queued,
    /// A worker has the durable intent to send it. A crash here is a doubt.
    Submitting,
    /// The provider has it and is working on it.
    Accepted,
    /// Nobody knows; only evidence ends this.
    InDoubt,
    /// Funds have arrived.
    Settled,
    /// Proven not paid under this reference, for ever.
    Rejected,
    /// Came back after settlement.
    Returned,
    /// Withdrawn before anything left.
    Cancelled,
}

/// What may happen to a disbursement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Move {
    /// Stop it before it leaves.
    Hold,
    /// Back to waiting: a hold lifted, or a claim that provably wrote nothing.
    Requeue,
    /// Put it into a batch.
    Release,
    /// Durable intent to send.
    Claim,
    /// The outcome of a send is not known.
    Lose,
    /// The same bytes under the same reference, to a provider that deduplicates, inside its window.
    Resend,
    /// The provider has it.
    Accept,
    /// Funds have arrived.
    Settle,
    /// Conclusively not paid.
    Reject,
    /// The provider does not have it, and no copy can arrive any more.
    Absent,
    /// Came back.
    Return,
    /// Withdraw before it leaves.
    Cancel,
    /// Two persons decide against what was taken for certain, with both evidences.
    Overrule,
}

use Move as M;
use State as S;

/// Every legal move. The diagram in the crate's documentation is drawn from this table.
pub const TRANSITIONS: &[(State, Move, State)] = &[
    (S::Planned, M::Hold, S::Held),
    (S::Queued, M::Hold, S::Held),
    (S::Held, M::Requeue, S::Planned),
    (S::Planned, M::Release, S::Queued),
    (S::Queued, M::Claim, S::Submitting),
    (S::Submitting, M::Requeue, S::Queued),
    (S::Submitting, M::Lose, S::InDoubt),
    (S::Accepted, M::Lose, S::InDoubt),
    (S::InDoubt, M::Resend, S::Submitting),
    (S::Submitting, M::Accept, S::Accepted),
    (S::InDoubt, M::Accept, S::Accepted),
    (S::Submitting, M::Settle, S::Settled),
    (S::Accepted, M::Settle, S::Settled),
    (S::InDoubt, M::Settle, S::Settled),
    (S::Submitting, M::Reject, S::Rejected),
    (S::Accepted, M::Reject, S::Rejected),
    (S::InDoubt, M::Reject, S::Rejected),
    (S::InDoubt, M::Absent, S::Rejected),
    (S::Submitting, M::Return, S::Returned),
    (S::Accepted, M::Return, S::Returned),
    (S::InDoubt, M::Return, S::Returned),
    (S::Settled, M::Return, S::Returned),
    (S::Planned, M::Cancel, S::Cancelled),
    (S::Held, M::Cancel, S::Cancelled),
    (S::Queued, M::Cancel, S::Cancelled),
    (S::Rejected, M::Overrule, S::Settled),
    (S::Settled, M::Overrule, S::Rejected),
    (S::Returned, M::Overrule, S::Settled),
    (S::Queued, M::Overrule, S::Settled),
];

/// A move the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {state} disbursement cannot {asked:?}")]
pub struct Refusal {
    /// Where it stands.
    pub state: State,
    /// What was asked.
    pub asked: Move,
}

/// The state after a move; the only reader of [`TRANSITIONS`].
pub fn step(state: State, asked: Move) -> Result<State, Refusal> {
    let found = TRANSITIONS.iter().find(|(from, by, _)| (*from, *by) == (state, asked));
    found.map(|(_, _, to)| *to).ok_or(Refusal { state, asked })
}

impl State {
    /// All states with their stored code and shown name. Codes are for ever.
    pub const ALL: [(Self, i64, &'static str); 10] = [
        (S::Planned, 1, "planned"),
        (S::Held, 2, "held"),
        (S::Queued, 3, "queued"),
        (S::Submitting, 4, "submitting"),
        (S::Accepted, 5, "accepted"),
        (S::InDoubt, 6, "in_doubt"),
        (S::Settled, 7, "settled"),
        (S::Rejected, 8, "rejected"),
        (S::Returned, 9, "returned"),
        (S::Cancelled, 10, "cancelled"),
    ];

    /// The stored code.
    pub fn code(self) -> i64 {
        Self::ALL.iter().find(|(state, ..)| *state == self).map_or(0, |(_, code, _)| *code)
    }

    /// Reads a stored code.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == code).map(|(state, ..)| *state)
    }

    /// The shown name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(state, ..)| *state == self).map_or("?", |(.., name)| name)
    }

    /// Reads a shown name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(.., known)| *known == name).map(|(state, ..)| *state)
    }

    /// An end that needs evidence. `Settled` may still be returned.
    pub fn is_final(self) -> bool {
        matches!(self, S::Settled | S::Rejected | S::Returned | S::Cancelled)
    }

    /// Whether another generation may follow: the money surely did not go, or has come back.
    pub fn may_be_followed(self) -> bool {
        let over = matches!(self, S::Rejected | S::Returned | S::Cancelled);
        over || (self.is_in_flight() && !Guard::NothingNewInDoubt.stands())
    }

    /// Money may be on its way.
    pub fn is_in_flight(self) -> bool {
        matches!(self, S::Submitting | S::Accepted | S::InDoubt)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The state diagram in Mermaid, drawn from the table.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n");
    for (from, by, to) in TRANSITIONS {
        text.push_str(&format!("    {from:?} --> {to:?}: {by:?}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_never_goes_back_to_the_queue() {
        for (from, by, to) in TRANSITIONS {
            assert!(!(*from == S::InDoubt && matches!(to, S::Queued | S::Planned)), "{by:?}");
        }
        assert!(step(S::InDoubt, M::Requeue).is_err());
        assert_eq!(step(S::InDoubt, M::Absent), Ok(S::Rejected));
    }

    #[test]
    fn nothing_in_flight_can_be_held_or_cancelled() {
        for (state, ..) in State::ALL {
            if state.is_in_flight() || state.is_final() {
                assert!(step(state, M::Hold).is_err(), "{state}");
                assert!(step(state, M::Cancel).is_err(), "{state}");
            }
        }
    }

    #[test]
    fn final_states_leave_only_by_return_or_overrule() {
        for (from, by, _) in TRANSITIONS {
            if from.is_final() {
                assert!(matches!(by, M::Return | M::Overrule), "{from} {by:?}");
            }
        }
    }

    #[test]
    fn the_table_is_a_function_and_reaches_every_state() {
        for (position, (from, by, _)) in TRANSITIONS.iter().enumerate() {
            assert!(!TRANSITIONS[..position].iter().any(|(f, b, _)| (f, b) == (from, by)), "{from} {by:?}");
        }
        let mut reached = vec![S::Planned];
        while let Some((.., to)) = TRANSITIONS.iter().find(|(f, _, t)| reached.contains(f) && !reached.contains(t)) {
            reached.push(*to);
        }
        assert_eq!(reached.len(), State::ALL.len());
    }
}
