//! One entry of a `camt` message and its details, read into reused memory and handed over as they come.
//! Deliberately not here: statements (`camt.rs`).

use std::io::BufRead;

use super::camt::{amount, date, direction, truth};
use super::parts::{
    Parties, add, amount_details, bank_code, batch, charges, kind_of, push_text, references, remittance, return_reason,
    status, usable,
};
use super::xml::Xml;
use crate::contract::{
    BatchTotal, Direction, Entry, EntryDetail, EntryFault, EntryKind, EntryStatus, Money, StatementHead, StatementSink,
};
use crate::reading::{Amounts, BadValue, ReadError, Tally};

/// Reads entries one after another.
#[derive(Default)]
pub struct Entries {
    pub amounts: Amounts,
    position: u64,
    draft: Draft,
    detail: EntryDetail,
    parties: Parties,
}

/// What has been read of an entry that was not handed over yet.
#[derive(Default)]
struct Draft {
    amount: Option<Result<Money, BadValue>>,
    direction: Option<Direction>,
    is_reversal: bool,
    status: EntryStatus,
    booked_on: Option<chrono::NaiveDate>,
    valued_on: Option<chrono::NaiveDate>,
    bank_reference: String,
    entry_reference: String,
    code: String,
    charges: Option<Money>,
    batch: Option<BatchTotal>,
    details: u64,
    is_told: bool,
    kind: EntryKind,
    text: String,
}

/// Where the details of an entry go, and what stands above them.
struct Around<'a> {
    head: &'a StatementHead,
    tally: &'a mut Tally,
    sink: &'a mut dyn StatementSink,
}

impl Entries {
    /// A statement begins.
    pub fn begin(&mut self) {
        self.position = 0;
    }

    /// Reads the entry just met.
    pub fn entry<R: BufRead>(
        &mut self,
        xml: &mut Xml<R>,
        head: &StatementHead,
        tally: &mut Tally,
        sink: &mut dyn StatementSink,
    ) -> Result<(), ReadError> {
        self.position += 1;
        self.draft.clear();
        let mut around = Around { head, tally, sink };
        while let Some(name) = xml.child()? {
            match name {
                b"Amt" => self.draft.amount = Some(amount(xml, &mut self.amounts)?),
                b"CdtDbtInd" => self.draft.direction = direction(xml.text()?),
                b"RvslInd" => self.draft.is_reversal = truth(xml.text()?).unwrap_or(false),
                b"Sts" => self.draft.status = status(xml)?,
                b"BookgDt" => self.draft.booked_on = date(xml)?,
                b"ValDt" => self.draft.valued_on = date(xml)?,
                b"AcctSvcrRef" => xml.text_into(&mut self.draft.bank_reference)?,
                b"NtryRef" => xml.text_into(&mut self.draft.entry_reference)?,
                b"BkTxCd" => bank_code(xml, &mut self.draft.code)?,
                b"Chrgs" => add(&mut self.draft.charges, charges(xml, &mut self.amounts)?),
                b"NtryDtls" => self.details(xml, &mut around)?,
                b"AddtlNtryInf" => xml.text_into(&mut self.draft.text)?,
                _ => xml.skip()?,
            }
        }
        self.tell(xml.at(), &mut around).map(|_| ())
    }

