//! The API called in process, over a core with a simulated disk.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::inbox::Job;
use crate::log::Log;
use crate::log::simulated::SimulatedLog;
use crate::replicate::RingLimits;
use crate::server::{Effect, Input, Server, Setup};
use crate::testing::{HISTORY, SUM_KEY, register};
use axum::body::{Body, to_bytes};
use axum::http::{Method, StatusCode};
use common::config::Rack;
use common::ids::Level;
use common::location::{Command, IdempotenceKey, LogTime};
use common::time::{Time, WallMillis};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tower::ServiceExt;

const TOKEN: &str = "0123456789abcdef";

/// Every request under `/v1`, for the tests that ask whether none was forgotten.
const PROTECTED: [(&str, &str); 10] = [
    ("POST", "/v1/subscribers"),
    ("GET", "/v1/subscribers"),
    ("GET", "/v1/subscribers/1001@rack.test"),
    ("PUT", "/v1/subscribers/1001@rack.test"),
    ("DELETE", "/v1/subscribers/1001@rack.test"),
    ("GET", "/v1/registrations"),
    ("GET", "/v1/registrations/1001@rack.test"),
    ("GET", "/v1/registrations/count"),
    ("POST", "/v1/import"),
    ("GET", "/v1/level"),
];

/// A core that answers at once; `full` is its disk.
async fn core(mut jobs: tokio::sync::mpsc::Receiver<Job>, full: bool) {
    let setup = Setup { history: HISTORY, nodes: [].into(), sum_key: SUM_KEY, ring: RingLimits::default() };
    let (mut server, mut log) = (Server::new(setup), SimulatedLog::new(HISTORY));
    log.full = full;
    let (mut replies, mut asked) = (BTreeMap::new(), 0);
    let mut out = Vec::new();
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Read(read) => read(&server, LogTime(0)),
            Job::Input(input) => server.handle(Time(0), WallMillis(0), input, &mut out),
            Job::Open { .. } => {}
            Job::Command { command, reply, .. } => {
                asked += 1;
                replies.insert(asked, reply);
                let key = IdempotenceKey(asked.into());
                server.handle(Time(0), WallMillis(0), Input::Ask { ask: asked, key, command }, &mut out);
            }
        }
        while !out.is_empty() {
            match out.remove(0) {
                Effect::Append(batch) => {
                    let input = match log.append(&batch).and_then(|()| log.sync()) {
                        Ok(()) => Input::Durable,
                        Err(e) => Input::NotWritten { reason: e.to_string() },
                    };
                    server.handle(Time(0), WallMillis(0), input, &mut out);
                }
                Effect::Answer { ask, result } => drop(replies.remove(&ask).unwrap().send(result)),
                _ => panic!("no links here"),
            }
        }
    }
}

fn api_with(full: bool) -> (Router, Inbox) {
    let (inbox, jobs) = Inbox::new();
    tokio::spawn(core(jobs, full));
    let rack = Rack::one_machine_default(3).expand();
    let api = Api {
        inbox: inbox.clone(),
        token: ApiToken(TOKEN.into()),
        domains: ["rack.test".to_owned()].into(),
        targets: target_groups(&rack).into(),
    };
    (router(api), inbox)
}

fn api() -> Router {
    api_with(false).0
}

async fn send(api: &Router, method: &str, path: &str, token: Option<&str>, body: &str) -> (StatusCode, Value) {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    let response = api.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn call(api: &Router, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = send(api, method, path, Some(&format!("Bearer {TOKEN}")), body).await;
    (status.as_u16(), body)
}

const ALICE: &str = r#"{"aor":"alice@rack.test","password":"geheim"}"#;

#[tokio::test]
async fn every_protected_request_is_denied_without_the_token() {
    let api = api();
    for (method, path) in PROTECTED {
        for token in [None, Some("Bearer wrong"), Some("Bearer "), Some(TOKEN), Some("Basic MDEyMzQ1Njc4OWFiY2RlZg==")]
        {
            let (status, body) = send(&api, method, path, token, ALICE).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} {token:?}");
            assert!(body["error"].as_str().unwrap().contains("api.token"), "{body}");
        }
    }
    assert_eq!(call(&api, "GET", "/v1/level", "").await.1["level"], 0, "nothing of it had an effect");
    for (method, path) in PROTECTED {
        assert_ne!(call(&api, method, path, "").await.0, 401, "{method} {path}");
    }
}

