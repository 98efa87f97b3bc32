//! Exception commands: what is open, what one person proposes, what another confirms.
//! Deliberately not here: what may be decided.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::{open, said};
use crate::config::Config;
use crate::domain::exception::{Decision, decisions, matter};
use crate::domain::id::{Evidence, Exception, Id};
use crate::engine::{Engine, ProposalRequest};
use crate::store::notes::ExceptionRow;

#[derive(Debug, Subcommand)]
pub enum ExceptionsCommand {
    /// Print what waits for a decision, oldest first
    List,
    /// Propose a decision, for somebody else to confirm
    Propose(ProposeArgs),
    /// Take a proposal off again
    Withdraw {
        /// The exception, exc_…
        id: String,
        /// Who does this
        #[arg(long)]
        person: String,
    },
    /// Confirm what somebody else proposed: it takes effect
    Confirm {
        /// The exception, exc_…
        id: String,
        /// Who does this
        #[arg(long)]
        person: String,
    },
}

#[derive(Debug, Args)]
pub struct ProposeArgs {
    /// The exception, exc_…
    id: String,
    /// settled, rejected, returned, stands, send or withdraw
    #[arg(long, value_parser = decision)]
    decision: Decision,
    /// Why; it becomes part of the evidence
    #[arg(long)]
    reason: String,
    /// What it rests on beside what is known, evd_…
    #[arg(long)]
    evidence: Option<String>,
    /// Who does this
    #[arg(long)]
    person: String,
}

/// Exceptions read at once.
const PAGE: i64 = 500;

pub async fn run(command: ExceptionsCommand, config: &Config) -> Result<()> {
    let out = &mut std::io::stdout().lock();
    match command {
        ExceptionsCommand::List => {
            let (engine, actor) = open(config, "").await?;
            let mut above = 0;
            loop {
                let page = engine.exceptions(&actor.scope, above, PAGE).await?;
                let Some(last) = page.last() else { return Ok(()) };
                above = last.id.number();
                for row in &page {
                    out.write_all(describe(&engine, row)?.as_bytes())?;
                }
            }
        }
        ExceptionsCommand::Propose(ProposeArgs { id, decision, reason, evidence, person }) => {
            let (engine, actor) = open(config, &person).await?;
            let evidence = evidence.map(|text| {
                let id = Id::<Evidence>::parse(&text);
                id.with_context(|| format!("`{text}` is not an id of evidence; it begins with evd_"))
            });
            let request = ProposalRequest { decision, reason, evidence: evidence.transpose()? };
            let row = said(engine.propose(&actor, parse(&id)?, &request).await)?;
            out.write_all(describe(&engine, &row)?.as_bytes())?;
        }
        ExceptionsCommand::Withdraw { id, person } => {
            let (engine, actor) = open(config, &person).await?;
            let row = said(engine.withdraw_proposal(&actor, parse(&id)?).await)?;
            out.write_all(describe(&engine, &row)?.as_bytes())?;
        }
        ExceptionsCommand::Confirm { id, person } => {
            let (engine, actor) = open(config, &person).await?;
            let row = said(engine.confirm(&actor, parse(&id)?).await)?;
            out.write_all(describe(&engine, &row)?.as_bytes())?;
        }
    }
    Ok(())
}

fn parse(id: &str) -> Result<Id<Exception>> {
    Id::parse(id).with_context(|| format!("`{id}` is not an exception's id; it begins with exc_"))
}

fn decision(text: &str) -> Result<Decision, String> {
    let all = Decision::ALL.map(|(_, name)| name).join(", ");
    Decision::parse(text).ok_or_else(|| format!("a decision is one of {all}"))
}

fn describe(engine: &Engine, row: &ExceptionRow) -> Result<String> {
    let subject = engine.reference(row.subject);
    let mut text = format!("{} {} {} {}\n  {}\n", row.id, row.code, subject, row.provider, row.detail);
    if row.evidence > 0 {
        text.push_str(&format!("  evidence: {}\n", Id::<Evidence>::new(row.evidence)));
    }
    match (&row.handling.closed_at, &row.handling.proposal) {
        (Some(closed_at), _) => text.push_str(&format!("  closed: {}\n", crate::clock::rfc3339(*closed_at))),
        (None, Some(proposal)) => {
            let (decision, reason) = (proposal.decision.name(), engine.proposal_reason(proposal)?);
            text.push_str(&format!("  {} proposes {decision}: {reason}\n", proposal.by));
        }
        (None, None) => {
            let all: Vec<&str> = decisions(matter(&row.code)).iter().map(|one| one.name()).collect();
            text.push_str(&format!("  to decide: {}\n", all.join(", ")));
        }
    }
    Ok(text)
}
