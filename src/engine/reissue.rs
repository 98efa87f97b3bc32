//! Paying again, to the same payees, what was rejected or came back: a payroll of kind reissue is written from what is
//! stored and taken in like any other. Somebody else approves it, like any other.
//!
//! That is also how a file goes again that a bank refused as a whole for a few of its rows: those keep their own
//! reason, the others have the reason of the file, and only these are asked for. Deliberately not here: who may be paid
//! again; intake decides that row by row.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use paymaster_connectors::contract::{Currency, Money, ReasonClass};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::intake::Payee;
use super::{Actor, Engine, IntakeRequest, Outcome, RefusedKind, no_payroll, refused};
use crate::domain::columns::{Column, write_cells};
use crate::domain::id::{Id, Payroll};
use crate::domain::payroll::PayrollKind;
use crate::store::generation::{self, Because, Ended};
use crate::store::payroll::{self, PayrollRow, Total};
use crate::store::{Scope, party};

/// Rows written in one go.
const PAGE_ROWS: i64 = 5_000;
/// Most codes and classes that may be asked for.
const REASONS_MAX: usize = 100;

/// Why what is to be paid again was not paid: of one of these codes or classes. Both empty: whatever the reason, but
/// of class `stop`: who died or may not be paid is paid again only if somebody asks for it by name.
#[derive(Debug, Clone, Default)]
pub struct Reasons {
    /// Codes, such as `ac01`.
    pub codes: Vec<String>,
    /// Classes, such as `not_executed`.
    pub classes: Vec<String>,
}

/// A file that goes with the intake it was written for.
struct Written {
    path: PathBuf,
    total: Total,
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "the file of a reissue could not be removed");
        }
    }
}

impl Engine {
    /// Takes in a payroll that pays again what a payroll's payees were not paid for one of these reasons. The answer
    /// is the new payroll as it then stands: `draft`, or `refused` with the reason.
    pub async fn reissue_of(&self, actor: &Actor, id: Id<Payroll>, reasons: &Reasons) -> Outcome<PayrollRow> {
        if reasons.codes.len() + reasons.classes.len() > REASONS_MAX {
            let text = format!("ask for {REASONS_MAX} codes and classes at most");
            return refused(RefusedKind::Invalid, "reasons_too_many", text);
        }
        let (programme, cycle, currency) = self.place_of(&actor.scope, id).await?;
        let written = self.write_again(id, reasons, currency).await?;
        if written.total.payments == 0 {
            let text = "nothing of it was rejected or came back for such a reason, or it is being paid again already";
            return refused(RefusedKind::Conflict, "nothing_to_reissue", text);
        }
        let request = IntakeRequest {
            programme,
            cycle,
            kind: PayrollKind::Reissue,
            declared: written.total,
            pay_on: None,
            idempotency_key: None,
            file: written.path.clone(),
        };
        self.take_in(actor, &request).await
    }

    async fn place_of(&self, scope: &Scope, id: Id<Payroll>) -> Outcome<(String, String, Currency)> {
        let mut tx = self.store.read().await?;
        let Some(row) = payroll::get(&mut tx, scope, id).await? else { return no_payroll(id) };
        let programme = party::programme_by_id(&mut tx, row.programme).await?.code;
        Ok((programme, party::cycle_code(&mut tx, row.cycle).await?, row.currency))
    }

    /// Writes the payroll file, page by page in one snapshot.
    async fn write_again(&self, id: Id<Payroll>, reasons: &Reasons, currency: Currency) -> Result<Written> {
        let (mut written, mut file) = create(&self.folder).await?;
        let mut text = Vec::new();
        write_row(&Column::ALL.map(Column::name), &mut text);
        let because = Because { codes: &reasons.codes, classes: &reasons.classes, not: ReasonClass::Stop.name() };
        let (mut tx, mut above) = (self.store.read().await?, 0);
        loop {
            file.write_all(&text).await.context("writing a reissue")?;
            text.clear();
            let page = generation::ended(&mut tx, id, because, above, PAGE_ROWS).await?;
            let Some(last) = page.last() else { break };
            above = last.number;
            for row in &page {
                self.write_payee(row, currency, &mut text)?;
                written.total = written.total.with(row.amount_minor).context("the sum is too large")?;
            }
        }
        file.flush().await.context("writing a reissue")?;
        Ok(written)
    }

    fn write_payee(&self, row: &Ended, currency: Currency, text: &mut Vec<u8>) -> Result<()> {
        let payee = Payee::open(&self.store.keys, &row.sealed)?;
        let amount = Money::new(row.amount_minor, currency).decimal().to_string();
        let cells = Column::ALL.map(|column| match column {
            Column::Entitlement => payee.entitlement.as_str(),
            Column::Instalment => &payee.instalment,
            Column::BeneficiaryId => &payee.beneficiary,
            Column::PayeeName => &payee.payee_name,
            Column::PayeeAccount => &payee.payee_account,
            Column::Amount => &amount,
            Column::Currency => currency.code(),
            Column::Purpose => &payee.purpose,
            Column::Note => &payee.note,
        });
        write_row(&cells, text);
        Ok(())
    }
}

fn write_row(cells: &[&str], text: &mut Vec<u8>) {
    write_cells(cells.iter().map(|cell| cell.as_bytes()), text);
    text.extend_from_slice(b"\r\n");
}

/// A new file that only we may read: it holds names and accounts. It is named like an upload, so that what a crash
/// leaves behind is cleared away like one.
async fn create(folder: &Path) -> Result<(Written, BufWriter<File>)> {
    tokio::fs::create_dir_all(folder).await.with_context(|| format!("cannot make {}", folder.display()))?;
    let name = u128::from_be_bytes(crate::clock::random::<16>()?);
    let path = folder.join(format!("upload-{name:032x}.part"));
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let file = options.open(&path).await.with_context(|| format!("cannot write in {}", folder.display()))?;
    Ok((Written { path, total: Total::default() }, BufWriter::new(file)))
}
