//! Commands that set things up: programmes, cycles, funding, holds, tokens, and made-up payroll files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use paymaster_connectors::contract::{Currency, Money};

use super::{open, said, sum};
use crate::config::Config;
use crate::domain::id::Id;
use crate::engine::{CycleRequest, ProgrammeRequest, Role};
use crate::sample::Sample;

#[derive(Debug, Args)]
pub struct SampleArgs {
    /// How many rows
    #[arg(long, default_value_t = 10_000)]
    pub rows: u64,
    /// The same seed makes the same file
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// ISO 4217 code
    #[arg(long, default_value = "KES", value_parser = currency)]
    pub currency: Currency,
    /// Provider part of the payee accounts
    #[arg(long, default_value = "mobile-op")]
    pub provider: String,
    /// Bad rows in a thousand
    #[arg(long, default_value_t = 20)]
    pub bad_per_mille: u32,
    /// Where to write it; its totals go beside it, in FILE.totals
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

pub fn currency(code: &str) -> Result<Currency, String> {
    Currency::parse(code).ok_or_else(|| format!("`{code}` is not an ISO 4217 currency code"))
}

/// The name of the file with a payroll's declared totals.
pub fn totals_file(file: &std::path::Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".totals");
    PathBuf::from(name)
}

pub fn sample(args: &SampleArgs) -> Result<()> {
    let sample = Sample {
        bad_per_mille: args.bad_per_mille,
        ..Sample::new(args.rows, args.seed, args.currency, &args.provider)
    };
    let mut out =
        BufWriter::new(File::create(&args.file).with_context(|| format!("cannot write {}", args.file.display()))?);
    let declared = crate::sample::write(&sample, &mut out)?;
    out.flush()?;
    let total = Money::new(declared.sum_minor, args.currency);
    std::fs::write(totals_file(&args.file), format!("rows = {}\nsum = \"{}\"\n", declared.rows, total.decimal()))?;
    println!("{} rows, {total}: {}", declared.rows, args.file.display());
    Ok(())
}

#[derive(Debug, Subcommand)]
pub enum ProgrammeCommand {
    /// Make a programme, or bring its settings up to date
    Create {
        /// Short name
        code: String,
        /// Shown name
        #[arg(long)]
        name: Option<String>,
        /// ISO 4217 code
        #[arg(long, value_parser = currency)]
        currency: Currency,
        /// Refuse a payroll as a whole when one row is bad
        #[arg(long)]
        all_or_nothing: bool,
        /// Ceiling of one payment
        #[arg(long)]
        amount_max: Option<String>,
        /// Flag payee accounts that more rows share
        #[arg(long)]
        shared_account_max: Option<i64>,
        /// Who does this
        #[arg(long)]
        person: String,
    },
    /// Make a cycle, a period the programme pays for
    Cycle {
        /// The programme
        programme: String,
        /// Short name, such as 2026-11
        code: String,
        /// First day, YYYY-MM-DD
        #[arg(long)]
        first_day: NaiveDate,
        /// Last day, YYYY-MM-DD
        #[arg(long)]
        last_day: NaiveDate,
        /// Who does this
        #[arg(long)]
        person: String,
    },
    /// Add money to the programme's funding account
    Fund {
        /// The programme
        programme: String,
        /// How much, such as 1250000.00
        amount: String,
        /// The warrant or transfer it came by
        #[arg(long, default_value = "")]
        note: String,
        /// Who does this
        #[arg(long)]
        person: String,
    },
    /// Hold a beneficiary: later rows for them are held
    Hold {
        /// The programme
        programme: String,
        /// The beneficiary's id, as in payroll files
        beneficiary: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Who does this
        #[arg(long)]
        person: String,
    },
}

pub async fn programme(command: ProgrammeCommand, config: &Config) -> Result<()> {
    match command {
        ProgrammeCommand::Create { code, name, currency, all_or_nothing, amount_max, shared_account_max, person } => {
            let (engine, actor) = open(config, &person).await?;
            let amount_minor_max = amount_max.map(|text| sum(&text, currency)).transpose()?;
            let name = name.unwrap_or_else(|| code.clone());
            let request =
                ProgrammeRequest { code, name, currency, all_or_nothing, amount_minor_max, shared_account_max };
            let row = said(engine.save_programme(&actor, &request).await)?;
            println!("{} {}", row.id, row.code);
        }
        ProgrammeCommand::Cycle { programme, code, first_day, last_day, person } => {
            let (engine, actor) = open(config, &person).await?;
            let id = said(engine.make_cycle(&actor, &programme, &CycleRequest { code, first_day, last_day }).await)?;
            println!("{id}");
        }
        ProgrammeCommand::Fund { programme, amount, note, person } => {
            let (engine, actor) = open(config, &person).await?;
            let row = said(engine.programme(&actor.scope, &programme).await)?;
            let currency = Currency::parse(&row.currency).context("a stored currency is unknown")?;
            let available = said(engine.fund(&actor, &programme, sum(&amount, currency)?, &note).await)?;
            println!("available: {}", Money::new(available, currency));
        }
        ProgrammeCommand::Hold { programme, beneficiary, reason, person } => {
            let (engine, actor) = open(config, &person).await?;
            said(engine.hold_beneficiary(&actor, &programme, &beneficiary, &reason).await)?;
            println!("held");
        }
    }
    Ok(())
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a bearer token; its secret is printed once
    Create {
        /// What its holder may do
        #[arg(long, value_enum)]
        role: Role,
        /// Whose it is; a person cannot approve what they made, whatever token they come with
        #[arg(long)]
        person: String,
    },
    /// End a token
    Revoke {
        /// Its id, tok_…
        id: String,
    },
}

pub async fn token(command: TokenCommand, config: &Config) -> Result<()> {
    let (engine, actor) = open(config, "command line").await?;
    match command {
        TokenCommand::Create { role, person } => {
            let (id, secret) = said(engine.make_token(&actor.scope, &person, role).await)?;
            println!("{id}\n{secret}");
        }
        TokenCommand::Revoke { id } => {
            let id = Id::parse(&id).context("a token's id begins with tok_")?;
            said(engine.revoke_token(&actor.scope, id).await)?;
            println!("ended");
        }
    }
    Ok(())
}
