//! `GET /trace?call_id=…`: what this node remembers of a call. The admin's thread brings the room, the call's worker fills it
//! between two rounds, so the recorder needs no lock.

use super::shared::Shared;
use crate::trace::{Answer, Entry, Extract, Recorder, TOLD, Teller};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::call_hash::CallHash;
use common::io::admin::refused;
use common::io::clock::Clock;
use common::io::poll::Waker;
use common::time::Duration;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use tokio::sync::oneshot;

/// Questions that may wait for a worker; a further one is refused.
pub const ASKS_QUEUED: usize = 4;
/// A worker that is not stuck answers within a round.
const PATIENCE: Duration = Duration::from_secs(2);

/// A question to a worker.
pub struct Ask {
    call: CallHash,
    room: Vec<(u64, Entry)>,
    answer: oneshot::Sender<Extract>,
}

impl Ask {
    /// By the worker. Nobody may wait for it any more.
    pub fn answer(self, recorder: &Recorder) {
        let _ = self.answer.send(recorder.extract(self.call, self.room));
    }
}

/// A worker's queue.
pub struct AskTo {
    pub queue: SyncSender<Ask>,
    pub waker: Waker,
}

/// What answers.
struct Desk {
    shared: Arc<Shared>,
    clock: Clock,
    workers: Vec<AskTo>,
}

/// The path, to be merged with those of the admin port.
pub fn router(shared: Arc<Shared>, clock: Clock, workers: Vec<AskTo>) -> Router {
    Router::new().route("/trace", get(answer)).with_state(Arc::new(Desk { shared, clock, workers }))
}

#[derive(Deserialize)]
struct Asked {
    call_id: Option<String>,
}

async fn answer(State(desk): State<Arc<Desk>>, Query(asked): Query<Asked>) -> Response {
    let Some(call_id) = asked.call_id.filter(|id| !id.is_empty()) else {
        return refused(StatusCode::BAD_REQUEST, "ask with ?call_id=…, percent-encoded");
    };
    match desk.ask(call_id.as_bytes()).await {
        Ok(answer) => Json(answer).into_response(),
        Err(why) => refused(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

impl Desk {
    async fn ask(&self, call_id: &[u8]) -> Result<Answer, &'static str> {
        let call = CallHash::of(&self.shared.keys.placement, call_id);
        let worker = call.worker(self.workers.len() as u16);
        let to = self.workers.get(usize::from(worker)).ok_or("this node has no workers")?;
        let (answer, answered) = oneshot::channel();
        let ask = Ask { call, room: Vec::with_capacity(TOLD), answer };
        to.queue.try_send(ask).map_err(|_| "too many questions wait for the worker")?;
        to.waker.wake();
        let extract = match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(extract)) => extract,
            _ => return Err("the worker does not answer"),
        };
        let (node, boot) = (self.shared.id, self.shared.boot);
        let teller = Teller { node, boot, worker, now: self.clock.now(), now_us: self.clock.wall_micros() };
        Ok(teller.answer(extract))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::location::Writer;
    use crate::trace::{About, Event};
    use common::config::Rack;
    use common::ids::{BootId, NodeId};
    use common::io::poll;
    use common::io::start::control_runtime;
    use common::keys::{Keys, RackKey};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::mpsc::{Receiver, sync_channel};

    const CALL_ID: &str = "a/b c@h?ü";

    fn shared() -> Arc<Shared> {
        let rack = Arc::new(Rack::one_machine_default(1).expand());
        let keys = Arc::new(Keys::derive(&RackKey([6; 32])));
        let (config, replica) = (rack.cc_nodes[0].clone(), Writer::new(&keys).replica().clone());
        Arc::new(Shared::new(NodeId(1), BootId(7), rack, keys, config, replica))
    }

    /// A port that answers, and the worker's end of the queue.
    fn desk(shared: &Arc<Shared>) -> (SocketAddr, Receiver<Ask>) {
        let (queue, asks) = sync_channel(ASKS_QUEUED);
        let router = router(shared.clone(), Clock::new(), vec![AskTo { queue, waker: poll::waker().unwrap().0 }]);
        let (told, heard) = sync_channel(1);
        let serve = move || {
            control_runtime().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                told.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        (heard.recv().unwrap(), asks)
    }

    /// Status and body.
    fn get(at: SocketAddr, path: &str) -> (u16, serde_json::Value) {
        let mut stream = TcpStream::connect(at).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    #[test]
    fn a_worker_is_asked_about_a_call_by_its_name() {
        let shared = shared();
        let (at, asks) = desk(&shared);
        let worker = {
            let call = CallHash::of(&shared.keys.placement, CALL_ID.as_bytes());
            let work = move || {
                let mut recorder = Recorder::new(8);
                let now = Clock::new().now();
                for (call, event) in [(call, Event::In), (CallHash(1), Event::In), (call, Event::Repeat)] {
                    recorder.note(now, About::call(call), event);
                }
                for ask in asks {
                    ask.answer(&recorder);
                }
            };
            std::thread::Builder::new().spawn(work).unwrap()
        };
        let (status, body) = get(at, "/trace?call_id=a%2Fb%20c%40h%3F%C3%BC");
        let answer: Answer = serde_json::from_value(body).unwrap();
        assert_eq!((status, answer.node, answer.boot, answer.size, answer.written), (200, NodeId(1), BootId(7), 8, 3));
        let events: Vec<(u64, &str)> = answer.entries.iter().map(|e| (e.seq, e.event.as_str())).collect();
        assert_eq!(events, [(0, "in"), (2, "repeat")]);
        assert!(answer.now_us.abs_diff(answer.entries[0].at_us) < 10_000_000, "{answer:?}");
        let (status, body) = get(at, "/trace?call_id=other");
        assert_eq!((status, &body["entries"]), (200, &serde_json::json!([])));
        for path in ["/trace", "/trace?call_id="] {
            assert_eq!(get(at, path).0, 400);
        }
        assert!(!worker.is_finished());
    }

    #[test]
    fn a_worker_that_is_stuck_is_said_to_be() {
        let (at, asks) = desk(&shared());
        let (status, body) = get(at, "/trace?call_id=x");
        assert_eq!((status, &body["error"]), (503, &serde_json::json!("the worker does not answer")));
        drop(asks);
        assert_eq!(get(at, "/trace?call_id=x").0, 503);
    }
}
