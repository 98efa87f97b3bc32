//! Batch mode: one write for all payments, then questions until every page of the outcome was read.
//! Deliberately not here: reading bodies (`answers`), and when to ask again (the engine).

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use reqwest::StatusCode;

use super::answers::{self, Found, Open, State, Target};
use super::object::Object;
use super::rail::Question;
use super::reasons::squeeze;
use super::{MobileMoney, ask_again, tell, unsaid};
use crate::contract::{About, Batch, Failure, Gate, Message, Money, Outcome, Reason, Reference, Report, Said, Source};
use crate::http::{self, Answer};

/// Most pages read of one list; a provider that caps pages at 50 items still gets through 100,000.
pub const PAGES_MAX: u32 = 2_000;
/// Path of the write, and the first segment of every question about a batch.
const BATCHES: &str = "batchtransactions";

/// The two lists in which a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Completions,
    Rejections,
}

/// One list of one batch.
#[derive(Debug)]
struct Ending<'a> {
    /// The provider's name for the batch.
    id: &'a str,
    list: List,
    /// How many items the batch says it has.
    count: Option<u64>,
}

impl List {
    fn path(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Rejections => "rejections",
        }
    }
}

impl MobileMoney {
    pub(super) async fn submit_batch(
        &self,
        batch: &Batch,
        wire: &[u8],
        gate: &dyn Gate,
        said: &mut dyn Said,
    ) -> Result<(), Failure> {
        let request = self.rail.post(&[BATCHES], batch.reference.uuid(), Bytes::copy_from_slice(wire))?;
        gate.pass(u32::try_from(batch.instructions.len()).unwrap_or(u32::MAX)).await?;
        let answer = http::send(request).await?;
        let origin = format!("POST /{BATCHES}");
        let message = Message { source: Source::Reply, origin, bytes: answer.body.clone() };
        match taken(&answer) {
            Ok(report) => tell(said, message, vec![report], Failure::InDoubt).await,
            Err(failure) => {
                if !answer.body.is_empty() {
                    // The answer stands, whether or not it could be stored.
                    let _ = said.say(message, Vec::new()).await;
                }
                Err(failure)
            }
        }
    }

    pub(super) async fn inquire_batch(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let id = match &batch.provider_reference {
            Some(id) => id.clone(),
            None => match self.batch_id(batch, said).await? {
                Some(id) => id,
                None => return Ok(()),
            },
        };
        let question = Question::path([BATCHES, id.as_str()]);
        let Some((object, message)) = self.question(&question, said).await? else { return Ok(()) };
        let Some(status) = object.batch_status.as_deref() else {
            tell(said, message, Vec::new(), ask_again).await?;
            return Err(ask_again(Reason::unknown("no_status", "the batch has no status")));
        };
        if squeeze(status) != "completed" || object.working.as_deref() == Some("true") {
            return tell(said, message, vec![accepted(Some(id))], ask_again).await;
        }
        tell(said, message, Vec::new(), ask_again).await?;
        for (list, count) in [(List::Completions, &object.completed_count), (List::Rejections, &object.rejection_count)]
        {
            self.pages(&Ending { id: &id, list, count: Object::count(count.as_ref()) }, batch, said).await?;
        }
        Ok(())
    }

    /// The provider's name for the batch by our correlation id; `None` when everything it knows has been said.
    async fn batch_id(&self, batch: &Batch, said: &mut dyn Said) -> Result<Option<String>, Failure> {
        let uuid = batch.reference.uuid().to_string();
        let question = Question::path(["responses", uuid.as_str()]);
        let Some((object, message)) = self.question(&question, said).await? else { return Ok(None) };
        let target = object.link.as_deref().and_then(answers::target).or(object.batch_id.map(Target::Batch));
        match target {
            Some(Target::Batch(id)) => {
                tell(said, message, vec![accepted(Some(id.clone()))], ask_again).await?;
                Ok(Some(id))
            }
            Some(Target::Request(state)) => {
                tell(said, message, Vec::new(), ask_again).await?;
                self.batch_id_by_request(&state, said).await
            }
            _ => {
                tell(said, message, Vec::new(), ask_again).await?;
                Err(ask_again(Reason::unknown("no_link", "the response leads to no batch")))
            }
        }
    }

