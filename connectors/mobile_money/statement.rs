//! Asking the statement of our funding account: what was debited has been paid, what was credited has come back,
//! and what is on no line of the whole window is absent.
//!
//! The window is counted from the provider's own clock, by which the entries are dated. Newest entries come first,
//! so that reading ends as soon as every payment asked about was seen. Deliberately not here: when an absence
//! counts (the engine).

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Duration, SecondsFormat, Utc};

use super::answers::{self, Open, State};
use super::batch::{PAGES_MAX, failed_page, header, page};
use super::object::{Object, Party};
use super::rail::Question;
use super::reasons::{self, squeeze};
use super::wire::reference_on_statement;
use super::{MobileMoney, ask_again, tell, unsaid};
use crate::contract::{Batch, Failure, Instruction, Message, Money, Outcome, Reason, Reference, Report, Said, Source};
use crate::http::Answer;

/// Words for an entry by which money came back.
const BACK: [&str; 4] = ["reversal", "refund", "return", "reversed"];

impl MobileMoney {
    pub(super) async fn inquire_statement(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let account = &self.settings.debit_party;
        let path = ["accounts", account.key.as_str(), account.value.as_str(), "statemententries"];
        let since = self.since(&path, said).await?;
        let mut reading = Reading::new(batch, &account.value, &self.settings.identifier_key);
        let mut told = Pages::default();
        for _ in 0..PAGES_MAX {
            let mut question = Question::page(path, self.settings.page_items, reading.read);
            question.query.push(("fromDateTime", since.clone()));
            let answer = match self.rail.ask(&question).await {
                Ok(answer) => answer,
                Err(failure) => return told.tell(said, None).await.and(Err(failure)),
            };
            let message = Message { source: Source::Statement, ..question.message(&answer) };
            let Some(items) = page(&answer) else {
                told.tell(said, None).await?;
                return unsaid(message, failed_page(&answer), said).await;
            };
            let (reports, back) = reading.take(&items, header(&answer, "x-records-available-count"));
            told.add(Page { message, reports, back }, said).await?;
            if reading.is_over(items.len()) {
                break;
            }
        }
        let whole = reading.check();
        let ends = if whole.is_ok() { Some(&reading) } else { None };
        told.tell(said, ends).await?;
        whole
    }

