//! Exception commands: what is open, what one person proposes, what another confirms; one exception or a set.
//! Deliberately not here: what may be decided.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::{open, said};
use crate::config::Config;
use crate::domain::exception::{Decision, Owner, decisions, matter, owner};
use crate::domain::id::{Evidence, Exception, Id, Payroll};
use crate::engine::{Engine, ManyOutcome, ProposalRequest};
use crate::store::notes::ExceptionRow;
use crate::store::queue::Filter;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct ExceptionsArgs {
    /// Print what waits in sum: kind, owner, provider, how many, how many of them proposed, since when
    #[arg(long)]
    summary: bool,
    #[command(subcommand)]
    command: Option<ExceptionsCommand>,
}

#[derive(Debug, Subcommand)]
pub enum ExceptionsCommand {
    /// Print what waits for a decision, oldest first
    List(FilterArgs),
    /// Propose a decision, of one or of a set, for somebody else to confirm
    Propose(ProposeArgs),
    /// Take a proposal off again, or those of a set
    Withdraw(WhichArgs),
    /// Confirm what somebody else proposed, of one or of a set: it takes effect
    Confirm {
        /// What was proposed of a set; not needed for one
        #[arg(long, value_parser = decision, required_unless_present = "id", conflicts_with = "id")]
        decision: Option<Decision>,
        #[command(flatten)]
        which: WhichArgs,
    },
}

/// Which open exceptions; all that is given holds.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only of this kind; may be repeated
    #[arg(long)]
    code: Vec<String>,
    /// Only with this provider
    #[arg(long)]
    provider: Option<String>,
    /// Only about payments and batches of this payroll, prl_…
    #[arg(long)]
    payroll: Option<String>,
    /// Only of kinds that are this one's: registry, bank, finance or operations
    #[arg(long, value_parser = whose)]
    owner: Option<Owner>,
}

impl FilterArgs {
    fn read(self) -> Result<Filter> {
        let payroll = self.payroll.map(|text| {
            let id = Id::<Payroll>::parse(&text);
            id.with_context(|| format!("`{text}` is not a payroll's id; it begins with prl_"))
        });
        let (codes, provider, owner) = (self.code, self.provider, self.owner);
        Ok(Filter { codes, provider, payroll: payroll.transpose()?, owner, ..Filter::default() })
    }
}

/// One exception, or a set.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// The exception, exc_…; without it, all that the filter wants
    #[arg(conflicts_with_all = ["code", "provider", "payroll", "owner"])]
    id: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Who does this
    #[arg(long)]
    person: String,
}

#[derive(Debug, Args)]
pub struct ProposeArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// settled, rejected, returned, stands, send or withdraw
    #[arg(long, value_parser = decision)]
    decision: Decision,
    /// Why; it becomes part of the evidence
    #[arg(long)]
    reason: String,
    /// What it rests on beside what is known, evd_…
    #[arg(long)]
    evidence: Option<String>,
}

/// Exceptions read at once.
const PAGE: i64 = 500;

pub async fn run(args: ExceptionsArgs, config: &Config) -> Result<()> {
    let text = match args.command {
        Some(ExceptionsCommand::List(filter)) => return list(&filter.read()?, config).await,
        Some(ExceptionsCommand::Propose(args)) => propose(args, config).await?,
        Some(ExceptionsCommand::Withdraw(WhichArgs { id, filter, person })) => {
            let (engine, actor) = open(config, &person).await?;
            match id {
                Some(id) => describe(&engine, &said(engine.withdraw_proposal(&actor, parse(&id)?).await)?)?,
                None => counted(&said(engine.withdraw_many(&actor, &filter.read()?).await)?, "taken off"),
            }
        }
        Some(ExceptionsCommand::Confirm { decision, which: WhichArgs { id, filter, person } }) => {
            let (engine, actor) = open(config, &person).await?;
            match (id, decision) {
                (Some(id), _) => describe(&engine, &said(engine.confirm(&actor, parse(&id)?).await)?)?,
                (None, Some(decision)) => {
                    counted(&said(engine.confirm_many(&actor, &filter.read()?, decision).await)?, "decided")
                }
                (None, None) => anyhow::bail!("say which decision is confirmed"),
            }
        }
        None => summary(config).await?,
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

async fn list(filter: &Filter, config: &Config) -> Result<()> {
    let (engine, actor) = open(config, "").await?;
    let out = &mut std::io::stdout().lock();
    let mut above = 0;
    loop {
        let page = engine.exceptions_of(&actor.scope, filter, above, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        above = last.id.number();
        for row in &page {
            out.write_all(describe(&engine, row)?.as_bytes())?;
        }
    }
}

async fn propose(args: ProposeArgs, config: &Config) -> Result<String> {
    let ProposeArgs { which: WhichArgs { id, filter, person }, decision, reason, evidence } = args;
    let (engine, actor) = open(config, &person).await?;
    let evidence = evidence.map(|text| {
        let id = Id::<Evidence>::parse(&text);
        id.with_context(|| format!("`{text}` is not an id of evidence; it begins with evd_"))
    });
    let request = ProposalRequest { decision, reason, evidence: evidence.transpose()? };
    match id {
        Some(id) => describe(&engine, &said(engine.propose(&actor, parse(&id)?, &request).await)?),
        None => Ok(counted(&said(engine.propose_many(&actor, &filter.read()?, &request).await)?, "proposed")),
    }
}

async fn summary(config: &Config) -> Result<String> {
    let (engine, actor) = open(config, "").await?;
    let mut text = String::new();
    for line in engine.exceptions_summary(&actor.scope).await? {
        let (whose, since) = (owner(&line.code).name(), crate::clock::rfc3339(line.oldest_at));
        let (code, provider, open, proposed) = (line.code, line.provider, line.open, line.proposed);
        text.push_str(&format!("{code} {whose} {provider}: {open} open, {proposed} proposed, oldest {since}\n"));
    }
    Ok(text)
}

/// What became of a set.
fn counted(outcome: &ManyOutcome, done: &str) -> String {
    let mut text = format!("{} {done}\n", outcome.done);
    for one in &outcome.refused {
        let examples: Vec<String> = one.examples.iter().map(Id::to_string).collect();
        text.push_str(&format!("{} not, {}: {}\n  {}\n", one.count, one.code, one.text, examples.join(" ")));
    }
    if outcome.more {
        text.push_str("more are wanted than one call looks at: repeat it\n");
    }
    text
}

fn whose(text: &str) -> Result<Owner, String> {
    let all = Owner::ALL.map(|(_, name)| name).join(", ");
    Owner::parse(text).ok_or_else(|| format!("an owner is one of {all}"))
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