    async fn batch_id_by_request(&self, state: &str, said: &mut dyn Said) -> Result<Option<String>, Failure> {
        let question = Question::path(["requeststates", state]);
        let answer = self.rail.ask(&question).await?;
        let message = question.message(&answer);
        let object = match answers::found(&answer) {
            Found::Object(object) => object,
            // The provider has just named it, so that its absence says nothing about the batch.
            Found::Absent => return unsaid(message, answers::unreadable(&answer), said).await,
            Found::Failed(failure) => return unsaid(message, failure, said).await,
        };
        let report = match answers::state(object.status.as_ref()) {
            Some(State::Pending | State::Done | State::Returned) => accepted(object.object_reference.clone()),
            Some(State::Failed) => match answers::failed_request(&object) {
                Failure::InDoubt(reason) => return unsaid(message, ask_again(reason), said).await,
                // Whatever the cause was, the request was not executed and nothing will be.
                Failure::Refused(reason) | Failure::Blocked(reason) | Failure::Unavailable { reason, .. } => {
                    Report::batch(Outcome::Rejected(reason))
                }
            },
            None => return unsaid(message, answers::unreadable(&answer), said).await,
        };
        tell(said, message, vec![report], ask_again).await?;
        Ok(object.object_reference)
    }

    /// Asks about the batch. Absence and failures are said here, and then there is no object.
    async fn question(
        &self,
        question: &Question<'_>,
        said: &mut dyn Said,
    ) -> Result<Option<(Object, Message)>, Failure> {
        let answer = self.rail.ask(question).await?;
        let message = question.message(&answer);
        match answers::found(&answer) {
            Found::Object(object) => Ok(Some((*object, message))),
            Found::Absent => {
                tell(said, message, vec![Report::batch(Outcome::Absent)], ask_again).await?;
                Ok(None)
            }
            Found::Failed(failure) => unsaid(message, failure, said).await,
        }
    }

    /// Reads one list to its end. What was said stays said; when the numbers differ, it is read again later.
    async fn pages(&self, ending: &Ending<'_>, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let open: Open<'_> = batch.instructions.iter().map(|item| (item.reference, item)).collect();
        let &Ending { id, list, count } = ending;
        let mut tally = Tally { expected: count, ..Tally::default() };
        let mut paid = Paid::default();
        for _ in 0..PAGES_MAX {
            let question = Question::page([BATCHES, id, list.path()], self.settings.page_items, tally.read);
            let answer = self.rail.ask(&question).await?;
            let message = question.message(&answer);
            let items = match page(&answer) {
                Some(items) => items,
                // Some providers have no such list while it is empty.
                None if matches!(answers::found(&answer), Found::Absent) => Vec::new(),
                None => return unsaid(message, failed_page(&answer), said).await,
            };
            let reports = match list {
                List::Completions => {
                    paid.count(answers::completions(&items, &open, &self.settings.identifier_key), &open)
                }
                List::Rejections => answers::rejections(&items, &open, &self.settings.identifier_key),
            };
            if reports.iter().any(is_returned) {
                paid.later.push((message, reports));
            } else {
                tell(said, message, reports, ask_again).await?;
            }
            if !tally.goes_on(&items, header(&answer, "x-records-available-count"), self.settings.page_items) {
                break;
            }
        }
        let whole = tally.check(list);
        for (message, mut reports) in std::mem::take(&mut paid.later) {
            reports.retain(|report| !is_returned(report) || (whole.is_ok() && !paid.stands(report)));
            tell(said, message, reports, ask_again).await?;
        }
        whole
    }
}

/// How often each payment of a list was made. A provider that does not know a second copy for what it is may
/// have made one twice, and taken one of them back.
#[derive(Debug, Default)]
struct Paid {
    made: HashMap<Reference, HashSet<Option<String>>>,
    /// Pages with something that came back: whether anything still stands is known at the end of the list.
    later: Vec<(Message, Vec<Report>)>,
}

