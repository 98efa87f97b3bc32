//! Another person agrees: exceptions about one batch of which the same was proposed for the same reason are decided
//! together, in one unit of work; each group whole or not at all, and whoever changed since is left out and told.
//! Deliberately not here: what the decision does (`rule`).

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::ground::{Ground, Subject};
use super::rule::{Ruling, fence_has_passed};
use super::{Told, conflict, proposed};
use crate::domain::disbursement::State;
use crate::domain::exception::Decision;
use crate::domain::id::{Batch, Exception, Id, Programme};
use crate::engine::{Actor, Engine, Error, Outcome, Refused, RefusedKind};
use crate::store::batch::{self, BatchRow};
use crate::store::db::{self, Tx};
use crate::store::exception::{self, Proposal};
use crate::store::notes::ExceptionRow;
use crate::store::payroll::{self, PayrollRow};

/// How often a group is tried when workers want the same rows.
const CONFIRM_TRIES: usize = 4;

/// What exceptions that are decided together have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The batch they are about, or are in; none where they are about something else.
    pub batch: Option<i64>,
    /// Whether it is about the batch as a whole.
    pub whole: bool,
    /// Their programme.
    pub programme: i64,
    /// Their kind.
    pub code: String,
    /// Who proposes.
    pub by: String,
    /// What.
    pub decision: Decision,
    /// What it rests on beside what is known.
    pub evidence: Option<i64>,
    /// Why.
    pub reason: String,
}

/// A batch and its payroll, locked.
type Home = Option<(PayrollRow, BatchRow)>;

impl Engine {
    /// Decides them, group by group.
    pub(super) async fn confirm_all(&self, actor: &Actor, tasks: Vec<ExceptionRow>) -> Outcome<Told> {
        let mut tx = self.store.read().await?;
        let ground = Ground::of(&mut tx, &tasks).await?;
        drop(tx);
        let (mut told, mut groups) = (Told::default(), BTreeMap::<Key, Vec<i64>>::new());
        for task in &tasks {
            match confirmable(task, actor) {
                Ok(proposal) => {
                    let key = self.key(task, &ground.about(task), proposal)?;
                    groups.entry(key).or_default().push(task.id.number());
                }
                Err(refused) => told.refused.push((task.id, refused)),
            }
        }
        drop(tasks);
        let mut groups = groups.iter();
        for (key, ids) in groups.by_ref() {
            match self.confirm_group(actor, key, ids).await {
                Ok(some) => told.add(some),
                Err(error) if told.done.is_empty() => return Err(Error::Failed(error)),
                Err(error) => {
                    // What was decided before stays decided, and must be told.
                    tracing::error!(error = format!("{error:#}"), "a group of exceptions could not be decided");
                    told.refused.extend(ids.iter().map(|id| (Id::new(*id), not_done())));
                    break;
                }
            }
        }
        told.refused.extend(groups.flat_map(|(_, ids)| ids).map(|id| (Id::new(*id), not_done())));
        Ok(told)
    }

    async fn confirm_group(&self, actor: &Actor, key: &Key, ids: &[i64]) -> Result<Told> {
        for _ in 1..CONFIRM_TRIES {
            match self.confirm_once(actor, key, ids).await {
                // A worker wanted the same rows in another order.
                Err(error) if db::is_deadlock(&error) => {}
                done => return done,
            }
        }
        self.confirm_once(actor, key, ids).await
    }

