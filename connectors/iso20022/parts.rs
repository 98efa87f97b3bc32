//! The parts that entries of `camt` messages are made of: codes, charges, references, remittance, parties.
//! Deliberately not here: the order in which they are handed over (`entry.rs`).

use std::io::BufRead;

use super::camt::{account_id, amount, one_of};
use super::reasons;
use super::xml::Xml;
use crate::contract::{BatchTotal, Direction, EntryDetail, EntryKind, EntryStatus, Money, Reason, ReasonClass};
use crate::reading::{Amounts, BadValue, ReadError};

/// Longest free text of a detail that is kept.
const TEXT_BYTES_MAX: usize = 1_000;
/// Bank transaction sub-families, and SWIFT types, by which money comes back.
const RETURN_CODES: [&str; 5] = ["RRTN", "RPCR", "RTI", "NRTI", "FRTI"];
/// The same of the bank's charges.
const FEE_CODES: [&str; 8] = ["CHRG", "COMM", "COMT", "FEES", "CHG", "NCHG", "NCOM", "COM"];

#[derive(Default)]
pub struct Parties {
    debtor: Party,
    creditor: Party,
}

#[derive(Default)]
struct Party {
    name: String,
    account: String,
}

pub fn usable(money: Result<Money, BadValue>, bad: &mut Option<BadValue>) -> Option<Money> {
    money.map_err(|value| bad.get_or_insert(value).code).ok()
}

/// Charges of one currency added up; others are left to the text of the statement.
pub fn add(sum: &mut Option<Money>, more: Option<Money>) {
    *sum = match (*sum, more) {
        (Some(sum), Some(more)) => sum.checked_add(more).or(Some(sum)),
        (sum, more) => sum.or(more),
    };
}

/// What a bank transaction code, such as `PMNT/ICDT/RRTN` or `NRTI`, makes of an entry.
pub fn kind_of(code: &str) -> EntryKind {
    let word = code.rsplit('/').next().unwrap_or_default();
    let word = word.split('+').next().unwrap_or_default();
    match word {
        word if RETURN_CODES.contains(&word) => EntryKind::Return,
        word if FEE_CODES.contains(&word) => EntryKind::Fee,
        _ => EntryKind::Payment,
    }
}

/// A word in older versions, a choice in newer ones. Anything but `BOOK` does not count.
pub fn status<R: BufRead>(xml: &mut Xml<R>) -> Result<EntryStatus, ReadError> {
    let mut code = String::new();
    xml.word_or_choice(&mut code)?;
    Ok(match code.as_str() {
        "BOOK" => EntryStatus::Booked,
        "PDNG" => EntryStatus::Pending,
        _ => EntryStatus::Informative,
    })
}

