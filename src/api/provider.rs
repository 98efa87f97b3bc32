//! Providers: how each stands, stopping new sends to one, and letting them go on.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Reading, Writing};
use super::input::{Named, Sent};
use super::view::at_if;
use crate::engine::{ProviderStanding, Role};

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

/// How a provider stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderView {
    /// The provider.
    provider: String,
    /// Why new sends are stopped, if they are; asking about what was sent goes on.
    paused: Option<String>,
    /// Until when nothing new begins, because it failed several times in a row or asked for time. No payment fails by it.
    closed_until: Option<String>,
    /// Failures in a row.
    failures: i64,
    /// Batches that are being sent or asked about.
    batches_in_hand: i64,
}

impl From<ProviderStanding> for ProviderView {
    fn from(one: ProviderStanding) -> Self {
        Self {
            closed_until: at_if(one.closed_until),
            provider: one.provider,
            paused: one.paused,
            failures: one.failures,
            batches_in_hand: one.batches_in_hand,
        }
    }
}

/// All providers.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderList {
    /// Each of them.
    items: Vec<ProviderView>,
}

/// How the providers stand.
#[utoipa::path(
    get, path = "/v1/providers", operation_id = "list_providers",
    tag = "providers",
    responses((status = 200, description = "The providers", body = ProviderList), Reading), security(("token" = [])),
)]
pub async fn list(State(doors): State<Doors>, _: Caller) -> Answer<Json<ProviderList>> {
    let standings = doors.engine.provider_standings().await?;
    Ok(Json(ProviderList { items: standings.into_iter().map(ProviderView::from).collect() }))
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
