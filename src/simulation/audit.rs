//! The judgement after a seed: our books against the providers' own ledgers, payment by payment.
//! Deliberately not here: mercy.

use std::collections::BTreeMap;

use anyhow::Result;

use super::operator::Stage as Standing;
use super::rare::Rare;
use super::stage::Stage;
use crate::domain::disbursement::State;
use crate::engine::Engine;
use crate::store::slate::{self, End};

/// What is wrong, counted. All zero is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Payees who were credited more than they are owed by whomever, net of returns.
    pub paid_twice: u64,
    /// Payments without an end, and worlds in which something is left to do.
    pub forgotten: u64,
    /// Findings about money: our ledger, or an end that the provider's ledger does not bear out.
    pub unbalanced: u64,
    /// Ends without a proof.
    pub without_evidence: u64,
}

impl Verdict {
    /// Adds another.
    pub fn and(&mut self, other: &Self) {
        self.paid_twice += other.paid_twice;
        self.forgotten += other.forgotten;
        self.unbalanced += other.unbalanced;
        self.without_evidence += other.without_evidence;
    }
}

/// Judges a world that has come to rest.
pub(super) async fn judge(stage: &Stage, wrong: &mut Vec<String>) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let engine = stage.at_the_door();
    let mut tx = stage.store.read().await?;
    let ends = slate::ends(&mut tx).await?;
    drop(tx);
    verdict.paid_twice = stage.world.look().paid_twice;
    if verdict.paid_twice > 0 {
        wrong.push(format!("{} payees were paid twice", verdict.paid_twice));
    }
    for end in &ends {
        one(stage, &engine, end, &mut verdict, wrong);
    }
    for finding in engine.verify().await?.findings {
        let counter = if finding.rule == "evidence" { &mut verdict.without_evidence } else { &mut verdict.unbalanced };
        *counter += 1;
        wrong.push(format!("{}: {}", finding.rule, finding.text));
    }
    Ok(verdict)
}

/// One disbursement: has it an end, is the end proven, and is it what the provider's ledger says?
fn one(stage: &Stage, engine: &Engine, end: &End, verdict: &mut Verdict, wrong: &mut Vec<String>) {
    let reference = engine.reference(end.number);
    let mut inner = stage.world.look();
    let mut stages: BTreeMap<Standing, i64> = BTreeMap::new();
    for operator in &inner.operators {
        for (_, execution) in operator.of(reference) {
            *stages.entry(execution.stage).or_default() += 1;
        }
    }
    let count = |stage: Standing| stages.get(&stage).copied().unwrap_or(0);
    let state = State::from_code(end.state);
    let true_to_ledger = match state {
        Some(State::Settled) => count(Standing::Settled) == 1 && count(Standing::Pending) == 0,
        Some(State::Rejected) => count(Standing::Settled) == 0 && count(Standing::Pending) == 0,
        Some(State::Returned) => count(Standing::Returned) >= 1 && count(Standing::Settled) == 0,
        Some(State::Cancelled) => stages.is_empty(),
        _ => false,
    };
    if end.reason.as_deref() == Some("never_arrived") {
        inner.note(Rare::NeverArrived);
    }
    match state {
        Some(state) if state.is_final() => {
            if !end.proven && state != State::Cancelled {
                verdict.without_evidence += 1;
                wrong.push(format!("{reference} is {state} without evidence"));
            }
            if !true_to_ledger {
                verdict.unbalanced += 1;
                wrong.push(format!("{reference} is {state} and the provider has {stages:?}"));
            }
        }
        _ => {
            verdict.forgotten += 1;
            wrong.push(format!("{reference} has no end: {state:?}, the provider has {stages:?}"));
        }
    }
}
