//! Everything the operator remembers: requests, what became of their payments, and the ledger.
//! A single payment is a request with one item. Deliberately not here: sockets, time-outs and tasks.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use uuid::Uuid;

use super::faults::{Faults, Reason};
use super::journal::{self, Entry, ItemLine, Journal, RequestLine};
use super::ledger::{Credit, Ledger};
use super::request::{Asked, Rejection, Request, Stage};
use super::wire::{self, Item, Refusal};
use crate::contract::Money;

/// The operator's state.
pub(super) struct Book {
    pub(super) ledger: Ledger,
    requests: Vec<Request>,
    correlations: HashMap<Uuid, u32>,
    servers: HashMap<Uuid, u32>,
    batches: HashMap<Box<str>, u32>,
    singles: HashMap<u64, u32>,
    journal: Option<Journal>,
    /// Requests that a fault dropped once.
    pub(super) dropped: HashSet<String>,
    pub(super) replies_lost: u32,
}

impl Book {
    /// An empty book, or the one that the folder holds.
    pub(super) fn open(opening: Money, folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut book = Self {
            ledger: Ledger::new(opening),
            requests: Vec::new(),
            correlations: HashMap::new(),
            servers: HashMap::new(),
            batches: HashMap::new(),
            singles: HashMap::new(),
            journal: None,
            dropped: HashSet::new(),
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
        let open = |(_, request): &(u32, &Request)| request.stage == Stage::Approved;
        (0_u32..).zip(&self.requests).filter(open).map(|(index, _)| index).collect()
    }

    /// Takes a request in, unless its correlation id was seen. It is remembered before anything is answered.
    pub(super) fn accept(&mut self, asked: Asked, now: i64) -> Result<u32, Refusal> {
        if asked.correlation.is_some_and(|id| self.correlations.contains_key(&id)) {
            return Err(duplicate());
        }
        let count = self.requests.len();
        let name = digest(count, asked.correlation, now);
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
            items: if self.journal.is_some() { asked.items.iter().map(ItemLine::of).collect() } else { Vec::new() },
        };
        if let Some(journal) = &mut self.journal {
            journal.write_request(&line).map_err(disk)?;
        }
        self.flush()?;
        Ok(self.keep(line, (asked.correlation, name), asked.items))
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
            }
        }
        self.requests.push(Request {
            correlation,
            server,
            object: line.object.into(),
            number: line.number,
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
            completions: Vec::new(),
            rejections: Vec::new(),
        });
        index
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
        self.write_entry(Entry::Approved { request: index, correlation: text })?;
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

    /// Carries out up to `items_max` payments of a request; true when none is left.
    pub(super) fn step(
        &mut self,
        index: u32,
        faults: &Faults,
        (items_max, now): (usize, i64),
    ) -> Result<bool, Refusal> {
        for _ in 0..items_max {
            let Some(request) = self.requests.get_mut(index as usize) else { return Ok(true) };
            let Some(item) = request.items.get(request.next).cloned() else {
                return self.end(index, faults, now).map(|()| true);
            };
            let position = u32::try_from(request.next).unwrap_or(u32::MAX);
            let number = request.number;
            request.next += 1;
            if !request.done.contains(&position) && !faults.pends(item.payee_id()) {
                self.settle(index, position, number, (item, faults, now))?;
            }
        }
        Ok(false)
    }

    fn settle(
        &mut self,
        request: u32,
        position: u32,
        number: Option<u64>,
        (item, faults, now): (Item, &Faults, i64),
    ) -> Result<(), Refusal> {
        let payee = item.payee_id();
        let drawn_by = if item.reference.is_empty() { payee } else { &item.reference };
        let refused = item.refused.or_else(|| faults.rejects(drawn_by, payee));
        let paid = match refused {
            Some(reason) => Err(reason),
            None => {
                let credit = Credit {
                    reference: item.reference.clone(),
                    amount_minor: item.amount_minor,
                    at_micros: now,
                    number: number.unwrap_or_else(|| self.ledger.number()),
                    payee: item.payee.clone(),
                    debit: item.debit.clone(),
                };
                self.ledger.pay(credit)
            }
        };
        match paid {
            Ok(credit) => self.completed(request, credit),
            Err(reason) => self.rejected(request, &item, reason, now),
        }
        if self.journal.is_none() {
            return Ok(());
        }
        let entry = match paid.map(|credit| self.ledger.credit(credit)) {
            Ok(credit) => credit.map(|credit| Entry::credit(request, position, credit)),
            Err(reason) => Some(Entry::Rejected { request, position, reason: reason.text.to_owned(), at_micros: now }),
        };
        entry.map_or(Ok(()), |entry| self.write_entry(entry))
    }

    fn completed(&mut self, request: u32, credit: u32) {
        if let Some(request) = self.requests.get_mut(request as usize) {
            request.completions.push(credit);
        }
    }

    fn rejected(&mut self, request: u32, item: &Item, reason: &'static Reason, at_micros: i64) {
        if let Some(request) = self.requests.get_mut(request as usize) {
            request.rejections.push(Rejection {
                reference: item.reference.clone(),
                payee: item.payee.clone(),
                debit: item.debit.clone(),
                reason,
                at_micros,
            });
        }
    }

    fn end(&mut self, index: u32, faults: &Faults, now: i64) -> Result<(), Refusal> {
        let pends = self.request(index).is_some_and(|request| {
            let only = request.items.first().filter(|_| request.number.is_some());
            only.is_some_and(|item| faults.pends(item.payee_id()))
        });
        if !pends {
            self.write_entry(Entry::Ended { request: index, at_micros: now })?;
            self.mark_ended(index, now);
        }
        self.flush()
    }

    fn mark_ended(&mut self, index: u32, now: i64) {
        if let Some(request) = self.requests.get_mut(index as usize) {
            request.stage = Stage::Completed;
            request.ended_micros = Some(now);
            request.done = HashSet::new();
            if request.number.is_none() {
                request.items = Vec::new();
            }
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
                let credit = Credit {
                    reference: reference.into(),
                    amount_minor,
                    at_micros,
                    number,
                    payee: payee.into(),
                    debit: self.shared_debit(request, position, debit),
                };
                let credit = self.ledger.restore(credit);
                self.completed(request, credit);
                self.mark_done(request, position);
            }
            Entry::Rejected { request, position, reason, at_micros } => {
                let reason = Reason::parse(&reason).ok_or_else(|| anyhow::anyhow!("unknown reason `{reason}`"))?;
                let item = self.request(request).and_then(|request| request.items.get(position as usize)).cloned();
                let item = item.ok_or_else(|| anyhow::anyhow!("a rejection of nothing"))?;
                self.rejected(request, &item, reason, at_micros);
                self.mark_done(request, position);
            }
            Entry::Ended { request, at_micros } => self.mark_ended(request, at_micros),
        }
        Ok(())
    }

    /// The payer's name as the request's own item holds it, so that it is kept once.
    fn shared_debit(&self, request: u32, position: u32, debit: String) -> std::sync::Arc<str> {
        let item = self.request(request).and_then(|request| request.items.get(position as usize));
        item.filter(|item| *item.debit == *debit).map_or_else(|| debit.into(), |item| item.debit.clone())
    }

    fn mark_done(&mut self, request: u32, position: u32) {
        if let Some(request) = self.requests.get_mut(request as usize) {
            request.done.insert(position);
        }
    }

    pub(super) fn request(&self, index: u32) -> Option<&Request> {
        self.requests.get(index as usize)
    }

    pub(super) fn batch(&self, id: &str) -> Option<(u32, &Request)> {
        let index = *self.batches.get(id)?;
        Some((index, self.request(index)?))
    }

    pub(super) fn single(&self, number: u64) -> Option<&Request> {
        self.request(*self.singles.get(&number)?)
    }

    pub(super) fn by_server(&self, id: Uuid) -> Option<&Request> {
        self.request(*self.servers.get(&id)?)
    }

    pub(super) fn by_correlation(&self, id: Uuid) -> Option<&Request> {
        self.request(*self.correlations.get(&id)?)
    }

    fn write_entry(&mut self, entry: Entry) -> Result<(), Refusal> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.write(&entry)).map_err(disk)
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
