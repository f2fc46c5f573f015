//! What stops code of the user's that runs in the task's own thread: its time, a wish to stop the job, or an error
//! of ours in a call of its.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// Bytes that it may take. A task may run one function to map and one to combine.
pub(in crate::function) const MEMORY_BYTES: usize = 256 << 20;
/// Bytes of the stack, of the 2 MiB that a thread has.
pub(in crate::function) const STACK_BYTES: usize = 1 << 20;

/// Shared by the code that runs and whoever watches it.
#[derive(Clone, Debug)]
pub(in crate::function) struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cancel: CancellationToken,
    timeout: Duration,
    /// Counts records, values and pairs: what is progress.
    steps: AtomicU64,
    timed_out: AtomicBool,
    stopped: AtomicBool,
}

impl Limits {
    pub(in crate::function) fn new(cancel: CancellationToken, timeout: Duration) -> Self {
        let (timed_out, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner { cancel, timeout, steps: AtomicU64::new(0), timed_out, stopped }))
    }

    /// Something was done.
    pub(in crate::function) fn step(&self) {
        // Only one thread writes it, and nothing else depends on it.
        self.0.steps.store(self.0.steps.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Ends the code where it is, whatever it catches.
    pub(in crate::function) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Says each time when it is called whether the code is to end.
    pub(in crate::function) fn watch(&self) -> impl FnMut() -> bool + Send + Sync + 'static {
        let watched = self.clone();
        let mut seen = self.0.steps.load(Ordering::Relaxed);
        let mut since = Instant::now();
        move || {
            let limits = &watched.0;
            let steps = limits.steps.load(Ordering::Relaxed);
            if steps != seen {
                (seen, since) = (steps, Instant::now());
            }
            if since.elapsed() > limits.timeout {
                limits.timed_out.store(true, Ordering::Relaxed);
            }
            watched.is_stopping()
        }
    }

    /// Whether the code is to end.
    pub(in crate::function) fn is_stopping(&self) -> bool {
        self.0.cancel.is_cancelled()
            || self.0.timed_out.load(Ordering::Relaxed)
            || self.0.stopped.load(Ordering::Relaxed)
    }

    /// An error when the code was ended.
    pub(in crate::function) fn check(&self, name: &str) -> Result<()> {
        if self.0.cancel.is_cancelled() {
            return Err(Error::cancelled());
        }
        if self.0.timed_out.load(Ordering::Relaxed) {
            let seconds = self.0.timeout.as_secs();
            return Err(Error::retry(format!("{name} made no progress for {seconds} s and was stopped")));
        }
        Ok(())
    }
}
