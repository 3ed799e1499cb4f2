//! What the API says when it does not do what was asked: a status and one sentence, with the field where there is one.

use crate::inbox::Unanswered;
use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was not carried out
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemBody {
    /// What was wrong and what would be right
    pub error: String,
    /// The field that it is about
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    pub body: ProblemBody,
}

impl Problem {
    fn new(status: StatusCode, error: impl Into<String>) -> Problem {
        Problem { status, body: ProblemBody { error: error.into(), field: None } }
    }

    pub fn bad_request(error: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, error)
    }

    pub fn unauthorized(error: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, error)
    }

    pub fn not_found(error: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, error)
    }

    pub fn method_not_allowed(error: impl Into<String>) -> Problem {
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, error)
    }

    pub fn conflict(error: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, error)
    }

    /// 422 that names the field.
    pub fn field(field: &str, error: impl Into<String>) -> Problem {
        let body = ProblemBody { error: format!("{field}: {}", error.into()), field: Some(field.into()) };
        Problem { status: StatusCode::UNPROCESSABLE_ENTITY, body }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl From<Unanswered> for Problem {
    fn from(why: Unanswered) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, why.to_string())
    }
}

impl From<QueryRejection> for Problem {
    fn from(why: QueryRejection) -> Problem {
        Problem::bad_request(why.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(why: BytesRejection) -> Problem {
        Problem::new(why.status(), why.body_text())
    }
}
