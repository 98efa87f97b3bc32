//! Providers: stopping new sends to one, and letting them go on.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Writing};
use super::input::{Named, Sent};
use crate::engine::Role;

/// Why sends are stopped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseReason {
    /// In words.
    reason: String,
}

/// Whether sends to a provider are stopped.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderPaused {
    /// The provider.
    provider: String,
    /// Whether new sends are stopped; asking about what was sent goes on.
    paused: bool,
}

/// Stops new sends to a provider.
#[utoipa::path(
    post, path = "/v1/providers/{name}/pause", operation_id = "pause_provider",
    tag = "providers", request_body = PauseReason,
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "Paused", body = ProviderPaused), Writing), security(("token" = [])),
)]
pub async fn pause(
    State(doors): State<Doors>,
    caller: Caller,
    Named(provider): Named<String>,
    Sent(why): Sent<PauseReason>,
) -> Answer<Json<ProviderPaused>> {
    caller.needs(&[Role::Admin])?;
    doors.engine.pause_provider(&provider, Some(&why.reason)).await?;
    Ok(Json(ProviderPaused { provider, paused: true }))
}

/// Lets sends to a provider go on.
#[utoipa::path(
    post, path = "/v1/providers/{name}/resume", operation_id = "resume_provider",
    tag = "providers",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "Goes on", body = ProviderPaused), Writing), security(("token" = [])),
)]
pub async fn resume(
    State(doors): State<Doors>,
    caller: Caller,
    Named(provider): Named<String>,
) -> Answer<Json<ProviderPaused>> {
    caller.needs(&[Role::Admin])?;
    doors.engine.pause_provider(&provider, None).await?;
    Ok(Json(ProviderPaused { provider, paused: false }))
}
