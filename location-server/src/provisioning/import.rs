//! `/v1/import`: subscribers as JSON lines, each line added or replaced for itself. Lines go to the log without waiting
//! for each other, so many of them share one sync.

use super::problem::{Problem, ProblemBody};
use super::{Api, row};
use crate::inbox::{Reply, outcome};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use common::location::Command;
use serde::Serialize;
use std::collections::VecDeque;
use utoipa::ToSchema;

/// Lines that may be on their way to the log.
const WINDOW: usize = 1_024;
/// Bad lines that the answer lists; more are only counted.
const MOST_LISTED: usize = 1_000;

/// What became of an import
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Imported {
    /// Lines that are durable now
    pub imported: usize,
    /// Lines that are not
    pub failed: usize,
    /// The first 1000 of those
    pub errors: Vec<BadLine>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BadLine {
    /// From 1
    pub line: usize,
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Imported {
    fn failed(&mut self, line: usize, why: Problem) {
        self.failed += 1;
        if self.errors.len() < MOST_LISTED {
            self.errors.push(BadLine { line, error: why.body.error, field: why.body.field });
        }
    }

    async fn wait(&mut self, (line, reply): (usize, Reply)) {
        match outcome(reply).await {
            Ok(_) => self.imported += 1,
            Err(why) => self.failed(line, why.into()),
        }
    }
}

/// Add or replace many subscribers, one JSON object a line
#[utoipa::path(
    post, path = "/v1/import", security(("token" = [])),
    request_body(content = String, content_type = "application/x-ndjson", description = "Lines of {\"aor\",\"password\"}"),
    responses(
        (status = 200, description = "Every good line is durable; the bad ones are listed", body = Imported),
        (status = 401, description = "No token or a wrong one", body = ProblemBody),
        (status = 413, description = "Longer than 64 MiB; split it", body = ProblemBody)
    )
)]
pub async fn import(State(api): State<Api>, body: Result<Bytes, BytesRejection>) -> Result<Json<Imported>, Problem> {
    let body = body?;
    let mut result = Imported::default();
    let mut waiting: VecDeque<(usize, Reply)> = VecDeque::new();
    for (line, text) in (1..).zip(body.split(|b| *b == b'\n')) {
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match read(&api, text) {
            Ok(command) => waiting.push_back((line, api.inbox.submit(None, command).await?)),
            Err(why) => result.failed(line, why),
        }
        if waiting.len() >= WINDOW
            && let Some(oldest) = waiting.pop_front()
        {
            result.wait(oldest).await;
        }
    }
    for oldest in waiting {
        result.wait(oldest).await;
    }
    result.errors.sort_by_key(|e| e.line);
    Ok(Json(result))
}

fn read(api: &Api, line: &[u8]) -> Result<Command, Problem> {
    let [aor, password] = row::texts(line, ["aor", "password"])?;
    let subscriber = row::subscriber(row::aor(api, &aor)?, &password)?;
    Ok(Command::PutSubscriber { subscriber, only_new: false })
}
