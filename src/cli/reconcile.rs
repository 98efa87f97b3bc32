//! `paymaster reconcile`: what was instructed, acknowledged and booked, and the statements and files that say so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use paymaster_connectors::contract::{Currency, Money};
use serde_json::json;

use super::said;
use super::screen::Screen;
use crate::config::Config;
use crate::domain::id::{File, Id, Payroll, Statement};
use crate::domain::reconcile::{Legs, Sum};
use crate::engine::{Actor, Engine, Reconciliation};
use crate::store::reconcile::StatementLine;

#[derive(Debug, Subcommand)]
pub enum ReconcileCommand {
    /// Compare what was instructed, acknowledged and booked of one payroll; status 1 while anything differs
    Payroll {
        /// Which
        payroll: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List account statements, and how much of each was matched
    Statements {
        /// Only this provider's
        #[arg(long)]
        provider: Option<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// List the files that providers left
    Files {
        /// Only this provider's
        #[arg(long)]
        provider: Option<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Write out a file as it came
    File {
        /// Which
        file: String,
        /// Where to
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Look into a provider's folders soon, whatever they wait for
    Collect {
        /// Whose
        provider: String,
    },
}

/// Runs the command; false while anything differs.
pub async fn run(command: ReconcileCommand, config: &Config) -> Result<bool> {
    let (engine, actor) = super::open(config, "reader").await?;
    match command {
        ReconcileCommand::Payroll { payroll, json } => {
            let id = Id::parse(&payroll).with_context(|| format!("`{payroll}` is not the id of a payroll"))?;
            self::payroll(&engine, &actor, id, json).await
        }
        ReconcileCommand::Statements { provider, json } => {
            statements(&engine, provider.as_deref(), json).await.map(|()| true)
        }
        ReconcileCommand::Files { provider, json } => files(&engine, provider.as_deref(), json).await.map(|()| true),
        ReconcileCommand::File { file, out } => {
            let id = Id::parse(&file).with_context(|| format!("`{file}` is not the id of a file"))?;
            let mut into = std::io::BufWriter::new(std::fs::File::create(&out)?);
            ensure!(self::file(&engine, id, &mut into).await?, "there is no file {id}");
            Ok(true)
        }
        ReconcileCommand::Collect { provider } => {
            ensure!(engine.collect_soon(&provider).await?, "no worker has looked into a folder of {provider} yet");
            println!("A worker will look there now.");
            Ok(true)
        }
    }
}

/// Statements and files read at once.
const PAGE: i64 = 1_000;

/// Prints a payroll from three sides; false while anything differs.
async fn payroll(engine: &Engine, actor: &Actor, id: Id<Payroll>, json: bool) -> Result<bool> {
    let found = said(engine.reconciliation(&actor.scope, id).await)?;
    let screen = Screen { json };
    screen.line(describe(engine, &found));
    if json {
        let sum = |sum: Sum| json!({"payments": sum.payments, "minor": sum.minor});
        let legs = |legs: &Legs| {
            json!({
                "instructed": sum(legs.instructed), "acknowledged": sum(legs.acknowledged()), "debited": sum(legs.debited),
                "credited": sum(legs.credited), "settled": sum(legs.settled), "rejected": sum(legs.rejected),
                "returned": sum(legs.returned), "open": sum(legs.open),
            })
        };
        let batches = found.batches.iter().map(|batch| {
            json!({"batch": batch.id, "provider": batch.provider, "state": batch.state.name(), "execute_on": batch.execute_on,
                   "legs": legs(&batch.legs)})
        });
        screen.object(&json!({
            "payroll": found.payroll.id, "state": found.payroll.state.name(), "currency": found.payroll.currency.code(),
            "total": legs(&found.total), "batches": batches.collect::<Vec<_>>(), "exceptions": found.exceptions,
            "differences": found.differences.iter().map(|(name, of)| json!({"name": name, "sum": sum(*of)})).collect::<Vec<_>>(),
        }));
    }
    Ok(found.is_even())
}

/// A payroll from three sides, provider by provider.
pub fn describe(engine: &Engine, found: &Reconciliation) -> String {
    let currency = found.payroll.currency;
    let mut providers: BTreeMap<&str, Legs> = BTreeMap::new();
    for batch in &found.batches {
        let all = providers.entry(&batch.provider).or_default();
        *all = all.and(batch.legs);
    }
    let mut lines = vec![format!("Three ways, {} ({})", found.payroll.id, found.payroll.state)];
    let row = |name: &str, sum: Sum| format!("  {name:<34} {:>9}  {:>22}", sum.payments, money(sum.minor, currency));
    for (provider, legs) in providers {
        let by = if engine.has_statements(provider) { "its statements" } else { "its word" };
        lines.push(format!(" {provider}"));
        lines.push(row("instructed", legs.instructed));
        lines.push(row("acknowledged, rejections apart", legs.acknowledged()));
        lines.push(row(&format!("debited, by {by}"), legs.debited));
        lines.push(row("came back, likewise", legs.credited));
        lines.push(row("rejected", legs.rejected));
    }
    for (name, sum) in &found.differences {
        lines.push(row(&format!("DIFFERENCE: {name}"), *sum));
    }
    lines.push(match (found.differences.is_empty(), found.exceptions) {
        (true, 0) => String::from("  difference zero, no exception open"),
        (_, count) => format!("  not reconciled; {count} exceptions open (paymaster exceptions)"),
    });
    lines.join("\n")
}

fn money(minor: i64, currency: Currency) -> String {
    Money::new(minor, currency).to_string()
}

/// Lists statements, account by account as they came.
async fn statements(engine: &Engine, provider: Option<&str>, json: bool) -> Result<()> {
    let (screen, mut above) = (Screen { json }, 0);
    loop {
        let page = engine.statements(provider, above, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        above = last.number;
        for one in &page {
            screen.line(statement_line(one));
            if json {
                screen.object(&json!({
                    "statement": Id::<Statement>::new(one.number), "provider": one.provider, "account": one.account,
                    "kind": one.kind, "name": one.name.0, "sequence": one.name.1, "page": one.name.2, "day": one.day,
                    "currency": one.currency, "opening_minor": one.balances.0, "closing_minor": one.balances.1,
                    "debits_minor": one.sums.0, "credits_minor": one.sums.1, "proof": one.proof, "standing": one.standing,
                    "entries_of_payments": one.named, "entries_unknown": one.unknown.0, "unknown_debits_minor": one.unknown.1,
                    "unknown_credits_minor": one.unknown.2, "entries_that_differ": one.misfits, "unreadable": one.faults,
                    "fees_minor": one.fees_minor, "exceptions": one.exceptions, "reconciled": one.is_reconciled(),
                }));
            }
        }
    }
}

fn statement_line(one: &StatementLine) -> String {
    let currency = one.currency.as_deref().and_then(Currency::parse);
    let sum = |minor: i64| currency.map_or_else(|| minor.to_string(), |currency| money(minor, currency));
    let balance = |minor: Option<i64>| minor.map_or_else(|| String::from("?"), sum);
    format!(
        "{} {} {} {} {}: {} -> {}, out {}, in {}, {} payments, {} unknown, {} differ, fees {}: {}",
        one.day.as_deref().unwrap_or("????-??-??"),
        one.provider,
        one.account,
        one.kind,
        one.name.0,
        balance(one.balances.0),
        balance(one.balances.1),
        sum(one.sums.0),
        sum(one.sums.1),
        one.named,
        one.unknown.0,
        one.misfits,
        sum(one.fees_minor),
        if one.is_reconciled() { "reconciled" } else { &one.standing }
    )
}

/// Lists the files that providers left.
async fn files(engine: &Engine, provider: Option<&str>, json: bool) -> Result<()> {
    let (screen, mut above) = (Screen { json }, 0);
    loop {
        let page = engine.files(provider, above, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        above = last.id.number();
        for one in &page {
            let (kind, problem) = (one.kind.as_deref().unwrap_or("-"), one.problem.as_deref().unwrap_or(""));
            let (at, name) = (crate::clock::rfc3339(one.at), one.name.escape_debug());
            screen.line(format!(
                "{} {at} {} {name} {} bytes, {kind}, {} {problem}",
                one.id, one.provider, one.bytes, one.state
            ));
            if json {
                screen.object(&json!({
                    "file": one.id, "at": at, "provider": one.provider, "name": one.name, "bytes": one.bytes, "kind": kind,
                    "state": one.state, "problem": one.problem,
                }));
            }
        }
    }
}

/// Writes out a file as it came.
async fn file(engine: &Engine, id: Id<File>, out: &mut dyn std::io::Write) -> Result<bool> {
    let mut position = 0;
    while let Some(part) = engine.file_part(id, position).await? {
        out.write_all(&part)?;
        position += 1;
    }
    out.flush()?;
    Ok(position > 0)
}
