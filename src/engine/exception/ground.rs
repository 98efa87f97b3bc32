//! What exceptions are about, as it stands: a payment, a whole batch, or something that is neither, such as a file, a
//! statement or an entry; and whether something can be decided of it.
//! Deliberately not here: whose turn it is, and what comes of a decision.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{conflict, open};
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::State;
use crate::domain::exception::{Decision, Matter, decisions, matter, way};
use crate::domain::id::{Batch, Id};
use crate::engine::Refused;
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::generation::{self, Place};
use crate::store::notes::ExceptionRow;

/// What an exception is about.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// One payment.
    Row(Place),
    /// A batch as a whole.
    Batch(Id<Batch>),
    /// No payment and no batch: nothing moves whatever is decided.
    Elsewhere,
}

impl Subject {
    /// The batch it is, or is in.
    pub fn batch(&self) -> Option<Id<Batch>> {
        match self {
            Self::Row(place) => Some(place.batch),
            Self::Batch(id) => Some(*id),
            Self::Elsewhere => None,
        }
    }
}

/// What a set of exceptions is about.
pub(super) struct Ground {
    places: BTreeMap<i64, Place>,
    batches: BTreeMap<i64, BatchRow>,
}

impl Ground {
    /// Looks everything up, locked or not.
    pub async fn of(tx: &mut Tx, tasks: &[ExceptionRow]) -> Result<Self> {
        let mut ground = Self::within(tx, tasks, None).await?;
        let batches = tasks
            .iter()
            .map(|task| ground.places.get(&task.subject).map_or(task.subject, |place| place.batch.number()));
        let rows = batch::some_of(tx, &distinct(batches)).await?;
        ground.batches = rows.into_iter().map(|row| (row.id.number(), row)).collect();
        Ok(ground)
    }

    /// Looks payments up; of batches only this one is seen.
    pub async fn within(tx: &mut Tx, tasks: &[ExceptionRow], row: Option<BatchRow>) -> Result<Self> {
        let places = generation::places(tx, &distinct(tasks.iter().map(|task| task.subject))).await?;
        let places = places.into_iter().map(|place| (place.number, place)).collect();
        Ok(Self { places, batches: row.into_iter().map(|row| (row.id.number(), row)).collect() })
    }

    /// What one of them is about.
    pub fn about(&self, task: &ExceptionRow) -> Subject {
        match self.places.get(&task.subject) {
            Some(place) if self.batches.contains_key(&place.batch.number()) => Subject::Row(place.clone()),
            None if self.batches.contains_key(&task.subject) => Subject::Batch(Id::new(task.subject)),
            _ => Subject::Elsewhere,
        }
    }

    /// Whether this can be proposed of it, and the state for which that holds.
    pub fn proposable(&self, task: &ExceptionRow, decision: Decision) -> Result<Option<State>, Refused> {
        open(task)?;
        if let Some(other) = &task.handling.proposal {
            let text = format!("{} proposed {} already; it can be withdrawn", other.by, other.decision.name());
            return Err(conflict("already_proposed", text));
        }
        self.check(task, decision)
    }

    /// Whether this can be decided of it, as it stands now; the state that counts, where it is one payment.
    pub fn check(&self, task: &ExceptionRow, decision: Decision) -> Result<Option<State>, Refused> {
        let matter = matter(&task.code);
        if !decisions(matter).contains(&decision) {
            let all: Vec<&str> = decisions(matter).iter().map(|one| one.name()).collect();
            return Err(impossible(format!("of {} can be decided: {}", task.code, all.join(", "))));
        }
        let subject = self.about(task);
        let Some(row) = subject.batch().and_then(|id| self.batches.get(&id.number())) else {
            return match (decision, task.handling.suspended_from) {
                (Decision::Stands, None) => Ok(None),
                _ => Err(impossible("it is about no payment and no batch; only stands can be decided")),
            };
        };
        let state = match &subject {
            Subject::Row(place) => Some(effective(place.state, row.state)),
            _ => None,
        };
        fits(matter, row, state, decision).map(|()| state)
    }
}

/// Whether a decision fits a matter in a batch, and the state of the one payment it is about.
fn fits(matter: Matter, row: &BatchRow, state: Option<State>, decision: Decision) -> Result<(), Refused> {
    let waits = row.state == BatchState::Sealed && state.is_none_or(|state| state == State::Queued);
    match (decision, state) {
        (Decision::Stands, _) if matter == Matter::Unsent && waits => {
            Err(impossible("it waits to be sent: decide send or withdraw"))
        }
        (Decision::Stands, _) => Ok(()),
        (Decision::Send | Decision::Withdraw, _) if waits => Ok(()),
        (Decision::Send | Decision::Withdraw, _) => Err(impossible("it does not wait to be sent any more")),
        (_, None) if matter == Matter::Endless => Ok(()),
        (_, None) => Err(impossible("this is about a whole batch; no payment of it is named")),
        (_, Some(State::Submitting)) => Err(impossible("it is being sent right now; try again in a moment")),
        (_, Some(state)) if way(state, decision).is_none() => {
            Err(impossible(format!("it is {state}; no way leads from there to {}", decision.name())))
        }
        (_, Some(state)) if matter == Matter::Endless && !state.is_in_flight() => {
            Err(impossible(format!("it is {state} by now; decide stands")))
        }
        _ => Ok(()),
    }
}

fn impossible(text: impl Into<String>) -> Refused {
    conflict("decision_impossible", text)
}

fn distinct(numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut all: Vec<i64> = numbers.collect();
    all.sort_unstable();
    all.dedup();
    all
}
