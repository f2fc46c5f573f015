//! How often each child of a job was made or refused: a Job that somebody deletes again and again, and one that
//! the API server refuses, are not tried without a pause, nor for ever.
//!
//! It is kept in memory alone. After a restart of the operator it begins anew, which costs a few tries.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The first pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_mins(5);

/// Creations of one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation {
    /// How often it was made.
    pub made: u32,
    /// How often in a row it was refused.
    pub refused: u32,
    /// The last time of either.
    pub last: Timestamp,
}

impl Creation {
    /// When it may be tried again, if that is later than `now`.
    pub fn pause(&self, now: Timestamp) -> Option<Duration> {
        // A Job that was made once and is missing may have been seen by a watch that is behind.
        let tries = self.refused.max(self.made).saturating_sub(1);
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries)).min(LAST_PAUSE);
        let due = self.last.saturating_add(SignedDuration::try_from(pause).ok()?).ok()?;
        (due > now).then(|| Duration::try_from(due.duration_since(now)).unwrap_or_default())
    }
}

/// The creations of all jobs that run, by the job's UID and the child's name.
#[derive(Debug, Default)]
pub struct Creations(Mutex<HashMap<String, HashMap<String, Creation>>>);

impl Creations {
    /// The child was made.
    pub fn made(&self, uid: &str, child: &str, now: Timestamp) {
        self.note(uid, child, now, |creation| {
            creation.made = creation.made.saturating_add(1);
            creation.refused = 0;
        });
    }

    /// The child was refused.
    pub fn refused(&self, uid: &str, child: &str, now: Timestamp) {
        self.note(uid, child, now, |creation| creation.refused = creation.refused.saturating_add(1));
    }

    fn note(&self, uid: &str, child: &str, now: Timestamp, change: impl FnOnce(&mut Creation)) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let children = jobs.entry(uid.to_owned()).or_default();
        let creation =
            children.entry(child.to_owned()).or_insert(Creation { made: 0, refused: 0, last: now });
        creation.last = now;
        change(creation);
    }

    /// What is known of the child.
    pub fn of(&self, uid: &str, child: &str) -> Option<Creation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid)?.get(child).copied()
    }

    /// The job has ended, is gone or is suspended: its children are made anew as if for the first time.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::jiff::{SignedDuration, Timestamp};

    use super::Creations;

    #[test]
    fn a_child_that_is_made_again_and_again_waits_longer_each_time() {
        let (creations, start) = (Creations::default(), Timestamp::UNIX_EPOCH);
        let pauses: Vec<u64> = (0..11)
            .map(|_| {
                creations.made("u", "wc-map", start);
                creations.of("u", "wc-map").unwrap().pause(start).unwrap().as_secs()
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let later = start + SignedDuration::from_secs(300);
        assert_eq!(creations.of("u", "wc-map").unwrap().pause(later), None::<Duration>);
        assert_eq!(creations.of("u", "wc-reduce"), None);
        creations.forget("u");
        assert_eq!(creations.of("u", "wc-map"), None);
    }

    #[test]
    fn refusals_are_counted_until_the_child_is_made() {
        let (creations, now) = (Creations::default(), Timestamp::UNIX_EPOCH);
        (0..3).for_each(|_| creations.refused("u", "wc-map", now));
        assert_eq!(creations.of("u", "wc-map").unwrap().pause(now).unwrap().as_secs(), 4);
        creations.made("u", "wc-map", now);
        let creation = creations.of("u", "wc-map").unwrap();
        assert_eq!((creation.made, creation.refused), (1, 0));
    }
}
