//! Everything the operator remembers: requests, what became of their payments, and the ledger.
//! A single payment is a request with one item. Deliberately not here: carrying out (`carry.rs`), and sockets,
//! time-outs and tasks.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use uuid::Uuid;

use super::faults::{Fault, Faults, Marks};
use super::journal::{self, Entry, ItemLine, Journal, RequestLine};
use super::kind::Kind;
use super::ledger::{Credit, Ledger};
use super::reason::Reason;
use super::request::{Asked, Request, Stage};
use super::wire::{self, Item, Refusal};
use crate::contract::Money;

/// The operator's state.
pub(super) struct Book {
    pub(super) ledger: Ledger,
    pub(super) kind: Kind,
    pub(super) requests: Vec<Request>,
    /// The newest request under each correlation id.
    correlations: HashMap<Uuid, u32>,
    servers: HashMap<Uuid, u32>,
    batches: HashMap<Box<str>, u32>,
    singles: HashMap<u64, u32>,
    /// Further requests under the correlation id of a first one.
    copies: HashMap<u32, Vec<u32>>,
    journal: Option<Journal>,
    /// What a fault has struck once and is to spare from now on.
    struck: HashSet<(Fault, String)>,
    pub(super) replies_lost: u32,
}

/// Where a further copy belongs.
#[derive(Default)]
struct Copy {
    of: Option<u32>,
    replaces: bool,
}

impl Book {
    /// An empty book, or the one that the folder holds.
    pub(super) fn open(opening: Money, kind: Kind, folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut book = Self {
            ledger: Ledger::new(opening),
            kind,
            requests: Vec::new(),
            correlations: HashMap::new(),
            servers: HashMap::new(),
            batches: HashMap::new(),
            singles: HashMap::new(),
            copies: HashMap::new(),
            journal: None,
            struck: HashSet::new(),
            replies_lost: 0,
        };
        if let Some(folder) = folder {
            let journal = Journal::open(folder, |entry| book.replay(entry))?;
            book.journal = Some(journal);
        }
        Ok(book)
    }

    /// Requests that were approved and not carried out to the end.
    pub(super) fn unfinished(&self) -> Vec<u32> {
        self.those(|request| request.stage == Stage::Approved)
    }

    /// The same, and those with payments that are held.
    pub(super) fn waiting(&self) -> Vec<u32> {
        self.those(|request| request.stage == Stage::Approved || !request.held.is_empty())
    }

    fn those(&self, which: impl Fn(&Request) -> bool) -> Vec<u32> {
        (0_u32..).zip(&self.requests).filter(|(_, request)| which(request)).map(|(index, _)| index).collect()
    }

    /// Takes a request in, unless it is a copy that this kind of operator does not take. It is remembered before
    /// anything is answered.
    pub(super) fn accept(&mut self, mut asked: Asked, faults: &Faults, now: i64) -> Result<u32, Refusal> {
        let earlier = asked.correlation.and_then(|id| self.correlations.get(&id).copied());
        let copy = match earlier {
            Some(earlier) => self.copy(earlier, &mut asked, faults, now)?,
            None => Copy::default(),
        };
        let name = digest(self.requests.len(), asked.correlation, now);
        let number = (!asked.batch).then(|| self.ledger.number());
        let object = number.map_or_else(|| format!("B{}", name.simple()), wire::operator_reference);
        let line = RequestLine {
            correlation: asked.correlation.map(|id| id.to_string()),
            server: name.to_string(),
            object,
            number,
            callback: asked.callback,
            title: asked.title,
            description: asked.description,
            approved: asked.approved,
            at_micros: now,
            copy_of: copy.of,
            replaces: copy.replaces,
            items: if self.journal.is_some() { asked.items.iter().map(ItemLine::of).collect() } else { Vec::new() },
        };
        if let Some(journal) = &mut self.journal {
            journal.write_request(&line).map_err(disk)?;
        }
        self.flush()?;
        Ok(self.keep(line, (asked.correlation, name), asked.items))
    }

    /// What a further copy is to this kind of operator: refused, taken whole, or taken for what was rejected.
    fn copy(&self, earlier: u32, asked: &mut Asked, faults: &Faults, now: i64) -> Result<Copy, Refusal> {
        let first = self.request(earlier).map_or(earlier, |request| request.first);
        let age = now - self.request(earlier).map_or(now, |request| request.at_micros);
        let whole = Copy { of: Some(first), replaces: false };
        if faults.forgets(&asked.key(), faults.marks(asked.payees()), age) {
            return Ok(whole);
        }
        match self.kind {
            Kind::NoDedupe | Kind::StatementOnly => Ok(whole),
            Kind::Remembers => Err(duplicate()),
            Kind::ForgetsRejections => {
                let group = self.group(first);
                if group.iter().any(|request| request.stage != Stage::Completed) {
                    return Err(duplicate());
                }
                // Of a single payment only the newest copy tells where it stands.
                let older = if asked.batch { 0 } else { group.len().saturating_sub(1) };
                let rejected = group.iter().skip(older).flat_map(|request| &request.rejections);
                let rejected: HashSet<&str> = rejected.map(|rejection| &*rejection.reference).collect();
                asked.items.retain(|item| !item.reference.is_empty() && rejected.contains(&*item.reference));
                if asked.items.is_empty() { Err(duplicate()) } else { Ok(Copy { of: Some(first), replaces: true }) }
            }
        }
    }

