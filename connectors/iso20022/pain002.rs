//! Reads `pain.002`, any version, as a stream of reports: rows first, then their payment information, then the
//! group, so that what speaks for "all others" comes after those who were spoken of.
//! Deliberately not here: judging. A late rejection after an acceptance is one more report, and the engine decides.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::Deserialize;

use super::camt::{account_id, amount, one_of};
use super::parts::push_text;
use super::reasons;
use super::xml::{MessageKind, Xml};
use crate::contract::{
    Alarm, Level, Money, Outcome, Reason, ReasonClass, Reference, Report, StatusHead, StatusLine, StatusSink,
};
use crate::reading::{Amounts, BadValue, ReadError, decimal};

pub(super) const KIND: MessageKind = MessageKind { name: "pain.002.001.", root: "CstmrPmtStsRpt" };
/// What a bank writes where it could not read our name for the file.
const NOT_PROVIDED: &str = "NOTPROVIDED";
/// Statuses that say no more than that the bank has it or works on it, and those that need a profile's word to
/// say more.
const UNDER_WAY: [&str; 13] =
    ["RCVD", "ACTC", "ACCP", "ACFC", "ACSP", "ACSC", "ACCC", "ACWC", "ACWP", "PATC", "PDNG", "PRES", "ACPT"];

/// The status of what was not and will not be executed.
const REJECTED: &str = "RJCT";

/// What not being listed means in a file whose group or payment information has a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlisted {
    /// At most that the bank has the file: no payment settles without being named.
    #[default]
    ProvesNothing,
    /// By written agreement the upper status holds for every payment not named: banks that list only rejections,
    /// or only the group.
    Inherits,
}

/// How one bank's status reports are to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatusProfile {
    /// Statuses that by contract mean that the money has arrived, such as `ACSC`. Without any, none does.
    pub settled_by: Vec<String>,
    /// What silence means.
    pub silence: Unlisted,
    /// The bank's own reason codes, each with the name of a class.
    pub reasons: BTreeMap<String, String>,
}

impl StatusProfile {
    /// Refuses a profile that names what does not exist.
    pub fn check(&self) -> Result<(), String> {
        let known = |code: &String| UNDER_WAY.contains(&code.as_str()) && !matches!(code.as_str(), "RCVD" | "PDNG");
        if let Some(code) = self.settled_by.iter().find(|code| !known(code)) {
            return Err(format!("settled_by: `{code}` is no status that can settle"));
        }
        match self.reasons.iter().find(|(_, class)| ReasonClass::parse(class).is_none()) {
            Some((code, class)) => Err(format!("reasons.{code}: there is no class `{class}`")),
            None => Ok(()),
        }
    }

    fn class(&self, code: &str) -> Option<ReasonClass> {
        self.reasons.get(code).and_then(|name| ReasonClass::parse(name)).or_else(|| reasons::class(code))
    }
}

/// A status with its reason, as one level states it.
#[derive(Debug, Clone, Default)]
struct Stated {
    status: String,
    reason: String,
    text: String,
}

/// Reads one file into `sink`.
pub fn read(from: impl BufRead, profile: &StatusProfile, sink: &mut dyn StatusSink) -> Result<(), ReadError> {
    let mut xml = Xml::new(from);
    xml.open(&[KIND])?;
    read_open(xml, profile, sink)
}

/// Reads on where the message has been opened.
pub(super) fn read_open<R: BufRead>(
    mut xml: Xml<R>,
    profile: &StatusProfile,
    sink: &mut dyn StatusSink,
) -> Result<(), ReadError> {
    let mut head = StatusHead::default();
    let mut reading = Reading { profile, sink, group: None, amounts: Amounts::default(), row: Row::default() };
    while let Some(name) = xml.child()? {
        match name {
            b"GrpHdr" => group_header(&mut xml, &mut head)?,
            b"OrgnlGrpInfAndSts" => {
                let group = original_group(&mut xml, &mut head)?;
                reading.sink.head(&head).map_err(ReadError::Stopped)?;
                reading.group = Some(group);
            }
            b"OrgnlPmtInfAndSts" if reading.group.is_some() => reading.payment_information(&mut xml)?,
            b"OrgnlPmtInfAndSts" => return Err(xml.unreadable("no_original", "the file does not say what it is about")),
            _ => xml.skip()?,
        }
    }
    let Some(group) = reading.group.take() else {
        return Err(xml.unreadable("no_original", "the file does not say what it is about"));
    };
    xml.finish()?;
    reading.level(Level::Group, "", &group)
}

