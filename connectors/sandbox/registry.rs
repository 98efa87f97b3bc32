//! A registry that takes G2P Connect on-disburse messages, checks who signed them, and keeps what they say.
//! Deliberately not here: any other G2P Connect path, and keeping anything across a restart.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cut::Cut;
use super::faults::RegistryFaults;
use super::{admin, now_micros, wire};
use crate::contract::{Currency, Money};
use crate::registry::VerifyingKey;

/// Where messages are posted to.
pub(super) const PATH: &str = "/on-disburse";
/// Longest body that is read.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Outcomes written at once.
const CHUNK_ROWS_MAX: usize = 1_000;

/// What a registry was told about one payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The registry's own name for the item.
    pub reference_id: String,
    /// The payer's reference for the payment.
    pub instruction: String,
    /// `succ`, `rjct` or `pdng`.
    pub status: String,
    /// Minor units, where an amount was given.
    pub amount_minor: Option<i64>,
    /// The currency, where one was given.
    pub currency: Option<Currency>,
}

/// The outcomes in a few numbers. A later word on the same payment replaces the earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomesSummary {
    /// Payments last told to have succeeded.
    pub succ: usize,
    /// Payments last told to have been rejected.
    pub rjct: usize,
    /// Sum of those that succeeded.
    pub sum_minor_succ: i64,
    /// Distinct messages.
    pub messages: usize,
    /// Messages that came again, counted each time.
    pub repeated_messages: usize,
}

#[derive(Default)]
struct Kept {
    outcomes: Vec<Told>,
    places: HashMap<(String, String), usize>,
    messages: HashSet<String>,
    repeated: usize,
    refused: u32,
}

/// The registry's state.
pub(super) struct Registry {
    kept: Mutex<Kept>,
    faults: RegistryFaults,
    verifying_key: Option<VerifyingKey>,
}

impl Registry {
    pub(super) fn new(faults: RegistryFaults, verifying_key: Option<VerifyingKey>) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), faults, verifying_key })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outcomes(&self) -> Vec<Told> {
        self.kept().outcomes.clone()
    }

    pub(super) fn summary(&self) -> OutcomesSummary {
        let kept = self.kept();
        let with = |status: &'static str| kept.outcomes.iter().filter(move |told| told.status == status);
        let sum = with("succ").filter_map(|told| told.amount_minor).fold(0_i64, i64::saturating_add);
        OutcomesSummary {
            succ: with("succ").count(),
            rjct: with("rjct").count(),
            sum_minor_succ: sum,
            messages: kept.messages.len(),
            repeated_messages: kept.repeated,
        }
    }
}

pub(super) fn router(registry: Arc<Registry>) -> Router {
    Router::new()
        .route(PATH, post(on_disburse))
        .route("/admin/outcomes", get(outcomes))
        .route("/admin/outcomes/summary", get(summary))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(registry)
}

async fn summary(State(registry): State<Arc<Registry>>) -> Json<OutcomesSummary> {
    Json(registry.summary())
}

async fn outcomes(State(registry): State<Arc<Registry>>) -> Response {
    admin::lines(move |from| {
        let kept = registry.kept();
        kept.outcomes.iter().skip(from).take(CHUNK_ROWS_MAX).map(|told| json!(told)).collect()
    })
}

#[derive(Deserialize)]
struct Envelope {
    header: Header,
    message: Message,
}

#[derive(Deserialize)]
struct Header {
    message_id: String,
    action: String,
    #[expect(dead_code, reason = "required by the schema, so its absence must be an error")]
    message_ts: String,
    #[expect(dead_code, reason = "required by the schema, so its absence must be an error")]
    status: String,
}

#[derive(Deserialize)]
struct Message {
    #[expect(dead_code, reason = "required by the schema, so its absence must be an error")]
    transaction_id: String,
    disbursements_status: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    reference_id: String,
    #[expect(dead_code, reason = "required by the schema, so its absence must be an error")]
    timestamp: String,
    status: String,
    instruction: Option<String>,
    amount: Option<String>,
    currency_code: Option<String>,
}

async fn on_disburse(
    State(registry): State<Arc<Registry>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    {
        let mut kept = registry.kept();
        if kept.refused < registry.faults.refuse_first_n {
            kept.refused += 1;
            return errors(StatusCode::SERVICE_UNAVAILABLE, "err.service.unavailable", "try again later");
        }
    }
    if let Some(key) = &registry.verifying_key {
        let Some(jws) = headers.get("Signature").and_then(|value| value.to_str().ok()) else {
            return errors(StatusCode::UNAUTHORIZED, "err.signature.missing", "the message is not signed");
        };
        if let Err(error) = key.verify(jws, &body) {
            return errors(StatusCode::UNAUTHORIZED, "err.signature.invalid", &error.to_string());
        }
    }
    match take(&registry, &body) {
        Ok((message_id, new)) => {
            if new && registry.faults.loses_ack(&message_id) {
                cut.now();
            }
            ack(&message_id, None)
        }
        Err(text) => ack("", Some(&text)),
    }
}

/// Keeps what a message says, once. Tells its id and whether it is new.
fn take(registry: &Registry, body: &[u8]) -> Result<(String, bool), String> {
    let Envelope { header, message } = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if header.action != "on-disburse" {
        return Err("the action is not on-disburse".to_owned());
    }
    let told: Vec<Told> = message.disbursements_status.into_iter().map(told).collect::<Result<_, _>>()?;
    let mut kept = registry.kept();
    if kept.messages.contains(&header.message_id) {
        kept.repeated += 1;
        return Ok((header.message_id, false));
    }
    for one in told {
        let key = (one.reference_id.clone(), one.instruction.clone());
        match kept.places.get(&key).copied() {
            Some(place) => kept.outcomes[place] = one,
            None => {
                let place = kept.outcomes.len();
                kept.places.insert(key, place);
                kept.outcomes.push(one);
            }
        }
    }
    kept.messages.insert(header.message_id.clone());
    Ok((header.message_id, true))
}

fn told(item: Item) -> Result<Told, String> {
    if !["rcvd", "pdng", "succ", "rjct"].contains(&item.status.as_str()) {
        return Err(format!("unknown status for {}", item.reference_id));
    }
    let currency = match item.currency_code {
        Some(code) => Some(Currency::parse(&code).ok_or_else(|| format!("unknown currency `{code}`"))?),
        None => None,
    };
    let amount_minor = match (item.amount, currency) {
        (Some(text), Some(currency)) => {
            let money = Money::parse(&text, currency).map_err(|error| format!("{}: {error}", item.reference_id))?;
            Some(money.minor)
        }
        _ => None,
    };
    let instruction = item.instruction.unwrap_or_default();
    Ok(Told { reference_id: item.reference_id, instruction, status: item.status, amount_minor, currency })
}

fn errors(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"errors": [{"code": code, "message": message}]}))).into_response()
}

/// The acknowledgement. A repeated message gets the correlation id of its first copy.
fn ack(message_id: &str, error: Option<&str>) -> Response {
    let digest = ring::digest::digest(&ring::digest::SHA256, message_id.as_bytes());
    let correlation: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut message: Value = json!({
        "ack_status": if error.is_some() { "ERR" } else { "ACK" },
        "timestamp": wire::date(now_micros()),
        "correlation_id": correlation,
    });
    if let Some(text) = error {
        message["error"] = json!({"code": "err.request.bad", "message": text});
    }
    Json(json!({"message": message})).into_response()
}
