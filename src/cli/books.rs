//! Compares books: ours against themselves, and ours against a sandbox's ledger and registry.

use std::collections::HashMap;

use anyhow::Result;
use paymaster_connectors::contract::Reference;
use paymaster_connectors::sandbox::{Net, Sandbox};

use super::said;
use super::screen::Screen;
use crate::domain::disbursement::State;
use crate::domain::id::{Id, Payroll};
use crate::engine::{Actor, Engine, Verification};

/// Rows read at once.
const PAGE: i64 = 1_000;

/// The verify command: false when anything does not hold.
pub async fn verify(engine: &Engine, json: bool) -> Result<bool> {
    let found = engine.verify().await?;
    let screen = Screen { json };
    screen.line(describe(&found));
    for finding in &found.findings {
        screen.line(format!("  {}: {}", finding.rule, finding.text));
    }
    if json {
        let findings: Vec<_> =
            found.findings.iter().map(|one| serde_json::json!({"rule": one.rule, "text": one.text})).collect();
        screen.object(&serde_json::json!({
            "payrolls": found.payrolls, "disbursements": found.disbursements, "programmes": found.programmes,
            "evidence": found.evidence, "statements": found.statements, "findings": findings,
        }));
    }
    Ok(found.findings.is_empty())
}

/// A verification in one line.
pub fn describe(found: &Verification) -> String {
    format!(
        "{} payrolls, {} disbursements, {} programmes, {} pieces of evidence, {} statements: {} findings",
        found.payrolls,
        found.disbursements,
        found.programmes,
        found.evidence,
        found.statements,
        found.findings.len()
    )
}

/// What comparing one payroll with the sandbox came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Rows without a proven end, or whose end the registry was not told.
    pub forgotten: u64,
    /// Rows credited more than once by the provider.
    pub paid_twice: u64,
    /// Rows where the provider's ledger says otherwise than our books.
    pub provider_differs: u64,
    /// Credits in the provider's ledger that we never ordered.
    pub provider_unknown: u64,
    /// Rows where the registry was told otherwise than our books say.
    pub registry_differs: u64,
    /// Credits by the provider's ledger, in minor units.
    pub provider_sum_minor: i64,
    /// Settlements the registry was told of, in minor units.
    pub registry_sum_minor: i64,
}

/// Goes through every row of a payroll and asks all other books about it: the operator's, the bank's, the registry's.
pub async fn compare(
    engine: &Engine,
    actor: &Actor,
    id: Id<Payroll>,
    (sandbox, bank): (&Sandbox, &HashMap<String, Net>),
) -> Result<Compared> {
    let mut credits: HashMap<Reference, (u32, i64)> = HashMap::new();
    let mut compared = Compared::default();
    sandbox.visit_ledger(|credit| match Reference::parse(&credit.reference) {
        Some(reference) => {
            let entry = credits.entry(reference).or_default();
            *entry = (entry.0 + 1, entry.1 + credit.amount_minor);
        }
        None => compared.provider_unknown += 1,
    });
    for (reference, net) in bank.iter().filter(|(_, net)| net.credits != 0) {
        match Reference::parse(reference) {
            Some(reference) => {
                let entry = credits.entry(reference).or_default();
                *entry = (entry.0 + u32::try_from(net.credits)?, entry.1 + net.sum_minor);
            }
            None => compared.provider_unknown += 1,
        }
    }
    let mut told: HashMap<Reference, (bool, i64)> = HashMap::new();
    for one in sandbox.outcomes() {
        if let Some(reference) = Reference::parse(&one.instruction) {
            told.insert(reference, (one.status == "succ", one.amount_minor.unwrap_or(0)));
        }
    }
    let mut above = 0;
    loop {
        let page = said(engine.disbursements(&actor.scope, id, &[], (above, PAGE)).await)?;
        let Some(last) = page.last() else { break };
        above = last.shown.number;
        for row in &page {
            let reference = engine.reference(row.shown.number);
            let (count, credited) = credits.remove(&reference).unwrap_or_default();
            compared.row(row.state, row.shown.amount_minor, (count, credited), told.get(&reference).copied());
        }
    }
    compared.provider_unknown += u64::try_from(credits.len())?;
    Ok(compared)
}

impl Compared {
    fn row(&mut self, state: State, amount_minor: i64, credit: (u32, i64), told: Option<(bool, i64)>) {
        let settled = state == State::Settled;
        self.paid_twice += u64::from(credit.0 > 1);
        self.provider_sum_minor += credit.1;
        self.provider_differs += u64::from(credit != if settled { (1, amount_minor) } else { (0, 0) });
        if !state.is_final() || told.is_none() {
            self.forgotten += 1;
        }
        if let Some((succ, sum)) = told {
            self.registry_sum_minor += if succ { sum } else { 0 };
            self.registry_differs += u64::from(succ != settled || sum != amount_minor);
        }
    }
}