fn group_header<R: BufRead>(xml: &mut Xml<R>, head: &mut StatusHead) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"MsgId" => xml.text_into(&mut head.message_id)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn original_group<R: BufRead>(xml: &mut Xml<R>, head: &mut StatusHead) -> Result<Stated, ReadError> {
    let mut group = Stated::default();
    while let Some(name) = xml.child()? {
        match name {
            b"OrgnlMsgId" => {
                let id = xml.text()?;
                head.original_message_id = (!id.is_empty() && id != NOT_PROVIDED).then(|| id.to_owned());
            }
            b"OrgnlMsgNmId" => xml.text_into(&mut head.original_kind)?,
            b"OrgnlNbOfTxs" => head.original_count = xml.text()?.parse().ok(),
            b"OrgnlCtrlSum" => head.original_sum = decimal(xml.text()?).ok(),
            b"GrpSts" => xml.text_into(&mut group.status)?,
            b"StsRsnInf" => reason(xml, &mut group)?,
            _ => xml.skip()?,
        }
    }
    Ok(group)
}

/// The first coded reason counts; texts are gathered.
fn reason<R: BufRead>(xml: &mut Xml<R>, stated: &mut Stated) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"Rsn" if stated.reason.is_empty() => one_of(xml, &mut stated.reason)?,
            b"AddtlInf" => push_text(&mut stated.text, xml.text()?),
            _ => xml.skip()?,
        }
    }
    Ok(())
}

struct Reading<'a> {
    profile: &'a StatusProfile,
    sink: &'a mut dyn StatusSink,
    group: Option<Stated>,
    amounts: Amounts,
    /// Used again for every payment.
    row: Row,
}

/// What stands about one payment.
#[derive(Default)]
struct Row {
    stated: Stated,
    instruction_id: String,
    end_to_end_id: String,
    bank_reference: String,
    payee_account: String,
    amount: Option<Result<Money, BadValue>>,
}

impl Row {
    /// Forgets the payment and keeps the memory.
    fn clear(&mut self) {
        let stated = &mut self.stated;
        for text in [&mut stated.status, &mut stated.reason, &mut stated.text] {
            text.clear();
        }
        for text in [&mut self.instruction_id, &mut self.end_to_end_id, &mut self.bank_reference] {
            text.clear();
        }
        self.payee_account.clear();
        self.amount = None;
    }
}

