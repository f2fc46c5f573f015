//! Threads of this process: for tasks, and for waiting.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::machine::threads;
use crate::memory::Resources;

/// Of two errors the one that says why: that work was cancelled is only what followed.
fn worse(first: Error, second: Error) -> Error {
    if first.kind() == ErrorKind::Cancelled { second } else { first }
}

/// How many threads a phase of this process has.
pub(super) fn threads(resources: &Resources, parallelism: Option<i32>, tasks: usize) -> usize {
    let most = parallelism.map_or(resources.threads, |most| resources.threads.min(most.max(1) as usize));
    most.min(tasks).max(1)
}

/// Runs `work` for 0, 1, … `tasks` - 1 in threads, in that order. Gives what they have given, in their order, and why
/// one of them has failed: after that no further one is begun. A panic is a failure of the attempt at hand.
pub(super) fn in_threads<T: Send>(
    threads: usize,
    tasks: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> (Vec<T>, Option<Error>) {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::default();
    let failure: Mutex<Option<Error>> = Mutex::default();
    let failed = AtomicBool::new(false);
    threads::each(threads, |_| {
        while !failed.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= tasks {
                return;
            }
            match threads::caught(|| work(i)).unwrap_or_else(|_| Err(panicked())) {
                Ok(result) => done.lock().unwrap_or_else(PoisonError::into_inner).push((i, result)),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    *failure = Some(match failure.take() {
                        Some(first) => worse(first, error),
                        None => error,
                    });
                }
            }
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    (done.into_iter().map(|(_, result)| result).collect(), failure)
}

/// Another attempt may find another order of events.
fn panicked() -> Error {
    Error::retry("a task has panicked: this is a defect, please report it")
}

#[cfg(test)]
mod tests {
    use super::in_threads;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn results_are_in_the_order_of_the_tasks() {
        for threads in [1, 4] {
            let (done, failure) = in_threads(threads, 20, |i| Ok(i * i));
            assert!(failure.is_none());
            assert_eq!(done, (0..20).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn after_a_failure_no_task_is_begun_and_what_was_done_before_is_given() {
        let (done, failure) = in_threads(1, 5, |i| if i == 3 { Err(Error::permanent("no")) } else { Ok(i) });
        assert_eq!((done, failure.unwrap().to_string()), (vec![0, 1, 2], "no".to_owned()));
    }

    #[test]
    fn a_panic_is_a_failure_that_another_attempt_may_not_meet() {
        for threads in [1, 2] {
            let (_, failure) = in_threads(threads, 2, |i| if i == 1 { panic!("no") } else { Ok(()) });
            let failure = failure.unwrap();
            assert!(
                failure.kind() == ErrorKind::Retry && failure.to_string().contains("panicked"),
                "{failure}"
            );
        }
    }
}
