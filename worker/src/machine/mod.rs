//! What the engine has of the machine that it runs on, and that is never twice the same: the time, random
//! numbers, threads, processes, environment variables.
//!
//! ```text
//!  engine ──> clock, random, threads, process, variables ──┬── the machine
//!                                                          └── a thread within [`simulate`]: what a test says they are
//! ```
//!
//! All of the engine asks here; `worker/clippy.toml` sees to it. So a run can be repeated from a number
//! (`docs/simulation.md`).

pub mod clock;
pub mod process;
pub mod random;
pub mod threads;
pub mod variables;

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A machine that a test has made up.
pub trait Machine: fmt::Debug {
    /// The time since some moment.
    fn now(&self) -> Duration;
    /// Waits.
    fn sleep(&self, time: Duration);
    /// A number that is never drawn again.
    fn number(&self) -> u128;
    /// The number of the process.
    fn process(&self) -> u32;
    /// Whether there is a process of that number.
    fn is_alive(&self, process: u32) -> bool;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<OsString>;
}

thread_local! {
    static MACHINE: RefCell<Option<Arc<dyn Machine>>> = const { RefCell::new(None) };
}

/// Does something on this thread as if it were on that machine.
pub fn simulate<R>(machine: Arc<dyn Machine>, work: impl FnOnce() -> R) -> R {
    struct Before(Option<Arc<dyn Machine>>);
    impl Drop for Before {
        fn drop(&mut self) {
            MACHINE.set(self.0.take());
        }
    }
    let _before = Before(MACHINE.replace(Some(machine)));
    work()
}

/// Whether this thread is within [`simulate`].
pub fn is_simulated() -> bool {
    MACHINE.with_borrow(Option::is_some)
}

/// The machine of this thread, where it is one that a test has made up.
fn simulated() -> Option<Arc<dyn Machine>> {
    MACHINE.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::sync::Arc;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use super::{Machine, clock, random, simulate, threads, variables};

    /// A machine whose numbers follow each other, and where waiting takes no time but its own.
    #[derive(Debug, Default)]
    struct Counting {
        numbers: AtomicU64,
        seconds: AtomicU64,
    }

    impl Machine for Counting {
        fn now(&self) -> Duration {
            Duration::from_secs(self.seconds.load(Ordering::Relaxed))
        }
        fn sleep(&self, time: Duration) {
            self.seconds.fetch_add(time.as_secs(), Ordering::Relaxed);
        }
        fn number(&self) -> u128 {
            self.numbers.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).into()
        }
        fn process(&self) -> u32 {
            7
        }
        fn is_alive(&self, process: u32) -> bool {
            process == 7
        }
        fn variable(&self, name: &str) -> Option<OsString> {
            (name == "HERE").then(|| "there".into())
        }
    }

    /// What the engine may ask of a machine, and what it was told.
    fn told() -> (String, u32, Vec<usize>, Duration, Option<String>, Option<String>) {
        simulate(Arc::new(Counting::default()), || {
            let before = clock::now();
            clock::sleep(Duration::from_hours(1));
            let order = Mutex::new(Vec::new());
            let results = threads::each(5, |piece| {
                order.lock().unwrap().push(piece);
                piece
            });
            assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
            let waited = clock::now().duration_since(before);
            let (here, path) = (variables::text("HERE"), variables::text("PATH"));
            (random::name().to_string(), random::below(1000), order.into_inner().unwrap(), waited, here, path)
        })
    }

    #[test]
    fn a_simulated_machine_says_the_same_each_time() {
        let started = Instant::now();
        let first = told();
        assert_eq!(first, told());
        assert_eq!(
            (first.3, first.4.as_deref(), first.5.as_deref()),
            (Duration::from_hours(1), Some("there"), None)
        );
        assert_ne!(first.2, [0, 1, 2, 3, 4], "pieces are done in an order of the machine's");
        assert!(started.elapsed() < Duration::from_mins(1));
        assert_ne!(random::name(), random::name(), "it was for this call alone");
    }

    #[test]
    fn a_piece_that_panics_leaves_the_others() {
        for pieces in [1, 3] {
            let done = threads::each(pieces, |piece| if piece == 0 { panic!("no") } else { piece });
            let done: Vec<_> = done.into_iter().map(Result::ok).collect();
            assert_eq!(done, [None, Some(1), Some(2)][..pieces]);
        }
    }
}
