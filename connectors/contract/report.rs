//! Reports: what a provider said became of a payment, and the message that proves it.

use std::fmt;

use bytes::Bytes;

use super::{Money, Reference};

/// By which door a message came. Ordered: a later variant is stronger evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The reply to a submission.
    Reply,
    /// A call to our door.
    Callback,
    /// A file that tells how far ours is.
    StatusFile,
    /// The answer to our question.
    Inquiry,
    /// A file the provider settles by.
    SettlementFile,
    /// The account's own statement.
    Statement,
}

impl Source {
    /// Stable lower-case name, as stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Callback => "callback",
            Self::StatusFile => "status_file",
            Self::Inquiry => "inquiry",
            Self::SettlementFile => "settlement_file",
            Self::Statement => "statement",
        }
    }
}

/// Raw bytes as they came, with where they came from. Becomes one evidence row, whatever it reports on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The door.
    pub source: Source,
    /// What was asked or called, for example `GET /batchtransactions/B1/completions?offset=0`. No credentials.
    pub origin: String,
    /// The bytes, unchanged.
    pub bytes: Bytes,
}

/// What a report speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// All instructions of the batch that have no report of their own.
    Batch,
    /// One instruction.
    Instruction(Reference),
}

/// What became of it. A status we do not know is no outcome at all: the payment stays pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider has it and is working on it. Not paid.
    Accepted,
    /// Funds have arrived.
    Settled,
    /// Will not be paid under this reference.
    Rejected(Reason),
    /// Came back after settlement.
    Returned(Reason),
    /// "I don't have it." Proves nothing before the fence.
    Absent,
    /// We did not begin to write it.
    NotSent(Reason),
}

/// Who has to act on a rejection or return, and whether a new generation may follow (domain classes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReasonClass {
    /// The registry must correct the account or identity.
    FixData,
    /// The payee or the payee's bank must act.
    FixAtBank,
    /// A ceiling at the payee's account.
    Limit,
    /// Deceased, litigation, sanction: never again without a person.
    Stop,
    /// The payer's side is short of money.
    Funding,
    /// Cut-off or date.
    Schedule,
    /// We wrote something the provider cannot read.
    Format,
    /// The provider already has it: ask about the original.
    Duplicate,
    /// The provider guarantees that it did not execute.
    NotExecuted,
    /// It did not arrive, proven after the fence.
    NeverArrived,
    /// The outcome was not stated.
    Unknown,
}

impl ReasonClass {
    const NAMES: [(Self, &'static str); 11] = [
        (Self::FixData, "fix_data"),
        (Self::FixAtBank, "fix_at_bank"),
        (Self::Limit, "limit"),
        (Self::Stop, "stop"),
        (Self::Funding, "funding"),
        (Self::Schedule, "schedule"),
        (Self::Format, "format"),
        (Self::Duplicate, "duplicate"),
        (Self::NotExecuted, "not_executed"),
        (Self::NeverArrived, "never_arrived"),
        (Self::Unknown, "unknown"),
    ];

    /// Stable lower-case name, as stored and shown.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(class, _)| *class == self).map_or("unknown", |(_, name)| name)
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(class, _)| *class)
    }
}

/// A class to decide by, a code to count by, a text for people. Never decide on the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Who must act.
    pub class: ReasonClass,
    /// The provider's code, lower case with underscores.
    pub code: String,
    /// The provider's words, shortened.
    pub text: String,
}

/// Longest reason text that is kept.
const REASON_TEXT_CHARS_MAX: usize = 200;

impl Reason {
    /// A reason; long texts are cut.
    pub fn new(class: ReasonClass, code: impl Into<String>, text: impl AsRef<str>) -> Self {
        let text = text.as_ref().chars().take(REASON_TEXT_CHARS_MAX).collect();
        Self { class, code: code.into(), text }
    }

    /// The outcome was not stated.
    pub fn unknown(code: impl Into<String>, text: impl AsRef<str>) -> Self {
        Self::new(ReasonClass::Unknown, code, text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.class.name(), self.text)
    }
}

/// One statement of a provider about one payment or one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it speaks for.
    pub about: About,
    /// What became of it.
    pub outcome: Outcome,
    /// The provider's name for it.
    pub provider_reference: Option<String>,
    /// The sum the provider names; a difference from ours is a contradiction.
    pub amount: Option<Money>,
    /// The account the provider names; a difference from ours is a contradiction.
    pub payee_account: Option<String>,
}

impl Report {
    /// A report on one instruction that names nothing but the outcome.
    pub fn instruction(reference: Reference, outcome: Outcome) -> Self {
        Self::about(About::Instruction(reference), outcome)
    }

    /// A report on the whole batch.
    pub fn batch(outcome: Outcome) -> Self {
        Self::about(About::Batch, outcome)
    }

    fn about(about: About, outcome: Outcome) -> Self {
        Self { about, outcome, provider_reference: None, amount: None, payee_account: None }
    }
}

/// A call to our door: its headers in lower case, and the raw body.
#[derive(Debug, Clone)]
pub struct Callback {
    /// Header names in lower case with their values.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: Bytes,
}

/// What a callback came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// What may be applied, as far as the profile trusts callbacks.
    pub reports: Vec<Report>,
    /// What to ask about now.
    pub ask: Vec<Ask>,
}

/// What a callback points at, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The batch that the provider knows by this name.
    Batch(String),
    /// One instruction.
    Instruction(Reference),
}
