//! The other side of a host-to-host bank: it takes payment files from a folder, answers them, executes them into a
//! ledger of its own on days of its own, and writes statements, with faults drawn from a seed.
//! Deliberately not here: anything a payer could share; it is written from the specifications alone.

mod accounts;
mod answers;
mod book;
mod calendar;
mod camt;
mod closing;
mod desk;
mod faults;
mod house;
mod intake;
mod journal;
mod mt940;
mod order;
mod sheet;
mod status;
#[cfg(test)]
mod tests;
mod values;
mod xml;

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Context;
use chrono::{DateTime, NaiveDate};

pub use accounts::{account_with, iban_with};
pub use book::{BankCredit, BankRejection};
pub use camt::StatementForm;
pub use faults::{
    BOOKED_LATE, BankFaults, CLOSED_ACCOUNT, LATE_REJECTION, NEVER_BOOKED, OUT_OF_FUNDS, PLAIN, RETURNED_NEXT_DAY,
    RETURNED_THIRD_DAY, SHOWN_SHORT, UNKNOWN_ACCOUNT, UNKNOWN_CODE,
};
pub use house::BankHouse;
pub use status::{Reporting, StatusVersion};

use super::ledger::{Net, Summary};
use crate::contract::{Currency, Money};
use book::Book;
use desk::Desk;
use journal::{Date, Event, Journal};

/// What an account holds when nothing is said: more than any test pays out.
const FLOAT_MINOR_DEFAULT: i64 = 100_000_000_000_000;

/// How a bank is set up.
#[derive(Debug, Clone)]
pub struct BankSettings {
    /// The folder with `in`, `out` and the bank's ledger.
    pub root: PathBuf,
    /// The only currency the bank pays in.
    pub currency: Currency,
    /// What is in each of the customer's accounts when the bank first hears of it.
    pub float: Money,
    /// The day on which a new bank opens; a weekend becomes the Monday after it.
    pub first_day: NaiveDate,
    /// A charge on every account and day; 0 is none.
    pub fee_minor: i64,
    /// What goes wrong.
    pub faults: BankFaults,
    /// The version of statuses.
    pub status_version: StatusVersion,
    /// How much statuses say.
    pub statuses: Reporting,
    /// Whether a second status at the end of the day says `ACSC` of what was executed; only when statuses say
    /// everything.
    pub confirms: bool,
    /// The form of statements.
    pub statement: StatementForm,
    /// Whether a group is booked as one entry where the file leaves it open.
    pub batch_booking: bool,
    /// Whether a `camt.054` tells the payments of entries that are booked as one.
    pub notices: bool,
    /// Whether money that comes back is booked as a reversed debit instead of a return by a credit.
    pub reversals: bool,
}

impl BankSettings {
    /// A bank that says everything, books every payment by itself, and opens today.
    pub fn new(root: PathBuf, currency: Currency) -> Self {
        let today = DateTime::from_timestamp_micros(super::now_micros()).unwrap_or_default().date_naive();
        Self {
            root,
            currency,
            float: Money::new(FLOAT_MINOR_DEFAULT, currency),
            first_day: today,
            fee_minor: 0,
            faults: BankFaults::default(),
            status_version: StatusVersion::default(),
            statuses: Reporting::default(),
            confirms: false,
            statement: StatementForm::default(),
            batch_booking: false,
            notices: false,
            reversals: false,
        }
    }
}

/// A bank over a folder. After an error of the file system it is to be opened anew.
pub struct Bank {
    settings: BankSettings,
    book: Book,
    journal: Journal,
    desk: Desk,
    /// What the block in hand does to files, once it holds.
    effects: Vec<Event>,
    is_healing: bool,
}

impl Bank {
    /// Makes the folders where they are missing, and knows again what an earlier run did.
    pub fn open(settings: BankSettings) -> anyhow::Result<Self> {
        anyhow::ensure!(settings.float.currency == settings.currency, "the float is in another currency");
        let desk = Desk::open(&settings.root)?;
        let mut book = Book::new(settings.currency, calendar::on_or_after(settings.first_day));
        let (mut effects, mut is_new) = (Vec::new(), true);
        let journal = Journal::open(&settings.root, |event| {
            is_new = false;
            match &event {
                Event::Put(_) | Event::Taken { .. } => effects.push(event.clone()),
                Event::Settled => effects.clear(),
                _ => {}
            }
            book.absorb(event)
        })?;
        let mut bank = Self { settings, book, journal, desk, effects, is_healing: false };
        match is_new {
            true => {
                bank.note(Event::Day(Date(bank.book.day)))?;
                bank.commit()?;
            }
            false => bank.settle()?,
        }
        Ok(bank)
    }

    /// The bank's day.
    pub fn day(&self) -> NaiveDate {
        self.book.day
    }

    /// Replaces the faults. What was withheld under the old ones stays so until the bank is healed.
    pub fn set_faults(&mut self, faults: BankFaults) {
        self.settings.faults = faults;
    }

    /// Nothing goes wrong any more, whatever the accounts are. What was withheld, hidden or lost is caught up with
    /// at the next [`Bank::take`] or [`Bank::end_day`].
    pub fn heal(&mut self) {
        self.settings.faults = BankFaults::none();
        self.is_healing = true;
    }

    /// Every executed payment, in order.
    pub fn ledger(&self) -> &[BankCredit] {
        &self.book.credits
    }

    /// Every payment that was rejected by itself, in order. Payments of files that were refused are not among them.
    pub fn rejections(&self) -> &[BankRejection] {
        &self.book.rejections
    }

    /// Accepted payments that are neither executed nor rejected yet.
    pub fn waiting(&self) -> usize {
        self.book.held.len()
    }

    /// What each reference came to, credits less returns. More than one credit is a double payment.
    pub fn net(&self) -> HashMap<String, Net> {
        self.book.net()
    }

    /// The ledger in a few numbers. Its float is what is in the customer's accounts.
    pub fn summary(&self) -> Summary {
        self.book.summary(self.settings.float.minor)
    }

    /// Writes an event down and takes it in. It holds with the next [`Bank::commit`].
    fn note(&mut self, event: Event) -> anyhow::Result<()> {
        self.journal.write(&event)?;
        if matches!(event, Event::Put(_) | Event::Taken { .. }) {
            self.effects.push(event.clone());
        }
        self.book.absorb(event)
    }

    /// Ends a block, and brings its files to their places.
    fn commit(&mut self) -> anyhow::Result<()> {
        self.journal.commit()?;
        self.settle()
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        if self.effects.is_empty() {
            return Ok(());
        }
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Event::Put(name) => self.desk.put(&name).with_context(|| format!("{name} does not go out"))?,
                Event::Taken { name, done } => self.desk.put_away(&name, &done)?,
                _ => {}
            }
        }
        self.journal.settle()
    }

    /// What was withheld, hidden or lost is caught up with, once, after the bank was healed.
    fn carry_on(&mut self) -> anyhow::Result<()> {
        if !std::mem::take(&mut self.is_healing) {
            return Ok(());
        }
        self.note(Event::Healed)?;
        for name in self.book.withheld.keys().cloned().collect::<Vec<_>>() {
            self.note(Event::Put(name))?;
        }
        self.commit()?;
        for done in self.book.lost.clone() {
            self.note(Event::Found(done.clone()))?;
            let path = self.desk.done(&done);
            self.file(&done, &path)?;
            self.commit()?;
        }
        Ok(())
    }
}
