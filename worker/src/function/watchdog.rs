//! What stops code of the user's that runs in the task's own thread: its time, a wish to stop the job, or an error
//! of ours in a call of its.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::machine::clock;

/// Bytes that it may take. A task may run one function to map and one to combine.
pub(in crate::function) const MEMORY_BYTES: usize = 256 << 20;
/// Bytes of the stack, of the 2 MiB that a thread has.
pub(in crate::function) const STACK_BYTES: usize = 1 << 20;

/// Shared by the code that runs and whoever watches it.
#[derive(Clone, Debug)]
pub(in crate::function) struct Watchdog(Arc<WatchdogState>);

#[derive(Debug)]
struct WatchdogState {
    cancel: CancellationToken,
    timeout: Duration,
    /// Counts records, values and pairs: what is progress.
    steps: AtomicU64,
    timed_out: AtomicBool,
    stopped: AtomicBool,
    /// Whether the code runs, and not what it has called of ours.
    inside: AtomicBool,
    /// The object and the offset of the record at hand.
    url: Mutex<Option<String>>,
    offset: AtomicU64,
}

impl Watchdog {
    pub(in crate::function) fn new(cancel: CancellationToken, timeout: Duration) -> Self {
        Self(Arc::new(WatchdogState {
            cancel,
            timeout,
            steps: AtomicU64::default(),
            timed_out: AtomicBool::default(),
            stopped: AtomicBool::default(),
            inside: AtomicBool::default(),
            url: Mutex::default(),
            offset: AtomicU64::default(),
        }))
    }

    /// Something was done.
    pub(in crate::function) fn step(&self) {
        // Only one thread writes it, and nothing else depends on it.
        self.0.steps.store(self.0.steps.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(in crate::function) fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::Relaxed)
    }

    pub(in crate::function) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Runs the code: the time that it takes is its own.
    pub(in crate::function) fn inside<R>(&self, code: impl FnOnce() -> R) -> R {
        self.0.inside.store(true, Ordering::Relaxed);
        let done = code();
        self.0.inside.store(false, Ordering::Relaxed);
        done
    }

    /// Does what the code has asked for: the time that it takes is ours.
    pub(in crate::function) fn outside<R>(&self, ours: impl FnOnce() -> R) -> R {
        self.0.inside.store(false, Ordering::Relaxed);
        let done = ours();
        self.0.inside.store(true, Ordering::Relaxed);
        done
    }

    pub(in crate::function) fn is_inside(&self) -> bool {
        self.0.inside.load(Ordering::Relaxed)
    }

    /// Says which object the records to come are of, where their offsets are offsets in it.
    pub(in crate::function) fn reads(&self, url: Option<&str>) {
        *self.0.url.lock().unwrap_or_else(PoisonError::into_inner) = url.map(str::to_owned);
    }

    /// Says where the record at hand is.
    pub(in crate::function) fn at(&self, offset: u64) {
        self.0.offset.store(offset, Ordering::Relaxed);
    }

    /// The error when the code doesn't end although it was asked to.
    pub(in crate::function) fn unstoppable(&self, name: &str) -> Error {
        let seconds = self.0.timeout.as_secs();
        let error = Error::retry(format!("{name} made no progress for {seconds} s"))
            .because("it is within one call of a built-in function, which can't be stopped");
        match &*self.0.url.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(url) => {
                let offset = self.0.offset.load(Ordering::Relaxed);
                error.because(format!("the record in {url} at byte {offset}")).about(url, offset)
            }
            None => error,
        }
    }

    /// Ends the code where it is, whatever it catches.
    pub(in crate::function) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Says each time when it is called whether the code is to end.
    pub(in crate::function) fn watch(&self) -> impl FnMut() -> bool + Send + Sync + 'static {
        let watched = self.clone();
        let mut seen = self.0.steps.load(Ordering::Relaxed);
        let mut since = clock::now();
        move || {
            let limits = &watched.0;
            let steps = limits.steps.load(Ordering::Relaxed);
            if steps != seen {
                (seen, since) = (steps, clock::now());
            }
            if clock::now().duration_since(since) > limits.timeout {
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
            let error = Error::retry(format!("{name} made no progress for {seconds} s and was stopped"));
            return Err(error.because("if it needs longer: raise spec.taskTimeoutSeconds"));
        }
        Ok(())
    }
}