    fn keep(&mut self, line: RequestLine, (correlation, server): (Option<Uuid>, Uuid), items: Vec<Item>) -> u32 {
        let index = u32::try_from(self.requests.len()).unwrap_or(u32::MAX);
        if let Some(id) = correlation {
            self.correlations.insert(id, index);
        }
        self.servers.insert(server, index);
        match line.number {
            Some(number) => {
                self.ledger.seen_number(number);
                self.singles.insert(number, index);
            }
            None => {
                self.batches.insert(line.object.as_str().into(), index);
                if let Some(first) = line.copy_of.filter(|_| line.replaces) {
                    self.forget_rejections(first, &items);
                }
            }
        }
        if let Some(first) = line.copy_of {
            self.copies.entry(first).or_default().push(index);
        }
        let copies = line.copy_of.and_then(|first| self.copies.get(&first)).map_or(0, Vec::len);
        self.requests.push(Request {
            correlation,
            server,
            object: line.object.into(),
            number: line.number,
            first: line.copy_of.unwrap_or(index),
            copy: u32::try_from(copies).unwrap_or(u32::MAX),
            replaces: line.replaces,
            callback: line.callback.map(Into::into),
            title: line.title.map(Into::into),
            description: line.description.map(Into::into),
            stage: if line.approved { Stage::Approved } else { Stage::Created },
            at_micros: line.at_micros,
            ended_micros: None,
            items_count: items.len(),
            items,
            next: 0,
            done: HashSet::new(),
            held: Vec::new(),
            resumed: Vec::new(),
            returning: Vec::new(),
            completions: Vec::new(),
            rejections: Vec::new(),
            running: false,
            again: false,
        });
        index
    }

    /// What is tried again is not rejected any more.
    fn forget_rejections(&mut self, first: u32, items: &[Item]) {
        let again: HashSet<&str> = items.iter().map(|item| &*item.reference).collect();
        let later = self.copies.get(&first).cloned().unwrap_or_default();
        for index in std::iter::once(first).chain(later) {
            if let Some(request) = self.requests.get_mut(index as usize) {
                request.rejections.retain(|rejection| !again.contains(&*rejection.reference));
            }
        }
    }

    /// The checker's word on a created batch.
    pub(super) fn approve(&mut self, index: u32, correlation: Option<Uuid>) -> Result<(), Refusal> {
        if correlation.is_some_and(|id| self.correlations.contains_key(&id)) {
            return Err(duplicate());
        }
        if self.request(index).is_none_or(|request| request.stage != Stage::Created) {
            return Err(Refusal::business("incorrectState", "only a created batch can be approved"));
        }
        let text = correlation.map(|id| id.to_string());
        self.write_entry(&Entry::Approved { request: index, correlation: text })?;
        self.flush()?;
        self.mark_approved(index, correlation);
        Ok(())
    }

    fn mark_approved(&mut self, index: u32, correlation: Option<Uuid>) {
        if let Some(id) = correlation {
            self.correlations.insert(id, index);
        }
        if let Some(request) = self.requests.get_mut(index as usize) {
            request.stage = Stage::Approved;
        }
    }

    fn replay(&mut self, entry: Entry) -> anyhow::Result<()> {
        match entry {
            Entry::Request(mut line) => {
                let items =
                    std::mem::take(&mut line.items).into_iter().map(ItemLine::item).collect::<anyhow::Result<_>>()?;
                let ids = (journal::uuid(line.correlation.as_deref())?, Uuid::try_parse(&line.server)?);
                self.keep(line, ids, items);
            }
            Entry::Approved { request, correlation } => {
                self.mark_approved(request, journal::uuid(correlation.as_deref())?)
            }
            Entry::Credit { request, position, reference, payee, debit, amount_minor, number, at_micros } => {
                let item = self.item(request, position);
                let description = item.map(|item| item.description.clone()).unwrap_or_default();
                // The payer's name as the request's own item holds it, so that it is kept once.
                let same = item.filter(|item| *item.debit == *debit).map(|item| item.debit.clone());
                let credit = Credit {
                    reference: reference.into(),
                    amount_minor,
                    at_micros,
                    returned: false,
                    request,
                    number,
                    payee: payee.into(),
                    debit: same.unwrap_or_else(|| debit.into()),
                    description,
                };
                let credit = self.ledger.restore(credit);
                self.completed(request, credit);
                self.mark_done(request, position);
            }
            Entry::Rejected { request, position, reason, at_micros } => {
                let reason = Reason::parse(&reason).ok_or_else(|| anyhow::anyhow!("unknown reason `{reason}`"))?;
                let item = self.item(request, position).cloned();
                let item = item.ok_or_else(|| anyhow::anyhow!("a rejection of nothing"))?;
                self.rejected(request, &item, reason, at_micros);
                self.mark_done(request, position);
            }
            Entry::Returned { credit, number, at_micros } => {
                let position = self.ledger.position(credit).ok_or_else(|| anyhow::anyhow!("a return of nothing"))?;
                self.ledger.give_back(position, number, at_micros);
            }
            Entry::Ended { request, at_micros } => {
                self.hold_the_rest(request);
                self.mark_ended(request, at_micros);
            }
        }
        Ok(())
    }

