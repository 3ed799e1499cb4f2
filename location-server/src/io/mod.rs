//! Where the location server touches the machine. `run` opens the log and replays it, opens the ports, starts the log's
//! thread and the core's task, puts the seeds in, and serves until the process is told to end or the log breaks.

mod api;
mod board;
mod core;
mod links;
mod log_writer;
mod segments;
#[cfg(test)]
mod tests;

use self::core::{CoreTask, Halted};
use crate::inbox::{Inbox, Unanswered};
use crate::log::{Log, LogEntry, LogError};
use crate::provisioning::{Api, target_groups};
use crate::replicate::RingLimits;
use crate::seeds;
use crate::server::{Server, Setup};
use board::{Board, LogMetrics, Status};
use common::config::{LocationServer, Rack};
use common::ids::HistoryId;
use common::io::admin::{self, AdminSource};
use common::io::clock::Clock;
use common::io::keys_file::KeysFile;
pub use common::io::start::{Options, StartError};
use common::io::start::{control_runtime, told_to_end};
use common::io::{log, random};
use common::keys::Keys;
use common::location::IdempotenceKey;
use common::time::Duration;
use prometheus::{IntCounterVec, Registry};
use segments::SegmentLog;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Runs a location server until the process is told to end.
///
/// # Errors
/// Why it could not start, or that the log broke.
pub fn run(options: Options) -> Result<(), StartError> {
    log::init(&options.rack.log);
    let config = options.rack.location_server(options.id).cloned().ok_or_else(|| {
        let known: Vec<String> = options.rack.location_servers.iter().map(|s| s.id.to_string()).collect();
        let (id, known) = (options.id, known.join(", "));
        StartError::Config(format!("location_servers: none has the id {id}; the rack file has {known}"))
    })?;
    control_runtime()?.block_on(serve(options, config))
}

async fn serve(options: Options, config: LocationServer) -> Result<(), StartError> {
    let clock = Clock::new();
    // Ports first: a second server on the same data then says which port is taken, before it reads a long log.
    let ports = Ports::bind(&config).await?;
    let Opened { mut server, log, last_key } = open(&options)?;
    let keys_file = KeysFile::open(&options.data.join(format!("location-server-{}", options.id)), &options.keys);
    server.start(clock.now(), clock.wall());
    let seeds = seeds::missing(&options.rack, server.store().level(), last_key);
    let token = api::token(&options.data.join("api.token")).map_err(StartError::Config)?;
    let status = Arc::new(watch::Sender::new(Status { state: "starting", ..Status::default() }));
    let Metrics { registry, refused, board, log: log_metrics } =
        Metrics::new(&status).map_err(|e| StartError::Config(e.to_string()))?;

    let (inbox, jobs) = Inbox::new();
    let (batches, log_thread) = log_writer::start(log, inbox.clone(), log_metrics)
        .map_err(|e| StartError::io("starting the log's thread", e))?;
    let task = CoreTask { server, jobs, log: batches, clock, boot: options.boot, board };
    let mut core = tokio::spawn(task.run());
    let (id, boot, keys) = (options.id, options.boot.0, options.keys.clone());
    let page = Page { kind: "location-server", id, boot, keys, registry, status: status.clone() };
    tokio::spawn(admin::serve(ports.admin, admin::router(Arc::new(page))));

    let served = async {
        links::seed(&inbox, seeds).await.map_err(|e| not_seeded(&e))?;
        let links = links::Links::new(inbox.clone(), options.keys.clone(), keys_file, refused);
        for listener in ports.nodes {
            tokio::spawn(links.clone().listen(listener));
        }
        tokio::spawn(api::serve(ports.api, api_of(&options.rack, inbox.clone(), token)));
        status.send_modify(|status| status.state = "started");
        tracing::info!(id = options.id, boot = %options.boot, api = %config.api, "the location server runs");
        told_to_end().await.map_err(|e| StartError::io("waiting for signals", e))
    };
    let result = tokio::select! {
        ended = &mut core => Err(match ended {
            Ok(Err(Halted(reason))) => StartError::io("the provisioning log", std::io::Error::other(reason)),
            Ok(Ok(())) => StartError::io("the core's task", std::io::Error::other("it ended by itself")),
            Err(error) => StartError::io("the core's task", std::io::Error::other(error)),
        }),
        result = served => result,
    };
    if result.is_err() {
        status.send_modify(|status| status.state = "stopping");
        // Askers have their answers in hand; this lets them reach the sockets.
        tokio::time::sleep(LAST_ANSWERS).await;
    }
    if !core.is_finished() {
        core.abort();
        let _ = core.await;
    }
    // Its sender went with the core, so it ends behind the batch that it writes.
    let _ = log_thread.join();
    tracing::info!(id = options.id, "the location server ends");
    result
}

