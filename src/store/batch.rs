//! Batches: intent, lease, copies, and the counts that say how far each is.

use anyhow::{Context, Result};
use paymaster_connectors::contract::Currency;

use super::db::{Row, Table, Tx, Value, Values};
use super::payroll::Total;
use super::{Scope, values};
use crate::domain::batch::BatchState;
use crate::domain::id::{Batch, Id, Payroll, Programme};

/// A batch as stored. Instants are microseconds UTC.
#[derive(Debug, Clone)]
pub struct BatchRow {
    /// Its number.
    pub id: Id<Batch>,
    /// Its payroll.
    pub payroll: Id<Payroll>,
    /// Its programme.
    pub programme: Id<Programme>,
    /// Who gets it.
    pub provider: String,
    /// The one currency.
    pub currency: Currency,
    /// Where it stands.
    pub state: BatchState,
    /// Everything in it.
    pub total: Total,
    /// What has no end yet.
    pub open: Total,
    /// What settled.
    pub settled: Total,
    /// What was rejected.
    pub rejected: Total,
    /// What came back.
    pub returned: Total,
    /// Lowest and highest number of its rows.
    pub numbers: (i64, i64),
    /// SHA-256 over its rows in order.
    pub content_hash: Vec<u8>,
    /// Counts the claims.
    pub epoch: i64,
    /// Until when its worker may be at it.
    pub lease_until: i64,
    /// Durable intents to send so far.
    pub copies: i64,
    /// When the first was taken.
    pub first_copy_at: i64,
    /// When the last was taken.
    pub last_copy_at: i64,
    /// After this no copy can arrive.
    pub fence_at: i64,
    /// When it wants attention.
    pub due_at: Option<i64>,
    /// Tries since something last changed; sets the pause before the next.
    pub attempts: i64,
    /// Messages to the registry made of it so far.
    pub publications: i64,
    /// The provider's name for it.
    pub provider_reference: Option<String>,
    /// The evidence that holds the bytes that were sent.
    pub wire: Option<i64>,
    /// Since when it waits, unsent as far as is known, for its provider to be asked whether it left before a restore.
    pub ask_first_at: Option<i64>,
    /// When its bytes were made; 0 before.
    pub made_at: i64,
    /// The day on which its bytes ask the provider to pay.
    pub execute_on: Option<String>,
    /// How many bytes were made; 0 before.
    pub wire_bytes: i64,
}

const BATCH: &str = "SELECT b.number, b.payroll, b.programme, b.provider, b.currency, b.state, b.payments, b.sum_minor, \
    b.open_payments, b.open_minor, b.settled_payments, b.settled_minor, b.rejected_payments, b.rejected_minor, \
    b.returned_payments, b.returned_minor, b.first_number, b.last_number, b.content_hash, b.epoch, b.lease_until, \
    b.copies, b.first_copy_at, b.last_copy_at, b.fence_at, b.due_at, b.attempts, b.publications, \
    b.provider_reference, b.wire, b.ask_first_at, b.made_at, b.execute_on, b.wire_bytes FROM batch b";

fn batch_row(row: &Row) -> Result<BatchRow> {
    let state = row.text(5)?;
    Ok(BatchRow {
        id: Id::new(row.int(0)?),
        payroll: Id::new(row.int(1)?),
        programme: Id::new(row.int(2)?),
        provider: row.text(3)?,
        currency: Currency::parse(&row.text(4)?).context("a stored currency is unknown")?,
        state: BatchState::parse(&state).with_context(|| format!("a stored batch state is unknown: {state}"))?,
        total: Total::read(row, 6)?,
        open: Total::read(row, 8)?,
        settled: Total::read(row, 10)?,
        rejected: Total::read(row, 12)?,
        returned: Total::read(row, 14)?,
        numbers: (row.int(16)?, row.int(17)?),
        content_hash: row.bytes(18)?.to_vec(),
        epoch: row.int(19)?,
        lease_until: row.int(20)?,
        copies: row.int(21)?,
        first_copy_at: row.int(22)?,
        last_copy_at: row.int(23)?,
        fence_at: row.int(24)?,
        due_at: row.maybe_int(25)?,
        attempts: row.int(26)?,
        publications: row.int(27)?,
        provider_reference: row.maybe_text(28)?,
        wire: row.maybe_int(29)?,
        ask_first_at: row.maybe_int(30)?,
        made_at: row.int(31)?,
        execute_on: row.maybe_text(32)?,
        wire_bytes: row.int(33)?,
    })
}

