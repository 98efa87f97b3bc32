//! Reads `pain.001.001.03` and `.09` as a bank does: what breaks the format refuses the file, what cannot be paid
//! refuses a row. Deliberately not here: who is paid, and schemas beyond what the bank needs to know.

use std::io::BufRead;

use chrono::NaiveDate;
use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use rust_decimal::Decimal;

use super::accounts::is_iban;
pub(super) use super::values::Refusal;
use super::values::{Totals, bounded, broken, count, day, decimal, id, meaning, truth};
use crate::contract::{AmountError, Currency, Money};

/// What every namespace that is taken begins with.
const NAMESPACE_HEAD: &str = "urn:iso:std:iso:20022:tech:xsd:";
/// The kinds of message that are taken.
const KINDS: [&str; 2] = ["pain.001.001.03", "pain.001.001.09"];
/// The element below `Document`.
const ROOT: &str = "CstmrCdtTrfInitn";
/// Longest account that is not an IBAN.
const ACCOUNT_CHARS_MAX: usize = 34;
/// Longest name.
const NAME_CHARS_MAX: usize = 140;
/// Longest text of one element.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Deepest nesting.
const DEPTH_MAX: usize = 64;
/// Most payments of one file.
const PAYMENTS_MAX: u64 = 1_000_000;

/// A file that can be carried out.
#[derive(Debug, Default)]
pub(super) struct Order {
    pub(super) message_id: String,
    /// Such as `pain.001.001.09`.
    pub(super) kind: String,
    pub(super) count: u64,
    pub(super) sum: Decimal,
    pub(super) groups: Vec<Group>,
}

/// One `PmtInf`.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) batch_booking: Option<bool>,
    pub(super) execute_on: NaiveDate,
    pub(super) debtor_account: String,
    pub(super) rows: Vec<Row>,
}

/// One payment.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) reference: Box<str>,
    pub(super) account: Box<str>,
    pub(super) name: Box<str>,
    /// Zero when it cannot be paid.
    pub(super) minor: i64,
    /// Why it cannot be paid whatever the account.
    pub(super) fault: Option<&'static str>,
}

/// Reads one file. What cannot be read at all is also a refusal.
pub(super) fn read(from: impl BufRead, currency: Currency) -> Result<Order, Refusal> {
    let mut reading = Reading::new(currency);
    let done = reading.document(from).and_then(|()| reading.finish());
    let Reading { order, .. } = reading;
    match done {
        Ok(()) => Ok(order),
        Err(refusal) => Err(Refusal {
            message_id: Some(order.message_id).filter(|id| !id.is_empty()),
            kind: Some(order.kind).filter(|kind| !kind.is_empty()),
            ..refusal
        }),
    }
}

/// A row that is being read.
#[derive(Debug, Default)]
struct Draft {
    row: Row,
    currency: String,
    amount: Option<Decimal>,
    amount_text: String,
    is_iban: bool,
}

struct Reading {
    currency: Currency,
    order: Order,
    totals: Totals,
    group: Option<(Group, Totals, bool)>,
    draft: Draft,
    /// Local names below the root, each after a slash.
    path: String,
    depth: usize,
    text: String,
    is_over: bool,
}

impl Reading {
    fn new(currency: Currency) -> Self {
        Self {
            currency,
            order: Order::default(),
            totals: Totals::default(),
            group: None,
            draft: Draft::default(),
            path: String::new(),
            depth: 0,
            text: String::new(),
            is_over: false,
        }
    }

