//! The admin port of a process: `/healthz` (it runs), `/readyz` (it serves), `/metrics` (Prometheus), `/status` (JSON).

use super::start::StartError;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::{Registry, TextEncoder};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What a process says of itself.
pub trait AdminSource: Send + Sync + 'static {
    /// Why it does not serve yet, or `None` if it does.
    fn not_ready(&self) -> Option<String>;
    fn status(&self) -> serde_json::Value;
    fn registry(&self) -> &Registry;
}

/// The four paths; merge your own to it.
pub fn router(source: Arc<dyn AdminSource>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(source)
}

/// Binds the admin address, or says why not.
pub async fn bind(what: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|e| StartError::socket(what, address, e))
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, router: Router) -> std::io::Result<()> {
    axum::serve(listener, router).await
}

/// What is wrong with an order, as JSON.
pub fn refused(code: StatusCode, why: &str) -> Response {
    (code, Json(serde_json::json!({ "error": why }))).into_response()
}

/// The answer to an order that a page's script sends: every browser names the page then, and no other program does.
pub fn from_a_page(headers: &HeaderMap) -> Option<Response> {
    let why = "a page in a browser gives no orders here";
    headers.contains_key(header::ORIGIN).then(|| refused(StatusCode::FORBIDDEN, why))
}

async fn ready(State(source): State<Arc<dyn AdminSource>>) -> Response {
    match source.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn status(State(source): State<Arc<dyn AdminSource>>) -> Response {
    Json(source.status()).into_response()
}

async fn metrics(State(source): State<Arc<dyn AdminSource>>) -> Response {
    match TextEncoder::new().encode_to_string(&source.registry().gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
