//! A mobile-money operator that speaks GSMA Mobile Money API 1.2: what it accepts, and how it can fail to answer.
//! Deliberately not here: what it shows when asked (`views.rs`) and the carrying out (`execute.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::book::Book;
use super::cut::Cut;
use super::faults::Faults;
use super::request::{Asked, Request as Accepted};
use super::wire::{self, Item, Patch, Posted, PostedBatch, Refusal};
use super::{admin, execute, views};

/// The version prefix that the operator's paths also have.
pub(super) const PREFIX: &str = "/mm/v1.2";
/// Longest body that is read.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Most changes in one PATCH (schema).
const PATCHES_MAX: usize = 10;

/// The operator: its book, its faults, and its work in hand.
pub(super) struct Operator {
    book: Mutex<Book>,
    faults: Mutex<Faults>,
    api_key: Option<String>,
    pub(super) delay: Duration,
    pub(super) client: reqwest::Client,
    pub(super) callbacks: Semaphore,
    tasks: Mutex<JoinSet<()>>,
    /// Requests that are not carried out, or whose callback is not made.
    open: watch::Sender<usize>,
    writes: AtomicU64,
    questions: AtomicU64,
}

/// How often the operator was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Calls that could change something.
    pub writes: u64,
    /// Calls that only ask.
    pub questions: u64,
}

/// What an operator is made of.
pub(super) struct Parts {
    pub(super) book: Book,
    pub(super) faults: Faults,
    pub(super) api_key: Option<String>,
    pub(super) delay: Duration,
    pub(super) client: reqwest::Client,
}