/// Stores a sealed batch that nothing is due for yet.
pub async fn insert(tx: &mut Tx, batch: &BatchRow) -> Result<()> {
    let sql = "INSERT INTO batch (number, payroll, programme, provider, currency, state, payments, sum_minor, \
               open_payments, open_minor, first_number, last_number, content_hash, due_at, ask_first_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7, $8, $9, $10, $11, $12, $13)";
    let bound = values![
        batch.id.number(),
        batch.payroll.number(),
        batch.programme.number(),
        &batch.provider,
        batch.currency.code(),
        batch.state.name(),
        batch.total.payments,
        batch.total.sum_minor,
        batch.numbers.0,
        batch.numbers.1,
        batch.content_hash.as_slice(),
        batch.due_at,
        batch.ask_first_at
    ];
    tx.execute(sql, bound).await.map(|_| ())
}

/// A batch, locked. Every move of a row that follows it begins here.
pub async fn lock(tx: &mut Tx, id: Id<Batch>) -> Result<Option<BatchRow>> {
    let sql = format!("{BATCH} WHERE b.number = $1{}", tx.for_update());
    tx.row(&sql, values![id.number()]).await?.as_ref().map(batch_row).transpose()
}

/// A batch by its number alone, for the engine's own work.
pub async fn get_any(tx: &mut Tx, id: Id<Batch>) -> Result<Option<BatchRow>> {
    let sql = format!("{BATCH} WHERE b.number = $1");
    tx.row(&sql, values![id.number()]).await?.as_ref().map(batch_row).transpose()
}

/// Those of these numbers that are batches, for the engine's own work.
pub async fn some_of(tx: &mut Tx, numbers: &[i64]) -> Result<Vec<BatchRow>> {
    let sql = format!("{BATCH} WHERE b.number IN (SELECT number FROM {{v}}) ORDER BY b.number");
    let table = Table { names: &["number"], columns: &[Values::Ints(numbers)] };
    tx.rows_with(&sql, values![], table).await?.iter().map(batch_row).collect()
}

/// A batch of the tenant.
pub async fn get(tx: &mut Tx, scope: &Scope, id: Id<Batch>) -> Result<Option<BatchRow>> {
    let sql = format!("{BATCH} JOIN payroll r ON r.number = b.payroll WHERE b.number = $1 AND r.tenant = $2");
    tx.row(&sql, values![id.number(), scope.tenant.number()]).await?.as_ref().map(batch_row).transpose()
}

/// Batches of a payroll above a number.
pub async fn of_payroll(tx: &mut Tx, payroll: Id<Payroll>, above: i64, limit: i64) -> Result<Vec<BatchRow>> {
    let sql = format!("{BATCH} WHERE b.payroll = $1 AND b.number > $2 ORDER BY b.number LIMIT $3");
    tx.rows(&sql, values![payroll.number(), above, limit]).await?.iter().map(batch_row).collect()
}

/// The batch a provider knows under this name.
pub async fn by_provider_reference(tx: &mut Tx, provider: &str, reference: &str) -> Result<Option<Id<Batch>>> {
    let sql = "SELECT number FROM batch WHERE provider = $1 AND provider_reference = $2";
    let row = tx.row(sql, values![provider, reference]).await?;
    row.map(|row| row.int(0).map(Id::new)).transpose()
}

/// The batch that holds a provider's disbursement.
pub async fn of_disbursement(tx: &mut Tx, provider: &str, number: i64) -> Result<Option<Id<Batch>>> {
    let sql = "SELECT b.number FROM disbursement d JOIN batch b ON b.number = d.batch WHERE d.number = $1 AND b.provider = $2";
    let row = tx.row(sql, values![number, provider]).await?;
    row.map(|row| row.int(0).map(Id::new)).transpose()
}

/// Writes back what may change of a batch. The caller has it locked.
pub async fn save(tx: &mut Tx, batch: &BatchRow) -> Result<()> {
    let sql = format!("{SAVE} WHERE number = $1");
    let changed = tx.execute(&sql, &saved(batch)).await?;
    anyhow::ensure!(changed == 1, "the batch is gone");
    Ok(())
}

