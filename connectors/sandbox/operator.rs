//! A mobile-money operator that speaks GSMA Mobile Money API 1.2: its doors, and its work in hand.
//! Deliberately not here: taking payments in (`intake.rs`), what it shows when asked (`views.rs`) and the carrying
//! out (`execute.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::book::Book;
use super::faults::{Fault, Faults, Marks};
use super::kind::Kind;
use super::mangle::{self, Mangle};
use super::request::Asked;
use super::wire::{self, Patch, Refusal};
use super::{admin, execute, intake, statement, views};

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
    /// How often the operator was healed; whoever waits for something late waits no longer.
    healed: watch::Sender<u64>,
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
            healed: watch::Sender::new(0),
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

    /// Positions of the credits of some references.
    pub(super) fn credits_of(&self, which: impl Fn(&str) -> bool) -> Vec<u32> {
        let book = self.book();
        (0_u32..).zip(book.ledger.credits()).filter(|(_, one)| which(&one.reference)).map(|(at, _)| at).collect()
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
        if self.book().begin(index) {
            let operator = self.clone();
            self.spawn(async move { execute::execute(&operator, index).await });
        }
    }

    /// A call that is still on its way arrives late, and nobody hears the answer.
    pub(super) fn arrives_late(self: &Arc<Self>, asked: Asked) {
        let operator = self.clone();
        self.spawn(async move {
            operator.wait(operator.faults().late_millis).await;
            let _ = intake::accept(&operator, asked);
        });
    }

    fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        self.open.send_modify(|open| *open += 1);
        let operator = self.clone();
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            work.await;
            operator.open.send_modify(|open| *open -= 1);
        });
    }

    /// Waits, unless the operator is healed meanwhile.
    pub(super) async fn wait(&self, millis: u64) {
        let mut healed = self.healed.subscribe();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(millis)) => {}
            _ = healed.changed() => {}
        }
    }

    /// Nothing goes wrong any more, and everything that waits is carried on.
    pub(super) fn heal(self: &Arc<Self>) {
        self.set_faults(Faults::none());
        self.healed.send_modify(|times| *times += 1);
        let waiting = self.book().waiting();
        for index in waiting {
            self.start(index);
        }
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
    let questions = Router::new()
        .route("/batchtransactions/{id}", get(views::batch).patch(patch_batch))
        .route("/batchtransactions/{id}/completions", get(views::completions))
        .route("/batchtransactions/{id}/rejections", get(views::rejections))
        .route("/transactions/{reference}", get(views::single))
        .route("/requeststates/{id}", get(views::request_state))
        .route("/responses/{id}", get(views::response))
        .route_layer(from_fn_with_state(operator.clone(), answers));
    let paths = questions
        .route("/batchtransactions", post(intake::post_batch))
        .route("/transactions", post(intake::post_single))
        .route("/transactions/type/{kind}", post(intake::post_single_of_kind))
        .route("/accounts/{key}/{value}/statemententries", get(statement::entries))
        .route("/accounts/{account}/statemententries", get(statement::entries))
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

/// An operator that only keeps a statement says nothing about payments. Not a 404: that would be a word on them.
async fn answers(State(operator): State<Arc<Operator>>, request: Request, next: Next) -> Response {
    if request.method() == Method::GET && operator.book().kind == Kind::StatementOnly {
        let (status, text) = (StatusCode::SERVICE_UNAVAILABLE, "payments are shown on the statement alone");
        return Refusal::new(status, "serviceUnavailable", "genericError", text).into_response();
    }
    next.run(request).await
}

/// The count and latency before, the API key, and the date after every call.
async fn gate(State(operator): State<Arc<Operator>>, request: Request, next: Next) -> Response {
    operator.called(request.method());
    let faults = operator.faults();
    if faults.latency_millis > 0 {
        tokio::time::sleep(Duration::from_millis(faults.latency_millis)).await;
    }
    let question = (request.method() == Method::GET).then(|| request.uri().to_string());
    let given = request.headers().get("X-API-Key").map(HeaderValue::as_bytes);
    let known = operator.api_key.as_ref().is_none_or(|key| given == Some(key.as_bytes()));
    let mut response = if known {
        next.run(request).await
    } else {
        let (status, text) = (StatusCode::UNAUTHORIZED, "the API key is missing or wrong");
        Refusal::new(status, "authorisation", "clientAuthorisationError", text).into_response()
    };
    let drawn = question.and_then(|key| mangled(&operator, &faults, &key, Marks::default()));
    if let Some(how) = drawn.or_else(|| response.extensions().get::<Mangle>().copied()) {
        response = mangle::mangle(response, how).await;
    }
    if let Ok(date) = HeaderValue::from_str(&wire::date(super::now_micros())) {
        response.headers_mut().insert("X-Date", date);
    }
    response
}

/// Whether the body of an answer comes to harm.
pub(super) fn mangled(operator: &Operator, faults: &Faults, key: &str, marks: Marks) -> Option<Mangle> {
    let kinds = [(Fault::TruncateReply, Mangle::Truncate), (Fault::GarbleReply, Mangle::Garble)];
    let strikes = |fault: Fault| faults.strikes(fault, key, marks) && operator.book().first_time(fault, key);
    kinds.into_iter().find(|(fault, _)| strikes(*fault)).map(|(_, how)| how)
}

async fn patch_batch(
    State(operator): State<Arc<Operator>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let correlation = intake::correlation(&headers)?;
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
