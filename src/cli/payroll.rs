//! Payroll commands: hand in, approve, release, follow, and get the rows that were not taken in.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::NaiveDate;
use clap::Subcommand;
use paymaster_connectors::contract::{Currency, Money};
use serde::Deserialize;

use super::setup::totals_file;
use super::{open, said, sum};
use crate::config::Config;
use crate::domain::id::{Id, Payroll};
use crate::domain::payroll::{PayrollKind, PayrollState};
use crate::domain::row::for_people;
use crate::engine::{Actor, Engine, IntakeRequest, PayrollStatus, Reasons};
use crate::store::payroll::{PayrollRow, Total};

#[derive(Debug, Subcommand)]
pub enum PayrollCommand {
    /// Take a payroll file in and submit it for approval
    Submit {
        /// The CSV file
        file: PathBuf,
        /// The programme that pays
        #[arg(long)]
        programme: String,
        /// The cycle it pays for
        #[arg(long)]
        cycle: String,
        /// payment, or reissue: pay again what was rejected, came back or was cancelled
        #[arg(long, default_value = "payment", value_parser = kind)]
        kind: PayrollKind,
        /// How many rows the file has; FILE.totals is read without it
        #[arg(long, requires = "sum")]
        rows: Option<i64>,
        /// Their sum, such as 1250000.00
        #[arg(long, requires = "rows")]
        sum: Option<String>,
        /// The day it is to be paid, YYYY-MM-DD
        #[arg(long)]
        pay_on: Option<NaiveDate>,
        /// Who does this
        #[arg(long)]
        person: String,
    },
    /// Approve a payroll that somebody else made
    Approve {
        /// The payroll, prl_…
        id: String,
        /// Who does this
        #[arg(long)]
        person: String,
    },
    /// Reserve its money and let it go
    Release {
        /// The payroll, prl_…
        id: String,
        /// Who does this
        #[arg(long)]
        person: String,
    },
    /// Pay again, to the same payees, what was rejected or came back (class stop only if told); submits it for approval
    Reissue {
        /// The payroll that was not paid in whole, prl_…
        id: String,
        /// Only what has this reason; may be given several times
        #[arg(long = "code")]
        codes: Vec<String>,
        /// Only what has a reason of this class; may be given several times, beside codes
        #[arg(long = "class")]
        classes: Vec<String>,
        /// Who does this
        #[arg(long)]
        person: String,
    },
    /// How far a payroll is
    Status {
        /// The payroll, prl_…
        id: String,
    },
    /// Write the rows that were not taken in, to mend and send again
    Rejects {
        /// The payroll, prl_…
        id: String,
    },
    /// Write every payment with its end, for people
    Export {
        /// The payroll, prl_…
        id: String,
    },
}

/// Declared totals in the file beside a payroll.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Totals {
    rows: i64,
    sum: String,
}

pub async fn run(command: PayrollCommand, config: &Config) -> Result<bool> {
    let out = &mut std::io::stdout().lock();
    match command {
        PayrollCommand::Submit { file, programme, cycle, kind, rows, sum, pay_on, person } => {
            let (engine, actor) = open(config, &person).await?;
            let declared = match (rows, sum) {
                (Some(rows), Some(sum)) => Totals { rows, sum },
                _ => read_totals(&file)?,
            };
            let request = IntakeRequest {
                programme,
                cycle,
                kind,
                declared: Total::default(),
                pay_on,
                idempotency_key: None,
                file,
            };
            submit(&engine, &actor, request, &declared, out).await
        }
        PayrollCommand::Approve { id, person } => {
            let (engine, actor) = open(config, &person).await?;
            let state = said(engine.approve_payroll(&actor, parse(&id)?).await)?;
            writeln!(out, "{id} {state}")?;
            Ok(true)
        }
        PayrollCommand::Release { id, person } => {
            let (engine, actor) = open(config, &person).await?;
            let state = said(engine.release_payroll(&actor, parse(&id)?).await)?;
            writeln!(out, "{id} {state}")?;
            Ok(true)
        }
        PayrollCommand::Reissue { id, codes, classes, person } => {
            let (engine, actor) = open(config, &person).await?;
            let row = said(engine.reissue_of(&actor, parse(&id)?, &Reasons { codes, classes }).await)?;
            hand_on(&engine, &actor, &row, out).await
        }
        PayrollCommand::Status { id } => {
            let (engine, actor) = open(config, "").await?;
            let status = said(engine.payroll_status(&actor.scope, parse(&id)?).await)?;
            out.write_all(describe(&status).as_bytes())?;
            Ok(true)
        }
        PayrollCommand::Rejects { id } => {
            let (engine, actor) = open(config, "").await?;
            write_rejects(&engine, &actor, parse(&id)?, out).await?;
            Ok(true)
        }
        PayrollCommand::Export { id } => {
            let (engine, actor) = open(config, "").await?;
            export(&engine, &actor, parse(&id)?, out).await?;
            Ok(true)
        }
    }
}

fn kind(text: &str) -> Result<PayrollKind, String> {
    PayrollKind::parse(text).ok_or_else(|| String::from("a payroll's kind is payment or reissue"))
}

pub fn parse(id: &str) -> Result<Id<Payroll>> {
    Id::parse(id).with_context(|| format!("`{id}` is not a payroll's id; it begins with prl_"))
}