impl Operator {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            book: Mutex::new(parts.book),
            faults: Mutex::new(parts.faults),
            api_key: parts.api_key,
            delay: parts.delay,
            client: parts.client,
            callbacks: Semaphore::new(execute::CALLBACKS_MAX),
            tasks: Mutex::new(JoinSet::new()),
            open: watch::Sender::new(0),
            writes: AtomicU64::new(0),
            questions: AtomicU64::new(0),
        })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn faults(&self) -> Faults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    pub(super) fn calls(&self) -> Calls {
        Calls { writes: self.writes.load(Ordering::SeqCst), questions: self.questions.load(Ordering::SeqCst) }
    }

    fn called(&self, method: &Method) {
        let counter = if method == Method::GET { &self.questions } else { &self.writes };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    /// Carries a request out in a task of its own.
    pub(super) fn start(self: &Arc<Self>, index: u32) {
        self.open.send_modify(|open| *open += 1);
        let operator = self.clone();
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            execute::execute(&operator, index).await;
            operator.open.send_modify(|open| *open -= 1);
        });
    }

    /// Returns when every accepted request was carried out and its callbacks were made.
    pub(super) async fn quiet(&self) {
        // The sender lives as long as this borrow, so waiting cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Stops all work in hand; what was not carried out is found again at the next start.
    pub(super) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
        if let Err(refusal) = self.book().flush() {
            tracing::error!(error = ?refusal, "the sandbox ledger could not be written");
        }
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All paths of the operator.
pub(super) fn router(operator: Arc<Operator>) -> Router {
    let paths = Router::new()
        .route("/batchtransactions", post(post_batch))
        .route("/batchtransactions/{id}", get(views::batch).patch(patch_batch))
        .route("/batchtransactions/{id}/completions", get(views::completions))
        .route("/batchtransactions/{id}/rejections", get(views::rejections))
        .route("/transactions", post(post_single))
        .route("/transactions/type/{kind}", post(post_single_of_kind))
        .route("/transactions/{reference}", get(views::single))
        .route("/requeststates/{id}", get(views::request_state))
        .route("/responses/{id}", get(views::response))
        .route("/heartbeat", get(views::heartbeat))
        .route("/accounts/balance", get(views::own_balance))
        .route("/accounts/{account}/balance", get(views::own_balance))
        .route("/accounts/{key}/{value}/status", get(views::account_status))
        .route("/accounts/{key}/{value}/accountname", get(views::account_name))
        .route("/accounts/{key}/{value}/balance", get(views::own_balance))
        .fallback(|| async { Refusal::unknown("no such resource") })
        .layer(from_fn_with_state(operator.clone(), gate));
    Router::new()
        .nest(PREFIX, paths.clone())
        .merge(paths)
        .merge(admin::operator_routes())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(operator)
}

/// The count and latency before, the API key, and the date after every call.
async fn gate(State(operator): State<Arc<Operator>>, request: Request, next: Next) -> Response {
    operator.called(request.method());
    let latency = operator.faults().latency_millis;
    if latency > 0 {
        tokio::time::sleep(Duration::from_millis(latency)).await;
    }
    let given = request.headers().get("X-API-Key").map(HeaderValue::as_bytes);
    let known = operator.api_key.as_ref().is_none_or(|key| given == Some(key.as_bytes()));
    let mut response = if known {
        next.run(request).await
    } else {
        let (status, text) = (StatusCode::UNAUTHORIZED, "the API key is missing or wrong");
        Refusal::new(status, "authorisation", "clientAuthorisationError", text).into_response()
    };
    if let Ok(date) = HeaderValue::from_str(&wire::date(super::now_micros())) {
        response.headers_mut().insert("X-Date", date);
    }
    response
}

async fn post_batch(
    State(operator): State<Arc<Operator>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let currency = operator.book().ledger.currency;
    let read = move |asked: &mut Asked| {
        let mut posted: PostedBatch = wire::read(&body)?;
        asked.items = wire::items(&mut posted, currency)?;
        asked.approved = match posted.batch_status.as_deref() {
            None | Some("approved") => true,
            Some("created") => false,
            Some(_) => return Err(Refusal::invalid("formatError", "a new batch is created or approved")),
        };
        (asked.batch, asked.title, asked.description) = (true, posted.batch_title, posted.batch_description);
        Ok(())
    };
    take(&operator, &cut, &headers, read)
}

async fn post_single(
    State(operator): State<Arc<Operator>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    take_single(&operator, &cut, &headers, (None, &body))
}

async fn post_single_of_kind(
    State(operator): State<Arc<Operator>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    take_single(&operator, &cut, &headers, (Some(&kind), &body))
}

fn take_single(
    operator: &Arc<Operator>,
    cut: &Cut,
    headers: &HeaderMap,
    (kind, body): (Option<&str>, &[u8]),
) -> Result<Response, Refusal> {
    let currency = operator.book().ledger.currency;
    take(operator, cut, headers, |asked| {
        let posted: Posted = wire::read(body)?;
        asked.items = vec![wire::single(posted, kind, currency)?];
        Ok(())
    })
}

/// Accepts one request, starts it, and answers, unless a fault keeps the answer.
fn take(
    operator: &Arc<Operator>,
    cut: &Cut,
    headers: &HeaderMap,
    read: impl FnOnce(&mut Asked) -> Result<(), Refusal>,
) -> Result<Response, Refusal> {
    let correlation = correlation(headers)?;
    let callback = headers.get("X-Callback-URL").and_then(|url| url.to_str().ok()).map(str::to_owned);
    let mut asked = Asked {
        correlation,
        callback,
        title: None,
        description: None,
        approved: true,
        batch: false,
        items: Vec::new(),
    };
    let faults = operator.faults();
    if let Some(id) = correlation.map(|id| id.to_string())
        && faults.loses_request(&id)
        && operator.book().dropped.insert(id)
    {
        cut.now();
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    read(&mut asked)?;
    let (approved, batch) = (asked.approved, asked.batch);
    let payee = asked.items.first().filter(|_| !batch).map(Item::payee_id).unwrap_or_default();
    let payee_loses_reply = faults.loses_single_reply(payee);
    let mut book = operator.book();
    let index = book.accept(asked, super::now_micros())?;
    let key = book.request(index).map(Accepted::key).unwrap_or_default();
    let state = book.request(index).map(views::state_of).unwrap_or_default();
    let first_lost = batch && book.replies_lost < faults.lose_first_replies;
    book.replies_lost += u32::from(first_lost);
    drop(book);
    if approved {
        operator.start(index);
    }
    if first_lost || payee_loses_reply || faults.loses_reply(&key) {
        cut.now();
    }
    if faults.errs_after(&key) {
        let (status, text) = (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong");
        return Err(Refusal::new(status, "internal", "genericError", text));
    }
    Ok((StatusCode::ACCEPTED, axum::Json(views::shown(operator, state))).into_response())
}

async fn patch_batch(
    State(operator): State<Arc<Operator>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let correlation = correlation(&headers)?;
    let index = operator.book().batch(&id).map(|(index, _)| index);
    let index = index.ok_or_else(|| Refusal::unknown("no such batch"))?;
    let patches: Vec<Patch> = wire::read(&body)?;
    let good = |patch: &Patch| {
        patch.op == "replace" && patch.path.trim_start_matches('/') == "batchStatus" && patch.value == "approved"
    };
    if patches.is_empty() || patches.len() > PATCHES_MAX || !patches.iter().all(good) {
        return Err(Refusal::invalid("formatError", "only batchStatus can be replaced, by approved"));
    }
    operator.book().approve(index, correlation)?;
    operator.start(index);
    Ok(StatusCode::NO_CONTENT)
}

/// The client's own name for its request, a hyphenated UUID.
fn correlation(headers: &HeaderMap) -> Result<Option<Uuid>, Refusal> {
    let Some(given) = headers.get("X-CorrelationID") else { return Ok(None) };
    let id = given.to_str().ok().filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok());
    id.map(Some).ok_or_else(|| Refusal::invalid("formatError", "X-CorrelationID must be a UUID"))
}
