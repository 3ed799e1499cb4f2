//! The agent's own HTTP port on loopback, where `siprack status` asks. Its address stands in `run/agent.json`.

use super::terminal::say;
use crate::failure::{Failure, exit};
use crate::readiness::{Board, Report};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

pub type SharedBoard = Arc<Mutex<Board>>;

/// What everybody knows now. Nothing in a board can be half written, so a panic elsewhere does not spoil it.
pub fn read(board: &SharedBoard) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

pub async fn bind() -> Result<(TcpListener, SocketAddr), Failure> {
    let bound = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    bound.await.map_err(|e| Failure::new(exit::FAILED, format!("cannot open the agent's status port on loopback: {e}")))
}

pub async fn serve(listener: TcpListener, board: SharedBoard) {
    let router = Router::new()
        .route("/status", get(status))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(board);
    // It ends with the agent; an error here costs `siprack status`, never a call.
    if let Err(error) = axum::serve(listener, router).await {
        say(&format!("the agent's status port has ended ({error}): `siprack status` will find nobody"));
    }
}

async fn status(State(board): State<SharedBoard>) -> Json<Report> {
    Json(read(&board).report())
}

async fn readyz(State(board): State<SharedBoard>) -> (StatusCode, String) {
    let report = read(&board).report();
    if report.ready {
        (StatusCode::OK, "ready\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, report.missing.join("\n") + "\n")
    }
}
