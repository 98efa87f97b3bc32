//! The command line: each command translates and calls an engine verb, or starts a role.
//! Deliberately not here: rules, and anything a browser or another system would need too.

mod bench;
mod books;
mod demo;
mod disbursement;
mod exceptions;
mod payroll;
mod reconcile;
mod report;
mod restored;
mod roles;
mod screen;
mod setup;
mod simulate;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Config;
use crate::engine::{Actor, Engine, Error};

/// Pays social-protection payrolls: nobody twice, nobody forgotten, every end with evidence.
#[derive(Debug, Parser)]
#[command(name = "paymaster", version, propagate_version = true)]
pub struct Cli {
    /// Configuration file (TOML); every key has a default
    #[arg(long, global = true, value_name = "FILE", env = "PAYMASTER_CONFIG")]
    config: Option<PathBuf>,
    /// postgres://… or a path to a SQLite file; stands above the configuration
    #[arg(long, global = true, value_name = "URL", env = "PAYMASTER_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pay a made-up payroll the whole way, against a sandbox on this machine
    Demo(demo::DemoArgs),
    /// Serve the HTTP API, and work unless the configuration says otherwise
    Serve,
    /// Drive batches and tell the registry; any number of these on one PostgreSQL
    Work,
    /// Bring the database's tables up to date
    Migrate,
    /// Recompute ledger, totals, partition and evidence, and name what does not hold
    Verify {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Tell it that its database was put back from a backup: providers are asked before anything is sent
    Restored(restored::RestoredArgs),
    /// Run the sandbox: a mobile-money operator and a registry, each with books of its own
    Sandbox(roles::SandboxArgs),
    /// Write a made-up payroll file and its declared totals
    Sample(setup::SampleArgs),
    /// Hand in, approve, release and follow payrolls
    #[command(subcommand)]
    Payroll(payroll::PayrollCommand),
    /// Stop one payment before it leaves, or let it go again
    #[command(subcommand)]
    Disbursement(disbursement::DisbursementCommand),
    /// Decide what contradicts or waits for a person: one proposes, another confirms
    Exceptions(exceptions::ExceptionsArgs),
    /// Compare what was instructed, acknowledged and booked; look at statements and files
    #[command(subcommand)]
    Reconcile(reconcile::ReconcileCommand),
    /// Write a table for people as CSV or spreadsheet, its sums held against the ledger
    Report(report::ReportArgs),
    /// Make programmes and cycles, fund programmes, hold beneficiaries
    #[command(subcommand)]
    Programme(setup::ProgrammeCommand),
    /// Make and end bearer tokens for the API
    #[command(subcommand)]
    Token(setup::TokenCommand),
    /// Measure the product against the floor of its database
    Bench(bench::BenchArgs),
    /// Prove the promise: seeds of a world in which everything goes wrong, judged by the providers' own ledgers
    Simulate(simulate::SimulateArgs),
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// Whether this command is a role that logs what it does; others speak to the person at the terminal.
    pub fn is_role(&self) -> bool {
        matches!(self.command, Command::Serve | Command::Work | Command::Sandbox(_))
    }

    /// Runs the command; false is a failure that has been explained already.
    pub async fn run(self) -> Result<bool> {
        let mut config = Config::read(self.config.as_deref())?;
        let given_url = self.database_url.is_some();
        if let Some(url) = self.database_url {
            config.database_url = url;
        }
        match self.command {
            Command::Demo(args) => demo::run(args, given_url.then_some(config.database_url)).await,
            Command::Serve => roles::serve(&config).await.map(|()| true),
            Command::Work => roles::work(&config).await.map(|()| true),
            Command::Migrate => {
                config.engine(true).await?;
                println!("The tables are up to date.");
                Ok(true)
            }
            Command::Verify { json } => books::verify(&*config.engine(false).await?, json).await,
            Command::Restored(args) => restored::run(&args, &config).await.map(|()| true),
            Command::Sandbox(args) => roles::sandbox(args).await.map(|()| true),
            Command::Sample(args) => setup::sample(&args).map(|()| true),
            Command::Payroll(command) => payroll::run(command, &config).await,
            Command::Disbursement(command) => disbursement::run(command, &config).await.map(|()| true),
            Command::Reconcile(command) => reconcile::run(command, &config).await,
            Command::Report(args) => report::run(args, &config).await,
            Command::Exceptions(args) => exceptions::run(args, &config).await.map(|()| true),
            Command::Programme(command) => setup::programme(command, &config).await.map(|()| true),
            Command::Token(command) => setup::token(command, &config).await.map(|()| true),
            Command::Bench(args) => bench::run(args, given_url.then_some(config.database_url)).await.map(|()| true),
            Command::Simulate(args) => simulate::run(args).await,
            Command::Completions { shell } => {
                clap_complete::generate(shell, &mut Self::command(), "paymaster", &mut std::io::stdout());
                Ok(true)
            }
        }
    }
}

/// The engine, its tables up to date, and the person who asks.
async fn open(config: &Config, person: &str) -> Result<(Arc<Engine>, Actor)> {
    let engine = config.engine(true).await?;
    let scope = said(engine.tenant(&config.tenant).await)?;
    Ok((engine, Actor { scope, person: person.to_owned() }))
}

/// A refusal in words.
fn said<T>(outcome: Result<T, Error>) -> Result<T> {
    outcome.map_err(|error| match error {
        Error::Refused(refused) => anyhow::anyhow!("{refused}"),
        Error::Failed(error) => error,
    })
}

/// Reads a decimal sum in a currency, zero allowed.
fn sum(text: &str, currency: paymaster_connectors::contract::Currency) -> Result<i64> {
    let decimal = rust_decimal::Decimal::from_str_exact(text).with_context(|| format!("`{text}` is not a sum"))?;
    let money = paymaster_connectors::contract::Money::from_decimal(decimal, currency)?;
    Ok(money.minor)
}

/// Tells the person at the terminal why nothing came of it.
pub fn complain(error: &anyhow::Error) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "paymaster: {error:#}");
}
