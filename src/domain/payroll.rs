//! The states of a payroll and the only moves between them. They never go back once money may have left.

use std::fmt;

/// Where a payroll stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayrollState {
    /// The file is being taken in; nothing of it can be seen or paid.
    Receiving,
    /// Not taken in as a whole. Its rows are gone; its reject file stays.
    Refused,
    /// Taken in, waiting for its maker.
    Draft,
    /// Waiting for a checker.
    Submitted,
    /// Approved by somebody who did not make it.
    Approved,
    /// Its money is reserved and its batches may leave.
    Released,
    /// Every payment has an end.
    Completed,
    /// What was instructed, acknowledged and booked agrees to the minor unit.
    Reconciled,
    /// Withdrawn before release.
    Void,
}

/// What may happen to a payroll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayrollMove {
    /// The file cannot be taken in.
    Refuse,
    /// The file has been taken in whole.
    Receive,
    /// The maker hands it to a checker.
    Submit,
    /// A checker agrees.
    Approve,
    /// Back to the maker.
    Recall,
    /// Reserve the money and let it go.
    Release,
    /// The last payment came to its end.
    Complete,
    /// The account's statements show the same.
    Reconcile,
    /// Withdraw it.
    Void,
}

/// What a payroll pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PayrollKind {
    /// What is owed and was not paid before.
    #[default]
    Payment,
    /// Again, what was rejected, came back or was cancelled: each row is the next generation of one that is known.
    Reissue,
}

impl PayrollKind {
    /// All kinds with their stored and shown names.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Payment, "payment"), (Self::Reissue, "reissue")];

    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("?", |(_, name)| name)
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

use PayrollMove as M;
use PayrollState as S;

/// Every legal move.
pub const PAYROLL_TRANSITIONS: &[(PayrollState, PayrollMove, PayrollState)] = &[
    (S::Receiving, M::Refuse, S::Refused),
    (S::Receiving, M::Receive, S::Draft),
    (S::Draft, M::Submit, S::Submitted),
    (S::Submitted, M::Approve, S::Approved),
    (S::Submitted, M::Recall, S::Draft),
    (S::Approved, M::Recall, S::Draft),
    (S::Approved, M::Release, S::Released),
    (S::Released, M::Complete, S::Completed),
    (S::Completed, M::Reconcile, S::Reconciled),
    (S::Draft, M::Void, S::Void),
    (S::Submitted, M::Void, S::Void),
    (S::Approved, M::Void, S::Void),
];

impl PayrollState {
    const NAMES: [(Self, &'static str); 9] = [
        (S::Receiving, "receiving"),
        (S::Refused, "refused"),
        (S::Draft, "draft"),
        (S::Submitted, "submitted"),
        (S::Approved, "approved"),
        (S::Released, "released"),
        (S::Completed, "completed"),
        (S::Reconciled, "reconciled"),
        (S::Void, "void"),
    ];

    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(state, _)| *state == self).map_or("?", |(_, name)| name)
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }

    /// The state after a move, or `None` where the table has no such move.
    pub fn step(self, asked: PayrollMove) -> Option<Self> {
        PAYROLL_TRANSITIONS.iter().find(|(from, by, _)| (*from, *by) == (self, asked)).map(|(_, _, to)| *to)
    }
}

impl fmt::Display for PayrollState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_back_after_release() {
        for (from, by, to) in PAYROLL_TRANSITIONS {
            if matches!(from, S::Released | S::Completed | S::Reconciled) {
                assert!(matches!(to, S::Completed | S::Reconciled), "{by:?}");
            }
        }
        assert_eq!(S::Released.step(M::Recall), None);
        assert_eq!(S::Draft.step(M::Release), None);
        assert_eq!(S::Submitted.step(M::Release), None);
    }
}
