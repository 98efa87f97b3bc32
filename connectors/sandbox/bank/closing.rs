//! The end of a day and the morning of the next: charges, statements, notices, and what falls due.
//! Deliberately not here: the forms.

use chrono::NaiveDate;

use super::book::Held;
use super::camt::{self, StatementForm, Version};
use super::desk::safe;
use super::journal::{Date, Event, OtherKind};
use super::sheet::Sheet;
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
        for name in self.released() {
            self.note(Event::Put(name))?;
        }
        self.note(Event::Day(Date(calendar::next(self.book.day))))?;
        self.morning()?;
        self.commit()?;
        Ok(self.book.day)
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
        let sheet = Sheet::draw(&self.book, account, self.settings.reversals)?;
        let (form, number) = (self.settings.statement, sheet.number);
        let tail = format!("{}_{}_{number:05}", safe(&sheet.account.id), sheet.day.format("%Y%m%d"));
        let name = match form {
            StatementForm::Mt940 => format!("MT940_{tail}.sta"),
            StatementForm::Camt053V02 | StatementForm::Camt053V08 => format!("CAMT053_{tail}.xml"),
        };
        self.desk.write(&name, |out| match form {
            StatementForm::Mt940 => mt940::statement(&sheet, out),
            StatementForm::Camt053V02 => camt::statement(&sheet, Version::V02, out),
            StatementForm::Camt053V08 => camt::statement(&sheet, Version::V08, out),
        })?;
        let notice = (self.settings.notices && sheet.has_batches()).then(|| format!("CAMT054_{tail}.xml"));
        if let Some(notice) = &notice {
            let version = if form == StatementForm::Camt053V02 { Version::V02 } else { Version::V08 };
            self.desk.write(notice, |out| camt::notice(&sheet, version, out))?;
        }
        self.note(Event::Statement(account))?;
        self.send(name, number)?;
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
        let mut rejected: Vec<(Held, Box<str>)> = Vec::new();
        for place in self.book.held_due() {
            let Some(held) = self.book.held.get(&place) else { continue };
            let held = held.clone();
            self.note(Event::Released(place))?;
            let code = match &held.code {
                Some(code) => {
                    let (group, payment) = (held.group, held.payment.clone());
                    self.note(Event::Rejected { group, payment, code: code.clone() })?;
                    Some(code.clone())
                }
                None => {
                    let fate = self.settings.faults.fate(&held.payment.reference, &held.payment.account);
                    self.execute(held.group, held.payment.clone(), fate)?.map(Into::into)
                }
            };
            rejected.extend(code.map(|code| (held, code)));
        }
        self.answer_late(&rejected)
    }
}

/// Most entries of one day that nobody ordered.
const FOREIGN_MAX: u32 = 1_000;
