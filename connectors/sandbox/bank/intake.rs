//! A customer's file: taken, judged, executed. Deliberately not here: reading it (`order.rs`), how the answer goes out
//! (`answers.rs`), and days.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use chrono::NaiveDate;

use super::faults::{Fate, Shown};
use super::journal::{Date, Event, Payment, Visible};
use super::order::{self, Group, Order, Refusal, Row};
use super::status::{Answer, AnswerGroup, AnswerRow, REJECTED, together};
use super::{Bank, calendar};

/// The status of a payment that was executed, or looks so.
const IN_PROCESS: &str = "ACSP";
/// The status of a payment whose day has not come.
const ACCEPTED: &str = "ACCP";
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
        let mut taken_count = 0;
        for name in &names {
            let path = self.desk.incoming(name);
            // The customer may have thought better of it.
            if !path.exists() {
                continue;
            }
            taken_count += 1;
            let done = self.desk.free_name(name);
            let taken = Event::Taken { name: name.as_str().into(), done: done.as_str().into() };
            if self.book.lost_count < self.settings.faults.lose_first_files {
                self.note(Event::Lost(done.into()))?;
            } else {
                self.file(name, &path)?;
            }
            self.note(taken)?;
            self.commit()?;
        }
        Ok(taken_count)
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
