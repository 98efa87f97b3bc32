//! What the operator really paid: the oracle that a payer's own books are held against.
//! Deliberately not here: requests and batches (`book.rs`) and the file (`journal.rs`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

use super::faults::{INSUFFICIENT_FUNDS, Reason};
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
    /// The operator's own number for it.
    pub(super) number: u64,
    /// Who was credited, packed (`wire::pack`).
    pub(super) payee: Box<str>,
    /// Who was debited, packed.
    pub(super) debit: Arc<str>,
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

/// The ledger in a few numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Executed credits.
    pub credits: usize,
    /// Their sum.
    pub sum_minor: i64,
    /// The currency.
    pub currency: Currency,
    /// Distinct payer references.
    pub references: usize,
    /// Payer references that were credited more than once. Anything above zero is a double payment.
    pub repeated_references: usize,
    /// What is left of the float.
    pub float_minor: i64,
}

/// Credits in the order of execution, and the float that they are paid from.
pub(super) struct Ledger {
    pub(super) currency: Currency,
    opening_minor: i64,
    spent_minor: i64,
    credits: Vec<Credit>,
    by_number: HashMap<u64, u32>,
    last_number: u64,
}

impl Ledger {
    pub(super) fn new(opening: Money) -> Self {
        Self {
            currency: opening.currency,
            opening_minor: opening.minor,
            spent_minor: 0,
            credits: Vec::new(),
            by_number: HashMap::new(),
            last_number: 0,
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

    fn keep(&mut self, credit: Credit, spent_minor: i64) -> u32 {
        self.spent_minor = spent_minor;
        self.seen_number(credit.number);
        let position = u32::try_from(self.credits.len()).unwrap_or(u32::MAX);
        self.by_number.insert(credit.number, position);
        self.credits.push(credit);
        position
    }

    pub(super) fn float(&self) -> Money {
        Money::new(self.opening_minor.saturating_sub(self.spent_minor), self.currency)
    }

    pub(super) fn credit(&self, position: u32) -> Option<&Credit> {
        self.credits.get(usize::try_from(position).ok()?)
    }

    pub(super) fn by_number(&self, number: u64) -> Option<&Credit> {
        self.credit(*self.by_number.get(&number)?)
    }

    pub(super) fn credits(&self) -> &[Credit] {
        &self.credits
    }

    pub(super) fn summary(&self) -> Summary {
        let mut seen = HashSet::with_capacity(self.credits.len());
        let mut repeated = HashSet::new();
        for credit in self.credits.iter().filter(|credit| !credit.reference.is_empty()) {
            if !seen.insert(&*credit.reference) {
                repeated.insert(&*credit.reference);
            }
        }
        Summary {
            credits: self.credits.len(),
            sum_minor: self.spent_minor,
            currency: self.currency,
            references: seen.len(),
            repeated_references: repeated.len(),
            float_minor: self.float().minor,
        }
    }
}
