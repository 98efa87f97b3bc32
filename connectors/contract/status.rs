//! What a bank's status report says, file by file: which file of ours it is about, and one line for each status.
//! Deliberately not here: reading it, and what a line means for a payment; that is the engine's.

use rust_decimal::Decimal;

use super::Report;

/// Which file of ours a status report speaks about. Counts and sums are the bank's; compare them with ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusHead {
    /// The bank's name for the report.
    pub message_id: String,
    /// Our name for the file; `None` when the bank could not tell.
    pub original_message_id: Option<String>,
    /// What kind of message ours was, such as `pain.001.001.09`.
    pub original_kind: String,
    /// Payments in our file.
    pub original_count: Option<u64>,
    /// Control sum of our file.
    pub original_sum: Option<Decimal>,
}

/// How high in our file a status stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The whole file.
    Group,
    /// One group of payments of the file.
    PaymentInformation,
    /// One payment.
    Payment,
}

/// One status of the file. What is lent must be copied to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLine<'a> {
    /// How high it stands.
    pub level: Level,
    /// Our name for the group of payments it stands in; empty at group level.
    pub payment_information_id: &'a str,
    /// The payment as the bank names it; empty above.
    pub end_to_end_id: &'a str,
    /// The status as written, or the one it inherits.
    pub status: &'a str,
    /// The payee's account as the bank writes it, without a scheme; compare it with ours.
    pub payee_account: &'a str,
    /// What it comes to; `None` where it proves nothing.
    pub report: Option<Report>,
    /// What somebody has to look at: a stable code and a text.
    pub alarm: Option<Alarm>,
}

/// Something that nobody foresaw; it never ends a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Stable lower-case code.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

/// Where the statuses of a file go. An error stops the reading.
pub trait StatusSink {
    /// The file begins. Called once, before any line.
    fn head(&mut self, head: &StatusHead) -> anyhow::Result<()>;
    /// One status.
    fn line(&mut self, line: StatusLine<'_>) -> anyhow::Result<()>;
}
