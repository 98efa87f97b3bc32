//! What goes wrong at the bank, drawn from a seed and a name, or called for by the end of a payee's account number.
//! Deliberately not here: doing the harm; the bank asks, and acts.

use serde::{Deserialize, Serialize};

use super::super::faults::roll;

/// An account that ends so does not exist: rejected at once, AC01.
pub const UNKNOWN_ACCOUNT: &str = "9101";
/// An account that ends so is closed: rejected at once, AC04.
pub const CLOSED_ACCOUNT: &str = "9104";
/// The money is said to be short: rejected at once, AM04.
pub const OUT_OF_FUNDS: &str = "9105";
/// Accepted, and rejected on the next business day, AC06.
pub const LATE_REJECTION: &str = "9106";
/// Paid, and returned on the next business day, AC04.
pub const RETURNED_NEXT_DAY: &str = "9111";
/// Paid, and returned on the third business day, MD07.
pub const RETURNED_THIRD_DAY: &str = "9113";
/// Paid, and missing in every statement until the bank is healed.
pub const NEVER_BOOKED: &str = "9120";
/// Paid, and its line comes in the next business day's statement.
pub const BOOKED_LATE: &str = "9121";
/// Paid, and the statement shows one minor unit less.
pub const SHOWN_SHORT: &str = "9122";
/// Rejected at once with a code that no list has, ZZ99.
pub const UNKNOWN_CODE: &str = "9199";
/// An account that ends so has no fault of its own.
pub const PLAIN: &str = "0000";

/// Reasons of drawn rejections.
const DRAWN: [&str; 4] = ["AC01", "AC04", "AC06", "MS03"];

/// The bank's faults. A per-mille of 1000 or more is certainty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BankFaults {
    /// Every draw depends on it.
    pub seed: u64,
    /// Whether the ends of account numbers mean something.
    pub account_suffixes: bool,
    /// Payments that are rejected at once.
    pub reject_per_mille: u16,
    /// Payments that are accepted and rejected on the next business day.
    pub late_reject_per_mille: u16,
    /// Payments that come back.
    pub return_per_mille: u16,
    /// After how many business days.
    pub return_after_days: u32,
    /// Payments whose line is missing in the day's statement and comes in the next one.
    pub skip_entry_per_mille: u16,
    /// Payments that a statement shows with one minor unit less.
    pub wrong_amount_per_mille: u16,
    /// Every statement appears twice, under two names.
    pub duplicate_statement: bool,
    /// The statement of this number is withheld until the bank is healed; 0 is none.
    pub statement_gap: u32,
    /// The statement of this number lacks its last entry, and comes again, whole and under the same id, on the next
    /// business day; 0 is none.
    pub amended_statement: u32,
    /// Statements appear so many business days late.
    pub statement_lag_days: u32,
    /// Debits that nobody ordered.
    pub foreign_debits_per_day: u32,
    /// Credits that nobody expects.
    pub foreign_credits_per_day: u32,
    /// Files that get no status until the bank is healed.
    pub status_lost_per_mille: u16,
    /// Statuses do not name the file that they are about.
    pub status_not_provided: bool,
    /// Every status appears twice, under two names.
    pub status_twice: bool,
    /// A file whose message id was there before is executed again.
    pub forgets_message_ids: bool,
    /// The first so many files are rejected as a whole, FF01.
    pub refuse_first_files: u32,
    /// The first so many files are neither executed nor answered until the bank is healed.
    pub lose_first_files: u32,
}

impl Default for BankFaults {
    fn default() -> Self {
        Self { account_suffixes: true, ..Self::none() }
    }
}

/// When a line of the statement may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Shown {
    /// On its day.
    #[default]
    InTime,
    /// One business day later.
    Late,
    /// When the bank is healed.
    Healed,
}