    fn details<R: BufRead>(&mut self, xml: &mut Xml<R>, around: &mut Around<'_>) -> Result<(), ReadError> {
        while let Some(name) = xml.child()? {
            match name {
                b"Btch" => self.draft.batch = Some(batch(xml, &mut self.amounts)?),
                b"TxDtls" => match self.tell(xml.at(), around)? {
                    true => self.one_detail(xml, around)?,
                    false => xml.skip()?,
                },
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    /// Hands the entry over, once, as soon as something needs it to be. Says whether there is one.
    fn tell(&mut self, at: u64, around: &mut Around<'_>) -> Result<bool, ReadError> {
        let draft = &mut self.draft;
        if draft.is_told {
            return Ok(matches!(draft.amount, Some(Ok(_))));
        }
        draft.is_told = true;
        let amount = draft.amount.clone().unwrap_or_else(|| Err(BadValue::new("amount_missing", "")));
        let known = amount.and_then(|amount| match draft.direction {
            Some(direction) => Ok((amount, direction)),
            None => Err(BadValue::new("direction_missing", "")),
        });
        let (amount, direction) = match known {
            Ok(known) => known,
            Err(bad) => {
                draft.amount = None;
                around.tally.fault(true);
                let fault = fault((self.position, None), bad, at);
                return around.sink.fault(&fault).map_err(ReadError::Stopped).map(|()| false);
            }
        };
        draft.kind = if draft.is_reversal { EntryKind::Return } else { kind_of(&draft.code) };
        let entry = Entry {
            position: self.position,
            amount,
            direction,
            is_reversal: draft.is_reversal,
            status: draft.status,
            kind: draft.kind,
            booked_on: draft.booked_on,
            valued_on: draft.valued_on,
            bank_reference: std::mem::take(&mut draft.bank_reference),
            entry_reference: std::mem::take(&mut draft.entry_reference),
            code: std::mem::take(&mut draft.code),
            charges: draft.charges,
            batch: draft.batch.clone(),
            text: std::mem::take(&mut draft.text),
        };
        around.tally.add(&entry);
        let told = around.sink.entry(&entry);
        // The memory of the texts goes on to the next entry.
        draft.bank_reference = entry.bank_reference;
        draft.entry_reference = entry.entry_reference;
        draft.code = entry.code;
        draft.text = entry.text;
        told.map_err(ReadError::Stopped).map(|()| true)
    }

    fn one_detail<R: BufRead>(&mut self, xml: &mut Xml<R>, around: &mut Around<'_>) -> Result<(), ReadError> {
        self.draft.details += 1;
        let place = (self.position, Some(self.draft.details));
        let bad = self.read_detail(xml)?;
        let detail = &mut self.detail;
        (detail.entry_position, detail.position) = (self.position, self.draft.details);
        if let Some(bad) = bad {
            around.tally.fault(false);
            return around.sink.fault(&fault(place, bad, xml.at())).map_err(ReadError::Stopped);
        }
        if detail.kind == EntryKind::Payment {
            detail.kind = if detail.return_reason.is_some() { EntryKind::Return } else { self.draft.kind };
        }
        if let Some(batch) = &self.draft.batch {
            inherit(&mut detail.message_id, &batch.message_id);
            inherit(&mut detail.payment_information_id, &batch.payment_information_id);
        }
        self.parties.settle(detail, self.draft.direction, &around.head.account);
        around.sink.detail(detail).map_err(ReadError::Stopped)
    }

    /// Reads the detail just met, and says what of it cannot be used.
    fn read_detail<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<Option<BadValue>, ReadError> {
        let mut bad = None;
        let (mut stated, mut moved) = (None, None);
        let detail = &mut self.detail;
        clear(detail);
        self.parties.clear();
        while let Some(name) = xml.child()? {
            match name {
                b"Refs" => references(xml, detail)?,
                b"Amt" => stated = usable(amount(xml, &mut self.amounts)?, &mut bad),
                b"AmtDtls" => {
                    (detail.instructed, moved) = amount_details(xml, &mut self.amounts, &mut bad)?;
                }
                b"BkTxCd" => {
                    let mut code = String::new();
                    bank_code(xml, &mut code)?;
                    detail.kind = kind_of(&code);
                }
                b"Chrgs" => add(&mut detail.charges, charges(xml, &mut self.amounts)?),
                b"RltdPties" => self.parties.read(xml)?,
                b"RmtInf" => remittance(xml, &mut detail.text)?,
                b"RtrInf" => {
                    detail.kind = EntryKind::Return;
                    detail.return_reason = Some(return_reason(xml)?);
                }
                b"AddtlTxInf" => push_text(&mut detail.text, xml.text()?),
                _ => xml.skip()?,
            }
        }
        detail.amount = stated.or(moved);
        Ok(bad)
    }
}

impl Draft {
    /// Forgets the entry and keeps the memory of its texts.
    fn clear(&mut self) {
        let texts = [&mut self.bank_reference, &mut self.entry_reference, &mut self.code, &mut self.text];
        let [bank_reference, entry_reference, code, text] = texts.map(|slot| {
            slot.clear();
            std::mem::take(slot)
        });
        *self = Self { bank_reference, entry_reference, code, text, ..Self::default() };
    }
}

fn clear(detail: &mut EntryDetail) {
    let slots = [
        &mut detail.end_to_end_id,
        &mut detail.instruction_id,
        &mut detail.message_id,
        &mut detail.payment_information_id,
        &mut detail.bank_reference,
        &mut detail.clearing_reference,
        &mut detail.counterparty_account,
        &mut detail.counterparty_name,
        &mut detail.text,
    ];
    slots.into_iter().for_each(String::clear);
    detail.kind = EntryKind::Payment;
    (detail.amount, detail.instructed, detail.charges, detail.return_reason) = (None, None, None, None);
}

fn fault((entry_position, detail_position): (u64, Option<u64>), bad: BadValue, at: u64) -> EntryFault {
    EntryFault { entry_position, detail_position, code: bad.code, at, text: bad.text }
}

fn inherit(slot: &mut String, from: &str) {
    if slot.is_empty() {
        slot.push_str(from);
    }
}
