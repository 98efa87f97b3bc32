//! Three ways of looking at a batch: what was instructed, what the provider acknowledged, what its account booked.
//! Deliberately not here: where the three come from.

/// A number of payments and their sum in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many.
    pub payments: i64,
    /// How much.
    pub minor: i64,
}

impl Sum {
    /// A sum.
    pub fn new(payments: i64, minor: i64) -> Self {
        Self { payments, minor }
    }

    fn less(self, other: Self) -> Self {
        Self { payments: self.payments - other.payments, minor: self.minor - other.minor }
    }

    fn and(self, other: Self) -> Self {
        Self { payments: self.payments + other.payments, minor: self.minor + other.minor }
    }
}

/// One batch, or many added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Legs {
    /// What we ordered.
    pub instructed: Sum,
    /// What has no end.
    pub open: Sum,
    /// Of that, what the provider has said it has.
    pub acknowledged_open: Sum,
    /// Ends, as we know them.
    pub settled: Sum,
    /// Likewise.
    pub rejected: Sum,
    /// Likewise.
    pub returned: Sum,
    /// What left the account, by its statements.
    pub debited: Sum,
    /// What came back to it, by its statements.
    pub credited: Sum,
}

impl Legs {
    /// What the provider has said it has or had, rejections apart.
    pub fn acknowledged(&self) -> Sum {
        self.acknowledged_open.and(self.settled).and(self.returned)
    }

    /// All of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            instructed: self.instructed.and(other.instructed),
            open: self.open.and(other.open),
            acknowledged_open: self.acknowledged_open.and(other.acknowledged_open),
            settled: self.settled.and(other.settled),
            rejected: self.rejected.and(other.rejected),
            returned: self.returned.and(other.returned),
            debited: self.debited.and(other.debited),
            credited: self.credited.and(other.credited),
        }
    }

    /// The same where the provider gives no statement: what it says of the end is all there is.
    pub fn by_its_word(self) -> Self {
        Self { debited: self.settled.and(self.returned), credited: self.returned, ..self }
    }

    /// What does not agree, each with a stable name; nothing when it is reconciled.
    pub fn differences(&self) -> Vec<(&'static str, Sum)> {
        let paid = self.settled.and(self.returned);
        let all = [
            ("without_end", self.open),
            ("debits", self.debited.less(paid)),
            ("credits", self.credited.less(self.returned)),
        ];
        all.into_iter().filter(|(_, sum)| *sum != Sum::default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legs() -> Legs {
        Legs {
            instructed: Sum::new(10, 1_000),
            settled: Sum::new(7, 700),
            rejected: Sum::new(2, 200),
            returned: Sum::new(1, 100),
            debited: Sum::new(8, 800),
            credited: Sum::new(1, 100),
            ..Legs::default()
        }
    }

    #[test]
    fn it_is_reconciled_when_every_paid_payment_was_debited_and_every_return_credited() {
        assert_eq!(legs().differences(), []);
        assert_eq!(legs().acknowledged(), Sum::new(8, 800));
    }

    #[test]
    fn one_minor_unit_or_one_payment_is_a_difference() {
        let less = Legs { debited: Sum::new(8, 799), ..legs() };
        assert_eq!(less.differences(), [("debits", Sum::new(0, -1))]);
        let twice = Legs { debited: Sum::new(9, 900), ..legs() };
        assert_eq!(twice.differences(), [("debits", Sum::new(1, 100))]);
        let kept = Legs { credited: Sum::default(), ..legs() };
        assert_eq!(kept.differences(), [("credits", Sum::new(-1, -100))]);
        let open = Legs { open: Sum::new(1, 5), ..legs() };
        assert_eq!(open.differences(), [("without_end", Sum::new(1, 5))]);
    }
}
