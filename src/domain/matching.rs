//! What a booked entry means for the payments we ordered: by reference first, then sum, currency and day.
//! Deliberately not here: finding the payment, reading statements, and what a report does to it.

use chrono::NaiveDate;
use paymaster_connectors::contract::{
    Direction, Entry, EntryDetail, EntryKind, EntryStatus, Money, Outcome, Reason, Report, Source, StatementKind,
};

/// Fewer characters of an account than this do not tell it from another.
const ACCOUNT_CHARS_MIN: usize = 6;

/// What an entry, or one payment of it, is to us. Stored by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineKind {
    /// Money moved for a payment.
    Payment,
    /// Money of a payment moved back.
    Return,
    /// The bank's own charge.
    Fee,
    /// It may still change or vanish, or never counts: no effect.
    NotBooked,
}

impl LineKind {
    const NAMES: [(Self, &'static str); 4] =
        [(Self::Payment, "payment"), (Self::Return, "return"), (Self::Fee, "fee"), (Self::NotBooked, "not_booked")];

    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("?", |(_, name)| name)
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// What an entry with one of its details, or none, is. A detail has the kind of its entry or says otherwise.
    pub fn of(entry: &Entry, detail: Option<&EntryDetail>) -> Self {
        if entry.status != EntryStatus::Booked {
            return Self::NotBooked;
        }
        match detail.map_or(entry.kind, |detail| detail.kind) {
            EntryKind::Fee => Self::Fee,
            EntryKind::Return => Self::Return,
            EntryKind::Payment if entry.is_reversal => Self::Return,
            EntryKind::Payment => Self::Payment,
        }
    }
}

/// How strong the word of a statement is.
pub fn source(kind: StatementKind) -> Source {
    match kind {
        StatementKind::Statement => Source::Statement,
        StatementKind::Notice => Source::SettlementFile,
        // The bank may still take back what it says during the day.
        StatementKind::Interim => Source::Inquiry,
    }
}

/// One booked line that names a payment of ours.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is.
    pub kind: LineKind,
    /// What it does to the account.
    pub direction: Direction,
    /// The sum it states; what it does not state is not taken for right.
    pub amount: Money,
    /// The day it was booked.
    pub booked_on: Option<NaiveDate>,
    /// The other side's account as the bank writes it, or empty.
    pub account: String,
    /// The bank's name for it, or empty.
    pub bank_reference: String,
    /// Why it came back, where that is stated.
    pub reason: Option<Reason>,
}

/// The payment a line names.
#[derive(Debug, Clone)]
pub struct Ordered<'a> {
    /// What was instructed.
    pub amount: Money,
    /// The account that was instructed, as a financial address.
    pub payee_account: &'a str,
    /// The earliest day on which it can have been booked: our intent, one day earlier for other time zones.
    pub not_before: NaiveDate,
    /// A statement debits it already.
    pub debited: bool,
}

/// Why a line that names a payment of ours is for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Misfit {
    /// Booked before we sent it.
    Early,
    /// Debited a second time.
    Twice,
    /// A return that is taken back.
    ReturnTakenBack,
}

impl Misfit {
    /// Stable code of the exception, and the verdict on the entry.
    pub fn code(self) -> &'static str {
        match self {
            Self::Early => "booked_before_sent",
            Self::Twice => "debited_twice",
            Self::ReturnTakenBack => "return_taken_back",
        }
    }
}

/// What a line says of the payment it names; `Ok(None)` when it says nothing yet.
pub fn meaning(line: &Line, ordered: &Ordered<'_>) -> Result<Option<Outcome>, Misfit> {
    let early = line.booked_on.is_some_and(|day| day < ordered.not_before);
    match (line.kind, line.direction) {
        (LineKind::NotBooked | LineKind::Fee, _) => Ok(None),
        (LineKind::Payment | LineKind::Return, _) if early => Err(Misfit::Early),
        (LineKind::Payment, Direction::Debit) if ordered.debited => Err(Misfit::Twice),
        (LineKind::Payment, Direction::Debit) => Ok(Some(Outcome::Settled)),
        // Our reference on money that comes in is our own payment coming back, whatever the bank calls it.
        (LineKind::Payment | LineKind::Return, Direction::Credit) => {
            let unstated = || Reason::unknown("unstated", "the bank does not say why");
            Ok(Some(Outcome::Returned(line.reason.clone().unwrap_or_else(unstated))))
        }
        (LineKind::Return, Direction::Debit) => Err(Misfit::ReturnTakenBack),
    }
}