pub fn bank_code<R: BufRead>(xml: &mut Xml<R>, slot: &mut String) -> Result<(), ReadError> {
    slot.clear();
    while let Some(name) = xml.child()? {
        match name {
            b"Domn" => domain(xml, slot)?,
            b"Prtry" if slot.is_empty() => one_of(xml, slot)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn domain<R: BufRead>(xml: &mut Xml<R>, slot: &mut String) -> Result<(), ReadError> {
    slot.clear();
    while let Some(name) = xml.child()? {
        match name {
            b"Cd" => slot.push_str(xml.text()?),
            b"Fmly" => {
                while let Some(name) = xml.child()? {
                    match name {
                        b"Cd" | b"SubFmlyCd" => {
                            slot.push('/');
                            slot.push_str(xml.text()?);
                        }
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    Ok(())
}

/// The stated total, else the sum of the single charges. Unreadable ones are left out: they pay nobody.
pub fn charges<R: BufRead>(xml: &mut Xml<R>, amounts: &mut Amounts) -> Result<Option<Money>, ReadError> {
    let (mut total, mut sum) = (None, None);
    while let Some(name) = xml.child()? {
        match name {
            b"TtlChrgsAndTaxAmt" => total = amount(xml, amounts)?.ok(),
            b"Amt" => add(&mut sum, amount(xml, amounts)?.ok()),
            b"Rcrd" => {
                while let Some(name) = xml.child()? {
                    match name {
                        b"Amt" => add(&mut sum, amount(xml, amounts)?.ok()),
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    Ok(total.or(sum))
}

pub fn batch<R: BufRead>(xml: &mut Xml<R>, amounts: &mut Amounts) -> Result<BatchTotal, ReadError> {
    let mut found = BatchTotal::default();
    while let Some(name) = xml.child()? {
        match name {
            b"MsgId" => xml.text_into(&mut found.message_id)?,
            b"PmtInfId" => xml.text_into(&mut found.payment_information_id)?,
            b"NbOfTxs" => found.count = xml.text()?.parse().ok(),
            b"TtlAmt" => found.total = amount(xml, amounts)?.ok(),
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

pub fn references<R: BufRead>(xml: &mut Xml<R>, detail: &mut EntryDetail) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"MsgId" => xml.text_into(&mut detail.message_id)?,
            b"AcctSvcrRef" => xml.text_into(&mut detail.bank_reference)?,
            b"PmtInfId" => xml.text_into(&mut detail.payment_information_id)?,
            b"InstrId" => xml.text_into(&mut detail.instruction_id)?,
            b"EndToEndId" => xml.text_into(&mut detail.end_to_end_id)?,
            b"TxId" if detail.clearing_reference.is_empty() => xml.text_into(&mut detail.clearing_reference)?,
            b"ClrSysRef" => xml.text_into(&mut detail.clearing_reference)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

type Instructed = Option<Money>;
type Moved = Option<Money>;

/// What was ordered, and what was moved.
pub fn amount_details<R: BufRead>(
    xml: &mut Xml<R>,
    amounts: &mut Amounts,
    bad: &mut Option<BadValue>,
) -> Result<(Instructed, Moved), ReadError> {
    let (mut instructed, mut moved) = (None, None);
    while let Some(name) = xml.child()? {
        let slot = match name {
            b"InstdAmt" => &mut instructed,
            b"TxAmt" => &mut moved,
            _ => {
                xml.skip()?;
                continue;
            }
        };
        while let Some(name) = xml.child()? {
            match name {
                b"Amt" => *slot = usable(amount(xml, amounts)?, bad),
                _ => xml.skip()?,
            }
        }
    }
    Ok((instructed, moved))
}

pub fn remittance<R: BufRead>(xml: &mut Xml<R>, text: &mut String) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"Ustrd" => push_text(text, xml.text()?),
            b"Strd" => structured(xml, text)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn structured<R: BufRead>(xml: &mut Xml<R>, text: &mut String) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"CdtrRefInf" => {
                while let Some(name) = xml.child()? {
                    match name {
                        b"Ref" => push_text(text, xml.text()?),
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    Ok(())
}

/// Adds a piece of text, as far as there is room.
pub fn push_text(text: &mut String, more: &str) {
    if more.is_empty() || text.len() + more.len() >= TEXT_BYTES_MAX {
        return;
    }
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

pub fn return_reason<R: BufRead>(xml: &mut Xml<R>) -> Result<Reason, ReadError> {
    let (mut code, mut text) = (String::new(), String::new());
    while let Some(name) = xml.child()? {
        match name {
            b"Rsn" => one_of(xml, &mut code)?,
            b"AddtlInf" => push_text(&mut text, xml.text()?),
            _ => xml.skip()?,
        }
    }
    Ok(returned(&code, &text))
}

/// Why money came back. That it did is on the statement whatever the code; only what to do next is open.
pub fn returned(code: &str, text: &str) -> Reason {
    let class = reasons::class(code).unwrap_or(ReasonClass::Unknown);
    let code = if code.is_empty() { "unstated".to_owned() } else { code.to_ascii_lowercase() };
    Reason::new(class, code, text)
}

impl Parties {
    pub fn clear(&mut self) {
        for party in [&mut self.debtor, &mut self.creditor] {
            party.name.clear();
            party.account.clear();
        }
    }

    pub fn read<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<(), ReadError> {
        while let Some(name) = xml.child()? {
            match name {
                b"Dbtr" => party_name(xml, &mut self.debtor.name)?,
                b"Cdtr" => party_name(xml, &mut self.creditor.name)?,
                b"DbtrAcct" => party_account(xml, &mut self.debtor.account)?,
                b"CdtrAcct" => party_account(xml, &mut self.creditor.account)?,
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    /// The other side is the creditor of a debit and the debtor of a credit. Where money came back, banks write
    /// the parties of the first payment or of the way back: then it is whoever does not have our account.
    pub fn settle(&mut self, detail: &mut EntryDetail, direction: Option<Direction>, own_account: &str) {
        let is_creditor = match detail.kind {
            EntryKind::Return => !self.creditor.account.is_empty() && self.creditor.account != own_account,
            _ => direction != Some(Direction::Credit),
        };
        let other = if is_creditor { &mut self.creditor } else { &mut self.debtor };
        std::mem::swap(&mut detail.counterparty_account, &mut other.account);
        std::mem::swap(&mut detail.counterparty_name, &mut other.name);
    }
}

fn party_name<R: BufRead>(xml: &mut Xml<R>, slot: &mut String) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"Nm" => xml.text_into(slot)?,
            // Newer versions ask first whether it is a party or an agent.
            b"Pty" => {
                while let Some(name) = xml.child()? {
                    match name {
                        b"Nm" => xml.text_into(slot)?,
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn party_account<R: BufRead>(xml: &mut Xml<R>, slot: &mut String) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"Id" => account_id(xml, slot)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}
