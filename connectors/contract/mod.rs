//! The language that the engine and every connector speak. No I/O, and it knows nobody.
//!
//! Whatever a provider says about a payment, by whichever door, becomes a [`Report`] inside a [`Message`]
//! that keeps the raw bytes. Deliberately not here: states, rules about them, and transport.

mod file;
mod money;
mod profile;
mod reference;
mod report;
mod statement;
mod status;

use std::io::BufRead;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};

pub use file::{FileSink, Inbox, Listed, ReadError};
pub use money::{AmountError, Currency, Money};
pub use profile::{Calendar, CallbackTrust, Dedupe, Finality, Inquiry, Profile, Silence};
pub use reference::{REFERENCE_CHARS, Reference};
pub use report::{About, Ask, Callback, Message, Outcome, Reason, ReasonClass, Received, Report, Source};
pub use statement::{
    Balance, BatchTotal, Check, Direction, Entry, EntryDetail, EntryFault, EntryKind, EntryStatus, StatementEnd,
    StatementHead, StatementKind, StatementSink,
};
pub use status::{Alarm, Level, StatusHead, StatusLine, StatusSink};

/// One sum for one payee inside a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Our name for it, stored before anything is sent; the idempotency key.
    pub reference: Reference,
    /// What the payee is to receive; fees never lessen it.
    pub amount: Money,
    /// Who is paid, as the rail may print it.
    pub payee_name: String,
    /// Financial address, `scheme:id@provider`.
    pub payee_account: String,
    /// Why, in the programme's words; may be empty.
    pub purpose: String,
    /// The provider's own name for it, once it told us one.
    pub provider_reference: Option<String>,
}

/// What one provider gets at once. Frozen after its first claim: a resend sends the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Our name for the batch.
    pub reference: Reference,
    /// The payroll's programme, as a title the provider may show.
    pub title: String,
    /// One currency for the whole batch.
    pub currency: Currency,
    /// When its bytes were made; the same for every copy.
    pub made_at: DateTime<Utc>,
    /// The day on which the provider is to pay; the same for every copy.
    pub execute_on: NaiveDate,
    /// How many bytes were made; 0 before.
    pub wire_bytes: u64,
    /// The provider's name for the batch, once it told us one.
    pub provider_reference: Option<String>,
    /// The instructions that are still open, ascending by reference.
    pub instructions: Vec<Instruction>,
}

/// Why a call to a provider did not do what was asked. The type is the decision: nothing is read from a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing was executed and nothing will be: the provider (or our own check) said no.
    #[error("refused: {0}")]
    Refused(Reason),
    /// Nothing went, our side is at fault (credentials, float, configuration): the provider is paused.
    #[error("blocked: {0}")]
    Blocked(Reason),
    /// Nothing went; try the same later.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// What stood in the way.
        reason: Reason,
        /// What the provider asked us to wait, in seconds.
        retry_after_seconds: Option<u64>,
    },
    /// Nobody knows whether it was executed. Only evidence resolves this.
    #[error("in doubt: {0}")]
    InDoubt(Reason),
}

impl Failure {
    /// What the provider asked us to wait, in seconds, if it did.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Unavailable { retry_after_seconds, .. } => *retry_after_seconds,
            Self::Refused(_) | Self::Blocked(_) | Self::InDoubt(_) => None,
        }
    }
}

/// Asked right before each write that could move money; a refusal means the write must not happen.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Passes when the lease is live, nothing is paused, and the rate allows one more write of `items` payments.
    async fn pass(&self, items: u32) -> Result<(), Failure>;
}

/// Where a connector hands over what it was told, as it is told. Reports without their message do not exist.
#[async_trait]
pub trait Said: Send {
    /// Stores the message and applies its reports. An error means: stop, the engine cannot listen any more.
    async fn say(&mut self, message: Message, reports: Vec<Report>) -> anyhow::Result<()>;
}

/// One provider protocol. Implementations hold no state that matters: everything durable is the engine's.
#[async_trait]
pub trait Connector: Send + Sync {
    /// What this provider guarantees. What it does not claim is assumed to be missing.
    fn profile(&self) -> &Profile;

    /// The exact bytes of a batch, made once and stored before the first write. Pure.
    fn encode(&self, batch: &Batch) -> Result<Vec<u8>, Failure>;

    /// Sends stored bytes, one attempt each write, `gate` before each. A row that `said` never mentions is
    /// in doubt after `Ok`; after an error the failure holds for rows no write was begun for.
    async fn submit(&self, batch: &Batch, wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure>;

    /// Asks what became of the open instructions of a batch that left earlier. Never moves money.
    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure>;

    /// What the provider says our funding account with it holds; `None` where it does not tell.
    async fn balance(&self) -> Result<Option<Money>, Failure> {
        Ok(None)
    }

    /// Fetches the files that the provider left for us, statements and status reports, and hands each to `inbox`. A
    /// file is removed from where it lay only after that. Never moves money.
    async fn collect(&self, _inbox: &mut dyn Inbox) -> Result<(), Failure> {
        Ok(())
    }

    /// Tells `sink` what stands in a file that was collected. Pure; the raw bytes are already stored.
    fn read(&self, _file: &mut dyn BufRead, _sink: &mut dyn FileSink) -> Result<(), ReadError> {
        Err(ReadError::unreadable("no_files", 0, "this provider leaves no files"))
    }

    /// Verifies and translates one call to our door. Pure; the raw bytes are already stored.
    fn receive(&self, _call: &Callback) -> Result<Received, Failure> {
        Err(Failure::Refused(Reason::new(ReasonClass::Format, "no_callbacks", "this provider makes no callbacks")))
    }
}
