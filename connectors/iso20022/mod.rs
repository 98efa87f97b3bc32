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
mod walk;
mod xml;

#[cfg(test)]
mod tests;

pub use charset::Charset;
pub(crate) use parts::{kind_of, push_text, returned};
pub use profile::{AccountForm, Agent, BankProfile, ChargeBearer, Debtor, DebtorAccount, Version};
pub use readback::{Totals, read_back};
pub use walk::walk;

use std::io::BufRead;

use crate::contract::FileSink;
use crate::reading::ReadError;
use pain002::StatusProfile;
use xml::{MessageKind, Xml};

/// Reads whatever a bank sends us: a status report or a statement. Which it is the message itself says.
pub fn read(from: impl BufRead, profile: &StatusProfile, sink: &mut dyn FileSink) -> Result<(), ReadError> {
    const KINDS: [MessageKind; 4] = [pain002::KIND, camt::KINDS[0], camt::KINDS[1], camt::KINDS[2]];
    let mut xml = Xml::new(from);
    match xml.open(&KINDS)?.checked_sub(1) {
        None => pain002::read_open(xml, profile, sink),
        Some(kind) => camt::read_open(xml, kind, sink),
    }
}
