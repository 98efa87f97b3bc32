//! Reads `camt.053` (statements), `camt.052` (interim reports) and `camt.054` (notices), any version, as a stream.
//! Deliberately not here: single entries (`entry.rs`), and gaps between statements, which only their keeper sees.

use std::io::BufRead;

use super::entry::Entries;
use super::xml::{MessageKind, Xml};
use crate::contract::{Balance, Direction, StatementHead, StatementKind, StatementSink};
use crate::reading::{Amounts, BadValue, ReadError, Tally, day};

/// Interim balances that are kept: the one a page opens with and the one it closes with.
const INTERIM_BALANCES_MAX: usize = 2;

pub(super) const KINDS: [MessageKind; 3] = [
    MessageKind { name: "camt.053.001.", root: "BkToCstmrStmt" },
    MessageKind { name: "camt.052.001.", root: "BkToCstmrAcctRpt" },
    MessageKind { name: "camt.054.001.", root: "BkToCstmrDbtCdtNtfctn" },
];

/// Reads one file into `sink`. An entry that cannot be read is a fault and the rest goes on; a file that is no
/// such message, or breaks off, is an error after whatever was handed over before.
pub fn read(from: impl BufRead, sink: &mut dyn StatementSink) -> Result<(), ReadError> {
    let mut xml = Xml::new(from);
    let kind = xml.open(&KINDS)?;
    read_open(xml, kind, sink)
}

/// Reads on where a message of the kind at this place in [`KINDS`] has been opened.
pub(super) fn read_open<R: BufRead>(
    mut xml: Xml<R>,
    kind: usize,
    sink: &mut dyn StatementSink,
) -> Result<(), ReadError> {
    let kind = match kind {
        0 => StatementKind::Statement,
        1 => StatementKind::Interim,
        _ => StatementKind::Notice,
    };
    let mut pages = Pages::default();
    let mut entries = Entries::default();
    while let Some(name) = xml.child()? {
        match name {
            b"GrpHdr" => pages = group_header(&mut xml)?,
            b"Stmt" | b"Rpt" | b"Ntfctn" => {
                let head = StatementHead { kind, ..StatementHead::default() };
                statement(&mut xml, (head, pages), &mut entries, sink)?;
            }
            _ => xml.skip()?,
        }
    }
    xml.finish()
}

/// Which page a statement or message is.
#[derive(Debug, Clone, Copy, Default)]
struct Pages {
    number: Option<u32>,
    is_last: Option<bool>,
}

fn group_header<R: BufRead>(xml: &mut Xml<R>) -> Result<Pages, ReadError> {
    let mut found = Pages::default();
    while let Some(name) = xml.child()? {
        match name {
            b"MsgPgntn" => found = page(xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(found)
}

fn page<R: BufRead>(xml: &mut Xml<R>) -> Result<Pages, ReadError> {
    let mut pages = Pages::default();
    while let Some(name) = xml.child()? {
        match name {
            b"PgNb" => pages.number = xml.text()?.parse().ok(),
            b"LastPgInd" => pages.is_last = truth(xml.text()?),
            _ => xml.skip()?,
        }
    }
    Ok(pages)
}

/// What an `xs:boolean` says.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

#[derive(Default)]
struct Balances {
    opening: Option<Balance>,
    closing: Option<Balance>,
    interim: Vec<Balance>,
}

impl Balances {
    /// A page that is not the first opens with an interim balance; one that is not the last closes with one.
    fn ends(mut self) -> (Option<Balance>, Option<Balance>) {
        if self.opening.is_none() && !self.interim.is_empty() {
            self.opening = Some(self.interim.remove(0));
        }
        (self.opening, self.closing.or_else(|| self.interim.pop()))
    }
}

fn statement<R: BufRead>(
    xml: &mut Xml<R>,
    (mut head, mut pages): (StatementHead, Pages),
    entries: &mut Entries,
    sink: &mut dyn StatementSink,
) -> Result<(), ReadError> {
    let mut balances = Some(Balances::default());
    let mut closing = None;
    let mut tally = Tally::default();
    entries.begin();
    while let Some(name) = xml.child()? {
        match name {
            b"Id" => xml.text_into(&mut head.id)?,
            b"StmtPgntn" | b"RptPgntn" | b"NtfctnPgntn" => pages = page(xml)?,
            b"ElctrncSeqNb" => head.sequence = xml.text()?.parse().ok(),
            b"LglSeqNb" => head.legal_sequence = xml.text()?.parse().ok(),
            b"FrToDt" => period(xml, &mut head)?,
            b"Acct" => account(xml, &mut head, &mut entries.amounts)?,
            b"Bal" => {
                if let Some(balances) = &mut balances {
                    balance(xml, balances, &mut entries.amounts)?;
                } else {
                    xml.skip()?;
                }
            }
            b"Ntry" => {
                if let Some(balances) = balances.take() {
                    (head.page, (head.opening, closing)) = (pages.number, balances.ends());
                    tally = announce(&head, sink)?;
                }
                entries.entry(xml, &head, &mut tally, sink)?;
            }
            _ => xml.skip()?,
        }
    }
    if let Some(balances) = balances.take() {
        (head.page, (head.opening, closing)) = (pages.number, balances.ends());
        tally = announce(&head, sink)?;
    }
    sink.end(&tally.end(closing, pages.is_last)).map_err(ReadError::Stopped)
}

fn announce(head: &StatementHead, sink: &mut dyn StatementSink) -> Result<Tally, ReadError> {
    sink.head(head).map_err(ReadError::Stopped)?;
    Ok(Tally::begin(head))
}

fn period<R: BufRead>(xml: &mut Xml<R>, head: &mut StatementHead) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"FrDtTm" | b"FrDt" => head.from = day(xml.text()?),
            b"ToDtTm" | b"ToDt" => head.to = day(xml.text()?),
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn account<R: BufRead>(xml: &mut Xml<R>, head: &mut StatementHead, amounts: &mut Amounts) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"Id" => account_id(xml, &mut head.account)?,
            b"Ccy" => head.currency = amounts.currency(xml.text()?).ok(),
            _ => xml.skip()?,
        }
    }
    Ok(())
}

