//! What the bank knows: accounts, credits, what is held, what a statement has not shown. It follows from the events
//! alone, so that a restart knows it again. Deliberately not here: deciding, and files.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use anyhow::Context;
use chrono::NaiveDate;

use super::super::ledger::{Net, Summary};
use super::journal::{Date, Event, OtherKind, Payment, Visible};
use crate::contract::{Currency, Money};

/// One executed payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankCredit {
    /// The payer's `EndToEndId`.
    pub reference: Box<str>,
    /// What left the payer's account.
    pub amount: Money,
    /// The payee's account number.
    pub account: Box<str>,
    /// The payee's name as ordered; may be empty.
    pub name: Box<str>,
    /// The `MsgId` of the file.
    pub message_id: Arc<str>,
    /// The `PmtInfId` of the group.
    pub payment_information_id: Arc<str>,
    /// When it was executed.
    pub day: NaiveDate,
    /// When and why it came back.
    pub returned: Option<(NaiveDate, Box<str>)>,
    pub(super) group: u32,
    /// What statements show.
    pub(super) shown_minor: i64,
    back: Option<(NaiveDate, Box<str>)>,
}

impl BankCredit {
    /// Why it comes back, if it does.
    pub(super) fn return_code(&self) -> &str {
        self.back.as_ref().map_or("MS03", |(_, code)| code)
    }
}

/// One payment that was rejected, at once or late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankRejection {
    /// The payer's `EndToEndId`.
    pub reference: Box<str>,
    /// Zero where the amount could not be used.
    pub minor: i64,
    /// The `MsgId` of the file.
    pub message_id: Arc<str>,
    /// When.
    pub day: NaiveDate,
    /// Why.
    pub code: Box<str>,
}

/// A file that was accepted.
pub(super) struct FileHead {
    pub(super) message_id: Arc<str>,
    pub(super) kind: Box<str>,
}

/// A group of payments that was accepted.
pub(super) struct GroupHead {
    pub(super) file: u32,
    pub(super) id: Arc<str>,
    pub(super) account: u32,
    pub(super) batch: bool,
}

/// A customer's account.
pub(super) struct Account {
    pub(super) id: Box<str>,
    pub(super) minor: i64,
    /// What statements show, which differs by what they hide.
    pub(super) shown_minor: i64,
    /// Number of the last statement.
    pub(super) number: u32,
}

/// A payment that is looked at again on a later day.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) group: u32,
    pub(super) payment: Payment,
    pub(super) due: NaiveDate,
    pub(super) code: Option<Box<str>>,
}

/// A line that no statement has shown yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) account: u32,
    pub(super) what: What,
    pub(super) shown: Visible,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// A credit by its place.
    Paid(u32),
    /// A return by its credit's place.
    Back(u32),
    /// Anything else, with its own number.
    Other(OtherKind, i64, u64),
}

pub(super) struct Book {
    pub(super) currency: Currency,
    pub(super) day: NaiveDate,
    pub(super) files: Vec<FileHead>,
    pub(super) groups: Vec<GroupHead>,
    pub(super) accounts: Vec<Account>,
    pub(super) credits: Vec<BankCredit>,
    pub(super) rejections: Vec<BankRejection>,
    pub(super) held: BTreeMap<u32, Held>,
    pub(super) lines: Vec<Line>,
    pub(super) withheld: BTreeMap<Box<str>, Option<NaiveDate>>,
    pub(super) lost: Vec<Box<str>>,
    /// Files that were ever lost and refused.
    pub(super) lost_count: u32,
    pub(super) refused_count: u32,
    pub(super) statuses: u64,
    message_ids: HashSet<Arc<str>>,
    backs: BTreeMap<NaiveDate, BTreeSet<u32>>,
    returns: usize,
    others: u64,
    next_held: u32,
}

