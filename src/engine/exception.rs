//! Exceptions are decided by two persons: one proposes, another confirms, and only then anything moves.
//!
//! A proposal holds for what was known when it was made: if the payment has moved since, it is proposed anew. One
//! exception goes the way of many: what is done of a set is told exception by exception.
//! Deliberately not here: confirming (`confirm`), what a decision does to payments and money (`rule`), which
//! exceptions are meant by a filter (`many`), and what may be decided (the domain).

mod confirm;
mod ground;
mod many;
mod overdue;
mod rule;

use std::collections::BTreeMap;

use self::ground::{Ground, Subject};
use super::{Actor, Engine, Error, Outcome, Refused, RefusedKind, refused};
use crate::domain::disbursement::State;
use crate::domain::exception::Decision;
use crate::domain::id::{Evidence, Exception, Id};
use crate::store::db::Tx;
use crate::store::exception::{self, Proposal};
use crate::store::notes::{self, ExceptionRow, Fact};
use crate::store::{Numbers, evidence, seal};

pub use self::many::{EXCEPTIONS_AT_ONCE_MAX, ManyOutcome, Refusals};

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 1_000;

/// What a maker proposes.
#[derive(Debug, Clone)]
pub struct ProposalRequest {
    /// What is to be decided.
    pub decision: Decision,
    /// Why; it becomes part of the evidence.
    pub reason: String,
    /// What it rests on beside what is known: a statement, a letter that was stored.
    pub evidence: Option<Id<Evidence>>,
}

/// What was done of what was asked, exception by exception.
#[derive(Debug, Default)]
struct Told {
    done: Vec<Id<Exception>>,
    refused: Vec<(Id<Exception>, Refused)>,
}

impl Told {
    /// Whichever of these numbers are no exceptions of the tenant.
    fn missing(ids: &[i64], tasks: &[ExceptionRow]) -> Self {
        let known: Vec<i64> = tasks.iter().map(|task| task.id.number()).collect();
        let missing = ids.iter().filter(|id| known.binary_search(id).is_err()).map(|id| Id::new(*id));
        Self { done: Vec::new(), refused: missing.map(|id| (id, unknown(id))).collect() }
    }

    fn add(&mut self, other: Self) {
        self.done.extend(other.done);
        self.refused.extend(other.refused);
    }

    /// What became of the only one that was asked.
    fn only(mut self) -> Outcome<()> {
        self.refused.pop().map_or(Ok(()), |(_, refused)| Err(Error::Refused(refused)))
    }
}

impl Engine {
    /// An exception of the tenant, open or closed.
    pub async fn exception(&self, actor: &Actor, id: Id<Exception>) -> Outcome<ExceptionRow> {
        let mut tx = self.store.read().await?;
        let found = exception::get(&mut tx, &actor.scope, id).await?;
        found.ok_or_else(|| Error::Refused(unknown(id)))
    }

