//! What the operator really paid, and what came back: the oracle that a payer's own books are held against.
//! Deliberately not here: requests and batches (`book.rs`) and the file (`journal.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::reason::{INSUFFICIENT_FUNDS, Reason};
use super::wire;
use crate::contract::{Currency, Money};

/// One executed credit. Kept narrow: a million of them must fit beside the service that is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// The payer's reference for the payment; empty when it gave none.
    pub reference: Box<str>,
    /// Minor units of the operator's currency.
    pub amount_minor: i64,
    /// When, in microseconds.
    pub at_micros: i64,
    /// Whether it came back.
    pub returned: bool,
    /// The request it was made for.
    pub(super) request: u32,
    /// The operator's own number for it.
    pub(super) number: u64,
    /// Who was credited, packed (`wire::pack`).
    pub(super) payee: Box<str>,
    /// Who was debited, packed.
    pub(super) debit: Arc<str>,
    /// The payer's words for the statement; empty when it gave none.
    pub(super) description: Box<str>,
}

impl Credit {
    /// The payee's first identifier, such as a phone number.
    pub fn payee_id(&self) -> &str {
        wire::first_value(&self.payee)
    }

    /// The operator's reference for the payment.
    pub fn operator_reference(&self) -> String {
        wire::operator_reference(self.number)
    }
}

/// What one reference came to: credits less returns. More than one credit is a double payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Net {
    /// Credits that did not come back.
    pub credits: i64,
    /// Their sum.
    pub sum_minor: i64,
}

/// The ledger in a few numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Executed credits, those that came back among them.
    pub credits: usize,
    /// Credits that came back.
    pub returns: usize,
    /// What the payees have: credits less returns.
    pub sum_minor: i64,
    /// The currency.
    pub currency: Currency,
    /// Distinct payer references that were ever credited.
    pub references: usize,
    /// Payer references with one credit or more that did not come back.
    pub paid_references: usize,
    /// Payer references with more than one credit that did not come back. Anything above zero is a double payment.
    pub repeated_references: usize,
    /// What is left of the float.
    pub float_minor: i64,
}

/// One line of the account's statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line {
    /// A credit by its position.
    Paid(u32),
    /// A return by its position.
    Returned(u32),
}

/// One credit that came back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Return {
    /// Position of the credit.
    pub(super) credit: u32,
    /// The operator's own number for it.
    pub(super) number: u64,
    pub(super) at_micros: i64,
}

/// Credits and returns in the order of execution, and the float that they are paid from.
pub(super) struct Ledger {
    pub(super) currency: Currency,
    opening_minor: i64,
    spent_minor: i64,
    credits: Vec<Credit>,
    returns: Vec<Return>,
    statement: Vec<Line>,
    by_number: HashMap<u64, u32>,
    last_number: u64,
    last_micros: i64,
}

impl Ledger {
    pub(super) fn new(opening: Money) -> Self {
        Self {
            currency: opening.currency,
            opening_minor: opening.minor,
            spent_minor: 0,
            credits: Vec::new(),
            returns: Vec::new(),
            statement: Vec::new(),
            by_number: HashMap::new(),
            last_number: 0,
            last_micros: 0,
        }
    }

    /// Allots the next operator number.
    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Keeps numbers unique after a restart.
    pub(super) fn seen_number(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }

