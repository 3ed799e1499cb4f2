//! The stream to the location server: connects, greets, reads and writes sealed records, and drives
//! [`crate::location::Client`] with what happens. Runs on the control plane's runtime; workers hand their asks over by a
//! bounded channel and get answers by a bounded queue and a wake-up.

use super::shared::Shared;
use crate::effect::{AskId, LocationFailure};
use crate::location::{Client, ClientEffect};
use common::ids::Plane;
use common::io::clock::Clock;
use common::io::poll::Waker;
use common::io::stream::{self, RecordReader, RecordWriter, StreamError};
use common::keys::{KeyRing, Span};
use common::location::{Command, IdempotenceKey, Outcome};
use common::time::Duration;
use common::wire::location::{FromServer, ToServer};
use common::wire::sealed::Side;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// What a worker may have asked without an outcome; its answer queue has as many places, so an answer never waits.
pub const ASKS_A_WORKER: usize = 8192;
/// Asks on their way from the workers.
pub const ASKS_QUEUED: usize = 4096;
/// Messages read ahead of the core, and batches that wait to be written.
const AHEAD: usize = 64;
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const TURNED: &str = "the plane key has turned";
/// At least so often it is seen that the plane key has turned.
const LOOK: Duration = Duration::from_secs(1);

/// A worker's question.
pub struct Ask {
    pub worker: u16,
    pub ask: AskId,
    pub key: IdempotenceKey,
    pub command: Command,
}

pub struct Answer {
    pub ask: AskId,
    pub outcome: Result<Outcome, LocationFailure>,
}

/// Where one worker's answers go.
pub struct AnswerTo {
    pub queue: SyncSender<Answer>,
    pub waker: Waker,
}

enum Event {
    /// The stream is open; batches for it go here.
    Up(Sender<Vec<ToServer>>),
    Heard(FromServer),
    Down(String),
}

struct Stream {
    shared: Arc<Shared>,
    clock: Clock,
    client: Client,
    workers: Vec<AnswerTo>,
    events: Sender<(u64, Event)>,
    /// Which connection counts; what an earlier one still says is passed over.
    generation: u64,
    connection: Option<JoinHandle<()>>,
    writer: Option<Sender<Vec<ToServer>>>,
    pause: Duration,
    attempts: usize,
    /// The id of the plane key when the stream was asked for.
    key: u8,
    /// Which plane keys stand, as was said on this stream.
    said: Option<Span>,
}

/// Runs until the workers are gone.
pub async fn run(shared: Arc<Shared>, clock: Clock, client: Client, mut asks: Receiver<Ask>, workers: Vec<AnswerTo>) {
    let (events, mut happened) = channel(AHEAD);
    let mut s = Stream {
        shared,
        clock,
        client,
        workers,
        events,
        generation: 0,
        connection: None,
        writer: None,
        pause: FIRST_PAUSE,
        attempts: 0,
        key: 0,
        said: None,
    };
    s.connect(Duration::ZERO);
    let mut out = Vec::new();
    loop {
        let due = s.client.next_due().map_or(LOOK, |due| due.since(s.clock.now()).min(LOOK));
        tokio::select! {
            ask = asks.recv() => {
                let Some(ask) = ask else { return };
                s.ask(ask, &mut out);
                while let Ok(ask) = asks.try_recv() {
                    s.ask(ask, &mut out);
                }
            }
            Some((generation, event)) = happened.recv() => {
                if generation == s.generation {
                    s.event(event, &mut out);
                }
            }
            () = sleep(due) => s.client.tick(s.clock.now(), &mut out),
        }
        s.follow_key(&mut out);
        s.carry_out(&mut out);
        s.publish();
    }
}

impl Stream {
    fn ask(&mut self, ask: Ask, out: &mut Vec<ClientEffect>) {
        let Ask { worker, ask, key, command } = ask;
        self.client.ask(self.clock.now(), worker, ask, key, command, out);
    }

    fn event(&mut self, event: Event, out: &mut Vec<ClientEffect>) {
        match event {
            Event::Up(writer) => {
                self.writer = Some(writer);
                self.client.connected(self.clock.now(), out);
                self.said = None;
            }
            Event::Heard(message) => {
                if matches!(message, FromServer::Welcome { .. }) {
                    self.pause = FIRST_PAUSE;
                }
                self.client.handle(self.clock.now(), message, out);
            }
            Event::Down(reason) => self.down(&reason),
        }
    }

    /// A stream stands on one key; when that has turned, the next one has to stand on the new one. Which keys stand is said
    /// on it.
    fn follow_key(&mut self, out: &mut Vec<ClientEffect>) {
        if self.writer.is_none() {
            return;
        }
        let ring = &self.shared.keys.plane;
        if self.key != ring.current().0 {
            return self.down(TURNED);
        }
        let told = ring.told();
        if told != self.said {
            self.said = told;
            out.extend(told.map(|plane| ClientEffect::Send(ToServer::Keys { plane })));
        }
    }

    fn down(&mut self, reason: &str) {
        // One line when it goes, not one for each attempt.
        if reason == TURNED {
            tracing::info!(reason, "the stream to the location server begins anew");
        } else if self.client.is_up() || self.attempts == 1 {
            tracing::warn!(reason, "no stream to the location server; trying again");
        } else {
            tracing::debug!(reason, "no stream to the location server");
        }
        self.client.disconnected(self.clock.now());
        self.writer = None;
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        self.connect(pause);
    }

