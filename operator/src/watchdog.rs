//! Notices passes that hang: what `/livez` says.
//!
//! A pass that waits too long is given up by its own limit. One that never comes back to the runtime, by a
//! defect, can't be: then the process has to be started again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a pass takes at most; what it has written stays, and the next one goes on from there.
pub const PASS_LIMIT: Duration = Duration::from_mins(2);
/// A pass that is older than this can't be given up any more.
const HANGS_AFTER: Duration = Duration::from_mins(4);

/// The passes under way.
#[derive(Debug, Default)]
pub struct Watchdog(Mutex<HashMap<u64, (String, Instant)>>);

/// A pass under way; it ends when this is dropped.
#[derive(Debug)]
pub struct PassUnderWay<'a> {
    watchdog: &'a Watchdog,
    number: u64,
}

impl Watchdog {
    /// A pass over this job begins.
    pub fn begins(&self, job: &str) -> PassUnderWay<'_> {
        let mut passes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = passes.keys().max().map_or(0, |last| last.wrapping_add(1));
        passes.insert(number, (job.to_owned(), Instant::now()));
        PassUnderWay { watchdog: self, number }
    }

    /// What hangs, in a sentence.
    pub fn hangs(&self) -> Option<String> {
        let passes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (job, since) = passes.values().min_by_key(|(_, since)| *since)?;
        let age = since.elapsed();
        (age > HANGS_AFTER).then(|| format!("a pass over {job} has been hanging for {} s", age.as_secs()))
    }
}

impl Drop for PassUnderWay<'_> {
    fn drop(&mut self) {
        self.watchdog.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{HANGS_AFTER, Watchdog};

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_hangs_is_named_until_it_ends() {
        let watchdog = Watchdog::default();
        drop(watchdog.begins("ns/quick"));
        let slow = watchdog.begins("ns/slow");
        tokio::time::advance(HANGS_AFTER).await;
        assert_eq!(watchdog.hangs(), None);
        let _other = watchdog.begins("ns/other");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(watchdog.hangs().unwrap(), "a pass over ns/slow has been hanging for 241 s");
        drop(slow);
        assert_eq!(watchdog.hangs(), None);
    }
}
