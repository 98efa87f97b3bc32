//! The report command: a table for people, as CSV on the terminal or as a file.
//! Deliberately not here: what stands in a report.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use paymaster_connectors::contract::Money;

use super::payroll::parse;
use super::{open, said};
use crate::config::Config;
use crate::engine::paper::Paper;
use crate::engine::{Narrow, REPORTS, ReportName};

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// unpaid, in_doubt, in_transit, returns, fees or statement_differences
    #[arg(value_parser = name)]
    name: ReportName,
    /// Only of this programme
    #[arg(long)]
    programme: Option<String>,
    /// Only of this payroll, prl_…
    #[arg(long)]
    payroll: Option<String>,
    /// Only through this provider
    #[arg(long)]
    provider: Option<String>,
    /// csv or xlsx
    #[arg(long, default_value = "csv", value_parser = paper)]
    format: Paper,
    /// Where to write it; the terminal unless told
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn name(text: &str) -> Result<ReportName, String> {
    let all = REPORTS.map(|(_, name, _)| name).join(", ");
    ReportName::parse(text).ok_or_else(|| format!("a report is one of {all}"))
}

fn paper(text: &str) -> Result<Paper, String> {
    Paper::parse(text).ok_or_else(|| String::from("a report is written as csv or xlsx"))
}

/// Writes a report; false when a sum of it is not what the books say.
pub async fn run(args: ReportArgs, config: &Config) -> Result<bool> {
    if args.format == Paper::Xlsx && args.out.is_none() {
        bail!("a spreadsheet is a file: say where with --out");
    }
    let (engine, actor) = open(config, "").await?;
    let payroll = args.payroll.as_deref().map(parse).transpose()?;
    let narrow = Narrow { programme: args.programme, payroll, provider: args.provider };
    let table = said(engine.report(&actor.scope, args.name, &narrow).await)?;
    let bytes = args.format.write(&table)?;
    match &args.out {
        Some(path) => std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?,
        None => std::io::stdout().lock().write_all(&bytes)?,
    }
    let mut holds = true;
    for check in table.checks.iter().filter(|check| !check.holds()) {
        holds = false;
        let [report, books] = [check.report_minor, check.ledger_minor].map(|minor| Money::new(minor, check.currency));
        writeln!(std::io::stderr(), "{}: the report says {report}, the books say {books}", check.what)?;
    }
    Ok(holds)
}
