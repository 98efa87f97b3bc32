//! People, who look in from time to time: they let go on what was paused, decide exceptions by what the providers'
//! own books say, let go or withdraw what is held, and hand in again whatever was not paid, some of it too early.
//!
//! Whoever meets an error tries again the next time. Deliberately not here: the rules about what they may do.

use std::sync::Arc;

use anyhow::Result;
use paymaster_connectors::contract::Reference;

use super::operator::Stage as Standing;
use super::rare::Rare;
use super::seed::hand_in;
use super::stage::{DOOR, People, Stage, provider_name};
use super::world::{Event, HOUR, Inner, SECOND, Word, World};
use crate::domain::disbursement::State;
use crate::domain::exception::{DOUBT_TOO_OLD, Decision, Matter, OVERPAID, matter, way};
use crate::domain::payroll::{PayrollKind, PayrollState};
use crate::engine::{Engine, ProposalRequest};
use crate::store::notes::ExceptionRow;
use crate::store::slate::{self, Newest};

/// Exceptions that are looked at in one visit.
const TASKS_MAX: i64 = 50;
/// Generations of one entitlement after which nobody tries again.
const GENERATIONS_MAX: i64 = 4;

/// One visit.
pub(super) async fn look_in(stage: &mut Stage) -> Result<()> {
    let (later, stop) = {
        let mut inner = stage.world.look();
        for operator in &mut inner.operators {
            operator.float_minor = i64::MAX / 4;
        }
        let later = if inner.storm { inner.chance.between(300 * SECOND, HOUR / 2) } else { 6 * HOUR };
        (later, inner.storm && inner.chance.falls(150))
    };
    stage.world.look().after(later, Event::Person);
    if !stage.is_up(DOOR) {
        return Ok(());
    }
    again(stage).await?;
    let providers = stage.terms.len();
    let stop = stop.then(|| stage.world.look().chance.place(providers));
    let (engine, world, people) = (stage.engine(DOOR), stage.world.clone(), stage.people.clone());
    stage
        .spawn(DOOR, async move {
            for provider in 0..providers {
                let reason = (stop == Some(provider)).then_some("looking at it");
                let _ = engine.pause_provider(&provider_name(provider), reason).await;
            }
            let _ = engine.overdue(engine.clock.now()).await;
            for task in engine.exceptions(&people.maker.scope, 0, TASKS_MAX).await.unwrap_or_default() {
                decide(&engine, &world, &people, &task).await;
            }
            let _ = let_go(&engine, &world, &people).await;
        })
        .await;
    Ok(())
}

