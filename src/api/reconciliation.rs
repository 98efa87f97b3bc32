//! A payroll from three sides: instructed, acknowledged, booked. Deliberately not here: the comparison.

use axum::Json;
use axum::extract::State;
use paymaster_connectors::contract::Currency;
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Reading};
use super::input::{Named, id};
use super::payroll::UNKNOWN;
use super::view::Sum;
use crate::domain::id::{Batch, Id, Payroll};
use crate::domain::reconcile::{self, Legs};
use crate::engine::{Engine, Reconciliation};
use crate::store::payroll::Total;
use crate::store::reconcile::BatchLegs;

/// What was instructed, acknowledged and booked.
#[derive(Debug, Serialize, ToSchema)]
pub struct LegsView {
    /// What we ordered.
    instructed: Sum,
    /// What the provider has said it has or had, rejections apart.
    acknowledged: Sum,
    /// What left the account.
    debited: Sum,
    /// What came back to it.
    credited: Sum,
    /// What we hold for paid.
    settled: Sum,
    /// What was refused.
    rejected: Sum,
    /// What came back after it was paid.
    returned: Sum,
    /// What has no end.
    open: Sum,
}

/// One batch from three sides.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchLegsView {
    /// Its id.
    #[schema(value_type = String)]
    id: Id<Batch>,
    /// Who got it.
    provider: String,
    /// Where it stands.
    state: &'static str,
    /// The day its bytes ask to pay on.
    execute_on: Option<String>,
    /// Whether statements tell what is booked; without them the provider's word does.
    has_statements: bool,
    /// The three sides.
    #[serde(flatten)]
    legs: LegsView,
}

/// What does not agree.
#[derive(Debug, Serialize, ToSchema)]
pub struct DifferenceView {
    /// Stable name: `without_end`, `debits` or `credits`.
    name: &'static str,
    /// Payments too many; below zero, missing.
    payments: i64,
    /// Minor units too many; below zero, missing.
    amount_minor: i64,
}

/// A payroll from three sides.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconciliationView {
    /// The payroll.
    #[schema(value_type = String)]
    payroll_id: Id<Payroll>,
    /// Where it stands; `reconciled` once nothing differs.
    state: &'static str,
    /// ISO 4217 code.
    currency: &'static str,
    /// All batches added up.
    total: LegsView,
    /// Batch by batch.
    batches: Vec<BatchLegsView>,
    /// What does not agree; empty when it does.
    differences: Vec<DifferenceView>,
    /// Exceptions on it that nobody has decided.
    exceptions: i64,
}

impl LegsView {
    fn new(legs: &Legs, currency: Currency) -> Self {
        let sum = |sum: reconcile::Sum| Sum::new(Total { payments: sum.payments, sum_minor: sum.minor }, currency);
        Self {
            instructed: sum(legs.instructed),
            acknowledged: sum(legs.acknowledged()),
            debited: sum(legs.debited),
            credited: sum(legs.credited),
            settled: sum(legs.settled),
            rejected: sum(legs.rejected),
            returned: sum(legs.returned),
            open: sum(legs.open),
        }
    }
}

impl ReconciliationView {
    fn new(engine: &Engine, found: Reconciliation) -> Self {
        let currency = found.payroll.currency;
        let batch = |one: BatchLegs| BatchLegsView {
            id: one.id,
            state: one.state.name(),
            has_statements: engine.has_statements(&one.provider),
            legs: LegsView::new(&one.legs, currency),
            provider: one.provider,
            execute_on: one.execute_on,
        };
        let difference = |(name, sum): (&'static str, reconcile::Sum)| DifferenceView {
            name,
            payments: sum.payments,
            amount_minor: sum.minor,
        };
        Self {
            payroll_id: found.payroll.id,
            state: found.payroll.state.name(),
            currency: currency.code(),
            total: LegsView::new(&found.total, currency),
            batches: found.batches.into_iter().map(batch).collect(),
            differences: found.differences.into_iter().map(difference).collect(),
            exceptions: found.exceptions,
        }
    }
}

/// Compare what was instructed, acknowledged and booked of a payroll.
#[utoipa::path(
    get, path = "/v1/payrolls/{id}/reconciliation", operation_id = "reconcile_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The three sides", body = ReconciliationView), Reading),
    security(("token" = [])),
)]
pub async fn get(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<ReconciliationView>> {
    let found = doors.engine.reconciliation(caller.scope(), id(&text, UNKNOWN)?).await?;
    Ok(Json(ReconciliationView::new(&doors.engine, found)))
}
