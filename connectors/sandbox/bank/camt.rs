//! Writes `camt.053` (the day's statement) and `camt.054` (the payments inside batch entries).
//! Deliberately not here: what is in them (`sheet.rs`).

use std::io::{self, Write};

use quick_xml::Writer;
use serde::{Deserialize, Serialize};

use super::book::BankCredit;
use super::journal::OtherKind;
use super::sheet::{Content, Entry, Sheet, payment_reference};
use super::xml::{account, amount, branch, document, leaf, path};

/// The form that statements are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementForm {
    /// `camt.053.001.02`.
    Camt053V02,
    /// `camt.053.001.08`.
    #[default]
    Camt053V08,
    /// MT940.
    Mt940,
}

/// Which of the two versions; they differ in statuses, parties and amounts of details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V02,
    V08,
}

impl Version {
    fn digits(self) -> &'static str {
        match self {
            Self::V02 => "02",
            Self::V08 => "08",
        }
    }
}

/// Which message an entry is in.
#[derive(Clone, Copy)]
struct Form {
    version: Version,
    /// Whether batch entries have their details.
    details: bool,
}

/// The statement.
pub(super) fn statement<W: Write>(sheet: &Sheet<'_>, version: Version, out: W) -> io::Result<W> {
    let form = Form { version, details: false };
    let mut paper = Writer::new(out);
    document(&mut paper, &format!("camt.053.001.{}", version.digits()), "BkToCstmrStmt", |paper| {
        header(paper, sheet)?;
        branch(paper, "Stmt", |paper| {
            opening(paper, sheet, &sheet.id())?;
            balance(paper, sheet, "OPBD", sheet.opening_minor)?;
            balance(paper, sheet, "CLBD", sheet.closing_minor)?;
            sheet.entries.iter().try_for_each(|entry| branch(paper, "Ntry", |paper| one(paper, sheet, entry, form)))
        })
    })?;
    Ok(paper.into_inner())
}

/// The notice of what the batch entries hold.
pub(super) fn notice<W: Write>(sheet: &Sheet<'_>, version: Version, out: W) -> io::Result<W> {
    let form = Form { version, details: true };
    let mut paper = Writer::new(out);
    document(&mut paper, &format!("camt.054.001.{}", version.digits()), "BkToCstmrDbtCdtNtfctn", |paper| {
        header(paper, sheet)?;
        branch(paper, "Ntfctn", |paper| {
            opening(paper, sheet, &format!("N{}", sheet.id()))?;
            let batches = sheet.entries.iter().filter(|entry| matches!(entry.content, Content::Batch(..)));
            batches.into_iter().try_for_each(|entry| branch(paper, "Ntry", |paper| one(paper, sheet, entry, form)))
        })
    })?;
    Ok(paper.into_inner())
}

fn header<W: Write>(paper: &mut Writer<W>, sheet: &Sheet<'_>) -> io::Result<()> {
    branch(paper, "GrpHdr", |paper| {
        leaf(paper, "MsgId", &format!("M{}", sheet.id()))?;
        leaf(paper, "CreDtTm", &format!("{}T20:00:00", sheet.day))
    })
}

fn opening<W: Write>(paper: &mut Writer<W>, sheet: &Sheet<'_>, id: &str) -> io::Result<()> {
    leaf(paper, "Id", id)?;
    leaf(paper, "ElctrncSeqNb", &sheet.number.to_string())?;
    leaf(paper, "CreDtTm", &format!("{}T20:00:00", sheet.day))?;
    branch(paper, "FrToDt", |paper| {
        leaf(paper, "FrDtTm", &format!("{}T00:00:00", sheet.day))?;
        leaf(paper, "ToDtTm", &format!("{}T23:59:59", sheet.day))
    })?;
    branch(paper, "Acct", |paper| {
        let id = &*sheet.account.id;
        let names: &[&str] = if super::accounts::is_iban(id) { &["Id", "IBAN"] } else { &["Id", "Othr", "Id"] };
        path(paper, names, id)?;
        leaf(paper, "Ccy", sheet.currency.code())
    })
}

fn balance<W: Write>(paper: &mut Writer<W>, sheet: &Sheet<'_>, code: &str, minor: i64) -> io::Result<()> {
    branch(paper, "Bal", |paper| {
        path(paper, &["Tp", "CdOrPrtry", "Cd"], code)?;
        amount(paper, "Amt", minor.saturating_abs(), sheet.currency)?;
        leaf(paper, "CdtDbtInd", side(minor))?;
        path(paper, &["Dt", "Dt"], &sheet.day.to_string())
    })
}

fn side(minor: i64) -> &'static str {
    if minor < 0 { "DBIT" } else { "CRDT" }
}

