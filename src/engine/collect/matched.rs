//! Matches a file's counted statements batch by batch: entries that name payments of ours become reports, the rest
//! is looked at one by one.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, ensure};
use chrono::NaiveDate;
use paymaster_connectors::contract::{
    Direction, Instruction, Message, Outcome, REFERENCE_CHARS, Reason, ReasonClass, Report, StatementKind,
};
use serde_json::json;

use super::statement::title;
use super::stored::Rest;
use crate::domain::batch::effective;
use crate::domain::disbursement::State;
use crate::domain::id::{Batch, Id};
use crate::domain::matching::{Line, LineKind, Misfit, Ordered, meaning, report, source};
use crate::engine::Engine;
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::disbursement::{self, Member};
use crate::store::file::{FileRow, Held};
use crate::store::payroll::Total;
use crate::store::seal::hex;
use crate::store::statement::{self, Booked, EntryRow, StatementRow};

/// Entries beyond two for each payment that one statement may have of a batch.
const ENTRIES_BEYOND: i64 = 1_000;
/// Microseconds of a day: a bank may be that far ahead of our clock.
const DAY_MICROS: i64 = 86_400_000_000;

/// A counted statement of a file.
pub(super) struct Counted<'a> {
    pub file: &'a FileRow,
    pub row: &'a StatementRow,
    pub kind: StatementKind,
}

/// What matching a batch's entries comes to.
#[derive(Default)]
struct Matched {
    reports: Vec<Report>,
    /// The entry of each report: place in the statement and in the entry.
    places: Vec<(i64, i64)>,
    misfits: Vec<(i64, Misfit)>,
    verdicts: BTreeMap<&'static str, Vec<i64>>,
    booked: Booked,
}

impl Engine {
    /// Does what the counted statements of a file say.
    pub(super) async fn match_statements(&self, held: &Held, file: &FileRow) -> Result<()> {
        let mut tx = self.store.read().await?;
        let rows = statement::of_file(&mut tx, file.id).await?;
        drop(tx);
        for row in rows.iter().filter(|row| row.standing == "counted") {
            let kind = StatementKind::parse(&row.kind).context("a stored kind of statement is unknown")?;
            let counted = Counted { file, row, kind };
            self.match_statement(held, &counted).await.with_context(|| title(row))?;
        }
        Ok(())
    }

    async fn match_statement(&self, held: &Held, counted: &Counted<'_>) -> Result<()> {
        let (mut above, mut named) = (0, 0);
        loop {
            let mut tx = self.store.read().await?;
            let Some(id) = statement::next_batch(&mut tx, counted.row, above).await? else { break };
            let row = batch::get_any(&mut tx, id).await?.context("a batch is gone")?;
            drop(tx);
            self.hold_on(held).await?;
            named += self.match_batch(counted, &row).await?;
            above = row.numbers.1;
        }
        if named < counted.row.named {
            let mut tx = self.store.begin().await?;
            statement::disown(&mut tx, counted.row).await?;
            tx.commit().await?;
        }
        self.match_unnamed(held, counted).await?;
        let mut tx = self.store.begin().await?;
        statement::set_matched(&mut tx, counted.row.id, self.clock.now()).await?;
        tx.commit().await
    }

    /// Matches the entries that name payments of one batch; how many there are.
    async fn match_batch(&self, counted: &Counted<'_>, row: &BatchRow) -> Result<i64> {
        let mut tx = self.store.read().await?;
        if statement::is_booked(&mut tx, counted.row.id, row.id).await? {
            return Ok(0);
        }
        let limit = 2 * row.total.payments + ENTRIES_BEYOND;
        let entries = statement::of_batch(&mut tx, counted.row.id, row.id, row.numbers, limit).await?;
        ensure!(
            i64::try_from(entries.len())? < limit,
            "{} has more entries of {} than can be true",
            counted.row.id,
            row.id
        );
        let members = disbursement::members(&mut tx, row.id, row.numbers).await?;
        let debited = self.debited(&mut tx, counted, row, &members, &entries).await?;
        let facts = self.outgoing(&mut tx, row, members).await?.instructions;
        drop(tx);
        let matched = self.weigh_entries(counted, row, (&facts, debited), &entries)?;
        if !matched.reports.is_empty() {
            let message = self.statement_message(counted, &matched.places)?;
            self.apply(row.id, &facts, &[(message, matched.reports)], None).await?;
        }
        let mut tx = self.store.begin().await?;
        for (number, misfit) in &matched.misfits {
            let text = format!("{}, in {}", title(counted.row), counted.file.id);
            let whose = (row.provider.as_str(), row.programme);
            self.alarm_of(&mut tx, whose, (misfit.code(), *number), &text).await?;
        }
        for (verdict, numbers) in &matched.verdicts {
            statement::set_verdict(&mut tx, numbers, verdict, Some(row.id)).await?;
        }
        if counted.kind == StatementKind::Statement {
            statement::book(&mut tx, counted.row.id, row.id, &matched.booked).await?;
        }
        tx.commit().await?;
        Ok(i64::try_from(entries.len())?)
    }