impl Reading<'_> {
    fn payment_information<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<(), ReadError> {
        let mut id = String::new();
        let mut own = Stated::default();
        while let Some(name) = xml.child()? {
            match name {
                b"OrgnlPmtInfId" => xml.text_into(&mut id)?,
                b"PmtInfSts" => xml.text_into(&mut own.status)?,
                b"StsRsnInf" => reason(xml, &mut own)?,
                b"TxInfAndSts" => {
                    row(xml, &mut self.amounts, &mut self.row)?;
                    self.row(&id, &own)?;
                }
                _ => xml.skip()?,
            }
        }
        self.level(Level::PaymentInformation, &id, &own)
    }

    /// Reports one payment; what it does not state comes from above.
    fn row(&mut self, payment_information_id: &str, above: &Stated) -> Result<(), ReadError> {
        let row = &self.row;
        let uppers = [Some(above), self.group.as_ref()];
        let uppers = || uppers.iter().copied().flatten();
        let own = Some(row.stated.status.as_str()).filter(|status| !status.is_empty());
        let inherited = || uppers().map(|upper| upper.status.as_str()).find(|status| !status.is_empty());
        let status = own.or_else(inherited).unwrap_or_default();
        // A reason above explains a row that has the same status and none of its own.
        let explains = |upper: &&Stated| upper.status == status && !upper.reason.is_empty();
        let reasoned = match row.stated.reason.is_empty() {
            true => uppers().find(explains).unwrap_or(&row.stated),
            false => &row.stated,
        };
        let (outcome, mut alarm) = self.outcome(status, reasoned);
        if status != REJECTED && uppers().any(|upper| upper.status == REJECTED) {
            alarm = Some(Alarm { code: "contradicts_group", text: status.to_owned() });
        }
        let reference = Reference::parse(&row.end_to_end_id).or_else(|| Reference::parse(&row.instruction_id));
        let mut report = reference.zip(outcome).map(|(reference, outcome)| Report::instruction(reference, outcome));
        if reference.is_none() {
            alarm = Some(Alarm { code: "unknown_reference", text: row.end_to_end_id.clone() });
        }
        match &row.amount {
            Some(Err(bad)) => {
                alarm = Some(Alarm { code: bad.code, text: bad.text.clone() });
                report = None;
            }
            Some(Ok(money)) => report = report.map(|report| Report { amount: Some(*money), ..report }),
            None => {}
        }
        if let Some(report) = &mut report {
            report.provider_reference = Some(&row.bank_reference).filter(|name| !name.is_empty()).cloned();
        }
        let line = StatusLine {
            level: Level::Payment,
            payment_information_id,
            end_to_end_id: &row.end_to_end_id,
            status,
            payee_account: &row.payee_account,
            report,
            alarm,
        };
        self.sink.line(line).map_err(ReadError::Stopped)
    }

    /// Reports what a level above the payments says of all that were not named.
    fn level(&mut self, level: Level, id: &str, stated: &Stated) -> Result<(), ReadError> {
        if stated.status.is_empty() {
            return Ok(());
        }
        let inherits = self.profile.silence == Unlisted::Inherits;
        let (outcome, alarm) = match stated.status.as_str() {
            // Some are accepted and some are not: who was not named is one of either.
            "PART" => (inherits.then_some(Outcome::Accepted), None),
            status => self.outcome(status, stated),
        };
        let outcome = match outcome {
            Some(Outcome::Settled) if !inherits => Some(Outcome::Accepted),
            outcome => outcome,
        };
        let line = StatusLine {
            level,
            payment_information_id: id,
            end_to_end_id: "",
            status: &stated.status,
            payee_account: "",
            report: outcome.map(Report::batch),
            alarm,
        };
        self.sink.line(line).map_err(ReadError::Stopped)
    }

    /// What a status comes to. Only a status that the profile names settles, only a rejection whose reason
    /// somebody mapped rejects, and a word nobody knows leaves the payment as it is.
    fn outcome(&self, status: &str, stated: &Stated) -> (Option<Outcome>, Option<Alarm>) {
        if status == REJECTED {
            return self.rejected(stated);
        }
        if self.profile.settled_by.iter().any(|code| code == status) {
            return (Some(Outcome::Settled), None);
        }
        if UNDER_WAY.contains(&status) {
            return (Some(Outcome::Accepted), None);
        }
        let code = match status {
            "" => "no_status",
            "CANC" => "cancelled",
            "BLCK" => "blocked",
            _ => "unknown_status",
        };
        (None, Some(Alarm { code, text: status.to_owned() }))
    }

    fn rejected(&self, stated: &Stated) -> (Option<Outcome>, Option<Alarm>) {
        let code = &stated.reason;
        if code.is_empty() {
            // The bank says plainly that it did not execute, and not why.
            let reason = Reason::new(ReasonClass::NotExecuted, "unstated", &stated.text);
            return (Some(Outcome::Rejected(reason)), None);
        }
        match self.profile.class(code) {
            Some(class) => {
                let reason = Reason::new(class, code.to_ascii_lowercase(), &stated.text);
                (Some(Outcome::Rejected(reason)), None)
            }
            None => (None, Some(Alarm { code: "unknown_reason", text: code.clone() })),
        }
    }
}

fn row<R: BufRead>(xml: &mut Xml<R>, amounts: &mut Amounts, row: &mut Row) -> Result<(), ReadError> {
    row.clear();
    while let Some(name) = xml.child()? {
        match name {
            b"OrgnlInstrId" => xml.text_into(&mut row.instruction_id)?,
            b"OrgnlEndToEndId" => xml.text_into(&mut row.end_to_end_id)?,
            b"TxSts" => xml.text_into(&mut row.stated.status)?,
            b"StsRsnInf" => reason(xml, &mut row.stated)?,
            b"AcctSvcrRef" => xml.text_into(&mut row.bank_reference)?,
            b"OrgnlTxRef" => original(xml, row, amounts)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

/// What the bank repeats of our payment.
fn original<R: BufRead>(xml: &mut Xml<R>, row: &mut Row, amounts: &mut Amounts) -> Result<(), ReadError> {
    while let Some(name) = xml.child()? {
        match name {
            b"Amt" => {
                while let Some(name) = xml.child()? {
                    match name {
                        b"InstdAmt" => row.amount = Some(amount(xml, amounts)?),
                        _ => xml.skip()?,
                    }
                }
            }
            b"CdtrAcct" => {
                while let Some(name) = xml.child()? {
                    match name {
                        b"Id" => account_id(xml, &mut row.payee_account)?,
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    Ok(())
}
