//! Sealed records over a TCP connection: the hello, then records one by one.

use super::random;
use crate::keys::KeyRing;
use crate::wire::sealed::{self, HELLO, Opener, SealedError, Sealer, Side};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Duration, timeout};

/// A far end that says nothing for so long after connecting is not one of ours.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Sealed(#[from] SealedError),
    #[error("no hello within {} s", HELLO_PATIENCE.as_secs())]
    Silent,
}

/// Greets the far end; the two directions of the connection.
pub async fn greet(
    mut stream: TcpStream,
    ring: &KeyRing<[u8; 32]>,
    side: Side,
) -> Result<(RecordReader, RecordWriter), StreamError> {
    stream.set_nodelay(true)?;
    let own = sealed::hello(ring, random::octets()?);
    let mut peer = [0u8; HELLO];
    let exchange = async {
        stream.write_all(&own).await?;
        stream.read_exact(&mut peer).await
    };
    timeout(HELLO_PATIENCE, exchange).await.map_err(|_| StreamError::Silent)??;
    let (sealer, opener) = sealed::session(ring, side, &own, &peer)?;
    let (reader, writer) = stream.into_split();
    Ok((RecordReader { reader, opener, buffer: Vec::new() }, RecordWriter { writer, sealer, buffer: Vec::new() }))
}

pub struct RecordReader {
    reader: OwnedReadHalf,
    opener: Opener,
    buffer: Vec<u8>,
}

impl RecordReader {
    /// See [`Opener::key`].
    pub fn key(&self) -> u8 {
        self.opener.key()
    }

    /// The next record; `None` when the far end has closed. Not cancel-safe: after a dropped call the stream is of no use.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        let mut field = [0u8; 4];
        match self.reader.read_exact(&mut field).await {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        };
        self.buffer.resize(Opener::length(field)?, 0);
        self.reader.read_exact(&mut self.buffer).await?;
        Ok(Some(self.opener.open(&self.buffer)?))
    }
}

pub struct RecordWriter {
    writer: OwnedWriteHalf,
    sealer: Sealer,
    buffer: Vec<u8>,
}

impl RecordWriter {
    /// Adds a record to what the next [`RecordWriter::flush`] writes.
    pub fn push(&mut self, record: &[u8]) -> Result<(), StreamError> {
        Ok(self.sealer.seal(record, &mut self.buffer)?)
    }

    pub async fn flush(&mut self) -> Result<(), StreamError> {
        self.writer.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }
}