    /// Which payments an earlier statement debits. Only what has an end can have been.
    async fn debited(
        &self,
        tx: &mut Tx,
        counted: &Counted<'_>,
        row: &BatchRow,
        members: &[Member],
        entries: &[EntryRow],
    ) -> Result<HashSet<i64>> {
        let paid = |member: &&Member| matches!(effective(member.state, row.state), State::Settled | State::Returned);
        let ended: HashSet<i64> = members.iter().filter(paid).map(|member| member.number).collect();
        let named: Vec<i64> =
            entries.iter().filter(|one| ended.contains(&one.disbursement)).map(|one| one.disbursement).collect();
        if named.is_empty() || counted.kind != StatementKind::Statement {
            return Ok(HashSet::new());
        }
        Ok(statement::debited_before(tx, counted.row.id, &named).await?.into_iter().collect())
    }

    fn weigh_entries(
        &self,
        counted: &Counted<'_>,
        row: &BatchRow,
        (facts, mut debited): (&[Instruction], HashSet<i64>),
        entries: &[EntryRow],
    ) -> Result<Matched> {
        let mut matched = Matched::default();
        let not_before = day_before(row.first_copy_at);
        for entry in entries {
            let number = entry.disbursement;
            let Ok(at) = facts.binary_search_by_key(&number, |fact| fact.reference.number()) else {
                // It left its batch a moment ago, unsent: `apply` tells a person.
                matched.push_unknown(self, entry);
                continue;
            };
            let fact = &facts[at];
            let line = self.line(entry)?;
            let ordered = Ordered {
                amount: fact.amount,
                payee_account: &fact.payee_account,
                not_before,
                debited: debited.contains(&number),
            };
            let is_debit = line.direction == Direction::Debit;
            if matches!(line.kind, LineKind::Payment | LineKind::Return) {
                matched.book(entry, is_debit)?;
            }
            match meaning(&line, &ordered) {
                Ok(None) => {}
                Ok(Some(outcome)) => {
                    if is_debit && counted.kind == StatementKind::Statement {
                        debited.insert(number);
                    }
                    if line.amount != fact.amount {
                        matched.verdicts.entry("differs").or_default().push(entry.number);
                    }
                    matched.places.push((entry.position, entry.detail));
                    matched.reports.push(report(&line, &ordered, Report::instruction(fact.reference, outcome)));
                }
                Err(misfit) => {
                    matched.misfits.push((number, misfit));
                    matched.verdicts.entry(misfit.code()).or_default().push(entry.number);
                }
            }
        }
        Ok(matched)
    }

    /// A stored entry as the rules read it.
    pub(super) fn line(&self, entry: &EntryRow) -> Result<Line> {
        let rest = self.rest(entry)?;
        let reason = rest.reason.map(|(class, code, text)| {
            Reason::new(ReasonClass::parse(&class).unwrap_or(ReasonClass::Unknown), code, text)
        });
        Ok(Line {
            kind: LineKind::parse(&entry.kind).context("a stored kind of entry is unknown")?,
            direction: if entry.is_debit { Direction::Debit } else { Direction::Credit },
            amount: entry.amount,
            booked_on: entry.booked_on.as_deref().map(str::parse).transpose()?,
            account: rest.account,
            bank_reference: rest.bank_reference,
            reason,
        })
    }

    pub(super) fn rest(&self, entry: &EntryRow) -> Result<Rest> {
        Ok(serde_json::from_slice(&self.store.keys.open(&entry.sealed)?)?)
    }

    /// The evidence: which entries of which statement of which stored file; a report's place is an entry's place.
    pub(super) fn statement_message(&self, counted: &Counted<'_>, places: &[(i64, i64)]) -> Result<Message> {
        let file = counted.file;
        let bytes = serde_json::to_vec(&json!({
            "file": file.id, "name": file.name, "sha256": hex(&file.sha256), "statement": counted.row.name,
            "account": counted.row.account, "entries": places,
        }))?;
        let origin = format!("{} of {}", counted.row.id, file.id);
        Ok(Message { source: source(counted.kind), origin, bytes: bytes.into() })
    }
}

impl Matched {
    fn book(&mut self, entry: &EntryRow, is_debit: bool) -> Result<()> {
        let side = if is_debit { &mut self.booked.debits } else { &mut self.booked.credits };
        let more = Total { payments: entry.payments, sum_minor: entry.amount.minor };
        *side = side.and(more).context("the sum of a batch's entries is too large")?;
        Ok(())
    }

    /// An entry for what never left: the report makes the contradiction.
    fn push_unknown(&mut self, engine: &Engine, entry: &EntryRow) {
        let outcome = if entry.is_debit {
            Outcome::Settled
        } else {
            Outcome::Returned(Reason::unknown("unstated", "the bank does not say why"))
        };
        self.places.push((entry.position, entry.detail));
        self.reports.push(Report::instruction(engine.reference(entry.disbursement), outcome));
        self.verdicts.entry("never_sent").or_default().push(entry.number);
    }
}

/// The earliest day on which something that left at this instant can have been booked.
fn day_before(first_copy_at: i64) -> NaiveDate {
    let at = chrono::DateTime::from_timestamp_micros(first_copy_at.saturating_sub(DAY_MICROS));
    at.unwrap_or_default().date_naive()
}

/// The batch a name means, if it is one of this provider's: the names of what is inside a file begin with the file's.
pub(super) async fn batch_named(engine: &Engine, tx: &mut Tx, provider: &str, name: &str) -> Result<Option<BatchRow>> {
    let file = name.get(..REFERENCE_CHARS).unwrap_or(name);
    let Some(reference) = engine.own_reference(file) else { return Ok(None) };
    let found = batch::get_any(tx, Id::<Batch>::new(reference.number())).await?;
    Ok(found.filter(|row| row.provider == provider))
}
