//! How long to wait after a failed pass, and when to look again: past the watches, and for pods that can't start.
//! All of it per job.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::time::signed;

/// Failed passes in a row, by the job's UID.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoff {
    /// Waits `first`, then twice as long each time, up to `last`.
    pub fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, failures: Mutex::default() }
    }

    /// Counts a failure and says how long to wait.
    pub fn failed(&self, uid: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let n = failures.entry(uid.to_owned()).or_insert(0);
        let wait = self.first.saturating_mul(2_u32.saturating_pow(*n)).min(self.last);
        *n = n.saturating_add(1);
        wait
    }

    /// Forgets the job's failures.
    pub fn succeeded(&self, uid: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// When each job was last read past the watches. One that shows nothing for long is read again: a watch may have missed
/// something.
#[derive(Debug, Default)]
pub struct ServerLooks(Mutex<HashMap<String, Timestamp>>);

impl ServerLooks {
    /// Whether the last look is this long ago, or there was none. It is taken note of as made now.
    pub fn is_due(&self, uid: &str, now: Timestamp, interval: Duration) -> bool {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = looks.get(uid).is_none_or(|last| now.duration_since(*last) >= signed(interval));
        if is_due {
            looks.insert(uid.to_owned(), now);
        }
        is_due
    }

    /// The job was read.
    pub fn looked(&self, uid: &str, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), now);
    }

    /// The job has ended.
    pub fn ended(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// When the pods of a job that has some waiting are looked at next. A large phase always has some pods
/// that are just starting; without this every change of its counts would list them.
#[derive(Debug, Default)]
pub struct PodPolls {
    due: Mutex<HashMap<String, Timestamp>>,
    failures: Mutex<HashMap<String, SeenFailures>>,
}

/// The failed attempts of a Job at the last look at them.
#[derive(Debug)]
struct SeenFailures {
    run: String,
    failed: i32,
    last_look: Timestamp,
}

impl PodPolls {
    /// `Ok` when it is time to look, else how long to wait. The first look is one interval away.
    pub fn due(&self, uid: &str, now: Timestamp, interval: Duration) -> Result<(), Duration> {
        let interval = signed(interval);
        let next = now.saturating_add(interval).unwrap_or(Timestamp::MAX);
        let mut looks = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looks.entry(uid.to_owned()).or_insert(next);
        if *due > now {
            return Err(Duration::try_from(due.duration_since(now)).unwrap_or_default());
        }
        *due = next;
        Ok(())
    }

    /// The next look is at this time, if it would have been later.
    pub fn sooner(&self, uid: &str, time: Timestamp) {
        if let Some(due) = self.due.lock().unwrap_or_else(PoisonError::into_inner).get_mut(uid) {
            *due = time.min(*due);
        }
    }

    /// Whether attempts of this Job have failed that nobody has looked at. The first is looked at at once, later
    /// ones together.
    pub fn failed_anew(&self, uid: &str, run: &str, failed: i32, now: Timestamp, interval: Duration) -> bool {
        let interval = signed(interval);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.get(uid).filter(|known| known.run == run);
        let anew = failed > known.map_or(0, |known| known.failed)
            && known.is_none_or(|known| now.duration_since(known.last_look) >= interval);
        if anew {
            failures.insert(uid.to_owned(), SeenFailures { run: run.to_owned(), failed, last_look: now });
        }
        anew
    }

    /// The job has ended.
    pub fn ended(&self, uid: &str) {
        self.forget(uid);
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    /// Nothing waits any more.
    pub fn forget(&self, uid: &str) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// When the statuses of jobs were written last, by the job's UID: of a large phase the counts change all the time.
#[derive(Debug, Default)]
pub struct StatusPace(Mutex<HashMap<String, Timestamp>>);

impl StatusPace {
    /// The least time between two writes.
    const PAUSE: Duration = Duration::from_secs(1);

    /// How long a write has to wait that says nothing but new counts.
    pub fn wait(&self, uid: &str, now: Timestamp) -> Option<Duration> {
        let written = *self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid)?;
        let left = signed(Self::PAUSE).saturating_sub(now.duration_since(written));
        // A clock that was set back must not hold it up.
        Duration::try_from(left).ok().filter(|left| !left.is_zero()).map(|left| left.min(Self::PAUSE))
    }

    /// It was written.
    pub fn written(&self, uid: &str, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), now);
    }

    /// The job has ended.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::jiff::{SignedDuration, Timestamp};

    use super::{Backoff, PodPolls, ServerLooks, StatusPace};

    #[test]
    fn counts_are_written_once_a_second() {
        let (pace, start) = (StatusPace::default(), Timestamp::UNIX_EPOCH);
        let at = |ms| start + SignedDuration::from_millis(ms);
        assert_eq!(pace.wait("a", at(0)), None);
        pace.written("a", at(0));
        assert_eq!(pace.wait("a", at(400)), Some(Duration::from_millis(600)));
        assert_eq!(pace.wait("b", at(400)), None);
        assert_eq!(pace.wait("a", at(1000)), None);
        assert_eq!(pace.wait("a", at(-5000)), Some(Duration::from_secs(1)), "the clock was set back");
        pace.forget("a");
        assert_eq!(pace.wait("a", at(1)), None);
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_begins_again_after_a_success() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let waits: Vec<u64> = (0..5).map(|_| backoff.failed("a").as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(backoff.failed("b").as_secs(), 1);
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a").as_secs(), 1);
    }

    #[test]
    fn a_job_is_read_at_first_sight_and_when_nobody_has_for_long() {
        let (looks, start, interval) =
            (ServerLooks::default(), Timestamp::UNIX_EPOCH, Duration::from_mins(5));
        let at = |s| start + SignedDuration::from_secs(s);
        assert!(looks.is_due("a", at(0), interval) && looks.is_due("b", at(0), interval));
        assert!(!looks.is_due("a", at(299), interval));
        looks.looked("b", at(200));
        assert!(looks.is_due("a", at(300), interval) && !looks.is_due("b", at(300), interval));
        looks.ended("b");
        assert!(looks.is_due("b", at(301), interval));
    }

    #[test]
    fn waiting_pods_are_looked_at_once_an_interval() {
        let (looks, start, interval) = (PodPolls::default(), Timestamp::UNIX_EPOCH, Duration::from_secs(15));
        let at = |s| start + SignedDuration::from_secs(s);
        assert_eq!(looks.due("a", at(0), interval), Err(interval));
        assert_eq!(looks.due("a", at(5), interval), Err(Duration::from_secs(10)));
        assert_eq!(looks.due("a", at(15), interval), Ok(()));
        assert_eq!(looks.due("a", at(16), interval), Err(Duration::from_secs(14)));
        looks.sooner("a", at(20));
        assert_eq!(looks.due("a", at(17), interval), Err(Duration::from_secs(3)));
        looks.sooner("a", at(99));
        assert_eq!(looks.due("a", at(20), interval), Ok(()));
        looks.forget("a");
        assert_eq!(looks.due("a", at(40), interval), Err(interval));
    }
}