#[tokio::test]
async fn the_document_lists_every_request_and_its_protection() {
    let (status, document) = send(&api(), "GET", "/openapi.json", None, "").await;
    assert_eq!(status, StatusCode::OK);
    for (method, path) in PROTECTED {
        let operation = &document["paths"][path.replace("1001@rack.test", "{aor}")][method.to_lowercase()];
        assert_eq!(operation["security"], json!([{"token": []}]), "{method} {path}");
        assert!(operation["responses"].as_object().unwrap().contains_key("401"));
    }
    let paths = document["paths"].as_object().unwrap();
    let operations: usize = paths.values().map(|p| p.as_object().unwrap().len()).sum();
    assert_eq!(operations, PROTECTED.len() + 2, "a new request belongs into PROTECTED");
}

#[tokio::test]
async fn a_subscriber_from_adding_to_removing() {
    let api = api();
    assert_eq!(
        call(&api, "POST", "/v1/subscribers", ALICE).await,
        (201, json!({"aor": "alice@rack.test", "level": 1}))
    );
    let (status, body) = call(&api, "POST", "/v1/subscribers", ALICE).await;
    assert!(status == 409 && body["error"].as_str().unwrap().contains("alice@rack.test"), "{body}");
    let one = json!({"aor": "alice@rack.test", "contacts": 0, "digests": ["MD5", "SHA-256", "SHA-512-256"]});
    assert_eq!(call(&api, "GET", "/v1/subscribers/alice@rack.test", "").await, (200, one));
    let path = "/v1/subscribers/alice@rack.test";
    assert_eq!(call(&api, "PUT", path, r#"{"password":"other"}"#).await.0, 200);
    assert_eq!(call(&api, "PUT", "/v1/subscribers/bob@rack.test", r#"{"password":"other"}"#).await.0, 201);
    assert_eq!(call(&api, "DELETE", path, "").await.0, 200);
    assert_eq!(call(&api, "DELETE", path, "").await.0, 404);
    assert_eq!(call(&api, "GET", path, "").await.0, 404);
}

#[tokio::test]
async fn a_mistake_is_named_with_its_field() {
    let api = api();
    for (body, status, field) in [
        (r#"{"password":"x"}"#, 422, json!("aor")),
        (r#"{"aor":"alice@rack.test"}"#, 422, json!("password")),
        (r#"{"aor":"alice@rack.test","password":""}"#, 422, json!("password")),
        (r#"{"aor":"alice@rack.test","password":7}"#, 422, json!("password")),
        (r#"{"aor":"alice","password":"x"}"#, 422, json!("aor")),
        (r#"{"aor":"al ice@rack.test","password":"x"}"#, 422, json!("aor")),
        (r#"{"aor":"alice@elsewhere.test","password":"x"}"#, 422, json!("aor")),
        (r#"{"aor":"alice@rack.test","password":"x","pin":"1"}"#, 422, json!("pin")),
        ("[]", 400, Value::Null),
        ("{", 400, Value::Null),
    ] {
        let (got, answer) = call(&api, "POST", "/v1/subscribers", body).await;
        assert_eq!((got, &answer["field"]), (status, &field), "{body} → {answer}");
    }
    assert_eq!(call(&api, "POST", "/v1/subscribers", &"x".repeat(BODY + 1)).await.0, 413);
    assert_eq!(call(&api, "GET", "/v1/subscribers?limit=0", "").await.1["field"], "limit");
    assert_eq!(call(&api, "GET", "/v1/subscribers?limit=many", "").await.0, 400);
    assert_eq!(call(&api, "GET", "/v1/nothing", "").await.0, 404);
    assert_eq!(call(&api, "PATCH", "/v1/subscribers", "").await.0, 405);
}

#[tokio::test]
async fn an_import_takes_the_good_lines_and_lists_the_bad_ones() {
    let api = api();
    let lines = (0..2_000).map(|n| format!(r#"{{"aor":"{n:04}@rack.test","password":"p"}}"#)).collect::<Vec<_>>();
    let body = format!("{}\n\nnonsense\n{{\"aor\":\"x@rack.test\"}}\n", lines.join("\n"));
    let (status, answer) = call(&api, "POST", "/v1/import", &body).await;
    assert_eq!((status, &answer["imported"], &answer["failed"]), (200, &json!(2000), &json!(2)));
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][1]["line"]), (&json!(2002), &json!(2003)));
    assert_eq!(answer["errors"][1]["field"], "password");

    let mut after = String::new();
    let mut all = 0;
    while let (200, page) = call(&api, "GET", &format!("/v1/subscribers?limit=1000{after}"), "").await {
        all += page["subscribers"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(all, 2_000);
}

#[tokio::test]
async fn registrations_are_shown_and_counted() {
    let (api, inbox) = api_with(false);
    inbox.ask(Command::Register(register("a", 1, &["sip:alice@192.0.2.7;expires=60"]))).await.unwrap();
    let (_, page) = call(&api, "GET", "/v1/registrations", "").await;
    let binding = &page["registrations"][0]["bindings"][0];
    assert_eq!((&binding["contact"], &binding["expires_s"]), (&json!("sip:alice@192.0.2.7"), &json!(60)));
    assert_eq!(call(&api, "GET", "/v1/registrations/count", "").await.1, json!({"count": 1, "contacts": 1}));
    assert_eq!(call(&api, "GET", "/v1/registrations/alice@rack.test", "").await.0, 200);
    assert_eq!(call(&api, "GET", "/v1/registrations/bob@rack.test", "").await.0, 404);
    let level = call(&api, "GET", "/v1/level", "").await.1;
    let sum = inbox.read(|server, _| (server.store().level(), server.store().sum())).await.unwrap();
    assert_eq!(sum.0, Level(1));
    assert_eq!(level, json!({"level": 1, "history": "000000000000004d", "checksum": format!("{:032x}", sum.1)}));
}

#[tokio::test]
async fn no_answer_holds_a_password_or_its_digest() {
    let api = api();
    call(&api, "POST", "/v1/subscribers", ALICE).await;
    let digest = digests::subscriber(common::location::Aor::new("alice", "rack.test"), "geheim");
    let hex: String = digest.ha1_md5.iter().map(|b| format!("{b:02x}")).collect();
    for path in ["/v1/subscribers", "/v1/subscribers/alice@rack.test", "/v1/registrations", "/v1/level"] {
        let text = call(&api, "GET", path, "").await.1.to_string();
        assert!(!text.contains("geheim") && !text.contains(&hex) && !text.contains("ha1"), "{text}");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_so() {
    let (api, _) = api_with(true);
    let (status, body) = call(&api, "POST", "/v1/subscribers", ALICE).await;
    assert!(status == 503 && body["error"].as_str().unwrap().contains("no space left"), "{body}");
    assert_eq!(call(&api, "GET", "/v1/subscribers", "").await.0, 200);
    let (_, imported) = call(&api, "POST", "/v1/import", ALICE).await;
    assert_eq!((&imported["imported"], &imported["failed"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn prometheus_and_people_need_no_token() {
    let api = api();
    let (status, groups) = send(&api, "GET", "/metrics/targets", None, "").await;
    assert_eq!((status, groups.as_array().unwrap().len()), (StatusCode::OK, 5));
    assert_eq!(groups[1]["labels"]["name"], "cc-node-1");
    assert_eq!(groups[1]["targets"], json!(["127.0.0.1:15111"]));
    let (status, page) = send(&api, "GET", "/", None, "").await;
    assert!(status == StatusCode::OK && page.as_str().unwrap().contains("/openapi.json"));
}
