//! One batch on its way through a connector, judged as the engine judges it, and held against the oracle's
//! ledger after every call. Deliberately not here: what a case expects.

use std::collections::BTreeMap;

use paymaster::domain::disbursement::{Move, State, step};
use paymaster::domain::judge::{Attempt, Verdict, judge};
use paymaster_connectors::contract::{
    About, Batch, Failure, Instruction, Message, Money, Outcome, ReasonClass, Reference, Report,
};

use super::connector::{Payee, Rig, Setup, Subject};
use super::listen::{Door, Heard, Told};

/// Most inquiries until every row must have ended.
const ASKS_MAX: usize = 10;
/// The tag in every reference.
const TAG: u16 = 9;

/// One row: what was instructed, and where it stands.
pub struct Row {
    pub instruction: Instruction,
    pub state: State,
    /// The class by which it was rejected.
    pub rejected_as: Option<ReasonClass>,
}

/// A batch, its counterpart, and what is known so far.
pub struct Run {
    /// The subject's name, for messages.
    pub name: &'static str,
    pub rig: Rig,
    pub door: Door,
    pub rows: BTreeMap<Reference, Row>,
    pub wire: Vec<u8>,
    batch: Batch,
    copies: u32,
}

/// So many payees that can be paid, each with a sum of its own.
pub fn good(count: usize) -> Vec<(Payee, i64)> {
    (0..count).map(|n| (Payee::Good, 1_050 + 37 * i64::try_from(n).unwrap())).collect()
}

impl Run {
    /// Opens a subject, and makes and encodes a batch of `rows`.
    pub async fn open(subject: &Subject, setup: Setup, rows: &[(Payee, i64)]) -> Self {
        let currency = setup.currency;
        let rig = (subject.open)(setup).await;
        let instructions = rows.iter().enumerate().map(|(n, (kind, minor))| Instruction {
            reference: Reference::new(1_000 + i64::try_from(n).unwrap(), TAG),
            amount: Money::new(*minor, currency),
            payee_name: format!("Payee {n}"),
            payee_account: rig.counterpart.payee(*kind, n),
            purpose: "March".to_owned(),
            provider_reference: None,
        });
        let batch = Batch {
            reference: Reference::new(900, TAG),
            title: "Old age pension".to_owned(),
            currency,
            made_at: "2026-11-23T08:30:00Z".parse().unwrap(),
            execute_on: "2026-11-24".parse().unwrap(),
            wire_bytes: 0,
            provider_reference: None,
            instructions: instructions.collect(),
        };
        let wire = rig.connector.encode(&batch);
        let wire = wire.unwrap_or_else(|failure| panic!("{} cannot encode: {failure}", subject.name));
        let row = |one: &Instruction| Row { instruction: one.clone(), state: State::Queued, rejected_as: None };
        let rows = batch.instructions.iter().map(|one| (one.reference, row(one))).collect();
        Self { name: subject.name, rig, door: Door::open(), rows, wire, batch, copies: 0 }
    }

    /// Sends the stored bytes for every row without an end.
    pub async fn submit(&mut self) -> Told {
        self.submit_those(|row| !row.state.is_final()).await
    }

    /// Sends the stored bytes for the rows that provably never left, if there are any.
    pub async fn submit_waiting(&mut self) {
        if self.states().contains(&State::Queued) {
            let told = self.submit_those(|row| row.state == State::Queued).await;
            assert_eq!(told.done, Ok(()));
        }
    }

    async fn submit_those(&mut self, which: impl Fn(&Row) -> bool) -> Told {
        let batch = self.outgoing(&which);
        self.copies += 1;
        for row in self.rows.values_mut().filter(|row| which(row)) {
            row.state = match row.state {
                State::Queued => step(State::Queued, Move::Claim).unwrap(),
                State::InDoubt => step(State::InDoubt, Move::Resend).unwrap(),
                state => state,
            };
        }
        let mut heard = Heard::default();
        let done = self.rig.connector.submit(&batch, &self.wire, &self.door, &mut heard).await;
        let told = Told::new(done, heard);
        self.apply(&told);
        self.after_submit(&told);
        self.hold_against_the_ledger();
        told
    }

    /// Asks about the rows that are on their way.
    pub async fn inquire(&mut self) -> Told {
        self.inquire_about(|row| row.state.is_in_flight()).await
    }

    /// Asks about all rows, also those that have ended.
    pub async fn inquire_about_all(&mut self) -> Told {
        self.inquire_about(|_| true).await
    }

    async fn inquire_about(&mut self, which: impl Fn(&Row) -> bool) -> Told {
        let batch = self.outgoing(&which);
        let mut heard = Heard::default();
        let done = self.rig.connector.inquire(&batch, &mut heard).await;
        let told = Told::new(done, heard);
        self.apply(&told);
        self.hold_against_the_ledger();
        told
    }

    /// Asks until every row has an end.
    pub async fn ask_to_the_end(&mut self) {
        for _ in 0..ASKS_MAX {
            self.rig.counterpart.quiet().await;
            if self.rows.values().all(|row| row.state.is_final()) {
                return;
            }
            self.inquire().await;
        }
        let open: Vec<_> = self.rows.iter().filter(|(_, row)| !row.state.is_final()).map(|(name, _)| name).collect();
        assert!(open.is_empty(), "{}: no end after {ASKS_MAX} inquiries: {open:?}", self.name);
    }

