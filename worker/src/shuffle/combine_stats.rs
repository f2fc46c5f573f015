//! Whether adding up before the shuffle pays, as the tasks of a process have found so far.
//!
//! ```text
//!               few pairs a key                   < 1.5 pairs a key
//!   in a table ────────────────> sorted, combined ────────────────> sorted
//!       ^                          │         ^                        │
//!       └──── > 3 pairs a key ─────┘         └── every eighth flush ──┘
//! ```
//!
//! A table of sums is the fastest way where keys come again and again. Where most keys are new it grows past
//! the processor's caches, each look-up waits for memory, and nothing is saved: then it costs less to sort the
//! pairs and to let the reducers add them up.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// How the pairs of a job that adds up by key are collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CombineStrategy {
    /// In a table of sums.
    Table = 0,
    /// Sorted, then combined.
    SortAndCombine = 1,
    /// Sorted.
    Sort = 2,
}

/// What has been found.
#[derive(Debug, Default)]
pub struct CombineStats {
    strategy: AtomicU8,
    flushes: AtomicU32,
}

/// So few pairs say nothing.
const LEAST: u64 = 1 << 16;
/// Flushes that are not combined before one is, to see whether it would pay again.
const LOOK_EVERY: u32 = 8;

impl CombineStats {
    /// How a task begins.
    pub fn strategy(&self) -> CombineStrategy {
        match self.strategy.load(Ordering::Relaxed) {
            0 => CombineStrategy::Table,
            1 => CombineStrategy::SortAndCombine,
            _ => CombineStrategy::Sort,
        }
    }

    /// Whether a table of so many sums of so many pairs had better be given up.
    #[inline]
    pub fn is_poor(sums: usize, pairs: u64) -> bool {
        sums as u64 >= LEAST && pairs < 2 * sums as u64
    }

    /// Takes note of a table that was given up.
    pub fn gave_up(&self) {
        self.strategy.store(CombineStrategy::SortAndCombine as u8, Ordering::Relaxed);
    }

    /// Whether sorted pairs are to be combined this time.
    pub fn combines(&self) -> bool {
        let flush = self.flushes.fetch_add(1, Ordering::Relaxed);
        self.strategy() != CombineStrategy::Sort || flush.is_multiple_of(LOOK_EVERY)
    }

    /// Takes note of what combining sorted pairs has brought; how to go on.
    pub fn combined(&self, input: u64, output: u64) -> CombineStrategy {
        if input >= LEAST {
            let strategy = match (input, output) {
                _ if input > 3 * output => CombineStrategy::Table,
                _ if 2 * input < 3 * output => CombineStrategy::Sort,
                _ => CombineStrategy::SortAndCombine,
            };
            self.strategy.store(strategy as u8, Ordering::Relaxed);
        }
        self.strategy()
    }
}

#[cfg(test)]
mod tests {
    use super::{CombineStats, CombineStrategy};

    #[test]
    fn a_table_is_given_up_when_most_keys_are_new_and_comes_back_when_they_are_not() {
        assert!(!CombineStats::is_poor(1000, 1000), "too early to tell");
        assert!(CombineStats::is_poor(100_000, 150_000) && !CombineStats::is_poor(100_000, 250_000));
        let stats = CombineStats::default();
        assert_eq!(stats.strategy(), CombineStrategy::Table);
        stats.gave_up();
        assert!(stats.combines());
        assert_eq!(stats.combined(1_000_000, 900_000), CombineStrategy::Sort);
        let combined = (0..16).filter(|_| stats.combines()).count();
        assert_eq!(combined, 2, "now and then it is tried again");
        assert_eq!(stats.combined(100, 1), CombineStrategy::Sort, "so few pairs say nothing");
        assert_eq!(stats.combined(1_000_000, 500_000), CombineStrategy::SortAndCombine);
        assert_eq!(stats.combined(1_000_000, 10_000), CombineStrategy::Table);
    }
}
