//! A payroll's way from its maker to a checker and out. Deliberately not here: who may approve what; the engine
//! compares persons, whatever token they come with.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Writing};
use super::input::{Named, id};
use super::payroll::UNKNOWN;
use crate::domain::id::{Id, Payroll};
use crate::domain::payroll::PayrollState;
use crate::engine::Role;

/// Everybody who may stop things.
const ANY_HAND: &[Role] = &[Role::Maker, Role::Checker, Role::Admin];

/// Where a payroll stands after a move.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayrollMoved {
    /// Its id.
    #[schema(value_type = String, example = "prl_006RBCDC1JBZJ")]
    id: Id<Payroll>,
    /// Where it stands now.
    #[schema(example = "submitted")]
    state: &'static str,
}

/// Whether a payroll's sends are stopped.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayrollPaused {
    /// Its id.
    #[schema(value_type = String, example = "prl_006RBCDC1JBZJ")]
    id: Id<Payroll>,
    /// Whether new sends are stopped; asking about what was sent goes on.
    paused: bool,
}

fn moved(id: Id<Payroll>, state: PayrollState) -> Json<PayrollMoved> {
    Json(PayrollMoved { id, state: state.name() })
}

/// The maker hands a draft to a checker.
#[utoipa::path(
    post, path = "/v1/payrolls/{id}/submit", operation_id = "submit_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Submitted", body = PayrollMoved), Writing), security(("token" = [])),
)]
pub async fn submit(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<PayrollMoved>> {
    caller.needs(&[Role::Maker])?;
    let id = id(&text, UNKNOWN)?;
    Ok(moved(id, doors.engine.submit_payroll(&caller.actor, id).await?))
}

/// A checker agrees with exactly this content. Nobody approves what they made or submitted.
#[utoipa::path(
    post, path = "/v1/payrolls/{id}/approve", operation_id = "approve_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Approved", body = PayrollMoved), Writing), security(("token" = [])),
)]
pub async fn approve(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<PayrollMoved>> {
    caller.needs(&[Role::Checker])?;
    let id = id(&text, UNKNOWN)?;
    Ok(moved(id, doors.engine.approve_payroll(&caller.actor, id).await?))
}

/// Back to the maker, before release; an approval is void.
#[utoipa::path(
    post, path = "/v1/payrolls/{id}/recall", operation_id = "recall_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "A draft again", body = PayrollMoved), Writing), security(("token" = [])),
)]
pub async fn recall(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<PayrollMoved>> {
    caller.needs(ANY_HAND)?;
    let id = id(&text, UNKNOWN)?;
    Ok(moved(id, doors.engine.recall_payroll(&caller.actor, id).await?))
}

/// Reserves the money and lets the batches go. The content must be what was approved.
#[utoipa::path(
    post, path = "/v1/payrolls/{id}/release", operation_id = "release_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Released", body = PayrollMoved), Writing), security(("token" = [])),
)]
pub async fn release(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<PayrollMoved>> {
    caller.needs(&[Role::Checker])?;
    let id = id(&text, UNKNOWN)?;
    Ok(moved(id, doors.engine.release_payroll(&caller.actor, id).await?))
}

/// Stops new sends of a payroll.
#[utoipa::path(
    post, path = "/v1/payrolls/{id}/pause", operation_id = "pause_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Paused", body = PayrollPaused), Writing), security(("token" = [])),
)]
pub async fn pause(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<PayrollPaused>> {
    set_paused(&doors, &caller, &text, true).await
}

/// Lets sends of a paused payroll go on.
#[utoipa::path(
    post, path = "/v1/payrolls/{id}/resume", operation_id = "resume_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Goes on", body = PayrollPaused), Writing), security(("token" = [])),
)]
pub async fn resume(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<PayrollPaused>> {
    set_paused(&doors, &caller, &text, false).await
}

async fn set_paused(doors: &Doors, caller: &Caller, text: &str, paused: bool) -> Answer<Json<PayrollPaused>> {
    caller.needs(ANY_HAND)?;
    let id = id(text, UNKNOWN)?;
    doors.engine.pause_payroll(&caller.actor, id, paused).await?;
    Ok(Json(PayrollPaused { id, paused }))
}
