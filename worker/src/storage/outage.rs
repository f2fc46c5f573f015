//! A store that is away for a while costs time, and no attempt of a task.
//!
//! ```text
//!  request ──> refused, reset, no answer, 5xx, 429 ──> a pause ──> the same request ──> … ──> an answer
//!                                                       │                                └──> the limit: an error
//!                                                       └── a wish to stop ends it
//! ```
//!
//! The library repeats a request for some seconds; what is here repeats all of it, signed anew, until
//! `spec.storage.timeoutSeconds` are over. That the credentials are refused, that there is no such bucket, that a
//! certificate isn't trusted are answers: nothing waits for those.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::away::AwayStores;
use super::wait::Waiter;
use crate::error::Error;
use crate::machine::{clock, random};

/// How long requests wait for a store that is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// At most; with zero they don't.
    pub limit: Duration,
    /// Until the request is repeated the first time; twice as long with each.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Patience {
    /// No request waits.
    pub const NONE: Self = Self::of(Duration::ZERO);

    /// With the usual pauses.
    pub const fn of(limit: Duration) -> Self {
        Self { limit, pause: Duration::from_millis(500), longest_pause: Duration::from_secs(15) }
    }

    /// The pause after so many: never the same for many requests that failed at once.
    fn pause(self, before: u32) -> Duration {
        let pause = self.pause.saturating_mul(1 << before.min(16)).min(self.longest_pause);
        pause / 2 + pause / 2000 * random::below(1000)
    }
}

/// What a request may fail with.
pub(super) trait RequestFailure {
    /// Why there is no answer, where a later request may get one.
    fn outage(&self) -> Option<String>;
}

/// Why a request has no result.
#[derive(Debug)]
pub(super) enum Unmet<E> {
    /// It failed, and nothing is to be waited for.
    Failed(E),
    /// The store was away for so long.
    Away(E, Duration),
    /// Somebody asks to stop.
    Cancelled,
}

impl<E> Unmet<E> {
    /// What becomes of a request that may not wait.
    fn without_waiting(waiter: &Waiter, failure: E) -> Self {
        if waiter.cancel.is_cancelled() { Self::Cancelled } else { Self::Failed(failure) }
    }

    /// What the request itself failed with.
    pub(super) fn failure(&self) -> Option<&E> {
        match self {
            Self::Failed(error) | Self::Away(error, _) => Some(error),
            Self::Cancelled => None,
        }
    }
}

/// Adds to the error of a request that the store was away for so long, and what to do.
pub(super) fn gave_up(error: Error, waited: Duration) -> Error {
    let seconds = waited.as_secs();
    let message = format!("{error}: the store was away for {seconds} s");
    error.store_unavailable(message).because(
        "run the job again when it is back; spec.storage.timeoutSeconds says for how long a job waits for it",
    )
}

/// Whether a store is away, for all requests to it.
#[derive(Debug)]
pub(super) struct Outage {
    /// What URLs of it begin with.
    store: String,
    patience: Patience,
    away: Mutex<Away>,
    all: Arc<AwayStores>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Away {
    since: Option<Instant>,
    /// Requests that wait for its end.
    waiting: usize,
}

impl Outage {
    pub(super) fn new(store: &str, patience: Patience, all: Arc<AwayStores>) -> Self {
        Self { store: store.to_owned(), patience, away: Mutex::default(), all }
    }

    fn away(&self) -> MutexGuard<'_, Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until there is an answer, whatever it says, or the limit is reached.
    pub(super) async fn outlast<T, E: RequestFailure, Asked: Future<Output = Result<T, E>>>(
        &self,
        waiter: &Waiter,
        ask: impl Fn() -> Asked,
    ) -> Result<T, Unmet<E>> {
        let mut waits: Option<WaitingRequest<'_>> = None;
        let mut pauses = 0;
        loop {
            let asked = clock::now();
            let error = match ask().await {
                Ok(done) => {
                    self.answers(waits.is_some());
                    return Ok(done);
                }
                Err(error) => error,
            };
            let Some(cause) = error.outage() else {
                self.answers(waits.is_some());
                return Err(Unmet::Failed(error));
            };
            let limit = self.patience.limit;
            if limit.is_zero() || waiter.hurry.is_cancelled() {
                return Err(Unmet::without_waiting(waiter, error));
            }
            let since = self.is_away(asked, &cause);
            let waits = waits.get_or_insert_with(|| WaitingRequest::new(self, asked));
            let waited = clock::now().duration_since(since.min(waits.since));
            let Some(left) = limit.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(Unmet::Away(error, waited));
            };
            tracing::debug!(store = self.store, cause, "A request waits for a store that is away.");
            tokio::select! {
                biased;
                () = waiter.hurry.cancelled() => return Err(Unmet::without_waiting(waiter, error)),
                () = tokio::time::sleep(self.patience.pause(pauses).min(left)) => pauses += 1,
            }
        }
    }

    /// Notes that the store doesn't answer; since when.
    pub(super) fn is_away(&self, asked: Instant, cause: &str) -> Instant {
        let mut away = self.away();
        if let Some(since) = away.since {
            return since;
        }
        away.since = Some(asked);
        if !self.patience.limit.is_zero() {
            let (store, at, limit) = (&self.store, time_of_day(asked), self.patience.limit.as_secs());
            // Under the lock: nobody hears that it is back before they hear that it is away.
            self.all.add(store, &at, cause);
            tracing::warn!(
                store,
                cause,
                "The store is away since {at}: the job waits for it for up to {limit} s."
            );
        }
        asked
    }

    /// Notes that the store answers. Where only some requests get no answer, it is for them to say that it is over.
    fn answers(&self, waited: bool) {
        let mut away = self.away();
        let is_over = waited || away.waiting == 0;
        if let Some(since) = away.since.take_if(|_| is_over)
            && !self.patience.limit.is_zero()
        {
            self.all.remove(&self.store);
            let seconds = clock::now().duration_since(since).as_secs();
            tracing::warn!(store = self.store, "The store is back after {seconds} s.");
        }
    }
}

/// A request that waits.
struct WaitingRequest<'a> {
    outage: &'a Outage,
    since: Instant,
}

impl<'a> WaitingRequest<'a> {
    fn new(outage: &'a Outage, since: Instant) -> Self {
        outage.away().waiting += 1;
        Self { outage, since }
    }
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.outage.away().waiting -= 1;
    }
}

/// `16:05:03 UTC`
fn time_of_day(at: Instant) -> String {
    let seconds = clock::epoch_seconds().saturating_sub(clock::now().duration_since(at).as_secs());
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}
