//! The statement of one account and one day, before it has a form. Deliberately not here: the forms.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::book::{Account, BankCredit, Book, What};
use super::calendar;
use super::journal::{OtherKind, Visible};
use crate::contract::Currency;

pub(super) struct Sheet<'a> {
    pub(super) book: &'a Book,
    pub(super) account: &'a Account,
    pub(super) number: u32,
    pub(super) day: NaiveDate,
    pub(super) previous_day: NaiveDate,
    pub(super) currency: Currency,
    pub(super) opening_minor: i64,
    pub(super) closing_minor: i64,
    pub(super) entries: Vec<Entry>,
    /// Whether money that comes back is a reversed debit instead of a return by a credit.
    pub(super) reversals: bool,
}

/// One entry. Its sum is negative for debits.
pub(super) struct Entry {
    pub(super) content: Content,
    pub(super) minor: i64,
    /// The bank's own name for it, at most 16 characters.
    pub(super) reference: String,
}

pub(super) enum Content {
    /// Payments of one group, by their places.
    Batch(u32, Vec<u32>),
    Paid(u32),
    Back(u32),
    Other(OtherKind),
}

impl<'a> Sheet<'a> {
    /// What today's statement of an account shows.
    pub(super) fn draw(book: &'a Book, place: u32, reversals: bool) -> anyhow::Result<Self> {
        let account = book.account(place)?;
        let mut batches: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut entries = Vec::new();
        for line in book.lines.iter().filter(|line| book.shows(place, line)) {
            let (content, reference) = match line.what {
                What::Paid(credit) => {
                    let group = book.credits.get(credit as usize).map_or(0, |credit| credit.group);
                    if book.group(group)?.batch && line.shown == Visible::Now {
                        batches.entry(group).or_default().push(credit);
                        continue;
                    }
                    (Content::Paid(credit), payment_reference(credit))
                }
                What::Back(credit) => (Content::Back(credit), format!("R{credit:011}")),
                What::Other(kind, _, number) => (Content::Other(kind), format!("X{number:011}")),
            };
            entries.push(Entry { content, reference, minor: book.shown_minor(line.what) });
        }
        for (group, credits) in batches {
            let minor = credits.iter().map(|credit| book.shown_minor(What::Paid(*credit))).sum();
            entries.push(Entry { content: Content::Batch(group, credits), minor, reference: format!("G{group:011}") });
        }
        Ok(Self {
            book,
            account,
            number: account.number + 1,
            day: book.day,
            previous_day: calendar::previous(book.day),
            currency: book.currency,
            opening_minor: account.shown_minor,
            closing_minor: entries.iter().map(|entry| entry.minor).fold(account.shown_minor, i64::saturating_add),
            entries,
            reversals,
        })
    }

    /// The statement's name, at most 16 characters.
    pub(super) fn id(&self) -> String {
        format!("S{}{:05}", self.day.format("%y%m%d"), self.number)
    }

    /// The credits at these places.
    pub(super) fn credits(&self, places: &'a [u32]) -> impl Iterator<Item = (u32, &'a BankCredit)> {
        let credits = &self.book.credits;
        places.iter().filter_map(|place| credits.get(*place as usize).map(|credit| (*place, credit)))
    }

    /// Takes the last entry out; what is left adds up.
    pub(super) fn leave_out_last(&mut self) -> Option<Entry> {
        let last = self.entries.pop()?;
        self.closing_minor = self.closing_minor.saturating_sub(last.minor);
        Some(last)
    }

    /// Puts it in again.
    pub(super) fn put_back(&mut self, last: Entry) {
        self.closing_minor = self.closing_minor.saturating_add(last.minor);
        self.entries.push(last);
    }

    /// Whether there is something that only a notice tells in detail.
    pub(super) fn has_batches(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.content, Content::Batch(..)))
    }
}

/// The bank's name for a payment, at most 16 characters.
pub(super) fn payment_reference(credit: u32) -> String {
    format!("B{credit:011}")
}
