//! Whether the process lives, whether its database answers, and numbers for whoever watches it.
//! Deliberately not here: anything that belongs to one tenant.

use std::fmt::Write;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::error::{Answer, Error, Problem};
use crate::store::gauges::Gauges;
use crate::store::meter;

/// States a batch can be in, so that a count that is zero is shown as such.
const BATCH_STATES: [&str; 5] = ["sealed", "transmitting", "accepted", "in_doubt", "completed"];
/// States of messages that are not with the registry yet.
const PUBLICATION_STATES: [&str; 3] = ["open", "due", "dead"];

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
    /// The version that runs.
    version: &'static str,
}

fn well() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// The process is alive.
#[utoipa::path(
    get, path = "/health", operation_id = "get_health", tag = "health",
    responses((status = 200, description = "Alive", body = Health)),
)]
pub async fn alive() -> Json<Health> {
    well()
}

/// The database answers.
#[utoipa::path(
    get, path = "/health/ready", operation_id = "get_readiness",
    tag = "health",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "The database does not answer", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub async fn ready(State(doors): State<Doors>) -> Answer<Json<Health>> {
    match doors.engine.ready().await {
        Ok(()) => Ok(well()),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the database does not answer");
            Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "database_away", "the database does not answer"))
        }
    }
}

/// Numbers in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", operation_id = "get_metrics",
    tag = "health",
    responses((status = 200, description = "The numbers", body = String, content_type = "text/plain")),
)]
pub async fn metrics(State(doors): State<Doors>) -> Answer<([(HeaderName, &'static str); 1], String)> {
    let gauges = doors.engine.gauges().await?;
    let now = doors.engine.clock.now();
    let uptime = doors.engine.clock.moment().since(doors.started).as_secs();
    let text = exposition(&gauges, meter::read(), now, uptime);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn exposition(gauges: &Gauges, (round_trips, commits): (u64, u64), now: i64, uptime: u64) -> String {
    let mut text = String::new();
    let plain = |value: i64| vec![(String::new(), value)];
    let age = gauges.doubt_since.map_or(0, |since| (now - since).max(0) / 1_000_000);
    let large = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let families = [
        ("database_round_trips_total", "counter", "Statements sent since the start.", plain(large(round_trips))),
        ("database_commits_total", "counter", "Units of work committed since the start.", plain(large(commits))),
        ("batches", "gauge", "Batches by state.", by_state(&BATCH_STATES, &gauges.batches)),
        ("payments_open", "gauge", "Payments without an end.", plain(gauges.open_payments)),
        ("doubt_oldest_age_seconds", "gauge", "Since the oldest batch in doubt was last sent.", plain(age)),
        (
            "publications",
            "gauge",
            "Messages the registry does not have yet, by state.",
            by_state(&PUBLICATION_STATES, &gauges.publications),
        ),
        ("exceptions_open", "gauge", "Exceptions nobody has closed.", plain(gauges.open_exceptions)),
        ("uptime_seconds", "gauge", "Since the start.", plain(large(uptime))),
    ];
    for (name, kind, words, values) in families {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP paymaster_{name} {words}\n# TYPE paymaster_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "paymaster_{name}{labels} {value}");
        }
    }
    text
}

fn by_state(all: &[&str], counted: &[(String, i64)]) -> Vec<(String, i64)> {
    let count = |state: &str| counted.iter().find(|(known, _)| known == state).map_or(0, |(_, count)| *count);
    all.iter().map(|state| (format!("{{state=\"{state}\"}}"), count(state))).collect()
}
