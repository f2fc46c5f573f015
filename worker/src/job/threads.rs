//! Threads of this process: for tasks, and for waiting.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::machine::threads;
use crate::memory::Resources;

/// Of two errors the one that says why: that work was cancelled is only what followed.
pub(super) fn worse(first: Error, second: Error) -> Error {
    if first.kind() == Kind::Cancelled { second } else { first }
}

/// How many threads a phase of this process has.
pub(super) fn threads(resources: &Resources, parallelism: Option<i32>, tasks: usize) -> usize {
    let most = parallelism.map_or(resources.threads, |most| resources.threads.min(most.max(1) as usize));
    most.min(tasks).max(1)
}

/// Runs `work` for 0, 1, … `tasks` - 1 in threads, in that order. After a failure no further one is begun.
pub(super) fn in_threads<T: Send>(
    threads: usize,
    tasks: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    let next = AtomicU32::new(0);
    let stop = AtomicBool::new(false);
    let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::default();
    threads::each(threads, |_| {
        while !stop.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed) as usize;
            if i >= tasks {
                return;
            }
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(i))).unwrap_or_else(|_| {
                    Err(Error::permanent("a task has panicked: this is a defect, please report it"))
                });
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}
