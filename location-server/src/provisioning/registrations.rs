//! `/v1/registrations`: where users are reached now.

use super::problem::{Problem, ProblemBody};
use super::{Api, Page, row};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use common::location::{Binding, Bindings, LogTime};
use serde::Serialize;
use utoipa::ToSchema;

/// The bindings of one AOR
#[derive(Debug, Serialize, ToSchema)]
pub struct Registration {
    pub aor: String,
    pub bindings: Vec<BindingBody>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BindingBody {
    /// The Contact URI as registered
    pub contact: String,
    /// 0 to 1
    pub q: f64,
    /// Seconds that are left
    pub expires_s: u64,
    /// Address that the REGISTER came from
    pub received: String,
    /// Number of the listener it came in at
    pub listener: u8,
    pub path: Vec<String>,
    pub instance: String,
    pub user_agent: String,
    /// Level that wrote it last
    pub level: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Registrations {
    pub registrations: Vec<Registration>,
    /// `after` of the next page; null on the last
    pub next: Option<String>,
    /// Registered AORs in all
    pub total: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Count {
    /// AORs with at least one binding
    pub count: usize,
    /// Bindings
    pub contacts: usize,
}

impl Registration {
    fn of(bindings: &Bindings, now: LogTime) -> Registration {
        let body = |b: &Binding| BindingBody {
            contact: b.contact.clone(),
            q: f64::from(b.q_thousandths) / 1000.0,
            expires_s: b.expires_at.0.saturating_sub(now.0).div_ceil(1000),
            received: b.received.to_string(),
            listener: b.listener.0,
            path: b.path.clone(),
            instance: b.instance.clone(),
            user_agent: b.user_agent.clone(),
            level: b.version.0,
        };
        Registration { aor: bindings.aor.to_string(), bindings: bindings.bindings.iter().map(body).collect() }
    }
}

/// Registered AORs with their bindings
#[utoipa::path(
    get, path = "/v1/registrations", params(Page), security(("token" = [])),
    responses(
        (status = 200, description = "A page of them", body = Registrations),
        (status = 401, description = "No token or a wrong one", body = ProblemBody)
    )
)]
pub async fn list(
    State(api): State<Api>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Registrations>, Problem> {
    let page = page?.0;
    let limit = page.limit()?;
    let after = page.after.map(|aor| row::aor(&api, &aor)).transpose()?;
    let page = api.inbox.read(move |server, now| {
        let mut rows = server.store().registrations_after(after.as_ref());
        let registrations: Vec<_> = rows.by_ref().take(limit).map(|b| Registration::of(&b, now)).collect();
        let next = rows.next().and(registrations.last().map(|r| r.aor.clone()));
        Registrations { registrations, next, total: server.store().registration_counts().0 }
    });
    Ok(Json(page.await?))
}

/// The bindings of one AOR
#[utoipa::path(
    get, path = "/v1/registrations/{aor}", params(("aor" = String, Path,)), security(("token" = [])),
    responses(
        (status = 200, description = "Its bindings", body = Registration),
        (status = 401, description = "No token or a wrong one", body = ProblemBody),
        (status = 404, description = "It is not registered", body = ProblemBody)
    )
)]
pub async fn show(State(api): State<Api>, Path(aor): Path<String>) -> Result<Json<Registration>, Problem> {
    let aor = row::aor(&api, &aor)?;
    let text = aor.to_string();
    let found = api.inbox.read(move |server, now| server.store().bindings(&aor).map(|b| Registration::of(&b, now)));
    found.await?.map(Json).ok_or_else(|| Problem::not_found(format!("{text} is not registered")))
}

/// How many there are
#[utoipa::path(
    get, path = "/v1/registrations/count", security(("token" = [])),
    responses(
        (status = 200, description = "AORs and bindings", body = Count),
        (status = 401, description = "No token or a wrong one", body = ProblemBody)
    )
)]
pub async fn count(State(api): State<Api>) -> Result<Json<Count>, Problem> {
    let (count, contacts) = api.inbox.read(|server, _| server.store().registration_counts()).await?;
    Ok(Json(Count { count, contacts }))
}