/// The choice between an IBAN and any other number.
pub(super) fn account_id<R: BufRead>(xml: &mut Xml<R>, slot: &mut String) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"IBAN" => xml.text_into(slot)?,
            b"Othr" => {
                while let Some(name) = xml.child()? {
                    match name {
                        b"Id" => xml.text_into(slot)?,
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn balance<R: BufRead>(xml: &mut Xml<R>, balances: &mut Balances, amounts: &mut Amounts) -> Result<(), ReadError> {
    let mut code = String::new();
    let (mut money, mut direction, mut on) = (None, Direction::Credit, None);
    while let Some(name) = xml.child()? {
        match name {
            b"Tp" => balance_kind(xml, &mut code)?,
            b"Amt" => money = Some(amount(xml, amounts)?),
            b"CdtDbtInd" => direction = self::direction(xml.text()?).unwrap_or(Direction::Credit),
            b"Dt" => on = date(xml)?,
            _ => xml.skip()?,
        }
    }
    // A balance that cannot be read is missing: then the statement is unproven, which is what it is.
    let Some(Ok(mut money)) = money else { return Ok(()) };
    if direction == Direction::Debit {
        money.minor = -money.minor;
    }
    let balance = Balance { money, on };
    match code.as_str() {
        "OPBD" => balances.opening = Some(balance),
        "PRCD" => balances.opening = balances.opening.or(Some(balance)),
        "CLBD" => balances.closing = Some(balance),
        "ITBD" if balances.interim.len() < INTERIM_BALANCES_MAX => balances.interim.push(balance),
        _ => {}
    }
    Ok(())
}

fn balance_kind<R: BufRead>(xml: &mut Xml<R>, code: &mut String) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"CdOrPrtry" => one_of(xml, code)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

/// The choice between a code and a proprietary word.
pub(super) fn one_of<R: BufRead>(xml: &mut Xml<R>, slot: &mut String) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"Cd" | b"Prtry" => xml.text_into(slot)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

pub(super) fn direction(text: &str) -> Option<Direction> {
    match text {
        "DBIT" => Some(Direction::Debit),
        "CRDT" => Some(Direction::Credit),
        _ => None,
    }
}

/// An amount with its currency; what cannot be used is a value, not an end of the reading.
pub(super) fn amount<R: BufRead>(
    xml: &mut Xml<R>,
    amounts: &mut Amounts,
) -> Result<Result<crate::contract::Money, BadValue>, ReadError> {
    let currency = match xml.attribute("Ccy")? {
        Some(code) => amounts.currency(code),
        None => Err(BadValue::new("currency_missing", "")),
    };
    let text = xml.text()?;
    Ok(currency.and_then(|currency| crate::reading::money(text, currency)))
}

/// The choice between a day and an instant; some banks write the day without the choice.
pub(super) fn date<R: BufRead>(xml: &mut Xml<R>) -> Result<Option<chrono::NaiveDate>, ReadError> {
    let mut found = None;
    while let Some(name) = xml.child()? {
        match name {
            b"Dt" | b"DtTm" => found = day(xml.text()?),
            _ => xml.skip()?,
        }
    }
    Ok(found)
}