/// The same if workers have fewer than `lanes` other batches of its provider in hand; false otherwise. Counts right
/// while the provider's pace is locked: whoever counted before has been waited for.
pub async fn save_in_lane(tx: &mut Tx, batch: &BatchRow, lanes: i64, now: i64) -> Result<bool> {
    let sql = format!(
        "{SAVE} WHERE number = $1 AND (SELECT COUNT(*) FROM batch other WHERE other.provider = $29 \
         AND other.lease_until > 0 AND other.lease_until > $30 AND other.number <> $1) < $31"
    );
    let mut bound = saved(batch);
    bound.extend([Value::Text(&batch.provider), Value::Int(now), Value::Int(lanes)]);
    Ok(tx.execute(&sql, &bound).await? == 1)
}

const SAVE: &str = "UPDATE batch SET state = $2, payments = $3, sum_minor = $4, open_payments = $5, open_minor = $6, \
               settled_payments = $7, settled_minor = $8, rejected_payments = $9, rejected_minor = $10, \
               returned_payments = $11, returned_minor = $12, epoch = $13, lease_until = $14, copies = $15, \
               first_copy_at = $16, last_copy_at = $17, fence_at = $18, due_at = $19, attempts = $20, \
               publications = $21, provider_reference = $22, wire = $23, content_hash = $24, ask_first_at = $25, \
               made_at = $26, execute_on = $27, wire_bytes = $28, nudged_at = 0";

fn saved(batch: &BatchRow) -> Vec<Value<'_>> {
    values![
        batch.id.number(),
        batch.state.name(),
        batch.total.payments,
        batch.total.sum_minor,
        batch.open.payments,
        batch.open.sum_minor,
        batch.settled.payments,
        batch.settled.sum_minor,
        batch.rejected.payments,
        batch.rejected.sum_minor,
        batch.returned.payments,
        batch.returned.sum_minor,
        batch.epoch,
        batch.lease_until,
        batch.copies,
        batch.first_copy_at,
        batch.last_copy_at,
        batch.fence_at,
        batch.due_at,
        batch.attempts,
        batch.publications,
        batch.provider_reference.as_deref(),
        batch.wire,
        batch.content_hash.as_slice(),
        batch.ask_first_at,
        batch.made_at,
        batch.execute_on.as_deref(),
        batch.wire_bytes
    ]
    .to_vec()
}

/// Makes all batches of a released payroll due, but for those that an open exception keeps from leaving.
pub async fn make_due(tx: &mut Tx, payroll: Id<Payroll>, now: i64) -> Result<u64> {
    let sql = format!(
        "UPDATE batch SET due_at = $2 WHERE payroll = $1 AND state = 'sealed' AND payments > 0 AND number NOT IN ({})",
        super::exception::frozen_batches()
    );
    tx.execute(&sql, values![payroll.number(), now]).await
}

/// Makes one batch due now, whatever it waits for; a lease stays.
pub async fn make_due_now(tx: &mut Tx, id: Id<Batch>, now: i64) -> Result<()> {
    let sql = "UPDATE batch SET due_at = $2, nudged_at = 0 WHERE number = $1 AND due_at > $2";
    tx.execute(sql, values![id.number(), now]).await.map(|_| ())
}

/// A due batch that somebody is told of, in the order in which it is to be driven: doubts first, the oldest first copy
/// before the others; then what has been due for longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    rank: i64,
    since: i64,
    /// The batch.
    pub number: i64,
}

