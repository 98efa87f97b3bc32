//! Reads MT940 account statements, with or without the network's envelope, into the same entries as `camt`.
//! Lenient by default, because nearly every bank departs from the standard somewhere; strict for those who must not.
//! Deliberately not here: MT942 and gaps between statements, which only their keeper sees.

mod fields;
mod line;
mod text;

#[cfg(test)]
mod tests;

use std::io::BufRead;

use serde::Deserialize;

use crate::contract::{Balance, Entry, EntryDetail, EntryFault, EntryKind, EntryStatus, StatementHead, StatementSink};
use crate::reading::{Amounts, ReadError, Tally};
use fields::{Field, Fields, Next};
use line::Line;

/// How far a bank may depart from the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Unknown fields, long references, decimal points, other character sets and missing fields are taken.
    #[default]
    Lenient,
    /// They are refused.
    Strict,
}

/// Reads one file into `sink`. An entry that cannot be read is a fault and the rest goes on.
pub fn read(from: impl BufRead, mode: Mode, sink: &mut dyn StatementSink) -> Result<(), ReadError> {
    let mut fields = Fields::new(from, mode);
    let mut statements = Statements { mode, sink, amounts: Amounts::default(), open: None, is_any: false };
    let mut field = Field::default();
    loop {
        match fields.next(&mut field)? {
            Next::Field => statements.field(&field)?,
            Next::Break => statements.close(fields.at())?,
            Next::End => break,
        }
    }
    statements.close(fields.at())?;
    match statements.is_any {
        true => Ok(()),
        false => Err(ReadError::unreadable("no_statement", fields.at(), "there is no statement in the file")),
    }
}

struct Statements<'a> {
    mode: Mode,
    sink: &'a mut dyn StatementSink,
    amounts: Amounts,
    open: Option<Open>,
    is_any: bool,
}

/// A statement that is being read.
#[derive(Default)]
struct Open {
    head: StatementHead,
    /// Begun once the head was handed over.
    tally: Option<Tally>,
    held: Option<Line>,
    position: u64,
    closing: Option<Balance>,
    is_last_page: Option<bool>,
}

impl Statements<'_> {
    fn field(&mut self, field: &Field) -> Result<(), ReadError> {
        if field.tag == "20" {
            self.close(field.at)?;
        }
        let mut open = self.open.take().unwrap_or_default();
        let done = self.inside(&mut open, field);
        self.open = Some(open);
        done
    }

    fn inside(&mut self, open: &mut Open, field: &Field) -> Result<(), ReadError> {
        let first = field.value.lines().next().unwrap_or_default().trim();
        match field.tag.as_str() {
            "20" => open.head.id = first.to_owned(),
            "25" | "25P" => open.head.account = first.to_owned(),
            "28C" | "28" => {
                let (sequence, page) = first.split_once('/').unwrap_or((first, ""));
                (open.head.sequence, open.head.page) = (sequence.parse().ok(), page.parse().ok());
            }
            "60F" | "60M" => {
                let (currency, balance) = line::balance(first, &mut self.amounts);
                open.head.currency = open.head.currency.or(currency);
                open.head.opening = open.head.opening.or(balance);
                if balance.is_none() && self.mode == Mode::Strict {
                    return Err(ReadError::unreadable("balance_malformed", field.at, first));
                }
            }
            "61" => self.line(open, field)?,
            "86" => {
                if let Some(held) = open.held.take() {
                    self.tell(open, held, &field.value)?;
                }
            }
            "62F" | "62M" => {
                self.flush(open)?;
                let (_, balance) = line::balance(first, &mut self.amounts);
                (open.closing, open.is_last_page) = (balance, Some(field.tag == "62F"));
            }
            "21" | "64" | "65" | "13" | "13D" | "34F" | "90D" | "90C" => self.flush(open)?,
            other if self.mode == Mode::Strict => return Err(ReadError::unreadable("field_unknown", field.at, other)),
            _ => {}
        }
        Ok(())
    }

    /// An entry begins. It is held until its text came, which may say what it is.
    fn line(&mut self, open: &mut Open, field: &Field) -> Result<(), ReadError> {
        self.flush(open)?;
        self.announce(open)?;
        open.position += 1;
        let bad = match open.head.currency {
            Some(currency) => match line::read(&field.value, currency, self.mode) {
                Ok(line) => {
                    open.held = Some(line);
                    return Ok(());
                }
                Err(bad) => bad,
            },
            None => crate::reading::BadValue::new("currency_missing", ""),
        };
        if let Some(tally) = &mut open.tally {
            tally.fault(true);
        }
        let (code, text) = (bad.code, bad.text);
        let fault = EntryFault { entry_position: open.position, detail_position: None, code, at: field.at, text };
        self.sink.fault(&fault).map_err(ReadError::Stopped)
    }

    fn flush(&mut self, open: &mut Open) -> Result<(), ReadError> {
        match open.held.take() {
            Some(held) => self.tell(open, held, ""),
            None => Ok(()),
        }
    }

    fn announce(&mut self, open: &mut Open) -> Result<(), ReadError> {
        if open.tally.is_none() {
            self.is_any = true;
            self.sink.head(&open.head).map_err(ReadError::Stopped)?;
            open.tally = Some(Tally::begin(&open.head));
        }
        Ok(())
    }

    /// Hands over an entry and the one detail that this format has.
    fn tell(&mut self, open: &mut Open, held: Line, text: &str) -> Result<(), ReadError> {
        let said = text::read(text, held.supplementary.as_str());
        let kind = held.kind(said.kind);
        let entry = Entry {
            position: open.position,
            amount: held.amount,
            direction: held.direction,
            is_reversal: held.is_reversal,
            status: if held.is_expected { EntryStatus::Pending } else { EntryStatus::Booked },
            kind,
            booked_on: held.booked_on,
            valued_on: held.valued_on,
            bank_reference: held.bank_reference.clone(),
            entry_reference: String::new(),
            code: held.code,
            charges: None,
            batch: None,
            text: String::new(),
        };
        let detail = EntryDetail {
            entry_position: open.position,
            position: 1,
            kind,
            amount: Some(held.amount),
            end_to_end_id: if said.end_to_end_id.is_empty() { held.reference.clone() } else { said.end_to_end_id },
            instruction_id: held.reference,
            bank_reference: held.bank_reference,
            counterparty_account: said.account,
            counterparty_name: said.name,
            return_reason: said.return_reason.filter(|_| kind == EntryKind::Return),
            text: said.text,
            ..EntryDetail::default()
        };
        if let Some(tally) = &mut open.tally {
            tally.add(&entry);
        }
        self.sink.entry(&entry).map_err(ReadError::Stopped)?;
        self.sink.detail(&detail).map_err(ReadError::Stopped)
    }

    /// The statement is over: at the next one, at the network's mark, or at the end of the file.
    fn close(&mut self, at: u64) -> Result<(), ReadError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if self.mode == Mode::Strict {
            let head = &open.head;
            let is_whole = !head.id.is_empty() && !head.account.is_empty() && head.sequence.is_some();
            if !is_whole || head.opening.is_none() || open.closing.is_none() {
                return Err(ReadError::unreadable("field_missing", at, "a statement lacks a field"));
            }
        }
        self.flush(&mut open)?;
        self.announce(&mut open)?;
        let Some(tally) = open.tally else { return Ok(()) };
        self.sink.end(&tally.end(open.closing, open.is_last_page)).map_err(ReadError::Stopped)
    }
}