/// The report that a line comes to. Sum and account are the bank's, so that others than ours are contradictions.
pub fn report(line: &Line, ordered: &Ordered<'_>, report: Report) -> Report {
    // On a return the bank may name our own account as the other side.
    let is_return = matches!(report.outcome, Outcome::Returned(_));
    let other = !is_return && !line.account.is_empty() && !names(ordered.payee_account, &line.account);
    Report {
        amount: Some(line.amount),
        payee_account: other.then(|| line.account.clone()),
        provider_reference: Some(&line.bank_reference).filter(|name| !name.is_empty()).cloned(),
        ..report
    }
}

/// Whether a bank's way of writing an account means this financial address: banks put spaces into numbers, and some
/// cut the bank's own part off the front or write only the last digits behind a mask.
pub fn names(address: &str, written: &str) -> bool {
    let id = address.split_once(':').map_or(address, |(_, rest)| rest);
    let id = id.rsplit_once('@').map_or(id, |(id, _)| id);
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
    };
    let (ours, theirs) = (plain(id), plain(written));
    let tells = |text: &str| text.len() >= ACCOUNT_CHARS_MIN;
    ours == theirs || (tells(&theirs) && ours.ends_with(&theirs)) || (tells(&ours) && theirs.ends_with(&ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paymaster_connectors::contract::{Currency, ReasonClass, Reference};

    fn kes(minor: i64) -> Money {
        Money::new(minor, Currency::parse("KES").unwrap())
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn line(kind: LineKind, direction: Direction) -> Line {
        Line {
            kind,
            direction,
            amount: kes(500),
            booked_on: Some(day("2026-11-24")),
            account: String::new(),
            bank_reference: String::new(),
            reason: None,
        }
    }

    fn ordered() -> Ordered<'static> {
        Ordered {
            amount: kes(500),
            payee_account: "iban:KE1212345678@bank",
            not_before: day("2026-11-22"),
            debited: false,
        }
    }

    #[test]
    fn a_debit_settles_and_a_credit_under_our_reference_is_a_return() {
        let debit = line(LineKind::Payment, Direction::Debit);
        assert_eq!(meaning(&debit, &ordered()), Ok(Some(Outcome::Settled)));
        assert_eq!(meaning(&debit, &Ordered { debited: true, ..ordered() }), Err(Misfit::Twice));
        let reason = Reason::new(ReasonClass::FixAtBank, "ac04", "");
        let back = Line { reason: Some(reason.clone()), ..line(LineKind::Return, Direction::Credit) };
        assert_eq!(meaning(&back, &ordered()), Ok(Some(Outcome::Returned(reason))));
        let unnamed = meaning(&line(LineKind::Payment, Direction::Credit), &ordered());
        assert!(matches!(unnamed, Ok(Some(Outcome::Returned(reason))) if reason.code == "unstated"));
        assert_eq!(meaning(&line(LineKind::Return, Direction::Debit), &ordered()), Err(Misfit::ReturnTakenBack));
        assert_eq!(meaning(&line(LineKind::NotBooked, Direction::Debit), &ordered()), Ok(None));
    }

    #[test]
    fn what_was_booked_before_it_was_sent_is_for_a_person() {
        let early = Line { booked_on: Some(day("2026-11-21")), ..line(LineKind::Payment, Direction::Debit) };
        assert_eq!(meaning(&early, &ordered()), Err(Misfit::Early));
    }

    #[test]
    fn the_sum_is_the_banks_and_another_account_is_told() {
        let reference = Reference::new(1, 1);
        let settled = || Report::instruction(reference, Outcome::Settled);
        let debit = Line { amount: kes(499), ..line(LineKind::Payment, Direction::Debit) };
        assert_eq!(report(&debit, &ordered(), settled()).amount, Some(kes(499)));
        let other = Line { account: "KE9999999999".into(), ..debit.clone() };
        assert_eq!(report(&other, &ordered(), settled()).payee_account.as_deref(), Some("KE9999999999"));
        let same = Line { account: "KE12 1234 5678".into(), ..debit };
        assert_eq!(report(&same, &ordered(), settled()).payee_account, None);
    }

    #[test]
    fn banks_write_accounts_in_their_own_way() {
        assert!(names("iban:KE1212345678@bank", "ke12 1234 5678"));
        assert!(names("account:0012345678@bank", "00-1234-5678"));
        assert!(names("account:0012345678@bank", "12345678"), "without the front");
        assert!(names("account:12345678@bank", "0012345678"), "with the bank's own part");
        assert!(!names("account:12345678@bank", "12345679"));
        assert!(!names("account:12345678@bank", "5678"), "too short to tell");
    }
}