    /// The beginning of the window, by the clock of the provider.
    async fn since(&self, path: &[&str], said: &mut dyn Said) -> Result<String, Failure> {
        let question = Question::page(path, 1, 0);
        let answer = self.rail.ask(&question).await?;
        if page(&answer).is_none() {
            let message = Message { source: Source::Statement, ..question.message(&answer) };
            return unsaid(message, failed_page(&answer), said).await;
        }
        let window = Duration::days(i64::from(self.settings.statement_days));
        let since = now_there(&answer).and_then(|now| now.checked_sub_signed(window));
        let since = since.ok_or_else(|| ask_again(Reason::unknown("no_date", "the provider's answer has no date")))?;
        Ok(since.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// The provider's clock, by the protocol's header or HTTP's own.
fn now_there(answer: &Answer) -> Option<DateTime<Utc>> {
    let text = |name: &str| answer.headers.get(name)?.to_str().ok();
    let own = text("x-date").and_then(|text| DateTime::parse_from_rfc3339(text.trim()).ok());
    let now = own.or_else(|| DateTime::parse_from_rfc2822(text("date")?.trim()).ok())?;
    Some(now.to_utc())
}

/// One page that was read.
struct Page {
    message: Message,
    reports: Vec<Report>,
    /// Payments of which it shows money that came back.
    back: Vec<Reference>,
}

/// Pages that are not told yet: the last one, to which absences belong, and those with money that came back, of
/// which only the whole statement says what stands.
#[derive(Default)]
struct Pages {
    back: Vec<Page>,
    last: Option<Page>,
}

impl Pages {
    async fn add(&mut self, page: Page, said: &mut dyn Said) -> Result<(), Failure> {
        match self.last.replace(page) {
            Some(before) if before.back.is_empty() => tell(said, before.message, before.reports, ask_again).await,
            Some(before) => {
                self.back.push(before);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Tells what is left; with a whole reading also what only that proves.
    async fn tell(&mut self, said: &mut dyn Said, whole: Option<&Reading<'_>>) -> Result<(), Failure> {
        let mut ended = HashSet::new();
        let mut last = self.last.take();
        if let (Some(page), Some(reading)) = (&mut last, whole) {
            page.reports.extend(reading.absent());
        }
        for mut page in std::mem::take(&mut self.back).into_iter().chain(last) {
            if let Some(reading) = whole {
                let back = page.back.iter().filter(|reference| ended.insert(**reference));
                page.reports.extend(back.filter_map(|reference| reading.came_back(*reference)));
            }
            tell(said, page.message, page.reports, ask_again).await?;
        }
        Ok(())
    }
}

/// What the statement shows of one payment.
#[derive(Default)]
struct Shown {
    debited: Option<Money>,
    credited: Option<Money>,
    /// The provider's name for the first debit.
    name: Option<String>,
}

/// The direction of an entry, seen from our account.
enum Entry {
    Debit,
    Credit,
}

/// A reading of the statement for one batch.
struct Reading<'a> {
    open: Open<'a>,
    account: &'a str,
    key: &'a str,
    shown: BTreeMap<Reference, Shown>,
    names: HashSet<String>,
    nameless: u64,
    /// Entries read, those that shifted and came twice among them.
    read: u64,
    /// Entries there were when the reading began, and at its last page.
    available: Option<(u64, u64)>,
    oldest: Option<DateTime<Utc>>,
    /// No entry was newer than the one before it.
    newest_first: bool,
    ended: bool,
}

impl<'a> Reading<'a> {
    fn new(batch: &'a Batch, account: &'a str, key: &'a str) -> Self {
        Self {
            open: batch.instructions.iter().map(|item| (item.reference, item)).collect(),
            account,
            key,
            shown: BTreeMap::new(),
            names: HashSet::new(),
            nameless: 0,
            read: 0,
            available: None,
            oldest: None,
            newest_first: true,
            ended: false,
        }
    }

    /// Takes a page: what it says by itself, and the payments of which it shows money that came back.
    fn take(&mut self, items: &[Object], available: Option<u64>) -> (Vec<Report>, Vec<Reference>) {
        self.read += items.len() as u64;
        if let Some(now) = available {
            self.available = Some((self.available.map_or(now, |(first, _)| first), now));
        }
        let (mut reports, mut back) = (Vec::new(), Vec::new());
        for item in items {
            // New entries push older ones into pages that are still to come.
            let fresh = match &item.payment_reference {
                Some(name) => self.names.insert(name.clone()),
                None => {
                    self.nameless += 1;
                    true
                }
            };
            if fresh {
                self.look_at_date(item);
                self.entry(item, &mut reports, &mut back);
            }
        }
        (reports, back)
    }

    fn look_at_date(&mut self, item: &Object) {
        let date = item.creation_date.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text.trim()).ok());
        let date = date.map(|date| date.to_utc());
        self.newest_first &= date.is_some() && self.oldest.is_none_or(|oldest| date <= Some(oldest));
        self.oldest = date.or(self.oldest);
    }

    fn entry(&mut self, item: &Object, reports: &mut Vec<Report>, back: &mut Vec<Reference>) {
        let reference = reference_on_statement(item.our_reference.as_deref(), item.description_text.as_deref());
        let Some(instruction) = reference.and_then(|reference| self.open.get(&reference).copied()) else { return };
        let state = answers::state(item.payment_status.as_ref());
        if state == Some(State::Failed) {
            return;
        }
        let shown = self.shown.entry(instruction.reference).or_default();
        let money = item.money(item.amount.as_ref(), Some(instruction.amount.currency));
        let (Some(state), Ok(Some(money))) = (state, money) else { return };
        let entry = direction(item, self.account);
        match (state, entry) {
            (State::Pending, _) => reports.push(Report::instruction(instruction.reference, Outcome::Accepted)),
            (State::Returned, Entry::Debit) => {
                shown.debit(item, money);
                shown.credited = sum(shown.credited, money);
                back.push(instruction.reference);
            }
            (State::Done, Entry::Debit) => {
                shown.debit(item, money);
                if shown.credited.is_none() {
                    reports.push(shown.settled(shown.debited, item, (instruction, self.key)));
                }
            }
            (_, Entry::Credit) => {
                shown.credited = sum(shown.credited, money);
                back.push(instruction.reference);
            }
            (State::Failed, _) => {}
        }
    }

    /// Whether there is nothing more to read.
    fn is_over(&mut self, count: usize) -> bool {
        // Without a number only an empty page is the end: a provider may make pages shorter than we ask for.
        self.ended = count == 0 || self.available.is_some_and(|(_, now)| self.read >= now);
        self.ended || self.is_all_seen()
    }

    /// Every payment was debited, and no older entry can say anything else of it.
    fn is_all_seen(&self) -> bool {
        let paid = |reference| self.shown.get(reference).is_some_and(|one| one.debited.is_some());
        self.newest_first && self.shown.values().all(|one| one.credited.is_none()) && self.open.keys().all(paid)
    }

    /// Whether the reading proves what is not there.
    fn check(&self) -> Result<(), Failure> {
        if self.is_all_seen() {
            return Ok(());
        }
        let found = self.names.len() as u64 + self.nameless;
        let all = match self.available {
            // What was added meanwhile came before what was read.
            Some((first, last)) => found >= last || (self.newest_first && found >= first),
            None => true,
        };
        if self.ended && all {
            return Ok(());
        }
        let text = format!("the statement was not read to its end: {found} entries");
        Err(ask_again(Reason::unknown("statement_cut", text)))
    }

    /// Payments that are on no line.
    fn absent(&self) -> impl Iterator<Item = Report> {
        let missing = self.open.keys().filter(|reference| !self.shown.contains_key(reference));
        missing.map(|reference| Report::instruction(*reference, Outcome::Absent))
    }

    /// What stands of a payment of which money came back.
    fn came_back(&self, reference: Reference) -> Option<Report> {
        let (shown, instruction) = (self.shown.get(&reference)?, self.open.get(&reference)?);
        let debited = shown.debited.map_or(0, |money| money.minor);
        let credited = shown.credited?;
        let left = debited.saturating_sub(credited.minor);
        let report = |outcome, amount| Report {
            amount,
            provider_reference: shown.name.clone(),
            ..Report::instruction(reference, outcome)
        };
        if left > 0 {
            return Some(report(Outcome::Settled, Some(Money::new(left, instruction.amount.currency))));
        }
        // Where the debit is not shown, the sum that came back is all there is to match.
        let amount = (left < 0).then_some(credited);
        Some(report(Outcome::Returned(reasons::of_returned(&Object::default())), amount))
    }
}

impl Shown {
    fn debit(&mut self, item: &Object, money: Money) {
        self.debited = sum(self.debited, money);
        self.name = self.name.take().or_else(|| item.payment_reference.clone());
    }

    fn settled(&self, amount: Option<Money>, item: &Object, (instruction, key): (&Instruction, &str)) -> Report {
        Report {
            amount,
            provider_reference: item.payment_reference.clone(),
            payee_account: answers::account(item, instruction, key),
            ..Report::instruction(instruction.reference, Outcome::Settled)
        }
    }
}

/// All of it together: a second debit makes another sum than ours, which is for a person. In another currency it
/// is that sum alone.
fn sum(before: Option<Money>, money: Money) -> Option<Money> {
    Some(before.map_or(money, |before| before.checked_add(money).unwrap_or(money)))
}

/// By the parties, or by the word for the entry where they do not tell.
fn direction(item: &Object, account: &str) -> Entry {
    let ours = |parties: &[Party]| {
        let values = parties.iter().filter_map(|party| party.value.as_deref());
        values.map(answers::bare).any(|value| value == answers::bare(account))
    };
    let back = || item.display_type.as_deref().is_some_and(|word| BACK.contains(&squeeze(word).as_str()));
    match (ours(&item.debit_party), ours(&item.credit_party)) {
        (true, false) => Entry::Debit,
        (false, true) => Entry::Credit,
        _ if back() => Entry::Credit,
        _ => Entry::Debit,
    }
}
