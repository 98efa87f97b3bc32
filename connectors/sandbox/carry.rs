//! Carrying out: payment by payment, each either paid, rejected or held, and what comes back afterwards.
//! Deliberately not here: who asked (`book.rs`), and when it is done (`execute.rs`).

use super::book::Book;
use super::faults::{Fault, Faults};
use super::journal::Entry;
use super::ledger::Credit;
use super::reason::Reason;
use super::request::{Rejection, Request, Stage};
use super::wire::{Item, Refusal};

impl Book {
    /// Takes a request in hand; false when somebody has it, who is then asked to look at it again.
    pub(super) fn begin(&mut self, index: u32) -> bool {
        let Some(request) = self.requests.get_mut(index as usize) else { return false };
        request.again = request.running;
        !std::mem::replace(&mut request.running, true)
    }

    /// Whether a fault keeps a request from being begun. Otherwise what was held is looked at again.
    pub(super) fn silent(&mut self, index: u32, faults: &Faults) -> bool {
        let Some(request) = self.requests.get_mut(index as usize) else { return true };
        let marks = faults.marks(request.payees());
        if request.stage == Stage::Approved && faults.strikes(Fault::Silence, &request.key(), marks) {
            return true;
        }
        request.resumed = std::mem::take(&mut request.held);
        false
    }

    /// Lets a request go; true when it is to be looked at again.
    pub(super) fn finish(&mut self, index: u32) -> bool {
        let Some(request) = self.requests.get_mut(index as usize) else { return false };
        request.running = std::mem::take(&mut request.again);
        request.running
    }

    /// Carries out up to `items_max` payments of a request; true when none is left. What was done is written
    /// before anybody can see it.
    pub(super) fn step(
        &mut self,
        index: u32,
        faults: &Faults,
        (items_max, now): (usize, i64),
    ) -> Result<bool, Refusal> {
        for _ in 0..items_max {
            let Some(request) = self.requests.get_mut(index as usize) else { return Ok(true) };
            let Some(position) = request.take_next() else {
                return self.end(index, now).map(|()| true);
            };
            let Some(item) = request.items.get(position as usize).cloned() else { continue };
            if request.done.contains(&position) {
                continue;
            }
            if faults.strikes(Fault::Partial, drawn_by(&item), faults.marks([item.payee_id()])) {
                request.held.push(position);
                continue;
            }
            self.settle(index, position, (item, faults, now))?;
        }
        self.flush()?;
        Ok(false)
    }

    fn settle(&mut self, index: u32, position: u32, (item, faults, now): (Item, &Faults, i64)) -> Result<(), Refusal> {
        let Some((number, copy)) = self.request(index).map(|request| (request.number, request.copy)) else {
            return Ok(());
        };
        let refused = item.refused.or_else(|| faults.rejects(drawn_by(&item), item.payee_id(), copy));
        let paid = match refused {
            Some(reason) => Err(reason),
            None => {
                let credit = Credit {
                    reference: item.reference.clone(),
                    amount_minor: item.amount_minor,
                    at_micros: now,
                    returned: false,
                    request: index,
                    number: number.unwrap_or_else(|| self.ledger.number()),
                    payee: item.payee.clone(),
                    debit: item.debit.clone(),
                    description: item.description.clone(),
                };
                self.ledger.pay(credit)
            }
        };
        match paid {
            Ok(credit) => {
                self.completed(index, credit);
                let returns = faults.strikes(Fault::Return, drawn_by(&item), faults.marks([item.payee_id()]));
                if let Some(request) = self.requests.get_mut(index as usize).filter(|_| returns) {
                    request.returning.push(credit);
                }
            }
            Err(reason) => self.rejected(index, &item, reason, now),
        }
        if !self.keeps_journal() {
            return Ok(());
        }
        let entry = match paid.map(|credit| self.ledger.credit(credit)) {
            Ok(credit) => credit.map(|credit| Entry::credit(position, credit)),
            Err(reason) => {
                let reason = reason.text.to_owned();
                Some(Entry::Rejected { request: index, position, reason, at_micros: now })
            }
        };
        entry.map_or(Ok(()), |entry| self.write_entry(&entry))
    }

    pub(super) fn completed(&mut self, request: u32, credit: u32) {
        if let Some(request) = self.requests.get_mut(request as usize) {
            request.completions.push(credit);
        }
    }

    pub(super) fn rejected(&mut self, request: u32, item: &Item, reason: &'static Reason, at_micros: i64) {
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

    fn end(&mut self, index: u32, now: i64) -> Result<(), Refusal> {
        // A single payment that is held has no end; a batch ends without it.
        let open = |request: &Request| request.number.is_some() && !request.held.is_empty();
        if !self.request(index).is_some_and(open) {
            self.write_entry(&Entry::Ended { request: index, at_micros: now })?;
            self.mark_ended(index, now);
        }
        self.flush()
    }

    pub(super) fn mark_ended(&mut self, index: u32, now: i64) {
        if let Some(request) = self.requests.get_mut(index as usize) {
            request.stage = Stage::Completed;
            request.ended_micros = Some(now);
            if request.held.is_empty() {
                request.done = Default::default();
                if request.number.is_none() {
                    request.items = Vec::new();
                    request.next = 0;
                }
            }
        }
    }

    /// Takes credits back; returns those that had not come back before.
    pub(super) fn give_back(&mut self, credits: &[u32], now: i64) -> Result<Vec<u32>, Refusal> {
        let mut given = Vec::new();
        for position in credits {
            let number = self.ledger.number();
            let Some(one) = self.ledger.give_back(*position, number, now) else { continue };
            given.push(*position);
            if let Some(credit) = self.ledger.credit(*position) {
                let entry = Entry::returned(credit, one);
                self.write_entry(&entry)?;
            }
        }
        self.flush()?;
        Ok(given)
    }
}

/// What the faults of a payment are drawn by.
pub(super) fn drawn_by(item: &Item) -> &str {
    if item.reference.is_empty() { item.payee_id() } else { &item.reference }
}
