//! Reads a `pain.001` back: what it says of itself must be what stands in it, and what was ordered.
//! Deliberately not here: anything of the writer; it must not agree with itself by sharing a mistake.

use std::io::BufRead;

use rust_decimal::Decimal;

use super::camt::amount;
use super::pain001::WriteError;
use super::xml::{MessageKind, Xml};
use crate::contract::{Batch, Money};
use crate::reading::{Amounts, ReadError, decimal};

const KINDS: &[MessageKind] = &[MessageKind { name: "pain.001.001.", root: "CstmrCdtTrfInitn" }];

/// How many payments a file has and what they come to, whatever their currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Number of payments.
    pub payments: u64,
    /// Control sum.
    pub sum: Decimal,
}

/// What a head says, as far as it says it.
#[derive(Default)]
struct Stated {
    id: String,
    payments: Option<u64>,
    sum: Option<Decimal>,
}

impl Stated {
    fn is(&self, totals: &Totals) -> bool {
        self.payments.is_none_or(|payments| payments == totals.payments) && self.sum.is_none_or(|sum| sum == totals.sum)
    }
}

/// Tells every payment of a file to `each` (end-to-end id, amount), and the file's name and totals.
/// A head or group whose count or sum is not what stands in it is an error.
pub fn read_back(
    from: impl BufRead,
    each: &mut dyn FnMut(&str, Money) -> Result<(), ReadError>,
) -> Result<(String, Totals), ReadError> {
    let mut xml = Xml::new(from);
    xml.open(KINDS)?;
    let mut reader = Reader { amounts: Amounts::default(), end_to_end_id: String::new(), each };
    let (mut head, mut totals) = (None, Totals::default());
    while let Some(name) = xml.child()? {
        match name {
            b"GrpHdr" => head = Some(group_header(&mut xml)?),
            b"PmtInf" => reader.payment_information(&mut xml, &mut totals)?,
            _ => xml.skip()?,
        }
    }
    xml.finish()?;
    match head {
        Some(head) if head.is(&totals) && head.payments.is_some() => Ok((head.id, totals)),
        _ => Err(xml.unreadable("control_sum", "the head does not say what stands in the file")),
    }
}

/// Whether a file holds exactly this batch.
pub(super) fn compare(batch: &Batch, message_id: &str, from: impl BufRead) -> Result<Totals, WriteError> {
    let mut ordered = batch.instructions.iter();
    let mut each = |end_to_end_id: &str, money: Money| match ordered.next() {
        Some(next) if next.reference.as_str() == end_to_end_id && next.amount == money => Ok(()),
        _ => Err(ReadError::unreadable("other_payment", 0, end_to_end_id)),
    };
    let wrong = |error: ReadError| WriteError::file("read_back", error.to_string());
    let (id, totals) = read_back(from, &mut each).map_err(wrong)?;
    match id == message_id && ordered.next().is_none() {
        true => Ok(totals),
        false => Err(WriteError::file("read_back", "the file does not hold the batch")),
    }
}

fn group_header<R: BufRead>(xml: &mut Xml<R>) -> Result<Stated, ReadError> {
    let mut stated = Stated::default();
    while let Some(name) = xml.child()? {
        match name {
            b"MsgId" => xml.text_into(&mut stated.id)?,
            b"NbOfTxs" => stated.payments = xml.text()?.parse().ok(),
            b"CtrlSum" => stated.sum = Some(control_sum(xml)?),
            _ => xml.skip()?,
        }
    }
    Ok(stated)
}

fn control_sum<R: BufRead>(xml: &mut Xml<R>) -> Result<Decimal, ReadError> {
    let sum = decimal(xml.text()?);
    sum.map_err(|bad| xml.unreadable("control_sum", bad.text))
}

struct Reader<'a> {
    amounts: Amounts,
    end_to_end_id: String,
    each: &'a mut dyn FnMut(&str, Money) -> Result<(), ReadError>,
}

impl Reader<'_> {
    fn payment_information<R: BufRead>(&mut self, xml: &mut Xml<R>, all: &mut Totals) -> Result<(), ReadError> {
        let (mut stated, mut totals) = (Stated::default(), Totals::default());
        while let Some(name) = xml.child()? {
            match name {
                b"NbOfTxs" => stated.payments = xml.text()?.parse().ok(),
                b"CtrlSum" => stated.sum = Some(control_sum(xml)?),
                b"CdtTrfTxInf" => self.payment(xml, &mut totals)?,
                _ => xml.skip()?,
            }
        }
        if !stated.is(&totals) {
            return Err(xml.unreadable("control_sum", "a group does not say what stands in it"));
        }
        all.payments += totals.payments;
        all.sum = sum(xml, all.sum, totals.sum)?;
        Ok(())
    }

    fn payment<R: BufRead>(&mut self, xml: &mut Xml<R>, totals: &mut Totals) -> Result<(), ReadError> {
        let mut money = None;
        self.end_to_end_id.clear();
        while let Some(name) = xml.child()? {
            match name {
                b"PmtId" => self.payment_id(xml)?,
                b"Amt" => money = self.instructed(xml)?,
                _ => xml.skip()?,
            }
        }
        let Some(money) = money else { return Err(xml.unreadable("amount_missing", "a payment has no amount")) };
        totals.payments += 1;
        totals.sum = sum(xml, totals.sum, money.decimal())?;
        (self.each)(&self.end_to_end_id, money)
    }

    fn payment_id<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<(), ReadError> {
        while let Some(name) = xml.child()? {
            match name {
                b"EndToEndId" => xml.text_into(&mut self.end_to_end_id)?,
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    fn instructed<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<Option<Money>, ReadError> {
        let mut found = None;
        while let Some(name) = xml.child()? {
            match name {
                b"InstdAmt" => {
                    let money = amount(xml, &mut self.amounts)?;
                    found = Some(money.map_err(|bad| xml.unreadable(bad.code, bad.text))?);
                }
                _ => xml.skip()?,
            }
        }
        Ok(found)
    }
}

fn sum<R: BufRead>(xml: &Xml<R>, sum: Decimal, more: Decimal) -> Result<Decimal, ReadError> {
    sum.checked_add(more).ok_or_else(|| xml.unreadable("sum_too_large", "the sum is too large"))
}
