//! The nodes' connections: a TCP listener on each plane; sealed records in, sealed records out. A connection whose first
//! record does not open was made without the rack's key: refused, counted, logged.

use crate::inbox::{Inbox, Unanswered};
use crate::server::{Input, LinkId, MOST_QUEUED};
use common::io::keys_file::KeysFile;
use common::io::stream::{self, RecordReader, RecordWriter, StreamError};
use common::keys::{Keys, Span};
use common::location::{Command, IdempotenceKey};
use common::wire::location::{FromServer, ToServer};
use common::wire::sealed::{SealedError, Side};
use prometheus::IntCounterVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Duration, sleep, timeout};

/// Connections at a time; a rack has at most 250 nodes.
const MOST_LINKS: usize = 512;
/// A connection that has greeted says hello at once.
const FIRST_RECORD: Duration = Duration::from_secs(5);
/// So often it is seen that a plane key has been turned away from.
const LOOK: Duration = Duration::from_millis(250);
/// Records that are written to a socket with one call.
const RECORDS_A_WRITE: usize = 64;

/// What every connection is served with.
#[derive(Clone)]
pub struct Links {
    pub inbox: Inbox,
    pub keys: Arc<Keys>,
    file: Arc<KeysFile>,
    pub refused: IntCounterVec,
    next: Arc<AtomicU64>,
    places: Arc<Semaphore>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Stream(#[from] StreamError),
    #[error("{0}")]
    Frame(#[from] common::wire::location::LocationFrameError),
    #[error("{0}")]
    Stopping(#[from] Unanswered),
    #[error("this server closed it")]
    Closed,
    #[error("its plane key has been turned away from")]
    TurnedAway,
}

impl Links {
    pub fn new(inbox: Inbox, keys: Arc<Keys>, file: KeysFile, refused: IntCounterVec) -> Links {
        Links {
            inbox,
            keys,
            file: Arc::new(file),
            refused,
            next: Arc::new(AtomicU64::new(1)),
            places: Arc::new(Semaphore::new(MOST_LINKS)),
        }
    }

    /// Takes connections until the process ends.
    pub async fn listen(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((socket, from)) => {
                    let Ok(place) = self.places.clone().try_acquire_owned() else {
                        self.refuse("too_many");
                        tracing::warn!(%from, "a connection was refused: {MOST_LINKS} are open");
                        continue;
                    };
                    let links = self.clone();
                    tokio::spawn(async move {
                        if let Err(why) = links.serve(socket).await {
                            tracing::warn!(%from, "a node's connection ended: {why}");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, say: it may pass.
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(&self, socket: TcpStream) -> Result<(), Ended> {
        let greeted = stream::greet(socket, &self.keys.plane, Side::Listening).await;
        let (mut reader, writer) = greeted.inspect_err(|why| {
            let unknown = matches!(why, StreamError::Sealed(SealedError::UnknownKey(_)));
            self.refuse(if unknown { "wrong_key" } else { "no_greeting" });
        })?;
        // The first record proves that the far end holds the rack's key; until then nobody hears of it.
        let first = match timeout(FIRST_RECORD, reader.next()).await {
            Ok(Ok(Some(record))) => record,
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => {
                self.refuse(if matches!(error, StreamError::Sealed(_)) { "wrong_key" } else { "no_hello" });
                return Err(error.into());
            }
            Err(_) => {
                self.refuse("no_hello");
                return Err(StreamError::Silent.into());
            }
        };
        let reader_key = reader.key();
        self.keys.plane.proved(reader_key);
        let link = LinkId(self.next.fetch_add(1, Ordering::Relaxed));
        let (frames, queue) = mpsc::channel(MOST_QUEUED as usize + 1);
        self.inbox.open(link, frames).await?;
        let ended = tokio::select! {
            ended = self.read(link, first, &mut reader) => ended,
            ended = write(link, queue, writer, &self.inbox) => ended,
            () = self.outlives(reader_key) => Err(Ended::TurnedAway),
        };
        self.inbox.input(Input::Closed { link }).await?;
        ended
    }

    /// Comes back once the key that a stream stands on has been turned away from: whoever else has it hears no more.
    async fn outlives(&self, key: u8) {
        while self.keys.plane.get(key).is_some() {
            sleep(LOOK).await;
        }
    }

    /// A node says which plane keys stand. The file keeps it, so that the next process of this server opens to no older key;
    /// if the disk does not take it, this one still does not.
    async fn turn(&self, plane: Span) {
        self.keys.plane.turn(plane);
        let (file, stand) = (self.file.clone(), self.keys.generations());
        let kept = tokio::task::spawn_blocking(move || file.keep(stand)).await;
        if let Err(error) = kept.map_err(std::io::Error::from).and_then(|kept| kept) {
            tracing::warn!(%error, "which plane keys stand could not be kept on disk");
        }
    }

    async fn read(&self, link: LinkId, first: Vec<u8>, reader: &mut RecordReader) -> Result<(), Ended> {
        let mut record = first;
        loop {
            let frame = ToServer::decode(&record).inspect_err(|_| self.refuse("unknown_frame"))?;
            if let ToServer::Keys { plane } = frame {
                self.turn(plane).await;
            }
            self.inbox.input(Input::Frame { link, frame }).await?;
            match reader.next().await? {
                Some(next) => record = next,
                None => return Ok(()),
            }
        }
    }

    fn refuse(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}

/// Writes what the core queues; says how much of it is out, which is what the core may queue again.
async fn write(
    link: LinkId,
    mut queue: mpsc::Receiver<FromServer>,
    mut writer: RecordWriter,
    inbox: &Inbox,
) -> Result<(), Ended> {
    let mut batch = Vec::with_capacity(RECORDS_A_WRITE);
    loop {
        if queue.recv_many(&mut batch, RECORDS_A_WRITE).await == 0 {
            return Err(Ended::Closed);
        }
        let frames = batch.len() as u32;
        for frame in batch.drain(..) {
            writer.push(&frame.encode())?;
        }
        writer.flush().await?;
        inbox.input(Input::Sent { link, frames }).await?;
    }
}

/// Puts the rack file's first subscribers into an empty log, in order, each durable before the server says `started`.
pub async fn seed(inbox: &Inbox, seeds: Vec<(IdempotenceKey, Command)>) -> Result<(), Unanswered> {
    let mut waiting = Vec::with_capacity(seeds.len());
    for (key, command) in seeds {
        waiting.push(inbox.submit(Some(key), command).await?);
    }
    for reply in waiting {
        crate::inbox::outcome(reply).await?;
    }
    Ok(())
}
