//! Who calls: a bearer token becomes a person of a tenant with a role, and a role is held against what is asked.
//! Deliberately not here: whether a person may approve what they made; that is the engine's rule.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Doors;
use super::error::{Answer, Error};
use crate::engine::{Actor, Role};
use crate::store::Scope;

/// Longest secret that is looked up.
const SECRET_CHARS_MAX: usize = 200;

/// The caller, as their token names them.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Person and tenant.
    pub actor: Actor,
    /// What they may do.
    pub role: Role,
}

impl Caller {
    /// Passes when the caller's role is one of these.
    pub fn needs(&self, roles: &[Role]) -> Answer<()> {
        if roles.contains(&self.role) {
            return Ok(());
        }
        let wanted: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        let detail = format!("this needs a token with the role {}", wanted.join(" or "));
        Err(Error::new(StatusCode::FORBIDDEN, "role_forbidden", detail))
    }

    /// Whose rows they see.
    pub fn scope(&self) -> &Scope {
        &self.actor.scope
    }
}

impl FromRequestParts<Doors> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, doors: &Doors) -> Result<Self, Error> {
        let secret = bearer(parts).ok_or_else(no_token)?;
        let (actor, role) = doors.engine.by_token(secret).await?.ok_or_else(no_token)?;
        Ok(Self { actor, role })
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, secret) = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let fits = scheme.eq_ignore_ascii_case("bearer") && secret.len() <= SECRET_CHARS_MAX;
    fits.then_some(secret.trim())
}

fn no_token() -> Error {
    Error::new(StatusCode::UNAUTHORIZED, "token_unknown", "send a live token as `Authorization: Bearer …`")
}