/// How long a server whose log broke goes on writing answers.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

fn not_seeded(why: &Unanswered) -> StartError {
    StartError::io("putting the rack file's subscribers into the log", std::io::Error::other(why.to_string()))
}

struct Metrics {
    registry: Registry,
    refused: IntCounterVec,
    board: Board,
    log: LogMetrics,
}

impl Metrics {
    fn new(status: &Arc<watch::Sender<Status>>) -> Result<Metrics, prometheus::Error> {
        let registry = common::metrics::registry("location-server")?;
        let refused = board::links_refused(&registry)?;
        let (board, log) = Board::new(&registry, refused.clone(), status.clone())?;
        Ok(Metrics { registry, refused, board, log })
    }
}

struct Opened {
    server: Server,
    log: SegmentLog,
    last_key: Option<IdempotenceKey>,
}

/// Opens the log and applies everything that it holds.
fn open(options: &Options) -> Result<Opened, StartError> {
    let dir: PathBuf = options.data.join(format!("location-server-{}", options.id)).join("log");
    let drawn = HistoryId(random::number().map_err(|e| StartError::io("drawing a history id", e))?.max(1));
    let history = segments::history(&dir).map_err(of_log)?.unwrap_or(drawn);
    let mut server = Server::new(Setup {
        history,
        nodes: options.rack.cc_nodes.iter().map(|n| n.id).collect(),
        sum_key: options.keys.record_sum,
        ring: RingLimits::default(),
    });
    let mut last_key = None;
    let mut each = |entry: LogEntry| {
        last_key = Some(entry.key);
        server.replay(&entry);
    };
    let (log, notice) = SegmentLog::open(&dir, history, &mut each).map_err(of_log)?;
    if let Some(notice) = notice {
        tracing::warn!("{notice}");
    }
    tracing::info!(level = %log.last(), history = %format!("{history:016x}", history = history.0), "the log is replayed");
    Ok(Opened { server, log, last_key })
}

fn of_log(error: LogError) -> StartError {
    match error {
        LogError::Open { file, source } => StartError::CannotCreate { path: file.into(), source },
        damaged => StartError::Config(damaged.to_string()),
    }
}

/// Every port of a location server, opened before anything is promised.
struct Ports {
    nodes: Vec<TcpListener>,
    api: TcpListener,
    admin: TcpListener,
}

impl Ports {
    async fn bind(config: &LocationServer) -> Result<Ports, StartError> {
        let mut nodes = Vec::new();
        for (_, ip) in config.planes.iter() {
            nodes.push(admin::bind("the location stream's port", SocketAddr::new(ip, config.port)).await?);
        }
        Ok(Ports {
            nodes,
            api: admin::bind("the provisioning API", config.api).await?,
            admin: admin::bind("the location server's admin port", config.admin).await?,
        })
    }
}

fn api_of(rack: &Rack, inbox: Inbox, token: crate::provisioning::ApiToken) -> Api {
    let domains: Vec<String> = rack.domains.iter().map(|d| d.name.to_ascii_lowercase()).collect();
    Api { inbox, token, domains: domains.into(), targets: target_groups(rack).into() }
}

/// The admin port's view of the process.
struct Page {
    kind: &'static str,
    id: u16,
    boot: u64,
    keys: Arc<Keys>,
    registry: Registry,
    status: Arc<watch::Sender<Status>>,
}

impl AdminSource for Page {
    fn not_ready(&self) -> Option<String> {
        match self.status.borrow().state {
            "started" => None,
            "stopping" => Some("stopping: the log is broken, nothing is acknowledged any more".into()),
            state => Some(format!("{state}: the first subscribers are being written")),
        }
    }

    fn status(&self) -> serde_json::Value {
        let mut status = serde_json::to_value(&*self.status.borrow()).unwrap_or_default();
        status["kind"] = self.kind.into();
        status["id"] = self.id.into();
        status["boot"] = self.boot.into();
        status["plane_keys"] = serde_json::json!(self.keys.plane.told());
        status
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }
}