    /// Why somebody proposes a decision, in their words.
    pub fn proposal_reason(&self, proposal: &Proposal) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&self.store.keys.open(&proposal.sealed)?).into_owned())
    }

    /// One person proposes a decision. Nothing moves.
    pub async fn propose(&self, actor: &Actor, id: Id<Exception>, request: &ProposalRequest) -> Outcome<ExceptionRow> {
        self.propose_all(actor, &[id.number()], request).await?.only()?;
        self.exception(actor, id).await
    }

    /// Takes a proposal off again.
    pub async fn withdraw_proposal(&self, actor: &Actor, id: Id<Exception>) -> Outcome<ExceptionRow> {
        self.withdraw_all(actor, &[id.number()]).await?.only()?;
        self.exception(actor, id).await
    }

    /// Another person agrees: the decision takes effect, whole or not at all.
    pub async fn confirm(&self, actor: &Actor, id: Id<Exception>) -> Outcome<ExceptionRow> {
        let task = self.exception(actor, id).await?;
        self.confirm_all(actor, vec![task]).await?.only()?;
        self.exception(actor, id).await
    }

    async fn propose_all(&self, actor: &Actor, ids: &[i64], request: &ProposalRequest) -> Outcome<Told> {
        let reason = request.reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
            let text = format!("say why, in 1 to {REASON_CHARS_MAX} characters");
            return refused(RefusedKind::Invalid, "reason_missing", text);
        }
        let now = self.clock.now();
        let mut numbers = self.store.draw(ids.len(), now).await?;
        let mut tx = self.store.begin().await?;
        if let Some(id) = request.evidence
            && evidence::get(&mut tx, &self.store.keys, &actor.scope, id).await?.is_none()
        {
            return refused(RefusedKind::Invalid, "evidence_unknown", format!("there is no evidence {id}"));
        }
        let tasks = exception::lock(&mut tx, &actor.scope, ids).await?;
        let ground = Ground::of(&mut tx, &tasks).await?;
        let mut told = Told::missing(ids, &tasks);
        let mut alike: BTreeMap<Option<State>, Vec<i64>> = BTreeMap::new();
        let mut noted = Noted::default();
        for task in &tasks {
            match ground.proposable(task, request.decision) {
                Ok(state) => {
                    alike.entry(state).or_default().push(task.id.number());
                    noted.add(&ground.about(task), task, request.decision);
                    told.done.push(task.id);
                }
                Err(refused) => told.refused.push((task.id, refused)),
            }
        }
        let (decision, by, evidence) = (request.decision, &actor.person, request.evidence.map(Id::number));
        let sealed = self.store.keys.seal(reason.as_bytes());
        for (state, numbers) in alike {
            let proposal = Proposal { decision, by: by.clone(), at: now, state, evidence, sealed: sealed.clone() };
            exception::set_proposal(&mut tx, &numbers, Some(&proposal)).await?;
        }
        self.note(&mut tx, actor, ("exception.proposed", evidence), noted, &mut numbers).await?;
        tx.commit().await?;
        Ok(told)
    }

    async fn withdraw_all(&self, actor: &Actor, ids: &[i64]) -> Outcome<Told> {
        let mut numbers = self.store.draw(ids.len(), self.clock.now()).await?;
        let mut tx = self.store.begin().await?;
        let tasks = exception::lock(&mut tx, &actor.scope, ids).await?;
        let ground = Ground::of(&mut tx, &tasks).await?;
        let mut told = Told::missing(ids, &tasks);
        let mut noted = Noted::default();
        for task in &tasks {
            match proposed(task) {
                Ok(proposal) => {
                    noted.add(&ground.about(task), task, proposal.decision);
                    told.done.push(task.id);
                }
                Err(refused) => told.refused.push((task.id, refused)),
            }
        }
        let proposed: Vec<i64> = told.done.iter().map(|id| id.number()).collect();
        exception::set_proposal(&mut tx, &proposed, None).await?;
        self.note(&mut tx, actor, ("exception.proposal_withdrawn", None), noted, &mut numbers).await?;
        tx.commit().await?;
        Ok(told)
    }

    /// One fact of each batch; where there is none, of each programme.
    async fn note(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        (event, evidence): (&str, Option<i64>),
        noted: Noted<'_>,
        numbers: &mut Numbers,
    ) -> anyhow::Result<()> {
        let mut groups = Vec::with_capacity(noted.0.len());
        for ((home, decision), tasks) in noted.0 {
            let subject = if let [one] = tasks.as_slice() { one.subject } else { home };
            let ids: Vec<Id<Exception>> = tasks.iter().map(|task| task.id).collect();
            let note = format!("{}: {}", named(&ids), decision.name());
            groups.push((numbers.take()?, subject, note, list_hash(&ids)));
        }
        let facts = groups.iter().map(|(number, subject, note, hash)| {
            let (subject, actor, list_hash) = (*subject, actor.person.as_str(), Some(hash.as_slice()));
            (*number, Fact { event, subject, actor, evidence, list_hash, note, ..Fact::default() })
        });
        let facts: Vec<(i64, Fact<'_>)> = facts.collect();
        notes::journal_all(tx, actor.scope.tenant, &facts, self.clock.now()).await
    }
}

/// What is written down together: by batch or programme, and by decision.
#[derive(Default)]
struct Noted<'a>(BTreeMap<(i64, Decision), Vec<&'a ExceptionRow>>);

impl<'a> Noted<'a> {
    fn add(&mut self, subject: &Subject, task: &'a ExceptionRow, decision: Decision) {
        let home = subject.batch().map_or(task.programme.number(), Id::number);
        self.0.entry((home, decision)).or_default().push(task);
    }
}

/// Exceptions in a few words.
fn named(ids: &[Id<Exception>]) -> String {
    match ids {
        [first, rest @ ..] if !rest.is_empty() => format!("{first} and {} more", rest.len()),
        [one] => one.to_string(),
        _ => String::new(),
    }
}

/// SHA-256 over the ids, each on a line.
fn list_hash(ids: &[Id<Exception>]) -> [u8; 32] {
    seal::sha256(ids.iter().map(|id| format!("{id}\n")).collect::<String>().as_bytes())
}

/// The proposal of an exception that is open.
fn proposed(task: &ExceptionRow) -> Result<&Proposal, Refused> {
    open(task)?;
    let text = "nobody has proposed anything that could be confirmed";
    task.handling.proposal.as_ref().ok_or_else(|| conflict("nothing_proposed", text))
}

fn open(task: &ExceptionRow) -> Result<(), Refused> {
    match task.handling.closed_at {
        Some(_) => Err(conflict("exception_closed", "it has been decided already")),
        None => Ok(()),
    }
}

fn conflict(code: &'static str, text: impl Into<String>) -> Refused {
    Refused { kind: RefusedKind::Conflict, code, text: text.into() }
}

fn unknown(id: Id<Exception>) -> Refused {
    Refused { kind: RefusedKind::NotFound, code: "exception_unknown", text: format!("there is no exception {id}") }
}
