//! Stages the statements of a file entry by entry, and then settles which of them count: one that does not add up
//! does not, nor does a repeat of one that is known; gaps and other opening balances are told.

use anyhow::{Context, Result};
use paymaster_connectors::contract::{Check, EntryFault, StatementEnd, StatementHead, StatementKind};

use super::stored::{Reading, Told};
use crate::domain::id::Id;
use crate::engine::Engine;
use crate::store::db::Tx;
use crate::store::file::{FileRow, Held};
use crate::store::statement::{self, Lines, StatementRow};
use crate::store::{exception, file};

/// Faults of a statement that are told in words; the rest as a number.
const FAULTS_TOLD_MAX: usize = 5;

/// A statement while its entries come.
struct Staging {
    row: StatementRow,
    faults: Vec<String>,
}

impl Engine {
    /// Stages what stands in a file that begins with a statement. Returns what went wrong, if anything did.
    pub(super) async fn stage_statements(
        &self,
        held: &Held,
        file: &FileRow,
        first: Told,
        reading: &mut Reading,
    ) -> Result<Option<String>> {
        self.unstage(file).await?;
        let (mut staging, mut problems, mut told) = (None, Vec::new(), Some(first));
        while let Some(one) = told {
            match one {
                Told::Head(head) => staging = Some(self.begin_statement(file, &head).await?),
                Told::Lines(lines) => self.stage(held, inside(&mut staging)?, lines).await?,
                Told::Fault(fault) => inside(&mut staging)?.note(&fault),
                Told::End(end) => {
                    let staged = staging.take().context("a statement ended that had not begun")?;
                    problems.extend(self.end_statement(staged, &end).await?);
                }
                Told::Status(_) | Told::Statuses(_) => anyhow::bail!("a statement turned into a status report"),
            }
            told = reading.next().await;
        }
        Ok((!problems.is_empty()).then(|| problems.join("; ")))
    }

    /// Takes off what an earlier reading of the file staged.
    pub(super) async fn unstage(&self, file: &FileRow) -> Result<()> {
        let mut tx = self.store.begin().await?;
        statement::forget_of(&mut tx, file.id).await?;
        tx.commit().await
    }

    async fn begin_statement(&self, file: &FileRow, head: &StatementHead) -> Result<Staging> {
        let now = self.clock.now();
        let day = |day: Option<chrono::NaiveDate>| day.map(|day| day.to_string());
        let opening = head.opening;
        let row = StatementRow {
            id: Id::new(self.store.draw(1, now).await?.take()?),
            file: file.id,
            provider: file.provider.clone(),
            kind: head.kind.name().to_owned(),
            name: head.id.clone(),
            account: head.account.clone(),
            sequence: head.sequence.map(i64::try_from).transpose()?,
            page: head.page.map_or(0, i64::from),
            days: (day(head.from), day(head.to.or(opening.and_then(|opening| opening.on)))),
            balances: (opening.map(|opening| opening.money.minor), None),
            counts: (0, 0),
            sums: (0, 0),
            proof: None,
            standing: String::from("reading"),
            disbursements: None,
            currency: head.currency.map(|currency| currency.code().to_owned()),
            named: 0,
        };
        let mut tx = self.store.begin().await?;
        statement::begin(&mut tx, &row, now).await?;
        tx.commit().await?;
        Ok(Staging { row, faults: Vec::new() })
    }

    async fn stage(&self, held: &Held, staging: &mut Staging, lines: Lines) -> Result<()> {
        let now = self.clock.now();
        for number in lines.disbursements.iter().copied().flatten() {
            let (low, high) = staging.row.disbursements.unwrap_or((number, number));
            staging.row.disbursements = Some((low.min(number), high.max(number)));
            staging.row.named += 1;
        }
        let first = self.store.allot(i64::try_from(lines.positions.len())?, now).await?;
        let mut tx = self.store.begin().await?;
        file::renew(&mut tx, held, now + self.lease.lease_micros).await?;
        statement::stage(&mut tx, staging.row.id, first, lines).await?;
        tx.commit().await
    }