/// What is not paid is handed in again as a payroll of its own, by people who don't look whether it may be.
async fn again(stage: &Stage) -> Result<()> {
    if stage.world.look().to_be_restored {
        // A payroll that a restore takes away is in no book of ours any more, and no rule here can know of it.
        return Ok(());
    }
    let engine = stage.at_the_door();
    let mut tx = stage.store.read().await?;
    let newest = slate::newest(&mut tx).await?;
    drop(tx);
    let mut rows = Vec::new();
    for one in newest {
        let wanted = one.state != State::Settled && one.state != State::Held && one.generation < GENERATIONS_MAX;
        if !wanted || !stage.world.look().chance.falls(300) {
            continue;
        }
        let known = engine.disbursement(&stage.people.maker.scope, one.number).await?;
        let elsewhere = stage.world.look().chance.falls(300);
        let account = if elsewhere { other_account(stage, &known.payee_account) } else { known.payee_account };
        rows.push((known.entitlement, one.amount_minor, account));
        if one.state.is_final() {
            tell_of_the_old(&mut stage.world.look(), engine.reference(one.number));
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let taken = hand_in(stage, PayrollKind::Reissue, &rows).await?;
    // The same file again is the payroll that it was the first time.
    if taken.state == PayrollState::Draft && taken.accepted.payments > 0 {
        stage.world.look().note(Rare::Reissued);
        stage.let_out(taken.id).await?;
    }
    Ok(())
}

/// The same payee at another provider, where there is one.
fn other_account(stage: &Stage, account: &str) -> String {
    let payee = account.split('@').next().unwrap_or(account);
    let place = stage.world.look().chance.place(stage.terms.len());
    format!("{payee}@{}", provider_name(place))
}

/// Providers speak once more of what has come to its end, and not always the truth.
fn tell_of_the_old(inner: &mut Inner, reference: Reference) {
    let mut told = Vec::new();
    for (provider, operator) in inner.operators.iter().enumerate() {
        told.extend(operator.of(reference).map(|(place, one)| (provider, place, one.stage)));
    }
    for (provider, place, standing) in told {
        if !inner.storm || !inner.chance.falls(500) {
            continue;
        }
        let word = match standing {
            Standing::Pending => continue,
            Standing::Returned if inner.chance.falls(500) => Word::Returned,
            Standing::Rejected if inner.chance.falls(500) => Word::Rejected,
            _ => Word::Settled,
        };
        let soon = inner.chance.falls(500);
        let later = inner.chance.between(0, if soon { 5 * SECOND } else { HOUR / 2 });
        inner.after(later, Event::CallBack { provider, place, word, tries: 0 });
    }
}

/// One person proposes what the providers' books say, another confirms it.
async fn decide(engine: &Engine, world: &Arc<World>, people: &People, task: &ExceptionRow) {
    let state = engine.disbursement(&people.maker.scope, task.subject).await.ok().map(|one| one.state);
    let truth = truth(&world.look(), engine.reference(task.subject));
    let Some(decision) = decision(task, state, truth) else { return };
    if task.handling.proposal.is_some() {
        // Made before something went wrong; what it was made for may not hold any more.
        let _ = engine.withdraw_proposal(&people.maker, task.id).await;
    }
    let request = ProposalRequest { decision, reason: "as their books say".to_owned(), evidence: None };
    if engine.propose(&people.maker, task.id, &request).await.is_err()
        || engine.confirm(&people.checker, task.id).await.is_err()
    {
        return;
    }
    let mut inner = world.look();
    match task.code.as_str() {
        OVERPAID => inner.note(Rare::Overpaid),
        DOUBT_TOO_OLD => inner.note(Rare::DoubtTooOld),
        code if matter(code) == Matter::Money => inner.note(Rare::Decided),
        _ => {}
    }
}

/// How a payment stands by the providers' books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// Something is still to be carried out.
    Open,
    Is(State),
    /// Nobody has ever heard of it.
    Unknown,
}

fn truth(inner: &Inner, reference: Reference) -> Truth {
    let standings: Vec<Standing> =
        inner.operators.iter().flat_map(|operator| operator.of(reference).map(|(_, one)| one.stage)).collect();
    let has = |standing| standings.contains(&standing);
    if has(Standing::Pending) {
        Truth::Open
    } else if has(Standing::Settled) {
        Truth::Is(State::Settled)
    } else if has(Standing::Returned) {
        Truth::Is(State::Returned)
    } else if has(Standing::Rejected) {
        Truth::Is(State::Rejected)
    } else {
        Truth::Unknown
    }
}

/// What there is to decide now; nothing where one has to wait.
fn decision(task: &ExceptionRow, state: Option<State>, truth: Truth) -> Option<Decision> {
    let matter = matter(&task.code);
    let Some(state) = state.filter(|_| matter != Matter::Notice) else { return Some(Decision::Stands) };
    let paid = match truth {
        Truth::Open => return None,
        Truth::Is(paid) => paid,
        Truth::Unknown => State::Rejected,
    };
    if matter == Matter::Unsent && state == State::Queued {
        let paid = matches!(paid, State::Settled | State::Returned);
        return Some(if paid { Decision::Settled } else { Decision::Send });
    }
    if state == paid || state == State::Cancelled || matter == Matter::Unsent {
        return Some(Decision::Stands);
    }
    let decision = match paid {
        State::Settled => Decision::Settled,
        State::Returned => Decision::Returned,
        _ => Decision::Rejected,
    };
    way(state, decision).map(|_| decision)
}

/// What is held because an older generation was in question is let go, or withdrawn.
async fn let_go(engine: &Engine, world: &Arc<World>, people: &People) -> Result<()> {
    let mut tx = engine.store.read().await?;
    let newest = slate::newest(&mut tx).await?;
    drop(tx);
    for Newest { number, .. } in newest.into_iter().filter(|one| one.state == State::Held) {
        world.look().note(Rare::NewerHeld);
        let withdraws = world.look().chance.falls(200);
        let _ = if withdraws {
            engine.cancel(&people.checker, number, "not needed").await
        } else {
            engine.unhold(&people.checker, number, "looked at").await
        };
    }
    Ok(())
}
