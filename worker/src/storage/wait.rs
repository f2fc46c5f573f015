//! Waiting for a runtime's work from plain threads.

use std::future::Future;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, IoContext as _, Result};
use crate::machine;
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
    /// Ends what an interrupted job does last.
    last: CancellationToken,
}

/// How long a request of an interrupted job may take. When one has taken as long the store is away, and no other request
/// is made; while the store answers, all are.
const LAST_REQUEST: Duration = Duration::from_secs(5);

impl Waiter {
    pub(super) fn new(runtime: Handle, cancel: CancellationToken) -> Self {
        Self { runtime, hurry: cancel.clone(), cancel, last: CancellationToken::new() }
    }

    /// For what an interrupted job does last: its requests go on as long as they are answered, and wait for nobody.
    pub(super) fn uninterrupted(&self) -> Self {
        Self { cancel: self.last.clone(), ..self.clone() }
    }

    /// Begins work that goes on beside the thread that asks for it.
    ///
    /// On a machine that a test has made up it is done when it is waited for, in the thread that waits.
    pub(super) fn begin<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        if machine::is_simulated() {
            Task::Awaited(work.boxed())
        } else {
            Task::Begun(self.runtime.spawn(work))
        }
    }

    /// Waits for work; an error at once where somebody asks to stop.
    pub(super) fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(self.within(&self.cancel, work)).unwrap_or_else(|| Err(Error::cancelled()))
    }

    /// Waits for work that is done although somebody asks to stop; nothing, where the store doesn't answer then.
    pub(super) fn finish<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(self.within(&self.last, work))
    }

    async fn within<T>(&self, end: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = end.cancelled() => None,
            done = work => Some(done),
            () = self.takes_too_long() => {
                self.last.cancel();
                None
            }
        }
    }

    async fn takes_too_long(&self) {
        self.hurry.cancelled().await;
        tokio::time::sleep(LAST_REQUEST).await;
    }
}

/// Work that was begun, whose result can be awaited once.
pub(super) enum Task<T> {
    Begun(JoinHandle<T>),
    Awaited(BoxFuture<'static, T>),
}

impl<T> Task<T> {
    /// Ends it where it is.
    pub(super) fn abort(&self) {
        if let Self::Begun(task) = self {
            task.abort();
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Begun(task) => task.poll_unpin(context),
            Self::Awaited(work) => work.poll_unpin(context).map(Ok),
        }
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

/// A stream of pieces that a task fetches ahead.
pub(super) struct PieceReader {
    waiter: Waiter,
    receive: Receiver<Result<Piece>>,
    piece: Piece,
    /// Bytes that are still to come: a task that ends before has failed without saying so.
    left: u64,
    task: Task<()>,
    has_ended: bool,
}

impl PieceReader {
    /// Reads the `bytes` bytes that `task` sends; without a reader the task is ended.
    pub(super) fn new(waiter: Waiter, receive: Receiver<Result<Piece>>, bytes: u64, task: Task<()>) -> Self {
        Self { waiter, receive, piece: Bytes::new().into(), left: bytes, task, has_ended: false }
    }
}

impl Read for PieceReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.bytes.is_empty() {
            // Its memory may be the next one's.
            self.piece = Bytes::new().into();
            let Self { waiter, receive, task, has_ended, .. } = self;
            let next = async {
                loop {
                    tokio::select! {
                        biased;
                        piece = receive.recv() => return piece.transpose(),
                        _ = &mut *task, if !*has_ended => *has_ended = true,
                    }
                }
            };
            match waiter.wait(next)? {
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

#[cfg(test)]
mod tests {

    use tokio::runtime::Handle;
    use tokio::time::{Instant, sleep};
    use tokio_util::sync::CancellationToken;

    use super::{LAST_REQUEST, Waiter};

    #[tokio::test(start_paused = true)]
    async fn what_an_interrupted_job_does_last_goes_on_while_it_is_answered_and_ends_with_the_first_that_is_not()
     {
        let stop = CancellationToken::new();
        let waiter = Waiter::new(Handle::current(), stop.clone());
        let last = waiter.uninterrupted();
        let answered = || last.within(&last.cancel, sleep(LAST_REQUEST * 3 / 4));
        let silent = || last.within(&last.cancel, std::future::pending::<()>());
        let slow = last.within(&last.cancel, sleep(100 * LAST_REQUEST));
        assert_eq!(slow.await, Some(()), "nobody has asked to stop");
        stop.cancel();
        assert_eq!(waiter.within(&waiter.cancel, answered()).await, None);
        let begun = Instant::now();
        for _ in 0..100 {
            assert_eq!(answered().await, Some(()));
        }
        let answered_until = Instant::now();
        assert!(answered_until - begun > 50 * LAST_REQUEST, "all of it takes as long as it takes");
        assert_eq!(silent().await, None);
        assert_eq!(Instant::now() - answered_until, LAST_REQUEST);
        assert_eq!((silent().await, answered().await), (None, None));
        assert_eq!(Instant::now() - answered_until, LAST_REQUEST, "no other request is made");
    }
}
