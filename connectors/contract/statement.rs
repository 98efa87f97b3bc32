//! What an account statement says, whatever format it came in: a head, entries with details, an end.
//! Readers hand these over one by one and hold nothing but the current one; texts that a file leaves out are empty.
//! Deliberately not here: reading, and what an entry means for a payment; matching is the engine's.

use chrono::NaiveDate;

use super::{Currency, Money, Reason, Reference};

/// What kind of message speaks about the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatementKind {
    /// The account's own statement, with balances.
    #[default]
    Statement,
    /// A report during the day; the statement will say all of it again.
    Interim,
    /// A notice of single debits and credits, without balances.
    Notice,
}

impl StatementKind {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Statement, "statement"), (Self::Interim, "interim"), (Self::Notice, "notice")];

    /// Stable lower-case name, as stored and shown.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("?", |(_, name)| name)
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// A balance of the account; below zero when it is overdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// Signed sum.
    pub money: Money,
    /// The day it holds for.
    pub on: Option<NaiveDate>,
}

/// What is known of a statement before its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatementHead {
    /// Statement, interim report or notice.
    pub kind: StatementKind,
    /// The bank's name for the statement.
    pub id: String,
    /// The account as the bank writes it: an IBAN or its own number.
    pub account: String,
    /// The account's currency, where it is stated.
    pub currency: Option<Currency>,
    /// The electronic sequence number of the account; gaps are missing statements.
    pub sequence: Option<u64>,
    /// The legal sequence number, where the bank counts paper statements apart.
    pub legal_sequence: Option<u64>,
    /// Which page this is, from 1; absent where the statement was not cut.
    pub page: Option<u32>,
    /// First day spoken about.
    pub from: Option<NaiveDate>,
    /// Last day spoken about.
    pub to: Option<NaiveDate>,
    /// Balance before the first entry; of a page, the interim one.
    pub opening: Option<Balance>,
}

/// What an entry does to the account. A reversal of a debit is a credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Money left.
    #[default]
    Debit,
    /// Money came.
    Credit,
}

/// Whether an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EntryStatus {
    /// It counts in the balance.
    #[default]
    Booked,
    /// It may still change or vanish.
    Pending,
    /// It is told and never counts; so is any word we do not know.
    Informative,
}

/// What an entry or detail is, as far as the bank says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EntryKind {
    /// Nothing says that it is anything else.
    #[default]
    Payment,
    /// Money of an earlier payment comes back, or was taken back.
    Return,
    /// The bank's own charge.
    Fee,
}

/// What the bank says of the payments behind one entry taken together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchTotal {
    /// The name of the file that ordered them.
    pub message_id: String,
    /// The name of the group of payments inside the file.
    pub payment_information_id: String,
    /// How many.
    pub count: Option<u64>,
    /// How much.
    pub total: Option<Money>,
}

/// One movement of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the statement, from 1; refused entries are counted too.
    pub position: u64,
    /// More than zero or zero, never less.
    pub amount: Money,
    /// Effect on the account.
    pub direction: Direction,
    /// Whether it takes back an earlier entry.
    pub is_reversal: bool,
    /// Whether it counts.
    pub status: EntryStatus,
    /// Payment, return or fee.
    pub kind: EntryKind,
    /// The day it was booked.
    pub booked_on: Option<NaiveDate>,
    /// The day it bears interest from.
    pub valued_on: Option<NaiveDate>,
    /// The bank's name for it.
    pub bank_reference: String,
    /// The account owner's or the statement's own name for it.
    pub entry_reference: String,
    /// The bank's code of its kind, such as `PMNT/ICDT/ESCT` or `NTRF`.
    pub code: String,
    /// Charges the entry names.
    pub charges: Option<Money>,
    /// Totals of the payments behind it.
    pub batch: Option<BatchTotal>,
    /// Free text, where the file has it before the first detail.
    pub text: String,
}

