//! The tasks: map, reduce, and the commit that makes an attempt's work count.

pub mod finish;
pub mod lost;
pub mod map;
pub(crate) mod mark;
mod output_check;
pub mod publication;
pub mod reduce;
pub mod result;
mod run_end;
mod success;
mod turn;

use std::time::Duration;

use crate::error::{ErrorKind, Result};
use crate::machine::clock;

/// Runs attempts at a task until one succeeds, no attempt is to blame for an error, or `retries` more
/// attempts have failed too. Says how many failed.
pub fn attempts<T>(retries: i32, mut attempt: impl FnMut(u32) -> Result<T>) -> Result<(T, u32)> {
    let mut failed = 0;
    loop {
        match attempt(failed) {
            Ok(done) => return Ok((done, failed)),
            Err(error) if error.is_retryable() && i64::from(failed) < i64::from(retries) => {
                tracing::warn!(%error, causes = error.causes_text(), attempt = failed, "An attempt failed, another follows.");
                failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Times that a run tries what it does last.
const CLEANUPS: u32 = 6;

/// Tries what is done last, and by nobody later, some times more than one error.
pub(crate) fn patiently<T>(work: impl Fn() -> Result<T>) -> Result<T> {
    let mut pause = Duration::from_millis(20);
    for _ in 1..CLEANUPS {
        match work() {
            // It has been waited for already, or nobody waits any more.
            Err(error) if matches!(error.kind(), ErrorKind::StoreUnavailable | ErrorKind::Cancelled) => {
                return Err(error);
            }
            Err(_) => {}
            done => return done,
        }
        clock::sleep(pause);
        pause *= 2;
    }
    work()
}

#[cfg(test)]
mod tests {
    use super::attempts;
    use crate::error::Error;

    #[test]
    fn a_task_gets_its_first_attempt_and_the_retries() {
        let mut calls = 0;
        let failed = attempts(3, |_| -> crate::error::Result<()> {
            calls += 1;
            Err(Error::retry("no"))
        });
        assert!(failed.is_err());
        assert_eq!(calls, 4);
        assert_eq!(attempts(3, |n| if n < 2 { Err(Error::retry("no")) } else { Ok(n) }).unwrap(), (2, 2));
    }

    #[test]
    fn what_no_attempt_can_do_better_is_not_tried_again() {
        let mut calls = 0;
        let _ = attempts(3, |_| -> crate::error::Result<()> {
            calls += 1;
            Err(Error::permanent("never"))
        });
        assert_eq!(calls, 1);
    }
}
