//! How answers go out: as much as the bank says, withheld or twice where it is told to; and what is said on a later
//! day. Deliberately not here: what is decided, and the form (`status.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;

use super::Bank;
use super::desk::safe;
use super::journal::{Event, Payment};
use super::order::Refusal;
use super::status::{Answer, AnswerGroup, AnswerRow, NOT_PROVIDED, REJECTED, Reporting};

/// What stands for the kind of a file that could not be read.
const KIND_UNKNOWN: &str = "pain.001";
/// The status of a payment that was executed.
const SETTLED: &str = "ACSC";

/// A payment of which something is said after its file was answered.
pub(super) struct Later {
    pub(super) group: u32,
    pub(super) payment: Payment,
    /// Why it was rejected; without it, it was executed.
    pub(super) code: Option<Box<str>>,
}

/// What is said of the payments of one group.
type Grouped<'a> = (Arc<str>, Vec<&'a Later>);

impl Later {
    fn row(&self) -> AnswerRow<'_> {
        AnswerRow {
            reference: &self.payment.reference,
            account: &self.payment.account,
            minor: self.payment.minor,
            status: if self.code.is_some() { REJECTED } else { SETTLED },
            code: self.code.as_deref(),
        }
    }
}

impl Bank {
    /// Answers a file that is refused as a whole.
    pub(super) fn refuse(&mut self, name: &str, refusal: &Refusal) -> anyhow::Result<()> {
        let answer = Answer {
            id: self.status_id(),
            day: self.book.day,
            currency: self.book.currency,
            message_id: refusal.message_id.as_deref().unwrap_or(NOT_PROVIDED),
            kind: refusal.kind.as_deref().unwrap_or(KIND_UNKNOWN),
            content: None,
            status: REJECTED,
            reason: Some((refusal.code, refusal.text.clone())),
            groups: Vec::new(),
        };
        self.answer(name, answer)
    }

    /// Says what became of payments whose files were answered before, in an answer for each file. `status` is that
    /// of what holds them. A bank that never names payments says nothing.
    pub(super) fn answer_later(&mut self, payments: &[Later], status: &'static str) -> anyhow::Result<()> {
        if self.settings.statuses == Reporting::GroupOnly {
            return Ok(());
        }
        let mut by_group: BTreeMap<u32, Vec<&Later>> = BTreeMap::new();
        for one in payments {
            by_group.entry(one.group).or_default().push(one);
        }
        let mut by_file: BTreeMap<u32, Vec<Grouped<'_>>> = BTreeMap::new();
        for (group, payments) in by_group {
            let head = self.book.group(group)?;
            by_file.entry(head.file).or_default().push((head.id.clone(), payments));
        }
        for (file, groups) in by_file {
            let head = self.book.files.get(file as usize).context("there is no such file")?;
            let (message_id, kind) = (head.message_id.clone(), head.kind.clone());
            let groups = groups.iter().map(|(id, payments)| {
                let rows = payments.iter().map(|one| one.row()).collect();
                AnswerGroup { id, status, rows }
            });
            let answer = Answer {
                id: self.status_id(),
                day: self.book.day,
                currency: self.book.currency,
                message_id: &message_id,
                kind: &kind,
                content: None,
                status,
                reason: None,
                groups: groups.collect(),
            };
            self.answer(&message_id, answer)?;
        }
        Ok(())
    }

    pub(super) fn status_id(&self) -> String {
        format!("ST{}-{:06}", self.book.day.format("%Y%m%d"), self.book.statuses + 1)
    }

    /// Writes a status as far as the bank says anything, and sends it out as far as it arrives.
    pub(super) fn answer(&mut self, about: &str, mut answer: Answer<'_>) -> anyhow::Result<()> {
        let faults = self.settings.faults.clone();
        if self.settings.statuses == Reporting::Silent {
            return Ok(());
        }
        answer.cut(self.settings.statuses);
        let is_lost = faults.loses_status(answer.message_id);
        if faults.status_not_provided {
            answer.message_id = NOT_PROVIDED;
        }
        let stem = about.strip_suffix(".xml").unwrap_or(about);
        let name = format!("PAIN002_{}_{}.xml", safe(stem), answer.id);
        let version = self.settings.status_version;
        self.desk.write(&name, |out| answer.write(out, version))?;
        self.note(Event::Status)?;
        let mut names = vec![name];
        if let (true, Some(name)) = (faults.status_twice, names.first()) {
            let copy = format!("AGAIN_{name}");
            self.desk.copy(name, &copy)?;
            names.push(copy);
        }
        for name in names {
            let name = name.into();
            self.note(if is_lost { Event::Withheld { name, until: None } } else { Event::Put(name) })?;
        }
        Ok(())
    }
}
