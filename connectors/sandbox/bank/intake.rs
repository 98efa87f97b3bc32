//! A customer's file: taken, judged, answered, executed. Deliberately not here: reading it (`order.rs`), and days.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use chrono::NaiveDate;

use super::book::Held;
use super::desk::safe;
use super::faults::{Fate, Shown};
use super::journal::{Date, Event, Payment, Visible};
use super::order::{self, Group, Order, Refusal, Row};
use super::status::{Answer, AnswerGroup, AnswerRow, NOT_PROVIDED, Reporting, together};
use super::{Bank, calendar};

/// What stands for the kind of a file that could not be read.
const KIND_UNKNOWN: &str = "pain.001";
/// The status of a payment that was executed, or looks so.
const IN_PROCESS: &str = "ACSP";
/// The status of a payment whose day has not come.
const ACCEPTED: &str = "ACCP";
const REJECTED: &str = "RJCT";
/// There is not enough money in the account.
const OUT_OF_FUNDS: &str = "AM04";
/// A file of this name was there before.
const DUPLICATE_FILE: &str = "DU01";

/// What was said of one payment of a file.
type Told = (&'static str, Option<&'static str>);

impl Bank {
    /// Takes what lies in `in`: judges it, answers into `out`, executes what is due, and moves it to `in/done`.
    /// Returns how many files were taken.
    pub fn take(&mut self) -> anyhow::Result<usize> {
        self.carry_on()?;
        let names = self.desk.waiting()?;
        for name in &names {
            let done = self.desk.free_name(name);
            let taken = Event::Taken { name: name.as_str().into(), done: done.as_str().into() };
            if self.book.lost_count < self.settings.faults.lose_first_files {
                self.note(Event::Lost(done.into()))?;
            } else {
                let path = self.desk.incoming(name);
                self.file(name, &path)?;
            }
            self.note(taken)?;
            self.commit()?;
        }
        Ok(names.len())
    }