impl Paid {
    /// Names the whole sum where a payment was made more than once: another sum than ours is for a person.
    fn count(&mut self, mut reports: Vec<Report>, open: &Open<'_>) -> Vec<Report> {
        for report in &mut reports {
            let About::Instruction(reference) = report.about else { continue };
            if report.outcome != Outcome::Settled {
                continue;
            }
            let made = self.made.entry(reference).or_default();
            made.insert(report.provider_reference.clone());
            let times = i64::try_from(made.len()).unwrap_or(i64::MAX);
            if let Some(instruction) = open.get(&reference).filter(|_| times > 1) {
                let sum = instruction.amount.minor.saturating_mul(times);
                report.amount = Some(Money::new(sum, instruction.amount.currency));
            }
        }
        reports
    }

    fn stands(&self, report: &Report) -> bool {
        matches!(report.about, About::Instruction(reference) if self.made.contains_key(&reference))
    }
}

fn is_returned(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Returned(_))
}

/// Counts what was read of one list. Items are told apart by name: pages that shift while they are read show
/// one item twice and another never, and then the plain number would be right.
#[derive(Debug, Default)]
struct Tally {
    expected: Option<u64>,
    available: Option<u64>,
    read: u64,
    nameless: u64,
    names: HashSet<(Option<String>, Option<String>)>,
}

impl Tally {
    /// Takes a page; whether there is another.
    fn goes_on(&mut self, items: &[Object], available: Option<u64>, limit: u64) -> bool {
        let count = items.len() as u64;
        self.read += count;
        self.available = available.or(self.available);
        for item in items {
            match (&item.our_reference, &item.payment_reference) {
                (None, None) => self.nameless += 1,
                (ours, theirs) => drop(self.names.insert((ours.clone(), theirs.clone()))),
            }
        }
        // A short page is the end only where no number says otherwise: the provider may cap pages.
        let more = match self.available.max(self.expected) {
            Some(total) => self.read < total,
            None => count >= limit,
        };
        count > 0 && more
    }

    fn check(&self, list: List) -> Result<(), Failure> {
        let found = self.names.len() as u64 + self.nameless;
        match self.expected.or(self.available) {
            Some(expected) if expected != found => {
                let text = format!("{expected} {} were announced, {found} were found", list.path());
                Err(ask_again(Reason::unknown("counts_differ", text)))
            }
            _ => Ok(()),
        }
    }
}

/// What the answer to the write says, when it says that the batch was taken.
fn taken(answer: &Answer) -> Result<Report, Failure> {
    if !answer.status.is_success() {
        return Err(answers::not_taken(answer));
    }
    let unread = || Failure::InDoubt(Reason::unknown("unreadable", "the answer to the batch cannot be read"));
    let object = Object::read(&answer.body).ok_or_else(unread)?;
    if object.batch_id.is_some() && object.batch_status.is_some() {
        return Ok(accepted(object.batch_id));
    }
    match answers::state(object.status.as_ref()) {
        Some(State::Pending | State::Done | State::Returned) => Ok(accepted(object.object_reference)),
        Some(State::Failed) => Err(answers::failed_request(&object)),
        None => Err(unread()),
    }
}

fn accepted(provider_reference: Option<String>) -> Report {
    Report { provider_reference, ..Report::batch(Outcome::Accepted) }
}

/// The items of a page, if it is one.
pub fn page(answer: &Answer) -> Option<Vec<Object>> {
    if answer.status == StatusCode::NO_CONTENT {
        return Some(Vec::new());
    }
    if answer.status.is_success() { serde_json::from_slice(&answer.body).ok() } else { None }
}

/// Why it is none.
pub fn failed_page(answer: &Answer) -> Failure {
    match answers::found(answer) {
        Found::Failed(failure) => failure,
        _ => answers::unreadable(answer),
    }
}

/// A count in a header.
pub fn header(answer: &Answer, name: &str) -> Option<u64> {
    answer.headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