fn place(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Book {
    pub(super) fn new(currency: Currency, day: NaiveDate) -> Self {
        Self {
            currency,
            day,
            files: Vec::new(),
            groups: Vec::new(),
            accounts: Vec::new(),
            credits: Vec::new(),
            rejections: Vec::new(),
            held: BTreeMap::new(),
            lines: Vec::new(),
            withheld: BTreeMap::new(),
            lost: Vec::new(),
            lost_count: 0,
            refused_count: 0,
            statuses: 0,
            message_ids: HashSet::new(),
            backs: BTreeMap::new(),
            returns: 0,
            others: 0,
            next_held: 0,
        }
    }

    /// Takes in one event.
    pub(super) fn absorb(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Day(day) => self.day = day.0,
            Event::Account { id, opening_minor: minor } => {
                self.accounts.push(Account { id, minor, shown_minor: minor, number: 0 });
            }
            Event::File { message_id, kind } => {
                let message_id = Arc::<str>::from(message_id);
                self.message_ids.insert(message_id.clone());
                self.files.push(FileHead { message_id, kind });
            }
            Event::Group { id, account, batch } => {
                let file = place(self.files.len()).checked_sub(1).context("a group without a file")?;
                self.groups.push(GroupHead { file, id: id.into(), account, batch });
            }
            Event::Held { group, payment, due, code } => {
                self.held.insert(self.next_held, Held { group, payment, due: due.0, code });
                self.next_held += 1;
            }
            Event::Released(held) => drop(self.held.remove(&held)),
            Event::Credit { group, payment, shown_minor, shown, back } => {
                let back = back.map(|(day, code)| (day.0, code));
                self.credit((group, payment), (shown_minor, shown), back)?;
            }
            Event::Rejected { group, payment, code } => {
                let message_id = self.file_of(group)?.message_id.clone();
                let Payment { reference, minor, .. } = payment;
                self.rejections.push(BankRejection { reference, minor, message_id, day: self.day, code });
            }
            Event::Back(credit) => self.give_back(credit)?,
            Event::Other { account, kind, minor } => {
                let account_minor = &mut self.account_mut(account)?.minor;
                *account_minor = account_minor.saturating_add(minor);
                self.others += 1;
                self.lines.push(Line { account, what: What::Other(kind, minor, self.others), shown: Visible::Now });
            }
            Event::Statement(account) => self.close(account)?,
            Event::Status => self.statuses += 1,
            Event::Withheld { name, until } => drop(self.withheld.insert(name, until.map(|day| day.0))),
            Event::Put(name) => drop(self.withheld.remove(&name)),
            Event::Lost(name) => {
                self.lost_count += 1;
                self.lost.push(name);
            }
            Event::Found(name) => self.lost.retain(|lost| *lost != name),
            Event::Refused => self.refused_count += 1,
            Event::Healed => self.lines.iter_mut().for_each(|line| line.shown = line.shown.healed(self.day)),
            Event::Taken { .. } | Event::Commit | Event::Settled => {}
        }
        Ok(())
    }

    fn credit(
        &mut self,
        (group, payment): (u32, Payment),
        (shown_minor, shown): (i64, Visible),
        back: Option<(NaiveDate, Box<str>)>,
    ) -> anyhow::Result<()> {
        let head = self.group(group)?;
        let (account, payment_information_id) = (head.account, head.id.clone());
        let message_id = self.file_of(group)?.message_id.clone();
        let credit = place(self.credits.len());
        if let Some((day, _)) = &back {
            self.backs.entry(*day).or_default().insert(credit);
        }
        let account_minor = &mut self.account_mut(account)?.minor;
        *account_minor = account_minor.saturating_sub(payment.minor);
        self.credits.push(BankCredit {
            amount: Money::new(payment.minor, self.currency),
            reference: payment.reference,
            account: payment.account,
            name: payment.name,
            message_id,
            payment_information_id,
            day: self.day,
            returned: None,
            group,
            shown_minor,
            back,
        });
        self.lines.push(Line { account, what: What::Paid(credit), shown });
        Ok(())
    }

    fn give_back(&mut self, place: u32) -> anyhow::Result<()> {
        let day = self.day;
        let credit = self.credits.get_mut(place as usize).context("a return without a credit")?;
        let (minor, group) = (credit.amount.minor, credit.group);
        if let Some((planned, _)) = &credit.back
            && let Some(places) = self.backs.get_mut(planned)
        {
            places.remove(&place);
        }
        credit.returned = Some((day, credit.return_code().into()));
        let account = self.group(group)?.account;
        let account_minor = &mut self.account_mut(account)?.minor;
        *account_minor = account_minor.saturating_add(minor);
        self.returns += 1;
        self.lines.push(Line { account, what: What::Back(place), shown: Visible::Now });
        Ok(())
    }

    /// Whether a statement of today shows a line.
    pub(super) fn shows(&self, account: u32, line: &Line) -> bool {
        let is_due = match line.shown {
            Visible::Now => true,
            Visible::From(day) => day.0 <= self.day,
            Visible::Healed => false,
        };
        is_due && line.account == account
    }

    fn close(&mut self, account: u32) -> anyhow::Result<()> {
        let shown = self.lines.iter().filter(|line| self.shows(account, line));
        let moved = shown.map(|line| self.shown_minor(line.what)).fold(0, i64::saturating_add);
        let lines = std::mem::take(&mut self.lines);
        self.lines = lines.into_iter().filter(|line| !self.shows(account, line)).collect();
        let account = self.account_mut(account)?;
        account.shown_minor = account.shown_minor.saturating_add(moved);
        account.number += 1;
        Ok(())
    }

    /// What a line adds to the balance that statements show.
    pub(super) fn shown_minor(&self, what: What) -> i64 {
        let credit = |place: u32| self.credits.get(place as usize);
        match what {
            What::Paid(place) => credit(place).map_or(0, |credit| -credit.shown_minor),
            What::Back(place) => credit(place).map_or(0, |credit| credit.amount.minor),
            What::Other(_, minor, _) => minor,
        }
    }

    pub(super) fn group(&self, group: u32) -> anyhow::Result<&GroupHead> {
        self.groups.get(group as usize).context("there is no such group")
    }

    pub(super) fn file_of(&self, group: u32) -> anyhow::Result<&FileHead> {
        let file = self.group(group)?.file;
        self.files.get(file as usize).context("there is no such file")
    }

    pub(super) fn account(&self, account: u32) -> anyhow::Result<&Account> {
        self.accounts.get(account as usize).context("there is no such account")
    }

    fn account_mut(&mut self, account: u32) -> anyhow::Result<&mut Account> {
        self.accounts.get_mut(account as usize).context("there is no such account")
    }

    /// Where an account stands.
    pub(super) fn account_place(&self, id: &str) -> Option<u32> {
        self.accounts.iter().position(|account| *account.id == *id).map(place)
    }

    pub(super) fn knows(&self, message_id: &str) -> bool {
        self.message_ids.contains(message_id)
    }

    /// Credits that are to come back by now.
    pub(super) fn backs_due(&self) -> Vec<u32> {
        self.backs.range(..=self.day).flat_map(|(_, places)| places).copied().collect()
    }

    /// Held payments that are to be looked at by now.
    pub(super) fn held_due(&self) -> Vec<u32> {
        self.held.iter().filter(|(_, held)| held.due <= self.day).map(|(place, _)| *place).collect()
    }

    /// What each reference came to.
    pub(super) fn net(&self) -> HashMap<String, Net> {
        let mut net: HashMap<String, Net> = HashMap::new();
        for credit in &self.credits {
            let one = net.entry(credit.reference.to_string()).or_default();
            if credit.returned.is_none() {
                one.credits += 1;
                one.sum_minor = one.sum_minor.saturating_add(credit.amount.minor);
            }
        }
        net
    }

    pub(super) fn summary(&self, float_minor: i64) -> Summary {
        let net = self.net();
        let float = self.accounts.iter().map(|account| account.minor).reduce(i64::saturating_add);
        Summary {
            credits: self.credits.len(),
            returns: self.returns,
            sum_minor: net.values().map(|one| one.sum_minor).fold(0, i64::saturating_add),
            currency: self.currency,
            references: net.len(),
            paid_references: net.values().filter(|one| one.credits > 0).count(),
            repeated_references: net.values().filter(|one| one.credits > 1).count(),
            float_minor: float.unwrap_or(float_minor),
        }
    }
}

impl Visible {
    /// Shown from now on; what was hidden keeps a line of its own.
    fn healed(self, day: NaiveDate) -> Self {
        match self {
            Self::Now => Self::Now,
            Self::From(_) | Self::Healed => Self::From(Date(day)),
        }
    }
}