    fn document(&mut self, from: impl BufRead) -> Result<(), Refusal> {
        let mut reader = NsReader::from_reader(from);
        reader.config_mut().expand_empty_elements = true;
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let read = reader.read_resolved_event_into(&mut buffer);
            match read.map_err(|error| broken(format!("not well-formed: {error}")))? {
                (_, Event::Eof) => break,
                (found, Event::Start(start)) => self.start(&found, &start)?,
                (_, Event::End(_)) => self.end()?,
                (_, Event::Text(text)) => self.more(&text)?,
                (_, Event::CData(text)) => self.more(&text)?,
                (_, Event::GeneralRef(reference)) => {
                    let meant = meaning(&reference).ok_or_else(|| broken("an unknown entity"))?;
                    self.more(meant.encode_utf8(&mut [0; 4]))?;
                }
                (_, Event::DocType(_)) => return Err(broken("a document type is not taken")),
                (_, Event::Empty(_) | Event::Decl(_) | Event::Comment(_) | Event::PI(_)) => {}
            }
        }
        match self.is_over {
            true => Ok(()),
            false => Err(broken("the file ends too early")),
        }
    }

    fn start(&mut self, found: &ResolveResult<'_>, start: &BytesStart<'_>) -> Result<(), Refusal> {
        let local = start.local_name();
        let name = local.as_ref();
        match self.depth {
            _ if self.is_over => return Err(broken("something follows the document")),
            DEPTH_MAX => return Err(broken("nested too deeply")),
            0 => self.order.kind = kind(found, name)?.to_owned(),
            1 if name != ROOT => return Err(broken(format!("the message is not `{ROOT}`"))),
            1 => {}
            _ => {
                self.path.push('/');
                self.path.push_str(name);
                match self.path.as_str() {
                    "/PmtInf" => self.group = Some((Group::default(), Totals::default(), false)),
                    "/PmtInf/CdtTrfTxInf" => self.draft = Draft::default(),
                    "/PmtInf/CdtTrfTxInf/Amt/InstdAmt" => {
                        let currency = start.try_get_attribute("Ccy").ok().flatten();
                        self.draft.currency = currency.map(|one| one.value.into_owned()).unwrap_or_default();
                    }
                    _ => {}
                }
            }
        }
        self.depth += 1;
        self.text.clear();
        Ok(())
    }

    fn more(&mut self, text: &str) -> Result<(), Refusal> {
        match self.depth {
            0 if !text.trim().is_empty() => return Err(broken("a text outside the document")),
            _ if self.text.len() + text.len() > TEXT_BYTES_MAX => return Err(broken("a text is too long")),
            _ => self.text.push_str(text),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        self.depth = self.depth.saturating_sub(1);
        match self.depth {
            0 => self.is_over = true,
            1 => {}
            _ => {
                let text = std::mem::take(&mut self.text);
                let path = std::mem::take(&mut self.path);
                self.leaf(&path, text.trim())?;
                (self.text, self.path) = (text, path);
                self.path.truncate(self.path.rfind('/').unwrap_or(0));
            }
        }
        self.text.clear();
        Ok(())
    }

    /// An element has ended.
    fn leaf(&mut self, path: &str, text: &str) -> Result<(), Refusal> {
        if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return Err(broken("a control character"));
        }
        if let Some(path) = path.strip_prefix("/PmtInf/CdtTrfTxInf") {
            return self.of_row(path, text);
        }
        if let Some(path) = path.strip_prefix("/PmtInf") {
            return self.of_group(path, text);
        }
        match path {
            "/GrpHdr/MsgId" => self.order.message_id = id(text, "MsgId")?,
            "/GrpHdr/NbOfTxs" => self.totals.stated_count = Some(count(text)?),
            "/GrpHdr/CtrlSum" => self.totals.stated_sum = Some(decimal(text)?),
            _ => {}
        }
        Ok(())
    }

    fn of_group(&mut self, path: &str, text: &str) -> Result<(), Refusal> {
        if path.is_empty() {
            return self.close_group();
        }
        let Some((group, totals, has_date)) = &mut self.group else { return Ok(()) };
        match path {
            "/PmtInfId" => group.id = id(text, "PmtInfId")?,
            "/PmtMtd" if text != "TRF" => return Err(broken("PmtMtd is not TRF")),
            "/BtchBookg" => group.batch_booking = Some(truth(text)?),
            "/NbOfTxs" => totals.stated_count = Some(count(text)?),
            "/CtrlSum" => totals.stated_sum = Some(decimal(text)?),
            "/ReqdExctnDt" if self.order.kind == KINDS[0] => (group.execute_on, *has_date) = (day(text)?, true),
            "/ReqdExctnDt/Dt" | "/ReqdExctnDt/DtTm" if self.order.kind == KINDS[1] => {
                (group.execute_on, *has_date) = (day(text.get(..10).unwrap_or_default())?, true);
            }
            "/DbtrAcct/Id/IBAN" if !is_iban(text) => {
                return Err(Refusal::new("AC02", "the debtor's IBAN is not valid"));
            }
            "/DbtrAcct/Id/IBAN" | "/DbtrAcct/Id/Othr/Id" => {
                group.debtor_account = bounded(text, ACCOUNT_CHARS_MAX, "DbtrAcct")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), Refusal> {
        let Some((group, totals, has_date)) = self.group.take() else { return Ok(()) };
        if group.id.is_empty() || group.debtor_account.is_empty() || group.rows.is_empty() || !has_date {
            return Err(broken("a PmtInf without id, date, debtor account or payments"));
        }
        totals.check("the PmtInf")?;
        self.order.groups.push(group);
        Ok(())
    }

    fn of_row(&mut self, path: &str, text: &str) -> Result<(), Refusal> {
        let draft = &mut self.draft;
        match path {
            "" => return self.close_row(),
            "/PmtId/EndToEndId" => draft.row.reference = id(text, "EndToEndId")?.into(),
            "/Amt/InstdAmt" => {
                draft.amount = Some(decimal(text)?);
                draft.amount_text.push_str(text);
            }
            "/CdtrAcct/Id/IBAN" | "/CdtrAcct/Id/Othr/Id" => {
                draft.is_iban = path.ends_with("IBAN");
                draft.row.account = bounded(text, ACCOUNT_CHARS_MAX, "CdtrAcct")?.into();
            }
            "/Cdtr/Nm" => draft.row.name = bounded(text, NAME_CHARS_MAX, "Nm")?.into(),
            _ => {}
        }
        Ok(())
    }

    fn close_row(&mut self) -> Result<(), Refusal> {
        let draft = std::mem::take(&mut self.draft);
        let Some(amount) = draft.amount else { return Err(broken("a payment without InstdAmt")) };
        let mut row = draft.row;
        if row.reference.is_empty() {
            return Err(broken("a payment without EndToEndId"));
        }
        if draft.currency.len() != 3 {
            return Err(broken("an amount without currency"));
        }
        match Money::parse(&draft.amount_text, self.currency) {
            _ if draft.currency != self.currency.code() => row.fault = Some("AM03"),
            Ok(money) => row.minor = money.minor,
            Err(AmountError::NotPositive) => row.fault = Some("AM01"),
            Err(_) => row.fault = Some("AM12"),
        }
        if row.fault.is_none() && (row.account.is_empty() || draft.is_iban && !is_iban(&row.account)) {
            row.fault = Some("AC01");
        }
        let Some((group, totals, _)) = &mut self.group else { return Ok(()) };
        totals.add(amount)?;
        self.totals.add(amount)?;
        if self.totals.count > PAYMENTS_MAX {
            return Err(broken("too many payments"));
        }
        group.rows.push(row);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Refusal> {
        if self.order.message_id.is_empty() || self.totals.stated_count.is_none() || self.order.groups.is_empty() {
            return Err(broken("the head is incomplete, or there is no PmtInf"));
        }
        (self.order.count, self.order.sum) = (self.totals.count, self.totals.sum);
        self.totals.check("the file")
    }
}

fn kind<'a>(found: &ResolveResult<'a>, name: &str) -> Result<&'a str, Refusal> {
    let ResolveResult::Bound(Namespace(namespace)) = found else { return Err(broken("there is no namespace")) };
    let kind = namespace.strip_prefix(NAMESPACE_HEAD).filter(|kind| KINDS.contains(kind));
    let kind = kind.filter(|_| name == "Document");
    kind.ok_or_else(|| broken("neither pain.001.001.03 nor pain.001.001.09"))
}
