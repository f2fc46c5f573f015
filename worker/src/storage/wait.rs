//! Waiting for a runtime's work from plain threads.

use std::future::Future;
use std::io::{self, Read};

use bytes::Bytes;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, IoContext as _, Result};
use crate::memory::MemoryReservation;

/// Bytes of one request of a stream: so many that its latency does not show, so few that several fit in memory.
pub const READ_BYTES: u64 = 8 << 20;
/// Streams that there is memory for, or smaller pieces are read.
pub(super) const STREAMS: u64 = 8;

/// The runtime on which a program's stores wait.
pub fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context(|| "can't start the runtime".into())
}

/// The runtime that does a store's waiting, and what ends it early.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) runtime: Handle,
    /// Ends requests.
    pub(super) cancel: CancellationToken,
    /// Ends the waits for a store that is away: also of what an interrupted job does last.
    pub(super) hurry: CancellationToken,
}

impl Waiter {
    pub(super) fn new(runtime: Handle, cancel: CancellationToken) -> Self {
        Self { runtime, hurry: cancel.clone(), cancel }
    }

    /// For what an interrupted job does last: its requests go on, but wait for nobody any more.
    pub(super) fn uninterrupted(&self) -> Self {
        Self { cancel: CancellationToken::new(), ..self.clone() }
    }

    /// Waits for work; an error at once where somebody asks to stop.
    pub(super) fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(Error::cancelled()),
                done = work => done,
            }
        })
    }
}

/// Bytes on their way, and the memory for them.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) _reservation: Option<MemoryReservation>,
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, _reservation: None }
    }
}

/// A stream of pieces that a task on the runtime fetches ahead.
pub(super) struct PieceReader {
    waiter: Waiter,
    receive: Receiver<Result<Piece>>,
    piece: Piece,
    /// Bytes that are still to come: a task that ends before has failed without saying so.
    left: u64,
    task: JoinHandle<()>,
}

impl PieceReader {
    /// Reads the `bytes` bytes that `task` sends; without a reader the task is ended.
    pub(super) fn new(
        waiter: Waiter,
        receive: Receiver<Result<Piece>>,
        bytes: u64,
        task: JoinHandle<()>,
    ) -> Self {
        Self { waiter, receive, piece: Bytes::new().into(), left: bytes, task }
    }
}

impl Read for PieceReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.bytes.is_empty() {
            // Its memory may be the next one's.
            self.piece = Bytes::new().into();
            let Self { waiter, receive, .. } = self;
            match waiter.wait(async { receive.recv().await.transpose() })? {
                Some(piece) => {
                    self.left = self.left.saturating_sub(piece.bytes.len() as u64);
                    self.piece = piece;
                }
                None if self.left > 0 => return Err(Error::retry("a read has ended early").into()),
                None => return Ok(0),
            }
        }
        let n = buf.len().min(self.piece.bytes.len());
        buf[..n].copy_from_slice(&self.piece.bytes.split_to(n));
        Ok(n)
    }
}

impl Drop for PieceReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}