    async fn end_statement(&self, staging: Staging, end: &StatementEnd) -> Result<Option<String>> {
        let Staging { mut row, faults } = staging;
        row.balances.1 = end.closing.map(|closing| closing.money.minor);
        if let Some(on) = end.closing.and_then(|closing| closing.on) {
            row.days.1 = row.days.1.max(Some(on.to_string()));
        }
        row.counts = (i64::try_from(end.entries)?, i64::try_from(end.faults)?.max(i64::try_from(faults.len())?));
        row.sums = (i64::try_from(end.debits_minor)?, i64::try_from(end.credits_minor)?);
        row.proof = Some(match end.check {
            Check::Holds => String::from("holds"),
            Check::Differs(by) => format!("differs by {by}"),
            Check::Unproven(code) => code.to_owned(),
        });
        let mut tx = self.store.begin().await?;
        let problem = self.weigh(&mut tx, &mut row, matches!(end.check, Check::Differs(_))).await?;
        if !faults.is_empty() {
            let told = faults.iter().take(FAULTS_TOLD_MAX).cloned().collect::<Vec<_>>().join("; ");
            let text = format!("{}: {} entries could not be read: {told}", title(&row), row.counts.1);
            self.alarm(&mut tx, &row.provider, ("entries_unreadable", row.id.number()), &text).await?;
        }
        statement::finish(&mut tx, &row).await?;
        tx.commit().await?;
        Ok(problem)
    }

    /// Whether a statement counts, and what a person has to know of it.
    async fn weigh(&self, tx: &mut Tx, row: &mut StatementRow, differs: bool) -> Result<Option<String>> {
        let (provider, subject) = (row.provider.clone(), row.id.number());
        row.standing = String::from("counted");
        if differs {
            row.standing = String::from("refused");
            let text = format!("{}: its entries do not come to its closing balance: {}", title(row), proof(row));
            self.alarm(tx, &provider, ("statement_differs", subject), &text).await?;
            return Ok(Some(text));
        }
        let like = statement::like(tx, row).await?;
        let same =
            |other: &StatementRow| (other.counts, other.sums, other.balances) == (row.counts, row.sums, row.balances);
        if like.iter().any(same) {
            row.standing = String::from("repeat");
            return Ok(Some(format!("{} is known already", title(row))));
        }
        if let Some(other) = like.last() {
            let text = format!("{}: {} has the same name and says something else", title(row), other.id);
            self.alarm(tx, &provider, ("statement_amended", subject), &text).await?;
            statement::overrule(tx, other.id).await?;
            return Ok(Some(text));
        }
        if row.kind == StatementKind::Statement.name() {
            return self.look_beside(tx, row).await;
        }
        Ok(None)
    }

    /// Whether the statement follows the one before it and is followed by the one after it.
    async fn look_beside(&self, tx: &mut Tx, row: &StatementRow) -> Result<Option<String>> {
        let (before, after) = statement::neighbours(tx, row).await?;
        let mut problem = None;
        if let Some((code, text)) = before.as_ref().and_then(|before| break_between(before, row)) {
            self.alarm(tx, &row.provider, (code, row.id.number()), &text).await?;
            problem = Some(text);
        }
        if let Some(after) = after {
            let still = break_between(row, &after);
            if still.is_none() {
                // What was missing before it has come.
                exception::close_by_rule(
                    tx,
                    &["statement_gap", "opening_differs"],
                    after.id.number(),
                    self.clock.now(),
                )
                .await?;
            }
        }
        Ok(problem)
    }
}

impl Staging {
    fn note(&mut self, fault: &EntryFault) {
        if self.faults.len() < FAULTS_TOLD_MAX {
            self.faults.push(format!("entry {} ({}): {}", fault.entry_position, fault.code, fault.text));
        }
    }
}

fn inside(staging: &mut Option<Staging>) -> Result<&mut Staging> {
    staging.as_mut().context("an entry came before its statement")
}

fn proof(row: &StatementRow) -> &str {
    row.proof.as_deref().unwrap_or("unproven")
}

/// How people name a statement.
pub(super) fn title(row: &StatementRow) -> String {
    let sequence = row.sequence.map(|sequence| format!(" ({sequence})")).unwrap_or_default();
    format!("statement {}{sequence} of account {}", row.name, row.account)
}

/// What is wrong between two statements of which the second should follow the first.
fn break_between(before: &StatementRow, after: &StatementRow) -> Option<(&'static str, String)> {
    let sequences = before.sequence.zip(after.sequence);
    let next_page = sequences.is_some_and(|(before, after)| before == after) && after.page == before.page + 1;
    // Banks begin to count anew, most of them each year.
    let follows = sequences.is_none_or(|(before, after)| after == before + 1 || after <= 1) || next_page;
    if !follows {
        let (first, last) = sequences.unwrap_or_default();
        let text = format!("{}: it follows number {first}; what lies between has not come", title(after));
        return (last > first).then_some(("statement_gap", text));
    }
    let balances = before.balances.1.zip(after.balances.0);
    let differs = balances.filter(|(closing, opening)| closing != opening);
    differs.map(|(closing, opening)| {
        let text = format!(
            "{}: it opens with {opening} minor units, and {} closed with {closing}",
            title(after),
            title(before)
        );
        ("opening_differs", text)
    })
}