/// What is to become of one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fate {
    /// Rejected at once.
    pub(super) rejected: Option<&'static str>,
    /// Rejected on the next business day.
    pub(super) rejected_late: Option<&'static str>,
    /// Returned after so many business days.
    pub(super) returned: Option<(u32, &'static str)>,
    pub(super) shown: Shown,
    /// Shown with one minor unit less.
    pub(super) is_short: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Die {
    Reject = 101,
    Reason,
    RejectLate,
    Return,
    SkipEntry,
    WrongAmount,
    StatusLost,
    Foreign,
}

impl BankFaults {
    /// Nothing goes wrong, whatever the accounts are.
    pub fn none() -> Self {
        Self {
            seed: 0,
            account_suffixes: false,
            reject_per_mille: 0,
            late_reject_per_mille: 0,
            return_per_mille: 0,
            return_after_days: 1,
            skip_entry_per_mille: 0,
            wrong_amount_per_mille: 0,
            duplicate_statement: false,
            statement_gap: 0,
            amended_statement: 0,
            statement_lag_days: 0,
            foreign_debits_per_day: 0,
            foreign_credits_per_day: 0,
            status_lost_per_mille: 0,
            status_not_provided: false,
            status_twice: false,
            forgets_message_ids: false,
            refuse_first_files: 0,
            lose_first_files: 0,
        }
    }

    /// What is to become of a payment: its account's end speaks first, then the dice.
    pub(super) fn fate(&self, reference: &str, account: &str) -> Fate {
        let called = self.account_suffixes.then(|| called_for(account)).flatten();
        called.unwrap_or_else(|| self.drawn(reference))
    }

    fn drawn(&self, reference: &str) -> Fate {
        let reason = || {
            let which = roll(self.seed, Die::Reason as u64, reference) % DRAWN.len() as u64;
            DRAWN.get(usize::try_from(which).unwrap_or(0)).copied()
        };
        let falls = |die, per_mille| self.falls(die, per_mille, reference);
        if falls(Die::Reject, self.reject_per_mille) {
            return Fate { rejected: reason(), ..Fate::default() };
        }
        if falls(Die::RejectLate, self.late_reject_per_mille) {
            return Fate { rejected_late: reason(), ..Fate::default() };
        }
        let is_late = falls(Die::SkipEntry, self.skip_entry_per_mille);
        Fate {
            returned: falls(Die::Return, self.return_per_mille).then_some((self.return_after_days.max(1), "AC04")),
            shown: if is_late { Shown::Late } else { Shown::InTime },
            is_short: falls(Die::WrongAmount, self.wrong_amount_per_mille),
            ..Fate::default()
        }
    }

    /// Whether the status of a file is withheld.
    pub(super) fn loses_status(&self, message_id: &str) -> bool {
        self.falls(Die::StatusLost, self.status_lost_per_mille, message_id)
    }

    /// The sum of an entry that nobody ordered.
    pub(super) fn foreign_minor(&self, name: &str) -> i64 {
        let drawn = roll(self.seed, Die::Foreign as u64, name) % FOREIGN_MINOR_MAX;
        i64::try_from(drawn).unwrap_or(0) + 1
    }

    fn falls(&self, die: Die, per_mille: u16, key: &str) -> bool {
        per_mille > 0 && roll(self.seed, die as u64, key) % 1000 < u64::from(per_mille)
    }
}

/// Largest entry that nobody ordered.
const FOREIGN_MINOR_MAX: u64 = 100_000;

fn called_for(account: &str) -> Option<Fate> {
    let end = account.get(account.len().checked_sub(PLAIN.len())?..)?;
    let plain = Fate::default();
    Some(match end {
        UNKNOWN_ACCOUNT => Fate { rejected: Some("AC01"), ..plain },
        CLOSED_ACCOUNT => Fate { rejected: Some("AC04"), ..plain },
        OUT_OF_FUNDS => Fate { rejected: Some("AM04"), ..plain },
        UNKNOWN_CODE => Fate { rejected: Some("ZZ99"), ..plain },
        LATE_REJECTION => Fate { rejected_late: Some("AC06"), ..plain },
        RETURNED_NEXT_DAY => Fate { returned: Some((1, "AC04")), ..plain },
        RETURNED_THIRD_DAY => Fate { returned: Some((3, "MD07")), ..plain },
        NEVER_BOOKED => Fate { shown: Shown::Healed, ..plain },
        BOOKED_LATE => Fate { shown: Shown::Late, ..plain },
        SHOWN_SHORT => Fate { is_short: true, ..plain },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_seed_and_the_share() {
        let faults = BankFaults { seed: 7, reject_per_mille: 100, return_per_mille: 100, ..BankFaults::none() };
        let fates = |faults: &BankFaults| -> Vec<Fate> {
            (0..10_000).map(|n| faults.fate(&format!("REF{n:08}"), "000000000000")).collect()
        };
        let first = fates(&faults);
        assert_eq!(first, fates(&faults));
        assert_ne!(first, fates(&BankFaults { seed: 8, ..faults.clone() }));
        let count = |of: fn(&Fate) -> bool| first.iter().filter(|fate| of(fate)).count();
        assert!((800..1200).contains(&count(|fate| fate.rejected.is_some())));
        assert!((700..1100).contains(&count(|fate| fate.returned.is_some())));
        assert!(first.iter().all(|fate| fate.rejected.is_none() || fate.returned.is_none()));
    }

    #[test]
    fn ends_of_accounts_speak_only_when_they_may() {
        let fate = |faults: &BankFaults| faults.fate("R", "123456789104");
        assert_eq!(fate(&BankFaults::default()).rejected, Some("AC04"));
        assert_eq!(fate(&BankFaults::none()), Fate::default());
        for odd in ["", "1", "910é", "é9101"] {
            BankFaults::default().fate("R", odd);
        }
    }

    #[test]
    fn what_is_left_out_takes_its_default_and_what_is_misspelt_is_refused() {
        assert_eq!(serde_json::from_str::<BankFaults>("{}").unwrap(), BankFaults::default());
        assert!(serde_json::from_str::<BankFaults>(r#"{"statement_lag": 1}"#).is_err());
    }
}
