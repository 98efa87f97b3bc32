//! One payment stopped by a person before it leaves. Deliberately not here: what can still be stopped.

use axum::Json;
use axum::extract::State;
use paymaster_connectors::contract::Reference;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::disbursement::{DisbursementView, number};
use super::error::{Answer, Writing};
use super::input::{Named, Sent};
use crate::engine::Role;

/// Why a payment is stopped, or goes on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopReason {
    /// Why, up to 300 characters, without personal data.
    reason: String,
}

/// Hold a payment before it leaves.
#[utoipa::path(
    post, path = "/v1/disbursements/{reference}/hold", operation_id = "hold_disbursement",
    tag = "disbursements", params(("reference" = String, Path, description = "Its reference, 16 characters.")),
    request_body = StopReason,
    responses((status = 200, description = "Held", body = DisbursementView), Writing), security(("token" = [])),
)]
pub async fn hold(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
    Sent(why): Sent<StopReason>,
) -> Answer<Json<DisbursementView>> {
    caller.needs(&[Role::Maker, Role::Checker, Role::Admin])?;
    let reference = number(&doors, &text)?;
    doors.engine.hold(&caller.actor, reference.number(), &why.reason).await?;
    shown(&doors, &caller, reference).await
}

/// Let a held payment go, in a batch of its own. For somebody who did not make its payroll.
#[utoipa::path(
    post, path = "/v1/disbursements/{reference}/unhold", operation_id = "unhold_disbursement",
    tag = "disbursements", params(("reference" = String, Path, description = "Its reference, 16 characters.")),
    request_body = StopReason,
    responses((status = 200, description = "Let go", body = DisbursementView), Writing), security(("token" = [])),
)]
pub async fn unhold(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
    Sent(why): Sent<StopReason>,
) -> Answer<Json<DisbursementView>> {
    caller.needs(&[Role::Checker])?;
    let reference = number(&doors, &text)?;
    doors.engine.unhold(&caller.actor, reference.number(), &why.reason).await?;
    shown(&doors, &caller, reference).await
}

/// Cancel a payment before it leaves. For somebody who did not make its payroll.
#[utoipa::path(
    post, path = "/v1/disbursements/{reference}/cancel", operation_id = "cancel_disbursement",
    tag = "disbursements", params(("reference" = String, Path, description = "Its reference, 16 characters.")),
    request_body = StopReason,
    responses((status = 200, description = "Cancelled", body = DisbursementView), Writing), security(("token" = [])),
)]
pub async fn cancel(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
    Sent(why): Sent<StopReason>,
) -> Answer<Json<DisbursementView>> {
    caller.needs(&[Role::Checker])?;
    let reference = number(&doors, &text)?;
    doors.engine.cancel(&caller.actor, reference.number(), &why.reason).await?;
    shown(&doors, &caller, reference).await
}

async fn shown(doors: &Doors, caller: &Caller, reference: Reference) -> Answer<Json<DisbursementView>> {
    let found = doors.engine.disbursement(caller.scope(), reference.number()).await?;
    Ok(Json(DisbursementView::new(&doors.engine, found)))
}
