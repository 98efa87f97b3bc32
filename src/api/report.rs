//! Reports as files. Deliberately not here: what stands in one, and how it is written.

use anyhow::Context;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Error, Reading};
use super::input::{Asked, Named, id};
use crate::engine::paper::Paper;
use crate::engine::{Narrow, REPORTS, ReportName};

/// What a report is narrowed to.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NarrowQuery {
    /// Code of a programme.
    programme: Option<String>,
    /// Id of a payroll.
    payroll: Option<String>,
    /// Name of a provider.
    provider: Option<String>,
}

/// A report there is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportView {
    /// Its name.
    #[schema(example = "unpaid")]
    name: &'static str,
    /// Its title.
    title: &'static str,
    /// Its columns.
    columns: Vec<ColumnView>,
    /// Where it is, as files.
    files: [String; 2],
}

/// A column of a report.
#[derive(Debug, Serialize, ToSchema)]
pub struct ColumnView {
    /// Its name.
    #[schema(example = "sum")]
    name: &'static str,
    /// text, count, money or day.
    #[schema(example = "money")]
    kind: &'static str,
}

/// All reports.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportList {
    items: Vec<ReportView>,
}

/// The reports there are.
#[utoipa::path(
    get, path = "/v1/reports", operation_id = "list_reports", tag = "reports",
    responses((status = 200, description = "All of them", body = ReportList), Reading), security(("token" = [])),
)]
pub async fn list(_: Caller) -> Json<ReportList> {
    let view = |(report, name, title): (ReportName, &'static str, &'static str)| ReportView {
        name,
        title,
        columns: report.columns().iter().map(|(name, kind)| ColumnView { name, kind: kind.name() }).collect(),
        files: ["csv", "xlsx"].map(|ending| format!("/v1/reports/{name}.{ending}")),
    };
    Json(ReportList { items: REPORTS.map(view).into() })
}

/// A report as a file. A spreadsheet has a second sheet with what was held against the ledger.
#[utoipa::path(
    get, path = "/v1/reports/{file}", operation_id = "get_report", tag = "reports",
    params(("file" = String, Path, description = "Its name with `.csv` or `.xlsx`, such as `unpaid.csv`."), NarrowQuery),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/csv"),
            (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        )),
        Reading
    ),
    security(("token" = [])),
)]
pub async fn get(
    State(doors): State<Doors>,
    caller: Caller,
    Named(file): Named<String>,
    Asked(asked): Asked<NarrowQuery>,
) -> Answer<Response> {
    let found = file.rsplit_once('.').and_then(|(name, ending)| ReportName::parse(name).zip(Paper::parse(ending)));
    let Some((name, paper)) = found else {
        let all = REPORTS.map(|(_, name, _)| name).join(", ");
        return Err(Error::unknown("report_unknown", format!("a report is one of {all}, with .csv or .xlsx")));
    };
    let payroll = asked.payroll.as_deref().map(|text| id(text, super::payroll::UNKNOWN)).transpose()?;
    let narrow = Narrow { programme: asked.programme, payroll, provider: asked.provider };
    let table = doors.engine.report(caller.scope(), name, &narrow).await?;
    let written = tokio::task::spawn_blocking(move || paper.write(&table)).await.context("a report broke off")?;
    let headers = [
        (CONTENT_TYPE, paper.media_type().to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\"")),
    ];
    Ok((headers, written?).into_response())
}
