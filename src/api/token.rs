//! Tokens of the tenant's people. A secret is shown once and stored nowhere.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Error, Writing};
use super::input::{Named, Sent, id};
use crate::domain::id::{Id, Token};
use crate::engine::Role;

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Whose it is; the same person with two tokens is one person.
    person: String,
    /// maker, checker, auditor or admin.
    #[schema(example = "maker")]
    role: String,
}

/// A token that was made.
#[derive(Serialize, ToSchema)]
pub struct TokenMade {
    /// Its id, to end it by.
    #[schema(value_type = String, example = "tok_006RBCDC1JBZJ")]
    id: Id<Token>,
    /// Whose it is.
    person: String,
    /// What they may do.
    role: &'static str,
    /// Send it as `Authorization: Bearer …`. It is not shown again.
    secret: String,
}

/// Make a token.
#[utoipa::path(
    post, path = "/v1/tokens", operation_id = "make_token",
    tag = "tokens", request_body = NewToken,
    responses((status = 201, description = "The token", body = TokenMade), Writing), security(("token" = [])),
)]
pub async fn make(
    State(doors): State<Doors>,
    caller: Caller,
    Sent(new): Sent<NewToken>,
) -> Answer<(StatusCode, Json<TokenMade>)> {
    caller.needs(&[Role::Admin])?;
    let Some(role) = Role::parse(&new.role) else {
        return Err(Error::unusable("role_unknown", "a role is maker, checker, auditor or admin"));
    };
    let (id, secret) = doors.engine.make_token(caller.scope(), &new.person, role).await?;
    Ok((StatusCode::CREATED, Json(TokenMade { id, person: new.person, role: role.name(), secret })))
}

/// End a token.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", operation_id = "revoke_token",
    tag = "tokens", params(("id" = String, Path, description = "Its id.")),
    responses((status = 204, description = "Ended"), Writing), security(("token" = [])),
)]
pub async fn revoke(State(doors): State<Doors>, caller: Caller, Named(text): Named<String>) -> Answer<StatusCode> {
    caller.needs(&[Role::Admin])?;
    doors.engine.revoke_token(caller.scope(), id(&text, "token_unknown")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
