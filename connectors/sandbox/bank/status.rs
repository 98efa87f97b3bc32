//! Writes `pain.002`: what the bank says of a file. Deliberately not here: what it says it about.

use std::io::{self, Write};

use chrono::NaiveDate;
use quick_xml::Writer;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::xml::{account, amount, branch, document, leaf, path};
use crate::contract::Currency;

/// What stands in place of a name that could not be read.
pub(super) const NOT_PROVIDED: &str = "NOTPROVIDED";
/// The status of what was not and will not be executed.
pub(super) const REJECTED: &str = "RJCT";
/// Longest explanation.
const TEXT_CHARS_MAX: usize = 105;

/// The version that statuses are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusVersion {
    /// `pain.002.001.03`.
    V03,
    /// `pain.002.001.10`.
    #[default]
    V10,
}

/// How much a bank says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reporting {
    /// Every payment.
    #[default]
    All,
    /// The file, and the payments that were rejected.
    NegativeOnly,
    /// The file alone.
    GroupOnly,
    /// Nothing at all.
    Silent,
}

/// What is said of one file.
pub(super) struct Answer<'a> {
    pub(super) id: String,
    pub(super) day: NaiveDate,
    pub(super) currency: Currency,
    pub(super) message_id: &'a str,
    pub(super) kind: &'a str,
    /// Payments and their sum, where the file could be read.
    pub(super) content: Option<(u64, Decimal)>,
    pub(super) status: &'static str,
    pub(super) reason: Option<(&'static str, String)>,
    pub(super) groups: Vec<AnswerGroup<'a>>,
}

/// What is said of one `PmtInf`.
pub(super) struct AnswerGroup<'a> {
    pub(super) id: &'a str,
    pub(super) status: &'static str,
    pub(super) rows: Vec<AnswerRow<'a>>,
}

/// What is said of one payment.
pub(super) struct AnswerRow<'a> {
    pub(super) reference: &'a str,
    pub(super) account: &'a str,
    pub(super) minor: i64,
    pub(super) status: &'static str,
    pub(super) code: Option<&'a str>,
}

/// The status of what holds these: rejected only when all are.
pub(super) fn together(statuses: impl IntoIterator<Item = &'static str>) -> &'static str {
    let (mut is_any_rejected, mut is_any_taken) = (false, false);
    for status in statuses {
        match status {
            REJECTED => is_any_rejected = true,
            "PART" => (is_any_rejected, is_any_taken) = (true, true),
            _ => is_any_taken = true,
        }
    }
    match (is_any_rejected, is_any_taken) {
        (true, true) => "PART",
        (true, false) => REJECTED,
        (false, _) => "ACCP",
    }
}

impl Answer<'_> {
    /// Leaves out what a bank of this kind does not say.
    pub(super) fn cut(&mut self, reporting: Reporting) {
        match reporting {
            Reporting::All => {}
            Reporting::NegativeOnly => {
                self.groups.iter_mut().for_each(|group| group.rows.retain(|row| row.code.is_some()));
                self.groups.retain(|group| !group.rows.is_empty());
            }
            Reporting::GroupOnly | Reporting::Silent => self.groups.clear(),
        }
    }

    pub(super) fn write<W: Write>(&self, out: W, version: StatusVersion) -> io::Result<W> {
        let kind = match version {
            StatusVersion::V03 => "pain.002.001.03",
            StatusVersion::V10 => "pain.002.001.10",
        };
        let mut paper = Writer::new(out);
        document(&mut paper, kind, "CstmrPmtStsRpt", |paper| {
            branch(paper, "GrpHdr", |paper| {
                leaf(paper, "MsgId", &self.id)?;
                leaf(paper, "CreDtTm", &format!("{}T12:00:00", self.day))
            })?;
            branch(paper, "OrgnlGrpInfAndSts", |paper| self.head(paper))?;
            self.groups.iter().try_for_each(|group| {
                branch(paper, "OrgnlPmtInfAndSts", |paper| {
                    leaf(paper, "OrgnlPmtInfId", group.id)?;
                    leaf(paper, "PmtInfSts", group.status)?;
                    group.rows.iter().try_for_each(|row| branch(paper, "TxInfAndSts", |paper| self.row(paper, row)))
                })
            })
        })?;
        Ok(paper.into_inner())
    }

    fn head<W: Write>(&self, paper: &mut Writer<W>) -> io::Result<()> {
        leaf(paper, "OrgnlMsgId", self.message_id)?;
        leaf(paper, "OrgnlMsgNmId", self.kind)?;
        if let Some((count, sum)) = self.content {
            leaf(paper, "OrgnlNbOfTxs", &count.to_string())?;
            leaf(paper, "OrgnlCtrlSum", &sum.to_string())?;
        }
        leaf(paper, "GrpSts", self.status)?;
        match &self.reason {
            Some((code, text)) => reason(paper, code, text),
            None => Ok(()),
        }
    }

    fn row<W: Write>(&self, paper: &mut Writer<W>, row: &AnswerRow<'_>) -> io::Result<()> {
        leaf(paper, "OrgnlEndToEndId", row.reference)?;
        leaf(paper, "TxSts", row.status)?;
        if let Some(code) = row.code {
            reason(paper, code, "")?;
        }
        if row.minor == 0 {
            return Ok(());
        }
        branch(paper, "OrgnlTxRef", |paper| {
            branch(paper, "Amt", |paper| amount(paper, "InstdAmt", row.minor, self.currency))?;
            account(paper, "CdtrAcct", row.account)
        })
    }
}

fn reason<W: Write>(paper: &mut Writer<W>, code: &str, text: &str) -> io::Result<()> {
    branch(paper, "StsRsnInf", |paper| {
        path(paper, &["Rsn", "Cd"], code)?;
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        if text.is_empty() { Ok(()) } else { leaf(paper, "AddtlInf", &text) }
    })
}