/// Due batches of a provider that nobody was told of lately; marks them as told. `times` are now, and the instant
/// before which being told is too long ago to count. What must not be sent takes no place. What another worker has
/// just finished with is looked at again and left out.
pub async fn nudge(tx: &mut Tx, provider: &str, times: (i64, i64), limit: i64) -> Result<Vec<Told>> {
    const WAITING: &str = "b.provider = $4 AND b.due_at <= $1 AND b.lease_until <= $1 AND b.nudged_at < $2";
    let sql = format!(
        "UPDATE batch SET nudged_at = $1 WHERE number IN (SELECT number FROM (SELECT * FROM \
         (SELECT b.number, 0 AS rank, b.first_copy_at AS since FROM batch b WHERE {WAITING} \
         AND b.state IN ('transmitting', 'in_doubt') ORDER BY b.first_copy_at LIMIT $3) doubtful UNION ALL SELECT * FROM \
         (SELECT b.number, 1 AS rank, b.due_at AS since FROM batch b JOIN payroll r ON r.number = b.payroll \
         WHERE {WAITING} AND b.state NOT IN ('transmitting', 'in_doubt') \
         AND (b.state <> 'sealed' OR b.ask_first_at IS NOT NULL OR (r.state = 'released' AND r.paused_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM pause WHERE code IN ($5, 'programme:' || CAST(b.programme AS TEXT))))) \
         ORDER BY b.due_at LIMIT $3) other) due ORDER BY rank, since LIMIT $3) \
         AND nudged_at < $2 AND due_at <= $1 AND lease_until <= $1 RETURNING number, CASE WHEN state IN ('transmitting', 'in_doubt') THEN 0 ELSE 1 END, \
         CASE WHEN state IN ('transmitting', 'in_doubt') THEN first_copy_at ELSE due_at END"
    );
    let pause = super::notes::provider_pause(provider);
    let rows = tx.rows(&sql, values![times.0, times.1, limit, provider, &pause]).await?;
    rows.iter().map(|row| Ok(Told { number: row.int(0)?, rank: row.int(1)?, since: row.int(2)? })).collect()
}

/// Lets somebody be told of a batch again at once: whoever was could not begin.
pub async fn untell(tx: &mut Tx, id: Id<Batch>) -> Result<()> {
    tx.execute("UPDATE batch SET nudged_at = 0 WHERE number = $1", values![id.number()]).await.map(|_| ())
}

/// How many batches of a payroll are not completed, and how many payments are in all of them.
pub async fn incomplete(tx: &mut Tx, payroll: Id<Payroll>) -> Result<(i64, i64)> {
    let sql = "SELECT COALESCE(SUM(CASE WHEN state <> 'completed' THEN 1 ELSE 0 END), 0), \
               CAST(COALESCE(SUM(payments), 0) AS BIGINT) FROM batch WHERE payroll = $1";
    let row = tx.one(sql, values![payroll.number()]).await?;
    Ok((row.int(0)?, row.int(1)?))
}

/// Deletes the batches of a payroll that is refused.
pub async fn delete_of(tx: &mut Tx, payroll: Id<Payroll>) -> Result<()> {
    tx.execute("DELETE FROM batch WHERE payroll = $1", values![payroll.number()]).await.map(|_| ())
}

/// Totals of a payroll per provider and batch state: all, open, settled, rejected, returned.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Who gets them.
    pub provider: String,
    /// Where the batches stand.
    pub state: BatchState,
    /// How many batches.
    pub batches: i64,
    /// All, open, settled, rejected and returned.
    pub totals: [Total; 5],
}

/// The sums of all, open, settled, rejected and returned payments over batches, as columns of a SELECT.
pub(super) fn stage_sums() -> String {
    let sums = ["", "open_", "settled_", "rejected_", "returned_"].map(|stage| {
        let sum = if stage.is_empty() { String::from("sum_minor") } else { format!("{stage}minor") };
        let total = |column: &str| format!("CAST(COALESCE(SUM({column}), 0) AS BIGINT)");
        format!("{}, {}", total(&format!("{stage}payments")), total(&sum))
    });
    sums.join(", ")
}

/// Reads what [`stage_sums`] selected, from a position on.
pub(super) fn read_stages(row: &Row, position: usize) -> Result<[Total; 5]> {
    let mut totals = [Total::default(); 5];
    for (stage, total) in totals.iter_mut().enumerate() {
        *total = Total::read(row, position + 2 * stage)?;
    }
    Ok(totals)
}

/// How far a payroll is, per provider and batch state.
pub async fn stages(tx: &mut Tx, payroll: Id<Payroll>) -> Result<Vec<Stage>> {
    let sql = format!(
        "SELECT provider, state, COUNT(*), {} FROM batch WHERE payroll = $1 GROUP BY provider, state \
         ORDER BY provider, state",
        stage_sums()
    );
    let stage = |row: &Row| {
        let state = row.text(1)?;
        let totals = read_stages(row, 3)?;
        let state = BatchState::parse(&state).with_context(|| format!("a stored batch state is unknown: {state}"))?;
        Ok(Stage { provider: row.text(0)?, state, batches: row.int(2)?, totals })
    };
    tx.rows(&sql, values![payroll.number()]).await?.iter().map(stage).collect()
}
