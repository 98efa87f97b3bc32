//! The restored command: says what a restore from a backup came to, and what is left for a person.

use anyhow::Result;
use clap::Args;

use super::said;
use super::screen::Screen;
use crate::config::Config;
use crate::engine::Restored;

#[derive(Debug, Args)]
pub struct RestoredArgs {
    /// You have asked this provider, and it has none of the batches that wait: let them go
    #[arg(long, value_name = "PROVIDER", requires = "reason")]
    asked: Option<String>,
    /// How it was asked and what it said
    #[arg(long, value_name = "TEXT", requires = "asked")]
    reason: Option<String>,
    /// Who does this
    #[arg(long, default_value = "operator")]
    person: String,
}

/// What no database can know of the time it lost.
const TO_DO: [&str; 5] = [
    "Payrolls that were handed in or released after the backup: compare with the provider before handing them in again. \
     One that had been released: release it again, the provider is asked before anything is sent.",
    "Holds on beneficiaries, pauses and tokens that were ended after the backup: they are as they were before it.",
    "Funding after the backup: enter it again.",
    "Returns that providers reported after the backup: take them from their statements.",
    "Corrections by a person after the backup: make them again.",
];

/// Marks what must be asked about, or lets go what a person has asked about.
pub async fn run(args: &RestoredArgs, config: &Config) -> Result<()> {
    let engine = config.engine(true).await?;
    let screen = Screen { json: false };
    if let (Some(provider), Some(reason)) = (&args.asked, &args.reason) {
        let (batches, total) = said(engine.asked_by_person(&args.person, provider, reason).await)?;
        screen.line(format!("{batches} batches with {} payments may be sent to {provider}.", total.payments));
        return Ok(());
    }
    match engine.restored(&args.person, None).await? {
        Some(done) => tell(screen, &done),
        None => screen.line("Nothing was done."),
    }
    Ok(())
}

fn tell(screen: Screen, done: &Restored) {
    screen.line(format!("Restore {} of this database.", done.restores));
    screen.line(format!("{} batches that had left are in doubt, and are asked about now.", done.in_doubt));
    for (provider, batches, total, can_be_asked) in &done.to_ask {
        let payments = total.payments;
        screen.line(format!(
            "{provider} is asked about {batches} batches with {payments} payments before they are sent."
        ));
        if !can_be_asked {
            screen.line(format!(
                "  It cannot be asked by us. Ask it, and then run: paymaster restored --asked {provider} --reason TEXT"
            ));
        }
    }
    screen.line("What this database cannot know, and a person must look after:");
    for line in TO_DO {
        screen.line(format!("  - {line}"));
    }
}