fn one<W: Write>(paper: &mut Writer<W>, sheet: &Sheet<'_>, entry: &Entry, form: Form) -> io::Result<()> {
    amount(paper, "Amt", entry.minor.saturating_abs(), sheet.currency)?;
    leaf(paper, "CdtDbtInd", side(entry.minor))?;
    let is_back = matches!(entry.content, Content::Back(_));
    if is_back && sheet.reversals {
        leaf(paper, "RvslInd", "true")?;
    }
    match form.version {
        Version::V02 => leaf(paper, "Sts", "BOOK")?,
        Version::V08 => path(paper, &["Sts", "Cd"], "BOOK")?,
    }
    for name in ["BookgDt", "ValDt"] {
        path(paper, &[name, "Dt"], &sheet.day.to_string())?;
    }
    leaf(paper, "AcctSvcrRef", &entry.reference)?;
    bank_code(paper, code(entry, sheet.reversals))?;
    match &entry.content {
        Content::Batch(group, credits) => branch(paper, "NtryDtls", |paper| {
            batch(paper, sheet, (*group, entry.minor, credits.len()))?;
            let told = if form.details { credits.as_slice() } else { &[] };
            sheet.credits(told).try_for_each(|(place, credit)| {
                let detail =
                    Detail { sheet, credit, entry, reference: &payment_reference(place), minor: credit.shown_minor };
                branch(paper, "TxDtls", |paper| detail.write(paper, form))
            })
        }),
        Content::Paid(place) | Content::Back(place) => {
            let minor = entry.minor.saturating_abs();
            sheet.credits(&[*place]).try_for_each(|(_, credit)| {
                let detail = Detail { sheet, credit, entry, reference: &entry.reference, minor };
                branch(paper, "NtryDtls", |paper| branch(paper, "TxDtls", |paper| detail.write(paper, form)))
            })
        }
        Content::Other(OtherKind::Charge) => leaf(paper, "AddtlNtryInf", "Charges"),
        Content::Other(OtherKind::Foreign) => leaf(paper, "AddtlNtryInf", "Booked by the bank"),
    }
}

/// Domain, family and sub-family.
fn code(entry: &Entry, reversals: bool) -> [&'static str; 3] {
    match &entry.content {
        Content::Batch(..) | Content::Paid(_) => ["PMNT", "ICDT", "ESCT"],
        Content::Back(_) if reversals => ["PMNT", "ICDT", "ESCT"],
        Content::Back(_) => ["PMNT", "ICDT", "RRTN"],
        Content::Other(OtherKind::Charge) => ["ACMT", "MDOP", "CHRG"],
        Content::Other(OtherKind::Foreign) if entry.minor < 0 => ["PMNT", "RDDT", "ESDD"],
        Content::Other(OtherKind::Foreign) => ["PMNT", "RCDT", "ESCT"],
    }
}

fn bank_code<W: Write>(paper: &mut Writer<W>, [domain, family, sub]: [&str; 3]) -> io::Result<()> {
    branch(paper, "BkTxCd", |paper| {
        branch(paper, "Domn", |paper| {
            leaf(paper, "Cd", domain)?;
            branch(paper, "Fmly", |paper| {
                leaf(paper, "Cd", family)?;
                leaf(paper, "SubFmlyCd", sub)
            })
        })
    })
}

fn batch<W: Write>(
    paper: &mut Writer<W>,
    sheet: &Sheet<'_>,
    (group, minor, count): (u32, i64, usize),
) -> io::Result<()> {
    let (Ok(head), Ok(file)) = (sheet.book.group(group), sheet.book.file_of(group)) else { return Ok(()) };
    branch(paper, "Btch", |paper| {
        leaf(paper, "MsgId", &file.message_id)?;
        leaf(paper, "PmtInfId", &head.id)?;
        leaf(paper, "NbOfTxs", &count.to_string())?;
        amount(paper, "TtlAmt", minor.saturating_abs(), sheet.currency)?;
        leaf(paper, "CdtDbtInd", side(minor))
    })
}

/// A payment inside an entry.
struct Detail<'a> {
    sheet: &'a Sheet<'a>,
    credit: &'a BankCredit,
    entry: &'a Entry,
    reference: &'a str,
    minor: i64,
}

impl Detail<'_> {
    fn write<W: Write>(&self, paper: &mut Writer<W>, form: Form) -> io::Result<()> {
        let (credit, currency) = (self.credit, self.sheet.currency);
        branch(paper, "Refs", |paper| {
            leaf(paper, "MsgId", &credit.message_id)?;
            leaf(paper, "AcctSvcrRef", self.reference)?;
            leaf(paper, "PmtInfId", &credit.payment_information_id)?;
            leaf(paper, "EndToEndId", &credit.reference)
        })?;
        match form.version {
            Version::V02 => branch(paper, "AmtDtls", |paper| {
                branch(paper, "TxAmt", |paper| amount(paper, "Amt", self.minor, currency))
            })?,
            Version::V08 => {
                amount(paper, "Amt", self.minor, currency)?;
                leaf(paper, "CdtDbtInd", side(self.entry.minor))?;
            }
        }
        branch(paper, "RltdPties", |paper| {
            account(paper, "DbtrAcct", &self.sheet.account.id)?;
            match (form.version, &*credit.name) {
                (_, "") => {}
                (Version::V02, name) => path(paper, &["Cdtr", "Nm"], name)?,
                (Version::V08, name) => path(paper, &["Cdtr", "Pty", "Nm"], name)?,
            }
            account(paper, "CdtrAcct", &credit.account)
        })?;
        match &self.entry.content {
            Content::Back(_) => path(paper, &["RtrInf", "Rsn", "Cd"], credit.return_code()),
            _ => Ok(()),
        }
    }
}
