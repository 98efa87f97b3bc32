//! A payroll comes in: one file, streamed, every row either taken in or refused with a code, nothing between.
//!
//! Rows are parsed on a thread of their own and loaded chunk by chunk; batches are cut while the file streams.
//! Until the end the payroll is `receiving` and nobody sees it. A file that is refused as a whole leaves no row.

mod load;
mod parse;

use std::path::PathBuf;

use anyhow::Context;
use chrono::NaiveDate;
use paymaster_connectors::contract::Currency;

use super::setup::is_code;
use super::{Actor, Engine, Error, Outcome, RefusedKind, refused};
use crate::domain::id::{Cycle, Id, Payroll};
use crate::domain::payroll::{PayrollKind, PayrollState};
use crate::store::notes::{self, Fact};
use crate::store::party::{self, ProgrammeRow};
use crate::store::payroll::{self, PayrollRow, Total};
use crate::store::seal::{Keys, sha256};
use crate::store::{db, disbursement};

pub use parse::CHUNK_ROWS;
pub(super) use parse::Payee;

/// What a maker hands in.
#[derive(Debug, Clone)]
pub struct IntakeRequest {
    /// Code of the programme.
    pub programme: String,
    /// Code of the cycle.
    pub cycle: String,
    /// Whether it pays for the first time, or again.
    pub kind: PayrollKind,
    /// How many rows the maker says the file has, and their sum in minor units.
    pub declared: Total,
    /// The day it is to be paid.
    pub pay_on: Option<NaiveDate>,
    /// The same key with the same request is the same payroll.
    pub idempotency_key: Option<String>,
    /// The whole file, already here.
    pub file: PathBuf,
}

/// Longest idempotency key.
const KEY_CHARS_MAX: usize = 255;
/// An intake that was silent for so long is dead, and its rows are cleared away.
pub(super) const ABANDONED_AFTER_MICROS: i64 = 600_000_000;
/// Rows deleted in one unit of work.
const DELETE_ROWS: i64 = 5_000;

/// Why a whole payroll is not taken in.
#[derive(Debug, Clone)]
struct FileRefused {
    code: &'static str,
    text: String,
}

/// The codes of refusals that are no fault of the file.
const OUR_FAULTS: [&str; 2] = ["intake_failed", "intake_died"];

impl Engine {
    /// Takes a payroll in. The answer is the payroll as it then stands: `draft`, or `refused` with the reason.
    pub async fn take_in(&self, actor: &Actor, request: &IntakeRequest) -> Outcome<PayrollRow> {
        let now = self.clock.now();
        self.check_request(request, now)?;
        let programme = self.programme(&actor.scope, &request.programme).await?;
        let cycle = self.cycle(&programme, &request.cycle).await?;
        let file_hash = hash_file(request.file.clone()).await?;
        let request_hash = request_hash(request, &file_hash);
        if let Some(known) = self.known_request(actor, request, &request_hash, cycle, &file_hash).await? {
            return Ok(known);
        }
        let mut numbers = self.store.draw(2, now).await?;
        let currency = Currency::parse(&programme.currency).context("a stored currency is unknown")?;
        let mut row = fresh(actor, request, (&programme, cycle, currency), file_hash, Id::new(numbers.take()?), now);
        let mut tx = self.store.begin().await?;
        payroll::insert(&mut tx, &row).await?;
        if let Some(key) = &request.idempotency_key {
            let kept = notes::keep_idempotency(&mut tx, &actor.scope, key, (&request_hash, row.id), now).await;
            if kept.as_ref().is_err_and(db::is_conflict) {
                return refused(
                    RefusedKind::Conflict,
                    "idempotency_key_in_use",
                    "the same key is being worked on; ask again in a moment",
                );
            }
            kept?;
        }
        let fact = Fact {
            event: "payroll.received",
            subject: row.id.number(),
            actor: &actor.person,
            total: request.declared,
            ..Fact::default()
        };
        notes::journal(&mut tx, numbers.take()?, row.tenant, &fact, now).await?;
        tx.commit().await?;
        match self.stream(actor, request, &programme, &mut row).await {
            Ok(refusal) => Ok(self.finish_intake(row, refusal).await?),
            Err(error) => {
                let refusal = FileRefused {
                    code: "intake_failed",
                    text: String::from("something broke on our side; send it again"),
                };
                self.finish_intake(row, Some(refusal)).await?;
                Err(Error::Failed(error))
            }
        }
    }

