//! What a provider guarantees. The engine decides by these facts and by nothing else about a provider.
//! [`Profile::worst`] claims nothing: start there and add only what the provider's contract states.

use std::time::Duration;

use chrono::{NaiveDate, NaiveTime, Weekday};
use chrono_tz::Tz;

/// What the provider does with a second copy under the same reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    /// May pay again.
    None,
    /// Executes at most once inside the window.
    ByKey,
}

/// How the provider can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inquiry {
    /// Not at all: only statements tell.
    None,
    /// The answer is in the reply.
    Direct,
    /// The answer comes by callback.
    ByCallback,
}

/// How far a callback is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackTrust {
    /// It only makes us ask.
    Hint,
    /// An unguessable path and matching facts make it evidence.
    SecretUrl,
    /// A verified signature makes it evidence.
    Signed,
}

/// The weakest source whose word settles a payment; anything weaker counts as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// The reply to a submission.
    Reply,
    /// A status: callback or inquiry.
    Status,
    /// The account statement.
    Statement,
}

/// What not being mentioned in a partial answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Nothing.
    ProvesNothing,
    /// Acceptance, by written agreement, once this time has passed.
    AcceptedAfter(Duration),
}

/// When a provider takes what is sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Where its clock hangs.
    pub zone: Tz,
    /// Days of the week on which it does not work.
    pub rest_days: Vec<Weekday>,
    /// Days on which it does not work.
    pub holidays: Vec<NaiveDate>,
    /// What is sent before this time waits for it.
    pub opens: NaiveTime,
    /// What is sent from this time on is for the next day.
    pub cut_off: NaiveTime,
    /// Banking days between the one it is sent on and the one it is paid on.
    pub lead_days: u32,
}

/// The facts about one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Second copies.
    pub dedupe: Dedupe,
    /// How long a reference is remembered; never resend later.
    pub dedupe_window: Duration,
    /// A rejection holds for the reference: a later copy will not be paid either.
    pub remembers_rejections: bool,
    /// Quiet time after the last copy before "I don't have it" counts.
    pub absent_after: Duration,
    /// Longest time a copy may travel (client time-out, proxies, a paused worker).
    pub fence: Duration,
    /// How it can be asked.
    pub inquiry: Inquiry,
    /// How far callbacks are believed.
    pub callback_trust: CallbackTrust,
    /// Whose word settles.
    pub finality: Finality,
    /// What silence means.
    pub silence: Silence,
    /// How long money may come back after settlement.
    pub return_window: Duration,
    /// Most instructions in one batch.
    pub items_max: u32,
    /// Most bytes in one batch.
    pub bytes_max: usize,
    /// Most payments a second over all workers; 0 is no cap.
    pub rate_per_second: u32,
    /// Most calls in flight.
    pub concurrency: u32,
    /// Most batches sent or asked about at once, over all workers; each may make several calls.
    pub batches_in_flight: u32,
    /// Pause before the first inquiry, doubled up to `inquire_every_max`.
    pub inquire_every: Duration,
    /// Longest pause between inquiries.
    pub inquire_every_max: Duration,
    /// A doubt older than this goes to a person, who decides with evidence; asking goes on.
    pub doubt_limit: Duration,
    /// When it takes what is sent; at any time without one.
    pub calendar: Option<Calendar>,
    /// How often we look for files that it leaves for us; never without it.
    pub collect_every: Option<Duration>,
    /// Its statements show each payment, so that a payroll is reconciled only when they did.
    pub statements: bool,
}

impl Profile {
    /// A provider that guarantees nothing: no second copy is ever sent, and only a statement ends a doubt.
    pub fn worst() -> Self {
        Self {
            dedupe: Dedupe::None,
            dedupe_window: Duration::ZERO,
            remembers_rejections: false,
            absent_after: Duration::from_secs(24 * 3600),
            fence: Duration::from_secs(900),
            inquiry: Inquiry::None,
            callback_trust: CallbackTrust::Hint,
            finality: Finality::Statement,
            silence: Silence::ProvesNothing,
            return_window: Duration::from_secs(90 * 24 * 3600),
            items_max: 500,
            bytes_max: 4 << 20,
            rate_per_second: 0,
            concurrency: 1,
            batches_in_flight: 1,
            inquire_every: Duration::from_secs(60),
            inquire_every_max: Duration::from_secs(3600),
            doubt_limit: Duration::from_secs(72 * 3600),
            calendar: None,
            collect_every: None,
            statements: false,
        }
    }
}
