//! Programmes with their cycles, their money, and beneficiaries who are not to be paid for now.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use paymaster_connectors::contract::{Currency, Money};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Reading, Writing};
use super::input::{Named, Sent, day};
use super::view::{Amount, amount, currency};
use crate::domain::id::{Cycle, Id, Programme};
use crate::engine::{CycleRequest, ProgrammeRequest, Role};
use crate::store::party::ProgrammeRow;

/// A programme to make, or to bring up to date.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProgramme {
    /// Short name, unique in the tenant.
    #[schema(example = "child-grant")]
    code: String,
    /// Shown name.
    name: String,
    /// ISO 4217 code; it cannot be changed later.
    #[schema(example = "KES")]
    currency: String,
    /// Refuse a payroll as a whole when one row is bad, instead of leaving that row out.
    #[serde(default)]
    all_or_nothing: bool,
    /// Ceiling of one payment as a decimal.
    #[schema(example = "25000.00")]
    amount_max: Option<String>,
    /// How many rows of a payroll may share one payee account before it is flagged.
    shared_account_max: Option<i64>,
}

/// A programme.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgrammeView {
    /// Its id.
    #[schema(value_type = String, example = "prg_006RBCDC1JBZJ")]
    id: Id<Programme>,
    /// Short name, unique in the tenant.
    code: String,
    /// Shown name.
    name: String,
    /// ISO 4217 code.
    currency: String,
    /// Whether one bad row refuses a payroll.
    all_or_nothing: bool,
    /// Ceiling of one payment.
    amount_max: Option<Amount>,
    /// How many rows of a payroll may share one payee account before it is flagged.
    shared_account_max: Option<i64>,
    /// What may still be spent; only in lists.
    available: Option<Amount>,
}

/// All programmes of the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgrammeList {
    items: Vec<ProgrammeView>,
}

/// A period to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCycle {
    /// Short name, unique in the programme.
    #[schema(example = "2026-11")]
    code: String,
    /// First day, `YYYY-MM-DD`.
    first_day: String,
    /// Last day, `YYYY-MM-DD`.
    last_day: String,
}

/// A period that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct CycleView {
    /// Its id.
    #[schema(value_type = String, example = "cyc_006RBCDC1JBZJ")]
    id: Id<Cycle>,
    /// Short name.
    code: String,
}

/// Money for a programme.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFunding {
    /// As a decimal in the programme's currency.
    #[schema(example = "1000000.00")]
    amount: String,
    /// The warrant or transfer it came by.
    note: String,
}

/// What a programme may spend after it was funded.
#[derive(Debug, Serialize, ToSchema)]
pub struct FundingView {
    /// What may still be reserved.
    available: Amount,
}

/// A beneficiary who is not to be paid for now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// The programme's key of the beneficiary.
    beneficiary_id: String,
    /// Why.
    reason: String,
}

/// Make a programme, or bring one with this code up to date.
#[utoipa::path(
    post, path = "/v1/programmes", operation_id = "save_programme",
    tag = "programmes", request_body = NewProgramme,
    responses((status = 200, description = "The programme", body = ProgrammeView), Writing), security(("token" = [])),
)]
pub async fn save(
    State(doors): State<Doors>,
    caller: Caller,
    Sent(new): Sent<NewProgramme>,
) -> Answer<Json<ProgrammeView>> {
    caller.needs(&[Role::Admin])?;
    let currency = currency(&new.currency)?;
    let amount_max = new.amount_max.map(|text| amount(&text, currency)).transpose()?;
    let request = ProgrammeRequest {
        code: new.code,
        name: new.name,
        currency,
        all_or_nothing: new.all_or_nothing,
        amount_minor_max: amount_max.map(|amount| amount.minor),
        shared_account_max: new.shared_account_max,
    };
    Ok(Json(view(doors.engine.save_programme(&caller.actor, &request).await?, None)?))
}

