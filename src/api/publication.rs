//! Messages to registries: which wait, which arrived, which were laid aside, and bringing those back.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Error, Reading, Writing};
use super::input::{Asked, Named, PageQuery, id};
use super::view::{at, at_if};
use crate::domain::id::{Batch, Evidence, Id, Payroll, Publication};
use crate::engine::Role;
use crate::store::publication::PublicationRow;

/// States a message can be in.
const STATES: [&str; 3] = ["open", "acknowledged", "dead"];

/// A message to the registry.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicationView {
    /// Its id; also the id in the message.
    #[schema(value_type = String, example = "pub_006RBCDC1JBZJ")]
    id: Id<Publication>,
    /// Its payroll.
    #[schema(value_type = String)]
    payroll: Id<Payroll>,
    /// Its batch.
    #[schema(value_type = String)]
    batch: Id<Batch>,
    /// Its place among the batch's messages; they go out in this order.
    sequence: i64,
    /// What proved the ends it tells of.
    #[schema(value_type = String)]
    evidence: Id<Evidence>,
    /// How many ends it tells of.
    items: i64,
    /// open, acknowledged or dead.
    state: String,
    /// Tries so far.
    attempts: i64,
    /// Why the last try failed.
    last_error: Option<String>,
    /// When it was made.
    created_at: String,
    /// When the registry acknowledged it.
    acknowledged_at: Option<String>,
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicationPage {
    items: Vec<PublicationView>,
    /// Cursor of the next page; absent on the last.
    next: Option<String>,
}

/// How many messages were brought back.
#[derive(Debug, Serialize, ToSchema)]
pub struct Replayed {
    /// How many.
    replayed: u64,
}

/// Which messages are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PublicationQuery {
    /// open, acknowledged or dead; dead unless told.
    state: Option<String>,
    /// `next` of the page before; absent for the first page.
    cursor: Option<String>,
    /// Items of the page, 1 to 1000; 100 unless told.
    limit: Option<i64>,
}

/// Messages in a state.
#[utoipa::path(
    get, path = "/v1/publications", operation_id = "list_publications",
    tag = "publications", params(PublicationQuery),
    responses((status = 200, description = "A page", body = PublicationPage), Reading), security(("token" = [])),
)]
pub async fn list(
    State(doors): State<Doors>,
    caller: Caller,
    Asked(query): Asked<PublicationQuery>,
) -> Answer<Json<PublicationPage>> {
    let state = query.state.as_deref().unwrap_or("dead");
    if !STATES.contains(&state) {
        return Err(Error::malformed("state_unknown", format!("a state is one of {}", STATES.join(", "))));
    }
    let page = PageQuery { cursor: query.cursor, limit: query.limit };
    let list = format!("publications {state}");
    let (above, limit) = page.window(&list, 0)?;
    let mut rows = doors.engine.publications(caller.scope(), state, above, limit).await?;
    let next = page.cut(&list, &mut rows, |row| row.id.number());
    Ok(Json(PublicationPage { items: rows.into_iter().map(PublicationView::from).collect(), next }))
}

/// Bring all messages back that were laid aside.
#[utoipa::path(
    post, path = "/v1/publications/replay", operation_id = "replay_publications",
    tag = "publications",
    responses((status = 200, description = "How many", body = Replayed), Writing), security(("token" = [])),
)]
pub async fn replay_all(State(doors): State<Doors>, caller: Caller) -> Answer<Json<Replayed>> {
    caller.needs(&[Role::Admin])?;
    Ok(Json(Replayed { replayed: doors.engine.replay_publications(caller.scope(), None).await? }))
}

/// Bring one message back that was laid aside.
#[utoipa::path(
    post, path = "/v1/publications/{id}/replay", operation_id = "replay_publication",
    tag = "publications",
    params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "How many", body = Replayed), Writing), security(("token" = [])),
)]
pub async fn replay(State(doors): State<Doors>, caller: Caller, Named(text): Named<String>) -> Answer<Json<Replayed>> {
    caller.needs(&[Role::Admin])?;
    let id = id(&text, "publication_unknown")?;
    Ok(Json(Replayed { replayed: doors.engine.replay_publications(caller.scope(), Some(id)).await? }))
}

impl From<PublicationRow> for PublicationView {
    fn from(row: PublicationRow) -> Self {
        Self {
            id: row.id,
            payroll: row.payroll,
            batch: row.batch,
            sequence: row.sequence,
            evidence: Id::new(row.evidence),
            items: row.items,
            state: row.state,
            attempts: row.attempts,
            last_error: row.last_error,
            created_at: at(row.created_at),
            acknowledged_at: at_if(row.acknowledged_at),
        }
    }
}
