//! Exceptions: what each is about, what two persons may decide of it, and which moves a decision takes a payment by.
//! Deliberately not here: opening them, and the money that waits for a decision.

use super::disbursement::{Move, State};

/// What an exception is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matter {
    /// Where the money of a known payment is: it waits in suspense.
    Money,
    /// Something that has not left, and may not leave as it is.
    Unsent,
    /// Payments on their way that will have no end by themselves.
    Endless,
    /// Something to know of; no payment is moved by it.
    Notice,
}

/// The second return of one payment, under another name of the provider's.
pub const RETURNED_TWICE: &str = "returned_twice";
/// Asked about for so long that a person must find out.
pub const DOUBT_TOO_OLD: &str = "doubt_too_old";
/// Two generations of one entitlement were paid, or may have been.
pub const OVERPAID: &str = "overpaid";

/// Every kind of exception. A kind that is not here is a notice.
pub const KINDS: [(&str, Matter); 15] = [
    ("settled_after_rejected", Matter::Money),
    ("returned_after_rejected", Matter::Money),
    ("rejected_after_settled", Matter::Money),
    ("other_amount", Matter::Money),
    ("other_account", Matter::Money),
    (RETURNED_TWICE, Matter::Money),
    ("never_sent", Matter::Unsent),
    ("content_changed", Matter::Unsent),
    ("cannot_be_written", Matter::Unsent),
    ("no_banking_day", Matter::Unsent),
    (DOUBT_TOO_OLD, Matter::Endless),
    ("accepted_then_absent", Matter::Endless),
    ("foreign_reference", Matter::Notice),
    ("provider_blocked", Matter::Notice),
    (OVERPAID, Matter::Notice),
];

/// What a kind of exception is about.
pub fn matter(code: &str) -> Matter {
    KINDS.iter().find(|(known, _)| *known == code).map_or(Matter::Notice, |(_, matter)| *matter)
}

/// What two persons decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It was paid.
    Settled,
    /// It was not paid and will not be.
    Rejected,
    /// It was paid and came back.
    Returned,
    /// Nothing changes: what is known already is right.
    Stands,
    /// It may leave now.
    Send,
    /// It will not leave any more.
    Withdraw,
}

use Decision as D;
use Move as M;
use State as S;

impl Decision {
    /// All decisions with their stored and shown names.
    pub const ALL: [(Self, &'static str); 6] = [
        (D::Settled, "settled"),
        (D::Rejected, "rejected"),
        (D::Returned, "returned"),
        (D::Stands, "stands"),
        (D::Send, "send"),
        (D::Withdraw, "withdraw"),
    ];

    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(decision, _)| *decision == self).map_or("?", |(_, name)| name)
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(decision, _)| *decision)
    }
}

/// What may be decided of a matter.
pub fn decisions(matter: Matter) -> &'static [Decision] {
    match matter {
        Matter::Money | Matter::Endless => &[D::Settled, D::Rejected, D::Returned, D::Stands],
        Matter::Unsent => &[D::Send, D::Withdraw, D::Settled, D::Stands],
        Matter::Notice => &[D::Stands],
    }
}

/// From where a payment stands, the moves to what was decided. What is not here is not decided this way.
const WAYS: &[(State, Decision, &[Move])] = &[
    (S::Rejected, D::Settled, &[M::Overrule]),
    (S::Rejected, D::Returned, &[M::Overrule, M::Return]),
    (S::Settled, D::Rejected, &[M::Overrule]),
    (S::Settled, D::Returned, &[M::Return]),
    (S::Returned, D::Settled, &[M::Overrule]),
    (S::Returned, D::Rejected, &[M::Overrule, M::Overrule]),
    (S::Accepted, D::Settled, &[M::Settle]),
    (S::Accepted, D::Rejected, &[M::Reject]),
    (S::Accepted, D::Returned, &[M::Return]),
    (S::InDoubt, D::Settled, &[M::Settle]),
    (S::InDoubt, D::Rejected, &[M::Reject]),
    (S::InDoubt, D::Returned, &[M::Return]),
    (S::Queued, D::Settled, &[M::Overrule]),
];

/// The moves that take a payment from `state` to what was decided; `None` where no way leads there.
pub fn way(state: State, decision: Decision) -> Option<&'static [Move]> {
    WAYS.iter().find(|(from, to, _)| (*from, *to) == (state, decision)).map(|(.., moves)| *moves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::disbursement::step;
    use crate::domain::judge::Contradiction;

    #[test]
    fn every_way_leads_where_it_says() {
        for (from, decision, moves) in WAYS {
            let end = moves.iter().try_fold(*from, |state, by| step(state, *by));
            let wanted = match decision {
                D::Settled => S::Settled,
                D::Rejected => S::Rejected,
                _ => S::Returned,
            };
            assert_eq!(end, Ok(wanted), "{from} {decision:?}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for (decision, name) in Decision::ALL {
            assert_eq!((Decision::parse(name), decision.name()), (Some(decision), name));
        }
        assert_eq!(Decision::parse("paid"), None);
    }

    #[test]
    fn every_contradiction_is_more_than_a_notice() {
        use Contradiction as C;
        let all = [
            C::OtherAmount,
            C::OtherAccount,
            C::NeverSent,
            C::SettledAfterRejected,
            C::RejectedAfterSettled,
            C::ReturnedAfterRejected,
        ];
        for one in all {
            assert_ne!(matter(one.code()), Matter::Notice, "{one:?}");
        }
        assert_eq!(matter("something new"), Matter::Notice);
    }

    #[test]
    fn what_is_in_flight_is_neither_sent_nor_withdrawn_by_a_decision() {
        for (state, ..) in S::ALL {
            assert_eq!(way(state, D::Send), None);
            assert_eq!(way(state, D::Withdraw), None);
            assert!(!(state == S::Submitting && D::ALL.iter().any(|(one, _)| way(state, *one).is_some())));
        }
    }
}
