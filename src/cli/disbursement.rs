//! Commands on one payment before it leaves: hold it, let it go, cancel it.
//! Deliberately not here: what can still be stopped.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::{open, said};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub enum DisbursementCommand {
    /// Stop it before it leaves
    Hold(StopArgs),
    /// Let it go again, in a batch of its own
    Unhold(StopArgs),
    /// Withdraw it before it leaves
    Cancel(StopArgs),
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Its reference, 16 characters
    reference: String,
    /// Why, without personal data
    #[arg(long)]
    reason: String,
    /// Who does this
    #[arg(long)]
    person: String,
}

pub async fn run(command: DisbursementCommand, config: &Config) -> Result<()> {
    let (DisbursementCommand::Hold(args) | DisbursementCommand::Unhold(args) | DisbursementCommand::Cancel(args)) =
        &command;
    let (engine, actor) = open(config, &args.person).await?;
    let reference = engine.own_reference(&args.reference);
    let number = reference.with_context(|| format!("`{}` is no reference of ours", args.reference))?.number();
    match &command {
        DisbursementCommand::Hold(args) => said(engine.hold(&actor, number, &args.reason).await)?,
        DisbursementCommand::Unhold(args) => said(engine.unhold(&actor, number, &args.reason).await)?,
        DisbursementCommand::Cancel(args) => said(engine.cancel(&actor, number, &args.reason).await)?,
    }
    let found = said(engine.disbursement(&actor.scope, number).await)?;
    println!("{} {}", args.reference, found.state);
    Ok(())
}