    /// Judges one file and does what it says.
    pub(super) fn file(&mut self, name: &str, path: &Path) -> anyhow::Result<()> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let read = order::read(BufReader::with_capacity(READ_BYTES, file), self.book.currency);
        let accepted = read.and_then(|order| match self.refusal(&order) {
            Some((code, text)) => Err(refused(&order, code, text)),
            None => Ok(order),
        });
        let by_fault = self.book.refused_count < self.settings.faults.refuse_first_files;
        match accepted {
            Ok(order) if by_fault => {
                self.note(Event::Refused)?;
                self.refuse(name, &refused(&order, "FF01", "the file cannot be read"))
            }
            Ok(order) => self.accept(name, &order),
            Err(refusal) => self.refuse(name, &refusal),
        }
    }

    fn refusal(&self, order: &Order) -> Option<(&'static str, &'static str)> {
        let is_known = self.book.knows(&order.message_id) && !self.settings.faults.forgets_message_ids;
        is_known.then_some((DUPLICATE_FILE, "a file of this MsgId was taken before"))
    }

    fn refuse(&mut self, name: &str, refusal: &Refusal) -> anyhow::Result<()> {
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

    fn accept(&mut self, name: &str, order: &Order) -> anyhow::Result<()> {
        let (message_id, kind) = (order.message_id.as_str(), order.kind.as_str());
        self.note(Event::File { message_id: message_id.into(), kind: kind.into() })?;
        let mut told = Vec::with_capacity(order.groups.len());
        for group in &order.groups {
            told.push(self.group(group)?);
        }
        let groups: Vec<_> = order.groups.iter().zip(&told).map(|(group, told)| answered(group, told)).collect();
        let answer = Answer {
            id: self.status_id(),
            day: self.book.day,
            currency: self.book.currency,
            message_id,
            kind,
            content: Some((order.count, order.sum)),
            status: together(groups.iter().map(|group| group.status)),
            reason: None,
            groups,
        };
        self.answer(name, answer)
    }

    fn group(&mut self, group: &Group) -> anyhow::Result<Vec<Told>> {
        let account = self.account(&group.debtor_account)?;
        let batch = group.batch_booking.unwrap_or(self.settings.batch_booking);
        self.note(Event::Group { id: group.id.as_str().into(), account, batch })?;
        let place = u32::try_from(self.book.groups.len() - 1).unwrap_or(u32::MAX);
        // What should have been paid is paid today; on a weekend nobody pays.
        let due = calendar::on_or_after(group.execute_on.max(self.book.day));
        group.rows.iter().map(|row| self.row(place, row, due)).collect()
    }

    fn account(&mut self, id: &str) -> anyhow::Result<u32> {
        if self.book.account_place(id).is_none() {
            self.note(Event::Account { id: id.into(), opening_minor: self.settings.float.minor })?;
        }
        self.book.account_place(id).context("an account was not opened")
    }

    /// Decides on one payment of a file that was accepted.
    fn row(&mut self, group: u32, row: &Row, due: NaiveDate) -> anyhow::Result<Told> {
        let payment = Payment {
            reference: row.reference.clone(),
            minor: row.minor,
            account: row.account.clone(),
            name: row.name.clone(),
        };
        let fate = self.settings.faults.fate(&row.reference, &row.account);
        if let Some(code) = row.fault.or(fate.rejected) {
            self.note(Event::Rejected { group, payment, code: code.into() })?;
            return Ok((REJECTED, Some(code)));
        }
        if fate.rejected_late.is_some() {
            let due = Date(calendar::next(self.book.day));
            self.note(Event::Held { group, payment, due, code: fate.rejected_late.map(Into::into) })?;
            return Ok((IN_PROCESS, None));
        }
        if due > self.book.day {
            self.note(Event::Held { group, payment, due: Date(due), code: None })?;
            return Ok((ACCEPTED, None));
        }
        let code = self.execute(group, payment, fate)?;
        Ok((if code.is_some() { REJECTED } else { IN_PROCESS }, code))
    }

    /// Pays, or says why not.
    pub(super) fn execute(&mut self, group: u32, payment: Payment, fate: Fate) -> anyhow::Result<Option<&'static str>> {
        let account = self.book.account(self.book.group(group)?.account)?;
        if account.minor < payment.minor {
            self.note(Event::Rejected { group, payment, code: OUT_OF_FUNDS.into() })?;
            return Ok(Some(OUT_OF_FUNDS));
        }
        let shown = match fate.shown {
            Shown::InTime => Visible::Now,
            Shown::Late => Visible::From(Date(calendar::next(self.book.day))),
            Shown::Healed => Visible::Healed,
        };
        let less = i64::from(fate.is_short && payment.minor > 1);
        let shown_minor = payment.minor - less;
        let back = fate.returned.map(|(days, code)| (Date(calendar::later(self.book.day, days)), code.into()));
        self.note(Event::Credit { group, payment, shown_minor, shown, back })?;
        Ok(None)
    }

    /// Says of a file's payments what was decided on them later: their places among the held.
    pub(super) fn answer_late(&mut self, rejected: &[(Held, Box<str>)]) -> anyhow::Result<()> {
        let mut by_file: BTreeMap<u32, Vec<&(Held, Box<str>)>> = BTreeMap::new();
        for one in rejected {
            by_file.entry(self.book.group(one.0.group)?.file).or_default().push(one);
        }
        for (file, rows) in by_file {
            let head = self.book.files.get(file as usize).context("there is no such file")?;
            let (message_id, kind) = (head.message_id.clone(), head.kind.clone());
            let mut by_group: BTreeMap<u32, Vec<AnswerRow<'_>>> = BTreeMap::new();
            for (held, code) in rows {
                by_group.entry(held.group).or_default().push(answered_late(held, code));
            }
            let ids = by_group.keys().map(|group| Ok(self.book.group(*group)?.id.clone()));
            let ids = ids.collect::<anyhow::Result<Vec<_>>>()?;
            let groups = ids.iter().zip(by_group.into_values());
            let answer = Answer {
                id: self.status_id(),
                day: self.book.day,
                currency: self.book.currency,
                message_id: &message_id,
                kind: &kind,
                content: None,
                status: "PART",
                reason: None,
                groups: groups.map(|(id, rows)| AnswerGroup { id, status: "PART", rows }).collect(),
            };
            if self.settings.statuses != Reporting::GroupOnly {
                self.answer(&message_id, answer)?;
            }
        }
        Ok(())
    }

    fn status_id(&self) -> String {
        format!("ST{}-{:06}", self.book.day.format("%Y%m%d"), self.book.statuses + 1)
    }

    /// Writes a status as far as the bank says anything, and sends it out as far as it arrives.
    fn answer(&mut self, about: &str, mut answer: Answer<'_>) -> anyhow::Result<()> {
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

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 256 << 10;

fn refused(order: &Order, code: &'static str, text: &str) -> Refusal {
    let (message_id, kind) = (Some(order.message_id.clone()), Some(order.kind.clone()));
    Refusal { message_id, kind, ..Refusal::new(code, text) }
}

fn answered<'a>(group: &'a Group, told: &[Told]) -> AnswerGroup<'a> {
    let rows = group.rows.iter().zip(told).map(|(row, (status, code))| AnswerRow {
        reference: &row.reference,
        account: &row.account,
        minor: row.minor,
        status,
        code: *code,
    });
    AnswerGroup { id: &group.id, status: together(told.iter().map(|(status, _)| *status)), rows: rows.collect() }
}

fn answered_late<'a>(held: &'a Held, code: &'a str) -> AnswerRow<'a> {
    AnswerRow {
        reference: &held.payment.reference,
        account: &held.payment.account,
        minor: held.payment.minor,
        status: REJECTED,
        code: Some(code),
    }
}