/// One payment behind an entry. An entry may have none, one or a million; each is handed over alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryDetail {
    /// Its entry's place in the statement.
    pub entry_position: u64,
    /// Its place in the entry, from 1.
    pub position: u64,
    /// Payment, return or fee; the entry's kind unless it says otherwise.
    pub kind: EntryKind,
    /// The sum of this payment, where it is stated.
    pub amount: Option<Money>,
    /// The sum that was ordered, where it is stated beside.
    pub instructed: Option<Money>,
    /// Charges of this payment.
    pub charges: Option<Money>,
    /// What the payer called the payment from end to end: our reference, where the bank kept it.
    pub end_to_end_id: String,
    /// What the payer called the order.
    pub instruction_id: String,
    /// The file that ordered it.
    pub message_id: String,
    /// The group of payments inside that file.
    pub payment_information_id: String,
    /// The bank's name for it.
    pub bank_reference: String,
    /// The clearing's name for it.
    pub clearing_reference: String,
    /// The other side's account as the bank writes it.
    pub counterparty_account: String,
    /// The other side's name.
    pub counterparty_name: String,
    /// Why it came back. A code that nobody mapped has the class `unknown`.
    pub return_reason: Option<Reason>,
    /// Remittance and other free text.
    pub text: String,
}

impl EntryDetail {
    /// Our reference: from the payer's own fields, else the first word of the free text that can be one.
    pub fn reference(&self) -> Option<Reference> {
        let stated = [&self.end_to_end_id, &self.instruction_id].into_iter().find_map(|id| Reference::parse(id));
        stated.or_else(|| {
            let words = self.text.split(|c: char| !c.is_ascii_alphanumeric());
            words.filter(|word| word.len() == super::REFERENCE_CHARS).find_map(Reference::parse)
        })
    }
}

/// An entry or detail that could not be read. It is skipped and the rest goes on; the statement cannot be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFault {
    /// The entry's place in the statement.
    pub entry_position: u64,
    /// The detail's place in the entry, where a detail is at fault.
    pub detail_position: Option<u64>,
    /// Stable lower-case code.
    pub code: &'static str,
    /// Byte of the file where it was noticed.
    pub at: u64,
    /// For people.
    pub text: String,
}

/// Whether opening balance plus booked entries is the closing balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// To the minor unit.
    Holds,
    /// Closing less opening less entries, in minor units.
    Differs(i128),
    /// It cannot be computed; the code says why.
    Unproven(&'static str),
}

/// What is known of a statement after its last entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementEnd {
    /// Entries handed over.
    pub entries: u64,
    /// Entries and details that could not be read.
    pub faults: u64,
    /// Sum of booked debits in minor units of the balances' currency.
    pub debits_minor: i128,
    /// Sum of booked credits likewise.
    pub credits_minor: i128,
    /// Whether no page follows, where the format says so.
    pub is_last_page: Option<bool>,
    /// Balance after the last entry; of a page, the interim one.
    pub closing: Option<Balance>,
    /// The recomputed balance against the stated one.
    pub check: Check,
}

/// Where a reader puts what it reads, in the order of the file: a head, then each entry followed by its details,
/// then an end; several statements may follow each other. What is lent must be copied to be kept.
/// An error stops the reading.
pub trait StatementSink {
    /// A statement begins.
    fn head(&mut self, head: &StatementHead) -> anyhow::Result<()>;
    /// An entry; its details follow.
    fn entry(&mut self, entry: &Entry) -> anyhow::Result<()>;
    /// A detail of the entry before.
    fn detail(&mut self, detail: &EntryDetail) -> anyhow::Result<()>;
    /// Something was skipped.
    fn fault(&mut self, fault: &EntryFault) -> anyhow::Result<()>;
    /// A statement is over.
    fn end(&mut self, end: &StatementEnd) -> anyhow::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_reference_is_found_in_fields_first_and_then_in_the_text() {
        let reference = Reference::new(77, 5);
        let other = Reference::new(78, 5);
        let mut detail = EntryDetail { end_to_end_id: reference.to_string(), ..EntryDetail::default() };
        detail.text = format!("/EREF/{other}/REMI/grant");
        assert_eq!(detail.reference(), Some(reference));
        detail.end_to_end_id = "NOTPROVIDED".into();
        assert_eq!(detail.reference(), Some(other));
        detail.instruction_id = reference.to_string();
        assert_eq!(detail.reference(), Some(reference));
        detail = EntryDetail { text: format!("{other}9"), ..EntryDetail::default() };
        assert_eq!(detail.reference(), None, "a longer word is no reference");
    }
}
