//! Exceptions by the set: what a filter wants is proposed, confirmed or taken off in one call, and whatever is left out
//! is told by code. Deliberately not here: rules; a set goes the way of one.

use std::collections::{BTreeMap, BTreeSet};

use super::{ProposalRequest, Told, conflict, unknown};
use crate::domain::exception::Decision;
use crate::domain::id::{Exception, Id};
use crate::engine::{Actor, Engine, Outcome, RefusedKind, refused};
use crate::store::db::Tx;
use crate::store::notes::ExceptionRow;
use crate::store::queue::{self, Filter, First};

/// Most exceptions that one call looks at.
pub const EXCEPTIONS_AT_ONCE_MAX: usize = 10_000;
/// Most kinds a filter names.
const CODES_MAX: usize = 100;
/// Ids that are told as examples of a refusal.
const EXAMPLES_MAX: usize = 20;

/// What became of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManyOutcome {
    /// For how many it was done.
    pub done: usize,
    /// Those for which it was not, by code.
    pub refused: Vec<Refusals>,
    /// Whether the filter wants more than one call looks at: those for which it could be done come first.
    pub more: bool,
}

/// Exceptions of a set that were left out for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// The code one of them alone would be refused with.
    pub code: &'static str,
    /// The words for the first of them.
    pub text: String,
    /// How many.
    pub count: usize,
    /// Some of them.
    pub examples: Vec<Id<Exception>>,
}

impl ManyOutcome {
    fn new(told: Told, more: bool) -> Self {
        let mut refused: Vec<Refusals> = Vec::new();
        for (id, one) in told.refused {
            match refused.iter_mut().find(|known| known.code == one.code) {
                Some(known) => {
                    known.count += 1;
                    if known.examples.len() < EXAMPLES_MAX {
                        known.examples.push(id);
                    }
                }
                None => refused.push(Refusals { code: one.code, text: one.text, count: 1, examples: vec![id] }),
            }
        }
        refused.sort_by_key(|one| one.code);
        Self { done: told.done.len(), refused, more }
    }
}

/// What a filter wants.
struct Wanted {
    tasks: Vec<ExceptionRow>,
    /// Ids that were asked for and are not among them.
    told: Told,
    more: bool,
}

impl Wanted {
    fn numbers(&self) -> Vec<i64> {
        self.tasks.iter().map(|task| task.id.number()).collect()
    }
}

impl Engine {
    /// One person proposes the same decision of all that a filter wants. Nothing moves.
    pub async fn propose_many(
        &self,
        actor: &Actor,
        filter: &Filter,
        request: &ProposalRequest,
    ) -> Outcome<ManyOutcome> {
        let mut wanted = self.wanted(actor, filter, First::Unproposed).await?;
        wanted.told.add(self.propose_all(actor, &wanted.numbers(), request).await?);
        Ok(ManyOutcome::new(wanted.told, wanted.more))
    }

    /// Takes the proposals of all that a filter wants off again.
    pub async fn withdraw_many(&self, actor: &Actor, filter: &Filter) -> Outcome<ManyOutcome> {
        let mut wanted = self.wanted(actor, filter, First::Proposed).await?;
        wanted.told.add(self.withdraw_all(actor, &wanted.numbers()).await?);
        Ok(ManyOutcome::new(wanted.told, wanted.more))
    }

    /// Another person agrees to a decision that was proposed of what a filter wants. It takes effect batch by batch,
    /// each whole or not at all; for whatever changed since it was proposed, nothing is done.
    pub async fn confirm_many(&self, actor: &Actor, filter: &Filter, decision: Decision) -> Outcome<ManyOutcome> {
        let Wanted { mut tasks, mut told, more } =
            self.wanted(actor, filter, First::ProposedByOthers(decision, &actor.person)).await?;
        tasks.retain(|task| {
            let other = task.handling.proposal.as_ref().filter(|proposal| proposal.decision != decision);
            if let Some(other) = other {
                let text = format!("{} is proposed of it, not {}", other.decision.name(), decision.name());
                told.refused.push((task.id, conflict("other_decision", text)));
            }
            other.is_none()
        });
        told.add(self.confirm_all(actor, tasks).await?);
        Ok(ManyOutcome::new(told, more))
    }

    async fn wanted(&self, actor: &Actor, filter: &Filter, first: First<'_>) -> Outcome<Wanted> {
        if filter.is_empty() {
            let text = "say which: by code, provider, owner, payroll, programme, age or id";
            return refused(RefusedKind::Invalid, "filter_missing", text);
        }
        if filter.codes.len() > CODES_MAX || filter.ids.len() > EXCEPTIONS_AT_ONCE_MAX {
            let text = format!("a filter names at most {CODES_MAX} codes and {EXCEPTIONS_AT_ONCE_MAX} ids");
            return refused(RefusedKind::Invalid, "filter_too_long", text);
        }
        let mut tx = self.store.read().await?;
        let limit = EXCEPTIONS_AT_ONCE_MAX + 1;
        let mut tasks =
            queue::some(&mut tx, &actor.scope, filter, first, i64::try_from(limit).unwrap_or(i64::MAX)).await?;
        let more = tasks.len() == limit;
        tasks.truncate(EXCEPTIONS_AT_ONCE_MAX);
        tasks.sort_unstable_by_key(|task| task.id.number());
        let told = self.not_wanted(&mut tx, actor, &filter.ids, &tasks).await?;
        Ok(Wanted { tasks, told, more })
    }

    /// Why ids that were asked for are not among what the filter wants.
    async fn not_wanted(&self, tx: &mut Tx, actor: &Actor, ids: &[i64], tasks: &[ExceptionRow]) -> Outcome<Told> {
        let found: BTreeSet<i64> = tasks.iter().map(|task| task.id.number()).collect();
        let missing: BTreeSet<i64> = ids.iter().copied().filter(|id| !found.contains(id)).collect();
        let mut told = Told::default();
        if missing.is_empty() {
            return Ok(told);
        }
        let missing: Vec<i64> = missing.into_iter().collect();
        let known: BTreeMap<i64, bool> = queue::closed(tx, &actor.scope, &missing).await?.into_iter().collect();
        for number in missing {
            let id = Id::new(number);
            let why = match known.get(&number) {
                None => unknown(id),
                Some(true) => conflict("exception_closed", "it has been decided already"),
                Some(false) => conflict("filter_mismatch", "it is open and not what the filter wants"),
            };
            told.refused.push((id, why));
        }
        Ok(told)
    }
}