fn read_totals(file: &Path) -> Result<Totals> {
    let path = totals_file(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("declare --rows and --sum, or write them to {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} cannot be read", path.display()))
}

async fn submit(
    engine: &Engine,
    actor: &Actor,
    mut request: IntakeRequest,
    declared: &Totals,
    out: &mut dyn Write,
) -> Result<bool> {
    let programme = said(engine.programme(&actor.scope, &request.programme).await)?;
    let currency = Currency::parse(&programme.currency).context("a stored currency is unknown")?;
    request.declared = Total { payments: declared.rows, sum_minor: sum(&declared.sum, currency)? };
    let row = said(engine.take_in(actor, &request).await)?;
    hand_on(engine, actor, &row, out).await
}

/// Submits a draft for approval and tells how far it is; false when the payroll was refused.
async fn hand_on(engine: &Engine, actor: &Actor, row: &PayrollRow, out: &mut dyn Write) -> Result<bool> {
    let refused = row.state == PayrollState::Refused;
    if row.state == PayrollState::Draft {
        said(engine.submit_payroll(actor, row.id).await)?;
    }
    let status = said(engine.payroll_status(&actor.scope, row.id).await)?;
    out.write_all(describe(&status).as_bytes())?;
    Ok(!refused)
}

/// How far a payroll is, in lines for people.
pub fn describe(status: &PayrollStatus) -> String {
    let row = &status.payroll;
    let total = |total: Total| {
        format!("{:>9} payments {:>20}", total.payments, Money::new(total.sum_minor, row.currency).to_string())
    };
    let mut lines = vec![format!("{} {} ({} {})", row.id, row.state, status.programme, status.cycle)];
    lines.extend(row.refusal.iter().map(|refusal| format!("  refused: {refusal}")));
    lines.push(format!("  {:<12}{}", "declared", total(row.declared)));
    lines.push(format!("  {:<12}{}", "file", total(row.file)));
    lines.push(format!("  {:<12}{}", "refused", total(row.refused)));
    lines.extend(status.refused_by_code.iter().map(|(code, sum)| format!("    {:<24}{}", code, total(*sum))));
    lines.push(format!("  {:<12}{}", "accepted", total(row.accepted)));
    if status.held.payments > 0 {
        lines.push(format!("  {:<12}{}", "held", total(status.held)));
    }
    if row.cancelled.payments > 0 {
        lines.push(format!("  {:<12}{}", "cancelled", total(row.cancelled)));
    }
    for one in &status.providers {
        lines.push(format!("  {} in {} batches", one.provider, one.batches));
        let stages = [
            ("waiting", one.waiting),
            ("in flight", one.in_flight),
            ("in doubt", one.in_doubt),
            ("settled", one.settled),
            ("rejected", one.rejected),
            ("returned", one.returned),
        ];
        let told = stages.iter().filter(|(name, sum)| sum.payments > 0 || *name == "settled");
        lines.extend(told.map(|(name, sum)| format!("    {name:<10}{}", total(*sum))));
    }
    for (_, class, code, sum) in &status.rejected_by_code {
        lines.push(format!("    {:<32}{}", format!("{code} ({class})"), total(*sum)));
    }
    for (state, messages, items) in &status.publications {
        lines.push(format!("  registry: {messages} messages with {items} outcomes {state}"));
    }
    lines.join("\n") + "\n"
}

/// Writes a payroll's reject file.
pub async fn write_rejects(engine: &Engine, actor: &Actor, id: Id<Payroll>, out: &mut dyn Write) -> Result<()> {
    let mut above = 0;
    loop {
        let (text, last) = said(engine.reject_page(&actor.scope, id, above).await)?;
        out.write_all(&text)?;
        let Some(last) = last else { return Ok(()) };
        above = last;
    }
}

/// Rows read at once for an export.
const EXPORT_PAGE: i64 = 1_000;

/// Writes every payment with its end. Texts are made safe for spreadsheets.
async fn export(engine: &Engine, actor: &Actor, id: Id<Payroll>, out: &mut dyn Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record([
        "reference",
        "entitlement",
        "instalment",
        "beneficiary_id",
        "payee_name",
        "payee_account",
        "amount",
        "currency",
        "provider",
        "state",
        "reason_class",
        "reason_code",
        "reason_text",
    ])?;
    let mut above = 0;
    loop {
        let page = said(engine.disbursements(&actor.scope, id, &[], (above, EXPORT_PAGE)).await)?;
        let Some(last) = page.last() else { break };
        above = last.shown.number;
        for row in &page {
            let (class, code) = row.shown.reason.clone().unwrap_or_default();
            let reason = row.reason_text.clone().unwrap_or_default();
            let reference = engine.reference(row.shown.number);
            writer.write_record([
                reference.as_str(),
                &for_people(&row.entitlement),
                &for_people(&row.instalment),
                &for_people(&row.beneficiary),
                &for_people(&row.payee_name),
                &for_people(&row.payee_account),
                &row.amount.decimal().to_string(),
                row.amount.currency.code(),
                &row.shown.provider,
                row.state.name(),
                &class,
                &code,
                &for_people(&reason),
            ])?;
        }
    }
    writer.flush()?;
    Ok(())
}
