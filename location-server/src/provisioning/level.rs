//! `/v1/level`: how far the log is, and the sum that every replica at that level has.

use super::Api;
use super::problem::{Problem, ProblemBody};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub struct LevelBody {
    pub level: u64,
    /// Which log, 16 hex digits
    pub history: String,
    /// Record sum after that level, 32 hex digits
    pub checksum: String,
}

/// The log's level and the record sum
#[utoipa::path(
    get, path = "/v1/level", security(("token" = [])),
    responses(
        (status = 200, description = "As of now", body = LevelBody),
        (status = 401, description = "No token or a wrong one", body = ProblemBody)
    )
)]
pub async fn level(State(api): State<Api>) -> Result<Json<LevelBody>, Problem> {
    let body = api.inbox.read(|server, _| LevelBody {
        level: server.store().level().0,
        history: format!("{:016x}", server.history().0),
        checksum: format!("{:032x}", server.store().sum()),
    });
    Ok(Json(body.await?))
}
