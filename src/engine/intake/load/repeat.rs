//! Rows under an identity that is known: in the same file, in an earlier payroll, or in one taken in just now.
//!
//! The first of several rows in a file stands if all agree. If they disagree none stands, wherever in the file
//! they are, because nobody here can tell which is right. Deliberately not here: loading what stands.

use std::collections::HashMap;

use anyhow::Result;

use super::{FileRefused, Loading, ParsedRow};
use crate::domain::disbursement::State;
use crate::store::disbursement::Known;
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

    /// Parts the rows whose identity is known: refused, or a next generation after a cancelled one.
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
                kept.push(row);
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
            } else if before.state == State::Cancelled {
                row.generation = i16::try_from(before.generation + 1)?;
                kept.push(row);
            } else {
                rejects.push(self.refuse(&row, self.taken(&before, &row))?);
            }
        }
        *rows = kept;
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