    fn check_request(&self, request: &IntakeRequest, now: i64) -> Outcome<()> {
        let is_key =
            |key: &String| (1..=KEY_CHARS_MAX).contains(&key.len()) && !key.bytes().any(|byte| byte.is_ascii_control());
        if !request.idempotency_key.as_ref().is_none_or(is_key) {
            return refused(
                RefusedKind::Invalid,
                "idempotency_key_malformed",
                format!("a key has 1 to {KEY_CHARS_MAX} characters and no control characters"),
            );
        }
        if request.declared.payments <= 0 || request.declared.sum_minor <= 0 {
            return refused(
                RefusedKind::Invalid,
                "declared_missing",
                "declare how many rows the file has and their sum; both above zero",
            );
        }
        let today = chrono::DateTime::from_timestamp_micros(now).map(|instant| instant.date_naive());
        match (request.pay_on, today) {
            (Some(day), Some(today)) if day < today => {
                refused(RefusedKind::Invalid, "pay_on_past", format!("{day} has passed; today is {today}"))
            }
            (Some(day), Some(today)) if day > today + chrono::Days::new(366) => {
                refused(RefusedKind::Invalid, "pay_on_far", format!("{day} is more than a year ahead"))
            }
            _ => Ok(()),
        }
    }

    async fn cycle(&self, programme: &ProgrammeRow, code: &str) -> Outcome<Id<Cycle>> {
        let mut tx = self.store.read().await?;
        let found = if is_code(code) { party::cycle(&mut tx, programme.id, code).await? } else { None };
        match found {
            Some(cycle) => Ok(cycle),
            None => refused(
                RefusedKind::NotFound,
                "cycle_unknown",
                format!("{} has no cycle {code}; make it first", programme.code),
            ),
        }
    }

    /// The payroll that this request made before: by its key, or by the same file in the same cycle.
    async fn known_request(
        &self,
        actor: &Actor,
        request: &IntakeRequest,
        request_hash: &[u8],
        cycle: Id<Cycle>,
        file_hash: &[u8],
    ) -> Outcome<Option<PayrollRow>> {
        let mut tx = self.store.read().await?;
        if let Some(key) = &request.idempotency_key
            && let Some((known_hash, id)) = notes::idempotency(&mut tx, &actor.scope, key).await?
        {
            if known_hash != request_hash {
                return refused(
                    RefusedKind::Conflict,
                    "idempotency_key_reused",
                    "this key stands for another request; take a new key",
                );
            }
            let row = payroll::get(&mut tx, &actor.scope, id).await?;
            return match row {
                Some(row) if row.state == PayrollState::Receiving => refused(
                    RefusedKind::Conflict,
                    "idempotency_key_in_use",
                    "the same request is being worked on; ask again in a moment",
                ),
                row => Ok(row),
            };
        }
        Ok(payroll::same_file(&mut tx, cycle, request.kind, file_hash).await?)
    }

