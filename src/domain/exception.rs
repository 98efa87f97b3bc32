//! Exceptions: what each is about and whose it is, what two persons may decide of it, and which moves a decision takes
//! a payment by.
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

/// Who must do something about an exception before two persons can decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Whoever sent the payroll: data must be corrected.
    Registry,
    /// Whoever pays: the provider must answer.
    Bank,
    /// Whoever answers for the money: reconcile, fund, recover.
    Finance,
    /// Ourselves: configuration, formats, how we are reached.
    Operations,
}

impl Owner {
    /// All owners with their shown names.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Registry, "registry"),
        (Self::Bank, "bank"),
        (Self::Finance, "finance"),
        (Self::Operations, "operations"),
    ];

    /// Shown name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(owner, _)| *owner == self).map_or("?", |(_, name)| name)
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(owner, _)| *owner)
    }
}

/// Every kind of exception, what it is about, and whose it is. A kind that is not here is a notice of operations.
pub const KINDS: [(&str, Matter, Owner); 42] = [
    // What a provider says of one payment contradicts what is known.
    ("settled_after_rejected", Matter::Money, Owner::Bank),
    ("returned_after_rejected", Matter::Money, Owner::Bank),
    ("rejected_after_settled", Matter::Money, Owner::Bank),
    ("other_amount", Matter::Money, Owner::Bank),
    ("other_account", Matter::Money, Owner::Bank),
    (RETURNED_TWICE, Matter::Money, Owner::Bank),
    // A batch or a payment does not leave.
    ("never_sent", Matter::Unsent, Owner::Bank),
    ("content_changed", Matter::Unsent, Owner::Operations),
    ("cannot_be_written", Matter::Unsent, Owner::Registry),
    ("no_banking_day", Matter::Unsent, Owner::Operations),
    // Nothing will end it by itself.
    (DOUBT_TOO_OLD, Matter::Endless, Owner::Bank),
    ("accepted_then_absent", Matter::Endless, Owner::Bank),
    // To know of.
    ("foreign_reference", Matter::Notice, Owner::Bank),
    ("provider_blocked", Matter::Notice, Owner::Finance),
    (OVERPAID, Matter::Notice, Owner::Finance),
    // Files that a provider leaves.
    ("mailbox_blocked", Matter::Notice, Owner::Operations),
    ("file_unreadable", Matter::Notice, Owner::Operations),
    ("entries_unreadable", Matter::Notice, Owner::Operations),
    // Its statements, and what they book.
    ("statement_differs", Matter::Notice, Owner::Bank),
    ("statement_amended", Matter::Notice, Owner::Bank),
    ("statement_gap", Matter::Notice, Owner::Bank),
    ("opening_differs", Matter::Notice, Owner::Bank),
    ("unknown_debit", Matter::Notice, Owner::Finance),
    ("unknown_credit", Matter::Notice, Owner::Finance),
    ("unknown_entries", Matter::Notice, Owner::Finance),
    ("batch_total_differs", Matter::Notice, Owner::Finance),
    ("booked_before_sent", Matter::Notice, Owner::Bank),
    ("debited_twice", Matter::Notice, Owner::Bank),
    ("return_taken_back", Matter::Notice, Owner::Bank),
    // Its status reports.
    ("status_without_original", Matter::Notice, Owner::Operations),
    ("status_foreign", Matter::Notice, Owner::Operations),
    ("status_foreign_group", Matter::Notice, Owner::Operations),
    ("status_totals_differ", Matter::Notice, Owner::Bank),
    ("file_refused", Matter::Notice, Owner::Operations),
    ("said_duplicate", Matter::Notice, Owner::Bank),
    ("contradicts_group", Matter::Notice, Owner::Bank),
    ("unknown_reason", Matter::Notice, Owner::Operations),
    ("unknown_status", Matter::Notice, Owner::Operations),
    ("cancelled", Matter::Notice, Owner::Bank),
    ("blocked", Matter::Notice, Owner::Bank),
    ("no_status", Matter::Notice, Owner::Bank),
    ("unknown_reference", Matter::Notice, Owner::Bank),
];

/// What a kind of exception is about.
pub fn matter(code: &str) -> Matter {
    KINDS.iter().find(|(known, ..)| *known == code).map_or(Matter::Notice, |(_, matter, _)| *matter)
}

/// Whose a kind of exception is.
pub fn owner(code: &str) -> Owner {
    KINDS.iter().find(|(known, ..)| *known == code).map_or(Owner::Operations, |(.., owner)| *owner)
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
        for (owner, name) in Owner::ALL {
            assert_eq!((Owner::parse(name), owner.name()), (Some(owner), name));
            assert!(KINDS.iter().any(|(.., of)| *of == owner), "{name} has nothing to do");
        }
    }

    #[test]
    fn a_kind_is_in_the_table_once() {
        for (position, (code, ..)) in KINDS.iter().enumerate() {
            assert!(KINDS[..position].iter().all(|(before, ..)| before != code), "{code}");
        }
        assert_eq!(owner("something new"), Owner::Operations);
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
