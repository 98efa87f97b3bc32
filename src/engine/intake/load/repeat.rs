//! Rows under an identity that is known: in the same file, in an earlier payroll, or in one taken in just now; and
//! rows that pay again what was rejected, returned or cancelled, as the next generation of what they follow.
//!
//! The first of several rows in a file stands if all agree. If they disagree none stands, wherever in the file
//! they are, because nobody here can tell which is right. Deliberately not here: loading what stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;
use paymaster_connectors::contract::Money;

use super::{FileRefused, Loading, ParsedRow};
use crate::domain::disbursement::State;
use crate::domain::id::{Batch, Id};
use crate::domain::payroll::PayrollKind;
use crate::store::db::Tx;
use crate::store::disbursement::{self, Known};
use crate::store::exception;
use crate::store::generation::{self, Place};
use crate::store::payroll::Reject;

/// Most entitlements of one file whose rows disagree; it bounds what is remembered of them.
const CONFLICTS_MAX: usize = 100_000;

impl Loading<'_> {
    /// Parts a chunk's repeated rows from those that stand; also tells which identities began to disagree here.
    pub(super) fn without_repeats(
        &mut self,
        rows: Vec<ParsedRow>,
        rejects: &mut Vec<Reject>,
    ) -> Result<(Vec<ParsedRow>, Vec<[u8; 16]>)> {
        let mut first: HashMap<[u8; 16], usize> = HashMap::with_capacity(rows.len());
        let mut fresh = Vec::new();
        for (position, row) in rows.iter().enumerate() {
            let before = &rows[*first.entry(row.identity).or_insert(position)];
            let agrees = same(before.amount_minor, &before.account_hash, row);
            if !agrees && !self.conflicts.contains_key(&row.identity) {
                self.conflicts.insert(row.identity, (before.line, row.line));
                fresh.push(row.identity);
            }
        }
        if first.len() == rows.len() && self.conflicts.is_empty() {
            return Ok((rows, fresh));
        }
        let lines: Vec<i64> = rows.iter().map(|row| row.line).collect();
        let mut kept = Vec::with_capacity(rows.len());
        for (position, row) in rows.into_iter().enumerate() {
            let before = first.get(&row.identity).copied().unwrap_or(position);
            if let Some((one, other)) = self.conflicts.get(&row.identity) {
                let line = if *one == row.line { *other } else { *one };
                rejects.push(self.refuse(&row, repeated(false, line))?);
            } else if before == position {
                kept.push(row);
            } else {
                rejects.push(self.refuse(&row, repeated(true, lines[before]))?);
            }
        }
        Ok((kept, fresh))
    }

    /// Rows of earlier chunks under identities that began to disagree: they do not stand any more.
    pub(super) async fn outdone(&self, fresh: &[[u8; 16]], rejects: &mut Vec<Reject>) -> Result<Vec<Known>> {
        if fresh.is_empty() {
            return Ok(Vec::new());
        }
        let mut own = self.known(fresh).await?;
        own.retain(|known| known.payroll == self.payroll.id);
        for known in &own {
            let line = self.conflicts.get(&known.identity).map_or(0, |(_, line)| *line);
            rejects.push(self.refuse(&as_parsed(known), repeated(false, line))?);
        }
        Ok(own)
    }

    /// Why the file is refused, if more of it disagrees than is remembered.
    pub(super) fn too_many_conflicts(&self) -> Option<FileRefused> {
        let text = format!(
            "more than {CONFLICTS_MAX} entitlements stand in several rows with different amounts or accounts; \
             the columns may be mixed up"
        );
        (self.conflicts.len() > CONFLICTS_MAX).then_some(FileRefused { code: "conflicts_too_many", text })
    }

    /// Parts the rows by whether their identity is known: each is the first generation, the next, or refused.
    pub(super) fn part(
        &mut self,
        rows: &mut Vec<ParsedRow>,
        known: Vec<Known>,
        rejects: &mut Vec<Reject>,
        ejected: &mut Vec<Known>,
    ) -> Result<()> {
        let mut known: HashMap<[u8; 16], Known> = known.into_iter().map(|one| (one.identity, one)).collect();
        let mut kept = Vec::with_capacity(rows.len());
        for mut row in std::mem::take(rows) {
            let Some(before) = known.remove(&row.identity) else {
                match self.payroll.kind {
                    PayrollKind::Payment => kept.push(row),
                    PayrollKind::Reissue => rejects.push(self.refuse(&row, nothing_to_reissue())?),
                }
                continue;
            };
            if before.payroll == self.payroll.id {
                let agrees = same(before.amount_minor, &before.account_hash, &row);
                rejects.push(self.refuse(&row, repeated(agrees, before.line))?);
                if !agrees {
                    self.conflicts.insert(row.identity, (before.line, row.line));
                    let earlier = as_parsed(&before);
                    rejects.push(self.refuse(&earlier, repeated(false, row.line))?);
                    ejected.push(before);
                }
            } else if let Some(why) = self.does_not_follow(&before, &row) {
                rejects.push(self.refuse(&row, why)?);
            } else {
                self.follows = true;
                row.generation = i16::try_from(before.generation + 1)?;
                kept.push(row);
            }
        }
        *rows = kept;
        Ok(())
    }

    /// Why a row is not the next generation of what is known, if it is not.
    fn does_not_follow(&self, before: &Known, row: &ParsedRow) -> Option<(&'static str, String)> {
        let may = match self.payroll.kind {
            PayrollKind::Payment => before.state == State::Cancelled,
            PayrollKind::Reissue => before.state.may_be_followed(),
        };
        if before.excepted && (may || self.payroll.kind == PayrollKind::Reissue) {
            let reference = self.engine.reference(before.number);
            let text = format!("an exception about the earlier payment {reference} is open; it must be decided first");
            return Some(("exception_open", text));
        }
        if !may {
            return Some(self.taken(before, row));
        }
        let other = self.payroll.kind == PayrollKind::Reissue && before.amount_minor != row.amount_minor;
        other.then(|| {
            let wanted = Money::new(before.amount_minor, self.payroll.currency);
            ("amount_differs", format!("what is paid again is what was owed, and that was {wanted}"))
        })
    }

    /// What a row follows may have been contradicted since the row was taken in: then it is held. Locking what it
    /// follows makes whoever contradicts it later find the row in a batch.
    pub(super) async fn recheck(&mut self, tx: &mut Tx) -> Result<()> {
        let (id, numbers) = (self.payroll.id, self.payroll.numbers);
        let of = |older: &[(i64, Place)]| older.iter().map(|(_, one)| one.number).collect::<Vec<i64>>();
        let unlocked = generation::older(tx, id, numbers).await?;
        generation::lock(tx, &of(&unlocked)).await?;
        let older = generation::older(tx, id, numbers).await?;
        let excepted = exception::with_open(tx, &of(&older)).await?;
        let in_question = |one: &Place| excepted.contains(&one.number) || !one.state.may_be_followed();
        let held: BTreeSet<i64> = older.iter().filter(|(_, one)| in_question(one)).map(|(newer, _)| *newer).collect();
        let mut of_batches: BTreeMap<Id<Batch>, Vec<i64>> = BTreeMap::new();
        for place in generation::places(tx, &held.into_iter().collect::<Vec<i64>>()).await? {
            if place.state == State::Queued {
                of_batches.entry(place.batch).or_default().push(place.number);
            }
        }
        for (batch, numbers) in of_batches {
            disbursement::set_state(tx, batch, &numbers, State::Queued, State::Held).await?;
            self.dirty.insert(batch.number());
        }
        Ok(())
    }

    fn taken(&self, before: &Known, row: &ParsedRow) -> (&'static str, String) {
        let reference = self.engine.reference(before.number);
        let mut text = format!("this entitlement was taken in before, as {reference} in payroll {}", before.payroll);
        if before.amount_minor != row.amount_minor {
            text.push_str("; there with another amount");
        }
        if before.account_hash != row.account_hash {
            text.push_str("; there with another account");
        }
        ("entitlement_known", text)
    }
}

fn same(amount_minor: i64, account_hash: &[u8; 16], row: &ParsedRow) -> bool {
    amount_minor == row.amount_minor && *account_hash == row.account_hash
}

fn nothing_to_reissue() -> (&'static str, String) {
    let text = "nothing was paid under this entitlement in this cycle; hand it in with a payroll of kind payment";
    ("nothing_to_reissue", String::from(text))
}

fn repeated(agrees: bool, line: i64) -> (&'static str, String) {
    if agrees {
        ("entitlement_repeated", format!("the same entitlement stands in line {line} already; remove one of the two"))
    } else {
        (
            "entitlement_conflict",
            format!(
                "rows under this entitlement, line {line} among them, differ in amount or account; none of them was \
                 taken in"
            ),
        )
    }
}

fn as_parsed(known: &Known) -> ParsedRow {
    ParsedRow {
        line: known.line,
        identity: known.identity,
        amount_minor: known.amount_minor,
        account_hash: known.account_hash,
        provider: 0,
        held: false,
        generation: 1,
        sealed: known.sealed.clone(),
    }
}