    /// Totals from the database against what was declared and read; then the payroll is a draft, or refused.
    async fn finish_intake(&self, mut row: PayrollRow, refusal: Option<FileRefused>) -> anyhow::Result<PayrollRow> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let event = if refusal.is_some() { "payroll.refused" } else { "payroll.taken_in" };
        if let Some(refusal) = &refusal {
            row.state = PayrollState::Refused;
            row.refusal = Some(format!("{}: {}", refusal.code, refusal.text));
            row.accepted = Total::default();
            row.content_hash = None;
            self.clear(&row).await?;
        } else {
            row.state = PayrollState::Draft;
        }
        let mut tx = self.store.begin().await?;
        payroll::received(&mut tx, &row).await?;
        if refusal.as_ref().is_some_and(|refusal| OUR_FAULTS.contains(&refusal.code)) {
            // What broke on our side is sent again under the same key.
            notes::free_idempotency(&mut tx, row.id).await?;
        }
        let (note, list_hash) = (refusal.map_or("", |refusal| refusal.code), row.content_hash.as_deref());
        let fact = Fact {
            event,
            subject: row.id.number(),
            actor: "engine",
            total: row.accepted,
            note,
            list_hash,
            ..Fact::default()
        };
        notes::journal(&mut tx, numbers.take()?, row.tenant, &fact, now).await?;
        tx.commit().await?;
        tracing::info!(payroll.id = %row.id, payroll.state = row.state.name(), rows = row.file.payments, "payroll taken in");
        Ok(row)
    }

    /// Deletes the rows of a payroll that is refused, chunk by chunk; a crash in the middle is finished later.
    async fn clear(&self, row: &PayrollRow) -> anyhow::Result<()> {
        loop {
            let mut tx = self.store.begin().await?;
            let some = disbursement::some_of(&mut tx, row.id, row.numbers, DELETE_ROWS).await?;
            if some.is_empty() {
                crate::store::batch::delete_of(&mut tx, row.id).await?;
                return tx.commit().await;
            }
            disbursement::delete(&mut tx, &some).await?;
            tx.commit().await?;
        }
    }

    /// Refuses payrolls whose intake died, as a sweep finds them.
    pub async fn clear_abandoned(&self) -> anyhow::Result<usize> {
        let now = self.clock.now();
        let mut tx = self.store.read().await?;
        let abandoned = payroll::abandoned(&mut tx, now - ABANDONED_AFTER_MICROS).await?;
        drop(tx);
        for (id, tenant) in &abandoned {
            let mut tx = self.store.read().await?;
            let row = payroll::get(&mut tx, &crate::store::Scope { tenant: *tenant }, *id).await?;
            drop(tx);
            if let Some(row) = row {
                let refusal =
                    FileRefused { code: "intake_died", text: String::from("the intake was cut off; send it again") };
                self.finish_intake(row, Some(refusal)).await?;
            }
        }
        Ok(abandoned.len())
    }
}

fn fresh(
    actor: &Actor,
    request: &IntakeRequest,
    place: (&ProgrammeRow, Id<Cycle>, Currency),
    file_hash: Vec<u8>,
    id: Id<Payroll>,
    now: i64,
) -> PayrollRow {
    let (programme, cycle, currency) = place;
    PayrollRow {
        id,
        tenant: actor.scope.tenant,
        programme: programme.id,
        kind: request.kind,
        cycle,
        currency,
        state: PayrollState::Receiving,
        file_hash,
        content_hash: None,
        pay_on: request.pay_on.map(|day| day.to_string()),
        declared: request.declared,
        file: Total::default(),
        refused: Total::default(),
        accepted: Total::default(),
        cancelled: Total::default(),
        numbers: (0, 0),
        refusal: None,
        made_by: actor.person.clone(),
        submitted_by: None,
        created_at: now,
        released_at: None,
        completed_at: None,
        paused_at: None,
    }
}

fn request_hash(request: &IntakeRequest, file_hash: &[u8]) -> Vec<u8> {
    let fields = [
        request.programme.as_str(),
        &request.cycle,
        &request.declared.payments.to_string(),
        &request.declared.sum_minor.to_string(),
        &request.pay_on.map(|day| day.to_string()).unwrap_or_default(),
        request.kind.name(),
    ];
    let mut bytes = fields.join("\0").into_bytes();
    bytes.extend_from_slice(file_hash);
    sha256(&bytes).to_vec()
}

async fn hash_file(path: PathBuf) -> anyhow::Result<Vec<u8>> {
    tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut block = vec![0; 64 << 10];
        loop {
            let read = std::io::Read::read(&mut file, &mut block)?;
            if read == 0 {
                return Ok(context.finish().as_ref().to_vec());
            }
            context.update(&block[..read]);
        }
    })
    .await?
}

/// Keys are cheap to clone; the parser's thread has its own.
fn keys(engine: &Engine) -> Keys {
    engine.store.keys.clone()
}
