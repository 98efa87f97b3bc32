//! A bank's status report: which batch it is about, whether it can be, and what its lines come to.
//! A report that names nothing of ours, or counts otherwise than we do, has no effect and is told.

use std::collections::BTreeMap;

use anyhow::Result;
use paymaster_connectors::contract::{
    About, Instruction, Message, Money, Outcome, Reason, ReasonClass, Report, Source, StatusHead,
};
use serde_json::json;

use super::matched::batch_named;
use super::stored::{Reading, Status, Told};
use crate::domain::matching::names;
use crate::engine::Engine;
use crate::store::batch::BatchRow;
use crate::store::disbursement;
use crate::store::file::{FileRow, Held};
use crate::store::seal::hex;

/// Alarms of one kind that are told in words.
const TOLD_MAX: usize = 3;

/// A status report while it is read.
struct Telling {
    row: BatchRow,
    /// How our name for every group of payments in the file begins.
    group: String,
    facts: Vec<Instruction>,
    /// Lines applied so far.
    lines: usize,
    alarms: BTreeMap<&'static str, (usize, Vec<String>)>,
    /// Some payment of a refused file is said not to be refused: then nothing is refused as a whole.
    contradicts: bool,
    refusal: Option<Reason>,
}

impl Engine {
    /// Applies a status report. Returns why it has no effect, if it has none.
    pub(super) async fn read_status(
        &self,
        held: &Held,
        file: &FileRow,
        head: StatusHead,
        reading: &mut Reading,
    ) -> Result<Option<String>> {
        let mut telling = match self.original(file, &head).await? {
            Ok(telling) => telling,
            Err((code, text)) => {
                while reading.next().await.is_some() {}
                let mut tx = self.store.begin().await?;
                self.alarm(&mut tx, &file.provider, (code, file.id.number()), &text).await?;
                tx.commit().await?;
                return Ok(Some(text));
            }
        };
        while let Some(Told::Statuses(lines)) = reading.next().await {
            self.hold_on(held).await?;
            let count = lines.len();
            let reports: Vec<Report> = lines.into_iter().filter_map(|line| telling.report(line)).collect();
            if !reports.is_empty() {
                let message = status_message(file, &head, telling.lines)?;
                self.apply(telling.row.id, &telling.facts, &[(message, reports)], None).await?;
            }
            telling.lines += count;
        }
        self.tell_alarms(file, telling).await?;
        Ok(None)
    }

    /// The batch that a status report is about, if it can be about it.
    async fn original(&self, file: &FileRow, head: &StatusHead) -> Result<Result<Telling, (&'static str, String)>> {
        let name = file.name.escape_debug();
        let Some(original) = &head.original_message_id else {
            let text = format!("{name}: the bank could not tell which file of ours it speaks of; ask the bank");
            return Ok(Err(("status_without_original", text)));
        };
        let mut tx = self.store.read().await?;
        let Some(row) = batch_named(self, &mut tx, &file.provider, original).await? else {
            let text = format!("{name}: it speaks of {}, which is no file of ours", original.escape_debug());
            return Ok(Err(("status_foreign", text)));
        };
        let sum = Money::new(row.total.sum_minor, row.currency).decimal();
        let counts = head.original_count.is_none_or(|count| i64::try_from(count) == Ok(row.total.payments));
        if !counts || head.original_sum.is_some_and(|said| said != sum) {
            let text = format!(
                "{name}: it speaks of {} payments and {}, and {} has {} and {sum}",
                head.original_count.map_or_else(|| String::from("?"), |count| count.to_string()),
                head.original_sum.map_or_else(|| String::from("?"), |sum| sum.to_string()),
                row.id,
                row.total.payments
            );
            return Ok(Err(("status_totals_differ", text)));
        }
        let members = disbursement::members(&mut tx, row.id, row.numbers).await?;
        let facts = self.outgoing(&mut tx, &row, members).await?.instructions;
        let (alarms, refusal) = (BTreeMap::new(), None);
        let group = self.reference(row.id.number()).to_string();
        Ok(Ok(Telling { row, group, facts, lines: 0, alarms, contradicts: false, refusal }))
    }

    async fn tell_alarms(&self, file: &FileRow, mut telling: Telling) -> Result<()> {
        if let Some(reason) = telling.refusal.take() {
            let code = if reason.class == ReasonClass::Duplicate { "said_duplicate" } else { "file_refused" };
            telling.alarms.insert(code, (1, vec![reason.to_string()]));
        }
        let mut tx = self.store.begin().await?;
        for (code, (count, texts)) in &telling.alarms {
            let text = format!("{}: {count}: {}", file.name.escape_debug(), texts.join("; "));
            let whose = (telling.row.provider.as_str(), telling.row.programme);
            self.alarm_of(&mut tx, whose, (code, telling.row.id.number()), &text).await?;
        }
        tx.commit().await
    }
}

impl Telling {
    /// What may be applied of a line.
    fn report(&mut self, line: Status) -> Option<Report> {
        if let Some((code, text)) = line.alarm {
            self.contradicts |= code == "contradicts_group";
            let told = self.alarms.entry(code).or_default();
            told.0 += 1;
            if told.1.len() < TOLD_MAX {
                told.1.push(text.chars().take(80).collect());
            }
        }
        if !line.payment_information_id.is_empty() && !line.payment_information_id.starts_with(&self.group) {
            let told = self.alarms.entry("status_foreign_group").or_default();
            told.0 += 1;
            return None;
        }
        let mut report = line.report?;
        match report.about {
            About::Batch => self.of_the_whole(&report).then_some(report),
            About::Instruction(one) => {
                let fact = self.facts.binary_search_by_key(&one.number(), |fact| fact.reference.number());
                let fact = fact.ok().map(|at| &self.facts[at]);
                if let Some(fact) = fact
                    && line.is_payment
                    && !line.payee_account.is_empty()
                    && !names(&fact.payee_account, &line.payee_account)
                {
                    report.payee_account = Some(line.payee_account);
                }
                Some(report)
            }
        }
    }

    /// Whether what is said of the whole file may be applied to whoever was not named.
    fn of_the_whole(&mut self, report: &Report) -> bool {
        let Outcome::Rejected(reason) = &report.outcome else { return true };
        if self.contradicts {
            return false;
        }
        self.refusal = Some(reason.clone());
        true
    }
}

/// The evidence: which file, and from which of its lines on the reports count.
fn status_message(file: &FileRow, head: &StatusHead, from_line: usize) -> Result<Message> {
    let bytes = serde_json::to_vec(&json!({
        "file": file.id, "name": file.name, "sha256": hex(&file.sha256), "message_id": head.message_id,
        "from_line": from_line,
    }))?;
    Ok(Message { source: Source::StatusFile, origin: format!("status report {}", file.id), bytes: bytes.into() })
}