    /// Pays, or says why not. Returns the position of the credit.
    pub(super) fn pay(&mut self, credit: Credit) -> Result<u32, &'static Reason> {
        let spent = self.spent_minor.checked_add(credit.amount_minor).ok_or(&INSUFFICIENT_FUNDS)?;
        if spent > self.opening_minor {
            return Err(&INSUFFICIENT_FUNDS);
        }
        Ok(self.keep(credit, spent))
    }

    /// Takes over a credit that was executed before a restart, whatever the float is now.
    pub(super) fn restore(&mut self, credit: Credit) -> u32 {
        let spent = self.spent_minor.saturating_add(credit.amount_minor);
        self.keep(credit, spent)
    }

    fn keep(&mut self, mut credit: Credit, spent_minor: i64) -> u32 {
        self.spent_minor = spent_minor;
        self.seen_number(credit.number);
        credit.at_micros = self.after_the_last(credit.at_micros);
        let position = u32::try_from(self.credits.len()).unwrap_or(u32::MAX);
        self.by_number.insert(credit.number, position);
        self.credits.push(credit);
        self.statement.push(Line::Paid(position));
        position
    }

    /// A statement is in order even when the clock is set back.
    fn after_the_last(&mut self, at_micros: i64) -> i64 {
        self.last_micros = self.last_micros.max(at_micros);
        self.last_micros
    }

    /// Takes a credit back, once. Returns what is written of it.
    pub(super) fn give_back(&mut self, position: u32, number: u64, at_micros: i64) -> Option<Return> {
        let at_micros = self.after_the_last(at_micros);
        let credit = self.credits.get_mut(position as usize).filter(|credit| !credit.returned)?;
        credit.returned = true;
        self.spent_minor = self.spent_minor.saturating_sub(credit.amount_minor);
        self.seen_number(number);
        let one = Return { credit: position, number, at_micros };
        self.statement.push(Line::Returned(u32::try_from(self.returns.len()).unwrap_or(u32::MAX)));
        self.returns.push(one);
        Some(one)
    }

    pub(super) fn float(&self) -> Money {
        Money::new(self.opening_minor.saturating_sub(self.spent_minor), self.currency)
    }

    /// Sets what may be spent from now on.
    pub(super) fn set_float(&mut self, minor: i64) {
        self.opening_minor = self.spent_minor.saturating_add(minor);
    }

    pub(super) fn credit(&self, position: u32) -> Option<&Credit> {
        self.credits.get(position as usize)
    }

    pub(super) fn position(&self, number: u64) -> Option<u32> {
        self.by_number.get(&number).copied()
    }

    pub(super) fn by_number(&self, number: u64) -> Option<&Credit> {
        self.credit(self.position(number)?)
    }

    pub(super) fn credits(&self) -> &[Credit] {
        &self.credits
    }

    /// Lines of the statement between two instants, in order of time.
    pub(super) fn statement(&self, from_micros: i64, to_micros: i64) -> &[Line] {
        let before = |line: &Line, instant: i64| self.at(*line) < instant;
        let from = self.statement.partition_point(|line| before(line, from_micros));
        let to = self.statement.partition_point(|line| before(line, to_micros.saturating_add(1)));
        self.statement.get(from..to).unwrap_or_default()
    }

    fn at(&self, line: Line) -> i64 {
        match line {
            Line::Paid(position) => self.credit(position).map_or(0, |credit| credit.at_micros),
            Line::Returned(position) => self.returns.get(position as usize).map_or(0, |one| one.at_micros),
        }
    }

    /// A return and the credit that came back.
    pub(super) fn returned(&self, position: u32) -> Option<(&Credit, Return)> {
        let one = *self.returns.get(position as usize)?;
        Some((self.credit(one.credit)?, one))
    }

    /// What each reference came to.
    pub(super) fn net(&self) -> HashMap<&str, Net> {
        let mut net: HashMap<&str, Net> = HashMap::with_capacity(self.credits.len());
        for credit in self.credits.iter().filter(|credit| !credit.reference.is_empty()) {
            let one = net.entry(&credit.reference).or_default();
            if !credit.returned {
                one.credits += 1;
                one.sum_minor = one.sum_minor.saturating_add(credit.amount_minor);
            }
        }
        net
    }

    pub(super) fn summary(&self) -> Summary {
        let net = self.net();
        Summary {
            credits: self.credits.len(),
            returns: self.returns.len(),
            sum_minor: self.spent_minor,
            currency: self.currency,
            references: net.len(),
            paid_references: net.values().filter(|one| one.credits > 0).count(),
            repeated_references: net.values().filter(|one| one.credits > 1).count(),
            float_minor: self.float().minor,
        }
    }
}