    /// The batch as the engine would hand it out: the chosen rows, and every name the provider gave.
    pub fn outgoing(&self, which: impl Fn(&Row) -> bool) -> Batch {
        let chosen = self.rows.values().filter(|row| which(row)).map(|row| row.instruction.clone());
        Batch { instructions: chosen.collect(), ..self.batch.clone() }
    }

    /// Where the rows stand, in the order of their references.
    pub fn states(&self) -> Vec<State> {
        self.rows.values().map(|row| row.state).collect()
    }

    /// Fails unless every row is in `state`.
    pub fn all_are(&self, state: State) {
        let states = self.states();
        assert!(states.iter().all(|now| *now == state), "{}: all should be {state}: {states:?}", self.name);
    }

    /// Fails unless the ledger holds exactly one credit of the exact sum for each row that `which` chooses, and
    /// nothing else.
    pub fn credited_once(&self, which: impl Fn(&Row) -> bool) {
        let chosen = self.rows.iter().filter(|(_, row)| which(row));
        let wanted: BTreeMap<_, _> =
            chosen.map(|(name, row)| (name.to_string(), vec![row.instruction.amount])).collect();
        assert_eq!(self.credits(), wanted, "{}: the ledger is not what it should be", self.name);
    }

    /// Fails if anybody was credited.
    pub fn nobody_credited(&self) {
        self.credited_once(|_| false);
    }

    fn credits(&self) -> BTreeMap<String, Vec<Money>> {
        let mut all = BTreeMap::<String, Vec<Money>>::new();
        for (reference, amount) in self.rig.counterpart.credits() {
            all.entry(reference).or_default().push(amount);
        }
        all
    }

    fn apply(&mut self, told: &Told) {
        for (message, reports) in &told.spoken {
            for report in reports {
                match report.about {
                    About::Instruction(reference) => {
                        assert!(self.rows.contains_key(&reference), "a report on a foreign payment: {report:?}");
                        self.judge_one(reference, message, report);
                    }
                    About::Batch => self.judge_all(message, report),
                }
            }
        }
    }

    /// A report on the batch speaks for the rows that have no report of their own.
    fn judge_all(&mut self, message: &Message, report: &Report) {
        let sum = self.rows.values().map(|row| row.instruction.amount.minor).sum();
        assert!(report.amount.is_none_or(|amount| amount == Money::new(sum, self.batch.currency)), "{report:?}");
        if self.batch.provider_reference.is_none() {
            self.batch.provider_reference.clone_from(&report.provider_reference);
        }
        let open: Vec<_> =
            self.rows.iter().filter(|(_, row)| row.state.is_in_flight()).map(|(name, _)| *name).collect();
        for reference in open {
            let own = Report { amount: None, ..Report::instruction(reference, report.outcome.clone()) };
            self.judge_one(reference, message, &own);
        }
    }

    fn judge_one(&mut self, reference: Reference, message: &Message, report: &Report) {
        let Some(row) = self.rows.get_mut(&reference) else { return };
        let attempt = Attempt {
            state: row.state,
            copies: self.copies,
            last_copy_at: 0,
            // The suite's clock stands still before the fence: nothing here may need it.
            fence_at: i64::MAX,
            amount: row.instruction.amount,
            payee_account: &row.instruction.payee_account,
        };
        match judge(&attempt, report, message.source, self.rig.connector.profile(), 0) {
            Verdict::Move(asked) => {
                row.state = step(row.state, asked).unwrap();
                if let Outcome::Rejected(reason) = &report.outcome {
                    row.rejected_as = Some(reason.class);
                }
            }
            Verdict::Repeat | Verdict::Inconclusive => {}
            Verdict::Contradiction(what) => panic!("{}: {report:?} from {}", what.code(), message.origin),
        }
        if report.outcome == Outcome::Accepted && report.provider_reference.is_some() {
            row.instruction.provider_reference.clone_from(&report.provider_reference);
        }
    }

    /// What the engine makes of a row that was not mentioned.
    fn after_submit(&mut self, told: &Told) {
        let alone = !told.speaks_of_rows();
        for row in self.rows.values_mut().filter(|row| row.state == State::Submitting) {
            let asked = match &told.done {
                // An error speaks for the rows if no row was spoken of.
                Err(Failure::Unavailable { .. } | Failure::Blocked(_)) if alone && self.copies == 1 => Move::Requeue,
                Err(Failure::Refused(reason)) if alone && is_conclusive(reason.class) => {
                    row.rejected_as = Some(reason.class);
                    Move::Reject
                }
                _ => Move::Lose,
            };
            row.state = step(row.state, asked).unwrap();
        }
        if self.rows.values().all(|row| row.state == State::Queued) {
            self.copies = 0;
        }
    }

    /// The promises that hold at any time, whatever a case is about.
    fn hold_against_the_ledger(&self) {
        let credits = self.credits();
        for (reference, row) in &self.rows {
            let held = credits.get(reference.as_str()).map_or(&[][..], Vec::as_slice);
            let amount = row.instruction.amount;
            match row.state {
                State::Settled => assert_eq!(held, [amount], "{reference} counts as paid"),
                State::Rejected => assert!(held.is_empty(), "{reference} counts as not paid, and is: {held:?}"),
                State::Queued => assert!(held.is_empty(), "{reference} would be paid again: {held:?}"),
                _ => assert!(held.is_empty() || held == [amount], "{reference} was paid as {held:?}"),
            }
        }
    }
}

fn is_conclusive(class: ReasonClass) -> bool {
    !matches!(class, ReasonClass::Unknown | ReasonClass::Duplicate)
}