    fn connect(&mut self, pause: Duration) {
        if let Some(old) = self.connection.take() {
            old.abort();
        }
        self.generation += 1;
        let servers = self.shared.rack.location_servers.iter();
        let addresses: Vec<SocketAddr> = servers
            .flat_map(|server| {
                server.planes.iter().map(|(plane, ip): (Plane, _)| (plane, SocketAddr::new(ip, server.port)))
            })
            .map(|(_, address)| address)
            .collect();
        let Some(address) = addresses.get(self.attempts % addresses.len().max(1)).copied() else {
            tracing::error!("the rack file names no location server");
            return;
        };
        self.attempts += 1;
        self.key = self.shared.keys.plane.current().0;
        let (events, generation, keys) = (self.events.clone(), self.generation, self.shared.keys.clone());
        self.connection = Some(tokio::spawn(async move {
            sleep(pause).await;
            let reason = match timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await {
                Err(_) => format!("{address}: no connection within {} s", CONNECT_PATIENCE.as_secs()),
                Ok(Err(error)) => format!("{address}: {error}"),
                Ok(Ok(tcp)) => match stream::greet(tcp, &keys.plane, Side::Connecting).await {
                    Ok((reader, writer)) => converse(reader, writer, &keys.plane, generation, &events).await,
                    Err(error) => format!("{address}: {error}"),
                },
            };
            let _ = events.send((generation, Event::Down(reason))).await;
        }));
    }

    fn carry_out(&mut self, out: &mut Vec<ClientEffect>) {
        let mut batch = Vec::new();
        let mut wake = vec![false; self.workers.len()];
        let mut reconnect = None;
        for effect in out.drain(..) {
            match effect {
                ClientEffect::Send(message) => batch.push(message),
                ClientEffect::Answer { worker, ask, outcome } => {
                    let at = usize::from(worker);
                    let Some(to) = self.workers.get(at) else { continue };
                    if to.queue.try_send(Answer { ask, outcome }).is_err() {
                        tracing::error!(worker, "an answer of the location server found no place at its worker");
                    }
                    wake[at] = true;
                }
                ClientEffect::Reconnect { reason } => reconnect = Some(reason),
            }
        }
        wake.iter().zip(&self.workers).filter(|(wake, _)| **wake).for_each(|(_, to)| to.waker.wake());
        if let (false, Some(writer)) = (batch.is_empty(), &self.writer) {
            match writer.try_send(batch) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => reconnect = Some("the location server does not read".into()),
                Err(TrySendError::Closed(_)) => reconnect = Some("the stream to the location server broke".into()),
            }
        }
        if let Some(reason) = reconnect {
            self.down(&reason);
        }
    }

    fn publish(&self) {
        let shared = &self.shared;
        if self.client.was_level() && !shared.level_once.swap(true, Ordering::Relaxed) {
            let status = self.client.status();
            tracing::info!(level = %status.level, subscribers = status.subscribers, "the location replica is level");
        }
        let up = self.client.is_up();
        if up && !shared.location_up.swap(up, Ordering::Relaxed) {
            tracing::info!(asks = self.client.asks(), "the stream to the location server is open");
        }
        shared.location_up.store(up, Ordering::Relaxed);
        shared.location_lag.store(self.client.lag(), Ordering::Relaxed);
        shared.location_asks.store(self.client.asks() as u64, Ordering::Relaxed);
    }
}

/// Reads and writes until one of the two ends; why it did.
async fn converse(
    reader: RecordReader,
    writer: RecordWriter,
    ring: &KeyRing<[u8; 32]>,
    generation: u64,
    events: &Sender<(u64, Event)>,
) -> String {
    let (batches, to_write) = channel(AHEAD);
    if events.send((generation, Event::Up(batches))).await.is_err() {
        return "the node ends".into();
    }
    tokio::select! {
        why = read(reader, ring, generation, events) => why,
        why = write(writer, to_write) => why,
    }
}

async fn read(
    mut reader: RecordReader,
    ring: &KeyRing<[u8; 32]>,
    generation: u64,
    events: &Sender<(u64, Event)>,
) -> String {
    loop {
        let record = match reader.next().await {
            Ok(Some(record)) => {
                ring.proved(reader.key());
                record
            }
            Ok(None) => return "the location server closed the stream".into(),
            Err(error) => return error.to_string(),
        };
        let message = match FromServer::decode(&record) {
            Ok(message) => message,
            Err(error) => return error.to_string(),
        };
        if events.send((generation, Event::Heard(message))).await.is_err() {
            return "the node ends".into();
        }
    }
}

async fn write(mut writer: RecordWriter, mut batches: Receiver<Vec<ToServer>>) -> String {
    while let Some(batch) = batches.recv().await {
        let written: Result<(), StreamError> = async {
            batch.iter().try_for_each(|message| writer.push(&message.encode()))?;
            writer.flush().await
        }
        .await;
        if let Err(error) = written {
            return error.to_string();
        }
    }
    // The core dropped its end: it has moved on.
    std::future::pending().await
}

#[cfg(test)]
#[path = "location_tests.rs"]
mod tests;