    fn item(&self, request: u32, position: u32) -> Option<&Item> {
        self.request(request)?.items.get(position as usize)
    }

    fn mark_done(&mut self, request: u32, position: u32) {
        if let Some(request) = self.requests.get_mut(request as usize) {
            request.done.insert(position);
        }
    }

    /// What a request of an earlier run has ended without.
    fn hold_the_rest(&mut self, request: u32) {
        if let Some(request) = self.requests.get_mut(request as usize) {
            let all = 0..u32::try_from(request.items.len()).unwrap_or(u32::MAX);
            request.held = all.filter(|position| !request.done.contains(position)).collect();
            request.next = request.items.len();
        }
    }

    pub(super) fn request(&self, index: u32) -> Option<&Request> {
        self.requests.get(index as usize)
    }

    /// All requests under the correlation id of one, in the order in which they came.
    pub(super) fn group(&self, index: u32) -> Vec<&Request> {
        let first = self.request(index).map_or(index, |request| request.first);
        let later = self.copies.get(&first).map(Vec::as_slice).unwrap_or_default();
        std::iter::once(first).chain(later.iter().copied()).filter_map(|index| self.request(index)).collect()
    }

    /// A batch by any of its names, and all copies of it.
    pub(super) fn batch(&self, id: &str) -> Option<(u32, Vec<&Request>)> {
        let index = *self.batches.get(id)?;
        Some((index, self.group(index)))
    }

    pub(super) fn single(&self, number: u64) -> Option<&Request> {
        self.request(*self.singles.get(&number)?)
    }

    pub(super) fn by_server(&self, id: Uuid) -> Option<&Request> {
        self.request(*self.servers.get(&id)?)
    }

    /// What a client is led to by its correlation id: the newest copy of a batch, which shows all of them; of a
    /// single payment the newest copy that was paid, or the newest.
    pub(super) fn by_correlation(&self, id: Uuid) -> Option<&Request> {
        let group = self.group(*self.correlations.get(&id)?);
        let stands = |request: &&&Request| {
            let credits = request.completions.iter().filter_map(|credit| self.ledger.credit(*credit));
            request.number.is_some() && credits.into_iter().any(|credit| !credit.returned)
        };
        group.iter().rev().find(stands).or(group.last()).copied()
    }

    /// What the payees of a request call for, whether or not it has ended.
    pub(super) fn marks(&self, request: &Request, faults: &Faults) -> Marks {
        let paid = request.completions.iter().filter_map(|credit| self.ledger.credit(*credit)).map(Credit::payee_id);
        let unpaid = request.rejections.iter().map(|rejection| wire::first_value(&rejection.payee));
        faults.marks(request.payees().chain(paid).chain(unpaid))
    }

    /// Whether a fault that strikes once has not struck this yet.
    pub(super) fn first_time(&mut self, fault: Fault, key: &str) -> bool {
        self.struck.insert((fault, key.to_owned()))
    }

    pub(super) fn keeps_journal(&self) -> bool {
        self.journal.is_some()
    }

    pub(super) fn write_entry(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.write(entry)).map_err(disk)
    }

    pub(super) fn flush(&mut self) -> Result<(), Refusal> {
        self.journal.as_mut().map_or(Ok(()), Journal::flush).map_err(disk)
    }
}

fn duplicate() -> Refusal {
    Refusal::business("duplicateRequest", "this X-CorrelationID was used before")
}

fn disk(error: std::io::Error) -> Refusal {
    Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "internal", "genericError", &error.to_string())
}

/// A UUID of the request's place, its correlation id and its time: an operator that starts afresh must not
/// give an old name to a new batch.
fn digest(count: usize, correlation: Option<Uuid>, now: i64) -> Uuid {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    hash.update(&(count as u64).to_be_bytes());
    hash.update(&now.to_be_bytes());
    hash.update(correlation.unwrap_or_default().as_bytes());
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hash.finish().as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
