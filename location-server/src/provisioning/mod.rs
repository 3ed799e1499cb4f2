//! The provisioning API: HTTP with JSON for operators and their tools. Everything under `/v1` needs the bearer token;
//! changes are commands of the log, answered when they are durable. `io` serves the router; tests call it in process.

pub mod digests;
mod import;
mod level;
mod openapi;
mod problem;
mod registrations;
mod row;
mod subscribers;
mod targets;

#[cfg(test)]
mod tests;

use crate::inbox::Inbox;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use problem::Problem;
use std::sync::Arc;
use subtle::ConstantTimeEq;
pub use targets::{TargetGroup, target_groups};

/// Longest body of a request, and of an import, in bytes.
const BODY: usize = 64 * 1024;
const IMPORT_BODY: usize = 64 * 1024 * 1024;
/// Rows of one answer: as many if none are asked for, and at most.
const ROWS: usize = 100;
const MOST_ROWS: usize = 1_000;

/// The secret of `<data>/api.token`.
#[derive(Clone)]
pub struct ApiToken(pub Arc<str>);

#[derive(Clone)]
pub struct Api {
    pub inbox: Inbox,
    pub token: ApiToken,
    /// Domains of the rack; an AOR of another one is refused.
    pub domains: Arc<[String]>,
    pub targets: Arc<[TargetGroup]>,
}

pub fn router(api: Api) -> Router {
    let protected = Router::new()
        .route("/v1/subscribers", post(subscribers::create).get(subscribers::list))
        .route("/v1/subscribers/{aor}", get(subscribers::show).put(subscribers::replace).delete(subscribers::remove))
        .route("/v1/registrations", get(registrations::list))
        .route("/v1/registrations/count", get(registrations::count))
        .route("/v1/registrations/{aor}", get(registrations::show))
        .route("/v1/level", get(level::level))
        .layer(DefaultBodyLimit::max(BODY))
        .route("/v1/import", post(import::import).layer(DefaultBodyLimit::max(IMPORT_BODY)))
        .layer(from_fn_with_state(api.clone(), require_token));
    Router::new()
        .route("/", get(home))
        .route("/openapi.json", get(openapi_json))
        .route("/metrics/targets", get(metrics_targets))
        .merge(protected)
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_that_method)
        .with_state(api)
}

async fn require_token(State(api): State<Api>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| {
        let (scheme, token) = v.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let why = match given {
        Some(token) if bool::from(token.as_bytes().ct_eq(api.token.0.as_bytes())) => return next.run(request).await,
        Some(_) => "the bearer token is wrong",
        None => "a bearer token is needed",
    };
    let text = format!(
        "{why}: send `Authorization: Bearer <token>` with the token of the file api.token in the data directory"
    );
    let mut response = Problem::unauthorized(text).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer realm=\"siprack\""));
    response
}

/// What this is
#[utoipa::path(get, path = "/", responses((status = 200, description = "A page for people", content_type = "text/html")))]
async fn home() -> Html<&'static str> {
    Html(include_str!("home.html"))
}

async fn openapi_json() -> impl IntoResponse {
    Json(openapi::document())
}

/// Where Prometheus finds every service of the rack (http_sd)
#[utoipa::path(
    get, path = "/metrics/targets",
    responses((status = 200, description = "Target groups with labels", body = [TargetGroup]))
)]
async fn metrics_targets(State(api): State<Api>) -> Json<Arc<[TargetGroup]>> {
    Json(api.targets)
}

async fn nothing_here(request: Request) -> Problem {
    Problem::not_found(format!("there is no {}; /openapi.json lists what there is", request.uri().path()))
}

async fn not_that_method(request: Request) -> Problem {
    Problem::method_not_allowed(format!(
        "{} does not take {}; see /openapi.json",
        request.uri().path(),
        request.method()
    ))
}

/// `?after=&limit=` of every list.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Rows behind this AOR; the `next` of the page before
    after: Option<String>,
    /// Rows at most: 100 unless given, up to 1000
    limit: Option<usize>,
}

impl Page {
    fn limit(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(ROWS) {
            limit @ 1..=MOST_ROWS => Ok(limit),
            other => Err(Problem::field("limit", format!("{other} is not between 1 and {MOST_ROWS}"))),
        }
    }
}
