//! The front door: HTTP in, one engine verb, HTTP out. It translates and holds no rule.
//!
//! One file per resource. Deliberately not here: SQL, states, who may approve what, and TLS, which whoever
//! stands in front of this service ends.

mod approval;
mod auth;
mod batch;
mod callback;
mod disbursement;
mod error;
mod exception;
mod health;
mod input;
mod intake;
mod openapi;
mod payroll;
mod programme;
mod progress;
mod provider;
mod publication;
mod queue;
mod reconciliation;
mod reissue;
mod report;
mod serve;
mod stop;
mod token;
mod upload;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tokio::sync::Semaphore;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

pub use error::{Error, Problem};
pub use serve::serve;

use crate::engine::Engine;

/// Largest payroll file unless told otherwise.
pub const BODY_BYTES_MAX_DEFAULT: u64 = 4 << 30;
/// Uploads taken at once; each holds a file on disk.
const UPLOADS_MAX: usize = 16;
/// Asked every few seconds by whoever watches the service; of no interest in the log.
const WATCHED: [&str; 3] = ["/health", "/health/ready", "/metrics"];
/// Names a request in answers and in the log.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the doors need.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// Whose verbs they call.
    pub engine: Arc<Engine>,
    /// Where uploads lie while they arrive. It must exist.
    pub spool: PathBuf,
    /// Largest payroll file.
    pub body_bytes_max: u64,
}

impl ApiState {
    /// With the largest payroll file that is usual.
    pub fn new(engine: Arc<Engine>, spool: PathBuf) -> Self {
        Self { engine, spool, body_bytes_max: BODY_BYTES_MAX_DEFAULT }
    }
}

/// What every door shares.
#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    spool: PathBuf,
    body_bytes_max: u64,
    uploads: Arc<Semaphore>,
    started: crate::clock::Moment,
}

type Doors = Arc<Shared>;

/// All paths, with their description at `/openapi.json` and a page to read and try it at `/docs`.
pub fn router(state: ApiState) -> Router {
    let started = state.engine.clock.moment();
    let ApiState { engine, spool, body_bytes_max } = state;
    let uploads = Arc::new(Semaphore::new(UPLOADS_MAX));
    let doors: Doors = Arc::new(Shared { engine, spool, body_bytes_max, uploads, started });
    let (router, described) = doors_of_all().split_for_parts();
    let ui = utoipa_swagger_ui::Config::default().validator_url("none");
    router
        .merge(SwaggerUi::new("/docs").url("/openapi.json", described).config(ui))
        .fallback(async || Error::unknown("path_unknown", "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            Error::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path knows other methods")
        })
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(named))
        .with_state(doors)
}

fn doors_of_all() -> OpenApiRouter<Doors> {
    OpenApiRouter::with_openapi(openapi::Description::openapi())
        .routes(routes!(programme::save, programme::list))
        .routes(routes!(programme::make_cycle))
        .routes(routes!(programme::fund))
        .routes(routes!(programme::hold))
        .routes(routes!(intake::create, payroll::list))
        .routes(routes!(payroll::get))
        .routes(routes!(payroll::rejects))
        .routes(routes!(reissue::create))
        .routes(routes!(reconciliation::get))
        .routes(routes!(approval::submit))
        .routes(routes!(approval::approve))
        .routes(routes!(approval::recall))
        .routes(routes!(approval::release))
        .routes(routes!(approval::pause))
        .routes(routes!(approval::resume))
        .routes(routes!(disbursement::list))
        .routes(routes!(disbursement::get))
        .routes(routes!(stop::hold))
        .routes(routes!(stop::unhold))
        .routes(routes!(stop::cancel))
        .routes(routes!(batch::list))
        .routes(routes!(batch::get))
        .routes(routes!(batch::evidence))
        .routes(routes!(exception::list))
        .routes(routes!(queue::summary))
        .routes(routes!(queue::propose))
        .routes(routes!(queue::confirm))
        .routes(routes!(queue::withdraw))
        .routes(routes!(exception::get))
        .routes(routes!(exception::propose, exception::withdraw))
        .routes(routes!(exception::confirm))
        .routes(routes!(publication::list))
        .routes(routes!(publication::replay_all))
        .routes(routes!(publication::replay))
        .routes(routes!(report::list))
        .routes(routes!(report::get))
        .routes(routes!(provider::list))
        .routes(routes!(provider::pause))
        .routes(routes!(provider::resume))
        .routes(routes!(token::make))
        .routes(routes!(token::revoke))
        .routes(routes!(callback::post, callback::put))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// Gives each request an id, one line in the log, and the headers that every answer has.
async fn named(request: Request, next: Next) -> Response {
    let id = crate::clock::random::<16>().map(|bytes| crate::store::seal::hex(&bytes)).unwrap_or_default();
    let (method, path) = (request.method().clone(), shown_path(request.uri().path()));
    let began = Instant::now();
    let mut response = error::REQUEST_ID.scope(id.clone(), next.run(request)).await;
    let (status, millis) = (response.status().as_u16(), began.elapsed().as_millis());
    if WATCHED.contains(&path.as_str()) {
        tracing::debug!(request.id = id, http.path = path, http.status = status, millis, "answered");
    } else {
        tracing::info!(request.id = id, http.method = %method, http.path = path, http.status = status, millis, "answered");
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if path.starts_with("/v1/") {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(X_REQUEST_ID, id);
    }
    response
}

/// The path as the log may show it; the secret of a callback is left out.
fn shown_path(path: &str) -> String {
    const CALLBACKS: &str = "/callbacks/";
    match path.strip_prefix(CALLBACKS) {
        Some(rest) => format!("{CALLBACKS}{}/…", rest.split('/').next().unwrap_or("")),
        None => path.to_owned(),
    }
}