/// Programmes of the tenant, each with what it may still spend.
#[utoipa::path(
    get, path = "/v1/programmes", operation_id = "list_programmes",
    tag = "programmes",
    responses((status = 200, description = "All of them", body = ProgrammeList), Reading), security(("token" = [])),
)]
pub async fn list(State(doors): State<Doors>, caller: Caller) -> Answer<Json<ProgrammeList>> {
    let rows = doors.engine.programmes(caller.scope()).await?.into_iter();
    let items: Answer<_> = rows.map(|(row, available)| view(row, Some(available))).collect();
    Ok(Json(ProgrammeList { items: items? }))
}

/// Make a cycle. Periods of one programme do not overlap; the same request again changes nothing.
#[utoipa::path(
    post, path = "/v1/programmes/{code}/cycles", operation_id = "make_cycle",
    tag = "programmes", request_body = NewCycle,
    params(("code" = String, Path, description = "Code of the programme.")),
    responses((status = 201, description = "The cycle", body = CycleView), Writing), security(("token" = [])),
)]
pub async fn make_cycle(
    State(doors): State<Doors>,
    caller: Caller,
    Named(programme): Named<String>,
    Sent(new): Sent<NewCycle>,
) -> Answer<(StatusCode, Json<CycleView>)> {
    caller.needs(&[Role::Admin])?;
    let request = CycleRequest { code: new.code, first_day: day(&new.first_day)?, last_day: day(&new.last_day)? };
    let id = doors.engine.make_cycle(&caller.actor, &programme, &request).await?;
    Ok((StatusCode::CREATED, Json(CycleView { id, code: request.code })))
}

/// Add money to a programme's funding account. Each call adds; it is not repeated by itself.
#[utoipa::path(
    post, path = "/v1/programmes/{code}/funding", operation_id = "fund_programme",
    tag = "programmes", request_body = NewFunding,
    params(("code" = String, Path, description = "Code of the programme.")),
    responses((status = 200, description = "What may be spent now", body = FundingView), Writing),
    security(("token" = [])),
)]
pub async fn fund(
    State(doors): State<Doors>,
    caller: Caller,
    Named(programme): Named<String>,
    Sent(new): Sent<NewFunding>,
) -> Answer<Json<FundingView>> {
    caller.needs(&[Role::Admin])?;
    let currency = currency_of(&doors, &caller, &programme).await?;
    let amount = amount(&new.amount, currency)?;
    let available = doors.engine.fund(&caller.actor, &programme, amount.minor, &new.note).await?;
    Ok(Json(FundingView { available: Money::new(available, currency).into() }))
}

/// Hold a beneficiary: rows of payrolls taken in from now on are held with this reason.
#[utoipa::path(
    post, path = "/v1/programmes/{code}/holds", operation_id = "hold_beneficiary",
    tag = "programmes", request_body = NewHold,
    params(("code" = String, Path, description = "Code of the programme.")),
    responses((status = 204, description = "Held"), Writing), security(("token" = [])),
)]
pub async fn hold(
    State(doors): State<Doors>,
    caller: Caller,
    Named(programme): Named<String>,
    Sent(new): Sent<NewHold>,
) -> Answer<StatusCode> {
    caller.needs(&[Role::Admin])?;
    doors.engine.hold_beneficiary(&caller.actor, &programme, &new.beneficiary_id, &new.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn currency_of(doors: &Doors, caller: &Caller, programme: &str) -> Answer<Currency> {
    currency(&doors.engine.programme(caller.scope(), programme).await?.currency)
}

fn view(row: ProgrammeRow, available: Option<i64>) -> Answer<ProgrammeView> {
    let currency = currency(&row.currency)?;
    let amount = |minor| Amount::from(Money::new(minor, currency));
    Ok(ProgrammeView {
        id: row.id,
        code: row.code,
        name: row.name,
        currency: row.currency,
        all_or_nothing: row.intake_mode == "all_or_nothing",
        amount_max: row.amount_minor_max.map(amount),
        shared_account_max: row.shared_account_max,
        available: available.map(amount),
    })
}
