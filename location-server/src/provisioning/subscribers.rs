//! `/v1/subscribers`: who may register. Digests go in as commands of the log and never come out.

use super::problem::{Problem, ProblemBody};
use super::{Api, Page, row};
use crate::store::Store;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use common::ids::Level;
use common::location::{Command, Outcome, Refusal, Subscriber};
use serde::Serialize;
use utoipa::ToSchema;

/// A subscriber; its password is never shown
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriberBody {
    /// user@domain
    pub aor: String,
    /// Bindings that it has now
    pub contacts: usize,
    /// Algorithms that its password can be asked for with; SHA-512-256 is missing where the password is from before it was kept
    pub digests: Vec<&'static str>,
}

impl SubscriberBody {
    fn of(store: &Store, subscriber: &Subscriber) -> SubscriberBody {
        let mut digests = vec!["MD5", "SHA-256"];
        digests.extend(subscriber.ha1_sha512_256.map(|_| "SHA-512-256"));
        let contacts = store.bindings(&subscriber.aor).map_or(0, |b| b.bindings.len());
        SubscriberBody { aor: subscriber.aor.to_string(), contacts, digests }
    }
}

/// What to add
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes the request; `row` reads it so that each mistake names its field")]
pub struct NewSubscriber {
    /// user@domain, the domain one of the rack's
    pub aor: String,
    pub password: String,
}

/// What to change
#[derive(ToSchema)]
#[allow(dead_code, reason = "as NewSubscriber")]
pub struct NewPassword {
    pub password: String,
}

/// A change is durable at this level
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    pub aor: String,
    pub level: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Subscribers {
    pub subscribers: Vec<SubscriberBody>,
    /// `after` of the next page; null on the last
    pub next: Option<String>,
    /// Subscribers in all
    pub total: usize,
}

/// Add a subscriber
#[utoipa::path(
    post, path = "/v1/subscribers", request_body = NewSubscriber, security(("token" = [])),
    responses(
        (status = 201, description = "Added, durable", body = Done),
        (status = 401, description = "No token or a wrong one", body = ProblemBody),
        (status = 409, description = "It is there already", body = ProblemBody),
        (status = 422, description = "A field is wrong; it is named", body = ProblemBody),
        (status = 503, description = "The log cannot take it now (a full disk, say)", body = ProblemBody)
    )
)]
pub async fn create(
    State(api): State<Api>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let [aor, password] = row::texts(&body?, ["aor", "password"])?;
    let subscriber = row::subscriber(row::aor(&api, &aor)?, &password)?;
    let aor = subscriber.aor.to_string();
    match api.inbox.ask(Command::PutSubscriber { subscriber, only_new: true }).await? {
        Outcome::Refused { .. } => {
            Err(Problem::conflict(format!("{aor} exists; PUT /v1/subscribers/{aor} changes its password")))
        }
        outcome => Ok((StatusCode::CREATED, Json(Done { aor, level: level_of(&outcome).0 }))),
    }
}

/// Set a subscriber's password, or add it with that password
#[utoipa::path(
    put, path = "/v1/subscribers/{aor}", params(("aor" = String, Path,)), request_body = NewPassword,
    security(("token" = [])),
    responses(
        (status = 200, description = "Changed, durable", body = Done),
        (status = 201, description = "Added, durable", body = Done),
        (status = 401, description = "No token or a wrong one", body = ProblemBody),
        (status = 422, description = "A field is wrong; it is named", body = ProblemBody),
        (status = 503, description = "The log cannot take it now", body = ProblemBody)
    )
)]
pub async fn replace(
    State(api): State<Api>,
    Path(aor): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let aor = row::aor(&api, &aor)?;
    let [password] = row::texts(&body?, ["password"])?;
    let subscriber = row::subscriber(aor.clone(), &password)?;
    let key = aor.clone();
    let known = api.inbox.read(move |server, _| server.store().subscriber(&key).is_some()).await?;
    let outcome = api.inbox.ask(Command::PutSubscriber { subscriber, only_new: false }).await?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(Done { aor: aor.to_string(), level: level_of(&outcome).0 })))
}

/// Remove a subscriber together with its bindings
#[utoipa::path(
    delete, path = "/v1/subscribers/{aor}", params(("aor" = String, Path,)), security(("token" = [])),
    responses(
        (status = 200, description = "Removed, durable", body = Done),
        (status = 401, description = "No token or a wrong one", body = ProblemBody),
        (status = 404, description = "There is no such subscriber", body = ProblemBody),
        (status = 503, description = "The log cannot take it now", body = ProblemBody)
    )
)]
pub async fn remove(State(api): State<Api>, Path(aor): Path<String>) -> Result<Json<Done>, Problem> {
    let aor = row::aor(&api, &aor)?;
    match api.inbox.ask(Command::RemoveSubscriber { aor: aor.clone() }).await? {
        Outcome::Refused { refusal: Refusal::NoSuchSubscriber, .. } => Err(missing(&aor.to_string())),
        outcome => Ok(Json(Done { aor: aor.to_string(), level: level_of(&outcome).0 })),
    }
}

/// One subscriber
#[utoipa::path(
    get, path = "/v1/subscribers/{aor}", params(("aor" = String, Path,)), security(("token" = [])),
    responses(
        (status = 200, description = "It exists", body = SubscriberBody),
        (status = 401, description = "No token or a wrong one", body = ProblemBody),
        (status = 404, description = "There is no such subscriber", body = ProblemBody)
    )
)]
pub async fn show(State(api): State<Api>, Path(aor): Path<String>) -> Result<Json<SubscriberBody>, Problem> {
    let aor = row::aor(&api, &aor)?;
    let text = aor.to_string();
    let found = api.inbox.read(move |server, _| {
        let store = server.store();
        store.subscriber(&aor).map(|subscriber| SubscriberBody::of(store, subscriber))
    });
    found.await?.map(Json).ok_or_else(|| missing(&text))
}

/// Subscribers by AOR
#[utoipa::path(
    get, path = "/v1/subscribers", params(Page), security(("token" = [])),
    responses(
        (status = 200, description = "A page of them", body = Subscribers),
        (status = 401, description = "No token or a wrong one", body = ProblemBody)
    )
)]
pub async fn list(
    State(api): State<Api>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Subscribers>, Problem> {
    let page = page?.0;
    let limit = page.limit()?;
    let after = page.after.map(|aor| row::aor(&api, &aor)).transpose()?;
    let page = api.inbox.read(move |server, _| {
        let store = server.store();
        let mut rows = store.subscribers_after(after.as_ref());
        let subscribers: Vec<SubscriberBody> =
            rows.by_ref().take(limit).map(|subscriber| SubscriberBody::of(store, subscriber)).collect();
        let next = rows.next().and(subscribers.last().map(|s| s.aor.clone()));
        Subscribers { subscribers, next, total: store.subscriber_count() }
    });
    Ok(Json(page.await?))
}

fn missing(aor: &str) -> Problem {
    Problem::not_found(format!("there is no subscriber {aor}"))
}

fn level_of(outcome: &Outcome) -> Level {
    match outcome {
        Outcome::Registered { level, .. } | Outcome::Done { level } | Outcome::Refused { level, .. } => *level,
    }
}
