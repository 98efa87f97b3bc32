//! A payroll made of what another one's payees were not paid. Deliberately not here: who may be paid again.

use anyhow::Context;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Problem, Writing};
use super::input::{Named, Sent, id};
use super::intake::{permit, taken};
use super::payroll::UNKNOWN;
use super::progress::PayrollView;
use crate::engine::{Reasons, Role};

/// What is to be paid again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReissue {
    /// Codes of reasons.
    #[serde(default)]
    #[schema(example = json!(["unstated"]))]
    codes: Vec<String>,
    /// Classes of reasons; what has one of the codes or one of the classes is paid again.
    #[serde(default)]
    #[schema(example = json!(["not_executed"]))]
    classes: Vec<String>,
}

/// Make a draft that pays again what was rejected or came back, to the same payees with the same amounts.
///
/// Without codes and classes, all of it but what has the class `stop`. What is being paid again already is left out. It needs to be submitted,
/// approved and released like every payroll.
#[utoipa::path(
    post, path = "/v1/payrolls/{id}/reissue", operation_id = "reissue_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Id of the payroll that was not paid in whole.")),
    request_body = NewReissue,
    responses(
        (status = 201, description = "A draft", body = PayrollView, headers(("Location" = String))),
        (status = 503, description = "Too many uploads are under way", body = Problem,
         content_type = "application/problem+json"),
        Writing
    ),
    security(("token" = [])),
)]
pub async fn create(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
    Sent(NewReissue { codes, classes }): Sent<NewReissue>,
) -> Answer<Response> {
    caller.needs(&[Role::Maker])?;
    let (id, permit) = (id(&text, UNKNOWN)?, permit(&doors)?);
    let (engine, actor) = (doors.engine.clone(), caller.actor.clone());
    // It goes on to its end also when the caller hangs up in the middle of it.
    let made = tokio::spawn(async move {
        let made = engine.reissue_of(&actor, id, &Reasons { codes, classes }).await;
        drop(permit);
        made
    });
    taken(&doors, &caller, made.await.context("a reissue broke off")??).await
}
