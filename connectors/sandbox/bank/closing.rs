//! The end of a day and the morning of the next: charges, statements, notices, and what falls due.
//! Deliberately not here: the forms.

use std::io::{self, Write};

use chrono::NaiveDate;

use super::answers::Later;
use super::book::Held;
use super::camt::{self, StatementForm, Version};
use super::desk::safe;
use super::journal::{Date, Event, OtherKind, Payment};
use super::sheet::Sheet;
use super::status::Reporting;
use super::{Bank, calendar, mt940};

impl Bank {
    /// Ends the bank's day: writes its statements into `out` and goes to the next business day, on which late
    /// rejections, returns and payments for that day fall due. Returns the new day.
    pub fn end_day(&mut self) -> anyhow::Result<NaiveDate> {
        self.carry_on()?;
        for account in 0..u32::try_from(self.book.accounts.len()).unwrap_or(u32::MAX) {
            self.others(account)?;
            self.close(account)?;
        }
        self.confirm()?;
        for name in self.released() {
            self.note(Event::Put(name))?;
        }
        self.note(Event::Day(Date(calendar::next(self.book.day))))?;
        self.morning()?;
        self.commit()?;
        Ok(self.book.day)
    }

    /// Says that the day's payments were executed, where the bank does so.
    fn confirm(&mut self) -> anyhow::Result<()> {
        if !self.settings.confirms || self.settings.statuses != Reporting::All {
            return Ok(());
        }
        let from = self.book.credits.partition_point(|credit| credit.day < self.book.day);
        let credits = self.book.credits.get(from..).unwrap_or_default();
        let executed = credits.iter().map(|credit| Later {
            group: credit.group,
            payment: Payment {
                reference: credit.reference.clone(),
                minor: credit.amount.minor,
                account: credit.account.clone(),
                name: Box::default(),
            },
            code: None,
        });
        let executed: Vec<_> = executed.collect();
        self.answer_later(&executed, "ACSC")
    }

    /// Withheld files whose day has come.
    fn released(&self) -> Vec<Box<str>> {
        let day = self.book.day;
        let due = self.book.withheld.iter().filter(|(_, until)| until.is_some_and(|until| until <= day));
        due.map(|(name, _)| name.clone()).collect()
    }

    /// Charges, and what nobody ordered.
    fn others(&mut self, account: u32) -> anyhow::Result<()> {
        if self.settings.fee_minor > 0 {
            let minor = -self.settings.fee_minor;
            self.note(Event::Other { account, kind: OtherKind::Charge, minor })?;
        }
        let faults = self.settings.faults.clone();
        for (count, sign) in [(faults.foreign_debits_per_day, -1), (faults.foreign_credits_per_day, 1)] {
            for number in 0..count.min(FOREIGN_MAX) {
                let name = format!("{} {account} {sign} {number}", self.book.day);
                let minor = sign * faults.foreign_minor(&name);
                self.note(Event::Other { account, kind: OtherKind::Foreign, minor })?;
            }
        }
        Ok(())
    }

    /// Writes an account's statement, and the notice where there is one.
    fn close(&mut self, account: u32) -> anyhow::Result<()> {
        let mut sheet = Sheet::draw(&self.book, account, self.settings.reversals)?;
        let (form, number) = (self.settings.statement, sheet.number);
        let tail = format!("{}_{}_{number:05}", safe(&sheet.account.id), sheet.day.format("%Y%m%d"));
        let name = match form {
            StatementForm::Mt940 => format!("MT940_{tail}.sta"),
            StatementForm::Camt053V02 | StatementForm::Camt053V08 => format!("CAMT053_{tail}.xml"),
        };
        let is_amended = self.settings.faults.amended_statement == number;
        let last = if is_amended { sheet.leave_out_last() } else { None };
        self.desk.write(&name, |out| written(&sheet, form, out))?;
        let mut amended = None;
        if let Some(last) = last {
            sheet.put_back(last);
            let name = amended.insert(format!("AMENDED_{name}"));
            self.desk.write(name, |out| written(&sheet, form, out))?;
        }
        let notice = (self.settings.notices && sheet.has_batches()).then(|| format!("CAMT054_{tail}.xml"));
        if let Some(notice) = &notice {
            let version = if form == StatementForm::Camt053V02 { Version::V02 } else { Version::V08 };
            self.desk.write(notice, |out| camt::notice(&sheet, version, out))?;
        }
        self.note(Event::Statement(account))?;
        self.send(name, number)?;
        if let Some(name) = amended {
            let until = Some(Date(calendar::next(self.book.day)));
            self.note(Event::Withheld { name: name.into(), until })?;
        }
        notice.map_or(Ok(()), |notice| self.note(Event::Put(notice.into())))
    }

    /// Sends a statement out, as far as it arrives.
    fn send(&mut self, name: String, number: u32) -> anyhow::Result<()> {
        let faults = self.settings.faults.clone();
        let mut names = vec![name];
        if let (true, Some(name)) = (faults.duplicate_statement, names.first()) {
            let copy = format!("AGAIN_{name}");
            self.desk.copy(name, &copy)?;
            names.push(copy);
        }
        for name in names {
            let name = name.into();
            self.note(match faults.statement_lag_days {
                _ if faults.statement_gap == number => Event::Withheld { name, until: None },
                0 => Event::Put(name),
                days => Event::Withheld { name, until: Some(Date(calendar::later(self.book.day, days))) },
            })?;
        }
        Ok(())
    }

    /// What falls due on the new day.
    fn morning(&mut self) -> anyhow::Result<()> {
        for credit in self.book.backs_due() {
            self.note(Event::Back(credit))?;
        }
        let mut rejected = Vec::new();
        for place in self.book.held_due() {
            let Some(Held { group, payment, code, .. }) = self.book.held.get(&place).cloned() else { continue };
            self.note(Event::Released(place))?;
            let code = match code {
                Some(code) => {
                    self.note(Event::Rejected { group, payment: payment.clone(), code: code.clone() })?;
                    Some(code)
                }
                None => {
                    let fate = self.settings.faults.fate(&payment.reference, &payment.account);
                    self.execute(group, payment.clone(), fate)?.map(Into::into)
                }
            };
            if code.is_some() {
                rejected.push(Later { group, payment, code });
            }
        }
        self.answer_later(&rejected, "PART")
    }
}

fn written<W: Write>(sheet: &Sheet<'_>, form: StatementForm, out: W) -> io::Result<W> {
    match form {
        StatementForm::Mt940 => mt940::statement(sheet, out),
        StatementForm::Camt053V02 => camt::statement(sheet, Version::V02, out),
        StatementForm::Camt053V08 => camt::statement(sheet, Version::V08, out),
    }
}

/// Most entries of one day that nobody ordered.
const FOREIGN_MAX: u32 = 1_000;
