//! ISO 20022 files of banks, pure: payments out (`pain.001`), status reports in (`pain.002`), statements in
//! (`camt.053`, `camt.054`, `camt.052`). Streams in and out; nothing is held but the current payment or entry.
//! Deliberately not here: how files travel, calendars, and what the engine makes of what it is told.

pub mod camt;
mod charset;
mod entry;
mod form;
pub mod pain001;
pub mod pain002;
mod parts;
mod profile;
mod readback;
pub mod reasons;
mod xml;

#[cfg(test)]
mod tests;

pub use charset::Charset;
pub(crate) use parts::{kind_of, push_text, returned};
pub use profile::{AccountForm, Agent, BankProfile, ChargeBearer, Debtor, DebtorAccount, Version};
pub use readback::{Totals, read_back};
