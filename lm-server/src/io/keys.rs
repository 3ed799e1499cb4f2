//! The keys that rotate, on the admin port: `GET /keys` says which stand since when, and an operator orders
//! `POST /keys/turn?use=token|nonce|plane|all[&now=true]`.

use super::rotation::{NotKept, RotationFile};
use super::shared::Shared;
use crate::membership::Phase;
use crate::rotation::{Rotation, TooSoon};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use common::io::admin::{from_a_page, refused};
use common::io::clock::Clock;
use common::keys::{Generations, Span, Use};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Turning {
    shared: Arc<Shared>,
    clock: Clock,
    /// One order at a time.
    kept: Mutex<Kept>,
}

struct Kept {
    file: RotationFile,
    /// What the file says, and what was learned from the nodes since; none where there was no file and nobody has asked.
    rotation: Option<Rotation>,
}

impl Turning {
    pub fn new(shared: Arc<Shared>, clock: Clock, file: RotationFile, rotation: Option<Rotation>) -> Turning {
        Turning { shared, clock, kept: Mutex::new(Kept { file, rotation }) }
    }

    /// The two paths.
    pub fn router(self) -> Router {
        Router::new().route("/keys", get(show)).route("/keys/turn", post(turn)).with_state(Arc::new(self))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands, once the nodes have told it.
    fn known(&self, kept: &mut Kept) -> Result<Rotation, Refused> {
        let (status, now) = (self.shared.status.load(), self.clock.wall());
        if status.phase == Phase::Learning {
            return Err(Refused::Learning);
        }
        let rotation = kept.rotation.get_or_insert_with(|| Rotation::found(&status.keys, now));
        rotation.follow(&status.keys, now);
        Ok(rotation.clone())
    }

    /// All that is ordered or nothing. On disk first, so that a load manager that starts never falls behind its nodes.
    fn turn(&self, order: &Order) -> Result<Generations, Refused> {
        let mut kept = self.kept();
        let (mut next, now) = (self.known(&mut kept)?, self.clock.wall());
        for what in &order.uses {
            next.turn(*what, order.at_once, now)?;
        }
        kept.file.write(&next)?;
        let wanted = next.generations();
        kept.rotation = Some(next);
        self.shared.wanted_keys.store(Arc::new(wanted));
        tracing::info!(keys = ?order.uses, at_once = order.at_once, "turned by the operator's order");
        Ok(wanted)
    }

    fn shown(&self) -> Result<Value, Refused> {
        let known = self.known(&mut self.kept())?;
        let each = Use::ALL.into_iter().map(|what| {
            let Span { oldest, newest } = known.generations().of(what);
            let since_ms = known.since_ms(what);
            (what.label().to_string(), json!({ "oldest": oldest, "newest": newest, "since_ms": since_ms }))
        });
        Ok(Value::Object(each.collect()))
    }
}

/// Why nothing has turned.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("this load manager has just started and asks the nodes which keys stand; order it again in a second")]
    Learning,
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
    #[error(transparent)]
    NotKept(#[from] NotKept),
}

impl Refused {
    fn code(&self) -> StatusCode {
        match self {
            Refused::Learning => StatusCode::SERVICE_UNAVAILABLE,
            Refused::TooSoon(_) => StatusCode::CONFLICT,
            Refused::NotKept(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "use")]
    what: Option<String>,
    now: Option<String>,
}

struct Order {
    uses: Vec<Use>,
    at_once: bool,
}

impl Order {
    fn parse(asked: &Asked) -> Result<Order, &'static str> {
        let uses = match asked.what.as_deref() {
            Some("all") => Use::ALL.to_vec(),
            what => Use::ALL.into_iter().filter(|one| Some(one.label()) == what).collect(),
        };
        if uses.is_empty() {
            return Err("say which key: ?use=token, ?use=nonce, ?use=plane or ?use=all");
        }
        match asked.now.as_deref() {
            None | Some("false") => Ok(Order { uses, at_once: false }),
            Some("true") => Ok(Order { uses, at_once: true }),
            Some(_) => Err("`now` is true or false"),
        }
    }
}

async fn show(State(turning): State<Arc<Turning>>) -> Response {
    // An order may wait for the disk meanwhile, and the signals are heard on this thread.
    match tokio::task::spawn_blocking(move || turning.shown()).await {
        Ok(Ok(keys)) => Json(keys).into_response(),
        Ok(Err(why)) => refused(why.code(), &why.to_string()),
        Err(broken) => refused(StatusCode::INTERNAL_SERVER_ERROR, &broken.to_string()),
    }
}

async fn turn(State(turning): State<Arc<Turning>>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    if let Some(refusal) = from_a_page(&headers) {
        return refusal;
    }
    let order = match Order::parse(&asked) {
        Ok(order) => order,
        Err(why) => return refused(StatusCode::BAD_REQUEST, why),
    };
    match tokio::task::spawn_blocking(move || turning.turn(&order)).await {
        Ok(Ok(keys)) => Json(json!({ "keys": keys })).into_response(),
        Ok(Err(why)) => refused(why.code(), &why.to_string()),
        Err(broken) => refused(StatusCode::INTERNAL_SERVER_ERROR, &broken.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::membership::{Core, Setup, Status};
    use common::config::Rack;
    use common::ids::BootId;
    use common::io::start::control_runtime;
    use common::keys::{Keys, RackKey};
    use common::placement::Placer;
    use common::time::Time;
    use std::path::PathBuf;

    /// A load manager that acts, and its directory.
    fn turning(name: &str) -> (Arc<Turning>, PathBuf) {
        let directory = std::env::temp_dir().join(format!("siprack-keys-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let (file, rotation) = RotationFile::open(&directory);
        let rack = Arc::new(Rack::one_machine_default(1).expand());
        let keys = Arc::new(Keys::derive(&RackKey([6; 32])));
        let placer = Placer::new(keys.placement);
        let core = Core::new(Time(0), Setup { id: 1, boot: BootId(7), rack, keys, placer, nonce_seed: 1 });
        let shared = Arc::new(Shared::new(Status { phase: Phase::Acting, ..core.status(Time(0)) }));
        (Arc::new(Turning::new(shared, Clock::new(), file, rotation)), directory)
    }

    /// Code and body of the answer to `?use=WHAT&now=NOW`.
    fn ordered(turning: &Arc<Turning>, headers: HeaderMap, what: &str, now: Option<&str>) -> (u16, Value) {
        let asked = Asked { what: Some(what.into()), now: now.map(String::from) };
        control_runtime().unwrap().block_on(async {
            let answer = turn(State(turning.clone()), headers, Query(asked)).await;
            let code = answer.status().as_u16();
            let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
            (code, serde_json::from_slice(&body).unwrap())
        })
    }

    fn wanted(turning: &Turning) -> Generations {
        **turning.shared.wanted_keys.load()
    }

    fn span(oldest: u8, newest: u8) -> Span {
        Span { oldest, newest }
    }

    #[test]
    fn a_turn_is_kept_wanted_and_shown() {
        let (turning, directory) = turning("turn");
        assert_eq!(turning.shown().unwrap()["plane"], json!({ "oldest": 1, "newest": 1, "since_ms": 0 }));
        let (code, body) = ordered(&turning, HeaderMap::new(), "plane", None);
        assert_eq!((code, &body["keys"]["plane"]), (200, &json!({ "oldest": 1, "newest": 2 })));
        assert_eq!(wanted(&turning), Generations { plane: span(1, 2), ..Generations::default() });
        assert_eq!(RotationFile::open(&directory).1.unwrap().generations(), wanted(&turning));
        let shown = turning.shown().unwrap();
        assert_eq!((&shown["plane"]["newest"], &shown["token"]["newest"]), (&json!(2), &json!(1)));
        assert!(shown["plane"]["since_ms"].as_u64().unwrap() > 1_700_000_000_000, "{shown}");
        let (code, body) = ordered(&turning, HeaderMap::new(), "all", Some("true"));
        assert_eq!((code, &body["keys"]["plane"]), (200, &json!({ "oldest": 3, "newest": 3 })));
        assert_eq!(wanted(&turning), Generations { token: span(2, 2), nonce: span(2, 2), plane: span(3, 3) });
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn too_soon_for_one_is_too_soon_for_all() {
        let (turning, directory) = turning("soon");
        ordered(&turning, HeaderMap::new(), "plane", None);
        let before = wanted(&turning);
        for what in ["plane", "all"] {
            let (code, body) = ordered(&turning, HeaderMap::new(), what, Some("false"));
            assert_eq!(code, 409);
            assert!(body["error"].as_str().unwrap().starts_with("the plane key turned less than"), "{body}");
            assert_eq!(wanted(&turning), before);
            assert_eq!(RotationFile::open(&directory).1.unwrap().generations(), before);
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_no_order_turns_nothing() {
        let (turning, directory) = turning("refused");
        for (what, now) in [("branch", None), ("", None), ("plane", Some("yes"))] {
            assert_eq!(ordered(&turning, HeaderMap::new(), what, now).0, 400, "{what} {now:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(axum::http::header::ORIGIN, "http://example.net".parse().unwrap());
        assert_eq!(ordered(&turning, headers, "plane", None).0, 403);
        let acting = turning.shared.status.load_full();
        turning.shared.status.store(Arc::new(Status { phase: Phase::Learning, ..(*acting).clone() }));
        assert_eq!(ordered(&turning, HeaderMap::new(), "plane", None).0, 503, "the nodes may know newer ones");
        turning.shared.status.store(acting);
        std::fs::remove_dir_all(&directory).unwrap();
        let (code, body) = ordered(&turning, HeaderMap::new(), "plane", None);
        assert_eq!(code, 500);
        assert!(body["error"].as_str().unwrap().contains(&directory.join("keys.json").display().to_string()), "{body}");
        assert_eq!(wanted(&turning), Generations::default());
        assert_eq!(turning.shown().unwrap()["plane"]["newest"], 1);
    }

    #[test]
    fn a_turn_goes_on_from_where_the_nodes_are() {
        let (turning, directory) = turning("follow");
        let status = turning.shared.status.load_full();
        let keys = Generations { token: span(3, 5), ..Generations::default() };
        turning.shared.status.store(Arc::new(Status { keys, ..(*status).clone() }));
        assert_eq!(turning.shown().unwrap()["token"]["newest"], 5);
        let (code, body) = ordered(&turning, HeaderMap::new(), "token", None);
        assert_eq!((code, &body["keys"]["token"]), (200, &json!({ "oldest": 3, "newest": 6 })));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