    async fn confirm_once(&self, actor: &Actor, key: &Key, ids: &[i64]) -> Result<Told> {
        let mut tx = self.store.begin().await?;
        let home = match key.batch {
            Some(number) => Some(lock_home(&mut tx, Id::new(number)).await?),
            None => None,
        };
        let tasks = exception::lock(&mut tx, &actor.scope, ids).await?;
        let ground = Ground::within(&mut tx, &tasks, home.as_ref().map(|(_, row)| row.clone())).await?;
        let mut told = Told::missing(ids, &tasks);
        let (mut ready, mut subjects) = (Vec::new(), Vec::new());
        for task in tasks {
            let subject = ground.about(&task);
            match self.is_ready(actor, key, (&task, &subject), (&ground, &home))? {
                Ok(()) => {
                    ready.push(task);
                    subjects.push(subject);
                }
                Err(refused) => told.refused.push((task.id, refused)),
            }
        }
        if ready.is_empty() {
            return Ok(told);
        }
        let ruling = Ruling { engine: self, key, tasks: &ready, checker: actor, now: self.clock.now() };
        let ruled = match home {
            Some((payroll, row)) => ruling.apply(&mut tx, (&payroll, row), &subjects).await,
            None => ruling.stands(&mut tx, Id::<Programme>::new(key.programme)).await,
        };
        let done: Vec<Id<Exception>> = ready.iter().map(|task| task.id).collect();
        match ruled {
            Ok(()) => tx.commit().await?,
            Err(Error::Refused(refused)) => {
                told.refused.extend(done.into_iter().map(|id| (id, refused.clone())));
                return Ok(told);
            }
            Err(Error::Failed(error)) => return Err(error),
        }
        let (code, decision, exceptions) = (key.code.as_str(), key.decision.name(), done.len());
        tracing::warn!(exception.id = %done[0], exception.code = code, decision, exceptions, "exceptions closed");
        told.done = done;
        Ok(told)
    }

    /// Whether one of a group can be decided with the others, now that everything is locked.
    fn is_ready(
        &self,
        actor: &Actor,
        key: &Key,
        (task, subject): (&ExceptionRow, &Subject),
        (ground, home): (&Ground, &Home),
    ) -> Result<Result<(), Refused>> {
        let proposal = match confirmable(task, actor) {
            Ok(proposal) => proposal,
            Err(refused) => return Ok(Err(refused)),
        };
        if subject.batch().map(Id::number) != key.batch {
            return Ok(Err(changed("it moved to another batch just now; confirm it again")));
        }
        if self.key(task, subject, proposal)? != *key {
            return Ok(Err(changed("what is proposed changed just now; look at it again")));
        }
        let state = match ground.check(task, key.decision) {
            Ok(state) => state,
            Err(refused) => return Ok(Err(refused)),
        };
        if state != proposal.state {
            let text = state.map_or(String::from("it"), |state| format!("it is {state} now, and"));
            return Ok(Err(changed(&format!("{text} was otherwise when this was proposed; propose anew"))));
        }
        match home {
            Some((_, row)) if key.decision == Decision::Rejected && state.is_some_and(State::is_in_flight) => {
                Ok(fence_has_passed(row, self.clock.now()))
            }
            _ => Ok(Ok(())),
        }
    }

    fn key(&self, task: &ExceptionRow, subject: &Subject, proposal: &Proposal) -> Result<Key> {
        Ok(Key {
            batch: subject.batch().map(Id::number),
            whole: matches!(subject, Subject::Batch(_)),
            programme: task.programme.number(),
            code: task.code.clone(),
            by: proposal.by.clone(),
            decision: proposal.decision,
            evidence: proposal.evidence,
            reason: self.proposal_reason(proposal)?,
        })
    }
}

/// Payroll before batch, as a release locks them; batch before exception, as whoever opens one does.
async fn lock_home(tx: &mut Tx, id: Id<Batch>) -> Result<(PayrollRow, BatchRow)> {
    let row = batch::get_any(tx, id).await?.context("the batch is gone")?;
    let payroll = payroll::lock(tx, row.payroll).await?;
    Ok((payroll, batch::lock(tx, id).await?.context("the batch is gone")?))
}

/// What is proposed, if this person may confirm it.
fn confirmable<'a>(task: &'a ExceptionRow, actor: &Actor) -> Result<&'a Proposal, Refused> {
    let proposal = proposed(task)?;
    if proposal.by == actor.person {
        let text = String::from("somebody who did not propose it must confirm it");
        return Err(Refused { kind: RefusedKind::Forbidden, code: "same_person", text });
    }
    Ok(proposal)
}

fn changed(text: &str) -> Refused {
    conflict("changed_since", text)
}

fn not_done() -> Refused {
    conflict("not_done", "something broke on our side after others were decided; look at it again")
}
